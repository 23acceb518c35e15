"""Rosenbrock cells: implicit steps for stiff networks that solve linear equations only.

With W = I / (h gamma) - J, the increments of a step of length h from (t, y) are

    W u_i = f(t + alpha_i h, y + sum_j a_ij u_j) + sum_j c_ij / h u_j + gamma_i h df/dt

and the next state is y + sum_i m_i u_i. One factorisation serves all stages, and its transpose all
stages on the way back.

References
----------
Hairer and Wanner (1996), Solving ordinary differential equations II, section IV.7,
doi:10.1007/978-3-642-05221-7.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from .explicit_cells import add_input_adjoints, load_drivers, load_inputs, record
from .jit import inlined, kernel, part
from .tapes import LANES, pull_back_tape, push_tape, run_tape

__all__ = [
    "Pattern",
    "RosenbrockTrail",
    "Scheme",
    "push_rosenbrock",
    "retrace_rosenbrock",
    "step_rosenbrock",
    "unroll_rosenbrock",
]

_ZERO, _ONE, _LANES = np.uint64(0), np.uint64(1), np.uint64(LANES)
_run, _pull_back = run_tape[1], pull_back_tape[1]


class Scheme(NamedTuple):
    """Coefficients of a Rosenbrock method, in the notation above."""

    gamma: float
    a: np.ndarray  # (n_stages, n_stages) float64, strictly lower triangular
    c: np.ndarray  # (n_stages, n_stages) float64, strictly lower triangular
    m: np.ndarray  # (n_stages,) float64
    error: np.ndarray  # (n_stages,) float64, the embedded error estimate; zeros if there is none
    alpha: np.ndarray  # (n_stages,) float64
    gamma_sum: np.ndarray  # (n_stages,) float64


class Pattern(NamedTuple):
    """The entries of the Jacobian that are not zero, in the order of the tape's outputs."""

    row: np.ndarray  # (n_entries,) int64
    column: np.ndarray  # (n_entries,) int64


class RosenbrockTrail(NamedTuple):
    """What the way back needs of each cell; of length 0 where nothing is kept."""

    slots: np.ndarray  # (n_cells, n_stages, n) float64, slots that depend on the state
    increments: np.ndarray  # (n_cells, n_stages, n_states) float64
    factors: np.ndarray  # (n_cells, n_states, n_states) float64, of W
    pivots: np.ndarray  # (n_cells, n_states) int64


@part
def _factorise(matrix, pivots):
    """Replace a matrix by its LU factors, rows exchanged as `pivots` say."""
    n = matrix.shape[0]
    for k in range(n):
        best = k
        for i in range(k + 1, n):
            if abs(matrix[i, k]) > abs(matrix[best, k]):
                best = i
        pivots[k] = best
        if best != k:
            for j in range(n):
                matrix[k, j], matrix[best, j] = matrix[best, j], matrix[k, j]
        inverse = 1.0 / matrix[k, k]
        for i in range(k + 1, n):
            factor = matrix[i, k]
            if factor != 0.0:
                factor *= inverse
                matrix[i, k] = factor
                for j in range(k + 1, n):
                    matrix[i, j] -= factor * matrix[k, j]


@inlined
def _solve(lanes, factors, pivots, x):
    """Solve W x = b in place; `x` (n * lanes,) holds b."""
    n = factors.shape[0]
    for k in range(n):
        best = pivots[k]
        if best != k:
            for lane in range(lanes):
                here, there = k * lanes + lane, best * lanes + lane
                x[here], x[there] = x[there], x[here]
    for i in range(1, n):
        for j in range(i):
            factor = factors[i, j]
            if factor != 0.0:
                for lane in range(lanes):
                    x[i * lanes + lane] -= factor * x[j * lanes + lane]
    for back in range(n):
        i = n - 1 - back
        for j in range(i + 1, n):
            factor = factors[i, j]
            if factor != 0.0:
                for lane in range(lanes):
                    x[i * lanes + lane] -= factor * x[j * lanes + lane]
        inverse = 1.0 / factors[i, i]
        for lane in range(lanes):
            x[i * lanes + lane] *= inverse


@part
def _solve_transposed(factors, pivots, x):
    """Solve the transposed equations in place."""
    n = x.size
    for i in range(n):
        x[i] /= factors[i, i]
        for j in range(i + 1, n):
            x[j] -= factors[i, j] * x[i]
    for back in range(n):
        i = n - 1 - back
        for j in range(i):
            x[j] -= factors[i, j] * x[i]
    for back in range(n):
        k = n - 1 - back
        best = pivots[k]
        if best != k:
            x[k], x[best] = x[best], x[k]


