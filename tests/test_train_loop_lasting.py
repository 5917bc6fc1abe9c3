"""Nothing lost: damage, interrupts, two runs in one folder, longer runs, bad samples."""

import os
import random
import re
import shutil
import signal

import numpy as np
import pytest
import torch
from torch import nn

from loops import images
from surefoot import SurefootError, SurefootWarning, models, train
from surefoot.files import claim
from surefoot.train.loop import Loop, _checkpoint, fit

pytest.importorskip("lightning_fabric")
pytest.importorskip("safetensors")
pytestmark = pytest.mark.xdist_group("forkserver")

LOOP = Loop(steps=9, batch=10, optimizer="SGD(lr=0.1, momentum=0.9)", average=0.9)


def network(*, norm=True):
    with torch.random.fork_rng():
        torch.manual_seed(1)
        middle = [nn.BatchNorm2d(4)] if norm else []
        return nn.Sequential(
            nn.Conv2d(1, 4, 3), *middle, nn.ReLU(), nn.Dropout(0.2), nn.Flatten(), nn.Linear(64, 2)
        )


def run(out=None, loop=LOOP, data=None, objective=None, **options):
    data = images() if data is None else data
    objective = train.Natural() if objective is None else objective
    return fit(network(), objective, data, loop, out=out, checkpoint_every=4, **options)


class Stopped(Exception):  # noqa: N818 (it is no error)
    pass


def at(step, error=Stopped):
    def look(done, *_):
        if done == step:
            raise error

    return look


def same(one, other):
    state = other.state_dict()
    return all(torch.equal(value, state[name]) for name, value in one.state_dict().items())


@pytest.fixture(scope="module")
def whole():
    return run().model


@pytest.fixture(scope="module")
def broken_off(tmp_path_factory):
    """A run stopped after step 5, with checkpoints of steps 4 and, a step not proven, 5."""
    out = tmp_path_factory.mktemp("run")
    with pytest.raises(KeyboardInterrupt, match="after step 5 of 9; resume=True goes on after"):
        run(out, progress=at(5, KeyboardInterrupt))
    assert [one.step for one in _checkpoint.checkpoints(out / "checkpoints")] == [4, 5]
    return out


