"""Models of GillesPy2: their propensities, evaluated by their own text, and ours."""

from __future__ import annotations

import logging
import math
import re
from pathlib import Path

import numpy as np
import pytest

import gillespy_lite as gl
from gillespy_lite.compilation import propensity_expression
from gillespy_lite.errors import FormatError
from gillespy_lite.formats.gillespy2_conversion import read_gillespy2

gillespy2 = pytest.importorskip("gillespy2", reason="GillesPy2 is not installed")

# Its own use of Python's syntax trees.
pytestmark = pytest.mark.filterwarnings("ignore:.* is deprecated:DeprecationWarning")


@pytest.fixture(autouse=True)
def _quiet():
    logging.getLogger("GillesPy2").setLevel(logging.ERROR)


def species(name, initial=0, **options):
    return gillespy2.Species(name=name, initial_value=initial, **options)


def parameter(name, expression):
    return gillespy2.Parameter(name=name, expression=expression)


def reaction(name, reactants, products, **law):
    return gillespy2.Reaction(name=name, reactants=reactants, products=products, **law)


def model_of(*parts, volume=1.0, **options):
    model = gillespy2.Model(name="test", volume=volume, **options)
    model.add(list(parts))
    return model


def every_mass_action(volume=1.0):
    return model_of(
        parameter("k", 3),
        parameter("k2", "k/2"),
        species("A", 10),
        species("B", 7),
        reaction("source", {}, {"A": 1}, rate="k"),
        reaction("decay", {"A": 1}, {}, rate="k2"),
        reaction("pair", {"A": 1, "B": 1}, {"B": 2}, rate="k"),
        reaction("twins", {"A": 2}, {"B": 1}, rate="k2"),
        reaction("plain", {"B": 1}, {}, rate=parameter("k", 3)),
        volume=volume,
    )


def custom_laws():
    return model_of(
        parameter("K", 30),
        parameter("n", 2.5),
        species("A", 10),
        species("e_", 7),
        gillespy2.FunctionDefinition(name="half", function="x/(y + x)", args=["x", "y"]),
        reaction("hilly", {"A": 1}, {}, propensity_function="5*A**n/(K**n + A^n)"),
        reaction("called", {"A": 2}, {}, propensity_function="half(A, K)*half(half(A, 2), 3)"),
        reaction("maths", {}, {"A": 1}, propensity_function="exp(-A/K) + log(1 + A)*sqrt(e_)"),
        reaction("signs", {}, {"A": 1}, propensity_function="A - -1e0 + 2**-A + e*vol"),
        reaction("timed", {}, {"A": 1}, propensity_function="1 + sin(t)"),
        volume=2.0,
    )


def michaelis_menten():
    return model_of(
        *(parameter(name, value) for name, value in (("k1", 0.0017), ("k2", 0.5), ("k3", 0.1))),
        *(species(name, n) for name, n in (("A", 301), ("B", 120), ("C", 0), ("D", 0))),
        reaction("r1", {"A": 1, "B": 1}, {"C": 1}, rate="k1"),
        reaction("r2", {"C": 1}, {"A": 1, "B": 1}, rate="k2"),
        reaction("r3", {"C": 1}, {"B": 1, "D": 1}, rate="k3"),
    )


def toggle_switch():
    return model_of(
        *(parameter(name, value) for name, value in (("alpha1", 10.0), ("alpha2", 10.0))),
        *(parameter(name, value) for name, value in (("beta", 2.0), ("gamma", 2.0), ("mu", 1.0))),
        species("U", 10),
        species("V", 10),
        reaction("cu", {}, {"U": 1}, propensity_function="alpha1/(1+pow(V,beta))"),
        reaction("cv", {}, {"V": 1}, propensity_function="alpha2/(1+pow(U,gamma))"),
        reaction("du", {"U": 1}, {}, rate="mu"),
        reaction("dv", {"V": 1}, {}, rate="mu"),
    )


