"""Audits: what cannot work is said before the work begins, and by name."""

import pytest
import torch
from torch import nn

import surefoot
from surefoot import AuditResult, MissingExtraError, SurefootError, attack, explain, metric
from surefoot.attack import Linf, TopK
from surefoot.auditing._parts import OnDisk
from surefoot.explain import Gradient

pd = pytest.importorskip("pandas")
pytest.importorskip("pyarrow")

INPUTS = torch.rand(6, 4, generator=torch.Generator().manual_seed(1))
TOPK = TopK(Linf(0.1, steps=2), k=2)


def network():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3)).eval()


NET = network()
LABELS = NET(INPUTS).argmax(1)


class Slow(Gradient):
    """An explainer that must not be called on more than the sample that is tried."""

    def attribute(self, request):
        assert len(request.inputs) == 1, "work began before the error"
        return super().attribute(request)


def run(model=NET, loader=(INPUTS, LABELS), **settings):
    given = {"explainers": {"slow": Slow()}, "attacks": {}, "metrics": ["gini"]}
    return surefoot.audit(model, loader, **(given | settings))


def refused(match, *args, **settings):
    with pytest.raises(SurefootError, match=match):
        run(*args, **settings)


def test_loaders():
    refused("loader is empty", loader=[])
    refused("loader is empty", loader=iter([]))
    refused("loader is a Tensor", loader=INPUTS)
    refused("loader is a TensorDataset", loader=torch.utils.data.TensorDataset(INPUTS, LABELS))
    refused("gave a dict as a batch", loader=[{"image": INPUTS}])
    refused("gave a Tensor as a batch", loader=[INPUTS])
    refused("gave 4 things as a batch", loader=[(INPUTS, LABELS, {}, {})])
    refused("dtype torch.int64", loader=(LABELS[:, None], LABELS))
    refused("expected a dict", loader=[(INPUTS, LABELS, LABELS)])


def test_labels():
    refused("such as 'cat', which are no numbers", loader=(INPUTS, ["cat"] * 6))
    refused("such as 'cat'", loader=[(INPUTS, pd.Series(["cat"] * 6))])
    refused(r"of shape \(0,\)", loader=[(INPUTS, [[1], [1, 2], 3, 4, 5, 6])])
    refused("is a DataFrame, a table", loader=pd.DataFrame({"a": [1.0], "label": [0]}))
    refused(r"expected class indices \(6,\)", loader=(INPUTS, LABELS[:5]))
    refused("one-hot", loader=(INPUTS, nn.functional.one_hot(LABELS)))
    refused("dtype torch.float32", loader=(INPUTS, LABELS.float()))
    refused(r"span \[0, 3\].*in \[0, 2\]", loader=(INPUTS, torch.tensor([0, 1, 2, 3, 0, 1])))
    refused(
        "no sample is left to audit: of 6, 'model' gets 0 right", loader=(INPUTS, (LABELS + 1) % 3)
    )


def test_a_bad_sample_late_in_the_data_is_found_first():
    bad = INPUTS.clone()
    bad[5, 2] = torch.nan
    loader = [(bad[i : i + 1], LABELS[i : i + 1]) for i in range(6)]
    refused("1 NaN or infinite", loader=loader)
    loader[-1] = (INPUTS[5:], torch.tensor([7]))
    refused(r"span \[7, 7\]", loader=loader)
    loader[-1] = (INPUTS[5:] + 1, LABELS[5:])
    refused("leave bounds", loader=loader, attacks=[TOPK])


class Torn(torch.utils.data.Dataset):
    """One of its samples cannot be read."""

    def __len__(self):
        return 6

    def __getitem__(self, number):
        if number == 4:
            raise OSError("image file is truncated")
        return INPUTS[number], int(LABELS[number])


def test_a_sample_that_cannot_be_read_is_named():
    loader = torch.utils.data.DataLoader(Torn(), batch_size=2)
    refused(
        r"samples 4 to 5 cannot be read \(OSError: image file is truncated\)",
        loader=loader,
        block=2,
    )


def test_names():
    refused("names has 5 rows, but the loader has sample number 5", names=list("abcde"))
    explainers = {"gradient": Gradient()}
    stream = [(INPUTS[:3], LABELS[:3]), (INPUTS[3:], LABELS[3:])]
    refused("names has 5 entries", loader=stream, names=list("abcde"), explainers=explainers)


def test_models():
    refused("model is in training mode", network().train())
    refused("'b' cannot be audited.*training mode", {"a": NET, "b": network().train()})
    refused("is a function", lambda x: x)
    refused("empty mapping", {})
    refused("1 outputs|shape", nn.Linear(4, 1).eval())


def test_explainers():
    refused(r"explainers is Gradient\(.*\[Gradient\(\)\]", explainers=Gradient())
    refused("explainers is empty", explainers={})
    refused("the same recipe twice", explainers=[Gradient(), Gradient()])
    refused("is a class", explainers={"a": Gradient})
    refused("is called 3", explainers={3: Gradient()})
    refused("'random map' is that of the control", explainers={"random map": Gradient()})
    refused(
        "explainer 'bad' cannot be used here.*shaped like the inputs",
        explainers={"bad": lambda model, x, y: x[:, :2]},
    )
    refused("explainer 'bad' fails.*no good", explainers={"bad": fail})


