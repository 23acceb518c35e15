"""Gillespie's direct method."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from ..kernels.arrays import GENERAL, LONGEST_ROW, PAIR, ROW_DEPENDENTS, ROW_HEAD
from ..kernels.draw_ring import RING_SIZE
from ..kernels.event_loop import event_kernel
from ..kernels.jit import inlined
from ..kernels.jump_loop import jump_kernel
from ..kernels.law_networks import LawNetwork, law_network
from ..kernels.propensities import (
    pair_propensity,
    row_propensity,
    state_law_propensity,
    state_propensity,
)
from ..kernels.random import exponential_by_log, uniform_52
from ..kernels.small_loop import (
    MOST_SPECIES,
    counts_width,
    run_direct_laws,
    run_direct_pairs,
    run_direct_triples,
    small_loop_workspace,
)
from ..kernels.sum_tree import DENSE_LIMIT, choose_leaf, leaf_offset, tree_size, update_node
from ..kernels.thinning import window_value
from .method import ExactMethod

if TYPE_CHECKING:
    from ..compilation import CompiledNetwork

__all__ = ["Direct", "propose_direct", "update_direct", "workspace_size"]


@inlined
def _update_rows(network, walker, fired):
    # The same from the rows of a large network, which stand for lists in a dozen other places.
    tree, nodes = walker.reals, walker.integers
    leaves = leaf_offset(network.form.size)
    row = network.rows[np.uint64(fired)]
    n = np.uint64(row[ROW_DEPENDENTS])
    for i in range(n):
        reaction = np.uint64(row[i + np.uint64(ROW_HEAD)])
        value = row_propensity(network, reaction, walker.state)
        if not value < np.inf:
            return np.int64(reaction)
        node = np.uint64(leaves) + reaction
        tree[node] = value
        nodes[i] = node
    # Level by level: dependents stand in order, so equal parents are neighbours.
    while n > np.uint64(0) and nodes[0] > 0:
        n_parents, last = np.uint64(0), np.int64(-1)
        for i in range(n):
            parent = (nodes[i] - 1) >> 3
            if parent != last:
                update_node(tree, parent)
                nodes[n_parents] = last = parent
                n_parents += np.uint64(1)
        n = n_parents
    return np.int64(-1) if tree[0] < np.inf else np.int64(row[ROW_HEAD])


def direct_update(value_of: Callable[..., Any], law_value_of: Callable[..., Any]) -> Any:
    """Return the method's update, for propensities as they are or for bounds of them.

    Parameters
    ----------
    value_of, law_value_of : compiled functions (network, walker, reaction, time) -> float
        The propensity of any reaction, and of one that is not PAIR.
    """

    @inlined
    def _update_dense(network, walker, fired, time):
        n = network.form.size
        cumulative, law_value = walker.reals[:n], walker.reals[n : 2 * n]
        start = network.law_dependent_start
        first, last = start[np.uint64(fired)], start[np.uint64(fired + 1)]
        for k in range(np.uint64(first), np.uint64(last)):
            reaction = network.law_dependent[k]
            value = law_value_of(network, walker, reaction, time)
            if not 0.0 <= value < np.inf:
                return reaction
            law_value[np.uint64(reaction)] = value
        # Sums in fours: within a block one by one, from block to block by the block's sum. The
        # processor waits for n / 4 + 4 additions instead of n.
        total = 0.0
        for first in range(0, n - 3, 4):
            state = walker.state
            sum_1 = pair_propensity(network, first, state) + law_value[first]
            sum_2 = sum_1 + (pair_propensity(network, first + 1, state) + law_value[first + 1])
            sum_3 = sum_2 + (pair_propensity(network, first + 2, state) + law_value[first + 2])
            sum_4 = sum_3 + (pair_propensity(network, first + 3, state) + law_value[first + 3])
            cumulative[first] = total + sum_1
            cumulative[first + 1] = total + sum_2
            cumulative[first + 2] = total + sum_3
            total += sum_4
            cumulative[first + 3] = total
        offset, within = total, 0.0
        for reaction in range(n - n % 4, n):
            within += pair_propensity(network, reaction, walker.state) + law_value[reaction]
            total = offset + within
            cumulative[reaction] = total
        if not total < np.inf:
            for reaction in range(n):
                if not cumulative[reaction] < np.inf:
                    return reaction
        return -1

    @inlined
    def _update_tree(network, walker, fired, time):
        if network.rows.shape[0] > 0 and fired < network.form.size:
            return _update_rows(network, walker, fired)
        tree, leaves = walker.reals, leaf_offset(network.form.size)
        leaf = tree[leaves:]
        for i in range(network.part_start[fired], network.part_start[fired + 1]):
            part = network.part[i]
            for k in range(network.dependent_start[part], network.dependent_start[part + 1]):
                reaction = network.dependent[np.uint64(k)]
                value = value_of(network, walker, reaction, time)
                if not 0.0 <= value < np.inf:
                    return reaction
                leaf[np.uint64(reaction)] = value
        # A node above several parts has its final value from the last of them.
        for i in range(network.part_start[fired], network.part_start[fired + 1]):
            part = network.part[i]
            for k in range(network.node_start[part], network.node_start[part + 1]):
                update_node(tree, network.node[k])
        if not tree[0] < np.inf:
            largest = 0
            for reaction in range(network.form.size):
                if tree[leaves + reaction] > tree[leaves + largest]:
                    largest = reaction
            return largest
        return -1

    @inlined
    def update_direct(network, walker, fired, time):
        """Bring the sums of propensities up to date; return a reaction at fault, or -1."""
        if network.form.size <= DENSE_LIMIT:
            return _update_dense(network, walker, fired, time)
        return _update_tree(network, walker, fired, time)

    return update_direct


@inlined
def _propose_dense(network, walker, time):
    n = network.form.size
    cumulative = walker.reals[:n]
    total = cumulative[n - 1] if n > 0 else 0.0
    if total <= 0.0:
        return np.inf, -1
    next_time = time + exponential_by_log(walker.stream) / total
    # Counting takes as long for every reaction: no jump for the processor to mispredict. The sums
    # never fall, so a reaction of propensity 0 has no share; and `target` is below the total,
    # because a uniform draw is at most 1 - 2**-52. (Where the total is subnormal the product could
    # round up to it, but then the event comes after more than 1e290 units of time.)
    target = uniform_52(walker.stream) * total
    chosen = 0
    for reaction in range(n - 1):
        chosen += cumulative[reaction] <= target
    return next_time, chosen


@inlined
def _propose_tree(network, walker, time):
    tree = walker.reals
    total = tree[0]
    if total <= 0.0:
        return np.inf, -1
    next_time = time + exponential_by_log(walker.stream) / total
    target = uniform_52(walker.stream) * total
    return next_time, choose_leaf(tree, leaf_offset(network.form.size), target)


@inlined
def propose_direct(network, walker, time):
    """Return the time of the next event and its reaction: Gillespie (1977), eq. 21."""
    if network.form.size <= DENSE_LIMIT:
        return _propose_dense(network, walker, time)
    return _propose_tree(network, walker, time)


def workspace_size(n_reactions: int) -> int:
    """Return how many doubles the sums need."""
    return 2 * n_reactions if n_reactions <= DENSE_LIMIT else tree_size(n_reactions)


def _is_small(n_species: int, n_reactions: int) -> bool:
    return n_reactions <= DENSE_LIMIT and n_species <= MOST_SPECIES


update_direct = direct_update(state_propensity, state_law_propensity)
run_direct = event_kernel("direct", update_direct, propose_direct)
run_direct_jumps = jump_kernel("direct", direct_update(window_value, window_value), propose_direct)


@dataclass(frozen=True)
class Direct(ExactMethod):
    """Gillespie's direct method: one draw for the waiting time, one for the reaction.

    Exact. Up to 64 reactions the propensities are added up afresh at each event; above, the cost of
    an event grows with the number of propensities it changes times the logarithm of the number of
    reactions.

    References
    ----------
    Gillespie (1977), J. Phys. Chem. 81, 2340, doi:10.1021/j100540a008.
    """

    name: ClassVar[str] = "direct"
    summary: ClassVar[str] = "Gillespie's direct method"
    citation: ClassVar[str] = "Gillespie (1977), doi:10.1021/j100540a008"
    kernel: ClassVar[Any] = staticmethod(run_direct)
    jump_kernel: ClassVar[Any] = staticmethod(run_direct_jumps)

    def kernel_for(self, compiled: CompiledNetwork) -> Any:
        """Return a loop for small networks, where that is what there is, or the general one."""
        arrays, n_species = compiled.arrays, compiled.network.n_species
        if not _is_small(n_species, arrays.form.size):
            return self.kernel
        if (arrays.form == PAIR).all():
            return run_direct_pairs
        larger = np.flatnonzero(arrays.form != PAIR)
        if (arrays.form[larger] != GENERAL).any():
            return run_direct_laws
        start, count = arrays.reactant_start, arrays.reactant_count
        molecules = [int(count[start[j] : start[j + 1]].sum()) for j in larger]
        return run_direct_triples if max(molecules) == 3 else run_direct_laws

    def arrays(self, compiled: CompiledNetwork) -> Any:
        """Return what the kernel reads: with the steps of rate laws, where it takes these."""
        if self.kernel_for(compiled) is not run_direct_laws:
            return compiled.arrays
        # The same for relatives of other numbers.
        memo = compiled.network.memo
        if "law steps" not in memo:
            width = counts_width(compiled.network.n_species)
            memo["law steps"] = law_network(compiled.arrays, width)
        return memo["law steps"]._replace(reactions=compiled.arrays)

    def workspace_for(self, compiled: CompiledNetwork) -> tuple[int, int]:
        """Return the sizes for a network in which nothing moves between events."""
        n_reals, n_integers = super().workspace_for(compiled)
        arrays = self.arrays(compiled)
        n_rows = arrays.n_rows if isinstance(arrays, LawNetwork) else 0
        return n_reals + n_rows, n_integers

    def workspace(self, n_species: int, n_reactions: int) -> tuple[int, int]:
        """Return the sizes for the sums, nodes of a level, small networks, and a ring of draws."""
        n_reals, n_integers = workspace_size(n_reactions), LONGEST_ROW
        if _is_small(n_species, n_reactions):
            more_reals, more_integers = small_loop_workspace(n_species, n_reactions)
            n_reals, n_integers = max(n_reals, more_reals), max(n_integers, more_integers)
        return n_reals + RING_SIZE, n_integers
