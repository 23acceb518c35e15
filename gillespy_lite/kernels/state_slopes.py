"""The master equation together with its derivatives to parameters, by uniformisation.

With s = dp/dtheta, `p' = A p` and `s' = A s + (dA/dtheta) p`. Both together are one linear system,
so that its solution over a step is the same series as that of p alone, with P s + (dA/dtheta) p / q
in the place of P p: what it gives is the exact derivative of what it gives for p.

References
----------
Jensen (1953), Skand. Aktuarietidskr. 36, 87. Plyasunov and Arkin (2007), J. Comput. Phys. 221, 724,
doi:10.1016/j.jcp.2006.06.047 (derivatives of the laws of reaction networks).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from .jit import kernel
from .state_flow import BLOCK, add_inflow

__all__ = ["Slopes", "add_sensitivity_terms"]


class Slopes(NamedTuple):
    """How the flow changes with the parameters; one entry for each parameter and channel."""

    parameter: np.ndarray  # (n_entries,) int64, 0 is the first one
    channel: np.ndarray  # (n_entries,) int64
    into: np.ndarray  # (n_entries, n_states) float64, of the rate at which it comes to each state
    out: np.ndarray  # (n_entries, n_states) float64, of the propensity at each state
    edge: np.ndarray  # (n_edge,) int64, the states that something leaves the set from
    leak: np.ndarray  # (n_edge,) float64, at which rate
    leak_slope: np.ndarray  # (n_parameters, n_edge) float64, sum of absolute slopes of this


@kernel
def add_sensitivity_terms(
    flow, slopes, rate, k, n_terms, weights, tails, terms, following, totals, lost
):
    """Work out `n_terms` terms of the series after term `k`, and add them to `totals`.

    Term k is `terms` (1 + n_parameters, n_states) float64, p and its derivatives; its successor is
    `following`, and they change places after each. `weights` (n_all_terms,) float64 are the
    Poisson probabilities, `tails` those of more; `lost` (n_parameters,) float64 gets, per jump,
    at most how much of each derivative leaves the set.
    """
    scale = 1.0 / rate
    n_rows, n = terms.shape
    for m in range(n_terms):
        weight, tail = weights[k + m + 1], tails[k + m]
        old, new = (terms, following) if m % 2 == 0 else (following, terms)
        for e in range(slopes.edge.size):
            j = slopes.edge[e]
            for row in range(1, n_rows):
                lost[row - 1] += tail * (
                    slopes.leak[e] * abs(old[row, j]) + slopes.leak_slope[row - 1, e] * old[0, j]
                )
        for begin in range(0, n, BLOCK):
            end = min(begin + BLOCK, n)
            for row in range(n_rows):
                for j in range(begin, end):
                    new[row, j] = (rate - flow.outflow[j]) * old[row, j]
                add_inflow(flow, old[row], begin, end, new[row])
            for e in range(slopes.parameter.size):
                row, source = slopes.parameter[e] + 1, flow.source[slopes.channel[e]]
                for j in range(begin, end):
                    new[row, j] += (
                        slopes.into[e, j] * old[0, source[j]] - slopes.out[e, j] * old[0, j]
                    )
            for row in range(n_rows):
                for j in range(begin, end):
                    new[row, j] *= scale
                    totals[row, j] += weight * new[row, j]
    return k + n_terms
