"""The classes of the partial-propensity method hold what they stand for, and no sum drifts."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.linalg import expm
from scipy.stats import chisquare

import gillespy_lite as gl
from gillespy_lite.compilation import CompiledNetwork, compile_network
from gillespy_lite.kernels import partial_sums
from gillespy_lite.kernels.partial_sums import (
    PartialSums,
    choose_in_class,
    group_reactions,
    start_sums,
)
from gillespy_lite.kernels.walking import BUDGET_SPENT, FIRED, N_EVENTS
from gillespy_lite.methods import PartialPropensity
from gillespy_lite.run_plan import RunPlan, plan_run


def random_network(
    n_species: int, n_reactions: int, n_constants: int, seed: int, n_laws: int = 0
) -> gl.Network:
    """Return a network of every form, in which few rate constants are shared by many reactions.

    Whatever is taken comes back as one molecule or two, so that events do not come to an end.
    """
    rng = np.random.default_rng(seed)
    constants = np.round(rng.lognormal(0.0, 1.0, n_constants), 3) + 0.001
    names = [f"S{i}" for i in range(n_species)]
    lines = ["species " + ", ".join(f"{name} = {rng.integers(0, 9)}" for name in names)]
    for j in range(n_reactions):
        a, b, d = (names[k] for k in rng.integers(0, n_species, 3))
        # Species 0 takes part in many reactions.
        left, right = [
            (a, d), (f"{a} + S0", f"{d} + S0"), (f"{a} + {b}", f"{b} + {d}"), (f"2 {a}", f"2 {d}")
        ][rng.choice(4, p=[0.4, 0.3, 0.2, 0.1])]  # fmt: skip
        lines.append(f"{left} -> {right} @ {float(constants[j % n_constants])!r}")
    for _ in range(n_laws):
        a, b = (names[k] for k in rng.integers(0, n_species, 2))
        lines.append(f"{a} => {b} @ 0.3*{a}/(1 + {b})")
    return gl.Network.parse("\n".join(lines))


def classes_of(network: gl.Network) -> PartialSums:
    """Return a network in classes."""
    compiled = compile_network(network)
    return group_reactions(compiled.arrays, compiled.initial_state.size - 1)


def fresh_sums(sums: PartialSums, state: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return (propensities of classes, sums of blocks, sums of classes) worked out anew."""
    n = sums.form.size
    tree = np.zeros(sums.leaf + max(sums.n_leaves, 1) + 8)
    blocks, classes = np.zeros(n, dtype=np.int64), np.zeros(n, dtype=np.int64)
    start_sums(sums, state, tree, blocks, classes)
    return tree[sums.leaf : sums.leaf + sums.n_leaves], blocks, classes


def mass_action(network: gl.Network, state: np.ndarray) -> np.ndarray:
    """Return the propensities of all reactions, from the arrays that the direct method reads."""
    arrays, x = compile_network(network).arrays, state.astype(float)
    return arrays.coefficient * x[arrays.first] * (x[arrays.second] - arrays.shift)


NETWORKS = {
    "few constants": random_network(30, 400, 6, 1),
    "all constants differ": random_network(40, 700, 700, 2),
    "one class of many blocks": gl.Network.parse(
        "species " + ", ".join(f"S{i} = {i % 5}" for i in range(700)) + "\n"
        + "\n".join(f"S{i} -> S{(i + 1) % 700} @ 1" for i in range(700))
    ),
    "laws beside classes": random_network(20, 120, 4, 3, n_laws=30),
}  # fmt: skip


@pytest.mark.parametrize("name", NETWORKS)
def test_every_reaction_stands_once_in_classes_or_alone(name):
    sums = classes_of(NETWORKS[name])
    everyone = np.sort(np.concatenate([sums.reaction, sums.alone]))
    assert np.array_equal(everyone, np.arange(sums.form.size))
    assert sums.n_leaves == sums.class_hub.size + sums.alone.size
    in_class = np.diff(sums.class_block.astype(int))
    assert (in_class > 0).all()
    assert (np.diff(sums.block_partner.astype(int)) > 0).all()
    # So that a sum of a class fits an int64.
    ends = sums.partner[sums.block_partner[sums.class_block], 2].astype(int)
    ends[-1] = sums.reaction.size
    assert np.diff(ends).max() <= 512


