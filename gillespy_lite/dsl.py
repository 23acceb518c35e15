"""The language: text to networks and expressions.

A text is read line by line, and a line from left to right. Nothing is evaluated while it is read,
and nothing that was typed ever reaches Python's `eval` or `exec`: a line becomes tokens, tokens
become an expression tree, and the tree has a fixed list of functions.

Grammar, where ``...`` means "and so on" and ``[ ]`` that something may be left out::

    line        [statement] [# comment]
    statement   species name [= expression], ...
                param name = expression, ...
                observe name = expression, ...
                variable name [= expression], ...
                name ' = expression
                [name:] side -> side @ expression [delay]
                [name:] side => side @ expression [delay] [unlimited]
                [name:] side <-> side @ expression, expression
                [name:] when expression [, clause] ...: name = expression, ...
                compartment name: name, [name], ...
    side        0 | ∅ | [coefficient [*]] name + ...
    coefficient number | (expression)
    delay       delay expression | delay law(expression, ...), [consuming on completion]
    law         uniform | normal | gamma | exponential
    clause      after expression | priority expression | not persistent
                initially true | values at trigger
    expression  or, and, not, < <= > >= == !=, + -, * /, sign, ^ (loosest first); name, number,
                function(expression, ...), (expression)

The prime of a rule, as in ``X' = -X``, may be ′ as well and may have blanks around it. ``^`` and
``**`` are the same, group to the right and bind before a sign: ``-x^2`` is ``-(x^2)``. ``at`` is
the same as ``when``. The words of events, delays and compartments are not reserved: a name may be
spelled like them. ``nan`` and ``inf`` may stand alone as the value of a parameter or a variable,
for a value that is not known yet.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple, NoReturn

from .dsl_events import (
    COMPARTMENT_START,
    EVENT_START,
    MODIFIER_WORDS,
    Contents,
    Parts,
    advice_for_event,
    read_contents,
    read_event,
    read_modifiers,
)
from .dsl_expressions import MAX_LINE, Line, parse_expression
from .dsl_lexer import Token
from .errors import ParseError
from .garbage import collection_paused
from .network import (
    MAX_COEFFICIENT,
    Compartment,
    Event,
    Kind,
    Network,
    Observable,
    Parameter,
    Problem,
    Reaction,
    Rule,
    Species,
    Variable,
    find_problem,
    initial_problem,
)
from .rate_laws import (
    MAX_NAME_LENGTH,
    MAX_NODES,
    RESERVED,
    Call,
    Expression,
    Number,
    Symbol,
    did_you_mean,
    name_problem,
    normal_name,
    shown,
)

__all__ = ["MAX_LINE", "parse_expression", "parse_network", "read_network"]

MAX_TEXT = 16_000_000  # characters
MAX_SIDE = 100_000  # words, numbers and signs of one side of a reaction

Coefficient = int | float | Expression

KEYWORDS = {
    "species": "species",
    "param": "parameter",
    "observe": "observable",
    "variable": "variable",
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
    with collection_paused():
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


class _Place(NamedTuple):
    """Where a declaration or a reaction stands, for errors found later."""

    line: Line
    name: int  # column of its name, or where it starts
    value: int  # column of its expression
    words: Mapping[str, int]  # column of each name it uses
    parts: Mapping[str, int] = {}  # column of other parts of it
    lines: Mapping[str, Line] = {}  # of those words that stand on another line


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
        self.variables: list[Variable] = []
        self.reactions: list[Reaction] = []
        self.rules: list[Rule] = []
        self.events: list[Event] = []
        self.compartments: dict[str, Contents] = {}
        self.unset: list[tuple[str, int, float]] = []  # kind, position and value
        self.places: dict[str, list[_Place]] = {
            kind: [] for kind in (*KEYWORDS.values(), "reaction", "rule", "event", "compartment")
        }

    def network(self) -> Network:
        if len(self.lines) == 1 and _FILE_NAME.fullmatch(self.lines[0]):
            message = "this looks like the name of a file; to read a file, call Network.read(path)"
            raise ParseError(message, self.source, 1, 1, self.lines[0])
        for number, text in enumerate(self.lines, start=1):
            statement = text.partition("#")[0]
            if statement and not statement.isspace():
                line = Line(self.source, number, text)
                self.read_line(line, statement)
                line.forget()
        self.set_unset()
        parts = (
            tuple(self.species),
            tuple(self.reactions),
            tuple(self.parameters),
            tuple(self.observables),
            tuple(self.variables),
            tuple(self.rules),
        )
        events = tuple(self.events)
        compartments = tuple(
            Compartment(one.size, one.contents, one.as_concentrations)
            for one in self.compartments.values()
        )
        problem = find_problem(*parts, events=events, compartments=compartments)
        if problem is not None:
            self.refuse_problem(problem)
        return Network.from_checked(*parts, events=events, compartments=compartments)

    def set_unset(self) -> None:
        """Put in the values nan and inf, which are names if the network declares them."""
        if not self.unset:
            return
        declared = {
            one.name
            for group in (self.species, self.parameters, self.observables, self.variables)
            for one in group
        }
        for kind, index, value in self.unset:
            if str(abs(value)) in declared:
                continue
            if kind == "parameter":
                self.parameters[index] = Parameter(self.parameters[index].name, value)
            else:
                self.variables[index] = Variable(self.variables[index].name, value)

    def refuse_problem(self, problem: Problem) -> NoReturn:
        if not problem.kind:
            message = f"{problem.message}: write for example species S = 100 or variable X = 1.5"
            if not any(self.places.values()):
                message = f"the text is empty; {message}"
            last = self.lines[-1] if self.lines[-1] else ""
            raise ParseError(message, self.source, len(self.lines), 1, last)
        place = self.places[problem.kind][problem.position]
        message = problem.message
        column = place.name if problem.at_name else place.words.get(problem.word, place.value)
        column = place.parts.get(problem.part, column)
        if problem.word in place.lines:
            place = place._replace(line=place.lines[problem.word])
        if problem.see is not None:
            other = self.places[problem.see[0]][problem.see[1]]
            if problem.is_repeated:
                # Declarations are collected by kind, but a reader goes from top to bottom.
                if (other.line.number, other.name) > (place.line.number, place.name):
                    place, other = other, place
                column = place.name
            already = "already " * problem.is_repeated
            said = f"{shown(problem.word)} is {already}declared"
            if problem.see[0] == "rule":
                said = "the other is"
            message += f" ({said} on line {other.line.number})"
        place.line.refuse(message, column)

    def read_line(self, line: Line, statement: str) -> None:
        if len(line.text) > MAX_LINE:
            line.refuse(f"the line has more than {MAX_LINE:,} characters; split it", 0)
        first = _FIRST_WORD.match(statement)
        keyword = first.group(1) if first else ""
        kind = KEYWORDS.get(keyword)
        if kind is not None:
            line.start(statement)
            line.take()
            self.read_declarations(line, keyword, kind)
            return
        start = len(statement) - len(statement.lstrip())
        rule = _RULE.match(statement, start)
        if rule is not None:
            self.read_rule(line, statement, rule)
        elif EVENT_START.match(statement, start):
            line.start(statement, "event")
            self.read_event(line)
        elif COMPARTMENT_START.match(statement, start):
            line.start(statement, "contents")
            self.read_compartment(line)
        else:
            line.start(statement, "reaction")
            self.read_reaction(line)

    # -- species, param, observe, variable

    def read_declarations(self, line: Line, keyword: str, kind: str) -> None:
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
            elif keyword not in ("species", "variable"):
                line.refuse(f"the {kind} {name!r} needs a value: {example}")
            self.declare(line, kind, name, expression, value)
            self.places[kind].append(_Place(line, token.start, value, words))
            if line.token.kind == "end":
                return
            if line.token.text != ",":
                line.refuse(f"{shown(line.token.text)} cannot stand here; {example}")
            line.place += 1

    def declare(
        self, line: Line, kind: str, name: str, expression: Expression | None, column: int
    ) -> None:
        if kind == "species":
            if isinstance(expression, Number):
                problem = initial_problem(expression.value)
                if problem:
                    line.refuse(f"species {name!r} {problem}", column)
            self.species.append(Species(name, 0 if expression is None else expression))
        elif kind == "variable":
            self.note_unset(kind, len(self.variables), expression)
            self.variables.append(Variable(name, 0.0 if expression is None else expression))
        elif expression is not None and kind == "parameter":
            self.note_unset(kind, len(self.parameters), expression)
            self.parameters.append(Parameter(name, expression))
        elif expression is not None:
            self.observables.append(Observable(name, expression))

    def note_unset(self, kind: str, index: int, expression: Expression | None) -> None:
        """Note that a value may be nan or infinite, if those words turn out to be no names."""
        sign = 1.0
        if isinstance(expression, Call) and expression.operation == "neg":
            sign, expression = -1.0, expression.arguments[0]
        value = _UNSET.get(expression.name) if isinstance(expression, Symbol) else None
        if value is not None and not (sign < 0.0 and math.isnan(value)):
            self.unset.append((kind, index, sign * value))

    def refuse_after_name(self, line: Line, keyword: str, name: str) -> NoReturn:
        token = line.token
        if token.text in ("==", ":"):
            line.refuse(f"write = to give {name!r} its value: {_EXAMPLES[keyword]}")
        if token.kind in ("name", "number"):
            line.refuse(
                f"a comma or = is missing between {shown(name)} and {shown(token.text)}: "
                f"{_EXAMPLES[keyword]}"
            )
        line.refuse(f"{shown(token.text)} cannot follow the name {name!r}: {_EXAMPLES[keyword]}")

    # -- Rules

    def read_rule(self, line: Line, statement: str, start: re.Match[str]) -> None:
        """Read ``X' = expression``; `start` is its part up to the prime."""
        written, behind = f"{shown(start.group(1))[1:-1]}'", start.end()
        following = statement[behind:].lstrip()
        column = len(statement) - len(following) if following else len(statement.rstrip())
        if following.startswith(_PRIMES):
            line.refuse(
                "a rule gives a first derivative; for a second one, make the first a variable too: "
                f"{written} = V and V' = ...",
                column,
            )
        if not following.startswith("=") or following.startswith(("==", "=>")):
            line.refuse(f"{written} begins the rule of a variable: {written} = expression", column)
        # Without its prime the line consists of the tokens of a declaration.
        line.start(f"{statement[: behind - 1]} {statement[behind:]}")
        name, token = line.name("a rule is written X' = expression")
        line.place += 1
        words: dict[str, int] = {}
        value = line.token.start
        if line.token.kind == "end":
            line.refuse(f"the expression is missing after {written} =")
        rate = line.expression(words)
        if line.token.text == ",":
            line.refuse("a line has one rule; write the next one on a line of its own")
        if line.token.text == "@":
            line.refuse(f"a rule has no @; the rate is all that follows {written} =")
        if line.token.kind != "end":
            line.refuse(f"{shown(line.token.text)} cannot follow a complete rule")
        self.rules.append(Rule(name, rate))
        self.places["rule"].append(_Place(line, token.start, value, words))

    # -- Events and compartments

    def read_event(self, line: Line) -> None:
        start, words, parts = line.token.start, dict[str, int](), Parts()
        self.events.append(read_event(line, words, parts))
        self.places["event"].append(_Place(line, start, parts["trigger"], words, parts))

    def read_compartment(self, line: Line) -> None:
        start = line.token.start
        n_before = len(self.compartments)
        size, column = read_contents(line, self.compartments)
        if len(self.compartments) > n_before:
            found = self.compartments[size]
            place = _Place(line, column, start, found.columns, {}, found.lines)
            self.places["compartment"].append(place)

    # -- Reactions

    def read_reaction(self, line: Line) -> None:
        name, start, words, parts = "", line.token.start, dict[str, int](), Parts()
        if line.tokens[1].text == ":":
            name, _ = line.name("a reaction is named before the colon, as in bind: S + E -> ES @ k")
            line.place += 1
        elif line.tokens[1].text == "=" or line.tokens[1].text == "==":
            self.refuse_bare_declaration(line)
        reactants = self.read_side(line, words, parts)
        arrow = line.take()
        if arrow.kind != "arrow":
            line.place -= 1
            self.refuse_missing_arrow(line)
        products = self.read_side(line, words, parts)
        self.check_rate_follows(line, arrow)
        line.place += 1
        value = line.token.start
        rates = self.read_rates(line, arrow, words)
        further = read_modifiers(line, arrow.text, words)
        if line.token.kind != "end":
            self.refuse_after_rate(line)
        parts.update(further.columns)
        kind: Kind = "propensity" if arrow.text == "=>" else "mass_action"
        pairs = [(reactants, products, name)]
        if arrow.text == "<->":
            reverse_name = f"{name}_reverse" if name else ""
            if len(reverse_name) > MAX_NAME_LENGTH:
                line.refuse(f"the name {shown(name)} is too long for a reversible reaction", start)
            pairs.append((products, reactants, reverse_name))
        for (left, right, own_name), rate in zip(pairs, rates, strict=True):
            self.reactions.append(
                Reaction(
                    left,
                    right,
                    rate,
                    kind=kind,
                    name=own_name,
                    delay=further.delay,
                    limited=further.limited,
                )
            )
            self.places["reaction"].append(_Place(line, start, value, words, parts))

    def read_side(
        self, line: Line, words: dict[str, int], parts: Parts
    ) -> tuple[tuple[str, Coefficient], ...]:
        """Read one side of a reaction as (name, coefficient)."""
        following = line.tokens[line.place + 1] if line.token.kind != "end" else line.token
        is_zero = line.token.kind == "number" and not line.token.text.strip("0")
        if line.token.text == "∅" or (
            is_zero and following.kind != "name" and following.text != "*"
        ):
            line.place += 1
            if line.token.text == "+":
                line.refuse(f"{line.tokens[line.place - 1].text} means nothing, and stands alone")
            return ()
        counts: dict[str, Coefficient] = {}
        while True:
            start = line.token.start
            count = self.read_coefficient(line, words)
            token = line.token
            if token.kind != "name":
                self.refuse_term(line)
            problem = name_problem(token.text)
            if problem:
                advice = advice_for_event(line.text)
                if advice:
                    line.refuse(advice)
                hint = " (a species cannot have a reserved name)" if token.text in RESERVED else ""
                line.refuse(f"the name {shown(token.text)} {problem}{hint}")
            name = normal_name(token.text)
            line.place += 1
            words.setdefault(name, token.start)
            if not isinstance(count, int):
                parts.setdefault(f"coefficient {name}", start)
            before = counts.get(name)
            if before is not None:
                if isinstance(before, Expression) and before.n_nodes > MAX_NODES // 2:
                    line.refuse(f"the coefficients of {name!r} add up to far too much", start)
                count = before + count
            counts[name] = count
            if not isinstance(count, Expression) and count > MAX_COEFFICIENT:
                line.refuse(
                    f"the coefficient of {name!r} is above {MAX_COEFFICIENT:,}", token.start
                )
            if line.token.text != "+":
                return tuple(counts.items())
            if line.place > MAX_SIDE:
                line.refuse("this side of a reaction has far too many terms")
            line.place += 1

    def read_coefficient(self, line: Line, words: dict[str, int]) -> Coefficient:
        token = line.token
        if token.text == "(":
            return self.read_computed_coefficient(line, words)
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
            value = float(token.text)
            if value > 0.0:
                return int(value) if value.is_integer() else value
        digits = token.text.lstrip("0")
        if not digits or not token.text.isdigit():
            line.refuse("a coefficient of 0 has no effect; remove the term", token.start)
        return int(digits) if len(digits) < 12 else MAX_COEFFICIENT + 1

    def read_computed_coefficient(self, line: Line, words: dict[str, int]) -> Coefficient:
        """Read a coefficient in brackets, which is any expression."""
        bracket = line.take()
        expression = line.expression(words, in_brackets=True)
        if line.token.text != ")":
            line.refuse("this bracket is never closed; add a )", bracket.start)
        line.place += 1
        line.place += line.token.text == "*"
        if line.token.kind != "name":
            line.refuse(
                "a side of a reaction is a sum such as 2 P + Q, without brackets but for the "
                "coefficient of a variable, as in (2*n) X",
                bracket.start,
            )
        if not isinstance(expression, Number):
            return expression
        value = expression.value
        if value <= 0.0:
            line.refuse(f"a coefficient is positive, not {expression}", bracket.start)
        return int(value) if value.is_integer() else value

    def check_rate_follows(self, line: Line, arrow: Token) -> None:
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

    def read_rates(self, line: Line, arrow: Token, words: dict[str, int]) -> list[Expression]:
        if line.token.kind == "end":
            line.refuse("the rate is missing after @")
        rates = []
        while True:
            rates.append(line.expression(words, stops=MODIFIER_WORDS))
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
        if line.token.kind != "end" and line.token.text not in MODIFIER_WORDS:
            self.refuse_after_rate(line)
        if arrow.text == "<->" and len(rates) == 1:
            line.refuse(
                "a reversible reaction needs two rates: @ forward, reverse. An irreversible one is "
                "written ->"
            )
        return rates

    def refuse_after_rate(self, line: Line) -> NoReturn:
        if line.token.text == "@":
            line.refuse("a second @; there is one, before the rate")
        line.refuse(f"{shown(line.token.text)} cannot follow a complete rate")

    def refuse_bare_declaration(self, line: Line) -> NoReturn:
        name = line.token.text
        word = shown(name)[1:-1]
        advice = advice_for_event(line.text, is_assignment=True)
        if advice:
            line.refuse(advice)
        line.refuse(
            f"to declare {shown(name)}, begin the line with what it is: param {word} = ... "
            f"(a number), species {word} = ... (an initial count), observe {word} = ... (an "
            f"expression of species) or variable {word} = ... (an initial value, whose time "
            f"derivative follows on a line {word}' = ...)"
        )

    def refuse_missing_arrow(self, line: Line) -> NoReturn:
        if line.token.kind == "end" or line.token.text == "@":
            first = line.tokens[0]
            hint = did_you_mean(first.text, KEYWORDS) if first.kind == "name" else ""
            line.refuse(
                "this is neither a declaration (species, param, observe, variable), nor a rule "
                "(X' = ...), nor a reaction, which has an arrow: -> (mass action), => (propensity) "
                f"or <-> (reversible){hint}"
            )
        self.refuse_term(line)

    def refuse_term(self, line: Line) -> NoReturn:
        """Refuse what stands where a side of a reaction should begin or go on."""
        token = line.token
        advice = advice_for_event(line.text)
        if advice:
            line.refuse(advice)
        derivative = _LEIBNIZ.match(line.text)
        if derivative is not None:
            name = shown(derivative.group(1))[1:-1]
            line.refuse(f"the time derivative of {name} is written {name}' = ...", 0)
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
            line.refuse(
                "= declares names, after species, param, observe or variable; an arrow is "
                "written ->"
            )
        if token.text in ("", "@") or token.kind == "arrow":
            if before is not None and before.text == "+":
                line.refuse("a species is missing after +")
            line.refuse("a side of the reaction is missing; nothing is written 0")
        line.refuse(
            f"{shown(token.text)} cannot stand in a side of a reaction, which is a sum such as "
            "2 P + Q, or 0"
        )


