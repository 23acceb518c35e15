"""Networks as SBML, Level 3 Version 2 core.

The text is written here, number by number as Python shows them: libsbml would keep 15 digits, and
16 or 17 are needed to get the same double back.
"""

from __future__ import annotations

import heapq
import itertools
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import NoReturn

from ..declarations import Compartment, Observable, Parameter, Species, Variable
from ..errors import FormatError
from ..events import Event
from ..expressions import Call, Expression, Number, Symbol
from ..names import CONSTANTS, shown
from ..network import Network
from ..reactions import Reaction
from .rate_splitting import Law, mass_action_constant
from .sbml_annotations import escaped, full_law, note
from .sbml_math import mathml, needs_more_digits
from .sbml_meaning import cancelled

__all__ = ["PLAIN_COMPARTMENT", "write_sbml"]

# Where an amount is in no compartment, SBML wants one all the same. Antimony calls it so, too.
PLAIN_COMPARTMENT = "default_compartment"

_LEVEL = "http://www.sbml.org/sbml/level3/version2/core"


def write_sbml(network: Network, *, digits: int = 17) -> str:
    """Return a network as SBML, Level 3 Version 2.

    Parameters
    ----------
    network : Network
        Rates become kinetic laws as they stand: a mass-action reaction ``2 A -> B @ c`` has the law
        ``c*A*(A - 1)/2``.
    digits : int, optional
        How many digits of a number the next program keeps. A number that needs more is written as
        the sum of two.

    Returns
    -------
    str
        The document. `read_sbml` gets a network from it with the same propensities in the same
        order.

    Raises
    ------
    FormatError
        If the network has what SBML does not: reactions that complete later, or a name that stands
        for two things.
    """
    return _Writer(network, digits).text()


def _value_text(value: float) -> str:
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "INF" if value > 0.0 else "-INF"
    return str(int(value)) if value.is_integer() and abs(value) < 1e16 else repr(value)


def _yes(value: bool) -> str:
    return "true" if value else "false"


