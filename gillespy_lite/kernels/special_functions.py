"""Functions of the language that a compiler's mathematical library lacks, and their slopes.

`power` is there for another reason: whole powers from the second to the sixteenth, the usual ones
in rate laws, are products, which cost a fraction of a call of the library.

References
----------
Gautschi (1967), Computational aspects of three-term recurrence relations, SIAM Review 9:24,
doi:10.1137/1009002. NIST Digital Library of Mathematical Functions, 13.3.15 and 13.5.1.
"""

from __future__ import annotations

import math

import numpy as np

from .jit import apart, inlined, part

__all__ = [
    "MOST_FACTORS",
    "PRODUCT_EXPONENTS",
    "factorial",
    "factorial_slope",
    "is_product",
    "kummer_ratio",
    "kummer_ratio_slopes",
    "power",
    "product_power",
]

_MOST_TERMS = 1e6
_STEP = 1e-3  # of differences, relative to 1 + the size of what is changed


# The greatest exponent that is multiplied out: x^15 is then within 7 units of the last place, which
# is 8e-16 of it.
MOST_FACTORS = 16.0
# The same exponents where Python asks, for which `is_product` would have to be compiled.
PRODUCT_EXPONENTS = frozenset(range(2, int(MOST_FACTORS) + 1))


@inlined
def is_product(exponent):
    """Return whether powers with this exponent are products."""
    return 2.0 <= exponent <= MOST_FACTORS and exponent == np.floor(exponent)


@inlined
def product_power(x, exponent):
    """Return x^n as a product of x^8, x^4, x^2 and x, each the square of the next, in this order.

    x is a number or lanes, n whole and from 2 to 16. What is rounded grows with x >= 0, so that the
    powers of the ends of an interval are bounds, too.
    """
    square = x * x
    if exponent == 2.0:
        return square
    if exponent == 3.0:
        return square * x
    fourth = square * square
    if exponent == 4.0:
        return fourth
    result, rest = fourth, exponent - 4.0
    if exponent >= 8.0:
        result, rest = fourth * fourth, exponent - 8.0
        if rest == 8.0:
            return result * result
        if rest >= 4.0:
            result, rest = result * fourth, rest - 4.0
    if rest >= 2.0:
        result, rest = result * square, rest - 2.0
    if rest == 1.0:
        result = result * x
    return result


@apart
def _long_product(x, exponent):
    return product_power(x, exponent)


@inlined
def power(x, y):
    """Return x^y as all programs compute it: in `x ^ y`, `hill` and `hillr` of a rate law.

    If y is a whole number from 2 to 16, however it came by that value, `product_power`; else the C
    library's power. Whatever computes a rate law in another way, such as generated code, must take
    these products in this order, and must not show a compiler another exponent as a constant: LLVM
    has replacements of its own, x^0.5 by a square root among them, with other last bits.
    """
    # The usual ones in place, the others as a call: this stands wherever a law is evaluated.
    if y == 2.0:
        return x * x
    if y == 3.0:
        return (x * x) * x
    if y == 4.0:
        square = x * x
        return square * square
    if is_product(y):
        return _long_product(x, y)
    return x**y


@inlined
def factorial(x):
    """Return Gamma(x + 1); nan at the negative whole numbers, where it has no limit."""
    y = x + 1.0
    if not y > -np.inf or (y < 0.0 and y == np.floor(y)):
        return np.nan
    # Where doubles end; Python's own `gamma` would raise there.
    return math.gamma(y) if y != 0.0 and y < 171.6243769563027 else np.inf


@inlined
def _five_points(beyond, above, below, before, step):
    """Return a slope from values at +2, +1, -1 and -2 steps; the error is of fourth order."""
    return (8.0 * (above - below) - (beyond - before)) / (12.0 * step)


@part
def factorial_slope(x):
    """Return the slope of `factorial`, to about ten digits."""
    h = _STEP * (1.0 + abs(x))
    return _five_points(
        factorial(x + 2.0 * h), factorial(x + h), factorial(x - h), factorial(x - 2.0 * h), h
    )


@part
def kummer_ratio(a, b, z):
    """Return M(a + 1, b + 1, z) / M(a, b, z) of Kummer's function M = 1F1.

    It is nan where M has a pole (b a whole number up to 0), for arguments that are not finite, and
    where a million terms are too few.
    """
    size = max(abs(z), np.sqrt(abs(z) * (abs(a) + abs(b))))
    # Beyond so many terms each is below 1/16, and sixteen more leave nothing to see.
    n_terms = 16.0 + np.floor(max(0.0, 2.0 * size - 0.5 * b))
    if not n_terms < _MOST_TERMS or (b <= 0.0 and b == np.floor(b)) or not abs(b) < np.inf:
        return np.nan
    # DLMF 13.5.1, from the last term to the first: forwards, such a fraction can seem to converge
    # to a wrong value (Gautschi 1967 on recurrences explains why backwards is safe).
    fraction, n = 1.0, n_terms
    while n > 0.0:
        fraction = 1.0 + (a + n) * z / ((b + (2.0 * n - 1.0)) * (b + 2.0 * n)) / fraction
        fraction = (
            1.0
            + (a - b - (n - 1.0)) * z / ((b + (2.0 * n - 2.0)) * (b + (2.0 * n - 1.0))) / fraction
        )
        n -= 1.0
    return 1.0 / fraction


@part
def kummer_ratio_slopes(a, b, z, value):
    """Return the slopes of `kummer_ratio`, whose value is `value`, by a, b and z."""
    h = _STEP * (1.0 + abs(a))
    by_a = _five_points(
        kummer_ratio(a + 2.0 * h, b, z),
        kummer_ratio(a + h, b, z),
        kummer_ratio(a - h, b, z),
        kummer_ratio(a - 2.0 * h, b, z),
        h,
    )
    h = _STEP * abs(b)  # never to 0, where the ratio has a pole
    by_b = _five_points(
        kummer_ratio(a, b + 2.0 * h, z),
        kummer_ratio(a, b + h, z),
        kummer_ratio(a, b - h, z),
        kummer_ratio(a, b - 2.0 * h, z),
        h,
    )
    # From DLMF 13.3.15, M'(a, b, z) = (a / b) M(a + 1, b + 1, z).
    next_ratio = kummer_ratio(a + 1.0, b + 1.0, z)
    by_z = value * ((a + 1.0) / (b + 1.0) * next_ratio - a / b * value)
    return by_a, by_b, by_z
