"""One solution of the rate equations: pieces of smooth motion between events and switches.

A switch is a part of a rate that jumps: a comparison, `floor` or `ceil`. Its value is held while
the solver steps, and the solver begins anew at the instant at which it changes, as it does where an
event is executed. Both are found on the polynomial that the solver gives for each step.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from .compilation import (
    compile_expressions,
    compile_rate_equations,
    jumping_parts,
    label,
    state_change_entries,
)
from .errors import IncompleteWarning, Interrupted, MethodError, SimulationError
from .event_compilation import compile_events, enlarged, event_store, event_trouble
from .kernels.event_handling import (
    N_EXECUTED,
    QUEUE_FULL,
    SETTLED,
    find_first_change,
    find_next_change,
    find_next_due,
    find_next_timed,
    reset_events,
    settle_events,
)
from .kernels.paths import Path, fill_path_state
from .kernels.random import start_stream
from .mass_action import rate_expression
from .methods.ode import Ode, RateEquationSystem, bernstein_form
from .network import Network
from .rate_laws import Expression, Number, Symbol
from .results import Trajectory
from .run_plan import RunPlan

__all__ = ["observed_values", "solve_rate_equations", "warn_timeout"]

_STEPS_BETWEEN_CHECKS = 20_000
# A switch that changes this often, each time within this part of the time, works against itself.
_MOST_CHANGES, _AT_ONCE = 100, 1e-10
# Solvers need room for a first step; over less than this part of the time, one of Euler's is exact.
_SHORTEST = 1e-13


def solve_rate_equations(
    plan: RunPlan, method: Ode, timeout: float, report: Callable[[float], None]
) -> Trajectory:
    """Solve the rate equations on the plan's times, for `timeout` seconds at most."""
    for given, option in (
        (plan.request.every_event, "every_event"),
        (plan.options["max_events"] is not None, "max_events"),
    ):
        if given:
            raise MethodError(
                f"method 'ode' fires no single reactions, so {option} means nothing to it; leave "
                "it out or choose a stochastic method"
            )
    stopped: str | None = None
    failure: SimulationError | Interrupted | None = None
    deadline = time.monotonic() + timeout
    run = _Run(plan, method)
    try:
        for _ in run.steps():
            report(run.time - plan.times[0])
            if time.monotonic() >= deadline and run.n_done < plan.times.size:
                stopped = "timeout"
                break
    except SimulationError as error:
        stopped, failure = "error", error
    except KeyboardInterrupt:
        stopped = "interrupt"
        failure = Interrupted("interrupted; the trajectory so far is in the error's .result")
    result = _trajectory(plan, run, stopped)
    if failure is not None:
        failure.result = result
        raise failure
    if stopped is not None:
        warn_timeout(result)
    return result