def flipped(path, place):
    content = bytearray(path.read_bytes())
    content[place // 8 % len(content)] ^= 1 << place % 8
    path.write_bytes(content)


@pytest.mark.parametrize("name", ["model.safetensors", "average.safetensors", "state.pt"])
def test_a_flipped_bit_is_named_and_the_checkpoint_before_is_offered(
    name, broken_off, whole, tmp_path
):
    generator = random.Random(name)
    newest = "step-00000005"
    for number in range(6):
        out = shutil.copytree(broken_off, tmp_path / str(number))
        file = out / "checkpoints" / newest / name
        flipped(file, generator.randrange(8 * file.stat().st_size))
        says = rf"{newest}.{name}.*damaged.* The one before it, .*step-00000004, is whole: remove"
        with pytest.raises(SurefootError, match=says):
            run(out, resume=True)
    shutil.rmtree(out / "checkpoints" / newest)
    assert same(run(out, resume=True).model, whole)


def told(out):
    """What resuming is refused with; None where it goes on, which gives the same weights."""
    try:
        resumed = run(out, resume=True)
    except SurefootError as error:
        return str(error)
    assert same(resumed.model, run().model)
    return None


def test_a_damaged_record_is_named_and_the_checkpoint_before_is_offered(broken_off, tmp_path):
    generator = random.Random(0)
    for number in range(10):
        out = shutil.copytree(broken_off, tmp_path / str(number))
        record = out / "checkpoints" / "step-00000005" / "checkpoint.json"
        flipped(record, generator.randrange(8 * record.stat().st_size))
        says = told(out)
        assert says is None or re.search(r"step-00000005.*step-00000004, is whole", says)
    with pytest.raises(SurefootError, match="checkpoints of an earlier run, up to step"):
        run(out)


def test_a_step_that_cannot_be_is_refused(broken_off, tmp_path):
    out = shutil.copytree(broken_off, tmp_path / "run")
    (out / "checkpoints" / "step-00000005").rename(out / "checkpoints" / "step-00000007")
    with pytest.raises(SurefootError, match="says step 5, and is in step-00000007"):
        run(out, resume=True)


def test_an_earlier_damaged_checkpoint_is_told_and_left(broken_off, whole, tmp_path):
    out = shutil.copytree(broken_off, tmp_path / "run")
    record = out / "checkpoints" / "step-00000004" / "checkpoint.json"
    record.write_text("{}")
    with pytest.warns(SurefootWarning, match="an earlier checkpoint is passed over.*00000004"):
        assert same(run(out, resume=True).model, whole)
    assert record.exists()


def test_an_interrupt_before_the_first_checkpoint_loses_nothing(whole, tmp_path):
    for step in (1, 3):
        out = tmp_path / str(step)
        with pytest.raises(KeyboardInterrupt, match=f"resume=True goes on after step {step}"):
            run(out, progress=at(step, KeyboardInterrupt))
        assert same(run(out, resume=True).model, whole)
    with pytest.raises(KeyboardInterrupt, match="nothing is written without out="):
        run(progress=at(3, KeyboardInterrupt))


@pytest.fixture
def interruptible():
    """Python's own answer to Ctrl-C; what a shell starts in the background ignores it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("interruptible")
def test_an_interrupt_waits_for_the_end_of_a_step(whole, tmp_path):
    """A signal amid a step comes after it; state and modes are whole."""

    class Signalling(train.Natural):
        def evaluate(self, batch):
            if abs(batch.progress - 5 / 9) < 0.01 and not (tmp_path / "sent").exists():
                (tmp_path / "sent").touch()
                os.kill(os.getpid(), signal.SIGINT)
            return super().evaluate(batch)

    before = signal.getsignal(signal.SIGINT)
    model = network()
    model[1].eval()
    flags = [module.training for module in model.modules()]
    with pytest.raises(KeyboardInterrupt, match="after step 6 of 9; resume=True goes on after"):
        fit(model, Signalling(), images(), LOOP, out=tmp_path / "run")
    assert signal.getsignal(signal.SIGINT) is before
    assert [module.training for module in model.modules()] == flags


def test_a_second_run_in_a_folder_is_refused_and_the_owner_named(tmp_path):
    with claim(tmp_path):
        says = rf"is being written by process {os.getpid()} host"
        with pytest.raises(SurefootError, match=says):
            run(tmp_path)
    run(tmp_path)


def test_a_finished_run_is_lengthened(whole, tmp_path):
    short = Loop(**{**LOOP.settings(), "steps": 6})
    run(tmp_path, short)
    with pytest.raises(SurefootError, match=r'steps was 6, is 9 .for more steps, resume="longer"'):
        run(tmp_path, LOOP, resume=True)
    assert same(run(tmp_path, LOOP, resume="longer").model, whole)
    with pytest.raises(SurefootError, match="9 steps done and the run is of 6"):
        run(tmp_path, short, resume="longer")


def test_a_damaged_end_of_a_run_is_not_loaded(tmp_path):
    """A bit of its weights, of a name or of what they were trained behind."""
    path = (run(tmp_path).folder or tmp_path) / "model.safetensors"
    whole, header = path.read_bytes(), int.from_bytes(path.read_bytes()[:8], "little") + 8
    right = models.load_weights(network(), path)
    places = random.Random(0)
    for _ in range(40):
        path.write_bytes(whole)
        flipped(path, places.randrange(8 * header, 8 * len(whole)))
        with pytest.raises(SurefootError, match=r"model.safetensors is damaged: .* digest differs"):
            models.load_weights(network(), path)
    for place in range(64, 8 * header, 5):  # names, shapes, kinds, the normalisation, its digest
        path.write_bytes(whole)
        flipped(path, place)
        found = network()
        try:
            models.load_weights(found, path)
        except SurefootError:
            continue
        assert same(found, right), place
    path.write_bytes(whole)


def test_a_run_by_its_length_is_not_lengthened_in_silence(tmp_path):
    for name, schedule in (("a", "CosineAnnealingLR()"), ("b", "OneCycleLR(max_lr=0.2)")):
        short, long = (
            Loop(**{**LOOP.settings(), "steps": steps, "schedule": schedule}) for steps in (4, 9)
        )
        run(tmp_path / name, short)
        with pytest.raises(SurefootError, match="is made for their number; begin another run"):
            run(tmp_path / name, long, resume="longer")
    objective = train.SCAAT(0.1, steps=1, schedule="epsilon")
    short, long = (Loop(**{**LOOP.settings(), "steps": steps}) for steps in (4, 5))
    run(tmp_path / "c", short, objective=objective)
    with pytest.warns(SurefootWarning, match="goes by the share of the training done"):
        run(tmp_path / "c", long, objective=objective, resume="longer")


class Reading:
    """Samples made one by one."""

    def __init__(self, make):
        self.make, self.samples = make, images()

    def __len__(self):
        return len(self.samples)

    def __getitem__(self, index):
        return self.make(index, *self.samples[index])


@pytest.mark.parametrize("draw", [np.random.rand, random.random, lambda: torch.rand(()).item()])
def test_transforms_are_repeated_whatever_they_draw_from(draw, tmp_path):
    def data():
        return Reading(lambda _, image, label: (image * draw(), label))

    first = run(data=data())
    draw()
    assert same(run(data=data()).model, first.model)
    with pytest.raises(Stopped):
        run(tmp_path, data=data(), progress=at(6))
    assert same(run(tmp_path, data=data(), resume=True).model, first.model)


def unreadable(index, image, label):
    if index == 7:
        raise OSError("image file is truncated")
    return image, label


BAD = {
    "unreadable": (unreadable, r"sample 7 of the data cannot be read \(OSError: image file"),
    "wide": (
        lambda i, x, y: (torch.rand(1, 6, 7) if i == 7 else x, y),
        r"the input of sample 7 has shape \(1, 6, 7\), that of sample \d+ \(1, 6, 6\)",
    ),
    "object": (lambda i, x, y: (object() if i == 7 else x, y), "sample 7 is a object, expected"),
    "none": (lambda i, x, y: None if i == 7 else (x, y), "number 7, is a NoneType"),
    "words": (lambda i, x, y: (x, "cat"), "the label of sample 0 is 'cat', expected a class"),
}


@pytest.mark.parametrize("name", BAD)
@pytest.mark.parametrize("workers", [0, 1])
def test_a_bad_sample_is_named_and_the_steps_before_it_are_kept(name, workers, tmp_path):
    make, says = BAD[name]
    loop = Loop(steps=9, batch=10, seed=3)  # sample 7 comes in the second batch
    with pytest.raises(SurefootError, match=says) as caught:
        run(tmp_path, loop, data=Reading(make), workers=workers)
    assert len(str(caught.value)) < 600
    assert "\n" not in str(caught.value)
    if "after step" in str(caught.value):
        step = int(str(caught.value).split("goes on after step ")[1])
        kept = run(tmp_path, loop, data=Reading(lambda _, x, y: (x, y)), resume=True)
        assert step > 0
        assert same(kept.model, run(None, loop, data=Reading(lambda _, x, y: (x, y))).model)


def test_norms_that_are_frozen_stay_frozen():
    model = network()
    model[1].requires_grad_(False).eval()
    start = model[1].running_mean.clone()
    for given in (model, network().eval().requires_grad_(False)):
        if given is not model:
            given[-1].requires_grad_(True)
        before = given[1].running_mean.clone()
        fit(given, train.Natural(), images(), LOOP)
        assert torch.equal(given[1].running_mean, before)
    assert torch.equal(start, before)
    trained = network().eval()
    fit(trained, train.Natural(), images(), LOOP)
    assert not torch.equal(trained[1].running_mean, before)


def test_statistics_that_are_not_finite_are_not_kept(tmp_path):
    wild = Loop(steps=4, batch=10, optimizer="SGD(lr=1e19)")
    with pytest.raises(train.NonFiniteLossError, match=r"the weights 1.running_var are not finite"):
        run(tmp_path, wild)
    assert not (tmp_path / "model.safetensors").exists()
    masked = network()
    masked.register_buffer("mask", torch.tensor(-torch.inf))
    fit(masked, train.Natural(), images(), LOOP)


class Keeping(nn.Module):
    def __init__(self):
        super().__init__()
        self.inner, self.seen = network(), []

    def forward(self, inputs):
        self.features = self.inner(inputs)
        self.seen[:] = [{"last": (self.features,)}]
        return self.features


def test_models_that_keep_their_last_pass_are_averaged(whole):
    keeping = Keeping().eval()
    keeping(torch.rand(2, 1, 6, 6))
    keeping.train()
    trained = fit(keeping, train.Natural(), images(), LOOP)
    assert same(trained.model.inner, whole)


@pytest.mark.filterwarnings("ignore:.*weight_norm.*:FutureWarning")
def test_old_weight_norm_is_averaged():
    normed = network(norm=False)
    nn.utils.weight_norm(normed[0])
    normed(torch.rand(2, 1, 6, 6))
    assert fit(normed, train.Natural(), images(), LOOP).steps == 9
