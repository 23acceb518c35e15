"""Explicit cells: one Runge-Kutta step as a recurrent cell, run forwards, backwards, with tangents.

All arrays are flat over lanes: entry i of lane l is at i * lanes + l.

References
----------
Hairer, Norsett and Wanner (1993), Solving ordinary differential equations I,
doi:10.1007/978-3-540-78862-1. Werbos (1990), Backpropagation through time, Proc. IEEE 78, 1550,
doi:10.1109/5.58337. Williams and Zipser (1989), A learning algorithm for continually running fully
recurrent neural networks, Neural Comput. 1, 270, doi:10.1162/neco.1989.1.2.270 (forward mode).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from .jit import inlined, kernel
from .tapes import LANES, pull_back_tape, push_tape, run_tape
from .vectors import add_scaled, clear, scale_onto

__all__ = [
    "Cells",
    "Tableau",
    "add_input_adjoints",
    "advance",
    "fill_stage",
    "load_drivers",
    "load_inputs",
    "push_explicit",
    "record",
    "retrace_explicit",
    "take_outputs",
    "unroll_explicit",
]

_ZERO, _ONE, _LANES = np.uint64(0), np.uint64(1), np.uint64(LANES)
_run_one = run_tape[1]


def _named(function, lanes):
    """Compile an entry point for so many lanes; the cached file is named after the function."""
    function.__name__ = function.__qualname__ = f"{function.__name__}_{int(lanes)}"
    return kernel(function)


class Tableau(NamedTuple):
    """Coefficients of an explicit Runge-Kutta method."""

    a: np.ndarray  # (n_stages, n_stages) float64, strictly lower triangular
    b: np.ndarray  # (n_stages,) float64
    c: np.ndarray  # (n_stages,) float64, in units of the step
    # The tape gives the next state itself rather than the time derivatives (one stage).
    is_map: bool


class Cells(NamedTuple):
    """The steps: one entry a cell, in the order of time."""

    time: np.ndarray  # (n_cells,) float64, where the cell begins
    size: np.ndarray  # (n_cells,) float64, length of the step
    interval: np.ndarray  # (n_cells,) uint64, the interval of the grid that the cell lies in
    low: np.ndarray  # (n_cells,) float64, the fraction of its interval where it begins
    high: np.ndarray  # (n_cells,) float64, and where it ends
    record: np.ndarray  # (n_cells,) int64, the row of the grid that it ends at, or -1
    is_linear: bool  # inputs are interpolated between times of the grid, not held


@inlined
def load_inputs(lanes, tape, cells, cell, position, inputs, w):
    """Write inputs and their slopes at a position in a cell into slots; tangents likewise."""
    width = (tape.slopes - tape.inputs) * lanes
    here = cells.interval[cell] * width
    to, to_slope = tape.inputs * lanes, tape.slopes * lanes
    part_of_interval = cells.high[cell] - cells.low[cell]
    fraction = cells.low[cell] + position * part_of_interval
    for i in range(width):
        value = inputs[here + i]
        if cells.is_linear:
            rise = inputs[here + width + i] - value
            w[to + i] = value + fraction * rise
            w[to_slope + i] = rise * (part_of_interval / cells.size[cell])
        else:
            w[to + i] = value
            w[to_slope + i] = 0.0


@inlined
def load_drivers(lanes, tape, cells, cell, position, inputs, noise, w):
    """Write inputs, their slopes, noise, time and step size at a position in a cell into slots."""
    load_inputs(lanes, tape, cells, cell, position, inputs, w)
    width, to = (tape.time - tape.noise) * lanes, tape.noise * lanes
    here = np.uint64(cell) * width
    for i in range(width):
        w[to + i] = noise[here + i]
    to = tape.time * lanes
    for lane in range(lanes):
        w[to + lane] = cells.time[cell] + position * cells.size[cell]
        w[to + lanes + lane] = cells.size[cell]


@inlined
def add_input_adjoints(lanes, tape, cells, cell, position, bar, inputs_bar):
    """Move the adjoints of the input slots to the grid's inputs; clear those of all drivers."""
    width = (tape.slopes - tape.inputs) * lanes
    here = cells.interval[cell] * width
    at, at_slope = tape.inputs * lanes, tape.slopes * lanes
    part_of_interval = cells.high[cell] - cells.low[cell]
    fraction = cells.low[cell] + position * part_of_interval
    for i in range(width):
        if cells.is_linear:
            by_rise = fraction * bar[at + i]
            by_rise += bar[at_slope + i] * (part_of_interval / cells.size[cell])
            inputs_bar[here + i] += bar[at + i] - by_rise
            inputs_bar[here + width + i] += by_rise
            bar[at_slope + i] = 0.0
        else:
            inputs_bar[here + i] += bar[at + i]
        bar[at + i] = 0.0
    for i in range(tape.noise * lanes, (tape.time + _ONE + _ONE) * lanes):
        bar[i] = 0.0


