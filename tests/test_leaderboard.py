"""The leaderboard: cards that contradict themselves are refused, the page is what they say."""

import copy
from pathlib import Path

import pytest
import torch
from torch import nn

from studies import _board, leaderboard
from studies._board_page import page
from studies._tasks import smoke
from surefoot import SurefootError, attack, gradients, models
from surefoot.files import seal
from surefoot.models import CARD, WEIGHTS, _saved

BRIEF = _board.Protocol(images=4, steps=2, ensemble=2, accuracy=60, checked=2)
NAME = "digits/mine"
ABOUT = {"method": "Natural()", "command": "python train.py", "figures": {"accuracy": 0.9}}


@pytest.fixture(scope="module")
def digits():
    """A network that knows a little of the digits."""
    task = smoke()
    samples = task.load("train")
    net = models.build("rar-cnn", seed=0, **task.options)
    optimiser = torch.optim.Adam(net.parameters(), lr=1e-2)
    source = torch.Generator().manual_seed(0)
    for _ in range(25):
        some = torch.randint(len(samples), (64,), generator=source)
        optimiser.zero_grad()
        nn.functional.cross_entropy(net(samples.inputs[some]), samples.labels[some]).backward()
        optimiser.step()
    return net.eval()


@pytest.fixture
def zoo(tmp_path, monkeypatch):
    """An empty zoo, in an empty working directory."""
    for module in (_saved, models):
        monkeypatch.setattr(module, "ZOO", tmp_path / "package")
    monkeypatch.chdir(tmp_path)
    return tmp_path / "package"


@pytest.fixture
def folder(digits, tmp_path):
    settings = smoke().options
    models.save(digits, tmp_path / "saved", "rar-cnn", settings=settings, about=ABOUT)
    return tmp_path / "saved"


def test_one_command_adds_a_network(folder, zoo):
    assert leaderboard.add(NAME, folder, None, BRIEF) == zoo / NAME / CARD
    x = smoke().load("test").inputs[:5]
    assert torch.equal(models.load(NAME)(x), models.load(folder)(x))
    card = models.cards()[NAME]
    told = card["standing"]
    net, test = models.load(NAME), smoke().load("test")
    right = gradients.predict(net, test.inputs[:60]).argmax(1) == test.labels[:60]
    assert told["measured"]["accuracy"] == pytest.approx(float(right.float().mean()), abs=1e-4)
    assert told["claimed"] == {"accuracy": 0.9}
    x = test.inputs[:60][right][:4]
    names = ["TopK", "RAR's protocol", "Ensemble"]
    left = [
        one(net, x, None, _board.MAP).scores["topk_intersection"]
        for one in BRIEF.attacks(smoke()).values()
    ]
    for name, one in zip(names, left, strict=True):
        assert told["measured"]["left"][name] == pytest.approx(float(one.mean()), abs=1e-4)
    worst = torch.stack(left).amin(0)
    assert told["best known"]["each"] == pytest.approx(worst.tolist(), abs=1e-4)
    assert told["measured"]["command"] == f"python -m studies.leaderboard add {NAME} --root DATA"
    again = leaderboard.add(NAME, zoo / NAME, None, BRIEF)  # measured anew
    assert models.read_card(again.parent) == card
    text = page(models.cards())
    row = next(line for line in text.splitlines() if f"| `{NAME}` |" in line)
    assert f"**{told['best known']['left']:.3f}**" in row
    assert "| accuracy 0.900 | in the package |" in row


def test_large_weights_are_files_of_a_release(folder, zoo, tmp_path, monkeypatch):
    monkeypatch.setattr(leaderboard, "LARGEST", 1000)
    leaderboard.add(NAME, folder, None, BRIEF)
    assert not (zoo / NAME / WEIGHTS).exists()
    assert (tmp_path / "zoo" / "digits--mine.safetensors").is_file()
    assert models.load(NAME, zoo=tmp_path / "zoo")
    assert "| release |" in page(models.cards())


