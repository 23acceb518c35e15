"""Poisson probabilities for uniformisation, and where they may be cut off."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

__all__ = ["poisson_weights"]

# Terms below this share of the largest are left out: all together less than 1e-30.
_NEGLIGIBLE = 1e-40


def poisson_weights(mean: float, missing: float) -> NDArray[np.float64]:
    """Return the Poisson probabilities of 0, 1, ... up to where at most `missing` is left.

    Parameters
    ----------
    mean : float
        Of the Poisson law.
    missing : float
        At most this much probability, or 1e-17 if that is more, is beyond the last entry; at most
        half as much again is missing among the first, which are 0 where they do not matter.

    Returns
    -------
    ndarray, shape (n_terms,), float64
        None is larger than the true one by more than a relative 1e-13: they come from the largest
        by recurrence, and are divided by their sum (Fox and Glynn (1988), Commun. ACM 31, 440,
        doi:10.1145/42404.42409).
    """
    if mean <= 0.0:
        return np.ones(1)
    spread = math.ceil(14.0 * math.sqrt(mean) + 120.0)
    mode = int(mean)
    first = max(0, mode - spread)
    above = np.cumprod(mean / np.arange(mode + 1, mode + 2 * spread, dtype=np.float64))
    below = np.cumprod(np.arange(mode, first, -1, dtype=np.float64) / mean)
    shares = np.concatenate([below[::-1], [1.0], above])
    shares[shares < _NEGLIGIBLE] = 0.0
    weights = shares / math.fsum(shares.tolist())
    missing = max(missing, 1e-17)
    from_end = np.cumsum(weights[::-1])[::-1]
    n_kept = max(1, int(np.count_nonzero(from_end > missing)))
    from_start = np.cumsum(weights)
    weights[from_start <= 0.5 * missing] = 0.0
    return np.concatenate([np.zeros(first), weights[:n_kept]])
