"""The exact law of networks in which molecules come, change and go one by one.

Where every reaction makes, changes or removes a single molecule at a constant rate for each, the
molecules are independent. Those that were there at the start are spread over the species like
balls over boxes, and those that came later are Poisson distributed (T. Jahnke and W. Huisinga,
Journal of Mathematical Biology 54:1-26, 2007, doi:10.1007/s00285-006-0034-x).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..expressions import Expression
from ..network import Network

__all__ = ["MonomolecularLaw", "why_not_monomolecular"]

FloatArray = NDArray[np.float64]

# Probability beyond either end of a table.
_NEGLIGIBLE = 1e-16
# Of the numerical solution where rates depend on the time.
_RELATIVE, _ABSOLUTE = 1e-13, 1e-15


def why_not_monomolecular(network: Network) -> str | None:
    """Return what keeps the law of a network from this form, or None."""
    if network.events:
        return "it has events"
    if network.variables:
        return "it has variables that are no counts"
    for j, reaction in enumerate(network.reactions):
        name = f"reaction {j + 1} ({reaction.equation})"
        if reaction.delay is not None:
            return f"{name} has a delay"
        if reaction.kind != "mass_action":
            return f"{name} has a rate law of its own"
        if set(network.expanded_rate(j).symbols()) & {*network.species_names}:
            return f"the rate of {name} depends on counts"
        for side in (reaction.reactants, reaction.products):
            if sum(count for _, count in side if isinstance(count, int)) > 1:
                return f"{name} has more than one molecule on a side"
            if not all(isinstance(count, int) for _, count in side):
                return f"{name} has a coefficient that is no whole number"
    return None


class MonomolecularLaw:
    """Marginal laws of the species of a monomolecular network at sampling times.

    Parameters
    ----------
    network : Network
        One for which `why_not_monomolecular` gives None.
    times : ndarray, shape (n_times,), float64
        Increasing; the initial state holds at ``times[0]``.
    """

    def __init__(self, network: Network, times: FloatArray) -> None:
        self._initial = network.initial_state[: network.n_species]
        self._index = {name: i for i, name in enumerate(network.species_names)}
        occupied = np.flatnonzero(self._initial)
        # One column for each place where a molecule may have started, and one for those that came.
        self._starts = occupied
        self._solution = _solve(network, times, occupied)

    def pmf(self, name: str, row: int) -> tuple[int, FloatArray]:
        """Return the law of a species' count at a time.

        Returns
        -------
        first : int
            The smallest count of the table.
        probabilities : ndarray, shape (n,), float64
            Of the counts first, ..., first + n - 1; less than 1e-15 is left out.
        """
        from scipy import stats

        species = self._index[name]
        *shares, mean = self._solution[row, species]
        first, law = 0, np.ones(1)
        for start, share in zip(self._starts, shares, strict=True):
            n = int(self._initial[start])
            share = min(max(float(share), 0.0), 1.0)
            low, table = _table(stats.binom(n, share), n)
            first, law = first + low, np.convolve(law, table)
        if mean > 0.0:
            low, table = _table(stats.poisson(mean), None)
            first, law = first + low, np.convolve(law, table)
        return first, law


def _table(law: Any, largest: int | None) -> tuple[int, FloatArray]:
    """Return the probabilities of a law of SciPy between its extreme quantiles."""
    low = max(0, int(law.ppf(_NEGLIGIBLE)) - 1)
    high = int(law.isf(_NEGLIGIBLE)) + 1
    if largest is not None:
        high = min(high, largest)
    return low, np.asarray(law.pmf(np.arange(low, high + 1)), dtype=np.float64)


def _solve(network: Network, times: FloatArray, starts: NDArray[np.int64]) -> FloatArray:
    """Return, at each time, where molecules are: (n_times, n_species, n_starts + 1).

    Column k is the probability that a molecule which started as species ``starts[k]`` is one of
    each species now; the last column is the mean number of those that came later.
    """
    n = network.n_species
    flows = _Flows(network)
    begin = np.zeros((n + 1, starts.size + 1))
    begin[starts, np.arange(starts.size)] = 1.0
    begin[n, -1] = 1.0  # the source is always there
    found = np.empty((times.size, n, starts.size + 1))
    if flows.depends_on_time:
        from scipy.integrate import solve_ivp

        def slope(t: float, flat: FloatArray) -> FloatArray:
            return np.asarray(flows.matrix(t) @ flat.reshape(begin.shape)).ravel()

        state = begin.ravel()
        found[0] = begin[:n]
        for row in range(1, times.size):
            span = (times[row - 1], times[row])
            solved = solve_ivp(
                slope,
                span,
                state,
                method="DOP853",
                rtol=_RELATIVE,
                atol=_ABSOLUTE,
                t_eval=[span[1]],
            )
            if not solved.success:
                raise ArithmeticError(f"at t = {solved.t[-1]:g}: {solved.message}")
            state = solved.y[:, -1]
            found[row] = state.reshape(begin.shape)[:n]
    else:
        from scipy.linalg import expm

        matrix = flows.matrix(float(times[0]))
        for row, time in enumerate(times - times[0]):
            found[row] = (expm(matrix * time) @ begin)[:n]
    return np.maximum(found, 0.0)


class _Flows:
    """The rates at which single molecules move: a matrix acting on species and a source."""

    def __init__(self, network: Network) -> None:
        self._size = network.n_species + 1
        self._values = dict(
            zip(network.parameter_names, network.parameter_values.tolist(), strict=True)
        )
        source = network.n_species
        index = {name: i for i, name in enumerate(network.species_names)}
        self._moves: list[tuple[int, int, Expression]] = []
        for j, reaction in enumerate(network.reactions):
            origin = next((index[name] for name, _ in reaction.reactants), source)
            target = next((index[name] for name, _ in reaction.products), source)
            if origin != target:
                self._moves.append((origin, target, network.expanded_rate(j)))
        self.depends_on_time = any("t" in rate.symbols() for _, _, rate in self._moves)

    def matrix(self, t: float) -> FloatArray:
        """Return the matrix at a time; the source neither loses nor gains."""
        found = np.zeros((self._size, self._size))
        source = self._size - 1
        for origin, target, rate in self._moves:
            value = float(rate.evaluate({**self._values, "t": t}))
            if target != source:
                found[target, origin] += value
            if origin != source:
                found[origin, origin] -= value
        return found
