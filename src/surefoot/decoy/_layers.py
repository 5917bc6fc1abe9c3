"""Which layers of a model are fit for decoys, and which is taken by default."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn

from surefoot import checks, draws, gradients, maps, programs
from surefoot.chunking import each_block, rows_per_batch
from surefoot.decoy._cuts import Vertex, Ways, vertex
from surefoot.decoy._layer import Name, Trunk, first, repeated, watching
from surefoot.decoy._plan import Plan, plan_masks
from surefoot.decoy._settings import Settings
from surefoot.errors import SurefootError
from surefoot.layers import layer_name

_MAP = 3.0  # forward passes that a Gradient map costs
_PASSES = 5  # through the trunk that a decoy costs beside its share of the linear models
_COLUMNS = 2**9  # features that patches solved together may have in a default layer
_PER_NUMBER = 30.0  # multiplications that a number made costs by passing through memory
_SMALL = 2.0**22  # multiplications of a network where cost is no matter
_TRIES = 8  # layers whose masks are laid out before one is chosen
_PLACES = 32  # places that are asked whether a layer sees them


@dataclass(frozen=True)
class Layer:
    """A candidate layer F_l, seen from one input.

    Attributes:
        name: module name, as `layer=` takes it.
        shape: of its output for one input.
        ratio: output numbers per input number; below 1 some change must go unseen.
        spacing: places that the effect of a patch in the middle stretches over; None where a
            patch reaches everything (attention, fully connected layers).
        coverage: share of 32 random places that the layer sees; a map covers what it sees.
        cut: whether everything that reaches the output passes this layer: detached there, the
            logits have no gradient in the input.
        share: of the cost of a whole pass, how much is spent before this layer's end.

    >>> row = layers(nn.Sequential(nn.Linear(6, 2), nn.ReLU()).eval(), torch.ones(1, 6))[0]
    >>> row.name, row.shape, round(row.ratio, 2), row.cut
    ('0', (2,), 0.33, True)
    """

    name: str
    shape: tuple[int, ...]
    ratio: float
    spacing: int | None
    coverage: float
    cut: bool
    share: float


class Choice(NamedTuple):
    """The layer that decoys are made at.

    Attributes:
        layer: its name, or the names of several that are one representation.
        cut: whether all of the network's information passes it.
        how: it was chosen, in words.
        plan: its masks, where choosing has laid them out.
    """

    layer: Name
    cut: bool
    how: str
    plan: Plan | None = None


class _Seen(NamedTuple):
    """What one pass shows of a layer."""

    name: str
    shape: tuple[int, ...]
    spacing: int | None
    vertex: Vertex
    spent: float  # multiplications until its end

    @property
    def size(self) -> int:
        return math.prod(self.shape)


class _Pass(NamedTuple):
    """One recorded pass: its layers in the order they ended, and the graph of all."""

    layers: list[_Seen]
    ways: Ways
    spent: float


def layers(
    model: nn.Module,
    inputs: Tensor,
    *,
    patch: int = 3,
    decoys: int = 64,
    extra: Mapping[str, Tensor] | None = None,
    layout: maps.Layout | None = None,
) -> list[Layer]:
    """The layers of `model` in the order they end, as candidates for `layer=`.

    One pass with a patch of NaN in the middle of the first input shows how far it reaches, and its
    graph which layers are cuts. Layers that do not see the input are left out.

    Args:
        model: in evaluation mode.
        inputs: (N, ...), of which the first is used.
        patch: side of a patch.
        decoys: of one map; at least 2.
        extra: further keyword inputs of the model.
        layout: of the inputs, where neither their shape nor the model says it.

    >>> net = torch.nn.Sequential(torch.nn.Linear(6, 2), torch.nn.Linear(2, 2)).eval()
    >>> [(row.name, row.cut) for row in layers(net, torch.rand(1, 6))]
    [('0', True), ('1', True)]
    """
    checks.check_model(model)
    checks.check_inputs(inputs)
    more = {name: value[:1] for name, value in checks.check_extra(extra, len(inputs)).items()}
    said = maps.layout_of(inputs, model, layout)
    sample = inputs[:1].detach()
    done = _recorded(model, sample, more, Settings(patch=patch, decoys=decoys), said)
    covered = _coverages(model, sample, more, said)
    return [
        Layer(
            row.name,
            row.shape,
            row.size / sample.numel(),
            row.spacing,
            covered[row.name],
            done.ways.all_pass(row.vertex),
            row.spent / done.spent if done.spent else 1.0,
        )
        for row in done.layers
        if done.ways.sees(row.vertex) and row.name in covered
    ]


def choose(
    model: nn.Module,
    inputs: Tensor,
    extra: Mapping[str, Tensor],
    settings: Settings,
    layout: maps.Layout,
) -> Choice:
    """The layer that is set, or the default one, for inputs like `inputs` (1, ...).

    What is chosen depends on the model and on the shape of the input, not on what is in it.

    Raises:
        SurefootError: an unknown layer, or a model without a cut before its output.
    """
    names = () if settings.layer is None else _names(model, settings.layer)
    done = _recorded(model, inputs, extra, settings, layout)
    if names:
        known = {row.name: row.vertex for row in done.layers}
        tensors = [known[name] for name in names if name in known]
        cut = len(tensors) == len(names) and done.ways.none_around(tensors)
        return Choice(names[0] if len(names) == 1 else names, cut, "as asked")
    inner = _inner(done)
    if not inner:
        raise SurefootError(
            f"{type(model).__name__} has no layer before its output that everything passes; pass "
            'layer= by name or module, or several that do together: layer=("a", "b")'
        )

    def plan(row: _Seen) -> Plan:
        return plan_masks(Trunk(model, row.name), inputs, extra, settings, layout)

    found = _apart(inner, done.spent, tuple(inputs.shape[1:]), plan, settings, layout)
    # Where the last module ends, nothing is left above that decoys could make disagree.
    return found or _first_small([r for r in inner if r.spent < done.spent] or inner, inputs)


def _names(model: nn.Module, layer: object) -> tuple[str, ...]:
    several = layer if isinstance(layer, (tuple, list)) else (layer,)
    if not several:
        raise SurefootError("layer=() names no layer; pass a name, a module or several")
    return tuple(dict.fromkeys(layer_name(model, each) for each in several))


def _inner(done: _Pass) -> list[_Seen]:
    """Cuts before the output, under their shortest names, in the order they end."""
    named: dict[Vertex, _Seen] = {}
    for row in done.layers:
        if row.size > 1 and done.ways.all_pass(row.vertex) and not done.ways.ends_at(row.vertex):
            old = named.get(row.vertex)
            if old is None or row.name.count(".") < old.name.count("."):
                named[row.vertex] = row
    return list(named.values())


def _apart(
    inner: list[_Seen],
    whole: float,
    shape: tuple[int, ...],
    plan: Callable[[_Seen], Plan],
    settings: Settings,
    layout: maps.Layout,
) -> Choice | None:
    """The cut with the fewest numbers whose patches keep apart and are quickly solved, if any."""
    step = settings.stride or settings.patch
    sizes = maps.places(layout, (1, *shape))
    classes = int((settings.decoys // 2) ** (1 / len(sizes)) + 1e-9)
    columns = math.prod(shape) // math.prod(sizes) * settings.patch ** len(sizes)
    decoys = 2 * classes ** len(sizes)
    guesses: dict[tuple[object, ...], tuple[int, int, float]] = {}
    for i, row in enumerate(inner):
        # Padding and the like make as many numbers and mix none: nothing could go unseen there.
        coarser = any(out < size for out, size in zip(row.shape[1:], sizes, strict=False))
        far = step * (classes + 1)
        if (
            row.spacing is not None
            and row.spacing <= far
            and (coarser or row.spacing > settings.patch)
        ):
            linear = columns * math.ceil(row.spacing / step) ** len(sizes)
            guess = _cost(row.spent / whole, linear, decoys)
            guesses[row.shape, row.spacing] = (row.size, -i, guess)
    if not guesses:
        return None
    quick = [each for each in guesses.values() if each[2] <= 1 or whole <= _SMALL]
    tried: list[tuple[float, Choice]] = []
    for _, back, _ in sorted(quick or [min(guesses.values(), key=lambda each: each[2])])[:_TRIES]:
        row = inner[-back]
        laid = plan(row)
        if laid.columns <= _COLUMNS:
            linear = laid.columns * len(laid.masks) if laid.joint else laid.passes
            cost = _cost(row.spent / whole, linear, 2 * len(laid.masks))
            if cost <= 1 or whole <= _SMALL:
                return Choice(row.name, True, _QUICK, laid)
            tried.append((cost, Choice(row.name, True, _CHEAPEST, laid)))
    return min(tried, key=lambda each: each[0])[1] if tried else None


_QUICK = "the smallest cut whose decoys are found in about the time of their maps"
_CHEAPEST = "the cut whose decoys are found soonest"


def _cost(share: float, linear: int, decoys: int) -> float:
    """Of finding decoys, in units of making as many Gradient maps; `linear` counts passes."""
    return share * (linear + _PASSES * decoys) / (_MAP * decoys)


def _first_small(inner: list[_Seen], inputs: Tensor) -> Choice:
    """The first cut smaller than the input, else the smallest: its patches are solved together."""
    smaller = [row for row in inner if row.size < inputs.numel()]
    if smaller:
        return Choice(smaller[0].name, True, "the first cut smaller than the input")
    return Choice(min(inner, key=lambda row: row.size).name, True, "the smallest cut")


def _recorded(
    model: nn.Module,
    sample: Tensor,
    extra: Mapping[str, Tensor],
    settings: Settings,
    layout: maps.Layout,
) -> _Pass:
    """One pass with a graph, over a sample (1, ...) with a patch of NaN in its middle."""
    probe = sample.detach().clone()
    sizes = maps.places(layout, sample)
    where = probe
    for axis, size in zip(maps.place_axes(layout), sizes, strict=True):
        where = where.narrow(axis, size // 2, min(settings.patch, size - size // 2))
    where.fill_(torch.nan)
    modules = dict(model.named_modules(remove_duplicate=False))
    names = [name for name in modules if name and not programs.inside(modules, name)]
    rows: dict[str, _Seen] = {}
    spent = 0.0

    def look(name: str, output: object) -> None:
        nonlocal spent
        found = first(output)
        if isinstance(found, Tensor):
            spent += _multiplications(modules[name], found)
            if name not in rows and found.ndim >= 2 and len(found) == 1:
                spacing = _spacing(found, sizes) if layout in _PIXELS else None
                rows[name] = _Seen(name, tuple(found.shape[1:]), spacing, vertex(found), spent)

    with torch.inference_mode(False), torch.enable_grad(), watching(model, names, look):
        result = first(gradients.run(model, probe.requires_grad_(), extra))
    if not isinstance(result, Tensor):
        result = checks.check_logits(result, 1)
    in_order = list(rows.values())
    return _Pass(in_order, Ways(result, probe, [row.vertex for row in in_order]), spent)


_PIXELS = ("image", "volume", "signal")


def _multiplications(module: nn.Module, output: Tensor) -> float:
    """What a leaf module costs; nothing for one that only passes its input on."""
    if next(module.children(), None) is not None or isinstance(module, (nn.Identity, nn.Dropout)):
        return 0.0
    weight = getattr(module, "weight", None)
    inside = weight.numel() / len(weight) if isinstance(weight, Tensor) and weight.ndim > 1 else 0.0
    return output.numel() * (inside + _PER_NUMBER)


def _spacing(output: Tensor, places: tuple[int, ...]) -> int | None:
    """Input places the patch's outputs stretch over, or None if it is all of them."""
    if output.ndim != len(places) + 2:
        return None
    hit, spans = output.detach().isnan(), []
    for axis, size in enumerate(places, 2):
        touched = int(hit.movedim(axis, 0).flatten(1).any(1).sum())
        if touched == hit.shape[axis]:
            return None
        spans.append(max(0, touched - 1) * round(size / hit.shape[axis]) + 1)
    return max(spans)


