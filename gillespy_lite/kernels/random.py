"""The random streams: xoshiro256++ and its samplers.

A stream is its state, a (4,) uint64 array. Trajectory `i` of a run starts from a hash of the
run's key and `i`, so it does not depend on who computes it, or when, or beside what.

References
----------
Blackman and Vigna (2021), Scrambled linear pseudorandom number generators, ACM TOMS 47:36,
doi:10.1145/3460772. Marsaglia and Tsang (2000), The ziggurat method for generating random
variables, J. Stat. Softw. 5(8), doi:10.18637/jss.v005.i08. Doornik (2005), An improved ziggurat
method to generate normal random samples, working paper, University of Oxford (the layer and the
place in it must come from different bits). Marsaglia (1964), Generating a variable from the tail
of the normal distribution, Technometrics 6:101. Hormann (1993), The transformed rejection method
for generating Poisson random variables, Insur. Math. Econ. 12:39,
doi:10.1016/0167-6687(93)90997-4. Loader (2000), Fast and accurate computation of binomial
probabilities (the saddle-point form of the Poisson probabilities). Marsaglia and Tsang (2000), A
simple method for generating gamma variables, ACM TOMS 26:363, doi:10.1145/358407.358414. Robert
(1995), Simulation of truncated normal variables, Stat. Comput. 5:121, doi:10.1007/BF00143942. Sun
Microsystems (1993), fdlibm, e_log.c, https://www.netlib.org/fdlibm/e_log.c (the logarithm).
"""

from __future__ import annotations

import math

import numpy as np

from .bits import as_bits, as_float
from .jit import inlined, kernel, part

__all__ = [
    "BITS_OF_ONE",
    "MANTISSA",
    "ROOT_OF_TWO",
    "exponential",
    "exponential_by_log",
    "gamma",
    "negative_log",
    "negative_log_of",
    "normal",
    "poisson",
    "seed_stream",
    "start_stream",
    "truncated_normal",
    "uniform",
    "uniform_52",
    "unit_mantissa",
]

# uint64 meets int64 as float64 in NumPy and Numba, so every integer here is spelled out.
_U11, _U17, _U19, _U23, _U27 = (np.uint64(k) for k in (11, 17, 19, 23, 27))
_U12, _U30, _U31, _U41, _U45, _U52 = (np.uint64(k) for k in (12, 30, 31, 41, 45, 52))
_ONE, _EIGHT, _LOW_BYTE = np.uint64(1), np.uint64(8), np.uint64(255)
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_MIX_1, _MIX_2 = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)
_TO_UNIT = 2.0**-53

# The parts of a double, and the published constants of fdlibm's logarithm: log(2) in two parts, of
# which the first times an exponent is exact, and the coefficients of a polynomial in s^2.
BITS_OF_ONE = np.uint64(0x3FF0000000000000)
MANTISSA = np.uint64(0x000FFFFFFFFFFFFF)
_BIAS = np.int64(1023)
ROOT_OF_TWO = 1.4142135623730951
_LN2_HIGH, _LN2_LOW = 6.93147180369123816490e-01, 1.90821492927058770002e-10
_LG1, _LG2, _LG3, _LG4, _LG5, _LG6, _LG7 = (
    6.666666666666735130e-01, 3.999999999940941908e-01, 2.857142874366239149e-01,
    2.222219843214978396e-01, 1.818357216161805012e-01, 1.531383769920937332e-01,
    1.479819860511658591e-01,
)  # fmt: skip


def _exponential_layers() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    # 256 layers of equal area under exp(-x); the last edge and the area are the constants of
    # Marsaglia and Tsang (2000). Layer 0 is the base strip with the tail beyond _TAIL.
    area = 0.0039496598225815571993
    edge = np.zeros(257)
    edge[0], edge[1] = area * math.exp(_TAIL), _TAIL
    for i in range(2, 256):
        edge[i] = -math.log(math.exp(-edge[i - 1]) + area / edge[i - 1])
    return edge[:256] * _TO_UNIT, np.exp(-edge), _inside(edge)


