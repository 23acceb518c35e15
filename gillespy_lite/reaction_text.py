"""A network's reactions as text: straight-line code for its propensities.

What is written follows from the arrays of a compiled network alone: which form a reaction has,
which species it reads and changes, the steps of its rate law's program. Names of species,
parameters or observables are not known here, and numbers are whole numbers from those arrays; rate
constants, parameters and constants of rate laws are read when the kernel runs. So networks that
differ in them alone share one text.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from .compilation import FloatArray
from .kernels.arrays import CUSTOM, PAIR, ReactionArrays
from .kernels.programs import CONSTANT, OPERATION_CODES, PARAMETER, SPECIES, TIME, Programs
from .kernels.special_functions import MOST_FACTORS

__all__ = [
    "MAX_OPERATIONS",
    "NOTHING_VARIES",
    "Reactions",
    "Values",
    "Varying",
    "are_small_powers",
    "changed_species",
    "n_operations",
    "program_steps",
    "sum_lines",
    "total_name",
]

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
    whole: np.ndarray = (
        (numbers == np.floor(numbers)) & (numbers >= 2.0) & (numbers <= MOST_FACTORS)
    )
    return whole


def program_steps(programs: Programs, p: int) -> list[tuple[int, int]]:
    """Return program `p` as pairs of an operation and its argument."""
    steps = slice(int(programs.start[p]), int(programs.start[p + 1]))
    return list(
        zip(programs.operation[steps].tolist(), programs.argument[steps].tolist(), strict=True)
    )


class Values:
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
        self._small_powers: set[str] = set()  # exponents that are multiplied out at present

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


class Reactions:
    """What the text needs to know of each reaction, from the arrays."""

    def __init__(self, network: ReactionArrays, varying: Varying = NOTHING_VARIES) -> None:
        self._network = network
        self.n = network.form.size
        self.n_species = network.highest_order.size
        self.varying = varying
        self.values = Values(
            "",
            "constant",
            network.parameters,
            network.laws.constant,
            varying.parameters,
            self.n_species + 1,
        )
        self.laws = {
            j: self.values.add(program_steps(network.laws, j))
            for j in range(self.n)
            if network.laws.start[j] < network.laws.start[j + 1]
        }

    def is_pair(self, j: int) -> bool:
        """Return whether `propensities.pair_propensity` computes it."""
        return bool(self._network.form[j] == PAIR)

    def is_custom(self, j: int) -> bool:
        """Return whether the propensity is exactly the law."""
        return bool(self._network.form[j] == CUSTOM)

    def is_of_a_pair(self, j: int) -> bool:
        """Return whether a PAIR reaction takes two molecules of one species: 0 * (0 - 1) is -0."""
        return self.is_pair(j) and bool(self._network.shift[j])

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

    def pair(self, j: int, count: str = "s") -> str:
        """Return the propensity of a PAIR reaction, in the order of `pair_propensity`.

        `count` is the letter of the names of counts.
        """
        network = self._network
        text = f"k{j}"
        first, second = int(network.first[j]), int(network.second[j])
        if first < self.n_species:
            text += f" * {count}{first}"
        if second < self.n_species:
            # A partner that is missing is a factor of exactly 1.
            text += f" * ({count}{second} - ONE)" if network.shift[j] else f" * {count}{second}"
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


def sum_lines(n: int, numbers: frozenset[int] = frozenset()) -> list[str]:
    """Return the cumulative sums in fours, q0, ..., q(n - 1).

    `numbers` are the reactions whose propensity is one number where sums are of several lanes.
    """
    lines = []
    for block in range(0, n, 4):
        inside = range(block, min(n, block + 4))
        for j in inside:
            if j > block:
                lines.append(f"b{j} = b{j - 1} + a{j}")
            else:
                lines.append(f"b{j} = everywhere_2(a{j})" if j in numbers else f"b{j} = a{j}")
        lines += [f"q{j} = q{block - 1} + b{j}" if block else f"q{j} = b{j}" for j in inside]
    return lines


def total_name(n: int) -> str:
    """Return the name of the sum of all propensities."""
    return f"q{n - 1}"


def changed_species(parts: Reactions) -> list[int]:
    """Return the species that some reaction changes."""
    return sorted({species for j in range(parts.n) for species in parts.changes(j)})
