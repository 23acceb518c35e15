"""The direct method around a burst: a kernel that was written and compiled for one network.

A burst fires events from the walker's place until something has to be done that is the same for
all networks: a sampling time is crossed, the allowance of events is spent, the condition of the run
holds, or there is trouble. That is done here, once for all networks, so a new network costs the
compilation of its burst alone, which is small. Between the two stands a call by address.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic, overload

from .draw_ring import RING, RING_SIZE, fill_ring, pass_event, return_draws
from .jit import inlined, kernel
from .propensities import fire
from .references import refer
from .walking import (
    ALL_DONE,
    BAD_PROPENSITY,
    BUDGET_SPENT,
    COMPLETE,
    EVENT_LIMIT,
    EVENTS_FULL,
    FIRED,
    IN_TROUBLE,
    LARGEST_COUNT,
    N_EVENTS,
    N_RECORDED,
    OVERFLOW,
    ROW,
    SPARE,
    SPARE_TIME,
    TIME,
    TROUBLE,
    UNDER_WAY,
    finish_row,
    record_event,
    record_until,
    start_row,
)

__all__ = ["ALLOWANCE_SPENT", "AT_FAULT", "CROSSING", "HOLDS", "call_burst", "run_bursts"]

# Why a burst ended. At a crossing, and where the allowance is spent, the next event has been drawn
# but has not happened: its time is in the walker's spare clock, its reaction (where the allowance
# is spent) in `FIRED`, and its draws are still in its place in the ring, so that they come again.
CROSSING, ALLOWANCE_SPENT, HOLDS, AT_FAULT = 0, 1, 2, 3

_MUCH_ROOM = 2**40
_LAST_PLACE = np.uint64(RING - 1)


def call_burst(burst, arguments):
    """Call a burst: by its address in compiled code, as a function in plain Python.

    `arguments` is a tuple; the burst returns an int64, and -1 where Numba reports an error, which
    is possible only where indexes are checked.
    """
    return burst(*arguments)


def _emit_call(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
    # Numba's own convention: places for the result and for an exception, then the arguments.
    kinds = signature.args[1].types
    function = context.call_conv.get_function_type(types.int64, kinds)
    callee = builder.inttoptr(arguments[0], function.as_pointer())
    result = cgutils.alloca_once(builder, ir.IntType(64))
    exception = cgutils.alloca_once(builder, function.args[1].pointee)
    given = cgutils.unpack_tuple(builder, arguments[1], len(kinds))
    flat = context.get_arg_packer(kinds).as_arguments(builder, given)
    status = builder.call(callee, [result, exception, *flat])
    failed = builder.icmp_signed("!=", status, ir.Constant(status.type, 0))
    return builder.select(failed, ir.Constant(ir.IntType(64), -1), builder.load(result))


@intrinsic
def _call_at(typing: Any, address: Any, arguments: Any) -> Any:
    return types.int64(types.int64, arguments), _emit_call


_OPTIONS: Any = {"_nrt": False, "error_model": "numpy", "forceinline": True}


@overload(call_burst, jit_options=_OPTIONS)
def _compiled_call(burst, arguments):
    # Numba wants a plain function of the same arguments, not the intrinsic itself.
    return lambda burst, arguments: _call_at(burst, arguments)  # noqa: PLW0108


@inlined
def _room(change, state):
    """Return how many events there may be before a count is beyond what doubles tell apart."""
    largest, most = 0, 1
    for i in range(state.size):
        largest = max(largest, state[i])
    for k in range(change.size):
        most = max(most, change[k])
    return (LARGEST_COUNT - largest) // most


@kernel
def run_bursts(network, request, walker, output, first_index, budget, burst):
    """Sample trajectories by the direct method, with a burst for their events.

    The same paths as those of ``run_direct``, bit by bit, for any budget.
    """
    # A group by its address is one argument of a call, not seven for each array.
    far_network, far_request, far_walker = refer(network), refer(request), refer(walker)
    times, counter, parameters = request.times, walker.counter, network.parameters
    n_reactions, n_times = network.form.size, request.times.size
    ring = walker.reals[walker.reals.size - RING_SIZE :]
    for row in range(counter[ROW], output.outcome.size):
        if counter[UNDER_WAY] == 0:
            start_row(request, walker, parameters, output, row, first_index, n_reactions)
            budget -= n_times
        n_recorded, n_events = counter[N_RECORDED], counter[N_EVENTS]
        room, place = np.int64(0), np.uint64(0)
        fill_ring(walker.stream, ring)
        while True:
            # Each event takes one from it, or less.
            if room < _MUCH_ROOM:
                room = _room(network.change, walker.state)
            # An event that a burst may not fire is fired here: with whole numbers where counts are
            # near their limit, and with a look at each where every event is recorded.
            allowance = max(np.int64(1), budget)
            if request.every_event or room < 1:
                allowance = 0
            allowance = min(allowance, room, request.max_events - n_events)
            reason = call_burst(
                burst,
                (
                    far_network,
                    far_request,
                    far_walker,
                    times[n_recorded],
                    max(np.int64(0), allowance),
                    place,
                ),
            )
            # Each event has used one place.
            place = (place + np.uint64(counter[SPARE])) & _LAST_PLACE
            n_events += counter[SPARE]
            budget -= counter[SPARE]
            room -= counter[SPARE]
            if reason == HOLDS:
                # The path is held at the state that met the condition.
                record_until(request, walker, parameters, output, row, n_recorded, np.inf)
                output.hitting_time[row] = walker.clock[TIME]
                outcome = COMPLETE
                break
            if reason == AT_FAULT:
                outcome = BAD_PROPENSITY
                break
            next_time = walker.clock[SPARE_TIME]
            if reason == CROSSING:
                n_recorded = record_until(
                    request, walker, parameters, output, row, n_recorded, next_time
                )
                if n_recorded == n_times:
                    outcome = COMPLETE
                    break
                # Every call fires an event, or there would be calls that achieve nothing.
                if budget > 0 or counter[SPARE] == 0:
                    continue
            elif n_events == request.max_events:
                outcome = EVENT_LIMIT
                break
            full = False
            if reason == ALLOWANCE_SPENT and (request.every_event or room < 1):
                place = pass_event(walker.stream, ring, place)
                walker.clock[TIME] = next_time
                n_events += 1
                budget -= 1
                fired = counter[FIRED]
                room -= 1
                if not fire(network, fired, walker.state):
                    counter[TROUBLE] = fired
                    outcome = OVERFLOW
                    break
                if request.every_event:
                    full = record_event(request, walker, parameters, output, next_time, fired)
            if full or budget <= 0:
                counter[N_RECORDED], counter[N_EVENTS] = n_recorded, n_events
                # As if everything had changed, for a kernel that keeps propensities.
                counter[FIRED] = n_reactions
                return_draws(walker.stream)
                return EVENTS_FULL if full else BUDGET_SPENT
        counter[N_RECORDED] = n_recorded
        finish_row(walker, output, row, outcome, n_events)
        if outcome != COMPLETE:
            return_draws(walker.stream)
            return IN_TROUBLE
    return ALL_DONE
