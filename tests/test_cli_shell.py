"""How the commands behave in a shell: what they say, take, write and leave alone."""

import gc
import io
import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from surefoot import data, explain
from surefoot.cli import main

pytest.importorskip("jsonargparse")
pytest.importorskip("matplotlib")
image = pytest.importorskip("PIL.Image")
from surefoot.cli import _outputs, _passes, _preview, _tiles  # noqa: E402 (needs the extra)
from surefoot.cli._main import COMMANDS  # noqa: E402
from surefoot.cli._overlay import placed  # noqa: E402

SMALL = ("--model", "my_nets:small", "--size", "16", "--explainer", "Gradient")


@pytest.fixture
def model(here):
    sys.path.insert(0, str(here))
    made = __import__("my_nets").small().eval()
    sys.path.remove(str(here))
    return made


def picture(name, size=(40, 30), seed=0):
    """A file of noise."""
    wide, high = size
    pixels = np.random.default_rng(seed).integers(0, 256, (high, wide, 3), dtype=np.uint8)
    image.fromarray(pixels).save(name)


# What is said


def test_a_line_each_of_what_was_found_and_written(here, capsys):
    options = ("--labels", "names.txt", "--target", "dog", "-o", "out.png")
    assert main(["explain", "photo.png", *SMALL, *options]) == 0
    out, err = capsys.readouterr()
    (line,) = out.splitlines()
    assert line.startswith("photo.png: dog, ")
    assert "predicted: " in line
    assert "of the middle 75 % of the photograph; " in line
    assert line.endswith(" s")
    assert err == "surefoot: wrote out.png, out.yaml\n"


def test_the_layer_and_cover_of_decoys_are_said(here, capsys):
    recipe = "Decoy(Gradient(score='probability'), decoys=4)"
    assert main(["explain", "photo.png", *SMALL[:4], "--explainer", recipe]) == 0
    out = capsys.readouterr().out
    assert "decoys at layer " in out
    assert " %; " in out.partition("cover ")[2]


