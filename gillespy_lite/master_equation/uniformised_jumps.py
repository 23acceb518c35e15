"""The jumps of a chain with exits, made once: the laws of its exit times for all times.

What leaves by an exit with the k-th jump of the uniformised chain is a number l_k that has nothing
to do with time, and the law of the exit time is a mixture of these with Poisson weights. All
numbers are positive and only added, so that a probability of 1e-30 has as many digits as one of .5.
"""

from __future__ import annotations

import math
import time
from typing import NamedTuple

import numpy as np

from ..errors import MethodError
from ..kernels.state_elimination import add_jumps
from ..memory import require_memory
from .transitions import FloatArray, Transitions

__all__ = ["JumpSeries", "OutOfTime", "poisson_window"]

_UNIT = 2.0**-53
_ENTRIES_AT_ONCE = 20_000_000
# The rate of uniformisation, as a multiple of the largest outflow: the probability to stay keeps
# its digits, too.
_ABOVE = 1.05
# Entries of a law below this share of the largest are no measure of its decay.
_NOTHING = 1e-280
# More jumps than this are not added up one by one for the mean.
_MOST_TERMS = 300_000_000


class OutOfTime(Exception):  # noqa: N818 (no error)
    """The time limit is spent."""


class PoissonWindow(NamedTuple):
    """The Poisson probabilities of `first`, `first` + 1, ...; what lies outside is below 1e-38."""

    first: int
    weights: FloatArray


def poisson_window(mean: float) -> PoissonWindow:
    """Return the Poisson probabilities that matter, each with a relative error of some 1e-13."""
    if mean <= 0.0:
        return PoissonWindow(0, np.ones(1))
    # Chernoff's bound at 14 standard deviations and 120 is below 1e-38 for every mean.
    spread = math.ceil(14.0 * math.sqrt(mean) + 120.0)
    mode = int(mean)
    first = max(0, mode - spread)
    above = np.cumprod(mean / np.arange(mode + 1, mode + 1 + spread, dtype=np.float64))
    below = np.cumprod(np.arange(mode, first, -1, dtype=np.float64) / mean)
    shares = np.concatenate([below[::-1], [1.0], above])
    return PoissonWindow(first, shares / math.fsum(shares.tolist()))


