"""The rate equations of a network: rates and their derivatives at a real-valued state."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from .jit import inlined, kernel
from .programs import Programs, evaluate_program

__all__ = ["RateEquations", "fill_rate_derivatives", "fill_rates"]


class RateEquations(NamedTuple):
    """Rates as arrays. As in `ReactionArrays`, the state's last entry is always 1."""

    # Mass action of at most two molecules: coefficient[j] * y[first[j]] * y[second[j]].
    coefficient: np.ndarray  # (n_reactions,) float64, per unit time
    first: np.ndarray  # (n_reactions,) int64
    second: np.ndarray  # (n_reactions,) int64
    laws: Programs  # one a reaction: the whole rate of all others, empty for those above
    # Reaction j of the form `=>` is zero unless all of needed[start[j]:start[j + 1]] are present.
    needed_start: np.ndarray  # (n_reactions + 1,) int64
    needed: np.ndarray  # (n_entries,) int64
    # The non-zero derivatives, d rate[reaction] / d y[species].
    slope_reaction: np.ndarray  # (n_slopes,) int64
    slope_species: np.ndarray  # (n_slopes,) int64
    slopes: Programs  # one a derivative; empty where the formula for two molecules gives it
    parameters: np.ndarray  # (n_parameters,) float64


@inlined
def _is_possible(equations, reaction, state):
    for k in range(equations.needed_start[reaction], equations.needed_start[reaction + 1]):
        if state[equations.needed[k]] <= 0.0:
            return False
    return True


@kernel
def fill_rates(equations, state, time, stack, rates):
    """Write the rate of every reaction into `rates` (n_reactions,), events per unit time."""
    laws = equations.laws
    for j in range(rates.size):
        if laws.start[j] == laws.start[j + 1]:
            rates[j] = (
                equations.coefficient[j] * state[equations.first[j]] * state[equations.second[j]]
            )
        elif _is_possible(equations, j, state):
            rates[j] = evaluate_program(laws, j, state, equations.parameters, time, stack)
        else:
            rates[j] = 0.0


@kernel
def fill_rate_derivatives(equations, state, time, stack, slopes):
    """Write the derivatives of the rates by the state into `slopes` (n_slopes,)."""
    programs = equations.slopes
    for k in range(slopes.size):
        j, i = equations.slope_reaction[k], equations.slope_species[k]
        if programs.start[k] < programs.start[k + 1]:
            slopes[k] = 0.0
            if _is_possible(equations, j, state):
                slopes[k] = evaluate_program(
                    programs, k, state, equations.parameters, time, stack
                )
        else:
            slopes[k] = 0.0
            if equations.first[j] == i:
                slopes[k] += equations.coefficient[j] * state[equations.second[j]]
            if equations.second[j] == i:
                slopes[k] += equations.coefficient[j] * state[equations.first[j]]
