"""The language: what it reads, how it prints, and how it refuses."""

import math
import sys
import time

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from gillespy_lite.dsl import MAX_LINE, MAX_TEXT, parse_expression, parse_network, read_network
from gillespy_lite.errors import NetworkError, ParseError
from gillespy_lite.network import Network, Observable, Parameter, Reaction, Species, Variable
from gillespy_lite.rate_laws import (
    FUNCTIONS,
    MAX_NESTING,
    MAX_NODES,
    OPERATIONS,
    RESERVED,
    Call,
    Number,
    Symbol,
    name_problem,
    normal_name,
)

EXAMPLE = """\
# Michaelis-Menten with a regulated source
species S = 301, E = 120, ES, P          # initial counts; 0 where none is given
param kf = 0.00166, kr = 1e-4, kcat = 0.1, Vmax = 2, K = 40
param ktot = kf*2                        # may use parameters declared before it
observe total = S + ES + P               # a named expression, usable in rates and outputs

bind:  S + E <-> ES   @ kf, kr           # mass action, two rate constants; a name is optional
       ES -> E + P    @ kcat
       0 -> S         @ ktot*10          # 0 or ∅: nothing
       2 P -> 0       @ 1e-3             # propensity 1e-3*P*(P-1)/2
       P => S         @ Vmax*P/(K + P)   # =>: the propensity is exactly the expression
"""


def read(reactions, declarations="species S = 10, E, ES, P\nparam k = 1, kf = 2, kr = 3"):
    return parse_network(f"{declarations}\n{reactions}")


# ---- What is read -------------------------------------------------------------------------------


def test_the_example_of_the_documentation():
    network = parse_network(EXAMPLE)
    assert network.species_names == ("S", "E", "ES", "P")
    assert network.initial_state.tolist() == [301, 120, 0, 0]
    assert dict(zip(network.parameter_names, network.parameter_values.tolist(), strict=True)) == {
        "kf": 0.00166,
        "kr": 1e-4,
        "kcat": 0.1,
        "Vmax": 2.0,
        "K": 40.0,
        "ktot": 0.00332,
    }
    assert network.observables == (Observable("total", parse_expression("S + ES + P")),)
    assert [(r.name, r.kind, r.reactants, r.products, str(r.rate)) for r in network.reactions] == [
        ("bind", "mass_action", (("S", 1), ("E", 1)), (("ES", 1),), "kf"),
        ("bind_reverse", "mass_action", (("ES", 1),), (("S", 1), ("E", 1)), "kr"),
        ("", "mass_action", (("ES", 1),), (("E", 1), ("P", 1)), "kcat"),
        ("", "mass_action", (), (("S", 1),), "ktot*10"),
        ("", "mass_action", (("P", 2),), (), "0.001"),
        ("", "propensity", (("P", 1),), (("S", 1),), "Vmax*P/(K + P)"),
    ]
    assert Network.parse(str(network)) == network


@pytest.mark.parametrize(
    ("side", "terms"),
    [
        ("0", ()),
        ("∅", ()),
        ("S", (("S", 1),)),
        ("2 S", (("S", 2),)),
        ("2S", (("S", 2),)),
        ("2*S", (("S", 2),)),
        ("2 * S", (("S", 2),)),
        ("02 S", (("S", 2),)),
        ("S + S", (("S", 2),)),
        ("S+E", (("S", 1), ("E", 1))),
        ("E + 3 S + E", (("E", 2), ("S", 3))),
        ("2E+2S", (("E", 2), ("S", 2))),
        ("2E + ES", (("E", 2), ("ES", 1))),
        ("100 S", (("S", 100),)),
    ],
)
def test_side_of_a_reaction(side, terms):
    assert read(f"{side} -> P @ k").reactions[0].reactants == terms
    assert read(f"P -> {side} @ k").reactions[0].products == terms
    forward, reverse = read(f"name:{side}<->{side}@k,k").reactions
    assert forward.reactants == forward.products == reverse.reactants == terms


@pytest.mark.parametrize(
    ("text", "same"),
    [
        ("x**2", "x^2"),
        ("2^3^2", "2^(3^2)"),
        ("-x^2", "-(x^2)"),
        ("2^-x^2", "2^(-(x^2))"),
        ("a - b - c", "(a - b) - c"),
        ("a / b * c", "(a/b)*c"),
        ("a + b*c", "a + (b*c)"),
        ("-a*b", "(-a)*b"),
        ("a or b and c", "a or (b and c)"),
        ("not a and b", "(not a) and b"),
        ("not a == b", "not (a == b)"),
        ("a < b and b < c", "(a < b) and (b < c)"),
        ("a + 1 < b*2", "(a + 1) < (b*2)"),
        ("x<-3", "x < (-3)"),
        ("x>-3", "x > (-3)"),
        ("a--b", "a - (-b)"),
        ("a+-b", "a + (-b)"),
        ("+a", "a"),
        ("a + +b", "a + b"),
        ("pow(a, b)", "a^b"),
        ("min(a, b, c)", "min(min(a, b), c)"),
        ("piecewise(1, a, 2, b, 3)", "if(a, 1, if(b, 2, 3))"),
        ("( ( a ) )", "a"),
        ("exp ( x )", "exp(x)"),
        ("1E3 + 1e+3 + .1e4", "1000 + 1000 + 1000"),
        ("a\t+\u00a0b", "a + b"),
        ("a  # a comment", "a"),
        ("-3^2", "-(3^2)"),
        ("(-3)^2", "(0 - 3)^2 - 0"),
    ],
)
def test_precedence_and_spelling(text, same):
    values = {"a": 0.3, "b": 1.7, "c": -0.6, "x": 2.5}
    assert parse_expression(text).evaluate(values) == parse_expression(same).evaluate(values)
    if "0 -" not in same:
        assert parse_expression(text) == parse_expression(same)


