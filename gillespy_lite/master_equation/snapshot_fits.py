"""Parameters from snapshots of cells: maximum likelihood with exact laws, and intervals."""

from __future__ import annotations

import html
import math
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ..errors import (
    IdentifiabilityWarning,
    IncompleteWarning,
    Interrupted,
    NetworkError,
    SimulationError,
)
from ..names import did_you_mean
from ..network import Network
from ..progress import Progress, reporter
from ..randomness import generator, take_entropy
from ..results import Distribution, Provenance
from ..run_plan import check_timeout, check_whole
from ..version import STREAM_VERSION, __version__
from .information import FisherInformation
from .observation import summed
from .sensitivities import distribution_of
from .snapshots import (
    Evaluation,
    Improbable,
    SnapshotObjective,
    improbable_text,
    stopped_text,
)
from .state_space import FloatArray

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from ..ode_rnn.estimates import Estimate
    from ..ode_rnn.fit_result import Start
    from ..ode_rnn.profiles import Profile

__all__ = ["SnapshotFit", "fit_snapshots"]

# A search ends where the log-likelihood can rise by less than this, in the quadratic that the
# information makes: 1e-3 standard errors from the top.
_LEAST_RISE = 1e-6
# A step may change the logarithm of a parameter by at most this.
_LONGEST = 1.0
_MOST_STEPS = 60
# Of a profile: how exactly the interval's ends are found, as a share of the standard error.
_END = 1e-3
_MOST_ENDS = 25
_WIDEST = 20.0  # how far a profile goes, in logarithms
# Standard deviation of the logarithms of further starts.
_SPREAD = 1.0
_STARTS = 67  # the key of their stream


class _Place(NamedTuple):
    """What a search climbs: a value, its gradient, and the information in place of curvature."""

    value: float
    gradient: FloatArray
    information: FloatArray
    improbable: int


class _Climb(NamedTuple):
    u: FloatArray
    place: _Place
    converged: bool
    message: str


def _climb(
    evaluate: Callable[[FloatArray], _Place | None],
    u: FloatArray,
    lower: FloatArray,
    upper: FloatArray,
    least_rise: float = _LEAST_RISE,
) -> _Climb | None:
    """Go up by Fisher scoring with a damping as Levenberg's and Marquardt's; None if it cannot.

    References: Levenberg (1944), Q. Appl. Math. 2, 164, doi:10.1090/qam/10666; Osborne (1992), Int.
    Stat. Rev. 60, 99, doi:10.2307/1403504 (Fisher's method of scoring).
    """
    place = evaluate(u)
    if place is None:
        return None
    damping = 1e-4
    for _ in range(_MOST_STEPS):
        gradient, information = place.gradient, place.information
        held = ((u <= lower) & (gradient < 0.0)) | ((u >= upper) & (gradient > 0.0))
        free = np.flatnonzero(~held)
        if not free.size:
            return _Climb(u, place, True, "all estimates ended at their bounds")
        g, h = gradient[free], information[np.ix_(free, free)]
        size = np.maximum(np.diag(h), 1e-12 * max(float(np.diag(h).max()), 1e-300))
        rise = 0.5 * float(g @ np.linalg.lstsq(h + 1e-12 * np.diag(size), g, rcond=None)[0])
        if rise <= least_rise:
            return _Climb(u, place, True, "the top was reached")
        step = np.linalg.lstsq(h + damping * np.diag(size), g, rcond=None)[0]
        step *= min(1.0, _LONGEST / float(np.abs(step).max()))
        trial = u.copy()
        trial[free] = np.clip(u[free] + step, lower[free], upper[free])
        moved = (trial - u)[free]
        expected = float(g @ moved - 0.5 * moved @ h @ moved)
        found = evaluate(trial)
        gain = -math.inf if found is None else found.value - place.value
        if found is not None and gain > 1e-4 * max(expected, 0.0) and gain > 0.0:
            u, place = trial, found
            damping = max(damping * (0.1 if gain > 0.5 * expected else 1.0), 1e-12)
        elif expected <= 1e-9 * abs(place.value):
            return _Climb(u, place, True, "the top was reached, as far as rounding lets see it")
        else:
            damping = max(10.0 * damping, 1e-3)
            if damping > 1e12:
                return _Climb(u, place, False, "no step led up")
    return _Climb(u, place, False, f"still rising after {_MOST_STEPS} steps")


