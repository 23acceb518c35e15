"""An ensemble put together from portions, run anywhere and in any order, is the one of one go."""

from __future__ import annotations

import itertools
import json
import pickle
from typing import Any

import numpy as np
import pytest
from identical import assert_identical

import gillespy_lite as gl
from gillespy_lite.crews import Crew
from gillespy_lite.gathering import Gatherer
from gillespy_lite.models import MODELS
from gillespy_lite.run_orders import RunOrder
from gillespy_lite.run_plan import plan_run

STOCHASTIC = [name for name, method in gl.METHODS.items() if method.is_stochastic]
MIXED = gl.Network.parse("""
species S = 301, E = 120, ES, P, G = 1
param kf = 0.00166, kr = 1e-4, kcat = 0.1, Vmax = 2, K = 40
observe total = S + ES + P
observe share = P/(1 + total)
S + E <-> ES @ kf, kr
ES -> E + P @ kcat
0 -> S @ 20
G -> 0 @ 0.05*(1 + P)
0 -> G @ 0.1
P => S @ Vmax*P/(K + P)
""")
EVERYTHING = {"outputs": ["S", "E", "ES", "P", "G", "total", "share"], "stop_when": "P >= 40"}
# What trajectories of these methods depend on beside the network.
OPTIONS: dict[str, dict[str, Any]] = {"tau_leaping": {"epsilon": 0.02}}


AS_USUAL: dict[str, Any] = {
    "method": "direct",
    "rng": 61,
    "seed": None,
    "outputs": None,
    "stop_when": None,
    "max_events": None,
    "every_event": False,
    "method_options": {},
}


def flat(group: Any) -> list[Any]:
    """Return the arrays and numbers of groups of groups."""
    if isinstance(group, tuple):
        return [one for part in group for one in flat(part)]
    return [group]


def order_for(network: gl.Network, statistics: bool = False, **how: Any) -> RunOrder:
    given = {**AS_USUAL, **how}
    given["method_options"] = OPTIONS.get(given["method"], {})
    plan = plan_run(network, 4, **given)
    return RunOrder.of(plan, 64 if statistics else None)


def gathered(order: RunOrder, first: int, last: int, threads: int = 1) -> Gatherer:
    plan = order.plan()
    gatherer = order.gatherer(plan, first, last, threads)
    assert Crew(plan, gatherer, threads).work(lambda done: None) is None
    return gatherer


@pytest.mark.parametrize("method", STOCHASTIC)
@pytest.mark.parametrize("statistics", [False, True])
def test_portions_add_up_to_the_ensemble_of_one_go_in_any_order(method, statistics):
    n, options = 1500, OPTIONS.get(method, {})
    how: dict[str, Any] = {"statistics": statistics, "histogram_bins": 64} if statistics else {}
    usual = gl.ensemble(MIXED, 4, n, method=method, rng=61, **EVERYTHING, **how, **options)
    order = order_for(MIXED, statistics, method=method, **EVERYTHING)
    unit = gathered(order, 0, 1).unit
    # Blocks of statistics begin where a portion does; the first and the last may be cut.
    cuts = [0, 2 * unit, 3 * unit, 5 * unit, n] if statistics else [0, 1, 300, 301, 1100, n]
    pieces = [gathered(order, a, b).portion() for a, b in itertools.pairwise(cuts)]
    for seed in range(3):
        whole = order.gatherer(order.plan(), 0, n, 2)
        for i in np.random.default_rng(seed).permutation(len(pieces)):
            whole.add(pieces[i])
        assert whole.n_complete() == n
        assert_identical(usual, whole.result(None))


