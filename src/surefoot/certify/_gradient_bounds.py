"""Exact certificates: bounds of a network's input gradient over a ball.

Interval bounds through the forward and the backward pass, the idea of Wicker et al. (Robust
Explanation Constraints for Neural Networks, arXiv 2212.08507).
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Literal, get_args

import torch
from torch import Tensor, nn

from surefoot import checks, gradients
from surefoot.certify._interval import Interval, Rounding
from surefoot.certify._network import Network
from surefoot.certify._seeds import seeds
from surefoot.chunking import Block, each_block
from surefoot.errors import SurefootError
from surefoot.gradients import Query, Score

Method = Literal["auto", "interval", "linear"]

_ENTRIES = 2**21  # numbers in the zonotopes of one batch's inputs
_SYMBOLS = 1024  # entries of an input up to which "auto" uses zonotopes
_UNSURE = 512  # kinks that are followed one by one on the way back
_ROWS = 256


def gradient_bounds(
    model: nn.Module,
    inputs: Tensor,
    target: checks.Target = None,
    *,
    radius: float,
    score: Score = "logit",
    bounds: checks.Bounds = (0, 1),
    method: Method = "auto",
    extra: Mapping[str, Tensor] | None = None,
) -> tuple[Tensor, Tensor]:
    """Between which numbers each entry of the gradient lies, everywhere in an L-infinity ball.

    They hold the gradient at every point x' with |x' - x| <= radius in every entry that lies
    within `bounds`: the exact one, and the one that PyTorch computes in the model's dtype, as long
    as a layer adds its products up one by one (not by Winograd's or Fourier's ways). At a kink
    either side's slope counts. They are bounds, not the range: the deeper the network and the
    larger the ball, the wider. With radius 0 both are the gradient itself.

    Args:
        model: module from inputs (N, ...) to logits (N, K), in evaluation mode, made of dense and
            convolutional layers, batch norm, ReLU and its relatives, tanh, sigmoid, softplus,
            pooling, sums (residual connections), products and shapes.
        inputs: floating point (N, ...).
        target: class, one or (N,); None takes the prediction for `inputs`, held in the ball.
        radius: of the ball, in input units.
        score: what is differentiated, see `explain.Gradient`.
        bounds: (low, high) of the inputs; points outside do not count.
        method: "interval" alone costs about six passes; "linear" also follows the dependence on
            each entry of the input, and on the way back on up to 512 kinks that may be on either
            side, costs a pass more for each, and is never looser; "auto" is "linear" up to 1024
            entries.
        extra: further keyword inputs of the model, which stay as they are.

    Returns:
        low and high, each (N, ...).

    Raises:
        SurefootError: an operation that has no bounds, by name; inputs outside `bounds`.

    >>> net = nn.Sequential(nn.Linear(2, 2), nn.ReLU(), nn.Linear(2, 2, bias=False)).double().eval()
    >>> for layer, rows in ((net[0], [[1.0, 0.0], [0.0, 1.0]]), (net[2], [[2.0, 3.0], [0.0, 0.0]])):
    ...     _ = layer.weight.data.copy_(torch.tensor(rows))
    >>> _ = net[0].bias.data.copy_(torch.tensor([0.5, -0.5]))
    >>> low, high = gradient_bounds(net, torch.full((1, 2), 0.5).double(), 0, radius=0.1)
    >>> low.round(decimals=6) + 0.0, high.round(decimals=6)  # the second unit may be on or off
    (tensor([[2., 0.]], dtype=torch.float64), tensor([[2., 3.]], dtype=torch.float64))
    """
    request = gradients.query(model, inputs, target, extra, create_graph=False)
    checks.check_bounds(request.inputs, bounds)
    check_radius(radius)
    if radius == 0:
        gradient = gradients.gradient_and_logits(request, score)[0]
        return gradient, gradient.clone()
    found = gradient_over(request, ball(request.inputs, radius, bounds), score, method)
    low, high = outwards(found, request.inputs)
    return low, high


def check_radius(radius: float) -> None:
    """Raise unless it is a number, 0 or more."""
    checks.check_number("radius", radius)
    if not 0 <= radius < float("inf"):
        raise SurefootError(f"radius={radius}, expected a finite number >= 0")


def gradient_over(request: Query, around: Interval, score: Score, method: Method) -> Interval:
    """Bounds of the gradient anywhere in `around`, a box for each input, (N, ...), float64."""
    if not isinstance(method, str) or method not in get_args(Method):
        raise SurefootError(f"method={method!r}, choose one of {get_args(Method)}")
    inputs = request.inputs
    entries = inputs[0].numel()
    linear = method == "linear" or (method == "auto" and entries <= _SYMBOLS)
    rows = max(1, min(_ROWS, _ENTRIES // entries**2)) if linear else _ROWS
    low, high = (torch.empty_like(inputs, dtype=torch.float64) for _ in range(2))
    found = Interval(low, high)
    recorded: dict[int, Network] = {}

    def compute(block: Block) -> Interval:
        some = request.take(block.samples)
        size = len(some.inputs)
        if size not in recorded or some.extra:
            recorded[size] = Network.of(some.model, some.inputs, some.extra)
        network = recorded[size]
        box = Interval(*(end[block.samples] for end in around))
        passed = network.forward(box, linear)
        checks.check_target_range(some.target, passed.logits.low)
        seed = seeds(score, passed.logits, some.target, network.rounding)
        return passed.backward(seed, _UNSURE if linear else 0)

    with torch.no_grad():
        for block, part in each_block(len(inputs), 1, rows, compute):
            low[block.samples], high[block.samples] = part
    _check(request, around, found, score)
    return found


def _check(request: Query, around: Interval, found: Interval, score: Score) -> None:
    """Raise where autograd's own gradient, in the middle, is out of bounds."""
    middle = replace(request, inputs=around.centre.to(request.inputs))
    gradient = gradients.gradient_and_logits(middle, score)[0].double()
    if not ((found.low <= gradient) & (gradient <= found.high)).all():
        raise SurefootError(
            f"the gradient of {type(request.model).__name__} is not that of its operations, so "
            "that it cannot be bounded: look for a custom autograd function, a hook that changes "
            "gradients, or a part under torch.no_grad()"
        )


def ball(inputs: Tensor, radius: float, bounds: checks.Bounds) -> Interval:
    """The L-infinity ball cut to the bounds, float64, with what rounding adds to a point."""
    wide = inputs.double()
    reach = radius + Rounding.of(inputs.dtype).u * (wide.abs() + radius)
    found = Interval(wide - reach, wide + reach)
    low, high = (end.double() for end in checks.check_bounds(inputs, bounds))
    return Interval(found.low.maximum(low), found.high.minimum(high))


def outwards(found: Interval, like: Tensor) -> Interval:
    """In the dtype of `like`, rounded so that nothing is lost."""
    low, high = (end.to(like) for end in found)
    below = torch.nextafter(low, torch.full_like(low, -torch.inf))
    above = torch.nextafter(high, torch.full_like(high, torch.inf))
    wide = found.low.to(low.device), found.high.to(low.device)
    return Interval(
        torch.where(low.double() > wide[0], below, low),
        torch.where(high.double() < wide[1], above, high),
    )
