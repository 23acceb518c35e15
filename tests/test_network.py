"""Networks built in Python: operators, checks, relatives, identity, and conservation laws."""

import copy
import math
import pickle
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gillespy_lite.conservation import conservation_laws, integer_left_null_space
from gillespy_lite.errors import NetworkError
from gillespy_lite.network import (
    MAX_COEFFICIENT,
    Network,
    Observable,
    Parameter,
    Reaction,
    ReversibleReaction,
    Species,
    nothing,
    propensity,
    t,
)
from gillespy_lite.rate_laws import Number, Symbol, equal, exp, hill, if_, sin

S, E, ES, P = Species("S", 301), Species("E", 120), Species("ES"), Species("P")
kf, kr, kcat = Parameter("kf", 0.00166), Parameter("kr", 1e-4), Parameter("kcat", 0.1)
Vmax, K = Parameter("Vmax", 2), Parameter("K", 40)
ktot = Parameter("ktot", kf * 2)
total = Observable("total", S + ES + P)

MICHAELIS_MENTEN = """
species S = 301, E = 120, ES, P
param kf = 0.00166, kr = 1e-4, kcat = 0.1, Vmax = 2, K = 40
param ktot = kf*2
observe total = S + ES + P

bind:  S + E <-> ES   @ kf, kr
       ES -> E + P    @ kcat
       0 -> S         @ ktot*10
       2 P -> 0       @ 1e-3
       P => S         @ Vmax*P/(K + P)
"""


def michaelis_menten():
    return Network(
        species=[S, E, ES, P],
        parameters=[kf, kr, kcat, Vmax, K, ktot],
        observables=[total],
        reactions=[
            (S + E | ES @ (kf, kr)).named("bind"),
            ES >> E + P @ kcat,
            nothing >> S @ ktot * 10,
            2 * P >> nothing @ 1e-3,
            P >> S @ propensity(Vmax * P / (K + P)),
        ],
    )


def network_of(*reactions, species=(S, E, ES, P), parameters=(kf, kr, kcat, Vmax, K)):
    return Network(species=species, reactions=reactions, parameters=parameters)


# ---- Operators ----------------------------------------------------------------------------------


def test_python_and_text_build_the_same_network():
    assert michaelis_menten() == Network.parse(MICHAELIS_MENTEN)
    assert hash(michaelis_menten()) == hash(Network.parse(MICHAELIS_MENTEN))


@pytest.mark.parametrize(
    ("reaction", "text"),
    [
        (S >> P @ kf, "S -> P @ kf"),
        (S + E >> ES @ kf, "S + E -> ES @ kf"),
        (S + S >> ES @ kf, "2 S -> ES @ kf"),
        (2 * S + E >> ES + 3 * P @ kf, "2 S + E -> ES + 3 P @ kf"),
        (S * 2 >> nothing @ kf, "2 S -> 0 @ kf"),
        (S >> nothing @ 1, "S -> 0 @ 1"),
        (S >> 0 @ kf, "S -> 0 @ kf"),
        (S >> 0 @ (kf * 2), "S -> 0 @ kf*2"),
        (S >> 0 @ propensity(2), "S => 0 @ 2"),
        (nothing >> S @ 2.5, "0 -> S @ 2.5"),
        (0 >> S @ kf, "0 -> S @ kf"),
        (S >> P @ kf * 2, "S -> P @ kf*2"),
        (S >> P @ kf / K, "S -> P @ kf/K"),
        (S >> P @ (kf + kr), "S -> P @ kf + kr"),
        (S >> P @ (kf * (1 + sin(t))), "S -> P @ kf*(1 + sin(t))"),
        (S >> P @ propensity(Vmax * S / (K + S)), "S => P @ Vmax*S/(K + S)"),
        (S >> P @ propensity(Vmax * S) * 2, "S => P @ Vmax*S*2"),
        (S >> P @ propensity(hill(S, K, 2) * exp(-t)), "S => P @ hill(S, K, 2)*exp(-t)"),
        (sum([S, E]) >> sum([ES, P]) @ kf, "S + E -> ES + P @ kf"),
        (S >> S @ kf, "S -> S @ kf"),
        (np.float64(2) * S >> P @ np.float64(0.5), "2 S -> P @ 0.5"),
        (np.int64(2) * S >> P @ np.int32(3), "2 S -> P @ 3"),
        ((S >> P @ kf).named("decay"), "decay: S -> P @ kf"),
        (S >> P @ if_(equal(S, 3), kf, kr), "S -> P @ if(S == 3, kf, kr)"),
        (Reaction({S: 1, "E": 2}, {"P": 1}, kf), "S + 2 E -> P @ kf"),
        (Reaction([("S", 1)], (), 1, kind="propensity", name="x"), "x: S => 0 @ 1"),
        (Reaction([S, S], nothing, 1), "2 S -> 0 @ 1"),
    ],
)
def test_operators_read_like_the_text(reaction, text):
    assert str(reaction) == text
    assert network_of(reaction) == Network.parse(
        "species S = 301, E = 120, ES, P\n"
        f"param kf = 0.00166, kr = 1e-4, kcat = 0.1, Vmax = 2, K = 40\n{text}"
    )


