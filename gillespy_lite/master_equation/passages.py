"""First-passage times: when a condition comes true, and which of two does so first."""

from __future__ import annotations

import math
import time
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..errors import IncompleteWarning, MethodError, SimulationError
from ..expressions import Call
from ..interruption import interrupts_kept
from ..network import Network
from ..results import FirstPassage, Provenance, SplittingProbabilities
from ..run_plan import check_timeout, check_times
from ..version import STREAM_VERSION, __version__
from .absorption import SOLVERS, absorption
from .arguments import check_tolerance, initial_law, state_limit
from .conditions import Condition, as_condition, ended_by, require_steady
from .growth import FIND_ALL, grown_along_flow
from .state_space import StateSearch, StateSpace
from .transitions import FloatArray, Transitions, missing_of, transitions_of
from .uniformised_jumps import JumpSeries, OutOfTime

__all__ = ["first_passage", "splitting_probabilities"]

_FIRST_STATES = 2_000
_FIRST_FLOW = 1e-9
# Without a state in which the condition is true among so many, the search is given up.
_MOST_WITHOUT_END = 200_000
# Multiplications of a round after which a settled result is not made more certain.
_MUCH_WORK = 2e9
# In one round, what is cut off is reduced by at most this factor.
_AT_ONCE = 1e-6
# A condition that was not met in a set which is left less often than this is called not met.
_NEVER = 1e-20
# What is cut off hardly falls, in so many rounds one after the other: the network escapes.
_STUCK, _STUCK_ROUNDS = 0.9, 3


def first_passage(
    network: Network,
    condition: Any,
    t: Any = None,
    *,
    initial: Any = None,
    tolerance: float = 1e-6,
    method: str = "auto",
    max_states: int | None = None,
    timeout: float | None = None,
) -> FirstPassage:
    """Return the probability and the time of a condition's coming true for the first time.

    States in which the condition is true end the search for states, and all others are kept until
    the probability of leaving them unseen is below the tolerance: relative to the result, so that
    a probability of 1e-9 has as many digits as one of .5.

    Parameters
    ----------
    network : Network
        Its rates must not depend on the time t; no events, delays or variables.
    condition : str or Expression
        Such as ``"X >= 80"`` or ``"Prey == 0 or Predator == 0"``, with species, observables and
        parameters.
    t : float or array_like, shape (n_times,), optional
        End time (then 101 times from 0), or increasing times, the first being that of the start:
        gives the law of the time up to there. By default the question is whether the condition
        ever comes true, and when on the average.
    initial : mapping or Distribution, optional
        As in `solve_master_equation`.
    tolerance : float, optional
        Relative error of the probability by the last time that is allowed to what is cut off.
    method : {"auto", "elimination", "lu", "gmres"}, optional
        How linear systems are solved where there is no end time; see docs/stationary.md. With an
        end time there is one way, the jumps of the uniformised chain, and only ``"auto"``.
    max_states : int, optional
        Never keep more states; by default as many as half of the memory holds.
    timeout : float, optional
        Seconds after which the best result so far is returned, with an `IncompleteWarning`.

    Returns
    -------
    FirstPassage
        `probability` with its proven `error_bound`; `cdf` and `pdf` at the times; mean and variance
        of the time. If the condition cannot come true, the probability is 0 and the mean inf.

    Raises
    ------
    MethodError
        If the network or the condition depends on what the states do not hold.
    NetworkError
        If `condition` is none.
    SimulationError
        If a propensity is negative or not finite, or time ran out before the first result.

    References
    ----------
    Munsky and Khammash (2006), J. Chem. Phys. 124, 044104, doi:10.1063/1.2145882. Grassmann, Taksar
    and Heyman (1985), Oper. Res. 33, 1107, doi:10.1287/opre.33.5.1107.
    """
    started = time.perf_counter()
    require_steady(network, "first_passage")
    end = as_condition(network, condition, "condition")
    times = np.zeros(0) if t is None else check_times(t)
    if t is not None and method != "auto":
        raise MethodError(
            f"method {method!r} solves for what happens ever; with times in t it must be 'auto'"
        )
    run = _Waiting(network, (end,), initial, tolerance, method, max_states, timeout)
    found = run.solved(times if t is not None else None)
    duration = float(times[-1] - times[0]) if t is not None else math.inf
    mean, variance = found.moments[0]
    result = FirstPassage(
        condition=end.text,
        end_time=float(times[-1]) if t is not None else math.inf,
        probability=float(found.probability[0]),
        error_bound=found.cut_off + found.rounding,
        rounding=found.rounding,
        never=found.never,
        times=times,
        cdf=found.cdf,
        cdf_error=found.cdf_error,
        pdf=found.pdf,
        mean=_mean_of(found, mean, duration),
        conditional_mean=mean,
        conditional_variance=variance,
        mean_error=found.mean_error,
        mean_is_proven=found.mean_is_proven,
        n_states=found.n_states,
        network=network,
        provenance=run.provenance(found, started),
        stopped=run.stopped,
    )
    run.warn(found, end.text)
    return result


