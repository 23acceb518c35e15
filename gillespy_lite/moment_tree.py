"""Means and covariances of many trajectories, added up in an order that never varies."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Generic, Protocol, Self, TypeVar

import numpy as np

from .kernels.set_statistics import fill_set_moments, scratch_size
from .kernels.statistics import fill_moments
from .kernels.walking import COMPLETE

__all__ = ["BlockTree", "Moments", "block_moments"]

_MANY = 16  # rows, for which the other kernel's sums are worth setting up


@dataclass(frozen=True)
class Moments:
    """Moments of `n` trajectories at each time; k columns."""

    n: int
    means: np.ndarray  # (n_times, k) float64
    comoments: np.ndarray  # (n_times, k, k) float64, sums of products of deviations
    minima: np.ndarray  # (n_times, k) float64
    maxima: np.ndarray  # (n_times, k) float64

    @classmethod
    def empty(cls, n_times: int, k: int) -> Moments:
        """Return the moments of no trajectory."""
        nan = np.full((n_times, k), np.nan)
        return cls(0, nan, np.zeros((n_times, k, k)), nan, nan)

    def joined(self, other: Moments) -> Moments:
        """Return the moments of both.

        Chan, Golub and LeVeque (1983), Am. Stat. 37, 242, doi:10.1080/00031305.1983.10483115.
        """
        n = self.n + other.n
        apart = other.means - self.means
        products = apart[:, :, None] * apart[:, None, :]
        return Moments(
            n,
            self.means + apart * (other.n / n),
            self.comoments + other.comoments + products * (self.n * other.n / n),
            np.minimum(self.minima, other.minima),
            np.maximum(self.maxima, other.maxima),
        )


def block_moments(counts: np.ndarray, values: np.ndarray, chosen: np.ndarray) -> Moments:
    """Return the moments of the `chosen` rows, in ascending order, of a block of trajectories."""
    n_times, k = counts.shape[1], counts.shape[2] + values.shape[2]
    moments = Moments(
        int(chosen.size),
        np.empty((n_times, k)),
        np.empty((n_times, k, k)),
        np.empty((n_times, k)),
        np.empty((n_times, k)),
    )
    found = moments.means, moments.comoments, moments.minima, moments.maxima
    if chosen.size < max(_MANY, counts.shape[0]):
        fill_moments(counts, values, chosen, *found)
        return moments
    # The same bits in half the time, of rows without gaps that are next to each other in memory.
    outcome, n = np.full(chosen.size, COMPLETE), np.empty(1, dtype=np.int64)
    scratch = np.empty(scratch_size(n_times, k))
    sets = (one[None] for one in found)
    fill_set_moments(counts.ravel(), values.ravel(), outcome, chosen.size, scratch, n, *sets)
    return moments


class Joinable(Protocol):
    """What is known of some trajectories, and can be joined with what is known of others."""

    def joined(self, other: Self) -> Self:
        """Return what is known of both."""


T = TypeVar("T", bound=Joinable)


class BlockTree(Generic[T]):
    """Joins what is known of blocks pairwise: 0 with 1, 2 with 3, then those pairs, and so on.

    Blocks may come in any order, also as nodes of another tree; the sums are the same to the last
    bit, and about log2 of the number of blocks are held at a time. Parts of blocks stay apart, and
    are joined at the end, in the order of their trajectories.
    """

    def __init__(self, unit: int = 1) -> None:
        self._unit = unit  # trajectories in a block
        self._nodes: dict[tuple[int, int], T] = {}
        self._parts: dict[int, T] = {}

    def add(self, block: int, known: T, level: int = 0) -> None:
        """Add what is known of a block, or of a pair, a pair of pairs, ...; counted from 0."""
        if (level, block) in self._nodes:
            raise ValueError(f"block {block} of level {level} was added before")
        while (sibling := self._nodes.pop((level, block ^ 1), None)) is not None:
            known = sibling.joined(known) if block & 1 else known.joined(sibling)
            level, block = level + 1, block >> 1
        self._nodes[level, block] = known

    def add_part(self, first: int, known: T) -> None:
        """Add what is known of trajectories that are no whole block; `first` is one of them."""
        if first in self._parts:
            raise ValueError(f"the part of a block from trajectory {first} on was added before")
        self._parts[first] = known

    def nodes(self) -> list[tuple[int, int, T]]:
        """Return what there is as (level, block, known); a part as (-1, first, known)."""
        nodes = [(level, block, one) for (level, block), one in self._nodes.items()]
        nodes += [(-1, first, one) for first, one in self._parts.items()]
        return sorted(nodes, key=self._place)

    def total(self) -> T | None:
        """Return what is known of all blocks, or None when there were none."""
        total: T | None = None
        for _, _, known in self.nodes():
            total = known if total is None else total.joined(known)
        return total

    def _place(self, node: tuple[int, int, T]) -> int:
        """Return the number of a node's first trajectory."""
        level, block, _ = node
        return block if level < 0 else (block << level) * self._unit
