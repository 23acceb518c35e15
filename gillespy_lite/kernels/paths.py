"""Paths of what moves between jumps: polynomials over a window of time, in Bernstein form.

The coefficients of a polynomial in Bernstein form over an interval enclose its values there, and
de Casteljau's rule gives those over any part of it, with rounding errors alone.

References
----------
Farouki (2012), The Bernstein polynomial basis: a centennial retrospective, Comput. Aided Geom.
Des. 29:379, doi:10.1016/j.cagd.2012.03.001.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from .jit import apart, inlined, kernel

__all__ = ["Path", "fill_path_state", "path_box", "path_state"]


class Path(NamedTuple):
    """Polynomials in time, one for each entry of the state that moves, over one window."""

    moving: np.ndarray  # (n_moving,) int64, indices into the state
    coefficients: np.ndarray  # (n_moving, degree + 1) float64, Bernstein form over the window
    window: np.ndarray  # (2,) float64: its start and its end
    scratch: np.ndarray  # (degree + 1,) float64


@inlined
def _between(left, right, fraction, rest):
    # Equal values stay what they are: rounding must not make a constant cross its own value.
    return left if left == right else rest * left + fraction * right


@apart
def path_state(path, time, state):
    """Write what moves, at `time` within the window, into `state`."""
    start, end = path.window[0], path.window[1]
    points = path.scratch
    last = path.coefficients.shape[1] - 1
    for m in range(path.moving.size):
        coefficients = path.coefficients[m]
        if time <= start:
            value = coefficients[0]
        elif time >= end:
            value = coefficients[last]
        else:
            fraction = (time - start) / (end - start)
            rest = (end - time) / (end - start)
            for k in range(last + 1):
                points[k] = coefficients[k]
            for level in range(last):
                for k in range(last - level):
                    points[k] = _between(points[k], points[k + 1], fraction, rest)
            value = points[0]
        state[path.moving[m]] = value


@kernel
def fill_path_state(path, time, state):
    """`path_state`, called from Python."""
    path_state(path, time, state)


@apart
def path_box(path, start, end, low, high):
    """Write bounds of what moves over [`start`, `end`], within the window, to `low` and `high`."""
    opening, closing = path.window[0], path.window[1]
    length = closing - opening
    points = path.scratch
    last = path.coefficients.shape[1] - 1
    cut_end = end < closing
    fraction_end = (end - opening) / length
    rest_end = (closing - end) / length
    cut_start = start > opening
    # Of the part up to `end`, where `start` lies.
    fraction_start = (start - opening) / (end - opening)
    rest_start = (end - start) / (end - opening)
    for m in range(path.moving.size):
        for k in range(last + 1):
            points[k] = path.coefficients[m, k]
        if cut_end:
            # What de Casteljau's rule leaves behind at the front are the coefficients of the part
            # before the cut, from its start to its end.
            for level in range(last):
                for k in range(last, level, -1):
                    points[k] = _between(points[k - 1], points[k], fraction_end, rest_end)
        if cut_start:
            for level in range(last):
                for k in range(last - level):
                    points[k] = _between(points[k], points[k + 1], fraction_start, rest_start)
        lower = upper = points[0]
        for k in range(1, last + 1):
            lower, upper = min(lower, points[k]), max(upper, points[k])
        low[path.moving[m]], high[path.moving[m]] = lower, upper
