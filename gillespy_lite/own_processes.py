"""Processes made for one run, each at the end of a pipe of its own."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import traceback
from collections.abc import Callable, Iterator
from concurrent.futures import BrokenExecutor, Future
from contextlib import contextmanager
from multiprocessing.connection import Connection, wait
from typing import Any

from .portion_tasks import PortionReport, PortionTask, run_portion, watch_flag

__all__ = ["OwnProcesses"]

_SECONDS_TO_END = 10.0


class OwnProcesses:
    """Processes made for one run, and made anew when one of them dies.

    They are started afresh ("spawn"), never by a fork, which would copy the locks of threads
    that the copy does not have. It is no pool of the standard library, whose workers write to one
    pipe: one that was killed while it wrote left half a message there, and all waited for ever (one
    run in 22, with a worker killed in each). Here it costs what it was computing, and no other
    process ends with it.

    Parameters
    ----------
    n : int
        How many; each is started when there is a task for it.

    Raises
    ------
    ValueError
        In a process that may not start others.
    """

    patience = 10.0
    name = "processes"

    def __init__(self, n: int) -> None:
        if multiprocessing.current_process().daemon:
            raise ValueError(
                "executor='processes' was asked for in a worker of multiprocessing.Pool, which may "
                "not start processes; use executor='threads' there"
            )
        self._n = n
        self._context = multiprocessing.get_context("spawn")
        # Without a lock, which a worker that is killed would keep for ever.
        self._flag = self._context.RawValue("b", 0)
        self._workers: set[_Worker] = set()

    def n_workers(self) -> int:
        """Return how many tasks can run at the same time."""
        return self._n

    def submit(self, task: PortionTask) -> Future[PortionReport]:
        """Have a task done."""
        for worker in list(self._workers):
            if not worker.is_busy and not worker.process.is_alive():
                self._workers.remove(worker)
                worker.close()
        idle = [one for one in self._workers if not one.is_busy]
        if not idle:
            idle = [_Worker(self._context, self._flag)]
            self._workers.update(idle)
        return idle[0].submit(task)

    def is_loss(self, error: BaseException) -> bool:
        """Return whether an error means that a worker was lost, and its task may be given again."""
        return isinstance(error, BrokenExecutor)

    def renew(self) -> bool:
        """Return that tasks can be given after a loss."""
        return True

    def end(self, run: str, futures: list[Future[PortionReport]]) -> None:
        """Ask the tasks to end."""
        self._flag.value = 1

    def abandon(self, futures: list[Future[PortionReport]]) -> None:
        """End the processes."""
        for worker in self._workers:
            worker.process.kill()

    def close(self) -> None:
        """Have the processes end, and wait for that."""
        for worker in self._workers:
            worker.let_go()
        while self._workers:
            self._workers.pop().close()


class _Worker:
    """A process, and a thread of ours for each task that it has, which waits for the answer."""

    def __init__(self, context: Any, flag: Any) -> None:
        self._connection: Connection
        self._connection, theirs = context.Pipe()
        self._thread: threading.Thread | None = None
        self.is_busy = False
        self.process = context.Process(target=_serve, args=(theirs, flag), name="gillespy_lite")
        try:
            with _interrupts_blocked():
                self.process.start()
        except BaseException:
            self._connection.close()
            raise
        finally:
            # So that the end of the process is the end of the pipe.
            theirs.close()

    def submit(self, task: PortionTask) -> Future[PortionReport]:
        future: Future[PortionReport] = Future()
        future.set_running_or_notify_cancel()
        self.is_busy = True
        self._thread = threading.Thread(target=self._do, args=(task, future), daemon=True)
        self._thread.start()
        return future

    def _do(self, task: PortionTask, future: Future[PortionReport]) -> None:
        report: PortionReport | None = None
        error: BaseException | None = None
        try:
            self._connection.send(task)
            report, error = self._connection.recv()
        except (EOFError, OSError):
            error = BrokenExecutor(f"process {self.process.pid} {self._its_end()}")
        except BaseException as trouble:  # a report that cannot be read
            error = trouble
        self.is_busy = False
        if report is not None:
            future.set_result(report)
        else:
            future.set_exception(error or BrokenExecutor("a worker gave no report"))

    def _its_end(self) -> str:
        self.process.join(_SECONDS_TO_END)
        code = self.process.exitcode
        if code is None:
            self.process.kill()
            self.process.join()
            return "closed its pipe"
        if code >= 0:
            return f"ended with code {code}"
        try:
            return f"was ended by {signal.Signals(-code).name}"
        except ValueError:
            return f"was ended by signal {-code}"

    def let_go(self) -> None:
        """Have the process end; what it is computing is lost."""
        if self.is_busy:
            self.process.kill()
        else:
            self._connection.close()

    def close(self) -> None:
        """Have the process end, and wait for it."""
        self.let_go()
        if self._thread is not None:
            self._thread.join()
        self._connection.close()
        self.process.join(_SECONDS_TO_END)
        self.process.kill()  # does nothing to one that has ended
        self.process.join()


def _serve(connection: Connection, flag: Any) -> None:
    """Do what comes through a pipe until it is closed, in a process of its own."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    watch_flag(flag)
    parent = multiprocessing.parent_process()
    assert parent is not None
    # One that is computing would go on if its parent were killed.
    threading.Thread(target=_end_with, args=(parent.sentinel,), daemon=True).start()
    while True:
        try:
            task: PortionTask = connection.recv()
        except EOFError:
            return
        report: PortionReport | None = None
        trouble: BaseException | None = None
        try:
            report = run_portion(task)
        except BaseException as error:
            trouble = error
            trouble.add_note("".join(traceback.format_exception(error)))
        try:
            connection.send((report, trouble))
        except OSError:
            return
        except Exception as error:  # an exception that cannot be sent
            connection.send((None, RuntimeError(f"{trouble!r} ({error})")))


def _end_with(sentinel: int) -> None:
    wait([sentinel])
    os._exit(1)


@contextmanager
def _interrupts_blocked() -> Iterator[None]:
    """Have Ctrl-C wait; processes that are started in this block inherit that, for ever."""
    block: Callable[..., Any] | None = getattr(signal, "pthread_sigmask", None)
    if block is None:  # Windows
        yield
        return
    usual = block(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        block(signal.SIG_SETMASK, usual)
