"""What each reaction takes, makes and changes, and which propensities that changes, as flat lists.

A step is what kernels do at once: in most networks a reaction. All of it is arithmetic on whole
arrays, without a loop over reactions: for 58,276 reactions such loops took 1.1 s, this takes .2 s.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import chain
from typing import NamedTuple

import numpy as np

from .kernels.arrays import LONGEST_ROW, PAIR, ROW_HEAD, cache_aligned
from .kernels.sum_tree import ARITY, DENSE_LIMIT, first_leaf
from .reactions import Terms

__all__ = [
    "ROW_WIDTH",
    "Changes",
    "Lists",
    "Side",
    "changes_of",
    "dependent_lists",
    "lists_of",
    "packed_rows",
    "padded",
    "readers_of",
    "side_of",
]

IntArray = np.ndarray[tuple[int], np.dtype[np.int64]]

# Lists of dependent reactions for every reaction may have this many entries in all; above, they are
# kept for every species, and a reaction has those of the species that it changes. A network of
# 58,276 reactions would otherwise need 64 million entries, 2 GB, and a minute to make them.
_MOST_ENTRIES = 2_000_000

# Reactions have rows from this number on, where their arrays outgrow the cache next to the
# processor: a chain of 100,000 took 8 times as long per event as one of 1,000, with lists in a
# dozen places. Rows are cache lines of 16 numbers, and up to four of them long.
_FEWEST_ROWS = 512
ROW_WIDTH = 16


@dataclass(frozen=True)
class Lists:
    """Lists of whole numbers in one array: list j is ``entries[start[j]:start[j + 1]]``."""

    start: IntArray  # (n_lists + 1,)
    entries: IntArray

    @cached_property
    def lengths(self) -> IntArray:
        """How many entries each list has."""
        return self.start[1:] - self.start[:-1]

    @cached_property
    def owners(self) -> IntArray:
        """Which list each entry is in."""
        return np.repeat(np.arange(self.start.size - 1), self.lengths)

    @cached_property
    def places(self) -> IntArray:
        """Which entry of its list each entry is, from 0."""
        return np.arange(self.entries.size) - np.repeat(self.start[:-1], self.lengths)

    def at(self, chosen: IntArray) -> IntArray:
        """Return the entries of some lists, one list after the other."""
        lengths = self.lengths[chosen]
        begin = np.cumsum(lengths) - lengths
        place = np.arange(int(lengths.sum())) - np.repeat(begin, lengths)
        found: IntArray = self.entries[np.repeat(self.start[chosen], lengths) + place]
        return found

    def where(self, is_kept: np.ndarray) -> Lists:
        """Return the lists without some of their entries."""
        return _grouped(self.owners[is_kept], self.entries[is_kept], self.start.size - 1)


def _grouped(owners: IntArray, entries: IntArray, n_lists: int) -> Lists:
    """Return lists from entries that stand in the order of their owners."""
    start = np.zeros(n_lists + 1, dtype=np.int64)
    np.cumsum(np.bincount(owners, minlength=n_lists), out=start[1:])
    return Lists(start, entries)


def _distinct(values: IntArray, bound: int) -> IntArray:
    """Return the different ones of values in 0, ..., bound - 1, in order."""
    # `np.unique` puts them into a hash table. Of a million, for 3,749 reactions, that took .3 s,
    # sorting .03 s and marking .005 s.
    if bound <= 32 * values.size:
        is_there = np.zeros(bound, dtype=bool)
        is_there[values] = True
        return np.flatnonzero(is_there)
    values = np.sort(values)
    is_new = np.ones(values.size, dtype=bool)
    np.not_equal(values[1:], values[:-1], out=is_new[1:])
    return values[is_new]


def _sorted_pairs(first: IntArray, second: IntArray, n_first: int, n_second: int) -> Lists:
    """Return for each first number the second ones that it occurs with, once each, in order."""
    pairs = _distinct(first * max(n_second, 1) + second, n_first * max(n_second, 1))
    owners, entries = np.divmod(pairs, max(n_second, 1))
    return _grouped(owners, entries, n_first)


def lists_of(lists: Sequence[Sequence[int]]) -> Lists:
    """Return lists of Python as arrays."""
    lengths = np.fromiter(map(len, lists), dtype=np.int64, count=len(lists))
    entries = np.fromiter(chain.from_iterable(lists), dtype=np.int64, count=int(lengths.sum()))
    start = np.zeros(len(lists) + 1, dtype=np.int64)
    np.cumsum(lengths, out=start[1:])
    return Lists(start, entries)


class Side(NamedTuple):
    """One side of every reaction, as far as its coefficients are whole."""

    species: Lists  # places in the state
    molecules: IntArray  # of each entry
    is_whole: np.ndarray  # (n_reactions,) bool: whether all coefficients are


def side_of(terms: Sequence[Terms], index: Mapping[str, int]) -> Side:
    """Return what stands on one side of each reaction."""
    n = len(terms)
    owners = np.repeat(np.arange(n), np.fromiter(map(len, terms), dtype=np.int64, count=n))
    flat = list(chain.from_iterable(terms))
    species = np.fromiter((index[name] for name, _ in flat), dtype=np.int64, count=len(flat))
    whole = np.fromiter((isinstance(count, int) for _, count in flat), dtype=bool, count=len(flat))
    counts = [count for _, count in flat if isinstance(count, int)]
    is_whole = np.ones(n, dtype=bool)
    is_whole[owners[~whole]] = False
    return Side(
        _grouped(owners[whole], species[whole], n), np.array(counts, dtype=np.int64), is_whole
    )


class Changes(NamedTuple):
    """By how much each step changes which species and variables."""

    species: Lists
    by: IntArray  # of each entry, never 0 but for padding


def changes_of(n_steps: int, n_states: int, *sides: tuple[int, IntArray, Side]) -> Changes:
    """Return the net changes of steps.

    Parameters
    ----------
    n_steps, n_states : int
        Steps, and species and variables.
    *sides : tuple of (sign, step, side)
        Adds `sign` times the coefficients of a side to the step of each of its reactions. Entries
        are in the order in which species first occur.
    """
    key, by = [], []
    for sign, step, side in sides:
        key.append(step[side.species.owners] * max(n_states, 1) + side.species.entries)
        by.append(sign * side.molecules)
    pairs = np.concatenate(key)
    order = np.argsort(pairs, kind="stable")
    pairs = pairs[order]
    begin = np.flatnonzero(np.diff(pairs, prepend=-1))  # of each pair
    total = np.add.reduceat(np.concatenate(by)[order], begin) if begin.size else begin
    first = order[begin]
    step, species = np.divmod(pairs[begin], max(n_states, 1))
    order = np.lexsort((first, step))
    order = order[total[order] != 0]
    return Changes(_grouped(step[order], species[order], n_steps), total[order])


def padded(changes: Changes, none: int) -> Changes:
    """Return short lists of changes at one length, filled up with changes of `none` by 0."""
    # Lists of one length let the processor foresee the end of the loop over them: an event of
    # Vilar's oscillator takes 15 % less time, one of Michaelis-Menten the same. The padding changes
    # the state's last entry by 0.
    longest = int(changes.species.lengths.max(initial=0))
    if longest > 4:
        return changes
    n = changes.species.start.size - 1
    species = np.full((n, longest), none, dtype=np.int64)
    by = np.zeros((n, longest), dtype=np.int64)
    place = changes.species.owners, changes.species.places
    species[place], by[place] = changes.species.entries, changes.by
    start = np.arange(0, n * longest + 1, longest) if longest else np.zeros(n + 1, dtype=np.int64)
    return Changes(Lists(start, species.ravel()), by.ravel())


def readers_of(n_states: int, *read: Lists) -> Lists:
    """Return for each species and variable the reactions that read it, in order.

    `read` are lists of species, one for each reaction.
    """
    species = np.concatenate([one.entries for one in read])
    reactions = np.concatenate([one.owners for one in read])
    return _sorted_pairs(species, reactions, n_states, read[0].start.size - 1)


def dependent_lists(
    form: IntArray, readers: Lists, changed: Lists, given: Mapping[int, IntArray]
) -> dict[str, IntArray]:
    """Return the lists of reactions whose propensities each step changes, for `ReactionArrays`.

    `changed` says which species each step changes, `given` the lists of steps that change something
    else.
    """
    n, n_steps = form.size, changed.start.size - 1
    n_readers = readers.lengths
    given_steps = np.array([*given], dtype=np.int64)
    given_owners = np.repeat(np.arange(len(given)), [one.size for one in given.values()])
    given_entries = np.concatenate([np.zeros(0, dtype=np.int64), *given.values()])
    if int(n_readers[changed.entries].sum()) <= _MOST_ENTRIES or n <= DENSE_LIMIT:
        step = np.repeat(changed.owners, n_readers[changed.entries])
        dependents = _sorted_pairs(
            np.concatenate([step, given_steps[given_owners]]),
            np.concatenate([readers.at(changed.entries), given_entries]),
            n_steps,
            n,
        )
        parts = Lists(np.arange(n_steps + 1), np.arange(n_steps))
    else:
        n_lists = readers.start.size - 1
        dependents = _grouped(
            np.concatenate([readers.owners, n_lists + given_owners]),
            np.concatenate([readers.entries, given_entries]),
            n_lists + len(given),
        )
        is_read = n_readers[changed.entries] > 0
        step = np.concatenate([changed.owners[is_read], given_steps])
        part = np.concatenate([changed.entries[is_read], n_lists + np.arange(len(given))])
        order = np.argsort(step, kind="stable")
        parts = _grouped(step[order], part[order], n_steps)
    laws = dependents.where(form[dependents.entries] != PAIR)
    nodes = _tree_nodes(n, dependents)
    return {
        "part_start": parts.start,
        "part": parts.entries,
        "dependent_start": dependents.start,
        "dependent": dependents.entries,
        "law_dependent_start": laws.start,
        "law_dependent": laws.entries,
        "node_start": nodes.start,
        "node": nodes.entries,
    }


def _tree_nodes(n_reactions: int, dependents: Lists) -> Lists:
    """For each list of reactions, the inner nodes above them, children before parents."""
    n_lists, offset = dependents.start.size - 1, first_leaf(n_reactions)
    # Pairs of a list and a node, in the order in which they shall stand.
    level = dependents.owners * offset
    level += offset - 1 - (offset + dependents.entries - 1) // ARITY
    level = _distinct(level, n_lists * offset)
    found = [level]
    while level.size:
        owners, node = np.divmod(level, offset)
        node = offset - 1 - node
        is_below = node > 0
        level = owners[is_below] * offset + (offset - 1 - (node[is_below] - 1) // ARITY)
        level = _distinct(level, n_lists * offset)
        found.append(level)
    owners, node = np.divmod(_distinct(np.concatenate(found), n_lists * offset), offset)
    return _grouped(owners, offset - 1 - node, n_lists)


def packed_rows(
    forms: Mapping[str, np.ndarray], changes: Changes, lists: Mapping[str, IntArray]
) -> np.ndarray:
    """Return the rows of `ReactionArrays`, none where they are of no use or too long.

    `forms` are its arrays of propensities by name, `lists` those of dependents.
    """
    n = forms["form"].size
    none = np.zeros((0, ROW_WIDTH), dtype=np.int32)
    if n < _FEWEST_ROWS or (forms["form"] != PAIR).any():
        return none
    if not np.array_equal(lists["part"], np.arange(n + 1)):
        return none  # lists are kept by species
    start, dependent = lists["dependent_start"], lists["dependent"]
    n_dependents, n_changes = np.diff(start)[:n], changes.species.lengths
    length = ROW_HEAD + n_dependents + 2 * n_changes
    if length.max() > LONGEST_ROW:
        return none
    width = -(-int(length.max()) // ROW_WIDTH) * ROW_WIDTH
    rows = cache_aligned(n * width // 2).view(np.int32).reshape(n, width)
    head = [forms["first"], forms["second"], forms["shift"], n_dependents, n_changes]
    rows[:, :ROW_HEAD] = np.stack(head, axis=1)
    owner = np.repeat(np.arange(n), n_dependents)
    place = np.arange(owner.size) - start[owner]
    rows[owner, ROW_HEAD + place] = dependent[: owner.size]
    owner, place = changes.species.owners, changes.species.places
    place = ROW_HEAD + n_dependents[owner] + 2 * place
    rows[owner, place] = changes.species.entries
    rows[owner, place + 1] = changes.by
    return rows
