"""Many independent trajectories on all cores, stored or reduced to statistics."""

from __future__ import annotations

import math
import threading
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from typing import Any

import numpy as np

from .errors import IncompleteWarning, Interrupted, MethodError, SimulationError
from .kernels.arrays import JumpWalker, Output, Walker
from .kernels.lane_leaps import LeapWalker
from .kernels.lanes import LEFT_OVER, N_FINISHED, LaneWalker
from .kernels.statistics import add_to_histograms
from .kernels.walking import ALL_DONE, BUDGET_SPENT, COMPLETE, ROW
from .memory import require_memory
from .methods import METHODS, Method
from .moment_tree import Moments, MomentTree, block_moments
from .network import Network
from .pace import STANDSTILL, Pace
from .progress import Progress, reporter
from .rate_laws import Expression
from .results import Ensemble, EnsembleStatistics, Trajectory
from .run_plan import RunPlan, check_timeout, check_whole, is_complete, plan_run, trouble
from .simulation import run_trajectory
from .workers import cores

__all__ = ["ensemble", "replay"]


def ensemble(
    network: Network,
    t: Any,
    n: int,
    *,
    method: str | Method = "auto",
    engine: str = "auto",
    rng: Any = None,
    seed: Any = None,
    threads: int | None = None,
    progress: bool | Progress = False,
    statistics: bool = False,
    histogram_bins: int = 256,
    outputs: Sequence[str] | None = None,
    stop_when: str | Expression | None = None,
    max_events: int | None = None,
    timeout: float | None = None,
    chunk_size: int | None = None,
    **method_options: Any,
) -> Ensemble | EnsembleStatistics:
    """Sample independent trajectories of a reaction network on all cores.

    Parameters
    ----------
    network : Network
        Its rate constants set the unit of time.
    t : float or array_like, shape (n_times,)
        End time (then 101 times from 0), or increasing sampling times; `t[0]` is when the initial
        state holds.
    n : int
        Number of trajectories.
    method : str or Method, optional
        A name from `METHODS`, or an instance with its own options. ``"auto"`` takes an exact
        method, never an approximate one; `result.provenance.method_reason` says why.
    engine : str, optional
        How the direct method goes its paths: ``"table"``, one by one; ``"lanes"``, many in
        lockstep; or ``"specialised"``, by code generated for the network. It has no influence on
        the numbers; ``"auto"`` chooses by the work to do, and `result.provenance.engine_reason`
        says why.
    rng : None, int, SeedSequence or Generator, optional
        Source of randomness. Trajectory `i` depends on `(rng, i)` and the method alone, not on `n`,
        `threads` or `chunk_size`. What was used is in `result.provenance.entropy`.
    seed : optional
        Another name for `rng`.
    threads : int, optional
        Threads to use; all cores by default.
    progress : bool or callable, optional
        True shows a bar; a callable is called as ``progress(done, total)`` in trajectories.
    statistics : bool, optional
        Keep only means, covariances, extremes and histograms at the sampling times, in memory that
        does not grow with `n`.
    histogram_bins : int, optional
        Bins of each histogram kept by `statistics`; an even number. A bin is one count wide unless
        the counts reach `histogram_bins`, then 2, 4, ... counts.
    outputs : sequence of str, optional
        Species, variables and observables to record; all species and variables by default.
    stop_when : str or Expression, optional
        A condition such as ``"X >= 80"`` on species, variables, observables, parameters and `t`. A
        trajectory ends at the instant at which it becomes true, its entry in
        `result.hitting_times`; from there on its state is held.
    max_events : int, optional
        Most events of one trajectory before `EventLimitError`.
    timeout : float, optional
        Seconds after which the run stops and returns the finished trajectories, with an
        `IncompleteWarning`. These tend to be the ones with fewer events.
    chunk_size : int, optional
        Trajectories handed to a thread at a time. It changes no result.
    **method_options
        Options of the method, for example ``epsilon=0.01`` for tau-leaping.

    Returns
    -------
    Ensemble or EnsembleStatistics
        `counts` of an `Ensemble` has shape (n_trajectories, n_times, n_species), int64 molecules.
        A count at time t includes any event at t. Variables are recorded in `values`, beside
        observables. An `EnsembleStatistics` with `statistics=True`.

    Raises
    ------
    ValueError, TypeError
        If an argument makes no sense; the message says which and what to do.
    NetworkError
        If a rate constant is negative, or a name in `outputs` or `stop_when` is unknown.
    MethodError
        If the method is unknown or cannot do what is asked for.
    NotEnoughMemoryError
        If the result would not fit into memory; nothing was run.
    SimulationError
        If a propensity turns negative, unbounded or not a number, a delay or an event makes no
        sense, a variable cannot be integrated further, a count exceeds 2**53, or `max_events` is
        spent; `error.result` holds the finished trajectories.
    Interrupted
        On Ctrl-C; `error.result` holds the finished trajectories.
    """
    n = check_whole(n, "n", 1)
    n_threads = check_whole(threads, "threads", 1) if threads is not None else cores()
    plan = plan_run(
        network,
        t,
        method=method,
        rng=rng,
        seed=seed,
        outputs=outputs,
        stop_when=stop_when,
        max_events=max_events,
        every_event=False,
        method_options=method_options,
        engine=engine,
        n_trajectories=n,
    )
    if not plan.method.is_stochastic:
        raise MethodError(
            f"method '{plan.method.name}' is deterministic, so all trajectories would be the same; "
            f"use simulate(network, t, method='{plan.method.name}')"
        )
    report = reporter(progress, n, "ensemble")
    chunk = check_whole(chunk_size, "chunk_size", 1) if chunk_size is not None else None
    store: _Paths | _Statistics
    if statistics:
        store = _Statistics(plan, n, n_threads, check_whole(histogram_bins, "histogram_bins", 2))
    else:
        store = _Paths(plan, n)
    crew = _Crew(plan, store, n, min(n_threads, n), chunk, check_timeout(timeout))
    failure = crew.work(report)
    result = store.result(crew.stopped)
    if failure is not None:
        failure.result = result
        raise failure
    if crew.stopped == "timeout":
        warnings.warn(
            f"timeout: {store.n_complete()} of {n} trajectories are finished; the others are left "
            "out, which favours trajectories with fewer events",
            IncompleteWarning,
            stacklevel=2,
        )
    else:
        report(n)
    return result