@pytest.mark.parametrize("command", ["explain", "attack"])
def test_json_is_one_line_that_a_program_reads(here, capsys, command):
    more = ("--steps", "2", "--save", "a.npz") if command == "attack" else ()
    assert main([command, "photo.png", "photo.png", *SMALL, *more, "--json", "-o", "o.png"]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    found = json.loads(out)
    assert found["command"] == command
    assert found["files"] == ["o.png", "o.yaml", *(["a.npz"] if more else [])]
    assert [each["photograph"] for each in found["photographs"]] == ["photo.png"] * 2
    one = found["photographs"][0]
    assert isinstance(one["class"], int)
    if command == "attack":
        assert set(one["scores"]) == set(one["random signs"])
        assert one["kept"] is True
    else:
        assert 0 < one["probability"] <= 1


def test_quiet_says_nothing(here, capsys):
    assert main(["explain", "photo.png", *SMALL, "--quiet"]) == 0
    assert capsys.readouterr() == ("", "")


# Which photographs


def test_a_folder_a_pattern_and_a_list(here, capsys, monkeypatch):
    Path("many").mkdir()
    for number in (2, 1, 3):
        picture(f"many/{number}.png")
    Path("many/notes.txt").write_text("no picture")
    wanted = [str(Path("many") / f"{number}.png") for number in (1, 2, 3)]
    monkeypatch.setattr(sys, "stdin", io.StringIO("many/3.png\n\nphoto.png\n"))
    for given, names in (
        ("many", wanted),
        ("many/[12].png", wanted[:2]),
        ("-", ["many/3.png", "photo.png"]),
    ):
        assert main(["explain", given, *SMALL, "--json"]) == 0
        found = json.loads(capsys.readouterr().out)["photographs"]
        assert [each["photograph"] for each in found] == names


def test_a_file_with_a_patterns_name_is_that_file(here, capsys):
    picture("a[1].png")
    assert main(["explain", "a[1].png", *SMALL, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["photographs"][0]["photograph"] == "a[1].png"


@pytest.mark.parametrize(("given", "said"), [("empty", "the folder empty"), ("*.gif", "pattern")])
def test_nothing_to_explain(here, fails, given, said):
    Path("empty").mkdir()
    assert f"{said}" in fails("explain", given, *SMALL)


# How they are brought to squares


def saved(photo, *options):
    assert main(["explain", photo, *SMALL, *options, "--save-attributions", "a.npz"]) == 0
    with np.load("a.npz") as file:
        return {name: torch.as_tensor(file[name]) for name in file if name != "metadata"}


def test_pad_keeps_all_and_its_proportions(here):
    image.new("RGB", (40, 20), "white").save("wide.png")
    pixels = data.load_pixels("wide.png", 16, fit="pad").float() / 255
    assert torch.equal(pixels[:, 4:12], torch.ones(3, 8, 16))
    assert torch.equal(pixels[:, :4], torch.full((3, 4, 16), 128 / 255))
    assert saved("wide.png", "--fit", "pad")["attributions"].shape == (1, 3, 16, 16)


def test_squash_takes_all_without_its_proportions(here):
    pixels = np.zeros((16, 32, 3), np.uint8)
    pixels[:, 16:] = 255
    image.fromarray(pixels).save("half.png")
    found = data.load_pixels("half.png", 16, fit="squash")
    assert found[:, :, :7].max() == 0
    assert found[:, :, 9:].min() == 255


def test_tiles_cover_the_photograph_at_its_own_size(here, model, capsys):
    picture("large.png", (44, 37))
    got = saved("large.png", "--fit", "tile", "--target", "1")["attributions"]
    pixels = data.load_pixels("large.png", 16, fit="tile")[None].float() / 255
    assert got.shape == pixels.shape == (1, 3, 37, 44)
    total, count = torch.zeros_like(pixels), torch.zeros_like(pixels)
    for top in (0, 10, 21):
        for left in (0, 14, 28):
            part = (..., slice(top, top + 16), slice(left, left + 16))
            total[part] += explain.Gradient()(model, pixels[part], 1)
            count[part] += 1
    assert count.min() > 0
    torch.testing.assert_close(got, total / count)
    assert "the mean of 9 tiles" in capsys.readouterr().out


def test_a_photograph_smaller_than_a_tile_is_enlarged(here):
    picture("small.png", (9, 30))
    assert saved("small.png", "--fit", "tile")["attributions"].shape == (1, 3, 53, 16)


def test_tiles_need_no_more_than_the_photograph_and_its_map(model):
    image, seen = torch.rand(1, 3, 400, 300), []

    def note(done=0, _total=0):
        if done % 100:
            return
        kept = [each for each in gc.get_objects() if type(each) is torch.Tensor]
        memory = {each.untyped_storage().data_ptr(): each.untyped_storage() for each in kept}
        seen.append(sum(each.nbytes() for each in memory.values()))

    gc.collect()
    note()
    whole = _tiles.explain(explain.Gradient(), model, image, 1, 16, note)
    assert len(seen) == 1 + 4  # of 25 x 19 squares
    assert max(seen) - seen[0] <= 1.1 * image.untyped_storage().nbytes()  # the map
    assert whole.attributions.shape == image.shape


def test_a_large_field_is_drawn_at_a_size_that_fits():
    inputs, maps = torch.rand(1, 3, 1500, 2100), torch.zeros(1, 3, 1500, 2100)
    maps[0, 1, 777, 2000] = -5.0
    one = explain.Explanation(
        explain.Gradient(), inputs, maps, torch.zeros(1).long(), torch.ones(1, 2) / 2
    )
    shown = _tiles.shown(one)
    assert shown.inputs.shape == (1, 3, 500, 700)
    torch.testing.assert_close(shown.inputs.mean(), inputs.mean())
    assert shown.attributions[0, 1, 259, 666] == -5
    assert shown.attributions.abs().sum() == 5


def test_tiles_are_taken_by_the_commands_that_can(here, fails):
    assert "--fit tile is for surefoot explain" in fails("attack", "photo.png", "--fit", "tile")
    two = fails("explain", "photo.png", "photo.png", *SMALL, "--fit", "tile")
    assert "--fit tile takes one photograph at a time" in two


@pytest.mark.parametrize("fit", ["crop", "pad", "squash", "tile"])
def test_an_overlay_has_the_photographs_own_size(here, fit):
    picture("own.png", (60, 45))
    options = ("--fit", fit, "--overlay", "over.png")
    assert main(["explain", "own.png", *SMALL, *options]) == 0
    with image.open("over.png") as drawn:
        assert drawn.size == (60, 45)
        assert "own.png" in drawn.text["Description"]


def test_a_map_lies_where_the_model_looked():
    photo = torch.zeros(3, 10, 20)
    heat = torch.ones(4, 4)
    inside = torch.zeros(10, 20)
    inside[:, 5:15] = 1
    torch.testing.assert_close(placed(heat, photo, "crop"), inside)
    assert placed(heat, photo, "pad").shape == (10, 20)
    rising = torch.arange(4.0).view(4, 1).expand(4, 4)
    middle = placed(rising, photo, "pad")[:, 0]
    assert 0.5 < middle[0] < middle[-1] < 2.5
    torch.testing.assert_close(placed(heat, photo, "squash"), torch.ones(10, 20))


@pytest.mark.parametrize(
    ("size", "said"),
    [((2, 2), "is enlarged 8 times"), ((200, 40), "the model sees the middle 20 % of it alone")],
)
def test_photographs_that_are_remarked_upon(here, capsys, size, said):
    picture("odd.png", size)
    assert main(["explain", "odd.png", *SMALL]) == 0
    warnings = [line for line in capsys.readouterr().err.splitlines() if "warning" in line]
    assert len(warnings) == 1
    assert said in warnings[0]


def test_a_missing_plug_in_is_named(here, fails, monkeypatch):
    Path("phone.HEIC").write_bytes(b"\0\0\0 ftypheic")
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    assert "pip install pillow-heif" in fails("explain", "phone.HEIC", *SMALL)


# Files


@pytest.mark.parametrize("name", ["out.yaml", "out.png", "a.npz", "over.png"])
def test_files_of_others_are_left_alone(here, fails, name):
    Path(name).write_text("mine: 1\n")
    options = ("-o", "out.png", "--save-attributions", "a.npz", "--overlay", "over.png")
    line = fails("explain", "photo.png", *SMALL, *options)
    assert f"{name} is there already, and surefoot did not write it" in line
    assert Path(name).read_text() == "mine: 1\n"
    assert main(["explain", "photo.png", *SMALL, *options, "--force"]) == 0
    assert Path(name).read_bytes() != b"mine: 1\n"


@pytest.mark.parametrize("suffix", [".png", ".pdf", ".svg", ".jpg", ".webp"])
def test_own_files_are_overwritten(here, suffix):
    options = ("-o", f"out{suffix}", "--save-attributions", "a.safetensors")
    for _ in range(2):
        assert main(["explain", "photo.png", *SMALL, *options]) == 0
    assert _outputs.is_own(Path(f"out{suffix}"))


def test_an_output_that_cannot_be_is_told_before_the_model_is_loaded(here, fails, monkeypatch):
    monkeypatch.setattr("surefoot.cli._photographs.load_model", None)  # a call would fail
    Path("folder.png").mkdir()
    assert "it is a folder" in fails("explain", "photo.png", "-o", "folder.png")

    def refuse(*_args, **_words):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("tempfile.TemporaryFile", refuse)
    assert "cannot write out.png: Permission denied" in fails(
        "explain", "photo.png", "-o", "out.png"
    )


# Errors


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["explain", "photo.png", "--size", "many"], "--size=many, expected a whole number"),
        (["attack", "photo.png", "--norm", "l1"], "--norm=l1, expected one of linf, l2"),
        (["explain", "photo.png", "--fit", "all"], "--fit=all, expected one of crop, pad, squash"),
        (["explain", "photo.png", "--threds", "3"], "did you mean --threads"),
        (["explain", "photo.png", *SMALL, "--mean", "1", "2"], "error: --mean has shape"),
        (["explain", "photo.png", "--panels", "input,maps"], "--panels has 'maps'; did you mean"),
        (["explain", "photo.png", "--colours", "blu"], "--colours='blu' is no colour map"),
        (["explain", "photo.png", "--top", "0"], "--top=0.0, expected a number in (0, 1]"),
        ([], "a command is missing, one of explain, attack"),
    ],
)
def test_errors_speak_of_options(here, fails, arguments, said):
    assert said in fails(*arguments)


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        RuntimeError("[enforce fail at alloc_cpu.cpp:124] DefaultCPUAllocator: can't allocate"),
        RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB\nmore"),
    ],
    ids=["python", "cpu", "cuda"],
)
def test_memory_asked_for_in_vain_is_a_sentence(here, fails, monkeypatch, error):
    def full(*_args, **_words):
        raise error

    monkeypatch.setattr(explain.Gradient, "explain", full)
    line = fails("explain", "photo.png", *SMALL)
    assert "there is not enough memory" in line
    assert "try a smaller --size" in line


