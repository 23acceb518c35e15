"""Blocks of paths of one level: run here or by a worker, and what comes of them.

Blocks are numbered, and each depends on the level and its number alone, so that they go in
portions; see `portion_jobs`.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, fields
from functools import lru_cache

import numpy as np

from ..compilation import CompiledNetwork, compile_network, label
from ..errors import (
    BadPropensityError,
    CountOverflowError,
    NotEnoughMemoryError,
    SimulationError,
)
from ..gathering import Portion
from ..interruption import interrupts_kept
from ..kernels.exact_pairs import run_exact_pairs
from ..kernels.jit import is_loaded
from ..kernels.lane_vectors import LANES
from ..kernels.leap_pairs import run_leap_pairs
from ..kernels.leap_paths import PairOutput
from ..kernels.walking import ALL_DONE, BAD_PROPENSITY, COMPLETE, OVERFLOW
from ..network import Network
from .levels import EXACT_PAIR, LEAP, Ladder, Rung
from .outputs import check_outputs
from .sums import LevelSums
from .work import Prices

__all__ = ["BlockSums", "LevelJob", "LevelOrder", "load_kernels", "run_block"]

# Work of a kernel call, so that it soon returns.
_CALL_WORK = 2e7


def load_kernels(ladder: Ladder) -> None:
    """Compile the kernels or load them, where Ctrl-C is heard and before time counts."""
    first = ladder.n_steps(0)
    for rung, kernel in (
        (Rung(LEAP, first, 0), run_leap_pairs),
        (Rung(EXACT_PAIR, 0, first), run_exact_pairs),
    ):
        if not is_loaded(kernel):
            with interrupts_kept():
                plan, walker = ladder.plan(rung, 0), ladder.walker(rung)
                kernel(ladder.lanes, plan, walker, ladder.output(0), 0, 0)


def run_block(
    ladder: Ladder,
    prices: Prices,
    rung: Rung,
    entropy: int,
    block: int,
    n_rows: int,
    is_over: Callable[[], bool],
) -> LevelSums | None:
    """Run the paths of a block of a level; return their moments, None if it was cut short.

    Parameters
    ----------
    block : int
        Its paths are block * n_rows and those that follow.
    is_over : callable
        Asked every 20 ms; true ends the work.

    Raises
    ------
    SimulationError
        If an exact path cannot go on, or an output has no value.
    """
    first = block * n_rows
    plan, walker, output = ladder.plan(rung, entropy), ladder.walker(rung), ladder.output(n_rows)
    if rung.kind == EXACT_PAIR:
        kernel, per_unit = run_exact_pairs, prices.exact_pair(1.0, Rung(EXACT_PAIR, 0, 0))
        budget = max(LANES, int(_CALL_WORK / per_unit))
    else:
        kernel, per_unit = run_leap_pairs, prices.leaps(rung) / rung.finer
        budget = max(1, int(_CALL_WORK / per_unit / LANES))
    status = -1
    while status != ALL_DONE:
        if is_over():
            return None
        status = kernel(ladder.lanes, plan, walker, output, first, budget)
    if (output.outcome != COMPLETE).any():
        raise _trouble(ladder.compiled, output, first)
    times, of = ladder.times[1:], ladder.outputs
    finer = of.values(output.finer, times)
    coarser = None if rung.kind == LEAP else of.values(output.coarser, times)
    n_events = float(output.n_events.sum())
    work = prices.of_block(rung, n_rows, n_events, output.n_points)
    return LevelSums.of(finer, coarser, n_events, work)


def _trouble(compiled: CompiledNetwork, output: PairOutput, first: int) -> SimulationError:
    """Return the error for an exact path that could not go on."""
    network, (row, at) = compiled.network, output.trouble[:2].tolist()
    state = dict(zip(network.species_names, output.trouble[2:].tolist(), strict=True))
    shown = ", ".join(f"{name} = {count:g}" for name, count in state.items())
    if len(shown) > 500:
        shown = shown[:500] + " ..."
    where = f"in exact path {first + int(row)} at t = {at:g}, where {shown}"
    outcome = int(output.outcome[int(row)])
    if outcome == BAD_PROPENSITY:
        values: dict[str, float] = {
            **dict(zip(network.parameter_names, network.parameter_values.tolist(), strict=True)),
            **state,
        }
        for j, reaction in enumerate(network.reactions):
            value = float(np.asarray(network.expanded_rate(j).evaluate(values)))
            if not 0.0 <= value < math.inf:
                return BadPropensityError(
                    f"the rate '{reaction.rate}' of reaction {label(network, j)} is {value:g} "
                    f"{where}; a propensity must be a finite number, 0 or more"
                )
        return BadPropensityError(f"the propensities add up to more than a double can hold {where}")
    if outcome == OVERFLOW:
        return CountOverflowError(
            f"a count grew above 2**52 {where}; larger counts cannot be told apart in double "
            "precision"
        )
    return SimulationError(
        f"the clock stands still {where}: waiting times are too short to be added to the time "
        "in double precision; start the times nearer to 0, or use a larger unit of time"
    )


# ---- In portions ---------------------------------------------------------------------------------

_ARRAYS = tuple(one.name for one in fields(LevelSums))


class BlockSums:
    """Has the moments of the blocks first, ..., last - 1 of a level."""

    unit = 1

    def __init__(self, first: int, last: int) -> None:
        self.first, self.last = first, last
        self.blocks: dict[int, LevelSums] = {}

    def n_complete(self) -> int:
        """Return how many blocks are finished."""
        return len(self.blocks)

    def portion(self) -> Portion:
        """Return the finished blocks: their numbers, and each field of `LevelSums` of all."""
        numbers = sorted(self.blocks)
        arrays = {
            name: np.array([getattr(self.blocks[block], name) for block in numbers])
            for name in _ARRAYS
        }
        return {"indices": np.array(numbers, dtype=np.int64), **arrays}

    def add(self, portion: Mapping[str, np.ndarray]) -> None:
        """Take blocks that were run elsewhere."""
        for i, block in enumerate(portion["indices"].tolist()):
            one = {name: portion[name][i] for name in _ARRAYS}
            numbers = {name: one[name].item() for name in ("n", "n_events", "work")}
            self.blocks[block] = LevelSums(**{**one, **numbers})

    def part(self, first: int, last: int) -> BlockSums:
        """Return what takes the blocks first, ..., last - 1."""
        return BlockSums(first, last)


@dataclass(frozen=True)
class LevelOrder:
    """What the blocks of a level depend on, in plain data.

    Attributes
    ----------
    network_text : str
    times : tuple of float
    outputs : tuple of str
    n_first : int
        Of the ladder.
    rung : Rung
    entropy : int
    n_rows : int
        Of a block.
    """

    network_text: str
    times: tuple[float, ...]
    outputs: tuple[str, ...]
    n_first: int
    rung: Rung
    entropy: int
    n_rows: int

    things = "blocks of paths"

    def crew(
        self, engine: str, first: int, last: int, n_threads: int, should_stop: Callable[[], bool]
    ) -> tuple[BlockSums, BlockCrew]:
        """Return what takes the blocks first, ..., last - 1, and the threads that run them."""
        ladder = _ladder(self.network_text, self.times, self.outputs, self.n_first)
        sums = BlockSums(first, last)
        return sums, BlockCrew(self, ladder, sums, n_threads, should_stop)


@lru_cache(maxsize=8)
def _ladder(text: str, times: tuple[float, ...], outputs: tuple[str, ...], n_first: int) -> Ladder:
    network = Network.parse(text)
    chosen = check_outputs(network, list(outputs))
    return Ladder(compile_network(network), np.array(times), chosen, n_first)


class BlockCrew:
    """Threads that run blocks of a level, on a worker; see `portion_jobs.Team`."""

    def __init__(
        self,
        order: LevelOrder,
        ladder: Ladder,
        sums: BlockSums,
        n_threads: int,
        should_stop: Callable[[], bool],
    ) -> None:
        self._order, self._ladder, self._sums = order, ladder, sums
        self._n_threads, self._should_stop = n_threads, should_stop
        self._prices = Prices(ladder.compiled, ladder)
        self._waiting, self._lock = iter(range(sums.first, sums.last)), threading.Lock()
        self._deadline = math.inf
        self.stopped: str | None = None
        self.watch: Callable[[], None] | None = None

    def load_kernel(self) -> None:
        """Compile the kernels, or load them, unless this process has them."""
        load_kernels(self._ladder)

    def returns(self) -> list[float]:
        """Return a mark for `have_returned_since`."""
        return []

    def have_returned_since(self, mark: list[float]) -> bool:
        """Whether what was finished at the mark is written now: it is, at once."""
        return True

    def work(
        self, report: Callable[[float], None], timeout: float
    ) -> SimulationError | NotEnoughMemoryError | None:
        """Do it all; return the error of a path that could not go on."""
        self._deadline = time.monotonic() + timeout
        try:
            if self._n_threads == 1:
                self._one_worker()
            else:
                with ThreadPoolExecutor(self._n_threads) as pool:
                    # The first error ends all of them, at their next look.
                    list(pool.map(lambda _: self._one_worker(), range(self._n_threads)))
        except SimulationError as error:
            self.stopped = "error"
            return error
        return None

    def _one_worker(self) -> None:
        order = self._order
        while True:
            with self._lock:
                block = next(self._waiting, None)
            if block is None:
                return
            try:
                sums = run_block(
                    *(self._ladder, self._prices, order.rung, order.entropy),
                    *(block, order.n_rows, self._is_over),
                )
            except BaseException:
                self.stopped = "error"
                raise
            if sums is None:
                return
            with self._lock:
                self._sums.blocks[block] = sums

    def _is_over(self) -> bool:
        if self.stopped is None and self._should_stop():
            self.stopped = "interrupt"
        elif self.stopped is None and time.monotonic() >= self._deadline:
            self.stopped = "timeout"
        return self.stopped is not None


class LevelJob:
    """The blocks of a level, for workers; `engine_name` and the like as in `portion_jobs.Job`."""

    engine_name = "lanes"

    def __init__(self, ladder: Ladder, rung: Rung, entropy: int, n_rows: int) -> None:
        self._ladder = ladder
        self.order = LevelOrder(
            network_text=ladder.outputs.network.text,
            times=tuple(ladder.times.tolist()),
            outputs=ladder.outputs.names,
            n_first=ladder.n_first,
            rung=rung,
            entropy=entropy,
            n_rows=n_rows,
        )
        self.row_bytes = 8 * (4 + 7 * ladder.lengths.size * len(ladder.outputs.names))

    def load_kernel(self) -> None:
        """Compile the kernels, or load them, unless this process has them."""
        load_kernels(self._ladder)

    def crew(self, gatherer: BlockSums, n_threads: int, chunk_size: int | None = None) -> BlockCrew:
        """Return threads of this process that run blocks."""
        return BlockCrew(self.order, self._ladder, gatherer, n_threads, lambda: False)

    def work_order(self, first: int, last: int) -> LevelOrder:
        """Return what a worker is given."""
        return self.order
