"""Runs of audits: the same rows whoever computes the blocks, and whatever happens meanwhile."""

import os
from concurrent.futures import Executor, Future, ThreadPoolExecutor

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, Subset, TensorDataset

import surefoot
from surefoot import AuditResult, SurefootError, auditing, explain, metric
from surefoot.attack import Linf, TopK

pd = pytest.importorskip("pandas")
ds = pytest.importorskip("pyarrow.dataset")


def network() -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return nn.Sequential(nn.Linear(6, 24), nn.ReLU(), nn.Linear(24, 3)).eval()


NET = network()
INPUTS = torch.rand(23, 6, generator=torch.Generator().manual_seed(1))
LABELS = NET(INPUTS).argmax(1)
LABELS[[2, 5, 12]] = (LABELS[[2, 5, 12]] + 1) % 3
DATA = TensorDataset(INPUTS, LABELS)
RIGHT = [n for n in range(23) if n not in (2, 5, 12)]


def settings(**more):
    given = {
        "explainers": {"gradient": explain.Gradient(), "ixg": explain.InputXGradient()},
        "attacks": {"topk": TopK(Linf(0.1, steps=2), k=2)},
        "metrics": ["spearman", "gini", "sensitivity"],
        "draws": 2,
        "block": 4,
    }
    return given | more


def run(loader=(INPUTS, LABELS), **more):
    return surefoot.audit(NET, loader, **settings(**more))


@pytest.fixture(scope="module")
def whole():
    return run().frame()


class Backwards(Executor):
    """Runs the newest first, one at a time, when asked for a result: another order of blocks."""

    def __init__(self):
        self.asked = []

    def submit(self, fn, /, *args, **kwargs):
        future: Future = Future()
        self.asked.append((future, fn, args))
        if len(self.asked) == 6:
            for future, fn, args in reversed(self.asked):
                future.set_result(fn(*args))
        return future


def test_whoever_computes_the_blocks_the_rows_are_the_same(whole, tmp_path):
    with ThreadPoolExecutor(1) as executor:
        assert run(executor=executor).frame().equals(whole)
    assert run(executor=Backwards(), out=tmp_path).frame().equals(whole)
    assert AuditResult.load(tmp_path).frame().equals(whole)
    assert not (tmp_path / ".surefoot-job.pkl").exists()


def test_processes_give_the_same_rows(whole, tmp_path):
    with auditing.Processes(2, threads=1) as executor:
        found = run(DataLoader(DATA, batch_size=5), executor=executor, out=tmp_path)
    assert found.frame().equals(whole)
    lines = (tmp_path / "blocks.jsonl").read_text().splitlines()
    workers = {line.split('"worker": ')[1] for line in lines}
    assert 1 <= len(workers) <= 2
    assert not any(f":{os.getpid()}" in worker for worker in workers)


@pytest.mark.parametrize("loader", ["pair", "loader", "shuffled", "list", "generator"])
def test_a_run_goes_on_where_it_was(whole, loader, tmp_path, monkeypatch):
    def made():
        pieces = list(zip(INPUTS.split(5), LABELS.split(5), strict=True))
        kinds = {
            "pair": (INPUTS, LABELS),
            "loader": DataLoader(DATA, batch_size=7),
            "shuffled": DataLoader(DATA, batch_size=7, shuffle=True),
            "list": pieces,
            "generator": iter(pieces),
        }
        return kinds[loader]

    write, left = auditing._parts.OnDisk.write, iter([True, True, False])

    def stopping(self, block, content):
        write(self, block, content)
        if not next(left, True):
            raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(auditing._parts.OnDisk, "write", stopping)
        with pytest.raises(KeyboardInterrupt):
            run(made(), out=tmp_path)
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "samples").iterdir()}
    assert len(before) == 3
    (tmp_path / "blocks.jsonl").write_text('{"block": 0, "se')  # torn
    found = run(made(), out=tmp_path)
    assert found.frame().equals(whole)
    assert found.settings["samples"]["used"] == len(RIGHT)
    assert {p: p.stat().st_mtime_ns for p in before} == before  # nothing was done twice


@pytest.mark.parametrize("kind", ["pair", "generator"])
def test_limit_holds_across_a_stop(kind, tmp_path, monkeypatch):
    def made():
        pieces = zip(INPUTS.split(3), LABELS.split(3), strict=True)
        return (INPUTS, LABELS) if kind == "pair" else pieces

    found = run(made(), limit=9, out=tmp_path)
    assert sorted(set(found.frame()["sample"])) == RIGHT[:9]
    sorted((tmp_path / "samples").iterdir())[1].unlink()
    again = run(made(), limit=9, out=tmp_path)
    assert again.frame().equals(found.frame())