@pytest.mark.parametrize(
    ("reaction", "text"),
    [
        (S + E | ES @ (kf, kr), "S + E <-> ES @ kf, kr"),
        (S | 2 * P @ (kf * 2, kr + 1), "S <-> 2 P @ kf*2, kr + 1"),
        (nothing | S @ (kf, kr), "0 <-> S @ kf, kr"),
        (0 | S @ [kf, kr], "0 <-> S @ kf, kr"),
        (S | nothing @ (kf, 1), "S <-> 0 @ kf, 1"),
    ],
)
def test_reversible_reactions_read_like_the_text(reaction, text):
    assert isinstance(reaction, ReversibleReaction)
    assert str(reaction) == text
    assert str(reaction.named("bind")) == f"bind: {text}"
    forward, reverse = reaction
    assert (forward.reactants, forward.products) == (reverse.products, reverse.reactants)
    network = network_of(reaction.named("bind"))
    assert [one.name for one in network.reactions] == ["bind", "bind_reverse"]
    assert f"bind: {text}" in str(network)


def test_a_species_named_twice_is_merged_in_order_of_first_appearance():
    reaction = E + S + E >> P + E + P @ 1
    assert reaction.reactants == (("E", 2), ("S", 1))
    assert reaction.products == (("P", 2), ("E", 1))


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: S + E >> ES, r"S \+ E >> ES has no rate; .*@ k"),
        (lambda: nothing >> S, "nothing >> S has no rate"),
        (lambda: 0 >> S, "0 >> S has no rate"),
        (lambda: S >> 0, "S >> 0 has no rate"),
        (lambda: S >> ES @ kf + 1, r"@ before \+.*brackets"),
        (lambda: S >> ES @ kf - 1, "@ before -.*brackets"),
        (lambda: S >> P @ kf + E, r"behind the last product: S >> P \+ Q @ k"),
        (lambda: S * E >> ES @ kf, "sum of species with whole coefficients"),
        (lambda: S - E >> ES @ kf, "sum of species with whole coefficients"),
        (lambda: S / 2 >> ES @ kf, "sum of species with whole coefficients"),
        (lambda: 2 * (S + E) >> ES @ kf, "sum of species with whole coefficients"),
        (lambda: S + 1 >> ES @ kf, "sum of species with whole coefficients"),
        (lambda: t >> ES @ kf, "sum of species with whole coefficients"),
        (lambda: kf * S >> ES @ kf, "sum of species with whole coefficients"),
        (lambda: -2 * S >> ES @ kf, "coefficient of 'S'.*positive"),
        (lambda: 0 * S >> ES @ kf, "coefficient of 'S'.*positive"),
        (lambda: (10 * MAX_COEFFICIENT) * S >> ES @ kf, "at most 1,000,000,000"),
        (lambda: S >> ES @ (kf, kr), r"one rate; .*S \+ E \| ES @ \(forward, reverse\)"),
        (lambda: S | ES @ kf, "two mass-action rates"),
        (lambda: S | ES @ (kf, propensity(kr)), "two mass-action rates"),
        (lambda: S | ES @ (kf, kr) * 2, "inside the brackets"),
        (lambda: S | ES @ (kf, kr, kcat), "not 3 rates"),
        (lambda: S @ kf >> ES, "rate goes after the products"),
        (lambda: S @ (kf, kr) | ES, "rates go after the products"),
        (lambda: S >> 2 * (P @ kf), r"write 2\*P @ k or P @ \(2\*k\)"),
        (lambda: S >> E - P @ kf, "no minus"),
        (lambda: Reaction({"S": 1}, {}, 1, kind="hill"), "kind must be"),
        (lambda: Reaction("S", {}, 1), "not a side of a reaction"),
        (lambda: Reaction([("S", 1, 2)], {}, 1), "not a pair"),
        (lambda: Reaction({"S": True}, {}, 1), "positive number"),
        (lambda: (S >> P @ 1).named("exp"), "reserved"),
        (lambda: network_of(S + E), "not a reaction"),
        (lambda: network_of(S @ kf), "no reactants"),
    ],
)
def test_slips_in_writing_a_reaction_are_explained(build, message):
    with pytest.raises(NetworkError, match=message):
        build()


