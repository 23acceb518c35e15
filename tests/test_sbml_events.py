"""Events that assign amounts and concentrations, from SBML and back to it."""

import numpy as np
import pytest
from sbml_texts import TIME, apply, ci, cn, compartment, document, event, rule, species

from gillespy_lite import Network, simulate
from gillespy_lite.errors import FormatError

pytest.importorskip("libsbml", reason="the extra sbml is not installed")

TIMES = np.array([0.0, 1.0, 1.9, 2.5, 2.9, 3.5, 6.0])

# V = 1 + t. At t = 2 there are 6 of S in 3, so its concentration is 2; one more is assigned at
# t = 3, when V = 4: 12 of it, whatever the concentration is by then.
GROWING = [
    compartment("V", 1, constant=False),
    rule("rate", "V", cn(1)),
    species("S", 6, place="V", amounts_only=False),
    species("H", 6, place="V"),
]
PLUS_ONE = apply("plus", ci("S"), cn(1))
AT_2 = apply("geq", TIME, cn(2))


def _executed_with_values_of_then(text):
    return text.replace('useValuesFromTriggerTime="true"', 'useValuesFromTriggerTime="false"')


@pytest.mark.parametrize("method", ["ode", "direct", "next_reaction"])
def test_a_concentration_kept_from_the_trigger_meets_the_size_at_the_execution(method):
    network = Network.from_sbml(document(*GROWING, event(AT_2, {"S": PLUS_ONE}, delay=cn(1))))
    found = simulate(network, TIMES, method=method, rng=1)
    amounts = np.where(TIMES < 3.0, 6.0, 12.0)
    assert found.amount("S") == pytest.approx(amounts, rel=1e-9)
    assert found["S"] == pytest.approx(amounts / (1.0 + TIMES), rel=1e-6)


def test_a_concentration_of_the_execution_is_that_of_then():
    # At t = 3: 6/4 + 1 = 5/2 in 4.
    text = _executed_with_values_of_then(event(AT_2, {"S": PLUS_ONE}, delay=cn(1)))
    found = simulate(Network.from_sbml(document(*GROWING, text)), TIMES, method="ode")
    assert found.amount("S") == pytest.approx(np.where(TIMES < 3.0, 6.0, 10.0), rel=1e-6)


def test_an_amount_kept_from_the_trigger_stays_that_amount():
    # 7 is 3.5 times the concentration 2 of the trigger, for a species whose symbol is its amount.
    values = {"H": apply("times", cn(3.5), ci("S"))}
    network = Network.from_sbml(document(*GROWING, event(AT_2, values, delay=cn(1))))
    found = simulate(network, TIMES, method="ode")
    assert found.amount("H") == pytest.approx(np.where(TIMES < 3.0, 6.0, 7.0), rel=1e-6)


@pytest.mark.parametrize("when", ["trigger", "execution"])
def test_events_that_assign_concentrations_come_back_as_they_were(when):
    text = event(AT_2, {"S": PLUS_ONE, "H": cn(2)}, delay=cn(1))
    if when == "execution":
        text = _executed_with_values_of_then(text)
    network = Network.from_sbml(document(*GROWING, text))
    (one,) = network.events
    assert (one.as_concentrations, one.values) == (("S",), when)
    assert Network.from_sbml(network.to_sbml()) == network
    assert Network.parse(str(network)) == network


def test_an_amount_assigned_where_the_size_is_fixed_comes_back_as_an_amount():
    network = Network.parse(
        "species S = 6\nparam V = 3\ncompartment V: [S]\nat t >= 2, after 1, values at trigger: "
        "S = S + 1"
    )
    assert Network.from_sbml(network.to_sbml()) == network
    (one,) = network.events
    assert one.as_concentrations == ()


# ---- What an event assigns, and what SBML would take it for ------------------------------------

MIXED = """
species S = 6, H = 6
variable V = 1
V' = 1
compartment V: [S], H
at t >= 2{clauses}: {assignments}
"""


@pytest.mark.parametrize(
    ("assignments", "s", "h"),
    [
        # At t = 2, V = 3.
        ("S = S + 3", 9.0, 6.0),
        ("[H] = 4", 6.0, 12.0),
        ("S = 5, [H] = S/V", 5.0, 6.0),
        # With the new size, 10.
        ("S = 5, [H] = 2, V = 10", 5.0, 20.0),
        ("[S] = 3, H = 7, V = 3*V + 1", 30.0, 7.0),
    ],
)
def test_the_other_of_amount_and_concentration_is_written_by_way_of_the_size(assignments, s, h):
    network = Network.parse(MIXED.format(clauses="", assignments=assignments))
    back = Network.from_sbml(network.to_sbml())
    for one in (network, back):
        found = simulate(one, np.array([0.0, 1.9, 2.1]), method="ode", rtol=1e-9, atol=1e-11)
        assert found.amount("S") == pytest.approx([6.0, 6.0, s], rel=1e-7)
        assert found.amount("H") == pytest.approx([6.0, 6.0, h], rel=1e-7)
    # SBML says it in its own way, which then stays.
    assert Network.from_sbml(back.to_sbml()) == back


@pytest.mark.parametrize(
    ("assignment", "advice"), [("S = 5", r"assign \[S\]"), ("[H] = 2", "assign the amount H")]
)
def test_a_kept_value_that_would_need_a_later_size_is_refused_by_name(assignment, advice):
    name = assignment.strip("[").split()[0].rstrip("]")
    clauses = ", after 1, values at trigger"
    network = Network.parse(MIXED.format(clauses=clauses, assignments=assignment))
    with pytest.raises(FormatError, match=f"keeps a value of '{name}'.*size 'V' changes; {advice}"):
        network.to_sbml()
    # Where the values are those of the execution, both can be said.
    later = Network.parse(MIXED.format(clauses=", after 1", assignments=assignment))
    found = [
        simulate(one, np.array([0.0, 2.9, 3.1]), method="ode")
        for one in (later, Network.from_sbml(later.to_sbml()))
    ]
    for species_name in ("S", "H"):
        ours, theirs = (one.amount(species_name) for one in found)
        assert theirs == pytest.approx(ours, rel=1e-6)
    assert found[0].amount(name)[-1] == pytest.approx(5.0 if name == "S" else 8.0, rel=1e-6)
