"""A tree of sums over the propensities: their total, and the choice of one of them.

Each inner node is the sum of its eight children, added afresh whenever one of them changes. So the
total is a function of the propensities alone: it cannot drift, however many events went before,
and a run that is stopped and continued has the same bits. The cost of a changed propensity, and of
a choice, grows like log8 of the number of reactions.

Nodes stand in one array level by level, the root first: the children of node q are nodes
8 q + 1, ..., 8 q + 8, and propensity j is node `leaf_offset(n) + j`. The rest stays zero.
"""

from __future__ import annotations

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
# Up to this many reactions all propensities are added up afresh at each event, without a branch;
# above, a tree of sums is updated. Measured in the general loop, ns per event, dense against tree:
# rings of 8, 16, 32 and 64 first-order reactions 69 and 92, 95 and 106, 119 and 99, 195 and 108.
# The limit is for the sake of loops that work on several reactions or trajectories at once.
DENSE_LIMIT = 64


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
    c = ARITY * node + 1
    tree[node] = ((tree[c] + tree[c + 1]) + (tree[c + 2] + tree[c + 3])) + (
        (tree[c + 4] + tree[c + 5]) + (tree[c + 6] + tree[c + 7])
    )


@inlined
def choose_leaf(tree, offset, target):
    """Return the leaf in whose share of the total `target` in [0, total) lies; never a zero one."""
    node = 0
    while node < offset:
        child = ARITY * node + 1
        last = child + ARITY - 1
        while child < last and target >= tree[child]:
            target -= tree[child]
            child += 1
        # Rounding can leave `target` at or above the last share; step back to a share above zero.
        while tree[child] == 0.0:
            child -= 1
        node = child
    return node - offset
