"""What a network means to this package, in words: `network.explain()`."""

from __future__ import annotations

import html
from dataclasses import dataclass

import numpy as np

from .compilation import compile_network, label, propensity_expression, rate_expression
from .complexes import NetworkStructure, structure_of
from .conservation import conservation_laws
from .errors import NetworkError
from .methods import METHODS
from .network import Delay, Event, Network, Reaction
from .rate_laws import Expression, Number

__all__ = ["Explanation", "MethodVerdict", "ReactionReading", "explain"]

CONVENTION = (
    "Mass action (->) is c times the number of ways to choose the reactants: for 2 A -> B @ c the\n"
    "propensity is c*A*(A - 1)/2, and the rate equation uses c*A^2/2. A law after => is the\n"
    "propensity exactly as written. No reaction fires while one of its reactants is missing."
)

# Above this many rows or columns the stoichiometry matrix is left out of the text.
_LARGEST_MATRIX = 20


@dataclass(frozen=True)
class ReactionReading:
    """How one reaction was understood."""

    label: str  # number, name and equation
    propensity: Expression  # observables written out; events per unit time
    rate: Expression  # its counterpart in the rate equations
    is_time_dependent: bool
    notes: tuple[str, ...] = ()  # on its delay and its sides


@dataclass(frozen=True)
class MethodVerdict:
    """Whether one method can run the network."""

    name: str
    summary: str
    is_exact: bool
    refusal: str | None  # why it cannot; None when it can


