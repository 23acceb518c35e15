"""What an SBML model means as a network."""

import math as maths

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

from gillespy_lite import Network, ensemble, simulate
from gillespy_lite.errors import BadPropensityError, FormatError

pytest.importorskip("libsbml", reason="the extra sbml is not installed")

AB = [compartment(size=2), species("A", 10), species("B", 0)]


def _decay(law, *, reversible=False, extra=()):
    """Return the network of A -> B, with parameters k and h."""
    return Network.from_sbml(
        document(
            *AB,
            parameter("k", 0.5),
            parameter("h", 0.1),
            reaction("R", {"A": 1}, {"B": 1}, law, reversible=reversible),
            *extra,
        )
    )


# ---- Amounts and concentrations ---------------------------------------------------------------


def test_a_law_is_the_propensity_as_it_stands():
    law = apply("times", cn(0.5), ci("P"), apply("minus", ci("P"), cn(1)))
    network = Network.from_sbml(
        document(compartment(), species("P", 9), reaction("D", {"P": 2}, {}, law))
    )
    (one,) = network.reactions
    assert one.kind == "propensity"
    assert one.rate.evaluate({"P": 9.0}) == 36.0


def test_the_symbol_of_a_species_is_its_amount_only_if_the_model_says_so():
    law = apply("times", ci("k"), ci("A"))
    for amounts_only, rate in ((True, 0.5), (False, 0.25)):
        network = Network.from_sbml(
            document(
                compartment(size=2),
                species("A", 10, amounts_only=amounts_only),
                parameter("k", 0.5),
                reaction("R", {"A": 1}, {}, law),
            )
        )
        (one,) = network.reactions
        value = one.rate.evaluate({"k": 0.5, "c": 2.0})
        assert (one.kind, value) == ("mass_action", rate)
        (place,) = network.compartments
        assert place.as_concentrations == (() if amounts_only else ("A",))


def test_changing_the_volume_changes_rates_and_initial_amounts():
    network = Network.from_sbml(
        document(
            compartment(size=2),
            species("A", concentration=5, amounts_only=False),
            reaction("R", {"A": 1}, {}, apply("times", cn(3), ci("A"))),
        )
    )
    assert network.initial_state.tolist() == [10]
    assert network.with_parameters(c=4).initial_state.tolist() == [20]


def test_an_unset_size_does_not_stop_a_model_of_amounts():
    network = Network.from_sbml(
        document(
            compartment(), species("A", 10), reaction("R", {"A": 1}, {}, apply("times", ci("A")))
        )
    )
    assert maths.isnan(
        dict(zip(network.parameter_names, network.parameter_values, strict=True))["c"]
    )
    assert simulate(network, 100.0, rng=1)["A"][-1] == 0


def test_an_amount_that_is_nearly_whole_is_rounded_and_one_that_is_not_is_real():
    for amount, is_species in ((24.999999999999996, True), (24.9, False)):
        network = Network.from_sbml(
            document(
                compartment(),
                species("A", amount),
                reaction("R", {"A": 1}, {}, apply("times", ci("A"))),
            )
        )
        assert (network.species_names == ("A",)) is is_species
        assert network.state_names == ("A",)


def test_boundary_and_constant_species_are_not_changed_by_reactions():
    network = Network.from_sbml(
        document(
            compartment(size=1),
            species("A", 3),
            species("F", 2, boundary=True),
            species("K", 4, boundary=True, constant=True),
            reaction("R", {"F": 1, "A": 1}, {"K": 1}, apply("times", ci("F"), ci("A"))),
        )
    )
    assert [one.name for one in network.parameters] == ["c", "F", "K"]
    assert network.reactions[0].reactants == (("A", 1),)
    assert network.reactions[0].products == ()


def test_every_id_is_found_in_the_results():
    network = Network.from_sbml(
        document(
            *AB,
            parameter("k", 0.5),
            parameter("twice", constant=False),
            rule("assignment", "twice", apply("times", cn(2), ci("A"))),
            reaction("R", {"A": 1}, {"B": 1}, apply("times", ci("k"), ci("A"))),
        )
    )
    found = simulate(network, np.linspace(0.0, 2.0, 5), rng=3)
    assert (found["twice"] == 2 * found["A"]).all()
    assert (found["R"] == 0.5 * found["A"]).all()
    assert (found["c"] == 2.0).all()
    assert (found["k"] == 0.5).all()


