"""The loop's settings, order, figures, logs and errors."""

import errno
import math
import multiprocessing
import os
import resource
import signal
from dataclasses import dataclass, replace
from functools import partial

import pytest
import torch
from safetensors.torch import load_file
from torch import nn
from torch.utils.data import DataLoader, IterableDataset, TensorDataset

from loops import images
from surefoot import SurefootError, attack, explain, files, metric, models, train
from surefoot.data import Samples
from surefoot.train.loop import Loop, Validation, _checkpoint, _logs, fit
from surefoot.train.loop._batches import Batches, spread
from surefoot.train.loop._optimizers import make_optimizer, make_schedule

pytest.importorskip("lightning_fabric")
pytestmark = pytest.mark.xdist_group("forkserver")


def network(classes=2):
    with torch.random.fork_rng():
        torch.manual_seed(1)
        return nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(64, classes))


def plain_sgd(objective, loop, replays=1):
    """The weights of a loop written out by hand."""
    model, data = network(), images()
    model.train()
    batches = Batches(data, loop)
    velocity = [torch.zeros_like(p) for p in model.parameters()]
    for step in range(loop.steps):
        batch = batches[step]
        gradients = torch.autograd.grad(
            objective(model, batch.inputs, batch.labels).total, list(model.parameters())
        )
        with torch.no_grad():
            for p, v, g in zip(model.parameters(), velocity, gradients, strict=True):
                v.mul_(0.9).add_(g)
                p.sub_(0.1 * v)
    return model.state_dict()


@pytest.mark.parametrize("replays", [1, 3])
def test_the_steps_are_those_of_a_bare_loop(replays):
    objective = train.PGD(0.05, steps=2, random_start=False)
    loop = Loop(steps=7, batch=10, optimizer="SGD(lr=0.1, momentum=0.9)", replays=replays)
    trained = fit(network(), objective, images(), loop)
    for name, value in plain_sgd(objective, loop).items():
        torch.testing.assert_close(trained.model.state_dict()[name], value)
    assert not trained.model.training
    assert trained.steps == 7
    assert trained.seconds > 0


@pytest.mark.parametrize(
    "objective",
    [
        train.Natural(),
        train.PGD(0.05, steps=2, bounds=(-math.inf, math.inf)),
        train.SCAAT(0.05, steps=2, bounds=(-9, 9)),
    ],
    ids=repr,
)
def test_text_is_trained_down_to_its_embedding(objective):
    """Sentences with token 3 are positive; the validation attacks embeddings."""
    tokens = torch.randint(1, 9, (60, 6), generator=torch.Generator().manual_seed(0))
    labels = (tokens == 3).any(1).long()
    data = Samples(tokens, labels, ("without", "with"), bounds=None)
    net = models.build("text-cnn", seed=0, vocabulary=9, dimension=8, filters=4)
    model = models.Classifier(net, embedding="embedding")
    before = net.embedding.weight.detach().clone()
    quick = Validation(
        adversary=attack.PGD(attack.Linf(0.01, steps=1)),
        audit=attack.TopK(attack.Linf(0.01, steps=1), k=2),
        audited=4,
    )
    loop = Loop(steps=60, batch=20, optimizer="Adam(lr=0.05)")
    trained = fit(model, objective, data, loop, held_out=data, validation=quick)
    assert trained.figures["accuracy"] > 0.95
    assert 0 < trained.figures["adversarial_accuracy"] <= trained.figures["accuracy"]
    assert 0 < trained.figures["random_kendall"] <= 1
    assert (net.embedding.weight - before)[1:].abs().amin(1).gt(0).all()
    narrow = replace(quick, adversary=attack.PGD(attack.Linf(0.01, bounds=(0, 2))))
    with pytest.raises(SurefootError, match=r"leave bounds \[0, 2\]"):
        narrow(model, data)


