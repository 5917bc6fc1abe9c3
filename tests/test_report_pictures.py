"""Pictures by what can be measured: boxes of text, colours of pixels, words, metadata."""

import io
import itertools
import json

import numpy as np
import pytest
import torch
from torch import nn

from surefoot import SurefootError, attack, explain, report
from surefoot.explain import Captum, Explanation, Gradient, SmoothGrad

Text = pytest.importorskip("matplotlib.text").Text
image = pytest.importorskip("PIL.Image")

LONG = "a wide-mouthed wombat of Wagga Wagga, also called the Wommelsdorf wombat"
NAMES = {
    "dollars": "price_$5_and_$x_1$.png",
    "braces": "{a}^{b}_\\frac{1}{2}.png",
    "long": "x" * 300 + ".jpeg",
    "words": "a name with many words in it, so many that it has to be shortened.png",
    "chinese": "猫の写真.png",
    "emoji": "cat 😀👩‍👩‍👧.png",
    "arabic": "قطة جميلة.png",
    "hebrew": "חתול.png",
    "newline": "two\nlines\tand a tab.png",
    "bytes": "caf\udce9.png",
    "control": "bell\x07 and \x1b[31mred.png",
    "quotes": 'it\'s "quoted" & <b>bold</b>.png',
    "combining": "Zürich e\u0301te\u0301.png",
    "empty": "",
}


def explanation(shape, layout=None, seed=0, **more):
    """One with random inputs and signed attributions, two classes."""
    drawn = torch.Generator().manual_seed(seed)
    inputs = torch.rand(shape, generator=drawn)
    values = torch.randn(shape, generator=drawn)
    target = torch.zeros(shape[0]).long()
    shares = torch.tensor([[0.6249, 0.3751]]).expand(shape[0], 2)
    return Explanation(Gradient(), inputs, values, target, shares, layout=layout, **more)


TOKENS = ["[CLS]", "un", "##forgett", "##able", ",", "but", "at", "times", "a", "little", "dull"]
TOKENS += ["[SEP]", "[PAD]"]
KINDS = {
    "images": ((2, 3, 20, 20), None, {}),
    "panorama": ((1, 3, 8, 60), None, {}),
    "tower": ((1, 3, 60, 8), None, {}),
    "grey": ((1, 1, 9, 9), None, {"panels": ["input", "overlay"]}),
    "all panels": (
        (2, 3, 20, 20),
        None,
        {"panels": ["input", "map", "signed", "overlay", "contours", "top"], "smooth": 1.5},
    ),
    "shared": ((3, 3, 12, 12), None, {"scale": "shared"}),
    "volume": ((1, 1, 6, 12, 12), None, {"slices": 2}),
    "projection": ((1, 1, 6, 12, 12), None, {"slices": "projection"}),
    "signal": ((2, 3, 500), "signal", {"features": ["lead I", "lead II", LONG]}),
    "sentence": ((2, len(TOKENS), 4), "tokens", {"features": TOKENS}),
    "record": ((2, 40), None, {"features": [f"{LONG} {n}" for n in range(40)]}),
    "small record": ((1, 3), None, {}),
}
SIZES = ("screen", "slide", "paper", "column")


def drawn(kind, size="screen", **more):
    shape, layout, choices = KINDS[kind]
    found = explanation(shape, layout, labels=(LONG, "dog"), model="a-model")
    names = [f"{LONG} {row}.png" for row in range(shape[0])]
    return report.picture(found, names=names, size=size, **{**choices, **more})


def boxes(figure):
    """The boxes of all texts that show, by their words."""
    figure.draw_without_rendering()
    texts = [text for text in figure.findobj(Text) if text.get_visible()]
    shown = [text for text in texts if text.get_text().strip()]
    return [(text.get_text(), text.get_window_extent()) for text in shown]


def check_texts(figure):
    """No text is cut by the figure's edge, and no two lie over each other."""
    wide, high = figure.get_size_inches() * figure.dpi
    found = boxes(figure)
    assert found
    for text, box in found:
        inside = box.x0 >= -0.5 and box.y0 >= -0.5 and box.x1 <= wide + 0.5 and box.y1 <= high + 0.5
        assert inside, (text, box, wide, high)
    for (one, a), (other, b) in itertools.combinations(found, 2):
        across = min(a.x1, b.x1) - max(a.x0, b.x0)
        down = min(a.y1, b.y1) - max(a.y0, b.y0)
        assert min(across, down) < 1.5, (one, other)


