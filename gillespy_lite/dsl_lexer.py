"""Words, numbers and signs of the language, each with its place in the line."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterator
from typing import Literal, NamedTuple, NoReturn, TypeAlias

from .rate_laws import shown

__all__ = ["ARROWS", "Refuse", "Statement", "Token", "split_line"]


class Token(NamedTuple):
    """A word, a number or a sign."""

    kind: str  # "name", "number", "sign", "arrow" or "end"
    text: str  # as it was typed
    start: int  # index of its first character in the line
    end: int  # index behind its last character


# Raises the error that points at a column (from 0) of the line being read.
Refuse = Callable[[str, int], NoReturn]

ARROWS = ("->", "=>", "<->")

# What a line holds, as far as the meaning of its characters depends on it: the sides of a reaction
# up to an @; an event, where an arrow is a mistake of its own; the contents of a compartment, some
# in square brackets; expressions; or estimates with their tolerances, with % and +/-.
Statement: TypeAlias = Literal["reaction", "event", "contents", "expression", "targets"]

# Every blank of Unicode that stays on its line; the others would hide text from an editor.
_SPACES = " \t\u00a0\u1680" + "".join(map(chr, range(0x2000, 0x200B))) + "\u202f\u205f\u3000"
_SPACE = re.compile(f"[{_SPACES}]*")
_NAME = r"(?P<name>[^\W\d]\w*)"

# Behind @, and in declarations, numbers may have a fraction and an exponent, and < and - are signs.
_RATE = re.compile(
    rf"[{_SPACES}]*(?:"
    r"(?P<number>(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?)"
    rf"|{_NAME}"
    r"|(?P<sign>\*\*|==|!=|<=|>=|[-+*/^(),<>=@:]))"
)
# An event may assign to [S]. Elsewhere in it brackets are what other languages write.
_EVENT = re.compile(
    _RATE.pattern.removesuffix("))")
    + rf"|\[(?=[^\[\]=]*\][{_SPACES}]*=(?!=))|\](?=[{_SPACES}]*=(?!=))))"
)
# Before @, 2E+2S is 2 E + 2 S and not 200 S, so a number has no exponent, unless it is negative,
# which cannot mean anything else.
_SIDE = re.compile(
    rf"[{_SPACES}]*(?:"
    r"(?P<number>(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE]-[0-9]+)?)"
    rf"|{_NAME}"
    r"|(?P<arrow><->|->|=>)"
    r"|(?P<sign>[-+*/^(),<>=@:∅]))"
)
_TARGETS = re.compile(_RATE.pattern.replace(r"(?P<sign>", r"(?P<sign>\+/-|[±%]|"))
_CONTENTS = re.compile(rf"[{_SPACES}]*(?:(?P<number>[0-9.]+)|{_NAME}|(?P<sign>[],:=[]))")

# What people from other languages type, and what to type here. Longest first.
_FOREIGN = {
    "<-->": "a reversible reaction is written <->",
    "<==>": "a reversible reaction is written <->",
    "-->": "a reaction is written ->",
    "==>": "a reaction whose rate is the whole propensity is written =>",
    "<=>": "a reversible reaction is written <-> and has two rate constants; if its rates are "
    "whole propensities, write two lines with =>",
    "<--": "the arrow of a reaction points to the right: ->",
    "<-": "the arrow of a reaction points to the right: ->",
    "&&": "write and",
    "||": "write or",
    "<>": "write !=",
    "=<": "write <=",
    "=>": "write >= to compare",
    "->": "a reaction has one arrow, before its products; the rate comes last, after @",
    "//": "write floor(a/b) to divide without remainder, and # for a comment",
    "&": "write and",
    "|": "write or",
    "!": "write not",
    "~": "write not",
    "%": "the remainder of a/b is a - b*floor(a/b)",
    ";": "put each statement on a line of its own; the rate of a reaction follows @, the "
    "assignments of an event are separated by commas",
    "[": "use round brackets; a species is written by its name alone",
    "]": "use round brackets; a species is written by its name alone",
    "{": "use round brackets",
    "}": "use round brackets",
    '"': "names and expressions are written without quotes",
    "'": "names and expressions are written without quotes, and a derivative begins a line of "
    "its own, its rule: X' = ...",
    "\u2032": "a derivative begins a line of its own, its rule: X' = ...",
    "\u2019": "this is a typographic quote; the derivative in a rule is written X' = ...",
    "`": "names and expressions are written without quotes",
    "$": "there is no mark for constant species; write such a species on both sides, or use param",
    "\\": "a statement stands on one line, however long it is",
    "∅": "nothing is a side of a reaction; in an expression write 0",
    "→": "write ->",
    "⟶": "write ->",
    "⇒": "write =>",
    "⇌": "write <->",
    "↔": "write <->",
    "⇄": "write <->",
    "←": "the arrow of a reaction points to the right: ->",
    "\u2212": "this is a typographic minus; write -",
    "\u2013": "this is a dash; write -",
    "\u2014": "this is a long dash; write -",
    "\u00d7": "write *",
    "·": "write *",
    "⋅": "write *",
    "∙": "write *",
    "÷": "write /",
    "≤": "write <=",
    "≥": "write >=",
    "≠": "write !=",
    "√": "write sqrt(x)",
    "∞": "numbers are finite",
}
_PLACES = {
    "reaction": "a reaction",
    "event": "an event",
    "contents": "the contents of a compartment, which are names separated by commas",
    "expression": "an expression",
    "targets": "estimates and their tolerances",
}
_PATTERNS = {"contents": _CONTENTS, "event": _EVENT, "targets": _TARGETS}
_FOREIGN_PATTERN = re.compile("|".join(map(re.escape, _FOREIGN)))


def split_line(line: str, refuse: Refuse, statement: Statement) -> Iterator[Token]:
    """Split one line into tokens, as far as they are asked for.

    Parameters
    ----------
    line : str
        Without its comment.
    refuse : callable
        Called with a message and a column if something is not in the language.
    statement : Statement
        What the line holds.

    Yields
    ------
    Token
        Without spaces; the last one has the kind ``"end"``.
    """
    place, end_of_text = 0, len(line.rstrip(_SPACES))
    side = _SIDE if statement == "reaction" else None  # up to an @
    pattern = side or _PATTERNS.get(statement, _RATE)
    depth = 0  # of brackets around a coefficient, in a side
    while place < end_of_text:
        match = pattern.match(line, place)
        if match is None:
            start = _SPACE.match(line, place).end()  # type: ignore[union-attr]  # it always matches
            _refuse_character(line, start, refuse, statement, in_rate=pattern in (_RATE, _EVENT))
        kind = match.lastgroup or ""
        start, end = match.span(kind)
        text = line[start:end]
        if kind == "name":
            if end < end_of_text and line[end] > "\x7f":
                end = _name_end(line, end)
                text = line[start:end]
        elif kind == "sign":
            if text[0] in "-<=/":
                arrow = _arrow_in_expression(line, start, statement, depth)
                if arrow is not None:
                    kind, text, end = "arrow", arrow, start + len(arrow)
                    pattern, depth = side or pattern, 0
                else:
                    _check_sign(
                        line, start, end, refuse, statement, in_rate=pattern in (_RATE, _EVENT)
                    )
            elif text == "@":
                pattern, side = _RATE, None
            elif side is not None and text in "()":
                # A coefficient in brackets is an expression.
                depth = max(depth + (1 if text == "(" else -1), 0)
                pattern = _RATE if depth else side
        yield Token(kind, text, start, end)
        place = end
    yield Token("end", "", end_of_text, len(line))


def _arrow_in_expression(line: str, place: int, statement: Statement, depth: int) -> str | None:
    """Return an arrow where signs of comparison and subtraction stand, if it cannot be those."""
    if depth or statement == "event":
        foreign = _FOREIGN_PATTERN.match(line, place)
        if foreign and foreign.group() == "->":
            return "->"
        if depth and line.startswith(("<->", "=>"), place):
            return "<->" if line[place] == "<" else "=>"
    return None


def _check_sign(
    line: str, start: int, end: int, refuse: Refuse, statement: Statement, *, in_rate: bool
) -> None:
    """Refuse a sign that begins what other languages write."""
    foreign = _FOREIGN_PATTERN.match(line, start)
    # In a rate, x<-3 compares with -3.
    is_comparison = in_rate and foreign and foreign.group() in ("<-", "<--")
    if foreign and foreign.end() > end and not is_comparison:
        _refuse_character(line, start, refuse, statement, in_rate=in_rate)


def _name_end(line: str, end: int) -> int:
    """Return where a name really ends: accents may follow a letter as characters of their own."""
    while end < len(line) and (
        line[end].isalnum() or line[end] == "_" or unicodedata.category(line[end]) in ("Mn", "Mc")
    ):
        end += 1
    return end


def _refuse_character(
    line: str, place: int, refuse: Refuse, statement: Statement, *, in_rate: bool
) -> NoReturn:
    foreign = _FOREIGN_PATTERN.match(line, place)
    if foreign:
        text = foreign.group()
        refuse(f"{shown(text)} is not used here: {_FOREIGN[text]}", place)
    character = line[place]
    if character == ".":
        refuse("a stray '.': numbers are written 0.5 or .5, and names contain no dots", place)
    if character.isprintable() and not character.isspace():
        name = f" ({unicodedata.name(character, 'unnamed')})" if character > "\x7f" else ""
        where = "an expression" if in_rate else _PLACES[statement]
        refuse(f"{character!r}{name} has no meaning in {where}; remove it", place)
    name = unicodedata.name(character, "a control character")
    refuse(f"an invisible character, U+{ord(character):04X} ({name}); remove it", place)
