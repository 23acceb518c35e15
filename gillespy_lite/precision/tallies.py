"""Sums over trajectories, in memory that does not grow, and the intervals that they give.

A tally takes the values of one quantity, as many as come, and answers with an interval of any
error probability. Those of probabilities and quantiles are exact (never miss more often than they
say, whatever the law); those of means and spreads rest on the central limit theorem, with
Student's quantiles.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from .targets import Target

__all__ = [
    "LEAST_UNVARIED",
    "Forecast",
    "Interval",
    "MeanTally",
    "ProbabilityTally",
    "QuantileTally",
    "SpreadTally",
    "Tally",
    "binomial_interval",
    "half_width",
    "tally_for",
]

# Where all values are equal nothing is known about their spread; so many of them are asked for.
LEAST_UNVARIED = 10_000
# Cochran (1977), Sampling Techniques, 3rd ed., p. 42: the normal approximation to the law of a mean
# is good from n = 25 (third moment / cube of the deviation)^2 on, at 95 %.
_COCHRAN = 25.0
_MOST_THRESHOLDS = 4096
_MOST_FIRST = 2**18  # values that are kept until the thresholds are known


class Interval(NamedTuple):
    """An estimate and its confidence interval."""

    estimate: float
    lower: float
    upper: float


class Forecast(NamedTuple):
    """About how many trajectories a target needs."""

    n: float
    doubt: float  # relative variance of `n`, times the number of values that it comes from


def half_width(interval: Interval) -> float:
    """Return how far the farther end of an interval is from its estimate."""
    return max(interval.upper - interval.estimate, interval.estimate - interval.lower)


def wanted_width(target: Target, estimate: float) -> float:
    """Return the tolerance of a target in the unit of its estimate."""
    return target.tolerance * abs(estimate) if target.is_relative else target.tolerance


class Tally(Protocol):
    """Values of one quantity, one a trajectory."""

    @property
    def n(self) -> int:
        """Number of values."""

    def fresh(self) -> Tally:
        """Return an empty tally that takes its working point from this one."""

    def add(self, values: NDArray[np.float64]) -> None:
        """Take values, of shape (n_more,)."""

    def interval(self, alpha: float) -> Interval:
        """Return an interval that misses with probability `alpha`."""

    def doubt(self, alpha: float) -> str:
        """Return why such an interval is not to be trusted yet; empty if it is."""

    def needed(self, alpha: float, target: Target) -> Forecast:
        """Return about how many trajectories the target needs, with some to spare."""


class _Moments:
    """Sums of powers of the distance from a fixed point near the mean."""

    def __init__(self, order: int, center: float = 0.0) -> None:
        self.n, self.center = 0, center
        self.smallest, self.largest = math.inf, -math.inf
        self._sums = np.zeros(order)
        self._is_started = False

    def fresh(self) -> _Moments:
        """Return empty sums about the present mean."""
        other = _Moments(self._sums.size, self.mean if self.n else self.center)
        other._is_started = True
        return other

    def add(self, values: NDArray[np.float64]) -> None:
        """Take values."""
        if values.size == 0:
            return
        if not self._is_started:
            # Far from 0 the powers would lose their digits.
            self.center, self._is_started = float(values.mean()), True
        away = values - self.center
        power = np.ones_like(away)
        for k in range(self._sums.size):
            power *= away
            self._sums[k] += power.sum()
        self.n += values.size
        self.smallest = min(self.smallest, float(values.min()))
        self.largest = max(self.largest, float(values.max()))

    @property
    def mean(self) -> float:
        """The mean."""
        return self.center + float(self._sums[0]) / self.n if self.n else math.nan

    @property
    def is_constant(self) -> bool:
        """Whether all values are equal."""
        return self.smallest >= self.largest

    def central(self, k: int) -> float:
        """Return the k-th central moment, with n in the divisor."""
        if self.is_constant:
            return 0.0
        raw = [1.0, *(self._sums / self.n).tolist()]
        total: float = sum(math.comb(k, j) * raw[j] * (-raw[1]) ** (k - j) for j in range(k + 1))
        return max(total, 0.0) if k % 2 == 0 else total


def _student(alpha: float, degrees: float) -> float:
    from scipy.special import stdtrit

    return float(stdtrit(degrees, 1.0 - 0.5 * alpha))


def _normal(alpha: float) -> float:
    from scipy.special import ndtri

    return float(ndtri(1.0 - 0.5 * alpha))


def _unvaried(n: int) -> str:
    if n >= LEAST_UNVARIED:
        return ""
    return f"all {n} values are equal, which says nothing of those that differ"


def _too_skewed(n: int, skewness: float, alpha: float) -> str:
    least = _least_for_skewness(skewness, alpha)
    if n >= least:
        return ""
    return (
        f"a few large values make up the spread: {n} are too few for the normal approximation "
        f"(skewness {skewness:.3g} asks for {least:.0f})"
    )


def _least_for_skewness(skewness: float, alpha: float) -> float:
    # Further out than 95 % the approximation is worse.
    return _COCHRAN * skewness**2 * max(1.0, _normal(alpha) / 2.0) ** 2


def _to_spare(relative_variance: float) -> float:
    """Return a factor that covers the error of a forecast nineteen times in twenty."""
    return math.exp(1.65 * math.sqrt(max(0.0, min(relative_variance, 0.1)))) * 1.01


class MeanTally:
    """Of a mean: Student's interval."""

    def __init__(self, moments: _Moments | None = None) -> None:
        self._moments = moments or _Moments(4)

    @property
    def n(self) -> int:
        """Number of values."""
        return self._moments.n

    def fresh(self) -> MeanTally:
        """Return an empty tally."""
        return MeanTally(self._moments.fresh())

    def add(self, values: NDArray[np.float64]) -> None:
        """Take values."""
        self._moments.add(values)

    def interval(self, alpha: float) -> Interval:
        """Return an interval that misses with probability `alpha`."""
        moments, n = self._moments, self.n
        if n < 2:
            return Interval(moments.mean, -math.inf, math.inf)
        reach = _student(alpha, n - 1) * self.standard_error()
        return Interval(moments.mean, moments.mean - reach, moments.mean + reach)

    def standard_error(self) -> float:
        """Return the standard error of the mean; nan of fewer than two values."""
        return math.sqrt(self._moments.central(2) / (self.n - 1)) if self.n > 1 else math.nan

    def doubt(self, alpha: float) -> str:
        """Return why such an interval is not to be trusted yet."""
        moments = self._moments
        if moments.is_constant:
            return _unvaried(self.n)
        return _too_skewed(self.n, moments.central(3) / moments.central(2) ** 1.5, alpha)

    def needed(self, alpha: float, target: Target) -> Forecast:
        """Return about how many trajectories the target needs."""
        moments, n = self._moments, self.n
        variance = moments.central(2)
        if variance == 0.0:
            return Forecast(float(LEAST_UNVARIED), 0.0)
        # A mean that could as well be 0 is taken to be as large as its error.
        mean = max(abs(moments.mean), math.sqrt(variance / n))
        width = target.tolerance * (mean if target.is_relative else 1.0)
        skewness = moments.central(3) / variance**1.5
        doubt = moments.central(4) / variance**2 - 1.0
        if target.is_relative:
            spread = math.sqrt(variance) / mean
            doubt += 4.0 * (spread**2 - math.copysign(1.0, moments.mean) * skewness * spread)
        least = _least_for_skewness(skewness, alpha)
        unit = _normal(alpha) ** 2 * variance / width**2
        return Forecast(max(unit * _to_spare(doubt / n), 1.1 * least), doubt)


