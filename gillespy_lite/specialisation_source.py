"""The text of a kernel for one network: straight-line code for its propensities and changes.

What is written follows from the arrays of a compiled network alone: which form a reaction has,
which species it reads and changes, the steps of its rate law's program. Names of species,
parameters or observables are not known here, and numbers are whole numbers from those arrays; rate
constants, parameters and constants of rate laws are read when the kernel runs. So networks that
differ in them alone share one text.
"""

from __future__ import annotations

import itertools
import math
from typing import NamedTuple

import numpy as np

from .compilation import FloatArray
from .kernels.arrays import CUSTOM, PAIR, ReactionArrays
from .kernels.programs import CONSTANT, OPERATION_CODES, PARAMETER, SPECIES, TIME, Programs

__all__ = [
    "MAX_OPERATIONS",
    "NOTHING_VARIES",
    "Varying",
    "are_small_powers",
    "burst_source",
    "lane_burst_source",
    "n_operations",
]

# An event changes counts by steps between reactions if these are no more than so many in all, else
# by a row of a table. Measured, ns per event, table and steps: SIR (3 steps) 8.3 and 6.5, Vilar's
# oscillator (36) 21 and 18, the repressilator (55) 33 and 27, a cascade of kinases (99) 35 and 33,
# a ring of 62 reactions (about 180) 70 and 76.
MOST_STEPS = 128

# Beyond, compiling takes longer than most runs.
MAX_OPERATIONS = 4_000

_NAMES = {code: name for name, code in OPERATION_CODES.items()}
_ARITY = {
    **dict.fromkeys(("neg", "not", "factorial"), 1),
    **dict.fromkeys(("exp", "log", "log10", "sqrt", "abs", "sin", "cos", "tan", "tanh"), 1),
    **dict.fromkeys(("floor", "ceil", "asin", "acos", "atan", "sinh", "cosh"), 1),
    **dict.fromkeys(("asinh", "acosh", "atanh"), 1),
    **dict.fromkeys(("+", "-", "*", "/", "^", "<", "<=", ">", ">=", "==", "!="), 2),
    **dict.fromkeys(("and", "or", "min", "max"), 2),
    **dict.fromkeys(("if", "hill", "hillr", "mratio"), 3),
}

# What `programs.evaluate_program` computes for each operation.
_TRUTH = "(ONE if {} else ZERO)"
_TEMPLATES = {
    **{name: f"{{0}} {name} {{1}}" for name in ("+", "-", "*", "/")},
    "^": "power({0}, {1})",
    "neg": "-{0}",
    **{name: _TRUTH.format(f"{{0}} {name} {{1}}") for name in ("<", "<=", ">", ">=", "==", "!=")},
    "and": _TRUTH.format("{0} != ZERO and {1} != ZERO"),
    "or": _TRUTH.format("{0} != ZERO or {1} != ZERO"),
    "not": _TRUTH.format("{0} == ZERO"),
    "if": "({1} if {0} != ZERO else {2})",
    **{name: f"np.{name}({{0}})" for name in ("exp", "log", "log10", "sqrt", "sin", "cos", "tan")},
    **{name: f"np.{name}({{0}})" for name in ("tanh", "floor", "ceil", "sinh", "cosh")},
    **{
        f"a{name}": f"np.arc{name}({{0}})" for name in ("sin", "cos", "tan", "sinh", "cosh", "tanh")
    },
    "abs": "abs({0})",
    "min": "({0} if {0} <= {1} else ({1} if {0} == {0} else NAN))",
    "max": "({0} if {0} >= {1} else ({1} if {0} == {0} else NAN))",
    "hill": "ONE / (ONE + power({1} / {0}, {2}))",
    "hillr": "ONE / (ONE + power({0} / {1}, {2}))",
    "factorial": "factorial({0})",
    "mratio": "kummer_ratio({0}, {1}, {2})",
}

# The same for lanes. Other operations are calls of the mathematical library, lane by lane.
_LANE_TRUTH = "select({}, 1.0, 0.0)"
_LANE_TEMPLATES = {
    **{name: f"{{0}} {name} {{1}}" for name in ("+", "-", "*", "/")},
    "^": "lane_power({0}, {1}, stack)",
    "neg": "-{0}",
    **{
        name: _LANE_TRUTH.format(f"{{0}} {name} {{1}}")
        for name in ("<", "<=", ">", ">=", "==", "!=")
    },
    "and": _LANE_TRUTH.format("({0} != 0.0) & ({1} != 0.0)"),
    "or": _LANE_TRUTH.format("({0} != 0.0) | ({1} != 0.0)"),
    "not": _LANE_TRUTH.format("{0} == 0.0"),
    "if": "select({0} != 0.0, {1}, {2})",
    "sqrt": "square_root({0})",
    "abs": "absolute({0})",
    "min": "select({0} <= {1}, {0}, select({0} == {0}, {1}, NAN))",
    "max": "select({0} >= {1}, {0}, select({0} == {0}, {1}, NAN))",
    "hill": "1.0 / (1.0 + lane_power({1} / {0}, {2}, stack))",
    "hillr": "1.0 / (1.0 + lane_power({0} / {1}, {2}, stack))",
}
_ARITHMETIC = frozenset(("+", "-", "*", "/", "neg"))
# Which argument is the exponent: one number for all lanes.
_POWERS = {"^": 1, "hill": 2, "hillr": 2}

