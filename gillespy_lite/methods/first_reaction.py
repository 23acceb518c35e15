"""Gillespie's first-reaction method."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from ..kernels.event_loop import event_kernel
from ..kernels.jit import inlined
from ..kernels.propensities import propensity
from ..kernels.random import exponential
from .method import StochasticMethod

__all__ = ["FirstReaction"]


@inlined
def _update(network, walker, fired, time):
    for k in range(network.dependent_start[fired], network.dependent_start[fired + 1]):
        reaction = network.dependent[k]
        value = propensity(network, reaction, walker.state, time, walker.stack)
        if not 0.0 <= value < np.inf:
            return reaction
        walker.reals[reaction] = value
    return -1


@inlined
def _propose(network, walker, time):
    # Every reaction draws a waiting time as if it were alone (eq. 28); the earliest one fires.
    first, chosen = np.inf, -1
    for reaction in range(network.form.size):
        value = walker.reals[reaction]
        if value > 0.0:
            waiting_time = exponential(walker.stream) / value
            if waiting_time < first:
                first, chosen = waiting_time, reaction
    return time + first, chosen


run_first_reaction = event_kernel("first_reaction", _update, _propose)


@dataclass(frozen=True)
class FirstReaction(StochasticMethod):
    """Gillespie's first-reaction method: every reaction draws a waiting time, the earliest fires.

    Exact, and slower than the direct method: it draws once per reaction and event. It shares no
    step with the direct method beyond the propensities, which makes it a good check.

    References
    ----------
    Gillespie (1976), J. Comput. Phys. 22, 403, doi:10.1016/0021-9991(76)90041-3.
    """

    name: ClassVar[str] = "first_reaction"
    summary: ClassVar[str] = "Gillespie's first-reaction method"
    citation: ClassVar[str] = "Gillespie (1976), doi:10.1016/0021-9991(76)90041-3"
    is_exact: ClassVar[bool] = True
    kernel: ClassVar[Any] = staticmethod(run_first_reaction)

    def workspace(self, n_species: int, n_reactions: int) -> tuple[int, int]:
        """Return the sizes for the propensities."""
        return n_reactions, 0
