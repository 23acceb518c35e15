"""Paths of the direct method together with weighted martingales of their reactions.

The number of firings of a reaction j less the integral of its propensity is a martingale that
starts at 0, and so is an integral of it over any weights that do not look ahead (Anderson and Kurtz
2011, doi:10.1007/978-1-4419-6766-4_1): its mean is 0 exactly. Here the weights are
constant within the intervals of a grid.
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

__all__ = ["WeightedNetwork", "run_martingales"]


class WeightedNetwork(NamedTuple):
    """A network, and what the martingale of each reaction is weighted with."""

    reactions: ReactionArrays
    edges: np.ndarray  # (n_intervals + 1,) float64, increasing times
    weights: np.ndarray  # (n_intervals, n_reactions) float64


@kernel
def run_martingales(arrays, request, walker, output, first_index, budget):
    """Fill the last state and the martingales of each row; return why it returned.

    `output.counts` is (n_rows, 1, n_species), `output.values` (n_rows, 1, n_reactions), or
    (n_rows, 1, 1) for their sum.
    """
    network, edges, weights = arrays.reactions, arrays.edges, arrays.weights
    n, n_intervals = network.form.size, weights.shape[0]
    state, counter, stack = walker.state, walker.counter, walker.stack
    value, passed = walker.reals[:n], walker.reals[n : 2 * n]
    martingale = walker.reals[2 * n : 3 * n]
    for row in range(counter[ROW], output.outcome.size):
        if counter[UNDER_WAY] == 0:
            start_row(request, walker, network.parameters, output, row, first_index, n)
            for j in range(n):
                value[j] = propensity(network, j, state, edges[0], stack)
                passed[j] = 0.0
                martingale[j] = 0.0
        time, interval = walker.clock[TIME], counter[N_RECORDED]
        n_events = counter[N_EVENTS]
        while True:
            total, outcome = 0.0, COMPLETE
            for j in range(n):
                total += value[j]
            if not 0.0 <= total < np.inf:
                outcome = BAD_PROPENSITY
            for j in range(n):
                if not 0.0 <= value[j] < np.inf:
                    counter[TROUBLE] = j
                    outcome = BAD_PROPENSITY
                    break
            if outcome != COMPLETE:
                break
            next_time = np.inf
            if total > 0.0:
                next_time = time + exponential_by_log(walker.stream) / total
            while interval < n_intervals and edges[interval + 1] <= next_time:
                # Memory of the past interval, with its weight; then a new one.
                span = edges[interval + 1] - time
                for j in range(n):
                    martingale[j] -= weights[interval, j] * (passed[j] + value[j] * span)
                    passed[j] = 0.0
                time = edges[interval + 1]
                interval += 1
            if interval == n_intervals:
                break
            if n_events == request.max_events:
                outcome = EVENT_LIMIT
                break
            span = next_time - time
            for j in range(n):
                passed[j] += value[j] * span
            target, chosen, reached = uniform_52(walker.stream) * total, 0, 0.0
            for j in range(n - 1):
                reached += value[j]
                chosen += reached <= target
            martingale[chosen] += weights[interval, chosen]
            time = next_time
            n_events += 1
            budget -= 1
            if not fire(network, chosen, state):
                counter[TROUBLE] = chosen
                outcome = OVERFLOW
                break
            for i in range(network.part_start[chosen], network.part_start[chosen + 1]):
                part = network.part[i]
                for k in range(network.dependent_start[part], network.dependent_start[part + 1]):
                    j = network.dependent[k]
                    value[j] = propensity(network, j, state, time, stack)
            if budget <= 0:
                walker.clock[TIME], counter[N_RECORDED] = time, interval
                counter[N_EVENTS] = n_events
                return BUDGET_SPENT
        walker.clock[TIME] = time
        for i in range(output.counts.shape[2]):
            output.counts[row, 0, i] = state[i]
        found = output.values[row, 0]
        found[:] = 0.0
        for j in range(n):
            found[min(j, found.size - 1)] += martingale[j]
        finish_row(walker, output, row, outcome, n_events)
        if outcome != COMPLETE:
            return IN_TROUBLE
    return ALL_DONE
