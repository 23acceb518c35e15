"""The chemical master equation itself: probabilities of states, with a proven error."""

from .solving import solve_master_equation
from .state_space import Generator, StateSearch, StateSpace

__all__ = ["Generator", "StateSearch", "StateSpace", "solve_master_equation"]
