"""Noise models: how a measurement differs from what the model predicts.

Every model is written with one unscaled residual r(y, m), so that the negative log-likelihood of a
value y where the model predicts m is ::

    r(y, m)^2 / (2 s^2) + log s + log_spread(m) + constant(y),      s = scale/sqrt(weight)

A scale that is not known is profiled out: at its best value, sqrt(mean of weight*r^2), for the
parameters at hand.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

__all__ = ["NOISE_MODELS", "Gaussian", "LogNormal", "NoiseModel", "Poisson"]

FloatArray = NDArray[np.float64]

_HALF_LOG_2_PI = 0.5 * math.log(2.0 * math.pi)


class NoiseModel(ABC):
    """What all noise models share."""

    name: ClassVar[str]
    summary: ClassVar[str]

    @property
    @abstractmethod
    def scale(self) -> float | str | None:
        """The known scale, the column of the table that holds it, or None if it is estimated."""

    @property
    def has_spread(self) -> bool:
        """Whether the width of the noise depends on what the model predicts."""
        return False

    @property
    def is_shared(self) -> bool:
        """Whether all columns with this noise model have one unknown scale together."""
        return False

    @abstractmethod
    def forbidden(self, values: FloatArray) -> NDArray[np.bool_]:
        """Return which measured values (n,) cannot come from this model."""

    @property
    @abstractmethod
    def needs(self) -> str:
        """What values this model can be used for, in words that follow its name."""

    @abstractmethod
    def residuals(self, values: FloatArray, means: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Return r(y, m) and its slope by m, both (n,); not finite where m is impossible."""

    def log_spread(self, means: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Return the logarithm of the width at scale 1, and its slope by m, both (n,)."""
        zeros = np.zeros_like(means)
        return zeros, zeros

    @abstractmethod
    def constant(self, values: FloatArray) -> FloatArray:
        """Return what makes the density integrate to one, (n,)."""

    @abstractmethod
    def information_root(self, means: FloatArray) -> FloatArray:
        """Return the root of the Fisher information about m at scale 1, (n,)."""

    @abstractmethod
    def draw(self, means: FloatArray, scale: FloatArray, rng: np.random.Generator) -> FloatArray:
        """Return measurements of `means` with noise of `scale`, of their shape."""


def _check_sigma(sigma: float | str | None, owner: str, *, column: bool) -> None:
    if sigma is None or (column and isinstance(sigma, str)):
        return
    if isinstance(sigma, bool) or not isinstance(sigma, int | float | np.integer | np.floating):
        what = "None (estimated), a number" + (" or the name of a column" if column else "")
        raise TypeError(f"sigma of {owner} must be {what}, not {sigma!r}")
    if not (sigma > 0.0 and math.isfinite(sigma)):
        raise ValueError(f"sigma of {owner} must be a finite number above 0, not {sigma!r}")


@dataclass(frozen=True)
class Gaussian(NoiseModel):
    """Normal noise: y = m + sigma*z, or y = m*(1 + sigma*z) if relative.

    Parameters
    ----------
    sigma : float or str, optional
        Standard deviation, in the unit of the data (as a share of the prediction if relative); or
        the name of the column of the table that holds it; by default it is estimated.
    relative : bool, optional
        Whether the standard deviation is in proportion to the prediction.
    shared : bool, optional
        Whether columns with this noise model share one estimated sigma, instead of one each.
    """

    sigma: float | str | None = None
    relative: bool = False
    shared: bool = False

    name: ClassVar[str] = "gaussian"
    summary: ClassVar[str] = "y = m + sigma z, or y = m (1 + sigma z) if relative"

    def __post_init__(self) -> None:
        """Refuse a sigma that is none."""
        _check_sigma(self.sigma, "Gaussian", column=True)

    @property
    def scale(self) -> float | str | None:
        """The known scale, a column, or None."""
        return self.sigma

    @property
    def has_spread(self) -> bool:
        """Whether the width depends on the prediction."""
        return self.relative

    @property
    def is_shared(self) -> bool:
        """Whether columns share the scale."""
        return self.shared

    def forbidden(self, values: FloatArray) -> NDArray[np.bool_]:
        """Return which values cannot be."""
        wrong: NDArray[np.bool_] = ~np.isfinite(values) | (self.relative & (values == 0.0))
        return wrong

    @property
    def needs(self) -> str:
        """What values it can be used for."""
        return "needs finite values" + (" other than 0" if self.relative else "")

    def residuals(self, values: FloatArray, means: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Return y - m, or (y - m)/|m|, and the slope."""
        if not self.relative:
            return values - means, -np.ones_like(means)
        size = np.abs(means)
        return (values - means) / size, -values / (means * size)

    def log_spread(self, means: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Return log|m| if relative."""
        if not self.relative:
            return super().log_spread(means)
        return np.log(np.abs(means)), 1.0 / means

    def constant(self, values: FloatArray) -> FloatArray:
        """Return log(2 pi)/2."""
        return np.full_like(values, _HALF_LOG_2_PI)

    def information_root(self, means: FloatArray) -> FloatArray:
        """Return 1, or 1/|m|."""
        return 1.0 / np.abs(means) if self.relative else np.ones_like(means)

    def draw(self, means: FloatArray, scale: FloatArray, rng: np.random.Generator) -> FloatArray:
        """Return normal measurements."""
        width = scale * np.abs(means) if self.relative else scale
        return means + width * rng.standard_normal(means.shape)


@dataclass(frozen=True)
class LogNormal(NoiseModel):
    """Log-normal noise: log y = log m + sigma*z, so that m is the median.

    Parameters
    ----------
    sigma : float, optional
        Standard deviation of log y (.05 is about 5 %); by default it is estimated.
    shared : bool, optional
        Whether columns with this noise model share one estimated sigma, instead of one each.
    """

    sigma: float | None = None
    shared: bool = False

    name: ClassVar[str] = "lognormal"
    summary: ClassVar[str] = "log y = log m + sigma z"

    def __post_init__(self) -> None:
        """Refuse a sigma that is none."""
        _check_sigma(self.sigma, "LogNormal", column=False)

    @property
    def scale(self) -> float | str | None:
        """The known scale, or None."""
        return self.sigma

    @property
    def is_shared(self) -> bool:
        """Whether columns share the scale."""
        return self.shared

    def forbidden(self, values: FloatArray) -> NDArray[np.bool_]:
        """Return which values cannot be."""
        return ~(np.isfinite(values) & (values > 0.0))

    @property
    def needs(self) -> str:
        """What values it can be used for."""
        return "needs values above 0"

    def residuals(self, values: FloatArray, means: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Return log(y/m) and its slope."""
        return np.log(values / means), -1.0 / means

    def constant(self, values: FloatArray) -> FloatArray:
        """Return log(2 pi)/2 + log y, so that densities are those of y."""
        return np.asarray(_HALF_LOG_2_PI + np.log(values), dtype=np.float64)

    def information_root(self, means: FloatArray) -> FloatArray:
        """Return 1/m."""
        return np.asarray(1.0 / means, dtype=np.float64)

    def draw(self, means: FloatArray, scale: FloatArray, rng: np.random.Generator) -> FloatArray:
        """Return log-normal measurements."""
        return np.asarray(means * np.exp(scale * rng.standard_normal(means.shape)))


@dataclass(frozen=True)
class Poisson(NoiseModel):
    """Counted events or molecules: y is Poisson distributed with mean m.

    The residual is the signed root of the deviance, so that least squares maximise the
    likelihood. Reference: McCullagh and Nelder (1989), Generalized Linear Models, section 2.4,
    doi:10.1007/978-1-4899-3242-6.
    """

    name: ClassVar[str] = "poisson"
    summary: ClassVar[str] = "y counts, with mean and variance m"

    @property
    def scale(self) -> float | str | None:
        """One: the mean says how wide the noise is."""
        return 1.0

    def forbidden(self, values: FloatArray) -> NDArray[np.bool_]:
        """Return which values cannot be."""
        with np.errstate(invalid="ignore"):
            right: NDArray[np.bool_] = (values >= 0.0) & (values == np.round(values))
            return ~(np.isfinite(values) & right)

    @property
    def needs(self) -> str:
        """What values it can be used for."""
        return "needs whole numbers, 0 or more"

    def residuals(self, values: FloatArray, means: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Return sign(y - m)*sqrt(2 (y log(y/m) - y + m)) and its slope."""
        is_zero = values == 0.0
        ratio = values / means
        # With x = (m - y)/y the half deviance is y (x - log(1 + x)), which rounding spoils near 0.
        x = np.where(is_zero, 1.0, (means - values) / np.where(is_zero, 1.0, values))
        series = x * x * (0.5 - x * (1.0 / 3.0 - x * (0.25 - x / 5.0)))
        gap = np.where(np.abs(x) < 1e-3, series, x - np.log1p(x))
        half = np.where(is_zero, means, values * gap)
        size = np.sqrt(2.0 * half)
        residual = np.where(means > values, -size, size)
        # r r' = 1 - y/m; at m = y the limit is -1/sqrt(m), and a state that is surely 0 has none.
        slope = np.where(
            np.abs(x) < 1e-6, -1.0 / np.sqrt(means), (1.0 - ratio) / np.where(size > 0, residual, 1)
        )
        slope = np.where(is_zero, -1.0 / np.sqrt(2.0 * means), slope)
        slope = np.where(is_zero & (means == 0.0), 0.0, slope)
        return np.where(means < 0.0, np.nan, residual), slope

    def constant(self, values: FloatArray) -> FloatArray:
        """Return the negative log-likelihood where the mean is the value itself."""
        from scipy.special import gammaln, xlogy

        return np.asarray(gammaln(values + 1.0) - xlogy(values, values) + values)

    def information_root(self, means: FloatArray) -> FloatArray:
        """Return 1/sqrt(m)."""
        return np.where(means > 0.0, 1.0 / np.sqrt(np.where(means > 0.0, means, 1.0)), 0.0)

    def draw(self, means: FloatArray, scale: FloatArray, rng: np.random.Generator) -> FloatArray:
        """Return counts."""
        return rng.poisson(np.maximum(means, 0.0)).astype(np.float64)


NOISE_MODELS: dict[str, type[NoiseModel]] = {
    "gaussian": Gaussian,
    "lognormal": LogNormal,
    "poisson": Poisson,
}