def _normal_layers() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    # The same under exp(-x^2 / 2), x > 0. _NORMAL_TAIL is the last edge for which 256 layers of the
    # area of the base (strip and tail) end at height 1; Marsaglia and Tsang (2000) explain how.
    density = math.exp(-0.5 * _NORMAL_TAIL**2)
    tail = math.sqrt(0.5 * math.pi) * math.erfc(_NORMAL_TAIL * math.sqrt(0.5))
    area = _NORMAL_TAIL * density + tail
    edge = np.zeros(257)
    edge[0], edge[1] = area / density, _NORMAL_TAIL
    for i in range(2, 256):
        height = math.exp(-0.5 * edge[i - 1] ** 2) + area / edge[i - 1]
        edge[i] = math.sqrt(-2.0 * math.log(height))
    return edge[:256] * _TO_UNIT, np.exp(-0.5 * edge**2), _inside(edge)


def _inside(edge: np.ndarray) -> np.ndarray:
    # Below these 53-bit fractions of its width, a layer lies under the curve as a whole.
    return np.array([int(edge[i + 1] / edge[i] * 2.0**53) for i in range(256)], dtype=np.uint64)


_TAIL = 7.69711747013104972
_NORMAL_TAIL = 3.654152885361009
_WIDTH, _DENSITY, _INSIDE = _exponential_layers()
_NORMAL_WIDTH, _NORMAL_DENSITY, _NORMAL_INSIDE = _normal_layers()


@inlined
def _mix(z):
    # The finaliser of SplitMix64 (Stafford's variant 13): a bijection of 64 bits.
    z = (z ^ (z >> _U30)) * _MIX_1
    z = (z ^ (z >> _U27)) * _MIX_2
    return z ^ (z >> _U31)


@inlined
def seed_stream(key, index, stream):
    """Start `stream` for trajectory `index` of the run with this (4,) uint64 `key`."""
    # The first word is a bijection of the index, so no two trajectories of a run can share a
    # state; the other words make states of different keys differ in all 256 bits.
    stream[0] = _mix(key[0] + _GOLDEN * (np.uint64(index) + _ONE))
    stream[1] = _mix(key[1] ^ stream[0])
    stream[2] = _mix(key[2] ^ (stream[1] + _GOLDEN))
    stream[3] = _mix(key[3] ^ (stream[2] + _GOLDEN)) | _ONE  # the all-zero state is not allowed


@kernel
def start_stream(key, index, stream):
    """`seed_stream`, called from Python."""
    seed_stream(key, index, stream)


@inlined
def next_bits(stream):
    """Draw a word of 64 random bits."""
    s0, s1, s2, s3 = stream[0], stream[1], stream[2], stream[3]
    total = s0 + s3
    bits = ((total << _U23) | (total >> _U41)) + s0
    shifted = s1 << _U17
    s2 ^= s0
    s3 ^= s1
    stream[1] = s1 ^ s2
    stream[0] = s0 ^ s3
    stream[2] = s2 ^ shifted
    stream[3] = (s3 << _U45) | (s3 >> _U19)
    return bits


@inlined
def uniform(stream):
    """Draw uniformly from [0, 1), a multiple of 2**-53."""
    return np.float64(next_bits(stream) >> _U11) * _TO_UNIT


@inlined
def unit_mantissa(stream):
    """Draw uniformly from [1, 2), a multiple of 2**-52: the upper 52 bits as a mantissa."""
    return as_float(BITS_OF_ONE | (next_bits(stream) >> _U12))


@inlined
def uniform_52(stream):
    """Draw uniformly from [0, 1), a multiple of 2**-52."""
    return unit_mantissa(stream) - 1.0


