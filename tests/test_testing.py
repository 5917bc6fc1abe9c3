"""check_explainer finds what it is there to find."""

import dataclasses

import pytest
import torch
from torch import nn

from surefoot import SurefootError
from surefoot.explain import (
    Captum,
    Decoy,
    ExpectedGradients,
    Explainer,
    Gradient,
    InputXGradient,
    IntegratedGradients,
    SmoothGrad,
)
from surefoot.testing import check_explainer

NAMES = ["completeness", "batch invariance", "determinism", "differentiability", "randomisation"]


@pytest.fixture(params=[nn.Softplus, nn.ReLU])
def model(request):
    torch.manual_seed(0)
    layers = [nn.Conv2d(3, 4, 3), request.param(), nn.Flatten(), nn.Linear(64, 3)]
    return nn.Sequential(*layers).eval()


@pytest.fixture
def images():
    return torch.rand(4, 3, 6, 6, generator=torch.Generator().manual_seed(1))


BUILT_INS = [
    Gradient(),
    Gradient("log_probability"),
    InputXGradient(),
    IntegratedGradients(steps=32),
    SmoothGrad(samples=5),
    SmoothGrad(IntegratedGradients(steps=4), samples=3, statistic="variance"),
    ExpectedGradients(torch.rand(4, 3, 6, 6), samples=5),
]


@pytest.mark.parametrize("explainer", BUILT_INS, ids=repr)
def test_the_built_ins_pass(explainer, model, images):
    kept = {name: value.clone() for name, value in model.state_dict().items()}
    state = torch.get_rng_state()
    report = check_explainer(explainer, model, images)
    assert report.passed, report
    assert [check.name for check in report.checks] == NAMES
    assert report["differentiability"].value is not None
    assert torch.equal(state, torch.get_rng_state())
    assert all(torch.equal(kept[name], value) for name, value in model.state_dict().items())
    assert all(p.grad is None for p in model.parameters())


def test_an_adapter_that_refuses_to_differentiate_passes(model, images):
    report = check_explainer(Captum("Saliency"), model, images)
    assert report.passed, report
    assert report["differentiability"].value is None
    assert "refused" in report["differentiability"].note


def failed(function, model, images):
    report = check_explainer(function, model, images)
    return {check.name for check in report.checks if not check.passed}


def gradient_map(model, inputs, target):
    return Gradient()(model, inputs, target)


def test_a_map_that_ignores_the_model_fails_randomisation(model, images):
    def edges(model, inputs, target):
        return inputs - inputs.roll(1, -1)

    assert failed(edges, model, images) == {"randomisation"}


def test_a_constant_map_fails_randomisation(model, images):
    assert failed(lambda m, x, t: torch.ones_like(x), model, images) == {"randomisation"}


def test_zeros_of_both_maps_do_not_count_as_agreement(model, images):
    padded = torch.nn.functional.pad(images[..., :4], (0, 2)) * 1.0

    def inside(model, inputs, target):
        return gradient_map(model, inputs, target) * (inputs != 0)

    value = check_explainer(inside, model, padded)["randomisation"].value
    whole = check_explainer(inside, model, images)["randomisation"].value
    assert abs(value) < 0.5
    assert abs(value - whole) < 0.2


def test_a_map_that_mixes_the_batch_fails_invariance(model, images):
    def scaled(model, inputs, target):
        maps = gradient_map(model, inputs, target)
        return maps / maps.abs().max()

    assert failed(scaled, model, images) == {"batch invariance"}
    assert failed(scaled, model, images[:1]) == {"batch invariance"}


def test_a_map_that_depends_on_the_place_in_the_batch_fails_invariance(model, images):
    def placed(model, inputs, target):
        factors = torch.arange(1, len(inputs) + 1).view(-1, 1, 1, 1)
        return gradient_map(model, inputs, target) * factors

    assert failed(placed, model, images) == {"batch invariance"}


def test_a_random_map_fails_determinism(model, images):
    def noisy(model, inputs, target):
        return gradient_map(model, inputs, target) * (1 + 0.01 * torch.rand_like(inputs))

    assert "determinism" in failed(noisy, model, images)


