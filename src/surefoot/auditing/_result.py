"""What an audit found."""

from collections.abc import Mapping
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from surefoot.auditing import _store, _tables
from surefoot.auditing._controls import RANDOM_MAP
from surefoot.errors import SurefootError

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, repr=False, eq=False)
class AuditResult:
    """The scores of every sample, and what they came from.

    Attributes:
        records: a pandas DataFrame, see `frame`.
        settings: recipes of explainers, attacks and metrics by name, seeds, the numbers of samples
            seen, classified correctly and used, versions: all of it as JSON has it.
    """

    records: "pd.DataFrame"
    settings: Mapping[str, Any]

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
        whether explainer or attack is one of the controls.
        """
        return self.records.copy()

    def summary(
        self, confidence: float = 0.95, *, resamples: int = 2000, seed: int = 0
    ) -> "pd.DataFrame":
        """The mean over samples of every score, one row a model, explainer, attack and metric.

        Columns beside the names: `mean`; `low` and `high`, the ends of its bootstrap interval over
        samples (BCa of scipy.stats.bootstrap; percentile where that is not defined and beyond 2000
        samples; the value itself where all are equal; NaN for a single sample); `n`, samples
        counted, and `dropped`, those whose value is NaN; `label_kept`, share of samples; `floor`,
        the mean under random signs of the same budget; `ceiling`, the score of two identical maps,
        for metrics that compare two; `higher_is_better`, None where there is no direction;
        `control`.

        Args:
            confidence: of the intervals, in (0, 1).
            resamples: of the bootstrap.
            seed: of the bootstrap.

        Raises:
            SurefootError: a confidence or number of resamples out of range.
        """
        return _tables.summary(self.records, self.settings, confidence, resamples, seed)

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
        where all are equal; `p_holm`, the same after Holm's correction for all rows of the table.

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
        axis = _tables.axis_of(self.records, names, by)
        options = (confidence, resamples, seed)
        return _tables.compare(self.records, self.settings, names, axis, options)

    def save(self, folder: str | Path, *, overwrite: bool = False) -> None:
        """Write `audit.json`, `samples.csv` and `summary.csv`, all of them or none.

        Args:
            folder: made if need be.
            overwrite: whether results that are there may be replaced.

        Raises:
            SurefootError: it holds results already, or cannot be written.
        """
        _store.prepare(folder, overwrite)
        _store.save(folder, self.settings, self.records, self.summary())

    @classmethod
    def load(cls, folder: str | Path) -> "AuditResult":
        """The result that `save`, or `audit(..., out=folder)`, wrote.

        Raises:
            SurefootError: there is none, or its files are not of one run.
        """
        return cls(*_store.load(folder))

    def _control_of(self, name: str, by: str | None) -> str:
        axis = _tables.axis_of(self.records, (name, name), by)
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
        return (
            f"AuditResult: {samples['used']} samples, all classified correctly; "
            f"{samples['correct']} of {samples['seen']} seen were. Means:"
        )

    def __repr__(self) -> str:
        table = _tables.means(self.records, self.settings["metrics"])
        return f"{self._head()}\n{table.to_string(float_format='{:.4g}'.format)}"

    def _repr_html_(self) -> str:
        table = _tables.means(self.records, self.settings["metrics"])
        return f"<p>{escape(self._head())}</p>{table.to_html(float_format='{:.4g}'.format)}"
