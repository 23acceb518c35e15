"""Scans in portions: on processes and executors, into stores, the arrays of threads to the bit."""

from __future__ import annotations

import json
import multiprocessing
import os
import pickle
import signal
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from identical import assert_identical
from test_store_faults import hash_of, output_of, start

import gillespy_lite as gl
from gillespy_lite import portion_runs
from gillespy_lite.cli import main
from gillespy_lite.errors import (
    DamagedFileError,
    EventLimitError,
    IncompleteWarning,
    Interrupted,
    MethodError,
    StoreError,
    StoreLockedError,
    StoreWarning,
)
from gillespy_lite.portion_tasks import run_portion
from gillespy_lite.scan_orders import ScanOrder, ScanSets, grid_points
from gillespy_lite.scans import portions
from gillespy_lite.stores.lock import Lock

# Other tests of this process may have loaded JAX, which warns of forks as it has threads; so does
# Python from 3.12 on. What is forked here runs kernels only.
pytestmark = [
    pytest.mark.filterwarnings("ignore:os.fork.. was called:RuntimeWarning"),
    pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning"),
]

ENZYME = gl.models.michaelis_menten()
# Laws, derived parameters, an observable of a parameter, and a count at the start that follows one.
LAWS = gl.Network.parse("""
species A = 5, B, C = 3*c
param k = 2, c = 4, n = 2, u = 1, h = 2*k, m = h^1.3
observe z = A*k + B
0 => A @ k*hill(B, u, n) + m
A -> B @ u
B -> 0 @ h
3 A -> B @ k/100
A + C -> A @ exp(-k)/5
""")
GRID: dict[str, Any] = {
    "grid": {"kf": np.geomspace(1e-3, 1e-2, 7), "S": [100, 301, 5]},
    "t": [0, 1, 2],
    "n": 20,
    "rng": 11,
}
TABLE: dict[str, Any] = {
    "samples": {"k": np.linspace(0.1, 3, 23), "A": np.arange(23) % 9, "c": np.arange(23) % 4},
    "t": [0, 0.5, 1],
    "n": 15,
    "rng": 12,
}
KINDS: dict[str, tuple[gl.Network, dict[str, Any]]] = {
    "statistics": (ENZYME, GRID),
    "paths": (LAWS, {**TABLE, "keep": "paths", "stop_when": "A >= 3*k + 6", "outputs": ["z", "A"]}),
    "histograms": (
        LAWS,
        {**TABLE, "histogram_bins": 4, "stop_when": "B > 3", "common_random_numbers": True},
    ),
}


@pytest.fixture(scope="module")
def usual() -> dict[str, gl.Scan]:
    """Return the scans of all kinds, on threads and without a store."""
    return {kind: gl.scan(network, **how) for kind, (network, how) in KINDS.items()}


@pytest.fixture(scope="module")
def pools() -> Iterator[dict[str, Any]]:
    """Return pools of two workers, started when they are used first."""
    made: dict[str, Any] = {"processes": "processes", "thread pool": ThreadPoolExecutor(2)}
    if "fork" in multiprocessing.get_all_start_methods():
        made["fork"] = ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("fork"))
    yield made
    for pool in made.values():
        if isinstance(pool, Executor):
            pool.shutdown()


class Here(Executor):
    """Does each task at once, in this thread, as if it had gone to a process and come back."""

    def __init__(self, change: Callable[[Any], Any] = lambda report: report) -> None:
        self.sent: list[bytes] = []
        self.tasks: list[Any] = []
        self.change = change

    def submit(self, work: Any, /, *arguments: Any, **named: Any) -> Future[Any]:
        future: Future[Any] = Future()
        try:
            if work is run_portion:
                self.sent.append(pickle.dumps(arguments[0]))
                arguments = (pickle.loads(self.sent[-1]),)
                self.tasks.append(arguments[0])
            future.set_result(self.change(work(*arguments, **named)))
        except BaseException as error:
            future.set_exception(error)
        return future


@pytest.fixture
def many_portions(monkeypatch):
    """Store after every kernel call, so that small scans have many chunks."""
    monkeypatch.setattr(portion_runs, "_LEAST_SECONDS", 0.0)
    monkeypatch.setattr(portion_runs, "_SHARE_OF_THE_TIME", 0.0)


def contents_of(folder: Path) -> list[bytes]:
    return sorted(path.read_bytes() for path in folder.rglob("*") if path.is_file())


