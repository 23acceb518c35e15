"""Events, delays, compartments and real amounts in the language: read, printed, refused."""

import copy
import math
import pickle
import re
import time

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from test_dsl import expressions_of, mistake_in, names, networks, numbers

import gillespy_lite as gl
from gillespy_lite.conservation import conservation_laws
from gillespy_lite.dsl import parse_expression, parse_network
from gillespy_lite.errors import NetworkError, ParseError
from gillespy_lite.network import (
    Compartment,
    Delay,
    Event,
    Network,
    Parameter,
    Reaction,
    Species,
    Variable,
)
from gillespy_lite.rate_laws import Number, Symbol, normal_name
from gillespy_lite.reactions import DELAY_LAWS

DECLARED = """\
species A = 10, B
param k = 1, tau = 2, n = 3, V = 1.5
variable X = 1
observe total = A + B
"""


def read(text):
    return parse_network(f"{DECLARED}X' = 0\n{text}")


def event_of(text):
    return read(text).events[0]


# ---- What is read -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "event"),
    [
        ("at t >= 25: A = 50", Event(parse_expression("t >= 25"), {"A": 50})),
        ("when t >= 25: A = 50", Event(parse_expression("t >= 25"), {"A": 50})),
        ("at(t>=25):A=50", Event(parse_expression("t >= 25"), {"A": 50})),
        (
            "when A > 30: B = B + 1, X = 0",
            Event(Symbol("A") > 30, {"B": Symbol("B") + 1, "X": 0}),
        ),
        (
            "dose : when not A > 30, after 2*tau: X = 0",
            Event(~(Symbol("A") > 30), {"X": 0}, delay=2 * Symbol("tau"), name="dose"),
        ),
        (
            "when -A < 30, priority -A, values at trigger: X = 0",
            Event(-Symbol("A") < 30, {"X": 0}, priority=-Symbol("A"), values="trigger"),
        ),
        (
            "when A > 1, not persistent, initially true, after 0: X = 0",
            Event(Symbol("A") > 1, {"X": 0}, persistent=False, initially=True, delay=0),
        ),
        (
            "when A > 1, values at execution, initially false, persistent: X = 0",
            Event(Symbol("A") > 1, {"X": 0}),
        ),
        ("when if(A > 1, B > 2, t > 3): X = 0", None),
        ("when 1 == 1: X = 0", None),
    ],
)
def test_events_are_read(text, event):
    assert event is None or event_of(text) == event
    assert Network.parse(str(read(text))) == read(text)


def test_a_trigger_may_be_an_observable_that_is_a_condition():
    network = read("observe high = A > 5 and t > 1\nobserve same = high\nwhen same: B = 1")
    assert network.events[0].trigger == Symbol("same")
    with pytest.raises(ParseError, match="'total', is no condition"):
        read("when total: B = 1")


@pytest.mark.parametrize(
    ("text", "delay"),
    [
        ("delay 2", Delay("fixed", 2)),
        ("delay 2*tau", Delay("fixed", 2 * Symbol("tau"))),
        ("delay fixed(tau)", Delay("fixed", Symbol("tau"))),
        ("delay (tau)", Delay("fixed", Symbol("tau"))),
        ("delay max(tau, 2)", Delay("fixed", parse_expression("max(tau, 2)"))),
        ("delay exponential(tau)", Delay("exponential", Symbol("tau"))),
        ("delay uniform(1, (2 + 1)*tau)", Delay("uniform", 1, (Number(2) + 1) * Symbol("tau"))),
        ("delay normal(2, 0)", Delay("normal", 2, 0)),
        ("delay gamma(2, 1.5*A)", Delay("gamma", 2, 1.5 * Symbol("A"))),
        ("delay 2 consuming on initiation", Delay("fixed", 2)),
        ("delay 2 consuming on completion", Delay("fixed", 2, consuming="completion")),
        (
            "delay gamma(2, 1)consuming on completion",
            Delay("gamma", 2, 1, consuming="completion"),
        ),
    ],
)
def test_delays_are_read(text, delay):
    plain, law, late_law = read(
        f"A -> B @ k*2 {text}\nA => B @ k*A {text}\nA => B @ k*A {text} unlimited"
    ).reactions
    assert plain == Reaction({"A": 1}, {"B": 1}, Symbol("k") * 2, delay=delay)
    assert law == Reaction(
        {"A": 1}, {"B": 1}, Symbol("k") * Symbol("A"), kind="propensity", delay=delay
    )
    assert late_law == Reaction(
        {"A": 1}, {"B": 1}, Symbol("k") * Symbol("A"), kind="propensity", delay=delay, limited=False
    )
    assert read(f"A => B @ k*A unlimited {text}").reactions[0] == late_law


@pytest.mark.parametrize(
    ("side", "terms"),
    [
        ("0.5 X", (("X", 0.5),)),
        ("0.5*X", (("X", 0.5),)),
        (".5X", (("X", 0.5),)),
        ("1e-5 X", (("X", 1e-5),)),
        ("(1e3) X", (("X", 1000),)),
        ("2.0 X", (("X", 2),)),
        ("0.25 X + 0.75 X", (("X", 1),)),
        ("A + (2*n) X", (("A", 1), ("X", 2 * Symbol("n")))),
        ("(2*n)*X + B", (("X", 2 * Symbol("n")), ("B", 1))),
        ("((n + t)*(A - 1)) X", (("X", parse_expression("(n + t)*(A - 1)")),)),
        ("(n) X + 0.5 X", (("X", Symbol("n") + 0.5),)),
        ("(if(A <-3, 1, 2)) X", (("X", parse_expression("if(A < -3, 1, 2)")),)),
    ],
)
def test_variables_react_in_real_amounts(side, terms):
    for text in (f"0 => {side} @ k", f"name:{side}=>0@k unlimited"):
        network = read(text)
        reaction = network.reactions[0]
        assert (reaction.reactants or reaction.products) == terms
        assert Network.parse(str(network)) == network


