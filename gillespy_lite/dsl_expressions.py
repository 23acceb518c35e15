"""Lines and expressions of the language: tokens to expression trees.

The grammar is in `dsl`. Nothing is evaluated while it is read.
"""

from __future__ import annotations

import math
from collections.abc import Container, Iterator
from itertools import islice
from typing import NamedTuple, NoReturn

from .dsl_lexer import Statement, Token, split_line
from .errors import ParseError
from .rate_laws import (
    AND,
    COMPARISON,
    FUNCTIONS,
    MAX_NESTING,
    MAX_NODES,
    NOT,
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
    name_problem,
    normal_name,
    shown,
)

__all__ = ["MAX_LINE", "Line", "parse_expression"]

MAX_LINE = 1_000_000  # characters

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
    line = Line("<expression>", 1, stripped)
    if len(stripped) > MAX_LINE:
        line.refuse(f"an expression may have at most {MAX_LINE:,} characters", 0)
    line.start(stripped.partition("#")[0])
    expression = line.expression({})
    if line.token.kind != "end":
        line.refuse(f"{shown(line.token.text)} cannot follow a complete expression")
    return expression


class _Pending(NamedTuple):
    """An operator or bracket whose last argument has not been read yet."""

    text: str  # operator, "neg", "not", "(" or the name of a function
    binding: int  # 0 for brackets, which only their end closes
    token: Token
    n_operands: int  # how many operands there were before those of a function
    is_deeper: bool  # whether what follows is one level deeper


class Line:
    """The tokens of one line, and where reading has got to."""

    def __init__(self, source: str, number: int, text: str) -> None:
        self.source = source
        self.number = number
        self.text = text
        self.tokens: list[Token] = []
        self.place = 0
        self.coming: Iterator[Token] = iter(())

    def start(self, statement: str, kind: Statement = "expression") -> None:
        """Begin to read a statement: the line without its comment."""
        self.coming = split_line(statement, self.refuse, kind)

    def forget(self) -> None:
        """Drop the tokens, once the line has been read; it can still be pointed at."""
        self.tokens, self.coming = [], iter(())

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

    def ahead(self, n: int) -> Token:
        """Return the token `n` behind the next one, at most 2, or the end."""
        assert self.token is not None  # and, by being looked at, the two behind it are there
        return self.tokens[min(self.place + n, len(self.tokens) - 1)]

    def take_words(self, *words: str) -> bool:
        """Go on behind these words if they come next; return whether they do."""
        found = all(self.ahead(n).text == word for n, word in enumerate(words))
        self.place += found * len(words)
        return found

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

    def expression(
        self,
        words: dict[str, int],
        *,
        in_list: bool = False,
        in_brackets: bool = False,
        stops: Container[str] = (),
    ) -> Expression:
        """Read an expression up to something that cannot belong to it.

        `words` receives the column of the first occurrence of each name. With `in_list` the
        messages remember that a comma could have followed. With `in_brackets` a closing bracket
        ends the expression, which the caller opened. `stops` are words and signs that end it
        where an operator could stand, so that names may be spelled like them.
        """
        reader = _ExpressionReader(self, words, in_list=in_list)
        reader.in_brackets, reader.stops = in_brackets, stops
        return reader.read()


class _ExpressionReader:
    """Reads one expression from a line."""

    def __init__(self, line: Line, words: dict[str, int], *, in_list: bool) -> None:
        self.line = line
        self.words = words
        self.in_list = in_list
        self.in_brackets = False
        self.stops: Container[str] = ()
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
                if self.in_brackets and self.innermost_bracket() is None:
                    break
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
        if bracket is None and self.stops:
            # Where = ends the expression, so does the name that it gives a value.
            is_assigned = "=" in self.stops and self.line.ahead(1).text == "="
            if token.text in self.stops or (token.kind == "name" and is_assigned):
                self.apply_down_to(1)
                return
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
            f"there is no function {shown(name)}{hint or '; to multiply, write a * before the ('} "
            f"(functions: {', '.join(FUNCTIONS)})"
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
