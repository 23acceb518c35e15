"""The master equation over time, on a set of states that follows the probability."""

from __future__ import annotations

import math
import time
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np

from ..errors import IncompleteWarning, Interrupted, MethodError, SimulationError
from ..interruption import interrupts_kept
from ..kernels.krylov import combine_basis, extend_basis
from ..kernels.state_flow import N_BINS, Flow, flow_rate, prunable_states
from ..kernels.uniformisation import add_moving_terms, add_terms, gather_moving
from ..network import Network
from ..progress import Progress, reporter
from ..results import Distribution, Provenance
from ..run_plan import check_timeout, check_times
from ..version import STREAM_VERSION, __version__
from .arguments import InitialLaw, check_tolerance, initial_law, state_limit
from .growth import grown_for_step, least_flow
from .poisson_weights import poisson_weights
from .state_space import FloatArray, Generator, StateSearch, StateSpace
from .timetable import Timetable

__all__ = ["solve_master_equation"]

METHODS = ("auto", "uniformisation", "krylov")

# Of what the bound may grow by in a step: what may flow out of the set, what may be cut off the
# series, what may be given up with improbable states. The rest is kept for later steps.
_LEAK, _TAIL, _PRUNE = 0.5, 0.05, 0.3
# Jumps of uniformisation that a step covers: more waste less of the series' end, fewer follow a
# moving law more closely.
_MOVING_JUMPS, _STEADY_JUMPS = 150.0, 1000.0
# States are given up when they are this share of all: a new generator costs some 20 terms.
_WORTH_PRUNING = 0.2
# Flow through a state that is given up, as a share of what would find it again.
_FORGOTTEN = 0.05
_MOST_CAUTION = 1e12
# Krylov: vectors of a basis, and to how many of the last a new one is made orthogonal; when it is
# tried: so many jumps are to come, the generator has so many entries, and the tolerance is no less.
_BASIS, _ORTHOGONAL = 40, 2
_FEWEST_JUMPS, _FEWEST_ENTRIES, _KRYLOV_TOLERANCE = 1e4, 20_000, 1e-10
# A vector of the basis costs some three terms of uniformisation: it has to cover so many jumps.
_PAYS = 8.0
_UNIT = 2.0**-53
# Entries of the generator that are multiplied between two looks at the clock and at Ctrl-C.
_ENTRIES_AT_ONCE = 20_000_000

# Rates that depend on t are polynomials of this degree over a step, through Chebyshev's nodes, and
# are looked at again between them; what is found there is taken this many times.
_DEGREE, _SAFETY = 4, 4.0
_NODES = 0.5 - 0.5 * np.cos((np.arange(_DEGREE + 1) + 0.5) * np.pi / (_DEGREE + 1))
_CHECKS = np.concatenate([[1e-9], 0.5 * (_NODES[1:] + _NODES[:-1]), [1.0 - 1e-9]])
# Row m gives the coefficient of s^m from the values at the nodes.
_POWERS = np.linalg.inv(np.vander(_NODES, increasing=True))