def test_variables_that_reactions_or_events_change_need_no_rule():
    network = parse_network("variable X = 1, Y, Z\nparam k = 1\nX -> 2 Y @ k\nwhen X < 0.5: Z = 1")
    assert [one.rate for one in network.variables] == [None, None, None]
    assert Network.parse(str(network)) == network
    assert "'" not in str(network)


def test_compartments_are_read():
    network = read("compartment V: A, [B]")
    assert network.compartments == (Compartment("V", ["A", "B"], ["B"]),)
    assert read("compartment V:[B],A").compartments == (Compartment("V", ["B", "A"], ["B"]),)
    for empty in ("compartment V", "compartment V:"):
        assert read(empty).compartments == (Compartment("V", []),)
    two = read("param W = 2\ncompartment V: A\ncompartment W: B\ncompartment V: [X]")
    assert two.compartments == (Compartment("V", ["A", "X"], ["X"]), Compartment("W", ["B"]))
    for one in (network, two, read("compartment V"), read("compartment X: total, k")):
        assert Network.parse(str(one)) == one


def test_long_compartments_are_printed_on_several_lines():
    many = [Species(f"a_species_{index}") for index in range(50)]
    network = Network(
        many,
        parameters=[Parameter("V", 1)],
        compartments=[Compartment("V", many, many[::3])],
    )
    assert max(map(len, str(network).splitlines())) <= 88
    assert Network.parse(str(network)) == network


def test_a_whole_text_with_everything_is_printed_as_people_write_it():
    text = """\
species A = 10, B
variable X = 2.5
param k = 1, tau = 2, V = 1.5
compartment V: A, [B]

r: A -> B @ k delay gamma(2, 1.5*tau) consuming on completion
A => B @ k*A delay 2 unlimited
X => 0.5 X @ k*X
X' = -X
at t >= 25: A = 50
dose: when A > 30, after 2*tau, priority 5, not persistent, initially true, values at trigger: \
B = B + 1, X = 0
"""
    network = parse_network(text)
    assert str(network) == text
    for again in (pickle.loads(pickle.dumps(network)), copy.deepcopy(network)):
        assert (again, again.digest, hash(again)) == (network, network.digest, hash(network))
    assert repr(network) == (
        "<Network: 2 species, 1 variable, 3 reactions, 3 parameters, 2 events>"
    )
    for change in (
        ("gamma(2, 1.5", "gamma(2, 1.25"),
        (" consuming on completion", ""),
        (" unlimited", ""),
        ("0.5 X", "0.25 X"),
        ("[B]", "B"),
        ("not persistent, ", ""),
        ("initially true, ", ""),
        ("values at trigger", "values at execution"),
        ("priority 5", "priority 6"),
        ("after 2*tau, ", ""),
        ("A = 50", "A = 51"),
        ("dose", "dose2"),
    ):
        assert parse_network(text.replace(*change)) != network


# ---- Words that mean something only where they stand --------------------------------------------

CONTEXTUAL = [
    "at",
    "when",
    "after",
    "priority",
    "persistent",
    "initially",
    "values",
    "trigger",
    "execution",
    "delay",
    "unlimited",
    "consuming",
    "on",
    "completion",
    "initiation",
    "compartment",
    "fixed",
    "uniform",
    "normal",
    "gamma",
    "exponential",
    "true",
    "false",
    "nan",
    "inf",
    "then",
    "do",
]


@settings(max_examples=400, deadline=None)
@given(st.data())
def test_the_words_of_events_and_delays_are_still_names(data):
    pool = st.sampled_from(CONTEXTUAL)
    a, b, c, d = data.draw(st.lists(pool, min_size=4, max_size=4, unique=True))
    label = data.draw(st.one_of(st.just(""), pool.map("{}: ".format)))
    other = data.draw(st.one_of(st.just(""), pool.map("{}: ".format)))
    assume(label == "" or label != other)
    arrow = data.draw(st.sampled_from(["->", "=>"]))
    reaction = data.draw(
        st.sampled_from(
            [
                f"{label}{a} {arrow} {b} @ {c}",
                f"{label}{a}+{b}{arrow}2 {a} @ {c}*{d} delay {c}",
                f"{label}2 {a} + {b} {arrow} 0 @ {c} delay gamma({c}, {d} + {a}) consuming on "
                "completion",
                f"{label}{a} => {a} + (2*{c}) {d} @ {c}*{a} delay uniform(1, 2*{c}) unlimited",
                f"{label}{a} => {b} @ {c} delay {c} unlimited",
                f"{label}{a} <-> {b} @ {c}, 2*{c}",
                f"{label}0 {arrow} {a} @ -{c} + 1",
            ]
        )
    )
    event = data.draw(
        st.sampled_from(
            [
                f"{other}when {a} > {c}: {a} = {b}",
                f"{other}at -{a} < {b}, after {c}: {d} = {c}, {a} = 1",
                f"{other}when not {a} > 1, not persistent, priority {c} - {d}: {b} = 0",
                f"{other}at ({a} + {b} > 1), values at trigger, initially true: {a} = {a} + 1",
            ]
        )
    )
    text = f"species {a} = 3, {b} = 4\nparam {c} = 2\nvariable {d} = 1.5\n{d}' = {a}\n"
    text += f"compartment {c}: {a}, [{d}]\n{reaction}\n{event}"
    network = parse_network(text)
    assert len(network.events) == 1
    assert len(network.reactions) == 1 + ("<->" in reaction)
    assert network.reactions[0].reactants[:1] in (((a, 1),), ((a, 2),), ())
    assert network.compartments[0].size == c
    assert Network.parse(str(network)) == network


