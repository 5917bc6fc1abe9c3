"""For each explainer, the samples that held best, middling and worst, as pictures are drawn of.

They are chosen from the finished rows and attacked once more, since no run keeps every picture.
"""

import io
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

from surefoot import errors, explain, gradients
from surefoot.auditing._gather import Key, gather
from surefoot.auditing._loader import Batch
from surefoot.auditing._parts import FACTORS
from surefoot.auditing._source import device_of, joined
from surefoot.auditing._threat import NATURAL
from surefoot.auditing._unit import Unit, run
from surefoot.auditing._work import Work
from surefoot.errors import SurefootError
from surefoot.files import check_entries, parse_json, read_bytes, write_whole

if TYPE_CHECKING:
    import pyarrow as pa

_RANKS = ("best", "median", "worst")
_LARGEST = 2**28  # bytes of a file of pictures
Pixels = NDArray[np.uint8]


@dataclass(frozen=True, eq=False)
class Shown:
    """One sample under an attack, in bytes.

    Attributes:
        about: model, explainer, attack, metric, value, rank ("best", "median", "worst"), sample,
            name, label, `predicted` before and after, and `largest`, the largest change in [0, 1].
        original: (C, H, W) uint8.
        perturbed: (C, H, W) uint8.
        difference: (C, H, W) int8, in units of `largest` / 127.
        before: (H, W) uint8, the heat map of the original.
        after: (H, W) uint8, of the perturbed input.
    """

    about: Mapping[str, Any]
    original: Pixels
    perturbed: Pixels
    difference: NDArray[np.int8]
    before: Pixels
    after: Pixels


def drawn(
    work: Work, read: Callable[[], Iterable["pa.Table"]], settings: Mapping[str, Any]
) -> list[Shown]:
    """The pictures of every explainer; none where the inputs are no images."""
    metric = _similarity(settings["metrics"])
    if metric is None:
        return []
    higher = settings["metrics"][metric]["higher_is_better"]
    hardest = _hardest(read(), metric, higher)
    values = _values(read(), metric, hardest)
    found = []
    for unit in work.plan.units():
        key = (unit.model[0], unit.explainer[0], unit.attack)
        for about in _chosen(values.get(key, []), higher):
            batch = _sample(work, about["sample"])
            if batch is None or batch.inputs.ndim != 4 or batch.inputs.shape[1] not in (1, 3):
                return []
            name = "" if work.names is None else work.names[about["sample"]]
            found.append(_shown(unit, batch, {**about, "metric": metric, "name": name}))
    return found


def _similarity(metrics: Mapping[str, Any]) -> str | None:
    """The first metric that compares two maps."""
    return next((name for name, one in metrics.items() if one["ceiling"] is not None), None)


def _hardest(tables: Iterable["pa.Table"], metric: str, higher: bool) -> set[Key]:
    """Model, explainer and the attack that its maps withstand least."""
    means: dict[Key, dict[str, float]] = {}
    for key, one in gather(tables, many=True, resamples=0, seed=0).items():
        meant = one.threat["goal"] != NATURAL.goal and not one.control
        if key[3] == metric and meant and one.n:
            means.setdefault(key[:2], {})[key[2]] = one.mean
    worst = min if higher else max
    return {(*key, worst(some, key=some.__getitem__)) for key, some in means.items()}


def _values(
    tables: Iterable["pa.Table"], metric: str, wanted: set[Key]
) -> dict[Key, list[tuple[float, int]]]:
    """Value and number of each sample that kept its prediction."""
    compute = errors.optional("pyarrow.compute", "audit")
    found: dict[Key, list[tuple[float, int]]] = {key: [] for key in wanted}
    columns = [*FACTORS, "value", "sample", "label_kept"]
    for table in tables:
        some = table.filter(compute.equal(table["metric"], metric)).select(columns).to_pandas()
        for key, group in some[some["label_kept"]].dropna().groupby(list(FACTORS), sort=False):
            if key in found:
                found[key] += list(zip(group["value"], group["sample"], strict=True))
    return found


