"""The Python of every page of the documentation runs, and its commands are ones that exist.

A page's blocks run one after the other, as a reader would type them, in an empty folder that holds
the files they read. Networks and photographs that would be fetched are replaced by small ones.
"""

import importlib
import json
import re
import shlex
import warnings
from pathlib import Path

import pytest
import torch
from torch import nn

from surefoot import data, errors, explain, models

ROOT = Path(__file__).parents[1]
PAGES = ["README.md", *sorted(str(path.relative_to(ROOT)) for path in ROOT.glob("docs/**/*.md"))]
BLOCK = re.compile(r"^( *)```(\w+)\n(.*?)^\1```$", re.DOTALL | re.MULTILINE)
FETCHED = ("efficientnet-lite0", "timm:", "torchvision:")


def blocks(page, language):
    text = (ROOT / page).read_text(encoding="utf-8")
    return [found[3] for found in BLOCK.finditer(text) if found[2] == language]


class Features(nn.Module):
    """A small network with a layer named features.4, as the README has it."""

    def __init__(self):
        super().__init__()
        convolutions = [nn.Conv2d(3, 4, 3, 2, 1), nn.ReLU(), nn.Conv2d(4, 4, 3, 2, 1), nn.ReLU()]
        self.features = nn.Sequential(*convolutions, nn.Conv2d(4, 4, 1))
        self.head = nn.Linear(4, 5)

    def forward(self, x):
        return self.head(self.features(x).mean((2, 3)))


# What a page's blocks take as given, beside what `given` holds.
BEFORE = {
    "docs/certificates.md": "model, images = net, x",
    "docs/guests.md": "images, labels, b = x.numpy(), net(x).argmax(1).numpy(), 0 * x",
}
# Blocks that show calls one by one, of which no program could be made: their names are checked.
SHOWN = {
    ("docs/audits.md", 0): "reads one folder by three packages",
    ("docs/audits.md", 1): "one call for each kind of cluster",
    ("docs/pictures.md", 0): "one explanation by every call",
}


@pytest.fixture
def given(monkeypatch, tmp_path):
    """A folder with some photographs, and what would be fetched replaced."""
    image = pytest.importorskip("PIL.Image")
    pytest.importorskip("matplotlib")
    torch.manual_seed(0)
    (tmp_path / "photos" / "cat").mkdir(parents=True)
    (tmp_path / "photos" / "dog").mkdir()
    for name in ("photo", "other", "photos/cat/1", "photos/cat/2", "photos/dog/3"):
        picture = (torch.rand(48, 60, 3) * 255).byte().numpy()
        image.fromarray(picture).save(tmp_path / f"{name}.jpg")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(models, "load", replaced(models.load))
    monkeypatch.setattr(data, "load_image", at_most(data.load_image))
    monkeypatch.setattr(data, "load", few(data.load))
    return {"net": Features().eval(), "x": torch.rand(2, 3, 40, 40), "explain": explain}


def replaced(load):
    def loaded(name, **settings):
        weights = settings.get("weights")
        if weights and not Path(weights).exists():
            net = models.build(name, classes=settings["classes"])
            safetensors = pytest.importorskip("safetensors.torch")
            safetensors.save_file(net.state_dict(), weights)
        fetched = str(name).startswith(FETCHED)
        return Features().eval() if fetched else load(name, **settings)

    return loaded


def at_most(load_image):
    return lambda path, size=None, **more: load_image(path, size and min(size, 40), **more)


def few(load):
    def loaded(name, *split, **settings):
        if name != "fashion-mnist":
            return load(name, *split, **settings)
        images = torch.rand(32, 1, 28, 28)
        return data.Samples(images, torch.arange(32) % 10, tuple(map(str, range(10))))

    return loaded


def text_classifier(folder):
    """A network and a tokenizer of transformers, as a reader has them."""
    from tests import test_sentences  # noqa: PLC0415 (an extra's)

    test_sentences.bert().save_pretrained(folder)
    test_sentences.tokenizer().save_pretrained(folder)