def solve_master_equation(
    network: Network,
    t: Any,
    *,
    initial: Any = None,
    tolerance: float = 1e-6,
    method: str = "auto",
    max_states: int | None = None,
    give_up_at: float = 1.0,
    timeout: float | None = None,
    progress: bool | Progress = False,
) -> Distribution:
    """Return the probabilities of a network's states over time, with a proven error.

    The states are found as probability reaches them, and given up when there is none left (finite
    state projection). What is lost on the way is known, so that each probability is a lower bound
    of the true one, and what all of them lack together is at most the tolerance.

    Parameters
    ----------
    network : Network
        Its rate constants set the unit of time.
    t : float or array_like, shape (n_times,)
        End time (then 101 times from 0), or increasing sampling times; `t[0]` is when the initial
        law holds.
    initial : mapping or Distribution, optional
        Where it starts, by default the network's initial state: counts by name, which replace the
        network's, ``{"X": 5}``; probabilities by state, ``{(5, 0): 0.5, (6, 0): 0.5}`` with the
        counts in the order of ``network.species_names``; or the last law of a `Distribution`.
    tolerance : float, optional
        What the absolute errors of all probabilities may add up to, at each time.
    method : {"auto", "uniformisation", "krylov"}, optional
        How time passes on a set of states; see docs/master_equation.md for the rule of ``"auto"``.
    max_states : int, optional
        Never keep more states; by default as many as half of the memory holds.
    give_up_at : float, optional
        Where `max_states` or memory make the error bound grow beyond this, the run stops and
        returns the times it has. By default it goes on to the end, whatever the bound is then.
    timeout : float, optional
        Seconds after which the run stops and returns the times it has, with an
        `IncompleteWarning`.
    progress : bool or callable, optional
        True shows a bar; a callable is called as ``progress(done, total)`` in units of time.

    Returns
    -------
    Distribution
        Its `error_bound` says for each time what the absolute errors add up to at most. Where this
        exceeds the tolerance because of `max_states` or memory, `stopped` says so, and an
        `IncompleteWarning` is given.

    Raises
    ------
    ValueError, TypeError
        If an argument makes no sense; the message says which and what to do.
    MethodError
        If the network has what the master equation has no states for: variables, delays, events
        whose time depends on the state.
    NotEnoughMemoryError
        If there is not even memory for a small set of states.
    SimulationError
        If a propensity is negative or not finite in a state that is reached; `error.result` is the
        law up to there.
    Interrupted
        On Ctrl-C; `error.result` is the law up to there.

    References
    ----------
    Munsky and Khammash (2006), J. Chem. Phys. 124, 044104, doi:10.1063/1.2145882. Mateescu, Wolf,
    Didier and Henzinger (2010), IET Syst. Biol. 4, 441, doi:10.1049/iet-syb.2010.0005.
    """
    started = time.perf_counter()
    if not isinstance(network, Network):
        raise TypeError(
            f"the first argument must be a Network, not {type(network).__name__}; make one from "
            "text with Network.parse(text), from a file with Network.read(path)"
        )
    times = check_times(t)
    if method not in METHODS:
        raise MethodError(
            f"unknown method {method!r} of the master equation; choose one of {', '.join(METHODS)}"
        )
    allowed = check_tolerance(tolerance)
    law = initial_law(network, initial)
    targets = {name for event in law.network.events for name, _ in event.assignments}
    changed = [i for i, name in enumerate(law.network.species_names) if name in targets]
    search = StateSearch(law.network, law.states, changed)
    timetable = Timetable(search.compiled, float(times[0]), float(times[-1]))
    limit = state_limit(search, max_states)
    seconds = check_timeout(timeout)
    report = reporter(progress, times[-1] - times[0], "solve_master_equation")
    run = _Run(search, law, times, allowed, method, limit, max_states is None, timetable)
    run.give_up_at = max(allowed, _check_share(give_up_at))
    provenance_options = {"tolerance": allowed, "max_states": max_states}
    return run.solved(seconds, report, provenance_options, started)