def splitting_probabilities(
    network: Network,
    a: Any,
    b: Any,
    *,
    initial: Any = None,
    tolerance: float = 1e-6,
    method: str = "auto",
    max_states: int | None = None,
    timeout: float | None = None,
) -> SplittingProbabilities:
    """Return the probabilities that one condition comes true before another.

    Parameters
    ----------
    network : Network
        As for `first_passage`.
    a, b : str or Expression
        The conditions. Where both come true with the same event, this counts as `a`.
    initial, tolerance, method, max_states, timeout
        As for `first_passage`; the tolerance is relative to the smaller of the two
        probabilities, if neither is 0.

    Returns
    -------
    SplittingProbabilities
        With a proven error bound.

    Raises
    ------
    MethodError, NetworkError, SimulationError
        As for `first_passage`.
    """
    started = time.perf_counter()
    require_steady(network, "splitting_probabilities")
    ends = (as_condition(network, a, "a"), as_condition(network, b, "b"))
    run = _Waiting(network, ends, initial, tolerance, method, max_states, timeout)
    found = run.solved(None)
    result = SplittingProbabilities(
        a=ends[0].text,
        b=ends[1].text,
        probability_a=float(found.probability[0]),
        probability_b=float(found.probability[1]),
        never=found.never,
        error_bound=found.cut_off + found.rounding,
        rounding=found.rounding,
        mean_time=_mean_of(found, found.mean_to_end, math.inf),
        n_states=found.n_states,
        network=network,
        provenance=run.provenance(found, started),
        stopped=run.stopped,
    )
    run.warn(found, f"{ends[0].text}' or '{ends[1].text}")
    return result


def _mean_of(found: _Found, conditional: float, duration: float) -> float:
    """Return the mean time without a condition, as far as it is known."""
    if found.never > 0.0:
        return math.inf
    if not found.probability.any():
        return math.inf if found.cut_off == 0.0 and math.isinf(duration) else math.nan
    if math.isinf(duration) and not found.escapes:
        return conditional
    return math.nan


@dataclass
class _Found:
    """What one round has found."""

    probability: FloatArray  # (n_ends,)
    cut_off: float  # the probability of what is not known
    rounding: float
    never: float
    moments: list[tuple[float, float]]  # mean and variance of the time of each end
    mean_to_end: float
    n_states: int
    weight: FloatArray  # (n_states,) shares of time
    duration: float  # what a weight of 1 stands for
    name: str
    cdf: FloatArray
    cdf_error: FloatArray
    pdf: FloatArray
    mean_error: float = 0.0
    mean_is_proven: bool = True
    escapes: bool = False
    relative_rounding: float = 0.0  # the largest of the ends that can come true
    work: float = 0.0  # multiplications; 0 where they do not grow with the time

    @property
    def least(self) -> float:
        """The smallest probability that is not 0, or 0."""
        return float(min((x for x in self.probability if x > 0.0), default=0.0))


