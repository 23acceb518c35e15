"""Tapes: expressions as straight-line programs that run forwards, backwards and with tangents.

Every intermediate value has a slot of its own, so the derivatives of all results by all inputs can
be had by one sweep over the same instructions: backwards for the gradient of a number (reverse
mode), forwards for derivatives along directions (forward mode). Instructions of one kind that do
not need each other stand in a group, which costs one decision for the whole group. The innermost
loop runs over lanes: trajectories that do the same at the same time, or directions.

References
----------
Griewank and Walther (2008), Evaluating derivatives, SIAM, doi:10.1137/1.9780898717761.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from .jit import inlined, part
from .special_functions import factorial, factorial_slope, kummer_ratio, kummer_ratio_slopes
from .vectors import (
    WIDTH,
    add,
    add_scaled,
    clear,
    divide,
    multiply,
    retrace_divide,
    retrace_multiply,
    retrace_sum,
    subtract,
    weighted_sum,
)

__all__ = ["LANES", "TAPE_CODES", "Tape", "pull_back_tape", "push_tape", "run_tape"]

# Trajectories or directions that one instruction works on at once: eight doubles fill a vector
# register where these are widest.
LANES = WIDTH

SUM, ADD, SUBTRACT, MULTIPLY, DIVIDE, POWER, CONSTANT_POWER = range(7)
LESS, LESS_EQUAL, GREATER, GREATER_EQUAL, EQUAL, UNEQUAL, AND, OR, NOT, IF = range(7, 17)
EXP, LOG, LOG10, SQRT, ABS, SIN, COS, TAN, TANH, FLOOR, CEIL = range(17, 28)
MIN, MAX, HILL, HILLR, HILL_SLOPE, NOISE_ROOT = range(28, 34)
GUARDED_MULTIPLY, GUARDED_DIVIDE = 34, 35
ASIN, ACOS, ATAN, SINH, COSH, ASINH, ACOSH, ATANH, FACTORIAL, MRATIO = range(36, 46)

# What the language calls its operations ("neg" becomes a sum), and those that only tapes have: sums
# of many weighted terms; powers whose exponent is a number; the square root that multiplies a
# noise, whose slope counts as 0 where the root is 0; the slope of hill(x, K, n) by x; and products
# and quotients that hand on nothing to their arguments where their own adjoint is 0.
TAPE_CODES = {
    "+": ADD, "-": SUBTRACT, "*": MULTIPLY, "/": DIVIDE, "^": POWER,
    "<": LESS, "<=": LESS_EQUAL, ">": GREATER, ">=": GREATER_EQUAL, "==": EQUAL, "!=": UNEQUAL,
    "and": AND, "or": OR, "not": NOT, "if": IF,
    "exp": EXP, "log": LOG, "log10": LOG10, "sqrt": SQRT, "abs": ABS, "sin": SIN, "cos": COS,
    "tan": TAN, "tanh": TANH, "floor": FLOOR, "ceil": CEIL,
    "min": MIN, "max": MAX, "hill": HILL, "hillr": HILLR,
    "asin": ASIN, "acos": ACOS, "atan": ATAN, "sinh": SINH, "cosh": COSH, "asinh": ASINH,
    "acosh": ACOSH, "atanh": ATANH, "factorial": FACTORIAL, "mratio": MRATIO,
    "sum": SUM, "constant power": CONSTANT_POWER, "noise root": NOISE_ROOT,
    "hill slope": HILL_SLOPE, "guarded *": GUARDED_MULTIPLY, "guarded /": GUARDED_DIVIDE,
}  # fmt: skip

_ONE, _LANES, _SINGLE = np.uint64(1), np.uint64(LANES), np.uint64(1)
_LOG_10 = math.log(10.0)


class Tape(NamedTuple):
    """Instructions in groups of one operation, and where their values stand.

    Slots hold, in this order: numbers; parameters; what depends on these alone (the prologue, run
    once); states; inputs; slopes of the inputs; noise; time and step size; all else (run for each
    state). Indices are unsigned, because a signed one is checked for being negative at each use.
    """

    operation: np.ndarray  # (n_groups,) int64, a code of TAPE_CODES
    group_start: np.ndarray  # (n_groups + 1,) uint64, of instructions
    first: np.ndarray  # (n_instructions,) uint64, slot; for SUM where its terms begin
    second: np.ndarray  # (n_instructions,) uint64, slot; for SUM where its terms end
    third: np.ndarray  # (n_instructions,) uint64, slot
    term: np.ndarray  # (n_terms,) uint64, slot
    weight: np.ndarray  # (n_terms,) float64
    number: np.ndarray  # (n_numbers,) float64
    output: np.ndarray  # (n_outputs,) uint64, slot
    # Groups [0, prologue) are the prologue, [prologue, essential) serve the first outputs (the
    # right-hand side), the rest the others (its derivatives by the state and the time).
    prologue: np.uint64
    essential: np.uint64
    # An instruction's slot is its number plus one of these.
    prologue_shift: np.uint64
    shift: np.uint64
    # Where each kind of slot begins.
    parameters: np.uint64
    states: np.uint64
    inputs: np.uint64
    slopes: np.uint64
    noise: np.uint64
    time: np.uint64
    n_slots: np.uint64


@inlined
def _hill(x, threshold, exponent):
    # Through the ratio, so that large powers do not overflow to inf / inf.
    return 1.0 / (1.0 + (threshold / x) ** exponent)


@inlined
def _hill_slopes(x, threshold, exponent):
    """Return the slopes of x^n / (K^n + x^n) by x, K and n."""
    if x == 0.0:
        by_x = exponent * (x / threshold) ** (abs(exponent) - 1.0) / threshold
        return by_x, 0.0, 0.0
    rising = _hill(x, threshold, exponent)
    both = rising * _hill(threshold, x, exponent)
    return exponent * both / x, -exponent * both / threshold, both * np.log(x / threshold)


@inlined
def _hill_curvatures(x, threshold, exponent, slope):
    """Return the slopes by x, K and n of the slope of x^n / (K^n + x^n) by x."""
    if x == 0.0:
        # Of n r^(n - 1) / K - 2 n r^(2 n - 1) / K, to which it comes down for small r = x / K.
        if exponent == 1.0:
            return -2.0 / threshold**2, -1.0 / threshold**2, 0.0
        ratio = x / threshold
        by_x = exponent * (exponent - 1.0) * ratio ** (exponent - 2.0) / threshold**2
        return by_x, 0.0, 0.0
    odds = 2.0 * _hill(threshold, x, exponent) - 1.0  # 1 - 2 h
    by_x = slope * (exponent * odds - 1.0) / x
    by_threshold = -slope * exponent * odds / threshold
    return by_x, by_threshold, slope * (1.0 / exponent + odds * np.log(x / threshold))


@inlined
def _power_slopes(base, exponent, power):
    """Return the slopes of base^exponent by both; 0^n is 0 for all n > 0, so flat in n."""
    by_exponent = 0.0 if base == 0.0 else power * np.log(base)
    return exponent * base ** (exponent - 1.0), by_exponent


def _run(lanes):
    is_single = lanes == _ONE

    def run(tape, first_group, last_group, shift, w):
        for group in range(first_group, last_group):
            code = tape.operation[group]
            start, stop = tape.group_start[group], tape.group_start[group + _ONE]
            if code == MULTIPLY:
                for i in range(start, stop):
                    a, b, o = tape.first[i] * lanes, tape.second[i] * lanes, (shift + i) * lanes
                    if is_single:
                        w[o] = w[a] * w[b]
                    else:
                        multiply(w, o, a, b)
            elif code == SUM:
                for i in range(start, stop):
                    o = (shift + i) * lanes
                    if is_single:
                        # In a local variable, because a sum kept in memory waits for memory.
                        total = 0.0
                        for k in range(tape.first[i], tape.second[i]):
                            total += tape.weight[k] * w[tape.term[k]]
                        w[o] = total
                    else:
                        weighted_sum(w, o, tape.term, tape.weight, tape.first[i], tape.second[i])
            elif code == ADD:
                for i in range(start, stop):
                    a, b, o = tape.first[i] * lanes, tape.second[i] * lanes, (shift + i) * lanes
                    if is_single:
                        w[o] = w[a] + w[b]
                    else:
                        add(w, o, a, b)
            elif code == SUBTRACT:
                for i in range(start, stop):
                    a, b, o = tape.first[i] * lanes, tape.second[i] * lanes, (shift + i) * lanes
                    if is_single:
                        w[o] = w[a] - w[b]
                    else:
                        subtract(w, o, a, b)
            elif code == DIVIDE:
                for i in range(start, stop):
                    a, b, o = tape.first[i] * lanes, tape.second[i] * lanes, (shift + i) * lanes
                    if is_single:
                        w[o] = w[a] / w[b]
                    else:
                        divide(w, o, a, b)
            else:
                for i in range(start, stop):
                    a, b = tape.first[i] * lanes, tape.second[i] * lanes
                    c, o = tape.third[i] * lanes, (shift + i) * lanes
                    for lane in range(lanes):
                        w[o + lane] = _value(code, w[a + lane], w[b + lane], w[c + lane])

    return _named(run, lanes)


@inlined
def _value(code, x, y, z):
    """Return the value of one of the rarer operations."""
    if code in (POWER, CONSTANT_POWER):
        return x**y
    if code == HILL:
        return _hill(x, y, z)
    if code == HILLR:
        return _hill(y, x, z)
    if code == HILL_SLOPE:
        return _hill_slopes(x, y, z)[0]
    if code == GUARDED_MULTIPLY:
        return x * y
    if code == GUARDED_DIVIDE:
        return x / y
    if code == EXP:
        return math.exp(x)
    if code == LOG:
        return np.log(x)
    if code == LOG10:
        return np.log10(x)
    if code in (SQRT, NOISE_ROOT):
        return np.sqrt(x)
    if code == ABS:
        return abs(x)
    if code == SIN:
        return np.sin(x)
    if code == COS:
        return np.cos(x)
    if code == TAN:
        return np.tan(x)
    if code == TANH:
        return np.tanh(x)
    if code == FLOOR:
        return np.floor(x)
    if code == CEIL:
        return np.ceil(x)
    if code == MIN:
        return np.minimum(x, y)
    if code == MAX:
        return np.maximum(x, y)
    if code == IF:
        return y if x != 0.0 else z
    if code == LESS:
        return 1.0 if x < y else 0.0
    if code == LESS_EQUAL:
        return 1.0 if x <= y else 0.0
    if code == GREATER:
        return 1.0 if x > y else 0.0
    if code == GREATER_EQUAL:
        return 1.0 if x >= y else 0.0
    if code == EQUAL:
        return 1.0 if x == y else 0.0
    if code == UNEQUAL:
        return 1.0 if x != y else 0.0
    if code == AND:
        return 1.0 if x != 0.0 and y != 0.0 else 0.0
    if code == OR:
        return 1.0 if x != 0.0 or y != 0.0 else 0.0
    if code == ASIN:
        return np.arcsin(x)
    if code == ACOS:
        return np.arccos(x)
    if code == ATAN:
        return np.arctan(x)
    if code == SINH:
        return np.sinh(x)
    if code == COSH:
        return np.cosh(x)
    if code == ASINH:
        return np.arcsinh(x)
    if code == ACOSH:
        return np.arccosh(x)
    if code == ATANH:
        return np.arctanh(x)
    if code == FACTORIAL:
        return factorial(x)
    if code == MRATIO:
        return kummer_ratio(x, y, z)
    return 1.0 if x == 0.0 else 0.0  # NOT


@inlined
def _slopes(code, x, y, z, value):
    """Return the slopes of one of the rarer operations by its arguments, each at most three."""
    if code == CONSTANT_POWER:
        return y * x ** (y - 1.0), 0.0, 0.0
    if code == POWER:
        by_base, by_exponent = _power_slopes(x, y, value)
        return by_base, by_exponent, 0.0
    if code == HILL:
        return _hill_slopes(x, y, z)
    if code == HILLR:
        by_x, by_y, by_z = _hill_slopes(x, y, z)
        return -by_x, -by_y, -by_z
    if code == HILL_SLOPE:
        return _hill_curvatures(x, y, z, value)
    if code == GUARDED_MULTIPLY:
        return y, x, 0.0
    if code == GUARDED_DIVIDE:
        return 1.0 / y, -value / y, 0.0
    if code == EXP:
        return value, 0.0, 0.0
    if code == LOG:
        return 1.0 / x, 0.0, 0.0
    if code == LOG10:
        return 1.0 / (x * _LOG_10), 0.0, 0.0
    if code == SQRT:
        return 0.5 / value, 0.0, 0.0
    if code == NOISE_ROOT:
        return (0.5 / value if value > 0.0 else 0.0), 0.0, 0.0
    if code == ABS:
        return np.sign(x), 0.0, 0.0
    if code == SIN:
        return np.cos(x), 0.0, 0.0
    if code == COS:
        return -np.sin(x), 0.0, 0.0
    if code == TAN:
        return 1.0 + value * value, 0.0, 0.0
    if code == TANH:
        return 1.0 - value * value, 0.0, 0.0
    if code == MIN:
        return (1.0, 0.0, 0.0) if x <= y else (0.0, 1.0, 0.0)
    if code == MAX:
        return (1.0, 0.0, 0.0) if x >= y else (0.0, 1.0, 0.0)
    if code == IF:
        return (0.0, 1.0, 0.0) if x != 0.0 else (0.0, 0.0, 1.0)
    if code == ASIN:
        return 1.0 / np.sqrt((1.0 - x) * (1.0 + x)), 0.0, 0.0
    if code == ACOS:
        return -1.0 / np.sqrt((1.0 - x) * (1.0 + x)), 0.0, 0.0
    if code == ATAN:
        return 1.0 / (1.0 + x * x), 0.0, 0.0
    if code == SINH:
        return np.cosh(x), 0.0, 0.0
    if code == COSH:
        return np.sinh(x), 0.0, 0.0
    if code == ASINH:
        return 1.0 / np.sqrt(1.0 + x * x), 0.0, 0.0
    if code == ACOSH:
        return 1.0 / (np.sqrt(x - 1.0) * np.sqrt(x + 1.0)), 0.0, 0.0
    if code == ATANH:
        return 1.0 / ((1.0 - x) * (1.0 + x)), 0.0, 0.0
    if code == FACTORIAL:
        return factorial_slope(x), 0.0, 0.0
    if code == MRATIO:
        return kummer_ratio_slopes(x, y, z, value)
    return 0.0, 0.0, 0.0  # comparisons, floor, ceil: flat wherever they have a slope


def _pull_back(lanes):
    is_single = lanes == _ONE

    def pull_back(tape, first_group, last_group, shift, w, bar):
        for back in range(first_group, last_group):
            group = first_group + last_group - _ONE - back
            code = tape.operation[group]
            start, stop = tape.group_start[group], tape.group_start[group + _ONE]
            if code == MULTIPLY:
                for i in range(start, stop):
                    a, b, o = tape.first[i] * lanes, tape.second[i] * lanes, (shift + i) * lanes
                    if is_single:
                        upstream = bar[o]
                        bar[o] = 0.0
                        bar[a] += upstream * w[b]
                        bar[b] += upstream * w[a]
                    else:
                        retrace_multiply(bar, w, o, a, b)
            elif code == SUM:
                for i in range(start, stop):
                    o = (shift + i) * lanes
                    upstream = bar[o]
                    for k in range(tape.first[i], tape.second[i]):
                        if is_single:
                            bar[tape.term[k]] += tape.weight[k] * upstream
                        else:
                            add_scaled(bar, bar, tape.term[k] * lanes, o, tape.weight[k])
                    for lane in range(lanes):
                        bar[o + lane] = 0.0
            elif code in (ADD, SUBTRACT):
                sign = 1.0 if code == ADD else -1.0
                for i in range(start, stop):
                    a, b, o = tape.first[i] * lanes, tape.second[i] * lanes, (shift + i) * lanes
                    if is_single:
                        upstream = bar[o]
                        bar[o] = 0.0
                        bar[a] += upstream
                        bar[b] += sign * upstream
                    else:
                        retrace_sum(bar, o, a, b, sign)
            elif code == DIVIDE:
                for i in range(start, stop):
                    a, b, o = tape.first[i] * lanes, tape.second[i] * lanes, (shift + i) * lanes
                    if is_single:
                        share = bar[o] / w[b]
                        bar[o] = 0.0
                        bar[a] += share
                        bar[b] -= share * w[o]
                    else:
                        retrace_divide(bar, w, o, a, b)
            else:
                for i in range(start, stop):
                    a, b = tape.first[i] * lanes, tape.second[i] * lanes
                    c, o = tape.third[i] * lanes, (shift + i) * lanes
                    for lane in range(lanes):
                        upstream = bar[o + lane]
                        bar[o + lane] = 0.0
                        # Nothing to hand on: an infinite slope must not make 0 times inf of it.
                        if upstream != 0.0:
                            by_a, by_b, by_c = _slopes(
                                code, w[a + lane], w[b + lane], w[c + lane], w[o + lane]
                            )
                            # Equal to 0 where the operation has no such argument, is flat in it, or
                            # does not choose it: then an adjoint that is no number ends here.
                            if by_a != 0.0:
                                bar[a + lane] += upstream * by_a
                            if by_b != 0.0:
                                bar[b + lane] += upstream * by_b
                            if by_c != 0.0:
                                bar[c + lane] += upstream * by_c

    return _named(pull_back, lanes)


@part
def push_tape(tape, first_group, last_group, shift, w, dot):
    """Carry tangents: dot (n_slots * LANES,) are slopes along LANES directions at w (n_slots,)."""
    for group in range(first_group, last_group):
        code = tape.operation[group]
        start, stop = tape.group_start[group], tape.group_start[group + _ONE]
        if code == SUM:
            for i in range(start, stop):
                o = (shift + i) * _LANES
                weighted_sum(dot, o, tape.term, tape.weight, tape.first[i], tape.second[i])
        elif code <= DIVIDE:
            for i in range(start, stop):
                a, b, o = tape.first[i], tape.second[i], shift + i
                by_a, by_b = 1.0, 1.0
                if code == SUBTRACT:
                    by_b = -1.0
                elif code == MULTIPLY:
                    by_a, by_b = w[b], w[a]
                elif code == DIVIDE:
                    by_a = 1.0 / w[b]
                    by_b = -w[o] * by_a
                clear(dot, o * _LANES)
                add_scaled(dot, dot, o * _LANES, a * _LANES, by_a)
                add_scaled(dot, dot, o * _LANES, b * _LANES, by_b)
        else:
            for i in range(start, stop):
                a, b, c, o = tape.first[i], tape.second[i], tape.third[i], shift + i
                by_a, by_b, by_c = _slopes(code, w[a], w[b], w[c], w[o])
                for lane in range(_LANES):
                    total = 0.0
                    # 0 times an infinite slope, or times the nan of a branch not taken, is 0.
                    if by_a != 0.0 and dot[a * _LANES + lane] != 0.0:
                        total += by_a * dot[a * _LANES + lane]
                    if by_b != 0.0 and dot[b * _LANES + lane] != 0.0:
                        total += by_b * dot[b * _LANES + lane]
                    if by_c != 0.0 and dot[c * _LANES + lane] != 0.0:
                        total += by_c * dot[c * _LANES + lane]
                    dot[o * _LANES + lane] = total


def _named(function, lanes):
    """Compile a part for so many lanes, under a name of its own."""
    function.__qualname__ = f"{function.__name__}_{lanes}"
    return part(function)


# Number of lanes -> run a tape's groups [first, last) on the slots w (n_slots * lanes,).
run_tape = {1: _run(_SINGLE), LANES: _run(_LANES)}
# Number of lanes -> turn adjoints of results in bar (n_slots * lanes,) into adjoints of arguments,
# added to what bar holds; those of the results are cleared.
pull_back_tape = {1: _pull_back(_SINGLE), LANES: _pull_back(_LANES)}
