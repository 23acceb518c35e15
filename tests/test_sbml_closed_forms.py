"""Corners of SBML: small models whose curves are known as formulas.

Each stands for one of the features by which the SBML test suite tags its cases.
"""

import numpy as np
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

import gillespy_lite as gl
from gillespy_lite import Network, simulate
from gillespy_lite.errors import FormatError

pytest.importorskip("libsbml", reason="the extra sbml is not installed")

TIMES = np.linspace(0.0, 4.0, 18)
C = compartment(size=2)


def _times(*arguments):
    return apply("times", *arguments)


def _sum(*arguments):
    return apply("plus", *arguments)


def _rate_of(name):
    return f"<apply>{csymbol('rateOf', 'rateOf')}{ci(name)}</apply>"


def _call(name, *arguments):
    return f"<apply>{ci(name)}{''.join(arguments)}</apply>"


def _free(name, value=None):
    return parameter(name, value, constant=False)


def _after(time):
    return apply("gt", TIME, cn(time))


def _reference(text, *, species="P", name="n", value=None, constant=False):
    """Return the text with a name and another value for the reference to a species."""
    given = "" if value is None else f' stoichiometry="{value}"'
    return text.replace(
        f'species="{species}" stoichiometry="1" constant="true"',
        f'id="{name}" species="{species}"{given} constant="{str(constant).lower()}"',
    )


