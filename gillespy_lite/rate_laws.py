"""Rate laws: the functions they are written with, in text and in Python.

This is also where other modules find everything about expressions: their trees and operators are
in `expressions`, what each operation computes in `operations`, the rules for names in `names`.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import NamedTuple

from .errors import NetworkError
from .expression_display import latex_name, number_text
from .expressions import (
    MAX_NESTING,
    MAX_NODES,
    TIME,
    Call,
    Expression,
    Number,
    Operand,
    Symbol,
    as_expression,
)
from .names import (
    CONSTANTS,
    MAX_NAME_LENGTH,
    RESERVED,
    checked_name,
    did_you_mean,
    name_problem,
    normal_name,
    shown,
)
from .operations import (
    AND,
    ATOM,
    COMPARISON,
    NOT,
    OPERATIONS,
    OR,
    POWER,
    PRODUCT,
    SIGN,
    SUM,
    Operation,
)

__all__ = [
    "AND",
    "ATOM",
    "COMPARISON",
    "CONSTANTS",
    "FUNCTIONS",
    "MAX_NAME_LENGTH",
    "MAX_NESTING",
    "MAX_NODES",
    "NOT",
    "OPERATIONS",
    "OR",
    "POWER",
    "PRODUCT",
    "RESERVED",
    "SIGN",
    "SUM",
    "TIME",
    "Call",
    "Expression",
    "Function",
    "Number",
    "Operand",
    "Operation",
    "Symbol",
    "acos",
    "acosh",
    "as_expression",
    "asin",
    "asinh",
    "atan",
    "atanh",
    "ceil",
    "checked_name",
    "cos",
    "cosh",
    "did_you_mean",
    "equal",
    "exp",
    "factorial",
    "floor",
    "hill",
    "hillr",
    "if_",
    "latex_name",
    "log",
    "log10",
    "maximum",
    "minimum",
    "mratio",
    "name_problem",
    "normal_name",
    "number_text",
    "piecewise",
    "shown",
    "sin",
    "sinh",
    "sqrt",
    "t",
    "tan",
    "tanh",
    "unequal",
]

t = TIME


def exp(x: Operand | float) -> Expression:
    """Return e to the power `x`."""
    return Call("exp", (x,))


def log(x: Operand | float) -> Expression:
    """Return the natural logarithm of `x`."""
    return Call("log", (x,))


def log10(x: Operand | float) -> Expression:
    """Return the decimal logarithm of `x`."""
    return Call("log10", (x,))


def sqrt(x: Operand | float) -> Expression:
    """Return the square root of `x`."""
    return Call("sqrt", (x,))


def sin(x: Operand | float) -> Expression:
    """Return the sine of `x` radians."""
    return Call("sin", (x,))


def cos(x: Operand | float) -> Expression:
    """Return the cosine of `x` radians."""
    return Call("cos", (x,))


def tan(x: Operand | float) -> Expression:
    """Return the tangent of `x` radians."""
    return Call("tan", (x,))


def tanh(x: Operand | float) -> Expression:
    """Return the hyperbolic tangent of `x`."""
    return Call("tanh", (x,))


def floor(x: Operand | float) -> Expression:
    """Return the largest whole number that is not above `x`."""
    return Call("floor", (x,))


def ceil(x: Operand | float) -> Expression:
    """Return the smallest whole number that is not below `x`."""
    return Call("ceil", (x,))


def equal(a: Operand | float, b: Operand | float) -> Expression:
    """Return the comparison ``a == b``: 1 where the values are equal, else 0."""
    return Call("==", (a, b))


def unequal(a: Operand | float, b: Operand | float) -> Expression:
    """Return the comparison ``a != b``: 1 where the values differ, else 0."""
    return Call("!=", (a, b))


def if_(condition: Operand | float, a: Operand | float, b: Operand | float) -> Expression:
    """Return `a` where the condition holds (is not 0), else `b`."""
    return Call("if", (condition, a, b))


def hill(x: Operand | float, half: Operand | float, n: Operand | float) -> Expression:
    """Return the rising Hill function ``x^n / (half^n + x^n)``, without overflow."""
    return Call("hill", (x, half, n))


def hillr(x: Operand | float, half: Operand | float, n: Operand | float) -> Expression:
    """Return the falling Hill function ``half^n / (half^n + x^n)``, without overflow."""
    return Call("hillr", (x, half, n))


def asin(x: Operand | float) -> Expression:
    """Return the angle in radians whose sine is `x`, from -pi/2 to pi/2."""
    return Call("asin", (x,))


def acos(x: Operand | float) -> Expression:
    """Return the angle in radians whose cosine is `x`, from 0 to pi."""
    return Call("acos", (x,))


def atan(x: Operand | float) -> Expression:
    """Return the angle in radians whose tangent is `x`, from -pi/2 to pi/2."""
    return Call("atan", (x,))


def sinh(x: Operand | float) -> Expression:
    """Return the hyperbolic sine of `x`."""
    return Call("sinh", (x,))


def cosh(x: Operand | float) -> Expression:
    """Return the hyperbolic cosine of `x`."""
    return Call("cosh", (x,))


def asinh(x: Operand | float) -> Expression:
    """Return the inverse hyperbolic sine of `x`."""
    return Call("asinh", (x,))


def acosh(x: Operand | float) -> Expression:
    """Return the inverse hyperbolic cosine of `x`, at least 0."""
    return Call("acosh", (x,))


def atanh(x: Operand | float) -> Expression:
    """Return the inverse hyperbolic tangent of `x`."""
    return Call("atanh", (x,))


def factorial(x: Operand | float) -> Expression:
    """Return the factorial of `x`, which is Gamma(x + 1) where `x` is no whole number."""
    return Call("factorial", (x,))


def mratio(a: Operand | float, b: Operand | float, z: Operand | float) -> Expression:
    """Return ``M(a + 1, b + 1, z) / M(a, b, z)`` of Kummer's function M, written 1F1 as well.

    It is nan where M has a pole: `b` a whole number up to 0.
    """
    return Call("mratio", (a, b, z))


def _fold_left(operation: str, values: tuple[Operand | float, ...]) -> Expression:
    if len(values) < 2:
        raise NetworkError(f"{operation} takes two or more arguments, not {len(values)}")
    return functools.reduce(
        lambda a, b: Call(operation, (a, b)), values[1:], as_expression(values[0])
    )


def minimum(*values: Operand | float) -> Expression:
    """Return the smallest of two or more values."""
    return _fold_left("min", values)


def maximum(*values: Operand | float) -> Expression:
    """Return the largest of two or more values."""
    return _fold_left("max", values)


def piecewise(*values: Operand | float) -> Expression:
    """Return the first value whose condition holds.

    Parameters
    ----------
    *values : Operand or float
        ``value1, condition1, value2, condition2, ..., otherwise``: an odd number, at least 3.

    Returns
    -------
    Expression
        Nested choices ``if(condition1, value1, if(condition2, value2, ...))``.

    Raises
    ------
    NetworkError
        If the number of values is even, so that the last one is missing.
    """
    if len(values) < 3 or len(values) % 2 == 0:
        raise NetworkError(
            "piecewise takes value1, condition1, value2, condition2, ..., otherwise: an odd "
            f"number of arguments, at least 3, not {len(values)}"
        )
    result = as_expression(values[-1])
    for index in range(len(values) - 3, -1, -2):
        result = Call("if", (values[index + 1], values[index], result))
    return result


class Function(NamedTuple):
    """A function as it is called in text."""

    signature: str  # for messages
    fewest: int  # arguments
    most: int | None  # arguments; None: any number
    build: Callable[..., Expression]


def _plain(operation: str, signature: str) -> Function:
    arity = OPERATIONS[operation].arity
    return Function(signature, arity, arity, lambda *values: Call(operation, values))


FUNCTIONS: Mapping[str, Function] = {
    **{
        name: _plain(name, f"{name}(x)")
        for name in (
            *("exp", "log", "log10", "sqrt", "abs"),
            *("sin", "cos", "tan", "tanh", "floor", "ceil"),
            *("asin", "acos", "atan", "sinh", "cosh", "asinh", "acosh", "atanh", "factorial"),
        )
    },
    "min": Function("min(a, b, ...)", 2, None, minimum),
    "max": Function("max(a, b, ...)", 2, None, maximum),
    "pow": Function("pow(x, y)", 2, 2, lambda x, y: Call("^", (x, y))),
    "hill": _plain("hill", "hill(x, K, n)"),
    "hillr": _plain("hillr", "hillr(x, K, n)"),
    "mratio": _plain("mratio", "mratio(a, b, z)"),
    "if": _plain("if", "if(condition, a, b)"),
    "piecewise": Function(
        "piecewise(value1, condition1, value2, condition2, ..., otherwise)", 3, None, piecewise
    ),
}
