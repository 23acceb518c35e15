"""Deficiency, linkage classes and reversibility, and stationary laws of product form."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from scipy import linalg, special, stats

import gillespy_lite as gl
from gillespy_lite.complexes import structure_of
from gillespy_lite.errors import NetworkError
from gillespy_lite.moments import product_forms

# Law F of the issue.
BINDING = gl.Network.parse("species A = 30, B = 20, C\nA + B <-> C @ 0.01, 0.1")


# ---- Structure ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "n_complexes", "n_linkage", "rank", "deficiency", "weakly", "reversible"),
    [
        # Feinberg (2019), Foundations of Chemical Reaction Network Theory, examples of chapter 3
        # and 6: A <-> 2B, A + C <-> D -> B + E -> A + C is weakly reversible of deficiency 0.
        (
            "A <-> 2 B @ 1, 1\nA + C <-> D @ 1, 1\nD -> B + E @ 1\nB + E -> A + C @ 1",
            5, 2, 3, 0, True, False,
        ),
        # Edelstein's network: A <-> 2A, A + B <-> C <-> B has deficiency 1.
        ("A <-> 2 A @ 1, 1\nA + B <-> C @ 1, 1\nC <-> B @ 1, 1", 5, 2, 2, 1, True, True),
        # Michaelis-Menten.
        ("A + E <-> C @ 1, 1\nC -> E + D @ 1", 3, 1, 2, 0, False, False),
        # Horn and Jackson (1972), section 7: a square of complexes of two species.
        ("3 A -> A + 2 B @ 1\nA + 2 B -> 3 B @ 1\n3 B -> 2 A + B @ 1\n2 A + B -> 3 A @ 1",
         4, 1, 1, 2, True, False),
    ],
)  # fmt: skip
def test_structure_of_networks_from_books(
    text, n_complexes, n_linkage, rank, deficiency, weakly, reversible
):
    species = sorted(set("ABCDE") & set(text))
    structure = gl.Network.parse(f"species {', '.join(species)}\n{text}").structure()
    assert len(structure.complexes) == n_complexes
    assert len(structure.linkage_classes) == n_linkage
    assert structure.rank == rank
    assert structure.deficiency == deficiency
    assert structure.is_weakly_reversible is weakly
    assert structure.is_reversible is reversible
    assert f"rank {rank}: deficiency {deficiency}" in str(structure)


def test_strong_and_terminal_classes_are_those_of_the_reachability_of_complexes():
    rng = np.random.default_rng(4)
    for _ in range(60):
        n, m = int(rng.integers(2, 7)), int(rng.integers(1, 10))
        edges = [tuple(map(int, rng.choice(n, 2, replace=False))) for _ in range(m)]
        text = ", ".join(f"S{i}" for i in range(n))
        lines = [f"S{a} -> S{b} @ 1" for a, b in edges]
        structure = gl.Network.parse("\n".join([f"species {text}", *lines])).structure()
        k = len(structure.complexes)
        reach = np.eye(k, dtype=bool)
        for a, b in structure.reactions:
            reach[a, b] = True
        for _ in range(k):
            reach = (reach.astype(int) @ reach.astype(int)) > 0
        both = reach & reach.T
        strong = {tuple(np.flatnonzero(row).tolist()) for row in both}
        assert set(structure.strong_classes) == strong
        terminal = {group for group in strong if not reach[group[0]].sum() > len(group)}
        assert set(structure.terminal_classes) == terminal
        joined = linalg.expm((reach | reach.T).astype(float)) > 1e-12
        linkage = {tuple(np.flatnonzero(row).tolist()) for row in joined}
        assert set(structure.linkage_classes) == linkage
        assert structure.deficiency >= 0
        assert structure.is_weakly_reversible == (strong == linkage)


def test_structure_says_what_is_undone_by_nothing_and_leaves_out_species():
    network = gl.models.telegraph()
    structure = network.structure()
    assert structure.why_not_weakly_reversible() == (
        "On -> On + M is undone by no sequence of reactions"
    )
    assert "terminal classes: {On + M}, {0}" in str(structure)
    assert structure_of(network, ["Off", "On"]).why_not_weakly_reversible() == ""
    with pytest.raises(NetworkError, match="no species 'Z' to leave out"):
        structure_of(network, ["Z"])


def test_the_rank_counts_delays_and_events_as_the_stoichiometry_has_them():
    network = gl.Network.parse("species A = 1, B\nA -> B @ 1 delay 2\nat t >= 3: A = 5")
    assert network.structure().rank == 1


def test_explain_reports_the_structure_and_what_follows():
    text = str(BINDING.explain())
    assert "2 complexes, 1 linkage class, rank 1: deficiency 0\n  reversible" in text
    assert "stationary law: a product of Poisson laws, restricted" in text
    assert BINDING.explain().structure == BINDING.structure()
    edelstein = gl.Network.parse(
        "species A, B, C\nA <-> 2 A @ 1, 1\nA + B <-> C @ 1, 1\nC <-> B @ 1, 1"
    )
    assert "for some rate constants; product_form says" in str(edelstein.explain())
    # No mass action, so nothing follows.
    assert "stationary law" not in str(gl.models.toggle_switch().explain())
    assert "Structure" not in str(gl.Network.parse("species A").explain())


def test_real_amounts_have_no_complexes():
    network = gl.Network.parse("species A\nvariable x = 1\nA -> 0.5 x @ 1")
    with pytest.raises(NetworkError, match="'x' on a side"):
        network.structure()
    assert network.explain().structure is None


# ---- Product form -------------------------------------------------------------------------------


def test_law_f_has_its_mean_and_variance():
    law = gl.product_form(BINDING)
    assert law.mean("C") == pytest.approx(12.786366608, abs=1e-8)
    assert law.var("C") == pytest.approx(3.690825436, abs=1e-8)
    assert law.mean() == pytest.approx([30 - law.mean("C"), 20 - law.mean("C"), law.mean("C")])
    assert law.cov()[0, 2] == pytest.approx(-law.var("C"))
    assert law.std("A") == pytest.approx(law.std()[0])
    assert len(law.states) == 21


def test_law_c_is_binomial():
    law = gl.product_form(gl.Network.parse("species A = 100, B\nA <-> B @ 0.12, 1"))
    share = 1 / 1.12
    assert law.var("A") == pytest.approx(100 * 0.12 / 1.12**2, rel=1e-12)
    assert law.marginal("A") == pytest.approx(
        stats.binom(100, share).pmf(np.arange(101)), abs=1e-12
    )


def stationary_by_enumeration(states, moves):
    """Return the stationary law of a generator over listed states; moves give (rate, change)."""
    place = {state: k for k, state in enumerate(states)}
    generator = np.zeros((len(states), len(states)))
    for state, k in place.items():
        for rate, change in moves:
            after = tuple(np.add(state, change).tolist())
            if rate(*state) > 0.0:
                generator[place[after], k] += rate(*state)
                generator[k, k] -= rate(*state)
    kernel = linalg.null_space(generator)
    assert kernel.shape[1] == 1
    return kernel[:, 0] / kernel[:, 0].sum()


def test_a_cycle_that_is_only_weakly_reversible_agrees_with_the_master_equation():
    # 2 A -> B + C -> 2 D -> 2 A, whose propensities have divisors of 2.
    network = gl.Network.parse("""
        species A = 6, B, C, D
        2 A -> B + C @ 0.3
        B + C -> 2 D @ 0.8
        2 D -> 2 A @ 0.5
    """)
    law = gl.product_form(network)
    states = [tuple(state) for state in law.states.tolist()]
    assert len(states) == 10
    moves = [
        (lambda a, b, c, d: 0.3 * a * (a - 1) / 2, (-2, 1, 1, 0)),
        (lambda a, b, c, d: 0.8 * b * c, (0, -1, -1, 2)),
        (lambda a, b, c, d: 0.5 * d * (d - 1) / 2, (2, 0, 0, -2)),
    ]
    exact = stationary_by_enumeration(states, moves)
    assert law.probabilities == pytest.approx(exact, abs=1e-12)
    # The mutant: with c P^2 / 2 for the rate, the equilibrium would be another.
    wrong = stationary_by_enumeration(
        states, [(lambda a, b, c, d: 0.3 * a * a / 2 * (a > 1), (-2, 1, 1, 0)), *moves[1:]]
    )
    assert np.abs(wrong - law.probabilities).sum() > 1e-2


def test_random_weakly_reversible_networks_agree_with_the_master_equation():
    rng = np.random.default_rng(8)
    n_tried = 0
    while n_tried < 12:
        # A cycle through complexes of two molecules of three species; any deficiency.
        pairs = list(itertools.combinations_with_replacement("ABC", 2))
        chosen = rng.choice(len(pairs), size=3, replace=False)
        ring = [pairs[i] for i in chosen]
        rates = rng.uniform(0.2, 2.0, size=3).round(3)
        lines = [
            f"{' + '.join(a)} -> {' + '.join(b)} @ {rate}"
            for a, b, rate in zip(ring, [*ring[1:], ring[0]], rates, strict=True)
        ]
        network = gl.Network.parse("species A = 4, B = 3, C = 2\n" + "\n".join(lines))
        if network.structure().deficiency:
            continue
        n_tried += 1
        law = gl.product_form(network)
        moves = []
        for (a, b), rate in zip(zip(ring, [*ring[1:], ring[0]], strict=True), rates, strict=True):
            need = [a.count(name) for name in "ABC"]
            change = [b.count(name) - a.count(name) for name in "ABC"]

            def propensity(*state, need=need, rate=rate):
                return rate * math.prod(map(math.comb, state, need))

            moves.append((propensity, change))
        states = sorted({tuple(row) for row in law.states.tolist()})
        columns = [law.bounded.index(name) for name in "ABC"]
        ordered = [tuple(state[c] for c in columns) for state in law.states.tolist()]
        exact = stationary_by_enumeration(ordered, moves)
        assert len(states) == len(ordered)
        assert law.probabilities == pytest.approx(exact, abs=1e-10)


def test_species_without_a_limit_are_independent_poisson_variables():
    # A comes and goes and binds to three E; Z makes A and never changes.
    network = gl.Network.parse("""
        species A, E = 3, EA, Z = 2
        0 <-> A @ 3, 1
        E + A <-> EA @ 0.5, 0.7
        Z -> Z + A @ 0.1
        A => 0 @ 0.2*A
        A -> 2 A @ 0
    """)
    law = gl.product_form(network)
    mean = 3.2 / 1.2
    assert law.bounded == ("E", "EA")
    assert law.unbounded == ("A",)
    bound = 0.5 * mean / (0.7 + 0.5 * mean)
    assert law.mean() == pytest.approx([mean, 3 * (1 - bound), 3 * bound, 2.0])
    assert law.var("A") == pytest.approx(mean)
    assert law.var("EA") == pytest.approx(3 * bound * (1 - bound))
    joint = stats.poisson(mean).pmf(4) * stats.binom(3, bound).pmf(2)
    assert law.probability({"A": 4, "E": 1, "EA": 2, "Z": 2}) == pytest.approx(joint)
    assert law.probability([[4, 1, 2, 2], [4, 1, 2, 3], [4, 2, 2, 2], [-1, 1, 2, 2]]) == (
        pytest.approx([joint, 0.0, 0.0, 0.0])
    )
    assert law.marginal("A") == pytest.approx(
        stats.poisson(mean).pmf(np.arange(law.marginal("A").size)), abs=1e-14
    )
    assert law.marginal("Z").tolist() == [0.0, 0.0, 1.0]
    assert "4 states of E, EA and Poisson laws of A" in repr(law)


def test_rate_constants_that_balance_make_a_product_form_at_a_higher_deficiency():
    # 0 <-> A and 0 <-> 2 A agree on one equilibrium if (k1/k2)^2 = k3 / (k4 / 2).
    text = "species A = 5\n0 <-> A @ 1, 2\n0 <-> 2 A @ 1, {}"
    law = gl.product_form(gl.Network.parse(text.format(8)))
    assert law.structure.deficiency == 1
    assert law.mean("A") == pytest.approx(0.5)
    with pytest.raises(NetworkError, match="of deficiency 1, and its rate constants balance no"):
        gl.product_form(gl.Network.parse(text.format(8.1)))


def test_rate_constants_of_very_different_sizes_keep_their_digits():
    network = gl.Network.parse(
        "species A = 4, B, C\nA <-> B @ 1e-9, 1e6\nB <-> C @ 1e-7, 1e5\nC <-> A @ 1e12, 1e-15"
    )
    law = gl.product_form(network)
    # X per molecule: B/A and C/A from the flows of the cycle, by hand with exact fractions.
    from fractions import Fraction

    k = {("A", "B"): "1e-9", ("B", "A"): "1e6", ("B", "C"): "1e-7", ("C", "B"): "1e5",
         ("C", "A"): "1e12", ("A", "C"): "1e-15"}  # fmt: skip
    k = {pair: Fraction(value) for pair, value in k.items()}
    a = k["B", "A"] * k["C", "A"] + k["B", "A"] * k["C", "B"] + k["B", "C"] * k["C", "A"]
    b = k["A", "B"] * k["C", "B"] + k["A", "B"] * k["C", "A"] + k["A", "C"] * k["C", "B"]
    c = k["A", "B"] * k["B", "C"] + k["A", "C"] * k["B", "A"] + k["A", "C"] * k["B", "C"]
    total = a + b + c
    assert law.mean() == pytest.approx([float(4 * x / total) for x in (a, b, c)], rel=1e-11)


@pytest.mark.statistical
def test_samples_have_the_law_that_they_are_drawn_from_and_that_the_network_has():
    law = gl.product_form(BINDING)
    draws = law.sample(20_000, rng=3)
    assert np.array_equal(draws, law.sample(20_000, rng=3))
    counts = np.bincount(draws[:, 2], minlength=21)
    expected = 20_000 * law.marginal("C")
    kept = expected > 10
    p_value = stats.chisquare(
        np.append(counts[kept], counts[~kept].sum()),
        np.append(expected[kept], expected[~kept].sum()),
    ).pvalue
    assert p_value > 1e-5
    runs = gl.ensemble(BINDING, [0.0, 100.0], 20_000, rng=4)
    counts = np.bincount(runs["C"][:, -1], minlength=21)
    p_value = stats.chisquare(
        np.append(counts[kept], counts[~kept].sum()),
        np.append(expected[kept], expected[~kept].sum()),
    ).pvalue
    assert p_value > 1e-5
    # Power: an unbinding rate 3 % off is seen.
    other = gl.product_form(gl.Network.parse("species A = 30, B = 20, C\nA + B <-> C @ .01, .103"))
    expected = 20_000 * other.marginal("C")
    assert stats.chisquare(
        np.append(counts[kept], counts[~kept].sum()),
        np.append(expected[kept], expected[~kept].sum()),
    ).pvalue < 1e-5  # fmt: skip


def test_samples_of_unlimited_and_constant_species():
    network = gl.Network.parse("species A, Z = 2\nZ -> Z + A @ 4\nA -> 0 @ 1")
    draws = gl.product_form(network).sample(5000, rng=1)
    assert (draws[:, 1] == 2).all()
    assert draws[:, 0].mean() == pytest.approx(8.0, abs=0.2)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("species A\n0 -> A @ 1", "not weakly reversible, as 0 -> A is undone by no"),
        ("species A\n0 <-> 2 A @ 1, 1", "neither finitely many nor all: one A alone"),
        ("species A = 3\n2 A <-> 3 A @ 1, 1", "neither finitely many nor all"),
        ("species A, B\n0 <-> A + B @ 1, 1", "neither finitely many nor all"),
        ("species A = 5, B\nA <-> B @ 1 + A, 2", r"propensity of reaction 1 .* is no constant"),
        ("species A = 5, B\nA <-> B @ 1 + sin(t), 2", "depend on t has no stationary law"),
        ("species A = 5, B\nA <-> B @ 1, 2\nat t >= 1: A = 2", "cannot follow events"),
        ("species A = 600, B = 600, C = 600\nA <-> B @ 1, 2\nB <-> C @ 1, 1", "more than 200,000"),
    ],
)
def test_networks_without_a_product_form_are_refused_with_the_reason(text, message):
    with pytest.raises(NetworkError, match=message):
        gl.product_form(gl.Network.parse(text))


def test_states_and_names_that_make_no_sense_are_refused():
    law = gl.product_form(BINDING)
    with pytest.raises(KeyError, match="no species 'X'"):
        law.mean("X")
    with pytest.raises(KeyError, match="no species 'X'"):
        law.probability({"A": 1, "B": 1, "C": 1, "X": 1})
    with pytest.raises(ValueError, match="missing: C"):
        law.probability({"A": 1, "B": 1})
    with pytest.raises(ValueError, match="whole numbers with 3"):
        law.probability([0.5, 1.0, 2.0])
    with pytest.raises(TypeError, match="product_form takes a Network"):
        gl.product_form("A -> B")


def test_a_law_with_one_factorial_left_out_is_noticed(monkeypatch):
    complete = special.gammaln
    monkeypatch.setattr(special, "gammaln", lambda x: 0.97 * complete(x))
    assert abs(gl.product_form(BINDING).var("C") - 3.690825436) > 1e-2
    assert product_forms.MAX_STATES == 200_000
