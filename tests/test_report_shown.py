"""What is kept of an explanation, and how results show themselves in notebooks and terminals."""

import json
import re
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest
import torch
from torch import nn

from surefoot import SurefootError, attack, decoy, explain, models, report
from surefoot.explain import Decoy, Explanation, Gradient, IntegratedGradients

pytest.importorskip("matplotlib")

PIXELS = torch.rand(2, 3, 16, 16, generator=torch.Generator().manual_seed(1))
TOKENS = ["[CLS]", "un", "##likely", "<b>", "good", "[SEP]"]


def sentence():
    drawn = torch.Generator().manual_seed(0)
    values = torch.randn(1, len(TOKENS), 3, generator=drawn)
    shares = torch.tensor([[0.2, 0.8]])
    return Explanation(
        Gradient(), values, values, torch.ones(1).long(), shares, layout="tokens", model="a-model"
    )


class Reader(HTMLParser):
    """What a screen reader finds: texts, and the words of images."""

    def __init__(self):
        super().__init__()
        self.said, self.open, self.tags = [], [], []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        if tag == "img":
            self.said.append(dict(attrs)["alt"])
        else:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.said.append(data)


def read(page):
    reader = Reader()
    reader.feed(page)
    assert reader.open == []
    assert "script" not in reader.tags
    assert not re.search(r'(src|href)="(?!data:)', page)
    return " ".join(reader.said)


# Kept


@pytest.mark.parametrize("suffix", [".npz", ".safetensors"])
def test_what_is_loaded_draws_the_same_picture(net, tmp_path, suffix):
    pytest.importorskip("safetensors")
    baseline = torch.full((3, 16, 16), 0.25)
    inner = IntegratedGradients(steps=2, baseline=baseline, score="probability")
    made = Decoy(inner, layer="2", decoys=4).explain(net, PIXELS, layout="image")
    made = replace(made, labels=("zero", "één", "两", "three", "four"), model="a model")
    made.save(tmp_path / f"a{suffix}")
    found = Explanation.load(tmp_path / f"a{suffix}")
    assert found.explainer == made.explainer
    for name in ("inputs", "attributions", "target", "probabilities"):
        assert torch.equal(getattr(found, name), getattr(made, name))
    assert found.details.keys() == made.details.keys()
    for name, value in made.details.items():
        assert torch.equal(found.details[name], value)
    assert (found.layout, found.labels, found.model) == ("image", made.labels, "a model")
    one, two = (report.render(report.picture(each)) for each in (made, found))
    assert one == two


def test_what_is_no_whole_explanation(net, tmp_path):
    (tmp_path / "text.npz").write_text("no archive")
    with pytest.raises(SurefootError, match="it is no file that surefoot wrote"):
        Explanation.load(tmp_path / "text.npz")
    np.savez(tmp_path / "part.npz", metadata=np.array("{}"), target=np.zeros(1))
    with pytest.raises(SurefootError, match="inputs, attributions, probabilities is missing"):
        Explanation.load(tmp_path / "part.npz")
    with pytest.raises(SurefootError, match=r"cannot read .*: No such file"):
        Explanation.load(tmp_path / "absent.safetensors")
    with pytest.raises(SurefootError, match="must end in"):
        Explanation.load(tmp_path / "a.pt")


def test_plain_values_for_others(net):
    made = replace(Gradient().explain(net, PIXELS, 3), labels=tuple("abcde"))
    found = made.to_dict()
    assert found["axes"] == ["sample", "channel", "row", "column"]
    assert np.array_equal(found["attributions"], made.attributions)
    assert found["attributions"].ndim == len(found["axes"])
    told = json.loads(made.to_json())
    assert told["target_labels"] == ["d", "d"]
    assert told["confidence"] == pytest.approx(made.confidence().tolist())
    assert told["shape"] == [2, 3, 16, 16]
    assert "attributions" not in told
    whole = json.loads(made.to_json(arrays=True))
    np.testing.assert_allclose(whole["attributions"], made.attributions, rtol=1e-6)


def test_json_has_no_number_for_nan():
    made = replace(sentence(), probabilities=torch.full((1, 2), torch.nan))
    assert json.loads(made.to_json(arrays=True))["probabilities"] == [[None, None]]
    assert json.loads(made.to_json())["confidence"] == [None]
    assert report.picture(made, features=TOKENS)