def test_mass_action_of_more_than_a_hundred_molecules_is_refused():
    # 171! is beyond a double, so c*C(x, 171) could not be computed.
    for build in (
        lambda: network_of(60 * S + 41 * E >> 0 @ kf),
        lambda: network_of(101 * S | P @ (kf, kr)),
        lambda: network_of(P | 101 * S @ (kf, kr)),
        lambda: network_of((101 * S >> P @ kf).named("collapse")),
    ):
        with pytest.raises(NetworkError, match=r"takes 101 molecules at once.*100.* with =>"):
            build()
    assert network_of(60 * S + 40 * E >> 0 @ kf).n_reactions == 1
    assert network_of(S >> 101 * P @ kf).n_reactions == 1
    taken = network_of(MAX_COEFFICIENT * S >> 0 @ propensity(kf))
    assert taken == Network.parse(str(taken))


def test_a_rate_in_quotes_is_refused():
    with pytest.raises(TypeError, match="write it with Parameter and Species objects"):
        S >> P @ "k"


# ---- Checks -------------------------------------------------------------------------------------

a, b = Symbol("a"), Symbol("b")


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: Network([]), "at least one species"),
        (lambda: Network([S, S]), "duplicate species 'S'"),
        (
            lambda: Network([S], [], [Parameter("S", 1)]),
            "duplicate name 'S', for a species and a parameter",
        ),
        (lambda: Network([S], [], [], [Observable("S", 1)]), "for a species and an observable"),
        (
            lambda: Network([S], [(S >> 0 @ kf).named("x")] * 2, [kf]),
            "duplicate reaction 'x'",
        ),
        (lambda: Network([S], [S >> P @ 1]), "reaction 1 uses the unknown name 'P'"),
        (
            lambda: Network([S], [S >> 0 @ kf]),
            "rate of reaction 1 uses the unknown name 'kf'; .* param kf = 1",
        ),
        (
            lambda: Network([S], [S >> 0 @ Symbol("KF")], [kf]),
            r"unknown name 'KF'; did you mean 'kf'\? \(capitals matter\)",
        ),
        (
            lambda: Network([S], [(S >> 0 @ Symbol("kff")).named("out")], [kf]),
            r"rate of reaction 'out' uses the unknown name 'kff'; did you mean 'kf'\?",
        ),
        (lambda: Network([S], [S >> 0 @ Symbol("time")]), "the time is written t"),
        (lambda: Network([S], [S >> Symbol("null") @ 1]), "empty side of a reaction is written 0"),
        (
            lambda: Network([S], [kf >> nothing @ 1], [kf]),
            "'kf' is a parameter; only species react",
        ),
        (
            lambda: Network([S], [S >> nothing @ -3]),
            "rate of reaction 1 is -3; a rate cannot be neg",
        ),
        (lambda: Network([S], [S >> 0 @ (Number(2) - 5)]), "is -3; a rate cannot be negative"),
        (lambda: Network([S], [S >> 0 @ (Number(9) ** (Number(9) ** 9))]), r"'9\^9\^9' is inf"),
        (lambda: Network([S], [S >> 0 @ (S * (Number(1) / 0))]), "'1/0' is inf"),
        (lambda: Network([S], [], [], [Observable("x", S + Number(0) / 0)]), "'0/0' is nan"),
        (lambda: Network([S], [], [Parameter("k", Number(1) / 0)]), "'k' has the value inf"),
        (lambda: Network([S], [], [Parameter("a", b), Parameter("b", 1)]), "move 'b' before 'a'"),
        (
            lambda: Network([S], [], [Parameter("a", b), Parameter("b", a)]),
            "'a' is circular .*a, which uses b, which uses a",
        ),
        (lambda: Network([S], [], [Parameter("a", a + 1)]), "'a' is circular"),
        (lambda: Network([S], [], [Parameter("a", S)]), "'S', which is a species; .* observe"),
        (lambda: Network([S], [], [Parameter("a", t)]), "'t', which is the time; .* observe"),
        (lambda: Network([S], [], [Parameter("a", b)]), "'a' uses the unknown name 'b'"),
        (
            lambda: Network([S], [], [], [Observable("a", b), Observable("b", S)]),
            "move 'b' before 'a'",
        ),
        (
            lambda: Network([S], [], [], [Observable("a", b), Observable("b", a)]),
            "observable 'a' is circular",
        ),
        (lambda: Network([Species("A", kf)]), "initial count of 'A' uses the unknown name 'kf'"),
        (lambda: Network([S, Species("A", S)]), "numbers and parameters only"),
        (lambda: Network([Species("A", t)]), "numbers and parameters only"),
        (lambda: Network([Species("A", kf)], [], [kf]), "would start at 0.00166.* not a whole"),
        (lambda: Network([Species("A", -K)], [], [K]), "would start at -40; .*negative"),
        (lambda: Species("A", -1), "'A' would start at -1; counts cannot be negative"),
        (lambda: Species("A", -0.25), "counts cannot be negative"),
        (lambda: Species("A", 2.5), "2.5, which is not a whole number"),
        (lambda: Species("A", 2.0**54), r"2\*\*53"),
        (lambda: Species("A", math.nan), "finite"),
        (lambda: Species("A", 10**400), "too large"),
        (lambda: Species("t"), "reserved"),
        (lambda: Species("2A"), "not a name"),
        (lambda: Species("A B"), "not a name"),
        (lambda: Species(""), "empty"),
        (lambda: Species("a" * 1_000_000), "1000000 characters; at most 200"),
        (lambda: Parameter("piecewise", 1), "reserved"),
        (lambda: Observable("observe", S), "reserved"),
    ],
)
def test_what_cannot_mean_anything_is_refused(build, message):
    with pytest.raises(NetworkError, match=message):
        build()


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: Network("S -> 0 @ 1"), "Network.parse"),
        (lambda: Network(["S"]), r'write for example Species\("S", 100\)'),
        (lambda: Network(S), "must be a list of Species"),
        (lambda: Network([S], ["S -> 0"]), "not a Reaction"),
        (lambda: Network([S], [], [S]), "write for example Parameter"),
        (lambda: Network([S], [], [], [S]), "write for example Observable"),
        (lambda: Species(3), "must be a string"),
        (lambda: Species("A", "3"), "not a number"),
        (lambda: Species("A", S == S), "equal"),
        (lambda: Parameter("k", None), "not a number"),
        (lambda: bool(S >> P @ 1), "no truth value"),
        (lambda: 0 < S < 3, "no truth value yet"),
    ],
)
def test_things_of_the_wrong_type_are_refused(build, message):
    with pytest.raises(TypeError, match=message):
        build()


