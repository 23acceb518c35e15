"""Where the deterministic picture fails: rate equations held against stochastic paths."""

from __future__ import annotations

import math
import time
import warnings
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..compilation import compile_rate_equations, state_change_matrix
from ..ensembles import ensemble
from ..errors import IncompleteWarning, Interrupted, SimulationError
from ..memory import require_memory
from ..methods import Method
from ..methods.ode import RateEquationSystem
from ..network import Network
from ..progress import Progress, reporter
from ..randomness import generator, seed_sequence, take_entropy
from ..results import Ensemble
from ..results.columns import unknown_name_message
from ..results.tables import long_table
from ..run_plan import check_timeout, check_times
from ..simulation import simulate
from .cells import CELLS, resolve_cell
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
from .recurrence import Recurrence
from .volume import scale_volume

if TYPE_CHECKING:
    import pandas
    from matplotlib.axes import Axes

__all__ = ["Comparison", "MeanBias", "Oscillation", "SizeScaling", "VolumeStatistics", "compare"]

FloatArray = NDArray[np.float64]

EXACT = "exact"

# Paths of a noise cell between two looks at the clock. It decides which stream a path draws from,
# so changing it changes results.
_PATHS_AT_ONCE = 256
# How much halving its steps may change the deterministic cell, relative to the largest value of
# each state.
_CELL_TOLERANCE = 1e-4
# The noise cells make Euler's steps h. With an eigenvalue a + i b of the Jacobian these inflate the
# variance around a stable state by h |a| / 2, and an oscillation grows at an extra rate h b^2 / 2.
_NOISE_STEP = 0.05  # largest h |a + i b| at nine in ten of the states
_STABLE_STEP = 0.5  # at all of them
_EXTRA_GROWTH = 0.05  # over the whole time, or over the time in which perturbations fade
_PILOT = 20  # exact trajectories that show which states occur
_MOST_JACOBIANS = 4000
_MOST_STEPS = 2**19


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


