"""Means with control variates: the noise that a linear theory explains is taken out, exactly.

For any weights w(s) that do not look ahead, the martingale Z = sum over the reactions of the
integral of w(s) . v_j (dN_j - a_j ds) has mean 0, whatever the network. With the weights of the
linear noise approximation it follows the fluctuations of what is estimated, so that the estimate
less Z has the same mean and a smaller variance.
"""

from __future__ import annotations

import math
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..dsl import parse_expression
from ..engines import Engine
from ..errors import (
    IncompleteWarning,
    Interrupted,
    NetworkError,
    NotEnoughMemoryError,
    SimulationError,
)
from ..expressions import Call, Expression
from ..kernels.arrays import Output, Walker
from ..kernels.lane_martingales import run_martingale_lanes
from ..kernels.martingales import WeightedNetwork, run_martingales
from ..lane_compilation import compile_martingale_lanes, why_no_lanes
from ..network import Network
from ..operations import CONDITIONS
from ..progress import Progress, reporter
from ..randomness import seed_sequence, stream_key, take_entropy
from ..results import Provenance
from ..run_plan import RunPlan, check_timeout, check_whole
from ..workers import cores
from .adjoint import Weights, reaction_weights
from .running import MOST_TRAJECTORIES
from .runs import check_confidence
from .sampling import Sampler, parts_with_streams, plan_of_reactions, values_of
from .schedule import PLANNED_SHARE, Look, looks
from .tallies import Interval, MeanTally, half_width, wanted_width
from .targets import LAST, Target

__all__ = ["ControlledMean", "controlled_mean"]

FloatArray = NDArray[np.float64]

_STREAMS, _PILOT = "controlled_mean", 0x636F6E74
_LEAST_PILOT, _PILOT_PER_REACTION = 256, 20


@dataclass(frozen=True, eq=False, repr=False)
class ControlledMean:
    """A mean estimated with control variates.

    Attributes
    ----------
    what : str
        The expression whose mean it is.
    t : float
        At which time.
    estimate : float
        The mean, without bias.
    lower, upper : float
        Ends of its confidence interval.
    confidence : float
        Of the interval; with a tolerance, of those of all looks together.
    standard_error : float
        Of the estimate.
    n, n_pilot : int
        Trajectories that the estimate comes from, and those that found the coefficients.
    plain_estimate, plain_standard_error : float
        From the same trajectories, without controls.
    variance_ratio : float
        Variance of a trajectory's value without controls over that with them: as many times fewer
        trajectories give the same error.
    coefficients : ndarray, shape (n_reactions,), float64
        Of the reactions' martingales.
    reached : bool
        Whether the tolerance is; True where none was given.
    network, provenance : Network, Provenance
        What was run, and how.
    stopped : str or None
        What cut the run short: "timeout", "interrupt", "error" or "max_n".
    """

    what: str
    t: float
    estimate: float
    lower: float
    upper: float
    confidence: float
    standard_error: float
    n: int
    n_pilot: int
    plain_estimate: float
    plain_standard_error: float
    variance_ratio: float
    coefficients: FloatArray
    reached: bool
    network: Network
    provenance: Provenance
    stopped: str | None

    def __repr__(self) -> str:
        """Return the estimate, its interval and what the controls save."""
        cut = f", stopped by {self.stopped}" if self.stopped else ""
        return (
            f"<ControlledMean of {self.what} at t = {self.t:g}: {self.estimate:.6g}, "
            f"{self.lower:.6g} to {self.upper:.6g} ({100.0 * self.confidence:g} %), "
            f"{self.n} trajectories in place of {self.n * self.variance_ratio:.3g}{cut}>"
        )