def test_help_speaks_of_options_alone(capsys):
    for name in COMMANDS:
        with pytest.raises(SystemExit):
            main([name, "--help"])
        said = capsys.readouterr().out
        for strange in ("<function", "<class", "type:", "typing", "NoneType", "null", "Literal"):
            assert strange not in said, (name, strange)
    with pytest.raises(SystemExit):
        main(["--help"])
    said = " ".join(capsys.readouterr().out.split())
    assert "Exit codes: 0, all went well; 1, an audit in which something failed" in said
    assert "2, something given cannot be used" in said


def test_options_are_the_same_in_all_commands():
    kinds = {}
    for name, module in COMMANDS.items():
        for action in module.parser()._actions:
            kind = str(getattr(action, "_typehint", type(action))).replace(" | None", "")
            kind = kind.removeprefix("<class '").removesuffix("'>")
            for flag in action.option_strings:
                kinds.setdefault(flag, {}).setdefault(kind, []).append(name)
    kinds.pop("--config")  # train's takes names, too
    assert {flag: found for flag, found in kinds.items() if len(found) > 1} == {}


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion(capsys, shell):
    shtab = pytest.importorskip("shtab")
    if shell not in shtab.SUPPORTED_SHELLS:
        pytest.skip("this shtab does not know it")
    assert main(["completion", shell]) == 0
    said = capsys.readouterr().out
    assert "save" in said
    assert "explain" in said
    assert f"surefoot completion {shell}" in said


