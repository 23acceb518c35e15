"""The range of a program over a box of states and times, by interval arithmetic.

What is returned encloses every value that `evaluate_program` gives at a point of the box. The four
basic operations and the square root round to nearest, which keeps order, so that their values at
the ends are the ends of their values; those of the other functions are moved out by a few units in
the last place, which is more than a library errs.

Between the steps an interval is a pair; nan as its lower end says that the value may be no number.
A zero as the lower end says by its sign whether the value can be -0.0, which decides what a
division by it can give; as the upper end of an interval that begins below 0 it may have either.

References
----------
Moore, Kearfott and Cloud (2009), Introduction to Interval Analysis, SIAM,
doi:10.1137/1.9780898717716.
"""

from __future__ import annotations

import math

import numpy as np

from . import programs as codes
from .jit import apart, inlined
from .programs import evaluate_program
from .special_functions import factorial, kummer_ratio, power

__all__ = ["program_range"]

# The codes as constants of this module, which is how Numba reads them fastest.
CONSTANT, SPECIES, PARAMETER, TIME = codes.CONSTANT, codes.SPECIES, codes.PARAMETER, codes.TIME
ADD, SUBTRACT, MULTIPLY, DIVIDE = codes.ADD, codes.SUBTRACT, codes.MULTIPLY, codes.DIVIDE
POWER, NEGATE = codes.POWER, codes.NEGATE
LESS, LESS_EQUAL, GREATER = codes.LESS, codes.LESS_EQUAL, codes.GREATER
GREATER_EQUAL, EQUAL, UNEQUAL = codes.GREATER_EQUAL, codes.EQUAL, codes.UNEQUAL
AND, OR, NOT, IF = codes.AND, codes.OR, codes.NOT, codes.IF
EXP, LOG, LOG10, SQRT, ABS = codes.EXP, codes.LOG, codes.LOG10, codes.SQRT, codes.ABS
SIN, COS, TAN, TANH = codes.SIN, codes.COS, codes.TAN, codes.TANH
FLOOR, CEIL, MIN, MAX = codes.FLOOR, codes.CEIL, codes.MIN, codes.MAX
HILL, HILLR = codes.HILL, codes.HILLR
ASIN, ACOS, ATAN, SINH, COSH = codes.ASIN, codes.ACOS, codes.ATAN, codes.SINH, codes.COSH
ASINH, ACOSH, ATANH = codes.ASINH, codes.ACOSH, codes.ATANH
FACTORIAL, MRATIO = codes.FACTORIAL, codes.MRATIO

# Where Gamma(x + 1) is least among x > -1, and a little less than what it is there.
_LEAST_FACTORIAL_AT, _LEAST_FACTORIAL = 0.46163214496836236, 0.8856031944108880
_HALF_PI, _PI, _TWO_PI = 0.5 * math.pi, math.pi, 2.0 * math.pi
_SLACK = 1e-15  # of a library function's value, 4.5 units in its last place
_TINY = 1e-322


@inlined
def _below(value):
    return value if abs(value) == np.inf else value - (_SLACK * abs(value) + _TINY)


@inlined
def _above(value):
    return value if abs(value) == np.inf else value + (_SLACK * abs(value) + _TINY)


@inlined
def _is_negative(value):
    return math.copysign(1.0, value) < 0.0


@inlined
def _lower(x, y):
    # Of two zeros the negative one.
    return x if x < y or (x == y and _is_negative(x)) else y


@inlined
def _higher(x, y):
    return x if x > y or (x == y and not _is_negative(x)) else y


@inlined
def _is_point(low, high):
    return low == high and (low != 0.0 or _is_negative(low) == _is_negative(high))


@inlined
def _signed(low, high, is_positive):
    # Zeros of products and quotients are +0.0 only where both operands are positive throughout.
    if low == 0.0 and not is_positive:
        return -0.0, (high if high != 0.0 else 0.0)
    return low, high


@inlined
def _add(a, b, c, d):
    if (b == np.inf and c == -np.inf) or (a == -np.inf and d == np.inf):
        return np.nan, np.nan
    return a + c, b + d


@inlined
def _subtract(a, b, c, d):
    if (b == np.inf and d == np.inf) or (a == -np.inf and c == -np.inf):
        return np.nan, np.nan
    if _is_point(a, b) and _is_point(c, d):
        return a - c, b - d
    return _signed(a - d, b - c, not (a == 0.0 and _is_negative(a)))