def test_a_stronger_attack_lowers_the_best_known(folder, zoo, digits):
    leaderboard.add(NAME, folder, None, BRIEF)
    net, task = models.load(NAME), smoke()
    x = _board.images(net, task, task.load("test"), BRIEF)
    strong = attack.TopK(attack.Linf(task.epsilon, steps=15), k=task.k)
    hurt = strong(net, x, None, _board.MAP)
    old = models.cards()[NAME]["standing"]["best known"]
    new = _board.verified(net, task, x, hurt.inputs, old, "TopK, them")
    left = hurt.scores["topk_intersection"]
    lowest = torch.minimum(left, torch.tensor(old["each"]))
    assert new["left"] == pytest.approx(float(lowest.mean()), abs=1e-4)
    assert new["left"] < old["left"]
    finders = zip(new["found by"], left.tolist(), old["each"], strict=True)
    assert all((by == "TopK, them") == (mine < theirs - 1e-6) for by, mine, theirs in finders)
    for examples, says in [
        (x, "no example leaves less"),
        (x[:2], "examples of shape"),
        (x + 0.2, r"lie up to 0\.2 from their images"),
    ]:
        with pytest.raises(SurefootError, match=says):
            _board.verified(net, task, x, examples, old, "them")
    wrong = attack.PGD(attack.Linf(task.epsilon, steps=20))(net, x, None)
    with pytest.raises(SurefootError, match="examples change the prediction"):
        _board.verified(net, task, x, wrong.inputs, old, "them")


class Masked(nn.Module):
    """Answers well, and has a gradient almost nowhere."""

    def __init__(self, net):
        super().__init__()
        self.net = net

    def forward(self, x):
        blurred = (x * 4).round() / 4
        return self.net(blurred + 0.001 * (x - x.detach()))


def test_masked_gradients_are_told(digits):
    task = smoke()
    about = {"method": "x", "by": "y", "source": "z", "claimed": {}, "command": "c"}
    plain = _board.standing(digits, task, task.load("test"), BRIEF, about)
    assert plain["unreliable"] is None
    masked = _board.standing(Masked(digits).eval(), task, task.load("test"), BRIEF, about)
    assert masked["unreliable"]


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda s: s.pop("method"), "standing: method is missing, expected str"),
        (lambda s: s["measured"].pop("left"), "measured: left is missing"),
        (lambda s: s["measured"].update(accuracy=1.5), r"accuracy is 1\.5, expected a share"),
        (lambda s: s["best known"]["each"].pop(), "tells of 23 images and 24 finders, and 24"),
        (lambda s: s["best known"].update(left=0.0), "is not the mean of its images"),
        (lambda s: s["measured"]["left"].update(New=0.0), "the best known is the worst of all"),
        (lambda s: s.update(unreliable=""), "expected the reason or null"),
        (lambda s: s["threat"].update(epsilon="0.1"), "threat: epsilon is '0.1', expected float"),
    ],
)
def test_a_card_that_contradicts_itself_is_refused(change, says, folder):
    found = copy.deepcopy(models.cards()["fashion-mnist/narrow-natural"]["standing"])
    change(found)
    card = {k: v for k, v in models.read_card(folder).items() if k not in ("files", "digest")}
    weights = (folder / WEIGHTS).read_bytes()
    (folder / CARD).write_bytes(seal({**card, "standing": found}, {WEIGHTS: weights}))
    with pytest.raises(SurefootError, match=says):
        models.load(folder)


def test_what_cannot_be_added(folder, zoo, digits, tmp_path):
    with pytest.raises(SurefootError, match="begins with no data set of the board"):
        leaderboard.add("mine", folder, None, BRIEF)
    bare = tmp_path / "bare"
    models.save(digits, bare, "rar-cnn", settings=smoke().options)
    with pytest.raises(SurefootError, match="says neither how its network was trained"):
        leaderboard.add(NAME, bare, None, BRIEF)
    untrained = models.build("rar-cnn", seed=1, **smoke().options)
    for value in untrained.parameters():
        value.detach().zero_()
    models.save(untrained, bare, "rar-cnn", settings=smoke().options, about=ABOUT)
    many = _board.Protocol(images=40, steps=1, ensemble=1, accuracy=60, checked=2)
    with pytest.raises(SurefootError, match="is it for this data set"):
        leaderboard.add(NAME, bare, None, many)
    with pytest.raises(SurefootError, match="the study trains no"):
        leaderboard.cell("fashion-mnist/x", "fashion-mnist/none/0", None, tmp_path, tmp_path)


def test_the_page_is_what_the_cards_say():
    """`python -m studies.leaderboard page` makes it anew."""
    committed = Path(leaderboard.__file__).parents[1] / leaderboard.PAGE
    assert committed.read_text(encoding="utf-8") == page(models.cards())


def test_warnings_of_the_ensemble_are_reasons():
    reason = _board._reason({"a": 1.0, "b": 0.0}, 0.2, 0.5, ["chance", "chance"])
    assert reason == "chance"
    assert _board._reason({"a": 1.0, "b": 0.0}, 0.2, 0.5, []) is None
    assert "random signs leave 0.10" in _board._reason({"a": 1.0, "b": 0.0}, 0.2, 0.1, [])
