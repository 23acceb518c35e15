"""Laws that do not change any more: stationary and quasi-stationary."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields

import numpy as np

from ..expressions import Expression
from .distribution import Distribution
from .recorded import FloatArray, IntArray
from .summaries import cut_short, listed

__all__ = ["QuasiStationaryDistribution", "StationaryDistribution", "SwitchingTimes"]


class _AtInfinity(Distribution):
    """A `Distribution` at the one time inf."""

    def given(self, condition: str | Expression | Mapping[str, int]) -> Distribution:
        """Return the conditional law, given a condition, as a `Distribution`; see there."""
        plain = {one.name: getattr(self, one.name) for one in fields(Distribution)}
        return Distribution(**plain).given(condition)


@dataclass(frozen=True, eq=False, repr=False)
class StationaryDistribution(_AtInfinity):
    """The law of a network's state after a long time: a `Distribution` with the one time inf.

    `error_bound` adds up what may be wrong. `is_proven` says whether this is a bound (no state was
    cut off), or an estimate.

    Attributes
    ----------
    class_of : ndarray, shape (n_states,), int64
        The closed communicating class of each state; they are numbered by their first state.
    class_probabilities : ndarray, shape (n_classes,), float64
        The probability of ending in each class from the initial law; their sum is 1.
    is_proven : bool
        Whether `error_bound` is proven.
    truncation_error : float
        What cutting off states may have changed, estimated from what adding the last states has
        changed; 0 where none was cut off.
    n_transient : int
        Number of states that were kept and are left for ever.
    """

    class_of: IntArray
    class_probabilities: FloatArray
    is_proven: bool
    truncation_error: float
    n_transient: int

    @property
    def n_classes(self) -> int:
        """Number of closed communicating classes."""
        return int(self.class_probabilities.size)

    def class_states(self, number: int) -> IntArray:
        """Return the states of one class, (n, n_species) int64, in molecules."""
        return np.asarray(self.states[self._members(number)])

    def class_law(self, number: int) -> FloatArray:
        """Return the stationary probabilities within one class, in the order of `class_states`."""
        p = self.probabilities[self._members(number)]
        return np.asarray(p / p.sum())

    def _members(self, number: int) -> np.ndarray:
        if not 0 <= number < self.n_classes:
            raise ValueError(f"there is no class {number!r}; there are {self.n_classes}, from 0")
        return np.asarray(self.class_of == number)

    def __repr__(self) -> str:
        """Return one line: what, how much, and how it was made."""
        classes = f" in {self.n_classes} classes" if self.n_classes > 1 else ""
        how = "at most" if self.is_proven else "about"
        return (
            f"<StationaryDistribution of {listed(self.species)}: {self.n_states_at()} states"
            f"{classes}, error {how} {self.error_bound[0]:.2g}, "
            f"{self.provenance.method}{cut_short(self.stopped)}>"
        )


@dataclass(frozen=True, eq=False, repr=False)
class QuasiStationaryDistribution(_AtInfinity):
    """The law of a network's state given that it has not left for long: a `Distribution` at inf.

    Attributes
    ----------
    leaving : str
        The condition that ends it.
    decay_rate : float
        Per unit time: started from this law, the time of leaving is exponential with this rate.
    decay_rate_bounds : tuple of float
        Between these the rate lies on the states that were kept (Collatz and Wielandt).
    is_proven : bool
        Whether `error_bound` is proven; it is an estimate wherever states were cut off, and what
        the last iterations changed otherwise.
    truncation_error : float
        As in `StationaryDistribution`.
    """

    leaving: str
    decay_rate: float
    decay_rate_bounds: tuple[float, float]
    is_proven: bool
    truncation_error: float

    @property
    def mean_time(self) -> float:
        """Mean time until it leaves, started from this law."""
        return 1.0 / self.decay_rate

    def __repr__(self) -> str:
        """Return one line: what, how fast it decays, and how it was made."""
        return (
            f"<QuasiStationaryDistribution of {listed(self.species)} until {self.leaving!r}: "
            f"{self.n_states_at()} states, decay rate {self.decay_rate:.6g}, error about "
            f"{self.error_bound[0]:.2g}, {self.provenance.method}{cut_short(self.stopped)}>"
        )


@dataclass(frozen=True)
class SwitchingTimes:
    """Mean times of switching between two sets of states.

    Attributes
    ----------
    a, b : str
        The conditions that make the sets.
    a_to_b, b_to_a : float
        Mean time until `b` is first true from the `start` law in `a`, and back.
    start : str
        "stationary": from the stationary law, given the condition; "quasi-stationary": from the
        law that has not reached the other set for long, in which case the time is exponential.
    error : float
        What the means may be wrong by, relative: an estimate of what cutting off states has
        changed, and of rounding.
    probability_a, probability_b : float
        Stationary probabilities of the two sets; nan with quasi-stationary starts.
    """

    a: str
    b: str
    a_to_b: float
    b_to_a: float
    start: str
    error: float
    probability_a: float
    probability_b: float