@dataclass(frozen=True)
class _ControlledPlan(RunPlan):
    """A plan whose kernel fills martingales in the place of values: of each reaction, or their sum.

    The sum goes in lanes where it can.
    """

    weights: Weights
    is_sum: bool = False

    @property
    def n_martingales(self) -> int:
        """How many numbers are filled."""
        return 1 if self.is_sum else self.network.n_reactions

    @property
    def kernel(self) -> Any:
        """The kernel that samples."""
        return run_martingales

    @cached_property
    def arrays(self) -> Any:
        """What the kernel reads of the network."""
        return WeightedNetwork(
            self.compiled.arrays,
            np.ascontiguousarray(self.weights.edges),
            np.ascontiguousarray(self.weights.values),
        )

    def walker(self) -> Walker:
        """Return a thread's own working arrays."""
        walker = super().walker()
        assert isinstance(walker, Walker)
        return walker._replace(reals=np.zeros(3 * self.network.n_reactions))

    def output(self, n_rows: int, n_events: int = 0) -> Output:
        """Return arrays for the last state and the martingales of `n_rows` trajectories."""
        output = super().output(n_rows, n_events)
        return output._replace(
            counts=np.empty((n_rows, 1, self.network.n_species), dtype=np.int64),
            values=np.empty((n_rows, 1, self.n_martingales)),
        )

    def summed(self, coefficients: FloatArray) -> _ControlledPlan:
        """Return the plan for a linear combination of the reactions' martingales."""
        weights = self.weights._replace(values=self.weights.values * coefficients)
        engine = self.engine
        if why_no_lanes(self.compiled) is None:
            engine = Engine(
                "lanes",
                "one number is wanted of each path",
                lanes=compile_martingale_lanes(self.compiled, *weights),
                lane_kernel=run_martingale_lanes,
            )
        return replace(self, weights=weights, is_sum=True, engine=engine)


class _Sampler(Sampler):
    """Runs trajectories and gives their values and martingales."""

    def __init__(
        self, plan: _ControlledPlan, what: Expression, n_threads: int, until: float
    ) -> None:
        super().__init__(plan, plan.network.n_species + plan.n_martingales, n_threads, until)
        self._what, self._network, self._end = what, plan.network, float(plan.times[-1])

    def values(
        self, first: int, last: int, tell: Callable[[float], None]
    ) -> Iterator[tuple[FloatArray, FloatArray]]:
        """Give values (n,) and martingales (n, n_martingales) until all are done or it must end."""
        for portion in self.portions(first, last, tell):
            counts, martingales = portion["counts"][:, 0], portion["values"][:, 0]
            yield values_of(self._what, self._network, self._end, counts), martingales