def test_reserved_words_as_ids_get_an_underscore():
    network = Network.from_sbml(
        document(
            compartment("and"),
            species("t", 5, place="and"),
            parameter("exp", 0.5),
            parameter("exp_", 2),
            reaction("if", {"t": 1}, {}, apply("times", ci("exp"), ci("exp_"), ci("t"))),
        )
    )
    assert network.species_names == ("t_",)
    assert set(network.parameter_names) == {"and_", "exp__", "exp_"}
    assert network.reactions[0].rate.evaluate({"exp__": 0.5, "exp_": 2.0}) == 1.0


# ---- Formulas ---------------------------------------------------------------------------------

VALUES = {"x": 0.3, "y": -2.5, "z": 7.0}
FORMULAS = {
    "plus of nothing": (apply("plus"), 0.0),
    "times of nothing": (apply("times"), 1.0),
    "unary minus": (apply("minus", ci("y")), 2.5),
    "divide": (apply("divide", ci("z"), ci("y")), 7.0 / -2.5),
    "power": (apply("power", ci("z"), cn(2)), 49.0),
    "root": (apply("root", ci("z")), maths.sqrt(7.0)),
    "third root": (apply("root", f"<degree>{cn(3)}</degree>", ci("z")), 7.0 ** (1.0 / 3.0)),
    "log": (apply("log", ci("z")), maths.log10(7.0)),
    "log to base 2": (apply("log", f"<logbase>{cn(2)}</logbase>", ci("z")), maths.log2(7.0)),
    "ln": (apply("ln", ci("z")), maths.log(7.0)),
    "abs": (apply("abs", ci("y")), 2.5),
    "ceiling": (apply("ceiling", ci("y")), -2.0),
    "floor": (apply("floor", ci("y")), -3.0),
    "factorial": (apply("factorial", ci("z")), 5040.0),
    "quotient": (apply("quotient", ci("z"), ci("y")), -2.0),
    "rem": (apply("rem", ci("z"), ci("y")), 2.0),
    "rem of a negative": (apply("rem", ci("y"), cn(2)), -0.5),
    "min": (apply("min", ci("x"), ci("y"), ci("z")), -2.5),
    "max": (apply("max", ci("x"), ci("y"), ci("z")), 7.0),
    "sec": (apply("sec", ci("x")), 1.0 / maths.cos(0.3)),
    "csc": (apply("csc", ci("x")), 1.0 / maths.sin(0.3)),
    "cot": (apply("cot", ci("x")), 1.0 / maths.tan(0.3)),
    "sinh": (apply("sinh", ci("x")), maths.sinh(0.3)),
    "coth": (apply("coth", ci("x")), 1.0 / maths.tanh(0.3)),
    "sech": (apply("sech", ci("x")), 1.0 / maths.cosh(0.3)),
    "csch": (apply("csch", ci("x")), 1.0 / maths.sinh(0.3)),
    "arcsin": (apply("arcsin", ci("x")), maths.asin(0.3)),
    "arccos": (apply("arccos", ci("x")), maths.acos(0.3)),
    "arctan": (apply("arctan", ci("z")), maths.atan(7.0)),
    "arccot": (apply("arccot", ci("z")), maths.atan(1.0 / 7.0)),
    "arcsec": (apply("arcsec", ci("z")), maths.acos(1.0 / 7.0)),
    "arccsc": (apply("arccsc", ci("z")), maths.asin(1.0 / 7.0)),
    "arcsinh": (apply("arcsinh", ci("z")), maths.asinh(7.0)),
    "arccosh": (apply("arccosh", ci("z")), maths.acosh(7.0)),
    "arctanh": (apply("arctanh", ci("x")), maths.atanh(0.3)),
    "arccoth": (apply("arccoth", ci("z")), maths.atanh(1.0 / 7.0)),
    "arcsech": (apply("arcsech", ci("x")), maths.acosh(1.0 / 0.3)),
    "arccsch": (apply("arccsch", ci("z")), maths.asinh(1.0 / 7.0)),
    "a truth in a sum": (apply("plus", apply("gt", ci("z"), ci("x")), cn(1)), 2.0),
    "a number as a truth": (apply("and", ci("z"), ci("y")), 1.0),
    "chained comparison": (apply("lt", ci("y"), ci("x"), ci("z")), 1.0),
    "chained comparison that fails": (apply("lt", ci("y"), ci("z"), ci("x")), 0.0),
    "xor": (apply("xor", ci("x"), ci("y"), ci("z")), 1.0),
    "implies": (apply("implies", "<true/>", "<false/>"), 0.0),
    "not": (apply("not", "<false/>"), 1.0),
    "piecewise": (
        f"<piecewise><piece>{cn(3)}{apply('lt', ci('x'), ci('y'))}</piece>"
        f"<otherwise>{cn(4)}</otherwise></piecewise>",
        4.0,
    ),
    "piecewise without otherwise": (
        f"<piecewise><piece>{cn(3)}{apply('lt', ci('x'), ci('y'))}</piece></piecewise>",
        maths.nan,
    ),
    "e": ("<exponentiale/>", maths.e),
    "pi": ("<pi/>", maths.pi),
    "infinity": ("<infinity/>", maths.inf),
    "no number": ("<notanumber/>", maths.nan),
    "one over nothing": (apply("divide", cn(1), cn(0)), maths.inf),
    "avogadro": (csymbol("avogadro", "NA"), 6.02214179e23),
    "rational": ('<cn type="rational">1<sep/>8</cn>', 0.125),
    "exponent": ('<cn type="e-notation">1.7<sep/>-7</cn>', 1.7e-7),
    "time": (TIME, 0.0),
}


