"""Laws that are a difference: which are the net rate of two reactions, and what the two are.

A stochastic simulation takes a law as the propensity as it stands, and a propensity cannot be
negative. The law ``kf*A - kr*B`` of ``A -> B`` is meant as two reactions. The law
``k*(100 - A)`` of a reaction that makes A from nothing may be meant as it stands, with 100 - A what
is left of something else; split, it would have the same mean and another variance. So a law is
split only if it behaves like a net rate: the positive part stops without the reactants, the
negative part stops without the products.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence, Set
from typing import NamedTuple

from ..expressions import Call, Expression, Number, Symbol

__all__ = ["Law", "cannot_be_negative", "mass_action_constant", "split_rate"]

MAX_TERMS = 64  # of a law that is multiplied out
_SAMPLES = 5  # points at which it is tried whether a part stops


class Law(NamedTuple):
    """What is known of the names in the law of a reaction."""

    counts: Set[str]  # species, whole numbers that are never negative
    positive: Set[str]  # other quantities that are never negative
    taken: Mapping[str, int]  # molecules of each species that the reaction takes


def cannot_be_negative(expression: Expression, law: Law) -> bool:
    """Whether an expression is provably 0 or more in every state in which it matters."""

    def leaf(node: Expression) -> bool:
        if isinstance(node, Number):
            return node.value >= 0.0
        assert isinstance(node, Symbol)
        return node.name in law.counts or node.name in law.positive or node.name in ("t", "e", "pi")

    def combine(node: Call, known: list[bool]) -> bool:
        operation = node.operation
        if operation == "*":
            return all(known) or _falls(node, law)
        if operation == "-":
            return _falls(node, law)
        if operation == "^":
            exponent = node.arguments[1]
            is_even = isinstance(exponent, Number) and exponent.value % 2.0 == 0.0
            return known[0] or is_even
        if operation == "if":
            return known[1] and known[2]
        if operation == "max":
            return any(known)
        if operation in ("+", "/", "min", "hill", "hillr", "floor", "tanh", "asinh"):
            return all(known)
        return operation in _NEVER_NEGATIVE

    return expression.fold(leaf, combine)


_NEVER_NEGATIVE = frozenset(
    [
        *("exp", "sqrt", "abs", "cosh", "factorial", "acos"),
        *("<", "<=", ">", ">=", "==", "!=", "and", "or", "not"),
    ]
)


def _step_down(node: Expression) -> tuple[str, float] | None:
    """Return X and n of a factor X - n."""
    if isinstance(node, Symbol):
        return node.name, 0.0
    if isinstance(node, Call) and node.operation == "-":
        symbol, number = node.arguments
        if isinstance(symbol, Symbol) and isinstance(number, Number):
            return symbol.name, number.value
    return None


def _falls(node: Call, law: Law) -> bool:
    """Whether a product is nonnegative factors times falling powers such as X*(X - 1)."""
    factors, _ = _factors(node)
    steps: dict[str, set[float]] = {}
    for factor in factors:
        step = _step_down(factor)
        if step is not None and step[0] in law.counts:
            steps.setdefault(step[0], set()).add(step[1])
            continue
        is_difference = isinstance(factor, Call) and factor.operation in ("*", "-")
        if is_difference or not cannot_be_negative(factor, law):
            return False
    # X - n with whole X is 0 or more if X takes the values 0, ..., n - 1 away by other factors, or
    # if there are always more molecules, because the reaction takes them.
    for name, below in steps.items():
        for step_size in below:
            missing = {float(i) for i in range(min(int(step_size), 1000))} - below
            if step_size < 0.0 or not step_size.is_integer() or step_size > 1000.0:
                return False
            if missing and law.taken.get(name, 0) < step_size:
                return False
    return True


def _factors(expression: Expression) -> tuple[list[Expression], list[Expression]]:
    """Return what is multiplied and what it is divided by."""
    above: list[Expression] = []
    below: list[Expression] = []
    waiting: list[tuple[Expression, bool]] = [(expression, True)]
    while waiting:
        node, is_above = waiting.pop()
        if isinstance(node, Call) and node.operation in ("*", "/"):
            left, right = node.arguments
            is_product = node.operation == "*"
            waiting += [(right, is_above == is_product), (left, is_above)]
        else:
            (above if is_above else below).append(node)
    return above, below


def mass_action_constant(expression: Expression, law: Law) -> Expression | None:
    """Return c if the law is c times one factor for each reactant, each taken once.

    Then ``A + B -> C @ c`` means the same, in the stochastic reading and in the rate equations.
    None if the law is anything else: ``k*A*(A - 1)/2``, say, which stays as it is written.
    """
    if any(count != 1 for count in law.taken.values()):
        return None
    above, below = _factors(expression)
    missing = set(law.taken)
    rest: list[Expression] = []
    for factor in above:
        if isinstance(factor, Symbol) and factor.name in missing:
            missing.remove(factor.name)
        else:
            rest.append(factor)
    if missing or any(one.symbols() & law.counts for one in (*rest, *below)):
        return None
    if not all(cannot_be_negative(one, law) for one in (*rest, *below)):
        return None
    for factor in list(below):  # V*k*(A/V) is k*A
        if isinstance(factor, Symbol) and factor in rest:
            rest.remove(factor)
            below.remove(factor)
    return _product(rest, below)


def _product(above: Sequence[Expression], below: Sequence[Expression]) -> Expression:
    result: Expression | None = None
    for factor in above:
        result = factor if result is None else result * factor
    if result is None:
        result = Number(1.0)
    for factor in below:
        result = result / factor
    return result


class _Term(NamedTuple):
    is_negative: bool
    above: tuple[Expression, ...]
    below: tuple[Expression, ...]


def _terms(expression: Expression, law: Law) -> list[_Term] | None:
    """Multiply out: return signed products, or None if there are too many."""
    if cannot_be_negative(expression, law):
        return [_Term(False, (expression,), ())]
    if isinstance(expression, Number):
        return [_Term(True, (Number(-expression.value),), ())]
    if not isinstance(expression, Call):
        return None
    operation, arguments = expression.operation, expression.arguments
    if operation not in ("+", "-", "*", "/", "neg"):
        return None
    parts = [_terms(argument, law) for argument in arguments[: 1 if operation == "/" else 2]]
    first, *others = parts
    if first is None:
        return None
    if operation == "neg":
        return _negated(first)
    if operation == "/":
        if not cannot_be_negative(arguments[1], law):
            return None
        return [one._replace(below=(*one.below, arguments[1])) for one in first]
    second = others[0]
    if second is None:
        return None
    if operation == "+":
        found = first + second
    elif operation == "-":
        found = first + _negated(second)
    else:
        found = [
            _Term(a.is_negative != b.is_negative, a.above + b.above, a.below + b.below)
            for a in first
            for b in second
        ]
    return found if len(found) <= MAX_TERMS else None


def _negated(terms: Sequence[_Term]) -> list[_Term]:
    return [one._replace(is_negative=not one.is_negative) for one in terms]


def _sum(terms: Sequence[_Term]) -> Expression:
    result: Expression | None = None
    for term in terms:
        product = _product(term.above, term.below)
        result = product if result is None else result + product
    assert result is not None
    return result


def split_rate(
    expression: Expression,
    law: Law,
    *,
    consumed: Collection[str],
    produced: Collection[str],
    is_reversible: bool,
) -> tuple[Expression, Expression] | None:
    """Return the rates forward and backward, if a law is the net rate of a reversible reaction.

    Parameters
    ----------
    expression : Expression
        The law.
    law : Law
        What is known of its names.
    consumed, produced : collection of str
        Species of which the reaction takes more than it makes, and the other way round.
    is_reversible : bool
        Whether the model says so.
    """
    if cannot_be_negative(expression, law) or not (consumed or produced):
        return None
    if not (consumed and produced):
        # Exchange with the outside, k1 - k2*A; but k*(100 - A) may be what is left of something.
        is_difference = isinstance(expression, Call) and expression.operation in ("+", "-")
        if not (is_reversible and is_difference):
            return None
    terms = _terms(expression, law)
    if terms is None:
        return None
    forward = [term for term in terms if not term.is_negative]
    backward = [term for term in terms if term.is_negative]
    if not forward or not backward:
        return None
    rates = _sum(forward), _sum(backward)
    for rate, needed in zip(rates, (consumed, produced), strict=True):
        if any(not _stops_without(rate, name) for name in needed):
            return None
    for rate, others in zip(rates, (produced, consumed), strict=True):
        if any(_stops_without(rate, name) for name in others):
            return None
    return rates


def _stops_without(rate: Expression, name: str) -> bool:
    """Whether a rate is 0 when there is nothing of `name`, tried at a few points."""
    symbols = sorted(rate.symbols())
    if name not in symbols:
        return False
    for sample in range(_SAMPLES):
        # Fixed points between 0.5 and 3 without any simple relation between the names: multiples
        # of the golden ratio, without their whole parts.
        values = {
            symbol: 0.5 + 2.5 * ((1 + sample + _SAMPLES * place) * 0.6180339887498949 % 1.0)
            for place, symbol in enumerate(symbols)
        }
        values[name] = 0.0
        value = float(rate.evaluate(values))
        if not math.isfinite(value) or abs(value) > 1e-12:
            return False
    return True