@pytest.mark.parametrize("page", [page for page in PAGES if blocks(page, "python")])
def test_blocks_of_python_run(page, given):
    text = (ROOT / page).read_text(encoding="utf-8")
    for package in re.findall(r"<!-- needs (\w+) -->", text):
        pytest.importorskip(package)
    if '"my-classifier"' in text:
        text_classifier("my-classifier")
    names = dict(given)
    exec(BEFORE.get(page, ""), names)  # noqa: S102 (our own)
    for number, block in enumerate(blocks(page, "python")):
        code = compile(block, f"{page}, block {number}", "exec")
        if (page, number) in SHOWN:
            assert_names_exist(block)
            continue
        with warnings.catch_warnings():  # tiny random networks: what is said of them is right
            warnings.simplefilter("ignore", errors.SurefootWarning)
            exec(code, names)  # noqa: S102 (our own documentation)


def assert_names_exist(block):
    """Every name that is taken from a package of this library is there."""
    for package, name in re.findall(r"\b(explain|attack|auditing|report|metric)\.(\w+)", block):
        assert hasattr(importlib.import_module(f"surefoot.{package}"), name), (package, name)


COMMANDS = [
    (page, line.strip())
    for page in PAGES
    for language in ("console", "sh")
    for block in blocks(page, language)
    for line in block.splitlines()
    if line.strip().startswith("surefoot ")
]


@pytest.mark.parametrize(("page", "line"), COMMANDS, ids=lambda one: one[:60])
def test_commands_are_ones_that_exist(page, line, given):
    words = shlex.split(line, comments=True)[1:]
    if "--config" in words:
        place = words.index("--config")
        assert words[place + 1].endswith(".yaml") or "/" in words[place + 1]
        del words[place : place + 2]
    pytest.importorskip("jsonargparse")
    from surefoot.cli._main import make_parser  # noqa: PLC0415 (an extra's)
    from surefoot.cli._options import joined  # noqa: PLC0415

    settings = make_parser().parse_args(joined(words))
    assert settings.command == words[0]


@pytest.mark.parametrize("page", [*PAGES, "CONTRIBUTING.md", "CHANGELOG.md", "SECURITY.md"])
def test_links_lead_to_files_of_the_repository(page):
    """As GitHub shows the pages; what the site makes of them is checked with the site."""
    made = ("docs/reference/", "docs/contributing/house.md", "docs/notebooks/", "docs/changes.md")
    text = re.sub(r"```.*?```", "", (ROOT / page).read_text(encoding="utf-8"), flags=re.DOTALL)
    for target in re.findall(r"\]\(([^)\s#]+)[^)]*\)", text):
        if re.match(r"[a-z]+:", target):
            continue
        path = (ROOT / page).parent.joinpath(target).resolve()
        known = path.exists() or path.relative_to(ROOT.resolve()).as_posix().startswith(made)
        assert known, target


NOTEBOOKS = sorted(path.stem for path in ROOT.glob("docs/notebooks/*.ipynb"))


def cells(name):
    told = json.loads((ROOT / f"docs/notebooks/{name}.ipynb").read_text(encoding="utf-8"))
    return ["".join(cell["source"]) for cell in told["cells"] if cell["cell_type"] == "code"]


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_notebooks_run(name, given):
    """As plain code; one of them below in a kernel of Jupyter's."""
    for package in ("pandas", "pyarrow", "jinja2") if name == "audit" else ():
        pytest.importorskip(package)
    names = {"__name__": "notebook"}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", errors.SurefootWarning)
        for number, cell in enumerate(cells(name)):
            exec(compile(cell, f"{name}, cell {number}", "exec"), names)  # noqa: S102 (our own)


def test_a_notebook_opens_in_jupyter(tmp_path):
    nbclient, nbformat = pytest.importorskip("nbclient"), pytest.importorskip("nbformat")
    pytest.importorskip("ipykernel")
    notebook = nbformat.read(ROOT / "docs/notebooks/train.ipynb", nbformat.NO_CONVERT)
    nbformat.validate(notebook)
    done = nbclient.NotebookClient(notebook, resources={"metadata": {"path": str(tmp_path)}})
    shown = [part for cell in done.execute().cells for part in cell.get("outputs", [])]
    # A line may come in two messages.
    assert "% right" in "".join(part.get("text", "") for part in shown), shown


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_notebooks_are_light(name):
    path = ROOT / f"docs/notebooks/{name}.ipynb"
    assert path.stat().st_size < 500_000
    assert "site-packages" not in path.read_text(encoding="utf-8")  # no warnings, no paths
    assert '"stderr"' not in path.read_text(encoding="utf-8")
