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
import math
import numbers
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from .declarations import (
    MAX_COUNT,
    Compartment,
    Observable,
    Parameter,
    Rule,
    Species,
    Variable,
    initial_problem,
    not_finite,
    number_of,
    start_problem,
)
from .errors import NetworkError
from .events import Event
from .expressions import TIME, Expression, Number, Operand, as_expression
from .mass_action import rate_expression
from .names import CONSTANTS, did_you_mean, normal_name, shown
from .network_checks import MAX_MASS_ACTION, Problem, find_problem
from .network_display import network_html, network_latex, network_text
from .reactions import (
    DELAY_LAWS,
    MAX_COEFFICIENT,
    Delay,
    Kind,
    Nothing,
    Propensity,
    RatedSide,
    Reaction,
    ReversibleReaction,
    nothing,
    propensity,
)

if TYPE_CHECKING:
    from .complexes import NetworkStructure
    from .explanation import Explanation

__all__ = [
    "DELAY_LAWS",
    "MAX_COEFFICIENT",
    "MAX_COUNT",
    "MAX_MASS_ACTION",
    "TIME",
    "Compartment",
    "Delay",
    "Event",
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
    "Rule",
    "Species",
    "Variable",
    "find_problem",
    "initial_problem",
    "nothing",
    "propensity",
    "start_problem",
    "t",
]

t = TIME


class _Structure:
    """What all the relatives of a network share: everything but the numbers."""

    __slots__ = (
        "compartments",
        "declared",
        "defined",
        "definitions",
        "events",
        "expanded_rates",
        "expanded_variable_rates",
        "memo",
        "observable_names",
        "observables",
        "parameter_index",
        "parameter_names",
        "reactions",
        "shared",
        "species_index",
        "species_names",
        "state_index",
        "variable_names",
        "variable_rates",
    )

    def __init__(
        self,
        species_names: tuple[str, ...],
        parameter_names: tuple[str, ...],
        observables: tuple[Observable, ...],
        reactions: tuple[Reaction, ...],
        variable_names: tuple[str, ...],
        variable_rates: tuple[Expression | None, ...],
        events: tuple[Event, ...],
        compartments: tuple[Compartment, ...],
    ) -> None:
        self.events = events
        self.compartments = compartments
        self.species_names = species_names
        self.variable_names = variable_names
        self.variable_rates = variable_rates
        self.parameter_names = parameter_names
        self.observables = observables
        self.reactions = reactions
        self.observable_names = tuple(observable.name for observable in observables)
        self.species_index = {name: index for index, name in enumerate(species_names)}
        self.parameter_index = {name: index for index, name in enumerate(parameter_names)}
        state_names = species_names + variable_names
        self.state_index = {name: index for index, name in enumerate(state_names)}
        self.declared = frozenset(
            (*species_names, *variable_names, *parameter_names, *self.observable_names)
        )
        self.defined = frozenset((*self.observable_names, *(CONSTANTS.keys() - self.declared)))
        self.definitions: dict[str, Expression] = {}  # of these; filled by `define` when needed
        self.expanded_rates: dict[int, Expression] = {}
        self.expanded_variable_rates: dict[int, Expression] = {}
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
        return (
            self.species_names,
            self.parameter_names,
            self.observables,
            self.reactions,
            self.variable_names,
            self.variable_rates,
            self.events,
            self.compartments,
        )

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
    "Variable": 'Variable("X", 1.5)',
    "Event": "Event(A > 30, {B: B + 1})",
    "Compartment": "Compartment(V, [A, B])",
}


def _rules(
    variables: Iterable[Variable], rules: Mapping[Variable | str, Operand | float]
) -> list[Rule]:
    """Return the rates that the variables carry, and those given beside them."""
    if not isinstance(rules, Mapping):
        raise TypeError(
            f"rules must map variables to their rates, like {{X: r*X*(1 - X)}}, not {rules!r}"
        )
    found = [Rule(one.name, one.rate) for one in variables if one.rate is not None]
    for variable, rate in rules.items():
        name = getattr(variable, "name", variable)
        if not isinstance(name, str):
            raise TypeError(f"the keys of rules are variables or their names, not {variable!r}")
        found.append(Rule(normal_name(name), as_expression(rate)))
    return found


def _ruled(variables: Iterable[Variable], rules: Iterable[Rule]) -> tuple[Variable, ...]:
    """Return the variables with the rates that the rules give them."""
    rates = dict(rules)
    return tuple(Variable(one.name, one.initial, rates.get(one.name)) for one in variables)


