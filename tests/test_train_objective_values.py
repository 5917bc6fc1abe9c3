"""Every objective's value against a second implementation, in plain autograd, sample by sample."""

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from surefoot import train

SEED = 5
N, SHAPE, CLASSES = 4, (2, 3, 3), 3


def net(*, activation: type[nn.Module] = nn.ReLU) -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(2)
        layers = nn.Flatten(), nn.Linear(18, 7), activation(), nn.Linear(7, CLASSES)
        model = nn.Sequential(*layers).double().eval()
        for weight in model.parameters():
            nn.init.normal_(weight, std=0.7)
        return model


def batch() -> tuple[Tensor, Tensor]:
    source = torch.Generator().manual_seed(1)
    x = 0.3 + 0.4 * torch.rand(N, *SHAPE, generator=source, dtype=torch.float64)
    return x, torch.tensor([0, 2, 1, 1])


def uniform() -> Tensor:
    source = torch.Generator().manual_seed(SEED)
    return torch.rand(N, *SHAPE, generator=source, dtype=torch.float64)


def terms(objective: train.Objective, model: nn.Module, **more: object) -> dict[str, float]:
    x, y = batch()
    source = torch.Generator().manual_seed(SEED)
    loss = objective(model, x, y, generator=source, **more)
    values = {name: float(value) for name, value in loss.terms.items()}
    weights = dict(objective.evaluate(_checked(model)).terms)
    total = sum(weights[name][0] * value for name, value in values.items())
    assert float(loss.total.detach()) == pytest.approx(total, rel=1e-12)
    return values


def _checked(model: nn.Module) -> train.Batch:
    x, y = batch()
    source = torch.Generator().manual_seed(SEED)
    return train.Batch(model, x, y, {}, source)


def agree(found: dict[str, float], **expected: float | Tensor) -> None:
    assert {name: pytest.approx(float(value), rel=1e-9) for name, value in expected.items()} == (
        found
    )


def samples(model: nn.Module, x: Tensor, y: Tensor):
    """(one input (1, ...), its label) after another."""
    return ((x[i : i + 1], int(y[i])) for i in range(len(x)))


def ce(model: nn.Module, x: Tensor, label: int) -> Tensor:
    return -model(x).log_softmax(1)[0, label]


def mean(each: list[Tensor]) -> Tensor:
    return torch.stack([value.detach().reshape(()) for value in each]).mean()


def slope(value: Callable[[Tensor], Tensor], at: Tensor) -> Tensor:
    at = at.detach().clone().requires_grad_(True)
    return torch.autograd.grad(value(at), at)[0]


def rise(value: Callable[[Tensor], Tensor], x: Tensor, start: Tensor, room, steps: int, size):
    """Projected sign ascent of one sample, written out."""
    points = start
    for _ in range(steps):
        points = points + size * slope(value, points).sign()
        points = torch.min(torch.max(points, x - room), x + room).clamp(0, 1)
    return points


def ig(value, start: Tensor, end: Tensor, m: int) -> Tensor:
    """(end - start) times the mean of the gradients at m right points, with a graph."""
    total = torch.zeros_like(start)
    for k in range(1, m + 1):
        z = start + (k / m) * (end - start)
        z = z if z.requires_grad else z.requires_grad_(True)
        total = total + torch.autograd.grad(value(z), z, create_graph=True)[0]
    return (end - start) * total / m


def kl(p: Tensor, q: Tensor) -> Tensor:
    return (p * (p.log() - q.log())).sum()


@pytest.fixture
def model() -> nn.Module:
    return net()


def noisy(x: Tensor, epsilon: float) -> Tensor:
    return x + epsilon * (2 * uniform() - 1)


def attacked(model: nn.Module, epsilon=0.1, steps=3, size=0.04) -> list[tuple[Tensor, Tensor, int]]:
    """(x, x', label) of each sample under PGD."""
    x, y = batch()
    start = noisy(x, epsilon)
    found = []
    for i, (one, label) in enumerate(samples(model, x, y)):
        moved = rise(
            lambda z, y=label: ce(model, z, y), one, start[i : i + 1], epsilon, steps, size
        )
        found.append((one, moved, label))
    return found


