"""A trajectory depends on the seed, its number and the method alone: not on threads, chunks, the
number of trajectories, where the kernel was stopped, or what was asked to be recorded.
"""

from __future__ import annotations

import hashlib
import itertools
from typing import Any

import numpy as np
import pytest
from identical import assert_identical

import gillespy_lite as gl
from gillespy_lite.kernels.walking import (
    ALL_DONE,
    BUDGET_SPENT,
    COMPLETE,
    EVENT_LIMIT,
    EVENTS_FULL,
    IN_TROUBLE,
    N_BUFFERED,
)
from gillespy_lite.moment_tree import BlockTree, block_moments
from gillespy_lite.run_plan import RunPlan, plan_run
from gillespy_lite.version import STREAM_VERSION

STOCHASTIC = [name for name, method in gl.METHODS.items() if method.is_stochastic]
EXACT = [name for name in STOCHASTIC if gl.METHODS[name].is_exact]

# Every form of propensity: sources, one, two, three molecules, a constant that depends on the state
# and a custom law.
MIXED = gl.Network.parse("""
species S = 301, E = 120, ES, P, G = 1
param kf = 0.00166, kr = 1e-4, kcat = 0.1, Vmax = 2, K = 40
observe total = S + ES + P
observe share = P/(1 + total)
S + E <-> ES @ kf, kr
ES -> E + P @ kcat
0 -> S @ 20
2 P -> 0 @ 1e-3
P + 2 S -> P @ 1e-7
G -> 0 @ 0.05*(1 + P)
0 -> G @ 0.1
P => S @ Vmax*P/(K + P)
""")


def ring(size: int) -> gl.Network:
    """Return a ring of jumps with more reactions than the dense sums of the direct method take."""
    names = [f"S{i}" for i in range(size)]
    lines = ["species " + ", ".join(f"{name} = {i % 7}" for i, name in enumerate(names))]
    lines += [f"{names[i]} -> {names[(i + 1) % size]} @ {0.2 + i % 5}" for i in range(size)]
    lines.append(f"0 => S0 @ hill(S1, 3, 2)\nS{size - 1} -> 0 @ 1")
    return gl.Network.parse("\n".join(lines))


RING = ring(70)
# Tau-leaping leaps here at first, and goes event by event when A has decayed.
DECAY = gl.Network.parse("species A = 800, P\nA -> P @ 2\nP => 0 @ 0.3*P + 0.2*A\nP -> A @ 0.1")
NETWORKS = {"mixed": MIXED, "ring": RING, "decay": DECAY}
BIRTH_DEATH = gl.Network.parse("species X\n0 -> X @ 30\nX -> 0 @ 1")


# ---- Threads and chunks --------------------------------------------------------------------------

EVERYTHING = {"outputs": ["S", "E", "ES", "P", "G", "total", "share"], "stop_when": "P >= 40"}


@pytest.mark.parametrize("method", STOCHASTIC)
@pytest.mark.parametrize("statistics", [False, True])
@pytest.mark.parametrize("n", [1, 37, 700])
def test_threads_and_chunk_sizes_give_identical_arrays(method, statistics, n):
    # 700 trajectories are several blocks of statistics, the last one not full.
    def run(**how: Any) -> Any:
        return gl.ensemble(
            MIXED, 4, n, method=method, rng=21, statistics=statistics, **EVERYTHING, **how
        )

    usual = run()
    for threads, chunk_size in itertools.product((1, 2, 3), (1, 7, 1000)):
        assert_identical(usual, run(threads=threads, chunk_size=chunk_size))


@pytest.mark.parametrize("method", STOCHASTIC)
def test_large_network_is_the_same_on_any_number_of_threads(method):
    usual = gl.ensemble(RING, 5, 60, method=method, rng=22, threads=1)
    for threads, chunk_size in ((2, None), (3, 7), (16, 1)):
        other = gl.ensemble(
            RING, 5, 60, method=method, rng=22, threads=threads, chunk_size=chunk_size
        )
        assert_identical(usual, other)


