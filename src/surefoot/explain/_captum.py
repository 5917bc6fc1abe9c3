"""Any attribution method of captum (captum.ai) as an explainer."""

import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from surefoot import gradients, programs, turns
from surefoot.chunking import Block, each_block, rows_per_batch
from surefoot.errors import SurefootError
from surefoot.explain._base import Explainer, check_attributions, check_classes, refuse_graph
from surefoot.explain._captum_hooks import check_hooks, family, untouched
from surefoot.explain._captum_layers import find_layer, in_grid, needs_layer
from surefoot.explain._captum_options import INNER, find_methods, fit, signature, split_options
from surefoot.explain._captum_sums import sums_up, warn_of_sums
from surefoot.gradients import Query, Score
from surefoot.maps import Parts
from surefoot.undo import draws_kept

# Methods whose map of a sample was found not to depend on the rest of its batch; any other runs
# one sample at a time.
_BATCHABLE = (
    *("Saliency", "InputXGradient", "IntegratedGradients", "DeepLift", "Deconvolution"),
    *("GuidedBackprop", "GuidedGradCam", "LayerGradCam", "LayerActivation"),
    *("LayerGradientXActivation", "LayerIntegratedGradients", "LayerConductance"),
    *("InternalInfluence", "Occlusion", "FeatureAblation"),
)
_CHATTER = ("Setting (forward, )?backward hooks", "Input Tensor", "Minimum element in feature mask")


@dataclass(frozen=True, repr=False, init=False)
class Captum(Explainer):
    """A method of `captum.attr`, such as `Captum("DeepLift", baselines=0.0)`.

    Cannot be differentiated through. Methods that draw random numbers restart from `seed` for
    each sample and leave the global random state alone. Methods that depend on the rest of the
    batch run one sample at a time. A map of a layer, such as LayerGradCam's, is summed over
    channels, resized to the input (bilinear, align_corners=False) and copied to every channel;
    tokens of a vision transformer are laid out as the grid they are, and where no `layer` is
    named, it is the last one with places on which the score depends.
    captum's defaults hold: Saliency takes absolute values unless abs=False is given.

    Args:
        algorithm: a name in `captum.attr`, or a class like those there.
        options: keyword arguments of the method's constructor and of its `.attribute`, together;
            given as keywords. `layer` may be a module's name in the model; a number as
            `baselines` stands for an input full of it; a tensor shaped like one input gets its
            batch dimension.
        score: what is explained, see `Gradient`.
        seed: of random methods.

    Raises:
        SurefootError: at the call: an unknown method, option or layer; a method that would
            silently return the plain gradient because the model's activations are functions.

    >>> Captum("DeepLift", baselines=0.0)
    Captum('DeepLift', baselines=0.0, score='logit')
    >>> net = nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2)).eval()
    >>> Captum("Saliency", abs=False)(net, torch.ones(2, 4), target=0).shape
    torch.Size([2, 4])
    """

    algorithm: str | type
    options: Mapping[str, Any]
    score: Score
    seed: int

    def __init__(
        self,
        algorithm: str | type,
        *,
        options: Mapping[str, Any] | None = None,
        score: Score = "logit",
        seed: int = 0,
        chunk: int | None = None,
        **more: Any,
    ) -> None:
        if not isinstance(options, Mapping | None):
            raise SurefootError(f"options is a {type(options).__name__}, expected a mapping")
        given = {
            "algorithm": algorithm,
            "options": {**(options or {}), **more},
            "score": score,
            "seed": seed,
            "chunk": chunk,
        }
        for name, value in given.items():
            object.__setattr__(self, name, value)

    def settings(self) -> dict[str, object]:
        """The settings that belong to the recipe, the method's own options among them."""
        seed = {} if type(self.seed) is int and not self.seed else {"seed": self.seed}
        return {"algorithm": self.algorithm, **self.options, "score": self.score, **seed}

    def attribute(self, request: Query) -> Tensor:
        refuse_graph(request, repr(self))
        options = self.options
        *_, method = methods = find_methods(self.algorithm, options)
        _check_score(method, self.score)
        eager = programs.eagerly(request.model)
        with torch.inference_mode(False), torch.enable_grad(), eager:
            request = _plain(request)
            check_classes(request)
            whole = check_hooks(method, request)
            if needs_layer(methods, options):
                options = {**options, "layer": find_layer(request)}

            def compute(block: Block) -> Tensor:
                return self._one_batch(methods, options, request.take(block.samples), whole)

            rows = rows_per_batch(request.inputs, self.chunk)
            rows = rows if _batchable(methods[0], request.model) else 1
            parts = each_block(len(request.inputs), 1, rows, compute)
            return gradients.sum_blocks(parts, request.inputs)

    def _one_batch(
        self, methods: list[type], options: Mapping[str, Any], request: Query, whole: bool
    ) -> Tensor:
        each = _each(request)
        device = request.inputs.device
        seeded = draws_kept([device] if device.type == "cuda" else [], self.seed)
        with turns.alone(), untouched(request.model), seeded, _quiet(methods[0]):
            construct, call = split_options(methods, fit(options, methods[0], request))
            if isinstance(construct.get("layer"), nn.Module):
                construct["layer"] = in_grid(construct["layer"], request)
            call["additional_forward_args"] = tuple(request.extra.values()) or None
            if any("target" in signature(method, "attribute") for method in methods):
                call["target"] = request.target
            check = whole and sums_up(methods, options)
            if check:
                call["return_convergence_delta"] = True
            built: Any = _Scored(request, self.score)
            for method in reversed(methods):
                own = construct.keys() & signature(method, "__init__").keys() - {INNER}
                built = method(built, **{name: construct[name] for name in own})
            result = built.attribute(each, **call)
        if check:
            result, delta = result
            warn_of_sums(methods[0], result, delta)
        if isinstance(request.layout, Parts) and isinstance(result, tuple):
            result = request.layout.join(result)
        return check_attributions(_spread(result, request), request.inputs, repr(self))


