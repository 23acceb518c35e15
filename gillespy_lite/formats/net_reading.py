"""Networks from BioNetGen's ``.net`` files.

A law there is multiplied with the amounts of the reactants, and whatever identical reactants need
stands in the file: ``i,i`` at ``c`` fires at c x (x - 1). Our mass action has x (x - 1)/2, so a law
is multiplied with the factorials of its reactants: ``0.5*k`` becomes ``k``.
"""

from __future__ import annotations

import heapq
import math
import os
import re
from collections.abc import Callable, Mapping
from functools import partial
from math import factorial, prod
from typing import NamedTuple, NoReturn

from ..declarations import Observable, Parameter, Species, Variable, initial_problem, number_of
from ..garbage import collection_paused
from ..network import MAX_MASS_ACTION, Network, Reaction, find_problem
from ..rate_laws import (
    MAX_NODES,
    OPERATIONS,
    RESERVED,
    TIME,
    Call,
    Expression,
    Number,
    Symbol,
    did_you_mean,
    name_problem,
    shown,
    sqrt,
)
from ..reactions import Terms, mass_action_of
from .formulas import FormulaFunction, defined_function, folded, own_function, read_formula
from .net_files import Block, Line, blocks_of, refuse_at, source_text

__all__ = ["FUNCTION_NAMES", "read_net", "species_patterns"]

_LONGEST_READABLE = 40  # characters of a pattern that is still made a name

# Blocks that say how the network was made, not what it is.
_BLOCKS = ("parameters", "functions", "species", "reactions", "groups")

_INDEX = re.compile(r"\d+\s+")
_FUNCTION = re.compile(r"([^\W\d]\w*)\s*\(([\w\s,]*)\)\s*=?\s*(.*)", re.DOTALL)
_SPECIES = re.compile(r"(?:@(\w+)::?)?(\$?)(?:@(\w+)::?)?(.+)", re.DOTALL)
_TYPED_LAW = re.compile(r"(?:(.*)\*)?(Sat|MM|Hill|Arrhenius|FunctionProduct)", re.DOTALL)


def read_net(text_or_path: str | os.PathLike[str]) -> Network:
    """Read a network from a ``.net`` file of BioNetGen.

    Parameters
    ----------
    text_or_path : str or path
        A string with a line break is the text itself; anything else is a path. A file may be
        packed with xz.

    Returns
    -------
    Network
        Groups and functions become observables. A species is named after its pattern where that
        is short (``A(b~P)`` is ``A_b_P``), and otherwise ``s`` with its number in the file;
        `species_patterns` lists them. A species whose amount is not a whole number becomes a
        variable, with which only the rate equations can be solved.

    Raises
    ------
    FormatError
        If the text is no such file; it names the line.
    OSError
        If the file cannot be read.
    """
    with collection_paused():
        return _reader(text_or_path).network()


def species_patterns(text_or_path: str | os.PathLike[str]) -> dict[str, str]:
    """Return which pattern of a ``.net`` file each species of the network stands for.

    Parameters
    ----------
    text_or_path : str or path
        As for `read_net`.

    Returns
    -------
    dict of str to str
        Patterns such as ``"A(b!1).B(a!1)"`` by the names that `read_net` gives.
    """
    reader = _reader(text_or_path)
    return {one.name: one.pattern for one in reader.species}


def _reader(text_or_path: str | os.PathLike[str]) -> _NetReader:
    source, text = source_text(text_or_path)
    return _NetReader(source, blocks_of(source, text))


class _Pattern(NamedTuple):
    """A line of the block of species, as it stands there."""

    pattern: str
    is_fixed: bool
    amount: Line


class _Molecule(NamedTuple):
    """A species: the name it has in the network, and what the file says of it."""

    name: str
    pattern: str
    is_fixed: bool
    amount: Expression
    line: int