@inlined
def fill_stage(lanes, tableau, stage, n, step, y, k, w, at):
    """Write the state at which a stage takes its slopes into the slots from `at` on."""
    if lanes == _ONE:
        for i in range(n):
            total = 0.0
            for j in range(stage):
                total += tableau.a[stage, j] * k[j, i]
            w[at + i] = y[i] + step * total
    else:
        for i in range(_ZERO, n, _LANES):
            clear(w, at + i)
            for j in range(stage):
                add_scaled(w, k[j], at + i, i, tableau.a[stage, j])
            scale_onto(w, y, at + i, i, step)


@inlined
def advance(tableau, n, step, y, k):
    """Move the state to the end of the cell."""
    for i in range(n):
        if tableau.is_map:
            y[i] = k[0, i]
        else:
            total = 0.0
            for stage in range(np.uint64(tableau.b.size)):
                total += tableau.b[stage] * k[stage, i]
            y[i] += step * total


@inlined
def take_outputs(lanes, tape, n, w, k):
    """Copy the first `n` outputs of a tape to `k` (n * lanes,)."""
    for i in range(n):
        source, to = tape.output[i] * lanes, i * lanes
        for lane in range(lanes):
            k[to + lane] = w[source + lane]


@inlined
def record(cells, cell, y, states):
    """Write the state `y` to its row of `states` if the cell ends at a time of the grid."""
    row = cells.record[cell]
    if row >= 0:
        for i in range(np.uint64(y.size)):
            states[row, i] = y[i]


