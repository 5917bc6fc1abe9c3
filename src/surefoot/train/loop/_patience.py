"""An interrupt waits until a step is whole, so that what was learnt can be kept."""

import signal
import threading
from types import TracebackType
from typing import Self

from surefoot.undo import Undo


class Patience:
    """While it is `held`, an interrupt inside `with patience:` comes at the end of that block.

    A second one does not wait, and leaves the block `broken`. Only where Python's own handler is
    in place, in the main thread: nobody else's is replaced.
    """

    def __init__(self) -> None:
        self.inside = self.asked = self.broken = False

    def held(self, wanted: bool) -> Undo[None]:
        """The handler in place, if it is wanted and can be."""

        def do(undo: Undo[None]) -> None:
            main = threading.current_thread() is threading.main_thread()
            if wanted and main and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
                undo.then(lambda: signal.signal(signal.SIGINT, signal.default_int_handler))
                signal.signal(signal.SIGINT, self._interrupt)

        return Undo(do)

    def __enter__(self) -> Self:
        self.inside = True
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.inside = False
        if kind is not None and not issubclass(kind, Exception):
            self.broken = True
        elif self.asked and error is None:
            raise KeyboardInterrupt

    def _interrupt(self, *_: object) -> None:
        if self.asked or not self.inside:
            raise KeyboardInterrupt
        self.asked = True
