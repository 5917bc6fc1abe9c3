"""Odd photographs and odd names: a picture, or one clear line; never a traceback."""

import os
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest

from surefoot import SurefootWarning, data
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


def floating(path, scale=1 / 255):
    image.fromarray(NOISE[..., 0].astype(np.float32) * scale).save(path)


def deep_colours(path):
    """A PNG of 16 bits a colour, which Pillow reads and does not write."""
    high, wide = NOISE.shape[:2]
    head = struct.pack(">IIBBBBB", wide, high, 16, 2, 0, 0, 0)
    rows = (NOISE[..., :3].astype(np.uint16) * 257).astype(">u2")
    data = zlib.compress(b"".join(b"\0" + row.tobytes() for row in rows))
    parts = [chunk(b"IHDR", head), chunk(b"IDAT", data), chunk(b"IEND", b"")]
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(parts))


def big_endian(path):
    """A TIFF of 16 bits, as microscopes write it."""
    rows = (NOISE[..., 0].astype(np.uint16) * 257).astype(">u2")
    image.frombytes("I;16B", rows.shape[::-1], rows.tobytes()).save(path)


def thirty_two(path):
    image.fromarray(NOISE[..., 0].astype(np.int32) * 1_000_000).save(path)


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
    "sixteen.png": (deep, ""),
    "sixteen.tiff": (deep, ""),
    "sixteen.pgm": (deep, ""),
    "sixteen_big.tiff": (big_endian, ""),
    "sixteen_colours.png": (deep_colours, ""),
    "float.tiff": (floating, ""),
    "float_255.tiff": (lambda path: floating(path, 1), "from 0 to 255, expected whole numbers"),
    "float_nan.tiff": (lambda path: floating(path, np.nan), "scale it and save it again"),
    "thirty_two.tiff": (thirty_two, "from 0 to 2.55e+08, expected whole numbers from 0 to 65535"),
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


@pytest.mark.parametrize(
    "name", ["sixteen.png", "sixteen.tiff", "sixteen.pgm", "sixteen_big.tiff", "float.tiff"]
)
def test_deep_greys_are_the_eight_bits_they_were_made_of(here, name):
    FILES[name][0](here / name)
    pixels = data.load_pixels(name, 1, fit="tile")
    for channel in pixels.numpy():
        assert np.array_equal(channel, NOISE[..., 0])
    assert np.array_equal(data.load_pixels(name, 1, 1, "tile")[0], NOISE[..., 0])


def test_deep_colours_are_their_upper_bits(here):
    deep_colours(here / "a.png")
    pixels = data.load_pixels("a.png", 1, fit="tile").numpy()
    assert np.array_equal(pixels.transpose(1, 2, 0), NOISE[..., :3])


def test_twelve_bits_in_sixteen_are_remarked_upon(here):
    image.fromarray(NOISE[..., 0].astype(np.uint16) * 16).save("dark.png")
    with pytest.warns(SurefootWarning, match=r"up to 4080 of 65535 and is nearly black"):
        data.load_pixels("dark.png", 16)