def controlled_mean(
    network: Network,
    t: Any,
    what: str | Expression,
    n: int | None = None,
    *,
    tolerance: float | str | None = None,
    confidence: float | None = None,
    max_n: int | None = None,
    max_time: float | None = None,
    rng: Any = None,
    seed: Any = None,
    threads: int | None = None,
    progress: bool | Progress = False,
    max_events: int | None = None,
) -> ControlledMean:
    """Estimate a mean with control variates from the linear noise approximation.

    The number of firings of a reaction less the integral of its propensity is a martingale of mean
    0, and so is its integral over weights that are fixed beforehand. Weighted with the change that
    a firing makes in the mean of `what` to first order, these martingales follow its fluctuations;
    the estimate is the mean of `what` less a linear combination of them. It has no bias, however
    bad the approximation is: the martingales' means are exactly 0, and the coefficients come from
    a pilot with random streams of its own. How much it saves depends on the network, a lot where
    counts are large and fluctuations about one path, nothing where paths part (`variance_ratio`
    measures it).

    Parameters
    ----------
    network : Network
        Of reactions whose rates do not depend on t, without variables, events and delays; at most
        100 species.
    t : float or array_like, shape (n_times,)
        The end time, or times of which the first is when the initial state holds and the last when
        the mean is taken.
    what : str or Expression
        Such as ``"P"`` or ``"P*Q"``, of species, observables and parameters.
    n : int, optional
        Number of trajectories, besides the pilot; or give `tolerance`.
    tolerance : float or str, optional
        Go on until half the interval is this small: a number in the unit of the mean, or text such
        as ``"1%"`` of it. The looks are those of ``ensemble(..., until=...)``.
    confidence : float, optional
        Of the interval; 0.95 by default.
    max_n, max_time : int and float, optional
        With `tolerance`: most trajectories (10 million by default), and seconds.
    rng, seed : optional
        As for `ensemble`; trajectories are not those of `ensemble`.
    threads : int, optional
        Threads to use; all cores by default. It changes no number.
    progress : bool or callable, optional
        As for `ensemble`.
    max_events : int, optional
        Most events of one trajectory before `EventLimitError`.

    Returns
    -------
    ControlledMean
        Estimate, interval, and how many times the variance was reduced.

    Raises
    ------
    ValueError, TypeError
        If an argument makes no sense.
    NetworkError
        If the network has variables, events, delays, rates that depend on t, or too many species.
    SimulationError, Interrupted
        As `ensemble` does.

    References
    ----------
    Martingales of reactions: Anderson and Kurtz (2011), in Design and Analysis of Biomolecular
    Circuits, doi:10.1007/978-1-4419-6766-4_1. Controls from moment equations, of which these are
    the linear ones with optimal weights: Backenkohler, Bortolussi and Wolf (2019),
    doi:10.1007/978-3-030-31304-3_3. Weights: van Kampen (2007), chapter X, ISBN 978-0-444-52965-7.
    """
    confidence = check_confidence(confidence)
    limits = {"max_n": max_n, "max_time": max_time}
    wanted = None if tolerance is None else _tolerance(tolerance)
    if (n is None) == (wanted is None):
        raise ValueError("give either n=, a number of trajectories, or tolerance=, such as '1%'")
    if wanted is None and (given := [name for name, one in limits.items() if one is not None]):
        raise ValueError(f"{given[0]}= goes with tolerance=, which is not given")
    most = MOST_TRAJECTORIES if max_n is None else check_whole(max_n, "max_n", 2)
    n_threads = cores() if threads is None else check_whole(threads, "threads", 1)
    plan, expression, text = _planned(network, t, what, rng, seed, max_events)
    sampler_until = time.monotonic() + check_timeout(max_time, "max_time")
    coefficients, pilot, n_pilot, end = _pilot(plan, expression, n_threads, sampler_until)
    alpha = 1.0 - confidence
    target = Target("mean", expression, LAST, *(wanted or (math.inf, False)))
    sequence: Iterator[Look]
    if n is not None:
        sequence = iter([Look(check_whole(n, "n", 2), 1.0)])
    else:
        needed = pilot.needed(alpha * PLANNED_SHARE, target).n if end is None else 1.0
        sequence = looks(needed, most)
    run = _Looking(plan, expression, n_threads, sampler_until, coefficients, pilot.fresh())
    run.stopped = end
    report = reporter(progress, n if n is not None else most, "controlled mean")
    interval, reached = Interval(math.nan, -math.inf, math.inf), False
    for look in sequence if end is None else ():
        if not run.to(look.n, report):
            break
        interval = run.controlled.interval(alpha * look.share)
        width = wanted_width(target, interval.estimate)
        reached = half_width(interval) <= width and (
            n is not None or not run.controlled.doubt(alpha * look.share)
        )
        if reached:
            break
    if run.stopped is None and not reached:
        run.stopped = "max_n"
    result = run.result(text, interval, confidence, n_pilot, reached)
    if run.failure is not None:
        run.failure.result = result
        raise run.failure
    if run.stopped == "interrupt":
        raise Interrupted("interrupted; what is known is in the error's .result", result)
    if run.stopped is not None:
        warnings.warn(
            f"stopped by {run.stopped} with {run.controlled.n} trajectories before the tolerance "
            "was reached; the result has the interval of the last look",
            IncompleteWarning,
            stacklevel=2,
        )
    return result


def _tolerance(tolerance: float | str) -> tuple[float, bool]:
    """Return a tolerance and whether it is relative."""
    is_text = isinstance(tolerance, str)
    text = str(tolerance).strip()
    try:
        value = float(text.removesuffix("%")) / (100.0 if text.endswith("%") else 1.0)
    except ValueError:
        value = math.nan
    if isinstance(tolerance, bool) or not 0.0 < value < math.inf or (is_text and value >= 1.0):
        raise ValueError(
            f"tolerance must be a number above 0, or a percentage such as '1%', not {tolerance!r}"
        )
    return value, is_text and text.endswith("%")


def _planned(
    network: Network, t: Any, what: str | Expression, rng: Any, seed: Any, max_events: int | None
) -> tuple[_ControlledPlan, Expression, str]:
    plan = plan_of_reactions(network, t, rng, seed, max_events)
    compiled = plan.compiled
    if compiled.moves:
        raise NetworkError(
            "controlled_mean needs reactions whose rates change with the counts alone, without "
            "variables, events, delays and t; use ensemble(..., until='mean(...) +/- 1%')"
        )
    if not isinstance(what, str | Expression):
        raise TypeError(f"what must be an expression such as 'P', not {what!r}")
    tree = parse_expression(what) if isinstance(what, str) else what
    if isinstance(tree, Call) and tree.operation in CONDITIONS:
        raise ValueError(
            f"{tree} is a condition, which no linear theory follows; use "
            f"ensemble(..., until='prob({tree}) +/- 5%')"
        )
    expression = network.expanded(tree)
    weights = reaction_weights(network, float(plan.times[0]), float(plan.times[-1]), expression)
    reason = "with martingales of the reactions as control variates"
    parts = parts_with_streams(plan, _STREAMS, reason)
    return _ControlledPlan(**parts, weights=weights), expression, str(tree)