# Every model has the elements and, for ids, the curves; "amount S" is the amount of S.
MODELS = {
    # S decays at 0.3*(S/2); the symbol S is a concentration, and so is its rate.
    "rate_of_a_concentration": (
        [
            C,
            species("S", concentration=5, amounts_only=False),
            _free("r"),
            rule("assignment", "r", _rate_of("S")),
            reaction("R", {"S": 1}, {}, _times(cn(0.3), ci("S"))),
        ],
        {"r": lambda t: -0.75 * np.exp(-0.15 * t)},
    ),
    # V = exp(t/10), the amount of S is 3 + t: S = (3 + t)/V, S' = (1 - (3 + t)/10)/V.
    "rate_of_a_concentration_in_a_growing_compartment": (
        [
            compartment("V", 1, constant=False),
            rule("rate", "V", _times(cn(0.1), ci("V"))),
            species("S", 3, place="V", amounts_only=False),
            _free("r"),
            rule("assignment", "r", _rate_of("S")),
            reaction("R", {}, {"S": 1}, cn(1)),
        ],
        {"r": lambda t: (1.0 - 0.1 * (3.0 + t)) * np.exp(-0.1 * t)},
    ),
    "rate_of_at_the_start": (
        [
            C,
            species("S", 3),
            parameter("p"),
            initial("p", _rate_of("S")),
            reaction("R", {"S": 2}, {}, _times(cn(0.5), ci("S"))),
        ],
        {"p": lambda t: -3.0 + 0.0 * t, "S": lambda t: 3.0 * np.exp(-t)},
    ),
    "rate_of_an_argument_of_a_function": (
        [
            _free("x", 1),
            _free("a"),
            function("f", ["y"], _times(_rate_of("y"), ci("y"))),
            rule("rate", "x", cn(3)),
            rule("assignment", "a", _call("f", ci("x"))),
        ],
        {"a": lambda t: 3.0 * (1.0 + 3.0 * t)},
    ),
    # S falls through -2 per unit time when 4 exp(-t/2) = 2.
    "rate_of_in_trigger_and_assignment": (
        [
            C,
            species("S", 8),
            _free("a", 0),
            reaction("R", {"S": 1}, {}, _times(cn(0.5), ci("S"))),
            event(apply("gt", _rate_of("S"), cn(-2)), {"a": _rate_of("S")}),
        ],
        {"a": lambda t: np.where(t < 2.0 * np.log(2.0), 0.0, -2.0)},
    ),
    # The rate rule of a boundary species is not converted.
    "conversion_factor_of_one_species": (
        [
            C,
            species("S", 4).replace("/>", ' conversionFactor="g"/>'),
            species("B", 1, boundary=True).replace("/>", ' conversionFactor="g"/>'),
            parameter("g"),
            initial("g", apply("divide", cn(1), cn(4))),
            rule("rate", "B", cn(0.5)),
            reaction("R", {"S": 1}, {"B": 1}, _times(cn(0.5), ci("S"))),
        ],
        {"S": lambda t: 4.0 * np.exp(-t / 8.0), "B": lambda t: 1.0 + t / 2.0},
    ),
    "coefficient_by_an_assignment_rule": (
        [
            C,
            species("S", 4),
            species("P", 0),
            _free("k"),
            rule("assignment", "n", _sum(cn(1), TIME)),
            rule("assignment", "k", _times(cn(2), ci("n"))),
            _reference(reaction("R", {"S": 1}, {"P": 1}, cn(0.5))),
        ],
        {"P": lambda t: 0.5 * (t + t * t / 2.0), "n": lambda t: 1.0 + t, "k": lambda t: 2 + 2 * t},
    ),
    "coefficient_by_a_rate_rule": (
        [
            C,
            species("S", 4),
            species("P", 0),
            initial("n", cn(2)),
            rule("rate", "n", ci("n")),
            _reference(reaction("R", {"S": 1}, {"P": 1}, cn(0.1))),
        ],
        {"P": lambda t: 0.2 * np.expm1(t)},
    ),
    "coefficient_by_an_initial_assignment": (
        [
            C,
            species("S", 4),
            species("P", 0),
            parameter("k", 1.5),
            initial("n", _sum(ci("k"), cn(2))),
            _reference(reaction("R", {"S": 1}, {"P": 1}, cn(0.1)), constant=True),
        ],
        {"P": lambda t: 0.35 * t, "n": lambda t: 3.5 + 0.0 * t},
    ),
    "coefficient_by_an_event": (
        [
            C,
            species("S", 4),
            species("P", 0),
            _reference(reaction("R", {"S": 1}, {"P": 1}, cn(0.1)), value=1),
            event(_after(1.1), {"n": _sum(ci("n"), cn(1.5))}),
        ],
        {"P": lambda t: np.where(t < 1.1, 0.1 * t, 0.11 + 0.25 * (t - 1.1))},
    ),
    "coefficient_that_follows_a_concentration": (
        [
            C,
            species("S", 4, amounts_only=False),
            species("P", 0),
            rule("assignment", "n", ci("S")),
            _reference(reaction("R", {"S": 1}, {"P": 1}, cn(0.5))),
        ],
        {"P": lambda t: t - t * t / 16.0},
    ),
    "coefficient_below_zero": (
        [C, species("P", 0), _reference(reaction("R", {}, {"P": 1}, cn(0.5)), value=-2)],
        {"P": lambda t: -t},
    ),
    "size_by_an_initial_assignment": (
        [
            compartment("c"),
            parameter("p", 2),
            initial("c", _times(ci("p"), cn(2))),
            species("U", concentration=3, amounts_only=False),
            species("W", concentration=3),
            reaction("R", {"U": 1}, {}, _times(cn(0.6), ci("U"))),
        ],
        {"amount U": lambda t: 12.0 * np.exp(-0.15 * t), "W": lambda t: 12.0 + 0.0 * t},
    ),
    # The size that stands there, 5, is overruled at the start as well.
    "size_by_an_assignment_rule": (
        [
            compartment("c", 5, constant=False),
            rule("assignment", "c", _sum(cn(2), TIME)),
            species("U", concentration=3, amounts_only=False),
            reaction("R", {"U": 1}, {}, cn(0.6)),
        ],
        {
            "amount U": lambda t: 6.0 - 0.6 * t,
            "U": lambda t: (6.0 - 0.6 * t) / (2.0 + t),
        },
    ),
    # x = exp(t), V = x^2; S' = -0.3 S holds for the concentration.
    "rate_rule_of_a_concentration_where_the_size_has_a_rule": (
        [
            compartment("V", constant=False),
            _free("x", 1),
            rule("rate", "x", ci("x")),
            rule("assignment", "V", _times(ci("x"), ci("x"))),
            species("S", concentration=2, place="V", amounts_only=False, boundary=True),
            rule("rate", "S", _times(cn(-0.3), ci("S"))),
        ],
        {
            "S": lambda t: 2.0 * np.exp(-0.3 * t),
            "amount S": lambda t: 2.0 * np.exp(1.7 * t),
        },
    ),
    "assignment_rules_of_boundary_species_in_a_growing_compartment": (
        [
            compartment("c", 1, constant=False),
            rule("rate", "c", cn(0.5)),
            species("B", boundary=True, amounts_only=False),
            species("H", boundary=True),
            rule("assignment", "B", _sum(cn(1), TIME)),
            rule("assignment", "H", _sum(cn(1), TIME)),
            species("S", 1, amounts_only=False),
            reaction("R", {"B": 1}, {"S": 1}, ci("B")),
        ],
        {
            "amount B": lambda t: (1.0 + t) * (1.0 + t / 2.0),
            "amount H": lambda t: 1.0 + t,
            "amount S": lambda t: 1.0 + t + t * t / 2.0,
        },
    ),
    # The amount stays when the compartment doubles, so the concentration is halved.
    "event_that_changes_a_size": (
        [
            compartment("V", 1, constant=False),
            species("S", concentration=2, place="V", amounts_only=False, boundary=True),
            rule("rate", "S", cn(1)),
            event(_after(1.1), {"V": cn(2)}),
        ],
        {"S": lambda t: np.where(t < 1.1, 2.0 + t, 1.55 + (t - 1.1))},
    ),
    # c = 1 + t, the amounts start as 3: at 1.1 Q is 3/2.1; the values are used at 1.7.
    "event_that_swaps_an_amount_and_a_concentration": (
        [
            compartment("c", 1, constant=False),
            rule("rate", "c", cn(1)),
            species("H", 3),
            species("Q", 3, amounts_only=False, boundary=True),
            event(_after(1.1), {"H": ci("Q"), "Q": ci("H")}, delay=cn(0.6)),
        ],
        {
            "amount H": lambda t: np.where(t < 1.7, 3.0, 3.0 / 2.1),
            "amount Q": lambda t: np.where(t < 1.7, 3.0, 3.0 * 2.7),
        },
    ),
    "local_parameters_that_hide_everything": (
        [
            C,
            species("S", 4),
            parameter("k", 9),
            reaction(
                "R",
                {"S": 1},
                {},
                _times(ci("S"), ci("c"), ci("k"), ci("R"), ci("t")),
                local="".join(
                    f'<localParameter id="{name}" value="{value}"/>'
                    for name, value in {"S": 0.1, "c": 3, "k": 2, "R": 0.5, "t": 2}.items()
                ),
            ),
        ],
        {"S": lambda t: 4.0 - 0.6 * t},
    ),
    "functions_whose_arguments_are_called_like_functions": (
        [
            _free("a"),
            function("f", ["g"], _times(ci("g"), _call("h"))),
            function("g", ["f"], _times(ci("f"), cn(5))),
            function("h", [], cn(0.5)),
            rule("assignment", "a", _call("f", _call("g", TIME))),
        ],
        {"a": lambda t: 2.5 * t},
    ),
    "truth_as_a_number_and_numbers_as_truth": (
        [
            _free("a"),
            _free("b"),
            rule("assignment", "a", _sum(_after(2), cn(1))),
            rule(
                "assignment",
                "b",
                f"<piecewise><piece>{cn(5)}{apply('minus', ci('a'), cn(1))}</piece>"
                "<otherwise><true/></otherwise></piecewise>",
            ),
        ],
        {"a": lambda t: 1.0 + (t > 2.0), "b": lambda t: np.where(t > 2.0, 5.0, 1.0)},
    ),
    "ids_that_are_words_elsewhere": (
        [
            C,
            species("t", 4),
            species("avogadro", 0),
            species("time", 0),
            reaction("exp", {"t": 1}, {"avogadro": 1, "time": 1}, _times(cn(0.5), ci("t"))),
            _free("pi"),
            rule("assignment", "pi", _sum(ci("exp"), TIME, "<pi/>")),
        ],
        {
            "time": lambda t: -4.0 * np.expm1(-t / 2.0),
            "exp": lambda t: 2.0 * np.exp(-t / 2.0),
            "pi": lambda t: 2.0 * np.exp(-t / 2.0) + t + np.pi,
        },
    ),
}


