"""A run: survey, rehearsal, then every block that is not done, here or by an executor."""

import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Executor
from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from itertools import chain, count, groupby
from pathlib import Path
from typing import Any

import torch

from surefoot.auditing import _data, _gallery
from surefoot.auditing._folder import Folder, check_same, flat
from surefoot.auditing._parts import InMemory, OnDisk
from surefoot.auditing._ranks import Ranks
from surefoot.auditing._rehearsal import rehearse
from surefoot.auditing._replaced import replacing
from surefoot.auditing._result import AuditResult
from surefoot.auditing._settings import Settings, identity
from surefoot.auditing._source import Piece, Survey, Tally, check_used
from surefoot.auditing._work import Work, limited, summed
from surefoot.auditing._workers import each_done
from surefoot.errors import SurefootError
from surefoot.progress import Progress, reporter
from surefoot.version import versions

Records = dict[int, dict[str, Any]]


@dataclass(frozen=True, eq=False)
class Opening:
    """What is known once the first sample was tried.

    Attributes:
        work: for any block.
        facts: the settings that results depend on.
        held: of data that can be walked once: all pieces, those walked so far included.
    """

    work: Work
    facts: Mapping[str, Any]
    held: Iterator[Piece] | None


def run(
    settings: Settings,
    model: Any,
    loader: Any,
    out: str | Path | None = None,
    overwrite: bool = False,
    executor: Executor | None = None,
    progress: Progress = False,
    *,
    ranks: Ranks | None = None,
) -> AuditResult:
    """See `audit`; with `ranks`, this process does its share of the blocks."""
    data = _data.opened(loader)
    if out is None and executor is None:
        opening = _open(settings, model, data)
        return _here(settings, opening, None, progress)
    if ranks is not None and out is None:
        raise SurefootError("ranks meet in a folder: pass out=, the same for all of them")
    if (executor is not None or ranks is not None) and not data.apart:
        raise SurefootError(
            "workers read blocks of samples by themselves, which this loader does not allow; give "
            "a DataLoader of a data set with __len__ and __getitem__, or tensors"
        )
    if ranks is not None and ranks.rank:
        return _help(_open(settings, model, data), Folder(Path(str(out))), ranks)
    with ExitStack() as stack:
        place = out or stack.enter_context(tempfile.TemporaryDirectory(prefix="surefoot-audit-"))
        folder = Folder(Path(place))
        stack.enter_context(folder.claimed())
        opening = _open(settings, model, data)
        stack.enter_context(replacing(folder, overwrite))
        if executor is None and ranks is None:
            return _here(settings, opening, folder, progress)
        result = _apart(settings, opening, folder, executor or ranks, progress)
        return result if out else result.in_memory()


def _open(settings: Settings, model: Any, data: _data.Data) -> Opening:
    """Check everything on the first sample that is right."""
    plan = settings.plan(model)
    source = settings.source(data, plan)
    pieces, seen, total = source.pieces(), [], Tally()
    for piece in pieces:
        total.add(piece.tally)
        seen.append(piece)
        if len(piece.batch):
            break
    check_used(total)
    plan = rehearse(plan, seen[-1].batch)
    about = {
        "samples": data.size,
        "name": str(getattr(getattr(data, "dataset", None), "name", "")),
        "first": seen[-1].digest,
    }
    facts = settings.facts(plan, about)
    work = Work(plan, source, settings.named(data), identity(facts))
    return Opening(work, facts, chain(seen, pieces) if data.once else None)