# Laws with one of these are computed only where an event changed what they read; recomputing the
# others costs less than the jump that the processor would mispredict.
_DEAR = frozenset(_TEMPLATES) - {
    *("+", "-", "*", "/", "neg", "<", "<=", ">", ">=", "==", "!=", "and", "or", "not", "if"),
    *("sqrt", "abs", "floor", "ceil", "min", "max"),
}


class Varying(NamedTuple):
    """Which numbers of a network each lane has its own of, because its row has."""

    rates: frozenset[int] = frozenset()  # reactions, by their coefficient or factor
    parameters: frozenset[int] = frozenset()


NOTHING_VARIES = Varying()


def n_operations(programs: Programs) -> int:
    """Return how many steps programs have in all."""
    return int(programs.operation.size)


def are_small_powers(numbers: FloatArray) -> np.ndarray:
    """Return which numbers are exponents that are multiplied out; the text depends on these."""
    # Not np.isin, which takes 30 us.
    small: np.ndarray = (numbers == 2.0) | (numbers == 3.0) | (numbers == 4.0)
    return small


def _program_steps(programs: Programs, p: int) -> list[tuple[int, int]]:
    """Return program `p` as pairs of an operation and its argument."""
    steps = slice(int(programs.start[p]), int(programs.start[p + 1]))
    return list(
        zip(programs.operation[steps].tolist(), programs.argument[steps].tolist(), strict=True)
    )


class _Values:
    """Gives every value that programs compute a name, and equal values one name.

    A value is fixed (computed once, before the loop), or computed where it is asked for.
    """

    def __init__(
        self,
        prefix: str,
        constants: str,
        parameter: FloatArray,
        constant: FloatArray,
        varying: frozenset[int] = frozenset(),
        first_varying: int = 0,
    ) -> None:
        # A parameter that varies is read as if it were one more species, behind all others, that
        # no reaction changes.
        self._varying, self._first_varying = varying, first_varying
        self._present = {"parameter": parameter, constants: constant}
        self._prefix, self._constants = prefix, constants
        self._known: dict[tuple[object, ...], str] = {}
        self._sources: dict[str, str] = {}  # of parameters and constants
        self._calls: dict[str, tuple[str, tuple[str, ...]]] = {}
        self.reads: dict[str, frozenset[int]] = {}  # species behind each name
        self._needs: dict[str, tuple[str, ...]] = {}
        self.is_dear: dict[str, bool] = {}
        self._small_powers: set[str] = set()  # exponents that are 2, 3 or 4 at present

    def add(self, steps: list[tuple[int, int]]) -> str:
        """Return the name of a program's value."""
        stack: list[str] = []
        for operation, argument in steps:
            if operation == SPECIES:
                stack.append(self._leaf(f"s{argument}", frozenset((argument,))))
            elif operation == PARAMETER and argument in self._varying:
                place = self._first_varying + argument
                stack.append(self._leaf(f"s{place}", frozenset((place,))))
            elif operation == PARAMETER:
                stack.append(self._number(f"p{argument}", "parameter", argument))
            elif operation == CONSTANT:
                stack.append(self._number(f"{self._prefix}c{argument}", self._constants, argument))
            elif operation == TIME:
                raise ValueError("a rate that depends on the time has no specialised kernel")
            else:
                name = _NAMES[operation]
                arity = _ARITY[name]
                stack[-arity:] = [self._call(name, tuple(stack[-arity:]))]
        return stack[0]

    def _leaf(self, name: str, reads: frozenset[int]) -> str:
        self.reads[name], self._needs[name], self.is_dear[name] = reads, (), False
        return name

    def _number(self, name: str, array: str, index: int) -> str:
        self._sources[name] = f"{array}[{index}]"
        if are_small_powers(self._present[array])[index]:
            self._small_powers.add(name)
        return self._leaf(name, frozenset())

    def _call(self, operation: str, arguments: tuple[str, ...]) -> str:
        key = (operation, *arguments)
        name = self._known.get(key)
        if name is None:
            name = self._known[key] = f"{self._prefix}v{len(self._known)}"
            self._calls[name] = (operation, arguments)
            self.reads[name] = frozenset().union(*(self.reads[one] for one in arguments))
            self._needs[name] = arguments
            self.is_dear[name] = self._is_call(operation, arguments) or any(
                self.is_dear[one] and self.reads[one] for one in arguments
            )
        return name

    def _is_call(self, operation: str, arguments: tuple[str, ...]) -> bool:
        """Return whether an operation calls the mathematical library, or is as long."""
        if operation in _POWERS:
            return arguments[_POWERS[operation]] not in self._small_powers
        return operation in _DEAR

    def fixed_lines(self) -> list[str]:
        """Return the assignments of values that no species changes."""
        lines = [f"{name} = {source}" for name, source in self._sources.items()]
        return lines + [
            f"{name} = {self._text(name)}" for name in self._calls if not self.reads[name]
        ]

    def _text(self, name: str) -> str:
        operation, arguments = self._calls[name]
        return _TEMPLATES[operation].format(*arguments)

    def _lane_text(self, name: str) -> str:
        operation, arguments = self._calls[name]
        if operation not in _ARITHMETIC:
            # Comparisons and choices are between lanes.
            fixed = [not self.reads[one] for one in arguments]
            if operation in _POWERS:
                fixed[_POWERS[operation]] = False
            arguments = tuple(
                f"everywhere({one})" if is_fixed else one
                for one, is_fixed in zip(arguments, fixed, strict=True)
            )
        return _LANE_TEMPLATES[operation].format(*arguments)

    def needed(self, results: list[str]) -> set[str]:
        """Return the names that depend on species among those that values are made of."""
        found: set[str] = set()
        waiting = list(results)
        while waiting:
            name = waiting.pop()
            if name not in found and self.reads[name]:
                found.add(name)
                waiting.extend(self._needs[name])
        return found

    def fixed_arguments(self, results: list[str]) -> list[str]:
        """Return the fixed values that the computation of values begins with."""
        needed = self.needed(results)
        first = {one for name in needed for one in self._needs[name] if not self.reads[one]}
        return sorted(first | {one for one in results if not self.reads[one]})

    def lines_for(self, results: list[str], *, lanes: bool = False) -> list[str]:
        """Return the assignments that these values need, without those of fixed values."""
        needed, text = self.needed(results), self._lane_text if lanes else self._text
        return [f"{name} = {text(name)}" for name in self._calls if name in needed]

    def fits_lanes(self, result: str) -> bool:
        """Return whether a value is made of operations on lanes alone."""
        for name in self.needed([result]) & self._calls.keys():
            operation, arguments = self._calls[name]
            if operation not in _LANE_TEMPLATES or self._is_call(operation, arguments):
                return False
        return True


