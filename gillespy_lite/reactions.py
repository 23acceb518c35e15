"""Reactions, and the operators that write them: ``S + E >> ES @ kf``, ``S + E | ES @ (kf, kr)``.

Python's ``@`` binds before ``+``, ``>>`` and ``|``, so the last product carries the rate.
"""

from __future__ import annotations

import numbers
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, NoReturn, TypeAlias, get_args

import numpy as np

from .declarations import Species, Variable
from .errors import NetworkError
from .expression_display import number_text
from .expressions import TIME, Expression, Number, Operand, Symbol, as_expression
from .names import checked_name, did_you_mean

__all__ = [
    "DELAY_LAWS",
    "MAX_COEFFICIENT",
    "Coefficient",
    "Consuming",
    "Delay",
    "DelayLaw",
    "Kind",
    "Nothing",
    "Propensity",
    "RatedSide",
    "Reaction",
    "ReversibleReaction",
    "Terms",
    "mass_action_of",
    "nothing",
    "propensity",
    "side_text",
]

MAX_COEFFICIENT = 10**9  # molecules of one species on one side of a reaction

Kind: TypeAlias = Literal["mass_action", "propensity"]
# Molecules of a species are whole numbers; of a variable, any positive amount, also computed.
Coefficient: TypeAlias = int | float | Expression
Terms: TypeAlias = tuple[tuple[str, Coefficient], ...]


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


def _terms_of_sum(side: Expression) -> Iterator[tuple[str, Coefficient]]:
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
    merged: dict[str, Coefficient] = {}
    for entry in entries:
        if len(entry) != 2:
            raise NetworkError(f"{entry!r} is not a pair of a species and a count")
        species, count = entry
        name = species.name if isinstance(species, Species | Variable) else species
        name = checked_name(name, "species")
        coefficient = _coefficient(name, count)
        before = merged.get(name)
        if before is not None:
            coefficient = _coefficient(name, before + coefficient)
        merged[name] = coefficient
    return tuple(merged.items())


def _coefficient(name: str, count: Any) -> Coefficient:
    """Return a coefficient as an int if it is whole, else as a float, or as an expression."""
    if type(count) is int and 0 < count <= MAX_COEFFICIENT:  # nearly all of them
        return count
    if isinstance(count, Number):
        count = count.value
    if isinstance(count, Operand):
        return count.as_expression()
    is_number = isinstance(count, numbers.Real) and not isinstance(count, bool | np.bool_)
    if not is_number or not 0.0 < float(count) < float("inf"):
        raise NetworkError(
            f"the coefficient of {name!r} in a reaction must be a positive number, not {count}"
        )
    if float(count) > MAX_COEFFICIENT:
        raise NetworkError(
            f"the coefficient of {name!r} is {count}; at most {MAX_COEFFICIENT:,} are allowed"
        )
    return int(count) if float(count).is_integer() else float(count)


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
    return " + ".join(map(_term_text, terms)) or "0"


def _term_text(term: tuple[str, Coefficient]) -> str:
    name, count = term
    if isinstance(count, Expression):
        return f"({count}) {name}"
    return name if count == 1 else f"{number_text(float(count))} {name}"


DelayLaw: TypeAlias = Literal["fixed", "uniform", "normal", "gamma", "exponential"]
Consuming: TypeAlias = Literal["initiation", "completion"]

# What each law of a delay is given, in order.
DELAY_LAWS: Mapping[str, tuple[str, ...]] = {
    "fixed": ("time",),
    "uniform": ("low", "high"),
    "normal": ("mean", "sd"),
    "gamma": ("shape", "scale"),
    "exponential": ("mean",),
}


@dataclass(frozen=True, init=False, slots=True)
class Delay:
    """The time between the initiation of a reaction and its products.

    Parameters
    ----------
    law : {"fixed", "uniform", "normal", "gamma", "exponential"}
        Of the delay: ``fixed(time)``, ``uniform(low, high)``, ``normal(mean, sd)`` conditioned to
        be 0 or more, ``gamma(shape, scale)``, ``exponential(mean)``.
    *arguments : Expression or float
        Of the law, in the unit of time (a shape is a plain number); taken at the initiation.
    consuming : {"initiation", "completion"}, optional
        When the reactants go: at once, or together with the arrival of the products.

    Raises
    ------
    NetworkError
        If there is no such law, or it takes another number of arguments.
    """

    law: DelayLaw
    arguments: tuple[Expression, ...]
    consuming: Consuming

    def __init__(
        self, law: DelayLaw, *arguments: Operand | float, consuming: Consuming = "initiation"
    ) -> None:
        names = DELAY_LAWS.get(law)
        if names is None:
            laws = (f"{known}({', '.join(given)})" for known, given in DELAY_LAWS.items())
            raise NetworkError(
                f"there is no law of delays {law!r}{did_you_mean(str(law), DELAY_LAWS)}; the laws "
                f"are {', '.join(laws)}"
            )
        if len(arguments) != len(names):
            raise NetworkError(
                f"a {law} delay is given {', '.join(names)}: {len(names)} numbers or expressions, "
                f"not {len(arguments)}"
            )
        if consuming not in get_args(Consuming):
            raise NetworkError(f"consuming must be 'initiation' or 'completion', not {consuming!r}")
        object.__setattr__(self, "law", law)
        object.__setattr__(self, "arguments", tuple(map(as_expression, arguments)))
        object.__setattr__(self, "consuming", consuming)

    def __str__(self) -> str:
        """Return the delay in the language, what follows ``delay``."""
        arguments = ", ".join(map(str, self.arguments))
        text = arguments if self.law == "fixed" else f"{self.law}({arguments})"
        late = " consuming on completion" if self.consuming == "completion" else ""
        return f"{text}{late}"


