"""Networks from Antimony and to it, by way of SBML, through libantimony.

libantimony can read files that a text imports, keeps what it has read, and needs minutes for some
short texts. So a text is looked at first: comments are taken out, so that what is looked at is
what the library gets; imports, deep nesting and towers of modules are refused.
"""

from __future__ import annotations

import os
import re
import threading
from collections import Counter
from collections.abc import Iterator
from typing import Any

from ..errors import FormatError, MissingExtraError
from ..names import shown
from ..network import Network
from .sbml_reading import read_sbml
from .sbml_writing import PLAIN_COMPARTMENT, write_sbml
from .xml_screening import read_limited

__all__ = ["read_antimony", "write_antimony"]

MAX_CHARACTERS = 200_000
MAX_STATEMENTS = 4_000  # libantimony's time grows with their square: 3,000 reactions take 13 s
MAX_STATEMENT = 20_000  # characters
MAX_OPERATORS = 2_000  # of one statement
MAX_POWERS = 50  # and signs, in one statement: they nest
MAX_BRACKETS = 50  # inside one another
MAX_INSTANCES = 500  # of modules, in all

# libantimony has one state for the whole process.
_LOCK = threading.Lock()

_TOKEN = re.compile(
    r"(?P<comment>//[^\n]*+|\#[^\n]*+|/\*(?:[^*]++|\*(?!/))*+\*/)"
    r"|(?P<open_comment>/\*)"
    r"|(?P<string>\"[^\"\n]*+\")"
    r"|(?P<open_string>\")"
    r"|(?P<word>[A-Za-z_][A-Za-z0-9_]*+)"
    r"|(?P<rest>.)",
    re.DOTALL,
)


def _imported_antimony() -> Any:
    try:
        import antimony
    except ImportError as error:
        raise MissingExtraError(
            "Antimony needs the packages antimony and python-libsbml; install them with "
            'pip install "gillespy_lite[antimony]"'
        ) from error
    return antimony


def read_antimony(source: str | os.PathLike[str]) -> Network:
    """Read a network from Antimony.

    Parameters
    ----------
    source : str or path
        The text of a model (with a line break or a semicolon in it), or the path of a file.

    Returns
    -------
    Network
        The network, as `read_sbml` makes it. The compartment that Antimony adds where none is
        named has size 1 and is left out; a species for which the text gives no start begins at 0.

    Raises
    ------
    FormatError
        If the text is not Antimony, imports a file, or uses what is not supported.
    MissingExtraError
        If the package antimony is not installed.
    """
    is_text = isinstance(source, str) and any(mark in source for mark in "\n\r;")
    text = str(source) if is_text else read_limited(source, MAX_CHARACTERS)
    text = _screened(text)
    sbml = _converted(text)
    return read_sbml(sbml, plain_compartment=PLAIN_COMPARTMENT, unset_amount=0.0)


def write_antimony(network: Network) -> str:
    """Return a network as Antimony.

    Parameters
    ----------
    network : Network
        Rates are written as they stand, as in `write_sbml`.

    Returns
    -------
    str
        One model. `read_antimony` gets the same propensities in the same order from it; what is
        mass action by more than one molecule of a kind comes back as a law written out.

    Raises
    ------
    FormatError
        If the network has what SBML does not.
    MissingExtraError
        If the package antimony is not installed.
    """
    antimony = _imported_antimony()
    # libantimony writes 15 digits of a number; what needs more is written as a sum of two.
    sbml = write_sbml(network, digits=15)
    with _LOCK:
        try:
            if antimony.loadSBMLString(sbml) < 0:
                raise FormatError(
                    f"the network cannot be written as Antimony: {_last_error(antimony)}"
                )
            text: str = antimony.getAntimonyString(antimony.getMainModuleName())
            # It writes names that it does not read, such as a species called after.
            antimony.clearPreviousLoads()
            if antimony.loadAntimonyString(text) < 0:
                raise FormatError(
                    "libantimony does not read what it makes of this network; a name may be one of "
                    f"its words: {_last_error(antimony)}"
                )
        finally:
            _clear(antimony)
    # The first line names the library and its version.
    return text[text.index("\n") + 1 :] if text.startswith("//") else text


def _converted(text: str) -> str:
    """Return the main model of a text as SBML."""
    antimony = _imported_antimony()
    with _LOCK:
        try:
            antimony.clearDirectories()
            if antimony.loadAntimonyString(text) < 0:
                raise FormatError(f"the text is not Antimony: {_last_error(antimony)}")
            sbml: str | None = antimony.getSBMLString(antimony.getMainModuleName())
            if not sbml:
                raise FormatError(f"the text makes no model: {_last_error(antimony)}")
            return sbml
        except UnicodeDecodeError as error:
            # The library cuts letters beyond ASCII in pieces, also in its own messages.
            raise FormatError(_beyond_ascii(text)) from error
        finally:
            _clear(antimony)


def _beyond_ascii(text: str) -> str:
    """Say where the first letter stands that Antimony's names cannot have."""
    for number, line in enumerate(text.splitlines(), start=1):
        for letter in line:
            if not letter.isascii():
                return (
                    f"line {number} has {letter!r}; names in Antimony are made of ASCII letters, "
                    "digits and _"
                )
    return "the text is not Antimony, and libantimony cannot say why"


