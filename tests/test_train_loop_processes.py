"""Two processes train as one does; precisions and devices through Fabric."""

import multiprocessing
import os
import re
import signal
from dataclasses import dataclass, replace

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from loops import VALIDATION
from surefoot import SurefootError, gradients, train
from surefoot.data import Samples
from surefoot.train._base import Objective, Parts
from surefoot.train._passes import Passes
from surefoot.train.loop import Loop, _checkpoint, fit

lightning_fabric = pytest.importorskip("lightning_fabric")
pytestmark = pytest.mark.xdist_group("forkserver")

LOOP = Loop(steps=9, batch=12, optimizer="SGD(lr=0.1, momentum=0.9)", clip=5.0, seed=1)


@dataclass(frozen=True, repr=False)
class Flat(Objective):
    """Cross-entropy plus the squared input gradient, passes of a number that differs by batch."""

    weight: float = 2.0

    def evaluate(self, batch):
        for _ in range(int(batch.labels.sum()) % 3):
            gradients.predict(batch.model, batch.inputs)
        request = batch.request(batch.inputs, create_graph=True)
        slope = gradients.input_gradient(request, "loss").flatten(1).square().sum(1).mean()
        clean = nn.functional.cross_entropy(batch.logits(batch.inputs), batch.labels)
        return Parts({"clean": (1.0, clean), "slope": (self.weight, slope)})

    def passes(self, classes=10):
        return Passes(second_parameters=1, parameters=1)


@dataclass(frozen=True, repr=False)
class Failing(Objective):
    """Fails in the second process alone, at the third step."""

    infinite: bool = False

    def evaluate(self, batch):
        loss = nn.functional.cross_entropy(batch.logits(batch.inputs), batch.labels)
        if os.environ.get("LOCAL_RANK") == "1" and batch.progress > 0.2:
            if not self.infinite:
                raise SurefootError("something is wrong here")
            loss = loss * float("nan")
        return Parts({"bad": (1.0, loss)})

    def passes(self, classes=10):
        return Passes(parameters=1)


def images(count=40, classes=3):
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randint(0, 256, (count, 1, 6, 6), generator=generator, dtype=torch.uint8)
    labels = torch.randint(0, classes, (count,), generator=generator)
    return Samples(pixels, labels, tuple("abcde"[:classes]))


def network(*, norm=False):
    with torch.random.fork_rng():
        torch.manual_seed(1)
        middle = [nn.BatchNorm2d(4)] if norm else []
        return nn.Sequential(
            nn.Conv2d(1, 4, 3), *middle, nn.Softplus(), nn.Flatten(), nn.Linear(64, 3)
        )


def train_one(out, objective, loop, *, norm=False, **options):
    settings = {"held_out": images(21), "validation": VALIDATION, "validate_every": 4}
    return fit(network(norm=norm), objective, images(), loop, out=out, **{**settings, **options})


def work(fabric, out, objective, loop, options):
    """What each of two processes does."""
    torch.set_num_threads(1)
    kill = options.pop("kill", None)
    if kill is not None:
        options["progress"] = lambda step, *_: (
            os.kill(os.getpid(), signal.SIGKILL) if step == kill else None
        )
    try:
        trained = train_one(out, objective, loop, fabric=fabric, **options)
    except SurefootError as error:
        (out / f"error-{fabric.global_rank}").write_text(str(error))
        return
    state = trained.model.state_dict()
    torch.save(state, out / f"weights-{fabric.global_rank}")
    torch.save(trained.figures, out / f"figures-{fabric.global_rank}")


def train_two(out, objective, loop=LOOP, **options):
    """Train in two processes; the weights that each ended with."""
    multiprocessing.set_forkserver_preload(["lightning_fabric", "surefoot.train.loop"])
    strategy = lightning_fabric.strategies.DDPStrategy(start_method="forkserver")
    fabric = lightning_fabric.Fabric(accelerator="cpu", devices=2, strategy=strategy)
    fabric.launch(work, out, objective, loop, options)
    both = [out / "weights-0", out / "weights-1"]
    return [torch.load(path, weights_only=True) for path in both if path.exists()]


@pytest.fixture(autouse=True)
def _environment(monkeypatch):
    """What the launcher leaves in the environment goes again."""
    for name in ("MASTER_ADDR", "MASTER_PORT"):
        monkeypatch.setenv(name, "0")
        monkeypatch.delenv(name)


@pytest.mark.parametrize(
    "objective",
    [train.Natural(), Flat(), train.PGD(0.05, steps=2, random_start=False)],
    ids=lambda objective: type(objective).__name__,
)
def test_two_processes_are_one(objective, tmp_path):
    first, second = train_two(tmp_path, objective)
    one = train_one(None, objective, LOOP)
    for name, value in one.model.state_dict().items():
        assert torch.equal(first[name], second[name]), name
        torch.testing.assert_close(first[name], value, rtol=1e-4, atol=1e-6)
    figures = [torch.load(tmp_path / f"figures-{rank}") for rank in (0, 1)]
    assert figures[0] == figures[1]
    assert figures[0] == pytest.approx(one.figures, abs=1e-4)
    saved = load_file(tmp_path / "model.safetensors")
    assert all(torch.equal(saved[name], value) for name, value in first.items())


