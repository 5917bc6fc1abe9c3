"""The one place where training code changes a model's mode, or asks for it."""

from collections.abc import Iterator
from contextlib import contextmanager

from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

_STATISTICS = ("running_mean", "running_var", "num_batches_tracked")


@contextmanager
def eval_mode(model: nn.Module) -> Iterator[nn.Module]:
    """Inside, the whole model is in evaluation mode; afterwards each submodule is as it was.

    Every submodule gets its own `training` flag back, and the running statistics of batch norms
    their values, also after an exception. Flags are set directly, so nothing that a model hangs on
    `train()` or `eval()` runs; hooks, gradients and `requires_grad` are not touched.

    >>> net = nn.Sequential(nn.Dropout(), nn.BatchNorm1d(2).eval())
    >>> with eval_mode(net):
    ...     net[0].training
    False
    >>> net[0].training, net[1].training
    (True, False)
    """
    flags = [(module, module.training) for module in model.modules()]
    kept = [(buffer, buffer.clone()) for buffer in _statistics(model)]
    for module, _ in flags:
        module.training = False
    try:
        yield model
    finally:
        for module, flag in flags:
            module.training = flag
        for buffer, value in kept:
            # Through .data: to autograd a write would forbid the backward of graphs made inside.
            buffer.data.copy_(value)


def mixes_samples(model: nn.Module) -> bool:
    """Whether a batch norm of the model takes its statistics from the batch, as in training.

    >>> net = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2))
    >>> mixes_samples(net), mixes_samples(net.eval())
    (True, False)
    """
    norms = [module for module in model.modules() if isinstance(module, _BatchNorm)]
    return any(norm.training or norm.running_mean is None for norm in norms)


def _statistics(model: nn.Module) -> list[Tensor]:
    return [
        buffer
        for name, buffer in model.named_buffers()
        if name.rpartition(".")[2] in _STATISTICS and not buffer.is_inference()
    ]