class _Writer:
    def __init__(self, network: Network, digits: int) -> None:
        self.network = network
        self.digits = digits
        self.compartment_of: dict[str, Compartment] = {
            name: one for one in network.compartments for name in one.contents
        }
        self.sizes = {one.size for one in network.compartments}
        self.declared: dict[str, Species | Variable | Parameter | Observable] = {
            one.name: one
            for group in (
                network.species,
                network.variables,
                network.parameters,
                network.observables,
            )
            for one in group
        }
        self.sided = {
            name
            for reaction in network.reactions
            for name, _ in (*reaction.reactants, *reaction.products)
        }
        for name in sorted(self.sizes & (self.sided | self.compartment_of.keys())):
            raise FormatError(
                f"{name!r} is the size of a compartment and an amount that reacts or is in another "
                "compartment, which SBML keeps apart"
            )
        self.merged = self.merged_pairs()
        self.ids = self.taken_ids()
        self.rates_are_kept = self.which_keep_amounts()
        # A species shown as a concentration c is c*V in formulas, where its amount is meant.
        self.amounts: dict[str, Expression] = {
            name: Symbol(name) * Symbol(place.size)
            for name, place in self.compartment_of.items()
            if self.is_concentration(name)
        }
        self.references = self.references_with_ids()
        self.rules: list[str] = []
        self.starts: list[str] = []

    # -- Names

    def merged_pairs(self) -> dict[int, Expression]:
        """Return the net law of each pair R, R_reverse whose net rate is the observable R."""
        reactions = self.network.reactions
        rates = {one.name: one.expression for one in self.network.observables}
        merged: dict[int, Expression] = {}
        for index, (one, other) in enumerate(itertools.pairwise(reactions)):
            if (
                one.name in rates
                and other.name.rstrip("_") == f"{one.name}_reverse".rstrip("_")
                and other.reactants == one.products
                and other.products == one.reactants
            ):
                merged[index] = rates[one.name]
        return merged

    def taken_ids(self) -> dict[str, str]:
        """Return the id of each declared name, and see that reactions and events have others."""
        ids = {name: escaped(name) for name in self.declared}
        used = set(ids.values())
        self.plain = self.free(PLAIN_COMPARTMENT, used)
        self.reaction_ids: list[str] = []
        self.dropped: set[str] = set()  # observables that are the rate of the reaction so named
        self.unnamed: set[int] = set()
        given = {escaped(one.name) for one in self.network.reactions if one.name}
        for index, reaction in enumerate(self.network.reactions):
            if index - 1 in self.merged:
                self.reaction_ids.append("")
                continue
            if reaction.name in self.declared:
                self.take_observable_of(index, reaction)
            elif escaped(reaction.name) in used and reaction.name:
                self.refuse_name(reaction.name)
            name = escaped(reaction.name)
            if not name:
                name = f"reaction_{index + 1}"
                while name in used or name in given:
                    name += "_"
                self.unnamed.add(index)
            used.add(name)
            self.reaction_ids.append(name)
        for event in self.network.events:
            if event.name:
                if escaped(event.name) in used:
                    self.refuse_name(event.name)
                used.add(escaped(event.name))
        self.used = used
        return ids

    def take_observable_of(self, index: int, reaction: Reaction) -> None:
        observable = self.declared[reaction.name]
        if not isinstance(observable, Observable):
            self.refuse_name(reaction.name)
        if reaction.kind == "mass_action":
            counts = dict(_counts(reaction.reactants))
            known = Law(counts.keys(), self.declared.keys(), counts)
            is_rate = (
                observable.expression == full_law(reaction.rate, counts.items())
                or mass_action_constant(observable.expression, known) == reaction.rate
            )
        else:
            is_rate = observable.expression == reaction.rate
        if index not in self.merged and not is_rate:
            self.refuse_name(reaction.name)
        self.dropped.add(reaction.name)

    def refuse_name(self, name: str) -> NoReturn:
        raise FormatError(
            f"the name {shown(name)} stands for two things, of which one is a reaction or an "
            "event; SBML has one set of ids for all, so rename one of them"
        )

    @staticmethod
    def free(wanted: str, used: set[str]) -> str:
        while wanted in used:
            wanted += "_"
        used.add(wanted)
        return wanted

    # -- What is what

    def which_keep_amounts(self) -> set[str]:
        """Return concentrations that are written as amounts, and noted to be concentrations.

        The rule of a concentration in a volume that changes would need the volume's own rate.
        """
        kept: set[str] = set()
        constant = {one.name for one in self.network.parameters}
        for variable in self.network.variables:
            place = self.compartment_of.get(variable.name)
            if (
                place is not None
                and variable.name in place.as_concentrations
                and variable.rate is not None
                and place.size not in constant
            ):
                kept.add(variable.name)
        return kept

    def is_concentration(self, name: str) -> bool:
        place = self.compartment_of.get(name)
        return (
            place is not None
            and name in place.as_concentrations
            and name not in self.rates_are_kept
        )

    def is_species(self, name: str) -> bool:
        return (
            isinstance(self.declared[name], Species)
            or name in self.compartment_of
            or name in self.sided
        )

    def references_with_ids(self) -> dict[tuple[int, int, int], str]:
        """Return the name of the coefficient of each place, where a name is the coefficient.

        A variable or observable that is a coefficient once, and neither an amount nor a size, is
        the id of that species reference.
        """
        places: dict[str, list[tuple[int, int, int]]] = {}
        for index, reaction in enumerate(self.network.reactions):
            for side, terms in enumerate((reaction.reactants, reaction.products)):
                for place, (_, count) in enumerate(terms):
                    if isinstance(count, Symbol) and count.name in self.declared:
                        places.setdefault(count.name, []).append((index, side, place))
        return {
            found[0]: name
            for name, found in places.items()
            if len(found) == 1
            and not isinstance(self.declared[name], Parameter)
            and name not in self.sizes
            and not self.is_species(name)
        }

    # -- Formulas

    def formula(self, expression: Expression, where: str) -> str:
        """Return MathML of an expression of amounts."""
        for name in sorted(expression.symbols()):
            if name != "t" and name not in self.ids:
                assert name in CONSTANTS
        written = expression
        if self.amounts:
            written = cancelled(expression.substitute(self.amounts), outer="/", inner="*")
        return mathml(written, self.ids, where, digits=self.digits)

    def symbol_formula(self, name: str, expression: Expression, where: str) -> str:
        """Return MathML of what the symbol of `name` is, from the amount."""
        if self.is_concentration(name):
            expression = _divided(expression, Symbol(self.compartment_of[name].size))
        return self.formula(expression, where)

    # -- Elements

    def text(self) -> str:
        network = self.network
        for index, reaction in enumerate(network.reactions):
            if reaction.delay is not None:
                label = reaction.name or str(index + 1)
                raise FormatError(
                    f"reaction {label!r} completes later ({reaction}), which SBML does not have"
                )
        # The order matters: compartments and species leave their rules in self.rules.
        compartments = self.compartments()
        species = self.species()
        coefficients = set(self.references.values())
        parameters = [
            self.parameter(one)
            for group in (network.parameters, network.variables, network.observables)
            for one in group
            if one.name not in self.sizes
            and one.name not in coefficients
            and one.name not in self.dropped
            and not self.is_species(one.name)
        ]
        reactions = [
            self.reaction(index, one)
            for index, one in enumerate(network.reactions)
            if index - 1 not in self.merged
        ]
        reactions += self.rules_of_reacting_variables()
        events = [self.event(index, one) for index, one in enumerate(network.events)]
        lists = [
            ("listOfCompartments", compartments),
            ("listOfSpecies", species),
            ("listOfParameters", parameters),
            ("listOfInitialAssignments", self.starts),
            ("listOfRules", self.rules),
            ("listOfReactions", reactions),
            ("listOfEvents", events),
        ]
        body = [
            f"    <{name}>\n" + "".join(f"      {one}\n" for one in group) + f"    </{name}>\n"
            for name, group in lists
            if group
        ]
        return (
            '<?xml version="1.0" encoding="UTF-8"?>\n'
            f'<sbml xmlns="{_LEVEL}" level="3" version="2">\n'
            f'  <model id="{self.free("network", self.used)}">\n'
            f"    {note(kind='network')}\n{''.join(body)}"
            "  </model>\n</sbml>\n"
        )

    def start(self, name: str, value: float | Expression, attribute: str, where: str) -> str:
        """Return the attribute of a value at the start, or leave an initial assignment."""
        if not isinstance(value, Expression) and needs_more_digits(float(value), self.digits):
            value = Number(value)
        if isinstance(value, Expression):
            math_text = self.symbol_formula(name, value, where)
            self.starts.append(
                f'<initialAssignment symbol="{self.ids[name]}">{math_text}</initialAssignment>'
            )
            return ""
        return f' {attribute}="{_value_text(float(value))}"'

    def quantity(self, name: str, attribute: str) -> tuple[str, bool]:
        """Return the value of anything but a species as an attribute, and whether it is fixed."""
        one = self.declared[name]
        if isinstance(one, Observable):
            self.rule("assignment", name, one.expression)
            return "", False
        value: float | Expression
        if isinstance(one, Parameter):
            value = one.value
            where = f"the parameter {name!r}"
        else:
            value = one.initial
            where = f"the initial value of {name!r}"
        is_fixed = isinstance(one, Parameter)
        if isinstance(one, Variable) and one.rate is not None and name not in self.sided:
            self.rule("rate", name, one.rate)
        return self.start(name, value, attribute, where), is_fixed

    def rule(self, kind: str, name: str, expression: Expression) -> None:
        math_text = self.symbol_formula(name, expression, f"the {kind} rule of {name!r}")
        self.rules.append(f'<{kind}Rule variable="{self.ids[name]}">{math_text}</{kind}Rule>')

    def compartments(self) -> list[str]:
        written = []
        for one in self.network.compartments:
            value, is_fixed = self.quantity(one.size, "size")
            written.append(
                f'<compartment id="{self.ids[one.size]}" spatialDimensions="3"{value} '
                f'constant="{_yes(is_fixed)}"/>'
            )
        needs_place = any(
            self.is_species(name) and name not in self.compartment_of for name in self.declared
        )
        if needs_place:
            written.append(
                f'<compartment id="{self.plain}" spatialDimensions="3" size="1" constant="true">'
                f"{note(kind='plain')}</compartment>"
            )
        return written

    def species(self) -> list[str]:
        network = self.network
        groups: tuple[Sequence[Species | Variable | Parameter | Observable], ...] = (
            network.species,
            network.variables,
            network.parameters,
            network.observables,
        )
        orders = [[one.name for one in group if self.is_species(one.name)] for group in groups]
        inside = [one.contents for one in network.compartments]
        return [self.one_species(self.declared[name]) for name in _merged(orders, inside)]

    def one_species(self, one: Species | Variable | Parameter | Observable) -> str:
        name = one.name
        value, is_fixed = self.quantity(name, "initialAmount")
        place = self.compartment_of.get(name)
        is_free = isinstance(one, Species) or name in self.sided
        kind = ""
        if isinstance(one, Species) and name not in self.sided:
            kind = "species"
        elif isinstance(one, Variable) and name in self.sided:
            kind = "variable"
        said = note(kind=kind, shown="concentration" if name in self.rates_are_kept else "")
        inner = said if kind or name in self.rates_are_kept else ""
        opening = (
            f'<species id="{self.ids[name]}" '
            f'compartment="{self.ids[place.size] if place else self.plain}"{value} '
            f'hasOnlySubstanceUnits="{_yes(not self.is_concentration(name))}" '
            f'boundaryCondition="{_yes(not is_free)}" constant="{_yes(is_fixed)}"'
        )
        return f"{opening}>{inner}</species>" if inner else f"{opening}/>"

    def parameter(self, one: Variable | Parameter | Observable) -> str:
        value, is_fixed = self.quantity(one.name, "value")
        return f'<parameter id="{self.ids[one.name]}"{value} constant="{_yes(is_fixed)}"/>'

    def reaction(self, index: int, reaction: Reaction) -> str:
        name = self.reaction_ids[index]
        where = f"reaction {reaction.name or index + 1!r}"
        said = {"named": "false" if index in self.unnamed else ""}
        is_net = index in self.merged
        if is_net:
            law = self.merged[index]
        elif reaction.kind == "mass_action":
            law = full_law(reaction.rate, _counts(reaction.reactants))
            said["kind"] = "mass_action"
        else:
            law = reaction.rate
            said["kind"] = "propensity"
            said["limited"] = "true" if reaction.limited else ""
        sides = [
            self.side(index, side, terms, where)
            for side, terms in enumerate((reaction.reactants, reaction.products))
        ]
        changed = {one for one, _ in (*reaction.reactants, *reaction.products)}
        modifiers = [
            f'<modifierSpeciesReference species="{self.ids[one]}"/>'
            for one in sorted(law.symbols() - changed)
            if one in self.declared and self.is_species(one)
        ]
        lists = [
            f"<{tag}>{''.join(group)}</{tag}>"
            for tag, group in (
                ("listOfReactants", sides[0]),
                ("listOfProducts", sides[1]),
                ("listOfModifiers", modifiers),
            )
            if group
        ]
        return (
            f'<reaction id="{name}" reversible="{_yes(is_net)}">'
            f"{'' if is_net else note(**said)}{''.join(lists)}"
            f"<kineticLaw>{self.formula(law, f'the rate of {where}')}</kineticLaw></reaction>"
        )

    def side(
        self, index: int, side: int, terms: Iterable[tuple[str, float | Expression]], where: str
    ) -> list[str]:
        written = []
        for place, (name, count) in enumerate(terms):
            species = self.ids[name]
            reference = self.references.get((index, side, place))
            if reference is not None:
                value, is_fixed = self.quantity(reference, "stoichiometry")
                written.append(
                    f'<speciesReference id="{self.ids[reference]}" species="{species}"{value} '
                    f'constant="{_yes(is_fixed)}"/>'
                )
            elif isinstance(count, Expression):
                known = self.free(f"{self.reaction_ids[index]}_{species}", self.used)
                math_text = self.formula(count, f"a coefficient of {where}")
                self.rules.append(
                    f'<assignmentRule variable="{known}">{math_text}</assignmentRule>'
                )
                written.append(
                    f'<speciesReference id="{known}" species="{species}" constant="false"/>'
                )
            else:
                written.append(
                    f'<speciesReference species="{species}" '
                    f'stoichiometry="{_value_text(float(count))}" constant="true"/>'
                )
        return written

    def rules_of_reacting_variables(self) -> list[str]:
        """Return a reaction for the rule of each variable that reactions change as well.

        SBML lets either change a species, so the rule becomes one more reaction.
        """
        written = []
        for variable in self.network.variables:
            if variable.name in self.sided and variable.rate is not None:
                known = self.free(f"{self.ids[variable.name]}_rule", self.used)
                math_text = self.formula(variable.rate, f"the rule of {variable.name!r}")
                written.append(
                    f'<reaction id="{known}" reversible="true">{note(kind="propensity")}'
                    f'<listOfProducts><speciesReference species="{self.ids[variable.name]}" '
                    'stoichiometry="1" constant="true"/></listOfProducts>'
                    f"<kineticLaw>{math_text}</kineticLaw></reaction>"
                )
        return written

    def event(self, index: int, event: Event) -> str:
        where = f"event {event.name or index + 1!r}"
        values = dict(event.assignments)
        assignments = []
        for target, value in event.assignments:
            owner = f"the value of {target!r} in {where}"
            is_given = target in event.as_concentrations
            if is_given != self.is_concentration(target):
                # SBML knows the other of amount and concentration here.
                name = self.compartment_of[target].size
                if event.delay is not None and event.values == "trigger" and self.varies(name):
                    other = f"the amount {target}" if is_given else f"[{target}]"
                    raise FormatError(
                        f"{where} keeps a value of {target!r} from its trigger, while the size "
                        f"{name!r} changes; assign {other}"
                    )
                size = self.size_after(name, values)
                value = value * size if is_given else _divided(value, size)
            math_text = self.formula(value, owner)
            assignments.append(
                f'<eventAssignment variable="{self.ids[target]}">{math_text}</eventAssignment>'
            )
        timing = "".join(
            f"<{tag}>{self.formula(expression, f'the {tag} of {where}')}</{tag}>"
            for tag, expression in (("priority", event.priority), ("delay", event.delay))
            if expression is not None
        )
        name = f' id="{escaped(event.name)}"' if event.name else ""
        return (
            f'<event{name} useValuesFromTriggerTime="{_yes(event.values == "trigger")}">'
            f'<trigger initialValue="{_yes(event.initially)}" '
            f'persistent="{_yes(event.persistent)}">'
            f"{self.formula(event.trigger, f'the trigger of {where}')}</trigger>{timing}"
            f"<listOfEventAssignments>{''.join(assignments)}</listOfEventAssignments></event>"
        )

    def varies(self, size: str) -> bool:
        """Whether the size of a compartment may change."""
        return size not in self.network.parameter_names

    def size_after(self, size: str, values: Mapping[str, Expression]) -> Expression:
        """Return the size of a compartment once an event has made its assignments."""
        if size in values:
            return values[size]
        one = self.declared[size]
        if isinstance(one, Observable):
            inlined = self.network.expanded(one.expression)
            if inlined.symbols() & values.keys():
                return inlined.substitute(values)
        return Symbol(size)


