"""Hostile folders and files: refused with the reason, within memory and time; no code runs."""

import gzip
import hashlib
import io
import json
import os
import pickle
import random
import shutil
import tempfile
import zipfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from pyarrow import parquet

from fuzz import kills
from fuzz._outcome import Tally
from fuzz.damage import Mark
from surefoot import AuditResult, SurefootError, auditing, data, explain, models
from surefoot.cli import main
from surefoot.files import check_yaml, seal

Make = Callable[[Path, Path, random.Random], Callable[[], Any]]


def _saved(folder: Path) -> dict[str, Any]:
    models.save(
        models.build("mlp", seed=0, features=5, classes=3),
        folder,
        "mlp",
        settings={"features": 5, "classes": 3},
    )
    card: dict[str, Any] = json.loads((folder / "card.json").read_text())
    return {name: value for name, value in card.items() if name not in ("files", "digest")}


def _card(change: dict[str, Any]) -> Make:
    def make(folder: Path, _mark: Path, _: random.Random) -> Callable[[], Any]:
        card = _saved(folder) | change
        weights = (folder / "model.safetensors").read_bytes()
        (folder / "card.json").write_bytes(seal(card, {"model.safetensors": weights}))
        return lambda: models.load(folder)(torch.rand(2, 5))

    return make


def _raw_card(content: bytes) -> Make:
    def make(folder: Path, _mark: Path, _: random.Random) -> Callable[[], Any]:
        _saved(folder)
        (folder / "card.json").write_bytes(content)
        return lambda: models.load(folder)(torch.rand(2, 5))

    return make


def _pickled(folder: Path, mark: Path, _: random.Random) -> Callable[[], Any]:
    folder.mkdir()
    torch.save({"a": Mark(mark)}, folder / "w.pt")
    net = models.build("mlp", features=5)
    return lambda: models.load_weights(net, folder / "w.pt")


def _weights(change: Callable[[bytes, random.Random], bytes]) -> Make:
    def make(folder: Path, _mark: Path, generator: random.Random) -> Callable[[], Any]:
        _saved(folder)
        file = folder / "model.safetensors"
        file.write_bytes(change(file.read_bytes(), generator))
        return lambda: models.load_weights(models.build("mlp", features=5, classes=3), file)

    return make


def _expanded(folder: Path, _mark: Path, _: random.Random) -> Callable[[], Any]:
    folder.mkdir()
    torch.save({"0.weight": torch.zeros(1, dtype=torch.int8).expand(2**40)}, folder / "w.pt")
    net = models.build("mlp", features=5)
    return lambda: models.load_weights(net, folder / "w.pt")


def _archive(**arrays: Any) -> Make:
    def make(folder: Path, _mark: Path, _: random.Random) -> Callable[[], Any]:
        folder.mkdir()
        np.savez(folder / "a.npz", **arrays)
        return lambda: data.load(f"arrays:{folder / 'a.npz'}", "all")

    return make


def _zip_bomb(folder: Path, _mark: Path, _: random.Random) -> Callable[[], Any]:
    folder.mkdir()
    with (
        zipfile.ZipFile(folder / "a.npz", "w", zipfile.ZIP_DEFLATED) as archive,
        archive.open("x.npy", "w", force_zip64=True) as file,
    ):
        for _number in range(4096):
            file.write(bytes(2**20))
    return lambda: data.load(f"arrays:{folder / 'a.npz'}", "all")


def _gzip_bomb(folder: Path, _mark: Path, _: random.Random) -> Callable[[], Any]:
    folder.mkdir()
    packed = io.BytesIO()
    with gzip.GzipFile(fileobj=packed, mode="wb", compresslevel=1) as file:
        for _number in range(2048):
            file.write(bytes(2**20))
    for name in ("t10k-images-idx3-ubyte.gz", "t10k-labels-idx1-ubyte.gz"):
        (folder / name).write_bytes(packed.getvalue())
    return lambda: data.load("mnist", "test", folder)


def _cifar(folder: Path, mark: Path, _: random.Random) -> Callable[[], Any]:
    folder.mkdir()
    (folder / "test_batch").write_bytes(pickle.dumps({"data": Mark(mark), "labels": [0]}))
    return lambda: data.load("cifar10", "test", folder)


