"""Derivatives that are not there: right, or refused with the remedy; never silently zero."""

import copy

import pytest
import torch
import torch.nn.functional as F  # noqa: N812 (its usual name)
from torch import nn
from torch.autograd.function import once_differentiable
from torch.utils.checkpoint import checkpoint

from surefoot import SurefootError, SurefootWarning, attack, explain, models, train
from surefoot.attack import PGD, Linf, TopK
from surefoot.explain import Captum, Decoy, Gradient, IntegratedGradients, SmoothGrad
from surefoot.models import Classifier

BUDGET = Linf(0.05, steps=3)


def plain(activation=nn.Tanh, dtype=torch.float32):
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(6, 8), activation(), nn.Linear(8, 3))
    return net.eval().to(dtype)


def inputs(dtype=torch.float32):
    return torch.rand(2, 6, generator=torch.Generator().manual_seed(1)).to(dtype)


class Around(nn.Module):
    """A network with an operation of one's own in front."""

    def __init__(self, operation, net):
        super().__init__()
        self.operation, self.net = operation, net

    def forward(self, x):
        return self.net(self.operation(x))


class Cube(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x**3

    @staticmethod
    def backward(ctx, g):
        (x,) = ctx.saved_tensors
        return 3 * x**2 * g


class CubeOnce(Cube):
    backward = staticmethod(once_differentiable(Cube.backward))


class CubeOff(Cube):
    """Leaves the graph in its backward pass without saying so."""

    @staticmethod
    def backward(ctx, g):
        (x,) = ctx.saved_tensors
        return 3 * x.detach() ** 2 * g


class Sign(torch.autograd.Function):
    """Piecewise linear with a backward pass that is constant, and rightly so."""

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x > 0.5)
        return (x - 0.5).clamp_min(0)

    @staticmethod
    def backward(ctx, g):
        (above,) = ctx.saved_tensors
        return g * above


def slope(model, x, explainer=None):
    at = x.clone().requires_grad_()
    maps = (explainer or Gradient("probability"))(model, at, 0)
    return torch.autograd.grad((maps * maps).sum(), at)[0]


@pytest.mark.parametrize("function", [CubeOnce, CubeOff])
@pytest.mark.parametrize("tail", [plain(), nn.Linear(6, 3, bias=False)], ids=["curved", "linear"])
def test_an_operation_without_second_derivative_is_named(function, tail):
    model, same = Around(function.apply, tail).eval(), Around(Cube.apply, tail).eval()
    x = inputs()
    torch.testing.assert_close(Gradient()(model, x, 0), Gradient()(same, x, 0))
    maps = Gradient()(model, x.clone().requires_grad_(), 0)  # the map itself is right
    with pytest.raises(SurefootError, match=rf"{function.__name__}.*second_order=\"finite\""):
        maps.sum().backward()
    with pytest.raises(SurefootError, match="no derivative"):
        slope(model, x, explain.ExpectedGradients(torch.zeros(1, 6), samples=2))
    ways = {"second_order": "finite", "beta": None, "k": 2}
    a, b = (TopK(BUDGET, **ways)(each, x, 0, Gradient()).inputs for each in (model, same))
    torch.testing.assert_close(a, b)


def test_operations_of_ones_own_that_are_whole_are_left_alone():
    x = inputs(torch.float64)
    for function in (Cube, Sign):
        model = Around(function.apply, plain(dtype=torch.float64)).eval()
        step, way = 1e-6, torch.ones_like(x)
        square = [
            (Gradient("probability")(model, x + s * step * way, 0) ** 2).sum() for s in (1, -1)
        ]
        change = (square[0] - square[1]) / (2 * step)
        torch.testing.assert_close((slope(model, x) * way).sum(), change, rtol=1e-6, atol=1e-9)


class Checkpointed(nn.Module):
    def __init__(self, net, *, reentrant):
        super().__init__()
        self.net, self.reentrant = net, reentrant

    def forward(self, x):
        hidden = checkpoint(self.net[:2], x, use_reentrant=self.reentrant)
        return self.net[2](hidden)


@pytest.mark.parametrize("second_order", ["exact", "finite"])
@pytest.mark.parametrize("beta", ["auto", None])
def test_checkpointing_changes_no_attack(second_order, beta):
    net, x = plain(nn.ReLU if beta else nn.SiLU), inputs()
    a = TopK(BUDGET, k=2, second_order=second_order, beta=beta)
    found = a(Checkpointed(net, reentrant=False).eval(), x, None, Gradient("probability"))
    wanted = a(net, x, None, Gradient("probability"))
    torch.testing.assert_close(found.inputs, wanted.inputs)
    assert not torch.equal(found.inputs, x)