def clean(model: nn.Module) -> Tensor:
    return mean([ce(model, one, label) for one, label in samples(model, *batch())])


def test_natural(model: nn.Module) -> None:
    agree(terms(train.Natural(), model), clean=clean(model))


def test_pgd(model: nn.Module) -> None:
    expected = mean([ce(model, moved, label) for _, moved, label in attacked(model)])
    found = terms(train.PGD(0.1, steps=3, step_size=0.04), model)
    agree(found, adversarial=expected)
    assert found["adversarial"] > float(clean(model)) + 0.05


def test_pgd_in_l2(model: nn.Module) -> None:
    x, y = batch()
    each = []
    for one, label in samples(model, x, y):
        g = slope(lambda z, y=label: ce(model, z, y), one)
        moved = one + 0.2 * g / g.norm()
        each.append(ce(model, moved, label))
    objective = train.PGD(0.2, steps=1, step_size=0.5, norm="l2", random_start=False)
    agree(terms(objective, model), adversarial=mean(each))


def test_fgsm(model: nn.Module) -> None:
    x, y = batch()
    each = []
    for one, label in samples(model, x, y):
        g = slope(lambda z, y=label: ce(model, z, y), one)
        each.append(ce(model, one + 0.1 * g.sign(), label))
    objective = train.FGSM(0.1, alpha=0.25)
    agree(terms(objective, model), adversarial=mean(each), clean=clean(model))
    x, y = batch()
    total = 0.25 * clean(model) + 0.75 * mean(each)
    assert objective(model, x, y).total.item() == pytest.approx(float(total), rel=1e-12)


def test_trades(model: nn.Module) -> None:
    x, y = batch()
    source = torch.Generator().manual_seed(SEED)
    start = x + 0.001 * torch.randn(x.shape, generator=source, dtype=x.dtype)
    each = []
    for i, (one, _) in enumerate(samples(model, x, y)):
        p = model(one).softmax(1).detach()
        apart = lambda z, p=p: kl(p, model(z).softmax(1))  # noqa: E731
        moved = rise(apart, one, start[i : i + 1], 0.1, 3, 0.04)
        each.append(kl(p, model(moved).softmax(1)))
    found = terms(train.TRADES(0.1, steps=3, step_size=0.04), model)
    agree(found, clean=clean(model), divergence=mean(each))
    assert found["divergence"] > 1e-3


def test_free_adversarial_training(model: nn.Module) -> None:
    x, y = batch()
    objective = train.FreeAT(0.1, step_size=0.06)
    first = objective(model, x, y)
    assert first.total.item() == pytest.approx(float(clean(model)), rel=1e-12)
    assert not first.state["noise"].any()
    first.total.backward()
    g = torch.cat([slope(lambda z, y=y: ce(model, z, y), one) for one, y in samples(model, x, y)])
    torch.testing.assert_close(first.state["noise"], 0.06 * g.sign())
    second = objective(model, x, y, state=first.state)
    moved = x + 0.06 * g.sign()
    expected = mean([ce(model, one, label) for one, label in samples(model, moved, y)])
    assert second.total.item() == pytest.approx(float(expected), rel=1e-12)
    second.total.backward()
    again = torch.cat(
        [slope(lambda z, y=y: ce(model, z, y), one) for one, y in samples(model, moved, y)]
    )
    expected = (0.06 * g.sign() + 0.06 * again.sign()).clamp(-0.1, 0.1)
    torch.testing.assert_close(second.state["noise"], expected)
    torch.testing.assert_close(first.state["noise"], 0.06 * g.sign())


def saliency(model: nn.Module, one: Tensor, label: int) -> Tensor:
    """The channel mean of the gradient of the label's logit, (3, 3)."""
    return slope(lambda z: model(z)[0, label], one)[0].mean(0)


