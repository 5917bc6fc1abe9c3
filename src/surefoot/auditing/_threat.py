"""Who does what to an explanation, in one vocabulary for every row of an audit.

The words are those of Noppel & Wressnegger, "SoK: Explainable machine learning in adversarial
environments", IEEE S&P 2024: what is manipulated (input, model, system), what is to be kept and
what is to change (prediction-preserving, explanation-preserving, dual), and how far the new
explanation is chosen (untargeted, semi-targeted, targeted). What the attacker knows of the
explainer is added: adaptive attacks are made for it, transferred ones for another, blind ones look
at nothing.
"""

from dataclasses import dataclass
from typing import Any, NamedTuple

from surefoot.attack import (
    AttackResult,
    AttributionAttack,
    Manipulation,
    RandomSign,
    Target,
)
from surefoot.explain import Explainer, as_explainer
from surefoot.recipes import Recipe


class Threat(NamedTuple):
    """A threat model.

    Attributes:
        manipulates: "input", or "nothing" where clean maps are measured.
        goal: "prediction-preserving": another explanation, the same prediction; "none" for what
            nobody intends.
        scope: "untargeted" (any other explanation), "semi-targeted" (one with a property),
            "targeted" (a certain one), or "none".
        knowledge: "adaptive", "transferred", "blind" (random signs), or "none".

    >>> tuple(Threat(scope="targeted"))
    ('input', 'prediction-preserving', 'targeted', 'adaptive')
    """

    manipulates: str = "input"
    goal: str = "prediction-preserving"
    scope: str = "untargeted"
    knowledge: str = "adaptive"


NOTHING = Threat("nothing", "none", "none", "none")
NATURAL = Threat("input", "none", "none", "none")
BLIND = Threat(knowledge="blind")


def threat_of(attack: Any) -> Threat:
    """The threat model of an attack; one of somebody's own may have it as attribute `threat`."""
    said = getattr(attack, "threat", None)
    if isinstance(said, Threat):
        return said
    if isinstance(attack, RandomSign):
        return BLIND
    scopes: dict[type, str] = {Manipulation: "targeted", Target: "semi-targeted"}
    return Threat(scope=scopes.get(type(attack), "untargeted"))


@dataclass(frozen=True, repr=False)
class Transferred(Recipe):
    """An attack made for one explainer, its inputs then explained by the one that is audited.

    What a fragile base map lets through need not be the worst for what is built on it: read it
    beside the adaptive attack, never in its place.

    Args:
        attack: on explanations.
        source: the explainer that is attacked.

    >>> from surefoot.attack import Linf, TopK
    >>> from surefoot.explain import Gradient
    >>> Transferred(TopK(Linf(0.1)), source=Gradient()).threat.knowledge
    'transferred'
    """

    attack: AttributionAttack
    source: Explainer

    @property
    def budget(self) -> Any:
        """That of the attack."""
        return self.attack.budget

    @property
    def k(self) -> Any:
        """That of the attack."""
        return self.attack.k

    @property
    def threat(self) -> Threat:
        """That of the attack, but for what it knows."""
        return threat_of(self.attack)._replace(knowledge="transferred")

    def __call__(
        self, model: Any, inputs: Any, target: Any, explainer: Explainer, **more: Any
    ) -> AttackResult:
        """The result of attacking `source`, scored on `explainer`."""
        scored = as_explainer(explainer)
        found: AttackResult = self.attack(
            model, inputs, target, self.source, score_with=scored, **more
        )
        return found
