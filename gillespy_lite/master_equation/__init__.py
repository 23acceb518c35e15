"""The chemical master equation itself: probabilities of states, with a proven error."""

from .first_passage import first_passage, splitting_probabilities
from .solving import solve_master_equation
from .state_space import Generator, StateSearch, StateSpace
from .stationary import (
    quasi_stationary_distribution,
    stationary_distribution,
    switching_times,
)

__all__ = [
    "Generator",
    "StateSearch",
    "StateSpace",
    "first_passage",
    "quasi_stationary_distribution",
    "solve_master_equation",
    "splitting_probabilities",
    "stationary_distribution",
    "switching_times",
]
