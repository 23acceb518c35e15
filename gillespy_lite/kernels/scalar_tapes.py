"""Expressions as steps, evaluated at one state; the same numbers as those of programs.py.

The steps are those that lanes take (`lane_programs.py`). A step reads places of one array (counts,
parameters, constants, what came out of other steps) and writes one: a rate law has less than half
as many of them as a postfix program, where each number that is read is a step. What the step before
gave need not be read, which would take as long as an addition.
"""

from __future__ import annotations

import numpy as np

from . import programs as codes
from .jit import apart, inlined
from .lane_programs import (
    ADD_LAST,
    DIVIDE_BY_LAST,
    DIVIDE_LAST,
    MULTIPLY_LAST,
    SQUARE,
    SQUARE_LAST,
    SUBTRACT_FROM_LAST,
    SUBTRACT_LAST,
)
from .programs import apply_operation

__all__ = ["STEP", "run_steps"]

# Numbers of a step: what is done, the place that is written, and those of the arguments.
STEP = 5

_INDEX = np.uint64
_STEP, _1, _2, _3, _4 = (np.uint64(k) for k in (STEP, 1, 2, 3, 4))


@apart
def _operate(code, first, second, third, scratch):
    scratch[0], scratch[1], scratch[2] = first, second, third
    apply_operation(code, scratch, codes.N_ARGUMENTS[code] - 1)
    return scratch[0]


@inlined
def run_steps(steps, first, last, values, scratch):
    """Do some steps of `steps` (n_steps * STEP,), those from the places `first` to `last`.

    Return what the last of them gave.
    """
    k, end, value = _INDEX(first), _INDEX(last), 0.0
    while k < end:
        code = steps[k]
        a, b = values[_INDEX(steps[k + _2])], values[_INDEX(steps[k + _3])]
        if code == MULTIPLY_LAST:
            value *= b
        elif code == codes.MULTIPLY:
            value = a * b
        elif code == ADD_LAST:
            value += b
        elif code == codes.ADD:
            value = a + b
        elif code == DIVIDE_LAST:
            value /= b
        elif code == DIVIDE_BY_LAST:
            value = a / value
        elif code == codes.DIVIDE:
            value = a / b
        elif code == SUBTRACT_FROM_LAST:
            value -= b
        elif code == SUBTRACT_LAST:
            value = a - value
        elif code == codes.SUBTRACT:
            value = a - b
        elif code == SQUARE:
            value = a * a
        elif code == SQUARE_LAST:
            value *= value
        elif code == codes.EXP:
            value = np.exp(a)
        elif code == codes.NEGATE:
            value = -a
        elif code == codes.SQRT:
            value = np.sqrt(a)
        else:
            value = _operate(code, a, b, values[_INDEX(steps[k + _4])], scratch)
        values[_INDEX(steps[k + _1])] = value
        k += _STEP
    return value
