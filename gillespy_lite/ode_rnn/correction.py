"""Correct a fit of the rate equations for data that came from single stochastic trajectories."""

from __future__ import annotations

import math
import time
import warnings
import zlib
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..ensembles import ensemble
from ..errors import (
    IncompleteWarning,
    Interrupted,
    MissingExtraError,
    NetworkError,
    SimulationError,
)
from ..methods import Method
from ..network import Network
from ..progress import Progress, reporter
from ..randomness import generator, seed_sequence, take_entropy
from ..results import Ensemble
from ..run_plan import check_timeout, check_whole
from .batched_fits import can_fit_in_batches, fit_data_sets
from .estimates import initial_name
from .fit_result import FitResult
from .objective import Objective, PreparedExperiment
from .searching import SEARCHES, Watch

if TYPE_CHECKING:
    import pandas

__all__ = ["CorrectedFit", "CorrectionStep", "correct"]

FloatArray = NDArray[np.float64]

_LARGEST_STEP = 3.0  # in standard deviations of the naive estimate, for one iteration
_SMALLEST_DIFFERENCE = 0.02  # relative, when the slopes are measured
_FAR = 1.0  # from there on slopes are measured again, in standard deviations
_FEWEST_FITTED = 0.8  # share of the simulated data sets that can be fitted
_MOST_TRIALS = 200  # of one fit to simulated data


@dataclass(frozen=True)
class CorrectionStep:
    """One iteration of a correction.

    Attributes
    ----------
    estimates : dict of str to float
        Parameters of the simulated data sets.
    misfit : float
        Largest distance of their mean naive estimate from the one of the data, in standard
        deviations of a naive estimate.
    n_failed : int
        Simulated data sets that could not be fitted.
    """

    estimates: dict[str, float]
    misfit: float
    n_failed: int