class _NetReader:
    """What a file declares, found in the order in which parts need one another."""

    def __init__(self, source: str, blocks: list[Block]) -> None:
        self.source = source
        self.lines: dict[str, list[Line]] = {name: [] for name in _BLOCKS}
        for block in blocks:
            # `reactions_text` and the like repeat a block for human readers.
            if block.name in self.lines:
                self.lines[block.name] += block.lines
        if not self.lines["species"]:
            refuse_at(
                source,
                1,
                "no block of species was found; a .net file begins with blocks "
                "of parameters and species",
            )
        # Names in the file: names in the network.
        self.stored: dict[str, str] = {}
        self.shared: dict[str, str] = {}  # of parameters that share their name with a group
        self.taken: dict[str, int] = {}  # names in the network: lines
        self.functions: dict[str, FormulaFunction] = dict(_FUNCTIONS)
        self.patterns = [self._pattern(i, one) for i, one in enumerate(self.lines["species"], 1)]
        self.merged = self._merged_groups()
        self._rename_shared()
        self.parameter_texts = self._named("parameters", self._parameter)
        self.group_texts = self._named("groups", self._unmerged_group)
        self.function_texts = self._named("functions", self._function)
        self.species = self._species()
        self._by_index = {str(number): one for number, one in enumerate(self.species, start=1)}

    def _rename_shared(self) -> None:
        """Find parameters whose names groups have as well; results show the group."""
        groups = {self._group(line)[0] for line in self.lines["groups"]} - self.merged.keys()
        for line in self.lines["parameters"]:
            name = self._parameter(line)[0]
            if name in groups:
                self.shared[name] = f"{name}_"

    def _named(
        self, block: str, split: Callable[[Line], tuple[str, str] | None]
    ) -> dict[str, tuple[str, Line]]:
        """Return (name in the file, formula and its line) by the name in the network."""
        found: dict[str, tuple[str, Line]] = {}
        for line in self.lines[block]:
            pair = split(line)
            if pair is not None:
                name, text = pair
                stored = self._declare(name, line.number, is_parameter=block == "parameters")
                found[stored] = (name, Line(line.number, text))
        return found

    def _declare(self, name: str, line: int, *, is_parameter: bool) -> str:
        """Return the name under which a name of the file is stored."""
        is_shared = is_parameter and name in self.shared
        stored = self.shared[name] if is_shared else name
        while stored in RESERVED:
            stored += "_"
        problem = name_problem(stored)
        if problem:
            self.refuse(line, f"the name {shown(name)} {problem}")
        first = self.taken.get(stored)
        if first is not None:
            self.refuse(
                line,
                f"the name {shown(name)} is declared at line {first} already; parameters, "
                "functions and groups need different names",
            )
        self.taken[stored] = line
        (self.shared if is_shared else self.stored)[name] = stored
        return stored

    def refuse(self, line: int, message: str) -> NoReturn:
        refuse_at(self.source, line, message)

    # -- The lines of each block

    def _parameter(self, line: Line) -> tuple[str, str]:
        # An index before the name is usual but not needed.
        name, _, text = _INDEX.sub("", line.text, count=1).partition(" ")
        if "\t" in name:
            name, _, text = name.partition("\t")
        if not text.strip():
            self.refuse(line.number, f"{shown(line.text)} is not a parameter: index, name, value")
        return name, text.strip().removeprefix("=")

    def _function(self, line: Line) -> tuple[str, str] | None:
        match = _FUNCTION.fullmatch(_INDEX.sub("", line.text, count=1))
        if match is None:
            self.refuse(
                line.number, f"{shown(line.text)} is not a function: index, name(), formula"
            )
        name, arguments, text = match.groups()
        words = [word.strip() for word in arguments.split(",")] if arguments.strip() else []
        if not words:
            return name, text
        if name in self.functions:
            self.refuse(line.number, f"there are two functions {shown(name)}")

        # A function of molecules is listed, but not called: its body is read when it is.
        body = Line(line.number, text)
        self.functions[name] = defined_function(
            name,
            words,
            lambda given: self.formula(body, given, of_parameters=False),
            partial(self.refuse, line.number),
        )
        return None

    def _group(self, line: Line) -> tuple[str, str]:
        parts = _INDEX.sub("", line.text, count=1).split(None, 1)
        return parts[0], parts[1] if len(parts) == 2 else ""

    def _unmerged_group(self, line: Line) -> tuple[str, str] | None:
        name, text = self._group(line)
        return None if name in self.merged else (name, text)

    def _merged_groups(self) -> dict[str, int]:
        """Return groups that are one species and have its name: they are that species.

        The places of the species by the names.
        """
        places: dict[str, int] = {}
        repeated: set[str] = set()
        for place, one in enumerate(self.patterns):
            name = _readable(one.pattern)
            if places.setdefault(name, place) != place:
                repeated.add(name)
        groups = [self._group(line) for line in self.lines["groups"]]
        return {
            name: places[name]
            for name, text in groups
            if name in places and text == str(places[name] + 1)
            if name not in repeated and name not in RESERVED
        }

    def _pattern(self, position: int, line: Line) -> _Pattern:
        parts = line.text.split(None, 2)
        if len(parts) != 3 or parts[0] != str(position):
            wanted = f"{position}, pattern, amount"
            self.refuse(line.number, f"{shown(line.text)} is not a species: {wanted}")
        match = _SPECIES.fullmatch(parts[1])
        if match is None:
            self.refuse(line.number, f"{shown(parts[1])} is not the pattern of a species")
        outer, dollar, inner, pattern = match.groups()
        place = f"@{outer or inner}::" if outer or inner else ""
        return _Pattern(f"{place}{pattern}", bool(dollar), Line(line.number, parts[2]))

    def _species(self) -> list[_Molecule]:
        names = [_readable(one.pattern) for one in self.patterns]
        for name, place in self.merged.items():
            line = self.patterns[place].amount.number
            names[place] = self._declare(name, line, is_parameter=False)
        found = []
        merged = {*self.merged.values()}
        for place, (name, one) in enumerate(zip(names, self.patterns, strict=True)):
            if place not in merged:
                if not name or name in self.taken or name in RESERVED:
                    name = f"s{place + 1}"
                    while name in self.taken:
                        name += "_"
                self.taken[name] = one.amount.number
            amount = self.formula(one.amount)
            found.append(_Molecule(name, one.pattern, one.is_fixed, amount, one.amount.number))
        return found

    # -- Formulas

    def formula(
        self,
        line: Line,
        given: Mapping[str, Expression] | None = None,
        *,
        of_parameters: bool = True,
    ) -> Expression:
        """Read a formula: a function's, or one `of_parameters`, where a name is none of a group."""
        try:
            # Most are plain numbers.
            value = float(line.text)
        except ValueError:
            pass
        else:
            if math.isfinite(value):
                return Number(value)
        return read_formula(
            line.text,
            partial(self._meaning, line.number, given or {}, of_parameters),
            self.functions,
            partial(self.refuse, line.number),
        )

    def _meaning(
        self, line: int, given: Mapping[str, Expression], of_parameters: bool, name: str
    ) -> Expression:
        if name in given:
            return given[name]
        if name == "time" and name not in self.stored:
            return TIME
        if name in _CONSTANTS and name not in self.stored:
            return Number(_CONSTANTS[name])
        if name in self.shared:
            if not of_parameters:
                self.refuse(
                    line,
                    f"{shown(name)} is both a parameter and a group, so it is not clear which is "
                    "meant here; rename one of them",
                )
            return Symbol(self.shared[name])
        if name not in self.stored:
            advice = did_you_mean(name, self.stored)
            self.refuse(line, f"the name {shown(name)} is not declared{advice}")
        return Symbol(self.stored[name])

    # -- The network

    def network(self) -> Network:
        parameters, parameter_lines = self._parameters()
        observables, observable_lines = self._observables()
        values: dict[str, float] = {}
        for parameter in parameters:
            values[parameter.name] = number_of(parameter.value, values)
        species: list[Species] = []
        variables: list[Variable] = []
        lines: dict[str, list[int]] = {
            "parameter": parameter_lines,
            "observable": observable_lines,
            "species": [],
            "variable": [],
        }
        for one in self.species:
            unknown = one.amount.symbols() - values.keys()
            if unknown:
                self.refuse(one.line, f"an amount may use parameters, not {shown(min(unknown))}")
            if initial_problem(float(one.amount.evaluate(values))):
                variables.append(Variable(one.name, one.amount))
                lines["variable"].append(one.line)
            else:
                species.append(Species(one.name, one.amount))
                lines["species"].append(one.line)
        reactions = _Reactions(self).read()
        lines["reaction"] = [line.number for line in self.lines["reactions"]]
        changed = {name for one in reactions for name, _ in (*one.reactants, *one.products)}
        # What no reaction changes needs a rule that says so.
        variables = [
            one if one.name in changed else Variable(one.name, one.initial, 0.0)
            for one in variables
        ]
        parts = (tuple(species), tuple(reactions), tuple(parameters), tuple(observables))
        problem = find_problem(*parts, variables)
        if problem is not None:
            where = lines.get(problem.kind, [])
            line = where[problem.position] if problem.position < len(where) else 1
            self.refuse(line, problem.message)
        return Network.from_checked(*parts, tuple(variables))

    def _parameters(self) -> tuple[list[Parameter], list[int]]:
        formulas = {name: self.formula(line) for name, (_, line) in self.parameter_texts.items()}
        lines = {name: line.number for name, (_, line) in self.parameter_texts.items()}
        for name, formula in formulas.items():
            for word in sorted(formula.symbols() - formulas.keys()):
                self.refuse(
                    lines[name],
                    f"the parameter {shown(name)} uses {shown(word)}, which is a group, a function "
                    "or the time, and these change; write it as a function",
                )
        order = self._sorted(formulas, lines)
        return [Parameter(name, formulas[name]) for name in order], [lines[name] for name in order]

    def _observables(self) -> tuple[list[Observable], list[int]]:
        formulas: dict[str, Expression] = {}
        lines: dict[str, int] = {}
        for name, (_, line) in self.group_texts.items():
            formulas[name], lines[name] = self._sum(line), line.number
        for name, (_, line) in self.function_texts.items():
            formulas[name] = self.formula(line, of_parameters=False)
            lines[name] = line.number
        order = self._sorted(formulas, lines)
        return [Observable(name, formulas[name]) for name in order], [lines[name] for name in order]

    def _sorted(self, formulas: Mapping[str, Expression], lines: Mapping[str, int]) -> list[str]:
        """Return names so that each formula uses earlier ones; otherwise in the file's order."""
        position = {name: index for index, name in enumerate(formulas)}
        waiting_for: dict[str, set[str]] = {}
        users: dict[str, list[str]] = {}
        for name, formula in formulas.items():
            needed = waiting_for[name] = {word for word in formula.symbols() if word in formulas}
            for word in needed:
                users.setdefault(word, []).append(name)
        ready = [position[name] for name, needed in waiting_for.items() if not needed]
        heapq.heapify(ready)
        order: list[str] = []
        names = list(formulas)
        while ready:
            name = names[heapq.heappop(ready)]
            order.append(name)
            for user in users.get(name, ()):
                waiting_for[user].discard(name)
                if not waiting_for[user]:
                    heapq.heappush(ready, position[user])
        if len(order) < len(names):
            left = next(name for name in names if waiting_for[name])
            self.refuse(lines[left], f"the definition of {shown(left)} is circular")
        return order

    def _sum(self, line: Line) -> Expression:
        """Return a group, ``1,2*5``, as an expression."""
        entries = line.text.split(",") if line.text else []
        if len(entries) > MAX_NODES // 4:
            self.refuse(line.number, f"a group of {len(entries):,} terms is too long")
        total: Expression | None = None
        for entry in entries:
            weight, _, index = entry.rpartition("*")
            term: Expression = Symbol(self.molecule(index, line.number).name)
            if weight:
                term = self._weight(weight, entry, line.number) * term
            total = term if total is None else Call("+", (total, term))
        return Number(0.0) if total is None else total

    def _weight(self, text: str, entry: str, line: int) -> Expression:
        try:
            weight = float(text)
        except ValueError:
            weight = math.nan
        if not math.isfinite(weight):
            self.refuse(line, f"{shown(entry)} is not a weight and a species")
        return Number(weight)

    def molecule(self, index: str, line: int) -> _Molecule:
        """Return a species by its number, as text."""
        usual = self._by_index.get(index)
        if usual is not None:
            return usual
        text = index.strip()
        # int() would read 1_0 and other digits as well.
        number = int(text) if text.isascii() and text.isdigit() and len(text) < 10 else 0
        if not 1 <= number <= len(self.species):
            self.refuse(
                line,
                f"{shown(text)} is not the number of a species; there are 1 to {len(self.species)}",
            )
        return self.species[number - 1]


