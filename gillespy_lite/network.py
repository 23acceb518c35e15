"""Reaction networks: what the user means, frozen and checked when it is built.

A network can be read from text (`Network.parse`) or built from objects with operators that read
like the text::

    S, E, ES, P = Species("S", 301), Species("E", 120), Species("ES"), Species("P")
    kf, kr, kcat = Parameter("kf", 0.00166), Parameter("kr", 1e-4), Parameter("kcat", 0.1)
    network = Network(
        species=[S, E, ES, P],
        parameters=[kf, kr, kcat],
        reactions=[S + E | ES @ (kf, kr), ES >> E + P @ kcat],
    )

Python's ``@`` binds before ``+``, ``>>`` and ``|``, so the last product carries the rate.
"""

from __future__ import annotations

import hashlib
import html
import math
import numbers
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, NoReturn, TypeAlias

import numpy as np
from numpy.typing import NDArray

from .errors import NetworkError
from .rate_laws import (
    CONSTANTS,
    MAX_NESTING,
    MAX_NODES,
    OPERATIONS,
    TIME,
    Call,
    Expression,
    Number,
    Operand,
    Symbol,
    as_expression,
    checked_name,
    did_you_mean,
    latex_name,
    normal_name,
    number_text,
    shown,
    t,
)

if TYPE_CHECKING:
    from .explanation import Explanation

__all__ = [
    "MAX_COEFFICIENT",
    "MAX_COUNT",
    "TIME",
    "Kind",
    "Network",
    "Nothing",
    "Observable",
    "Parameter",
    "Problem",
    "Propensity",
    "RatedSide",
    "Reaction",
    "ReversibleReaction",
    "Species",
    "find_problem",
    "initial_problem",
    "nothing",
    "propensity",
    "t",
]

MAX_COUNT = 2**53  # molecules; above this doubles no longer tell counts apart
MAX_COEFFICIENT = 10**9  # molecules of one species on one side of a reaction
HTML_ROWS = 200  # of each table in a notebook
WHOLE_TOLERANCE = 1e-9  # relative or absolute: how far from whole an initial count may be

Kind: TypeAlias = Literal["mass_action", "propensity"]
Terms: TypeAlias = tuple[tuple[str, int], ...]


# ---- What a network declares ------------------------------------------------------------------


def initial_problem(value: float) -> str:
    """Say why `value` cannot be an initial count, in words that follow the name; empty if it can.

    Parameters
    ----------
    value : float
        In molecules.

    Returns
    -------
    str
        For example ``"would start at -3; counts cannot be negative"``.
    """
    if not math.isfinite(value):
        return f"would start at {value:g}; an initial count must be a finite number"
    if value < -WHOLE_TOLERANCE:
        return f"would start at {number_text(value)}; counts cannot be negative"
    if value > MAX_COUNT:
        return f"would start at {value:g}; counts above 2**53 (9.0e15) are not supported"
    if abs(value - round(value)) > WHOLE_TOLERANCE * max(1.0, abs(value)):
        return (
            f"would start at {number_text(value)}, which is not a whole number of molecules; "
            "round it, or convert a concentration by multiplying with the volume"
        )
    return ""


@dataclass(frozen=True, init=False, slots=True)
class Species(Operand):
    """A kind of molecule, counted in whole numbers.

    Parameters
    ----------
    name : str
        An identifier; see the language.
    initial : int, float or Expression, optional
        Count at the start, in molecules. A number within 1e-9 of a whole one is rounded; an
        expression may use parameters.

    Raises
    ------
    NetworkError
        If the name is not allowed or the count is negative, not whole or above 2**53.
    """

    name: str
    initial: int | Expression

    def __init__(self, name: str, initial: Operand | float = 0) -> None:
        name = checked_name(name, "species")
        expression = as_expression(initial)
        value: int | Expression = expression
        if isinstance(expression, Number):
            problem = initial_problem(expression.value)
            if problem:
                raise NetworkError(f"species {name!r} {problem}")
            value = round(expression.value)
        object.__setattr__(self, "name", name)
        object.__setattr__(self, "initial", value)

    def as_expression(self) -> Expression:
        """Return the symbol of the species."""
        return Symbol(self.name)

    def __str__(self) -> str:
        """Return the name."""
        return self.name


@dataclass(frozen=True, init=False, slots=True)
class Parameter(Operand):
    """A number that rates may use: a rate constant, a threshold, ...

    Parameters
    ----------
    name : str
        An identifier; see the language.
    value : float or Expression
        A finite number, or an expression of parameters declared before this one.

    Raises
    ------
    NetworkError
        If the name is not allowed or the number is not finite.
    """

    name: str
    value: float | Expression

    def __init__(self, name: str, value: Operand | float) -> None:
        name = checked_name(name, "parameter")
        given: object = value
        if isinstance(given, numbers.Real) and not math.isfinite(given):
            raise NetworkError(_not_finite(name, float(given)))
        expression = as_expression(value)
        object.__setattr__(self, "name", name)
        object.__setattr__(
            self, "value", expression.value if isinstance(expression, Number) else expression
        )

    def as_expression(self) -> Expression:
        """Return the symbol of the parameter."""
        return Symbol(self.name)

    def __str__(self) -> str:
        """Return the name."""
        return self.name


