"""Audits: every number is what a direct call gives, whatever the batches; controls; folders."""

import gc
import json
import weakref
from dataclasses import replace

import pytest
import torch
from torch import nn

import surefoot
from surefoot import AuditResult, explain, metric
from surefoot.attack import L2, Linf, MassCenter, RandomSign, TopK

pytest.importorskip("pandas")

BUDGET = Linf(0.1, steps=4)
TOPK = TopK(BUDGET, k=8)
METRICS = [
    metric.get("topk_intersection", k=8),
    "spearman",
    "sensitivity",
    "gini",
    "saliency_fidelity",
    metric.get("deletion", steps=4),
    metric.get("infidelity", samples=4),
    metric.get("max_sensitivity", samples=3),
]


def network(seed=0):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        layers = [nn.Conv2d(1, 6, 3, 2, 1), nn.ReLU(), nn.Conv2d(6, 6, 3, 1, 1), nn.ReLU()]
        net = nn.Sequential(*layers, nn.Flatten(), nn.Linear(96, 3)).eval()
        for layer in (net[0], net[2]):
            layer.weight.data.mul_(3)  # curved enough that maps can move
    return net


NET = network()
INPUTS = torch.rand(9, 1, 8, 8, generator=torch.Generator().manual_seed(1))
LABELS = NET(INPUTS).argmax(1)
LABELS[[2, 5]] = (LABELS[[2, 5]] + 1) % 3  # two that the net gets wrong
RIGHT = [0, 1, 3, 4, 6, 7, 8]
EXPLAINERS = {"gradient": explain.Gradient(), "ixg": explain.InputXGradient()}


def run(model=NET, loader=(INPUTS, LABELS), **settings):
    given = {"explainers": EXPLAINERS, "attacks": {"topk": TOPK}, "metrics": METRICS, "draws": 2}
    return surefoot.audit(model, loader, **(given | settings))


def values(result, explainer, attack, metric, model="model"):
    frame = result.frame()
    for column, name in zip(
        ("model", "explainer", "attack", "metric"), (model, explainer, attack, metric), strict=True
    ):
        frame = frame[frame[column] == name]
    return torch.tensor(frame.set_index("sample")["value"].to_numpy())


def same(found, expected):
    torch.testing.assert_close(found, expected.double(), rtol=1e-5, atol=1e-6, equal_nan=True)


@pytest.fixture(scope="module")
def result():
    return run()


@pytest.fixture(scope="module")
def direct():
    """The right samples, and the attack on each explainer called by hand."""
    x, y = INPUTS[RIGHT], LABELS[RIGHT]
    return x, y, {name: TOPK(NET, x, y, e) for name, e in EXPLAINERS.items()}


def test_only_samples_that_are_right_are_taken_with_their_number_in_the_data(result):
    frame = result.frame()
    assert list(frame["sample"].unique()) == RIGHT
    assert (frame.groupby("sample")["label"].first() == LABELS[RIGHT].numpy()).all()
    assert frame.groupby(["explainer", "attack", "metric"]).size().eq(7).all()
    samples = result.settings["samples"]
    assert samples == {"seen": 9, "correct": {"model": 7}, "correct_for_all": 7, "used": 7}
    assert len(result) == 7


@pytest.mark.parametrize("name", EXPLAINERS)
def test_clean_values_are_those_of_direct_calls(result, direct, name):
    x, y, _ = direct
    e = EXPLAINERS[name]
    a = e(NET, x, y)
    h = explain.reduce(a, "sum_abs")
    heat = explain.heatmap(a)
    same(values(result, name, "clean", "gini"), metric.gini(h))
    same(values(result, name, "clean", "map_norm"), h.flatten(1).norm(dim=1))
    same(values(result, name, "clean", "deletion"), metric.deletion(NET, x, h, y, steps=4))
    fidelity = metric.saliency_fidelity(NET, x, heat, y)
    same(values(result, name, "clean", "saliency_fidelity"), fidelity)
    same(values(result, name, "clean", "infidelity"), metric.infidelity(NET, x, a, y, samples=4))
    sensitive = metric.max_sensitivity(e, NET, x, y, samples=3)
    same(values(result, name, "clean", "max_sensitivity"), sensitive)


