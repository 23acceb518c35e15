"""Arrays of samples reduced along their first axis, the trajectories."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .recorded import FloatArray, IntArray

__all__ = ["check_probabilities", "histogram", "quantiles", "reduce"]

# A histogram with default bins has at most this many; counts that spread wider share bins of a
# power of two.
MAX_DEFAULT_BINS = 100

_REDUCTIONS: dict[str, Any] = {"mean": np.mean, "minimum": np.min, "maximum": np.max}


def reduce(which: str, samples: NDArray[Any]) -> NDArray[Any]:
    """Return "mean", "var" (``n - 1`` in the divisor), "minimum" or "maximum"; nan if too few."""
    if samples.shape[0] < (2 if which == "var" else 1):
        return np.full(samples.shape[1:], np.nan)
    if which == "var":
        return np.asarray(samples.var(axis=0, ddof=1))
    return np.asarray(_REDUCTIONS[which](samples, axis=0))


def check_probabilities(q: ArrayLike) -> FloatArray:
    """Return `q` as an array, or refuse what no probability can be."""
    probabilities = np.asarray(q, dtype=np.float64)
    if not np.all((probabilities >= 0.0) & (probabilities <= 1.0)):
        raise ValueError(f"q must hold probabilities from 0 to 1, but is {q!r}")
    return probabilities


def quantiles(probabilities: FloatArray, samples: NDArray[Any], method: str) -> FloatArray:
    """Return quantiles, on first axes of the shape of `probabilities`; nan without samples."""
    if samples.shape[0] == 0:
        return np.full(probabilities.shape + samples.shape[1:], np.nan)
    # mypy knows the names of NumPy's methods; the user's text is checked by NumPy.
    return np.asarray(np.quantile(samples, probabilities, axis=0, method=method))  # type: ignore[call-overload]


def histogram(
    samples: NDArray[Any], bins: int | Sequence[float] | FloatArray | None, name: str
) -> tuple[NDArray[Any], IntArray]:
    """Return edges and counts of one column, as documented at `Ensemble.histogram`."""
    if samples.size == 0:
        raise ValueError("a histogram needs at least one trajectory, and there is none")
    if not np.isfinite(samples).all():
        raise ValueError(f"{name!r} is infinite or not a number in some trajectories at this time")
    if bins is None and np.all(samples == np.floor(samples)) and np.abs(samples).max() <= 2**53:
        whole = samples.astype(np.int64)
        width, lowest, highest = 1, int(whole.min()), int(whole.max())
        while highest // width - lowest // width >= MAX_DEFAULT_BINS:
            width *= 2
        first, last = lowest // width, highest // width
        counts = np.bincount(whole // width - first, minlength=last - first + 1)
        return np.arange(first, last + 2, dtype=np.int64) * width, counts.astype(np.int64)
    if bins is None:
        # The usual square-root rule; the others try to allocate millions of bins for heavy tails.
        bins = min(MAX_DEFAULT_BINS, max(10, math.isqrt(samples.size)))
    counts, edges = np.histogram(samples, bins=bins)
    return edges, counts.astype(np.int64)