@dataclass(frozen=True, eq=False, repr=False)
class CorrectedFit:
    """Estimates whose simulated data give, on average, the naive fit that the data gave.

    ``result["k"]`` is the corrected estimate of k; printing shows a table.

    Attributes
    ----------
    names : tuple of str
        What was estimated.
    naive : FitResult
        The fit of the rate equations that is corrected.
    estimates : dict of str to float
        Corrected values, in the units of the network.
    standard_errors : dict of str to float
        Their standard errors. On a log scale the error of the logarithm times the estimate.
    converged : bool
        Whether the mean naive estimate of the simulations is within `tolerance` standard
        deviations of the naive one.
    message : str
        Why the iteration ended.
    steps : tuple of CorrectionStep
        All iterations.
    slopes : ndarray, shape (n_free, n_free), float64
        Derivatives of the mean naive estimate by the parameters, in free coordinates; nan if they
        were not measured before a stop, and then standard errors and intervals are nan too.
    naive_covariance : ndarray, shape (n_free, n_free), float64
        Of a naive estimate over simulated data sets, in free coordinates.
    n_simulations : int
        Data sets that were simulated in each iteration.
    entropy : int
        Passed as ``rng`` it repeats the correction.
    stopped : str or None
        ``"timeout"`` or ``"interrupt"`` if it was cut short.
    """

    names: tuple[str, ...]
    naive: FitResult
    u: FloatArray  # (n_free,) corrected free coordinates
    mean_naive: FloatArray  # (n_free,) mean naive estimate of data simulated there
    naive_covariance: FloatArray
    slopes: FloatArray
    n_simulations: int
    tolerance: float
    converged: bool
    message: str
    steps: tuple[CorrectionStep, ...]
    entropy: int
    stopped: str | None

    @property
    def estimates(self) -> dict[str, float]:
        """Corrected values, in the units of the network."""
        return self.naive.objective.natural(self.u)

    def __getitem__(self, name: str) -> float:
        """Return one corrected estimate."""
        if name not in self.names:
            raise KeyError(f"{name!r} was not estimated; there are {', '.join(self.names)}")
        return self.estimates[name]

    @property
    def covariance(self) -> FloatArray:
        """Covariance of the corrected estimates, (n_free, n_free), in free coordinates.

        (1 + 1/S) B^-1 V B^-T with `slopes` B, `naive_covariance` V and S simulations; nan if it was
        stopped before the slopes were measured.
        """
        if not np.isfinite(self.slopes).all():
            return np.full(self.slopes.shape, np.nan)
        with np.errstate(all="ignore"):
            inverse = np.linalg.pinv(self.slopes)
            return np.asarray(
                (1.0 + 1.0 / self.n_simulations) * inverse @ self.naive_covariance @ inverse.T
            )

    @property
    def _errors(self) -> FloatArray:
        return np.sqrt(np.diag(self.covariance))

    @property
    def standard_errors(self) -> dict[str, float]:
        """Standard errors of the corrected estimates."""
        errors = self._errors * self.naive.objective.space.slopes_of(self.u)
        return dict(zip(self.names, errors.tolist(), strict=True))

    @property
    def bias(self) -> dict[str, float]:
        """How far the naive estimate is off on average, in its own units, at the corrected one."""
        values = self.naive.objective.space.values_of(self.mean_naive)
        own = self.naive.objective.space.values_of(self.u)
        return dict(zip(self.names, (values - own).tolist(), strict=True))

    def confidence_intervals(self, level: float = 0.95) -> dict[str, tuple[float, float]]:
        """Return normal confidence intervals, worked out in the free coordinates.

        They end at the bounds of what was estimated.

        Parameters
        ----------
        level : float, optional
            Probability that an interval holds the true value.

        Returns
        -------
        dict of str to (float, float)
            Lower and upper end.
        """
        from scipy.special import ndtri

        if not 0.0 < level < 1.0:
            raise ValueError(f"level must be between 0 and 1, not {level!r}")
        reach = float(ndtri(0.5 + level / 2.0)) * self._errors
        objective = self.naive.objective
        low = objective.space.values_of(np.maximum(self.u - reach, objective.lower))
        high = objective.space.values_of(np.minimum(self.u + reach, objective.upper))
        return {
            name: (float(a), float(b)) for name, a, b in zip(self.names, low, high, strict=True)
        }

    def to_frame(self) -> pandas.DataFrame:
        """Return a table of naive and corrected estimates (pandas), one row per name."""
        try:
            import pandas
        except ImportError as error:
            raise MissingExtraError(
                "this needs pandas, which is not installed: pip install gillespy_lite[pandas]"
            ) from error
        intervals = self.confidence_intervals()
        rows = {
            "naive": self.naive.estimates,
            "naive_error": self.naive.standard_errors,
            "corrected": self.estimates,
            "error": self.standard_errors,
            "lower": {name: pair[0] for name, pair in intervals.items()},
            "upper": {name: pair[1] for name, pair in intervals.items()},
        }
        frame = {column: [by_name[name] for name in self.names] for column, by_name in rows.items()}
        return pandas.DataFrame(frame, index=pandas.Index(self.names, name="name"))

    def __str__(self) -> str:
        """Return a table of naive and corrected estimates, and how the iteration ended."""
        naive, intervals = self.naive.standard_errors, self.confidence_intervals()
        width = max(4, *map(len, self.names))
        lines = [f"{'name':<{width}}  {'naive':>24}  {'corrected':>24}  95 % interval"]
        for name in self.names:
            first = f"{self.naive.estimates[name]:.4g} ± {naive[name]:.2g}"
            second = f"{self.estimates[name]:.4g} ± {self.standard_errors[name]:.2g}"
            low, high = intervals[name]
            lines.append(f"{name:<{width}}  {first:>24}  {second:>24}  {low:.4g} to {high:.4g}")
        failed = sum(step.n_failed for step in self.steps)
        lines.append(
            f"{'converged' if self.converged else 'NOT converged'}: {self.message} "
            f"({len(self.steps)} iterations of {self.n_simulations} simulated data sets, {failed} "
            f"of them not fitted; entropy {self.entropy})"
        )
        return "\n".join(lines)

    def __repr__(self) -> str:
        """Return what was corrected, in one line."""
        state = "converged" if self.converged else "not converged"
        return f"<CorrectedFit of {', '.join(self.names)}: {state} in {len(self.steps)} iterations>"


