"""Reactions, and the operators that write them: ``S + E >> ES @ kf``, ``S + E | ES @ (kf, kr)``.

Python's ``@`` binds before ``+``, ``>>`` and ``|``, so the last product carries the rate.
"""

from __future__ import annotations

import numbers
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, NoReturn, TypeAlias

import numpy as np

from .declarations import Species, Variable
from .errors import NetworkError
from .expressions import TIME, Expression, Number, Operand, Symbol, as_expression
from .names import checked_name

__all__ = [
    "MAX_COEFFICIENT",
    "Kind",
    "Nothing",
    "Propensity",
    "RatedSide",
    "Reaction",
    "ReversibleReaction",
    "Terms",
    "nothing",
    "propensity",
    "side_text",
]

MAX_COEFFICIENT = 10**9  # molecules of one species on one side of a reaction

Kind: TypeAlias = Literal["mass_action", "propensity"]
Terms: TypeAlias = tuple[tuple[str, int], ...]


class Nothing:
    """The empty side of a reaction: ``nothing >> S @ k`` and ``P >> nothing @ k``."""

    __slots__ = ()

    def __matmul__(self, rate: Any) -> RatedSide:
        """Attach a rate."""
        return _attach_rate(self, rate)

    def __rshift__(self, other: object) -> Any:
        """Refuse a reaction without a rate; the products carry ``>>`` when they have one."""
        if isinstance(other, RatedSide):
            return NotImplemented
        raise NetworkError(
            f"the reaction nothing >> {other} has no rate; write it after the products: "
            f"nothing >> {other} @ k"
        )

    def __repr__(self) -> str:
        """Return the name under which it is imported."""
        return "nothing"


nothing = Nothing()


@dataclass(frozen=True, slots=True)
class Propensity:
    """A rate that is the whole propensity; made by `propensity`."""

    expression: Expression

    def __rmatmul__(self, side: Any) -> RatedSide:
        """Attach this to nothing: ``P >> 0 @ propensity(k)``."""
        return _attach_rate(side, self)


def propensity(expression: Operand | float) -> Propensity:
    """Say that a rate is the whole propensity, as ``=>`` does in text.

    Parameters
    ----------
    expression : Operand or float
        Events per unit time; nothing is multiplied with it.

    Returns
    -------
    Propensity
        To be written after ``@``: ``P >> S @ propensity(Vmax*P/(K + P))``.
    """
    return Propensity(as_expression(expression))


def _side_terms(side: object) -> Terms:
    """Return a side of a reaction as (species name, count) in order of first appearance."""
    if isinstance(side, Nothing):
        return ()
    if isinstance(side, Operand | float | int):
        return _merged(_terms_of_sum(as_expression(side)))
    if isinstance(side, Mapping):
        return _merged(side.items())
    if isinstance(side, Iterable) and not isinstance(side, str):
        return _merged(entry if isinstance(entry, tuple | list) else (entry, 1) for entry in side)
    raise NetworkError(
        f"{side!r} is not a side of a reaction; write a sum of species such as 2*P + Q, or nothing"
    )


def _terms_of_sum(side: Expression) -> Iterator[tuple[str, float]]:
    waiting = [side]
    while waiting:
        node = waiting.pop()
        operation = getattr(node, "operation", "")
        if isinstance(node, Symbol) and node.name != "t":
            yield node.name, 1
        elif operation == "+":
            waiting += [node.arguments[1], node.arguments[0]]
        elif operation == "*" and isinstance(node.arguments[0], Number):
            yield _single(side, node.arguments[1]), node.arguments[0].value
        elif operation == "*" and isinstance(node.arguments[1], Number):
            yield _single(side, node.arguments[0]), node.arguments[1].value
        elif not (isinstance(node, Number) and node.value == 0.0):
            # A zero is what sum([S, E]) starts from, and by itself it is the empty side.
            _refuse_side(side, node)


def _single(side: Expression, node: Expression) -> str:
    if not isinstance(node, Symbol) or node == TIME:
        _refuse_side(side, node)
    return node.name


def _refuse_side(side: Expression, node: Expression) -> NoReturn:
    raise NetworkError(
        f"{node} cannot stand in {side} as one side of a reaction: a side is a sum of species with "
        "whole coefficients, such as 2*P + Q. A rate goes after @, in brackets if it is a sum: "
        "S >> P @ (k1 + k2)"
    )