class ProbabilityTally:
    """Of a probability: Clopper and Pearson's interval, exact for any number of hits.

    Clopper and Pearson (1934), Biometrika 26, 404, doi:10.1093/biomet/26.4.404.
    """

    def __init__(self) -> None:
        self.n = self.hits = 0

    def fresh(self) -> ProbabilityTally:
        """Return an empty tally."""
        return ProbabilityTally()

    def add(self, values: NDArray[np.float64]) -> None:
        """Take values: not 0 where the condition holds."""
        self.n += values.size
        self.hits += int(np.count_nonzero(values))

    def interval(self, alpha: float) -> Interval:
        """Return an interval that misses with probability `alpha` at most."""
        if self.n == 0:
            return Interval(math.nan, 0.0, 1.0)
        lower, upper = binomial_interval(self.hits, self.n, alpha)
        return Interval(self.hits / self.n, lower, upper)

    def doubt(self, alpha: float) -> str:
        """Return nothing: the interval is exact."""
        return ""

    def needed(self, alpha: float, target: Target) -> Forecast:
        """Return about how many trajectories the target needs."""
        p = (self.hits + 0.5) / (self.n + 1.0)
        width = wanted_width(target, p)

        def reach(n: float) -> float:
            lower, upper = binomial_interval(p * n, n, alpha)
            return max(upper - p, p - lower)

        if target.is_relative:
            doubt = 1.0 / (p * (1.0 - p))
        else:
            doubt = (1.0 - 2.0 * p) ** 2 / (p * (1.0 - p))
        return Forecast(_least(reach, width) * _to_spare(doubt / max(1, self.n)), doubt)


