"""The composition-rejection method of Slepoy, Thompson and Plimpton."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from ..kernels.arrays import PAIR
from ..kernels.event_loop import event_kernel
from ..kernels.event_records import (
    FIRST,
    NUMBER,
    RECORD_HEAD,
    SECOND,
    SIZES,
    RecordedNetwork,
    record_network,
    records_of,
)
from ..kernels.jit import apart, inlined
from ..kernels.prefetching import prefetch
from ..kernels.propensities import fire, state_law_propensity
from ..kernels.propensity_groups import (
    CHOSEN,
    STRIDE,
    arrange,
    drawer,
    fill_ring,
    group_sizes,
    groups_of,
    is_empty,
    put,
    update_levels,
)
from ..kernels.walking import LARGEST_COUNT
from .method import StochasticMethod

if TYPE_CHECKING:
    from ..compilation import CompiledNetwork

__all__ = ["CompositionRejection"]

_ONE, _FOUR, _EIGHT = np.uint64(1), np.uint64(4), np.uint64(8)
_SIXTEEN, _LOW = np.uint64(16), np.uint64(0xFFFF)
# In a first cell of four doubles, after the propensity.
_COEFFICIENT = np.uint64(1)


@inlined
def cells_of(network, walker):
    """Return the groups, whose first cells are those of the network's records where it has any."""
    # In networks without records this is 1.
    stride = network.records.shape[1] // 8
    return groups_of(walker, stride * network.form.size)


@inlined
def _pair_value(walker, groups, cell):
    c = np.uint64(cell)
    first, second = groups.entry[_EIGHT * c + FIRST], groups.entry[_EIGHT * c + SECOND]
    shift = np.float64(second < 0)
    second = second ^ (second >> np.int32(31))
    state = walker.state
    return (
        groups.cell[_FOUR * c + _COEFFICIENT]
        * np.float64(state[np.uint64(first)])
        * (np.float64(state[np.uint64(second)]) - shift)
    )


@inlined
def value_of(network, walker, groups, reaction, time):
    """Return a propensity in a network without records, where a reaction has one cell."""
    if groups.entry[_EIGHT * np.uint64(reaction) + FIRST] < 0:
        return state_law_propensity(network, walker, np.int64(reaction), time)
    return _pair_value(walker, groups, reaction)


@apart
def _start(network, walker, groups, time):
    n, stride = network.form.size, network.records.shape[1] // 8
    groups.tally[STRIDE] = stride
    for j in range(n):
        cell, entry = 4 * stride * j, 8 * stride * j
        if network.records.shape[0] > 0:
            for i in range(6, network.records.shape[1]):
                groups.entry[entry + i] = network.records[j, i]
            groups.cell[cell + 1] = network.coefficient[j]
            value = _pair_value(walker, groups, stride * j)
        else:
            groups.cell[cell + 1] = network.coefficient[j]
            is_pair = network.form[j] == PAIR
            groups.entry[entry + 6] = network.first[j] if is_pair else -1
            second = network.second[j]
            groups.entry[entry + 7] = ~second if network.shift[j] > 0.0 else second
            value = value_of(network, walker, groups, j, time)
        if not 0.0 <= value < np.inf:
            return np.int64(j)
        groups.cell[cell] = value
    arrange(groups)
    fill_ring(groups, walker.stream)
    return np.int64(-1)


@apart
def _largest(network, groups):
    largest, stride = 0, 4 * groups.tally[STRIDE]
    for j in range(network.form.size):
        if groups.cell[stride * j] > groups.cell[stride * largest]:
            largest = j
    return np.int64(largest)


@inlined
def update(network, walker, fired, time):
    n = network.form.size
    groups = cells_of(network, walker)
    moved = False
    if fired == n:
        trouble = _start(network, walker, groups, time)
        if trouble >= 0:
            return trouble
        moved = True
    elif network.records.shape[0] > 0:
        # Networks with records have no laws.
        record = _EIGHT * np.uint64(groups.tally[CHOSEN])
        place = record + np.uint64(RECORD_HEAD)
        for _ in range(np.uint64(groups.entry[record + SIZES]) & _LOW):
            cell = np.uint64(groups.entry[place])
            value = _pair_value(walker, groups, cell)
            if not value < np.inf:
                return np.int64(groups.entry[_EIGHT * cell + NUMBER])
            moved |= put(groups, cell, value)
            place += _ONE
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
        return _largest(network, groups)
    return np.int64(-1)


@inlined
def _fire(network, walker, fired):
    """Change the state by the event that was chosen last, from its record if it has one."""
    if network.records.shape[0] == 0:
        return fire(network, fired, walker.state)
    groups, fits = cells_of(network, walker), True
    record = _EIGHT * np.uint64(groups.tally[CHOSEN])
    sizes = np.uint64(groups.entry[record + SIZES])
    place = record + np.uint64(RECORD_HEAD) + (sizes & _LOW)
    for _ in range(sizes >> _SIXTEEN):
        species = np.uint64(groups.entry[place])
        walker.state[species] += np.int64(groups.entry[place + _ONE])
        fits = fits and walker.state[species] <= LARGEST_COUNT
        place += _ONE + _ONE
    return fits


@inlined
def _accepts(network, walker, groups, cell, height, time):
    return height < groups.cell[_FOUR * np.uint64(cell)]


@inlined
def _fetch_cells(network, groups, cell):
    prefetch(groups.cell, _FOUR * cell)


@inlined
def _fetch_event(network, walker, groups, cell):
    prefetch(groups.cell, _FOUR * cell)
    if network.records.shape[0] > 0:
        record = _EIGHT * cell
        sizes = np.uint64(groups.entry[record + SIZES])
        place = record + np.uint64(RECORD_HEAD)
        for _ in range(sizes & _LOW):
            prefetch(groups.cell, _FOUR * np.uint64(groups.entry[place]))
            place += _ONE
        for _ in range(sizes >> _SIXTEEN):
            prefetch(walker.state, np.uint64(groups.entry[place]))
            place += _ONE + _ONE


def proposer(accepts: Callable[..., Any]) -> Any:
    """Return the `propose` of a kernel.

    Parameters
    ----------
    accepts : compiled function (network, walker, groups, cell, height, time) -> bool
        Whether a proposal at this height below the bound is an event.
    """
    draw = drawer(_fetch_cells, _fetch_event)

    @inlined
    def propose(network, walker, time):
        groups = cells_of(network, walker)
        if is_empty(groups):
            return np.inf, np.int64(-1)
        while True:
            time, cell, height = draw(network, walker, groups, time)
            if accepts(network, walker, groups, cell, height, time):
                if network.records.shape[0] > 0:
                    groups.tally[CHOSEN] = cell
                    cell = np.int64(groups.entry[_EIGHT * np.uint64(cell) + NUMBER])
                return time, cell

    return propose


propose = proposer(_accepts)
run_composition_rejection = event_kernel("composition_rejection", update, propose, _fire)


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
        """Return the sizes for cells, groups and draws, without records."""
        return group_sizes(n_reactions)

    def workspace_for(self, compiled: CompiledNetwork) -> tuple[int, int]:
        """Return the sizes for records, groups and draws."""
        network = self.arrays(compiled)
        return group_sizes(network.form.size, network.records.shape[1] // 8)

    def arrays(self, compiled: CompiledNetwork) -> RecordedNetwork:
        """Return the network with what its events read."""
        # The same for relatives of other numbers.
        memo = compiled.network.memo
        if "records" not in memo:
            memo["records"] = records_of(compiled.arrays)
        return record_network(compiled.arrays, memo["records"])
