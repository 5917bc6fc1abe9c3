"""Several inputs in one tensor: what belongs to which, and what the axes of each mean."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from surefoot.errors import SurefootError
from surefoot.maps._layout import Layout, check_layout, layout_of, place_axes, said_by


@dataclass(frozen=True)
class Parts:
    """Inputs (N, ...) side by side in rows (N, F), and back.

    Attributes:
        shapes: of one sample of each.
        dtypes: of each.
        layouts: of each; None where three axes are left unsaid.
    """

    shapes: tuple[tuple[int, ...], ...]
    dtypes: tuple[torch.dtype, ...]
    layouts: tuple[Layout | None, ...]

    @classmethod
    def of(
        cls, inputs: Sequence[Tensor], layout: object = None, model: nn.Module | None = None
    ) -> "Parts":
        """Of inputs (N, ...); `layout` is one name for each of them, or None.

        Raises:
            SurefootError: there are more layouts than inputs, or one does not fit.
        """
        said = [layout] * len(inputs) if layout is None or isinstance(layout, str) else layout
        if not isinstance(said, Sequence) or len(said) != len(inputs):
            raise SurefootError(
                f"layout={layout!r} for {len(inputs)} inputs; give one name for each of them"
            )
        return cls(
            tuple(tuple(each.shape[1:]) for each in inputs),
            tuple(each.dtype for each in inputs),
            tuple(_of_one(each, name, model) for each, name in zip(inputs, said, strict=True)),
        )

    @property
    def sizes(self) -> list[int]:
        """The number of entries of each."""
        return [torch.Size(shape).numel() for shape in self.shapes]

    def join(self, values: Sequence[Tensor]) -> Tensor:
        """Values shaped like the inputs as rows (N, F), in the widest of their dtypes."""
        dtype = values[0].dtype
        for each in values:
            dtype = torch.promote_types(dtype, each.dtype)
        return torch.cat([each.flatten(1).to(dtype) for each in values], 1)

    def split(self, rows: Tensor) -> tuple[Tensor, ...]:
        """Rows (..., F) as values shaped like the inputs, in their dtypes."""
        ends = torch.tensor(self.sizes).cumsum(0).tolist()
        parts = [rows[..., end - size : end] for end, size in zip(ends, self.sizes, strict=True)]
        given = zip(parts, self.shapes, self.dtypes, strict=True)
        return tuple(p.reshape(*rows.shape[:-1], *shape).to(dtype) for p, shape, dtype in given)

    def needed(self, number: int) -> Layout:
        """The layout of one of them.

        Raises:
            SurefootError: it has three axes and nobody says.
        """
        shape = (1, *self.shapes[number])
        return layout_of(shape, layout=self.layouts[number], what=f"inputs[{number}]")


AnyLayout = Layout | Parts


def _of_one(inputs: Tensor, layout: object, model: nn.Module | None) -> Layout | None:
    """A layout that nobody gave for this input; the model's own is of those it fits."""
    if layout is not None:
        return layout_of(inputs, layout=check_layout(layout))
    by_rank: dict[int, Layout] = {2: "record", 4: "image", 5: "volume"}
    said = said_by(model)
    if said is not None and inputs.ndim == (2 if said == "record" else len(place_axes(said)) + 2):
        return said
    return by_rank.get(inputs.ndim)
