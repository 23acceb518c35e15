"""Samples held against the strongest exact reference that a network allows."""

from __future__ import annotations

from .certificate import Certificate
from .certifying import certify, certify_ensemble

__all__ = ["Certificate", "certify", "certify_ensemble"]
