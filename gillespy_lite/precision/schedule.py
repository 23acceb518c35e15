"""At how many trajectories the intervals are looked at, and which error each look may make.

Every look has a share of the error probability, and the shares add up to 1 at most. So, by the
union bound, all intervals of all looks hold at once with the stated confidence, and stopping at
whichever look shows what was wanted does not lower it. The looks must not depend on the values
that go into the intervals: a pilot with random streams of its own plans them, and is thrown away.

Most of the error is spent at the look at which the pilot expects the end. Equal shares for looks
at growing numbers, which need no pilot, would cost about twice the trajectories.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import NamedTuple

__all__ = ["LEAST", "PLANNED_SHARE", "Look", "looks", "pilot_size", "step_of"]

# Looks are at multiples of this, the usual size of a block of statistics.
LEAST = 256
# Of the shares and growths that were tried on forecasts that are 3, 8 and 16 % wrong, these need
# the fewest trajectories: 1.26, 1.37 and 1.55 times those of a run whose size is known beforehand.
PLANNED_SHARE, _LATE_SHARE, _EARLY_SHARE = 0.8, 0.15, 0.05
_EARLY_GROWTH, _LATE_GROWTH, _LATE_FALL = 1.5, 1.3, 0.6
FIRST_PILOT = 128


class Look(NamedTuple):
    """A look at the intervals."""

    n: int  # trajectories
    share: float  # of the error probability


def pilot_size(needed: float, doubt: float) -> int:
    """Return how many trajectories a pilot should have.

    A pilot of m costs m, and its error of relative size sqrt(doubt/m) costs that part of `needed`;
    their sum is smallest at m = (needed sqrt(doubt) / 2)^(2/3), if it costs all of it. An error of
    1 % is small enough for any run.

    Parameters
    ----------
    needed : float
        Trajectories that are needed, as far as the pilot knows.
    doubt : float
        Relative variance of `needed`, times the size of the pilot.
    """
    best = math.pow(0.5 * min(needed, 1e15) * math.sqrt(min(doubt, 1e15)), 2.0 / 3.0)
    return max(FIRST_PILOT, math.ceil(min(best, 1e4 * doubt)))


def step_of(block: int) -> int:
    """Return of which number looks are at multiples: whole blocks of statistics, 256 or more."""
    return block * math.ceil(LEAST / block)


def looks(planned: float | None, most: int, step: int = LEAST) -> Iterator[Look]:
    """Give the looks in order, the last at `most` trajectories.

    Parameters
    ----------
    planned : float or None
        Trajectories that the pilot expects to be enough; None without a pilot.
    most : int
        Trajectories that there may be.
    step : int
        All but the last are at multiples of it.
    """

    def rounded(n: float) -> int:
        return step * max(1, math.ceil(n / step))

    if planned is None:
        n, i = min(step, most), 1
        while True:
            # 6 / pi^2 times the sum of 1 / i^2 is 1.
            yield Look(n, 6.0 / (math.pi * i) ** 2)
            if n == most:
                return
            n, i = min(rounded(_EARLY_GROWTH * n), most), i + 1
    expected = min(rounded(min(planned, 1e15)), most)
    early: list[int] = []
    n = rounded(expected / _EARLY_GROWTH)
    while step <= n < (early[-1] if early else expected):
        early.append(n)
        n = rounded(n / _EARLY_GROWTH)
    for i in range(len(early), 0, -1):
        yield Look(early[i - 1], _EARLY_SHARE * 0.5**i)
    yield Look(expected, PLANNED_SHARE)
    n, share = expected, _LATE_SHARE * (1.0 - _LATE_FALL)
    while n < most:
        n = min(max(rounded(_LATE_GROWTH * n), n + step), most)
        yield Look(n, share)
        share *= _LATE_FALL
