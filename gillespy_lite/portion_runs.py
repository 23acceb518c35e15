"""A job done, here or elsewhere; with a store, what is missing there is computed, and stored.

Nothing waits for the store: threads go on from trajectory to trajectory as they do without one, and
what is finished is collected behind them every now and then.
"""

from __future__ import annotations

import math
import os
import signal
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from types import FrameType
from typing import Any

import numpy as np

from .errors import StoreWriteError
from .executors import compute_elsewhere
from .gathering import InPlace, Statistics, cut_short_by, part_of
from .kernels.arrays import Output
from .portion_jobs import Job, Team
from .stored_deliveries import Depot, deliver_into_store
from .stores.ranges import Range, gaps, rounded_up
from .stores.writing import StoreWriter, fill_unlocked
from .worker_pools import Pool

__all__ = [
    "PortionsRun",
    "StoringPace",
    "compute_into_store",
    "run_into_store",
    "run_portions",
    "terminations_as_interrupts",
]

# A portion is what was finished in about so many seconds: little enough to be lost without regret,
# enough to be worth a file. It grows with the time that the run has taken so far.
_LEAST_SECONDS, _MOST_SECONDS = 0.25, 5.0
_SHARE_OF_THE_TIME = 1 / 30
# Of statistics, a portion is the larger the more it costs to write; a thread hands in what took it
# so many seconds in lanes at most, or one block.
_WORK_PER_WRITING = 30
_SECONDS_IN_LANES = 30.0
# Most of kept rows in a file, as they are in memory.
_MOST_BYTES = 2**26
# After so many seconds also finished rows behind one that takes long are stored.
_PATIENCE = 10.0
_ROWS_AT_A_TIME = 2**20


@dataclass(frozen=True)
class PortionsRun:
    """What became of a job.

    Attributes
    ----------
    stopped : str or None
        What cut it short: "timeout", "interrupt" or "error".
    failure : SimulationError, StoreWriteError or another error, or None
        What could not go on.
    n_stored : int
        How many of the job's trajectories, or sets, the store has.
    signal : str
        What interrupted it.
    """

    stopped: str | None
    failure: BaseException | None
    n_stored: int = 0
    signal: str = "interrupted"


def run_portions(
    job: Job,
    gatherer: Statistics | InPlace,
    *,
    store: str | os.PathLike[str] | None = None,
    pool: Pool | None = None,
    n_threads: int,
    chunk_size: int | None,
    report: Callable[[float], None],
    timeout: float,
) -> PortionsRun:
    """Do a job on threads of this process or on a pool, into a store or without.

    Parameters
    ----------
    store : str or path-like, optional
        Folder of the store.
    others
        As for `run_into_store`, which says what is raised.
    """
    how: dict[str, Any] = {
        "n_threads": n_threads,
        "chunk_size": chunk_size,
        "report": report,
        "timeout": timeout,
    }
    if store is not None:
        run = run_into_store(store, job, gatherer, pool=pool, **how)
    elif pool is not None:
        failure, stopped = compute_elsewhere(pool, job, gatherer, **how)
        run = PortionsRun(stopped, failure)
    else:
        crew = job.crew(gatherer, n_threads, chunk_size)
        failure = crew.work(report, timeout)
        run = PortionsRun(crew.stopped, failure)
    return replace(run, stopped=cut_short_by(run.stopped, gatherer))


