"""From a network to the arrays that kernels read: the only place that knows both.

What depends on the structure alone (which species a reaction reads and changes, the programs of its
rate law) is built once and kept in `Network.memo`, which relatives made by `with_parameters` and
`with_initial` share. A relative then costs the evaluation of its rate constants.
"""

from __future__ import annotations

import itertools
import math
import operator
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import factorial, prod
from typing import NamedTuple

import numpy as np

from .errors import NetworkError
from .garbage import collection_paused
from .kernels.arrays import CUSTOM, GENERAL, PAIR, SCALED, ReactionArrays
from .kernels.programs import (
    ADD,
    CONSTANT,
    DIVIDE,
    MULTIPLY,
    OPERATION_CODES,
    PARAMETER,
    POWER,
    SPECIES,
    SUBTRACT,
    TIME,
    Programs,
)
from .kernels.rate_equations import RateEquations
from .kernels.special_functions import PRODUCT_EXPONENTS, product_power
from .mass_action import propensity_expression, rate_expression
from .network import Network
from .operations import CONDITIONS
from .rate_laws import Call, Expression, Number, Symbol
from .reactions import Terms
from .step_lists import (
    ROW_WIDTH,
    Lists,
    Side,
    changes_of,
    dependent_lists,
    lists_of,
    packed_rows,
    padded,
    readers_of,
    side_of,
)

__all__ = [
    "CompiledNetwork",
    "Steps",
    "compile_expressions",
    "compile_network",
    "compile_rate_equations",
    "compile_steps",
    "jumping_parts",
    "label",
    "moving_variables",
    "parameter_places",
    "propensity_expression",
    "rate_constant_parts",
    "rate_expression",
    "state_change_entries",
    "state_change_matrix",
    "state_places",
]

# What jumps while its arguments change smoothly.
_JUMPING = CONDITIONS | {"floor", "ceil"}

IntArray = np.ndarray[tuple[int], np.dtype[np.int64]]
FloatArray = np.ndarray[tuple[int], np.dtype[np.float64]]
FloatMatrix = np.ndarray[tuple[int, int], np.dtype[np.float64]]


@dataclass(frozen=True)
class CompiledNetwork:
    """A network as arrays, with what the layers above must know to run it.

    The state holds the species, then the variables, then 1.
    """

    network: Network
    arrays: ReactionArrays
    # (n_species + n_variables + 1,) int64, the last entry 1. Variables are left at 0 here: methods
    # that read it count molecules, and refuse a network that has any.
    initial_state: IntArray
    stack_depth: int
    # Labels of the reactions whose rate depends on t; that have a delay; that take or make what is
    # not whole.
    time_dependent: tuple[str, ...]
    delayed: tuple[str, ...]
    real_sided: tuple[str, ...]

    @property
    def moves(self) -> bool:
        """Whether more than jumps of reactions changes the state, or their rates."""
        return bool(
            self.time_dependent
            or self.delayed
            or self.network.events
            or self.network.variable_names
        )

    def why_real(self) -> str:
        """Say why the first of `real_sided` has no stochastic meaning, after its label."""
        return _why_real(self.network)


def _why_real(network: Network) -> str:
    """Say why the first reaction whose amounts are not whole has no stochastic meaning."""
    starts = dict(zip(network.variable_names, network.initial_variables.tolist(), strict=True))
    for reaction in network.reactions:
        for name, count in (*reaction.reactants, *reaction.products):
            if name not in starts:
                continue
            if not isinstance(count, int):
                amount = f"({count})" if isinstance(count, Expression) else f"{count:g}"
                return (
                    f"takes or makes {amount} of {name!r}, which is no whole number of molecules "
                    "and has a meaning in the rate equations only"
                )
            start = starts[name]
            begins = "has no value to start from" if math.isnan(start) else f"starts at {start:g}"
            whole = start >= 0.0 and float(start).is_integer()
            advice = (
                f"; declare it as a species, species {name} = {start:g}, to count it"
                if whole
                else "; if molecules are meant, give it a whole number of them to start from"
            )
            return (
                f"changes {name!r}, which is no count but a real amount ({begins}) with a meaning "
                f"in the rate equations only{advice}"
            )
    return "changes amounts that are not whole"


