"""Expressions, evaluated for all lanes at once; the same numbers as those of programs.py.

They are tapes: steps that read rows of one flat array (counts, parameters, constants, what came out
of other steps) and write one. What no count changes is computed when a lane takes the numbers of a
set, and what the step before gave is not read: it is in registers. Postfix programs on a stack of
rows took a toggle switch 10.0 ns an event where its tape takes 5.3, and a clock with 20 saturating
laws 54 where it takes 24. `scalar_tapes.py` does the same steps at one state.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from . import programs as codes
from .jit import apart, inlined
from .lane_vectors import (
    LANES,
    absolute,
    bits,
    everywhere,
    load,
    select,
    square_root,
    store,
)
from .programs import apply_operation
from .special_functions import is_product, power, product_power

__all__ = ["CHAINED", "SQUARE", "SQUARE_LAST", "LaneTape", "follow_tape", "run_tape"]

_ALL, _ONE = np.uint64(2**LANES - 1), np.uint64(1)

# The codes of steps beside those of operations.
SQUARE = codes.MRATIO + 1
ADD_LAST, SUBTRACT_FROM_LAST, SUBTRACT_LAST, MULTIPLY_LAST = range(SQUARE + 1, SQUARE + 5)
DIVIDE_LAST, DIVIDE_BY_LAST, SQUARE_LAST = range(SQUARE + 5, SQUARE + 8)

# What a step is where its first, or its second, argument is what the step before gave.
CHAINED = {
    (codes.ADD, 0): ADD_LAST,
    (codes.ADD, 1): ADD_LAST,
    (codes.SUBTRACT, 0): SUBTRACT_FROM_LAST,
    (codes.SUBTRACT, 1): SUBTRACT_LAST,
    (codes.MULTIPLY, 0): MULTIPLY_LAST,
    (codes.MULTIPLY, 1): MULTIPLY_LAST,
    (codes.DIVIDE, 0): DIVIDE_LAST,
    (codes.DIVIDE, 1): DIVIDE_BY_LAST,
    (SQUARE, 0): SQUARE_LAST,
}


class LaneTape(NamedTuple):
    """Expressions: number i owns the steps `start[i]:start[i + 1]`.

    Last come the steps of what no count changes. Places are LANES * row; for one state, the row.
    """

    start: np.ndarray  # (n + 2,) int64
    code: np.ndarray  # (n_steps,) int64, of an operation, or one of the above
    target: np.ndarray  # (n_steps,) int64, the place that is written
    first: np.ndarray  # (n_steps,) int64, the places of the arguments
    second: np.ndarray  # (n_steps,) int64; of the first where there is no second
    third: np.ndarray  # (n_steps,) int64
    result: np.ndarray  # (n,) int64, the place of the value; -1 of one without steps or value


@inlined
def _truth(where):
    return select(where, everywhere(1.0), everywhere(0.0))


@apart
def _operate_one_by_one(code, rows, at, first, second, third, scratch):
    # Calls of the mathematical library have no vector form that gives the same last bits.
    n_arguments = codes.N_ARGUMENTS[code]
    for lane in range(LANES):
        scratch[0], scratch[1] = rows[first + lane], rows[second + lane]
        scratch[2] = rows[third + lane]
        apply_operation(code, scratch, n_arguments - 1)
        rows[at + lane] = scratch[0]


@apart
def _raise_to(rows, at, base, exponent):
    """Write `special_functions.power` of two rows."""
    n = rows[exponent]
    if is_product(n) and bits(load(rows, exponent) == n) == _ALL:
        store(rows, at, product_power(load(rows, base), n))
    else:
        # Calls of the mathematical library have no vector form that gives the same last bits.
        for lane in range(LANES):
            rows[at + lane] = power(rows[base + lane], rows[exponent + lane])


# Constants of the rarer operations would be written to the stack at each tape, were this merged
# into the loop over steps.
@apart
def _operate(code, rows, at, first, second, third, scratch):
    """Write what an operation makes of three rows, or of fewer, to the row at `at`."""
    a, b = load(rows, first), load(rows, second)
    if code == codes.POWER:
        _raise_to(rows, at, first, second)
    elif codes.HILL <= code <= codes.HILLR:
        # As `programs._hill`: 1 / (1 + (K / x)^n).
        ratio = b / a if code == codes.HILL else a / b
        store(rows, at, ratio)
        _raise_to(rows, at, at, third)
        store(rows, at, 1.0 / (1.0 + load(rows, at)))
    elif code == codes.LESS:
        store(rows, at, _truth(a < b))
    elif code == codes.LESS_EQUAL:
        store(rows, at, _truth(a <= b))
    elif code == codes.GREATER:
        store(rows, at, _truth(a > b))
    elif code == codes.GREATER_EQUAL:
        store(rows, at, _truth(a >= b))
    elif code == codes.EQUAL:
        store(rows, at, _truth(a == b))
    elif code == codes.UNEQUAL:
        store(rows, at, _truth(a != b))
    elif code == codes.AND:
        store(rows, at, _truth((a != 0.0) & (b != 0.0)))
    elif code == codes.OR:
        store(rows, at, _truth((a != 0.0) | (b != 0.0)))
    elif code == codes.NOT:
        store(rows, at, _truth(a == 0.0))
    elif code == codes.IF:
        store(rows, at, select(a != 0.0, b, load(rows, third)))
    elif code == codes.MIN:
        store(rows, at, select(a <= b, a, select(a == a, b, np.nan)))  # noqa: PLR0124
    elif code == codes.MAX:
        store(rows, at, select(a >= b, a, select(a == a, b, np.nan)))  # noqa: PLR0124
    elif code == codes.ABS:
        store(rows, at, absolute(a))
    elif code == codes.SQRT:
        store(rows, at, square_root(a))
    else:
        _operate_one_by_one(code, rows, at, first, second, third, scratch)


@inlined
def follow_tape(tape, part, rows, scratch):
    """Do the steps of one expression, or those of what no count changes, which come last.

    Parameters
    ----------
    tape : LaneTape
    part : int
        The number of the expression, or how many there are.
    rows : ndarray
        (n_rows, LANES) float64, flat.
    scratch : ndarray
        (3,) float64; overwritten.
    """
    value, p = everywhere(0.0), np.uint64(part)
    for k in range(np.uint64(tape.start[p]), np.uint64(tape.start[p + _ONE])):
        code, target, first, second = tape.code[k], tape.target[k], tape.first[k], tape.second[k]
        # What the step before gave is in registers, and need not be read.
        if code == MULTIPLY_LAST:
            value = value * load(rows, second)
        elif code == codes.MULTIPLY:
            value = load(rows, first) * load(rows, second)
        elif code == ADD_LAST:
            value = value + load(rows, second)
        elif code == codes.ADD:
            value = load(rows, first) + load(rows, second)
        elif code == DIVIDE_BY_LAST:
            value = load(rows, first) / value
        elif code == DIVIDE_LAST:
            value = value / load(rows, second)
        elif code == codes.DIVIDE:
            value = load(rows, first) / load(rows, second)
        elif code == SUBTRACT_FROM_LAST:
            value = value - load(rows, second)
        elif code == SUBTRACT_LAST:
            value = load(rows, first) - value
        elif code == codes.SUBTRACT:
            value = load(rows, first) - load(rows, second)
        elif code == SQUARE_LAST:
            value = value * value
        elif code == SQUARE:
            value = load(rows, first)
            value = value * value
        elif code == codes.NEGATE:
            value = -load(rows, first)
        else:
            _operate(code, rows, target, first, second, tape.third[k], scratch)
            value = load(rows, target)
        store(rows, target, value)


run_tape = apart(follow_tape)  # where it is not done at every event