def test_lines_that_begin_like_events_but_are_reactions():
    network = parse_network(
        """
        species at = 1, when = 2, compartment = 3
        at -> when @ 1
        when->at@1
        at + when -> 0 @ 1
        at: at -> 0 @ 1
        when : when + compartment -> 0 @ 1
        compartment: compartment -> at @ 1
        compartment + at -> 0 @ 1
        compartment -> 0 @ 1
        at @x -> 0 @ 1
        """.replace("at @x", "at")
    )
    assert len(network.reactions) == 9
    assert [one.name for one in network.reactions if one.name] == ["at", "when", "compartment"]
    rule = parse_network("variable at = 1, when\nat' = 2\nwhen' = at\nat: at at > 3: at = 0")
    assert [one.name for one in rule.events] == ["at"]


# ---- Round trips --------------------------------------------------------------------------------


@st.composite
def rich_networks(draw):
    base = draw(networks())
    species = list(base.species)
    extra = draw(st.lists(names, max_size=3, unique_by=normal_name))
    taken = {*base.state_names, *base.parameter_names, *base.observable_names}
    variables = [
        *base.variables,
        *(Variable(name, draw(st.one_of(numbers, st.sampled_from([math.nan, -math.inf]))))
          for name in extra if normal_name(name) not in taken),
    ]  # fmt: skip
    parameters = [
        *base.parameters,
        *(Parameter(name, draw(st.sampled_from([math.nan, math.inf, -math.inf, 2.0])))
          for name in ("unset", "V", "W")),
    ]  # fmt: skip
    known = [*(one.name for one in (*species, *variables)), "unset", "V"]
    # A few expressions, each used more than once, so that a case is drawn quickly.
    laws = st.sampled_from([Symbol("t"), *draw(st.lists(expressions_of(known), max_size=5))])
    states = known[:-2]
    events = []
    for index in range(draw(st.integers(0, 4))):
        targets = draw(st.lists(st.sampled_from(states), min_size=1, max_size=3, unique=True))
        optional = st.one_of(st.none(), laws)
        events.append(
            Event(
                draw(st.sampled_from([Symbol("t") >= 2, draw(laws) > draw(laws), ~draw(laws)])),
                {target: draw(laws) for target in targets},
                delay=draw(optional),
                priority=draw(optional),
                persistent=draw(st.booleans()),
                initially=draw(st.booleans()),
                values=draw(st.sampled_from(["trigger", "execution"])),
                name=draw(st.sampled_from(["", f"e{index}", f"r{index}"])),
            )
        )
    reactions = list(base.reactions)
    for _ in range(draw(st.integers(0, 3))):
        kind = draw(st.sampled_from(["mass_action", "propensity"]))
        delay = None
        if draw(st.booleans()):
            law = draw(st.sampled_from(sorted(DELAY_LAWS)))
            arguments = [draw(laws) for _ in DELAY_LAWS[law]]
            delay = Delay(
                law, *arguments, consuming=draw(st.sampled_from(["initiation", "completion"]))
            )
        computed = laws.filter(lambda law: not law.is_number)
        amounts = st.one_of(st.floats(1e-300, 1e8), st.integers(1, 9), computed)
        terms = [
            (name, draw(amounts if name not in base.species_names else st.integers(1, 9)))
            for name in draw(st.lists(st.sampled_from(states), max_size=3))
        ]
        is_whole = all(isinstance(amount, int) for _, amount in terms)
        reactions.append(
            Reaction(
                terms if kind == "propensity" or is_whole else [],
                terms,
                draw(laws),
                kind=kind,
                delay=delay,
                limited=kind == "mass_action" or draw(st.booleans()),
            )
        )
    left = draw(st.permutations(states))
    cut = draw(st.integers(0, len(left)))
    compartments = [
        Compartment("V", left[:cut], [name for name in left[:cut] if draw(st.booleans())]),
        Compartment("W", left[cut:]),
    ][: draw(st.integers(0, 2))]
    try:
        return Network(
            species,
            reactions,
            parameters,
            base.observables,
            variables,
            events=events,
            compartments=compartments,
        )
    except NetworkError:  # an infinite constant, a negative delay, a variable that nothing changes
        assume(False)


@settings(max_examples=150, deadline=None)
@given(rich_networks())
def test_text_reads_back_as_the_same_network_with_everything(network):
    again = parse_network(str(network))
    assert again == network
    assert (hash(again), str(again)) == (hash(network), str(network))
    assert again.events == network.events
    assert again.compartments == network.compartments
    assert np.array_equal(again.parameter_values, network.parameter_values, equal_nan=True)
    assert np.array_equal(again.initial_variables, network.initial_variables, equal_nan=True)
    assert network.to_latex()
    assert network._repr_html_()


def test_values_that_are_not_known_are_written_as_words():
    text = "species S\nvariable X = nan, Y = -inf\nparam a = nan, b = inf, c = -inf\nX' = 0\nY' = 0"
    network = parse_network(text)
    assert str(network).startswith(text.rpartition("\nX'")[0])
    assert np.array_equal(network.parameter_values, [math.nan, math.inf, -math.inf], equal_nan=True)
    assert np.array_equal(network.initial_variables, [math.nan, -math.inf], equal_nan=True)
    in_python = Network(
        [Species("S")],
        [],
        [Parameter("a", float("nan")), Parameter("b", np.inf), Parameter("c", -math.inf)],
        [],
        [Variable("X", np.float64("nan"), 0), Variable("Y", -math.inf, 0)],
    )
    assert network == in_python == pickle.loads(pickle.dumps(network))
    assert hash(network) == hash(in_python)


def test_nan_and_inf_are_names_where_they_are_declared():
    network = parse_network("species S\nparam nan = 3, inf = 2\nparam a = nan, b = -inf")
    assert network.parameter_values.tolist() == [3.0, 2.0, 3.0, -2.0]
    assert Network.parse(str(network)) == network
    with pytest.raises(NetworkError, match="'nan' is declared; rename that"):
        Network([Species("nan")], [], [Parameter("a", math.nan)])


# ---- Refusals -----------------------------------------------------------------------------------