def _readable(pattern: str) -> str:
    """Return a name for a pattern, or nothing if it would be long or odd."""
    words = re.findall(r"\w+", pattern)
    name = "_".join(words)
    is_good = len(name) <= _LONGEST_READABLE and not name_problem(name) and name.isascii()
    return name if is_good else ""


class _Side(NamedTuple):
    """One side of a reaction."""

    counts: dict[str, int]
    terms: Terms
    n_molecules: int
    multiplicity: float  # the product of the factorials of the counts


class _Reactions:
    """The block of reactions. Sides and laws repeat, so each is read once."""

    def __init__(self, reader: _NetReader) -> None:
        self.reader = reader
        self.sides: dict[str, _Side] = {}
        self.laws: dict[tuple[str, float], Expression] = {}
        self.plain: dict[tuple[str, float], Expression] = {}  # laws that begin with no type
        self.fixed = frozenset(one.name for one in reader.species if one.is_fixed)

    def read(self) -> list[Reaction]:
        return [self._reaction(line) for line in self.reader.lines["reactions"]]

    def _reaction(self, line: Line) -> Reaction:
        parts = line.text.split()
        if len(parts) < 4:
            self.reader.refuse(
                line.number,
                f"{shown(line.text)} is not a reaction: index, reactants, products, rate law",
            )
        taken = self.sides.get(parts[1]) or self._side(parts[1], line.number)
        made = self.sides.get(parts[2]) or self._side(parts[2], line.number)
        if self.fixed:
            made = self._held(taken, made)
        if taken.n_molecules > MAX_MASS_ACTION:
            self.reader.refuse(
                line.number,
                f"{taken.n_molecules:,} molecules react at once; at most {MAX_MASS_ACTION} are "
                "allowed",
            )
        text = parts[3] if len(parts) == 4 else " ".join(parts[3:])
        law = self.plain.get((text, taken.multiplicity))
        if law is None:
            typed = _TYPED_LAW.fullmatch(parts[3])
            if typed is not None:
                return self._typed(typed, parts, taken, made, line.number)
            law = self._law(text, taken.multiplicity, line.number)
            self.plain[text, taken.multiplicity] = law
        return mass_action_of(taken.terms, made.terms, law)

    def _side(self, text: str, line: int) -> _Side:
        counts: dict[str, int] = {}
        for index in text.split(",") if text != "0" else ():
            name = self.reader.molecule(index, line).name
            counts[name] = counts.get(name, 0) + 1
        side = self.sides[text] = self._side_of(counts)
        return side

    def _side_of(self, counts: dict[str, int]) -> _Side:
        n_molecules, multiplicity = sum(counts.values()), 1.0
        if len(counts) < n_molecules <= MAX_MASS_ACTION:
            multiplicity = float(prod(map(factorial, counts.values())))
        return _Side(counts, tuple(counts.items()), n_molecules, multiplicity)

    def _held(self, taken: _Side, made: _Side) -> _Side:
        """Return the products where what is held at its amount comes back as often as it goes."""
        counts = {name: count for name, count in made.counts.items() if name not in self.fixed}
        counts.update((name, count) for name, count in taken.counts.items() if name in self.fixed)
        return made if [*counts.items()] == [*made.counts.items()] else self._side_of(counts)

    def _law(self, text: str, multiplicity: float, line: int) -> Expression:
        """Return a law, times the factorials of the reactants."""
        law = self.laws.get((text, multiplicity))
        if law is None:
            law = self._scaled(self.reader.formula(Line(line, text)), multiplicity, line)
            self.laws[text, multiplicity] = law
        return law

    def _scaled(self, law: Expression, multiplicity: float, line: int) -> Expression:
        """Return a law times a number, with the factor that it begins with taken in."""
        rest: Expression | None = law
        if isinstance(law, Number):
            multiplicity, rest = law.value * multiplicity, None
        elif isinstance(law, Call) and law.operation == "*":
            factor, other = law.arguments
            if isinstance(factor, Number):
                multiplicity, rest = factor.value * multiplicity, other
        if not math.isfinite(multiplicity):
            self.reader.refuse(line, f"the rate law {shown(str(law))} is too large for a double")
        if rest is None:
            return Number(multiplicity)
        return rest if multiplicity == 1.0 else Call("*", (Number(multiplicity), rest))

    def _typed(
        self,
        typed: re.Match[str],
        parts: list[str],
        taken: _Side,
        made: _Side,
        line: int,
    ) -> Reaction:
        factor, kind = typed.groups()
        names = [
            self.reader.molecule(index, line).name
            for index in (parts[1].split(",") if parts[1] != "0" else ())
        ]
        constants = [self._law(part, 1.0, line) for part in parts[4:]]
        if factor:
            constants[:1] = [self._law(factor, 1.0, line) * one for one in constants[:1]]
        is_saturation = kind == "Sat" and 2 <= len(constants) <= len(names) + 1
        is_binding = kind == "MM" and len(constants) == 2 and len(set(names)) == len(names) == 2
        if not (is_saturation or is_binding):
            self.reader.refuse(
                line,
                f"the rate law {shown(' '.join(parts[3:]))} of {len(names)} reactants is not "
                "supported; write it as a function of the groups",
            )
        if is_saturation:
            law = self._scaled(constants[0], taken.multiplicity, line)
            for constant, name in zip(constants[1:], names, strict=False):
                law = law / (constant + Symbol(name))
            return mass_action_of(taken.terms, made.terms, law)
        rate = _tight_binding(constants[0], constants[1], Symbol(names[0]), Symbol(names[1]))
        return Reaction(taken.terms, made.terms, rate, kind="propensity", limited=False)


