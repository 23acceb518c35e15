"""The loop for networks that move between jumps: rates with t, variables, delays, events.

Between two jumps the state follows a known path. Whatever interrupts the waiting for the next jump
(the end of a window of bounds, a delayed completion, a trigger that changes) may come in between,
because waiting times have no memory: the methods propose anew from there.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from .delays import NO_DELAY, draw_delay, earliest_completion, pop_completion, push_completion
from .event_handling import (
    N_EXECUTED,
    QUEUE_FULL,
    SETTLED,
    first_change,
    next_change,
    next_due,
    settle,
    start_events,
)
from .jit import apart, kernel
from .paths import path_state
from .programs import evaluate_program
from .random import uniform
from .references import refer
from .runge_kutta import hold_path, step_path
from .thinning import (
    FRESH,
    LOOK_AHEAD,
    N_COMPLETIONS,
    N_SEEN,
    NEXT_CHANGE,
    PATH_END,
    SEARCH,
    SHORT_PIECES,
    STALE,
    STEP,
    UNSETTLED,
    WINDOW_END,
    current_rate,
    fill_values,
    open_window,
)
from .walking import (
    ALL_DONE,
    BAD_DELAY,
    BAD_PROPENSITY,
    BOUND_BROKEN,
    BUDGET_SPENT,
    COMPLETE,
    COMPLETIONS_FULL,
    EVENT_LIMIT,
    EVENT_TROUBLE,
    EVENTS_FULL,
    EXECUTIONS_FULL,
    FIRED,
    IN_TROUBLE,
    LARGEST_COUNT,
    N_EVENTS,
    N_RECORDED,
    NEGATIVE_COUNT,
    OVERFLOW,
    ROW,
    STEP_COLLAPSE,
    TIME,
    TROUBLE,
    UNBOUNDED,
    UNDER_WAY,
    condition_holds,
    finish_row,
    record_event,
    record_row,
    record_until,
    start_row,
)

__all__ = ["jump_kernel"]

# Places of the options in `Request.options`.
LOOK_AHEAD_OPTION, RELATIVE_OPTION, ABSOLUTE_OPTION = range(3)

# Neither a status nor an outcome.
GO_ON = 0

# What comes next.
PROPOSAL, COMPLETION, CHANGE, WINDOW = range(4)

# A rate may be above its bound by rounding alone.
_ROUNDING = 1.0 + 1e-9

# A step of the variables ends where a part of a rule jumps. After so many pieces no longer than a
# share of the run, jumps may undo themselves, and the time would stand still: then steps are taken
# as their errors allow, at most this many and while they are short.
_SHORT_PIECE, _SHORT_STEP = 1e-7, 1e-5
_MOST_SHORT_PIECES = 8
_N_UNCUT = 1000


@apart
def _sync_box(state, low, high):
    for i in range(state.size):
        low[i] = high[i] = state[i]


@apart
def _begin(network, request, walker, output, row, first_index):
    """Put the walker at the start of the trajectory of `row`."""
    clock, counter, time = walker.clock, walker.counter, request.times[0]
    start_row(
        request, walker, network.reactions.parameters, output, row, first_index,
        network.reactions.form.size,
    )  # fmt: skip
    clock[WINDOW_END] = time if network.moving_reactions.size > 0 else np.inf
    clock[PATH_END] = time if walker.path.moving.size > 0 else np.inf
    clock[LOOK_AHEAD] = request.times[request.times.size - 1] - time
    clock[STEP] = 0.0
    clock[NEXT_CHANGE] = np.inf
    counter[FRESH], counter[STALE], counter[SEARCH] = 0, 0, 1
    counter[UNSETTLED], counter[N_COMPLETIONS], counter[N_SEEN] = 2, 0, 0
    counter[SHORT_PIECES] = 0
    walker.tolerances[0] = request.options[RELATIVE_OPTION]
    walker.tolerances[1] = request.options[ABSOLUTE_OPTION]
    hold_path(walker.path, walker.state, time)
    _sync_box(walker.state, walker.box.low, walker.box.high)
    start_events(network.events, walker.store, time)


@apart
def _settle(network, request, walker, output, row, time):
    """Bring events and the stop condition up to date; return GO_ON, a status or an outcome.

    Statuses come as they are, outcomes as negative numbers.
    """
    counter, parameters = walker.counter, network.reactions.parameters
    if counter[N_COMPLETIONS] == walker.due_time.size:
        return COMPLETIONS_FULL
    if counter[UNSETTLED] == 2 and network.events.persistent.size > 0:
        settled = settle(
            network.events, walker.store, walker.state, parameters, time, walker.stream, True,
            network.n_species,
        )  # fmt: skip
        if settled == QUEUE_FULL:
            return EXECUTIONS_FULL
        if settled != SETTLED:
            counter[TROUBLE] = settled
            return -EVENT_TROUBLE
        counter[UNSETTLED], counter[SEARCH] = 1, 1
        if walker.store.counter[N_EXECUTED] != counter[N_SEEN]:
            counter[N_SEEN] = walker.store.counter[N_EXECUTED]
            # All propensities are computed again, and the path of the variables.
            counter[FIRED], counter[STALE] = network.reactions.form.size, 1
            _sync_box(walker.state, walker.box.low, walker.box.high)
            if network.moving_reactions.size > 0:
                walker.clock[WINDOW_END] = time
            if counter[N_EVENTS] == request.max_events:
                return -EVENT_LIMIT
            counter[N_EVENTS] += 1
            if request.every_event and record_event(request, walker, parameters, output, time, -1):
                return EVENTS_FULL
    if counter[UNSETTLED] != 0 and condition_holds(request, walker, parameters, time):
        # The path is held at the state that met the condition.
        record_until(request, walker, parameters, output, row, counter[N_RECORDED], np.inf)
        output.hitting_time[row] = time
        return -COMPLETE
    counter[UNSETTLED] = 0
    return GO_ON


@apart
def _find_change(network, condition, condition_moves, walker, time, end):
    """Return when a trigger or the stop condition next changes without a jump, up to `end`."""
    parameters, store = network.reactions.parameters, walker.store
    until = np.inf
    if network.events.persistent.size > 0:
        until = next_change(network.events, store, walker.path, walker.state, parameters, time, end)
    if condition_moves:
        _sync_box(walker.state, store.low, store.high)
        _sync_box(walker.state, store.state, store.state)
        # As a number of the usual type, not a literal: see `condition_holds`.
        first = np.int64(0)
        change = first_change(
            condition, first, 0.0, walker.path, parameters, time, min(end, until), store
        )
        until = min(until, change)
    return until


@apart
def _first_switch(network, walker, time, end, span):
    """Return when a part of a rule first jumps on the path, or `end`.

    Between its stages, a step of the variables does not see what is there only for a moment.
    """
    store, parameters, counter = walker.store, network.reactions.parameters, walker.counter
    if counter[SHORT_PIECES] >= _MOST_SHORT_PIECES:
        if end - time <= _SHORT_STEP * span and counter[SHORT_PIECES] < _N_UNCUT:
            counter[SHORT_PIECES] += 1
            return end
        counter[SHORT_PIECES] = 0
    _sync_box(walker.state, store.low, store.high)
    _sync_box(walker.state, store.state, store.state)
    until = end
    for p in range(network.switches.start.size - 1):
        held = evaluate_program(network.switches, p, walker.state, parameters, time, walker.stack)
        change = first_change(
            network.switches, p, held, walker.path, parameters, time, until, store
        )
        until = min(until, change)
    if until - time > _SHORT_PIECE * span:
        counter[SHORT_PIECES] = 0
    elif until < end:
        counter[SHORT_PIECES] += 1
    return until


@apart
def _look_ahead(network, request, walker, time, end):
    """See to it that path, changes and window are known from `time` on; return an outcome or 0."""
    clock, counter, reactions = walker.clock, walker.counter, network.reactions
    path = walker.path
    if path.moving.size > 0 and (counter[STALE] != 0 or clock[PATH_END] <= time):
        tolerances = (walker.tolerances[0], walker.tolerances[1])
        step = step_path(
            path, network.rates, walker.state, reactions.parameters, time, end,
            clock[STEP], tolerances, walker.stack, walker.slopes,
        )  # fmt: skip
        if step < 0.0:
            counter[TROUBLE] = np.int64(-1.0 - step)
            return STEP_COLLAPSE
        clock[STEP], clock[PATH_END] = step, path.window[1]
        if network.switches.start.size > 1:
            clock[PATH_END] = _first_switch(
                network, walker, time, clock[PATH_END], end - request.times[0]
            )
        counter[SEARCH] = 1
        if network.moving_reactions.size > 0:
            clock[WINDOW_END] = time
    counter[STALE] = 0
    limit = min(end, clock[PATH_END])
    if counter[SEARCH] != 0:
        clock[NEXT_CHANGE] = _find_change(
            network, request.condition, network.condition_moves, walker, time, limit
        )
        counter[SEARCH] = 0
    counter[FRESH] = 0
    if clock[WINDOW_END] <= time:
        for m in range(path.moving.size):
            i = path.moving[m]
            walker.box.low[i] = walker.box.high[i] = walker.state[i]
        for k in range(network.moving_reactions.size):
            reaction = network.moving_reactions[k]
            value = current_rate(
                reactions, walker.state, walker.stack, walker.box, path, walker.tolerances,
                walker.slopes, reaction, time,
            )  # fmt: skip
            if not value >= 0.0:
                counter[TROUBLE] = reaction
                return BAD_PROPENSITY
        # Beyond an event the rates may be others.
        limit = min(limit, clock[NEXT_CHANGE], next_due(walker.store))
        culprit = open_window(
            reactions, network.moving_reactions, walker, time, limit,
            end - request.times[0], request.options[LOOK_AHEAD_OPTION],
        )  # fmt: skip
        if culprit >= 0:
            counter[TROUBLE] = culprit
            return UNBOUNDED
        counter[FRESH] = 1
    return 0


@apart
def _prepare(network, request, walker, time, end):
    """Make all known that the methods need from `time` on; return an outcome or 0.

    `counter[FIRED]` becomes `n_reactions` where all propensities have to be taken anew.
    """
    counter, reactions = walker.counter, network.reactions
    for _ in range(2):
        outcome = _look_ahead(network, request, walker, time, end)
        if outcome != 0:
            return outcome
        trouble = fill_values(reactions, walker, counter[FIRED], time)
        if trouble < 0:
            return 0
        counter[TROUBLE] = trouble
        if reactions.moves[trouble] == 0:
            return BAD_PROPENSITY
        # What has no bound in the rest of this window may have one in a shorter.
        walker.clock[WINDOW_END] = time
        counter[FIRED] = reactions.form.size
    return UNBOUNDED


@apart
def _advance(network, request, walker, output, row, time, next_time, end):
    """Record the path up to what comes next; return when that is, and what.

    The time is inf where nothing comes before the end of the run.
    """
    clock, counter = walker.clock, walker.counter
    instant, kind = next_time, PROPOSAL
    # At the end of the run a new window is of no use.
    window = min(clock[WINDOW_END], clock[PATH_END])
    if window <= instant and window < end:
        instant, kind = window, WINDOW
    change = clock[NEXT_CHANGE]
    if network.events.persistent.size > 0:
        change = min(change, next_due(walker.store))
    if change <= instant:
        instant, kind = change, CHANGE
    completion = earliest_completion(walker.due_time, counter[N_COMPLETIONS])
    if completion <= instant:
        instant, kind = completion, COMPLETION
    if instant > end:
        instant = np.inf
    times, n_recorded = request.times, counter[N_RECORDED]
    while n_recorded < times.size and times[n_recorded] < instant:
        path_state(walker.path, times[n_recorded], walker.state)
        record_row(
            request, walker, network.reactions.parameters, times[n_recorded],
            output.counts[row, n_recorded], output.values[row, n_recorded],
        )  # fmt: skip
        n_recorded += 1
    counter[N_RECORDED] = n_recorded
    if time < end and instant < np.inf:
        path_state(walker.path, instant, walker.state)
    return instant, kind


@apart
def _happen(network, request, walker, output, time, kind, reaction):
    """Let happen what comes at `time`; return an outcome, or 0, and whether the buffer is full.

    `counter[FIRED]` says which step it was.
    """
    counter, reactions, state = walker.counter, network.reactions, walker.state
    n = reactions.form.size
    counter[FIRED] = 2 * n + 2
    step = -1
    if kind == PROPOSAL:
        counter[FIRED] = step = reaction
        counter[TROUBLE] = reaction
        if reactions.moves[reaction] != 0:
            bound = walker.value[reaction]
            rate = current_rate(
                reactions, state, walker.stack, walker.box, walker.path, walker.tolerances,
                walker.slopes, reaction, time,
            )  # fmt: skip
            if not rate <= bound * _ROUNDING:
                return BOUND_BROKEN if rate > bound else BAD_PROPENSITY, False
            if not uniform(walker.stream) * bound < rate:
                step = -1
    elif kind == COMPLETION:
        reaction = pop_completion(walker.due_time, walker.due_reaction, counter[N_COMPLETIONS])
        counter[N_COMPLETIONS] -= 1
        counter[FIRED] = step = n + 2 + reaction
        counter[TROUBLE] = reaction
    elif kind == CHANGE:
        counter[UNSETTLED], counter[SEARCH] = 2, 1
        walker.clock[NEXT_CHANGE] = np.inf
    if step < 0:
        return 0, False
    if counter[N_EVENTS] == request.max_events:
        return EVENT_LIMIT, False
    counter[N_EVENTS] += 1
    if kind == PROPOSAL and network.delays.law[reaction] != NO_DELAY:
        delay = draw_delay(
            network.delays, reaction, state, reactions.parameters, time, walker.stack,
            walker.stream,
        )  # fmt: skip
        if not 0.0 <= delay < np.inf:
            return BAD_DELAY, False
        push_completion(
            walker.due_time, walker.due_reaction, counter[N_COMPLETIONS], time + delay, reaction
        )
        counter[N_COMPLETIONS] += 1
    for k in range(reactions.change_start[step], reactions.change_start[step + 1]):
        species = reactions.change_species[k]
        state[species] += reactions.change[k]
        walker.box.low[species] = walker.box.high[species] = state[species]
        if state[species] > LARGEST_COUNT:
            return OVERFLOW, False
        if state[species] < 0.0:
            return NEGATIVE_COUNT, False
    if network.restarts[step] != 0:
        counter[STALE] = 1
    counter[UNSETTLED], counter[SEARCH] = 2, 1
    if not request.every_event:
        return 0, False
    shown = reaction if kind == PROPOSAL else -1
    return 0, record_event(request, walker, reactions.parameters, output, time, shown)


def jump_kernel(name: str, update: Callable[..., Any], propose: Callable[..., Any]) -> Any:
    """Return the kernel of an exact method for networks that move between jumps.

    Parameters
    ----------
    name : str
        Of the method; the kernel is called ``run_<name>_jumps``.
    update, propose : compiled functions
        As `event_kernel` takes them, with a step of `JumpNetwork` in place of the reaction that
        fired, and `JumpWalker.value` for the propensities.
    """

    def run(network, request, walker, output, first_index, budget):
        network, request, walker, output = (
            refer(network),
            refer(request),
            refer(walker),
            refer(output),
        )
        reactions, times = network.reactions, request.times
        clock, counter = walker.clock, walker.counter
        n_reactions, n_times = reactions.form.size, times.size
        end = times[n_times - 1]
        for row in range(counter[ROW], output.outcome.size):
            if counter[UNDER_WAY] == 0:
                _begin(network, request, walker, output, row, first_index)
                budget -= n_times
            outcome = 0
            while outcome == 0:
                time = clock[TIME]
                status = _settle(network, request, walker, output, row, time)
                if status > GO_ON:
                    return status
                if status < GO_ON:
                    outcome = -status
                    break
                next_time, reaction = np.inf, -1
                if time < end:
                    outcome = _prepare(network, request, walker, time, end)
                    if outcome != 0:
                        break
                    fired, trouble = counter[FIRED], -1
                    # A new window changes the bounds of all that moves.
                    n_steps = 2 if counter[FRESH] != 0 and fired != n_reactions else 1
                    for k in range(n_steps):
                        step = fired if k == 0 else n_reactions + 1
                        trouble = update(reactions, walker, step, time)
                    if trouble >= 0:
                        counter[TROUBLE] = trouble
                        outcome = UNBOUNDED if reactions.moves[trouble] != 0 else BAD_PROPENSITY
                        break
                    next_time, reaction = propose(reactions, walker, time)
                elif counter[STALE] != 0:
                    hold_path(walker.path, walker.state, time)
                instant, kind = _advance(
                    network, request, walker, output, row, time, next_time, end
                )
                if counter[N_RECORDED] == n_times:
                    outcome = COMPLETE
                    break
                clock[TIME] = instant
                budget -= 1
                outcome, is_full = _happen(
                    network, request, walker, output, instant, kind, reaction
                )
                if outcome == 0 and (is_full or budget <= 0):
                    return EVENTS_FULL if is_full else BUDGET_SPENT
            finish_row(walker, output, row, outcome, counter[N_EVENTS])
            if outcome != COMPLETE:
                return IN_TROUBLE
        return ALL_DONE

    # The cached file is named after the function.
    run.__name__ = run.__qualname__ = f"run_{name}_jumps"
    return kernel(run)