def run_into_store(
    path: str | os.PathLike[str],
    job: Job,
    gatherer: Statistics | InPlace,
    *,
    pool: Pool | None = None,
    n_threads: int,
    chunk_size: int | None,
    report: Callable[[float], None],
    timeout: float,
) -> PortionsRun:
    """Gather a job from its store and from what is computed; that is stored, too.

    Parameters
    ----------
    path : str or path-like
        Folder of the store.
    job : Job
    gatherer : Statistics or InPlace
        Of all of the job.
    pool : Pool, optional
        What computes; by default threads of this process.
    n_threads, chunk_size, report, timeout
        As for `Job.crew` and `Team.work`; threads of each task of a pool.

    Raises
    ------
    StoreError, OSError
        If the store is of another job, is being written to, or cannot be read or written to at all.
    """
    order = job.order
    taken = fill_unlocked(path, order, gatherer)
    if taken and not gaps(Range(gatherer.first, gatherer.last), taken):
        return PortionsRun(None, None, gatherer.n_complete())
    with terminations_as_interrupts() as terminated:
        stopped: str | None = None
        failure: BaseException | None = None
        with StoreWriter(path, order) as store:
            try:
                holes = store.fill(gatherer, taken)
                failure, stopped = compute_into_store(
                    store,
                    job,
                    gatherer,
                    holes,
                    pace=StoringPace(store),
                    check=terminated.raise_once,
                    pool=pool,
                    n_threads=n_threads,
                    chunk_size=chunk_size,
                    report=report,
                    timeout=timeout,
                )
                store.flush()
            except KeyboardInterrupt:
                stopped = "interrupt"
            except StoreWriteError as error:
                stopped, failure = "error", error
        n_stored = store.n_stored(gatherer.first, gatherer.last)
        if stopped is None and failure is None:
            # What was put after an interruption may not have been written.
            try:
                store.check()
            except StoreWriteError as error:
                stopped, failure = "error", error
    return PortionsRun(stopped, failure, n_stored, terminated.word)


def compute_into_store(
    store: Depot,
    job: Job,
    gatherer: Statistics | InPlace,
    holes: Iterable[tuple[int, int]],
    *,
    pace: StoringPace,
    check: Callable[[], None],
    pool: Pool | None,
    n_threads: int,
    chunk_size: int | None,
    report: Callable[[float], None],
    timeout: float,
) -> tuple[BaseException | None, str | None]:
    """Compute and store what is missing; return what could not go on, and what cut it short.

    Parameters
    ----------
    store : Depot
        Takes what is finished.
    holes : iterable of (int, int)
        What is to be computed of the gatherer's, first and last + 1.
    pace : StoringPace
        Says how often something is stored.
    check : callable
        Called now and then; what it raises ends the work.
    others
        As for `run_into_store`.

    Raises
    ------
    StoreWriteError
        If something cannot be stored.
    """
    job.load_kernel()
    deadline = time.monotonic() + timeout
    if pool is not None:

        def tell(n: float) -> None:
            check()
            store.check()
            report(n)

        return deliver_into_store(
            pool,
            job,
            gatherer,
            store,
            holes,
            seconds=pace.seconds_of_statistics if job.order.unit else pace.seconds,
            n_threads=n_threads,
            chunk_size=chunk_size,
            report=tell,
            timeout=timeout,
        )
    failure: BaseException | None = None
    for hole in holes:
        done = gatherer.n_complete()
        collector = _collector(job, gatherer, Range(*hole), store, pace, n_threads)
        crew = job.crew(collector.gatherer, n_threads, chunk_size)

        def watch(crew: Team = crew, collector: _Collector = collector) -> None:
            check()
            store.check()
            collector.collect(crew)

        crew.watch = watch
        try:
            failure = crew.work(
                lambda n, done=done: report(done + n),  # type: ignore[misc]
                deadline - time.monotonic(),
            )
        finally:
            collector.collect_all()
        if crew.stopped is not None:
            return failure, crew.stopped
    return None, None


class StoringPace:
    """Says how much time a portion is to take."""

    def __init__(self, store: Depot) -> None:
        self._store, self._started = store, time.monotonic()
        # Of statistics: blocks of a portion, and trajectories in lanes before they are taken; until
        # it is known how long they take.
        self.n_blocks, self.n_in_lanes = 1, 0

    def seconds(self) -> float:
        """Return it of kept rows, which cost nothing but their bytes."""
        share = (time.monotonic() - self._started) * _SHARE_OF_THE_TIME
        return max(_LEAST_SECONDS, min(_MOST_SECONDS, share))

    def seconds_of_statistics(self) -> float:
        """Return it of statistics, each portion of which takes its time to write."""
        return max(self.seconds(), _WORK_PER_WRITING * self._store.seconds_per_portion)


