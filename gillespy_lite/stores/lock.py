"""One writer at a time: a lock that the operating system gives up when its holder dies."""

from __future__ import annotations

import contextlib
import os
import socket
import sys
import weakref
from pathlib import Path

from ..errors import StoreLockedError

__all__ = ["Lock"]

_FILE = "lock"
_PLACE = 2**30  # of the locked byte on Windows, behind the text, which others want to read
_HELD: weakref.WeakSet[Lock] = weakref.WeakSet()


class Lock:
    """Holds the lock of a store until `release`, or the end of the process, however it ends.

    Raises
    ------
    StoreLockedError
        If another run holds it; the message says which.
    OSError
        If the folder cannot be written to.
    """

    def __init__(self, folder: Path) -> None:
        self._descriptor = os.open(folder / _FILE, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            _acquire(self._descriptor)
        except OSError as error:
            os.lseek(self._descriptor, 0, os.SEEK_SET)
            holder = os.read(self._descriptor, 200)
            os.close(self._descriptor)
            self._descriptor = -1
            if not isinstance(error, BlockingIOError | PermissionError):
                raise OSError(
                    error.errno,
                    f"the file system knows no locks, which keep two runs apart "
                    f"({error.strerror}); choose a store on another one",
                    os.fspath(folder),
                ) from error
            who = holder.decode(errors="replace").strip() or "another process"
            raise StoreLockedError(
                f"the store {os.fspath(folder)!r} is being written to by {who}; wait until that "
                "run has ended, or choose another store. It may be read meanwhile, with open_store"
            ) from None
        _HELD.add(self)
        # A full disk must not keep a run from reading what it has.
        with contextlib.suppress(OSError):
            os.ftruncate(self._descriptor, 0)
            text = f"process {os.getpid()} on {socket.gethostname()}\n"
            os.write(self._descriptor, text.encode())

    def release(self) -> None:
        """Give the lock up; again does no harm."""
        if self._descriptor >= 0:
            with contextlib.suppress(OSError):
                os.ftruncate(self._descriptor, 0)
            self.forget()

    def forget(self) -> None:
        """Close the file: the lock is gone when no process has it open."""
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)


def _acquire(descriptor: int) -> None:
    if sys.platform == "win32":
        import msvcrt

        os.lseek(descriptor, _PLACE, os.SEEK_SET)
        msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        os.lseek(descriptor, 0, os.SEEK_SET)
    else:
        import fcntl

        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)


def _forget_in_child() -> None:
    # A forked worker that outlives a killed run must not keep its store locked.
    for lock in list(_HELD):
        lock.forget()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_in_child)
