"""Laws that every objective keeps, over the registry."""

import copy
import math
import re
from collections.abc import Callable
from dataclasses import replace
from functools import partial

import pytest
import torch
from torch import Tensor, nn

from surefoot import SurefootError, SurefootWarning, models, train

# Small efforts, and what makes each objective differ from natural training.
CASES = {
    "Natural": {},
    "PGD": {"epsilon": 0.1, "steps": 2},
    "FGSM": {"epsilon": 0.1},
    "FreeAT": {"epsilon": 0.1},
    "TRADES": {"epsilon": 0.1, "steps": 2, "step_size": 0.05},
    "SCAAT": {"epsilon": 0.2, "steps": 2},
    "SaliencyGuided": {},
    "IGNorm": {"epsilon": 0.1, "steps": 2, "points": 3, "attack_points": 2},
    "IGSumNorm": {"epsilon": 0.1, "steps": 2, "points": 3, "attack_points": 2, "weight": 1.0},
    "AttributionalRegularizers": {
        "epsilon": 0.1,
        "steps": 2,
        "points": 3,
        "attack_points": 2,
        "temperature": 0.01,
    },
    "InputGradientAlignment": {"epsilon": 0.1, "steps": 2, "step_size": 0.05},
    "IGR": {"robust": train.PGD(0.1, steps=2), "points": 3},
    "AttributionalAT": {"robust": train.PGD(0.1, steps=2), "points": 2, "steps": 2},
    "LocalGradientAlignment": {"epsilon": 0.1, "l2_weight": 0.1},
    "R2ET": {},
    "SmoothedCurvature": {"scale": 3.0},
    "InputGradientRegularization": {},
    "JacobianRegularization": {"weight": 0.1, "projections": 2},
    "RightForRightReasons": {"weight": 0.1},
}

each_objective = pytest.mark.parametrize(
    "objective", [train.get(name, **options) for name, options in CASES.items()], ids=list(CASES)
)


def test_every_objective_is_tested() -> None:
    assert set(CASES) == set(train.names())


def curved_net(*, norm: bool = False) -> nn.Module:
    """(N, 2, 4, 4) to three classes, float64, with kinks and with curvature."""
    with torch.random.fork_rng():
        torch.manual_seed(3)
        return nn.Sequential(
            nn.Conv2d(2, 3, 3, padding=1),
            nn.BatchNorm2d(3) if norm else nn.Identity(),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(48, 5),
            nn.Tanh(),
            nn.Linear(5, 3),
        ).double()


def batch(samples: int = 4) -> tuple[Tensor, Tensor]:
    source = torch.Generator().manual_seed(1)
    x = torch.rand(samples, 2, 4, 4, generator=source, dtype=torch.float64)
    return x, torch.arange(samples) % 3


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def total(objective: train.Objective, model: nn.Module, seed: int = 0) -> Tensor:
    return objective(model, *batch(), generator=seeded(seed)).total


@each_objective
@pytest.mark.parametrize("training", [False, True], ids=["eval", "train"])
def test_gradient_is_that_of_finite_differences(objective: train.Objective, training: bool) -> None:
    """Attacks and rankings are the same on both sides: they change in jumps, if at all."""
    _check_slope(curved_net(norm=True).train(training), partial(total, objective))


@each_objective
def test_gradient_in_the_embedding_of_tokens(objective: train.Objective) -> None:
    """An attacked embedding is x + d, and its weights move x."""
    tokens, labels = (
        torch.tensor([[3, 1, 0, 6], [2, 2, 5, 4], [1, 6, 4, 3]]),
        torch.tensor([0, 1, 2]),
    )
    model, boundless = text_net(), unbounded(objective)

    def value(net: nn.Module) -> Tensor:
        return boundless(net, tokens, labels, generator=seeded()).total

    _check_slope(model, value)
    on_floats = boundless(model, model.embed(tokens), labels, generator=seeded()).total
    assert torch.equal(value(model), on_floats)
    value(model).backward()
    assert model.module[0].weight.grad.abs().sum(1).ne(0).tolist() == [True] * 7


def text_net() -> models.Classifier:
    """(N, 4) tokens below 7 to three classes, float64, by way of embeddings (N, 4, 2)."""
    with torch.random.fork_rng():
        torch.manual_seed(3)
        layers = (
            nn.Flatten(),
            nn.Linear(8, 6),
            nn.ReLU(),
            nn.Linear(6, 5),
            nn.Tanh(),
            nn.Linear(5, 3),
        )
        net = nn.Sequential(nn.Embedding(7, 2), *layers).double().eval()
        return models.Classifier(net, embedding="0")


def unbounded(objective: train.Objective) -> train.Objective:
    if isinstance(objective, train.IGR):
        return replace(objective, robust=unbounded(objective.robust))
    free = {"bounds": (-math.inf, math.inf)} if hasattr(objective, "bounds") else {}
    return replace(objective, **free)


