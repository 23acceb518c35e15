"""The threads that work through the trajectories of a run."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_EXCEPTION, Future, wait

import numpy as np

from .errors import NotEnoughMemoryError, SimulationError
from .gathering import Taker, part_of
from .interruption import interrupts_held
from .kernels.arrays import JumpWalker, Output, Walker
from .kernels.lane_leaps import LeapWalker
from .kernels.lane_martingales import MartingaleWalker
from .kernels.lanes import LEFT_OVER, N_FINISHED, LaneWalker
from .kernels.walking import ALL_DONE, BUDGET_SPENT, COMPLETE, ROW
from .memory import memory_ran_short
from .pace import STANDSTILL, Pace
from .run_plan import RunPlan, trouble
from .workers import lent_threads

__all__ = ["Crew"]

# Seconds of work left from which on other threads join, as far as the rows that are done tell; else
# seconds before they join. To wake one, and to wait for it at the end, takes some .3 ms: joining at
# once made ensembles of .4 ms take 1 ms. Of the time so far, setting up and a call take the second.
_WORTH_JOINING, _SETTING_UP = 6e-4, 1e-4


class Crew:
    """Threads that run the trajectories of a gatherer.

    Parameters
    ----------
    plan : RunPlan
    gatherer : Taker
        Says which trajectories, and takes them.
    n_threads : int
    chunk_size : int or None
        Trajectories handed to a thread at a time; None adapts it.
    should_stop : callable
        Looked at every 50 ms; true ends the work as Ctrl-C would.
    halt : threading.Event, optional
        Whoever sets it ends the work; crews that share one end together.

    Attributes
    ----------
    stopped : str or None
        What cut the work short: "timeout", "interrupt" or "error".
    watch : callable or None
        Called some ten times a second by the thread that called `work`.
    """

    def __init__(
        self,
        plan: RunPlan,
        gatherer: Taker,
        n_threads: int,
        chunk_size: int | None = None,
        should_stop: Callable[[], bool] = lambda: False,
        halt: threading.Event | None = None,
    ) -> None:
        self._plan, self._gatherer, self._should_stop = plan, gatherer, should_stop
        self._first, self._last = gatherer.first, gatherer.last
        self._n_threads = min(n_threads, self._last - self._first)
        self._started, self._deadline = -math.inf, math.inf
        self._chunk_size = chunk_size
        # Rows that are kept are in place from the beginning, so that all threads may take rows from
        # one counter and end together.
        self._shared_output: Output | None = None
        self._shared_queue = np.zeros(1, dtype=np.int64)
        if plan.engine.lanes is not None and chunk_size is None and gatherer.is_in_place:
            self._shared_output = gatherer.rows(self._first, self._last)
        self._next = self._first
        self._n_done = 0
        self._lock = threading.Lock()
        self._halt = halt or threading.Event()
        self._trouble: tuple[int, SimulationError] | None = None
        self.stopped: str | None = None
        self.watch: Callable[[], None] | None = None
        self._call_others: Callable[[], None] | None = None
        # Calls of a kernel that returned, of each thread; infinite when it has ended.
        self._n_returns: list[float] = [0.0] * self._n_threads

    def load_kernel(self) -> None:
        """Compile the kernel, or load it, unless this process has it."""
        self._plan.load_kernel()

    def returns(self) -> list[float]:
        """Return a mark for `have_returned_since`."""
        return list(self._n_returns)

    def have_returned_since(self, mark: list[float]) -> bool:
        """Whether each thread has returned from a kernel since a mark was taken.

        Compiled code may delay what it writes until it returns: what looked finished at the mark
        is written now.
        """
        return all(now > then for now, then in zip(self._n_returns, mark, strict=True))

    def work(
        self, report: Callable[[float], None], timeout: float = math.inf
    ) -> SimulationError | NotEnoughMemoryError | None:
        """Do it all; return the error of the first trajectory that could not go on.

        Parameters
        ----------
        report : callable
            Told now and then how many trajectories are done.
        timeout : float
            Seconds, without those of a compilation.
        """
        try:
            self._plan.load_kernel()
            self._started = time.monotonic()
            self._deadline = self._started + timeout
            if self._n_threads == 1:
                self._one_worker(0, report)
            else:
                self._many_workers(report)
        except KeyboardInterrupt:
            self._halt.set()
            self.stopped = "interrupt"
            return None
        except MemoryError as error:
            self._halt.set()
            self.stopped = "error"
            return memory_ran_short(error)
        if self._trouble is not None:
            self.stopped = "error"
            return self._trouble[1]
        return None

    def _many_workers(self, report: Callable[[float], None]) -> None:
        """Be the first worker; the others join when this takes more than a moment."""
        pending: set[Future[None]] = set()
        with lent_threads() as submit:

            def call_others() -> None:
                for worker in range(1, self._n_threads):
                    try:
                        pending.add(submit(self._one_worker, worker, None))
                    except RuntimeError:
                        # The system allows no more threads: those that there are do all of it.
                        break

            self._call_others = call_others
            try:
                self._one_worker(0, report)
                while pending:
                    done, others = wait(pending, timeout=0.1, return_when=FIRST_EXCEPTION)
                    pending.clear()
                    pending.update(others)
                    for future in done:
                        future.result()
                    report(self._n_done)
                    if self.watch is not None:
                        self.watch()
            finally:
                # Leaving waits for the threads, which stop within one kernel call.
                self._halt.set()
        self._n_returns = [math.inf] * self._n_threads

    def _one_worker(self, worker: int, report: Callable[[float], None] | None) -> None:
        try:
            if self._plan.engine.lanes is not None:
                self._one_worker_in_lanes(worker, report)
            else:
                self._one_worker_by_itself(worker, report)
        finally:
            self._n_returns[worker] = math.inf

    def _one_worker_by_itself(self, worker: int, report: Callable[[float], None] | None) -> None:
        walker, pace = self._plan.walker(), Pace(self._plan.network.n_reactions)
        try:
            for first, last in self._units():
                output = self._gatherer.rows(first, last)
                try:
                    walker = self._run_rows(worker, pace, walker, output, first)
                finally:
                    self._take(worker, first, output)
                if self._halt.is_set():
                    return
                with self._lock:
                    self._n_done += last - first
                if report is not None:
                    report(self._n_done)
        except BaseException:
            self._halt.set()
            raise

    def _take(self, worker: int, first: int, output: Output) -> None:
        """Hand in what is finished, also of a piece that was cut short."""
        if not self._gatherer.is_in_place:  # else it is there already; holding costs some 20 us
            with interrupts_held():
                self._gatherer.take(worker, first, output)

    def _chunk(self, n_left: int) -> int:
        """Return how many trajectories to hand out: whole units of the gatherer."""
        # Large while much is left, because handing out costs some 50 us; small towards the end,
        # so that the threads end together.
        chunk = self._chunk_size or max(8, min(1024, n_left // (4 * self._n_threads)))
        if self._plan.engine.lanes is not None and self._chunk_size is None:
            chunk = self._gatherer.rows_at_once(n_left, self._n_threads)
        return math.ceil(chunk / self._gatherer.unit) * self._gatherer.unit

    def _units(self) -> Iterator[tuple[int, int]]:
        """Give pieces of work (first, last + 1) until none is left."""
        unit = self._gatherer.unit
        while True:
            with self._lock:
                start = self._next
                # Units are counted from trajectory 0, also where a run begins within one.
                end = (start // unit) * unit + self._chunk(self._last - start)
                self._next = stop = min(self._last, end)
            if start >= stop:
                return
            # Statistics go unit by unit, or a few units in lanes; kept paths take the whole chunk
            # in one go.
            step = unit if unit > 1 else stop - start
            if self._plan.engine.lanes is not None:
                step = self._gatherer.rows_at_once(stop - start, 1)
            while start < stop:
                # Also between pieces: many may be done within one kernel call each.
                if self._is_late():
                    return
                end = min((start // unit) * unit + step, stop)
                yield start, end
                start = end

    def _has_returned(self, worker: int, status: int) -> None:
        """Count a kernel's return; the first worker sees to what else there is."""
        self._n_returns[worker] += 1.0
        if worker != 0:
            return
        # Of shared rows none is left when a kernel is done; else there may be other units.
        has_units = self._shared_output is None and self._next < self._last
        if (
            (status != ALL_DONE or has_units)
            and self._call_others is not None
            and self._is_worth_joining()
        ):
            call_others, self._call_others = self._call_others, None
            call_others()
        if self.watch is not None:
            self.watch()

    def _is_worth_joining(self) -> bool:
        alone = time.monotonic() - self._started
        alone = max(alone / 3.0, alone - _SETTING_UP)
        if self._shared_output is None:
            return alone > _WORTH_JOINING
        n_begun = int(self._shared_queue[0])
        n_left = self._last - self._first - n_begun
        # Those that are begun are half done.
        return alone * n_left > _WORTH_JOINING * max(1.0, (n_begun + self._n_done) / 2)

    def _run_rows(
        self,
        worker: int,
        pace: Pace,
        walker: Walker | JumpWalker,
        output: Output,
        first: int,
    ) -> Walker | JumpWalker:
        """Run the trajectories of `output`; return the walker, with more room if it needed it."""
        walker.counter[:] = 0
        plan = self._plan
        while not self._halt.is_set():
            status = pace.step(plan.kernel, plan.arrays, plan.request, walker, output, first)
            self._has_returned(worker, status)
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
        plan, shares = self._plan, self._shared_output is not None
        # The first worker's first call is short if others may join after it.
        soon = shares and worker == 0 and self._n_threads > 1
        pace = Pace(plan.network.n_reactions, in_lanes=True, soon=soon)
        try:
            pieces = [(self._first, self._last)] if shares else self._units()
            for first, last in pieces:
                output = self._shared_output or self._gatherer.rows(first, last)
                queue = self._shared_queue if shares else np.zeros(1, dtype=np.int64)
                try:
                    self._run_lanes(worker, pace, plan.lane_walker(queue), output, first, report)
                finally:
                    self._take(worker, first, output)
                if self._halt.is_set():
                    return
        except BaseException:
            self._halt.set()
            raise

    def _run_lanes(
        self,
        worker: int,
        pace: Pace,
        lanes: LaneWalker | LeapWalker | MartingaleWalker,
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
            self._has_returned(worker, status)
            n_finished = int(lanes.counter[N_FINISHED])
            if report is not None:
                report(self._n_done)
            if self._is_late():
                return
        # What other threads leave over from here on is theirs to do.
        left = np.flatnonzero(output.outcome == LEFT_OVER).tolist()
        if not left:
            return
        walker, pace = plan.walker(), Pace(plan.network.n_reactions)
        for row in left:
            with self._lock:
                if output.outcome[row] != LEFT_OVER or self._halt.is_set():
                    continue
                output.outcome[row] = 0
            self._run_rows(worker, pace, walker, part_of(output, row, row + 1), first + row)

    def _is_late(self) -> bool:
        if time.monotonic() >= self._deadline:
            self.stopped = "timeout"
            self._halt.set()
        elif self._should_stop():
            self.stopped = "interrupt"
            self._halt.set()
        return self._halt.is_set()

    def _report_trouble(self, index: int, walker: Walker | JumpWalker, outcome: int) -> None:
        error = trouble(self._plan, walker, outcome, index)
        with self._lock:
            if self._trouble is None or index < self._trouble[0]:
                self._trouble = (index, error)
        self._halt.set()
