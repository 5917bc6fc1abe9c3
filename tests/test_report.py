import errno
import io
import itertools
import json
import os
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from surefoot import SurefootError, attack, explain, report
from surefoot.explain import Decoy, Explanation, Gradient, IntegratedGradients, SmoothGrad
from surefoot.explain._explanation import join_explanations
from surefoot.files import write_whole
from surefoot.models import Classifier

mpl = pytest.importorskip("matplotlib")
image = pytest.importorskip("PIL.Image")

PIXELS = torch.rand(3, 3, 16, 16, generator=torch.Generator().manual_seed(1))


def shown(axis):
    (picture,) = axis.images
    return np.asarray(picture.get_array())


def panels(figure):
    """The axes that hold pictures, by rows from the top."""
    axes = [axis for axis in figure.axes if axis.images]
    return sorted(
        axes, key=lambda a: (a.get_subplotspec().rowspan.start, a.get_subplotspec().colspan.start)
    )


def texts(figure):
    return [text.get_text() for text in figure.findobj(lambda a: hasattr(a, "get_text"))]


@pytest.fixture
def decoys(net):
    return Decoy(Gradient("probability"), layer="2", decoys=4).explain(net, PIXELS)


def test_a_row_shows_photograph_base_map_and_overlay(net, decoys):
    base = decoys.explainer.base(net, PIXELS, decoys.target)
    labels = ["zero", "one", "two", "three", "four"]
    figure = report.picture(decoys, base=base, labels=labels, names=["a.png", "b.png", "c.png"])
    rows = panels(figure)
    assert len(rows) == 12
    for row in range(3):
        photo, plain, whole, overlay = map(shown, rows[4 * row : 4 * row + 4])
        assert np.array_equal(photo, PIXELS[row].permute(1, 2, 0))
        assert np.array_equal(plain, explain.heatmap(base)[row])
        assert np.array_equal(whole, decoys.heatmap()[row])
        cold, hot = decoys.heatmap()[row] == 0, decoys.heatmap()[row] == 1
        assert np.array_equal(overlay[cold][:, 0], overlay[cold][:, 2])  # grey
        assert np.ptp(overlay[hot], axis=1).min() > 0.3  # coloured
    written = texts(figure)
    for row, name in enumerate("abc"):
        share = decoys.probabilities[row, decoys.target[row]]
        assert f"{labels[decoys.target[row]]}, {share:.0%}".replace("%", " %") in written
        assert f"{name}.png" in written
    assert {"Gradient", "Decoy\n(Gradient)", "overlay"} <= set(written)
    assert any("attribution" in text for text in written)
    assert any(repr(decoys.explainer) in text for text in written)


def test_without_base_labels_or_names(net):
    result = Gradient().explain(net, PIXELS, 3)
    figure = report.picture(result)
    assert len(panels(figure)) == 12  # with what speaks for and against
    assert any(text.startswith("class 3, ") for text in texts(figure))


@pytest.mark.parametrize("shape", [(2, 1, 6, 9), (2, 2, 6, 9), (1, 5, 9, 6), (2, 3, 4, 6, 9)])
def test_any_image_or_volume(shape):
    values = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    made = Explanation(
        Gradient(), values * 7, values, torch.zeros(shape[0]).long(), torch.ones(shape[0], 2) / 2
    )
    rows = panels(report.picture(made))
    assert len(rows) == 4 * shape[0]
    heat = explain.heatmap(values)
    expected = heat[0, shape[2] // 2] if len(shape) == 5 else heat[0]
    assert np.array_equal(shown(rows[1]), expected)
    assert shown(rows[0]).shape == (*shape[-2:], 3)
    assert 0 <= shown(rows[0]).min() <= shown(rows[0]).max() <= 1


def test_bars_hold_the_signed_values():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(12, 2)).eval()
    for shape, layout in (((2, 12), None), ((2, 4, 3), "tokens")):
        result = Gradient().explain(model, torch.rand(shape), 1, layout=layout)
        names = [f"f{i}" for i in range(shape[1])]
        figure = report.picture(result, features=names, base=2 * result.attributions)
        values = result.attributions[0].reshape(shape[1], -1).sum(1)
        if layout == "tokens":
            continue
        order = values.abs().argsort(descending=True, stable=True)
        for axis, factor in zip(figure.axes[:2], (2, 1), strict=True):
            widths = [bar.get_width() for bar in axis.patches]
            np.testing.assert_allclose(widths, factor * values[order], rtol=1e-6)
        shown = [t.get_text().partition(" = ")[0] for t in figure.axes[0].get_yticklabels()]
        assert shown == [names[place] for place in order]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"base": PIXELS[:1]}, r"base has shape \(1, 3, 16, 16\), expected \(3, 3, 16, 16\)"),
        ({"names": ["a"]}, "there are 1 names for 3 samples"),
    ],
)
def test_pictures_that_do_not_fit(net, change, message):
    with pytest.raises(SurefootError, match=message):
        report.picture(Gradient().explain(net, PIXELS), **change)


