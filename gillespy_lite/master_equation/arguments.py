"""What the questions about the master equation have in common: tolerance, limit, initial law."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..errors import NetworkError
from ..memory import available_memory
from ..network import Network
from ..results import Distribution
from ..run_plan import check_whole
from .state_space import FloatArray, IntArray, StateSearch

__all__ = ["InitialLaw", "check_tolerance", "initial_law", "state_limit"]


@dataclass(frozen=True)
class InitialLaw:
    """Where a run starts.

    Attributes
    ----------
    network : Network
        With the initial counts that were asked for.
    states : ndarray, shape (n, n_species), int64
        All different.
    probabilities : ndarray, shape (n,), float64
    excess : float
        By how much the probabilities may be too large, all together.
    """

    network: Network
    states: IntArray
    probabilities: FloatArray
    excess: float


def check_tolerance(tolerance: Any) -> float:
    """Return a tolerance as a number, or say what it must be."""
    if isinstance(tolerance, bool) or not isinstance(tolerance, int | float | np.number):
        raise TypeError(f"tolerance must be a number, not {tolerance!r}")
    if not 0.0 < tolerance < 1.0:
        raise ValueError(
            f"tolerance must be more than 0 and less than 1, not {tolerance!r}: a finite set of "
            "states has an error above 0 as soon as there are more, and rounding adds to it; "
            "1e-10 is often possible"
        )
    return float(tolerance)


def state_limit(search: StateSearch, max_states: int | None) -> int:
    """Return how many states may be kept: as asked for, or what half of the memory holds."""
    if max_states is not None:
        return min(check_whole(max_states, "max_states", 1), 2**31 - 2**20)
    available = available_memory()
    if available is None:
        return 10_000_000
    return int(min(max(1000, available // 2 // search.bytes_per_state), 2**31 - 2**20))


def initial_law(network: Network, initial: Any) -> InitialLaw:
    """Return the initial law that `initial` stands for; see `solve_master_equation`."""
    names, n_species = network.species_names, network.n_species
    if initial is None:
        return InitialLaw(network, network.initial_state[None].astype(np.int64), np.ones(1), 0.0)
    if isinstance(initial, Distribution):
        if initial.species != names:
            raise ValueError(
                f"initial is a law of {', '.join(initial.species)}, and the network's species are "
                f"{', '.join(names)}; they must be the same, in the same order"
            )
        return InitialLaw(
            network,
            initial.states_at(),
            initial.probabilities_at(),
            float(initial.excess_bound[-1]),
        )
    if not isinstance(initial, Mapping) or not initial:
        raise TypeError(
            "initial must be counts by name, {'X': 5}, probabilities by state, {(5, 0): 0.5, "
            f"(6, 0): 0.5}}, or a Distribution, not {initial!r}"
        )
    if all(isinstance(key, str) for key in initial):
        changed = network.with_initial(initial)
        return InitialLaw(changed, changed.initial_state[None].astype(np.int64), np.ones(1), 0.0)
    states, probabilities = [], []
    for key, value in initial.items():
        state = key if isinstance(key, tuple) else (key,)
        whole = all(isinstance(n, int | np.integer) and not isinstance(n, bool) for n in state)
        if len(state) != n_species or not whole or min(state) < 0 or max(state) > 2**53:
            raise NetworkError(
                f"the initial state {key!r} must be {n_species} counts, 0 or more, in the order "
                f"{', '.join(names)}"
            )
        probability = float(value)
        if not 0.0 <= probability <= 1.0:
            raise ValueError(f"the probability of the initial state {key!r} is {probability:g}")
        if probability > 0.0:
            states.append([int(n) for n in state])
            probabilities.append(probability)
    total = math.fsum(probabilities)
    if abs(total - 1.0) > 1e-9:
        raise ValueError(f"the initial probabilities add up to {total!r}, not to 1")
    rows = np.array(states, dtype=np.int64)
    if np.unique(rows, axis=0).shape[0] != rows.shape[0]:
        raise ValueError("initial names a state twice")
    return InitialLaw(network, rows, np.array(probabilities) / total, 0.0)
