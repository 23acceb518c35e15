"""What the elements of an SBML model say, as plain records.

Every id gets the name under which it is stored, and every formula becomes an expression of these
names. What the records mean together (amounts, rates of change, values at the start) is decided in
`sbml_meaning`.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from ..declarations import Parameter
from ..errors import FormatError
from ..expressions import Expression, Number, Symbol
from ..names import MAX_NAME_LENGTH, RESERVED, shown
from .sbml_annotations import ReadNotes, unescaped
from .sbml_math import MathReader

__all__ = ["Elements", "EventElement", "Quantity", "ReactionElement", "Term", "read_elements"]

_ID = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


@dataclass(slots=True)
class Quantity:
    """Something with a value: a compartment, a species, a parameter, a species reference."""

    id: str
    name: str  # under which it is stored
    kind: str
    where: str  # construct, id and line, for messages
    value: float  # at the start, as written; nan if it is not
    is_constant: bool  # whether the model says that it never changes
    rule: str = ""  # "assignment" or "rate", if one gives it
    formula: Expression | None = None  # of that rule
    start: Expression | None = None  # of an initial assignment
    is_assigned: bool = False  # by an event
    is_moved: bool = False  # by a reaction
    # Of species:
    compartment: Quantity | None = None  # by whose size the symbol is divided, if it is
    inside: Quantity | None = None  # the compartment it is in
    is_concentration: bool = False  # whether `value` is one
    factor: Quantity | None = None  # conversion factor
    is_whole: bool = False  # counted in molecules
    notes: ReadNotes = field(default_factory=ReadNotes)


@dataclass(slots=True)
class Term:
    """One species on one side of a reaction."""

    species: Quantity
    coefficient: Expression


@dataclass(slots=True)
class ReactionElement:
    """A reaction as the model writes it."""

    id: str
    name: str
    where: str
    law: Expression
    reactants: list[Term]
    products: list[Term]
    is_reversible: bool
    notes: ReadNotes


@dataclass(slots=True)
class EventElement:
    """An event as the model writes it."""

    id: str
    where: str
    trigger: Expression
    assignments: list[tuple[Quantity, Expression]]
    delay: Expression | None
    priority: Expression | None
    is_persistent: bool
    is_initially_true: bool
    values_at_trigger: bool
    name: str


class Elements(NamedTuple):
    """All that a model says."""

    quantities: dict[str, Quantity]  # by id
    reactions: list[ReactionElement]
    events: list[EventElement]
    local_parameters: list[Parameter]  # of all laws, under names of their own
    math: MathReader  # knows the names that are taken


def read_elements(libsbml: Any, model: Any, unset_amount: float) -> Elements:
    """Return what the elements of a model say.

    Parameters
    ----------
    libsbml : module
        The library that parsed the model.
    model : libsbml.Model
        The model.
    unset_amount : float
        With how much a species starts for which the model does not say it.

    Raises
    ------
    FormatError
        If an element is not supported, or contradicts another.
    """
    reader = _ElementReader(libsbml, model, unset_amount)
    reader.read_functions()
    reader.read_quantities()
    reader.read_rules()
    reader.read_reactions()
    reader.read_events()
    return Elements(
        reader.quantities, reader.reactions, reader.events, reader.local_parameters, reader.math
    )


class _ElementReader:
    """Reads the elements of a model one kind after another."""

    def __init__(self, libsbml: Any, model: Any, unset_amount: float) -> None:
        self.model = model
        self.level = model.getLevel()
        self.unset_amount = unset_amount
        self.notes = ReadNotes.of(model)
        self.quantities: dict[str, Quantity] = {}  # by id
        self.reactions: list[ReactionElement] = []
        self.events: list[EventElement] = []
        self.local_parameters: list[Parameter] = []
        self.lines: dict[str, str] = {}  # where each id was first used
        self.names: dict[str, str] = {}  # by id
        self.refuse_what_is_not_supported()
        ids = self.all_ids()
        self.take_names(ids)
        self.math = MathReader(libsbml, dict(self.names), {*ids, *self.names.values()})

    def refuse_what_is_not_supported(self) -> None:
        for constraint in self.model.getListOfConstraints():
            raise FormatError(
                f"{self.where('constraint', constraint)} is not supported: a run would have to "
                "stop where it is violated; remove it, and look at the results"
            )

    # -- Names

    def where(self, construct: str, element: Any, name: str = "") -> str:
        name = name or element.getIdAttribute()
        line = element.getLine()
        label = f"the {construct} {shown(name)}" if name else f"a {construct}"
        return f"{label} (line {line})" if line else label

    def all_ids(self) -> list[str]:
        """Return every id of the model, in the order of the document."""
        model, found = self.model, []
        groups: list[tuple[str, Iterable[Any]]] = [
            ("function", model.getListOfFunctionDefinitions()),
            ("compartment", model.getListOfCompartments()),
            ("species", model.getListOfSpecies()),
            ("parameter", model.getListOfParameters()),
            ("reaction", model.getListOfReactions()),
            ("event", model.getListOfEvents()),
        ]
        elements = [(construct, element) for construct, group in groups for element in group]
        for reaction in model.getListOfReactions():
            for group in (
                reaction.getListOfReactants(),
                reaction.getListOfProducts(),
                reaction.getListOfModifiers(),
            ):
                elements += [("species reference", one) for one in group]
        for construct, element in elements:
            name = element.getIdAttribute()
            if not name:
                if construct in ("event", "species reference"):
                    continue
                raise FormatError(f"{self.where(construct, element)} has no id")
            where = self.where(construct, element)
            self.check_id(name, where)
            if name in self.lines:
                raise FormatError(f"{where} has the id of {self.lines[name]}; ids must differ")
            self.lines[name] = where
            found.append(name)
        return found

    def check_id(self, name: str, where: str) -> None:
        if not _ID.fullmatch(name):
            raise FormatError(
                f"{where} has an id that SBML does not allow: a letter or _ comes first, then "
                "letters, digits and _"
            )
        if len(name) > MAX_NAME_LENGTH:
            raise FormatError(
                f"{where} has an id of {len(name)} characters; at most {MAX_NAME_LENGTH} are read"
            )

    def take_names(self, ids: list[str]) -> None:
        """Decide under which name each id is stored: words of the language get "_" appended."""
        wanted = {one: unescaped(one) if self.notes.is_ours else one for one in ids}
        used: set[str] = set()
        claimed = set(wanted.values())
        for one, name in wanted.items():
            stored = name
            while stored in RESERVED or stored in used or (stored != name and stored in claimed):
                stored += "_"
            used.add(stored)
            self.names[one] = stored

    # -- Elements

    def read_functions(self) -> None:
        self.math.define_functions(
            {
                one.getIdAttribute(): (one, self.where("function", one))
                for one in self.model.getListOfFunctionDefinitions()
            }
        )
        # These have no value.
        without = [*self.model.getListOfFunctionDefinitions(), *self.model.getListOfEvents()]
        for reaction in self.model.getListOfReactions():
            without += reaction.getListOfModifiers()
            if self.level < 3:
                without += [*reaction.getListOfReactants(), *reaction.getListOfProducts()]
        for one in without:
            self.math.names.pop(one.getIdAttribute(), None)

    def add(self, quantity: Quantity) -> Quantity:
        self.quantities[quantity.id] = quantity
        return quantity

    def read_quantities(self) -> None:
        model = self.model
        for one in model.getListOfCompartments():
            # In Levels 1 and 2 compartments and parameters are constant unless they say otherwise.
            value = one.getSize() if one.isSetSize() else math.nan
            if self.level == 1 and not one.isSetSize():
                value = 1.0
            quantity = self.quantity("compartment", one, value, self.says_constant(one))
            self.add(quantity)
        for one in model.getListOfSpecies():
            self.read_species(one)
        for one in model.getListOfParameters():
            value = one.getValue() if one.isSetValue() else math.nan
            self.add(self.quantity("parameter", one, value, self.says_constant(one)))
        for one in model.getListOfSpecies():
            self.take_conversion_factor(one)

    def says_constant(self, element: Any) -> bool:
        # Level 1 has no such attribute.
        return self.level > 1 and bool(element.getConstant())

    def quantity(self, kind: str, element: Any, value: float, is_constant: bool) -> Quantity:
        name = element.getIdAttribute()
        return Quantity(
            name,
            self.names[name],
            kind,
            self.where(kind, element),
            value,
            is_constant,
            notes=ReadNotes.of(element),
        )

    def read_species(self, one: Any) -> None:
        value, is_concentration = self.unset_amount, False
        if one.isSetInitialAmount():
            value = one.getInitialAmount()
        elif one.isSetInitialConcentration():
            value, is_concentration = one.getInitialConcentration(), True
        quantity = self.quantity("species", one, value, self.says_constant(one))
        place = self.quantities.get(one.getCompartment())
        if place is None or place.kind != "compartment":
            raise FormatError(
                f"{quantity.where} is in the unknown compartment {shown(one.getCompartment())}"
            )
        compartment = self.model.getCompartment(one.getCompartment())
        is_point = (
            compartment.isSetSpatialDimensions()
            and compartment.getSpatialDimensionsAsDouble() == 0.0
        )
        if not is_point:
            quantity.inside = place
            if not one.getHasOnlySubstanceUnits():
                quantity.compartment = place
        quantity.is_concentration = is_concentration and not is_point
        self.add(quantity)

    def take_conversion_factor(self, one: Any) -> None:
        named = one.getConversionFactor() if one.isSetConversionFactor() else ""
        if not named and self.level > 2 and self.model.isSetConversionFactor():
            named = self.model.getConversionFactor()
        if named:
            factor = self.quantities.get(named)
            species = self.quantities[one.getIdAttribute()]
            if factor is None or factor.kind != "parameter":
                raise FormatError(
                    f"the conversion factor {shown(named)} of {species.where} is no parameter"
                )
            species.factor = factor

    def formula_of(self, element: Any, where: str) -> Any:
        """Return libsbml's tree of a law or a rule, or None if it has no formula."""
        formula = element.getMath() if element.isSetMath() else None
        if formula is None and self.level == 1:
            raise FormatError(
                f"the formula of {where}, {shown(element.getFormula())}, is not one of SBML"
            )
        return formula

    def find(self, named: str, what: str) -> Quantity:
        quantity = self.quantities.get(named)
        if quantity is None:
            kind = "a reaction or function" if named in self.names else "unknown"
            raise FormatError(f"{what} changes {shown(named)}, which is {kind}")
        return quantity

    def changed(self, named: str, what: str) -> Quantity:
        """Return what a rule or an event changes."""
        quantity = self.find(named, what)
        if quantity.is_constant:
            raise FormatError(
                f"{what} changes {quantity.where}, which is declared constant; say "
                'constant="false" there'
            )
        return quantity

    # -- Rules

    def read_rules(self) -> None:
        # Species references can be changed by rules, so they come first.
        for reaction in self.model.getListOfReactions():
            for group in (reaction.getListOfReactants(), reaction.getListOfProducts()):
                for one in group:
                    if one.getIdAttribute() and self.level > 2:
                        value = one.getStoichiometry() if one.isSetStoichiometry() else math.nan
                        is_constant = self.says_constant(one)
                        self.add(self.quantity("species reference", one, value, is_constant))
        for rule in self.model.getListOfRules():
            if rule.isAlgebraic():
                raise FormatError(
                    f"the algebraic rule on line {rule.getLine()} is not supported; solve it for "
                    "one of its quantities and make it an assignment rule"
                )
            kind = "assignment" if rule.isAssignment() else "rate"
            named = rule.getVariable()
            where = f"the {kind} rule of {shown(named)} (line {rule.getLine()})"
            quantity = self.changed(named, where)
            if quantity.rule:
                raise FormatError(f"{where} is the second rule of {quantity.where}")
            formula = self.formula_of(rule, where)
            if formula is None:
                continue  # has no effect (Level 3 Version 2)
            quantity.rule = kind
            quantity.formula = self.math.read(formula, where)
        for one in self.model.getListOfInitialAssignments():
            named = one.getSymbol()
            where = f"the initial assignment of {shown(named)} (line {one.getLine()})"
            quantity = self.find(named, where)
            if quantity.start is not None:
                raise FormatError(f"{where} is the second of {quantity.where}")
            if quantity.rule == "assignment":
                raise FormatError(f"{where} and an assignment rule both give {quantity.where}")
            if one.isSetMath():
                quantity.start = self.math.read(one.getMath(), where)

    # -- Reactions

    def read_reactions(self) -> None:
        for one in self.model.getListOfReactions():
            self.reactions.append(self.read_reaction(one))

    def read_reaction(self, one: Any) -> ReactionElement:
        where = self.where("reaction", one)
        if one.isSetFast() and one.getFast():
            raise FormatError(
                f'{where} is fast (fast="true"), which is not supported: its law would be an '
                "equilibrium instead of a rate"
            )
        reactants = [
            self.read_reference(reference, where) for reference in one.getListOfReactants()
        ]
        products = [self.read_reference(reference, where) for reference in one.getListOfProducts()]
        for reference in one.getListOfModifiers():
            self.species_of(reference, where)
        law: Expression = Number(0.0)  # without a law a reaction does not run
        kinetic = one.getKineticLaw()
        if kinetic is not None:
            local = self.read_local_parameters(one, kinetic)
            formula = self.formula_of(kinetic, f"the law of {where}")
            if formula is not None:
                law = self.math.read(formula, f"the law of {where}", local)
        # Level 2 says reversible where nothing is said.
        is_reversible = bool(one.getReversible())
        name = self.names[one.getIdAttribute()]
        return ReactionElement(
            one.getIdAttribute(),
            name,
            where,
            law,
            reactants,
            products,
            is_reversible,
            ReadNotes.of(one),
        )

    def read_local_parameters(self, reaction: Any, kinetic: Any) -> dict[str, str]:
        local: dict[str, str] = {}
        group = (
            kinetic.getListOfLocalParameters() if self.level > 2 else kinetic.getListOfParameters()
        )
        for one in group:
            name = one.getIdAttribute()
            where = self.where("local parameter", one)
            self.check_id(name, where)
            if name in local:
                raise FormatError(f"{where} is declared twice in one law")
            stored = self.math.free_name(f"{self.names[reaction.getIdAttribute()]}_{name}")
            local[name] = stored
            value = one.getValue() if one.isSetValue() else math.nan
            self.local_parameters.append(Parameter(stored, value))
        return local

    def species_of(self, reference: Any, where: str) -> Quantity:
        species = self.quantities.get(reference.getSpecies())
        if species is None or species.kind != "species":
            raise FormatError(
                f"{where} uses the unknown species {shown(reference.getSpecies())} "
                f"(line {reference.getLine()})"
            )
        return species

    def read_reference(self, reference: Any, where: str) -> Term:
        species = self.species_of(reference, where)
        is_boundary = self.model.getSpecies(reference.getSpecies()).getBoundaryCondition()
        if species.is_constant and not is_boundary:
            raise FormatError(
                f"{where} changes {species.where}, which is declared constant; say "
                'boundaryCondition="true" there if it is held as it is'
            )
        if not is_boundary:
            if species.rule:
                raise FormatError(
                    f"{where} changes {species.where}, which has a rule; say "
                    'boundaryCondition="true" there if the rule alone changes it'
                )
            species.is_moved = True
        own = self.quantities.get(reference.getIdAttribute())
        if own is not None and own.kind == "species reference":
            is_plain = own.rule == "" and own.start is None
            if is_plain and own.is_constant and not math.isnan(own.value):
                return Term(species, Number(own.value))
            return Term(species, Symbol(own.name))
        if reference.isSetStoichiometryMath():
            formula = reference.getStoichiometryMath().getMath()
            if formula is not None:
                owner = f"the stoichiometry of {shown(reference.getSpecies())} in {where}"
                return Term(species, self.math.read(formula, owner))
        coefficient = reference.getStoichiometry()
        if self.level == 1:
            coefficient /= reference.getDenominator()
        if not math.isfinite(coefficient):
            raise FormatError(
                f"{where} gives {shown(reference.getSpecies())} no stoichiometry "
                f"(line {reference.getLine()})"
            )
        return Term(species, Number(coefficient))

    # -- Events

    def read_events(self) -> None:
        for one in self.model.getListOfEvents():
            where = self.where("event", one)
            trigger, delay, priority = one.getTrigger(), one.getDelay(), one.getPriority()
            if trigger is None or not trigger.isSetMath():
                continue  # never fires (Level 3 Version 2)
            assignments: list[tuple[Quantity, Expression]] = []
            for assignment in one.getListOfEventAssignments():
                quantity = self.changed(assignment.getVariable(), where)
                if quantity.rule == "assignment":
                    raise FormatError(f"{where} changes {quantity.where}, which has a rule")
                if any(known is quantity for known, _ in assignments):
                    raise FormatError(f"{where} assigns {shown(quantity.id)} twice")
                if assignment.isSetMath():
                    owner = f"the assignment to {shown(quantity.id)} in {where}"
                    assignments.append((quantity, self.math.read(assignment.getMath(), owner)))
            condition = self.math.read(trigger.getMath(), f"the trigger of {where}")
            timing = [
                self.math.read(element.getMath(), f"the {what} of {where}")
                if element is not None and element.isSetMath()
                else None
                for element, what in ((delay, "delay"), (priority, "priority"))
            ]
            if not assignments:
                continue  # changes nothing
            for quantity, _ in assignments:
                quantity.is_assigned = True
            is_old = self.level < 3
            self.events.append(
                EventElement(
                    id=one.getIdAttribute(),
                    name=self.names.get(one.getIdAttribute(), ""),
                    where=where,
                    trigger=condition,
                    assignments=assignments,
                    delay=timing[0],
                    priority=timing[1],
                    # Level 2 looks at a trigger once, and never fires at the start.
                    is_persistent=is_old or bool(trigger.getPersistent()),
                    is_initially_true=is_old or bool(trigger.getInitialValue()),
                    values_at_trigger=(is_old and not one.isSetUseValuesFromTriggerTime())
                    or bool(one.getUseValuesFromTriggerTime()),
                )
            )
