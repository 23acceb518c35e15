"""One trajectory: on a grid of times, or with every event."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from .compilation import compile_rate_equations, state_change_matrix
from .errors import IncompleteWarning, Interrupted, MethodError, SimulationError
from .kernels.arrays import Output, Walker
from .kernels.walking import (
    ALL_DONE,
    COMPLETE,
    EVENTS_FULL,
    N_BUFFERED,
    N_EVENTS,
    N_RECORDED,
    TIME,
)
from .memory import available_memory
from .methods import Method
from .methods.ode import Ode, RateEquationSystem
from .network import Network
from .pace import STANDSTILL, Pace
from .progress import Progress, reporter
from .rate_laws import Expression
from .results import Trajectory
from .run_plan import RunPlan, check_timeout, plan_run, trouble

__all__ = ["run_trajectory", "simulate"]

_EVENTS_AT_ONCE = 65_536


def simulate(
    network: Network,
    t: Any,
    *,
    method: str | Method = "auto",
    rng: Any = None,
    seed: Any = None,
    every_event: bool = False,
    outputs: Sequence[str] | None = None,
    stop_when: str | Expression | None = None,
    max_events: int | None = None,
    timeout: float | None = None,
    progress: bool | Progress = False,
    **method_options: Any,
) -> Trajectory:
    """Sample one trajectory of a reaction network, or solve its rate equations.

    Parameters
    ----------
    network : Network
        Its rate constants set the unit of time.
    t : float or array_like, shape (n_times,)
        End time (then 101 times from 0), or increasing sampling times; `t[0]` is when the initial
        state holds.
    method : str or Method, optional
        A name from `METHODS`, or an instance with its own options. ``"auto"`` takes an exact
        method and never an approximate one; ``"ode"`` solves the rate equations.
    rng : None, int, SeedSequence or Generator, optional
        Source of randomness; the same whole number gives the same trajectory, which is also
        trajectory 0 of `ensemble` with that number. What was used is in
        `result.provenance.entropy`.
    seed : optional
        Another name for `rng`.
    every_event : bool, optional
        Give one row per event (one per leap in tau-leaping) instead of one per sampling time.
    outputs : sequence of str, optional
        Species, variables and observables to record; all species and variables by default.
    stop_when : str or Expression, optional
        A condition such as ``"X >= 80"`` on species, observables and parameters. The trajectory
        ends at the event that makes it true, `result.hitting_time`; from there on the state is
        held. In tau-leaping it is looked at after each leap.
    max_events : int, optional
        Most events (leaps count as one) before `EventLimitError`.
    timeout : float, optional
        Seconds after which the run stops and returns what it has, with an `IncompleteWarning`.
    progress : bool or callable, optional
        True shows a bar; a callable is called as ``progress(done, total)`` in units of time.
    **method_options
        Options of the method, for example ``epsilon=0.01`` for tau-leaping.

    Returns
    -------
    Trajectory
        `counts` of shape (n_times, n_species), int64 molecules. A count at time t includes any
        event at t. For ``"ode"`` they are float64, and the columns of variables follow.

    Raises
    ------
    ValueError, TypeError
        If an argument makes no sense; the message says which and what to do.
    NetworkError
        If a rate constant is negative, or a name in `outputs` or `stop_when` is unknown.
    MethodError
        If the method is unknown or cannot do what is asked for.
    SimulationError
        If a propensity turns negative or not a number, a count exceeds 2**53, or `max_events` is
        spent; `error.result` is the trajectory up to there.
    Interrupted
        On Ctrl-C; `error.result` is the trajectory up to there.
    """
    plan = plan_run(
        network,
        t,
        method=method,
        rng=rng,
        seed=seed,
        outputs=outputs,
        stop_when=stop_when,
        max_events=max_events,
        every_event=every_event,
        method_options=method_options,
    )
    seconds = check_timeout(timeout)
    report = reporter(progress, plan.times[-1] - plan.times[0], "simulate")
    if isinstance(plan.method, Ode):
        return _solve(plan, plan.method, seconds, report)
    return run_trajectory(plan, 0, seconds, report)


def run_trajectory(
    plan: RunPlan, index: int, timeout: float, report: Callable[[float], None]
) -> Trajectory:
    """Run trajectory `index` of a plan's streams, for `timeout` seconds at most."""
    walker = plan.walker()
    output = plan.output(1, _EVENTS_AT_ONCE if plan.request.every_event else 0)
    events: list[tuple[np.ndarray, ...]] = []
    pace = Pace(plan.network.n_reactions)
    stopped: str | None = None
    failure: SimulationError | Interrupted | None = None
    try:
        plan.load_kernel()
        deadline = time.monotonic() + timeout
        while True:
            status = pace.step(
                plan.stochastic_method.kernel,
                plan.compiled.arrays,
                plan.request,
                walker,
                output,
                index,
            )
            if status == STANDSTILL:
                failure = trouble(plan, walker, STANDSTILL, index)
            if status == EVENTS_FULL:
                failure = _take_events(output, walker, events)
            if status == ALL_DONE or failure is not None:
                break
            report(walker.clock[TIME] - plan.times[0])
            if time.monotonic() >= deadline:
                stopped = "timeout"
                break
    except KeyboardInterrupt:
        stopped = "interrupt"
        failure = Interrupted("interrupted; the trajectory so far is in the error's .result")
    outcome = int(output.outcome[0])
    if outcome > COMPLETE:
        failure = trouble(plan, walker, outcome, index)
    if isinstance(failure, SimulationError):
        stopped = "error"
    _take_events(output, walker, events)
    result = _trajectory(plan, walker, output, events, stopped)
    if failure is not None:
        failure.result = result
        raise failure
    report(plan.times[-1] - plan.times[0])
    if stopped == "timeout":
        _warn_timeout(result)
    return result


