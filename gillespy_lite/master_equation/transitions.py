"""The jumps between the states of a set as a graph: classes, ways out, what lies outside."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .conditions import Condition
from .state_space import StateSpace

if TYPE_CHECKING:
    from scipy import sparse

__all__ = ["Classes", "Transitions", "classes_of", "missing_of", "transitions_of"]

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Transitions:
    """The rates between the states of a set, and out of it.

    Attributes
    ----------
    states : ndarray, shape (n_states, n_species), int64
        Counts.
    places : ndarray, shape (n_states,), int64
        Where the states are in the set that they were taken from.
    rates : sparse array, shape (n_states, n_states), CSR
        Entry [i, j] is the rate from state i to j, 0 on the diagonal, per unit time.
    exits : ndarray, shape (n_exits, n_states), float64
        Rates out of the set: one row for each condition that ends it, the last for what is not
        in the set because it was cut off.
    """

    states: IntArray
    places: IntArray
    rates: sparse.csr_array
    exits: FloatArray

    @property
    def n_states(self) -> int:
        """Number of states."""
        return int(self.states.shape[0])

    @property
    def outflow(self) -> FloatArray:
        """The rate at which each state is left, (n_states,)."""
        return np.asarray(np.asarray(self.rates.sum(axis=1)).ravel() + self.exits.sum(axis=0))

    def part(self, keep: BoolArray, *gone: BoolArray) -> Transitions:
        """Return the states that are marked; the flow into each of `gone` is one exit more.

        The new exits come first; what flows to states that are in none is cut off.
        """
        kept = self.rates[keep]
        counted = ~keep
        rows = []
        for one in gone:
            rows.append(kept @ (one & counted).astype(np.float64))
            counted = counted & ~one
        exits = np.concatenate(
            [np.array(rows).reshape(len(rows), kept.shape[0]), self.exits[:, keep]]
        )
        exits[-1] += kept @ counted.astype(np.float64)
        return Transitions(self.states[keep], self.places[keep], kept[:, keep].tocsr(), exits)

    def can_leave(self) -> BoolArray:
        """Return for each state whether there is a way to an exit, (n_states,) bool."""
        known: BoolArray = np.asarray(self.exits.sum(axis=0) > 0.0)
        if known.all() or not known.any():
            return known
        # Backwards from the exits; a search over the graph with one more state that leads to them.
        from scipy import sparse
        from scipy.sparse import csgraph

        n = self.n_states
        ends = sparse.csr_array(known.astype(np.float64)[None])
        graph = sparse.block_array(
            [[self.rates.T, None], [ends, sparse.csr_array((1, 1))]], format="csr"
        )
        everything: Any = csgraph
        reached = everything.breadth_first_order(graph, n, return_predecessors=False)
        found = np.zeros(n + 1, dtype=bool)
        found[reached] = True
        return found[:n]


def transitions_of(space: StateSpace, *ends: Condition) -> Transitions:
    """Return the jumps between those states of a set in which no condition holds.

    Exits are the conditions, in their order, and what lies outside of the set.
    """
    from scipy import sparse

    states, channel_rates = space.states, space.rates()
    n = states.shape[0]
    inside = np.ones(n, dtype=bool)
    for end in ends:
        inside &= ~end.holds(states)
    exits = np.zeros((len(ends) + 1, n))
    rows, columns, values = [], [], []
    for c, change in enumerate(space.search.channels.change[:, :-1]):
        rate = channel_rates[:, c]
        sources = np.flatnonzero((rate > 0.0) & inside)
        if not sources.size:
            continue
        targets = states[sources] + change
        place = space.index_of(targets)
        stays = place >= 0
        stays[stays] = inside[place[stays]]
        rows.append(sources[stays])
        columns.append(place[stays])
        values.append(rate[sources[stays]])
        outside, targets = sources[~stays], targets[~stays]
        left = np.ones(outside.size, dtype=bool)
        for e, end in enumerate(ends):
            holds = end.holds(targets) & left
            exits[e, outside[holds]] += rate[outside[holds]]
            left &= ~holds
        exits[-1, outside[left]] += rate[outside[left]]
    none = np.zeros(0, dtype=np.int64)
    matrix = sparse.csr_array(
        (
            np.concatenate([np.zeros(0), *values]),
            (np.concatenate([none, *rows]), np.concatenate([none, *columns])),
        ),
        shape=(n, n),
    )
    return Transitions(
        states[inside],
        np.flatnonzero(inside),
        matrix[inside][:, inside].tocsr(),
        np.ascontiguousarray(exits[:, inside]),
    )


def missing_of(probabilities: FloatArray, excess: float) -> float:
    """Return by how much an initial law may be wrong: what it lacks, and twice what it exceeds."""
    lack = 1.0 - math.fsum(probabilities.tolist())
    return (lack if lack > 1e-14 else 0.0) + 2.0 * float(excess)


class Classes(NamedTuple):
    """The communicating classes of a graph."""

    member: IntArray  # (n_states,) the class of each state
    n_states: IntArray  # (n_classes,)
    is_closed: BoolArray  # (n_classes,) whether no jump leads out, also none out of the set
    is_terminal: BoolArray  # (n_classes,) whether no jump leads to another class of the set


def classes_of(graph: Transitions) -> Classes:
    """Return the classes of states that can be reached from one another."""
    from scipy.sparse import csgraph

    n_classes, labels = csgraph.connected_components(graph.rates, connection="strong")
    member: IntArray = np.asarray(labels, dtype=np.int64)
    pairs: Any = graph.rates.tocoo()
    source, target = member[pairs.coords[0]], member[pairs.coords[1]]
    leads_on = np.bincount(source[source != target], minlength=n_classes) > 0
    leaks = np.bincount(member, weights=graph.exits.sum(axis=0), minlength=n_classes) > 0.0
    sizes: Any = np.bincount(member, minlength=n_classes)
    return Classes(member, sizes, ~leads_on & ~leaks, ~leads_on)