@inlined
def _multiply(a, b, c, d):
    if _is_point(a, b) and _is_point(c, d):
        return a * c, a * c
    infinite_left = a == -np.inf or b == np.inf
    infinite_right = c == -np.inf or d == np.inf
    if (infinite_left and c <= 0.0 <= d) or (infinite_right and a <= 0.0 <= b):
        return np.nan, np.nan
    low = min(a * c, a * d, b * c, b * d)
    high = max(a * c, a * d, b * c, b * d)
    return _signed(low, high, not _is_negative(a) and not _is_negative(c))


@inlined
def _divide(a, b, c, d):
    if _is_point(a, b) and _is_point(c, d):
        return a / c, a / c
    if (a == -np.inf or b == np.inf) and (c == -np.inf or d == np.inf):
        return np.nan, np.nan
    if c <= 0.0 <= d:
        if a <= 0.0 <= b:
            return np.nan, np.nan
        if _is_negative(c):
            return -np.inf, np.inf
        if a > 0.0:
            return (a / d if d > 0.0 else np.inf), np.inf
        return -np.inf, (b / d if d > 0.0 else -np.inf)
    low = min(a / c, a / d, b / c, b / d)
    high = max(a / c, a / d, b / c, b / d)
    return _signed(low, high, not _is_negative(a) and c > 0.0)


@apart
def _power(a, b, c, d):
    if _is_point(a, b) and _is_point(c, d):
        return power(a, c), power(a, c)
    if c == d and abs(c) < np.inf and c == np.floor(c):
        return _whole_power(a, b, c)
    if a < 0.0:  # to a power that may be no whole number
        return np.nan, np.nan
    if _is_negative(a) and c < 0.0:  # (-0.0)^-1 is -inf
        return -np.inf, np.inf
    # exp(y log(x)) has its extremes in the corners, because y log(x) has.
    a = abs(a)
    low = min(power(a, c), power(a, d), power(b, c), power(b, d))
    high = max(power(a, c), power(a, d), power(b, c), power(b, d))
    # Products within the interval differ from the library's powers at its ends by up to 8e-16.
    return max(_below(_below(low)), 0.0), _above(_above(high))


@inlined
def _whole_power(a, b, n):
    if n == 0.0:
        return 1.0, 1.0
    if n % 2.0 == 0.0:
        least = 0.0 if a <= 0.0 <= b else min(abs(a), abs(b))
        most = max(abs(a), abs(b))
        if n > 0.0:
            return max(_below(power(least, n)), 0.0), _above(power(most, n))
        return max(_below(power(most, n)), 0.0), _above(power(least, n))
    if n > 0.0:
        low = -0.0 if _is_negative(a) and a == 0.0 else power(a, n)
        if a >= 0.0:
            return (low if low == 0.0 else max(_below(low), 0.0)), _above(power(b, n))
        return _below(low), _above(power(b, n))
    if a <= 0.0 <= b:
        if _is_negative(a):
            return -np.inf, np.inf
        return max(_below(power(b, n)), 0.0), np.inf
    if a > 0.0:
        return max(_below(power(b, n)), 0.0), _above(power(a, n))
    return _below(power(b, n)), min(_above(power(a, n)), 0.0)


@inlined
def _hill(a, b, c, d, e, f):
    """Enclose 1 / (1 + (y / x)^n) for x in [a, b], y in [c, d], n in [e, f]."""
    low, high = _divide(c, d, a, b)
    if not np.isnan(low):
        low, high = _power(low, high, e, f)
    if not np.isnan(low):
        low, high = _add(1.0, 1.0, low, high)
    if not np.isnan(low):
        low, high = _divide(1.0, 1.0, low, high)
    return low, high


@inlined
def _reaches(a, b, place, period):
    """Whether one of place, place + period, ... lies in [a, b], to within rounding."""
    slack = 4.0 * _SLACK * (1.0 + max(abs(a), abs(b)))
    return place + np.ceil((a - slack - place) / period) * period <= b + slack


@inlined
def _wave(at_a, at_b, a, b, peak):
    """Enclose a sine or cosine whose greatest value is at `peak`."""
    low = -1.0 if _reaches(a, b, peak - _PI, _TWO_PI) else max(_below(min(at_a, at_b)), -1.0)
    high = 1.0 if _reaches(a, b, peak, _TWO_PI) else min(_above(max(at_a, at_b)), 1.0)
    return low, high