def state_places(network: Network) -> Mapping[str, int]:
    """Return which entry of the state a species or a variable is."""
    # In a network of 100,000 species a run of a few events took 20 ms for each dictionary.
    places: dict[str, int] | None = network.memo.get("state places")
    if places is None:
        places = network.memo["state places"] = _places(network.state_names)
    return places


def parameter_places(network: Network) -> Mapping[str, int]:
    """Return which parameter a name is."""
    places: dict[str, int] | None = network.memo.get("parameter places")
    if places is None:
        places = network.memo["parameter places"] = _places(network.parameter_names)
    return places


def _places(names: Sequence[str]) -> dict[str, int]:
    return {name: i for i, name in enumerate(names)}


def _power(x: float, n: float) -> float:
    """Return what `special_functions.power` does; nan where the library's may not be Python's."""
    if n in PRODUCT_EXPONENTS:
        raised: float = getattr(product_power, "py_func", product_power)(x, n)
        return raised
    return x**n if x > 0.0 else math.nan


# Operations on two numbers that are rounded as those of kernels are.
_FOLDED: dict[int, Callable[[float, float], float]] = {
    ADD: operator.add,
    SUBTRACT: operator.sub,
    MULTIPLY: operator.mul,
    DIVIDE: operator.truediv,
    POWER: _power,
}


class _ProgramWriter:
    """Collects expressions as one `Programs`."""

    def __init__(self, network: Network, extra: Sequence[str] = ()) -> None:
        self._network = network
        self._extra = {name: len(network.parameter_names) + i for i, name in enumerate(extra)}
        self._start = [0]
        self._operations: list[int] = []
        self._arguments: list[int] = []
        self._constants: dict[float, int] = {}
        self._numbers: list[float] = []
        self.depth = 1

    def add(self, expression: Expression | None) -> None:
        """Append a program; None appends an empty one."""
        height = 0
        for node in expression.postorder() if expression is not None else ():
            argument = 0
            if isinstance(node, Call):
                operation = OPERATION_CODES[node.operation]
                height += 1 - len(node.arguments)
            else:
                height += 1
                if isinstance(node, Number):
                    operation = CONSTANT
                    argument = self._constant(node.value)
                else:
                    assert isinstance(node, Symbol)
                    operation, argument = self._place_of(node.name)
            if (number := self._folded(operation)) is not None:
                operation, argument = CONSTANT, self._constant(number)
                del self._operations[-2:], self._arguments[-2:]
            self.depth = max(self.depth, height)
            self._operations.append(operation)
            self._arguments.append(argument)
        self._start.append(len(self._operations))

    def _constant(self, number: float) -> int:
        place = self._constants.setdefault(number, len(self._constants))
        if place == len(self._numbers):
            self._numbers.append(number)
        return place

    def _folded(self, operation: int) -> float | None:
        """Return what an operation makes of two numbers that precede it: 12^2 is a number, too."""
        if operation not in _FOLDED or self._operations[-2:] != [CONSTANT, CONSTANT]:
            return None
        a, b = (self._numbers[place] for place in self._arguments[-2:])
        try:
            number = _FOLDED[operation](a, b)
        except (ZeroDivisionError, OverflowError):
            return None
        # What is left is what kernels say best themselves; and a key cannot tell 0 from -0.
        return number if math.isfinite(number) and number != 0.0 else None

    def add_nothing(self, before: int) -> None:
        """Append empty programs until the next one has the number `before`."""
        self._start += [len(self._operations)] * (before + 1 - len(self._start))

    def _place_of(self, name: str) -> tuple[int, int]:
        states, parameters = state_places(self._network), parameter_places(self._network)
        if name in states:
            return SPECIES, states[name]
        if name in parameters:
            return PARAMETER, parameters[name]
        if name in self._extra:
            return PARAMETER, self._extra[name]
        return TIME, 0

    def programs(self) -> Programs:
        return Programs(
            _integers(self._start),
            _integers(self._operations),
            _integers(self._arguments),
            np.array(self._numbers, dtype=np.float64),
        )


