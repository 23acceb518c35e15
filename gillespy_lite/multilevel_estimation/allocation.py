"""Which levels, and how many paths of each: the least work for the variance that is allowed.

References
----------
Giles (2008), Multilevel Monte Carlo path simulation, Oper. Res. 56:607, doi:10.1287/opre.1070.0496
(paths in proportion to the root of variance over cost, eq. 12). Giles (2015), Multilevel Monte
Carlo methods, Acta Numer. 24:259, doi:10.1017/S096249291500001X (when a coarser level pays).
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .levels import EXACT_PAIR, LEAP, LEAP_PAIR, Rung

__all__ = ["Climb", "numbers_of_paths", "shares_of", "total_work"]

FloatArray = NDArray[np.float64]

# Variances of the next rung are those of this one times the ratio of the last two, within bounds:
# an eighth to a half is what differences of counts and of conditions have as steps get 4 times as
# short (order 1 and 1/2).
_LEAST_RATIO, _MOST_RATIO = 0.125, 0.6

_LARGEST_SHARE = 1e18


def shares_of(variances: FloatArray, allowed: FloatArray) -> FloatArray:
    """Return variances relative to what is allowed; 0 where there is none.

    Where nothing at all is allowed, as a share of an estimate of 0, it is a very large number.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(variances > 0.0, np.minimum(variances / allowed, _LARGEST_SHARE), 0.0)


def total_work(levels: Sequence[tuple[float, float]]) -> float:
    """Return the least work for a variance of 1; a level is (variance of a path, its work)."""
    return sum(math.sqrt(variance * work) for variance, work in levels) ** 2


def numbers_of_paths(
    variances: Mapping[Rung, FloatArray], works: Mapping[Rung, float], allowed: FloatArray
) -> dict[Rung, int]:
    """Return how many paths of each level keep all variances within what is allowed.

    Parameters
    ----------
    variances : mapping
        Of the differences of each level, (n_times, n_outputs).
    works : mapping
        Of a path of each level.
    allowed : ndarray, shape (n_times, n_outputs)
        Variances of the estimates; inf where any will do.
    """
    # Relative to what is allowed, the largest of each level stands for all; then as few are taken
    # as the outputs allow together.
    shares = {rung: shares_of(variance, allowed) for rung, variance in variances.items()}
    worst = {rung: float(share.max(initial=0.0)) for rung, share in shares.items()}
    scale = sum(math.sqrt(worst[rung] * works[rung]) for rung in worst)
    numbers = {rung: scale * math.sqrt(worst[rung] / works[rung]) for rung in worst}
    if scale > 0.0:
        reached = sum(
            share / numbers[rung] for rung, share in shares.items() if numbers[rung] > 0.0
        )
        factor = float(np.max(reached))
        numbers = {rung: number * factor for rung, number in numbers.items()}
    return {rung: max(2, math.ceil(number)) for rung, number in numbers.items()}


@dataclass(frozen=True)
class Climb:
    """What pilot runs on the ladder found.

    Attributes
    ----------
    n_steps : sequence of int
        Of the leap paths at heights 0, 1, ...
    variances : sequence of float
        Of the outputs of these paths, relative to what is allowed, the largest.
    differences : sequence of float
        The same between heights 0 and 1, 1 and 2, ...; one less.
    """

    n_steps: Sequence[int]
    variances: Sequence[float]
    differences: Sequence[float]

    def between(self, lower: int, upper: int) -> float:
        """Return about the variance of the difference between leaps of two heights."""
        return sum(self.differences[lower:upper])

    def to_exact(self, height: int) -> float:
        """Return about the variance of the difference between the exact path and leaps."""
        # With differences that go on to fall by one factor from rung to rung, those above the
        # ladder add up to a geometric series.
        last = len(self.differences) - 1
        ratio = _MOST_RATIO
        if last >= 1 and self.differences[last - 1] > 0.0:
            ratio = self.differences[last] / self.differences[last - 1]
        ratio = min(max(ratio, _LEAST_RATIO), _MOST_RATIO)
        above = self.differences[last] * ratio / (1.0 - ratio)
        return self.between(height, last + 1) + above

    def best_chain(self, price: Callable[[Rung], float]) -> list[tuple[Rung, float]]:
        """Return the levels that take the least work, with their variances.

        Parameters
        ----------
        price : callable
            Returns the work of a path of a level.
        """
        heights = range(len(self.n_steps))
        candidates = (
            self._chain((first, *inner, last) if last > first else (first,))
            for first in heights
            for last in heights[first:]
            for n_inner in range(max(last - first, 1))
            for inner in itertools.combinations(range(first + 1, last), n_inner)
        )
        return min(
            candidates,
            key=lambda chain: total_work([(variance, price(rung)) for rung, variance in chain]),
        )

    def _chain(self, heights: tuple[int, ...]) -> list[tuple[Rung, float]]:
        steps, last = self.n_steps, heights[-1]
        return [
            (Rung(LEAP, steps[heights[0]], 0), self.variances[heights[0]]),
            *(
                (Rung(LEAP_PAIR, steps[upper], steps[lower]), self.between(lower, upper))
                for lower, upper in itertools.pairwise(heights)
            ),
            (Rung(EXACT_PAIR, 0, steps[last]), self.to_exact(last)),
        ]
