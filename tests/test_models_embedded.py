"""Text through its embeddings: the network sees its own tokens, and only their embedding moves."""

import copy
import math
import warnings

import pytest
import torch
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence

from surefoot import SurefootError, attack, audit, explain, gradients, train
from surefoot.models import Classifier

transformers = pytest.importorskip("transformers")
transformers.logging.set_verbosity_error()

PAD, END, VOCABULARY = 1, 2, 40
TOKENS = torch.tensor([[0, 5, 6, 7, 8, 2], [0, 9, 4, 2, 1, 1]])
MASK = (TOKENS != PAD).long()
SMALL = {
    "vocab_size": VOCABULARY,
    "hidden_size": 16,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 24,
    "num_labels": 3,
    "pad_token_id": PAD,
    "max_position_embeddings": 32,
    "initializer_range": 0.4,
}
DEEP = {"attention_probs_dropout_prob": 0.0, "hidden_dropout_prob": 0.0}
HEADS = {"num_key_value_heads": 2, "eos_token_id": END, "bos_token_id": 0}
GPT2 = {"n_embd": 16, "n_layer": 1, "n_head": 2, "n_positions": 32}
BART = {"d_model": 16, "encoder_layers": 1, "decoder_layers": 1, "eos_token_id": END}
BART |= {"encoder_attention_heads": 2, "decoder_attention_heads": 2, "decoder_start_token_id": END}
BART |= {"encoder_ffn_dim": 24, "decoder_ffn_dim": 24, "bos_token_id": 0}
T5 = {"d_model": 16, "d_kv": 8, "d_ff": 24, "num_layers": 1, "num_heads": 2, "eos_token_id": END}
T5 |= {"decoder_start_token_id": 0}

# name: (configuration's settings, what embeds the tokens)
ARCHITECTURES = {
    "Bert": ({}, "bert.embeddings.word_embeddings"),
    "Roberta": ({}, "roberta.embeddings.word_embeddings"),
    "DistilBert": (
        {"dim": 16, "n_layers": 1, "n_heads": 2, "hidden_dim": 24},
        "distilbert.embeddings.word_embeddings",
    ),
    "Deberta": (DEEP, "deberta.embeddings.word_embeddings"),
    "DebertaV2": (DEEP, "deberta.embeddings.word_embeddings"),
    "Electra": ({"embedding_size": 16}, "electra.embeddings.word_embeddings"),
    "Albert": ({"embedding_size": 16}, "albert.embeddings.word_embeddings"),
    "GPT2": (GPT2, "transformer.wte"),
    "Llama": (HEADS, "model.embed_tokens"),
    "Qwen2": (HEADS, "model.embed_tokens"),
    "Mistral": (HEADS, "model.embed_tokens"),
    "T5": (T5, "transformer.shared"),
    "Bart": (BART, "model.shared"),
}
SINGLE = {"Deberta", "Llama", "Qwen2", "Mistral", "T5"}
WANTS_NO_IDS = {"Bert", "DistilBert", "Electra", "Albert"}


def network(name: str) -> nn.Module:
    torch.manual_seed(0)
    settings, _ = ARCHITECTURES[name]
    config = getattr(transformers, f"{name}Config")(**{**SMALL, **settings})
    net = getattr(transformers, f"{name}ForSequenceClassification")(config)
    return net.double().eval()


@pytest.fixture(scope="module", params=list(ARCHITECTURES))
def case(request):
    net = network(request.param)
    return request.param, net, Classifier(net, embedding=ARCHITECTURES[request.param][1])


def moved(model: Classifier, points: torch.Tensor) -> torch.Tensor:
    return model(points, input_ids=TOKENS, attention_mask=MASK)


def test_the_logits_are_those_of_the_tokens(case):
    _, net, model = case
    with torch.no_grad():
        expected = net(TOKENS, attention_mask=MASK).logits
        embedded = model.embed(TOKENS)
        torch.testing.assert_close(model(embedded, attention_mask=MASK), expected)
        # A copy is nobody's; it is found in the table, unless two rows there are the same.
        torch.testing.assert_close(model(embedded.clone(), attention_mask=MASK), expected)
        torch.testing.assert_close(model(embedded[:1], attention_mask=MASK[:1]), expected[:1])