@dataclass(frozen=True)
class _Structure:
    """The arrays of a network without its numbers."""

    arrays: ReactionArrays  # with rate constants 0 and no parameters
    # Reactions whose rate constant is an expression of parameters: which, where it goes, and the
    # factorials it is divided by.
    constants: tuple[tuple[int, Expression, float], ...]
    quick: _QuickConstants
    stack_depth: int
    time_dependent: tuple[str, ...]
    delayed: tuple[str, ...]
    real_sided: tuple[str, ...]


class _QuickConstants(NamedTuple):
    """The rate constants of a structure in arrays; all have one entry for each of `constants`."""

    reaction: IntArray
    divisor: FloatArray
    value: FloatArray  # of numbers; 0 elsewhere
    parameter: IntArray  # which one the constant is; -1 where it is none
    others: tuple[int, ...]  # constants that are neither a number nor a parameter


def _quick_constants(
    network: Network, found: _Rates, reaction: IntArray, divisor: FloatArray
) -> _QuickConstants:
    places = parameter_places(network)
    values = np.array([one.value if isinstance(one, Number) else 0.0 for one in found.rates])
    # A symbol may name a species: then the reaction has a law, and is not among these.
    parameters = _integers(
        [places.get(one.name, -1) if isinstance(one, Symbol) else -1 for one in found.rates]
    )
    is_other = np.array([not isinstance(one, Number | Symbol) for one in found.rates], dtype=bool)
    rate = found.of[reaction]
    return _QuickConstants(
        reaction,
        divisor[reaction],
        values[rate],
        parameters[rate],
        tuple(np.flatnonzero(is_other[rate]).tolist()),
    )


def compile_network(network: Network) -> CompiledNetwork:
    """Return the arrays of a network.

    Raises
    ------
    NetworkError
        If a rate constant is negative, infinite or not a number, naming the reaction.
    """
    structure = network.memo.get("structure")
    if structure is None:
        with collection_paused():
            structure = network.memo["structure"] = _build_structure(network)
    arrays: ReactionArrays = structure.arrays
    coefficient, law_factor = arrays.coefficient.copy(), arrays.law_factor.copy()
    reaction, value = _rate_constants(network, structure)
    is_pair = arrays.form[reaction] == PAIR
    coefficient[reaction[is_pair]] = value[is_pair]
    law_factor[reaction[~is_pair]] = value[~is_pair]
    state = np.zeros(len(network.state_names) + 1, dtype=np.int64)
    state[: network.n_species], state[-1] = network.initial_state, 1
    return CompiledNetwork(
        network=network,
        arrays=arrays._replace(
            coefficient=coefficient,
            law_factor=law_factor,
            parameters=np.array(network.parameter_values, dtype=np.float64),
        ),
        initial_state=state,
        stack_depth=structure.stack_depth,
        time_dependent=structure.time_dependent,
        delayed=structure.delayed,
        real_sided=structure.real_sided,
    )


def _rate_constants(network: Network, structure: _Structure) -> tuple[IntArray, FloatArray]:
    """Return the reactions whose rate is a constant, and it, over the product of factorials."""
    quick, parameters = structure.quick, network.parameter_values
    value = quick.value.copy()
    is_parameter = quick.parameter >= 0
    value[is_parameter] = parameters[quick.parameter[is_parameter]]
    if quick.others:
        values = dict(zip(network.parameter_names, parameters.tolist(), strict=True))
        known: dict[Expression, float] = {}
        for k in quick.others:
            expression = structure.constants[k][1]
            if expression not in known:
                known[expression] = float(expression.evaluate(values))
            value[k] = known[expression]
    wrong = np.flatnonzero(~((value >= 0.0) & (value < np.inf)))
    if wrong.size:
        k = int(wrong[0])
        raise NetworkError(
            f"the rate constant of reaction {label(network, quick.reaction[k])} is {value[k]:g}; "
            f"a rate constant must be a finite number, 0 or more"
        )
    return quick.reaction, value / quick.divisor


def rate_constant_parts(network: Network) -> tuple[tuple[int, Expression, float], ...]:
    """Return (reaction, rate constant, product of factorials) where the rate is a constant.

    Rate constants are expressions of parameters, the same for all relatives of a network.
    """
    if "structure" not in network.memo:
        compile_network(network)
    constants: tuple[tuple[int, Expression, float], ...] = network.memo["structure"].constants
    return constants