@pytest.mark.parametrize(
    "count", [24.999999999999996, 25, 25.0, np.int64(25), np.float64(25), Number(25)]
)
def test_an_initial_count_within_the_tolerance_is_rounded(count):
    species = Species("A", count)
    assert species.initial == 25
    assert isinstance(species.initial, int)
    assert Network([species]) == Network([Species("A", 25)])
    assert Network([Species("A")]).with_initial(A=species.initial).initial_state.tolist() == [25]
    plain = count.value if isinstance(count, Number) else count
    assert Network([Species("A")]).with_initial(A=plain) == Network([species])


def test_an_initial_count_from_a_concentration_times_a_volume_is_rounded():
    concentration, volume = Parameter("concentration", 0.1), Parameter("volume", 250)
    network = Network([Species("A", concentration * volume)], [], [concentration, volume])
    assert network.initial_state.tolist() == [25]
    with pytest.raises(NetworkError, match="not a whole number"):
        network.with_parameters(volume=251).initial_state  # noqa: B018


def test_observables_that_square_each_other_are_refused_at_once():
    observables = [Observable("o0", S)]
    for index in range(60):
        last = Symbol(f"o{index}")
        observables.append(Observable(f"o{index + 1}", last * last))
    with pytest.raises(NetworkError, match="more than 100,000"):
        Network([S], [], [], observables)


