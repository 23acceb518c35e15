"""Two networks that differ in their rates only, run together with as many shared events as can be.

Each reaction has three clocks: one that fires it in both networks, at the smaller of its two
propensities, and one for each network at what is left of its own (the split coupling of Anderson
2012, SIAM J. Numer. Anal. 50, 2237, doi:10.1137/110849079). Each network by itself is sampled
exactly.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from .arrays import ReactionArrays
from .jit import kernel
from .propensities import fire, propensity
from .random import exponential_by_log, uniform_52
from .walking import (
    ALL_DONE,
    BAD_PROPENSITY,
    BUDGET_SPENT,
    COMPLETE,
    EVENT_LIMIT,
    IN_TROUBLE,
    N_EVENTS,
    N_RECORDED,
    OVERFLOW,
    ROW,
    TIME,
    TROUBLE,
    UNDER_WAY,
    finish_row,
    start_row,
)

__all__ = ["NetworkPair", "run_pairs"]


class NetworkPair(NamedTuple):
    """Two networks of the same species and reactions."""

    first: ReactionArrays
    second: ReactionArrays
    second_state: np.ndarray  # (n_species + 1,) int64, where the second begins


@kernel
def run_pairs(pair, request, walker, output, first_index, budget):
    """Record both networks on the grid of the request; return why it returned.

    `output.counts` is (n_rows, n_times, 2 n_species): the species of the first, then of the second.
    """
    one, two, times = pair.first, pair.second, request.times
    n, n_states, n_times = one.form.size, request.initial_state.size, request.times.size
    n_species = output.counts.shape[2] // 2
    counter, stack = walker.counter, walker.stack
    state, other = walker.state, walker.integers[:n_states]
    value, other_value = walker.reals[:n], walker.reals[n : 2 * n]
    for row in range(counter[ROW], output.outcome.size):
        if counter[UNDER_WAY] == 0:
            start_row(request, walker, one.parameters, output, row, first_index, n)
            for i in range(n_states):
                other[i] = pair.second_state[i]
            for j in range(n):
                value[j] = propensity(one, j, state, times[0], stack)
                other_value[j] = propensity(two, j, other, times[0], stack)
        time, n_recorded = walker.clock[TIME], counter[N_RECORDED]
        n_events, outcome = counter[N_EVENTS], COMPLETE
        while True:
            total = 0.0
            for j in range(n):
                if not (0.0 <= value[j] < np.inf and 0.0 <= other_value[j] < np.inf):
                    counter[TROUBLE] = j
                    outcome = BAD_PROPENSITY
                total += max(value[j], other_value[j])
            if not total < np.inf:
                outcome = BAD_PROPENSITY
            if outcome != COMPLETE:
                break
            next_time = np.inf
            if total > 0.0:
                next_time = time + exponential_by_log(walker.stream) / total
            while n_recorded < n_times and times[n_recorded] < next_time:
                for i in range(n_species):
                    output.counts[row, n_recorded, i] = state[i]
                    output.counts[row, n_recorded, n_species + i] = other[i]
                n_recorded += 1
            if n_recorded == n_times:
                break
            if n_events == request.max_events:
                outcome = EVENT_LIMIT
                break
            target, chosen, before = uniform_52(walker.stream) * total, 0, 0.0
            reached = 0.0
            for j in range(n - 1):
                reached += max(value[j], other_value[j])
                if reached <= target:
                    chosen, before = j + 1, reached
            # What is left of the draw says which of the reaction's clocks it was.
            within = target - before
            shared = min(value[chosen], other_value[chosen])
            both = within < shared or value[chosen] == other_value[chosen]
            in_one = both or value[chosen] > other_value[chosen]
            in_two = both or not in_one
            time = next_time
            n_events += 1
            budget -= 1
            fits = True
            if in_one:
                fits = fire(one, chosen, state)
            if in_two:
                fits = fire(two, chosen, other) and fits
            if not fits:
                counter[TROUBLE] = chosen
                outcome = OVERFLOW
                break
            for i in range(one.part_start[chosen], one.part_start[chosen + 1]):
                part = one.part[i]
                for k in range(one.dependent_start[part], one.dependent_start[part + 1]):
                    j = one.dependent[k]
                    if in_one:
                        value[j] = propensity(one, j, state, time, stack)
                    if in_two:
                        other_value[j] = propensity(two, j, other, time, stack)
            if budget <= 0:
                walker.clock[TIME], counter[N_RECORDED] = time, n_recorded
                counter[N_EVENTS] = n_events
                return BUDGET_SPENT
        walker.clock[TIME] = time
        finish_row(walker, output, row, outcome, n_events)
        if outcome != COMPLETE:
            return IN_TROUBLE
    return ALL_DONE
