"""Runs the paths of levels, block by block, on threads."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..compilation import CompiledNetwork, label
from ..crews import Crew
from ..errors import (
    BadPropensityError,
    CountOverflowError,
    NotEnoughMemoryError,
    SimulationError,
)
from ..gathering import Paths
from ..interruption import interrupts_kept
from ..kernels.exact_pairs import run_exact_pairs
from ..kernels.jit import is_loaded
from ..kernels.lane_vectors import LANES
from ..kernels.leap_pairs import run_leap_pairs
from ..kernels.leap_paths import PairOutput
from ..kernels.walking import ALL_DONE, BAD_PROPENSITY, COMPLETE, OVERFLOW
from ..moment_tree import BlockTree
from ..results import Ensemble
from ..run_plan import plan_run
from .levels import EXACT, EXACT_PAIR, LEAP, Ladder, Rung
from .sums import LevelSums
from .work import Prices

__all__ = ["Sampler", "Samples"]

# Work of a block, so that Python's part of it is small; of a kernel call, so that it soon returns.
_BLOCK_WORK, _CALL_WORK = 8e6, 2e7
# Rows of a block: at least and at most, with an exact path, and of exact paths alone.
_LEAST_ROWS, _MOST_ROWS, _EXACT_PAIR_ROWS, _EXACT_ROWS = 64, 8192, 64, 1024


@dataclass
class Samples:
    """What has been sampled of one level."""

    rung: Rung
    n_rows: int  # of a block
    n_blocks: int = 0  # asked for so far
    tree: BlockTree[LevelSums] = field(default_factory=BlockTree)

    @property
    def sums(self) -> LevelSums | None:
        """The moments of what is finished."""
        return self.tree.total()


class Sampler:
    """Runs blocks of levels, keeps what came of them, and stops when time is up.

    Parameters
    ----------
    ladder : Ladder
    entropy : int
    n_threads : int
    max_time : float
        In seconds.

    Attributes
    ----------
    stopped : str or None
        What cut the work short: "timeout", "interrupt" or "error".
    error : SimulationError or None
    work : float
        Of all that was run.
    """

    def __init__(self, ladder: Ladder, entropy: int, n_threads: int, max_time: float) -> None:
        self.ladder, self.entropy = ladder, entropy
        self.prices = Prices(ladder.compiled, ladder)
        self._n_threads = n_threads
        self._max_time, self._deadline = max_time, math.inf
        self._levels: dict[Rung, Samples] = {}
        self._lock = threading.Lock()
        self._halt = threading.Event()
        self._exact_plan: Any = None
        self.work = 0.0
        self.stopped: str | None = None
        self.error: SimulationError | NotEnoughMemoryError | None = None

    def level(self, rung: Rung) -> Samples:
        """Return what there is of a level."""
        if rung not in self._levels:
            self._levels[rung] = Samples(rung, self._rows_of_a_block(rung))
        return self._levels[rung]

    def _rows_of_a_block(self, rung: Rung) -> int:
        # A function of the request alone, so that sums are the same on any number of threads.
        most = self.ladder.rows_that_fit()
        if rung.kind == EXACT_PAIR:
            return min(most, _EXACT_PAIR_ROWS)
        if rung.kind == EXACT:
            return min(most, _EXACT_ROWS)
        rows = _BLOCK_WORK / self.prices.leaps(rung)
        rows = 2.0 ** round(math.log2(min(max(rows, _LEAST_ROWS), _MOST_ROWS)))
        return min(most, int(rows))

    def load_kernels(self) -> None:
        """Compile the kernels or load them, where Ctrl-C is heard and before time counts."""
        first = self.ladder.n_steps(0)
        for rung, kernel in (
            (Rung(LEAP, first, 0), run_leap_pairs),
            (Rung(EXACT_PAIR, 0, first), run_exact_pairs),
        ):
            if not is_loaded(kernel):
                with interrupts_kept():
                    plan = self.ladder.plan(rung, self.entropy)
                    walker = self.ladder.walker(rung)
                    kernel(self.ladder.lanes, plan, walker, self.ladder.output(0), 0, 0)

    def start_clock(self) -> None:
        """Let the time limit begin."""
        self._deadline = time.monotonic() + self._max_time

    def run(self, wanted: dict[Rung, int], report: Callable[[float], None]) -> bool:
        """Run until levels have at least so many paths; return whether nothing cut it short.

        `report` is told the work done, in all.
        """
        exact = [rung for rung in wanted if rung.kind == EXACT]
        for rung in exact:
            self._run_exact(self.level(rung), wanted[rung], report)
        queue: list[tuple[float, int, Samples, int]] = []
        for order, rung in enumerate(wanted):
            level = self.level(rung)
            last = math.ceil(wanted[rung] / level.n_rows)
            if rung.kind == EXACT or last <= level.n_blocks:
                continue
            more = last - level.n_blocks
            # All levels move on together, so that what is cut short is evenly done.
            queue += [((k + 0.5) / more, order, level, level.n_blocks + k) for k in range(more)]
            level.n_blocks = last
        queue.sort(key=lambda one: one[:2])
        if queue and self.stopped is None:
            self._run_blocks([(level, block) for _, _, level, block in queue], report)
        return self.stopped is None

    def _run_blocks(
        self, blocks: list[tuple[Samples, int]], report: Callable[[float], None]
    ) -> None:
        waiting = iter(blocks)

        def worker(tells: bool) -> None:
            while not self._halt.is_set():
                with self._lock:
                    one = next(waiting, None)
                if one is None:
                    return
                self._run_block(*one)
                if tells:
                    report(self.work)

        try:
            if self._n_threads == 1 or len(blocks) == 1:
                worker(True)
                return
            n = min(self._n_threads, len(blocks))
            with ThreadPoolExecutor(n, thread_name_prefix="gillespy_lite") as pool:
                try:
                    pending = {pool.submit(worker, False) for _ in range(n)}
                    while pending:
                        done, pending = wait(pending, timeout=0.1, return_when=FIRST_EXCEPTION)
                        for future in done:
                            future.result()
                        report(self.work)
                except BaseException:
                    # Leaving the pool waits for the threads, which stop within one kernel call.
                    self._halt.set()
                    raise
        except KeyboardInterrupt:
            self._halt.set()
            self.stopped = "interrupt"
        except SimulationError as error:
            self._halt.set()
            self.stopped, self.error = "error", error

    def _is_late(self) -> bool:
        if time.monotonic() >= self._deadline:
            self.stopped = "timeout"
            self._halt.set()
        return self._halt.is_set()

    def _run_block(self, level: Samples, block: int) -> None:
        ladder, rung = self.ladder, level.rung
        n_rows, first = level.n_rows, block * level.n_rows
        plan, walker, output = (
            ladder.plan(rung, self.entropy), ladder.walker(rung), ladder.output(n_rows)
        )  # fmt: skip
        if rung.kind == EXACT_PAIR:
            kernel, per_unit = run_exact_pairs, self.prices.exact_pair(1.0, Rung(EXACT_PAIR, 0, 0))
            budget = max(LANES, int(_CALL_WORK / per_unit))
        else:
            kernel, per_unit = run_leap_pairs, self.prices.leaps(rung) / rung.finer
            budget = max(1, int(_CALL_WORK / per_unit / LANES))
        status = -1
        while status != ALL_DONE:
            if self._is_late():
                return
            status = kernel(ladder.lanes, plan, walker, output, first, budget)
        if (output.outcome != COMPLETE).any():
            raise self._trouble(output, first)
        times, of = ladder.times[1:], ladder.outputs
        finer = of.values(output.finer, times)
        coarser = None if rung.kind == LEAP else of.values(output.coarser, times)
        n_events = float(output.n_events.sum())
        work = self.prices.of_block(rung, n_rows, n_events, output.n_points)
        sums = LevelSums.of(finer, coarser, n_events, work)
        with self._lock:
            level.tree.add(block, sums)
            self.work += work

    def _run_exact(self, level: Samples, wanted: int, report: Callable[[float], None]) -> None:
        """Run exact paths by themselves, with the engine that suits their number."""
        ladder, of = self.ladder, self.ladder.outputs
        last = math.ceil(wanted / level.n_rows)
        names = [of.network.species_names[column] for column in of.columns.tolist()]
        if self._exact_plan is None:
            self._exact_plan = plan_run(
                of.network, ladder.times, method="auto", rng=self.entropy, seed=None,
                outputs=names, stop_when=None, max_events=None, every_event=False,
                method_options={}, engine="auto", n_trajectories=last * level.n_rows,
            )  # fmt: skip
        plan = self._exact_plan
        while level.n_blocks < last and self.stopped is None:
            # Some blocks at a time: threads end together, and paths are not kept.
            n = min(last - level.n_blocks, max(1, ladder.rows_that_fit() // level.n_rows))
            first = level.n_blocks * level.n_rows
            paths = Paths(plan, first, first + n * level.n_rows)
            crew = Crew(plan, paths, self._n_threads)
            left = self._deadline - time.monotonic()
            self.error = crew.work(lambda done: report(self.work), max(left, 0.0))
            self.stopped = crew.stopped
            result = paths.result(crew.stopped)
            assert isinstance(result, Ensemble)
            numbers = result.indices
            for block in range(n):
                start = first + block * level.n_rows
                rows = np.flatnonzero((numbers >= start) & (numbers < start + level.n_rows))
                if rows.size == 0:
                    continue
                values = of.values(result.counts[rows][:, 1:], ladder.times[1:])
                n_events = float(result.n_events[rows].sum())
                work = self.prices.of_block(level.rung, rows.size, n_events, np.zeros(0))
                level.tree.add(level.n_blocks + block, LevelSums.of(values, None, n_events, work))
                self.work += work
            level.n_blocks += n
            report(self.work)

    def _trouble(self, output: PairOutput, first: int) -> SimulationError:
        """Return the error for an exact path that could not go on."""
        compiled: CompiledNetwork = self.ladder.compiled
        network, (row, at) = compiled.network, output.trouble[:2].tolist()
        state = dict(zip(network.species_names, output.trouble[2:].tolist(), strict=True))
        shown = ", ".join(f"{name} = {count:g}" for name, count in state.items())
        if len(shown) > 500:
            shown = shown[:500] + " ..."
        where = f"in exact path {first + int(row)} at t = {at:g}, where {shown}"
        outcome = int(output.outcome[int(row)])
        if outcome == BAD_PROPENSITY:
            values: dict[str, float] = {
                **dict(
                    zip(network.parameter_names, network.parameter_values.tolist(), strict=True)
                ),
                **state,
            }
            for j, reaction in enumerate(network.reactions):
                value = float(np.asarray(network.expanded_rate(j).evaluate(values)))
                if not 0.0 <= value < math.inf:
                    return BadPropensityError(
                        f"the rate '{reaction.rate}' of reaction {label(network, j)} is {value:g} "
                        f"{where}; a propensity must be a finite number, 0 or more"
                    )
            return BadPropensityError(
                f"the propensities add up to more than a double can hold {where}"
            )
        if outcome == OVERFLOW:
            return CountOverflowError(
                f"a count grew above 2**52 {where}; larger counts cannot be told apart in double "
                "precision"
            )
        return SimulationError(
            f"the clock stands still {where}: waiting times are too short to be added to the time "
            "in double precision; start the times nearer to 0, or use a larger unit of time"
        )
