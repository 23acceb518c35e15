"""What the quantities of an SBML model mean, in terms of what a network stores.

A network stores amounts. Where a formula of the model means a concentration, the amount is divided
by the size of the compartment. What changes by reactions, rules or events is a species (whole
amounts) or a variable (real ones); what never changes is a parameter; what an assignment rule
gives is an observable.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import NoReturn

from ..declarations import initial_problem
from ..errors import FormatError
from ..expressions import Call, Expression, Number, Symbol
from ..names import shown
from .sbml_elements import Elements, Quantity, Term

__all__ = ["Meaning", "cancelled"]


class Meaning:
    """Says how each quantity is stored, how it changes, and what it is at the start.

    Parameters
    ----------
    elements : Elements
        What the model says.
    plain_compartment : str
        The id of a compartment that says nothing if its size is 1.

    Attributes
    ----------
    by_name : dict of str to Quantity
        Every quantity by the name under which it is stored.
    """

    def __init__(self, elements: Elements, plain_compartment: str) -> None:
        self.elements = elements
        self.math = elements.math
        self.plain_compartment = plain_compartment
        self.by_name = {one.name: one for one in elements.quantities.values()}
        self.reaction_symbols = {one.name: one for one in elements.reactions}
        self.resolving: list[str] = []  # what waits for what, to find circles
        self.rates_known: dict[str, Expression] = {}
        self.starts_known: dict[str, Expression] = {}
        self.decide_which_are_whole()

    # -- Symbols

    def is_plain(self, compartment: Quantity) -> bool:
        """Whether a compartment was added by a writer because SBML wants one."""
        return (
            (compartment.id == self.plain_compartment or compartment.notes.kind == "plain")
            and compartment.value == 1.0
            and not compartment.rule
            and compartment.start is None
            and not compartment.is_assigned
        )

    def size_of(self, species: Quantity) -> Quantity | None:
        """Return the compartment by whose size the symbol of a species is divided."""
        if species.compartment is None or self.is_plain(species.compartment):
            return None
        return species.compartment

    def symbol(self, name: str) -> Expression:
        """Return the symbol of a quantity in a formula, in terms of what is stored."""
        quantity = self.by_name.get(name)
        if quantity is not None and quantity.kind == "species":
            size = self.size_of(quantity)
            if size is not None:
                return Symbol(name) / Symbol(size.name)
        return Symbol(name)

    def resolved(self, formula: Expression) -> Expression:
        """Return a formula in terms of what is stored: amounts, and no rates of change."""
        if isinstance(formula, Number):
            return formula
        replacements: dict[str, Expression] = {}
        for name in sorted(formula.symbols()):
            if name in self.math.rates:
                replacements[name] = self.rate_of_symbol(self.math.rates[name])
            elif name in self.by_name:
                replacements[name] = self.symbol(name)
        return cancelled(formula.substitute(replacements))

    def scaled(self, species: Quantity, formula: Expression) -> Expression:
        """Return an amount from what a formula gives for the symbol of a species."""
        size = self.size_of(species) if species.kind == "species" else None
        return _times(formula, Symbol(size.name)) if size is not None else formula

    # -- How things are stored

    def kind_of(self, quantity: Quantity) -> str:
        """Return how a quantity is stored."""
        if quantity.rule == "assignment":
            return "observable"
        is_kept = quantity.notes.kind == "species" and not quantity.rule
        if quantity.rule == "rate" or quantity.is_assigned or quantity.is_moved or is_kept:
            return "species" if quantity.is_whole else "variable"
        return "parameter"

    def observable(self, quantity: Quantity) -> Expression:
        """Return the stored value that an assignment rule gives."""
        assert quantity.formula is not None
        return self.scaled(quantity, self.resolved(quantity.formula))

    def coefficient(self, term: Term) -> Expression:
        """Return how much of a stored amount one event takes or makes."""
        coefficient = self.resolved(term.coefficient)
        factor = term.species.factor
        if factor is not None and not (factor.value == 1.0 and self.never_changes(factor)):
            coefficient = _times(Symbol(factor.name), coefficient)
        if isinstance(coefficient, Symbol):
            quantity = self.by_name.get(coefficient.name)
            # Of what is a coefficient and no more, the number is taken, so that molecules of it
            # can be counted.
            if quantity is not None and quantity.kind == "species reference":
                start = self.start_of(quantity.name)
                if self.kind_of(quantity) == "parameter" and isinstance(start, Number):
                    return start
        return coefficient

    def never_changes(self, quantity: Quantity) -> bool:
        """Whether a value is the number that is written there, and stays it."""
        return self.kind_of(quantity) == "parameter" and quantity.start is None

    def decide_which_are_whole(self) -> None:
        """Mark the species that are counted in molecules; the other amounts are real numbers."""
        moved = [
            one
            for one in self.elements.quantities.values()
            if one.is_moved or (one.notes.kind == "species" and not one.rule)
        ]
        for species in moved:
            species.is_whole = species.notes.kind != "variable"
        for reaction in self.elements.reactions:
            for term in (*reaction.reactants, *reaction.products):
                if term.species.is_moved:
                    coefficient = self.coefficient(term)
                    if not isinstance(coefficient, Number) or not coefficient.value.is_integer():
                        term.species.is_whole = False
        for species in moved:
            if species.is_whole:
                value = self.value_at_start(self.start_of(species.name))
                if initial_problem(value):
                    species.is_whole = False
        # What starts whole was taken as a parameter or a variable above, which is the same there.
        self.rates_known.clear()

    # -- Rates of change

    def guarded(self, name: str, work: Callable[[], Expression]) -> Expression:
        """Do work that may ask for itself, and refuse a circle."""
        if name in self.resolving:
            quantity = self.by_name.get(name.partition(" ")[2])
            where = quantity.where if quantity is not None else shown(name)
            raise FormatError(f"{where} is defined in a circle, by rules or by rateOf")
        if len(self.resolving) > 400:
            raise FormatError("definitions lead to one another more than 400 deep")
        self.resolving.append(name)
        try:
            return work()
        finally:
            self.resolving.pop()

    def stored_rate(self, name: str) -> Expression:
        """Return the time derivative of what is stored under a name."""
        known = self.rates_known.get(name)
        if known is None:
            known = self.guarded(f"rate {name}", lambda: self._stored_rate(self.by_name[name]))
            self.rates_known[name] = known
        return known

    def _stored_rate(self, quantity: Quantity) -> Expression:
        kind = self.kind_of(quantity)
        if kind == "parameter":
            return Number(0.0)
        if kind == "observable":
            return self.slope(self.observable(quantity))
        if quantity.rule == "rate":
            return self.rule_rate(quantity)
        total: Expression | None = None
        for reaction in self.elements.reactions:
            for terms, sign in ((reaction.reactants, "-"), (reaction.products, "+")):
                for term in terms:
                    if term.species is quantity and quantity.is_moved:
                        part = _times(Symbol(reaction.name), self.coefficient(term))
                        if total is None:
                            total = part if sign == "+" else Call("neg", (part,))
                        else:
                            total = Call(sign, (total, part))
        return total if total is not None else Number(0.0)

    def rule_rate(self, quantity: Quantity) -> Expression:
        """Return the time derivative of the stored value, from a rate rule."""
        assert quantity.formula is not None
        rate = self.resolved(quantity.formula)
        size = self.size_of(quantity) if quantity.kind == "species" else None
        if size is None:
            return rate
        # A rule gives the rate of the concentration c; the amount is c V, its rate c' V + c V'.
        change = self.stored_rate(size.name)
        rate = _times(rate, Symbol(size.name))
        if _is_zero(change):
            return rate
        return rate + Symbol(quantity.name) / Symbol(size.name) * change

    def rate_of_symbol(self, name: str) -> Expression:
        """Return what rateOf(name) means."""
        quantity = self.by_name.get(name)
        if quantity is None:
            raise FormatError(
                f"rateOf is asked of {shown(name)}, which is no species, compartment, parameter "
                "or species reference"
            )
        if quantity.rule == "rate" and quantity.formula is not None:
            formula = quantity.formula
            return self.guarded(f"slope {name}", lambda: self.resolved(formula))
        rate = self.stored_rate(name)
        size = self.size_of(quantity) if quantity.kind == "species" else None
        if size is None:
            return rate
        change = self.stored_rate(size.name)
        volume = Symbol(size.name)
        if _is_zero(change):
            return rate if _is_zero(rate) else rate / volume
        return (rate - Symbol(name) / volume * change) / volume

    def slope(self, expression: Expression) -> Expression:
        """Return the time derivative of an expression, by the chain rule."""
        total: Expression = expression.derivative("t")
        for name in sorted(expression.symbols() - {"t"}):
            if name not in self.by_name:
                continue
            rate = self.stored_rate(name)
            if not _is_zero(rate):
                part = _times(expression.derivative(name), rate)
                total = part if _is_zero(total) else total + part
        return total

    # -- Values at the start

    def start_of(self, name: str) -> Expression:
        """Return what is stored under a name at the start, in terms of parameters."""
        known = self.starts_known.get(name)
        if known is None:
            known = self.guarded(f"start {name}", lambda: self._start_of(name))
            self.starts_known[name] = known
        return known

    def _start_of(self, name: str) -> Expression:
        reaction = self.reaction_symbols.get(name)
        if reaction is not None:
            return self.at_start(self.resolved(reaction.law))
        quantity = self.by_name[name]
        formula = quantity.formula if quantity.rule == "assignment" else quantity.start
        if formula is not None:
            return self.at_start(self.scaled(quantity, self.resolved(formula)))
        value = self.number(quantity.value)
        place = quantity.inside if quantity.is_concentration else None
        if place is not None and not (self.is_plain(place) or _is_zero(value)):
            return self.at_start(_times(value, Symbol(place.name)))
        return value

    def number(self, value: float) -> Expression:
        """Return a number; what is not finite has a symbol."""
        if math.isfinite(value):
            return Number(value)
        if math.isnan(value):
            return Symbol(self.math.nan)
        infinite = Symbol(self.math.infinity)
        return infinite if value > 0.0 else Call("neg", (infinite,))

    def at_start(self, expression: Expression) -> Expression:
        """Return an expression with all but parameters replaced by their values at the start."""
        replacements: dict[str, Expression] = {}
        for name in sorted(expression.symbols()):
            quantity = self.by_name.get(name)
            if name == "t":
                replacements[name] = Number(0.0)
            elif name in self.reaction_symbols:
                replacements[name] = self.start_of(name)
            elif quantity is not None:
                start = self.start_of(name)  # also for parameters, to find circles
                if self.kind_of(quantity) != "parameter":
                    replacements[name] = start
        started = expression.substitute(replacements)
        if isinstance(started, Number | Symbol) or started.symbols():
            return started
        return self.number(float(started.evaluate({})))

    def value_at_start(self, expression: Expression) -> float:
        """Return the number that an expression of parameters is."""
        values: dict[str, float] = {
            self.math.nan: math.nan,
            self.math.infinity: math.inf,
            **{one.name: float(one.value) for one in self.elements.local_parameters},  # type: ignore[arg-type]
        }
        waiting = [expression]
        listing: list[str] = []
        seen: set[str] = set()
        while waiting:
            for name in waiting.pop().symbols():
                if name in self.by_name and name not in seen:
                    seen.add(name)
                    listing.append(name)
                    waiting.append(self.start_of(name))
        for name in self.sorted_by_use(listing, self.start_of):
            values[name] = float(self.start_of(name).evaluate(values))
        return float(expression.evaluate(values))

    def sorted_by_use(
        self, names: Iterable[str], definition: Callable[[str], Expression]
    ) -> list[str]:
        """Return names so that each comes after those that its definition uses."""
        order: list[str] = []
        done: dict[str, bool] = {}
        given = list(names)
        among = set(given)
        for first in given:
            waiting = [first]
            while waiting:
                name = waiting[-1]
                if done.get(name):
                    waiting.pop()
                    continue
                needed = [
                    one
                    for one in sorted(definition(name).symbols() & among)
                    if not done.get(one) and one != name
                ]
                circle = name in definition(name).symbols()
                if circle or (name in done and needed):
                    self.refuse_circle(name)
                if needed:
                    done[name] = False
                    if any(one in done for one in needed):
                        self.refuse_circle(name)
                    waiting += needed
                else:
                    done[name] = True
                    order.append(name)
                    waiting.pop()
        return order

    def refuse_circle(self, name: str) -> NoReturn:
        """Say what is defined by itself, and where it stands."""
        quantity = self.by_name.get(name)
        reaction = self.reaction_symbols.get(name)
        where = quantity.where if quantity is not None else reaction.where if reaction else name
        raise FormatError(f"{where} is defined in a circle: its value needs itself")


def _is_zero(expression: Expression) -> bool:
    return isinstance(expression, Number) and expression.value == 0.0


def _times(a: Expression, b: Expression) -> Expression:
    """Return a product; (x/V)*V is x, and 1*x is x."""
    if isinstance(a, Call) and a.operation == "/" and a.arguments[1] == b:
        return a.arguments[0]
    if _is_zero(a) and isinstance(b, Symbol):
        return a
    if isinstance(a, Number) and a.value == 1.0:
        return b
    if isinstance(b, Number) and b.value == 1.0:
        return a
    if isinstance(a, Number) and isinstance(b, Number):
        return Number(a.value * b.value)
    return a * b


def cancelled(expression: Expression, outer: str = "*", inner: str = "/") -> Expression:
    """Return an expression with (x inner V) outer V replaced by x, where both V are one name."""

    def combine(node: Call, arguments: list[Expression]) -> Expression:
        if node.operation == outer:
            first, second = arguments
            if (
                isinstance(second, Symbol)
                and isinstance(first, Call)
                and first.operation == inner
                and first.arguments[1] == second
            ):
                return first.arguments[0]
        if all(new is old for new, old in zip(arguments, node.arguments, strict=True)):
            return node
        return Call(node.operation, tuple(arguments))

    return expression.fold(lambda node: node, combine)
