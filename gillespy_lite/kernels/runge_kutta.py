"""The path of the continuous variables between two jumps, one accepted step at a time.

References
----------
Dormand and Prince (1980), A family of embedded Runge-Kutta formulae, J. Comput. Appl. Math. 6, 19,
doi:10.1016/0771-050X(80)90013-3. Hairer, Norsett and Wanner (1993), Solving ordinary differential
equations I, section II.6 (the continuous extension of order 4) and II.4 (the control of the step).
"""

from __future__ import annotations

import numpy as np

from .jit import apart
from .programs import evaluate_program

__all__ = ["N_STAGES", "PATH_DEGREE", "hold_path", "step_path"]

# Rows of the scratch array: seven slopes, and the values at the start.
N_STAGES = 8
_START = 7
# Degree of the continuous extension.
PATH_DEGREE = 4

_C2, _C3, _C4, _C5 = 1 / 5, 3 / 10, 4 / 5, 8 / 9
_A21 = 1 / 5
_A31, _A32 = 3 / 40, 9 / 40
_A41, _A42, _A43 = 44 / 45, -56 / 15, 32 / 9
_A51, _A52, _A53, _A54 = 19372 / 6561, -25360 / 2187, 64448 / 6561, -212 / 729
_A61, _A62, _A63, _A64, _A65 = 9017 / 3168, -355 / 33, 46732 / 5247, 49 / 176, -5103 / 18656
_B1, _B3, _B4, _B5, _B6 = 35 / 384, 500 / 1113, 125 / 192, -2187 / 6784, 11 / 84
# The fifth order minus the fourth.
_E1, _E3, _E4, _E5, _E6, _E7 = (
    71 / 57600,
    -71 / 16695,
    71 / 1920,
    -17253 / 339200,
    22 / 525,
    -1 / 40,
)
_D1, _D3, _D4, _D5, _D6, _D7 = (
    -12715105075 / 11282082432,
    87487479700 / 32700410799,
    -10690763975 / 1880347072,
    701980252875 / 199316789632,
    -1453857185 / 822651844,
    69997945 / 29380423,
)
_SAFETY, _LEAST_RATIO, _LARGEST_RATIO = 0.9, 0.2, 5.0


@apart
def _fill_slopes(rates, moving, state, parameters, time, stack, slopes):
    """Write the rates of the moving variables; return whether all are finite."""
    finite = True
    for m in range(moving.size):
        slopes[m] = evaluate_program(rates, m, state, parameters, time, stack)
        finite = finite and abs(slopes[m]) < np.inf
    return finite


@apart
def _try_step(rates, moving, state, parameters, time, step, stack, k):
    """Fill the slopes k[1:7] of one step and leave its end in `state`; return whether finite."""
    start = k[_START]
    for m in range(moving.size):
        state[moving[m]] = start[m] + step * _A21 * k[0, m]
    fine = _fill_slopes(rates, moving, state, parameters, time + _C2 * step, stack, k[1])
    for m in range(moving.size):
        state[moving[m]] = start[m] + step * (_A31 * k[0, m] + _A32 * k[1, m])
    fine &= _fill_slopes(rates, moving, state, parameters, time + _C3 * step, stack, k[2])
    for m in range(moving.size):
        state[moving[m]] = start[m] + step * (_A41 * k[0, m] + _A42 * k[1, m] + _A43 * k[2, m])
    fine &= _fill_slopes(rates, moving, state, parameters, time + _C4 * step, stack, k[3])
    for m in range(moving.size):
        state[moving[m]] = start[m] + step * (
            _A51 * k[0, m] + _A52 * k[1, m] + _A53 * k[2, m] + _A54 * k[3, m]
        )
    fine &= _fill_slopes(rates, moving, state, parameters, time + _C5 * step, stack, k[4])
    for m in range(moving.size):
        state[moving[m]] = start[m] + step * (
            _A61 * k[0, m] + _A62 * k[1, m] + _A63 * k[2, m] + _A64 * k[3, m] + _A65 * k[4, m]
        )
    fine &= _fill_slopes(rates, moving, state, parameters, time + step, stack, k[5])
    for m in range(moving.size):
        state[moving[m]] = start[m] + step * (
            _B1 * k[0, m] + _B3 * k[2, m] + _B4 * k[3, m] + _B5 * k[4, m] + _B6 * k[5, m]
        )
    fine &= _fill_slopes(rates, moving, state, parameters, time + step, stack, k[6])
    return fine