# Text with a mark » where the caret must be, and what the message must say.
MISTAKES = {
    # what others write
    "no word": ("»t >= 25 : A = 50", "an event begins with at or when: at t >= 25: A = 50"),
    "no word, state": ("A »> 30: B = 1", "an event begins with at or when"),
    "condition behind": ("»A = 50 when t >= 25", "begins with its condition: at t >= 25: A = 50"),
    "if": ("»if t >= 25: A = 50", "an event begins with at or when"),
    "if in brackets": ("»if (t >= 25) A = 50", "an event is written when A > 30: B = 0"),
    "event": ("event »t > 5: A = 50", "begins with at or when"),
    "Antimony": ("E1: at (»time > 5): A = 50", "the time is written t"),
    "Antimony's semicolon": ("E1: at (t > 5): A = 50»;", "on a line of its own"),
    "Antimony's delay": ("at 2 »after (t > 5): A = 5", "the condition comes first, then its delay"),
    "Antimony's priority": ("at (t > 5), »priority = 1: A = 5", "written priority 1 here, without"),
    "Antimony's t0": ("at (t > 5), »t0 = false: A = 5", "initially true, or initially false here"),
    "Antimony's persistence": ("at t > 5, »persistent = false: A = 5", "written not persistent"),
    "Antimony's values": ("at t > 5, »fromTrigger=true: A = 5", "written values at trigger"),
    "delay for after": ("at t > 5, »delay 2: A = 5", "written after 2 here"),
    "delay = for after": ("at t > 5, »delay=2: A = 5", "written after 2 here, without ="),
    "delay without a comma": ("at t > 5 »delay 2: A = 5", "written after 2 here, behind a comma"),
    "then": ("when A > 30 »then B = 1", "a colon stands between"),
    "no colon": ("when A > 30 »B = 1", "a colon is missing before the first assignment"),
    "comma for colon": ("when A > 30, »B = 1", "a colon stands between"),
    "=": ("at t »= 25: A = 50", "at t >= 25: A = 50"),
    ":=": ("when A > 30: B »:= 1", "with a single =: B = 50"),
    "+=": ("when A > 30: B »+= 1", r"write B = B \+ ..."),
    "++": ("when A > 30: B»++", r"write B = B \+ 1"),
    "==": ("when A > 30: B »== 1", "with a single ="),
    "<-": ("when A > 30: B »<- 1", "write = and what 'B' becomes"),
    "reaction for assignments": ("when A > 30: »A -> B @ k", "a reaction stands on a line of its"),
    "reaction with a missing +": ("at A »-> B @ k", "a reaction stands on a line of its own"),
    "braces": ("when A > 30 »{ B = 1 }", "round brackets"),
    # events
    "number for a condition": (
        "at »25: A = 50",
        "the trigger of event 1, '25', is no condition; .* t >= 25",
    ),
    "amount for a condition": (
        "dose: when »A + 1: A = 50",
        r"of event 'dose', 'A \+ 1', is no con",
    ),
    "unknown in a trigger": ("when »Q > 3: A = 5", "trigger of event 1 uses the unknown name 'Q'"),
    "unknown in a delay": ("when A > 3, after »q: A = 5", "the delay of event 1 uses the unknown"),
    "unknown in a priority": ("when A > 3, priority »q: A = 5", "the priority of event 1 uses"),
    "unknown in a value": ("when A > 3: A = »q", "the value of 'A' in event 1 uses the unknown"),
    "unknown target": (
        "when A > 3: »Abc = 3",
        "assigns to the unknown name 'Abc'; .* variable Abc",
    ),
    "near target": ("when A > 3: »x = 3", r"unknown name 'x'; did you mean 'X'\? \(capitals"),
    "parameter as a target": (
        "when k > 3: »k = 3",
        "parameters do not change; declare it with var.*line 2",
    ),
    "observable as a target": (
        "when A > 3: »total = 3",
        "an observable: its expression says .*line 4",
    ),
    "time as a target": ("when A > 3: »t = 3", "'t' is a reserved word"),
    "keyword as a target": ("when A > 3: »species = 3", "reserved word"),
    "target twice": ("when A > 3: A = 3, B = 2, »A = 4", "assigns 'A' twice"),
    "duplicate event": ("e: at t > 3: A = 3\n»e: at t > 4: A = 4", "duplicate event 'e'.*line 6"),
    "reserved event": ("»exp: at t > 3: A = 3", "reserved word"),
    "negative delay": (
        "at t > 3, after »-2: A = 3",
        "the delay of event 1 is -2; it cannot be neg",
    ),
    "negative delay by parameters": (
        "e: at t > 3, after »1 - tau: A = 3",
        "delay of event 'e' is -1",
    ),
    "infinite trigger": ("when »A > 1/0: A = 3", "in the trigger of event 1, '1/0' is inf"),
    "infinite value": ("when A > 1: A = 3, B = »9^9^9", "in the value of 'B' in event 1"),
    "no delay": ("at t > 3, after»: A = 3", "a value is missing after after: after 2"),
    "no priority": ("at t > 3, priority», after 2: A = 3", "missing after priority: priority 1"),
    "second delay": ("at t > 3, after 2, »after 3: A = 3", "this is the second"),
    "contradiction": ("at t > 3, persistent, »not persistent: A = 3", "this is the second"),
    "not alone": ("at t > 3, not »there: A = 3", "not persistent"),
    "initially": ("at t > 3, initially»: A = 3", "initially true, or initially false"),
    "values": ("at t > 3, values »at start: A = 3", "write values at trigger, or"),
    "unknown clause": (
        "at t > 3, »prioriti 2: A = 3",
        "no clause of an event; did you mean 'priority'",
    ),
    "empty clause": ("at t > 3,»: A = 3", "':' is no clause"),
    "trailing comma": ("at t > 3: A = 3,»", "what the event assigns is missing"),
    "nothing assigned": ("at t > 3:»", "what the event assigns is missing"),
    "no assignment": ("at t > 3»", "the colon and the assignments"),
    "no value": ("at t > 3: A =»", "the value of 'A' is missing"),
    "no value before a comma": ("at t > 3: A =», B = 1", "the value of 'A' is missing"),
    "no =": ("at t > 3: A »50", "write = and what 'A' becomes"),
    "number assigned to": ("at t > 3: »5 = A", "a name is missing"),
    "missing comma": ("at t > 3: A = 5 »B = 3", "an operator or a comma is missing"),
    "second colon": ("at t > 3: A»: 5", "one colon"),
    "missing comma before a clause": (
        "at t > 3 »priority 5: A = 5",
        "a comma is missing before pri",
    ),
    "derivative in an event": ("at t > 3: X»' = 5", "a derivative begins a line of its own"),
    "chain": ("when 0 < A »< 5: A = 5", "do not chain"),
    "open bracket": ("when (A > 5»: A = 5", r"still open; add a \)"),
    # delays
    "delay with =": ("A -> B @ k delay »= 2", "without =: delay 2.0"),
    "no time": ("A -> B @ k delay»", "the time is missing after delay"),
    "after for delay": ("A -> B @ k »after 2", "the delay of a reaction is written delay 2.0"),
    "delay of a reversible": ("A <-> B @ k, k »delay 2", "its two directions on two lines"),
    "delay before the second rate": ("A <-> B @ k »delay 2, k", "needs two rates"),
    "two delays": ("A -> B @ k delay 2 »delay 3", "a second delay"),
    "unknown law": ("A -> B @ k delay »erlang(2, 3)", "no law of delays 'erlang'.*gamma"),
    "near law": ("A -> B @ k delay »gama(2, 3)", "did you mean 'gamma'"),
    "number of arguments": ("A -> B @ k delay »gamma(2)", r"1 number; write gamma\(shape, scale\)"),
    "more arguments": (
        "A -> B @ k delay »uniform(1, 2, 3)",
        r"3 numbers; write uniform\(low, high\)",
    ),
    "no arguments": ("A -> B @ k delay »gamma()", "0 numbers; write gamma"),
    "open law": ("A -> B @ k delay gamma»(2, 3", "never closed"),
    "factor of a law": ("A -> B @ k delay gamma(2, 3)»*2", "put factors into its arguments"),
    "negative time": (
        "A -> B @ k delay »-2",
        "the time of the delay of reaction 1 is -2; it cannot",
    ),
    "negative scale": (
        "r: A -> B @ k delay »gamma(2, 1 - tau)",
        "the scale of the delay of reaction 'r'",
    ),
    "shape 0": ("A -> B @ k delay »gamma(0, 1)", "the shape .* is 0; it must be positive"),
    "delay without a value": ("param q = nan\nA -> B @ k delay »q", "is nan; it must be a finite"),
    "range upside down": ("A -> B @ k delay »uniform(3, tau)", "between 3 and 2; the smaller one"),
    "unknown in a delay of a reaction": ("A -> B @ k delay 2*»q", "the unknown name 'q'"),
    "infinite delay": ("A -> B @ k delay »1/0", "inf"),
    "consuming alone": ("A -> B @ k »consuming on completion", "belongs to a delay"),
    "consuming when": ("A -> B @ k delay 2 consuming »completion", "consuming on completion, or"),
    "unlimited mass action": ("A -> B @ k »unlimited", "for laws after =>"),
    "unlimited twice": ("A => B @ k unlimited »unlimited", "a second unlimited"),
    "something behind": ("A -> B @ k delay 2 »@ 3", "a second @"),
    # coefficients
    "fraction of a species": (
        "»1.5 A => B @ k",
        "'1.5' is not a whole number; .* Declare 'A' with var",
    ),
    "computed amount of a species": ("0 => X + »(2*n) A @ k", r"'2\*n' is not a whole number"),
    "fraction in mass action": (
        "»0.5 X -> A @ k",
        "mass action of reaction 1 counts its reactants",
    ),
    "unknown in a coefficient": (
        "0 => (2*»q) X @ k",
        "coefficient of 'X' in reaction 1 uses the un",
    ),
    "infinite coefficient": ("0 => »(n/0*(1/0)) X @ k", "in the coefficient of 'X'"),
    "negative coefficient": ("0 => »(-2) X @ k", "a coefficient is positive, not -2"),
    "negative constant coefficient": ("0 => »(1 - 3) X @ k", "is -2; a coefficient is positive"),
    "zero": ("0 => »0.0 X @ k", "a coefficient of 0 has no effect"),
    "brackets without a name": ("0 => »(A + B) @ k", r"without brackets but for the .* \(2\*n\) X"),
    "open coefficient": ("0 => (2*n »X @ k", "an operator is missing"),
    "coefficient never closed": ("0 => »(2*n @ k", r"never closed; add a \)"),
    "arrow in a coefficient": ("»(2*n -> X @ k", "never closed"),
    # compartments
    "unknown size": ("compartment »Q: A", "the compartment 'Q' has no size; .* param Q = 1"),
    "species as a size": ("compartment »A: B", "'A' is a species, which counts molecules.*line 1"),
    "unknown content": ("compartment V: A, »C", "the compartment 'V' uses the unknown name 'C'"),
    "content twice": ("compartment V: A, »A", "'A' is already in the compartment 'V'"),
    "content twice, lines": (
        "compartment V: A\ncompartment V: B, »A",
        "already in the compartment",
    ),
    "in two": (
        "param W = 1\ncompartment V: A\ncompartment W: »A",
        "in the compartment 'V' and in 'W'",
    ),
    "size in itself": ("compartment V: A, »V", "holds its own size"),
    "size with =": ("compartment V »= 3", "declared apart: param V = 1"),
    "contents without a colon": ("compartment V »A", "write a colon"),
    "no name in brackets": ("compartment V: [»]", "a name is missing"),
    "two names in brackets": ("compartment V: »[A, B]", "holds one name"),
    "open compartment": ("compartment V: »[A", "holds one name"),
    "trailing comma in a compartment": ("compartment V: A,»", "a name is missing"),
    "content with a value": ("compartment V: A »= 3", "cannot stand here"),
    "number as a content": ("compartment V: »3", "a name is missing"),
    # values
    "nan in an expression": ("param q = 2*»nan", "unknown name 'nan'"),
    "infinity from an expression": ("param q = »k/0", "'q' has the value inf"),
    "value from nan": ("param q = nan\nparam r = »2*q", "'r' has the value nan"),
    "nan as a count": ("species Q = »nan", "unknown name 'nan'"),
    "negative nan": ("param q = -»nan", "unknown name 'nan'"),
    "nan in a rate": ("A -> B @ »nan", "unknown name 'nan'"),
    "start from nan": ("param q = nan\nvariable Y = »q\nY' = 0", "'Y' would start at nan"),
}  # fmt: skip