class _Reactions:
    """What the text needs to know of each reaction, from the arrays."""

    def __init__(self, network: ReactionArrays, varying: Varying = NOTHING_VARIES) -> None:
        self._network = network
        self.n = network.form.size
        self.n_species = network.highest_order.size
        self.varying = varying
        self.values = _Values(
            "",
            "constant",
            network.parameters,
            network.laws.constant,
            varying.parameters,
            self.n_species + 1,
        )
        self.laws = {
            j: self.values.add(_program_steps(network.laws, j))
            for j in range(self.n)
            if network.laws.start[j] < network.laws.start[j + 1]
        }

    def is_pair(self, j: int) -> bool:
        """Return whether `propensities.pair_propensity` computes it."""
        return bool(self._network.form[j] == PAIR)

    def is_custom(self, j: int) -> bool:
        """Return whether the propensity is exactly the law."""
        return bool(self._network.form[j] == CUSTOM)

    def reads_species(self, j: int) -> bool:
        """Return whether the propensity of a PAIR reaction depends on the state."""
        network = self._network
        return bool(min(network.first[j], network.second[j]) < self.n_species)

    def place(self, species: str) -> str:
        """Return where one lane has a species, or a parameter that varies."""
        i = int(species[1:])
        if i < self.n_species:
            return f"state[{i} * LANES + lane]"
        return f"own_parameter[{i - self.n_species - 1} * LANES + lane]"

    def reactants(self, j: int) -> list[tuple[int, int]]:
        """Return the species that one event needs, and how many molecules of each."""
        network = self._network
        own = slice(int(network.reactant_start[j]), int(network.reactant_start[j + 1]))
        pairs = zip(
            network.reactant[own].tolist(), network.reactant_count[own].tolist(), strict=True
        )
        return list(pairs)

    def changes(self, j: int) -> dict[int, int]:
        """Return by how much one event changes which species."""
        network = self._network
        own = slice(int(network.change_start[j]), int(network.change_start[j + 1]))
        found: dict[int, int] = {}
        for species, change in zip(
            network.change_species[own].tolist(), network.change[own].tolist(), strict=True
        ):
            if change:
                found[species] = found.get(species, 0) + change
        return found

    def pair(self, j: int) -> str:
        """Return the propensity of a PAIR reaction, in the order of `pair_propensity`."""
        network = self._network
        text = f"k{j}"
        first, second = int(network.first[j]), int(network.second[j])
        if first < self.n_species:
            text += f" * s{first}"
        if second < self.n_species:
            # A partner that is missing is a factor of exactly 1.
            text += f" * (s{second} - ONE)" if network.shift[j] else f" * s{second}"
        return text

    def weight(self, j: int) -> tuple[list[str], str]:
        """Return what a law is multiplied with, in the order of `law_weight`: lines and a name."""
        network = self._network
        text, needs = f"k{j}", []
        for species, count in self.reactants(j):
            if count:
                needs.append(f"s{species} >= {float(count)!r}")
            if network.form[j] != CUSTOM:
                for taken in range(count):
                    text += f" * (s{species} - {float(taken)!r})" if taken else f" * s{species}"
        if needs:
            text = f"({text} if {' and '.join(needs)} else ZERO)"
        if text == f"k{j}":
            return [], text
        return [f"w{j} = {text}"], f"w{j}"

    def law_reads(self, j: int) -> frozenset[int]:
        """Return the species that the propensity of a reaction that is not PAIR depends on."""
        reads = frozenset(species for species, _ in self.reactants(j))
        return reads | (self.values.reads[self.laws[j]] if j in self.laws else frozenset())

    def law_lines(self, j: int) -> list[str]:
        """Return the assignment of the propensity of a reaction that is not PAIR."""
        lines, weight = self.weight(j)
        if j not in self.laws:
            return [*lines, f"a{j} = {weight}"]
        if self._network.form[j] == CUSTOM:
            # The weight is 1 or 0, and 1 times a value is that value.
            if weight == f"k{j}":
                return [f"a{j} = {self.laws[j]}"]
            return [*lines, f"a{j} = {self.laws[j]} if {weight} != ZERO else ZERO"]
        return [*lines, f"a{j} = {weight} * {self.laws[j]} if {weight} != ZERO else ZERO"]