@settings(deadline=None, max_examples=40)
@given(
    seed=st.integers(0, 2**32),
    n_species=st.integers(2, 30),
    n_constants=st.integers(1, 40),
    n_reactions=st.integers(1, 700),
)
def test_propensities_of_classes_are_the_sums_of_those_of_their_reactions(
    seed, n_species, n_constants, n_reactions
):
    network = random_network(n_species, n_reactions, n_constants, seed)
    sums = classes_of(network)
    rng = np.random.default_rng(seed)
    state = np.append(rng.integers(0, 50, network.n_species), 1)
    leaves, blocks, classes = fresh_sums(sums, state)
    wanted = mass_action(network, state)
    n_classes = sums.class_hub.size
    owner = np.zeros(sums.reaction.size, dtype=int)
    for k in range(n_classes):
        first, last = sums.block_partner[sums.class_block[k : k + 2]]
        start = sums.partner[first, 2]
        end = sums.partner[last, 2] if last < len(sums.partner) - 1 else sums.reaction.size
        owner[start:end] = k
        assert classes[k] == blocks[sums.class_block[k] : sums.class_block[k + 1]].sum()
    found = np.bincount(owner, weights=wanted[sums.reaction], minlength=n_classes)
    assert leaves[:n_classes] == pytest.approx(found, rel=1e-12)


@pytest.mark.parametrize("name", ["few constants", "one class of many blocks"])
def test_each_reaction_of_a_class_is_picked_as_often_as_it_has_molecules(name):
    network = NETWORKS[name]
    sums = classes_of(network)
    state = np.append(network.initial_state, 1)
    _, blocks, classes = fresh_sums(sums, state)
    arrays = compile_network(network).arrays
    for k in range(sums.class_hub.size):
        picked = [choose_in_class(sums, state, blocks, k, p) for p in range(int(classes[k]))]
        reactions, times = np.unique(picked, return_counts=True)
        hub = int(sums.class_hub[k])
        for reaction, n in zip(reactions, times, strict=True):
            pair = [int(arrays.first[reaction]), int(arrays.second[reaction])]
            pair.remove(hub)
            assert n == state[pair[0]]
            assert arrays.coefficient[reaction] == sums.class_coefficient[k]


def planned(network: gl.Network, t: float, method: str) -> RunPlan:
    """Return a plan of one long run."""
    return plan_run(
        network, [0.0, t], method=method, rng=4, seed=None, outputs=None, stop_when=None,
        max_events=None, every_event=False, method_options={},
    )  # fmt: skip


@pytest.mark.parametrize("name", NETWORKS)
def test_sums_after_many_events_are_those_of_the_present_state(name):
    network = NETWORKS[name]
    plan = planned(network, 1e9, "partial_propensity")
    walker, output = plan.walker(), plan.output(1)
    n, sums = plan.arrays.form.size, plan.arrays
    for _ in range(5):
        status = plan.kernel(plan.arrays, plan.request, walker, output, 0, 3_001)
        assert status == BUDGET_SPENT
        # The last event has changed the state; the sums were made for the state before.
        state = walker.state.copy()
        change = network.stoichiometry_matrix[:, walker.counter[FIRED]]
        state[: change.size] -= change
        leaves, blocks, classes = fresh_sums(sums, state)
        n_classes = sums.class_hub.size
        kept = walker.reals[sums.leaf : sums.leaf + n_classes]
        assert np.array_equal(kept, leaves[:n_classes])
        for node in range(sums.leaf):
            children = walker.reals[8 * node + 1 : 8 * node + 9]
            assert walker.reals[node] == pytest.approx(children.sum(), rel=1e-14)
        assert np.array_equal(walker.integers[:n], blocks)
        assert np.array_equal(walker.integers[n : 2 * n], classes)
    assert walker.counter[N_EVENTS] > 10_000