def test_tokens_say_what_they_need() -> None:
    tokens, labels = torch.tensor([[3, 1, 0, 6]]), torch.tensor([0])
    model = text_net()
    with pytest.raises(
        SurefootError, match=r"which have no bounds but \(-inf, inf\).*leave bounds"
    ):
        train.PGD(0.1)(model, tokens, labels)
    with pytest.raises(
        SurefootError, match=r"expected floating point.*Classifier\(model, embedding="
    ):
        train.Natural()(model.module, tokens, labels)
    with pytest.raises(SurefootError, match=r"tokens span \[1, 7\]"):
        train.Natural()(model, tokens + 1, labels)


def test_influence_counts_the_embedding() -> None:
    tokens, labels = torch.tensor([[3, 1, 0, 6]]), torch.tensor([0])
    model = text_net()
    with torch.no_grad():
        pull = train.influence(train.Natural(), model, tokens, labels)["clean"]
    train.Natural()(model, tokens, labels).total.backward()
    squares = sum(weight.grad.square().sum() for weight in model.parameters())
    assert model.module[0].weight.grad.any()
    assert pull == pytest.approx(math.sqrt(squares))


def _check_slope(model: nn.Module, evaluate: Callable[[nn.Module], Tensor]) -> None:
    weights = list(model.parameters())

    def value(step: float, way: list[Tensor]) -> float:
        moved = copy.deepcopy(model)
        with torch.no_grad():
            for weight, direction in zip(moved.parameters(), way, strict=True):
                weight.add_(step * direction)
        return evaluate(moved).item()

    slope = torch.autograd.grad(
        evaluate(copy_of := copy.deepcopy(model)), list(copy_of.parameters())
    )
    for seed in range(2):
        source = seeded(seed)
        way = [torch.randn(w.shape, generator=source, dtype=w.dtype) for w in weights]
        h = 1e-6
        expected = (value(h, way) - value(-h, way)) / (2 * h)
        found = sum(float((g * d).sum()) for g, d in zip(slope, way, strict=True))
        assert found == pytest.approx(expected, rel=2e-6, abs=1e-8)


@each_objective
def test_terms_and_weights_make_the_total(objective: train.Objective) -> None:
    model = curved_net().eval()
    loss = objective(model, *batch(), generator=seeded())
    parts = objective.evaluate(train.Batch(model, *batch(), {}, seeded())).terms
    assert not any(value.requires_grad for value in loss.terms.values())
    assert loss.total.shape == ()
    assert loss.total.requires_grad
    expected = sum(parts[name][0] * value for name, value in loss.terms.items())
    torch.testing.assert_close(loss.total.detach(), expected, rtol=1e-12, atol=0)
    assert all(value.shape == () for value in loss.terms.values())
    assert all(value != 0 for value in loss.terms.values())


@each_objective
def test_model_is_left_as_it_was(objective: train.Objective) -> None:
    model = curved_net(norm=True).train()
    model[0].eval()
    model[4].weight.requires_grad_(False)
    model[6].weight.grad = torch.ones_like(model[6].weight)
    calls = []
    model[2].register_forward_hook(lambda *_: calls.append(1))
    flags = [module.training for module in model.modules()]
    weights = [weight.detach().clone() for weight in model.parameters()]
    objective(model, *batch(), generator=seeded())
    assert [module.training for module in model.modules()] == flags
    for weight, before in zip(model.parameters(), weights, strict=True):
        assert torch.equal(weight, before)
    assert [w.grad is None for w in model.parameters()] == [
        w is not model[6].weight for w in model.parameters()
    ]
    assert (model[6].weight.grad == 1).all()
    assert not model[4].weight.requires_grad
    assert len(model[2]._forward_hooks) == 1
    assert calls


@each_objective
def test_buffers_are_left_alone_in_evaluation_mode(objective: train.Objective) -> None:
    model = curved_net(norm=True).eval()
    before = copy.deepcopy(model.state_dict())
    objective(model, *batch(), generator=seeded())
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


@each_objective
def test_inner_passes_do_not_touch_batch_statistics(objective: train.Objective) -> None:
    """`num_batches_tracked` counts the passes in training mode: those of the outer loss."""
    model = curved_net(norm=True).train()
    objective(model, *batch(), generator=seeded())
    outer = objective.passes().parameters + _outer_second(objective)
    assert int(model[1].num_batches_tracked) == outer


def _outer_second(objective: train.Objective) -> int:
    """Forward passes with a graph to the parameters; a path's points go through one by one."""
    paths = {"IGNorm": 3, "IGSumNorm": 3, "AttributionalRegularizers": 9, "IGR": 6}
    paths |= {"AttributionalAT": 4}
    single = {"InputGradientAlignment": 2, "LocalGradientAlignment": 2, "R2ET": 2}
    single |= {"SmoothedCurvature": 1, "InputGradientRegularization": 1}
    single |= {"JacobianRegularization": 1, "RightForRightReasons": 1}
    return {**paths, **single}.get(type(objective).__name__, 0)


