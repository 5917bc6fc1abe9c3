"""A run that is killed and resumed ends as one that was not."""

import json
import multiprocessing
import os
import signal
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.nn import functional

import loops
from loops import VALIDATION
from surefoot import SurefootError, SurefootWarning
from surefoot.data import CropAndFlip, Samples
from surefoot.models import Classifier
from surefoot.train._base import Objective, Parts
from surefoot.train._passes import Passes
from surefoot.train.loop import Loop, _checkpoint, _logs, _resume, fit

pytest.importorskip("lightning_fabric")
pytest.importorskip("safetensors")
pytestmark = pytest.mark.xdist_group("forkserver")

LOOP = Loop(
    steps=26,
    batch=12,
    optimizer="SGD(lr=0.1, momentum=0.9)",
    schedule="OneCycleLR(max_lr=0.2)",
    average=0.9,
    clip=1.0,
    accumulate=2,
    replays=2,
    seed=3,
)


@dataclass(frozen=True, repr=False)
class Wandering(Objective):
    """Cross-entropy at noisy inputs: random draws, a state, and a size that grows."""

    size: float = 0.2

    def evaluate(self, batch):
        before = 0.0 if batch.state is None else batch.state["noise"]
        noise = 0.5 * before + self.size * (0.2 + batch.progress) * (batch.uniform() - 0.5)
        logits = batch.logits((batch.inputs + noise).clamp(0, 1))
        return Parts(
            {"noisy": (1.0, functional.cross_entropy(logits, batch.labels))}, {"noise": noise}
        )

    def passes(self, classes=10):
        return Passes(parameters=1)


class Jittered:
    """Samples one by one, with a random transform."""

    def __init__(self, samples):
        self.samples, self.classes = samples, samples.classes

    def __len__(self):
        return len(self.samples)

    def __getitem__(self, index):
        image, label = self.samples[index]
        return (image + 0.1 * torch.rand(image.shape)).clamp(0, 1), label


def images(count=60):
    return loops.images(count, ("dark", "light"))


def network(width=4):
    with torch.random.fork_rng():
        torch.manual_seed(1)
        return nn.Sequential(
            nn.Conv2d(1, width, 3),
            nn.BatchNorm2d(width),
            nn.ReLU(),
            nn.Dropout(0.3),
            nn.Flatten(),
            nn.Linear(16 * width, 2),
        )


def run(out, model=None, **options):
    settings = {
        "loop": LOOP,
        "objective": Wandering(),
        "data": Jittered(images()),
        "held_out": images(20),
        "validation": VALIDATION,
        "binding": {"variant": "a"},
        "validate_every": 9,
        "checkpoint_every": 4,
        "log_every": 2,
    }
    return fit(network() if model is None else model, out=out, **{**settings, **options})


def die():
    os.kill(os.getpid(), signal.SIGKILL)


def killed_at_step(out, number):
    torch.set_num_threads(1)

    def look(step, _steps, _terms):
        if step == number:
            die()

    run(out, resume=True, progress=look)