# ---- A law ---------------------------------------------------------------------------------------


def jumping(n_reactions: int) -> tuple[gl.Network, np.ndarray]:
    """Return molecules that jump among six places by many reactions, and the rates between them."""
    rng = np.random.default_rng(7)
    rates, lines = np.zeros((6, 6)), ["species A = 60, B, C, D, E, F"]
    for _ in range(n_reactions):
        one, other = rng.choice(6, 2, replace=False)
        constant = round(float(rng.uniform(0.5, 1.5)), 6) * 30 / n_reactions
        lines.append(f"{'ABCDEF'[one]} -> {'ABCDEF'[other]} @ {constant!r}")
        rates[one, other] += constant
        rates[one, one] -= constant
    return gl.Network.parse("\n".join(lines)), rates


def place_pvalue(network: gl.Network, rates: np.ndarray) -> float:
    # Every molecule jumps for itself, so at time t each is in place i with the probability that
    # expm(rates t) gives, and 60 molecules of 500 paths are 30,000 draws from that law.
    runs = gl.ensemble(network, [0.0, 0.12], 500, method="partial_propensity", rng=5)
    counts = runs.counts[:, -1].sum(axis=0)
    return float(chisquare(counts, 30_000 * expm(0.12 * rates)[0]).pvalue)


@pytest.mark.statistical
@pytest.mark.parametrize("n_reactions", [90, 1500])
def test_places_of_independent_molecules_follow_the_law_of_one(n_reactions):
    # 1,500 reactions are more classes than are added up afresh at each event.
    network, rates = jumping(n_reactions)
    assert (classes_of(network).n_leaves > partial_sums._MOST_FRESH) == (n_reactions == 1500)
    assert place_pvalue(network, rates) > 1e-3


@pytest.mark.statistical
@pytest.mark.parametrize("mutant", ["rate", "reaction"])
def test_a_wrong_list_does_not_follow_the_law(mutant, monkeypatch):
    network, rates = jumping(1500)

    def broken(self: PartialPropensity, compiled: CompiledNetwork) -> PartialSums:
        sums = group_reactions(compiled.arrays, compiled.initial_state.size - 1)
        if mutant == "rate":
            return sums._replace(class_coefficient=1.15 * sums.class_coefficient)
        return sums._replace(reaction=np.roll(sums.reaction, 1))

    monkeypatch.setattr(PartialPropensity, "arrays", broken)
    assert place_pvalue(network, rates) < 1e-9


# ---- What it refuses, and what is empty ----------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        "species X\n0 -> X @ 1 + sin(t)",
        "species X = 3\nvariable V = 1\nV' = -V\nX -> 0 @ V",
        "species X = 3\nX -> 0 @ 1\nat t >= 1: X = 9",
        "species X = 3\nX -> 0 @ 1 delay 2",
    ],
)
def test_what_moves_between_jumps_is_refused_with_methods_that_can(text):
    network = gl.Network.parse(text)
    with pytest.raises(gl.MethodError, match=r"partial_propensity.*direct"):
        gl.simulate(network, 5, method="partial_propensity")
    assert gl.simulate(network, 5, rng=1).provenance.method == "direct"


def test_a_stop_at_a_time_is_refused_with_methods_that_can():
    network = gl.Network.parse("species X = 3\nX -> 0 @ 1")
    with pytest.raises(gl.MethodError, match=r"depends on the time.*partial_propensity"):
        gl.simulate(network, 5, method="partial_propensity", stop_when="t > 2 and X < 2")


