"""Lanes go the very paths of single runs, bit for bit, and leave to these what is out of the way.

So every law, trap and promise that is tested for single paths holds for lanes, too.
"""

from __future__ import annotations

import importlib.util
import itertools
import os
import platform
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import ModuleType
from typing import Any

import numba
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from laws import smallest
from test_determinism import DECAY, EVERYTHING, MIXED, assert_identical, ring
from test_exact_laws import LAWS, THRESHOLD

import gillespy_lite as gl
from gillespy_lite import engines, run_plan
from gillespy_lite.engines import Engine, choose_engine
from gillespy_lite.errors import IncompleteWarning, MethodError, SimulationError
from gillespy_lite.kernels import lane_vectors as vectors
from gillespy_lite.kernels import lanes as lane_loop
from gillespy_lite.kernels.jit import _OPTIONS
from gillespy_lite.kernels.lane_random import next_words, random_exponential, random_uniform
from gillespy_lite.kernels.lane_vectors import LANES
from gillespy_lite.kernels.lanes import LEFT_OVER, run_lanes
from gillespy_lite.kernels.random import exponential_by_log, seed_stream, uniform_52
from gillespy_lite.kernels.walking import ALL_DONE
from gillespy_lite.models import MODELS
from gillespy_lite.randomness import stream_key
from gillespy_lite.run_plan import RunPlan, plan_run

BIRTH_DEATH = gl.Network.parse("species X\n0 -> X @ 30\nX -> 0 @ 1")
# Every operation of the language, also where it has no value, in laws and in an observable.
LAWS_OF_ALL_KINDS = gl.Network.parse("""
species A = 12, B = 7, C = 1
param k = 1.5, n = 2, m = 2.5, l = 7
observe odd = if(A > B and not (C == 1) or A <= 3, exp(-A/9), log10(1 + B)) - min(A, B, C)
observe far = tan(A) + asin(C/9) + acos(0) + atan(B) + sinh(C/5) + cosh(C/5) + asinh(B) + atanh(0)
0 => A @ 3 + hill(B, 4, n) + hillr(B, 4, m)*hill(C, 2, 3) + hill(C, 2, 4)*hillr(A, 20, 8)
A => B @ k*A^2/(9 + A^n) + sqrt(A)*abs(sin(B))
B => C @ max(0.1, min(B, 5))*(1 + cos(A)^2)*exp(-B/20) + hill(B, 9, l)*B^11/(B^11 + 2e9)
2 C -> A @ 0.1*floor(1 + A/3)/ceil(1 + B/4)
C => 0 @ log(1 + C)*tanh(C) + factorial(min(C, 4))/9
B -> 0 @ 0.1 + (A != B)*(0.2 + (B >= 3)*0.1 + (B < 2)*(A > 0)/8)
A + B + C -> 2 C @ mratio(-2, 3, 0.1 + C/50)/90 + acosh(1 + A)/1e3
""")
NETWORKS = {
    "mixed": (MIXED, 4.0),
    "laws": (LAWS_OF_ALL_KINDS, 6.0),
    "decay": (DECAY, 2.0),
    "ring of 12": (ring(8), 4.0),
    "ring of 60": (ring(40), 2.0),
    "no change": (gl.Network.parse("species A = 3, B\nA -> A @ 2\n2 A -> A + B @ 0.1"), 3.0),
    "one reaction": (gl.Network.parse("species A = 9\nA -> 0 @ 1"), 9.0),
    "nothing happens": (gl.Network.parse("species A\nA -> 0 @ 1"), 9.0),
}


def both(network: gl.Network, t: Any, n: int, **how: Any) -> tuple[Any, Any]:
    """Return an ensemble by single paths and by lanes."""
    runs = [
        gl.ensemble(network, t, n, method="direct", engine=engine, **how)
        for engine in ("table", "lanes")
    ]
    assert [run.provenance.engine for run in runs] == ["table", "lanes"]
    return runs[0], runs[1]