_HEADER = '''"""Events of one network. Written by gillespy_lite; it is written again if gone."""

import numpy as np

from gillespy_lite.kernels.bursts import ALLOWANCE_SPENT, AT_FAULT, CROSSING, HOLDS
from gillespy_lite.kernels.bits import step_at
from gillespy_lite.kernels.draw_ring import RING, RING_SIZE, convert_draws
from gillespy_lite.kernels.jit import kernel
from gillespy_lite.kernels.special_functions import factorial, kummer_ratio, power
from gillespy_lite.kernels.walking import FIRED, SPARE, SPARE_TIME, TIME, TROUBLE

ZERO, ONE, INF, NAN = (np.float64(x) for x in (0.0, 1.0, "inf", "nan"))
ALL, BIT = np.uint64(0xFFFFFFFFFFFFFFFF), np.uint64(1)
N_PLACES, FIRST_PLACE = np.uint64(RING), np.uint64(0)
U12, U17, U19, U23, U41, U45 = (np.uint64(k) for k in (12, 17, 19, 23, 41, 45))
BITS_OF_ONE = np.uint64(0x3FF0000000000000)
'''

_SIGNATURE = "network, request, walker, horizon, allowance, place"
_ARRAYS = [
    "coefficient, factor, constant = network.coefficient, network.law_factor, "
    "network.laws.constant",
    "parameter, condition_constant = network.parameters, request.condition.constant",
    "state, stream, clock, counter = walker.state, walker.stream, walker.clock, walker.counter",
]


def burst_source(network: ReactionArrays, condition: Programs | None = None) -> str:
    """Return the text of a module with the function ``burst`` for one network.

    Parameters
    ----------
    network : ReactionArrays
        Of at most `DENSE_LIMIT` reactions, none of which moves between events.
    condition : Programs, optional
        One program that ends a trajectory where it is not zero; or none.

    Returns
    -------
    str
        Python. `run_bursts` calls the function.
    """
    parts = _Reactions(network)
    lines = ["while True:"]
    body = _condition_lines(network, condition)
    fixed = [
        f"k{j} = {'coefficient' if parts.is_pair(j) else 'factor'}[{j}]" for j in range(parts.n)
    ]
    fixed += parts.values.fixed_lines() + (body.fixed if body else [])
    inner: list[str] = [] if body is None else body.lines
    inner += _propensity_lines(parts) + _sum_lines(parts.n)
    laws = [j for j in range(parts.n) if not parts.is_pair(j)]
    good = [*(f"(a{j} >= ZERO)" for j in laws), f"({_total(parts.n)} < INF)"]
    inner += [f"if not ({' & '.join(good)}):", "    reason = AT_FAULT", "    break"]
    inner += [
        f"if {_total(parts.n)} <= ZERO:",
        "    next_time, reason = INF, CROSSING",
        "    break",
        f"next_time = time + ring[place] / {_total(parts.n)}",
        "if horizon < next_time:",
        "    reason = CROSSING",
        "    break",
        f"target = ring[N_PLACES + place] * {_total(parts.n)}",
        "if n_fired == allowance:",
        f"    fired, reason = {_choice(parts.n)}, ALLOWANCE_SPENT",
        "    break",
        "time = next_time",
        "n_fired += 1",
        # What was drawn leaves its place to an event to come.
        *_word_lines("ring[place]"),
        *_word_lines("ring[N_PLACES + place]"),
        "place += BIT",
        "if place == N_PLACES:",
        "    convert_draws(ring)",
        "    place = FIRST_PLACE",
    ]
    table, change_lines = _change_lines(parts)
    inner += change_lines
    after = [f"state[{i}] = np.int64(s{i})" for i in _changed(parts)]
    text = [_HEADER, *table, "", "", f"def burst({_SIGNATURE}):"]
    start = [
        *_ARRAYS,
        *(f"s{i} = np.float64(state[{i}])" for i in range(parts.n_species)),
        "ra, rb, rc, rd = stream[0], stream[1], stream[2], stream[3]",
        "ring = walker.reals[walker.reals.size - RING_SIZE :]",
        *fixed,
        *(f"a{j} = ZERO" for j in _kept(parts)),
        "time, next_time, fired, n_fired = clock[TIME], INF, np.int64(0), np.int64(0)",
    ]
    if _kept(parts):
        start += ["changed = ALL"]
    end = [
        *after,
        "stream[0], stream[1], stream[2], stream[3] = ra, rb, rc, rd",
        "clock[TIME], clock[SPARE_TIME] = time, next_time",
        "counter[FIRED], counter[SPARE] = fired, n_fired",
        "if reason == AT_FAULT:",
        *(f"    {line}" for line in _fault_lines(parts.n, laws)),
        "return reason",
    ]
    text += [f"    {line}" for line in [*start, *lines, *(f"    {one}" for one in inner), *end]]
    return "\n".join(text) + "\n\n\nburst = kernel(burst)\n"


