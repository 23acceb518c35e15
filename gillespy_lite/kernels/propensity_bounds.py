"""Bounds of propensities that hold while every count stays in an interval."""

from __future__ import annotations

import numpy as np

from .arrays import GENERAL
from .intervals import program_range
from .jit import apart, inlined
from .propensities import law_weight, pair_propensity

__all__ = ["law_bounds", "pair_bounds"]


@inlined
def pair_bounds(network, reaction, low, high):
    """Return the least and the greatest propensity of a PAIR reaction between two states.

    Products of counts grow with the counts, and rounding keeps order.
    """
    # At 0 molecules of 2 A the formula gives -0.0.
    least = max(pair_propensity(network, reaction, low), 0.0)
    return least, max(pair_propensity(network, reaction, high), 0.0)


@apart
def law_bounds(network, reaction, low, high, time, stack):
    """Return bounds of a propensity that is not PAIR; nan where it may be none.

    Parameters
    ----------
    network, reaction, time
        As for `law_propensity`; the law does not depend on the time.
    low, high
        (n_states + 1,) float64, the ends of the intervals of counts, whole numbers.
    stack
        Scratch, float64, twice as deep as the law needs.
    """
    least_weight = law_weight(network, reaction, low)
    most_weight = law_weight(network, reaction, high)
    if network.form[reaction] == GENERAL or most_weight == 0.0:
        return least_weight, most_weight
    half = stack.size // 2
    lower, upper = program_range(
        network.laws, reaction, low, high, network.parameters, time, time,
        stack[:half], stack[half:],
    )  # fmt: skip
    if not 0.0 <= lower <= upper < np.inf:
        return np.nan, np.nan
    # Weights and programs are not negative and products round in order, so the product of bounds
    # is a bound of the product. A weight is at most its value at the upper corner.
    return least_weight * lower, most_weight * upper