def correct(
    fit_result: FitResult,
    *,
    n_simulations: int = 100,
    measurement_sd: Mapping[str, float] | None = None,
    tolerance: float | None = None,
    max_iterations: int = 20,
    method: str | Method = "auto",
    rng: Any = None,
    seed: Any = None,
    threads: int | None = None,
    progress: bool | Progress = False,
    timeout: float | None = None,
    **method_options: Any,
) -> CorrectedFit:
    """Correct a fit of the rate equations by indirect inference.

    A fit of the rate equations to single trajectories treats their noise as errors of measurement,
    independent from time to time, and their mean as the solution of the rate equations. Both are
    wrong: estimates are biased where mean and solution differ, and standard errors are too small
    because a trajectory remembers its fluctuations. Here the parameters are searched whose own
    stochastic trajectories, measured as the data were and fitted by the same rate equations, give
    the naive estimate on average.

    Parameters
    ----------
    fit_result : FitResult
        Of `fit`: the naive fit. Each replicate is taken as one trajectory of its own.
    n_simulations : int, optional
        Simulated data sets in each iteration. The same random streams are used in all (common
        random numbers). The simulations add 1/n_simulations to the variance.
    measurement_sd : mapping of str to float, optional
        Standard deviation of errors of measurement (normal) by column; 0 by default.
    tolerance : float, optional
        How close the mean naive estimate of the simulations must come to that of the data, in
        standard deviations of a naive estimate; by default 1/sqrt(n_simulations), the standard
        error of that mean.
    max_iterations : int, optional
        Most iterations.
    method : str or Method, optional
        Of the trajectories; ``"auto"`` takes an exact one.
    rng : None, int, SeedSequence or Generator, optional
        Source of randomness. What was used is in `entropy` of the result.
    seed : optional
        Another name for `rng`.
    threads : int, optional
        Threads to use; all cores by default. The result does not depend on it.
    progress : bool or callable, optional
        True shows a bar; a callable is called as ``progress(done, total)`` in rounds of
        simulations; `total` is an upper bound.
    timeout : float, optional
        Seconds after which the best so far is returned, with an `IncompleteWarning`.
    **method_options
        Options of the method.

    Returns
    -------
    CorrectedFit
        Corrected estimates with standard errors. If the iteration did not converge it says so, and
        a `UserWarning` is given.

    Raises
    ------
    ValueError, TypeError
        If an argument makes no sense.
    NetworkError
        If initial counts were estimated (trajectories start from whole counts), the model has
        inputs or variables, or a column of `measurement_sd` is unknown.
    SimulationError
        If fewer than 80 % of the simulated data sets can be fitted.
    Interrupted
        On Ctrl-C; `error.result` is the best so far, or None.

    Notes
    -----
    The iteration is Newton's with measured slopes B: u + B^-1 (naive - mean naive), a step of at
    most three standard deviations, halved while it makes the misfit worse. B is taken by central
    differences 1.5 standard deviations to either side of the start, and again at the end if that
    is more than one standard deviation away. Standard errors follow by the delta method from the
    spread of the simulated naive estimates.

    References
    ----------
    Gourieroux, Monfort and Renault (1993), J. Appl. Econometrics 8, S85,
    doi:10.1002/jae.3950080507. Smith (1993), J. Appl. Econometrics 8, S63,
    doi:10.1002/jae.3950080506.
    """
    if not isinstance(fit_result, FitResult):
        raise TypeError(f"correct takes the result of fit(...), not a {type(fit_result).__name__}")
    check_whole(n_simulations, "n_simulations", 10)
    check_whole(max_iterations, "max_iterations", 1)
    if tolerance is None:
        tolerance = 1.0 / math.sqrt(n_simulations)
    if not 0.0 < tolerance < math.inf:
        raise ValueError(f"tolerance must be a number above 0, not {tolerance!r}")
    limit = check_timeout(timeout)
    entropy = take_entropy(rng, seed)
    objective = fit_result.objective
    _refuse_what_cannot_be_simulated(objective)
    n_rounds = max_iterations + 4 * objective.n_free
    simulator = _Simulator(
        objective=objective,
        n=n_simulations,
        measurement_sd=_checked_errors(objective, measurement_sd),
        method=method,
        method_options=method_options,
        entropy=entropy,
        threads=threads,
        deadline=time.monotonic() + limit,
        report=reporter(progress, float(n_rounds), "correcting"),
    )
    search = _Search(simulator, fit_result, tolerance)
    is_interrupted = False
    try:
        search.run(max_iterations)
    except _OutOfTimeError:
        search.stop("timeout")
    except (KeyboardInterrupt, Interrupted):
        search.stop("interrupt")
        is_interrupted = True
    result = search.result(entropy)
    if is_interrupted:
        kept = (
            "not one round of simulations ended, so the error's .result is None"
            if result is None
            else "the best correction so far is in the error's .result"
        )
        failure = Interrupted(f"interrupted; {kept}")
        failure.result = result
        raise failure
    if result is None:
        raise SimulationError("timeout: not one round of simulations ended; allow a longer timeout")
    if search.stopped == "timeout":
        warnings.warn(f"timeout: {result.message}", IncompleteWarning, stacklevel=2)
    elif not result.converged:
        warnings.warn(f"the correction did not converge: {result.message}", stacklevel=2)
    return result


