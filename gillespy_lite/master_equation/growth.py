"""Sets of states that grow where probability flows to."""

from __future__ import annotations

import math

import numpy as np

from .state_space import FloatArray, Generator, StateSearch, StateSpace
from .transitions import Transitions

__all__ = ["FIND_ALL", "grown_along_flow", "grown_for_step", "least_flow"]

# So many states are found whether they matter or not: if these are all, nothing is cut off.
FIND_ALL = 60_000
# A set for ever becomes larger by at least the first factor, and at most the second.
_LEAST_GROWTH, _MOST_GROWTH = 1.25, 4
# One for a step grows by at most this factor, or to this many states.
_GROWTH, _FEW_STATES = 3, 4000
# Flows below this are none.
_NO_FLOW = 1e-280


def grown_along_flow(
    search: StateSearch,
    space: StateSpace,
    graph: Transitions,
    weight: FloatArray,
    *,
    least: float,
    duration: float,
    few_states: int,
    limit: int,
) -> tuple[StateSpace, bool]:
    """Return a set with the states that what leaves it goes to, and whether these are all.

    Parameters
    ----------
    search, space : StateSearch, StateSpace
    graph : Transitions
        Of the set; its last exits are those to states that are not there.
    weight : ndarray, shape (graph.n_states,), float64
        Shares of the time.
    least : float
        A flow that makes a state worth being found; less is, until the set is a quarter larger.
    duration : float
        What a weight of 1 stands for.
    few_states, limit : int
        A set may grow to the first number whatever its size, and never beyond the second.
    """
    n = space.n_states
    of_states = np.zeros(n)
    of_states[graph.places] = weight
    flow = graph.exits[-1] * weight
    most = min(limit, max(few_states, _MOST_GROWTH * n))
    while True:
        seeds = np.zeros(n, dtype=bool)
        seeds[graph.places[flow >= least]] = True
        larger, _ = search.grown(
            space,
            of_states,
            seeds=np.flatnonzero(seeds).astype(np.int64),
            least_flow=least,
            duration=duration,
            max_states=most,
        )
        if larger.n_states >= min(most, _LEAST_GROWTH * n):
            return larger, False
        if least < _NO_FLOW:
            return search.grown(space, None, max_states=min(most, 2 * n))
        least *= 1e-3


def least_flow(generator: Generator, step: float, allowance: float, caution: float) -> float:
    """Return the flow that makes a state worth being found for a step, per unit time.

    A tenth of what may be lost in the step is shared out among the states that are left from;
    `caution` divides it.
    """
    n_edge = int(np.count_nonzero(generator.leak))
    return 0.1 * allowance / (step * max(16, n_edge) * caution)


def grown_for_step(
    search: StateSearch,
    generator: Generator,
    weight: FloatArray,
    step: float,
    *,
    least: float,
    time: float,
    limit: int,
) -> tuple[StateSpace, bool, bool]:
    """Return a set with the states that probability flows into during a step.

    Parameters
    ----------
    search, generator : StateSearch, Generator
    weight : ndarray, shape (n_states,), float64
        Probabilities in the step.
    step : float
    least : float
        From `least_flow`.
    time : float
        When the rates are taken.
    limit : int
        Most states.

    Returns
    -------
    space, complete, is_full : StateSpace, bool, bool
        Whether all these states are there; whether the limit kept some out.
    """
    space = generator.space
    seeds = np.flatnonzero(generator.leak * weight >= least).astype(np.int64)
    most = min(limit, max(_FEW_STATES, _GROWTH * space.n_states))
    jumps = generator.largest_outflow * step
    larger, complete = search.grown(
        space,
        weight,
        seeds=seeds,
        least_flow=least,
        duration=step,
        n_layers=math.ceil(jumps + 8.0 * math.sqrt(jumps) + 8.0),
        time=time,
        max_states=most,
    )
    return larger, complete, not complete and most == limit
