"""Files that mean harm, or are damaged: a clear error within a second, in this process."""

import itertools
import re
import time

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sbml_texts import (
    MATH,
    apply,
    ci,
    cn,
    compartment,
    document,
    event,
    initial,
    parameter,
    reaction,
    rule,
    species,
)

import gillespy_lite as gl
from gillespy_lite import Network
from gillespy_lite.errors import FormatError

pytest.importorskip("libsbml", reason="the extra sbml is not installed")

BASE = document(
    compartment(size=2),
    species("A", 10, amounts_only=False),
    species("B", 0),
    parameter("k", 0.5),
    parameter("p", 1, constant=False),
    parameter("q"),
    initial("q", apply("times", ci("k"), cn(2))),
    rule("rate", "p", apply("minus", ci("p"))),
    reaction("R", {"A": 1}, {"B": 2}, apply("times", ci("k"), ci("A"))),
    event(apply("gt", ci("B"), cn(3)), {"p": cn(7)}, delay=cn(1)),
)
LAW = apply("times", ci("k"), ci("A"))
assert LAW in BASE


def _refused(source, message, seconds=1.0):
    start = time.perf_counter()
    with pytest.raises(FormatError, match=message) as caught:
        Network.from_sbml(source)
    # A loaded machine may take several times as long as an idle one.
    assert time.perf_counter() - start < 5.0 * seconds
    assert len(str(caught.value)) < 1500
    return str(caught.value)


def _with_law(body):
    return BASE.replace(LAW, body)


def test_the_base_of_these_tests_is_read():
    assert Network.from_sbml(BASE).n_reactions == 1


def test_an_xml_bomb_is_refused():
    entities = "".join(
        f'<!ENTITY a{i} "{("&a" + str(i - 1) + ";") * 10 if i else "ha"}">' for i in range(30)
    )
    bomb = f'<?xml version="1.0"?>\n<!DOCTYPE sbml [{entities}]>\n' + BASE.split("\n", 1)[1]
    _refused(bomb, "DOCTYPE on line 2")


def test_an_external_entity_is_refused(tmp_path):
    secret = tmp_path / "secret"
    secret.write_text("the secret")
    text = (
        f'<?xml version="1.0"?>\n<!DOCTYPE sbml [<!ENTITY x SYSTEM "file://{secret}">]>\n'
        + BASE.split("\n", 1)[1].replace('id="k"', 'id="k" name="&x;"')
    )
    assert "the secret" not in _refused(text, "DOCTYPE")
    # Without a declaration the reference means nothing.
    _refused(BASE.replace('id="k"', 'id="k" name="&x;"'), "line")


@pytest.mark.parametrize("operation", ["minus", "plus", "sin", "not"])
def test_formulas_nested_20_000_deep_are_refused(operation):
    deep = f"<apply><{operation}/>" * 20_000 + cn(1) + "</apply>" * 20_000
    _refused(_with_law(deep), "nest more than 500 deep")


def test_deep_nesting_anywhere_is_refused():
    notes = "<notes>" + "<p>" * 20_000 + "</p>" * 20_000 + "</notes>"
    _refused(BASE.replace("<listOfCompartments>", notes + "<listOfCompartments>"), "nest")


def test_formulas_of_very_many_parts_are_refused():
    # libsbml makes a chain of a sum, and overflows the stack at 300,000.
    _refused(_with_law(apply("plus", *[cn(1)] * 400_000)), "more than 50,000 elements")


def test_a_file_of_100_megabytes_is_refused(tmp_path):
    path = tmp_path / "large.xml"
    with path.open("wb") as opened:
        opened.write(BASE.encode())
        opened.truncate(100_000_000)
    _refused(path, "larger than 50,000,000 bytes")
    _refused("<" + "a" * 100_000_000, "at most 50,000,000")