def test_text_in_half_precision():
    """Embeddings that are attacked are in single precision, as pictures are."""
    data = Samples(torch.tensor([[1, 2], [2, 3]] * 4), torch.tensor([0, 1] * 4), ("a", "b"))
    net = models.build("text-cnn", seed=0, vocabulary=4, dimension=4, filters=2)
    fabric = pytest.importorskip("lightning_fabric").Fabric(
        accelerator="cpu", precision="bf16-true"
    )
    objective = train.PGD(0.05, steps=1, bounds=(-math.inf, math.inf))
    model = models.Classifier(net, embedding="embedding")
    trained = fit(model, objective, data, Loop(steps=2, batch=8), fabric=fabric)
    assert net.embedding.weight.dtype == torch.bfloat16
    assert trained.terms["adversarial"] > 0


def test_every_pass_has_each_sample_once_in_another_order():
    data = TensorDataset(torch.arange(23.0)[:, None], torch.arange(23))
    batches = Batches(data, Loop(batch=5, seed=4))
    first, second = ([batches[step].labels for step in range(s, s + 4)] for s in (0, 4))
    for one in (first, second):
        assert len(set(torch.cat(one).tolist())) == 20
    assert torch.cat(first).tolist() != torch.cat(second).tolist()
    assert torch.equal(Batches(data, Loop(batch=5, seed=4))[6].labels, second[2])
    assert not torch.equal(Batches(data, Loop(batch=5, seed=5))[6].labels, second[2])


def test_processes_share_a_batch_and_replays_repeat_it():
    data = TensorDataset(torch.arange(24.0)[:, None], torch.arange(24))
    loop = Loop(batch=6, replays=2)
    whole = [Batches(data, loop)[step].labels.tolist() for step in range(6)]
    assert whole[0] == whole[1] != whole[2] == whole[3]
    shares = [Batches(data, loop, rank, 3) for rank in range(3)]
    for step in range(6):
        assert torch.cat([share[step].labels for share in shares]).tolist() == whole[step]


