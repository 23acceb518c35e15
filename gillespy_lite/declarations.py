"""What a network declares: species, variables, parameters, observables; each valid by itself."""

from __future__ import annotations

import math
import numbers
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from .errors import NetworkError
from .expression_display import number_text
from .expressions import Expression, Number, Operand, Symbol, as_expression
from .names import checked_name

__all__ = [
    "MAX_COUNT",
    "Compartment",
    "Observable",
    "Parameter",
    "Rule",
    "Species",
    "Variable",
    "initial_problem",
    "not_finite",
    "number_of",
    "start_problem",
]

MAX_COUNT = 2**53  # molecules; above this doubles no longer tell counts apart
WHOLE_TOLERANCE = 1e-9  # relative or absolute: how far from whole an initial count may be


def initial_problem(value: float) -> str:
    """Say why `value` cannot be an initial count, in words that follow the name, or nothing."""
    if not math.isfinite(value):
        return f"would start at {value:g}; an initial count must be a finite number"
    if value < -WHOLE_TOLERANCE:
        return f"would start at {number_text(value)}; counts cannot be negative"
    if value > MAX_COUNT:
        return f"would start at {value:g}; counts above 2**53 (9.0e15) are not supported"
    if 0.0 < abs(value) < 0.5:  # never rounded away: it may be an amount in moles
        return (
            f"would start at {number_text(value)}, which is not a whole number of molecules; "
            "an amount in moles is multiplied with Avogadro's number, 6.02214076e23"
        )
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
        Count at the start, in molecules. A number within 1e-9 of a whole one above 0 is rounded; an
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


def start_problem(value: float) -> str:
    """Say why a variable cannot start at `value`, in words that follow the name, or nothing."""
    if not math.isfinite(value):
        return f"would start at {value:g}; an initial value must be a finite number"
    return ""


@dataclass(frozen=True, init=False, slots=True)
class Variable(Operand):
    """A real number that follows a differential equation, its rule ``X' = rate``.

    Parameters
    ----------
    name : str
        An identifier; see the language.
    initial : float or Expression, optional
        Value at the start; an expression may use parameters. nan and infinities may be given as
        they are, for a value that is not known yet, but must not come out of an expression.
    rate : Expression or float, optional
        The time derivative, per unit time: an expression of species, variables, parameters,
        observables and `t`. Without it, the network's `rules` give it, which may name variables
        made later; a variable that reactions or events change needs none.

    Raises
    ------
    NetworkError
        If the name is not allowed.
    """

    name: str
    initial: float | Expression
    rate: Expression | None

    def __init__(
        self, name: str, initial: Operand | float = 0.0, rate: Operand | float | None = None
    ) -> None:
        name = checked_name(name, "variable")
        object.__setattr__(self, "name", name)
        object.__setattr__(self, "initial", _declared_value(initial))
        object.__setattr__(self, "rate", None if rate is None else as_expression(rate))

    def as_expression(self) -> Expression:
        """Return the symbol of the variable."""
        return Symbol(self.name)

    def __str__(self) -> str:
        """Return the name."""
        return self.name


@dataclass(frozen=True, init=False, slots=True)
class Compartment:
    """A volume and the amounts in it, so that results can show them as concentrations.

    Within rates, names always mean the amounts.

    Parameters
    ----------
    size : str or Parameter or Variable or Observable
        What holds the volume.
    contents : iterable of str or of Species, Variable, ...
        The amounts in it, in molecules.
    as_concentrations : iterable of the same, optional
        Those of them that results show under their own name as ``amount/size``.

    Raises
    ------
    NetworkError
        If a name is not allowed, or is named twice, or a concentration is not among the contents.
    """

    size: str
    contents: tuple[str, ...]
    as_concentrations: tuple[str, ...]

    def __init__(
        self,
        size: str | Operand,
        contents: Iterable[str | Operand],
        as_concentrations: Iterable[str | Operand] = (),
    ) -> None:
        inside = tuple(_name_of(one) for one in contents)
        concentrations = {_name_of(one) for one in as_concentrations}
        size = _name_of(size)
        seen: set[str] = set()
        for name in inside:
            if name in seen:
                raise NetworkError(f"the compartment {size!r} holds {name!r} twice")
            seen.add(name)
        for name in sorted(concentrations - seen):
            raise NetworkError(
                f"{name!r} is shown as a concentration, but is not among the contents of the "
                f"compartment {size!r}"
            )
        object.__setattr__(self, "size", size)
        object.__setattr__(self, "contents", inside)
        object.__setattr__(
            self, "as_concentrations", tuple(name for name in inside if name in concentrations)
        )

    def __str__(self) -> str:
        """Return the compartment in the language."""
        bracketed = frozenset(self.as_concentrations)
        shown = (f"[{name}]" if name in bracketed else name for name in self.contents)
        return f"compartment {self.size}: {', '.join(shown)}"


def _name_of(one: str | Operand) -> str:
    return checked_name(one if isinstance(one, str) else getattr(one, "name", ""), "quantity")


def _declared_value(given: Operand | float) -> float | Expression:
    """Return a value as a float if it is a number, else as an expression."""
    value: object = given
    if isinstance(value, numbers.Real) and not math.isfinite(value):
        # One object for all: a tuple that holds nan equals another only if it is the same nan.
        return math.nan if math.isnan(value) else float(value)
    expression = as_expression(given)
    return expression.value if isinstance(expression, Number) else expression


class Rule(NamedTuple):
    """The time derivative of a variable: ``X' = rate``."""

    variable: str  # its name
    rate: Expression  # per unit time


@dataclass(frozen=True, init=False, slots=True)
class Parameter(Operand):
    """A number that rates may use: a rate constant, a threshold, ...

    Parameters
    ----------
    name : str
        An identifier; see the language.
    value : float or Expression
        A number, or an expression of parameters declared before this one. nan and infinities may be
        given as they are, for a value that is not known yet; no rate constant can be one.

    Raises
    ------
    NetworkError
        If the name is not allowed.
    """

    name: str
    value: float | Expression

    def __init__(self, name: str, value: Operand | float) -> None:
        name = checked_name(name, "parameter")
        object.__setattr__(self, "name", name)
        object.__setattr__(self, "value", _declared_value(value))

    def as_expression(self) -> Expression:
        """Return the symbol of the parameter."""
        return Symbol(self.name)

    def __str__(self) -> str:
        """Return the name."""
        return self.name


@dataclass(frozen=True, init=False, slots=True)
class Observable(Operand):
    """A named expression of species and variables, usable in rates and recorded in results.

    Parameters
    ----------
    name : str
        An identifier; see the language.
    expression : Expression or float
        It may use species, variables, parameters, `t` and observables declared before this one.

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


def not_finite(name: str, value: float) -> str:
    """Say that the value of a parameter is not finite."""
    return f"the parameter {name!r} has the value {value}; it must be a finite number"


def number_of(value: float | Expression, values: Mapping[str, float]) -> float:
    """Return a declared number, evaluated if it is an expression of others."""
    return float(value.evaluate(values)) if isinstance(value, Expression) else value