def _merged(entries: Iterable[Any]) -> Terms:
    counts: dict[str, int] = {}
    for entry in entries:
        if len(entry) != 2:
            raise NetworkError(f"{entry!r} is not a pair of a species and a count")
        species, count = entry
        name = species.name if isinstance(species, Species | Variable) else species
        name = checked_name(name, "species")
        is_whole = isinstance(count, numbers.Real) and not isinstance(count, bool | np.bool_)
        if not is_whole or not float(count).is_integer() or count < 1:
            raise NetworkError(
                f"the coefficient of {name!r} in a reaction must be a positive whole number, "
                f"not {count}"
            )
        counts[name] = counts.get(name, 0) + int(count)
        if counts[name] > MAX_COEFFICIENT:
            raise NetworkError(
                f"the coefficient of {name!r} is {counts[name]}; at most {MAX_COEFFICIENT:,} "
                "are allowed"
            )
    return tuple(counts.items())


class RatedSide:
    """The products of a reaction with their rate, as in ``E + P @ kcat``.

    It becomes a reaction when the reactants arrive: ``ES >> E + P @ kcat``.
    """

    __slots__ = ("rates", "terms")

    def __init__(self, terms: Terms, rates: tuple[Propensity | Expression, ...]) -> None:
        self.terms = terms
        self.rates = rates

    def __radd__(self, other: Any) -> RatedSide:
        """Put further products before these."""
        if isinstance(other, RatedSide):
            return NotImplemented
        return RatedSide(_merged([*_side_terms(other), *self.terms]), self.rates)

    def __rshift__(self, other: object) -> NoReturn:
        """Refuse a rate on the left."""
        raise NetworkError("the rate goes after the products: S + E >> ES @ k")

    def __rrshift__(self, reactants: Any) -> Reaction:
        """Build a reaction."""
        if isinstance(reactants, RatedSide):
            return NotImplemented
        terms = _side_terms(reactants)
        if len(self.rates) != 1:
            raise NetworkError(
                "a reaction written >> has one rate; a reversible one is written "
                "S + E | ES @ (forward, reverse)"
            )
        return _reaction(terms, self.terms, self.rates[0])

    def __ror__(self, reactants: Any) -> ReversibleReaction:
        """Build a reversible reaction."""
        if isinstance(reactants, RatedSide):
            return NotImplemented
        terms = _side_terms(reactants)
        if len(self.rates) != 2 or any(isinstance(rate, Propensity) for rate in self.rates):
            raise NetworkError(
                "a reaction written | is reversible and has two mass-action rates: "
                "S + E | ES @ (forward, reverse)"
            )
        forward, reverse = self.rates
        return ReversibleReaction(
            _reaction(terms, self.terms, forward), _reaction(self.terms, terms, reverse)
        )

    def _scaled(self, operation: str, factor: object) -> RatedSide:
        if len(self.rates) != 1:
            raise NetworkError(
                "multiply each rate of a reversible reaction inside the brackets: "
                "S + E | ES @ (2*kf, 2*kr)"
            )
        value, rate = as_expression(factor), self.rates[0]  # type: ignore[arg-type]
        law = rate.expression if isinstance(rate, Propensity) else rate
        law = law * value if operation == "*" else law / value
        return RatedSide(self.terms, (Propensity(law) if isinstance(rate, Propensity) else law,))

    def __mul__(self, factor: object) -> RatedSide:
        """Multiply the rate: Python reads ``ES @ kf*2`` as ``(ES @ kf)*2``."""
        return self._scaled("*", factor)

    def __truediv__(self, factor: object) -> RatedSide:
        """Divide the rate: Python reads ``ES @ kf/2`` as ``(ES @ kf)/2``."""
        return self._scaled("/", factor)

    def _refuse_operator(self, operator: str, other: object) -> NoReturn:
        raise NetworkError(
            f"Python binds @ before {operator}, so it is not clear what {other} belongs to. Put a "
            "rate that is a sum in brackets: S >> P @ (k1 + k2); put the rate behind the last "
            "product: S >> P + Q @ k"
        )

    def __add__(self, other: object) -> NoReturn:
        """Refuse ``ES @ kf + 1``."""
        self._refuse_operator("+", other)

    def __sub__(self, other: object) -> NoReturn:
        """Refuse ``ES @ kf - 1``."""
        self._refuse_operator("-", other)

    def __rsub__(self, other: object) -> NoReturn:
        """Refuse ``E - ES @ kf``."""
        raise NetworkError(
            "a side of a reaction is a sum of species with whole coefficients; it has no minus"
        )

    def __rmul__(self, other: object) -> NoReturn:
        """Refuse ``2 * (P @ k)``."""
        raise NetworkError(
            f"{other} stands before a product that already has its rate, so it is not clear which "
            "of them it multiplies; write 2*P @ k or P @ (2*k)"
        )

    def __or__(self, other: object) -> NoReturn:
        """Refuse a rate on the left."""
        raise NetworkError("the rates go after the products: S + E | ES @ (forward, reverse)")

    def __repr__(self) -> str:
        """Return the side, and that the reactants are missing."""
        return f"<products {side_text(self.terms)} with a rate, waiting for reactants >> >"


