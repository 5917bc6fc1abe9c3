"""Weights of a release: fetched on request, once, whole, and only what the card's digest says."""

import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import pytest
import torch

from surefoot import SurefootError, models
from surefoot.models import WEIGHTS, _released, _saved, file_name

NAME = "records/natural"
FILE = file_name(NAME)


@pytest.fixture
def release(tmp_path, monkeypatch):
    """A folder with the file of a network, whose card alone is in the package."""
    zoo, folder = tmp_path / "package", tmp_path / "release"
    monkeypatch.setattr(_saved, "ZOO", zoo)
    monkeypatch.setattr(_released, "CHECKOUT", tmp_path / "no checkout")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("SUREFOOT_ZOO", raising=False)
    net = models.build("mlp", seed=0, features=5)
    models.save(net, zoo / NAME, "mlp", settings={"features": 5}, storage="float32")
    folder.mkdir()
    (zoo / NAME / WEIGHTS).rename(folder / FILE)
    return folder


def cached(tmp_path):
    return [path for path in (tmp_path / "cache").rglob("*") if path.is_file()]


def same_as_built(model):
    x = torch.rand(3, 5, generator=torch.Generator().manual_seed(0))
    return torch.equal(model(x), models.build("mlp", seed=0, features=5).eval()(x))


class Quiet(SimpleHTTPRequestHandler):
    """Counts what it is asked for, and says nothing."""

    asked: list[str] = []  # noqa: RUF012 (one server a test)

    def do_GET(self):
        self.asked.append(self.path)
        super().do_GET()

    def log_message(self, *_):
        """Not a word."""


@pytest.fixture
def served(release):
    Quiet.asked.clear()
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(release)))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()
    thread.join()


def test_nothing_is_fetched_unless_a_source_is_named(release, tmp_path):
    with pytest.raises(SurefootError, match=r"set SUREFOOT_ZOO .* holds records--natural.safet"):
        models.load(NAME)
    assert not cached(tmp_path)


def test_a_server_is_asked_once(served, tmp_path, monkeypatch):
    monkeypatch.setenv("SUREFOOT_ZOO", f"{served}/")
    assert same_as_built(models.load(NAME))
    assert models.card(models.load(NAME)).name == NAME
    monkeypatch.delenv("SUREFOOT_ZOO")
    assert same_as_built(models.load(NAME))  # from the cache
    assert Quiet.asked == [f"/{FILE}"]
    assert [path.name for path in cached(tmp_path)] == [FILE]


@pytest.mark.parametrize("kind", ["folder", "address"])
def test_a_folder_is_a_source(release, kind):
    assert same_as_built(models.load(NAME, zoo=release if kind == "folder" else release.as_uri()))


def test_a_checkout_needs_no_source(release, tmp_path, monkeypatch):
    monkeypatch.setattr(_released, "CHECKOUT", release)
    assert same_as_built(models.load(NAME))
    assert not cached(tmp_path)
    (release / FILE).write_bytes(b"another")  # of another version: as if it were not there
    with pytest.raises(SurefootError, match="set SUREFOOT_ZOO"):
        models.load(NAME)


def test_what_is_not_the_network_is_not_kept(release, served, tmp_path):
    content = bytearray((release / FILE).read_bytes())
    content[-1] ^= 1
    (release / FILE).write_bytes(content)
    with pytest.raises(SurefootError, match=r"its digest is sha256:.* and the card says sha256:"):
        models.load(NAME, zoo=served)
    (release / FILE).write_bytes(bytes(3_000_000))
    for source in (served, release):
        with pytest.raises(SurefootError, match="is larger than"):
            models.load(NAME, zoo=source)
    assert not cached(tmp_path)


def test_a_damaged_cache_is_fetched_anew(release, tmp_path):
    models.load(NAME, zoo=release)
    (kept,) = cached(tmp_path)
    kept.write_bytes(b"half")
    assert same_as_built(models.load(NAME, zoo=release))


@pytest.mark.parametrize(
    ("source", "says"),
    [
        ("http://127.0.0.1:9", "cannot fetch .*put the file into a folder"),
        ("ftp://example.org", "is no address of"),
        ("no folder", "cannot read"),
    ],
)
def test_sources_that_give_nothing(release, source, says, tmp_path):
    with pytest.raises(SurefootError, match=says):
        models.load(NAME, zoo=source)
    assert not cached(tmp_path)


def test_a_file_that_is_missing_there(served, release):
    (release / FILE).unlink()
    with pytest.raises(SurefootError, match=r"cannot fetch .*404"):
        models.load(NAME, zoo=served)