def compare(
    network: Network,
    t: Any,
    n: int,
    *,
    rng: Any = None,
    seed: Any = None,
    cells: Sequence[str] = ("rk4", "langevin", "leap"),
    steps: Any = None,
    quantiles: Sequence[float] = (0.05, 0.5, 0.95),
    level: float = 0.95,
    outputs: Sequence[str] | None = None,
    volumes: Sequence[float] = (),
    method: str | Method = "auto",
    threads: int | None = None,
    progress: bool | Progress = False,
    timeout: float | None = None,
    **method_options: Any,
) -> Comparison:
    """Hold the rate equations against stochastic paths on one grid.

    Parameters
    ----------
    network : Network
        Its rate constants set the unit of time.
    t : float or array_like, shape (n_times,)
        End time (then 101 times from 0), or increasing times; `t[0]` is when the initial state
        holds.
    n : int
        Number of exact trajectories, and of paths of each noise cell; at least 20.
    rng : None, int, SeedSequence or Generator, optional
        Source of randomness of all parts. What was used is in `entropy` of the result.
    seed : optional
        Another name for `rng`.
    cells : sequence of str, optional
        One deterministic cell of `CELLS`, and any of ``"langevin"`` and ``"leap"``.
    steps : int or array_like of int, optional
        Steps in each interval of `t`, of all cells that take steps. By default so many that
        halving them changes the deterministic cell by 1e-4 at most, relative to the largest value
        of each state. Those of the noise cells follow from the eigenvalues of the Jacobian at the
        states of 20 exact trajectories: they inflate variances by about 2.5 % at most.
    quantiles : sequence of float, optional
        Probabilities, increasing.
    level : float, optional
        Confidence of intervals; that of the bias holds for all times and names at once.
    outputs : sequence of str, optional
        Species and observables to compare; all of them by default.
    volumes : sequence of float, optional
        Volumes in which `n` trajectories are sampled as well, for example ``(2, 4, 8)``; the
        network's own counts as 1. See `scale_volume`.
    method : str or Method, optional
        Of the exact trajectories; ``"auto"`` takes an exact one.
    threads : int, optional
        Threads to use; all cores by default.
    progress : bool or callable, optional
        True shows a bar; a callable is called as ``progress(done, total)`` in paths of all parts.
    timeout : float, optional
        Seconds after which the run stops and returns what is finished, with an
        `IncompleteWarning`.
    **method_options
        Options of the method.

    Returns
    -------
    Comparison
        Print it for a report.

    Raises
    ------
    ValueError, TypeError
        If an argument makes no sense.
    NetworkError
        If a name is unknown, or a network cannot be scaled to one of `volumes`.
    MethodError
        If a cell or the method is unknown, or cannot do what is asked for.
    NotEnoughMemoryError
        If the paths would not fit into memory; nothing was run.
    SimulationError
        If half a million steps are not enough for the cells, more than half of the paths of a
        noise cell diverge, or a trajectory fails.
    Interrupted
        On Ctrl-C; `error.result` holds the comparison of what is finished, or None.
    """
    times = check_times(t)
    n = _checked_number(n)
    cell, noise_cells = _checked_cells(cells)
    levels = _checked_levels(quantiles, level)
    limit = check_timeout(timeout)
    names = _checked_names(network, outputs)
    scaled = [scale_volume(network, omega) for omega in _checked_volumes(volumes)]
    require_memory(
        8 * n * times.size * (len(names) + network.n_species) * (2 + len(noise_cells)),
        "ask for fewer outputs=, fewer times, or fewer paths",
    )
    recorded = (*names, *(network.species_names if scaled else ()))
    recorded = tuple(dict.fromkeys(recorded))
    entropy = take_entropy(rng, seed)
    stage = _Stages(
        deadline=time.monotonic() + limit,
        report=reporter(progress, n * (1 + len(noise_cells) + len(scaled)), "compare"),
        n=n,
    )
    # Everything that can be refused is refused before the long part.
    used_steps, path, cell_error = _deterministic(network, times, cell, steps, names)
    noise_steps = None
    if noise_cells:
        noise_steps = _noise_steps(network, times, steps, entropy, method, method_options)
    noisy = {one: Recurrence(network, one) for one in noise_cells}

    runs: Ensemble | None = None
    paths: dict[str, FloatArray] = {}
    found: list[VolumeStatistics] = []
    failure: Interrupted | None = None
    try:
        runs = stage.ensemble(
            network, times, n, entropy, recorded, method, threads, method_options, statistics=False
        )
        paths[EXACT] = np.stack([runs[name] for name in names], axis=-1).astype(np.float64)
        for one in noise_cells:
            if stage.is_over():
                break
            paths[one] = stage.noisy_paths(
                noisy[one], times, noise_steps, entropy, one, names, threads
            )
        if scaled and not stage.is_over():
            found.append(_own_volume(network, runs, times))
        for volume in scaled:
            if stage.is_over():
                break
            found.append(
                stage.volume_statistics(volume, times, entropy, method, threads, method_options)
            )
    except (KeyboardInterrupt, Interrupted) as error:
        partial = getattr(error, "result", None)
        if runs is None and isinstance(partial, Ensemble):
            runs = partial
        stage.stopped = "interrupt"
        failure = Interrupted("interrupted; the comparison of what is finished is in .result")
    if runs is not None and EXACT not in paths and len(runs) >= 2:
        paths[EXACT] = np.stack([runs[name] for name in names], axis=-1).astype(np.float64)
    result = None
    if runs is not None and len(paths.get(EXACT, ())) >= 2:
        result = Comparison(
            network=network,
            times=times,
            names=names,
            cell=cell,
            deterministic=path,
            cell_error=cell_error,
            steps=used_steps,
            noise_steps=noise_steps,
            runs=runs,
            paths={source: table for source, table in paths.items() if len(table)},
            quantile_levels=levels,
            level=float(level),
            volumes=tuple(found),
            entropy=entropy,
            stopped=stage.stopped,
        )
    if failure is not None:
        failure.result = result
        raise failure
    if result is None:
        raise SimulationError(
            f"timeout: not even two of {n} trajectories were finished; allow a longer timeout="
        )
    if stage.stopped == "timeout":
        warnings.warn(
            f"timeout: {len(paths[EXACT])} of {n} trajectories, {len(result.paths) - 1} of "
            f"{len(noise_cells)} noise cells and {max(len(found) - 1, 0)} of {len(scaled)} volumes "
            "are in the comparison",
            IncompleteWarning,
            stacklevel=2,
        )
    return result