class _Collector:
    """Stores what is finished of a range while the rest is computed."""

    gatherer: Any  # of the range, as the job's crew needs it

    def collect(self, crew: Team) -> None:
        """Store what is finished, if it is time to."""
        raise NotImplementedError

    def collect_all(self) -> None:
        """Store what is finished, when nobody is at work any more."""
        raise NotImplementedError


def _collector(
    job: Job,
    whole: Statistics | InPlace,
    hole: Range,
    store: Depot,
    pace: StoringPace,
    n_threads: int,
) -> _Collector:
    if not isinstance(whole, Statistics):
        return _RowCollector(job, whole.part(*hole), store, pace)
    return _StatisticsCollector(whole, hole, store, pace, n_threads)


class _RowCollector(_Collector):
    """Kept rows: those that are finished stay where they are, and are read from there."""

    def __init__(self, job: Job, rows: InPlace, store: Depot, pace: StoringPace) -> None:
        self.gatherer = self._rows = rows
        self._store, self._pace = store, pace
        self._most_rows = max(1, _MOST_BYTES // max(1, job.row_bytes))
        self._low = rows.first  # all before are stored
        self._is_stored = np.zeros(rows.last - rows.first, dtype=bool)
        self._pending: list[Range] = []
        self._mark: list[float] = []
        self._collected_at = time.monotonic()

    def collect(self, crew: Team) -> None:
        waited = time.monotonic() - self._collected_at
        if self._pending:
            if crew.have_returned_since(self._mark):
                self._put(self._pending)
        elif waited >= self._pace.seconds():
            self._pending = self._beginning()
            if not self._pending and waited >= _PATIENCE:
                self._pending = self._all_finished()
            self._mark = crew.returns()

    def collect_all(self) -> None:
        self._put(self._all_finished())

    def _put(self, ranges: list[Range]) -> None:
        for first, last in ranges:
            for start in range(first, last, self._most_rows):
                end = min(last, start + self._most_rows)
                self._store.put(start, end, self._rows.part(start, end).portion())
                self._is_stored[start - self._rows.first : end - self._rows.first] = True
        self._pending, self._collected_at = [], time.monotonic()

    def _beginning(self) -> list[Range]:
        """Return what is finished from the first row on that is not stored."""
        offset = self._rows.first
        while self._low < self._rows.last:
            here = self._is_stored[self._low - offset :][:_ROWS_AT_A_TIME]
            if not here.all():
                self._low += int(np.argmin(here))
                break
            self._low += here.size
        end = self._low
        while end < self._rows.last:
            stop = min(self._rows.last, end + _ROWS_AT_A_TIME)
            done = self._rows.finished(end, stop) & ~self._is_stored[end - offset : stop - offset]
            if not done.all():
                end += int(np.argmin(done))
                break
            end = stop
        return [Range(self._low, end)] if end > self._low else []

    def _all_finished(self) -> list[Range]:
        """Return all that is finished and not stored."""
        found = []
        first, last, offset = self._low, self._rows.last, self._rows.first
        for start in range(first, last, _ROWS_AT_A_TIME):
            stop = min(last, start + _ROWS_AT_A_TIME)
            done = self._rows.finished(start, stop)
            done &= ~self._is_stored[start - offset : stop - offset]
            edges = np.flatnonzero(np.diff(done, prepend=False, append=False)) + start
            found += [Range(a, b) for a, b in edges.reshape(-1, 2).tolist()]
        return found


class _StatisticsCollector(_Collector):
    """Statistics: blocks go to the portion that their trajectories belong to."""

    def __init__(
        self,
        whole: Statistics,
        hole: Range,
        store: Depot,
        pace: StoringPace,
        n_threads: int,
    ) -> None:
        self._whole, self._store = whole, store
        self.gatherer = self._portions = _Portions(whole, hole, pace, n_threads)

    def collect(self, crew: Team) -> None:
        self.collect_finished()

    def collect_finished(self) -> None:
        error: StoreWriteError | None = None
        for part in self._portions.finished():
            arrays = part.portion()
            self._whole.add(arrays)
            try:
                self._store.put(part.first, part.last, arrays)
            except StoreWriteError as refusal:
                error = refusal
        if error is not None:
            raise error

    def collect_all(self) -> None:
        try:
            self.collect_finished()
        finally:
            # A portion that was cut short belongs to the result, but cannot be stored: what is
            # missing in it cannot be added later without changing the order of the sums.
            for part in self._portions.rest():
                self._whole.add(part.portion())


class _Portions:
    """A gatherer of statistics that shares them out among portions, made as they are needed."""

    is_in_place = False

    def __init__(self, whole: Statistics, hole: Range, pace: StoringPace, n_threads: int) -> None:
        self.first, self.last = hole
        self.unit = whole.unit
        self._whole, self._pace = whole, pace
        self._lock = threading.Lock()
        self._started, self._n_taken = time.monotonic(), 0
        self._open: list[Statistics] = []
        self._next = self.first
        self._n_threads = n_threads
        self._n_blocks = pace.n_blocks  # of the next portion
        # Refused now where memory would not do, not when the run is under way.
        self._add_portion()

    def rows(self, first: int, last: int) -> Output:
        return self._whole.rows(first, last)

    def rows_at_once(self, n: int, n_threads: int) -> int:
        if self._n_taken:
            spent = (time.monotonic() - self._started) * self._n_threads
            self._pace.n_in_lanes = int(_SECONDS_IN_LANES * self._n_taken / max(1e-3, spent))
        rows = self.unit * max(1, self._pace.n_in_lanes // self.unit)
        return min(rows, self._whole.rows_at_once(n, n_threads))

    def take(self, worker: int, first: int, output: Output) -> None:
        last = first + output.outcome.size
        with self._lock:
            while self._next < last:
                self._add_portion()
            self._n_taken += last - first
            parts = [part for part in self._open if part.first < last and first < part.last]
        for part in parts:
            start, end = max(first, part.first), min(last, part.last)
            part.take(worker, start, part_of(output, start - first, end - first))

    def _add_portion(self) -> None:
        first, unit = self._next, self.unit
        if self._n_taken:
            rate = self._n_taken / max(1e-3, time.monotonic() - self._started)
            blocks = math.ceil(rate * self._pace.seconds_of_statistics() / unit)
            self._n_blocks = self._pace.n_blocks = max(1, min(4 * self._n_blocks, blocks))
        start, end = rounded_up(first, unit), self.last // unit * unit
        # Parts of blocks at the ends stay by themselves.
        if first < start:
            last = min(start, self.last)
        else:
            last = min(first + self._n_blocks * unit, end) if first < end else self.last
        self._open.append(self._whole.part(first, last))
        self._next = last

    def finished(self) -> Iterator[Statistics]:
        """Give the portions that are finished, and forget them."""
        with self._lock:
            ready = [part for part in self._open if part.n_complete() == part.last - part.first]
            self._open = [part for part in self._open if part not in ready]
        yield from ready

    def rest(self) -> list[Statistics]:
        """Return the portions that were not finished."""
        return [part for part in self._open if part.n_complete()]

    def n_complete(self) -> int:
        return self._whole.n_complete() + sum(part.n_complete() for part in self._open)


class _Terminations:
    """Remembers that the process was told to end."""

    def __init__(self) -> None:
        self.word = "interrupted"
        self._waits = False

    def handle(self, number: int, frame: FrameType | None) -> None:
        self.word = f"told to end by {signal.Signals(number).name}"
        self._waits = True
        raise KeyboardInterrupt

    def raise_once(self) -> None:
        """Raise what was lost, as happens while a kernel is compiled."""
        if self._waits:
            self._waits = False
            raise KeyboardInterrupt


@contextmanager
def terminations_as_interrupts() -> Iterator[_Terminations]:
    """Let SIGTERM stop a run like Ctrl-C, as schedulers send it some time before they kill.

    Only in the main thread, and where the program has no handler of its own; what was there before
    is put back.
    """
    found = _Terminations()
    is_main = threading.current_thread() is threading.main_thread()
    if not is_main or signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL:
        yield found
        return
    signal.signal(signal.SIGTERM, found.handle)
    try:
        yield found
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
