"""Sentences in one call: text, tokenizer and model in, tokens and scores out."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from surefoot import checks, gradients, maps
from surefoot.errors import SurefootError
from surefoot.explain._base import Explainer, as_explainer
from surefoot.explain._explanation import Explanation, drawn
from surefoot.gradients import Target
from surefoot.maps import Reduction
from surefoot.models import Classifier

Texts = str | Sequence[str] | Sequence[tuple[str, str]]


@dataclass(frozen=True, repr=False)
class Sentences:
    """Scores of the tokens of N texts, T of the longest.

    Attributes:
        tokens: N tuples of T tokens, as the tokenizer writes them.
        scores: (N, T), one a token; 0 where `special`.
        special: (N, T) bool, the tokenizer's own tokens and padding.
        padding: (N, T) bool, what fills up shorter texts.
        explanation: of the embeddings (N, T, D), for all tokens, special ones included.

    >>> from surefoot.explain import Gradient
    >>> from surefoot.models import TextCNN
    >>> _ = torch.manual_seed(0)
    >>> net = TextCNN(50, dimension=8, filters=4).eval()
    >>> def tokenizer(texts, **_):
    ...     return {"input_ids": [[7, 8, 9]]}
    >>> found = sentences(Gradient(), net, tokenizer, "It is fine")
    >>> found.tokens, found.scores.shape, len(found.top(2)[0])
    ((('7', '8', '9'),), torch.Size([1, 3]), 2)
    """

    tokens: tuple[tuple[str, ...], ...]
    scores: Tensor
    special: Tensor
    padding: Tensor
    explanation: Explanation

    def top(self, k: int = 5) -> list[list[tuple[str, float]]]:
        """Each text's tokens of largest absolute score with it, none of them special."""
        size = self.scores.abs().masked_fill(self.special, -1)
        found = []
        for row, order in enumerate(size.argsort(dim=1, descending=True, stable=True).tolist()):
            kept = [i for i in order if not self.special[row, i]][:k]
            found.append([(self.tokens[row][i], float(self.scores[row, i])) for i in kept])
        return found

    def __len__(self) -> int:
        return len(self.tokens)

    def _repr_html_(self) -> str | None:
        """What a notebook shows: the words in colours, and all their numbers."""
        return drawn("html", self)  # type: ignore[no-any-return]

    def __repr__(self) -> str:
        rows = [", ".join(f"{token} {score:.3g}" for token, score in row) for row in self.top()]
        return "\n  ".join([f"Sentences({self.explanation!r})", *rows])


def sentences(
    explainer: Explainer,
    model: nn.Module,
    tokenizer: Any,
    texts: Texts,
    target: Target = None,
    *,
    reduction: Reduction = "sum_abs",
    embedding: str | None = None,
    **options: Any,
) -> Sentences:
    """Explain texts by their tokens: `sentences(IntegratedGradients(), net, tokenizer, "Good!")`.

    The map is of the embeddings, reduced to one number a token. Special tokens and padding keep
    their part in the network, but hold 0 in the scores, and so are never the largest.

    Args:
        explainer: whose map it is.
        model: one of transformers that classifies text, or a `models.Classifier` with an
            embedding, in evaluation mode.
        tokenizer: its tokenizer, or a callable like one: texts to a mapping with "input_ids".
        texts: a text, several, or pairs of texts that the tokenizer joins.
        target: class index, one for each text, or None for the predicted class.
        reduction: of the embedding dimensions, see `explain.reduce`; "sum" and "mean" keep signs.
        embedding: name of the submodule that embeds tokens; None finds it.
        options: for the tokenizer, such as truncation=True, max_length=128.

    Raises:
        SurefootError: a tokenizer that cannot pad, an embedding that is not found, a model in
            training mode.

    >>> from surefoot.explain import Gradient
    >>> from surefoot.models import TextCNN
    >>> net = TextCNN(50, dimension=8, filters=4).eval()
    >>> def tokenizer(texts, **_):
    ...     return {"input_ids": [[len(word) for word in text.split()] for text in texts]}
    >>> found = sentences(Gradient(), net, tokenizer, ["a truly fine film", "one to walk out"])
    >>> found.scores.shape  # two texts of four tokens
    torch.Size([2, 4])
    """
    classifier = _classifier(model, embedding)
    checks.check_model(classifier)
    encoded = _encoded(tokenizer, [texts] if isinstance(texts, str) else list(texts), options)
    device = next((p.device for p in classifier.parameters()), torch.device("cpu"))
    named = {name: value.to(device) for name, value in encoded.items()}
    ids = named.pop("input_ids")
    padding = named.get("attention_mask", torch.ones_like(ids)) == 0
    special = _special(tokenizer, ids, named.pop("special_tokens_mask", None)) | padding
    taken = gradients.further_names(classifier.module)
    extra = {name: value for name, value in named.items() if name in taken}
    embedded = classifier.embed(ids)
    explanation = as_explainer(explainer).explain(classifier, embedded, target, extra=extra)
    scores = maps.reduce(explanation.attributions, reduction, "tokens").masked_fill(special, 0)
    return Sentences(_tokens(tokenizer, ids), scores, special, padding, explanation)


