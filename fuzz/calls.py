"""Calls of the public API with values of every sort, drawn by hypothesis."""

import dataclasses
import inspect
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np
import torch
from hypothesis import strategies

import surefoot
from fuzz._drawn import shaken
from fuzz._outcome import Tally
from fuzz._values import INPUTS, MODELS, NUMBERS, TARGETS
from surefoot import attack, certify, data, decoy, explain, metric, models, testing, train

EXPLAINERS = (
    *("Gradient", "InputXGradient", "IntegratedGradients", "SmoothGrad", "Decoy"),
    *("ExpectedGradients", "Captum"),
)
ATTACKS = (
    *("TopK", "MassCenter", "Dissimilarity", "RandomSign", "Target", "Manipulation", "Ensemble"),
)
METHODS = ("Saliency", "GuidedBackprop", "DeepLift", "Occlusion", "LayerGradCam", "absent")
TEXTS = (
    *("Gradient()", "SmoothGrad(Gradient(), samples=2)", "TopK(Linf(8/255, steps=2), k=3)"),
    *("Decoy(Gradient(), layer='0')", "SCAAT(4/255)", "SGD(lr=0.1)", "", "Gradient", "None"),
    *("__import__('os')", "Gradient(score=1)", "Linf(1/0)", "[" * 200, "Gradient(" * 60),
    *('{"type": "Gradient", "score": "logit"}', '{"type": "float", "value": "x"}', "[]"),
    *('{"type": "dict", "items": [[[], 1]]}', '{"type": "import", "path": "x"}', '{"type": 5}'),
)


@dataclasses.dataclass(frozen=True)
class Call:
    """What is called, and from which pool each argument comes."""

    name: str
    run: Callable[[Mapping[str, Any]], Any] = dataclasses.field(repr=False)
    pools: Mapping[str, Mapping[str, Callable[[], Any]]] = dataclasses.field(repr=False)
    right: Mapping[str, str]
    finite: bool = False


def _settings(kind: Any) -> dict[str, Any]:
    """Its settings that may be fuzzed, with their defaults."""
    found = {}
    for name, one in inspect.signature(kind).parameters.items():
        if one.kind in (one.POSITIONAL_OR_KEYWORD, one.KEYWORD_ONLY):
            found[name] = one.default
    return found


def _with(pools: Mapping[str, Any], kind: Any, leave: tuple[str, ...] = ()) -> dict[str, Any]:
    return {**pools, **{n: NUMBERS for n in _settings(kind) if n not in leave and n not in pools}}


MAPS = INPUTS | {
    "maps": lambda: INPUTS["pictures"]().sum(1),
    "unit": lambda: INPUTS["pictures"]().mean(1),
    "ties": lambda: torch.zeros(2, 8, 8),
    "mask": lambda: INPUTS["pictures"]().sum(1) > 1,
}
BATCH = {"model": MODELS, "inputs": INPUTS, "target": TARGETS}
RIGHT_BATCH = {"model": "net", "inputs": "pictures", "target": "None"}


def _own(given: Mapping[str, Any], *names: str) -> dict[str, Any]:
    return {name: value for name, value in given.items() if name not in names}


def _explainer(name: str) -> Call:
    kind = getattr(explain, name)
    small_settings = {"steps": 2, "samples": 2, "decoys": 4}
    fixed = {n: v for n, v in small_settings.items() if n in _settings(kind)}
    words = {"algorithm": {method: partial(str, method) for method in METHODS}}
    words["baselines"] = INPUTS
    own_pools = {n: words[n] for n in words if n in _settings(kind)}
    right = RIGHT_BATCH | {n: {"algorithm": "Saliency", "baselines": "one"}[n] for n in own_pools}

    def run(given: Mapping[str, Any]) -> Any:
        own = fixed | _own(given, *BATCH)
        inner = (explain.Gradient(),) if name in ("SmoothGrad", "Decoy") else ()
        made = kind(*inner, **own)
        repr(made), hash(made)
        return made(given["model"], given["inputs"], given["target"])

    pools = _with({**BATCH, **own_pools}, kind, ("base", "explainer", "source"))
    return Call(f"explain.{name}", run, pools, right, finite=True)


def _attack(name: str) -> Call:
    kind = getattr(attack, name)
    maps = {n: MAPS for n in ("towards", "region") if n in _settings(kind)}
    quick = {n: v for n, v in {"effort": "quick", "k": 5}.items() if n in _settings(kind)}

    def run(given: Mapping[str, Any]) -> Any:
        budget = {n[7:]: v for n, v in given.items() if n.startswith("budget_")}
        norm = attack.L2 if budget.pop("l2", None) is not None else attack.Linf
        own = {n: v for n, v in given.items() if not n.startswith("budget_") and n not in BATCH}
        made = kind(norm(**{"epsilon": 0.1, "steps": 2, **budget}), **(quick | own))
        return made(given["model"], given["inputs"], given["target"], explain.Gradient())

    pools = _with({**BATCH, **maps}, kind, ("budget", "progress"))
    names = ("epsilon", "steps", "step_size", "bounds", "restarts", "l2")
    pools |= {f"budget_{one}": NUMBERS for one in names}
    right = RIGHT_BATCH | dict.fromkeys(maps, "maps" if "towards" in maps else "mask")
    return Call(f"attack.{name}", run, pools, right, finite=True)


