"""A Lightning callback that measures attributional robustness while a model is trained."""

import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from torch import Tensor, distributed, nn

from surefoot.errors import MissingExtraError, SurefootError, optional
from surefoot.train.loop import Validation, check_data, mean, together

if TYPE_CHECKING:
    from pytorch_lightning import Callback, LightningModule, Trainer
else:
    # Lightning goes by two names; the one that is in use already has the Trainer.
    _NAMES = sorted(("lightning.pytorch", "pytorch_lightning"), key=lambda n: n not in sys.modules)
    try:
        Callback = optional(_NAMES[0], "lightning").Callback
    except MissingExtraError:
        Callback = optional(_NAMES[1], "lightning").Callback


class AttributionCallback(Callback):
    """Logs the figures of a `Validation` at the end of validation epochs.

    They have the names that `Validation` gives them, behind the prefix, so that a
    ModelCheckpoint(monitor="topk_intersection", mode="max") can go by them. With several processes
    each measures a share of the samples.

    Args:
        data: a map-style data set of (input, label), inputs unnormalised in the attacks' bounds.
        validation: what is measured; None takes `Validation()`.
        every: epochs between two measurements.
        prefix: put before every name.
        model: picks the classifier, from inputs to logits, out of the LightningModule; None takes
            the module itself.

    Raises:
        SurefootError: data that are empty, `every` below 1.
    """

    def __init__(
        self,
        data: Any,
        validation: Validation | None = None,
        *,
        every: int = 1,
        prefix: str = "",
        model: "Callable[[LightningModule], nn.Module] | None" = None,
    ) -> None:
        super().__init__()
        check_data(data, "the callback's data")
        if every < 1:
            raise SurefootError(f"every={every}, expected a number of epochs, at least 1")
        self.data, self.every, self.prefix, self.model = data, every, prefix, model
        self.validation = Validation() if validation is None else validation

    def on_validation_epoch_end(self, trainer: "Trainer", pl_module: "LightningModule") -> None:
        """Measure and log, if it is time."""
        if trainer.sanity_checking or (trainer.current_epoch + 1) % self.every:
            return
        model = pl_module if self.model is None else self.model(pl_module)
        share = trainer.global_rank, trainer.world_size
        scores = self.validation.scores(model, self.data, *share)
        figures = mean(scores if trainer.world_size == 1 else _of_all(scores))
        named = {f"{self.prefix}{name}": value for name, value in figures.items()}
        pl_module.log_dict(named, sync_dist=trainer.world_size > 1)


def _of_all(scores: dict[str, Tensor]) -> dict[str, Tensor]:
    """The scores of all processes, whose shares differ: a mean of their means would be wrong."""
    parts: list[dict[str, Tensor]] = [{}] * distributed.get_world_size()
    distributed.all_gather_object(parts, scores)
    return together(parts)
