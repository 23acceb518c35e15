"""Lanes that leap go the very paths of single runs of tau-leaping, bit for bit.

So the laws in test_tau_leaping.py, which samples in lanes, hold for single paths, too.
"""

from __future__ import annotations

import importlib.util
import itertools
import os
import platform
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from test_determinism import EVERYTHING, MIXED, assert_identical, ring
from test_exact_laws import LAWS
from test_lanes import BIRTH_DEATH, NETWORKS, REACTIONS, TROUBLES
from test_tau_leaping import ALWAYS_LEAP, EDGE_OPTIONS, EDGES, LINEAR

import gillespy_lite as gl
from gillespy_lite.errors import Interrupted, MethodError, SimulationError
from gillespy_lite.kernels import lane_leaps
from gillespy_lite.kernels.lane_leaps import run_leap_lanes
from gillespy_lite.kernels.lane_vectors import LANES
from gillespy_lite.kernels.lanes import LEFT_OVER
from gillespy_lite.kernels.walking import ALL_DONE
from gillespy_lite.models import MODELS
from gillespy_lite.run_plan import RunPlan, plan_run

# Leaps, bursts of events, critical reactions, third order, rate laws, and leaps that are refused.
DECAYING_DIMER = gl.Network.parse(
    "species S1 = 20000, S2, S3\nS1 -> 0 @ 1\n2 S1 -> S2 @ 0.002\nS2 -> 2 S1 @ 0.5\nS2 -> S3 @ 0.04"
)
EPIDEMIC = gl.Network.parse(
    "species S = 99000, I = 1000, R\nS + I -> 2 I @ 2e-5\nI -> R @ 1\nobserve all = S + I + R"
)
SCHLOGL = gl.Network.parse(
    "species X = 2500\n2 X -> 3 X @ 0.003\n3 X -> 2 X @ 1e-6\n0 -> X @ 2000\nX -> 0 @ 3.5"
)
STEEP = gl.Network.parse("""
species A = 4000, B = 3000, C = 20
param K = 2000
0 => A @ 9000*hillr(B, 2000, 4)
A => B @ A^2/(K + A)
B -> 0 @ 0.3 + B/9000
C + B -> C @ 1e-3*sqrt(1 + C)
0 => C @ 20*exp(-A/3000)
C -> 0 @ 1
2 A + B -> A @ 1e-9
""")
LEAPING = {
    "decaying dimers": (DECAYING_DIMER, 20.0),
    "an epidemic": (EPIDEMIC, 12.0),
    "Schlogl": (SCHLOGL, 4.0),
    "steep laws": (STEEP, 4.0),
    "linear": (LINEAR, 4.0),
}


def both(network: gl.Network, t: Any, n: int, **how: Any) -> tuple[Any, Any]:
    """Return an ensemble by single paths and by lanes."""
    runs = [
        gl.ensemble(network, t, n, method="tau_leaping", engine=engine, **how)
        for engine in ("table", "lanes")
    ]
    assert [run.provenance.engine for run in runs] == ["table", "lanes"]
    return runs[0], runs[1]


# ---- The same bits -------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [*LEAPING, *NETWORKS])
@pytest.mark.parametrize("n", [1, 33, 200])
def test_lanes_that_leap_give_the_bits_of_single_paths(name, n):
    network, t = {**NETWORKS, **LEAPING}[name]
    for how in ({}, {"outputs": [*network.observable_names, network.species_names[0]]}):
        assert_identical(*both(network, t, n, rng=5, **how))


@pytest.mark.parametrize(
    "options",
    [
        ALWAYS_LEAP,
        {"epsilon": 0.3},
        {"epsilon": 0.003, "leap_worth": 2.0, "single_steps": 7},
        {"critical_count": 0},
        {"critical_count": 3000},
        {"tau": 0.05},
        {"tau": 2.0},
    ],
    ids=str,
)
@pytest.mark.parametrize("name", LEAPING)
def test_every_option_gives_the_bits_of_single_paths(name, options):
    network, t = LEAPING[name]
    assert_identical(*both(network, np.linspace(0.0, t / 4, 7), 70, rng=9, **options))


