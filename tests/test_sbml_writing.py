"""Networks as SBML, and back: the same propensities, the same paths."""

import difflib

import numpy as np
import pytest
from sbml_texts import apply, ci, cn, compartment, document, parameter, reaction, species

from gillespy_lite import Network, models, simulate
from gillespy_lite.errors import FormatError

libsbml = pytest.importorskip("libsbml", reason="the extra sbml is not installed")

STOCK = sorted(models.MODELS)

FULL = """
species A = 50, B = 3, idle = 4
param V = 2, k = 0.30000000000000004, double = 2*k, unknown = nan, c = 1.1e-7
variable W = 1.5, X = 0.25, held = 3
observe total = A + B, late = if(t > 2 and not A < 3, total/V, -total)
observe amount_there = 2*A
compartment V: [A], X, [amount_there]

make: 0 -> B @ c*1e6
pair: 2 A -> B @ 0.01*k
triple: 3 B + A -> 2 A @ 1e-4*double
B => 0 @ k*B*hill(A, 20, 2)/(1 + exp(-X)) unlimited
leave: B => 0 @ k*log(1 + B)
W' = -k*W*A/50 + late*0.001
X' = 0.1*sin(t)
held' = 0

at t >= 1.25: A = 60
dose: when B > 6, after 0.5, priority 2 + k, not persistent, initially true, values at trigger: \
B = B - 5, X = 1
"""


def _document_problems(text):
    read = libsbml.readSBMLFromString(text)
    read.setConsistencyChecks(libsbml.LIBSBML_CAT_UNITS_CONSISTENCY, False)
    read.checkConsistency()
    return [
        read.getError(index).getMessage()
        for index in range(read.getNumErrors())
        if read.getError(index).getSeverity() >= libsbml.LIBSBML_SEV_ERROR
    ]


def _difference(one, other):
    lines = difflib.unified_diff(str(one).splitlines(), str(other).splitlines(), lineterm="", n=0)
    return "\n".join(lines)


@pytest.mark.parametrize("name", STOCK)
def test_stock_models_give_the_same_paths_after_a_round_trip(name):
    network = models.MODELS[name].build()
    back = Network.from_sbml(network.to_sbml())
    assert back.state_names == network.state_names
    assert [(one.name, one.equation) for one in back.reactions] == [
        (one.name, one.equation) for one in network.reactions
    ]
    times = np.linspace(0.0, 1.0, 11)
    ours, theirs = (simulate(one, times, rng=8, method="direct") for one in (network, back))
    assert np.array_equal(ours.counts, theirs.counts)


def test_a_network_of_everything_comes_back_as_it_was():
    network = Network.parse(FULL)
    text = network.to_sbml()
    back = Network.from_sbml(text)
    # hill() has no word in SBML, so it comes back written out.
    expected = Network.parse(FULL.replace("hill(A, 20, 2)", "(1/(1 + (20/A)^2))"))
    assert set(back.parameters) == set(expected.parameters), _difference(expected, back)
    assert back.species == expected.species
    assert set(back.variables) == set(expected.variables), _difference(expected, back)
    assert back.reactions == expected.reactions, _difference(expected, back)
    assert set(back.observables) == set(expected.observables), _difference(expected, back)
    assert back.events == expected.events, _difference(expected, back)
    assert back.compartments[0].as_concentrations == ("A", "amount_there")
    assert Network.from_sbml(back.to_sbml()) == back


def test_what_is_written_is_valid_sbml():
    assert _document_problems(Network.parse(FULL).to_sbml()) == []
    for name in STOCK:
        assert _document_problems(models.MODELS[name].build().to_sbml()) == []


def test_a_law_is_written_as_the_propensity():
    text = Network.parse("species A = 4\nR: 3 A -> A @ 2").to_sbml()
    read = libsbml.readSBMLFromString(text)
    law = read.getModel().getReaction(0).getKineticLaw().getMath()
    assert libsbml.formulaToL3String(law).replace(" ", "") == "2*A*(A-1)*(A-2)/6"


def test_sbml_is_the_same_after_two_round_trips():
    law = apply("minus", apply("times", ci("k"), ci("A")), apply("times", cn(0.1), ci("B")))
    text = document(
        compartment(size=2),
        species("A", 10, amounts_only=False),
        species("B", 4),
        parameter("k", 0.5),
        reaction("R", {"A": 1}, {"B": 1}, law, reversible=True),
    )
    first = Network.from_sbml(text)
    assert len(first.reactions) == 2
    second = Network.from_sbml(first.to_sbml())
    assert second == first, _difference(first, second)
    assert second.to_sbml() == first.to_sbml()
    read = libsbml.readSBMLFromString(first.to_sbml())
    assert read.getModel().getNumReactions() == 1


def test_real_coefficients_and_variables_on_sides_come_back():
    network = Network.parse(
        "variable X = 2.5, Y = 1, n = 2\nparam k = 0.1, m = 3\n"
        "R: X => 0.5 Y + (m*n) X @ k*X unlimited\nS: Y => (n) X @ k unlimited\nn' = 0.1"
    )
    back = Network.from_sbml(network.to_sbml())
    times = np.linspace(0.0, 3.0, 7)
    ours, theirs = (simulate(one, times, method="ode") for one in (network, back))
    for name in ("X", "Y", "n"):
        assert theirs[name] == pytest.approx(ours[name], rel=1e-6)
    assert Network.from_sbml(back.to_sbml()) == back


def test_names_that_sbml_does_not_allow_come_back():
    network = Network.parse(
        "species é = 3, _u03B1_ = 2\nparam \N{GREEK SMALL LETTER BETA}_ = 1\n"
        "zerfällt: é -> _u03B1_ @ \N{GREEK SMALL LETTER BETA}_"
    )
    text = network.to_sbml()
    assert _document_problems(text) == []
    assert Network.from_sbml(text) == network


def test_numbers_come_back_to_the_last_bit():
    stream = np.random.default_rng(3)
    values = (10.0 ** stream.uniform(-300, 300, 200) * stream.choice([-1.0, 1.0], 200)).tolist()
    lines = [f"param p{index} = {value!r}" for index, value in enumerate(values)]
    network = Network.parse("species A = 1\n" + "\n".join(lines) + "\nA -> 0 @ 0.1")
    back = Network.from_sbml(network.to_sbml())
    assert back.parameter_values.tolist() == values


def test_a_long_sum_is_written_and_read():
    law = " + ".join(["k*A"] * 3_000)
    network = Network.parse(f"species A = 10\nparam k = 1e-4\nA => 0 @ {law} unlimited")
    assert Network.from_sbml(network.to_sbml()) == network


def test_what_sbml_does_not_have_is_refused_by_name():
    delayed = Network.parse("species A = 10, B = 0\nR: A -> B @ 1 delay 2")
    with pytest.raises(FormatError, match="'R' completes later"):
        delayed.to_sbml()
    named_twice = Network.parse("species A = 10, B = 0\nA: A -> B @ 1")
    with pytest.raises(FormatError, match="'A' stands for two things"):
        named_twice.to_sbml()
