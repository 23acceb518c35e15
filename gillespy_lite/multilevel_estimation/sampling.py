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

from ..errors import SimulationError
from ..gathering import Paths
from ..moment_tree import BlockTree
from ..portion_jobs import TrajectoryJob
from ..results import Ensemble
from ..run_plan import plan_run
from ..workplaces import Workplace
from .blocks import BlockSums, LevelJob, load_kernels, run_block
from .levels import EXACT, EXACT_PAIR, Ladder, Rung
from .sums import LevelSums
from .work import Prices

__all__ = ["Sampler", "Samples"]

# Work of a block, so that Python's part of it is small.
_BLOCK_WORK = 8e6
# Turns that levels take on a pool where time may run out.
_TURNS = 4
# Rows of a block: at least and at most, with an exact path, and of exact paths alone.
_LEAST_ROWS, _MOST_ROWS, _EXACT_PAIR_ROWS, _EXACT_ROWS = 64, 8192, 64, 1024


@dataclass(eq=False)
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
    place : Workplace
        Where paths are run: threads of this process, or a pool.
    max_time : float
        In seconds.

    Attributes
    ----------
    stopped : str or None
        What cut the work short: "timeout", "interrupt" or "error".
    error : SimulationError, WorkerError or None
    work : float
        Of all that was run.
    """

    def __init__(self, ladder: Ladder, entropy: int, place: Workplace, max_time: float) -> None:
        self.ladder, self.entropy = ladder, entropy
        self.prices = Prices(ladder.compiled, ladder)
        self._place, self._n_threads = place, place.n_threads
        self._max_time, self._deadline = max_time, math.inf
        self._levels: dict[Rung, Samples] = {}
        self._lock = threading.Lock()
        self._halt = threading.Event()
        self._exact_plan: Any = None
        self.work = 0.0
        self.stopped: str | None = None
        self.error: BaseException | None = None

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
        load_kernels(self.ladder)

    def start_clock(self) -> None:
        """Let the time limit begin."""
        self._deadline = time.monotonic() + self._max_time

    def run(self, wanted: dict[Rung, int], report: Callable[[float], None]) -> bool:
        """Run until levels have at least so many paths; return whether nothing cut it short.

        `report` is told the work done, in all.
        """
        try:
            self._run(wanted, report)
        except KeyboardInterrupt:
            self._halt.set()
            self.stopped = "interrupt"
        return self.stopped is None

    def _run(self, wanted: dict[Rung, int], report: Callable[[float], None]) -> None:
        exact = [rung for rung in wanted if rung.kind == EXACT]
        for rung in exact:
            self._run_exact(self.level(rung), wanted[rung], report)
        if self._place.is_elsewhere:
            self._run_elsewhere(
                {self.level(rung): n for rung, n in wanted.items() if rung.kind != EXACT}, report
            )
            return
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

    def _run_elsewhere(self, wanted: dict[Samples, int], report: Callable[[float], None]) -> None:
        """Run blocks of levels on the workers of a pool."""
        # Where time may run out, all levels move on together, so that none is left behind.
        n_turns = _TURNS if math.isfinite(self._max_time) else 1
        more = {
            level: max(0, math.ceil(n / level.n_rows) - level.n_blocks)
            for level, n in wanted.items()
        }
        begin = {level: level.n_blocks for level in wanted}
        for turn in range(n_turns):
            for level, n in more.items():
                last = begin[level] + n * (turn + 1) // n_turns
                if last <= level.n_blocks or self.stopped is not None:
                    continue
                job = LevelJob(self.ladder, level.rung, self.entropy, level.n_rows)
                sums = BlockSums(level.n_blocks, last)
                before, known = self.work, level.sums
                each = 0.0 if known is None else known.work / known.n * level.n_rows

                def tell(k: float, before: float = before, each: float = each) -> None:
                    report(before + k * each)

                self._compute(job, sums, tell)
                for block, one in sorted(sums.blocks.items()):
                    level.tree.add(block, one)
                    self.work += one.work
                level.n_blocks = last
                report(self.work)

    def _compute(self, job: Any, gatherer: Any, report: Callable[[float], None]) -> None:
        left = max(self._deadline - time.monotonic(), 0.0)
        self.error, self.stopped = self._place.compute(
            job,
            gatherer,
            [(gatherer.first, gatherer.last)],
            report=report,
            timeout=left,
            check=lambda: None,
        )

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
        except SimulationError as error:
            self._halt.set()
            self.stopped, self.error = "error", error

    def _is_late(self) -> bool:
        if time.monotonic() >= self._deadline:
            self.stopped = "timeout"
            self._halt.set()
        return self._halt.is_set()

    def _run_block(self, level: Samples, block: int) -> None:
        sums = run_block(
            *(self.ladder, self.prices, level.rung, self.entropy),
            *(block, level.n_rows, self._is_late),
        )
        if sums is None:
            return
        with self._lock:
            level.tree.add(block, sums)
            self.work += sums.work

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
            self._compute(TrajectoryJob(plan, None), paths, lambda done: report(self.work))
            result = paths.result(self.stopped)
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