@pytest.mark.parametrize("what", MISTAKES)
def test_mistakes_are_pointed_at_and_explained(what):
    marked, message = MISTAKES[what]
    marked = f"{DECLARED}X' = 0\n{marked}"
    before, _, _ = marked.partition("»")
    text = marked.replace("»", "")
    with pytest.raises(ParseError, match=message) as caught:
        parse_network(text, "model.txt")
    error = caught.value
    line = before.count("\n") + 1
    column = len(before) - before.rfind("\n")
    assert (error.line, error.column) == (line, column), str(error)
    assert error.line_text == text.split("\n")[line - 1]


def test_a_value_that_is_not_known_runs_nowhere():
    network = parse_network("species S = 1\nparam k = nan\nS -> 0 @ k")
    with pytest.raises(NetworkError, match=r"rate constant of reaction 1 .* is nan"):
        gl.simulate(network, 1.0)
    with pytest.raises(NetworkError, match="'k' has the value inf"):
        network.with_parameters(k=math.inf)
    assert network.with_parameters(k=2.0) == parse_network("species S = 1\nparam k = 2\nS -> 0 @ k")


ANY_EVENT, ANY_DELAY = Event(Symbol("A") > 3, {"A": 1}), Delay("fixed", 2)
A, B, X, V = Species("A", 3), Species("B"), Variable("X", 1.0, 0), Parameter("V", 1)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: Network([B], events=[ANY_EVENT]), "trigger of event 1 uses the unknown name 'A'"),
        (lambda: Network([A], events=[Event(A + 1, {A: 1})]), r"'A \+ 1', is no condition"),
        (lambda: Network([A], events=[Event(Number(3), {A: 1})]), "no condition; .* t >= 3"),
        (lambda: Network([A], [], [V], events=[Event(A > 1, {"V": 1})]), "Variable in Python"),
        (lambda: Network([A], events=[Event(A > 1, {"a": 1})]), "did you mean 'A'"),
        (lambda: Network([A], events=[Event(A > 1, {A: 1}, delay=-1)]), "cannot be negative"),
        (
            lambda: Network([A], events=[Event(A > 1, {A: 1}, name="e")] * 2),
            "duplicate event 'e'",
        ),
        (
            lambda: Network([A], [(A >> B @ 1).delayed(Delay("normal", 1, -1))], [], []),
            "unknown name 'B'",
        ),
        (
            lambda: Network([A, B], [(A >> B @ 1).delayed(Delay("normal", 1, -1))]),
            "the sd of the delay of reaction 1 is -1",
        ),
        (lambda: Network([A, B], [0.5 * A >> B @ 1]), "'0.5' is not a whole number"),
        (lambda: Network([A], [A >> (V * A) @ 1], [V]), "'V' is not a whole number|cannot stand"),
        (lambda: Network([A], variables=[Variable("Y")]), "A variable that a reaction or an event"),
        (lambda: Network([A], [], [V], compartments=[Compartment("W", [A])]), "'W' has no size"),
        (
            lambda: Network([A], [], [V], compartments=[Compartment("V", [A])] * 2),
            "duplicate compartment 'V'",
        ),
        (
            lambda: Network([A], [], [V], variables=[X], compartments=[
                Compartment(V, [A]), Compartment(X, [A])
            ]),
            "'A' is in the compartment 'V' and in 'X'",
        ),
    ],
)  # fmt: skip
def test_what_python_declares_wrongly_is_refused_too(build, message):
    with pytest.raises(NetworkError, match=message):
        build()


