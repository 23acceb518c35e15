"""Compiled kernels on disk: one signature each, loaded by the next process, and never the reason
why a run fails.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

import gillespy_lite as gl
from gillespy_lite.kernels.jit import cache_folder

# The two kernels of statistics stand for all in most tests here: every kernel is compiled and
# cached by the same decorator, and these compile in a fraction of the time of a method.
TWO_KERNELS = """
import json, os, time, warnings
import numpy as np
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    from gillespy_lite.kernels.jit import cache_folder, signatures
    from gillespy_lite.kernels.statistics import add_to_histograms, fill_moments
    counts = np.arange(24).reshape(4, 3, 2)
    chosen = np.arange(4)
    means, low, high = np.empty((3, 2)), np.empty((3, 2)), np.empty((3, 2))
    fill_moments(counts, np.empty((4, 3, 0)), chosen, means, np.empty((3, 2, 2)), low, high)
    bins, widths = np.zeros((3, 2, 8), np.int64), np.ones((3, 2), np.int64)
    add_to_histograms(counts, chosen, bins, widths)
assert np.array_equal(means, counts.mean(axis=0))
assert (bins.sum(axis=-1) == 4).all()
kernels = (add_to_histograms, fill_moments)
print(json.dumps({
    "warnings": [f"{w.category.__name__}: {w.message}" for w in caught],
    "hits": sum(sum(k.stats.cache_hits.values()) for k in kernels),
    "misses": sum(sum(k.stats.cache_misses.values()) for k in kernels),
    "signatures": signatures(),
    "folder": str(cache_folder()),
}))
"""


def run_python(code: str, **environment: str) -> dict[str, object]:
    """Run code in a process of its own; return the JSON that its last line prints."""
    # Never in the user's own cache, where it leaves what nobody asked for, and compiles it anew.
    assert environment
    kept = {
        name: value
        for name, value in os.environ.items()
        if name not in {"NUMBA_CACHE_DIR", "XDG_CACHE_HOME", "GILLESPY_LITE_CACHE_DIR"}
    }
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
        env={**kept, **environment},
    )
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout.splitlines()[-1])
    assert isinstance(answer, dict)
    return answer


def the_cache_of_the_tests() -> str:
    """Return the folder that the tests share, which soon has every kernel."""
    return str(cache_folder().parent.parent)


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a cache that holds the kernels of statistics, filled by a first process."""
    folder = tmp_path_factory.mktemp("filled")
    answer = run_python(TWO_KERNELS, GILLESPY_LITE_CACHE_DIR=str(folder))
    assert answer["warnings"] == []
    assert (answer["hits"], answer["misses"]) == (0, 2)
    assert Path(str(answer["folder"])).parent.parent == folder
    return folder


@pytest.fixture
def copied(filled: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(filled, tmp_path / "cache"))


def files_of(folder: Path, suffix: str) -> list[Path]:
    found = sorted(folder.rglob(f"*.{suffix}"))
    assert len(found) == 2
    return found


# ---- Signatures ----------------------------------------------------------------------------------


