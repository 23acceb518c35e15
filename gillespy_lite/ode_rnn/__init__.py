"""The rate equations as a recurrent network: cells, gradients through time, fits, comparisons."""

from __future__ import annotations

from .cells import CELLS
from .recurrence import Recurrence
from .unrolled import Gradient, Unrolled

__all__ = ["CELLS", "Gradient", "Recurrence", "Unrolled"]
