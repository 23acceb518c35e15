"""When a condition comes true, and which of two: laws of first-passage times."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ..network import Network
from .provenance import Provenance
from .recorded import FloatArray, read_only
from .summaries import Summary, method_lines

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["FirstPassage", "SplittingProbabilities"]


@dataclass(frozen=True, eq=False, repr=False)
class FirstPassage:
    """The law of the time when a condition is true for the first time.

    Attributes
    ----------
    condition : str
        What is waited for.
    end_time : float
        The question is whether it comes true up to here; inf if ever.
    probability : float
        That it comes true by then: not less than the true value, but for rounding.
    error_bound : float
        The true probability exceeds `probability` by no more than this, nor falls below it by
        more than `rounding`. Proven.
    rounding : float
        A bound of the absolute error of rounding in `probability`.
    never : float
        The probability of having reached states, by the end time, from which the condition cannot
        come true any more.
    times, cdf, cdf_error, pdf : ndarray, shape (n_times,), float64
        Without times they are empty. The probability that it has come true by each time, and what
        the true one exceeds it by at most; its derivative, per unit time.
    mean : float
        Mean time, where the condition comes true for certain; inf where it may never be; nan where
        this is not known (an end time was given, or what was cut off may never be met).
    conditional_mean, conditional_variance : float
        Mean and variance of the time, given that the condition comes true by `end_time`; nan if
        its probability is 0.
    mean_error : float
        What `conditional_mean` may be wrong by; `mean_is_proven` says whether that is a bound, or
        the change when the set of states was last made larger.
    n_states : int
        Number of states that were kept, without those in which the condition is true.
    network, provenance : Network, Provenance
        What was solved, and how.
    stopped : str or None
        Why `error_bound` exceeds the tolerance: "max_states", "memory", "timeout", "rounding",
        "escape" where the network leaves every set of states with a probability that does not
        become small, "not found" where no state was met in which the condition is true; else None.
    """

    condition: str
    end_time: float
    probability: float
    error_bound: float
    rounding: float
    never: float
    times: FloatArray
    cdf: FloatArray
    cdf_error: FloatArray
    pdf: FloatArray
    mean: float
    conditional_mean: float
    conditional_variance: float
    mean_error: float
    mean_is_proven: bool
    n_states: int
    network: Network
    provenance: Provenance
    stopped: str | None

    def __post_init__(self) -> None:
        """Make the arrays read-only."""
        for name in ("times", "cdf", "cdf_error", "pdf"):
            object.__setattr__(self, name, read_only(getattr(self, name)))

    @property
    def conditional_std(self) -> float:
        """Standard deviation of the time, given that the condition comes true."""
        return math.sqrt(self.conditional_variance)

    @property
    def relative_error(self) -> float:
        """The error bound of the probability, as a share of it; inf if that is 0."""
        whole = max(self.error_bound, self.rounding)
        return whole / self.probability if self.probability > 0.0 else math.inf

    def cdf_at(self, t: float) -> float:
        """Return the probability that the condition has come true by one of `times`."""
        place = int(np.searchsorted(self.times, t))
        for row in (place - 1, place):
            if 0 <= row < self.times.size and math.isclose(self.times[row], t, rel_tol=1e-12):
                return float(self.cdf[row])
        raise ValueError(f"t = {t:g} is not one of the times; solve again with it in t")

    def quantile(self, q: float) -> float:
        """Return the time by which the condition has come true with probability `q`.

        It lies between two of `times`, and is found by a straight line; inf if not by the last.
        """
        if not 0.0 <= q <= 1.0:
            raise ValueError(f"q must lie between 0 and 1, not be {q!r}")
        if not self.times.size:
            raise ValueError("there are no times; solve again with times in t")
        if q > self.cdf[-1]:
            return math.inf
        row = int(np.searchsorted(self.cdf, q))
        if row == 0:
            return float(self.times[0])
        low, high = self.cdf[row - 1], self.cdf[row]
        share = (q - low) / (high - low)
        return float(self.times[row - 1] + share * (self.times[row] - self.times[row - 1]))

    def plot(self, *, ax: Axes | None = None, **options: Any) -> Axes:
        """Draw the law on `ax`, by default on a new figure; return the Axes.

        Parameters
        ----------
        **options
            Passed on to `plotting.plot_first_passage`, such as ``samples=``.
        """
        from .. import plotting

        return plotting.plot_first_passage(self, ax=ax, **options)

    def summary(self) -> str:
        """Return a plain-text table of the probability and the mean times."""
        return self._summary().text()

    def _repr_html_(self) -> str:
        return self._summary().html()

    def __repr__(self) -> str:
        """Return one line: what, how probable, and how it was made."""
        when = "ever" if math.isinf(self.end_time) else f"by t = {self.end_time:g}"
        stopped = f", stopped by {self.stopped}" if self.stopped else ""
        return (
            f"<FirstPassage of {self.condition!r} {when}: probability {self.probability:.6g}, "
            f"error at most {max(self.error_bound, self.rounding):.2g}, {self.n_states} "
            f"states{stopped}>"
        )

    def _summary(self) -> Summary:
        rows = [
            ("probability", self.probability),
            ("error bound", max(self.error_bound, self.rounding)),
            ("never", self.never),
            ("mean time", self.mean),
            ("mean time, if it comes true", self.conditional_mean),
            ("its standard deviation", self.conditional_std),
        ]
        return Summary((repr(self)[1:-1], *method_lines(self.provenance)), ("", "value"), rows)


@dataclass(frozen=True, eq=False, repr=False)
class SplittingProbabilities:
    """Which of two conditions comes true first.

    Attributes
    ----------
    a, b : str
        The conditions.
    probability_a, probability_b : float
        That `a` comes true first, or `b`; where both come true at once it counts as `a`.
    never : float
        That neither ever does.
    error_bound : float
        Each true probability exceeds its value by no more than this, proven; nor does it fall
        below by more than `rounding`.
    rounding : float
        A bound of the absolute error of rounding.
    mean_time : float
        Mean time until one of them is true; inf if there may be none, nan if that is not known.
    n_states : int
        Number of states that were kept.
    network, provenance : Network, Provenance
        What was solved, and how.
    stopped : str or None
        As in `FirstPassage`.
    """

    a: str
    b: str
    probability_a: float
    probability_b: float
    never: float
    error_bound: float
    rounding: float
    mean_time: float
    n_states: int
    network: Network
    provenance: Provenance
    stopped: str | None

    def __repr__(self) -> str:
        """Return one line."""
        stopped = f", stopped by {self.stopped}" if self.stopped else ""
        return (
            f"<SplittingProbabilities: {self.a!r} first {self.probability_a:.6g}, {self.b!r} first "
            f"{self.probability_b:.6g}, error at most {max(self.error_bound, self.rounding):.2g}"
            f"{stopped}>"
        )