def _program(folder: Path, mark: Path, _: random.Random) -> Callable[[], Any]:
    folder.mkdir()
    content = io.BytesIO()
    torch.save(((Mark(mark),), {}), content)
    with zipfile.ZipFile(folder / "a.pt2", "w") as archive:
        archive.writestr("a/archive_format", "pt2")
        archive.writestr("a/archive_version", "0")
        archive.writestr("a/models/model.json", "{}")
        archive.writestr("a/data/sample_inputs/model.pt", content.getvalue())
    return lambda: models.load(folder / "a.pt2")


def _yaml(text: str) -> Make:
    def make(folder: Path, mark: Path, _: random.Random) -> Callable[[], Any]:
        folder.mkdir()
        path = folder / "a.yaml"
        path.write_text(text.replace("MARK", str(mark)))

        def call() -> Any:
            check_yaml(path)
            if main(["explain", "--config", str(path)]) == 2:
                raise SurefootError("refused on the command line")
            return None

        return call

    return make


def _pictures(content: bytes) -> Make:
    def make(folder: Path, _mark: Path, _: random.Random) -> Callable[[], Any]:
        (folder / "kind").mkdir(parents=True)
        (folder / "kind" / "a.png").write_bytes(content)
        (folder / "kind" / "loop").symlink_to(folder)
        return lambda: data.load(f"folder:{folder}", "all", size=8)[0]

    return make


def _recipe(text: str) -> Make:
    def make(folder: Path, mark: Path, _: random.Random) -> Callable[[], Any]:
        folder.mkdir()
        return lambda: explain.from_json(text.replace("MARK", str(mark)))

    return make


def _audited(change: Callable[[Path, dict[str, Any]], None]) -> Make:
    def make(folder: Path, _mark: Path, _: random.Random) -> Callable[[], Any]:
        kills.audit(folder)
        state = json.loads((folder / "audit.json").read_text())
        whole = {n: v for n, v in state.items() if n not in ("files", "digest")}
        change(folder, whole)
        (folder / "audit.json").write_bytes(seal(whole, {}))

        def call() -> Any:
            result = AuditResult.load(folder)
            result.html(folder / "page.html")
            return auditing.status(folder)

        return call

    return make


def _settings(name: str, value: Any, *, inside: bool = True) -> Make:
    return _audited(lambda _, state: (state["audit"] if inside else state).update({name: value}))


def _part(content: Callable[[bytes], bytes]) -> Make:
    """A part with other content, under a name that fits it."""

    def change(folder: Path, _: dict[str, Any]) -> None:
        path = min((folder / "samples").iterdir())
        made = content(path.read_bytes())
        path.unlink()
        digest = hashlib.sha256(made).hexdigest()[:16]
        path.with_name(f"{path.stem.rpartition('-')[0]}-{digest}.parquet").write_bytes(made)

    return _audited(change)


def _columns(_: bytes) -> bytes:
    buffer = io.BytesIO()
    parquet.write_table(pa.table({"a": [1]}), buffer)
    return buffer.getvalue()


def _endless(_: bytes) -> bytes:
    """A billion rows in a few kilobytes."""
    buffer = io.BytesIO()
    rows = pa.table({"model": pa.DictionaryArray.from_arrays(np.zeros(10**7, np.int8), ["a"])})
    with parquet.ParquetWriter(buffer, rows.schema) as writer:
        for _number in range(100):
            writer.write_table(rows, row_group_size=10**7)
    return buffer.getvalue()


def _flip(content: bytes, generator: random.Random) -> bytes:
    changed = bytearray(content)
    for _ in range(3):
        changed[generator.randrange(min(len(changed), 400))] = generator.randrange(256)
    return bytes(changed)