@apart
def _write_extension(path, state, step, k):
    # The polynomial of degree 4 through start and end, and with their slopes, in Bernstein form.
    for m in range(path.moving.size):
        start, end = k[_START, m], state[path.moving[m]]
        rise = end - start
        bend = step * k[0, m] - rise
        skew = rise - step * k[6, m] - bend
        peak = step * (
            _D1 * k[0, m] + _D3 * k[2, m] + _D4 * k[3, m] + _D5 * k[4, m] + _D6 * k[5, m]
            + _D7 * k[6, m]
        )  # fmt: skip
        # y = start + u rise + u (1-u) bend + u^2 (1-u) skew + u^2 (1-u)^2 peak on 0 <= u <= 1.
        c = path.coefficients[m]
        c[0] = start
        c[1] = start + 0.25 * (rise + bend)
        c[2] = start + 0.5 * rise + bend / 3.0 + (skew + peak) / 6.0
        c[3] = start + 0.75 * rise + 0.25 * (bend + skew)
        c[4] = end


@apart
def hold_path(path, state, time):
    """Let the variables stay where they are from `time` on."""
    for m in range(path.moving.size):
        for i in range(path.coefficients.shape[1]):
            path.coefficients[m, i] = state[path.moving[m]]
    path.window[0], path.window[1] = time, time + 1.0


@apart
def step_path(path, rates, state, parameters, time, limit, first_step, tolerances, stack, k):
    """Find the path of the moving variables over one step from `time`, at most to `limit`.

    Parameters
    ----------
    path : Path
        Its window and coefficients are written; the state is left as it was.
    rates : Programs
        One for each moving variable.
    first_step : float
        The step to try, or 0 if none is known yet.
    tolerances : (float, float)
        Relative and absolute error allowed in one step.
    k : (N_STAGES, n_moving) float64
        Scratch.

    Returns
    -------
    float
        The step to try next; -1 - m if the steps collapse because of the m-th moving variable.
    """
    moving = path.moving
    relative, absolute = tolerances
    for m in range(moving.size):
        k[_START, m] = state[moving[m]]
    worst = 0
    fine = _fill_slopes(rates, moving, state, parameters, time, stack, k[0])
    step = first_step
    if not step > 0.0:
        # A step in which an explicit Euler step would change nothing by more than 1 percent.
        step = limit - time
        for m in range(moving.size):
            scale = absolute + relative * abs(k[_START, m])
            if abs(k[0, m]) > 0.0:
                step = min(step, 0.01 * max(abs(k[_START, m]), scale) / abs(k[0, m]))
    wanted = step
    least = 1e-14 * max(abs(time), abs(limit))
    while fine:
        end = time + step
        # No sliver of a step is left over at the limit.
        if not end < limit - 0.01 * step:
            end = limit
        step = end - time
        fits = _try_step(rates, moving, state, parameters, time, step, stack, k)
        error = 0.0
        for m in range(moving.size):
            largest = max(abs(k[_START, m]), abs(state[moving[m]]))
            share = abs(
                step
                * (
                    _E1 * k[0, m] + _E3 * k[2, m] + _E4 * k[3, m] + _E5 * k[4, m] + _E6 * k[5, m]
                    + _E7 * k[6, m]
                )
                / (absolute + relative * largest)
            )  # fmt: skip
            if not share <= error:
                error, worst = share, m
        if fits and error <= 1.0:
            path.window[0], path.window[1] = time, end
            _write_extension(path, state, step, k)
            for m in range(moving.size):
                state[moving[m]] = k[_START, m]
            ratio = _LARGEST_RATIO if error == 0.0 else _SAFETY * error**-0.2
            grown = step * min(_LARGEST_RATIO, max(_LEAST_RATIO, ratio))
            # A step cut short by the limit says nothing against the longer one.
            return max(grown, wanted) if end == limit else grown
        ratio = _SAFETY * error**-0.2 if fits and error < np.inf else _LEAST_RATIO
        step *= min(_SAFETY, max(_LEAST_RATIO, ratio))
        wanted = step
        if step < least:
            break
    for m in range(moving.size):
        state[moving[m]] = k[_START, m]
        if not abs(k[0, m]) < np.inf:
            worst = m
    return -1.0 - worst