@pytest.mark.parametrize("ranking", ["signed", "absolute"])
@pytest.mark.parametrize("fill", ["random", "mean", 0.25])
def test_saliency_guided(model: nn.Module, ranking: str, fill: str | float) -> None:
    x, y = batch()
    each = []
    for i, (one, label) in enumerate(samples(model, x, y)):
        s = saliency(model, one, label).flatten()
        s = s.abs() if ranking == "absolute" else s
        masked = one.clone()
        for place in s.argsort()[:5].tolist():
            for channel in range(2):
                values = one[0, channel]
                filled = {
                    "random": values.min()
                    + (values.max() - values.min()) * uniform()[i, channel].flatten()[place],
                    "mean": values.mean(),
                }.get(fill, fill)
                masked[0, channel].view(-1)[place] = filled
        each.append(kl(model(one).softmax(1), model(masked).softmax(1)))
    found = terms(train.SaliencyGuided(5, ranking=ranking, fill=fill), model)
    agree(found, clean=clean(model), divergence=mean(each))


def rooms(s: Tensor, epsilon: float, options: dict[str, object]) -> Tensor:
    """eps_i of places (3, 3), written out."""
    s, n = s.abs().flatten(), s.numel()
    ranks = [sum(bool(other < value) for other in s) for value in s]
    tau = options.get("threshold")
    room = []
    for value, rank in zip(s, ranks, strict=True):
        if tau is not None:
            ratio = (value / (tau * s.max())).item()
            soft = options["constraint"] == "soft"
            room.append(epsilon * (max(0.0, 1 - ratio) if soft else float(ratio < 1)))
        elif options["constraint"] == "hard":
            room.append(epsilon * float(rank < round(options.get("k", 0.5) * n)))
        elif options["constraint"] == "soft":
            room.append(epsilon * (1 - rank / (n - 1)))
        else:
            room.append(epsilon)
    return torch.tensor(room, dtype=torch.float64).view(1, 1, 3, 3)


DIVERGENCES = {
    "kl": lambda p, q, label: kl(p, q),
    "js": lambda p, q, label: (kl(p, (p + q) / 2) + kl(q, (p + q) / 2)) / 2,
    "ce": lambda p, q, label: -q[0, label].log(),
}


@pytest.mark.parametrize(
    "options",
    [
        {"constraint": "soft"},
        {"constraint": "hard", "divergence": "js"},
        {"constraint": "hard", "k": 0.8, "divergence": "ce"},
        {"constraint": "uniform"},
        {"constraint": "hard", "threshold": 0.4},
        {"constraint": "soft", "threshold": 0.9, "ascent": "divergence"},
        {"constraint": "soft", "ascent": "divergence", "divergence": "js"},
        {"constraint": "soft", "random_start": False},
        {"constraint": "hard", "steps": 0},
    ],
    ids=str,
)
def test_scaat(model: nn.Module, options: dict[str, object]) -> None:
    x, y = batch()
    kind, steps = options.get("divergence", "kl"), options.get("steps", 3)
    each = []
    for i, (one, label) in enumerate(samples(model, x, y)):
        room = rooms(saliency(model, one, label), 0.1, options)
        p = model(one).softmax(1).detach()
        start = one + room * (2 * uniform()[i : i + 1] - 1)
        start = start if options.get("random_start", True) else one

        def value(z: Tensor, p: Tensor = p, label: int = label) -> Tensor:
            if options.get("ascent") == "divergence":
                return DIVERGENCES[kind](p, model(z).softmax(1), label)
            return ce(model, z, label)

        moved = rise(value, one, start, room, steps, 0.04)
        each.append(DIVERGENCES[kind](model(one).softmax(1), model(moved).softmax(1), label))
    objective = train.SCAAT(0.1, **{"steps": 3, "step_size": 0.04, **options})
    found = terms(objective, model)
    agree(found, clean=clean(model), divergence=mean(each))
    assert found["divergence"] > 1e-5


def stretch(model: nn.Module, weights: tuple[float, float], points: int = 2):
    """(x, x', label) where x' maximises w_1 CE(x') + w_2 ||IG(x -> x')||_1, written out."""
    x, y = batch()
    start = noisy(x, 0.1)
    for i, (one, label) in enumerate(samples(model, x, y)):

        def value(z: Tensor, one: Tensor = one, label: int = label) -> Tensor:
            G = ig(lambda at: ce(model, at, label), one, z, points)
            return weights[0] * ce(model, z, label) + weights[1] * G.abs().sum()

        yield one, rise(value, one, start[i : i + 1], 0.1, 2, 0.06), label


PATHS = {"steps": 2, "step_size": 0.06, "attack_points": 2, "points": 3}


