"""The composition-rejection method of Slepoy, Thompson and Plimpton."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from ..kernels.arrays import PAIR, ROW_DEPENDENTS, ROW_HEAD
from ..kernels.event_loop import event_kernel
from ..kernels.jit import apart, inlined
from ..kernels.prefetching import prefetch
from ..kernels.propensities import state_law_propensity
from ..kernels.propensity_groups import (
    arrange,
    fill_ring,
    group_sizes,
    groups_of,
    proposer,
    put,
    update_levels,
)
from .method import StochasticMethod

__all__ = ["CompositionRejection"]

_ONE, _FOUR, _EIGHT = np.uint64(1), np.uint64(4), np.uint64(8)
# In a cell: the coefficient; the two species; see `ReactionArrays`. The second species is stored as
# its complement where `shift` is 1; the first is -1 where the propensity is not PAIR.
_COEFFICIENT, _FIRST, _SECOND = np.uint64(1), np.uint64(6), np.uint64(7)


@inlined
def _pair_value(walker, groups, reaction):
    j = np.uint64(reaction)
    first, second = groups.entry[_EIGHT * j + _FIRST], groups.entry[_EIGHT * j + _SECOND]
    shift = np.float64(second < 0)
    second = second ^ (second >> np.int32(31))
    state = walker.state
    return (
        groups.cell[_FOUR * j + _COEFFICIENT]
        * np.float64(state[np.uint64(first)])
        * (np.float64(state[np.uint64(second)]) - shift)
    )


@inlined
def value_of(network, walker, groups, reaction, time):
    if groups.entry[_EIGHT * np.uint64(reaction) + _FIRST] < 0:
        return state_law_propensity(network, walker, np.int64(reaction), time)
    return _pair_value(walker, groups, reaction)


@apart
def _start(network, walker, groups, time):
    n = network.form.size
    for j in range(n):
        groups.cell[4 * j + 1] = network.coefficient[j]
        is_pair = network.form[j] == PAIR
        groups.entry[8 * j + 6] = network.first[j] if is_pair else -1
        second = network.second[j]
        groups.entry[8 * j + 7] = ~second if network.shift[j] > 0.0 else second
        value = value_of(network, walker, groups, j, time)
        if not 0.0 <= value < np.inf:
            return np.int64(j)
        groups.cell[4 * j] = value
    arrange(groups)
    fill_ring(groups, walker.stream)
    return np.int64(-1)


@apart
def _largest(groups):
    largest = 0
    for j in range(groups.cell.size // 4):
        if groups.cell[4 * j] > groups.cell[4 * largest]:
            largest = j
    return np.int64(largest)


@inlined
def update(network, walker, fired, time):
    n = network.form.size
    groups = groups_of(walker, n)
    moved = False
    if fired == n:
        trouble = _start(network, walker, groups, time)
        if trouble >= 0:
            return trouble
        moved = True
    elif network.rows.shape[0] > 0:
        row = network.rows[np.uint64(fired)]
        for i in range(np.uint64(row[ROW_DEPENDENTS])):
            reaction = np.uint64(row[i + np.uint64(ROW_HEAD)])
            # Networks with rows have no laws.
            value = _pair_value(walker, groups, reaction)
            if not value < np.inf:
                return np.int64(reaction)
            moved |= put(groups, reaction, value)
    else:
        for i in range(network.part_start[fired], network.part_start[fired + 1]):
            part = network.part[i]
            for k in range(network.dependent_start[part], network.dependent_start[part + 1]):
                reaction = np.uint64(network.dependent[np.uint64(k)])
                value = value_of(network, walker, groups, reaction, time)
                if not 0.0 <= value < np.inf:
                    return np.int64(reaction)
                moved |= put(groups, reaction, value)
    if moved and not update_levels(groups) < np.inf:
        return _largest(groups)
    return np.int64(-1)


@inlined
def _accepts(network, walker, groups, reaction, height, time):
    return height < groups.cell[_FOUR * np.uint64(reaction)]


@inlined
def fetch(network, groups, reaction):
    prefetch(groups.cell, _FOUR * reaction)
    if network.rows.shape[0] > 0:
        prefetch(network.rows, reaction * np.uint64(network.rows.shape[1]))


propose = proposer(_accepts, fetch)
run_composition_rejection = event_kernel("composition_rejection", update, propose)


@dataclass(frozen=True)
class CompositionRejection(StochasticMethod):
    """Composition and rejection: the choice of a reaction costs the same in a network of any size.

    Exact. Reactions stand in groups by powers of two of their propensities; a group is chosen by
    its share, then any of its members, which is accepted with a probability above one half. Time
    passes at rejected proposals, too, so that totals of whole numbers of members are all that is
    kept, which cannot drift; that is ours.

    References
    ----------
    Slepoy, Thompson and Plimpton (2008), J. Chem. Phys. 128, 205101, doi:10.1063/1.2919546.
    """

    name: ClassVar[str] = "composition_rejection"
    summary: ClassVar[str] = "composition and rejection, in groups by powers of two"
    citation: ClassVar[str] = "Slepoy, Thompson and Plimpton (2008), doi:10.1063/1.2919546"
    is_exact: ClassVar[bool] = True
    kernel: ClassVar[Any] = staticmethod(run_composition_rejection)

    def workspace(self, n_species: int, n_reactions: int) -> tuple[int, int]:
        """Return the sizes for cells, groups and draws."""
        return group_sizes(n_reactions)