@each_objective
def test_passes_are_counted(objective: train.Objective) -> None:
    model = curved_net().eval()
    rows = []
    model.register_forward_hook(lambda module, given, logits: rows.append(len(logits)))
    objective(model, *batch(), generator=seeded())
    assert sum(rows) == len(batch()[0]) * objective.passes().evaluations


@each_objective
def test_same_seed_same_loss_and_global_state_untouched(objective: train.Objective) -> None:
    model = curved_net().eval()
    before = torch.get_rng_state()
    first, again, other = (total(objective, model, seed) for seed in (1, 1, 2))
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(first, again)
    assert torch.equal(first, other) == (type(objective).__name__ in _WITHOUT_CHANCE)


_WITHOUT_CHANCE = {
    "Natural",
    "FGSM",
    "FreeAT",
    "R2ET",
    "SmoothedCurvature",
    "InputGradientRegularization",
    "RightForRightReasons",
}


@each_objective
def test_without_a_generator_the_default_one_is_used(objective: train.Objective) -> None:
    model = curved_net().eval()
    with torch.random.fork_rng():
        torch.manual_seed(7)
        alone = objective(model, *batch()).total
    torch.testing.assert_close(alone, total(objective, model, 7))


@pytest.mark.parametrize("name", sorted(_WITHOUT_CHANCE))
def test_total_is_the_mean_over_samples(name: str) -> None:
    """In evaluation mode samples are independent, as far as draws do not differ."""
    objective, model = train.get(name, **CASES[name]), curved_net().eval()
    x, y = batch()
    each = [objective(model, x[i : i + 1], y[i : i + 1]).total for i in range(len(x))]
    torch.testing.assert_close(objective(model, x, y).total, torch.stack(each).mean())


@each_objective
def test_usable_in_a_bare_loop(objective: train.Objective) -> None:
    model = curved_net(norm=True).train()
    optimiser = torch.optim.SGD(model.parameters(), lr=0.05)
    source, state, before = seeded(), None, train.Natural()(model, *batch()).total.item()
    for step in range(12):
        loss = objective(model, *batch(), generator=source, progress=step / 12, state=state)
        optimiser.zero_grad()
        loss.total.backward()
        optimiser.step()
        state = loss.state
    assert train.Natural()(model, *batch()).total.item() < before - 0.02


@each_objective
@pytest.mark.parametrize("context", [torch.no_grad, torch.inference_mode])
def test_value_without_a_graph_where_gradients_are_off(
    objective: train.Objective, context: Callable[[], object]
) -> None:
    model = curved_net().eval()
    expected = total(objective, model)
    with context():
        found = objective(model, *batch(), generator=seeded())
    assert not found.total.requires_grad
    torch.testing.assert_close(found.total, expected.detach(), rtol=1e-12, atol=0)


