"""One process compiles a kernel and others wait for it: never for ever, and never for nothing."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from gillespy_lite.kernels import jit, turns
from gillespy_lite.kernels.turns import LONGEST_TURN, Turn

# Takes the turn of a file, says so, and gives it up when it is told to.
HOLDER = """
import sys
from pathlib import Path
from gillespy_lite.kernels.turns import Turn
turn = Turn(Path(sys.argv[1]))
turn.wait()
print("waited" if turn.has_waited else "at once", flush=True)
sys.stdin.readline()
turn.end()
print("ended", flush=True)
sys.stdin.readline()
"""


class Holder:
    """Another process that has a turn."""

    def __init__(self, path: Path, code: str = HOLDER) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", code, str(path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.said = self.next_line()

    def next_line(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()

    def end_turn(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write("\n")
        self.process.stdin.flush()

    def kill(self) -> None:
        with self.process:
            self.process.kill()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "kernels" / "one.lock"


@pytest.fixture
def holder(path: Path) -> Iterator[Holder]:
    one = Holder(path)
    assert one.said == "at once"
    yield one
    one.kill()


def seconds_of_wait(turn: Turn) -> float:
    started = time.monotonic()
    turn.wait()
    return time.monotonic() - started


def test_a_turn_without_others_is_had_at_once_and_leaves_no_file(path):
    turn = Turn(path)
    turn.wait()
    assert not turn.has_waited
    assert path.exists()
    turn.end()
    turn.end()
    assert list(path.parent.iterdir()) == []
    # Again, and twice without an end between.
    turn.wait()
    turn.wait()
    assert not turn.has_waited
    turn.end()
    assert list(path.parent.iterdir()) == []


def test_a_turn_is_waited_for_until_its_holder_ends_it(path, holder):
    turn = Turn(path)
    waits: list[float] = []

    def pause(seconds: float, sleep=time.sleep) -> None:
        waits.append(seconds)
        if len(waits) == 3:
            holder.end_turn()
        sleep(seconds)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(turns.time, "sleep", pause)
        turn.wait()
    assert turn.has_waited
    assert len(waits) >= 3
    assert holder.next_line() == "ended"
    turn.end()
    assert list(path.parent.iterdir()) == []


def test_a_holder_that_is_killed_has_no_turn_any_more(path, holder):
    holder.kill()
    assert path.exists()
    turn = Turn(path)
    turn.wait()
    assert not turn.has_waited
    turn.end()
    assert not path.exists()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_a_process_forked_from_the_holder_has_no_turn(path):
    code = HOLDER.replace(
        "turn.wait()\n",
        "turn.wait()\nimport os, time\nchild = os.fork()\nif child == 0:\n"
        "    os.close(1)\n    time.sleep(60)\n    os._exit(0)\n",
    ).replace('print("waited"', 'print(child, "waited"')
    holder = Holder(path, code)
    child = int(holder.said.split()[0])
    try:
        holder.kill()
        turn = Turn(path)
        turn.wait()
        assert not turn.has_waited
        turn.end()
    finally:
        os.kill(child, signal.SIGKILL)


def test_a_holder_that_takes_too_long_is_waited_for_no_longer(path, holder, monkeypatch):
    turn = Turn(path)
    # It began just now: as long as a turn may be at most.
    monkeypatch.setattr(turns, "LONGEST_TURN", 0.5)
    os.utime(path)
    assert 0.4 < seconds_of_wait(turn) < 5.0
    assert turn.has_waited
    # By then it has had it for too long; whoever comes later does not wait at all.
    assert seconds_of_wait(turn) < 0.1
    assert not turn.has_waited
    # A clock that is ahead makes no wait longer.
    future = time.time() + 3600.0
    os.utime(path, (future, future))
    assert 0.4 < seconds_of_wait(turn) < 5.0
    turn.end()
    assert path.exists()  # it is still the other's
    assert LONGEST_TURN == 40.0


@pytest.mark.parametrize("where", ["file in the way", "no locks"])
def test_where_no_turn_can_be_had_nobody_waits(path, where, monkeypatch):
    if where == "no locks":
        if sys.platform == "win32":
            pytest.skip("a file system of POSIX")
        import fcntl

        def refuse(*arguments: object) -> None:
            raise OSError(37, "No locks available")

        monkeypatch.setattr(fcntl, "lockf", refuse)
    else:
        path.parent.write_text("no folder")
    turn = Turn(path)
    assert seconds_of_wait(turn) < 0.1
    assert not turn.has_waited
    turn.end()
    turn.wait()


def test_interrupted_while_it_waits_it_leaves_the_turn_alone(path, holder, monkeypatch):
    def interrupt(seconds: float) -> None:
        raise KeyboardInterrupt

    turn = Turn(path)
    n_open = len(os.listdir("/dev/fd")) if os.path.isdir("/dev/fd") else 0
    with monkeypatch.context() as patch:
        patch.setattr(turns.time, "sleep", interrupt)
        with pytest.raises(KeyboardInterrupt):
            turn.wait()
    if n_open:
        assert len(os.listdir("/dev/fd")) == n_open
    assert path.exists()
    holder.end_turn()
    assert holder.next_line() == "ended"
    turn.wait()
    assert not turn.has_waited
    turn.end()


# ---- Kernels -------------------------------------------------------------------------------------


@pytest.fixture
def one_kernel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[jit.Any]:
    """Return a kernel that no cache has."""
    monkeypatch.setenv("GILLESPY_LITE_CACHE_DIR", str(tmp_path))

    def add_one(numbers):
        for i in range(numbers.size):
            numbers[i] += 1.0

    known = list(jit._KERNELS)
    yield jit.kernel(add_one)
    jit._KERNELS[:] = known


def lock_files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.rglob("*.lock"))


def test_a_kernel_is_compiled_in_a_turn_that_ends_when_it_is_kept(
    one_kernel, tmp_path, monkeypatch
):
    seen = []
    compiling = one_kernel._compiler.compile

    def compile_and_look(*arguments):
        seen.append(lock_files(tmp_path))
        return compiling(*arguments)

    monkeypatch.setattr(one_kernel._compiler, "compile", compile_and_look)
    numbers = np.zeros(2)
    one_kernel(numbers)
    assert numbers.tolist() == [1.0, 1.0]
    ((name,),) = seen
    assert "add_one" in name
    assert lock_files(tmp_path) == []
    assert len(list(tmp_path.rglob("*.nbc"))) == 1


@pytest.mark.parametrize("error", [KeyboardInterrupt, MemoryError])
def test_a_compilation_that_is_interrupted_ends_its_turn(one_kernel, tmp_path, monkeypatch, error):
    def fail(*arguments):
        assert lock_files(tmp_path)
        raise error

    with monkeypatch.context() as patch:
        patch.setattr(one_kernel._compiler, "compile", fail)
        with pytest.raises(error):
            one_kernel(np.zeros(2))
    assert lock_files(tmp_path) == []
    assert one_kernel._cache._turn._descriptor == -1
    numbers = np.zeros(2)
    one_kernel(numbers)
    assert numbers.tolist() == [1.0, 1.0]


def test_who_waited_in_vain_compiles_without_a_turn(one_kernel, tmp_path, monkeypatch):
    # Else, if no process can keep what it compiles, the last would wait for all the others.
    turn = one_kernel._cache._turn
    holder = Holder(turn._path)
    told: list[bool] = []
    monkeypatch.setattr(jit, "_WATCHERS", [lambda name, begins: told.append(begins)])

    def end_it(seconds: float, sleep=time.sleep) -> None:
        if len(told) == 1:
            holder.end_turn()
        sleep(seconds)

    monkeypatch.setattr(turns.time, "sleep", end_it)
    compiling = one_kernel._compiler.compile

    def compile_and_look(*arguments):
        assert turn.has_waited
        assert turn._descriptor == -1
        return compiling(*arguments)

    monkeypatch.setattr(one_kernel._compiler, "compile", compile_and_look)
    try:
        one_kernel(np.zeros(2))
    finally:
        holder.kill()
    assert told == [True, False]
    assert sum(one_kernel.stats.cache_misses.values()) == 1