def test_feature_names_must_fit():
    result = Gradient().explain(nn.Linear(4, 2).eval(), torch.rand(1, 4))
    with pytest.raises(SurefootError, match="there are 3 feature names for 4 places"):
        report.picture(result, features=["a", "b", "c"])


def test_drawing_leaves_matplotlibs_state_alone(net):
    before = dict(mpl.rcParams)
    loaded = "matplotlib.pyplot" in sys.modules
    report.render(report.picture(Gradient().explain(net, PIXELS)))
    assert dict(mpl.rcParams) == before
    assert ("matplotlib.pyplot" in sys.modules) == loaded


@pytest.mark.parametrize(
    ("suffix", "head"),
    [(".png", b"\x89PNG"), (".pdf", b"%PDF"), (".svg", b"<?xml"), (".jpg", b"\xff\xd8")],
)
def test_pictures_are_files_of_their_kind(net, suffix, head):
    figure = report.picture(Gradient().explain(net, PIXELS))
    assert report.render(figure, suffix).startswith(head)
    report.check_suffix(Path(f"a{suffix}"))


def test_a_notebook_shows_at_most_eight_rows(net, monkeypatch):
    few, many = (Gradient().explain(net, PIXELS.repeat(n, 1, 1, 1)) for n in (2, 20))
    sizes = [image.open(io.BytesIO(each._repr_png_())).size for each in (few, many)]
    assert sizes[0][0] == sizes[1][0]
    assert sizes[1][1] < 1.5 * sizes[0][1]
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    assert few._repr_png_() is None


def test_what_cannot_be_drawn_shows_as_text():
    odd = torch.zeros(1, 2, 2, 2, 2, 2)
    made = Explanation(Gradient(), odd, odd, torch.zeros(1).long(), torch.ones(1, 2) / 2)
    with pytest.raises(SurefootError, match=r"cannot draw inputs of shape \(1, 2, 2, 2, 2, 2\)"):
        report.picture(made)
    assert made._repr_png_() is None


def test_repr_is_short(net):
    result = Gradient().explain(net, PIXELS.repeat(3, 1, 1, 1), 1)
    share = f"{result.probabilities[0, 1]:.0%}"
    assert repr(result).startswith(
        f"Explanation(Gradient(score='logit'), (9, 3, 16, 16), target 1 ({share}), "
    )
    assert len(repr(result)) < 200
    assert "tensor" not in repr(result)


# Attacks


@pytest.fixture
def attacked(net):
    result = attack.TopK(attack.Linf(4 / 255, steps=3), k=20)(net, PIXELS, None, Gradient())
    signs = attack.RandomSign(attack.Linf(4 / 255), k=20)(net, PIXELS, None, Gradient())
    clean, moved = (net(each).detach().softmax(1) for each in (result.originals, result.inputs))
    return report.Attacked(result, clean, moved, signs.scores, names=["a.png", "b.png", "c.png"])