@each_objective
def test_extra_inputs_reach_the_model(objective: train.Objective) -> None:
    class Scaled(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = curved_net()

        def forward(self, x: Tensor, scale: Tensor) -> Tensor:
            return self.net(x * scale[:, None, None, None])

    model, ones = Scaled().eval(), torch.ones(4, dtype=torch.float64)
    x, y = batch()
    same = objective(model, x, y, extra={"scale": ones}, generator=seeded()).total
    torch.testing.assert_close(same, total(objective, model.net), rtol=1e-12, atol=0)
    other = objective(model, x, y, extra={"scale": 0.5 * ones}, generator=seeded()).total
    assert not torch.equal(same, other)


@each_objective
def test_records_and_tokens_work(objective: train.Objective) -> None:
    cases = (((32,), None), ((8, 4), "tokens"), ((8, 4), "signal"), ((2, 2, 2, 4), None))
    for shape, layout in cases:
        x, y = batch()
        net = nn.Sequential(nn.Flatten(), nn.Linear(32, 6), nn.ReLU(), nn.Linear(6, 3)).double()
        model = models.Classifier(net, layout=layout)
        loss = objective(model, x.view(4, *shape), y, generator=seeded())
        loss.total.backward()
        assert all(torch.isfinite(weight.grad).all() for weight in model.parameters())


@each_objective
def test_lower_precision_is_close_or_at_least_finite(objective: train.Objective) -> None:
    """Under autocast logits come in 16 bits, where a divergence would turn negative."""
    model, (x, y) = curved_net().float().eval(), batch()
    full = objective(model, x.float(), y, generator=seeded()).terms
    with torch.autocast("cpu", torch.bfloat16):
        loss = objective(model, x.float(), y, generator=seeded())
    loss.total.backward()
    for name, value in full.items():
        assert loss.terms[name].item() == pytest.approx(value.item(), rel=0.05, abs=2e-5)
    assert loss.total.dtype == torch.float32
    half = objective(model.bfloat16(), x.bfloat16(), y, generator=seeded())
    half.total.backward()
    assert half.total.item() == pytest.approx(loss.total.item(), rel=0.1)


@each_objective
def test_one_label_for_all(objective: train.Objective) -> None:
    model, (x, _) = curved_net().eval(), batch()
    one, many = (
        objective(model, x, y, generator=seeded()).total for y in (1, torch.ones(4).long())
    )
    assert torch.equal(one, many)


@each_objective
def test_bad_input_raises(objective: train.Objective) -> None:
    model, (x, y) = curved_net().eval(), batch()
    for labels in (y + 1, y - 1):
        with pytest.raises(SurefootError, match=r"^labels spans .* in \[0, 2\]"):
            objective(model, x, labels)
    with pytest.raises(SurefootError, match="labels has dtype torch"):
        objective(model, x, y.float())
    with pytest.raises(SurefootError, match="labels has shape"):
        objective(model, x, y[:2])
    with pytest.raises(SurefootError, match="expected floating point"):
        objective(model, (x * 255).to(torch.uint8), y)
    with pytest.raises(SurefootError, match="NaN or infinite"):
        objective(model, x / 0, y)
    with pytest.raises(SurefootError, match="progress=2"):
        objective(model, x, y, progress=2)
    with pytest.raises(SurefootError, match=r"expected a torch\.nn\.Module"):
        objective(torch.nn.functional.relu, x, y)
    with pytest.raises(SurefootError, match=r"extra\['mask'\] is \(1,\)"):
        objective(model, x, y, extra={"mask": torch.ones(1)})


@each_objective
def test_inputs_outside_the_bounds_raise(objective: train.Objective) -> None:
    model, (x, y) = curved_net().eval(), batch()
    inner = getattr(objective, "robust", objective)
    if not hasattr(inner, "bounds"):
        assert torch.isfinite(objective(model, 3 * x, y).total)
        return
    with pytest.raises(SurefootError, match="leave bounds"):
        objective(model, 3 * x, y)
    wide = replace(inner, bounds=(torch.zeros(2, 1, 1), 3))
    objective = wide if inner is objective else replace(objective, robust=wide)
    assert torch.isfinite(objective(model, 3 * x, y).total)


@each_objective
def test_a_term_that_is_not_finite_is_named(objective: train.Objective) -> None:
    model = curved_net().eval()
    nn.init.constant_(model[6].bias, torch.nan)
    with pytest.raises(train.NonFiniteLossError, match=r"=nan") as caught:
        objective(model, *batch(), generator=seeded())
    assert set(caught.value.terms) >= {re.search(r"(\w+)=nan", str(caught.value))[1]}


@each_objective
def test_recipe(objective: train.Objective) -> None:
    assert replace(objective) == objective
    assert hash(replace(objective)) == hash(objective)
    assert repr(objective).startswith(type(objective).__name__)
    assert train.parse(repr(objective)) == objective
    with pytest.raises(SurefootError, match="has no setting 'epsilom'"):
        train.get(type(objective).__name__, epsilom=1)


@each_objective
def test_influence_is_the_norm_of_each_terms_gradient(objective: train.Objective) -> None:
    model = curved_net().eval()
    pulls = train.influence(objective, model, *batch(), generator=seeded())
    parts = objective.evaluate(train.Batch(model, *batch(), {}, seeded())).terms
    assert list(pulls) == list(parts)
    for name, (weight, value) in parts.items():
        slopes = torch.autograd.grad(
            value, list(model.parameters()), retain_graph=True, materialize_grads=True
        )
        square = sum(slope.square().sum() for slope in slopes)
        assert pulls[name] == pytest.approx(weight * square.sqrt().item(), rel=1e-12)
    assert all(weight.grad is None for weight in model.parameters())


def test_unknown_names_suggest_close_ones() -> None:
    with pytest.raises(SurefootError, match="did you mean TRADES"):
        train.get("TRADE")


def test_units_times_counts() -> None:
    passes = 2 * train.Passes(input_gradient=3, second_parameters=1) + train.Passes(forward=-1)
    assert passes.evaluations == 7
    units = {"forward": 1.0, "input_gradient": 3.0, "second_parameters": 10.0}
    assert passes.seconds(units) == 6 * 3 + 2 * 10 - 1


def test_a_network_that_ends_in_softmax_is_noticed_in_training() -> None:
    net = nn.Sequential(nn.Flatten(), nn.Linear(32, 3), nn.Softmax(1)).double()
    with pytest.warns(SurefootWarning, match="softmax of them is taken again"):
        train.Natural()(net, *batch())
