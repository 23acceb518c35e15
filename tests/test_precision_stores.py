"""Runs until they are precise enough in stores and on executors: the same numbers, whatever ends
them."""

from __future__ import annotations

import multiprocessing
import signal
import warnings
from collections.abc import Iterator
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from identical import assert_identical

import gillespy_lite as gl
from gillespy_lite.errors import (
    IncompleteWarning,
    Interrupted,
    StoreError,
    StoreLockedError,
    StoreWarning,
)
from gillespy_lite.precision.cells import cells_of, columns_of
from gillespy_lite.precision.schedule import step_of
from gillespy_lite.precision.supply import Halt, KeptSupply, ReducedSupply
from gillespy_lite.precision.targets import parse_targets
from gillespy_lite.probing import Probe
from gillespy_lite.probing_jobs import ValueOrder
from gillespy_lite.run_orders import RunOrder
from gillespy_lite.run_plan import plan_run
from gillespy_lite.stores.lock import Lock
from gillespy_lite.workplaces import Workplace

# Other tests of this process may have loaded JAX, which warns of forks as it has threads; so does
# Python from 3.12 on. What is forked here runs kernels only.
pytestmark = [
    pytest.mark.filterwarnings("ignore:os.fork.. was called:RuntimeWarning"),
    pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning"),
]

NETWORK = gl.Network.parse("""
species P = 0, Q = 5
param k = 10, g = 0.5
observe twice = 2*P
0 -> P @ k
P -> 0 @ g
""")
TIMES = [0.0, 5.0, 10.0]
GOAL = "mean(P) +/- 2% and prob(P > 27) +/- 15% and std(twice/3 at 5) +/- 4%"
SHARPER = GOAL.replace("15%", "10%")
KINDS: list[dict[str, Any]] = [{}, {"statistics": True, "stop_when": "P >= 30"}]


def run(until: str = GOAL, **how: Any) -> Any:
    return gl.ensemble(NETWORK, TIMES, until=until, **{"rng": 1, "threads": 1, **how})


def assert_same(one: Any, other: Any) -> None:
    assert one.precision == other.precision
    assert one.n_requested == other.n_requested
    assert_identical(one, other)


