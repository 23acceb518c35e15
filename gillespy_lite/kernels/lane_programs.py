"""Postfix programs, evaluated for all lanes at once; the same numbers as those of programs.py."""

from __future__ import annotations

import numpy as np

from . import programs as codes
from .jit import apart, inlined
from .lane_vectors import (
    LANES,
    absolute,
    bits,
    everywhere,
    fill,
    load,
    select,
    square_root,
    store,
)
from .programs import apply_operation
from .special_functions import power

__all__ = ["evaluate_lanes"]

_ALL = np.uint64(2**LANES - 1)


@inlined
def _truth(where):
    return select(where, everywhere(1.0), everywhere(0.0))


@apart
def _apply_one_by_one(code, stack, top, scratch):
    # Calls of the mathematical library have no vector form that gives the same last bits.
    n_arguments = codes.N_ARGUMENTS[code]
    for lane in range(LANES):
        for k in range(n_arguments):
            scratch[k] = stack[(top + k) * LANES + lane]
        apply_operation(code, scratch, n_arguments - 1)
        stack[top * LANES + lane] = scratch[0]


@apart
def _raise_to(stack, base, exponent):
    """Write `special_functions.power` of two rows of the stack to the first of them."""
    x, y = load(stack, base * LANES), load(stack, exponent * LANES)
    if bits(y == 2.0) == _ALL:
        store(stack, base * LANES, x * x)
    elif bits(y == 3.0) == _ALL:
        store(stack, base * LANES, (x * x) * x)
    elif bits(y == 4.0) == _ALL:
        square = x * x
        store(stack, base * LANES, square * square)
    else:
        for lane in range(LANES):
            one = stack[base * LANES + lane]
            stack[base * LANES + lane] = power(one, stack[exponent * LANES + lane])


@apart
def _apply(code, stack, top, scratch):
    """Apply an operation to the top of the stack; return where the top is now."""
    top -= codes.N_ARGUMENTS[code] - 1
    at = top * LANES
    a, b = load(stack, at), load(stack, at + LANES)  # b has a meaning where there are two
    if code == codes.ADD:
        store(stack, at, a + b)
    elif code == codes.SUBTRACT:
        store(stack, at, a - b)
    elif code == codes.MULTIPLY:
        store(stack, at, a * b)
    elif code == codes.DIVIDE:
        store(stack, at, a / b)
    elif code == codes.NEGATE:
        store(stack, at, -a)
    elif code == codes.POWER:
        _raise_to(stack, top, top + 1)
    elif codes.HILL <= code <= codes.HILLR:
        # As `programs._hill`: 1 / (1 + (K / x)^n).
        ratio = b / a if code == codes.HILL else a / b
        store(stack, at, ratio)
        _raise_to(stack, top, top + 2)
        store(stack, at, 1.0 / (1.0 + load(stack, at)))
    elif code == codes.LESS:
        store(stack, at, _truth(a < b))
    elif code == codes.LESS_EQUAL:
        store(stack, at, _truth(a <= b))
    elif code == codes.GREATER:
        store(stack, at, _truth(a > b))
    elif code == codes.GREATER_EQUAL:
        store(stack, at, _truth(a >= b))
    elif code == codes.EQUAL:
        store(stack, at, _truth(a == b))
    elif code == codes.UNEQUAL:
        store(stack, at, _truth(a != b))
    elif code == codes.AND:
        store(stack, at, _truth((a != 0.0) & (b != 0.0)))
    elif code == codes.OR:
        store(stack, at, _truth((a != 0.0) | (b != 0.0)))
    elif code == codes.NOT:
        store(stack, at, _truth(a == 0.0))
    elif code == codes.IF:
        store(stack, at, select(a != 0.0, b, load(stack, at + 2 * LANES)))
    elif code == codes.MIN:
        store(stack, at, select(a <= b, a, select(a == a, b, np.nan)))  # noqa: PLR0124
    elif code == codes.MAX:
        store(stack, at, select(a >= b, a, select(a == a, b, np.nan)))  # noqa: PLR0124
    elif code == codes.ABS:
        store(stack, at, absolute(a))
    elif code == codes.SQRT:
        store(stack, at, square_root(a))
    else:
        _apply_one_by_one(code, stack, top, scratch)
    return top


@apart
def evaluate_lanes(programs, p, state, parameters, stack, scratch):
    """Write the value of program `p` in all lanes to the first row of `stack`.

    Parameters
    ----------
    programs : Programs
        They do not use the time: what depends on it does not run in lanes.
    p : int
    state : ndarray
        (n_rows, LANES) float64, flat: row i is species i.
    parameters : ndarray
        (n_parameters, LANES) float64, flat: each lane has its own.
    stack : ndarray
        (depth + 1, LANES) float64, flat; overwritten.
    scratch : ndarray
        (3,) float64; overwritten.
    """
    top = np.int64(-1)  # not the literal: see `programs.evaluate_program`
    for step in range(programs.start[p], programs.start[p + 1]):
        code, argument = programs.operation[step], programs.argument[step]
        if code == codes.SPECIES:
            top += 1
            store(stack, top * LANES, load(state, argument * LANES))
        elif code == codes.PARAMETER:
            top += 1
            store(stack, top * LANES, load(parameters, argument * LANES))
        elif code == codes.CONSTANT:
            top += 1
            fill(stack, top * LANES, programs.constant[argument])
        else:
            top = _apply(code, stack, top, scratch)