# ---- Hostile text -------------------------------------------------------------------------------

HOSTILE = {
    "open brackets in a trigger": "when " + "(" * 400_000,
    "open brackets in a value": "when t > 1: A = " + "(" * 400_000,
    "deep brackets in a trigger": "when " + "(" * 5_000 + "A > 1" + ")" * 5_000 + ": A = 1",
    "nots": "when " + "not " * 200_000 + "A > 3: A = 1",
    "many triggers": "at " * 300_000,
    "one target again and again": "when t > 1: " + "A = 1, " * 100_000 + "A = 2",
    "unknown targets": "when t > 1: " + ", ".join(f"a{i} = 1" for i in range(30_000)),
    "clauses": "when A > 3" + ", after 2" * 100_000 + ": A = 1",
    "commas": "when A > 3" + "," * 900_000,
    "colons": "when A > 3" + ":" * 900_000,
    "labels": "x: " * 300_000 + "when t > 1: A = 1",
    "blanks before": " " * 900_000 + "when",
    "blanks behind": "when" + " " * 900_000 + "x",
    "blanks in a label": "x" + " " * 450_000 + ":" + " " * 450_000 + "wher",
    "a long label": "x" * 900_000 + ": when t > 1: A = 1",
    "a long clause": "when t > 1, " + "x" * 900_000 + ": A = 1",
    "a long condition": "when " + "A > 3 and " * 90_000 + "A > 2: A = 1",
    "a long number": "when t > " + "9" * 900_000 + ": A = 1",
    "bare event": "A " + "<" * 900_000 + ": A = 1",
    "bare events": "A > 1: A = 1 " * 60_000,
    "condition behind": "A = 1" + " when t" * 100_000,
    "if": "if " + "<" * 1_900,
    "open coefficients": "0 => " + "(" * 400_000,
    "deep coefficient": "0 => " + "(" * 5_000 + "n" + ")" * 5_000 + " X @ k",
    "long sum of coefficients": "0 => " + "(2*n) X + " * 90_000 + "X @ k",
    "long coefficient": "0 => (" + "n + " * 60_000 + "n) X @ k",
    "open delays": "A -> B @ k delay " + "gamma(" * 150_000,
    "arguments of a delay": "A -> B @ k delay gamma(" + "1," * 60_000 + "1)",
    "deep delay": "A -> B @ k delay " + "(" * 5_000 + "2" + ")" * 5_000,
    "delays": "A -> B @ k" + " delay 2" * 100_000,
    "words of delays": "A -> B @ k delay" + " delay" * 100_000,
    "unlimiteds": "A => B @ k" + " unlimited" * 90_000,
    "contents": "compartment V: " + "A," * 400_000,
    "open contents": "compartment V: " + "[" * 900_000,
    "unknown contents": "compartment V: " + ", ".join(f"a{i}" for i in range(100_000)),
    "a long size": "compartment " + "a" * 900_000 + ": A",
    "compartments": "\n".join(f"compartment V{i}: A" for i in range(20_000)),
    "squares in a trigger": "observe o0 = A\n"
    + "\n".join(f"observe o{i + 1} = o{i}*o{i}" for i in range(60))
    + "\nwhen o59 > 1: A = 1",
    "squares in a coefficient": "observe o0 = A\n"
    + "\n".join(f"observe o{i + 1} = o{i}*o{i}" for i in range(14))
    + "\n0 => (o13*o13*o13*o13*o13*o13*o13*o13) X @ 1",
    "code": "when __import__('os').system('touch /tmp/owned'): A = 1",
    "code in a value": "when t > 1: A = __import__(os)",
    "infinity": "when 9^9^9 > t: A = 1",
    "nothing": "when \x00 > 1: A = 1",
}