_PRIMES = ("'", "\u2032")

# A rule begins with a word and a prime. What is wrong with the word is found when it is read.
_RULE = re.compile(r"[^\S\r\n]*([^\W\d][^\s'\u2032\"=@+*<>(),:-]*)[^\S\r\n]*['\u2032]")

_LEIBNIZ = re.compile(r"\s*d\s*(\w+)\s*/\s*dt\b")

_FIRST_WORD = re.compile(r"[^\S\r\n]*([^\W\d]\w*)")

_UNSET = {"nan": math.nan, "inf": math.inf}  # values that a parameter may be said to have

_FILE_NAME = re.compile(r"\S*\.[A-Za-z]{1,8}")

_EXAMPLES = {
    "species": "species S = 100, E",
    "param": "param k = 0.1, K = 40",
    "observe": "observe total = S + E",
    "variable": "variable X = 1.5, Y",
}

_FOREIGN_KEYWORDS = {
    "const": "a constant is declared with param",
    "let": "a constant is declared with param",
    "parameter": "parameters are declared with param",
    "parameters": "parameters are declared with param",
    "params": "parameters are declared with param",
    "var": "declare with param, species, observe or variable",
    "variables": "variables are declared with variable",
    "observable": "observables are declared with observe",
    "observables": "observables are declared with observe",
    "specie": "species are declared with species",
    "reaction": "a reaction needs no keyword: S -> P @ k",
    "reactions": "a reaction needs no keyword: S -> P @ k",
    "model": "a text is one model; it needs no header",
    "init": "initial counts stand in the species line: species S = 100",
}
