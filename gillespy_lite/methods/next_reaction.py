"""The next-reaction method of Gibson and Bruck."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from ..kernels.event_loop import event_kernel
from ..kernels.indexed_heap import Heap, build_heap, first_slot, heap_size, move_to
from ..kernels.jit import inlined
from ..kernels.jump_loop import jump_kernel
from ..kernels.propensities import state_propensity
from ..kernels.random import exponential
from ..kernels.thinning import window_value
from .method import ExactMethod

__all__ = ["NextReaction"]


# A channel below this is as good as dead. Far above the least double, so that waiting times stay
# finite: an infinite one could not be rescaled when the propensity grows.
_LEAST_ALIVE = 1e-290


_first_slot = inlined(first_slot)


@inlined
def _heap_of(walker, n):
    start = _first_slot(n)
    return Heap(walker.reals[start : start + n], walker.integers[:n], walker.integers[n : 2 * n])


@inlined
def _fresh_time(walker, value, time):
    return time + exponential(walker.stream) / value if value > _LEAST_ALIVE else np.inf


def _update_of(value_of: Callable[..., Any]) -> Any:
    # For propensities as they are, or for bounds of them.
    @inlined
    def update(network, walker, fired, time):
        n = network.form.size
        propensities, heap = walker.reals[:n], _heap_of(walker, n)
        for i in range(network.part_start[fired], network.part_start[fired + 1]):
            # What stands in two parts has its new value the second time, and is passed over.
            part = network.part[i]
            for k in range(network.dependent_start[part], network.dependent_start[part + 1]):
                reaction = network.dependent[k]
                value = value_of(network, walker, reaction, time)
                if not 0.0 <= value < np.inf:
                    return reaction
                before = propensities[reaction]
                propensities[reaction] = value
                if fired == n:
                    heap.time[reaction] = _fresh_time(walker, value, time)
                elif reaction != fired and value != before:
                    if before > _LEAST_ALIVE and value > _LEAST_ALIVE:
                        # What is left of the waiting time shrinks as the propensity grows (eq. 12).
                        left = heap.time[heap.place[reaction]] - time
                        firing_time = time + (before / value) * left
                    else:
                        # A channel that was dead has no waiting time to reuse. A fresh draw is
                        # right because exponential waiting times have no memory.
                        firing_time = _fresh_time(walker, value, time)
                    move_to(heap, reaction, firing_time)
        if fired == n:
            build_heap(heap)
        elif fired < n:
            move_to(heap, fired, _fresh_time(walker, propensities[fired], time))
        return -1

    return update


@inlined
def _propose(network, walker, time):
    n = network.form.size
    if n == 0:
        return np.inf, -1
    return walker.reals[_first_slot(n)], walker.integers[0]


run_next_reaction = event_kernel("next_reaction", _update_of(state_propensity), _propose)
run_next_reaction_jumps = jump_kernel("next_reaction", _update_of(window_value), _propose)


@dataclass(frozen=True)
class NextReaction(ExactMethod):
    """The next-reaction method: firing times are kept in a heap and reused.

    Exact; one exponential draw an event. A reaction whose propensity returns from zero draws a
    fresh waiting time.

    References
    ----------
    Gibson and Bruck (2000), J. Phys. Chem. A 104, 1876, doi:10.1021/jp993732q.
    """

    name: ClassVar[str] = "next_reaction"
    summary: ClassVar[str] = "the next-reaction method of Gibson and Bruck"
    citation: ClassVar[str] = "Gibson and Bruck (2000), doi:10.1021/jp993732q"
    kernel: ClassVar[Any] = staticmethod(run_next_reaction)
    jump_kernel: ClassVar[Any] = staticmethod(run_next_reaction_jumps)

    def workspace(self, n_species: int, n_reactions: int) -> tuple[int, int]:
        """Return the sizes for propensities and firing times, and for the heap."""
        return heap_size(n_reactions)