@pytest.mark.parametrize("method", STOCHASTIC)
def test_blocks_of_statistics_that_finish_in_any_order_add_up_to_the_same_bits(method):
    # 10,000 trajectories are 40 blocks; three threads finish them in an order that varies. The
    # root makes sums that are rounded: those of whole numbers would be exact in any order.
    network = gl.Network.parse("species X\nobserve root = sqrt(X + 0.1)\n0 -> X @ 30\nX -> 0 @ 1")

    def run(**how: Any) -> Any:
        return gl.ensemble(
            network,
            [0, 1, 2],
            10_000,
            method=method,
            rng=23,
            statistics=True,
            outputs=["X", "root"],
            **how,
        )

    usual = run(threads=1)
    for _ in range(3):
        assert_identical(usual, run(threads=3, chunk_size=1))


@pytest.mark.parametrize("n_blocks", [1, 2, 3, 5, 8, 40, 257])
def test_moments_of_blocks_are_joined_in_one_order_however_they_come(n_blocks):
    rng = np.random.default_rng(n_blocks)
    # Far from 0 digits could cancel; about 0 the order of two that are joined shows in a last bit.
    at = np.array([1e3, 0.0, 0.1])
    samples = [rng.normal(at, 1.0, size=(int(rng.integers(1, 9)), 2, 3)) for _ in range(n_blocks)]
    blocks = [block_moments(np.empty((*x.shape[:2], 0), np.int64), x, every(x)) for x in samples]

    def total(order: Any) -> Any:
        tree, most = BlockTree(), 0
        for block in order:
            tree.add(int(block), blocks[block])
            most = max(most, len(tree._nodes))
        return tree.total(), most

    usual, most = total(range(n_blocks))
    # In order, few are held at a time: that is what keeps memory constant.
    assert most <= n_blocks.bit_length()
    for _ in range(20):
        assert_identical(usual, total(rng.permutation(n_blocks))[0])
    everything = np.concatenate(samples)
    assert usual.n == len(everything)
    assert usual.means == pytest.approx(everything.mean(axis=0), rel=1e-12, abs=1e-13)
    if usual.n > 1:
        variances = np.diagonal(usual.comoments, axis1=1, axis2=2) / (usual.n - 1)
        assert variances == pytest.approx(everything.var(axis=0, ddof=1), rel=1e-9)


def every(samples: np.ndarray) -> np.ndarray:
    return np.arange(len(samples))


# ---- One trajectory, replayed and on its own -----------------------------------------------------


@pytest.mark.parametrize("method", STOCHASTIC)
@pytest.mark.parametrize("network", NETWORKS)
def test_simulate_gives_trajectory_zero_of_the_ensemble(method, network):
    runs = gl.ensemble(NETWORKS[network], 4, 3, method=method, rng=24)
    path = gl.simulate(NETWORKS[network], 4, method=method, rng=24)
    assert path.counts.tobytes() == runs.counts[0].tobytes()
    assert path.n_events == runs.n_events[0]


@pytest.mark.parametrize("method", STOCHASTIC)
@pytest.mark.parametrize("network", NETWORKS)
def test_replay_passes_through_the_row_that_it_repeats(method, network):
    runs = gl.ensemble(NETWORKS[network], 4, 6, method=method, rng=25)
    for i in (0, 1, 5):
        path = runs.replay(i)
        assert path.n_events == runs.n_events[i]
        assert path.reactions is not None
        assert path.times.size == path.n_events + 1
        assert np.array_equal([path.at(t) for t in runs.times], runs.counts[i])
        assert np.array_equal(gl.replay(runs, i).counts, path.counts)


@pytest.mark.parametrize("method", STOCHASTIC)
def test_replay_keeps_options_outputs_and_stop_condition(method):
    options = {"epsilon": 0.1, "single_steps": 7} if method == "tau_leaping" else {}
    runs = gl.ensemble(
        MIXED, 30, 5, method=method, rng=26, outputs=["P", "total"], stop_when="P > 25", **options
    )
    assert np.isfinite(runs.hitting_times).all()
    for i in range(5):
        path = runs.replay(i)
        assert path.columns == ("P", "total")
        assert path.hitting_time == runs.hitting_times[i] == path.times[-1]
        assert path.provenance.options == runs.provenance.options
        assert np.array_equal([path.at(t, "total") for t in runs.times], runs["total"][i])


@pytest.mark.parametrize("method", STOCHASTIC)
def test_recording_more_does_not_change_the_path(method):
    grid = gl.simulate(MIXED, 4, method=method, rng=27)
    for asked in ({"every_event": True}, {"outputs": ["share", "P"]}, {"stop_when": "P < 0"}):
        path = gl.simulate(MIXED, 4, method=method, rng=27, **asked)
        assert np.array_equal([path.at(t, "P") for t in grid.times], grid["P"])
        assert path.n_events == grid.n_events


