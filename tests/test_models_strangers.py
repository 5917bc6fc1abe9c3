"""A stranger's exported program runs no code when it is loaded; harmless ones load as before."""

import io
import json
import pickle
import zipfile
from pathlib import Path

import pytest
import torch
from torch import nn

from surefoot import SurefootError, models


@pytest.fixture(scope="module")
def program(tmp_path_factory):
    """The entries of a small exported program, by name."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net = nn.Sequential(nn.Flatten(), nn.Linear(12, 4), nn.ReLU(), nn.Linear(4, 3)).eval()
    shapes = ({0: torch.export.Dim("batch")},)
    made = torch.export.export(net, (torch.rand(2, 3, 4),), dynamic_shapes=shapes)
    path = tmp_path_factory.mktemp("program") / "net.pt2"
    torch.export.save(made, path)
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}, net


def packed(entries, path):
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in entries.items():
            archive.writestr(name, content)
    return path


class Evil:
    """Leaves a file behind when it is unpickled."""

    def __init__(self, mark):
        self.mark = mark

    def __reduce__(self):
        return (Path.touch, (Path(self.mark),))


def pickled(mark):
    content = io.BytesIO()
    torch.save(((Evil(mark),), {}), content)
    return content.getvalue()


def edited(change):
    def edit(entries, mark):
        graph = json.loads(entries["net/models/model.json"])
        change(graph["graph_module"]["graph"], str(mark))
        return entries | {"net/models/model.json": json.dumps(graph).encode()}

    return edit


def operator(target):
    def change(graph, mark):
        node = graph["nodes"][0]
        node["target"] = target
        node["inputs"] = [{"name": "x", "arg": {"as_string": f"touch {mark}"}, "kind": 1}]

    return edited(change)


def expression(text):
    def change(graph, mark):
        sizes = graph["tensor_values"]["x" if "x" in graph["tensor_values"] else "input"]["sizes"]
        sizes[0]["as_expr"]["expr_str"] = text.replace("MARK", mark)

    return edited(change)


def placeholder(graph, mark):
    name = f"x=__import__('os').system('touch {mark}')"
    old = graph["inputs"][-1]["as_tensor"]["name"]
    graph["inputs"][-1]["as_tensor"]["name"] = name
    graph["tensor_values"][name] = graph["tensor_values"].pop(old)


def weights_as_pickle(entries, mark):
    name = "net/data/weights/model_weights_config.json"
    config = json.loads(entries[name])
    next(iter(config["config"].values()))["use_pickle"] = True
    return entries | {
        name: json.dumps(config).encode(),
        "net/data/weights/weight_0.pt": pickled(mark),
    }


HOSTILE = {
    "sample inputs": lambda e, m: e | {"net/data/sample_inputs/model.pt": pickled(m)},
    "legacy weights": lambda e, m: e | {"net/data/weights/model.pt": pickled(m)},
    "weights": weights_as_pickle,
    "object": lambda e, m: e | {"net/data/constants/opaque_obj_0": pickle.dumps(Evil(m))},
    "compiled": lambda e, m: e | {"net/data/aotinductor/model/model.so": b"\x7fELF"},
    "os.system": operator("torch.os.system"),
    "torch.load": operator("torch.load"),
    "attrgetter": operator("_operator.attrgetter"),
    "from_file": operator("torch.ops.aten.from_file.default"),
    "triton": operator("torch.ops.higher_order.triton_kernel_wrapper_functional"),
    "size": expression("__import__('os').system('touch MARK')"),
    "size in text": expression('Symbol(\'__import__("os").system("touch MARK")\')'),
    "power": expression("Pow(Pow(Integer(9), Integer(9)), Integer(9))"),
    "placeholder": edited(placeholder),
}


@pytest.mark.parametrize("name", HOSTILE)
@pytest.mark.filterwarnings("ignore")
def test_no_code_of_a_stranger_runs(name, program, tmp_path):
    mark = tmp_path / "mark"
    path = packed(HOSTILE[name](dict(program[0]), mark), tmp_path / "net.pt2")
    with pytest.raises(SurefootError, match=r"trust=True") as caught:
        models.load(path)
    assert "\n" not in str(caught.value)
    assert not mark.exists()


@pytest.mark.filterwarnings("ignore")
def test_the_files_would_run_code_in_torch_itself(program, tmp_path):
    """So that the test above can fail, and trust=True does what it says."""
    mark = tmp_path / "mark"
    path = packed(HOSTILE["sample inputs"](dict(program[0]), mark), tmp_path / "net.pt2")
    with pytest.raises(SurefootError):  # what it gave is no input
        models.load(path, trust=True)
    assert mark.exists()


def test_harmless_programs_load(program, tmp_path):
    entries, net = program
    inputs = torch.rand(5, 3, 4)
    for trust in (False, True):
        model = models.load(packed(entries, tmp_path / "net.pt2"), trust=trust)
        torch.testing.assert_close(model(inputs), net(inputs))


def inflated(entries, path):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in entries.items():
            archive.writestr(name, content)
        with archive.open("net/data/weights/weight_9", "w") as file:
            for _ in range(300):
                file.write(bytes(2**20))


def lying(entries, path):
    name = "net/data/weights/model_weights_config.json"
    config = json.loads(entries[name])
    one = next(iter(config["config"].values()))
    one["tensor_meta"]["sizes"] = [{"as_int": 2**40}]
    entries = entries | {
        name: json.dumps(config).encode(),
        f"net/data/weights/{one['path_name']}": b"",
    }
    packed(entries, path)


def deep(entries, path):
    packed(entries | {"net/models/model.json": b"[" * 100_000}, path)


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (inflated, "would unpack to"),
        (lying, "with no numbers in the archive"),
        (deep, "nested too deep"),
        (lambda e, p: packed({"net/models/model.json": b"{}"}, p), "cannot load the exported"),
    ],
    ids=["bomb", "lie", "deep", "empty"],
)
@pytest.mark.filterwarnings("ignore")
def test_bombs_are_bounded(make, says, program, tmp_path):
    path = tmp_path / "net.pt2"
    make(dict(program[0]), path)
    with pytest.raises(SurefootError, match=says):
        models.load(path)


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_a_name_twice_is_refused(program, tmp_path):
    """Two readers of one archive may take another of the two."""
    path = packed(program[0], tmp_path / "net.pt2")
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("net/models/model.json", b"{}")
    with pytest.raises(SurefootError, match=r"'net/models/model.json' twice"):
        models.load(path)
