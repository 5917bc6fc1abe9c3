"""Box plots of a study: each arm's values, sample by sample."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure

from studies._claims import Results, arms, per_sample, shared
from surefoot.report import render

Panels = Mapping[str, Mapping[str, np.ndarray]]
_DPI = 80


def by_arm(columns: Mapping[str, str]) -> Callable[[Results], Panels]:
    """A panel for each column, a box for each arm."""

    def panels(results: Results) -> Panels:
        samples = shared(results)
        return {
            title: {arm: _values(results, f"{arm} > {place}", samples) for arm in arms(results)}
            for title, place in columns.items()
        }

    return panels


def by_explainer(measure: str, explainers: Sequence[str]) -> Callable[[Results], Panels]:
    """A panel for each arm, a box for each explainer, of one measure on clean samples."""

    def panels(results: Results) -> Panels:
        samples = shared(results)
        return {
            f"{measure}: {arm}": {
                one: _values(results, f"{arm} > {one} | clean | {measure}", samples)
                for one in explainers
            }
            for arm in arms(results)
        }

    return panels


def boxes(panels: Panels) -> bytes | None:
    """A picture (WebP) of the panels beside one another; None where there is nothing to show."""
    known = {
        title: {name: values for name, values in panel.items() if values.size}
        for title, panel in panels.items()
    }
    known = {title: panel for title, panel in known.items() if panel}
    if not known:
        return None
    most = max(len(panel) for panel in known.values())
    figure = Figure(figsize=(3.6 * len(known), 1.0 + 0.28 * most), layout="constrained")
    for axes, (title, panel) in zip(
        figure.subplots(1, len(known), squeeze=False)[0], known.items(), strict=True
    ):
        axes.boxplot(
            list(panel.values())[::-1],
            tick_labels=list(panel)[::-1],
            orientation="horizontal",
            widths=0.6,
            flierprops={"markersize": 2, "alpha": 0.4},
        )
        axes.set_title(title, fontsize=9)
        axes.tick_params(labelsize=8)
    return render(figure, ".webp", _DPI)


def _values(results: Results, place: str, samples: Sequence[int]) -> np.ndarray:
    """Known values of all seeds."""
    found = per_sample(results, place, samples).ravel()
    return found[~np.isnan(found)]
