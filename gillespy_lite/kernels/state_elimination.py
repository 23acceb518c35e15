"""Elimination of states without a subtraction, and the jumps of a chain with exits counted.

The matrix of all systems here is M = D - R: R[i, j] >= 0 is the rate from state i to j, and D the
sum of a row with the rate of its exits. The pivots are such sums again, so that nothing is ever
subtracted and each number of a solution keeps its digits, however rare what it stands for is.

References
----------
Grassmann, Taksar and Heyman (1985), Oper. Res. 33, 1107, doi:10.1287/opre.33.5.1107. O'Cinneide
(1993), Numer. Math. 65, 109, doi:10.1007/BF01385743.
"""

from __future__ import annotations

from .jit import kernel

__all__ = ["add_jumps", "eliminate_states", "solve_flows", "solve_values"]


@kernel
def eliminate_states(band, exits, pivot, first, last):
    """Eliminate the states `first` to `last`: M = L U in place.

    `band` (n_states, 2 width + 1) float64: entry [i, j - i + width] is the rate from i to j, and
    becomes -L below and -U above the diagonal. `exits` (n_states,) float64 are the rates out of the
    set, and `pivot` (n_states,) float64 gets U's diagonal. Returns the first state that cannot be
    left, or -1.
    """
    n, width = pivot.size, band.shape[1] // 2
    for k in range(first, last):
        end = min(n, k + width + 1)
        onwards = band[k, width + 1 : width + end - k]
        total = exits[k]
        for m in range(onwards.size):
            total += onwards[m]
        if not total > 0.0:
            return k
        pivot[k] = total
        for i in range(k + 1, end):
            flow = band[i, k - i + width]
            if flow == 0.0:
                continue
            share = flow / total
            band[i, k - i + width] = share
            to = band[i, k + 1 - i + width : end - i + width]
            for m in range(onwards.size):
                to[m] += share * onwards[m]
            exits[i] += share * exits[k]
            # A way back to i itself is no jump; the pivot is the sum of what leaves.
            band[i, width] = 0.0
    return -1


@kernel
def solve_flows(band, pivot, start, occupation):
    """Solve x M = start: how long each state is occupied before the set is left.

    `start` and `occupation` (n_states,) float64, `start` without a negative number.
    """
    n, width = pivot.size, band.shape[1] // 2
    for k in range(n):
        total = start[k]
        for j in range(max(0, k - width), k):
            total += occupation[j] * band[j, k - j + width]
        occupation[k] = total / pivot[k]
    for k in range(n - 1, -1, -1):
        total = occupation[k]
        for i in range(k + 1, min(n, k + width + 1)):
            total += occupation[i] * band[i, k - i + width]
        occupation[k] = total


@kernel
def solve_values(band, pivot, gain, values):
    """Solve M x = gain: what is gained from each state on before the set is left.

    `gain` and `values` (n_states,) float64, `gain` per unit time and without a negative number.
    """
    n, width = pivot.size, band.shape[1] // 2
    for i in range(n):
        total = gain[i]
        for k in range(max(0, i - width), i):
            total += band[i, k - i + width] * values[k]
        values[i] = total
    for k in range(n - 1, -1, -1):
        total = values[k]
        for j in range(k + 1, min(n, k + width + 1)):
            total += band[k, j - k + width] * values[j]
        values[k] = total / pivot[k]


@kernel
def add_jumps(start, source, share, stay, exits, n_jumps, weights, p, following, spent, left):
    """Make `n_jumps` jumps of the uniformised chain.

    State j is reached from `source[start[j]:start[j + 1]]` int32 with the probabilities `share`
    and kept with `stay` (n_states,). `p` (n_states,) float64 is the law before, and changes places
    with `following` after each jump. `spent` (n_states,) gets the laws times `weights[k]`, and
    `left[k, e]` what leaves by exit e with jump k, for `exits` (n_exits, n_states).
    """
    for k in range(n_jumps):
        for e in range(exits.shape[0]):
            total = 0.0
            for i in range(p.size):
                total += exits[e, i] * p[i]
            left[k, e] = total
        weight = weights[k]
        for j in range(p.size):
            spent[j] += weight * p[j]
            total = stay[j] * p[j]
            for m in range(start[j], start[j + 1]):
                total += share[m] * p[source[m]]
            following[j] = total
        p, following = following, p
