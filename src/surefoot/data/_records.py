"""NSL-KDD: records of network connections, normal or one of four kinds of attack."""

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

import numpy as np
import torch
from torch import Tensor

from surefoot.data._places import Root, data_root, first_file, missing
from surefoot.data._samples import Samples
from surefoot.data._splits import check_split
from surefoot.errors import SurefootError
from surefoot.files import gunzip, read_bytes

Labels = Literal["binary", "category"]

_FILES = {
    "train": ("KDDTrain+.txt", "KDDTrain+_20Percent.txt", "nsl-kdd-train20.txt"),
    "test": ("KDDTest+.txt", "nsl-kdd-test.txt"),
}
_WAYS = ("unpack NSL-KDD.zip, from the Canadian Institute for Cybersecurity, in the data root",)
_NAMES = (
    "duration protocol_type service flag src_bytes dst_bytes land wrong_fragment urgent hot "
    "num_failed_logins logged_in num_compromised root_shell su_attempted num_root "
    "num_file_creations num_shells num_access_files num_outbound_cmds is_host_login "
    "is_guest_login count srv_count serror_rate srv_serror_rate rerror_rate srv_rerror_rate "
    "same_srv_rate diff_srv_rate srv_diff_host_rate dst_host_count dst_host_srv_count "
    "dst_host_same_srv_rate dst_host_diff_srv_rate dst_host_same_src_port_rate "
    "dst_host_srv_diff_host_rate dst_host_serror_rate dst_host_srv_serror_rate "
    "dst_host_rerror_rate dst_host_srv_rerror_rate"
)
_COLUMNS = _NAMES.split()
_TEXT = (1, 2, 3)
_NUMBERS = [column for column in range(len(_COLUMNS)) if column not in _TEXT]
_ATTACK = len(_COLUMNS)  # the column after the features; the one after that, difficulty, is unused
_KINDS = {
    "dos": "apache2 back land mailbomb neptune pod processtable smurf teardrop udpstorm",
    "probe": "ipsweep mscan nmap portsweep saint satan",
    "r2l": "ftp_write guess_passwd httptunnel imap multihop named phf sendmail snmpgetattack "
    "snmpguess spy warezclient warezmaster worm xlock xsnoop",
    "u2r": "buffer_overflow loadmodule perl ps rootkit sqlattack xterm",
}
_KIND_OF = {attack: kind for kind, attacks in _KINDS.items() for attack in attacks.split()}


@dataclass(frozen=True, eq=False)
class Records(Samples):
    """Records in memory, with what their numbers mean.

    Attributes:
        features: names, in the order of the inputs' last dimension.

    >>> numbers, labels = torch.rand(5, 2), torch.tensor([0, 1, 0, 1, 1])
    >>> records = Records(numbers, labels, ("normal", "attack"), features=("bytes", "seconds"))
    >>> len(records), records.features[0], records.classes[records[1][1]]
    (5, 'bytes', 'attack')
    """

    features: tuple[str, ...] = ()


def load_nsl_kdd(split: str, root: Root = None, *, labels: Labels = "binary") -> Records:
    """NSL-KDD, (N, F) float32 in [0, 1], from KDDTrain+.txt and KDDTest+.txt, gzipped or not.

    The three columns of text become one feature for each value that the training file has; the
    38 numbers are scaled so that the training file's smallest is 0 and largest 1, and the test's
    are cut off there; the difficulty is left out. KDDTrain+_20Percent.txt serves where the full
    training file is missing, and `name` says so.

    Args:
        split: "train" or "test".
        root: the data root; files are looked for in it and in ROOT/NSL-KDD.
        labels: "binary", normal or attack; "category", normal, dos, probe, r2l or u2r. The test
            holds attacks that the training lacks; sources differ on httptunnel and worm, which
            are r2l here.

    Raises:
        SurefootError: the files are not there, or hold anything else.
    """
    check_split(split, tuple(_FILES), "nsl-kdd")
    if labels not in get_args(Labels):
        raise SurefootError(f"labels={labels!r}, expected one of {list(get_args(Labels))}")
    training = _find("train", root)
    fitted = _read(training)
    rows = fitted if split == "train" else _read(_find("test", root))
    values = [sorted({row[column] for row in fitted}) for column in _TEXT]
    inputs = torch.cat([_scaled(rows, fitted), _one_hot(rows, values)], 1)
    classes = ("normal", "attack") if labels == "binary" else ("normal", *_KINDS)
    part = " (20 % to train)" * ("20" in training.name)
    return Records(
        inputs,
        _labelled(rows, classes),
        classes,
        name=f"nsl-kdd/{split}{part}",
        features=_features(values),
    )