def test_the_gradient_is_that_of_finite_differences(case):
    name, _, model = case
    # These compute norms in single precision, whatever they are given.
    step, close = (1e-3, {"rtol": 2e-3, "atol": 1e-3}) if name in SINGLE else (1e-5, {})
    x = model.embed(TOKENS)
    map_ = explain.Gradient()(model, x, 1, extra={"attention_mask": MASK})
    way = torch.randn(x.shape, generator=torch.Generator().manual_seed(3), dtype=x.dtype)
    with torch.no_grad():
        ahead, behind = (moved(model, x + sign * step * way)[:, 1] for sign in (1, -1))
    torch.testing.assert_close(
        (map_ * way).flatten(1).sum(1), (ahead - behind) / (2 * step), **close
    )
    assert map_.abs().amax((1, 2)).min() > 0


def test_embeddings_of_no_token_say_so_where_the_network_reads_tokens(case):
    name, _, model = case
    points = model.embed(TOKENS) + 0.1
    if name in WANTS_NO_IDS:
        torch.testing.assert_close(
            model(points, attention_mask=MASK), moved(model, points), rtol=0, atol=0
        )
    else:
        try:
            blind = model(points, attention_mask=MASK)
        except SurefootError as error:
            assert 'extra={"input_ids": tokens}' in str(error)  # noqa: PT017
        else:
            torch.testing.assert_close(blind, moved(model, points))


def test_paths_and_attacks_keep_the_tokens(case):
    _, _, model = case
    x, extra = model.embed(TOKENS), {"attention_mask": MASK}
    e = explain.IntegratedGradients(steps=24, baseline=0.01)
    gap = e.completeness_gap(model, x, 2, extra=extra)
    change = moved(model, x)[:, 2] - moved(model, torch.full_like(x, 0.01))[:, 2]
    total = e(model, x, 2, extra=extra).flatten(1).sum(1)
    torch.testing.assert_close(gap, total - change.detach())
    budget = attack.Linf(0.02, steps=1, bounds=(-5, 5))
    found = attack.TopK(budget, k=2)(model, x, None, explain.Gradient(), extra=extra)
    assert found.layout == "tokens"
    clean, there = (moved(model, p).argmax(1) for p in (x, found.inputs))
    assert torch.equal(clean, there)


def test_a_decoder_that_shares_the_table_reads_its_own_tokens():
    net = network("Bart")
    model = Classifier(net, embedding="model.shared")
    x, seen = model.embed(TOKENS), []
    handle = net.model.decoder.layers[0].register_forward_pre_hook(
        lambda _, args: seen.append(args[0].detach().clone())
    )
    with torch.no_grad():
        moved(model, x)
        moved(model, x + 0.5)
    handle.remove()
    assert torch.equal(*seen)  # only the encoder's embeddings are the ones explained


class Packed(nn.Module):
    """Reads how long each text is from its tokens."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.words, self.lstm = nn.Embedding(11, 4, padding_idx=0), nn.LSTM(4, 5, batch_first=True)
        self.head = nn.Linear(5, 3)

    def forward(self, words):
        lengths = (words != 0).sum(1).cpu()
        packed = pack_padded_sequence(self.words(words), lengths, True, enforce_sorted=False)
        return self.head(self.lstm(packed)[1][0][-1])


def test_packed_sequences_keep_their_lengths():
    net = Packed().double().eval()
    model, tokens = Classifier(net, embedding="words"), torch.tensor([[3, 4, 5, 6], [7, 8, 0, 0]])
    x = model.embed(tokens)
    assert torch.equal(model(x), net(tokens))
    map_ = explain.Gradient()(model, x, 0)
    assert not map_[1, 2:].any()
    assert map_[1, :2].abs().sum(1).min() > 0
    with pytest.raises(SurefootError, match="reads the tokens themselves"):
        model(x + 1)
    torch.testing.assert_close(model(x + 0.0, words=tokens), net(tokens))
    with pytest.raises(SurefootError, match=r"extra\['words'\] is \(2, 3\), expected"):
        model(x, words=tokens[:, :3])


class Pair(nn.Module):
    """Two texts through one table."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.words, self.head = nn.Embedding(11, 4), nn.Linear(8, 3)

    def read(self, text):
        return (self.words(text).tanh() * (text != 0)[..., None]).sum(1)

    def forward(self, first, second, weight=1.0):
        return self.head(torch.cat([self.read(first), weight * self.read(second)], 1))