def killed_in_checkpoint(out, file, occurrence):
    """Dies while the file of that name is written for the n-th time, half of it on the disk."""
    torch.set_num_threads(1)
    whole, count = _checkpoint.write_whole, 0

    def half(path, content):
        nonlocal count
        count += path.name == file
        if path.name == file and count == occurrence:
            Path(path).write_bytes(content[: len(content) // 2])
            die()
        whole(path, content)

    _checkpoint.write_whole = half
    run(out, resume=True)


def killed_in_prune(out, occurrence):
    """Dies after a new checkpoint is there and before an old one is wholly gone."""
    torch.set_num_threads(1)
    remove, count = _checkpoint.shutil.rmtree, 0

    def half(folder, **options):
        nonlocal count
        if folder.exists() and not folder.name.endswith(".part"):
            count += 1
            if count == occurrence:
                next(folder.glob("*.safetensors")).unlink()
                die()
        remove(folder, **options)

    _checkpoint.shutil.rmtree = half
    run(out, resume=True)


def in_a_process(target, *arguments):
    """The exit code of a fresh process that runs `target`."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["lightning_fabric", "surefoot.train.loop"])
    process = context.Process(target=target, args=arguments)
    process.start()
    process.join(120)
    assert process.exitcode is not None
    return process.exitcode


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    out = tmp_path_factory.mktemp("undisturbed")
    return run(out)


def equal(one, other):
    """Bit by bit, tensors among them."""
    if isinstance(one, torch.Tensor):
        return one.dtype == other.dtype and torch.equal(one, other)
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(equal(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(equal, one, other))
    return one == other


def same(one, other):
    """Whether two runs left the same weights, states and logs."""
    a, b = (sorted((trained.folder / "checkpoints").glob("step-*")) for trained in (one, other))
    assert [path.name for path in a] == [path.name for path in b]
    for name in ("model.safetensors", "metrics.csv"):
        assert (one.folder / name).read_bytes() == (other.folder / name).read_bytes(), name
    for mine, theirs in zip(a, b, strict=True):
        for name in ("model.safetensors", "average.safetensors"):
            assert (mine / name).read_bytes() == (theirs / name).read_bytes(), name
        states = [torch.load(path / "state.pt", weights_only=True) for path in (mine, theirs)]
        assert equal(*states)
    assert one.figures == other.figures
    assert one.best.parent.name == other.best.parent.name


KILLS = [
    (killed_at_step, (1,)),
    (killed_at_step, (7,)),  # in the middle of a pass and between two checkpoints
    (killed_at_step, (24,)),
    (killed_in_checkpoint, ("model.safetensors", 1)),
    (killed_in_checkpoint, ("state.pt", 3)),
    (killed_in_checkpoint, ("checkpoint.json", 4)),
    (killed_in_prune, (2,)),
]


@pytest.mark.parametrize(("kill", "where"), KILLS, ids=lambda v: getattr(v, "__name__", str(v)))
def test_killed_and_resumed_is_undisturbed_to_the_bit(kill, where, undisturbed, tmp_path):
    assert in_a_process(kill, tmp_path, *where) == -signal.SIGKILL
    same(run(tmp_path, resume=True), undisturbed)


def test_killed_many_times_is_undisturbed(undisturbed, tmp_path):
    for where in (5, 6, 11, 19):
        assert in_a_process(killed_at_step, tmp_path, where) == -signal.SIGKILL
    same(run(tmp_path, resume=True), undisturbed)


def test_the_weights_do_depend_on_what_is_resumed(undisturbed, tmp_path):
    """So that the tests above can fail."""
    for change in ("generator", "random", "objective"):
        out = tmp_path / change
        assert in_a_process(killed_at_step, out, 10) == -signal.SIGKILL
        state = _checkpoint.checkpoints(out / "checkpoints")[-1].folder / "state.pt"
        content = torch.load(state, weights_only=True)
        mine = content["processes"][0]
        mine[change] = {
            "generator": torch.Generator().manual_seed(9).get_state(),
            "random": torch.Generator().manual_seed(9).get_state(),
            "objective": [None, None],
        }[change]
        torch.save(content, state)
        loops.reseal(state.parent)
        run(out, resume=True)
        ours, theirs = ((f / "model.safetensors").read_bytes() for f in (out, undisturbed.folder))
        assert ours != theirs, change


def test_workers_and_watching_do_not_change_the_weights(undisturbed, tmp_path):
    other = run(tmp_path, workers=1, held_out=None, checkpoint_every=13, log_every=5)
    content = (tmp_path / "model.safetensors").read_bytes()
    assert content == (undisturbed.folder / "model.safetensors").read_bytes()
    assert other.figures == {}
    assert other.best is None


def test_a_finished_run_resumes_to_itself(undisturbed):
    model = network()
    again = run(undisturbed.folder, model, resume=True)
    same(again, undisturbed)
    for name, value in model.state_dict().items():
        assert torch.equal(value, undisturbed.model.state_dict()[name])


def test_only_last_and_best_are_kept(undisturbed):
    there = _checkpoint.checkpoints(undisturbed.folder / "checkpoints")
    rows = _logs.read(undisturbed.folder / "metrics.csv")
    scores = {step: value for step, name, value in rows if name == "accuracy"}
    assert set(scores) == {9, 18, 26}
    best = min(step for step, value in scores.items() if value == max(scores.values()))
    assert {one.step for one in there} == {best, 26}
    assert undisturbed.best.parent.name == f"step-{best:08d}"


def test_a_folder_of_an_earlier_run_is_not_overwritten(undisturbed):
    with pytest.raises(SurefootError, match="up to step 26; pass resume=True"):
        run(undisturbed.folder)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"loop": replace(LOOP, batch=24, seed=4)}, "batch was 12, is 24; seed was 3, is 4"),
        ({"objective": Wandering(0.1)}, r"objective was Wandering\(\), is Wandering\(size=0.1\)"),
        ({"data": Jittered(images(61))}, "training samples was 60, is 61"),
        (
            {"data": Jittered(Samples(images().stored, 1 - images().labels, images().classes))},
            r"digest of a few samples was \w+, is \w+\.",
        ),
        (
            {"data": Jittered(replace(images(), classes=("dark", "pale"))), "held_out": None},
            r"classes\[1\] was light, is pale\.",
        ),
        ({"binding": {"variant": "b"}}, "variant was a, is b"),
        ({"model": network(5)}, "another variant"),
        (
            {"model": nn.Sequential(nn.Flatten(), nn.Linear(36, 2))},
            "1.weight has shape",
        ),
    ],
    ids=["settings", "objective", "data", "labels", "classes", "variant", "shapes", "model"],
)
def test_another_run_is_refused(options, says, undisturbed):
    with pytest.raises(SurefootError, match=f"cannot resume from.*({says})"):
        run(undisturbed.folder, resume=True, **options)


def test_other_data_of_the_same_size_are_refused(tmp_path):
    data = replace(images(), name="noise/train")
    options = {"loop": replace(LOOP, steps=2), "held_out": None}
    run(tmp_path, data=data.augmented(CropAndFlip(1)), **options)
    run(tmp_path, data=data.augmented(CropAndFlip(1)), resume=True, **options)
    inverted = replace(data, stored=255 - data.stored)
    for other, says in (
        (
            replace(data, name="noise/test").augmented(CropAndFlip(1)),
            "data set was noise/train",
        ),
        (data.augmented(CropAndFlip(2)), r"augmentation was .*\(padding=1, .*\(padding=2, "),
        (data, r"augmentation was CropAndFlip\(padding=1, flip=True\), is None"),
        (inverted.augmented(CropAndFlip(1)), r"digest of a few samples was \w+ \w+, is"),
    ):
        with pytest.raises(SurefootError, match=f"cannot resume from.*{says}"):
            run(tmp_path, data=other, resume=True, **options)


def test_another_normalisation_is_refused(tmp_path):
    options = {"loop": replace(LOOP, steps=2), "held_out": None}
    run(tmp_path, Classifier(network(), 0.5, [0.25]), **options)
    run(tmp_path, Classifier(network(), 0.5, [0.25]), resume=True, **options)
    with pytest.raises(SurefootError, match=r"mean 0.5, std \[0.25\], is mean 0.5, std \[0.5\]"):
        run(tmp_path, Classifier(network(), 0.5, [0.5]), resume=True, **options)


def test_a_checkpoint_of_an_earlier_version_is_not_bound_to_what_it_does_not_tell(tmp_path):
    options = {"loop": replace(LOOP, steps=2), "held_out": None}
    whole = run(tmp_path, **options)
    (record,) = (tmp_path / "checkpoints").glob("step-*/checkpoint.json")
    about = json.loads(record.read_text())
    for name in ("data set", "classes", "digest of a few samples", "augmentation", "variant"):
        del about["settings"][name]
    del about["files"], about["digest"]
    record.write_text(json.dumps(about))
    same_weights = run(tmp_path, resume=True, **options).model.state_dict()
    assert equal(dict(same_weights), dict(whole.model.state_dict()))


def test_a_damaged_checkpoint_is_said_to_be_one(tmp_path):
    run(tmp_path, loop=replace(LOOP, steps=2), held_out=None)
    (folder,) = (tmp_path / "checkpoints").glob("step-*")
    whole = (folder / "state.pt").read_bytes()
    (folder / "state.pt").write_bytes(whole[:-100])
    with pytest.raises(SurefootError, match="it is damaged"):
        run(tmp_path, loop=replace(LOOP, steps=2), held_out=None, resume=True)
    (folder / "checkpoint.json").write_text("{}")
    with pytest.raises(SurefootError, match="it is no checkpoint"):
        run(tmp_path, loop=replace(LOOP, steps=2), held_out=None, resume=True)


def test_code_in_a_checkpoint_does_not_run(tmp_path):
    run(tmp_path, loop=replace(LOOP, steps=2), held_out=None)
    (folder,) = (tmp_path / "checkpoints").glob("step-*")
    torch.save({"shared": network()}, folder / "state.pt")
    with pytest.raises(SurefootError, match=r"cannot read.*UnpicklingError"):
        run(tmp_path, loop=replace(LOOP, steps=2), held_out=None, resume=True)


def test_another_version_warns(tmp_path, monkeypatch):
    assert in_a_process(killed_at_step, tmp_path, 5) == -signal.SIGKILL
    monkeypatch.setattr(_resume, "versions", lambda *_: {"torch": "0.4"})
    with pytest.warns(SurefootWarning, match="may not be the same to the bit"):
        run(tmp_path, resume=True)
