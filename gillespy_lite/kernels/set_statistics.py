"""Means, covariances and extremes of many small blocks of trajectories, one block a set.

The numbers are those of `statistics.fill_moments`, bit for bit: each sum is added up in the order
of the rows. Here the rows are gone through in the outer loop, and eight neighbouring sums are added
to at once.
"""

from __future__ import annotations

import numpy as np

from .jit import inlined, kernel
from .lane_vectors import as_reals, load_8, select, store
from .walking import COMPLETE

__all__ = ["fill_set_moments", "scratch_size"]


_WIDTH = 8


@inlined
def _fill_row(counts, values, row, k, n_species, x, size):
    """Write a row as doubles, time by time, the columns of `values` behind those of `counts`."""
    if k == n_species:
        start, whole = row * size, size - size % _WIDTH
        for i in range(0, whole, _WIDTH):
            store(x, i, as_reals(load_8(counts, start + i)))
        for i in range(whole, size):
            x[i] = np.float64(counts[start + i])
        return
    n_times, n_values = size // k, k - n_species
    for time in range(n_times):
        for c in range(n_species):
            x[time * k + c] = np.float64(counts[(row * n_times + time) * n_species + c])
        for c in range(n_values):
            x[time * k + n_species + c] = values[(row * n_times + time) * n_values + c]


@inlined
def _add_row(x, totals, lows, highs, size):
    # What is beyond the end of the row is added up, too, and read by nobody.
    for i in range(0, size, _WIDTH):
        value, low, high = load_8(x, i), load_8(lows, i), load_8(highs, i)
        store(totals, i, load_8(totals, i) + value)
        store(lows, i, select(value < low, value, low))
        store(highs, i, select(value > high, value, high))


@inlined
def _add_products(x, totals, products, k, size, padded):
    for i in range(0, size, _WIDTH):
        store(x, i, load_8(x, i) - load_8(totals, i))
    # Column i times column i - apart, all of them in one loop over neighbours; where i < apart the
    # other factor is of the time before, and nobody reads the sum.
    for apart in range(k):
        start = apart * padded
        for i in range(apart, size, _WIDTH):
            product = load_8(x, i) * load_8(x, i - apart)
            store(products, start + i, load_8(products, start + i) + product)


@kernel
def fill_set_moments(
    counts, values, outcome, n_rows, scratch, n_complete, means, comoments, minima, maxima
):
    """Write the moments of each set of `n_rows` trajectories, of those that are complete.

    Parameters
    ----------
    counts, values : ndarray, shape (n_sets * n_rows * n_times * n_columns,), int64 and float64
        Flat; the columns of `values` follow those of `counts`.
    outcome : ndarray, shape (n_sets * n_rows,), int64
    n_rows : int
    scratch : ndarray, shape (scratch_size(n_times, k),), float64
        For k columns in all.
    n_complete : ndarray, shape (n_sets,), int64
        Overwritten, as all that follow; sets of no complete row are left as they are.
    means, minima, maxima : ndarray, shape (n_sets, n_times, k), float64
    comoments : ndarray, shape (n_sets, n_times, k, k), float64
    """
    n_times, k = means.shape[1], means.shape[2]
    n_species, size = counts.size // (outcome.size * n_times), k * n_times
    padded = scratch.size // (4 + k)
    x, totals = scratch[:padded], scratch[padded : 2 * padded]
    lows, highs = scratch[2 * padded : 3 * padded], scratch[3 * padded : 4 * padded]
    products = scratch[4 * padded :]
    for i in range(padded):
        x[i] = 0.0
    for own in range(n_complete.size):
        n = 0
        for i in range(padded):
            totals[i], lows[i], highs[i] = 0.0, np.inf, -np.inf
        for i in range(products.size):
            products[i] = 0.0
        for row in range(own * n_rows, (own + 1) * n_rows):
            if outcome[row] == COMPLETE:
                n += 1
                _fill_row(counts, values, row, k, n_species, x, size)
                _add_row(x, totals, lows, highs, size)
        n_complete[own] = n
        if n == 0:
            continue
        for i in range(size):
            totals[i] = totals[i] / np.float64(n)
        for row in range(own * n_rows, (own + 1) * n_rows):
            if outcome[row] == COMPLETE:
                _fill_row(counts, values, row, k, n_species, x, size)
                _add_products(x, totals, products, k, size, padded)
        for time in range(n_times):
            for i in range(k):
                at = time * k + i
                means[own, time, i] = totals[at]
                minima[own, time, i], maxima[own, time, i] = lows[at], highs[at]
                for j in range(i + 1):
                    total = products[(i - j) * padded + at]
                    comoments[own, time, i, j] = total
                    comoments[own, time, j, i] = total


def scratch_size(n_times: int, k: int) -> int:
    """Return how many doubles `fill_set_moments` needs beside its results."""
    # As much more as eight numbers may reach beyond the end, and those of the next column.
    return (n_times * k + _WIDTH + k) * (4 + k)
