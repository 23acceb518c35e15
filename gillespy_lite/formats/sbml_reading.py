"""Networks from SBML: Level 3 core, and Levels 1 and 2.

A network stores amounts. Where a formula of the model means a concentration, the amount is divided
by the size of the compartment. What changes by reactions, rules or events is a species (whole
amounts) or a variable (real ones); what never changes is a parameter; what an assignment rule
gives is an observable.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, NoReturn

from ..declarations import Compartment, Observable, Parameter, Species, Variable, initial_problem
from ..errors import FormatError, NetworkError
from ..events import Event
from ..expressions import Call, Expression, Number, Symbol
from ..names import MAX_NAME_LENGTH, RESERVED, shown
from ..network import Network
from ..reactions import Reaction
from .rate_splitting import Law, mass_action_constant, split_rate
from .sbml_annotations import ReadNotes, rate_constant, unescaped
from .sbml_math import MathReader, imported_libsbml
from .xml_screening import check_sbml_namespaces, is_text_of_a_model, read_limited, screened_xml

__all__ = ["read_sbml"]

_ID = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


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
        return _Reader(libsbml, model, plain_compartment, unset_amount).network()
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
        if error.getSeverity() in serious:
            words = " ".join(error.getMessage().split())
            raise FormatError(
                f"line {error.getLine()}: {words[:600]} (libsbml error {error.getErrorId()})"
            )


@dataclass(slots=True)
class _Quantity:
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
    compartment: _Quantity | None = None  # by whose size the symbol is divided, if it is
    inside: _Quantity | None = None  # the compartment it is in
    is_concentration: bool = False  # whether `value` is one
    factor: _Quantity | None = None  # conversion factor
    is_whole: bool = False  # counted in molecules
    notes: ReadNotes = field(default_factory=ReadNotes)


@dataclass(slots=True)
class _Term:
    """One species on one side of a reaction."""

    species: _Quantity
    coefficient: Expression


@dataclass(slots=True)
class _Reaction:
    id: str
    name: str
    where: str
    law: Expression
    reactants: list[_Term]
    products: list[_Term]
    is_reversible: bool
    notes: ReadNotes


@dataclass(slots=True)
class _Event:
    id: str
    where: str
    trigger: Expression
    assignments: list[tuple[_Quantity, Expression]]
    delay: Expression | None
    priority: Expression | None
    is_persistent: bool
    is_initially_true: bool
    values_at_trigger: bool
    name: str = field(default="")


class _Reader:
    """Reads the elements of a model one kind after another, and puts the network together."""

    def __init__(
        self, libsbml: Any, model: Any, plain_compartment: str, unset_amount: float
    ) -> None:
        self.unset_amount = unset_amount
        self.libsbml = libsbml
        self.model = model
        self.level = model.getLevel()
        self.plain_compartment = plain_compartment
        self.notes = ReadNotes.of(model)
        self.quantities: dict[str, _Quantity] = {}  # by id
        self.by_name: dict[str, _Quantity] = {}
        self.reactions: list[_Reaction] = []
        self.events: list[_Event] = []
        self.lines: dict[str, str] = {}  # where each id was first used
        self.names: dict[str, str] = {}
        self.local_parameters: list[Parameter] = []
        self.refuse_what_is_not_supported()
        ids = self.all_ids()
        self.take_names(ids)
        self.math = MathReader(libsbml, dict(self.names), {*ids, *self.names.values()})
        self.sizes_in_formulas: set[str] = set()
        self.read_functions()
        self.read_quantities()
        self.read_rules()
        self.read_reactions()
        self.read_events()
        self.resolving: list[str] = []
        self.rates_known: dict[str, Expression] = {}
        self.starts_known: dict[str, Expression] = {}
        self.reaction_symbols = {one.name: one for one in self.reactions}

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

    def refuse_what_is_not_supported(self) -> None:
        for constraint in self.model.getListOfConstraints():
            raise FormatError(
                f"{self.where('constraint', constraint)} is not supported: a run would have to "
                "stop where it is violated; remove it, and look at the results"
            )

    def read_functions(self) -> None:
        self.math.define_functions(
            {
                one.getIdAttribute(): (one, self.where("function", one))
                for one in self.model.getListOfFunctionDefinitions()
            }
        )
        for one in self.model.getListOfFunctionDefinitions():
            self.math.names.pop(one.getIdAttribute(), None)
        for one in self.model.getListOfEvents():
            self.math.names.pop(one.getIdAttribute(), None)

    def add(self, quantity: _Quantity) -> _Quantity:
        self.quantities[quantity.id] = quantity
        self.by_name[quantity.name] = quantity
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

    def quantity(self, kind: str, element: Any, value: float, is_constant: bool) -> _Quantity:
        name = element.getIdAttribute()
        return _Quantity(
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

    def find(self, named: str, what: str) -> _Quantity:
        quantity = self.quantities.get(named)
        if quantity is None:
            kind = "a reaction or function" if named in self.names else "unknown"
            raise FormatError(f"{what} changes {shown(named)}, which is {kind}")
        return quantity

    def changed(self, named: str, what: str) -> _Quantity:
        """Return what a rule or an event changes."""
        quantity = self.find(named, what)
        if quantity.is_constant:
            raise FormatError(
                f"{what} changes {quantity.where}, which is declared constant; say "
                'constant="false" there'
            )
        return quantity

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

    def read_reaction(self, one: Any) -> _Reaction:
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
        return _Reaction(
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

    def species_of(self, reference: Any, where: str) -> _Quantity:
        species = self.quantities.get(reference.getSpecies())
        if species is None or species.kind != "species":
            raise FormatError(
                f"{where} uses the unknown species {shown(reference.getSpecies())} "
                f"(line {reference.getLine()})"
            )
        return species

    def read_reference(self, reference: Any, where: str) -> _Term:
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
                return _Term(species, Number(own.value))
            return _Term(species, Symbol(own.name))
        if reference.isSetStoichiometryMath():
            formula = reference.getStoichiometryMath().getMath()
            if formula is not None:
                owner = f"the stoichiometry of {shown(reference.getSpecies())} in {where}"
                return _Term(species, self.math.read(formula, owner))
        coefficient = reference.getStoichiometry()
        if self.level == 1:
            coefficient /= reference.getDenominator()
        if not math.isfinite(coefficient):
            raise FormatError(
                f"{where} gives {shown(reference.getSpecies())} no stoichiometry "
                f"(line {reference.getLine()})"
            )
        return _Term(species, Number(coefficient))

    # -- Events

    def read_events(self) -> None:
        for one in self.model.getListOfEvents():
            where = self.where("event", one)
            trigger, delay, priority = one.getTrigger(), one.getDelay(), one.getPriority()
            if trigger is None or not trigger.isSetMath():
                continue  # never fires (Level 3 Version 2)
            assignments: list[tuple[_Quantity, Expression]] = []
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
                _Event(
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

    # -- What symbols mean

    def is_plain(self, compartment: _Quantity) -> bool:
        """Whether a compartment was added by a writer because SBML wants one."""
        return (
            (compartment.id == self.plain_compartment or compartment.notes.kind == "plain")
            and compartment.value == 1.0
            and not compartment.rule
            and compartment.start is None
            and not compartment.is_assigned
        )

    def size_of(self, species: _Quantity) -> _Quantity | None:
        """Return the compartment by whose size the symbol of a species is divided."""
        if species.compartment is None or self.is_plain(species.compartment):
            return None
        return species.compartment

    def meaning(self, name: str) -> Expression:
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
                replacements[name] = self.meaning(name)
        return _cancelled(formula.substitute(replacements))

    def scaled(self, species: _Quantity, formula: Expression) -> Expression:
        """Return an amount from what a formula gives for the symbol of a species."""
        size = self.size_of(species) if species.kind == "species" else None
        return _times(formula, Symbol(size.name)) if size is not None else formula

    def kind_of(self, quantity: _Quantity) -> str:
        """Return how a quantity is stored."""
        if quantity.rule == "assignment":
            return "observable"
        is_kept = quantity.notes.kind == "species" and not quantity.rule
        if quantity.rule == "rate" or quantity.is_assigned or quantity.is_moved or is_kept:
            return "species" if quantity.is_whole else "variable"
        return "parameter"

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

    def _stored_rate(self, quantity: _Quantity) -> Expression:
        kind = self.kind_of(quantity)
        if kind == "parameter":
            return Number(0.0)
        if kind == "observable":
            return self.slope(self.observable(quantity))
        if quantity.rule == "rate":
            return self.rule_rate(quantity)
        total: Expression | None = None
        for reaction in self.reactions:
            for terms, sign in ((reaction.reactants, "-"), (reaction.products, "+")):
                for term in terms:
                    if term.species is quantity and quantity.is_moved:
                        part = _times(Symbol(reaction.name), self.coefficient(term))
                        if total is None:
                            total = part if sign == "+" else Call("neg", (part,))
                        else:
                            total = Call(sign, (total, part))
        return total if total is not None else Number(0.0)

    def rule_rate(self, quantity: _Quantity) -> Expression:
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
            **{one.name: float(one.value) for one in self.local_parameters},  # type: ignore[arg-type]
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
        quantity = self.by_name.get(name)
        reaction = self.reaction_symbols.get(name)
        where = quantity.where if quantity is not None else reaction.where if reaction else name
        raise FormatError(f"{where} is defined in a circle: its value needs itself")

    # -- Putting it together

    def observable(self, quantity: _Quantity) -> Expression:
        assert quantity.formula is not None
        return self.scaled(quantity, self.resolved(quantity.formula))

    def coefficient(self, term: _Term) -> Expression:
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

    def never_changes(self, quantity: _Quantity) -> bool:
        return self.kind_of(quantity) == "parameter" and quantity.start is None

    def decide_which_are_whole(self) -> None:
        """Mark the species that are counted in molecules; the other amounts are real numbers."""
        moved = [
            one
            for one in self.quantities.values()
            if one.is_moved or (one.notes.kind == "species" and not one.rule)
        ]
        for species in moved:
            species.is_whole = species.notes.kind != "variable"
        for reaction in self.reactions:
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

    def network(self) -> Network:
        self.decide_which_are_whole()
        kinds: dict[str, list[_Quantity]] = {
            "species": [],
            "variable": [],
            "parameter": [],
            "observable": [],
        }
        for quantity in self.quantities.values():
            kinds[self.kind_of(quantity)].append(quantity)
        species = [self.species(one) for one in kinds["species"]]
        variables = [self.variable(one) for one in kinds["variable"]]
        events = [self.event(one) for one in self.events]
        laws = {one.name: self.resolved(one.law) for one in self.reactions}
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

    def declared_start(self, quantity: _Quantity) -> Expression | float:
        """Return a value at the start, as a float where it is not finite."""
        start = self.start_of(quantity.name)
        if isinstance(start, Number):
            return start.value
        if start == Symbol(self.math.nan):
            return math.nan
        value = self.value_at_start(start)
        return start if math.isfinite(value) else value

    def species(self, quantity: _Quantity) -> Species:
        return Species(quantity.name, self.declared_start(quantity))

    def variable(self, quantity: _Quantity) -> Variable:
        rate = self.rule_rate(quantity) if quantity.rule == "rate" else None
        return Variable(quantity.name, self.declared_start(quantity), rate)

    def parameters(self, quantities: list[_Quantity]) -> list[Parameter]:
        found = {one.name: one for one in self.local_parameters}
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
        local = {one.name for one in self.local_parameters}
        given = [name for name in found if name not in local]
        order = self.sorted_by_use([*given, *(one for one in found if one in local)], definition)
        return [found[name] for name in order]

    def is_left_out(self, compartment: _Quantity) -> bool:
        """Whether a compartment says nothing of the model."""
        return self.is_plain(compartment) and compartment.name not in self.used_names

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
        species = {name for name, one in self.by_name.items() if one.is_whole}
        positive = {name for name, one in self.by_name.items() if self.is_positive(one)}
        positive |= {
            one.name
            for one in self.local_parameters
            if isinstance(one.value, float) and one.value >= 0.0
        }
        taken_names = {one.name for one in self.reactions}
        for one in self.reactions:
            law = laws[one.name]
            reactants, products = self.sides(one)
            moved = {*reactants, *products}
            counts = {name: int(count) for name, count in reactants.items() if name in species}
            known = Law(species, positive, counts)
            if isinstance(law, Number) and law.value < 0.0:
                # A propensity that is a negative number is refused; the rate equations take it.
                name = self.math.free_name(f"{one.name}_rate")
                self.local_parameters.append(Parameter(name, law.value))
                law = Symbol(name)
            is_counted = moved <= species
            kind = one.notes.kind
            constant = rate_constant(law, reactants) if kind == "mass_action" else None
            if constant is None and is_counted:
                constant = mass_action_constant(law, known)
            name = "" if one.notes.is_unnamed else one.name
            if constant is not None and kind != "propensity":
                written.append(Reaction(reactants, products, constant, name=name))
                continue
            pair = None
            if is_counted and kind != "propensity":
                pair = split_rate(
                    law,
                    known,
                    consumed={
                        name for name in moved if reactants.get(name, 0) > products.get(name, 0)
                    },
                    produced={
                        name for name in moved if reactants.get(name, 0) < products.get(name, 0)
                    },
                    is_reversible=one.is_reversible,
                )
            if pair is None:
                limited = one.notes.is_limited
                written.append(
                    Reaction(
                        reactants, products, law, kind="propensity", name=name, limited=limited
                    )
                )
                continue
            back = f"{one.name}_reverse"
            while back in taken_names:
                back += "_"
            taken_names.add(back)
            net_rates[one.name] = law
            for sides, rate, label in (
                ((reactants, products), pair[0], one.name),
                ((products, reactants), pair[1], back),
            ):
                constants = Law(
                    species, positive, {key: int(count) for key, count in sides[0].items()}
                )
                constant = mass_action_constant(rate, constants)
                written.append(
                    Reaction(*sides, rate, kind="propensity", name=label, limited=False)
                    if constant is None
                    else Reaction(*sides, constant, name=label)
                )
        return written, net_rates

    def is_positive(self, quantity: _Quantity) -> bool:
        """Whether a quantity that is no species is never negative, as far as its value says."""
        if quantity.is_whole:
            return False
        if self.kind_of(quantity) == "parameter":
            return self.value_at_start(self.start_of(quantity.name)) >= 0.0
        return quantity.kind == "compartment"

    def sides(self, reaction: _Reaction) -> tuple[dict[str, Any], dict[str, Any]]:
        """Return the two sides: what reactions do not change is left out of them."""
        sides: tuple[dict[str, Any], dict[str, Any]] = ({}, {})
        for place, terms in enumerate((reaction.reactants, reaction.products)):
            for term in terms:
                if not term.species.is_moved:
                    continue
                coefficient = self.coefficient(term)
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

    def event(self, one: _Event) -> Event:
        assigned: dict[str, Expression] = {}
        for quantity, value in one.assignments:
            is_concentration = quantity.kind == "species" and self.size_of(quantity) is not None
            target = f"[{quantity.name}]" if is_concentration else quantity.name
            assigned[target] = self.resolved(value)
        trigger = self.resolved(one.trigger)
        if not (isinstance(trigger, Call) and trigger.operation in _CONDITIONS):
            trigger = Call("!=", (trigger, Number(0.0)))
        return Event(
            trigger,
            assigned,
            delay=None if one.delay is None else self.resolved(one.delay),
            priority=None if one.priority is None else self.resolved(one.priority),
            persistent=one.is_persistent,
            initially=one.is_initially_true,
            values="trigger" if one.values_at_trigger else "execution",
            name=one.name,
        )

    def observables(
        self,
        quantities: list[_Quantity],
        laws: Mapping[str, Expression],
        net_rates: Mapping[str, Expression],
        variables: Iterable[Variable],
        events: Iterable[Event],
        reactions: Iterable[Reaction],
    ) -> list[Observable]:
        """Return assignment rules, and the rates of reactions that are two or that others use."""
        definitions = {one.name: self.observable(one) for one in quantities}
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
        order = self.sorted_by_use(definitions, definitions.__getitem__)
        return [Observable(name, definitions[name]) for name in order]

    def compartments(self) -> list[Compartment]:
        found: list[Compartment] = []
        for compartment in self.quantities.values():
            if compartment.kind != "compartment" or self.is_plain(compartment):
                continue
            inside = [one for one in self.quantities.values() if one.inside is compartment]
            if inside:
                found.append(
                    Compartment(
                        compartment.name,
                        [one.name for one in inside],
                        [
                            one.name
                            for one in inside
                            if self.size_of(one) is not None or one.notes.is_concentration
                        ],
                    )
                )
        return found


_CONDITIONS = frozenset(["<", "<=", ">", ">=", "==", "!=", "and", "or", "not"])


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


def _cancelled(expression: Expression) -> Expression:
    """Return an expression with (x/V)*V replaced by x, where both V are one name."""

    def combine(node: Call, arguments: list[Expression]) -> Expression:
        if node.operation == "*":
            first, second = arguments
            if (
                isinstance(second, Symbol)
                and isinstance(first, Call)
                and first.operation == "/"
                and first.arguments[1] == second
            ):
                return first.arguments[0]
        if all(new is old for new, old in zip(arguments, node.arguments, strict=True)):
            return node
        return Call(node.operation, tuple(arguments))

    return expression.fold(lambda node: node, combine)
