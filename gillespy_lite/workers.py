"""Sharing out work among threads."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from typing import Any

__all__ = ["cores", "lent_threads", "share_out"]

# Threads that wait for work between runs, one in each pool, with the cores that they may use: those
# of the thread that started it, for ever. To start one takes .3 ms, in which the thread that starts
# it waits for it; to wake one takes .05 ms.
_IDLE: list[tuple[set[int] | None, ThreadPoolExecutor]] = []
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_IDLE.clear)  # a fork has none of them


def _idle_thread(own: set[int] | None) -> ThreadPoolExecutor | None:
    """Take a thread that waits and may use these cores, or none."""
    while True:
        try:
            cores_of_thread, pool = _IDLE.pop()  # one step, so that no two runs get the same
        except IndexError:
            return None
        if cores_of_thread == own:
            return pool
        pool.shutdown(wait=False)


@contextmanager
def lent_threads() -> Iterator[Callable[..., Future[None]]]:
    """Give a function that has work done by another thread; leaving waits until all are done.

    The function takes what is to be called and its arguments, and raises `RuntimeError` if the
    system allows no more threads.
    """
    lent: list[ThreadPoolExecutor] = []
    pending: list[Future[None]] = []
    own = _own_cores()

    def submit(work: Callable[..., None], *arguments: Any) -> Future[None]:
        pool = _idle_thread(own) or ThreadPoolExecutor(1, thread_name_prefix="gillespy_lite")
        lent.append(pool)
        pending.append(pool.submit(work, *arguments))
        return pending[-1]

    try:
        yield submit
    finally:
        wait(pending)
        for pool in lent:
            if len(_IDLE) < cores():
                _IDLE.append((own, pool))
            else:
                pool.shutdown(wait=False)


def _own_cores() -> set[int] | None:
    """Return the cores that this thread may use, where the system tells."""
    return os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else None


def cores() -> int:
    """Return the number of cores that this process may use."""
    own = _own_cores()
    return len(own) if own is not None else os.cpu_count() or 1


def share_out(work: Callable[[int], None], n: int, threads: int) -> None:
    """Do `work` for 0, ..., n - 1 on some threads; the first error, or Ctrl-C, ends it."""
    if threads == 1 or n == 1:
        for i in range(n):
            work(i)
        return
    halt = threading.Event()
    waiting = iter(range(n))
    lock = threading.Lock()

    def worker() -> None:
        while not halt.is_set():
            with lock:
                i = next(waiting, None)
            if i is None:
                return
            work(i)

    with ThreadPoolExecutor(min(threads, n), thread_name_prefix="gillespy_lite") as pool:
        try:
            pending = {pool.submit(worker) for _ in range(min(threads, n))}
            while pending:
                done, pending = wait(pending, timeout=0.1, return_when=FIRST_EXCEPTION)
                for future in done:
                    future.result()
        finally:
            halt.set()
