"""Who may run models when: passes go side by side, and what hooks a model goes alone.

A hook on a module runs in every thread's passes, so that a map made beside would be another's. And
which kernel attention takes is one flag for the whole process. So a pass takes a `shared` turn, and
whoever hangs hooks on a model takes a turn `alone`. Both can be nested; a thread that is alone may
pass. Threads of one process are meant, whatever models they use.
"""

import threading
from collections.abc import Callable

from surefoot.errors import SurefootError
from surefoot.undo import Undo


class _Turns:
    def __init__(self) -> None:
        self._free = threading.Condition()
        self._passing: dict[int, int] = {}
        self._owner: int | None = None
        self._depth = self._waiting = 0

    def shared(self, undo: Undo[None]) -> None:
        me = threading.get_ident()
        with self._free:
            if self._owner != me and not self._passing.get(me):
                self._free.wait_for(lambda: self._owner is None and not self._waiting)
            before = self._passing.get(me, 0)
            undo.then(lambda: self._set_passing(me, before))
            self._passing[me] = before + 1

    def alone(self, undo: Undo[None]) -> None:
        me = threading.get_ident()
        with self._free:
            if self._owner != me:
                self._wait(me)
            before = (self._owner, self._depth)
            undo.then(lambda: self._set_owner(*before))
            self._owner, self._depth = me, self._depth + 1

    def _wait(self, me: int) -> None:
        if self._passing.get(me) and (self._waiting or self._others(me)):
            raise SurefootError(
                "a model's own pass asks for hooks on a model while other threads pass theirs, "
                "and all would wait for ever; run this in one thread, or in processes"
            )
        self._waiting += 1
        try:
            self._free.wait_for(lambda: self._owner is None and not self._others(me))
        finally:
            self._waiting -= 1
            self._free.notify_all()

    def _others(self, me: int) -> bool:
        return any(count for thread, count in self._passing.items() if thread != me)

    def _set_passing(self, me: int, count: int) -> None:
        with self._free:
            if count:
                self._passing[me] = count
            else:
                self._passing.pop(me, None)
            self._free.notify_all()

    def _set_owner(self, owner: int | None, depth: int) -> None:
        with self._free:
            self._owner, self._depth = owner, depth
            self._free.notify_all()


_TURNS = _Turns()


def shared() -> Undo[None]:
    """A turn for a pass of a model, beside those of other threads."""
    return Undo(_TURNS.shared)


def alone() -> Undo[None]:
    """A turn with no other thread's passes: for hooks on a model, or flags of the process."""
    return Undo(_TURNS.alone)


class Flags:
    """A setting of the whole process that several threads need at once: the last puts it back.

    Args:
        change: makes it and gives what puts it back.
    """

    def __init__(self, change: Callable[[], Callable[[], object]]) -> None:
        self._change = change
        self._lock = threading.Lock()
        self._users: list[object] = []
        self._back: Callable[[], object] | None = None

    def __call__(self) -> Undo[None]:
        """Inside, the setting is made."""

        def do(undo: Undo[None]) -> None:
            me = object()
            undo.then(lambda: self._leave(me))
            with self._lock:
                self._users.append(me)
                if self._back is None:
                    self._back = self._change()

        return Undo(do)

    def _leave(self, me: object) -> None:
        with self._lock:
            if me in self._users:
                self._users.remove(me)
            if not self._users and self._back is not None:
                self._back()
                self._back = None
