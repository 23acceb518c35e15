"""Paths with streams and a kernel of their own, portion by portion: estimates are made of them."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..crews import Crew
from ..errors import NotEnoughMemoryError, SimulationError
from ..expressions import Expression
from ..gathering import Paths, Portion
from ..network import Network
from ..randomness import stream_key
from ..run_plan import RunPlan, plan_run

__all__ = ["Sampler", "parts_with_streams", "plan_of_reactions", "require_numbers", "values_of"]

FloatArray = NDArray[np.float64]

_PORTION_NUMBERS = 2**22


def plan_of_reactions(network: Network, t: Any, rng: Any, seed: Any, max_events: Any) -> RunPlan:
    """Return the plan of a run of the direct method that records all species."""
    return plan_run(
        network,
        t,
        method="direct",
        rng=rng,
        seed=seed,
        outputs=list(network.species_names) if isinstance(network, Network) else None,
        stop_when=None,
        max_events=max_events,
        every_event=False,
        method_options={},
    )


def parts_with_streams(plan: RunPlan, streams: str, reason: str) -> dict[str, Any]:
    """Return the fields of a plan, with the random streams of that name."""
    parts = {field.name: getattr(plan, field.name) for field in fields(plan)}
    parts["request"] = plan.request._replace(key=stream_key(plan.entropy, streams))
    parts["method_reason"] = reason
    return parts


def values_of(
    what: Expression, network: Network, times: float | FloatArray, counts: NDArray[np.int64]
) -> FloatArray:
    """Return the values of an expression; `counts` has the species on its last axis.

    Raises
    ------
    SimulationError
        If one is infinite or not a number.
    """
    known: dict[str, Any] = dict(
        zip(network.parameter_names, network.parameter_values.tolist(), strict=True)
    )
    known["t"] = times
    known |= {name: counts[..., i] for i, name in enumerate(network.species_names)}
    values = np.asarray(what.evaluate(known), dtype=np.float64)
    require_numbers(values, what)
    return np.broadcast_to(values, counts.shape[:-1])


def require_numbers(values: FloatArray, what: Expression) -> None:
    """Refuse values that are infinite or not a number."""
    if not np.isfinite(values).all():
        found = float(values[~np.isfinite(values)][0])
        raise SimulationError(
            f"{what} is {found:g} in a trajectory; write it so that it is always a number, for "
            "example with if(condition, a, b)"
        )


class Sampler:
    """Runs the paths of a plan in portions.

    Parameters
    ----------
    plan : RunPlan
    n_numbers : int
        That a path leaves.
    n_threads : int
    until : float
        Of `time.monotonic`, when it must end.

    Attributes
    ----------
    stopped : str or None
        What cut it short: "timeout", "interrupt" or "error".
    failure : SimulationError, NotEnoughMemoryError or None
        What could not go on.
    """

    def __init__(
        self, plan: RunPlan, n_numbers: int, n_threads: int, until: float = math.inf
    ) -> None:
        self._plan, self._n_threads, self._until = plan, n_threads, until
        self._size = max(64, _PORTION_NUMBERS // max(1, n_numbers))
        self.stopped: str | None = None
        self.failure: SimulationError | NotEnoughMemoryError | None = None

    def portions(self, first: int, last: int, tell: Callable[[float], None]) -> Iterator[Portion]:
        """Give paths first, ..., last - 1 in portions, until all are done or it must end."""
        for start in range(first, last, self._size):
            paths = Paths(self._plan, start, min(last, start + self._size))
            crew = Crew(self._plan, paths, self._n_threads)

            def report(done: float, before: int = start) -> None:
                tell(before + done)

            self.failure = crew.work(report, max(0.0, self._until - time.monotonic()))
            self.stopped = crew.stopped
            if self.stopped is not None:
                return
            yield paths.portion()