def test_further_inputs_go_through():
    class Gated(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = nn.Linear(3, 2)

        def forward(self, inputs, gate):
            return self.net(inputs * gate)

    rows = [(torch.rand(3), i % 2, {"gate": torch.full((3,), float(i))}) for i in range(8)]
    torch.manual_seed(0)
    model = Gated()
    before = model.net.weight.clone()
    fit(model, train.Natural(), rows, Loop(steps=2, batch=4, accumulate=2))
    assert not torch.equal(model.net.weight, before)


def test_the_average_follows_the_weights():
    loop = Loop(steps=5, batch=10, optimizer="SGD(lr=0.5)", average=0.6)
    plain = [replace(loop, average=None, steps=steps) for steps in range(1, 6)]
    seen = [fit(network(), train.Natural(), images(), one).model for one in plain]
    expected = {name: value.clone() for name, value in seen[0].state_dict().items()}
    for model in seen[1:]:
        for name, value in model.state_dict().items():
            expected[name] = 0.6 * expected[name] + 0.4 * value
    trained = fit(network(), train.Natural(), images(), loop)
    for name, value in expected.items():
        torch.testing.assert_close(trained.model.state_dict()[name], value)


def test_progress_grows_and_state_comes_back():
    seen = []

    @dataclass(frozen=True, repr=False)
    class Watching(train.Natural):
        def evaluate(self, batch):
            before = None if batch.state is None else float(batch.state["count"])
            seen.append((batch.progress, before, len(batch.inputs)))
            parts = super().evaluate(batch)
            return parts._replace(
                state={"count": torch.tensor(0.0 if before is None else before + 1)}
            )

    fit(network(), Watching(), images(), Loop(steps=4, batch=10, accumulate=2))
    assert [progress for progress, _, _ in seen] == [0, 0, 0.25, 0.25, 0.5, 0.5, 0.75, 0.75]
    assert [before for _, before, _ in seen] == [None, None, 0, 0, 1, 1, 2, 2]
    assert {size for *_, size in seen} == {5}


def test_the_global_generator_and_the_data_are_left_alone():
    torch.manual_seed(5)
    before = torch.get_rng_state()
    fit(network(), train.PGD(0.05, steps=1), images(), Loop(steps=2, batch=10), held_out=images(8))
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize(
    ("text", "rates"),
    [
        ("MultiStepLR(milestones=[1, 3], gamma=0.5)", [1, 0.5, 0.5, 0.25]),
        ("MultiStepLR([1, 3], 0.5)", [1, 0.5, 0.5, 0.25]),
        ("Piecewise({1: 10, 3: 1/4})", [1, 10, 10, 0.25]),
        ("CosineAnnealingLR()", [1, (1 + 0.5**0.5) / 2, 0.5, (1 - 0.5**0.5) / 2]),
        (
            "SequentialLR([ConstantLR(factor=0.5, total_iters=9), ExponentialLR(gamma=0.5)], [2])",
            [0.5, 0.5, 1, 0.5],
        ),
        (lambda optimizer: torch.optim.lr_scheduler.StepLR(optimizer, 2), [1, 1, 0.1, 0.1]),
        (None, [1, 1, 1, 1]),
    ],
)
def test_schedules_by_name(text, rates):
    optimizer = make_optimizer("SGD(lr=2.0)", network())
    schedule = make_schedule(text, optimizer, 4)
    seen = []
    for _ in range(4):
        seen.append(optimizer.param_groups[0]["lr"] / 2)
        optimizer.step()
        if schedule is not None:
            schedule.step()
    assert seen == pytest.approx(rates)


def test_optimizers_by_name():
    made = make_optimizer("SGD(lr=1/8, momentum=0.9, weight_decay=2e-4)", network())
    assert isinstance(made, torch.optim.SGD)
    assert made.defaults["lr"] == 0.125
    assert made.defaults["weight_decay"] == 2e-4
    assert isinstance(make_optimizer("AdamW", network()), torch.optim.AdamW)
    rms = make_optimizer(partial(torch.optim.RMSprop, lr=3.0), network())
    assert rms.defaults["lr"] == 3
    frozen = network().requires_grad_(False)
    frozen[3].requires_grad_(True)
    assert len(make_optimizer("Adam", frozen).param_groups[0]["params"]) == 2
    with pytest.raises(SurefootError, match="nothing to train"):
        make_optimizer("Adam", network().requires_grad_(False))


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("Adma(lr=1)", "optimizer 'Adma' is unknown; did you mean Adam"),
        ("Adam(rl=1)", "Adam has no setting 'rl'; did you mean lr"),
        ("LBFGS()", "evaluates a batch several times"),
        ("Adam(lr=-1)", "cannot be made: Invalid learning rate"),
        ("Adam(lr=print)", "unknown"),
        ("0.1", "cannot be made|gave a"),
    ],
)
def test_optimizers_that_are_refused(text, says):
    with pytest.raises(SurefootError, match=says):
        make_optimizer(text, network())
    schedules = {"Adma(lr=1)": "StpLR(2)", "Adam(rl=1)": "StepLR(size=2)"}
    if text in schedules:
        with pytest.raises(SurefootError, match="did you mean"):
            make_schedule(schedules[text], make_optimizer("Adam", network()), 4)


def test_schedules_that_need_a_figure_are_refused():
    with pytest.raises(SurefootError, match="goes by a figure"):
        make_schedule("ReduceLROnPlateau()", make_optimizer("Adam", network()), 4)


SMALL = Validation(
    adversary=attack.PGD(attack.Linf(0.05, steps=2)),
    attacked=10,
    audit=attack.TopK(attack.Linf(0.05, steps=3), k=5),
    explainer=explain.IntegratedGradients(steps=3),
    audited=4,
)


