"""Which ways to the derivative of a map are open on one's own model, and how well they agree."""

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from surefoot import gradients, programs
from surefoot.attack import _beta
from surefoot.attack._agreement import Agreement, check_second_order
from surefoot.attack._smooth import smooth
from surefoot.errors import SurefootError, SurefootWarning
from surefoot.explain import Gradient
from surefoot.gradients import Score
from surefoot.maps import Layout

_STEPS = (1e-4, 1e-3, 1e-2)


@dataclass(frozen=True, repr=False)
class Routes:
    """The two ways to differentiate a gradient map; its repr is the line to print.

    Attributes:
        exact: why double backward is closed, None where it is open.
        finite: why differences of gradients are closed, None where they are open.
        flat: whether the model itself has no curvature, as a network of ReLUs with a linear score.
        beta: of the softplus that attacks put in place of the model's kinks, None for none.
        agreement: of the two ways, where both are open, at the best of three steps.

    >>> _ = torch.manual_seed(0)
    >>> net = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2)).double().eval()
    >>> routes = second_order_routes(net, torch.rand(2, 4).double())
    >>> routes.best, routes.exact, routes.flat
    ('finite', None, False)
    """

    exact: str | None
    finite: str | None
    flat: bool
    beta: float | None
    agreement: Agreement | None

    @property
    def best(self) -> str:
        """What `second_order="auto"` takes: "finite", "exact" or "none"."""
        if self.finite is None:
            return "finite"
        return "exact" if self.exact is None else "none"

    def __repr__(self) -> str:
        words = [
            f"{name} works" if why is None else f"{name} fails ({why})"
            for name, why in (("exact", self.exact), ("finite", self.finite))
        ]
        if self.agreement is not None:
            cosine, sign = self.agreement.cosine.mean(), self.agreement.sign.mean()
            words.append(f"they agree to cosine {cosine:.4f} and {sign:.1%} of signs")
        if self.beta is not None:
            words.append(f"softplus beta={self.beta:g} stands in for the model's kinks")
        elif self.flat:
            words.append("the model itself has no curvature, so that attacks see none")
        return f"{self.best}: {'; '.join(words)}"


def second_order_routes(
    model: nn.Module,
    inputs: Tensor,
    *,
    score: Score = "log_probability",
    extra: Mapping[str, Any] | None = None,
    layout: Layout | None = None,
) -> Routes:
    """Try both ways to the derivative of `Gradient(score)` at the inputs.

    Args:
        model: module from inputs (N, ...) to logits (N, K), in evaluation mode.
        inputs: (N, ...).
        score: what the maps differentiate.
        extra: further keyword inputs of the model.
        layout: what the axes of `inputs` mean, see `AttributionAttack`.

    >>> _ = torch.manual_seed(0)
    >>> net = nn.Sequential(nn.Linear(9, 20), nn.SiLU(), nn.Linear(20, 3)).double().eval()
    >>> second_order_routes(net, torch.rand(2, 9).double())
    finite: exact works; finite works; they agree to cosine 1.0000 and 100.0% of signs
    """
    given: dict[str, Any] = {"extra": extra, "layout": layout}
    with torch.inference_mode(False):
        request = gradients.query(model, inputs, None, extra, False, layout)
        opaque = programs.hidden(model, "scripted") is not None
        beta = None if opaque else _beta.growth(_beta.resolve("auto", request))(0.0)
        curved = model if beta is None else smooth(model, beta)
    finite = _why(lambda: Gradient(score)(model, inputs, **given))
    slopes: list[Tensor] = []
    for one in (model, curved):
        exact = _why(lambda one=one: slopes.append(_slope(one, inputs, score, given)))
    flat = bool(slopes) and not slopes[0].any()
    agreement = None
    if exact is None and finite is None and slopes[-1].any():
        explainer = Gradient(score)
        found = [
            check_second_order(model, inputs, None, explainer, beta=beta, difference=step, **given)
            for step in _STEPS
        ]
        agreement = max(found, key=lambda each: float(each.cosine.mean()))
    return Routes(exact, finite, flat, beta, agreement)


def _slope(model: nn.Module, inputs: Tensor, score: Score, given: Mapping[str, Any]) -> Tensor:
    def size(at: Tensor) -> Tensor:
        return Gradient(score)(model, at, create_graph=True, **given).square().flatten(1).sum(1)

    return gradients.value_and_gradient(size, inputs, again=True)[1]


def _why(work: Any) -> str | None:
    """Why it fails, in one line; None where it works."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", SurefootWarning)
            work()
    except (SurefootError, RuntimeError, NotImplementedError) as error:
        text = str(error) or type(error).__name__
        return text.splitlines()[0].partition(". PyTorch says")[0]
    return None