def dimerisation():
    return model_of(
        parameter("kc", 0.005),
        parameter("kd", 0.08),
        species("monomer", 30),
        species("dimer", 0),
        reaction("creation", {"monomer": 2}, {"dimer": 1}, rate="kc"),
        reaction("dissociation", {"dimer": 1}, {"monomer": 2}, rate="kd"),
    )


MODELS = {
    "mass action": every_mass_action,
    "mass action in a volume": lambda: every_mass_action(2.5),
    "custom laws": custom_laws,
    "Michaelis-Menten": michaelis_menten,
    "toggle switch": toggle_switch,
    "dimerisation": dimerisation,
}


def own_propensity(model, one, values):
    """Evaluate the text that GillesPy2 itself evaluates."""
    names = {**vars(math), **values, "vol": model.volume}
    for function in model.get_all_function_definitions().values():
        names[function.name] = eval(f"lambda {','.join(function.args)}: {function.function_string}")
    return float(eval(one.propensity_function, names))


@pytest.mark.parametrize("build", MODELS.values(), ids=MODELS)
def test_propensities_are_those_of_gillespy2s_own_text(build):
    model = build()
    network = read_gillespy2(model)
    constants = dict(zip(network.parameter_names, network.parameter_values, strict=True))
    rng = np.random.default_rng(5)
    for _ in range(20):
        state = {name: float(rng.integers(1, 60)) for name in network.species_names}
        values = {**constants, **state, "t": float(rng.uniform(0.0, 10.0))}
        for j, one in enumerate(model.get_all_reactions().values()):
            found = propensity_expression(network, j).evaluate(values)
            expected = own_propensity(model, one, values)
            assert found == pytest.approx(expected, rel=1e-13), one.name
    assert [one.name for one in network.reactions] == list(model.get_all_reactions())
    changes = network.stoichiometry_matrix
    for j, one in enumerate(model.get_all_reactions().values()):
        for i, name in enumerate(network.species_names):
            made = {key.name: count for key, count in one.products.items()}.get(name, 0)
            taken = {key.name: count for key, count in one.reactants.items()}.get(name, 0)
            assert changes[i, j] == made - taken


def test_initial_counts_are_kept():
    network = gl.Network.from_gillespy2(michaelis_menten())
    assert dict(zip(network.species_names, network.initial_state, strict=True)) == {
        "A": 301,
        "B": 120,
        "C": 0,
        "D": 0,
    }
    assert "vol" not in network.parameter_names


def test_two_equal_molecules_meet_as_often_as_in_gillespy2():
    # k*A*(A - 1), without the half of our own mass action.
    network = read_gillespy2(dimerisation())
    assert str(network.reactions[0].rate) == "2*kc"


def test_rules_events_and_continuous_species_are_kept():
    model = model_of(
        parameter("k", 0.5),
        parameter("level", 1),
        species("A", 10),
        species("X", 2.5, mode="continuous"),
        species("Y", 3, mode="continuous"),
        species("total", 0, mode="continuous"),
        species("fixed", 4, boundary_condition=True),
        reaction("r", {"A": 1, "fixed": 1}, {"fixed": 2}, rate="k"),
        gillespy2.RateRule(name="rule", variable="X", formula="-k*X + sin(t)"),
        gillespy2.AssignmentRule(name="sum", variable="total", formula="A + 2*X"),
        gillespy2.Event(
            name="dose",
            trigger=gillespy2.EventTrigger(
                expression="t >= 5 and A < 20", initial_value=True, persistent=True
            ),
            assignments=[
                gillespy2.EventAssignment(variable="A", expression="A + 3"),
                gillespy2.EventAssignment(variable="level", expression="level*2"),
            ],
            delay="1.5",
            priority="2",
            use_values_from_trigger_time=True,
        ),
    )
    network = read_gillespy2(model)
    assert network.species_names == ("A", "fixed")
    assert network.variable_names == ("X", "Y", "level")
    assert network.initial_variables.tolist() == [2.5, 3.0, 1.0]
    assert [str(one.rate) for one in network.variables[:2]] == ["-k*X + sin(t)", "0"]
    assert [str(one) for one in network.observables] == ["total"]
    assert network.stoichiometry_matrix.tolist() == [[-1], [0]]
    (event,) = network.events
    (expected,) = gl.Network.parse(
        "species A\nvariable level\ndose: when t >= 5 and A < 20, after 1.5, priority 2, "
        "initially true, values at trigger: A = A + 3, level = level*2"
    ).events
    assert event == expected
    assert gl.Network.parse(str(network)) == network