@pytest.mark.parametrize("options", EDGE_OPTIONS, ids=str)
@pytest.mark.parametrize("name", EDGES)
def test_edges_of_small_counts_give_the_bits_of_single_paths(name, options):
    # Here leaps are refused all the time, and shorter ones tried.
    network = gl.Network.parse(EDGES[name])
    one, other = both(network, [0.0, 1.0, 9.0], 100, rng=1, **{**ALWAYS_LEAP, **options})
    assert_identical(one, other)
    assert other.counts.min() >= 0


@pytest.mark.parametrize("model", MODELS)
def test_lanes_that_leap_give_the_bits_of_single_paths_for_every_stock_model(model):
    stock = MODELS[model]
    assert_identical(*both(stock.build(), stock.t_end / 40, 40, rng=6))


@pytest.mark.parametrize("name", [name for name in LAWS if "66" not in name])
def test_lanes_that_leap_give_the_bits_of_single_paths_for_every_law(name):
    law = LAWS[name]
    assert_identical(*both(gl.Network.parse(law.text), law.times, min(law.n, 1000), rng=1))


@pytest.mark.parametrize("statistics", [False, True])
def test_threads_and_chunks_of_lanes_that_leap_give_the_same_bits(statistics):
    how: dict[str, Any] = {"rng": 21, "statistics": statistics}
    usual, _ = both(EPIDEMIC, 8, 150, **how)
    for threads, chunk_size in itertools.product((1, 2), (None, 1, 100)):
        assert_identical(
            usual,
            gl.ensemble(
                EPIDEMIC, 8, 150, method="tau_leaping", engine="lanes", threads=threads,
                chunk_size=chunk_size, **how,
            ),
        )  # fmt: skip
    assert_identical(*both(MIXED, 4, 300, rng=3, statistics=statistics, **EVERYTHING))


@pytest.mark.parametrize("condition", ["I >= 10000", "R > S", "S > 1e9", "S > 0"])
def test_conditions_end_lanes_that_leap_at_the_same_instants(condition):
    one, other = both(EPIDEMIC, np.linspace(0, 9, 12), 100, rng=3, stop_when=condition)
    assert_identical(one, other)
    assert np.isfinite(one.hitting_times).all() == (condition != "S > 1e9")


def leap_plan(
    network: gl.Network, t: Any, n: int = 100, stop_when: str | None = None, **options: Any
) -> RunPlan:
    return plan_run(
        network, t, method="tau_leaping", rng=8, seed=None, every_event=False, outputs=None,
        stop_when=stop_when, max_events=None, method_options=options, engine="lanes",
        n_trajectories=n,
    )  # fmt: skip


def lanes_in_pieces(plan: RunPlan, n: int, budget: int, kernel: Any = run_leap_lanes) -> Any:
    output, queue = plan.output(n), np.zeros(1, dtype=np.int64)
    walker, status = plan.lane_walker(queue), -1
    while status != ALL_DONE:
        status = kernel(plan.engine.lanes, plan.request, walker, output, 0, budget)
    return output


@pytest.mark.parametrize("budget", [1, 7 * LANES, 100_000])
def test_where_lanes_that_leap_are_stopped_never_changes_a_path(budget):
    times = [0, 1, 3, 8]
    output = lanes_in_pieces(leap_plan(EPIDEMIC, times, stop_when="R > 60000"), 100, budget)
    usual = gl.ensemble(
        EPIDEMIC, times, 100, method="tau_leaping", engine="table", rng=8, stop_when="R > 60000"
    )
    assert np.array_equal(output.counts, usual.counts)
    assert output.hitting_time.tobytes() == usual.hitting_times.tobytes()
    assert np.array_equal(output.n_events, usual.n_events)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(REACTIONS, min_size=1, max_size=7), st.sampled_from([5, 300]), st.booleans())