@pytest.mark.parametrize("kind", KINDS)
def test_no_text_is_cut_or_lies_over_another(kind):
    whole = kind in ("images", "record", "sentence", "signal")
    for size in SIZES if whole else ("column",):
        check_texts(drawn(kind, size))


@pytest.mark.parametrize("kind", ["images", "record", "sentence"])
def test_a_base_map_has_its_place(kind):
    shape, layout, choices = KINDS[kind]
    found = explanation(shape, layout)
    base = explanation(shape, layout, seed=1).attributions
    figure = report.picture(found, base=base, size="paper", **choices)
    check_texts(figure)
    assert any("base" in text for text, _ in boxes(figure))


@pytest.mark.parametrize("name", NAMES.values(), ids=NAMES)
def test_any_name_is_drawn(name):
    found = explanation((1, 3, 8, 8), labels=(name or "x", "dog"))
    figure = report.picture(found, names=[name])
    check_texts(figure)
    assert report.render(figure, ".svg")
    assert "\n" not in figure.alt
    figure.alt.encode()  # no lone surrogates
    check_texts(report.picture(explanation((1, 2)), names=[name], features=[name] * 2))


def test_a_name_is_shortened_in_its_middle():
    figure = report.picture(explanation((1, 3, 8, 8)), names=["x" * 99 + "the end.jpeg"])
    (shown,) = [text for text, _ in boxes(figure) if text.endswith("end.jpeg")]
    assert shown.startswith("xxx")
    assert "…" in shown


# Colours


def photograph(figure, dpi=200):
    """The figure's pixels as anybody sees them, (H, W, 3)."""
    with image.open(io.BytesIO(report.render(figure, ".png", dpi))) as picture:
        return np.asarray(picture.convert("RGB")).astype(int)


def at(figure, pixels, axis, across, down):
    """The pixel at a share of an axis from its upper left corner."""
    box = axis.get_position()
    high, wide = pixels.shape[:2]
    x = box.x0 + across * box.width
    y = box.y1 - down * box.height
    return pixels[min(int((1 - y) * high), high - 1), min(int(x * wide), wide - 1)]


def bars(figure):
    """The axes of the colour bars, from the left."""
    figure.draw_without_rendering()
    found = [axis for axis in figure.axes if not axis.images and axis.collections]
    return sorted(found, key=lambda axis: axis.get_position().x0)


STEPS = torch.tensor([0.0, 0.25, 0.5, 1.0])


def blocks(values):
    """Attributions of one channel in four quarters."""
    return values.view(2, 2).repeat_interleave(8, 0).repeat_interleave(8, 1)[None, None]


def made(values):
    one = torch.ones(len(values), 2) / 2
    where = torch.zeros(len(values)).long()
    return Explanation(Gradient(), torch.full_like(values, 0.5), values, where, one)


