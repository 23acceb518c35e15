"""Stores under real damage: processes that are killed, full disks, flipped bits, two writers."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from identical import arrays_of, assert_identical

import gillespy_lite as gl
from gillespy_lite.errors import (
    DamagedFileError,
    StoreLockedError,
    StoreWarning,
    StoreWriteError,
)
from gillespy_lite.stores.lock import Lock

# About 0.1 ms a trajectory, so that a run can be cut anywhere.
SLOW_TEXT = """
species X = 0, Y = 0
param k = 4000, g = 10
0 -> X @ k
X -> 0 @ g
0 -> Y @ 3
Y -> 0 @ 0.3
"""
SLOW = gl.Network.parse(SLOW_TEXT)
T = np.linspace(0.0, 1.0, 11).tolist()
PREAMBLE = f"""
import json, os, signal, sys, time
import numpy as np
import gillespy_lite as gl
from gillespy_lite import portion_runs
network, t = gl.Network.parse({SLOW_TEXT!r}), {T!r}
"""

needs_signals = pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")


def start(body: str, *arguments: object, **how: Any) -> subprocess.Popen[str]:
    """Start a process of its own that runs a few lines, with Ctrl-C as usual."""
    return subprocess.Popen(
        [sys.executable, "-c", PREAMBLE + textwrap.dedent(body), *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **how,
    )


def output_of(process: subprocess.Popen[str]) -> Any:
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    return json.loads(out.splitlines()[-1])


def hash_of(result: Any) -> str:
    digest = hashlib.sha256()
    for name, array in sorted(arrays_of(result).items()):
        digest.update(f"{name} {array.dtype} {array.shape}".encode() + array.tobytes())
    return digest.hexdigest()


def wait_for_chunks(folder: Path, process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + 100
    while not list(folder.glob("chunks/*.npz")):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.01)


# ---- Killed processes ----------------------------------------------------------------------------

KILLS = """
folder, statistics, n, n_kills, seed = sys.argv[1], sys.argv[2] == "True", *map(int, sys.argv[3:])
portion_runs._LEAST_SECONDS = 0.01
# Compiled before, so that children can be forked from a process without threads.
how = {"engine": "lanes", "statistics": statistics}
gl.ensemble(network, t, 600, rng=1, threads=1, **how)
# A run is killed some ten times before it is through, however fast the machine is.
began = time.monotonic()
gl.ensemble(network, t, 3000, rng=1, threads=1, **how)
longest = 1.5 * (time.monotonic() - began)
def n_stored():
    try:
        return gl.open_store(folder).n
    except gl.errors.StoreError:
        return 0