class _Run:
    """A solution under way.

    Attributes
    ----------
    time : float
        How far it is.
    amounts : ndarray, shape (n_times, n_states)
        Its rows up to `n_done` are filled.
    hitting_time : float
        When the condition of `stop_when` became true, nan while it has not.
    """

    def __init__(self, plan: RunPlan, method: Ode) -> None:
        network = plan.network
        self._network, self._method, self._times = network, method, plan.times
        names = network.state_names
        n_states = len(names)
        moving, change = _motion(network)
        moving_names = [names[i] for i in moving]
        switches = self._jumps = _switches(network)
        equations, depth = compile_rate_equations(network, switches)
        self._switches, switch_depth = compile_expressions(network, switches)
        self._system = RateEquationSystem(
            equations,
            max(depth, switch_depth),
            change,
            moving=moving,
            switches=self._switches if switches else None,
        )
        self._state = np.ones(n_states + 1)  # as at `time`, with the 1 at its end
        self._events = compile_events(network, moving_names, finite=moving_names)
        self._condition = plan.request.condition if plan.options["stop_when"] else None
        self._parameters = np.array(network.parameter_values, dtype=np.float64)
        self._store = event_store(
            self._events, n_states, stack_depth=max(plan.stack_depth, switch_depth)
        )
        self._stream = np.zeros(4, dtype=np.uint64)
        if network.events:
            start_stream(plan.request.key, 0, self._stream)
        read = [switch.symbols() for switch in switches]
        timed = [s.isdisjoint(names) for s in read]
        self._timed = np.flatnonzero(timed)
        self._untimed = np.flatnonzero(~np.array(timed, dtype=bool))
        self._next_timed = np.full(len(switches), -np.inf)
        self._changes = np.zeros(len(switches), dtype=np.int64)
        self._changed_at = np.full(len(switches), -np.inf)
        # The rows of the solver's state that anything looked at between steps reads.
        watched = {name for one in read for name in one}
        for event in network.events:
            watched |= network.expanded(event.trigger).symbols()
        if self._condition is not None:
            watched |= set(names)
        self._watched_rows = np.array(
            [k for k, name in enumerate(moving_names) if name in watched], dtype=np.int64
        )
        self._is_watching = bool(network.events or switches or self._condition is not None)
        self.amounts = np.empty((plan.times.size, n_states))
        self.n_done = 0
        self.time = float(plan.times[0])
        self.hitting_time = float("nan")
        self._scale = np.zeros(moving.size)  # the largest amounts so far
        self._n_steps, self._checked_at = 0, self.time
        self._state[:-1] = np.concatenate([network.initial_state, network.initial_variables])

    @property
    def n_executed(self) -> int:
        """Executions of events so far."""
        return int(self._store.counter[N_EXECUTED])

    # -- Going on

    def steps(self) -> Iterator[None]:
        """Go on step by step; it can be left after any."""
        times = self._times
        reset_events(self._events.events, self._store, self.time)
        self._settle()
        if self._holds():
            self._stop()
        while self.time < times[-1] and self.n_done < times.size:
            yield from self._piece()
        self._record_here()
        yield

    def _piece(self) -> Iterator[None]:
        """Integrate until something changes at once, or to a time known to be of interest."""
        here, moving = self.time, self._system.moving
        system, store = self._system, self._store
        system.state[:] = self._state
        if self._is_watching:
            for scratch in (store.state, store.low, store.high):
                scratch[:] = self._state
        self._hold_switches()
        bound = self._bound()
        if moving.size == 0:
            self._through(bound, _Rest(self._state[:0]))
            yield
            return
        y = self._state[moving]
        self._scale = np.maximum(self._scale, np.abs(y))
        with np.errstate(all="ignore"):
            slope = system.right_hand_side(here, y)
        if not np.isfinite(slope).all():
            raise self._not_finite(f"the rate equations cannot go on from t = {here:g}")
        if bound - here <= _SHORTEST * max(abs(here), abs(bound)):
            self._through(bound, _Line(here, bound, y, slope))
            yield
            return
        atol = self._method.tolerances(system, here, y, self._scale, self._times[-1] - here)
        solver = self._method.solver_from(system, here, y, bound, atol)
        while solver.status == "running":
            system.bad_point = None
            with np.errstate(all="ignore"):
                message = solver.step()
            self._check_headway(solver.t)
            if solver.status == "failed" or not np.isfinite(solver.y).all():
                raise self._not_finite(
                    f"the rate equations could not be integrated beyond t = {solver.t:g}",
                    message or "the amounts became infinite",
                )
            self._scale = np.maximum(self._scale, np.abs(solver.y))
            if solver.t == self.time:  # a step too short for the clock
                continue
            ends_piece = self._through(float(solver.t), solver)
            yield
            if ends_piece or self.n_done == self._times.size:
                return

    def _through(self, end: float, motion: Any) -> bool:
        """Go to `end` or to where something changes at once; return whether that was earlier."""
        if not self._is_watching:
            self._record(end, motion)
            self._move_to(end, motion)
            return False
        rows = self._watched_rows
        moving = self._system.moving[rows]
        if rows.size:
            if isinstance(motion, _Line):
                coefficients = motion.bernstein(rows)
            else:
                coefficients = bernstein_form(motion.dense_output(), rows)
        else:
            coefficients = np.zeros((0, 1))
        window = np.array([self.time, end])
        path = Path(moving, coefficients, window, np.zeros(coefficients.shape[1]))
        while self.time < end:
            until = min(end, float(find_next_due(self._store)))
            event, switch, condition = self._next_changes(path, until)
            stop = min(event, switch, condition, until)
            self._record(stop, motion)
            self._move_to(stop, motion)
            fill_path_state(path, stop, self._state)
            if condition == stop:
                self._stop()
                return True
            executed = self._settle()
            if executed and self._holds():
                self._stop()
                return True
            if executed or switch == stop:
                return True
        return False

    def _next_changes(self, path: Path, until: float) -> tuple[float, float, float]:
        """Return when a trigger, a switch and the stopping condition change next, to `until`."""
        here, store, parameters = self.time, self._store, self._parameters
        event = switch = condition = np.inf
        if self._network.events:
            event = find_next_change(
                self._events.events, store, path, self._state, parameters, here, until
            )
        if self._timed.size:
            switch = float(self._next_timed[self._timed].min())
        if self._untimed.size:
            held = self._system.held
            switch = min(
                switch,
                find_first_change(
                    self._switches, self._untimed, held, path, parameters, here, until, store
                ),
            )
        if self._condition is not None:
            condition = find_first_change(
                self._condition, _FIRST, _FALSE, path, parameters, here, until, store
            )
        return tuple(t if t <= until else np.inf for t in (event, switch, condition))  # type: ignore[return-value]

    def _bound(self) -> float:
        """Return the next time at which something is known to happen."""
        store, end = self._store, float(self._times[-1])
        bound = min(end, float(find_next_due(store)))
        if not self._is_watching:
            return bound
        nothing = Path(_NONE, np.zeros((0, 1)), np.array([self.time, end]), np.zeros(1))
        if self._network.events:
            bound = min(
                bound,
                find_next_timed(
                    self._events.events, store, nothing, self._parameters, self.time, end
                ),
            )
        for k in self._timed:
            if self._next_timed[k] <= self.time:
                which = np.array([k])
                self._next_timed[k] = find_first_change(
                    self._switches, which, self._system.held, nothing, self._parameters,
                    self.time, end, store,
                )  # fmt: skip
            bound = min(bound, float(self._next_timed[k]))
        return bound

    # -- At an instant

    def _settle(self) -> bool:
        """Execute the events that are due; return whether there were any."""
        if not self._network.events:
            return False
        before = self.n_executed
        while True:
            status = settle_events(
                self._events.events, self._store, self._state, self._parameters, self.time,
                self._stream, False, self._network.n_species,
            )  # fmt: skip
            if status != QUEUE_FULL:
                break
            self._store = enlarged(self._store)
        if status != SETTLED:
            raise event_trouble(self._network, self._events, self._store, status, self.time)
        return self.n_executed > before

    def _holds(self) -> bool:
        """Return whether the condition of `stop_when` is true."""
        if self._condition is None:
            return False
        for scratch in (self._store.state, self._store.low, self._store.high):
            scratch[:] = self._state
        nothing = Path(_NONE, np.zeros((0, 1)), np.array([self.time, self.time]), np.zeros(1))
        change = find_first_change(
            self._condition, _FIRST, _FALSE, nothing, self._parameters, self.time, self.time,
            self._store,
        )  # fmt: skip
        return bool(change == self.time)

    def _stop(self) -> None:
        """Hold the state from here on."""
        self.hitting_time = self.time
        self.amounts[self.n_done :] = self._state[:-1]
        self.n_done = self._times.size
        self.time = float(self._times[-1])

    def _hold_switches(self) -> None:
        system = self._system
        if system.held.size == 0:
            return
        values = system.switch_values(self.time).copy()
        changed = np.flatnonzero(values != system.held)
        system.held[:] = values
        moment = _AT_ONCE * float(self._times[-1] - self._times[0])
        for k in changed:
            is_again = self.time - self._changed_at[k] <= moment
            self._changes[k] = self._changes[k] + 1 if is_again else 0
            self._changed_at[k] = self.time
            if self._changes[k] > _MOST_CHANGES:
                raise SimulationError(
                    f"'{self._jumps[k]}' in a rate switches back and forth at t = {self.time:g}: "
                    "what it does to the rates undoes it at once. Write a law without a jump there"
                )

    # -- Recording

    def _record_here(self) -> None:
        """Fill the row of the present time, if there is one."""
        if self.n_done < self._times.size and self._times[self.n_done] <= self.time:
            self.amounts[self.n_done] = self._state[:-1]
            self.n_done += 1

    def _record(self, end: float, motion: Any) -> None:
        """Fill the rows from the present time to before `end`."""
        self._record_here()
        last = int(np.searchsorted(self._times, end, side="left"))
        if last > self.n_done:
            rows = slice(self.n_done, last)
            self.amounts[rows] = self._state[:-1]
            if self._system.moving.size:
                dense = motion.dense_output()(self._times[rows])
                self.amounts[rows, self._system.moving] = dense.T
            self.n_done = last

    def _move_to(self, at: float, motion: Any) -> None:
        moving = self._system.moving
        if moving.size:
            self._state[moving] = motion.y if at == motion.t else motion.dense_output()(at)
        self.time = at

    # -- Trouble

    def _check_headway(self, at: float) -> None:
        self._n_steps += 1
        if self._n_steps % _STEPS_BETWEEN_CHECKS == 0:
            if at - self._checked_at < 1e-9 * (self._times[-1] - self._times[0]):
                raise SimulationError(
                    f"the rate equations make no headway at t = {at:g}: the amounts "
                    "explode there, or a rate jumps back and forth. Check the rate laws"
                )
            self._checked_at = at

    def _not_finite(self, what: str, reason: str = "") -> SimulationError:
        """Return the error for a solution that cannot go on, naming the rate to blame."""
        system, network = self._system, self._network
        if system.bad_point is not None:
            at, moving = system.bad_point
            bad = system.bad_rate(at, moving)
            if bad is not None:
                rate, value = bad
                of = (
                    f"the rate of reaction {label(network, rate)}"
                    if rate < network.n_reactions
                    else "the time derivative of variable "
                    f"'{network.variable_names[rate - network.n_reactions]}'"
                )
                return SimulationError(f"{what}: {of} is {value:g} at t = {at:g}; check it")
        return SimulationError(
            f"{what}: {reason}; check the rate laws there, or try another solver (method options "
            "solver, rtol, atol)"
        )