def test_kernels_have_one_signature_after_ten_networks():
    # In a process of its own, where nothing else has called them.
    answer = run_python(
        """
import json
import numpy as np
import gillespy_lite as gl
from gillespy_lite.kernels.jit import signatures

texts = [
    "species X",
    "species X = 3\\n0 -> X @ 1",
    "species X = 3\\nparam k = 1, g = 2\\n0 -> X @ k\\nX -> 0 @ g",
    "species A = 9, B = 9, C\\nobserve s = A + C\\nA + B <-> C @ 1, 2\\nC => 0 @ s/(1 + s)",
    "species X = 9\\n3 X -> 2 X @ 1\\n2 X -> 3 X @ 1",
    "species X = 9, Y\\nparam n = 2\\nX -> Y @ if(X > 2 and Y < 9, 1, n)\\nY => X @ hill(Y, 3, n)",
    "species X = 9\\nX -> 0 @ exp(-X)",
    "species " + ", ".join(f"S{i} = {i}" for i in range(66)) + "\\n"
    + "\\n".join(f"S{i} -> S{(i + 1) % 66} @ 1" for i in range(66)),
    "species X = 5, Y = 3\\nX + Y -> 2 Y @ 1\\nY -> 0 @ 1",
    "species X = 1000000\\n0 -> X @ 1e6\\nX -> 0 @ 1",
]
assert len(set(texts)) == 10
for text in texts:
    network = gl.Network.parse(text)
    names = network.species_names[:1] + network.observable_names
    grid = np.linspace(0, 0.1, 5)
    grid.setflags(write=False)
    for name, method in gl.METHODS.items():
        gl.simulate(network, 0.1, rng=1, method=name, outputs=names)
        gl.simulate(network, grid[::2], rng=1, method=name)
        if not method.is_stochastic:
            continue
        first = network.species_names[0]
        gl.simulate(network, [0.5, 0.6], rng=1, method=name, every_event=True, max_events=10**6,
                    stop_when=f"{first} > 1e9")
        for statistics in (False, True):
            gl.ensemble(network, [0, 0.1], 3, rng=1, method=name, threads=2,
                        statistics=statistics, outputs=names)
            gl.ensemble(network, [0, 0.1], 3, rng=1, method=name, threads=1,
                        statistics=statistics, stop_when=f"{first} > 1e9")
    changed = network.with_parameters({name: 1.5 for name in network.parameter_names})
    runs = gl.ensemble(changed.with_initial(), [0, 0.1], 3, rng=1)
    runs.replay(1)
print(json.dumps(signatures()))
""",
        GILLESPY_LITE_CACHE_DIR=the_cache_of_the_tests(),
    )
    names = {name.rsplit(".", 1)[1] for name in answer}
    methods = {f"run_{name}" for name, method in gl.METHODS.items() if method.is_stochastic}
    assert names == methods | {
        "run_direct_laws",
        "run_direct_pairs",
        "run_direct_triples",
        "fill_moments",
        "add_to_histograms",
        "fill_rates",
        "fill_rate_derivatives",
        "fill_path_state",
        "fill_values",
        "find_first_change",
        "find_next_due",
        "reset_events",
    }
    assert set(answer.values()) == {1}


def test_kernels_of_cells_have_one_signature_after_all_kinds_of_calls():
    answer = run_python(
        """
import json
import numpy as np
import gillespy_lite as gl
from gillespy_lite.kernels.jit import signatures
from gillespy_lite.ode_rnn import CELLS, Recurrence

texts = [
    "species X",
    "species X = 3\\n0 -> X @ 1",
    "param x0 = 3\\nspecies X = x0, Y\\nparam k = 1, g = 2\\nobserve s = X + k*Y\\n0 -> X @ k\\n"
    "X -> Y @ g*sin(t)",
    "variable X = 1, Y = 2\\nparam k = 1\\nX' = k*Y - X^2\\nY' = X/(1 + Y)",
    "species " + ", ".join(f"S{i} = {i}" for i in range(20)) + "\\n"
    + "\\n".join(f"S{i} -> S{(i + 1) % 20} @ 1" for i in range(20)),
]
for text in texts:
    network = gl.Network.parse(text)
    names = network.parameter_names
    for cell, kind in CELLS.items():
        for inputs, interpolation in (([], "previous"), (names[-1:], "linear")):
            recurrence = Recurrence(network, cell, inputs=inputs, interpolation=interpolation)
            noisy = {"rng": 1} if kind.is_stochastic else {}
            grid = np.linspace(0, 0.2, 5)
            grid.setflags(write=False)
            rows = np.asfortranarray(np.tile(recurrence.parameter_values, (9, 1)))
            starts = np.tile(recurrence.initial_values, (9, 1))[:, ::1]
            for options in (
                {}, {"for_gradient": True}, {"checkpoints": True}, {"t": grid[::2]},
                {"t": [0, 1], "parameters": rows}, {"initial": starts, "threads": 2},
                {"inputs": {name: np.ones((2, 5)) for name in inputs}},
            ):
                path = recurrence.unroll(**{"t": grid, **noisy, **options})
                path.outputs()
                if kind.has_gradient:
                    path.pull_back(np.ones(path.states.shape).astype(np.float32))
                    path.pull_back({
                        name: np.asfortranarray(path[name]) for name in recurrence.output_names
                    })
                    path.sensitivities([*recurrence.parameter_names, *(
                        f"{name}(0)" for name in recurrence.state_names
                    ), *(f"{name}[1]" for name in inputs)])
print(json.dumps(signatures()))
""",
        GILLESPY_LITE_CACHE_DIR=the_cache_of_the_tests(),
    )
    names = {name.rsplit(".", 1)[1] for name in answer}
    assert names == {
        *("unroll_explicit_1", "unroll_explicit_8", "retrace_explicit_1", "retrace_explicit_8"),
        *("push_explicit", "unroll_rosenbrock", "retrace_rosenbrock", "push_rosenbrock"),
        *("adapt_explicit", "adapt_rosenbrock", "unroll_leap", "fill_normal_rows"),
        *("run_rows", "pull_back_rows", "push_rows"),
    }
    assert set(answer.values()) == {1}