def test_the_figures_of_a_validation():
    data, model = images(30), network()
    figures = replace(SMALL, batch=7)(model.train(), data)
    assert model.training
    model.eval()
    inputs, labels = data[torch.arange(30)]
    right = model(inputs).argmax(1) == labels
    assert figures["accuracy"] == float(right.double().mean())
    few = torch.arange(10) * 3
    result = SMALL.adversary(model, inputs[few], labels[few])
    assert figures["adversarial_accuracy"] == pytest.approx(float(result.robust.float().mean()))
    few = spread(data, 4)
    assert few.tolist() == [0, 7, 15, 22]
    control = attack.RandomSign(attack.Linf(0.05), k=5)
    for prefix, one in (("", SMALL.audit), ("random_", control)):
        result = one(model, inputs[few], None, SMALL.explainer)
        before, after = (explain.reduce(maps, "sum_abs") for maps in (result.before, result.after))
        for name, value in (
            ("topk_intersection", metric.topk_intersection(before, after, 5)),
            ("kendall", metric.kendall(before, after)),
        ):
            assert figures[prefix + name] == pytest.approx(float(value.mean()))
    assert set(replace(SMALL, adversary=None, audit=None)(model, data)) == {"accuracy"}


def test_the_logs_hold_terms_rates_and_figures(tmp_path):
    pytest.importorskip("tensorboardX")
    seen = []
    trained = fit(
        network(),
        train.Natural(),
        images(),
        Loop(steps=6, batch=10, schedule="StepLR(2)"),
        held_out=images(10),
        validation=SMALL,
        validate_every=4,
        log_every=2,
        out=tmp_path,
        logs=("csv", "tensorboard"),
        progress=lambda step, steps, terms: seen.append((step, steps, bool(terms))),
    )
    rows = _logs.read(tmp_path / "metrics.csv")
    names = {name for _, name, _ in rows}
    assert names == {"clean", "learning_rate", *trained.figures}
    assert [step for step, name, _ in rows if name == "clean"] == [2, 4, 6]
    assert [step for step, name, _ in rows if name == "kendall"] == [4, 6]
    assert [v for _, name, v in rows if name == "learning_rate"] == pytest.approx(
        [1e-4, 1e-5, 1e-6]
    )
    last = {name: value for step, name, value in rows if step == 6}
    assert last == pytest.approx({**trained.terms, **trained.figures, "learning_rate": 1e-6})
    assert seen == [(step, 6, step % 2 == 0) for step in range(1, 7)]
    assert list((tmp_path / "tensorboard").iterdir())


def test_weights_are_written_for_others_to_load(tmp_path):
    trained = fit(network(), train.Natural(), images(), Loop(epochs=1, batch=10), out=tmp_path)
    assert trained.steps == 4
    fresh = models.load_weights(network(), tmp_path / "model.safetensors")
    assert all(
        torch.equal(value, trained.model.state_dict()[name])
        for name, value in fresh.state_dict().items()
    )


def test_tied_weights_are_written(tmp_path):
    model = nn.Sequential(nn.Flatten(), nn.Linear(36, 36), nn.Linear(36, 36), nn.Linear(36, 2))
    model[2].weight = model[1].weight
    fit(model, train.Natural(), images(), Loop(steps=2, batch=10), out=tmp_path)
    again = fit(
        model, train.Natural(), images(), Loop(steps=2, batch=10), out=tmp_path, resume=True
    )
    assert again.model[2].weight is again.model[1].weight


@dataclass(frozen=True, repr=False)
class Diverging(train.Natural):
    """Goes wrong at a given share of the training."""

    at: float = 0.5
    how: str = "term"

    def evaluate(self, batch):
        parts = super().evaluate(batch)
        _, loss = parts.terms["clean"]
        factor = float("inf") if batch.progress >= self.at else 1.0
        if self.how == "gradient":
            extra = (loss - loss.detach()).abs().sqrt() if factor > 1 else 0 * loss
        else:
            extra = factor * loss
        return parts._replace(terms={"clean": (1.0, loss), "steep": (1.0, extra)})