@pytest.mark.parametrize("name", EXPLAINERS)
def test_attacked_values_are_those_of_direct_calls(result, direct, name):
    x, y, attacked = direct
    r = attacked[name]
    before, after = explain.reduce(r.before), explain.reduce(r.after)
    overlap = metric.topk_intersection(before, after, k=8)
    same(values(result, name, "topk", "topk_intersection"), overlap)
    same(values(result, name, "topk", "spearman"), metric.spearman(before, after))
    moved = metric.sensitivity(before, after, x, r.inputs)
    same(values(result, name, "topk", "sensitivity"), moved)
    same(values(result, name, "topk", "gini"), metric.gini(after))
    deletion = metric.deletion(NET, r.inputs, after, y, steps=4)
    same(values(result, name, "topk", "deletion"), deletion)
    infidelity = metric.infidelity(NET, r.inputs, r.after, y, samples=4)
    same(values(result, name, "topk", "infidelity"), infidelity)
    frame = result.frame().query(f"explainer == '{name}' and attack == 'topk'")
    assert "max_sensitivity" not in set(frame["metric"])
    assert frame["value"][frame["metric"] == "spearman"].mean() < 0.95  # something was attacked


def test_the_floor_is_the_mean_of_random_signs_called_directly(result, direct):
    x, y, _ = direct
    e = EXPLAINERS["gradient"]
    draws = [RandomSign(BUDGET, seed=seed)(NET, x, y, e) for seed in (0, 1)]
    pairs = [(explain.reduce(r.before), explain.reduce(r.after)) for r in draws]
    expected = torch.stack([metric.spearman(*pair).double() for pair in pairs]).mean(0)
    same(values(result, "gradient", "random signs", "spearman"), expected)
    table = result.summary(resamples=10).set_index(["explainer", "attack", "metric"])
    floor = table.loc[("gradient", "topk", "spearman"), "floor"]
    assert floor == pytest.approx(float(expected.mean()))


def test_the_random_map_is_perfectly_robust_and_says_so(result):
    for attack_name in ("topk", "random signs"):
        assert (values(result, "random map", attack_name, "spearman") > 1 - 1e-6).all()
        assert (values(result, "random map", attack_name, "topk_intersection") == 1).all()
        sensitivity = values(result, "random map", attack_name, "sensitivity")
        assert (sensitivity[~sensitivity.isnan()] == 0).all()  # NaN where the label was lost
        assert (~sensitivity.isnan()).sum() >= 5
    assert (values(result, "random map", "clean", "max_sensitivity") == 0).all()
    frame = result.frame()
    control = (frame["explainer"] == "random map") | (frame["attack"] == "random signs")
    assert (frame["control"] == control).all()


def test_without_controls_there_are_none():
    frame = run(controls=False).frame()
    assert set(frame["explainer"]) == set(EXPLAINERS)
    assert set(frame["attack"]) == {"clean", "topk"}
    assert not frame["control"].any()


@pytest.mark.parametrize(("size", "pieces"), [(1, 9), (3, 2), (64, 2)])
def test_batches_do_not_matter(result, size, pieces):
    loader = list(zip(INPUTS.split(pieces), LABELS.split(pieces), strict=True))
    other = run(loader=loader, batch_size=size)
    assert other.frame().drop(columns="value").equals(result.frame().drop(columns="value"))
    found, expected = other.frame()["value"], result.frame()["value"]
    same(torch.tensor(found.to_numpy()), torch.tensor(expected.to_numpy()))


def test_order_does_not_matter(result):
    order = torch.randperm(9, generator=torch.Generator().manual_seed(2))
    frame = run(loader=(INPUTS[order], LABELS[order])).frame()
    frame["sample"] = order[frame["sample"].tolist()].numpy()
    keys = ["model", "explainer", "attack", "metric", "sample"]
    found, expected = frame.set_index(keys), result.frame().set_index(keys)
    found = found.loc[expected.index, "value"].to_numpy()
    same(torch.tensor(found), torch.tensor(expected["value"].to_numpy()))


