"""Workers that are killed, signals, forks, limits of memory, clocks that jump: done for real.

Whatever happens, the numbers are those of an undisturbed run, or an error says what was wrong and
holds what was finished.
"""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import multiprocessing.connection
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from identical import arrays_of, assert_identical

import gillespy_lite as gl
from gillespy_lite import own_processes
from gillespy_lite.errors import IncompleteWarning, WorkerError

posix = pytest.mark.skipif(sys.platform == "win32", reason="sends POSIX signals")
NETWORK_TEXT = """
species S = 301, E = 120, ES, P
S + E <-> ES @ 0.00166, 1e-4
ES -> E + P @ 0.1
0 -> S @ 20
"""
NETWORK = gl.Network.parse(NETWORK_TEXT)

# A script starts its work under this, as everywhere in Python.
BEGINNING = f"""
import hashlib, json, multiprocessing, os, signal, sys, threading, time
import numpy as np
import gillespy_lite as gl

network = gl.Network.parse('''{NETWORK_TEXT}''')


def digest_of(counts):
    return hashlib.sha256(np.ascontiguousarray(counts)).hexdigest()


"""


def digest_of(counts: np.ndarray) -> str:
    return hashlib.sha256(np.ascontiguousarray(counts)).hexdigest()


def started(path: Path, text: str, **environment: str) -> subprocess.Popen[str]:
    """Start a script in a session, and so a group of processes, of its own."""
    path.write_text(BEGINNING + text)
    return subprocess.Popen(
        [sys.executable, str(path)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        env={**os.environ, **environment},
    )


def answer_of(path: Path, text: str, **environment: str) -> Any:
    """Run a script; return the JSON of its last line."""
    process = started(path, text, **environment)
    try:
        output, errors = process.communicate(timeout=120)
    finally:
        process.kill()
    assert process.returncode == 0, errors
    return json.loads(output.splitlines()[-1])


def is_empty(group: int, within: float = 20.0) -> bool:
    """Return whether all processes of a group end in time; those that do not are killed."""
    until = time.monotonic() + within
    while time.monotonic() < until:
        try:
            os.killpg(group, 0)
        except ProcessLookupError:
            return True
        time.sleep(0.05)
    os.killpg(group, signal.SIGKILL)
    return False


def killer(n_times: int) -> tuple[Callable[[float, float], None], list[int]]:
    """Return a progress function that kills one child of this process at each of the first calls.

    And the list of the ids of those that it killed.
    """
    killed: list[int] = []

    def progress(done: float, total: float) -> None:
        children = [one.pid for one in multiprocessing.active_children()]
        fresh = [pid for pid in children if pid is not None and pid not in killed]
        if done and fresh and len(killed) < n_times:
            os.kill(fresh[0], signal.SIGKILL)
            killed.append(fresh[0])

    return progress, killed


# ---- Workers of a pool --------------------------------------------------------------------------


@posix
def test_workers_that_are_killed_are_replaced_and_nothing_shows():
    how: dict[str, Any] = {"rng": 91, "statistics": True, "stop_when": "P >= 40"}
    usual = gl.ensemble(NETWORK, 10, 6000, **how)
    progress, killed = killer(1)
    other = gl.ensemble(
        NETWORK, 10, 6000, executor="processes", progress=progress, chunk_size=512, **how
    )
    assert len(killed) == 1
    assert_identical(usual, other)
    assert multiprocessing.active_children() == []


@posix
def test_a_worker_that_is_killed_while_it_hands_in_what_it_has_is_replaced(monkeypatch):
    # Half a message is in its pipe then, which must not be waited for. Results of some
    # megabytes take long enough to be caught at.
    usual = gl.ensemble(NETWORK, np.linspace(0, 1, 2000), 400, rng=94)
    killed: list[int] = []
    plain = own_processes._Worker.submit

    def submit(worker: Any, task: Any) -> Any:
        future = plain(worker, task)
        if not killed:
            assert worker._connection.poll(60)
            killed.append(worker.process.pid)
            os.kill(worker.process.pid, signal.SIGKILL)
        return future

    def slowly(connection: Any) -> Any:
        time.sleep(0.5)
        return receive(connection)

    receive = multiprocessing.connection.Connection.recv
    monkeypatch.setattr(multiprocessing.connection.Connection, "recv", slowly)
    monkeypatch.setattr(own_processes._Worker, "submit", submit)
    other = gl.ensemble(
        NETWORK, np.linspace(0, 1, 2000), 400, rng=94, executor="processes", chunk_size=100
    )
    assert len(killed) == 1
    assert_identical(usual, other)
    assert multiprocessing.active_children() == []


@posix
def test_a_killed_worker_of_a_pool_of_the_caller_leaves_what_is_finished():
    # A pool of the standard library is broken for good then. (It may wait for ever for a worker
    # that is killed while it writes, so here one ends itself.)
    with ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("spawn")) as pool:
        killed: list[Any] = []

        def progress(done: float, total: float) -> None:
            if done and not killed:
                killed.append(pool.submit(os._exit, 1))

        with pytest.raises(WorkerError, match="ProcessPoolExecutor takes no more work") as caught:
            gl.ensemble(NETWORK, 10, 4000, rng=92, executor=pool, chunk_size=50, progress=progress)
    assert len(killed) == 1
    assert "make a new one" in str(caught.value).lower()
    kept = caught.value.result
    usual = gl.ensemble(NETWORK, 10, 4000, rng=92)
    assert 50 <= kept.n_trajectories < 4000
    assert (kept.counts == usual.counts[kept.indices]).all()