class _OutOfTimeError(Exception):
    """Raised between two simulated data sets."""


@dataclass(frozen=True)
class _Round:
    """Naive estimates of data sets that were simulated at one place."""

    u: FloatArray  # (n_free,) where
    fits: FloatArray  # (n_fitted, n_free)
    n_failed: int

    @property
    def mean(self) -> FloatArray:
        return np.asarray(self.fits.mean(axis=0))

    @property
    def covariance(self) -> FloatArray:
        return np.atleast_2d(np.cov(self.fits, rowvar=False))


@dataclass(frozen=True)
class _Simulator:
    """Simulates data sets like the observed one, and fits each."""

    objective: Objective
    n: int
    measurement_sd: Mapping[str, float]
    method: str | Method
    method_options: Mapping[str, Any]
    entropy: int
    threads: int | None
    deadline: float
    report: Callable[[float], None]

    def fits_at(self, u: FloatArray) -> _Round:
        """Return the naive estimates of `n` data sets whose parameters are u."""
        data = [self._simulated(e, u) for e in range(len(self.objective.experiments))]
        found = _naive_fits(self.objective, data, u, self.deadline, self.threads)
        fitted = [fit for fit in found if fit is not None]
        if len(fitted) < _FEWEST_FITTED * self.n:
            values = ", ".join(f"{k} = {v:.4g}" for k, v in self.objective.natural(u).items())
            raise SimulationError(
                f"only {len(fitted)} of {self.n} data sets simulated at {values} could be fitted "
                "by the rate equations: the naive fit is no basis for a correction. Estimate fewer "
                "parameters, or measure more"
            )
        return _Round(u, np.array(fitted), self.n - len(fitted))

    def _simulated(self, e: int, u: FloatArray) -> list[FloatArray]:
        """Return the simulated values of each column of experiment `e`, (n, n_values)."""
        experiment = self.objective.experiments[e]
        parameters, initial, _ = self.objective.setting(e, u)
        network: Network = self.objective.recurrence.network
        network = network.with_parameters(parameters).with_initial(initial)
        n_replicates = len(experiment.replicates)
        left = self.deadline - time.monotonic()
        if left <= 0.0:
            raise _OutOfTimeError
        key = zlib.crc32(f"experiment {e}".encode())
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", IncompleteWarning)
            runs = ensemble(
                network,
                experiment.times,
                self.n * n_replicates,
                method=self.method,
                rng=seed_sequence(self.entropy, key),
                threads=self.threads,
                outputs=experiment.outputs,
                timeout=None if math.isinf(left) else left,
                **self.method_options,
            )
        assert isinstance(runs, Ensemble)
        if runs.stopped:
            raise _OutOfTimeError
        outputs = [np.asarray(runs[name], dtype=np.float64) for name in experiment.outputs]
        random = generator(self.entropy, key, 1)
        data = []
        for column in experiment.columns:
            paths = outputs[column.output].reshape(self.n, n_replicates, experiment.times.size)
            measured = paths[:, column.replicates, column.rows]
            sd = self.measurement_sd.get(column.column, 0.0)
            data.append(measured + sd * random.standard_normal(measured.shape))
        return data


