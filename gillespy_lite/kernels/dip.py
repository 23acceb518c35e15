"""The dip of a sample: how far its distribution function is from one with a single mode.

References
----------
Hartigan and Hartigan (1985), Ann. Statist. 13, 70, doi:10.1214/aos/1176346577. Hartigan (1985),
Appl. Statist. 34, 320, doi:10.2307/2347485 (the algorithm).
"""

from __future__ import annotations

import numpy as np

from .jit import inlined, kernel, part

__all__ = ["find_dip"]


@part
def _fill_hull(x, low, high, sign, hull):
    """Write the corners of a hull of the points (x_i, i) from `low` to `high`; return how many.

    `sign` 1: the greatest convex minorant, -1: the least concave majorant.
    """
    n = 0
    for i in range(low, high + 1):
        while n >= 2:
            a, b = hull[n - 2], hull[n - 1]
            # Drop b unless the slope from b to i turns the right way from that from a to b.
            turn = (x[b] - x[a]) * np.float64(i - b) - (x[i] - x[b]) * np.float64(b - a)
            if sign * turn > 0.0:
                break
            n -= 1
        hull[n] = i
        n += 1
    return n


@inlined
def _height(x, a, b, at):
    """Return the height at `at` of the line from (x_a, a) to (x_b, b)."""
    if a == b:
        return np.float64(a)
    return np.float64(a) + np.float64(b - a) * (at - x[a]) / (x[b] - x[a])


@kernel
def find_dip(x, below, above):
    """Return the dip of the increasing sample `x` (n,), from 1/(2n) to 1/4.

    `below` and `above`, (n,) int64, are scratch.
    """
    n = x.size
    low, high = 0, n - 1
    # All in units of 1/n, and twice the distance, until the end. The step at x_i goes from i to
    # i + 1 (counted from 0), so lines through (x_i, i) are the minorant, and the majorant is the
    # line through the same points plus 1.
    dip = 1.0
    while low < high:
        n_below = _fill_hull(x, low, high, 1.0, below)
        n_above = _fill_hull(x, low, high, -1.0, above)
        # The widest gap between majorant and minorant is at a corner of one of them; the interval
        # from there to the next corner of the other is where a mode may still be.
        widest, next_low, next_high = 0.0, low, high
        k = 0
        for corner in range(n_below):
            i = below[corner]
            while k + 1 < n_above - 1 and above[k + 1] < i:
                k += 1
            gap = _height(x, above[k], above[k + 1], x[i]) - np.float64(i) + 1.0
            if gap > widest:
                widest, next_low = gap, i
                next_high = above[k + 1] if i > above[k] else above[k]
        k = 0
        for corner in range(n_above):
            i = above[corner]
            while k + 1 < n_below - 1 and below[k + 1] <= i:
                k += 1
            gap = np.float64(i) + 1.0 - _height(x, below[k], below[k + 1], x[i])
            if gap > widest:
                widest, next_high = gap, i
                next_low = below[k] if i < below[k + 1] else below[k + 1]
        if widest <= dip:
            break
        # Left of the interval the closest unimodal function is the minorant, right of it the
        # majorant.
        k = 0
        for i in range(low, next_low + 1):
            while k + 1 < n_below - 1 and below[k + 1] <= i:
                k += 1
            dip = max(dip, np.float64(i) + 1.0 - _height(x, below[k], below[k + 1], x[i]))
        k = 0
        for i in range(next_high, high + 1):
            while k + 1 < n_above - 1 and above[k + 1] < i:
                k += 1
            if i >= above[k]:
                dip = max(dip, _height(x, above[k], above[k + 1], x[i]) - np.float64(i) + 1.0)
        if next_low == low and next_high == high:
            break
        low, high = next_low, next_high
    return dip / (2.0 * np.float64(n))