# While it runs


def test_a_preview_shows_photograph_and_map_at_once(here, capsys):
    assert main(["explain", "photo.png", *SMALL, "--preview"]) == 0
    err = capsys.readouterr().err
    assert "photo.png, plain gradient first" in err
    assert "surefoot: photo.png, class " in err
    assert err.count("\u2580") > 200


@pytest.mark.parametrize("name", ["NO_COLOR", "TERM"])
def test_a_preview_without_colours_is_letters(here, capsys, monkeypatch, name):
    monkeypatch.setenv(name, "dumb")
    monkeypatch.setenv("COLUMNS", "40")
    assert main(["explain", "photo.png", *SMALL, "--preview"]) == 0
    err = capsys.readouterr().err
    assert err.isascii()
    assert "\x1b" not in err
    drawn = [line for line in err.splitlines() if not line.startswith("surefoot")]
    assert len(drawn) == 2 * 10
    assert {len(line) for line in drawn} == {40}


def test_a_first_map_takes_three_passes(here, model, capsys):
    """Whatever the explainer: nobody waits for it."""
    passes = []
    model.register_forward_hook(lambda *_: passes.append(1))
    _preview.show(torch.rand(1, 3, 16, 16), model, None, "a.png")
    assert len(passes) <= 3
    assert "plain gradient first" in capsys.readouterr().err


def test_half_blocks_have_the_colours_of_the_pixels():
    one = explain.Explanation(
        explain.Gradient(),
        torch.tensor([1.0, 0.0]).view(1, 1, 2, 1).expand(1, 1, 2, 2),
        torch.ones(1, 1, 2, 2),
        torch.zeros(1).long(),
        torch.ones(1, 1),
    )
    (line,) = _preview.lines(one, 6)
    assert line.startswith("\x1b[38;2;255;255;255;48;2;0;0;0m\u2580")
    assert line.endswith("\x1b[0m")


class Bar:
    """A bar of tqdm's that notes where it was."""

    disable, n, total = False, 0, 100

    def update(self, more):
        self.n += more


def test_passes_are_counted(net):
    explainer = explain.SmoothGrad(explain.IntegratedGradients(steps=3), samples=4)
    bar = Bar()
    with _passes.counted(net, bar):
        explainer(net, torch.rand(1, 3, 16, 16), 0)
    assert bar.n == _passes.expected(explainer) == 12
    bar.total = 13
    with _passes.counted(net, bar):
        explainer(net, torch.rand(1, 3, 16, 16), 0)
    assert bar.n == 12  # the end is for the end
    assert not net._forward_hooks


def test_a_search_for_decoys_moves_the_bar_but_not_to_its_end(net):
    explainer = explain.Decoy(explain.Gradient("probability"), layer="2", decoys=8)
    bar = Bar()
    bar.total = _passes.expected(explainer)
    with _passes.counted(net, bar):
        explainer(net, torch.rand(1, 3, 16, 16), 0)
    assert 8 < bar.n == bar.total - 1
