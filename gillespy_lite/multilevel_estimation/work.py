"""What paths cost, counted and not timed, so that a result does not depend on the clock.

The unit is about a nanosecond of one core of the machine on which the constants were fitted (with
AVX-512; benchmarks/variance_reduction.py prints the comparison). Only their ratios matter: they
decide how many paths each level gets, never what is right.
"""

from __future__ import annotations

import numpy as np

from ..compilation import CompiledNetwork
from ..kernels.lane_vectors import LANES
from ..reaction_text import n_operations
from .levels import EXACT_PAIR, LEAP, LEAP_PAIR, Ladder, Rung

__all__ = ["Prices"]

# Of one step of a leap path, of a step of the finer of two, of a point of an exact path and leaps,
# of an event of the direct method in lanes: for the step as such, for each reaction.
_LEAP, _LEAP_PAIR, _POINT, _EVENT = (2.0, 7.5), (4.0, 13.0), (2.5, 2.0), (2.7, 0.27)
# Of the end of a leap beside an exact path, for each reaction.
_END = 1.5
# Of an operation of a rate law in lanes, once for each path that it is evaluated on.
_OPERATION = 0.6
# Of a path, and of an output of a path at a time, for what is done outside of kernels.
_PATH, _OUTPUT = 100.0, 15.0


class Prices:
    """What the paths of a network cost."""

    def __init__(self, compiled: CompiledNetwork, ladder: Ladder) -> None:
        self._n = compiled.arrays.form.size
        self._laws = _OPERATION * n_operations(compiled.arrays.laws)
        n_values = ladder.lengths.size * len(ladder.outputs.names)
        self._fixed = _PATH + _OUTPUT * n_values

    def leaps(self, rung: Rung) -> float:
        """Return the work of a path of a level of leaps."""
        first, each = _LEAP if rung.kind == LEAP else _LEAP_PAIR
        per_step = first + each * self._n
        n_evaluations = rung.finer + rung.coarser
        return self._fixed + rung.finer * per_step + n_evaluations * self._laws

    def exact_pair(self, n_points: float, rung: Rung) -> float:
        """Return the work of an exact path and leaps, by the points that were gone through."""
        first, each = _POINT
        # The end of a leap in one lane is worked out for all of them.
        ends = min(n_points, float(LANES * rung.coarser)) * (_END * self._n + self._laws)
        return self._fixed + n_points * (first + each * self._n + self._laws) + ends

    def exact(self, n_events: float) -> float:
        """Return the work of an exact path by itself."""
        first, each = _EVENT
        return self._fixed + n_events * (first + each * self._n + self._laws)

    def expected(self, rung: Rung, n_events: float) -> float:
        """Return what a path of a level will cost, of about so many events."""
        if rung.kind in (LEAP, LEAP_PAIR):
            return self.leaps(rung)
        if rung.kind == EXACT_PAIR:
            # The paths share most points.
            return self.exact_pair(1.1 * n_events + rung.coarser, rung)
        return self.exact(n_events)

    def of_block(self, rung: Rung, n_rows: int, n_events: float, n_points: np.ndarray) -> float:
        """Return the work of the paths of a block."""
        if rung.kind in (LEAP, LEAP_PAIR):
            return n_rows * self.leaps(rung)
        if rung.kind == EXACT_PAIR:
            return n_rows * self.exact_pair(float(n_points.sum()) / n_rows, rung)
        return n_rows * self.exact(n_events / n_rows)
