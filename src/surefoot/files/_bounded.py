"""Reading what a stranger may have made: nothing is read or unpacked beyond a bound."""

import io
import zipfile
import zlib
from pathlib import Path

from surefoot.errors import SurefootError

LARGEST_TEXT = 2**26
_ROOM = 2**28  # bytes that anything may unpack to
_RATIO = 64  # times its size that anything larger may unpack to; data sets stay below 20
_PIECE = 2**20


def is_file(path: str | Path) -> bool:
    """Whether there is a file of that name; a name that can be none is none."""
    try:
        return Path(path).is_file()
    except (OSError, ValueError):
        return False


def is_folder(path: str | Path) -> bool:
    """Whether there is a folder of that name; a name that can be none is none."""
    try:
        return Path(path).is_dir()
    except (OSError, ValueError):
        return False


def read_bytes(path: str | Path, most: int | None = None) -> bytes:
    """The content of a file of at most that many bytes.

    Raises:
        SurefootError: it cannot be read, or is larger.
    """
    try:
        with Path(path).open("rb") as file:
            content = file.read(-1 if most is None else most + 1)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise SurefootError(f"cannot read {path}: {reason}") from error
    if most is not None and len(content) > most:
        raise SurefootError(f"{path} is larger than {most} bytes, which no such file is")
    return content


def read_text(path: str | Path, most: int = LARGEST_TEXT) -> str:
    """The content of a text file in UTF-8, likewise."""
    try:
        return read_bytes(path, most).decode("utf-8")
    except UnicodeDecodeError as error:
        raise SurefootError(f"cannot read {path} as text: {error}") from error


def within(packed: int, unpacked: int, path: object) -> None:
    """Raise where so few bytes say that they unpack to so many more."""
    if unpacked > max(_ROOM, _RATIO * packed):
        raise SurefootError(
            f"{path} has {packed} bytes and would unpack to {unpacked}, which no data do: it is "
            "damaged, or made to fill the memory"
        )


def gunzip(content: bytes, path: object) -> bytes:
    """What gzip packed; anything else as it is.

    Raises:
        SurefootError: it is damaged, or unpacks to more than data do.
    """
    if content[:2] != b"\x1f\x8b":
        return content
    unpacked, made, left = io.BytesIO(), 0, content
    try:
        while left:
            part = zlib.decompressobj(wbits=31)
            while not part.eof:
                piece = part.decompress(left, _PIECE)
                left = part.unconsumed_tail
                made += unpacked.write(piece)
                within(len(content), made, path)
                if not piece and not left and not part.eof:
                    raise SurefootError(f"cannot read {path}: it ends too early; fetch it again")
            left = part.unused_data if part.unused_data[:2] == b"\x1f\x8b" else b""
    except zlib.error as error:
        raise SurefootError(f"cannot read {path}: {error}; fetch it again") from error
    return unpacked.getvalue()


def check_archive(archive: zipfile.ZipFile, path: object) -> None:
    """Raise for a zip archive that unpacks to more than data do, or has a name twice."""
    every = archive.infolist()
    names = [one.filename for one in every]
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise SurefootError(f"{path} holds {twice!r} twice; it is damaged, or made to mislead")
    within(sum(one.compress_size for one in every), sum(one.file_size for one in every), path)