IMAGES = np.zeros((4, 6, 6), np.uint8)
HOSTILE: dict[str, Make] = {
    "card: huge network": _card({"settings": {"features": 2**31, "classes": 2**31}}),
    "card: long network": _card({"settings": {"features": 5, "hidden": [9] * 20_000}}),
    "card: endless network": _card({"network": "rar-resnet", "settings": {"units": 10**9}}),
    "card: another network": _card({"network": "vgg16-small", "settings": {}}),
    "card: no network": _card({"network": "../../etc/passwd"}),
    "card: a number": _card({"network": 5}),
    "card: settings": _card({"settings": [1]}),
    "card: unknown settings": _card({"settings": {"features": 5, "__class__": 1}}),
    "card: mean": _card({"mean": "0.5", "std": None}),
    "card: means": _card({"mean": [[1, 2], [3]], "std": [1]}),
    "card: std": _card({"mean": 0.5, "std": 0}),
    "card: labels": _card({"labels": [1, 2]}),
    "card: size": _card({"size": "big"}),
    "card: format": _card({"format": 99}),
    "card: deep": _raw_card(b'{"format": 1, "a": ' + b"[" * 100_000),
    "card: list": _raw_card(b"[]"),
    "card: bytes": _raw_card(bytes(range(256))),
    "card: huge text": _raw_card(b'{"a": "' + b"x" * 2**27 + b'"}'),
    "card: infinity": _raw_card(b'{"format": Infinity}'),
    "weights: pickle": _pickled,
    "weights: expanded": _expanded,
    "weights: cut": _weights(lambda content, _: content[: len(content) // 2]),
    "weights: header": _weights(lambda content, _: b"\xff" * 8 + content[8:]),
    "weights: empty": _weights(lambda *_: b""),
    "weights: flipped": _weights(_flip),
    "npz: label": _archive(x=IMAGES, y=np.array([0, 1, 2, 2**62])),
    "npz: negative": _archive(x=IMAGES, y=np.array([0, 1, 2, -5])),
    "npz: objects": _archive(x=np.array([{}] * 4), y=np.arange(4)),
    "npz: words": _archive(x=IMAGES, y=np.array(["a", "b", "c", "d"])),
    "npz: empty": _archive(x=np.zeros((0, 6, 6), np.uint8), y=np.zeros(0, np.int64)),
    "npz: numbers": _archive(x=np.float64(3), y=np.int64(3)),
    "npz: complex": _archive(x=np.zeros((4, 3), complex), y=np.arange(4)),
    "npz: classes": _archive(x=IMAGES, y=np.arange(4), classes=np.float64(1)),
    "npz: bomb": _zip_bomb,
    "idx: bomb": _gzip_bomb,
    "cifar: code": _cifar,
    "program: code": _program,
    "yaml: code": _yaml("explainer: !!python/object/apply:os.system ['touch MARK']"),
    "yaml: laughs": _yaml("".join(f"a{n}: &a{n} [*a{n - 1}, *a{n - 1}]\n" for n in range(1, 60))),
    "yaml: deep": _yaml("model: " + "{a: " * 3000),
    "yaml: huge": _yaml("model: " + "x" * 2**22),
    "yaml: bytes": _yaml("\x00\x01"),
    "pictures: none": _pictures(b"none"),
    "pictures: cut": _pictures(b"\x89PNG\r\n\x1a\n" + bytes(40)),
    "audit: explainers": _settings("explainers", [1]),
    "audit: metrics": _settings("metrics", {"spearman": {}}),
    "audit: other names": _settings("attacks", {}),
    "audit: samples": _settings("samples", {}, inside=False),
    "audit: classes": _settings("classes", 5, inside=False),
    "audit: part, columns": _part(_columns),
    "audit: part, bytes": _part(lambda content: content[: len(content) // 2]),
    "audit: part, rows": _part(_endless),
    "audit: part, nothing": _part(lambda _: b""),
    "recipe: code": _recipe('{"type": "os:system", "command": "touch MARK"}'),
    "recipe: module": _recipe('{"type": "Gradient", "score": {"type": "import", "path": "os"}}'),
    "recipe: deep": _recipe('{"type": "tuple", "items": ' + "[" * 100_000),
    "recipe: float": _recipe('{"type": "float", "value": "x"}'),
    "recipe: dict": _recipe('{"type": "dict", "items": [[[], 1]]}'),
    "recipe: list": _recipe("[1, 2"),
}


def run(number: int, seed: int = 0) -> Tally:
    """So many hostile folders, each sort in its turn."""
    torch.set_num_threads(1)
    tally, generator = Tally(), random.Random(seed)
    here = Path.cwd()
    with tempfile.TemporaryDirectory() as scratch:
        os.chdir(scratch)
        mark = Path(scratch) / "mark"
        try:
            for count in range(number):
                name = list(HOSTILE)[count % len(HOSTILE)]
                folder = Path(scratch) / "folder"
                call = HOSTILE[name](folder, mark, generator)
                tally.judge(name, partial(_harmless, call, mark), finite=True)
                shutil.rmtree(folder)
        finally:
            os.chdir(here)
    return tally


def _harmless(call: Callable[[], Any], mark: Path) -> Any:
    try:
        return call()
    finally:
        if mark.exists():
            mark.unlink()
            raise RuntimeError("code of the file has run")
