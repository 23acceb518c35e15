"""The chemical master equation itself: probabilities of states, with a proven error."""

from .first_passage import first_passage, splitting_probabilities
from .solving import solve_master_equation
from .state_space import Generator, StateSearch, StateSpace

__all__ = [
    "Generator",
    "StateSearch",
    "StateSpace",
    "first_passage",
    "solve_master_equation",
    "splitting_probabilities",
]
