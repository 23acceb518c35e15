"""Weights of martingales: how much one event now changes the mean of something later.

Along a path x(s) of the rate equations with Jacobian J(s), the mean of f at the end changes by
w(s) . v for a small change v at s, where w' = -J^T w and w(T) is the gradient of f: the linear
noise approximation, backwards in time.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..errors import NetworkError
from ..expressions import Expression
from ..mass_action import rate_expression
from ..network import Network
from ..simulation import simulate

__all__ = ["Weights", "reaction_weights"]

FloatArray = NDArray[np.float64]

_UNIFORM, _CROWDED = 768, 256  # points of the fine grid: everywhere, and towards the end
_LEAST_INTERVALS, _MOST_INTERVALS = 64, 1024
_MAX_SPECIES = 100


class Weights(NamedTuple):
    """Weights of the reactions' martingales, constant within each interval."""

    edges: FloatArray  # (n_intervals + 1,)
    values: FloatArray  # (n_intervals, n_reactions)


def reaction_weights(network: Network, start: float, end: float, what: Expression) -> Weights:
    """Return the change that one firing of each reaction at each time makes in the mean at the end.

    Parameters
    ----------
    network : Network
        Of reactions alone, at most 100 species.
    start, end : float
        When the initial state holds, and when the mean is taken.
    what : Expression
        Of species and parameters.

    Raises
    ------
    NetworkError
        If the network is too large.
    """
    if network.n_species > _MAX_SPECIES:
        raise NetworkError(
            "controlled_mean linearises the network about its mean path, for at most "
            f"{_MAX_SPECIES} species, and this one has {network.n_species}; use "
            "ensemble(..., until=...)"
        )
    span = end - start
    uniform = np.linspace(start, end, _UNIFORM)
    crowded = end - span * np.geomspace(1e-6, 0.5, _CROWDED)
    times = np.unique(np.concatenate([uniform, crowded]))
    path = simulate(network, times, method="ode").counts
    known = _known(network, path, times)
    jacobians = _jacobians(network, known, times.size)
    gradient = np.array(
        [_numbers(what.derivative(one), known, times.size)[-1] for one in network.species_names]
    )
    adjoint = _backwards(jacobians, times, gradient)
    change = np.asarray(network.stoichiometry_matrix, dtype=np.float64)
    return _coarsened(times, adjoint @ change)


def _known(network: Network, path: FloatArray, times: FloatArray) -> dict[str, Any]:
    known: dict[str, Any] = dict(
        zip(network.parameter_names, network.parameter_values.tolist(), strict=True)
    )
    known |= {name: path[:, i] for i, name in enumerate(network.species_names)}
    return known | {"t": times}


def _numbers(expression: Expression, known: dict[str, Any], n: int) -> FloatArray:
    return np.broadcast_to(np.asarray(expression.evaluate(known)), (n,))


def _jacobians(network: Network, known: dict[str, Any], n_times: int) -> FloatArray:
    """Return the Jacobian of the rate equations at each time, (n_times, n_species, n_species)."""
    names = network.species_names
    slopes = np.zeros((n_times, network.n_reactions, len(names)))
    for j in range(network.n_reactions):
        rate = network.expanded(rate_expression(network, j))
        for i, name in enumerate(names):
            if name in rate.symbols():
                slopes[:, j, i] = _numbers(rate.derivative(name), known, n_times)
    change = np.asarray(network.stoichiometry_matrix, dtype=np.float64)
    return np.asarray(change @ slopes)


def _backwards(jacobians: FloatArray, times: FloatArray, gradient: FloatArray) -> FloatArray:
    """Return w at each time, (n_times, n_species)."""
    adjoint = np.zeros((times.size, gradient.size))
    adjoint[-1] = gradient
    middles = 0.5 * (jacobians[1:] + jacobians[:-1])
    with np.errstate(all="ignore"):
        # The inverse of 1 - A + A^2/2 stands for exp(A): of second order, and what is fast dies
        # out in it as it should. No precision is lost by it, only a little of the gain.
        growth = np.diff(times)[:, None, None] * np.swapaxes(middles, 1, 2)
        steps = np.linalg.inv(np.eye(gradient.size) - growth + 0.5 * growth @ growth)
        for k in range(times.size - 2, -1, -1):
            adjoint[k] = steps[k] @ adjoint[k + 1]
    # Where the linearised network explodes it says nothing.
    return np.where(np.isfinite(adjoint) & (np.abs(adjoint) < 1e100), adjoint, 0.0)


def _coarsened(times: FloatArray, weights: FloatArray) -> Weights:
    """Return means of the weights over intervals in each of which they change about equally."""
    largest = np.abs(weights).max(axis=0)
    relative = weights / np.where(largest > 0.0, largest, 1.0)
    turned = np.concatenate([[0.0], np.abs(np.diff(relative, axis=0)).max(axis=1).cumsum()])
    n = int(np.clip(_LEAST_INTERVALS * turned[-1], _LEAST_INTERVALS, _MOST_INTERVALS))
    marks = np.linspace(0.0, turned[-1], n + 1)[1:-1] if turned[-1] > 0.0 else np.zeros(0)
    inner = np.searchsorted(turned, marks)
    places = np.unique(np.concatenate([[0], inner, [times.size - 1]]))
    spans = np.diff(times)[:, None]
    area = np.concatenate(
        [np.zeros((1, weights.shape[1])), (0.5 * spans * (weights[1:] + weights[:-1])).cumsum(0)]
    )
    edges = times[places]
    return Weights(edges, np.diff(area[places], axis=0) / np.diff(edges)[:, None])
