"""What a network means to this package, in words: `network.explain()`."""

from __future__ import annotations

import html
from dataclasses import dataclass

import numpy as np

from .compilation import compile_network, label, propensity_expression, rate_expression
from .conservation import conservation_laws
from .methods import METHODS
from .network import Network
from .rate_laws import Expression

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
        Whole-number weights whose weighted sum of counts no reaction changes; independent.
    conserved_totals : ndarray, shape (n_laws,), int64
        Those sums in the initial state.
    rules : tuple of Expression
        Time derivative of each variable, without observables.
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

    def __str__(self) -> str:
        """Return the whole explanation as plain text."""
        sections = [
            self._overview(),
            CONVENTION if self.reactions or not self.rules else "",
            self._reaction_text(),
            self._rule_text(),
            self._value_text(),
            self._matrix_text(),
            self._conservation_text(),
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


def _weighted_sum(weights: np.ndarray, names: tuple[str, ...]) -> str:
    text = ""
    for weight, name in zip(weights.tolist(), names, strict=True):
        if weight:
            sign = " - " if weight < 0 else " + "
            factor = "" if abs(weight) == 1 else f"{abs(weight)} "
            text += f"{sign}{factor}{name}"
    return text[3:] if text.startswith(" + ") else "-" + text[3:]


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
    readings = tuple(
        ReactionReading(
            label=label(network, j),
            propensity=propensity_expression(network, j),
            rate=rate_expression(network, j),
            is_time_dependent=label(network, j) in compiled.time_dependent,
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
        rules=tuple(network.expanded_variable_rate(i) for i in range(network.n_variables)),
        methods=verdicts,
    )