def _take_events(
    output: Output, walker: Walker, events: list[tuple[np.ndarray, ...]]
) -> SimulationError | None:
    """Move the buffered events to `events`; return an error when memory runs short."""
    n = int(walker.counter[N_BUFFERED])
    walker.counter[N_BUFFERED] = 0
    columns = (output.event_time, output.event_counts, output.event_values, output.event_reaction)
    events.append(tuple(column[:n].copy() for column in columns))
    available = available_memory()
    # Joining the pieces at the end needs as much again.
    if available is not None and available < len(events) * sum(c.nbytes for c in columns) + 2**26:
        return SimulationError(
            "memory ran short while recording every event; record a grid of times, or fewer "
            "species with outputs="
        )
    return None


def _trajectory(
    plan: RunPlan,
    walker: Walker,
    output: Output,
    events: list[tuple[np.ndarray, ...]],
    stopped: str | None,
) -> Trajectory:
    complete = int(output.outcome[0]) == COMPLETE
    end_time = float(plan.times[-1] if complete else walker.clock[TIME])
    reactions = None
    if plan.request.every_event:
        times, counts, values, reactions = (
            np.concatenate(pieces) for pieces in zip(*events, strict=True)
        )
    else:
        # An unfinished path is known at the grid times that were recorded, and no further.
        n = plan.times.size if complete else int(walker.counter[N_RECORDED])
        times, counts, values = plan.times[:n], output.counts[0, :n], output.values[0, :n]
    if times.size == 0:
        # Trouble before anything was recorded: the state at the start is known all the same.
        start = np.array(plan.request.initial_state[None, :-1])
        times, counts = plan.times[:1], start[:, plan.request.columns]
        values = _observed(plan, start, times)
        reactions = None if reactions is None else np.array([-1])
        end_time = float(plan.times[0])
    return Trajectory(
        times=times,
        counts=counts,
        species=plan.species,
        values=values,
        observables=plan.observables,
        network=plan.network,
        provenance=plan.provenance(),
        reactions=reactions,
        end_time=end_time,
        hitting_time=float(output.hitting_time[0]),
        stopped=stopped,
        n_events=int(walker.counter[N_EVENTS]),
    )


def _solve(
    plan: RunPlan, method: Ode, timeout: float, report: Callable[[float], None]
) -> Trajectory:
    for given, option in (
        (plan.request.every_event, "every_event"),
        (plan.options["stop_when"], "stop_when"),
        (plan.options["max_events"] is not None, "max_events"),
    ):
        if given:
            raise MethodError(
                f"method 'ode' has no events, so {option} means nothing to it; leave it out or "
                "choose a stochastic method"
            )
    network = plan.network
    equations, stack_depth = compile_rate_equations(network)
    system = RateEquationSystem(equations, stack_depth, state_change_matrix(network))
    amounts = np.empty((plan.times.size, len(network.state_names)))
    amounts[0] = np.concatenate([network.initial_state, network.initial_variables])
    stopped: str | None = None
    failure: SimulationError | Interrupted | None = None
    n_done = 1
    deadline = time.monotonic() + timeout
    try:
        for n_done in method.solve(system, amounts, plan.times):
            report(plan.times[n_done - 1] - plan.times[0])
            if n_done < plan.times.size and time.monotonic() >= deadline:
                stopped = "timeout"
                break
    except SimulationError as error:
        stopped, failure = "error", error
    except KeyboardInterrupt:
        stopped = "interrupt"
        failure = Interrupted("interrupted; the trajectory so far is in the error's .result")
    result = _amounts_trajectory(plan, amounts[:n_done], stopped)
    if failure is not None:
        failure.result = result
        raise failure
    if stopped is not None:
        _warn_timeout(result)
    return result


def _amounts_trajectory(plan: RunPlan, amounts: np.ndarray, stopped: str | None) -> Trajectory:
    network, n_done = plan.network, amounts.shape[0]
    values = _observed(plan, amounts, plan.times[:n_done])
    return Trajectory(
        times=plan.times[:n_done],
        counts=np.ascontiguousarray(amounts[:, plan.request.columns]),
        species=plan.species,
        values=values,
        observables=plan.observables,
        network=network,
        provenance=plan.provenance(),
        reactions=None,
        end_time=float(plan.times[n_done - 1]),
        hitting_time=float("nan"),
        stopped=stopped,
        n_events=0,
    )


def _observed(plan: RunPlan, amounts: np.ndarray, times: np.ndarray) -> np.ndarray:
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
        values[:, column] = network.expanded(expressions[name]).evaluate(state)
    return values


def _warn_timeout(result: Trajectory) -> None:
    import warnings

    warnings.warn(
        f"timeout: the trajectory ends at t = {result.end_time:g}",
        IncompleteWarning,
        stacklevel=4,
    )