class _Coordinates:
    """Free coordinates: logarithms of what is positive, else the values themselves."""

    def __init__(self, estimates: tuple[Estimate, ...]) -> None:
        self.names = tuple(one.name for one in estimates)
        self.is_log = np.array([one.scale == "log" for one in estimates])
        self.start = self.of(np.array([float(one.start or 0.0) for one in estimates]))
        low, high = np.array([one.bounds for one in estimates], dtype=np.float64).T
        self.lower = np.where(self.is_log, self._logarithm(np.maximum(low, 0.0)), low)
        self.upper = np.where(self.is_log, self._logarithm(np.maximum(high, 0.0)), high)

    @staticmethod
    def _logarithm(values: FloatArray) -> FloatArray:
        with np.errstate(divide="ignore"):
            return np.log(values)

    def of(self, values: FloatArray) -> FloatArray:
        """Return the coordinates of some values."""
        return np.where(self.is_log, self._logarithm(np.maximum(values, 0.0)), values)

    def values(self, u: FloatArray) -> FloatArray:
        """Return the values at some coordinates."""
        with np.errstate(over="ignore"):
            return np.where(self.is_log, np.exp(u), u)

    def slopes(self, u: FloatArray) -> FloatArray:
        """Return d value/d coordinate."""
        return np.where(self.is_log, self.values(u), 1.0)


class _Search:
    """The likelihood, and what helps to find its top, in free coordinates."""

    def __init__(self, objective: SnapshotObjective, coordinates: _Coordinates) -> None:
        self.objective, self.coordinates = objective, coordinates
        self.report: Callable[[float], None] = lambda done: None
        self.trouble = ""

    def evaluated(self, u: FloatArray) -> Evaluation | None:
        """Return the likelihood at u, or None where the network makes no sense."""
        values = self.coordinates.values(u)
        if not np.isfinite(values).all():
            return None
        try:
            found = self.objective.evaluate(values)
        except (SimulationError, NetworkError) as error:
            self.trouble = str(error)
            return None
        return found if math.isfinite(found.value) else None

    def likelihood(self, u: FloatArray) -> _Place | None:
        """Return what a search for the most likely values climbs."""
        found = self.evaluated(u)
        self.report(float(self.objective.n_evaluations))
        if found is None:
            return None
        slopes = self.coordinates.slopes(u)
        return _Place(
            found.value,
            found.gradient * slopes,
            found.information * np.outer(slopes, slopes),
            len(found.improbable),
        )

    def moments(self, u: FloatArray) -> _Place | None:
        """Return minus half the squared distance of means and spreads of the model from the data.

        Where data have no probability that can be told from 0, the likelihood has no slope that
        leads to them; this has.
        """
        values = self.coordinates.values(u)
        try:
            _, laws = self.objective.laws(values)
        except (SimulationError, NetworkError) as error:
            self.trouble = str(error)
            return None
        self.report(float(self.objective.n_evaluations))
        data = self.objective.data
        distances, slopes = [], []
        for k, (distinct, law) in enumerate(laws):
            p, total = law[0], float(law[0].sum())
            n = float(data.counts[k].sum())
            for column in range(distinct.shape[1]):
                seen, x = data.values[k][:, column], distinct[:, column]
                mean = float(data.counts[k] @ seen) / n
                spread = math.sqrt(float(data.counts[k] @ (seen - mean) ** 2) / n) + 0.1
                expected = float(p @ x) / total
                moved = law[1:] @ (x - expected) / total
                square = float(p @ (x - expected) ** 2) / total
                width = math.sqrt(square) + 0.1
                widened = law[1:] @ ((x - expected) ** 2 - square) / total / (2.0 * width)
                distances += [(mean - expected) / spread, (spread - width) / spread]
                slopes += [moved / spread, widened / spread]
        distance = np.array(distances)
        slope = np.array(slopes) * self.coordinates.slopes(u)
        return _Place(-0.5 * float(distance @ distance), slope.T @ distance, slope.T @ slope, 0)

    def from_start(self, u: FloatArray) -> _Climb | None:
        """Climb from u, by moments first if data are improbable there."""
        lower, upper = self.coordinates.lower, self.coordinates.upper
        first = self.likelihood(u)
        if first is None or first.improbable:
            nearer = _climb(self.moments, u, lower, upper, 1e-3)
            if nearer is not None:
                u = nearer.u
        return _climb(self.likelihood, u, lower, upper)

    def held(self, k: int, at: float, u: FloatArray) -> _Climb | None:
        """Climb with coordinate k held at a value, from the others in u."""
        rest = np.delete(np.arange(u.size), k)

        def evaluate(others: FloatArray) -> _Place | None:
            place = self.likelihood(np.insert(others, k, at))
            if place is None:
                return None
            return _Place(
                place.value,
                place.gradient[rest],
                place.information[np.ix_(rest, rest)],
                place.improbable,
            )

        if not rest.size:
            place = self.likelihood(np.array([at]))
            return None if place is None else _Climb(np.array([at]), place, True, "")
        coordinates = self.coordinates
        found = _climb(evaluate, u[rest], coordinates.lower[rest], coordinates.upper[rest])
        return None if found is None else found._replace(u=np.insert(found.u, k, at))


