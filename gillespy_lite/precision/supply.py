"""Where the trajectories of a precise run come from: a store, threads, workers.

A supply gives the values that the looks need, in the order of the trajectories, and at the end the
result of as many trajectories as were asked for. What was computed beyond, so that no worker had to
wait for a look, is not in the result.
"""

from __future__ import annotations

import contextlib
import math
import time
import warnings
from collections.abc import Callable, Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from ..errors import (
    DamagedFileError,
    NotEnoughMemoryError,
    StoreError,
    StoreWarning,
    StoreWriteError,
)
from ..gathering import Gathering, Paths, Portion, Statistics, cut_short_by
from ..portion_jobs import Job, TrajectoryJob
from ..probing import Columns, Probe, ProbedStatistics, ProbedValues, StatisticsInParts, values_in
from ..probing_jobs import ProbedJob, ValueJob, ValueOrder
from ..results import Ensemble, EnsembleStatistics
from ..run_orders import RunOrder
from ..run_plan import RunPlan
from ..stored_deliveries import Depot
from ..stores.folder import Folder
from ..stores.ranges import Range, rounded_up, union
from ..stores.writing import StoreWriter
from ..workplaces import OpenStore, Workplace

__all__ = ["Halt", "KeptSupply", "PilotSupply", "ReducedSupply", "Supply", "kept_columns"]

FloatArray = NDArray[np.float64]
Tell = Callable[[float], None]

# Computed in one go beyond what is asked for: blocks for each worker, and trajectories in all.
_BLOCKS_AHEAD, _MOST_AHEAD = 4, 65_536
# Read in one go from a store: bytes of kept trajectories, as they are in memory.
_BYTES_READ = 2**26


class Halt(Exception):  # noqa: N818 - it is no error
    """The run ends here; `stopped` says why."""

    def __init__(self, stopped: str, failure: BaseException | None = None) -> None:
        super().__init__(stopped)
        self.stopped, self.failure = stopped, failure


class Supply:
    """Values of trajectories in order, computed some way ahead.

    Parameters
    ----------
    plan : RunPlan
    columns : tuple of (str, int)
        What is looked at.
    place : Workplace
    check : callable
        Called now and then; what it raises ends the run.

    Attributes
    ----------
    reach : int
        Of the result: trajectories, of which some may be missing where it was cut short.
    trouble_at_the_end : Halt or None
        What went wrong with the result.
    """

    _unit = 1  # trajectories that a worker takes at least

    def __init__(
        self, plan: RunPlan, columns: Columns, place: Workplace, check: Callable[[], None]
    ) -> None:
        self._plan, self._place, self._check = plan, place, check
        self.columns, self._probe = columns, Probe(plan, columns)
        self._ahead = np.empty((0, len(columns)))  # values that were not asked for yet
        self._given = 0
        self._trouble: Halt | None = None  # in what comes behind them
        self._was_asked_for = True
        self.reach = 0
        self.trouble_at_the_end: Halt | None = None

    def values(self, last: int, edges: Sequence[int], deadline: float, tell: Tell) -> FloatArray:
        """Return the values from where the last ones ended to trajectory `last` - 1.

        Parameters
        ----------
        last : int
        edges : sequence of int
            Where the run may end, in order; it is worth to compute ahead as far as the last one.
        deadline : float
            Of `time.monotonic`.
        tell : callable
            Told how many trajectories are finished.

        Raises
        ------
        Halt
            If there are not so many.
        NotEnoughMemoryError
            If there is no room for the first ones.
        """
        while (first := self._given + len(self._ahead)) < last:
            trouble, end = self._trouble, self._end(first, last, edges)
            if trouble is not None:
                if trouble.stopped != "error" or self._was_asked_for:
                    raise trouble
                # It came from trajectories ahead of those that are needed.
                self._forget_from(first)
                end = last
            self._trouble, self._was_asked_for = None, end == last
            cuts = [first, *(edge for edge in edges if first < edge < end), end]

            def report(done: float, first: int = first) -> None:
                tell(first + done)

            try:
                found = self._round(cuts, deadline, report)
            except NotEnoughMemoryError as error:
                if first == 0 and end == last:
                    raise
                self._trouble, found = Halt("error", error), self._ahead[:0]
                if end == last:
                    raise Halt("memory") from None
            self._ahead = np.concatenate([self._ahead, found])
        n = last - self._given
        values, self._ahead = self._ahead[:n], self._ahead[n:]
        self._given = last
        return values

    def _end(self, first: int, last: int, edges: Sequence[int]) -> int:
        """Return how far to compute in one go: beyond `last` where that keeps workers busy."""
        stored = self._stored_until(first)
        if stored > last:
            return stored
        n_workers = self._place.n_workers
        if n_workers == 1:
            return last
        near = [edge for edge in edges if last <= edge <= first + _MOST_AHEAD]
        wanted = first + _BLOCKS_AHEAD * n_workers * self._unit
        return next((edge for edge in near if edge >= wanted), max([last, *near]))

    def _stored_until(self, first: int) -> int:
        """Return to where trajectories from `first` on can be read in one go."""
        return first

    def _round(self, cuts: Sequence[int], deadline: float, tell: Tell) -> FloatArray:
        """Return the values of trajectories cuts[0], ..., cuts[-1] - 1, as far as they are there.

        Where some are missing, `_trouble` says why.
        """
        raise NotImplementedError

    def _forget_from(self, first: int) -> None:
        """Forget what was computed of trajectories from `first` on."""

    def close(self) -> None:
        """Give up what is only needed while it supplies."""

    def _compute(
        self,
        job: Job,
        gatherer: Gathering | StatisticsInParts,
        ranges: Sequence[tuple[int, int]],
        deadline: float,
        tell: Tell,
        store: OpenStore | None = None,
        depot: Depot | None = None,
    ) -> None:
        """Compute ranges of a job, into a store where one is given; note what went wrong."""
        try:
            failure, stopped = self._place.compute(
                job,
                gatherer,
                ranges,
                report=tell,
                timeout=deadline - time.monotonic(),
                check=self._check,
                store=None if store is None else depot or store.writer,
                pace=None if store is None else store.pace,
            )
        except StoreWriteError as error:
            failure, stopped = error, "error"
        stopped = cut_short_by(stopped, gatherer)
        if failure is not None or stopped is not None:
            self._trouble = Halt(stopped or "error", failure)


