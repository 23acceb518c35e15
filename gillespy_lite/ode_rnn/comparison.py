"""Where the deterministic picture fails: rate equations held against stochastic paths."""

from __future__ import annotations

import math
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..network import Network
from ..randomness import generator
from ..results import Ensemble
from ..results.columns import unknown_name_message
from ..results.tables import long_table
from .comparison_report import report_of
from .discrepancies import (
    Bimodality,
    Cycles,
    PowerLaw,
    Proportion,
    Ratio,
    cycles_of,
    dip_test,
    fit_power_law,
    period_of,
    proportion,
    simultaneous_factor,
    variance_ratio,
)

if TYPE_CHECKING:
    import pandas
    from matplotlib.axes import Axes

__all__ = ["EXACT", "Comparison", "MeanBias", "Oscillation", "SizeScaling", "VolumeStatistics"]

FloatArray = NDArray[np.float64]

EXACT = "exact"


@dataclass(frozen=True)
class MeanBias:
    """How far the mean of the exact trajectories is from the deterministic trajectory.

    Attributes
    ----------
    difference : ndarray, shape (n_times, n_names), float64
        Mean of the trajectories minus the deterministic one, in molecules.
    standard_error : ndarray, shape (n_times, n_names), float64
        Of the mean.
    factor : float
        Multiplies the standard errors so that the intervals hold for all times and names at once,
        with the confidence `level`.
    level : float
        Joint confidence.
    """

    difference: FloatArray
    standard_error: FloatArray
    factor: float
    level: float

    @property
    def half_width(self) -> FloatArray:
        """Half widths of the simultaneous band, shape (n_times, n_names)."""
        return self.factor * self.standard_error

    @property
    def is_plain(self) -> NDArray[np.bool_]:
        """Where the band does not hold 0, shape (n_times, n_names).

        Never where all trajectories are the same: they are too few to show their spread there.
        """
        found: NDArray[np.bool_] = (self.standard_error > 0.0) & (
            np.abs(self.difference) > self.half_width
        )
        return found


@dataclass(frozen=True)
class Oscillation:
    """Cycles of a species: those of the rate equations and those of the paths.

    Attributes
    ----------
    deterministic_period : float
        0 where the rate equations come to rest, nan with fewer than two cycles.
    paths : Cycles
        The cycles of the exact trajectories.
    """

    deterministic_period: float
    paths: Cycles


@dataclass(frozen=True)
class VolumeStatistics:
    """Means and variances of trajectories in another volume, per volume.

    Attributes
    ----------
    omega : float
        The volume.
    n : int
        Number of trajectories.
    deterministic, mean, variance : ndarray, shape (n_times, n_species), float64
        Of counts divided by `omega`.
    """

    omega: float
    n: int
    deterministic: FloatArray
    mean: FloatArray
    variance: FloatArray


@dataclass(frozen=True)
class SizeScaling:
    """How bias and variance of a concentration change with the volume, at one time.

    Attributes
    ----------
    time : float
        Where the bias in volume 1 is largest compared with its error.
    omegas : tuple of float
        The volumes.
    biases, bias_errors : tuple of float
        Mean minus rate equations, per volume, with standard errors.
    variances : tuple of float
        Of the concentration.
    bias : PowerLaw
        Fit to the biases; theory expects the exponent -1 where the rate equations have one stable
        solution.
    variance : PowerLaw
        Fit to the variances; theory expects -1. Errors are those of normal laws.
    """

    time: float
    omegas: tuple[float, ...]
    biases: tuple[float, ...]
    bias_errors: tuple[float, ...]
    variances: tuple[float, ...]
    bias: PowerLaw
    variance: PowerLaw