# ---- Executors -----------------------------------------------------------------------------------


@pytest.mark.parametrize("pool", ["processes", "thread pool", "fork"])
def test_every_executor_gives_the_arrays_of_threads(usual, pools, pool):
    if pool not in pools:
        pytest.skip(f"this system has no {pool}")
    for kind in ["paths"] if pool == "processes" else KINDS:
        network, how = KINDS[kind]
        told: list[tuple[float, float]] = []
        other = gl.scan(
            network,
            executor=pools[pool],
            progress=lambda done, total, told=told: told.append((done, total)),
            **how,
        )
        assert_identical(usual[kind], other)
        total = len(other) * how["n"]
        assert told == sorted(told)
        assert told[-1] == (total, total)
        if pool != "processes":
            again = gl.scan(network, executor=pools[pool], chunk_size=4, threads=2, **how)
            assert_identical(usual[kind], again)


@pytest.mark.parametrize(
    "how",
    [
        *({"engine": engine} for engine in ("table", "lanes", "specialised")),
        {"method": "tau_leaping", "epsilon": 0.1},
        {"method": "next_reaction", "histogram_bins": 8},
    ],
    ids=str,
)
def test_workers_go_by_the_plan_of_the_scan(how):
    executor, how = Here(), {"method": "direct", **TABLE, "keep": "statistics", **how}
    if "histogram_bins" not in how:
        how["keep"] = "paths"
    plain = gl.scan(LAWS, **how)
    assert_identical(plain, gl.scan(LAWS, executor=executor, chunk_size=5, **how))
    assert {task.engine for task in executor.tasks} == {plain.provenance.engine}
    assert [(task.first, task.last) for task in executor.tasks] == [
        (0, 5), (5, 10), (10, 15), (15, 20), (20, 23),
    ]  # fmt: skip


def test_networks_without_lanes_and_large_sets_go_to_workers_too(monkeypatch):
    text = "species X=9, Y\nparam k=3\nX -> Y @ k*(1+sin(t)) delay 0.3\nY -> X @ 1\n"
    network = gl.Network.parse(text + "when t >= 0.5: X = X + floor(5*k)")
    how: dict[str, Any] = {"grid": {"k": [1, 2.5], "X": [2, 7]}, "t": [0, 1], "n": 20, "rng": 3}
    for keep in ("paths", "statistics"):
        plain = gl.scan(network, keep=keep, **how)
        assert_identical(plain, gl.scan(network, keep=keep, executor=Here(), **how))
    monkeypatch.setattr("gillespy_lite.scans.running._LARGEST_BUFFER", 100)
    plain = gl.scan(ENZYME, {"kf": [1e-3, 4e-3]}, [0, 2], 300, rng=2)
    large = gl.scan(ENZYME, {"kf": [1e-3, 4e-3]}, [0, 2], 300, rng=2, executor=Here(), threads=2)
    assert_identical(plain, large)


def test_a_worker_is_given_its_own_sets_alone():
    executor = Here()
    table = {"kf": np.linspace(1e-3, 2e-3, 20_000), "kcat": np.full(20_000, 0.1)}
    gl.scan(
        ENZYME, samples=table, t=[0, 0.01], n=1, rng=1, executor=executor, chunk_size=10_000
    )  # fmt: skip
    assert len(executor.sent) == 2
    assert max(map(len, executor.sent)) < 16 * 10_000 + 10_000


def test_sets_are_handed_out_by_their_cost():
    executor = Here()
    gl.scan(ENZYME, {"kf": np.linspace(1e-3, 2e-3, 3000)}, [0, 1], 10, rng=1, executor=executor)
    sizes = [task.last - task.first for task in executor.tasks]
    assert sizes[0] == 1
    assert all(one <= 8 * max(sizes[:i]) for i, one in enumerate(sizes) if i)
    assert max(sizes) > 100
    assert sum(sizes) == 3000
    assert len(sizes) < 40


def test_trouble_in_a_set_comes_back_with_its_name_and_what_is_finished():
    points = {"kf": [0.0, 0.0, 0.5, 0.0]}
    # One worker, so that the sets before have certainly come back.
    with (
        ThreadPoolExecutor(1) as pool,
        pytest.raises(EventLimitError, match=r"set 2 \(kf = 0.5\): trajectory") as caught,
    ):
        gl.scan(ENZYME, points, [0, 1], 20, rng=1, max_events=30, chunk_size=1, executor=pool)
    assert caught.value.result.stopped == "error"
    assert caught.value.result.n_trajectories[:2].tolist() == [20, 20]