# ---- The same bits -------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("n", [1, 31, 33, 500])
def test_lanes_give_the_bits_of_single_paths(name, n):
    network, t = NETWORKS[name]
    for how in ({}, {"outputs": [*network.observable_names, network.species_names[0]]}):
        assert_identical(*both(network, t, n, rng=5, **how))


@pytest.mark.parametrize("model", MODELS)
def test_lanes_give_the_bits_of_single_paths_for_every_stock_model(model):
    stock = MODELS[model]
    assert_identical(*both(stock.build(), stock.t_end / 20, 70, rng=6))


@pytest.mark.parametrize("name", LAWS)
def test_lanes_give_the_bits_of_single_paths_for_every_law(name):
    # So the p-values of test_exact_laws.py, where lanes run, are those of single paths, too.
    law = LAWS[name]
    assert_identical(*both(gl.Network.parse(law.text), law.times, min(law.n, 5000), rng=1))


@pytest.mark.parametrize("statistics", [False, True])
@pytest.mark.parametrize("n", [1, 37, 700])
def test_threads_and_chunks_of_lanes_give_the_bits_of_single_paths(statistics, n):
    usual, _ = both(MIXED, 4, n, rng=21, statistics=statistics, **EVERYTHING)
    for threads, chunk_size in itertools.product((1, 2, 3), (None, 1, 100, 1000)):
        other = gl.ensemble(
            MIXED, 4, n, method="direct", rng=21, statistics=statistics, engine="lanes",
            threads=threads, chunk_size=chunk_size, **EVERYTHING,
        )  # fmt: skip
        assert_identical(usual, other)


def test_statistics_of_many_blocks_have_the_same_bits():
    for threads in (1, 2):
        assert_identical(
            *both(BIRTH_DEATH, [0, 0.2, 0.5], 20_011, rng=4, statistics=True, threads=threads)
        )


@pytest.mark.parametrize("condition", ["X >= 20", "X < 1", "X == 7", "X > 1e9"])
def test_conditions_end_lanes_at_the_same_instants(condition):
    one, other = both(BIRTH_DEATH, [0, 0.1, 0.5, 1, 5], 300, rng=3, stop_when=condition)
    assert_identical(one, other)
    assert np.isfinite(one.hitting_times).all() == (condition != "X > 1e9")


def lanes_in_pieces(plan: RunPlan, n: int, budget: int) -> Any:
    output, queue = plan.output(n), np.zeros(1, dtype=np.int64)
    walker, status = plan.lane_walker(queue), -1
    while status != ALL_DONE:
        status = run_lanes(plan.engine.lanes, plan.request, walker, output, 0, budget)
    return output


def lane_plan(network: gl.Network, t: Any, **how: Any) -> RunPlan:
    wanted = {"outputs": None, "stop_when": None, "max_events": None, **how}
    return plan_run(
        network, t, method="direct", rng=8, seed=None, every_event=False, method_options={},
        engine="lanes", n_trajectories=100, **wanted,
    )  # fmt: skip


@pytest.mark.parametrize("budget", [1, LANES, 7 * LANES, 100_000])
def test_where_lanes_are_stopped_never_changes_a_path(budget):
    plan = lane_plan(MIXED, [0, 0.3, 1], stop_when="P >= 12", outputs=["S", "P", "share"])
    output = lanes_in_pieces(plan, 100, budget)
    usual = gl.ensemble(
        MIXED, [0, 0.3, 1], 100, method="direct", engine="table", rng=8, stop_when="P >= 12",
        outputs=["S", "P", "share"],
    )  # fmt: skip
    assert np.array_equal(output.counts, usual.counts)
    assert output.values.tobytes() == usual.values.tobytes()
    assert output.hitting_time.tobytes() == usual.hitting_times.tobytes()
    assert np.array_equal(output.n_events, usual.n_events)


