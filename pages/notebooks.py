"""The notebooks as pages, with the outputs they were last run with, and to download."""

import nbformat
from nbconvert import MarkdownExporter
from nbformat import NotebookNode

from pages.links import ROOT

FOLDER = ROOT / "docs" / "notebooks"
ENDINGS = {"image/jpeg": "jpeg", "image/png": "png"}


def pages() -> dict[str, str | bytes]:
    """Markdown and pictures by path."""
    made: dict[str, str | bytes] = {}
    for path in sorted(FOLDER.glob("*.ipynb")):
        notebook = nbformat.read(path, nbformat.NO_CONVERT)
        name = path.stem
        for number, output in enumerate(_pictures(notebook)):
            output.metadata["filenames"] = {"image/jpeg": f"{name}-{number}.jpeg"}
        body, resources = MarkdownExporter().from_notebook_node(notebook)
        pictures = {f"notebooks/{file}": data for file, data in resources["outputs"].items()}
        title, _, below = body.partition("\n")
        note = f"[Open as a notebook]({path.name}){{download}}"
        made[f"notebooks/{name}.md"] = f"{title}\n\n{note}\n{_described(below, notebook)}"
        made |= pictures
    return made


def _pictures(notebook: NotebookNode) -> list[NotebookNode]:
    outputs = (output for cell in notebook.cells for output in cell.get("outputs", ()))
    return [output for output in outputs if "image/jpeg" in output.get("data", {})]


def _described(body: str, notebook: NotebookNode) -> str:
    """The pictures with what their outputs say in words, in place of their files' kind."""
    for output in _pictures(notebook):
        words = " ".join(output["data"].get("text/plain", "").split())
        for sign in "[]<>":
            words = words.replace(sign, "")
        body = body.replace("![jpeg](", f"![{words}](", 1)
    return body