def _chosen(values: list[tuple[float, int]], higher: bool) -> list[dict[str, Any]]:
    """The best, the median and the worst."""
    order = sorted(values, key=lambda one: (-one[0] if higher else one[0], one[1]))
    places = [0, len(order) // 2, len(order) - 1][: len(order)]
    return [
        {"rank": rank, "value": float(order[place][0]), "sample": int(order[place][1])}
        for rank, place in zip(_RANKS, places, strict=False)
    ]


def _sample(work: Work, number: int) -> Batch | None:
    """One sample by itself."""
    source = work.source
    if source.data.once or not source.data.apart:
        return None
    pieces = source.pieces(only=number // source.block)
    for batch in joined((piece.batch for piece in pieces), source.block):
        found = batch[batch.numbers == number]
        if len(found):
            return found
    return None


def _shown(unit: Unit, batch: Batch, about: Mapping[str, Any]) -> Shown:
    model = unit.model[1]
    there = batch.to(device_of(model))
    with gradients.numbered(there.numbers):
        found = run(unit.trial.draws[0], unit, there)  # type: ignore[union-attr]
    extra = dict(there.extra) or None
    classes = [gradients.predict(model, x, extra).argmax(1) for x in (there.inputs, found.inputs)]
    difference = (found.inputs - there.inputs)[0].float().cpu()
    largest = float(difference.abs().max())
    low, high = (float(there.inputs.min()), float(there.inputs.max()))
    low, high = min(low, 0.0), max(high, 1.0)
    heats = [_bytes(explain.heatmap(m.float())[0], 0, 1) for m in (found.before, found.after)]
    return Shown(
        {
            "model": unit.model[0],
            "explainer": unit.explainer[0],
            "attack": unit.attack,
            **about,
            "label": int(there.labels[0]),
            "predicted": [int(one[0]) for one in classes],
            "largest": largest,
        },
        _bytes(there.inputs[0], low, high),
        _bytes(found.inputs[0], low, high),
        (difference / max(largest, 1e-12) * 127).round().to(torch.int8).numpy(),
        *heats,
    )


def _bytes(values: torch.Tensor, low: float, high: float) -> Pixels:
    scaled = (values.float().cpu() - low) / (high - low) * 255
    found: Pixels = scaled.round().clamp(0, 255).byte().numpy()
    return found


_ABOUT = {
    **dict.fromkeys(("model", "explainer", "attack", "metric", "rank", "name"), str),
    **dict.fromkeys(("value", "largest"), float),
    "sample": int,
    "predicted": list[int],
}
_ARRAYS = ("original", "perturbed", "difference", "before", "after")


def write(folder: Path, shown: Shown, number: int) -> None:
    """One file a sample."""
    buffer = io.BytesIO()
    about = np.array(json.dumps(dict(shown.about)))
    arrays = {name: getattr(shown, name) for name in _ARRAYS}
    np.savez_compressed(buffer, about=about, **arrays)
    write_whole(folder / f"{number:04d}.npz", buffer.getvalue())


def _check(about: Any, arrays: list[NDArray[Any]], path: Path) -> None:
    """Raise unless a file holds what `write` wrote."""
    check_entries(about if isinstance(about, dict) else {}, _ABOUT, path)
    kinds = [np.dtype("i1" if name == "difference" else "u1") for name in _ARRAYS]
    planes = [arrays[0].shape] * 3 + [arrays[0].shape[1:]] * 2
    told = [(one.dtype, one.shape) for one in arrays]
    if told != list(zip(kinds, planes, strict=True)) or len(arrays[0].shape) != 3:
        raise SurefootError(f"{path} does not hold pictures as an audit writes them: {told}")


def read(folder: Path) -> list[Shown]:
    """The pictures in a folder, in the order in which they were written.

    Raises:
        SurefootError: one of them is damaged.
    """
    found = []
    for path in sorted(folder.glob("*.npz")):
        try:
            with np.load(io.BytesIO(read_bytes(path, _LARGEST)), allow_pickle=False) as file:
                about = parse_json(str(file["about"]), path)
                arrays = [np.asarray(file[name]) for name in _ARRAYS]
        except (ValueError, KeyError, OSError, EOFError) as error:
            raise SurefootError(f"cannot read {path}: {error}") from error
        _check(about, arrays, path)
        found.append(Shown(about, *arrays))
    return found
