"""From expressions to tapes: common parts are computed once, and kinds of work are grouped.

While a tape is written, sums stay weighted sums and products stay lists of factors, so that
numbers are multiplied out at once, factors that depend on parameters alone come together in the
prologue, and the sums over reactions become one instruction each.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from .expressions import Call, Expression, Number, Symbol
from .kernels.tapes import TAPE_CODES, Tape
from .operations import OPERATIONS

__all__ = ["Place", "TapeWriter"]

# A weighted sum of nodes; node -> weight. The node of the number 1 stands for constants.
Combination: TypeAlias = dict[int, float]
# What a name stands for: a kind of slot, and which of them.
Place: TypeAlias = tuple[str, int]

_KINDS = ("parameters", "states", "inputs", "slopes", "noise", "time", "size")
# Operations whose value or slope may be infinite or no number.
_SINGULAR = {
    *("/", "^", "constant power", "log", "log10", "sqrt", "exp", "hill", "hillr", "asin", "acos"),
    *("sinh", "cosh", "acosh", "atanh", "factorial", "mratio"),
}
# Operations that hand on nothing to some of their arguments.
_BLOCKING = {
    *("if", "min", "max", "<", "<=", ">", ">=", "==", "!=", "and", "or", "not", "floor", "ceil"),
}
_FEW_FACTORS = 4  # powers up to this are products


@dataclass(frozen=True)
class _Node:
    operation: str  # "number", "leaf" or a key of TAPE_CODES
    arguments: tuple[int, ...] = ()
    weights: tuple[float, ...] = ()  # of a sum; the value of a number
    place: Place = ("", 0)


class TapeWriter:
    """Collects outputs as one tape.

    Parameters
    ----------
    names : mapping of str to Place or Expression
        Where the value of each name stands, or the expression that it stands for.
    sizes : mapping of str to int
        How many parameters, states, inputs, and noises there are.
    """

    def __init__(self, names: Mapping[str, Place | Expression], sizes: Mapping[str, int]) -> None:
        self._names = names
        self._sizes = {**sizes, "slopes": sizes.get("inputs", 0), "time": 1, "size": 1}
        self._nodes: list[_Node] = []
        self._known: dict[_Node, int] = {}
        self._frozen: list[bool] = []
        self._factors: dict[int, tuple[int, ...]] = {}
        self._symbols: dict[str, Combination] = {}
        self._one = self._node(_Node("number", weights=(1.0,)))

    # -- Nodes

    def _node(self, node: _Node) -> int:
        index = self._known.get(node)
        if index is None:
            index = self._known[node] = len(self._nodes)
            self._nodes.append(node)
            self._frozen.append(
                node.place[0] == "parameters"
                if node.operation == "leaf"
                else all(self._frozen[argument] for argument in node.arguments)
            )
        return index

    def place(self, kind: str, index: int) -> Combination:
        """Return the value of a slot."""
        return {self._node(_Node("leaf", place=(kind, index))): 1.0}

    def number(self, value: float) -> Combination:
        """Return a constant."""
        return {self._one: value} if value != 0.0 else {}

    def _combination(self, node: int) -> Combination:
        """Return a node as a weighted sum; a number as such."""
        what = self._nodes[node]
        return self.number(what.weights[0]) if what.operation == "number" else {node: 1.0}

    def _value(self, combination: Combination) -> float | None:
        """Return the value of a constant, or None."""
        if not combination:
            return 0.0
        return combination[self._one] if combination.keys() == {self._one} else None

    # -- Algebra

    def weighted_sum(self, terms: Iterable[tuple[float, Combination]]) -> Combination:
        """Return the sum of weighted terms."""
        total: Combination = {}
        for factor, combination in terms:
            for node, weight in combination.items():
                total[node] = total.get(node, 0.0) + factor * weight
        return {node: weight for node, weight in total.items() if weight != 0.0}

    def settle(self, combination: Combination) -> int:
        """Return one node with the value of a combination."""
        value = self._value(combination)
        if value is not None:
            return self._node(_Node("number", weights=(value,)))
        if len(combination) == 1:
            ((node, weight),) = combination.items()
            if weight == 1.0:
                return node
        # The constant comes last: where sums differ in it alone, that is easier to read.
        terms = sorted(combination.items(), key=lambda term: (term[0] == self._one, term[0]))
        nodes, weights = zip(*terms, strict=True)
        if weights == (1.0, 1.0):
            return self._node(_Node("+", nodes))
        if weights == (1.0, -1.0):
            return self._node(_Node("-", nodes))
        if weights == (-1.0, 1.0):
            return self._node(_Node("-", nodes[::-1]))
        return self._node(_Node("sum", nodes, weights))

    def _scaled_node(self, combination: Combination) -> tuple[float, int]:
        """Return a weight and a node whose product is the combination."""
        if len(combination) == 1:
            ((node, weight),) = combination.items()
            return weight, node
        return 1.0, self.settle(combination)

    def product(self, *factors: Combination) -> Combination:
        """Return a product."""
        weight = 1.0
        nodes: list[int] = []
        for factor in factors:
            scale, node = self._scaled_node(factor)
            weight *= scale
            if not factor:
                return {}
            if node != self._one:
                nodes.extend(self._factors.get(node, (node,)))
        if not nodes:
            return self.number(weight)
        # What depends on parameters alone comes first and together, so that it leaves the loop.
        nodes.sort(key=lambda node: (not self._frozen[node], node))
        whole = nodes[0]
        for k, node in enumerate(nodes[1:], start=2):
            whole = self._node(_Node("*", (whole, node)))
            self._factors[whole] = tuple(nodes[:k])
        return {whole: weight}

    def _quotient(self, a: Combination, b: Combination) -> Combination:
        divisor = self._value(b)
        if divisor is not None and divisor != 0.0:
            return self.weighted_sum([(1.0 / divisor, a)])
        if divisor == 0.0:  # inf or nan, as written
            return {self._node(_Node("/", (self.settle(a), self.settle(b)))): 1.0}
        if not a:
            return {}
        above, numerator = self._scaled_node(a)
        below, denominator = self._scaled_node(b)
        if self._frozen[denominator] and not self._frozen[numerator]:
            inverse = self._node(_Node("/", (self._one, self.settle(b))))
            return self.product(a, {inverse: 1.0})
        return {self._node(_Node("/", (numerator, denominator))): above / below}

    def _power(self, base: Combination, exponent: Combination) -> Combination:
        n = self._value(exponent)
        if n is None:
            return {self._node(_Node("^", (self.settle(base), self.settle(exponent)))): 1.0}
        if n == 0.0:
            return self.number(1.0)
        if n == 0.5:
            return self.call("sqrt", [base])
        if n == round(n) and abs(n) <= _FEW_FACTORS:
            power = self.product(*[base] * int(abs(n)))
            return power if n > 0 else self._quotient(self.number(1.0), power)
        nodes = (self.settle(base), self.settle(exponent))
        return {self._node(_Node("constant power", nodes)): 1.0}

    def _hill(self, operation: str, arguments: Sequence[Combination]) -> Combination:
        x, threshold, exponent = arguments
        n = self._value(exponent)
        if n is None or n != round(n) or not 1 <= n <= _FEW_FACTORS:
            nodes = tuple(self.settle(argument) for argument in arguments)
            return {self._node(_Node(operation, nodes)): 1.0}
        # Products instead of powers: a sixth of the time.
        rising, falling = self._power(x, exponent), self._power(threshold, exponent)
        above = rising if operation == "hill" else falling
        return self._quotient(above, self.weighted_sum([(1.0, rising), (1.0, falling)]))

    def call(self, operation: str, arguments: Sequence[Combination]) -> Combination:
        """Return the value of an operation of the language, or of one that only tapes have."""
        values = [self._value(argument) for argument in arguments]
        if operation in OPERATIONS and None not in values:
            with np.errstate(all="ignore"):
                value = float(OPERATIONS[operation].evaluate(*values))
            if math.isfinite(value):
                return self.number(value)
        match operation:
            case "+":
                return self.weighted_sum([(1.0, argument) for argument in arguments])
            case "-":
                return self.weighted_sum([(1.0, arguments[0]), (-1.0, arguments[1])])
            case "neg":
                return self.weighted_sum([(-1.0, arguments[0])])
            case "*":
                return self.product(*arguments)
            case "/":
                return self._quotient(*arguments)
            case "^":
                return self._power(*arguments)
            case "hill" | "hillr":
                return self._hill(operation, arguments)
            case "if" if values[0] is not None:
                return arguments[1] if values[0] != 0.0 else arguments[2]
            case "if" if arguments[1] == arguments[2]:
                return arguments[1]
        nodes = tuple(self.settle(argument) for argument in arguments)
        return {self._node(_Node(operation, nodes)): 1.0}

    def expression(self, expression: Expression) -> Combination:
        """Return the value of an expression of the names."""

        def leaf(node: Expression) -> Combination:
            if isinstance(node, Number):
                return self.number(node.value)
            assert isinstance(node, Symbol)
            return self.symbol(node.name)

        def combine(call: Call, arguments: list[Combination]) -> Combination:
            return self.call(call.operation, arguments)

        return expression.fold(leaf, combine)

    def symbol(self, name: str) -> Combination:
        """Return the value of a name."""
        known = self._symbols.get(name)
        if known is None:
            what = self._names[name]
            known = self.expression(what) if isinstance(what, Expression) else self.place(*what)
            self._symbols[name] = known
        return known

    # -- Derivatives

    def derivatives(self, values: Sequence[Combination], by: Combination) -> list[Combination]:
        """Return the derivatives of some values by a slot.

        Taken from node to node, so that what values share is differentiated once.
        """
        (leaf,) = by
        slopes: dict[int, Combination] = {}
        # Arguments are older than what uses them.
        for node in sorted(self._reachable(node for value in values for node in value)):
            slopes[node] = self._slope(node, leaf, slopes)
        return [
            self.weighted_sum((weight, slopes[node]) for node, weight in value.items())
            for value in values
        ]

    def _slope(self, node: int, leaf: int, slopes: Mapping[int, Combination]) -> Combination:
        what = self._nodes[node]
        if what.operation == "leaf":
            return self.number(float(node == leaf))
        changes = [slopes[argument] for argument in what.arguments]
        if not any(changes):
            return {}
        if what.operation == "sum":
            return self.weighted_sum(zip(what.weights, changes, strict=True))
        here: Combination = {node: 1.0}
        values = [self._combination(argument) for argument in what.arguments]
        return self._slope_of_call(what.operation, here, values, changes)

    def _slope_of_call(
        self,
        operation: str,
        here: Combination,
        values: list[Combination],
        changes: list[Combination],
    ) -> Combination:
        """Return the slope of a call from its value, its arguments and their slopes."""
        one, zero = self.number(1.0), self.number(0.0)
        x, dx = values[0], changes[0]
        match operation:
            case "+":
                return self.weighted_sum([(1.0, dx), (1.0, changes[1])])
            case "-":
                return self.weighted_sum([(1.0, dx), (-1.0, changes[1])])
            case "*":
                first, second = self.product(dx, values[1]), self.product(x, changes[1])
                return self.weighted_sum([(1.0, first), (1.0, second)])
            case "/":
                change = self.weighted_sum([(1.0, dx), (-1.0, self.product(here, changes[1]))])
                return self._quotient(change, values[1])
            case "^" | "constant power":
                exponent = values[1]
                lower = self._power(x, self.weighted_sum([(1.0, exponent), (-1.0, one)]))
                by_base = self.product(exponent, lower, dx)
                if not changes[1]:
                    return by_base
                # 0^n is 0 for every n > 0, so its slope in n is 0, where 0*log(0) would be nan.
                growth = self.product(here, self.call("log", [x]))
                growth = self.call("if", [self.call("==", [x, zero]), zero, growth])
                by_exponent = self.product(growth, changes[1])
                return self.weighted_sum([(1.0, by_base), (1.0, by_exponent)])
            case "hill" | "hillr":
                sign = 1.0 if operation == "hill" else -1.0
                rising = self._slope_of_hill(here, values, changes)
                return self.weighted_sum([(sign, rising)])
            case "exp":
                return self.product(here, dx)
            case "log":
                return self._quotient(dx, x)
            case "log10":
                return self._quotient(dx, self.weighted_sum([(math.log(10.0), x)]))
            case "sqrt":
                return self._quotient(dx, self.weighted_sum([(2.0, here)]))
            case "abs":
                below = self.call("if", [self.call("<", [x, zero]), self.number(-1.0), zero])
                return self.product(self.call("if", [self.call(">", [x, zero]), one, below]), dx)
            case "sin":
                return self.product(self.call("cos", [x]), dx)
            case "cos":
                return self.weighted_sum([(-1.0, self.product(self.call("sin", [x]), dx))])
            case "tan" | "tanh":
                sign = 1.0 if operation == "tan" else -1.0
                square = self.product(here, here)
                return self.product(self.weighted_sum([(1.0, one), (sign, square)]), dx)
            case "asin" | "acos" | "asinh" | "acosh":
                sign = -1.0 if operation == "acos" else 1.0
                return self.weighted_sum([(sign, self._slope_of_inverse(operation, x, dx))])
            case "atan":
                return self._quotient(
                    dx, self.weighted_sum([(1.0, one), (1.0, self.product(x, x))])
                )
            case "atanh":
                return self._quotient(dx, self._one_minus_square(x))
            case "sinh" | "cosh":
                other = "cosh" if operation == "sinh" else "sinh"
                return self.product(self.call(other, [x]), dx)
            case "factorial":
                return self.product(self._slope_by_differences(operation, values, 0, 1.0), dx)
            case "mratio":
                return self._slope_of_mratio(here, values, changes)
            case "min":
                return self.call("if", [self.call("<=", values), *changes])
            case "max":
                return self.call("if", [self.call(">=", values), *changes])
            case "if":
                return self.call("if", [x, *changes[1:]])
        return {}  # comparisons, floor and ceil: flat wherever they have a slope

    def _slope_of_hill(
        self, here: Combination, values: list[Combination], changes: list[Combination]
    ) -> Combination:
        """Return the slope of x^n / (K^n + x^n); `here` is that, or 1 minus that."""
        x, threshold, _ = values
        dx, by_threshold, by_exponent = changes
        steepness = {self._node(_Node("hill slope", tuple(map(self.settle, values)))): 1.0}
        ratio = self._quotient(x, threshold)
        terms = [
            (1.0, self.product(steepness, dx)),
            (-1.0, self.product(steepness, ratio, by_threshold)),
        ]
        if by_exponent:
            one, zero = self.number(1.0), self.number(0.0)
            other = self.weighted_sum([(1.0, one), (-1.0, here)])
            growth = self.product(here, other, self.call("log", [ratio]))
            growth = self.call("if", [self.call("==", [x, zero]), zero, growth])
            terms.append((1.0, self.product(growth, by_exponent)))
        return self.weighted_sum(terms)

    def _one_minus_square(self, x: Combination) -> Combination:
        # As a product, which keeps its digits near the ends of the domain.
        one = self.number(1.0)
        below = self.weighted_sum([(1.0, one), (-1.0, x)])
        return self.product(below, self.weighted_sum([(1.0, one), (1.0, x)]))

    def _slope_of_inverse(self, operation: str, x: Combination, dx: Combination) -> Combination:
        one = self.number(1.0)
        if operation == "acosh":
            below = self.call("sqrt", [self.weighted_sum([(1.0, x), (-1.0, one)])])
            above = self.call("sqrt", [self.weighted_sum([(1.0, x), (1.0, one)])])
            return self._quotient(dx, self.product(below, above))
        if operation == "asinh":
            square = self.weighted_sum([(1.0, one), (1.0, self.product(x, x))])
        else:
            square = self._one_minus_square(x)
        return self._quotient(dx, self.call("sqrt", [square]))

    def _slope_by_differences(
        self, operation: str, values: list[Combination], which: int, offset: float
    ) -> Combination:
        """Return a slope by argument `which` from four values around it, as `derivatives` does."""
        size = self.call("abs", [values[which]])
        step = self.weighted_sum([(1e-3 * offset, self.number(1.0)), (1e-3, size)])
        terms = []
        for steps, weight in ((1.0, 8.0), (-1.0, -8.0), (2.0, -1.0), (-2.0, 1.0)):
            moved = list(values)
            moved[which] = self.weighted_sum([(1.0, values[which]), (steps, step)])
            terms.append((weight / 12.0, self.call(operation, moved)))
        return self._quotient(self.weighted_sum(terms), step)

    def _slope_of_mratio(
        self, here: Combination, values: list[Combination], changes: list[Combination]
    ) -> Combination:
        one = self.number(1.0)
        # A step by b is relative to its size, which never leads to 0.
        terms = [
            (1.0, self.product(self._slope_by_differences("mratio", values, which, offset), change))
            for which, offset, change in ((0, 1.0, changes[0]), (1, 0.0, changes[1]))
            if change
        ]
        if changes[2]:
            a, b, z = values
            a_next, b_next = (self.weighted_sum([(1.0, x), (1.0, one)]) for x in (a, b))
            ahead = self.call("mratio", [a_next, b_next, z])
            ahead = self.product(self._quotient(a_next, b_next), ahead)
            inside = [(1.0, ahead), (-1.0, self.product(self._quotient(a, b), here))]
            terms.append((1.0, self.product(here, self.weighted_sum(inside), changes[2])))
        return self.weighted_sum(terms)

    # -- The tape

    def tape(self, essential: Sequence[Combination], others: Sequence[Combination] = ()) -> Tape:
        """Return the tape of some outputs: the essential ones come first."""
        first = [self.settle(one) for one in essential]
        rest = [self.settle(one) for one in others]
        needed = self._reachable([*first, *rest])
        for_first = self._reachable(first)
        guarded = self._guarded(needed)
        inner = [i for i in sorted(needed) if self._nodes[i].operation not in {"number", "leaf"}]
        groups: list[list[int]] = []
        prologue = [i for i in inner if self._frozen[i]]
        loop = [i for i in inner if not self._frozen[i] and i in for_first]
        last = [i for i in inner if not self._frozen[i] and i not in for_first]
        bounds = []
        for part in (prologue, loop, last):
            groups.extend(self._schedule(part, guarded))
            bounds.append(len(groups))
        numbers = [i for i in sorted(needed) if self._nodes[i].operation == "number"]
        slot = {node: index for index, node in enumerate(numbers)}
        begin, top = {}, len(numbers)
        n_numbers = top
        for kind in _KINDS:
            if kind == "states":
                prologue_shift = top
                top += len(prologue)
            begin[kind] = top
            top += self._sizes.get(kind, 0)
        order = [node for group in groups for node in group]
        for position, node in enumerate(order):
            is_frozen = position < len(prologue)
            slot[node] = position + (prologue_shift if is_frozen else top - len(prologue))
        for node in needed:
            if self._nodes[node].operation == "leaf":
                kind, index = self._nodes[node].place
                slot[node] = begin[kind] + index
        first_argument: list[int] = []
        second: list[int] = []
        third: list[int] = []
        term: list[int] = []
        weight: list[float] = []
        for node in order:
            what = self._nodes[node]
            slots = [slot[argument] for argument in what.arguments]
            if what.operation == "sum":
                first_argument.append(len(term))
                term.extend(slots)
                weight.extend(what.weights)
                second.append(len(term))
                third.append(0)
            else:
                a, b, c = [*slots, 0, 0][:3]
                first_argument.append(a)
                second.append(b)
                third.append(c)
        return Tape(
            operation=np.array(
                [TAPE_CODES[self._emitted(group[0], guarded)] for group in groups], dtype=np.int64
            ),
            group_start=_unsigned(np.cumsum([0, *map(len, groups)])),
            first=_unsigned(first_argument),
            second=_unsigned(second),
            third=_unsigned(third),
            term=_unsigned(term),
            weight=np.array(weight, dtype=np.float64),
            number=np.array([self._nodes[i].weights[0] for i in numbers], dtype=np.float64),
            output=_unsigned([slot[node] for node in [*first, *rest]]),
            prologue=np.uint64(bounds[0]),
            essential=np.uint64(bounds[1]),
            prologue_shift=np.uint64(prologue_shift),
            # A position counts the prologue's instructions too.
            shift=np.uint64(top - len(prologue)),
            parameters=np.uint64(n_numbers),
            states=np.uint64(begin["states"]),
            inputs=np.uint64(begin["inputs"]),
            slopes=np.uint64(begin["slopes"]),
            noise=np.uint64(begin["noise"]),
            time=np.uint64(begin["time"]),
            n_slots=np.uint64(top + len(order) - len(prologue)),
        )

    def _reachable(self, nodes: Iterable[int]) -> set[int]:
        found: set[int] = set()
        waiting = list(nodes)
        while waiting:
            node = waiting.pop()
            if node not in found:
                found.add(node)
                waiting.extend(self._nodes[node].arguments)
        return found

    def _guarded(self, nodes: Iterable[int]) -> set[int]:
        """Return the products and quotients that a choice may leave out.

        An adjoint of 0 must stay 0 there, although a factor may be infinite or no number.
        """
        choices = [i for i in nodes if self._nodes[i].operation in _BLOCKING]
        below = self._reachable(argument for i in choices for argument in self._nodes[i].arguments)
        if all(self._nodes[i].operation not in _SINGULAR for i in below):
            return set()
        return {i for i in below if self._nodes[i].operation in {"*", "/"}}

    def _emitted(self, node: int, guarded: set[int]) -> str:
        operation = self._nodes[node].operation
        return f"guarded {operation}" if node in guarded else operation

    def _schedule(self, nodes: Sequence[int], guarded: set[int]) -> list[list[int]]:
        """Order nodes in groups of one operation that do not need each other."""
        inside = set(nodes)
        users: dict[int, list[int]] = defaultdict(list)
        missing: dict[int, int] = {}
        ready: dict[str, list[int]] = defaultdict(list)
        for node in nodes:
            what = self._nodes[node]
            arguments = {argument for argument in what.arguments if argument in inside}
            missing[node] = len(arguments)
            for argument in arguments:
                users[argument].append(node)
            if not arguments:
                ready[self._emitted(node, guarded)].append(node)
        groups = []
        while any(ready.values()):
            operation = max(ready, key=lambda name: len(ready[name]))
            group = ready.pop(operation)
            groups.append(group)
            for node in group:
                for user in users[node]:
                    missing[user] -= 1
                    if missing[user] == 0:
                        ready[self._emitted(user, guarded)].append(user)
        return groups


def _unsigned(values: Sequence[int] | np.ndarray) -> np.ndarray:
    return np.array(values, dtype=np.uint64)
