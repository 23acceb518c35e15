"""What an event of a large sparse network reads and writes, side by side.

A reaction has a record: its propensity, its group and its place in it, then its number, the
reactions whose propensities its event changes, and the counts that the event changes. A reaction of
a chain has 64 bytes, one line of the caches, where it had lines in three arrays. In a chain of
100,000 that is what the time of an event depends on: memory takes 130 ns to answer, and other
programs leave of a shared cache what they please.

The first cell of a record is that of `propensity_groups`.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from .arrays import ROW_CHANGES, ROW_DEPENDENTS, ROW_HEAD, ReactionArrays
from .programs import Programs

__all__ = [
    "FIRST",
    "NUMBER",
    "RECORD_HEAD",
    "SECOND",
    "SIZES",
    "RecordedNetwork",
    "record_network",
    "records_of",
]

# Places in a record, in int32: after the number that decides the group, the coefficient, the code
# of the group and the place in it come the two species, see `ReactionArrays` (the second as its
# complement where `shift` is 1); the number of the reaction; the number of dependents, and that of
# changes times 2^16; the first cells of the dependents; then species and change in turn.
FIRST, SECOND, NUMBER, SIZES = (np.uint64(k) for k in (6, 7, 8, 9))
RECORD_HEAD = 10
# A line of the caches, in int32, and a cell.
_LINE, _CELL = 16, 8


class RecordedNetwork(NamedTuple):
    """A network with records; the fields that `ReactionArrays` has mean the same."""

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
    part_start: np.ndarray
    part: np.ndarray
    dependent_start: np.ndarray
    dependent: np.ndarray
    rows: np.ndarray
    laws: Programs
    parameters: np.ndarray
    # (n_reactions, a multiple of 16) int32, what of the records never changes, with 0 elsewhere;
    # (0, 8) in networks without rows, where a reaction has a cell and all else is in lists.
    records: np.ndarray


def records_of(arrays: ReactionArrays) -> np.ndarray:
    """Return the records of a network, from its rows."""
    rows, n = arrays.rows, arrays.rows.shape[0]
    if n == 0:
        return np.zeros((0, _CELL), dtype=np.int32)
    n_dependents, n_changes = rows[:, ROW_DEPENDENTS], rows[:, ROW_CHANGES]
    longest = int((n_dependents + 2 * n_changes).max())
    width = -(-(RECORD_HEAD + longest) // _LINE) * _LINE
    records = np.zeros((n, width), dtype=np.int32)
    second = rows[:, 1]
    records[:, int(FIRST)] = rows[:, 0]
    records[:, int(SECOND)] = np.where(rows[:, 2] > 0, ~second, second)
    records[:, int(NUMBER)] = np.arange(n)
    records[:, int(SIZES)] = n_dependents + (n_changes << 16)
    rest = rows[:, ROW_HEAD : ROW_HEAD + longest].copy()
    is_dependent = np.arange(longest) < n_dependents[:, np.newaxis]
    rest[is_dependent] *= width // _CELL
    records[:, RECORD_HEAD : RECORD_HEAD + longest] = rest
    return records


def record_network(arrays: ReactionArrays, records: np.ndarray) -> RecordedNetwork:
    """Return a network with its records."""
    fields = {name: getattr(arrays, name) for name in RecordedNetwork._fields[:-1]}
    return RecordedNetwork(**fields, records=records)
