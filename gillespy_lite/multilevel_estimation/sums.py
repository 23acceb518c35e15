"""Means and variances of the differences of one level, joined in an order that never varies."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["LevelSums"]

FloatArray = NDArray[np.float64]


@dataclass(frozen=True)
class LevelSums:
    """Moments of `n` paths of a level; all arrays have shape (n_times, n_outputs).

    Attributes
    ----------
    n : int
    mean, squares : ndarray
        Mean, and sum of squared deviations, of the differences: finer minus coarser path.
    finer_mean, finer_squares, coarser_mean, coarser_squares : ndarray
        The same of either path by itself.
    n_differing : ndarray
        In how many pairs the two paths differ.
    n_events : float
        Of all finer paths together.
    work : float
        Counted, see `work.py`.
    """

    n: int
    mean: FloatArray
    squares: FloatArray
    finer_mean: FloatArray
    finer_squares: FloatArray
    coarser_mean: FloatArray
    coarser_squares: FloatArray
    n_differing: FloatArray
    n_events: float
    work: float

    @classmethod
    def of(
        cls, finer: FloatArray, coarser: FloatArray | None, n_events: float, work: float
    ) -> LevelSums:
        """Return the moments of a block of paths, arrays of shape (n_paths, n_times, n_outputs)."""
        alone = _moments(finer)
        other = _moments(finer if coarser is None else coarser)
        difference = finer if coarser is None else finer - coarser
        return cls(
            len(finer),
            *(alone if coarser is None else _moments(difference)),
            *alone,
            *other,
            np.count_nonzero(difference, axis=0).astype(np.float64),
            n_events,
            work,
        )

    def joined(self, other: LevelSums) -> LevelSums:
        """Return the moments of both."""
        return LevelSums(
            self.n + other.n,
            *_joined(self.n, self.mean, self.squares, other.n, other.mean, other.squares),
            *_joined(
                self.n,
                self.finer_mean,
                self.finer_squares,
                other.n,
                other.finer_mean,
                other.finer_squares,
            ),
            *_joined(
                self.n,
                self.coarser_mean,
                self.coarser_squares,
                other.n,
                other.coarser_mean,
                other.coarser_squares,
            ),
            self.n_differing + other.n_differing,
            self.n_events + other.n_events,
            self.work + other.work,
        )

    def variances(self, are_conditions: NDArray[np.bool_]) -> FloatArray:
        """Return the variances of the differences, (n_times, n_outputs).

        The differences of a condition are -1, 0 and 1, and where they are rare none may have been
        seen. So two more pairs that differ are supposed, one each way, as Agresti and Coull (1998),
        Am. Stat. 52:119, doi:10.1080/00031305.1998.10480550, suppose two successes. Where the two
        paths cannot differ, at a time when the outcome is certain, that is too much; it vanishes
        with more paths.
        """
        plain = self.squares / max(self.n - 1, 1)
        supposed = (self.squares + 2.0) / (self.n + 1)
        return np.where(are_conditions, np.maximum(plain, supposed), plain)

    def likely_variances(self) -> FloatArray:
        """Return the variances without what was supposed, (n_times, n_outputs).

        Where no pair differed half a pair is taken to, so that no level seems to be free.
        """
        plain = self.squares / max(self.n - 1, 1)
        return np.where((self.n_differing == 0.0) & (self.finer_squares > 0.0), 0.5 / self.n, plain)

    def finer_variances(self) -> FloatArray:
        """Return the variances of the finer paths, (n_times, n_outputs)."""
        return self.finer_squares / max(self.n - 1, 1)


def _moments(values: FloatArray) -> tuple[FloatArray, FloatArray]:
    mean = values.mean(axis=0)
    return mean, ((values - mean) ** 2).sum(axis=0)


def _joined(
    n: int,
    mean: FloatArray,
    squares: FloatArray,
    other_n: int,
    other_mean: FloatArray,
    other_squares: FloatArray,
) -> tuple[FloatArray, FloatArray]:
    # Chan, Golub and LeVeque (1983), Am. Stat. 37, 242, doi:10.1080/00031305.1983.10483115.
    apart, total = other_mean - mean, n + other_n
    return (
        mean + apart * (other_n / total),
        squares + other_squares + apart * apart * (n * other_n / total),
    )
