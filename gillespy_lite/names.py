"""Names: what may be declared, how a name is stored, and what was meant by an unknown one."""

from __future__ import annotations

import difflib
import functools
import math
import unicodedata
from collections.abc import Iterable, Mapping

from .errors import NetworkError
from .operations import FUNCTION_LIKE

__all__ = [
    "CONSTANTS",
    "MAX_NAME_LENGTH",
    "RESERVED",
    "checked_name",
    "did_you_mean",
    "name_problem",
    "normal_name",
    "shown",
]

MAX_NAME_LENGTH = 200  # characters

CONSTANTS: Mapping[str, float] = {"e": math.e, "pi": math.pi}  # unless a network declares them

RESERVED: Mapping[str, str] = {
    "t": "the time",
    "species": "a keyword",
    "param": "a keyword",
    "observe": "a keyword",
    "variable": "a keyword",
    "and": "a logical operator",
    "or": "a logical operator",
    "not": "a logical operator",
    **dict.fromkeys((*sorted(FUNCTION_LIKE), "pow", "piecewise"), "a function"),
}


def shown(text: str) -> str:
    """Return `text` in quotes, cut in the middle if it would bury the message around it."""
    return repr(text if len(text) <= 60 else f"{text[:40]}...{text[-10:]}")


def normal_name(name: str) -> str:
    """Return the one spelling (Unicode NFKC) under which a name is stored and compared."""
    return name if name.isascii() else unicodedata.normalize("NFKC", name)


@functools.lru_cache(maxsize=65_536)
def name_problem(name: str) -> str:
    """Say why `name` cannot be declared, in words that follow the name, or nothing."""
    if len(name) > MAX_NAME_LENGTH:
        return f"has {len(name)} characters; at most {MAX_NAME_LENGTH} are allowed"
    normal = normal_name(name)
    for character in name if normal is not name else ():
        # NFKC would turn x² into the name x2, where a power was meant.
        if unicodedata.decomposition(character).startswith(("<super>", "<fraction>")):
            if character.isdigit():
                power = unicodedata.normalize("NFKC", character)
                return f"contains {character!r}; a power is written ^{power}"
            return f"contains the raised character {character!r}; write plain letters and digits"
    if not normal:
        return "is empty; a name starts with a letter or _"
    if not normal.isidentifier():
        return "is not a name: a letter or _ comes first, then letters, digits and _"
    if len(normal) > MAX_NAME_LENGTH:
        return f"has {len(normal)} characters; at most {MAX_NAME_LENGTH} are allowed"
    if normal in RESERVED:
        return f"is a reserved word ({RESERVED[normal]}); choose another name"
    return ""


def checked_name(name: str, kind: str) -> str:
    """Return `name` as it is stored, or refuse it as the name of a `kind` ("species", ...)."""
    if not isinstance(name, str):
        raise TypeError(f"the name of a {kind} must be a string, not {name!r}")
    problem = name_problem(name)
    if problem:
        raise NetworkError(f"the {kind} name {shown(name)} {problem}")
    return normal_name(name)


def did_you_mean(name: str, candidates: Iterable[str]) -> str:
    """Return ``"; did you mean 'kcat'?"`` for the nearest candidate, or nothing."""
    # Comparing costs about 20 us per candidate, so in a huge network only look at some.
    near = [known for known in candidates if abs(len(known) - len(name)) <= 3][:2_000]
    if len(name) > MAX_NAME_LENGTH or not near:
        return ""
    folded: dict[str, str] = {}
    for known in near:
        folded.setdefault(known.casefold(), known)
    if name.casefold() in folded:
        return f"; did you mean {folded[name.casefold()]!r}? (capitals matter)"
    found = difflib.get_close_matches(name.casefold(), folded, n=1, cutoff=0.6)
    return f"; did you mean {folded[found[0]]!r}?" if found else ""