def test_an_expression_too_deep_to_be_written_is_refused():
    rate = S + 0
    for _ in range(200):
        rate = 1 / (1 + rate)
    with pytest.raises(NetworkError, match="nests more than 100"):
        Network([S], [S >> 0 @ rate])


# ---- What a network knows -----------------------------------------------------------------------


def test_sizes_names_and_arrays():
    network = michaelis_menten()
    assert network.species_names == ("S", "E", "ES", "P")
    assert network.parameter_names == ("kf", "kr", "kcat", "Vmax", "K", "ktot")
    assert network.observable_names == ("total",)
    assert (network.n_species, network.n_reactions) == (4, 6)
    assert network.initial_state.tolist() == [301, 120, 0, 0]
    assert network.initial_state.dtype == np.int64
    assert network.parameter_values.tolist() == [0.00166, 1e-4, 0.1, 2.0, 40.0, 0.00332]
    assert network.stoichiometry_matrix.tolist() == [
        [-1, 1, 0, 1, 0, 1],
        [-1, 1, 1, 0, 0, 0],
        [1, -1, -1, 0, 0, 0],
        [0, 0, 1, 0, -2, -1],
    ]
    for array in (network.initial_state, network.parameter_values, network.stoichiometry_matrix):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 1


def test_a_network_may_have_no_reactions():
    network = Network([S])
    assert network.n_reactions == 0
    assert network.stoichiometry_matrix.shape == (1, 0)
    assert Network.parse(str(network)) == network


def test_expanded_rates_hold_no_observables_and_no_constants():
    double = Observable("double", total * 2)
    network = Network([S, ES, P], [S >> 0 @ (double + Symbol("pi") + kf)], [kf], [total, double])
    rate = network.expanded_rate(0)
    assert rate.symbols() == {"S", "ES", "P", "kf"}
    values = {"S": 1.0, "ES": 2.0, "P": 3.0, "kf": 0.5}
    assert rate.evaluate(values) == pytest.approx(12.5 + math.pi)
    assert network.expanded(total) == S + ES + P
    assert network.expanded(3) == Number(3)
    with pytest.raises(NetworkError, match=r"uses the unknown name 'totl'; did you mean 'total'\?"):
        network.expanded(Symbol("totl") > 3)


def test_declared_e_and_pi_are_what_was_declared():
    e = Species("e", 7)
    network = Network([e], [e >> 0 @ (Symbol("e") + Symbol("pi"))], [Parameter("pi", 3)])
    assert network.expanded_rate(0).symbols() == {"e", "pi"}


# ---- Relatives ----------------------------------------------------------------------------------


def test_with_parameters_and_with_initial_make_relatives():
    network = michaelis_menten()
    relative = network.with_parameters(kf=1, K=7.5).with_initial(S=3, ES=np.int64(4))
    assert relative.parameter_values.tolist() == [1.0, 1e-4, 0.1, 2.0, 7.5, 2.0]
    assert relative.initial_state.tolist() == [3, 120, 4, 0]
    assert network == michaelis_menten()
    assert relative != network
    assert relative.memo is network.memo
    assert relative.reactions is network.reactions
    assert relative.stoichiometry_matrix is network.stoichiometry_matrix
    assert relative == Network.parse(
        MICHAELIS_MENTEN.replace("0.00166", "1")
        .replace("K = 40", "K = 7.5")
        .replace("301", "3")
        .replace("ES, P\nparam", "ES = 4, P\nparam")
    )
    back = relative.with_parameters({"kf": 0.00166, "K": 40}).with_initial({"S": 301, "ES": 0})
    assert back == network
    assert hash(back) == hash(network)
    assert network.with_parameters() == network


