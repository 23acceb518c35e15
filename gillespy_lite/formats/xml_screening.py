"""What is looked at before an XML parser sees a text: size, encoding, depth, declarations.

One pass over the text in linear time, without building a tree. A parser that never sees an entity
declaration cannot expand one, and one that never sees 8,000 nested elements cannot overflow its
stack.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import NoReturn

from ..errors import FormatError
from ..names import shown

__all__ = [
    "MAX_BYTES",
    "MAX_DEPTH",
    "check_sbml_namespaces",
    "is_text_of_a_model",
    "read_limited",
    "screened_xml",
]

MAX_BYTES = 50_000_000  # a network of 58,276 reactions takes about 40 MB of SBML
# Elements inside one another. libsbml overflows the stack of its process at about 8,000 (MathML)
# on an 8 MiB stack.
MAX_DEPTH = 500
# Elements of one formula: libsbml makes a chain of a long sum, and overflows the stack at 300,000.
MAX_MATH = 50_000
MAX_FORMULA = 100_000  # characters of one attribute; formulas stand in attributes in Level 1

# What begins with "<", at the place where it begins. All repetitions are possessive, so that no
# text makes them go back and try again.
_MARKUP = re.compile(
    r"<!--(?P<comment>)"
    r"|<!\[CDATA\[(?P<cdata>)"
    r"|<\?(?P<instruction>)"
    r"|</[^\s<>/\"'=]++\s*+>(?P<end>)"
    r"|<(?P<name>[^\s<>/\"'=!?]++)(?:[^<>\"'/]++|\"[^\"<]*+\"|'[^'<]*+'|/(?!>))*+"
    r"(?:/>(?P<empty>)|>(?P<start>))"
)
_CLOSING = {"comment": "-->", "cdata": "]]>", "instruction": "?>"}
_ENCODING = re.compile(r"<\?xml\b[^>]*?\bencoding\s*=\s*[\"']([^\"'<>]{1,40})[\"']")
_FORBIDDEN = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff\ud800-\udfff]")
_LONG_VALUE = re.compile(rf"\"[^\"<]{{{MAX_FORMULA},}}\"|'[^'<]{{{MAX_FORMULA},}}'")


def is_text_of_a_model(source: str | os.PathLike[str]) -> bool:
    """Whether a source is a model's text, rather than the path of a file."""
    if not isinstance(source, str):
        return False
    return "\n" in source or "\r" in source or source.lstrip("\ufeff \t").startswith("<")


