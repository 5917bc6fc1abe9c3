"""Damaged checkpoints: refused with the reason, or resumed to the right bits; no code runs."""

import io
import json
import random
import shutil
import tempfile
from pathlib import Path
from typing import Any

import torch

from fuzz._outcome import Tally
from fuzz.kills import LOOP, data, network
from surefoot import train

KINDS = ("bit", "byte", "cut", "longer", "zeros", "gone", "empty", "other", "number", "code")


class Mark:
    """Leaves a file behind where it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = str(path)

    def __reduce__(self) -> Any:
        return (Path.touch, (Path(self.path),))


class _Stop(Exception):  # noqa: N818 (it is no error)
    pass


def go(folder: Path, *, stop: int | None = None, seed: int = 3) -> Any:
    """A run, stopped without another word after a step; or what it ends as."""

    def look(done: int, *_: Any) -> None:
        if done == stop:
            raise _Stop

    loop = train.Loop(**{**LOOP.settings(), "steps": 12, "seed": seed})
    net = network()
    try:
        train.fit(
            *(net, train.Natural(), data(), loop),
            out=folder,
            checkpoint_every=4,
            progress=look,
            resume=True,
        )
    except _Stop:
        return None
    return {name: value.clone() for name, value in net.state_dict().items()}


def damage(  # noqa: C901 (one branch a kind)
    folder: Path, other: Path, kind: str, generator: random.Random, mark: Path
) -> str:
    """Damage one file of the newest checkpoint; its name."""
    newest = sorted((folder / "checkpoints").glob("step-*"))[-1]
    file = generator.choice(sorted(path for path in newest.iterdir() if path.is_file()))
    content = bytearray(file.read_bytes())
    place = generator.randrange(len(content))
    if kind == "bit":
        content[place] ^= 1 << generator.randrange(8)
    elif kind == "byte":
        content[place] = generator.randrange(256)
    elif kind == "cut":
        content = content[:place]
    elif kind == "longer":
        content += bytes(generator.randrange(256) for _ in range(9))
    elif kind == "zeros":
        content[place : place + 512] = bytes(len(content[place : place + 512]))
    elif kind == "empty":
        content = bytearray()
    elif kind == "other":
        content = bytearray((other / "checkpoints" / newest.name / file.name).read_bytes())
    elif kind == "number" and file.suffix == ".json":
        record = json.loads(content)
        record["step"] = generator.choice([-1, 0, 10**9, 2**70, "4", None, 4.5])
        content = bytearray(json.dumps(record).encode())
    elif kind == "code":
        made = io.BytesIO()
        torch.save({"shared": Mark(mark)}, made)
        file, content = newest / "state.pt", bytearray(made.getvalue())
    if kind == "gone":
        file.unlink()
    else:
        file.write_bytes(content)
    return file.name


def run(number: int, seed: int = 0) -> Tally:
    """So many damaged checkpoints."""
    torch.set_num_threads(1)
    tally, generator = Tally(), random.Random(seed)
    with tempfile.TemporaryDirectory() as scratch:
        root, mark = Path(scratch), Path(scratch) / "mark"
        right = go(root / "whole")
        go(root / "run", stop=9)
        go(root / "other", stop=9, seed=4)
        for count in range(number):
            kind = KINDS[count % len(KINDS)]
            folder = shutil.copytree(root / "run", root / "damaged")
            name = damage(folder, root / "other", kind, generator, mark)
            tally.judge(f"{kind} in {name}", lambda: _right(go(root / "damaged"), right, mark))
            shutil.rmtree(folder)
        if mark.exists():
            tally.judge("the mark", lambda: _right(None, right, mark))
    return tally


def _right(found: Any, right: Any, mark: Path) -> bool:
    if mark.exists():
        raise RuntimeError("code of the file has run")
    if not all(torch.equal(value, right[name]) for name, value in found.items()):
        raise RuntimeError("it resumed to other weights")
    return True