def test_training_through_a_surrogate_of_a_checkpointed_model():
    net, x, y = plain(nn.ReLU).train(), inputs(), torch.tensor([0, 1])
    gradients = []
    for model in (net, Checkpointed(net, reentrant=False).train()):
        loss = train.InputGradientAlignment(0.1, steps=1, random_start=False)(model, x, y).total
        gradients.append(torch.autograd.grad(loss, list(net.parameters())))
    for a, b in zip(*gradients, strict=True):
        torch.testing.assert_close(a, b)


def test_attention_inside_a_checkpoint_can_be_differentiated_twice():
    class Attention(nn.Module):
        def forward(self, x):
            def attend(v):
                rows = v.view(len(v), 1, 3, 2)
                return v + F.scaled_dot_product_attention(rows, rows, rows).flatten(1)

            return checkpoint(attend, x, use_reentrant=False)

    a = TopK(BUDGET, k=2, second_order="exact")
    model = Around(Attention(), plain()).eval()
    assert not torch.equal(a(model, inputs(), None, Gradient("probability")).inputs, inputs())


class Attends(nn.Module):
    """Attention, in a checkpoint or not."""

    def __init__(self, *, kept: bool) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.into, self.out, self.kept = nn.Linear(6, 6), nn.Linear(6, 3), kept

    def attend(self, v):
        rows = self.into(v).view(len(v), -1, 2, 3).transpose(1, 2)
        return F.silu(F.scaled_dot_product_attention(rows, rows, rows).transpose(1, 2).flatten(2))

    def forward(self, x):
        found = self.attend(x) if self.kept else checkpoint(self.attend, x, use_reentrant=False)
        return self.out(found.mean(1))


@pytest.mark.parametrize(
    "objective",
    [
        train.IGR(),
        train.IGNorm(0.05, steps=1),
        train.JacobianRegularization(),
        train.SCAAT(0.05, steps=1),
    ],
    ids=lambda objective: type(objective).__name__,
)
def test_training_with_attention_inside_a_checkpoint(objective):
    """The user's own backward pass comes when attention may take any kernel again."""
    x, y, slopes = torch.rand(2, 4, 6), torch.tensor([0, 1]), []
    for kept in (True, False):
        net = Classifier(Attends(kept=kept).train(), layout="tokens")
        loss = objective(net, x, y, generator=torch.Generator().manual_seed(0)).total
        loss.backward()
        slopes.append([p.grad for p in net.parameters()])
    for a, b in zip(*slopes, strict=True):
        torch.testing.assert_close(a, b)


def raising(words):
    class Refuses(torch.autograd.Function):
        @staticmethod
        def forward(_ctx, x):
            return x.clone()

        @staticmethod
        def backward(_ctx, _g):
            raise RuntimeError(words)

    return Refuses.apply


def through_numpy(x):
    return torch.from_numpy(x.numpy() * 2)


@pytest.mark.parametrize(
    ("model", "told"),
    [
        (Checkpointed(plain(), reentrant=True).eval(), "use_reentrant=False"),
        (Around(raising("cudnn RNN backward can only be called in training mode"), plain()).eval(),
         r"torch.backends.cudnn.flags\(enabled=False\)"),
        (Around(raising("derivative for aten::_fused is not implemented"), plain()).eval(),
         'second_order="finite"'),
        (Around(through_numpy, plain()).eval(), "NumPy array"),
        (plain(dtype=torch.float64), r"inputs are torch.float32 .*weights torch.float64"),
        (nn.Sequential(nn.LazyLinear(4), nn.LazyBatchNorm1d(), nn.LazyLinear(3)).eval(),
         r"lazy layers.*model\(inputs\)"),
    ],
    ids=["reentrant", "cudnn", "once", "numpy", "dtype", "lazy"],
)  # fmt: skip
@pytest.mark.filterwarnings("ignore:Lazy modules")
def test_what_pytorch_refuses_comes_with_the_remedy(model, told):
    for explainer in (Gradient(), IntegratedGradients(steps=2)):
        with pytest.raises(SurefootError, match=told):
            explainer(model, inputs(), 0)


