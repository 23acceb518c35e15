"""What is read of SBML: each line of the table in docs/formats.md is a document that is tried."""

from pathlib import Path

import pytest
from sbml_texts import (
    TIME,
    apply,
    ci,
    cn,
    compartment,
    csymbol,
    document,
    event,
    function,
    initial,
    math,
    parameter,
    reaction,
    rule,
    species,
)

from gillespy_lite import Network
from gillespy_lite.errors import FormatError

pytest.importorskip("libsbml", reason="the extra sbml is not installed")

PAGE = Path(__file__).parent.parent / "docs" / "formats.md"
BEGIN, END = "<!-- what is read: begin -->", "<!-- what is read: end -->"
CELL = [compartment(size=2), species("A", 10), species("B", 0)]
DECAY = reaction("R", {"A": 1}, {"B": 1}, apply("times", cn(0.5), ci("A")))
K = parameter("k", 0.5)
REAL = parameter("x", 1, constant=False)


def _l3v1(text):
    return text.replace("version2/core", "version1/core").replace('version="2"', 'version="1"')


def _reference(**said):
    given = " ".join(f'{key}="{value}"' for key, value in said.items())
    return (
        '<reaction id="R" reversible="false"><listOfReactants>'
        f'<speciesReference id="n" species="A" {given}/></listOfReactants>'
        f"<kineticLaw>{math(ci('A'))}</kineticLaw></reaction>"
    )


def _package(name, required="true"):
    uri = f"http://www.sbml.org/sbml/level3/version1/{name}/version1"
    return document(*CELL, DECAY, attributes=f' xmlns:x="{uri}" x:required="{required}"')


