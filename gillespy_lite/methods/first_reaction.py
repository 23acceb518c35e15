"""Gillespie's first-reaction method."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from ..kernels.event_loop import event_kernel
from ..kernels.jit import inlined
from ..kernels.jump_loop import jump_kernel
from ..kernels.propensities import state_propensity
from ..kernels.random import exponential
from ..kernels.thinning import window_value
from .method import ExactMethod

__all__ = ["FirstReaction"]


def _update_of(value_of: Callable[..., Any]) -> Any:
    # For propensities as they are, or for bounds of them.
    @inlined
    def update(network, walker, fired, time):
        for i in range(network.part_start[fired], network.part_start[fired + 1]):
            part = network.part[i]
            for k in range(network.dependent_start[part], network.dependent_start[part + 1]):
                reaction = network.dependent[k]
                value = value_of(network, walker, reaction, time)
                if not 0.0 <= value < np.inf:
                    return reaction
                walker.reals[reaction] = value
        return -1

    return update


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


run_first_reaction = event_kernel("first_reaction", _update_of(state_propensity), _propose)
run_first_reaction_jumps = jump_kernel("first_reaction", _update_of(window_value), _propose)


@dataclass(frozen=True)
class FirstReaction(ExactMethod):
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
    kernel: ClassVar[Any] = staticmethod(run_first_reaction)
    jump_kernel: ClassVar[Any] = staticmethod(run_first_reaction_jumps)

    def workspace(self, n_species: int, n_reactions: int) -> tuple[int, int]:
        """Return the sizes for the propensities."""
        return n_reactions, 0