@pytest.mark.parametrize(
    ("how", "says"),
    [
        ("term", r"stopped at step 5: the loss of .* is not finite: clean=\S+, steep=inf"),
        ("gradient", r"stopped at step 5: the gradient of .*although its terms are \(clean="),
    ],
)
def test_a_loss_that_is_not_finite_stops_and_keeps_the_last_checkpoint(how, says, tmp_path):
    loop = Loop(steps=10, batch=10)
    with pytest.raises(train.NonFiniteLossError, match=says) as caught:
        fit(network(), Diverging(how=how), images(), loop, out=tmp_path, checkpoint_every=2)
    assert set(caught.value.terms) == {"clean", "steep"}
    (kept,) = _checkpoint.checkpoints(tmp_path / "checkpoints")
    assert kept.step == 4
    assert f"The last good checkpoint is {kept.folder}" in str(caught.value)
    assert all(v.isfinite().all() for v in load_file(kept.folder / "model.safetensors").values())
    healthy = fit(network(), train.Natural(), images(), Loop(steps=4, batch=10))
    for name, value in load_file(kept.folder / "model.safetensors").items():
        torch.testing.assert_close(value, healthy.model.state_dict()[name])


def steps_of(seen):
    return lambda step, _steps, _terms: seen.append(step)


def test_a_checkpoint_whose_weights_give_nan_is_not_the_last_good_one(tmp_path):
    loop = Loop(steps=8, batch=10, optimizer="SGD(lr=1e-3)", schedule="Piecewise({3: 1e41})")
    options = {"out": tmp_path, "checkpoint_every": 1}
    for seen, begins in (([], 1), ([], 4)):
        with pytest.raises(train.NonFiniteLossError, match="stopped at step 4") as caught:
            fit(
                *(network(), train.Natural(), images(), loop),
                **options,
                resume=begins > 1,
                progress=steps_of(seen),
            )
        assert seen == list(range(begins, 5))
        before, newest = _checkpoint.checkpoints(tmp_path / "checkpoints")
        assert (before.step, before.good) == (3, True)
        assert (newest.step, newest.good) == (4, False)
        assert f"The last good checkpoint is {before.folder}" in str(caught.value)


def test_without_a_good_checkpoint_it_says_so_and_resumes_at_the_beginning(tmp_path):
    loop = Loop(steps=8, batch=10, optimizer="SGD(lr=1e38)")
    for seen in ([], []):
        with pytest.raises(train.NonFiniteLossError, match="no good checkpoint: the weights of"):
            fit(
                *(network(), train.Natural(), images(), loop),
                out=tmp_path,
                checkpoint_every=1,
                resume=True,
                progress=steps_of(seen),
            )
        assert seen == [1]


def test_weights_that_are_not_finite_are_not_written(tmp_path):
    @dataclass(frozen=True, repr=False)
    class Steep(train.Natural):
        def evaluate(self, batch):
            (_, loss) = super().evaluate(batch).terms["clean"]
            return super().evaluate(batch)._replace(terms={"clean": (1e4, loss)})

    loop = Loop(steps=1, batch=10, optimizer="SGD(lr=1e38)")
    says = r"stopped after step 1: the weights \S+ are not finite.*There is no checkpoint yet"
    for out in (tmp_path, None):
        with pytest.raises(train.NonFiniteLossError, match=says):
            fit(network(), Steep(), images(), loop, out=out)
    assert _checkpoint.checkpoints(tmp_path / "checkpoints") == []
    assert not (tmp_path / "model.safetensors").exists()


def test_without_a_checkpoint_it_says_so():
    with pytest.raises(train.NonFiniteLossError, match="There is no checkpoint yet"):
        fit(network(), Diverging(at=0.0), images(), Loop(steps=10, batch=10))


