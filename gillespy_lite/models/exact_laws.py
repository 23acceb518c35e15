"""Exact distributions of species of the stock models, to compare simulations with.

Closed forms where there are any; else the master equation, solved over all states that can be
reached. Nothing here uses the kernels, so a law is an independent check of them.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from gillespy_lite.network import Network

if TYPE_CHECKING:
    from scipy import sparse

__all__ = [
    "ExactLaw",
    "birth_death_law",
    "dimerisation_law",
    "michaelis_menten_law",
    "schlogl_law",
    "sir_law",
    "telegraph_law",
]

FloatArray: TypeAlias = NDArray[np.float64]
IntArray: TypeAlias = NDArray[np.int64]

# More states than this take minutes to solve, and gigabytes.
MAX_STATES = 50_000
# Up to so many states a dense matrix exponential is faster, however stiff the network is.
_MAX_DENSE_STATES = 1500
# Probability that may be left out where counts have no upper limit.
_NEGLIGIBLE = 1e-15


@dataclass(frozen=True, eq=False)
class ExactLaw:
    """The distribution of a count: a function from counts to their probabilities.

    ``plotting.plot_histogram`` takes it as ``law=``.

    Attributes
    ----------
    probabilities : ndarray, shape (n,), float64
        Entry k is the probability of count k; larger counts have less than 1e-15 together.
    """

    probabilities: FloatArray

    def __post_init__(self) -> None:
        """Refuse what is no distribution, and make the table read-only."""
        total = float(self.probabilities.sum())
        if not (np.all(self.probabilities >= 0.0) and abs(total - 1.0) < 1e-9):
            raise ValueError(f"these are no probabilities: they sum to {total!r}")
        table = self.probabilities.view()
        table.flags.writeable = False
        object.__setattr__(self, "probabilities", table)

    def __call__(self, counts: ArrayLike) -> FloatArray:
        """Return the probabilities of these counts.

        Parameters
        ----------
        counts : array_like of int
            Molecules.

        Returns
        -------
        ndarray of the shape of `counts`, float64
            0 for negative and for very large counts.
        """
        counts = np.asarray(counts, dtype=np.int64)
        known = (counts >= 0) & (counts < self.probabilities.size)
        found = self.probabilities[np.where(known, counts, 0)]
        return np.where(known, found, 0.0)

    @property
    def mean(self) -> float:
        """Mean, in molecules."""
        return float(np.arange(self.probabilities.size) @ self.probabilities)

    @property
    def std(self) -> float:
        """Standard deviation, in molecules."""
        deviations = np.arange(self.probabilities.size) - self.mean
        return math.sqrt(float(deviations**2 @ self.probabilities))


# Closed forms ------------------------------------------------------------------------------------


def birth_death_law(network: Network, species: str, t: float) -> ExactLaw:
    """Return the law of Poisson arrivals that survive, plus first molecules still alive."""
    values = _parameters(network)
    birth, death = values["k"], values["g"]
    first = int(network.initial_state[0])
    if death == 0.0:
        if math.isinf(t) and birth > 0.0:
            raise ValueError("with g = 0 nothing ever dies, so there is no stationary law")
        alive, mean = 1.0, birth * t if birth > 0.0 else 0.0
    else:
        alive, mean = math.exp(-death * t), birth / death * -math.expm1(-death * t)
    return ExactLaw(np.convolve(_poisson(mean), _binomial(first, alive)))


def telegraph_law(network: Network, species: str, t: float) -> ExactLaw:
    """Return beta-Poisson for mRNA in the long run, else a truncated master equation's solution."""
    values = _parameters(network)
    off, on, first = map(int, network.initial_state)
    if math.isinf(t) and species == "M" and off + on == 1:
        return ExactLaw(
            _beta_poisson(
                values["k_on"] / values["k_decay"],
                values["k_off"] / values["k_decay"],
                values["k_make"] / values["k_decay"],
            )
        )
    # With the gene always on there would be more mRNA: a Poisson count and the first molecules.
    highest = first + _poisson((off + on) * values["k_make"] / values["k_decay"]).size
    return _law_of_master_equation(network, species, t, {"M": highest})


def _poisson(mean: float) -> FloatArray:
    """Return the Poisson probabilities of 0, 1, ... up to where nothing is left."""
    from scipy.special import gammaln, pdtrc, xlogy

    top = mean
    while pdtrc(math.ceil(top), mean) > _NEGLIGIBLE:
        top += 1.0 + math.sqrt(mean)
    counts = np.arange(math.ceil(top) + 1, dtype=np.float64)
    return _normalised(np.exp(xlogy(counts, mean) - mean - gammaln(counts + 1.0)))


