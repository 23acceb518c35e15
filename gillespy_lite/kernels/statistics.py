"""Means, covariances, extremes and histograms of a block of trajectories."""

from __future__ import annotations

import numpy as np

from .jit import kernel
from .lane_vectors import lowest_bit

__all__ = ["add_to_histograms", "fill_moments"]


@kernel
def fill_moments(counts, values, chosen, means, comoments, minima, maxima):
    """Write the moments of the `chosen` rows; the columns of `values` follow those of `counts`.

    `counts` is (n_rows, n_times, n_species) int64, `values` (n_rows, n_times, n_observables)
    float64, `chosen` (n_chosen,) int64; the others are (n_times, k) and (n_times, k, k) float64.
    """
    n_species, k = counts.shape[2], means.shape[1]
    n_chosen = np.float64(chosen.size)
    for time in range(means.shape[0]):
        for i in range(k):
            total, low, high = 0.0, np.inf, -np.inf
            for row in chosen:
                if i < n_species:
                    x = np.float64(counts[row, time, i])
                else:
                    x = values[row, time, i - n_species]
                total += x
                low = min(low, x)
                high = max(high, x)
            means[time, i] = total / n_chosen
            minima[time, i] = low
            maxima[time, i] = high
        # Deviations from the block's own mean, so that no digits are lost to cancellation.
        for i in range(k):
            for j in range(i + 1):
                total = 0.0
                for row in chosen:
                    if i < n_species:
                        x = np.float64(counts[row, time, i])
                    else:
                        x = values[row, time, i - n_species]
                    if j < n_species:
                        y = np.float64(counts[row, time, j])
                    else:
                        y = values[row, time, j - n_species]
                    total += (x - means[time, i]) * (y - means[time, j])
                comoments[time, i, j] = total
                comoments[time, j, i] = total


@kernel
def add_to_histograms(counts, chosen, bins, widths):
    """Add the `chosen` rows of `counts` (n_rows, n_times, n_species) to histograms.

    Bin b of `bins` (n_times, n_species, n_bins) holds the counts from b * width up to, not
    including, (b + 1) * width, with `widths` (n_times, n_species). A count beyond the last bin
    doubles the width until it fits, so the width depends on the largest count alone.
    """
    n_bins = bins.shape[2]
    for row in chosen:
        for time in range(counts.shape[1]):
            for i in range(counts.shape[2]):
                count = counts[row, time, i]
                while count >= widths[time, i] * n_bins:
                    for b in range(n_bins // 2):
                        bins[time, i, b] = bins[time, i, 2 * b] + bins[time, i, 2 * b + 1]
                    for b in range(n_bins // 2, n_bins):
                        bins[time, i, b] = 0
                    widths[time, i] *= 2
                # A width is a power of two, and a shift takes a tenth of a division's time.
                shift = lowest_bit(np.uint64(widths[time, i]))
                bins[time, i, count >> shift] += 1
