"""One call from texts to tokens and scores."""

import pytest
import torch
from torch import nn

from surefoot import SurefootError, explain, models

transformers = pytest.importorskip("transformers")
tokenizers = pytest.importorskip("tokenizers")

WORDS = ["[PAD]", "[CLS]", "[SEP]", "[UNK]"]
WORDS += ["a", "very", "good", "and", "bad", "film", "it", "was", "not"]
TEXTS = ["a very good film", "it was bad"]


def tokenizer(**special):
    core = tokenizers.Tokenizer(
        tokenizers.models.WordLevel({w: i for i, w in enumerate(WORDS)}, unk_token=WORDS[3])
    )
    core.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    core.post_processor = tokenizers.processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[("[CLS]", 1), ("[SEP]", 2)],
    )
    named = {"pad_token": "[PAD]", "cls_token": "[CLS]", "sep_token": "[SEP]", "unk_token": "[UNK]"}
    return transformers.PreTrainedTokenizerFast(tokenizer_object=core, **{**named, **special})


def bert():
    torch.manual_seed(0)
    config = transformers.BertConfig(
        vocab_size=len(WORDS),
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=24,
        num_labels=3,
        initializer_range=0.4,
        pad_token_id=0,
    )
    return transformers.BertForSequenceClassification(config).eval()


def test_tokens_and_scores_of_texts():
    net, words = bert(), tokenizer()
    found = explain.sentences(explain.Gradient(), net, words, TEXTS)
    assert found.tokens == (
        ("[CLS]", "a", "very", "good", "film", "[SEP]"),
        ("[CLS]", "it", "was", "bad", "[SEP]", "[PAD]"),
    )
    assert found.special.tolist() == [
        [True, False, False, False, False, True],
        [True, False, False, False, True, True],
    ]
    assert found.padding.tolist() == [[False] * 6, [False] * 5 + [True]]
    # By hand: the gradient of the predicted class in what the table gives.
    for row, text in enumerate(TEXTS):
        ids = torch.tensor([words(text)["input_ids"]])
        point = net.bert.embeddings.word_embeddings(ids).detach().requires_grad_()
        logits = net(inputs_embeds=point).logits
        (slope,) = torch.autograd.grad(logits.amax(), point)
        expected = slope[0].abs().sum(1)
        expected[found.special[row, : len(expected)]] = 0
        torch.testing.assert_close(found.scores[row, : len(expected)], expected)
        assert int(found.explanation.target[row]) == int(logits.argmax())
    assert not found.scores[found.special].any()
    assert not found.special.gather(1, found.scores.argmax(1, keepdim=True)).any()
    assert found.explanation.attributions[found.special & ~found.padding].any()


@pytest.mark.parametrize("reduction", ["sum", "mean", "max_abs"])
def test_special_tokens_are_never_at_the_top(reduction):
    found = explain.sentences(
        explain.Gradient(), bert(), tokenizer(), TEXTS, 1, reduction=reduction
    )
    for row, best in enumerate(found.top(10)):
        names = [token for token, _ in best]
        assert sorted(names) == sorted(TEXTS[row].split())
        sizes = [abs(score) for _, score in best]
        assert sizes == sorted(sizes, reverse=True)
    assert "good" in repr(found)


def test_a_pair_of_texts():
    found = explain.sentences(explain.Gradient(), bert(), tokenizer(), [tuple(TEXTS)], 2)
    assert found.tokens[0] == (
        *("[CLS]", "a", "very", "good", "film", "[SEP]"),
        *("it", "was", "bad", "[SEP]"),
    )
    assert found.special[0].nonzero()[:, 0].tolist() == [0, 5, 9]
    alone = explain.sentences(explain.Gradient(), bert(), tokenizer(), TEXTS[0], 2)
    assert not torch.allclose(found.scores[0, :5], alone.scores[0, :5])


def test_words_the_tokenizer_does_not_know_belong_to_the_text():
    found = explain.sentences(explain.Gradient(), bert(), tokenizer(), "a splendid film")
    assert found.tokens[0] == ("[CLS]", "a", "[UNK]", "film", "[SEP]")
    assert found.special[0].tolist() == [True, False, False, False, True]
    assert found.scores[0, 2] > 0