def _prediction(name: str) -> Call:
    kind = getattr(attack, name)

    def run(given: Mapping[str, Any]) -> Any:
        made = kind(attack.Linf(0.1, steps=2), **_own(given, *BATCH))
        return made(given["model"], given["inputs"], given["target"])

    pools = _with(BATCH, kind, ("budget", "progress"))
    return Call(f"attack.{name}", run, pools, RIGHT_BATCH | {"target": "1"})


def _metric(name: str) -> Call:
    one = metric.REGISTRY[name]
    made = {"model": MODELS, "target": TARGETS, "images": INPUTS, "images2": INPUTS}
    pools: dict[str, Any] = {
        need: made.get(need, MAPS) for need in one.needs if need != "explainer"
    }
    right = {"model": "net", "images": "pictures", "images2": "pictures", "target": "None"}
    right |= {"mask": "mask", "attributions": "pictures"}
    quick = {"samples": 2, "runs": 3, "steps": 3, "groups": 3, "k": 5, "window": 3}
    fixed = {n: v for n, v in quick.items() if n in _settings(one.function)}
    if "layer" in _settings(one.function):
        fixed["layer"] = "0"

    def run(given: Mapping[str, Any]) -> Any:
        options = fixed | _own(given, *one.needs)
        words = dict(given) | {"explainer": explain.Gradient()}
        return one.function(*(words[need] for need in one.needs), **options)

    options = {n: NUMBERS for n in _settings(one.function) if n not in one.needs}
    known = {need: right.get(need, "unit") for need in pools}
    return Call(f"metric.{name}", run, pools | options, known)


def _objective(name: str) -> Call:
    kind = getattr(train, name)
    quick = {n: 1 for n in ("steps", "samples") if n in _settings(kind)}

    def run(given: Mapping[str, Any]) -> Any:
        made = kind(**(quick | _own(given, *BATCH)))
        loss = made(given["model"], given["inputs"], given["target"])
        loss.total.backward()
        return loss.total

    return Call(
        f"train.{name}", run, _with(BATCH, kind), RIGHT_BATCH | {"target": "1"}, finite=True
    )


def _fit() -> Call:
    def run(given: Mapping[str, Any]) -> Any:
        pictures, labels = given["inputs"], given["target"]
        samples = pictures
        if isinstance(pictures, torch.Tensor) and pictures.ndim and len(pictures):
            one = [(pictures[0], labels)] * 4
            samples = [(each, 0) for each in pictures] if labels is None else one
        loop = train.Loop(**{"steps": 2, "batch": 2, **_own(given, *BATCH, "log_every")})
        log = {"log_every": given["log_every"]} if "log_every" in given else {}
        return train.fit(given["model"], train.Natural(), samples, loop, **log).steps

    pools = _with({**BATCH, "log_every": NUMBERS}, train.Loop)
    return Call("train.fit", run, pools, RIGHT_BATCH | {"target": "1"})


def _decoys() -> Call:
    def run(given: Mapping[str, Any]) -> Any:
        own = {"layer": "0", "decoys": 4, **_own(given, *BATCH)}
        return decoy.make_decoys(given["model"], given["inputs"], **own).inputs

    pools = _with(BATCH, decoy.make_decoys, ("progress",))
    return Call("decoy.make_decoys", run, pools, RIGHT_BATCH, finite=True)


def _build(name: str) -> Call:
    maker = models.NETWORKS[name].make
    fixed = {"mlp": {"features": 5}, "text-cnn": {"vocabulary": 9}}.get(name, {})

    def run(given: Mapping[str, Any]) -> Any:
        return models.build(name, seed=0, **(fixed | dict(given))) and None

    huge = ("1e+30", "9223372036854775808")
    pool = {n: v for n, v in NUMBERS.items() if n not in huge}
    return Call(f"models.build({name})", run, dict.fromkeys(_settings(maker), pool), {})


def _classifier() -> Call:
    def run(given: Mapping[str, Any]) -> Any:
        made = models.Classifier(given["model"], **_own(given, "model", "inputs"))
        return explain.Gradient()(made, given["inputs"], None)

    pools = _with({"model": MODELS, "inputs": INPUTS}, models.Classifier, ("module",))
    return Call(
        "models.Classifier", run, pools, {"model": "net", "inputs": "pictures"}, finite=True
    )


def _audit() -> Call:
    def run(given: Mapping[str, Any]) -> Any:
        own = {"metrics": ["gini"], **_own(given, *BATCH)}
        explainers = {"gradient": explain.Gradient()}
        batch = (given["inputs"], given["target"])
        return len(surefoot.audit(given["model"], batch, explainers=explainers, **own))

    leave = ("model", "loader", "explainers", "out", "progress", "executor", "overwrite")
    pools = _with(BATCH, surefoot.audit, leave)
    return Call("surefoot.audit", run, pools, RIGHT_BATCH | {"target": "each"})


