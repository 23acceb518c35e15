"""Networks as BioNetGen's ``.net`` files.

The format multiplies every law with the amounts of the reactants, so what it holds is mass action,
whose constant may be an expression. All else is refused by name.
"""

from __future__ import annotations

from collections.abc import Iterable
from math import factorial, isfinite, prod
from typing import NoReturn

from ..errors import FormatError
from ..network import Network, Reaction
from ..rate_laws import CONSTANTS, Call, Expression, Number, Symbol, number_text, shown
from .net_reading import FUNCTION_NAMES

__all__ = ["write_net"]

_INFIX = {
    **{operation: operation for operation in ("+", "-", "*", "/", "^")},
    **{operation: operation for operation in ("<", "<=", ">", ">=", "==", "!=")},
    "and": "&&",
    "or": "||",
}
_CALLS = {"log": "ln"}
_MAX_COPIES = 1_000  # of a species on one side of a reaction


def write_net(network: Network) -> str:
    """Return a network as the text of a ``.net`` file.

    Parameters
    ----------
    network : Network
        Its reactions follow mass action, whose constant may be any expression; a reaction written
        ``=>`` must have its reactants as factors of its law. Observables that are weighted sums
        of species become groups, the others functions.

    Returns
    -------
    str
        Reading it gives the same propensities.

    Raises
    ------
    FormatError
        If something does not fit into the format; it names what.
    """
    return _NetWriter(network).text()


def _refuse(message: str) -> NoReturn:
    raise FormatError(f"a .net file cannot hold this network: {message}")


class _NetWriter:
    def __init__(self, network: Network) -> None:
        self.network = network
        self._check()
        self.place = {name: i for i, name in enumerate(network.state_names, start=1)}
        self.groups: dict[str, str] = {}
        self.functions: dict[str, str] = {}
        self.parameters: dict[str, str] = {}
        self.laws: dict[Expression, str] = {}

    def _check(self) -> None:
        network = self.network
        if network.events:
            _refuse(f"it has events ({shown(str(network.events[0]))})")
        for one in network.variables:
            # A variable that reactions alone change is an amount like any other.
            if one.rate is not None and one.rate != Number(0.0):
                _refuse(f"the variable {one.name!r} follows a rule, {one.name}' = {one.rate}")
        given = [(one.name, one.value) for one in network.parameters]
        given += [(one.name, one.initial) for one in network.variables]
        for name, value in given:
            if not isinstance(value, Expression) and not isfinite(value):
                _refuse(f"{name!r} is {value:g}, and numbers are finite there")
        for box in network.compartments:
            if box.as_concentrations:
                _refuse(
                    f"{box.as_concentrations[0]!r} is shown as a concentration; a .net file knows "
                    "amounts only"
                )
        for name in (*network.state_names, *network.parameter_names, *network.observable_names):
            if not name.isascii():
                _refuse(f"the name {name!r} has letters other than a to z")
            if name in FUNCTION_NAMES:
                _refuse(f"{name!r} is a function there; rename it")

    def text(self) -> str:
        network = self.network
        for parameter in network.parameters:
            self.parameters[parameter.name] = self._value(parameter.value)
        for observable in network.observables:
            total = self._weighted_sum(observable.expression)
            if total is None:
                self.functions[observable.name] = self._formula(observable.expression)
            else:
                self.groups[observable.name] = total
        reactions = [self._reaction(i) for i in range(network.n_reactions)]
        species = [f"{one.name}() {self._value(one.initial)}" for one in network.species]
        species += [f"{one.name}() {self._value(one.initial)}" for one in network.variables]
        blocks = {
            "parameters": [f"{name} {value}" for name, value in self.parameters.items()],
            "functions": [f"{name}() {formula}" for name, formula in self.functions.items()],
            "species": species,
            "reactions": reactions,
            "groups": [f"{name} {total}" for name, total in self.groups.items()],
        }
        lines = ["# Written by gillespy_lite"]
        for block, entries in blocks.items():
            if entries or block in ("species", "reactions"):
                lines.append(f"begin {block}")
                lines += [f"    {i} {entry}" for i, entry in enumerate(entries, start=1)]
                lines.append(f"end {block}")
        return "\n".join(lines) + "\n"

    def _value(self, value: float | Expression) -> str:
        return self._formula(value) if isinstance(value, Expression) else number_text(float(value))

    # -- Observables

    def _weighted_sum(self, expression: Expression) -> str | None:
        """Return ``1,2*5`` for ``A + 2*B``, or None for what is no such sum."""
        terms: list[str] = []
        waiting = [expression]
        while waiting:
            node = waiting.pop()
            if isinstance(node, Symbol) and node.name in self.place:
                terms.append(str(self.place[node.name]))
            elif isinstance(node, Call) and node.operation == "+":
                waiting += [node.arguments[1], node.arguments[0]]
            elif (
                isinstance(node, Call)
                and node.operation == "*"
                and isinstance(node.arguments[0], Number)
                and isinstance(node.arguments[1], Symbol)
                and node.arguments[1].name in self.place
            ):
                weight = number_text(node.arguments[0].value)
                terms.append(f"{weight}*{self.place[node.arguments[1].name]}")
            else:
                return None
        return ",".join(terms)

    # -- Reactions

    def _reaction(self, index: int) -> str:
        reaction = self.network.reactions[index]
        if reaction.delay is not None:
            _refuse(f"the reaction {reaction} has a delay")
        law = self._constant(reaction)
        divisor = float(prod(factorial(self._count(reaction, n)) for _, n in reaction.reactants))
        taken, made = (
            ",".join(
                str(self.place[name]) for name, n in side for _ in range(self._count(reaction, n))
            )
            for side in (reaction.reactants, reaction.products)
        )
        return f"{taken or 0} {made or 0} {self._law(law, divisor)}"

    @staticmethod
    def _count(reaction: Reaction, count: object) -> int:
        if not isinstance(count, int | float) or count != int(count) or count > _MAX_COPIES:
            _refuse(
                f"the reaction {reaction} has the coefficient {count}; a species is written once "
                f"for each molecule, at most {_MAX_COPIES:,} times"
            )
        return int(count)

    def _constant(self, reaction: Reaction) -> Expression:
        """Return the rate of a reaction as a factor of its reactants' product."""
        if reaction.kind == "mass_action":
            return reaction.rate
        factor: Expression | None = reaction.rate
        for name, count in reaction.reactants:
            factor = _without_factor(factor, name) if factor is not None and count == 1 else None
        if factor is None:
            _refuse(
                f"the propensity of {reaction} does not have its reactants as factors; write it "
                "as mass action (->)"
            )
        return factor

    def _law(self, law: Expression, divisor: float) -> str:
        factor = 1.0 / divisor
        if isinstance(law, Number):
            return number_text(law.value * factor)
        if isinstance(law, Call) and law.operation == "*" and isinstance(law.arguments[0], Number):
            factor, law = law.arguments[0].value * factor, law.arguments[1]
        name = law.name if isinstance(law, Symbol) and law.name in self._named() else ""
        name = name or self.laws.get(law, "") or self._new_law(law)
        return name if factor == 1.0 else f"{number_text(factor)}*{name}"

    def _named(self) -> Iterable[str]:
        # A group cannot be a law, a function can.
        return self.parameters.keys() | self.functions.keys()

    def _new_law(self, law: Expression) -> str:
        """Name a law: as a parameter if it never changes, otherwise as a function."""
        taken = {*self.place, *self.network.parameter_names, *self.network.observable_names}
        number = len(self.laws) + 1
        while f"_rateLaw{number}" in taken or f"_rateLaw{number}" in self.laws.values():
            number += 1
        name = self.laws[law] = f"_rateLaw{number}"
        changing = {*self.place, *self.network.observable_names, "t"}
        is_constant = law.symbols().isdisjoint(changing)
        (self.parameters if is_constant else self.functions)[name] = self._formula(law)
        return name

    # -- Formulas

    def _formula(self, expression: Expression) -> str:
        for name in sorted(expression.symbols() & self.place.keys()):
            # Functions see groups, not species.
            if name not in self.groups:
                self.groups[name] = str(self.place[name])

        def leaf(node: Expression) -> str:
            if isinstance(node, Number):
                text = number_text(node.value)
                return f"({text})" if node.value < 0.0 else text
            assert isinstance(node, Symbol)
            if node.name == "t":
                return "time()"
            is_own = node.name in CONSTANTS and node.name not in self.declared
            return f"_{node.name}" if is_own else node.name

        return _without_brackets(expression.fold(leaf, _combined))

    @property
    def declared(self) -> set[str]:
        return {*self.place, *self.network.parameter_names, *self.network.observable_names}