@dataclass(frozen=True)
class Explanation:
    """What a network means: print it, or read its parts.

    Attributes
    ----------
    reactions : tuple of ReactionReading
        Propensity and rate-equation counterpart of each reaction.
    stoichiometry_matrix : ndarray, shape (n_species, n_reactions), int64
        Net change of each species by one event of each reaction.
    conservation_laws : ndarray, shape (n_laws, n_species), int64
        Whole-number weights whose weighted sum of counts never changes; independent.
    conserved_totals : ndarray, shape (n_laws,), int64
        Those sums in the initial state.
    rules : tuple of Expression
        Time derivative of each variable, without observables, as in the rate equations: its rule,
        and what reactions take and make of it.
    events : tuple of str
        What each event waits for and does, in words, one or more lines each.
    structure : NetworkStructure or None
        The graph of complexes; None if a reaction takes or makes real amounts, or there is none.
    methods : tuple of MethodVerdict
        What each method can do with the network, and why not where it cannot.
    """

    network: Network
    reactions: tuple[ReactionReading, ...]
    stoichiometry_matrix: np.ndarray
    conservation_laws: np.ndarray
    conserved_totals: np.ndarray
    rules: tuple[Expression, ...]
    methods: tuple[MethodVerdict, ...]
    events: tuple[str, ...] = ()
    structure: NetworkStructure | None = None

    def __str__(self) -> str:
        """Return the whole explanation as plain text."""
        sections = [
            self._overview(),
            CONVENTION if self.reactions or not self.rules else "",
            self._reaction_text(),
            self._rule_text(),
            self._event_text(),
            self._value_text(),
            self._compartment_text(),
            self._matrix_text(),
            self._conservation_text(),
            self._structure_text(),
            self._method_text(),
        ]
        return "\n\n".join(section for section in sections if section)

    def __repr__(self) -> str:
        return str(self)

    def _repr_html_(self) -> str:
        return f"<pre>{html.escape(str(self))}</pre>"

    def _overview(self) -> str:
        network = self.network
        counts = (
            (network.n_species, "species", "species"),
            (network.n_reactions, "reaction", "reactions"),
            (len(network.parameters), "parameter", "parameters"),
            (len(network.observables), "observable", "observables"),
            *([(network.n_variables, "variable", "variables")] if self.rules else []),
            *([(len(network.events), "event", "events")] if network.events else []),
            *(
                [(len(network.compartments), "compartment", "compartments")]
                if network.compartments
                else []
            ),
        )
        return "Network with " + ", ".join(
            f"{number} {one if number == 1 else many}" for number, one, many in counts
        )

    def _reaction_text(self) -> str:
        lines = ["Reactions"]
        for reading in self.reactions:
            lines.append(f"  {reading.label}")
            lines.append(f"      propensity     {reading.propensity}")
            if reading.rate == reading.propensity:
                lines.append("      rate equation  the same")
            else:
                lines.append(f"      rate equation  {reading.rate}")
            lines += [f"      {note}" for note in reading.notes]
        return "\n".join(lines) if self.reactions else ""

    def _rule_text(self) -> str:
        if not self.rules:
            return ""
        network = self.network
        lines = ["Rules (time derivative of each variable; in brackets its initial value)"]
        for name, start, rate in zip(
            network.variable_names, network.initial_variables, self.rules, strict=True
        ):
            lines.append(f"  {name}' = {rate}  ({name} = {start:g})")
        return "\n".join(lines)

    def _event_text(self) -> str:
        if not self.events:
            return ""
        lines = ["Events (each happens when its condition changes from false to true)"]
        for number, text in enumerate(self.events, start=1):
            lines += [
                f"  {number} {line}" if not i else f"      {line}"
                for i, line in enumerate(text.splitlines())
            ]
        return "\n".join(lines)

    def _compartment_text(self) -> str:
        lines = ["Compartments (what is in each; rates use amounts)"]
        for one in self.network.compartments:
            lines.append(f"  {one.size}: {', '.join(one.contents) or 'nothing'}")
            if one.as_concentrations:
                shown = ", ".join(f"{name}/{one.size}" for name in one.as_concentrations)
                lines.append(f"      results show {shown}")
        return "\n".join(lines) if len(lines) > 1 else ""

    def _value_text(self) -> str:
        network = self.network
        lines = []
        if network.parameters:
            lines.append("Parameters")
            for parameter, value in zip(network.parameters, network.parameter_values, strict=True):
                shown = f"  {parameter.name} = {value:g}"
                if isinstance(parameter.value, Expression) and not parameter.value.is_number:
                    shown += f"  ({parameter.value})"
                lines.append(shown)
        return "\n".join(lines)

    def _matrix_text(self) -> str:
        matrix = self.stoichiometry_matrix
        if not matrix.size:
            return ""
        title = "Stoichiometry matrix (net change of each species by one event of each reaction)"
        if max(matrix.shape) > _LARGEST_MATRIX:
            shape = f"{matrix.shape[0]} x {matrix.shape[1]}"
            return f"{title}\n  {shape}; see network.stoichiometry_matrix"
        width = max(len(name) for name in self.network.species_names)
        head = " ".join(f"{j + 1:>4d}" for j in range(matrix.shape[1]))
        rows = (
            f"  {name:<{width}} " + " ".join(f"{entry:>4d}" for entry in row)
            for name, row in zip(self.network.species_names, matrix, strict=True)
        )
        return "\n".join([title, f"  {'':<{width}} {head}", *rows])

    def _conservation_text(self) -> str:
        if not self.network.species_names:
            return ""
        if not self.conservation_laws.size:
            return "Conservation laws\n  none"
        lines = ["Conservation laws"]
        for weights, total in zip(self.conservation_laws, self.conserved_totals, strict=True):
            lines.append(f"  {_weighted_sum(weights, self.network.species_names)} = {total}")
        return "\n".join(lines)

    def _structure_text(self) -> str:
        structure = self.structure
        if structure is None:
            return ""
        lines = ["Structure", *(f"  {line}" for line in str(structure).splitlines())]
        if structure.is_weakly_reversible and _is_mass_action(self.network):
            if structure.deficiency == 0:
                law = "a product of Poisson laws, restricted to what can be reached: product_form"
            else:
                law = (
                    "a product of Poisson laws for some rate constants; product_form says whether "
                    "for these"
                )
            lines.append(f"  stationary law: {law}")
        return "\n".join(lines)

    def _method_text(self) -> str:
        lines = ["Methods"]
        width = max(len(verdict.name) for verdict in self.methods)
        for verdict in self.methods:
            kind = "exact" if verdict.is_exact else "approximate"
            if verdict.refusal is None:
                lines.append(f"  {verdict.name:<{width}}  yes, {kind}: {verdict.summary}")
            else:
                lines.append(f"  {verdict.name:<{width}}  no: {verdict.refusal}")
        return "\n".join(lines)


def _is_mass_action(network: Network) -> bool:
    """Whether all that happens is reactions whose rate constants are constants."""
    if network.events or network.variable_names:
        return False
    moving = {"t", *network.species_names}
    return all(
        reaction.kind == "mass_action"
        and reaction.delay is None
        and network.expanded_rate(j).symbols().isdisjoint(moving)
        for j, reaction in enumerate(network.reactions)
    )