def label(network: Network, reaction: int) -> str:
    """Return how messages name a reaction: its number from 1, its name, its equation."""
    what = network.reactions[reaction]
    name = f" '{what.name}'" if what.name else ""
    return f"{reaction + 1}{name} ({what.equation})"


def _integers(values: Sequence[int]) -> IntArray:
    return np.array(values, dtype=np.int64)


def _molecules(side: Terms) -> list[tuple[str, int]]:
    """Return the terms of a side that are whole, which are all that kernels of molecules see."""
    return [(name, count) for name, count in side if isinstance(count, int)]


def moving_variables(network: Network) -> tuple[int, ...]:
    """Return which variables change between events: those whose rate is not written as 0."""
    return tuple(
        i for i in range(network.n_variables) if network.expanded_variable_rate(i) != Number(0.0)
    )


class _Rates(NamedTuple):
    """The different rates of a network, without observables, and which one each reaction has."""

    rates: tuple[Expression, ...]
    symbols: tuple[frozenset[str], ...]
    of: IntArray  # (n_reactions,)


def _rates(network: Network) -> _Rates:
    # Networks that rules made have some hundred rates for ten thousands of reactions.
    known: dict[int, int] = {}
    rates: list[Expression] = []
    of = []
    for j in range(network.n_reactions):
        rate = network.expanded_rate(j)
        place = known.setdefault(id(rate), len(rates))
        if place == len(rates):
            rates.append(rate)
        of.append(place)
    return _Rates(tuple(rates), tuple(rate.symbols() for rate in rates), _integers(of))


def _forms(
    network: Network, taken: Side, custom: np.ndarray, is_law: np.ndarray
) -> tuple[dict[str, np.ndarray], FloatArray]:
    """Return how propensities are computed, for `ReactionArrays`, and what divides constants."""
    n, none = network.n_reactions, len(network.state_names)
    divisor = np.ones(n)
    for j in np.unique(taken.species.owners[taken.molecules > 1]).tolist():
        if not custom[j]:
            sides = _molecules(network.reactions[j].reactants)
            divisor[j] = prod(factorial(count) for _, count in sides)
    n_molecules = np.bincount(taken.species.owners, taken.molecules, minlength=n)
    form = np.where(custom, CUSTOM, SCALED)
    form[~is_law] = np.where(n_molecules[~is_law] > 2, GENERAL, PAIR)
    first, second, shift = np.full(n, none), np.full(n, none), np.zeros(n)
    is_pair = (form == PAIR)[taken.species.owners]
    species, owner = taken.species.entries[is_pair], taken.species.owners[is_pair]
    place, count = taken.species.places[is_pair], taken.molecules[is_pair]
    first[owner[place == 0]] = species[place == 0]
    second[owner[place == 1]] = species[place == 1]
    second[owner[count == 2]] = species[count == 2]
    shift[owner[count == 2]] = 1.0
    law_factor = np.where(is_law, np.where(custom, 1.0, 1.0 / divisor), 0.0)
    return {
        "form": form,
        "first": first,
        "second": second,
        "shift": shift,
        "law_factor": law_factor,
    }, divisor


