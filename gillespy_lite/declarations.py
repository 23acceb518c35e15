"""What a network declares: species, variables, parameters, observables; each valid by itself."""

from __future__ import annotations

import math
import numbers
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from .errors import NetworkError
from .expression_display import number_text
from .expressions import Expression, Number, Operand, Symbol, as_expression
from .names import checked_name

__all__ = [
    "MAX_COUNT",
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
        Value at the start, any finite number; an expression may use parameters.
    rate : Expression or float, optional
        The time derivative, per unit time: an expression of species, variables, parameters,
        observables and `t`. Without it, the network's `rules` give it, which may name variables
        made later.

    Raises
    ------
    NetworkError
        If the name is not allowed or the initial value is not finite.
    """

    name: str
    initial: float | Expression
    rate: Expression | None

    def __init__(
        self, name: str, initial: Operand | float = 0.0, rate: Operand | float | None = None
    ) -> None:
        name = checked_name(name, "variable")
        given: object = initial
        if isinstance(given, numbers.Real):
            problem = start_problem(float(given))
            if problem:
                raise NetworkError(f"the variable {name!r} {problem}")
        expression = as_expression(initial)
        object.__setattr__(self, "name", name)
        object.__setattr__(
            self, "initial", expression.value if isinstance(expression, Number) else expression
        )
        object.__setattr__(self, "rate", None if rate is None else as_expression(rate))

    def as_expression(self) -> Expression:
        """Return the symbol of the variable."""
        return Symbol(self.name)

    def __str__(self) -> str:
        """Return the name."""
        return self.name


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
            raise NetworkError(not_finite(name, float(given)))
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