# ---- The next process ---------------------------------------------------------------------------


def test_second_process_loads_and_compiles_nothing(copied):
    before = {path: path.stat().st_mtime_ns for path in copied.rglob("*.nb*")}
    answer = run_python(TWO_KERNELS, GILLESPY_LITE_CACHE_DIR=str(copied))
    assert (answer["hits"], answer["misses"]) == (2, 0)
    assert answer["warnings"] == []
    assert set(answer["signatures"].values()) == {1}
    assert {path: path.stat().st_mtime_ns for path in copied.rglob("*.nb*")} == before


def test_second_process_loads_the_kernels_of_every_method():
    # This process has them in its own cache, compiled now or before.
    network = gl.Network.parse("species X = 9\n0 -> X @ 10\nX -> 0 @ 1")
    stochastic = [name for name, method in gl.METHODS.items() if method.is_stochastic]
    here = [gl.simulate(network, 5, method=name, rng=1).final("X") for name in stochastic]
    answer = run_python(
        f"""
import json, time
started = time.perf_counter()
import gillespy_lite as gl
from gillespy_lite.kernels.jit import _KERNELS
network = gl.Network.parse("species X = 9\\n0 -> X @ 10\\nX -> 0 @ 1")
found, hits, spent = [], 0, 0.0
for name in {stochastic!r}:
    found.append(int(gl.simulate(network, 5, method=name, rng=1).final("X")))
    spent = spent or time.perf_counter() - started
for one in _KERNELS:
    hits += sum(one.stats.cache_hits.values())
    assert not one.stats.cache_misses, one
print(json.dumps({{"found": found, "hits": hits, "spent": spent}}))
""",
        GILLESPY_LITE_CACHE_DIR=the_cache_of_the_tests(),
    )
    assert answer["found"] == here
    assert answer["hits"] == len(stochastic)
    # 1.5 s to the first result is the goal, on an idle machine; compiling takes 10 and more.
    assert answer["spent"] < 20.0


def test_second_process_solves_rate_equations_without_compiling_anything():
    # Parts of kernels that Python calls would be compiled in every process: no cache has them.
    code = """
import json, sys
import gillespy_lite as gl
network = gl.Network.parse(
    "species X = 9, Y\\nX -> Y @ if(X > 3, 1, 2)\\nwhen X < 5, after 0.5: Y = Y + 7"
)
path = gl.simulate(network, 5, method="ode", stop_when="Y > 12")
n_parts = sum(
    "_for_python" in vars(one)
    for name, module in sys.modules.items()
    if name.startswith("gillespy_lite.kernels.")
    for one in vars(module).values()
    if type(one).__name__ == "_Part"
)
from gillespy_lite.kernels.jit import n_compiled
print(json.dumps({"Y": float(path.final("Y")), "parts": n_parts, "kernels": n_compiled()}))
"""
    run_python(code, GILLESPY_LITE_CACHE_DIR=the_cache_of_the_tests())
    answer = run_python(code, GILLESPY_LITE_CACHE_DIR=the_cache_of_the_tests())
    assert answer["Y"] > 12.0
    assert (answer["parts"], answer["kernels"]) == (0, 0)


