"""Expressions as SymPy ones; SymPy is an optional dependency."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

from .errors import MissingExtraError
from .expressions import Call, Expression, Number, Symbol

__all__ = ["sympy_of"]


def sympy_of(expression: Expression) -> Any:
    """Convert; what `Expression.to_sympy` returns."""
    try:
        sympy = importlib.import_module("sympy")
    except ImportError:
        raise MissingExtraError(
            "to_sympy needs SymPy; install it with: pip install 'gillespy_lite[sympy]'"
        ) from None

    def is_truth(value: Any) -> bool:
        # A sympy.Symbol is both; here it stands for a number.
        return isinstance(value, sympy.logic.boolalg.Boolean) and not isinstance(value, sympy.Expr)

    def number(value: Any) -> Any:
        if isinstance(value, list):  # the terms of a sum, joined once: adding one by one is slow
            return sympy.Add(*value)
        return sympy.Piecewise((1, value), (0, True)) if is_truth(value) else value

    def truth(value: Any) -> Any:
        return value if is_truth(value) else sympy.Ne(number(value), 0)

    def hill_of(x: Any, half: Any, n: Any) -> Any:
        return x**n / (half**n + x**n)

    direct: dict[str, Callable[..., Any]] = {
        "-": lambda a, b: a - b,
        "*": lambda a, b: a * b,
        "/": lambda a, b: a / b,
        "^": lambda a, b: a**b,
        "neg": lambda a: -a,
        "<": sympy.Lt,
        "<=": sympy.Le,
        ">": sympy.Gt,
        ">=": sympy.Ge,
        "==": sympy.Eq,
        "!=": sympy.Ne,
        "exp": sympy.exp,
        "log": sympy.log,
        "log10": lambda a: sympy.log(a, 10),
        "sqrt": sympy.sqrt,
        "abs": sympy.Abs,
        "sin": sympy.sin,
        "cos": sympy.cos,
        "tan": sympy.tan,
        "tanh": sympy.tanh,
        "floor": sympy.floor,
        "ceil": sympy.ceiling,
        "min": sympy.Min,
        "max": sympy.Max,
        "hill": hill_of,
        "hillr": lambda x, half, n: hill_of(half, x, n),
        "asin": sympy.asin,
        "acos": sympy.acos,
        "atan": sympy.atan,
        "sinh": sympy.sinh,
        "cosh": sympy.cosh,
        "asinh": sympy.asinh,
        "acosh": sympy.acosh,
        "atanh": sympy.atanh,
        "factorial": sympy.factorial,
        "mratio": lambda a, b, z: sympy.hyper([a + 1], [b + 1], z) / sympy.hyper([a], [b], z),
    }

    def leaf(node: Expression) -> Any:
        if isinstance(node, Number):
            is_whole = node.value.is_integer() and abs(node.value) < 2.0**53
            return sympy.Integer(int(node.value)) if is_whole else sympy.Float(node.value)
        assert isinstance(node, Symbol)
        return sympy.Symbol(node.name)

    def combine(node: Call, u: list[Any]) -> Any:
        if node.operation == "+":
            terms = u[0] if isinstance(u[0], list) else [number(u[0])]
            terms.append(number(u[1]))
            return terms
        if node.operation == "and":
            return sympy.And(truth(u[0]), truth(u[1]))
        if node.operation == "or":
            return sympy.Or(truth(u[0]), truth(u[1]))
        if node.operation == "not":
            return sympy.Not(truth(u[0]))
        if node.operation == "if":
            return sympy.Piecewise((number(u[1]), truth(u[0])), (number(u[2]), True))
        return direct[node.operation](*map(number, u))

    return number(expression.fold(leaf, combine))
