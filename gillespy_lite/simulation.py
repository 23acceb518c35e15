"""One trajectory: on a grid of times, or with every event."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from .errors import Interrupted, SimulationError
from .kernels.arrays import JumpWalker, Output, Walker
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
from .methods.ode import Ode
from .network import Network
from .pace import STANDSTILL, Pace
from .progress import Progress, reporter
from .rate_equation_runs import observed_values, solve_rate_equations, warn_timeout
from .rate_laws import Expression
from .results import Trajectory
from .results.columns import moving_names
from .run_plan import RunPlan, check_timeout, plan_run, trouble

__all__ = ["run_trajectory", "simulate"]

_EVENTS_AT_ONCE = 65_536


def simulate(
    network: Network,
    t: Any,
    *,
    method: str | Method = "auto",
    engine: str = "auto",
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
    engine : str, optional
        How the direct method goes its paths: ``"table"``, or ``"specialised"``, by code generated
        for the network. It has no influence on the numbers; ``"auto"`` chooses by the work to do,
        and `result.provenance.engine_reason` says why.
    rng : None, int, SeedSequence or Generator, optional
        Source of randomness; the same whole number gives the same trajectory, which is also
        trajectory 0 of `ensemble` with that number. What was used is in
        `result.provenance.entropy`.
    seed : optional
        Another name for `rng`.
    every_event : bool, optional
        Give one row per event (one per leap in tau-leaping) instead of one per sampling time.
        Completions of delayed reactions and events of the network have rows of their own, with -1
        in `result.reactions`.
    outputs : sequence of str, optional
        Species, variables and observables to record; all species and variables by default.
    stop_when : str or Expression, optional
        A condition such as ``"X >= 80"`` on species, variables, observables, parameters and `t`.
        The trajectory ends at the instant at which it becomes true, `result.hitting_time`; from
        there on the state is held. In tau-leaping it is looked at after each leap.
    max_events : int, optional
        Most rows of `every_event` after the first (leaps count as one) before `EventLimitError`.
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
        event at t. Variables are recorded in `values`, beside observables. For ``"ode"`` the
        counts are float64, and the columns of variables follow.

    Raises
    ------
    ValueError, TypeError
        If an argument makes no sense; the message says which and what to do.
    NetworkError
        If a rate constant is negative, or a name in `outputs` or `stop_when` is unknown.
    MethodError
        If the method is unknown or cannot do what is asked for.
    SimulationError
        If a propensity turns negative, unbounded or not a number, a delay or an event makes no
        sense, a variable cannot be integrated further, a count exceeds 2**53, or `max_events` is
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
        engine=engine,
        method_options=method_options,
    )
    seconds = check_timeout(timeout)
    report = reporter(progress, plan.times[-1] - plan.times[0], "simulate")
    if isinstance(plan.method, Ode):
        return solve_rate_equations(plan, plan.method, seconds, report)
    return run_trajectory(plan, 0, seconds, report)


def run_trajectory(
    plan: RunPlan, index: int, timeout: float, report: Callable[[float], None]
) -> Trajectory:
    """Run trajectory `index` of a plan's streams, for `timeout` seconds at most."""
    walker: Walker | JumpWalker = plan.walker()
    output = plan.output(1, _EVENTS_AT_ONCE if plan.request.every_event else 0)
    events: list[tuple[np.ndarray, ...]] = []
    pace = Pace(plan.network.n_reactions)
    stopped: str | None = None
    failure: SimulationError | Interrupted | None = None
    try:
        plan.load_kernel()
        deadline = time.monotonic() + timeout
        while True:
            status = pace.step(plan.kernel, plan.arrays, plan.request, walker, output, index)
            walker = plan.with_room(walker, status)
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
        warn_timeout(result)
    return result


def _take_events(
    output: Output, walker: Walker | JumpWalker, events: list[tuple[np.ndarray, ...]]
) -> SimulationError | None:
    """Move the buffered events to `events`; return an error when memory runs short."""
    n = int(walker.counter[N_BUFFERED])
    walker.counter[N_BUFFERED] = 0
    columns = (output.event_time, output.event_counts, output.event_values, output.event_reaction)
    events.append(tuple(column[:n].copy() for column in columns))
    if output.event_time.size == 0:
        return None  # a grid alone is wanted; asking for the memory would take longer than the run
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
    walker: Walker | JumpWalker,
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
        moving = moving_names(plan.network).intersection((*plan.species, *plan.observables))
        is_whole = complete and np.isnan(output.hitting_time[0]) and times.size > 0
        if moving and is_whole and times[-1] < end_time:
            # What moves between jumps is not at the end where it was after the last of them.
            times = np.append(times, end_time)
            counts = np.concatenate([counts, output.counts[0, -1:]])
            values = np.concatenate([values, output.values[0, -1:]])
            reactions = np.append(reactions, -1)
    else:
        # An unfinished path is known at the grid times that were recorded, and no further.
        n = plan.times.size if complete else int(walker.counter[N_RECORDED])
        times, counts, values = plan.times[:n], output.counts[0, :n], output.values[0, :n]
    if times.size == 0:
        # Trouble before anything was recorded: the state at the start is known all the same.
        start = np.array(plan.request.initial_state[None, :-1])
        times, counts = plan.times[:1], start[:, plan.request.columns].astype(np.int64)
        values = observed_values(plan, start, times)
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
