"""Rates that move between jumps: windows, bounds in them, and what is still to be accepted.

A reaction whose rate moves is proposed at a bound of its rate over a window of time, and fires with
the probability rate / bound: then its events have the law of the rate itself, whatever the windows.
The bounds come from interval arithmetic, so that no peak of a rate is ever overlooked.

References
----------
Lewis and Shedler (1979), Simulation of nonhomogeneous Poisson processes by thinning, Nav. Res.
Logist. Q. 26, 403, doi:10.1002/nav.3800260304. Voliotis, Thomas, Grima and Bowsher (2016),
Stochastic simulation of biomolecular networks in dynamic environments, PLoS Comput. Biol. 12,
e1004923, doi:10.1371/journal.pcbi.1004923.
"""

from __future__ import annotations

import numpy as np

from .intervals import program_range
from .jit import apart, inlined
from .paths import path_box
from .propensities import law_weight, propensity
from .walking import N_CLOCKS, N_COUNTERS

__all__ = [
    "FRESH",
    "LOOK_AHEAD",
    "NEXT_CHANGE",
    "N_COMPLETIONS",
    "N_JUMP_CLOCKS",
    "N_JUMP_COUNTERS",
    "N_SEEN",
    "PATH_END",
    "SEARCH",
    "SHORT_PIECES",
    "STALE",
    "STEP",
    "UNSETTLED",
    "WINDOW_END",
    "current_rate",
    "fill_values",
    "open_window",
    "window_value",
]

# JumpWalker.clock, after the entries of walking.py: the end of the window, and of the path; the
# window and the step to try next; when a trigger or the stop condition changes.
WINDOW_END, PATH_END, LOOK_AHEAD, STEP, NEXT_CHANGE = range(N_CLOCKS, N_CLOCKS + 5)
N_JUMP_CLOCKS = N_CLOCKS + 5
# JumpWalker.counter: are the bounds those of a window just opened; is the path out of date; is
# NEXT_CHANGE; what is unsettled (2: events and the stop condition, 1: the condition); completions
# under way; executions of events that were seen; very short pieces of the path in succession.
FRESH, STALE, SEARCH, UNSETTLED, N_COMPLETIONS, N_SEEN, SHORT_PIECES = range(
    N_COUNTERS, N_COUNTERS + 7
)
N_JUMP_COUNTERS = N_COUNTERS + 7

# Windows are halved until the bounds are at most this often above the rates, or until fewer than
# this many proposals of a window can be in vain. A rejected proposal costs about a third of a new
# window.
_TIGHT = 2.0
_MOST_IN_VAIN = 16.0
# Windows of a length that was asked for are halved where more would be.
_FAR_TOO_MANY = 1e5
# Where the bounds do not exclude that a rate is negative, windows are at most this part of the run,
# and the rate is looked at more closely in each: in parts of it down to this share, finer by this
# factor each time, as long as the work allows. What is negative by rounding alone, relative to the
# bound, does not count.
_SUSPICIOUS = 1.0 / 64.0
_FINEST_PART, _FINER = 2.0**-16, 16.0
_MOST_LOOKS = 128
_NOTHING = 1e-12
# Shorter windows than this, relative to the time, are not tried.
_LEAST_WINDOW = 1e-13
# Towards a pole windows would shrink, and events crowd, without end. Where a window is shorter than
# this part of the run, that part is searched for one.
_FAR = 1e-5
_MOST_POLE_LOOKS = 4096
# A variable is known to a few times what its integration allows.
_UNSURE = 10.0


