"""Sentences of film reviews, negative or positive."""

import io
import tarfile
import zlib
from pathlib import Path

import torch
from torch import Tensor

from surefoot.data._places import Root, data_root, first_file, missing
from surefoot.data._splits import check_split, in_fold
from surefoot.data._text import Sentences, sentences
from surefoot.errors import SurefootError
from surefoot.files import gunzip, read_bytes

CLASSES = ("negative", "positive")
_POLARITY = ("rt-polarity.neg", "rt-polarity.pos")
_POLARITY_WAYS = (
    "unpack rt-polaritydata.tar.gz, from Cornell's Movie Review Data page, in the data root",
)
_VADER = "movieReviewSnippets_GroundTruth.txt"
_VADER_ARCHIVE = "hutto_ICWSM_2014.tar.gz"
_VADER_WAYS = (
    "pip download --no-deps --no-binary :all: vaderSentiment==0.5, unpack it, and take "
    f"additional_resources/{_VADER_ARCHIVE} into the data root",
)


def load_reviews(
    source: str,
    split: str,
    root: Root = None,
    *,
    fold: int = 0,
    folds: int = 10,
    length: int | None = None,
    min_count: int = 1,
) -> Sentences:
    """Sentences of film reviews, from one of two sources.

    "sentence-polarity" (Pang and Lee, 2005): 5,331 negative and 5,331 positive sentences, from
    rt-polarity.neg and rt-polarity.pos, gzipped or not, in ROOT/rt-polaritydata or ROOT.
    "vader-movies" (Hutto and Gilbert, 2014, from vaderSentiment 0.5): the same sentences rated by
    20 people each. A mean rating above 0 is positive, one below negative; the 37 at 0 are left out.

    There is no official split: a fold of `folds`, each with its share of both classes and always
    the same, is the test. The vocabulary is the training part's.

    Args:
        source: which of them.
        split: "train" or "test".
        root: the data root.
        fold: which fold is the test, from 0.
        folds: how many there are.
        length: tokens of a sentence; None takes the longest training sentence's.
        min_count: words that come less often are unknown.

    Raises:
        SurefootError: the files are not there or damaged, or there is no such fold.
    """
    check_split(split, ("train", "test"), source)
    texts, labels = _READERS[source](root)
    test = in_fold(labels, fold, folds)
    training = [text for text, held in zip(texts, test.tolist(), strict=True) if not held]
    chosen = test if split == "test" else ~test
    return sentences(
        [text for text, wanted in zip(texts, chosen.tolist(), strict=True) if wanted],
        labels[chosen],
        CLASSES,
        training,
        length=length,
        min_count=min_count,
        name=f"{source}/{split}, fold {fold} of {folds}",
    )


def _polarity(root: Root) -> tuple[list[str], Tensor]:
    folders = [data_root(root) / "rt-polaritydata", data_root(root)]
    found = [first_file(folders, (name, f"{name}.gz")) for name in _POLARITY]
    if None in found:
        wanted = [f"{name}(.gz)" for name in _POLARITY]
        raise missing("sentence-polarity", root, wanted, folders, _POLARITY_WAYS)
    kinds = [_text(path).strip().split("\n") for path in found if path is not None]
    labels = torch.tensor([label for label, kind in enumerate(kinds) for _ in kind])
    return [text for kind in kinds for text in kind], labels


def _vader(root: Root) -> tuple[list[str], Tensor]:
    folders = [data_root(root) / "hutto_ICWSM_2014", data_root(root)]
    found = first_file(folders, (_VADER, _VADER_ARCHIVE))
    if found is None:
        raise missing("vader-movies", root, [_VADER, _VADER_ARCHIVE], folders, _VADER_WAYS)
    rows = [line.split("\t") for line in _text(found).strip().splitlines()]
    try:
        rated = [(float(rating), text) for _, rating, text in rows]
    except ValueError as error:
        raise SurefootError(f"{found} is damaged: {error}; fetch it again") from error
    kept = [(rating, text) for rating, text in rated if rating != 0]
    return [text for _, text in kept], torch.tensor([int(rating > 0) for rating, _ in kept])


_READERS = {"sentence-polarity": _polarity, "vader-movies": _vader}


def _text(path: Path) -> str:
    try:
        content = _bytes(path)
    except (OSError, EOFError, KeyError, zlib.error, tarfile.TarError) as error:
        raise SurefootError(f"cannot read {path}: {error}; fetch it again") from error
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError:
        return content.decode("latin-1")  # as the makers' own files are


def _bytes(path: Path) -> bytes:
    if path.name == _VADER_ARCHIVE:
        with tarfile.open(fileobj=io.BytesIO(gunzip(read_bytes(path), path))) as archive:
            member = archive.extractfile(f"hutto_ICWSM_2014/{_VADER}")
            return member.read() if member else b""
    return gunzip(read_bytes(path), path)