def _build_structure(network: Network) -> _Structure:
    index = state_places(network)
    reactions = network.reactions
    n, none = network.n_reactions, len(network.state_names)
    moving = {"t", *(network.variable_names[i] for i in moving_variables(network))}
    found = _rates(network)
    moves, timed, reads_state = (
        np.array([not symbols.isdisjoint(names) for symbols in found.symbols], dtype=bool)[found.of]
        # Not index.keys(), all of which are gone through for each rate, as they are no set.
        for names in (moving, {"t"}, set(index))
    )
    taken = side_of([one.reactants for one in reactions], index)
    made = side_of([one.products for one in reactions], index)
    is_real = ~(taken.is_whole & made.is_whole)
    for side in (taken, made):
        is_real[side.species.owners[side.species.entries >= network.n_species]] = True

    custom = np.array([one.kind == "propensity" for one in reactions], dtype=bool)
    is_law = custom | timed | reads_state
    forms, divisor = _forms(network, taken, custom, is_law)

    writer = _ProgramWriter(network)
    law_species: list[list[int]] = [[]] * n
    for j in np.flatnonzero(is_law).tolist():
        symbols = found.symbols[found.of[j]]
        writer.add_nothing(before=j)
        writer.add(found.rates[found.of[j]])
        law_species[j] = sorted(index[name] for name in symbols if name in index)
    writer.add_nothing(before=n)

    steps = np.arange(n)
    changes = changes_of(n, none, (-1, steps, taken), (1, steps, made))
    law_lists = lists_of(law_species)
    readers = readers_of(none, taken.species, law_lists)
    # The step after the last reaction changes everything.
    changed = Lists(np.append(changes.species.start, changes.by.size), changes.species.entries)
    lists = dependent_lists(forms["form"], readers, changed, {n: steps})
    order, own = _leaping_orders(network, taken)
    filled = padded(changes, none)
    arrays = ReactionArrays(
        **forms,
        coefficient=np.zeros(n),
        reactant_start=taken.species.start,
        reactant=taken.species.entries,
        reactant_count=taken.molecules,
        change_start=filled.species.start,
        change_species=filled.species.entries,
        change=filled.by,
        **lists,
        rows=packed_rows(forms, changes, lists),
        law_species_start=law_lists.start,
        law_species=law_lists.entries,
        highest_order=order,
        highest_count=own,
        moves=moves.astype(np.int64),
        laws=writer.programs(),
        parameters=np.zeros(0),
    )
    constant = np.flatnonzero(~is_law)
    return _Structure(
        arrays=arrays,
        constants=tuple(
            (j, found.rates[k], by)
            for j, k, by in zip(
                constant.tolist(),
                found.of[constant].tolist(),
                divisor[constant].tolist(),
                strict=True,
            )
        ),
        quick=_quick_constants(network, found, constant, divisor),
        stack_depth=writer.depth,
        time_dependent=tuple(label(network, j) for j in np.flatnonzero(timed).tolist()),
        delayed=tuple(
            label(network, j) for j, one in enumerate(reactions) if one.delay is not None
        ),
        real_sided=tuple(label(network, j) for j in np.flatnonzero(is_real).tolist()),
    )


@dataclass(frozen=True)
class Steps:
    """The lists of changes and dependents of `JumpNetwork`, one entry for each step."""

    arrays: ReactionArrays  # those of the network with these lists
    changed: tuple[frozenset[int], ...]  # what each step changes, indices into the state


def compile_steps(compiled: CompiledNetwork) -> Steps:
    """Return a network's arrays with lists for all steps of a `JumpNetwork`."""
    network, arrays = compiled.network, compiled.arrays
    found = network.memo.get("steps")
    if found is None:
        found = network.memo["steps"] = _build_steps(network, arrays)
    lists, changed = found
    return Steps(arrays._replace(**lists), changed)


def _build_steps(
    network: Network, arrays: ReactionArrays
) -> tuple[dict[str, np.ndarray], tuple[frozenset[int], ...]]:
    n, n_states = network.n_reactions, len(network.state_names)
    index = state_places(network)
    # A reaction's initiation is step j, its completion step n + 2 + j; without a delay it is all
    # initiation. Step n changes everything, n + 1 what moves, and the last one nothing.
    initiation, completion = np.arange(n), n + 2 + np.arange(n)
    late = np.array([one.delay is not None for one in network.reactions], dtype=bool)
    takes_late = np.array(
        [
            one.delay is not None and one.delay.consuming == "completion"
            for one in network.reactions
        ],
        dtype=bool,
    )
    changes = changes_of(
        2 * n + 3,
        n_states,
        (
            -1,
            np.where(takes_late, completion, initiation),
            side_of([one.reactants for one in network.reactions], index),
        ),
        (
            1,
            np.where(late, completion, initiation),
            side_of([one.products for one in network.reactions], index),
        ),
    )
    readers = readers_of(
        n_states,
        Lists(arrays.reactant_start, arrays.reactant),
        Lists(arrays.law_species_start, arrays.law_species),
    )
    given = {n: initiation, n + 1: np.flatnonzero(arrays.moves)}
    filled = padded(changes, n_states)
    lists: dict[str, np.ndarray] = {
        **dependent_lists(arrays.form, readers, changes.species, given),
        "change_start": filled.species.start,
        "change_species": filled.species.entries,
        "change": filled.by,
        # There are more steps than reactions.
        "rows": np.zeros((0, ROW_WIDTH), dtype=np.int32),
    }
    start, species = changes.species.start.tolist(), changes.species.entries.tolist()
    return lists, tuple(frozenset(species[a:b]) for a, b in itertools.pairwise(start))