def _last_error(antimony: Any) -> str:
    return " ".join((antimony.getLastError() or "no reason given").split())[:600]


def _clear(antimony: Any) -> None:
    antimony.clearPreviousLoads()
    antimony.freeAll()


def _screened(text: str) -> str:
    """Return the text without comments, or refuse what libantimony should not see."""
    if len(text) > MAX_CHARACTERS:
        raise FormatError(
            f"the text has {len(text):,} characters; at most {MAX_CHARACTERS:,} are read as "
            "Antimony"
        )
    text = text.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n")
    strange = re.search(r"[^\n\t\x20-\x7e\x80-\U0010ffff]|[\ud800-\udfff]", text)
    if strange:
        raise FormatError(
            f"the character U+{ord(strange[0]):04X} on line {_line(text, strange.start())} does "
            "not belong into a text"
        )
    kept: list[str] = []
    words: list[tuple[str, int]] = []  # words and marks outside strings, with their places
    for found in _TOKEN.finditer(text):
        kind, piece = found.lastgroup, found[0]
        if kind in ("open_comment", "open_string"):
            what = "comment" if kind == "open_comment" else "string"
            raise FormatError(
                f"a {what} that begins on line {_line(text, found.start())} does not end"
            )
        if kind == "comment":
            kept.append("\n" * piece.count("\n") or " ")
            continue
        kept.append(piece)
        if kind == "word" or (kind == "rest" and piece not in " \t"):
            words.append((piece, found.start()))
    if not any(word not in "\n;" for word, _ in words):
        raise FormatError("the text is empty, or holds nothing but comments")
    for word, place in words:
        if word.casefold() == "import":
            raise FormatError(
                f"line {_line(text, place)} imports a file; a text is read by itself, so put "
                "what it needs into it"
            )
    _check_statements(text, words)
    _check_instances([word for word, _ in words if word != "\n"])
    return "".join(kept)


def _line(text: str, place: int) -> int:
    return text.count("\n", 0, place) + 1


def _check_statements(text: str, words: list[tuple[str, int]]) -> None:
    depth, n_operators, n_nesting, start = 0, 0, 0, 0
    n_statements, before = 0, ""
    for word, place in words:
        if word in "\n;":
            depth = n_operators = n_nesting = 0
            start = place
            n_statements += before not in ("", "\n", ";")
        elif word in "([{":
            depth += 1
        elif word in ")]}":
            depth -= 1
        elif word in "+-*/^<>=&|!%,":
            n_operators += 1
            n_nesting += word in "^!" or (word in "+-" and before in "+-*/^(=,<>")
        if (
            depth > MAX_BRACKETS
            or n_operators > MAX_OPERATORS
            or n_nesting > MAX_POWERS
            or place - start > MAX_STATEMENT
        ):
            raise FormatError(
                f"the statement on line {_line(text, place)} is too long, or nests too deeply: at "
                f"most {MAX_STATEMENT:,} characters, {MAX_OPERATORS:,} operators, {MAX_BRACKETS} "
                f"brackets inside one another and {MAX_POWERS} powers and signs are read"
            )
        before = word
    if n_statements > MAX_STATEMENTS:
        raise FormatError(
            f"the text has {n_statements:,} statements; at most {MAX_STATEMENTS:,} are read as "
            "Antimony, which takes long for more. SBML has no such limit"
        )


def _instances(words: list[str]) -> Iterator[tuple[str, str]]:
    """Give each module and the word that it calls, as in ``a: other()``."""
    module = ""
    for place, word in enumerate(words):
        if word in ("model", "module", "function"):
            following = words[place + 1 : place + 3]
            module = "".join(following).lstrip("*")
            if following and following[0] != "*":
                module = following[0]
            elif len(following) == 2:
                module = following[1]
        elif word == "end":
            module = ""
        elif word == "(" and place and words[place - 1][0] not in "=(+-*/^":
            yield module, words[place - 1]


def _check_instances(words: list[str]) -> None:
    """Refuse modules that hold modules that hold modules: 2 of each, 30 deep, are a billion."""
    calls: dict[str, Counter[str]] = {}
    for module, called in _instances(words):
        if called != module:
            calls.setdefault(module, Counter())[called] += 1
    modules = {
        words[place + 2] if words[place + 1] == "*" else words[place + 1]
        for place, word in enumerate(words[:-2])
        if word in ("model", "module", "function")
    }
    sizes: dict[str, int] = {}

    def size(name: str, depth: int) -> int:
        if depth > MAX_BRACKETS:
            return MAX_INSTANCES + 1
        if name not in sizes:
            sizes[name] = MAX_INSTANCES + 1  # of a module that holds itself
            total = 1
            for called, times in calls.get(name, Counter()).items():
                if called in modules:
                    total += times * size(called, depth + 1)
            sizes[name] = min(total, MAX_INSTANCES + 1)
        return sizes[name]

    for name in ["", *sorted(modules)]:
        if size(name, 0) > MAX_INSTANCES:
            where = f"the module {shown(name)}" if name else "the model"
            raise FormatError(
                f"{where} holds itself, or more than {MAX_INSTANCES} modules and functions in all"
            )