@pytest.mark.parametrize("statistics", [False, True])
def test_an_ensemble_may_begin_at_any_trajectory(statistics):
    rng = np.random.default_rng(62)
    how: dict[str, Any] = {"rng": 63, "statistics": statistics, **EVERYTHING}
    for first, n in [(0, 40), (1, 300), (255, 2), (*rng.integers(1, 1000, 2).tolist(),)]:
        late = gl.ensemble(MIXED, 4, n, first=first, **how)
        for threads, chunk_size in ((1, 7), (3, 100)):
            other = gl.ensemble(
                MIXED, 4, n, first=first, threads=threads, chunk_size=chunk_size, **how
            )
            assert_identical(late, other)
        if isinstance(late, gl.EnsembleStatistics):
            kept = gl.ensemble(MIXED, 4, n, first=first, **{**how, "statistics": False})
            assert late.n_trajectories == n
            np.testing.assert_allclose(late.mean("S"), kept.mean("S"), rtol=1e-12)
            np.testing.assert_allclose(late.hitting_times, kept.hitting_times)
        else:
            assert late.indices.tolist() == list(range(first, first + n))
            whole = gl.ensemble(MIXED, 4, first + n, **how)
            for name in ("counts", "values", "hitting_times", "n_events"):
                mine, its = getattr(late, name), getattr(whole, name)[first:]
                assert mine.tobytes() == its.tobytes(), name
            assert late.replay(n - 1).n_events == late.n_events[n - 1]


def test_the_number_of_the_first_trajectory_must_be_whole_and_fit_the_streams():
    for first in (-1, 0.5, True, "0"):
        with pytest.raises(ValueError, match="first must be a whole number, 0 or more"):
            gl.ensemble(MIXED, 4, 10, first=first)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="first \\+ n must be at most"):
        gl.ensemble(MIXED, 4, 10, first=2**62)


def test_statistics_refuse_a_block_twice():
    order = order_for(MIXED, statistics=True)
    whole, piece = order.gatherer(order.plan(), 0, 600, 1), gathered(order, 0, 600).portion()
    whole.add(piece)
    with pytest.raises(ValueError, match="added before"):
        whole.add(piece)


# ---- Orders --------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["mixed", *MODELS])
def test_an_order_gives_the_same_plan_after_every_way_that_it_can_go(name):
    network = MIXED if name == "mixed" else MODELS[name].build()
    order = order_for(network)
    for way in (
        pickle.loads(pickle.dumps(order)),
        RunOrder.from_json(json.loads(json.dumps(order.to_json()))),
    ):
        assert way == order
        assert way.digest == order.digest
        plan = way.plan("table")
        usual = plan_run(network, 4, **AS_USUAL)
        for one, other in zip(flat(plan.request), flat(usual.request), strict=True):
            np.testing.assert_array_equal(one, other)
        for one, other in zip(flat(plan.arrays), flat(usual.arrays), strict=True):
            np.testing.assert_array_equal(one, other)
        runs = [
            gl.ensemble(each, 0.5, 5, rng=64, method="direct") for each in (plan.network, network)
        ]
        assert_identical(*runs)


def test_orders_differ_where_trajectories_do_and_say_in_what():
    order = order_for(MIXED)
    for name, other in {
        "network_text": order_for(MIXED.with_parameters(kf=0.002)),
        "entropy": order_for(MIXED, rng=62),
        "stop_when": order_for(MIXED, stop_when="P > 3"),
        "outputs": order_for(MIXED, outputs=["P", "S"]),
        "histogram_bins": order_for(MIXED, statistics=True),
    }.items():
        assert order.differences(other) == [name]
        assert order.digest != other.digest
    assert order.differences(order_for(MIXED)) == []
    leaping = order_for(MIXED, method="tau_leaping")
    assert order.differences(leaping) == ["method", "options"]


def test_orders_that_nobody_wrote_are_refused():
    good = order_for(MIXED).to_json()
    for change in (
        {"more": 1},
        {"method": "magic"},
        {"times": None},
        {"entropy": "x"},
        {"options": [3]},
        {"network_text": 7},
    ):
        with pytest.raises(gl.errors.DamagedFileError, match="description of a run"):
            RunOrder.from_json({**good, **change})
    with pytest.raises(gl.errors.DamagedFileError):
        RunOrder.from_json({name: good[name] for name in list(good)[1:]})
    old = RunOrder.from_json({**good, "stream_version": 1})
    with pytest.raises(gl.errors.StoreError, match="random streams of version 1"):
        old.plan()