def fit_snapshots(
    network: Network,
    data: Any,
    parameters: Any,
    *,
    observed: Any = None,
    times: Any = None,
    start: float = 0.0,
    initial: Any = None,
    intervals: str = "profile",
    level: float = 0.95,
    starts: int = 1,
    rng: Any = None,
    tolerance: float = 1e-10,
    max_states: int | None = None,
    timeout: float | None = None,
    progress: bool | Progress = False,
) -> SnapshotFit:
    """Return the parameters that make snapshots of cells most likely, with intervals.

    The likelihood is exact, that of the master equation (see `snapshot_likelihood`), and so is its
    gradient. The search is Fisher's method of scoring with Levenberg's and Marquardt's damping, in
    logarithms of positive parameters. Where the data are too improbable at the start to say where
    to go, means and spreads are fitted first.

    Parameters
    ----------
    network : Network
        Without events, and without rates that depend on t. Its values are where the search starts.
    data : mapping of float to array_like, or Ensemble
        As in `snapshot_likelihood`.
    parameters : str, Estimate, sequence of them, or mapping of str to bounds
        What to estimate: names, ``Estimate("k", start=2, lower=0.1)`` of `gillespy_lite.ode_rnn`,
        or ``{"k": (0.1, 10), "g": None}``, as in `fit`.
    observed, times, start, initial
        As in `snapshot_likelihood`.
    intervals : {"profile", "wald"}, optional
        The intervals that the result shows: of the likelihood profile, or from the Fisher
        information, which costs nothing and is symmetric in the logarithm.
    level : float, optional
        Their level.
    starts : int, optional
        Searches; all but the first start at a random factor from the network's values.
    rng : None, int, SeedSequence or Generator, optional
        For those factors.
    tolerance, max_states, timeout, progress
        As in `master_equation_sensitivities`; after the time limit, the fit is the best one so far.

    Returns
    -------
    SnapshotFit
        Estimates, standard errors, intervals, profiles, the fitted laws, plots.

    Raises
    ------
    ValueError, TypeError, NetworkError, MethodError
        If data or arguments make no sense; the message says which and what to do.
    SimulationError
        If a propensity is negative or not finite wherever the search starts.
    Interrupted
        On Ctrl-C; `error.result` is the fit as far as it was, None before a first search ended.

    Warns
    -----
    IncompleteWarning
        If the time limit ran out, or the best fit leaves data without a probability.
    IdentifiabilityWarning
        If a combination of parameters leaves the likelihood as it is.

    References
    ----------
    Fox, Neuert and Munsky (2016), J. Chem. Phys. 145, 074101, doi:10.1063/1.4960505. Venzon and
    Moolgavkar (1988), J. R. Stat. Soc. C 37, 87, doi:10.2307/2347496 (intervals by the profile).
    """
    from ..ode_rnn.estimates import read_estimates

    started = time.perf_counter()
    if intervals not in ("profile", "wald"):
        raise ValueError(f"intervals must be 'profile' or 'wald', not {intervals!r}")
    _check_level(level)
    n_starts = check_whole(starts, "starts", 1)
    asked = read_estimates(parameters)
    objective = SnapshotObjective(
        *(network, data, [one.name for one in asked]),
        observed=observed,
        times=times,
        start=start,
        initial=initial,
        tolerance=tolerance,
        max_states=max_states,
    )
    if not all(one.shared for one in asked):
        raise ValueError("shared=False is about several experiments, and snapshots are one")
    own = objective.values.tolist()
    coordinates = _Coordinates(tuple(one.resolved(v) for one, v in zip(asked, own, strict=True)))
    entropy = take_entropy(rng)
    search = _Search(objective, coordinates)
    deadline = time.monotonic() + check_timeout(timeout)
    objective.deadline = deadline
    search.report = reporter(progress, math.inf, "fit_snapshots: evaluations")
    found: list[tuple[FloatArray, _Climb]] = []
    stopped: str | None = None
    profiles: dict[str, Profile] = {}
    draws = generator(entropy, _STARTS).normal(0.0, _SPREAD, (n_starts, len(asked)))
    try:
        for k in range(n_starts):
            u = coordinates.start.copy()
            if k > 0:
                size = np.where(coordinates.is_log, 1.0, np.maximum(np.abs(u), 1.0))
                u = np.clip(u + size * draws[k], coordinates.lower, coordinates.upper)
            climb = search.from_start(u)
            if climb is not None:
                found.append((u, climb))
    except TimeoutError:
        stopped = "timeout"
    except KeyboardInterrupt:
        stopped = "interrupt"
    if not found:
        if stopped == "interrupt":
            raise Interrupted("interrupted; no search had ended")
        if stopped == "timeout":
            raise ValueError(
                f"no search ended within timeout = {timeout:g} s; give more time, start nearer, or "
                "ask for a larger tolerance"
            )
        raise SimulationError(
            f"the network makes no sense at any start: {search.trouble or 'likelihood not finite'}"
        )
    found.sort(key=lambda one: -one[1].place.value)
    best = found[0][1]
    objective.deadline = math.inf
    at_top = search.evaluated(best.u)
    assert at_top is not None  # it was evaluated before
    fit = _result(search, found, at_top, stopped, intervals, level, entropy, started, profiles)
    if stopped is None and intervals == "profile":
        objective.deadline = deadline
        try:
            for name in fit.names:
                profiles[name] = fit.profile(name, level=level)
        except TimeoutError:
            stopped = "timeout"
        except KeyboardInterrupt:
            stopped = "interrupt"
        objective.deadline = math.inf
    options = {**fit.provenance.options, "n_evaluations": objective.n_evaluations}
    elapsed = time.perf_counter() - started
    provenance = replace(fit.provenance, options=options, elapsed=elapsed)
    fit = replace(fit, stopped=stopped, provenance=provenance)
    if stopped == "interrupt":
        raise Interrupted("interrupted; the fit so far is in the error's .result", fit)
    _warn(fit, at_top, objective)
    return fit


