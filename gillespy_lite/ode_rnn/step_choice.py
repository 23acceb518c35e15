"""How many cells per interval a fixed-step cell needs, found by halving the step."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["choose_steps", "solution_error"]

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

_FIRST = 32  # cells over the whole time, at least one per interval
MOST_CELLS = 65_536


def _steps(times: FloatArray, n_cells: int) -> IntArray:
    """Return cells per interval such that all are about equally long."""
    lengths = np.diff(times)
    cells = np.ceil(lengths / lengths.sum() * n_cells)
    return np.asarray(np.maximum(cells, 1.0), dtype=np.int64)


def _difference(coarse: FloatArray, fine: FloatArray) -> float:
    """Return the largest difference of two solutions, as a share of the largest value."""
    if not (np.isfinite(coarse).all() and np.isfinite(fine).all()):
        return np.inf
    size = np.abs(fine).max(axis=0)
    return float((np.abs(fine - coarse) / np.where(size > 0.0, size, 1.0)).max())


def solution_error(states: Callable[[IntArray], FloatArray], steps: IntArray) -> float:
    """Return by how much twice as many cells change the solution, as a share of its size."""
    return _difference(states(steps), states(2 * steps))


def choose_steps(
    states: Callable[[Any], FloatArray],
    times: FloatArray,
    tolerance: float,
    most: int = MOST_CELLS,
) -> IntArray | None:
    """Return enough cells per interval for the wanted accuracy, or None if `most` are too few.

    Parameters
    ----------
    states : callable
        Gives the states (n_times, n_states) for cells per interval, nan where diverged.
    times : ndarray, shape (n_times,), float64
        The grid.
    tolerance : float
        Largest change that halving the step may make, as a share of the largest value of each
        state. The finer of the two is taken, whose own error is smaller still.
    most : int, optional
        Most cells in all.

    Returns
    -------
    ndarray, shape (n_times - 1,), int64, or None
        Cells per interval.
    """
    steps = _steps(times, _FIRST)
    coarse = states(steps)
    while 2 * steps.sum() <= most:
        steps = 2 * steps  # every interval's, so that the two solutions differ in all of them
        fine = states(steps)
        if _difference(coarse, fine) <= tolerance:
            return steps
        coarse = fine
    return None
