"""The one place where training code changes a model's mode, or asks for it."""

from collections.abc import Callable
from contextlib import AbstractContextManager

from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from surefoot.undo import Undo

_STATISTICS = ("running_mean", "running_var", "num_batches_tracked")


def eval_mode(model: nn.Module) -> AbstractContextManager[nn.Module]:
    """Inside, the whole model is in evaluation mode; afterwards each submodule is as it was.

    Every submodule gets its own `training` flag back, and the running statistics of batch norms
    their values, also after an exception or an interrupt. Flags are set directly, so nothing that
    a model hangs on `train()` or `eval()` runs; hooks, gradients and `requires_grad` are not
    touched.

    >>> net = nn.Sequential(nn.Dropout(), nn.BatchNorm1d(2).eval())
    >>> with eval_mode(net):
    ...     net[0].training
    False
    >>> net[0].training, net[1].training
    (True, False)
    """

    def do(undo: Undo[nn.Module]) -> nn.Module:
        kept = [(buffer, buffer.clone()) for buffer in _statistics(model)]

        def restore() -> None:
            for buffer, value in kept:
                # Through .data: else autograd would forbid the backward of graphs made inside.
                buffer.data.copy_(value)

        undo.then(restore)
        undo.then(flags_of(model))
        for module in model.modules():
            module.training = False
        return model

    return Undo(do)


def flags_of(model: nn.Module) -> Callable[[], None]:
    """What gives every submodule the training flag back that it has now."""
    flags = [(module, module.training) for module in model.modules()]

    def restore() -> None:
        for module, flag in flags:
            module.training = flag

    return restore


def kept_in_evaluation(model: nn.Module) -> list[nn.Module]:
    """The submodules that a user has put into evaluation mode to keep them there in training.

    In a model in training mode, all that are not; in one that is in evaluation mode as a whole, as
    models come from files, the batch norms whose own parameters are frozen.

    >>> net = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2).eval())
    >>> kept_in_evaluation(net)[0] is net[1], kept_in_evaluation(net.eval())
    (True, [])
    """
    if model.training:
        return [module for module in model.modules() if not module.training]
    norms = [module for module in model.modules() if isinstance(module, _BatchNorm)]
    return [norm for norm in norms if norm.affine and not _trained(norm)]


def _trained(module: nn.Module) -> bool:
    return any(parameter.requires_grad for parameter in module.parameters())


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