def _check_level(level: float) -> None:
    if not 0.0 < level < 1.0:
        raise ValueError(f"level must be between 0 and 1, not {level!r}")


def _result(
    search: _Search,
    found: list[tuple[FloatArray, _Climb]],
    at_top: Evaluation,
    stopped: str | None,
    intervals: str,
    level: float,
    entropy: int,
    started: float,
    profiles: dict[str, Profile],
) -> SnapshotFit:
    from ..ode_rnn.fit_result import Start

    objective, coordinates = search.objective, search.coordinates
    best = found[0][1]
    values = coordinates.values(best.u)
    network = objective.relative(values)
    law = distribution_of(objective.solver, at_top.solved, network, started, objective.max_states)

    def named(u: FloatArray) -> dict[str, float]:
        return dict(zip(coordinates.names, coordinates.values(u).tolist(), strict=True))

    return SnapshotFit(
        law=law,
        u=best.u,
        information=FisherInformation(
            parameters=coordinates.names,
            values=values,
            times=objective.data.times,
            n=objective.data.n,
            observed=objective.data.observation.names,
            by_time=at_top.information_by_time,
        ),
        log_likelihood=at_top.value,
        error_bound=at_top.error,
        gradient=at_top.gradient,
        improbable=at_top.improbable,
        converged=best.converged,
        message=best.message,
        starts=tuple(
            Start(named(u), named(one.u), -one.place.value, one.converged, one.message, 0)
            for u, one in found
        ),
        stopped=stopped,
        interval_kind=intervals,
        level=level,
        profiles=profiles,
        provenance=Provenance(
            network=network,
            method="uniformisation",
            method_reason="maximum likelihood by Fisher's scoring",
            options={"tolerance": objective.solver.tolerance, "starts": len(found)},
            entropy=entropy,
            stream_version=STREAM_VERSION,
            package_version=__version__,
            elapsed=time.perf_counter() - started,
        ),
        search=search,
    )