def test_sample_numbers_are_the_data_sets_whatever_the_loader_shuffles():
    masks = torch.rand(23, 6, generator=torch.Generator().manual_seed(3)) > 0.5
    some = {"metrics": ["localisation_auc"], "attacks": None, "controls": False}
    h = explain.reduce(explain.Gradient()(NET, INPUTS[RIGHT], LABELS[RIGHT]))
    expected = metric.localisation_auc(h, masks[RIGHT]).double().numpy()
    for loader in (DataLoader(DATA, batch_size=4), DataLoader(DATA, batch_size=4, shuffle=True)):
        frame = run(loader, masks=masks, **some).frame().query("explainer == 'gradient'")
        assert frame["sample"].tolist() == RIGHT
        np.testing.assert_allclose(frame["value"], expected)


class Named(TensorDataset):
    names = tuple(f"photo {number}.jpg" for number in range(23))
    classes = ("a", "b", "c")


def test_names_travel_with_their_samples(whole):
    data = Named(INPUTS, LABELS)
    result = run(DataLoader(data, batch_size=4))
    frame = result.frame()
    assert (frame["name"] == [data.names[n] for n in frame["sample"]]).all()
    assert frame.drop(columns="name").equals(whole.drop(columns="name"))
    assert result.settings["classes"] == ["a", "b", "c"]
    part = run(DataLoader(Subset(data, [4, 8, 1]))).frame()
    called = part.groupby("sample")["name"].first()
    assert called.tolist() == [data.names[n] for n in (4, 8, 1)]
    given = run(names=[f"n{number}" for number in range(23)]).frame()
    assert (given["name"] == [f"n{n}" for n in given["sample"]]).all()


def fragile(model, inputs, target):
    """Inputs times gradients, but for samples whose first entry is large."""
    if (inputs[:, 0] > 0.9).any():
        raise RuntimeError("no large entries")
    return explain.InputXGradient()(model, inputs, target)


def test_one_sample_that_fails_is_recorded_and_the_rest_goes_on(whole):
    bad = [n for n in RIGHT if INPUTS[n, 0] > 0.9]
    assert 0 < len(bad) < 5
    explainers = {"fragile": fragile, "ixg": explain.InputXGradient()}
    result = run(explainers=explainers, attacks=None, metrics=["gini"])
    frame = result.frame().query("explainer == 'fragile'").set_index("sample")
    assert frame["value"].isna().sum() == len(bad)
    assert frame.loc[bad, "error"].str.contains("explainer 'fragile' fails.*no large").all()
    good = [n for n in RIGHT if n not in bad]
    assert (frame.loc[good, "error"] == "").all()
    other = whole.query("explainer == 'ixg' and attack == 'clean' and metric == 'gini'")
    expected = other.set_index("sample")["value"]
    np.testing.assert_allclose(frame.loc[good, "value"], expected[good], rtol=1e-5)
    assert result.settings["failed"] == len(bad)
    row = result.summary(resamples=10).query("explainer == 'fragile'").iloc[0]
    assert (row["n"], row["dropped"], row["failed"]) == (len(good), len(bad), len(bad))
    assert f"({len(bad)} failed)" in repr(result)


def test_every_row_carries_its_threat_model(tmp_path):
    moved = TopK(Linf(0.1, steps=2), k=2)
    attacks = {"topk": moved, "from ixg": auditing.Transferred(moved, explain.InputXGradient())}
    result = run(attacks=attacks, out=tmp_path)
    columns = list(auditing.Threat._fields)
    rows = result.frame().query("explainer != 'random map'")
    found = {k: tuple(v.iloc[0]) for k, v in rows.groupby("attack")[columns]}
    kept = ("input", "prediction-preserving", "untargeted")
    assert found == {
        "clean": ("nothing", "none", "none", "none"),
        "topk": (*kept, "adaptive"),
        "from ixg": (*kept, "transferred"),
        "random signs": (*kept, "blind"),
    }
    table = result.summary(resamples=10)
    known = table.query("attack == 'topk'").groupby("explainer")["knowledge"].unique()
    assert {name: list(words) for name, words in known.items()} == {
        "gradient": ["adaptive"],
        "ixg": ["adaptive"],
        "random map": ["blind"],  # nothing can be searched there
    }
    x, y = INPUTS[RIGHT[:2]], LABELS[RIGHT[:2]]
    direct = moved(NET, x, y, explain.InputXGradient(), score_with=explain.Gradient())
    expected = metric.spearman(explain.reduce(direct.before), explain.reduce(direct.after))
    rows = result.frame().query(
        "explainer == 'gradient' and attack == 'from ixg' and metric == 'spearman'"
    )
    np.testing.assert_allclose(rows["value"][:2], expected, rtol=1e-5)


