"""Weights that do not come with the package: in a checkout, in the cache, or fetched on request."""

import os
import urllib.request
from collections.abc import Mapping
from http.client import HTTPException
from pathlib import Path
from typing import Any

from surefoot.errors import SurefootError
from surefoot.files import digest, make_folder, read_bytes, write_whole

VARIABLE = "SUREFOOT_ZOO"
WEIGHTS = "model.safetensors"
CHECKOUT = Path(__file__).parents[3] / "zoo"
_SECONDS = 60
_SCHEMES = ("https", "http", "file")


def file_name(name: str) -> str:
    """What a network's weights are called among the files of a release, which know no folders.

    >>> file_name("fashion-mnist/scaat")
    'fashion-mnist--scaat.safetensors'
    """
    return f"{name.replace('/', '--')}.safetensors"


def released(name: str, card: Mapping[str, Any], most: int, source: str | Path | None) -> Path:
    """The file of a network's weights, fetched into the user's cache where it is nowhere else.

    Args:
        name: of the network, such as "fashion-mnist/scaat".
        card: its card, with the digest of the weights.
        most: bytes that such a file may have.
        source: address, or folder, of a release's files; None takes SUREFOOT_ZOO.

    Raises:
        SurefootError: it is not at hand and no source is known, it cannot be fetched, or what came
            is not what the card's digest says.
    """
    told: str = card["files"][WEIGHTS]
    checkout = CHECKOUT / file_name(name)
    kept = _cache() / told.removeprefix("sha256:")[:16] / file_name(name)
    for there in (checkout, kept):
        if there.is_file() and digest(read_bytes(there)) == told:
            return there
    source = source or os.environ.get(VARIABLE)
    if not source:
        raise SurefootError(
            f"the weights of {name} do not come with the package, and are not in {kept.parent}: "
            f"set {VARIABLE} (or pass zoo=) to the address or folder that holds "
            f"{file_name(name)}, a file of a release; from there they are fetched once"
        )
    content, place = _from(str(source).rstrip("/"), file_name(name), most)
    if digest(content) != told:
        raise SurefootError(
            f"{place} is not the file of {name}: its digest is {digest(content)}, and the card "
            f"says {told}; nothing was kept. Take the release of this version of surefoot"
        )
    make_folder(kept.parent)
    write_whole(kept, content)
    return kept


def _from(source: str, file: str, most: int) -> tuple[bytes, str]:
    scheme, apart, _ = source.partition("://")
    if not apart:
        path = Path(source).expanduser() / file
        return read_bytes(path, most), str(path)
    if scheme not in _SCHEMES:
        raise SurefootError(f"{source} is no address of {_SCHEMES}, nor a folder")
    place = f"{source}/{file}"
    try:
        with urllib.request.urlopen(place, timeout=_SECONDS) as answer:  # noqa: S310 (_SCHEMES)
            content: bytes = answer.read(most + 1)
    except (OSError, HTTPException, ValueError) as error:
        raise SurefootError(
            f"cannot fetch {place}: {error}; where there is no network, put the file into a folder "
            f"and set {VARIABLE} to it"
        ) from error
    if len(content) > most:
        raise SurefootError(f"{place} is larger than {most} bytes, which the network's file is not")
    return content, place


def _cache() -> Path:
    cache = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(cache).expanduser() / "surefoot" / "zoo"