@apart
def _function(code, a, b):
    """Enclose a function of one argument over [a, b]."""
    if code == NEGATE:
        return -b, -a
    if code == ABS:
        if a <= 0.0 <= b:
            return 0.0, max(-a, b)
        return min(abs(a), abs(b)), max(abs(a), abs(b))
    if code == FLOOR:
        return np.floor(a), np.floor(b)
    if code == CEIL:
        return np.ceil(a), np.ceil(b)
    if code == SQRT:
        if a < 0.0:
            return np.nan, np.nan
        return np.sqrt(a), np.sqrt(b)
    is_point = _is_point(a, b)
    if code == EXP:
        low, high = np.exp(a), np.exp(b)
        return (low, low) if is_point else (max(_below(low), 0.0), _above(high))
    if code in (LOG, LOG10):
        if a < 0.0:
            return np.nan, np.nan
        low, high = (np.log(a), np.log(b)) if code == LOG else (np.log10(a), np.log10(b))
        return (low, low) if is_point else (_below(low), _above(high))
    if code == TANH:
        low, high = np.tanh(a), np.tanh(b)
        if is_point:
            return low, low
        return max(_below(low), -1.0), min(_above(high), 1.0)
    if code >= ASIN:
        return _further_function(code, a, b, is_point)
    # Waves.
    if abs(a) == np.inf or abs(b) == np.inf:
        return np.nan, np.nan
    if code == SIN:
        low, high = np.sin(a), np.sin(b)
        return (low, low) if is_point else _wave(low, high, a, b, _HALF_PI)
    if code == COS:
        low, high = np.cos(a), np.cos(b)
        return (low, low) if is_point else _wave(low, high, a, b, 0.0)
    # TAN
    low, high = np.tan(a), np.tan(b)
    if is_point:
        return low, low
    if _reaches(a, b, _HALF_PI, _PI):
        return -np.inf, np.inf
    return _below(low), _above(high)


@apart
def _further_function(code, a, b, is_point):
    if (code in (ASIN, ACOS, ATANH) and (a < -1.0 or b > 1.0)) or (code == ACOSH and a < 1.0):
        return np.nan, np.nan
    if code == FACTORIAL:
        return _factorial(a, b, is_point)
    if code == COSH:
        at_a, at_b = np.cosh(a), np.cosh(b)
        if is_point:
            return at_a, at_a
        low = 1.0 if a <= 0.0 <= b else max(_below(min(at_a, at_b)), 1.0)
        return low, _above(max(at_a, at_b))
    if code == ASIN:
        low, high = np.arcsin(a), np.arcsin(b)
    elif code == ACOS:
        low, high = np.arccos(b), np.arccos(a)
    elif code == ATAN:
        low, high = np.arctan(a), np.arctan(b)
    elif code == SINH:
        low, high = np.sinh(a), np.sinh(b)
    elif code == ASINH:
        low, high = np.arcsinh(a), np.arcsinh(b)
    elif code == ACOSH:
        low, high = np.arccosh(a), np.arccosh(b)
    else:
        low, high = np.arctanh(a), np.arctanh(b)
    if is_point:
        return low, low
    # What is 0 there is so exactly, and keeps its sign.
    return (low if low == 0.0 else _below(low)), (high if high == 0.0 else _above(high))


@inlined
def _factorial(a, b, is_point):
    at_a, at_b = factorial(a), factorial(b)
    if is_point:
        return at_a, at_a
    if a < -1.0:
        # Between its poles, where it is nan, Gamma takes either sign.
        return np.nan, np.nan
    low, high = min(at_a, at_b), max(at_a, at_b)
    if a <= _LEAST_FACTORIAL_AT <= b:
        low = _LEAST_FACTORIAL
    # Library functions of this kind err by more.
    return low - 16.0 * _SLACK * low, (high + 16.0 * _SLACK * high if high < np.inf else high)


@inlined
def _truth(is_true, is_false):
    if is_true:
        return 1.0, 1.0
    return (0.0, 0.0) if is_false else (0.0, 1.0)


@apart
def _comparison(code, a, b, c, d):
    """Enclose a comparison or a logical operation; undecided is [0, 1]."""
    if code in (AND, OR):
        left, right = a > 0.0 or b < 0.0, c > 0.0 or d < 0.0
        no_left, no_right = a == 0.0 == b, c == 0.0 == d
        if code == AND:
            return _truth(left and right, no_left or no_right)
        return _truth(left or right, no_left and no_right)
    if np.isnan(a) or np.isnan(c):
        return 0.0, 1.0
    if code == LESS:
        return _truth(b < c, a >= d)
    if code == LESS_EQUAL:
        return _truth(b <= c, a > d)
    if code == GREATER:
        return _truth(a > d, b <= c)
    if code == GREATER_EQUAL:
        return _truth(a >= d, b < c)
    is_same, is_apart = a == b == c == d, b < c or d < a
    return _truth(is_same, is_apart) if code == EQUAL else _truth(is_apart, is_same)


