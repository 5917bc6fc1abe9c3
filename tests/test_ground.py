"""The ground floor: putting back, turns of threads, and files read within bounds."""

import gzip
import json
import multiprocessing
import os
import random
import signal
import sys
import threading
import time
import zipfile

import numpy as np
import pytest
import torch

from surefoot import SurefootError, turns
from surefoot.files import (
    DamagedError,
    check_archive,
    check_digest,
    check_entries,
    claim,
    gunzip,
    open_sealed,
    parse_json,
    read_json,
    read_text,
    seal,
)
from surefoot.undo import Undo, draws_kept


def interrupted(call, at):
    """Raise at the n-th line of the library that `call` runs; whether there was one."""
    count = 0

    def trace(frame, event, _):
        nonlocal count
        if "surefoot" not in frame.f_code.co_filename:
            return None
        if event == "line":
            count += 1
            if count == at:
                sys.settrace(None)
                raise KeyboardInterrupt
        return trace

    sys.settrace(trace)
    try:
        call()
    except KeyboardInterrupt:
        return True
    finally:
        sys.settrace(None)
    return False


def test_an_interrupt_at_any_line_puts_everything_back():
    values = {"a": 1, "b": 2}

    def change(undo):
        for name, before in list(values.items()):
            undo.then(lambda name=name, before=before: values.__setitem__(name, before))
            values[name] = 9

    def use():
        with Undo(change):
            assert set(values.values()) == {9}

    at = 0
    while interrupted(use, at := at + 1):
        assert values == {"a": 1, "b": 2}, at
    assert at > 15


def test_draws_inside_are_repeated_and_nobody_elses():
    def drawn():
        return torch.rand(()).item(), random.random(), np.random.rand()  # noqa: NPY002

    with draws_kept(seed=3):
        first = drawn()
    before = torch.get_rng_state()
    with draws_kept(seed=3):
        assert drawn() == first
    with draws_kept():
        outside = drawn()
    assert drawn() == outside
    assert not torch.equal(before, torch.get_rng_state())


def test_who_is_alone_has_no_passes_beside_it():
    passing, wrong = [0], []

    def work(number):
        for _ in range(60):
            if number:
                with turns.shared(), turns.shared():
                    passing[0] += 1
                    time.sleep(0)
                    passing[0] -= 1
            else:
                with turns.alone(), turns.alone(), turns.shared():
                    wrong.extend([passing[0]] * bool(passing[0]))

    run_threads(work, 4)
    assert wrong == []
    assert passing == [0]


def run_threads(work, number):
    threads = [threading.Thread(target=work, args=(one,), daemon=True) for one in range(number)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not any(thread.is_alive() for thread in threads)


def test_a_pass_that_asks_to_be_alone_beside_others_is_told():
    entered, leave = threading.Event(), threading.Event()

    def other():
        with turns.shared():
            entered.set()
            leave.wait(60)

    thread = threading.Thread(target=other)
    thread.start()
    entered.wait(60)
    with turns.shared(), pytest.raises(SurefootError, match="run this in one thread"):
        turns.alone().__enter__()
    leave.set()
    thread.join(60)
    with turns.alone():
        pass


def test_flags_are_put_back_by_the_last():
    flag = ["as it was"]

    def change():
        flag[0] = "changed"
        return lambda: flag.__setitem__(0, "as it was")

    flags = turns.Flags(change)
    first, second = flags(), flags()
    first.__enter__()
    second.__enter__()
    first.__exit__(None, None, None)
    assert flag == ["changed"]
    second.__exit__(None, None, None)
    assert flag == ["as it was"]


SCHEMA = {"step": int, "figures": dict[str, float], "name?": str | None, "sizes?": list[int]}


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("{", "it is no JSON"),
        ("[1]", "holds a JSON list, expected an object"),
        ("[" * 100_000, "nested too deep"),
        ("{}", "step is missing, expected int"),
        ('{"step": "3", "figures": {}}', "step is '3', expected int"),
        ('{"step": true, "figures": {}}', "step is True, expected int"),
        ('{"step": 3, "figures": {"a": "b"}}', r"figures\.a is 'b', expected float"),
        ('{"step": 3, "figures": {}, "name": 5}', r"name is 5, expected str \| None"),
        ('{"step": 3, "figures": {}, "sizes": [1, null]}', r"sizes\[1\] is None, expected int"),
    ],
)
def test_structured_files_are_read_in_one_way(text, says, tmp_path):
    path = tmp_path / "a.json"
    path.write_text(text)
    with pytest.raises(SurefootError, match=f"a.json.*{says}"):
        read_json(path, SCHEMA)