def test_workers_that_die_as_they_start_are_given_up_with_the_reason(tmp_path):
    # The script begins its work in every process that reads it.
    path = tmp_path / "script.py"
    process = started(
        path, "gl.ensemble(network, 1, 9, executor='processes', threads=os.cpu_count())\n"
    )
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 1
    last = errors.splitlines()[-1]
    assert "were lost 2 times" in last
    assert "if __name__ == '__main__':" in last


# ---- Signals ------------------------------------------------------------------------------------

LONG_RUN = """
if __name__ == "__main__":
    if {handler}:
        signal.signal(signal.SIGTERM, signal.default_int_handler)
    usual = gl.ensemble(network, 10, 200, rng=93)

    def progress(done, total):
        if done and progress.quiet:
            progress.quiet = False
            print("under way", flush=True)

    progress.quiet = True
    try:
        gl.ensemble(
            network, 10, 3_000_000, rng=93, executor={executor!r}, progress=progress,
            outputs=["P"], store={store!r},
        )
    except KeyboardInterrupt as error:
        result = error.result
        known = result.indices < 200
        right = bool((result["P"][known] == usual["P"][result.indices[known]]).all())
        print(json.dumps([type(error).__name__, result.stopped, result.n_trajectories, right]))
"""


@posix
@pytest.mark.parametrize(
    ("executor", "number", "stored"),
    [
        ("threads", "SIGTERM", False),
        ("processes", "SIGINT", False),
        # Which is then taken for Ctrl-C without being asked to.
        ("processes", "SIGTERM", True),
    ],
)
def test_ctrl_c_and_sigterm_keep_what_is_finished_and_leave_no_process(
    tmp_path, executor, number, stored
):
    handler, store = number == "SIGTERM" and not stored, str(tmp_path / "run") if stored else None
    text = LONG_RUN.format(executor=executor, handler=handler, store=store)
    process = started(tmp_path / "script.py", text)
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "under way\n"
        time.sleep(0.2)
        sent = time.monotonic()
        if number == "SIGINT":
            # As a terminal does: to all processes.
            os.killpg(process.pid, signal.SIGINT)
        else:
            process.send_signal(signal.SIGTERM)
        output, errors = process.communicate(timeout=60)
    finally:
        process.kill()
    assert time.monotonic() - sent < 30.0
    assert errors == ""
    kind, stopped, n, right = json.loads(output)
    assert (kind, stopped, right) == ("Interrupted", "interrupt", True)
    assert 0 < n < 3_000_000
    assert is_empty(process.pid)