def _warn(fit: SnapshotFit, at_top: Evaluation, objective: SnapshotObjective) -> None:
    if fit.stopped == "timeout":
        warnings.warn(
            f"the time limit ran out: the fit is the best of {len(fit.starts)} searches that ended,"
            f" with profiles of {', '.join(fit.profiles) or 'no parameter'}",
            IncompleteWarning,
            stacklevel=3,
        )
    if fit.improbable:
        warnings.warn(improbable_text(fit.improbable, objective), IncompleteWarning, stacklevel=3)
    elif at_top.solved.stopped:
        warnings.warn(stopped_text(at_top, objective), IncompleteWarning, stacklevel=3)
    for flat in fit.information.identifiability:
        warnings.warn(str(flat), IdentifiabilityWarning, stacklevel=3)


@dataclass(frozen=True, eq=False, repr=False)
class SnapshotFit:
    """Estimates from snapshots, how sure they are, and the laws that they give.

    ``result["k"]`` is the estimate of k. Printing shows a table. Units are those of the network.

    Attributes
    ----------
    law : Distribution
        The fitted law at the times of the data, with an error bound.
    information : FisherInformation
        At the estimates.
    log_likelihood : float
        At the estimates.
    error_bound : float
        By how much it may be too small.
    gradient : ndarray, shape (n_parameters,), float64
        Of the log-likelihood to the parameters.
    improbable : tuple of Improbable
        What was seen and has a probability below the tolerance.
    converged : bool
        Whether the best search reached the top.
    message : str
        How it ended.
    starts : tuple of Start
        All searches that ended, the best first.
    stopped : str or None
        What cut the fit short: "timeout", "interrupt"; None if it ran to its end.
    interval_kind, level : str, float
        What the table shows: "profile" or "wald", and the level.
    profiles : dict of str to Profile
        Likelihood profiles that were worked out; `profile` adds more.
    provenance : Provenance
        How it was made.
    """

    law: Distribution
    u: FloatArray  # (n_parameters,) free coordinates
    information: FisherInformation
    log_likelihood: float
    error_bound: float
    gradient: FloatArray
    improbable: tuple[Improbable, ...]
    converged: bool
    message: str
    starts: tuple[Start, ...]
    stopped: str | None
    interval_kind: str
    level: float
    profiles: dict[str, Profile]
    provenance: Provenance
    search: _Search

    # ---- Numbers --------------------------------------------------------------------------------

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the estimates."""
        return self.information.parameters

    @property
    def estimates(self) -> dict[str, float]:
        """The most likely values."""
        return dict(zip(self.names, self.information.values.tolist(), strict=True))

    def __getitem__(self, name: str) -> float:
        """Return one estimate."""
        return self.estimates[self.names[self._place(name)]]

    def _place(self, name: str) -> int:
        if name not in self.names:
            raise KeyError(
                f"{name!r} was not estimated{did_you_mean(name, self.names)}; there are "
                f"{', '.join(self.names)}"
            )
        return self.names.index(name)

    @property
    def network(self) -> Network:
        """The network with the estimates in place of its values."""
        return self.law.network

    @property
    def n_cells(self) -> int:
        """Cells in all."""
        return int(self.search.objective.data.n.sum())

    @property
    def standard_errors(self) -> dict[str, float]:
        """From the Fisher information; inf for what is not determined, nan at a bound."""
        errors = np.sqrt(np.diag(self.covariance))
        return dict(zip(self.names, errors.tolist(), strict=True))

    @cached_property
    def at_bound(self) -> tuple[str, ...]:
        """Estimates that ended at a bound; they count as fixed in the uncertainty."""
        coordinates = self.search.coordinates
        at = (self.u <= coordinates.lower) | (self.u >= coordinates.upper)
        return tuple(np.array(self.names)[at].tolist())

    @property
    def covariance(self) -> FloatArray:
        """The inverse of the information, (n_parameters, n_parameters); nan at a bound."""
        inner = [k for k, name in enumerate(self.names) if name not in self.at_bound]
        found = np.full((len(self.names), len(self.names)), np.nan)
        if inner:
            part = replace(
                self.information,
                parameters=tuple(self.names[k] for k in inner),
                values=self.information.values[inner],
                by_time=self.information.by_time[:, inner][:, :, inner],
            )
            found[np.ix_(inner, inner)] = part.covariance
        return found

    @property
    def correlation(self) -> FloatArray:
        """Correlation of the estimates, (n_parameters, n_parameters)."""
        covariance = self.covariance
        errors = np.sqrt(np.diag(covariance))
        with np.errstate(invalid="ignore"):
            return np.asarray(covariance / np.outer(errors, errors))

    @property
    def aic(self) -> float:
        """Akaike's information criterion; smaller is better."""
        return 2.0 * len(self.names) - 2.0 * self.log_likelihood

    @property
    def bic(self) -> float:
        """Bayesian information criterion (Schwarz's), of cells; smaller is better."""
        return len(self.names) * math.log(self.n_cells) - 2.0 * self.log_likelihood

    def confidence_intervals(
        self, level: float | None = None, *, kind: str | None = None
    ) -> dict[str, tuple[float, float]]:
        """Return confidence intervals.

        Parameters
        ----------
        level : float, optional
            Probability that an interval holds the true value; by default that of the fit.
        kind : {"profile", "wald"}, optional
            By the likelihood profile, or by the Fisher information, on the scale of the search; by
            default that of the fit.

        Returns
        -------
        dict of str to (float, float)
            Lower and upper end; nan of "wald" for what ended at a bound.
        """
        level = self.level if level is None else level
        kind = self.interval_kind if kind is None else kind
        _check_level(level)
        if kind not in ("profile", "wald"):
            raise ValueError(f"kind must be 'profile' or 'wald', not {kind!r}")
        if kind == "profile":
            return {name: self.profile(name, level=level).interval for name in self.names}
        from scipy.special import ndtri

        reach = self._errors * float(ndtri(0.5 * (1.0 + level)))
        coordinates = self.search.coordinates
        low, high = coordinates.values(self.u - reach), coordinates.values(self.u + reach)
        return {
            name: (float(a), float(b)) for name, a, b in zip(self.names, low, high, strict=True)
        }

    @property
    def _errors(self) -> FloatArray:
        """Standard errors in the free coordinates."""
        slopes = self.search.coordinates.slopes(self.u)
        return np.asarray(np.sqrt(np.diag(self.covariance)) / slopes)

    def profile(self, name: str, *, level: float | None = None) -> Profile:
        """Return the likelihood profile of one estimate, with its interval.

        The estimate is held at values to both sides, and the others are fitted at each, until the
        log-likelihood has fallen by half the quantile of chi-square at the level.

        Parameters
        ----------
        name : str
            The estimate.
        level : float, optional
            Level of the interval; by default that of the fit.

        Returns
        -------
        Profile
            Values, losses, the other estimates, and the interval.
        """
        level = self.level if level is None else level
        _check_level(level)
        k = self._place(name)
        known = self.profiles.get(name)
        if known is not None and known.level == level:
            return known
        found = _profile(self, k, level)
        if level == self.level:
            self.profiles[name] = found
        return found

    # ---- Tables and plots -----------------------------------------------------------------------

    def _rows(self) -> list[tuple[str, str, str, str]]:
        kind = self.interval_kind
        if kind == "profile" and any(name not in self.profiles for name in self.names):
            kind = "wald"
        intervals = self.confidence_intervals(kind=kind)
        errors = self.standard_errors
        return [
            (
                name,
                f"{value:.5g}",
                f"{errors[name]:.2g}",
                "{:.5g} to {:.5g}".format(*intervals[name]),
            )
            for name, value in self.estimates.items()
        ]

    def _header(self) -> tuple[str, str, str, str]:
        kind = self.interval_kind
        if kind == "profile" and any(name not in self.profiles for name in self.names):
            kind = "wald"
        return ("name", "estimate", "std. error", f"{100 * self.level:g} % interval ({kind})")

    def _title(self) -> str:
        times = len(self.information.times)
        return (
            f"Fit of {', '.join(self.names)} to {self.n_cells} cells at {times} "
            f"{'time' if times == 1 else 'times'}, seen {', '.join(self.information.observed)}"
        )

    def _notes(self) -> list[str]:
        told = f"; best of {len(self.starts)} searches" if len(self.starts) > 1 else ""
        notes = [
            f"log-likelihood {self.log_likelihood:.8g}, too small by at most "
            f"{self.error_bound:.1g}; AIC {self.aic:.6g}, BIC {self.bic:.6g}",
            f"{'converged' if self.converged else 'NOT converged'}: {self.message}{told}",
        ]
        notes += [
            f"{name} ended at a bound; its uncertainty is not known" for name in self.at_bound
        ]
        notes += [f"improbable: {one}" for one in self.improbable[:5]]
        notes += [str(one) for one in self.information.identifiability]
        return notes

    def summary(self) -> str:
        """Return the estimates as a table, and how good the fit is."""
        header, rows = self._header(), self._rows()
        widths = [max(map(len, column)) for column in zip(header, *rows, strict=True)]
        lines = [self._title(), ""]
        for row in (header, *rows):
            cells = [cell.rjust(w) for cell, w in zip(row[1:], widths[1:], strict=True)]
            lines.append("  ".join([row[0].ljust(widths[0]), *cells]))
        return "\n".join([*lines, "", *self._notes()])

    def __str__(self) -> str:
        """Return `summary`."""
        return self.summary()

    def __repr__(self) -> str:
        """Return the estimates in one line."""
        shown = ", ".join(f"{name}={value:.4g}" for name, value in self.estimates.items())
        return f"<SnapshotFit: {shown}>"

    def _repr_html_(self) -> str:
        head = "".join(f"<th>{html.escape(cell)}</th>" for cell in self._header())
        body = "".join(
            "<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in row) + "</tr>"
            for row in self._rows()
        )
        notes = "<br>".join(html.escape(note) for note in self._notes())
        return (
            f"<table><caption>{html.escape(self._title())}</caption><tr>{head}</tr>{body}</table>"
            f"<p>{notes}</p>"
        )

    def observed_law(self, t: float | None = None) -> tuple[FloatArray, FloatArray, FloatArray]:
        """Return what was seen at one time beside the fitted law of it.

        Parameters
        ----------
        t : float, optional
            A time of the data, by default the last.

        Returns
        -------
        values : ndarray, shape (n, n_observed), float64
            What may be seen, and what was.
        counts : ndarray, shape (n,), float64
            In how many cells it was.
        probabilities : ndarray, shape (n,), float64
            By the fit.
        """
        from .observation import group_states

        data = self.search.objective.data
        k = len(data.times) - 1
        if t is not None:
            near = np.flatnonzero(np.abs(data.times - t) <= 1e-12 * max(1.0, abs(data.times[-1])))
            if not near.size:
                raise ValueError(
                    f"t = {t:g} is no time of the data; there are "
                    f"{', '.join(f'{one:g}' for one in data.times)}"
                )
            k = int(near[0])
        time_of = float(data.times[k])
        states = self.law.states_at(time_of)
        columns = data.observation.columns(self.network, states, time_of)
        values, place = group_states(np.concatenate([columns, data.values[k]]))
        rows = np.zeros((2, len(place)))
        rows[0, len(states) :] = data.counts[k]
        rows[1, : len(states)] = self.law.probabilities_at(time_of)
        counts, probabilities = summed(place, rows, len(values))
        return values, counts, probabilities

    def plot(self, kind: str = "law", *, ax: Axes | None = None, **options: Any) -> Axes:
        """Draw the fit.

        Parameters
        ----------
        kind : {"law", "profile"}, optional
            Shares of cells as bars with the fitted law over them, of one name at one time (``t=``,
            ``name=``); the likelihood profile of one estimate (``name=``).
        ax : matplotlib Axes, optional
            Where to draw; by default a new figure.
        **options
            Of that kind.
        """
        from ..plotting.snapshots import plot_snapshot_fit

        return plot_snapshot_fit(self, kind, ax=ax, **options)


