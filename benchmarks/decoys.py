"""Decoys on the demo network: certificates, swing against layer and epsilon, number of decoys.

python benchmarks/decoys.py [--photographs 2] [--output benchmarks/results/decoys.json]

Writes one JSON file, row by row, and goes on where an earlier run of the same settings stopped.
"""

import argparse
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from resume import Jobs, study
from surefoot import data, explain, metric, models
from surefoot.decoy import Decoys, make_decoys

LAYERS = ["_blocks.0", "_blocks.1", "_blocks.2", "_blocks.3", "_blocks.5"]
EPSILONS = [0.02, 0.05, 0.1, 0.2]
COUNTS = [8, 18, 32, 64, 128]
SEED = 0


def pairs(d: Decoys, image: Tensor) -> Tensor:
    """The share of its room that each (patch, sign) pair uses, where it has room, (P,)."""
    shares = []
    for j, corners in enumerate(d.corners):
        sign = d.sign[j]
        gone = (sign * (d.inputs[0, j] - image)).clamp_min(0)
        room = (1 - image) if sign > 0 else image
        for row, column in corners.tolist():
            where = (slice(None), slice(row, row + d.patch), slice(column, column + d.patch))
            if room[where].sum() > 1e-2:
                shares.append(gone[where].sum() / room[where].sum())
    return torch.stack(shares)


def random_of_same_size(d: Decoys, image: Tensor) -> Tensor:
    """For each decoy a random change inside its patches, of each patch's L1 size, (M, C, H, W)."""
    generator = torch.Generator().manual_seed(SEED)
    change = torch.zeros_like(d.inputs[0])
    for j, corners in enumerate(d.corners):
        for row, column in corners.tolist():
            where = (slice(None), slice(row, row + d.patch), slice(column, column + d.patch))
            noise = torch.randn(image[where].shape, generator=generator)
            size = (d.inputs[0, j][where] - image[where]).abs().sum()
            change[j][where] = noise * size / noise.abs().sum()
    return image + change


def deviations(model: nn.Module, layer: str, image: Tensor, rows: Tensor) -> Tensor:
    """Largest |F_l(row) - F_l(x)| / rms, by a plain hook of this file's own, (M,)."""
    kept: list[Tensor] = []
    handle = model.get_submodule(layer).register_forward_hook(
        lambda _m, _a, out: kept.append(out.flatten(1).clone())
    )
    with torch.no_grad():
        model(image[None])
        for some in rows.split(4):
            model(some)
    handle.remove()
    clean, found = kept[0], torch.cat(kept[1:])
    return (found - clean).abs().amax(1) / clean.square().mean().sqrt()


def certificate(model: nn.Module, image: Tensor, **settings: Any) -> dict[str, Any]:
    """What one search gives on one photograph."""
    d = make_decoys(model, image[None], seed=SEED, **settings)
    found = deviations(model, d.layer, image, d.inputs[0])
    random = deviations(model, d.layer, image, random_of_same_size(d, image))
    shares = pairs(d, image)
    label = model(image[None]).argmax(1)
    kept = torch.cat([model(some).argmax(1) == label for some in d.inputs[0].split(4)])
    return {
        "layer": d.layer,
        "epsilon": d.epsilon,
        "decoys": d.inputs.shape[1],
        "coverage": round(d.coverage, 4),
        "joint": d.joint,
        "feasible": float((found <= d.epsilon * (1 + 1e-4)).float().mean()),
        "pairs": len(shares),
        "pairs using 1 % of their room": round(float((shares >= 0.01).float().mean()), 4),
        "median share of room used": round(float(shares.median()), 4),
        "median of random deviation / decoy deviation": round(float((random / found).median()), 2),
        "predictions kept": round(float(kept.float().mean()), 4),
    }


def counts(model: nn.Module, image: Tensor) -> list[dict[str, Any]]:
    """Coverage, and likeness of the map to that of the most decoys, against their number."""
    maps, rows = [], []
    for count in COUNTS:
        e = explain.Decoy(explain.Gradient(), decoys=count, seed=SEED)
        result = e.explain(model, image[None])
        maps.append(explain.heatmap(result.attributions))
        rows.append({"decoys": result.details["swing"].shape[1], "asked": count})
        rows[-1]["coverage"] = round(float(result.details["coverage"]), 4)
    for row, one in zip(rows, maps, strict=True):
        row["spearman to the map of most decoys"] = round(float(metric.spearman(one, maps[-1])), 3)
    return rows


def jobs(model: nn.Module, name: str, image: Tensor, table: bool) -> Jobs:
    """What is measured on one photograph, by name."""
    prefix = next(n for n, _ in model.named_modules() if n.endswith("_blocks"))[: -len("_blocks")]
    found: Jobs = {f"{name}: defaults": lambda: certificate(model, image)}
    if not table:
        return found
    for layer in LAYERS:
        for epsilon in EPSILONS:
            found[f"{name}: {layer}, epsilon {epsilon}"] = partial(
                certificate, model, image, layer=prefix + layer, epsilon=epsilon
            )
    found[f"{name}: number of decoys"] = lambda: counts(model, image)
    return found


COLUMNS = {
    "epsilon": "epsilon",
    "coverage": "coverage",
    "feasible": "feasible",
    "median share of room used": "median swing of a patch",
    "pairs using 1 % of their room": "pairs that use 1 %",
    "median of random deviation / decoy deviation": "random / decoy deviation",
    "predictions kept": "predictions kept",
}


def markdown(done: dict[str, Any]) -> str:
    """The rows as tables: certificates, then the number of decoys."""
    lines = ["| photograph | layer | " + " | ".join(COLUMNS.values()) + " |"]
    lines.append("|" + "---|" * (len(COLUMNS) + 2))
    for name, row in done.items():
        if isinstance(row, dict):
            start = f"| {name.partition(':')[0]} | `{row['layer'].rpartition('module.')[2]}` | "
            lines.append(start + " | ".join(f"{row[column]:g}" for column in COLUMNS) + " |")
    for name, row in done.items():
        if isinstance(row, list):
            head = list(row[0])
            lines += ["", f"{name}:", "", "| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
            lines += [
                "| " + " | ".join(f"{one[column]:g}" for column in head) + " |" for one in row
            ]
    return "\n".join(lines)


def everything(options: argparse.Namespace) -> Jobs:
    """The defaults on every photograph first, then the tables."""
    model = models.load("efficientnet-lite0")
    photographs = [(n, data.load_image(p, 224)) for n, p in data.photographs()]
    todo: Jobs = {}
    for with_table in (False, True):
        for i, (name, image) in enumerate(photographs[: options.photographs]):
            if with_table <= (i < options.tables):
                todo |= jobs(model, name, image, with_table)
    return todo


def options(parser: argparse.ArgumentParser) -> None:
    """What this study adds to a study's options."""
    parser.add_argument("--photographs", type=int, default=3, help="how many, at the defaults")
    parser.add_argument("--tables", type=int, default=2, help="how many of them get the tables")


if __name__ == "__main__":
    study(__doc__, "decoys", everything, markdown, options=options)