class _Waiting:
    """A chain until one of some conditions is true, on a set of states that grows."""

    def __init__(
        self,
        network: Network,
        ends: Sequence[Condition],
        initial: Any,
        tolerance: Any,
        method: str,
        max_states: int | None,
        timeout: float | None,
    ) -> None:
        if method not in SOLVERS:
            raise MethodError(f"unknown method {method!r}; choose one of {', '.join(SOLVERS)}")
        self.network, self.ends, self.method = network, tuple(ends), method
        self.tolerance = check_tolerance(tolerance)
        self.stopped: str | None = None
        self._options: dict[str, Any] = {"tolerance": self.tolerance, "max_states": max_states}
        self._deadline = time.monotonic() + check_timeout(timeout)
        law = initial_law(network, initial)
        whole = ends[0]
        for other in ends[1:]:
            joined = Call("or", (whole.expression, other.expression))
            whole = Condition(network, f"{whole.text} or {other.text}", joined)
        self._at_once = np.zeros(len(ends))
        left = np.ones(law.probabilities.size, dtype=bool)
        for e, end in enumerate(ends):
            met = end.holds(law.states) & left
            self._at_once[e] = law.probabilities[met].sum()
            left &= ~met
        self._start_states = law.states[left]
        self._start = law.probabilities[left]
        # What an initial law lacks or has too much of may be anywhere.
        self._missing = missing_of(law.probabilities, law.excess)
        self._search = StateSearch(ended_by(whole), law.states)
        self._limit = state_limit(self._search, max_states)
        self._limit_name = "memory" if max_states is None else "max_states"

    # ---- Rounds ---------------------------------------------------------------------------------

    def solved(self, times: FloatArray | None) -> _Found:
        """Return what is known, once it is known well enough."""
        if not self._start.size:
            return self._nothing_to_wait_for(times)
        with interrupts_kept():
            space, complete = self._first_set(times)
            best: _Found | None = None
            n_stuck = 0
            while True:
                try:
                    found, graph = self._round(space, times)
                except OutOfTime:
                    self.stopped = "timeout"
                    break
                known = best
                best = found
                if complete:
                    break
                if known is not None:
                    _compare(found, known)
                if self._is_enough(found, known, times):
                    break
                if known is not None:
                    n_stuck = n_stuck + 1 if self._is_stuck(found, known) else 0
                    if n_stuck >= _STUCK_ROUNDS or (n_stuck and found.work > _MUCH_WORK):
                        self.stopped, found.escapes = "escape", True
                        break
                if found.least == 0.0 and space.n_states >= _MOST_WITHOUT_END:
                    self.stopped = "not found"
                    break
                if space.n_states >= self._limit:
                    self.stopped = self._limit_name
                    break
                if time.monotonic() > self._deadline:
                    self.stopped = "timeout"
                    break
                space, complete = self._grown(space, graph, found)
        if best is None:
            raise SimulationError(
                "the time limit ran out before there was a first result; raise timeout"
            )
        best.cut_off += self._missing
        if self.stopped and not best.escapes:
            best.escapes = best.cut_off > self.tolerance * best.least
        if self.stopped is None and best.relative_rounding > self.tolerance:
            self.stopped = "rounding"
        return best

    def _first_set(self, times: FloatArray | None) -> tuple[StateSpace, bool]:
        first = self._search.space(self._start_states)
        most = min(self._limit, FIND_ALL)
        space, complete = self._search.grown(first, None, max_states=most)
        if complete or most == self._limit:
            return space, complete
        if times is not None and times.size > 1:
            # Only what probability gets to: rates can be huge elsewhere.
            weight = np.zeros(first.n_states)
            weight[first.index_of(self._start_states)] = self._start
            duration = float(times[-1] - times[0])
            space, _ = self._search.grown(
                *(first, weight),
                least_flow=_FIRST_FLOW / duration, duration=duration, max_states=most,
            )  # fmt: skip
            return space, False
        return self._search.grown(first, None, max_states=min(self._limit, _FIRST_STATES))

    def _is_enough(self, found: _Found, known: _Found | None, times: FloatArray | None) -> bool:
        least = found.least
        if len(self.ends) > 1 and not all(found.probability > 0.0):
            least = 0.0
        if least == 0.0:
            return found.cut_off <= _NEVER
        if found.cut_off > self.tolerance * least:
            return False
        if times is not None:
            return True
        mean = found.moments[0][0]
        return known is not None and found.mean_error <= self.tolerance * mean

    def _is_stuck(self, found: _Found, known: _Found) -> bool:
        change = np.abs(found.probability - known.probability)
        is_settled = bool((change <= 0.1 * self.tolerance * found.probability).all())
        return (
            found.least > 0.0
            and is_settled
            and (found.work > _MUCH_WORK or found.cut_off > _STUCK * known.cut_off)
        )

    def _grown(
        self, space: StateSpace, graph: Transitions, found: _Found
    ) -> tuple[StateSpace, bool]:
        """Return a larger set: with the states that what is cut off goes to."""
        n_edge = max(16, int(np.count_nonzero(graph.exits[-1])))
        goal = max(self.tolerance * found.least, _AT_ONCE * found.cut_off)
        if found.work == 0.0 and (found.least == 0.0 or found.cut_off > 0.1):
            # Nothing says where to look: everywhere.
            most = min(self._limit, 2 * space.n_states)
            return self._search.grown(space, None, max_states=most)
        return grown_along_flow(
            self._search,
            space,
            graph,
            found.weight,
            least=0.1 * goal / (found.duration * n_edge),
            duration=found.duration,
            few_states=4 * _FIRST_STATES,
            limit=self._limit,
        )

    # ---- One round ------------------------------------------------------------------------------

    def _round(self, space: StateSpace, times: FloatArray | None) -> tuple[_Found, Transitions]:
        whole = transitions_of(space, *self.ends)
        start = np.zeros(space.n_states)
        start[space.index_of(self._start_states)] = self._start
        start = start[whole.places]
        # Where there is no way out to an end: the condition never comes true. These states are
        # taken out, and leading to them is an exit.
        leads_out = whole.can_leave()
        never_at_once = float(start[~leads_out].sum())
        chain = whole.part(leads_out, ~leads_out)
        if not leads_out.any():
            found = self._without_end(whole.n_states, never_at_once, times)
            found.weight = start
            return found, whole
        inner = start[leads_out]
        found = self._ever(chain, inner) if times is None else self._until(chain, inner, times)
        found.never += never_at_once
        found.n_states = whole.n_states
        weight = np.zeros(whole.n_states)
        weight[leads_out] = found.weight
        found.weight = weight
        return found, whole

    def _without_end(self, n: int, never: float, times: FloatArray | None) -> _Found:
        size = 0 if times is None else times.size
        cdf = np.full(size, float(self._at_once[0]))
        at_once = [(0.0, 0.0) if p > 0.0 else (math.nan, math.nan) for p in self._at_once]
        return _Found(
            probability=self._at_once.copy(), cut_off=0.0, rounding=0.0, never=never,
            moments=at_once, mean_to_end=math.nan, n_states=n, weight=np.zeros(n), duration=1.0,
            name="elimination" if times is None else "uniformised jumps", cdf=cdf,
            cdf_error=np.zeros(size), pdf=np.zeros(size),
        )  # fmt: skip

    def _nothing_to_wait_for(self, times: FloatArray | None) -> _Found:
        found = self._without_end(0, 0.0, times)
        found.cut_off, found.mean_to_end = self._missing, 0.0
        return found

    def _ever(self, chain: Transitions, start: FloatArray) -> _Found:
        if not chain.exits[1:-1].any():
            # No state in which a condition is true is near: how long it takes says nothing.
            found = self._without_end(chain.n_states, 0.0, None)
            found.cut_off, found.weight = float(start.sum()), start
            return found
        solver = absorption(chain, self.method)
        # Exits are: never, the ends, what is cut off.
        occupied = solver.flows(start).solution
        never, cut_off = float(chain.exits[0] @ occupied), float(chain.exits[-1] @ occupied)
        total = float(occupied.sum())
        probability, moments, rounding = self._at_once.copy(), [], 0.0
        mean_error = relative = 0.0
        for e in range(len(self.ends)):
            hits = solver.values(chain.exits[1 + e])
            times = solver.values(hits.solution)
            squares = solver.values(times.solution)
            probability[e] += float(start @ hits.solution)
            error = float(start @ hits.error)
            rounding = max(rounding, error)
            if probability[e] > 0.0:
                relative = max(relative, error / float(probability[e]))
            first, second = float(start @ times.solution), 2.0 * float(start @ squares.solution)
            moments.append(_mean_and_variance(float(probability[e]), first, second))
            if e == 0 and probability[0] > 0.0:
                # An error of the gain changes a value by its largest times the mean time.
                longest = float(solver.values(np.ones(start.size)).solution.max())
                behind = min(
                    float(hits.error.max()) * longest,
                    first * _largest_share(hits.error, hits.solution),
                )
                own = float(start @ times.error) + behind
                mean_error = (own + moments[0][0] * error) / float(probability[0])
        return _Found(
            probability=probability, cut_off=cut_off, rounding=rounding, never=never,
            moments=moments, mean_to_end=total, n_states=chain.n_states,
            weight=occupied / total, duration=total, name=solver.name, cdf=np.zeros(0),
            cdf_error=np.zeros(0), pdf=np.zeros(0), mean_error=mean_error,
            relative_rounding=relative,
        )  # fmt: skip

    def _until(self, chain: Transitions, start: FloatArray, times: FloatArray) -> _Found:
        duration = float(times[-1] - times[0])
        ends = slice(1, 1 + len(self.ends))
        series = JumpSeries(chain, start, duration, self.tolerance, ends, self._deadline)
        by = np.array([series.by(float(t - times[0])) for t in times])
        rates = np.array([series.rate_at(float(t - times[0])) for t in times])
        probability = self._at_once + by[-1, ends]
        # What has been cut off may have met the condition by any later time.
        beyond = by[:, -1] + np.where(times > times[0], series.uncounted, 0.0)
        cdf = self._at_once[0] + by[:, 1]
        first, second = series.moments(1)
        mean, variance = _mean_and_variance(float(probability[0]), first, second)
        cut_off = float(beyond[-1])
        share = cut_off / (cut_off + probability[0]) if probability[0] > 0.0 else 0.0
        return _Found(
            probability=probability,
            cut_off=cut_off,
            rounding=float(series.relative_error * by[-1, 1]),
            relative_rounding=series.relative_error,
            never=float(by[-1, 0]),
            moments=[(mean, variance)],
            mean_to_end=math.nan,
            n_states=chain.n_states,
            weight=series.spent / duration if duration > 0.0 else start,
            duration=duration or 1.0,
            name="uniformised jumps",
            cdf=cdf,
            cdf_error=beyond + series.relative_error * by[:, 1] + self._missing,
            pdf=rates[:, 1],
            mean_error=share * max(mean, duration - mean) + 2.0 * series.relative_error * mean,
            work=float(series.left.shape[0]) * (chain.rates.nnz + 3.0 * chain.n_states),
        )

    # ---- Afterwards -----------------------------------------------------------------------------

    def provenance(self, found: _Found, started: float) -> Provenance:
        """Return where the result comes from."""
        return Provenance(
            network=self.network,
            method=found.name,
            method_reason="auto" if self.method == "auto" else "asked for",
            options=self._options,
            entropy=None,
            stream_version=STREAM_VERSION,
            package_version=__version__,
            elapsed=time.perf_counter() - started,
        )

    def warn(self, found: _Found, text: str) -> None:
        """Warn of a result that is not as accurate as was asked for."""
        if self.stopped is None:
            return
        between = (
            f"the probability that '{text}' comes true lies between {found.probability[0]:.6g} and "
            f"{min(1.0, found.probability[0] + found.cut_off):.6g}"
        )
        reasons = {
            "escape": "the network leaves every set of states that was tried with about that "
            "difference, so counts may grow without bound. If what leaves never returns, the lower "
            "number is the true one",
            "not found": "no state in which it is true was found among "
            f"{found.n_states}; it may be out of reach, or further away than max_states",
            "timeout": "the time limit ran out",
            "rounding": f"rounding may add up to {found.rounding:.2g}; choose "
            "method='elimination', or a shorter time",
            "max_states": f"more than max_states = {self._limit} states matter; raise it",
            "memory": f"memory holds about {self._limit} states, and more matter",
        }
        warnings.warn(f"{between}: {reasons[self.stopped]}", IncompleteWarning, stacklevel=4)


def _mean_and_variance(probability: float, first: float, second: float) -> tuple[float, float]:
    if not probability > 0.0:
        return math.nan, math.nan
    mean = first / probability
    return mean, max(0.0, second / probability - mean * mean)


def _largest_share(error: FloatArray, solution: FloatArray) -> float:
    positive = solution > 0.0
    if error[~positive].any():
        return math.inf
    return float((error[positive] / solution[positive]).max(initial=0.0))


def _compare(found: _Found, known: _Found) -> None:
    """Estimate the error of the mean time by what a larger set has changed."""
    if not math.isfinite(found.cdf.size) or found.cdf.size:
        return
    found.mean_is_proven = False
    new, old = found.moments[0][0], known.moments[0][0]
    found.mean_error += abs(new - old) if math.isfinite(new - old) else math.inf
