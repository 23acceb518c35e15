"""The operations of rate laws: what each computes, how tightly it binds, how LaTeX prints it.

Their derivatives, which are expressions, stand in `derivatives`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np

__all__ = [
    "AND",
    "ATOM",
    "COMPARISON",
    "CONDITIONS",
    "FUNCTION_LIKE",
    "NOT",
    "OPERATIONS",
    "OR",
    "POWER",
    "PRODUCT",
    "SIGN",
    "SUM",
    "Operation",
]


class Operation(NamedTuple):
    """What one operation computes and how it is printed."""

    arity: int  # number of arguments in the tree
    evaluate: Callable[..., Any]  # of NumPy values; IEEE results
    precedence: int  # how tightly it binds in text; ATOM for what is written f(x)
    latex: str  # operator between the arguments, or command before the bracket


# How tightly things bind in text, loosest first. A negative number binds like a sign.
OR, AND, NOT, COMPARISON, SUM, PRODUCT, SIGN, POWER, ATOM = range(1, 10)


def _hill(x: Any, half: Any, n: Any) -> Any:
    # x^n / (K^n + x^n) with both sides divided by x^n: no power can overflow to inf/inf.
    return np.divide(1.0, np.add(1.0, np.power(np.divide(half, x), n)))


def _hillr(x: Any, half: Any, n: Any) -> Any:
    return np.divide(1.0, np.add(1.0, np.power(np.divide(x, half), n)))


def _gamma(y: float) -> float:
    if not y > -math.inf or (y < 0.0 and y == math.floor(y)):
        return math.nan
    # Where doubles end.
    return math.gamma(y) if y != 0.0 and y < 171.6243769563027 else math.inf


_gamma_of_all = np.vectorize(_gamma, otypes=[np.float64])


def _factorial(x: Any) -> Any:
    return _gamma_of_all(np.add(x, 1.0))[()]


def _mratio(a: Any, b: Any, z: Any) -> Any:
    # M(a + 1, b + 1, z) / M(a, b, z) of Kummer's function, by its continued fraction (NIST Digital
    # Library of Mathematical Functions, 13.5.1) from the last term to the first. After `n_terms`
    # the terms are below 1/16 and shrink.
    a, b, z = np.broadcast_arrays(*(np.asarray(one, dtype=np.float64) for one in (a, b, z)))
    size = np.maximum(abs(z), np.sqrt(abs(z) * (abs(a) + abs(b))))
    n_terms = 16.0 + np.floor(np.maximum(0.0, 2.0 * size - 0.5 * b))
    is_pole = (b <= 0.0) & (b == np.floor(b))
    is_known = (n_terms < 1e6) & ~is_pole & (abs(b) < np.inf)
    fraction = np.where(is_known, 1.0, np.nan)
    for n in range(int(np.max(n_terms, initial=0.0, where=is_known)), 0, -1):
        even = (a + n) * z / ((b + (2.0 * n - 1.0)) * (b + 2.0 * n))
        odd = (a - b - (n - 1.0)) * z / ((b + (2.0 * n - 2.0)) * (b + (2.0 * n - 1.0)))
        fraction = np.where(n <= n_terms, 1.0 + odd / (1.0 + even / fraction), fraction)
    return (1.0 / fraction)[()]


def _if(condition: Any, a: Any, b: Any) -> Any:
    return np.where(np.not_equal(condition, 0.0), a, b)


def _truth(function: Callable[..., Any]) -> Callable[..., Any]:
    return lambda *arguments: np.multiply(function(*arguments), 1.0)


OPERATIONS: Mapping[str, Operation] = {
    "+": Operation(2, np.add, SUM, "+"),
    "-": Operation(2, np.subtract, SUM, "-"),
    "*": Operation(2, np.multiply, PRODUCT, r"\,"),
    "/": Operation(2, np.divide, PRODUCT, r"\frac"),
    "^": Operation(2, np.power, POWER, "^"),
    "neg": Operation(1, np.negative, SIGN, "-"),
    "<": Operation(2, _truth(np.less), COMPARISON, "<"),
    "<=": Operation(2, _truth(np.less_equal), COMPARISON, r"\le"),
    ">": Operation(2, _truth(np.greater), COMPARISON, ">"),
    ">=": Operation(2, _truth(np.greater_equal), COMPARISON, r"\ge"),
    "==": Operation(2, _truth(np.equal), COMPARISON, "="),
    "!=": Operation(2, _truth(np.not_equal), COMPARISON, r"\ne"),
    "and": Operation(2, _truth(np.logical_and), AND, r"\land"),
    "or": Operation(2, _truth(np.logical_or), OR, r"\lor"),
    "not": Operation(1, _truth(np.logical_not), NOT, r"\lnot"),
    "exp": Operation(1, np.exp, ATOM, r"\exp"),
    "log": Operation(1, np.log, ATOM, r"\ln"),
    "log10": Operation(1, np.log10, ATOM, r"\log_{10}"),
    "sqrt": Operation(1, np.sqrt, ATOM, r"\sqrt"),
    "abs": Operation(1, np.absolute, ATOM, r"\lvert"),
    "sin": Operation(1, np.sin, ATOM, r"\sin"),
    "cos": Operation(1, np.cos, ATOM, r"\cos"),
    "tan": Operation(1, np.tan, ATOM, r"\tan"),
    "tanh": Operation(1, np.tanh, ATOM, r"\tanh"),
    "floor": Operation(1, np.floor, ATOM, r"\lfloor"),
    "ceil": Operation(1, np.ceil, ATOM, r"\lceil"),
    "min": Operation(2, np.minimum, ATOM, r"\min"),
    "max": Operation(2, np.maximum, ATOM, r"\max"),
    "if": Operation(3, _if, ATOM, "cases"),
    "hill": Operation(3, _hill, ATOM, "hill"),
    "hillr": Operation(3, _hillr, ATOM, "hillr"),
    "asin": Operation(1, np.arcsin, ATOM, r"\arcsin"),
    "acos": Operation(1, np.arccos, ATOM, r"\arccos"),
    "atan": Operation(1, np.arctan, ATOM, r"\arctan"),
    "sinh": Operation(1, np.sinh, ATOM, r"\sinh"),
    "cosh": Operation(1, np.cosh, ATOM, r"\cosh"),
    "asinh": Operation(1, np.arcsinh, ATOM, r"\operatorname{arsinh}"),
    "acosh": Operation(1, np.arccosh, ATOM, r"\operatorname{arcosh}"),
    "atanh": Operation(1, np.arctanh, ATOM, r"\operatorname{artanh}"),
    "factorial": Operation(1, _factorial, ATOM, "!"),
    "mratio": Operation(3, _mratio, ATOM, r"\operatorname{mratio}"),
}

# What is true or false: the operations that a trigger or a condition of a run may begin with.
CONDITIONS = frozenset({"<", "<=", ">", ">=", "==", "!=", "and", "or", "not"})

# What is written f(x).
FUNCTION_LIKE = frozenset(name for name, known in OPERATIONS.items() if known.precedence == ATOM)