class Endless(IterableDataset):
    def __iter__(self):
        return iter([(torch.rand(1, 6, 6), 0)])


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (lambda: images(0), "the training data are empty"),
        (list, "the training data are empty"),
        (lambda: images(9), "hold 9 samples, fewer than one batch of 10"),
        (lambda: DataLoader(images(), 10), "are a DataLoader, expected the data set in it"),
        (Endless, "are a Endless, expected a map-style data set"),
        (
            lambda: images(classes="abcde"),
            "the data have 5 classes and the model 2 logits.*classes=5",
        ),
        (
            lambda: TensorDataset(torch.rand(20, 1, 6, 6), torch.arange(20)),
            r"labels spans \[\d, \d+\], expected class indices in \[0, 1\]",
        ),
        (lambda: TensorDataset(torch.rand(20, 1, 6, 6)), r"expected \(input, label\)"),
        (lambda: [(torch.rand(1, 6, 6) * math.nan, 0)] * 20, "NaN or infinite"),
        (lambda: TensorDataset(torch.ones(20, 1, 6, 6).int(), torch.zeros(20).long()), "dtype"),
    ],
    ids=[
        "no samples",
        "list",
        "few",
        "loader",
        "iterable",
        "classes",
        "labels",
        "one",
        "nan",
        "int",
    ],
)
def test_data_that_cannot_be_used(data, says):
    with pytest.raises(SurefootError, match=says):
        fit(network(), train.Natural(), data(), Loop(steps=3, batch=10))


def relabelled(shift):
    data = images()
    return TensorDataset(data.inputs, data.labels + shift)


@pytest.mark.parametrize(
    ("held_out", "says"),
    [
        (list, "the held-out data are empty"),
        (lambda: images(classes="abc"), "the held-out data have 3 classes, the training data 2"),
        (
            lambda: replace(images(), classes=("a", "c")),
            "the held-out data have 'c' as class 1, the training data 'b'",
        ),
        (
            lambda: relabelled(100),
            r"labels of the held-out data spans \[100, 101\], expected class indices in \[0, 1\]",
        ),
        (lambda: relabelled(0.5), "labels of the held-out data has dtype torch.float32"),
    ],
    ids=["none", "more", "others", "shifted", "floats"],
)
def test_held_out_data_that_cannot_be_used(held_out, says):
    with pytest.raises(SurefootError, match=says):
        fit(network(), train.Natural(), images(), Loop(steps=1, batch=10), held_out=held_out())


@pytest.mark.parametrize(
    ("loop", "says"),
    [
        (Loop(), "expected one of them"),
        (Loop(3, epochs=2), "expected one of them"),
        (Loop(-1), "steps=-1, expected at least 0"),
        (Loop(2.5), "steps=2.5, expected a whole number, at least 0"),
        (Loop(True), "steps=True, expected a whole number"),
        (Loop(epochs=math.inf), "epochs=inf, expected a finite number, at least 0"),
        (Loop(epochs="2"), "epochs='2', expected a number"),
        (Loop(3, batch=10.0), "batch=10.0, expected a whole number, at least 1"),
        (Loop(3, batch=0), "batch=0, expected at least 1"),
        (Loop(3, batch=10, accumulate=3), "cannot be shared equally by 1 processes in 3 pieces"),
        (Loop(3, batch=10, clip=0), "clip=0, expected a positive number"),
        (Loop(3, batch=10, average=1), "average=1, expected a decay"),
        (Loop(3, batch=10, seed=-1), "seed=-1, expected at least 0"),
        (Loop(3, batch=10, optimizer="SDG"), "did you mean SGD"),
    ],
    ids=repr,
)
def test_settings_out_of_range(loop, says):
    with pytest.raises(SurefootError, match=says):
        fit(network(), train.Natural(), images(), loop)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"workers": -1}, "workers=-1, expected at least 0"),
        ({"log_every": 0}, "log_every=0, expected at least 1"),
        ({"validate_every": 0}, "validate_every=0, expected at least 1"),
        ({"checkpoint_every": 2.0}, "checkpoint_every=2.0, expected a whole number"),
        ({"validation": Validation(attacked=-3)}, "attacked=-3, expected at least 0"),
        ({"validation": Validation(audited=True)}, "audited=True, expected a whole number"),
        ({"validation": Validation(samples=0)}, "samples=0, expected at least 1"),
        ({"validation": Validation(batch=0)}, "batch=0, expected at least 1"),
        ({"resume": True}, "resume=True without out="),
        (
            {"held_out": images(8), "best_by": "acuracy"},
            "best_by='acuracy' is none of the validation's figures; did you mean accuracy",
        ),
        (
            {
                "held_out": images(8),
                "best_by": "adversarial_accuracy",
                "validation": Validation(adversary=None, audit=None),
            },
            r"none of the validation's figures; .*There are: accuracy$",
        ),
        (
            {"held_out": images(8), "best_by": "kendall", "validation": Validation(audited=0)},
            "there are: accuracy, adversarial_accuracy$",
        ),
    ],
    ids=lambda value: str(value)[:40],
)
def test_ways_to_watch_that_cannot_be(options, says):
    seen = []
    with pytest.raises(SurefootError, match=says):
        fit(
            *(network(), train.Natural(), images(), Loop(1, batch=10)),
            progress=steps_of(seen),
            **options,
        )
    assert seen == []


