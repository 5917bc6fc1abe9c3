"""Several inputs, attacked records, signals and sentences, regions, and words of word pieces."""

import itertools
import json

import numpy as np
import pytest
import torch
from torch import nn

from surefoot import SurefootError, attack, explain, report
from surefoot.explain import Explanation, Gradient, IntegratedGradients
from surefoot.explain._explanation import join_explanations
from surefoot.models import Classifier

Text = pytest.importorskip("matplotlib.text").Text
from surefoot.report._pieces import join_pieces  # noqa: E402 (needs the extra)

TOKENS = ["[CLS]", "un", "##forgett", "##able", "film", ",", "dull", "[SEP]", "[PAD]"]
FIELDS = [f"field {n}" for n in range(6)]


def head(size, classes=3):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        layers = (nn.Flatten(), nn.Linear(size, 8), nn.Tanh(), nn.Linear(8, classes))
        return nn.Sequential(*layers).eval()


class Two(nn.Module):
    """An image and a record."""

    def __init__(self):
        super().__init__()
        self.image, self.record = head(192), head(6)

    def forward(self, image, record):
        return self.image(image) + self.record(record)


@pytest.fixture
def two():
    return Two().eval()


def drawn(*shape, seed=0):
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed))


def pair(count=2):
    return drawn(count, 3, 8, 8), drawn(count, 6)


def boxes(figure):
    figure.draw_without_rendering()
    texts = [text for text in figure.findobj(Text) if text.get_visible()]
    shown = [text for text in texts if text.get_text().strip()]
    return [(text.get_text(), text.get_window_extent()) for text in shown]


def check_texts(figure):
    """No text is cut by the figure's edge, and no two lie over each other."""
    wide, high = figure.get_size_inches() * figure.dpi
    for text, box in boxes(figure):
        assert box.x0 >= -0.5, text
        assert box.y0 >= -0.5, text
        assert box.x1 <= wide + 0.5, text
        assert box.y1 <= high + 0.5, text
    for (one, a), (other, b) in itertools.combinations(boxes(figure), 2):
        across, down = min(a.x1, b.x1) - max(a.x0, b.x0), min(a.y1, b.y1) - max(a.y0, b.y0)
        assert min(across, down) < 1.5, (one, other)


# Several inputs


@pytest.mark.parametrize("suffix", [".npz", ".safetensors"])
def test_several_inputs_are_kept(two, tmp_path, suffix):
    pytest.importorskip("safetensors")
    made = IntegratedGradients(steps=2).explain(two, pair(), layout=("image", "record"))
    made.save(tmp_path / f"a{suffix}")
    found = Explanation.load(tmp_path / f"a{suffix}")
    assert found.layout == made.layout
    assert found.explainer == made.explainer
    for name in ("inputs", "attributions"):
        for one, other in zip(getattr(found, name), getattr(made, name), strict=True):
            assert torch.equal(one, other)
    one, two_ = (report.render(report.picture(each)) for each in (made, found))
    assert one == two_


def test_a_file_that_lacks_one_of_several_inputs(two, tmp_path):
    Gradient().explain(two, pair()).save(tmp_path / "a.npz")
    with np.load(tmp_path / "a.npz") as file:
        content = {name: file[name] for name in file if name != "inputs.1"}
    np.savez(tmp_path / "b.npz", **content)
    with pytest.raises(SurefootError, match="no whole explanation: inputs is missing"):
        Explanation.load(tmp_path / "b.npz")


def test_plain_values_of_several_inputs(two):
    made = Gradient().explain(two, pair())
    found = made.to_dict()
    assert found["layout"] == ["image", "record"]
    assert found["axes"] == [["sample", "channel", "row", "column"], ["sample", "feature"]]
    assert [each.ndim for each in found["attributions"]] == [4, 2]
    assert json.loads(made.to_json())["shape"] == [[2, 3, 8, 8], [2, 6]]


def test_explanations_of_several_inputs_are_joined(two):
    images, records = pair(3)
    each = [Gradient().explain(two, (images[n : n + 1], records[n : n + 1])) for n in range(3)]
    whole, joined = Gradient().explain(two, (images, records)), join_explanations(each)
    for name in ("inputs", "attributions"):
        for one, other in zip(getattr(joined, name), getattr(whole, name), strict=True):
            torch.testing.assert_close(one, other)
    with pytest.raises(SurefootError, match="cannot join"):
        join_explanations([each[0], Gradient().explain(head(6), records)])


