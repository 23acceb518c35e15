"""p-values of samples against an exact law, exact moments, or other samples; and their power.

All of them hold for whole numbers with many ties, and for as few as some hundred samples.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "fit_pvalue",
    "found_effect",
    "found_shift",
    "mean_pvalue",
    "same_law_pvalue",
    "same_mean_pvalue",
    "variance_pvalue",
]

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

# Neighbouring cells of a histogram are pooled until each is expected to hold so many samples; with
# fewer the chi-square law would be too rough for p-values of 1e-6.
_SMALLEST_CELL = 10.0
# Cells at which so many samples or fewer are expected together hold none of a right sampler's.
_FORBIDDEN = 1e-7


def fit_pvalue(
    samples: IntArray, first: int, probabilities: FloatArray, bound: float
) -> tuple[float, int]:
    """Return the chi-square p-value of whole numbers against a law, and its degrees of freedom.

    Parameters
    ----------
    samples : ndarray, shape (n,), int64
    first : int
        The smallest count in the table.
    probabilities : ndarray, shape (n_counts,), float64
        Of the counts first, first + 1, ...
    bound : float
        How much probability the table may lack in all, wherever that is.
    """
    from scipy.stats import chi2

    n, size = samples.size, probabilities.size
    cell = np.where((samples >= first) & (samples < first + size), samples - first, size)
    observed = np.bincount(cell, minlength=size + 1)
    outside = max(0.0, 1.0 - math.fsum(probabilities))
    expected = n * np.append(probabilities, outside)
    # Where next to nothing is expected, one sample refutes the law; the table's bound is allowed
    # for, as all that it lacks might lie there.
    order = np.argsort(expected)
    rare = order[np.cumsum(expected[order]) <= _FORBIDDEN]
    forbidden = 1.0
    if observed[rare].any():
        forbidden = min(1.0, float(expected[rare].sum()) + n * bound)
    seen, due = _pooled(observed[:-1].astype(np.float64), expected[:-1])
    if seen.size == 0:
        seen, due = np.zeros(1), np.zeros(1)
    seen[-1] += observed[-1]
    due[-1] += expected[-1]
    if seen.size < 2:
        return min(1.0, 2.0 * forbidden), 0
    freedom = seen.size - 1
    p = float(chi2.sf(((seen - due) ** 2 / due).sum(), freedom))
    # Two looks at one histogram.
    return (p if forbidden == 1.0 else min(1.0, 2.0 * min(p, forbidden))), freedom


def _pooled(observed: FloatArray, expected: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Join neighbouring cells until enough is expected in each; what is left joins the last."""
    ends = []
    total = 0.0
    for cell, due in enumerate(expected.tolist()):
        total += due
        if total >= _SMALLEST_CELL:
            ends.append(cell + 1)
            total = 0.0
    if not ends:
        return np.array([observed.sum()]), np.array([expected.sum()])
    starts = np.array([0, *ends[:-1]])
    return np.add.reduceat(observed, starts), np.add.reduceat(expected, starts)


def mean_pvalue(samples: FloatArray, mean: float, variance: float) -> float:
    """Return the two-sided p-value of a sample mean, by its normal law.

    `variance` is the exact one of a single sample; where it is 0 all samples must equal the mean.
    """
    return _normal_pvalue(float(samples.mean()) - mean, variance / samples.size, samples, mean)


def variance_pvalue(samples: FloatArray, mean: float, variance: float) -> float:
    """Return the two-sided p-value of the mean squared distance from the exact mean."""
    squares = (samples - mean) ** 2
    return _normal_pvalue(
        float(squares.mean()) - variance, float(squares.var()) / samples.size, squares, variance
    )


def _normal_pvalue(gap: float, variance: float, samples: FloatArray, mean: float) -> float:
    if not variance > 0.0:
        # Means of exact laws are known to some 1e-12; a sample that differs is a molecule away.
        return 1.0 if np.all(np.abs(samples - mean) <= 1e-6 * max(1.0, abs(mean))) else 0.0
    return math.erfc(abs(gap) / math.sqrt(2.0 * variance))


def same_mean_pvalue(first: FloatArray, second: FloatArray) -> float:
    """Return Welch's two-sided p-value for samples of equal means."""
    variance = first.var() / first.size + second.var() / second.size
    gap = float(first.mean() - second.mean())
    if not variance > 0.0:
        return 1.0 if gap == 0.0 else 0.0
    return math.erfc(abs(gap) / math.sqrt(2.0 * variance))


def same_law_pvalue(first: FloatArray, second: FloatArray) -> tuple[float, int]:
    """Return the chi-square p-value for two samples of one law, and its degrees of freedom.

    Cells are quantiles of both samples together, so that they do not depend on which is which.
    """
    from scipy.stats import chi2

    both = np.sort(np.concatenate([first, second]))
    n_cells = max(1, min(50, int(min(first.size, second.size) / (2.0 * _SMALLEST_CELL))))
    edges = np.unique(np.quantile(both, np.linspace(0.0, 1.0, n_cells + 1)[1:-1]))
    counts = np.array(
        [
            np.bincount(np.searchsorted(edges, one, side="right"), minlength=edges.size + 1)
            for one in (first, second)
        ],
        dtype=np.float64,
    )
    counts = counts[:, counts.sum(axis=0) > 0.0]
    if counts.shape[1] < 2:
        return 1.0, 0
    share = counts.sum(axis=1, keepdims=True) / counts.sum()
    due = share * counts.sum(axis=0)
    freedom = counts.shape[1] - 1
    return float(chi2.sf(((counts - due) ** 2 / due).sum(), freedom)), freedom


def found_shift(n: int, level: float, power: float) -> float:
    """Return which shift of a mean, in standard deviations, is found with probability `power`."""
    from scipy.special import ndtri

    return float((ndtri(1.0 - level / 2.0) + ndtri(power)) / math.sqrt(n))


def found_effect(n: int, freedom: int, level: float, power: float) -> float:
    """Return Cohen's w of a law that a chi-square test finds with probability `power`.

    w^2 is the sum over cells of (p - q)^2 / q for the wrong probabilities p and the right ones q.
    """
    from scipy.optimize import brentq
    from scipy.stats import chi2, ncx2

    critical = chi2.isf(level, freedom)
    high = 10.0
    while ncx2.sf(critical, freedom, high) < power:
        high *= 2.0
    return math.sqrt(
        brentq(lambda shift: ncx2.sf(critical, freedom, shift) - power, 1e-9, high) / n
    )