def _each(request: Query) -> Any:
    """The inputs as captum takes them, several as a tuple."""
    if not isinstance(request.layout, Parts):
        return request.inputs.clone().requires_grad_()
    return tuple(x.clone().requires_grad_() for x in request.layout.split(request.inputs))


class _Scored(nn.Module):
    """Scores (N, K) from inputs and extra values by position, as captum passes them."""

    def __init__(self, request: Query, score: Score) -> None:
        super().__init__()
        self.model, self.extra, self.score = request.model, tuple(request.extra), score
        self.parts = request.layout if isinstance(request.layout, Parts) else None
        self.training = False

    def forward(self, *values: Tensor) -> Tensor:
        count = 1 if self.parts is None else len(self.parts.shapes)
        inputs = values[0] if self.parts is None else self.parts.join(values[:count])
        extra = dict(zip(self.extra, values[count:], strict=True))
        logits = gradients.forward(self.model, inputs, extra)
        gradients.check_score(self.model, self.score)
        return gradients.all_scores(logits, self.score)


def _check_score(method: type, score: Score) -> None:
    group = family(method)
    if group is not None and group.once and score != "logit":
        raise SurefootError(
            f"{method.__name__} has no rule for score={score!r}; use score='logit', or "
            "IntegratedGradients, which takes any score"
        )


def _batchable(method: type, model: nn.Module) -> bool:
    # captum's DeepLift rules for these two mix the samples of a batch.
    mixing = (nn.MaxPool1d, nn.MaxPool2d, nn.MaxPool3d, nn.Softmax)
    if method.__name__ == "DeepLift" and any(isinstance(m, mixing) for m in model.modules()):
        return False
    return method.__module__.startswith("captum.") and method.__name__ in _BATCHABLE


def _spread(result: object, request: Query) -> object:
    """A map of a layer at the size of the inputs; anything else as it is."""
    inputs = request.inputs
    if not isinstance(result, Tensor) or result.shape == inputs.shape or result.ndim < 3:
        return result
    if result.ndim != inputs.ndim or len(result) != len(inputs):
        return result
    if request.needed_layout() == "tokens":
        same = result.shape[2] == inputs.shape[1]  # the places are behind, see `in_grid`
        return result.sum(1).unsqueeze(2).expand_as(inputs) if same else result
    mode = {3: "linear", 4: "bilinear", 5: "trilinear"}[result.ndim]
    plane = nn.functional.interpolate(
        result.sum(1, keepdim=True), inputs.shape[2:], mode=mode, align_corners=False
    )
    return plane.expand_as(inputs)


def _plain(request: Query) -> Query:
    """The request with copies that captum may mark and that are no inference tensors."""
    extra = {name: value.detach().clone() for name, value in request.extra.items()}
    inputs, target = request.inputs.detach().clone(), request.target.clone()
    return replace(request, inputs=inputs, target=target, extra=extra, create_graph=False)


@contextmanager
def _quiet(method: type) -> Iterator[None]:
    """Without captum's remarks about its own work; its refusals become SurefootError."""
    with warnings.catch_warnings():
        for remark in _CHATTER:
            warnings.filterwarnings("ignore", message=remark)
        try:
            yield
        except (AssertionError, TypeError) as error:
            raise SurefootError(f"captum's {method.__name__} refuses: {error}") from error