arithmetic = st.recursive(
    st.sampled_from(["x", "y", "2", "0.5", "3"]),
    lambda parts: st.one_of(
        st.tuples(parts, st.sampled_from([" + ", "-", "*", "/", "**"]), parts).map("".join),
        parts.map("-{}".format),
        parts.map("({})".format),
    ),
    max_leaves=12,
)


@settings(max_examples=300, deadline=None)
@given(arithmetic)
def test_arithmetic_groups_as_in_python(text):
    values = {"x": 1.25, "y": 0.75}
    try:
        expected = eval(text, {"__builtins__": {}}, values)
    except (ZeroDivisionError, OverflowError):
        assume(False)
    assume(not isinstance(expected, complex) and abs(expected) < 1e12)
    assert parse_expression(text).evaluate(values) == pytest.approx(expected, rel=1e-9, abs=1e-12)
    hats = parse_expression(text.replace("**", "^"))
    assert hats == parse_expression(text)


logic = st.recursive(
    st.sampled_from(["x < y", "x == 1", "y >= x + 1", "x != y", "x", "0"]),
    lambda parts: st.one_of(
        st.tuples(parts, st.sampled_from([" and ", " or "]), parts).map("".join),
        parts.map("not {}".format),
        parts.map("({})".format),
    ),
    max_leaves=10,
)


@settings(max_examples=200, deadline=None)
@given(logic, st.sampled_from([0, 1, 2]), st.sampled_from([0, 1, 2]))
def test_logic_groups_as_in_python(text, x, y):
    values = {"x": x, "y": y}
    expected = bool(eval(text, {"__builtins__": {}}, values))
    assert bool(parse_expression(text).evaluate(values)) == expected


def test_line_ends_comments_blanks_and_marks():
    texts = [
        EXAMPLE.replace("\n", "\r\n"),
        EXAMPLE.replace("\n", "\r"),
        "\ufeff" + EXAMPLE,
        EXAMPLE.rstrip("\n"),
        EXAMPLE.replace("   ", "\t"),
        EXAMPLE.replace(" = ", "="),
        EXAMPLE.replace(", ", "  ,"),
        "\n\n   \n# comment\n" + EXAMPLE + "\n\n#",
        EXAMPLE.replace("0 -> S", "∅ -> S").replace("2 P -> 0", "2 P -> ∅"),
    ]
    for text in texts:
        assert parse_network(text) == parse_network(EXAMPLE)


def test_declarations_may_stand_in_any_order_relative_to_reactions():
    lines = [line for line in EXAMPLE.splitlines() if line.strip()]
    species, parameters, observables, reactions = lines[1], lines[2:4], lines[4], lines[5:]
    for parts in (
        [*reactions, observables, *parameters, species],
        [species, *reactions, *parameters, observables],
        [*parameters, *reactions[:3], observables, species, *reactions[3:]],
    ):
        assert parse_network("\n".join(parts)) == parse_network(EXAMPLE)
    network = parse_network("species S = 2*n0\nS -> 0 @ k\nparam n0 = 4, k = 1")
    assert network.initial_state.tolist() == [8]


def test_a_network_may_have_no_reactions_and_lists_may_be_split():
    network = parse_network("species A\nspecies B = 3\nparam k = 1\nparam q = 2")
    assert network.species == (Species("A"), Species("B", 3))
    assert network.parameters == (Parameter("k", 1), Parameter("q", 2))


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("24.999999999999996", 25),
        ("25.0", 25),
        ("1e3", 1000),
        ("2*50", 100),
        ("round_up", 3),
        ("floor(2.5)", 2),
        ("0.1*250", 25),
        ("9007199254740992", 2**53),
    ],
)
def test_initial_counts(text, count):
    network = parse_network(f"species S = {text}\nparam round_up = ceil(2.5)")
    assert network.initial_state.tolist() == [count]
    assert parse_network(str(network)) == network


# ---- Names --------------------------------------------------------------------------------------


def test_a_name_inside_a_name_is_another_name():
    network = parse_network(
        """
        species S = 1, Sa = 2, S1 = 3, S_1 = 4, lambda = 5, tt = 6, time_t = 7, e = 8, pi = 9
        species expS = 10, iff = 11, not_ = 12, or1 = 13, species_ = 14, param1 = 15, import = 16
        param k = 1, kk = 2, e1 = 3
        species_ -> param1 @ k
        2e + S1 -> expS + 2 e @ kk*e1*2e1
        lambda => S @ S + Sa*S1 - S_1 + tt^e - pi*iff + not_*or1 + exp(expS) + if(iff, e, not not_)
        """
    )
    rate = network.reactions[2].rate
    assert rate.symbols() == {
        "S", "Sa", "S1", "S_1", "tt", "e", "pi", "iff", "not_", "or1", "expS",
    }  # fmt: skip
    assert network.reactions[1].reactants == (("e", 2), ("S1", 1))
    assert network.expanded_rate(1).evaluate({"kk": 2, "e1": 3}) == 120.0
    assert parse_network(str(network)) == network


