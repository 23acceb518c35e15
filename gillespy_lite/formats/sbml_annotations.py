"""What our own SBML says beyond SBML, so that it reads back as the same network.

None of it changes what a formula means in a stochastic simulation: it says which of two ways of
writing it was used.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from ..expressions import Call, Expression, Number, Symbol

__all__ = ["NAMESPACE", "ReadNotes", "escaped", "full_law", "note", "unescaped"]

NAMESPACE = "https://gillespy-lite.readthedocs.io/sbml/1"


class ReadNotes(NamedTuple):
    """The note on one element."""

    is_ours: bool = False
    kind: str = ""  # "mass_action" or "propensity", "species", "variable", "plain" or nothing
    is_unnamed: bool = False
    is_limited: bool = False
    is_concentration: bool = False  # results show the amount as a concentration

    @classmethod
    def of(cls, element: Any) -> ReadNotes:
        """Return the note on an element of libsbml's, empty if there is none."""
        if not element.isSetAnnotation():
            return cls()
        annotation = element.getAnnotation()
        for place in range(annotation.getNumChildren()):
            child = annotation.getChild(place)
            if child.getURI() == NAMESPACE:
                return cls(
                    is_ours=True,
                    kind=child.getAttrValue("kind"),
                    is_unnamed=child.getAttrValue("named") == "false",
                    is_limited=child.getAttrValue("limited") == "true",
                    is_concentration=child.getAttrValue("shown") == "concentration",
                )
        return cls()


def note(**attributes: str) -> str:
    """Return an annotation with a note."""
    said = "".join(f' {name}="{value}"' for name, value in attributes.items() if value)
    return f'<annotation><note xmlns="{NAMESPACE}"{said}/></annotation>'


def full_law(constant: Expression, reactants: Iterable[tuple[str, int]]) -> Expression:
    """Return c times the number of ways to choose the reactants: ``c*A*(A - 1)/2`` for 2 A."""
    law = constant
    for name, count in reactants:
        for step in range(count):
            law = law * (Symbol(name) - step if step else Symbol(name))
        if count > 1:
            law = law / math.factorial(count)
    return law


def rate_constant(law: Expression, reactants: Mapping[str, int]) -> Expression | None:
    """Return the c from which `full_law` makes `law`, or None if there is none."""
    rest: Expression = law
    for name, count in reversed(list(reactants.items())):
        factors: list[tuple[str, Expression]] = [("*", Symbol(name))]
        factors += [("*", Symbol(name) - step) for step in range(1, count)]
        if count > 1:
            factors.append(("/", Number(math.factorial(count))))
        for operation, factor in reversed(factors):
            if not (isinstance(rest, Call) and rest.operation == operation):
                return None
            if rest.arguments[1] != factor:
                return None
            rest = rest.arguments[0]
    return rest


# ---- Names that SBML does not allow -----------------------------------------------------------

_ESCAPE = re.compile(r"_u([0-9A-F]{4,6})_")


def escaped(name: str) -> str:
    """Return a name in ASCII: ``α`` is ``_u03B1_``. What looks like that is escaped, too."""
    name = _ESCAPE.sub(lambda found: f"_u005F_u{found[1]}_", name)
    return "".join(one if one.isascii() else f"_u{ord(one):04X}_" for one in name)


def unescaped(name: str) -> str:
    """Return the name from which `escaped` made this one."""
    return _ESCAPE.sub(
        lambda found: chr(int(found[1], 16)) if int(found[1], 16) < 0x110000 else found[0], name
    )