@dataclass(frozen=True, init=False, slots=True)
class Observable(Operand):
    """A named expression of species, usable in rates and recorded in results.

    Parameters
    ----------
    name : str
        An identifier; see the language.
    expression : Expression or float
        It may use species, parameters, `t` and observables declared before this one.

    Raises
    ------
    NetworkError
        If the name is not allowed.
    """

    name: str
    expression: Expression

    def __init__(self, name: str, expression: Operand | float) -> None:
        object.__setattr__(self, "name", checked_name(name, "observable"))
        object.__setattr__(self, "expression", as_expression(expression))

    def as_expression(self) -> Expression:
        """Return the symbol of the observable (its name, not what it stands for)."""
        return Symbol(self.name)

    def __str__(self) -> str:
        """Return the name."""
        return self.name


# ---- Reactions --------------------------------------------------------------------------------


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
        name = species.name if isinstance(species, Species) else species
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
        return f"<products {_side_text(self.terms)} with a rate, waiting for reactants >> >"


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


def _side_text(terms: Terms) -> str:
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
        return f"{_side_text(self.reactants)} {arrow} {_side_text(self.products)}"

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
        return _reversible_text(self.forward, self.reverse)


def _reversible_text(forward: Reaction, reverse: Reaction) -> str:
    label = f"{forward.name}: " if forward.name else ""
    sides = f"{_side_text(forward.reactants)} <-> {_side_text(forward.products)}"
    return f"{label}{sides} @ {forward.rate}, {reverse.rate}"


def _is_pair(forward: Reaction, reverse: Reaction) -> bool:
    """Whether two adjacent reactions are what one line with ``<->`` is read as."""
    expected_name = f"{forward.name}_reverse" if forward.name else ""
    return (
        forward.kind == reverse.kind == "mass_action"
        and forward.reactants == reverse.products
        and forward.products == reverse.reactants
        and reverse.name == expected_name
    )


# ---- Checks -----------------------------------------------------------------------------------


class Problem(NamedTuple):
    """What is wrong with a network, and with which declaration, so that text can point at it."""

    message: str
    kind: str  # "species", "parameter", "observable", "reaction", or "" for the whole network
    position: int  # which of them
    word: str = ""  # the name at fault, if it is one name
    see: tuple[str, int] | None = None  # another declaration of that name, which explains it
    is_repeated: bool = False  # whether the fault is that the name is declared twice


_ARTICLE = {
    "species": "a species",
    "parameter": "a parameter",
    "observable": "an observable",
    "reaction": "a reaction",
}


class _Names:
    """Which declaration each name belongs to."""

    def __init__(
        self,
        species: Sequence[Species],
        parameters: Sequence[Parameter],
        observables: Sequence[Observable],
    ) -> None:
        self.declared: dict[str, tuple[str, int]] = {}
        self.repeated: list[Problem] = []
        groups: tuple[tuple[str, Sequence[Species | Parameter | Observable]], ...] = (
            ("species", species),
            ("parameter", parameters),
            ("observable", observables),
        )
        for kind, group in groups:
            for index, item in enumerate(group):
                first = self.declared.setdefault(item.name, (kind, index))
                if first != (kind, index):
                    self.repeated.append(_repeated(item.name, kind, index, first))

    def of(self, kind: str) -> list[str]:
        return [name for name, declared in self.declared.items() if declared[0] == kind]

    def unknown(self, owner: str, word: str, *, on_side: bool = False) -> str:
        known = self.of("species") if on_side else [*self.declared, "t", "pi"]
        short = shown(word)[1:-1]
        example = f"species {short} = 0" if on_side else f"param {short} = 1"
        advice = did_you_mean(word, known) or f"; declare it, for example {example}"
        if word.casefold() == "time":
            advice = "; the time is written t"
        elif word.casefold() in ("empty", "emptyset", "none", "nothing", "null"):
            advice = "; the empty side of a reaction is written 0"
        return f"{owner} uses the unknown name {shown(word)}{advice}"

    def first_outside(self, expression: Expression, allowed: Mapping[str, object]) -> str | None:
        """Return the first name, from left to right, that is neither allowed nor a constant."""
        for node in expression.postorder():
            if isinstance(node, Symbol) and node.name not in allowed:
                is_constant = node.name in CONSTANTS and node.name not in self.declared
                if not is_constant:
                    return node.name
        return None


def _repeated(name: str, kind: str, index: int, first: tuple[str, int]) -> Problem:
    if kind == first[0]:
        message = f"duplicate {kind} {name!r}; remove or rename one of them"
    else:
        message = (
            f"duplicate name {name!r}, for {_ARTICLE[first[0]]} and {_ARTICLE[kind]}; "
            "rename one of them"
        )
    return Problem(message, kind, index, name, see=first, is_repeated=True)


def _reaction_label(index: int, reaction: Reaction) -> str:
    return f"reaction {reaction.name!r}" if reaction.name else f"reaction {index + 1}"


def find_problem(
    species: Sequence[Species],
    reactions: Sequence[Reaction],
    parameters: Sequence[Parameter],
    observables: Sequence[Observable],
) -> Problem | None:
    """Return the first thing that is wrong with a network, or None.

    Parameters
    ----------
    species, reactions, parameters, observables : sequences
        Each valid by itself.

    Returns
    -------
    Problem or None
        With the declaration at fault.
    """
    names = _Names(species, parameters, observables)
    for problem in names.repeated:
        return problem
    if not species:
        return Problem("a network needs at least one species", "", 0)
    checks = (
        _check_reaction_names(reactions),
        _check_parameters(names, parameters),
        _check_initials(names, species, parameters),
        _check_observables(names, observables),
        _check_reactions(names, reactions),
        _check_sizes(species, reactions, parameters, observables),
        _check_values(species, parameters),
    )
    return next((problem for check in checks for problem in check), None)


