"""Poisson numbers by inversion: one word of the stream each, by steps that are the same for all.

Rejection takes another number of tries for every draw, so that draws for many trajectories at once
wait for the slowest. Here the smallest k with P(X <= k) > u is found for one uniform u. From a mean
of `LARGE_MEAN` on it is the normal quantile w of u put into an expansion in powers of the mean
(Giles 2016, section 2: eq. 8, a Cornish-Fisher expansion), whose error is bounded; where a whole
number lies within the bound, and only there, probabilities are added up to decide. Below, they are
always added up from 0. All of it is plain arithmetic, without a call of a library, so that values
of lanes and single numbers go through the same steps to the same bits.

A uniform number is an odd multiple of 2**-53. So probabilities are right to 1e-15, and no draw lies
further out than 8.2 standard deviations of the normal law: what is beyond has the probability
2**-53 on either side.

References
----------
Giles (2016), Algorithm 955: approximation of the inverse Poisson cumulative distribution function,
ACM TOMS 42:7, doi:10.1145/2699466. Wichura (1988), Algorithm AS 241: the percentage points of the
normal distribution, Appl. Stat. 37:477, doi:10.2307/2347330 (PPND16). Sun Microsystems (1993),
fdlibm, e_exp.c, https://www.netlib.org/fdlibm/e_exp.c (the exponential function). Loader (2000),
Fast and accurate computation of binomial probabilities (probabilities in saddle-point form).
"""

from __future__ import annotations

import math

import numpy as np

from .bits import as_bits, as_float
from .jit import apart, inlined
from .random import negative_log, unit_mantissa

__all__ = [
    "CENTRE",
    "FAR_TAIL",
    "INVERSES",
    "LARGE_MEAN",
    "SMALLEST",
    "central_quantile",
    "exponential_of_negative",
    "exponential_scale",
    "far_quantile",
    "normal_quantile",
    "poisson_by_inversion",
    "poisson_expansion",
    "scaled_exponential",
    "settle",
    "tail_quantile",
    "uniform_inside",
]

# From this mean on the expansion is used.
LARGE_MEAN = 10.0
# Probabilities below this one are beyond the digits of a uniform number.
SMALLEST = 2.0**-54
# 1 / k; the search below LARGE_MEAN ends before k = 80.
INVERSES = 1.0 / np.maximum(np.arange(128.0), 1.0)

_HALF_STEP = 2.0**-53
_NOTHING = 1e-30
_U52 = np.uint64(52)
_2_52 = 2.0**52
_LOG2_E, _LN2_HIGH, _LN2_LOW = (
    1.4426950408889634,
    6.93147180369123816490e-01,
    1.90821492927058770002e-10,
)

# Wichura's boundaries: |u - 1/2| up to CENTRE; else r = sqrt(-log(min(u, 1 - u))) up to FAR_TAIL.
CENTRE, FAR_TAIL = 0.425, 5.0


@inlined
def uniform_inside(stream):
    """Draw uniformly from (0, 1), an odd multiple of 2**-53: 1 minus it is one, too."""
    return (unit_mantissa(stream) - 1.0) + _HALF_STEP


# ---- The exponential function --------------------------------------------------------------------


@inlined
def exponential_scale(y):
    """Return n and r with y = n log(2) + r for y in [0, 700]; n + 1/2 is not rounded down yet."""
    return y * _LOG2_E + 0.5


@inlined
def scaled_exponential(y, n):
    """Return 2^n exp(-y), for n the whole part of `exponential_scale`; fdlibm's polynomial."""
    high, low = n * _LN2_HIGH - y, -(n * _LN2_LOW)
    x = high - low
    t = x * x
    c = x - t * (
        1.66666666666666019037e-01
        + t
        * (
            -2.77777777770155933842e-03
            + t
            * (
                6.61375632143793436117e-05
                + t * (-1.65339022054652515390e-06 + t * 4.13813679705723846039e-08)
            )
        )
    )
    return 1.0 - ((low - (x * c) / (2.0 - c)) - high)


@inlined
def exponential_of_negative(y):
    """Return exp(-y) for y in [0, 700]."""
    n = np.floor(exponential_scale(y))
    scale = as_float(as_bits(_2_52 + 1023.0 - n) << _U52)
    return scaled_exponential(y, n) * scale


# ---- The normal quantile -------------------------------------------------------------------------

