"""An objective in a Hugging Face Trainer, on a vision transformer."""

from typing import Any

import torch
from digits import digits
from torch import Tensor, nn
from torch.utils.data import TensorDataset
from transformers import Trainer, TrainingArguments, ViTConfig, ViTForImageClassification

from surefoot import train
from surefoot.models import Classifier


class ObjectiveTrainer(Trainer):
    """A Trainer whose loss is an objective, in one process on one device.

    With several, the Trainer wraps the model, and what it wraps with cannot be differentiated by
    its inputs; `surefoot.train.fit` can use several.
    """

    def __init__(self, objective: train.Objective, *args: Any, **settings: Any) -> None:
        super().__init__(*args, **settings)
        if self.args.world_size > 1 or self.args.n_gpu > 1:
            raise ValueError("this example trains in one process on one device")
        self.objective = objective
        # The Trainer takes a model with **kwargs, as ViT, to divide its loss by the number of
        # pieces that gradients are accumulated over. An objective's is the mean of its piece.
        self.model_accepts_loss_kwargs = False

    def compute_loss(
        self,
        model: nn.Module,
        inputs: dict[str, Tensor],
        return_outputs: bool = False,
        num_items_in_batch: Tensor | None = None,  # noqa: ARG002 (the Trainer's own)
    ) -> Any:
        """The objective's total; its pass gives no outputs, so evaluation makes one."""
        loss = self.objective(Classifier(model), inputs["pixel_values"], inputs["labels"])
        outputs = model(pixel_values=inputs["pixel_values"]) if return_outputs else None
        return (loss.total, outputs) if return_outputs else loss.total


def collate(samples: list[tuple[Tensor, Tensor]]) -> dict[str, Tensor]:
    """Samples as the model takes them."""
    images, labels = zip(*samples, strict=True)
    return {"pixel_values": torch.stack(images), "labels": torch.stack(labels)}


def transformer() -> ViTForImageClassification:
    """A small one, for images (N, 1, 8, 8)."""
    torch.manual_seed(0)
    return ViTForImageClassification(
        ViTConfig(
            image_size=8,
            patch_size=2,
            num_channels=1,
            hidden_size=32,
            intermediate_size=64,
            num_hidden_layers=2,
            num_attention_heads=2,
            num_labels=10,
            initializer_range=0.2,
        )
    )


def main(folder: str = "runs/transformers", count: int = 1500, epochs: int = 3) -> float:
    """Train with input-gradient regularisation; the accuracy on other digits."""
    training, others = digits(count)
    trainer = ObjectiveTrainer(
        train.InputGradientRegularization(),
        model=transformer(),
        args=TrainingArguments(
            output_dir=folder,
            use_cpu=True,
            num_train_epochs=epochs,
            per_device_train_batch_size=50,
            learning_rate=3e-3,
            remove_unused_columns=False,
            report_to="none",
            save_strategy="no",
            logging_strategy="no",
            disable_tqdm=True,
        ),
        train_dataset=training,
        data_collator=collate,
    )
    trainer.train()
    return _accuracy(trainer.model, others)


def _accuracy(model: nn.Module, others: TensorDataset) -> float:
    images, labels = others.tensors
    with torch.no_grad():
        predictions = model.eval()(pixel_values=images).logits.argmax(1)
    return float((predictions == labels).float().mean())


if __name__ == "__main__":
    print(f"accuracy {main():.3f}")