@pytest.mark.parametrize("what", HOSTILE)
def test_hostile_text_is_refused_quickly_and_with_a_place(what):
    # The slowest takes 0.5 s here (an expression is only too large after 100,000 nodes).
    started = time.process_time()
    with pytest.raises(ParseError) as caught:
        read(HOSTILE[what])
    assert len(str(caught.value)) < 2_000
    assert time.process_time() - started < 5.0
    error = caught.value
    assert 1 <= error.column <= len(error.line_text) + 1


WORDS = (
    "when at after priority not persistent initially true values trigger execution delay unlimited "
    "consuming on completion gamma uniform compartment V A B X k t 2 1.5 nan inf -> => <-> @ , : + "
    "- * ( ) [ ] < >= = == and x"
)
STARTS = ["", "when A > 1", "0 => X @ k"]


@settings(max_examples=600, deadline=None)
@given(st.lists(st.sampled_from(WORDS.split()), max_size=16), st.sampled_from(STARTS))
def test_any_mixture_of_words_is_read_or_refused_with_a_place(words, start):
    text = f"{DECLARED}X' = 0\n{start} {' '.join(words)}"
    error = mistake_in(text)
    if error is not None:
        assert 1 <= error.line <= 6
        assert 1 <= error.column <= len(error.line_text) + 1
    else:
        assert parse_network(str(parse_network(text))) == parse_network(text)


# ---- Speed --------------------------------------------------------------------------------------


def large_text(n):
    lines = [f"species S{i} = {i % 7}\nparam k{i} = 0.{i + 1}\nvariable X{i}" for i in range(n)]
    lines += [f"r{i}: S{i} => S{(i + 1) % n} + 0.5 X{i} @ k{i}*S{i}" for i in range(n)]
    lines += [f"A{i}: S{i} -> S{(3 * i) % n} @ k{i} delay gamma(2, k{i})" for i in range(n)]
    lines += [f"e{i}: when S{i} > 3, after k{i}: S{(i + 1) % n} = S{i} + 1" for i in range(n)]
    lines += [f"param V{i} = 1\ncompartment V{i}: S{i}, [X{i}]" for i in range(n)]
    lines.append("param W = 1\ncompartment W: " + ", ".join(f"[k{i}]" for i in range(n)))
    return "\n".join(lines)


def test_reading_and_printing_grow_with_the_text_and_no_faster():
    def seconds(text):
        started = time.process_time()
        str(parse_network(text))
        return time.process_time() - started

    small, large = large_text(100), large_text(1_000)
    # 0.03 s and 0.3 s here; what grows with the square would take a hundred times as long.
    assert min(seconds(large) for _ in range(2)) < 30.0 * min(seconds(small) for _ in range(3))


# ---- Shown --------------------------------------------------------------------------------------


def test_latex_and_html_show_events_delays_and_compartments():
    network = parse_network(
        """
        species A, B_1
        variable X, Y
        param k = 1, V = nan
        compartment V: A, [B_1]
        A -> B_1 @ k delay gamma(2, k) consuming on completion
        A => 0.5 X + (2*k) Y @ k*A delay 3 unlimited
        e: at t >= 5, after 2, priority 1, not persistent, initially true, values at trigger: A = 5
        """
    )
    lines = network.to_latex().splitlines()
    assert lines == [
        r"\begin{align*}",
        r"A &\xrightarrow{k} \mathrm{B\_1} && \text{ delay } \mathrm{gamma}\left(2, k\right)"
        r"\text{, consuming on completion} \\",
        r"A &\Rightarrow 0.5\,X + \left(2 \, k\right)\,Y && k \, A \text{ delay } 3 \\",
        r"\text{when } t \ge 5,\ \text{after } 2,\ \text{priority } 1,\ \text{not persistent},\ "
        r"\text{initially true},\ \text{values at trigger} &: A \leftarrow 5",
        r"\end{align*}",
    ]
    page = network._repr_html_()
    for text in (
        "<b>Events</b>",
        ">e<",
        ">at t &gt;= 5, after 2, priority 1, not persistent, initially true, values at trigger<",
        ">A = 5<",
        "<b>Compartments</b>",
        ">A, [B_1]<",
        ">k delay gamma(2, k) consuming on completion<",
        ">k*A delay 3 unlimited<",
        ">nan<",
    ):
        assert text in page
    assert "<b>Rules</b>" not in page
    plain = parse_network("species A\nA -> 0 @ 1")._repr_html_()
    assert "Events" not in plain
    assert "Compartments" not in plain