@apart
def _rate_range(network, state, box, path, tolerances, saved, reaction, start, end):
    """Return bounds of a rate that moves, from `start` to `end`.

    `saved`, (at least 2, n_moving) float64, is scratch.
    """
    weight = law_weight(network, reaction, state)
    if weight == 0.0:
        return 0.0, 0.0
    attempts = 2 if path.moving.size > 0 else 1
    lower, upper = 0.0, 0.0
    for attempt in range(attempts):
        if attempt > 0:
            # Negative: but is it so, when the variables are off by what their integration allows?
            for m in range(path.moving.size):
                i = path.moving[m]
                saved[0, m], saved[1, m] = box.low[i], box.high[i]
                largest = max(abs(box.low[i]), abs(box.high[i]))
                error = _UNSURE * (tolerances[1] + tolerances[0] * largest)
                box.low[i] -= error
                box.high[i] += error
        lower, upper = program_range(
            network.laws, reaction, box.low, box.high, network.parameters, start, end,
            box.low_stack, box.high_stack,
        )  # fmt: skip
        if attempt > 0:
            for m in range(path.moving.size):
                i = path.moving[m]
                box.low[i], box.high[i] = saved[0, m], saved[1, m]
            upper = 0.0 if upper >= 0.0 else upper
        if not upper < 0.0:
            break
    return weight * lower, weight * upper


@inlined
def _range(network, walker, reaction, start, end):
    return _rate_range(
        network, walker.state, walker.box, walker.path, walker.tolerances, walker.slopes,
        reaction, start, end,
    )  # fmt: skip


@apart
def _range_over(network, walker, reaction, start, end):
    """Return bounds of a rate over a part of the path, and make the walker's box that of it."""
    path_box(walker.path, start, end, walker.box.low, walker.box.high)
    return _range(network, walker, reaction, start, end)


@apart
def _first_negative(network, walker, reaction, start, end):
    """Return an instant from `start` on at which a rate is found to be negative; `end` if none is.

    The window is to end there: if no jump comes before, the error is found when the next begins.
    The walker's box is overwritten.
    """
    _, highest = _range_over(network, walker, reaction, start, end)
    least = -_NOTHING * highest
    _, upper = _range_over(network, walker, reaction, start, start)
    if upper < least:
        return start
    n_looks, part = 0, 1.0
    while part > _FINEST_PART:
        # All of the window is looked at in parts that are not too fine before any in finer ones.
        part /= _FINER
        narrowest = max(part * (end - start), _LEAST_WINDOW * max(abs(start), abs(end)))
        left, width, is_clear = start, end - start, True
        while left < end:
            if n_looks == _MOST_LOOKS:
                return end
            n_looks += 1
            right = left + width
            if not right < end:
                right = end
            lower, _ = _range_over(network, walker, reaction, left, right)
            if lower < least:
                middle = left + 0.5 * (right - left)
                _, upper = _range_over(network, walker, reaction, middle, middle)
                if upper < least:
                    return middle
                if right - left > narrowest:
                    width = 0.5 * (right - left)
                    continue
                is_clear = False
            left = right
            width *= 2.0
        if is_clear:
            break
    return end


@apart
def _find_pole(network, walker, reaction, start, end, least):
    """Return where in [`start`, `end`] a rate has no bound however short the window; inf: nowhere.

    The walker's box is overwritten.
    """
    left, width = start, end - start
    for _ in range(_MOST_POLE_LOOKS):
        right = left + width
        if not right < end:
            right = end
        _, upper = _range_over(network, walker, reaction, left, right)
        if upper < np.inf:
            if right == end:
                return np.inf
            left = right
            width *= 2.0
        elif right - left <= least:
            return left
        else:
            width = 0.5 * (right - left)
    return np.inf


@inlined
def window_value(network, walker, reaction, time):
    """Return the propensity of a reaction or, where it moves, its bound in the present window."""
    return walker.value[reaction]


@apart
def fill_values(network, walker, step, time):
    """Compute what a step changes of `walker.value`; return a reaction that has no value, or -1."""
    for i in range(network.part_start[step], network.part_start[step + 1]):
        part = network.part[i]
        for k in range(network.dependent_start[part], network.dependent_start[part + 1]):
            reaction = network.dependent[k]
            if network.moves[reaction] == 0:
                value = propensity(network, reaction, walker.state, time, walker.stack)
            elif walker.counter[FRESH] != 0:
                continue
            else:
                end = walker.clock[WINDOW_END]
                lower, value = _range(network, walker, reaction, time, end)
                if lower < 0.0 and end > time:
                    walker.clock[WINDOW_END] = _first_negative(network, walker, reaction, time, end)
                    path_box(walker.path, time, end, walker.box.low, walker.box.high)
            walker.value[reaction] = value
            if not 0.0 <= value < np.inf:
                return reaction
    return -1


