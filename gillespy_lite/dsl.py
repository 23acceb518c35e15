"""The language: text to networks and expressions.

A text is read line by line, and a line from left to right. Nothing is evaluated while it is read,
and nothing that was typed ever reaches Python's `eval` or `exec`: a line becomes tokens, tokens
become an expression tree, and the tree has a fixed list of functions.

Grammar, where ``...`` means "and so on" and ``[ ]`` that something may be left out::

    line        [statement] [# comment]
    statement   species name [= expression], ...
                param name = expression, ...
                observe name = expression, ...
                [name:] side -> side @ expression
                [name:] side => side @ expression
                [name:] side <-> side @ expression, expression
    side        0 | ∅ | [count [*]] name + ...
    expression  or, and, not, < <= > >= == !=, + -, * /, sign, ^ (loosest first); name, number,
                function(expression, ...), (expression)

``^`` and ``**`` are the same, group to the right and bind before a sign: ``-x^2`` is ``-(x^2)``.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import NamedTuple, NoReturn

from .dsl_lexer import Token, split_line
from .errors import ParseError
from .network import (
    MAX_COEFFICIENT,
    Kind,
    Network,
    Observable,
    Parameter,
    Problem,
    Reaction,
    Species,
    find_problem,
    initial_problem,
)
from .rate_laws import (
    AND,
    COMPARISON,
    FUNCTIONS,
    MAX_NAME_LENGTH,
    MAX_NESTING,
    MAX_NODES,
    NOT,
    OR,
    POWER,
    PRODUCT,
    RESERVED,
    SIGN,
    SUM,
    Call,
    Expression,
    Number,
    Symbol,
    did_you_mean,
    name_problem,
    normal_name,
    shown,
)

__all__ = ["parse_expression", "parse_network", "read_network"]

MAX_TEXT = 16_000_000  # characters
MAX_LINE = 1_000_000  # characters
MAX_SIDE = 100_000  # words, numbers and signs of one side of a reaction

KEYWORDS = {"species": "species", "param": "parameter", "observe": "observable"}

# How tightly each binary operator binds.
BINDING = {
    "or": OR,
    "and": AND,
    **dict.fromkeys(("<", "<=", ">", ">=", "==", "!="), COMPARISON),
    **dict.fromkeys("+-", SUM),
    **dict.fromkeys("*/", PRODUCT),
    **dict.fromkeys(("^", "**"), POWER),
}

# What other languages call our functions.
OTHER_NAMES = {
    "ln": "log(x) is the natural logarithm",
    "log2": "write log(x)/log(2)",
    "ceiling": "write ceil(x)",
    "round": "write floor(x + 0.5)",
    "power": "write pow(x, y) or x^y",
    "cot": "write 1/tan(x)",
    "sinh": "write (exp(x) - exp(-x))/2",
    "cosh": "write (exp(x) + exp(-x))/2",
    "mm": "write v*x/(K + x)",
    "mmr": "write v*K/(K + x)",
    "ifelse": "write if(condition, a, b)",
    "heaviside": "write if(x >= 0, 1, 0)",
    "propensity": "write => instead of ->, then the rate is the whole propensity",
}


def parse_network(text: str, source: str = "<text>") -> Network:
    """Read a network from text.

    Parameters
    ----------
    text : str
        Statements, one per line.
    source : str, optional
        What messages call the text: a file name.

    Returns
    -------
    Network
        The network.

    Raises
    ------
    ParseError
        If the text is not a network; it says where and what to write instead.
    """
    if not isinstance(text, str):
        raise TypeError(
            f"the text of a network must be a string, not {type(text).__name__}; "
            "to read a file, call Network.read(path)"
        )
    return _Reader(text, source).network()


def read_network(path: str | os.PathLike[str]) -> Network:
    """Read a network from a UTF-8 file.

    Parameters
    ----------
    path : str or path
        The file.

    Returns
    -------
    Network
        The network.

    Raises
    ------
    ParseError
        If the file does not hold a network in text.
    OSError
        If the file cannot be read.
    """
    source = os.fspath(path)
    with Path(path).open("rb") as file:
        content = file.read(4 * MAX_TEXT + 1)  # a character takes at most four bytes
    if len(content) > 4 * MAX_TEXT:
        raise ParseError(f"the file is larger than {4 * MAX_TEXT:,} bytes", source, 1, 1, "")
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError as error:
        before = content[: error.start]
        line = before.count(b"\n") + 1
        shown_part = content[before.rfind(b"\n") + 1 :][:200].decode("utf-8", "replace")
        column = len(before[before.rfind(b"\n") + 1 :].decode("utf-8", "replace")) + 1
        message = f"the byte 0x{content[error.start]:02x} is not UTF-8; save the file as UTF-8 text"
        raise ParseError(message, source, line, column, shown_part.partition("\n")[0]) from error
    return parse_network(text, source)


def parse_expression(text: str) -> Expression:
    """Read one expression from text, for example ``"X >= 80 and t > 10"``.

    Parameters
    ----------
    text : str
        One line. Which names it may use is not checked here.

    Returns
    -------
    Expression
        The tree.

    Raises
    ------
    ParseError
        If the text is not an expression; it says where and what to write instead.
    """
    if not isinstance(text, str):
        raise TypeError(f"the text of an expression must be a string, not {type(text).__name__}")
    stripped = text.strip("\r\n")
    line = _Line("<expression>", 1, stripped)
    if len(stripped) > MAX_LINE:
        line.refuse(f"an expression may have at most {MAX_LINE:,} characters", 0)
    line.start(stripped.partition("#")[0], is_reaction=False)
    expression = line.expression({})
    if line.token.kind != "end":
        line.refuse(f"{shown(line.token.text)} cannot follow a complete expression")
    return expression


# ---- One line ---------------------------------------------------------------------------------


class _Pending(NamedTuple):
    """An operator or bracket whose last argument has not been read yet."""

    text: str  # operator, "neg", "not", "(" or the name of a function
    binding: int  # 0 for brackets, which only their end closes
    token: Token
    n_operands: int  # how many operands there were before those of a function
    is_deeper: bool  # whether what follows is one level deeper


class _Line:
    """The tokens of one line, and where reading has got to."""

    def __init__(self, source: str, number: int, text: str) -> None:
        self.source = source
        self.number = number
        self.text = text
        self.tokens: list[Token] = []
        self.place = 0
        self.coming: Iterator[Token] = iter(())

    def start(self, statement: str, *, is_reaction: bool) -> None:
        """Begin to read a statement: the line without its comment."""
        self.coming = split_line(statement, self.refuse, is_reaction=is_reaction)

    def refuse(self, message: str, column: int | None = None) -> NoReturn:
        """Raise an error that points at a column (from 0), or at the next token."""
        if column is None:
            column = self.token.start
        raise ParseError(message, self.source, self.number, column + 1, self.text)

    @property
    def token(self) -> Token:
        """The token to be read next; the two behind it are in `tokens` as well."""
        # In parts, so that a mistake at the start of a very long line is found at once.
        if self.place + 3 > len(self.tokens):
            self.tokens.extend(islice(self.coming, 100))
        return self.tokens[self.place]

    def take(self) -> Token:
        """Return the next token and go on to the one behind it."""
        token = self.token
        self.place += 1
        return token

    def name(self, what: str) -> tuple[str, Token]:
        """Read a name that is being declared."""
        token = self.token
        if token.kind != "name":
            found = shown(token.text) if token.kind != "end" else "the line ends"
            self.refuse(
                f"a name is missing: {what}, but here {found} stands"
                if token.text
                else f"a name is missing: {what}"
            )
        problem = name_problem(token.text)
        if problem:
            self.refuse(f"the name {shown(token.text)} {problem}")
        self.place += 1
        return normal_name(token.text), token

    # -- Expressions
    #
    # Operators wait on a stack until their arguments are complete (Dijkstra's shunting yard), so
    # the depth of the text never becomes a depth of Python calls.

    def expression(self, words: dict[str, int], *, in_list: bool = False) -> Expression:
        """Read an expression up to something that cannot belong to it.

        `words` receives the column of the first occurrence of each name. With `in_list` the
        messages remember that a comma could have followed.
        """
        return _ExpressionReader(self, words, in_list=in_list).read()


class _ExpressionReader:
    """Reads one expression from a line."""

    def __init__(self, line: _Line, words: dict[str, int], *, in_list: bool) -> None:
        self.line = line
        self.words = words
        self.in_list = in_list
        self.operands: list[Expression] = []
        self.pending: list[_Pending] = []
        self.depth = 0
        self.last_comparison: Expression | None = None  # without brackets around it

    def read(self) -> Expression:
        line = self.line
        while True:
            self.read_operand()
            # Behind an operand: closing brackets, then an operator, a comma or the end.
            while line.token.text == ")":
                self.close_bracket()
            token = line.token
            binding = BINDING.get(token.text)
            if binding is not None:
                self.add_operator(token, binding)
            elif token.text == "," and self.innermost_bracket() is not None:
                self.next_argument()
            else:
                self.finish(token)
                return self.operands[0]

    # -- What an operand can begin with

    def read_operand(self) -> None:
        """Read signs and opening brackets up to and including a number or a name."""
        line = self.line
        while True:
            token = line.token
            if token.kind == "number":
                self.operands.append(Number(self.number(token)))
                line.place += 1
                return
            if token.text == "-":
                following = line.tokens[line.place + 1]
                is_base = following.kind == "number" and line.tokens[line.place + 2].text in (
                    "^",
                    "**",
                )
                if following.kind == "number" and not is_base:
                    self.operands.append(Number(-self.number(following)))
                    line.place += 2
                    return
                self.push("neg", SIGN, token)
            elif token.text == "+":
                line.place += 1
                if line.token.text == "+":
                    line.refuse("one + too many")
            elif token.text == "(":
                self.push("(", 0, token)
            elif token.text == "not":
                self.check_not(token)
                self.push("not", NOT, token)
            elif token.kind == "name" and token.text not in ("and", "or"):
                if not self.read_name(token):
                    return
            else:
                self.refuse_operand(token)

    def number(self, token: Token) -> float:
        value = float(token.text)
        if math.isinf(value):
            self.line.refuse(
                f"the number {shown(token.text)} is too large for a double (1.8e308)", token.start
            )
        if value == 0.0 and token.text.lower().partition("e")[0].strip("0."):
            self.line.refuse(
                f"the number {shown(token.text)} is too small for a double (4.9e-324); write 0",
                token.start,
            )
        return value

    def read_name(self, token: Token) -> bool:
        """Read a name; return whether it is a function, so that an operand must follow."""
        line, name = self.line, normal_name(token.text)
        following = line.tokens[line.place + 1]
        if name in FUNCTIONS:
            if following.text != "(":
                line.refuse(f"{name} is a function; write {FUNCTIONS[name].signature}")
            line.place += 1
            self.push(name, 0, token)
            if line.token.text == ")":
                self.refuse_arguments(name, token, 0)
            return True
        if following.text == "(":
            self.refuse_function(name)
        if name != "t":
            problem = name_problem(token.text)
            if problem:
                line.refuse(f"the name {shown(token.text)} {problem}")
        self.words.setdefault(name, token.start)
        self.operands.append(Symbol(name))
        line.place += 1
        return False

    def push(self, text: str, binding: int, token: Token, *, is_deeper: bool = True) -> None:
        self.pending.append(_Pending(text, binding, token, len(self.operands), is_deeper))
        self.depth += is_deeper
        if self.depth > MAX_NESTING:
            self.line.refuse(
                f"brackets, signs and exponents nest more than {MAX_NESTING} levels deep here; "
                "name a part of the expression with observe",
                token.start,
            )
        self.line.place += 1

    def check_not(self, token: Token) -> None:
        if self.pending and self.pending[-1].binding > NOT:
            self.line.refuse(
                f"not binds more loosely than {shown(self.pending[-1].token.text)}; "
                "put it in brackets: (not ...)",
                token.start,
            )

    # -- What can follow an operand

    def add_operator(self, token: Token, binding: int) -> None:
        is_power = binding == POWER
        # A power groups to the right, so it leaves a waiting power alone; the others do not.
        self.apply_down_to(binding + is_power)
        if binding == COMPARISON and self.operands[-1] is self.last_comparison:
            self.line.refuse(
                "comparisons do not chain; write 0 < x < 5 as 0 < x and x < 5", token.start
            )
        text = "^" if is_power else token.text
        self.push(text, binding, token, is_deeper=is_power)

    def apply_down_to(self, binding: int) -> None:
        """Apply the operators that wait and bind at least this tightly."""
        while self.pending and self.pending[-1].binding >= binding:
            self.apply(self.pending.pop())

    def apply(self, pending: _Pending) -> None:
        self.depth -= pending.is_deeper
        n_arguments = 1 if pending.text in ("neg", "not") else 2
        arguments = self.operands[-n_arguments:]
        del self.operands[-n_arguments:]
        self.check_size(arguments, 1, pending.token)
        call = Call(pending.text, arguments)
        self.operands.append(call)
        if pending.binding == COMPARISON:
            self.last_comparison = call

    def check_size(self, arguments: list[Expression], n_calls: int, token: Token) -> None:
        if n_calls + sum(argument.n_nodes for argument in arguments) > MAX_NODES:
            self.line.refuse(
                f"the expression has more than {MAX_NODES:,} numbers, names and operations",
                token.start,
            )

    def innermost_bracket(self) -> _Pending | None:
        return next((entry for entry in reversed(self.pending) if not entry.binding), None)

    def next_argument(self) -> None:
        self.apply_down_to(1)
        bracket = self.pending[-1]
        if bracket.text == "(":
            self.line.refuse(
                "a comma separates the arguments of a function, but this bracket belongs to none; "
                "the two rates of <-> are written without brackets: @ forward, reverse"
            )
        self.line.place += 1

    def close_bracket(self) -> None:
        line = self.line
        self.apply_down_to(1)
        if not self.pending:
            line.refuse("this bracket was never opened; remove it, or add a ( before")
        bracket = self.pending.pop()
        self.depth -= bracket.is_deeper
        line.place += 1
        self.last_comparison = None
        if bracket.text == "(":
            return
        arguments = self.operands[bracket.n_operands :]
        del self.operands[bracket.n_operands :]
        function, n_arguments = FUNCTIONS[bracket.text], len(arguments)
        is_odd = n_arguments % 2 == 1
        if (
            n_arguments < function.fewest
            or (function.most is not None and n_arguments > function.most)
            or (bracket.text == "piecewise" and not is_odd)
        ):
            self.refuse_arguments(bracket.text, bracket.token, n_arguments)
        n_calls = {"min": n_arguments - 1, "max": n_arguments - 1, "piecewise": n_arguments // 2}
        self.check_size(arguments, n_calls.get(bracket.text, 1), bracket.token)
        self.operands.append(function.build(*arguments))

    def finish(self, token: Token) -> None:
        bracket = self.innermost_bracket()
        if token.kind in ("name", "number") or token.text == "(":
            self.refuse_juxtaposition(token)
        if token.text == "=":
            self.line.refuse("= declares a name; to compare, write ==")
        if bracket is not None:
            if token.kind == "end":
                self.line.refuse(
                    "this bracket is never closed; add a )", self.bracket_column(bracket)
                )
            self.line.refuse(
                f"{shown(token.text)} stands inside brackets that are still open; add a ) before it"
            )
        self.apply_down_to(1)

    # -- Messages

    def bracket_column(self, bracket: _Pending) -> int:
        """Return where the bracket itself stands (a function's token is its name)."""
        place = self.line.text.find("(", bracket.token.start)
        return max(place, bracket.token.start)

    def refuse_operand(self, token: Token) -> NoReturn:
        line = self.line
        before = line.tokens[line.place - 1] if line.place else None
        if token.kind == "end":
            if before is None:
                line.refuse("an expression is missing here")
            line.refuse(f"a value is missing after {shown(before.text)}, at the end of the line")
        if token.text == ")" and before is not None and before.text == "(":
            line.refuse("these brackets are empty; write a value between them")
        if token.text == "=":
            line.refuse("a value is missing before =; to compare, write a == b")
        if token.text in BINDING or token.text in ("and", "or", ")", ","):
            line.refuse(f"a value is missing before {shown(token.text)}")
        line.refuse(f"{shown(token.text)} stands where a number, a name or ( should")

    def refuse_function(self, name: str) -> NoReturn:
        hint = did_you_mean(name, FUNCTIONS)
        if name.lower() in OTHER_NAMES:
            hint = f"; {OTHER_NAMES[name.lower()]}"
        self.line.refuse(
            f"there is no function {shown(name)}{hint or '; to multiply, write a * before the ('}"
            f"{' ' if hint.endswith('?') else '; '}(functions: {', '.join(FUNCTIONS)})"
        )

    def refuse_arguments(self, name: str, token: Token, n_arguments: int) -> NoReturn:
        hint = ""
        if name in ("hill", "hillr") and n_arguments == 4:
            hint = f"; multiply with the maximal rate yourself: v*{name}(x, K, n)"
        if name == "piecewise" and n_arguments % 2 == 0:
            hint = "; the last value, for when no condition holds, is missing"
        self.line.refuse(
            f"{name} cannot take {n_arguments} argument{'s' * (n_arguments != 1)}; "
            f"write {FUNCTIONS[name].signature}{hint}",
            token.start,
        )

    def refuse_juxtaposition(self, token: Token) -> NoReturn:
        before = self.line.tokens[self.line.place - 1]
        if before.kind == token.kind == "number" and before.end == token.start:
            text = before.text + token.text
            self.line.refuse(f"{shown(text)} is not a number", before.start)
        if token.text == "not":
            self.line.refuse("and or or is missing before not")
        if token.text == "if":
            self.line.refuse("a choice is written if(condition, a, b)")
        if token.kind == "name" and token.text[0] == "_" and before.kind == "number":
            self.line.refuse("the digits of a number are written without _")
        comma = " or a comma" if self.in_list else ""
        self.line.refuse(
            f"an operator{comma} is missing before {shown(token.text)}; a product is written with *"
        )


# ---- The whole text ---------------------------------------------------------------------------


class _Place(NamedTuple):
    """Where a declaration or a reaction stands, for errors found later."""

    line: _Line
    name: int  # column of its name, or where it starts
    value: int  # column of its expression
    words: dict[str, int]  # column of each name it uses


class _Reader:
    """Reads the lines of a text and collects what they declare."""

    def __init__(self, text: str, source: str) -> None:
        self.source = source
        if len(text) > MAX_TEXT:
            message = f"the text has {len(text):,} characters; at most {MAX_TEXT:,} are allowed"
            raise ParseError(message, source, 1, 1, text[:100].partition("\n")[0])
        text = text.removeprefix("\ufeff")  # the mark that some editors put before UTF-8
        self.lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
        self.species: list[Species] = []
        self.parameters: list[Parameter] = []
        self.observables: list[Observable] = []
        self.reactions: list[Reaction] = []
        self.places: dict[str, list[_Place]] = {
            "species": [],
            "parameter": [],
            "observable": [],
            "reaction": [],
        }

    def network(self) -> Network:
        if len(self.lines) == 1 and _FILE_NAME.fullmatch(self.lines[0]):
            message = "this looks like the name of a file; to read a file, call Network.read(path)"
            raise ParseError(message, self.source, 1, 1, self.lines[0])
        for number, text in enumerate(self.lines, start=1):
            statement = text.partition("#")[0]
            if statement and not statement.isspace():
                self.read_line(_Line(self.source, number, text), statement)
        problem = find_problem(self.species, self.reactions, self.parameters, self.observables)
        if problem is not None:
            self.refuse_problem(problem)
        return Network.from_checked(
            tuple(self.species),
            tuple(self.reactions),
            tuple(self.parameters),
            tuple(self.observables),
        )

    def refuse_problem(self, problem: Problem) -> NoReturn:
        if not problem.kind:
            message = f"{problem.message}: write for example species S = 100"
            if not any(self.places.values()):
                message = f"the text is empty; {message}"
            last = self.lines[-1] if self.lines[-1] else ""
            raise ParseError(message, self.source, len(self.lines), 1, last)
        place = self.places[problem.kind][problem.position]
        message = problem.message
        column = place.words.get(problem.word, place.value)
        if problem.see is not None:
            other = self.places[problem.see[0]][problem.see[1]]
            if problem.is_repeated:
                # Declarations are collected by kind, but a reader goes from top to bottom.
                if (other.line.number, other.name) > (place.line.number, place.name):
                    place, other = other, place
                column = place.name
            already = "already " * problem.is_repeated
            message += f" ({shown(problem.word)} is {already}declared on line {other.line.number})"
        place.line.refuse(message, column)

    def read_line(self, line: _Line, statement: str) -> None:
        if len(line.text) > MAX_LINE:
            line.refuse(f"the line has more than {MAX_LINE:,} characters; split it", 0)
        first = _FIRST_WORD.match(statement)
        keyword = first.group(1) if first else ""
        kind = KEYWORDS.get(keyword)
        line.start(statement, is_reaction=kind is None)
        if kind is None:
            self.read_reaction(line)
        else:
            line.take()
            self.read_declarations(line, keyword, kind)

    # -- species, param, observe

    def read_declarations(self, line: _Line, keyword: str, kind: str) -> None:
        example = _EXAMPLES[keyword]
        while True:
            name, token = line.name(f"write for example {example}")
            words: dict[str, int] = {}
            expression: Expression | None = None
            value = token.start
            if line.token.text == "=":
                line.place += 1
                value = line.token.start
                if line.token.kind == "end" or line.token.text == ",":
                    line.refuse(f"the value of {name!r} is missing after =")
                expression = line.expression(words, in_list=True)
            elif line.token.text not in ("", ","):
                self.refuse_after_name(line, keyword, name)
            elif keyword != "species":
                line.refuse(f"the {kind} {name!r} needs a value: {example}")
            self.declare(line, kind, name, expression, value)
            self.places[kind].append(_Place(line, token.start, value, words))
            if line.token.kind == "end":
                return
            if line.token.text != ",":
                line.refuse(f"{shown(line.token.text)} cannot stand here; {example}")
            line.place += 1

    def declare(
        self, line: _Line, kind: str, name: str, expression: Expression | None, column: int
    ) -> None:
        if kind == "species":
            if isinstance(expression, Number):
                problem = initial_problem(expression.value)
                if problem:
                    line.refuse(f"species {name!r} {problem}", column)
            self.species.append(Species(name, 0 if expression is None else expression))
        elif expression is not None and kind == "parameter":
            self.parameters.append(Parameter(name, expression))
        elif expression is not None:
            self.observables.append(Observable(name, expression))

    def refuse_after_name(self, line: _Line, keyword: str, name: str) -> NoReturn:
        token = line.token
        if token.text in ("==", ":"):
            line.refuse(f"write = to give {name!r} its value: {_EXAMPLES[keyword]}")
        if token.kind in ("name", "number"):
            line.refuse(
                f"a comma or = is missing between {shown(name)} and {shown(token.text)}: "
                f"{_EXAMPLES[keyword]}"
            )
        line.refuse(f"{shown(token.text)} cannot follow the name {name!r}: {_EXAMPLES[keyword]}")

    # -- Reactions

    def read_reaction(self, line: _Line) -> None:
        name, start, words = "", line.token.start, dict[str, int]()
        if line.tokens[1].text == ":":
            name, _ = line.name("a reaction is named before the colon, as in bind: S + E -> ES @ k")
            line.place += 1
        elif line.tokens[1].text == "=" or line.tokens[1].text == "==":
            self.refuse_bare_declaration(line)
        reactants = self.read_side(line, words)
        arrow = line.take()
        if arrow.kind != "arrow":
            line.place -= 1
            self.refuse_missing_arrow(line)
        products = self.read_side(line, words)
        self.check_rate_follows(line, arrow)
        line.place += 1
        value = line.token.start
        rates = self.read_rates(line, arrow, words)
        kind: Kind = "propensity" if arrow.text == "=>" else "mass_action"
        pairs = [(reactants, products, name)]
        if arrow.text == "<->":
            reverse_name = f"{name}_reverse" if name else ""
            if len(reverse_name) > MAX_NAME_LENGTH:
                line.refuse(f"the name {shown(name)} is too long for a reversible reaction", start)
            pairs.append((products, reactants, reverse_name))
        for (left, right, own_name), rate in zip(pairs, rates, strict=True):
            self.reactions.append(Reaction(left, right, rate, kind=kind, name=own_name))
            self.places["reaction"].append(_Place(line, start, value, words))

    def read_side(self, line: _Line, words: dict[str, int]) -> tuple[tuple[str, int], ...]:
        """Read one side of a reaction as (species name, count)."""
        following = line.tokens[line.place + 1] if line.token.kind != "end" else line.token
        is_zero = line.token.kind == "number" and not line.token.text.strip("0")
        if line.token.text == "∅" or (
            is_zero and following.kind != "name" and following.text != "*"
        ):
            line.place += 1
            if line.token.text == "+":
                line.refuse(f"{line.tokens[line.place - 1].text} means nothing, and stands alone")
            return ()
        counts: dict[str, int] = {}
        while True:
            count = self.read_coefficient(line)
            token = line.token
            if token.kind != "name":
                self.refuse_term(line)
            problem = name_problem(token.text)
            if problem:
                hint = " (a species cannot have a reserved name)" if token.text in RESERVED else ""
                line.refuse(f"the name {shown(token.text)} {problem}{hint}")
            name = normal_name(token.text)
            line.place += 1
            words.setdefault(name, token.start)
            counts[name] = counts.get(name, 0) + count
            if counts[name] > MAX_COEFFICIENT:
                line.refuse(
                    f"the coefficient of {name!r} is above {MAX_COEFFICIENT:,}", token.start
                )
            if line.token.text != "+":
                return tuple(counts.items())
            if line.place > MAX_SIDE:
                line.refuse("this side of a reaction has far too many terms")
            line.place += 1

    def read_coefficient(self, line: _Line) -> int:
        token = line.token
        if token.kind != "number":
            return 1
        line.place += 1
        if line.token.text == "*":
            line.place += 1
        elif line.token.kind != "name":
            line.refuse(
                f"the coefficient {shown(token.text)} has no species; write for example "
                "2 P -> 0 @ k",
                token.start,
            )
        if not token.text.isdigit():
            line.refuse(
                f"the coefficient {shown(token.text)} is not a whole number; molecules react whole",
                token.start,
            )
        digits = token.text.lstrip("0")
        if not digits:
            line.refuse("a coefficient of 0 has no effect; remove the term", token.start)
        return int(digits) if len(digits) < 12 else MAX_COEFFICIENT + 1

    def check_rate_follows(self, line: _Line, arrow: Token) -> None:
        token = line.token
        if token.text == "@":
            return
        example = "@ forward, reverse" if arrow.text == "<->" else "@ k"
        if token.kind == "end":
            line.refuse(f"the rate is missing; write it after the products: {example}")
        if token.kind == "arrow":
            line.refuse("a reaction has one arrow; write each step on a line of its own")
        if token.text == ",":
            line.refuse(f"the rate follows an @ instead of a comma: {example}")
        self.refuse_term(line)

    def read_rates(self, line: _Line, arrow: Token, words: dict[str, int]) -> list[Expression]:
        if line.token.kind == "end":
            line.refuse("the rate is missing after @")
        rates = []
        while True:
            rates.append(line.expression(words))
            if line.token.text != ",":
                break
            comma = line.take()
            if arrow.text != "<->":
                line.refuse(
                    f"a reaction with {arrow.text} has one rate; a reversible one is written <->",
                    comma.start,
                )
            if len(rates) == 2:
                line.refuse("a reaction with <-> has two rates, forward and reverse", comma.start)
        if line.token.text == "@":
            line.refuse("a second @; there is one, before the rate")
        if line.token.kind != "end":
            line.refuse(f"{shown(line.token.text)} cannot follow a complete rate")
        if arrow.text == "<->" and len(rates) == 1:
            line.refuse(
                "a reversible reaction needs two rates: @ forward, reverse. An irreversible one is "
                "written ->"
            )
        return rates

    def refuse_bare_declaration(self, line: _Line) -> NoReturn:
        name = line.token.text
        word = shown(name)[1:-1]
        line.refuse(
            f"to declare {shown(name)}, begin the line with what it is: param {word} = ... "
            f"(a number), species {word} = ... (an initial count) or observe {word} = ... "
            "(an expression of species)"
        )

    def refuse_missing_arrow(self, line: _Line) -> NoReturn:
        if line.token.kind == "end" or line.token.text == "@":
            first = line.tokens[0]
            hint = did_you_mean(first.text, KEYWORDS) if first.kind == "name" else ""
            line.refuse(
                "this is neither a declaration (species, param, observe) nor a reaction, which has "
                f"an arrow: -> (mass action), => (propensity) or <-> (reversible){hint}"
            )
        self.refuse_term(line)

    def refuse_term(self, line: _Line) -> NoReturn:
        """Refuse what stands where a side of a reaction should begin or go on."""
        token = line.token
        before = line.tokens[line.place - 1] if line.place else None
        follows_term = before is not None and before.kind == "name"
        if token.kind == "name" and before is not None:
            hint = did_you_mean(before.text, KEYWORDS) if line.place == 1 else ""
            if line.place == 1 and before.text.lower() in _FOREIGN_KEYWORDS:
                hint = f"; {_FOREIGN_KEYWORDS[before.text.lower()]}"
            if line.place > 1 and line.tokens[line.place - 2].end == before.start:
                hint = "; a coefficient is written with digits alone, such as 1000 S"
            line.refuse(
                f"a + is missing between {shown(before.text)} and {shown(token.text)}{hint}"
            )
        if token.text == "-" and line.tokens[line.place + 1].text == ">":
            line.refuse("an arrow is written -> without a space")
        if token.text == "-":
            line.refuse("a side of a reaction is a sum of species; it has no minus")
        if token.text == "*" and follows_term:
            line.refuse("a coefficient stands before its species: 2*P or 2 P")
        if token.text == "^":
            line.refuse("a side of a reaction has no powers; two molecules of P are 2 P")
        if token.kind == "number" and follows_term:
            line.refuse("a coefficient stands before its species: 2 P")
        if token.text in ("(", ")"):
            line.refuse("a side of a reaction is a sum such as 2 P + Q, without brackets")
        if token.text == "=":
            line.refuse("= declares names, after species, param or observe; an arrow is written ->")
        if token.text in ("", "@") or token.kind == "arrow":
            if before is not None and before.text == "+":
                line.refuse("a species is missing after +")
            line.refuse("a side of the reaction is missing; nothing is written 0")
        line.refuse(
            f"{shown(token.text)} cannot stand in a side of a reaction, which is a sum such as "
            "2 P + Q, or 0"
        )


_FIRST_WORD = re.compile(r"[^\S\r\n]*([^\W\d]\w*)")

_FILE_NAME = re.compile(r"\S*\.[A-Za-z]{1,8}")

_EXAMPLES = {
    "species": "species S = 100, E",
    "param": "param k = 0.1, K = 40",
    "observe": "observe total = S + E",
}

_FOREIGN_KEYWORDS = {
    "const": "a constant is declared with param",
    "let": "a constant is declared with param",
    "parameter": "parameters are declared with param",
    "parameters": "parameters are declared with param",
    "params": "parameters are declared with param",
    "var": "declare with param, species or observe",
    "observable": "observables are declared with observe",
    "observables": "observables are declared with observe",
    "specie": "species are declared with species",
    "reaction": "a reaction needs no keyword: S -> P @ k",
    "reactions": "a reaction needs no keyword: S -> P @ k",
    "model": "a text is one model; it needs no header",
    "init": "initial counts stand in the species line: species S = 100",
}