# Kernels that take a second to compile in place of many; the notice comes after none.
FIRST_USE = """
import json, sys
import numpy as np
from gillespy_lite import progress
progress._NOTICE.seconds = 0.0
from gillespy_lite.kernels.statistics import fill_moments
means, low, high = np.empty((3, 2)), np.empty((3, 2)), np.empty((3, 2))
def once(n_values):
    fill_moments(np.arange(24).reshape(4, 3, 2), np.empty((4, 3, n_values)), np.arange(4), means,
                 np.empty((3, 2, 2)), low, high)
once(0)
print(json.dumps({"timer": str(progress._NOTICE._timer), "error": ""}))
"""


def stderr_of(code: str, cache: Path) -> str:
    return subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        timeout=180,
        check=True,
        env={**os.environ, "GILLESPY_LITE_CACHE_DIR": str(cache)},
    ).stderr


def test_a_compilation_is_announced_and_a_kernel_from_the_disk_is_not(tmp_path):
    first = stderr_of(FIRST_USE, tmp_path)
    assert first.startswith("gillespy_lite: compiling fill_moments, once after installing")
    assert str(tmp_path) in first
    assert first.count("\n") == 1
    assert stderr_of(FIRST_USE, tmp_path) == ""
    # Within the time that is taken for long, nothing is said.
    quick = FIRST_USE.replace("seconds = 0.0", "seconds = 1e6")
    assert stderr_of(quick, tmp_path / "other") == ""


def test_kernels_from_the_disk_are_loaded_without_the_compiler(tmp_path):
    # Numba's own way brings in SciPy's linear algebra and some 400 modules first, .3 s.
    program = (
        FIRST_USE
        + """
print(json.dumps({"modules": [m for m in ("scipy.linalg", "numba.np.linalg") if m in sys.modules]}))
"""
    )
    cold = run_python(program, GILLESPY_LITE_CACHE_DIR=str(tmp_path))
    assert cold["modules"]
    warm = run_python(program, GILLESPY_LITE_CACHE_DIR=str(tmp_path))
    assert warm["modules"] == []
    # What needs the compiler after that finds it.
    answer = run_python(
        program
        + """
import numba
@numba.njit
def dot(a):
    return (a @ a)[0, 0]
print(json.dumps({"dot": dot(2.0 * np.eye(3))}))
""",
        GILLESPY_LITE_CACHE_DIR=str(tmp_path),
    )
    assert answer["dot"] == 4.0


def test_after_warmup_a_first_run_compiles_nothing():
    base = the_cache_of_the_tests()
    code = """
import json
from gillespy_lite.kernels.jit import n_compiled
from gillespy_lite.cli import main
assert main(["warmup"]) == 0
"""
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        timeout=300,
        check=True,
        env={**os.environ, "GILLESPY_LITE_CACHE_DIR": base},
    )
    *lines, last = done.stdout.splitlines()
    assert [line.split(":")[0] for line in lines] == ["direct"] * 4 + ["statistics of ensembles"]
    assert all(line.endswith(" s") for line in lines)
    assert last.startswith(f"kernels are in {cache_folder()}; ")
    assert done.stderr == ""
    answer = run_python(
        """
import json
import gillespy_lite as gl
from gillespy_lite.kernels.jit import n_compiled
gl.simulate(gl.models.vilar(), 1.0, rng=1, every_event=True)
gl.simulate(gl.models.vilar(), 1.0, rng=1, stop_when="A > 3")
gl.ensemble(gl.models.vilar(), 1.0, 3, rng=1)
gl.ensemble(gl.models.schlogl(), 0.01, 3, rng=1, statistics=True)
print(json.dumps({"compiled": n_compiled()}))
""",
        GILLESPY_LITE_CACHE_DIR=base,
    )
    assert answer["compiled"] == 0


def test_changed_kernel_sources_get_a_folder_of_their_own(monkeypatch):
    before = cache_folder()
    monkeypatch.setattr("gillespy_lite.kernels.jit._source_digest", lambda: "0" * 64)
    assert cache_folder() != before
    assert cache_folder().parent == before.parent


