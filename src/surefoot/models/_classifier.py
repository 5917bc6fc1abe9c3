"""The adapter: whatever a network takes and gives, a model from floats to logits (N, K)."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from typing import Any, Self

import torch
from torch import Tensor, nn

from surefoot import checks
from surefoot.errors import SurefootError, suggest
from surefoot.gradients import arranged, further_names
from surefoot.maps import Layout, channel_axis, check_layout, layout_of
from surefoot.models._embedded import remember, replaced, tied, tokens_of
from surefoot.models._outputs import KINDS
from surefoot.typed import check_kinds

Channels = float | Sequence[float] | Tensor | None
Output = int | str | Callable[[Any], Tensor] | None

# What embeds a text: a call with all its tokens; else calls with parts of it; else one with a copy
# of its numbers, which comes last since two texts may be equal.
_READINGS = ((True, False), (False, False), (False, True))


class Classifier(nn.Module):
    """A network with its normalisation inside and its logits picked out.

    It starts in the mode `module` is in, and never changes it.

    Args:
        module: the network.
        mean: subtracted from the inputs: a number, one for each channel, or a tensor that
            broadcasts to one input. Channels are dimension 1, of tokens (N, T, D) the last.
        std: what is left is divided by it; like `mean`, positive.
        output: where the logits are, or what the module gives in their place. An index into a
            tuple, key of a dict, or attribute; a callable that makes logits (N, K) of what the
            module gives; or a name: "binary" (one logit z of two classes, which become -z/2 and
            z/2), "probabilities" (after softmax, or one after sigmoid), "regression" (numbers
            that are no classes, one allowed), "multilabel" (labels that do not exclude each
            other), "segmentation" (the mean over the places of (N, K, H, W)), "detection" (the
            largest over the candidates of (N, Q, K)) or "last" (the last step of (N, T, K), such
            as the scores of the next token). None takes a tensor as it is, and `.logits`,
            `["logits"]` or `["out"]` where there is one, as the names do.
        embedding: dotted name of the submodule that embeds integer tokens. The classifier then
            goes from embeddings (N, T, D) to logits, and `embed` makes them.
        layout: what the axes of the inputs mean: "image" (N, C, H, W), "volume"
            (N, C, D, H, W), "signal" (N, C, L), "tokens" (N, T, D) or "record" (N, F). Whatever
            reduces, masks or draws follows it. None leaves it to the number of axes, where that
            tells, and with `embedding` it is "tokens".

    Raises:
        SurefootError: a std that is not positive, an unknown submodule or layout, both
            normalisation and an embedding.

    >>> net = nn.Sequential(nn.Flatten(), nn.Linear(12, 2)).eval()
    >>> Classifier(net, mean=0.5, std=(0.2, 0.2, 0.2))(torch.rand(1, 3, 2, 2)).shape
    torch.Size([1, 2])
    """

    mean: Tensor | None
    std: Tensor | None
    arranges = True

    def __init__(
        self,
        module: nn.Module,
        mean: Channels = None,
        std: Channels = None,
        output: Output = None,
        embedding: str | None = None,
        layout: Layout | None = None,
    ) -> None:
        super().__init__()
        if not isinstance(module, nn.Module):
            raise SurefootError(f"module is a {type(module).__name__}, expected a torch.nn.Module")
        check_kinds(
            "Classifier",
            {"output": output, "embedding": embedding, "layout": layout},
            {"output": Output, "embedding": str | None, "layout": Layout | None},
        )
        if embedding is not None and (mean is not None or std is not None):
            raise SurefootError("mean and std are for pixels; they do not go with embedding=")
        if embedding is not None and layout not in (None, "tokens"):
            raise SurefootError(f'layout={layout!r} with embedding=; embedded text is "tokens"')
        self.module = module
        self.output = output
        self.layout = "tokens" if embedding is not None else layout and check_layout(layout)
        self.embedding = embedding
        self.register_buffer("mean", _channels(mean, "mean", module), persistent=False)
        self.register_buffer("std", _channels(std, "std", module), persistent=False)
        if self.std is not None and not (self.std > 0).all():
            raise SurefootError(f"std={std}, expected positive numbers")
        if embedding is not None:
            self._embedder()
        self.training = getattr(module, "training", False)  # a frozen script has no flag

    def train(self, mode: bool = True) -> Self:
        """As of any module; an exported program inside keeps the mode of its export."""
        try:
            return super().train(mode)
        except NotImplementedError:
            for part in self.modules():
                part.training = mode
            return self

    def forward(self, *inputs: Tensor, **extra: Any) -> Tensor:
        """Logits (N, K) of inputs (N, ...); with `embedding`, of embeddings (N, T, D).

        Several inputs go to the module's arguments in order, those that `extra` names left out;
        mean and std are for the first. With `embedding`, the tokens of unchanged embeddings are
        known; of others they are taken from `extra`, under the module's own name for them.

        Raises:
            SurefootError: integer tokens, tokens that are not known and that the module reads, or
                a result that is not (N, K), naming what came.
        """
        if self.embedding is None:
            args, named = arranged(self.module, (self._normalised(inputs[0]), *inputs[1:]), extra)
            result = self.module(*args, **named)
        else:
            result = self._from_embeddings(inputs, extra)
        return checks.check_logits(self._pick(result), len(inputs[0]), self.one_output)

    @property
    def one_output(self) -> bool:
        """Whether what it gives are no classes, so that there may be one only."""
        return self.output == "regression"

    @property
    def independent(self) -> bool:
        """Whether its classes do not exclude each other."""
        return self.output == "multilabel"

    def companions(self, *inputs: Tensor) -> dict[str, Tensor]:
        """What must go along with inputs wherever their rows go: the tokens of embeddings.

        By the names under which `forward` takes them; those that are not known are left out.
        """
        if self.embedding is None:
            return {}
        embedder = self._embedder()
        found = (tokens_of(each, embedder) for each in inputs if each.ndim == 3)
        names = self.token_names(len(inputs))
        return {n: tokens for n, tokens in zip(names, found, strict=False) if tokens is not None}

    def token_names(self, inputs: int = 1) -> list[str]:
        """What the module calls its first arguments, the tokens of so many texts."""
        return further_names(self.module, 0)[:inputs] if self.embedding is not None else []

    def embed(self, tokens: Tensor, *, create_graph: bool = False) -> Tensor:
        """The embeddings (N, T, D) of integer tokens (N, T).

        Args:
            tokens: (N, T).
            create_graph: whether they keep their graph to the embedding's weights, to train them.

        Raises:
            SurefootError: there is no `embedding`, or the tokens are not integers (N, T) within
                the vocabulary.
        """
        embedder = self._embedder()
        if not isinstance(tokens, Tensor) or tokens.ndim != 2 or tokens.is_floating_point():
            came = (
                f"{tokens.dtype} {tuple(tokens.shape)}"
                if isinstance(tokens, Tensor)
                else type(tokens).__name__
            )
            raise SurefootError(f"tokens are {came}, expected integer tokens (N, T)")
        size = getattr(embedder, "num_embeddings", None)
        if size is not None and tokens.numel() and not 0 <= tokens.min() <= tokens.max() < size:
            raise SurefootError(
                f"tokens span [{int(tokens.min())}, {int(tokens.max())}], expected [0, {size - 1}]:"
                f" {self.embedding!r} holds {size} embeddings"
            )
        with nullcontext() if create_graph else torch.no_grad():
            result = embedder(tokens)
        if not isinstance(result, Tensor) or result.shape[:-1] != tokens.shape:
            made = tuple(result.shape) if isinstance(result, Tensor) else type(result).__name__
            raise SurefootError(
                f"the submodule {self.embedding!r}, a {type(embedder).__name__}, makes {made} of "
                f"tokens {tuple(tokens.shape)}, expected embeddings (N, T, D). A bag of words has "
                "them before its sum: nn.Embedding.from_pretrained(bag.weight), then .mean(1)"
            )
        return remember(result, tokens)

    def _embedder(self) -> nn.Module:
        if self.embedding is None:
            raise SurefootError('no embedding was named; use Classifier(module, embedding="...")')
        modules: dict[str, nn.Module] = dict(self.module.named_modules())
        if self.embedding not in modules or not self.embedding:
            leaves = [name for name, m in modules.items() if isinstance(m, nn.Embedding)]
            raise SurefootError(
                f"embedding={self.embedding!r} is not a submodule of "
                f"{type(self.module).__name__}; "
                + suggest(self.embedding, leaves or [name for name in modules if name])
            )
        return modules[self.embedding]

    def _from_embeddings(self, inputs: tuple[Tensor, ...], extra: Mapping[str, Any]) -> object:
        for each in inputs:
            if not each.is_floating_point() or each.ndim != 3:
                raise SurefootError(
                    f"inputs are {each.dtype} {tuple(each.shape)}, expected embeddings "
                    "(N, T, D): integer tokens have no gradient. Pass model.embed(tokens)"
                )
        embedder, names = self._embedder(), self.token_names(len(inputs))
        known = {**self._unless_told(inputs, extra, names), **extra}
        tokens = [
            _fitting(known.get(name), each, name)
            for name, each in zip(names or [""], inputs, strict=True)
        ]
        rest = {name: value for name, value in extra.items() if name not in names}
        for alone, copies in _READINGS:
            with replaced(
                tied(self.module, embedder), tokens, inputs, alone=alone, copies=copies
            ) as texts:
                result = self.module(*texts.tokens, **rest)
            if all(texts.given):
                return result
        raise SurefootError(
            f"the submodule {self.embedding!r} gave no embeddings of shape "
            f"{tuple(inputs[texts.given.index(False)].shape)} during the forward pass; name the "
            "one that embeds the tokens"
        )

    def _unless_told(
        self, inputs: tuple[Tensor, ...], extra: Mapping[str, Any], names: Sequence[str]
    ) -> dict[str, Tensor]:
        return {} if all(name in extra for name in names) else self.companions(*inputs)

    def _normalised(self, inputs: Tensor) -> Tensor:
        if self.mean is not None:
            inputs = inputs - along_channels(self.mean, inputs, "mean", self.layout)
        if self.std is not None:
            inputs = inputs / along_channels(self.std, inputs, "std", self.layout)
        return inputs

    def _pick(self, result: object) -> object:
        if self.output is None:
            return _found_by_itself(result)
        if callable(self.output):
            return self.output(result)
        if self.output in KINDS and not _holds(result, self.output):
            return KINDS[str(self.output)](_found_by_itself(result))
        try:
            if isinstance(self.output, str) and not isinstance(result, Mapping):
                return getattr(result, self.output)
            return result[self.output]  # type: ignore[index]
        except (AttributeError, KeyError, IndexError, TypeError):
            raise SurefootError(
                f"output={self.output!r} is not in what the module returned: {_contents(result)}; "
                f"names for whole outputs are {', '.join(KINDS)}"
            ) from None


def inside(module: nn.Module) -> dict[str, Any]:
    """`mean` and `std` inside a classifier as plain numbers; None where there is none."""
    values = {name: getattr(module, name, None) for name in ("mean", "std")}
    wraps = isinstance(module, Classifier)
    return {n: v.tolist() if wraps and v is not None else None for n, v in values.items()}


def _holds(result: object, name: object) -> bool:
    """Whether a result has an entry of that name, which then is meant."""
    return name in result if isinstance(result, Mapping) else hasattr(result, str(name))


def _found_by_itself(result: object) -> Tensor:
    if isinstance(result, Tensor):
        return result
    for key in ("logits", "out"):
        if isinstance(result, Mapping) and isinstance(result.get(key), Tensor):
            return result[key]  # type: ignore[no-any-return]
    if getattr(result, "logits", None) is not None:
        return result.logits  # type: ignore[attr-defined,no-any-return]
    raise SurefootError(
        f"the module returned {_contents(result)}, expected logits (N, K); pick them out with "
        'output=0 (a tuple) or output="name" (a dict or an attribute), or make them with '
        "output=lambda found: ..."
    )


def _contents(result: object) -> str:
    kind = type(result).__name__
    if isinstance(result, Mapping):
        return f"a {kind} with the keys {list(result)}"
    if isinstance(result, tuple | list):
        return f"a {kind} of {len(result)}: {[type(item).__name__ for item in result]}"
    return f"a {kind}"


def _channels(value: Channels, name: str, module: nn.Module) -> Tensor | None:
    if value is None:
        return None
    dtypes = [p.dtype for p in module.parameters() if p.is_floating_point()]
    dtype = dtypes[0] if dtypes else torch.get_default_dtype()
    try:
        result = torch.as_tensor(value, dtype=dtype).detach().clone()
    except (OverflowError, TypeError, ValueError, RuntimeError) as error:
        raise SurefootError(f"{name}={value!r}, expected numbers: {error}") from error
    if not torch.isfinite(result).all():
        raise SurefootError(f"{name}={value}, expected finite numbers")
    return result


def along_channels(
    value: Tensor, inputs: Tensor, name: str, layout: Layout | None = None
) -> Tensor:
    """`value` so that it broadcasts to `inputs`: a vector goes along the channels."""
    fitted = value[0] if value.ndim == inputs.ndim and len(value) == 1 else value
    if fitted.ndim == 1 and len(fitted) > 1 and inputs.ndim > 2:
        axis = _axis_of(len(fitted), inputs, layout)
        fitted = fitted.view(-1, *[1] * (inputs.ndim - 1 - axis))
    try:
        # Not only broadcastable: it must not make one channel into three.
        return fitted.to(inputs).expand(inputs.shape[1:])
    except RuntimeError:
        raise SurefootError(
            f"{name} has shape {tuple(value.shape)}, which does not fit inputs "
            f"{tuple(inputs.shape)}; give one number, or one for each channel"
        ) from None


def _axis_of(channels: int, inputs: Tensor, layout: Layout | None) -> int:
    """Where so many channels lie: three axes tell if only one of them has that size."""
    if layout is None and inputs.ndim == 3:
        fits = [axis for axis in (1, 2) if inputs.shape[axis] == channels]
        if len(fits) == 1:
            return fits[0]
    return channel_axis(layout_of(inputs, layout=layout)) or 1


def _fitting(tokens: object, embeddings: Tensor, name: str) -> Tensor | None:
    """The tokens of embeddings (N, T, D); None if they are not known."""
    if tokens is None:
        return None
    if isinstance(tokens, Tensor) and tokens.shape == embeddings.shape[:2]:
        return tokens.to(embeddings.device)
    came = tuple(tokens.shape) if isinstance(tokens, Tensor) else type(tokens).__name__
    raise SurefootError(
        f"extra[{name!r}] is {came}, expected the tokens of embeddings {tuple(embeddings.shape)}, "
        f"{tuple(embeddings.shape[:2])}"
    )
