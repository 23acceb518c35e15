"""Parameter scans: one network with thousands of sets of numbers, and what depends on which."""

from __future__ import annotations

from .scanning import scan
from .sensitivity import SobolIndices, sobol

__all__ = ["SobolIndices", "scan", "sobol"]