class JumpSeries:
    """What leaves a chain by each exit with each of its jumps, up to an end time.

    Parameters
    ----------
    chain : Transitions
        The chain, without states from which there is no exit.
    start : ndarray, shape (n_states,), float64
        The law at time 0; its sum may be less than 1.
    end_time : float
        Up to here the series can be asked.
    tolerance : float
        Relative; the series ends when what is left is less of what has left by the exits
        `wanted`, or when it decays as evenly.
    wanted : slice
        The exits that matter.
    deadline : float
        In terms of `time.monotonic`; `OutOfTime` is raised after it.
    """

    def __init__(
        self,
        chain: Transitions,
        start: FloatArray,
        end_time: float,
        tolerance: float,
        wanted: slice,
        deadline: float,
    ) -> None:
        n_exits = chain.exits.shape[0]
        outflow = chain.outflow
        self.rate = _ABOVE * float(outflow.max(initial=0.0)) or 1.0
        self.end_time = end_time
        window = poisson_window(self.rate * end_time)
        n_jumps = window.first + window.weights.size
        inflow = chain.rates.T.tocsr()
        arrays = (
            *(inflow.indptr.astype(np.int32), inflow.indices.astype(np.int32)),
            *(inflow.data / self.rate, 1.0 - outflow / self.rate),
            np.ascontiguousarray(chain.exits / self.rate),
        )
        at_once = max(2, _ENTRIES_AT_ONCE // (inflow.nnz + (2 + n_exits) * chain.n_states + 1))
        # Even, so that the law ends in the array where it began.
        at_once = min(at_once + at_once % 2, 100_000)
        p = np.ascontiguousarray(start, dtype=np.float64).copy()
        before = np.zeros_like(p)
        self.spent = np.zeros_like(p)  # how long each state is occupied until the end time
        blocks: list[FloatArray] = []
        done, left_so_far = 0, 0.0
        self._decay = 0.0  # per jump, behind the series
        self._uneven = 0.0
        while done < n_jumps:
            require_memory(8 * n_exits * (done + at_once), "ask for a shorter time")
            count = min(at_once, n_jumps - done)
            count += count % 2
            block = np.zeros((count, n_exits))
            beyond = _probability_beyond(window, done, count) / self.rate
            add_jumps(*arrays, count, beyond, p, before, self.spent, block)
            blocks.append(block)
            done += count
            left_so_far += float(block[:, wanted].sum())
            mass = float(p.sum())
            if mass <= 1e-3 * tolerance * left_so_far:
                break
            if self._is_even(p, before, n_jumps - done, tolerance):
                break
            if time.monotonic() > deadline:
                raise OutOfTime
        self.left = np.concatenate(blocks)
        mass, out = float(p.sum()), arrays[4] @ p
        is_cut = done < n_jumps
        goes_on = is_cut and self._uneven > 0.0 and mass > 0.0 and bool(out.any())
        self._following = out if goes_on else np.zeros(n_exits)
        self._decay = float(out.sum()) / mass if goes_on else 0.0
        # What may still leave, and is not counted.
        self.uncounted = mass if is_cut and not goes_on else 0.0
        self._sums = np.concatenate([np.zeros((1, n_exits)), np.cumsum(self.left, axis=0)])
        # Each jump is a sum of products; `stay` is a difference of numbers 20 times its size.
        most = int(np.diff(arrays[0]).max(initial=0))
        self.relative_error = (done + 10.0) * (most + 26.0) * _UNIT + self._uneven
        if self.relative_error > 1.0:
            raise MethodError(
                f"{self.rate * end_time:.3g} jumps of the fastest state are too many for double "
                "precision; ask for a shorter time, or with t=None"
            )

    def _is_even(self, p: FloatArray, before: FloatArray, rest: int, tolerance: float) -> bool:
        """Whether the law decays evenly from here on: P^m p lies between lowest^m and highest^m p.

        This holds since no entry of P is negative (Collatz 1942, doi:10.1007/BF01180013).
        """
        matters = p > _NOTHING * p.max(initial=0.0)
        if rest <= 0 or not matters.any() or not (before[matters] > 0.0).all():
            return False
        if (before[~matters] > 1e3 * _NOTHING * before.max()).any():
            return False
        ratio = p[matters] / before[matters]
        low, high = float(ratio.min()), float(ratio.max())
        uneven = ((high - low) / low + 4.0 * _UNIT) * rest if low > 0.0 else math.inf
        # Ratios that differ by no more than they are rounded will not become more even.
        if uneven > 0.1 * tolerance and not high - low <= 32.0 * _UNIT * low:
            return False
        self._uneven = uneven
        return True

    def _window(self, t: float, values: FloatArray, tail: FloatArray) -> FloatArray:
        """Return the mixture of `values[k]`, and of the `tail` times (1 - decay)^(k - n) behind."""
        mean = self.rate * t
        first, weights = poisson_window(mean)
        n = values.shape[0]
        total = np.zeros(values.shape[1])
        known = min(n, first + weights.size) - first
        if known > 0:
            total += weights[:known] @ values[first : first + known]
        if first + weights.size > n and tail.any():
            log_keep = math.log1p(-self._decay)
            if first >= n:
                total += tail * math.exp(-mean * self._decay - n * log_keep)
            else:
                k = np.arange(max(first, n), first + weights.size) - n
                total += tail * float(weights[max(first, n) - first :] @ np.exp(k * log_keep))
        return total

    def by(self, t: float) -> FloatArray:
        """Return the probability of having left by each exit until a time, (n_exits,)."""
        if t <= 0.0:
            return np.zeros(self.left.shape[1])
        mean = self.rate * t
        first, weights = poisson_window(mean)
        n = self.left.shape[0]
        if first + weights.size <= n + 1:
            return np.asarray(weights @ self._sums[first : first + weights.size])
        k = np.arange(first, first + weights.size)
        known = self._sums[np.minimum(k, n)]
        if self._decay > 0.0:
            behind = -np.expm1(np.maximum(k - n, 0) * math.log1p(-self._decay)) / self._decay
            known = known + behind[:, None] * self._following
        return np.asarray(weights @ known)

    def rate_at(self, t: float) -> FloatArray:
        """Return the probability per unit time of leaving by each exit at a time, (n_exits,)."""
        return self.rate * self._window(t, self.left, self._following)

    def moments(self, exit_: int) -> tuple[float, float]:
        """Return the mean of the time of leaving by an exit, and of its square, times 1 if by then.

        nan where there are too many jumps to be added up.
        """
        window = poisson_window(self.rate * self.end_time)
        n_jumps = window.first + window.weights.size
        if n_jumps > _MOST_TERMS:
            return math.nan, math.nan
        n, first, second = self.left.shape[0], 0.0, 0.0
        for begin in range(0, n_jumps, 1_000_000):
            end = min(begin + 1_000_000, n_jumps)
            k = np.arange(begin, end, dtype=np.float64)
            left = np.zeros(end - begin)
            known = max(0, min(n, end) - begin)
            left[:known] = self.left[begin : begin + known, exit_]
            if self._decay > 0.0:
                behind = np.exp((k[known:] - n) * math.log1p(-self._decay))
                left[known:] = self._following[exit_] * behind
            # The k-th jump, from 0, comes at an Erlang time of k + 1 stages.
            beyond = _probability_beyond(window, begin, end - begin + 2)
            first += float(left @ ((k + 1.0) * beyond[1:-1]))
            second += float(left @ ((k + 1.0) * (k + 2.0) * beyond[2:]))
        return first / self.rate, second / self.rate**2


def _probability_beyond(window: PoissonWindow, begin: int, count: int) -> FloatArray:
    """Return the probabilities of more than `begin`, `begin` + 1, ... jumps, (count,)."""
    tails = np.cumsum(window.weights[::-1])[::-1]  # P(N >= first + i)
    k = np.arange(begin + 1, begin + 1 + count) - window.first
    padded = np.append(tails, 0.0)
    inside = padded[np.clip(k, 0, tails.size)]
    return np.where(k <= 0, 1.0, inside)