def _check(text, curves):
    found = simulate(Network.from_sbml(text), TIMES, method="ode", rtol=1e-10, atol=1e-12)
    for name, curve in curves.items():
        plain = name.removeprefix("amount ")
        column = found.amount(plain) if plain != name else found[name]
        assert column == pytest.approx(curve(TIMES), rel=1e-7, abs=1e-9), name


@pytest.mark.parametrize("name", sorted(MODELS))
def test_curves_are_their_closed_forms(name):
    elements, curves = MODELS[name]
    _check(document(*elements), curves)


@pytest.mark.parametrize("name", sorted(MODELS))
def test_curves_are_the_same_after_a_round_trip(name):
    elements, curves = MODELS[name]
    _check(Network.from_sbml(document(*elements)).to_sbml(), curves)


def test_the_factor_of_the_model_converts_all_species():
    text = document(
        compartment(size=4),
        species("S", concentration=4, amounts_only=False),
        parameter("f", 3),
        reaction("R", {"S": 1}, {}, _times(cn(0.5), ci("S"))),
        model=' conversionFactor="f"',
    )
    _check(text, {"S": lambda t: 4.0 * np.exp(-0.375 * t)})


def _level_2(body, *, declaration='<?xml version="1.0" encoding="UTF-8"?>', law=""):
    law = law or math(cn(0.2))
    return (
        f'{declaration}<sbml xmlns="http://www.sbml.org/sbml/level2/version4" level="2" '
        'version="4"><model id="m"><listOfCompartments><compartment id="c" size="2"/>'
        '</listOfCompartments><listOfSpecies><species id="S" compartment="c" initialAmount="4"/>'
        '<species id="P" compartment="c" initialAmount="0"/></listOfSpecies><listOfReactions>'
        '<reaction id="R" reversible="false"><listOfReactants><speciesReference species="S"/>'
        f"</listOfReactants><listOfProducts>{body}</listOfProducts><kineticLaw>{law}"
        "</kineticLaw></reaction></listOfReactions></model></sbml>"
    )


