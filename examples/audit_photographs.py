"""An audit of the demo network on twenty labelled photographs, with its page.

    pip install "surefoot[audit,demo]" && pip install --no-deps foolbox
    python examples/audit_photographs.py             # goes on where it was stopped
    python examples/audit_photographs.py --dry-run

What it wrote is in docs/audit-example. At 128 pixels it takes a quarter of an hour of one core.

The photographs are those that foolbox brings; the class of each is in its file's name.
"""

import importlib.util
import sys
from dataclasses import dataclass
from pathlib import Path

import torch
from torch.utils.data import DataLoader, Dataset

from surefoot import attack, auditing, data, explain, models
from surefoot.auditing import natural

SIZE = 128  # pixels a side: 224 takes three times as long
OUT = Path(__file__).parent / "audit-photographs"
SMALL, LARGE = (attack.Linf(size / 255, steps=3) for size in (1, 4))
EXPLAINERS = {
    "gradient": explain.Gradient(),
    "input x gradient": explain.InputXGradient(),
    "integrated gradients": explain.IntegratedGradients(steps=4),
    "smoothgrad": explain.SmoothGrad(explain.Gradient(), samples=4, std=0.1),
    "decoy gradient": explain.Decoy(explain.Gradient(), decoys=8),
}
ATTACKS = {
    "topk": attack.TopK([SMALL, LARGE], k=0.05),
    "mass centre": attack.MassCenter(SMALL, k=0.05),
    "jpeg": natural.JPEG(quality=75),
}
METRICS = ["topk_intersection", "spearman", "sensitivity", "gini"]


@dataclass(frozen=True, eq=False)
class Photographs(Dataset):
    """Foolbox's photographs of ImageNet with their classes."""

    paths: list[Path]
    classes: list[str]

    @property
    def names(self) -> list[str]:
        """Of the files."""
        return [path.name for path in self.paths]

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, number: int) -> tuple[torch.Tensor, int]:
        path = self.paths[number]
        return data.load_image(path, SIZE), int(path.stem.split("_")[2])


def main() -> None:
    """Audit, and write the page."""
    found = importlib.util.find_spec("foolbox")
    if found is None or not found.submodule_search_locations:
        sys.exit("the photographs are foolbox's: pip install --no-deps foolbox")
    folder = Path(found.submodule_search_locations[0]) / "data"
    photographs = Photographs(sorted(folder.glob("imagenet_*.jpg")), data.imagenet_labels())
    settings = auditing.Settings(
        explainers=EXPLAINERS,
        attacks=ATTACKS,
        metrics=METRICS,
        block=2,
        draws=3,
        about={
            "command": "python examples/audit_photographs.py",
            "model": "EfficientNet-Lite0 with its ImageNet weights",
            "data": f"twenty photographs of ImageNet that foolbox brings, {SIZE} pixels a side",
        },
    )
    loader, model = DataLoader(photographs, batch_size=2), models.load("efficientnet-lite0")
    if "--dry-run" in sys.argv:
        print(auditing.estimate(settings, model, loader))
        return
    result = auditing.run(settings, model, loader, out=OUT, progress=sys.stderr.isatty())
    print(result)
    result.html(OUT / "audit.html")


if __name__ == "__main__":
    main()
