"""Samples of a data set as one batch, with an error that names the sample where that fails."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.utils.data import default_collate

from surefoot.data import Pictures, Samples
from surefoot.errors import SurefootError

_EXPECTED = "expected (input, label) or (input, label, extra)"


class Minibatch(NamedTuple):
    """What one process gets in one step."""

    inputs: Tensor
    labels: Tensor
    extra: Mapping[str, Tensor]

    def pieces(self, count: int) -> list["Minibatch"]:
        """The batch in so many equal pieces."""
        size = len(self.inputs) // count
        parts = [slice(start, start + size) for start in range(0, size * count, size)]
        return [
            Minibatch(
                self.inputs[part],
                self.labels[part],
                {name: value[part] for name, value in self.extra.items()},
            )
            for part in parts
        ]


def fetch(data: Any, numbers: Tensor) -> Minibatch:
    """The samples of those numbers as one batch.

    Raises:
        SurefootError: a sample cannot be read, is not (input, label) or (input, label, extra), or
            does not fit the others; the message names it.
    """
    if isinstance(data, Samples | Pictures):
        parts: Any = data[numbers]
    else:
        parts = _stacked(_samples(data, numbers.tolist()), numbers.tolist())
    inputs, labels, *rest = parts
    return Minibatch(inputs, _labels(labels, numbers.tolist()), rest[0] if rest else {})


def _samples(data: Any, numbers: Sequence[int]) -> list[Any]:
    if hasattr(data, "__getitems__"):
        try:
            return list(data.__getitems__(list(numbers)))
        except Exception:  # one by one, to tell which it is
            return [_sample(data, number) for number in numbers]
    return [_sample(data, number) for number in numbers]


def _sample(data: Any, number: int) -> Any:
    try:
        return data[number]
    except SurefootError:
        raise
    except Exception as error:  # the data set is the user's and may raise anything
        reason = f"{type(error).__name__}: {error}".splitlines()[0]
        raise SurefootError(
            f"sample {number} of the data cannot be read ({reason}); mend it or leave it out"
        ) from error


def _stacked(samples: Sequence[Any], numbers: Sequence[int]) -> Any:
    for number, sample in zip(numbers, samples, strict=True):
        if not isinstance(sample, tuple | list) or len(sample) not in (2, 3):
            raise SurefootError(
                f"a sample of the data, number {number}, is a {type(sample).__name__}, {_EXPECTED}"
            )
    try:
        return default_collate(list(samples))
    except (TypeError, RuntimeError, ValueError, AttributeError, KeyError) as error:
        reason = _misfit(samples, numbers) or str(error).splitlines()[0]
        raise SurefootError(f"the samples of the data make no batch: {reason}") from error


def _misfit(samples: Sequence[Any], numbers: Sequence[int]) -> str | None:
    """The first sample whose input is no tensor, or of another shape than the first."""
    first = _shape(samples[0][0])
    for number, sample in zip(numbers, samples, strict=True):
        shape = _shape(sample[0])
        if shape is None:
            return (
                f"the input of sample {number} is a {type(sample[0]).__name__}, expected a tensor "
                "or an array (pictures become tensors with surefoot.data.load_image, or "
                "torchvision.transforms.ToTensor())"
            )
        if shape != first:
            return (
                f"the input of sample {number} has shape {shape}, that of sample {numbers[0]} "
                f"{first}; bring all to one shape"
            )
    return None


def _shape(value: Any) -> tuple[int, ...] | None:
    try:
        return tuple(torch.as_tensor(value).shape)
    except (TypeError, ValueError, RuntimeError):
        return None


def _labels(labels: Any, numbers: Sequence[int]) -> Tensor:
    try:
        return torch.as_tensor(labels)
    except (TypeError, ValueError, RuntimeError) as error:
        one = labels[0] if isinstance(labels, Sequence) and len(labels) else labels
        raise SurefootError(
            f"the label of sample {numbers[0]} is {one!r}, expected a class index; number the "
            "classes, as sorted(set(labels)).index(label) does"
        ) from error
