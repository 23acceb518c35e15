"""What every sampling kernel does alike: start a trajectory, record it, and keep its place.

A kernel works through the rows of its output. It returns when all are done, when its budget of
work is spent, or when the buffer of events is full, and goes on from its `Walker` when called
again, so where it was stopped never changes a path.
"""

from __future__ import annotations

import numpy as np

from .jit import inlined, part
from .programs import evaluate_program
from .random import seed_stream

__all__ = [
    "ALL_DONE",
    "BAD_DELAY",
    "BAD_PROPENSITY",
    "BOUND_BROKEN",
    "BUDGET_SPENT",
    "COMPLETE",
    "COMPLETIONS_FULL",
    "EVENTS_FULL",
    "EVENT_LIMIT",
    "EVENT_TROUBLE",
    "EXECUTIONS_FULL",
    "IN_TROUBLE",
    "LARGEST_COUNT",
    "NEGATIVE_COUNT",
    "N_CLOCKS",
    "N_COUNTERS",
    "OVERFLOW",
    "STEP_COLLAPSE",
    "UNBOUNDED",
    "condition_holds",
    "finish_row",
    "record_event",
    "record_row",
    "record_until",
    "start_row",
]

# Why a kernel returned. In trouble: a trajectory could not go on, and the walker still holds its
# state; a further call goes on with the next one.
ALL_DONE, BUDGET_SPENT, EVENTS_FULL, IN_TROUBLE = 0, 1, 2, 3
# A further call needs a walker with more room for completions, or for executions of events.
COMPLETIONS_FULL, EXECUTIONS_FULL = 4, 5

# How a trajectory ended (`Output.outcome`); 0 while it has not.
COMPLETE, EVENT_LIMIT, BAD_PROPENSITY, OVERFLOW = 1, 2, 3, 4
# Only where the loop of jump_loop.py runs: a rate without a bound; one above its bound; a delayed
# completion that takes more than there is; a delay that is none; steps of the variables that become
# too small; an event in trouble.
UNBOUNDED, BOUND_BROKEN, NEGATIVE_COUNT, BAD_DELAY, STEP_COLLAPSE, EVENT_TROUBLE = 5, 6, 7, 8, 9, 10

# Walker.counter: the row at work; is it under way; grid times recorded; events so far; the reaction
# that fired last; the reaction in trouble; rows in the event buffer; one for the method's own use.
ROW, UNDER_WAY, N_RECORDED, N_EVENTS, FIRED, TROUBLE, N_BUFFERED, SPARE = range(8)
N_COUNTERS = 8
# Walker.clock: the time reached; one for the method's own use.
TIME, SPARE_TIME = range(2)
N_CLOCKS = 2

# Doubles tell whole numbers apart up to here, and propensities are doubles.
LARGEST_COUNT = 2**53


@part
def record_row(request, walker, parameters, time, counts, values):
    """Write the recorded counts and values of the present state at `time`."""
    for c in range(request.columns.size):
        counts[c] = walker.state[request.columns[c]]
    for v in range(values.size):
        values[v] = evaluate_program(
            request.observed, v, walker.state, parameters, time, walker.stack
        )


@inlined
def record_until(request, walker, parameters, output, row, n_recorded, time):
    """Record the state at every grid time before `time`; return how many are recorded now."""
    times = request.times
    while n_recorded < times.size and times[n_recorded] < time:
        record_row(
            request,
            walker,
            parameters,
            times[n_recorded],
            output.counts[row, n_recorded],
            output.values[row, n_recorded],
        )
        n_recorded += 1
    return n_recorded


@part
def record_event(request, walker, parameters, output, time, reaction):
    """Add the state after an event to the buffer; return whether the buffer is full now."""
    k = walker.counter[N_BUFFERED]
    output.event_time[k] = time
    output.event_reaction[k] = reaction
    record_row(request, walker, parameters, time, output.event_counts[k], output.event_values[k])
    walker.counter[N_BUFFERED] = k + 1
    return k + 1 == output.event_time.size


@inlined
def start_row(request, walker, parameters, output, row, first_index, n_reactions):
    """Put the walker at the start of the trajectory of `row`."""
    for i in range(request.initial_state.size):
        walker.state[i] = request.initial_state[i]
    seed_stream(request.key, first_index + row, walker.stream)
    walker.clock[TIME] = request.times[0]
    walker.counter[UNDER_WAY] = 1
    walker.counter[N_RECORDED] = 0
    walker.counter[N_EVENTS] = 0
    # As if a reaction that changes everything had just fired: all propensities are computed.
    walker.counter[FIRED] = n_reactions
    output.hitting_time[row] = np.nan
    if request.every_event:
        record_event(request, walker, parameters, output, request.times[0], -1)


@inlined
def condition_holds(request, walker, parameters, time):
    """Return whether the run asked to stop in the present state."""
    # As a number of the usual type: a literal would compile all that is called a second time.
    first = np.int64(0)
    if request.condition.start.size < 2:
        return False
    value = evaluate_program(request.condition, first, walker.state, parameters, time, walker.stack)
    return value != 0.0


@inlined
def finish_row(walker, output, row, outcome, n_events):
    """Write how the trajectory ended and make the walker ready for the next row."""
    output.outcome[row] = outcome
    output.n_events[row] = n_events
    walker.counter[N_EVENTS] = n_events
    walker.counter[UNDER_WAY] = 0
    walker.counter[ROW] = row + 1
