"""Expressions as text of the language and as LaTeX."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TypeAlias

from .expressions import Call, Expression, Number, Symbol
from .operations import (
    ATOM,
    COMPARISON,
    FUNCTION_LIKE,
    NOT,
    OPERATIONS,
    POWER,
    PRODUCT,
    SIGN,
)

__all__ = ["latex_name", "latex_of", "nesting_of", "number_text", "text_of"]

# A node is laid out as pieces: strings, and nodes that are to be laid out in their turn.
Piece: TypeAlias = str | Expression


def _written(expression: Expression, layout: Callable[[Expression], list[Piece]]) -> str:
    written: list[str] = []
    waiting: list[Piece] = [expression]
    while waiting:
        piece = waiting.pop()
        if isinstance(piece, str):
            written.append(piece)
        else:
            waiting.extend(reversed(layout(piece)))
    return "".join(written)


def number_text(value: float) -> str:
    """Return the shortest text that reads back as exactly `value`: ``301``, ``1e-5``, ``0.1``."""
    if value.is_integer() and abs(value) < 1e16:
        return str(int(value))
    mantissa, _, exponent = repr(value).partition("e")
    return f"{mantissa}e{int(exponent)}" if exponent else mantissa


def _precedence(node: Expression) -> int:
    if isinstance(node, Call):
        return OPERATIONS[node.operation].precedence
    return SIGN if isinstance(node, Number) and node.value < 0.0 else ATOM


def _bracketed(node: Expression, loosest: int) -> list[Piece]:
    """Return the node, in brackets if it binds more loosely than `loosest`."""
    return [node] if _precedence(node) >= loosest else ["(", node, ")"]


def _infix(node: Call, operator: str) -> list[Piece]:
    left, right = node.arguments
    own = OPERATIONS[node.operation].precedence
    if node.operation == "^":  # groups to the right, and 2^-x needs no brackets
        return [*_bracketed(left, ATOM), operator, *_bracketed(right, SIGN)]
    # Everything else groups to the left; comparisons do not group at all.
    return [
        *_bracketed(left, own + (own == COMPARISON)),
        operator,
        *_bracketed(right, own + 1),
    ]


def _chain(node: Call) -> list[Expression]:
    """Return min(min(a, b), c) as a, b, c and if(p, a, if(q, b, c)) as p, a, q, b, c."""
    parts: list[Expression] = []
    rest: Expression = node
    if node.operation == "if":
        while isinstance(rest, Call) and rest.operation == "if":
            parts += rest.arguments[:2]
            rest = rest.arguments[2]
        return [*parts, rest]
    while isinstance(rest, Call) and rest.operation == node.operation:
        parts.append(rest.arguments[1])
        rest = rest.arguments[0]
    return [rest, *reversed(parts)]


def _listed(name: str, arguments: Sequence[Expression]) -> list[Piece]:
    pieces: list[Piece] = [f"{name}("]
    for index, argument in enumerate(arguments):
        pieces += [", ", argument] if index else [argument]
    return [*pieces, ")"]


def _text_layout(node: Expression) -> list[Piece]:
    if isinstance(node, Number):
        return [number_text(node.value)]
    if isinstance(node, Symbol):
        return [node.name]
    assert isinstance(node, Call)
    operation = node.operation
    if operation == "neg":
        inner = node.arguments[0]
        # -3 is read as the number -3, so the negation of the number 3 keeps its brackets.
        if isinstance(inner, Number) and inner.value >= 0.0:
            return ["-", "(", inner, ")"]
        return ["-", *_bracketed(inner, SIGN)]
    if operation == "not":
        return ["not ", *_bracketed(node.arguments[0], NOT)]
    if operation in ("*", "/", "^"):
        return _infix(node, operation)
    if operation not in FUNCTION_LIKE:
        return _infix(node, f" {operation} ")
    if operation == "if":
        chain = _chain(node)
        if len(chain) == 3:
            return _listed("if", chain)
        # Without piecewise a long list of cases would be nested beyond what the parser allows.
        for first in range(0, len(chain) - 1, 2):
            chain[first], chain[first + 1] = chain[first + 1], chain[first]
        return _listed("piecewise", chain)
    if operation in ("min", "max"):
        return _listed(operation, _chain(node))
    return _listed(operation, node.arguments)


def _latex_number(value: float) -> str:
    mantissa, _, exponent = number_text(value).partition("e")
    if not exponent:
        return mantissa
    power = f"10^{{{exponent}}}"
    return power if mantissa == "1" else rf"{mantissa} \times {power}"


def latex_name(name: str) -> str:
    """Return a name for math mode: one letter as it is, longer names upright and escaped."""
    escaped = name.replace("_", r"\_")
    return escaped if len(name) == 1 and name != "_" else rf"\mathrm{{{escaped}}}"


def _latex_bracketed(node: Expression, loosest: int) -> list[Piece]:
    precedence = _precedence(node)
    if isinstance(node, Number) and "e" in number_text(node.value):  # 10^{5} or 2 \times 10^{5}
        precedence = POWER if r"\times" not in _latex_number(node.value) else PRODUCT
    elif isinstance(node, Call) and node.operation in ("/", "hill", "hillr", "factorial"):
        precedence = SIGN  # a bar groups what is over and under it, but carries no exponent
    return [node] if precedence >= loosest else [r"\left(", node, r"\right)"]


def _latex_layout(node: Expression, names: Mapping[str, str]) -> list[Piece]:
    if isinstance(node, Number):
        return [_latex_number(node.value)]
    if isinstance(node, Symbol):
        if node.name == "pi" and "pi" not in names:
            return [r"\pi"]
        return [names.get(node.name, latex_name(node.name))]
    assert isinstance(node, Call)
    operation, u = node.operation, node.arguments
    command = OPERATIONS[operation].latex
    if operation == "neg":
        return ["-", *_latex_bracketed(u[0], SIGN)]
    if operation == "not":
        return [rf"{command} ", *_latex_bracketed(u[0], NOT)]
    if operation == "/":
        return [r"\frac{", u[0], "}{", u[1], "}"]
    if operation == "^":
        return [*_latex_bracketed(u[0], ATOM), "^{", u[1], "}"]
    if operation == "*":
        first = u[1]
        while isinstance(first, Call) and first.operation in ("*", "^"):
            first = first.arguments[0]
        sign = r"\cdot" if isinstance(first, Number) else command
        return [*_latex_bracketed(u[0], PRODUCT), f" {sign} ", *_latex_bracketed(u[1], PRODUCT + 1)]
    if operation not in FUNCTION_LIKE:
        own = OPERATIONS[operation].precedence
        return [
            *_latex_bracketed(u[0], own + (own == COMPARISON)),
            f" {command} ",
            *_latex_bracketed(u[1], own + 1),
        ]
    if operation in ("hill", "hillr"):
        x, half, n = u
        rising = [*_latex_bracketed(x, ATOM), "^{", n, "}"]
        falling = [*_latex_bracketed(half, ATOM), "^{", n, "}"]
        above = rising if operation == "hill" else falling
        return [r"\frac{", *above, "}{", *falling, " + ", *rising, "}"]
    if operation == "if":
        chain, pieces = _chain(node), list[Piece]([r"\begin{cases} "])
        for first_of_pair in range(0, len(chain) - 1, 2):
            condition, value = chain[first_of_pair : first_of_pair + 2]
            pieces += [value, r" & \text{if } ", condition, r" \\ "]
        return [*pieces, chain[-1], r" & \text{otherwise} \end{cases}"]
    if operation == "sqrt":
        return [r"\sqrt{", u[0], "}"]
    if operation == "factorial":
        return [*_latex_bracketed(u[0], ATOM), "!"]
    closing = {"abs": r"\rvert", "floor": r"\rfloor", "ceil": r"\rceil"}.get(operation)
    if closing:
        return [rf"\left{command} ", u[0], rf" \right{closing}"]
    pieces = [rf"{command}\left("]
    for index, argument in enumerate(_chain(node) if operation in ("min", "max") else u):
        pieces += [", ", argument] if index else [argument]
    return [*pieces, r"\right)"]


# ---- What `Expression` calls ------------------------------------------------------------------


def text_of(expression: Expression) -> str:
    """Return the text of the language, with the fewest brackets that keep the tree."""
    return _written(expression, _text_layout)


def latex_of(expression: Expression, names: Mapping[str, str]) -> str:
    """Return LaTeX for math mode, where `names` holds the LaTeX of some names."""
    return _written(expression, lambda node: _latex_layout(node, names))


def nesting_of(expression: Expression) -> int:
    """Return how deep brackets, signs and exponents nest in the text."""
    deepest = 0
    waiting: list[tuple[Expression, int]] = [(expression, 0)]
    while waiting:
        node, depth = waiting.pop()
        deepest = max(deepest, depth)
        if not isinstance(node, Call):
            continue
        operation = node.operation
        # What stands in a function's brackets or in the reach of a sign or exponent is one deeper.
        inside = operation in FUNCTION_LIKE or operation in ("neg", "not")
        open_brackets = 0
        for piece in _text_layout(node):
            if isinstance(piece, str):
                open_brackets += (piece == "(") - (piece == ")")
            else:
                is_exponent = operation == "^" and piece is node.arguments[1]
                waiting.append((piece, depth + open_brackets + (inside or is_exponent)))
    return deepest
