"""Integrated gradients along a straight path, with the logits of its points, for training.

Right Riemann sums, as in the released code of RAR (arXiv 1905.09957) and of its successors: the
points are z_k = a + (k/m) (b - a), k = 1 ... m, so the last one is b itself and its logits give
the cross-entropy there without a further pass.
"""

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from surefoot import checks, gradients
from surefoot.chunking import Block, blocks, each_block, rows_per_batch
from surefoot.errors import SurefootError
from surefoot.gradients import Query, Score
from surefoot.train._mode import mixes_samples

# Of logits (R, K) and labels (R,), one number a row.
RowScore = Callable[[Tensor, Tensor], Tensor]


def along(
    request: Query,
    end: Tensor,
    points: int,
    *scores: RowScore,
    chunk: int | None = None,
) -> tuple[Tensor, list[Tensor]]:
    """The logits at `end` and, for each score, its integrated gradients from `request.inputs` on.

    IG = (b - a) * 1/m sum_k grad s(z_k), with a graph to `end` and to the parameters. All points
    of all samples go through the model at once where memory allows; several scores share the
    forward pass. Where a batch norm takes its statistics from the batch, each pass holds one point
    of all samples whatever `chunk` is, because its value would depend on the cut.

    Args:
        request: where the path starts, (N, ...), with `create_graph`.
        end: b, (N, ...).
        points: m.
        scores: what is differentiated.
        chunk: rows sent through the model at once; None chooses.

    Returns:
        Logits (N, K), and one (N, ...) a score.
    """
    if points < 1:
        raise SurefootError(f"integrated gradients with {points} points, expected at least 1")
    shares = torch.arange(1, points + 1).to(end).view(-1, *[1] * (end.ndim - 1)) / points

    def compute(block: Block) -> tuple[Tensor, list[Tensor]]:
        here, there = request.inputs[block.samples, None], end[block.samples, None]
        # lerp gives `end` itself at share 1.
        rows = request.take(block.samples).expand(torch.lerp(here, there, shares[block.variants]))
        logits, slopes = gradients.logits_and_gradients(rows, *scores)
        grid = (-1, block.variants.stop - block.variants.start)
        sums = [slope.view(*grid, *end.shape[1:]).sum(1) for slope in slopes]
        return logits.view(*grid, logits.shape[1])[:, -1], sums

    last: dict[int, Tensor] = {}
    totals = [torch.zeros_like(end, requires_grad=False) for _ in scores]
    parts: Iterator[tuple[Block, tuple[Tensor, list[Tensor]]]]
    if mixes_samples(request.model):
        whole = blocks(slice(0, len(end)), slice(0, points), len(end))
        parts = ((block, compute(block)) for block in whole)
    else:
        parts = each_block(len(end), points, rows_per_batch(end, chunk), compute)
    for block, (logits, sums) in parts:
        for total, part in zip(totals, sums, strict=True):
            total[block.samples] += part
        if block.variants.stop == points:
            last[block.samples.start] = logits
    ends = torch.cat([last[start] for start in sorted(last)])
    return ends, [(end - request.inputs) * total / points for total in totals]


def named(score: Score) -> RowScore:
    """The score of that name, of each row's label; it checks the labels, and calls them so."""

    def of_labels(logits: Tensor, labels: Tensor) -> Tensor:
        checks.check_target_range(labels, logits, "labels")
        return gradients.class_scores(logits, labels, score)

    return of_labels


def loss(logits: Tensor, labels: Tensor) -> Tensor:
    """-log p_y."""
    return named("loss")(logits, labels)


def probability(logits: Tensor, labels: Tensor) -> Tensor:
    """p_y."""
    return named("probability")(logits, labels)


def other_probability(logits: Tensor, labels: Tensor) -> Tensor:
    """The largest p_c with c != y, c chosen anew in each row."""
    return gradients.class_scores(logits, runner_up(logits, labels), "probability")


def logit(logits: Tensor, labels: Tensor) -> Tensor:
    """f_y."""
    return named("logit")(logits, labels)


def other_logit(logits: Tensor, labels: Tensor) -> Tensor:
    """The largest f_c with c != y."""
    return gradients.class_scores(logits, runner_up(logits, labels), "logit")


def runner_up(logits: Tensor, labels: Tensor) -> Tensor:
    """The best class but the label, (R,).

    >>> runner_up(torch.tensor([[3.0, 1.0, 2.0], [3.0, 1.0, 2.0]]), torch.tensor([0, 1]))
    tensor([2, 0])
    """
    return logits.detach().scatter(1, labels[:, None], -torch.inf).argmax(1)
