"""Which engine runs the direct method: single paths from tables, lanes, or code made for a network.

An engine never changes a number: all of them go the same paths, draw for draw. So the choice is a
matter of time alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from .compilation import CompiledNetwork
from .errors import MethodError
from .kernels.lanes import LaneNetwork, run_lanes
from .lane_compilation import compile_lanes, why_no_lanes
from .methods import Method
from .rate_laws import did_you_mean

__all__ = ["ENGINES", "Engine", "choose_engine"]

# Names and what they are, in the words of messages.
ENGINES = {
    "table": "one path at a time, from the network's tables",
    "lanes": "many paths in lockstep in vector registers, from the network's tables",
}

# From this many trajectories on lanes are chosen: with fewer most of the 32 lanes stand idle.
# Measured, time of lanes over time of single paths: see docs/engines.md.
_FEWEST_FOR_LANES = 16


@dataclass(frozen=True)
class Engine:
    """The engine of a run, and why it was chosen."""

    name: str
    reason: str
    lanes: LaneNetwork | None = None  # where paths go in lockstep
    kernel: Any = None  # of the lanes


def choose_engine(
    engine: str,
    method: Method,
    compiled: CompiledNetwork,
    n: int,
    *,
    every_event: bool,
    moves: bool,
) -> Engine:
    """Return the engine for `n` trajectories.

    `moves` says that something of the run changes between jumps, be it only its condition.

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
    obstacle = _obstacle(method, compiled, every_event, moves)
    if engine == "lanes":
        if obstacle is not None:
            raise MethodError(f"engine 'lanes' cannot do this run: {obstacle}; use engine='auto'")
        return Engine("lanes", "asked for", compile_lanes(compiled), run_lanes)
    if engine == "table":
        return Engine("table", "asked for")
    if obstacle is not None:
        return Engine("table", f"auto: no lanes, because {obstacle}")
    if n < _FEWEST_FOR_LANES:
        return Engine("table", f"auto: fewer than {_FEWEST_FOR_LANES} trajectories")
    reason = f"auto: {_FEWEST_FOR_LANES} or more trajectories of a network for lanes"
    return Engine("lanes", reason, compile_lanes(compiled), run_lanes)


def _obstacle(
    method: Method, compiled: CompiledNetwork, every_event: bool, moves: bool
) -> str | None:
    """Return why a run cannot go in lanes, or None if it can."""
    if method.name != "direct":
        return f"method '{method.name}' has none"
    if every_event:
        return "every event is recorded"
    reason = why_no_lanes(compiled)
    if reason is None and moves:
        return "its condition depends on the time"
    return reason