def read_limited(path: str | os.PathLike[str], limit: int = MAX_BYTES) -> str:
    """Return the text of a UTF-8 file that is not larger than `limit` bytes."""
    file = Path(path)
    try:
        with file.open("rb") as opened:
            data = opened.read(limit + 1)
    except (FileNotFoundError, IsADirectoryError, NotADirectoryError, ValueError, OSError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise FormatError(
            f"no model could be read from {shown(str(path))}: {reason}; give the path of a file, "
            "or the text of a model"
        ) from error
    if len(data) > limit:
        raise FormatError(
            f"{shown(str(path))} is larger than {limit:,} bytes; such a file is not read as a model"
        )
    if data.startswith((b"\xff\xfe", b"\xfe\xff")) or data[:4].count(0) >= 2:
        raise FormatError(f"{shown(str(path))} is encoded in UTF-16 or UTF-32; save it as UTF-8")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise FormatError(
            f"{shown(str(path))} is not UTF-8 text (line {line}, byte {error.start:,}); models are "
            "read as UTF-8, so save it so"
        ) from error


def _line(text: str, position: int) -> int:
    return text.count("\n", 0, position) + 1


def screened_xml(text: str) -> str:
    """Return an XML text that is safe to hand to a parser, or refuse it.

    Parameters
    ----------
    text : str
        The document.

    Returns
    -------
    str
        The same, without a byte order mark or blanks before it.

    Raises
    ------
    FormatError
        If it is too large, is encoded or declares itself otherwise than in UTF-8, holds a DOCTYPE
        or an entity declaration, nests too deeply, or ends in the middle.
    """
    # A character takes one byte or more, so this bounds the memory before anything is encoded.
    if len(text) > MAX_BYTES:
        raise FormatError(
            f"the text has {len(text):,} characters; at most {MAX_BYTES:,} are read as a model"
        )
    text = text.lstrip("\ufeff \t\r\n")
    forbidden = _FORBIDDEN.search(text)
    if forbidden:
        raise FormatError(
            f"the character U+{ord(forbidden[0]):04X} on line {_line(text, forbidden.start())} is "
            "not allowed in XML; the file is damaged, or is not encoded in UTF-8"
        )
    declared = _ENCODING.match(text[:300])
    if declared and declared[1].upper() not in ("UTF-8", "UTF8", "US-ASCII", "ASCII"):
        raise FormatError(
            f"the file says that it is encoded in {shown(declared[1])} (line 1); SBML is UTF-8, so "
            "convert it and change its first line"
        )
    if not text.startswith("<"):
        raise FormatError(
            f"the text does not begin with '<' but with {shown(text[:20])}, so it is not XML"
            if text
            else "the text is empty"
        )
    too_long = _LONG_VALUE.search(text) if len(text) > MAX_FORMULA else None
    if too_long:
        raise FormatError(
            f"an attribute on line {_line(text, too_long.start())} has more than {MAX_FORMULA:,} "
            "characters"
        )
    _check_markup(text)
    return text


def _check_markup(text: str) -> None:
    depth, position, match = 0, text.find("<"), _MARKUP.match
    math_depth, n_in_math = 0, 0  # where a formula began, and how many elements it has so far
    has_root = False
    while position >= 0:
        found = match(text, position)
        kind = found.lastgroup if found else None
        if found is None or kind is None:
            _refuse_markup(text, position)
        end = found.end()
        has_root = has_root or kind == "empty"
        if math_depth and kind in ("start", "empty"):
            n_in_math += 1
            if n_in_math > MAX_MATH:
                raise FormatError(
                    f"a formula has more than {MAX_MATH:,} elements (line {_line(text, position)})"
                )
        if kind == "start":
            depth += 1
            has_root = True
            if not math_depth and found["name"].rpartition(":")[2] == "math":
                math_depth, n_in_math = depth, 0
            if depth > MAX_DEPTH:
                raise FormatError(
                    f"the elements nest more than {MAX_DEPTH} deep (line {_line(text, position)})"
                )
        elif kind == "end":
            if depth == math_depth:
                math_depth = 0
            depth -= 1
            if depth < 0:
                raise FormatError(
                    f"an element ends on line {_line(text, position)} that did not begin"
                )
        elif kind != "empty":
            closing = _CLOSING[kind]
            end = text.find(closing, end)
            if end < 0:
                raise FormatError(
                    f"what begins with {text[position : position + 9]!r} on line "
                    f"{_line(text, position)} does not end; the file is cut short or damaged"
                )
            end += len(closing)
        position = text.find("<", end)
    if depth or not has_root:
        raise FormatError(
            f"the text ends (line {_line(text, len(text))}) before its elements do; the file is "
            "cut short or damaged"
        )


def _refuse_markup(text: str, position: int) -> NoReturn:
    line, begins = _line(text, position), text[position : position + 20]
    if begins.startswith("<!"):
        word = re.match(r"<!\s*(\w*)", begins)
        raise FormatError(
            f"<!{word[1] if word else ''} on line {line}: models with a DOCTYPE or with entities "
            "are refused, because these can read files and fill the memory; remove it"
        )
    raise FormatError(
        f"the tag that begins with {shown(begins)} on line {line} is not complete; the file is "
        "cut short or damaged"
    )


# ---- SBML -------------------------------------------------------------------------------------

_ATTRIBUTE = re.compile(r"([^\s=<>\"'/]+)\s*=\s*(?:\"([^\"<]*)\"|'([^'<]*)')")
_CORE = "http://www.sbml.org/sbml/level"
_DECLARED = re.compile(
    r"xmlns(?::[\w.-]+)?\s*=\s*[\"']\s*(http://www\.sbml\.org/sbml/[^\"'<>]*)[\"']"
)
_PACKAGE = re.compile(r"http://www\.sbml\.org/sbml/level3/version\d/([A-Za-z0-9]+)/version\d")
# Packages that say how a model is drawn or sorted, and nothing of what it means; the last brings
# formulas that we know into documents of Level 3 Version 1.
_HARMLESS = frozenset(["layout", "render", "groups", "l3v2extendedmath"])


def _expected_namespace(level: str, version: str) -> str:
    """Return the namespace of a level and version of SBML, or nothing if there is no such one."""
    if level == "1" and version in ("1", "2"):
        return f"{_CORE}1"
    if level == "2" and version in ("1", "2", "3", "4", "5"):
        return f"{_CORE}2" if version == "1" else f"{_CORE}2/version{version}"
    if level == "3" and version in ("1", "2"):
        return f"{_CORE}3/version{version}/core"
    return ""


def check_sbml_namespaces(text: str) -> None:
    """Refuse a document that is not SBML, or uses packages; libsbml may abort the process on some.

    Parameters
    ----------
    text : str
        A screened document.

    Raises
    ------
    FormatError
        If the root is no sbml element with a level, a version and their namespace, or if a package
        of SBML is declared that changes what a model means.
    """
    position, match = 0, _MARKUP.match
    while True:
        found = match(text, position)
        if found is not None and found.lastgroup in ("start", "empty"):
            break
        closing = _CLOSING.get(found.lastgroup or "", ">") if found is not None else ">"
        position = text.find("<", text.find(closing, position + 1))
        if position < 0:
            raise FormatError("the text holds no element")
    line = _line(text, position)
    prefix, _, name = found["name"].rpartition(":")
    attributes = {one[1]: one[2] or one[3] or "" for one in _ATTRIBUTE.finditer(found[0])}
    if name != "sbml":
        raise FormatError(
            f"the document is no SBML: it begins with <{found['name'][:40]}> (line {line}), not "
            "<sbml>"
        )
    level, version = attributes.get("level", ""), attributes.get("version", "")
    expected = _expected_namespace(level, version)
    if not expected:
        raise FormatError(
            f"SBML Level {shown(level)} Version {shown(version)} (line {line}) is not known; "
            "Levels 1 to 3 are read"
        )
    given = attributes.get(f"xmlns:{prefix}" if prefix else "xmlns", "")
    if given != expected:
        raise FormatError(
            f"the sbml element (line {line}) declares the namespace {shown(given)}; Level {level} "
            f"Version {version} has {expected!r}"
        )
    for declared in _DECLARED.finditer(text):
        uri, where = declared[1].strip(), _line(text, declared.start())
        package = _PACKAGE.match(uri)
        if package is not None and package[1] != "core":
            if package[1] not in _HARMLESS:
                raise FormatError(
                    f"the model uses the SBML package {package[1]!r} (line {where}), which is not "
                    "supported; only the core of SBML is read"
                )
        elif uri.startswith(_CORE) and uri != expected:
            raise FormatError(
                f"line {where} declares the namespace {shown(uri)} within a document of {expected}"
            )