# ---- Damage -------------------------------------------------------------------------------------


def flip_a_bit(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 4
    path.write_bytes(content)


def cut_in_half(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def empty(path: Path) -> None:
    path.write_bytes(b"")


def fill_with_text(path: Path) -> None:
    path.write_bytes(b"this is no kernel\n" * 100)


DAMAGES = [flip_a_bit, cut_in_half, empty, fill_with_text]


@pytest.mark.parametrize("damage", DAMAGES)
def test_damaged_files_cost_a_compilation_and_one_warning(copied, damage):
    # The index of one kernel and the machine code of the other.
    damage(files_of(copied, "nbi")[0])
    damage(files_of(copied, "nbc")[1])
    answer = run_python(TWO_KERNELS, GILLESPY_LITE_CACHE_DIR=str(copied))
    assert answer["hits"] == 0
    assert len(answer["warnings"]) == 1
    assert answer["warnings"][0].startswith("RuntimeWarning: ")
    assert "damaged" in answer["warnings"][0]
    if damage is flip_a_bit:
        # What was damaged has been replaced.
        again = run_python(TWO_KERNELS, GILLESPY_LITE_CACHE_DIR=str(copied))
        assert (again["hits"], again["warnings"]) == (2, [])


def test_missing_data_file_is_compiled_again_without_a_word(copied):
    for path in files_of(copied, "nbc"):
        path.unlink()
    answer = run_python(TWO_KERNELS, GILLESPY_LITE_CACHE_DIR=str(copied))
    assert (answer["hits"], answer["misses"], answer["warnings"]) == (0, 2, [])
    again = run_python(TWO_KERNELS, GILLESPY_LITE_CACHE_DIR=str(copied))
    assert again["hits"] == 2


def test_pickle_that_was_planted_is_not_run(copied, tmp_path):
    # A file that someone else wrote has no digest of ours in front.
    mark = tmp_path / "mark"
    planted = f"cos\nsystem\n(S'touch {mark}'\ntR.".encode()
    for path in files_of(copied, "nbi"):
        path.write_bytes(planted)
    for path in files_of(copied, "nbc"):
        path.write_bytes(b"\0" * 32 + planted)
    answer = run_python(TWO_KERNELS, GILLESPY_LITE_CACHE_DIR=str(copied))
    assert len(answer["warnings"]) == 1
    assert not mark.exists()


# ---- Nowhere to write ---------------------------------------------------------------------------


def test_folder_that_cannot_be_made_costs_one_warning(tmp_path):
    # A file stands where the folder should be: that stops even the superuser.
    blocked = tmp_path / "file"
    blocked.write_text("in the way")
    answer = run_python(TWO_KERNELS, GILLESPY_LITE_CACHE_DIR=str(blocked))
    assert (answer["hits"], answer["misses"]) == (0, 2)
    assert len(answer["warnings"]) == 1
    assert "cannot be kept on disk" in answer["warnings"][0]
    assert "GILLESPY_LITE_CACHE_DIR" in answer["warnings"][0]
    assert blocked.read_text() == "in the way"


@pytest.mark.skipif(
    sys.platform == "win32" or not hasattr(os, "geteuid") or os.geteuid() == 0,
    reason="permissions do not stop the superuser",
)
def test_folder_that_is_read_only_costs_one_warning(tmp_path):
    folder = tmp_path / "locked"
    folder.mkdir()
    folder.chmod(0o500)
    answer = run_python(TWO_KERNELS, GILLESPY_LITE_CACHE_DIR=str(folder))
    assert len(answer["warnings"]) == 1


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """Return a folder on a disk of its own, which holds 64 KiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(folder)]
    try:
        mounted = subprocess.run(command, capture_output=True, check=False).returncode == 0
    except OSError:
        mounted = False
    if not mounted:
        pytest.skip("this system does not let this user mount a disk")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def test_a_disk_that_is_full_costs_one_warning(small_disk):
    (small_disk / "filling").write_bytes(b"x" * 50_000)
    answer = run_python(TWO_KERNELS, GILLESPY_LITE_CACHE_DIR=str(small_disk))
    assert (answer["hits"], answer["misses"]) == (0, 2)
    assert len(answer["warnings"]) == 1
    assert "No space left on device" in answer["warnings"][0]
    # Nothing half written stays behind.
    assert not list(small_disk.rglob("*.nbc"))


def test_a_disk_that_is_read_only_still_gives_its_kernels(small_disk, filled):
    # Another one than `small_disk` was, large enough for the kernels.
    subprocess.run(["mount", "-o", "remount,size=8m", str(small_disk)], check=True)
    shutil.copytree(filled / "gillespy_lite", small_disk / "gillespy_lite")
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    answer = run_python(TWO_KERNELS, GILLESPY_LITE_CACHE_DIR=str(small_disk))
    assert (answer["hits"], answer["misses"], answer["warnings"]) == (2, 0, [])
    # And one that it does not have is compiled.
    subprocess.run(["mount", "-o", "remount,rw", str(small_disk)], check=True)
    for path in small_disk.rglob("*fill_moments*"):
        path.unlink()
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    answer = run_python(TWO_KERNELS, GILLESPY_LITE_CACHE_DIR=str(small_disk))
    assert (answer["hits"], answer["misses"]) == (1, 1)
    assert len(answer["warnings"]) == 1
    assert "Read-only file system" in answer["warnings"][0]


def test_processes_that_start_together_on_an_empty_cache_fill_it_together(tmp_path):
    with ThreadPoolExecutor(2) as pool:
        answers = list(
            pool.map(
                lambda _: run_python(TWO_KERNELS, GILLESPY_LITE_CACHE_DIR=str(tmp_path)), range(2)
            )
        )
    for answer in answers:
        assert answer["warnings"] == []
        assert answer["hits"] + answer["misses"] == 2
    # One process compiles a kernel, and the other waits for it.
    assert sum(answer["misses"] for answer in answers) == 2
    after = run_python(TWO_KERNELS, GILLESPY_LITE_CACHE_DIR=str(tmp_path))
    assert (after["hits"], after["misses"], after["warnings"]) == (2, 0, [])
    assert not list(tmp_path.rglob("*.tmp*")) + list(tmp_path.rglob("*.lock"))


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="homes are found otherwise")
def test_home_that_cannot_be_written_costs_one_warning(tmp_path):
    home = tmp_path / "home"
    home.write_text("no folder")
    answer = run_python(TWO_KERNELS, HOME=str(home))
    assert str(answer["folder"]).startswith(str(home))
    assert len(answer["warnings"]) == 1


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="homes are found otherwise")
@pytest.mark.parametrize("variable", ["XDG_CACHE_HOME", "NUMBA_CACHE_DIR"])
def test_usual_variables_choose_the_folder(variable, filled):
    answer = run_python(TWO_KERNELS, **{variable: str(filled), "HOME": "/nonexistent"})
    assert Path(str(answer["folder"])).parent.parent == filled
    assert (answer["hits"], answer["warnings"]) == (2, [])


def test_run_with_a_damaged_kernel_gives_the_same_numbers(tmp_path):
    # The real thing, once: a run whose machine code on disk has a flipped bit.
    network = gl.Network.parse("species X = 9\n0 -> X @ 10\nX -> 0 @ 1")
    here = gl.simulate(network, 5, method="ode")
    shutil.copytree(cache_folder(), tmp_path / "gillespy_lite" / cache_folder().name)
    (path,) = tmp_path.rglob("rate_equations.fill_rates-*.nbc")
    flip_a_bit(path)
    answer = run_python(
        """
import json, warnings
import gillespy_lite as gl
network = gl.Network.parse("species X = 9\\n0 -> X @ 10\\nX -> 0 @ 1")
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    path = gl.simulate(network, 5, method="ode")
print(json.dumps({"X": path["X"].tolist(), "warnings": len(caught)}))
""",
        GILLESPY_LITE_CACHE_DIR=str(tmp_path),
    )
    assert answer["X"] == here["X"].tolist()
    assert answer["warnings"] == 1