def _tight_binding(
    rate: Expression, half: Expression, substrate: Expression, enzyme: Expression
) -> Expression:
    """Return Michaelis-Menten kinetics of the substrate that is not bound to the enzyme."""
    rest = substrate - half - enzyme
    free = (rest + sqrt(rest**2 + 4.0 * half * substrate)) / 2.0
    return rate * enzyme * free / (half + free)


def _sinh(x: Expression) -> Expression:
    return (Call("exp", (x,)) - Call("exp", (-x,))) / 2.0


def _cosh(x: Expression) -> Expression:
    return (Call("exp", (x,)) + Call("exp", (-x,))) / 2.0


def _average(*values: Expression) -> Expression:
    return folded("+").build(*values) / float(len(values))


_CONSTANTS = {"_pi": math.pi, "_e": math.e}

_FUNCTIONS: dict[str, FormulaFunction] = {
    "time": FormulaFunction(0, 0, lambda: TIME),
    "ln": FormulaFunction(1, 1, lambda x: Call("log", (x,))),
    "log2": FormulaFunction(1, 1, lambda x: Call("log", (x,)) / math.log(2.0)),
    # Halves go away from 0 in the C library's function of that name only by mode; BioNetGen
    # rounds half up.
    "rint": FormulaFunction(1, 1, lambda x: Call("floor", (x + 0.5,))),
    "sinh": FormulaFunction(1, 1, _sinh),
    "cosh": FormulaFunction(1, 1, _cosh),
    "min": folded("min"),
    "max": folded("max"),
    "sum": folded("+"),
    "avg": FormulaFunction(1, None, _average),
    **{
        name: own_function(name)
        for name in (
            *("exp", "log10", "sqrt", "abs", "sin", "cos", "tan", "tanh", "if", "mratio"),
            *("asin", "acos", "atan", "asinh", "acosh", "atanh", "floor", "ceil"),
        )
        if name in OPERATIONS
    },
}

# What a file must not declare, `log` because programs disagree about its base.
FUNCTION_NAMES = frozenset(_FUNCTIONS) | {"log"}