class _Search:
    """Newton's iteration for the parameters whose mean naive estimate is the observed one."""

    def __init__(self, simulator: _Simulator, naive: FitResult, tolerance: float) -> None:
        self._simulator, self._naive, self._tolerance = simulator, naive, tolerance
        objective = naive.objective
        self._lower, self._upper = objective.lower, objective.upper
        # The same estimator as for the simulated data, to the last digit.
        observed = [
            [column.values[None] for column in experiment.columns]
            for experiment in objective.experiments
        ]
        (again,) = _naive_fits(objective, observed, naive.u, math.inf, 1)
        self._target = naive.u if again is None else again
        self._n_rounds = 0
        self._steps: list[CorrectionStep] = []
        self._best: _Round | None = None
        self._best_misfit = math.inf
        self._slopes: FloatArray | None = None
        self._message = "no iteration was made"
        self.stopped: str | None = None

    def run(self, max_iterations: int) -> None:
        here = self._visit(self._target)
        spread = _spread(here)
        self._slopes = self._measured_slopes(here, spread)
        best, shortened = here, 0
        step = self._newton_step(best, spread)
        while self._best_misfit > self._tolerance:
            if len(self._steps) >= max_iterations:
                self._message = (
                    f"after {max_iterations} iterations the mean naive estimate is still "
                    f"{self._best_misfit:.2g} standard deviations off"
                )
                return
            before = self._best_misfit
            here = self._visit(np.clip(best.u + step, self._lower, self._upper))
            if self._best is here:
                best, shortened = here, 0
                spread = _spread(best)
                step = self._newton_step(best, spread)
            else:
                shortened += 1
                step = 0.5 * step
            if shortened > 4:
                self._message = (
                    f"no step comes closer than {before:.2g} standard deviations: simulate more "
                    "data sets, or the slopes are too uncertain"
                )
                return
        if (np.abs(best.u - self._target) > _FAR * spread).any():
            self._slopes = self._measured_slopes(best, spread)
        self._message = (
            f"the mean naive estimate is {self._best_misfit:.2g} standard deviations from that of "
            "the data"
        )

    def stop(self, reason: str) -> None:
        self.stopped = reason
        self._message = f"stopped by {reason}"
        if self._best is not None and self._slopes is None:
            self._message += " before the naive fit was corrected: there are no standard errors"

    def result(self, entropy: int) -> CorrectedFit | None:
        if self._best is None:
            return None
        n_free = self._best.u.size
        slopes = self._slopes if self._slopes is not None else np.full((n_free, n_free), np.nan)
        return CorrectedFit(
            names=self._naive.names,
            naive=self._naive,
            u=self._best.u,
            mean_naive=self._best.mean,
            naive_covariance=self._best.covariance,
            slopes=slopes,
            n_simulations=self._simulator.n,
            tolerance=self._tolerance,
            converged=self._best_misfit <= self._tolerance and self.stopped is None,
            message=self._message,
            steps=tuple(self._steps),
            entropy=entropy,
            stopped=self.stopped,
        )

    def _fits_at(self, u: FloatArray) -> _Round:
        found = self._simulator.fits_at(u)
        self._n_rounds += 1
        self._simulator.report(float(self._n_rounds))
        return found

    def _visit(self, u: FloatArray) -> _Round:
        found = self._fits_at(u)
        misfit = float((np.abs(self._target - found.mean) / _spread(found)).max())
        natural = self._naive.objective.natural(u)
        self._steps.append(CorrectionStep(natural, misfit, found.n_failed))
        if misfit < self._best_misfit:
            self._best, self._best_misfit = found, misfit
        return found

    def _newton_step(self, here: _Round, spread: FloatArray) -> FloatArray:
        assert self._slopes is not None
        step = np.linalg.lstsq(self._slopes, self._target - here.mean, rcond=1e-6)[0]
        size = float((np.abs(step) / spread).max())
        return np.asarray(step * min(1.0, _LARGEST_STEP / size) if size > 0.0 else step)

    def _measured_slopes(self, here: _Round, spread: FloatArray) -> FloatArray:
        """Return d mean naive / d u by differences wide enough to stand out of the noise."""
        slopes = np.empty((here.u.size, here.u.size))
        for k in range(here.u.size):
            size = 1.0 if self._naive.objective.space.is_log[k] else abs(here.u[k])
            reach = max(1.5 * spread[k], _SMALLEST_DIFFERENCE * size)
            ends = []
            for sign in (-1.0, 1.0):
                u = here.u.copy()
                u[k] = np.clip(u[k] + sign * reach, self._lower[k], self._upper[k])
                ends.append(self._fits_at(u))
            low, high = ends
            slopes[:, k] = (high.mean - low.mean) / (high.u[k] - low.u[k])
        return slopes


