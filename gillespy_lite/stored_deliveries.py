"""A job into a store that is done elsewhere: by processes, or on a cluster."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from typing import Protocol

import numpy as np

from .executors import compute_elsewhere
from .gathering import InPlace, Portion, Statistics
from .portion_jobs import Job
from .stores.ranges import Range
from .worker_pools import Pool

__all__ = ["Depot", "deliver_into_store"]

# Most of kept rows in a file, as they are in memory.
_MOST_BYTES = 2**26


class Depot(Protocol):
    """Takes finished portions; see `StoreWriter`."""

    @property
    def seconds_per_portion(self) -> float:
        """Seconds of the processor that the last portion took to write."""

    def put(self, first: int, last: int, portion: Portion) -> None:
        """Store first, ..., last - 1; all must be finished."""

    def check(self) -> None:
        """Raise the error of a portion that could not be written."""


def deliver_into_store(
    pool: Pool,
    job: Job,
    gatherer: Statistics | InPlace,
    store: Depot,
    holes: Iterable[tuple[int, int]],
    *,
    seconds: Callable[[], float],
    n_threads: int,
    chunk_size: int | None,
    report: Callable[[float], None],
    timeout: float,
) -> tuple[BaseException | None, str | None]:
    """Gather what is missing in a store, and store it.

    Parameters
    ----------
    seconds : callable
        Says how often something is to be stored.
    others
        As for `compute_elsewhere`; `holes` are its ranges.
    """
    deliveries = _Deliveries(job, gatherer, store, seconds)
    done = gatherer.n_complete()
    try:
        return compute_elsewhere(
            pool,
            job,
            gatherer,
            n_threads=n_threads,
            chunk_size=chunk_size,
            report=lambda n: report(done + n),
            timeout=timeout,
            ranges=holes,
            deliver=deliveries.take,
        )
    finally:
        deliveries.store_all()


class _Deliveries:
    """Portions that came, put into the store together with their neighbours."""

    def __init__(
        self,
        job: Job,
        gatherer: Statistics | InPlace,
        store: Depot,
        seconds: Callable[[], float],
    ) -> None:
        self._gatherer, self._store, self._seconds = gatherer, store, seconds
        self._most_rows = max(1, _MOST_BYTES // max(1, job.row_bytes))
        # Portions that wait, by their first number; of kept rows the arrays are in place.
        self._waiting: dict[int, tuple[int, Portion]] = {}
        self._stored_at = time.monotonic()

    def take(self, first: int, last: int, portion: Portion) -> None:
        """Give a portion to the gatherer, and to the store if it is time to."""
        self._gatherer.add(portion)
        if isinstance(self._gatherer, Statistics):
            # One that was cut short cannot be stored: what is missing in it cannot be added later
            # without changing the order of the sums.
            if int(portion["sizes"].sum()) == last - first:
                self._waiting[first] = (last, portion)
        else:
            done = self._gatherer.finished(first, last)
            edges = np.flatnonzero(np.diff(done, prepend=False, append=False)) + first
            self._waiting |= {start: (end, {}) for start, end in edges.reshape(-1, 2).tolist()}
        if time.monotonic() - self._stored_at >= self._seconds():
            self.store_all()

    def store_all(self) -> None:
        """Put what waits into the store."""
        waiting, self._waiting = sorted(self._waiting.items()), {}
        self._stored_at = time.monotonic()
        unit, joined = self._gatherer.unit, list[tuple[Range, list[Portion]]]()
        for first, (last, portion) in waiting:
            if joined and joined[-1][0].last == first:
                before, portions = joined[-1]
                # Parts of blocks of statistics stay by themselves.
                if all(edge % unit == 0 for edge in (before.first, first, last)):
                    joined[-1] = (Range(before.first, last), [*portions, portion])
                    continue
            joined.append((Range(first, last), [portion]))
        for whole, portions in joined:
            if not isinstance(self._gatherer, Statistics):
                for start in range(whole.first, whole.last, self._most_rows):
                    end = min(whole.last, start + self._most_rows)
                    self._store.put(start, end, self._gatherer.part(start, end).portion())
            elif len(portions) == 1:
                self._store.put(whole.first, whole.last, portions[0])
            else:
                part = self._gatherer.part(whole.first, whole.last)
                for portion in portions:
                    part.add(portion)
                self._store.put(whole.first, whole.last, part.portion())