def _check_share(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0.0 < value <= 1.0:
        raise ValueError(f"give_up_at must be an error bound above 0 and up to 1, not {value!r}")
    return float(value)


class _Stopped(Exception):  # noqa: N818 (no error)
    """The time limit is spent."""


class _GivenUp(Exception):  # noqa: N818 (no error)
    """The error bound has grown beyond what is of use."""


class _Run:
    """A law on its way through time."""

    def __init__(
        self,
        search: StateSearch,
        law: InitialLaw,
        times: FloatArray,
        tolerance: float,
        method: str,
        max_states: int,
        limit_is_memory: bool,
        timetable: Timetable,
    ) -> None:
        self.search, self.times, self.tolerance = search, times, tolerance
        self.method, self.max_states = method, max_states
        self._limit_name = "memory" if limit_is_memory else "max_states"
        self.space = search.space(law.states)
        place = self.space.index_of(law.states)
        self.p = np.zeros(self.space.n_states)
        self.p[place] = law.probabilities
        self.time = self._rate_time = float(times[0])
        self._timetable = timetable
        self._is_moving = bool(search.compiled.time_dependent)
        self.excess = law.excess
        # What is missing from the start: this much of the bound is not this run's to spend.
        self._start_bound = self.bound()
        self.duration = float(times[-1] - times[0])
        self._generator: Generator | None = None
        self._caution = 1.0  # divides the flow that a state is worth being found for
        self._steady = 0  # steps since the set changed
        self._hit_limit = False
        self.give_up_at = 1.0
        # When Krylov is tried again, and after how many steps if it then does not pay either.
        self._krylov_wait, self._krylov_pause = 0, 4
        self.n_terms = 0
        self._methods: dict[str, int] = {}
        self._target, self._deadline = self.time, math.inf
        self._last_step = 4.0 / max(self.generator.largest_outflow, 1e-300)
        self._records: list[tuple[StateSpace, FloatArray, float, float]] = []

    # ---- The bound ------------------------------------------------------------------------------

    def bound(self) -> float:
        """Return what the absolute errors of all probabilities add up to at most.

        With P the true law and p the computed one, sum |P - p| = sum (P - p) + 2 sum (p - P)+,
        where the first is 1 - sum p and the last at most `excess`. An initial law with a bound of
        its own evolves with it: A never increases a difference.
        """
        missing = 1.0 - math.fsum((float(self.p.sum()), -8.0 * _UNIT))
        return max(0.0, missing) + 2.0 * self.excess

    def _allowance(self, end: float) -> float:
        """Return by how much the bound may grow in a step to `end`."""
        share = (end - self.times[0]) / self.duration if self.duration > 0.0 else 1.0
        room = max(0.0, self.tolerance - self._start_bound)
        left = self._start_bound + room * share - self.bound()
        # Where rounding has used up what there was, the set still follows the law as closely as
        # if half of it were left; without that it would take in ever more states in vain.
        of_step = room * (end - self.time) / self.duration if self.duration > 0.0 else room
        return max(left, 0.5 * of_step)

    # ---- Running --------------------------------------------------------------------------------

    def solved(
        self,
        seconds: float,
        report: Callable[[float], None],
        options: dict[str, Any],
        started: float,
    ) -> Distribution:
        """Go through all times and return the law at each."""
        stopped: str | None = None
        failure: SimulationError | Interrupted | None = None
        try:
            with interrupts_kept():
                self.generator  # noqa: B018 (compiles what there is to compile)
            self._deadline = time.monotonic() + seconds
            recorded, firings = set(self.times.tolist()), dict(self._timetable.firings)
            for target in sorted(recorded | set(self._timetable.stops.tolist())):
                while self.time < target:
                    self._step(target)
                    if self._hit_limit and self.bound() > self.give_up_at < 1.0:
                        raise _GivenUp
                    report(min(self.time, target) - self.times[0])
                if target in firings:
                    self._execute(firings[target])
                if target in recorded:
                    self._record()
        except KeyboardInterrupt:
            stopped = "interrupt"
            failure = Interrupted("interrupted; the law so far is in the error's .result")
        except _Stopped:
            stopped = "timeout"
        except _GivenUp:
            stopped = self._limit_name
        except SimulationError as error:
            stopped, failure = "error", error
        if stopped is None and self._records[-1][2] > self.tolerance:
            stopped = self._limit_name if self._hit_limit else "rounding"
        result = self._result(stopped, options, started)
        if failure is not None:
            failure.result = result
            raise failure
        report(float(self.times[-1] - self.times[0]))
        if stopped is not None:
            complaint = _complaint(result, self.max_states, self.bound())
            warnings.warn(complaint, IncompleteWarning, stacklevel=3)
        return result

    def _record(self) -> None:
        self._records.append((self.space, self.p, self.bound(), self.excess))

    def _result(self, stopped: str | None, options: dict[str, Any], started: float) -> Distribution:
        network = self.search.network
        spaces: list[StateSpace] = []
        set_at = []
        for space, *_ in self._records:
            if not spaces or spaces[-1] is not space:
                spaces.append(space)
            set_at.append(len(spaces) - 1)
        n = len(self._records)
        name = max(self._methods, key=lambda one: self._methods[one], default="uniformisation")
        return Distribution(
            times=self.times[:n].copy(),
            error_bound=np.array([one[2] for one in self._records]),
            excess_bound=np.array([one[3] for one in self._records]),
            states=np.concatenate([network.initial_state[None][:0], *(s.states for s in spaces)]),
            set_start=np.cumsum([0, *(s.n_states for s in spaces)], dtype=np.int64),
            set_at=np.array(set_at, dtype=np.int64),
            probabilities=np.concatenate([np.zeros(0), *(one[1] for one in self._records)]),
            start=np.cumsum([0, *(one[1].size for one in self._records)], dtype=np.int64),
            species=network.species_names,
            observables=(),
            tolerance=self.tolerance,
            network=network,
            provenance=Provenance(
                network=network,
                method=name,
                method_reason="asked for" if self.method != "auto" else self._reason(),
                options=options,
                entropy=None,
                stream_version=STREAM_VERSION,
                package_version=__version__,
                elapsed=time.perf_counter() - started,
            ),
            end_time=self.time,
            stopped=stopped,
        )

    def _reason(self) -> str:
        steps = ", ".join(f"{count} steps of {name}" for name, count in self._methods.items())
        return f"auto: {steps or 'no step was needed'}"

    # ---- One step -------------------------------------------------------------------------------

    @property
    def generator(self) -> Generator:
        """A on the present set of states."""
        if self._generator is None:
            self._generator = self.space.generator(self._rate_time)
        return self._generator

    def _change_space(self, space: StateSpace, p: FloatArray) -> None:
        self.space, self.p, self._generator = space, p, None
        self._steady = 0

    def _step(self, target: float) -> None:
        """Go on by one step, to `target` at most."""
        self._target = target
        if not self._is_moving and self._rest(target):
            return
        step = self._first_step(target)
        name, may_be_krylov = "uniformisation", True
        while True:
            if self._is_moving:
                # Rates in the middle of the step stand for all of them, where states are chosen.
                self._rate_time, self._generator = self.time + 0.5 * step, None
            end = target if step >= target - self.time else self.time + step
            step = end - self.time
            allowance = self._allowance(end)
            self._anticipate(step, allowance)
            rate = self.generator.largest_outflow
            jumps = rate * step
            if jumps > 2.0 * self._jumps():
                step = self._jumps() / rate
                continue
            if self._is_moving:
                found = self._moved(step, _TAIL * allowance)
                if found is None:
                    step *= 0.5
                    if self.time + step == self.time:
                        raise self._no_polynomial()
                    continue
                p, excess = found
            elif may_be_krylov and self._takes_krylov(target, rate):
                tried = self._krylov(step, rate, _TAIL * allowance)
                if tried is None:
                    # This step is one of uniformisation, and later ones, ever longer.
                    may_be_krylov = False
                    self._krylov_wait = self._steady + self._krylov_pause
                    self._krylov_pause *= 2
                    continue
                p, excess, step = tried
                end = target if self.time + step >= target else self.time + step
                allowance, name = self._allowance(end), "krylov"
            else:
                p, excess = self._uniformised(step, rate, _TAIL * allowance)
                name = "uniformisation"
            lost = float(self.p.sum()) - float(p.sum())
            slack = 2.0 * excess + 8.0 * _UNIT
            if lost <= (_LEAK + _TAIL) * allowance + slack or self._hit_limit:
                break
            # Too much has flowed out: find the states that it goes to.
            self._caution *= 4.0
            n_states = self.space.n_states
            complete = self._grow(np.maximum(self.p, p), step, allowance)
            if not complete and not self._hit_limit:
                step *= 0.25
            elif self.space.n_states == n_states and self._caution > _MOST_CAUTION:
                # Not for want of states: what is missing is rounding, and the bound says so.
                break
        self._methods[name] = self._methods.get(name, 0) + 1
        self.p, self.time = p, end
        self.excess += excess
        self._last_step = step
        self._steady += 1
        self._caution = max(1.0, 0.9 * self._caution)
        self._prune(step, self._allowance(end))

    def _first_step(self, target: float) -> float:
        rate = self.generator.largest_outflow
        step = target - self.time
        if rate * step > self._jumps():
            step = min(step, self._jumps() / rate)
        return min(step, 2.0 * self._last_step)

    def _jumps(self) -> float:
        """Return how many jumps of uniformisation a step may cover."""
        return _STEADY_JUMPS if self._steady > 3 else _MOVING_JUMPS

    def _rest(self, target: float) -> bool:
        """Skip to `target` if so little changes that it need not be followed."""
        change = flow_rate(self.generator.flow, self.p, np.empty(self.p.size))
        rest = target - self.time
        # exp(A s) never increases a sum of absolute values, so |exp(A s) p - p| <= s |A p|.
        if 2.0 * change * rest > 0.1 * self._allowance(target) and change > 0.0:
            return False
        self.excess += change * rest
        self.time = target
        return True

    # ---- The set of states ----------------------------------------------------------------------

    def _anticipate(self, step: float, allowance: float) -> None:
        """Grow the set before a step, if probability flows out of it already."""
        leak = float((self.generator.leak * self.p).sum())
        if leak * step > 0.1 * _LEAK * allowance and not self._hit_limit:
            self._grow(self.p, step, allowance)

    def _grow(self, weight: FloatArray, step: float, allowance: float) -> bool:
        """Add the states that probability flows into; return whether all of them are there."""
        space, complete, is_full = grown_for_step(
            self.search,
            self.generator,
            weight,
            step,
            least=least_flow(self.generator, step, allowance, self._caution),
            time=self._rate_time,
            limit=self.max_states,
        )
        self._hit_limit = self._hit_limit or is_full
        if space is not self.space:
            p = np.zeros(space.n_states)
            p[space.index_of(self.space.states)] = self.p
            self._change_space(space, p)
        return complete

    def _prune(self, step: float, allowance: float) -> None:
        """Give up improbable states, if they are many."""
        generator = self.generator
        least = _FORGOTTEN * least_flow(generator, step, max(allowance, 0.0), self._caution)
        keep = np.empty(self.space.n_states, dtype=np.uint8)
        n_kept, _ = prunable_states(
            *(self.p, generator.flow.outflow, least, step, max(0.0, _PRUNE * allowance)),
            *(keep, np.zeros(N_BINS)),
        )
        if n_kept <= (1.0 - _WORTH_PRUNING) * self.space.n_states and n_kept > 0:
            chosen = keep.astype(bool)
            self._change_space(self.space.subset(chosen), self.p[chosen])
            self._hit_limit = False

    # ---- Uniformisation -------------------------------------------------------------------------

    def _uniformised(self, step: float, rate: float, missing: float) -> tuple[FloatArray, float]:
        """Return the law after `step`, and by how much rounding may have raised it."""
        flow = self.generator.flow
        if rate == 0.0:
            return self.p, 0.0
        weights = poisson_weights(rate * step, missing)
        term, following = self.p.copy(), np.empty(self.p.size)
        total = weights[0] * term
        n, k, last = self.p.size, 0, weights.size - 1
        at_once = max(1, _ENTRIES_AT_ONCE // (flow.source.size + 1))
        while k < last:
            count = min(at_once, last - k)
            add_terms(flow, rate, k, count, weights, 0, n, term, following, total)
            if count % 2:
                term, following = following, term
            k += count
            self._look_at_clock()
        self.n_terms += last
        # Each term is a sum of n_channels + 1 products without a negative one; three roundings
        # more in each, and the propensities' own.
        rounding = (rate * step + 10.0) * (flow.source.shape[0] + 8.0) * _UNIT
        return total, rounding * float(self.p.sum())

    # ---- Krylov ---------------------------------------------------------------------------------

    def _takes_krylov(self, target: float, rate: float) -> bool:
        """Whether the next step is one of Krylov."""
        if self.method != "auto" or rate == 0.0:
            return self.method == "krylov" and rate > 0.0 and self._steady >= self._krylov_wait
        return (
            self._steady >= max(4, self._krylov_wait)
            and rate * (target - self.time) > _FEWEST_JUMPS
            and self.generator.flow.rate.size >= _FEWEST_ENTRIES
            and self.tolerance >= _KRYLOV_TOLERANCE
        )

    def _krylov(
        self, step: float, rate: float, missing: float
    ) -> tuple[FloatArray, float, float] | None:
        """Return the law after as much of a step as 40 vectors reach, its error, and the step.

        None if that is less than uniformisation would reach with the same work.
        """
        n, flow = self.p.size, self.generator.flow
        longest = self.duration if self._steady >= 4 else 8.0 * step
        longest = min(longest, self._target - self.time) if self.method == "auto" else step
        size = min(_BASIS, n)
        basis, small = np.zeros((size + 1, n)), np.zeros((size + 1, size))
        length = float(np.sqrt((self.p * self.p).sum()))
        sums = np.zeros(size + 1)
        basis[0] = self.p / length
        sums[0] = np.abs(basis[0]).sum()
        for j in range(size):
            extend_basis(flow, basis, j, max(0, j + 1 - _ORTHOGONAL), small, sums)
            self._look_at_clock()
            if small[j + 1, j] <= 1e-13 * rate:
                # All that A makes of p is in the basis.
                size = j + 1
                break
        self.n_terms += size
        budget = 0.5 * missing / step
        while True:
            shares, error = self._small_solution(small, size, longest, length, sums, rate)
            if error <= budget * longest:
                break
            longest *= 0.7
            if longest * rate < (_PAYS * size if self.method == "auto" else 1.0):
                return None
        total = np.empty(n)
        combine_basis(basis, length * shares, total)
        np.maximum(total, 0.0, out=total)
        return total, error, longest

    def _small_solution(
        self,
        small: FloatArray,
        size: int,
        step: float,
        length: float,
        sums: FloatArray,
        rate: float,
    ) -> tuple[FloatArray, float]:
        """Return the solution in the basis after `step`, and a bound of its error.

        The residual of V y is -h y[m] v for the last vector v, so that the sum of absolute errors
        is at most that of v times the integral of |h y[m]|, as A never increases such a sum.
        """
        from scipy.linalg import expm

        n_parts = 16
        part = expm(small[:size, :size] * (step / n_parts))
        shares = np.zeros((n_parts + 1, size))
        shares[0, 0] = 1.0
        for k in range(n_parts):
            shares[k + 1] = part @ shares[k]
        highest = np.abs(shares).max(axis=0)
        if not np.isfinite(highest).all():
            return shares[-1], math.inf
        last = np.abs(shares[:, -1])
        integral = float(np.maximum(last[1:], last[:-1]).sum()) * step / n_parts
        residual = length * float(small[size, size - 1]) * float(sums[size]) * integral
        # Rounding: of A v, of making it orthogonal, of the small exponential, of the sum.
        n_channels = self.generator.flow.rate.shape[0]
        of_column = 2.0 * rate * (n_channels + 4.0) * sums[:size] + 3.0 * (
            np.abs(small[:, :size]).T @ sums
        )
        rounding = step * float(highest @ of_column) + 4.0 * size * float(highest @ sums[:size])
        rounding += 40.0 * (1.0 + step * float(np.abs(small).max())) * float(highest @ sums[:size])
        return shares[-1], residual + _UNIT * length * rounding

    # ---- Rates that depend on t -----------------------------------------------------------------

    def _moved(self, step: float, missing: float) -> tuple[FloatArray, float] | None:
        """Return the law after `step` and its error; None if the step is too long for that."""
        search, space, n = self.search, self.space, self.space.n_states
        flow, n_still = self.generator.flow, self.search.n_still
        at = [space.moving_rates(self.time + step * float(s)) for s in _NODES]
        rates = np.stack(at) * step
        checks = [space.moving_rates(self.time + step * float(s)) * step for s in _CHECKS]
        wrong = np.zeros(n)
        for s, values in zip(_CHECKS, checks, strict=True):
            fitted = np.tensordot(s ** np.arange(_DEGREE + 1) @ _POWERS, rates, axes=1)
            wrong = np.maximum(wrong, np.abs(fitted - values).sum(axis=1))
        # What is wrong about a rate is wrong at its source and at its target.
        time_error = 2.0 * _SAFETY * float((wrong * self.p).sum())
        if time_error > missing:
            return None
        split = int(flow.channel_run[n_still])
        still_rate = flow.rate[:n_still] * step
        still_out = self.space_outflow_still() * step
        still = Flow(
            flow.source[:n_still], still_rate, still_out,
            flow.channel_run[: n_still + 1].copy(), flow.run[:split],
        )  # fmt: skip
        moving = Flow(
            flow.source[n_still:], flow.rate[n_still:], flow.outflow,
            flow.channel_run[n_still:] - split, flow.run[split:],
        )  # fmt: skip
        n_moving = search.n_channels - n_still
        gathered = np.empty((_DEGREE + 1, n_moving, n))
        outflows = np.empty((_DEGREE + 1, n))
        gather_moving(moving.source, rates, _POWERS, gathered, outflows)
        highest = float((still_out + rates.sum(axis=2).max(axis=0)).max(initial=0.0))
        sizes = np.array(
            [2.0 * float(np.abs(np.tensordot(row, rates, axes=1)).sum(axis=1).max(initial=0.0))
             for row in _POWERS]
        )  # fmt: skip
        sizes[0] = highest
        n_terms, tail = _polynomial_terms(sizes, missing)
        if n_terms == 0:
            return None
        ring = np.zeros((_DEGREE + 2, n))
        ring[0] = self.p * math.exp(-highest)
        total = ring[0].copy()
        k, at_once = 0, max(1, _ENTRIES_AT_ONCE // (flow.source.size * (_DEGREE + 1) + 1))
        while k < n_terms:
            k = int(add_moving_terms(
                still, moving, gathered, outflows, highest, k, min(at_once, n_terms - k), ring,
                total,
            ))  # fmt: skip
            self._look_at_clock()
        self.n_terms += n_terms
        np.maximum(total, 0.0, out=total)
        end_error = 2.0 * _SAFETY * float((wrong * total).sum())
        if end_error > missing:
            return None
        rounding = (n_terms + 10.0) * (_DEGREE + 1.0) * (flow.source.shape[0] + 8.0) * _UNIT
        return total, max(time_error, end_error) + tail + rounding

    def space_outflow_still(self) -> FloatArray:
        """Return what flows out of each state by channels that do not depend on t, (n_states,)."""
        rates = self.generator.space.rates(self._rate_time)
        return np.asarray(rates[:, : self.search.n_still].sum(axis=1))

    def _no_polynomial(self) -> SimulationError:
        return SimulationError(
            f"the rates change too fast near t = {self.time:.9g} to be followed: one of them jumps "
            "where t and the state together cross a threshold, or has no bound there; smooth it, "
            "or ask for a larger tolerance"
        )

    def _execute(self, events: tuple[int, ...]) -> None:
        """Let events change the states, at the present time."""
        states, p = self._timetable.execute(self.time, events, self.space.states, self.p)
        space = self.search.space(states)
        law = np.zeros(space.n_states)
        law[space.index_of(states)] = p
        self._rate_time = self.time
        self._change_space(space, law)
        self.excess += 8.0 * _UNIT
        self._last_step = 4.0 / max(self.generator.largest_outflow, 1e-300)

    def _look_at_clock(self) -> None:
        if time.monotonic() >= self._deadline:
            raise _Stopped


def _polynomial_terms(sizes: FloatArray, missing: float) -> tuple[int, float]:
    """Return how many terms a series of `add_moving_terms` needs, and what is missing after them.

    The sum of absolute values of term k is at most z[k], with (k + 1) z[k + 1] = the sum over m of
    `sizes[m]` z[k - m]. No terms, if there would be too many.
    """
    bounds = [math.exp(-float(sizes[0]))]
    most = int(4.0 * sizes[0] + 400.0)
    for k in range(most):
        total = sum(float(sizes[m]) * bounds[k - m] for m in range(min(sizes.size - 1, k) + 1))
        bounds.append(total / (k + 1))
        # From here on each is less than half of the one before.
        if k + 1 > 4.0 * float(sizes.sum()) and bounds[-1] < 1e-22:
            break
    else:
        return 0, 0.0
    after = np.cumsum(np.array(bounds)[::-1])[::-1]
    enough = np.flatnonzero(after <= max(missing, 1e-18))
    first = max(1, int(enough[0]) if enough.size else len(bounds))
    return first, float(after[first]) if first < after.size else 0.0


def _complaint(result: Distribution, max_states: int, bound: float) -> str:
    """Return what a law that is not what was asked for is to be warned of with."""
    if result.stopped == "timeout":
        return (
            f"the time limit ran out at t = {result.end_time:g}; the law is there at "
            f"{result.n_times} of the times"
        )
    there = f"the error bound is {bound:.3g} at t = {result.end_time:g}, not {result.tolerance:.3g}"
    if result.stopped == "rounding":
        return (
            f"{there}: rounding adds up over so many jumps; ask for a larger tolerance, or a "
            "shorter time"
        )
    if result.stopped == "memory":
        return (
            f"{there}: memory holds about {max_states} states, and the probability spreads over "
            "more; ask for a larger tolerance, or a shorter time"
        )
    return (
        f"{there}: the probability spreads over more than max_states = {max_states} states; raise "
        "it, or ask for a larger tolerance, or a shorter time"
    )