def test_weights_made_under_inference_mode():
    with torch.inference_mode():
        made = plain()
    with pytest.raises(SurefootError, match=r"inference_mode.*copy.deepcopy\(model\)"):
        Gradient()(made, inputs(), 0)
    torch.testing.assert_close(
        Gradient()(copy.deepcopy(made), inputs(), 0), Gradient()(plain(), inputs(), 0)
    )


def test_half_precision_sums_do_not_drift():
    """400 draws added up in 16 bits would be off by far more than one rounding."""
    x, explainer = inputs(), SmoothGrad(Gradient(), samples=400, std=0.3)
    wanted = explainer(plain(), x, 0)
    for dtype, close in ((torch.float16, 2e-3), (torch.bfloat16, 1.6e-2)):
        found = explainer(plain(dtype=dtype), x.to(dtype), 0)
        assert found.dtype == dtype
        torch.testing.assert_close(found.float(), wanted, rtol=0, atol=close * wanted.abs().max())


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
@pytest.mark.parametrize("second_order", ["exact", "finite"])
def test_attacks_take_any_precision(dtype, second_order):
    a = TopK(Linf(0.1, steps=3, restarts=2), k=2, second_order=second_order)
    found = a(plain(nn.ReLU, dtype), inputs(dtype), None, Gradient("probability"))
    assert found.inputs.dtype == found.after.dtype == dtype
    assert attack.PGD(BUDGET)(plain(nn.ReLU, dtype), inputs(dtype)).inputs.dtype == dtype


def test_autocast_around_the_call_reaches_the_model_alone():
    x, explainer = inputs(), IntegratedGradients(steps=64)
    net = plain(nn.Tanh)
    with torch.autocast("cpu", torch.bfloat16):
        found = explainer(net, x, 0)
        gap = explainer.completeness_gap(net, x, 0)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, explainer(net, x, 0), rtol=0, atol=0.03)
    assert gap.abs().max() < 0.02


@pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")
def test_scripts_and_programs():
    net, x = plain(nn.ReLU), inputs()
    wanted = Gradient()(net, x, 0)
    scripts = [torch.jit.script(net), torch.jit.freeze(torch.jit.script(net))]
    fixed = torch.export.export(net, (x,)).module()
    with pytest.raises(SurefootError, match=r"one size only.*dynamic_shapes"):
        IntegratedGradients(steps=3)(fixed, x, 0)
    exported = torch.export.export(
        net, (x,), dynamic_shapes=({0: torch.export.Dim("batch")},)
    ).module()
    wrapped = [models.Classifier(each).eval() for each in (scripts[1], exported)]
    for model in (*scripts, exported, *wrapped):
        torch.testing.assert_close(Gradient()(model, x, 0), wanted)
        for method in ("DeepLift", "GuidedBackprop", "LRP"):
            with pytest.raises(SurefootError, match="silently return the plain gradient"):
                Captum(method)(model, x, 0)
    with pytest.raises(SurefootError, match=r"inside a program that is scripted \(torch.jit\)"):
        explain.Decoy(Gradient(), layer="0")(scripts[0], x, 0)
    with pytest.warns(SurefootWarning, match="no smooth surrogate"):
        TopK(BUDGET, k=2)(scripts[0], x, 0, Gradient("probability"))
    a = TopK(BUDGET, k=2)
    found, same = (a(each, x, 0, Gradient("probability")).inputs for each in (exported, net))
    torch.testing.assert_close(found, same)


def test_a_program_exported_in_training_mode_is_refused():
    net = nn.Sequential(nn.Linear(6, 3), nn.Dropout()).train()
    program = torch.export.export(net, (inputs(),)).module()
    with pytest.raises(SurefootError, match=r"training mode.*before torch.export"):
        Gradient()(program, inputs(), 0)


@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor")  # of dynamo itself
def test_compiled_parts_are_seen_by_hooks():
    net = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 3)).eval()
    compiled = torch.compile(net, backend="eager")
    wanted = Captum("GuidedBackprop")(net, inputs(), 0)
    torch.testing.assert_close(Captum("GuidedBackprop")(compiled, inputs(), 0), wanted)
    a = TopK(BUDGET, k=2)
    found, same = (a(each, inputs(), 0, Gradient("probability")) for each in (compiled, net))
    torch.testing.assert_close(found.inputs, same.inputs)