def test_e_and_pi_are_constants_until_declared():
    constant = parse_network("species S\nparam k = pi*2\nS -> 0 @ k*e")
    assert constant.parameter_values[0] == 2 * math.pi
    assert constant.expanded_rate(0).evaluate({"k": 1}) == math.e
    declared = parse_network("species S\nparam e = 7, pi = 3\nparam k = pi*2\nS -> 0 @ k*e")
    assert declared.parameter_values.tolist() == [7.0, 3.0, 6.0]
    assert declared.expanded_rate(0).symbols() == {"k", "e"}
    for network in (constant, declared):
        assert parse_network(str(network)) == network


@pytest.mark.parametrize(
    "name", ["β", "Ω_1", "ñ", "変数", "é", "имя", "S\u2082", "e\u0301", "µ", "\uff41"]
)
def test_unicode_names_are_normalised_whole_names(name):
    network = parse_network(f"species {name} = 3\n2{name} -> 0 @ 1.5*{name}")
    assert network.species_names == (normal_name(name),)
    assert network.reactions[0].reactants == ((normal_name(name), 2),)
    assert parse_network(str(network)) == network
    assert network.with_initial({name: 7}).initial_state[0] == 7


@pytest.mark.parametrize("name", sorted(RESERVED))
@pytest.mark.parametrize("statement", ["species {}", "param {} = 1", "species S\nobserve {} = S"])
def test_reserved_names_are_refused(name, statement):
    with pytest.raises(ParseError, match="is a reserved word") as caught:
        parse_network(statement.format(name))
    error = caught.value
    assert error.line_text[error.column - 1 :].startswith(name)


# ---- Round trips --------------------------------------------------------------------------------

names = st.text("abcSEt_01β", min_size=1, max_size=4).filter(lambda name: not name_problem(name))
numbers = st.one_of(
    st.floats(0, 1e300, allow_subnormal=True),
    st.integers(0, 100).map(float),
)


def expressions_of(known):
    leaves = st.one_of(numbers.map(Number), st.sampled_from(["t", "pi", *known]).map(Symbol))

    def calls(parts):
        return st.sampled_from(sorted(OPERATIONS)).flatmap(
            lambda name: st.tuples(*[parts] * OPERATIONS[name].arity).map(
                lambda arguments: Call(name, arguments)
            )
        )

    return st.recursive(leaves, calls, max_leaves=8)


@st.composite
def networks(draw):
    known = draw(st.lists(names, min_size=1, max_size=9, unique_by=normal_name))
    n_states = draw(st.integers(1, len(known)))
    n_variables = draw(st.integers(0, n_states))
    n_species = n_states - n_variables
    species_names, variable_names = known[:n_species], known[n_species:n_states]
    rest = known[n_states:]
    n_parameters = draw(st.integers(0, len(rest)))
    parameters = []
    for index, name in enumerate(rest[:n_parameters]):
        earlier = rest[:index]
        value = draw(numbers)
        if earlier and draw(st.booleans()):
            value = Symbol(draw(st.sampled_from(earlier))) / 3 + value / 4
        parameters.append(Parameter(name, value))
    species = [Species(name, draw(st.integers(0, 2**53))) for name in species_names]
    observables = []
    for index, name in enumerate(rest[n_parameters:]):
        allowed = known[: n_states + n_parameters + index]
        observables.append(Observable(name, draw(expressions_of(allowed))))
    variables = []
    for name in variable_names:
        start = draw(st.one_of(numbers, numbers.map(lambda number: -number)))
        if n_parameters and draw(st.booleans()):
            start = start * Symbol(draw(st.sampled_from(rest[:n_parameters])))
        variables.append(Variable(name, start, draw(expressions_of(known))))
    terms = st.tuples(st.sampled_from(species_names or ["none"]), st.integers(1, 3))
    side = st.lists(terms, max_size=3)
    reactions = []
    for index in range(draw(st.integers(0, 5)) if species_names else 0):
        forward = Reaction(
            draw(side),
            draw(side),
            draw(expressions_of(known)),
            kind=draw(st.sampled_from(["mass_action", "propensity"])),
            name=draw(st.sampled_from(["", f"r{index}"])),
        )
        reactions.append(forward)
        if draw(st.booleans()):  # often the exact reverse, and sometimes not quite
            reactions.append(
                Reaction(
                    forward.products,
                    forward.reactants,
                    draw(expressions_of(known)),
                    kind=draw(st.sampled_from(["mass_action", forward.kind])),
                    name=draw(st.sampled_from(["", f"{forward.name}_reverse", f"q{index}"])),
                )
            )
    try:
        return Network(species, reactions, parameters, observables, variables)
    except NetworkError:  # a name used twice, an infinite constant, ...
        assume(False)


@settings(max_examples=300, deadline=None)
@given(networks())
def test_text_reads_back_as_the_same_network(network):
    again = parse_network(str(network))
    assert again == network
    assert hash(again) == hash(network)
    assert str(again) == str(network)
    assert np.array_equal(again.parameter_values, network.parameter_values)
    assert np.array_equal(again.initial_state, network.initial_state)
    assert np.array_equal(again.initial_variables, network.initial_variables)
    assert again.variables == network.variables
    assert np.array_equal(again.stoichiometry_matrix, network.stoichiometry_matrix)