def test_setting_a_derived_parameter_replaces_its_expression():
    network = michaelis_menten().with_parameters(ktot=5)
    assert network.with_parameters(kf=100).parameter_values[5] == 5.0
    assert "ktot = 5" in str(network)


def test_initial_counts_follow_parameters_until_they_are_set():
    volume = Parameter("volume", 10)
    network = Network([Species("A", volume * 2)], [], [volume])
    assert network.with_parameters(volume=30).initial_state.tolist() == [60]
    assert network.with_initial(A=1).with_parameters(volume=30).initial_state.tolist() == [1]
    assert network.species[0].initial == volume * 2


def test_objects_are_taken_as_keys():
    assert michaelis_menten().with_parameters({kf: 1}) == michaelis_menten().with_parameters(kf=1)
    assert michaelis_menten().with_initial({S: 1}) == michaelis_menten().with_initial(S=1)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda n: n.with_parameters(Kf=1), r"no parameter 'Kf'; did you mean 'kf'\?"),
        (lambda n: n.with_parameters(kff=1), r"did you mean 'kf'\?"),
        (lambda n: n.with_parameters(zzzzzz=1), "there are kf, kr"),
        (lambda n: n.with_parameters(S=1), "'S' is a species, set with with_initial"),
        (lambda n: n.with_initial(kf=1), "'kf' is a parameter, set with with_parameters"),
        (lambda n: n.with_initial(Ess=1), r"did you mean 'ES'\?"),
        (lambda n: n.with_initial(S=-1), "counts cannot be negative"),
        (lambda n: n.with_initial(S=1.5), "not a whole number"),
        (lambda n: n.with_initial(S="3"), "must be set to a number"),
        (lambda n: n.with_parameters(kf=math.nan), "has the value nan"),
        (lambda n: n.with_parameters(kf=math.inf), "has the value inf"),
        (lambda n: n.with_parameters(kf="1"), "must be set to a number"),
        (lambda n: n.with_parameters(kf=True), "must be set to a number"),
        (lambda n: n.with_parameters(kf=kr * 2), "must be set to a number"),
        (lambda n: n.with_parameters(kf=1e308).with_parameters(kf=1e309), "has the value inf"),
        (lambda n: n.with_parameters(kf=1.7e308).parameter_values, "'ktot' has the value inf"),
    ],
)
def test_wrong_changes_are_refused(change, message):
    with pytest.raises(NetworkError, match=message):
        change(michaelis_menten())


def test_relatives_cost_microseconds():
    # 1.5 us here; the bound is generous because machines differ.
    parameters = [Parameter(f"k{index}", index) for index in range(10)]
    network = Network([S], [S >> 0 @ parameter for parameter in parameters], parameters)
    started = time.perf_counter()
    for index in range(10_000):
        relative = network.with_parameters(k0=index, k9=0.5)
        assert relative.parameter_values[0] == index
    assert time.perf_counter() - started < 3.0


def test_building_the_same_network_again_and_again_does_not_get_slower():
    def seconds():
        started = time.process_time()
        for _ in range(50):
            michaelis_menten()
        return time.process_time() - started

    first = min(seconds() for _ in range(3))
    for _ in range(10):
        seconds()
    assert min(seconds() for _ in range(3)) < 5.0 * first


# ---- Identity -----------------------------------------------------------------------------------


def test_networks_are_equal_when_their_declarations_are():
    network = michaelis_menten()
    assert network == michaelis_menten()
    assert len({network, michaelis_menten(), network.with_parameters(kf=1)}) == 2
    assert network != "network"
    assert Network([S, E]) != Network([E, S])
    assert Network([S], [S >> nothing @ 1]) != Network([S], [(S >> nothing @ 1).named("x")])
    assert Network([S], [S >> nothing @ 1]) != Network([S], [S >> 0 @ propensity(1)])
    assert Network([S], [], [kf]) != Network([S], [], [Parameter("kf", 1)])
    assert Network([S], [], [Parameter("a", 2)]) != Network(
        [S], [], [Parameter("a", Number(1) + 1)]
    )


