"""Multilevel Monte Carlo: means to a tolerance by coupled leap and exact paths."""

from .estimate import Level, MultilevelEstimate
from .estimating import multilevel

__all__ = ["Level", "MultilevelEstimate", "multilevel"]