# ---- Profiles -----------------------------------------------------------------------------------


def _profile(fit: SnapshotFit, k: int, level: float) -> Profile:
    """Hold one coordinate to both sides of its best until the likelihood has fallen enough."""
    from scipy.special import ndtri

    from ..ode_rnn.profiles import Profile

    search, coordinates = fit.search, fit.search.coordinates
    root = float(ndtri(0.5 * (1.0 + level)))  # of twice the loss at the ends
    error = float(fit._errors[k])
    if not (math.isfinite(error) and error > 0.0):
        error = 0.5
    error = min(error, 2.0)
    points: list[tuple[FloatArray, float]] = [(fit.u, 0.0)]
    ends = []
    for sign in (-1.0, 1.0):
        bound = float((coordinates.lower if sign < 0.0 else coordinates.upper)[k])
        end, found = _end_of_profile(search, fit, k, sign, root, error, bound)
        ends.append(end)
        points += found
    points.sort(key=lambda one: float(one[0][k]))
    us = np.array([u for u, _ in points])

    def value(end: float) -> float:
        if coordinates.is_log[k]:
            return math.exp(end) if end < 700.0 else math.inf
        return end

    natural = np.array([coordinates.values(u) for u in us])
    return Profile(
        name=fit.names[k],
        values=natural[:, k],
        loss=np.maximum(np.array([loss for _, loss in points]), 0.0),
        others=natural,
        names=fit.names,
        estimate=fit.estimates[fit.names[k]],
        level=level,
        threshold=0.5 * root**2,
        interval=(value(ends[0]), value(ends[1])),
    )