_NONE = np.zeros(0, dtype=np.int64)
_FIRST = np.zeros(1, dtype=np.int64)
_FALSE = np.zeros(1)


class _Rest:
    """A motion of nothing."""

    def __init__(self, y: np.ndarray) -> None:
        self.y = y


class _Line:
    """A straight motion over a time too short for a solver."""

    def __init__(self, start: float, end: float, y: np.ndarray, slope: np.ndarray) -> None:
        self._start, self.t = start, end
        self._from, self._slope = y, slope
        self.y = y + (end - start) * slope

    def dense_output(self) -> Callable[[Any], np.ndarray]:
        """Return the amounts as a function of the time."""
        return lambda at: (self._from + np.multiply.outer(at - self._start, self._slope)).T

    def bernstein(self, rows: np.ndarray) -> np.ndarray:
        """Return some components in Bernstein form."""
        return np.ascontiguousarray(np.column_stack([self._from[rows], self.y[rows]]))


def _motion(network: Network) -> tuple[np.ndarray, Any]:
    """Return which states move, and what each rate changes, (n_states, n_rates), sparse."""
    from scipy import sparse

    rows, columns, values = state_change_entries(network)
    n_states, n_reactions = len(network.state_names), network.n_reactions
    zero = Number(0.0)
    still = [
        n_reactions + i
        for i in range(network.n_variables)
        if network.expanded_variable_rate(i) == zero
    ]
    moves = ~np.isin(columns, still)
    shape = n_states, n_reactions + network.n_variables
    return np.unique(rows[moves]), sparse.csr_array((values, (rows, columns)), shape=shape)


