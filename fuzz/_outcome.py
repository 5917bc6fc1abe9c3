"""What a call came to: a result, an error of the library in a line, or a failure."""

import resource
import signal
import threading
import traceback
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch

from surefoot import SurefootError

SECONDS = 30
LONGEST = 3000
ROOM = 2**31  # bytes that a call may take beside what is there


class Hang(BaseException):
    """A call took longer than it may."""


@dataclass
class Tally:
    """How many calls came to what; failures with what was called."""

    results: int = 0
    refused: int = 0
    failures: list[dict[str, str]] = field(default_factory=list)

    @property
    def calls(self) -> int:
        """All of them."""
        return self.results + self.refused + len(self.failures)

    def told(self) -> dict[str, Any]:
        """As JSON has it, a few failures of each sort."""
        kinds: dict[str, list[str]] = {}
        for failure in self.failures:
            kinds.setdefault(failure["what"], []).append(failure["call"])
        return {
            "calls": self.calls,
            "results": self.results,
            "refused": self.refused,
            "failures": len(self.failures),
            "kinds": {what: calls[:3] for what, calls in sorted(kinds.items())},
        }

    def judge(self, what: str, call: Callable[[], Any], *, finite: bool = False) -> Any:
        """Call, and tell what came; with `finite`, NaN in a result is a failure unless said."""
        before = _peak()
        try:
            with _in_time(), warnings.catch_warnings(record=True) as said:
                warnings.simplefilter("always")
                result = call()
        except SurefootError as error:
            if len(str(error)) > LONGEST or not str(error).strip():
                self._fail(what, f"a message of {len(str(error))} characters")
            else:
                self.refused += 1
            return None
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # also what should never have left the library
            self._fail(what, _where(error))
            return None
        finally:
            if _peak() - before > ROOM:
                self._fail(what, f"it took {(_peak() - before) / 2**30:.1f} GiB")
        if finite and not said and not _finite(result):
            self._fail(what, "NaN or infinity without a word")
            return None
        self.results += 1
        return result

    def _fail(self, call: str, what: str) -> None:
        self.failures.append({"call": call[:400], "what": what})


def _peak() -> int:
    return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def _where(error: BaseException) -> str:
    """The kind of the error and the last place in the library that it passed."""
    frames = [f for f in traceback.extract_tb(error.__traceback__) if "/surefoot/" in f.filename]
    place = f"{frames[-1].filename.rpartition('/surefoot/')[2]}:{frames[-1].name}" if frames else ""
    first = (str(error).splitlines() or [""])[0]
    return f"{type(error).__name__} in {place}: {first[:100]}"


@contextmanager
def _in_time() -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def ring(*_: object) -> None:
        raise Hang(f"no answer in {SECONDS} s")

    before = signal.signal(signal.SIGALRM, ring)
    # Again and again: what rings in a callback of the collector is swallowed there.
    signal.setitimer(signal.ITIMER_REAL, SECONDS, 1)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def _finite(result: Any) -> bool:
    if result is None:
        return True
    if isinstance(result, torch.Tensor):
        return not result.is_floating_point() or bool(torch.isfinite(result).all())
    if isinstance(result, tuple | list):
        return all(map(_finite, result))
    return all(_finite(getattr(result, name, None)) for name in ("before", "after", "total"))