class SpreadTally:
    """Of a variance or standard deviation: from the fourth moment, on a logarithmic scale."""

    def __init__(self, power: float, moments: _Moments | None = None) -> None:
        self._power = power  # of the variance: 1, or 1/2 of a standard deviation
        self._moments = moments or _Moments(6)

    @property
    def n(self) -> int:
        """Number of values."""
        return self._moments.n

    def fresh(self) -> SpreadTally:
        """Return an empty tally."""
        return SpreadTally(self._power, self._moments.fresh())

    def add(self, values: NDArray[np.float64]) -> None:
        """Take values."""
        self._moments.add(values)

    def _relative_variance(self) -> float:
        """Return n times the variance of the logarithm of the estimated variance."""
        variance = self._moments.central(2)
        return max(0.0, self._moments.central(4) / variance**2 - 1.0)

    def interval(self, alpha: float) -> Interval:
        """Return an interval that misses with probability `alpha`."""
        n, variance = self.n, self._moments.central(2)
        if n < 2:
            return Interval(math.nan, 0.0, math.inf)
        estimate = (variance * n / (n - 1)) ** self._power
        if variance == 0.0:
            return Interval(0.0, 0.0, 0.0)
        # Var[log s^2] = (kurtosis - 1) / n + O(1/n^2); a logarithm is nearer to normal than s^2.
        reach = self._power * _student(alpha, n - 1) * math.sqrt(self._relative_variance() / n)
        factor = math.exp(min(reach, 700.0))
        return Interval(estimate, estimate / factor, estimate * factor)

    def doubt(self, alpha: float) -> str:
        """Return why such an interval is not to be trusted yet."""
        if self._moments.is_constant:
            return _unvaried(self.n)
        return _too_skewed(self.n, self._skewness_of_squares(), alpha)

    def _skewness_of_squares(self) -> float:
        moments = self._moments
        variance = moments.central(2)
        spread = moments.central(4) - variance**2
        if spread <= 0.0:
            return 0.0
        third: float = moments.central(6) - 3.0 * variance * moments.central(4) + 2.0 * variance**3
        skewness: float = third / spread**1.5
        return skewness

    def needed(self, alpha: float, target: Target) -> Forecast:
        """Return about how many trajectories the target needs."""
        variance = self._moments.central(2)
        if variance == 0.0:
            return Forecast(float(LEAST_UNVARIED), 0.0)
        relative = wanted_width(target, 1.0)
        if not target.is_relative:
            relative /= variance**self._power
        unit = (self._power * _normal(alpha) / math.log1p(relative)) ** 2
        least = _least_for_skewness(self._skewness_of_squares(), alpha)
        # The fourth moment is known less well than the second.
        doubt = 4.0 * (1.0 + self._relative_variance())
        n = unit * self._relative_variance() * _to_spare(doubt / self.n)
        return Forecast(max(n, 1.1 * least), doubt)


