"""Lanes for networks of more reactions than are added up one after the other.

All propensities are computed afresh at each step, as in `lanes.py`, and added up in the tree of
sums that the direct method has for such networks, node by node in the same order: so the sums are
the same to the last bit, though a single path only brings up to date what an event has changed.
From the root down to reactions all lanes go at once, each on its own way. One by one, without
branches, they took two thirds of the time of a ring of 150 reactions.
"""

from __future__ import annotations

import numpy as np

from .jit import apart, inlined
from .lane_vectors import LANES, bits, everywhere, gathered, load, lowest_bit, ones, select, store
from .lanes import event_maker, fill_laws, lane_kernel, propensities_of
from .sum_tree import ARITY, leaf_offset

__all__ = ["choose_in_lane", "run_lane_trees"]

_NO_BITS, _BIT = np.uint64(0), np.uint64(1)


@inlined
def _leaf(network, walker, k, place):
    """Write and return the propensities of a reaction."""
    # One set of numbers is read from where it is, and not from a copy in every lane.
    if network.coefficient.size == network.first.size:
        value = propensities_of(network, walker.state, k, network.coefficient[k])
    else:
        own = load(walker.coefficient, k * LANES)
        value = propensities_of(network, walker.state, k, own)
    store(walker.cumulative, place, value)
    return value


@inlined
def _fill_leaves(network, walker, leaves):
    """Write the propensities, and the sums of eight above them."""
    # Reactions of propensity 0 fill up the last eight.
    for k in range(0, network.first.size, ARITY):
        place = (leaves + k) * LANES
        half = _leaf(network, walker, k, place)
        half = half + _leaf(network, walker, k + 4, place + 4 * LANES)
        third = _leaf(network, walker, k + 2, place + 2 * LANES)
        odd = half + (third + _leaf(network, walker, k + 6, place + 6 * LANES))
        half = _leaf(network, walker, k + 1, place + LANES)
        half = half + _leaf(network, walker, k + 5, place + 5 * LANES)
        third = _leaf(network, walker, k + 3, place + 3 * LANES)
        even = half + (third + _leaf(network, walker, k + 7, place + 7 * LANES))
        store(walker.cumulative, (leaves + k - 1) // ARITY * LANES, odd + even)


@inlined
def _fill_node(tree, node):
    # The order of `sum_tree.update_node`.
    c = (ARITY * node + 1) * LANES
    odd = (load(tree, c) + load(tree, c + 4 * LANES)) + (
        load(tree, c + 2 * LANES) + load(tree, c + 6 * LANES)
    )
    even = (load(tree, c + LANES) + load(tree, c + 5 * LANES)) + (
        load(tree, c + 3 * LANES) + load(tree, c + 7 * LANES)
    )
    store(tree, node * LANES, odd + even)


@inlined
def _fill_tree(network, walker, far):
    """Write the tree of sums of propensities; return the lanes with a bad one, as bits."""
    fault = _NO_BITS
    if network.scaled.size > 0:
        fault = fill_laws(far[0], far[2])
    tree, leaves = walker.cumulative, leaf_offset(network.n_reactions)
    _fill_leaves(network, walker, leaves)
    # Level by level from below. Nodes without a reaction are never written to: 0.
    low, high = (leaves - 1) // ARITY, (leaves + network.n_reactions - 2) // ARITY + 1
    while low > 0:
        low, high = (low - 1) // ARITY, (high - 2) // ARITY + 1
        for node in range(low, high):
            _fill_node(tree, node)
    store(walker.total, 0, load(tree, 0))
    return fault


@apart
def choose_in_lane(tree, lane, leaves, target):
    """Return what `sum_tree.choose_leaf` does with the tree of one lane, whatever the rounding."""
    node = 0
    while node < leaves:
        child = ARITY * node + 1
        last = child + ARITY - 1
        while child < last and target >= tree[child * LANES + lane]:
            target -= tree[child * LANES + lane]
            child += 1
        # Rounding can leave `target` at or above the last share; step back to a share above zero.
        # Only a lane that is given back, because a share is below 0, may have none.
        while child > ARITY * node + 1 and tree[child * LANES + lane] == 0.0:
            child -= 1
        node = child
    return np.int64(node - leaves)


@inlined
def _choose_by_tree(network, walker, target, goes):
    """Return in whose share the target lies: a reaction, or -1 in the lanes that do not go."""
    tree, leaves = walker.cumulative, leaf_offset(network.n_reactions)
    # The root has the same children in all lanes.
    left, further = target, everywhere(0.0) == 0.0
    node = ones(further)
    for c in range(1, ARITY):
        share = load(tree, c * LANES)
        further = further & (left >= share)
        left = select(further, left - share, left)
        node = node + ones(further)
    first = 1
    while first < leaves:
        first = ARITY * first + 1
        node = node * ARITY + 1
        child, further = node, everywhere(0.0) == 0.0
        for c in range(ARITY - 1):
            share = gathered(tree, node, c)
            further = further & (left >= share)
            left = select(further, left - share, left)
            child = child + ones(further)
        node = child
    chosen = select(goes, node - leaves, np.int64(-1))
    astray = bits((gathered(tree, node, 0) == 0.0) & goes)
    if astray != _NO_BITS:
        store(walker.chosen, 0, chosen)
        store(walker.target, 0, target)
        while astray != _NO_BITS:
            lane = lowest_bit(astray)
            astray &= ~(_BIT << np.uint64(lane))
            walker.chosen[lane] = choose_in_lane(tree, lane, leaves, walker.target[lane])
        chosen = load(walker.chosen, 0)
    return chosen


run_lane_trees = lane_kernel("lane_trees", event_maker(_fill_tree, _choose_by_tree))
