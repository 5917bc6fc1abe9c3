"""An objective in a LightningModule, and a callback that measures whether explanations hold."""

import pytorch_lightning as lightning
import torch
from digits import digits, network
from torch import Tensor
from torch.utils.data import DataLoader

from surefoot import attack, explain, train
from surefoot.train.lightning import AttributionCallback


class Robust(lightning.LightningModule):
    """A classifier trained with any objective."""

    def __init__(self, objective: train.Objective) -> None:
        super().__init__()
        self.objective, self.network = objective, network()

    def forward(self, images: Tensor) -> Tensor:
        """Logits (N, 10)."""
        logits: Tensor = self.network(images)
        return logits

    def training_step(self, batch: tuple[Tensor, Tensor], _index: int) -> Tensor:
        """The loss; gradients inside it are the objective's business."""
        loss = self.objective(self, *batch)
        self.log_dict(dict(loss.terms))
        return loss.total

    def validation_step(self, batch: tuple[Tensor, Tensor], _index: int) -> None:
        """The accuracy."""
        images, labels = batch
        self.log("accuracy", (self(images).argmax(1) == labels).float().mean())

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Adam."""
        return torch.optim.Adam(self.parameters(), lr=1e-2)


def main(folder: str = "runs/lightning", count: int = 1500, epochs: int = 3) -> dict[str, float]:
    """Train with IG-SUM-NORM; the figures of the last validation."""
    training, others = digits(count)
    audit = train.Validation(
        adversary=attack.PGD(attack.Linf(0.1, steps=5)),
        audit=attack.TopK(attack.Linf(0.1, steps=10), k=8),
        explainer=explain.IntegratedGradients(steps=5),
    )
    trainer = lightning.Trainer(
        accelerator="cpu",
        max_epochs=epochs,
        default_root_dir=folder,
        callbacks=[AttributionCallback(others, audit, every=epochs)],
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    model = Robust(train.IGSumNorm(0.1, steps=2, points=3, attack_points=2))
    loaders = DataLoader(training, batch_size=50, shuffle=True), DataLoader(others, batch_size=200)
    trainer.fit(model, *loaders)
    return {name: float(value) for name, value in trainer.callback_metrics.items()}


if __name__ == "__main__":
    print(", ".join(f"{name} {value:.3f}" for name, value in main().items()))