def test_the_same_seed_gives_the_same_and_another_other_controls(result):
    assert run().frame().equals(result.frame())
    other = run(seed=3)
    for explainer in ("gradient", "ixg"):
        ours = values(result, explainer, "topk", "spearman")
        assert torch.equal(values(other, explainer, "topk", "spearman"), ours)
        floor = values(result, explainer, "random signs", "spearman")
        assert not torch.equal(values(other, explainer, "random signs", "spearman"), floor)


def test_generators_and_data_loaders_are_walked(result):
    pairs = zip(INPUTS.split(4), LABELS.split(4), strict=True)
    assert run(loader=(pair for pair in pairs)).frame().equals(result.frame())
    data = torch.utils.data.TensorDataset(INPUTS, LABELS)
    loader = torch.utils.data.DataLoader(data, batch_size=4)
    assert run(loader=loader).frame().equals(result.frame())


def test_limit_takes_the_first_that_are_right(result):
    limited = run(limit=3, batch_size=2)
    frame = limited.frame()
    assert list(frame["sample"].unique()) == RIGHT[:3]
    whole = result.frame()
    whole = whole[whole["sample"].isin(RIGHT[:3])]
    same(torch.tensor(frame["value"].to_numpy()), torch.tensor(whole["value"].to_numpy()))
    assert limited.settings["samples"]["used"] == 3


def test_several_models_share_the_samples_that_all_get_right():
    other = network(1)
    labels = torch.where(torch.arange(9) % 3 == 0, other(INPUTS).argmax(1), LABELS)
    right = (NET(INPUTS).argmax(1) == labels) & (other(INPUTS).argmax(1) == labels)
    assert 0 < right.sum() < 7
    result = run({"one": NET, "other": other}, (INPUTS, labels), metrics=["gini", "spearman"])
    frame = result.frame()
    assert set(frame["model"]) == {"one", "other"}
    for _, group in frame.groupby(["model", "explainer", "attack", "metric"]):
        assert group["sample"].tolist() == right.nonzero()[:, 0].tolist()
    h = explain.reduce(explain.Gradient()(other, INPUTS[right], labels[right]))
    same(values(result, "gradient", "clean", "gini", "other"), metric.gini(h))
    against = result.compare("one", "other")
    assert "model" not in against.columns
    states = {result.settings["models"][name]["state"] for name in ("one", "other")}
    assert len(states) == 2


def test_without_attacks_only_clean_maps_are_measured():
    result = run(attacks=None, metrics=["gini", "spearman", "sensitivity"])
    assert set(result.frame()["metric"]) == {"gini"}
    assert set(result.frame()["attack"]) == {"clean"}


def test_several_budgets_become_several_attacks_with_a_floor_each():
    wide = TopK([Linf([0.05, 0.1], steps=1), L2(0.5, steps=1)], k=8)
    result = run(attacks={"topk": wide}, metrics=["spearman"], draws=1)
    names = ["topk linf 0.05", "topk linf 0.1", "topk l2 0.5"]
    floors = [f"random signs {budget}" for budget in ("linf 0.05", "linf 0.1", "l2 0.5")]
    assert list(result.frame()["attack"].unique()) == names + floors
    assert result.settings["floors"] == dict(zip(names, floors, strict=True))
    expected = TopK(Linf(0.1, steps=1), k=8)(NET, INPUTS[RIGHT], LABELS[RIGHT], explain.Gradient())
    spearman = metric.spearman(explain.reduce(expected.before), explain.reduce(expected.after))
    same(values(result, "gradient", names[1], "spearman"), spearman)


def test_attacks_of_one_budget_share_their_floor():
    attacks = [TOPK, MassCenter(replace(BUDGET, steps=2, restarts=2))]
    result = run(attacks=attacks, metrics=["spearman"], draws=1)
    assert set(result.settings["floors"].values()) == {"random signs"}
    assert set(result.settings["floors"]) == {repr(one) for one in attacks}


class Lost:
    """An attack of someone's own, that finds nothing for every second sample."""

    def __call__(self, model, inputs, target, explainer, *, extra=None):
        r = TOPK(model, inputs, target, explainer, extra=extra)
        kept = torch.arange(len(inputs)) % 2 == 0
        at = kept.view(-1, 1, 1, 1)
        return replace(
            r,
            inputs=torch.where(at, r.inputs, inputs),
            after=torch.where(at, r.after, r.before),
            label_kept=kept,
        )


