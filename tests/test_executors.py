"""Ensembles on processes and executors: the arrays of threads, to the last bit."""

from __future__ import annotations

import dataclasses
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from identical import assert_identical

import gillespy_lite as gl
from gillespy_lite.errors import (
    BadPropensityError,
    EventLimitError,
    IncompleteWarning,
    Interrupted,
    WorkerError,
)
from gillespy_lite.executors import PortionSizes
from gillespy_lite.interruption import interrupts_held
from gillespy_lite.portion_tasks import PortionTask, run_portion
from gillespy_lite.worker_pools import worker_pool

# Other tests of this process may have loaded JAX, which warns of forks as it has threads; so does
# Python from 3.12 on. What is forked here runs kernels only.
pytestmark = [
    pytest.mark.filterwarnings("ignore:os.fork.. was called:RuntimeWarning"),
    pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning"),
]

STOCHASTIC = [name for name, method in gl.METHODS.items() if method.is_stochastic]
NETWORK = gl.Network.parse("""
species S = 301, E = 120, ES, P
observe share = P/(1 + S + ES + P)
S + E <-> ES @ 0.00166, 1e-4
ES -> E + P @ 0.1
0 -> S @ 20
""")
# A path takes years.
ENDLESS = gl.Network.parse("species X\n0 -> X @ 1e6\nX -> 0 @ 1")
KINDS: dict[str, dict[str, Any]] = {
    "paths": {"stop_when": "P >= 40", "outputs": ["P", "ES", "share"]},
    "statistics": {"statistics": True, "histogram_bins": 64},
    "statistics with hitting times": {"statistics": True, "stop_when": "P >= 40"},
}


@pytest.fixture(scope="module")
def pools() -> Iterator[dict[str, Any]]:
    """Return pools of two workers, started when they are used first."""
    made: dict[str, Any] = {
        "processes": "processes",
        "thread pool": ThreadPoolExecutor(2),
    }
    for context in ("spawn", "forkserver", "fork"):
        if context in multiprocessing.get_all_start_methods():
            made[context] = ProcessPoolExecutor(2, mp_context=multiprocessing.get_context(context))
    yield made
    for pool in made.values():
        if isinstance(pool, Executor):
            pool.shutdown()


class Here(Executor):
    """Does each task at once, in this thread, and counts."""

    def __init__(self, change: Callable[[Any], Any] = lambda report: report) -> None:
        self.tasks: list[PortionTask] = []
        self.change = change

    def submit(self, work: Any, /, *arguments: Any, **named: Any) -> Future[Any]:
        future: Future[Any] = Future()
        if work is run_portion:
            self.tasks.append(arguments[0])
        try:
            future.set_result(self.change(work(*arguments, **named)))
        except BaseException as error:
            future.set_exception(error)
        return future


# ---- The same arrays ----------------------------------------------------------------------------


@pytest.mark.parametrize("pool", ["processes", "thread pool", "spawn", "forkserver", "fork"])
def test_every_executor_gives_the_arrays_of_threads(pools, pool):
    if pool not in pools:
        pytest.skip(f"this system has no {pool}")
    rng = np.random.default_rng(71)
    for kind in KINDS if pool != "processes" else ["paths"]:
        how = {"rng": 72, "first": 700, **KINDS[kind]}
        usual = gl.ensemble(NETWORK, 10, 2000, **how)
        other = gl.ensemble(NETWORK, 10, 2000, executor=pools[pool], **how)
        assert_identical(usual, other)
        assert other.provenance.engine == usual.provenance.engine
        if pool != "processes":
            size = int(rng.integers(1, 700))
            again = gl.ensemble(NETWORK, 10, 2000, executor=pools[pool], chunk_size=size, **how)
            assert_identical(usual, again)


@pytest.mark.parametrize("method", STOCHASTIC)
def test_every_method_gives_the_same_on_workers(pools, method):
    usual = gl.ensemble(NETWORK, 5, 300, method=method, rng=73)
    for pool in ("thread pool", "fork"):
        if pool in pools:
            other = gl.ensemble(NETWORK, 5, 300, method=method, rng=73, executor=pools[pool])
            assert_identical(usual, other)