def test_a_delayed_reaction_and_its_reverse_are_two_lines():
    network = parse_network("species A, B\nA -> B @ 1 delay 2\nB -> A @ 2\nA <-> B @ 1, 2")
    assert str(network).count("<->") == 1
    assert Network.parse(str(network)) == network


# ---- Explained ----------------------------------------------------------------------------------


def test_explain_says_what_events_delays_and_compartments_do():
    text = str(
        parse_network(
            """
            species A = 3, B, C
            param k = 1, V = 2
            compartment V: A, [B]
            r: A -> B @ k delay gamma(2, 1.5)
            B -> A @ k delay 2 consuming on completion
            C => A @ k*C unlimited
            dose: at t > 5, after 2, priority 3, not persistent, initially true: C = C + 1
            """
        ).explain()
    )
    for line in (
        "Network with 3 species, 3 reactions, 2 parameters, 0 observables, 1 event, 1 compartment",
        "      delay          gamma(2, 1.5); the reactants go at the initiation, the products",
        "      delay          2; the reactants go and the products come at the completion",
        "      unlimited      the rate equation takes the law also without a reactant",
        "  1 'dose' when t > 5",
        "      sets            C = C + 1",
        "      after           2, with the values of that moment",
        "      given up        if the condition becomes false",
        "      priority        3",
        "      at the start    the condition counts as true before",
        "  V: A, B\n      results show B/V",
        "\n  direct yes",
        "\n  tau_leaping no: ",
        "\n  ode no: reaction 1 'r' (A -> B) has a delay",
    ):
        # The column of methods is as wide as the longest name.
        assert line in text or line in re.sub(" {2,}(?=yes|no)", " ", text)


def test_explain_adds_what_reactions_make_of_a_variable():
    explanation = parse_network(
        "variable X = 1, Y, Z\nparam k = 2, n = 3\n"
        "X => 0.5 Y + (2*n) Z @ k*X\nX' = -Y\n2 Y -> X @ k"
    ).explain()
    assert list(map(str, explanation.rules)) == [
        "-Y - k*X + k*Y^2/2",
        "0.5*(k*X) - 2*(k*Y^2/2)",
        "2*n*(k*X)",
    ]
    assert "real amounts   of X, Y, Z: for the rate equations alone" in str(explanation)
    assert re.search("direct +no: reaction 1", str(explanation))
    assert re.search("ode +yes", str(explanation))


@pytest.mark.parametrize(
    ("further", "laws"),
    [
        ("A -> B @ 1\nB -> A @ 1", [[1, 1, 0]]),
        ("A -> B @ 1 delay 2\nB -> A @ 1", []),
        ("A -> B @ 1 delay 2 consuming on completion\nB -> A @ 1", [[1, 1, 0]]),
        ("A + C -> B + C @ 1 delay 2", []),
        ("A -> B @ 1\nwhen A > 3: C = 2", [[1, 1, 0]]),
        ("A -> B @ 1\nwhen A > 3: A = 2", []),
    ],
)
def test_conservation_laws_hold_during_delays_and_after_events(further, laws):
    network = parse_network(f"species A = 3, B, C\nC -> 2 C @ 1\n{further}")
    assert conservation_laws(network).tolist() == laws


def test_pictures_show_real_amounts_and_delays():
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    from gillespy_lite.plotting.network_picture import draw_network

    network = parse_network(
        "species A\nvariable X, Y, Z = 1\nparam n = 2, k = 3\nZ' = 1\n"
        "A => (2*n) X + 0.5 Y @ k\nslow: A -> 0 @ k delay 2"
    )
    axes = draw_network(network)
    written = {text.get_text() for text in axes.texts}
    assert {"A", "X", "Y", "2*n", "0.5", "slow, delay → ∅"} <= written
    assert "Z" not in written
    drawn = {patch.get_gid() for patch in axes.patches}
    assert {"species A", "variable X", "variable Y"} <= drawn
    pyplot.close("all")


def test_an_event_may_assign_a_concentration():
    network = Network.parse(
        "species A = 10, B\nparam V = 2\ncompartment V: A, [B]\nA -> B @ 1\n"
        "when A > 5, after 2: [B] = B/V + 1, A = 3"
    )
    (event,) = network.events
    assert event.as_concentrations == ("B",)
    assert event == Event(Symbol("A") > 5, {"[B]": Symbol("B") / Symbol("V") + 1, "A": 3}, delay=2)
    assert event != Event(Symbol("A") > 5, {"B": Symbol("B") / Symbol("V") + 1, "A": 3}, delay=2)
    assert Network.parse(str(network)) == network
    assert "[B] = B/V + 1" in str(network.explain())
    assert r"\left[B\right] \leftarrow" in network.to_latex()


@pytest.mark.parametrize(
    ("line", "column", "message"),
    [
        ("when A > 5: [C] = 1", 14, "assigns the concentration \\[C\\], but 'C' is in no comp"),
        ("when A > 5: [A] = 1, A = 2", 22, "assigns 'A' twice"),
        ("when [A] > 5: A = 1", 6, "use round brackets"),
        ("when A > 5: [A] = [B]", 19, "use round brackets"),
    ],
)
def test_mistakes_with_concentrations_are_pointed_at(line, column, message):
    text = f"species A = 10, B, C\nparam V = 2\ncompartment V: A, B\n{line}"
    with pytest.raises(ParseError, match=message) as caught:
        Network.parse(text)
    assert (caught.value.line, caught.value.column) == (4, column)
