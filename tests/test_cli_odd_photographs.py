"""Odd photographs and odd names: a picture, or one clear line; never a traceback."""

import os
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest

from surefoot.cli import main

pytest.importorskip("jsonargparse")
pytest.importorskip("matplotlib")
image = pytest.importorskip("PIL.Image")
features = pytest.importorskip("PIL.features")

SMALL = ("--model", "my_nets:small", "--size", "16", "--explainer", "Gradient")
NOISE = np.random.default_rng(0).integers(0, 256, (30, 40, 4), dtype=np.uint8)


def noise(mode="RGB", size=None):
    """A picture of that mode."""
    whole = image.fromarray(NOISE).convert("RGB")
    whole = whole if size is None else whole.resize(size)
    return whole.convert(mode)


def rotated(path):
    exif = image.Exif()
    exif[0x0112] = 6
    noise().save(path, exif=exif)


def animated(path):
    noise().save(path, save_all=True, append_images=[noise("L").convert("RGB")], duration=40)


def transparent(path):
    noise("P").save(path, transparency=0)


def truncated(path):
    noise(size=(200, 200)).save(path)
    path.write_bytes(path.read_bytes()[:3000])


def damaged(path):
    noise(size=(200, 200)).save(path)
    content = bytearray(path.read_bytes())
    content[200:400] = bytes(200)
    path.write_bytes(content)


def chunk(kind, content):
    return (
        struct.pack(">I", len(content))
        + kind
        + content
        + struct.pack(">I", zlib.crc32(kind + content))
    )


def bomb(path):
    """A head that says 100,000 x 100,000."""
    head = struct.pack(">IIBBBBB", 100_000, 100_000, 8, 2, 0, 0, 0)
    parts = [chunk(b"IHDR", head), chunk(b"IDAT", zlib.compress(bytes(99))), chunk(b"IEND", b"")]
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(parts))


def deep(path):
    image.fromarray(NOISE[..., 0].astype(np.uint16) * 257).save(path)


def floating(path):
    image.fromarray(NOISE[..., 0].astype(np.float32) / 255).save(path)


def save(mode, size=None, **options):
    return lambda path: noise(mode, size).save(path, **options)


# The file, how it is made, and the part of the one line; "" for a picture.
FILES = {
    "plain.png": (save("RGB"), ""),
    "alpha.png": (save("RGBA"), ""),
    "grey.png": (save("L"), ""),
    "grey_alpha.png": (save("LA"), ""),
    "palette.png": (save("P"), ""),
    "transparent.png": (transparent, ""),
    "one_bit.png": (save("1"), ""),
    "sixteen.png": (deep, "has more than 8 bits"),
    "float.tiff": (floating, "has more than 8 bits"),
    "cmyk.jpg": (save("CMYK"), ""),
    "lab.tiff": (save("LAB"), ""),
    "ycbcr.jpg": (save("YCbCr"), ""),
    "progressive.jpeg": (save("RGB", progressive=True), ""),
    "rotated.jpg": (rotated, ""),
    "animated.gif": (animated, ""),
    "animated.webp": (animated, ""),
    "lossless.webp": (save("RGB", lossless=True), ""),
    "old.bmp": (save("RGB"), ""),
    "old.tga": (save("RGB"), ""),
    "old.ppm": (save("RGB"), ""),
    "bits.pbm": (save("1"), ""),
    "icon.ico": (save("RGBA", (32, 32)), ""),
    "wrong_suffix.jpg": (lambda path: noise().save(path, "PNG"), ""),
    "one.png": (save("RGB", (1, 1)), ""),
    "three.png": (save("RGB", (3, 3)), ""),
    "panorama.png": (save("RGB", (900, 9)), ""),
    "tower.png": (save("RGB", (9, 900)), ""),
    "empty.png": (lambda path: path.write_bytes(b""), "cannot read the photograph empty.png"),
    "text.png": (lambda path: path.write_text("no"), "cannot read the photograph text.png"),
    "truncated.jpg": (truncated, "cannot read the photograph truncated.jpg"),
    "damaged.png": (damaged, "cannot read the photograph damaged.png"),
    "bomb.png": (bomb, "cannot read the photograph bomb.png"),
}
NAMES = {
    "spaces": "a name  with spaces.png",
    "quotes": 'it\'s "quoted".png',
    "dollars": "$HOME and $x_1$.png",
    "dash": "-o.png",
    "newline": "two\nlines.png",
    "chinese": "猫の写真.png",
    "arabic": "قطة.png",
    "emoji": "😀👩‍👩‍👧.png",
    "bytes": os.fsdecode(b"caf\xe9.png"),
    "long": "x" * 200 + ".png",
    "yaml": "a: [b, #c].png",
    "number": "1e5.png",
}


def run(photo, fails, said):
    """The photograph is drawn, or one line says why not."""
    if said:
        assert said in fails("explain", *SMALL, "--", photo)
        assert not Path("map.png").exists()
        return
    assert main(["explain", *SMALL, "--", photo]) == 0
    with image.open("map.png") as drawn:
        assert drawn.width > 400


@pytest.mark.parametrize("name", FILES)
def test_odd_photographs(here, fails, name):
    make, said = FILES[name]
    make(here / name)
    run(name, fails, said)


@pytest.mark.parametrize("name", NAMES.values(), ids=NAMES)
def test_odd_names(here, fails, capsys, name):
    try:
        noise().save(here / name)
    except OSError:
        pytest.skip("the file system takes no such name")
    run(name, fails, "")
    out, err = capsys.readouterr()
    assert len(out.splitlines()) == 1
    assert err == "surefoot: wrote map.png, map.yaml\n"
    assert main(["explain", "--config", "map.yaml", "-o", "again.png"]) == 0
    assert Path("again.png").read_bytes()[:4] == b"\x89PNG"
