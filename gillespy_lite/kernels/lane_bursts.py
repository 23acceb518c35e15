"""Lanes around a burst: steps that were written and compiled for one network.

What `lanes.py` does from a network's tables (propensities, sums, draws, the change of the state) is
done here by a function of the network's own, called by its address. It goes on step by step until a
lane has to be looked at: one that meets the condition of the run, has a propensity at fault, or is
held at a sampling time and has waited long enough. That is done here, as in `lanes.py`, once for
all networks.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from .bursts import call_burst
from .jit import apart, inlined, kernel
from .lane_vectors import LANES, load_8, load_16, n_ones, store
from .lanes import (
    ALIVE,
    LOOK,
    STEPS,
    STOPS_A_SAMPLE,
    UNDER_WAY,
    attend,
    begin,
    look,
    steps_to_wait,
)
from .references import refer
from .special_functions import is_product, power, product_power
from .walking import ALL_DONE, BUDGET_SPENT

__all__ = ["lane_power_8", "lane_power_16", "run_lane_bursts"]

_FRESH = 6  # of LaneWalker.counter: lanes that the burst must bring up to date
_NO_BITS, _ALL = np.uint64(0), np.uint64(2**LANES - 1)


def _lane_power(width: int, load: Callable[..., Any]) -> Any:
    @apart
    def raise_row(row, exponent):
        if is_product(exponent):
            store(row, 0, product_power(load(row, 0), exponent))
        else:
            # Calls of the mathematical library have no vector form that gives the same last bits.
            for lane in range(width):
                row[lane] = power(row[lane], exponent)

    @inlined
    def lane_power(x, exponent, scratch):
        if exponent == 2.0:
            return x * x
        if exponent == 3.0:
            return (x * x) * x
        if exponent == 4.0:
            square = x * x
            return square * square
        # As a call, for this stands in generated code as often as a law has a power.
        store(scratch, 0, x)
        raise_row(scratch, exponent)
        return load(scratch, 0)

    return lane_power


# `power` of lanes and one number; scratch is (LANES,) float64.
lane_power_8, lane_power_16 = _lane_power(8, load_8), _lane_power(16, load_16)


@kernel
def run_lane_bursts(network, request, walker, output, first_index, budget, burst):
    """Run rows of an output in lanes, with a burst for their events.

    Called as ``run_lanes`` is, and with the same results.
    """
    far = refer(network), refer(request), refer(walker), refer(output)
    counter, report = walker.counter, walker.seed
    if counter[UNDER_WAY] == 0:
        counter[UNDER_WAY] = 1
        alive, fresh = begin(network, request, walker, far, first_index), _ALL
    else:
        alive, fresh = np.uint64(counter[ALIVE]), np.uint64(counter[_FRESH])
    step = counter[STEPS]
    last_step = step + max(np.int64(1), budget // LANES)
    wait, n_stops, sampled = np.int64(1), np.int64(0), step
    while alive != _NO_BITS and step < last_step:
        # Not past the next look at large counts and standing clocks.
        n_steps = min(last_step - step, LOOK - step % LOOK)
        heeded = alive
        if wait > 1:
            n_steps, heeded = min(n_steps, wait), _NO_BITS
        given = far[0], far[1], far[2], alive, fresh, heeded, np.int64(n_steps)
        step += call_burst(burst, given)
        went, hits, fault = report[0], report[1], report[2]
        n_stops += n_ones(~went & alive)
        if n_stops >= STOPS_A_SAMPLE:
            wait, n_stops, sampled = steps_to_wait(n_stops, step - sampled), np.int64(0), step
        if step % LOOK == 0:
            fault |= look(far[0], far[2])
        alive, fresh = attend(request, walker, output, far, first_index, alive, went, hits, fault)
    # Lanes that have just started are brought up to date when the kernel goes on.
    counter[ALIVE], counter[STEPS], counter[_FRESH] = np.int64(alive), step, np.int64(fresh)
    return ALL_DONE if alive == _NO_BITS else BUDGET_SPENT