@apart
def current_rate(network, state, stack, box, path, tolerances, saved, reaction, time):
    """Return the propensity at `time` of a reaction that moves; nan if it is none."""
    value = propensity(network, reaction, state, time, stack)
    if 0.0 <= value < np.inf:
        return value
    if value < 0.0 and path.moving.size > 0:
        for m in range(path.moving.size):
            i = path.moving[m]
            saved[2, m], saved[3, m] = box.low[i], box.high[i]
            box.low[i] = box.high[i] = state[i]
        _, upper = _rate_range(network, state, box, path, tolerances, saved, reaction, time, time)
        for m in range(path.moving.size):
            i = path.moving[m]
            box.low[i], box.high[i] = saved[2, m], saved[3, m]
        if upper >= 0.0:
            return 0.0
    return np.nan


@apart
def open_window(network, moving_reactions, walker, time, limit, span, look_ahead):
    """Choose the window that begins at `time`, and bound in it the rates that move.

    Parameters
    ----------
    limit : float
        Latest end of the window.
    span : float
        Length of the run.
    look_ahead : float
        Length of the window; 0 to choose it by how tight the bounds are.

    Returns
    -------
    int
        A reaction whose rate has no bound however short the window, or -1. Where that is, is
        then in `clock[WINDOW_END]`.
    """
    clock = walker.clock
    length = look_ahead if look_ahead > 0.0 else clock[LOOK_AHEAD]
    least = _LEAST_WINDOW * max(abs(time), span)
    is_first = True
    while True:
        end = time + length
        # No sliver of a window is left over at the limit.
        if not end < limit - 0.01 * length:
            end = limit
        clock[WINDOW_END] = end
        path_box(walker.path, time, end, walker.box.low, walker.box.high)
        lowest, highest, culprit, negative = 0.0, 0.0, -1, False
        for k in range(moving_reactions.size):
            reaction = moving_reactions[k]
            lower, upper = _range(network, walker, reaction, time, end)
            if not upper < np.inf:
                culprit = reaction
                break
            walker.value[reaction] = upper
            lowest += max(lower, 0.0)
            highest += upper
            negative = negative or lower < 0.0
        fits = culprit < 0
        if fits and look_ahead > 0.0:
            # A window that happens to end just before a pole has a bound, but what a bound.
            fits = (highest - lowest) * (end - time) <= _FAR_TOO_MANY
        elif fits:
            fits = (
                highest <= _TIGHT * lowest or (highest - lowest) * (end - time) <= _MOST_IN_VAIN
            ) and not (negative and end - time > _SUSPICIOUS * span)
        if fits or end - time <= least:
            break
        length = 0.5 * (end - time)
        is_first = False
    if look_ahead == 0.0:
        clock[LOOK_AHEAD] = min(2.0 * length, span) if is_first else length
    far = min(time + _FAR * span, limit)
    if culprit < 0 and (negative or end < far):
        for k in range(moving_reactions.size):
            reaction = moving_reactions[k]
            if end < far:
                _, upper = _range_over(network, walker, reaction, end, far)
                pole = np.inf
                if not upper < np.inf:
                    pole = _find_pole(network, walker, reaction, end, far, least)
                if pole < np.inf:
                    clock[WINDOW_END] = pole
                    return reaction
            if negative:
                lower, _ = _range_over(network, walker, reaction, time, end)
                if lower < 0.0:
                    clock[WINDOW_END] = min(
                        clock[WINDOW_END], _first_negative(network, walker, reaction, time, end)
                    )
        path_box(walker.path, time, end, walker.box.low, walker.box.high)
    return culprit
