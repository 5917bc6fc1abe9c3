"""AutoAttack (Croce and Hein, arXiv 2003.01690) through its authors' code, as packaged."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor, nn

from surefoot import errors, gradients
from surefoot.attack._prediction import PredictionAttack
from surefoot.budget import Box
from surefoot.errors import SurefootError
from surefoot.gradients import Query

Version = Literal["standard", "plus", "rand"]

_NORMS = {"linf": "Linf", "l2": "L2"}


@dataclass(frozen=True, repr=False)
class AutoAttack(PredictionAttack):
    """The ensemble of parameter-free attacks that adversarial accuracy is compared by.

    It needs `pip install "surefoot[autoattack]"` (the package pyautoattack), and bounds that are
    numbers: the model is given to it on the unit cube, which it assumes. Inputs of any form and
    layout go in as square images, padded where they are none; fewer than four classes are filled
    up with classes below all others.

    Args:
        budget: an `Linf` or `L2`; only its epsilon and bounds are used.
        version: "standard", "plus" or "rand".
        attacks: names of single attacks, such as ("apgd-ce", "square"), in place of a version.
        batch_size: inputs at once; results depend on it.
        seed: of all its draws. The global random state is put back afterwards.

    >>> from surefoot.attack import Linf
    >>> AutoAttack(Linf(0.03), attacks=("apgd-ce", "square"))
    AutoAttack(Linf(0.03), attacks=('apgd-ce', 'square'))
    """

    version: Version = field(default="standard", kw_only=True)
    attacks: tuple[str, ...] = field(default=(), kw_only=True)
    batch_size: int = field(default=250, kw_only=True)
    seed: int = field(default=0, kw_only=True)

    def search(self, request: Query, box: Box) -> Tensor:  # noqa: ARG002 (it goes by the budget)
        package = errors.optional("pyautoattack", "autoattack")
        low, high = self._numbers()
        inputs = request.inputs
        form = Form.of(inputs, 5 if self.budget.norm == "l2" else 1)
        unit = form.squares((inputs - low) / (high - low))
        classes = gradients.predict(request.model, inputs[:1]).shape[1]
        with torch.random.fork_rng(devices=_devices(inputs)), torch.enable_grad():
            ensemble = package.AutoAttack(
                UnitCube(request.model, low, high, form, max(0, self._least - classes)),
                norm=_NORMS[self.budget.norm],
                eps=self.budget.radius / (high - low),
                version="custom" if self.attacks else self.version,
                attacks=list(self.attacks) or None,
                seed=self.seed,
                device=inputs.device,
            )
            for part in (getattr(ensemble, name, None) for name in ("apgd_targeted", "fab")):
                if part is not None:
                    part.n_target_classes = min(part.n_target_classes, classes - 1)
            found, _ = ensemble.run_standard_evaluation(
                unit, request.target.clone(), batch_size=self.batch_size
            )
        moved = form.back(found.detach() != unit)
        return torch.where(moved, low + (high - low) * form.back(found.detach()), inputs)

    def check(self, extra: Mapping[str, Tensor] | None) -> None:
        super().check(extra)
        errors.optional("pyautoattack", "autoattack")
        self._numbers()
        if self.targeted or self.budget.mask is not None:
            raise SurefootError("AutoAttack knows no wanted classes and no masks; use PGD")
        if extra:
            raise SurefootError("AutoAttack knows no extra inputs; bind them inside the model")

    @property
    def _least(self) -> int:
        """Classes that are needed: the DLR loss looks at the four largest logits."""
        return 4 if not self.attacks or {"apgd-dlr", "apgd-t"} & {*self.attacks} else 2

    def _numbers(self) -> tuple[float, float]:
        low, high = self.budget.bounds
        if isinstance(low, Tensor) or isinstance(high, Tensor):
            raise SurefootError("AutoAttack needs bounds that are numbers, such as (0, 1)")
        return float(low), float(high)


@dataclass(frozen=True)
class Form:
    """Inputs of any form as the square images that AutoAttack takes, and back.

    Its Square attack draws windows as high as wide. What is no square image is padded: the
    padding reaches no model, and what is spent on it is lost.

    Attributes:
        shape: of one input.
        dtype: of the inputs.
        least: the least side of an image.
    """

    shape: tuple[int, ...]
    dtype: torch.dtype
    least: int

    @classmethod
    def of(cls, inputs: Tensor, least: int = 1) -> "Form":
        """The form of inputs (N, ...)."""
        return cls(tuple(inputs.shape[1:]), inputs.dtype, least)

    def squares(self, inputs: Tensor) -> Tensor:
        """(N, ...) as (N, C, S, S), float32."""
        images = inputs.reshape(len(inputs), *self._image).float()
        side, (_, rows, columns) = self._side, self._image
        if len(self.shape) != 3:
            flat = nn.functional.pad(images.flatten(1), (0, side * side - columns))
            return flat.view(len(inputs), 1, side, side)
        return nn.functional.pad(images, (0, side - columns, 0, side - rows)).contiguous()

    def back(self, images: Tensor) -> Tensor:
        """(N, C, S, S) as inputs (N, ...)."""
        if len(self.shape) != 3:
            images = images.flatten(1)[:, : self._image[2]]
        else:
            images = images[:, :, : self.shape[1], : self.shape[2]]
        found = images.reshape(len(images), *self.shape)
        return found if found.dtype == torch.bool else found.to(self.dtype)

    @property
    def _image(self) -> tuple[int, int, int]:
        if len(self.shape) == 3:
            return self.shape[0], self.shape[1], self.shape[2]
        return 1, 1, math.prod(self.shape)

    @property
    def _side(self) -> int:
        sides = self.shape[1:] if len(self.shape) == 3 else (math.ceil(self._image[2] ** 0.5),)
        return max(self.least, *sides)


class UnitCube(nn.Module):
    """A model that takes square images in [0, 1], with classes more that lie below all others."""

    def __init__(self, model: nn.Module, low: float, high: float, form: Form, missing: int) -> None:
        super().__init__()
        self.model = model
        self.low, self.high, self.form, self.missing = low, high, form, missing
        self.training = False

    def forward(self, images: Tensor) -> Tensor:
        """Logits (N, K + missing)."""
        logits: Tensor = self.model(self.low + (self.high - self.low) * self.form.back(images))
        if not self.missing:
            return logits
        below = logits.detach().amin(1, keepdim=True) - 1
        return torch.cat([logits, below.expand(-1, self.missing)], 1)


def _devices(inputs: Tensor) -> list[torch.device]:
    return [inputs.device] if inputs.device.type == "cuda" else []