def _pilot(
    plan: _ControlledPlan, what: Expression, n_threads: int, until: float
) -> tuple[FloatArray, MeanTally, int, str | None]:
    """Return coefficients, controlled values of the pilot, its size, and what cut it short."""
    n_reactions = plan.network.n_reactions
    n = max(_LEAST_PILOT, _PILOT_PER_REACTION * n_reactions)
    entropy = take_entropy(seed_sequence(plan.entropy, _PILOT))
    request = plan.request._replace(key=stream_key(entropy, _STREAMS))
    sampler = _Sampler(replace(plan, request=request), what, n_threads, until)
    pieces = list(sampler.values(0, n, lambda done: None))
    if sampler.failure is not None:
        raise sampler.failure
    if sampler.stopped is not None:
        return np.zeros(n_reactions), MeanTally(), 0, sampler.stopped
    values = np.concatenate([one for one, _ in pieces])
    martingales = np.concatenate([one for _, one in pieces])
    coefficients = _regression(values, martingales)
    tally = MeanTally()
    tally.add(values - martingales @ coefficients)
    return coefficients, tally, n, None


def _regression(values: FloatArray, martingales: FloatArray) -> FloatArray:
    """Return the coefficients of least squares; reactions whose martingale is 0 have none."""
    scale = martingales.std(axis=0)
    used = np.flatnonzero(scale > 0.0)
    coefficients = np.zeros(martingales.shape[1])
    if used.size:
        table = martingales[:, used] / scale[used]
        away = table - table.mean(axis=0)
        # Martingales may be multiples of each other, as where only their sum changes the counts.
        found = np.linalg.lstsq(away.T @ away, away.T @ (values - values.mean()), rcond=1e-12)[0]
        coefficients[used] = found / scale[used]
    return coefficients


class _Looking:
    """The trajectories that count, with and without controls."""

    def __init__(
        self,
        plan: _ControlledPlan,
        what: Expression,
        n_threads: int,
        until: float,
        coefficients: FloatArray,
        controlled: MeanTally,
    ) -> None:
        self._plan, self._coefficients = plan.summed(coefficients), coefficients
        self._sampler = _Sampler(self._plan, what, n_threads, until)
        self.controlled, self.plain = controlled, MeanTally()
        self.stopped: str | None = None
        self.failure: SimulationError | NotEnoughMemoryError | None = None

    def to(self, n: int, tell: Callable[[float], None]) -> bool:
        """Go on to `n` trajectories; return whether nothing cut it short."""
        for values, martingales in self._sampler.values(self.controlled.n, n, tell):
            self.controlled.add(values - martingales[:, 0])
            self.plain.add(values)
        self.stopped, self.failure = self._sampler.stopped, self._sampler.failure
        return self.stopped is None

    def result(
        self, what: str, interval: Interval, confidence: float, n_pilot: int, reached: bool
    ) -> ControlledMean:
        controlled, plain = self.controlled, self.plain
        errors = [one.standard_error() for one in (controlled, plain)]
        ratio = (errors[1] / errors[0]) ** 2 if errors[0] > 0.0 else math.inf
        return ControlledMean(
            what=what,
            t=float(self._plan.times[-1]),
            estimate=interval.estimate,
            lower=interval.lower,
            upper=interval.upper,
            confidence=confidence,
            standard_error=errors[0],
            n=controlled.n,
            n_pilot=n_pilot,
            plain_estimate=plain.interval(0.5).estimate,
            plain_standard_error=errors[1],
            variance_ratio=ratio if errors[1] > 0.0 else 1.0,
            coefficients=self._coefficients,
            reached=reached,
            network=self._plan.network,
            provenance=self._plan.provenance(),
            stopped=self.stopped,
        )
