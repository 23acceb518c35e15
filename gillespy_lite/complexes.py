"""The graph of complexes of a network: linkage classes, deficiency, reversibility.

A complex is one side of a reaction. The theory is that of Horn, Jackson (1972) and Feinberg (1972):
what a network can do is read off its graph, whatever the rate constants are.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from .conservation import conservation_laws, integer_left_null_space
from .errors import NetworkError
from .network import Network
from .reactions import side_text

__all__ = ["Complex", "NetworkStructure", "structure_of"]

# Molecules of each species, in the order of the species, without zeros.
Complex: TypeAlias = tuple[tuple[str, int], ...]


@dataclass(frozen=True)
class NetworkStructure:
    """Complexes of a network and how its reactions join them, from `Network.structure`.

    Attributes
    ----------
    complexes : tuple of tuple of (str, int)
        The different sides of reactions, in order of appearance: species and molecules.
    reactions : tuple of (int, int)
        Reactant and product complex of each reaction, as indices into `complexes`.
    linkage_classes : tuple of tuple of int
        Complexes that reactions join, whatever their direction.
    strong_classes : tuple of tuple of int
        Complexes that reactions lead from each to each.
    terminal_classes : tuple of tuple of int
        Those of `strong_classes` that no reaction leaves.
    rank : int
        Independent changes that reactions make.
    """

    complexes: tuple[Complex, ...]
    reactions: tuple[tuple[int, int], ...]
    linkage_classes: tuple[tuple[int, ...], ...]
    strong_classes: tuple[tuple[int, ...], ...]
    terminal_classes: tuple[tuple[int, ...], ...]
    rank: int

    @property
    def deficiency(self) -> int:
        """Number of complexes less that of linkage classes less the rank: 0 or more."""
        return len(self.complexes) - len(self.linkage_classes) - self.rank

    @property
    def is_weakly_reversible(self) -> bool:
        """Whether every reaction can be undone by a sequence of reactions of the graph."""
        return len(self.strong_classes) == len(self.linkage_classes)

    @property
    def is_reversible(self) -> bool:
        """Whether every reaction has its reverse among the reactions."""
        edges = set(self.reactions)
        return all((end, start) in edges for start, end in edges)

    def complex_text(self, index: int) -> str:
        """Return a complex in the language: ``2 P + Q``, or ``0``."""
        return side_text(self.complexes[index])

    def why_not_weakly_reversible(self) -> str:
        """Name a reaction that nothing undoes; empty if the network is weakly reversible."""
        place = {one: k for k, strong in enumerate(self.strong_classes) for one in strong}
        for start, end in self.reactions:
            if place[start] != place[end]:
                return (
                    f"{self.complex_text(start)} -> {self.complex_text(end)} is undone by no "
                    "sequence of reactions"
                )
        return ""

    def __str__(self) -> str:
        """Return two or three lines of text."""
        if self.is_reversible:
            way = "reversible"
        elif self.is_weakly_reversible:
            way = "weakly reversible"
        else:
            way = "not weakly reversible"
        n, m = len(self.complexes), len(self.linkage_classes)
        lines = [
            f"{n} {'complex' if n == 1 else 'complexes'}, {m} linkage "
            f"{'class' if m == 1 else 'classes'}, rank {self.rank}: deficiency {self.deficiency}",
            way,
        ]
        if not self.is_weakly_reversible:
            shown = [
                "{" + ", ".join(self.complex_text(one) for one in terminal) + "}"
                for terminal in self.terminal_classes[:_TERMINAL_SHOWN]
            ]
            more = len(self.terminal_classes) - len(shown)
            end = f" and {more} more" if more > 0 else ""
            lines.append(f"terminal classes: {', '.join(shown)}{end}")
        return "\n".join(lines)


_TERMINAL_SHOWN = 5


def structure_of(network: Network, without: Collection[str] = ()) -> NetworkStructure:
    """Return the graph of complexes of a network; what `Network.structure` calls.

    Parameters
    ----------
    network : Network
        Its reactions alone matter; rate laws and delays do not.
    without : collection of str, optional
        Species that are left out of the complexes, such as those that never change.

    Returns
    -------
    NetworkStructure
        Reactions that then change nothing join a complex to itself.

    Raises
    ------
    NetworkError
        If there is no such species, or a side holds an amount that is not whole.
    """
    left_out = frozenset(without)
    for name in sorted(left_out - set(network.species_names)):
        raise NetworkError(f"the network has no species {name!r} to leave out")
    index = {name: i for i, name in enumerate(network.species_names)}
    place: dict[Complex, int] = {}
    edges = []
    for number, reaction in enumerate(network.reactions, 1):
        ends = []
        for side in (reaction.reactants, reaction.products):
            terms = []
            for name, count in side:
                if name not in index or not isinstance(count, int):
                    raise NetworkError(
                        f"reaction {number} ({reaction.equation}) has {name!r} on a side, of which "
                        "it takes or makes real amounts; complexes are of whole molecules"
                    )
                if name not in left_out:
                    terms.append((name, count))
            one = tuple(sorted(terms, key=lambda term: index[term[0]]))
            ends.append(place.setdefault(one, len(place)))
        edges.append((ends[0], ends[1]))
    complexes = tuple(place)
    strong = _strong_classes(len(complexes), edges)
    home = {one: k for k, group in enumerate(strong) for one in group}
    left = {home[start] for start, end in edges if home[start] != home[end]}
    return NetworkStructure(
        complexes=complexes,
        reactions=tuple(edges),
        linkage_classes=_linkage_classes(len(complexes), edges),
        strong_classes=strong,
        terminal_classes=tuple(group for k, group in enumerate(strong) if k not in left),
        rank=_rank(network, left_out),
    )


def _rank(network: Network, left_out: Collection[str]) -> int:
    kept = [i for i, name in enumerate(network.species_names) if name not in left_out]
    is_plain = not network.events and all(one.delay is None for one in network.reactions)
    if (
        is_plain
        and not network.stoichiometry_matrix[
            [i for i in range(network.n_species) if i not in set(kept)]
        ].any()
    ):
        return network.n_species - len(conservation_laws(network))  # which are kept
    matrix = network.stoichiometry_matrix[kept].tolist()
    return len(kept) - len(integer_left_null_space(matrix, len(kept)))


def _linkage_classes(n: int, edges: Sequence[tuple[int, int]]) -> tuple[tuple[int, ...], ...]:
    parent = list(range(n))

    def root(one: int) -> int:
        while parent[one] != one:
            parent[one] = parent[parent[one]]
            one = parent[one]
        return one

    for start, end in edges:
        parent[root(end)] = root(start)
    groups: dict[int, list[int]] = {}
    for one in range(n):
        groups.setdefault(root(one), []).append(one)
    return tuple(sorted(map(tuple, groups.values())))


def _strong_classes(n: int, edges: Sequence[tuple[int, int]]) -> tuple[tuple[int, ...], ...]:
    """Return strongly connected components, by Tarjan (1972), doi:10.1137/0201010, unrolled."""
    after: list[list[int]] = [[] for _ in range(n)]
    for start, end in edges:
        after[start].append(end)
    order: dict[int, int] = {}
    low: dict[int, int] = {}
    stack: list[int] = []
    on_stack: set[int] = set()
    found: list[tuple[int, ...]] = []
    for first in range(n):
        if first in order:
            continue
        work = [(first, iter(after[first]))]
        order[first] = low[first] = len(order)
        stack.append(first)
        on_stack.add(first)
        while work:
            node, rest = work[-1]
            step = next(rest, None)
            if step is None:
                work.pop()
                if work:
                    low[work[-1][0]] = min(low[work[-1][0]], low[node])
                if low[node] == order[node]:
                    group = []
                    while True:
                        one = stack.pop()
                        on_stack.discard(one)
                        group.append(one)
                        if one == node:
                            break
                    found.append(tuple(sorted(group)))
            elif step not in order:
                order[step] = low[step] = len(order)
                stack.append(step)
                on_stack.add(step)
                work.append((step, iter(after[step])))
            elif step in on_stack:
                low[node] = min(low[node], order[step])
    return tuple(sorted(found))