def _check_reaction_names(reactions: Sequence[Reaction]) -> Iterator[Problem]:
    seen: dict[str, int] = {}
    for index, reaction in enumerate(reactions):
        if reaction.name and seen.setdefault(reaction.name, index) != index:
            yield _repeated(reaction.name, "reaction", index, ("reaction", seen[reaction.name]))


def _check_parameters(names: _Names, parameters: Sequence[Parameter]) -> Iterator[Problem]:
    allowed: dict[str, object] = {}
    for index, parameter in enumerate(parameters):
        if isinstance(parameter.value, Expression):
            word = names.first_outside(parameter.value, allowed)
            if word is not None:
                owner = f"the parameter {parameter.name!r}"
                values = {item.name: item.value for item in parameters}
                yield _misplaced(names, ("parameter", index), owner, word, values)
        allowed[parameter.name] = None


def _misplaced(
    names: _Names,
    subject: tuple[str, int],
    owner: str,
    word: str,
    definitions: Mapping[str, object],
) -> Problem:
    """Explain a name that the definition of a parameter or an observable must not use."""
    kind, index = subject
    declared = names.declared.get(word)
    if declared is not None and declared[0] == kind:
        own_name = next(name for position, name in enumerate(definitions) if position == index)
        circle = _circle(own_name, word, definitions)
        if len(circle) > 6:
            circle = [*circle[:3], "...", *circle[-2:]]
        if circle:
            message = f"{owner} is circular ({', which uses '.join(circle)}); break the circle"
            return Problem(message, kind, index, word)
        message = (
            f"{owner} uses {word!r}, which is declared after it; move {word!r} before {own_name!r}"
        )
        return Problem(message, kind, index, word, see=declared)
    if kind == "observable" or (declared is None and word != "t"):
        return Problem(names.unknown(owner, word), kind, index, word)
    what = "the time" if word == "t" else _ARTICLE[declared[0]] if declared else ""
    message = (
        f"{owner} uses {word!r}, which is {what}; parameters may use numbers and parameters "
        "declared before them. A named expression of species or time is declared with observe "
        "(Observable in Python)"
    )
    return Problem(message, kind, index, word)


def _circle(start: str, used: str, definitions: Mapping[str, object]) -> list[str]:
    """Return start, used, ..., start if the definition of `used` leads back to `start`."""
    came_from = {used: start}
    waiting = [used]
    while waiting:
        name = waiting.pop(0)
        if name == start:
            path = [name]
            while came_from[path[-1]] != start:
                path.append(came_from[path[-1]])
            return [start, *reversed(path)]
        definition = definitions.get(name)
        if isinstance(definition, Expression):
            for needed in sorted(definition.symbols()):
                if needed in definitions and needed not in came_from:
                    came_from[needed] = name
                    waiting.append(needed)
    return []


def _check_initials(
    names: _Names, species: Sequence[Species], parameters: Sequence[Parameter]
) -> Iterator[Problem]:
    allowed = {parameter.name: None for parameter in parameters}
    for index, one in enumerate(species):
        if isinstance(one.initial, Expression):
            word = names.first_outside(one.initial, allowed)
            if word is None:
                continue
            owner = f"the initial count of {one.name!r}"
            if word == "t" or word in names.declared:
                message = f"{owner} uses {word!r}; it may use numbers and parameters only"
            else:
                message = names.unknown(owner, word)
            yield Problem(message, "species", index, word)


def _check_observables(names: _Names, observables: Sequence[Observable]) -> Iterator[Problem]:
    allowed = dict.fromkeys(["t", *names.of("species"), *names.of("parameter")])
    for index, observable in enumerate(observables):
        word = names.first_outside(observable.expression, allowed)
        if word is not None:
            definitions = {item.name: item.expression for item in observables}
            owner = f"the observable {observable.name!r}"
            yield _misplaced(names, ("observable", index), owner, word, definitions)
        culprit = _infinite_part(observable.expression)
        if culprit is not None:
            message = f"in the observable {observable.name!r}, {culprit}"
            yield Problem(message, "observable", index)
        allowed[observable.name] = None


def _check_reactions(names: _Names, reactions: Sequence[Reaction]) -> Iterator[Problem]:
    allowed = {**names.declared, "t": ("", 0)}
    for index, reaction in enumerate(reactions):
        for name, _ in (*reaction.reactants, *reaction.products):
            declared = names.declared.get(name)
            if declared is None:
                label = _reaction_label(index, reaction)
                message = names.unknown(label, name, on_side=True)
                yield Problem(message, "reaction", index, name)
            elif declared[0] != "species":
                label = _reaction_label(index, reaction)
                message = f"{name!r} is {_ARTICLE[declared[0]]}; only species react ({label})"
                yield Problem(message, "reaction", index, name, see=declared)
        word = names.first_outside(reaction.rate, allowed)
        if word is not None:
            message = names.unknown(f"the rate of {_reaction_label(index, reaction)}", word)
            yield Problem(message, "reaction", index, word)
        constant = _constant(reaction.rate)
        if constant is not None and constant < 0.0:
            message = (
                f"the rate of {_reaction_label(index, reaction)} is {number_text(constant)}; "
                "a rate cannot be negative"
            )
            yield Problem(message, "reaction", index)
        culprit = _infinite_part(reaction.rate)
        if culprit is not None:
            message = f"in the rate of {_reaction_label(index, reaction)}, {culprit}"
            yield Problem(message, "reaction", index)


