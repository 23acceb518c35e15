"""Which trajectories are stored, which can be used for a run, and which are missing."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import NamedTuple

__all__ = ["Range", "cut", "gaps", "missing", "outermost", "shown", "union", "usable"]


class Range(NamedTuple):
    """Trajectories first, ..., last - 1."""

    first: int
    last: int

    @property
    def n(self) -> int:
        """How many they are."""
        return self.last - self.first

    def holds(self, other: Range) -> bool:
        """Whether all of the other are among these."""
        return self.first <= other.first and other.last <= self.last

    def overlap(self, other: Range) -> Range | None:
        """Return those that are in both."""
        first, last = max(self.first, other.first), min(self.last, other.last)
        return Range(first, last) if first < last else None


def union(ranges: Iterable[Range]) -> list[Range]:
    """Return the ranges with those joined that touch or overlap, in order."""
    joined: list[Range] = []
    for one in sorted(ranges):
        if joined and one.first <= joined[-1].last:
            joined[-1] = Range(joined[-1].first, max(joined[-1].last, one.last))
        else:
            joined.append(one)
    return joined


def gaps(wanted: Range, have: Iterable[Range]) -> list[Range]:
    """Return what of `wanted` is in none of the others."""
    found, start = [], wanted.first
    for one in union(have):
        if one.first >= wanted.last:
            break
        if one.first > start:
            found.append(Range(start, one.first))
        start = max(start, one.last)
    if start < wanted.last:
        found.append(Range(start, wanted.last))
    return found


def usable(stored: Iterable[Range], wanted: Range, unit: int | None) -> list[Range]:
    """Return the stored portions that a run of `wanted` can take, none of them twice.

    Kept trajectories (`unit` None) are taken one by one. Of statistics, whole portions are: those
    that lie inside and end where a run of `wanted` ends its blocks, in multiples of `unit`, or
    itself.
    """
    if unit is None:
        return sorted(one for one in stored if one.overlap(wanted))
    fit = [
        one
        for one in stored
        if wanted.holds(one)
        and (one.first % unit == 0 or one.first == wanted.first)
        and (one.last % unit == 0 or one.last == wanted.last)
    ]
    return outermost(fit)


def outermost(ranges: Iterable[Range]) -> list[Range]:
    """Return ranges that do not overlap, the longer of two that do."""
    chosen: list[Range] = []
    for one in sorted(ranges, key=lambda one: (one.first, -one.last)):
        if not chosen or one.first >= chosen[-1].last:
            chosen.append(one)
    return chosen


def missing(stored: Sequence[Range], wanted: Range, unit: int | None) -> list[Range]:
    """Return what a run of `wanted` has to compute, in pieces that can be stored.

    A piece of statistics consists of whole blocks, or lies within one.
    """
    holes = gaps(wanted, usable(stored, wanted, unit))
    if unit is None:
        return holes
    # Computed once more where a stored portion was too long to be used: not to be stored again.
    edges = {edge for one in stored for edge in one if edge % unit == 0}
    return [piece for hole in holes for piece in cut(hole, unit, edges)]


def cut(whole: Range, unit: int, edges: Iterable[int] = ()) -> list[Range]:
    """Return a range cut into whole blocks and the parts of blocks at its ends, and at `edges`."""
    inner = {rounded_up(whole.first, unit), whole.last // unit * unit, *edges}
    places = [whole.first, *sorted(e for e in inner if whole.first < e < whole.last), whole.last]
    return [Range(first, last) for first, last in pairwise(places)]


def rounded_up(number: int, unit: int) -> int:
    """Return the least multiple of `unit` that is not below a number."""
    return -(-number // unit) * unit


def shown(ranges: Sequence[Range], most: int = 6) -> str:
    """Return ranges as a person writes them, with both ends included."""
    texts = [f"{one.first} to {one.last - 1}" for one in ranges[:most]]
    if len(ranges) > most:
        texts.append(f"{len(ranges) - most} more ranges")
    return ", ".join(texts) or "none"
