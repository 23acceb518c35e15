"""Mass action in classes: reactions that share a factor of their propensities.

The propensity of A + B at c is c A B. One of the two species is the hub of the reaction, the other
its partner; of first-order reactions, the only one is the partner, and the hub is 1. Reactions with
one hub and one c are a class. Its propensity is c times the hub times the sum of the partners, and
that sum is a whole number: kept as an integer to which changes are added, it is always exact, and
cannot drift. When the hub changes, one number changes, however many reactions it takes part in.

The partners of a class stand in blocks, which have such sums, too; a reaction is found by going
through blocks, then partners, then the reactions that one partner has in the class. What does not
fit this form (rate laws, two molecules of one species, three molecules) is alone, a class of its
own whose propensity is worked out as ever. The propensities of all classes are the leaves of a tree
of sums (`sum_tree`).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from .arrays import PAIR, ReactionArrays
from .jit import inlined, part
from .programs import Programs
from .sum_tree import ARITY, first_leaf, update_node

__all__ = [
    "PartialSums",
    "choose_in_class",
    "group_reactions",
    "largest_class",
    "start_sums",
    "update_nodes",
]

# Counts stay below 2**53, so the sum of a class of this many reactions fits an int64.
_MOST_REACTIONS = 512
# Partners in a block.
_BLOCK = 16
# Up to this many classes all nodes of the tree are added up afresh at each event: they are
# neighbours, and added by vectors. Above, those are which lie over the changed classes.
_MOST_FRESH = 512


# Unsigned indices, because for signed ones each access asks if the index counts from the end.
_ONE, _TWO, _EIGHT = np.uint64(1), np.uint64(2), np.uint64(ARITY)


class PartialSums(NamedTuple):
    """A network in classes; first what the loop over events and rate laws read of a network.

    The classes are followed by the reactions that are alone, each a class of its own.
    """

    form: np.ndarray
    coefficient: np.ndarray
    first: np.ndarray
    second: np.ndarray
    shift: np.ndarray
    law_factor: np.ndarray
    reactant_start: np.ndarray
    reactant: np.ndarray
    reactant_count: np.ndarray
    change_start: np.ndarray
    change_species: np.ndarray
    change: np.ndarray
    rows: np.ndarray
    laws: Programs
    parameters: np.ndarray
    class_coefficient: np.ndarray  # (n_classes,) float64: the c that a class shares
    class_hub: np.ndarray  # (n_classes,) uint32, index into the state, the last entry for no hub
    class_block: np.ndarray  # (n_classes + 1,) uint64: class k owns the blocks from here on
    # (n_blocks + 1,) uint32: block b owns the partners from here on.
    block_partner: np.ndarray
    # (n_partners + 1, 3) uint32: the partner's place in the state; how many reactions it has in the
    # class; the first of them in `reaction`.
    partner: np.ndarray
    reaction: np.ndarray  # (n_grouped,) uint32
    # What changes with a species: sums of which it is a partner, as rows (block, class, number of
    # its reactions there); classes of which it is the hub; propensities of reactions that are
    # alone; nodes of the tree above all of them, children before parents.
    member_start: np.ndarray  # (n_states + 2,) uint64
    member: np.ndarray  # (n_members, 3) uint32
    hub_start: np.ndarray  # (n_states + 2,) uint64
    hub_class: np.ndarray  # (n_entries,) uint32
    alone_start: np.ndarray  # (n_states + 2,) uint64
    alone_class: np.ndarray  # (n_entries,) uint32, from 0 at the first that is alone
    node_start: np.ndarray  # (n_states + 2,) uint64
    node: np.ndarray  # (n_entries,) uint32
    alone: np.ndarray  # (n_alone,) uint32: the reactions that are alone
    n_leaves: int  # classes and reactions that are alone
    leaf: int  # the node of the first class


def _runs(keys: list[np.ndarray]) -> np.ndarray:
    """Return the number of the run of equal keys that each entry belongs to, from 0."""
    fresh = np.zeros(keys[0].size, dtype=bool)
    for key in keys:
        fresh[1:] |= key[1:] != key[:-1]
    return np.cumsum(fresh)


def _starts(places: np.ndarray, n: int) -> np.ndarray:
    """Return where each of n lists starts, from the sorted list that each entry belongs to."""
    return np.searchsorted(places, np.arange(n + 1)).astype(np.uint64)


def _within(run: np.ndarray) -> np.ndarray:
    """Return the position of each entry in its run."""
    return np.arange(run.size) - np.searchsorted(run, run)


def _entries(start: np.ndarray, items: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return (list, entry) for all entries of the lists of some items, and the items' places."""
    length = (start[1:] - start[:-1])[items]
    owner = np.repeat(np.arange(items.size), length)
    return owner, np.repeat(start[items], length) + _within(owner)