def _word_lines(target: str) -> list[str]:
    """Return how one word is drawn, as a number in [1, 2).

    The steps of ``random._next_bits`` on variables, which a processor keeps in registers.
    """
    return [
        "word = ra + rd",
        "word = ((word << U23) | (word >> U41)) + ra",
        f"{target} = np.uint64(BITS_OF_ONE | (word >> U12)).view(np.float64)",
        "shifted = rb << U17",
        "rc, rd = rc ^ ra, rd ^ rb",
        "rb, ra = rb ^ rc, ra ^ rd",
        "rc, rd = rc ^ shifted, (rd << U45) | (rd >> U19)",
    ]


class _Condition:
    def __init__(self, values: _Values, name: str) -> None:
        self.fixed = [line for line in values.fixed_lines() if not line.startswith("p")]
        self.parameters = [line for line in values.fixed_lines() if line.startswith("p")]
        self.lines = [
            *values.lines_for([name]),
            f"if {name} != ZERO:",
            "    reason = HOLDS",
            "    break",
        ]


def _condition_lines(network: ReactionArrays, condition: Programs | None) -> _Condition | None:
    if condition is None or condition.start.size < 2:
        return None
    values = _Values("h", "condition_constant", network.parameters, condition.constant)
    found = _Condition(values, values.add(_program_steps(condition, 0)))
    found.fixed = found.parameters + found.fixed
    return found


def _kept(parts: _Reactions) -> list[int]:
    """Return the reactions whose propensity is kept from event to event."""
    dear = parts.values.is_dear
    return [j for j, law in parts.laws.items() if dear[law] and parts.values.reads[law]]


def _propensity_lines(parts: _Reactions) -> list[str]:
    kept = _kept(parts)
    changed = [parts.changes(j).keys() for j in range(parts.n)]
    # Laws that read the same are computed together.
    groups: dict[frozenset[int], list[int]] = {}
    for j in kept:
        groups.setdefault(parts.law_reads(j), []).append(j)
    lines = []
    for reads, reactions in groups.items():
        mask = sum(1 << j for j, one in enumerate(changed) if not reads.isdisjoint(one))
        lines += [
            f"if changed & np.uint64({mask:#x}) != ZERO_BITS:",
            *(f"    {x}" for x in parts.values.lines_for([parts.laws[j] for j in reactions])),
            *(f"    {line}" for j in reactions for line in parts.law_lines(j)),
        ]
    rest = [j for j in range(parts.n) if j not in kept]
    lines += parts.values.lines_for([parts.laws[j] for j in rest if j in parts.laws])
    for j in rest:
        lines += [f"a{j} = {parts.pair(j)}"] if parts.is_pair(j) else parts.law_lines(j)
    return lines


def _sum_lines(n: int) -> list[str]:
    """Return the cumulative sums in fours, q0, ..., q(n - 1)."""
    lines = []
    for block in range(0, n, 4):
        inside = range(block, min(n, block + 4))
        for j in inside:
            before = f"b{j - 1} + " if j > block else ""
            lines.append(f"b{j} = {before}a{j}")
        lines += [f"q{j} = q{block - 1} + b{j}" if block else f"q{j} = b{j}" for j in inside]
    return lines


def _total(n: int) -> str:
    return f"q{n - 1}"


def _choice(n: int) -> str:
    return _sum([f"np.int64(q{r} <= target)" for r in range(n - 1)] or ["np.int64(0)"])


def _sum(terms: list[str]) -> str:
    """Return a sum, added as a tree, which is shorter to wait for than a chain."""
    while len(terms) > 1:
        pairs = [" + ".join(terms[i : i + 2]) for i in range(0, len(terms), 2)]
        terms = [f"({one})" if len(pairs) > 1 and "+" in one else one for one in pairs]
    return terms[0]


def _changed(parts: _Reactions) -> list[int]:
    return sorted({species for j in range(parts.n) for species in parts.changes(j)})


