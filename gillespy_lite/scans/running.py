"""The threads that work through the sets of a scan.

Where a network runs in lanes, a thread is given many sets at a time, and its lanes take rows of all
of them from one counter, so they stand idle at the end of such a piece only, not of every set. All
else runs set by set, each as an ordinary ensemble of one thread, or, where a set is large, of all.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from dataclasses import replace
from typing import Any

import numpy as np

from ..crews import Crew
from ..dsl import parse_expression
from ..engines import Engine
from ..errors import NotEnoughMemoryError, SimulationError
from ..gathering import Gatherer, Paths, Statistics, part_of
from ..jump_compilation import compile_jumps
from ..kernels.arrays import PAIR, Output
from ..kernels.lane_leaps import LeapNetwork
from ..kernels.lanes import LARGEST_LANE_COUNT, LEFT_OVER, N_FINISHED, LaneNetwork
from ..kernels.walking import ALL_DONE, BUDGET_SPENT
from ..lane_compilation import compile_lanes, compile_leap_lanes
from ..network import Network
from ..pace import Pace
from ..randomness import entropies_of_sets, entropy_of_words, stream_key, stream_keys
from ..reaction_text import NOTHING_VARIES, Varying
from ..run_plan import RunPlan
from ..specialisation import SpecialisedKernel, specialised_kernel, specialised_lanes
from .numbers import SetArrays, SetNumbers, compiled_set
from .points import ScanPoints
from .storing import SetPaths, SetStore

__all__ = ["ScanPlan", "SetCrew"]

# Bytes of trajectories that wait to be reduced: what stays in a processor's cache.
_BUFFER = 4 * 2**20
_LARGEST_BUFFER = 32 * 2**20
# A piece has at least so many trajectories, of which 32 are at work at a time.
_FEWEST_ROWS = 2048


class ScanPlan:
    """What the sets of a scan have in common, and what each of them is.

    Parameters
    ----------
    plan : RunPlan
        Of one of the sets.
    network : Network
        The one that the sets are relatives of.
    points : ScanPoints
        All sets of the scan, or some.
    n : int
        Trajectories of a set.
    common : bool
        Whether all sets have the same random numbers.
    varying : Varying, optional
        Which numbers are not the same in all sets, where `points` are but some of them, known to
        be possible.

    Attributes
    ----------
    varying : Varying
        As above, where sets run in lanes.
    """

    def __init__(
        self,
        plan: RunPlan,
        network: Network,
        points: ScanPoints,
        n: int,
        *,
        common: bool,
        varying: Varying | None = None,
    ) -> None:
        self.plan, self.network, self.points, self.n = plan, network, points, n
        self.first, self.last = points.first, points.first + points.n_sets
        # (n_sets, 4) uint32 words; none where all have the entropy of the run.
        self.entropies = (
            np.zeros((0, 4), dtype=np.uint32)
            if common
            else entropies_of_sets(plan.entropy, self.first, self.last)
        )
        condition = plan.options["stop_when"]
        self._condition = None if condition is None else parse_expression(str(condition))
        self.numbers: SetArrays | None = None  # where the sets run in lanes
        if plan.engine.lanes is not None:
            self.numbers = SetNumbers(network, points).arrays(self.first, self.last)
            if self.numbers.initial_state.max(initial=0) > LARGEST_LANE_COUNT:
                self.numbers = None
                self.plan = replace(plan, engine=Engine("table", "a count starts above 2**52"))
        is_known = varying is not None
        self.varying = varying or NOTHING_VARIES
        if self.numbers is not None:
            if not is_known:
                self.varying = self._varying(self.numbers)
            if plan.engine.name == "specialised":
                kernel = specialised_lanes(plan.compiled, plan.request.condition, self.varying)
                self.plan = replace(plan, engine=replace(plan.engine, lane_kernel=kernel))
        elif not is_known:
            for j in range(self.first, self.last):
                compiled_set(network, points, j)

    def _varying(self, numbers: SetArrays) -> Varying:
        """Return which numbers are not the same in all sets."""

        def columns(flat: np.ndarray) -> np.ndarray:
            table = flat.reshape(self.points.n_sets, -1)
            return np.flatnonzero((table != table[0]).any(axis=0))

        laws = np.flatnonzero(self.plan.compiled.arrays.form != PAIR)
        rates = {*columns(numbers.coefficient).tolist(), *laws[columns(numbers.factor)].tolist()}
        return Varying(frozenset(rates), frozenset(columns(numbers.parameters).tolist()))

    def entropy(self, j: int) -> int:
        """Return what set `j` has as its ``rng``."""
        if not len(self.entropies):
            return self.plan.entropy
        return entropy_of_words(self.entropies[j - self.first])

    def keys(self, first: int, last: int) -> np.ndarray:
        """Return the keys of the streams of sets, flat, (4 * (last - first),) uint64."""
        name = self.plan.method.name
        if not len(self.entropies):
            return np.tile(stream_key(self.plan.entropy, name), last - first)
        own = self.entropies[first - self.first : last - self.first]
        return stream_keys(own, name).ravel()

    def set_plan(self, j: int) -> RunPlan:
        """Return the plan of the ordinary run that set `j` is."""
        plan, compiled = self.plan, compiled_set(self.network, self.points, j)
        jumps = compile_jumps(compiled, self._condition) if plan.jumps is not None else None
        start = compiled.initial_state if jumps is None else jumps.initial_state
        entropy, engine = self.entropy(j), plan.engine
        if isinstance(engine.lanes, LeapNetwork):
            engine = replace(engine, lanes=compile_leap_lanes(compiled))
        elif engine.lanes is not None:
            engine = replace(engine, lanes=compile_lanes(compiled))
        condition = plan.request.condition
        if engine.lanes is not None and engine.name == "specialised":
            engine = replace(engine, lane_kernel=specialised_lanes(compiled, condition))
        elif isinstance(engine.kernel, SpecialisedKernel):
            engine = replace(engine, kernel=specialised_kernel(compiled, condition))
        return replace(
            plan,
            compiled=compiled,
            jumps=jumps,
            engine=engine,
            request=plan.request._replace(
                initial_state=start, key=stream_key(entropy, plan.method.name)
            ),
            entropy=entropy,
        )

    def lanes(self, first: int, last: int) -> tuple[RunPlan, LaneNetwork | LeapNetwork]:
        """Return the plan and the network of lanes for the sets first, ..., last - 1."""
        assert self.numbers is not None
        parts = {}
        for name, array in self.numbers._asdict().items():
            width = array.size // self.points.n_sets
            parts[name] = array[(first - self.first) * width : (last - self.first) * width]
        request = self.plan.request._replace(
            initial_state=parts.pop("initial_state"), key=self.keys(first, last)
        )
        network = self.plan.engine.lanes
        if isinstance(network, LeapNetwork):
            inner = network.lanes._replace(rows_per_set=self.n, **parts)
            return replace(self.plan, request=request), network._replace(lanes=inner)
        assert isinstance(network, LaneNetwork)
        found = network._replace(rows_per_set=self.n, **parts)
        return replace(self.plan, request=request), found


class SetCrew:
    """Threads that run the sets of a `SetStore`.

    Parameters
    ----------
    scan : ScanPlan
    store : SetStore
        Says which sets, and takes them.
    n_threads : int
    chunk_size : int or None
        Sets handed to a thread at a time; None adapts it.
    should_stop : callable
        Looked at every 50 ms; true ends the work as Ctrl-C would.

    Attributes
    ----------
    stopped : str or None
        What cut the work short: "timeout", "interrupt" or "error".
    watch : callable or None
        Called some ten times a second by the thread that called `work`.
    """

    def __init__(
        self,
        scan: ScanPlan,
        store: SetStore,
        n_threads: int,
        chunk_size: int | None = None,
        should_stop: Callable[[], bool] = lambda: False,
    ) -> None:
        self._scan, self._store = scan, store
        self._n_threads, self._chunk_size = n_threads, chunk_size
        self._should_stop = should_stop
        self._next, self._n_done = store.first, 0
        self._lock, self._halt = threading.Lock(), threading.Event()
        self._deadline = math.inf
        self._trouble: tuple[int, SimulationError | NotEnoughMemoryError] | None = None
        self.stopped: str | None = None
        self.watch: Callable[[], None] | None = None
        plan = scan.plan
        k = len(plan.species) + len(plan.observables)
        self._row_bytes = 8 * (plan.times.size * k + 3)
        self._in_lanes = scan.numbers is not None and (
            isinstance(store, SetPaths) or scan.n * self._row_bytes <= _LARGEST_BUFFER
        )

    def load_kernel(self) -> None:
        """Compile the kernel, or load it, unless this process has it."""
        self._scan.plan.load_kernel()

    def returns(self) -> list[float]:
        """Return a mark for `have_returned_since`."""
        return []

    def have_returned_since(self, mark: list[float]) -> bool:
        """Whether what was finished at the mark is written now: it is, at once."""
        return True

    def work(
        self, report: Callable[[float], None], timeout: float = math.inf
    ) -> SimulationError | NotEnoughMemoryError | None:
        """Do it all; return the error of the first set that could not go on.

        `report` is told now and then how many sets are done, with parts of sets.
        """
        try:
            self._scan.plan.load_kernel()
            self._deadline = time.monotonic() + timeout
            n_sets = self._store.last - self._store.first
            # Large sets are run one after the other by all threads.
            by_set = not self._in_lanes and n_sets < 2 * self._n_threads
            n_workers = 1 if by_set else min(self._n_threads, n_sets)
            inner = self._n_threads if by_set else 1
            if n_workers == 1:
                self._one_worker(inner, report)
            else:
                self._many_workers(n_workers, report)
        except KeyboardInterrupt:
            self._halt.set()
            self.stopped = "interrupt"
            return None
        if self._trouble is not None:
            self.stopped = "error"
            return self._trouble[1]
        return None

    def _many_workers(self, n_workers: int, report: Callable[[float], None]) -> None:
        with ThreadPoolExecutor(n_workers, thread_name_prefix="gillespy_lite") as pool:
            try:
                pending = {pool.submit(self._one_worker, 1, None) for _ in range(n_workers)}
                while pending:
                    done, pending = wait(pending, timeout=0.1, return_when=FIRST_EXCEPTION)
                    for future in done:
                        future.result()
                    self._tell(report)
            finally:
                self._halt.set()

    def _tell(self, report: Callable[[float], None]) -> None:
        """Say how far it is, and have a look around; in the thread that called `work`."""
        report(self._n_done / self._scan.n)
        if self.watch is not None:
            self.watch()

    def _one_worker(self, inner: int, report: Callable[[float], None] | None) -> None:
        try:
            if self._in_lanes:
                self._work_in_lanes(report)
            else:
                self._work_by_set(inner, report)
        except BaseException:
            self._halt.set()
            raise

    def _take_sets(self, n_wanted: Callable[[int], int]) -> tuple[int, int] | None:
        """Return the next sets to run, first and last + 1; None if there are no more."""
        if self._is_late():
            return None
        with self._lock:
            first = self._next
            left = self._store.last - first
            if left <= 0:
                return None
            self._next = last = first + max(1, min(left, n_wanted(left)))
        return first, last

    # ---- Lanes -----------------------------------------------------------------------------------

    def _n_at_once(self, n_left: int) -> int:
        rows = max(_FEWEST_ROWS, _BUFFER // self._row_bytes)
        rows = min(rows, _LARGEST_BUFFER // self._row_bytes)
        if self._chunk_size is not None:
            return self._chunk_size
        # Smaller towards the end, so that the threads end together.
        return min(max(1, rows // self._scan.n), -(-n_left // (2 * self._n_threads)))

    def _work_in_lanes(self, report: Callable[[float], None] | None) -> None:
        pace = Pace(self._scan.plan.network.n_reactions)
        output: Output | None = None
        while (sets := self._take_sets(self._n_at_once)) is not None:
            output = self._store.buffer(*sets, output)
            try:
                self._run_lanes(pace, *sets, output, report)
            finally:
                # Also what was finished of a piece that was cut short.
                self._store.take(*sets, output)

    def _run_lanes(
        self,
        pace: Pace,
        first: int,
        last: int,
        output: Output,
        report: Callable[[float], None] | None,
    ) -> None:
        plan, network = self._scan.lanes(first, last)
        walker = plan.lane_walker(np.zeros(1, dtype=np.int64))
        status, n_finished = BUDGET_SPENT, 0
        while status != ALL_DONE:
            if self._is_late():
                return
            kernel = plan.engine.lane_kernel
            status = pace.step(kernel, network, plan.request, walker, output, 0)
            with self._lock:
                self._n_done += int(walker.counter[N_FINISHED]) - n_finished
            n_finished = int(walker.counter[N_FINISHED])
            if report is not None:
                self._tell(report)
        n = self._scan.n
        left = np.flatnonzero(output.outcome == LEFT_OVER)
        output.outcome[left] = 0
        for own in np.unique(left // n).tolist():
            set_plan = self._scan.set_plan(first + own)
            # Single paths from tables: what lanes leave over, specialised ones do, too.
            alone = replace(set_plan, engine=replace(set_plan.engine, lanes=None, kernel=None))
            for row in left[left // n == own].tolist():
                place = _RowInPlace(part_of(output, row, row + 1), row - own * n)
                self._run_crew(first + own, alone, place, 1)
                if self._halt.is_set():
                    return

    # ---- Set by set ------------------------------------------------------------------------------

    def _work_by_set(self, inner: int, report: Callable[[float], None] | None) -> None:
        while (sets := self._take_sets(lambda left: self._chunk_size or 1)) is not None:
            for j in range(*sets):
                if self._is_late():
                    return
                self._run_set(j, inner, report)
                if report is not None:
                    self._tell(report)

    def _run_set(self, j: int, inner: int, report: Callable[[float], None] | None) -> None:
        n, plan = self._scan.n, self._scan.set_plan(j)
        gatherer: Gatherer
        if isinstance(self._store, SetPaths):
            gatherer = Paths(plan, 0, n)
        else:
            n_bins = self._store.n_bins or 2
            gatherer = Statistics(plan, 0, n, n_threads=inner, n_bins=n_bins)
        try:
            stopped = self._run_crew(j, plan, gatherer, inner, report)
        except KeyboardInterrupt:
            # What is finished of the set that was cut short is kept, too.
            self._store.take_result(j, gatherer.result("interrupt"))
            raise
        self._store.take_result(j, gatherer.result(stopped))
        if stopped is None:
            with self._lock:
                self._n_done += n

    def _run_crew(
        self,
        j: int,
        plan: RunPlan,
        gatherer: Any,
        threads: int,
        report: Callable[[float], None] | None = None,
    ) -> str | None:
        """Run trajectories of set `j`; return what cut it short."""
        halt = self._halt if threads == 1 else None
        crew = Crew(plan, gatherer, threads, should_stop=self._should_stop, halt=halt)
        if report is not None:
            crew.watch = self.watch
        error = crew.work(lambda done: None, self._deadline - time.monotonic())
        if crew.stopped == "interrupt":
            raise KeyboardInterrupt
        if crew.stopped == "timeout":
            self._is_late()
        if error is not None:
            told = type(error)(f"in {self._scan.points.describe(j)}: {error}")
            with self._lock:
                if self._trouble is None or j < self._trouble[0]:
                    self._trouble = (j, told)
            self._halt.set()
        return crew.stopped or ("interrupt" if self._halt.is_set() else None)

    def _is_late(self) -> bool:
        if time.monotonic() >= self._deadline:
            self.stopped = "timeout"
            self._halt.set()
        elif self._should_stop():
            self.stopped = "interrupt"
            self._halt.set()
        return self._halt.is_set()


class _RowInPlace:
    """Has one trajectory written where its row is."""

    unit, is_in_place = 1, True

    def __init__(self, output: Output, number: int) -> None:
        self._output, self.first, self.last = output, number, number + 1

    def rows(self, first: int, last: int) -> Output:
        """Return the row."""
        return self._output

    def rows_at_once(self, n: int, n_threads: int) -> int:
        """Return 1."""
        return n

    def take(self, worker: int, first: int, output: Output) -> None:
        """Nothing to do: the row is in place."""