@inlined
def negative_log(v):
    """Return -log(v) for v in (0, 1], not subnormal: the same bits on every machine.

    The logarithm of fdlibm: v = 2^e m with m in [sqrt(1/2), sqrt(2)], f = m - 1, s = f / (2 + f),
    and log(m) = f - f^2/2 + s (f^2/2 + R(s^2)). No library is called and there is no branch that
    depends on more than one comparison, so that a compiler can do several at once.
    """
    bits = as_bits(v)
    exponent = np.int64(bits >> _U52) - _BIAS
    m = as_float((bits & MANTISSA) | BITS_OF_ONE)
    e = np.float64(exponent)
    if m > ROOT_OF_TWO:
        m, e = 0.5 * m, e + 1.0
    return negative_log_of(m, e)


@inlined
def negative_log_of(m, e):
    """Return -log(2^e m) for m in [sqrt(1/2), sqrt(2)]; also of many lanes at once."""
    f = m - 1.0
    s = f / (2.0 + f)
    z = s * s
    w = z * z
    t1 = w * (_LG2 + w * (_LG4 + w * _LG6))
    t2 = z * (_LG1 + w * (_LG3 + w * (_LG5 + w * _LG7)))
    half_square = (0.5 * f) * f
    correction = s * (half_square + (t2 + t1)) + e * _LN2_LOW
    return -(e * _LN2_HIGH - ((half_square - correction) - f))


@inlined
def exponential_by_log(stream):
    """Draw from the exponential law of mean 1 by inversion, from one word of the stream.

    What the direct method uses. Where the rejections of `exponential` need a loop, this takes the
    same steps for every draw, so that many trajectories can be drawn for at once. The largest value
    is 52 log(2) = 36.04: larger ones have the probability 2**-52.
    """
    return negative_log(2.0 - unit_mantissa(stream))


@inlined
def exponential(stream):
    """Draw from the exponential law of mean 1."""
    passed = 0.0
    while True:
        bits = next_bits(stream)
        layer = bits & _LOW_BYTE
        fraction = bits >> _U11
        x = np.float64(fraction) * _WIDTH[layer]
        if fraction < _INSIDE[layer]:
            return passed + x
        if layer == np.uint64(0):
            # Beyond the last edge the law repeats itself, so start again from there.
            passed += _TAIL
        else:
            low, high = _DENSITY[layer], _DENSITY[layer + _ONE]
            if low + uniform(stream) * (high - low) < math.exp(-x):
                return passed + x


@inlined
def normal(stream):
    """Draw from the normal law of mean 0 and variance 1."""
    while True:
        # Bits 0-7 choose the layer, bit 8 the sign, bits 11-63 the place: no bit serves twice,
        # which is what Doornik (2005) found wrong in the first ziggurats.
        bits = next_bits(stream)
        layer = bits & _LOW_BYTE
        sign = 1.0 - 2.0 * np.float64((bits >> _EIGHT) & _ONE)
        fraction = bits >> _U11
        x = np.float64(fraction) * _NORMAL_WIDTH[layer]
        if fraction < _NORMAL_INSIDE[layer]:
            return sign * x
        if layer == np.uint64(0):
            return sign * _normal_tail(stream)
        low, high = _NORMAL_DENSITY[layer], _NORMAL_DENSITY[layer + _ONE]
        if low + uniform(stream) * (high - low) < math.exp(-0.5 * x * x):
            return sign * x


@part
def _normal_tail(stream):
    # Marsaglia (1964): an exponential beyond the edge, kept with probability exp(-excess^2 / 2).
    while True:
        excess = -math.log(1.0 - uniform(stream)) / _NORMAL_TAIL
        if -2.0 * math.log(1.0 - uniform(stream)) > excess * excess:
            return _NORMAL_TAIL + excess