def test_pieces_are_one_batch():
    whole, pieces = (
        train_one(None, Flat(), replace(LOOP, accumulate=count)).model.state_dict()
        for count in (1, 3)
    )
    for name, value in whole.items():
        torch.testing.assert_close(pieces[name], value, rtol=1e-4, atol=1e-6)


def test_batch_norm_sees_one_share_at_a_time(tmp_path):
    """So two processes are one that goes through each batch in two pieces."""
    first, second = train_two(tmp_path, train.Natural(), norm=True)
    pieces = train_one(None, train.Natural(), replace(LOOP, accumulate=2), norm=True)
    for name, value in pieces.model.state_dict().items():
        assert torch.equal(first[name], second[name]), name
        if "running" not in name and "num_batches" not in name:
            torch.testing.assert_close(first[name], value, rtol=1e-4, atol=1e-6)


def test_two_processes_resume_to_the_bit(tmp_path):
    """Also where draws are random: each process has its own, and goes on with them."""
    objective, options = train.PGD(0.1, steps=2), {"checkpoint_every": 2}
    (straight, _) = train_two(_made(tmp_path / "straight"), objective, **options)
    out = _made(tmp_path / "killed")
    with pytest.raises(Exception, match="SIGKILL"):
        train_two(out, objective, kill=5, **options)
    assert _checkpoint.checkpoints(out / "checkpoints")[-1].step == 4
    (resumed, _) = train_two(out, objective, resume=True, **options)
    assert all(torch.equal(resumed[name], value) for name, value in straight.items())
    with pytest.raises(SurefootError, match="processes was 2, is 1"):
        train_one(out, objective, LOOP, resume=True)


def _made(folder):
    folder.mkdir()
    return folder


@pytest.mark.parametrize(
    ("infinite", "says"),
    [(False, "something is wrong here"), (True, r"stopped at step 2: .*bad=nan")],
)
def test_one_process_that_fails_stops_the_other(infinite, says, tmp_path):
    train_two(tmp_path, Failing(infinite))
    texts = [(tmp_path / f"error-{rank}").read_text() for rank in (0, 1)]
    assert "another process has stopped" in texts[0]
    assert re.search(says, texts[1])


@pytest.mark.parametrize("precision", ["bf16-mixed", "bf16-true", "64-true"])
def test_precisions(precision, tmp_path):
    fabric = lightning_fabric.Fabric(accelerator="cpu", devices=1, precision=precision)
    fabric.launch()
    objective = train.PGD(0.05, steps=2, random_start=False)
    plain = train_one(None, objective, LOOP)
    other = train_one(tmp_path, objective, LOOP, fabric=fabric)
    tolerance = 1e-4 if precision == "64-true" else 0.02
    for name, value in plain.model.state_dict().items():
        moved = (value - network().state_dict()[name]).norm()
        error = (other.model.state_dict()[name].float() - value).norm()
        assert error < tolerance * 10 * moved, (name, float(error / moved))


def test_mixed_precision_keeps_parameter_gradients_after_passes_without_a_graph():
    """Autocast would hand later passes the weights it cast, without a graph, in the first."""
    fabric = lightning_fabric.Fabric(accelerator="cpu", devices=1, precision="bf16-mixed")
    fabric.launch()
    trained = train_one(None, Flat(0.0), replace(LOOP, clip=None), fabric=fabric)
    for name, value in network().state_dict().items():
        assert not torch.equal(trained.model.state_dict()[name], value), name


def test_attack_steps_are_not_rounded_in_mixed_precision():
    seen = []

    @dataclass(frozen=True, repr=False)
    class Looking(train.Natural):
        def evaluate(self, batch):
            seen.append(batch.inputs.dtype)
            seen.append(batch.logits(batch.inputs).dtype)
            return super().evaluate(batch)

    fabric = lightning_fabric.Fabric(accelerator="cpu", devices=1, precision="bf16-mixed")
    fabric.launch()
    train_one(None, Looking(), replace(LOOP, steps=1), fabric=fabric)
    assert set(seen) == {torch.float32}


@pytest.mark.parametrize("name", ["FSDPStrategy", "DeepSpeedStrategy", "DataParallelStrategy"])
def test_strategies_that_split_the_model_are_refused(name):
    fabric = lightning_fabric.Fabric(accelerator="cpu", devices=1)
    fabric._strategy = type(name, (), {})()
    with pytest.raises(SurefootError, match=f"{name} cuts the model"):
        train_one(None, train.Natural(), LOOP, fabric=fabric)


def test_a_validation_that_fails_in_one_process_stops_both(tmp_path):
    bright = images(2)
    outside = [(image + (2 if index else 0), label) for index, (image, label) in enumerate(bright)]
    train_two(tmp_path, train.Natural(), held_out=outside)
    texts = [(tmp_path / f"error-{rank}").read_text() for rank in (0, 1)]
    assert "another process has stopped" in texts[0]
    assert "leave bounds" in texts[1]