def _attach_rate(side: Any, rate: Any) -> RatedSide:
    rates = rate if isinstance(rate, tuple | list) else (rate,)
    if len(rates) not in (1, 2):
        raise NetworkError(f"a reaction has one rate or (forward, reverse), not {len(rates)} rates")
    if isinstance(rate, str):
        raise TypeError(
            f"the rate {rate!r} is text; write it with Parameter and Species objects, or write "
            "the whole network as text and call Network.parse"
        )
    return RatedSide(
        _side_terms(side),
        tuple(law if isinstance(law, Propensity) else as_expression(law) for law in rates),
    )


Operand.attach_rate = staticmethod(_attach_rate)


def _reaction(reactants: Terms, products: Terms, rate: Propensity | Expression) -> Reaction:
    if isinstance(rate, Propensity):
        return Reaction(reactants, products, rate.expression, kind="propensity")
    return Reaction(reactants, products, rate)


def side_text(terms: Terms) -> str:
    """Return one side of a reaction in the language: ``2 P + Q``, or ``0``."""
    return " + ".join(name if count == 1 else f"{count} {name}" for name, count in terms) or "0"


@dataclass(frozen=True, init=False, slots=True)
class Reaction:
    """What one event takes, what it makes and how often it happens.

    Usually written with operators: ``S + E >> ES @ kf``.

    Parameters
    ----------
    reactants, products : sum of species, mapping, or iterable of (species, count)
        Species by object or by name; a species that is named twice is merged. `nothing`, 0 and
        ``()`` are the empty side.
    rate : Expression or float
        For ``"mass_action"`` the rate constant c, multiplying the product over the reactants of
        the binomials C(x, n); for ``"propensity"`` the whole propensity. Per unit time.
    kind : {"mass_action", "propensity"}, optional
        How `rate` is meant.
    name : str, optional
        An identifier, or empty.

    Raises
    ------
    NetworkError
        If a side is not a sum of species with positive whole coefficients, or the name or kind
        is not allowed.
    """

    reactants: Terms
    products: Terms
    rate: Expression
    kind: Kind = field(kw_only=True)
    name: str = field(kw_only=True)

    def __init__(
        self,
        reactants: Operand | Nothing | float | Mapping[Any, int] | Iterable[Any],
        products: Operand | Nothing | float | Mapping[Any, int] | Iterable[Any],
        rate: Operand | float,
        *,
        kind: Kind = "mass_action",
        name: str = "",
    ) -> None:
        if kind not in ("mass_action", "propensity"):
            raise NetworkError(f"kind must be 'mass_action' or 'propensity', not {kind!r}")
        object.__setattr__(self, "reactants", _side_terms(reactants))
        object.__setattr__(self, "products", _side_terms(products))
        object.__setattr__(self, "rate", as_expression(rate))
        object.__setattr__(self, "kind", kind)
        object.__setattr__(self, "name", checked_name(name, "reaction") if name else "")

    def named(self, name: str) -> Reaction:
        """Return the same reaction with another name."""
        return Reaction(self.reactants, self.products, self.rate, kind=self.kind, name=name)

    @property
    def equation(self) -> str:
        """The two sides in the language, without name and rate: ``S + E -> ES``."""
        arrow = "->" if self.kind == "mass_action" else "=>"
        return f"{side_text(self.reactants)} {arrow} {side_text(self.products)}"

    def __str__(self) -> str:
        """Return the reaction in the language."""
        label = f"{self.name}: " if self.name else ""
        return f"{label}{self.equation} @ {self.rate}"

    def __bool__(self) -> bool:
        """Refuse: a chain such as ``A >> B @ k > C`` is a slip."""
        raise TypeError("a reaction has no truth value")


@dataclass(frozen=True, slots=True)
class ReversibleReaction:
    """A pair of mass-action reactions, each undoing the other: ``S + E | ES @ (kf, kr)``."""

    forward: Reaction
    reverse: Reaction

    def named(self, name: str) -> ReversibleReaction:
        """Return the pair named `name` and ``name_reverse``."""
        return ReversibleReaction(
            self.forward.named(name), self.reverse.named(f"{name}_reverse" if name else "")
        )

    def __iter__(self) -> Iterator[Reaction]:
        """Give the forward and the reverse reaction."""
        return iter((self.forward, self.reverse))

    def __str__(self) -> str:
        """Return the pair in the language."""
        forward, reverse = self.forward, self.reverse
        label = f"{forward.name}: " if forward.name else ""
        sides = f"{side_text(forward.reactants)} <-> {side_text(forward.products)}"
        return f"{label}{sides} @ {forward.rate}, {reverse.rate}"