def _switches(network: Network) -> tuple[Expression, ...]:
    """Return the parts of the rates that jump, the largest ones."""
    found: tuple[Expression, ...] | None = network.memo.get("switches")
    if found is None:
        states = {*network.state_names, "t"}
        rates = [
            rate_expression(network, j)
            if reaction.kind == "propensity"
            else network.expanded_rate(j)
            for j, reaction in enumerate(network.reactions)
        ]
        rates += [network.expanded_variable_rate(i) for i in range(network.n_variables)]
        found = network.memo["switches"] = tuple(jumping_parts(rates, states))
    return found


def _trajectory(plan: RunPlan, run: _Run, stopped: str | None) -> Trajectory:
    n_done = max(run.n_done, 1)
    if run.n_done == 0:  # trouble before anything was recorded
        network = plan.network
        run.amounts[0] = np.concatenate([network.initial_state, network.initial_variables])
    times, amounts = plan.times[:n_done], run.amounts[:n_done]
    return Trajectory(
        times=times,
        counts=np.ascontiguousarray(amounts[:, plan.request.columns]),
        species=plan.species,
        values=observed_values(plan, amounts, times),
        observables=plan.observables,
        network=plan.network,
        provenance=plan.provenance(),
        reactions=None,
        end_time=float(times[-1]),
        hitting_time=run.hitting_time,
        stopped=stopped,
        n_events=run.n_executed,
    )


def observed_values(plan: RunPlan, amounts: np.ndarray, times: np.ndarray) -> np.ndarray:
    """Return the recorded observables (n_times, n_values) of states (n_times, n_states)."""
    network = plan.network
    state: dict[str, Any] = {
        **dict(zip(network.parameter_names, network.parameter_values.tolist(), strict=True)),
        **dict(zip(network.state_names, amounts.T, strict=True)),
        "t": times,
    }
    expressions = {one.name: one.expression for one in network.observables}
    values = np.empty((times.size, len(plan.observables)))
    for column, name in enumerate(plan.observables):
        # In samples, variables stand among them.
        expression = expressions.get(name, Symbol(name))
        values[:, column] = network.expanded(expression).evaluate(state)
    return values


def warn_timeout(result: Trajectory) -> None:
    """Say that a run was stopped by its time limit."""
    import warnings

    warnings.warn(
        f"timeout: the trajectory ends at t = {result.end_time:g}",
        IncompleteWarning,
        stacklevel=4,
    )