def mistake_in(text):
    try:
        parse_network(text)
    except ParseError as error:
        return error
    return None


@settings(max_examples=300, deadline=None)
@given(st.text(max_size=60))
def test_any_text_is_read_or_refused_with_a_place(text):
    for prefix in ("", "species S\nS -> 0 @ ", "species ", "species S\n"):
        error = mistake_in(prefix + text)
        if error is not None:
            assert error.line >= 1
            assert 1 <= error.column <= len(error.line_text) + 1
            assert str(error)


WORDS = (
    "species param observe variable V V' ' S E k t e 0 2 1.5 1e3 -> => <-> @ , : + - * / ^ ** ( ) "
    "< <= == != = and or not if exp min piecewise hill ∅ # 2S .5 pi"
)
tokens = st.lists(st.sampled_from(WORDS.split()), max_size=14)


@settings(max_examples=500, deadline=None)
@given(tokens)
def test_any_mixture_of_words_is_read_or_refused_with_a_place(words):
    text = "species S = 3, E\nparam k = 2\nvariable V\nV' = 1\n" + " ".join(words)
    error = mistake_in(text)
    if error is None:
        assert parse_network(str(parse_network(text))) == parse_network(text)
    else:
        assert error.line in {1, 2, 3, 4, 5}
        assert 1 <= error.column <= len(error.line_text) + 1


# ---- Refusals -----------------------------------------------------------------------------------

DECLARED = "species S = 10, E, ES, P\nparam k = 1, kf = 2, kr = 3\n"