def _binomial(n: int, p: float) -> FloatArray:
    from scipy.special import gammaln, xlog1py, xlogy

    k = np.arange(n + 1, dtype=np.float64)
    ways = gammaln(n + 1.0) - gammaln(k + 1.0) - gammaln(n - k + 1.0)
    return _normalised(np.exp(ways + xlogy(k, p) + xlog1py(n - k, -p)))


def _beta_poisson(a: float, b: float, scale: float) -> FloatArray:
    """Return the Poisson law of mean scale*share, where share has the law Beta(a, b)."""
    from scipy.special import gammaln, hyp1f1, xlogy

    # The share is at most 1, so the counts go no higher than those of Poisson(scale).
    n = np.arange(_poisson(scale).size, dtype=np.float64)
    # Peccoud and Ycart (1995); by Kummer's transformation 1F1(a + n; a + b + n; -scale) is written
    # as a sum of positive terms, which loses no digits.
    logarithm = (
        xlogy(n, scale)
        - gammaln(n + 1.0)
        + gammaln(a + n)
        - gammaln(a)
        + gammaln(a + b)
        - gammaln(a + b + n)
        - scale
    )
    return _normalised(np.exp(logarithm) * hyp1f1(b, a + b + n, scale))


def _normalised(probabilities: FloatArray) -> FloatArray:
    """Remove the rounding of logarithms of large factorials."""
    result: FloatArray = probabilities / probabilities.sum()
    return result


# The final size of an epidemic -------------------------------------------------------------------


def sir_law(network: Network, species: str, t: float) -> ExactLaw:
    """Return the final size, or at finite times the solution of the master equation."""
    if math.isfinite(t):
        return _law_of_master_equation(network, species, t, {})
    susceptible, infected, recovered = map(int, network.initial_state)
    values = _parameters(network)
    if values["gamma"] == 0.0:
        raise ValueError("with gamma = 0 nobody recovers, so the epidemic never ends")
    everyone = susceptible + infected + recovered
    if species == "I":
        return ExactLaw(np.ones(1))
    left = _final_susceptible(susceptible, infected, values["beta"] / values["N"], values["gamma"])
    if species == "S":
        return ExactLaw(left)
    # Nobody is infected in the end, so R = everyone - S.
    final = np.zeros(everyone + 1)
    final[everyone - np.arange(left.size)] = left
    return ExactLaw(final)


def _final_susceptible(
    susceptible: int, infected: int, infection: float, recovery: float
) -> FloatArray:
    """Return the law of how many escape infection, (susceptible + 1,).

    Whether the next event is an infection depends on the number S of susceptible people alone:
    both propensities are proportional to I. `visits[i]` is the probability that the epidemic
    passes through (S, i); every recovery leads to (S, i - 1), every infection to (S - 1, i + 1).
    """
    from scipy.signal import lfilter

    everyone = susceptible + infected
    escaped = np.zeros(susceptible + 1)
    arrivals = np.zeros(everyone + 2)
    arrivals[infected] = 1.0
    for left in range(susceptible, -1, -1):
        recovers = recovery / (recovery + infection * left)
        # visits[i] = arrivals[i] + recovers * visits[i + 1] for i > 0, from the top down.
        visits = lfilter([1.0], [1.0, -recovers], arrivals[::-1])[::-1]
        escaped[left] = arrivals[0] + recovers * visits[1]
        arrivals[2:] = (1.0 - recovers) * visits[1:-1]
        arrivals[:2] = 0.0
    return escaped


# The master equation -----------------------------------------------------------------------------


def dimerisation_law(network: Network, species: str, t: float) -> ExactLaw:
    """Return the solution of the master equation; its states are the numbers of dimers."""
    return _law_of_master_equation(network, species, t, {})


def michaelis_menten_law(network: Network, species: str, t: float) -> ExactLaw:
    """Return the solution of the master equation over free and bound substrate."""
    return _law_of_master_equation(network, species, t, {})


def schlogl_law(network: Network, species: str, t: float) -> ExactLaw:
    """Return the solution of the master equation of counts to 1000, or four times the start."""
    highest = max(1000, 4 * int(network.initial_state[0]))
    return _law_of_master_equation(network, species, t, {"X": highest})