@inlined
def _fill_matrix(tape, scheme, pattern, step, n, w, matrix):
    for i in range(n):
        for j in range(n):
            matrix[i, j] = 0.0
        matrix[i, i] = 1.0 / (step * scheme.gamma)
    for k in range(pattern.row.size):
        matrix[pattern.row[k], pattern.column[k]] -= w[tape.output[n + k]]


@inlined
def _keep(tape, w, kept):
    for i in range(np.uint64(kept.size)):
        kept[i] = w[tape.states + i]


@inlined
def _load(tape, w, kept):
    for i in range(np.uint64(kept.size)):
        w[tape.states + i] = kept[i]


@part
def step_rosenbrock(
    tape, scheme, pattern, cells, cell, inputs, noise, w, base, y, u, factors, pivots, slots
):
    """Fill the increments `u` (n_stages, n_states) of one step from `y`, which stays.

    `base` (n_outputs,) takes the tape's outputs at the beginning. `slots` (n_stages, n) takes the
    slots that depend on the state; it may have no rows.
    """
    n, n_stages = y.size, scheme.m.size
    step = cells.size[cell]
    n_groups = np.uint64(tape.operation.size)
    drift = n + pattern.row.size  # where the outputs df/dt begin
    for stage in range(n_stages):
        for i in range(n):
            total = y[i]
            for j in range(stage):
                total += scheme.a[stage, j] * u[j, i]
            w[tape.states + np.uint64(i)] = total
        load_drivers(_ONE, tape, cells, cell, scheme.alpha[stage], inputs, noise, w)
        _run(tape, tape.prologue, n_groups if stage == 0 else tape.essential, tape.shift, w)
        if stage == 0:
            _fill_matrix(tape, scheme, pattern, step, n, w, factors)
            _factorise(factors, pivots)
            # Kept aside, because an output may share its slot with one that later stages fill.
            for i in range(base.size):
                base[i] = w[tape.output[i]]
        if slots.shape[0] > 0:
            _keep(tape, w, slots[stage])
        for i in range(n):
            total = w[tape.output[i]] + step * scheme.gamma_sum[stage] * base[drift + i]
            for j in range(stage):
                total += scheme.c[stage, j] / step * u[j, i]
            u[stage, i] = total
        _solve(_ONE, factors, pivots, u[stage])


@kernel
def unroll_rosenbrock(
    tape, scheme, pattern, cells, first, last, inputs, noise, w, base, y, u, factors, pivots,
    states, trail,
):  # fmt: skip
    """Run cells [first, last) from the state `y` (n_states,), which they change.

    Recorded states go to `states` (n_times, n_states); see `RosenbrockTrail` for `trail`.
    """
    keeps = trail.slots.shape[0] > 0
    _run(tape, _ZERO, tape.prologue, tape.prologue_shift, w)
    for cell in range(first, last):
        here = cell - first
        slots = trail.slots[here] if keeps else trail.slots[0:0, 0]
        step_rosenbrock(
            tape, scheme, pattern, cells, cell, inputs, noise, w, base, y, u, factors, pivots, slots
        )
        for i in range(y.size):
            for stage in range(scheme.m.size):
                y[i] += scheme.m[stage] * u[stage, i]
        record(cells, cell, y, states)
        if keeps:
            for i in range(y.size):
                trail.pivots[here, i] = pivots[i]
                for j in range(y.size):
                    trail.factors[here, i, j] = factors[i, j]
                for stage in range(scheme.m.size):
                    trail.increments[here, stage, i] = u[stage, i]


@kernel
def retrace_rosenbrock(
    tape, scheme, pattern, cells, first, last, trail, w, bar, y_bar, u_bar, slope_bar, states_bar,
    inputs_bar,
):  # fmt: skip
    """Go back through cells [first, last): back-propagation through time.

    `y_bar` (n_states,) holds the adjoint of the state after the last of the cells, and becomes
    that of the state before the first. `slope_bar` (n_outputs,) is scratch.
    """
    n, n_stages = y_bar.size, scheme.m.size
    n_groups = np.uint64(tape.operation.size)
    n_entries = pattern.row.size
    drift = n + n_entries
    _run(tape, _ZERO, tape.prologue, tape.prologue_shift, w)
    for back in range(first, last):
        cell = first + last - 1 - back
        here = cell - first
        step = cells.size[cell]
        row = cells.record[cell]
        u = trail.increments[here]
        for i in range(n):
            if row >= 0:
                y_bar[i] += states_bar[row, i]
            for stage in range(n_stages):
                u_bar[stage, i] = scheme.m[stage] * y_bar[i]
        for i in range(slope_bar.size):
            slope_bar[i] = 0.0
        for down in range(n_stages):
            stage = n_stages - 1 - down
            v = u_bar[stage]
            _solve_transposed(trail.factors[here], trail.pivots[here], v)
            for k in range(n_entries):
                slope_bar[n + k] += v[pattern.row[k]] * u[stage, pattern.column[k]]
            for i in range(n):
                slope_bar[drift + i] += step * scheme.gamma_sum[stage] * v[i]
                for j in range(stage):
                    u_bar[j, i] += scheme.c[stage, j] / step * v[i]
            _load(tape, w, trail.slots[here, stage])
            for i in range(n):
                bar[tape.output[i]] += v[i]
            last_group = tape.essential
            if stage == 0:
                last_group = n_groups
                for i in range(n, slope_bar.size):
                    bar[tape.output[i]] += slope_bar[i]
            _pull_back(tape, tape.prologue, last_group, tape.shift, w, bar)
            for i in range(n):
                slot = tape.states + np.uint64(i)
                share = bar[slot]
                bar[slot] = 0.0
                y_bar[i] += share
                for j in range(stage):
                    u_bar[j, i] += scheme.a[stage, j] * share
            add_input_adjoints(_ONE, tape, cells, cell, scheme.alpha[stage], bar, inputs_bar)
    if first == 0:
        _pull_back(tape, _ZERO, tape.prologue, tape.prologue_shift, w, bar)