def _constant(expression: Expression) -> float | None:
    """Return the value of an expression that uses no names, if it is finite."""
    if isinstance(expression, Number):
        return expression.value
    if expression.symbols():
        return None
    value = float(expression.evaluate({}))
    return value if math.isfinite(value) else None


def _infinite_part(expression: Expression) -> str | None:
    """Name the first part, such as 9^9^9, that uses no names and has no finite value."""
    if expression.n_nodes < 2:
        return None
    culprit: list[str] = []

    def combine(call: Call, arguments: list[float | None]) -> float | None:
        numbers_alone = [value for value in arguments if value is not None]
        if len(numbers_alone) < len(arguments) or culprit:
            return None
        with np.errstate(all="ignore"):
            value = float(OPERATIONS[call.operation].evaluate(*numbers_alone))
        if not math.isfinite(value):
            culprit.append(f"{shown(str(call))} is {value}, which is not a finite number")
        return value

    expression.fold(lambda node: node.value if isinstance(node, Number) else None, combine)
    return culprit[0] if culprit else None


def _check_sizes(
    species: Sequence[Species],
    reactions: Sequence[Reaction],
    parameters: Sequence[Parameter],
    observables: Sequence[Observable],
) -> Iterator[Problem]:
    expressions: list[tuple[str, int, float | Expression]] = [
        *(("parameter", index, item.value) for index, item in enumerate(parameters)),
        *(("species", index, item.initial) for index, item in enumerate(species)),
        *(("observable", index, item.expression) for index, item in enumerate(observables)),
        *(("reaction", index, item.rate) for index, item in enumerate(reactions)),
    ]
    # Counted before anything is put in: 60 observables that each square the one before them
    # would otherwise fill the memory.
    extra: dict[str, int] = {}
    for kind, index, expression in expressions:
        if not isinstance(expression, Expression):
            continue
        size = expression.n_nodes
        if extra:
            words = (node.name for node in expression.postorder() if isinstance(node, Symbol))
            size += sum(extra.get(word, 0) for word in words)
        if size > MAX_NODES:
            message = (
                f"with its observables put in, this expression of {_ARTICLE[kind]} has more "
                f"than {MAX_NODES:,} numbers, names and operations"
            )
            yield Problem(message, kind, index)
        # Few nodes cannot nest deeply, which saves looking at most of them.
        if expression.n_nodes > MAX_NESTING and expression.nesting() > MAX_NESTING:
            message = (
                f"an expression of {_ARTICLE[kind]} nests more than {MAX_NESTING} brackets, signs "
                "or exponents; name parts of it as observables, or group a long sum from the left"
            )
            yield Problem(message, kind, index)
        if kind == "observable":
            extra[observables[index].name] = size - 1


def _check_values(species: Sequence[Species], parameters: Sequence[Parameter]) -> Iterator[Problem]:
    values: dict[str, float] = {}
    for index, parameter in enumerate(parameters):
        value = parameter.value
        values[parameter.name] = number = _number(value, values)
        if not math.isfinite(number):
            yield Problem(_not_finite(parameter.name, number), "parameter", index)
    for index, one in enumerate(species):
        if isinstance(one.initial, Expression):
            problem = initial_problem(_number(one.initial, values))
            if problem:
                yield Problem(f"species {one.name!r} {problem}", "species", index)


def _number(value: float | Expression, values: Mapping[str, float]) -> float:
    return float(value.evaluate(values)) if isinstance(value, Expression) else value


def _not_finite(name: str, value: float) -> str:
    return f"the parameter {name!r} has the value {value}; it must be a finite number"


# ---- Networks ---------------------------------------------------------------------------------


class _Structure:
    """What all the relatives of a network share: everything but the numbers."""

    __slots__ = (
        "declared",
        "definitions",
        "expanded_rates",
        "memo",
        "observable_names",
        "observables",
        "parameter_index",
        "parameter_names",
        "reactions",
        "shared",
        "species_index",
        "species_names",
    )

    def __init__(
        self,
        species_names: tuple[str, ...],
        parameter_names: tuple[str, ...],
        observables: tuple[Observable, ...],
        reactions: tuple[Reaction, ...],
    ) -> None:
        self.species_names = species_names
        self.parameter_names = parameter_names
        self.observables = observables
        self.reactions = reactions
        self.observable_names = tuple(observable.name for observable in observables)
        self.species_index = {name: index for index, name in enumerate(species_names)}
        self.parameter_index = {name: index for index, name in enumerate(parameter_names)}
        self.declared = frozenset((*species_names, *parameter_names, *self.observable_names))
        self.definitions: dict[str, Expression] = {}  # filled by `define`, when first needed
        self.expanded_rates: dict[int, Expression] = {}
        self.memo: dict[Any, Any] = {}  # other modules' results
        self.shared: dict[str, Any] = {}  # this module's

    def define(self) -> None:
        """Note what each observable and each constant stands for, without observables."""
        definitions: dict[str, Expression] = {
            name: Number(value) for name, value in CONSTANTS.items() if name not in self.declared
        }
        for observable in self.observables:
            used = observable.expression.symbols() & definitions.keys()
            definitions[observable.name] = observable.expression.substitute(
                {name: definitions[name] for name in used}
            )
        self.definitions = definitions

    def key(self) -> tuple[Any, ...]:
        return self.species_names, self.parameter_names, self.observables, self.reactions

    def hash(self) -> int:
        known: int | None = self.shared.get("hash")
        if known is None:
            known = self.shared["hash"] = hash(self.key())
        return known


