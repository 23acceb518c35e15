"""Formulas of other programs: infix text to our expressions, without evaluating anything.

What differs between programs (the functions, what a name stands for, the spelling of logic) is
handed in. Operators wait on a stack until their arguments are complete (Dijkstra's shunting
yard), so the depth of a text never becomes a depth of Python calls.
"""

from __future__ import annotations

import functools
import math
import re
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple, NoReturn

from ..rate_laws import (
    AND,
    COMPARISON,
    MAX_NESTING,
    MAX_NODES,
    NOT,
    OPERATIONS,
    OR,
    POWER,
    PRODUCT,
    SIGN,
    SUM,
    Call,
    Expression,
    Number,
    Symbol,
    did_you_mean,
    shown,
)

__all__ = ["FormulaFunction", "defined_function", "folded", "own_function", "read_formula"]

_MAX_LENGTH = 200_000  # characters of one formula

_PLACEHOLDER = "__argument_"  # what arguments are called in the body of a function

_TOKEN = re.compile(
    r"\s*(?:(?P<number>(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?)"
    r"|(?P<name>[^\W\d]\w*)"
    r"|(?P<sign>\*\*|&&|\|\||==|!=|<=|>=|[-+*/^(),<>!]))"
)

_BINDING = {
    "or": OR,
    "and": AND,
    **dict.fromkeys(("<", "<=", ">", ">=", "==", "!="), COMPARISON),
    **dict.fromkeys("+-", SUM),
    **dict.fromkeys("*/", PRODUCT),
    "^": POWER,
}
# One spelling for what programs spell differently. Words are operators in Python's style alone.
_SAME = {"**": "^", "&&": "and", "||": "or"}

# Gives what a name stands for, or raises.
Names = Callable[[str], Expression]
# Raises the error that says where the formula stands.
Refuse = Callable[[str], NoReturn]


class FormulaFunction(NamedTuple):
    """A function of formulas: how many arguments it takes, and the expression of a call."""

    fewest: int
    most: int | None
    build: Callable[..., Expression]


def folded(operation: str) -> FormulaFunction:
    """Return a function of any number of arguments that applies an operation from the left."""

    def build(*arguments: Expression) -> Expression:
        return functools.reduce(lambda a, b: Call(operation, (a, b)), arguments)

    return FormulaFunction(1, None, build)


def own_function(operation: str) -> FormulaFunction:
    """Return a function that is one of our operations."""
    arity = OPERATIONS[operation].arity
    return FormulaFunction(arity, arity, lambda *arguments: Call(operation, arguments))


def defined_function(
    name: str,
    words: Sequence[str],
    read_body: Callable[[Mapping[str, Expression]], Expression],
    refuse: Refuse,
) -> FormulaFunction:
    """Return a function that a model defines; calls of it are replaced by its body.

    Parameters
    ----------
    name : str
        For messages.
    words : sequence of str
        Names of its arguments.
    read_body : callable
        Reads the body, given what the arguments stand for. It is called once, at the first use.
    refuse : callable
        Called with a message; raises.

    Returns
    -------
    FormulaFunction
        It may call other functions, but not itself.
    """
    given = {word: Symbol(f"{_PLACEHOLDER}{i}") for i, word in enumerate(words)}
    bodies: list[Expression] = []
    being_read: list[bool] = []

    def build(*arguments: Expression) -> Expression:
        if not bodies:
            if being_read:
                refuse(f"the function {shown(name)} calls itself")
            being_read.append(True)
            bodies.append(read_body(given))
        body = bodies[0]
        values = {one.name: value for one, value in zip(given.values(), arguments, strict=True)}
        n_nodes = sum(
            values[node.name].n_nodes if isinstance(node, Symbol) and node.name in values else 1
            for node in body.postorder()
        )
        if n_nodes > MAX_NODES:
            refuse(f"a call of {shown(name)} has more than {MAX_NODES:,} numbers and names")
        return body.substitute(values)

    return FormulaFunction(len(words), len(words), build)


class _Pending(NamedTuple):
    """An operator or bracket whose last argument has not been read yet."""

    text: str  # operator, "neg", "not", or "("
    binding: int  # 0 for brackets
    function: str  # what the bracket belongs to
    n_operands: int  # how many operands there were before
    is_deeper: bool


def read_formula(
    text: str,
    names: Names,
    functions: Mapping[str, FormulaFunction],
    refuse: Refuse,
    *,
    has_words: bool = False,
) -> Expression:
    """Read one formula.

    Parameters
    ----------
    text : str
        Infix; powers are ``^`` or ``**``, logic ``&&``, ``||`` and ``!``.
    names : callable
        Returns what a name stands for, or raises.
    functions : mapping of str to FormulaFunction
        What may stand before a bracket.
    refuse : callable
        Called with a message; raises.
    has_words : bool, optional
        Whether ``and``, ``or`` and ``not`` are operators, as in Python.

    Returns
    -------
    Expression
        The tree.
    """
    if len(text) > _MAX_LENGTH:
        refuse(f"a formula of {len(text):,} characters is too long; at most {_MAX_LENGTH:,}")
    return _FormulaReader(text, names, functions, refuse, has_words=has_words).read()


