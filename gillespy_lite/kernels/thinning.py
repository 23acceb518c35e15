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
# under way; executions of events that were seen.
FRESH, STALE, SEARCH, UNSETTLED, N_COMPLETIONS, N_SEEN = range(N_COUNTERS, N_COUNTERS + 6)
N_JUMP_COUNTERS = N_COUNTERS + 6

# Windows are halved until the bounds are at most this often above the rates, or until fewer than
# this many proposals of a window can be in vain. A rejected proposal costs about a third of a new
# window.
_TIGHT = 2.0
_MOST_IN_VAIN = 16.0
# Where the bounds do not exclude that a rate is negative, windows are at most this part of the run:
# the rate itself is looked at whenever one begins.
_SUSPICIOUS = 1.0 / 64.0
# Shorter windows than this, relative to the time, are not tried for the sake of speed; and for the
# sake of a bound not below this part of the run: towards a pole windows would shrink, and events
# crowd, without end.
_LEAST_WINDOW = 1e-13
_LEAST_BOUNDED = 1e-5
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
def window_value(network, walker, reaction, time):
    """Return the propensity of a reaction or, where it moves, its bound in the present window."""
    return walker.value[reaction]


@apart
def fill_values(network, walker, step, time):
    """Compute what a step changes of `walker.value`; return a reaction that has no value, or -1."""
    for k in range(network.dependent_start[step], network.dependent_start[step + 1]):
        reaction = network.dependent[k]
        if network.moves[reaction] == 0:
            value = propensity(network, reaction, walker.state, time, walker.stack)
        elif walker.counter[FRESH] != 0:
            continue
        else:
            _, value = _rate_range(
                network, walker.state, walker.box, walker.path, walker.tolerances, walker.slopes,
                reaction, time, walker.clock[WINDOW_END],
            )  # fmt: skip
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
        A reaction whose rate has no bound in the shortest window, or -1.
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
            lower, upper = _rate_range(
                network, walker.state, walker.box, walker.path, walker.tolerances, walker.slopes,
                reaction, time, end,
            )  # fmt: skip
            if not upper < np.inf:
                culprit = reaction
                break
            walker.value[reaction] = upper
            lowest += max(lower, 0.0)
            highest += upper
            negative = negative or lower < 0.0
        fits = culprit < 0
        if fits and look_ahead == 0.0:
            fits = (
                highest <= _TIGHT * lowest or (highest - lowest) * (end - time) <= _MOST_IN_VAIN
            ) and not (negative and end - time > _SUSPICIOUS * span)
        if fits or end - time <= (least if culprit < 0 else max(least, _LEAST_BOUNDED * span)):
            break
        length = 0.5 * (end - time)
        is_first = False
    if look_ahead == 0.0:
        clock[LOOK_AHEAD] = min(2.0 * length, span) if is_first else length
    return culprit
