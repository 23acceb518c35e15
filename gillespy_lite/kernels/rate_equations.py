"""The rate equations of a network: rates and their derivatives at a real-valued state."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from .jit import inlined, kernel
from .programs import Programs, evaluate_program

__all__ = ["FADE", "RateEquations", "fill_rate_derivatives", "fill_rates"]


class RateEquations(NamedTuple):
    """Rates as arrays: of the reactions, then of the variables (rate rules).

    The state holds the amounts of the species, then the variables. As in `ReactionArrays`, its last
    entry is always 1.
    """

    # Mass action of at most two molecules: coefficient[j] * y[first[j]] * y[second[j]].
    coefficient: np.ndarray  # (n_reactions,) float64, per unit time
    first: np.ndarray  # (n_reactions,) int64
    second: np.ndarray  # (n_reactions,) int64
    laws: Programs  # one a rate: the whole of all others and of rules, empty for those above
    # Reaction j of the form `=>` fades out when one of needed[start[j]:start[j + 1]] runs out.
    needed_start: np.ndarray  # (n_rates + 1,) int64
    needed: np.ndarray  # (n_entries,) int64
    # The derivatives that are not always zero, d rate[slope_rate[k]] / d y[slope_state[k]].
    slope_rate: np.ndarray  # (n_slopes,) int64
    slope_state: np.ndarray  # (n_slopes,) int64
    slopes: Programs  # one a derivative; empty where the formula for two molecules gives it
    parameters: np.ndarray  # (n_parameters,) float64


# Amount of a reactant, in molecules, over which a `=>` reaction fades to zero. Cutting it off at
# once would make the solver chatter for ever where an outflow meets a smaller inflow at zero.
FADE = 1e-6


@inlined
def _scarcest(equations, reaction, state):
    """Return the needed species of which least is there, or -1 if none is needed."""
    scarcest = -1
    for k in range(equations.needed_start[reaction], equations.needed_start[reaction + 1]):
        species = equations.needed[k]
        if scarcest < 0 or state[species] < state[scarcest]:
            scarcest = species
    return scarcest


@inlined
def _presence(state, species):
    """Return 1 where there is enough of the species, falling to 0 where there is none."""
    if species < 0:
        return 1.0
    return min(1.0, max(0.0, state[species] / FADE))


@kernel
def fill_rates(equations, state, time, stack, rates):
    """Write every rate into `rates` (n_rates,): of reactions, then of variables, per unit time."""
    laws = equations.laws
    for j in range(rates.size):
        if laws.start[j] == laws.start[j + 1]:
            rates[j] = (
                equations.coefficient[j] * state[equations.first[j]] * state[equations.second[j]]
            )
        else:
            presence = _presence(state, _scarcest(equations, j, state))
            rates[j] = 0.0
            if presence > 0.0:
                rates[j] = presence * evaluate_program(
                    laws, j, state, equations.parameters, time, stack
                )


@kernel
def fill_rate_derivatives(equations, state, time, stack, slopes):
    """Write the derivatives of the rates by the state into `slopes` (n_slopes,)."""
    programs, parameters = equations.slopes, equations.parameters
    for k in range(slopes.size):
        j, i = equations.slope_rate[k], equations.slope_state[k]
        slopes[k] = 0.0
        if programs.start[k] < programs.start[k + 1]:
            scarcest = _scarcest(equations, j, state)
            presence = _presence(state, scarcest)
            if presence > 0.0:
                slopes[k] = presence * evaluate_program(programs, k, state, parameters, time, stack)
            if i == scarcest and 0.0 <= state[i] < FADE:
                slopes[k] += (
                    evaluate_program(equations.laws, j, state, parameters, time, stack) / FADE
                )
        else:
            if equations.first[j] == i:
                slopes[k] += equations.coefficient[j] * state[equations.second[j]]
            if equations.second[j] == i:
                slopes[k] += equations.coefficient[j] * state[equations.first[j]]