def test_draws_do_not_follow_torchs_defaults():
    explainers = [
        SmoothGrad(samples=3),
        SmoothGrad(samples=3, statistic="variance"),
        IntegratedGradients(steps=3, baseline=0.1),
        explain.ExpectedGradients(torch.rand(4, 6), samples=6),
    ]
    attacks = [TopK(Linf(0.1, steps=2, restarts=2), k=2), attack.TopK(attack.L2(0.1, steps=2), k=2)]
    net, x = plain(), inputs()

    def everything():
        maps = [explainer(net, x, 0) for explainer in explainers]
        return [*maps, *(a(net, x, 0, Gradient("probability")).inputs for a in attacks)]

    wanted = everything()
    try:
        torch.set_default_device("meta")  # stands for an accelerator
        torch.set_default_dtype(torch.float64)
        found = everything()
    finally:
        torch.set_default_device("cpu")
        torch.set_default_dtype(torch.float32)
    for a, b in zip(found, wanted, strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=1e-6)


def test_a_backward_pass_that_fails_says_so():
    net = Around(raising("this model wants model.train()"), plain()).eval()
    told = "the model's backward pass fails: RuntimeError: this model wants"
    with pytest.raises(SurefootError, match=told):
        Gradient()(net, inputs(), 0)
    with pytest.raises(SurefootError, match=told):
        PGD(BUDGET)(net, inputs())


def test_prediction_attacks_need_a_gradient():
    with pytest.raises(SurefootError, match="no gradient with respect to its inputs"):
        PGD(BUDGET)(Around(lambda x: x.detach(), plain()).eval(), inputs())


@pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors")
def test_a_transformer_that_pads_has_decoys_at_its_layers():
    """Without gradients PyTorch runs its layers as one kernel, where a layer is not to be seen."""

    class Padded(nn.Module):
        def __init__(self):
            super().__init__()
            torch.manual_seed(0)
            layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
            self.encoder, self.out = nn.TransformerEncoder(layer, 1), nn.Linear(8, 3)

        def forward(self, x, pad):
            return self.out(self.encoder(x, src_key_padding_mask=pad).mean(1))

    net, x = Classifier(Padded().eval(), layout="tokens"), torch.rand(2, 4, 8)
    pad = torch.tensor([[False, False, False, True], [False] * 4])
    before = torch.backends.mha.get_fastpath_enabled()
    layer = "module.encoder.layers.0.norm1"
    found = Decoy(Gradient("probability"), decoys=4, layer=layer, epsilon=0.05)
    result = found.explain(net, x, extra={"pad": pad})
    assert result.details["deviation"].max() <= 0.05 * (1 + 1e-4)
    assert torch.backends.mha.get_fastpath_enabled() == before


@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor")  # of dynamo itself
def test_layers_of_a_model_that_was_compiled_before_are_seen():
    net, x = plain(), inputs()
    compiled = torch.compile(net, backend="eager")
    with torch.no_grad():
        compiled(x)
    e = Decoy(Gradient("probability"), layer="1", decoys=4)
    torch.testing.assert_close(e(compiled, x, 0), e(net, x, 0))


@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor")  # of dynamo itself
def test_tokens_of_a_compiled_model_without_a_length():
    class Text(nn.Module):
        def __init__(self):
            super().__init__()
            torch.manual_seed(0)
            self.words, self.out = nn.Embedding(9, 4), nn.Linear(4, 3)

        def forward(self, words):
            return self.out(self.words(words.t()).tanh().mean(0))

    net, tokens = Text().eval(), torch.tensor([[1, 2, 3], [4, 5, 1]])
    model = Classifier(net, embedding="words")
    compiled = Classifier(torch.compile(net, backend="eager"), embedding="_orig_mod.words")
    x = model.embed(tokens)
    torch.testing.assert_close(Gradient()(compiled, x, 0), Gradient()(model, x, 0))


@pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")
def test_grad_cam_passes_scripted_parts_over():
    torch.manual_seed(0)
    script = torch.jit.script(nn.Sequential(nn.ReLU(), nn.Flatten()))
    net = nn.Sequential(nn.Conv2d(3, 4, 3), script, nn.Linear(64, 3)).eval()
    x = torch.rand(2, 3, 6, 6)
    found = Captum("LayerGradCam")(net, x, 0)
    torch.testing.assert_close(found, Captum("LayerGradCam", layer="0")(net, x, 0))