def test_an_attack_shows_inputs_difference_and_both_maps(attacked):
    figure = report.attack_picture(attacked, percentile=90)
    rows = panels(figure)
    assert len(rows) == 15
    result = attacked.result
    heats = [explain.heatmap(maps, 90) for maps in (result.before, result.after)]
    for row in range(3):
        original, perturbed, difference, before, after = map(shown, rows[5 * row : 5 * row + 5])
        assert np.array_equal(original, PIXELS[row].permute(1, 2, 0))
        assert np.array_equal(perturbed, result.inputs[row].permute(1, 2, 0))
        change = (perturbed.astype(float) - original) * 16  # 4/255 fits 31 times into a half
        np.testing.assert_allclose(difference, 0.5 + change, atol=1e-6)
        assert np.array_equal(before, heats[0][row])
        assert np.array_equal(after, heats[1][row])
    written = texts(figure)
    assert {"original", "perturbed", "difference ×16, at most 4/255"} <= set(written)  # noqa: RUF001
    assert {"Gradient, before", "Gradient, after", "top 20 left", "TopK"} <= set(written)
    assert any(text.startswith("TopK(Linf(4/255, steps=3), k=20) on Gradient(") for text in written)
    for scores in (result.scores, attacked.control):
        for row in range(3):
            assert f"{scores['kendall'][row]:.3f}" in written
            assert f"{scores['mass_centre_shift'][row]:.1f} px" in written


def test_every_text_of_an_attack_is_inside_the_figure_and_beside_the_others(attacked):
    named = replace(attacked, labels=["a wide-mouthed Wommelsdorf wombat of Wagga Wagga"] * 5)
    figure = report.attack_picture(named)
    figure.draw_without_rendering()
    wide, high = figure.get_size_inches() * figure.dpi
    for axis in panels(figure):
        for text in axis.texts:
            box = text.get_window_extent()
            assert 0 <= box.x0 < box.x1 <= wide
            assert 0 <= box.y0 < box.y1 <= high
    first, second = panels(figure)[:2]
    assert first.texts[0].get_window_extent().x1 < second.get_window_extent().x0
    bands = [axis for axis in figure.axes if len(axis.texts) > 10]
    assert len(bands) == 3
    for band in bands:
        boxes = sorted(
            (round(box.y0), box.x0, box.x1)
            for box in (text.get_window_extent() for text in band.texts)
        )
        for one, other in itertools.pairwise(boxes):
            assert one[0] != other[0] or one[2] < other[1]
        assert min(box[0] for box in boxes) >= 0


def test_a_lost_prediction_is_said(attacked):
    result = replace(
        attacked.result,
        inputs=attacked.result.originals,
        label_kept=torch.tensor([True, False, True]),
    )
    changed = replace(attacked, result=result)
    written = texts(report.attack_picture(changed))
    assert written.count("none kept the prediction") == 1
    assert "TopK: none found" in written
    assert "difference: none" in written
    lines = report.attack_table(changed)
    assert [line for line in lines if "no iterate kept it" in line] == [lines[3]]


def test_the_table_is_aligned(attacked):
    lines = report.attack_table(attacked)
    assert len(lines) == 7
    ends = {line.index("px") for line in lines[1:]}
    assert len(ends) == 1
    alone = report.attack_table(replace(attacked, control={}))
    assert len(alone) == 4


def test_joined_attacks_are_the_batch(net, attacked):
    parts = [
        report.Attacked(
            attacked.result[row],
            attacked.clean[[row]],
            attacked.moved[[row]],
            {name: value[[row]] for name, value in attacked.control.items()},
        )
        for row in range(3)
    ]
    joined = replace(report.join(parts), names=attacked.names)
    assert report.attack_table(joined) == report.attack_table(attacked)
    assert torch.equal(joined.result.after, attacked.result.after)


def test_attacks_on_inputs_without_a_layout_cannot_be_drawn():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 3)).eval()
    attacking = attack.TopK(attack.Linf(0.1, steps=1), k=2)
    result = attacking(Classifier(model, layout="signal"), torch.rand(2, 2, 3), None, Gradient())
    with pytest.raises(SurefootError, match=r"have shape \(2, 2, 3\): a signal"):
        report.attack_picture(replace(result, layout=None))


# Saving


def test_npz_holds_everything(net, decoys, tmp_path):
    decoys.save(tmp_path / "a.npz")
    with np.load(tmp_path / "a.npz") as file:
        for name in ("attributions", "target", "probabilities"):
            assert np.array_equal(file[name], getattr(decoys, name))
        for name, value in decoys.details.items():
            assert np.array_equal(file[f"details.{name}"], value)
        metadata = json.loads(str(file["metadata"]))
    assert explain.from_json(metadata["explainer"]) == decoys.explainer