@pytest.fixture
def smooth_model() -> nn.Module:
    return net(activation=nn.Tanh)


def lengths(model: nn.Module, found: list[tuple[Tensor, Tensor, int]], m: int = 3) -> Tensor:
    return mean(
        [
            ig(lambda at, y=label: ce(model, at, y), one, moved, m).abs().sum()
            for one, moved, label in found
        ]
    )


def test_ig_norm(smooth_model: nn.Module) -> None:
    found = list(stretch(smooth_model, (0.0, 1.0)))
    objective = train.IGNorm(0.1, weight=0.7, **PATHS)
    norm = lengths(smooth_model, found)
    agree(terms(objective, smooth_model), clean=clean(smooth_model), norm=norm)


def test_ig_sum_norm(smooth_model: nn.Module) -> None:
    model = smooth_model
    found = list(stretch(model, (1.0, 0.7)))
    objective = train.IGSumNorm(0.1, weight=0.7, **PATHS)
    adversarial = mean([ce(model, moved, label) for _, moved, label in found])
    agree(terms(objective, model), adversarial=adversarial, norm=lengths(model, found))


def regularisers(model: nn.Module, found, m: int, temperature: float) -> tuple[Tensor, Tensor]:
    """CACR and WACR, entry by entry."""
    skewed, weighed = [], []
    for one, moved, label in found:
        zero = torch.zeros_like(one)
        probability = lambda z, c=label: model(z).softmax(1)[0, c]  # noqa: E731

        def other(z: Tensor, label: int = label) -> Tensor:
            p = model(z).softmax(1)[0]
            return max((p[c] for c in range(CLASSES) if c != label), key=Tensor.item)

        B = ig(probability, zero, one, m)
        C = -ig(lambda z, y=label: ce(model, z, y), one, moved, m)
        total = zero.sum()
        for b, c in zip(B.flatten(), C.flatten(), strict=True):
            total = total + (b * c if b.sign() == c.sign() else c.abs())
        weighed.append(total)
        kls = []
        for value in (other, probability):
            a = ig(value, zero, moved, m)[0].sum(0).flatten() / temperature
            q = a.softmax(0)
            kls.append(sum((1 / 9) * torch.log((1 / 9) / q_i) for q_i in q))
        skewed.append(kls[0] - kls[1])
    return mean(skewed), mean(weighed)


@pytest.mark.parametrize("temperature", [1.0, 0.05])
def test_attributional_regularizers(smooth_model: nn.Module, temperature: float) -> None:
    model = smooth_model
    found = list(stretch(model, (1.0, 0.7)))
    objective = train.AttributionalRegularizers(
        0.1, weight=0.7, wacr_weight=0.3, temperature=temperature, **PATHS
    )
    cacr, wacr = regularisers(model, found, 3, temperature)
    adversarial = mean([ce(model, moved, label) for _, moved, label in found])
    values = terms(objective, model)
    assert values.pop("cacr") == pytest.approx(float(cacr), rel=1e-7)
    agree(values, adversarial=adversarial, wacr=wacr)
    parts = terms(replace(objective, label="clean", cacr_weight=0), model)
    agree(parts, clean=clean(model), wacr=wacr)


def test_automatic_temperature_is_the_spread_of_the_maps(smooth_model: nn.Module) -> None:
    settings = {"weight": 0.7, "random_start": False, "wacr_weight": 0, **PATHS}
    auto = train.AttributionalRegularizers(0.1, temperature="auto", **settings)
    for one, moved, label in _unkicked(smooth_model, settings):
        p = smooth_model(moved).softmax(1)[0]
        zero, others = torch.zeros_like(one), [c for c in range(CLASSES) if c != label]
        runner_up = max(others, key=lambda c, p=p: p[c].item())
        # The runner-up may change along the path; here it does not.
        spread = [
            ig(lambda z, c=c: smooth_model(z).softmax(1)[0, c], zero, moved, 3)[0].sum(0)
            for c in (label, runner_up)
        ]
        square = sum(a.var(correction=0).item() for a in spread) / 2
        fixed = replace(auto, temperature=square**0.5)
        pair = [o(smooth_model, one, label).terms["cacr"] for o in (auto, fixed)]
        torch.testing.assert_close(*pair, rtol=1e-9, atol=0)
        assert abs(float(pair[0])) > 0.01


