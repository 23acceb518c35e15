"""Statistics of how noisy paths differ from a deterministic one: arrays in, numbers out.

References
----------
Montiel Olea and Plagborg-Moller (2019), J. Appl. Econometrics 34, 1, doi:10.1002/jae.2656 (the
simultaneous band: the quantile of the largest of correlated normal variables). Wilson (1927), J.
Am. Stat. Assoc. 22, 209, doi:10.1080/01621459.1927.10502953. Hartigan and Hartigan (1985), Ann.
Statist. 13, 70, doi:10.1214/aos/1176346577 (the dip).
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..randomness import generator

__all__ = [
    "Bimodality",
    "Cycles",
    "PowerLaw",
    "Proportion",
    "Ratio",
    "cycles_of",
    "dip_test",
    "fit_power_law",
    "proportion",
    "simultaneous_factor",
    "variance_ratio",
]

FloatArray = NDArray[np.float64]

_N_SUPREMA = 4000  # draws of the largest deviation
_LARGEST_MATRIX = 2000  # rows of a correlation matrix that is still taken apart
_N_UNIFORM = 999  # samples of the uniform law that a dip is held against
_LARGEST_UNIFORM = 1000  # their size; sqrt(n) times the dip hardly depends on n above
_FEWEST_PER_CELL = 20


@dataclass(frozen=True)
class Proportion:
    """A share of paths with its Wilson interval."""

    share: float
    lower: float
    upper: float


@dataclass(frozen=True)
class Ratio:
    """A ratio with its confidence interval."""

    value: float
    lower: float
    upper: float


@dataclass(frozen=True)
class Bimodality:
    """Hartigans' dip test of one sample, and where its two highest peaks are.

    Attributes
    ----------
    dip : float
        Largest distance from the closest distribution function with one mode.
    p_value : float
        Probability of such a dip under the uniform law, which is the one with a single mode that is
        most easily mistaken for two; from 999 samples, so at least .001.
    peaks : tuple of float
        The two highest peaks of a smoothed density; one where it has only one.
    valley : float
        Lowest place between the two peaks; nan with one peak.
    share_below : float
        Share of the sample below the valley; nan with one peak.
    """

    dip: float
    p_value: float
    peaks: tuple[float, ...]
    valley: float
    share_below: float


@dataclass(frozen=True)
class Cycles:
    """Cycles of noisy paths.

    Attributes
    ----------
    period : float
        Mean time of a cycle.
    period_error : float
        Its standard error, from the spread between paths.
    cycle_std : float
        Growth of the spread of the phase: the variance of the time of m cycles, over m, as a
        standard deviation.
    coherence : float
        Cycles until noise has taken away a factor e of the autocorrelation,
        1/(2 pi^2 (cycle_std/period)^2), if the phase does a random walk.
    correlation : float
        Height of the first peak of the autocorrelation function, at a lag of about a period.
    n_cycles : int
        Whole cycles that were seen, in all paths.
    """

    period: float
    period_error: float
    cycle_std: float
    coherence: float
    correlation: float
    n_cycles: int


@dataclass(frozen=True)
class PowerLaw:
    """A fit of ``prefactor * omega**exponent`` to numbers with standard errors.

    Attributes
    ----------
    exponent, error : float
        With its standard error; nan where the numbers cannot be told from 0.
    prefactor : float
        Value at omega = 1.
    p_value : float
        Chi-square test of the fit; nan without degrees of freedom.
    """

    exponent: float
    error: float
    prefactor: float
    p_value: float


def proportion(successes: int, n: int, level: float) -> Proportion:
    """Return the share of successes with the Wilson interval of that confidence."""
    from scipy.special import ndtri

    z = float(ndtri(0.5 + level / 2.0))
    share = successes / n
    middle = (share + z * z / (2 * n)) / (1.0 + z * z / n)
    half = z / (1.0 + z * z / n) * math.sqrt(share * (1.0 - share) / n + z * z / (4.0 * n * n))
    # Exact at the ends, where rounding would leave 1e-18.
    lower = 0.0 if successes == 0 else middle - half
    upper = 1.0 if successes == n else middle + half
    return Proportion(share, lower, upper)


def simultaneous_factor(sample: FloatArray, level: float, rng: np.random.Generator) -> float:
    """Return by what to multiply all standard errors so that all intervals hold at once.

    Parameters
    ----------
    sample : ndarray, shape (n, n_means), float64
        One row per independent path, one column per mean.
    level : float
        Confidence that every mean lies in its interval.
    rng : Generator
        For the draws of the largest deviation.

    Returns
    -------
    float
        The quantile of the largest of normal variables correlated as the columns are (4000 draws).
        Where both sides of the sample exceed 2000, Bonferroni's bound, which is larger.
    """
    from scipy.special import ndtri

    n = len(sample)
    varying = sample[:, sample.std(axis=0) > 0.0]
    if varying.shape[1] == 0:
        return float(ndtri(0.5 + level / 2.0))
    if min(varying.shape) > _LARGEST_MATRIX:
        return float(-ndtri((1.0 - level) / 2.0 / varying.shape[1]))
    deviations = varying - varying.mean(axis=0)
    deviations /= deviations.std(axis=0)
    if varying.shape[1] <= n:
        variances, directions = np.linalg.eigh(deviations.T @ deviations / n)
        root = directions * np.sqrt(np.maximum(variances, 0.0))
    else:
        root = deviations.T / math.sqrt(n)
    draws = np.zeros(_N_SUPREMA)
    for first in range(0, _N_SUPREMA, 500):
        noise = rng.standard_normal((root.shape[1], 500))
        draws[first : first + 500] = np.abs(root @ noise).max(axis=0)
    return float(np.quantile(draws, level))


def variance_ratio(first: FloatArray, second: FloatArray, level: float) -> Ratio:
    """Return the variance of one sample over that of another, with a confidence interval.

    The logarithm of a sample variance has variance (kurtosis - 1)/n, whatever the law, if n is
    large. nan where a variance is 0.
    """
    from scipy.special import ndtri

    spread, total = [], 0.0
    for sample in (first, second):
        deviations = sample - sample.mean()
        variance = float((deviations**2).sum() / (sample.size - 1))
        if variance == 0.0:
            return Ratio(math.nan, math.nan, math.nan)
        spread.append(variance)
        kurtosis = float((deviations**4).mean() / (deviations**2).mean() ** 2)
        total += (kurtosis - 1.0) / sample.size
    half = float(ndtri(0.5 + level / 2.0)) * math.sqrt(total)
    value = spread[0] / spread[1]
    return Ratio(value, value * math.exp(-half), value * math.exp(half))


# ---- One mode or two ----------------------------------------------------------------------------


def dip_test(sample: FloatArray, rng: np.random.Generator) -> Bimodality:
    """Test whether a sample has more than one mode.

    Whole numbers are spread out evenly over the gap between possible ones, which leaves the number
    of modes as it is: a histogram with one mode becomes a density with one.

    Parameters
    ----------
    sample : ndarray, shape (n,), float64
        At least four values.
    rng : Generator
        For the spreading of whole numbers.

    Returns
    -------
    Bimodality
        With a `p_value` of 1 where all values are the same.
    """
    low = float(sample.min())
    if sample.size < 4 or float(sample.max()) == low:
        return Bimodality(0.0, 1.0, (low,), math.nan, math.nan)
    values = np.sort(_spread_out(sample, rng))
    dip = _dip_of(values)
    law = _uniform_dips(min(values.size, _LARGEST_UNIFORM))
    scaled = dip * math.sqrt(values.size)
    p_value = (1.0 + float((law >= scaled).sum())) / (1.0 + law.size)
    return Bimodality(dip, p_value, *_peaks_of(values))


def _spread_out(sample: FloatArray, rng: np.random.Generator) -> FloatArray:
    if (sample != np.floor(sample)).any():
        return sample
    # Only every second count may be possible, as of molecules that come in pairs.
    gap = int(np.gcd.reduce((sample - sample.min()).astype(np.int64)))
    return sample + gap * rng.uniform(-0.5, 0.5, sample.size)


def _dip_of(values: FloatArray) -> float:
    from ..kernels.dip import find_dip

    scratch = np.empty((2, values.size), dtype=np.int64)
    return float(find_dip(np.ascontiguousarray(values), scratch[0], scratch[1]))


@functools.cache
def _uniform_dips(n: int) -> FloatArray:
    """Return sqrt(n) times the dips of samples of the uniform law."""
    rng = generator(1985)
    dips = [_dip_of(np.sort(rng.random(n))) for _ in range(_N_UNIFORM)]
    return np.array(dips) * math.sqrt(n)


def _peaks_of(values: FloatArray) -> tuple[tuple[float, ...], float, float]:
    """Return the two highest peaks of a smoothed density, the valley, and the share below it."""
    n_cells = 256
    counts, edges = np.histogram(values, n_cells)
    spread = min(float(values.std()), float(np.subtract(*np.quantile(values, [0.75, 0.25]))) / 1.34)
    # Silverman's rule with half its width: the full one is made for a single peak.
    width = max(0.45 * spread * values.size**-0.2 / (edges[1] - edges[0]), 1.0)
    reach = np.arange(-math.ceil(4 * width), math.ceil(4 * width) + 1)
    weights = np.exp(-0.5 * (reach / width) ** 2)
    density = np.convolve(counts, weights / weights.sum())
    middle = edges[0] + (np.arange(density.size) + reach[0] + 0.5) * (edges[1] - edges[0])
    inner = density[1:-1]
    tops = 1 + np.flatnonzero((inner > density[:-2]) & (inner >= density[2:]))
    if tops.size < 2:
        return (float(middle[int(density.argmax())]),), math.nan, math.nan
    # The pair of peaks with the deepest valley between them, measured from the lower peak.
    best, depth = (int(tops[0]), int(tops[0]), int(tops[0])), -math.inf
    for a, first in enumerate(tops):
        for second in tops[a + 1 :]:
            valley = int(first + density[first : second + 1].argmin())
            drop = min(density[first], density[second]) - density[valley]
            if drop > depth:
                best, depth = (int(first), valley, int(second)), float(drop)
    lower, bottom, upper = best
    share = float((values < middle[bottom]).mean())
    return (float(middle[lower]), float(middle[upper])), float(middle[bottom]), share


# ---- Cycles -------------------------------------------------------------------------------------


def cycles_of(times: FloatArray, paths: FloatArray) -> Cycles | None:
    """Return the cycles of noisy paths, or None where they do not oscillate.

    A cycle begins when a path rises above an upper threshold after it was below a lower one: the
    values above which all paths together spend 35 % and 65 % of the time. Paths oscillate if their
    autocorrelation has a trough below -0.1 and after it a peak above 0.1, and at least 20 paths
    show two cycles; noise around a resting point fails this. The first quarter of the time is left
    out. Mean periods of few cycles per path are a little short, because long cycles are cut off by
    the end.

    Parameters
    ----------
    times : ndarray, shape (n_times,), float64
        Evenly spaced.
    paths : ndarray, shape (n, n_times), float64
        Values of one species.
    """
    late = times >= times[0] + 0.25 * (times[-1] - times[0])
    times, paths = times[late], paths[:, late]
    spacing = np.diff(times)
    if times.size < 16 or not np.allclose(spacing, spacing[0], rtol=1e-6):
        return None
    correlation = _first_return(paths[:500])
    if correlation is None:
        return None
    starts = _cycle_starts(times, paths)
    seen = [one for one in starts if len(one) >= 3]
    if len(seen) < _FEWEST_PER_CELL:
        return None
    durations = np.array([one[-1] - one[0] for one in seen])
    numbers = np.array([len(one) - 1.0 for one in seen])
    period = float(durations.sum() / numbers.sum())
    # A ratio of sums over independent paths.
    residual = durations - period * numbers
    error = math.sqrt(float((residual**2).sum())) / float(numbers.sum())
    m = max(1, int(np.quantile(numbers, 0.25)))
    lasting = np.array([one[m] - one[0] for one in seen if len(one) > m])
    cycle_std = math.sqrt(float(lasting.var(ddof=1)) / m)
    coherence = math.inf
    if cycle_std > 0.0:
        coherence = 1.0 / (2.0 * math.pi**2 * (cycle_std / period) ** 2)
    return Cycles(period, error, cycle_std, coherence, correlation, int(numbers.sum()))


def period_of(times: FloatArray, path: FloatArray) -> float:
    """Return the period of a smooth path, 0 where it comes to rest, nan with under two cycles."""
    quarter = times.size // 4
    total, late = float(np.ptp(path)), float(np.ptp(path[-quarter:])) if quarter else 0.0
    if late <= max(0.05 * total, 1e-3 * float(np.abs(path).max())):
        return 0.0
    (starts,) = _cycle_starts(times[quarter:], path[None, quarter:])
    if len(starts) < 3:
        return math.nan
    return float((starts[-1] - starts[0]) / (len(starts) - 1))


def _first_return(paths: FloatArray) -> float | None:
    """Return the first peak of the autocorrelation after a trough, if both are plain."""
    n_times = paths.shape[1]
    deviations = paths - paths.mean()
    spectrum = np.fft.rfft(deviations, 2 * n_times, axis=1)
    products = np.fft.irfft((np.abs(spectrum) ** 2).mean(axis=0), 2 * n_times)[:n_times]
    lags = n_times // 2 + n_times // 4  # beyond, too few products go into each value
    correlation = products[:lags] / (n_times - np.arange(lags))
    if correlation[0] <= 0.0:
        return None
    correlation = correlation / correlation[0]
    below = np.flatnonzero(correlation < -0.1)
    if below.size == 0:
        return None
    risen = below[0] + np.flatnonzero(correlation[below[0] :] > 0.0)
    if risen.size == 0:
        return None
    fallen = risen[0] + np.flatnonzero(correlation[risen[0] :] <= 0.0)
    last = fallen[0] if fallen.size else lags
    peak = float(correlation[risen[0] : last].max())
    return peak if peak > 0.1 else None


def _cycle_starts(times: FloatArray, paths: FloatArray) -> list[list[float]]:
    """Return the times at which each path begins a cycle, between the sampling times by lines."""
    low, high = np.quantile(paths, [0.35, 0.65])
    ready = np.zeros(len(paths), dtype=bool)
    starts: list[list[float]] = [[] for _ in paths]
    for k in range(1, times.size):
        ready |= paths[:, k - 1] <= low
        for i in np.flatnonzero(ready & (paths[:, k] > high)):
            before, after = paths[i, k - 1], paths[i, k]
            share = min(max((high - before) / (after - before), 0.0), 1.0)
            starts[i].append(float(times[k - 1] + share * (times[k] - times[k - 1])))
            ready[i] = False
    return starts


# ---- How a difference shrinks -------------------------------------------------------------------


def fit_power_law(
    omegas: Sequence[float], values: Sequence[float], errors: Sequence[float]
) -> PowerLaw:
    """Fit ``prefactor * omega**exponent`` to values of one sign with known standard errors.

    The fit is to the values themselves, not to their logarithms, so that one that is lost in its
    error counts as such and may have the other sign.
    """
    from scipy.optimize import least_squares
    from scipy.special import chdtrc

    omega, value, error = (np.asarray(one, dtype=np.float64) for one in (omegas, values, errors))
    none = PowerLaw(math.nan, math.nan, math.nan, math.nan)
    known = np.isfinite(value) & (error > 0.0)
    omega, value, error = omega[known], value[known], error[known]
    plain = np.abs(value) > 3.0 * error
    if omega.size < 2 or plain.sum() < 2:
        return none

    def residuals(u: FloatArray) -> FloatArray:
        return np.asarray((u[0] * omega ** u[1] - value) / error)

    start = np.polyfit(np.log(omega[plain]), np.log(np.abs(value[plain])), 1)
    sign = float(np.sign(value[np.argmax(np.abs(value) / error)]))
    fit = least_squares(residuals, [sign * math.exp(start[1]), start[0]], x_scale="jac")
    jacobian = np.asarray(fit.jac)
    covariance = np.linalg.pinv(jacobian.T @ jacobian)
    freedom = omega.size - 2
    p_value = float(chdtrc(freedom, 2.0 * fit.cost)) if freedom else math.nan
    return PowerLaw(float(fit.x[1]), math.sqrt(float(covariance[1, 1])), float(fit.x[0]), p_value)