@dataclasses.dataclass(frozen=True)
class HalfGraph(Explainer):
    """Differentiable in the inputs alone, as captum's Integrated Gradients."""

    def attribute(self, request):
        return request.inputs * Gradient().attribute(request).detach()


@dataclasses.dataclass(frozen=True)
class NoGraph(Explainer):
    def attribute(self, request):
        return Gradient().attribute(request).detach()


@dataclasses.dataclass(frozen=True)
class Incomplete(Explainer):
    """Promises completeness and sums to half of it."""

    def attribute(self, request):
        return IntegratedGradients().attribute(request) / 2

    def completeness_gap(self, model, inputs, target=None, *, extra=None):
        return self(model, inputs, target).flatten(1).sum(1)


@pytest.mark.parametrize("explainer", [HalfGraph(), NoGraph()], ids=repr)
def test_a_graph_that_is_not_there_fails_differentiability(explainer, model, images):
    assert failed(explainer, model, images) == {"differentiability"}


def test_a_broken_promise_of_completeness_fails(model, images):
    assert failed(Incomplete(), model, images) == {"completeness"}
    report = check_explainer(Gradient(), model, images)
    assert report["completeness"].threshold is None
    assert report["completeness"].value > 0.05


def test_completeness_is_zero_for_input_times_gradient_on_a_linear_model():
    torch.manual_seed(0)
    linear = nn.Linear(5, 3).double().eval()
    report = check_explainer(InputXGradient(), linear, torch.rand(3, 5).double(), 1)
    assert report["completeness"].value < 1e-12


def test_it_reads_as_a_table(model, images):
    report = check_explainer(lambda m, x, t: x, model, images)
    lines = str(report).splitlines()
    assert lines[0].startswith("FAILED: Function(")
    assert [line.split("  ")[1] for line in lines[1:]] == NAMES
    assert repr(report) == str(report)
    with pytest.raises(SurefootError, match="randomisation"):
        report["randomization"]


def test_layers_given_as_modules_follow_the_copies(model, images):
    report = check_explainer(Captum("LayerGradCam", layer=model[0]), model, images)
    assert report["randomisation"].value < 0.95


def test_inputs_in_double_precision_are_left_alone(model, images):
    given = images.double()
    kept = given.clone()
    check_explainer(Gradient(), model.double(), given)
    assert torch.equal(given, kept)
    assert not given.requires_grad


def test_decoys_are_held_fixed_for_the_derivative():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 2), nn.Softplus(), nn.Linear(2, 3)).eval()
    explainer = Decoy(Gradient("log_probability"), layer="0", decoys=4, epsilon=0.5)
    report = check_explainer(explainer, model, torch.rand(2, 6))
    assert report["differentiability"].passed, report
    assert "offsets held fixed" in report["differentiability"].note
    assert report["batch invariance"].passed, report


def test_extra_inputs_are_passed_on():
    class Masked(nn.Module):
        def __init__(self):
            super().__init__()
            torch.manual_seed(0)
            self.head = nn.Sequential(nn.Linear(3, 8), nn.Softplus(), nn.Linear(8, 2))

        def forward(self, x, mask):
            return self.head((x * mask[..., None]).sum(1))

    model, x, mask = Masked().eval(), torch.rand(3, 5, 3), torch.rand(3, 5) > 0.5
    mask[:, 0] = True
    report = check_explainer(Gradient(), model, x, extra={"mask": mask})
    assert report.passed, report


def test_a_layout_that_can_be_mistaken_is_said_in_the_call():
    torch.manual_seed(0)
    layers = [nn.Conv1d(2, 4, 3), nn.Softplus(), nn.Flatten(), nn.Linear(32, 3)]
    net, x = nn.Sequential(*layers).eval(), torch.rand(3, 2, 10)
    e = Decoy(Gradient("probability"), layer="0", decoys=4)
    with pytest.raises(SurefootError, match="a signal"):
        check_explainer(e, net, x)
    report = check_explainer(e, net, x, layout="signal")
    assert report["differentiability"].value is not None
    assert report.passed, report
