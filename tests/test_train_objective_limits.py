"""Where one objective becomes another, and what single options do."""

import copy
import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from surefoot import SurefootError, train
from surefoot.train._attributional import cacr, wacr
from surefoot.train._regularizers import from_uniform

N = 4
SMALL = {"steps": 2, "points": 3, "attack_points": 2}


@pytest.fixture
def model() -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(3)
        layers = nn.Flatten(), nn.Linear(32, 6), nn.ReLU(), nn.Linear(6, 3)
        net = nn.Sequential(*layers).double().eval()
        for weight in net.parameters():
            nn.init.normal_(weight, std=0.5)
        return net


def images(low: float = 0.2, high: float = 0.8) -> Tensor:
    source = torch.Generator().manual_seed(1)
    x = torch.rand(N, 2, 4, 4, generator=source, dtype=torch.float64)
    return low + (high - low) * x


LABELS = torch.tensor([0, 1, 2, 1])


def value_and_slope(
    objective: train.Objective, model: nn.Module, x: Tensor
) -> tuple[Tensor, list[Tensor]]:
    loss = objective(model, x, LABELS, generator=torch.Generator().manual_seed(2))
    return loss.total, list(torch.autograd.grad(loss.total, list(model.parameters())))


def same(a: train.Objective, b: train.Objective, model: nn.Module, x: Tensor | None = None) -> None:
    """Both losses and both gradients in the parameters."""
    x = images() if x is None else x
    (first, slopes), (second, others) = (value_and_slope(o, model, x) for o in (a, b))
    torch.testing.assert_close(first, second, rtol=1e-12, atol=1e-12)
    for slope, other in zip(slopes, others, strict=True):
        torch.testing.assert_close(slope, other, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize(
    "objective",
    [
        train.PGD(0),
        train.FGSM(0),
        train.FreeAT(0),
        train.TRADES(0),
        train.SCAAT(0),
        train.SCAAT(0, constraint="hard", divergence="js"),
        train.IGNorm(0, **SMALL),
        train.IGSumNorm(0, **SMALL),
        train.IGR(train.PGD(0), points=2),
        train.AttributionalAT(train.PGD(0), points=2),
        train.AttributionalAT(train.PGD(0.1), clean=1, weight=0, points=2),
        train.LocalGradientAlignment(0),
        train.FGSM(alpha=1),
        train.TRADES(weight=0),
        train.SCAAT(weight=0),
        train.SCAAT(schedule="epsilon", ramp=math.inf),
        train.SaliencyGuided(weight=0),
        train.IGNorm(weight=0, **SMALL),
        train.LocalGradientAlignment(l2_weight=0, cosine_weight=0),
        train.R2ET(rank_weight=0, curvature_weight=0),
        train.SmoothedCurvature(alpha=0),
        train.InputGradientRegularization(0),
        train.JacobianRegularization(0),
        train.RightForRightReasons(0),
    ],
    ids=repr,
)
def test_natural_training_as_a_limit(objective: train.Objective, model: nn.Module) -> None:
    same(objective, train.Natural(), model)


@pytest.mark.parametrize("norm", ["linf", "l2"])
@pytest.mark.parametrize(
    "kind",
    [
        lambda attack: train.IGSumNorm(weight=0, points=2, attack_points=2, **attack),
        lambda attack: train.AttributionalRegularizers(
            weight=0, points=2, attack_points=2, **attack
        ),
        lambda attack: train.IGR(train.PGD(**attack), weight=0, points=2),
        lambda attack: train.AttributionalAT(train.PGD(**attack), clean=0, weight=0, points=2),
    ],
    ids=["IGSumNorm", "AttributionalRegularizers", "IGR", "AttributionalAT"],
)
def test_adversarial_training_as_a_limit(kind, norm: str, model: nn.Module) -> None:
    attack = {"epsilon": 0.1, "steps": 3, "norm": norm}
    same(kind(attack), train.PGD(**attack), model)


def test_uniform_constraint_is_adversarial_training_with_that_divergence(model: nn.Module) -> None:
    """In the inside of the box, where both draw the same start."""
    settings = {"epsilon": 0.1, "steps": 3, "step_size": 0.05}
    free = train.SCAAT(constraint="uniform", divergence="ce", **settings)
    (a, _), (b, _) = (value_and_slope(o, model, images()) for o in (free, train.PGD(**settings)))
    natural = value_and_slope(train.Natural(), model, images())[0]
    torch.testing.assert_close(a, natural + b)
    for kind in ("kl", "js"):
        divergent = replace(free, divergence=kind, ascent="divergence", weight=6.0)
        loss = divergent(model, images(), LABELS, generator=torch.Generator().manual_seed(2))
        moved = divergent.moved(_batch(model))
        p, q = model(images()).softmax(1), model(moved).softmax(1)
        middle = q if kind == "kl" else (p + q) / 2
        apart = (p * (p / middle).log()).sum(1)
        if kind == "js":
            apart = (apart + (q * (q / middle).log()).sum(1)) / 2
        torch.testing.assert_close(loss.total, natural + 6 * apart.mean())
        assert ((moved - images()).abs() <= 0.1 + 1e-12).all()
        assert apart.mean() > 1e-3


def _batch(model: nn.Module, x: Tensor | None = None, **more: object) -> train.Batch:
    source = torch.Generator().manual_seed(2)
    return train.Batch(model, images() if x is None else x, LABELS, {}, source, **more)


def test_random_fill_without_ascent_is_saliency_guided(model: nn.Module) -> None:
    x = images(0, 1)
    x[:, :, 0, 0], x[:, :, 3, 3] = 0, 1  # each channel spans the bounds
    fill = train.SCAAT(1.0, constraint="hard", k=6, steps=0)
    same(fill, train.SaliencyGuided(6, ranking="absolute"), model, x)


@pytest.mark.parametrize(
    ("constraint", "threshold"),
    [("soft", None), ("soft", 0.5), ("hard", None), ("hard", 0.5), ("uniform", None)],
)
def test_perturbation_keeps_to_its_places_and_to_the_box(
    constraint: str, threshold: float | None, model: nn.Module
) -> None:
    x = images(0, 1)
    objective = train.SCAAT(0.3, constraint=constraint, threshold=threshold)
    batch = _batch(model, x)
    d = objective.moved(batch) - x
    _, saliency = objective._look(batch)
    room = objective.room(saliency)[:, None]
    assert (d.abs() <= room + 1e-12).all()
    assert not d[(room == 0).expand_as(d)].any()
    assert d.abs().amax() > 0.2
    assert ((x + d >= 0) & (x + d <= 1)).all()


def test_soft_budget_falls_with_saliency_and_ties_share(model: nn.Module) -> None:
    S = torch.tensor([[0.0, 0.0, 2.0, 1.0, 3.0]], dtype=torch.float64)
    room = train.SCAAT(0.4).room(S)
    torch.testing.assert_close(room, 0.4 * torch.tensor([[7, 7, 2, 4, 0]]).double() / 8)
    relative = train.SCAAT(0.4, threshold=0.5).room(S)
    torch.testing.assert_close(relative, 0.4 * torch.tensor([[3, 3, 0, 1, 0]]).double() / 3)
    flat = train.SCAAT(0.4, threshold=0.5).room(torch.zeros(1, 3))
    assert not flat.any()


@pytest.mark.parametrize(
    ("progress", "epsilon", "places"), [(0.0, 0.0, 0), (0.1, 0.08, 1), (0.25, 0.2, 2), (1, 0.4, 4)]
)
def test_schedules_grow_with_progress(progress: float, epsilon: float, places: int) -> None:
    S = torch.arange(8.0)[None]
    hard = train.SCAAT(0.4, constraint="hard", k=4)
    grown = replace(hard, schedule="epsilon").room(S, progress)
    torch.testing.assert_close(grown, epsilon * torch.tensor([[1.0] * 4 + [0.0] * 4]))
    fewer = replace(hard, schedule="k").room(S, progress)
    torch.testing.assert_close(fewer, 0.4 * (torch.arange(8) < places)[None].float())
    assert (hard.room(S, progress) > 0).sum() == 4


def test_stop_at_flip_halts_a_sample_that_is_lost(model: nn.Module) -> None:
    x = images()
    settings = {"epsilon": 0.2, "constraint": "uniform", "random_start": False, "step_size": 0.01}
    friendly = train.SCAAT(stop_at_flip=True, steps=20, **settings)
    moved = friendly.moved(_batch(model, x))
    lost = model(moved).argmax(1) != LABELS
    right = model(x).argmax(1) == LABELS
    assert (lost & right).any()
    assert right.any()
    for i in (lost & right).nonzero()[:, 0].tolist():
        steps = round(((moved - x)[i].abs().max() / 0.01).item())
        before = replace(friendly, steps=steps - 1, stop_at_flip=False).moved(_batch(model, x))
        assert steps < 20
        assert model(before).argmax(1)[i] == LABELS[i]
    wrong = ~right
    torch.testing.assert_close(moved[wrong], x[wrong])


def test_random_ranking_ignores_the_gradient(model: nn.Module) -> None:
    objective = train.SCAAT(0.3, constraint="hard", k=5, ranking="random", steps=0)
    places = [
        (
            objective.moved(replace(_batch(model), generator=torch.Generator().manual_seed(s)))
            != images()
        ).any(1)
        for s in range(40)
    ]
    assert all((p.flatten(1).sum(1) == 5).all() for p in places)
    share = torch.stack(places).double().mean((0, 1))
    assert (share > 0.15).all()
    assert objective.passes() == train.Passes(parameters=2)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"constraint": "softly"}, "constraint='softly', choose one of"),
        ({"divergence": "tv"}, "divergence='tv', choose one of"),
        ({"norm": "l2"}, "bounds each place by itself"),
        ({"schedule": "k"}, "which has no k"),
        ({"ascent": "divergence", "random_start": False}, "no slope at d = 0"),
        ({"epsilon": -1}, "epsilon=-1"),
        ({"weight": -1}, "weight=-1, expected a finite number"),
        ({"weight": math.nan}, "weight=nan"),
        ({"steps": -1}, "steps=-1"),
        ({"constraint": "hard", "k": 99}, "k=99, but a map has 16"),
        ({"k": -1}, "k=-1, expected a whole number of places"),
        ({"k": 2.5}, "k=2.5, expected a whole number of places"),
        ({"threshold": math.nan}, "threshold=nan, expected a finite number"),
        ({"threshold": -1}, "threshold=-1, expected a finite number"),
        ({"threshold": 0.5, "constraint": "uniform"}, "looks at no saliency"),
        ({"ramp": -1, "schedule": "epsilon"}, "ramp=-1, expected a share"),
        ({"ramp": math.nan, "schedule": "epsilon"}, "ramp=nan, expected a share"),
    ],
    ids=str,
)
def test_bad_settings_of_scaat(options: dict, message: str, model: nn.Module) -> None:
    with pytest.raises(SurefootError, match=message):
        train.SCAAT(**options)(model, images(), LABELS)