def _flattened(reactions: Iterable[object]) -> Iterator[Reaction]:
    if isinstance(reactions, ReversibleReaction):
        reactions = (reactions.forward, reactions.reverse)
    elif isinstance(reactions, Reaction):
        reactions = (reactions,)
    for index, reaction in enumerate(reactions):
        if isinstance(reaction, Reaction):
            yield reaction
        elif isinstance(reaction, ReversibleReaction):
            yield from reaction
        elif isinstance(reaction, RatedSide):
            raise NetworkError(
                f"reactions[{index}] has products and a rate but no reactants; write "
                "S >> P @ k, or nothing >> P @ k"
            )
        elif isinstance(reaction, Operand):
            raise NetworkError(
                f"reactions[{index}] is the expression {reaction}, not a reaction; write "
                "S + E >> ES @ k, or S + E | ES @ (forward, reverse)"
            )
        else:
            raise TypeError(f"reactions[{index}] is {reaction!r}, not a Reaction")


def _all_of(kind: type[Any], items: Iterable[Any], argument: str) -> tuple[Any, ...]:
    if isinstance(items, str | Operand):
        raise TypeError(f"{argument} must be a list of {kind.__name__} objects, not {items!r}")
    found = tuple(items)
    for index, item in enumerate(found):
        if not isinstance(item, kind):
            raise TypeError(
                f"{argument}[{index}] is {item!r}; write for example {_EXAMPLES[kind.__name__]}"
            )
    return found


_EXAMPLES = {
    "Species": 'Species("S", 100)',
    "Parameter": 'Parameter("k", 0.1)',
    "Observable": 'Observable("total", S + P)',
}


