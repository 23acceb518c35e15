"""Lanes of networks with more than 64 reactions go the paths of single runs, bit for bit."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy import stats
from test_determinism import assert_identical, ring
from test_lanes import both, lane_plan
from test_scans import assert_sets_are_ensembles

import gillespy_lite as gl
from gillespy_lite import engines
from gillespy_lite.kernels import lane_trees
from gillespy_lite.kernels.jit import inlined
from gillespy_lite.kernels.lane_vectors import (
    LANES,
    everywhere,
    gathered,
    ones,
    select,
)
from gillespy_lite.kernels.lanes import event_maker, lane_kernel
from gillespy_lite.kernels.sum_tree import (
    ARITY,
    DENSE_LIMIT,
    LANE_LIMIT,
    choose_leaf,
    first_leaf,
    leaf_offset,
    tree_size,
    update_node,
)
from gillespy_lite.kernels.walking import ALL_DONE


def random_network(seed: int) -> gl.Network:
    """Return reactions of all forms, some of which can't happen at first, some never."""
    rng = np.random.default_rng(seed)
    names = [f"S{i}" for i in range(int(rng.integers(3, 20)))]
    lines = ["species " + ", ".join(f"{name} = {rng.integers(0, 12)}" for name in names)]
    lines.append(f"param k = {rng.uniform(0.5, 2):.3f}, n = 3")
    sides = ("0", "{a}", "{a}", "{b}", "2 {a}", "{a} + {b}", "3 {b}", "2 {a} + {b}")
    laws = ("k", "0.1", "k*{a}/(3 + {b})", "if({a} > 4, 1, 0)", "hill({b}, 4, n)", "0")
    while len(lines) < rng.integers(DENSE_LIMIT + 3, 150):
        a, b = rng.choice(names, 2, replace=False)
        left, right = (str(rng.choice(sides[:7])).format(a=a, b=b) for _ in range(2))
        law = str(rng.choice(laws)).format(a=a, b=b)
        arrow = "=>" if "(" in law and rng.random() < 0.5 else "->"
        lines.append(f"{left} {arrow} {right} @ {law}")
    # What grows is held back.
    return gl.Network.parse("\n".join([*lines, *(f"{name} -> 0 @ 3" for name in names)]))


@pytest.mark.parametrize("size", [63, 64, 70, 126, 127, 200, LANE_LIMIT - 2])
def test_lanes_give_the_bits_of_single_paths(size):
    network = ring(size)
    assert len(network.reactions) == size + 2 > DENSE_LIMIT
    for n in (1, 33, 200):
        assert_identical(*both(network, [0.0, 0.3, 1.0], n, rng=5))


@pytest.mark.parametrize("seed", range(12))
def test_random_networks_have_the_same_bits(seed):
    network = random_network(seed)
    for how in ({}, {"statistics": True, "threads": 2}, {"stop_when": "S0 + S1 >= 30"}):
        one, other = both(network, [0.0, 0.2, 0.5, 0.6], 150, rng=seed, **how)
        assert_identical(one, other)


def test_threads_chunks_and_observables_change_no_bit():
    text = ["species X = 40, Y = 3", *["X -> Y @ 0.01"] * 40, *["Y -> X @ 0.02"] * 40]
    network = gl.Network.parse("\n".join([*text, "observe share = X/(X + Y)"]))
    how: dict[str, Any] = {"rng": 3, "outputs": ["Y", "share"], "max_events": 10_000}
    usual, _ = both(network, 4.0, 700, **how)
    for threads, chunk_size in ((1, 100), (2, None), (3, 1000)):
        how |= {"threads": threads, "chunk_size": chunk_size}
        assert_identical(usual, both(network, 4.0, 700, **how)[1])


@pytest.mark.parametrize("budget", [1, 7 * LANES])
def test_where_lanes_are_stopped_never_changes_a_path(budget):
    plan = lane_plan(ring(90), [0.0, 0.3, 1.0])
    assert plan.engine.lane_kernel is lane_trees.run_lane_trees

    def output(steps: int) -> Any:
        found, walker = plan.output(80), plan.lane_walker(np.zeros(1, dtype=np.int64))
        kernel, status = plan.engine.lane_kernel, -1
        while status != ALL_DONE:
            status = kernel(plan.engine.lanes, plan.request, walker, found, 0, steps)
        return found

    one, whole = output(budget), output(10**9)
    assert np.array_equal(one.counts, whole.counts)
    assert np.array_equal(one.n_events, whole.n_events)


def test_trouble_is_the_same_error_with_the_finished_paths():
    text = ["species X = 30, Y", *["X -> Y @ 0.02"] * 80, "Y => X @ 1/(18 - Y)"]
    network, found = gl.Network.parse("\n".join(text)), []
    for engine in ("table", "lanes"):
        with pytest.raises(gl.errors.BadPropensityError, match="reaction 81") as caught:
            gl.ensemble(network, 5.0, 50, method="direct", rng=2, engine=engine, threads=1)
        found.append(str(caught.value))
    assert found[0] == found[1]