def test_labels_and_name_come_with_the_model():
    model = models.load("fashion-mnist/scaat")
    made = Gradient().explain(model, torch.rand(1, 1, 28, 28))
    assert made.model == "fashion-mnist/scaat"
    label = made.labels[int(made.target)]
    assert report.picture(made).alt.startswith(f"Saliency maps by Gradient. sample 1: {label}, ")


# Shown


def test_an_explanation_shows_itself_with_its_text(net):
    made = Gradient().explain(net, PIXELS)
    said = read(made._repr_html_())
    assert said.startswith("Saliency maps by Gradient. sample 1: class ")
    assert said.count("strongest in the ") == 2


def test_a_sentence_is_words_and_all_its_numbers():
    page = report.html(sentence(), features=TOKENS, labels=["bad", "good"], names=["<i>1</i>"])
    said = read(page)
    for text in ("good, 80 %", "<i>1</i>", "unlikely", "<b>", "special token", "a-model"):
        assert text in said
    value = float(sentence().attributions[0, 1:3].sum())
    assert f"{value:+.3g}" in said


def test_a_record_has_all_its_fields_in_a_table():
    torch.manual_seed(0)
    made = Gradient().explain(nn.Linear(40, 2).eval(), torch.rand(1, 40))
    said = read(report.html(made, features=[f"field {n}" for n in range(40)]))
    for n in range(40):
        assert f"field {n} = " in said
    assert "all 40 fields" in said


def test_a_sentence_in_a_terminal():
    (title, line) = report.terminal(sentence(), features=TOKENS).split("\n")
    assert title == "class 1, 80 %"
    words = re.sub(r"\x1b\[[0-9;]*m", "", line)
    assert words == "[CLS] unlikely <b> good [SEP]"
    assert line.count("\x1b[48;2;") == 3
    with pytest.raises(SurefootError, match="expected an explanation of tokens"):
        report.terminal(sentence())


def test_an_attack_shows_itself(net):
    result = attack.TopK(attack.Linf(4 / 255, steps=2), k=20)(net, PIXELS, None, Gradient())
    said = read(result._repr_html_())
    assert "top 20 left" in said
    assert "prediction kept" in said
    torch.manual_seed(0)
    records = nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 3)).eval()
    budget = attack.Linf(0.1, steps=1)
    result = attack.TopK(budget, k=2)(records, torch.rand(2, 6), None, Gradient())
    assert "top 2 left" in read(result._repr_html_())


def test_decoys_show_themselves(net):
    made = decoy.make_decoys(net, PIXELS, layer="2", decoys=4)
    first = np.asarray(report.decoys_picture(made).axes[0].images[0].get_array())
    np.testing.assert_allclose(first, PIXELS[0].permute(1, 2, 0), atol=1e-6)
    assert "cannot tell these from the originals" in read(made._repr_html_())
    torch.manual_seed(0)
    records = nn.Sequential(nn.Linear(6, 2), nn.ReLU(), nn.Linear(2, 2)).eval()
    assert (
        decoy.make_decoys(records, torch.full((1, 6), 0.5), layer="1", units="absolute")
    )._repr_html_() is None


def test_several_inputs_stand_side_by_side():
    class Two(nn.Module):
        def __init__(self):
            super().__init__()
            torch.manual_seed(0)
            self.image, self.record = nn.Linear(64, 2), nn.Linear(5, 2)

        def forward(self, image, record):
            return self.image(image.flatten(1)) + self.record(record)

    inputs = (torch.rand(1, 1, 8, 8), torch.rand(1, 5))
    made = explain.Gradient().explain(Two().eval(), inputs)
    figure = report.picture(made, names=["both"])
    alone = [report.picture(each, names=["both"]) for each in report._picture.parts(made)]
    assert len(figure.axes) == sum(len(each.axes) for each in alone)
    assert figure.alt.count("Saliency maps") == 2
    assert read(report.html(made)).count("Saliency maps") == 2
    assert "(1, 1, 8, 8) + (1, 5)" in repr(made)
    assert made._repr_png_().startswith(b"\x89PNG")