def replay(ensemble: Ensemble, i: int) -> Trajectory:
    """Run trajectory `i` of an ensemble again, this time with every event.

    Parameters
    ----------
    ensemble : Ensemble
        A result of `gillespy_lite.ensemble`.
    i : int
        Row of `ensemble.counts`.

    Returns
    -------
    Trajectory
        One row per event; at the ensemble's times its counts are those of row `i`.
    """
    source = ensemble.provenance
    options = dict(source.options)
    run_options = {name: options.pop(name) for name in ("stop_when", "max_events")}
    plan = plan_run(
        ensemble.network,
        ensemble.times,
        method=METHODS[source.method]().with_options(options),
        rng=source.entropy,
        seed=None,
        outputs=[*ensemble.species, *ensemble.observables],
        every_event=True,
        method_options={},
        **run_options,  # type: ignore[arg-type]
    )
    return run_trajectory(plan, int(ensemble.indices[i]), math.inf, lambda done: None)


def _part_of(output: Output, first: int, last: int) -> Output:
    """Return the rows first, ..., last - 1 of an output."""
    return output._replace(
        counts=output.counts[first:last],
        values=output.values[first:last],
        outcome=output.outcome[first:last],
        hitting_time=output.hitting_time[first:last],
        n_events=output.n_events[first:last],
    )


class _Paths:
    """Stores every trajectory."""

    def __init__(self, plan: RunPlan, n: int) -> None:
        self._plan = plan
        n_columns = len(plan.species) + len(plan.observables)
        require_memory(
            8 * n * (plan.times.size * n_columns + 3),
            "ask for statistics=True (memory does not grow with n), fewer outputs=, fewer "
            "sampling times, or fewer trajectories",
        )
        self._output = plan.output(n)
        # A row is its own unit of work.
        self.unit = 1

    def rows(self, first: int, last: int) -> Output:
        """Return where trajectories first, ..., last - 1 are written."""
        return _part_of(self._output, first, last)

    def rows_at_once(self, n: int, n_threads: int) -> int:
        """Return how many trajectories to run in lanes before they are taken."""
        return n

    def take(self, worker: int, first: int, output: Output) -> None:
        """Nothing to do: the rows are in place."""

    def n_complete(self) -> int:
        """Return how many trajectories are finished."""
        return int(is_complete(self._output.outcome).sum())

    def result(self, stopped: str | None) -> Ensemble:
        """Return the finished trajectories."""
        plan, output = self._plan, self._output
        complete = is_complete(output.outcome)
        indices = np.flatnonzero(complete)

        def kept(rows: np.ndarray) -> np.ndarray:
            return rows if complete.all() else rows[indices]

        return Ensemble(
            times=plan.times,
            counts=kept(output.counts),
            species=plan.species,
            values=kept(output.values),
            observables=plan.observables,
            network=plan.network,
            provenance=plan.provenance(),
            indices=indices,
            hitting_times=kept(output.hitting_time),
            n_events=kept(output.n_events),
            n_requested=complete.size,
            stopped=stopped,
        )