# Text with a mark » where the caret must be, and what the message must say.
MISTAKES = {
    # names
    "unknown in a rate": ("S -> 0 @ k*»Kd", "unknown name 'Kd'; did you mean"),
    "unknown without a near one": ("S -> 0 @ »zzzzzz", "'zzzzzz'; declare it, .* param zzzzzz"),
    "unknown species": ("S -> »Q @ k", "unknown name 'Q'; declare it, .* species Q = 0"),
    "typo in a species": ("S + »es -> 0 @ k", r"'es'; did you mean 'ES'\? \(capitals matter\)"),
    "time": ("S -> 0 @ »time", "the time is written t"),
    "null": ("S -> »null @ k", "the empty side of a reaction is written 0"),
    "parameter on a side": ("S -> »kf @ k", r"'kf' is a parameter; only species .* on line 2"),
    "t on a side": ("S -> »t @ k", "'t' is a reserved"),
    "function on a side": ("»exp -> S @ k", "'exp' is a reserved"),
    "duplicate": ("param »k = 3", r"duplicate parameter 'k'.*already declared on line 2"),
    "duplicate of another kind": ("param »S = 3", r"for a species and a parameter.*on line 1"),
    "duplicate in one line": ("species A, »A", "duplicate species 'A'"),
    "duplicate reaction": ("x: S -> 0 @ k\n»x: E -> 0 @ k", r"duplicate reaction 'x'.*line 3"),
    "duplicate of a reverse": ("x: S <-> E @ k, k\n»x_reverse: E -> 0 @ k", "duplicate reaction"),
    "reserved reaction name": ("»log: S -> 0 @ k", "'log' is a reserved"),
    "power in a name": ("S -> 0 @ k*»S²", r"a power is written \^2"),
    "raised letter": ("S -> 0 @ k*»Sª", "raised character"),
    # declarations
    "missing value": ("param q»", "parameter 'q' needs a value: param k = 0.1"),
    "missing value before comma": ("param q», r = 3", "needs a value"),
    "nothing after =": ("param q =»", "the value of 'q' is missing"),
    "nothing between = and comma": ("param q = », r = 3", "the value of 'q' is missing"),
    "observe without value": ("observe q»", "observable 'q' needs a value"),
    "no name": ("species»", "a name is missing"),
    "trailing comma": ("species A,»", "a name is missing"),
    "missing comma": ("species A »B", "a comma or = is missing between 'A' and 'B'"),
    "missing = ": ("species A »301", "a comma or = is missing between 'A' and '301'"),
    "missing comma after value": ("species A = 3 »B = 4", "an operator or a comma is missing"),
    "double =": ("param q »== 3", "write = to give 'q'"),
    "colon for =": ("species A»: 3", "write = to give 'A'"),
    "number for name": ("species »2A", "a name is missing"),
    "bare declaration": ("»q = 3", "param q = .*species q = .*observe q = "),
    "other keyword": ("parameter »q = 3", "parameters are declared with param"),
    "capital keyword": ("Species »A", r"did you mean 'species'\?"),
    "plain words": ("hello»", "neither a declaration .* nor a reaction"),
    "negative count": ("species A = »-3", "would start at -3; counts cannot be negative"),
    "fractional count": ("species A = »2.5", "2.5, which is not a whole number"),
    "huge count": ("species A = »1e17", r"above 2\*\*53"),
    "count from parameters": ("species A = »k/2", "0.5, which is not a whole number"),
    "count from species": ("species A = 2*»S", "numbers and parameters only"),
    "count from time": ("species A = »t", "numbers and parameters only"),
    "count from an unknown name": ("species A = »n0", "unknown name 'n0'"),
    "later parameter": ("param a = 2*»b\nparam b = 1", "declared after it; .*on line 4"),
    "later in the line": ("param a = »b, b = 1", "declared after it; move 'b' before 'a'"),
    "circular parameters": ("param a = »b, b = a", "'a' is circular"),
    "self": ("param a = 1 + »a", "'a' is circular"),
    "long circle": ("param a = »b\nparam b = c\nparam c = a", "a, which uses b, which uses c"),
    "species in a parameter": ("param a = 2*»S", "'S', which is a species; .* observe"),
    "time in a parameter": ("param a = sin(»t)", "the time; .* observe"),
    "infinite parameter": ("param a = »1/0", "'a' has the value inf"),
    "circular observables": ("observe a = S + »b, b = a", "observable 'a' is circular"),
    "later observable": ("observe a = »b\nobserve b = S", "declared after it"),
    "unknown in an observable": ("observe a = S + »Q", "unknown name 'Q'"),
    # variables and their rules
    "variable without a rule": ("variable »A = 2", "'A' has no rule; .* A' = ..., which is 0 if"),
    "two rules": ("variable A\nA' = 1\n»A' = 2", r"two rules; .*\(the other is on line 4\)"),
    "rule for nothing": ("variable Ab = 1\n»Ac' = 1", "no variable: 'Ac' is not declared; declare"),
    "rule for a near name": ("variable Abc\n»Abd' = 1", "did you mean 'Abc'?"),
    "rule for a species": ("»S' = 1", r"'S' is a species; species change by .*on line 1"),
    "rule for a parameter": ("»k' = 1", r"'k' is a parameter; parameters do not .*on line 2"),
    "rule for an observable": ("observe o = S\n»o' = 1", "'o' is an observable; its expression"),
    "rule for the time": ("»t' = 1", "'t' is a reserved word"),
    "unknown in a rule": ("variable A\nA' = 2*»q", "the rule of 'A' uses the unknown name 'q'"),
    "infinite part of a rule": ("variable A\nA' = »A*(1/0)", "in the rule of 'A', '1/0' is inf"),
    "observable as a reactant": ("observe o = S\n»o -> 0 @ k", "'o' is an observable; only"),
    "real amount of a species": ("S -> S + »0.5 E @ k", "'0.5' is not a whole number; .*variable"),
    "variable in a parameter": ("param q = »A\nvariable A\nA' = 1", "'A', which is a variable"),
    "variable in a count": ("species Q = »A\nvariable A\nA' = 1", "numbers and parameters only"),
    "variable as its own start": ("variable A = »A\nA' = 1", "numbers and parameters only"),
    "unknown start": ("variable A = »q\nA' = 1", "the initial value of 'A' uses the unknown"),
    "infinite start": ("variable A = »1/0\nA' = 1", "'A' would start at inf"),
    "variable and species": ("variable »S = 3\nS' = 1", "for a species and a variable.*line 1"),
    "second derivative": ("variable A\nA'»' = -A", "first derivative; .* A' = V and V' = "),
    "comparison for a rule": ("variable A\nA' »== 1", "A' begins the rule of a variable: A' = "),
    "arrow for a rule": ("variable A\nA' »=> 1", "A' begins the rule of a variable: A' = "),
    "prime in a reaction": ("S' »+ E -> 0 @ k", "S' begins the rule of a variable"),
    "prime alone": ("variable A\nA'»", "A' begins the rule of a variable"),
    "rule without a rate": ("variable A\nA' =»", "the expression is missing after A' ="),
    "two rules on a line": ("variable A\nA' = 1»,", "one rule; write the next one on a line"),
    "rule with an @": ("variable A\nA' = k »@ 2", "a rule has no @"),
    "rule that goes on": ("variable A\nA' = k »: 2", "':' cannot follow a complete rule"),
    "derivative in a rate": ("variable A\nA' = 2*A»'", "a derivative begins a line of its own"),
    "prime in a rate": ("S -> 0 @ k*S»\u2032", "a derivative begins a line of its own"),
    "typographic quote": ("variable A\nA»\u2019 = 1", "a typographic quote; .* X' = "),
    "derivative of Leibniz": ("variable A\n»dA/dt = 1", "time derivative of A is written A' = "),
    "variable after a word": ("var »A", "declare with param, species, observe or variable"),
    # reactions
    "no arrow": ("S »E @ k", "a \\+ is missing between 'S' and 'E'"),
    "no arrow, one side": ("S »@ k", "an arrow: -> .*=> .*<->"),
    "no rate": ("S -> P»", "the rate is missing; write it after the products: @ k"),
    "no rates": ("S <-> P»", "@ forward, reverse"),
    "nothing after @": ("S -> P @»", "the rate is missing after @"),
    "comma instead of @": ("S -> P», k", "follows an @ instead of a comma"),
    "two rates": ("S -> P @ k», kr", "one rate; a reversible one is written <->"),
    "two rates of =>": ("S => P @ k», kr", "a reaction with => has one rate"),
    "one rate for <->": ("S <-> P @ k»", "needs two rates"),
    "three rates": ("S <-> P @ k, kr», kf", "two rates, forward and reverse"),
    "no second rate": ("S <-> P @ k,»", "a value is missing after ','"),
    "rates in brackets": ("S <-> P @ (k», kr)", "without brackets"),
    "two arrows": ("S -> E »-> P @ k", "one arrow"),
    "two @": ("S -> E @ k »@ kr", "a second @"),
    "no left side": ("»-> S @ k", "nothing is written 0"),
    "no right side": ("S -> »@ k", "nothing is written 0"),
    "dangling +": ("S + »-> P @ k", "a species is missing after \\+"),
    "0 and something": ("0 »+ S -> P @ k", "stands alone"),
    "fraction": ("»1.5 S -> P @ k", "'1.5' is not a whole number"),
    "coefficient 0": ("»0 S -> P @ k", "has no effect"),
    "minus": ("S »- E -> P @ k", "no minus"),
    "negative coefficient": ("S -> »-2 P @ k", "no minus"),
    "coefficient behind": ("S»*2 -> P @ k", r"before its species: 2\*P"),
    "coefficient behind, spaced": ("S »2 -> P @ k", "before its species"),
    "coefficient alone": ("S + »2 -> P @ k", "'2' has no species"),
    "huge coefficient": ("99999999999 »S -> P @ k", "above 1,000,000,000"),
    "scientific coefficient": ("1e3 »S -> P @ k", "digits alone, such as 1000 S"),
    "power on a side": ("S»^2 -> P @ k", "two molecules of P are 2 P"),
    "brackets on a side": ("»(S + E) -> P @ k", "without brackets"),
    "-->": ("S »--> P @ k", "is written ->"),
    "<=>": ("S »<=> P @ k, k", "is written <->"),
    "==>": ("S »==> P @ k", "is written =>"),
    "<-": ("S »<- P @ k", "points to the right"),
    "split arrow": ("S »- > P @ k", "without a space"),
    "unicode arrow": ("S »→ P @ k", "write ->"),
    "unicode both ways": ("S »⇌ P @ k, k", "write <->"),
    "semicolon": ("S -> P»; k", "line of its own"),
    "many molecules at once": ("99 »S + E + E -> 0 @ k", "takes 101 molecules.*100.* with =>"),
    "negative rate": ("S -> P @ »-1", "is -1; a rate cannot be negative"),
    # expressions
    "unknown function": ("S -> 0 @ »foo(S)", "no function 'foo'.*functions: exp, log"),
    "near function": ("S -> 0 @ »sinn(S)", r"no function 'sinn'; did you mean 'sin'\?"),
    "ln": ("S -> 0 @ »ln(S)", r"log\(x\) is the natural logarithm"),
    "call of a parameter": ("S -> 0 @ »k(S)", "to multiply, write a \\*"),
    "function without brackets": ("S -> 0 @ »exp", r"exp is a function; write exp\(x\)"),
    "too few arguments": ("S -> 0 @ 1 + »hill(S, 2)", r"take 2 arguments; write hill\(x, K, n\)"),
    "too many arguments": ("S -> 0 @ »exp(S, 2)", r"cannot take 2 arguments; write exp\(x\)"),
    "no arguments": ("S -> 0 @ »exp()", r"cannot take 0 arguments; write exp\(x\)"),
    "min of one": ("S -> 0 @ »min(S)", r"cannot take 1 argument; write min\(a, b, ...\)"),
    "rate in hill": ("S -> 0 @ »hill(S, 1, 2, 3)", r"v\*hill\(x, K, n\)"),
    "piecewise without otherwise": ("S -> 0 @ »piecewise(1, S)", "last value"),
    "= for ==": ("S -> 0 @ if(S »= 3, 1, 2)", "write =="),
    "&&": ("S -> 0 @ S »&& E", "write and"),
    "||": ("S -> 0 @ S »|| E", "write or"),
    "!": ("S -> 0 @ »!S", "write not"),
    "<>": ("S -> 0 @ S »<> E", "write !="),
    "=>": ("S -> 0 @ if(S »=> 3, 1, 2)", "write >="),
    "%": ("S -> 0 @ S »% 2", "floor"),
    "//": ("S -> 0 @ S »// 2", "floor"),
    "chain": ("S -> 0 @ 0 < S »< 5", "0 < x and x < 5"),
    "chain of ==": ("S -> 0 @ S == E »== 5", "do not chain"),
    "not after +": ("S -> 0 @ 1 + »not S", "in brackets"),
    "if then": ("S -> 0 @ »if S > 3 then 2", r"write if\(condition, a, b\)"),
    "choice behind": ("S -> 0 @ k »if S > 3 else 2", r"written if\(condition, a, b\)"),
    "implicit product": ("S -> 0 @ 2 »S", r"an operator is missing before 'S'; .* \*"),
    "implicit product without a space": ("S -> 0 @ 2»S", "an operator is missing before 'S'"),
    "implicit product of brackets": ("S -> 0 @ (k)»(S)", "an operator is missing"),
    "never closed": ("S -> 0 @ k*»(S + 3", r"never closed; add a \)"),
    "function never closed": ("S -> 0 @ exp»(S + 3", "never closed"),
    "never opened": ("S -> 0 @ S + 3»)", "never opened"),
    "empty brackets": ("S -> 0 @ k*(»)", "empty"),
    "comma in brackets": ("S -> 0 @ (S», 3)", "a comma separates the arguments"),
    "empty argument": ("S -> 0 @ max(S,», 3)", "a value is missing before ','"),
    "ends early": ("S -> 0 @ S +»", r"a value is missing after '\+'"),
    "starts with an operator": ("S -> 0 @ »*S", r"a value is missing before '\*'"),
    "two operators": ("S -> 0 @ S * »/ 2", "a value is missing before '/'"),
    "and alone": ("S -> 0 @ »and S", "a value is missing before 'and'"),
    "two points": ("S -> 0 @ »1.2.3", "'1.2.3' is not a number"),
    "underscores in a number": ("S -> 0 @ 1»_000", "without _"),
    "too large": ("S -> 0 @ »1e999", "too large"),
    "too small": ("S -> 0 @ »1e-999", "too small"),
    "infinite constant": ("S -> 0 @ »9^9^9", r"'9\^9\^9' is inf"),
    "infinite part": ("S -> 0 @ »S*(1/0)", "'1/0' is inf"),
    "keyword in a rate": ("S -> 0 @ »species", "reserved"),
    "square brackets": ("S -> 0 @ k*»[S]", "round brackets"),
    "braces": ("S -> 0 @ k*»{S}", "round brackets"),
    "quotes": ('S -> 0 @ »"k"', "without quotes"),
    "dollar": ("»$S -> 0 @ k", "constant species"),
    "stray character": ("S -> 0 @ k »? 2", "'\\?' has no meaning"),
    "stray letter-like character": ("S -> 0 @ k*»♥", "BLACK HEART SUIT"),
    "stray dot": ("S -> 0 @ S»._k", "stray '.'"),
    "typographic minus": ("S -> 0 @ S »\N{MINUS SIGN} 1", "write -"),
    "invisible": ("S -> 0 @ k»\u200b", r"U\+200B \(ZERO WIDTH SPACE\)"),
    "control character": ("S -> 0 @ k»\x00", r"U\+0000"),
    "empty set in a rate": ("S -> 0 @ »∅", "write 0"),
    "not a digit": ("S -> 0 @ »٣", "has no meaning"),
}  # fmt: skip