@pytest.mark.parametrize("colours", ["inferno", "viridis"])
def test_the_colour_bar_tells_the_truth(colours):
    found = made(blocks(STEPS))
    figure = report.picture(found, percentile=100, panels=["input", "map"], colours=colours)
    pixels = photograph(figure)
    (bar,) = bars(figure)
    heat = figure.axes[1]
    for place, value in enumerate(STEPS.tolist()):
        seen = at(figure, pixels, heat, 0.25 + 0.5 * (place % 2), 0.25 + 0.5 * (place // 2))
        told = at(figure, pixels, bar, min(max(value, 0.005), 0.995), 0.5)
        assert np.abs(seen - told).max() <= 6, value
    ticks = [text for text, _ in boxes(figure)]
    assert {"0", "0.5", "1"} <= set(ticks)


def test_zero_is_neutral_and_the_two_signs_are_symmetric():
    figure = report.picture(
        made(blocks(torch.tensor([0.0, 1.0, -1.0, 0.5]))),
        percentile=100,
        panels=["input", "signed"],
    )
    pixels, axis = photograph(figure), figure.axes[1]
    zero = at(figure, pixels, axis, 0.25, 0.25)
    assert np.ptp(zero) <= 2
    assert zero.min() > 240
    above, below = at(figure, pixels, axis, 0.75, 0.25), at(figure, pixels, axis, 0.25, 0.75)
    assert above[0] > above[2] + 40  # red speaks for
    assert below[2] > below[0] + 40  # blue against
    (bar,) = bars(figure)
    assert np.abs(at(figure, pixels, bar, 0.5, 0.5) - zero).max() <= 6
    assert np.abs(at(figure, pixels, bar, 0.995, 0.5) - above).max() <= 6
    assert np.abs(at(figure, pixels, bar, 0.005, 0.5) - below).max() <= 6


def test_the_same_map_has_the_same_colours_whatever_stands_beside_it():
    one = torch.randn(1, 1, 12, 12, generator=torch.Generator().manual_seed(0))
    alone = report.picture(made(one)).axes[1].images[0]
    beside = report.picture(made(torch.cat([one, 7 * one, 0.1 * one]))).axes
    shown = [np.asarray(beside[place].images[0].get_array()) for place in (1, 5, 9)]
    for each in shown:
        np.testing.assert_allclose(each, np.asarray(alone.get_array()), atol=1e-5)


def test_a_shared_scale_compares_and_says_attributions():
    one = torch.rand(1, 1, 12, 12, generator=torch.Generator().manual_seed(0)) + 0.1
    figure = report.picture(made(torch.cat([one, 2 * one])), scale="shared", percentile=100)
    small, large = (np.asarray(figure.axes[place].images[0].get_array()) for place in (1, 4))
    np.testing.assert_allclose(large, 2 * small, rtol=1e-5)
    (bar, *_) = bars(figure)
    assert bar.get_xlim() == pytest.approx((0, float(2 * one.max())))


def test_smoothing_is_a_gaussian_and_is_said():
    spike = torch.zeros(1, 1, 31, 31)
    spike[..., 15, 15] = 1.0
    figure = report.picture(made(spike), smooth=2.0, percentile=100, panels=["input", "map"])
    heat = np.asarray(figure.axes[1].images[0].get_array())
    across = np.arange(31) - 15
    np.testing.assert_allclose(heat[15], np.exp(-0.5 * (across / 2) ** 2), atol=0.012)
    assert any("Gaussian of 2 places" in text for text, _ in boxes(figure))


def test_the_largest_share_is_cut_out():
    found = made(torch.arange(100.0).view(1, 1, 10, 10))
    figure = report.picture(found, panels=["input", "top"], top=0.2, smooth=0.01)
    shown = np.asarray(figure.axes[1].images[0].get_array())
    assert (shown[8:] == 0.5).all()
    assert (shown[:8] == 1).all()


def test_no_peak_of_a_long_signal_is_lost():
    found = explanation((1, 1, 8000), "signal")
    found.attributions.zero_()
    found.attributions[0, 0, 4321] = -1.0
    figure = report.picture(found)
    (strip,) = figure.axes[0].images
    assert np.asarray(strip.get_array()).min() == -1


def test_uncovered_places_are_hatched():
    covered = torch.ones(1, 16, 16, dtype=torch.bool)
    covered[:, :4] = False
    found = Explanation(
        Gradient(),
        torch.rand(1, 3, 16, 16),
        torch.rand(1, 3, 16, 16),
        torch.zeros(1).long(),
        torch.ones(1, 2) / 2,
        {"covered": covered},
    )
    figure = report.picture(found)
    hatched = [
        axis
        for axis in figure.axes
        if any(c.hatches for c in axis.collections if hasattr(c, "hatches"))
    ]
    assert len(hatched) == 2
    assert any("no decoy covers it" in text for text, _ in boxes(figure))


def test_words_are_coloured_by_the_sum_of_their_pieces():
    found = explanation(*KINDS["sentence"][:2])
    found.attributions[:, 0] = 100.0  # the special token would drown the words
    figure = report.picture(found, features=TOKENS)
    words = {text.get_text(): text for text in figure.texts if text.get_bbox_patch() is not None}
    assert {"[CLS]", "unforgettable", "dull", "[SEP]"} <= set(words)
    assert "[PAD]" not in words
    grey = words["[CLS]"].get_bbox_patch().get_facecolor()
    assert np.ptp(grey[:3]) == 0
    pieces = found.attributions[1].sum(1)
    for word, value in (("unforgettable", pieces[1:4].sum()), ("dull", pieces[-3])):
        red, _, blue, _ = words[word].get_bbox_patch().get_facecolor()  # of the last sentence
        assert (red > blue) == (value > 0)


# Words


def test_the_methods_own_name_stands_above_its_map():
    pytest.importorskip("captum")
    short = {
        "DeepLift": Captum("DeepLift"),
        "SmoothGrad\n(GuidedBackprop)": SmoothGrad(Captum("GuidedBackprop"), samples=2),
        "mine": explain.Function(mine),
    }
    for name, explainer in short.items():
        found = explanation((1, 3, 8, 8))
        figure = report.picture(Explanation(**{**vars(found), "explainer": explainer}))
        assert name in [text for text, _ in boxes(figure)]


def mine(model, inputs, target):
    return inputs


def test_the_class_explained_is_told_from_the_predicted():
    found = explanation((1, 3, 8, 8), labels=("cat", "dog"))
    found.target[:] = 1
    shown = [text for text, _ in boxes(report.picture(found, names=["a.png"]))]
    assert "dog, 38 %" in shown
    assert "a.png · predicted: cat, 62 %" in shown


def test_a_picture_says_in_words_what_it_shows():
    for kind in ("images", "volume", "signal", "sentence", "small record"):
        figure = drawn(kind)
        assert LONG[:20] in figure.alt
        assert "strongest" in figure.alt
    page = figure._repr_html_()
    assert "<img" in page
    assert f'alt="{figure.alt[:40]}' in page
    quoted = report.picture(explanation((1, 3, 8, 8)), names=['"><script>'])
    assert "<script>" not in quoted._repr_html_()


def test_words_find_the_place():
    found = made(torch.zeros(1, 1, 9, 9))
    found.attributions[..., 7, 8] = -3.0
    assert "strongest in the lower right (100 % of it)" in report.picture(found).alt
    zero = report.picture(made(torch.zeros(1, 1, 9, 9)))
    assert "zero everywhere" in zero.alt
    assert any("a map is zero everywhere" in text for text, _ in boxes(zero))


@pytest.mark.parametrize("suffix", report.SUFFIXES)
def test_files_tell_how_they_were_made(suffix):
    found = explanation((1, 3, 8, 8), model="a-model")
    content = report.render(report.picture(found, smooth=1.5), suffix)
    text = content.decode("latin-1").replace("\\(", "(").replace("\\)", ")")
    text = text.replace("&quot;", '"').replace("&apos;", "'")
    for told in ("Gradient(score='logit')", "a-model", "smooth=1.5", "surefoot"):
        assert told in text, told
    if suffix == ".png":
        with image.open(io.BytesIO(content)) as picture:
            about = json.loads(picture.text["surefoot"])
        assert about["explainer"] == "Gradient(score='logit')"
        assert (
            about["torch"] == torch.__version__.split("+")[0] or about["torch"] == torch.__version__
        )


@pytest.mark.parametrize("suffix", [".png", ".pdf", ".svg"])
def test_the_same_picture_is_the_same_file(suffix):
    one, two = (report.render(drawn("images"), suffix) for _ in range(2))
    if suffix == ".svg":  # matplotlib names its parts at random
        assert len(one) == pytest.approx(len(two), rel=0.01)
    else:
        assert one == two


@pytest.mark.parametrize(
    ("choices", "message"),
    [
        ({"panels": ["maps"]}, "panels has 'maps'; did you mean map"),
        ({"panels": []}, "panels is empty"),
        ({"panels": ["base"]}, "no base= was given"),
        ({"colours": "infernoo"}, "did you mean inferno"),
        ({"signed_colours": "red"}, "is no colour map"),
        ({"opacity": 0}, r"opacity=0, expected a number in \(0, 1\]"),
        ({"top": 1.5}, "top=1.5"),
        ({"percentile": 0}, "percentile=0"),
        ({"smooth": -1}, "smooth=-1"),
        ({"scale": "both"}, "scale has 'both'"),
        ({"size": "poster"}, "size has 'poster'"),
        ({"colour": "x"}, "a picture has no 'colour'; did you mean colours"),
        ({"features": ["a"]}, "expected none for images"),
    ],
)
def test_choices_that_there_are_not(choices, message):
    with pytest.raises(SurefootError, match=message):
        report.picture(explanation((1, 3, 8, 8)), **choices)


def test_slices_that_there_are_not():
    for slices in ([9], [], "middle", [0.5]):
        with pytest.raises(SurefootError, match="from 0 to 5"):
            report.picture(explanation((1, 1, 6, 8, 8)), slices=slices)


def test_three_axes_that_nobody_explained_are_asked_for():
    with pytest.raises(SurefootError, match="a signal"):
        report.picture(explanation((1, 3, 8)))


def test_an_attack_alone_shows_itself():
    torch.manual_seed(0)
    net = nn.Sequential(nn.Flatten(), nn.Linear(192, 8), nn.Tanh(), nn.Linear(8, 3)).eval()
    budget = attack.Linf(4 / 255, steps=2)
    result = attack.TopK(budget, k=5)(net, torch.rand(2, 3, 8, 8), None, Gradient())
    for size in ("slide", "paper"):
        check_texts(report.attack_picture(result, size=size))
    assert "top 5 left" in report.attack_picture(result).alt
