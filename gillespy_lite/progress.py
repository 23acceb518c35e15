"""What a run says while it lasts: how far it is, and that a kernel is being compiled."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from .kernels.jit import cache_folder, watch_compilation

__all__ = ["Progress", "no_notice_of_compilation", "reporter"]

Progress = Callable[[float, float], object]


def reporter(progress: bool | Progress, total: float, title: str) -> Callable[[float], None]:
    """Return a function that is told how much of `total` is done.

    True gives tqdm's bar where tqdm is installed (extra ``progress``), else a line of text on the
    standard error.
    """
    if progress is False or progress is None:
        return lambda done: None
    if callable(progress):
        called = progress

        def tell(done: float) -> None:
            called(done, total)

        return tell
    if progress is not True:
        raise TypeError(
            f"progress must be True, False or a function of (done, total), not {progress!r}"
        )
    try:
        from tqdm.auto import tqdm
    except ImportError:
        return _Line(total, title)
    bar = tqdm(total=total, desc=title)

    def update(done: float) -> None:
        bar.update(done - bar.n)
        if done >= total:
            bar.close()

    return update


class _Line:
    """One line on the standard error, rewritten ten times a second at most."""

    def __init__(self, total: float, title: str) -> None:
        self._total, self._title = total, title
        self._started = time.monotonic()
        self._shown = 0.0

    def __call__(self, done: float) -> None:
        now = time.monotonic()
        is_last = done >= self._total
        if now - self._shown < 0.1 and not is_last:
            return
        self._shown = now
        elapsed = now - self._started
        left = f", {elapsed * (self._total - done) / done:.0f} s left" if done > 0 else ""
        end = "\n" if is_last else ""
        sys.stderr.write(
            f"\r{self._title}: {done:g} of {self._total:g}, {elapsed:.0f} s{left}   {end}"
        )
        sys.stderr.flush()


class _Notice:
    """Says on the standard error that a kernel is compiled, if that takes more than 2 seconds."""

    def __init__(self) -> None:
        self.seconds = 2.0
        self.is_on = True
        self._timer: threading.Timer | None = None

    def __call__(self, name: str, begins: bool) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if begins and self.is_on:
            self._timer = threading.Timer(self.seconds, self._say, [name])
            self._timer.daemon = True
            with suppress(RuntimeError):  # no more threads allowed: nothing is said
                self._timer.start()

    @staticmethod
    def _say(name: str) -> None:
        sys.stderr.write(
            f"gillespy_lite: compiling {name}, once after installing (some seconds; it is kept in "
            f"{cache_folder()}; gillespy-lite warmup does this ahead)\n"
        )
        sys.stderr.flush()


# Whatever runs anything imports this module.
_NOTICE = _Notice()
watch_compilation(_NOTICE)


@contextmanager
def no_notice_of_compilation() -> Iterator[None]:
    """Say nothing about compilations in this block, because somebody else does."""
    was_on, _NOTICE.is_on = _NOTICE.is_on, False
    try:
        yield
    finally:
        _NOTICE.is_on = was_on
