"""The generator of the master equation on a set of states, and what is done with it most.

`p' = A p`: the diagonal of A is minus all that flows out of a state, also to states that are not in
the set, so that this probability is lost and each entry of p stays below the true one. The flow is
stored by where it goes: entry [c, j] is how much comes to state j from `source[c, j]` by channel c.

States are sorted so that most neighbours have neighbouring sources. A run is a range of states
whose sources lie at one distance; in it, the product needs no index, and the processor takes
several states at once.

References
----------
Munsky and Khammash (2006), J. Chem. Phys. 124, 044104, doi:10.1063/1.2145882.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from .jit import apart, inlined, kernel

__all__ = [
    "BLOCK",
    "N_BINS",
    "Flow",
    "add_inflow",
    "apply_flow",
    "apply_transposed",
    "count_runs",
    "fill_runs",
    "flow_rate",
    "gather_rates",
    "link_states",
    "prunable_states",
]

# Bins of powers of two for probabilities, the last for all below 2**-N.
N_BINS = 1100
# States whose inflow is worked out together, so that it stays in the nearest cache.
BLOCK = 1024


class Flow(NamedTuple):
    """The generator on n_states states; `source[c, j]` is j itself where nothing comes by c."""

    source: np.ndarray  # (n_channels, n_states) uint32
    rate: np.ndarray  # (n_channels, n_states) float64, per unit time
    outflow: np.ndarray  # (n_states,) float64, to wherever
    # Channel c owns the runs channel_run[c]:channel_run[c + 1]; without any, sources are looked up.
    channel_run: np.ndarray  # (n_channels + 1,) int64
    run: np.ndarray  # (n_runs, 3) int64: first state, one past the last, distance to the sources


@kernel
def link_states(key, key_step, is_sorted, source, leaves):
    """Write where each state's probability comes from, and which channels lead out of the set.

    `key` (n_states,) int64 increases; where the keys of reactions may pass the largest number,
    `is_sorted` is False and each neighbour is searched for. `source` (n_channels, n_states) uint32
    gets j itself where no state leads to j; `leaves` (n_channels, n_states) uint8 gets 1 where the
    state that channel c leads to is not there.
    """
    n = key.size
    for c in range(key_step.size):
        for j in range(n):
            source[c, j] = np.uint32(j)
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
                source[c, j] = np.uint32(i)
                leaves[c, i] = 0
            else:
                leaves[c, i] = 1


@kernel
def count_runs(source, channel_run, run):
    """Write where the runs of each channel begin; `run` (0, 3) int64 stays as it is."""
    n_runs = 0
    for c in range(source.shape[0]):
        channel_run[c] = n_runs
        n_runs += _runs_of(source, c, n_runs, run, False)
    channel_run[source.shape[0]] = n_runs


@kernel
def fill_runs(source, channel_run, run):
    """Write the runs of all channels into `run` (n_runs, 3) int64."""
    for c in range(source.shape[0]):
        _runs_of(source, c, channel_run[c], run, True)


@apart
def _runs_of(source, c, place, run, writes):
    """Find the runs of one channel; return their number. States without a source join any run."""
    n, n_runs = source.shape[1], 0
    first, last, distance = -1, -1, 0
    for j in range(n):
        i = np.int64(source[c, j])
        if i == j:
            continue
        if first >= 0 and i - j == distance:
            last = j
            continue
        if first >= 0:
            if writes:
                run[place + n_runs, 0] = first
                run[place + n_runs, 1] = last + 1
                run[place + n_runs, 2] = distance
            n_runs += 1
        first, last, distance = j, j, i - j
    if first >= 0:
        if writes:
            run[place + n_runs, 0] = first
            run[place + n_runs, 1] = last + 1
            run[place + n_runs, 2] = distance
        n_runs += 1
    return n_runs


@kernel
def gather_rates(source, leaves, rates, rate, outflow, leak):
    """Write the flow into each state, all that flows out of it, and what of this leaves the set.

    `rates` (n_channels, n_states) float64 are the propensities of the channels at each state;
    `leak` (n_states,) float64.
    """
    n = outflow.size
    for j in range(n):
        outflow[j] = 0.0
        leak[j] = 0.0
    for c in range(rates.shape[0]):
        for j in range(n):
            outflow[j] += rates[c, j]
            if leaves[c, j] != 0:
                leak[j] += rates[c, j]
            i = np.int64(source[c, j])
            rate[c, j] = 0.0 if i == j else rates[c, i]


@inlined
def _first_run(run, first, last, state):
    """Return the first run from `first` on that ends behind `state`."""
    while first < last:
        middle = (first + last) // 2
        if run[middle, 1] <= state:
            first = middle + 1
        else:
            last = middle
    return first


@apart
def add_inflow(flow, p, begin, end, change):
    """Add what flows into the states `begin` to `end`, per unit time, to `change`."""
    for c in range(flow.rate.shape[0]):
        if flow.run.shape[0] == 0:
            rate, source = flow.rate[c], flow.source[c]
            for row in range(begin, end):
                j = np.uint64(row)
                change[j] += rate[j] * p[source[j]]
            continue
        last_run = flow.channel_run[c + 1]
        m = _first_run(flow.run, flow.channel_run[c], last_run, begin)
        while m < last_run and flow.run[m, 0] < end:
            low, high = max(begin, flow.run[m, 0]), min(end, flow.run[m, 1])
            distance = flow.run[m, 2]
            to, rate = change[low:high], flow.rate[c, low:high]
            of = p[low + distance : high + distance]
            for j in range(high - low):
                to[j] += rate[j] * of[j]
            m += 1


@kernel
def apply_flow(flow, p, first, last, change):
    """Write A p for the states `first` to `last` into `change` (n_states,) float64."""
    for begin in range(first, last, BLOCK):
        end = min(begin + BLOCK, last)
        for j in range(begin, end):
            change[j] = -flow.outflow[j] * p[j]
        add_inflow(flow, p, begin, end, change)


@kernel
def apply_transposed(flow, values, change):
    """Write `values` @ A into `change`: the mean rate of change of a function of the state.

    Both (n_states,) float64; the function is 0 outside the set.
    """
    for j in range(values.size):
        change[j] = -flow.outflow[j] * values[j]
    for c in range(flow.rate.shape[0]):
        for j in range(values.size):
            change[flow.source[c, j]] += flow.rate[c, j] * values[j]


@kernel
def flow_rate(flow, p, change):
    """Return the sum of absolute values of A p, for which `change` (n_states,) is scratch."""
    total, n = 0.0, p.size
    for begin in range(0, n, BLOCK):
        end = min(begin + BLOCK, n)
        for j in range(begin, end):
            change[j] = -flow.outflow[j] * p[j]
        add_inflow(flow, p, begin, end, change)
        for j in range(begin, end):
            total += abs(change[j])
    return total


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
