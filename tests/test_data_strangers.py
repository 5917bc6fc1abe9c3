"""Data of strangers: bombs are bounded, damage is named, no code runs."""

import gzip
import io
import pickle
import zipfile

import numpy as np
import pytest
import torch

from surefoot import SurefootError, data
from surefoot.data._cifar import _read as read_cifar
from surefoot.data._digits import read_idx
from surefoot.data._records import _read as read_records

IMAGES = np.zeros((4, 6, 6), np.uint8)


def saved(path, **arrays):
    np.savez(path, **arrays)
    return path


def test_a_label_beyond_all_classes_is_refused(tmp_path):
    for label in (2**62, -1):
        labels = np.array([0, 1, 2, label])
        path = saved(tmp_path / "a.npz", x=IMAGES, y=labels)
        with pytest.raises(SurefootError, match="labels"):
            data.load(f"arrays:{path}", "all")


def header(text, path):
    """An archive whose array has that header and a byte."""
    content = b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text
    saved(path, y=np.array([0, 1, 2, 3]))
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("x.npy", content + b"\x00")
    return path


@pytest.mark.parametrize(
    "text",
    [
        b"{'descr': '|u1', 'fortran_order': False, 'shape': (1099511627776, 6, 6)}\n",
        b"{'descr': '|u1', 'fortran_order': False, 'shape': (-1,)}\n",
        b"{'descr': '|V999999999', 'fortran_order': False, 'shape': (99999,)}\n",
        b"[" * 3000 + b"\n",
        b"\n",
    ],
)
def test_headers_that_lie_make_no_arrays(text, tmp_path):
    path = header(text, tmp_path / "a.npz")
    with pytest.raises(SurefootError, match="cannot read"):
        data.load(f"arrays:{path}", "all")


def test_an_archive_that_unpacks_to_gigabytes_is_refused(tmp_path):
    path = tmp_path / "a.npz"
    saved(path, y=np.array([0]))
    with (
        zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED) as archive,
        archive.open("x.npy", "w", force_zip64=True) as file,
    ):
        for _ in range(300):
            file.write(bytes(2**20))
    with pytest.raises(SurefootError, match="would unpack to"):
        data.load(f"arrays:{path}", "all")


def test_every_flipped_byte_of_an_archive_is_data_or_an_error(tmp_path):
    whole = saved(tmp_path / "a.npz", x=IMAGES, y=np.array([0, 1, 2, 3])).read_bytes()
    path = tmp_path / "b.npz"
    for place in range(0, len(whole), 3):
        changed = bytearray(whole)
        changed[place] ^= 1 << place % 8
        path.write_bytes(changed)
        try:
            found = data.load(f"arrays:{path}", "all")
        except SurefootError:
            continue
        assert torch.equal(found.stored, torch.from_numpy(IMAGES)[:, None])


def test_idx_and_csv_of_the_wrong_kind(tmp_path):
    path = tmp_path / "a"
    for content in (
        *(b"", b"\0", b"\0\0\x08", b"\0\0\x08\x03" + b"\xff" * 12, b"\0\0\x08\xff" + bytes(9)),
        *(gzip.compress(b"x")[:-4], b"\x1f\x8b" + bytes(30), gzip.compress(b"\0\0\x0d\x01")),
    ):
        path.write_bytes(content)
        with pytest.raises(SurefootError):
            read_idx(path)
    for content in (b"\xff\xfe", b'"' + b"a" * 200_000, b"1,2\n", b"\0,\0\n", b"\n"):
        path.write_bytes(content)
        with pytest.raises(SurefootError):
            read_records(path)
    path.write_bytes(b"\0\0\x08\x00")
    with pytest.raises(SurefootError, match="is damaged"):
        read_idx(path)


def test_a_pickle_makes_no_arrays_out_of_nothing(tmp_path):
    path = tmp_path / "batch"
    good = {"data": np.zeros((2, 3072), np.uint8), "labels": [0, 1]}
    path.write_bytes(pickle.dumps(good, 2))
    pixels, labels = read_cifar(path)
    assert (pixels.shape, labels.tolist()) == ((2, 3, 32, 32), [0, 1])
    make = np.empty(0).__reduce__()[0]

    class Huge:
        def __reduce__(self):
            return make, (np.ndarray, (2**40,), b"b")

    class Direct:
        def __reduce__(self):
            return np.ndarray, ((2**40,),)

    for bad in (Huge(), Direct()):
        path.write_bytes(pickle.dumps({"data": bad, "labels": [0]}, 2))
        with pytest.raises(SurefootError):
            read_cifar(path)


def test_pictures_that_are_none(tmp_path):
    image = pytest.importorskip("PIL.Image")
    path = tmp_path / "a.png"
    image.new("RGB", (1, 30_000)).save(path)
    with pytest.raises(SurefootError, match="too narrow for a square"):
        data.load_image(path, 224)
    content = io.BytesIO()
    image.effect_noise((9, 9), 50).save(content, "png")
    whole = content.getvalue()
    for place in range(0, len(whole), 5):
        changed = bytearray(whole)
        changed[place] ^= 0x55
        path.write_bytes(changed)
        try:
            assert data.load_image(path, 8).shape == (3, 8, 8)
        except SurefootError as error:
            assert "\n" not in str(error)  # noqa: PT017
    path.write_bytes(whole[: len(whole) // 2])
    (tmp_path / "folder" / "kind").mkdir(parents=True)
    (tmp_path / "folder" / "kind" / "a.png").write_bytes(b"none")
    with pytest.raises(SurefootError, match="cannot read the photograph"):
        data.load(f"folder:{tmp_path / 'folder'}", "all")


def test_class_names_of_the_wrong_kind(tmp_path):
    path = tmp_path / "names.json"
    for content in (b"\xff", b"[" * 100_000, b"{}", b"[1]", b"[]", b"null"):
        path.write_bytes(content)
        with pytest.raises(SurefootError, match=r"names\.json"):
            data.load_labels(path)
