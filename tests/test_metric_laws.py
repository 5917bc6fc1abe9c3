"""Laws that hold for every metric of the registry."""

import importlib
import inspect
import pkgutil
import re

import pytest
import torch
from torch import nn

from measured import get
from surefoot import SurefootError, explain, metric

SAMPLES = 5


def make_net():
    torch.manual_seed(0)
    layers = [nn.Conv2d(3, 4, 3, stride=2), nn.Softplus(), nn.Conv2d(4, 4, 3), nn.Softplus()]
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(36, 4)).double().eval()


def make_given():
    """Arguments for each word of `needs`."""
    generator = torch.Generator().manual_seed(1)
    images, images2 = (torch.rand(SAMPLES, 3, 12, 12, generator=generator).double() for _ in "12")
    model = make_net()
    explainer = explain.InputXGradient()
    maps = [explainer(model, x, 1) for x in (images, images2)]
    a, b = (explain.reduce(x, "sum_abs") for x in maps)
    target = torch.arange(SAMPLES) % 4
    mask = torch.zeros(SAMPLES, 12, 12)
    mask[:, 3:9, 2:7] = 1
    return {
        "a": a, "b": b, "h": explain.heatmap(maps[0]), "h2": explain.heatmap(maps[1]),
        "mask": mask, "model": model, "explainer": explainer, "images": images,
        "images2": images2, "target": target, "attributions": maps[0],
    }  # fmt: skip


GIVEN = make_given()


def score(name, pick=slice(None), **options):
    """The metric on some of the samples."""
    one = get(name, **options)
    values = [GIVEN[word] for word in one.needs]
    return one(*[value[pick] if isinstance(value, torch.Tensor) else value for value in values])


def close(found, expected):
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("name", metric.names())
def test_one_finite_number_a_sample_in_range(name):
    found = score(name)
    low, high = metric.REGISTRY[name].range
    assert found.shape == (SAMPLES,)
    assert found.isfinite().all()
    assert ((found >= low) & (found <= high)).all()
    assert found.unique().numel() > 1 or name in ("pointing_game", "effective_complexity")


@pytest.mark.parametrize("name", metric.names())
def test_batch_does_not_matter(name):
    whole = score(name)
    close(torch.cat([score(name, slice(i, i + 1)) for i in range(SAMPLES)]), whole)
    close(torch.cat([score(name, slice(0, 2)), score(name, slice(2, None))]), whole)


@pytest.mark.parametrize("name", metric.names())
def test_order_does_not_matter(name):
    order = torch.tensor([3, 0, 4, 2, 1])
    close(score(name, order), score(name)[order])


@pytest.mark.parametrize("name", metric.names())
def test_other_samples_do_not_matter(name, monkeypatch):
    before = score(name)
    for word in ("a", "b", "images", "images2", "h2", "attributions"):
        louder = GIVEN[word].clone()
        louder[0] *= 1000 if word in ("a", "b", "attributions") else 0.5
        monkeypatch.setitem(GIVEN, word, louder)
    close(score(name)[1:], before[1:])


CHUNKED = [
    name
    for name in metric.names()
    if "chunk" in inspect.signature(metric.REGISTRY[name].function).parameters
]


@pytest.mark.parametrize("name", CHUNKED)
def test_chunk_does_not_matter(name):
    whole = score(name, chunk=1000)
    for chunk in (1, 3, 7):
        close(score(name, chunk=chunk), whole)


@pytest.mark.parametrize("name", metric.names())
def test_pure(name):
    """Same again, nothing given is changed, no global draw is used."""
    state = torch.get_rng_state()
    copies = {k: v.clone() for k, v in GIVEN.items() if isinstance(v, torch.Tensor)}
    weights = {k: v.clone() for k, v in GIVEN["model"].state_dict().items()}
    assert torch.equal(score(name), score(name))
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(GIVEN[k], v) for k, v in copies.items())
    assert all(torch.equal(GIVEN["model"].state_dict()[k], v) for k, v in weights.items())
    assert all(p.grad is None for p in GIVEN["model"].parameters())


@pytest.mark.parametrize("name", metric.names())
def test_single_precision_gives_single_precision(name, monkeypatch):
    double = score(name)
    for word in ("a", "b", "h", "h2", "images", "images2", "attributions"):
        monkeypatch.setitem(GIVEN, word, GIVEN[word].float())
    monkeypatch.setitem(GIVEN, "model", make_net().float())
    found = score(name)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found.double(), double, rtol=2e-3, atol=2e-4)


@pytest.mark.parametrize("name", metric.names())
def test_memory_layout_does_not_matter(name, monkeypatch):
    before = score(name)
    for word in ("images", "images2", "attributions"):
        turned = GIVEN[word].to(memory_format=torch.channels_last)
        monkeypatch.setitem(GIVEN, word, turned)
    for word in ("a", "b", "h", "h2", "mask"):
        monkeypatch.setitem(GIVEN, word, GIVEN[word].transpose(1, 2).contiguous().transpose(1, 2))
    close(score(name), before)