def _coverages(
    model: nn.Module, sample: Tensor, extra: Mapping[str, Tensor], layout: maps.Layout
) -> dict[str, float]:
    """For each layer the share of random places where NaN reaches it."""
    axes, sizes = maps.place_axes(layout), maps.places(layout, sample)
    order = draws.permutation(0, 0, math.prod(sizes))[:_PLACES]
    probes = sample.repeat(len(order), *[1] * (sample.ndim - 1))
    for row, place in zip(probes, order.tolist(), strict=True):
        where, rest = row, place
        for axis, size in zip(axes[::-1], sizes[::-1], strict=True):
            where, rest = where.narrow(axis - 1, rest % size, 1), rest // size
        where.fill_(torch.nan)
    seen: dict[str, int] = {}
    modules = dict(model.named_modules())
    names = [name for name in modules if name and not programs.inside(modules, name)]
    rows = rows_per_batch(sample, None)
    for block, _ in each_block(len(probes), 1, rows, lambda block: block):
        some = probes[block.samples]
        more = repeated(extra, len(some))
        called: set[str] = set()

        def look(name: str, output: object, called: set[str] = called, n: int = len(some)) -> None:
            found = first(output)
            if isinstance(found, Tensor) and name not in called and len(found) == n:
                called.add(name)
                hit = int(found.detach().isnan().flatten(1).any(1).sum())
                seen[name] = seen.get(name, 0) + hit

        with torch.no_grad(), watching(model, names, look):
            gradients.run(model, some, more)
    return {name: hit / len(probes) for name, hit in seen.items()}