@pytest.mark.parametrize("method", EXACT)
def test_grid_does_not_change_the_path_of_an_exact_method(method):
    fine = gl.ensemble(MIXED, np.linspace(0, 4, 41), 20, method=method, rng=28)
    coarse = gl.ensemble(MIXED, [0, 1, 4], 20, method=method, rng=28)
    assert np.array_equal(fine.counts[:, [0, 10, 40]], coarse.counts)


# ---- Where a kernel is stopped -------------------------------------------------------------------


def plan_for(network: gl.Network, method: str, **changes: Any) -> RunPlan:
    arguments: dict[str, Any] = {
        "method": method,
        "rng": 29,
        "seed": None,
        "outputs": None,
        "stop_when": None,
        "max_events": None,
        "every_event": False,
        "method_options": {},
    }
    return plan_run(network, np.linspace(0.0, 3.0, 13), **{**arguments, **changes})


def drive(plan: RunPlan, n_rows: int, budget: int, capacity: int = 0) -> tuple[list[Any], int]:
    """Run `n_rows` trajectories `budget` events at a time; return all outputs and the stops."""
    walker, output, events, n_stops = plan.walker(), plan.output(n_rows, capacity), [], 0
    while True:
        status = plan.kernel(plan.arrays, plan.request, walker, output, 5, budget)
        n = int(walker.counter[N_BUFFERED])
        columns = output.event_time, output.event_counts, output.event_values, output.event_reaction
        events.append([column[:n].copy() for column in columns])
        walker.counter[N_BUFFERED] = 0
        if status == ALL_DONE:
            break
        assert status in {BUDGET_SPENT, EVENTS_FULL, IN_TROUBLE}
        n_stops += status != IN_TROUBLE
    joined = [np.concatenate(pieces) for pieces in zip(*events, strict=True)]
    grid = [output.counts, output.values, output.hitting_time, output.n_events, output.outcome]
    return [*(joined if plan.request.every_event else grid), output.outcome], n_stops


CASES = [*itertools.product(STOCHASTIC, ("plain", "stopped", "limited"))]


@pytest.mark.parametrize(("method", "case"), [*CASES, ("tau_leaping", "fixed steps")])
@pytest.mark.parametrize("network", NETWORKS)
def test_stopping_a_kernel_anywhere_never_changes_a_path(method, network, case):
    conditions = {"mixed": "P > 20 or G > 1", "ring": "S1 > 5 or S2 > 5", "decay": "A < 80"}
    changes: dict[str, Any] = {
        "plain": {},
        "stopped": {"stop_when": conditions[network]},
        "limited": {"max_events": 100},
        "fixed steps": {"method_options": {"tau": 0.03}},
    }[case]
    plan = plan_for(NETWORKS[network], method, **changes)
    usual, _ = drive(plan, 6, 10**12)
    outcomes = set(usual[-1].tolist())
    assert outcomes <= ({COMPLETE, EVENT_LIMIT} if case == "limited" else {COMPLETE})
    for budget in (1, 7, 1000):
        stopped, n_stops = drive(plan, 6, budget)
        assert n_stops >= (50 if budget == 1 else 1) or (budget == 1000 and case != "plain")
        for one, other in zip(usual, stopped, strict=True):
            # What lies behind the point where an event limit struck is never written.
            if case != "limited" or one.ndim == 1:
                assert one.tobytes() == other.tobytes()


@pytest.mark.parametrize("method", STOCHASTIC)
@pytest.mark.parametrize("network", NETWORKS)
def test_draining_the_buffer_of_events_anywhere_never_changes_a_path(method, network):
    plan = plan_for(NETWORKS[network], method, every_event=True)
    usual, _ = drive(plan, 1, 10**12, capacity=100_000)
    for budget, capacity in ((1, 3), (7, 2), (10**12, 2), (10**12, 20), (5, 1000)):
        pieces, n_stops = drive(plan, 1, budget, capacity)
        assert n_stops > 5
        for one, other in zip(usual, pieces, strict=True):
            assert one.tobytes() == other.tobytes()