def cut_short(store: Path, **how: Any) -> Any:
    """Run for a moment."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", IncompleteWarning)
        return run(store=store, max_time=0.02, **how)


@pytest.fixture(scope="module", params=[0, 1], ids=["paths", "statistics"])
def kind(request: Any) -> tuple[dict[str, Any], Any, Any]:
    """Return options, and what they give without store and executor: for a goal and a sharper."""
    how = KINDS[request.param]
    return how, run(**how), run(SHARPER, **how)


@pytest.fixture(scope="module")
def pools() -> Iterator[dict[str, Any]]:
    """Return pools of two and three workers."""
    made: dict[str, Any] = {"threads": ThreadPoolExecutor(3)}
    if "fork" in multiprocessing.get_all_start_methods():
        context = multiprocessing.get_context("fork")
        made["fork"] = ProcessPoolExecutor(2, mp_context=context)
    yield made
    for pool in made.values():
        if isinstance(pool, Executor):
            pool.shutdown()


# ---- Executors -----------------------------------------------------------------------------------


def test_executors_end_at_the_same_number_with_the_same_bits(kind, pools):
    how, usual, _ = kind
    for pool in pools.values():
        assert_same(usual, run(executor=pool, **how))
    assert_same(usual, run(executor=pools["threads"], chunk_size=100, **how))


def test_processes_of_their_own_serve_all_looks():
    how = {"statistics": True, "outputs": ["P"]}
    goal = "mean(P) +/- 3%"
    assert_same(run(goal, **how), run(goal, executor="processes", threads=None, **how))


def test_progress_across_workers_shows_the_intervals(pools, capsys):
    told: list[tuple[float, float]] = []
    run(executor=pools["threads"], statistics=True, progress=lambda *one: told.append(one))
    assert [done for done, _ in told] == sorted(done for done, _ in told)
    run(executor=pools["threads"], progress=True)
    line = capsys.readouterr().err
    assert "mean(P) = " in line
    assert "s left" in line


def plan_for(rng: int = 1, max_events: int | None = None) -> Any:
    return plan_run(
        NETWORK,
        TIMES,
        method="direct",
        rng=rng,
        seed=None,
        outputs=None,
        stop_when=None,
        max_events=max_events,
        every_event=False,
        method_options={},
    )


@pytest.mark.parametrize("statistics", [False, True])
def test_trouble_ahead_of_the_end_is_no_trouble(statistics):
    # Two threads compute some looks ahead; trajectory `bad` is the first to need too many events.
    events = gl.ensemble(NETWORK, TIMES, 2000, rng=3, method="direct").n_events
    most = int(events[:512].max())
    bad = int(np.argmax(events > most))
    assert 512 <= bad < 2000
    plan, columns = plan_for(3, most), (("P", 2),)

    def supply_of(threads: int) -> Any:
        place = Workplace(lambda: None, threads, None)
        if statistics:
            return ReducedSupply(plan, columns, place, int, None, 256)
        kept = KeptSupply(plan, columns, place, int, None)
        kept._unit = 256  # so that paths are computed ahead, too
        return kept

    supply = supply_of(2)
    edges, end = [512, 768, 1024, 2048, 3072, 4096], 512
    whole = gl.ensemble(NETWORK, TIMES, end, rng=3, method="direct", statistics=statistics)
    values = supply.values(end, edges, np.inf, lambda done: None)
    assert values.shape == (end, 1)
    result = supply.result(None, False)
    assert_identical(result, whole)
    assert supply._end(0, 512, edges) == 2048

    def all_looks() -> None:
        for edge in edges:
            supply.values(edge, [one for one in edges if one >= edge], np.inf, lambda done: None)

    for threads in (1, 2):
        supply = supply_of(threads)
        with pytest.raises(Halt) as caught:
            all_looks()
        assert f"trajectory {bad} " in str(caught.value.failure)
    cut = supply.result("error", True)
    assert 0 < len(cut) < 4096


# ---- Stores --------------------------------------------------------------------------------------


@pytest.mark.parametrize("threads", [1, 2])
def test_a_run_that_ran_out_of_time_goes_on_to_the_same_end(kind, threads, tmp_path):
    how, usual, sharper = kind
    left = [cut_short(tmp_path / "a", threads=threads, **how) for _ in range(2)]
    assert any(one.stopped == "timeout" for one in left)
    assert_same(usual, run(store=tmp_path / "a", rng=None, threads=threads, **how))
    store = gl.open_store(tmp_path / "a")
    assert store.verify() == []
    assert_identical(store.load(len(usual)), gl.ensemble(NETWORK, TIMES, len(usual), rng=1, **how))
    # A sharper target goes on from there, and the first one finds its end again.
    assert_same(sharper, run(SHARPER, store=tmp_path / "a", threads=threads, **how))
    assert store.n >= len(sharper) > len(usual)
    assert_same(usual, run(store=tmp_path / "a", **how))


def test_an_executor_goes_on_with_the_store_of_another(kind, pools, tmp_path):
    how, usual, sharper = kind
    cut_short(tmp_path / "a", executor=pools["threads"], **how)
    assert_same(usual, run(store=tmp_path / "a", executor=pools["threads"], **how))
    for pool in reversed(pools.values()):
        assert_same(sharper, run(SHARPER, store=tmp_path / "a", executor=pool, **how))


def test_what_is_there_is_not_computed_again_and_needs_no_lock(kind, tmp_path, monkeypatch):
    how, usual, sharper = kind
    run(SHARPER, store=tmp_path / "a", **how)

    def never(*arguments: Any, **named: Any) -> Any:
        raise AssertionError("trajectories were computed")

    lock = Lock(tmp_path / "a")
    try:
        monkeypatch.setattr(Workplace, "compute", never)
        assert_same(sharper, run(SHARPER, store=tmp_path / "a", **how))
        if not how.get("statistics"):
            # Statistics are in blocks that may end elsewhere; paths are taken one by one.
            assert_same(usual, run(store=tmp_path / "a", **how))
        with pytest.raises(StoreLockedError):
            run(GOAL.replace("15%", "7%"), store=tmp_path / "a", **how)
    finally:
        lock.release()


def test_a_store_of_a_run_of_known_size_is_used_and_can_be_extended(kind, tmp_path):
    how, usual, _ = kind
    gl.ensemble(NETWORK, TIMES, 3000, rng=1, store=tmp_path / "a", **how)
    if how.get("statistics"):
        with pytest.warns(StoreWarning, match=r"not the values of P, P > 27, .* run again"):
            assert_same(usual, run(store=tmp_path / "a", **how))
    else:
        assert_same(usual, run(store=tmp_path / "a", **how))
    store = gl.open_store(tmp_path / "a")
    n = store.n
    assert n == max(3000, len(usual))
    store.extend(n + 700)
    assert store.n == n + 700
    assert_same(usual, run(store=tmp_path / "a", **how))
    assert store.verify() == []


def test_other_targets_take_the_values_that_are_there(tmp_path, monkeypatch):
    how = {"statistics": True}
    run(store=tmp_path / "a", **how)
    fewer = "std(twice/3 at 5) +/- 4% and mean(P) +/- 2%"
    usual, started = run(fewer, **how), []
    compute = Workplace.compute
    monkeypatch.setattr(
        Workplace,
        "compute",
        lambda self, *one, **named: (started.append(1), compute(self, *one, **named))[1],
    )
    assert_same(usual, run(fewer, store=tmp_path / "a", **how))
    # At most the block in which it ends has to be run again.
    assert len(started) <= 1


def test_another_run_is_refused_by_name(tmp_path):
    run(store=tmp_path / "a")
    with pytest.raises(StoreError, match="trajectories of another run: rng is 1 there and 2 here"):
        run(store=tmp_path / "a", rng=2)
    with pytest.raises(StoreError, match="trajectories are kept there and statistics"):
        run(store=tmp_path / "a", statistics=True)
    (values,) = (tmp_path / "a" / "values").iterdir()
    with pytest.raises(StoreError, match=r"what a run with until= looked at; open the store in"):
        gl.open_store(values)


def test_damaged_values_are_noticed_and_made_again(tmp_path):
    how = {"statistics": True, "store": tmp_path / "a"}
    usual = run(**how)
    chunks = sorted((tmp_path / "a" / "values").glob("*/chunks/*.npz"))
    assert len(chunks) > 3
    for path in chunks[:2] + chunks[-1:]:
        whole = bytearray(path.read_bytes())
        whole[len(whole) // 2] ^= 16
        path.write_bytes(whole)
    assert len(gl.open_store(tmp_path / "a").verify()) == 3
    with pytest.warns(StoreWarning, match="values of trajectories .* are computed again"):
        assert_same(usual, run(**how))
    assert gl.open_store(tmp_path / "a").verify() == []


def test_values_are_merged_with_their_stores(tmp_path, monkeypatch):
    how: dict[str, Any] = {"statistics": True, "rng": 1}
    usual = run(store=tmp_path / "a", **how)
    n = gl.open_store(tmp_path / "a").n
    gl.ensemble(NETWORK, TIMES, 500, first=n, store=tmp_path / "b", **how)
    both = gl.merge_stores([tmp_path / "a", tmp_path / "b"], tmp_path / "c")
    assert both.size() >= gl.open_store(tmp_path / "a").size()
    monkeypatch.setattr(Workplace, "compute", None)
    assert_same(usual, run(store=tmp_path / "c", **how))


def test_ctrl_c_says_what_the_store_has(tmp_path):
    def pressed(done: float, total: float) -> None:
        if done > 3000:
            signal.raise_signal(signal.SIGINT)

    for how in KINDS:
        store = tmp_path / str(len(how))
        with pytest.raises(Interrupted, match="the same call goes on from there") as caught:
            run(SHARPER, store=store, progress=pressed, **how)
        kept = caught.value.result
        assert kept.stopped == "interrupt"
        # A portion of statistics that was cut short is in the result alone.
        assert gl.open_store(store).n > 0
        assert how or len(kept) == gl.open_store(store).n
        assert_same(run(SHARPER, **how), run(SHARPER, store=store, **how))


def test_a_largest_number_ends_a_stored_run_and_a_larger_one_goes_on(kind, tmp_path):
    how, usual, _ = kind
    with pytest.warns(IncompleteWarning, match="max_n = 1000 trajectories are done"):
        few = run(store=tmp_path / "a", max_n=1000, **how)
    assert len(few) == 1000
    assert_identical(few, gl.ensemble(NETWORK, TIMES, 1000, rng=1, **how))
    assert_same(usual, run(store=tmp_path / "a", **how))


# ---- What lies beneath ---------------------------------------------------------------------------


def test_looks_are_where_blocks_of_statistics_end():
    assert [step_of(block) for block in (256, 255, 173, 100, 1)] == [256, 510, 346, 300, 256]
    # 700 times of five species: blocks of 149.
    network = gl.models.lotka_volterra()
    times = np.linspace(0.0, 0.01, 3000).tolist()
    goal = f"mean({network.species_names[0]}) +/- 1%"
    few = gl.ensemble(network, times, until=goal, rng=1, statistics=True, max_n=2000)
    plain = gl.ensemble(network, times, few.precision.n, rng=1, statistics=True)
    assert few.precision.reached
    assert_identical(few, plain)


def test_columns_do_not_depend_on_the_order_of_targets():
    goals = GOAL.split(" and ")
    times = np.array(TIMES)
    one, other = (
        columns_of(cells_of(parse_targets(" and ".join(some), NETWORK), times))
        for some in (goals, [*goals[::-1], "var(P) +/- 1%"])
    )
    assert one == other == (("P", 2), ("P > 27", 2), ("twice/3", 1))


def test_values_come_back_from_a_file_as_they_were():
    plan = plan_for()
    order = ValueOrder(RunOrder.of(plan, None), (("P", 2), ("P/3", 1)))
    assert ValueOrder.from_json(order.to_json()) == order
    assert Probe(plan, order.columns).n_columns == 2
    for values in (
        [[1.0, 2.0], [0.0, -7.0]],
        [[1.0, 0.5], [3.0, 1e300]],
        [[-0.0, 1.0], [2.0, 3.0]],
    ):
        given = np.array(values)
        arrays = order.without_what_follows({"indices": np.arange(2), "probed": given})
        assert (arrays["probed"].dtype == np.int64) == (values[1][1] == -7.0)
        back = order.restored(arrays, 5, 7)
        assert back["probed"].tobytes() == given.tobytes()
        assert back["indices"].tolist() == [5, 6]
    for damage in ({"columns": [["P", 2]]}, {"values_of": {}, "columns": [[]]}):
        with pytest.raises(gl.errors.DamagedFileError):
            ValueOrder.from_json(damage)
