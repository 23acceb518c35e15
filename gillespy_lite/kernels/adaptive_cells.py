"""Adaptive cells: the length of each step is chosen on the way and recorded.

The recorded steps then make a recurrence like any other, which runs backwards and with tangents.

References
----------
Hairer, Norsett and Wanner (1993), section II.4, doi:10.1007/978-3-540-78862-1.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from .explicit_cells import advance, fill_stage, load_drivers, take_outputs
from .jit import inlined, kernel
from .rosenbrock_cells import Pattern, step_rosenbrock
from .tapes import run_tape

__all__ = [
    "FULL",
    "REACHED",
    "STUCK",
    "ExplicitWork",
    "RosenbrockWork",
    "Tolerance",
    "adapt_explicit",
    "adapt_rosenbrock",
]

_ZERO, _ONE = np.uint64(0), np.uint64(1)
_run = run_tape[1]

# Why an adaptive run came back: the grid's end, no room for more steps, or no step is short enough.
REACHED, FULL, STUCK = 0, 1, 2
_SAFETY, _SHRINK, _GROW = 0.9, 0.2, 5.0


class ExplicitWork(NamedTuple):
    """Scratch arrays of an explicit attempt."""

    k: np.ndarray  # (n_stages, n_states) float64


class RosenbrockWork(NamedTuple):
    """Scratch arrays of a Rosenbrock attempt."""

    pattern: Pattern
    base: np.ndarray  # (n_outputs,) float64
    u: np.ndarray  # (n_stages, n_states) float64
    factors: np.ndarray  # (n_states, n_states) float64
    pivots: np.ndarray  # (n_states,) int64
    slots: np.ndarray  # (0, 0) float64: nothing is kept


class Tolerance(NamedTuple):
    """What decides on the length of steps."""

    rtol: float
    atol: float
    order: float  # of the error estimate, plus one
    max_step: float
    error: np.ndarray  # (n_stages,) float64, weights of the error estimate


@inlined
def _error_norm(tolerance, y, new, gap):
    """Return the error of a step as a multiple of what is tolerated; inf if it is no number."""
    total = 0.0
    for i in range(y.size):
        scale = tolerance.atol + tolerance.rtol * max(abs(y[i]), abs(new[i]))
        total += (gap[i] / scale) ** 2
    norm = np.sqrt(total / max(1, y.size))
    return norm if np.isfinite(norm) else np.inf


@inlined
def _enter(cells, times, row, time, step):
    """Describe the next attempt as the one cell of `cells`."""
    width = times[row + 1] - times[row]
    cells.time[0] = time
    cells.size[0] = step
    cells.interval[0] = np.uint64(row)
    cells.low[0] = (time - times[row]) / width
    cells.high[0] = (time + step - times[row]) / width


@inlined
def _explicit_attempt(tape, tableau, tolerance, cells, inputs, noise, w, y, new, gap, work):
    k = work.k
    n, step = np.uint64(y.size), cells.size[0]
    for stage in range(np.uint64(tableau.b.size)):
        fill_stage(_ONE, tableau, stage, n, step, y, k, w, tape.states)
        load_drivers(_ONE, tape, cells, 0, tableau.c[stage], inputs, noise, w)
        _run(tape, tape.prologue, tape.essential, tape.shift, w)
        take_outputs(_ONE, tape, n, w, k[stage])
    for i in range(n):
        new[i] = y[i]
        gap[i] = 0.0
        for stage in range(tableau.b.size):
            gap[i] += step * tolerance.error[stage] * k[stage, i]
    advance(tableau, n, step, new, k)


@inlined
def _rosenbrock_attempt(tape, scheme, tolerance, cells, inputs, noise, w, y, new, gap, work):
    step_rosenbrock(
        tape, scheme, work.pattern, cells, 0, inputs, noise, w, work.base, y, work.u,
        work.factors, work.pivots, work.slots,
    )  # fmt: skip
    for i in range(y.size):
        new[i] = y[i]
        gap[i] = 0.0
        for stage in range(scheme.m.size):
            new[i] += scheme.m[stage] * work.u[stage, i]
            gap[i] += tolerance.error[stage] * work.u[stage, i]


def _adaptive(name, attempt):
    def adapt(
        tape, method, tolerance, times, cells, inputs, noise, w, y, new, gap, work, progress,
        sizes, rows,
    ):  # fmt: skip
        """Go on along `times`; record each step's length in `sizes`, in `rows` where it ends.

        `progress` (3,) holds the row last reached, the time and the step to try; `y` the state
        there. `rows` is the time of the grid that a step reaches, or -1. Returns the reason and the
        number of steps recorded.
        """
        row, time, step = int(progress[0]), progress[1], progress[2]
        n_done = 0
        _run(tape, _ZERO, tape.prologue, tape.prologue_shift, w)
        while row + 1 < times.size:
            if n_done == sizes.size:
                progress[0], progress[1], progress[2] = row, time, step
                return FULL, n_done
            step = min(step, tolerance.max_step)
            left = times[row + 1] - time
            # A step that would leave next to nothing takes all of it, one that leaves less than
            # itself takes half, so that no step is needlessly short.
            reaches = step >= left * (1.0 - 1e-10)
            length = left if reaches else (left / 2.0 if step > left / 2.0 else step)
            _enter(cells, times, row, time, length)
            attempt(tape, method, tolerance, cells, inputs, noise, w, y, new, gap, work)
            norm = _error_norm(tolerance, y, new, gap)
            factor = _SAFETY * norm ** (-1.0 / tolerance.order) if norm > 0.0 else _GROW
            following = length * min(_GROW, max(_SHRINK, factor))
            if norm <= 1.0:
                sizes[n_done] = length
                rows[n_done] = row + 1 if reaches else -1
                n_done += 1
                for i in range(y.size):
                    y[i] = new[i]
                if reaches:
                    row += 1
                    time = times[row]
                else:
                    time += length
                # A step cut short at a time of the grid says little about the next one's length.
                step = max(step, following) if length < step else following
            else:
                step = following
                if time + step == time:
                    progress[0], progress[1], progress[2] = row, time, step
                    return STUCK, n_done
        progress[0], progress[1], progress[2] = row, time, step
        return REACHED, n_done

    adapt.__name__ = adapt.__qualname__ = f"adapt_{name}"
    return kernel(adapt)


adapt_explicit = _adaptive("explicit", _explicit_attempt)
adapt_rosenbrock = _adaptive("rosenbrock", _rosenbrock_attempt)