@pytest.mark.parametrize(
    ("objective", "message"),
    [
        (train.PGD(norm="l1"), "norm='l1', choose one of"),
        (train.TRADES(random_start=False), "starts beside it"),
        (train.FGSM(alpha=2), r"alpha=2, expected a number in \[0, 1\]"),
        (train.FreeAT(norm="l2"), "norm='l2'"),
        (train.SaliencyGuided(fill="corner"), "fill='corner', choose one of"),
        (train.SaliencyGuided(ranking="up"), "ranking='up'"),
        (train.IGNorm(random_start=False), "no slope to climb"),
        (train.IGNorm(points=0), "0 points, expected at least 1"),
        (train.AttributionalRegularizers(temperature=0), "temperature=0, expected"),
        (train.AttributionalRegularizers(label="both"), "label='both'"),
        (train.IGR(train.PGD(-1)), "epsilon=-1"),
        (train.IGR(score="logits"), "score='logits'"),
        (train.AttributionalAT(clean=2), r"clean=2, expected a share, in \[0, 1\]"),
        (train.AttributionalAT(beta=0), "beta=0, expected a positive number, or None"),
        (train.R2ET(h=0), "h=0, expected a number above 0"),
        (train.SmoothedCurvature(alpha=2), "alpha=2"),
        (train.SmoothedCurvature(scale=math.nan), "scale=nan"),
        (train.FreeAT(step_size=-1), "step_size=-1, expected a finite number"),
        (train.IGR(train.Natural()), r"robust is Natural\(\), expected PGD or TRADES"),
        (train.SaliencyGuided(-1), "k=-1, expected a whole number"),
        (train.RightForRightReasons(k=2.5), "k=2.5, expected a whole number"),
        (train.InputGradientAlignment(std=0), "std=0: expected finite numbers"),
        (train.InputGradientAlignment(mean=math.nan), "mean=nan, std=1.0: expected finite"),
        (
            train.InputGradientAlignment(mean=(0.1, 0.2, 0.3)),
            r"mean has shape \(3,\), which does not fit inputs \(4, 2, 4, 4\)",
        ),
        (train.JacobianRegularization(projections=0), "projections=0"),
        (train.RightForRightReasons(annotation="mask"), "'mask' is not in extra"),
        (train.InputGradientAlignment(k=0), "k=0"),
    ],
    ids=repr,
)
def test_bad_settings(objective: train.Objective, message: str, model: nn.Module) -> None:
    if isinstance(objective, train.AttributionalRegularizers | train.IGNorm):
        objective = replace(objective, steps=0)
    with pytest.raises(SurefootError, match=message):
        objective(model, images(), LABELS)