def _leaping_orders(network: Network, taken: Side) -> tuple[IntArray, IntArray]:
    """Return the highest order in which each species reacts, and its own count there."""
    n = network.n_species
    # A law says itself how steep it is, but not that it ends where a reactant runs out: its
    # reactants count as those of a first-order reaction, so that no leap passes over that.
    custom = np.array([one.kind == "propensity" for one in network.reactions], dtype=bool)
    is_species = taken.species.entries < n
    owner, species = taken.species.owners[is_species], taken.species.entries[is_species]
    count = taken.molecules[is_species]
    order = np.bincount(owner, count, minlength=network.n_reactions).astype(np.int64)
    order[custom] = 1
    count = np.where(custom[owner], 1, count)
    # The largest pair: first by the order, then by the count.
    base = int(count.max(initial=0)) + 1
    largest = np.zeros(n, dtype=np.int64)
    pair = order[owner] * base + count
    ascending = np.argsort(pair)
    largest[species[ascending]] = pair[ascending]  # of several, the last one stays
    return largest // base, largest % base


def jumping_parts(rates: Iterable[Expression], names: Collection[str]) -> list[Expression]:
    """Return the largest parts of some rates that jump while `names` change smoothly."""
    found: dict[Expression, None] = {}
    waiting = list(rates)
    while waiting:
        node = waiting.pop()
        if isinstance(node, Call) and node.operation not in _JUMPING:
            waiting.extend(node.arguments)
        elif isinstance(node, Call) and not node.symbols().isdisjoint(names):
            found[node] = None
    return list(found)


def compile_expressions(
    network: Network, expressions: Sequence[Expression | None]
) -> tuple[Programs, int]:
    """Return programs for expressions of a network's names, and the stack they need.

    None gives an empty program.
    """
    writer = _ProgramWriter(network)
    for expression in expressions:
        writer.add(None if expression is None else network.expanded(expression))
    return writer.programs(), writer.depth


@dataclass(frozen=True)
class _RateEquationStructure:
    equations: RateEquations  # with coefficients 0 and no parameters
    stack_depth: int


def compile_rate_equations(
    network: Network, switches: tuple[Expression, ...] = ()
) -> tuple[RateEquations, int]:
    """Return the arrays of the rate equations, and the stack their programs need.

    The rate of ``n A -> ... @ c`` is c A**n / n!: the propensity's limit for large counts. The
    rates of the reactions are followed by those of the variables.

    Parameters
    ----------
    network : Network
        Its delays and events play no part here.
    switches : tuple of Expression, optional
        Parts of the rates that are not computed but read: their values stand at the end of
        `parameters`, 0 for a start.

    Raises
    ------
    NetworkError
        If a rate constant is negative, infinite or not a number.
    """
    compiled = compile_network(network)
    key = ("rate equations", switches)
    structure = network.memo.get(key)
    if structure is None:
        structure = network.memo[key] = _build_rate_equations(compiled, switches)
    parameters = compiled.arrays.parameters
    return (
        structure.equations._replace(
            coefficient=compiled.arrays.coefficient,
            parameters=np.concatenate([parameters, np.zeros(len(switches))]),
        ),
        structure.stack_depth,
    )