def test_decay_both_leaps_and_goes_event_by_event():
    # Otherwise the tests above would say little about tau-leaping.
    path = gl.simulate(DECAY, np.linspace(0, 3, 13), method="tau_leaping", rng=29, every_event=True)
    assert path.reactions is not None
    assert 20 < (path.reactions[1:] == -1).sum() < path.n_events - 100


# ---- Which trajectories there are ----------------------------------------------------------------


@pytest.mark.parametrize("method", STOCHASTIC)
def test_number_of_trajectories_does_not_change_any_of_them(method):
    many = gl.ensemble(MIXED, 2, 64, method=method, rng=30)
    for n in (1, 2, 33, 63):
        few = gl.ensemble(MIXED, 2, n, method=method, rng=30)
        assert few.counts.tobytes() == many.counts[:n].tobytes()
        assert np.array_equal(few.indices, np.arange(n))


NEARBY = [*range(12), 255, 256, 2**32 - 1, 2**32, 2**32 + 1, 2**63, 2**64, 2**64 + 1, 2**128]


@pytest.mark.parametrize("method", STOCHASTIC)
def test_nearby_seeds_share_no_trajectory(method):
    seen: set[bytes] = set()
    for seed in NEARBY:
        runs = gl.ensemble(BIRTH_DEATH, np.linspace(0, 6, 26), 400, method=method, rng=seed)
        seen |= {path.tobytes() for path in runs.counts}
    assert len(seen) == 400 * len(NEARBY)


def test_methods_share_no_stream():
    # With equal streams, the first waiting times of two methods would be functions of each other.
    network = gl.Network.parse("species X\n0 -> X @ 1")
    first = [
        gl.ensemble(network, [0, 1e3], 2000, method=m, rng=32, stop_when="X > 0").hitting_times
        for m in EXACT
    ]
    for one, other in itertools.combinations(first, 2):
        assert not set(one.tolist()) & set(other.tolist())
        # The correlation of 2000 independent pairs is within 5 / sqrt(2000) of 0.
        assert abs(np.corrcoef(one, other)[0, 1]) < 0.112


def test_neighbouring_trajectories_are_uncorrelated():
    network = gl.Network.parse("species X\n0 -> X @ 1")
    times = gl.ensemble(network, [0, 1e3], 50_001, rng=33, stop_when="X > 0").hitting_times
    for lag in (1, 2, 64):
        correlation = np.corrcoef(times[:-lag], times[lag:])[0, 1]
        assert abs(correlation) < 5.0 / np.sqrt(times.size - lag)


# ---- Forms of rng --------------------------------------------------------------------------------


def counts_for(rng: Any = None, **more: Any) -> tuple[bytes, int]:
    runs = gl.ensemble(BIRTH_DEATH, 2, 5, rng=rng, **more)
    return runs.counts.tobytes(), runs.provenance.entropy


def test_whole_number_is_its_own_entropy_in_any_form():
    usual, entropy = counts_for(7)
    assert entropy == 7
    for other in (np.int64(7), np.uint8(7), np.random.SeedSequence(7)):
        assert counts_for(other) == (usual, 7)
    assert counts_for(seed=7) == (usual, 7)
    assert counts_for(8)[0] != usual
    assert counts_for(2**200)[1] == 2**200


@pytest.mark.parametrize(
    "make",
    [
        lambda: None,
        lambda: np.random.default_rng(3),
        lambda: np.random.SeedSequence([1, 2, 3]),
        lambda: np.random.SeedSequence(3).spawn(2)[1],
        np.random.SeedSequence,
    ],
    ids=["None", "Generator", "list of entropy", "spawned", "fresh"],
)
def test_entropy_in_the_result_repeats_it(make):
    counts, entropy = counts_for(make())
    assert isinstance(entropy, int)
    assert counts_for(entropy) == (counts, entropy)
    path = gl.simulate(BIRTH_DEATH, 2, rng=make())
    again = gl.simulate(BIRTH_DEATH, 2, rng=path.provenance.entropy)
    assert np.array_equal(path.counts, again.counts)


def test_no_rng_is_fresh_entropy_of_128_bits_each_time():
    entropies = [counts_for()[1] for _ in range(8)]
    assert len(set(entropies)) == 8
    assert max(entropies) > 2**110


def test_generator_moves_on_and_equal_generators_agree():
    generator = np.random.default_rng(5)
    first, second = counts_for(generator), counts_for(generator)
    assert first != second
    generator = np.random.default_rng(5)
    assert (counts_for(generator), counts_for(generator)) == (first, second)


