"""Changes that nobody intends: an audit takes them where it takes attacks.

Small changes of geometry, light or compression happen to every photograph. A map should follow
them: a turned photograph has a turned map, one that was stored as JPEG the same. Maps are therefore
compared with the clean map under the same change of geometry. Where a change alters the prediction,
another map is right, and the pair is left out and counted (as FASS does, arXiv 2604.02532).
"""

import io
import math
from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from surefoot import errors, gradients
from surefoot.attack import AttackResult
from surefoot.auditing._threat import NATURAL, Threat
from surefoot.errors import SurefootError
from surefoot.explain import as_explainer
from surefoot.recipes import Family, Recipe


@dataclass(frozen=True, repr=False)
class NaturalChange(Recipe, ABC):
    """A change of images (N, C, H, W) in [0, 1]; called like an attack."""

    threat: ClassVar[Threat] = NATURAL

    @abstractmethod
    def change(self, images: Tensor) -> Tensor:
        """The changed images, shaped alike."""

    def follow(self, maps: Tensor) -> Tensor:
        """What a map (N, C, H, W) should become."""
        return maps

    def __call__(
        self,
        model: Any,
        inputs: Tensor,
        target: Any,
        explainer: Any,
        *,
        extra: Any = None,
        **_: Any,
    ) -> AttackResult:
        """The change as a result of an attack, each sample by itself.

        Raises:
            SurefootError: inputs that are no images in [0, 1].
        """
        if inputs.ndim != 4 or inputs.min() < 0 or inputs.max() > 1:
            raise SurefootError(
                f"{self!r} changes images (N, C, H, W) in [0, 1], not inputs {tuple(inputs.shape)} "
                f"in [{float(inputs.min()):.3g}, {float(inputs.max()):.3g}]"
            )
        explainer = as_explainer(explainer)
        moved = self.change(inputs).clamp(0, 1)
        more = {"extra": extra, "create_graph": False}
        before, after = (explainer(model, each, target, **more) for each in (inputs, moved))
        clean, now = (gradients.predict(model, each, extra).argmax(1) for each in (inputs, moved))
        return AttackResult(
            attack=self,  # type: ignore[arg-type]
            explainer=explainer,
            originals=inputs,
            inputs=moved,
            before=self.follow(before),
            after=after,
            label_kept=clean == now,
            scores={},
            target=target,
        )


@dataclass(frozen=True, repr=False)
class Flip(NaturalChange):
    """Left and right exchanged."""

    def change(self, images: Tensor) -> Tensor:
        return images.flip(-1)

    def follow(self, maps: Tensor) -> Tensor:
        return maps.flip(-1)


@dataclass(frozen=True, repr=False)
class Shift(NaturalChange):
    """Moved to the right and down by whole pixels; the edge is repeated, a map has nothing there.

    Args:
        pixels: below the side of an image.
    """

    pixels: int = 2

    def change(self, images: Tensor) -> Tensor:
        return self._moved(images, "replicate")

    def follow(self, maps: Tensor) -> Tensor:
        return self._moved(maps, "constant")

    def _moved(self, values: Tensor, mode: str) -> Tensor:
        grown = torch.nn.functional.pad(values, (self.pixels, 0, self.pixels, 0), mode=mode)
        return grown[..., : values.shape[-2], : values.shape[-1]]


@dataclass(frozen=True, repr=False)
class Rotation(NaturalChange):
    """Turned about the middle, bilinearly; the edge is repeated, a map has nothing there.

    Args:
        degrees: anticlockwise.
    """

    degrees: float = 5.0

    def change(self, images: Tensor) -> Tensor:
        return self._turned(images, "border")

    def follow(self, maps: Tensor) -> Tensor:
        return self._turned(maps, "zeros")

    def _turned(self, values: Tensor, edge: str) -> Tensor:
        high, wide = values.shape[-2:]
        angle = math.radians(self.degrees)
        sine, cosine = math.sin(angle), math.cos(angle)
        matrix = [[cosine, -sine * high / wide, 0.0], [sine * wide / high, cosine, 0.0]]
        one = torch.tensor(matrix, dtype=values.dtype, device=values.device)
        grid = torch.nn.functional.affine_grid(
            one.expand(len(values), 2, 3), list(values.shape), align_corners=False
        )
        return torch.nn.functional.grid_sample(values, grid, padding_mode=edge, align_corners=False)


@dataclass(frozen=True, repr=False)
class Brightness(NaturalChange):
    """Lighter or darker by the same amount everywhere.

    Args:
        by: added to each value.
    """

    by: float = 0.1

    def change(self, images: Tensor) -> Tensor:
        return images + self.by


@dataclass(frozen=True, repr=False)
class Contrast(NaturalChange):
    """Differences from an image's mean grow or shrink.

    Args:
        factor: 1 changes nothing.
    """

    factor: float = 0.8

    def change(self, images: Tensor) -> Tensor:
        mean = images.mean((1, 2, 3), keepdim=True)
        return mean + self.factor * (images - mean)


@dataclass(frozen=True, repr=False)
class JPEG(NaturalChange):
    """Stored as a JPEG file and read again (Pillow, extra `cli`).

    Args:
        quality: of the file, 1 to 95.
    """

    quality: int = field(default=75)

    def change(self, images: Tensor) -> Tensor:
        pillow = errors.optional("PIL.Image", "cli")
        if images.shape[1] not in (1, 3):
            raise SurefootError(f"JPEG files have 1 or 3 channels, not {images.shape[1]}")
        found = []
        for image in (images * 255).round().byte().cpu().permute(0, 2, 3, 1).numpy():
            buffer = io.BytesIO()
            pixels = image[..., 0] if image.shape[2] == 1 else image
            pillow.fromarray(pixels).save(buffer, "JPEG", quality=self.quality)
            read = np.array(pillow.open(io.BytesIO(buffer.getvalue())))
            found.append(torch.from_numpy(read).reshape(image.shape).permute(2, 0, 1))
        return (torch.stack(found).float() / 255).to(images)


CHANGES: Family[Recipe] = Family("natural change", (NaturalChange,), "JPEG(quality=75)")
