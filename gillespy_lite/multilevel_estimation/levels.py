"""The levels: leap paths of fewer and more steps, and the exact path at the end."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..compilation import CompiledNetwork
from ..kernels.exact_pairs import ExactPairs
from ..kernels.lane_vectors import LANES
from ..kernels.lanes import LaneNetwork
from ..kernels.leap_pairs import LeapPairs
from ..kernels.leap_paths import N_PAIR_COUNTERS, LeapPath, LevelPlan, PairOutput
from ..lane_compilation import compile_lanes, lane_state
from ..randomness import stream_key
from .outputs import Outputs

__all__ = ["EXACT", "EXACT_PAIR", "FACTOR", "LEAP", "LEAP_PAIR", "Ladder", "Rung"]

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

# Kinds of levels, in the words of results.
LEAP, LEAP_PAIR = "leaps", "finer and coarser leaps"
EXACT_PAIR, EXACT = "exact path and leaps", "exact path"

# A rung of the ladder has so many times the steps of the one below.
FACTOR = 4

# Means of Poisson numbers times the largest change of a count stay below, so that sums are exact.
_LARGEST_PRODUCT = 2.0**45


@dataclass(frozen=True)
class Rung:
    """One level: which paths it couples.

    Attributes
    ----------
    kind : str
        LEAP, LEAP_PAIR, EXACT_PAIR or EXACT.
    finer, coarser : int
        The number of steps of the leap paths up to the last time; 0 where there is none.
    """

    kind: str
    finer: int
    coarser: int

    def key(self, entropy: int) -> np.ndarray:
        """Return the key of the streams of this level."""
        return stream_key(entropy, f"multilevel {self.kind} {self.finer} {self.coarser}")


class Ladder:
    """A network and the times at which it is looked at, with leap paths of more and more steps.

    Parameters
    ----------
    compiled : CompiledNetwork
    times : ndarray, shape (n_times + 1,)
        The first is when the initial state holds.
    outputs : Outputs
    n_first : int
        Steps at the bottom of the ladder, at least; each interval has one or more.
    """

    def __init__(
        self, compiled: CompiledNetwork, times: FloatArray, outputs: Outputs, n_first: int = 4
    ) -> None:
        self.compiled, self.times, self.outputs = compiled, times, outputs
        self.n_first = n_first
        self.lanes: LaneNetwork = compile_lanes(compiled)
        self.lengths = np.diff(times)
        longest = float(times[-1] - times[0]) / n_first
        self._first = np.maximum(1, np.ceil(self.lengths / longest - 1e-9)).astype(np.int64)
        self._start = compiled.initial_state[: compiled.network.n_species].astype(np.float64)

    def n_steps(self, height: int) -> int:
        """Return the number of steps of the leap path at a height of the ladder."""
        return int(self._first.sum() * FACTOR**height)

    def longest_step(self, n_steps: int) -> float:
        """Return the longest step of the leap path of so many steps, in the unit of time."""
        return float((self.lengths / self._steps(n_steps)).max())

    def _steps(self, n_steps: int) -> IntArray:
        return self._first * (n_steps // int(self._first.sum()))

    def plan(self, rung: Rung, entropy: int) -> LevelPlan:
        """Return what the kernels read of a level."""
        # A leap path by itself is the finer one; with the exact path it is the coarser.
        base = rung.coarser if rung.kind in (LEAP_PAIR, EXACT_PAIR) else rung.finer
        steps = self._steps(base)
        changes = max(1.0, float(np.abs(self.lanes.change).max(initial=0.0)))
        return LevelPlan(
            initial_state=self._start,
            key=rung.key(entropy),
            times=self.times,
            n_steps=steps,
            step=self.lengths / steps,
            factor=rung.finer // rung.coarser if rung.kind == LEAP_PAIR else 1,
            is_paired=int(rung.kind != LEAP),
            largest_rate=_LARGEST_PRODUCT / (changes * float(self.times[-1] - self.times[0])),
            columns=self.outputs.columns,
        )

    def output(self, n_rows: int) -> PairOutput:
        """Return arrays for some rows."""
        shape = (n_rows, self.lengths.size, self.outputs.columns.size)
        return PairOutput(
            finer=np.empty(shape),
            coarser=np.empty(shape),
            outcome=np.zeros(n_rows, dtype=np.int64),
            n_events=np.zeros(n_rows),
            n_points=np.zeros(n_rows, dtype=np.int64),
            trouble=np.zeros(self._start.size + 2),
        )

    def walker(self, rung: Rung) -> LeapPairs | ExactPairs:
        """Return working arrays for a block of a level."""
        n = self.lanes.n_reactions

        def reals(rows: int) -> FloatArray:
            return np.zeros(rows * LANES)

        def wholes() -> IntArray:
            return np.zeros(LANES, dtype=np.int64)

        counter, seed = np.zeros(N_PAIR_COUNTERS, dtype=np.int64), np.zeros(4, dtype=np.uint64)
        stream = np.zeros(4 * LANES, dtype=np.uint64)
        if rung.kind in (LEAP, LEAP_PAIR):
            return LeapPairs(
                counter=counter,
                finer=self._path(),
                coarser=self._path(),
                stream=stream,
                fired=reals(n),
                fired_coarser=reals(n),
                draws=reals(4),
                n_events=reals(1),
                seed=seed,
            )
        path = self._path()
        return ExactPairs(
            counter=counter,
            state=lane_state(self.lanes),
            factor=path.factor,
            lane_stack=np.zeros_like(path.lane_stack),
            coarser=path,
            stream=stream,
            rate=reals(n),
            unshared=reals(n),
            below=reals(n),
            fired=reals(n),
            fired_coarser=reals(n),
            time=reals(1),
            until=reals(1),
            look_time=reals(1),
            renewed=reals(1),
            interval=wholes(),
            step=wholes(),
            row=wholes(),
            n_events=reals(1),
            n_points=wholes(),
            draws=reals(3),
            seed=seed,
        )

    def _path(self) -> LeapPath:
        return LeapPath(
            counts=np.zeros(self.lanes.n_species * LANES),
            state=lane_state(self.lanes),
            rate=np.zeros(self.lanes.n_reactions * LANES),
            factor=np.repeat(self.lanes.factor, LANES),
            lane_stack=np.zeros(3),
        )

    def rows_that_fit(self) -> int:
        """Return how many rows of a block need at most some 16 MB, a whole number of LANES."""
        per_row = (
            8 * self.lengths.size * (2 * self.outputs.columns.size + 6 * len(self.outputs.names))
        )
        return LANES * max(1, math.floor(2**24 / per_row / LANES))