def test_spawned_seeds_differ_from_their_parent_and_each_other():
    parent = np.random.SeedSequence(9)
    family = [parent, *parent.spawn(3), *parent.spawn(1)[0].spawn(1)]
    assert len({counts_for(one)[0] for one in family}) == len(family)


def test_seed_sequence_is_not_used_up():
    sequence = np.random.SeedSequence(9)
    assert counts_for(sequence) == counts_for(sequence)
    assert sequence.n_children_spawned == 0


def test_global_random_state_is_neither_read_nor_changed():
    np.random.seed(1)
    before = np.random.get_state()[1].tobytes()
    first = counts_for(4)
    assert np.random.get_state()[1].tobytes() == before
    np.random.seed(2)
    assert counts_for(4) == first


@pytest.mark.parametrize("bad", [1.5, "1", True, [1, 2], b"1", np.random.PCG64(1), object()])
def test_other_forms_of_rng_are_refused(bad):
    with pytest.raises(TypeError, match="rng must be None, a whole number"):
        counts_for(bad)


def test_negative_seed_and_two_seeds_are_refused():
    with pytest.raises(ValueError, match="0 or more"):
        counts_for(-1)
    with pytest.raises(ValueError, match="not both"):
        counts_for(1, seed=1)


# ---- Golden hashes -------------------------------------------------------------------------------

# SHA-256 of counts and numbers of events of small ensembles. They change when a draw changes: then
# STREAM_VERSION goes up, and the change log says so.
GOLDEN = {
    ("direct", "mixed"): "4d4419107753fcff2f213cfd",
    ("direct", "ring"): "787c66006e74ef40e88028f5",
    ("direct", "decay"): "8354470fa63eb484f745dda1",
    ("first_reaction", "mixed"): "29f7b3c527bd0813880cbc8a",
    ("first_reaction", "ring"): "52b3fafb015930e4f82498ef",
    ("first_reaction", "decay"): "993f3e52b53680c685c0235b",
    ("next_reaction", "mixed"): "89551e6edeca47cac0769456",
    ("next_reaction", "ring"): "2fd0b852f2331aba1abe84d6",
    ("next_reaction", "decay"): "50569c8cf646cd562bd71598",
    ("exact_leaping", "mixed"): "8e3932c4cadd93ee55104ae4",
    ("exact_leaping", "ring"): "e885aeb7546e9ac996138e32",
    ("exact_leaping", "decay"): "8da63a45f1a7566613fbb73a",
    ("partial_propensity", "mixed"): "c3ca137858d76f2bd6bff193",
    ("partial_propensity", "ring"): "6378696f06db13d7a44850bd",
    ("partial_propensity", "decay"): "d7678e61f3770fea82a7a94a",
    ("composition_rejection", "mixed"): "e84924abd50346b1b4da8b5a",
    ("composition_rejection", "ring"): "40c2c6d364f8101b53051a2c",
    ("composition_rejection", "decay"): "c911b92fe827b8fd01005ad4",
    ("rejection", "mixed"): "b1e4cb125cc3cd0ed806a8e8",
    ("rejection", "ring"): "61a3275b06b4e9ce9dcad68a",
    ("rejection", "decay"): "4f16bf27e9943843fb9656bd",
    ("tau_leaping", "mixed"): "59a1d49139dae3351889562c",
    ("tau_leaping", "ring"): "0f040dce94c68b3ac52a57ce",
    ("tau_leaping", "decay"): "cf191d387183fb04dca0b489",
}


def golden_hash(method: str, network: gl.Network) -> str:
    runs = gl.ensemble(network, np.linspace(0, 3, 7), 25, method=method, rng=2024)
    digest = hashlib.sha256(runs.counts.astype("<i8").tobytes())
    digest.update(runs.n_events.astype("<i8").tobytes())
    return digest.hexdigest()[:24]


@pytest.mark.parametrize("method", STOCHASTIC)
@pytest.mark.parametrize("network", NETWORKS)
def test_streams_are_those_of_version_3(method, network):
    assert STREAM_VERSION == 3
    assert golden_hash(method, NETWORKS[network]) == GOLDEN[method, network]


def test_every_method_has_golden_hashes():
    assert GOLDEN.keys() == set(itertools.product(STOCHASTIC, NETWORKS))