def _unkicked(model: nn.Module, settings: dict[str, object]):
    x, y = batch()
    for one, label in samples(model, x, y):

        def value(z: Tensor, one: Tensor = one, label: int = label) -> Tensor:
            G = ig(lambda at: ce(model, at, label), one, z, 2)
            return ce(model, z, label) + settings["weight"] * G.abs().sum()

        yield one, rise(value, one, one, 0.1, 2, 0.06), label


def distances(model: nn.Module, points: Tensor, label: int, seen=None):
    """d(x, g_y) and d(x, g_c) on a softplus twin of the model, with a graph."""
    twin = nn.Sequential(model[0], model[1], nn.Softplus(beta=50), model[3])
    z = points if points.requires_grad else points.detach().clone().requires_grad_(True)
    logits = twin(z)[0]
    other = max((c for c in range(CLASSES) if c != label), key=lambda c: logits[c].item())
    found = []
    for c in (label, other):
        g = torch.autograd.grad(logits[c], z, create_graph=True)[0].flatten()
        x = ((z - 0.5) / 0.2).flatten()
        if seen is not None:
            g, x = g[seen], x[seen]
        found.append(1 - (g @ x) / (g.norm() * x.norm()))
    return found


def test_input_gradient_alignment(model: nn.Module) -> None:
    x, y = batch()
    start = noisy(x, 0.1)
    aligned, adversarial = [], []
    for i, (one, label) in enumerate(samples(model, x, y)):
        begin = start[i : i + 1]
        seen = slope(lambda z, c=label: model(z)[0, c], begin).flatten().abs().argsort()[-6:]

        def value(z: Tensor, label: int = label, seen: Tensor = seen) -> Tensor:
            d, other = distances(model, z, label, seen)
            return torch.log(1 + torch.exp(-(other - d)))

        moved = rise(value, one, begin, 0.1, 2, 0.06)
        here, there = distances(model, one, label), distances(model, moved, label)
        gap = min(here[1], there[1]) - max(here[0], there[0])
        aligned.append(torch.log(1 + torch.exp(-gap)))
        adversarial.append(ce(model, moved, label))
    objective = train.InputGradientAlignment(
        0.1, k=6, mean=(0.5, 0.5), std=0.2, steps=2, step_size=0.06
    )
    agree(terms(objective, model), adversarial=mean(adversarial), alignment=mean(aligned))


@pytest.mark.parametrize("robust", [train.PGD, train.TRADES])
def test_igr(model: nn.Module, robust: type[train.PGD]) -> None:
    base = robust(0.1, steps=3, step_size=0.04)
    moved = base.moved(_checked(model))
    each = []
    for i, (one, label) in enumerate(samples(model, *batch())):
        zero = torch.zeros_like(one)
        logit = lambda z, c=label: model(z)[0, c]  # noqa: E731
        a, b = (ig(logit, zero, end, 4).flatten() for end in (one, moved[i : i + 1]))
        each.append(1 - (a @ b) / (a.norm() * b.norm()))
    found = terms(train.IGR(base, points=4), model)
    assert found.pop("cosine") == pytest.approx(float(mean(each)), rel=1e-7)
    assert found == pytest.approx(terms(base, model), rel=1e-9)