@inlined
def _poisson_log_probability(k, mean):
    # Loader (2000): log p = -(deviance) - (error of Stirling's formula) - log(2 pi k) / 2, which
    # keeps its digits where k log(mean) - mean - log(k!) would lose them all.
    if k == 0.0:
        return -mean
    if k < 16.0:
        stirling = math.lgamma(k + 1.0) - (k + 0.5) * math.log(k) + k - 0.9189385332046727
    else:
        square = 1.0 / (k * k)
        stirling = (1.0 / 12.0 - (1.0 / 360.0 - square / 1260.0) * square) / k
    gap = k - mean
    if abs(gap) < 0.1 * (k + mean):
        # k log(k / mean) - gap by the series in v = gap / (k + mean).
        v = gap / (k + mean)
        deviance, term, odd = gap * v, 2.0 * k * v, 1.0
        while True:
            term *= v * v
            odd += 2.0
            next_deviance = deviance + term / odd
            if next_deviance == deviance:
                break
            deviance = next_deviance
    else:
        deviance = k * math.log(k / mean) - gap
    return -deviance - stirling - 0.5 * math.log(2.0 * math.pi * k)


@inlined
def poisson(stream, mean):
    """Draw from the Poisson law, as a float64 whole number; `mean` in [0, 2**53)."""
    if mean < 10.0:
        # Inversion by adding probabilities from 0 upwards.
        probability = math.exp(-mean)
        remaining = uniform(stream)
        k = 0.0
        while remaining >= probability and k < 200.0:  # beyond 200: below 1e-180
            remaining -= probability
            k += 1.0
            probability *= mean / k
        return k
    # Transformed rejection (PTRS) of Hormann (1993).
    root = math.sqrt(mean)
    b = 0.931 + 2.53 * root
    a = -0.059 + 0.02483 * b
    inverse_alpha = 1.1239 + 1.1328 / (b - 3.4)
    v_r = 0.9277 - 3.6224 / (b - 2.0)
    while True:
        u = uniform(stream) - 0.5
        v = 1.0 - uniform(stream)
        us = 0.5 - abs(u)
        # u = -0.5 exactly gives us = 0 and an infinite k, outside the support.
        if us == 0.0:
            continue
        k = math.floor((2.0 * a / us + b) * u + mean + 0.43)
        if us >= 0.07 and v <= v_r:
            return k
        if k < 0.0 or (us < 0.013 and v > us):
            continue
        accept = math.log(v * inverse_alpha / (a / (us * us) + b))
        if accept <= _poisson_log_probability(k, mean):
            return k


@part
def gamma(stream, shape):
    """Draw from the gamma law of this shape, above 0, and scale 1."""
    # Marsaglia and Tsang (2000): the cube of a normal draw that was moved and scaled. Below shape 1
    # from one shape higher, times U^(1 / shape).
    d = (shape if shape >= 1.0 else shape + 1.0) - 1.0 / 3.0
    c = 1.0 / math.sqrt(9.0 * d)
    while True:
        x = normal(stream)
        root = 1.0 + c * x
        if root <= 0.0:
            continue
        v = root * root * root
        u = 1.0 - uniform(stream)
        square = x * x
        if u < 1.0 - 0.0331 * square * square or math.log(u) < 0.5 * square + d * (
            1.0 - v + math.log(v)
        ):
            break
    return d * v if shape >= 1.0 else d * v * math.exp(-exponential(stream) / shape)


@part
def truncated_normal(stream, mean, sd):
    """Draw from the normal law of this mean and deviation, given that it is not below 0."""
    low = -mean / sd
    if low < 0.25:
        while True:
            x = mean + sd * normal(stream)
            if x >= 0.0:
                return x
    # Robert (1995): an exponential of rate alpha beyond `low`, kept with probability
    # exp(-(z - alpha)^2 / 2). Only z - low is computed, which has all its digits in a far tail.
    root = math.hypot(low, 2.0)
    alpha = 0.5 * (low + root)
    alpha_less_low = 2.0 / (low + root)
    while True:
        excess = exponential(stream) / alpha
        gap = excess - alpha_less_low
        if 2.0 * exponential(stream) >= gap * gap:
            return sd * excess