def state_change_entries(network: Network) -> tuple[IntArray, IntArray, FloatArray]:
    """Return what each rate of the rate equations changes, as rows, columns and values.

    The rows are species and variables, the columns the rates of reactions and of variables; no
    place comes twice. Coefficients that are expressions are part of the variables' own rates.
    """
    index = {name: i for i, name in enumerate(network.state_names)}
    entries: dict[tuple[int, int], float] = {}
    for j, reaction in enumerate(network.reactions):
        for sign, side in ((-1.0, reaction.reactants), (1.0, reaction.products)):
            for name, count in side:
                if not isinstance(count, Expression):
                    place = index[name], j
                    entries[place] = entries.get(place, 0.0) + sign * count
    for i in range(network.n_variables):
        entries[network.n_species + i, network.n_reactions + i] = 1.0
    kept = {place: value for place, value in entries.items() if value != 0.0}
    rows, columns = (_integers([place[axis] for place in kept]) for axis in (0, 1))
    return rows, columns, np.array(list(kept.values()), dtype=np.float64)


def state_change_matrix(network: Network) -> FloatMatrix:
    """Return what each rate of the rate equations changes per unit of it.

    Returns
    -------
    ndarray, shape (n_species + n_variables, n_reactions + n_variables), float64
        The stoichiometry matrix, beside it ones on the diagonal: a variable's rate is its own.
    """
    n = network.n_variables
    matrix = np.zeros((network.n_species + n, network.n_reactions + n))
    rows, columns, values = state_change_entries(network)
    matrix[rows, columns] = values
    return matrix


def _build_rate_equations(
    compiled: CompiledNetwork, switches: tuple[Expression, ...]
) -> _RateEquationStructure:
    network, arrays = compiled.network, compiled.arrays
    names = network.state_names
    index = {name: i for i, name in enumerate(names)}
    held = _switch_symbols(network, switches)
    extra = [symbol.name for symbol in held.values()]
    laws, slopes = _ProgramWriter(network, extra), _ProgramWriter(network, extra)
    slope_rate: list[int] = []
    slope_state: list[int] = []
    needed: list[list[int]] = []

    def add_slopes(row: int, rate: Expression | None, read: Iterable[str]) -> None:
        for i in sorted(index[name] for name in read if name in index):
            slope_rate.append(row)
            slope_state.append(i)
            slopes.add(None if rate is None else rate.derivative(names[i]))

    for j, reaction in enumerate(network.reactions):
        # A variable may go below zero, so it never runs out.
        limits = reaction.reactants if reaction.kind == "propensity" and reaction.limited else ()
        needed.append([index[name] for name, _ in limits if index[name] < network.n_species])
        pair = arrays.form[j] == PAIR
        rate = None if pair else _with_switches(rate_expression(network, j), held)
        laws.add(rate)
        read = {name for name, _ in reaction.reactants}
        if rate is not None:
            read |= rate.symbols()
        add_slopes(j, rate, read)
    for i in range(network.n_variables):
        rule = _with_switches(network.expanded_variable_rate(i), held)
        needed.append([])
        laws.add(rule)
        add_slopes(network.n_reactions + i, rule, rule.symbols())
    needed_lists = lists_of(needed)
    return _RateEquationStructure(
        RateEquations(
            coefficient=np.zeros(0),
            first=arrays.first,
            second=arrays.second,
            laws=laws.programs(),
            needed_start=needed_lists.start,
            needed=needed_lists.entries,
            slope_rate=_integers(slope_rate),
            slope_state=_integers(slope_state),
            slopes=slopes.programs(),
            parameters=np.zeros(0),
        ),
        max(laws.depth, slopes.depth),
    )


def _switch_symbols(network: Network, switches: tuple[Expression, ...]) -> dict[Expression, Symbol]:
    """Return a name that the network does not use for each switch."""
    stem = "switch_"
    while any(name.startswith(stem) for name in (*network.state_names, *network.parameter_names)):
        stem += "_"
    return {switch: Symbol(f"{stem}{k}") for k, switch in enumerate(switches)}


def _with_switches(rate: Expression, held: Mapping[Expression, Symbol]) -> Expression:
    """Return a rate with names in the place of its switches."""
    if not held:
        return rate

    def combine(node: Call, arguments: list[Expression]) -> Expression:
        if node in held:
            return held[node]
        if all(new is old for new, old in zip(arguments, node.arguments, strict=True)):
            return node
        return Call(node.operation, tuple(arguments))

    return rate.fold(lambda leaf: leaf, combine)