# Wichura's coefficients, highest power first: of the centre, the tails, and the far tails.
_A7, _A6, _A5, _A4, _A3, _A2, _A1, _A0 = (
    2.50908_09287_30122_6727e3, 3.34305_75583_58812_8105e4, 6.72657_70927_00870_0853e4,
    4.59219_53931_54987_1457e4, 1.37316_93765_50946_1125e4, 1.97159_09503_06551_4427e3,
    1.33141_66789_17843_7745e2, 3.38713_28727_96366_6080e0,
)  # fmt: skip
_B7, _B6, _B5, _B4, _B3, _B2, _B1 = (
    5.22649_52788_52854_5610e3, 2.87290_85735_72194_2674e4, 3.93078_95800_09271_0610e4,
    2.12137_94301_58659_5867e4, 5.39419_60214_24751_1077e3, 6.87187_00749_20579_0830e2,
    4.23133_30701_60091_1252e1,
)  # fmt: skip
_C7, _C6, _C5, _C4, _C3, _C2, _C1, _C0 = (
    7.74545_01427_83414_07640e-4, 2.27238_44989_26918_45833e-2, 2.41780_72517_74506_11770e-1,
    1.27045_82524_52368_38258e0, 3.64784_83247_63204_60504e0, 5.76949_72214_60691_40550e0,
    4.63033_78461_56545_29590e0, 1.42343_71107_49683_57734e0,
)  # fmt: skip
_D7, _D6, _D5, _D4, _D3, _D2, _D1 = (
    1.05075_00716_44416_84324e-9, 5.47593_80849_95344_94600e-4, 1.51986_66563_61645_71966e-2,
    1.48103_97642_74800_74590e-1, 6.89767_33498_51000_04550e-1, 1.67638_48301_83803_84940e0,
    2.05319_16266_37758_82187e0,
)  # fmt: skip
_E7, _E6, _E5, _E4, _E3, _E2, _E1, _E0 = (
    2.01033_43992_92288_13265e-7, 2.71155_55687_43487_57815e-5, 1.24266_09473_88078_43860e-3,
    2.65321_89526_57612_30930e-2, 2.96560_57182_85048_91230e-1, 1.78482_65399_17291_33580e0,
    5.46378_49111_64114_36990e0, 6.65790_46435_01103_77720e0,
)  # fmt: skip
_F7, _F6, _F5, _F4, _F3, _F2, _F1 = (
    2.04426_31033_89939_78564e-15, 1.42151_17583_16445_88870e-7, 1.84631_83175_10054_68180e-5,
    7.86869_13114_56132_59100e-4, 1.48753_61290_85061_48525e-2, 1.36929_88092_27358_05310e-1,
    5.99832_20655_58879_37690e-1,
)  # fmt: skip


@inlined
def central_quantile(q):
    """Return the standard normal quantile of q + 1/2 for |q| up to CENTRE."""
    r = 0.180625 - q * q
    above = r * (r * (r * (r * (r * (r * (r * _A7 + _A6) + _A5) + _A4) + _A3) + _A2) + _A1) + _A0
    below = r * (r * (r * (r * (r * (r * (r * _B7 + _B6) + _B5) + _B4) + _B3) + _B2) + _B1) + 1.0
    return q * above / below


@inlined
def tail_quantile(root):
    """Return the absolute quantile of p for sqrt(-log(p)) up to FAR_TAIL, p below 1/2 - CENTRE."""
    r = root - 1.6
    above = r * (r * (r * (r * (r * (r * (r * _C7 + _C6) + _C5) + _C4) + _C3) + _C2) + _C1) + _C0
    below = r * (r * (r * (r * (r * (r * (r * _D7 + _D6) + _D5) + _D4) + _D3) + _D2) + _D1) + 1.0
    return above / below


@inlined
def far_quantile(root):
    """Return the same where sqrt(-log(p)) is above FAR_TAIL."""
    r = root - FAR_TAIL
    above = r * (r * (r * (r * (r * (r * (r * _E7 + _E6) + _E5) + _E4) + _E3) + _E2) + _E1) + _E0
    below = r * (r * (r * (r * (r * (r * (r * _F7 + _F6) + _F5) + _F4) + _F3) + _F2) + _F1) + 1.0
    return above / below