def _combined(call: Call, arguments: list[str]) -> str:
    operation = call.operation
    if operation in _INFIX:
        return f"({arguments[0]}{_INFIX[operation]}{arguments[1]})"
    if operation == "neg":
        return f"(-{arguments[0]})"
    if operation == "not":
        return f"({arguments[0]}==0)"
    if operation in ("hill", "hillr"):
        x, half, n = arguments
        ratio = f"{half}/{x}" if operation == "hill" else f"{x}/{half}"
        return f"(1/(1+({ratio})^{n}))"
    name = _CALLS.get(operation, operation)
    if name not in FUNCTION_NAMES or operation in ("floor", "ceil"):
        _refuse(f"BioNetGen has no function {operation} (in {shown(str(call))})")
    return f"{name}({','.join(map(_without_brackets, arguments))})"


def _without_brackets(text: str) -> str:
    """Drop the outermost brackets if they enclose the whole."""
    if not text.startswith("("):
        return text
    depth = 0
    for place, character in enumerate(text):
        depth += (character == "(") - (character == ")")
        if depth == 0:
            return text[1:-1] if place == len(text) - 1 else text
    return text


def _without_factor(law: Expression, name: str) -> Expression | None:
    """Return a product without one of its factors, or None if it does not have it."""
    behind: list[tuple[str, Expression]] = []  # what stands behind, innermost last
    while (rest := _lowered(law, name)) is None:
        if not (isinstance(law, Call) and law.operation in ("*", "/")):
            return None
        left, right = law.arguments
        if law.operation == "*" and (rest := _lowered(right, name)) is not None:
            behind.append(("*", rest))
            rest = left
            break
        behind.append((law.operation, right))
        law = left
    for operation, right in reversed(behind):
        if operation == "*" and Number(1.0) in (rest, right):
            rest = right if rest == Number(1.0) else rest
        else:
            rest = Call(operation, (rest, right))
    return rest


def _lowered(power: Expression, name: str) -> Expression | None:
    """Return a power of a species, such as X^2 or X, divided by it; None for anything else."""
    base, exponent = power, 1.0
    if isinstance(power, Call) and power.operation == "^":
        base, n = power.arguments
        exponent = n.value if isinstance(n, Number) else 0.0
    if base != Symbol(name) or exponent < 1.0:
        return None
    if exponent <= 2.0 and exponent == int(exponent):
        return base if exponent == 2.0 else Number(1.0)
    return Call("^", (base, Number(exponent - 1.0)))