@pytest.mark.parametrize("what", MISTAKES)
def test_mistakes_are_pointed_at_and_explained(what):
    marked, message = MISTAKES[what]
    marked = DECLARED + marked
    before, _, _ = marked.partition("»")
    text = marked.replace("»", "")
    with pytest.raises(ParseError, match=message) as caught:
        parse_network(text, "model.txt")
    error = caught.value
    line = before.count("\n") + 1
    column = len(before) - before.rfind("\n")
    assert (error.line, error.column) == (line, column), str(error)
    assert error.line_text == text.split("\n")[line - 1]
    place, source_line, caret = str(error).split("\n")
    assert place.startswith(f"model.txt:{line}:{column}: ")
    assert source_line == "    " + text.split("\n")[line - 1]
    assert caret == "    " + " " * (column - 1) + "^"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "the text is empty; .* species S = 100 or variable X = 1.5"),
        ("\n  # nothing but a comment\n\n", "the text is empty"),
        ("param k = 1", "at least one species"),
        ("model.txt", r"Network.read\(path\)"),
        ("/some/where/model.txt", r"Network.read\(path\)"),
    ],
)
def test_texts_that_hold_no_network(text, message):
    with pytest.raises(ParseError, match=message):
        parse_network(text)


@pytest.mark.parametrize("thing", [None, 3, b"species S", ["species S"]])
def test_only_text_is_parsed(thing):
    with pytest.raises(TypeError, match="must be a string"):
        parse_network(thing)
    with pytest.raises(TypeError, match="must be a string"):
        parse_expression(thing)