@pytest.mark.parametrize("name", sorted(FORMULAS))
def test_formulas_have_their_values(name):
    body, expected = FORMULAS[name]
    network = Network.from_sbml(
        document(
            compartment(size=1),
            species("S", 1),
            *(parameter(key, value) for key, value in VALUES.items()),
            parameter("f", constant=False),
            rule("assignment", "f", body),
            reaction("R", {"S": 1}, {}, cn(0)),
        )
    )
    values = dict(zip(network.parameter_names, network.parameter_values.tolist(), strict=True))
    (observable,) = [one for one in network.observables if one.name == "f"]
    found = float(observable.expression.evaluate({**values, "t": 0.0, "S": 1.0}))
    assert found == pytest.approx(expected, rel=1e-14, nan_ok=True)
    # As the value at the start of a parameter it is the same number.
    network = Network.from_sbml(
        document(
            compartment(size=1),
            species("S", 1),
            *(parameter(key, value) for key, value in VALUES.items()),
            parameter("f"),
            initial("f", body),
            reaction("R", {"S": 1}, {}, cn(0)),
        )
    )
    values = dict(zip(network.parameter_names, network.parameter_values.tolist(), strict=True))
    assert values["f"] == pytest.approx(expected, rel=1e-14, nan_ok=True)


def test_functions_are_put_in_and_their_arguments_hide_ids():
    network = _decay(
        f"<apply><ci>g</ci>{ci('A')}</apply>",
        extra=[
            function("f", ["k"], apply("times", ci("k"), ci("k"))),
            function("g", ["x"], apply("plus", f"<apply><ci>f</ci>{ci('x')}</apply>", cn(1))),
        ],
    )
    assert network.reactions[0].rate.evaluate({"A": 3.0, "k": 99.0}) == 10.0


def test_local_parameters_hide_global_ones():
    network = Network.from_sbml(
        document(
            *AB,
            parameter("k", 0.5),
            parameter("R_k", 7),
            reaction(
                "R",
                {"A": 1},
                {"B": 1},
                apply("times", ci("k"), ci("A")),
                local='<localParameter id="k" value="3"/>',
            ),
        )
    )
    values = dict(zip(network.parameter_names, network.parameter_values.tolist(), strict=True))
    assert values["R_k_"] == 3.0
    assert str(network.reactions[0].rate) == "R_k_"