def test_safetensors_hold_everything(decoys, tmp_path):
    safetensors = pytest.importorskip("safetensors")
    decoys.save(tmp_path / "a.safetensors")
    with safetensors.safe_open(tmp_path / "a.safetensors", "pt") as file:
        names = {"inputs", "attributions", "target", "probabilities"}
        assert set(file.keys()) == names | {f"details.{name}" for name in decoys.details}
        assert torch.equal(file.get_tensor("attributions"), decoys.attributions)
        assert explain.from_json(file.metadata()["explainer"]) == decoys.explainer


def test_tensors_of_the_recipe_are_saved_with_it(net, tmp_path):
    explainer = IntegratedGradients(steps=2, baseline=torch.full((3, 16, 16), 0.25))
    SmoothGrad(explainer, samples=2).explain(net, PIXELS).save(tmp_path / "a.npz")
    with np.load(tmp_path / "a.npz") as file:
        held = {name: torch.from_numpy(file[name]) for name in file if name.startswith("sha256:")}
        text = json.loads(str(file["metadata"]))["explainer"]
    assert explain.from_json(text, held) == SmoothGrad(explainer, samples=2)


def test_half_precision_and_shared_memory_are_saved(tmp_path):
    pytest.importorskip("safetensors")
    values = torch.rand(2, 4).bfloat16()
    shared = Explanation(
        Gradient(), values, values, torch.zeros(2).long(), torch.ones(2, 2) / 2, {"high": values}
    )
    for suffix in (".npz", ".safetensors"):
        shared.save(tmp_path / f"a{suffix}")
    with np.load(tmp_path / "a.npz") as file:
        assert np.array_equal(file["attributions"], values.float())


def test_what_cannot_be_saved(net, tmp_path):
    result = Gradient().explain(net, PIXELS)
    with pytest.raises(SurefootError, match=r"must end in \.npz or \.safetensors"):
        result.save(tmp_path / "a.pt")
    made = explain.Function(lambda model, inputs, target: inputs).explain(net, PIXELS)
    with pytest.raises(SurefootError, match="cannot be stored"):
        made.save(tmp_path / "a.npz")
    assert not list(tmp_path.iterdir())


def test_join_is_the_batch(net):
    explainer = Decoy(Gradient("probability"), layer="2", decoys=4)
    whole = explainer.explain(net, PIXELS)
    joined = join_explanations([explainer.explain(net, PIXELS[i : i + 1]) for i in range(3)])
    assert joined.explainer == whole.explainer
    torch.testing.assert_close(joined.attributions, whole.attributions)
    assert torch.equal(joined.target, whole.target)
    for name, value in whole.details.items():
        torch.testing.assert_close(joined.details[name], value)
    other = Gradient().explain(net, PIXELS)
    with pytest.raises(SurefootError, match="cannot join"):
        join_explanations([other, Gradient().explain(nn.Linear(4, 2).eval(), torch.rand(1, 4))])


# Whole files


def test_a_file_is_replaced_in_one_step(tmp_path):
    path = tmp_path / "a.bin"
    write_whole(path, b"old")
    os.link(path, tmp_path / "reader")
    write_whole(path, b"new")
    assert path.read_bytes() == b"new"
    assert (tmp_path / "reader").read_bytes() == b"old"


def test_a_link_is_followed(tmp_path):
    (tmp_path / "real").write_bytes(b"old")
    (tmp_path / "link").symlink_to(tmp_path / "real")
    write_whole(tmp_path / "link", b"new")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "real").read_bytes() == b"new"


def test_a_full_disk_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "a.bin"
    write_whole(path, b"old")

    def full(descriptor):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(SurefootError, match=r"cannot write .*a\.bin: No space left on device"):
        write_whole(path, b"new")
    assert [each.name for each in tmp_path.iterdir()] == ["a.bin"]
    assert path.read_bytes() == b"old"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs Linux")
def test_a_full_device_is_an_error_and_stays_a_device():
    with pytest.raises(SurefootError, match="cannot write /dev/full: No space left on device"):
        write_whole("/dev/full", b"content")
    assert not Path("/dev/full").is_file()


def test_a_missing_folder_is_an_error(tmp_path):
    with pytest.raises(SurefootError, match=r"cannot write .*: No such file or directory"):
        write_whole(tmp_path / "absent" / "a.bin", b"")
