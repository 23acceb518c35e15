"""The cells between the times of a grid."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..kernels.explicit_cells import Cells

__all__ = ["cells_from_steps", "equal_cells"]


def equal_cells(times: np.ndarray, steps: Any, *, is_linear: bool) -> Cells:
    """Return `steps` equal cells in each interval of `times` (n_times,).

    Raises
    ------
    ValueError
        If `steps` is not a whole number above 0, or one for each interval.
    """
    n_intervals = times.size - 1
    counts = np.asarray(steps)
    if counts.dtype.kind not in "iu" or counts.ndim > 1 or (counts < 1).any():
        raise ValueError(
            f"steps must be a whole number of cells per interval of t, 1 or more, not {steps!r}"
        )
    if counts.ndim == 1 and counts.size != n_intervals:
        raise ValueError(
            f"steps has {counts.size} entries, but t has {n_intervals} intervals; give one number "
            "of cells for each interval, or one for all"
        )
    counts = np.broadcast_to(counts, n_intervals).astype(np.int64)
    interval = np.repeat(np.arange(n_intervals), counts)
    last = np.cumsum(counts) - 1
    place = np.arange(interval.size) - np.repeat(last + 1 - counts, counts)
    low, high = place / counts[interval], (place + 1) / counts[interval]
    width = np.diff(times)[interval]
    record = np.full(interval.size, -1, dtype=np.int64)
    record[last] = np.arange(1, times.size)
    return Cells(
        time=times[:-1][interval] + low * width,
        size=width / counts[interval],
        interval=interval.astype(np.uint64),
        low=low,
        high=high,
        record=record,
        is_linear=is_linear,
    )


def cells_from_steps(
    times: np.ndarray, sizes: np.ndarray, rows: np.ndarray, *, is_linear: bool
) -> Cells:
    """Return the cells of recorded steps: their lengths, and the row of the grid each ends at."""
    ends = rows >= 0
    # Cut to length, because there may be no step at all.
    interval = np.concatenate([[0], np.cumsum(ends)[:-1]]).astype(np.int64)[: sizes.size]
    begins = np.concatenate([[True], ends[:-1]])[: sizes.size]
    # Time within the interval, added up step by step as the kernel did.
    total = np.cumsum(sizes)
    before = total - sizes
    offset = before - np.repeat(before[begins], np.diff([*np.flatnonzero(begins), sizes.size]))
    width = np.diff(times)[interval]
    low = offset / width
    high = np.where(ends, 1.0, (offset + sizes) / width)
    return Cells(
        time=times[:-1][interval] + offset,
        size=sizes.copy(),
        interval=interval.astype(np.uint64),
        low=low,
        high=high,
        record=rows.copy(),
        is_linear=is_linear,
    )
