"""Runs that go on until their estimates are precise enough."""

from __future__ import annotations

from .runs import ensemble_until
from .targets import Target, parse_targets

__all__ = ["Target", "ensemble_until", "parse_targets"]