def test_events_are_not_persistent_unless_they_say_so():
    trigger = gillespy2.EventTrigger(expression="A > 3")
    assignment = gillespy2.EventAssignment(variable="A", expression="0")
    model = model_of(species("A", 1), gillespy2.Event(trigger=trigger, assignments=[assignment]))
    (event,) = read_gillespy2(model).events
    assert not event.persistent
    assert not event.initially
    assert event.priority is None
    assert event.delay is None
    assert event.values == "execution"


def test_reserved_words_get_an_underscore():
    model = model_of(
        species("species", 5), reaction("min", {"species": 1}, {}, propensity_function="2*species")
    )
    network = read_gillespy2(model)
    assert network.species_names == ("species_",)
    assert str(network.reactions[0]) == "min_: species_ => 0 @ 2*species_ unlimited"


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        (
            [reaction("r", {"A": 1}, {}, propensity_function="k*A", ode_propensity_function="A")],
            "the reaction 'r': its law for differential equations, 'A', differs",
        ),
        (
            [reaction("r", {"A": 1}, {}, propensity_function="A*erf(A)")],
            "the reaction 'r': there is no function 'erf'",
        ),
        (
            [
                species("N", 3, allow_negative_populations=True),
                reaction("r", {"N": 1}, {}, rate="k"),
            ],
            "the reaction 'r': the population of 'N' may become negative",
        ),
        (
            [gillespy2.RateRule(name="rule", variable="A", formula="__import__('os')")],
            "the rate rule 'rule': ",
        ),
        (
            [gillespy2.RateRule(name="rule", variable="A", formula="A.real")],
            "the rate rule 'rule': ",
        ),
        (
            [gillespy2.AssignmentRule(name="rule", variable="A", formula="unknown")],
            "the assignment rule 'rule': the name 'unknown' is not declared",
        ),
        (
            [
                gillespy2.AssignmentRule(name="rule", variable="A", formula="k"),
                reaction("r", {"A": 1}, {}, rate="k"),
            ],
            "the reaction 'r': the species 'A' follows an assignment rule",
        ),
    ],
    ids=range(7),
)
def test_what_has_no_counterpart_is_refused_by_name(parts, message):
    model = model_of(parameter("k", 1), species("A", 5), *parts)
    with pytest.raises(FormatError) as refused:
        read_gillespy2(model)
    assert str(refused.value).startswith(message)


def test_models_in_concentrations_are_refused():
    model = model_of(species("A", 5), population=False)
    with pytest.raises(FormatError, match="'test': it is written in concentrations"):
        read_gillespy2(model)


def test_what_is_no_model_is_refused():
    with pytest.raises(TypeError, match=r"takes a gillespy2.Model, not 5"):
        gl.Network.from_gillespy2(5)


def test_the_migration_guide_shows_what_the_conversion_gives():
    page = (Path(__file__).parent.parent / "docs" / "migrating.md").read_text("utf-8")
    (code,) = re.findall(r"```py\n(import gillespy2\n.*?)```", page, re.DOTALL)
    (shown,) = re.findall(r"```network\n(.*?)```", page, re.DOTALL)
    names = {}
    exec(code, names)
    assert read_gillespy2(names["model"]) == gl.Network.parse(shown)
