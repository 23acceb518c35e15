"""The generator of the master equation on a set of states, and what is done with it most.

`p' = A p`: the diagonal of A is minus all that flows out of a state, also to states that are not in
the set, so that this probability is lost and each entry of p stays below the true one. The flow is
stored by where it goes: entry [j, c] is how much comes to state j from `source[j, c]` by channel c.

References
----------
Munsky and Khammash (2006), J. Chem. Phys. 124, 044104, doi:10.1063/1.2145882.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from .jit import inlined, kernel

__all__ = [
    "N_BINS",
    "Flow",
    "apply_flow",
    "apply_transposed",
    "flow_rate",
    "gather_rates",
    "inflow_of",
    "link_states",
    "prunable_states",
]

# Bins of powers of two for probabilities, the last for all below 2**-N.
N_BINS = 1100


class Flow(NamedTuple):
    """The generator on n_states states; `source[j, c]` is j itself where nothing comes by c."""

    source: np.ndarray  # (n_states, n_channels) uint32
    rate: np.ndarray  # (n_states, n_channels) float64, per unit time
    outflow: np.ndarray  # (n_states,) float64, to wherever


@kernel
def link_states(key, key_step, is_sorted, source, leaves):
    """Write where each state's probability comes from, and which channels lead out of the set.

    `key` (n_states,) int64 increases; where the keys of reactions may pass the largest number,
    `is_sorted` is False and each neighbour is searched for. `source` (n_states, n_channels) uint32
    gets j itself where no state leads to j; `leaves` (n_states, n_channels) uint8 gets 1 where the
    state that channel c leads to is not there.
    """
    n = key.size
    for j in range(n):
        for c in range(key_step.size):
            source[j, c] = np.uint32(j)
    for c in range(key_step.size):
        step, j = key_step[c], 0
        for i in range(n):
            target = key[i] + step
            if is_sorted:
                while j < n and key[j] < target:
                    j += 1
            else:
                low, high = 0, n
                while low < high:
                    middle = (low + high) // 2
                    if key[middle] < target:
                        low = middle + 1
                    else:
                        high = middle
                j = low
            if j < n and key[j] == target:
                source[j, c] = np.uint32(i)
                leaves[i, c] = 0
            else:
                leaves[i, c] = 1


@kernel
def gather_rates(source, leaves, rates, rate, outflow, leak):
    """Write the flow into each state, all that flows out of it, and what of this leaves the set.

    `rates` (n_states, n_channels) float64 are the propensities of the channels at each state;
    `leak` (n_states,) float64.
    """
    for j in range(outflow.size):
        total, lost = 0.0, 0.0
        for c in range(rates.shape[1]):
            total += rates[j, c]
            if leaves[j, c] != 0:
                lost += rates[j, c]
            i = source[j, c]
            rate[j, c] = 0.0 if i == np.uint32(j) else rates[i, c]
        outflow[j], leak[j] = total, lost


@inlined
def inflow_of(flow, j, p):
    """Return the probability that flows into state j per unit time."""
    total = 0.0
    for c in range(flow.source.shape[1]):
        total += flow.rate[j, np.uint64(c)] * p[flow.source[j, np.uint64(c)]]
    return total


@kernel
def apply_flow(flow, p, first, last, change):
    """Write A p for the states `first` to `last` into `change` (n_states,) float64."""
    for row in range(first, last):
        j = np.uint64(row)
        change[j] = inflow_of(flow, j, p) - flow.outflow[j] * p[j]


@kernel
def apply_transposed(flow, values, change):
    """Write `values` @ A into `change`: the mean rate of change of a function of the state.

    Both (n_states,) float64; the function is 0 outside the set.
    """
    for j in range(values.size):
        change[j] = -flow.outflow[j] * values[j]
    for j in range(values.size):
        for c in range(flow.source.shape[1]):
            change[flow.source[j, c]] += flow.rate[j, c] * values[j]


@kernel
def flow_rate(flow, p, leak):
    """Return the sums of absolute values of A p, and how much of p leaks per unit time."""
    total, lost = 0.0, 0.0
    for row in range(p.size):
        j = np.uint64(row)
        total += abs(inflow_of(flow, j, p) - flow.outflow[j] * p[j])
        lost += leak[j] * p[j]
    return total, lost


@kernel
def prunable_states(p, outflow, rate_at_least, duration, mass, keep, bins):
    """Mark the states that can be given up; return how many are kept and the mass that goes.

    A state goes if so little flows through it that it would not be found again, less than
    `rate_at_least` per unit time, and the mass of these states together is at most `mass`: the
    least probable first, sorted into `bins` (N_BINS,) float64 of a power of two each. `keep`
    (n_states,) uint8.
    """
    for b in range(bins.size):
        bins[b] = 0.0
    for i in range(p.size):
        if p[i] * (outflow[i] + 1.0 / duration) < rate_at_least:
            bins[_bin_of(p[i])] += p[i]
    total, first = 0.0, bins.size
    while first > 0 and total + bins[first - 1] <= mass:
        first -= 1
        total += bins[first]
    n_kept, gone = 0, 0.0
    for i in range(p.size):
        goes = p[i] * (outflow[i] + 1.0 / duration) < rate_at_least and _bin_of(p[i]) >= first
        keep[i] = np.uint8(not goes)
        if goes:
            gone += p[i]
        else:
            n_kept += 1
    return n_kept, gone


@inlined
def _bin_of(p):
    if p <= 0.0:
        return N_BINS - 1
    return min(N_BINS - 1, max(0, np.int64(-np.log2(p))))