def test_the_figures_have_the_names_that_are_told():
    for one in (SMALL, replace(SMALL, audit=None), replace(SMALL, attacked=0)):
        assert list(one(network(), images(12))) == list(one.names())


def test_a_validation_of_ones_own_tells_its_figures_when_it_is_made():
    class Own(Validation):
        def scores(self, *_arguments):
            return {"own": torch.ones(3)}

    data = (network(), train.Natural(), images(), Loop(1, batch=10))
    trained = fit(*data, held_out=images(8), validation=Own(), best_by="own")
    assert trained.figures == {"own": 1}
    with pytest.raises(SurefootError, match="there are: own"):
        fit(*data, held_out=images(8), validation=Own())


def test_without_a_figure_to_go_by_the_last_checkpoint_alone_is_kept(tmp_path):
    trained = fit(
        *(network(), train.Natural(), images(), Loop(6, batch=10)),
        held_out=images(8),
        validation=Validation(adversary=None, audit=None),
        validate_every=2,
        best_by=None,
        out=tmp_path,
    )
    assert [one.step for one in _checkpoint.checkpoints(tmp_path / "checkpoints")] == [6]
    assert trained.best is None
    assert set(trained.figures) == {"accuracy"}


def test_a_model_of_another_shape_is_told_the_datas():
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 2))
    says = r"Sequential fails on the training data, inputs \(N, 1, 6, 6\): .*mat1"
    with pytest.raises(SurefootError, match=says):
        fit(model, train.Natural(), images(), Loop(1, batch=10))


def test_logs_of_an_unknown_sort(tmp_path):
    with pytest.raises(SurefootError, match="expected 'csv' or 'tensorboard'"):
        fit(network(), train.Natural(), images(), Loop(1, batch=9), out=tmp_path, logs=("sql",))


def test_no_steps_leave_the_weights_alone(tmp_path):
    trained = fit(network(), train.Natural(), images(), Loop(0, batch=10), out=tmp_path)
    assert all(
        torch.equal(value, network().state_dict()[name])
        for name, value in trained.model.state_dict().items()
    )
    assert math.isnan(trained.seconds)


def full_disk(out, limit, answer):
    """Train where no file may grow beyond `limit` bytes, and tell what happens."""
    torch.set_num_threads(1)
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)

    def look(step, _steps, _terms):
        if step == 3:
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

    try:
        loop = Loop(steps=8, batch=10)
        fit(network(), train.Natural(), images(), loop, out=out, checkpoint_every=2, progress=look)
    except SurefootError as error:
        answer.put(str(error))


