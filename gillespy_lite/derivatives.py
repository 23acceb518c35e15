"""Derivatives of expressions: one rule for each operation, and the only simplifications there are.

Numbers are folded with numbers, and ``0*x``, ``1*x``, ``x + 0`` and the like are left out.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import TypeAlias

import numpy as np

from .expressions import Call, Expression, Number, Symbol
from .operations import OPERATIONS

__all__ = ["SLOPES", "slope_of"]


def _is_number(expression: Expression, value: float) -> bool:
    return isinstance(expression, Number) and expression.value == value


def _is_zero(expression: Expression) -> bool:
    return isinstance(expression, Number) and expression.value == 0.0


def _fold_numbers(operation: str, a: Expression, b: Expression) -> Expression:
    if isinstance(a, Number) and isinstance(b, Number):
        with np.errstate(all="ignore"):
            value = float(OPERATIONS[operation].evaluate(a.value, b.value))
        if math.isfinite(value):
            return Number(value)
    return Call(operation, (a, b))


def _plus(a: Expression, b: Expression) -> Expression:
    if _is_zero(a):
        return b
    return a if _is_zero(b) else _fold_numbers("+", a, b)


def _minus(a: Expression, b: Expression) -> Expression:
    if _is_zero(b):
        return a
    return _negative(b) if _is_zero(a) else _fold_numbers("-", a, b)


def _negative(a: Expression) -> Expression:
    if isinstance(a, Call) and a.operation == "neg":
        return a.arguments[0]
    return -a


def _times(a: Expression, b: Expression) -> Expression:
    if _is_zero(a) or _is_number(b, 1.0):
        return a
    if _is_zero(b) or _is_number(a, 1.0):
        return b
    return _fold_numbers("*", a, b)


def _over(a: Expression, b: Expression) -> Expression:
    return a if _is_zero(a) or _is_number(b, 1.0) else _fold_numbers("/", a, b)


def _to_the(a: Expression, b: Expression) -> Expression:
    if _is_number(b, 1.0):
        return a
    return Number(1.0) if _is_zero(b) else _fold_numbers("^", a, b)


def _choose(condition: Expression, a: Expression, b: Expression) -> Expression:
    return a if a == b else Call("if", (condition, a, b))


Trees: TypeAlias = tuple[Expression, ...]
Slope: TypeAlias = Callable[[Trees, Trees], Expression]


def _slope_constant(u: Trees, du: Trees) -> Expression:
    return Number(0.0)


def _slope_quotient(u: Trees, du: Trees) -> Expression:
    change = _over(_times(u[0], du[1]), _to_the(u[1], Number(2.0)))
    return _minus(_over(du[0], u[1]), change)


def _slope_power(u: Trees, du: Trees) -> Expression:
    base, exponent = u
    by_base = _times(_times(exponent, _to_the(base, _minus(exponent, Number(1.0)))), du[0])
    if _is_zero(du[1]):
        return by_base
    # 0^n is 0 for every n > 0, so its slope in n is 0, where the formula says 0*log(0).
    growth = _choose(
        Call("==", (base, Number(0.0))),
        Number(0.0),
        _times(Call("^", (base, exponent)), Call("log", (base,))),
    )
    by_exponent = _times(growth, du[1])
    return by_exponent if _is_zero(du[0]) else _plus(by_base, by_exponent)


def _slope_hill(u: Trees, du: Trees) -> Expression:
    x, half, n = u
    # d/dx is n h (1 - h) / x, which at x = 0 is 0/0 with the limit n (x/K)^(|n| - 1) / K.
    both = _times(Call("hill", u), Call("hillr", u))
    power = Number(abs(n.value)) if isinstance(n, Number) else Call("abs", (n,))
    at_zero = _over(_times(n, _to_the(_over(x, half), _minus(power, Number(1.0)))), half)
    is_zero = Call("==", (x, Number(0.0)))
    by_x = _times(_choose(is_zero, at_zero, _over(_times(n, both), x)), du[0])
    by_half = _times(_over(_times(n, both), half), du[1])
    by_n = _times(
        _choose(is_zero, Number(0.0), _times(both, Call("log", (_over(x, half),)))), du[2]
    )
    return _plus(_minus(by_x, by_half if not _is_zero(du[1]) else Number(0.0)), by_n)


def _slope_by_differences(operation: str, u: Trees, which: int, step: Expression) -> Expression:
    """Return a slope by argument `which` from four values around it; no formula has fewer."""

    def at(steps: float) -> Expression:
        moved = Call("+", (u[which], _times(Number(steps), step)))
        return Call(operation, tuple(moved if i == which else one for i, one in enumerate(u)))

    inner, outer = at(1.0) - at(-1.0), at(2.0) - at(-2.0)
    return (8.0 * inner - outer) / _times(Number(12.0), step)


def _slope_factorial(u: Trees, du: Trees) -> Expression:
    step = Number(1e-3) * (Number(1.0) + Call("abs", u))
    return _times(_slope_by_differences("factorial", u, 0, step), du[0])


def _slope_mratio(u: Trees, du: Trees) -> Expression:
    a, b, z = u
    one, thousandth = Number(1.0), Number(1e-3)
    total: Expression = Number(0.0)
    if not _is_zero(du[0]):
        step = thousandth * (one + Call("abs", (a,)))
        total = _times(_slope_by_differences("mratio", u, 0, step), du[0])
    if not _is_zero(du[1]):
        step = thousandth * Call("abs", (b,))
        total = _plus(total, _times(_slope_by_differences("mratio", u, 1, step), du[1]))
    # From M'(a, b, z) = (a / b) M(a + 1, b + 1, z).
    here = Call("mratio", u)
    a_next, b_next = _plus(a, one), _plus(b, one)
    ahead = _times(_over(a_next, b_next), Call("mratio", (a_next, b_next, z)))
    by_z = here * (ahead - _times(_over(a, b), here))
    return _plus(total, _times(by_z, du[2]))


def _slope_abs(u: Trees, du: Trees) -> Expression:
    zero = Number(0.0)
    below = _choose(Call("<", (u[0], zero)), Number(-1.0), zero)
    return _times(_choose(Call(">", (u[0], zero)), Number(1.0), below), du[0])


# Operation -> rule: the slope of a call, from its arguments u and their slopes du.
SLOPES: Mapping[str, Slope] = {
    "+": lambda u, du: _plus(du[0], du[1]),
    "-": lambda u, du: _minus(du[0], du[1]),
    "*": lambda u, du: _plus(_times(du[0], u[1]), _times(u[0], du[1])),
    "/": _slope_quotient,
    "^": _slope_power,
    "neg": lambda u, du: _negative(du[0]),
    **dict.fromkeys(("<", "<=", ">", ">=", "==", "!=", "and", "or", "not"), _slope_constant),
    "exp": lambda u, du: _times(Call("exp", u), du[0]),
    "log": lambda u, du: _over(du[0], u[0]),
    "log10": lambda u, du: _over(du[0], _times(u[0], Number(math.log(10.0)))),
    "sqrt": lambda u, du: _over(du[0], _times(Number(2.0), Call("sqrt", u))),
    "abs": _slope_abs,
    "sin": lambda u, du: _times(Call("cos", u), du[0]),
    "cos": lambda u, du: _negative(_times(Call("sin", u), du[0])),
    "tan": lambda u, du: _times(Number(1.0) + Call("tan", u) ** 2, du[0]),
    "tanh": lambda u, du: _times(Number(1.0) - Call("tanh", u) ** 2, du[0]),
    "floor": _slope_constant,
    "ceil": _slope_constant,
    "min": lambda u, du: _choose(Call("<=", u), du[0], du[1]),
    "max": lambda u, du: _choose(Call(">=", u), du[0], du[1]),
    "if": lambda u, du: _choose(u[0], du[1], du[2]),
    "hill": _slope_hill,
    "hillr": lambda u, du: _negative(_slope_hill(u, du)),
    "asin": lambda u, du: _over(du[0], Call("sqrt", ((1.0 - u[0]) * (1.0 + u[0]),))),
    "acos": lambda u, du: _negative(_over(du[0], Call("sqrt", ((1.0 - u[0]) * (1.0 + u[0]),)))),
    "atan": lambda u, du: _over(du[0], 1.0 + u[0] ** 2),
    "sinh": lambda u, du: _times(Call("cosh", u), du[0]),
    "cosh": lambda u, du: _times(Call("sinh", u), du[0]),
    "asinh": lambda u, du: _over(du[0], Call("sqrt", (1.0 + u[0] ** 2,))),
    "acosh": lambda u, du: _over(du[0], Call("sqrt", (u[0] - 1.0,)) * Call("sqrt", (u[0] + 1.0,))),
    "atanh": lambda u, du: _over(du[0], (1.0 - u[0]) * (1.0 + u[0])),
    "factorial": _slope_factorial,
    "mratio": _slope_mratio,
}


def slope_of(expression: Expression, name: str) -> Expression:
    """Differentiate; what `Expression.derivative` returns."""
    one, zero = Number(1.0), Number(0.0)

    def leaf(node: Expression) -> Expression:
        return one if isinstance(node, Symbol) and node.name == name else zero

    def combine(node: Call, slopes: list[Expression]) -> Expression:
        if all(_is_zero(slope) for slope in slopes):
            return zero
        return SLOPES[node.operation](node.arguments, tuple(slopes))

    return expression.fold(leaf, combine)
