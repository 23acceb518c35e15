"""Intervals around the counts, and when they have to move.

Bounds of propensities that hold while every count stays in its interval need no work from event to
event. A wide interval is left seldom, but its bounds are loose: more proposals are rejected.

How wide. Let x be the count of a species with the share s of all proposals, and W the work of
bringing all bounds up to date that depend on it, in units of a proposal. A count that goes up and
down by one, 2 s times an event, leaves an interval of +-w after (w + 1)^2 changes on average, which
costs 2 s W / (w + 1)^2 an event; proposals in vain cost about s w / x. Their sum is least where
(w + 1)^3 = 4 W x. So the width follows the cube root of the count: where few reactions read a
species it is 0, and bounds are propensities; a count of 1,000 that 1,000 reactions read has some
100. Which interval is taken changes the cost and the draws, and no law, as long as it depends on
the past alone.

Where a rate law has no bound in an interval, or proposals are rejected too often, all counts that a
reaction reads get intervals of a point, and smaller ones for some time.

References
----------
Thanh, Priami and Zunino (2014), J. Chem. Phys. 141, 134116, doi:10.1063/1.4896985, where intervals
are a fixed share of the counts.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from .arrays import PAIR, ReactionArrays
from .jit import apart, inlined
from .programs import Programs

__all__ = [
    "BoundedNetwork",
    "Intervals",
    "Readers",
    "bound_network",
    "interval_sizes",
    "intervals_at",
    "narrow",
    "readers_of",
    "recentre",
]

# W of one reaction, in units of a proposal: of a PAIR, of any other, and of a step of its program.
_PER_BOUND, _PER_LAW, _PER_STEP = 0.1, 0.5, 0.2

# Widths follow the cube root of what these multiply: a quarter after an interval was too wide, 9 %
# more each time that it moves.
_SMALLER, _LARGER, _SMALLEST = 1.0 / 64.0, 1.3, 1e-12


class Readers(NamedTuple):
    """What reads each species, and the work that this makes."""

    reader_start: np.ndarray  # (n_states + 2,) int64: where the readers of a species begin
    reader: np.ndarray  # (n_entries,) int64, reactions
    reach: np.ndarray  # (n_states + 1,) float64: 4 W of a species


class BoundedNetwork(NamedTuple):
    """A network with what reads each species; first what others read of a network."""

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
    law_species_start: np.ndarray
    law_species: np.ndarray
    reader_start: np.ndarray  # (n_states + 2,) int64, see `Readers`
    reader: np.ndarray  # (n_entries,) int64
    reach: np.ndarray  # (n_states + 1,) float64


class Intervals(NamedTuple):
    """The intervals, views of a walker's workspace; n_entries is n_species + 1, as in a state."""

    low: np.ndarray  # (n_entries,) float64, whole numbers
    high: np.ndarray  # (n_entries,) float64
    scale: np.ndarray  # (n_entries,) float64, see `_SMALLER`
    moved: np.ndarray  # (n_entries,) float64: 1 where bounds have to be worked out, else 0
    n_moves: np.ndarray  # (n_entries,) float64: how often the interval has moved


def _entries(start: np.ndarray) -> np.ndarray:
    """Return the list that each entry belongs to."""
    return np.repeat(np.arange(start.size - 1), np.diff(start))


def readers_of(arrays: ReactionArrays, n_states: int) -> Readers:
    """Return what reads each of `n_states` species and variables."""
    n = max(arrays.form.size, 1)
    pairs = np.concatenate(
        [
            arrays.reactant * n + _entries(arrays.reactant_start),
            arrays.law_species * n + _entries(arrays.law_species_start),
        ]
    )
    species, reader = np.divmod(np.unique(pairs), n)
    steps = np.diff(arrays.laws.start)
    work = np.where(arrays.form == PAIR, _PER_BOUND, _PER_LAW + _PER_STEP * steps)
    return Readers(
        reader_start=np.searchsorted(species, np.arange(n_states + 2)).astype(np.int64),
        reader=reader.astype(np.int64),
        reach=4.0 * np.bincount(species, weights=work[reader], minlength=n_states + 1),
    )


def bound_network(arrays: ReactionArrays, readers: Readers, width: float) -> BoundedNetwork:
    """Return a network for intervals that are `width` times as wide as usual."""
    fields = {name: getattr(arrays, name) for name in BoundedNetwork._fields[:17]}
    # What an event changes is looked up in lists, because intervals are compared with it, too.
    fields["rows"] = arrays.rows[:0]
    return BoundedNetwork(
        **fields,
        reader_start=readers.reader_start,
        reader=readers.reader,
        reach=readers.reach * width**3,
    )


def interval_sizes(n_species: int) -> int:
    """Return how many float64 numbers the intervals need."""
    return 5 * (n_species + 1)


@inlined
def intervals_at(reals, n_entries):
    """Return the intervals at the end of a walker's workspace."""
    rest = reals[reals.size - 5 * n_entries :]
    return Intervals(
        low=rest[:n_entries],
        high=rest[n_entries : 2 * n_entries],
        scale=rest[2 * n_entries : 3 * n_entries],
        moved=rest[3 * n_entries : 4 * n_entries],
        n_moves=rest[4 * n_entries :],
    )


@inlined
def _width(cube):
    """Return the greatest whole w >= 0 with (w + 1)^3 <= cube, else 0: the same on any machine."""
    root = 1.0
    if cube >= 1000.0:
        # A library's power may be off by one unit in the last place.
        root = np.floor(cube ** (1.0 / 3.0))
        while root * root * root > cube:
            root -= 1.0
    while (root + 1.0) * (root + 1.0) * (root + 1.0) <= cube:
        root += 1.0
    return root - 1.0


@inlined
def recentre(network, intervals, species, count):
    """Put the interval of a species around its count."""
    i = np.uint64(species)
    scale = intervals.scale[i]
    width = _width(network.reach[i] * scale * count)
    intervals.scale[i] = min(_LARGER * scale, 1.0)
    intervals.low[i] = max(count - width, 0.0)
    intervals.high[i] = count + width
    intervals.moved[i] = 1.0
    intervals.n_moves[i] += 1.0


@inlined
def _shrink(intervals, species, count):
    i = np.uint64(species)
    if intervals.low[i] < count or intervals.high[i] > count:
        intervals.low[i] = intervals.high[i] = count
        intervals.scale[i] = max(_SMALLER * intervals.scale[i], _SMALLEST)


@apart
def narrow(network, intervals, state, reaction):
    """Shrink the intervals of all counts that a reaction reads to a point each.

    Bounds of other reactions hold in smaller intervals, too.
    """
    for k in range(network.reactant_start[reaction], network.reactant_start[reaction + 1]):
        species = network.reactant[k]
        _shrink(intervals, species, np.float64(state[species]))
    for k in range(network.law_species_start[reaction], network.law_species_start[reaction + 1]):
        species = network.law_species[k]
        _shrink(intervals, species, np.float64(state[species]))