def _spread(here: _Round) -> FloatArray:
    """Return the standard deviations of a naive estimate, never 0."""
    spread = np.sqrt(np.diag(here.covariance))
    return np.maximum(spread, 1e-12)


def _naive_fits(
    objective: Objective,
    data: list[list[FloatArray]],
    start: FloatArray,
    deadline: float,
    threads: int | None,
) -> list[FloatArray | None]:
    """Return the fit of the rate equations to each data set, or None where there is none."""
    if time.monotonic() > deadline:
        raise _OutOfTimeError
    if can_fit_in_batches(objective):
        try:
            found, converged = fit_data_sets(objective, data, start, deadline)
        except TimeoutError:
            raise _OutOfTimeError from None
        return [u if good else None for u, good in zip(found, converged, strict=True)]
    watch = Watch(deadline - time.monotonic(), lambda done: None)

    def one(index: int) -> FloatArray | None:
        experiments = [
            _with_values(experiment, [values[index] for values in columns])
            for experiment, columns in zip(objective.experiments, data, strict=True)
        ]
        own = Objective(
            objective.recurrence, experiments, objective.space, objective.group_names, threads=1
        )
        found = SEARCHES["least_squares"](own, start, watch, _MOST_TRIALS)
        return found.u if found.converged and math.isfinite(found.value) else None

    with ThreadPoolExecutor(threads) as pool:
        fits = list(pool.map(one, range(len(data[0][0]))))
    if watch.stopped:
        raise _OutOfTimeError
    return fits


def _with_values(experiment: PreparedExperiment, values: list[FloatArray]) -> PreparedExperiment:
    columns = tuple(
        column._replace(values=new) for column, new in zip(experiment.columns, values, strict=True)
    )
    return replace(experiment, columns=columns)


# ---- Checks -------------------------------------------------------------------------------------


def _refuse_what_cannot_be_simulated(objective: Objective) -> None:
    network = objective.recurrence.network
    starts = [name for name in objective.names if initial_name(name)]
    if starts:
        raise NetworkError(
            f"{starts[0]!r} was estimated, but trajectories start from whole counts, so the "
            "naive estimate does not follow it smoothly; fix it to correct the others"
        )
    if objective.recurrence.input_names:
        raise NetworkError(
            f"the input {objective.recurrence.input_names[0]!r} varies in time, which no exact "
            "method can follow; correct a fit without inputs"
        )
    if network.variables:
        raise NetworkError(
            f"the variable {network.variables[0].name!r} has no stochastic counterpart; write it "
            "as a species with reactions"
        )
    for experiment in objective.experiments:
        for name, value in experiment.initial.items():
            if value != round(value):
                raise NetworkError(
                    f"experiment {experiment.name!r} starts from {name} = {value:g}; trajectories "
                    "start from whole counts"
                )


def _checked_errors(objective: Objective, given: Mapping[str, float] | None) -> Mapping[str, float]:
    known = {c.column for experiment in objective.experiments for c in experiment.columns}
    for column, sd in (given or {}).items():
        if column not in known:
            raise NetworkError(
                f"measurement_sd names {column!r}, which was not measured; there are "
                f"{', '.join(sorted(known))}"
            )
        if not 0.0 <= sd < math.inf:
            raise ValueError(f"measurement_sd of {column!r} must be 0 or more, not {sd!r}")
    return dict(given or {})
