"""What the tests of the training loop share: a small data set, and a validation that is quick."""

import json

import torch

from surefoot import attack, explain
from surefoot.data import Samples
from surefoot.files import seal
from surefoot.train.loop import Validation

VALIDATION = Validation(
    adversary=attack.PGD(attack.Linf(0.05, steps=2)),
    audit=attack.TopK(attack.Linf(0.05, steps=2), k=5),
    explainer=explain.Gradient(),
    audited=3,
)


def pixels(count):
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (count, 1, 6, 6), generator=generator, dtype=torch.uint8)


def images(count=40, classes=("a", "b")):
    """Grey pictures of 6 x 6, dark or light."""
    stored = pixels(count)
    return Samples(stored, (stored.float().mean((1, 2, 3)) > 127.5).long(), tuple(classes))


def reseal(folder):
    """Make a checkpoint whole again whose files were changed on purpose."""
    path = folder / "checkpoint.json"
    record = json.loads(path.read_text())
    names = record.pop("files")
    del record["digest"]
    path.write_bytes(seal(record, {name: (folder / name).read_bytes() for name in names}))