def _classifier(model: nn.Module, embedding: str | None) -> Classifier:
    """The model by way of its embeddings."""
    if isinstance(model, Classifier) and model.embedding is not None:
        return model
    inner = model.module if isinstance(model, Classifier) else model
    output = model.output if isinstance(model, Classifier) else None
    checks.check_model(inner)
    return Classifier(inner, output=output, embedding=embedding or _found(inner))


def _found(model: nn.Module) -> str:
    """The name of what embeds the tokens, by the model's own account or as the only one."""
    tell = getattr(model, "get_input_embeddings", None)
    told = tell() if callable(tell) else None
    modules: dict[str, nn.Module] = dict(model.named_modules())
    for name, module in modules.items():
        if module is told and name:
            return name
    tables = [name for name, module in modules.items() if isinstance(module, nn.Embedding)]
    if len(tables) != 1:
        raise SurefootError(
            f"what embeds the tokens of {type(model).__name__} is not clear; pass embedding= with "
            f"one of {tables}"
        )
    return tables[0]


def _encoded(tokenizer: Any, texts: Sequence[Any], options: Mapping[str, Any]) -> dict[str, Tensor]:
    """What the tokenizer gives for a batch, as tensors (N, T)."""
    pairs = bool(texts) and all(isinstance(one, tuple) for one in texts)
    if not texts or not (pairs or all(isinstance(one, str) for one in texts)):
        raise SurefootError(
            f"texts={texts!r}, expected a text, a list of texts, or a list of pairs of texts"
        )
    given = [list(each) for each in zip(*texts, strict=True)] if pairs else [list(texts)]
    if len(texts) > 1 and getattr(tokenizer, "pad_token", "") is None:
        raise SurefootError(
            "the tokenizer has no padding token, which several texts need; write "
            "tokenizer.pad_token = tokenizer.eos_token and "
            "model.config.pad_token_id = tokenizer.pad_token_id, or explain them one by one"
        )
    wanted = {"return_tensors": "pt", "padding": len(texts) > 1, **options}
    if hasattr(tokenizer, "all_special_ids"):
        wanted = {"return_special_tokens_mask": True, **wanted}
    found = {
        name: torch.as_tensor(value) for name, value in dict(tokenizer(*given, **wanted)).items()
    }
    if "input_ids" not in found or found["input_ids"].ndim != 2:
        raise SurefootError(
            f'the tokenizer gave {sorted(found)}, expected "input_ids" (N, T) among them'
        )
    return found


def _special(tokenizer: Any, ids: Tensor, mask: Tensor | None) -> Tensor:
    """Which tokens are the tokenizer's own, by its mask and its list."""
    own = torch.tensor(list(getattr(tokenizer, "all_special_ids", [])), device=ids.device)
    # Unknown words belong to the text, although the token for them is the tokenizer's.
    unknown = getattr(tokenizer, "unk_token_id", None)
    known = own if unknown is None else own[own != unknown]
    listed = torch.isin(ids, known)
    return listed if mask is None else listed | mask.bool()


def _tokens(tokenizer: Any, ids: Tensor) -> tuple[tuple[str, ...], ...]:
    write = getattr(tokenizer, "convert_ids_to_tokens", None)
    rows = ids.tolist()
    return tuple(tuple(map(str, write(row) if callable(write) else row)) for row in rows)
