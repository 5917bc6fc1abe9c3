"""Blocks on other processes and machines, by any executor of `concurrent.futures`.

What goes to a worker is the path of a folder, digests and a block's number; what comes back is what
is to be known of the block. The part is written by the worker, and models and settings are read by
it once, from a file in the folder whose digest came with the block.
"""

import hashlib
import multiprocessing
import os
import pickle
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import (
    FIRST_COMPLETED,
    BrokenExecutor,
    Executor,
    Future,
    ProcessPoolExecutor,
    ThreadPoolExecutor,
    wait,
)
from contextlib import contextmanager
from itertools import islice
from multiprocessing import connection
from pathlib import Path
from typing import Any, NamedTuple

import torch

from surefoot.auditing._parts import FOLDER, OnDisk
from surefoot.auditing._work import Work, code_digest
from surefoot.errors import SurefootError
from surefoot.files import write_whole

JOB = ".surefoot-job.pkl"
_AHEAD = 4  # blocks handed out for each worker
_UNKNOWN = 64  # workers assumed where an executor does not tell
_REVIVALS = 3  # without a block finished between them

_here: dict[str, Work] = {}  # what this process works on, by digest of the job
_place: dict[str, str] = {}  # the device of this worker, if it was given one


class Task(NamedTuple):
    """All that a worker is sent."""

    folder: str
    job: str
    code: str
    block: int


class Processes(Executor):
    """Processes on this machine, threads and devices shared out among them.

    Args:
        number: of processes.
        threads: of each; None shares out this process's.
        devices: such as ("cuda:0", "cuda:1"), shared out in turn; none leaves models where they
            are.

    >>> with Processes(2, threads=1) as pool:  # as executor= of an audit; processes start when used
    ...     pool.number
    2
    """

    def __init__(self, number: int, threads: int | None = None, devices: Sequence[str] = ()):
        if number < 1:
            raise SurefootError(f"workers={number}, expected at least 1")
        self.number = number
        self._threads = threads or max(1, torch.get_num_threads() // number)
        self._devices = tuple(devices)
        self._pool: ProcessPoolExecutor | None = None

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Call a function in one of the processes."""
        if self._pool is None:
            context = multiprocessing.get_context("spawn")  # torch's threads do not survive a fork
            places = context.SimpleQueue()
            for worker in range(self.number):
                places.put(self._devices[worker % len(self._devices)] if self._devices else "")
            self._pool = ProcessPoolExecutor(
                self.number, context, initializer=_settle, initargs=(self._threads, places)
            )
        return self._pool.submit(fn, *args, **kwargs)

    def revive(self) -> None:
        """Start anew after a process was lost."""
        self.shutdown(wait=False, cancel_futures=True)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """End the processes."""
        pool, self._pool = self._pool, None
        if pool is not None:
            processes = list((pool._processes or {}).values())
            pool.shutdown(wait=wait, cancel_futures=cancel_futures)
            for process in processes if cancel_futures else ():
                process.terminate()


def _settle(threads: int, places: Any) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # who asked for the work ends it
    torch.set_num_threads(threads)
    _place["device"] = places.get() if not places.empty() else ""
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_follow, args=(parent.sentinel,), daemon=True).start()


def _follow(parent: int) -> None:
    """End when the parent has: one that is killed says nothing to its workers."""
    connection.wait([parent])
    os._exit(1)


def measure_block(task: Task) -> dict[str, Any]:
    """Measure one block and write its part; what is to be known of it."""
    if task.code != code_digest():
        raise SurefootError(
            f"a worker has another version of surefoot ({code_digest()[:19]}) than the process "
            f"that sent block {task.block} ({task.code[:19]}); install the same on all machines"
        )
    done = _work(task).block(task.block)
    OnDisk(Path(task.folder) / FOLDER).write(task.block, done.table)
    return done.record


def _work(task: Task) -> Work:
    """What all blocks share; read once a process."""
    if task.job not in _here:
        path = Path(task.folder) / JOB
        try:
            content = path.read_bytes()
        except OSError as error:
            raise SurefootError(
                f"a worker cannot read {path} ({error.strerror or error}); all machines must see "
                "the results folder under the same path"
            ) from error
        if hashlib.sha256(content).hexdigest() != task.job:
            raise SurefootError(f"{path} is not what this audit wrote; is another one running?")
        _here.clear()
        work: Work = pickle.loads(content)  # noqa: S301 (its digest came from who wrote it)
        for model in work.plan.models.values():
            if _place.get("device"):
                model.to(_place["device"])
        _here[task.job] = work
    return _here[task.job]


@contextmanager
def offered(work: Work, folder: Path, executor: Executor) -> Iterator[str]:
    """The digest under which workers find the work, in `folder` or in this process."""
    try:
        content = pickle.dumps(work)
    except (pickle.PicklingError, TypeError, AttributeError, RuntimeError) as error:
        if not isinstance(executor, ThreadPoolExecutor):
            raise SurefootError(
                f"this audit cannot be sent to other processes ({error}); lambdas and functions "
                "inside functions cannot: move them to the top of a module, or audit without "
                "executor"
            ) from error
        content = repr(id(work)).encode()
    job = hashlib.sha256(content).hexdigest()
    write_whole(folder / JOB, content)
    if isinstance(executor, ThreadPoolExecutor):
        _here[job] = work
    try:
        yield job
    finally:
        _here.pop(job, None)
        (folder / JOB).unlink(missing_ok=True)


def each_done(
    work: Work, executor: Executor, folder: Path, blocks: Sequence[int]
) -> Iterator[dict[str, Any]]:
    """Have the blocks measured by workers; records as they come, in any order.

    A block whose worker was lost is given to another, where the executor can do with that: Dask's
    and `Processes` can.

    Raises:
        SurefootError: a block cannot be measured at all, or all workers are lost; what is finished
            stays.
    """
    left, revivals = iter(blocks), 0
    asked: dict[Future[dict[str, Any]], int] = {}
    most = _AHEAD * getattr(executor, "number", getattr(executor, "_max_workers", _UNKNOWN))
    with offered(work, folder, executor) as job:
        try:
            waiting: list[int] = []
            while True:
                waiting += islice(left, most - len(asked) - len(waiting))
                try:
                    for block in list(waiting):
                        task = Task(str(folder.resolve()), job, code_digest(), block)
                        asked[executor.submit(measure_block, task)] = block
                        waiting.remove(block)
                    if not asked:
                        return
                    for future in wait(asked, return_when=FIRST_COMPLETED).done:
                        record = future.result()
                        del asked[future]
                        revivals = 0
                        yield record
                except BrokenExecutor as error:
                    revivals += 1
                    revive = getattr(executor, "revive", None)
                    if revive is None or revivals > _REVIVALS:
                        raise SurefootError(
                            f"workers were lost ({error}); the blocks that are finished are kept: "
                            "run the same again to go on"
                        ) from error
                    waiting = sorted({*waiting, *asked.values()})
                    asked.clear()
                    revive()
        finally:
            for future in asked:
                future.cancel()
