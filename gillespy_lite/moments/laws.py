"""Propensities as polynomials in the counts, read off their expressions, or refused by name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import NamedTuple

import numpy as np

from ..compilation import compile_network, jumping_parts, label
from ..conservation import conservation_laws
from ..errors import NetworkError
from ..expressions import Call, Expression, Number, Symbol
from ..mass_action import propensity_expression
from ..network import Network
from .polynomials import Polynomial

__all__ = [
    "Laws",
    "NotPolynomialError",
    "Reduction",
    "atom_values",
    "polynomial_laws",
    "polynomial_of",
    "reduction_of",
    "refuse_what_is_no_jump_process",
]

# Exponents above this make polynomials that nobody wants to solve.
_LARGEST_EXPONENT = 100


class NotPolynomialError(Exception):
    """A part that is no polynomial in the counts."""

    def __init__(self, part: Expression, why: str) -> None:
        super().__init__(why)
        self.part = part
        self.why = why


@dataclass(frozen=True)
class Laws:
    """The propensities of a network as polynomials.

    Attributes
    ----------
    propensities : tuple of Polynomial
        One for each reaction, in names of species and of atoms.
    atoms : dict of str to Expression
        What has no species in it and is no number, by its text: parameters, and functions of
        parameters and of `t`.
    """

    propensities: tuple[Polynomial, ...]
    atoms: Mapping[str, Expression]

    @property
    def is_time_dependent(self) -> bool:
        """Whether an atom depends on t."""
        return any("t" in atom.symbols() for atom in self.atoms.values())


def refuse_what_is_no_jump_process(network: Network, what: str) -> None:
    """Refuse a network in which more than its reactions changes the counts.

    Parameters
    ----------
    network : Network
        What was handed in.
    what : str
        What it was handed to, the subject of the message.

    Raises
    ------
    NetworkError
        Naming the variable, the event or the reaction, and what can follow it.
    """
    if network.variable_names:
        raise NetworkError(
            f"{what} counts molecules and cannot follow variables, and the network has "
            f"{network.variable_names[0]!r}; write it as a species with reactions, or sample with "
            "ensemble"
        )
    for number, event in enumerate(network.events, 1):
        name = f" '{event.name}'" if event.name else ""
        raise NetworkError(
            f"{what} cannot follow events, and the network has event {number}{name} (when "
            f"{event.trigger}); sample with ensemble, or solve each stretch between the events "
            "as a network of its own"
        )
    for j, reaction in enumerate(network.reactions):
        if reaction.delay is not None:
            raise NetworkError(
                f"{what} cannot follow delays, and the products of reaction {label(network, j)} "
                "come after one; sample with ensemble"
            )


def polynomial_laws(network: Network, what: str) -> Laws:
    """Return the propensities of a network as polynomials in its counts.

    Parameters
    ----------
    network : Network
        Without variables, events and delays.
    what : str
        What asks, the subject of messages.

    Raises
    ------
    NetworkError
        If a law is no polynomial in the counts, or is not 0 where a reactant is missing.
    """
    known: Laws | None = network.memo.get("polynomial laws")
    if known is None:
        atoms: dict[str, Expression] = {}
        found = []
        for j in range(network.n_reactions):
            try:
                found.append(polynomial_of(network, propensity_expression(network, j), atoms))
            except NotPolynomialError as problem:
                raise NetworkError(
                    f"{what} needs propensities that are polynomials in the counts, and that of "
                    f"reaction {label(network, j)} is not: {problem.part} {problem.why}. Write it "
                    "as elementary steps, use linear_noise, which takes any smooth law, or sample "
                    "with ensemble"
                ) from None
        # Not those that only stood inside larger ones.
        used = {name for law in found for name in law.names()}
        known = Laws(tuple(found), {text: atoms[text] for text in atoms if text in used})
        network.memo["polynomial laws"] = known
    _refuse_missing_reactants(network, known, what)
    _refuse_jumps_in_time(known, what)
    return known


def _refuse_jumps_in_time(laws: Laws, what: str) -> None:
    for part in jumping_parts(laws.atoms.values(), {"t"}):
        raise NetworkError(
            f"{what} integrates smooth rates, and {part} jumps in time; solve each stretch "
            "between the jumps as a network of its own, or sample with ensemble"
        )


def _refuse_missing_reactants(network: Network, laws: Laws, what: str) -> None:
    """Refuse a law after => that is not 0 where a reactant is missing: the propensity is."""
    fixed = constant_counts(network)
    for j, reaction in enumerate(network.reactions):
        if reaction.kind == "mass_action":
            continue
        law = laws.propensities[j]
        for name, count in reaction.reactants:
            assert isinstance(count, int)
            if name in fixed:
                if fixed[name] >= count:
                    continue
                raise NetworkError(
                    f"reaction {label(network, j)} never fires, because {name!r} stays at "
                    f"{fixed[name]}; leave it out for {what}"
                )
            for missing in range(count):
                if law.substitute({name: Polynomial.number(missing)}):
                    raise NetworkError(
                        f"{what} needs propensities that are polynomials in the counts, and that "
                        f"of reaction {label(network, j)} is not: it is 0 at {name} = {missing}, "
                        "where a reactant is missing, while its law is not. Write mass action "
                        f"with ->, multiply the law by {name}, or sample with ensemble"
                    )


def polynomial_of(
    network: Network, expression: Expression, atoms: dict[str, Expression]
) -> Polynomial:
    """Return an expression as a polynomial in the counts; new atoms go into `atoms`."""
    species = frozenset(network.species_names)

    def atom(node: Expression) -> Polynomial:
        text = str(node)
        atoms[text] = node
        return Polynomial.symbol(text)

    def leaf(node: Expression) -> Polynomial:
        if isinstance(node, Number):
            return Polynomial.number(node.value)
        assert isinstance(node, Symbol)
        return Polynomial.symbol(node.name) if node.name in species else atom(node)

    def combine(node: Call, u: list[Polynomial]) -> Polynomial:
        match node.operation:
            case "+":
                return u[0] + u[1]
            case "-":
                return u[0] - u[1]
            case "*":
                return u[0] * u[1]
            case "neg":
                return -u[0]
            case "/" if len(u[1].terms) == 1 and not u[1].names() & species:
                return u[0] * u[1] ** -1
            case "/" if not u[1].names() & species:
                return u[0] * atom(node.arguments[1]) ** -1
            case "^":
                power = _whole(node.arguments[1])
                if power is not None and 0 <= power <= _LARGEST_EXPONENT:
                    return u[0] ** power
                if power is not None and len(u[0].terms) == 1 and not u[0].names() & species:
                    return u[0] ** power
        used = sorted(node.symbols() & species)
        if not used:
            return atom(node)
        why = f"is no polynomial in {', '.join(used)}"
        if node.operation == "/" and u[1].names() & species:
            why = f"divides by {', '.join(sorted(u[1].names() & species))}"
        raise NotPolynomialError(node, why)

    return network.expanded(expression).fold(leaf, combine)


def _whole(exponent: Expression) -> int | None:
    value = exponent.value if isinstance(exponent, Number) else None
    if isinstance(exponent, Call) and exponent.operation == "neg":
        inner = _whole(exponent.arguments[0])
        return None if inner is None else -inner
    return int(value) if value is not None and float(value).is_integer() else None


def atom_values(
    network: Network, atoms: Mapping[str, Expression], time: float | None
) -> dict[str, float]:
    """Return the values of atoms; with `time` None, of those alone that do not depend on t.

    Raises
    ------
    NetworkError
        If one is not finite.
    """
    names = dict(zip(network.parameter_names, network.parameter_values.tolist(), strict=True))
    values = {}
    for text, atom in atoms.items():
        if "t" in atom.symbols():
            if time is None:
                continue
            names["t"] = time
        value = values[text] = float(atom.evaluate(names))
        if not abs(value) < float("inf"):
            at = "" if time is None else f" at t = {time:g}"
            raise NetworkError(f"{text} in a rate law is {value}{at}; it must be finite")
    return values


def constant_counts(network: Network) -> dict[str, int]:
    """Return the initial counts of the species that no reaction changes."""
    initial = network.initial_state
    unchanged = np.all(network.stoichiometry_matrix == 0, axis=1)
    return {name: int(initial[i]) for i, name in enumerate(network.species_names) if unchanged[i]}


class Reduction(NamedTuple):
    """Which counts follow from the others by the conservation laws."""

    independent: tuple[str, ...]
    # Each other species as totals plus multiples of the independent ones.
    dependent: dict[str, Polynomial]


def reduction_of(network: Network, propensities: tuple[Polynomial, ...]) -> Reduction:
    """Return which species to integrate, and what gives the others.

    Left out are species that never change, then those of low degree in the propensities: what a
    closure approximates then is the fluctuation of what reacts nonlinearly.
    """
    names = network.species_names
    degree = [max((law.degree({name}) for law in propensities), default=0) for name in names]
    unchanged = np.all(network.stoichiometry_matrix == 0, axis=1)
    order = sorted(range(len(names)), key=lambda i: (not unchanged[i], degree[i], -i))
    laws = conservation_laws(network)
    totals = (laws @ network.initial_state).tolist()
    rows = [
        ([Fraction(int(w)) for w in law], Fraction(int(total)))
        for law, total in zip(laws, totals, strict=True)
    ]
    pivots: dict[int, int] = {}
    done = 0
    for column in order:
        place = next((r for r in range(done, len(rows)) if rows[r][0][column]), None)
        if place is None:
            continue
        rows[done], rows[place] = rows[place], rows[done]
        weights, total = rows[done]
        pivot = weights[column]
        rows[done] = ([w / pivot for w in weights], total / pivot)
        for r, (others, right) in enumerate(rows):
            if r != done and others[column]:
                factor = others[column]
                rows[r] = (
                    [w - factor * v for w, v in zip(others, rows[done][0], strict=True)],
                    right - factor * rows[done][1],
                )
        pivots[column] = done
        done += 1
    dependent = {}
    for column, row in pivots.items():
        weights, total = rows[row]
        rest = Polynomial.number(total)
        for i, weight in enumerate(weights):
            if i != column and weight:
                rest = rest - Polynomial.symbol(names[i]).times(weight)
        dependent[names[column]] = rest
    independent = tuple(name for name in names if name not in dependent)
    return Reduction(independent, dependent)


def checked_network(network: Network, what: str) -> None:
    """Refuse what is no network, what moves by itself, and rate constants that are negative."""
    if not isinstance(network, Network):
        raise TypeError(f"{what} takes a Network, not {type(network).__name__}")
    refuse_what_is_no_jump_process(network, what)
    compile_network(network)  # which looks at the rate constants