@dataclass(frozen=True, repr=False)
class Comparison:
    """A deterministic trajectory beside exact, Langevin and leaping ensembles.

    ``print`` it for a report, read its parts, ``plot`` it or turn it into a table. Statistics are
    worked out when they are first read.

    Attributes
    ----------
    network : Network
        What was compared.
    times : ndarray, shape (n_times,), float64
        The common grid.
    names : tuple of str
        Species and observables.
    cell : str
        The deterministic cell.
    deterministic : ndarray, shape (n_times, n_names), float64
        Its trajectory.
    cell_error : float
        Largest difference from an adaptive solver, relative to the largest value of its name.
    steps, noise_steps : ndarray, shape (n_times - 1,), int64, or None
        Steps in each interval of `times` of the deterministic cell (None if it chooses its own)
        and of the noise cells.
    runs : Ensemble
        The exact trajectories, with their provenance.
    paths : mapping of str to ndarray, shape (n, n_times, n_names), float64
        All ensembles by name: ``"exact"``, then the noise cells. A path that diverged is nan from
        there on.
    quantile_levels : tuple of float
        Of `quantiles`.
    level : float
        Confidence of all intervals.
    volumes : tuple of VolumeStatistics
        In other volumes, if asked for.
    entropy : int
        Passed as ``rng`` it repeats the comparison.
    stopped : str or None
        ``"timeout"`` or ``"interrupt"`` if something that was asked for is missing.
    """

    network: Network
    times: FloatArray
    names: tuple[str, ...]
    cell: str
    deterministic: FloatArray
    cell_error: float
    steps: NDArray[np.int64] | None
    noise_steps: NDArray[np.int64] | None
    runs: Ensemble
    paths: Mapping[str, FloatArray]
    quantile_levels: tuple[float, ...]
    level: float
    volumes: tuple[VolumeStatistics, ...]
    entropy: int
    stopped: str | None = field(default=None)

    # -- What was computed

    @property
    def n(self) -> int:
        """Number of exact trajectories."""
        return len(self.paths[EXACT])

    def __getitem__(self, name: str) -> FloatArray:
        """Return the deterministic trajectory of one name, shape (n_times,)."""
        return self.deterministic[:, self._column(name)]

    def mean(self, source: str = EXACT) -> FloatArray:
        """Return the mean of an ensemble, shape (n_times, n_names).

        Parameters
        ----------
        source : str, optional
            A key of `paths`. Paths that diverged are left out.
        """
        return np.asarray(self._whole_paths(source).mean(axis=0))

    def std(self, source: str = EXACT) -> FloatArray:
        """Return the standard deviation of an ensemble, shape (n_times, n_names)."""
        return np.asarray(self._whole_paths(source).std(axis=0, ddof=1))

    def quantiles(self, source: str = EXACT) -> FloatArray:
        """Return the quantiles of an ensemble, shape (n_levels, n_times, n_names)."""
        return np.asarray(np.quantile(self._whole_paths(source), self.quantile_levels, axis=0))

    def n_diverged(self, source: str) -> int:
        """Return how many paths of a noise cell became infinite or not a number."""
        return int((~self._is_whole(source)).sum())

    def _is_whole(self, source: str) -> NDArray[np.bool_]:
        if source not in self.paths:
            raise KeyError(
                f"there is no ensemble {source!r}; there are: {', '.join(map(repr, self.paths))}"
            )
        return np.asarray(np.isfinite(self.paths[source]).all(axis=(1, 2)))

    def _whole_paths(self, source: str) -> FloatArray:
        whole = self._is_whole(source)
        paths = self.paths[source]
        return paths if whole.all() else paths[whole]

    def _column(self, name: str) -> int:
        if name not in self.names:
            raise KeyError(unknown_name_message(self.network, name))
        return self.names.index(name)

    def _rng(self, purpose: str) -> np.random.Generator:
        key = zlib.crc32(purpose.encode())
        return generator(self.entropy, key)

    # -- Where they part

    @cached_property
    def bias(self) -> MeanBias:
        """Difference between the mean and the deterministic trajectory, with a joint band."""
        paths = self.paths[EXACT]
        factor = simultaneous_factor(paths.reshape(self.n, -1), self.level, self._rng("band"))
        return MeanBias(
            difference=self.mean() - self.deterministic,
            standard_error=self.std() / math.sqrt(self.n),
            factor=factor,
            level=self.level,
        )

    @cached_property
    def variance_ratios(self) -> dict[str, dict[str, Ratio]]:
        """Variance of each noise cell over the exact one at the last time, by cell and name."""
        exact = self.paths[EXACT][:, -1]
        return {
            source: {
                name: variance_ratio(self._whole_paths(source)[:, -1, i], exact[:, i], self.level)
                for i, name in enumerate(self.names)
            }
            for source in self.paths
            if source != EXACT
        }

    @cached_property
    def modes(self) -> dict[str, dict[str, Bimodality]]:
        """Dip test of the last values, by ensemble and species.

        The p-values are not adjusted for the number of species. Observables are left out: the
        values that they can take may lie unevenly, which looks like modes.
        """
        return {
            source: {
                name: dip_test(
                    np.ascontiguousarray(self._whole_paths(source)[:, -1, i]),
                    self._rng(f"modes {source} {name}"),
                )
                for i, name in enumerate(self.names)
                if name in self.network.species_names
            }
            for source in self.paths
        }

    @cached_property
    def extinction(self) -> dict[str, dict[str, Proportion]]:
        """Share of paths without a molecule at the last time, by ensemble and species.

        Wilson intervals. A path of real numbers counts below half a molecule.
        """
        found: dict[str, dict[str, Proportion]] = {}
        for source in self.paths:
            last = self._whole_paths(source)[:, -1]
            found[source] = {
                name: proportion(int((last[:, i] < 0.5).sum()), len(last), self.level)
                for i, name in enumerate(self.names)
                if name in self.network.species_names
            }
        return found

    @cached_property
    def oscillations(self) -> dict[str, Oscillation]:
        """Cycles of the names whose exact trajectories oscillate; empty if none does.

        Asks for evenly spaced times, ten or more to a cycle.
        """
        found = {}
        for i, name in enumerate(self.names):
            cycles = cycles_of(self.times, np.ascontiguousarray(self.paths[EXACT][:, :, i]))
            if cycles is not None:
                period = period_of(self.times, self.deterministic[:, i])
                found[name] = Oscillation(period, cycles)
        return found

    @cached_property
    def scaling(self) -> dict[str, SizeScaling]:
        """How bias and variance shrink with the volume, by species; empty without `volumes`."""
        if len(self.volumes) < 2:
            return {}
        found = {}
        for column, name in enumerate(self.names):
            if name not in self.network.species_names:
                continue
            i = self.network.species_names.index(name)
            error = self.bias.standard_error[:, column]
            if not (error > 0.0).any():
                continue
            size = np.zeros(error.size)
            np.divide(np.abs(self.bias.difference[:, column]), error, out=size, where=error > 0)
            row = int(size.argmax())
            omegas = tuple(one.omega for one in self.volumes)
            biases = tuple(float((one.mean - one.deterministic)[row, i]) for one in self.volumes)
            variances = tuple(float(one.variance[row, i]) for one in self.volumes)
            errors = tuple(math.sqrt(one.variance[row, i] / one.n) for one in self.volumes)
            spread = [math.sqrt(2.0 / one.n) * one.variance[row, i] for one in self.volumes]
            found[name] = SizeScaling(
                time=float(self.times[row]),
                omegas=omegas,
                biases=biases,
                bias_errors=errors,
                variances=variances,
                bias=fit_power_law(omegas, biases, errors),
                variance=fit_power_law(omegas, variances, spread),
            )
        return found

    # -- Other forms

    def __str__(self) -> str:
        """Return the report."""
        return report_of(self)

    def __repr__(self) -> str:
        """Return what was compared, in one line."""
        sources = " and ".join([self.cell, *self.paths])
        return (
            f"<Comparison: {sources}, {self.n} trajectories, {len(self.names)} names, "
            f"{self.times.size} times>"
        )

    def to_frame(self) -> pandas.DataFrame:
        """Return the numbers as a pandas table; without pandas, `MissingExtraError`.

        Returns
        -------
        pandas.DataFrame
            One row per time and name, with the columns ``time``, ``species`` (the name, also of
            an observable), the deterministic cell, ``bias`` and ``bias_half_width`` (of the joint
            band), and for each ensemble ``<ensemble>_mean``, ``_std`` and one per quantile, such
            as ``exact_q0.05``.
        """
        numbers = {
            self.cell: self.deterministic,
            "bias": self.bias.difference,
            "bias_half_width": self.bias.half_width,
        }
        for source in self.paths:
            numbers[f"{source}_mean"] = self.mean(source)
            numbers[f"{source}_std"] = self.std(source)
            for level, table in zip(self.quantile_levels, self.quantiles(source), strict=True):
                numbers[f"{source}_q{level:g}"] = table
        return long_table({"time": self.times}, self.names, numbers)

    def plot(self, kind: str = "bands", *, ax: Axes | None = None, **options: Any) -> Axes:
        """Draw the comparison on `ax`, by default on a new figure; return the Axes.

        Parameters
        ----------
        kind : {"bands", "difference", "final", "scaling"}, optional
            "bands": deterministic trajectory, means and outer quantiles over time; "difference":
            the bias with its joint band; "final": the distributions at the last time; "scaling":
            bias and variance against the volume.
        **options
            ``name`` or ``names``: what to draw; see `plotting.comparisons`.
        """
        from ..plotting.comparisons import plot_comparison

        return plot_comparison(self, kind, ax=ax, **options)
