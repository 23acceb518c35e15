"""A basis of the vectors p, A p, A^2 p, ... in which the master equation is a small one.

Each new vector is made orthogonal to the last few only: A V = V H + h v e^T holds all the same, and
with it the residual, from which the error is bounded.

References
----------
Saad (1992), SIAM J. Numer. Anal. 29, 209, doi:10.1137/0729014. Sidje (1998), ACM Trans. Math.
Softw. 24, 130, doi:10.1145/285861.285868. Burrage, Hegland, MacNamara and Sidje (2006), Proc.
Markov 150th Anniversary Conf., 21. Vo and Sidje (2017), Phys. Biol. 14, 035003,
doi:10.1088/1478-3975/aa6868 (incomplete orthogonalisation).
"""

from __future__ import annotations

import numpy as np

from .jit import kernel
from .state_flow import BLOCK, add_inflow

__all__ = ["combine_basis", "extend_basis"]


@kernel
def extend_basis(flow, basis, j, first, small, sums):
    """Write the next vector of the basis, `basis[j + 1]`, and column j of `small`.

    `basis` (m + 1, n_states) float64, of Euclidean length 1 each; `small` (m + 1, m) float64. The
    new vector is orthogonal to `basis[first]` ... `basis[j]`. `sums` (m + 1,) float64 gets its sum
    of absolute values.
    """
    n = basis.shape[1]
    of, new = basis[j], basis[j + 1]
    for begin in range(0, n, BLOCK):
        end = min(begin + BLOCK, n)
        for i in range(begin, end):
            new[i] = -flow.outflow[i] * of[i]
        add_inflow(flow, of, begin, end, new)
    for k in range(first, j + 1):
        other, product = basis[k], 0.0
        for begin in range(0, n, BLOCK):
            end, part = min(begin + BLOCK, n), 0.0
            for i in range(begin, end):
                part += other[i] * new[i]
            product += part
        small[k, j] = product
        for i in range(n):
            new[i] -= product * other[i]
    square = 0.0
    for begin in range(0, n, BLOCK):
        end, part = min(begin + BLOCK, n), 0.0
        for i in range(begin, end):
            part += new[i] * new[i]
        square += part
    length = np.sqrt(square)
    small[j + 1, j] = length
    scale = 1.0 / length if length > 0.0 else 0.0
    total = 0.0
    for i in range(n):
        new[i] *= scale
        total += abs(new[i])
    sums[j + 1] = total


@kernel
def combine_basis(basis, shares, result):
    """Write the sum of `shares[k]` times the vectors of the basis into `result` (n_states,)."""
    n = result.size
    for begin in range(0, n, BLOCK):
        end = min(begin + BLOCK, n)
        for i in range(begin, end):
            result[i] = 0.0
        for k in range(shares.size):
            share = shares[k]
            for i in range(begin, end):
                result[i] += share * basis[k, i]
