"""An explainer from its text, without evaluating anything."""

from surefoot import explain
from surefoot.explain._base import Explainer
from surefoot.recipes import Reader, construct, exported

__all__ = ["construct", "find", "parse", "public", "reader"]

_REFUSED = {
    "tensor": "a recipe with tensors cannot be read from text alone; store it with "
    "surefoot.explain.to_json and read it with from_json(text, tensors)",
    "Function": "a recipe with code cannot be read from text; build Function in Python",
}


def parse(text: str) -> Explainer:
    """The explainer that `text` describes: `parse(repr(e)) == e` unless it holds tensors or code.

    Understands constructors of `surefoot.explain`, one inside another, with literals as settings;
    a bare name means its defaults. Nothing is evaluated, so text of strangers is safe.

    Raises:
        SurefootError: anything else; the message names close matches or the settings there are.

    >>> parse("SmoothGrad(IntegratedGradients(steps=8), samples=10)")
    SmoothGrad(IntegratedGradients(steps=8, score='logit'), samples=10)
    """
    value: Explainer = reader().parse(text, Explainer)
    return value


def reader() -> Reader:
    """What reads explainers."""
    return Reader(
        "explainer", public(), "SmoothGrad(Gradient(score='logit'), samples=20)", _REFUSED
    )


def find(name: str) -> type[Explainer]:
    """The explainer class of that name; raises with close matches if there is none."""
    kind: type[Explainer] = reader().find(name)  # type: ignore[assignment]
    return kind


def public() -> dict[str, type[Explainer]]:
    """The explainer classes of `surefoot.explain`, by name."""
    return exported(explain, Explainer)
