"""Ensembles on a Dask cluster of two worker processes: the same arrays, whoever dies."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import numpy as np
import pytest
from identical import assert_identical

import gillespy_lite as gl
from gillespy_lite.errors import EventLimitError, Interrupted, WorkerError

distributed = pytest.importorskip("distributed", reason="needs the extra 'dask'")
# Dask and what it builds on, not ours to mend.
pytestmark = pytest.mark.filterwarnings("ignore")

NETWORK = gl.Network.parse("""
species S = 301, E = 120, ES, P
observe share = P/(1 + S + ES + P)
S + E <-> ES @ 0.00166, 1e-4
ES -> E + P @ 0.1
0 -> S @ 20
""")


class Cluster:
    """Two worker processes on this machine, which are replaced if they die."""

    def __init__(self) -> None:
        self._open = ExitStack()
        self._client: Any = None

    def whole(self) -> Any:
        """Return a client of both workers."""
        if self._client is not None:
            try:
                self._client.wait_for_workers(2, timeout=20)
                return self._client
            except TimeoutError:
                # Seldom Dask does not replace one, and never will: no fault of ours.
                self.close()
        cluster = distributed.LocalCluster(
            n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None
        )
        self._client = self._open.enter_context(
            distributed.Client(self._open.enter_context(cluster))
        )
        self._client.wait_for_workers(2, timeout=60)
        return self._client

    def close(self) -> None:
        self._client = None
        self._open.close()


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    made = Cluster()
    yield made
    made.close()


@pytest.fixture
def client(cluster) -> Any:
    return cluster.whole()


@pytest.mark.parametrize("statistics", [False, True])
def test_dask_gives_the_arrays_of_threads_although_a_worker_is_killed(client, statistics):
    how: dict[str, Any] = {"rng": 101, "statistics": statistics, "stop_when": "P >= 40"}
    usual = gl.ensemble(NETWORK, 10, 6000, **how)
    killed: list[int] = []

    def progress(done: float, total: float) -> None:
        if done and not killed:
            killed.extend(client.run(os.getpid).values())
            os.kill(killed[0], signal.SIGKILL)

    other = gl.ensemble(
        NETWORK, 10, 6000, executor=client, chunk_size=500, progress=progress, **how
    )
    assert killed
    assert_identical(usual, other)
    assert other.stopped is None


def test_dask_gives_the_scan_of_threads_although_a_worker_is_killed(client, tmp_path):
    how: dict[str, Any] = {"rng": 105, "stop_when": "P >= 40"}
    grid = {"S": np.arange(200, 320, 2), "E": [60, 120]}
    usual = gl.scan(NETWORK, grid, [0, 5, 10], 50, **how)
    killed: list[int] = []

    def progress(done: float, total: float) -> None:
        if done and not killed:
            killed.extend(client.run(os.getpid).values())
            os.kill(killed[0], signal.SIGKILL)

    on_dask: dict[str, Any] = {"executor": client, "chunk_size": 10, **how}
    other = gl.scan(
        NETWORK, grid, [0, 5, 10], 50, progress=progress, store=tmp_path / "a", **on_dask
    )
    assert killed
    assert_identical(usual, other)
    assert_identical(usual, gl.open_store(tmp_path / "a").load())
    paths = gl.scan(NETWORK, grid, [0, 10], 20, keep="paths", **on_dask)
    assert_identical(gl.scan(NETWORK, grid, [0, 10], 20, keep="paths", **how), paths)


@pytest.mark.parametrize("statistics", [False, True])
def test_dask_ends_at_the_same_look_although_a_worker_is_killed(client, statistics, tmp_path):
    how: dict[str, Any] = {"until": "mean(P) +/- 0.3%", "rng": 106, "statistics": statistics}
    usual = gl.ensemble(NETWORK, 10, **how)
    killed: list[int] = []

    def progress(done: float, total: float) -> None:
        if done > 600 and not killed:
            killed.extend(client.run(os.getpid).values())
            os.kill(killed[0], signal.SIGKILL)

    other = gl.ensemble(
        NETWORK, 10, executor=client, store=tmp_path / "a", progress=progress, **how
    )
    assert killed
    assert_identical(usual, other)
    assert usual.precision == other.precision
    assert_identical(usual, gl.ensemble(NETWORK, 10, executor=client, **how))


def test_trouble_on_a_dask_worker_comes_back_with_what_is_finished(client):
    usual = gl.ensemble(NETWORK, 10, 400, rng=102)
    most = int(np.quantile(usual.n_events, 0.99))
    with pytest.raises(EventLimitError, match=r"trajectory [0-9]+ needs more than") as caught:
        gl.ensemble(NETWORK, 10, 400, rng=102, executor=client, chunk_size=20, max_events=most)
    kept = caught.value.result
    assert 0 < kept.n_trajectories < 400
    assert (kept.counts == usual.counts[kept.indices]).all()


def test_ctrl_c_frees_the_dask_workers(client):
    endless = gl.Network.parse("species X\n0 -> X @ 1e6\nX -> 0 @ 1")

    def progress(done: float, total: float) -> None:
        raise KeyboardInterrupt

    with pytest.raises(Interrupted) as caught:
        gl.ensemble(endless, 1e9, 8, rng=103, engine="table", executor=client, progress=progress)
    assert caught.value.result.n_trajectories == 0
    # Each worker has one thread; it would be busy for years.
    started = time.monotonic()
    futures = [client.submit(os.getpid, pure=False, workers=[one]) for one in client.nthreads()]
    assert len(set(client.gather(futures))) == len(futures)
    assert time.monotonic() - started < 30.0


def test_a_cluster_that_is_gone_leaves_what_is_finished():
    with distributed.LocalCluster(
        n_workers=1, threads_per_worker=1, processes=False, dashboard_address=None
    ) as cluster:
        client = distributed.Client(cluster)

        def progress(done: float, total: float) -> None:
            if done >= 100:
                client.close()

        with pytest.raises(WorkerError, match="Dask") as caught:
            gl.ensemble(
                NETWORK, 10, 4000, rng=104, executor=client, chunk_size=50, progress=progress
            )
        kept = caught.value.result
        usual = gl.ensemble(NETWORK, 10, 4000, rng=104)
        assert 100 <= kept.n_trajectories < 4000
        assert (kept.counts == usual.counts[kept.indices]).all()
        with pytest.raises(TypeError, match=r"executor=distributed\.Client\(cluster\)"):
            gl.ensemble(NETWORK, 10, 10, executor=cluster)
