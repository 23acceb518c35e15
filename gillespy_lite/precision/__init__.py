"""Runs that go on until their estimates are precise enough, and means with less variance."""

from __future__ import annotations

from .controls import ControlledMean, controlled_mean
from .differences import Difference, difference
from .runs import ensemble_until
from .targets import Target, parse_targets

__all__ = [
    "ControlledMean",
    "Difference",
    "Target",
    "controlled_mean",
    "difference",
    "ensemble_until",
    "parse_targets",
]
