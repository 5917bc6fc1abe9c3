"""What an audit found."""

import importlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from surefoot.auditing import _export, _tables
from surefoot.auditing._controls import RANDOM_MAP
from surefoot.auditing._folder import Folder, deep, flat
from surefoot.auditing._gallery import Shown
from surefoot.auditing._gather import Gathered, Key
from surefoot.auditing._parts import InMemory, OnDisk
from surefoot.auditing._replaced import replacing
from surefoot.auditing._work import record_of, summed
from surefoot.errors import SurefootError
from surefoot.files import write_whole

if TYPE_CHECKING:
    import pandas as pd

_FEW = 20  # samples, below which intervals are mostly luck


@dataclass(frozen=True, repr=False, eq=False)
class AuditResult:
    """The scores of every sample, and what they came from.

    Attributes:
        parts: the rows, in memory or in a folder; see `frame`.
        settings: recipes of explainers, attacks and metrics by name, seeds, the numbers of samples
            seen, classified correctly and used, versions: all of it as JSON has it.
        gallery: gives the samples that held best, middling and worst, as pictures.

    >>> import surefoot
    >>> import torch
    >>> from surefoot import explain
    >>> _ = torch.manual_seed(0)
    >>> net = torch.nn.Linear(6, 2).eval()
    >>> inputs = torch.rand(8, 6)
    >>> data = [(inputs, net(inputs).argmax(1))]
    >>> result = surefoot.audit(net, data, explainers=[explain.Gradient()], metrics=["gini"])
    >>> len(result), sorted(set(result.frame()["metric"]))
    (8, ['gini'])
    """

    parts: InMemory | OnDisk
    settings: Mapping[str, Any]
    gallery: Callable[[], Sequence[Shown]] = tuple

    def __len__(self) -> int:
        """The number of samples."""
        used: int = self.settings["samples"]["used"]
        return used

    def frame(self) -> "pd.DataFrame":
        """The scores as a table, one row a model, explainer, attack, metric and sample.

        Columns: `model`, `explainer`, `attack`, `metric`, names; `attack` is "clean" where the map
        of the clean input was measured. `sample`, its place in the loader, from 0. `label`, its
        class. `value`, the metric; of random signs the mean over the draws. `label_kept`, False
        where the attack found no input that keeps the prediction (of random signs: none of the
        draws did), so that the sample counts as unchanged; True on clean inputs. `control`,
        whether explainer or attack is one of the controls. `name`, of the sample, "" if it has
        none; `error`, why there is no value, "" where there is one. `manipulates`, `goal`,
        `scope` and `knowledge`: the threat model, see docs/audits.md.

        All rows at once, in memory: of a large audit, read `samples/` of its folder instead, which
        pandas, Polars and DuckDB open as it is.
        """
        return _tables.frame(self.parts.read(), self.settings)

    def summary(
        self, confidence: float = 0.95, *, resamples: int = 2000, seed: int = 0
    ) -> "pd.DataFrame":
        """The mean over samples of every score, one row a model, explainer, attack and metric.

        Columns beside the names: `mean`; `low` and `high`, the ends of its bootstrap interval over
        samples (BCa of scipy.stats.bootstrap; percentile where that is not defined and beyond 2000
        samples; the value itself where all are equal; NaN for a single sample); `n`, samples
        counted, `dropped`, those whose value is NaN, and `failed`, those of them where something
        failed; `label_kept`, share of samples; `floor`,
        the mean under random signs of the same budget; `ceiling`, the score of two identical maps,
        for metrics that compare two; `higher_is_better`, None where there is no direction;
        `control`; and the threat model, as in `frame`.

        The parts are read one after the other, and of more than 2000 samples only sums are kept,
        with weights from Poisson's law in place of draws of samples: memory does not grow.

        Args:
            confidence: of the intervals, in (0, 1).
            resamples: of the bootstrap.
            seed: of the bootstrap.

        Raises:
            SurefootError: a confidence or number of resamples out of range.
        """
        return _tables.summary(self.parts.read(), self.settings, confidence, resamples, seed)

    def compare(
        self,
        a: str,
        b: str | None = None,
        *,
        by: str | None = None,
        confidence: float = 0.95,
        resamples: int = 2000,
        seed: int = 0,
    ) -> "pd.DataFrame":
        """Two explainers, attacks or models against each other on the same samples.

        Columns beside the names: `mean_a`, `mean_b`; `difference`, the mean of a - b, with the ends
        `low` and `high` of its bootstrap interval as in `summary`; `better` and `worse`, the
        shares of samples where a is, the rest being equal, NaN where the metric has no direction;
        `n`, samples counted, and `dropped`, those with a NaN on either side;
        `higher_is_better`; `p`, two-sided, of Wilcoxon's signed-rank test (zeros after Pratt), 1
        where all are equal, NaN for a single sample; `p_holm`, the same after Holm's correction
        for all rows of the table.

        Args:
            a: name of an explainer, an attack or a model; "clean" is an attack here.
            b: another of the same kind; None takes a's control: the random map for an explainer,
                random signs of the same budget for an attack.
            by: "explainer", "attack" or "model", where a name is of several.
            confidence: of the intervals, in (0, 1).
            resamples: of the bootstrap.
            seed: of the bootstrap.

        Raises:
            SurefootError: an unknown name, two names of different kinds, nothing in common, or no
                control to compare with.
        """
        names = (a, self._control_of(a, by) if b is None else b)
        axis = _tables.axis_of(self.settings, names, by)
        options = (confidence, resamples, seed)
        return _tables.compare(self.parts.read, self.settings, names, axis, options)

    def save(self, folder: str | Path, *, overwrite: bool = False) -> None:
        """Write a folder as `audit(..., out=folder)` does.

        Args:
            folder: made if need be.
            overwrite: whether results that are there may be replaced.

        Raises:
            SurefootError: it holds results already, or cannot be written; what was there is then
                still there, or beside it in `.replaced`.
        """
        place = Folder(Path(folder))
        with place.claimed():
            if not overwrite and (place.state() is not None or place.parts.done()):
                raise SurefootError(
                    f"{folder} holds the results of an audit already; choose another folder, or "
                    "pass overwrite=True to replace them"
                )
            if isinstance(self.parts, OnDisk) and self.parts.folder.samefile(place.parts.folder):
                self._check_still_in(place)
                return
            gallery = self.gallery()
            with replacing(place, wanted=True):
                for block, table in self.parts.tables():
                    place.parts.write(block, table)
                    place.log(record_of(table))
                for number, shown in enumerate(gallery):
                    place.keep(shown, number)
                place.write_state(deep(self.settings))

    def _check_still_in(self, place: Folder) -> None:
        if (place.state() or {}).get("audit") != deep(self.settings)["audit"]:
            raise SurefootError(
                f"the rows of this result were in {place.path} and have been replaced since, so "
                "that there is nothing to save; `in_memory()` keeps a result whatever becomes of "
                "its folder"
            )

    @classmethod
    def load(cls, folder: str | Path) -> "AuditResult":
        """The result that `save`, or `audit(..., out=folder)`, wrote.

        Of an audit that is not finished, what there is.

        Raises:
            SurefootError: there is none, or it was changed.
        """
        place = Folder(Path(folder))
        state = place.state()
        if state is None:
            raise SurefootError(
                f"the folder {str(folder)!r} holds no result of an audit: there is no audit.json"
            )
        if "samples" not in state:
            state |= summed(place.records())
        return cls(place.parts, flat(state), place.gallery)

    def export(self, path: str | Path) -> None:
        """Write the summary as .csv, .json, .md (Markdown) or .tex (LaTeX).

        Raises:
            SurefootError: another ending, or it cannot be written.
        """
        _export.write(path, self.summary(), self.settings)

    def html(self, path: str | Path) -> None:
        """Write one page that answers without knowledge of the library; see docs/audits.md.

        Raises:
            SurefootError: it cannot be written.
            MissingExtraError: jinja2 or matplotlib is not installed.
        """
        # The one arrow upwards: whoever has a result can see it.
        page: str = importlib.import_module("surefoot.report").audit_page(self)
        write_whole(path, page.encode())

    def in_memory(self) -> "AuditResult":
        """The same, wherever its folder goes."""
        shown = list(self.gallery())
        return AuditResult(InMemory(dict(self.parts.tables())), self.settings, lambda: shown)

    def _control_of(self, name: str, by: str | None) -> str:
        axis = _tables.axis_of(self.settings, (name, name), by)
        control: str | None = None
        if axis == "attack":
            control = self.settings["floors"].get(name)
        elif axis == "explainer" and RANDOM_MAP in self.settings["explainers"]:
            control = RANDOM_MAP
        if control is None:
            raise SurefootError(f"there is no control to compare {name!r} with; name the other one")
        return control

    def _head(self) -> str:
        samples = self.settings["samples"]
        few = f" Fewer than {_FEW}: too few to tell much." if samples["used"] < _FEW else ""
        return (
            f"AuditResult: {samples['used']} samples, all classified correctly; "
            f"{_correct(samples['correct'])} of {samples['seen']} seen were.{few} Means:"
        )

    def _shown(self) -> tuple[str, "pd.DataFrame", list[str]]:
        table, missing = _tables.means(self.parts.read(), self.settings)
        return self._head(), table, _missing(missing)

    def __repr__(self) -> str:
        head, table, told = self._shown()
        return "\n".join([head, table.to_string(float_format="{:.4g}".format), *told])

    def _repr_html_(self) -> str:
        head, table, told = self._shown()
        rest = "".join(f"<p>{escape(line)}</p>" for line in told)
        return f"<p>{escape(head)}</p>{table.to_html(float_format='{:.4g}'.format)}{rest}"


def _correct(by_model: Mapping[str, int]) -> str:
    """How many samples a model got right, or each of several.

    >>> _correct({"model": 3}), _correct({"a": 3, "b": 2})
    ('3', '3 by a, 2 by b')
    """
    if len(by_model) == 1:
        return str(*by_model.values())
    return ", ".join(f"{number} by {name}" for name, number in by_model.items())


def _missing(found: Sequence[tuple[Key, Gathered]]) -> list[str]:
    """Where values are missing; what is alike in one line."""
    by_metric: dict[tuple[Any, ...], list[str]] = {}
    for (*who, metric), one in found:
        by_metric.setdefault((*who, one.n, one.dropped, one.failed), []).append(metric)
    alike: dict[tuple[Any, ...], list[str]] = {}
    for (model, explainer, *rest), metrics in by_metric.items():
        alike.setdefault((model, *rest, ", ".join(metrics)), []).append(explainer)
    return [
        f"{model} / {', '.join(explainers)} / {attack} / {metrics}: mean of {n} of {n + dropped} "
        f"values, the others are NaN{f' ({failed} failed)' if failed else ''}"
        for (model, attack, n, dropped, failed, metrics), explainers in alike.items()
    ]