def test_relative_sensitivity_does_not_fall_with_the_map():
    def tenth(model, inputs, target):
        return explain.Gradient()(model, inputs, target) / 10

    both = {"gradient": explain.Gradient(), "tenth": explain.Function(tenth)}
    result = surefoot.audit(
        NET,
        (INPUTS, LABELS),
        explainers=both,
        attacks={"signs": surefoot.attack.RandomSign(Linf(0.1))},
        metrics=["sensitivity"],
        controls=False,
    )
    table = result.summary(resamples=10).set_index(["explainer", "attack", "metric"])["mean"]
    signs = {name: table.loc[("gradient", "signs", name)] for name in ("sensitivity", "map_norm")}
    assert table.loc[("tenth", "signs", "sensitivity")] == pytest.approx(signs["sensitivity"] / 10)
    relative = table.xs("relative_sensitivity", level="metric")
    assert relative.loc[("tenth", "signs")] == pytest.approx(relative.loc[("gradient", "signs")])


def test_one_sample_gives_no_interval_and_no_p():
    result = run((INPUTS[:1], LABELS[:1]))
    table = result.compare("gradient", "ixg")
    assert table["p"].isna().all()
    assert table["p_holm"].isna().all()
    assert "too few" in repr(result)


def test_a_summary_of_sums_agrees_with_one_of_values(whole):
    result = run()
    exact = result.summary(resamples=1000)
    parts = list(result.parts.read())
    few = auditing._gather.gather(parts, many=True, resamples=1000, seed=0)
    again = auditing._gather.gather(parts[::-1], many=True, resamples=1000, seed=0)
    for row in exact.itertuples():
        key = (row.model, row.explainer, row.attack, row.metric)
        found = few[key].interval(0.95, 1000, 0)
        assert found.mean == pytest.approx(row.mean)
        assert again[key].interval(0.95, 1000, 0) == pytest.approx(found, nan_ok=True)
        width = row.high - row.low
        assert found.low == pytest.approx(row.low, abs=0.35 * width + 1e-9)
        assert found.high == pytest.approx(row.high, abs=0.35 * width + 1e-9)


def test_resamples_of_sums_cover_the_mean_at_their_rate():
    rng = np.random.default_rng(0)
    inside = 0
    for trial in range(200):
        values = rng.exponential(size=100)
        one = auditing._gather.Gathered()
        one.add(values, auditing._gather._weights(np.arange(100), 300, trial))
        low, high = one.interval(0.9, 300, 0)[1:]
        inside += low <= 1 <= high
    spread = (0.9 * 0.1 / 200) ** 0.5
    assert abs(inside / 200 - 0.89) < 3 * spread


def test_the_folder_is_an_arrow_data_set(whole, tmp_path):
    run(out=tmp_path)
    read = ds.dataset(tmp_path / "samples", format="parquet")
    assert read.schema.equals(auditing._parts.schema(), check_metadata=False)
    assert read.count_rows() == len(whole)
    keys = ["explainer", "attack", "metric", "sample"]
    frame = pd.read_parquet(tmp_path / "samples").sort_values(keys, ignore_index=True)
    expected = whole.sort_values(keys, ignore_index=True)
    pd.testing.assert_frame_equal(frame, expected[frame.columns], check_dtype=False)


def test_another_version_of_the_library_is_refused(tmp_path, monkeypatch):
    task = auditing._workers.Task(str(tmp_path), "job", "sha256:another", 3)
    with pytest.raises(SurefootError, match=r"another version of surefoot.*block 3"):
        auditing._workers.measure_block(task)
    run(out=tmp_path)
    monkeypatch.setattr(auditing._settings, "code_digest", lambda: "sha256:another")
    with pytest.raises(SurefootError, match=r"software.surefoot is 'sha256:\w+' there"):
        run(out=tmp_path)


def test_a_job_that_is_not_what_was_sent_is_not_opened(tmp_path):
    (tmp_path / auditing._workers.JOB).write_bytes(b"cos\nsystem\n(S'touch hacked'\ntR.")
    task = auditing._workers.Task(str(tmp_path), "0" * 64, auditing._work.code_digest(), 0)
    with pytest.raises(SurefootError, match="is not what this audit wrote"):
        auditing._workers.measure_block(task)


def test_what_cannot_be_sent_is_said(tmp_path):
    with auditing.Processes(1) as executor:
        with pytest.raises(SurefootError, match="cannot be sent to other processes"):
            run(explainers={"e": lambda model, x, y: x}, attacks=None, executor=executor)
        with pytest.raises(SurefootError, match="workers read blocks of samples by themselves"):
            run(iter([(INPUTS, LABELS)]), executor=executor)
    with pytest.raises(SurefootError, match="workers=0"):
        auditing.Processes(0)