def _counts(terms: Iterable[tuple[str, float | Expression]]) -> list[tuple[str, int]]:
    return [(name, int(count)) for name, count in terms if not isinstance(count, Expression)]


def _merged(orders: Sequence[Sequence[str]], further: Sequence[Sequence[str]]) -> Sequence[str]:
    """Return the names in an order that keeps all the given ones, or one after the other."""
    names = [name for order in orders for name in order]
    followers: dict[str, set[str]] = {name: set() for name in names}
    for order in (*orders, *further):
        for one, following in itertools.pairwise(order):
            followers[one].add(following)
    n_before = dict.fromkeys(names, 0)
    for names_after in followers.values():
        for name in names_after:
            n_before[name] += 1
    place = {name: index for index, name in enumerate(names)}
    ready = [place[name] for name in names if n_before[name] == 0]
    heapq.heapify(ready)
    merged: list[str] = []
    while ready:
        name = names[heapq.heappop(ready)]
        merged.append(name)
        for following in followers[name]:
            n_before[following] -= 1
            if n_before[following] == 0:
                heapq.heappush(ready, place[following])
    return merged if len(merged) == len(names) else names


def _divided(expression: Expression, size: Expression) -> Expression:
    """Return a quotient; (x*V)/V is x."""
    if (
        isinstance(expression, Call)
        and expression.operation == "*"
        and expression.arguments[1] == size
    ):
        return expression.arguments[0]
    if isinstance(expression, Number) and expression.value == 0.0:
        return expression
    return expression / size