def _change_lines(parts: _Reactions) -> tuple[list[str], list[str]]:
    """Return the table of changes, if it is needed, and what one event does."""
    rows = [parts.changes(j) for j in range(parts.n)]
    columns = {i: [row.get(i, 0) for row in rows] for i in _changed(parts)}
    table = ["ZERO_BITS = np.uint64(0)"] if _kept(parts) else []
    lines = [f"fired = {_choice(parts.n)}"]
    if _kept(parts):
        lines.append("changed = BIT << np.uint64(fired)")
    n_steps = sum(a != b for one in columns.values() for a, b in itertools.pairwise(one))
    if n_steps <= MOST_STEPS:
        return table, (lines if _kept(parts) else []) + _step_lines(parts.n, columns)
    table += ["CHANGE = np.array("]
    table += ["    ["]
    table += [
        f"        [{', '.join(repr(float(one[j])) for one in columns.values())}],"
        for j in range(parts.n)
    ]
    table += ["    ]", ")"]
    lines += [f"s{i} += CHANGE[fired, {column}]" for column, i in enumerate(columns)]
    return table, lines


def _step_lines(n: int, columns: dict[int, list[int]]) -> list[str]:
    """Return the changes of counts as steps, one at each cumulative sum that the target has passed.

    Every comparison is used once: a result that is used twice goes through a register of whole
    numbers, which is waited for twice as long. Nothing is rounded: a count and the steps up to any
    sum are what one of the reactions would make of it.
    """
    lines: list[str] = []
    terms = {i: [f"(s{i} + {one[0]}.0)" if one[0] else f"s{i}"] for i, one in columns.items()}
    for r in range(n - 1):
        steps = {i: one[r + 1] - one[r] for i, one in columns.items() if one[r + 1] != one[r]}
        if not steps:
            continue
        unit = math.gcd(*steps.values())
        lines.append(f"u{r} = step_at(q{r}, target, {unit}.0)")
        for i, step in steps.items():
            terms[i].append(f"u{r}" if step == unit else f"{step // unit}.0 * u{r}")
    return lines + [f"s{i} = {_sum(one)}" for i, one in terms.items()]


_LANE_HEADER = '''"""Events of one network, in lanes. Written by gillespy_lite, again if gone."""

import numpy as np

from gillespy_lite.kernels.jit import inlined, kernel
from gillespy_lite.kernels.lane_bursts import lane_power_{width} as lane_power
from gillespy_lite.kernels.lane_random import next_words, random_exponential, random_uniform
from gillespy_lite.kernels.lane_vectors import (
    LANES,
    absolute,
    align_stack,
    bits,
    lowest_bit,
    ones,
    select,
    square_root,
    store,
)
from gillespy_lite.kernels.lane_vectors import everywhere_{width} as everywhere
from gillespy_lite.kernels.lane_vectors import load_{width} as load
from gillespy_lite.kernels.special_functions import factorial, kummer_ratio, power

ZERO, ONE, INF, NAN = (np.float64(x) for x in (0.0, 1.0, "inf", "nan"))
NO_BITS, BIT = np.uint64(0), np.uint64(1)
'''

_LANE_SIGNATURE = "network, request, walker, alive, fresh, heeded, n_steps"
_LANE_ARRAYS = [
    "coefficient, factor, constant = network.coefficient, network.factor, network.laws.constant",
    "parameter, condition_constant = network.parameters, request.condition.constant",
    "own_coefficient, own_factor = walker.coefficient, walker.factor",
    "own_parameter = walker.parameters",
    "state, stream, stack, report = walker.state, walker.stream, walker.stack, walker.seed",
    "time, next_time, total = walker.time, walker.next_time, walker.total",
    "grid_time, n_events, max_events = walker.grid_time, walker.n_events, request.max_events",
    "n_lanes = walker.time.size",
]


