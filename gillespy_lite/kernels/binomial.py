"""Binomial draws, of any number of trials that a double can count.

References
----------
Hormann (1993), The generation of binomial random variates, J. Stat. Comput. Simul. 46:101,
doi:10.1080/00949659308811496 (transformed rejection, BTRS). Loader (2000), Fast and accurate
computation of binomial probabilities (the saddle-point form of the probabilities).
"""

from __future__ import annotations

import math

import numpy as np

from .jit import apart, inlined
from .random import uniform

__all__ = ["binomial"]


@inlined
def _deviance(k, mean):
    # k log(k / mean) - (k - mean), k > 0, without the cancellation where k is near the mean.
    gap = k - mean
    if abs(gap) >= 0.1 * (k + mean):
        return k * math.log(k / mean) - gap
    v = gap / (k + mean)
    deviance, term, odd = gap * v, 2.0 * k * v, 1.0
    while True:
        term *= v * v
        odd += 2.0
        further = deviance + term / odd
        if further == deviance:
            return deviance
        deviance = further


@inlined
def _stirling_error(k):
    # log k! less Stirling's formula for it, k > 0.
    if k < 16.0:
        return math.lgamma(k + 1.0) - (k + 0.5) * math.log(k) + k - 0.9189385332046727
    square = 1.0 / (k * k)
    return (1.0 / 12.0 - (1.0 / 360.0 - square / 1260.0) * square) / k


@apart
def _log_probability(k, n, p):
    # Loader (2000): every part of it is small where the probability is not, and so keeps its
    # digits, where log n! - log k! - log (n - k)! would have lost them all from n = 1e9 on.
    if k == 0.0:
        return n * math.log1p(-p)
    if k == n:
        return n * math.log(p)
    rest = n - k
    return (
        _stirling_error(n)
        - _stirling_error(k)
        - _stirling_error(rest)
        - _deviance(k, n * p)
        - _deviance(rest, n * (1.0 - p))
        + 0.5 * math.log(n / (2.0 * math.pi * k * rest))
    )


@apart
def _by_rejection(stream, n, p):
    # BTRS of Hormann (1993), section 4, for p <= 1/2 and n p >= 10.
    spread = math.sqrt(n * p * (1.0 - p))
    b = 1.15 + 2.53 * spread
    a = -0.0873 + 0.0248 * b + 0.01 * p
    alpha = (2.83 + 5.1 / b) * spread
    v_r = 0.92 - 4.2 / b
    at_mode = 0.0
    while True:
        u = uniform(stream) - 0.5
        v = 1.0 - uniform(stream)
        us = 0.5 - abs(u)
        # u = -0.5 exactly gives us = 0 and an infinite k, outside the support.
        if us == 0.0:
            continue
        k = math.floor((2.0 * a / us + b) * u + n * p + 0.5)
        if us >= 0.07 and v <= v_r:
            return k
        if k < 0.0 or k > n:
            continue
        if at_mode == 0.0:
            at_mode = _log_probability(math.floor((n + 1.0) * p), n, p)
        if math.log(v * alpha / (a / (us * us) + b)) <= _log_probability(k, n, p) - at_mode:
            return k


@inlined
def _by_inversion(stream, n, p):
    # Adding probabilities from 0 upwards, for p <= 1/2 and n p < 10.
    probability = math.exp(n * math.log1p(-p))
    odds = p / (1.0 - p)
    remaining = uniform(stream)
    k = 0.0
    while remaining >= probability and k < n and k < 200.0:  # beyond 200: below 1e-180
        remaining -= probability
        probability *= odds * (n - k) / (k + 1.0)
        k += 1.0
    return k


@apart
def binomial(stream, n, p):
    """Draw the number of successes in `n` trials (int64, 0 ... 2**53) of probability `p`."""
    if n == 0 or p <= 0.0:
        return np.int64(0)
    if p >= 1.0:
        return np.int64(n)
    trials = np.float64(n)
    less = min(p, 1.0 - p)
    if trials * less < 10.0:
        k = _by_inversion(stream, trials, less)
    else:
        k = _by_rejection(stream, trials, less)
    return np.int64(k) if p <= 0.5 else np.int64(trials - k)
