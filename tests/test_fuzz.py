"""A short run of each way of shaking the library; `python -m fuzz` makes the long ones."""

import pytest

pytest.importorskip("lightning_fabric")
pytest.importorskip("jsonargparse")
from fuzz import calls, commands, damage, folders, interrupts, kills, threads

# Forks, threads and signals: together in one worker.
pytestmark = [
    pytest.mark.xdist_group("forkserver"),
    pytest.mark.filterwarnings("ignore"),
]


@pytest.mark.parametrize(
    ("kind", "number"),
    [(calls, 250), (commands, 12), (damage, 10), (kills, 8), (threads, 24), (interrupts, 21)],
    ids=lambda kind: getattr(kind, "__name__", None),
)
def test_nothing_comes_raw(kind, number):
    tally = kind.run(number, 1)
    assert tally.failures == []
    assert tally.calls >= number
    assert tally.results > 0


def test_hostile_folders_are_refused(monkeypatch):
    """The two bombs of gigabytes are left to the long run."""
    quick = {name: make for name, make in folders.HOSTILE.items() if "bomb" not in name}
    monkeypatch.setattr(folders, "HOSTILE", quick)
    tally = folders.run(len(quick), 1)
    assert tally.failures == []
    assert tally.refused == len(quick)