def test_padding_changes_no_score():
    e = explain.IntegratedGradients(steps=8)
    both = explain.sentences(e, bert(), tokenizer(), TEXTS, 1)
    alone = explain.sentences(e, bert(), tokenizer(), TEXTS[1], 1)
    torch.testing.assert_close(both.scores[1, :5], alone.scores[0])


def test_arguments_that_the_network_does_not_take_are_left_out():
    class Bag(nn.Module):
        def __init__(self):
            super().__init__()
            torch.manual_seed(0)
            self.words, self.head = nn.Embedding(13, 4), nn.Linear(4, 2)

        def forward(self, ids):
            mask = (ids != 0).float()[..., None]
            return self.head((self.words(ids) * mask).sum(1) / mask.sum(1))

    found = explain.sentences(explain.Gradient(), Bag().eval(), tokenizer(), TEXTS, 0)
    assert found.scores.shape == (2, 6)
    named = models.Classifier(Bag().eval(), embedding="words")
    again = explain.sentences(explain.Gradient(), named, tokenizer(), TEXTS, 0)
    assert torch.equal(found.scores, again.scores)


def test_what_is_missing_is_said():
    net = bert()
    with pytest.raises(SurefootError, match=r"tokenizer\.pad_token = tokenizer\.eos_token"):
        explain.sentences(explain.Gradient(), net, tokenizer(pad_token=None), TEXTS)
    with pytest.raises(SurefootError, match="expected a text, a list of texts"):
        explain.sentences(explain.Gradient(), net, tokenizer(), [3])
    with pytest.raises(SurefootError, match="training mode"):
        explain.sentences(explain.Gradient(), bert().train(), tokenizer(), TEXTS)
    two = nn.ModuleDict({"a": nn.Embedding(3, 2), "b": nn.Embedding(3, 2)}).eval()
    with pytest.raises(SurefootError, match=r"pass embedding= with one of \['a', 'b'\]"):
        explain.sentences(explain.Gradient(), two, tokenizer(), TEXTS)
    with pytest.raises(SurefootError, match='expected "input_ids"'):
        explain.sentences(explain.Gradient(), net, lambda texts, **_: {"ids": [[1]]}, TEXTS)


def test_results_are_drawn_as_they_are():
    """The doors of `report` take the words from the result; so does a notebook."""
    report = pytest.importorskip("surefoot.report")
    pytest.importorskip("matplotlib")
    found = explain.sentences(explain.Gradient(), bert(), tokenizer(), TEXTS * 5)
    words = [list(row) for row in found.tokens]
    for door in (report.terminal, report.html):
        assert door(found) == door(
            found.explanation, features=words[: 8 if door is report.html else 10]
        )
    assert "film" in report.picture(found).alt
    assert found._repr_html_() == report.html(found)


def test_class_names_are_the_networks_own():
    net, names = bert(), ("bad", "so so", "good")
    assert explain.sentences(explain.Gradient(), net, tokenizer(), TEXTS).explanation.labels is None
    net.config.id2label = dict(enumerate(names))
    assert models.card(net).labels == names
    found = explain.sentences(explain.Gradient(), net, tokenizer(), TEXTS)
    assert found.explanation.labels == names
    # An output with other classes than the configuration names has none of its names.
    pair = models.Classifier(
        net, output=lambda out: out.logits[:, :2], embedding="bert.embeddings.word_embeddings"
    )
    assert (
        explain.sentences(explain.Gradient(), pair, tokenizer(), TEXTS).explanation.labels is None
    )


def test_what_a_tokenizer_gives_is_no_input():
    encoded = tokenizer()(TEXTS, padding=True, return_tensors="pt")
    for given in (encoded, encoded["input_ids"]):
        with pytest.raises(SurefootError, match=r"for texts use surefoot.explain.sentences\(expl"):
            explain.Gradient()(bert(), given)
