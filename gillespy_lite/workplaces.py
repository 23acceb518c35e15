"""Where the portions of several jobs are computed one after the other, and where they are kept."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import Any

from .errors import StoreWriteError
from .executors import compute_elsewhere
from .gathering import Gathering
from .portion_jobs import Job
from .portion_runs import StoringPace, compute_into_store
from .portion_tasks import PortionReport, PortionTask
from .stored_deliveries import Depot
from .stores.folder import Folder
from .stores.orders import Order
from .stores.ranges import Range, gaps, union
from .stores.writing import StoreWriter, check_order, fill_unlocked, stored_order
from .worker_pools import Pool

__all__ = ["OpenStore", "Workplace"]


class Workplace:
    """Threads of this process, or a pool that stays until `close`.

    Parameters
    ----------
    make_pool : callable
        Gives a pool, or None for threads of this process; a new one if work has to go on after the
        first was stopped.
    n_threads : int
        Of this process, or of each task of a pool.
    chunk_size : int or None
        As for `Job.crew` and `PortionSizes`.
    """

    def __init__(
        self, make_pool: Callable[[], Pool | None], n_threads: int, chunk_size: int | None
    ) -> None:
        self._make_pool, self._chunk_size = make_pool, chunk_size
        self.n_threads = n_threads
        self._pool = _lasting(make_pool())

    @property
    def is_elsewhere(self) -> bool:
        """Whether a pool computes."""
        return self._pool is not None

    @property
    def n_workers(self) -> int:
        """How many trajectories are computed at the same time, lanes apart."""
        return self.n_threads if self._pool is None else self._pool.n_workers() * self.n_threads

    def compute(
        self,
        job: Job,
        gatherer: Any,
        ranges: Iterable[tuple[int, int]],
        *,
        report: Callable[[float], None],
        timeout: float,
        check: Callable[[], None],
        store: Depot | None = None,
        pace: StoringPace | None = None,
    ) -> tuple[BaseException | None, str | None]:
        """Compute ranges of a job; return what could not go on, and what cut it short.

        Parameters
        ----------
        job : Job
        gatherer : Gathering
            Takes what is finished.
        ranges : iterable of (int, int)
            First and last + 1 of each; on threads and without a store, all that the gatherer has.
        report, timeout
            As for `Team.work`.
        check : callable
            Called now and then; what it raises ends the work.
        store, pace : Depot and StoringPace, optional
            Where what is finished is stored as well, and how often.

        Raises
        ------
        StoreWriteError
            If something cannot be stored.
        """
        pool = self._ready_pool()
        if store is not None:
            assert pace is not None
            return compute_into_store(
                store,
                job,
                gatherer,
                ranges,
                pace=pace,
                check=check,
                pool=pool,
                n_threads=self.n_threads,
                chunk_size=self._chunk_size,
                report=report,
                timeout=timeout,
            )
        if pool is not None:
            return compute_elsewhere(
                pool,
                job,
                gatherer,
                n_threads=self.n_threads,
                chunk_size=self._chunk_size,
                report=report,
                timeout=timeout,
                ranges=ranges,
            )
        crew = job.crew(gatherer, self.n_threads, self._chunk_size)
        failure = crew.work(report, timeout)
        return failure, crew.stopped

    def _ready_pool(self) -> Pool | None:
        if self._pool is not None and self._pool.is_spent:
            self._pool.close_for_good()
            self._pool = _lasting(self._make_pool())
        return self._pool

    def close(self) -> None:
        """Give back what was made."""
        if self._pool is not None:
            self._pool.close_for_good()


def _lasting(pool: Pool | None) -> _LastingPool | None:
    return None if pool is None else _LastingPool(pool)


class _LastingPool:
    """A pool that is not closed at the end of each piece of work."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self.name, self.patience = pool.name, pool.patience
        self.is_spent = False  # its workers were asked to end

    def n_workers(self) -> int:
        return self._pool.n_workers()

    def submit(self, task: PortionTask) -> Future[PortionReport]:
        return self._pool.submit(task)

    def is_loss(self, error: BaseException) -> bool:
        return self._pool.is_loss(error)

    def renew(self) -> bool:
        return self._pool.renew()

    def end(self, run: str, futures: list[Future[PortionReport]]) -> None:
        self.is_spent = True
        self._pool.end(run, futures)

    def abandon(self, futures: list[Future[PortionReport]]) -> None:
        self.is_spent = True
        self._pool.abandon(futures)

    def close(self) -> None:
        pass

    def close_for_good(self) -> None:
        self._pool.close()


class OpenStore:
    """A store that is read without a lock, until something is to be written.

    Parameters
    ----------
    path : str or path-like
    order : Order
        The job.
    within : OpenStore, optional
        The store in whose folder this one lies; it is made, and locked, first.

    Raises
    ------
    StoreError
        If the store is of another job.
    """

    def __init__(
        self, path: str | os.PathLike[str], order: Order, within: OpenStore | None = None
    ) -> None:
        self.path, self.order, self._within = Path(path), order, within
        self.name = os.fspath(path)
        self._writer: StoreWriter | None = None
        self._pace: StoringPace | None = None
        found = stored_order(path)
        if found is not None:
            check_order(os.fspath(path), found, order)

    @property
    def writer(self) -> StoreWriter:
        """The store with its lock.

        Raises
        ------
        StoreError, StoreWriteError
            As for `StoreWriter`.
        """
        if self._writer is None:
            if self._within is not None:
                _ = self._within.writer
            self._writer = StoreWriter(self.path, self.order)
        return self._writer

    @property
    def pace(self) -> StoringPace:
        """How often something is stored."""
        if self._pace is None:
            self._pace = StoringPace(self.writer)
        return self._pace

    def is_there(self) -> bool:
        """Whether anything is stored."""
        return bool(Folder(self.path).ranges())

    def end_of(self, first: int) -> int:
        """Return where the trajectories that are stored from `first` on end."""
        stored = union(Folder(self.path).ranges())
        return next((one.last for one in stored if one.first <= first < one.last), first)

    def overlaps(self, portion: Range) -> bool:
        """Whether some of a portion is stored."""
        return any(one.overlap(portion) for one in Folder(self.path).ranges())

    def fill(self, gatherer: Gathering, taken: Sequence[Range] = ()) -> list[Range]:
        """Give what is stored to a gatherer, but what it has `taken`; return what is missing."""
        if self._writer is None and not taken:
            taken = fill_unlocked(self.path, self.order, gatherer)
            if taken and not gaps(Range(gatherer.first, gatherer.last), taken):
                return []
        return self.writer.fill(gatherer, taken)

    def what_is_there(self, gatherer: Gathering, taken: Sequence[Range]) -> list[Range]:
        """Give what is stored to a gatherer; return what is missing. Nothing is written."""
        if self._writer is not None:
            return self._writer.fill(gatherer, taken)
        taken = fill_unlocked(self.path, self.order, gatherer)
        return gaps(Range(gatherer.first, gatherer.last), taken)

    def n_stored(self, last: int) -> int:
        """Return how many of the first `last` trajectories are stored."""
        return 0 if self._writer is None else self._writer.n_stored(0, last)

    def flush(self) -> None:
        """Return when all is written that was put.

        Raises
        ------
        StoreWriteError
            If something could not be written.
        """
        if self._writer is not None:
            self._writer.flush()

    def ended(self) -> StoreWriteError | None:
        """Return what could not be written, when all is that can be."""
        try:
            self.flush()
        except StoreWriteError as error:
            return error
        return None

    def close(self) -> None:
        """Give up the lock."""
        if self._writer is not None:
            self._writer.close()