@pytest.mark.parametrize("text", ["species X = 3", "species X = 3\nX -> 0 @ 0"])
def test_a_network_in_which_nothing_happens_keeps_its_state(text):
    path = gl.simulate(gl.Network.parse(text), 5, method="partial_propensity", rng=1)
    assert (path.counts == 3).all()


def test_sums_beyond_what_doubles_hold_exactly_are_right():
    # 512 reactions of one class with a partner near 2**53: the sum is near 2**62.
    lines = [f"species A = {2**53 - 2000}, B"] + ["A -> A + B @ 1e-18"] * 600
    network = gl.Network.parse("\n".join(lines))
    sums = classes_of(network)
    state = np.array([2**53 - 2000, 0, 1])
    _, _, classes = fresh_sums(sums, state)
    assert classes[: sums.class_hub.size].tolist() == [512 * int(state[0]), 88 * int(state[0])]
    # B grows at 600 (2**53) 1e-18 = 5.4 a unit of time.
    runs = gl.ensemble(network, [0.0, 10.0], 300, method="partial_propensity", rng=8)
    assert abs(runs.mean("B")[-1] - 54.04) < 4.0 * np.sqrt(54.04 / 300)


# ---- Rows of large sparse networks ---------------------------------------------------------------


@pytest.mark.parametrize("name", ["all constants differ", "one class of many blocks"])
def test_rows_of_a_large_network_give_the_paths_of_its_lists(name):
    plan = planned(NETWORKS[name], 2.0, "direct")
    if name == "one class of many blocks":
        assert plan.arrays.rows.shape == (700, 16)
    paths = []
    for rows in (plan.arrays.rows, plan.arrays.rows[:0]):
        output = plan.output(1)
        arrays = plan.arrays._replace(rows=rows)
        plan.kernel(arrays, plan.request, plan.walker(), output, 0, 2**40)
        paths.append((output.counts[0], int(output.n_events[0])))
    assert np.array_equal(paths[0][0], paths[1][0])
    assert paths[0][1] == paths[1][1] > 500


# ---- The choice of auto --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("network", "chosen"),
    [
        (NETWORKS["few constants"], "partial_propensity"),
        (NETWORKS["one class of many blocks"], "composition_rejection"),
        # next_reaction is a little faster in a single path, direct much faster in an ensemble.
        (random_network(30, 70, 70, 4), "direct"),
    ],
)
def test_auto_takes_the_method_with_less_work_and_says_so(network, chosen):
    provenance = gl.simulate(network, [0.0, 0.1], rng=1).provenance
    assert provenance.method == chosen
    assert "steps in direct" in provenance.method_reason


def test_auto_takes_direct_where_the_run_stops_at_a_time():
    network = NETWORKS["few constants"]
    path = gl.simulate(network, [0.0, 0.1], rng=1, stop_when="t > 0.05")
    assert path.provenance.method == "direct"


def test_classes_are_built_once_for_the_same_numbers_and_anew_for_others(monkeypatch):
    built = []
    monkeypatch.setattr(
        "gillespy_lite.methods.partial_propensity.group_reactions",
        lambda arrays, n: built.append(n) or group_reactions(arrays, n),
    )
    names = [f"S{i}" for i in range(90)]
    text = "param k = 1, q = 2\nspecies " + ", ".join(f"{name} = 9" for name in names)
    text += "".join(f"\n{a} -> {b} @ k" for a, b in itertools.pairwise(names)) + "\nS89 -> S0 @ q"
    network = gl.Network.parse(text)
    for _ in range(3):
        one = gl.simulate(network, 1, method="partial_propensity", rng=1)
    assert len(built) == 1
    other = gl.simulate(network.with_parameters(k=2), 1, method="partial_propensity", rng=1)
    assert len(built) == 2
    fresh = gl.Network.parse(text.replace("k = 1,", "k = 2,"))
    again = gl.simulate(fresh, 1, method="partial_propensity", rng=1)
    assert np.array_equal(other.counts, again.counts)
    assert not np.array_equal(one.counts, other.counts)
