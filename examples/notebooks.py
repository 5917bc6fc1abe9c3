"""Runs the notebooks of the site anew, and keeps their pictures small.

python examples/notebooks.py            # all of them: `make notebooks`
python examples/notebooks.py attack
"""

import base64
import io
import sys
import tempfile
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbformat import NotebookNode
from PIL import Image

FOLDER = Path(__file__).parents[1] / "docs" / "notebooks"
WIDE, QUALITY = 840, 80  # pixels, of JPEG


def small(output: NotebookNode) -> None:
    """A picture of an output in place, without what else says the same."""
    png = output.get("data", {}).pop("image/png", None)
    if png is None:
        return
    picture = Image.open(io.BytesIO(base64.b64decode(png))).convert("RGB")
    picture.thumbnail((WIDE, 10 * WIDE))
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=QUALITY)
    plain = output["data"].get("text/plain", "")[:200]
    output["data"] = {"image/jpeg": base64.b64encode(file.getvalue()).decode(), "text/plain": plain}
    output["metadata"] = {}


def main(chosen: list[str]) -> None:
    """Run each in a folder that is thrown away."""
    for path in sorted(FOLDER.glob("*.ipynb")):
        if chosen and path.stem not in chosen:
            continue
        notebook = nbformat.read(path, nbformat.NO_CONVERT)
        with tempfile.TemporaryDirectory() as folder:
            NotebookClient(notebook, resources={"metadata": {"path": folder}}).execute()
        for cell in notebook.cells:
            cell.metadata = {}
            for output in cell.get("outputs", ()):
                if output.get("name") == "stderr":  # warnings, with the paths of this machine
                    sys.exit(f"{path.name}: {output['text']}")
                small(output)
        nbformat.write(notebook, path)
        print(f"docs/notebooks/{path.name}: {path.stat().st_size // 1000} kB")


if __name__ == "__main__":
    main(sys.argv[1:])