class _LaneLaws:
    """Reactions that are not PAIR, as lanes have them."""

    def __init__(self, parts: _Reactions) -> None:
        self.parts = parts
        laws = [j for j in range(parts.n) if not parts.is_pair(j)]
        self.number = {j: i for i, j in enumerate(laws)}
        # Those that are computed lane by lane, where an event has changed what they read. They are
        # kept in rows of the state.
        self.kept = [
            j for j in laws if j in parts.laws and not parts.values.fits_lanes(parts.laws[j])
        ]
        self.groups: dict[frozenset[int], list[int]] = {}
        for j in self.kept:
            self.groups.setdefault(parts.law_reads(j), []).append(j)

    def row(self, j: int) -> str:
        """Return where the row of a law begins."""
        return f"{self.parts.n_species + 1 + self.number[j]} * LANES"

    def functions(self) -> list[str]:
        """Return a function of one lane for each law that is kept."""
        lines: list[str] = []
        for j in self.kept:
            body = [*self.parts.values.lines_for([self.parts.laws[j]]), *self.parts.law_lines(j)]
            lines += ["", "", "@inlined", f"def law_{j}({', '.join(self._arguments(j))}):"]
            lines += [f"    {line}" for line in [*body, f"return a{j}"]]
        return lines

    def _arguments(self, j: int) -> list[str]:
        fixed = self.parts.values.fixed_arguments([self.parts.laws[j]])
        return [f"k{j}", *fixed, *(f"s{i}" for i in sorted(self.parts.law_reads(j)))]

    def update_lines(self, reads: frozenset[int], lanes: str) -> list[str]:
        """Return the loop that computes the laws of a group afresh in some lanes."""
        lines = [f"todo = {lanes}", "while todo != NO_BITS:", "    lane = lowest_bit(todo)"]
        lines += ["    todo &= todo - BIT"]
        for j in self.groups[reads]:
            given = [
                self.parts.place(one) if one.startswith("s") else one for one in self._arguments(j)
            ]
            if j in self.parts.varying.rates:
                given[0] = f"own_factor[{self.number[j]} * LANES + lane]"
            lines.append(f"    state[{self.row(j)} + lane] = law_{j}({', '.join(given)})")
        return lines

    def changed(self, reads: frozenset[int]) -> str:
        """Return the lanes, as bits, that fired a reaction which changes what a group reads."""
        n = self.parts.n
        does = [not reads.isdisjoint(self.parts.changes(j)) for j in range(n)]
        # m(r) holds the lanes that fired a reaction after r: a run of reactions is a difference.
        runs, j = [], 0
        while j < n:
            if not does[j]:
                j += 1
                continue
            last = j
            while last + 1 < n and does[last + 1]:
                last += 1
            begin = f"bits(m{j - 1})" if j else "went_here"
            runs.append(begin if last == n - 1 else f"({begin} & ~bits(m{last}))")
            j = last + 1
        return " | ".join(runs) or "NO_BITS"

    def lines(self) -> list[str]:
        """Return the assignments of the propensities a0, a1, ..."""
        parts = self.parts
        rest = [parts.laws[j] for j in parts.laws if j not in self.kept]
        lines = parts.values.lines_for(rest, lanes=True)
        for j in range(parts.n):
            if parts.is_pair(j):
                text = parts.pair(j)
                is_wide = parts.reads_species(j) or j in parts.varying.rates
                lines.append(f"a{j} = {text if is_wide else f'everywhere({text})'}")
            elif j in self.kept:
                lines.append(f"a{j} = load(state, {self.row(j)} + at)")
            else:
                lines += self._law_lines(j)
        return lines

    def _law_lines(self, j: int) -> list[str]:
        parts = self.parts
        is_custom = parts.is_custom(j)
        weight = f"k{j}" if j in parts.varying.rates else f"everywhere(k{j})"
        lines, needs = [f"w{j} = {weight}"], []
        for species, count in parts.reactants(j):
            if count:
                needs.append((species, count))
            if not is_custom:
                for taken in range(count):
                    of = f"(s{species} - {float(taken)!r})" if taken else f"s{species}"
                    lines.append(f"w{j} = w{j} * {of}")
        for species, count in needs:
            lines.append(f"w{j} = select(s{species} < {float(count)!r}, 0.0, w{j})")
        if j not in parts.laws:
            return [*lines, f"a{j} = w{j}"]
        value = parts.laws[j]
        value = value if parts.values.reads[value] else f"everywhere({value})"
        return [*lines, f"a{j} = select(w{j} == 0.0, w{j}, w{j} * {value})"]