def test_a_coefficient_of_level_2_may_be_a_formula_of_time_and_state():
    # S = 2 - t/10 as a concentration, P' = S t / 5.
    formula = math(_times(ci("S"), TIME))
    text = _level_2(
        '<speciesReference species="P">'
        f"<stoichiometryMath>{formula}</stoichiometryMath></speciesReference>"
    )
    _check(text, {"amount P": lambda t: 0.2 * (t * t - t**3 / 30.0)})


def test_a_declaration_without_encoding_means_utf_8():
    text = _level_2('<speciesReference species="P"/>', declaration='<?xml version="1.0"?>')
    _check(text, {"amount P": lambda t: 0.2 * t})


def test_a_species_reference_of_level_2_has_no_value():
    text = _level_2('<speciesReference id="n" species="P"/>', law=math(ci("n")))
    with pytest.raises(FormatError, match=r"law of the reaction 'R'.* unknown id 'n'"):
        Network.from_sbml(text)


def test_amounts_in_moles_are_never_rounded_to_zero():
    # 1e-6 mol/l in 1e-15 l are 1e-21 mol; first-order decay at .1.
    network = gl.Network.from_antimony(
        "compartment c = 1e-15; species A in c, B in c; A = 1e-6; B = 0; J: A => B; c*0.1*A"
    )
    path = gl.simulate(network, [0, 10], method="ode")
    assert path["A"] == pytest.approx([1e-6, 1e-6 * np.exp(-1)], rel=1e-6)
    with pytest.raises(gl.MethodError, match=r"'A', which is no count .*starts at 1e-21"):
        gl.simulate(network, 1, rng=1)
    with pytest.raises(gl.NetworkError, match="Avogadro"):
        gl.Species("A", 1e-21)
