"""One process compiles a kernel while others that need it wait, and load what it has made.

A turn is the operating system's lock on a file beside the kernel's own: it ends with its process,
however that ends. Nothing depends on it but time. Where there can be no lock (a folder that cannot
be written, a file system without locks), where the holder takes longer than any kernel does, or
where it leaves nothing behind, each process compiles for itself.
"""

from __future__ import annotations

import contextlib
import os
import sys
import time
from pathlib import Path

__all__ = ["LONGEST_TURN", "Turn"]

# Seconds. The kernel that takes longest is compiled in 25 to 33. A holder that takes more may be
# one that is stopped, and waiting for it must not cost more than compiling would.
LONGEST_TURN = 40.0

_BETWEEN_TRIES = 0.02  # seconds


class Turn:
    """The right to compile one kernel, among the processes that keep their kernels in one folder.

    Of a process, one thread at a time may have it: Numba compiles in one thread at a time.

    Attributes
    ----------
    has_waited : bool
        Whether another process had the turn when `wait` was called.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._descriptor = -1
        self.has_waited = False

    def wait(self) -> None:
        """Wait for the turn, and return without it where there is none to be had."""
        self.end()
        self.has_waited = False
        with contextlib.suppress(OSError):
            self._path.parent.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o644)
            try:
                called = time.time()
                while not _is_acquired(descriptor):
                    # The file's time is when its holder began. By a clock that is ahead, or was
                    # set back, it may be in the future: no wait is longer than a turn.
                    began = min(os.fstat(descriptor).st_mtime, called)
                    if not 0.0 <= time.time() - began < LONGEST_TURN:
                        return
                    self.has_waited = True
                    time.sleep(_BETWEEN_TRIES)
                with contextlib.suppress(OSError):  # it may have been removed by whoever had it
                    os.utime(self._path)
                self._descriptor = descriptor
            finally:
                if self._descriptor != descriptor:
                    os.close(descriptor)

    def end(self) -> None:
        """Let others have the turn; again does no harm."""
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor < 0:
            return
        # Who waits has the file open, and gets the turn whether the file has its name or not.
        with contextlib.suppress(OSError):  # gone already; or Windows, where it stays
            if os.path.samestat(os.fstat(descriptor), os.stat(self._path)):
                os.unlink(self._path)
        os.close(descriptor)


def _is_acquired(descriptor: int) -> bool:
    """Try to lock a file; an error other than that another process has it is raised."""
    try:
        if sys.platform == "win32":
            import msvcrt

            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        else:
            import fcntl

            # Not flock: a process that is forked from the holder would have the turn, too.
            fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):
        return False
    return True