@pytest.mark.parametrize("robust", [train.PGD, train.TRADES])
def test_attributional_at(smooth_model: nn.Module, robust: type[train.PGD]) -> None:
    """On a smooth network, which needs no twin; the attack is redone in plain autograd."""
    model = smooth_model
    base = robust(0.1, steps=2, step_size=0.04)
    objective = train.AttributionalAT(
        base, points=3, clean=0.25, steps=2, step_size=0.06, beta=None, weight=2.0
    )
    checked = _checked(model)
    x, y = batch()
    base.moved(checked)  # draws its start before the attack on the map draws its own
    begins = (x + 0.1 * (2 * checked.uniform() - 1)).clamp(0, 1)
    each = []
    for i, (one, label) in enumerate(samples(model, *batch())):
        zero = torch.zeros_like(one)
        logit = lambda z, c=label: model(z)[0, c]  # noqa: E731
        here = ig(logit, zero, one, 3).flatten().detach()

        def turned(z: Tensor, here=here, zero=zero, logit=logit) -> Tensor:
            there = ig(logit, zero, z, 3).flatten()
            return 1 - (here @ there) / (here.norm() * there.norm())

        moved = rise(turned, one, begins[i : i + 1], 0.1, 2, 0.06)
        each.append(turned(moved).detach())
    loss = objective(model, x, y, generator=torch.Generator().manual_seed(SEED))
    found = {name: float(value) for name, value in loss.terms.items()}
    assert found.pop("cosine") == pytest.approx(float(mean(each)), rel=1e-7)
    predicted = terms(base, model)
    plain = float(clean(model))
    assert found == pytest.approx({"clean": plain, **predicted}, rel=1e-9)
    weights = {name: float(w) for name, (w, _) in base.evaluate(_checked(model)).terms.items()}
    expected = 0.25 * plain + 0.75 * sum(weights[name] * value for name, value in predicted.items())
    assert loss.total.item() == pytest.approx(expected + 2 * float(mean(each)), rel=1e-7)


def gradients_of(value, model: nn.Module, points: Tensor) -> list[Tensor]:
    _, y = batch()
    return [
        torch.autograd.grad(value(z, label), z, create_graph=True)[0].flatten()
        for one, label in samples(model, points, y)
        for z in [one.detach().clone().requires_grad_(True)]
    ]


def test_local_gradient_alignment(model: nn.Module) -> None:
    x, _ = batch()
    logit = lambda z, label: model(z)[0, label]  # noqa: E731
    pairs = list(zip(*(gradients_of(logit, model, p) for p in (x, noisy(x, 0.1))), strict=True))
    apart = mean([(g - r).square().sum() for g, r in pairs])
    turned = mean([(1 - (g @ r) / (g.norm() * r.norm())) / 2 for g, r in pairs])
    found = terms(train.LocalGradientAlignment(0.1), model)
    assert found.pop("cosine") == pytest.approx(float(turned), rel=1e-6)
    agree(found, clean=clean(model), l2=apart)


def test_r2et(smooth_model: nn.Module) -> None:
    x, _ = batch()
    loss = lambda z, label: ce(smooth_model, z, label)  # noqa: E731
    g = gradients_of(loss, smooth_model, x)
    signs = torch.stack(g).sign().view_as(x)
    ahead = gradients_of(loss, smooth_model, x + 0.5 * signs / 18)
    gaps = []
    for one in g:
        s = sorted(one.view(2, 9).abs().sum(0).tolist(), reverse=True)
        k = 3
        pairs = [(i, k - 1) for i in range(k - 1)] + [(k - 1, k + i) for i in range(k)]
        gap = sum(s[low] - s[high] for high, low in pairs)
        gaps.append(torch.tensor(gap, dtype=torch.float64))
    curved = mean([((b - a) / 0.5).norm() for a, b in zip(g, ahead, strict=True)])
    found = terms(train.R2ET(3, h=0.5), smooth_model)
    agree(found, clean=clean(smooth_model), rank=mean(gaps), curvature=curved)


def test_smoothed_curvature(model: nn.Module) -> None:
    x, y = batch()
    each = []
    for one, _ in samples(model, x, y):
        rows = [slope(lambda z, c=c: model(z)[0, c], one)[0].mean(0) for c in range(CLASSES)]
        W = torch.stack(rows).view(CLASSES, -1).T
        p = model(one).softmax(1)[0].detach()
        each.append(torch.linalg.eigvalsh(W @ (p.diag() - p[:, None] * p) @ W.T)[-1])
    objective = train.SmoothedCurvature()
    agree(terms(objective, model), clean=clean(model), curvature=mean(each))
    total = 0.7 * clean(model) + 0.3 * 0.3 * mean(each)
    assert objective(model, x, y).total.item() == pytest.approx(float(total), rel=1e-12)