class Network:
    """A reaction network: species, reactions, parameters and observables.

    Networks never change, are equal when their declarations are, and can be keys of dicts.
    ``print(network)`` shows the network in the language, and ``Network.parse(str(network))`` is
    equal to it.

    Parameters
    ----------
    species : iterable of Species
        At least one. Their order is the order of columns in results.
    reactions : iterable of Reaction or ReversibleReaction, optional
        A reversible reaction becomes two.
    parameters : iterable of Parameter, optional
        Each may use those before it.
    observables : iterable of Observable, optional
        Each may use those before it.

    Raises
    ------
    NetworkError
        If a name is repeated or not declared, a definition circular, a value not finite, a count
        not a whole number or a rate negative.
    """

    __slots__ = ("_initials", "_known", "_structure", "_values")
    _structure: _Structure
    _initials: tuple[int | Expression, ...]
    _values: tuple[float | Expression, ...]
    _known: dict[str, Any]  # what was worked out from the numbers, on demand

    def __init__(
        self,
        species: Iterable[Species],
        reactions: Iterable[Reaction | ReversibleReaction] = (),
        parameters: Iterable[Parameter] = (),
        observables: Iterable[Observable] = (),
    ) -> None:
        given: object = species
        if isinstance(given, str):
            raise TypeError("to read a network from text, call Network.parse(text)")
        self._fill(
            _all_of(Species, species, "species"),
            tuple(_flattened(reactions)),
            _all_of(Parameter, parameters, "parameters"),
            _all_of(Observable, observables, "observables"),
        )
        problem = find_problem(self.species, self.reactions, self.parameters, self.observables)
        if problem is not None:
            raise NetworkError(problem.message)

    def _fill(
        self,
        species: tuple[Species, ...],
        reactions: tuple[Reaction, ...],
        parameters: tuple[Parameter, ...],
        observables: tuple[Observable, ...],
    ) -> None:
        structure = _Structure(
            tuple(one.name for one in species),
            tuple(parameter.name for parameter in parameters),
            observables,
            reactions,
        )
        self._set(
            structure,
            tuple(one.initial for one in species),
            tuple(parameter.value for parameter in parameters),
        )

    def _set(
        self,
        structure: _Structure,
        initials: tuple[int | Expression, ...],
        values: tuple[float | Expression, ...],
    ) -> None:
        object.__setattr__(self, "_structure", structure)
        object.__setattr__(self, "_initials", initials)
        object.__setattr__(self, "_values", values)
        object.__setattr__(self, "_known", {})

    @classmethod
    def from_checked(
        cls,
        species: tuple[Species, ...],
        reactions: tuple[Reaction, ...],
        parameters: tuple[Parameter, ...],
        observables: tuple[Observable, ...],
    ) -> Network:
        """Build a network for whose parts `find_problem` found nothing.

        Parameters
        ----------
        species, reactions, parameters, observables : tuples
            The parts.

        Returns
        -------
        Network
            Unchecked.
        """
        network = object.__new__(cls)
        network._fill(species, reactions, parameters, observables)
        return network

    @classmethod
    def parse(cls, text: str) -> Network:
        """Read a network from text in the language.

        Parameters
        ----------
        text : str
            Lines such as ``species S = 10`` and ``S -> 0 @ 0.1``.

        Returns
        -------
        Network
            The network.

        Raises
        ------
        ParseError
            If the text is not a network; the message points at the place.
        """
        from .dsl import parse_network

        return parse_network(text)

    @classmethod
    def read(cls, path: str | os.PathLike[str]) -> Network:
        """Read a network from a text file in the language.

        Parameters
        ----------
        path : str or path
            A UTF-8 file.

        Returns
        -------
        Network
            The network.

        Raises
        ------
        ParseError
            If the text is not a network; the message points at the place.
        OSError
            If the file cannot be read.
        """
        from .dsl import read_network

        return read_network(path)

    # -- Declarations

    @property
    def species(self) -> tuple[Species, ...]:
        """The species, in the order of columns in results."""
        known = self._known.get("species")
        if known is None:
            known = tuple(map(Species, self.species_names, self._initials))
            self._known["species"] = known
        return known

    @property
    def parameters(self) -> tuple[Parameter, ...]:
        """The parameters."""
        known = self._known.get("parameters")
        if known is None:
            known = tuple(map(Parameter, self.parameter_names, self._values))
            self._known["parameters"] = known
        return known

    @property
    def observables(self) -> tuple[Observable, ...]:
        """The observables."""
        return self._structure.observables

    @property
    def reactions(self) -> tuple[Reaction, ...]:
        """The reactions; a reversible one counts as two."""
        return self._structure.reactions

    @property
    def species_names(self) -> tuple[str, ...]:
        """Names of the species."""
        return self._structure.species_names

    @property
    def parameter_names(self) -> tuple[str, ...]:
        """Names of the parameters."""
        return self._structure.parameter_names

    @property
    def observable_names(self) -> tuple[str, ...]:
        """Names of the observables."""
        return self._structure.observable_names

    @property
    def n_species(self) -> int:
        """Number of species."""
        return len(self._structure.species_names)

    @property
    def n_reactions(self) -> int:
        """Number of reactions."""
        return len(self._structure.reactions)

    # -- Numbers

    @property
    def parameter_values(self) -> NDArray[np.float64]:
        """Values of the parameters, shape (n_parameters,), read-only.

        Raises
        ------
        NetworkError
            If a derived parameter is not finite for the values that were set.
        """
        known = self._known.get("parameter_values")
        if known is None:
            known = np.array(self._evaluated_values(), dtype=np.float64)
            known.flags.writeable = False
            self._known["parameter_values"] = known
        return known

    def _evaluated_values(self) -> Sequence[float]:
        plain = [value for value in self._values if not isinstance(value, Expression)]
        if len(plain) == len(self._values):
            return plain
        values: dict[str, float] = {}
        for name, value in zip(self.parameter_names, self._values, strict=True):
            values[name] = number = _number(value, values)
            if not math.isfinite(number):
                raise NetworkError(_not_finite(name, number))
        return list(values.values())

    @property
    def initial_state(self) -> NDArray[np.int64]:
        """Initial counts, shape (n_species,), in molecules, read-only.

        Raises
        ------
        NetworkError
            If an initial count that depends on parameters is not a whole number of molecules for
            the values that were set.
        """
        known = self._known.get("initial_state")
        if known is None:
            known = np.array(self._evaluated_initials(), dtype=np.int64)
            known.flags.writeable = False
            self._known["initial_state"] = known
        return known

    def _evaluated_initials(self) -> Sequence[int]:
        plain = [initial for initial in self._initials if not isinstance(initial, Expression)]
        if len(plain) == len(self._initials):
            return plain
        values = dict(zip(self.parameter_names, self.parameter_values.tolist(), strict=True))
        counts = []
        for name, initial in zip(self.species_names, self._initials, strict=True):
            count = _number(initial, values)
            problem = initial_problem(count)
            if problem:
                raise NetworkError(f"species {name!r} {problem}")
            counts.append(round(count))
        return counts

    @property
    def stoichiometry_matrix(self) -> NDArray[np.int64]:
        """Net change of each species by each reaction, shape (n_species, n_reactions), read-only.

        In molecules per event.
        """
        matrix = self._structure.shared.get("stoichiometry_matrix")
        if matrix is None:
            matrix = np.zeros((self.n_species, self.n_reactions), dtype=np.int64)
            index = self._structure.species_index
            for column, reaction in enumerate(self.reactions):
                for name, count in reaction.reactants:
                    matrix[index[name], column] -= count
                for name, count in reaction.products:
                    matrix[index[name], column] += count
            matrix.flags.writeable = False
            self._structure.shared["stoichiometry_matrix"] = matrix
        return matrix

    @property
    def memo(self) -> dict[Any, Any]:
        """A dict shared with every relative made by `with_parameters` or `with_initial`.

        For whatever depends on the structure alone, so that it is worked out once.
        """
        return self._structure.memo

    # -- Expressions

    def expanded(self, expression: Operand | float) -> Expression:
        """Return an expression in terms of species, parameters and `t` alone.

        Parameters
        ----------
        expression : Operand or float
            It may use observables, and `e` and `pi`.

        Returns
        -------
        Expression
            Observables are replaced by what they stand for, constants that the network does not
            declare by numbers.

        Raises
        ------
        NetworkError
            If a name is not declared, or the result is too large.
        """
        tree = as_expression(expression)
        structure = self._structure
        if not structure.definitions:
            structure.define()
        words = tree.symbols()
        for word in sorted(words):
            if word not in structure.declared and word != "t" and word not in CONSTANTS:
                advice = did_you_mean(word, sorted(structure.declared))
                raise NetworkError(
                    f"{shown(str(tree))} uses the unknown name {shown(word)}{advice}"
                )
        used = words & structure.definitions.keys()
        return tree.substitute({word: structure.definitions[word] for word in used})

    def expanded_rate(self, index: int) -> Expression:
        """Return the rate of one reaction in terms of species, parameters and `t` alone.

        Parameters
        ----------
        index : int
            Which of `reactions`.

        Returns
        -------
        Expression
            For mass action the rate constant, without the product over the reactants.
        """
        rates = self._structure.expanded_rates
        if index not in rates:
            rates[index] = self.expanded(self.reactions[index].rate)
        return rates[index]

    # -- Relatives

    def _related(
        self, initials: tuple[int | Expression, ...], values: tuple[float | Expression, ...]
    ) -> Network:
        relative = object.__new__(type(self))
        relative._set(self._structure, initials, values)
        return relative

    def with_parameters(
        self, mapping: Mapping[str, float] | None = None, /, **values: float
    ) -> Network:
        """Return the network with other values for some parameters.

        Derived parameters and initial counts follow. It costs microseconds and shares everything
        that depends on the structure.

        Parameters
        ----------
        mapping : mapping of str to float, optional
            Values by name.
        **values : float
            The same as keywords. Setting a derived parameter replaces its expression.

        Returns
        -------
        Network
            The relative.

        Raises
        ------
        NetworkError
            If a name is no parameter of the network, or a value no finite number.
        """
        changed = list(self._values)
        index = self._structure.parameter_index
        for name, value in ({**mapping, **values} if mapping else values).items():
            place = index.get(name)
            if place is None:
                place = self._find(name, index, "parameter")
            number = _plain_number(value, "the parameter", name)
            if not math.isfinite(number):
                raise NetworkError(_not_finite(name, number))
            changed[place] = number
        return self._related(self._initials, tuple(changed))

    def with_initial(
        self, mapping: Mapping[str, float] | None = None, /, **counts: float
    ) -> Network:
        """Return the network with other initial counts of some species.

        Parameters
        ----------
        mapping : mapping of str to int, optional
            Counts by name, in molecules.
        **counts : int
            The same as keywords.

        Returns
        -------
        Network
            The relative.

        Raises
        ------
        NetworkError
            If a name is no species of the network, or a count is negative or not whole.
        """
        changed = list(self._initials)
        index = self._structure.species_index
        for name, count in ({**mapping, **counts} if mapping else counts).items():
            place = index.get(name)
            if place is None:
                place = self._find(name, index, "species")
            number = _plain_number(count, "the initial count of", name)
            problem = initial_problem(number)
            if problem:
                raise NetworkError(f"species {name!r} {problem}")
            changed[place] = round(number)
        return self._related(tuple(changed), self._values)

    def _find(self, name: Any, index: Mapping[str, int], kind: str) -> int:
        """Return the place of a name that was not found as it was typed."""
        name = getattr(name, "name", name)  # the Species or Parameter itself as a key
        if not isinstance(name, str):
            raise TypeError(f"{kind} names are strings, not {name!r}")
        if normal_name(name) in index:
            return index[normal_name(name)]
        if kind == "parameter" and name in self.species_names:
            advice = f"; {name!r} is a species, set with with_initial"
        elif kind == "species" and name in self.parameter_names:
            advice = f"; {name!r} is a parameter, set with with_parameters"
        else:
            advice = did_you_mean(name, index) or (
                f"; there are {', '.join(list(index)[:20])}" if index else "; it has none"
            )
        raise NetworkError(f"the network has no {kind} {shown(name)}{advice}")

    # -- Identity

    def __setattr__(self, name: str, value: object) -> NoReturn:
        """Refuse: networks are immutable."""
        raise AttributeError(
            f"a network cannot be changed, so {name} was not set; with_parameters(...) and "
            "with_initial(...) return new networks"
        )

    def __delattr__(self, name: str) -> NoReturn:
        """Refuse: networks are immutable."""
        raise AttributeError("a network cannot be changed")

    def __eq__(self, other: object) -> bool:
        """Whether `other` declares the same in the same order."""
        if not isinstance(other, Network):
            return NotImplemented
        if self is other:
            return True
        return (
            self._initials == other._initials
            and self._values == other._values
            and (
                self._structure is other._structure
                or (
                    self._structure.hash() == other._structure.hash()
                    and self._structure.key() == other._structure.key()
                )
            )
        )

    def __hash__(self) -> int:
        """Return a hash of all declarations."""
        return hash((self._structure.hash(), self._initials, self._values))

    def __copy__(self) -> Network:
        """Return itself: nothing can change."""
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> Network:
        """Return itself: nothing can change."""
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle as text, which is safe to read and does not depend on the version."""
        return Network.parse, (self.text,)

    # -- Text, HTML, LaTeX

    @property
    def text(self) -> str:
        """The network in the language."""
        known = self._known.get("text")
        if known is None:
            known = self._known["text"] = _network_text(self)
        return known

    @property
    def digest(self) -> str:
        """SHA-256 of the text, in hexadecimal digits."""
        return hashlib.sha256(self.text.encode()).hexdigest()

    def __str__(self) -> str:
        """Return the network in the language."""
        return self.text

    def __repr__(self) -> str:
        """Return the sizes."""
        sizes = [
            _plural(self.n_species, "species", "species"),
            _plural(self.n_reactions, "reaction", "reactions"),
            _plural(len(self.parameter_names), "parameter", "parameters"),
        ]
        if self.observable_names:
            sizes.append(_plural(len(self.observable_names), "observable", "observables"))
        return f"<Network: {', '.join(sizes)}>"

    def _repr_html_(self) -> str:
        return _network_html(self)

    def to_latex(self) -> str:
        """Return the reactions with their rates as LaTeX.

        Returns
        -------
        str
            An ``align*`` environment (amsmath): each reaction, its rate constant over the arrow,
            or its propensity beside a double arrow. Names are escaped.
        """
        return _network_latex(self)

    def _repr_latex_(self) -> str:
        return self.to_latex()

    def explain(self) -> Explanation:
        """Say what the network means.

        Returns
        -------
        Explanation
            Prints each propensity as compiled with its rate-equation counterpart, the convention
            used, stoichiometry, conservation laws, and which methods can simulate the network.
        """
        from .explanation import explain

        return explain(self)


def _plain_number(value: Any, owner: str, name: str) -> float:
    if type(value) is float:  # by far the most frequent, and the other test is slow
        return value
    if isinstance(value, bool | np.bool_) or not isinstance(value, numbers.Real):
        # An array of one value is what a sampler often hands over.
        if isinstance(value, np.ndarray) and value.size == 1 and value.dtype.kind in "iuf":
            return float(value.reshape(())[()])
        raise NetworkError(f"{owner} {name!r} must be set to a number, not {value!r}")
    return float(value)


def _plural(number: int, one: str, many: str) -> str:
    return f"{number} {one if number == 1 else many}"


# ---- The network as text, HTML and LaTeX ------------------------------------------------------


def _declared(keyword: str, entries: Iterable[str]) -> Iterator[str]:
    """Put as many declarations on a line as fit in 88 characters."""
    line = ""
    for entry in entries:
        if line and len(line) + 2 + len(entry) > 88:
            yield line
            line = ""
        line = f"{line}, {entry}" if line else f"{keyword} {entry}"
    if line:
        yield line


def _reaction_lines(reactions: Sequence[Reaction]) -> Iterator[tuple[Reaction, Reaction | None]]:
    """Give the reactions, with the reverse one where the two are written on one line."""
    index = 0
    while index < len(reactions):
        forward = reactions[index]
        reverse = reactions[index + 1] if index + 1 < len(reactions) else None
        if reverse is not None and _is_pair(forward, reverse):
            yield forward, reverse
            index += 2
        else:
            yield forward, None
            index += 1


def _network_text(network: Network) -> str:
    declarations = [
        *_declared(
            "species",
            (
                one.name if one.initial == 0 else f"{one.name} = {one.initial}"
                for one in network.species
            ),
        ),
        *_declared(
            "param",
            (f"{parameter.name} = {_value_text(parameter)}" for parameter in network.parameters),
        ),
        *(f"observe {one.name} = {one.expression}" for one in network.observables),
    ]
    reactions = [
        str(forward) if reverse is None else _reversible_text(forward, reverse)
        for forward, reverse in _reaction_lines(network.reactions)
    ]
    lines = [*declarations, "", *reactions] if reactions else declarations
    return "\n".join(lines) + "\n"


def _value_text(parameter: Parameter) -> str:
    value = parameter.value
    return str(value) if isinstance(value, Expression) else number_text(value)


def _network_html(network: Network) -> str:
    def cell(text: object) -> str:
        return f'<td style="text-align: left">{html.escape(str(text))}</td>'

    def table(title: str, rows: Iterable[Sequence[object]]) -> str:
        listed = list(rows)
        body = "".join(f"<tr>{''.join(map(cell, row))}</tr>" for row in listed[:HTML_ROWS])
        if len(listed) > HTML_ROWS:
            body += f"<tr>{cell(f'... and {len(listed) - HTML_ROWS} more')}</tr>"
        head = f'<caption style="text-align: left"><b>{title}</b></caption>'
        return f"<table>{head}<tbody>{body}</tbody></table>" if body else ""

    reactions = (
        (
            forward.name,
            forward.equation
            if reverse is None
            else f"{_side_text(forward.reactants)} <-> {_side_text(forward.products)}",
            forward.rate if reverse is None else f"{forward.rate}, {reverse.rate}",
        )
        for forward, reverse in _reaction_lines(network.reactions)
    )
    tables = (
        table("Species", ((one.name, one.initial) for one in network.species)),
        table("Parameters", ((one.name, _value_text(one)) for one in network.parameters)),
        table("Observables", ((one.name, one.expression) for one in network.observables)),
        table("Reactions", reactions),
    )
    return f"<div>{''.join(tables)}</div>"


def _side_latex(terms: Terms) -> str:
    parts = (
        latex_name(name) if count == 1 else rf"{count}\,{latex_name(name)}" for name, count in terms
    )
    return " + ".join(parts) or r"\emptyset"


def _network_latex(network: Network) -> str:
    lines = []
    for forward, reverse in _reaction_lines(network.reactions):
        left, right = _side_latex(forward.reactants), _side_latex(forward.products)
        rate = forward.rate.to_latex()
        if reverse is not None:
            back = reverse.rate.to_latex()
            arrow = rf"\underset{{{back}}}{{\overset{{{rate}}}{{\rightleftharpoons}}}}"
            line = f"{left} &{arrow} {right}"
        elif forward.kind == "mass_action":
            line = rf"{left} &\xrightarrow{{{rate}}} {right}"
        else:
            line = rf"{left} &\Rightarrow {right} && {rate}"
        lines.append(line)
    body = " \\\\\n".join(lines)
    return f"\\begin{{align*}}\n{body}\n\\end{{align*}}"