_NO_RULES: Mapping[Variable | str, Operand | float] = {}


class Network:
    """A reaction network: species, variables, reactions, parameters and observables.

    Networks never change, are equal when their declarations are, and can be keys of dicts.
    ``print(network)`` shows the network in the language, and ``Network.parse(str(network))`` is
    equal to it.

    Parameters
    ----------
    species : iterable of Species, optional
        Their order is the order of columns in results. A network has at least one species or
        variable.
    reactions : iterable of Reaction or ReversibleReaction, optional
        A reversible reaction becomes two.
    parameters : iterable of Parameter, optional
        Each may use those before it.
    observables : iterable of Observable, optional
        Each may use those before it.
    variables : iterable of Variable, optional
        Their columns follow those of the species.
    rules : mapping of Variable or str to Expression or float, optional
        Time derivatives of the variables that carry no rate of their own, per unit time:
        ``rules={X: a*X - b*X*Y, Y: c*X*Y - d*Y}``. Each variable has one rate, or none if
        reactions or events change it.
    events : iterable of Event, optional
        What is assigned when conditions become true.
    compartments : iterable of Compartment, optional
        Volumes, by which results show amounts as concentrations.

    Raises
    ------
    NetworkError
        If a name is repeated or not declared, a definition circular, a value not finite, a count
        not a whole number or a rate negative.
    """

    __slots__ = ("_initials", "_known", "_starts", "_structure", "_values")
    _structure: _Structure
    _initials: tuple[int | Expression, ...]  # of the species
    _starts: tuple[float | Expression, ...]  # of the variables
    _values: tuple[float | Expression, ...]
    _known: dict[str, Any]  # what was worked out from the numbers, on demand

    def __init__(
        self,
        species: Iterable[Species] = (),
        reactions: Iterable[Reaction | ReversibleReaction] = (),
        parameters: Iterable[Parameter] = (),
        observables: Iterable[Observable] = (),
        variables: Iterable[Variable] = (),
        rules: Mapping[Variable | str, Operand | float] = _NO_RULES,
        events: Iterable[Event] = (),
        compartments: Iterable[Compartment] = (),
    ) -> None:
        given: object = species
        if isinstance(given, str):
            raise TypeError("to read a network from text, call Network.parse(text)")
        parts = (
            _all_of(Species, species, "species"),
            tuple(_flattened(reactions)),
            _all_of(Parameter, parameters, "parameters"),
            _all_of(Observable, observables, "observables"),
        )
        unruled = _all_of(Variable, variables, "variables")
        all_rules = _rules(unruled, rules)
        others = {
            "events": _all_of(Event, events, "events"),
            "compartments": _all_of(Compartment, compartments, "compartments"),
        }
        problem = find_problem(*parts, unruled, all_rules, **others)
        if problem is not None:
            raise NetworkError(problem.message)
        self._fill(*parts, _ruled(unruled, all_rules), **others)

    def _fill(
        self,
        species: tuple[Species, ...],
        reactions: tuple[Reaction, ...],
        parameters: tuple[Parameter, ...],
        observables: tuple[Observable, ...],
        variables: tuple[Variable, ...],
        events: tuple[Event, ...],
        compartments: tuple[Compartment, ...],
    ) -> None:
        structure = _Structure(
            tuple(one.name for one in species),
            tuple(parameter.name for parameter in parameters),
            observables,
            reactions,
            tuple(variable.name for variable in variables),
            tuple(variable.rate for variable in variables),
            events,
            compartments,
        )
        self._set(
            structure,
            tuple(one.initial for one in species),
            tuple(variable.initial for variable in variables),
            tuple(parameter.value for parameter in parameters),
        )

    def _set(
        self,
        structure: _Structure,
        initials: tuple[int | Expression, ...],
        starts: tuple[float | Expression, ...],
        values: tuple[float | Expression, ...],
    ) -> None:
        object.__setattr__(self, "_structure", structure)
        object.__setattr__(self, "_initials", initials)
        object.__setattr__(self, "_starts", starts)
        object.__setattr__(self, "_values", values)
        object.__setattr__(self, "_known", {})

    @classmethod
    def from_checked(
        cls,
        species: tuple[Species, ...],
        reactions: tuple[Reaction, ...],
        parameters: tuple[Parameter, ...],
        observables: tuple[Observable, ...],
        variables: tuple[Variable, ...] = (),
        rules: Iterable[Rule] = (),
        *,
        events: tuple[Event, ...] = (),
        compartments: tuple[Compartment, ...] = (),
    ) -> Network:
        """Build a network from parts with which `find_problem` found nothing wrong."""
        network = object.__new__(cls)
        network._fill(
            species,
            reactions,
            parameters,
            observables,
            _ruled(variables, rules),
            events=events,
            compartments=compartments,
        )
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
        """Read a network from a file: in the language, SBML, Antimony or BioNetGen's ``.net``.

        Parameters
        ----------
        path : str or path
            The name ends in ``.xml`` or ``.sbml`` (SBML), ``.ant`` or ``.antimony`` (Antimony),
            ``.net`` or ``.net.xz`` (BioNetGen); under another name, what begins like XML is SBML,
            and everything else is UTF-8 text in the language.

        Returns
        -------
        Network
            The network.

        Raises
        ------
        ParseError
            If the text is not a network; the message points at the place.
        FormatError
            If the model cannot be read; the message names the construct, its id and line.
        MissingExtraError
            If the format needs a library that is not installed.
        OSError
            If the file cannot be read.
        """
        from .formats import read_file

        return read_file(path)

    @classmethod
    def from_sbml(cls, source: str | os.PathLike[str]) -> Network:
        """Read a network from SBML, Level 2 or 3.

        Parameters
        ----------
        source : str or path
            A file, or the text itself.

        Returns
        -------
        Network
            Amounts are its counts; kinetic laws are its propensities, as they stand. What results
            show under the name of a species is what the name means in the model.

        Raises
        ------
        FormatError
            If the text is not SBML, or uses what is not supported; the message names the construct,
            its id and line.
        MissingExtraError
            If python-libsbml is not installed.
        """
        from .formats.sbml_reading import read_sbml

        return read_sbml(source)

    @classmethod
    def from_antimony(cls, source: str | os.PathLike[str]) -> Network:
        """Read a network from Antimony.

        Parameters
        ----------
        source : str or path
            A file, or the text itself.

        Returns
        -------
        Network
            As `from_sbml` reads it.

        Raises
        ------
        FormatError
            If the text is not Antimony, imports files, or uses what is not supported.
        MissingExtraError
            If antimony or python-libsbml is not installed.
        """
        from .formats.antimony import read_antimony

        return read_antimony(source)

    @classmethod
    def from_net(cls, source: str | os.PathLike[str]) -> Network:
        """Read a network from BioNetGen's flat format, ``.net``.

        Parameters
        ----------
        source : str or path
            A file, which may be packed by xz, or the text itself.

        Returns
        -------
        Network
            Groups and functions are its observables.

        Raises
        ------
        FormatError
            If the text is not such a network; the message names the line.
        """
        from .formats.net_reading import read_net

        return read_net(source)

    @classmethod
    def from_gillespy2(cls, model: Any) -> Network:
        """Convert a model of GillesPy2.

        Parameters
        ----------
        model : gillespy2.Model
            Its public attributes are read; nothing in it is executed.

        Returns
        -------
        Network
            The same propensities, events and rules.

        Raises
        ------
        FormatError
            If the model uses what is not supported; the message names it.
        """
        from .formats.gillespy2_conversion import read_gillespy2

        return read_gillespy2(model)

    def to_sbml(self) -> str:
        """Return the network as SBML, Level 3 Version 2.

        Returns
        -------
        str
            The document. `Network.from_sbml` reads it back with the same propensities.

        Raises
        ------
        FormatError
            If the network has what SBML has not, such as reactions with delays.
        MissingExtraError
            If python-libsbml is not installed.
        """
        from .formats.sbml_writing import write_sbml

        return write_sbml(self)

    def to_antimony(self) -> str:
        """Return the network as Antimony.

        Returns
        -------
        str
            The text. `Network.from_antimony` reads it back with the same propensities.

        Raises
        ------
        FormatError
            If the network has what Antimony has not, such as reactions with delays.
        MissingExtraError
            If antimony or python-libsbml is not installed.
        """
        from .formats.antimony import write_antimony

        return write_antimony(self)

    def to_net(self) -> str:
        """Return the network as BioNetGen's flat format, ``.net``.

        Returns
        -------
        str
            The text. `Network.from_net` reads it back with the same propensities.

        Raises
        ------
        FormatError
            If the network has what the format has not, such as events.
        """
        from .formats.net_writing import write_net

        return write_net(self)

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
    def variables(self) -> tuple[Variable, ...]:
        """The variables with their rules; their columns in results follow those of the species."""
        known = self._known.get("variables")
        if known is None:
            structure = self._structure
            known = tuple(
                map(Variable, structure.variable_names, self._starts, structure.variable_rates)
            )
            self._known["variables"] = known
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
    def events(self) -> tuple[Event, ...]:
        """The events."""
        return self._structure.events

    @property
    def compartments(self) -> tuple[Compartment, ...]:
        """The compartments: volumes, and the amounts in them."""
        return self._structure.compartments

    def compartment_of(self, name: str) -> Compartment | None:
        """Return the compartment that holds the amount called `name`, or None."""
        places: dict[str, Compartment] | None = self._structure.shared.get("compartment_of")
        if places is None:
            places = {inside: one for one in self.compartments for inside in one.contents}
            self._structure.shared["compartment_of"] = places
        return places.get(name)

    @property
    def species_names(self) -> tuple[str, ...]:
        """Names of the species."""
        return self._structure.species_names

    @property
    def variable_names(self) -> tuple[str, ...]:
        """Names of the variables."""
        return self._structure.variable_names

    @property
    def state_names(self) -> tuple[str, ...]:
        """Names of the species, then of the variables: what the rate equations integrate."""
        return self._structure.species_names + self._structure.variable_names

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
    def n_variables(self) -> int:
        """Number of variables."""
        return len(self._structure.variable_names)

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
            values[name] = number = number_of(value, values)
            if isinstance(value, Expression) and not math.isfinite(number):
                raise NetworkError(not_finite(name, number))
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
            count = number_of(initial, values)
            problem = initial_problem(count)
            if problem:
                raise NetworkError(f"species {name!r} {problem}")
            counts.append(round(count))
        return counts

    @property
    def initial_variables(self) -> NDArray[np.float64]:
        """Initial values of the variables, shape (n_variables,), read-only.

        Raises
        ------
        NetworkError
            If an initial value that depends on parameters is not finite for the values that were
            set.
        """
        known = self._known.get("initial_variables")
        if known is None:
            known = np.array(self._evaluated_starts(), dtype=np.float64)
            known.flags.writeable = False
            self._known["initial_variables"] = known
        return known

    def _evaluated_starts(self) -> list[float]:
        values = dict(zip(self.parameter_names, self.parameter_values.tolist(), strict=True))
        starts = []
        for name, initial in zip(self.variable_names, self._starts, strict=True):
            start = number_of(initial, values)
            problem = start_problem(start)
            if problem and isinstance(initial, Expression):
                raise NetworkError(f"the variable {name!r} {problem}")
            starts.append(start)
        return starts

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
                for sign, side in ((-1, reaction.reactants), (1, reaction.products)):
                    for name, count in side:
                        if name in index:  # not a variable
                            assert isinstance(count, int)  # `find_problem` sees to it
                            matrix[index[name], column] += sign * count
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
        """Return an expression in terms of species, variables, parameters and `t` alone.

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
        words = tree.symbols()
        for word in sorted(words):
            if word not in structure.declared and word != "t" and word not in CONSTANTS:
                advice = did_you_mean(word, sorted(structure.declared))
                raise NetworkError(
                    f"{shown(str(tree))} uses the unknown name {shown(word)}{advice}"
                )
        used = words & structure.defined
        if not used:
            return tree
        if not structure.definitions:
            structure.define()
        return tree.substitute({word: structure.definitions[word] for word in used})

    def expanded_rate(self, index: int) -> Expression:
        """Return the rate of one reaction without observables.

        Parameters
        ----------
        index : int
            Which of `reactions`.

        Returns
        -------
        Expression
            In terms of species, variables, parameters and `t` alone. For mass action the rate
            constant, without the product over the reactants.
        """
        # By identity: where rules made the reactions, thousands share a rate.
        rates, rate = self._structure.expanded_rates, self.reactions[index].rate
        expanded = rates.get(id(rate))
        if expanded is None:
            expanded = rates[id(rate)] = self.expanded(rate)
        return expanded

    def expanded_variable_rate(self, index: int) -> Expression:
        """Return the time derivative of one variable, as far as it is no constant times a rate.

        Parameters
        ----------
        index : int
            Which of `variables`.

        Returns
        -------
        Expression
            In terms of species, variables, parameters and `t` alone, per unit time: the rule (0 for
            a variable without one), and what reactions add to it whose coefficients of the variable
            are expressions. What reactions with plain numbers add is in the stoichiometry.
        """
        rates = self._structure.expanded_variable_rates
        if index not in rates:
            rate = self._structure.variable_rates[index]
            whole = self.expanded(0.0 if rate is None else rate)
            for coefficient, law in self._computed_changes().get(self.variable_names[index], ()):
                change = self.expanded(coefficient) * law
                whole = change if whole == Number(0.0) else whole + change
            rates[index] = whole
        return rates[index]

    def _computed_changes(self) -> dict[str, list[tuple[Expression, Expression]]]:
        """Return, by variable, the coefficients that are expressions, with the reactions' rates."""
        known: dict[str, list[tuple[Expression, Expression]]] | None
        known = self._structure.shared.get("computed_changes")
        if known is None:
            known = {}
            for j, reaction in enumerate(self.reactions if self.variable_names else ()):
                for is_product, side in ((False, reaction.reactants), (True, reaction.products)):
                    for name, count in side:
                        if isinstance(count, Expression):
                            change = (count if is_product else -count, rate_expression(self, j))
                            known.setdefault(name, []).append(change)
            self._structure.shared["computed_changes"] = known
        return known

    # -- Relatives

    def _related(
        self,
        initials: tuple[int | Expression, ...],
        starts: tuple[float | Expression, ...],
        values: tuple[float | Expression, ...],
    ) -> Network:
        relative = object.__new__(type(self))
        relative._set(self._structure, initials, starts, values)
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
                raise NetworkError(not_finite(name, number))
            changed[place] = number
        return self._related(self._initials, self._starts, tuple(changed))

    def with_initial(
        self, mapping: Mapping[str, float] | None = None, /, **counts: float
    ) -> Network:
        """Return the network with other initial counts of species, or values of variables.

        Parameters
        ----------
        mapping : mapping of str to int or float, optional
            By name: counts of species in molecules, values of variables.
        **counts : int or float
            The same as keywords.

        Returns
        -------
        Network
            The relative.

        Raises
        ------
        NetworkError
            If a name is no species or variable of the network, a count is negative or not whole,
            or a value not finite.
        """
        initials, starts = list(self._initials), list(self._starts)
        index, n_species = self._structure.state_index, self.n_species
        for name, start in ({**mapping, **counts} if mapping else counts).items():
            place = index.get(name)
            if place is None:
                place = self._find(name, index, "species or variable" if starts else "species")
            if place < n_species:
                number = _plain_number(start, "the initial count of", name)
                problem = initial_problem(number)
                if problem:
                    raise NetworkError(f"species {name!r} {problem}")
                initials[place] = round(number)
            else:
                number = _plain_number(start, "the initial value of", name)
                problem = start_problem(number)
                if problem:
                    raise NetworkError(f"the variable {name!r} {problem}")
                starts[place - n_species] = number
        return self._related(tuple(initials), tuple(starts), self._values)

    def _find(self, name: Any, index: Mapping[str, int], kind: str) -> int:
        """Return the place of a name that was not found as it was typed."""
        name = getattr(name, "name", name)  # the Species or Parameter itself as a key
        if not isinstance(name, str):
            raise TypeError(f"{kind} names are strings, not {name!r}")
        if normal_name(name) in index:
            return index[normal_name(name)]
        if kind == "parameter" and name in self._structure.state_index:
            what = "species" if name in self.species_names else "variable"
            advice = f"; {name!r} is a {what}, set with with_initial"
        elif kind != "parameter" and name in self.parameter_names:
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
            and self._starts == other._starts
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
        return hash((self._structure.hash(), self._initials, self._starts, self._values))

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
            known = self._known["text"] = network_text(self)
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
        if self.variable_names:
            sizes.insert(1, _plural(self.n_variables, "variable", "variables"))
        if self.observable_names:
            sizes.append(_plural(len(self.observable_names), "observable", "observables"))
        if self.events:
            sizes.append(_plural(len(self.events), "event", "events"))
        return f"<Network: {', '.join(sizes)}>"

    def _repr_html_(self) -> str:
        return network_html(self)

    def to_latex(self) -> str:
        """Return the reactions with their rates, and the rules, as LaTeX.

        Returns
        -------
        str
            An ``align*`` environment (amsmath): each reaction, its rate constant over the arrow,
            or its propensity beside a double arrow; then the time derivative of each variable.
            Names are escaped.
        """
        return network_latex(self)

    def _repr_latex_(self) -> str:
        return self.to_latex()

    def structure(self) -> NetworkStructure:
        """Return the graph of complexes: linkage classes, deficiency, reversibility.

        Returns
        -------
        NetworkStructure
            What follows from the sides of the reactions alone, whatever their rates.

        Raises
        ------
        NetworkError
            If a reaction takes or makes real amounts of a variable.
        """
        from .complexes import structure_of

        return structure_of(self)

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