def test_an_error_that_is_no_sets_names_the_portion():
    def forgetful(report: Any) -> Any:
        if executor.tasks[-1].first >= 10:
            raise MemoryError("too much")
        return report

    executor = Here(forgetful)
    with pytest.raises(MemoryError) as caught:
        gl.scan(LAWS, executor=executor, chunk_size=5, **TABLE)
    assert caught.value.__notes__ == ["on a worker (Here), in sets 10 to 14"]
    assert caught.value.result.n_trajectories.tolist() == 10 * [15] + 13 * [0]  # type: ignore[attr-defined]


@pytest.mark.parametrize("text", ["0 -> X @ 1e5*k", "0 -> X @ 1e5*k*(1 + 0*t)"])
def test_a_timeout_on_workers_keeps_what_is_finished(pools, text):
    network = gl.Network.parse(f"species X\nparam k = 1\n{text}\nX -> 0 @ 1")
    how: dict[str, Any] = {"t": [0, 50], "n": 100, "rng": 1, "keep": "paths"}
    grid = {"k": np.linspace(1, 2, 40)}
    with pytest.warns(IncompleteWarning, match="of 4000 trajectories are finished"):
        part = gl.scan(network, grid, timeout=0.4, executor=pools["thread pool"], **how)
    assert part.stopped == "timeout"
    assert part.n_trajectories.sum() < 4000
    assert (part.complete.sum(axis=1) == part.n_trajectories).all()


def test_ctrl_c_stops_workers_keeps_what_is_finished_and_the_store_goes_on(pools, tmp_path, usual):
    network, how = KINDS["paths"]
    stops: list[float] = []

    def press(done: float, total: float) -> None:
        if done >= 100:
            stops.append(done)
            raise KeyboardInterrupt

    how = {**how, "executor": pools["thread pool"], "chunk_size": 2, "store": tmp_path / "a"}
    with pytest.raises(Interrupted, match=r"of 23 sets; the same call goes on") as caught:
        gl.scan(network, progress=press, **how)
    assert caught.value.result.n_trajectories.sum() >= 100
    store = gl.open_store(tmp_path / "a")
    assert 0 < store.n < 23
    assert_identical(usual["paths"], gl.scan(network, **how))
    assert store.ranges == [(0, 23)]


# ---- Stores --------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.usefixtures("many_portions")
def test_a_scan_with_a_store_is_the_scan_without_one(usual, kind, threads, tmp_path):
    network, how = KINDS[kind]
    for _ in range(2):  # computed, then read
        stored = gl.scan(network, threads=threads, chunk_size=3, store=tmp_path / "a", **how)
        assert_identical(usual[kind], stored)
    store = gl.open_store(tmp_path / "a")
    assert isinstance(store, gl.ScanStore)
    assert store.ranges == [(0, store.n_sets)]
    assert store.missing() == []
    assert store.verify() == []
    assert threads > 1 or len(store.chunks) > 3
    loaded = store.load()
    assert_identical(usual[kind], loaded)
    assert (loaded.shape, loaded.is_grid, loaded.names) == (
        usual[kind].shape, usual[kind].is_grid, usual[kind].names,
    )  # fmt: skip
    assert loaded.provenance.options == usual[kind].provenance.options
    assert not list(tmp_path.rglob("*.part"))
    # Without rng, that of the store.
    again = gl.scan(network, store=tmp_path / "a", **{**how, "rng": None})
    assert_identical(usual[kind], again)


@pytest.mark.parametrize("kind", KINDS)
def test_holes_of_a_store_are_filled_by_anyone(usual, kind, tmp_path):
    network, how = KINDS[kind]
    n_sets, executor = len(usual[kind]), Here()
    how = {**how, "store": tmp_path / "a"}
    middle = gl.scan(network, sets=(5, 9), **how)
    gl.scan(network, sets=(12, 14), executor=executor, chunk_size=1, **how)
    store = gl.open_store(tmp_path / "a")
    assert isinstance(store, gl.ScanStore)
    assert store.missing() == [(0, 5), (9, 12), (14, n_sets)]
    assert_identical(middle, store.load(4, first=5))
    assert len(store.load()) == store.n == 6
    with pytest.raises(StoreError, match="9 to 11 are missing"):
        store.load(9, first=5)
    with pytest.raises(ValueError, match=f"the scan has {n_sets} sets"):
        store.load(n_sets, first=1)
    executor.tasks.clear()
    assert_identical(usual[kind], gl.scan(network, executor=executor, **how))
    done = sorted((task.first, task.last) for task in executor.tasks)
    assert sum(last - first for first, last in done) == n_sets - 6
    assert_identical(usual[kind], gl.scan(network, **how))
    pieces = list(store)
    assert sum(len(piece) for piece in pieces) == n_sets
    assert np.array_equal(np.concatenate([one.points for one in pieces]), usual[kind].points)
    with pytest.raises(StoreLockedError, match=f"process {os.getpid()}"):
        locked(network, tmp_path / "a", **{**how, "n": how["n"]})