@pytest.mark.parametrize("engine", ["table", "lanes", "specialised"])
def test_workers_go_by_the_engine_of_the_run(engine):
    executor = Here()
    usual = gl.ensemble(NETWORK, 5, 300, rng=74)
    assert_identical(usual, gl.ensemble(NETWORK, 5, 300, rng=74, engine=engine, executor=executor))
    assert {task.engine for task in executor.tasks} == {engine}


def test_threads_are_those_of_each_worker():
    executor = Here()
    usual = gl.ensemble(NETWORK, 5, 600, rng=75, statistics=True)
    gl.ensemble(NETWORK, 5, 600, rng=75, executor=executor)
    assert {task.threads for task in executor.tasks} == {1}
    executor.tasks.clear()
    other = gl.ensemble(
        NETWORK, 5, 600, rng=75, statistics=True, executor=executor, threads=3, chunk_size=512
    )
    assert_identical(usual, other)
    assert {task.threads for task in executor.tasks} == {3}


# ---- What goes to the workers --------------------------------------------------------------------


@given(
    unit=st.sampled_from([1, 16, 256]),
    first=st.integers(0, 10**6),
    n=st.integers(1, 10**6),
    seconds=st.floats(1e-8, 1e3),
    n_workers=st.integers(1, 300),
    chunk_size=st.none() | st.integers(10**4, 10**7),
)
def test_portions_cover_a_range_in_whole_units(unit, first, n, seconds, n_workers, chunk_size):
    sizes, start, last, given_out = PortionSizes(unit, 1000, chunk_size), first, first + n, 0
    while start < last and given_out < 500:
        end = sizes.end_of(start, last, last - start, n_workers)
        assert start < end <= last
        assert end == last or end % unit == 0
        if chunk_size is None:
            # A second's work, and 32 MiB; but a unit, or eight times what was tried before.
            assert end - start <= max(unit, 8 * sizes._largest)
            assert end - start <= max(unit, 1.0001 / seconds) or given_out == 0
            assert end - start <= max(unit, 2**25 // 1000)
            if unit > 1 and start % unit == 0 and end % unit == 0:
                # One node of the tree of blocks: a power of two, at a multiple of itself.
                blocks = (end - start) // unit
                assert blocks & (blocks - 1) == 0
                assert (start // unit) % blocks == 0
        else:
            assert end == last or abs(end - start - chunk_size) <= unit
        sizes.learn(end - start, seconds * (end - start))
        start, given_out = end, given_out + 1


def test_portions_grow_to_a_second_and_shrink_at_the_end():
    sizes, start, last, found = PortionSizes(1, 1000, None), 0, 100_000, []
    while start < last:
        end = sizes.end_of(start, last, last - start, 4)
        sizes.learn(end - start, 1e-4 * (end - start))
        found.append(end - start)
        start = end
    assert found[:4] == [1, 8, 64, 512]
    assert max(found) == 10_000
    assert found[-1] <= 200
    assert len(found) < 60
    # What costs more later, or gets cheaper, is found out soon.
    for factor in (10.0, 0.01):
        for _ in range(30):
            n = sizes.end_of(0, 10**9, 10**9, 4)
            sizes.learn(n, factor * 1e-4 * n)
        assert n == pytest.approx(min(2**25 // 1000, 1e4 / factor), rel=0.01)


def test_no_more_portions_are_out_than_there_are_workers():
    class Counting(ThreadPoolExecutor):
        out, most = 0, 0

        def submit(self, *arguments: Any, **named: Any) -> Future[Any]:
            self.out += 1
            self.most = max(self.most, self.out)
            return super().submit(*arguments, **named)

    # Taken in the thread that hands them out, before the next ones go.
    with Counting(3) as executor:

        def progress(done: float, total: float) -> None:
            executor.out = 0

        gl.ensemble(NETWORK, 5, 900, rng=76, executor=executor, chunk_size=10, progress=progress)
    assert 2 <= executor.most <= 3


def test_progress_on_workers_never_falls_and_ends_with_all(pools):
    told: list[tuple[float, float]] = []
    gl.ensemble(
        NETWORK,
        5,
        700,
        rng=77,
        executor=pools["thread pool"],
        chunk_size=50,
        progress=lambda done, total: told.append((done, total)),
    )
    done = [one for one, _ in told]
    assert done == sorted(done)
    assert told[-1] == (700, 700)
    assert len(set(done)) > 5


def test_an_error_in_the_progress_function_stops_the_run(pools):
    def progress(done: float, total: float) -> None:
        raise ZeroDivisionError("mine")

    started = time.perf_counter()
    with pytest.raises(ZeroDivisionError, match="mine"):
        gl.ensemble(
            ENDLESS,
            1e9,
            8,
            rng=78,
            engine="table",
            executor=pools["thread pool"],
            progress=progress,
        )
    # The workers are free again.
    pools["thread pool"].submit(os.getpid).result(timeout=20)
    assert time.perf_counter() - started < 20


# ---- What goes wrong ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("executor", "error", "message"),
    [
        (
            "magic",
            ValueError,
            "'threads', 'processes', an executor of concurrent.futures or a Dask",
        ),
        (3, TypeError, "an object with a method submit"),
        (ThreadPoolExecutor, TypeError, "not <class"),
        (type("LocalCluster", (), {"scheduler_address": ""})(), TypeError, "Client\\(cluster\\)"),
    ],
)
def test_what_is_no_executor_is_refused(executor, error, message):
    with pytest.raises(error, match=message):
        gl.ensemble(NETWORK, 5, 10, executor=executor)


def test_threads_by_name_are_the_default():
    assert worker_pool("threads", 1) is None
    assert worker_pool(None, 1) is None


def test_trouble_in_a_trajectory_comes_back_as_such_with_what_is_finished(pools):
    bad = gl.Network.parse("species X = 5\nparam k = 3.5\nX => 0 @ X - k\n0 -> X @ 0.1")
    usual = gl.ensemble(bad, 0.05, 400, rng=79, chunk_size=1, threads=1)
    assert usual.n_trajectories == 400
    for statistics in (False, True):
        with pytest.raises(BadPropensityError, match=r"in trajectory [0-9]+ at t =") as caught:
            gl.ensemble(
                bad, 3, 400, rng=79, executor=pools["fork" if "fork" in pools else "spawn"],
                chunk_size=40, statistics=statistics,
            )  # fmt: skip
        result = caught.value.result
        assert result.stopped == "error"
        assert 0 < result.n_trajectories < 400
    # Each trajectory that is there is the right one.
    fine = gl.Network.parse("species X = 5\nparam k = 3.5\nX => 0 @ max(X - k, 0)\n0 -> X @ 0.1")
    with pytest.raises(EventLimitError, match="max_events = 5") as caught:
        gl.ensemble(
            fine, 9, 300, rng=80, executor=pools["thread pool"], chunk_size=16, max_events=5
        )
    kept = caught.value.result
    whole = gl.ensemble(fine, 9, 300, rng=80)
    assert kept.n_trajectories > 0
    assert (kept.counts == whole.counts[kept.indices]).all()


def test_an_error_that_is_no_trajectorys_comes_back_with_its_place():
    def forgetful(report: Any) -> Any:
        if executor.tasks[-1].first >= 100:
            raise MemoryError("too much")
        return report

    executor = Here(forgetful)
    with pytest.raises(MemoryError, match="too much") as caught:
        gl.ensemble(NETWORK, 5, 200, rng=81, executor=executor, chunk_size=50)
    assert caught.value.result.n_trajectories == 100  # type: ignore[attr-defined]
    assert caught.value.__notes__ == ["on a worker (Here), in trajectories 100 to 149"]


@pytest.mark.parametrize("change", [{"package_version": "0.0.1"}, {"stream_version": 1}])
def test_a_worker_of_another_version_is_refused_by_name(change):
    def other(report: Any) -> Any:
        return dataclasses.replace(report, **change)

    with pytest.raises(WorkerError, match="Here: a worker has gillespy_lite") as caught:
        gl.ensemble(NETWORK, 5, 200, rng=82, executor=Here(other))
    assert str(next(iter(change.values()))) in str(caught.value)
    assert f"this process {gl.__version__} with version" in str(caught.value)
    assert caught.value.result.n_trajectories == 0


def test_workers_without_the_package_are_named():
    def nothing(report: Any) -> Any:
        raise ModuleNotFoundError("No module named 'gillespy_lite'")

    with pytest.raises(WorkerError, match="the workers have no gillespy_lite; install version"):
        gl.ensemble(NETWORK, 5, 200, rng=83, executor=Here(nothing))


def test_an_executor_that_is_closed_is_refused_with_what_is_finished():
    pool = ThreadPoolExecutor(1)

    def progress(done: float, total: float) -> None:
        if done >= 100:
            pool.shutdown()

    with pytest.raises(WorkerError, match="ThreadPoolExecutor takes no more work") as caught:
        gl.ensemble(NETWORK, 5, 500, rng=84, executor=pool, chunk_size=50, progress=progress)
    assert 100 <= caught.value.result.n_trajectories < 500


@pytest.mark.parametrize("statistics", [False, True])
def test_timeout_on_workers_returns_what_is_finished(pools, statistics):
    how = {"rng": 85, "statistics": statistics}
    started = time.perf_counter()
    with pytest.warns(IncompleteWarning, match="timeout: .* of 1000000 trajectories are finished"):
        part = gl.ensemble(
            NETWORK, [0, 400], 10**6, timeout=0.5, executor=pools["thread pool"], **how
        )
    assert time.perf_counter() - started < 20.0
    assert part.stopped == "timeout"
    assert 0 < part.n_trajectories < 10**6
    if isinstance(part, gl.Ensemble):
        known = part.indices < 200
        usual = gl.ensemble(NETWORK, [0, 400], 200, **how)
        assert (part.counts[known] == usual.counts[part.indices[known]]).all()
    else:
        assert (part.bin_counts.sum(axis=-1) == part.n_trajectories).all()


def test_timeout_stops_a_long_trajectory_on_a_worker(pools):
    started = time.perf_counter()
    with pytest.warns(IncompleteWarning, match="0 of 4 trajectories"):
        gl.ensemble(
            ENDLESS, 1e9, 4, rng=86, engine="table", timeout=0.3, executor=pools["thread pool"]
        )
    assert time.perf_counter() - started < 20.0


def test_ctrl_c_stops_workers_and_keeps_what_is_finished(pools):
    def progress(done: float, total: float) -> None:
        if done:
            raise KeyboardInterrupt

    with pytest.raises(Interrupted, match="finished trajectories of 900000") as caught:
        gl.ensemble(NETWORK, 5, 900_000, rng=87, executor=pools["thread pool"], progress=progress)
    part = caught.value.result
    assert part.stopped == "interrupt"
    assert 0 < part.n_trajectories < 900_000
    known = part.indices < 100
    usual = gl.ensemble(NETWORK, 5, 100, rng=87)
    assert (part.counts[known] == usual.counts[part.indices[known]]).all()


@pytest.mark.skipif(not hasattr(signal, "raise_signal"), reason="sends a signal")
def test_ctrl_c_waits_while_a_result_is_put_away():
    done = []
    with pytest.raises(KeyboardInterrupt), interrupts_held():  # noqa: PT012
        signal.raise_signal(signal.SIGINT)
        done.append("to the end")
    assert done
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    with pytest.raises(ZeroDivisionError), interrupts_held():
        done.append(1 / 0)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_portions_come_back_in_any_order_and_some_only_at_the_third_try():
    class Unruly(Here):
        """Gives futures that are done late, in a random order; some fail at first."""

        rng = np.random.default_rng(88)
        failed: dict[int, int] = {}  # noqa: RUF012
        waiting: list[tuple[Future[Any], Any]] = []  # noqa: RUF012
        _max_workers = 7

        def submit(self, work: Any, /, *arguments: Any, **named: Any) -> Future[Any]:
            future: Future[Any] = Future()
            if work is not run_portion:
                return future
            self.waiting.append((future, arguments[0]))
            for i in self.rng.permutation(len(self.waiting))[: len(self.waiting) - 3]:
                late, task = self.waiting[i]
                n = self.failed.get(task.first, 0)
                if not late.done() and n < task.first % 4:
                    self.failed[task.first] = n + 1
                    late.cancel()
                    late.set_running_or_notify_cancel()
                elif not late.done():
                    late.set_result(run_portion(task))
            if all(late.done() for late, _ in self.waiting) or len(self.waiting) > 60:
                self.finish()
            return future

        def finish(self) -> None:
            for late, task in self.waiting:
                if not late.done():
                    late.set_result(run_portion(task))
            self.waiting.clear()

    executor = Unruly()
    for kind in KINDS.values():
        usual = gl.ensemble(NETWORK, 5, 1500, rng=89, **kind)
        other = gl.ensemble(
            NETWORK,
            5,
            1500,
            rng=89,
            executor=executor,
            chunk_size=97,
            progress=lambda done, total: executor.finish(),
            **kind,
        )
        assert_identical(usual, other)
    assert sum(executor.failed.values()) > 10


# ---- Stores -------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("pool", ["thread pool", "fork"])
def test_a_store_is_filled_by_workers_and_gone_on_with_by_threads(pools, kind, pool, tmp_path):
    if pool not in pools:
        pytest.skip(f"this system has no {pool}")
    how: dict[str, Any] = {"rng": 90, "first": 100, **KINDS[kind]}
    usual = gl.ensemble(NETWORK, 10, 6000, **how)

    def progress(done: float, total: float) -> None:
        if done >= 2000:
            raise KeyboardInterrupt

    # Stopped, gone on with elsewhere, extended, and taken from the disk.
    with pytest.raises(Interrupted, match="the same call goes on"):
        gl.ensemble(
            NETWORK,
            10,
            5000,
            executor=pools[pool],
            store=tmp_path / "run",
            progress=progress,
            chunk_size=256,
            **how,
        )
    gl.ensemble(NETWORK, 10, 5000, store=tmp_path / "run", **how)
    other = gl.ensemble(NETWORK, 10, 6000, executor=pools[pool], store=tmp_path / "run", **how)
    assert_identical(usual, other)
    again = gl.ensemble(NETWORK, 10, 6000, executor=Here(), store=tmp_path / "run", **how)
    assert_identical(usual, again)
    files = list((tmp_path / "run").rglob("*.npz"))
    assert 1 <= len(files) < 30


def test_what_workers_finished_is_in_the_store_when_the_run_ends_in_trouble(tmp_path):
    def forgetful(report: Any) -> Any:
        if executor.tasks[-1].first >= 500:
            raise RuntimeError("lost")
        return report

    executor = Here(forgetful)
    with pytest.raises(RuntimeError, match="lost"):
        gl.ensemble(
            NETWORK, 5, 900, rng=90, executor=executor, chunk_size=100, store=tmp_path / "run"
        )
    executor = Here()
    other = gl.ensemble(NETWORK, 5, 900, rng=90, executor=executor, store=tmp_path / "run")
    assert min(task.first for task in executor.tasks) == 500
    assert_identical(gl.ensemble(NETWORK, 5, 900, rng=90), other)


# ---- Memory -------------------------------------------------------------------------------------


@pytest.mark.skipif(sys.platform == "win32", reason="asks for the peak of memory as POSIX tells it")
@pytest.mark.parametrize("workers", ["threads", "thread pool"])
def test_statistics_of_very_many_short_trajectories_take_no_more_memory(workers):
    # With 1e7 it is 119 MiB, as with 1e5 (benchmarks/memory.py).
    code = f"""
import resource, sys
from concurrent.futures import ThreadPoolExecutor
import gillespy_lite as gl
network = gl.Network.parse("species X = 5\\n0 -> X @ 2\\nX -> 0 @ 1")
executor = None if {workers!r} == "threads" else ThreadPoolExecutor(2)
for n in (20_000, 1_000_000):
    one = gl.ensemble(network, [0, 1], n, rng=1, statistics=True, executor=executor)
    print(one.n_trajectories, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120
    )
    (n_few, few), (n_many, many) = (map(int, line.split()) for line in done.stdout.splitlines())
    assert (n_few, n_many) == (20_000, 1_000_000)
    unit = 1 if sys.platform == "darwin" else 1024
    assert (many - few) * unit < 4e6
