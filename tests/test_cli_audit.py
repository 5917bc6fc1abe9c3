"""`surefoot audit` from the command line: runs, dry runs, status, refusals and exit codes."""

import pytest
import torch
import yaml
from torch import nn

from surefoot import AuditResult, auditing, explain
from surefoot.cli import main

for package in ("pandas", "pyarrow", "jinja2", "matplotlib"):
    pytest.importorskip(package)
image = pytest.importorskip("PIL.Image")


def make_net():
    """What --model names."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        layers = [nn.Conv2d(3, 4, 3, 2, 1), nn.ReLU(), nn.Flatten(), nn.Linear(256, 3)]
        return nn.Sequential(*layers).eval()


@pytest.fixture
def photos(tmp_path):
    made = []
    for number in range(5):
        path = tmp_path / f"photo {number}.png"
        pixels = torch.randint(0, 256, (20, 20, 3), generator=torch.Generator().manual_seed(number))
        image.fromarray(pixels.byte().numpy()).save(path)
        made.append(str(path))
    return made


def audit(folder, *arguments):
    options = ["--model", f"{__name__}:make_net", "--size", "16", "--block", "2", "-o", str(folder)]
    attacks = '{"topk": "TopK(Linf(4/255, steps=1), k=0.1)", "darker": "Brightness(by=-0.1)"}'
    return main(["audit", *options, "--attacks", attacks, "--control-draws", "1", *arguments])


def test_a_run_writes_results_page_and_its_own_configuration(photos, tmp_path, capsys):
    out = tmp_path / "runs"
    assert audit(out, *photos, "--metrics", '["spearman", "gini"]') == 0
    told = capsys.readouterr().out
    assert "AuditResult: 5 samples" in told
    result = AuditResult.load(out)
    assert set(result.frame()["name"]) == {f"photo {number}.png" for number in range(5)}
    assert {"smoothgrad", "integrated gradients"} < set(result.frame()["explainer"])
    assert set(result.frame().query("attack == 'darker'")["goal"]) == {"none"}
    assert "photo 3.png" in (out / "audit.html").read_text()
    config = yaml.safe_load((out / "audit.yaml").read_text())
    assert config["metrics"] == ["spearman", "gini"]
    before = {p: p.stat().st_mtime_ns for p in (out / "samples").iterdir()}
    assert main(["audit", "--config", str(out / "audit.yaml")]) == 0  # nothing is left to do
    assert {p: p.stat().st_mtime_ns for p in (out / "samples").iterdir()} == before


def test_another_run_into_the_folder_is_refused(photos, tmp_path, capsys):
    out = tmp_path / "runs"
    some = [*photos[:2], "--metrics", '["spearman"]']
    assert audit(out, *some) == 0
    assert audit(out, *some, "--seed", "3") == 2
    told = capsys.readouterr().err
    assert "seed is 0 there and 3 here" in told
    assert audit(out, *some, "--seed", "3", "--overwrite") == 0


def test_a_dry_run_says_what_it_would_take(photos, tmp_path, capsys):
    assert audit(tmp_path / "runs", *photos, "--dry-run") == 0
    told = capsys.readouterr().out
    for part in ("5 samples in 3 blocks", "passes of single samples", "MiB of memory", "of disk"):
        assert part in told
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize("steps", [1, 3])
def test_passes_of_a_dry_run_are_those_of_the_run(steps):
    net = make_net()
    x = torch.rand(6, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    settings = auditing.Settings(
        explainers={"e": explain.IntegratedGradients(steps=steps)},
        metrics=["gini"],
        controls=False,
    )
    found = auditing.estimate(settings, net, (x, net(x).argmax(1)))
    assert (found.audited, found.passes) == (6, 6 * steps)


def test_status(photos, tmp_path, capsys):
    out = tmp_path / "runs"
    assert audit(out, *photos, "--metrics", '["spearman"]') == 0
    capsys.readouterr()
    assert main(["audit", "status", str(out)]) == 0
    told = capsys.readouterr().out
    assert "3 of 3 blocks, 5 samples audited, 0 failed" in told
    assert "finished 20" in told
    folder = auditing._folder.Folder(out)
    state = folder.state()
    folder.write_state({k: v for k, v in state.items() if k not in ("finished", "samples")})
    sorted((out / "samples").iterdir())[0].unlink()
    assert main(["audit", "status", str(out)]) == 0
    told = capsys.readouterr().out
    assert "2 of 3 blocks" in told
    assert "minutes left" in told
    assert "2 blocks" in told
    assert main(["audit", "status", str(tmp_path)]) == 2
    assert main(["audit", "status"]) == 2


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ([], "give photographs, or a data set"),
        (["--data", "mnist", "a.png"], "give photographs, or a data set"),
        (["no-such.png"], "there is no photograph no-such.png"),
        (["a.png", "--explainers", '{"e": "Gradeint()"}'], "did you mean Gradient"),
        (["a.png", "--attacks", '{"e": "TopKK()"}'], "TopK"),
        (["a.png", "--metrics", '["gin"]'], "did you mean gini"),
        (["a.png", "--workers", "-1"], "workers=-1"),
    ],
)
def test_what_cannot_be_used_is_said_in_a_line(arguments, told, photos, tmp_path, capsys):
    given = [photos[0] if word == "a.png" else word for word in arguments]
    assert audit(tmp_path / "runs", *given) == 2
    errors = capsys.readouterr().err.strip()
    assert told in errors
    assert len(errors.splitlines()) == 1


def test_failures_of_samples_are_in_the_exit_code(photos, tmp_path, capsys, monkeypatch):
    seen = []

    class Sometimes(auditing._controls.RandomMap):
        def attribute(self, request):
            seen.append(1)
            if len(seen) > 3:
                raise RuntimeError("out of luck")
            return super().attribute(request)

    monkeypatch.setattr("surefoot.explain.parse", lambda text: Sometimes())
    settings = ["--explainers", '{"e": "x"}', "--attacks", "{}", "--metrics", '["gini"]']
    options = ["--model", f"{__name__}:make_net", "--size", "16", "-o", str(tmp_path / "runs")]
    assert main(["audit", *options, *settings, "--block", "1", *photos]) == 1
    assert "something failed on 3 samples" in capsys.readouterr().err