@inlined
def normal_quantile(u):
    """Return the standard normal quantile of u."""
    q = u - 0.5
    if abs(q) <= CENTRE:
        return central_quantile(q)
    root = np.sqrt(negative_log(min(u, 1.0 - u)))
    tail = tail_quantile(root) if root <= FAR_TAIL else far_quantile(root)
    return -tail if q < 0.0 else tail


# ---- The Poisson law -----------------------------------------------------------------------------


@inlined
def poisson_expansion(w, size, mean, root):
    """Return what the continuous Poisson quantile is above the mean, and a bound of the error.

    For `mean` from LARGE_MEAN on, and its `root`, at the normal quantile w; `size` is |w|. The
    bound was fitted: tests compare it with the error at every whole number within 8.3 standard
    deviations, for means from 10 to 1e4, beyond which it falls as the expansion says.
    """
    square = w * w
    fourth = square * square
    above = (
        root * w
        + (1.0 / 3.0 + square * (1.0 / 6.0))
        - w * (1.0 / 36.0 + square * (1.0 / 72.0)) / root
        + (-8.0 / 405.0 + square * (7.0 / 810.0) + fourth * (1.0 / 270.0)) / mean
    )
    return above, (0.02 + size * fourth * 0.005) / (mean * root)


@apart
def _probability(k, mean):
    """Return P(X = k) for a Poisson number X of this mean."""
    if k < 16.0:
        value = exponential_of_negative(mean)
        for j in range(1, np.int64(k) + 1):
            value *= mean / np.float64(j)
        return value
    # Loader (2000): the deviance, k log(k / mean) - (k - mean), keeps its digits as a series near
    # the mean, in v = (k - mean) / (k + mean).
    gap = k - mean
    v = gap / (k + mean)
    if abs(v) < 0.1:
        deviance, term, odd = gap * v, 2.0 * k * v, 1.0
        while True:
            term *= v * v
            odd += 2.0
            with_term = deviance + term / odd
            if with_term == deviance:
                break
            deviance = with_term
    else:
        deviance = -k * negative_log(k / mean) - gap
    square = 1.0 / (k * k)
    stirling = (1.0 / 12.0 - (1.0 / 360.0 - (1.0 / 1260.0 - square / 1680.0) * square) * square) / k
    return exponential_of_negative(min(deviance + stirling, 700.0)) / np.sqrt(2.0 * math.pi * k)


@apart
def settle(u, mean, guess):
    """Return the smallest k with P(X <= k) > u, from a guess, by adding up probabilities.

    For `mean` from LARGE_MEAN on. All that is added is positive and starts from its largest term.
    """
    k = max(guess, 0.0)
    here = _probability(k, mean)
    if u < 0.5:
        total, term, j = here, here, k
        while term > 1e-18 * total:
            term *= j / mean
            j -= 1.0
            total += term
        while total <= u:
            k += 1.0
            here *= mean / k
            total += here
        while k > 0.0 and total - here > u:
            total -= here
            here *= k / mean
            k -= 1.0
        return k
    # The same from above: P(X > k) < 1 - u.
    v = 1.0 - u
    term, j = here * (mean / (k + 1.0)), k + 1.0
    total = term
    while term > 1e-18 * total:
        j += 1.0
        term *= mean / j
        total += term
    # The second condition ends it where a bad guess would leave nothing but rounding errors.
    while total >= v and here > _NOTHING:
        k += 1.0
        here *= mean / k
        total -= here
    while k > 0.0 and total + here < v:
        total += here
        here *= k / mean
        k -= 1.0
    return k


@inlined
def poisson_by_inversion(u, mean):
    """Return the Poisson number that belongs to u in (0, 1), a float64; `mean` in [0, 2**53)."""
    if mean < LARGE_MEAN:
        probability = exponential_of_negative(mean)
        remaining, k = u, 0
        while remaining >= probability > SMALLEST:
            remaining -= probability
            k += 1
            probability *= mean * INVERSES[k]
        return np.float64(k)
    w = normal_quantile(u)
    above, bound = poisson_expansion(w, abs(w), mean, np.sqrt(mean))
    # The mean's whole part is added last, so that no digit of what is above it is lost.
    whole = np.floor(mean)
    above += mean - whole
    k = np.floor(above - bound)
    if k == np.floor(above + bound):
        return max(whole + k, 0.0)
    return settle(u, mean, whole + np.floor(above))