def test_errors_are_value_errors_and_network_errors():
    with pytest.raises(ValueError, match="rate is missing"):
        parse_network("S -> 0")
    with pytest.raises(NetworkError):
        parse_network("S -> 0")


def test_expressions_are_refused_with_a_place():
    with pytest.raises(ParseError, match=r"<expression>:1:6: .*") as caught:
        parse_expression("X >= = 80")
    assert caught.value.column == 6
    for text, message in [
        ("", "an expression is missing"),
        ("X >= 80, Y", "',' cannot follow"),
        ("X >= 80\nY", "invisible character"),
        ("X @ 3", "'@' cannot follow"),
        ("x: 3", "':' cannot follow"),
    ]:
        with pytest.raises(ParseError, match=message):
            parse_expression(text)


# ---- Files --------------------------------------------------------------------------------------


def test_files_are_read_as_utf8(tmp_path):
    path = tmp_path / "model.txt"
    path.write_text(EXAMPLE + "observe β = S\n", encoding="utf-8")
    assert Network.read(path) == parse_network(EXAMPLE + "observe β = S\n")
    assert read_network(str(path)) == Network.read(path)
    path.write_text("\ufeff" + EXAMPLE, encoding="utf-8", newline="\r\n")
    assert Network.read(path) == parse_network(EXAMPLE)


def test_errors_in_files_name_the_file(tmp_path):
    path = tmp_path / "model.txt"
    path.write_text("species S\nS -> Q @ 1\n")
    with pytest.raises(ParseError) as caught:
        Network.read(path)
    assert str(caught.value).startswith(f"{path}:2:6: ")
    path.write_bytes(b"species S\nS -> 0 @ 1 # caf\xe9\n")
    with pytest.raises(ParseError, match=r"2:17: the byte 0xe9 is not UTF-8"):
        Network.read(path)
    with pytest.raises(FileNotFoundError):
        Network.read(tmp_path / "missing.txt")


