"""Decoy-enhanced maps (DANCE, arXiv 2002.00526): is it the decoys, or is it the range?

Each cell is one base method on one network; its arms share masks, sizes and the number of maps:
the base map alone, the range over decoys, the mean over them, and ranges over patches that move
towards a constant, at random, or towards a blurred picture by as much as the decoys do. SF is
taken in both readings of its print. Attacks are made for each arm itself; "transferred" ones were
made for the base map. All settings that the paper does not give are this project's choice.
"""

from functools import partial
from pathlib import Path
from typing import Any

from torch.utils.data import DataLoader, TensorDataset

import surefoot
from studies._boxes import by_explainer
from studies._cells import Cell, Found, made_by
from studies._claims import Claim, difference
from studies._decoy_networks import IMAGES, Loaded, Network, networks
from studies._page import Study
from surefoot import attack, auditing, explain, metric
from surefoot.attack import Linf

BASES = ("gradient", "integrated-gradients", "smoothgrad")
SF = "saliency_fidelity"
INSIDE = {"mass in the box": "relevance_mass_accuracy", "pointing game": "pointing_game"}


def base_of(name: str, noise: float) -> explain.Explainer:
    """A base method; SmoothGrad with noise of that standard deviation."""
    return {
        "gradient": explain.Gradient(),
        "integrated-gradients": explain.IntegratedGradients(steps=16),
        "smoothgrad": explain.SmoothGrad(samples=16, std=noise),
    }[name]


def arms(
    base: explain.Explainer,
    decoys: int,
    controls: Any = IMAGES,
    bounds: tuple[float, float] = (0.0, 1.0),
) -> dict[str, explain.Explainer]:
    """The arms of the comparison, by name."""
    made = partial(explain.Decoy, base, decoys=decoys, bounds=bounds)
    ranges = {f"{source}, range": made(source=source) for source in controls}
    return {
        "without": base,
        "decoys, range": made(),
        **ranges,
        "decoys, mean": made(aggregate="mean"),
    }


def _run(network: Network, name: str, folder: Path) -> Found:
    loaded = network.load()
    if name != BASES[0]:  # the others cost many times as much
        loaded = loaded.first(60)
    base = base_of(name, network.noise)
    explainers = arms(base, network.decoys, network.controls, (loaded.low, loaded.high))
    measured = {"SF": metric.get(SF), "SF, mean": metric.get(SF, denominator="mean")}
    measured |= {"gini": metric.get("gini")}
    inside = {} if loaded.masks is None else INSIDE
    measured |= {one: metric.get(one) for one in inside.values()}
    clean = surefoot.audit(
        *(loaded.model, DataLoader(TensorDataset(loaded.x, loaded.y), batch_size=10)),
        explainers=explainers,
        metrics=measured,
        masks=loaded.masks,
        block=10,
        out=folder / "clean",
    )
    attacked = _attacked(network, loaded, base, explainers, folder / "attacked")
    figures = {"samples": len(clean)}
    if loaded.accuracy is not None:
        figures["accuracy"] = loaded.accuracy
    facts = {
        "base": repr(base),
        "attacks": {one: repr(made) for one, made in _attacks(network, loaded).items()},
        "decoys": repr(explainers["decoys, range"]),
    }
    return Found.of([clean, *attacked], figures, {**facts, **made_by()})


def _attacks(network: Network, loaded: Loaded) -> dict[str, Any]:
    kinds = {"topk": attack.TopK, "mass centre": attack.MassCenter, "target": attack.Target}
    budget = Linf(network.epsilon, steps=network.steps, bounds=network.bounds(loaded))
    return {name: kinds[name](budget, k=network.k) for name in network.attacks}


def _attacked(
    network: Network,
    loaded: Loaded,
    base: explain.Explainer,
    explainers: dict[str, explain.Explainer],
    folder: Path,
) -> list[auditing.AuditResult]:
    """Base and decoys under attacks made for each itself, and under those made for the base."""
    found = _attacks(network, loaded)
    if not found:
        return []
    others = {f"{n}, transferred": auditing.Transferred(one, base) for n, one in found.items()}
    few = TensorDataset(loaded.x[: network.attacked], loaded.y[: network.attacked])
    return [
        surefoot.audit(
            *(loaded.model, DataLoader(few, batch_size=10)),
            explainers={name: explainers[name] for name in ("without", "decoys, range")},
            attacks={**found, **others},
            metrics=["topk_intersection", "sensitivity"],
            block=10,
            out=folder,
        )
    ]


def cells(size: str, root: Path | None) -> list[Cell]:
    """Every base method on every network."""
    bases = BASES[:1] if size == "smoke" else BASES
    return [
        Cell(network.name, name, 0, partial(_run, network, name))
        for network in networks(size, root)
        for name in bases
    ]


def _less(a: str, b: str, measure: str, base: str) -> Any:
    """By how much a's value is below b's: of SF and sensitivity, less is better."""
    return difference(f"{base} > {a} | {measure}", f"{base} > {b} | {measure}", scale=-1)


def _claims() -> list[Claim]:
    found = []
    for base in BASES:
        for other in ("without", "constant, range", "noise, range", "decoys, mean"):
            says = f"{base}: SF of decoys with range is below that of {other}"
            effect = _less("decoys, range", other, "clean | SF", base)
            found.append(Claim(says, "DANCE, poster and 4.2", effect))
        for title, measure in INSIDE.items():
            for other in ("without", "noise, range"):
                says = f"{base}: {title} is higher for decoys with range than for {other}"
                place = f"{base} > decoys, range | clean | {measure}"
                against = f"{base} > {other} | clean | {measure}"
                found.append(Claim(says, "this project", difference(place, against)))
        for name in ("topk", "mass centre", "target"):
            says = f"{base}: sensitivity of decoys is below the base's under {name}"
            for kind in ("", ", transferred"):
                effect = _less(
                    "decoys, range", "without", f"{name}{kind} | relative_sensitivity", base
                )
                found.append(Claim(f"{says}{kind}, over the map's norm", "DANCE, 4.3", effect))
    return found


STUDY = Study(
    name="decoys",
    title="Decoy-enhanced maps: is it the decoys, or is it the range?",
    about=__doc__ or "",
    columns={
        f"{measure}: {arm}": f"{arm} | clean | {measure}"
        for measure in ("SF", "SF, mean")
        for arm in arms(explain.Gradient(), 2)
    }
    | {
        f"{title}: {arm}": f"{arm} | clean | {measure}"
        for title, measure in INSIDE.items()
        for arm in ("without", "decoys, range", "noise, range")
    },
    claims=_claims(),
    differs=(
        "Networks and data: ResNets and EfficientNet-Lite0 for VGG-16 and AlexNet, rt-polarity for "
        "SST with vectors learnt from scratch, NSL-KDD for CSE-CIC-IDS2018.",
        "CIFAR-10's test images are JPEG copies, on which the published weights get 81 % right.",
        "Solver, epsilon, layer (a cut), stride and the number of decoys, which the paper leaves "
        "to an appendix that was not at hand, are this library's defaults.",
        "Maps of text and records are the sum of absolute values over a word's embedding; the "
        "paper takes the mean. Noise in embeddings, which the paper calls invalid, is the control "
        "of equal size there.",
        "Attacks: 20 steps in a small ball, k a tenth of the map; the paper tells of k = 5,000 "
        "only. It does not say whether its attacks know of the decoys: here both are measured.",
        "IntegratedGradients and SmoothGrad are measured on 60 samples, Gradient on all.",
    ),
    panels=by_explainer("SF", tuple(arms(explain.Gradient(), 2))),
)