def _law_of_master_equation(
    network: Network, species: str, t: float, highest: Mapping[str, int]
) -> ExactLaw:
    """Solve the master equation and sum over everything but one species.

    Reactions that would raise a count above `highest` do not happen.
    """
    states = _reachable_states(network, highest)
    generator = _generator(network, states)
    if math.isinf(t):
        probabilities = _stationary(generator)
    else:
        probabilities = _evolved(generator, t)
    # Rounding leaves values around -1e-20.
    probabilities = np.maximum(probabilities, 0.0)
    counts = np.array(list(states), dtype=np.int64)[:, network.species_names.index(species)]
    weights = probabilities / probabilities.sum()
    return ExactLaw(np.bincount(counts, weights=weights).astype(np.float64))


State: TypeAlias = tuple[int, ...]


def _reachable_states(network: Network, highest: Mapping[str, int]) -> dict[State, int]:
    """Return the states that can be reached, with numbers; the initial one has number 0."""
    limits = [highest.get(name, math.inf) for name in network.species_names]
    changes = [tuple(change) for change in network.stoichiometry_matrix.T.tolist()]
    states: dict[State, int] = {tuple(network.initial_state.tolist()): 0}
    newest = list(states)
    while newest:
        possible = _propensities(network, np.array(newest, dtype=np.int64)) > 0.0
        found: list[State] = []
        for row, state in enumerate(newest):
            for reaction in np.flatnonzero(possible[row]).tolist():
                target = tuple(map(sum, zip(state, changes[reaction], strict=True)))
                if target in states or any(map(_exceeds, target, limits)):
                    continue
                states[target] = len(states)
                found.append(target)
        if len(states) > MAX_STATES:
            raise ValueError(
                f"the master equation would have more than {MAX_STATES} states, too many to "
                "solve here; take smaller counts"
            )
        newest = found
    return states


def _exceeds(count: int, limit: float) -> bool:
    return count > limit


def _propensities(network: Network, states: IntArray) -> FloatArray:
    """Return the propensities of every reaction in every state, (n_states, n_reactions)."""
    from scipy.special import comb

    columns = dict(zip(network.species_names, states.T, strict=True))
    values: dict[str, Any] = {
        **_parameters(network),
        **{name: column.astype(np.float64) for name, column in columns.items()},
    }
    result = np.empty((states.shape[0], network.n_reactions))
    for j, reaction in enumerate(network.reactions):
        result[:, j] = network.expanded_rate(j).evaluate(values)
        for name, needed in reaction.reactants:
            assert isinstance(needed, int)  # of a species
            if reaction.kind == "mass_action":
                result[:, j] *= comb(columns[name], needed)
            else:
                result[:, j] *= columns[name] >= needed
    return result


def _generator(network: Network, states: Mapping[State, int]) -> sparse.csc_array:
    """Return A of the master equation p' = A p; A[to, from] is a propensity."""
    from scipy import sparse

    all_states = np.array(list(states), dtype=np.int64)
    propensities = _propensities(network, all_states)
    changes = network.stoichiometry_matrix.T
    n_states = len(states)
    rows, columns, rates = [], [], []
    for source, reaction in itertools.product(range(n_states), range(network.n_reactions)):
        rate = propensities[source, reaction]
        target = states.get(tuple((all_states[source] + changes[reaction]).tolist()))
        if rate > 0.0 and target is not None:
            rows += [target, source]
            columns += [source, source]
            rates += [rate, -rate]
    return sparse.csc_array((rates, (rows, columns)), shape=(n_states, n_states))


def _evolved(generator: sparse.csc_array, t: float) -> FloatArray:
    """Return the probabilities at time t from state 0."""
    n_states = generator.shape[0]
    start = np.zeros(n_states)
    start[0] = 1.0
    if n_states <= _MAX_DENSE_STATES:
        from scipy.linalg import expm

        return np.asarray(expm(generator.toarray() * t)[:, 0], dtype=np.float64)
    from scipy.sparse.linalg import expm_multiply

    return np.asarray(expm_multiply(generator * t, start), dtype=np.float64)


def _stationary(generator: sparse.csc_array) -> FloatArray:
    """Return the probabilities after a long time, the same from every reachable state."""
    from scipy import sparse
    from scipy.sparse.linalg import spsolve

    n_states = generator.shape[0]
    # One of the balance equations follows from the others; the sum of 1 takes its place.
    ones = sparse.csr_array(np.ones((1, n_states)))
    matrix = sparse.vstack([ones, generator.tocsr()[1:]], format="csc")
    right = np.zeros(n_states)
    right[0] = 1.0
    return np.asarray(spsolve(matrix, right), dtype=np.float64).reshape(n_states)


def _parameters(network: Network) -> dict[str, float]:
    return dict(zip(network.parameter_names, network.parameter_values.tolist(), strict=True))