@dataclass(frozen=True, init=False, slots=True)
class Reaction:
    """What one event takes, what it makes and how often it happens.

    Usually written with operators: ``S + E >> ES @ kf``.

    Parameters
    ----------
    reactants, products : sum of species, mapping, or iterable of (species, count)
        Species by object or by name; a species that is named twice is merged. `nothing`, 0 and
        ``()`` are the empty side. A variable may take part too, with any positive number or an
        expression as its coefficient; such a reaction has no stochastic meaning, and only the rate
        equations take it.
    rate : Expression or float
        For ``"mass_action"`` the rate constant c, multiplying the product over the reactants of
        the binomials C(x, n); for ``"propensity"`` the whole propensity. Per unit time.
    kind : {"mass_action", "propensity"}, optional
        How `rate` is meant.
    name : str, optional
        An identifier, or empty.
    delay : Delay or float, optional
        From the initiation, which happens with the propensity given, to the products. A number is
        a fixed time.
    limited : bool, optional
        Whether the rate equations stop the reaction where a reactant runs out, as a propensity
        does in stochastic methods. False, for laws written with rate equations in mind, takes the
        law as it stands; it needs the kind ``"propensity"``.

    Raises
    ------
    NetworkError
        If a side is not a sum of species with positive coefficients, or the name or kind is not
        allowed.
    """

    reactants: Terms
    products: Terms
    rate: Expression
    kind: Kind = field(kw_only=True)
    name: str = field(kw_only=True)
    delay: Delay | None = field(kw_only=True)
    limited: bool = field(kw_only=True)

    def __init__(
        self,
        reactants: Operand | Nothing | float | Mapping[Any, int] | Iterable[Any],
        products: Operand | Nothing | float | Mapping[Any, int] | Iterable[Any],
        rate: Operand | float,
        *,
        kind: Kind = "mass_action",
        name: str = "",
        delay: Delay | Operand | float | None = None,
        limited: bool = True,
    ) -> None:
        if kind not in ("mass_action", "propensity"):
            raise NetworkError(f"kind must be 'mass_action' or 'propensity', not {kind!r}")
        if not limited and kind != "propensity":
            raise NetworkError(
                "limited=False (unlimited in text) is about laws that are the whole propensity; "
                "mass action ends by itself where a reactant runs out"
            )
        if delay is not None and not isinstance(delay, Delay):
            delay = Delay("fixed", delay)
        object.__setattr__(self, "reactants", _side_terms(reactants))
        object.__setattr__(self, "products", _side_terms(products))
        object.__setattr__(self, "rate", as_expression(rate))
        object.__setattr__(self, "kind", kind)
        object.__setattr__(self, "name", checked_name(name, "reaction") if name else "")
        object.__setattr__(self, "delay", delay)
        object.__setattr__(self, "limited", bool(limited))

    def named(self, name: str) -> Reaction:
        """Return the same reaction with another name."""
        return self._changed(name=name)

    def delayed(self, delay: Delay | Operand | float) -> Reaction:
        """Return the same reaction, its products arriving after a delay."""
        return self._changed(delay=delay)

    def _changed(self, **changes: Any) -> Reaction:
        kept: dict[str, Any] = {
            "kind": self.kind,
            "name": self.name,
            "delay": self.delay,
            "limited": self.limited,
        }
        return Reaction(self.reactants, self.products, self.rate, **{**kept, **changes})

    @property
    def equation(self) -> str:
        """The two sides in the language, without name and rate: ``S + E -> ES``."""
        arrow = "->" if self.kind == "mass_action" else "=>"
        return f"{side_text(self.reactants)} {arrow} {side_text(self.products)}"

    def __str__(self) -> str:
        """Return the reaction in the language."""
        label = f"{self.name}: " if self.name else ""
        late = f" delay {self.delay}" if self.delay is not None else ""
        return f"{label}{self.equation} @ {self.rate}{late}{'' if self.limited else ' unlimited'}"

    def __bool__(self) -> bool:
        """Refuse: a chain such as ``A >> B @ k > C`` is a slip."""
        raise TypeError("a reaction has no truth value")


# A frozen class is filled through its slots; one by one takes a third of the time of
# `object.__setattr__` in a loop, of 3 us.
_set_reactants, _set_products, _set_rate, _set_kind, _set_name, _set_delay, _set_limited = (
    getattr(Reaction, name).__set__ for name in Reaction.__slots__
)


def mass_action_of(reactants: Terms, products: Terms, rate: Expression) -> Reaction:
    """Return a reaction of sides as it keeps them, which are not looked at again.

    For files of many thousand reactions, whose sides repeat: names are stored ones, each once, with
    counts of at least 1.
    """
    reaction = object.__new__(Reaction)
    _set_reactants(reaction, reactants)
    _set_products(reaction, products)
    _set_rate(reaction, rate)
    _set_kind(reaction, "mass_action")
    _set_name(reaction, "")
    _set_delay(reaction, None)
    _set_limited(reaction, True)
    return reaction


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