class PilotSupply(Supply):
    """Nothing but values; in the folder of a store these are kept."""

    def __init__(
        self,
        plan: RunPlan,
        columns: Columns,
        place: Workplace,
        check: Callable[[], None],
        within: OpenStore | None,
    ) -> None:
        super().__init__(plan, columns, place, check)
        self._job = ValueJob(plan, columns)
        self._store = None if within is None else _value_store(within, self._job.order)

    def _round(self, cuts: Sequence[int], deadline: float, tell: Tell) -> FloatArray:
        found = ProbedValues(self._plan, self._probe, cuts[0], cuts[-1])
        holes = [Range(cuts[0], cuts[-1])] if self._store is None else self._store.fill(found)
        if holes:
            self._compute(self._job, found, holes, deadline, tell, self._store)
        return found.beginning()

    def close(self) -> None:
        """Give up the store."""
        if self._store is not None:
            self._store.close()


class KeptSupply(Supply):
    """Trajectories that are kept: their values are worked out from what is recorded."""

    def __init__(
        self,
        plan: RunPlan,
        columns: Columns,
        place: Workplace,
        check: Callable[[], None],
        store: OpenStore | None,
    ) -> None:
        super().__init__(plan, columns, place, check)
        self._job, self._store = TrajectoryJob(plan, None), store
        self._rounds: list[Paths] = []

    def _stored_until(self, first: int) -> int:
        most = first + max(1, _BYTES_READ // self._job.row_bytes)
        return first if self._store is None else min(most, self._store.end_of(first))

    def _round(self, cuts: Sequence[int], deadline: float, tell: Tell) -> FloatArray:
        paths = self._paths(cuts[0], cuts[-1])
        self._rounds.append(paths)
        holes = [Range(cuts[0], cuts[-1])] if self._store is None else self._store.fill(paths)
        if holes:
            self._compute(self._job, paths, holes, deadline, tell, self._store)
        done = paths.finished(paths.first, paths.last)
        n = done.size if done.all() else int(np.argmin(done))
        return self._probe.values(paths.part(paths.first, paths.first + n).portion())

    def _paths(self, first: int, last: int) -> Paths:
        return Paths(self._plan, first, last)

    def _forget_from(self, first: int) -> None:
        last = self._rounds.pop()
        if last.first < first:
            self._rounds.append(last.part(last.first, first))

    def result(self, stopped: str | None, is_cut_short: bool) -> Ensemble:
        """Return what was asked for, and all that is finished where that was cut short."""
        rounds, self._rounds = self._rounds, []
        self.reach = rounds[-1].last if is_cut_short and rounds else self._given
        paths = Paths(self._plan, 0, self.reach, self._plan.output(self.reach))
        while rounds:
            # What was taken can go: memory for one more portion, not for twice as many.
            one = rounds.pop(0)
            if one.first < self.reach:
                paths.add(one.part(one.first, min(one.last, self.reach)).portion())
        return paths.result(stopped)


class ReducedSupply(Supply):
    """Trajectories of which statistics are kept, and meanwhile the values that are looked at."""

    def __init__(
        self,
        plan: RunPlan,
        columns: Columns,
        place: Workplace,
        check: Callable[[], None],
        store: OpenStore | None,
        n_bins: int,
    ) -> None:
        super().__init__(plan, columns, place, check)
        self._n_bins, self._store = n_bins, store
        self._job = ProbedJob(plan, n_bins, columns)
        self._value_store: OpenStore | None = None
        self._has_no_values = False
        if store is not None:
            self._value_store = _value_store(store, ValueOrder(RunOrder.of(plan, None), columns))
            self._has_no_values = not self._value_store.is_there() and store.is_there()
        self._unit = self._part(0, 1).unit
        self._settled: Statistics | None = None
        self._ranges: list[Range] = []  # of it
        # Behind that: statistics that can still be left out.
        self._parts: list[ProbedStatistics] = []

    def _stored_until(self, first: int) -> int:
        values = self._value_store
        return first if values is None else min(first + _MOST_AHEAD, values.end_of(first))

    def _part(self, first: int, last: int) -> ProbedStatistics:
        return ProbedStatistics(
            self._plan,
            self._probe,
            first,
            last,
            n_threads=self._place.n_threads,
            n_bins=self._n_bins,
        )

    def _round(self, cuts: Sequence[int], deadline: float, tell: Tell) -> FloatArray:
        if self._store is not None:
            return self._stored_round(cuts[0], cuts[-1], deadline, tell)
        self._settle()
        parts = [self._part(*both) for both in pairwise(cuts)]
        self._parts += parts
        ranges = [(one.first, one.last) for one in parts]
        self._compute(self._job, StatisticsInParts(parts), ranges, deadline, tell)
        found = []
        for one in parts:
            if one.n_complete() < one.last - one.first:
                break
            found.append(one.probed.values)
        return np.concatenate([self._ahead[:0], *found])

    def _stored_round(self, first: int, last: int, deadline: float, tell: Tell) -> FloatArray:
        store, values = self._store, self._value_store
        assert store is not None
        assert values is not None
        self._settle()
        found = ProbedValues(self._plan, self._probe, first, last)
        for hole in values.fill(found):
            self._warn_without_values()
            # Whole blocks of statistics; a part of one only where the run may end.
            start = hole.first // self._unit * self._unit
            end = hole.last if hole.last == last else rounded_up(hole.last, self._unit)
            part = self._part(start, end)
            if not store.overlaps(Range(start, end)):
                # Else their statistics are taken from the store.
                self._parts.append(part)
            depot = _Both(store.writer, values.writer, Range(start, end))
            self._compute(self._job, part, [Range(start, end)], deadline, tell, store, depot)
            found.add(part.probed.portion())
            if self._trouble is not None:
                break
            try:
                store.flush()
                values.flush()
            except StoreWriteError as error:
                self._trouble = Halt("error", error)
                break
        return found.beginning()

    def _warn_without_values(self) -> None:
        if self._has_no_values and self._store is not None:
            self._has_no_values = False
            what = ", ".join(sorted({text for text, _ in self.columns}))
            warnings.warn(
                f"the store {self._store.name!r} has statistics of trajectories, but not the "
                f"values of {what} that until= looks at; these trajectories are run again, as "
                "many as are needed, and their values stored",
                StoreWarning,
                stacklevel=2,
            )

    def _settle(self) -> None:
        """Put together what the run cannot end before."""
        while self._parts and self._parts[0].last <= self._given:
            part = self._parts.pop(0)
            whole = self._empty(part.last)
            if self._settled is not None:
                whole.add(self._settled.portion())
            whole.add(part.portion())
            self._settled = whole
            self._ranges.append(Range(part.first, part.last))

    def _empty(self, n: int) -> Statistics:
        n_threads = 1 if self._store is None else self._place.n_threads
        return Statistics(self._plan, 0, n, n_threads=n_threads, n_bins=self._n_bins)

    def _forget_from(self, first: int) -> None:
        self._parts = [one for one in self._parts if one.last <= first]

    def result(self, stopped: str | None, is_cut_short: bool) -> EnsembleStatistics:
        """Return what was asked for, and all that is finished where that was cut short."""
        self._settle()
        left = self._parts if is_cut_short else []
        self.reach = max([self._given, *(one.last for one in left)])
        if self._store is not None:
            return self._from_store(is_cut_short).result(stopped)
        whole = self._empty(self.reach)
        for one in [*([self._settled] if self._settled else []), *left]:
            whole.add(one.portion())
        return whole.result(stopped)

    def _from_store(self, is_cut_short: bool) -> Statistics:
        """Return the statistics of the result's trajectories: what is not here, from the store."""
        assert self._store is not None
        whole = self._empty(self.reach)
        if self._settled is not None:
            whole.add(self._settled.portion())
        if is_cut_short:
            with contextlib.suppress(DamagedFileError, StoreError, OSError):
                holes = self._store.what_is_there(whole, self._ranges)
                for one in self._parts:
                    if any(hole.holds(Range(one.first, one.last)) for hole in holes):
                        whole.add(one.portion())
        elif holes := self._store.fill(whole, self._ranges):
            # Where a store was filled for another number, some blocks have to be run again.
            job = TrajectoryJob(self._plan, self._n_bins)
            self._compute(job, whole, holes, math.inf, lambda done: None, self._store)
            self.trouble_at_the_end = self._trouble
        return whole

    def close(self) -> None:
        """Give up the store of values."""
        if self._value_store is not None:
            self._value_store.close()


class _Both:
    """Two stores that a portion goes to: its statistics to one, its values to the other."""

    def __init__(self, statistics: StoreWriter, values: StoreWriter, whole: Range) -> None:
        self._statistics, self._values = statistics, values
        # Of the values, those that were not stored before.
        self._lacking = values.missing(*whole)

    @property
    def seconds_per_portion(self) -> float:
        return self._statistics.seconds_per_portion + self._values.seconds_per_portion

    def put(self, first: int, last: int, portion: Portion) -> None:
        values = values_in(portion)
        for hole in self._lacking:
            if both := hole.overlap(Range(first, last)):
                rows = slice(both.first - first, both.last - first)
                self._values.put(*both, {name: array[rows] for name, array in values.items()})
        names = portion.keys() - {"probed", "probed_indices"}
        self._statistics.put(first, last, {name: portion[name] for name in names})

    def check(self) -> None:
        self._statistics.check()
        self._values.check()


def _value_store(within: OpenStore, order: ValueOrder) -> OpenStore:
    return OpenStore(Folder(within.path).values_path / order.digest[:16], order, within)


def kept_columns(within: OpenStore, run: RunOrder, wanted: Columns) -> Columns:
    """Return the columns whose values a store has: all that are wanted, and perhaps others.

    Where it has none, those that are wanted.
    """
    found: list[tuple[int, Columns]] = []
    for folder in Folder(within.path).values():
        with contextlib.suppress(DamagedFileError, StoreError, OSError):
            order = folder.read_manifest().order
            if (
                isinstance(order, ValueOrder)
                and order.run == run
                and set(wanted) <= set(order.columns)
            ):
                n = sum(one.n for one in union(folder.ranges()))
                found.append((n, order.columns))
    return max(found, default=(0, wanted), key=lambda one: one[0])[1]
