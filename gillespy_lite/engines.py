"""Which engine runs a method: single paths from tables, lanes, or code made for a network.

The direct method has all of them, tau-leaping tables and lanes. An engine never changes a number:
all of them go the same paths, draw for draw. So the choice is a matter of time alone. What
``"auto"`` chooses depends on the arguments of the run and on nothing else: not on the clock, nor on
what happens to be compiled.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from .compilation import CompiledNetwork
from .errors import MethodError
from .kernels.lane_leaps import LeapNetwork, run_leap_lanes
from .kernels.lane_martingales import MartingaleLanes
from .kernels.lane_trees import run_lane_trees
from .kernels.lanes import LaneNetwork, run_lanes
from .kernels.programs import Programs
from .kernels.sum_tree import DENSE_LIMIT, LANE_LIMIT
from .lane_compilation import compile_lanes, compile_leap_lanes, why_no_lanes
from .methods import Method
from .rate_laws import did_you_mean
from .reaction_text import n_operations
from .specialisation import (
    can_specialise,
    compile_seconds_estimate,
    specialised_kernel,
    specialised_lanes,
)

__all__ = ["ENGINES", "Engine", "RunShape", "choose_engine"]

# Names and what they are, in the words of messages.
ENGINES = {
    "table": "one path at a time, from the network's tables",
    "lanes": "many paths in lockstep in vector registers, from the network's tables",
    "specialised": "code generated for the network: one path at a time, or lanes",
}

# From this many trajectories on lanes are chosen: with fewer most of the 32 lanes stand idle. In
# networks of more reactions than DENSE_LIMIT lanes gain less, and none may.
_FEWEST_FOR_LANES, _FEWEST_FOR_TREES = 16, 32


@dataclass(frozen=True)
class Engine:
    """The engine of a run, and why it was chosen."""

    name: str
    reason: str
    lanes: LaneNetwork | LeapNetwork | MartingaleLanes | None = None  # where paths go in lockstep
    lane_kernel: Any = None
    kernel: Any = None  # of single paths, where it is not the method's own


@dataclass(frozen=True)
class RunShape:
    """What of a run bears upon the choice of its engine."""

    n_trajectories: int
    every_event: bool
    moves: bool  # something changes between jumps, be it only the condition of the run
    condition: Programs  # `Request.condition`


def choose_engine(
    engine: str,
    method: Method,
    compiled: CompiledNetwork,
    shape: RunShape,
    expected_events: Callable[[Engine, float], float],
) -> Engine:
    """Return the engine of a run.

    Parameters
    ----------
    engine : str
        ``"auto"`` or a name from `ENGINES`.
    method : Method
    compiled : CompiledNetwork
    shape : RunShape
    expected_events : callable
        Returns about how many events the whole run will have, found out by an engine that needs no
        compilation for the network. The second argument is how many make a difference; where there
        are far fewer, it does not matter how many.

    Raises
    ------
    MethodError
        If there is no such engine, or it cannot do this run; the message says why.
    """
    if engine not in ("auto", *ENGINES):
        hint = did_you_mean(str(engine), ["auto", *ENGINES])
        raise MethodError(
            f"unknown engine {engine!r}; the engines are auto, {', '.join(ENGINES)}{hint}"
        )
    if engine == "table":
        return Engine("table", "asked for")
    obstacle = _obstacle(engine, method, compiled, shape)
    if obstacle is not None and engine != "auto":
        raise MethodError(f"engine {engine!r} cannot do this run: {obstacle}; use engine='auto'")
    no_lanes = obstacle or _no_lanes(method, compiled, shape)
    if engine == "specialised":
        return _specialised("asked for", compiled, shape, no_lanes is None)
    if obstacle is not None:
        return Engine("table", f"auto: {obstacle}")
    is_dense = compiled.arrays.form.size <= DENSE_LIMIT
    fewest = _FEWEST_FOR_LANES if is_dense else _FEWEST_FOR_TREES
    if no_lanes is None and (engine == "lanes" or shape.n_trajectories >= fewest):
        why = f"auto: {fewest} or more trajectories"
        chosen = _lanes("asked for" if engine == "lanes" else why, method, compiled)
    else:
        few = f"fewer than {fewest} trajectories"
        chosen = Engine("table", f"auto: {no_lanes or few}")
    if engine == "auto" and method.name == "direct" and can_specialise(compiled) is None:
        cost = compile_seconds_estimate(compiled, lanes=chosen.lanes is not None)
        saved = _seconds_saved(compiled, lanes=chosen.lanes is not None)
        n_events = expected_events(chosen, cost / saved)
        if n_events * saved > cost:
            reason = f"auto: about {n_events:.1g} events, worth some {cost:.1f} s of compilation"
            return _specialised(reason, compiled, shape, chosen.lanes is not None)
    return chosen


def _lanes(reason: str, method: Method, compiled: CompiledNetwork) -> Engine:
    if method.name == "tau_leaping":
        leaps = compile_leap_lanes(compiled)
        return Engine("lanes", reason, lanes=leaps, lane_kernel=run_leap_lanes)
    lanes = compile_lanes(compiled)
    kernel = run_lanes if lanes.n_reactions <= DENSE_LIMIT else run_lane_trees
    return Engine("lanes", reason, lanes=lanes, lane_kernel=kernel)


def _specialised(reason: str, compiled: CompiledNetwork, shape: RunShape, in_lanes: bool) -> Engine:
    if in_lanes and shape.n_trajectories >= _FEWEST_FOR_LANES:
        kernel = specialised_lanes(compiled, shape.condition)
        return Engine("specialised", reason, lanes=compile_lanes(compiled), lane_kernel=kernel)
    return Engine("specialised", reason, kernel=specialised_kernel(compiled, shape.condition))


def _seconds_saved(compiled: CompiledNetwork, *, lanes: bool) -> float:
    """Return about how much less an event takes in code generated for a network.

    Measured, ns an event by tables and by generated code, lanes and single paths: SIR 3.2 and 2.9,
    14 and 6.4; Vilar 6.9 and 6.2, 30 and 19; repressilator of 30 reactions 13 and 11, 54 and 26;
    toggle switch with Hill laws (14 operations) 5.1 and 4.4, 31 and 14; a clock of 30 reactions
    with laws (162 operations) 23 and 14, 77 and 45.
    """
    n, size = compiled.arrays.form.size, n_operations(compiled.arrays.laws)
    nanoseconds = 0.05 * n + 0.06 * size if lanes else 9.0 + 0.3 * n + 0.15 * size
    return 1e-9 * nanoseconds


def _obstacle(
    engine: str, method: Method, compiled: CompiledNetwork, shape: RunShape
) -> str | None:
    """Return why only tables can do a run, or, of an engine that was asked for, why it cannot."""
    if method.name == "tau_leaping":
        if engine == "specialised":
            return "method 'tau_leaping' has the engines 'table' and 'lanes' only"
    elif method.name != "direct":
        return f"method '{method.name}' has the engine 'table' only"
    if shape.moves:
        return "something changes between the jumps of reactions: a rate, a condition, an event"
    if engine == "lanes":
        return _no_lanes(method, compiled, shape)
    return can_specialise(compiled) if engine == "specialised" else None


def _no_lanes(method: Method, compiled: CompiledNetwork, shape: RunShape) -> str | None:
    """Return why a run cannot go in lanes, or None if it can."""
    if shape.every_event:
        return "every event is recorded"
    return why_no_lanes(compiled, LANE_LIMIT if method.name == "direct" else DENSE_LIMIT)