def _find(split: str, root: Root) -> Path:
    folders = [data_root(root) / "NSL-KDD", data_root(root)]
    names = [name + after for name in _FILES[split] for after in ("", ".gz")]
    found = first_file(folders, names)
    if found is None:
        raise missing("nsl-kdd", root, [f"{name}(.gz)" for name in _FILES[split]], folders, _WAYS)
    return found


def _read(path: Path) -> list[list[str]]:
    try:
        text = gunzip(read_bytes(path), path).decode("utf-8")
        rows = [row for row in csv.reader(io.StringIO(text, newline="")) if row]
    except (UnicodeDecodeError, csv.Error) as error:
        raise SurefootError(f"cannot read {path}: {error}; fetch it again") from error
    for number, row in enumerate(rows, start=1):
        if len(row) <= _ATTACK or row[_ATTACK] not in {"normal", *_KIND_OF}:
            raise SurefootError(
                f"{path}, line {number}: expected {_ATTACK} features and the name of an attack, "
                f"found {len(row)} fields: {','.join(row)[-60:]}"
            )
    if not rows:
        raise SurefootError(f"{path} is empty; fetch it again")
    return rows


def _scaled(rows: Sequence[Sequence[str]], fitted: Sequence[Sequence[str]]) -> Tensor:
    known = _numbers(fitted)
    low, span = known.min(0), np.ptp(known, 0)
    scaled = (_numbers(rows) - low) / np.where(span > 0, span, 1)
    return torch.from_numpy(scaled.clip(0, 1).astype(np.float32))


def _numbers(rows: Sequence[Sequence[str]]) -> np.ndarray[tuple[int, int], np.dtype[np.float64]]:
    try:
        found = np.array([[float(row[column]) for column in _NUMBERS] for row in rows])
    except ValueError as error:
        raise SurefootError(
            f"a record of NSL-KDD holds no number where one should be: {error}"
        ) from None
    if not np.isfinite(found).all():
        raise SurefootError("a record of NSL-KDD holds NaN or infinity where a number should be")
    return found


def _one_hot(rows: Sequence[Sequence[str]], values: Sequence[Sequence[str]]) -> Tensor:
    """A column for each value of each column of text; a value of the test alone gives zeros."""
    columns = [
        np.array([[row[column]] for row in rows]) == np.array(known)
        for column, known in zip(_TEXT, values, strict=True)
    ]
    return torch.from_numpy(np.concatenate(columns, 1)).float()


def _labelled(rows: Sequence[Sequence[str]], classes: tuple[str, ...]) -> Tensor:
    def label(attack: str) -> int:
        kind = "normal" if attack == "normal" else _KIND_OF[attack]
        return classes.index(kind) if kind in classes else 1

    return torch.tensor([label(row[_ATTACK]) for row in rows])


def _features(values: Sequence[Sequence[str]]) -> tuple[str, ...]:
    numbers = [_COLUMNS[column] for column in _NUMBERS]
    text = zip(_TEXT, values, strict=True)
    return (*numbers, *(f"{_COLUMNS[c]}={value}" for c, known in text for value in known))
