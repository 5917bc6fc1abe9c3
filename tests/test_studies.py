"""The studies' arithmetic: results that come back, effects, verdicts and the page."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from studies._boxes import boxes, by_arm, by_explainer
from studies._cells import Cell, Found, load
from studies._claims import Claim, bootstrapped, difference, per_sample, shared
from studies._page import Study, page, write

COLUMN = "gradient | topk | topk_intersection"


def found(values: dict[int, float], **figures: float) -> Found:
    rows = [
        {"sample": sample, "explainer": "gradient", "attack": "topk", "value": value}
        for sample, value in values.items()
    ]
    frame = pd.DataFrame(rows).assign(metric="topk_intersection", label_kept=True)
    return Found(frame, figures, {"objective": "Natural()", "versions": {"torch": "2"}})


def results() -> dict[tuple[str, str, int], Found]:
    """b is above a by 0.25 on each sample that both get right, in both seeds."""
    made = {}
    for seed in (0, 1):
        a = {0: 0.1, 1: 0.2, 2: 0.3 + 0.1 * seed}
        made["set", "a", seed] = found({**a, 7: 0.9}, accuracy=0.5)
        made["set", "b", seed] = found(
            {s: v + 0.25 for s, v in a.items()} | {8: 0.0}, accuracy=0.75
        )
    return made


def test_results_come_back(tmp_path: Path) -> None:
    cell = Cell("set", "some-arm", 3, run=lambda folder: found({1: 0.5}, accuracy=0.25))
    cell.run(tmp_path).save(cell.file(tmp_path))
    ((key, again),) = load(tmp_path).items()
    assert key == ("set", "some-arm", 3)
    assert again.figures == {"accuracy": 0.25}
    assert again.facts == {"objective": "Natural()", "versions": {"torch": "2"}}
    assert per_sample({key: again}, f"some-arm > {COLUMN}", [1]).tolist() == [[0.5]]


def test_only_samples_that_all_get_right_count() -> None:
    assert shared(results()) == [0, 1, 2]
    effect = difference(f"b > {COLUMN}", f"a > {COLUMN}")(results())
    assert effect is not None
    assert (effect.seeds, effect.samples) == (2, 3)
    assert effect.mean == pytest.approx(0.25)
    assert effect.low == pytest.approx(0.25)
    assert effect.high == pytest.approx(0.25)


def test_seeds_that_one_arm_lacks_do_not_count() -> None:
    fewer = {key: one for key, one in results().items() if key != ("set", "a", 1)}
    effect = difference(f"b > {COLUMN}", f"a > {COLUMN}")(fewer)
    assert effect is not None
    assert effect.seeds == 1
    assert difference(f"b > {COLUMN}", f"c > {COLUMN}")(fewer) is None


@pytest.mark.parametrize(
    ("mark", "scale", "verdict"),
    [(0.2, 1, "holds"), (0.3, 1, "does not hold"), (0.0, -1, "does not hold")],
)
def test_verdicts(mark: float, scale: float, verdict: str) -> None:
    effect = difference(f"b > {COLUMN}", f"a > {COLUMN}", scale=scale)
    assert Claim("b is above a", "here", effect, mark).verdict(results())[0] == verdict


def test_what_chance_may_have_made_is_undecided() -> None:
    source = np.random.default_rng(1)
    noise = source.normal(size=(3, 50))
    claim = Claim("nothing", "here", lambda _: bootstrapped(noise - noise.mean()))
    assert claim.verdict({})[0] == "undecided"
    assert Claim("?", "here", lambda _: None).verdict({}) == ("not testable here", None)


def test_the_interval_covers_the_mean_as_often_as_it_says() -> None:
    """Of normal samples with mean 0, in 200 draws."""
    source = np.random.default_rng(0)
    inside = 0
    for _ in range(200):
        effect = bootstrapped(source.normal(size=(1, 40)), draws=499)
        inside += effect.low <= 0 <= effect.high
    assert 180 <= inside <= 200


def test_the_page_tells_claims_figures_and_settings(tmp_path: Path) -> None:
    claims = [Claim("b is above a", "here", difference(f"b > {COLUMN}", f"a > {COLUMN}"), 0.2)]
    claims.append(Claim("c is above a", "here", difference(f"c > {COLUMN}", f"a > {COLUMN}")))
    differs, panels = ("Toys for networks.",), by_arm({"left": COLUMN})
    study = Study("toy", "Toys", "What is compared.", {"left": COLUMN}, claims, differs, panels)
    text = page(study, results())
    assert "| b is above a | here | **holds** | +0.250 (+0.250 to +0.250) | 2 x 3 |" in text
    assert "| b | 2 | 0.750 |" in text
    assert "On the 3 samples that all networks get right:" in text
    assert "objective: `Natural()`" in text
    assert "for want of cells (1)</summary>c is above a.</details>" in text
    assert "- Toys for networks." in text
    for key, one in results().items():
        one.save(Cell(*key, run=print).file(tmp_path))
    assert write(study, tmp_path, tmp_path).read_text() == text
    assert (tmp_path / "toy-set.webp").read_bytes()[8:12] == b"WEBP"
    assert "](toy-set.webp)" in text


def test_boxes_hold_the_values_of_all_seeds() -> None:
    panels = by_arm({"left": COLUMN})(results())
    assert sorted(panels["left"]["a"]) == pytest.approx([0.1, 0.1, 0.2, 0.2, 0.3, 0.4])
    (panel,) = by_explainer("SF", ["gradient"])({("set", "a", 0): found({1: 0.5})}).values()
    assert not panel["gradient"].size
    assert boxes({"nothing": panel}) is None
