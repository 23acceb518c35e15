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

from .jit import kernel
from .state_flow import BLOCK, add_inflow

__all__ = ["add_terms"]


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
