"""Cutting a grid of (sample x variant) rows into batches that fit, halved when memory runs out."""

from collections.abc import Callable, Iterator
from typing import NamedTuple, TypeVar

import torch
from torch import Tensor

from surefoot.checks import check_whole

T = TypeVar("T")

# Elements of input a default batch holds; this project's choice, from benchmarks/speed.py: small
# batches stay in a CPU's cache, an accelerator wants large ones.
_CPU_ELEMENTS = 5 * 2**17
_ACCELERATOR_ELEMENTS = 2**24


class Block(NamedTuple):
    """Some samples and some of their variants, computed in one batch."""

    samples: slice
    variants: slice


def rows_per_batch(example: Tensor, chunk: int | None) -> int:
    """How many inputs like one of `example` (N, ...) go through the model at once."""
    if chunk is not None:
        check_whole("chunk", chunk, 0)
        return max(1, int(chunk))
    elements = _CPU_ELEMENTS if example.device.type == "cpu" else _ACCELERATOR_ELEMENTS
    return max(1, elements // max(1, example[0].numel()))


def blocks(samples: slice, variants: slice, rows: int) -> list[Block]:
    """Cut the grid into blocks of at most `rows`, all samples side by side where they fit."""
    at_once = min(rows, samples.stop - samples.start)
    deep = max(1, rows // at_once)
    return [
        Block(slice(s, min(s + at_once, samples.stop)), slice(v, min(v + deep, variants.stop)))
        for s in range(samples.start, samples.stop, at_once)
        for v in range(variants.start, variants.stop, deep)
    ]


def each_block(
    samples: int, variants: int, rows: int, compute: Callable[[Block], T]
) -> Iterator[tuple[Block, T]]:
    """Yield `(block, compute(block))` over the grid; when memory runs out, halve and go on.

    Raises:
        RuntimeError: a single row does not fit in memory (the allocator's own error).
    """
    pending = blocks(slice(0, samples), slice(0, variants), rows)[::-1]
    while pending:
        block = pending.pop()
        try:
            result = compute(block)
        except RuntimeError as error:
            if _size(block) == 1 or not _out_of_memory(error):
                raise
        else:
            yield block, result
            continue
        rows = max(1, _size(block) // 2)
        pending = [small for b in [*pending, block] for small in blocks(*b, rows)[::-1]]
        if torch.cuda.is_available():
            torch.cuda.empty_cache()


def _size(block: Block) -> int:
    samples, variants = block
    return int((samples.stop - samples.start) * (variants.stop - variants.start))


def _out_of_memory(error: RuntimeError) -> bool:
    return isinstance(error, torch.OutOfMemoryError) or "can't allocate memory" in str(error)