# ---- The parts ----------------------------------------------------------------------------------


class _Stages:
    """Runs the parts one after the other, with one clock and one bar for all."""

    def __init__(self, deadline: float, report: Callable[[float], None], n: int) -> None:
        self._deadline, self._report, self._n = deadline, report, n
        self._n_done = 0.0
        self.stopped: str | None = None

    def is_over(self) -> bool:
        if time.monotonic() >= self._deadline:
            self.stopped = "timeout"
        return self.stopped is not None

    def ensemble(
        self,
        network: Network,
        times: FloatArray,
        n: int,
        rng: Any,
        outputs: Sequence[str] | None,
        method: str | Method,
        threads: int | None,
        method_options: Mapping[str, Any],
        *,
        statistics: bool,
    ) -> Any:
        done = self._n_done
        with warnings.catch_warnings():
            # The warning of the whole says what is missing.
            warnings.simplefilter("ignore", IncompleteWarning)
            result = ensemble(
                network,
                times,
                n,
                method=method,
                rng=rng,
                threads=threads,
                outputs=outputs,
                statistics=statistics,
                histogram_bins=2,
                timeout=self._left(),
                progress=lambda some, total: self._report(done + some),
                **method_options,
            )
        self._advance(n)
        if result.stopped == "timeout":
            self.stopped = "timeout"
        return result

    def noisy_paths(
        self,
        recurrence: Recurrence,
        times: FloatArray,
        steps: Any,
        entropy: int,
        cell: str,
        names: tuple[str, ...],
        threads: int | None,
    ) -> FloatArray:
        """Return the paths of a noise cell, (n, n_times, n_names), or fewer after a timeout."""
        pieces = []
        for first in range(0, self._n, _PATHS_AT_ONCE):
            if first and self.is_over():
                break
            rows = min(_PATHS_AT_ONCE, self._n - first)
            key = (zlib.crc32(cell.encode()), first // _PATHS_AT_ONCE)
            unrolled = recurrence.unroll(
                times,
                steps=steps,
                rng=seed_sequence(entropy, *key),
                n=rows,
                threads=threads,
                keep_diverged=True,
            )
            pieces.append(np.asarray(unrolled.outputs(names)))
            self._advance(rows)
        paths = np.concatenate(pieces)
        n_whole = int(np.isfinite(paths).all(axis=(1, 2)).sum())
        if 2 * n_whole < len(paths):
            raise SimulationError(
                f"only {n_whole} of {len(paths)} paths of the cell {cell!r} stayed finite; give "
                "more steps= in each interval, or leave the cell out"
            )
        return paths

    def volume_statistics(
        self,
        network: Network,
        times: FloatArray,
        entropy: int,
        method: str | Method,
        threads: int | None,
        method_options: Mapping[str, Any],
    ) -> VolumeStatistics:
        omega = float(network.parameter_values[0])
        key = (zlib.crc32(b"volume"), zlib.crc32(repr(omega).encode()))
        statistics = self.ensemble(
            network,
            times,
            self._n,
            seed_sequence(entropy, *key),
            None,
            method,
            threads,
            method_options,
            statistics=True,
        )
        return VolumeStatistics(
            omega=omega,
            n=statistics.n_trajectories,
            deterministic=simulate(network, times, method="ode").counts / omega,
            mean=statistics.mean() / omega,
            variance=statistics.var() / omega**2,
        )

    def _left(self) -> float | None:
        if math.isinf(self._deadline):
            return None
        return max(self._deadline - time.monotonic(), 1e-3)

    def _advance(self, by: int) -> None:
        self._n_done += by
        self._report(self._n_done)


def _own_volume(network: Network, runs: Ensemble, times: FloatArray) -> VolumeStatistics:
    counts = np.stack([runs[name] for name in network.species_names], axis=-1).astype(np.float64)
    return VolumeStatistics(
        omega=1.0,
        n=len(runs),
        deterministic=np.asarray(simulate(network, times, method="ode").counts),
        mean=counts.mean(axis=0),
        variance=counts.var(axis=0, ddof=1),
    )


def _recurrence(network: Network, cell: str) -> Recurrence:
    from .recurrence import Recurrence

    return Recurrence(network, cell=cell)


def _deterministic(
    network: Network, times: FloatArray, cell: str, steps: Any, names: tuple[str, ...]
) -> tuple[Any, FloatArray, float]:
    """Return the steps, the path (n_times, n_names), and how far it is from an adaptive solver."""
    recurrence = Recurrence(network, cell=cell)
    if CELLS[cell].is_adaptive:
        steps, path = None, recurrence.unroll(times)
    else:
        steps = _enough_steps(recurrence, times, steps)
        path = recurrence.unroll(times, steps=steps)
    reference = np.asarray(simulate(network, times, method="ode").counts, dtype=np.float64)
    error = _distance(np.asarray(path.states), reference)
    return steps, np.asarray(path.outputs(names)), error


def _enough_steps(recurrence: Recurrence, times: FloatArray, steps: Any) -> NDArray[np.int64]:
    """Return the steps of each interval, (n_times - 1,): the given ones, or enough of them."""
    n_intervals = times.size - 1
    if steps is not None:
        return np.broadcast_to(np.asarray(steps), (n_intervals,))

    def states(steps: int) -> FloatArray:
        return np.asarray(recurrence.unroll(times, steps=steps, keep_diverged=True).states)

    steps, coarse = 2, states(1)
    while steps * n_intervals <= _MOST_STEPS:
        fine = states(steps)
        if _distance(coarse, fine) <= _CELL_TOLERANCE:
            return np.full(n_intervals, steps)
        steps, coarse = 2 * steps, fine
    raise SimulationError(
        f"the cell {recurrence.cell!r} with {_MOST_STEPS} steps in all still changes by more than "
        f"{_CELL_TOLERANCE:g} when the steps are halved; give steps=, ask for a shorter time, or "
        "choose a cell for stiff networks"
    )


def _noise_steps(
    network: Network,
    times: FloatArray,
    steps: Any,
    entropy: int,
    method: str | Method,
    method_options: Mapping[str, Any],
) -> NDArray[np.int64]:
    """Return enough steps for the noise cells in each interval, (n_times - 1,)."""
    if steps is not None:
        return np.broadcast_to(np.asarray(steps), (times.size - 1,))
    # A fixed point says nothing about the states around it, so exact trajectories do.
    pilot = ensemble(network, times, _PILOT, method=method, rng=entropy, **method_options)
    assert isinstance(pilot, Ensemble)
    states = pilot.counts.astype(np.float64).reshape(-1, network.n_species)
    at = np.tile(times, len(pilot))
    stride = -(-len(states) // _MOST_JACOBIANS)
    equations, depth = compile_rate_equations(network)
    system = RateEquationSystem(equations, depth, state_change_matrix(network))
    eigenvalues = np.empty((len(states[::stride]), network.n_species), dtype=np.complex128)
    for row, (time_of, state) in enumerate(zip(at[::stride], states[::stride], strict=True)):
        jacobian = system.jacobian(float(time_of), state)
        matrix = jacobian.toarray() if hasattr(jacobian, "toarray") else jacobian
        eigenvalues[row] = np.linalg.eigvals(matrix)
    speed = np.abs(eigenvalues).max(axis=1)
    turning = np.abs(eigenvalues.imag).max(axis=1)
    fading = max(float(np.abs(eigenvalues.real).min(axis=1).mean()), 1.0 / float(np.ptp(times)))
    per_time = max(
        float(np.quantile(speed, 0.9)) / _NOISE_STEP,
        float(speed.max()) / _STABLE_STEP,
        float((turning**2).mean()) / 2.0 / (_EXTRA_GROWTH * fading),
    )
    enough = np.ceil(np.diff(times) * per_time).clip(1.0)
    if not enough.sum() <= _MOST_STEPS:
        raise SimulationError(
            f"the fastest changes of the network, at {speed.max():.3g} per unit time, ask for "
            f"{enough.sum():.2g} steps of the noise cells; give steps=, ask for a shorter time, or "
            "leave them out with cells=('rk4',)"
        )
    return enough.astype(np.int64)


def _distance(states: FloatArray, reference: FloatArray) -> float:
    """Return the largest difference, relative to the largest value of its state."""
    scale = np.abs(reference).max(axis=0)
    scale[scale == 0.0] = 1.0
    difference = np.abs(states[:, : reference.shape[1]] - reference) / scale
    return float(difference.max()) if np.isfinite(difference).all() else math.inf


# ---- Checks -------------------------------------------------------------------------------------


def _checked_number(n: Any) -> int:
    if isinstance(n, bool) or not isinstance(n, int | np.integer) or n < 20:
        raise ValueError(f"n must be a whole number, 20 or more, not {n!r}")
    return int(n)


def _checked_cells(cells: Sequence[str]) -> tuple[str, tuple[str, ...]]:
    if isinstance(cells, str):
        cells = (cells,)
    for cell in cells:
        resolve_cell(cell, {})
    noise = tuple(dict.fromkeys(cell for cell in cells if CELLS[cell].is_stochastic))
    deterministic = [cell for cell in cells if cell not in noise]
    if len(deterministic) != 1:
        raise ValueError(
            "cells must name exactly one deterministic cell, to hold the others against, not "
            f"{len(deterministic)}: {', '.join(map(repr, cells)) or 'none'}"
        )
    return deterministic[0], noise


def _checked_levels(quantiles: Sequence[float], level: float) -> tuple[float, ...]:
    levels = tuple(float(one) for one in np.atleast_1d(np.asarray(quantiles, dtype=np.float64)))
    if not levels or not all(0.0 < one < 1.0 for one in levels) or sorted(set(levels)) != [*levels]:
        raise ValueError(f"quantiles must increase and lie between 0 and 1, not {levels}")
    if not 0.0 < level < 1.0:
        raise ValueError(f"level must lie between 0 and 1, not {level!r}")
    return levels


def _checked_names(network: Network, outputs: Sequence[str] | None) -> tuple[str, ...]:
    known = (*network.species_names, *network.observable_names)
    if outputs is None:
        return known
    if isinstance(outputs, str):
        raise TypeError(f"outputs must be a list of names, such as [{outputs!r}]")
    for name in outputs:
        if name not in known:
            raise ValueError(unknown_name_message(network, str(name)))
    if not outputs:
        raise ValueError("outputs names nothing to compare; leave it out for all species")
    return tuple(dict.fromkeys(outputs))


def _checked_volumes(volumes: Sequence[float]) -> list[float]:
    omegas = [float(one) for one in np.atleast_1d(np.asarray(volumes, dtype=np.float64))]
    return sorted({omega for omega in omegas if omega != 1.0})
