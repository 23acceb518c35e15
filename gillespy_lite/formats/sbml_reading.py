"""Networks from SBML: Level 3 core, and Levels 1 and 2.

The model is read in three steps: what its elements say (`sbml_elements`), what that means in
amounts (`sbml_meaning`), and, here, the network that does the same.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Mapping
from typing import Any

from ..declarations import Compartment, Observable, Parameter, Species, Variable
from ..errors import FormatError, NetworkError
from ..events import Event
from ..expressions import Call, Expression, Number, Symbol
from ..network import Network
from ..operations import CONDITIONS
from ..reactions import Reaction
from .rate_splitting import Law, mass_action_constant, split_rate
from .sbml_annotations import rate_constant
from .sbml_elements import Elements, EventElement, Quantity, ReactionElement, read_elements
from .sbml_math import imported_libsbml
from .sbml_meaning import Meaning
from .xml_screening import check_sbml_namespaces, is_text_of_a_model, read_limited, screened_xml

__all__ = ["read_sbml"]


def read_sbml(
    source: str | os.PathLike[str], *, plain_compartment: str = "", unset_amount: float = math.nan
) -> Network:
    """Read a network from SBML.

    Parameters
    ----------
    source : str or path
        The text of a model, or the path of a file.
    plain_compartment : str, optional
        The id of a compartment that the writer of the file added because SBML wants one. If its
        size is 1 and nothing uses it, concentrations in it are the amounts.
    unset_amount : float, optional
        With how much a species starts for which the model does not say it.

    Returns
    -------
    Network
        The network.

    Raises
    ------
    FormatError
        If the model cannot be read, or uses what is not supported; the message names the
        construct, its id and its line.
    MissingExtraError
        If python-libsbml is not installed.
    """
    text = source if isinstance(source, str) and is_text_of_a_model(source) else None
    text = screened_xml(read_limited(source) if text is None else text)
    check_sbml_namespaces(text)
    libsbml = imported_libsbml()
    document = libsbml.readSBMLFromString(text)
    _refuse_errors(libsbml, document)
    model = document.getModel()
    if model is None:
        raise FormatError("the SBML document holds no model")
    try:
        elements = read_elements(libsbml, model, unset_amount)
        return _Builder(elements, Meaning(elements, plain_compartment)).network()
    except FormatError:
        raise
    except NetworkError as error:
        raise FormatError(f"the model was read, but makes no network: {error}") from error


def _refuse_errors(libsbml: Any, document: Any) -> None:
    serious = (
        libsbml.LIBSBML_SEV_ERROR,
        libsbml.LIBSBML_SEV_FATAL,
        libsbml.LIBSBML_SEV_SCHEMA_ERROR,
    )
    for index in range(document.getNumErrors()):
        error = document.getError(index)
        if error.getErrorId() == libsbml.MissingXMLEncoding:
            continue  # then it is UTF-8, as in any XML
        if error.getSeverity() in serious:
            words = " ".join(error.getMessage().split())
            raise FormatError(
                f"line {error.getLine()}: {words[:600]} (libsbml error {error.getErrorId()})"
            )


class _Builder:
    """Puts the network together."""

    def __init__(self, elements: Elements, meaning: Meaning) -> None:
        self.elements = elements
        self.meaning = meaning
        self.math = elements.math
        # Those of single laws, and the numbers that cannot stand in a reaction as they are.
        self.own_parameters = list(elements.local_parameters)
        self.used_names: set[str] = set()  # in what the network computes
        self.reaction_names = {one.name for one in elements.reactions}
        by_name = meaning.by_name
        self.counted = {name for name, one in by_name.items() if one.is_whole}  # in molecules
        self.positive = {name for name, one in by_name.items() if self.is_positive(one)}
        self.positive |= {
            one.name
            for one in self.own_parameters
            if isinstance(one.value, float) and one.value >= 0.0
        }

    def network(self) -> Network:
        kinds: dict[str, list[Quantity]] = {
            "species": [],
            "variable": [],
            "parameter": [],
            "observable": [],
        }
        for quantity in self.elements.quantities.values():
            kinds[self.meaning.kind_of(quantity)].append(quantity)
        species = [self.species(one) for one in kinds["species"]]
        variables = [self.variable(one) for one in kinds["variable"]]
        events = [self.event(one) for one in self.elements.events]
        laws = {one.name: self.meaning.resolved(one.law) for one in self.elements.reactions}
        reactions, net_rates = self.written_reactions(laws)
        observables = self.observables(
            kinds["observable"], laws, net_rates, variables, events, reactions
        )
        for start in (*(one.initial for one in species), *(one.initial for one in variables)):
            if isinstance(start, Expression):
                self.used_names |= start.symbols()
        parameters = self.parameters(kinds["parameter"])
        if not species and not variables:
            parameters, variables = self.with_something_that_changes(parameters)
        compartments = self.compartments()
        return Network(
            species=species,
            reactions=reactions,
            parameters=parameters,
            observables=observables,
            variables=variables,
            events=events,
            compartments=compartments,
        )

    def declared_start(self, quantity: Quantity) -> Expression | float:
        """Return a value at the start, as a float where it is not finite."""
        start = self.meaning.start_of(quantity.name)
        if isinstance(start, Number):
            return start.value
        if start == Symbol(self.math.nan):
            return math.nan
        value = self.meaning.value_at_start(start)
        return start if math.isfinite(value) else value

    def species(self, quantity: Quantity) -> Species:
        return Species(quantity.name, self.declared_start(quantity))

    def variable(self, quantity: Quantity) -> Variable:
        rate = self.meaning.rule_rate(quantity) if quantity.rule == "rate" else None
        return Variable(quantity.name, self.declared_start(quantity), rate)

    def parameters(self, quantities: list[Quantity]) -> list[Parameter]:
        found = {one.name: one for one in self.own_parameters}
        for quantity in quantities:
            if quantity.kind == "compartment" and self.is_left_out(quantity):
                continue
            found[quantity.name] = Parameter(quantity.name, self.declared_start(quantity))
        used = set(self.used_names)
        for one in found.values():
            used |= one.value.symbols() if isinstance(one.value, Expression) else set()
        for name, value in ((self.math.nan, math.nan), (self.math.infinity, math.inf)):
            if name in used:
                found[name] = Parameter(name, value)

        def definition(name: str) -> Expression:
            value = found[name].value
            return value if isinstance(value, Expression) else Number(0.0)

        # The global ones first, as they stand in the file.
        local = {one.name for one in self.own_parameters}
        given = [name for name in found if name not in local]
        order = self.meaning.sorted_by_use(
            [*given, *(one for one in found if one in local)], definition
        )
        return [found[name] for name in order]

    def is_left_out(self, compartment: Quantity) -> bool:
        """Whether a compartment says nothing of the model."""
        return self.meaning.is_plain(compartment) and compartment.name not in self.used_names

    def with_something_that_changes(
        self, parameters: list[Parameter]
    ) -> tuple[list[Parameter], list[Variable]]:
        """Make a variable of a parameter on which no other depends: a network has one at least."""
        if not parameters:
            return parameters, [Variable(self.math.free_name("nothing_changes"), 0.0, Number(0.0))]
        *others, last = parameters
        return others, [Variable(last.name, last.value, Number(0.0))]

    def written_reactions(
        self, laws: Mapping[str, Expression]
    ) -> tuple[list[Reaction], dict[str, Expression]]:
        """Return the reactions, and the net rates of those that became two."""
        written: list[Reaction] = []
        net_rates: dict[str, Expression] = {}
        for one in self.elements.reactions:
            law = laws[one.name]
            directions = self.reaction(one, law)
            if len(directions) == 2:
                net_rates[one.name] = law
            written += directions
        return written, net_rates

    def reaction(self, one: ReactionElement, law: Expression) -> list[Reaction]:
        """Return a reaction, or the two directions of one whose law is a net rate."""
        reactants, products = self.sides(one)
        moved = {*reactants, *products}
        is_counted = moved <= self.counted
        if isinstance(law, Number) and law.value < 0.0:
            # A propensity that is a negative number is refused; the rate equations take it.
            name = self.math.free_name(f"{one.name}_rate")
            self.own_parameters.append(Parameter(name, law.value))
            law = Symbol(name)
        kind = one.notes.kind
        name = "" if one.notes.is_unnamed else one.name
        constant = rate_constant(law, reactants) if kind == "mass_action" else None
        if constant is None and is_counted and kind != "propensity":
            constant = mass_action_constant(law, self.known(reactants))
        if constant is not None:
            return [Reaction(reactants, products, constant, name=name)]
        pair = None
        if is_counted and kind != "propensity":
            change = {key: products.get(key, 0) - reactants.get(key, 0) for key in moved}
            pair = split_rate(
                law,
                self.known(reactants),
                consumed={key for key in moved if change[key] < 0},
                produced={key for key in moved if change[key] > 0},
                is_reversible=one.is_reversible,
            )
        if pair is not None:
            forth, back = pair
            return [
                self.direction(one.name, reactants, products, forth),
                self.direction(self.name_of_reverse(one), products, reactants, back),
            ]
        limited = one.notes.is_limited
        return [Reaction(reactants, products, law, kind="propensity", name=name, limited=limited)]

    def known(self, reactants: Mapping[str, Any]) -> Law:
        """Return what is known of the names in the law of a reaction of counted species."""
        counts = {name: int(count) for name, count in reactants.items()}
        return Law(self.counted, self.positive, counts)

    def direction(
        self, name: str, reactants: dict[str, Any], products: dict[str, Any], rate: Expression
    ) -> Reaction:
        """Return one direction of a reaction whose law was a net rate."""
        constant = mass_action_constant(rate, self.known(reactants))
        if constant is None:
            return Reaction(reactants, products, rate, kind="propensity", name=name, limited=False)
        return Reaction(reactants, products, constant, name=name)

    def name_of_reverse(self, one: ReactionElement) -> str:
        name = f"{one.name}_reverse"
        while name in self.reaction_names:
            name += "_"
        self.reaction_names.add(name)
        return name

    def is_positive(self, quantity: Quantity) -> bool:
        """Whether a quantity that is no species is never negative, as far as its value says."""
        if quantity.is_whole:
            return False
        if self.meaning.kind_of(quantity) == "parameter":
            return self.meaning.value_at_start(self.meaning.start_of(quantity.name)) >= 0.0
        return quantity.kind == "compartment"

    def sides(self, reaction: ReactionElement) -> tuple[dict[str, Any], dict[str, Any]]:
        """Return the two sides: what reactions do not change is left out of them."""
        sides: tuple[dict[str, Any], dict[str, Any]] = ({}, {})
        for place, terms in enumerate((reaction.reactants, reaction.products)):
            for term in terms:
                if not term.species.is_moved:
                    continue
                coefficient = self.meaning.coefficient(term)
                name = term.species.name
                side = sides[place]
                amount: Any = coefficient
                if isinstance(coefficient, Number):
                    amount = coefficient.value
                    if amount == 0.0:
                        continue
                    if amount < 0.0:  # to take -2 is to make 2
                        side, amount = sides[1 - place], -amount
                    if amount.is_integer():
                        amount = int(amount)
                side[name] = side[name] + amount if name in side else amount
        return sides

    def event(self, one: EventElement) -> Event:
        assigned = dict(
            self.assignment(quantity, self.meaning.resolved(value))
            for quantity, value in one.assignments
        )
        trigger = self.meaning.resolved(one.trigger)
        if not (isinstance(trigger, Call) and trigger.operation in CONDITIONS):
            trigger = Call("!=", (trigger, Number(0.0)))
        return Event(
            trigger,
            assigned,
            delay=None if one.delay is None else self.meaning.resolved(one.delay),
            priority=None if one.priority is None else self.meaning.resolved(one.priority),
            persistent=one.is_persistent,
            initially=one.is_initially_true,
            values="trigger" if one.values_at_trigger else "execution",
            name=one.name,
        )

    def assignment(self, quantity: Quantity, value: Expression) -> tuple[str, Expression]:
        """Return what an event assigns to, in brackets if the value is a concentration."""
        size = self.meaning.size_of(quantity) if quantity.kind == "species" else None
        if size is None:
            return quantity.name, value
        is_fixed = self.meaning.kind_of(size) == "parameter"
        if (
            is_fixed
            and isinstance(value, Call)
            and value.operation == "/"
            and value.arguments[1] == Symbol(size.name)
        ):
            return quantity.name, value.arguments[0]  # an amount, as a concentration
        return f"[{quantity.name}]", value

    def observables(
        self,
        quantities: list[Quantity],
        laws: Mapping[str, Expression],
        net_rates: Mapping[str, Expression],
        variables: Iterable[Variable],
        events: Iterable[Event],
        reactions: Iterable[Reaction],
    ) -> list[Observable]:
        """Return assignment rules, and the rates of reactions that are two or that others use."""
        definitions = {one.name: self.meaning.observable(one) for one in quantities}
        used: set[str] = set()
        expressions: list[Expression] = [*definitions.values()]
        expressions += [one.rate for one in variables if one.rate is not None]
        for event in events:
            expressions += event.expressions()
        for reaction in reactions:
            expressions.append(reaction.rate)
            expressions += [
                count
                for _, count in (*reaction.reactants, *reaction.products)
                if isinstance(count, Expression)
            ]
        for expression in expressions:
            used |= expression.symbols()
        waiting = [*net_rates, *sorted(used & laws.keys())]
        while waiting:
            name = waiting.pop(0)
            if name not in definitions:
                definitions[name] = laws[name]
                used |= laws[name].symbols()
                waiting += sorted(laws[name].symbols() & laws.keys())
        self.used_names = used
        order = self.meaning.sorted_by_use(definitions, definitions.__getitem__)
        return [Observable(name, definitions[name]) for name in order]

    def compartments(self) -> list[Compartment]:
        found: list[Compartment] = []
        for compartment in self.elements.quantities.values():
            if compartment.kind != "compartment" or self.meaning.is_plain(compartment):
                continue
            inside = [one for one in self.elements.quantities.values() if one.inside is compartment]
            if inside:
                found.append(
                    Compartment(
                        compartment.name,
                        [one.name for one in inside],
                        [
                            one.name
                            for one in inside
                            if self.meaning.size_of(one) is not None or one.notes.is_concentration
                        ],
                    )
                )
        return found