def test_scans_go_in_such_lanes_and_have_the_bits_of_ordinary_runs():
    lines = ["species X = 20, Y", "param k = 0.01, l = 0.02"]
    lines += [*["X -> Y @ k"] * 45, *["Y -> X @ l"] * 44, "Y => X @ l*Y/(k + Y)"]
    points = {"k": [0.01, 0.05], "l": [0.02, 0.3]}
    network = gl.Network.parse("\n".join(lines))
    scan = gl.scan(network, points, [0.0, 2.0], 40, rng=4, method="direct")
    assert scan.provenance.engine == "lanes"
    assert_sets_are_ensembles(scan)


def test_auto_takes_such_lanes_and_what_cannot_use_them_does_not():
    network = ring(90)
    runs = gl.ensemble(network, 0.1, 60, rng=1)
    assert (runs.provenance.method, runs.provenance.engine) == ("direct", "lanes")
    assert "in ensembles of direct" in runs.provenance.method_reason
    assert np.array_equal(gl.simulate(network, 0.1, rng=1).counts, runs.counts[0])
    few = gl.ensemble(network, 0.1, 31, rng=1)
    assert few.provenance.engine == "table"
    assert few.provenance.engine_reason == "auto: fewer than 32 trajectories"
    assert np.array_equal(few.counts, runs.counts[:31])
    leaps = gl.ensemble(network, 0.1, 60, method="tau_leaping", rng=1)
    assert leaps.provenance.engine == "table"
    assert "lanes take at most 64" in leaps.provenance.engine_reason


# ---- The way down the tree -----------------------------------------------------------------------


def single_and_lane_trees(n: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return LANES trees of random shares, a row each, and the same as lanes have them."""
    rng = np.random.default_rng(seed)
    single = np.zeros((LANES, tree_size(n)))
    leaves = first_leaf(n)
    for tree in single:
        shares = rng.uniform(0, 1, n) * (rng.uniform(0, 1, n) < rng.uniform(0.02, 1))
        shares[rng.integers(n)] = 1.0
        tree[leaves : leaves + n] = shares
        for node in reversed(range(leaves)):
            if ARITY * node + ARITY < tree.size:
                update_node(tree, node)
    return single, np.ascontiguousarray(single.T).ravel()


@pytest.mark.parametrize("n", [65, 72, 130, 400])
def test_a_lane_goes_astray_where_a_single_path_would_and_comes_back(n):
    single, lanes = single_and_lane_trees(n, n)
    leaves = first_leaf(n)
    for lane, tree in enumerate(single):
        # At and above the total, too: no draw gives that, but roundings on the way down can.
        for target in (0.0, 0.3 * tree[0], np.nextafter(tree[0], 0), tree[0], 1.01 * tree[0]):
            expected = choose_leaf(tree, leaf_offset(n), target)
            assert tree[leaves + expected] > 0.0
            assert lane_trees.choose_in_lane(lanes, lane, leaves, target) == expected


@inlined
def _mutant_choice(network, walker, target, goes):
    # What is left of the target is not made smaller by the shares that are passed.
    tree, leaves = walker.cumulative, leaf_offset(network.n_reactions)
    node, first = ones(goes | ~goes) - 1, 0
    while first < leaves:
        first = ARITY * first + 1
        node = node * ARITY + 1
        child, further = node, everywhere(0.0) == 0.0
        for c in range(ARITY - 1):
            further = further & (target >= gathered(tree, node, c))
            child = child + ones(further)
        node = child
    return select(goes & (node - leaves < network.n_reactions), node - leaves, np.int64(-1))


def pvalue_of_births(**how: Any) -> float:
    """Return how likely counts of births at 66 rates are by the law of Poisson."""
    rates = np.linspace(0.1, 3.0, 66)
    lines = ["species " + ", ".join(f"S{i}" for i in range(66))]
    lines += [f"0 -> S{i} @ {rate!r}" for i, rate in enumerate(rates.tolist())]
    runs = gl.ensemble(
        gl.Network.parse("\n".join(lines)), [0.0, 2.0], 400, method="direct", rng=6, **how
    )
    total = runs.counts[:, -1].sum(axis=0)
    # Sums of Poisson numbers, means of 80 and more.
    return float(stats.chi2.sf(((total - 800 * rates) ** 2 / (800 * rates)).sum(), 66))


def test_counts_of_lanes_follow_the_law_and_those_of_a_mutant_do_not(monkeypatch):
    assert pvalue_of_births(engine="lanes") > 1e-3
    mutant = lane_kernel("mutant_trees", event_maker(lane_trees._fill_tree, _mutant_choice))
    monkeypatch.setattr(engines, "run_lane_trees", mutant)
    # Measured: 0.
    assert pvalue_of_births(engine="lanes") < 1e-12