def lane_burst_source(
    network: ReactionArrays,
    condition: Programs | None = None,
    width: int = 8,
    varying: Varying = NOTHING_VARIES,
) -> str:
    """Return the text of a module with the function ``burst`` of one network's lanes.

    Parameters and limits are those of `burst_source`, and `width` is how many lanes go through a
    step together, 8 or 16; `run_lane_bursts` calls the function. What varies is read for each lane,
    all other numbers once, those of the first set. Laws of operations that lanes have
    are computed at every step, the others only where they have changed. Which is which depends on
    the exponents that are 2, 3 or 4 now; the numbers do not.
    """
    parts = _Reactions(network, varying)
    laws = _LaneLaws(parts)
    fixed = [
        f"k{j} = coefficient[{j}]" if parts.is_pair(j) else f"k{j} = factor[{laws.number[j]}]"
        for j in range(parts.n)
        if j not in varying.rates
    ]
    own = [
        f"k{j} = load(own_coefficient, {j} * LANES + at)"
        if parts.is_pair(j)
        else f"k{j} = load(own_factor, {laws.number[j]} * LANES + at)"
        for j in sorted(varying.rates)
        if j not in laws.kept
    ]
    own += [
        f"s{parts.n_species + 1 + i} = load(own_parameter, {i} * LANES + at)"
        for i in sorted(varying.parameters)
    ]
    fixed += parts.values.fixed_lines()
    n, total = parts.n, _total(parts.n)
    step = [
        *(f"s{i} = load(state, {i} * LANES + at)" for i in range(parts.n_species)),
        *own,
        *laws.lines(),
        *_sum_lines(n),
        "ra, rb = load(stream, at), load(stream, LANES + at)",
        "rc, rd = load(stream, 2 * LANES + at), load(stream, 3 * LANES + at)",
        "word, na, nb, nc, nd = next_words(ra, rb, rc, rd)",
        "waiting = random_exponential(word)",
        "word, na, nb, nc, nd = next_words(na, nb, nc, nd)",
        "now, events = load(time, at), load(n_events, at)",
        f"then = now + waiting / {total}",
        "goes = (then <= load(grid_time, at)) & (events != max_events)",
        f"target = select(goes, random_uniform(word) * {total}, -1.0)",
        *(f"m{r} = q{r} <= target" for r in range(n - 1)),
        "store(time, at, select(goes, then, now))",
        "store(n_events, at, events + ones(goes))",
        "store(stream, at, select(goes, na, ra))",
        "store(stream, LANES + at, select(goes, nb, rb))",
        "store(stream, 2 * LANES + at, select(goes, nc, rc))",
        "store(stream, 3 * LANES + at, select(goes, nd, rd))",
        "store(next_time, at, then)",
        f"store(total, at, {total})",
        "went_here = bits(goes)",
        "went |= went_here << np.uint64(at)",
    ]
    for i in _changed(parts):
        before = 0
        for j in range(n):
            by = parts.changes(j).get(i, 0)
            if by != before:
                mask = f"m{j - 1}" if j else "goes"
                step.append(f"s{i} = select({mask}, s{i} + {float(by - before)!r}, s{i})")
            before = by
        step.append(f"store(state, {i} * LANES + at, s{i})")
    for reads in laws.groups:
        step += laws.update_lines(reads, f"({laws.changed(reads)}) << np.uint64(at)")
    good = [*(f"(a{j} >= 0.0)" for j in laws.number), f"({total} < INF)"]
    step += [f"fault |= bits(~({' & '.join(good)})) << np.uint64(at)"]
    found = _lane_condition(parts, network, condition)
    condition_lines, condition_functions, condition_fixed = found
    step += condition_lines
    loop = [
        "n_done += 1",
        "went, hits, fault = NO_BITS, NO_BITS, NO_BITS",
        # In pieces, so that what a piece has to remember stays in registers.
        f"for at in range(0, n_lanes, {width}):",
        *(f"    {line}" for line in step),
        "if ((~went & heeded) | ((hits | fault) & alive)) != NO_BITS or n_done == n_steps:",
        "    break",
    ]
    start = [*_LANE_ARRAYS, *fixed, *condition_fixed]
    for reads in laws.groups:
        start += laws.update_lines(reads, "fresh")
    start += ["n_done = np.int64(0)"]
    end = [
        "report[0], report[1], report[2] = went, hits, fault",
        "return n_done",
    ]
    body = ["align_stack()", *start, "while True:", *(f"    {line}" for line in loop), *end]
    functions = [*laws.functions(), *condition_functions]
    text = [
        _LANE_HEADER.format(width=width).rstrip(),
        *functions,
        "",
        "",
        f"def burst({_LANE_SIGNATURE}):",
    ]
    text += [f"    {line}" for line in body]
    return "\n".join(text) + "\n\n\nburst = kernel(burst)\n"


def _lane_condition(
    parts: _Reactions, network: ReactionArrays, condition: Programs | None
) -> tuple[list[str], list[str], list[str]]:
    """Return the lines that find where the condition holds, functions and fixed values for them."""
    if condition is None or condition.start.size < 2:
        return [], [], []
    values = _Values(
        "h",
        "condition_constant",
        network.parameters,
        condition.constant,
        parts.varying.parameters,
        parts.n_species + 1,
    )
    name = values.add(_program_steps(condition, 0))
    fixed = values.fixed_lines()
    if not values.reads[name]:
        # It does not depend on the state: it held at the start, or never will.
        return [f"if {name} != ZERO:", "    hits |= went_here << np.uint64(at)"], [], fixed
    if values.fits_lanes(name):
        lines = values.lines_for([name], lanes=True)
        return [*lines, f"hits |= (bits({name} != 0.0) & went_here) << np.uint64(at)"], [], fixed
    arguments = values.fixed_arguments([name])
    species = sorted(values.reads[name])
    given = [*arguments, *(parts.place(f"s{i}") for i in species)]
    function = ["", "", "@inlined"]
    function += [f"def holds({', '.join([*arguments, *(f's{i}' for i in species)])}):"]
    function += [f"    {line}" for line in [*values.lines_for([name]), f"return {name} != ZERO"]]
    lines = [
        "todo = (went_here << np.uint64(at)) & alive",
        "while todo != NO_BITS:",
        "    lane = lowest_bit(todo)",
        "    todo &= todo - BIT",
        f"    if holds({', '.join(given)}):",
        "        hits |= BIT << np.uint64(lane)",
    ]
    return lines, function, fixed


def _fault_lines(n: int, laws: list[int]) -> list[str]:
    """Return how the reaction at fault is found: as `update_direct` does."""
    lines = [f"trouble = np.int64({n - 1})"]
    for j in range(n - 1, -1, -1):
        lines += [f"if not q{j} < INF:", f"    trouble = np.int64({j})"]
    for j in reversed(laws):
        lines += [f"if not (a{j} >= ZERO and a{j} < INF):", f"    trouble = np.int64({j})"]
    return [*lines, "counter[TROUBLE] = trouble"]