def fail(model, x, y):
    raise RuntimeError("no good")


def test_attacks():
    refused(r"attacks is TopK\(", attacks=TOPK)
    refused("the same recipe twice", attacks=[TOPK, TOPK])
    refused("attacks predictions", attacks={"pgd": attack.PGD(Linf(0.1))})
    refused("is <class .*TopK.>, expected one such as", attacks={"a": TopK})
    refused("name 'clean'", attacks={"clean": TOPK})
    refused("name 'random signs'", attacks={"random signs": TOPK})
    refused("epsilon=-1", attacks={"a": TopK(Linf(-1.0), k=2)})
    refused("has budget=0.1", attacks={"a": TopK(0.1, k=2)})
    refused("attack 'a' on the explainer 'slow'.*k=1000", attacks={"a": TopK(Linf(0.1))})
    refused("reduction='max_abs'", attacks={"a": TopK(Linf(0.1), k=2, reduction="max_abs")})
    refused(
        "attack 'a' on the explainer 'e'.*cannot be differentiated",
        attacks={"a": TOPK},
        explainers={"e": lambda model, x, y: x},
    )
    refused("gave a Tensor", attacks={"a": lambda model, x, y, e, extra: x})


def test_metrics():
    refused("there is no metric 'gin'; did you mean gini", metrics=["gin"])
    refused("metrics holds nothing", metrics=[])
    refused("'gini.*' twice", metrics=["gini", "gini"])
    refused("3 is not a metric", metrics=[3])
    refused("has no name", metrics=[lambda a: a[:, 0]])
    refused("there are no attacks", metrics=["spearman", "kendall"])
    refused("no masks are given", metrics=["pointing_game"])
    refused("needs .'weather'.", metrics=[metric.Metric(len, ("weather",), (0, 1), True)])
    refused("takes", metrics=[lambda one, two, three: one])
    refused("metric 'ssim' cannot be used here", metrics=["ssim", "gini"], attacks=[TOPK])
    refused("expected one number a sample", metrics={"m": lambda a: a.sum()})
    refused("name its parameters", metrics=[torch.sum])
    refused("metric 'm' fails.*KeyError", metrics={"m": lambda a: {}["a"]})
    refused("layer", metrics=["relative_representation_stability"])


def test_masks():
    some = {"metrics": ["localisation_auc"]}
    refused("batches hold no extra", masks="m", **some)
    refused("masks has 3 rows, but the loader has sample number 5", masks=torch.ones(3, 4), **some)
    refused("metric 'localisation_auc'.*shaped like h", masks=torch.ones(6, 5), **some)
    refused("masks is a list", masks=[1], **some)
    refused("masks has 7 rows, but the loader has 6 samples", masks=torch.ones(7, 4), **some)
    stream = [(INPUTS[:3], LABELS[:3]), (INPUTS[3:], LABELS[3:])]
    refused("masks has 7 rows", loader=stream, masks=torch.ones(7, 4), **some)
    data = torch.utils.data.TensorDataset(INPUTS, LABELS)
    drawn = torch.utils.data.DataLoader(data, sampler=torch.utils.data.SubsetRandomSampler([3, 1]))
    refused("order of its own.*masks", loader=drawn, masks=torch.ones(6, 4), **some)
    shuffled = torch.utils.data.DataLoader(data, shuffle=True)
    refused("chance would say which samples limit=2", loader=shuffled, limit=2)


@pytest.mark.parametrize("name", ["limit", "batch_size", "draws"])
@pytest.mark.parametrize("value", [0, -1, 1.5])
def test_numbers(name, value):
    refused(f"{name}={value}", **{name: value})


def test_unknown_reduction():
    refused("reduction='median'", reduction="median")


def content(folder):
    paths = [p for p in folder.rglob("*") if p.is_file() and p.name[0] != "."]
    return {path.name: path.read_bytes() for path in paths}


def test_folders(tmp_path):
    out = tmp_path / "audit"
    settings = {"explainers": {"gradient": Gradient()}}
    whole = run(out=out, **settings)
    before = content(out)
    refused("other settings: limit is None there and 2 here", out=out, limit=2, **settings)
    refused("explainers.gradient is .* there", out=out, explainers={"gradient": Slow()})
    refused(
        "explainers.other is only here",
        out=out,
        explainers={**settings["explainers"], "other": Gradient()},
    )
    refused("data.first is", loader=(INPUTS / 2, NET(INPUTS / 2).argmax(1)), out=out, **settings)
    refused("labels are", out=out, overwrite=True, loader=(INPUTS, ["cat"] * 6), **settings)
    assert content(out) == before
    assert run(out=out, **settings).frame().equals(whole.frame())
    assert content(out) == before
    kept, frame = whole.in_memory(), whole.frame()
    whole.save(out, overwrite=True)  # where it is
    assert content(out) == before
    run(out=out, overwrite=True, limit=2, **settings)
    assert len(AuditResult.load(out)) == 2
    with pytest.raises(SurefootError, match="holds the results of an audit already"):
        kept.save(out)
    with pytest.raises(SurefootError, match="have been replaced since"):
        whole.save(out, overwrite=True)
    kept.save(out, overwrite=True)
    assert AuditResult.load(out).frame().equals(frame)
    assert not (out / ".replaced").exists()
    (tmp_path / "file").write_text("")
    refused("cannot make the folder", out=tmp_path / "file")
    refused("cannot make the folder", out=tmp_path / "file" / "below")