PIECES = ["A", "B", "k", "2", "0.5"]
EXPRESSIONS = st.recursive(
    st.sampled_from(PIECES),
    lambda inner: st.one_of(
        st.tuples(inner, st.sampled_from("+*-/"), inner).map(lambda x: f"({x[0]} {x[1]} {x[2]})"),
        inner.map(lambda x: f"abs({x})"),
        inner.map(lambda x: f"exp(-abs({x}))"),
        st.tuples(inner, inner).map(lambda x: f"max({x[0]}, {x[1]})"),
        st.tuples(inner, inner, inner).map(lambda x: f"if({x[0]} > {x[1]}, {x[2]}, 1)"),
        st.tuples(inner, st.sampled_from(["2", "3", "4", "6", "13", "2.5"])).map(
            lambda x: f"hill(abs({x[0]}), 2, {x[1]})"
        ),
    ),
    max_leaves=6,
)
REACTIONS = st.tuples(
    st.sampled_from(["0", "A", "B", "2 A", "A + B", "3 B", "2 A + B"]),
    st.sampled_from(["0", "A", "B", "2 A", "C", "2 B + C"]),
    st.sampled_from(["->", "=>"]),
    EXPRESSIONS,
)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(REACTIONS, min_size=1, max_size=9))
def test_random_networks_have_the_same_bits_or_the_same_error(reactions):
    lines = [
        f"{left} {arrow} {right} @ abs({rate})/(1 + abs({rate}))"
        for left, right, arrow, rate in reactions
        if left != right
    ]
    network = gl.Network.parse("species A = 5, B = 3, C\nparam k = 0.7\n" + "\n".join(lines))
    outcomes = []
    for engine in ("table", "lanes"):
        try:
            outcomes.append(
                gl.ensemble(
                    network, [0, 0.5, 2], 40, method="direct", engine=engine, rng=2,
                    max_events=3000, threads=1,
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


# ---- What lanes leave over -----------------------------------------------------------------------


TROUBLES = {
    "a negative rate": ("species A = 40\nA -> 0 @ 1\n0 => A @ A - 20", {}),
    "a rate that is no number": ("species A = 9, B\nA -> B @ 1\nB => 0 @ log(4 - B)", {}),
    "an infinite rate": ("species A = 9\nA -> 0 @ 1\n0 => A @ 1/(A - 3)^2", {}),
    "a sum beyond doubles": ("species A = 3\n0 -> A @ 1e308\n0 -> A @ 1e308", {}),
    "a count beyond doubles": ("species A = 4.4e15\nA => 1000000000 A @ 1e7", {}),
    "a limit of events": ("species A\n0 -> A @ 30", {"max_events": 90}),
    "a clock that stands still": ("species A = 1\nA -> A @ 1e20\nA -> 0 @ 1", {}),
}


@pytest.mark.parametrize("name", TROUBLES)
def test_trouble_in_lanes_is_the_same_error_with_the_finished_paths(name):
    text, how = TROUBLES[name]
    errors = []
    for engine in ("table", "lanes"):
        with pytest.raises(SimulationError) as caught:
            gl.ensemble(
                gl.Network.parse(text), [1, 2, 5], 64, method="direct", rng=3, threads=1,
                engine=engine, **how,
            )  # fmt: skip
        errors.append(caught.value)
        assert caught.value.result.n_requested == 64
    assert type(errors[0]) is type(errors[1])
    assert str(errors[0]) == str(errors[1])
    one, other = (dict(zip(e.result.indices, e.result.counts, strict=True)) for e in errors)
    for i in one.keys() & other.keys():
        assert np.array_equal(one[i], other[i])


def test_paths_left_over_are_finished_by_single_runs(monkeypatch):
    # One path in three is left over here: of those that a bound of 11 catches.
    network = gl.Network.parse("species X\n0 -> X @ 30\nX -> 0 @ 2")
    usual = gl.ensemble(network, [0, 1, 2], 300, method="direct", engine="table", rng=5)
    output = lanes_in_pieces(lane_plan(network, [0, 1, 2], max_events=110), 300, 10_000)
    assert 20 < np.count_nonzero(output.outcome == LEFT_OVER) < 280
    n_left = []
    plain = lane_loop.run_lanes

    def leaving(arrays, request, walker, output, first, budget):
        status = plain(arrays, request, walker, output, first, budget)
        if status == ALL_DONE:
            output.outcome[::3] = LEFT_OVER
            output.counts[::3] = -1
            n_left.append(output.outcome[::3].size)
        return status

    monkeypatch.setattr("gillespy_lite.engines.run_lanes", leaving)
    for threads in (1, 2):
        assert_identical(
            usual,
            gl.ensemble(
                network, [0, 1, 2], 300, method="direct", engine="lanes", rng=5, threads=threads
            ),
        )
    assert sum(n_left) >= 200


def test_counts_near_the_largest_are_those_of_single_paths():
    network = gl.Network.parse(f"species A = {2**51}, B\nA -> B @ 1e-13\nB -> 1000000000 A @ 9")
    assert_identical(*both(network, [0, 1, 3], 40, rng=2))


# ---- Their parts ---------------------------------------------------------------------------------


def numbers(seed: int) -> np.ndarray:
    """Return one double a lane: of all sizes, with nan, infinities, zeros of both signs."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=LANES) * 10.0 ** rng.integers(-20, 20, LANES)
    x[:8] = [np.nan, np.inf, -np.inf, 0.0, -0.0, 1.0, 2.0, -1.0]
    return rng.permutation(x)


def _vector_parts(x, y, words, real, whole, word):
    a, b = vectors.load(x, 0), vectors.load(y, 0)
    k = 0
    for value in (
        a + b, a - b, a * b, a / b, -a, 2.0 * a, a - 3, 1.0 / b, vectors.absolute(a),
        vectors.square_root(a), vectors.select(a < b, a, b), vectors.select(a <= b, a, 7.0),
        vectors.select(~(a >= b), 1.0, a), vectors.select((a == b) | (a > 1.0), a, b),
        vectors.select((a != b) & (b > 1), b, a), vectors.everywhere(3.5),
        vectors.as_double(vectors.as_words(a)),
    ):  # fmt: skip
        vectors.store(real, k, value)
        k += LANES
    v = vectors.load(words, 0)
    k = 0
    for value in (
        v + v, v ^ (v << np.uint64(7)), v >> np.uint64(9), (v & np.uint64(255)) | np.uint64(1),
        vectors.rotated(v, 23), vectors.as_words(b), vectors.masks(a < b),
    ):  # fmt: skip
        vectors.store(word, k, value)
        k += LANES
    vectors.store(whole, 0, vectors.ones(a < b) - 1)
    truth = vectors.bits(a < b)
    return truth, vectors.lowest_bit(truth | np.uint64(1 << 20))


@pytest.mark.parametrize("seed", range(5))
def test_compiled_vectors_do_what_their_python_source_does(seed):
    # Numba goes through a tuple of values of one type as a loop, which keeps this short.
    found = []
    for run in (numba.njit(**_OPTIONS)(_vector_parts), _vector_parts):
        arrays = np.zeros(17 * LANES), np.zeros(LANES, np.int64), np.zeros(7 * LANES, np.uint64)
        words = np.random.default_rng(seed).integers(0, 2**64, LANES, dtype=np.uint64)
        with np.errstate(all="ignore"):
            result = run(numbers(seed), numbers(seed + 50), words, *arrays)
        found.append((*arrays, *result))
    for one, other in zip(*found, strict=True):
        assert np.array_equal(one, other, equal_nan=np.asarray(one).dtype == np.float64)
    assert np.array_equal(np.signbit(found[0][0]), np.signbit(found[1][0]))


def _pair_parts(level, value, words, reals):
    one, other = vectors.everywhere_2(level), vectors.everywhere_2(value)
    vectors.store(words, 0, vectors.quick_masks(one, other))
    reals[0] = vectors.first_lane(one + 2.0 * other)


def test_quick_masks_are_those_of_the_comparison():
    run = numba.njit(**_OPTIONS)(_pair_parts)
    numbers = [0.0, 5e-324, 1e-300, 0.1, np.nextafter(0.1, 1.0), 1.0, 3.0, 2.0**53, 1e300]
    words, reals = np.zeros(2, np.uint64), np.zeros(1)
    for level in numbers:
        for value in numbers:
            for function in (run, _pair_parts):
                function(level, value, words, reals)
                assert (words == (2**64 - 1 if value < level else 0)).all()
                assert reals[0] == level + 2.0 * value


def _draws(words, exponentials, uniforms):
    s0, s1 = vectors.load(words, 0), vectors.load(words, LANES)
    s2, s3 = vectors.load(words, 2 * LANES), vectors.load(words, 3 * LANES)
    word, s0, s1, s2, s3 = next_words(s0, s1, s2, s3)
    vectors.store(exponentials, 0, random_exponential(word))
    word, s0, s1, s2, s3 = next_words(s0, s1, s2, s3)
    vectors.store(uniforms, 0, random_uniform(word))


def test_lanes_draw_the_numbers_of_their_streams():
    @numba.njit(**_OPTIONS)
    def single(stream):
        return exponential_by_log(stream), uniform_52(stream)

    @numba.njit(**_OPTIONS)
    def seed(key, index, stream):
        seed_stream(key, index, stream)

    draw = numba.njit(**_OPTIONS)(_draws)
    for first in range(0, 3200, LANES):
        streams = np.zeros((LANES, 4), dtype=np.uint64)
        for lane in range(LANES):
            seed(stream_key(3, "direct"), first + lane, streams[lane])
        exponentials, uniforms = np.zeros(LANES), np.zeros(LANES)
        draw(streams.T.ravel().copy(), exponentials, uniforms)
        expected = np.array([single(stream) for stream in streams])
        assert exponentials.tobytes() == expected[:, 0].tobytes()
        assert uniforms.tobytes() == expected[:, 1].tobytes()


def test_threads_that_take_rows_share_none():
    @numba.njit(nogil=True)
    def take(counter, n):
        total = 0
        for _ in range(n):
            total += vectors.take_next(counter)
        return total

    counter = np.zeros(1, dtype=np.int64)
    take(counter, 0)
    with ThreadPoolExecutor(4) as pool:
        totals = list(pool.map(lambda _: take(counter, 200_000), range(4)))
    assert counter[0] == 800_000
    assert sum(totals) == 800_000 * 799_999 // 2


# A process in which nothing is compiled, or in which the processor seems to be another, prints a
# digest of what lanes give.
DIGEST = """
import hashlib, sys
sys.path.insert(0, {folder!r})
import gillespy_lite as gl
from test_lanes import LANES_NETWORKS
digest = hashlib.sha256()
for text in LANES_NETWORKS:
    run = gl.ensemble(
        gl.Network.parse(text), [0, 0.2, 0.5], 40, method="direct", engine={engine!r}, rng=3,
        threads=1,
    )
    digest.update(run.counts.tobytes() + run.n_events.tobytes())
print(digest.hexdigest())
"""
# Without functions of which the C libraries differ in the last bit.
LANES_NETWORKS = [
    "species A = 9, B = 2, C\nA + B -> C @ 0.3\nC -> A + B @ 1\n0 -> B @ 5\n2 A -> B @ 0.1",
    "species A = 6, B = 2\nA => B @ 3*A/(2 + A^2)\nB -> A @ if(A > 4, 1, hill(B, 2, 2))\n"
    "3 A -> 2 A @ 0.01\n0 => A @ max(1, min(4, sqrt(A)))",
]


def digest_of(engine: str, **environment: str) -> str:
    folder = str(Path(__file__).parent)
    process = subprocess.run(
        [sys.executable, "-c", DIGEST.format(folder=folder, engine=engine)],
        capture_output=True, text=True, check=True, timeout=400,
        env={**os.environ, **environment},
    )  # fmt: skip
    return process.stdout.strip()


def test_lanes_compiled_or_not_and_on_older_processors_give_the_same_bits(tmp_path):
    usual = digest_of("table")
    assert digest_of("lanes") == usual
    assert digest_of("lanes", NUMBA_DISABLE_JIT="1") == usual
    if platform.machine().lower() in {"x86_64", "amd64"}:
        # SSE2 only, the least that such a processor has.
        old = {"NUMBA_CPU_NAME": "x86-64", "NUMBA_CPU_FEATURES": ""}
        assert digest_of("lanes", GILLESPY_LITE_CACHE_DIR=str(tmp_path), **old) == usual


# ---- The choice ----------------------------------------------------------------------------------


def test_lanes_are_chosen_for_many_paths_and_said():
    many = gl.ensemble(BIRTH_DEATH, 1, 100, rng=1)
    assert many.provenance.engine == "lanes"
    assert "16 or more" in many.provenance.engine_reason
    assert "engine    lanes" in str(many.provenance)
    few = gl.ensemble(BIRTH_DEATH, 1, 3, rng=1)
    assert few.provenance.engine == "table"
    assert np.array_equal(few.counts, many.counts[:3])
    assert np.array_equal(gl.simulate(BIRTH_DEATH, 1, rng=1).counts, many.counts[0])
    assert np.array_equal(many.replay(7).counts[-1], many.counts[7, -1])


@pytest.mark.parametrize(
    ("network", "how", "reason"),
    [
        (
            BIRTH_DEATH,
            {"method": "next_reaction"},
            "method 'next_reaction' has the engine 'table' only",
        ),
        (ring(400), {"method": "direct"}, "402 reactions, and lanes take at most 400"),
        (
            gl.Network.parse("species X\n0 -> X @ 2 + sin(t)"),
            {"method": "direct"},
            "changes between the jumps",
        ),
        (BIRTH_DEATH, {"method": "direct", "stop_when": "t > X"}, "changes between the jumps"),
        (gl.Network.parse("species X = 8e15\nX -> 0 @ 1e-15"), {"method": "direct"}, "2**52"),
    ],
)
def test_what_lanes_cannot_do_is_refused_by_name_and_avoided_by_auto(network, how, reason):
    with pytest.raises(MethodError, match="engine 'lanes' cannot do this run") as caught:
        gl.ensemble(network, 1, 50, engine="lanes", **how)
    assert reason in str(caught.value)
    chosen = gl.ensemble(network, 1, 50, rng=1, **how).provenance
    assert chosen.engine == "table"
    assert reason in chosen.engine_reason


def test_heavy_work_gets_code_of_its_own_by_arguments_alone():
    # Some 2e9 events, each of which saves some ns: more than the compilation costs.
    text = "species X = 300\n0 => X @ 4000*hillr(X, 900, 2.5) + exp(-X)\nX -> 0 @ 1"
    with pytest.warns(IncompleteWarning):  # the choice is what matters, and it is made
        heavy = gl.ensemble(gl.Network.parse(text), [0, 300], 3000, rng=1, timeout=0.02).provenance
    light = gl.ensemble(gl.Network.parse(text), [0, 0.01], 300, rng=1).provenance
    assert heavy.engine == "specialised"
    assert "events, worth some" in heavy.engine_reason
    assert light.engine == "lanes"


def test_the_pilot_leaves_no_trace_in_results():
    for n in (1, 40):
        results = [
            gl.ensemble(MIXED, 2, n, rng=4, method="direct", engine=engine, **EVERYTHING)
            for engine in ("auto", "table", "specialised")
        ]
        assert_identical(results[0], results[1])
        assert_identical(results[0], results[2])


@pytest.mark.parametrize("n", [1, 300])
def test_a_pilot_counts_the_events_of_a_path(n):
    # 60 events in a unit of time, and a condition that ends the pilot's paths early.
    counted, guessed = [], []

    def count(engine, method, compiled, shape, expected_events):
        chosen = choose_engine(engine, method, compiled, shape, None)
        counted.append(expected_events(chosen, 1.0))
        # Where even a hundred times what the first rates suggest would not do, nothing is run.
        guessed.append(expected_events(chosen, 1e12))
        return Engine("table", "")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("gillespy_lite.run_plan.choose_engine", count)
        network = BIRTH_DEATH.with_initial(X=30)
        engine = "lanes" if n > 1 else "table"
        gl.ensemble(network, [0, 20], n, rng=1, method="direct", engine=engine)
        gl.ensemble(network, [0, 0.5], n, rng=1, method="direct", engine=engine)
    assert counted[0] == pytest.approx(1200 * n, rel=0.15)
    assert counted[1] == pytest.approx(30 * n, rel=0.5)
    assert guessed == [60 * 20 * n, 60 * 0.5 * n]


def test_a_pilot_is_run_once_for_all_seeds_and_again_for_other_arguments(monkeypatch):
    runs, count = [], run_plan._count_by_pilot

    def counted(plan):
        runs.append(plan)
        return count(plan)

    monkeypatch.setattr("gillespy_lite.run_plan._count_by_pilot", counted)
    network = gl.Network.parse("species X\nparam k = 9\n0 => X @ k/(1 + X)\nX -> 0 @ 1")
    faster = network.with_parameters(k=90)
    for seed in range(3):
        gl.simulate(network, [0, 5], rng=seed)
    assert len(runs) == 1
    gl.simulate(network, [0, 2.5, 5], rng=1)  # sampling times between are the same to it
    assert len(runs) == 1
    others = [
        lambda: gl.simulate(network, [0, 6], rng=1),
        lambda: gl.simulate(network, [1, 6], rng=1),
        lambda: gl.simulate(network.with_initial(X=3), [1, 6], rng=1),
        lambda: gl.simulate(faster, [0, 5], rng=1),
        lambda: gl.simulate(faster, [0, 5], rng=1, stop_when="X > 3"),
        lambda: gl.simulate(faster, [0, 5], rng=1, stop_when="X > 4"),
        lambda: gl.simulate(faster, [0, 5], rng=1, max_events=10**6),
        lambda: gl.ensemble(faster, [0, 5], 40, rng=1, max_events=10**6),
    ]
    for n, other in enumerate(others, start=2):
        other()
        assert len(runs) == n


def test_an_unknown_engine_is_refused_with_those_there_are():
    with pytest.raises(MethodError, match=r"unknown engine 'lane'.*lanes.*did you mean 'lanes'"):
        gl.ensemble(BIRTH_DEATH, 1, 50, engine="lane")


# ---- Long work -----------------------------------------------------------------------------------


@pytest.mark.parametrize("statistics", [False, True])
def test_a_timeout_keeps_the_lanes_that_are_done(statistics):
    network = gl.Network.parse("species X\n0 -> X @ 1e5\nX -> 0 @ 1")
    with pytest.warns(IncompleteWarning, match="of 400 trajectories are finished"):
        result = gl.ensemble(
            network, [0, 100], 400, rng=1, timeout=0.6, engine="lanes", method="direct",
            statistics=statistics, chunk_size=40,
        )  # fmt: skip
    assert result.stopped == "timeout"
    assert 0 <= result.n_trajectories < 400


def test_progress_of_lanes_grows_to_the_end():
    seen: list[tuple[float, float]] = []
    gl.ensemble(
        BIRTH_DEATH, 300, 2000, rng=1, engine="lanes", method="direct", threads=2,
        progress=lambda done, total: seen.append((done, total)),
    )  # fmt: skip
    done = [one for one, _ in seen]
    assert done == sorted(done)
    assert done[-1] == 2000
    assert all(total == 2000 for _, total in seen)


# ---- Mutants -------------------------------------------------------------------------------------

MUTANTS = {
    "a lane that is held fires all the same": (
        "target = select(goes, random_uniform(word) * total, -1.0)",
        "target = random_uniform(word) * total",
        "ones(goes) - 1 ",
        "ones(goes | ~goes) - 1 ",
    ),
    "a lane that is refilled keeps its stream": (
        "seed_stream(key, number - own * network.rows_per_set, walker.seed)",
        "seed_stream(key, first_index + row % LANES, walker.seed)",
    ),
    "a lane that is held draws on": (
        "store(stream, 0, select(goes, t0, s0))",
        "store(stream, 0, t0)",
    ),
}


def mutant_of(name: str, folder: Path) -> ModuleType:
    source = Path(lane_loop.__file__).read_text()
    changes = MUTANTS[name]
    for before, after in zip(changes[::2], changes[1::2], strict=True):
        assert source.count(before) == 1, before
        source = source.replace(before, after)
    file = folder / "mutant_lanes.py"
    file.write_text(source.replace("from .", "from gillespy_lite.kernels."))
    spec = importlib.util.spec_from_file_location("mutant_lanes", file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def counts_in_lanes() -> np.ndarray:
    law = LAWS["A birth and death"]
    how = {"rng": 1, "engine": "lanes", "method": "direct", "threads": 1}
    return gl.ensemble(gl.Network.parse(law.text), law.times, 800, **how).counts


@pytest.fixture(scope="module")
def counts_of_mutants(tmp_path_factory):
    # In a process in which nothing is compiled: quicker than to compile every mutant.
    folder = tmp_path_factory.mktemp("mutants")
    script = (
        f"import sys; sys.path.insert(0, {str(Path(__file__).parent)!r})\n"
        "from test_lanes import save_counts_of_mutants as run\n"
        f"from pathlib import Path; run(Path({str(folder)!r}))"
    )
    subprocess.run(
        [sys.executable, "-W", "ignore", "-c", script],
        check=True,
        timeout=400,
        env={**os.environ, "NUMBA_DISABLE_JIT": "1"},
    )
    with np.load(folder / "counts.npz") as arrays:
        return dict(arrays)


def save_counts_of_mutants(folder: Path) -> None:
    found = {"none": counts_in_lanes()}
    for name in MUTANTS:
        engines.run_lanes = mutant_of(name, folder).run_lanes
        found[name] = counts_in_lanes()
    np.savez(folder / "counts.npz", **found)


def test_the_lanes_themselves_pass_where_their_mutants_run(counts_of_mutants):
    found = counts_of_mutants["none"]
    assert np.array_equal(found, counts_in_lanes())
    assert smallest(LAWS["A birth and death"].judge(found)) > THRESHOLD


@pytest.mark.parametrize("name", MUTANTS)
def test_a_mutant_of_the_lanes_is_rejected(name, counts_of_mutants):
    wrong = counts_of_mutants[name]
    assert not np.array_equal(wrong, counts_of_mutants["none"])
    # Measured: p-values of 1e-166, 1e-255 and 3e-11.
    assert smallest(LAWS["A birth and death"].judge(wrong)) < THRESHOLD


def test_lanes_of_statistics_keep_few_paths_at_a_time(monkeypatch):
    sizes, usual = [], RunPlan.output

    def output(plan, n_rows, n_events=0):
        made = usual(plan, n_rows, n_events)
        sizes.append(made.counts.nbytes)
        return made

    monkeypatch.setattr(RunPlan, "output", output)
    for chunk_size in (None, 20_000):
        gl.ensemble(
            BIRTH_DEATH, np.linspace(0, 0.1, 50), 20_000, rng=1, method="direct", engine="lanes",
            statistics=True, chunk_size=chunk_size, threads=1,
        )  # fmt: skip
    assert max(sizes) <= 8 * 256 * 50 * 8


def test_a_pilot_records_nothing(monkeypatch):
    sizes, usual = [], RunPlan.output
    monkeypatch.setattr(
        RunPlan, "output", lambda plan, n, m=0: sizes.append(len(plan.species)) or usual(plan, n, m)
    )
    # With a rate law, for which nothing is known before.
    network = gl.Network.parse("species X\n0 => X @ 30\nX -> 0 @ 1")
    gl.ensemble(network, np.linspace(0, 1, 9), 40, rng=1)
    assert sizes[0] == 0
    assert sizes[-1] == 1
