"""Explainers by name: from text, from JSON, without evaluating anything."""

from collections.abc import Mapping

from torch import Tensor

from surefoot.explain._base import Explainer
from surefoot.recipes import Family

EXPLAINERS: Family[Explainer] = Family(
    "explainer",
    (Explainer,),
    "SmoothGrad(Gradient(score='logit'), samples=20)",
    {
        "tensor": "a recipe with tensors cannot be read from text alone; store it with "
        "surefoot.explain.to_json and read it with from_json(text, tensors)",
        "Function": "a recipe with code cannot be read from text; build Function in Python",
    },
)


def parse(text: str) -> Explainer:
    """The explainer that `text` describes: `parse(repr(e)) == e` unless it holds tensors or code.

    Understands constructors of `surefoot.explain`, one inside another, with literals as settings;
    a bare name means its defaults. Nothing is evaluated, so text of strangers is safe.

    Raises:
        SurefootError: anything else; the message names close matches or the settings there are.

    >>> from surefoot.explain import parse
    >>> parse("SmoothGrad(IntegratedGradients(steps=8), samples=10)")
    SmoothGrad(IntegratedGradients(steps=8, score='logit'), samples=10)
    """
    return EXPLAINERS.parse(text)


def from_json(text: str, tensors: Mapping[str, Tensor] | None = None) -> Explainer:
    """The explainer that `to_json` stored.

    Callables and explainers of other packages are imported by the path in the text, so read only
    text that you trust as much as you trust those packages (`parse` has no such limit).

    Args:
        text: what `to_json` returned.
        tensors: the tensors it holds, by digest, as `surefoot.explain.tensors` gives them.

    Raises:
        SurefootError: not such a text; a tensor is missing or has changed; an import path leads
            nowhere.

    >>> from surefoot.explain import Gradient, to_json
    >>> from_json(to_json(Gradient())) == Gradient()
    True
    """
    return EXPLAINERS.from_json(text, tensors)