def test_random_networks_leap_to_the_same_bits_or_the_same_error(reactions, count, always):
    lines = [
        f"{left} {arrow} {right} @ abs({rate})/(1 + abs({rate}))"
        for left, right, arrow, rate in reactions
        if left != right
    ]
    network = gl.Network.parse(
        f"species A = {count}, B = {count}, C\nparam k = 0.7\n" + "\n".join(lines)
    )
    outcomes = []
    for engine in ("table", "lanes"):
        try:
            outcomes.append(
                gl.ensemble(
                    network, [0, 0.01, 0.1], 40, method="tau_leaping", engine=engine, rng=2,
                    max_events=300, threads=1, **(ALWAYS_LEAP if always else {}),
                )
            )  # fmt: skip
        except SimulationError as error:
            outcomes.append(type(error))
        except MethodError:
            assert engine == "lanes"
            assert network.n_reactions == 0
            return
    if isinstance(outcomes[0], type):
        assert outcomes[0] is outcomes[1]
    else:
        assert_identical(*outcomes)


# A process in which nothing is compiled, or in which the processor seems to be another, prints a
# digest of what lanes give.
DIGEST = """
import hashlib, sys
sys.path.insert(0, {folder!r})
import gillespy_lite as gl
from test_lane_leaps import SCHLOGL, SQUARES
digest = hashlib.sha256()
for network, t in ((SCHLOGL, 0.05), (SQUARES, 0.1)):
    run = gl.ensemble(
        network, [0, t], 34, method="tau_leaping", engine={engine!r}, rng=3, threads=1
    )
    digest.update(run.counts.tobytes() + run.n_events.tobytes())
print(digest.hexdigest())
"""
# Without functions of which the C libraries differ in the last bit.
SQUARES = gl.Network.parse(
    "species A = 4000, B = 3000\n0 => A @ 9000*hillr(B, 2000, 4)\nA => B @ A^2/(2000 + A)\n"
    "B -> 0 @ 1\n2 A + B -> A @ 1e-9"
)


def digest_of(engine: str, **environment: str) -> str:
    folder = str(Path(__file__).parent)
    process = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", DIGEST.format(folder=folder, engine=engine)],
        capture_output=True, text=True, check=True, timeout=400,
        env={**os.environ, **environment},
    )  # fmt: skip
    return process.stdout.strip()


def test_lanes_that_leap_compiled_or_not_and_on_older_processors_give_the_same_bits(tmp_path):
    usual = digest_of("table")
    assert digest_of("lanes") == usual
    assert digest_of("lanes", NUMBA_DISABLE_JIT="1") == usual
    if platform.machine().lower() in {"x86_64", "amd64"}:
        # SSE2 only, the least that such a processor has.
        old = {"NUMBA_CPU_NAME": "x86-64", "NUMBA_CPU_FEATURES": ""}
        assert digest_of("lanes", GILLESPY_LITE_CACHE_DIR=str(tmp_path), **old) == usual


# ---- What lanes leave over -----------------------------------------------------------------------

LEAP_TROUBLES = {
    **TROUBLES,
    "a limit of events": ("species A = 40\n0 -> A @ 40\nA -> 0 @ 1", {"max_events": 90}),
    "a count beyond doubles by leaps": ("species X = 1000\nX -> 2 X @ 20", {}),
    "a mean beyond doubles": ("species X\n0 -> X @ 1e300", {}),
    "a limit of leaps": ("species X = 1000000\nX -> 0 @ 1", {"max_events": 50}),
    "a law that fails on the way": ("species X = 9000\nX => 0 @ 9000*sqrt(X - 2000.5)", {}),
}


@pytest.mark.parametrize("name", LEAP_TROUBLES)
def test_trouble_in_lanes_that_leap_is_the_same_error_with_the_finished_paths(name):
    text, how = LEAP_TROUBLES[name]
    errors = []
    for engine in ("table", "lanes"):
        with pytest.raises(SimulationError) as caught:
            gl.ensemble(
                gl.Network.parse(text), [1, 2, 5], 64, method="tau_leaping", rng=3, threads=1,
                engine=engine, **how,
            )  # fmt: skip
        errors.append(caught.value)
    assert type(errors[0]) is type(errors[1])
    assert str(errors[0]) == str(errors[1])


