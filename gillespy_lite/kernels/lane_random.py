"""The random streams of all lanes at once: the same words and numbers as those of random.py."""

from __future__ import annotations

import numpy as np

from .inversion import exponential_scale, scaled_exponential
from .jit import inlined
from .lane_vectors import as_double, as_words, rotated, select
from .random import BITS_OF_ONE, MANTISSA, ROOT_OF_TWO, negative_log_of

__all__ = [
    "exponentials_of_negatives",
    "floored",
    "negative_logs",
    "next_words",
    "random_exponential",
    "random_uniform",
    "random_uniform_inside",
]

_U12, _U17, _U52 = np.uint64(12), np.uint64(17), np.uint64(52)
# A whole number below 2**52 in the mantissa of this double is that number above 2**52: the way from
# words to doubles that is one instruction on every processor.
_BITS_OF_2_52, _BIASED_2_52 = np.uint64(0x4330000000000000), 2.0**52 + 1023.0
# Added to a number below 2**51 in size and taken away again, it leaves the nearest whole number.
_ROUNDER = 1.5 * 2.0**52


@inlined
def next_words(s0, s1, s2, s3):
    """Return the next word of each lane's stream, and the four words of its new state."""
    word = rotated(s0 + s3, 23) + s0
    t = s1 << _U17
    s2 = s2 ^ s0
    s3 = s3 ^ s1
    return word, s0 ^ s3, s1 ^ s2, s2 ^ t, rotated(s3, 45)


@inlined
def random_uniform(words):
    """Return uniform numbers of [0, 1), as `random.uniform_52`."""
    return as_double(BITS_OF_ONE | (words >> _U12)) - 1.0


@inlined
def random_exponential(words):
    """Return exponential numbers of mean 1, as `random.exponential_by_log`."""
    return negative_logs(2.0 - as_double(BITS_OF_ONE | (words >> _U12)))


@inlined
def negative_logs(v):
    """Return -log(v) as `random.negative_log` does: fdlibm's logarithm."""
    bits = as_words(v)
    m = as_double((bits & MANTISSA) | BITS_OF_ONE)
    e = as_double((bits >> _U52) | _BITS_OF_2_52) - _BIASED_2_52
    large = m > ROOT_OF_TWO
    m = select(large, 0.5 * m, m)
    e = select(large, e + 1.0, e)
    return negative_log_of(m, e)


@inlined
def random_uniform_inside(words):
    """Return uniform numbers of (0, 1), as `inversion.uniform_inside`."""
    return random_uniform(words) + 2.0**-53


@inlined
def floored(x):
    """Return the largest whole numbers that are not above x, for |x| below 2**51."""
    nearest = (x + _ROUNDER) - _ROUNDER
    return select(nearest > x, nearest - 1.0, nearest)


@inlined
def exponentials_of_negatives(y):
    """Return exp(-y) for y in [0, 700], as `inversion.exponential_of_negative`."""
    n = floored(exponential_scale(y))
    scale = as_double(as_words(_BIASED_2_52 - n) << _U52)
    return scaled_exponential(y, n) * scale