class _Statistics:
    """Keeps moments and histograms of blocks of trajectories, and forgets the trajectories."""

    def __init__(self, plan: RunPlan, n: int, n_threads: int, n_bins: int) -> None:
        if n_bins % 2:
            raise ValueError(f"histogram_bins must be even, not {n_bins}")
        self._plan, self._n = plan, n
        n_times, n_species = plan.times.size, len(plan.species)
        k = n_species + len(plan.observables)
        # The block is a function of the request alone, so that the sums are added in the same
        # order whatever the threads and chunks: results agree to the last bit.
        self.unit = max(1, min(256, 2**22 // (8 * n_times * k)))
        depth = math.ceil(math.log2(n / self.unit + 1)) + n_threads
        moments = n_times * (k * k + 3 * k)
        bins = n_times * n_species * (n_bins + 1)
        # Of paths that wait to be reduced.
        buffered = self.unit if plan.engine.lanes is None else self.rows_at_once(n, n_threads)
        wants_hits = plan.options["stop_when"] is not None
        require_memory(
            8 * (moments * depth + n_threads * (bins + buffered * n_times * k))
            + (9 * n if wants_hits else 0),
            "ask for fewer sampling times, fewer outputs=, or fewer histogram_bins="
            + (", or fewer trajectories (stop_when keeps a time of each)" if wants_hits else ""),
        )
        self._tree = MomentTree()
        self._lock = threading.Lock()
        self._buffers: dict[int, Output] = {}
        self._bins = [np.zeros((n_times, n_species, n_bins), np.int64) for _ in range(n_threads)]
        self._widths = [np.ones((n_times, n_species), np.int64) for _ in range(n_threads)]
        self._hitting_times = np.full(n if wants_hits else 0, np.nan)
        self._complete = np.zeros(n if wants_hits else 0, dtype=bool)
        self._n_complete = 0

    def rows_at_once(self, n: int, n_threads: int) -> int:
        """Return how many trajectories to run in lanes before they are taken: whole units."""
        # Lanes stand idle at the end of each piece, so a piece should be long; 32 MB are enough.
        return self.unit * max(1, min(8, math.ceil(n / (n_threads * self.unit))))

    def rows(self, first: int, last: int) -> Output:
        """Return a buffer of this thread for trajectories first, ..., last - 1."""
        thread, rows = threading.get_ident(), last - first
        buffer = self._buffers.get(thread)
        if buffer is None or buffer.outcome.size < rows:
            buffer = self._buffers[thread] = self._plan.output(max(self.unit, rows))
        buffer.outcome[:] = 0
        return _part_of(buffer, 0, rows)

    def take(self, worker: int, first: int, output: Output) -> None:
        """Reduce the finished rows of whole blocks, the first of which began with `first`."""
        for start in range(0, output.outcome.size, self.unit):
            self._take_block(worker, first + start, _part_of(output, start, start + self.unit))

    def _take_block(self, worker: int, first: int, output: Output) -> None:
        complete = is_complete(output.outcome)
        chosen = np.flatnonzero(complete)
        if chosen.size == 0:
            return
        moments = block_moments(output.counts, output.values, chosen)
        add_to_histograms(output.counts, chosen, self._bins[worker], self._widths[worker])
        if self._hitting_times.size:
            last = first + complete.size
            self._hitting_times[first:last] = np.where(complete, output.hitting_time, np.nan)
            self._complete[first:last] = complete
        with self._lock:
            self._n_complete += chosen.size
            self._tree.add(first // self.unit, moments)

    def n_complete(self) -> int:
        """Return how many trajectories are finished."""
        return self._n_complete

    def result(self, stopped: str | None) -> EnsembleStatistics:
        """Return the statistics of the finished trajectories."""
        plan = self._plan
        n_times = plan.times.size
        k = len(plan.species) + len(plan.observables)
        moments = self._tree.total() or Moments.empty(n_times, k)
        bins, widths = _joined_histograms(self._bins, self._widths)
        return EnsembleStatistics(
            times=plan.times,
            species=plan.species,
            observables=plan.observables,
            n_trajectories=moments.n,
            means=moments.means,
            comoments=moments.comoments,
            minima=moments.minima,
            maxima=moments.maxima,
            bin_counts=bins,
            bin_widths=widths,
            hitting_times=self._hitting_times[self._complete],
            network=plan.network,
            provenance=plan.provenance(),
            n_requested=self._n,
            stopped=stopped,
        )


def _joined_histograms(
    bins: list[np.ndarray], widths: list[np.ndarray]
) -> tuple[np.ndarray, np.ndarray]:
    """Return the sum of histograms, each in the widest of the widths that occur at its place."""
    widest = np.maximum.reduce(widths)
    total = np.zeros_like(bins[0])
    for one, width in zip(bins, widths, strict=True):
        one = one.copy()
        width = width.copy()
        while (narrow := width < widest).any():
            half = one[narrow].reshape(-1, one.shape[-1] // 2, 2).sum(axis=-1)
            one[narrow] = np.concatenate([half, np.zeros_like(half)], axis=-1)
            width[narrow] *= 2
        total += one
    return total, widest


class _Crew:
    """The threads that work through the trajectories."""

    def __init__(
        self,
        plan: RunPlan,
        store: _Paths | _Statistics,
        n: int,
        n_threads: int,
        chunk_size: int | None,
        timeout: float,
    ) -> None:
        self._plan, self._store, self._n = plan, store, n
        self._n_threads, self._timeout = n_threads, timeout
        self._deadline = math.inf
        self._chunk_size = chunk_size
        # Stored paths are in place from the beginning, so that all threads may take rows from one
        # counter and end together.
        self._shared_output: Output | None = None
        self._shared_queue = np.zeros(1, dtype=np.int64)
        if plan.engine.lanes is not None and chunk_size is None and isinstance(store, _Paths):
            self._shared_output = store.rows(0, n)
        self._next = 0
        self._n_done = 0
        self._lock = threading.Lock()
        self._halt = threading.Event()
        self._trouble: tuple[int, SimulationError] | None = None
        self.stopped: str | None = None

    def work(self, report: Callable[[float], None]) -> SimulationError | Interrupted | None:
        """Do it all; return the error to raise once the result is put together."""
        try:
            self._plan.load_kernel()
            self._deadline = time.monotonic() + self._timeout
            if self._n_threads == 1:
                self._one_worker(0, report)
            else:
                self._many_workers(report)
        except KeyboardInterrupt:
            self._halt.set()
            self.stopped = "interrupt"
            return Interrupted(
                f"interrupted; the {self._store.n_complete()} finished trajectories of {self._n} "
                "are in the error's .result"
            )
        if self._trouble is not None:
            self.stopped = "error"
            return self._trouble[1]
        return None

    def _many_workers(self, report: Callable[[float], None]) -> None:
        with ThreadPoolExecutor(self._n_threads, thread_name_prefix="gillespy_lite") as pool:
            try:
                pending = {
                    pool.submit(self._one_worker, worker, None) for worker in range(self._n_threads)
                }
                while pending:
                    done, pending = wait(pending, timeout=0.1, return_when=FIRST_EXCEPTION)
                    for future in done:
                        future.result()
                    report(self._n_done)
            finally:
                # Leaving the pool waits for the threads, which stop within one kernel call.
                self._halt.set()

    def _one_worker(self, worker: int, report: Callable[[float], None] | None) -> None:
        if self._plan.engine.lanes is not None:
            self._one_worker_in_lanes(worker, report)
            return
        walker, pace = self._plan.walker(), Pace(self._plan.network.n_reactions)
        try:
            for first, last in self._units():
                output = self._store.rows(first, last)
                try:
                    walker = self._run_rows(pace, walker, output, first)
                finally:
                    # Also what was finished of a unit that was cut short.
                    self._store.take(worker, first, output)
                if self._halt.is_set():
                    return
                with self._lock:
                    self._n_done += last - first
                if report is not None:
                    report(self._n_done)
        except BaseException:
            self._halt.set()
            raise

    def _chunk(self, n_left: int) -> int:
        """Return how many trajectories to hand out: whole units of the store."""
        # Large while much is left, because handing out costs some 50 us; small towards the end,
        # so that the threads end together.
        chunk = self._chunk_size or max(8, min(1024, n_left // (4 * self._n_threads)))
        if self._plan.engine.lanes is not None and self._chunk_size is None:
            chunk = self._store.rows_at_once(n_left, self._n_threads)
        return math.ceil(chunk / self._store.unit) * self._store.unit

    def _units(self) -> Iterator[tuple[int, int]]:
        """Give pieces of work (first, last + 1) until none is left."""
        while True:
            with self._lock:
                start = self._next
                self._next = stop = min(self._n, start + self._chunk(self._n - start))
            if start >= stop:
                return
            # Statistics go unit by unit, or a few units in lanes; stored paths take the whole chunk
            # in one go.
            step = self._store.unit if self._store.unit > 1 else stop - start
            if self._plan.engine.lanes is not None:
                step = self._store.rows_at_once(stop - start, 1)
            for first in range(start, stop, step):
                # Also between pieces: many may be done within one kernel call each.
                if self._is_late():
                    return
                yield first, min(first + step, stop)

    def _run_rows(
        self, pace: Pace, walker: Walker | JumpWalker, output: Output, first: int
    ) -> Walker | JumpWalker:
        """Run the trajectories of `output`; return the walker, with more room if it needed it."""
        walker.counter[:] = 0
        plan = self._plan
        while not self._halt.is_set():
            status = pace.step(plan.kernel, plan.arrays, plan.request, walker, output, first)
            walker = plan.with_room(walker, status)
            if status == STANDSTILL:
                row = int(walker.counter[ROW])
                self._report_trouble(first + row, walker, STANDSTILL)
                break
            bad = np.flatnonzero(output.outcome > COMPLETE)
            if bad.size:
                row = int(bad[0])
                self._report_trouble(first + row, walker, int(output.outcome[row]))
                break
            if status == ALL_DONE:
                break
            if self._is_late():
                break
        return walker

    def _one_worker_in_lanes(self, worker: int, report: Callable[[float], None] | None) -> None:
        plan, pace = self._plan, Pace(self._plan.network.n_reactions)
        shares = self._shared_output is not None
        try:
            pieces = [(0, self._n)] if shares else self._units()
            for first, last in pieces:
                output = self._shared_output or self._store.rows(first, last)
                queue = self._shared_queue if shares else np.zeros(1, dtype=np.int64)
                try:
                    self._run_lanes(pace, plan.lane_walker(queue), output, first, report)
                finally:
                    # Also what was finished of a piece that was cut short.
                    self._store.take(worker, first, output)
                if self._halt.is_set():
                    return
        except BaseException:
            self._halt.set()
            raise

    def _run_lanes(
        self,
        pace: Pace,
        lanes: LaneWalker | LeapWalker,
        output: Output,
        first: int,
        report: Callable[[float], None] | None,
    ) -> None:
        """Run the trajectories of `output` in lanes, and what they leave over one by one."""
        plan, engine = self._plan, self._plan.engine
        assert engine.lanes is not None
        status, n_finished = BUDGET_SPENT, 0
        while status != ALL_DONE and not self._halt.is_set():
            status = pace.step(engine.lane_kernel, engine.lanes, plan.request, lanes, output, first)
            with self._lock:
                self._n_done += int(lanes.counter[N_FINISHED]) - n_finished
            n_finished = int(lanes.counter[N_FINISHED])
            if report is not None:
                report(self._n_done)
            if self._is_late():
                return
        # What other threads leave over from here on is theirs to do.
        left = np.flatnonzero(output.outcome == LEFT_OVER)
        walker, pace = plan.walker(), Pace(plan.network.n_reactions)
        for row in left.tolist():
            with self._lock:
                if output.outcome[row] != LEFT_OVER or self._halt.is_set():
                    continue
                output.outcome[row] = 0
            self._run_rows(pace, walker, _part_of(output, row, row + 1), first + row)

    def _is_late(self) -> bool:
        if time.monotonic() >= self._deadline:
            self.stopped = "timeout"
            self._halt.set()
        return self._halt.is_set()

    def _report_trouble(self, index: int, walker: Walker | JumpWalker, outcome: int) -> None:
        error = trouble(self._plan, walker, outcome, index)
        with self._lock:
            if self._trouble is None or index < self._trouble[0]:
                self._trouble = (index, error)
        self._halt.set()
