"""From a network to the arrays that kernels read: the only place that knows both.

What depends on the structure alone (which species a reaction reads and changes, the programs of its
rate law) is built once and kept in `Network.memo`, which relatives made by `with_parameters` and
`with_initial` share. A relative then costs the evaluation of its rate constants.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import factorial, prod
from typing import NamedTuple

import numpy as np

from .errors import NetworkError
from .kernels.arrays import CUSTOM, GENERAL, LONGEST_ROW, PAIR, ROW_HEAD, SCALED, ReactionArrays
from .kernels.programs import CONSTANT, OPERATION_CODES, PARAMETER, SPECIES, TIME, Programs
from .kernels.rate_equations import RateEquations
from .kernels.sum_tree import ARITY, DENSE_LIMIT, first_leaf
from .mass_action import propensity_expression, rate_expression
from .network import Network, Reaction
from .operations import CONDITIONS
from .rate_laws import Call, Expression, Number, Symbol
from .reactions import Terms

__all__ = [
    "CompiledNetwork",
    "Steps",
    "cache_aligned",
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

# Lists of dependent reactions for every reaction may have this many entries in all; above, they are
# kept for every species, and a reaction has those of the species that it changes. A network of
# 58,276 reactions would otherwise need 64 million entries, 2 GB, and a minute to make them.
_MOST_ENTRIES = 2_000_000

# Reactions have rows from this number on, where their arrays outgrow the cache next to the
# processor: a chain of 100,000 took 8 times as long per event as one of 1,000, with lists in a
# dozen places. Rows are cache lines of 16 numbers, and up to four of them long.
_FEWEST_ROWS = 512
_ROW = 16

# What jumps while its arguments change smoothly.
_JUMPING = CONDITIONS | {"floor", "ceil"}

# What a processor loads from memory at once, in doubles.
_CACHE_LINE = 8

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


class _ProgramWriter:
    """Collects expressions as one `Programs`."""

    def __init__(self, network: Network, extra: Sequence[str] = ()) -> None:
        self._network = network
        self._extra = {name: len(network.parameter_names) + i for i, name in enumerate(extra)}
        self._start = [0]
        self._operations: list[int] = []
        self._arguments: list[int] = []
        self._constants: dict[float, int] = {}
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
                    argument = self._constants.setdefault(node.value, len(self._constants))
                else:
                    assert isinstance(node, Symbol)
                    operation, argument = self._place_of(node.name)
            self.depth = max(self.depth, height)
            self._operations.append(operation)
            self._arguments.append(argument)
        self._start.append(len(self._operations))

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
            np.array(list(self._constants), dtype=np.float64),
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
    network: Network, constants: Sequence[tuple[int, Expression, float]]
) -> _QuickConstants:
    places = parameter_places(network)
    values, parameters, others = [], [], []
    for k, (_, expression, _) in enumerate(constants):
        values.append(expression.value if isinstance(expression, Number) else 0.0)
        parameters.append(places[expression.name] if isinstance(expression, Symbol) else -1)
        if not isinstance(expression, Number | Symbol):
            others.append(k)
    return _QuickConstants(
        _integers([reaction for reaction, _, _ in constants]),
        np.array([divisor for _, _, divisor in constants], dtype=np.float64),
        np.array(values, dtype=np.float64),
        _integers(parameters),
        tuple(others),
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


def _lists(lists: Iterable[Iterable[int]]) -> tuple[IntArray, IntArray]:
    """Return (start, entries): list j is entries[start[j]:start[j + 1]]."""
    start: list[int] = [0]
    entries: list[int] = []
    for one in lists:
        entries.extend(one)
        start.append(len(entries))
    return _integers(start), _integers(entries)


def _molecules(side: Terms) -> list[tuple[str, int]]:
    """Return the terms of a side that are whole, which are all that kernels of molecules see."""
    return [(name, count) for name, count in side if isinstance(count, int)]


def _net_change(*signed_sides: tuple[int, Terms], index: dict[str, int]) -> dict[int, int]:
    change: dict[int, int] = {}
    for sign, side in signed_sides:
        for name, count in _molecules(side):
            change[index[name]] = change.get(index[name], 0) + sign * count
    return {species: by for species, by in change.items() if by}


def _initiation_and_completion(
    reaction: Reaction, index: dict[str, int]
) -> tuple[dict[int, int], dict[int, int]]:
    # A reaction without a delay is all initiation.
    taken, made = (-1, reaction.reactants), (1, reaction.products)
    if reaction.delay is None:
        return _net_change(taken, made, index=index), {}
    if reaction.delay.consuming == "completion":
        return {}, _net_change(taken, made, index=index)
    return _net_change(taken, index=index), _net_change(made, index=index)


def moving_variables(network: Network) -> tuple[int, ...]:
    """Return which variables change between events: those whose rate is not written as 0."""
    return tuple(
        i for i in range(network.n_variables) if network.expanded_variable_rate(i) != Number(0.0)
    )


def _build_structure(network: Network) -> _Structure:
    index = {name: i for i, name in enumerate(network.state_names)}
    n, none = network.n_reactions, len(network.state_names)
    form = np.zeros(n, dtype=np.int64)
    first, second = np.full(n, none), np.full(n, none)
    shift, law_factor = np.zeros(n), np.zeros(n)
    writer = _ProgramWriter(network)
    constants: list[tuple[int, Expression, float]] = []
    law_species: list[list[int]] = []
    time_dependent: list[str] = []
    real_sided: list[str] = []
    moving = {"t", *(network.variable_names[i] for i in moving_variables(network))}
    moves = np.zeros(n, dtype=np.int64)
    for j, reaction in enumerate(network.reactions):
        rate = network.expanded_rate(j)
        symbols = rate.symbols()
        moves[j] = not symbols.isdisjoint(moving)
        if "t" in symbols:
            time_dependent.append(label(network, j))
        if any(
            index[name] >= network.n_species or not isinstance(count, int)
            for name, count in (*reaction.reactants, *reaction.products)
        ):
            real_sided.append(label(network, j))
        custom = reaction.kind == "propensity"
        divisor = 1.0
        if not custom:
            divisor = float(prod(factorial(count) for _, count in _molecules(reaction.reactants)))
        if custom or "t" in symbols or not index.keys().isdisjoint(symbols):
            form[j] = CUSTOM if custom else SCALED
            law_factor[j] = 1.0 if custom else 1.0 / divisor
            writer.add(rate)
            law_species.append(sorted(index[name] for name in symbols if name in index))
            continue
        writer.add(None)
        law_species.append([])
        constants.append((j, rate, divisor))
        molecules = [
            index[name] for name, count in _molecules(reaction.reactants) for _ in range(count)
        ]
        if len(molecules) > 2:
            form[j] = GENERAL
        else:
            form[j] = PAIR
            first[j], second[j] = [*molecules, none, none][:2]
            shift[j] = float(len(molecules) == 2 and molecules[0] == molecules[1])

    sides = [_molecules(r.reactants) for r in network.reactions]
    reactants = [[index[name] for name, _ in side] for side in sides]
    changes = [
        _net_change((-1, r.reactants), (1, r.products), index=index) for r in network.reactions
    ]
    readers = _readers(none, reactants, law_species)
    lists = _dependent_lists(form, readers, [*changes, {}], {n: list(range(n))})
    order, own = _leaping_orders(network, index)
    reactant_start, reactant = _lists(reactants)
    padded = _padded_changes(changes, none)
    change_start, change_species = _lists([species for species, _ in one] for one in padded)
    law_species_start, law_species_entries = _lists(law_species)
    arrays = ReactionArrays(
        form=form,
        coefficient=np.zeros(n),
        first=first.astype(np.int64),
        second=second.astype(np.int64),
        shift=shift,
        law_factor=law_factor,
        reactant_start=reactant_start,
        reactant=reactant,
        reactant_count=_integers([count for side in sides for _, count in side]),
        change_start=change_start,
        change_species=change_species,
        change=_integers([by for one in padded for _, by in one]),
        **lists,
        rows=_packed_rows(form, first, second, shift, changes, lists),
        law_species_start=law_species_start,
        law_species=law_species_entries,
        highest_order=order,
        highest_count=own,
        moves=moves,
        laws=writer.programs(),
        parameters=np.zeros(0),
    )
    return _Structure(
        arrays=arrays,
        constants=tuple(constants),
        quick=_quick_constants(network, constants),
        stack_depth=writer.depth,
        time_dependent=tuple(time_dependent),
        delayed=tuple(
            label(network, j) for j, one in enumerate(network.reactions) if one.delay is not None
        ),
        real_sided=tuple(real_sided),
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
    index = {name: i for i, name in enumerate(network.state_names)}
    n, n_states = network.n_reactions, len(network.state_names)
    steps = [_initiation_and_completion(one, index) for one in network.reactions]
    initiations, completions = [one for one, _ in steps], [one for _, one in steps]
    changes: list[dict[int, int]] = [*initiations, {}, {}, *completions, {}]

    def entries(start: IntArray, flat: IntArray) -> list[list[int]]:
        return [flat[start[j] : start[j + 1]].tolist() for j in range(n)]

    readers = _readers(
        n_states,
        entries(arrays.reactant_start, arrays.reactant),
        entries(arrays.law_species_start, arrays.law_species),
    )
    everything, moving = list(range(n)), np.flatnonzero(arrays.moves).tolist()
    padded = _padded_changes(changes, n_states)
    change_start, change_species = _lists([species for species, _ in one] for one in padded)
    lists: dict[str, np.ndarray] = {
        **_dependent_lists(arrays.form, readers, changes, {n: everything, n + 1: moving}),
        "change_start": change_start,
        "change_species": change_species,
        "change": _integers([by for one in padded for _, by in one]),
        "rows": np.zeros((0, _ROW), dtype=np.int32),  # there are more steps than reactions
    }
    return lists, tuple(frozenset(one) for one in changes)


def _padded_changes(changes: list[dict[int, int]], none: int) -> list[list[tuple[int, int]]]:
    # Lists of one length let the processor foresee the end of the loop over them: an event of
    # Vilar's oscillator takes 15 % less time, one of Michaelis-Menten the same. The padding changes
    # the state's last entry by 0.
    longest = max(map(len, changes), default=0)
    length = longest if longest <= 4 else 0
    return [[*one.items(), *[(none, 0)] * (length - len(one))] for one in changes]


def _readers(
    n_states: int, reactants: list[list[int]], law_species: list[list[int]]
) -> list[list[int]]:
    """For each species and variable, the reactions whose propensity depends on it, in order."""
    readers: list[list[int]] = [[] for _ in range(n_states)]
    for j, read in enumerate(zip(reactants, law_species, strict=True)):
        for species in {*read[0], *read[1]}:
            readers[species].append(j)
    return readers


def _dependent_lists(
    form: IntArray,
    readers: list[list[int]],
    changes: Sequence[Mapping[int, int]],
    given: Mapping[int, list[int]],
) -> dict[str, IntArray]:
    """Return the lists of reactions whose propensities each step changes, for `ReactionArrays`.

    `changes` says what each step changes, `given` the lists of steps that change something else.
    """
    n_entries = sum(len(readers[species]) for one in changes for species in one)
    if n_entries <= _MOST_ENTRIES or form.size <= DENSE_LIMIT:
        lists = [
            given.get(step, sorted(set().union(*(readers[species] for species in one))))
            for step, one in enumerate(changes)
        ]
        parts = [[step] for step in range(len(changes))]
    else:
        lists = [*readers, *given.values()]
        place = {step: len(readers) + i for i, step in enumerate(given)}
        parts = [
            [place[step]] if step in place else [species for species in one if readers[species]]
            for step, one in enumerate(changes)
        ]
    part_start, part = _lists(parts)
    dependent_start, dependent = _lists(lists)
    law_start, law_dependent = _lists([k for k in one if form[k] != PAIR] for one in lists)
    node_start, node = _lists(_tree_nodes(form.size, lists))
    return {
        "part_start": part_start,
        "part": part,
        "dependent_start": dependent_start,
        "dependent": dependent,
        "law_dependent_start": law_start,
        "law_dependent": law_dependent,
        "node_start": node_start,
        "node": node,
    }


def _tree_nodes(n_reactions: int, dependents: list[list[int]]) -> Iterable[list[int]]:
    """For each list of reactions, the inner nodes above them, children before parents."""
    offset = first_leaf(n_reactions)
    for one in dependents:
        nodes: set[int] = set()
        level = {(offset + j - 1) // ARITY for j in one}
        while level:
            nodes |= level
            level = {(node - 1) // ARITY for node in level if node > 0}
        yield sorted(nodes, reverse=True)


def cache_aligned(size: int) -> FloatArray:
    """Return zeros, (size,) float64, from the start of a cache line on.

    NumPy begins anywhere, and then every row of one line stands in two.
    """
    room = np.zeros(size + _CACHE_LINE)
    skipped = -room.ctypes.data % 64 // 8
    return room[skipped : skipped + size]


def _packed_rows(
    form: IntArray,
    first: IntArray,
    second: IntArray,
    shift: FloatArray,
    changes: list[dict[int, int]],
    lists: dict[str, IntArray],
) -> np.ndarray:
    """Return the rows of `ReactionArrays`, none where they are of no use or too long."""
    n = form.size
    none = np.zeros((0, _ROW), dtype=np.int32)
    if n < _FEWEST_ROWS or (form != PAIR).any():
        return none
    if not np.array_equal(lists["part"], np.arange(n + 1)):
        return none  # lists are kept by species
    start, dependent = lists["dependent_start"], lists["dependent"]
    n_dependents = np.diff(start)[:n]
    n_changes = _integers([len(one) for one in changes])
    length = ROW_HEAD + n_dependents + 2 * n_changes
    if length.max() > LONGEST_ROW:
        return none
    width = -(-int(length.max()) // _ROW) * _ROW
    rows = cache_aligned(n * width // 2).view(np.int32).reshape(n, width)
    rows[:, :ROW_HEAD] = np.stack([first, second, shift, n_dependents, n_changes], axis=1)
    owner = np.repeat(np.arange(n), n_dependents)
    place = np.arange(owner.size) - start[owner]
    rows[owner, ROW_HEAD + place] = dependent[: owner.size]
    owner = np.repeat(np.arange(n), n_changes)
    place = np.arange(owner.size) - (np.cumsum(n_changes) - n_changes)[owner]
    place = ROW_HEAD + n_dependents[owner] + 2 * place
    rows[owner, place] = [species for one in changes for species in one]
    rows[owner, place + 1] = [by for one in changes for by in one.values()]
    return rows


def _leaping_orders(network: Network, index: dict[str, int]) -> tuple[IntArray, IntArray]:
    order = np.zeros(network.n_species, dtype=np.int64)
    own = np.zeros(network.n_species, dtype=np.int64)
    for reaction in network.reactions:
        # A law says itself how steep it is, but not that it ends where a reactant runs out: its
        # reactants count as those of a first-order reaction, so that no leap passes over that.
        custom = reaction.kind == "propensity"
        taken = [
            (name, count)
            for name, count in _molecules(reaction.reactants)
            if index[name] < network.n_species
        ]
        molecules = 1 if custom else sum(count for _, count in taken)
        for name, count in taken:
            i, own_count = index[name], 1 if custom else count
            order[i], own[i] = max((order[i], own[i]), (molecules, own_count))
    return order, own


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
    needed_start, needed_entries = _lists(needed)
    return _RateEquationStructure(
        RateEquations(
            coefficient=np.zeros(0),
            first=arrays.first,
            second=arrays.second,
            laws=laws.programs(),
            needed_start=needed_start,
            needed=needed_entries,
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