@pytest.mark.parametrize("name", metric.names())
def test_docstring_says_direction_range_and_source(name):
    function = metric.REGISTRY[name].function
    text = inspect.getdoc(function)
    better = "higher" if metric.REGISTRY[name].higher_is_better else "lower"
    assert better in text.split("\n\n")[0]
    assert ">>>" in text
    assert getattr(metric, name) is function


@pytest.mark.parametrize("name", metric.names())
def test_help_describes_every_argument_and_the_result(name):
    function = metric.REGISTRY[name].function
    sections = dict(
        re.findall(r"^(Args|Returns|Raises):\n((?: .*\n)+)", inspect.getdoc(function), re.M)
    )
    assert set(sections) == {"Args", "Returns", "Raises"}
    described = re.findall(r"^    (\w+): \S", sections["Args"], re.M)
    assert described == list(inspect.signature(function).parameters)


def test_the_face_knows_the_metrics_of_every_file():
    known = set(metric.names())
    for module in pkgutil.iter_modules(metric.__path__):
        importlib.import_module(f"surefoot.metric.{module.name}")
    assert set(metric.names()) == known <= set(metric.__all__)


@pytest.mark.parametrize("name", metric.names())
def test_needs_are_the_first_arguments(name):
    one = metric.REGISTRY[name]
    parameters = list(inspect.signature(one.function).parameters.values())
    required = [p.name for p in parameters if p.default is p.empty and p.kind is not p.KEYWORD_ONLY]
    assert required == [word for word in one.needs if word != "target"]
    rest = [p for p in parameters[len(one.needs) :] if p.name != "k"]
    assert all(p.kind is p.KEYWORD_ONLY for p in rest)


MAPPED = [name for name in metric.names() if metric.REGISTRY[name].needs[0] in ("a", "h")]


@pytest.mark.parametrize("name", MAPPED)
@pytest.mark.parametrize("spoil", ["nan", "shape", "type", "scalar"])
def test_bad_maps_are_refused(name, spoil, monkeypatch):
    for word in metric.REGISTRY[name].needs[:1]:
        value = GIVEN[word].clone()
        if spoil == "nan":
            value[0, 0, 0] = torch.nan
        bad = {"nan": value, "shape": value[:, :-1] if len(metric.REGISTRY[name].needs) > 1
               else value[:0], "type": value.numpy(), "scalar": value[0, 0, 0]}[spoil]  # fmt: skip
        monkeypatch.setitem(GIVEN, word, bad)
    one = get(name)
    with pytest.raises(SurefootError):
        one(*[GIVEN[word] for word in one.needs])


MODELLED = [name for name in metric.names() if "model" in metric.REGISTRY[name].needs]


@pytest.mark.parametrize("name", MODELLED)
@pytest.mark.parametrize(
    ("word", "bad", "message"),
    [
        ("model", make_net().train(), "training mode"),
        ("images", torch.full((SAMPLES, 3, 12, 12), torch.nan), "NaN"),
        ("target", torch.full((SAMPLES,), 4), "target spans"),
    ],
)
def test_bad_requests_are_refused(name, word, bad, message, monkeypatch):
    monkeypatch.setitem(GIVEN, word, bad)
    with pytest.raises(SurefootError, match=message):
        score(name)


FIDELITY = [
    name for name in metric.names() if metric.REGISTRY[name].needs[:2] == ("model", "images")
]


@pytest.mark.parametrize("name", FIDELITY)
def test_maps_that_do_not_fit_the_images_are_refused(name, monkeypatch):
    for bad in (GIVEN["h"][:, :-1], GIVEN["h"][:-1]):
        monkeypatch.setitem(GIVEN, "h", bad)
        monkeypatch.setitem(GIVEN, "attributions", bad)
        with pytest.raises(SurefootError):
            score(name)


def test_get_sets_options_and_refuses_unknown_ones():
    one = metric.get("topk_intersection", k=7)
    assert one.options == {"k": 7}
    assert metric.REGISTRY["topk_intersection"].options == {}
    with pytest.raises(SurefootError, match=r"no option 'kk'; .*There are: k"):
        metric.get("topk_intersection", kk=7)
    with pytest.raises(SurefootError, match="did you mean kendall"):
        metric.get("kendal")


@pytest.mark.parametrize("k", [0, -1, 145, 1.0, 2.5, -0.1, True, "10"])
def test_bad_k_is_refused(k):
    with pytest.raises(SurefootError, match="k="):
        metric.topk_intersection(GIVEN["a"], GIVEN["b"], k)


@pytest.mark.parametrize("name", ["deletion", "comprehensiveness", "local_lipschitz"])
def test_a_call_that_does_not_fit_is_refused_in_the_name_of_the_metric(name):
    with pytest.raises(TypeError, match=rf"^{name}\(\) got an unexpected keyword argument 'step'"):
        getattr(metric, name)(*range(4), step=3)