def test_networks_never_change():
    network = michaelis_menten()
    with pytest.raises(AttributeError, match=r"with_parameters\(\.\.\.\)"):
        network.species = ()
    with pytest.raises(AttributeError, match="cannot be changed"):
        del network.memo
    with pytest.raises(AttributeError):
        S.initial = 4
    with pytest.raises(AttributeError):
        network.reactions[0].rate = 4
    assert copy.copy(network) is network
    assert copy.deepcopy(network) is network


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_everything_pickles(protocol):
    network = michaelis_menten().with_parameters(kf=1)
    for thing in (network, S, kf, total, network.reactions[0], S + E | ES @ (kf, kr), S + E):
        assert pickle.loads(pickle.dumps(thing, protocol)) == thing
    assert isinstance(pickle.loads(pickle.dumps(nothing, protocol)), type(nothing))


def test_the_digest_is_that_of_the_text():
    network = michaelis_menten()
    assert len(network.digest) == 64
    assert network.digest == Network.parse(str(network)).digest
    assert network.digest != network.with_parameters(kf=1).digest


def test_species_work_as_keys_and_in_lists():
    assert {S: 1}[Species("S", 301)] == 1
    assert S in [E, S]
    assert Species("S", 300) != S


# ---- Views --------------------------------------------------------------------------------------


def test_text_is_the_language():
    assert str(michaelis_menten()).splitlines() == [
        "species S = 301, E = 120, ES, P",
        "param kf = 0.00166, kr = 0.0001, kcat = 0.1, Vmax = 2, K = 40, ktot = kf*2",
        "observe total = S + ES + P",
        "",
        "bind: S + E <-> ES @ kf, kr",
        "ES -> E + P @ kcat",
        "0 -> S @ ktot*10",
        "2 P -> 0 @ 0.001",
        "P => S @ Vmax*P/(K + P)",
    ]
    assert (
        repr(michaelis_menten()) == "<Network: 4 species, 6 reactions, 6 parameters, 1 observable>"
    )


def test_many_species_are_spread_over_lines():
    network = Network([Species(f"species_number_{index}", index) for index in range(50)])
    assert max(map(len, str(network).splitlines())) <= 88
    assert Network.parse(str(network)) == network


def test_only_exact_pairs_are_written_as_reversible():
    pairs = [
        ([S >> P @ kf, P >> S @ kr], 1),
        ([P >> S @ kf, P >> S @ kr], 2),
        ([(S >> P @ kf).named("x"), P >> S @ kr], 2),
        ([(S >> P @ kf).named("x"), (P >> S @ kr).named("x_reverse")], 1),
        ([S >> P @ kf, (P >> S @ kr).named("x_reverse")], 2),
        ([S >> P @ propensity(kf), P >> S @ kr], 2),
        ([S + E >> P @ kf, P >> E + S @ kr], 2),
        ([S >> P @ kf, P >> S @ kr, S >> P @ kf], 2),
        ([S >> S @ kf, S >> S @ kr], 1),
    ]
    for reactions, n_lines in pairs:
        network = network_of(*reactions)
        text = str(network)
        assert len(text.split("\n\n")[1].splitlines()) == n_lines, text
        assert Network.parse(text) == network


def test_html_is_escaped_and_complete():
    network = Network([S], [S >> 0 @ if_(S < 3, kf, kr)], [kf, kr], [Observable("low", S < 3)])
    page = network._repr_html_()
    assert "S &lt; 3" in page
    assert "S < 3" not in page
    assert "S -&gt; 0" in page
    assert page.count("<table>") == page.count("</table>") == 4
    many = Network([Species(f"a{index}") for index in range(1_000)])
    assert "... and 800 more" in many._repr_html_()


def test_latex_is_escaped():
    k_on, dna = Parameter("k_on", 1), Species("DNA_1")
    network = Network(
        [dna], [nothing >> dna @ k_on, dna | 2 * dna @ (1, 2), dna >> 0 @ propensity(k_on)], [k_on]
    )
    latex = network.to_latex()
    assert r"\mathrm{DNA\_1}" in latex
    assert r"\emptyset &\xrightarrow{\mathrm{k\_on}}" in latex
    assert r"\rightleftharpoons" in latex
    assert r"\Rightarrow" in latex
    assert "DNA_1" not in latex