def locked(network: gl.Network, folder: Path, **how: Any) -> None:
    """Run a scan into a store that somebody holds, of which a chunk is gone."""
    next((folder / "chunks").iterdir()).unlink()
    lock = Lock(folder)
    try:
        gl.scan(network, **how)
    finally:
        lock.release()


def test_some_sets_of_a_scan_are_a_table_with_its_numbers(usual):
    network, how = KINDS["statistics"]
    some, whole = gl.scan(network, sets=(4, 11), **how), usual["statistics"]
    assert len(some) == 7
    assert some.shape == (7,)
    assert not some.is_grid
    assert np.array_equal(some.points, whole.points[4:11])
    for j in range(7):
        assert some.entropy(j) == whole.entropy(4 + j)
        assert_identical(some[j], whole[4 + j])
    with pytest.raises(EventLimitError, match=r"in set 6 \(kf = 0.00215443, S = 100\)"):
        gl.scan(network, sets=(6, 7), max_events=3, **how)
    for wrong, error in (
        ((3, 3), ValueError),
        ((0, 22), ValueError),
        (3, TypeError),
        ((-1, 3), ValueError),
    ):
        with pytest.raises(error, match="sets"):
            gl.scan(network, sets=wrong, **how)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"rng": 72}, "rng is 11 there and 72 here"),
        ({"t": [0, 1, 3]}, r"t\[2\] is 2.0 there and 3.0 here"),
        ({"n": 21}, "n is 20 there and 21 here"),
        ({"network": ENZYME.with_parameters(kcat=0.2)}, "the network has .*kcat = 0.1.* there and"),
        (
            {"grid": {**GRID["grid"], "S": [100, 300, 5]}},
            "S of set 1 is 301.0 there and 300.0 here",
        ),
        (
            {"grid": {"kf": [1e-3, 0.2], "S": [1]}},
            "the scan is a grid of 7 x 3 sets there and a grid of 2 x 1 sets here",
        ),
        (
            {"grid": None, "samples": {"kf": np.ones(21), "S": np.ones(21)}},
            "the scan is a grid of 7 x 3 sets there and a table of 21 sets here",
        ),
        ({"grid": {"kf": [1, 2], "E": [3]}}, "what is varied is kf, S there and kf, E here"),
        ({"common_random_numbers": True}, "common_random_numbers is False there and True here"),
        ({"keep": "paths"}, "statistics with histogram_bins=0 are kept there and traj.* here"),
        ({"histogram_bins": 8}, "histogram_bins=0 are kept there and .*=8 here"),
        ({"method": "next_reaction"}, "method is 'direct' there and 'next_reaction' here"),
        ({"stop_when": "P > 4"}, "stop_when is None there and 'P > 4' here"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_another_scan_is_refused_by_what_differs(change, message, tmp_path):
    given = {"network": ENZYME, **GRID, "store": tmp_path / "a"}
    gl.scan(**given, sets=(0, 2))
    before = contents_of(tmp_path)
    with pytest.raises(StoreError, match=f"holds sets of another scan: .*{message}"):
        gl.scan(**{**given, **change})
    assert before == contents_of(tmp_path)


def test_scans_and_ensembles_do_not_share_a_store(tmp_path):
    gl.scan(ENZYME, store=tmp_path / "a", **GRID)
    with pytest.raises(StoreError, match=r"holds sets of .*are sets there and trajectories here"):
        gl.ensemble(ENZYME, [0, 1], 10, rng=1, store=tmp_path / "a")
    gl.ensemble(ENZYME, [0, 1], 10, rng=1, store=tmp_path / "b")
    with pytest.raises(StoreError, match=r"holds trajectories of .*are traject.* there and sets"):
        gl.scan(ENZYME, store=tmp_path / "b", **GRID)
    with pytest.raises(StoreError, match="Only stores of the same run can be merged"):
        gl.merge_stores([tmp_path / "a", tmp_path / "b"], tmp_path / "c")
    # Packages that know no scans refuse their stores by the version, and read all others.
    versions = [json.loads((tmp_path / name / "manifest.json").read_text()) for name in "ab"]
    assert [one["format_version"] for one in versions] == [2, 1]


def test_orders_of_scans_come_back_from_json_and_wrong_ones_are_refused():
    axes = [np.array([0.1, 1 / 3, -0.0]), np.array([1e300, 5e-324])]
    for is_grid in (True, False):
        points = grid_points(axes)
        sets = ScanSets(points, (3, 2) if is_grid else (6,), is_grid)
        columns = [one.copy() for one in sets.columns()]
        assert len(columns[0]) == (3 if is_grid else 6)
        run = gl.scan(ENZYME, **{**GRID, "sets": (0, 1)})
        assert run.n_sets == 1
        order = order_of(sets)
        again = ScanOrder.from_json(json.loads(json.dumps(order.to_json())))
        assert again == order
        assert hash(again) == hash(order)
        assert again.digest == order.digest
        assert again.with_sets(columns).sets.points.tobytes() == points.tobytes()  # type: ignore[union-attr]
        columns[0][0] = 7.0
        with pytest.raises(DamagedFileError, match="not those that it was made for"):
            again.with_sets(columns)
        with pytest.raises(DamagedFileError):
            again.with_sets([np.ones(1), np.ones((2, 2))])
        for change in ({"n": "many"}, {"more": 1}, {"run": {}}):
            with pytest.raises(DamagedFileError):
                ScanOrder.from_json({**order.to_json(), **change})


def order_of(sets: ScanSets) -> ScanOrder:
    plan, job = portions_of(ENZYME)
    assert job.order.run.times == tuple(plan.plan.times.tolist())
    return ScanOrder(
        run=job.order.run,
        names=("a", "b"),
        shape=sets.shape,
        is_grid=sets.is_grid,
        sets_digest=sets.digest,
        n=3,
        common_random_numbers=False,
        sets=sets,
    )


def portions_of(network: gl.Network) -> tuple[Any, portions.ScanJob]:
    from gillespy_lite.scans import scanning

    return scanning._prepared(
        network,
        {"kf": [1e-3]},
        [0, 1],
        3,
        samples=None,
        names=None,
        common_random_numbers=False,
        keep="statistics",
        histogram_bins=0,
        sets=None,
        method="direct",
        engine="auto",
        rng=1,
        seed=None,
        outputs=None,
        stop_when=None,
        max_events=None,
        method_options={},
    )


# ---- Several machines, and the command -----------------------------------------------------------


def test_parts_of_a_scan_are_merged_and_overlaps_refused(usual, tmp_path, capsys):
    network, how = KINDS["histograms"]
    for name, sets in {"a": (0, 9), "b": (9, 20), "c": (18, 23)}.items():
        gl.scan(network, sets=sets, store=tmp_path / name, **how)
    folders = {name: str(tmp_path / name) for name in "abcd"}
    with pytest.raises(
        StoreError, match=r"same sets, 18 to 19: .* parts of a scan different sets="
    ):
        gl.merge_stores([folders[name] for name in "abc"], tmp_path / "x")
    (tmp_path / "c" / "chunks").rename(tmp_path / "lost")
    gl.scan(network, sets=(20, 23), store=tmp_path / "c", **how)
    assert main(["store", "merge", *(folders[name] for name in "dabc")]) == 0
    assert "statistics of sets, 23 in 3 files" in capsys.readouterr().out
    store = gl.open_store(tmp_path / "d")
    assert_identical(usual["histograms"], store.load())
    other = {**how, "n": how["n"] + 1, "sets": (0, 9)}
    gl.scan(network, store=tmp_path / "e", **other)
    with pytest.raises(StoreError, match=r"n is 15 there and 16 in .*the same run can be merged"):
        gl.merge_stores([tmp_path / "b", tmp_path / "e"], tmp_path / "y")
    gl.scan(network, store=tmp_path / "f", **{**how, "rng": 5, "sets": (0, 3)})
    with pytest.raises(StoreError, match="parts of a scan with the same rng= and another sets="):
        gl.merge_stores([tmp_path / "b", tmp_path / "f"], tmp_path / "y")


def test_the_command_looks_at_stores_of_scans(tmp_path, capsys):
    gl.scan(ENZYME, store=tmp_path / "a", **GRID)
    assert main(["store", "info", str(tmp_path / "a")]) == 0
    out = capsys.readouterr().out
    assert "statistics of sets, 21 in 1 files" in out
    assert "a grid of 7 x 3 sets of kf, S, 20 trajectories each" in out
    assert "kcat" in out
    assert main(["store", "verify", str(tmp_path / "a")]) == 0
    assert "1 files with 21 sets: all as they were written" in capsys.readouterr().out
    (chunk,) = (tmp_path / "a" / "chunks").iterdir()
    chunk.write_bytes(chunk.read_bytes()[:-5])
    assert main(["store", "verify", str(tmp_path / "a")]) == 1
    assert "computes their sets again" in capsys.readouterr().err


def test_stores_of_scans_are_exported_with_their_labels(usual, tmp_path):
    gl.scan(ENZYME, store=tmp_path / "a", **GRID)
    store, scan = gl.open_store(tmp_path / "a"), usual["statistics"]
    store.export(tmp_path / "a.csv")
    lines = (tmp_path / "a.csv").read_text().splitlines()
    assert lines[0] == "set,kf,S,time,species,mean,std,minimum,maximum"
    assert len(lines) == 1 + 21 * 3 * 4
    cells = lines[1 + (4 * 3 + 2) * 4 + 3].split(",")  # set 4, the last time, P
    assert cells[0] == "4"
    assert cells[4] == "P"
    assert float(cells[1]) == scan.points[4, 0]
    assert float(cells[5]) == scan[4].mean("P")[2]
    with pytest.raises(ValueError, match=r"must end in \.zarr"):
        store.export(tmp_path / "a.xlsx")
    pytest.importorskip("pandas")
    xarray = pytest.importorskip("xarray")
    assert len(scan.to_pandas()) == len(lines) - 1
    pytest.importorskip("netCDF4")
    store.export(tmp_path / "a.nc")
    with xarray.open_dataset(tmp_path / "a.nc") as found:
        assert found["mean"].dims == ("kf", "S", "time", "species")
        assert np.array_equal(found["mean"].values, scan.mean())


# ---- Sensitivity ---------------------------------------------------------------------------------


def test_sensitivities_go_through_stores_and_executors(tmp_path):
    how: dict[str, Any] = {
        "ranges": {"kf": (1e-3, 1e-2, "log"), "S": (10, 300)},
        "output": "mean(P)",
        "t": [0, 2],
        "n": 8,
        "n_trajectories": 4,
        "n_resamples": 100,
    }
    plain = gl.sobol(ENZYME, **how, rng=4)
    with pytest.raises(Interrupted):
        gl.sobol(
            ENZYME, **how, rng=4, store=tmp_path / "a", threads=1, chunk_size=3,
            progress=lambda done, total: interrupt_at(100, done),
        )  # fmt: skip
    stored = gl.open_store(tmp_path / "a").n
    assert 0 < stored < 64
    other = gl.sobol(ENZYME, **how, store=tmp_path / "a", executor=Here())
    assert np.array_equal(plain.values, other.values)
    assert np.array_equal(plain.total_interval, other.total_interval)
    with pytest.raises(MethodError, match="sobol needs all sets"):
        gl.sobol(ENZYME, **how, sets=(0, 3))


def interrupt_at(n: float, done: float) -> None:
    if done >= n:
        raise KeyboardInterrupt


# ---- Damage --------------------------------------------------------------------------------------


@pytest.mark.usefixtures("many_portions")
def test_damaged_chunks_are_computed_again_and_a_damaged_manifest_is_written_again(usual, tmp_path):
    network, how = KINDS["statistics"]
    how = {**how, "store": tmp_path / "a", "threads": 1, "chunk_size": 3}
    gl.scan(network, **how)
    chunks = sorted((tmp_path / "a" / "chunks").iterdir())
    assert len(chunks) > 3
    contents = bytearray(chunks[1].read_bytes())
    contents[np.random.default_rng(5).integers(len(contents))] ^= 16
    chunks[1].write_bytes(contents)
    chunks[2].write_bytes(chunks[2].read_bytes()[:-7])
    chunks[3].rename(chunks[3].with_name("0000000100-0000000103.npz"))
    store = gl.open_store(tmp_path / "a")
    assert len(store.verify()) == 3
    with pytest.raises(
        DamagedFileError, match=r"scan\(\.\.\., store=.*computes sets \d+ to \d+ ag"
    ):
        store.load()
    with pytest.warns(StoreWarning, match=r"is removed, and sets \d+ to \d+ are computed again"):
        assert_identical(usual["statistics"], gl.scan(network, **how))
    chunks[3].with_name("0000000100-0000000103.npz").unlink()
    assert store.verify() == []
    seen: set[str] = set()
    for name in ("manifest.json", "manifest.json", "sets.npz", "sets.npz"):
        path = tmp_path / "a" / name
        good = path.read_bytes()
        path.write_bytes(good.replace(b"20", b"21", 1) if b"20" in good else good[:-80])
        if name in seen:
            path.unlink()
        seen.add(name)
        with pytest.raises(DamagedFileError, match=r"values of the sets\. Run into the store ag"):
            gl.open_store(tmp_path / "a")
        with pytest.warns(StoreWarning, match="it is written again"):
            again = gl.scan(network, **how)
        assert_identical(usual["statistics"], again)
        assert gl.open_store(tmp_path / "a").verify() == []


KILLS = """
folder, keep, n_kills, seed = sys.argv[1], sys.argv[2], *map(int, sys.argv[3:])
portion_runs._LEAST_SECONDS = 0.01
how = {"keep": keep, "rng": 13, "engine": "lanes", "chunk_size": 20}
grid = {"k": np.linspace(3000, 4000, 1000)}
# Compiled before, so that children can be forked from a process without threads.
gl.scan(network, {"k": [3000.0]}, t, 20, threads=1, **how)
# Some of them come in the middle, however fast the machine is.
began = time.monotonic()
gl.scan(network, {"k": grid["k"][::10]}, t, 20, threads=1, **how)
longest = 3.0 * (time.monotonic() - began)
left = []
for i, wait in enumerate(np.random.default_rng(seed).uniform(0.05, 0.05 + longest, n_kills)):
    child = os.fork()
    if child == 0:
        try:
            gl.scan(network, grid, t, 20, threads=1 + i % 2, store=folder, **how)
        finally:
            os._exit(0)
    time.sleep(wait)
    was_running = os.waitpid(child, os.WNOHANG) == (0, 0)
    if was_running:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    try:
        store = gl.open_store(folder)
        left.append([was_running, store.n, store.verify()])
    except gl.errors.StoreError:
        left.append([was_running, 0, []])
print(json.dumps(left))
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs processes that are forked")
@pytest.mark.parametrize(("keep", "seed"), [("statistics", 91), ("paths", 92)])
def test_kills_at_random_moments_change_no_bit_of_a_scan(keep, seed, tmp_path):
    from test_store_faults import SLOW, T

    n_sets, n_kills = 1000, 8
    grid = {"k": np.linspace(3000, 4000, n_sets)}
    how: dict[str, Any] = {"keep": keep, "rng": 13, "engine": "lanes"}
    plain = gl.scan(SLOW, grid, T, 20, **how)
    left = output_of(start(KILLS, tmp_path / "a", keep, n_kills, seed))
    assert [wrong for *_, wrong in left] == [[]] * n_kills
    stored = [there for _, there, _ in left]
    assert stored == sorted(stored)
    # Of what this test sees: kills in the middle of a scan that had stored something, and not all.
    assert sum(running and 0 < there < n_sets for running, there, _ in left) >= 3
    resumed = gl.scan(SLOW, grid, T, 20, **how, store=tmp_path / "a")
    assert hash_of(resumed) == hash_of(plain)
    assert hash_of(gl.open_store(tmp_path / "a").load()) == hash_of(plain)
    assert not list(tmp_path.rglob("*.part"))


@pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")
def test_sigterm_stops_a_scan_into_a_store_and_keeps_what_is_finished(tmp_path):
    told: list[float] = []

    def tell(done: float, total: float) -> None:
        if not told:
            os.kill(os.getpid(), signal.SIGTERM)
        told.append(done)

    with pytest.raises(Interrupted, match=r"told to end by SIGTERM; the .* has .* of 21 sets"):
        gl.scan(
            ENZYME, **GRID, store=tmp_path / "a", threads=1, chunk_size=2, progress=tell
        )  # fmt: skip
    assert gl.open_store(tmp_path / "a").n >= 2
