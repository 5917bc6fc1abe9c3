"""Progress of a search: a callback of one's own, or a bar."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from surefoot import errors

Report = Callable[[int, int], None]
Progress = bool | Report


@contextmanager
def reporter(progress: Progress, name: str) -> Iterator[Report]:
    """What to call with the steps done and their number; a bar where `progress` is True."""
    if callable(progress):
        yield progress
    elif progress:
        with errors.optional("tqdm.auto", "cli").tqdm(desc=name, leave=False) as bar:

            def show(done: int, total: int) -> None:
                bar.total = total
                bar.update(done - bar.n)

            yield show
    else:
        yield lambda _done, _total: None