def test_a_file_that_fits_its_schema(tmp_path):
    path = tmp_path / "a.json"
    path.write_text('{"step": 3, "figures": {"a": 1}, "more": [], "name": null}')
    assert read_json(path, SCHEMA)["figures"] == {"a": 1}
    path.write_bytes(b"\xff")
    with pytest.raises(SurefootError, match="as text"):
        read_text(path)
    with pytest.raises(SurefootError, match=r"absent.json: No such file"):
        read_json(tmp_path / "absent.json")
    with pytest.raises(SurefootError, match="larger than 0 bytes"):
        read_text(path, 0)
    check_entries({"a": {"b": 1}}, {"a": {"b": int}}, "x")
    with pytest.raises(SurefootError, match="x: a: b is None"):
        check_entries({"a": {"b": None}}, {"a": {"b": int}}, "x")


def test_one_bit_of_a_record_or_of_a_file_is_noticed(tmp_path):
    path, beside = tmp_path / "a.json", tmp_path / "b.bin"
    beside.write_bytes(b"weights")
    whole = seal({"step": 12, "figures": {"a": 0.25, "b": float("nan")}}, {"b.bin": b"weights"})
    path.write_bytes(whole)
    record = open_sealed(path, {"step": int})
    check_digest(beside, record)
    for place in range(0, 8 * len(whole), 3):
        flipped = bytearray(whole)
        flipped[place // 8] ^= 1 << place % 8
        path.write_bytes(flipped)
        try:
            assert str(open_sealed(path, {"step": int})) == str(record)  # white space
        except SurefootError:
            continue
    beside.write_bytes(b"weighty")
    with pytest.raises(DamagedError, match=r"b.bin is damaged"):
        check_digest(beside, record)
    with pytest.raises(DamagedError, match="not among the files"):
        check_digest(tmp_path / "c.bin", record)
    path.write_text('{"step": 1}')
    assert open_sealed(path, {"step": int}, sealed=False) == {"step": 1}
    with pytest.raises(SurefootError, match="files is missing"):
        open_sealed(path, {"step": int})


def test_what_unpacks_to_far_more_is_refused(tmp_path):
    assert gunzip(gzip.compress(b"a") + gzip.compress(b"b"), "x") == b"ab"
    assert gunzip(b"plain", "x") == b"plain"
    with pytest.raises(SurefootError, match="ends too early"):
        gunzip(gzip.compress(bytes(5000))[:-9], "x")
    bomb = gzip.compress(bytes(300 * 2**20), 1)
    with pytest.raises(SurefootError, match="would unpack to"):
        gunzip(bomb, "x")
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a", b"1")
    with zipfile.ZipFile(path) as archive:
        check_archive(archive, path)
        archive.infolist()[0].file_size = 2**40
        with pytest.raises(SurefootError, match="would unpack to"):
            check_archive(archive, path)


def hold(folder, ready):
    with claim(folder):
        ready.set()
        time.sleep(60)


def test_one_writer_a_folder(tmp_path):
    context = multiprocessing.get_context("spawn")
    ready = context.Event()
    process = context.Process(target=hold, args=(tmp_path, ready))
    process.start()
    assert ready.wait(60)
    says = rf"is being written by process {process.pid} host \S+ since \d"
    with pytest.raises(SurefootError, match=says), claim(tmp_path):
        pass
    os.kill(process.pid, signal.SIGKILL)
    process.join(60)
    with claim(tmp_path):  # a killed owner keeps nothing
        says = f"process {os.getpid()}"
        with pytest.raises(SurefootError, match=says), claim(tmp_path):
            pass
    with claim(tmp_path):
        pass


def test_json_is_parsed_like_json():
    assert parse_json('{"a": [1, 2.5, null]}', "x") == json.loads('{"a": [1, 2.5, null]}')
