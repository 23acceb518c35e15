"""Uniformisation: the master equation solved by a power series without a negative term.

With a rate q that is at least the outflow of every state, `exp(A h) p` is the sum over k of the
Poisson probabilities of k at q h times P^k p, where P = 1 + A/q has no negative entry. Ended early,
the sum is a lower bound of every probability, and what is missing is known from the total.

References
----------
Jensen (1953), Skand. Aktuarietidskr. 36, 87. Grassmann (1977), Comput. Oper. Res. 4, 47,
doi:10.1016/0305-0548(77)90007-7. Van Moorsel and Sanders (1994), Stoch. Models 10, 619,
doi:10.1080/15326349408807313.
"""

from __future__ import annotations

import numpy as np

from .jit import kernel
from .state_flow import BLOCK, Flow, add_inflow

__all__ = ["add_moving_terms", "add_terms", "gather_moving"]


@kernel
def add_terms(flow, rate, k, n_terms, weights, first, last, term, following, total):
    """Work out `n_terms` terms of the series after term `k`, and add them to `total`.

    Term k is `term` (n_states,) float64; its successor is `following`, and they change places
    after each. `weights` (n_all_terms,) float64 are the Poisson probabilities. Of a single term
    the states `first` to `last` can be had alone, by several threads.
    """
    scale = 1.0 / rate
    for m in range(n_terms):
        weight = weights[k + m + 1]
        old, new = (term, following) if m % 2 == 0 else (following, term)
        for begin in range(first, last, BLOCK):
            end = min(begin + BLOCK, last)
            size = end - begin
            to, of, sums = new[begin:end], old[begin:end], total[begin:end]
            outflow = flow.outflow[begin:end]
            for j in range(size):
                to[j] = (rate - outflow[j]) * of[j]
            add_inflow(flow, old, begin, end, new)
            for j in range(size):
                to[j] *= scale
            if weight > 0.0:
                for j in range(size):
                    sums[j] += weight * to[j]
    return k + n_terms


@kernel
def add_moving_terms(still, moving, rates, outflows, rate, k, n_terms, ring, total):
    """Add terms for rates that are polynomials in time over a step; everything per step.

    With s from 0 to 1 over the step, the rates of the channels of `moving` are the sums of
    `rates[m]` s^m, (degree + 1, n_moving, n_states) float64, and what flows out by them is that of
    `outflows[m]` (degree + 1, n_states); the channels of `still` do not change. The solution times
    exp(rate s) is a power series in s, whose terms follow from one another:
    (k + 1) z[k + 1] = (rate - outflow + inflow) z[k] + sum over m of the m-th part of z[k - m].
    Term k is `ring[k % (degree + 2)]` (degree + 2, n_states) float64.
    """
    n, size, degree = total.size, ring.shape[0], rates.shape[0] - 1
    for _ in range(n_terms):
        last, new = ring[k % size], ring[(k + 1) % size]
        scale = 1.0 / np.float64(k + 1)
        for begin in range(0, n, BLOCK):
            end = min(begin + BLOCK, n)
            for j in range(begin, end):
                new[j] = (rate - still.outflow[j]) * last[j]
            add_inflow(still, last, begin, end, new)
            for m in range(min(degree, k) + 1):
                old, outflow = ring[(k - m) % size], outflows[m]
                for j in range(begin, end):
                    new[j] -= outflow[j] * old[j]
                part = Flow(moving.source, rates[m], outflow, moving.channel_run, moving.run)
                add_inflow(part, old, begin, end, new)
            for j in range(begin, end):
                new[j] *= scale
                total[j] += new[j]
        k += 1
    return k


@kernel
def gather_moving(source, rates, coefficients, gathered, outflows):
    """Write polynomials in time through the rates at some times, by where probability goes.

    `rates` (n_nodes, n_states, n_moving) float64 are the rates at the nodes, `coefficients`
    (degree + 1, n_nodes) makes those of powers from them; `gathered` (degree + 1, n_moving,
    n_states) and `outflows` (degree + 1, n_states) are written.
    """
    n_nodes, n, n_moving = rates.shape
    for m in range(coefficients.shape[0]):
        for j in range(n):
            outflows[m, j] = 0.0
        for c in range(n_moving):
            for j in range(n):
                i = np.int64(source[c, j])
                own, coming = 0.0, 0.0
                for node in range(n_nodes):
                    own += coefficients[m, node] * rates[node, j, c]
                    coming += coefficients[m, node] * rates[node, i, c]
                outflows[m, j] += own
                gathered[m, c, j] = 0.0 if i == j else coming