def _structure(network: Network) -> NetworkStructure | None:
    try:
        return structure_of(network) if network.n_reactions else None
    except NetworkError:  # real amounts, which the notes on the reactions name
        return None


def _weighted_sum(weights: np.ndarray, names: tuple[str, ...]) -> str:
    text = ""
    for weight, name in zip(weights.tolist(), names, strict=True):
        if weight:
            sign = " - " if weight < 0 else " + "
            factor = "" if abs(weight) == 1 else f"{abs(weight)} "
            text += f"{sign}{factor}{name}"
    return text[3:] if text.startswith(" + ") else "-" + text[3:]


def _event_words(event: Event) -> str:
    """Say what an event waits for and does."""
    name = f"'{event.name}' " if event.name else ""
    assigned = ", ".join(f"{target} = {value}" for target, value in event.written_assignments())
    lines = [f"{name}when {event.trigger}", f"sets            {assigned}"]
    if event.delay is not None:
        values = "as they were at the trigger" if event.values == "trigger" else "of that moment"
        lines.append(f"after           {event.delay}, with the values {values}")
        if not event.persistent:
            lines.append("given up        if the condition becomes false in the meantime")
    if event.priority is not None:
        lines.append(f"priority        {event.priority}, the larger first at one instant")
    if event.initially:
        lines.append("at the start    the condition counts as true before, so it must fail first")
    return "\n".join(lines)


def _notes(network: Network, reaction: Reaction) -> tuple[str, ...]:
    """Say what a reaction has beyond its rate."""
    notes = []
    if reaction.delay is not None:
        law = str(Delay(reaction.delay.law, *reaction.delay.arguments))
        when = (
            "the reactants go at the initiation, the products come"
            if reaction.delay.consuming == "initiation"
            else "the reactants go and the products come"
        )
        notes.append(f"delay          {law}; {when} at the completion")
    if not reaction.limited:
        notes.append("unlimited      the rate equation takes the law also without a reactant")
    sides = (*reaction.reactants, *reaction.products)
    real = sorted({name for name, _ in sides} & set(network.variable_names))
    if real:
        notes.append(f"real amounts   of {', '.join(real)}: for the rate equations alone")
    return tuple(notes)


def _derivative(network: Network, index: int) -> Expression:
    """Return the time derivative of a variable with all that reactions take and make of it."""
    name, total = network.variable_names[index], network.expanded_variable_rate(index)
    for j, reaction in enumerate(network.reactions):
        net = 0.0
        for sign, side in ((-1.0, reaction.reactants), (1.0, reaction.products)):
            # Coefficients that are expressions are in the rate already.
            net += sum(
                sign * count
                for what, count in side
                if what == name and not isinstance(count, Expression)
            )
        if net:
            rate = rate_expression(network, j)
            change = rate if abs(net) == 1.0 else abs(net) * rate
            if total == Number(0.0):
                total = change if net > 0.0 else -change
            else:
                total = total + change if net > 0.0 else total - change
    return total


def explain(network: Network) -> Explanation:
    """Return what a network means: propensities, rate equations, conservation laws, methods.

    Parameters
    ----------
    network : Network
        Any network, also one that no method can run.

    Returns
    -------
    Explanation
        Prints as plain text.
    """
    compiled = compile_network(network)
    laws = conservation_laws(network)
    time_dependent = frozenset(compiled.time_dependent)
    readings = tuple(
        ReactionReading(
            label=label(network, j),
            propensity=propensity_expression(network, j),
            rate=rate_expression(network, j),
            is_time_dependent=label(network, j) in time_dependent,
            notes=_notes(network, network.reactions[j]),
        )
        for j in range(network.n_reactions)
    )
    verdicts = tuple(
        MethodVerdict(name, method.summary, method.is_exact, method().refusal(compiled))
        for name, method in METHODS.items()
    )
    return Explanation(
        network=network,
        reactions=readings,
        stoichiometry_matrix=network.stoichiometry_matrix,
        conservation_laws=laws,
        conserved_totals=np.asarray(laws @ network.initial_state),
        rules=tuple(_derivative(network, i) for i in range(network.n_variables)),
        methods=verdicts,
        events=tuple(map(_event_words, network.events)),
        structure=_structure(network),
    )
