"""What is measured while a model is trained: accuracy, attacked or not, and a small audit."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from surefoot import attack, checks, gradients
from surefoot.attack import AttributionAttack, Linf, RandomSign
from surefoot.budget import Budget
from surefoot.checks import check_whole
from surefoot.explain import Explainer, IntegratedGradients
from surefoot.recipes import Recipe
from surefoot.train._mode import eval_mode
from surefoot.train._tokens import Wrapper, embedded
from surefoot.train.loop._batches import spread
from surefoot.train.loop._fetch import Minibatch, fetch

Adversary = attack.PGD | attack.FGSM
Attack = TypeVar("Attack", attack.PGD | attack.FGSM, AttributionAttack)
_AUDIT = ("topk_intersection", "kendall")
_FEW = 8  # samples; of fewer, an attack may look weaker than random signs


@dataclass(frozen=True, repr=False)
class Validation(Recipe):
    """Figures of a model on held-out data: a glance at its course, too small for a result.

    `accuracy`; `adversarial_accuracy` under `adversary`; and the audit, the similarity of maps
    before and after the attack that `audit` is, as `topk_intersection` and `kendall`, beside
    `random_topk_intersection` and `random_kendall` under random signs of the same size. Samples
    are spread evenly over the data, always the same ones. The defaults are this project's choice.
    Of tokens the embeddings are attacked; the bounds (0, 1) of a budget, which are for pictures,
    are lifted there, and others kept.

    Args:
        samples: of which accuracy is taken; None takes all.
        adversary: the attack on predictions; None for none.
        attacked: samples it is run on.
        audit: the attack on explanations; None for none.
        explainer: what it attacks.
        audited: samples it is run on.
        batch: samples that go through the model at once.

    >>> Validation(audit=None).adversary
    PGD(Linf(0.03137254901960784, steps=10))
    """

    samples: int | None = field(default=None, kw_only=True)
    adversary: Adversary | None = field(default=attack.PGD(Linf(8 / 255, steps=10)), kw_only=True)
    attacked: int = field(default=256, kw_only=True)
    audit: AttributionAttack | None = field(
        default=attack.TopK(Linf(8 / 255, steps=20), k=None), kw_only=True
    )
    explainer: Explainer = field(default=IntegratedGradients(steps=10), kw_only=True)
    audited: int = field(default=16, kw_only=True)
    batch: int = field(default=256, kw_only=True)

    def check(self) -> None:
        """Raise unless every number is in its range."""
        for name, least in (("attacked", 0), ("audited", 0), ("batch", 1)):
            check_whole(name, getattr(self, name), least)
        if self.samples is not None:
            check_whole("samples", self.samples, 1)

    def names(self) -> tuple[str, ...]:
        """The figures there will be.

        >>> Validation(audit=None).names()
        ('accuracy', 'adversarial_accuracy')
        """
        adversarial = ("adversarial_accuracy",) if self.adversary and self.attacked else ()
        audit = [p + name for p in ("", "random_") for name in _AUDIT]
        return ("accuracy", *adversarial, *(audit if self.audit and self.audited else ()))

    def told(self, samples: int) -> str:
        """What the figures are of, with so many held-out samples; whether those are too few."""
        parts = []
        for what, one, count in (
            ("adversary", self.adversary, self.attacked),
            ("audit", self.audit, self.audited),
        ):
            if one is not None and count:
                parts.append(f"{what} {one!r} of {min(count, samples)}")
        few = self.audit is not None and 0 < min(self.audited, samples) < _FEW
        return "; ".join(parts) + ", too few to compare with random signs" * few

    def __call__(self, model: nn.Module, data: Any) -> dict[str, float]:
        """The figures, means over the samples.

        Args:
            model: module from inputs (N, ...) to logits (N, K), in any mode.
            data: a map-style data set of (input, label).

        Raises:
            SurefootError: inputs outside an attack's bounds, labels that are no classes, settings
                out of range.
        """
        return mean(self.scores(model, data))

    def scores(
        self, model: nn.Module, data: Any, rank: int = 0, processes: int = 1
    ) -> dict[str, Tensor]:
        """Each figure's values, one a sample, of this process's share of the samples."""
        self.check()
        device = next((p.device for p in model.parameters()), torch.device("cpu"))
        found: dict[str, list[Tensor]] = {}
        fitted = self if _floats(data) else self._for_embeddings()
        model = _in_single(model)
        plan = [
            (fitted._accuracy, self.samples),
            (fitted._adversarial, self.attacked if self.adversary else 0),
            (fitted._audit, self.audited if self.audit else 0),
        ]
        # Lightning validates under inference_mode, whose tensors autograd refuses.
        with torch.inference_mode(False), eval_mode(model):
            for measure, count in plan:
                numbers = spread(data, count)[rank::processes]
                for part in _parts(data, numbers, self.batch, device):
                    for name, values in measure(model, _points(model, part)).items():
                        found.setdefault(name, []).append(values.detach().double().cpu())
        return {name: torch.cat(values) for name, values in found.items()}

    def _for_embeddings(self) -> "Validation":
        adversary = None if self.adversary is None else _lifted(self.adversary)
        audit = None if self.audit is None else _lifted(self.audit)
        return replace(self, adversary=adversary, audit=audit)

    def _accuracy(self, model: nn.Module, part: Minibatch) -> Mapping[str, Tensor]:
        logits = gradients.predict(model, part.inputs, part.extra)
        labels = checks.check_target(part.labels, part.inputs, "the labels of the held-out data")
        checks.check_target_range(labels, logits, "the labels of the held-out data")
        return {"accuracy": logits.argmax(1) == labels}

    def _adversarial(self, model: nn.Module, part: Minibatch) -> Mapping[str, Tensor]:
        if self.adversary is None:
            return {}
        result = self.adversary(model, part.inputs, part.labels, extra=part.extra)
        return {"adversarial_accuracy": result.robust}

    def _audit(self, model: nn.Module, part: Minibatch) -> Mapping[str, Tensor]:
        if self.audit is None:
            return {}
        given = self.audit
        control = RandomSign(given.budget, k=given.k, reduction=given.reduction, seed=given.seed)
        found = {}
        for prefix, one in (("", given), ("random_", control)):
            result = one(model, part.inputs, None, self.explainer, extra=part.extra)
            for name in _AUDIT:
                found[prefix + name] = result.scores[name]
        return found


class Single(Wrapper):
    """A model of other weights than float32 (double, bfloat16) for inputs in float32."""

    def __init__(self, model: nn.Module, dtype: torch.dtype) -> None:
        super().__init__()
        self.model, self.dtype, self.training = model, dtype, model.training

    def forward(self, inputs: Tensor, **extra: Tensor) -> Tensor:
        """Logits (N, K) in the dtype of the inputs."""
        fitting = {n: v.to(self.dtype) if v.is_floating_point() else v for n, v in extra.items()}
        logits = self.model(inputs.to(self.dtype), **fitting)
        return checks.check_logits(logits, len(inputs)).to(inputs.dtype)


def _in_single(model: nn.Module) -> nn.Module:
    kinds = {p.dtype for p in model.parameters() if p.is_floating_point()}
    if isinstance(model, Wrapper) or not kinds or torch.float32 in kinds:
        return model
    return Single(model, kinds.pop())


def together(parts: Sequence[Mapping[str, Tensor]]) -> dict[str, Tensor]:
    """The scores of several shares as one; a share may be empty."""
    names = {name: None for part in parts for name in part}
    return {name: torch.cat([part[name] for part in parts if name in part]) for name in names}


def mean(scores: Mapping[str, Tensor]) -> dict[str, float]:
    """The mean of each figure over the samples where it is defined."""
    return {name: float(values.nanmean()) for name, values in scores.items()}


def _floats(data: Any) -> bool:
    """Whether the inputs are what is attacked, not tokens."""
    return bool(fetch(data, spread(data, 1)).inputs.is_floating_point())


def _lifted(given: Attack) -> Attack:
    """The attack without the bounds of pictures, if those are its budget's."""
    budget = given.budget
    if not isinstance(budget, Budget) or any(isinstance(bound, Tensor) for bound in budget.bounds):
        return given
    if tuple(budget.bounds) != (0, 1):
        return given
    return replace(given, budget=replace(budget, bounds=(-math.inf, math.inf)))


def _points(model: nn.Module, part: Minibatch) -> Minibatch:
    """The batch with embeddings in the place of tokens."""
    return part._replace(inputs=embedded(model, part.inputs).detach())


def _parts(data: Any, numbers: Tensor, size: int, device: torch.device) -> Iterator[Minibatch]:
    for start in range(0, len(numbers), size):
        part = fetch(data, numbers[start : start + size])
        yield Minibatch(
            part.inputs.to(device),
            part.labels.to(device),
            {name: value.to(device) for name, value in part.extra.items()},
        )
