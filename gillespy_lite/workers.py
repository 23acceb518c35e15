"""Sharing out work among threads."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait

__all__ = ["cores", "share_out"]


def cores() -> int:
    """Return the number of cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


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
