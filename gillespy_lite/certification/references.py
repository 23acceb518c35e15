"""What samples are held against: the strongest exact reference that a network allows.

From the strongest to the weakest: the closed law, the master equation with its error bound, exact
means and variances, and samples of an exact method.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ..ensembles import ensemble
from ..errors import (
    IncompleteWarning,
    MethodError,
    NetworkError,
    SimulationError,
)
from ..master_equation import solve_master_equation
from ..methods import METHODS
from ..moments import solve_moments
from ..network import Network
from ..results import Ensemble
from .closed_laws import MonomolecularLaw, why_not_monomolecular
from .goodness import (
    fit_pvalue,
    mean_pvalue,
    same_law_pvalue,
    same_mean_pvalue,
    variance_pvalue,
)

__all__ = ["REFERENCES", "Looked", "Reference", "choose_reference", "molecules"]

FloatArray = NDArray[np.float64]

# How much the law of one sample may be wrong, as a share of what n samples can show.
_TOLERANCE = 1e-10
# The normal law of a mean is relied on while the skewness of a sum of n samples is below this; at
# five standard errors the p-value is then within a factor of 3.
_SMALL_SKEWNESS = 0.05


@dataclass(frozen=True)
class Looked:
    """One test of one name at one time."""

    kind: str  # "law", "mean" or "variance"
    p_value: float
    freedom: int = 0  # of a chi-square test


class Reference(Protocol):
    """What is known exactly of a network at some times."""

    name: str
    # How much probability it may lack, or 0.
    bound: float

    def looks(self, samples: NDArray[Any], name: str, row: int) -> list[Looked]:
        """Test samples (n,) of a name at a time, given by its row among the times."""
        ...

    def law(self, name: str, row: int) -> tuple[int, FloatArray] | None:
        """Return the smallest count and the probabilities from there on, where they are known."""
        ...


class _Law:
    """A reference that knows whole laws."""

    def __init__(
        self, name: str, law: Callable[[str, int], tuple[int, FloatArray]], bound: float = 0.0
    ) -> None:
        self.name, self.law, self.bound = name, law, bound

    def looks(self, samples: NDArray[Any], name: str, row: int) -> list[Looked]:
        first, probabilities = self.law(name, row)
        whole = np.asarray(np.rint(samples), dtype=np.int64)
        if not np.array_equal(whole, samples):
            return [Looked("law", 0.0)]  # the law is one of whole numbers
        p, freedom = fit_pvalue(whole, first, probabilities, self.bound)
        found = [Looked("law", p, freedom)]
        counts = first + np.arange(probabilities.size)
        total = probabilities.sum()
        mean = float(counts @ probabilities / total)
        variance = float((counts - mean) ** 2 @ probabilities / total)
        if variance <= 1e-12 * (1.0 + mean * mean):
            variance = 0.0  # rounding: the law is that of a constant
        third = float((counts - mean) ** 3 @ probabilities / total)
        if abs(third) <= _SMALL_SKEWNESS * np.sqrt(whole.size) * variance**1.5:
            found.append(Looked("mean", mean_pvalue(samples, mean, variance)))
        return found


class _Moments:
    """Exact means and variances."""

    name = "exact moments"
    bound = 0.0

    def __init__(self, means: Callable[[str], FloatArray], variances: Callable[[str], FloatArray]):
        self._means, self._variances = means, variances

    def law(self, name: str, row: int) -> None:
        return None

    def looks(self, samples: NDArray[Any], name: str, row: int) -> list[Looked]:
        mean, variance = float(self._means(name)[row]), float(self._variances(name)[row])
        # Moments are solved for with a relative tolerance of 1e-10.
        variance = max(variance, 0.0) if variance > 1e-7 * (1.0 + mean * mean) else 0.0
        found = [Looked("mean", mean_pvalue(samples, mean, variance))]
        if variance > 0.0 and _is_near_normal((samples - mean) ** 2):
            found.append(Looked("variance", variance_pvalue(samples, mean, variance)))
        return found


def molecules(runs: Ensemble, name: str) -> NDArray[Any]:
    """Return paths of a name, (n_trajectories, n_times): of a species, never a concentration."""
    if name in runs.species:
        counts: NDArray[Any] = runs.counts[:, :, runs.species.index(name)]
        return counts
    return runs[name]


class _Samples:
    """Trajectories of an exact method, with random numbers of their own."""

    bound = 0.0

    def __init__(self, runs: Ensemble) -> None:
        self._runs = runs
        self.name = f"samples of {runs.provenance.method}"

    def law(self, name: str, row: int) -> None:
        return None

    def looks(self, samples: NDArray[Any], name: str, row: int) -> list[Looked]:
        others = np.asarray(molecules(self._runs, name)[:, row], dtype=np.float64)
        p, freedom = same_law_pvalue(samples, others)
        found = [Looked("law", p, freedom)]
        if _is_near_normal(np.concatenate([samples, others])):
            found.append(Looked("mean", same_mean_pvalue(samples, others)))
        return found


def _is_near_normal(samples: FloatArray) -> bool:
    """Return whether the mean of samples has a law that is normal enough."""
    deviations = samples - samples.mean()
    variance = float((deviations**2).mean())
    skewness = float((deviations**3).mean())
    return bool(abs(skewness) <= _SMALL_SKEWNESS * np.sqrt(samples.size) * variance**1.5)


# ---- The choice ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Question:
    """What a reference must answer for."""

    network: Network
    times: FloatArray
    names: tuple[str, ...]
    n: int
    method: str  # of the samples
    max_states: int
    rng: Any
    threads: int | None


class _Unfit(Exception):  # noqa: N818 (no error)
    """Why a reference cannot be had."""


def _closed(question: _Question) -> Reference:
    obstacle = why_not_monomolecular(question.network)
    if obstacle is not None:
        raise _Unfit(obstacle)
    others = [one for one in question.names if one not in question.network.species_names]
    if others:
        raise _Unfit(f"{others[0]} is no species")
    return _Law("closed law", MonomolecularLaw(question.network, question.times).pmf)


def _master_equation(question: _Question) -> Reference:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", IncompleteWarning)
        distribution = solve_master_equation(
            question.network,
            question.times,
            tolerance=_TOLERANCE,
            max_states=question.max_states,
            give_up_at=1e-6,
        )
    if distribution.n_times < question.times.size:
        raise _Unfit(str(caught[-1].message))
    # What the bound allows must stay far below what so many samples can show.
    worst = float(distribution.error_bound.max())
    if not worst * question.n < 0.01:
        raise _Unfit(f"its error bound, {worst:.1g}, is too much for {question.n} samples")
    for name in question.names:
        try:
            distribution.marginal(name, question.times[-1])
        except ValueError as problem:
            raise _Unfit(str(problem)) from None

    def law(name: str, row: int) -> tuple[int, FloatArray]:
        probabilities = distribution.marginal(name, distribution.times[row])
        first = int(np.flatnonzero(probabilities)[0])
        return first, probabilities[first:]

    return _Law("master equation", law, worst)


def _moments(question: _Question) -> Reference:
    solved = solve_moments(question.network, question.times, order=2, rtol=1e-11, atol=1e-11)
    if not solved.is_exact:
        raise _Unfit("its moment equations are not closed")
    return _Moments(solved.mean, solved.var)


def _samples(question: _Question) -> Reference:
    method = METHODS.get(question.method)
    if method is not None and method.is_exact:
        # Another algorithm than the one that is looked at.
        reference = "first_reaction" if question.method == "direct" else "direct"
    else:
        reference = "auto"
    runs = ensemble(
        question.network,
        question.times,
        question.n,
        method=reference,
        rng=question.rng,
        threads=question.threads,
    )
    assert isinstance(runs, Ensemble)
    return _Samples(runs)


# In the order in which they are tried.
REFERENCES: dict[str, Callable[[_Question], Reference]] = {
    "closed law": _closed,
    "master equation": _master_equation,
    "exact moments": _moments,
    "samples": _samples,
}


def choose_reference(
    wanted: str,
    network: Network,
    times: FloatArray,
    names: Sequence[str],
    *,
    n: int,
    method: str,
    max_states: int,
    rng: Any,
    threads: int | None,
) -> tuple[Reference, str]:
    """Return the reference of a network, and why it is this one.

    Raises
    ------
    MethodError
        If the one that is wanted cannot be had, or none; the message says why.
    """
    question = _Question(network, times, tuple(names), n, method, max_states, rng, threads)
    refusals: list[str] = []
    for name, make in REFERENCES.items():
        if wanted not in ("auto", name):
            continue
        try:
            reference = make(question)
        except (_Unfit, NetworkError, MethodError) as refusal:
            refusals.append(f"no {name}: {refusal}")
        except SimulationError as failure:
            if name == "samples":
                raise
            refusals.append(f"no {name}: {failure}")
        else:
            why = (
                "asked for" if wanted != "auto" else "; ".join(refusals) or "the strongest there is"
            )
            return reference, why
    raise MethodError(f"there is nothing to hold the samples against: {'; '.join(refusals)}")