@pytest.mark.parametrize("second", [[[4, 5], [6, 0]], [[1, 2, 3], [3, 2, 1]], [[1, 2], [3, 0]]])
def test_two_texts_are_explained_together(second):
    net = Pair().double().eval()
    first, second = torch.tensor([[1, 2], [3, 0]]), torch.tensor(second)
    model = Classifier(net, embedding="words")
    texts = model.embed(first), model.embed(second)
    assert torch.equal(model(*texts), net(first, second))
    maps = explain.Gradient()(model, texts, 1, extra={"weight": 0.5})
    for number, (map_, x) in enumerate(zip(maps, texts, strict=True)):
        way = torch.zeros_like(x)
        way[:, 0, 1] = 1e-5
        shifted = [
            [t + s * way if i == number else t for i, t in enumerate(texts)] for s in (1, -1)
        ]
        told = {"first": first, "second": second, "weight": 0.5}
        ahead, behind = (model(*points, **told)[:, 1] for points in shifted)
        torch.testing.assert_close(map_[:, 0, 1], ((ahead - behind) / 2e-5).detach())
    one = explain.Gradient()(model, texts[0], 1, extra={"second": second, "weight": 0.5})
    torch.testing.assert_close(one, maps[0])


def test_tokens_are_looked_up_only_where_they_are_certain():
    net = nn.Sequential(nn.Embedding(50, 8), nn.Flatten(), nn.Linear(24, 2)).eval()
    model, tokens = Classifier(net, embedding="0"), torch.tensor([[3, 49, 0], [7, 7, 1]])
    x = model.embed(tokens)
    assert torch.equal(model.companions(x.clone())["input"], tokens)
    assert model.companions(x + 1e-6) == {}
    net[0].weight.data[7] = net[0].weight.data[1]
    assert model.companions(model.embed(tokens).clone()) == {}
    assert torch.equal(model.companions(model.embed(tokens))["input"], tokens)


def test_a_request_holds_the_tokens_of_its_rows():
    model = Classifier(Packed().eval(), embedding="words")
    tokens = torch.tensor([[3, 4, 5], [7, 8, 0]])
    request = gradients.query(model, model.embed(tokens))
    assert torch.equal(request.extra["words"], tokens)
    more = request.expand(request.inputs[:, None].repeat(1, 2, 1, 1))
    assert torch.equal(more.extra["words"], tokens.repeat_interleave(2, 0))


def test_copies_and_hooks_come_and_go():
    net = network("Roberta")
    model = copy.deepcopy(Classifier(net, embedding=ARCHITECTURES["Roberta"][1]))
    embedder = model.module.roberta.embeddings.word_embeddings
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        moved(model, model.embed(TOKENS))
    assert not embedder._forward_hooks
    assert not embedder._forward_pre_hooks


@pytest.mark.parametrize("name", ["Roberta", "Llama", "Bart"])
def test_objectives_and_audits_keep_the_tokens(name):
    net = network(name)
    model, labels = Classifier(net, embedding=ARCHITECTURES[name][1]), torch.tensor([0, 2])
    extra = {"attention_mask": MASK}
    objective = train.PGD(0.05, steps=2, bounds=(-math.inf, math.inf))
    loss = objective(model, TOKENS, labels, extra=extra)
    plain = nn.functional.cross_entropy(net(TOKENS, attention_mask=MASK).logits, labels)
    assert loss.total > plain
    loss.total.backward()
    assert model._embedder().weight.grad.abs().sum() > 0
    x = model.embed(TOKENS)
    with torch.no_grad():
        labels = moved(model, x).argmax(1)
    found = audit(
        model,
        (x, labels, extra),
        explainers={"g": explain.Gradient()},
        attacks={"t": attack.TopK(attack.Linf(0.01, steps=1, bounds=(-9, 9)), k=2)},
        metrics=["spearman", "deletion"],
        controls=False,
    )
    assert found.frame()["value"].notna().all()