def test_initial_assignments_are_resolved_in_any_order_and_follow_parameters():
    network = Network.from_sbml(
        document(
            compartment(size=2),
            species("A", amounts_only=False),
            parameter("p"),
            parameter("q"),
            parameter("r", 3),
            initial("A", apply("times", ci("p"), cn(2))),
            initial("p", apply("plus", ci("q"), cn(1))),
            initial("q", apply("times", ci("r"), cn(2))),
            reaction("R", {"A": 1}, {}, apply("times", ci("A"))),
        )
    )
    assert network.initial_state.tolist() == [28]  # (3*2 + 1)*2 per volume, in a volume of 2
    assert network.with_parameters(r=1).initial_state.tolist() == [12]


def test_rate_of_follows_rules_reactions_and_volumes():
    def rate_of(name):
        return f"<apply>{csymbol('rateOf', 'rateOf')}{ci(name)}</apply>"

    network = Network.from_sbml(
        document(
            compartment(size=2, constant=False),
            species("A", 4, amounts_only=False),
            species("B", 1),
            parameter("p", 1, constant=False),
            *(parameter(name, constant=False) for name in ("a", "b", "v", "w", "n")),
            parameter("k", 3),
            rule("rate", "c", cn(0.5)),
            rule("rate", "p", apply("times", cn(2), ci("p"))),
            rule("assignment", "a", rate_of("A")),
            rule("assignment", "b", rate_of("B")),
            rule("assignment", "v", rate_of("c")),
            rule("assignment", "w", rate_of("p")),
            rule("assignment", "n", rate_of("k")),
            reaction("R", {"A": 1}, {"B": 3}, apply("times", ci("k"), ci("A"))),
        )
    )
    found = simulate(network, np.array([0.0, 0.1]), method="ode")
    # R = 3*4/2 = 6; [A]' = (-6 - 2*0.5)/2; B' = 18; c' = 0.5; p' = 2.
    expected = {"a": -3.5, "b": 18.0, "v": 0.5, "w": 2.0, "n": 0.0}
    assert {name: found[name][0] for name in expected} == pytest.approx(expected)


def test_the_rate_of_a_concentration_counts_the_change_of_the_volume():
    # c' = 1 - c/4 with V = 1 + t/2: the amount is c V, and c is the same whatever V does.
    network = Network.from_sbml(
        document(
            compartment("V", 1, constant=False),
            species("S", concentration=2, place="V", amounts_only=False, boundary=True),
            rule("rate", "V", cn(0.5)),
            rule("rate", "S", apply("minus", cn(1), apply("divide", ci("S"), cn(4)))),
        )
    )
    times = np.linspace(0.0, 4.0, 9)
    found = simulate(network, times, method="ode", rtol=1e-9, atol=1e-11)
    expected = 4.0 - 2.0 * np.exp(-times / 4.0)
    assert found["S"] == pytest.approx(expected, rel=1e-7)
    assert found.amount("S") == pytest.approx(expected * (1.0 + times / 2.0), rel=1e-7)


def test_an_event_that_assigns_concentration_and_volume_means_the_new_volume():
    network = Network.from_sbml(
        document(
            compartment("V", 1, constant=False),
            species("S", 4, place="V", amounts_only=False, boundary=True),
            event(apply("gt", TIME, cn(1)), {"S": cn(3), "V": cn(5)}),
        )
    )
    found = simulate(network, np.array([0.0, 2.0]), method="ode")
    assert found["S"].tolist() == [4.0, 3.0]
    assert found.amount("S").tolist() == [4.0, 15.0]


def test_events_of_level_3_keep_what_they_say():
    network = Network.from_sbml(
        document(
            *AB,
            event(
                apply("gt", ci("A"), cn(3)),
                {"B": cn(7)},
                delay=cn(2),
                priority=ci("A"),
                name="e",
            ).replace(
                'initialValue="true" persistent="true"', 'initialValue="false" persistent="false"'
            ),
            reaction("R", {"A": 1}, {"B": 1}, cn(0)),
        )
    )
    (one,) = network.events
    assert (one.name, one.initially, one.persistent, one.values) == ("e", False, False, "trigger")
    assert (str(one.delay), str(one.priority), str(one.trigger)) == ("2", "A", "A > 3")


