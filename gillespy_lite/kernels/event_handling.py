"""Events: when their triggers change, which executions wait, and what an execution does.

The rules are those of SBML Level 3 Version 2, section 4.11: an event is triggered when its
condition turns from false to true; its delay, and with ``values="trigger"`` its assignments, are
evaluated then; of the executions due at one instant the one of highest priority comes first, and
triggers and priorities are looked at anew after each.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from .intervals import program_range
from .jit import apart, inlined, kernel
from .paths import path_box, path_state
from .programs import Programs, evaluate_program
from .random import uniform

__all__ = [
    "BAD_EVENT_VALUE",
    "ENDLESS_EVENTS",
    "N_AT_INSTANT",
    "N_EVENT_COUNTERS",
    "N_EXECUTED",
    "N_PENDING",
    "QUEUE_FULL",
    "SEARCH_DEPTH",
    "SETTLED",
    "TROUBLE_EVENT",
    "TROUBLE_TARGET",
    "EventStore",
    "Events",
    "fill_values",
    "find_first_change",
    "find_next_change",
    "find_next_due",
    "find_next_timed",
    "first_change",
    "next_change",
    "next_due",
    "reset_events",
    "settle",
    "settle_events",
    "start_events",
]

# What `settle` returns.
SETTLED, QUEUE_FULL, BAD_EVENT_VALUE, ENDLESS_EVENTS = 0, 1, 2, 3

# EventStore.counter: executions that wait; executions since the start; those at the present
# instant; the event in trouble; the target in trouble (-1: the delay, -2: the priority).
N_PENDING, N_EXECUTED, N_AT_INSTANT, TROUBLE_EVENT, TROUBLE_TARGET = range(5)
N_EVENT_COUNTERS = 5

# Events that trigger one another without end are an error, not a loop for ever.
_MOST_AT_ONE_INSTANT = 10_000

# The search for a change. Intervals are halved down to neighbouring doubles, or this part of the
# window, which near t = 0 comes first. Where rounding leaves a comparison open over many of them (a
# path that only touches its threshold), the work is bounded: a cell of 2**-12 of the window gets
# this many evaluations, the window as a whole that many; what is still open then is judged by its
# ends. A change and back again closer together than that may then be missed, no other.
_NARROWEST = 2.0**-64
_CELL = 2.0**-12
_MOST_IN_CELL = 512
_MOST_IN_WINDOW = 8192
# Where a change may be rounding alone: how far it is looked beyond the start at first, as a part of
# the window, and by how much the path is moved.
_FIRST_LOOK = 2.0**-48
_ROUNDING, _MARGIN = 2.0**-52, 2.0**-47
SEARCH_DEPTH = 160  # halvings from the widest interval to neighbouring doubles, and some


class Events(NamedTuple):
    """Events as arrays; event e owns the assignments start[e]:start[e + 1]."""

    trigger: Programs  # one an event: 0 or 1
    delay: Programs  # one an event; empty: at once
    priority: Programs  # one an event; empty: after all that have one
    value: Programs  # one an assignment
    # One an assignment, empty where the value is the amount itself: the size that a concentration
    # is multiplied with, taken when everything else has been assigned.
    size: Programs
    persistent: np.ndarray  # (n_events,) int64: an execution outlives its trigger
    initially: np.ndarray  # (n_events,) int64: the trigger just before the start
    at_trigger: np.ndarray  # (n_events,) int64: values are those of the trigger's time
    # (n_events,) int64: 0 where the trigger changes by jumps alone; 1 where it reads nothing but t;
    # 2 where it reads what moves between jumps, or t and the state.
    depends_on_time: np.ndarray
    assignment_start: np.ndarray  # (n_events + 1,) int64
    target: np.ndarray  # (n_assignments,) int64, index into the state
    finite: np.ndarray  # (n_assignments,) int64: whether its value must be finite
    read: np.ndarray  # (n_read,) int64: entries of the state that triggers with 2 above read


class EventStore(NamedTuple):
    """What one walker keeps of its events: triggers, waiting executions, and scratch."""

    held: np.ndarray  # (n_events,) float64: each trigger when last looked at, 0 or 1
    # For triggers that read nothing but t: their next change (inf: none) up to a time.
    change: np.ndarray  # (n_events,) float64
    searched: np.ndarray  # (n_events,) float64
    # The executions that wait, in no order: the first counter[N_PENDING] of these.
    due: np.ndarray  # (capacity,) float64
    event: np.ndarray  # (capacity,) int64
    stored: np.ndarray  # (capacity, most assignments of an event) float64: values at the trigger
    counter: np.ndarray  # (N_EVENT_COUNTERS,) int64
    instant: np.ndarray  # (1,) float64: the time that counter[N_AT_INSTANT] counts for
    trouble: np.ndarray  # (1,) float64: the value in trouble
    values: np.ndarray  # (most assignments of an event,) float64, scratch
    state: np.ndarray  # (n_states + 1,) float64, scratch, as are all below
    low: np.ndarray  # (n_states + 1,) float64
    high: np.ndarray  # (n_states + 1,) float64
    stack: np.ndarray  # (depth,) float64
    low_stack: np.ndarray  # (depth,) float64
    high_stack: np.ndarray  # (depth,) float64
    left: np.ndarray  # (SEARCH_DEPTH,) float64
    right: np.ndarray  # (SEARCH_DEPTH,) float64


@apart
def start_events(events, store, time):
    """Put every trigger to what it was just before the start, with nothing waiting."""
    for e in range(events.persistent.size):
        store.held[e] = np.float64(events.initially[e])
        store.change[e] = np.inf
        store.searched[e] = time
    for k in range(store.counter.size):
        store.counter[k] = 0
    store.instant[0] = time


@inlined
def next_due(store):
    """Return when the next waiting execution is due, inf if none waits."""
    earliest = np.inf
    for k in range(store.counter[N_PENDING]):
        earliest = min(earliest, store.due[k])
    return earliest


@inlined
def _value_at(programs, p, path, parameters, time, store):
    path_state(path, time, store.state)
    return evaluate_program(programs, p, store.state, parameters, time, store.stack)


@apart
def _past_rounding(programs, p, held, path, parameters, start, end, store):
    """Return from where in [`start`, `end`] the search for a change begins; inf: there is none.

    Where a path has just crossed a threshold, rounding may take it back and forth some more times.
    What follows `start` is passed over up to where the program is what is held for certain, even
    with the path moved by some rounding errors; if it is the other first, nothing is.
    """
    offset = max(_FIRST_LOOK * (end - start), 4.0 * _ROUNDING * abs(start))
    while start + 2.0 * offset <= end:
        a, b = start + offset, start + 2.0 * offset
        path_box(path, a, b, store.low, store.high)
        for m in range(path.moving.size):
            i = path.moving[m]
            margin = _MARGIN * max(abs(store.low[i]), abs(store.high[i]))
            store.low[i] -= margin
            store.high[i] += margin
        lower, upper = program_range(
            programs, p, store.low, store.high, parameters, a, b,
            store.low_stack, store.high_stack,
        )  # fmt: skip
        if lower == held and upper == held:
            return a
        if lower == upper:
            return start
        offset *= 2.0
    return np.inf if _value_at(programs, p, path, parameters, end, store) == held else start


@apart
def first_change(programs, p, held, path, parameters, start, end, store):
    """Return the first instant in (`start`, `end`] at which program `p` is not `held`, or inf.

    What does not move is read from `store.state`, `store.low` and `store.high`, which must agree.
    """
    left, right = store.left, store.right
    if path.moving.size > 0:
        start = _past_rounding(programs, p, held, path, parameters, start, end, store)
        if start == np.inf:
            return np.inf
    narrowest, cell = _NARROWEST * (end - start), _CELL * (end - start)
    left[0], right[0] = start, end
    waiting, spent, spent_in_cell, cell_end = 1, 0, 0, start
    while waiting > 0:
        waiting -= 1
        a, b = left[waiting], right[waiting]
        if a >= cell_end and b - a <= cell:
            cell_end, spent_in_cell = b, 0
        is_spent = spent >= _MOST_IN_WINDOW or (a < cell_end and spent_in_cell >= _MOST_IN_CELL)
        if not is_spent:
            spent += 1
            spent_in_cell += 1
            path_box(path, a, b, store.low, store.high)
            lower, upper = program_range(
                programs, p, store.low, store.high, parameters, a, b,
                store.low_stack, store.high_stack,
            )  # fmt: skip
            if lower == held and upper == held:
                continue
        middle = a + 0.5 * (b - a)
        is_narrow = middle <= a or middle >= b or b - a <= narrowest
        if is_spent or is_narrow:
            if _value_at(programs, p, path, parameters, b, store) == held:
                continue
            # Unlike at its ends: by bisection, one change between neighbouring doubles.
            while a < middle < b and b - a > narrowest:
                if _value_at(programs, p, path, parameters, middle, store) == held:
                    a = middle
                else:
                    b = middle
                middle = a + 0.5 * (b - a)
            return b
        left[waiting], right[waiting] = middle, b
        left[waiting + 1], right[waiting + 1] = a, middle
        waiting += 2
    return np.inf


@inlined
def _next_timed(events, store, e, path, parameters, start, end):
    """Return when a trigger that reads nothing but t changes, searched once and kept."""
    if store.change[e] == np.inf and store.searched[e] < end:
        begin = max(start, store.searched[e])
        store.change[e] = first_change(
            events.trigger, e, store.held[e], path, parameters, begin, end, store
        )
        store.searched[e] = end
    return store.change[e]


@apart
def next_change(events, store, path, state, parameters, start, end):
    """Return the first instant in (`start`, `end`] at which a trigger changes, or inf.

    The state changes along `path` alone.
    """
    earliest = np.inf
    ready = False
    for e in range(events.persistent.size):
        if events.depends_on_time[e] == 0:
            continue
        if events.depends_on_time[e] == 1:
            change = _next_timed(events, store, e, path, parameters, start, end)
        else:
            if not ready:
                for k in range(events.read.size):
                    i = events.read[k]
                    store.state[i] = store.low[i] = store.high[i] = state[i]
                ready = True
            until = min(end, earliest)
            change = first_change(
                events.trigger, e, store.held[e], path, parameters, start, until, store
            )
        if change <= end:
            earliest = min(earliest, change)
    return earliest


@inlined
def _cancel(store, event):
    k = 0
    while k < store.counter[N_PENDING]:
        if store.event[k] == event:
            _remove(store, k)
        else:
            k += 1


@inlined
def _remove(store, k):
    last = store.counter[N_PENDING] - 1
    store.due[k], store.event[k] = store.due[last], store.event[last]
    for n in range(store.stored.shape[1]):
        store.stored[k, n] = store.stored[last, n]
    store.counter[N_PENDING] = last


@inlined
def _in_trouble(store, event, target, value):
    store.counter[TROUBLE_EVENT], store.counter[TROUBLE_TARGET] = event, target
    store.trouble[0] = value
    return BAD_EVENT_VALUE


@inlined
def _evaluate_values(events, event, state, parameters, time, stack, values):
    first = events.assignment_start[event]
    for k in range(first, events.assignment_start[event + 1]):
        values[k - first] = evaluate_program(events.value, k, state, parameters, time, stack)


@apart
def _update_triggers(events, store, state, parameters, time):
    """Queue what has been triggered and cancel what has lost its trigger."""
    stack = store.stack
    for e in range(events.persistent.size):
        value = evaluate_program(events.trigger, e, state, parameters, time, stack)
        if value == store.held[e]:
            continue
        if value == 0.0:
            if events.persistent[e] == 0:
                _cancel(store, e)
        else:
            k = store.counter[N_PENDING]
            if k == store.due.size:
                return QUEUE_FULL
            delay = 0.0
            if events.delay.start[e] < events.delay.start[e + 1]:
                delay = evaluate_program(events.delay, e, state, parameters, time, stack)
                if not 0.0 <= delay < np.inf:
                    return _in_trouble(store, e, -1, delay)
            store.due[k], store.event[k] = time + delay, e
            if events.at_trigger[e] != 0:
                _evaluate_values(events, e, state, parameters, time, stack, store.stored[k])
            store.counter[N_PENDING] = k + 1
        store.held[e] = value
        store.change[e], store.searched[e] = np.inf, time
    return SETTLED


@apart
def _choose_due(events, store, state, parameters, time, stream):
    """Return which waiting execution comes now, -1 if none is due, -2 if a priority is nan."""
    chosen, n_equal, highest = -1, 0, -np.inf
    for k in range(store.counter[N_PENDING]):
        if store.due[k] > time:
            continue
        e = store.event[k]
        priority = -np.inf
        if events.priority.start[e] < events.priority.start[e + 1]:
            priority = evaluate_program(events.priority, e, state, parameters, time, store.stack)
            if np.isnan(priority):
                _in_trouble(store, e, -2, priority)
                return -2
        if chosen < 0 or priority > highest:
            chosen, n_equal, highest = k, 1, priority
        elif priority == highest:
            # Each of n equal ones stays with probability 1/n.
            n_equal += 1
            if uniform(stream) * np.float64(n_equal) < 1.0:
                chosen = k
    return chosen


@inlined
def _whole_number(value):
    """Return the count that a value stands for, -1 if it stands for none."""
    nearest = np.rint(value)
    if not 0.0 <= nearest <= 2.0**53 or abs(value - nearest) > 1e-9:
        return -1.0
    if nearest == 0.0 and value != 0.0:
        return -1.0  # never rounded away: it may be an amount in moles
    return abs(nearest)  # without the sign of -0.0


@apart
def _execute(events, store, chosen, state, parameters, time, whole, n_species):
    """Make the assignments of a waiting execution, all at once, and take it off the queue."""
    e = store.event[chosen]
    first = events.assignment_start[e]
    n_values = events.assignment_start[e + 1] - first
    if events.at_trigger[e] != 0:
        for n in range(n_values):
            store.values[n] = store.stored[chosen, n]
    else:
        _evaluate_values(events, e, state, parameters, time, store.stack, store.values)
    sizes = events.size
    for late in range(2):
        for n in range(n_values):
            k = first + n
            is_late = sizes.start[k] < sizes.start[k + 1]
            if is_late != (late == 1):
                continue
            target, value = events.target[k], store.values[n]
            if is_late:
                value *= evaluate_program(sizes, k, state, parameters, time, store.stack)
            if whole and target < n_species:
                count = _whole_number(value)
                if count < 0.0:
                    return _in_trouble(store, e, target, value)
                value = count
            elif events.finite[k] != 0 and not abs(value) < np.inf:
                return _in_trouble(store, e, target, value)
            state[target] = value
    _remove(store, chosen)
    store.counter[N_EXECUTED] += 1
    store.counter[N_AT_INSTANT] += 1
    return SETTLED


@apart
def settle(events, store, state, parameters, time, stream, whole, n_species):
    """Bring the events up to date at `time`, executing all that is due; return how it went.

    `state` holds what is true at `time` and is changed by the assignments. After `QUEUE_FULL`,
    nothing is lost: the call can be repeated with a larger store.
    """
    if store.instant[0] != time:
        store.instant[0] = time
        store.counter[N_AT_INSTANT] = 0
    while True:
        status = _update_triggers(events, store, state, parameters, time)
        if status != SETTLED:
            return status
        chosen = _choose_due(events, store, state, parameters, time, stream)
        if chosen == -2:
            return BAD_EVENT_VALUE
        if chosen < 0:
            return SETTLED
        if store.counter[N_AT_INSTANT] >= _MOST_AT_ONE_INSTANT:
            store.counter[TROUBLE_EVENT] = store.event[chosen]
            return ENDLESS_EVENTS
        status = _execute(events, store, chosen, state, parameters, time, whole, n_species)
        if status != SETTLED:
            return status


# The same for callers outside kernels, from the disk cache.


@kernel
def reset_events(events, store, time):
    """`start_events`, called from Python."""
    start_events(events, store, time)


@kernel
def find_next_due(store):
    """`next_due`, called from Python."""
    return next_due(store)


@kernel
def settle_events(events, store, state, parameters, time, stream, whole, n_species):
    """`settle`, called from Python."""
    return settle(events, store, state, parameters, time, stream, whole, n_species)


@kernel
def find_next_change(events, store, path, state, parameters, start, end):
    """`next_change`, called from Python."""
    return next_change(events, store, path, state, parameters, start, end)


@kernel
def find_next_timed(events, store, path, parameters, start, end):
    """Return the first change in (`start`, `end`] of a trigger that reads nothing but t, or inf."""
    earliest = np.inf
    for e in range(events.persistent.size):
        if events.depends_on_time[e] == 1:
            change = _next_timed(events, store, e, path, parameters, start, end)
            if change <= end:
                earliest = min(earliest, change)
    return earliest


@kernel
def find_first_change(programs, which, held, path, parameters, start, end, store):
    """Return the first instant in (`start`, `end`] at which a program is not what it was, or inf.

    Looked at are the programs `which`; `held` has a value for each program. What does not move is
    read from `store.state`, `store.low` and `store.high`.
    """
    earliest = np.inf
    for k in range(which.size):
        p = which[k]
        until = min(end, earliest)
        earliest = min(
            earliest, first_change(programs, p, held[p], path, parameters, start, until, store)
        )
    return earliest


@kernel
def fill_values(programs, state, parameters, time, stack, values):
    """Write the values of all programs into `values`."""
    for p in range(values.size):
        values[p] = evaluate_program(programs, p, state, parameters, time, stack)
