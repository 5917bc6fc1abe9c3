"""Makes docs/gallery.md and its pictures: methods, attacks, layouts and objectives, side by side.

    pip install "surefoot[demo]" && pip install --no-deps foolbox
    python examples/gallery.py               # all of it, some minutes on two cores
    python examples/gallery.py methods       # one of methods, attacks, objectives

Photographs are scikit-image's, pictures of clothes foolbox's, networks come with packages.
The pictures of the other layouts are made by examples/pictures.py.
"""

import importlib.util
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import torch
from matplotlib.figure import Figure
from torch import Tensor, nn

from surefoot import attack, data, explain, metric, models, report

DOCS = Path(__file__).parents[1] / "docs"
SIZE = 160  # pixels a side
DPI = 110
PICTURES: dict[str, Callable[[], Figure]] = {}
Shown = tuple[Tensor, bool]  # a picture (C, H, W) or a map (H, W), and whether it has two signs


def shows(make: Callable[[], Figure]) -> Callable[[], Figure]:
    """Register a picture under its function's name; the docstring says what is to be seen."""
    PICTURES[make.__name__] = make
    return make


def sheet(rows: Mapping[str, Sequence[Shown]], columns: Sequence[str], inches: float) -> Figure:
    """Pictures and maps in rows and columns, for paper and slide alike."""
    high = inches * len(rows)
    figure = Figure(figsize=(inches * len(columns) + 1.3, high + 0.4), layout="constrained")
    axes = figure.subplots(len(rows), len(columns), squeeze=False)
    for line, (name, shown) in zip(axes, rows.items(), strict=True):
        line[0].set_ylabel(name, rotation=0, ha="right", va="center", fontsize=9)
        for axis, (one, signed) in zip(line, shown, strict=True):
            axis.set_xticks([])
            axis.set_yticks([])
            axis.spines[:].set_visible(False)
            if one.ndim == 3:
                axis.imshow(one.movedim(0, -1).expand(-1, -1, 3).clamp(0, 1))
            elif signed:
                axis.imshow(one, cmap="RdBu_r", vmin=-1, vmax=1)
            else:
                axis.imshow(one, cmap="inferno", vmin=0, vmax=1)
    for axis, title in zip(axes[0], columns, strict=True):
        axis.set_title(title, fontsize=9)
    return figure


def photographs(*names: str) -> tuple[nn.Module, Tensor]:
    """The network of the demo, and photographs (N, 3, SIZE, SIZE)."""
    images = [data.load_image(data.locate(name), SIZE) for name in names]
    return models.load("efficientnet-lite0"), torch.stack(images)


@shows
def methods() -> Figure:
    """Every explainer on the same two photographs, each map scaled by itself."""
    model, images = photographs("coffee", "chelsea")
    plain = explain.IntegratedGradients(steps=8)
    background = torch.stack([images.flip(3), 1 - images]).flatten(0, 1)
    recipes = {
        "Gradient": explain.Gradient(),
        "Input x\nGradient": explain.InputXGradient(),
        "Integrated\nGradients": plain,
        "SmoothGrad": explain.SmoothGrad(explain.Gradient(), samples=16),
        "Expected\nGradients": explain.ExpectedGradients(background, samples=16),
        "captum:\nLayerGradCam": explain.Captum("LayerGradCam", layer="module._blocks.15"),
        "Decoy of\nGradient": explain.Decoy(explain.Gradient(), decoys=50),
        "Decoy of\nSmoothGrad": explain.Decoy(
            explain.SmoothGrad(explain.Gradient(), samples=4), decoys=24
        ),
    }
    rows: dict[str, list[Shown]] = {"photograph": [(image, False) for image in images]}
    for name, recipe in recipes.items():
        heat = explain.heatmap(recipe(model, images), percentile=99)
        rows[name] = [(one, False) for one in heat]
    columns = list(rows)
    turned = zip(*rows.values(), strict=True)
    return sheet(dict(zip(("coffee", "chelsea"), turned, strict=True)), columns, 1.15)


@shows
def attacks() -> Figure:
    """Every attack on the map of Gradient at 2/255: the same prediction, another map."""
    model, images = photographs("coffee")
    budget, base = attack.Linf(2 / 255, steps=10), explain.Gradient()
    before = explain.heatmap(base(model, images), percentile=99)
    towards = torch.zeros_like(before)
    towards[:, :40, :40] = 1
    kinds = {
        "random signs\n(control)": attack.RandomSign(budget, k=500),
        "TopK": attack.TopK(budget, k=500),
        "MassCenter": attack.MassCenter(budget),
        "Target:\nupper left": attack.Target(budget, region=towards[0].bool()),
        "Dissimilarity": attack.Dissimilarity(budget),
        "Ensemble": attack.Ensemble(budget, k=500, effort="quick"),
    }
    rows: dict[str, list[Shown]] = {"before": [(images[0], False), (images[0] * 0 + 0.5, False)]}
    rows["before"].append((before[0], False))
    for name, kind in kinds.items():
        found = kind(model, images, None, base)
        heats = [explain.reduce(each, "sum_abs") for each in (found.before, found.after)]
        left = float(metric.topk_intersection(*heats, k=500))
        change = (found.inputs - found.originals)[0] * 255 / 4 + 0.5
        heat = explain.heatmap(found.after, percentile=99)[0]
        shown: list[Shown] = [(found.inputs[0], False), (change, False), (heat, False)]
        rows[f"{name}\n{left:.0%} left"] = shown
    names = ("photograph", "change, x 64", "map")
    whole = zip(names, zip(*rows.values(), strict=True), strict=True)
    return sheet(dict(whole), list(rows), 1.25)


@shows
def objectives() -> Figure:
    """One network of each objective, Integrated Gradients of the same pictures of clothes."""
    found = importlib.util.find_spec("foolbox")
    if found is None or not found.submodule_search_locations:
        sys.exit("the pictures are foolbox's: pip install --no-deps foolbox")
    folder = Path(found.submodule_search_locations[0]) / "data"
    paths = sorted(folder.glob("fashionMNIST_*"))[:6]
    images = torch.stack([data.load_image(path, 28).mean(0, keepdim=True) for path in paths])
    rows: dict[str, list[Shown]] = {"picture": [(image, False) for image in images]}
    for name in models.cards():
        if not name.startswith("fashion-mnist/") or "narrow" in name:
            continue
        a = explain.IntegratedGradients(steps=32)(models.load(name), images).sum(1)
        largest = a.abs().flatten(1).quantile(0.99, 1)[:, None, None]
        rows[name.removeprefix("fashion-mnist/")] = [(one, True) for one in a / largest]
    return sheet(rows, [f"{number + 1}" for number in range(len(images))], 0.95)


def main(chosen: list[str]) -> None:
    """Make the chosen pictures."""
    folder = DOCS / "gallery"
    folder.mkdir(exist_ok=True)
    for name in chosen or PICTURES:
        path = folder / f"{name}.webp"
        path.write_bytes(report.render(PICTURES[name](), ".webp", DPI))
        print(f"docs/gallery/{path.name}: {path.stat().st_size // 1000} kB")


if __name__ == "__main__":
    main(sys.argv[1:])