def test_large_counts_leap_to_the_same_bits_and_larger_ones_are_left_over():
    network = gl.Network.parse(f"species A = {10**12}, B\nA -> B @ 1\nB -> A @ 0.3")
    plan = leap_plan(network, [0, 1, 3], 40)
    assert (lanes_in_pieces(plan, 40, 10_000).outcome != LEFT_OVER).all()
    assert_identical(*both(network, [0, 1, 3], 40, rng=2))
    # Firings of 1e15 molecules at once: the scalar kernel does them, and nobody notices.
    network = gl.Network.parse(f"species A = {2**51}, B\nA -> B @ 1\nB -> A @ 0.3")
    plan = leap_plan(network, [0, 1, 3], 40)
    assert (lanes_in_pieces(plan, 40, 10_000).outcome == LEFT_OVER).all()
    assert_identical(*both(network, [0, 1, 3], 40, rng=2))


def test_lanes_that_wait_for_others_are_not_left_over():
    # Most lanes make single events for long; the one that began at another time waits.
    network = gl.Network.parse("species X = 40\n0 -> X @ 40\nX -> 0 @ 1")
    plan = leap_plan(network, [0, 100], 33)
    output = lanes_in_pieces(plan, 33, 10**9)
    assert (output.outcome != LEFT_OVER).all()
    assert output.n_events.max() > 5_000


# ---- The choice ----------------------------------------------------------------------------------


def test_lanes_are_chosen_for_many_paths_that_leap_and_said():
    many = gl.ensemble(EPIDEMIC, 3, 40, method="tau_leaping", rng=1)
    assert many.provenance.engine == "lanes"
    assert many.provenance.engine_reason == "auto: 16 or more trajectories"
    few = gl.ensemble(EPIDEMIC, 3, 3, method="tau_leaping", rng=1)
    assert few.provenance.engine == "table"
    assert np.array_equal(few.counts, many.counts[:3])
    one = gl.simulate(EPIDEMIC, 3, method="tau_leaping", rng=1)
    assert np.array_equal(one.counts, many.counts[0])
    assert np.array_equal(many.replay(7).counts[-1], many.counts[7, -1])


@pytest.mark.parametrize(
    ("network", "engine", "reason"),
    [
        (ring(90), "lanes", "lanes take at most 64"),
        (gl.Network.parse("species X = 5"), "lanes", "it has no reaction"),
        (gl.Network.parse("species X = 8e15\nX -> 0 @ 1e-15"), "lanes", "2**52"),
    ],
)
def test_what_lanes_that_leap_cannot_do_is_refused_by_name_and_avoided_by_auto(
    network, engine, reason
):
    with pytest.raises(MethodError, match="cannot do this run") as caught:
        gl.ensemble(network, 1, 50, engine=engine, method="tau_leaping")
    assert reason in str(caught.value)
    chosen = gl.ensemble(network, 1, 50, rng=1, method="tau_leaping").provenance
    assert chosen.engine == "table"
    assert reason in chosen.engine_reason


def test_code_of_its_own_is_refused_by_name():
    with pytest.raises(MethodError, match="has the engines 'table' and 'lanes' only"):
        gl.ensemble(BIRTH_DEATH, 1, 50, engine="specialised", method="tau_leaping")


def test_relatives_with_other_rates_share_arrays_and_leap_by_their_own():
    for scale in (1.0, 2.0):
        network = LINEAR.with_initial(A=int(4000 * scale))
        assert_identical(*both(network, 2, 40, rng=4))
    network = gl.Network.parse("species X = 9000\nparam k = 1\nX -> 0 @ k\n0 => X @ k*sqrt(X)")
    for k in (1.0, 0.2):
        assert_identical(*both(network.with_parameters(k=k), 2, 40, rng=4))


# ---- Long work -----------------------------------------------------------------------------------


@pytest.mark.parametrize("statistics", [False, True])
def test_ctrl_c_keeps_the_lanes_that_are_done(statistics):
    network = gl.Network.parse("species X = 2000\n0 -> X @ 2000\nX -> 0 @ 1")
    seen = []

    def interrupt(done: float, total: float) -> None:
        seen.append(done)
        if done >= 1:
            raise KeyboardInterrupt

    with pytest.raises(Interrupted) as caught:
        gl.ensemble(
            network, [0, 40], 3000, method="tau_leaping", engine="lanes", rng=1, threads=1,
            chunk_size=64, statistics=statistics, progress=interrupt,
        )  # fmt: skip
    result = caught.value.result
    assert result.stopped == "interrupt"
    assert 0 < result.n_trajectories < 3000