def test_a_full_disk_keeps_the_last_checkpoint(tmp_path):
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["lightning_fabric", "surefoot.train.loop"])
    answer = context.SimpleQueue()
    process = context.Process(target=full_disk, args=(tmp_path, 1000, answer))
    process.start()
    process.join(120)
    assert process.exitcode == 0
    message = answer.get()
    assert "cannot write" in message
    assert os.strerror(errno.EFBIG) in message
    (kept,) = _checkpoint.checkpoints(tmp_path / "checkpoints")
    assert kept.step == 2
    assert [path.name for path in (tmp_path / "checkpoints").iterdir()] == [kept.folder.name]
    trained = fit(
        network(), train.Natural(), images(), Loop(steps=8, batch=10), out=tmp_path, resume=True
    )
    whole = fit(network(), train.Natural(), images(), Loop(steps=8, batch=10))
    for name, value in whole.model.state_dict().items():
        assert torch.equal(value, trained.model.state_dict()[name])


def test_a_folder_that_cannot_be_made(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(SurefootError, match="cannot make the folder"):
        fit(network(), train.Natural(), images(), Loop(1, batch=9), out=tmp_path / "file")


def test_the_log_cannot_be_written(tmp_path, monkeypatch):
    def refuse(*_args, **_kwargs):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    logs = _logs.Logs(tmp_path, ("csv",), 0)
    monkeypatch.setattr(type(tmp_path), "open", refuse)
    with pytest.raises(SurefootError, match=r"cannot write .*metrics.csv: No space left"):
        logs.write(1, {"clean": 1.0})
    with pytest.raises(SurefootError, match="No space left"):
        files.write_whole(tmp_path / "x", b"")


def test_annotations_of_the_data_do_not_reach_the_model():
    """Neither in steps, nor in the first look at the model, nor in the validation."""

    class Annotated(TensorDataset):
        def __getitem__(self, index):
            x, y = super().__getitem__(index)
            return x, y, {"mask": torch.ones(6, 6)}

    pixels = images()
    data = Annotated(pixels.inputs, pixels.labels)
    objective = train.RightForRightReasons(annotation="mask")
    validation = Validation(attacked=2, audited=2, audit=None)
    found = fit(network(), objective, data, Loop(2, batch=8), held_out=data, validation=validation)
    assert {"clean", "reasons"} == set(found.terms)
    assert 0 <= found.figures["adversarial_accuracy"] <= 1


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_a_validation_of_weights_of_another_precision(dtype):
    plain = Validation(audit=None)(network().eval(), images())
    found = Validation(attacked=4, audited=2, audit=attack.TopK(attack.Linf(0.1, steps=1), k=3))(
        network().to(dtype), images()
    )
    assert found["accuracy"] == pytest.approx(plain["accuracy"], abs=0.05)
    assert not math.isnan(found["topk_intersection"])


def test_a_figure_that_is_not_defined_is_not_the_best(tmp_path):
    figures = ({"kendall": math.nan}, {"kendall": 0.4}, {"kendall": 0.5})
    made = [
        _checkpoint.Checkpoint(tmp_path / str(step), step, {}, one, {})
        for step, one in enumerate(figures, 1)
    ]
    assert _checkpoint.best(made, "kendall").step == 3
    assert _checkpoint.best(made[:1], "kendall") is None


def test_epochs_of_less_than_a_step():
    with pytest.raises(SurefootError, match=r"epochs=0.1 of 40 samples .* are less than a step"):
        fit(network(), train.Natural(), images(), Loop(epochs=0.1, batch=20))
    assert Loop(epochs=0, batch=20).length(40) == 0


def test_validation_every_so_many_epochs(tmp_path):
    options = {"held_out": images(8), "validation": Validation(audit=None, adversary=None)}
    fit(
        *(network(), train.Natural(), images(), Loop(epochs=5, batch=20)),
        **options,
        validate_epochs=2,
        out=tmp_path,
    )
    rows = _logs.read(tmp_path / "metrics.csv")
    assert [step for step, name, _ in rows if name == "accuracy"] == [4, 8, 10]
    for epochs, every, says in ((2, 3, "expected one of them"), (0, None, "at least 1")):
        with pytest.raises(SurefootError, match=says):
            fit(
                *(network(), train.Natural(), images(), Loop(2, batch=8)),
                validate_epochs=epochs,
                validate_every=every,
            )