def _readers_of(arrays: ReactionArrays, alone: np.ndarray) -> np.ndarray:
    """Return rows (species, class from 0) of what the reactions that are alone depend on."""
    pairs = []
    for start, read in (
        (arrays.reactant_start, arrays.reactant),
        (arrays.law_species_start, arrays.law_species),
    ):
        owner, place = _entries(start, alone)
        pairs.append(np.stack([read[place], owner], axis=1))
    return np.unique(np.concatenate(pairs), axis=0)


def _nodes_of(
    species: np.ndarray, leaves: np.ndarray, leaf: int, n_states: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return for each species the inner nodes above its leaves, children before parents."""
    level = np.stack([species, leaf + leaves], axis=1)
    found = []
    while level.size:
        level = np.unique(np.stack([level[:, 0], (level[:, 1] - 1) // ARITY], axis=1), axis=0)
        found.append(level)
        level = level[level[:, 1] > 0]
    every = np.concatenate(found) if found else np.zeros((0, 2), dtype=np.int64)
    every = every[np.lexsort((-every[:, 1], every[:, 0]))]
    return _starts(every[:, 0], n_states + 1), every[:, 1].astype(np.uint32)


def group_reactions(arrays: ReactionArrays, n_states: int) -> PartialSums:
    """Return a network of `n_states` species and variables in classes."""
    none = n_states
    is_grouped = (arrays.form == PAIR) & (arrays.shift == 0.0)
    grouped = np.flatnonzero(is_grouped)
    alone = np.flatnonzero(~is_grouped)
    first, second = arrays.first[grouped], arrays.second[grouped]
    two = second != none
    # The species with more partners is the hub: fewer of its propensities have to be changed.
    degree = np.bincount(first[two], minlength=none + 1)
    degree += np.bincount(second[two], minlength=none + 1)
    is_second_hub = ~two | (degree[second] > degree[first])
    hub, other = np.where(is_second_hub, second, first), np.where(is_second_hub, first, second)
    coefficient = arrays.coefficient[grouped]
    order = np.lexsort((other, coefficient, hub))
    hub, other, coefficient = hub[order], other[order], coefficient[order]
    run = _runs([hub, coefficient])
    piece = _within(run) // _MOST_REACTIONS
    of_class = _runs([run, piece])
    of_partner = _runs([of_class, other])
    n_classes = int(of_class[-1]) + 1 if of_class.size else 0
    head = np.flatnonzero(np.diff(of_class, prepend=-1))  # the first reaction of each class
    partner_first = np.flatnonzero(np.diff(of_partner, prepend=-1))  # and of each partner
    partner_class, partner_state = of_class[partner_first], other[partner_first]
    partner_count = np.diff(partner_first, append=of_partner.size)
    of_block = _runs([partner_class, _within(partner_class) // _BLOCK])
    block_first = np.flatnonzero(np.diff(of_block, prepend=-1))
    partner = np.zeros((partner_first.size + 1, 3), dtype=np.uint32)
    partner[:-1] = np.stack([partner_state, partner_count, partner_first], axis=1)
    # The entry of the state that is always 1 never changes.
    by_species = np.argsort(partner_state, kind="stable")
    by_species = by_species[partner_state[by_species] != none]
    member = np.stack([of_block, partner_class, partner_count], axis=1)[by_species]
    by_hub = np.argsort(hub[head], kind="stable")
    by_hub = by_hub[hub[head][by_hub] != none]
    read = _readers_of(arrays, alone)
    n_leaves = n_classes + alone.size
    leaf = first_leaf(n_leaves)
    node_start, node = np.zeros(none + 2, dtype=np.uint64), np.zeros(0, dtype=np.uint32)
    if n_leaves > _MOST_FRESH:
        node_start, node = _nodes_of(
            np.concatenate([partner_state[by_species], hub[head][by_hub], read[:, 0]]),
            np.concatenate([member[:, 1], by_hub, n_classes + read[:, 1]]),
            leaf,
            none,
        )
    return PartialSums(
        **{name: getattr(arrays, name) for name in PartialSums._fields[:15]},
        class_coefficient=coefficient[head],
        class_hub=hub[head].astype(np.uint32),
        class_block=_starts(partner_class[block_first], n_classes),
        block_partner=np.append(block_first, partner_first.size).astype(np.uint32),
        partner=partner,
        reaction=grouped[order].astype(np.uint32),
        member_start=_starts(partner_state[by_species], none + 1),
        member=np.ascontiguousarray(member, dtype=np.uint32),
        hub_start=_starts(hub[head][by_hub], none + 1),
        hub_class=by_hub.astype(np.uint32),
        alone_start=_starts(read[:, 0], none + 1),
        alone_class=read[:, 1].astype(np.uint32),
        node_start=node_start,
        node=node,
        alone=alone.astype(np.uint32),
        n_leaves=n_leaves,
        leaf=leaf,
    )


@inlined
def _fill_all_nodes(tree, leaf, n_leaves):
    # Level by level from below: the nodes of a level are neighbours, and so are their children.
    low, high = np.uint64(leaf), np.uint64(leaf + max(n_leaves, 1))
    while low > np.uint64(0):
        low, high = (low - _ONE) // _EIGHT, (high - _TWO) // _EIGHT + _ONE
        for node in range(low, high):
            update_node(tree, node)


@part
def start_sums(network, state, tree, block_sum, class_sum):
    """Set the sums of all blocks and classes, and their propensities in `tree`."""
    for k in range(network.class_hub.size):
        total = np.int64(0)
        for b in range(network.class_block[k], network.class_block[k + 1]):
            of_block = np.int64(0)
            for p in range(network.block_partner[b], network.block_partner[b + 1]):
                of_block += state[network.partner[p, 0]] * network.partner[p, 1]
            block_sum[b] = of_block
            total += of_block
        class_sum[k] = total
        tree[network.leaf + k] = (
            network.class_coefficient[k]
            * np.float64(state[network.class_hub[k]])
            * np.float64(total)
        )


@inlined
def update_nodes(network, tree, fired):
    """Bring the tree up to date after `fired`; after `n_reactions`, all of it."""
    if fired == network.form.size or network.n_leaves <= _MOST_FRESH:
        _fill_all_nodes(tree, network.leaf, network.n_leaves)
        return
    # A node above several changed species has its final value from the last of them.
    for c in range(network.change_start[fired], network.change_start[fired + 1]):
        species = network.change_species[c]
        for k in range(network.node_start[species], network.node_start[species + 1]):
            update_node(tree, network.node[k])


@inlined
def choose_in_class(network, state, block_sum, k, pick):
    """Return the reaction of class k that `pick`, from 0 to the class's sum - 1, belongs to."""
    b = np.int64(network.class_block[k])
    while pick >= block_sum[b]:
        pick -= block_sum[b]
        b += 1
    p = np.int64(network.block_partner[b])
    count = state[network.partner[p, 0]]
    while pick >= count * network.partner[p, 1]:
        pick -= count * network.partner[p, 1]
        p += 1
        count = state[network.partner[p, 0]]
    place = network.partner[p, 2]
    if network.partner[p, 1] > 1:
        place += pick // count
    return np.int64(network.reaction[place])


@part
def largest_class(network, tree):
    """Return a reaction of the largest propensity, for messages."""
    largest = 0
    for k in range(network.n_leaves):
        if not tree[network.leaf + k] <= tree[network.leaf + largest]:
            largest = k
    n_classes = network.class_hub.size
    if largest >= n_classes:
        return np.int64(network.alone[largest - n_classes])
    p = network.block_partner[network.class_block[largest]]
    return np.int64(network.reaction[network.partner[p, 2]])
