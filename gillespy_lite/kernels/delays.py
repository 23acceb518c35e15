"""Delayed completions: how long a reaction takes, and the heap of those that are under way.

The heap lies in two arrays of a walker, `due_time` and `due_reaction`, earliest first; its size is
a counter of the walker. Both arrays are as long as the heap may grow before the kernel returns and
is called again with longer ones.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from .jit import apart
from .programs import Programs, evaluate_program
from .random import exponential, gamma, truncated_normal, uniform

__all__ = [
    "DELAY_CODES",
    "NO_DELAY",
    "Delays",
    "draw_delay",
    "earliest_completion",
    "pop_completion",
    "push_completion",
]

NO_DELAY, FIXED, UNIFORM, NORMAL, GAMMA, EXPONENTIAL = range(6)

# The names are those of `reactions.DELAY_LAWS`; a test compares the two tables.
DELAY_CODES = {
    "fixed": FIXED,
    "uniform": UNIFORM,
    "normal": NORMAL,
    "gamma": GAMMA,
    "exponential": EXPONENTIAL,
}


class Delays(NamedTuple):
    """The delays of all reactions."""

    law: np.ndarray  # (n_reactions,) int64, one of the codes above
    arguments: Programs  # two for each reaction, 2 j and 2 j + 1; empty where there is none


@apart
def draw_delay(delays, reaction, state, parameters, time, stack, stream):
    """Return how long this event of `reaction` takes; nan where its law makes no sense."""
    law = delays.law[reaction]
    first = evaluate_program(delays.arguments, 2 * reaction, state, parameters, time, stack)
    if not 0.0 <= abs(first) < np.inf:
        return np.nan
    if law == FIXED:
        return first if first >= 0.0 else np.nan
    if law == EXPONENTIAL:
        return exponential(stream) * first if first >= 0.0 else np.nan
    second = evaluate_program(delays.arguments, 2 * reaction + 1, state, parameters, time, stack)
    if not 0.0 <= abs(second) < np.inf:
        return np.nan
    if law == UNIFORM:
        return first + uniform(stream) * (second - first) if 0.0 <= first <= second else np.nan
    if law == GAMMA:
        return gamma(stream, first) * second if first > 0.0 and second > 0.0 else np.nan
    if second > 0.0:
        return truncated_normal(stream, first, second)
    return first if second == 0.0 and first >= 0.0 else np.nan


@apart
def push_completion(due_time, due_reaction, size, time, reaction):
    """Add a completion to the heap of `size` entries."""
    slot = size
    while slot > 0:
        parent = (slot - 1) // 2
        if due_time[parent] <= time:
            break
        due_time[slot], due_reaction[slot] = due_time[parent], due_reaction[parent]
        slot = parent
    due_time[slot], due_reaction[slot] = time, reaction


@apart
def pop_completion(due_time, due_reaction, size):
    """Take the earliest of `size` completions from the heap; return its reaction."""
    reaction = due_reaction[0]
    last = size - 1
    time, moved = due_time[last], due_reaction[last]
    slot = 0
    while True:
        child = 2 * slot + 1
        if child + 1 < last and due_time[child + 1] < due_time[child]:
            child += 1
        if child >= last or due_time[child] >= time:
            break
        due_time[slot], due_reaction[slot] = due_time[child], due_reaction[child]
        slot = child
    due_time[slot], due_reaction[slot] = time, moved
    return reaction


@apart
def earliest_completion(due_time, size):
    """Return when the earliest completion is due, inf if none is."""
    return due_time[0] if size > 0 else np.inf