@pytest.mark.parametrize("size", ["screen", "slide", "paper", "column"])
def test_pictures_of_several_inputs_are_drawn_as_letters_and_lines(two, size):
    made = Gradient().explain(two, pair())
    names = [None, FIELDS]
    figure = report.picture(made, names=["a.png", "b.png"], features=names, size=size)
    check_texts(figure)
    shown = [text for text, _ in boxes(figure)]
    assert any(text.startswith("field 3 = ") for text in shown)
    assert shown.count("Gradient") == 1  # above the image's map
    alone = [
        report.picture(part, names=["a.png", "b.png"], features=told, size=size)
        for part, told in zip(report._picture.parts(made), names, strict=True)
    ]
    sizes = np.array([each.get_size_inches() for each in alone])
    wide, high = figure.get_size_inches()
    if size == "screen":
        assert (wide, high) == pytest.approx((sizes[:, 0].sum(), sizes[:, 1].max()))
    else:
        assert (wide, high) == pytest.approx((sizes[0, 0], sizes[:, 1].sum()))
    heats = [
        np.asarray(axis.images[0].get_array())
        for axis in figure.axes
        if axis.images and np.asarray(axis.images[0].get_array()).ndim == 2
    ]
    np.testing.assert_array_equal(heats[0], made.heatmap()[0][0])


def test_names_for_several_inputs_are_a_list_of_lists(two):
    made = Gradient().explain(two, pair())
    for given in (FIELDS, [FIELDS], [None, FIELDS, None]):
        with pytest.raises(SurefootError, match="the explanation is of 2 inputs"):
            report.picture(made, features=given)


# Attacks on what is no image


def attacked(model, inputs, layout=None, **more):
    model = Classifier(model, layout=layout).eval() if layout else model
    budget = attack.Linf(0.1, steps=2)
    result = attack.TopK(budget, k=3)(model, inputs, None, Gradient())
    clean, moved = (model(each).detach().softmax(1) for each in (result.originals, result.inputs))
    labels = ["cat", "dog", "cow"]
    control = {name: value * 0 + 0.5 for name, value in result.scores.items()}
    return report.Attacked(result, clean, moved, control, 3, labels, **more)


@pytest.mark.parametrize("size", ["screen", "slide", "paper", "column"])
@pytest.mark.parametrize(
    ("shape", "layout", "features"),
    [
        ((2, 6), None, FIELDS),
        ((2, 2, 300), "signal", ["lead I", "lead II"]),
        ((2, len(TOKENS), 4), "tokens", TOKENS),
        ((1, 5, 4), "tokens", None),
    ],
    ids=["record", "signal", "sentence", "tokens"],
)
def test_an_attack_is_drawn_in_the_layout_of_its_inputs(shape, layout, features, size):
    whole = attacked(head(torch.Size(shape[1:]).numel()), drawn(*shape), layout)
    figure = report.attack_picture(whole, features=features, size=size)
    check_texts(figure)
    shown = " ".join(text for text, _ in boxes(figure))
    for told in ("before", "after", "kept", "Kendall", "0.500", "TopK(Linf(0.1, steps=2), k=3)"):
        assert told in shown, told
    for told in ("top 3 left", "strongest at"):
        assert told in figure.alt
    assert "attack" in report._files.about(figure)["explainer"] or "Gradient" in figure.alt


def test_bars_of_an_attack_are_the_maps_before_and_after():
    whole = attacked(head(6), drawn(1, 6))
    figure = report.attack_picture(whole, features=FIELDS)
    result = whole.result
    order = result.before[0].abs().argsort(descending=True, stable=True)
    for axis, maps in zip(figure.axes[:2], (result.before, result.after), strict=True):
        np.testing.assert_allclose([bar.get_width() for bar in axis.patches], maps[0][order])
    names = [text.get_text() for text in figure.axes[0].get_yticklabels()]
    for name, place in zip(names, order.tolist(), strict=True):
        a, b = (f"{float(each[0, place]):.3g}" for each in (result.originals, result.inputs))
        assert name == f"{FIELDS[place]} = {a} → {b}"


