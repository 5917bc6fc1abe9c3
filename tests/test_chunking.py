"""Rows are cut to fit, cover the grid once, and are halved when memory runs out."""

import pytest
import torch
from torch import nn

from surefoot.chunking import Block, blocks, each_block, rows_per_batch
from surefoot.explain import ExpectedGradients, Gradient, IntegratedGradients, SmoothGrad


def covered(parts, samples, variants):
    count = torch.zeros(samples, variants, dtype=torch.long)
    for block in parts:
        count[block.samples, block.variants] += 1
    return count


@pytest.mark.parametrize("samples", [1, 3, 8])
@pytest.mark.parametrize("variants", [1, 5, 16])
@pytest.mark.parametrize("rows", [1, 2, 7, 40, 1000])
def test_blocks_cover_the_grid_once_and_fit(samples, variants, rows):
    cut = blocks(slice(0, samples), slice(0, variants), rows)
    assert (covered(cut, samples, variants) == 1).all()
    sizes = [(b.samples.stop - b.samples.start) * (b.variants.stop - b.variants.start) for b in cut]
    assert max(sizes) <= rows


@pytest.mark.parametrize("limit", [1, 2, 3, 5])
def test_halving_covers_the_grid_once(limit):
    tried = []

    def compute(block: Block) -> int:
        size = (block.samples.stop - block.samples.start) * len(range(*block.variants.indices(99)))
        tried.append(size)
        if size > limit:
            raise torch.OutOfMemoryError("full")
        return size

    done = [block for block, _ in each_block(6, 7, 42, compute)]
    assert (covered(done, 6, 7) == 1).all()
    failures = [size for size in tried if size > limit]
    assert len(failures) <= 6
    assert failures == sorted(failures, reverse=True)


def test_the_machines_own_message_counts_and_other_errors_do_not():
    def small(block):
        if block.variants.stop - block.variants.start > 1:
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate")

    assert len(list(each_block(1, 4, 4, small))) == 4

    def broken(block):
        raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")

    with pytest.raises(RuntimeError, match="mat1"):
        list(each_block(1, 4, 4, broken))


def test_rows_are_at_least_one():
    assert rows_per_batch(torch.empty(1, 3, 10_000, 10_000, device="meta"), None) >= 1
    assert rows_per_batch(torch.zeros(1, 1), 0) == 1
    assert rows_per_batch(torch.zeros(1, 1), 7) == 7


class Cramped(nn.Module):
    """Runs out of memory for batches above `limit`."""

    def __init__(self, limit):
        super().__init__()
        torch.manual_seed(0)
        self.net = nn.Sequential(nn.Linear(4, 6), nn.Softplus(), nn.Linear(6, 3))
        self.limit, self.sizes = limit, []

    def forward(self, x):
        self.sizes.append(len(x))
        if len(x) > self.limit:
            raise torch.OutOfMemoryError("full")
        return self.net(x)


@pytest.mark.parametrize(
    "explainer",
    [
        Gradient(),
        IntegratedGradients(steps=8),
        SmoothGrad(samples=8),
        SmoothGrad(samples=8, statistic="variance"),
        SmoothGrad(IntegratedGradients(steps=4), samples=4),
        ExpectedGradients(torch.rand(5, 4, dtype=torch.float64), samples=8),
    ],
    ids=repr,
)
def test_out_of_memory_halves_and_goes_on(explainer):
    inputs = torch.rand(5, 4, dtype=torch.float64)
    roomy, cramped = (Cramped(limit).double().eval() for limit in (10**9, 3))
    expected = explainer(roomy, inputs)
    result = explainer(cramped, inputs)
    assert torch.allclose(result, expected, atol=1e-12)
    rows = sum(size for size in cramped.sizes if size <= 3)
    assert rows == sum(roomy.sizes)
    assert len([size for size in cramped.sizes if size > 3]) <= 40


def test_one_row_that_does_not_fit_raises():
    with pytest.raises(torch.OutOfMemoryError, match="full"):
        Gradient()(Cramped(0).eval(), torch.rand(4, 4), 1)


def test_chunk_bounds_the_rows_of_a_batch():
    model = Cramped(10**9).eval()
    IntegratedGradients(steps=8, chunk=3)(model, torch.rand(5, 4), 1)
    assert max(model.sizes) == 3
    assert sum(model.sizes) == 40