@pytest.mark.parametrize("part", [0.1, 0.3, 0.5, 0.8, 0.99])
def test_a_file_that_is_cut_short_is_refused(part):
    _refused(BASE[: int(len(BASE) * part)], "cut short")


@pytest.mark.parametrize("encoding", ["utf-16", "utf-32", "utf-16-le", "latin-1", "cp037"])
def test_a_file_in_another_encoding_is_refused(tmp_path, encoding):
    path = tmp_path / "model.xml"
    path.write_bytes(BASE.replace('id="k"', 'id="k" name="Zerfallskonstänte"').encode(encoding))
    _refused(path, "UTF|U\\+|begin")


def test_an_encoding_that_is_declared_otherwise_is_refused():
    _refused(BASE.replace("UTF-8", "ISO-8859-1"), "ISO-8859-1")


@pytest.mark.parametrize(
    "name",
    [
        "__import__('os').system('x')",
        "a.b",
        "a b",
        "",
        "1a",
        "a-b",
        "\N{GREEK SMALL LETTER ALPHA}",
        "k;drop",
        "{0}",
        "a" * 9_999,
    ],
)
def test_ids_that_are_no_ids_are_refused(name):
    _refused(BASE.replace('id="k"', f'id="{name}"').replace(ci("k"), ci("p")), "id")


def test_formulas_with_attribute_access_are_refused():
    for body in ("A.__class__", "__import__('os')", "k;k", "A[0]"):
        _refused(_with_law(ci(body)), "line")
    level_1 = (
        '<sbml xmlns="http://www.sbml.org/sbml/level1" level="1" version="2"><model name="m">'
        '<listOfCompartments><compartment name="c"/></listOfCompartments>'
        '<listOfSpecies><species name="A" compartment="c" initialAmount="1"/></listOfSpecies>'
        '<listOfReactions><reaction name="R"><listOfReactants><speciesReference species="A"/>'
        '</listOfReactants><kineticLaw formula="{}"/></reaction></listOfReactions></model></sbml>'
    )
    assert Network.from_sbml(level_1.format("2*A")).n_reactions == 1
    for formula in ("A.__class__", "A()", "__import__(os)", "(" * 50_000, "A+" * 60_000):
        _refused(level_1.format(formula), ".")


def test_a_namespace_that_does_not_fit_is_refused():
    # libsbml ends the process on some of these.
    for level, version, uri in (
        (2, 1, "level2/version1"),
        (2, 4, "level2"),
        (3, 1, "level2/version1"),
        (3, 7, "level3/version7/core"),
        (1, 1, "level2"),
        (99999999999999, 1, "level1"),
    ):
        text = re.sub(
            r'<sbml [^>]*level="3" version="2"',
            f'<sbml xmlns="http://www.sbml.org/sbml/{uri}" level="{level}" version="{version}"',
            BASE,
        )
        _refused(text, "namespace|not known")


def test_what_is_no_sbml_is_refused():
    for text in (
        "<html><body/></html>",
        "<a",
        "<!-- -->\n",
        "\n",
        "<?xml?>",
        "<sbml/>",
        "<a/><b/>",
    ):
        _refused(text, ".")


def test_a_path_that_is_no_file_is_said_to_be_none(tmp_path):
    for path in (tmp_path / "none.xml", str(tmp_path / "none.xml"), tmp_path, "\0"):
        with pytest.raises(FormatError, match="no model could be read"):
            Network.from_sbml(path)


def test_functions_that_double_and_double_are_refused():
    functions = "".join(
        f'<functionDefinition id="f{i}"><math {MATH}><lambda><bvar><ci>x</ci></bvar><apply><plus/>'
        f"<apply><ci>f{i - 1}</ci><ci>x</ci></apply><apply><ci>f{i - 1}</ci><ci>x</ci></apply>"
        "</apply></lambda></math></functionDefinition>"
        for i in range(1, 60)
    )
    first = (
        f'<functionDefinition id="f0"><math {MATH}><lambda><bvar><ci>x</ci></bvar><ci>x</ci>'
        "</lambda></math></functionDefinition>"
    )
    text = _with_law("<apply><ci>f59</ci><ci>A</ci></apply>").replace(
        "<listOfCompartments>",
        f"<listOfFunctionDefinitions>{first}{functions}</listOfFunctionDefinitions>"
        "<listOfCompartments>",
    )
    _refused(text, "function 'f")


