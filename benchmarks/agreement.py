"""Whether two simulators sample the same process: means and variances in standard errors."""

from __future__ import annotations

import numpy as np

__all__ = ["MOST_STANDARD_ERRORS", "largest_difference"]

# Standard errors that a mean or a variance may differ by. Some 200 numbers a model are compared, so
# 5.5 is passed by chance once in 100,000 runs.
MOST_STANDARD_ERRORS = 5.5


def largest_difference(one: np.ndarray, other: np.ndarray) -> float:
    """Return by how many standard errors the means or variances of two samples differ at most.

    Both are (n, n_times, n_species); all species at every tenth time.
    """
    samples = [np.asarray(x[:, 10::10], dtype=np.float64) for x in (one, other)]
    pooled = np.concatenate([x - x.mean(axis=0) for x in samples])
    second, fourth = (pooled**2).mean(axis=0), (pooled**4).mean(axis=0)
    sizes = [len(x) for x in samples]
    # The variance of a sample's variance: (mu4 - sigma^4 (n - 3) / (n - 1)) / n.
    of_means = sum(second / n for n in sizes)
    of_variances = sum((fourth - second**2 * (n - 3) / (n - 1)) / n for n in sizes)
    worst = 0.0
    for statistic, squared in ((np.mean, of_means), (np.var, of_variances)):
        gap = np.abs(statistic(samples[0], axis=0) - statistic(samples[1], axis=0))
        # Where neither sample varies, nothing but equality will do.
        error = np.sqrt(np.maximum(squared, 0.0))
        worst = max(worst, float(np.max(np.where(gap > 0.0, gap / np.maximum(error, 1e-300), 0.0))))
    return worst