@posix
def test_processes_end_with_the_one_that_started_them(tmp_path):
    process = started(
        tmp_path / "script.py", LONG_RUN.format(executor="processes", handler=False, store=None)
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "under way\n"
        process.kill()
        process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == -signal.SIGKILL
    assert is_empty(process.pid)


# ---- Forks --------------------------------------------------------------------------------------


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_a_fork_after_threads_can_run_ensembles(tmp_path):
    usual = digest_of(gl.ensemble(NETWORK, 5, 500, rng=94).counts)
    answer = answer_of(
        tmp_path / "script.py",
        """
def child(n):
    return digest_of(gl.ensemble(network, 5, n, rng=94, threads=2).counts)


if __name__ == "__main__":
    found = [child(500)]
    # While other threads of this process are at work, too.
    busy = threading.Thread(target=child, args=(200_000,), daemon=True)
    for wait in (False, True):
        if wait:
            busy.start()
            time.sleep(0.1)
        reading, writing = os.pipe()
        pid = os.fork()
        if pid == 0:
            os.write(writing, child(500).encode())
            os._exit(0)
        found.append(os.read(reading, 100).decode())
        found.append(os.waitpid(pid, 0)[1])
        with multiprocessing.get_context("fork").Pool(2) as pool:
            found += pool.map(child, [500, 500])
    print(json.dumps(found))
    sys.stdout.flush()
    os._exit(0)
""",
    )
    assert answer == [usual, *[usual, 0, usual, usual] * 2]


@posix
def test_processes_are_refused_where_they_cannot_be_started(tmp_path):
    answer = answer_of(
        tmp_path / "script.py",
        """
def child(n):
    try:
        gl.ensemble(network, 5, n, rng=94, executor="processes")
    except ValueError as error:
        return str(error)


if __name__ == "__main__":
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        print(json.dumps(pool.map(child, [50])))
""",
    )
    assert "executor='processes' was asked for in a worker of multiprocessing.Pool" in answer[0]


# ---- Memory -------------------------------------------------------------------------------------

LIMITED = """
if __name__ == "__main__":
    import resource

    def run(n, **how):
        return gl.ensemble(network, 5, n, rng=95, **how)

    gl.ensemble  # imported here, before the limit
    if {warm}:
        run(2000, threads=1)
        run(10, threads=1)
    size = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (size + {room}, resource.RLIM_INFINITY))
    try:
        result = run({n}, {how})
        answer = ["fine", digest_of(result.counts)]
    except MemoryError as error:
        kept = getattr(error, "result", None)
        answer = [type(error).__name__, str(error), kept is not None]
    resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    print(json.dumps(answer))
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
@pytest.mark.parametrize(
    ("warm", "room", "n", "how", "kind", "message"),
    [
        # Less than LLVM needs, which would end the process.
        (False, 2**26, 100, "", "NotEnoughMemoryError", "leaves 64.0 MiB; raise it"),
        # Enough for the kernels that are there, not for the result.
        (True, 2**26, 50_000, "threads=2", "NotEnoughMemoryError", "the result would need"),
        # No room for the stack of a single thread: this one does it all.
        (True, 2**22, 500, "threads=4", "fine", ""),
        (True, 2**27, 2000, "threads=2", "fine", ""),
    ],
)
def test_a_limit_of_memory_is_an_error_and_no_crash(tmp_path, warm, room, n, how, kind, message):
    text = LIMITED.format(warm=warm, room=room, n=n, how=how)
    answer = answer_of(tmp_path / "script.py", text)
    assert answer[0] == kind, answer
    if kind == "fine":
        assert answer[1] == digest_of(gl.ensemble(NETWORK, 5, n, rng=95).counts)
    else:
        assert message in answer[1]


def test_memory_that_runs_short_in_a_run_keeps_what_is_finished(monkeypatch):
    from gillespy_lite.gathering import Statistics

    usual = Statistics.rows

    def scarce(self: Statistics, first: int, last: int) -> Any:
        if first >= 768:
            raise MemoryError("no room")
        return usual(self, first, last)

    monkeypatch.setattr(Statistics, "rows", scarce)
    for threads in (1, 2):
        with pytest.raises(gl.errors.NotEnoughMemoryError, match=r"ran short.*no room") as caught:
            gl.ensemble(NETWORK, 5, 2000, rng=96, statistics=True, threads=threads, engine="table")
        assert caught.value.result.n_trajectories == 768  # type: ignore[attr-defined]
        assert caught.value.result.stopped == "error"  # type: ignore[attr-defined]


def test_threads_that_cannot_be_started_are_done_without(monkeypatch):
    usual = gl.ensemble(NETWORK, 5, 500, rng=97)
    start, allowed = threading.Thread.start, [1]

    def refused(self: threading.Thread) -> None:
        if allowed[0] == 0:
            raise RuntimeError("can't start new thread")
        allowed[0] -= 1
        start(self)

    monkeypatch.setattr(threading.Thread, "start", refused)
    for n in (0, 1):
        allowed[0] = n
        assert_identical(usual, gl.ensemble(NETWORK, 5, 500, rng=97, threads=3))


# ---- Clocks -------------------------------------------------------------------------------------


@pytest.mark.parametrize("executor", [None, "thread pool"])
@pytest.mark.parametrize("clock", ["time", "perf_counter", "monotonic"])
def test_clocks_that_jump_change_no_number(monkeypatch, clock, executor):
    from concurrent.futures import ThreadPoolExecutor

    usual = gl.ensemble(NETWORK, 5, 2000, rng=98, statistics=True)
    real, jumps = getattr(time, clock), np.random.default_rng(99)

    def jumping() -> float:
        return float(real() + jumps.uniform(-1e7, 1e7))

    with ThreadPoolExecutor(2) as pool:
        monkeypatch.setattr(time, clock, jumping)
        try:
            chosen = None if executor is None else pool
            other = gl.ensemble(NETWORK, 5, 2000, rng=98, statistics=True, executor=chosen)
            assert_identical(usual, other)
            if clock != "monotonic":
                # The clock on the wall has nothing to do with a time limit.
                other = gl.ensemble(
                    NETWORK, 5, 2000, rng=98, statistics=True, executor=chosen, timeout=1000
                )
                assert_identical(usual, other)
        finally:
            monkeypatch.undo()


def test_a_monotonic_clock_that_jumps_ahead_ends_a_time_limit_and_nothing_else(monkeypatch):
    # As a machine may do that was asleep.
    real, jump = time.monotonic, [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: real() + jump[0])

    def progress(done: float, total: float) -> None:
        jump[0] += 1e6

    with pytest.warns(IncompleteWarning, match="timeout"):
        part = gl.ensemble(NETWORK, 5, 200_000, rng=99, threads=1, timeout=1000, progress=progress)
    assert 0 < part.n_trajectories < 200_000
    usual = gl.ensemble(NETWORK, 5, 100, rng=99)
    known = part.indices < 100
    assert (part.counts[known] == usual.counts[part.indices[known]]).all()
    assert len(arrays_of(part)) >= 4