# ---- Laws that are a difference ---------------------------------------------------------------


def _names(network):
    return [one.name for one in network.reactions]


def test_a_net_rate_becomes_two_reactions_and_keeps_its_name():
    law = apply("minus", apply("times", ci("k"), ci("A")), apply("times", ci("h"), ci("B")))
    network = _decay(law, reversible=True)
    assert _names(network) == ["R", "R_reverse"]
    assert [str(one.rate) for one in network.reactions] == ["k", "h"]
    assert network.reactions[1].reactants == (("B", 1),)
    found = simulate(network, np.linspace(0.0, 5.0, 6), rng=2)
    assert (found["R"] == 0.5 * found["A"] - 0.1 * found["B"]).all()
    assert (found["A"] + found["B"] == 10).all()


def test_a_net_rate_is_split_through_factors_and_quotients():
    inner = apply("minus", ci("A"), apply("divide", ci("B"), ci("h")))
    law = apply("divide", apply("times", ci("k"), inner), apply("plus", cn(1), ci("A")))
    network = _decay(law, reversible=True)
    assert _names(network) == ["R", "R_reverse"]
    state = {"A": 4.0, "B": 3.0, "k": 0.5, "h": 0.1}
    forward, reverse = (float(one.rate.evaluate(state)) for one in network.reactions)
    assert forward == pytest.approx(0.5 * 4.0 / 5.0)
    assert reverse == pytest.approx(0.5 * 30.0 / 5.0)


@pytest.mark.parametrize(
    ("law", "reason"),
    [
        (
            apply("times", cn(0.5), ci("A"), apply("minus", ci("A"), cn(1))),
            "is never negative",
        ),
        (
            apply("times", ci("k"), apply("minus", cn(100), ci("B"))),
            "may be what is left of something else",
        ),
        (
            apply("minus", ci("k"), apply("times", ci("h"), ci("B"))),
            "does not stop without A",
        ),
    ],
    ids=["falling", "rest", "source"],
)
def test_a_law_that_is_no_net_rate_is_kept_whole(law, reason):
    network = _decay(law, reversible=True)
    assert _names(network) == ["R"], reason


def test_splitting_would_change_the_law_of_a_conserved_total():
    # 0 -> P at k (100 - P), P -> 0 at g: binomial with p = k/(k + g), which splitting would make
    # Poisson-like: variance 50 in place of 25. With 4,000 paths a variance of 26.5 is 2.7 sd off.
    network = Network.from_sbml(
        document(
            compartment(),
            species("P", 50),
            reaction(
                "made",
                {},
                {"P": 1},
                apply("times", cn(0.5), apply("minus", cn(100), ci("P"))),
                reversible=True,
            ),
            reaction("lost", {"P": 1}, {}, apply("times", cn(0.5), ci("P"))),
        )
    )
    counts = ensemble(network, [0.0, 10.0], 4_000, rng=5)["P"][:, -1]
    assert abs(counts.var() - 25.0) < 2.5


def test_a_law_that_turns_negative_stops_a_stochastic_run_by_its_name():
    # With B = 3 the law is 0.5 - 0.9.
    law = apply("minus", ci("k"), apply("times", ci("h"), ci("B"), ci("B")))
    network = _decay(law, reversible=True)
    with pytest.raises(BadPropensityError, match="'R'"):
        simulate(network, 1000.0, rng=1)


# ---- What is refused --------------------------------------------------------------------------