# ---- Conservation laws --------------------------------------------------------------------------


def test_conservation_laws_of_an_enzyme_count_its_molecules():
    network = network_of(S + E | ES @ (kf, kr), ES >> E + P @ kcat)
    assert conservation_laws(network).tolist() == [[1, 0, 1, 1], [0, 1, 1, 0]]


@pytest.mark.parametrize(
    ("matrix", "laws"),
    [
        ([[1], [1]], [[1, -1]]),
        ([[-2], [1]], [[1, 2]]),
        ([[], []], [[1, 0], [0, 1]]),
        ([[1]], []),
        ([[0], [1]], [[1, 0]]),
        ([[-1, 1], [1, -1], [-1, 1], [1, -1]], [[1, 1, 0, 0], [1, 0, 0, 1], [0, 1, 1, 0]]),
        ([[-6], [10], [-15]], [[5, 3, 0], [0, 3, 2]]),
    ],
)
def test_integer_left_null_space_of(matrix, laws):
    found = integer_left_null_space(matrix, len(matrix))
    assert np.linalg.matrix_rank(np.array([*found, *laws]) if laws else [[0]]) == len(laws)
    assert sorted(found) == sorted(laws)


def test_futile_cycle_has_its_four_laws():
    network = Network.parse(
        "species S1, S2, S3, S4, S5, S6\nS1 + S2 <-> S3 @ 1, 1\nS3 -> S1 + S5 @ 0.1\n"
        "S4 + S5 <-> S6 @ 1, 1\nS6 -> S4 + S2 @ 0.1"
    )
    assert conservation_laws(network).tolist() == [
        [1, 0, 1, 0, 0, 0],
        [0, 1, 1, 0, 1, 1],
        [0, 0, 0, 1, 0, 1],
    ]


@settings(max_examples=200, deadline=None)
@given(
    st.integers(1, 7).flatmap(
        lambda rows: st.integers(0, 6).flatmap(
            lambda columns: st.lists(
                st.lists(st.integers(-3, 3), min_size=columns, max_size=columns),
                min_size=rows,
                max_size=rows,
            )
        )
    )
)
def test_laws_are_a_basis_of_what_no_reaction_changes(matrix):
    n_rows = len(matrix)
    laws = integer_left_null_space(matrix, n_rows)
    array = np.array(matrix, dtype=float).reshape(n_rows, -1)
    rank = np.linalg.matrix_rank(array) if array.size else 0
    assert len(laws) == n_rows - rank
    for law in laws:
        assert all(
            sum(weight * row[column] for weight, row in zip(law, matrix, strict=True)) == 0
            for column in range(array.shape[1])
        )
        assert math.gcd(*law) == 1
    if laws:
        assert np.linalg.matrix_rank(np.array(laws, dtype=float)) == len(laws)


@settings(max_examples=100, deadline=None)
@given(st.data())
def test_laws_have_no_negative_weights_where_molecules_are_conserved(data):
    # Every reaction turns molecules into as many others, so every law can be made non-negative:
    # the total number of molecules is conserved and can be added to any of them.
    n_species = data.draw(st.integers(2, 6))
    pairs = data.draw(
        st.lists(
            st.tuples(st.integers(0, n_species - 1), st.integers(0, n_species - 1)), max_size=6
        )
    )
    matrix = [[0] * len(pairs) for _ in range(n_species)]
    for column, (taken, made) in enumerate(pairs):
        matrix[taken][column] -= 1
        matrix[made][column] += 1
    for law in integer_left_null_space(matrix, n_species):
        assert min(law) >= 0


def test_conservation_laws_are_kept_for_relatives():
    network = michaelis_menten()
    laws = conservation_laws(network)
    assert conservation_laws(network.with_parameters(kf=1)) is laws
    assert laws.tolist() == [[0, 1, 1, 0]]
    assert not (laws @ network.stoichiometry_matrix).any()