def test_rules_that_double_and_double_are_refused():
    names = [f"p{i}" for i in range(60)]
    parameters = [parameter(name, constant=False) for name in names]
    rules = [rule("assignment", "p0", ci("A"))] + [
        rule("assignment", one, apply("times", ci(before), ci(before)))
        for before, one in itertools.pairwise(names)
    ]
    text = document(compartment(size=1), species("A", 3), *parameters, *rules)
    _refused(text, "more than 100,000")


def test_initial_assignments_that_double_and_double_are_refused():
    names = [f"p{i}" for i in range(60)]
    parameters = [parameter(name, 1, constant=False) for name in names]
    starts = [
        initial(one, apply("times", ci(before), ci(before)))
        for before, one in itertools.pairwise(names)
    ]
    rules = [rule("rate", name, cn(1)) for name in names]
    text = document(*parameters, *starts, *rules, parameter("a", 2), initial("p0", ci("a")))
    _refused(text, ".")


# ---- Fuzzing ----------------------------------------------------------------------------------

SEEDS = [BASE]


@st.composite
def damaged(draw):
    """Draw a model in which some pieces were cut out, doubled, swapped or replaced."""
    text = draw(st.sampled_from(SEEDS))
    for _ in range(draw(st.integers(1, 4))):
        tags = [found.span() for found in re.finditer(r"<[^>]*>|\"[^\"]*\"|[0-9.]+", text)]
        if not tags:
            break
        begin, end = draw(st.sampled_from(tags))
        other = draw(st.sampled_from(tags))
        piece = draw(
            st.one_of(
                st.just(""),
                st.just(text[begin:end] * 2),
                st.just(text[other[0] : other[1]]),
                st.text(max_size=8),
                st.sampled_from(
                    ["<apply>", "</apply>", '"INF"', '"-1"', '"1e999"', "<lambda/>", '"A"', "<ci/>"]
                ),
            )
        )
        text = text[:begin] + piece + text[end:]
    return text


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(damaged())
def test_damaged_models_are_read_or_refused(text):
    try:
        network = Network.from_sbml("\n" + text)
    except FormatError:
        return
    assert Network.from_sbml(network.to_sbml()).state_names == network.state_names


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=200))
def test_random_bytes_are_refused(tmp_path_factory, data):
    path = tmp_path_factory.getbasetemp() / "random.xml"
    path.write_bytes(data)
    with pytest.raises(FormatError):
        Network.from_sbml(path)


@settings(max_examples=100, deadline=None)
@given(st.text(alphabet="<>/!-[]?\"'= \nab&;#xDOCTYPE", max_size=60))
def test_random_markup_is_refused(text):
    with pytest.raises(FormatError):
        Network.from_sbml("<" + text)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('<?xml version="1.0"?><foo/>', r"begins with <foo> \(line 1\), not <sbml>"),
        (
            '<sbml xmlns="http://www.sbml.org/sbml/level3/version1/core" level="3" version="1"/>',
            "must contain a <model>",
        ),
    ],
)
def test_a_document_without_content_is_not_called_damaged(text, message):
    with pytest.raises(FormatError, match=message) as caught:
        gl.Network.from_sbml(text)
    assert "cut short" not in str(caught.value)


def test_letters_that_antimony_does_not_know_are_pointed_at():
    with pytest.raises(FormatError, match="line 1 has 'ß'; names in Antimony are made of ASCII"):
        gl.Network.from_antimony("species ß; ß = 5; J: ß -> ; 0.1*ß")