class _FormulaReader:
    def __init__(
        self,
        text: str,
        names: Names,
        functions: Mapping[str, FormulaFunction],
        refuse: Refuse,
        *,
        has_words: bool,
    ) -> None:
        self.text = text.rstrip()
        self.names = names
        self.functions = functions
        self.fail = refuse
        self.has_words = has_words
        self.place = 0
        self.operands: list[Expression] = []
        self.pending: list[_Pending] = []
        self.depth = 0
        self.compared: Expression | None = None  # the last comparison, without brackets around it

    def refuse(self, message: str) -> NoReturn:
        self.fail(f"{message} (in {shown(self.text)})")

    def next(self) -> tuple[str, str]:
        """Return the kind and the text of the next token, ("end", "") at the end."""
        if self.place >= len(self.text):
            return "end", ""
        match = _TOKEN.match(self.text, self.place)
        if match is None:
            rest = self.text[self.place :].lstrip()
            self.refuse(f"{shown(rest[0])} has no meaning in a formula")
        self.place = match.end()
        kind = match.lastgroup or ""
        found = match.group(kind)
        if kind == "name" and self.has_words and found in ("and", "or", "not"):
            return "sign", found
        return kind, _SAME.get(found, found)

    def read(self) -> Expression:
        while True:
            self.read_operand()
            while True:
                kind, found = self.next()
                if found != ")":
                    break
                self.close_bracket()
            if kind == "sign" and found in _BINDING:
                self.add_operator(found)
            elif found == ",":
                self.next_argument()
            elif kind == "end":
                self.apply_down_to(1)
                if self.pending:
                    self.refuse("a bracket is never closed")
                return self.operands[0]
            else:
                self.refuse(f"an operator is missing before {shown(found)}")

    def read_operand(self) -> None:
        while True:
            kind, found = self.next()
            if kind == "number":
                value = float(found)
                if math.isinf(value):
                    self.refuse(f"the number {shown(found)} is too large for a double")
                self.operands.append(Number(value))
                return
            if kind == "name":
                before = self.place
                if self.next_is_bracket():
                    if not self.open_function(found):
                        return
                else:
                    self.place = before
                    if found.startswith(_PLACEHOLDER):
                        self.refuse(f"names that begin with {_PLACEHOLDER} are not allowed")
                    self.operands.append(self.names(found))
                    return
            elif found == "(":
                self.push("(", 0)
            elif found == "-":
                self.push("neg", SIGN)
            elif found == "!":
                self.push("not", SIGN)
            elif found == "not":
                self.push("not", NOT)
            elif found != "+":
                place = shown(found) if found else "the end"
                self.refuse(f"a number or a name is missing before {place}")

    def next_is_bracket(self) -> bool:
        match = _TOKEN.match(self.text, self.place)
        if match is None or match.group("sign") != "(":
            return False
        self.place = match.end()
        return True

    def open_function(self, name: str) -> bool:
        """Begin a call; return whether an argument must follow."""
        known = self.functions.get(name)
        match = _TOKEN.match(self.text, self.place)
        if match is not None and match.group("sign") == ")":
            self.place = match.end()
            if known is None:
                # Other programs write a named quantity as a function without arguments.
                self.operands.append(self.names(name))
            else:
                self.call(name, known, [])
            return False
        if known is None:
            self.refuse(
                f"there is no function {shown(name)}{did_you_mean(name, self.functions)}; "
                f"there are {', '.join(sorted(self.functions))}"
            )
        self.push("(", 0, function=name)
        return True

    def call(self, name: str, known: FormulaFunction, arguments: list[Expression]) -> None:
        n = len(arguments)
        if n < known.fewest or (known.most is not None and n > known.most):
            wanted = f"{known.fewest}" if known.most == known.fewest else f"{known.fewest} or more"
            self.refuse(f"{name} takes {wanted} arguments, not {n}")
        # A function may use each argument more than once, but not often.
        if 10 * sum(argument.n_nodes for argument in arguments) > MAX_NODES:
            self.refuse(f"the arguments of {name} are too long")
        self.operands.append(known.build(*arguments))

    def push(self, text: str, binding: int, *, function: str = "", is_deeper: bool = True) -> None:
        self.pending.append(_Pending(text, binding, function, len(self.operands), is_deeper))
        self.depth += is_deeper
        if self.depth > MAX_NESTING:
            self.refuse(f"brackets, signs and exponents nest more than {MAX_NESTING} levels deep")

    def add_operator(self, found: str) -> None:
        binding = _BINDING[found]
        is_power = binding == POWER
        # A power groups to the right, so it leaves a waiting power alone; the others do not.
        self.apply_down_to(binding + is_power)
        if binding == COMPARISON and self.operands[-1] is self.compared:
            self.refuse("comparisons in a row; put brackets around each")
        self.push(found, binding, is_deeper=is_power)

    def apply_down_to(self, binding: int) -> None:
        while self.pending and self.pending[-1].binding >= binding:
            one = self.pending.pop()
            self.depth -= one.is_deeper
            n_arguments = 1 if one.text in ("neg", "not") else 2
            arguments = self.operands[-n_arguments:]
            del self.operands[-n_arguments:]
            if 1 + sum(argument.n_nodes for argument in arguments) > MAX_NODES:
                self.refuse(f"a formula has more than {MAX_NODES:,} numbers, names and operations")
            if one.text == "neg" and isinstance(arguments[0], Number):
                self.operands.append(Number(-arguments[0].value))
                continue
            call = Call(one.text, arguments)
            self.operands.append(call)
            if one.binding == COMPARISON:
                self.compared = call

    def next_argument(self) -> None:
        self.apply_down_to(1)
        if not self.pending or not self.pending[-1].function:
            self.refuse("a comma stands outside the brackets of a function")

    def close_bracket(self) -> None:
        self.apply_down_to(1)
        if not self.pending:
            self.refuse("a bracket is closed that was never opened")
        bracket = self.pending.pop()
        self.depth -= bracket.is_deeper
        self.compared = None
        if bracket.function:
            arguments = self.operands[bracket.n_operands :]
            del self.operands[bracket.n_operands :]
            self.call(bracket.function, self.functions[bracket.function], arguments)