def test_a_sample_that_could_not_be_attacked_counts_as_unchanged():
    result = run(attacks={"lost": Lost()}, metrics=["cosine", "sensitivity"])
    frame = result.frame().query("explainer == 'gradient' and attack == 'lost'")
    assert frame["label_kept"][frame["metric"] == "cosine"].tolist() == [True, False] * 3 + [True]
    kept = torch.tensor(frame["label_kept"][frame["metric"] == "cosine"].to_numpy())
    cosine = values(result, "gradient", "lost", "cosine")
    assert (cosine[~kept] > 1 - 1e-6).all()
    assert (cosine[kept] < 1 - 1e-6).any()
    assert torch.equal(values(result, "gradient", "lost", "sensitivity").isnan(), ~kept)
    row = result.summary(resamples=10).query("explainer == 'gradient' and metric == 'sensitivity'")
    assert (row["n"].item(), row["dropped"].item()) == (4, 3)
    assert row["label_kept"].item() == pytest.approx(4 / 7)
    assert "random map" not in set(result.frame().query("attack == 'lost'")["explainer"])


def own(a, b):
    return (a - b).flatten(1).abs().amax(1)


def centre(model, images, h, target):
    return h.flatten(1).argmax(1).float() + target


def test_metrics_of_ones_own_get_what_their_parameters_say():
    result = run(metrics=[own, centre, "gini"])
    r = TOPK(NET, INPUTS[RIGHT], LABELS[RIGHT], explain.Gradient())
    before, after = explain.reduce(r.before), explain.reduce(r.after)
    same(values(result, "gradient", "topk", "own"), own(before, after))
    place = centre(None, None, after, LABELS[RIGHT])
    same(values(result, "gradient", "topk", "centre"), place)
    assert result.settings["metrics"]["own"]["higher_is_better"] is None
    assert result.compare("gradient", "ixg")["better"].isna().sum() == 5


def test_a_metric_may_come_twice_under_names():
    some = [metric.get("topk_intersection", k=4), metric.get("topk_intersection", k=8)]
    result = run(metrics=some, controls=False)
    names = ["topk_intersection(k=4)", "topk_intersection(k=8)"]
    assert list(result.frame()["metric"].unique()) == names
    result = run(metrics=dict(zip("ab", some, strict=True)), controls=False)
    assert list(result.frame()["metric"].unique()) == ["a", "b"]


def test_k_that_does_not_fit_becomes_a_tenth_of_the_map_and_is_written_down():
    result = run(metrics=["topk_intersection"], attacks=[replace(TOPK, k=5), TOPK])
    assert result.settings["metrics"]["topk_intersection"]["metric"] == "topk_intersection(k=6)"
    r = TOPK(NET, INPUTS[RIGHT], LABELS[RIGHT], explain.Gradient())
    before, after = explain.reduce(r.before), explain.reduce(r.after)
    overlap = metric.topk_intersection(before, after, k=6)
    same(values(result, "gradient", repr(TOPK), "topk_intersection"), overlap)


def test_k_that_is_not_given_is_that_of_the_attacks():
    result = run(metrics=["topk_intersection"], attacks={"topk": TOPK, "mass": MassCenter(BUDGET)})
    r = TOPK(NET, INPUTS[RIGHT], LABELS[RIGHT], explain.Gradient())
    same(values(result, "gradient", "topk", "topk_intersection"), r.scores["topk_intersection"])


def test_masks_come_from_the_loader_or_beside_it():
    masks = torch.rand(9, 8, 8, generator=torch.Generator().manual_seed(3)) > 0.5
    settings = {"metrics": ["localisation_auc"], "attacks": None}
    beside = run(masks=masks, batch_size=2, **settings)
    h = explain.reduce(explain.Gradient()(NET, INPUTS[RIGHT], LABELS[RIGHT]))
    expected = metric.localisation_auc(h, masks[RIGHT])
    same(values(beside, "gradient", "clean", "localisation_auc"), expected)
    loader = [
        (INPUTS[:4], LABELS[:4], {"m": masks[:4]}),
        (INPUTS[4:], LABELS[4:], {"m": masks[4:]}),
    ]
    within = run(loader=loader, masks="m", **settings)
    assert within.frame().equals(beside.frame())