BAD = {
    "algebraic rule": (
        [*AB, parameter("p", 1, constant=False), f"<algebraicRule>{math(ci('p'))}</algebraicRule>"],
        "algebraic rule on line",
    ),
    "delay": (
        [
            *AB,
            reaction("R", {"A": 1}, {}, f"<apply>{csymbol('delay', 'd')}{ci('A')}{cn(1)}</apply>"),
        ],
        r"law of the reaction 'R' \(line \d+\) uses delay\(\)",
    ),
    "constraint": (
        [*AB, f"<constraint>{math(apply('gt', ci('A'), cn(1)))}</constraint>"],
        "constraint",
    ),
    "recursive function": (
        [
            *AB,
            function("f", ["x"], f"<apply><ci>f</ci>{ci('x')}</apply>"),
            reaction("R", {"A": 1}, {}, f"<apply><ci>f</ci>{ci('A')}</apply>"),
        ],
        "function 'f'.*recursive",
    ),
    "unknown id": ([*AB, reaction("R", {"A": 1}, {}, ci("kk"))], "unknown id 'kk'"),
    "unknown species": ([*AB, reaction("R", {"X": 1}, {}, cn(1))], "unknown species 'X'"),
    "circle of rules": (
        [
            *AB,
            parameter("p", constant=False),
            parameter("q", constant=False),
            rule("assignment", "p", ci("q")),
            rule("assignment", "q", ci("p")),
        ],
        "defined in a circle",
    ),
    "circle of starts": (
        [*AB, parameter("p"), parameter("q"), initial("p", ci("q")), initial("q", ci("p"))],
        "defined in a circle",
    ),
    "two rules": (
        [
            *AB,
            parameter("p", constant=False),
            rule("assignment", "p", cn(1)),
            rule("rate", "p", cn(1)),
        ],
        "second rule",
    ),
    "rule of a constant": ([*AB, parameter("p", 1), rule("rate", "p", cn(1))], "constant"),
    "rule of a reacting species": (
        [*AB, rule("rate", "A", cn(1)), reaction("R", {"A": 1}, {}, cn(1))],
        "which has a rule",
    ),
    "id with code": ([*AB, parameter("__import__('os')", 1)], "id"),
    "id used twice": ([*AB, parameter("A", 1)], "'A'"),
    "unknown function": ([*AB, reaction("R", {}, {}, "<apply><ci>f</ci></apply>")], "function 'f'"),
    "compartment that is not there": ([species("S", 1, place="nowhere")], "'nowhere'"),
}


@pytest.mark.parametrize("name", sorted(BAD))
def test_what_cannot_be_meant_is_refused_by_name(name):
    elements, message = BAD[name]
    with pytest.raises(FormatError, match=message):
        Network.from_sbml(document(*elements))


def test_packages_that_change_the_meaning_are_refused_by_name():
    for package in ("comp", "fbc", "qual", "madeup"):
        uri = f"http://www.sbml.org/sbml/level3/version1/{package}/version1"
        text = document(*AB, attributes=f' xmlns:x="{uri}" x:required="true"')
        with pytest.raises(FormatError, match=f"package '{package}'"):
            Network.from_sbml(text)


def test_a_fast_reaction_is_refused_by_name():
    text = document(*AB, reaction("R", {"A": 1}, {}, cn(1)))
    text = text.replace("version2", "version1").replace('version="2"', 'version="1"')
    text = text.replace('<reaction id="R"', '<reaction fast="true" id="R"')
    with pytest.raises(FormatError, match=r"'R'.*fast"):
        Network.from_sbml(text)


# ---- What may be left out (Level 3 Version 2) -------------------------------------------------


def test_missing_formulas_have_no_effect():
    empty_event = (
        '<event useValuesFromTriggerTime="true"><listOfEventAssignments>'
        '<eventAssignment variable="p"/></listOfEventAssignments></event>'
    )
    network = Network.from_sbml(
        document(
            *AB,
            parameter("p", 3, constant=False),
            parameter("q", 4),
            '<rateRule variable="p"/>',
            '<initialAssignment symbol="q"/>',
            reaction("R", {"A": 1}, {"B": 1}, ""),
            empty_event,
        )
    )
    assert [str(one.rate) for one in network.reactions] == ["0"]
    assert network.events == ()
    values = dict(zip(network.parameter_names, network.parameter_values.tolist(), strict=True))
    assert (values["p"], values["q"]) == (3.0, 4.0)


def test_a_model_without_anything_that_changes_is_a_network():
    network = Network.from_sbml(document(parameter("p", 3.5)))
    found = simulate(network, np.array([0.0, 1.0]), method="ode")
    assert found["p"].tolist() == [3.5, 3.5]