def _here(
    settings: Settings, opening: Opening, folder: Folder | None, progress: Progress
) -> AuditResult:
    """All blocks one after the other in this process."""
    state, records = _state(settings, opening, folder, survey=opening.held is None)
    parts: InMemory | OnDisk = InMemory() if folder is None else folder.parts
    work = _stopping(opening.work, state)
    pieces = work.source.pieces(records)
    if opening.held is not None:
        left = work.source.limit
        if left is not None:
            left -= sum(record["used"] for record in records.values())
        pieces = limited((p for p in opening.held if p.block not in records), left)
    units = len(list(work.plan.units()))
    done = units * sum(-(-r["used"] // work.source.size) for r in records.values())
    with reporter(progress, "audit") as report:
        ticks = count(done + 1)
        total = units * state["survey"]["batches"]
        for block, some in groupby(pieces, key=lambda piece: piece.block):
            found = work.measure(block, some, lambda: report(next(ticks), total))
            parts.write(block, found.table)
            if folder is not None:
                folder.log(found.record)
            records[block] = found.record
    return _finished(work, state, records, folder, parts)


def _apart(
    settings: Settings,
    opening: Opening,
    folder: Folder,
    workers: Executor | Ranks | None,
    progress: Progress,
) -> AuditResult:
    """All blocks by workers, which write the parts themselves."""
    source = opening.work.source
    walked = source.limit is not None or source.blocks() is None
    state, records = _state(settings, opening, folder, survey=walked)
    work = _stopping(opening.work, state)
    number = -(-state["survey"]["samples"] // source.block)
    blocks = [block for block in range(number) if block not in records]
    with reporter(progress, "audit") as report:
        if isinstance(workers, Ranks):
            with workers.called(folder.path):
                _share(work, folder, workers)
                records = _all(folder, number, lambda done: report(done, number))
        elif workers is not None:
            for record in each_done(work, workers, folder.path, blocks):
                folder.log(record)
                records[record["block"]] = record
                report(len(records), number)
    folder.parts.clean()
    return _finished(work, state, records, folder, folder.parts)


def _help(opening: Opening, folder: Folder, ranks: Ranks) -> AuditResult:
    """What a rank but the first does: its share, then the result that the first one wrote."""
    ranks.wait_for_call(folder.path)
    state = folder.state() or {"audit": {}}
    check_same(state["audit"], opening.facts, folder.path)
    _share(_stopping(opening.work, state), folder, ranks)
    ranks.wait_for_end(folder.path)
    return AuditResult.load(folder.path)


def _share(work: Work, folder: Folder, ranks: Ranks) -> None:
    """The blocks of this rank that are not done."""
    number = work.source.blocks() or -(-(work.source.survey().samples or 0) // work.source.block)
    done = folder.parts.done()
    for block in ranks.mine(list(range(number))):
        if block not in done:
            found = work.block(block)
            folder.parts.write(block, found.table)
            folder.log(found.record)


def _all(folder: Folder, number: int, tell: Callable[[int], None]) -> Records:
    """The records of all blocks, once the other ranks have done theirs."""
    while (done := len(folder.parts.done())) < number:
        tell(done)
        time.sleep(1)
    return folder.records()


def _stopping(work: Work, state: Mapping[str, Any]) -> Work:
    """The same, looking at no sample beyond those that are wanted."""
    return replace(work, source=replace(work.source, stop=state["survey"]["stop"]))


def _state(
    settings: Settings, opening: Opening, folder: Folder | None, survey: bool
) -> tuple[dict[str, Any], Records]:
    """What a folder holds of this audit, or the beginning of it.

    Raises:
        SurefootError: it holds another audit.
    """
    before = None if folder is None else folder.state()
    if folder is not None and before is not None:
        check_same(before["audit"], opening.facts, folder.path)
        folder.parts.clean()
        records = folder.records()
        strange = [b for b, record in records.items() if record["audit"] != opening.work.identity]
        if strange:
            raise SurefootError(
                f"{folder.path} holds parts of another audit (block {strange[0]}); choose another "
                "folder, or pass overwrite=True to replace what is there"
            )
        return before, records
    if folder is not None and folder.parts.done():
        raise SurefootError(
            f"{folder.path} holds parts of an audit, but no settings of it; choose another folder, "
            "or pass overwrite=True to replace what is there"
        )
    source = opening.work.source
    walked = source.survey() if survey else Survey(source.data.size, None, 0)
    state = {
        "audit": dict(opening.facts),
        "survey": walked._asdict(),
        "versions": versions("torch", "numpy", "pandas", "pyarrow", "scipy"),
        "threads": torch.get_num_threads(),
        "classes": _data.classes_of(source.data),
        "about": dict(settings.about or {}),
        "started": _now(),
    }
    if folder is not None:
        folder.write_state(state)
    return state, {}


def _finished(
    work: Work,
    state: Mapping[str, Any],
    records: Records,
    folder: Folder | None,
    parts: InMemory | OnDisk,
) -> AuditResult:
    """The result, once every block is done."""
    state = {**state, **summed(records)}
    check_used(Tally(**state["samples"]))
    settings = flat(state)
    gallery = partial(_gallery.drawn, work, parts.read, settings)
    if folder is None:
        return AuditResult(parts, {**settings, "finished": _now()}, gallery)
    if "finished" not in state:
        for number, shown in enumerate(gallery()):
            folder.keep(shown, number)
        state["finished"] = settings["finished"] = _now()
        folder.write_state(state)
    return AuditResult(parts, settings, folder.gallery)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
