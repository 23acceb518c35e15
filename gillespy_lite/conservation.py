"""Conservation laws: whole-number weights of the species whose weighted sum never changes.

Everything is computed in Python's exact integers.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import gcd
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from .network import Network
from .reactions import Terms

__all__ = ["conservation_laws", "integer_left_null_space"]

# The search for laws without negative weights can need exponentially many vectors; beyond this
# many it is given up, and the laws are whatever elimination finds.
MAX_CANDIDATES = 1_000

# A vector of whole numbers with most entries zero: index -> entry, without zeros.
Sparse = dict[int, int]


def conservation_laws(network: Network) -> NDArray[np.int64]:
    """Return independent conservation laws of a network, as many as there are.

    Parameters
    ----------
    network : Network
        Its stoichiometry alone matters, and what its events assign to.

    Returns
    -------
    ndarray of int64, shape (n_laws, n_species)
        Read-only. Each row holds weights w, without a common divisor, such that the sum of w times
        the counts never changes. What waits in a delay is nowhere, so a reaction whose products
        come later than its reactants go conserves nothing of them; a species that an event assigns
        to has no weight. Rows have no negative weight where that is possible (molecules
        of something are conserved: S + ES + P), and come in the order of their first species.
    """
    known = network.memo.get("conservation_laws")
    if known is None:
        rows = integer_left_null_space(_changes(network), network.n_species)
        known = np.array(rows, dtype=np.int64).reshape(len(rows), network.n_species)
        known.flags.writeable = False
        network.memo["conservation_laws"] = known
    laws: NDArray[np.int64] = known
    return laws


def _changes(network: Network) -> list[list[int]]:
    """Return all that can happen to the counts at once, one column for each."""
    changes: list[list[int]] = network.stoichiometry_matrix.tolist()
    index = {name: i for i, name in enumerate(network.species_names)}

    def add(terms: Terms, sign: int) -> None:
        for row in changes:
            row.append(0)
        for name, count in terms:
            if name in index and isinstance(count, int):
                changes[index[name]][-1] += sign * count

    for reaction in network.reactions:
        # The whole change is a column already; with one of its two parts it spans both.
        if reaction.delay is not None and reaction.delay.consuming == "initiation":
            add(reaction.reactants, -1)
    targets = {target for event in network.events for target, _ in event.assignments}
    for name in network.species_names:
        if name in targets:
            add(((name, 1),), 1)
    return changes


def integer_left_null_space(matrix: Sequence[Sequence[int]], n_rows: int) -> list[list[int]]:
    """Return a basis of the row vectors w with ``w @ matrix == 0``, without negatives if possible.

    Parameters
    ----------
    matrix : sequence of sequences of int, shape (n_rows, n_columns)
        Any integers.
    n_rows : int
        Needed when there are no columns.

    Returns
    -------
    list of list of int
        Independent vectors of length `n_rows`, each divided by its greatest common divisor.
    """
    rows = [{column: entry for column, entry in enumerate(row) if entry} for row in matrix] or [
        {} for _ in range(n_rows)
    ]
    basis = _eliminated(rows)
    if not basis:
        return []
    chosen: list[Sparse] = []
    echelon = _Echelon()
    # Small supports first: S + ES + P before E + S + 2 ES + P, which is a sum of two laws.
    candidates = sorted(_without_negatives(rows), key=lambda law: (len(law), sorted(law)))
    for law in (*candidates, *map(_mostly_positive, basis)):
        if len(chosen) < len(basis) and echelon.add(law):
            chosen.append(law)
    chosen.sort(key=lambda law: (min(law), sorted(law)))
    return [[law.get(index, 0) for index in range(n_rows)] for law in chosen]


def _reduced(vector: Sparse) -> Sparse:
    divisor = gcd(*vector.values())
    return {index: entry // divisor for index, entry in vector.items()} if divisor > 1 else vector


def _combined(a: Sparse, times_a: int, b: Sparse, times_b: int) -> Sparse:
    result = {index: times_a * entry for index, entry in a.items()}
    for index, entry in b.items():
        total = result.get(index, 0) + times_b * entry
        if total:
            result[index] = total
        else:
            result.pop(index, None)
    return result


def _mostly_positive(law: Sparse) -> Sparse:
    n_negative = sum(entry < 0 for entry in law.values())
    first = law[min(law)]
    if 2 * n_negative > len(law) or (2 * n_negative == len(law) and first < 0):
        return {index: -entry for index, entry in law.items()}
    return law


class _Echelon:
    """Independent vectors, kept in a form in which a dependent one is seen at once."""

    def __init__(self) -> None:
        self.pivots: dict[int, Sparse] = {}

    def add(self, vector: Sparse) -> bool:
        """Add a vector; return whether it was independent of those before."""
        while vector:
            pivot = min(vector)
            other = self.pivots.get(pivot)
            if other is None:
                self.pivots[pivot] = _reduced(vector)
                return True
            vector = _combined(vector, other[pivot], other, -vector[pivot])
            if vector:
                vector = _reduced(vector)
        return False


def _eliminated(rows: list[Sparse]) -> list[Sparse]:
    """Return a basis of the combinations of rows that vanish, by Gaussian elimination."""
    n_columns = 1 + max((max(row) for row in rows if row), default=-1)
    # Each row carries its own unit vector behind the columns, as a record of what was combined.
    pivots: dict[int, Sparse] = {}
    basis = []
    for index, row in enumerate(rows):
        vector = {**row, n_columns + index: 1}
        while (pivot := min(vector)) < n_columns and pivot in pivots:
            other = pivots[pivot]
            vector = _reduced(_combined(vector, other[pivot], other, -vector[pivot]))
        if pivot < n_columns:
            pivots[pivot] = vector
        else:
            basis.append({place - n_columns: entry for place, entry in vector.items()})
    return basis


def _without_negatives(rows: list[Sparse]) -> list[Sparse]:
    """Return the laws without negative weights whose sets of species are smallest.

    This is the Farkas algorithm, as in Schuster and Höfer (1991), J. Chem. Soc. Faraday Trans. 87,
    2561, doi:10.1039/FT9918702561: cancel one column after the other by adding rows of opposite
    sign. Returns nothing if it takes too many rows.
    """
    tableau = [_Candidate(row, {index: 1}, 1 << index) for index, row in enumerate(rows)]
    # How many rows have a negative and a positive entry in each column.
    signs: dict[int, list[int]] = {column: [0, 0] for row in rows for column in row}

    def count(candidate: _Candidate, change: int) -> None:
        for column, entry in candidate.row.items():
            signs[column][entry > 0] += change

    for candidate in tableau:
        count(candidate, 1)
    while signs:
        # The column that makes the fewest new rows.
        column = min(signs, key=lambda name: signs[name][0] * signs[name][1])
        if signs[column][0] * signs[column][1] > MAX_CANDIDATES:
            return []
        kept = [candidate for candidate in tableau if column not in candidate.row]
        positive = [candidate for candidate in tableau if candidate.row.get(column, 0) > 0]
        negative = [candidate for candidate in tableau if candidate.row.get(column, 0) < 0]
        for candidate in (*positive, *negative):
            count(candidate, -1)
        new = [_cancelled(a, b, column) for a in positive for b in negative]
        new.sort(key=lambda candidate: candidate.support.bit_count())
        for candidate in new:
            support = candidate.support
            if any(other.support & support == other.support for other in kept):
                continue
            for other in kept:
                if other.support & support == support:
                    count(other, -1)
            kept = [other for other in kept if other.support & support != support]
            kept.append(candidate)
            count(candidate, 1)
        tableau = kept
        del signs[column]
        if len(tableau) > MAX_CANDIDATES:
            return []
    return [candidate.law for candidate in tableau]


class _Candidate(NamedTuple):
    """A sum of rows with positive weights, on its way to vanishing."""

    row: Sparse  # what is left of the columns
    law: Sparse  # the weights
    support: int  # bit i is set if species i has a weight


def _cancelled(a: _Candidate, b: _Candidate, column: int) -> _Candidate:
    """Return the sum of multiples of two candidates whose entry in a column vanishes."""
    times_a, times_b = -b.row[column], a.row[column]
    row = _combined(a.row, times_a, b.row, times_b)
    law = _combined(a.law, times_a, b.law, times_b)
    divisor = gcd(*row.values(), *law.values())
    if divisor > 1:
        row = {name: entry // divisor for name, entry in row.items()}
        law = {name: entry // divisor for name, entry in law.items()}
    return _Candidate(row, law, a.support | b.support)