def test_what_is_replaced_is_kept_until_the_new_is_whole(tmp_path, monkeypatch):
    settings = {"explainers": {"gradient": Gradient()}, "block": 2}
    out, write, failing = tmp_path / "audit", OnDisk.write, [0]
    old = run(out=out, **settings).frame()
    before = content(out)

    def full(self, block, rows):
        if block >= failing[0]:
            raise SurefootError("cannot write it: No space left on device")
        write(self, block, rows)

    monkeypatch.setattr(OnDisk, "write", full)
    refused("No space left on device$", out=out, overwrite=True, seed=1, **settings)
    assert content(out) == before  # nothing came of the new one
    failing[0] = 2
    aside = out / ".replaced"
    says = f"No space left on device. What was there before is in {aside}"
    refused(says, out=out, overwrite=True, seed=1, **settings)
    assert AuditResult.load(aside).frame().equals(old)
    refused(says, out=out, overwrite=True, seed=2, **settings)  # the finished one is kept
    assert AuditResult.load(aside).frame().equals(old)
    monkeypatch.setattr(OnDisk, "write", write)
    new = run(out=out, seed=2, **settings)  # it goes on
    assert not aside.exists()
    assert new.frame().equals(run(seed=2, **settings).frame())


def test_a_disk_that_fills_up_keeps_what_is_finished(tmp_path, monkeypatch):
    settings = {"explainers": {"gradient": Gradient()}, "block": 2}
    whole = run(**settings).frame()
    write, written = OnDisk.write, []

    def full(self, block, content):
        if block == 2:
            raise SurefootError("cannot write: disk full")
        written.append(block)
        write(self, block, content)

    with monkeypatch.context() as patched:
        patched.setattr(OnDisk, "write", full)
        refused("disk full", out=tmp_path, **settings)
    assert written == [0, 1]
    half = AuditResult.load(tmp_path)
    assert half.frame().equals(whole[whole["sample"] < 4].reset_index(drop=True))
    assert run(out=tmp_path, **settings).frame().equals(whole)


def test_what_was_changed_is_not_read(tmp_path):
    settings = {"explainers": [Gradient()], "block": 4}
    whole = run(out=tmp_path, **settings).frame()
    part = sorted((tmp_path / "samples").iterdir())[0]
    good = part.read_bytes()
    for place in (5, len(good) // 2, len(good) - 5):
        part.write_bytes(good[:place] + bytes([good[place] ^ 1]) + good[place + 1 :])
        with pytest.raises(SurefootError, match=r"is damaged.*run the audit again"):
            AuditResult.load(tmp_path).frame()
    assert run(out=tmp_path, **settings).frame().equals(whole)  # which makes the part anew
    state = tmp_path / "audit.json"
    text = state.read_text()
    state.write_text(text.replace("Gradient", "Gradjent"))
    with pytest.raises(SurefootError, match="is damaged"):
        AuditResult.load(tmp_path)
    for wrong in ("", "[]", "{}", text[: len(text) // 2], '{"format": "x"}'):
        state.write_text(wrong)
        with pytest.raises(SurefootError, match=r"audit\.json"):
            AuditResult.load(tmp_path)
    with pytest.raises(SurefootError, match="holds no result"):
        AuditResult.load(tmp_path / "nothing")


def test_two_runs_in_one_folder(tmp_path):
    def attack_meanwhile(model, x, y):
        if tmp_path.joinpath("samples").exists():
            refused("being written by", out=tmp_path, explainers=[Gradient()])
        return torch.zeros_like(x) + x

    run(out=tmp_path, explainers={"e": attack_meanwhile})


def test_names_in_comparisons():
    result = run(explainers={"a": Gradient(), "b": explain.InputXGradient()}, attacks={"a": TOPK})
    with pytest.raises(SurefootError, match=r"names of several.*by="):
        result.compare("a", "a")
    assert len(result.compare("a", "b", by="explainer"))
    with pytest.raises(SurefootError, match="no 'c'"):
        result.compare("b", "c")
    with pytest.raises(SurefootError, match="not of one kind"):
        result.compare("b", "clean")
    with pytest.raises(SurefootError, match="by='metric'"):
        result.compare("b", "a", by="metric")
    with pytest.raises(SurefootError, match="no control to compare 'clean'"):
        result.compare("clean")
    with pytest.raises(SurefootError, match="confidence=95"):
        result.summary(95)


def test_a_missing_package_is_named_with_its_extra(monkeypatch):
    def none(module, extra):
        raise MissingExtraError(f"{module} of surefoot[{extra}]")

    monkeypatch.setattr(surefoot.errors, "optional", none)
    refused(r"pandas of surefoot\[audit\]")
