"""One portion of a run as the task of a worker: data in, data out."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from .errors import NotEnoughMemoryError, SimulationError
from .gathering import Portion
from .portion_jobs import WorkOrder
from .version import STREAM_VERSION, __version__

__all__ = ["PortionReport", "PortionTask", "end_run", "run_portion", "watch_flag"]


@dataclass(frozen=True)
class PortionTask:
    """What a worker needs to know.

    Attributes
    ----------
    order : WorkOrder
        What the portion is a part of.
    engine : str
        A name from `ENGINES`; the one who hands out the tasks has chosen it.
    first, last : int
        The portion is trajectories, or sets, first, ..., last - 1.
    threads : int
        Of this task.
    seconds : float
        After which it is to give what it has; infinite if there is no limit.
    run : str
        Name of the run, for `end_run`.
    """

    order: WorkOrder
    engine: str
    first: int
    last: int
    threads: int
    seconds: float
    run: str


@dataclass(frozen=True)
class PortionReport:
    """What a worker gives back.

    Attributes
    ----------
    portion : dict of ndarray
        As `Gathering.portion` gives it.
    n_complete : int
        Trajectories, or sets, that are finished; all, unless `stopped` or `failure` says why not.
    stopped : str or None
        "timeout", "interrupt" or "error".
    failure : SimulationError, NotEnoughMemoryError or None
        Of the first trajectory that could not go on.
    seconds : float
        That the trajectories took, without loading or compiling kernels.
    package_version : str
    stream_version : int
    """

    portion: Portion
    n_complete: int
    stopped: str | None
    failure: SimulationError | NotEnoughMemoryError | None
    seconds: float
    package_version: str = __version__
    stream_version: int = STREAM_VERSION


def run_portion(task: PortionTask) -> PortionReport:
    """Do a task in this process."""
    gatherer, crew = task.order.crew(
        task.engine, task.first, task.last, task.threads, _stop_test(task.run)
    )
    crew.load_kernel()
    started = time.perf_counter()
    failure = crew.work(lambda done: None, task.seconds)
    seconds = time.perf_counter() - started
    return PortionReport(gatherer.portion(), gatherer.n_complete(), crew.stopped, failure, seconds)


# Runs whose tasks in this process are to end: for executors of threads.
_ENDED: set[str] = set()
# A byte of memory shared with the process that hands out tasks, in a worker of its own pool.
_FLAGS: list[Any] = []


def end_run(run: str) -> None:
    """Have the tasks of a run in this process give what they have, within some 50 ms."""
    _ENDED.add(run)


def watch_flag(flag: Any) -> None:
    """Have all tasks of this process end when `flag.value` is not 0."""
    _FLAGS.append(flag)


def _stop_test(run: str) -> Callable[[], bool]:
    """Return what tells whether the task that calls this is to end."""
    cancelled = _dask_cancelled()

    def should_stop() -> bool:
        return run in _ENDED or any(flag.value for flag in _FLAGS) or cancelled()

    return should_stop


def _dask_cancelled() -> Callable[[], bool]:
    """Return what tells whether Dask has cancelled this task, where it runs on a Dask worker."""
    # Dask does not stop a task that is running; its worker knows that nobody waits for it.
    if "distributed" in sys.modules:
        with suppress(Exception):  # no worker in this thread, or one that keeps its books otherwise
            from distributed import get_worker

            worker = get_worker()
            key, tasks = worker.get_current_task(), worker.state.tasks

            def cancelled() -> bool:
                task = tasks.get(key)
                return task is None or task.state == "cancelled"

            # It may be cancelled already: the kernel was loaded first.
            cancelled()
            return cancelled
    return lambda: False
