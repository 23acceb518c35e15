"""The master equation and its derivatives to parameters over time, on a set that only grows."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from ..errors import MethodError
from ..interruption import interrupts_kept
from ..kernels.state_slopes import Slopes, add_sensitivity_terms
from ..memory import available_memory, require_memory
from ..network import Network
from .growth import grown_for_step, least_flow
from .poisson_weights import poisson_weights
from .slopes import SlopeLaws, slopes_on
from .state_space import FloatArray, Generator, IntArray, StateSearch, StateSpace

__all__ = ["Solved", "Solver"]

# Of what may be lost in a step: what may flow out of the set, what may be cut off the series.
_LEAK, _TAIL = 0.5, 0.05
# Jumps that a step covers while the set still grows, and when it has stopped growing.
_MOVING_JUMPS, _STEADY_JUMPS = 150.0, 1000.0
_UNIT = 2.0**-53
# A step is tried so often with more states, each time with those that four times less flows into.
_MOST_TRIES = 40
# Entries of the generator that are multiplied between two looks at the clock and at Ctrl-C.
_ENTRIES_AT_ONCE = 20_000_000


@dataclass(frozen=True, eq=False)
class Solved:
    """The law and its derivatives at some times, on one set of states.

    Attributes
    ----------
    space : StateSpace
        The states.
    rows : ndarray, shape (n_times, 1 + n_parameters, n_states), float64
        Probabilities, then their derivatives to each parameter.
    bound, excess : ndarray, shape (n_times,), float64
        What the absolute errors of the probabilities add up to at most, and the part of it by which
        they can be too large.
    error : ndarray, shape (n_times, n_parameters), float64
        The same of the derivatives, provided that outside of the set slopes are no larger than
        the largest within.
    stopped : str or None
        "timeout" or "interrupt" where times are missing; "max_states", "memory" or "rounding" where
        `bound` exceeds the tolerance; else None.
    end_time : float
        The law is known up to here.
    """

    space: StateSpace
    rows: FloatArray
    bound: FloatArray
    excess: FloatArray
    error: FloatArray
    stopped: str | None
    end_time: float


class _TimeOut(Exception):  # noqa: N818 (no error)
    """The time limit is spent."""


class Solver:
    """Solves for the law and its derivatives, again and again for other values of parameters.

    The states that one run found are there from the start of the next.

    Parameters
    ----------
    network : Network
        Without events or rates that depend on t.
    names : sequence of str
        Parameters to differentiate by.
    times : ndarray, shape (n_times,), float64
        The first is when the initial law holds.
    states, probabilities : ndarray, shape (n, n_species) int64 and (n,) float64
        The initial law.
    tolerance : float
        What the absolute errors of all probabilities may add up to, at each time, beside those of
        the initial law.
    max_states : int or None
        Never keep more states; None: as many as a half of the memory holds.
    """

    def __init__(
        self,
        network: Network,
        names: Sequence[str],
        times: FloatArray,
        states: IntArray,
        probabilities: FloatArray,
        *,
        tolerance: float,
        max_states: int | None,
        excess: float = 0.0,
    ) -> None:
        self.network, self.names, self.times = network, tuple(names), times
        self.initial_states, self.initial_probabilities = states, probabilities
        self.tolerance, self.excess = tolerance, excess
        search = StateSearch(network, states)
        _refuse(search, network)
        self.laws = SlopeLaws(search, self.names)
        self.states = states
        self.limit_name = "memory" if max_states is None else "max_states"
        self.max_states = (
            _most_states(search, len(self.names)) if max_states is None else max_states
        )
        self.n_terms = 0

    def solve(
        self,
        network: Network | None = None,
        *,
        seconds: float = math.inf,
        report: Callable[[float], None] = lambda done: None,
    ) -> Solved:
        """Return the law and its derivatives at all times, of a relative of the network.

        Ctrl-C ends it like a time limit.
        """
        run = _Run(self, self.network if network is None else network)
        found = run.solved(seconds, report)
        self.n_terms += run.n_terms
        self.states = found.space.states
        return found


def _refuse(search: StateSearch, network: Network) -> None:
    if search.compiled.time_dependent:
        raise MethodError(
            f"the rate of reaction {search.compiled.time_dependent[0]} depends on t, and "
            "derivatives to parameters are worked out for rates that do not; solve_master_equation "
            "at two values of the parameter gives a difference quotient"
        )
    if network.events:
        raise MethodError(
            "the network has events, and derivatives to parameters are worked out for networks "
            "without; solve_master_equation at two values of the parameter gives a difference "
            "quotient"
        )


def _most_states(search: StateSearch, n_parameters: int) -> int:
    available = available_memory()
    if available is None:
        return 5_000_000
    fitting = available // 2 // _bytes_per_state(search, n_parameters)
    return int(min(max(1000, fitting), 2**31 - 2**20))


def _bytes_per_state(search: StateSearch, n_parameters: int) -> int:
    return search.bytes_per_state + 8 * (4 + 2 * search.n_channels) * (1 + n_parameters)


class _Run:
    """A law and its derivatives on their way through time."""

    def __init__(self, solver: Solver, network: Network) -> None:
        self.solver, self.network = solver, network
        self.search = StateSearch(network, solver.initial_states)
        self.space = self.search.space(solver.states)
        self.rows = np.zeros((1 + len(solver.names), self.space.n_states))
        place = self.space.index_of(solver.initial_states)
        self.rows[0, place] = solver.initial_probabilities
        self.times, self.time = solver.times, float(solver.times[0])
        self.excess = solver.excess
        self.error = np.zeros(len(solver.names))
        self._start_bound = self.bound()
        self.duration = float(self.times[-1] - self.times[0])
        self._generator: Generator | None = None
        self._slopes: tuple[Slopes, FloatArray] | None = None
        self._caution = 1.0  # divides the flow that a state is worth being found for
        # Whether the set has not grown for some steps; that of an earlier run need not grow.
        self._steady = 9 if solver.states is not solver.initial_states else 0
        self._last_step = math.inf if self._steady else 0.0
        self._hit_limit = False
        self._deadline = math.inf
        self.n_terms = 0

    def bound(self) -> float:
        """Return what the absolute errors of all probabilities add up to at most."""
        missing = 1.0 - math.fsum((float(self.rows[0].sum()), -8.0 * _UNIT))
        return max(0.0, missing) + 2.0 * self.excess

    def _allowance(self, end: float) -> float:
        share = (end - self.times[0]) / self.duration if self.duration > 0.0 else 1.0
        return self._start_bound + self.solver.tolerance * share - self.bound()

    def solved(self, seconds: float, report: Callable[[float], None]) -> Solved:
        """Go through all times."""
        stopped: str | None = None
        records: list[tuple[StateSpace, FloatArray, float, float, FloatArray]] = []

        def record() -> None:
            records.append((self.space, self.rows, self.bound(), self.excess, self.error))

        try:
            with interrupts_kept():
                self._load_kernels()
            self._deadline = time.monotonic() + seconds
            record()
            for target in self.times[1:].tolist():
                while self.time < target:
                    self._step(target)
                    report(min(self.time, target) - self.times[0])
                record()
        except KeyboardInterrupt:
            stopped = "interrupt"
        except _TimeOut:
            stopped = "timeout"
        if stopped is None and records[-1][2] > self.solver.tolerance + self._start_bound:
            stopped = self.solver.limit_name if self._hit_limit else "rounding"
        space = records[-1][0]
        shape = (len(records), len(self.rows), space.n_states)
        require_memory(8 * math.prod(shape), "ask for fewer times, or fewer parameters")
        rows = np.zeros(shape)
        for k, (own, values, *_) in enumerate(records):
            if own is space:
                rows[k] = values
            else:
                rows[k][:, space.index_of(own.states)] = values
        return Solved(
            space=space,
            rows=rows,
            bound=np.array([one[2] for one in records]),
            excess=np.array([one[3] for one in records]),
            error=np.array([one[4] for one in records]),
            stopped=stopped,
            end_time=self.time,
        )

    def _load_kernels(self) -> None:
        """Compile what there is to compile, which is no part of a time limit."""
        none = np.zeros(1)
        self.generator.apply(self.rows[0])
        add_sensitivity_terms(
            *(self.generator.flow, self.slopes[0], 1.0, 0, 0, none, none, self.rows.copy()),
            *(np.empty_like(self.rows), np.empty_like(self.rows), np.zeros(len(self.error))),
        )

    # ---- The generator and its slopes -----------------------------------------------------------

    @property
    def generator(self) -> Generator:
        """A on the present set of states."""
        if self._generator is None:
            self._generator = self.space.generator(self.time)
        return self._generator

    @property
    def slopes(self) -> tuple[Slopes, FloatArray]:
        """Derivatives of A, and for each parameter the largest slope of the outflow."""
        if self._slopes is None:
            self._slopes = slopes_on(self.solver.laws, self.generator, self.network, self.time)
        return self._slopes

    # ---- One step -------------------------------------------------------------------------------

    def _step(self, target: float) -> None:
        """Go on by one step, to `target` at most."""
        if self._rest(target):
            return
        step = self._first_step(target)
        n_tries = 0
        while True:
            n_tries += 1
            end = target if step >= target - self.time else self.time + step
            step = end - self.time
            allowance = self._allowance(end)
            self._anticipate(step, allowance)
            rate = self.generator.largest_outflow
            if rate * step > 2.0 * self._jumps():
                step = self._jumps() / rate
                continue
            rows, lost, rounding = self._uniformised(step, rate, _TAIL * allowance)
            gone = float(self.rows[0].sum()) - float(rows[0].sum())
            # What rounding takes, no further state brings back.
            enough = max((_LEAK + _TAIL) * allowance, rounding) + 8.0 * _UNIT
            if gone <= enough or self._hit_limit or n_tries > _MOST_TRIES:
                break
            # Too much has flowed out: find the states that it goes to.
            self._caution *= 4.0
            complete = self._grow(np.maximum(self.rows[0], rows[0]), step, allowance)
            if not complete and not self._hit_limit:
                step *= 0.25
        size = np.abs(self.rows[1:]).sum(axis=1)
        self.rows, self.time = rows, end
        self.excess += rounding * float(rows[0].sum())
        # With e = S - s, e' = A e + (dA) (P - p) + what flows out, and A increases no sum of
        # absolute values: each term adds at most its own over the step.
        steepest = self.slopes[1]
        largest = size + 2.0 * steepest * step
        self.error = (
            self.error
            + lost
            + 2.0 * steepest * step * self.bound()
            + (3.0 * max(_TAIL * allowance, 1e-17) + 2.0 * rounding) * largest
        )
        self._last_step = step
        self._steady += 1
        self._caution = max(1.0, 0.9 * self._caution)

    def _first_step(self, target: float) -> float:
        rate = max(self.generator.largest_outflow, 1e-300)
        longest = 2.0 * self._last_step if self._last_step else 4.0 / rate
        return min(target - self.time, self._jumps() / rate, longest)

    def _jumps(self) -> float:
        return _STEADY_JUMPS if self._steady > 3 else _MOVING_JUMPS

    def _rest(self, target: float) -> bool:
        """Skip to `target` if so little changes that it need not be followed."""
        rest = target - self.time
        change = float(np.abs(self.generator.apply(self.rows[0])).sum())
        allowance = self._allowance(target)
        if 2.0 * change * rest > 0.1 * allowance and change > 0.0:
            return False
        slopes, steepest = self.slopes
        moved = np.array([self.generator.apply(row) for row in self.rows[1:]])
        p, source = self.rows[0], self.generator.flow.source
        for e, (m, c) in enumerate(
            zip(slopes.parameter.tolist(), slopes.channel.tolist(), strict=True)
        ):
            moved[m] += slopes.into[e] * p[source[c]] - slopes.out[e] * p
        # Of exp(B s) z, with B the two systems together, the change is the integral of
        # exp(B s) B z.
        by = rest * np.abs(moved).sum(axis=1) + rest**2 * steepest * change
        if (by > 0.1 * allowance * (np.abs(self.rows[1:]).sum(axis=1) + steepest * rest)).any():
            return False
        self.excess += change * rest
        leaks = np.abs(self.rows[1:]) @ self.generator.leak
        self.error = self.error + by + rest * leaks + 2.0 * steepest * rest * self.bound()
        self.time = target
        return True

    # ---- The set of states ----------------------------------------------------------------------

    def _anticipate(self, step: float, allowance: float) -> None:
        """Grow the set before a step, if probability flows out of it already."""
        leak = float((self.generator.leak * self.rows[0]).sum())
        if leak * step > 0.1 * _LEAK * allowance and not self._hit_limit:
            self._grow(self.rows[0], step, allowance)

    def _grow(self, weight: FloatArray, step: float, allowance: float) -> bool:
        """Add the states that probability flows into; return whether all of them are there."""
        space, complete, is_full = grown_for_step(
            self.search,
            self.generator,
            weight,
            step,
            least=least_flow(self.generator, step, max(allowance, _UNIT), self._caution),
            time=self.time,
            limit=self.solver.max_states,
        )
        self._hit_limit = self._hit_limit or is_full
        if space is not self.space:
            rows = np.zeros((len(self.rows), space.n_states))
            rows[:, space.index_of(self.space.states)] = self.rows
            self.space, self.rows = space, rows
            self._generator = self._slopes = None
            self._steady = 0
        return complete

    # ---- Uniformisation -------------------------------------------------------------------------

    def _uniformised(
        self, step: float, rate: float, missing: float
    ) -> tuple[FloatArray, FloatArray, float]:
        """Return the rows after `step`, what flowed out of each derivative, and the rounding.

        The rounding is a share of the size of each row.
        """
        flow, (slopes, _) = self.generator.flow, self.slopes
        n_names = len(self.solver.names)
        if rate == 0.0:
            return self.rows, np.zeros(n_names), 0.0
        weights = poisson_weights(rate * step, missing)
        # One term more: term k of the derivatives is up to k times as large as that of p.
        weights = np.append(weights, weights[-1] * rate * step / weights.size)
        tails = np.cumsum(weights[::-1])[::-1] - weights + max(missing, 1e-17)
        terms, following = self.rows.copy(), np.empty_like(self.rows)
        totals = weights[0] * terms
        lost = np.zeros(n_names)
        k, last = 0, weights.size - 1
        entries = (flow.source.size + 2 * slopes.into.size) * len(self.rows)
        at_once = max(1, _ENTRIES_AT_ONCE // (entries + 1))
        while k < last:
            count = min(at_once, last - k)
            add_sensitivity_terms(
                *(flow, slopes, rate, k, count, weights, tails, terms, following, totals, lost)
            )
            if count % 2:
                terms, following = following, terms
            k += count
            if time.monotonic() >= self._deadline:
                raise _TimeOut
        self.n_terms += last
        rounding = (rate * step + 10.0) * (flow.source.shape[0] + 8.0) * _UNIT
        return totals, lost / rate, rounding