# ---- Mutants -------------------------------------------------------------------------------------

MUTANTS = {
    "a leap that was refused gives its words back": (
        ("store(stream, 0, select(tries, t0, s0))", "store(stream, 0, select(leaps, t0, s0))"),
    ),
    "a leap that was refused is tried at full length": (
        ("limit = select(refused, shorter,", "limit = select(refused, np.inf,"),
    ),
    "a leap goes beyond the grid time": (
        ("step = select(inside, step, grid_time - time)", "step = step + 0.0"),
    ),
    "the critical reaction fires twice": (
        ("select(chosen == np.float64(reaction), 1.0, firings)",
         "select(chosen == np.float64(reaction), 2.0, firings)"),
    ),
    "a lane in a burst leaps all the same": (
        ("ready = (load(walker.burst, 0) == 0.0) & (time < grid_time)", "ready = time < grid_time"),
    ),
    "a lane that is refilled goes on with a burst": (
        ("walker.burst[lane] = 0.0", "walker.burst[lane] = 2.0"),
    ),
    "bounds of the laws are left out": (
        ("bound = select(steepness > bound, steepness, bound)", "bound = bound + 0.0"),
    ),
}  # fmt: skip


def mutant_of(name: str, folder: Path) -> ModuleType:
    source = Path(lane_leaps.__file__).read_text()
    for before, after in MUTANTS[name]:
        assert source.count(before) == 1, before
        source = source.replace(before, after)
    file = folder / "mutant_leaps.py"
    file.write_text(source.replace("from .", "from gillespy_lite.kernels."))
    spec = importlib.util.spec_from_file_location("mutant_leaps", file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def passing_mutants(tmp_path_factory):
    """Return the mutants that give the paths of the right lanes."""
    # In a process in which nothing is compiled: quicker than to compile every mutant.
    folder = str(Path(__file__).parent)
    script = (
        f"import sys; sys.path.insert(0, {folder!r}); from pathlib import Path\n"
        "from test_lane_leaps import print_passing_mutants as run\n"
        f"run(Path({str(tmp_path_factory.mktemp('mutants'))!r}))"
    )
    process = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", script],
        capture_output=True, text=True, check=True, timeout=400,
        env={**os.environ, "NUMBA_DISABLE_JIT": "1"},
    )  # fmt: skip
    lines = process.stdout.splitlines()
    assert lines[0] == "the right lanes pass"
    return lines[1:]


def print_passing_mutants(folder: Path) -> None:
    # Leaps that are refused, critical reactions and bursts of events; a law that is steep.
    crowded = (
        gl.Network.parse(
            "species A = 60, B = 40, C\n0 -> A @ 200\n0 -> B @ 200\nA + B -> C @ 0.05\n"
            "A + 2 B -> 0 @ 0.005\nC => 0 @ 150\n2 C -> A @ 0.02"
        ),
        [0.0, 0.3, 0.8],
    )
    scarce = gl.Network.parse(EDGES["shared reactant"]), [0.0, 1.0, 3.0]
    often = {"epsilon": 0.9, "critical_count": 2, "leap_worth": 8.0, "single_steps": 3}
    hill = gl.Network.parse("species X = 4000\n0 => X @ 8000*hillr(X, 4000, 4)\nX -> 0 @ 1"), [0, 1]
    n = 33
    for name in ("", *MUTANTS):
        plan = leap_plan(*hill, n) if "laws" in name else leap_plan(*crowded, n, **often)
        if "refused" in name:
            plan = leap_plan(*scarce, n, **ALWAYS_LEAP, epsilon=0.9, critical_count=0)
        right = lanes_in_pieces(plan, n, 10**9)
        kernel = mutant_of(name, folder).run_leap_lanes if name else run_leap_lanes
        found = lanes_in_pieces(plan, n, 10**9, kernel)
        if np.array_equal(right.counts, found.counts):
            print(name or "the right lanes pass")


@pytest.mark.parametrize("name", MUTANTS)
def test_a_mutant_of_the_lanes_that_leap_is_rejected(name, passing_mutants):
    assert name not in passing_mutants
