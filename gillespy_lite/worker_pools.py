"""Where the portions of a run are computed: processes of our own, an executor, a Dask cluster."""

from __future__ import annotations

import os
import sys
import time
from concurrent.futures import BrokenExecutor, CancelledError, Future
from typing import Any, Protocol

from .own_processes import OwnProcesses
from .portion_tasks import PortionReport, PortionTask, end_run, run_portion
from .workers import cores

__all__ = ["Pool", "worker_pool"]


class Pool(Protocol):
    """Workers that tasks can be given to."""

    # For messages.
    name: str
    # Seconds to wait for tasks that were asked to end.
    patience: float

    def n_workers(self) -> int:
        """Return how many tasks can run at the same time."""

    def submit(self, task: PortionTask) -> Future[PortionReport]:
        """Have a task done."""

    def is_loss(self, error: BaseException) -> bool:
        """Return whether an error means that a worker was lost, and its task may be given again."""

    def renew(self) -> bool:
        """Take care that tasks can be given after a loss; return whether they can."""

    def end(self, run: str, futures: list[Future[PortionReport]]) -> None:
        """Ask the tasks of a run to end."""

    def abandon(self, futures: list[Future[PortionReport]]) -> None:
        """Forget tasks that did not end."""

    def close(self) -> None:
        """Give back what was made for the run."""


def worker_pool(executor: Any, threads: int) -> Pool | None:
    """Return what computes portions for `executor=`, and None for the threads of this process.

    Raises
    ------
    TypeError, ValueError
        If it is nothing that can compute anything.
    """
    if executor is None or (isinstance(executor, str) and executor == "threads"):
        return None
    if isinstance(executor, str):
        if executor != "processes":
            raise ValueError(
                "executor must be 'threads', 'processes', an executor of concurrent.futures or a "
                f"Dask Client, not {executor!r}"
            )
        return OwnProcesses(max(1, cores() // threads))
    if "distributed" in sys.modules:
        from distributed import Client

        if isinstance(executor, Client):
            return _DaskWorkers(executor, threads)
    if hasattr(executor, "scheduler_address"):
        raise TypeError(
            f"executor is a {type(executor).__name__}, a Dask cluster; give its client, "
            "executor=distributed.Client(cluster)"
        )
    if isinstance(executor, type) or not callable(getattr(executor, "submit", None)):
        raise TypeError(
            "executor must be 'threads', 'processes', an executor of concurrent.futures (an object "
            f"with a method submit) or a Dask Client, not {executor!r}"
        )
    return _Executor(executor, threads)


class _Executor:
    """An executor of the caller, which stays open."""

    patience = 1.5

    def __init__(self, executor: Any, threads: int) -> None:
        self._executor, self._threads = executor, threads
        self.name = type(executor).__name__

    def n_workers(self) -> int:
        # The standard library, loky and mpi4py keep it under these names.
        for name in ("_max_workers", "num_workers"):
            n = getattr(self._executor, name, None)
            if isinstance(n, int) and n > 0:
                return n
        return max(1, cores() // self._threads)

    def submit(self, task: PortionTask) -> Future[PortionReport]:
        future: Future[PortionReport] = self._executor.submit(run_portion, task)
        return future

    def is_loss(self, error: BaseException) -> bool:
        return isinstance(error, BrokenExecutor | CancelledError)

    def renew(self) -> bool:
        # Some replace their workers by themselves; one of the standard library is broken for good.
        return _takes_work(self._executor)

    def end(self, run: str, futures: list[Future[PortionReport]]) -> None:
        for future in futures:
            future.cancel()  # does nothing to one that runs
        end_run(run)  # where the workers are threads of this process

    def abandon(self, futures: list[Future[PortionReport]]) -> None:
        pass

    def close(self) -> None:
        pass


class _DaskWorkers:
    """The workers of a Dask cluster."""

    patience = 1.5

    def __init__(self, client: Any, threads: int) -> None:
        if client.asynchronous:
            raise TypeError("executor is an asynchronous Dask Client; give one that is not")
        self._client, self._threads = client, threads
        # Dask's own way to futures of the standard library.
        self._executor = client.get_executor(pure=False)
        self._n_workers, self._asked = 1, -1e9
        self.name = "Dask"

    def n_workers(self) -> int:
        # Clusters grow and shrink.
        if time.monotonic() - self._asked > 5.0:
            self._asked = time.monotonic()
            self._n_workers = sum(n // self._threads for n in self._client.nthreads().values())
        # With none there, a task waits for the first to come.
        return max(1, self._n_workers)

    def submit(self, task: PortionTask) -> Future[PortionReport]:
        future: Future[PortionReport] = self._executor.submit(run_portion, task)
        return future

    def is_loss(self, error: BaseException) -> bool:
        from distributed import KilledWorker
        from distributed.comm import CommClosedError

        return isinstance(error, KilledWorker | CommClosedError | TimeoutError | CancelledError)

    def renew(self) -> bool:
        return str(self._client.status) == "running"

    def end(self, run: str, futures: list[Future[PortionReport]]) -> None:
        end_run(run)  # where the workers are threads of this process

    def abandon(self, futures: list[Future[PortionReport]]) -> None:
        # What is cancelled is lost, also what it has finished; so not before it had some time.
        for future in futures:
            future.cancel()

    def close(self) -> None:
        pass


def _takes_work(executor: Any) -> bool:
    try:
        executor.submit(os.getpid)
    except Exception:
        return False
    return True
