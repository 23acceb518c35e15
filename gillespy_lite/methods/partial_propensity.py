"""The partial-propensity direct method, with exact integer sums."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from ..kernels.event_loop import event_kernel
from ..kernels.jit import inlined
from ..kernels.partial_sums import (
    choose_in_class,
    group_reactions,
    largest_class,
    start_sums,
    update_nodes,
)
from ..kernels.propensities import state_propensity
from ..kernels.random import exponential, uniform
from ..kernels.sum_tree import choose_leaf, tree_size
from .method import StochasticMethod

if TYPE_CHECKING:
    from ..compilation import CompiledNetwork

__all__ = ["PartialPropensity"]


@inlined
def _update(network, walker, fired, time):
    n, n_classes = network.form.size, network.class_hub.size
    tree, state = walker.reals, walker.state
    block_sum, class_sum = walker.integers[:n], walker.integers[n : 2 * n]
    leaf = tree[network.leaf : network.leaf + network.n_leaves]
    if fired == n:
        start_sums(network, state, tree, block_sum, class_sum)
        for k in range(network.alone.size):
            reaction = np.int64(network.alone[k])
            value = state_propensity(network, walker, reaction, time)
            if not 0.0 <= value < np.inf:
                return reaction
            leaf[n_classes + k] = value
    else:
        for c in range(network.change_start[fired], network.change_start[fired + 1]):
            species, by = network.change_species[c], network.change[c]
            for i in range(network.member_start[species], network.member_start[species + 1]):
                k, change = network.member[i, 1], by * network.member[i, 2]
                block_sum[network.member[i, 0]] += change
                total = class_sum[k] + change
                class_sum[k] = total
                hub = np.float64(state[network.class_hub[k]])
                leaf[k] = network.class_coefficient[k] * hub * np.float64(total)
            for i in range(network.hub_start[species], network.hub_start[species + 1]):
                k = network.hub_class[i]
                hub = np.float64(state[species])
                leaf[k] = network.class_coefficient[k] * hub * np.float64(class_sum[k])
            for i in range(network.alone_start[species], network.alone_start[species + 1]):
                k = network.alone_class[i]
                reaction = np.int64(network.alone[k])
                value = state_propensity(network, walker, reaction, time)
                if not 0.0 <= value < np.inf:
                    return reaction
                leaf[n_classes + k] = value
    update_nodes(network, tree, fired)
    if not tree[0] < np.inf:
        return largest_class(network, tree)
    return np.int64(-1)


@inlined
def _propose(network, walker, time):
    tree = walker.reals
    total = tree[0]
    if total <= 0.0:
        return np.inf, np.int64(-1)
    next_time = time + exponential(walker.stream) / total
    k = choose_leaf(tree, network.leaf, uniform(walker.stream) * total)
    n, n_classes = network.form.size, network.class_hub.size
    if k >= n_classes:
        return next_time, np.int64(network.alone[k - n_classes])
    block_sum, in_class = walker.integers[:n], walker.integers[n + k]
    # The sum may be rounded up on the way to a double.
    pick = min(np.int64(uniform(walker.stream) * np.float64(in_class)), in_class - 1)
    return next_time, choose_in_class(network, walker.state, block_sum, k, pick)


run_partial_propensity = event_kernel("partial_propensity", _update, _propose)


@dataclass(frozen=True)
class PartialPropensity(StochasticMethod):
    """The partial-propensity direct method: reactions that share a factor are counted together.

    Exact. Mass-action reactions with one rate constant and one species in common are a class, whose
    propensity is a product with a sum of counts in it, a whole number. The cost of an event depends
    on how many classes it changes and not on how many reactions, which in networks made by rules is
    many times less. Which of the two reactants reactions share is chosen here, and that equal
    constants go together and keep the sums exact is ours.

    References
    ----------
    Ramaswamy, Gonzalez-Segredo and Sbalzarini (2009), J. Chem. Phys. 130, 244104,
    doi:10.1063/1.3154624.
    """

    name: ClassVar[str] = "partial_propensity"
    summary: ClassVar[str] = "the partial-propensity direct method, with exact integer sums"
    citation: ClassVar[str] = (
        "Ramaswamy, Gonzalez-Segredo and Sbalzarini (2009), doi:10.1063/1.3154624"
    )
    is_exact: ClassVar[bool] = True
    kernel: ClassVar[Any] = staticmethod(run_partial_propensity)

    def workspace(self, n_species: int, n_reactions: int) -> tuple[int, int]:
        """Return the sizes for the tree, and for the sums of blocks and classes."""
        return tree_size(n_reactions), 2 * n_reactions

    def arrays(self, compiled: CompiledNetwork) -> Any:
        """Return the network in classes."""
        # They depend on which rate constants are equal, so relatives of other numbers have others.
        arrays, memo = compiled.arrays, compiled.network.memo
        numbers = arrays.coefficient, arrays.law_factor, arrays.parameters
        known, classes = memo.get("classes", (None, None))
        if known is None or not all(map(np.array_equal, known, numbers)):
            classes = group_reactions(arrays, compiled.initial_state.size - 1)
            memo["classes"] = numbers, classes
        return classes