def test_lines_of_an_attack_are_the_signals_before_and_after():
    whole = attacked(head(600), drawn(1, 2, 300), "signal")
    figure = report.attack_picture(whole, percentile=100)
    lines = [axis.lines[0].get_ydata() for axis in figure.axes if axis.lines]
    expected = [*whole.result.originals[0], *whole.result.inputs[0]]
    for line, signal in zip(lines, expected, strict=True):
        np.testing.assert_array_equal(line, signal)
    strips = [axis.images[0].get_array() for axis in figure.axes if axis.lines]
    maps = [*whole.result.before[0], *whole.result.after[0]]
    for strip, values in zip(strips, maps, strict=True):
        np.testing.assert_array_equal(np.asarray(strip)[0], values)


def test_an_attack_on_several_inputs_shows_each(two):
    result = attack.TopK(attack.Linf(0.05, steps=2), k=5)(two, pair(), None, Gradient())
    for size in ("screen", "paper"):
        figure = report.attack_picture(result, features=[None, FIELDS], size=size)
        check_texts(figure)
    shown = [text for text, _ in boxes(figure)]
    assert "perturbed" in shown
    assert any("→" in text for text in shown)
    assert figure.alt.count("top 5 left") == 4
    assert "<img" in result._repr_html_()


# Regions


def test_regions_are_outlined_and_told_of():
    found = explain.Gradient().explain(head(192), drawn(1, 3, 8, 8))
    found.attributions.zero_()
    found.attributions[..., 1, 1], found.attributions[..., 6, 6] = 3.0, 1.0
    region = torch.zeros(1, 8, 8, dtype=torch.bool)
    region[:, :4, :4] = True
    figure = report.picture(found, regions=region)
    assert "75 % of it in the region outlined" in figure.alt
    assert any("outlined in cyan" in text for text, _ in boxes(figure))
    outlined = [axis for axis in figure.axes if axis.images and axis.collections]
    assert len(outlined) == 3
    for wrong in (region[:, :4], region[0]):
        with pytest.raises(SurefootError, match=r"regions has shape .*, expected \(1, 8, 8\)"):
            report.picture(found, regions=wrong)
    with pytest.raises(SurefootError, match="of images or volumes"):
        report.picture(Gradient().explain(head(6), drawn(1, 6)), regions=torch.ones(1))


# Words


def test_a_sentences_words_are_told_without_the_models_own_tokens():
    values = torch.zeros(1, len(TOKENS), 2)
    values[0, 0], values[0, 7], values[0, 8] = 99.0, -99.0, 50.0  # special ones
    values[0, 1], values[0, 2], values[0, 3] = 1.0, 1.0, 1.0  # pieces of one word
    values[0, 6] = -2.0
    shares = torch.tensor([[0.2, 0.8]])
    one = torch.ones(1).long()
    found = Explanation(Gradient(), values, values, one, shares, layout="tokens")
    figure = report.picture(found, features=TOKENS)
    assert figure.alt.endswith("class 1, 80 %; strongest at unforgettable, dull, film.")
    assert "CLS" not in figure.alt


def test_bars_of_tokens_without_words_are_the_sums_over_the_embedding():
    result = Gradient().explain(head(12), drawn(1, 4, 3), 1, layout="tokens")
    figure = report.picture(result)
    values = result.attributions[0].sum(1)
    order = values.abs().argsort(descending=True, stable=True)
    widths = [bar.get_width() for bar in figure.axes[0].patches]
    np.testing.assert_allclose(widths, values[order], rtol=1e-6)
    names = [text.get_text() for text in figure.axes[0].get_yticklabels()]
    assert names == [f"token {place}" for place in order]


@pytest.mark.parametrize(
    ("tokens", "words"),
    [
        (["[CLS]", "run", "##ning", "[SEP]"], ["[CLS]", "running", "[SEP]"]),
        (["<s>", "\u2581run", "ning", "\u2581on", "</s>"], ["<s>", "running", "on", "</s>"]),
        (["A", "\u0120caf", "\u00c3\u00a9", "\u0120\u00f0\u0141\u013a\u0122"], ["A", "café", "😀"]),
        (["<|endoftext|>", "\u0120so"], ["<|endoftext|>", "so"]),
        (["plain", "words", "[UNK]"], ["plain", "words", "[UNK]"]),
    ],
)
def test_pieces_become_words(tokens, words):
    values = [float(n + 1) for n in range(len(tokens))]
    found = join_pieces(tokens, values)
    assert [word.text for word in found] == words
    assert sum(word.value for word in found) == sum(values)