class QuantileTally:
    """Of a quantile, the smallest value that is not exceeded with its probability: exact.

    The values are counted between thresholds, which the first values give: where they are whole
    numbers, every one near the quantile. An end of the interval is a threshold at which the exact
    interval of the distribution function has left the level; because that interval moves
    monotonically with the count, the error probabilities do not add up over the thresholds.
    """

    def __init__(self, level: float, thresholds: NDArray[np.float64] | None = None) -> None:
        self._level = level
        self._first: list[NDArray[np.float64]] = []
        self._thresholds = thresholds
        self._counts = np.zeros(0 if thresholds is None else thresholds.size + 1, dtype=np.int64)
        self._are_whole = True
        self.n = 0

    def fresh(self) -> QuantileTally:
        """Return an empty tally with thresholds from the values of this one."""
        return QuantileTally(self._level, self._own_thresholds())

    def add(self, values: NDArray[np.float64]) -> None:
        """Take values."""
        self.n += values.size
        self._are_whole = self._are_whole and bool((values == np.floor(values)).all())
        if self._thresholds is None:
            self._first.append(values.copy())
            if self.n > _MOST_FIRST:
                # Where the thresholds come from does not matter to the intervals.
                self._thresholds, self._counts = self._tabled()
                self._first = []
            return
        # Bin i holds what is above threshold i - 1 and not above threshold i.
        place = np.searchsorted(self._thresholds, values, side="left")
        self._counts += np.bincount(place, minlength=self._counts.size)

    def interval(self, alpha: float) -> Interval:
        """Return an interval that misses with probability `alpha` at most."""
        thresholds, counts = self._tabled()
        if self.n == 0:
            return Interval(math.nan, -math.inf, math.inf)
        below = np.cumsum(counts)[:-1]  # values that are at most the threshold
        place = int(np.searchsorted(below, math.ceil(self._level * self.n), side="left"))
        estimate = float(thresholds[place]) if place < thresholds.size else math.inf
        # Both ends of the interval of the distribution function grow with the count, so a search
        # by halves finds where they pass the level: the quantile is above the first `certain`
        # thresholds, and not above threshold `enough`.
        certain = _first(below.size, lambda i: self._ends(below[i], alpha)[1] >= self._level)
        enough = _first(below.size, lambda i: self._ends(below[i], alpha)[0] >= self._level)
        lower = self._above(thresholds, certain - 1) if certain else -math.inf
        upper = float(thresholds[enough]) if enough < below.size else math.inf
        return Interval(estimate, lower, upper)

    def _ends(self, hits: float, alpha: float) -> tuple[float, float]:
        return binomial_interval(float(hits), self.n, alpha)

    def _above(self, thresholds: NDArray[np.float64], place: int) -> float:
        """Return the least value above a threshold: the next where all are whole numbers."""
        is_run = place + 1 < thresholds.size and thresholds[place + 1] == thresholds[place] + 1.0
        return float(thresholds[place + 1] if self._are_whole and is_run else thresholds[place])

    def doubt(self, alpha: float) -> str:
        """Return nothing: the interval is exact."""
        return ""

    def needed(self, alpha: float, target: Target) -> Forecast:
        """Return about how many trajectories the target needs."""
        if self.n == 0:
            return Forecast(math.inf, 0.0)
        (thresholds, counts), level, n = self._tabled(), self._level, self.n
        shares = np.concatenate([[0.0], np.cumsum(counts)[:-1] / n])
        estimate = self.interval(alpha).estimate
        width = wanted_width(target, estimate)
        if width == 0.0:
            return Forecast(float(LEAST_UNVARIED), 0.0)
        # How far the level is from that of the ends of the widest interval allowed.
        below = float(shares[np.searchsorted(thresholds, estimate - width, side="left")])
        above = float(shares[np.searchsorted(thresholds, estimate + width, side="right")])
        distance = max(min(level - below, above - level), 0.5 / n)
        unit = (_normal(alpha) / distance) ** 2 * level * (1.0 - level)
        doubt = 4.0 * level * (1.0 - level) / distance**2
        return Forecast(unit * _to_spare(doubt / n), doubt)

    def _tabled(self) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        if self._thresholds is not None:
            return self._thresholds, self._counts
        thresholds = self._own_thresholds()
        values = np.concatenate(self._first) if self._first else np.zeros(0)
        place = np.searchsorted(thresholds, values, side="left")
        return thresholds, np.bincount(place, minlength=thresholds.size + 1)

    def _own_thresholds(self) -> NDArray[np.float64]:
        if self._thresholds is not None:
            return self._thresholds
        values = np.sort(np.concatenate(self._first)) if self._first else np.zeros(1)
        n, level = values.size, self._level
        # What six standard deviations of the count leave.
        reach = 6.0 * math.sqrt(level * (1.0 - level) / n) + 6.0 / n
        low = values[max(0, math.floor((level - reach) * n))]
        high = values[min(n - 1, math.ceil((level + reach) * n))]
        if self._are_whole:
            low, high = low - max(4.0, high - low), high + max(4.0, high - low)
            if high - low <= _MOST_THRESHOLDS:
                return np.arange(low - 1.0, high + 1.0)
            return np.unique(np.floor(np.linspace(low, high, _MOST_THRESHOLDS)))
        margin = 0.5 * (high - low) or abs(low) or 1.0
        return np.linspace(low - margin, high + margin, _MOST_THRESHOLDS)


def binomial_interval(hits: float, n: float, alpha: float) -> tuple[float, float]:
    """Return Clopper and Pearson's interval for a probability; `hits` need not be whole."""
    from scipy.special import betaincinv

    lower = float(betaincinv(hits, n - hits + 1.0, 0.5 * alpha)) if hits > 0 else 0.0
    upper = float(betaincinv(hits + 1.0, n - hits, 1.0 - 0.5 * alpha)) if hits < n else 1.0
    return lower, upper


def _first(size: int, holds: Callable[[int], bool]) -> int:
    """Return the first of 0, 1, ... for which something holds that then holds for all; or size."""
    low, high = 0, size
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if holds(middle) else (middle + 1, high)
    return low


def _least(reach: Callable[[float], float], width: float) -> float:
    """Return the least n, 1e15 at most, at which a falling function is not above `width`."""
    low, high = 1.0, 1.0
    while reach(high) > width:
        low, high = high, 2.0 * high
        if high > 1e15:
            return high
    while high > 1.001 * low + 1.0:
        middle = 0.5 * (low + high)
        low, high = (middle, high) if reach(middle) > width else (low, middle)
    return high


def tally_for(target: Target) -> Tally:
    """Return an empty tally for a target."""
    if target.kind == "prob":
        return ProbabilityTally()
    if target.kind == "mean":
        return MeanTally()
    if target.kind == "quantile":
        assert target.level is not None
        return QuantileTally(target.level)
    return SpreadTally(0.5 if target.kind == "std" else 1.0)
