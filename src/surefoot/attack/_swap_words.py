"""Other words for a sentence, so that its map changes and its prediction does not.

After Ivankay et al., Fooling Explanations in Text Classifiers (ICLR 2022): words are ranked by what
masking each does to the map, and one after the other is swapped for the neighbour that moves the
map furthest among those that keep the prediction. Only maps and predictions are asked for.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

import torch
from torch import Tensor

from surefoot import checks, draws, gradients, metric
from surefoot.attack._neighbours import Neighbours, neighbours
from surefoot.errors import SurefootError, suggest
from surefoot.explain import Explainer, as_explainer, reduce
from surefoot.maps import Reduction
from surefoot.models import Classifier
from surefoot.recipes import Recipe

Choice = Literal["worst", "random"]
Order = Literal["importance", "random"]
Synonyms = Mapping[int, tuple[int, ...]]

_ORDERS = 2**34  # the first draw number of orders, beyond those of patches
_PICKS = 2**35  # the same of picks


@dataclass(frozen=True, repr=False)
class Swapped:
    """Sentences with words swapped, and what is left of their maps.

    Attributes:
        originals: (N, T), the clean tokens.
        tokens: (N, T), those with words swapped.
        changed: (N, T) bool, which.
        before: (N, T), the reduced maps of the clean tokens.
        after: (N, T), of the others, at the same places.
        scores: by name, each (N,): similarities of the two.
        target: (N,), the explained class; the prediction is kept throughout.

    >>> clean, other, one = torch.tensor([[4, 5]]), torch.tensor([[4, 6]]), torch.ones(1, 2)
    >>> left = {"cosine": torch.ones(1)}
    >>> Swapped(clean, other, clean != other, one, one, left, target=torch.tensor([0]))
    Swapped(1 sentences, 50% of the places, mean cosine=1.000)
    """

    originals: Tensor
    tokens: Tensor
    changed: Tensor
    before: Tensor
    after: Tensor
    scores: Mapping[str, Tensor]
    target: Tensor

    def __repr__(self) -> str:
        left = ", ".join(f"{name}={float(v.nanmean()):.3f}" for name, v in self.scores.items())
        share = float(self.changed.float().mean())
        return f"Swapped({len(self.tokens)} sentences, {share:.0%} of the places, mean {left})"


@dataclass(frozen=True, repr=False)
class SwapWords(Recipe):
    """Swap words of each sentence for near ones: `attack(model, tokens, target, explainer)`.

    A black-box attack for any explainer. Where an attack on embeddings (`TopK`, `Ensemble` on
    `model.embed(tokens)`) finds vectors that are no words, this one gives sentences. Each sample
    keeps its prediction at every swap; a swap that does not lower the similarity is not made. The
    paper's words are of equal part of speech, which a tokenizer does not tell; give `synonyms`
    for that. Controls are `order="random"`, `choice="random"`, and both.

    Args:
        share: of the words of a sentence, those that may be swapped, in [0, 1].
        candidates: neighbours tried for each word (15 in the paper).
        synonyms: what may stand for a token, by number; None takes the nearest rows of the
            model's embedding, by cosine. See `read_synonyms`.
        closeness: least cosine of two embeddings that are neighbours; for `synonyms` it is ignored.
        fixed: tokens that are neither swapped nor offered, such as special ones; padding always is.
        mask: the token that stands for a word while its importance is measured; None takes padding,
            or 0.
        by: the similarity of two maps that is lowered: "pearson" (the paper's), "kendall",
            "spearman", "cosine" or another of `metric.names("a", "b")` that needs no k.
        order: which words come first: those whose masking changes the map most, or any.
        choice: which neighbour is taken: the one that damages most, or any that keeps the label.
        restarts: runs, of which each sentence keeps its worst; later ones have random orders.
        reduction: of the maps, to a number a word.
        seed: of what is random.

    >>> from torch import nn
    >>> from surefoot.explain import Gradient
    >>> from surefoot.models import TextCNN
    >>> _ = torch.manual_seed(0)
    >>> model = Classifier(TextCNN(50, dimension=8, filters=4), embedding="embedding").eval()
    >>> tokens = torch.randint(1, 50, (3, 9))
    >>> r = SwapWords(0.5, candidates=4)(model, tokens, None, Gradient())
    >>> bool((r.changed.sum(1) <= 4).all()), bool((r.scores["pearson"] < 1).all())
    (True, True)
    """

    share: float = 0.25
    candidates: int = field(default=15, kw_only=True)
    synonyms: Synonyms | None = field(default=None, kw_only=True)
    closeness: float = field(default=0.0, kw_only=True)
    fixed: tuple[int, ...] = field(default=(), kw_only=True)
    mask: int | None = field(default=None, kw_only=True)
    by: str = field(default="pearson", kw_only=True)
    order: Order = field(default="importance", kw_only=True)
    choice: Choice = field(default="worst", kw_only=True)
    restarts: int = field(default=1, kw_only=True)
    reduction: Reduction = field(default="sum_abs", kw_only=True)
    seed: int = field(default=0, kw_only=True)

    def __call__(
        self,
        model: Classifier,
        tokens: Tensor,
        target: checks.Target,
        explainer: Explainer,
        *,
        extra: Mapping[str, Any] | None = None,
    ) -> Swapped:
        """Attack the explanations of a batch of sentences.

        Args:
            model: a classifier with `embedding`, in evaluation mode.
            tokens: integers (N, T).
            target: class explained, one or (N,); None takes the prediction for the clean tokens.
            explainer: any.
            extra: further arguments of the model by name, such as an attention mask (N, T).

        Raises:
            SurefootError: a setting out of range, a model without embedding.
        """
        self._check()
        with torch.inference_mode(False), torch.no_grad():
            asked = _Asked.of(model, tokens, target, as_explainer(explainer), extra, self)
            near = self._neighbours(model, tokens)
            best, most = tokens.clone(), asked.damage(tokens)
            for run in range(self.restarts):
                found, damage = self._run(asked, near, run)
                better = damage > most
                best, most = torch.where(better[:, None], found, best), most.maximum(damage)
            return self._result(asked, best)

    def _check(self) -> None:
        self.check_kinds(whole=False)
        for name, low, high in (("share", 0, 1), ("closeness", -1, 1)):
            if not low <= getattr(self, name) <= high:
                raise SurefootError(f"{name}={getattr(self, name)}, expected {low} to {high}")
        checks.check_whole("candidates", self.candidates, 1)
        checks.check_whole("restarts", self.restarts, 1)
        for name, known in (("order", get_args(Order)), ("choice", get_args(Choice))):
            if getattr(self, name) not in known:
                raise SurefootError(f"{name}={getattr(self, name)!r}, choose one of {known}")
        if self.by not in metric.names("a", "b"):
            raise SurefootError(
                f"by={self.by!r} is no metric of two maps; "
                f"{suggest(self.by, metric.names('a', 'b'))}"
            )

    def _neighbours(self, model: Classifier, tokens: Tensor) -> Neighbours:
        return neighbours(
            model,
            tokens,
            count=self.candidates,
            synonyms=self.synonyms,
            closeness=self.closeness,
            fixed=self.fixed,
        )

    def _run(self, asked: "_Asked", near: Neighbours, run: int) -> tuple[Tensor, Tensor]:
        """One pass over the words: the tokens found (N, T), and their damage (N,)."""
        tokens = asked.tokens.clone()
        damage = asked.damage(tokens)
        words = near.swappable(tokens)
        left = (self.share * words.sum(1)).floor().long()
        for rank, places in enumerate(self._places(asked, words, run)):
            rows = (words.gather(1, places[:, None])[:, 0] & (left > 0)).nonzero()[:, 0]
            if not len(rows):
                break
            at = places[rows]
            tried, offered = near.tried(tokens[rows], at)
            found, kept = asked.of_rows(tried.flatten(0, 1), rows.repeat_interleave(len(tried[0])))
            found, kept = found.view(offered.shape), kept.view(offered.shape) & offered
            chosen = self._pick(found, kept, run, rank)
            value = found.gather(1, chosen[:, None])[:, 0]
            take = kept.gather(1, chosen[:, None])[:, 0]
            if self.choice == "worst":
                take &= value > damage[rows]
            some = rows[take]
            tokens[some] = tried[torch.arange(len(rows)), chosen][take]
            damage[some] = value[take]
            left[some] -= 1
        return tokens, damage

    def _pick(self, found: Tensor, kept: Tensor, run: int, rank: int) -> Tensor:
        """Which of the candidates (n, C) is taken, (n,)."""
        if self.choice == "worst":
            return torch.where(kept, found, -torch.inf).argmax(1)
        source = draws.generator(self.seed, _PICKS + (run << 16) + rank)
        luck = torch.rand(found.shape[1], generator=source).to(found)
        return torch.where(kept, luck.expand_as(found), -1.0).argmax(1)

    def _places(self, asked: "_Asked", words: Tensor, run: int) -> Iterator[Tensor]:
        """The place that each sentence turns to, (N,), word by word."""
        tokens = asked.tokens
        if run or self.order == "random":
            source = draws.generator(self.seed, _ORDERS + run)
            weight = torch.rand(tokens.shape[1], generator=source).to(asked.before)
            weight = weight.expand(tokens.shape)
        else:
            weight = self._importance(asked, words)
        order = torch.where(words, weight, -torch.inf).argsort(dim=1, descending=True, stable=True)
        yield from order.unbind(1)

    def _importance(self, asked: "_Asked", words: Tensor) -> Tensor:
        """What masking each word does to the map, (N, T)."""
        found = torch.zeros_like(asked.before)
        for place in range(words.shape[1]):
            rows = words[:, place].nonzero()[:, 0]
            if len(rows):
                masked = asked.tokens[rows].clone()
                masked[:, place] = asked.padding if self.mask is None else self.mask
                found[rows, place] = asked.of_rows(masked, rows)[0]
        return found

    def _result(self, asked: "_Asked", tokens: Tensor) -> Swapped:
        after = asked.maps(tokens, torch.arange(len(tokens)))
        names = {self.by, "pearson", "kendall", "spearman", "cosine"}
        return Swapped(
            originals=asked.tokens,
            tokens=tokens,
            changed=tokens != asked.tokens,
            before=asked.before,
            after=after,
            scores={name: metric.get(name)(asked.before, after) for name in sorted(names)},
            target=asked.target,
        )


@dataclass(frozen=True)
class _Asked:
    """What the attack may ask: the maps and predictions of other words.

    Attributes:
        model: with an embedding.
        explainer: whose maps.
        tokens: (N, T), the clean ones.
        target: (N,).
        extra: of the model, by name.
        labels: (N,), the predictions to keep.
        before: (N, T), the clean reduced maps.
        padding: the token that stands for none.
        recipe: what is lowered, and how maps are reduced.
    """

    model: Classifier
    explainer: Explainer
    tokens: Tensor
    target: Tensor
    extra: Mapping[str, Any]
    labels: Tensor
    before: Tensor
    padding: int
    recipe: SwapWords

    @classmethod
    def of(
        cls,
        model: Classifier,
        tokens: Tensor,
        target: checks.Target,
        explainer: Explainer,
        extra: Mapping[str, Any] | None,
        recipe: SwapWords,
    ) -> "_Asked":
        """Resolve the target, and explain the clean sentences."""
        if getattr(model, "embedding", None) is None:
            raise SurefootError(
                f"SwapWords needs a model that embeds tokens, got {type(model).__name__}; write "
                'models.Classifier(net, embedding="...")'
            )
        request = gradients.query(model, model.embed(tokens), target, extra, False, "tokens")
        labels = gradients.predict(model, request.inputs, request.extra).argmax(1)
        padding = (
            getattr(model.module.get_submodule(model.embedding or ""), "padding_idx", None) or 0
        )
        blank = torch.empty(0)
        given = dict(extra or {})
        asked = cls(model, explainer, tokens, request.target, given, labels, blank, padding, recipe)
        before = asked.maps(tokens, torch.arange(len(tokens)))
        return cls(model, explainer, tokens, request.target, given, labels, before, padding, recipe)

    def maps(self, tokens: Tensor, rows: Tensor) -> Tensor:
        """The reduced maps of tokens (n, T) that stand for the sentences `rows` (n,)."""
        embedded = self.model.embed(tokens)
        maps = self.explainer(
            self.model, embedded, self.target[rows], extra=self._extra(rows), layout="tokens"
        )
        return reduce(maps, self.recipe.reduction, "tokens")

    def of_rows(self, tokens: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
        """The damage of tokens (n, T) for the sentences `rows`, and whether they keep the label."""
        found = metric.get(self.recipe.by)
        value = found(self.before[rows], self.maps(tokens, rows))
        damage = (-value if found.higher_is_better else value).nan_to_num(nan=-torch.inf)
        logits = gradients.predict(self.model, self.model.embed(tokens), self._extra(rows))
        return damage.to(self.before), logits.argmax(1) == self.labels[rows]

    def damage(self, tokens: Tensor) -> Tensor:
        """Of one other sentence for each, (N,)."""
        return self.of_rows(tokens, torch.arange(len(tokens)))[0]

    def _extra(self, rows: Tensor) -> dict[str, Any]:
        return {k: v[rows] if isinstance(v, Tensor) else v for k, v in self.extra.items()}