def test_curvature_is_that_of_the_cross_entropy(model: nn.Module) -> None:
    """On one channel, where the model is piecewise linear, it is the Hessian's eigenvalue."""
    flat = nn.Sequential(nn.Flatten(), *model[1:])
    x, y = batch()
    x = x.view(N, 1, 6, 3)
    found = train.SmoothedCurvature()(flat, x, y).terms["curvature"]
    each = [
        torch.linalg.eigvalsh(
            torch.autograd.functional.hessian(lambda z, y=label: ce(flat, z, y), one).view(18, 18)
        )[-1]
        for one, label in samples(flat, x, y)
    ]
    torch.testing.assert_close(found, mean(each))


def test_input_gradient_regularization(model: nn.Module) -> None:
    g = gradients_of(lambda z, label: ce(model, z, label), model, batch()[0])
    half = mean([one.square().sum() / 2 for one in g])
    agree(terms(train.InputGradientRegularization(), model), clean=clean(model), gradient=half)


def test_jacobian_regularization(model: nn.Module) -> None:
    source = torch.Generator().manual_seed(SEED)
    draws = [torch.randn(N, CLASSES, generator=source, dtype=torch.float64) for _ in range(2)]
    x, y = batch()
    each = []
    for i, (one, _) in enumerate(samples(model, x, y)):
        v = [d[i] / d[i].norm() for d in draws]
        squares = [slope(lambda z, v=v: model(z)[0] @ v, one).square().sum() for v in v]
        each.append(CLASSES / 2 * sum(squares) / 2)
    found = terms(train.JacobianRegularization(projections=2), model)
    agree(found, clean=clean(model), jacobian=mean(each))


def test_jacobian_estimate_has_no_bias(model: nn.Module) -> None:
    x, y = batch()
    exact = mean(
        [
            torch.autograd.functional.jacobian(model, one).square().sum() / 2
            for one, _ in samples(model, x, y)
        ]
    )
    source = torch.Generator().manual_seed(SEED)
    objective = train.JacobianRegularization(projections=500)
    found = objective(model, x, y, generator=source).terms["jacobian"]
    torch.testing.assert_close(found, exact, rtol=0.06, atol=0)


@pytest.mark.parametrize("annotated", [True, False])
def test_right_for_the_right_reasons(model: nn.Module, annotated: bool) -> None:
    x, y = batch()
    A = (uniform() < 0.4).to(torch.float64)
    if not annotated:
        s = torch.stack([saliency(model, one, c) for one, c in samples(model, x, y)]).abs()
        lowest = s.flatten(1).argsort(1)[:, :4]
        A = torch.zeros(N, 9, dtype=torch.float64).scatter(1, lowest, 1).view(N, 1, 3, 3)
    A = A.expand(N, *SHAPE)
    g = gradients_of(lambda z, _: model(z).log_softmax(1).sum(), model, x)
    wrong = mean([(a.flatten() * one).square().sum() for a, one in zip(A, g, strict=True)])
    objective = train.RightForRightReasons(2.0, annotation="mask" if annotated else None, k=4)
    extra = {"mask": A} if annotated else None
    source = torch.Generator().manual_seed(SEED)
    loss = objective(model, x, y, extra=extra, generator=source)
    agree({k: float(v) for k, v in loss.terms.items()}, clean=clean(model), reasons=wrong)
    total = clean(model) + 2 * wrong
    assert loss.total.item() == pytest.approx(float(total), rel=1e-12)


def test_every_objective_has_a_value_here() -> None:
    tested = {
        "IGR": test_igr,
        "AttributionalAT": test_attributional_at,
        "PGD": test_pgd,
        "FGSM": test_fgsm,
        "R2ET": test_r2et,
        "SCAAT": test_scaat,
        "TRADES": test_trades,
        "IGNorm": test_ig_norm,
        "FreeAT": test_free_adversarial_training,
        "Natural": test_natural,
        "IGSumNorm": test_ig_sum_norm,
        "SaliencyGuided": test_saliency_guided,
        "SmoothedCurvature": test_smoothed_curvature,
        "RightForRightReasons": test_right_for_the_right_reasons,
        "InputGradientAlignment": test_input_gradient_alignment,
        "LocalGradientAlignment": test_local_gradient_alignment,
        "JacobianRegularization": test_jacobian_regularization,
        "AttributionalRegularizers": test_attributional_regularizers,
        "InputGradientRegularization": test_input_gradient_regularization,
    }
    assert set(tested) == set(train.names())