def _unroll(lanes):
    run = run_tape[int(lanes)]

    def unroll_explicit(tape, tableau, cells, first, last, inputs, noise, w, y, k, states, trail):
        """Run cells [first, last) from the state `y` (n_states * lanes,), which they change.

        Recorded states go to `states` (n_times, n_states * lanes). `trail` (n_cells, n_stages,
        n) keeps the slots that depend on the state, for the way back; it may be empty.
        """
        n = np.uint64(y.size)
        n_stages = np.uint64(tableau.b.size)
        at = tape.states * lanes
        keeps = trail.shape[0] > 0
        run(tape, _ZERO, tape.prologue, tape.prologue_shift, w)
        for cell in range(first, last):
            step = cells.size[cell]
            for stage in range(n_stages):
                fill_stage(lanes, tableau, stage, n, step, y, k, w, at)
                load_drivers(lanes, tape, cells, cell, tableau.c[stage], inputs, noise, w)
                run(tape, tape.prologue, tape.essential, tape.shift, w)
                take_outputs(lanes, tape, n // lanes, w, k[stage])
                if keeps:
                    kept = trail[cell - first, stage]
                    for i in range(np.uint64(kept.size)):
                        kept[i] = w[at + i]
            advance(tableau, n, step, y, k)
            record(cells, cell, y, states)

    return _named(unroll_explicit, lanes)


def _retrace(lanes):
    run, pull_back = run_tape[int(lanes)], pull_back_tape[int(lanes)]
    is_single = lanes == _ONE

    def retrace_explicit(
        tape, tableau, cells, first, last, trail, w, bar, y_bar, k_bar, states_bar, inputs_bar
    ):
        """Go back through cells [first, last): back-propagation through time.

        `y_bar` (n_states * lanes,) holds the adjoint of the state after the last of the cells, and
        becomes that of the state before the first. Adjoints of parameters, and of what depends on
        them alone, add up in `bar` (n_slots * lanes,).
        """
        n = np.uint64(y_bar.size)
        n_stages = np.uint64(tableau.b.size)
        at = tape.states * lanes
        run(tape, _ZERO, tape.prologue, tape.prologue_shift, w)
        for back in range(first, last):
            cell = first + last - 1 - back
            step = cells.size[cell]
            row = cells.record[cell]
            if row >= 0:
                for i in range(n):
                    y_bar[i] += states_bar[row, i]
            for stage in range(n_stages):
                weight = 1.0 if tableau.is_map else step * tableau.b[stage]
                for i in range(n):
                    k_bar[stage, i] = weight * y_bar[i]
            if tableau.is_map:
                for i in range(n):
                    y_bar[i] = 0.0
            for down in range(n_stages):
                stage = n_stages - _ONE - down
                kept = trail[cell - first, stage]
                for i in range(np.uint64(kept.size)):
                    w[at + i] = kept[i]
                for i in range(n // lanes):
                    to, source = tape.output[i] * lanes, i * lanes
                    for lane in range(lanes):
                        # Added, because two states may have the same slope, so one slot.
                        bar[to + lane] += k_bar[stage, source + lane]
                pull_back(tape, tape.prologue, tape.essential, tape.shift, w, bar)
                if is_single:
                    for i in range(n):
                        share = bar[at + i]
                        bar[at + i] = 0.0
                        y_bar[i] += share
                        for j in range(stage):
                            k_bar[j, i] += step * tableau.a[stage, j] * share
                else:
                    for i in range(_ZERO, n, _LANES):
                        add_scaled(y_bar, bar, i, at + i, 1.0)
                        for j in range(stage):
                            add_scaled(k_bar[j], bar, i, at + i, step * tableau.a[stage, j])
                        clear(bar, at + i)
                add_input_adjoints(lanes, tape, cells, cell, tableau.c[stage], bar, inputs_bar)
        if first == 0:
            pull_back(tape, _ZERO, tape.prologue, tape.prologue_shift, w, bar)

    return _named(retrace_explicit, lanes)


@kernel
def push_explicit(
    tape, tableau, cells, first, last, inputs, inputs_dot, noise, w, dot, y, y_dot, k, k_dot,
    states, states_dot,
):  # fmt: skip
    """Run cells [first, last) with tangents along LANES directions: real-time recurrent learning.

    The state `y` (n_states,) is one trajectory's; `y_dot` (n_states * LANES,) and `states_dot`
    (n_times, n_states * LANES) are its slopes.
    """
    n = np.uint64(y.size)
    n_stages = np.uint64(tableau.b.size)
    at = tape.states
    _run_one(tape, _ZERO, tape.prologue, tape.prologue_shift, w)
    push_tape(tape, _ZERO, tape.prologue, tape.prologue_shift, w, dot)
    for cell in range(first, last):
        step = cells.size[cell]
        for stage in range(n_stages):
            fill_stage(_ONE, tableau, stage, n, step, y, k, w, at)
            fill_stage(_LANES, tableau, stage, n * _LANES, step, y_dot, k_dot, dot, at * _LANES)
            load_drivers(_ONE, tape, cells, cell, tableau.c[stage], inputs, noise, w)
            load_inputs(_LANES, tape, cells, cell, tableau.c[stage], inputs_dot, dot)
            _run_one(tape, tape.prologue, tape.essential, tape.shift, w)
            push_tape(tape, tape.prologue, tape.essential, tape.shift, w, dot)
            take_outputs(_ONE, tape, n, w, k[stage])
            take_outputs(_LANES, tape, n, dot, k_dot[stage])
        advance(tableau, n, step, y, k)
        advance(tableau, n * _LANES, step, y_dot, k_dot)
        record(cells, cell, y, states)
        record(cells, cell, y_dot, states_dot)


# Number of lanes -> the kernel.
unroll_explicit = {1: _unroll(_ONE), LANES: _unroll(_LANES)}
retrace_explicit = {1: _retrace(_ONE), LANES: _retrace(_LANES)}