# Construct, what becomes of it, a document with it, and a word of the network or of the error.
READ = [
    ("species in amounts", "species; its symbol is the count", document(*CELL, DECAY), "species A"),
    (
        "species as concentrations",
        "species; its symbol is count / size",
        document(
            compartment(size=2), species("A", 10, amounts_only=False), DECAY.replace("B", "A")
        ),
        "[A]",
    ),
    (
        "amounts that are not whole",
        "variables, which run under the rate equations",
        document(compartment(size=2), species("A", 1.5), reaction("R", {"A": 1}, {}, ci("A"))),
        "variable A = 1.5",
    ),
    (
        "boundary and constant species",
        "parameters, or what their rule says",
        document(*CELL, species("F", 3, boundary=True), reaction("R", {"F": 1}, {"B": 1}, ci("F"))),
        "F = 3",
    ),
    (
        "conversion factors",
        "factors of the coefficients",
        document(
            *CELL,
            parameter("f", 2),
            DECAY,
            model=' conversionFactor="f"',
        ),
        "(f) A",
    ),
    (
        "compartments",
        "parameters, and how results are shown",
        document(*CELL, DECAY),
        "compartment c",
    ),
    (
        "compartments that change size",
        "variables or observables",
        document(compartment(size=2, constant=False), species("A", 1), rule("rate", "c", cn(1))),
        "c' = 1",
    ),
    (
        "compartments without a size",
        "as they are",
        document(compartment(), *CELL[1:], DECAY),
        "nan",
    ),
    (
        "initial assignments",
        "expressions of parameters",
        document(*CELL, K, parameter("q"), initial("q", apply("times", cn(2), ci("k"))), DECAY),
        "q = 2*k",
    ),
    (
        "assignment rules",
        "observables",
        document(*CELL, REAL, rule("assignment", "x", ci("A")), DECAY),
        "observe x = A",
    ),
    (
        "rate rules",
        "rules of variables",
        document(*CELL, REAL, rule("rate", "x", ci("A"))),
        "x' = A",
    ),
    (
        "function definitions",
        "put in where they are called",
        document(
            *CELL,
            function("f", ["y"], apply("times", cn(2), ci("y"))),
            reaction("R", {"A": 1}, {}, f"<apply>{ci('f')}{ci('A')}</apply>"),
        ),
        "A -> 0 @ 2",
    ),
    (
        "kinetic laws",
        "propensities, as they stand",
        document(
            *CELL,
            reaction("R", {"A": 2}, {}, apply("times", ci("A"), apply("minus", ci("A"), cn(1)))),
        ),
        "2 A => 0 @ A*(A - 1)",
    ),
    (
        "net rates of reversible reactions",
        "two reactions, `R` and `R_reverse`",
        document(*CELL, K, reaction("R", {"A": 1}, {"B": 1}, apply("minus", ci("A"), ci("B")))),
        "A <-> B @ 1, 1",
    ),
    (
        "local parameters",
        "parameters `R_k`",
        document(
            *CELL, reaction("R", {"A": 1}, {}, ci("k"), local='<localParameter id="k" value="3"/>')
        ),
        "R_k = 3",
    ),
    (
        "variable stoichiometry",
        "coefficients that are expressions",
        document(*CELL, _reference(stoichiometry=2, constant="false"), rule("rate", "n", cn(1))),
        "(n) A",
    ),
    (
        "stoichiometries that are not whole",
        "real coefficients",
        document(*CELL, _reference(stoichiometry=0.5, constant="true")),
        "0.5 A",
    ),
    (
        "events: triggers, initial values, persistence, priorities, delays",
        "events",
        document(*CELL, DECAY, event(apply("gt", TIME, cn(3)), {"B": cn(7)}, delay=cn(1))),
        "at t > 3, after 1",
    ),
    ("time", "`t`", document(*CELL, reaction("R", {"A": 1}, {}, TIME)), "@ t"),
    (
        "Avogadro's number",
        "6.02214179e23",
        document(*CELL, reaction("R", {"A": 1}, {}, csymbol("avogadro", "N"))),
        "6.02214179e23",
    ),
    (
        "rateOf",
        "the right-hand side that it means",
        document(
            *CELL,
            REAL,
            rule("rate", "x", f"<apply>{csymbol('rateOf', 'rateOf')}{ci('A')}</apply>"),
            DECAY,
        ),
        "x' = -R",
    ),
    (
        "ids of reactions in formulas",
        "observables",
        document(*CELL, REAL, rule("rate", "x", ci("R")), DECAY),
        "observe R",
    ),
    (
        "MathML of Level 3 Version 2, numbers as truth values and back",
        "yes",
        document(*CELL, reaction("R", {"A": 1}, {}, apply("max", ci("A"), cn(2), cn(3)))),
        "max(A, 2, 3)",
    ),
    ("formulas that are left out (Version 2)", "no effect", document(*CELL, DECAY, REAL), "R:"),
    ("units", "nothing is converted", document(*CELL, DECAY), "R:"),
    ("packages layout, render, groups", "left out", _package("layout", "false"), "R:"),
]
REFUSED = [
    (
        "algebraic rules",
        document(*CELL, REAL, f"<algebraicRule>{math(ci('x'))}</algebraicRule>"),
        "algebraic rule",
    ),
    (
        "delay()",
        document(
            *CELL,
            reaction("R", {"A": 1}, {}, f"<apply>{csymbol('delay', 'd')}{ci('A')}{cn(1)}</apply>"),
        ),
        r"delay\(\)",
    ),
    (
        'fast="true"',
        _l3v1(document(*CELL, DECAY.replace("<reaction", '<reaction fast="true"'))),
        "fast",
    ),
    (
        "constraints",
        document(*CELL, f"<constraint>{math(apply('gt', ci('A'), cn(1)))}</constraint>"),
        "constraint",
    ),
    *[(f"package {name}", _package(name), f"package '{name}'") for name in ("comp", "fbc", "qual")],
    ("any other package", _package("distrib"), "package 'distrib'"),
]


def table():
    """Return the table of docs/formats.md."""
    lines = ["| of SBML | becomes |", "| --- | --- |"]
    lines += [f"| {construct} | {becomes} |" for construct, becomes, _, _ in READ]
    lines += [f"| {construct} | refused, by name and line |" for construct, _, _ in REFUSED]
    return "\n".join(lines)


@pytest.mark.parametrize(
    ("text", "word"), [row[2:] for row in READ], ids=[row[0].replace(" ", "_") for row in READ]
)
def test_what_the_table_says_is_read(text, word):
    assert word in str(Network.from_sbml(text))


@pytest.mark.parametrize(
    ("text", "word"),
    [row[1:] for row in REFUSED],
    ids=[row[0].replace(" ", "_") for row in REFUSED],
)
def test_what_the_table_says_is_refused(text, word):
    with pytest.raises(FormatError, match=word) as caught:
        Network.from_sbml(text)
    assert "line" in str(caught.value)


def test_the_page_has_the_table_of_the_tests():
    text = PAGE.read_text(encoding="utf-8")
    on_page = text[text.index(BEGIN) + len(BEGIN) : text.index(END)].strip()
    assert on_page == table(), "replace the table on the page by what table() returns"