@kernel
def push_rosenbrock(
    tape, scheme, pattern, cells, first, last, inputs, inputs_dot, noise, w, dot, base, base_dot, y,
    y_dot, u, u_dot, factors, pivots, states, states_dot,
):  # fmt: skip
    """Run cells [first, last) with tangents along LANES directions.

    The state `y` (n_states,) is one trajectory's; `y_dot` (n_states * LANES,) are its slopes.
    """
    n, n_stages = y.size, scheme.m.size
    n_groups = np.uint64(tape.operation.size)
    n_entries = pattern.row.size
    drift = n + n_entries
    lanes = LANES
    _run(tape, _ZERO, tape.prologue, tape.prologue_shift, w)
    push_tape(tape, _ZERO, tape.prologue, tape.prologue_shift, w, dot)
    for cell in range(first, last):
        step = cells.size[cell]
        for stage in range(n_stages):
            for i in range(n):
                slot = tape.states + np.uint64(i)
                total = y[i]
                for j in range(stage):
                    total += scheme.a[stage, j] * u[j, i]
                w[slot] = total
                for lane in range(lanes):
                    at = i * lanes + lane
                    total = y_dot[at]
                    for j in range(stage):
                        total += scheme.a[stage, j] * u_dot[j, at]
                    dot[slot * _LANES + np.uint64(lane)] = total
            load_drivers(_ONE, tape, cells, cell, scheme.alpha[stage], inputs, noise, w)
            load_inputs(_LANES, tape, cells, cell, scheme.alpha[stage], inputs_dot, dot)
            last_group = n_groups if stage == 0 else tape.essential
            _run(tape, tape.prologue, last_group, tape.shift, w)
            push_tape(tape, tape.prologue, last_group, tape.shift, w, dot)
            if stage == 0:
                _fill_matrix(tape, scheme, pattern, step, n, w, factors)
                _factorise(factors, pivots)
                for i in range(base.size):
                    base[i] = w[tape.output[i]]
                    for lane in range(lanes):
                        base_dot[i * lanes + lane] = dot[tape.output[i] * _LANES + np.uint64(lane)]
            weight = step * scheme.gamma_sum[stage]
            for i in range(n):
                rate, slope = tape.output[i], drift + i
                total = w[rate] + weight * base[slope]
                for j in range(stage):
                    total += scheme.c[stage, j] / step * u[j, i]
                u[stage, i] = total
                for lane in range(lanes):
                    at = i * lanes + lane
                    total = dot[rate * _LANES + np.uint64(lane)]
                    total += weight * base_dot[slope * lanes + lane]
                    for j in range(stage):
                        total += scheme.c[stage, j] / step * u_dot[j, at]
                    u_dot[stage, at] = total
            _solve(_ONE, factors, pivots, u[stage])
            # W changes by minus the change of J: W du = d(right-hand side) + dJ u.
            for k in range(n_entries):
                increment = u[stage, pattern.column[k]]
                for lane in range(lanes):
                    at = pattern.row[k] * lanes + lane
                    u_dot[stage, at] += base_dot[(n + k) * lanes + lane] * increment
            _solve(lanes, factors, pivots, u_dot[stage])
        for stage in range(n_stages):
            for i in range(n):
                y[i] += scheme.m[stage] * u[stage, i]
            for at in range(n * lanes):
                y_dot[at] += scheme.m[stage] * u_dot[stage, at]
        record(cells, cell, y, states)
        record(cells, cell, y_dot, states_dot)