def test_finite_terms_may_have_a_total_that_is_not(model: nn.Module) -> None:
    with pytest.raises(train.NonFiniteLossError, match=r"gradient=[\d.]+, total=inf"):
        train.InputGradientRegularization(1e308)(model, 1e2 * images(), LABELS)


def test_mean_and_deviation_go_along_the_channels() -> None:
    """Dimension 1 of images and records, the last of embeddings."""
    from surefoot.models._classifier import along_channels  # noqa: PLC0415

    mean = torch.tensor([0.1, 0.2])
    for shape, dimension in (((3, 2, 4, 4), 1), ((3, 2), 1), ((3, 5, 2), 2)):
        aligned = along_channels(mean, torch.zeros(shape), "mean").expand(shape)
        for channel in (0, 1):
            assert (aligned.select(dimension, channel) == mean[channel]).all()


def test_a_smooth_model_needs_no_surrogate(model: nn.Module) -> None:
    smooth = nn.Sequential(model[0], model[1], nn.Tanh(), model[3])
    objective = train.InputGradientAlignment(random_start=False)
    found = objective(smooth, images(), LABELS).total
    torch.testing.assert_close(found, replace(objective, beta=None)(smooth, images(), LABELS).total)


def test_a_kink_of_its_own_making_is_told_what_to_do(model: nn.Module) -> None:
    class Kink(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x * (x > 0)

    kinked = nn.Sequential(model[0], model[1], Kink(), model[3])
    with pytest.raises(SurefootError, match=r"pass beta=None.*training needs one of the known"):
        train.InputGradientAlignment()(kinked, images(), LABELS)


def test_regularizers_switch_off_by_themselves(model: nn.Module) -> None:
    both = train.AttributionalRegularizers(0.1, **SMALL)
    names, passes = [], []
    for weights in ({}, {"cacr_weight": 0}, {"wacr_weight": 0}, {"weight": 0}):
        objective = replace(both, **weights)
        names.append(set(objective(model, images(), LABELS).terms))
        passes.append(objective.passes().evaluations - 4)
    label = {"adversarial"}
    assert names == [label | {"cacr", "wacr"}, label | {"wacr"}, label | {"cacr"}, label]
    assert passes == [9, 6, 3, 1]
    assert replace(both, label="clean").passes().evaluations == 4 + 9 + 1


def test_wacr_by_hand() -> None:
    B = torch.tensor([[1.0, -2.0, 3.0, 0.0, 0.0]])
    C = torch.tensor([[4.0, -5.0, -6.0, 0.0, 7.0]])
    torch.testing.assert_close(wacr(B, C), torch.tensor([1 * 4 + 2 * 5 + 6 + 0 + 7.0]))


def test_cacr_by_hand() -> None:
    a, b = torch.tensor([[0.0, math.log(3)]]), torch.tensor([[0.0, 0.0]])
    skewed = -math.log(2) - 0.5 * (math.log(1 / 4) + math.log(3 / 4))
    for maps, expected in (((a, b), -skewed), ((b, a), skewed), ((a, a), 0.0)):
        assert cacr(*maps).item() == pytest.approx(expected, rel=1e-6, abs=1e-12)
    # Channels are summed, with their signs.
    channels = torch.stack([a + 1, -torch.ones(1, 2)], 1)[:, :, None]
    assert cacr(channels, torch.zeros(1, 2, 1, 2)).item() == pytest.approx(-skewed, rel=1e-6)


@pytest.mark.parametrize("places", [784, 128 * 128])
@pytest.mark.parametrize("total", [0.1, 1.0])
def test_divergence_from_uniform_survives_cancellation(places: int, total: float) -> None:
    """KL(U || softmax(a)) -> Var(a) / 2 as a -> 0, where log n alone is a billion times larger."""
    a = torch.randn(1, places, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    a *= total / a.abs().sum()
    half = a.var(correction=0).item() / 2
    assert half < 2e-6
    assert from_uniform(a).item() == pytest.approx(half, rel=2e-3)
    single = a.float()
    naive = -math.log(places) - single.log_softmax(1).mean()
    assert abs(naive.item() - half) > 0.1 * half


def test_cacr_is_taken_in_double_precision() -> None:
    """For float32 maps too, and its gradient reaches them."""
    a = 1e-4 * torch.randn(2, 784, generator=torch.Generator().manual_seed(0))
    b = a.flip(0).clone().requires_grad_(True)
    value = cacr(a, b)
    assert value.dtype == torch.float64
    halves = a.double().var(1, correction=0) / 2
    torch.testing.assert_close(value.detach(), halves.flip(0) - halves, rtol=1e-2, atol=1e-13)
    (slope,) = torch.autograd.grad(value.sum(), b)
    centred = b.detach() - b.detach().mean(1, keepdim=True)
    torch.testing.assert_close(slope, centred / 784, rtol=1e-2, atol=1e-10)


def test_the_plain_cacr_is_nearly_inert_and_the_remedy_is_not() -> None:
    """On maps as large as maps of probabilities are: their entries add up to at most 1."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net = nn.Sequential(nn.Flatten(), nn.Linear(784, 32), nn.ReLU(), nn.Linear(32, 10))
    x = torch.rand(8, 1, 28, 28, generator=torch.Generator().manual_seed(1))
    objective = train.AttributionalRegularizers(0.1, weight=1.0, **SMALL)
    pulls = [
        train.influence(
            replace(objective, temperature=temperature),
            net,
            x,
            torch.arange(8),
            generator=torch.Generator().manual_seed(0),
        )
        for temperature in (1.0, "auto")
    ]
    assert pulls[0]["cacr"] < 1e-3 * pulls[0]["adversarial"]
    assert pulls[1]["cacr"] > 1e-2 * pulls[1]["adversarial"]
    assert pulls[0]["wacr"] == pytest.approx(pulls[1]["wacr"], rel=1e-6)


def test_baseline_path_of_a_standardising_net_is_its_harmonic_number(model: nn.Module) -> None:
    """f(a x) = f(x) makes IG(0 -> x) = H_m x * grad f(x), with m right points."""

    class Standardised(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            flat = x.flatten(1)
            flat = flat - flat.mean(1, keepdim=True)
            return model((flat / flat.std(1, keepdim=True)).view_as(x))

    from surefoot.gradients import Query, input_gradient  # noqa: PLC0415
    from surefoot.train import _paths  # noqa: PLC0415

    x, net = images(), Standardised().eval()
    request = Query(net, torch.zeros_like(x), LABELS, {}, create_graph=True)
    _, (ig,) = _paths.along(request, x, 20, _paths.probability)
    gradient = input_gradient(Query(net, x, LABELS), "probability")
    harmonic = sum(1 / k for k in range(1, 21))
    assert harmonic == pytest.approx(3.5977, abs=5e-5)
    torch.testing.assert_close(ig.detach(), harmonic * x * gradient, rtol=1e-8, atol=1e-12)


def test_change_of_attribution_adds_up_to_the_change_of_the_loss(model: nn.Module) -> None:
    """Completeness: sum IG^loss(x -> x') -> CE(x') - CE(x) as m grows."""
    batch = _batch(model)
    moved = train.PGD(0.1).moved(batch)
    objective = train.IGNorm()
    losses = [
        nn.functional.cross_entropy(model(z), LABELS, reduction="none") for z in (images(), moved)
    ]
    gaps = [
        (objective.change(batch, moved, m)[1].flatten(1).sum(1) - (losses[1] - losses[0])).abs()
        for m in (10, 400)
    ]
    assert (gaps[1] < gaps[0] / 5).all()
    assert (gaps[1] < 2e-3).all()


@pytest.mark.parametrize("chunk", [1, 2, 5, 7, 100])
def test_chunks_do_not_change_a_path(chunk: int, model: nn.Module) -> None:
    for kind in (train.IGSumNorm, train.AttributionalRegularizers):
        objective = kind(0.1, weight=1.0, **SMALL)
        same(objective, replace(objective, chunk=chunk), model)
        assert repr(replace(objective, chunk=chunk)) == repr(objective)


@pytest.mark.parametrize("statistics", [True, False], ids=["training", "none kept"])
def test_chunks_do_not_change_a_path_through_batch_norm(statistics: bool, model: nn.Module) -> None:
    """It takes mean and variance of what goes through at once."""
    norm = nn.BatchNorm1d(6, track_running_stats=statistics).double()
    mixed = nn.Sequential(*model[:2], norm, *model[2:]).train(statistics)
    objective = train.IGSumNorm(0.1, weight=1.0, **SMALL)
    expected, slopes = value_and_slope(objective, copy.deepcopy(mixed), images())
    for chunk in (2, 5):
        # A copy, because running statistics, which the attack goes by, move with each call.
        cut = replace(objective, chunk=chunk)
        found, others = value_and_slope(cut, copy.deepcopy(mixed), images())
        torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)
        torch.testing.assert_close(others, slopes, rtol=1e-9, atol=1e-12)


def test_noise_of_free_training_follows_the_batch(model: nn.Module) -> None:
    objective, x = train.FreeAT(0.1, step_size=0.03), images()
    first = objective(model, x, LABELS)
    first.total.backward()
    noise = first.state["noise"]
    small = objective(model, x[:2], LABELS[:2], state=first.state)
    small.total.backward()
    assert small.state["noise"].shape == x.shape
    torch.testing.assert_close(small.state["noise"][2:], noise[2:])
    assert not torch.equal(small.state["noise"][:2], noise[:2])
    grown = objective(model, torch.cat([x, x]), LABELS.repeat(2), state=first.state)
    assert torch.equal(grown.state["noise"], torch.cat([noise, torch.zeros_like(noise)]))
    with pytest.raises(SurefootError, match="start with state=None"):
        objective(model, x.flatten(1), LABELS, state=first.state)


def test_annotation_does_not_reach_the_model(model: nn.Module) -> None:
    mask = torch.ones(N, 1, 1, 1, dtype=torch.float64)
    objective = train.RightForRightReasons(annotation="A")
    loss = objective(model, images(), LABELS, extra={"A": mask})
    none = objective(model, images(), LABELS, extra={"A": 0 * mask})
    assert loss.terms["reasons"] > 0
    assert none.terms["reasons"] == 0
    assert none.total == none.terms["clean"]


def test_annotation_of_places_goes_to_every_channel(model: nn.Module) -> None:
    """(N, H, W) would broadcast, but with N against C."""
    places = torch.rand(N, 4, 4, generator=torch.Generator().manual_seed(5), dtype=torch.float64)
    objective = train.RightForRightReasons(annotation="A")

    def reasons(A: Tensor) -> Tensor:
        return objective(model, images(), LABELS, extra={"A": A}).terms["reasons"]

    assert (
        reasons(places) == reasons(places[:, None]) == reasons(places[:, None].repeat(1, 2, 1, 1))
    )
    for wrong in (places[:, :3], places[:, 0], places[:, None, None], places[:, 0, 0]):
        with pytest.raises(SurefootError, match=r"does not fit inputs \(4, 2, 4, 4\)"):
            reasons(wrong)


def test_r2et_moves_by_more_than_rounding_in_single_precision(model: nn.Module) -> None:
    """The released h of 1e-3 does not: its curvature in float32 is mostly rounding."""
    smooth = nn.Sequential(model[0], model[1], nn.Tanh(), model[3])

    def errors(h: float) -> float:
        objective = train.R2ET(0.25, h=h)
        exact = objective(smooth.double(), images(), LABELS).terms["curvature"]
        single = objective(smooth.float(), images().float(), LABELS).terms["curvature"]
        return abs(single.double() / exact - 1).item()

    assert errors(1.0) < 1e-4
    assert errors(1e-3) > 20 * errors(1.0)


def test_registry_reads_nested_objectives() -> None:
    objective = train.get("IGR", robust=train.get("TRADES", epsilon=0.1))
    assert repr(objective) == "IGR(TRADES(epsilon=0.1), score='logit')"


def test_curvature_of_a_confident_network_has_a_gradient() -> None:
    """Probabilities that underflow to 0 have a square root of infinite slope."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net = nn.Sequential(nn.Flatten(), nn.Linear(32, 8), nn.ReLU(), nn.Linear(8, 3))
    net[3].weight.data *= 3000
    x = images().float()
    labels = net(x).argmax(1)
    assert (net(x).softmax(1) == 0).any()
    loss = train.SmoothedCurvature()(net, x, labels)
    gradients = torch.autograd.grad(loss.total, list(net.parameters()))
    assert all(torch.isfinite(gradient).all() for gradient in gradients)


@pytest.mark.parametrize(
    ("objective", "says"),
    [
        (train.PGD(0.1, steps=2.5), "steps=2.5, expected a whole number, at least 0"),
        (train.IGSumNorm(0.1, points=2.5), "points=2.5, expected a whole number"),
        (train.JacobianRegularization(projections=1.5), "projections=1.5, expected a whole"),
    ],
)
def test_counts_are_whole_numbers(model: nn.Module, objective: train.Objective, says: str) -> None:
    with pytest.raises(SurefootError, match=says):
        objective(model, images(), LABELS)