class Shifted(nn.Module):
    """A model with a further input."""

    def forward(self, inputs, shift):
        return NET(inputs) + shift


def test_extra_inputs_stay_with_their_samples():
    shift = torch.randn(9, 3, generator=torch.Generator().manual_seed(4))
    model = Shifted().eval()
    labels = model(INPUTS, shift).argmax(1)
    loader = [
        (x, y, {"shift": s})
        for x, y, s in zip(
            *map(list, (INPUTS[:, None], labels[:, None], shift[:, None])), strict=True
        )
    ]
    settings = {"metrics": ["spearman", metric.get("deletion", steps=3), METRICS[-1]]}
    found = run(model, loader, **settings)
    assert len(found) == 9
    gradient = explain.Gradient()
    h = explain.reduce(gradient(model, INPUTS, labels, extra={"shift": shift}))
    deletion = metric.deletion(model, INPUTS, h, labels, steps=3, extra={"shift": shift})
    same(values(found, "gradient", "clean", "deletion"), deletion)
    r = TOPK(model, INPUTS, labels, gradient, extra={"shift": shift})
    spearman = metric.spearman(explain.reduce(r.before), explain.reduce(r.after))
    same(values(found, "gradient", "topk", "spearman"), spearman)


@pytest.mark.parametrize(
    ("shape", "layout"),
    [((5,), None), ((4, 3), "tokens"), ((3, 4), "signal"), ((2, 3, 3, 3), None)],
    ids=["records", "embeddings", "signals", "volumes"],
)
def test_records_and_embeddings_are_audited_alike(shape, layout):
    torch.manual_seed(0)
    size = int(torch.tensor(shape).prod())
    net = nn.Sequential(nn.Flatten(), nn.Linear(size, 8), nn.ReLU(), nn.Linear(8, 2)).eval()
    inputs = torch.rand(6, *shape)
    given = (inputs, net(inputs).argmax(1))
    chosen = TopK(Linf(0.2, steps=2), k=2)
    names = ["topk_intersection", "kendall", "l2", "sensitivity", "entropy", "deletion"]
    result = run(net, given, attacks=[chosen], metrics=names, layout=layout)
    assert len(result) == 6
    assert result.frame()["value"].notna().all()


def test_a_folder_holds_the_result_and_gives_it_back(result, tmp_path):
    written = run(out=tmp_path / "runs" / "audit")
    place = tmp_path / "runs" / "audit"
    there = sorted(path.name for path in place.iterdir() if path.name[0] != ".")
    assert there == ["audit.json", "blocks.jsonl", "gallery", "samples"]
    loaded = AuditResult.load(place)
    assert loaded.frame().equals(result.frame())
    assert loaded.settings == written.settings == json.loads(json.dumps(written.settings))
    assert loaded.summary(resamples=20).equals(written.summary(resamples=20))
    assert loaded.settings["attacks"]["topk"] == repr(TOPK)
    assert loaded.settings["explainers"]["gradient"] == repr(EXPLAINERS["gradient"])


def test_progress_counts_units_of_work():
    told = []
    run(batch_size=3, controls=False, metrics=["gini"], progress=lambda *now: told.append(now))
    assert told == [(done, 12) for done in range(1, 13)]


def test_a_result_shows_its_means(result):
    text = repr(result)
    assert "7 samples" in text
    assert "random signs" in text
    assert "spearman" in text
    html = result._repr_html_()
    assert "<table" in html
    assert "topk_intersection" in html


def test_nothing_global_is_touched(result):
    state = torch.get_rng_state()
    run(metrics=["gini"])
    assert torch.equal(torch.get_rng_state(), state)
    assert all(parameter.grad is None for parameter in NET.parameters())


def test_batches_are_let_go_once_measured():
    alive = []

    def loader():
        for number in range(9):
            inputs = INPUTS[[number]].clone()
            alive.append(weakref.ref(inputs))
            yield inputs, LABELS[[number]]
            del inputs
            gc.collect()
            assert sum(one() is not None for one in alive) <= 3

    run(loader=loader(), batch_size=1, metrics=["gini"], controls=False)
    assert len(alive) == 9
