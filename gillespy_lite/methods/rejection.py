"""The rejection-based method of Thanh, Priami and Zunino."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from ..kernels.arrays import PAIR
from ..kernels.count_intervals import (
    BoundedNetwork,
    bound_network,
    interval_sizes,
    intervals_at,
    narrow,
    readers_of,
    recentre,
)
from ..kernels.event_loop import event_kernel
from ..kernels.jit import apart, inlined
from ..kernels.prefetching import prefetch
from ..kernels.propensities import state_law_propensity
from ..kernels.propensity_bounds import law_bounds
from ..kernels.propensity_groups import (
    STRIDE,
    arrange,
    drawer,
    fill_ring,
    group_sizes,
    groups_of,
    is_empty,
    n_proposals,
    put,
    update_levels,
)
from .method import StochasticMethod

if TYPE_CHECKING:
    from ..compilation import CompiledNetwork
    from ..kernels.arrays import Walker

__all__ = ["Rejection"]

_ONE, _FOUR, _EIGHT = np.uint64(1), np.uint64(4), np.uint64(8)
# In a cell, after the upper bound: the lower; the two species, see `ReactionArrays`. The first is
# -1 where the propensity is not PAIR; the second is its complement where `shift` is 1.
_LEAST, _FIRST, _SECOND = np.uint64(1), np.uint64(6), np.uint64(7)

# Library functions may be off by more than `intervals` allows for; a bound that is wrong is not.
_ROUNDING = 1e-9

# After so many rejections in a row the bounds that reject are made to fit the present counts. Else
# proposals would have no end in a state in which nothing can happen.
_MOST_REJECTED = 16


@inlined
def intervals_of(walker):
    return intervals_at(walker.reals, walker.state.size)


@inlined
def _product(network, groups, state, j):
    first, second = groups.entry[_EIGHT * j + _FIRST], groups.entry[_EIGHT * j + _SECOND]
    shift = np.float64(second < 0)
    second = second ^ (second >> np.int32(31))
    # The order of `pair_propensity`, so that rounding keeps bounds and values in order.
    return (
        network.coefficient[j]
        * np.float64(state[np.uint64(first)])
        * (np.float64(state[np.uint64(second)]) - shift)
    )


@inlined
def value_of(network, walker, groups, reaction, time):
    j = np.uint64(reaction)
    if groups.entry[_EIGHT * j + _FIRST] < 0:
        return state_law_propensity(network, walker, reaction, time)
    return _product(network, groups, walker.state, j)


@inlined
def bounds_of(network, walker, groups, intervals, reaction, time):
    j = np.uint64(reaction)
    if groups.entry[_EIGHT * j + _FIRST] < 0:
        return law_bounds(network, reaction, intervals.low, intervals.high, time, walker.stack)
    least = _product(network, groups, intervals.low, j)
    return least, _product(network, groups, intervals.high, j)


@apart
def _narrow_bounds(network, walker, groups, intervals, reaction, time):
    narrow(network, intervals, walker.state, reaction)
    return bounds_of(network, walker, groups, intervals, reaction, time)


@inlined
def finite_bounds(network, walker, groups, intervals, reaction, time):
    """Return bounds of a propensity, of its value alone if need be; not finite if it is none."""
    least, most = bounds_of(network, walker, groups, intervals, reaction, time)
    if not most < np.inf:
        least, most = _narrow_bounds(network, walker, groups, intervals, reaction, time)
    return least, most


@apart
def _fill_bounds(network, walker, groups, intervals, time):
    """Work out all bounds and arrange the groups; return a reaction that has none, or -1."""
    for j in range(network.form.size):
        least, most = finite_bounds(network, walker, groups, intervals, np.int64(j), time)
        if not most < np.inf:
            return np.int64(j)
        groups.cell[4 * j] = most
        groups.cell[4 * j + 1] = least
    arrange(groups)
    return np.int64(-1)


@apart
def _start(network, walker, groups, intervals, time):
    for j in range(network.form.size):
        is_pair = network.form[j] == PAIR
        groups.entry[8 * j + 6] = network.first[j] if is_pair else -1
        second = network.second[j]
        groups.entry[8 * j + 7] = ~second if network.shift[j] > 0.0 else second
    for i in range(walker.state.size):
        intervals.scale[i] = 1.0
        recentre(network, intervals, i, np.float64(walker.state[i]))
        intervals.moved[i] = intervals.n_moves[i] = 0.0
    fill_ring(groups, walker.stream)
    groups.tally[STRIDE] = 1
    return _fill_bounds(network, walker, groups, intervals, time)


@apart
def _fit(network, walker, groups, intervals, time):
    """Make all bounds the present propensities; return a reaction if their sum is infinite, or -1.

    Bounds may have an infinite sum where the propensities have none.
    """
    largest = 0
    for j in range(network.form.size):
        narrow(network, intervals, walker.state, j)
    trouble = _fill_bounds(network, walker, groups, intervals, time)
    if trouble >= 0 or update_levels(groups) < np.inf:
        return trouble
    for j in range(network.form.size):
        if groups.cell[4 * j] > groups.cell[4 * largest]:
            largest = j
    return np.int64(largest)


@inlined
def update(network, walker, fired, time):
    n = network.form.size
    groups, intervals = groups_of(walker, n), intervals_of(walker)
    moved = False
    if fired == n:
        trouble = _start(network, walker, groups, intervals, time)
        if trouble >= 0:
            return trouble
        moved = True
    else:
        is_left = False
        for k in range(network.change_start[fired], network.change_start[fired + 1]):
            species = np.uint64(network.change_species[k])
            count = np.float64(walker.state[species])
            if count < intervals.low[species] or count > intervals.high[species]:
                recentre(network, intervals, species, count)
                is_left = True
        if not is_left:
            return np.int64(-1)
        for k in range(network.change_start[fired], network.change_start[fired + 1]):
            species = np.uint64(network.change_species[k])
            if intervals.moved[species] == 0.0:
                continue
            intervals.moved[species] = 0.0
            for i in range(network.reader_start[species], network.reader_start[species + _ONE]):
                reaction = network.reader[np.uint64(i)]
                least, most = finite_bounds(network, walker, groups, intervals, reaction, time)
                if not most < np.inf:
                    return reaction
                groups.cell[_FOUR * np.uint64(reaction) + _LEAST] = least
                moved |= put(groups, reaction, most)
    if moved and not update_levels(groups) < np.inf:
        return _fit(network, walker, groups, intervals, time)
    return np.int64(-1)


@apart
def _tighten(network, walker, groups, intervals, reaction, time):
    """Make the bounds of a reaction its present propensity."""
    least, most = _narrow_bounds(network, walker, groups, intervals, reaction, time)
    groups.cell[_FOUR * np.uint64(reaction) + _LEAST] = least
    put(groups, reaction, most)
    update_levels(groups)


@inlined
def _fetch_cells(network, groups, cell):
    prefetch(groups.cell, _FOUR * cell)
    prefetch(network.change_start, cell)


@inlined
def _fetch_event(network, walker, groups, cell):
    pass


_draw = drawer(_fetch_cells, _fetch_event)


@inlined
def propose(network, walker, time):
    groups, intervals = groups_of(walker, network.form.size), intervals_of(walker)
    start, n_rejected = time, 0
    while not is_empty(groups):
        time, reaction, height = _draw(network, walker, groups, time)
        cell = _FOUR * np.uint64(reaction)
        least, most = groups.cell[cell + _LEAST], groups.cell[cell]
        if height < least:
            return time, reaction
        if height < most:
            value = value_of(network, walker, groups, reaction, time)
            if not (1.0 - _ROUNDING) * least <= value <= (1.0 + _ROUNDING) * most:
                return start, -2 - reaction
            if height < value:
                return time, reaction
        n_rejected += 1
        if n_rejected >= _MOST_REJECTED:
            _tighten(network, walker, groups, intervals, reaction, time)
    return np.inf, np.int64(-1)


run_rejection = event_kernel("rejection", update, propose)


@dataclass(frozen=True)
class Rejection(StochasticMethod):
    """The rejection-based method: propensities are worked out only where bounds leave a doubt.

    Exact. Every count has an interval around it, and every propensity a lower and an upper bound
    that hold while the counts stay in theirs. Reactions are proposed at their upper bounds; below
    the lower bound a proposal is an event, and only between the two the propensity itself decides.
    Bounds are worked out anew for what reads a count that left its interval. That the choice is
    by composition and rejection, that time passes at rejected proposals, and how wide intervals
    are (`kernels/count_intervals.py`) is ours.

    Parameters
    ----------
    width : float
        Factor by which intervals are wider than usual; 0 makes all bounds the propensities
        themselves. It changes the speed and the draws, and no law.

    References
    ----------
    Thanh, Priami and Zunino (2014), J. Chem. Phys. 141, 134116, doi:10.1063/1.4896985. Lewis and
    Shedler (1979), Nav. Res. Logist. Q. 26:403, doi:10.1002/nav.3800260304.
    """

    width: float = 1.0

    name: ClassVar[str] = "rejection"
    summary: ClassVar[str] = (
        "rejection-based: bounds in intervals of counts, propensities on demand"
    )
    citation: ClassVar[str] = "Thanh, Priami and Zunino (2014), doi:10.1063/1.4896985"
    is_exact: ClassVar[bool] = True
    kernel: ClassVar[Any] = staticmethod(run_rejection)

    def __post_init__(self) -> None:
        self.check_options({"width": (lambda x: 0.0 <= x <= 100.0, "a number from 0 to 100")})

    def workspace(self, n_species: int, n_reactions: int) -> tuple[int, int]:
        """Return the sizes for cells, groups and draws, and for intervals."""
        n_reals, n_integers = group_sizes(n_reactions)
        return n_reals + interval_sizes(n_species), n_integers

    def arrays(self, compiled: CompiledNetwork) -> BoundedNetwork:
        """Return the network with what reads each species."""
        # The same for relatives of other numbers.
        memo = compiled.network.memo
        if "readers" not in memo:
            memo["readers"] = readers_of(compiled.arrays, compiled.initial_state.size - 1)
        return bound_network(compiled.arrays, memo["readers"], self.width)

    @staticmethod
    def counted(walker: Walker) -> tuple[int, np.ndarray]:
        """Return how many proposals a trajectory had, and how often each interval moved.

        The latter is (n_states,) float64.
        """
        n_moves = walker.reals[-walker.state.size : -1]
        return n_proposals(walker.integers), n_moves.copy()