# ---- Hostile text -------------------------------------------------------------------------------

RATE = "species S\nS -> 0 @ "


@pytest.mark.parametrize(
    "text",
    [
        RATE + "__import__('os').system('touch /tmp/owned')",
        RATE + "__import__(os)",
        RATE + "eval(S)",
        RATE + "S.__class__",
        RATE + "(lambda: 0)()",
        RATE + "[x for x in S]",
        RATE + "9**9**9",
        RATE + "9^9^9^9^9",
        RATE + "(" * 10_000 + "S" + ")" * 10_000,
        RATE + "(" * 400_000,
        RATE + ")" * 400_000,
        RATE + "-" * 400_000 + "S",
        RATE + "+" * 400_000 + "S",
        RATE + "not " * 200_000 + "S",
        RATE + "2^" * 400_000 + "2",
        RATE + "exp(" * 200_000,
        RATE + "1 or 2 and 3 < 4 + 5*-2^(" * 20_000,
        RATE + "if(1, 2, " * 10_000,
        RATE + "9" * 400_000,
        RATE + "a" * 900_000,
        RATE + "S*" * 450_000 + "S",
        RATE + "min(" + "1," * 60_000 + "S)",
        "species " + "a" * 1_000_000,
        "species S\n" + "9" * 400_000 + " S -> 0 @ 1",
        "species S\n" + "S + " * 200_000 + "S -> 0 @ 1",
        "species S = " + "9" * 400_000,
        "a" * (MAX_LINE + 1),
        "a" * (MAX_TEXT + 1),
        "\x00" * 1_000_000,
        "species S\nobserve o0 = S\n"
        + "\n".join(f"observe o{i + 1} = o{i}*o{i}" for i in range(500)),
        "species S\n" + "\n".join(f"param p{i} = p{(i + 1) % 500}" for i in range(500)),
    ],
    ids=range(31),
)
def test_hostile_text_is_refused_quickly_and_never_run(text):
    # The slowest takes 0.5 s here (an expression is only too large after 100,000 nodes).
    started = time.perf_counter()
    with pytest.raises(ParseError) as caught:
        parse_network(text)
    assert len(str(caught.value)) < 2_000
    assert time.perf_counter() - started < 5.0


def test_refusing_does_not_depend_on_the_depth_of_the_callers_stack():
    def deeper(levels):
        if levels:
            return deeper(levels - 1)
        nested = "(" * MAX_NESTING + "S" + ")" * MAX_NESTING
        mixed = "1 or 2 and 3 < 4 + 5*2^(" * 50 + "S" + ")" * 50
        return parse_network(RATE + nested), parse_network(RATE + mixed)

    frame, used = sys._getframe(), 0
    while frame is not None:
        frame, used = frame.f_back, used + 1
    assert deeper(sys.getrecursionlimit() - used - 60)


def test_a_sum_of_20000_terms_is_read():
    network = parse_network(RATE + " + ".join(["S"] * 20_000))
    assert network.reactions[0].rate.n_nodes == 39_999
    assert parse_network(str(network)) == network


def test_the_limits_are_exact():
    inside = "(" * MAX_NESTING + "S" + ")" * MAX_NESTING
    assert parse_expression(inside) == Symbol("S")
    with pytest.raises(ParseError, match="nest more than 100"):
        parse_expression(f"({inside})")
    terms = MAX_NODES // 2
    assert parse_expression("+".join(["S"] * terms)).n_nodes == MAX_NODES - 1
    with pytest.raises(ParseError, match="more than 100,000"):
        parse_expression("+".join(["S"] * (terms + 1)))
    assert parse_network(f"species {'a' * 200}").species_names == ("a" * 200,)
    with pytest.raises(ParseError, match="at most 200"):
        parse_network(f"species {'a' * 201}")


# ---- Speed --------------------------------------------------------------------------------------


def lotka_volterra(n):
    species = [f"X{i}" for i in range(n)]
    lines = [
        "species " + ", ".join(f"{name} = 100" for name in species),
        *(
            "param " + ", ".join(f"a{i}_{j} = {0.001 * (i + 1) / (j + 1)!r}" for j in range(n))
            for i in range(n)
        ),
        *(
            f"{species[i]} + {species[j]} -> 2 {species[j]} @ a{i}_{j}"
            for i in range(n)
            for j in range(n)
        ),
    ]
    return "\n".join(lines)


def seconds(text):
    def once():
        started = time.process_time()
        parse_network(text)
        return time.process_time() - started

    return min(once() for _ in range(3))


def test_fifty_species_all_to_all_are_read_within_a_second():
    # 0.15 s here for 2,500 reactions.
    assert seconds(lotka_volterra(50)) < 1.0


def test_reading_time_grows_with_the_text_and_no_faster():
    small, large = lotka_volterra(20), lotka_volterra(60)
    ratio = len(large) / len(small)
    assert seconds(large) < 4.0 * ratio * seconds(small)


def test_every_function_is_callable_in_text():
    for name, function in FUNCTIONS.items():
        arguments = ", ".join(["S"] * function.fewest)
        network = parse_network(f"species S\nS -> 0 @ 1 + {name}({arguments})^2")
        assert parse_network(str(network)) == network
