"""A tree of sums over the propensities: their total, and the choice of one of them.

Each inner node is the sum of its eight children, added afresh whenever one of them changes. So the
total is a function of the propensities alone: it cannot drift, however many events went before,
and a run that is stopped and continued has the same bits. The cost of a changed propensity, and of
a choice, grows like log8 of the number of reactions.

Nodes stand in one array level by level, the root first: the children of node q are nodes
8 q + 1, ..., 8 q + 8, and propensity j is node `leaf_offset(n) + j`. The rest stays zero.
"""

from __future__ import annotations

import numpy as np

from .jit import inlined

__all__ = [
    "ARITY",
    "DENSE_LIMIT",
    "choose_leaf",
    "first_leaf",
    "leaf_offset",
    "tree_size",
    "update_node",
]

# Eight doubles are one cache line.
ARITY = 8
# Unsigned indices, because for signed ones each access asks if the index counts from the end.
_ONE, _SEVEN, _EIGHT = np.uint64(1), np.uint64(7), np.uint64(8)
# Up to this many reactions all propensities are added up afresh at each event, without a branch;
# above, a tree of sums is updated. Measured in the general loop, ns per event, dense against tree:
# rings of 8, 16, 32 and 64 first-order reactions 69 and 92, 95 and 106, 119 and 99, 195 and 108.
# The limit is for the sake of loops that work on several reactions or trajectories at once.
DENSE_LIMIT = 64
# Lanes add up all propensities at each step whatever has changed, up to so many: an event in a ring
# of 256 first-order reactions takes 65 ns in lanes and 99 in single paths, of 500, 114 and 107.
LANE_LIMIT = 400


def first_leaf(n_leaves: int) -> int:
    """Return the node of the first leaf; the root is never a leaf."""
    offset, width = 1, ARITY
    while width < n_leaves:
        offset += width
        width *= ARITY
    return offset


# For kernels. Compiling it for a call from Python, too, would cost a first network 40 ms.
leaf_offset = inlined(first_leaf)


def tree_size(n_leaves: int) -> int:
    """Return the number of nodes, unused leaves included."""
    return ARITY * first_leaf(n_leaves) + 1


@inlined
def update_node(tree, node):
    """Set an inner node to the sum of its children, in a fixed order of additions."""
    node = np.uint64(node)
    c = _EIGHT * node
    # Halves onto halves: what vector registers add.
    tree[node] = (
        (tree[c + np.uint64(1)] + tree[c + np.uint64(5)])
        + (tree[c + np.uint64(3)] + tree[c + np.uint64(7)])
    ) + (
        (tree[c + np.uint64(2)] + tree[c + np.uint64(6)])
        + (tree[c + np.uint64(4)] + tree[c + np.uint64(8)])
    )


@inlined
def choose_leaf(tree, offset, target):
    """Return the leaf in whose share of the total `target` in [0, total) lies; never a zero one."""
    node, first = np.uint64(0), np.uint64(offset)
    while node < first:
        child = _EIGHT * node + _ONE
        last = child + _SEVEN
        while child < last and target >= tree[child]:
            target -= tree[child]
            child += _ONE
        # Rounding can leave `target` at or above the last share; step back to a share above zero.
        while tree[child] == 0.0:
            child -= _ONE
        node = child
    return np.int64(node - first)
