"""The loop over events that all exact methods share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from .jit import inlined, kernel
from .propensities import fire
from .walking import (
    ALL_DONE,
    BAD_PROPENSITY,
    BOUND_BROKEN,
    BUDGET_SPENT,
    COMPLETE,
    EVENT_LIMIT,
    EVENTS_FULL,
    FIRED,
    IN_TROUBLE,
    N_EVENTS,
    N_RECORDED,
    OVERFLOW,
    ROW,
    TIME,
    TROUBLE,
    UNDER_WAY,
    condition_holds,
    finish_row,
    record_event,
    record_until,
    start_row,
)

__all__ = ["event_kernel"]


@inlined
def _fire(network, walker, fired):
    return fire(network, fired, walker.state)


def event_kernel(
    name: str,
    update: Callable[..., Any],
    propose: Callable[..., Any],
    fire: Callable[..., Any] = _fire,
) -> Any:
    """Return the kernel of an exact method that fires one reaction at a time.

    Parameters
    ----------
    name : str
        Of the method; the kernel is called ``run_<name>``.
    update : compiled function (network, walker, fired, time) -> int
        Brings the method's workspace up to date after `fired` (or, for `n_reactions`, from
        scratch); returns a reaction whose propensity is not a number >= 0, or -1.
    propose : compiled function (network, walker, time) -> (float, int)
        Returns when the next event happens and which reaction it is; (inf, -1) if none ever; a
        present time and -2 - reaction if the propensity of a reaction is outside its bounds.
    fire : compiled function (network, walker, fired) -> bool, optional
        Changes the state by the event that `propose` has just returned; returns whether every count
        is still below 2**53. For methods that have the changes at hand.
    """

    def run(network, request, walker, output, first_index, budget):
        times, counter, parameters = request.times, walker.counter, network.parameters
        n_reactions, n_times = network.form.size, request.times.size
        for row in range(counter[ROW], output.outcome.size):
            if counter[UNDER_WAY] == 0:
                start_row(request, walker, parameters, output, row, first_index, n_reactions)
                budget -= n_times
            time, fired = walker.clock[TIME], counter[FIRED]
            n_recorded, n_events = counter[N_RECORDED], counter[N_EVENTS]
            while True:
                if condition_holds(request, walker, parameters, time):
                    # The path is held at the state that met the condition.
                    record_until(request, walker, parameters, output, row, n_recorded, np.inf)
                    output.hitting_time[row] = time
                    outcome = COMPLETE
                    break
                trouble = update(network, walker, fired, time)
                if trouble >= 0:
                    counter[TROUBLE] = trouble
                    outcome = BAD_PROPENSITY
                    break
                next_time, reaction = propose(network, walker, time)
                if reaction < -1:
                    counter[TROUBLE] = -2 - reaction
                    outcome = BOUND_BROKEN
                    break
                if times[n_recorded] < next_time:
                    n_recorded = record_until(
                        request, walker, parameters, output, row, n_recorded, next_time
                    )
                    if n_recorded == n_times:
                        outcome = COMPLETE
                        break
                if n_events == request.max_events:
                    outcome = EVENT_LIMIT
                    break
                time, fired = next_time, reaction
                n_events += 1
                budget -= 1
                if not fire(network, walker, fired):
                    counter[TROUBLE] = fired
                    outcome = OVERFLOW
                    break
                full = False
                if request.every_event:
                    full = record_event(request, walker, parameters, output, time, fired)
                if full or budget <= 0:
                    walker.clock[TIME], counter[FIRED] = time, fired
                    counter[N_RECORDED], counter[N_EVENTS] = n_recorded, n_events
                    return EVENTS_FULL if full else BUDGET_SPENT
            walker.clock[TIME], counter[N_RECORDED] = time, n_recorded
            finish_row(walker, output, row, outcome, n_events)
            if outcome != COMPLETE:
                return IN_TROUBLE
        return ALL_DONE

    # The cached file is named after the function.
    run.__name__ = run.__qualname__ = f"run_{name}"
    return kernel(run)