def _texts() -> list[Call]:
    readers = {
        "explain.parse": explain.parse,
        "attack.parse": attack.parse,
        "train.parse": train.parse,
        "explain.from_json": explain.from_json,
        "data.load": lambda text: data.load(text, "test", "absent") and None,
        "models.load": lambda text: models.load(text) and None,
    }
    pool = {text[:30] or "''": (lambda text=text: text) for text in TEXTS}
    pool |= {
        f"{kind}:{text}": (lambda kind=kind, text=text: f"{kind}:{text}")
        for kind in ("arrays", "folder", "timm", "torchvision", "surefoot", "os", "")
        for text in ("absent", "", "\0", "../..", "path", "x" * 5000)
    }
    pool |= {name: NUMBERS[name] for name in ("None", "2", "[]", "object", "nan", "{}")}
    rights = (TEXTS[0], TEXTS[2][:30], TEXTS[4], TEXTS[14][:30], "arrays:absent", "os:path")
    return [
        Call(name, lambda given, read=read: read(given["text"]), {"text": pool}, {"text": right})
        for (name, read), right in zip(readers.items(), rights, strict=True)
    ]


def _reductions() -> list[Call]:
    return [
        Call(
            f"explain.{name}",
            lambda given, name=name: getattr(explain, name)(**given),
            {"attributions": MAPS, **dict.fromkeys(options, NUMBERS)},
            {"attributions": "pictures"},
        )
        for name, options in (("reduce", ("reduction",)), ("heatmap", ("percentile",)))
    ]


def _functions() -> list[Call]:
    """Functions of a model and inputs, with the settings that come after."""
    plain, small = explain.Gradient(), {"radius": 0.01, "samples": 4, "guesses": 2, "steps": 3}
    every: dict[str, tuple[Callable[..., Any], Any]] = {
        "certify.Smoothed": (
            lambda model, x, y, **own: certify.Smoothed(plain, **own)(model, x, y).mask,
            certify.Smoothed,
        ),
        "certify.Exact": (
            lambda model, x, y, **own: certify.Exact(plain, **own)(model, x, y).mask,
            certify.Exact,
        ),
        "certify.gradient_bounds": (certify.gradient_bounds, certify.gradient_bounds),
        "decoy.layers": (lambda model, x, _, **own: decoy.layers(model, x, **own), decoy.layers),
        "models.folded": (lambda model, x, _: models.folded(model, x)(x), len),
        "attack.smooth": (
            lambda model, x, y, **own: plain(attack.smooth(model, **own), x, y),
            attack.smooth,
        ),
        "testing.check_explainer": (partial(testing.check_explainer, plain), len),
        "explain.quantus": (explain.quantus(plain), len),
        "explain.bind": (lambda model, x, y: explain.bind(plain, model).attribute(x, y), len),
        "explain.explain": (lambda *batch: repr(plain.explain(*batch)), len),
    }

    def call(name: str, function: Callable[..., Any], settings: Any) -> Call:
        quick = {n: v for n, v in small.items() if n in _settings(settings)}

        def run(given: Mapping[str, Any]) -> Any:
            batch = (given["model"], given["inputs"], given["target"])
            return function(*batch, **(quick | _own(given, *BATCH)))

        leave = ("model", "explainer", "extra", "layout", "obj")
        pools = {n: p for n, p in _with(BATCH, settings, leave).items() if n not in leave[1:]}
        return Call(name, run, pools, RIGHT_BATCH)

    return [call(name, *given) for name, given in every.items()]


def every() -> list[Call]:
    """All that is called."""
    return [
        *map(_explainer, EXPLAINERS),
        *map(_attack, ATTACKS),
        *map(_prediction, ("PGD", "FGSM")),
        *map(_metric, metric.names()),
        *(_objective(name) for name in train.names() if name[0].isupper()),
        *map(_build, models.names()),
        *(_fit(), _decoys(), _classifier(), _audit()),
        *_texts(),
        *_functions(),
        *_reductions(),
    ]


@strategies.composite
def drawn(draw: Any, calls: list[Call]) -> tuple[Call, dict[str, str]]:
    """A call and the names of its arguments: right but for a few."""
    call = draw(strategies.sampled_from(calls))
    names = dict(call.right)
    for _ in range(draw(strategies.integers(0, 3))):
        if call.pools:
            argument = draw(strategies.sampled_from(sorted(call.pools)))
            names[argument] = draw(strategies.sampled_from(sorted(call.pools[argument])))
    return call, names


def run(number: int, seed: int = 0) -> Tally:
    """So many calls."""
    torch.set_num_threads(1)
    tally = Tally()

    def shake(one: tuple[Call, dict[str, str]]) -> None:
        call, names = one
        torch.manual_seed(0)
        np.random.seed(0)  # noqa: NPY002
        given = {argument: call.pools[argument][name]() for argument, name in names.items()}
        what = f"{call.name}({', '.join(f'{a}={n}' for a, n in sorted(names.items()))})"
        tally.judge(what, lambda: call.run(given), finite=call.finite)

    return shaken(drawn(every()), shake, tally, number, seed)
