"""Tokens that a network turns, cuts or joins before it embeds them."""

import pytest
import torch
from torch import nn
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence

from surefoot import SurefootError, explain
from surefoot.models import Classifier

TOKENS = torch.tensor([[3, 4, 5, 6], [7, 8, 1, 3], [3, 3, 9, 2]])
SQUARE = torch.tensor([[3, 4, 5], [7, 8, 1], [3, 3, 9]])


class Reader(nn.Module):
    """A table, a recurrent layer that goes from step to step, and a head."""

    def __init__(self, ways: int = 1) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.words, self.steps = nn.Embedding(12, 4), nn.GRU(4, 5)
        self.head = nn.Linear(5 * ways, 3)

    def read(self, embedded: torch.Tensor) -> torch.Tensor:
        return self.steps(embedded)[1][-1]


class TimeFirst(Reader):
    def forward(self, words):
        return self.head(self.read(self.words(words.t())))


class Copied(Reader):
    def forward(self, words):
        return self.head(self.read(self.words(words.transpose(0, 1).contiguous().to(torch.int32))))


class BothWays(Reader):
    def __init__(self) -> None:
        super().__init__(2)

    def forward(self, words):
        there, back = (self.words(each.T) for each in (words, words.flip(1)))
        return self.head(torch.cat([self.read(there), self.read(back)], 1))


class StepByStep(Reader):
    def forward(self, words):
        return self.head(self.read(torch.stack([self.words(step) for step in words.unbind(1)])))


class Started(Reader):
    """A token of the network's own stands in front."""

    def forward(self, words):
        start = words.new_full((len(words), 1), 11)
        return self.head(self.read(self.words(torch.cat([start, words], 1).t())))


class PackedFirst(Reader):
    def forward(self, words):
        lengths = (words != 0).sum(1).cpu()
        packed = pack_padded_sequence(words, lengths, True, enforce_sorted=False)
        return self.head(self.read(PackedSequence(self.words(packed.data), *packed[1:])))


class Scaled(Reader):
    """It changes what it has looked up in place."""

    def forward(self, words):
        embedded = self.words(words.t())
        embedded *= 2
        return self.head(self.read(embedded))


class Known(Reader):
    """Words that it does not know become another."""

    def forward(self, words):
        return self.head(self.read(self.words(words.masked_fill(words > 7, 10).t())))


class Listed(Reader):
    """The tokens leave PyTorch on the way."""

    def forward(self, words):
        return self.head(self.read(self.words(torch.tensor(words.tolist()).t())))


READERS = [TimeFirst, Copied, BothWays, StepByStep, Started, PackedFirst, Scaled, Known]


@pytest.mark.parametrize("tokens", [TOKENS, SQUARE, torch.full((3, 3), 4)])
@pytest.mark.parametrize("kind", READERS)
def test_the_map_holds_all_that_goes_through_the_table(kind, tokens):
    net = kind().double().eval()
    model = Classifier(net, embedding="words")
    x = model.embed(tokens)
    kept = x.clone()
    assert torch.equal(model(x), net(tokens))
    assert torch.equal(x, kept)
    map_ = explain.Gradient()(model, x, 1)
    # What all places of a word add up to is the derivative in the word's row of the table.
    (wanted,) = torch.autograd.grad(net(tokens)[:, 1].sum(), net.words.weight)
    rows = torch.zeros_like(wanted).index_add_(0, tokens.flatten(), map_.flatten(0, 1))
    own = 11 if kind is Started else 10
    torch.testing.assert_close(rows[:own], torch.where(map_.any(), wanted, 0)[:own])
    assert map_.any() or (kind is Known and (tokens > 7).all())
    step = 1e-6 * torch.randn(x.shape, generator=torch.Generator().manual_seed(1)).double()
    with torch.no_grad():
        ahead, behind = (model(x + s * step, words=tokens)[:, 1] for s in (1, -1))
    torch.testing.assert_close((map_ * step).sum((1, 2)), (ahead - behind) / 2, rtol=1e-4, atol=0)


def test_tokens_that_leave_pytorch_count_in_their_order_alone():
    net = Listed().eval()
    model = Classifier(net, embedding="words")
    with pytest.raises(SurefootError, match="gave no embeddings of shape"):
        model(model.embed(TOKENS))


@pytest.mark.parametrize("kind", [TimeFirst, BothWays, StepByStep, Started])
def test_order_is_not_value(kind):
    """Embeddings of no token do where only the order of the tokens is read."""
    net = kind().double().eval()
    model = Classifier(net, embedding="words")
    x = model.embed(TOKENS) + 0.1
    assert torch.equal(model(x), model(x, words=TOKENS))


def test_a_word_that_is_replaced_has_no_part_in_it():
    model = Classifier(Known().double().eval(), embedding="words")
    map_ = explain.Gradient()(model, model.embed(TOKENS), 1)
    assert torch.equal(map_.any(2), TOKENS <= 7)
    with pytest.raises(SurefootError, match="reads the tokens themselves"):
        model(model.embed(TOKENS) + 0.1)


def test_what_embeds_no_token_alone_is_refused():
    bag = nn.Sequential(nn.EmbeddingBag(12, 4), nn.Linear(4, 3)).eval()
    with pytest.raises(SurefootError, match=r"an? EmbeddingBag, makes \(3, 4\).*before its sum"):
        Classifier(bag, embedding="0").embed(TOKENS)


def test_xlnet_turns_its_tokens():
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(0)
    config = transformers.XLNetConfig(
        vocab_size=12, d_model=8, n_layer=1, n_head=2, d_inner=8, num_labels=3, pad_token_id=0
    )
    net = transformers.XLNetForSequenceClassification(config).eval()
    model = Classifier(net, embedding="transformer.word_embedding")
    x = model.embed(TOKENS)
    with torch.no_grad():
        torch.testing.assert_close(model(x), net(TOKENS).logits)
    wanted = x.clone().requires_grad_()
    (slope,) = torch.autograd.grad(net(inputs_embeds=wanted).logits[:, 2].sum(), wanted)
    torch.testing.assert_close(explain.Gradient()(model, x, 2), slope)