def _end_of_profile(
    search: _Search,
    fit: SnapshotFit,
    k: int,
    sign: float,
    root: float,
    error: float,
    bound: float,
) -> tuple[float, list[tuple[FloatArray, float]]]:
    """Return where the root of twice the loss passes `root` on one side, and all points there."""
    is_log = bool(search.coordinates.is_log[k])
    home = float(fit.u[k])
    widest = _WIDEST if is_log else _WIDEST * max(abs(home), error)
    found: list[tuple[FloatArray, float]] = []

    def loss_at(distance: float) -> float:
        """Return the root of twice the loss with the coordinate held so far away."""
        at = home + sign * distance
        nearest = min([(fit.u, 0.0), *found], key=lambda one: abs(float(one[0][k]) - at))
        climb = search.held(k, at, nearest[0])
        if climb is None:
            return math.inf
        loss = fit.log_likelihood - climb.place.value
        found.append((climb.u, loss))
        return math.copysign(math.sqrt(2.0 * abs(loss)), loss)

    inside, inside_root = 0.0, 0.0
    outside, outside_root = math.inf, math.inf
    close = False
    limit = min(widest, abs(bound - home))
    if limit == 0.0:
        return bound, found
    distance = min(0.5 * root * error, limit)
    for _ in range(_MOST_ENDS):
        here = loss_at(distance)
        if here < root:
            inside, inside_root = distance, here
            if distance >= limit:
                return (bound if math.isfinite(bound) else sign * math.inf), found
        else:
            outside, outside_root = distance, here
        close = abs(here - root) <= _END
        if close or (math.isfinite(outside) and outside - inside <= 1e-9 * outside):
            break
        if math.isfinite(outside_root):
            share = (root - inside_root) / (outside_root - inside_root)
            distance = inside + (outside - inside) * min(max(share, 0.02), 0.98)
        elif math.isfinite(outside):
            distance = 0.5 * (inside + outside)
        else:
            # The root is about a straight line near the top; no more than three times as far.
            slope = inside_root / inside
            ahead = 1.02 * root / slope if slope > 0.0 else math.inf
            distance = min(ahead, 3.0 * distance, limit)
    return home + sign * distance if close else home + sign * inside, found