@inlined
def _is_at_point(programs, p, low, high, t_low, t_high):
    for step in range(programs.start[p], programs.start[p + 1]):
        code, argument = programs.operation[step], programs.argument[step]
        if code == SPECIES and low[argument] != high[argument]:
            return False
        if code == TIME and t_low != t_high:
            return False
    return True


@apart
def program_range(programs, p, low, high, parameters, t_low, t_high, low_stack, high_stack):
    """Enclose the values of program `p` over a box of states and times.

    Parameters
    ----------
    programs, p
        As for `evaluate_program`.
    low, high
        (n_species,) float64, ends of the box; both may be the same array. A zero means +0.0.
    parameters
        (n_parameters,) float64.
    t_low, t_high
        Ends of the times.
    low_stack, high_stack
        Scratch, (depth,) float64 each, not one and the same.

    Returns
    -------
    lower, upper
        For a box in which all that the program reads is one point, both are what
        `evaluate_program` gives there. They are -inf and inf if the value may be nan.
    """
    if _is_at_point(programs, p, low, high, t_low, t_high):
        value = evaluate_program(programs, p, low, parameters, t_low, low_stack)
        return (-np.inf, np.inf) if np.isnan(value) else (value, value)
    top = -1
    for step in range(programs.start[p], programs.start[p + 1]):
        code, argument = programs.operation[step], programs.argument[step]
        if code <= TIME:
            top += 1
            if code == SPECIES:
                lower, upper = np.float64(low[argument]), np.float64(high[argument])
            elif code == PARAMETER:
                lower = upper = parameters[argument]
            elif code == CONSTANT:
                lower = upper = programs.constant[argument]
            else:
                lower, upper = t_low, t_high
        elif code == NOT:
            a, b = low_stack[top], high_stack[top]
            lower, upper = _truth(a == 0.0 == b, a > 0.0 or b < 0.0)
        elif code == NEGATE or EXP <= code <= CEIL or ASIN <= code <= FACTORIAL:
            lower, upper = low_stack[top], high_stack[top]
            if not np.isnan(lower):
                lower, upper = _function(code, lower, upper)
        elif code in (IF, HILL, HILLR, MRATIO):
            top -= 2
            a, b = low_stack[top], high_stack[top]
            c, d = low_stack[top + 1], high_stack[top + 1]
            e, f = low_stack[top + 2], high_stack[top + 2]
            if code == IF:
                if a > 0.0 or b < 0.0:
                    lower, upper = c, d
                elif a == 0.0 == b:
                    lower, upper = e, f
                elif np.isnan(c) or np.isnan(e):
                    lower = upper = np.nan
                else:
                    lower, upper = _lower(c, e), _higher(d, f)
            elif np.isnan(a) or np.isnan(c) or np.isnan(e):
                lower = upper = np.nan
            elif code == HILL:
                lower, upper = _hill(a, b, c, d, e, f)
            elif code == MRATIO:
                # It may have poles between any two points.
                is_point = _is_point(a, b) and _is_point(c, d) and _is_point(e, f)
                lower = upper = kummer_ratio(a, c, e) if is_point else np.nan
            else:
                lower, upper = _hill(c, d, a, b, e, f)
        else:
            top -= 1
            a, b = low_stack[top], high_stack[top]
            c, d = low_stack[top + 1], high_stack[top + 1]
            if LESS <= code <= OR:
                lower, upper = _comparison(code, a, b, c, d)
            elif np.isnan(a) or np.isnan(c):
                # Only x^0 is a number for every x, and 1^y for every y.
                is_one = code == POWER and (c == 0.0 == d or a == 1.0 == b)
                lower = upper = 1.0 if is_one else np.nan
            elif code == ADD:
                lower, upper = _add(a, b, c, d)
            elif code == SUBTRACT:
                lower, upper = _subtract(a, b, c, d)
            elif code == MULTIPLY:
                lower, upper = _multiply(a, b, c, d)
            elif code == DIVIDE:
                lower, upper = _divide(a, b, c, d)
            elif code == POWER:
                lower, upper = _power(a, b, c, d)
            elif code == MIN:
                lower, upper = _lower(a, c), _lower(b, d)
            else:
                lower, upper = _higher(a, c), _higher(b, d)
        low_stack[top], high_stack[top] = lower, upper
    lower, upper = low_stack[0], high_stack[0]
    if np.isnan(lower) or np.isnan(upper):
        return -np.inf, np.inf
    return lower, upper