left = []
for i, wait in enumerate(np.random.default_rng(seed).uniform(0.0, longest, n_kills)):
    before = n_stored()
    child = os.fork()
    if child == 0:
        try:
            gl.ensemble(network, t, n, rng=81, threads=1 + i % 2, store=folder, **how)
        finally:
            os._exit(0)
    # The first half as soon as there is more, so that there are kills in the middle whatever the
    # machine does just then; the others at any moment.
    give_up = time.monotonic() + (60.0 if i < n_kills // 2 else wait)
    was_running = True
    while time.monotonic() < give_up and (i >= n_kills // 2 or n_stored() <= before):
        time.sleep(0.001)
        was_running = os.waitpid(child, os.WNOHANG) == (0, 0)
        if not was_running:
            break
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
@pytest.mark.parametrize(("statistics", "seed"), [(False, 82), (True, 83)])
def test_twenty_kills_at_random_moments_change_no_bit(statistics, seed, tmp_path):
    n, n_kills = 30_000, 20
    how: dict[str, Any] = {"rng": 81, "engine": "lanes", "statistics": statistics}
    usual = gl.ensemble(SLOW, T, n, **how)
    left = output_of(start(KILLS, tmp_path / "a", statistics, n, n_kills, seed))
    assert len(left) == n_kills
    assert [wrong for *_, wrong in left] == [[]] * n_kills
    stored = [there for _, there, _ in left]
    assert stored == sorted(stored)
    # Of what this test sees: kills in the middle of a run that had stored something, and not all.
    assert sum(running and 0 < there < n for running, there, _ in left) >= 5
    resumed = gl.ensemble(SLOW, T, n, **how, store=tmp_path / "a")
    assert hash_of(resumed) == hash_of(usual)
    store = gl.open_store(tmp_path / "a")
    assert hash_of(store.load()) == hash_of(usual)
    assert store.ranges == [(0, n)]
    assert not list(tmp_path.rglob("*.part"))


GOAL = "mean(X) +/- 0.1% and prob(Y > 4) +/- 5%"
UNTIL_KILLS = KILLS.replace("t, n, rng", f"t, until={GOAL!r}, rng").replace(
    "t, 600, rng", "t, until='mean(X) +/- 5%', rng"
)


def test_a_folder_of_values_in_which_there_is_nothing_yet_is_no_damage(tmp_path):
    # What a process leaves that is killed between making the folder and writing to it.
    how: dict[str, Any] = {"rng": 81, "engine": "lanes", "statistics": True, "until": COARSE}
    usual = gl.ensemble(SLOW, T, **how, store=tmp_path / "a")
    folder = next(one for one in (tmp_path / "a" / "values").iterdir() if one.is_dir())
    (folder / "manifest.json").unlink()
    assert len(gl.open_store(tmp_path / "a").verify()) == 1  # chunks without a manifest are
    for chunk in (folder / "chunks").iterdir():
        chunk.unlink()
    assert gl.open_store(tmp_path / "a").verify() == []
    assert hash_of(gl.ensemble(SLOW, T, **how, store=tmp_path / "a")) == hash_of(usual)


COARSE = "mean(X) +/- 5%"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs processes that are forked")
@pytest.mark.parametrize(("statistics", "seed"), [(False, 86), (True, 87)])
def test_runs_until_they_are_precise_end_alike_after_ten_kills(statistics, seed, tmp_path):
    how: dict[str, Any] = {"rng": 81, "engine": "lanes", "statistics": statistics}
    usual = gl.ensemble(SLOW, T, until=GOAL, **how)
    left = output_of(start(UNTIL_KILLS, tmp_path / "a", statistics, 0, 10, seed))
    assert [wrong for *_, wrong in left] == [[]] * 10
    stored = [there for _, there, _ in left]
    assert stored == sorted(stored)
    assert sum(running and 0 < there < len(usual) for running, there, _ in left) >= 3
    resumed = gl.ensemble(SLOW, T, until=GOAL, **how, store=tmp_path / "a")
    assert hash_of(resumed) == hash_of(usual)
    assert resumed.precision == usual.precision
    assert gl.open_store(tmp_path / "a").verify() == []
    assert not list(tmp_path.rglob("*.part"))


@needs_signals
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_stops_a_run_and_keeps_what_is_finished(number, tmp_path):
    body = """
        before = [signal.getsignal(one) for one in (signal.SIGINT, signal.SIGTERM)]
        try:
            gl.ensemble(network, t, 10**6, rng=84, engine='lanes', store=sys.argv[1])
        except gl.Interrupted as error:
            same = before == [signal.getsignal(one) for one in (signal.SIGINT, signal.SIGTERM)]
            print(json.dumps([str(error), len(error.result), same]))
    """
    process = start(body, tmp_path / "a")
    wait_for_chunks(tmp_path / "a", process)
    process.send_signal(number)
    sent = time.monotonic()
    message, n, handlers_are_back = output_of(process)
    assert time.monotonic() - sent < 10
    assert handlers_are_back
    word = "interrupted" if number == signal.SIGINT else "told to end by SIGTERM"
    assert message.startswith(f"{word}; the {n} finished trajectories of 1000000 are in the error")
    store = gl.open_store(tmp_path / "a")
    assert store.n == n > 0
    assert f"has {n} of them; the same call goes on from there" in message
    part = store.load()
    assert_identical(gl.ensemble(SLOW, T, 10, rng=84, first=5), store.load(10, first=5))
    assert len(part) == n


@needs_signals
def test_a_handler_of_the_program_is_left_alone(tmp_path):
    seen: list[int] = []
    usual = signal.signal(signal.SIGTERM, lambda number, frame: seen.append(number))
    try:
        gl.ensemble(
            SLOW,
            T,
            300,
            rng=1,
            store=tmp_path / "a",
            progress=lambda done, total: seen or os.kill(os.getpid(), signal.SIGTERM),
        )
    finally:
        signal.signal(signal.SIGTERM, usual)
    assert seen == [signal.SIGTERM]
    assert gl.open_store(tmp_path / "a").n == 300


# ---- Two runs at once ----------------------------------------------------------------------------


def test_a_second_run_is_refused_while_the_first_writes_and_reading_is_not(tmp_path):
    body = "gl.ensemble(network, t, 10**6, rng=85, engine='lanes', store=sys.argv[1])"
    process = start(body, tmp_path / "a")
    try:
        wait_for_chunks(tmp_path / "a", process)
        with pytest.raises(StoreLockedError, match=rf"written to by process {process.pid} on "):
            gl.ensemble(SLOW, T, 10**5, rng=85, engine="lanes", store=tmp_path / "a")
        store = gl.open_store(tmp_path / "a")
        assert store.verify() == []
        n = store.n
        assert n > 0
        # What is there can be had meanwhile, also as a result.
        few = gl.ensemble(SLOW, T, min(n, 3), rng=85, store=tmp_path / "a")
        assert_identical(gl.ensemble(SLOW, T, min(n, 3), rng=85), few)
    finally:
        process.kill()
        process.communicate()
    # The lock went with its holder.
    more = gl.ensemble(SLOW, T, n + 5, rng=85, store=tmp_path / "a")
    assert_identical(gl.ensemble(SLOW, T, n + 5, rng=85), more)


def test_a_lock_is_held_within_one_process_too_and_not_by_its_children(tmp_path):
    lock = Lock(tmp_path)
    with pytest.raises(StoreLockedError, match=f"process {os.getpid()}"):
        Lock(tmp_path)
    lock.release()
    lock.release()
    Lock(tmp_path).release()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs processes that are forked")
def test_a_forked_worker_that_is_left_over_holds_no_lock(tmp_path):
    body = """
        from pathlib import Path
        from gillespy_lite.stores.lock import Lock
        lock = Lock(Path(sys.argv[1]))
        child = os.fork()
        if child == 0:
            time.sleep(100)
        print(json.dumps(child), flush=True)
        os.kill(os.getpid(), signal.SIGKILL)
    """
    process = start(body, tmp_path)
    assert process.stdout is not None
    child = int(process.stdout.readline())
    process.wait(timeout=60)
    try:
        Lock(tmp_path).release()
    finally:
        os.kill(child, signal.SIGKILL)
    process.communicate()


# ---- Disks ---------------------------------------------------------------------------------------


@pytest.fixture
def small_disk(tmp_path):
    """A disk of 1 MiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)],
        capture_output=True,
        check=False,
    )
    if mounted.returncode:
        pytest.skip(f"cannot mount a small disk: {mounted.stderr.decode().strip()}")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


@pytest.mark.skipif(sys.platform != "linux", reason="mounts a tmpfs")
@pytest.mark.parametrize("statistics", [False, True])
def test_a_full_disk_stops_a_run_and_keeps_what_is_finished(statistics, small_disk, monkeypatch):
    from gillespy_lite import portion_runs

    monkeypatch.setattr(portion_runs, "_LEAST_SECONDS", 0.02)
    how: dict[str, Any] = {"rng": 86, "statistics": statistics}
    n, wide = (
        3000,
        gl.Network.parse(SLOW_TEXT.replace("X = 0", "X = 10**6").replace("g = 10", "g=.001")),
    )
    ballast = small_disk / "ballast"
    ballast.write_bytes(bytes(1_030_000 if statistics else 900_000))
    with pytest.raises(StoreWriteError) as caught:
        gl.ensemble(wide, T, n, **how, store=small_disk / "a")
    message, result = str(caught.value), caught.value.result
    assert str(small_disk / "a") in message
    for words in ("No space left on device", "KiB are needed", "are free", "run the same call"):
        assert words in message
    assert isinstance(caught.value, OSError)
    assert caught.value.errno == 28
    assert result is not None
    assert result.stopped == "error"
    store = gl.open_store(small_disk / "a")
    assert store.verify() == []
    assert store.n <= len(result) <= n
    assert store.n < n
    assert not list(small_disk.rglob("*.part"))
    if not statistics:
        assert (
            result.counts.tobytes()
            == gl.ensemble(wide, T, n, **how).counts[result.indices].tobytes()
        )
    # Nothing that was stored is lost, and the same call goes on.
    ballast.unlink()
    whole = gl.ensemble(wide, T, n, **how, store=small_disk / "a")
    assert_identical(gl.ensemble(wide, T, n, **how), whole)


@pytest.mark.skipif(sys.platform == "win32", reason="limits of POSIX")
def test_a_limit_on_the_size_of_files_stops_a_run_and_keeps_what_is_finished(tmp_path):
    body = """
        import resource
        gl.ensemble(network, t, 100, rng=1, threads=1)
        resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, resource.RLIM_INFINITY))
        portion_runs._LEAST_SECONDS = 10.0
        try:
            gl.ensemble(network, t, 900, rng=87, store=sys.argv[1])
        except gl.errors.StoreWriteError as error:
            resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY,) * 2)
            whole = gl.ensemble(network, t, 900, rng=87, store=sys.argv[1])
            same = bool((whole.counts == error.result.counts).all())
            print(json.dumps([str(error), len(error.result), same]))
    """
    message, n, same = output_of(start(body, tmp_path / "a"))
    assert "File too large" in message
    assert n == 900
    assert same


@pytest.fixture
def read_only(tmp_path):
    """Return a function that makes a folder read-only for everyone, also for root."""
    mounted = []

    def protect(folder: Path) -> None:
        if os.geteuid() != 0:
            for path in (folder, *folder.rglob("*")):
                path.chmod(0o555 if path.is_dir() else 0o444)
            return
        for options in (["--bind"], ["-o", "remount,ro,bind"]):
            done = subprocess.run(
                ["mount", *options, str(folder), str(folder)], capture_output=True, check=False
            )
            if done.returncode:
                pytest.skip(f"cannot mount read-only: {done.stderr.decode().strip()}")
            if options == ["--bind"]:
                mounted.append(folder)

    yield protect
    for folder in mounted:
        subprocess.run(["umount", "-l", str(folder)], check=True)
    if not mounted:
        for path in (tmp_path, *tmp_path.rglob("*")):
            path.chmod(0o755 if path.is_dir() else 0o644)


@pytest.mark.skipif(sys.platform == "win32", reason="permissions of POSIX")
def test_a_read_only_store_gives_what_it_has_and_refuses_to_grow(tmp_path, read_only):
    usual = gl.ensemble(SLOW, T, 50, rng=88, store=tmp_path / "a")
    (tmp_path / "b").mkdir()
    for name in "ab":
        read_only(tmp_path / name)
    assert_identical(usual, gl.ensemble(SLOW, T, 50, rng=88, store=tmp_path / "a"))
    assert_identical(usual, gl.open_store(tmp_path / "a").load())
    for folder in (tmp_path / "a", tmp_path / "b" / "new"):
        with pytest.raises(StoreWriteError, match=r"cannot write to the store .*or the folder wri"):
            gl.ensemble(SLOW, T, 60, rng=88, store=folder)
    with pytest.raises(gl.errors.StoreError, match="rng is 88 there and 89 here"):
        gl.ensemble(SLOW, T, 60, rng=89, store=tmp_path / "a")


# ---- Damaged chunks ------------------------------------------------------------------------------


def harmed(contents: bytes) -> dict[str, bytes]:
    """Return what can become of a file."""
    rng, harms = np.random.default_rng(89), {"emptied": b"", "cut": contents[: len(contents) // 2]}
    harms["grown"] = contents + b"\0"
    harms["zeros"] = bytes(len(contents))
    harms["text"] = b"<html>404 Not Found</html>"
    for place in [0, 31, len(contents) - 1, *rng.integers(0, len(contents), 40).tolist()]:
        flipped = bytearray(contents)
        flipped[place] ^= 1 << int(rng.integers(8))
        harms[f"bit at {place}"] = bytes(flipped)
    return harms


@pytest.mark.parametrize("statistics", [False, True])
def test_a_damaged_chunk_is_named_and_computed_again(statistics, tmp_path, monkeypatch):
    how: dict[str, Any] = {"rng": 90, "statistics": statistics}
    if not statistics:
        # Also what is not compressed, whose arrays are under another checksum.
        monkeypatch.setattr("gillespy_lite.stores.writing._SHARE_FOR_COMPRESSION", 0.0)
    for n in (256, 512):
        usual = gl.ensemble(SLOW, T, n, **how, store=tmp_path / "a")
    path = tmp_path / "a" / "chunks" / "0000000256-0000000511.npz"
    other = path.with_name("0000000000-0000000255.npz").read_bytes()
    contents = path.read_bytes()
    for harm, bad in harmed(contents).items():
        path.write_bytes(bad)
        store = gl.open_store(tmp_path / "a")
        (problem,) = store.verify()
        assert path.name in problem, harm
        with pytest.raises(DamagedFileError, match=r"0511.npz.*trajectories 256 to 511 again"):
            store.load()
    with pytest.warns(StoreWarning, match=r"0511.npz.*removed.*256 to 511 are computed again"):
        again = gl.ensemble(SLOW, T, 512, **how, store=tmp_path / "a")
    assert_identical(usual, again)
    assert gl.open_store(tmp_path / "a").verify() == []
    assert path.with_name("0000000000-0000000255.npz").read_bytes() == other
    # Under another name it would be other trajectories.
    path.rename(path.with_name("0000000512-0000000767.npz"))
    with pytest.warns(StoreWarning, match="its name was changed"):
        more = gl.ensemble(SLOW, T, 768, **how, store=tmp_path / "a")
    assert_identical(gl.ensemble(SLOW, T, 768, **how), more)


def test_what_a_killed_writer_left_is_removed(tmp_path):
    gl.ensemble(SLOW, T, 20, rng=91, store=tmp_path / "a")
    for name in (
        "chunks/.0000000020-0000000039.npz.0123456789abcdef.part",
        ".manifest.json.x.part",
    ):
        (tmp_path / "a" / name).write_bytes(b"half of it")
    (tmp_path / "a" / "chunks" / "notes.txt").write_text("mine")
    usual = gl.ensemble(SLOW, T, 40, rng=91)
    assert_identical(usual, gl.ensemble(SLOW, T, 40, rng=91, store=tmp_path / "a"))
    names = sorted(path.name for path in (tmp_path / "a").rglob("*"))
    assert names == [
        *("0000000000-0000000019.npz", "0000000020-0000000039.npz"),
        *("chunks", "lock", "manifest.json", "notes.txt"),
    ]
