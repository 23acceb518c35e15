"""Postfix programs: how kernels evaluate rate laws, observables and conditions.

A program is a run of (operation, argument) pairs in reverse Polish order on a small stack, so a
new expression is new array contents, never new code to compile.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from .jit import inlined, part
from .special_functions import factorial, kummer_ratio, power

__all__ = ["N_ARGUMENTS", "OPERATION_CODES", "Programs", "apply_operation", "evaluate_program"]

CONSTANT, SPECIES, PARAMETER, TIME = 0, 1, 2, 3
ADD, SUBTRACT, MULTIPLY, DIVIDE, POWER, NEGATE = 4, 5, 6, 7, 8, 9
LESS, LESS_EQUAL, GREATER, GREATER_EQUAL, EQUAL, UNEQUAL = 10, 11, 12, 13, 14, 15
AND, OR, NOT, IF = 16, 17, 18, 19
EXP, LOG, LOG10, SQRT, ABS, SIN, COS, TAN, TANH, FLOOR, CEIL = range(20, 31)
MIN, MAX, HILL, HILLR = 31, 32, 33, 34
ASIN, ACOS, ATAN, SINH, COSH, ASINH, ACOSH, ATANH, FACTORIAL = range(35, 44)
MRATIO = 44

# The names are those of `rate_laws.OPERATIONS`; a test compares the two tables.
OPERATION_CODES = {
    "+": ADD, "-": SUBTRACT, "*": MULTIPLY, "/": DIVIDE, "^": POWER, "neg": NEGATE,
    "<": LESS, "<=": LESS_EQUAL, ">": GREATER, ">=": GREATER_EQUAL, "==": EQUAL, "!=": UNEQUAL,
    "and": AND, "or": OR, "not": NOT, "if": IF,
    "exp": EXP, "log": LOG, "log10": LOG10, "sqrt": SQRT, "abs": ABS, "sin": SIN, "cos": COS,
    "tan": TAN, "tanh": TANH, "floor": FLOOR, "ceil": CEIL,
    "min": MIN, "max": MAX, "hill": HILL, "hillr": HILLR,
    "asin": ASIN, "acos": ACOS, "atan": ATAN, "sinh": SINH, "cosh": COSH, "asinh": ASINH,
    "acosh": ACOSH, "atanh": ATANH, "factorial": FACTORIAL, "mratio": MRATIO,
}  # fmt: skip

# By code: how many values an operation takes from the stack; 0 for those that push one.
_TERNARY, _UNARY = (IF, HILL, HILLR, MRATIO), (NEGATE, NOT, *range(EXP, MIN), *range(ASIN, MRATIO))
N_ARGUMENTS = np.array(
    [0, 0, 0, 0]
    + [3 if code in _TERNARY else 1 if code in _UNARY else 2 for code in range(ADD, MRATIO + 1)]
)


class Programs(NamedTuple):
    """Programs one after the other: program p owns `start[p]:start[p + 1]`; empty: not given."""

    start: np.ndarray  # (n_programs + 1,) int64
    operation: np.ndarray  # (n_steps,) int64, one of the codes above
    argument: np.ndarray  # (n_steps,) int64: which constant, species or parameter is pushed
    constant: np.ndarray  # (n_constants,) float64


_NONE, _ONE = np.uint64(0), np.uint64(1)


@inlined
def _hill(x, threshold, exponent):
    # x^n / (K^n + x^n) through the ratio, so that large powers do not overflow to inf / inf.
    return 1.0 / (1.0 + power(threshold / x, exponent))


@inlined
def apply_operation(code, stack, top):
    """Apply an operation to its arguments at the top of `stack`; return where the top is now."""
    if code == ADD:
        top -= 1
        stack[top] += stack[top + 1]
    elif code == SUBTRACT:
        top -= 1
        stack[top] -= stack[top + 1]
    elif code == MULTIPLY:
        top -= 1
        stack[top] *= stack[top + 1]
    elif code == DIVIDE:
        top -= 1
        stack[top] /= stack[top + 1]
    elif code == POWER:
        top -= 1
        stack[top] = power(stack[top], stack[top + 1])
    elif code == NEGATE:
        stack[top] = -stack[top]
    elif code == LESS:
        top -= 1
        stack[top] = 1.0 if stack[top] < stack[top + 1] else 0.0
    elif code == LESS_EQUAL:
        top -= 1
        stack[top] = 1.0 if stack[top] <= stack[top + 1] else 0.0
    elif code == GREATER:
        top -= 1
        stack[top] = 1.0 if stack[top] > stack[top + 1] else 0.0
    elif code == GREATER_EQUAL:
        top -= 1
        stack[top] = 1.0 if stack[top] >= stack[top + 1] else 0.0
    elif code == EQUAL:
        top -= 1
        stack[top] = 1.0 if stack[top] == stack[top + 1] else 0.0
    elif code == UNEQUAL:
        top -= 1
        stack[top] = 1.0 if stack[top] != stack[top + 1] else 0.0
    elif code == AND:
        top -= 1
        stack[top] = 1.0 if stack[top] != 0.0 and stack[top + 1] != 0.0 else 0.0
    elif code == OR:
        top -= 1
        stack[top] = 1.0 if stack[top] != 0.0 or stack[top + 1] != 0.0 else 0.0
    elif code == NOT:
        stack[top] = 1.0 if stack[top] == 0.0 else 0.0
    elif code == IF:
        top -= 2
        stack[top] = stack[top + 1] if stack[top] != 0.0 else stack[top + 2]
    elif code == EXP:
        stack[top] = np.exp(stack[top])
    elif code == LOG:
        stack[top] = np.log(stack[top])
    elif code == LOG10:
        stack[top] = np.log10(stack[top])
    elif code == SQRT:
        stack[top] = np.sqrt(stack[top])
    elif code == ABS:
        stack[top] = abs(stack[top])
    elif code == SIN:
        stack[top] = np.sin(stack[top])
    elif code == COS:
        stack[top] = np.cos(stack[top])
    elif code == TAN:
        stack[top] = np.tan(stack[top])
    elif code == TANH:
        stack[top] = np.tanh(stack[top])
    elif code == FLOOR:
        stack[top] = np.floor(stack[top])
    elif code == CEIL:
        stack[top] = np.ceil(stack[top])
    elif code == MIN:
        top -= 1
        # Written so that nan in either place stays nan, as numpy.minimum has it.
        if not stack[top] <= stack[top + 1]:
            stack[top] = stack[top + 1] if stack[top] == stack[top] else np.nan
    elif code == MAX:
        top -= 1
        if not stack[top] >= stack[top + 1]:
            stack[top] = stack[top + 1] if stack[top] == stack[top] else np.nan
    elif code == HILL:
        top -= 2
        stack[top] = _hill(stack[top], stack[top + 1], stack[top + 2])
    elif code == HILLR:
        top -= 2
        stack[top] = _hill(stack[top + 1], stack[top], stack[top + 2])
    elif code == ASIN:
        stack[top] = np.arcsin(stack[top])
    elif code == ACOS:
        stack[top] = np.arccos(stack[top])
    elif code == ATAN:
        stack[top] = np.arctan(stack[top])
    elif code == SINH:
        stack[top] = np.sinh(stack[top])
    elif code == COSH:
        stack[top] = np.cosh(stack[top])
    elif code == ASINH:
        stack[top] = np.arcsinh(stack[top])
    elif code == ACOSH:
        stack[top] = np.arccosh(stack[top])
    elif code == ATANH:
        stack[top] = np.arctanh(stack[top])
    elif code == FACTORIAL:
        stack[top] = factorial(stack[top])
    elif code == MRATIO:
        top -= 2
        stack[top] = kummer_ratio(stack[top], stack[top + 1], stack[top + 2])
    return top


@inlined
def _leaf(programs, code, argument, state, parameters, time):
    if code == SPECIES:
        return np.float64(state[argument])
    if code == PARAMETER:
        return parameters[argument]
    if code == CONSTANT:
        return programs.constant[argument]
    return time


@part
def evaluate_program(programs, p, state, parameters, time, stack):
    """Return the value of program `p` at `state` (n_species,), `parameters` and `time`.

    `stack` is scratch, (depth,) float64, at least as deep as `compilation` found necessary.
    """
    # The value on top is kept off the stack, in a register, and places are unsigned, because for
    # signed ones each access asks if the place counts from the end. Without either, a long path of
    # networks with laws took 1.1 to 1.35 times as long.
    value, n = 0.0, _NONE
    for step in range(np.uint64(programs.start[p]), np.uint64(programs.start[p + 1])):
        code = programs.operation[step]
        if code <= TIME:
            if n > _NONE:
                stack[n - _ONE] = value
            n += _ONE
            argument = np.uint64(programs.argument[step])
            value = _leaf(programs, code, argument, state, parameters, time)
        elif code == MULTIPLY:
            n -= _ONE
            value = stack[n - _ONE] * value
        elif code == ADD:
            n -= _ONE
            value = stack[n - _ONE] + value
        elif code == DIVIDE:
            n -= _ONE
            value = stack[n - _ONE] / value
        elif code == SUBTRACT:
            n -= _ONE
            value = stack[n - _ONE] - value
        elif code == POWER:
            n -= _ONE
            value = power(stack[n - _ONE], value)
        else:
            stack[n - _ONE] = value
            n = np.uint64(apply_operation(code, stack, np.int64(n) - 1) + 1)
            value = stack[n - _ONE]
    return value
