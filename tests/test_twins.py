"""Compiled kernels repeat their own Python source, draw for draw; their parts keep their laws.

Run as a script, this file writes the results of a set of runs to an npz file. The test does so once
in a process in which Numba compiles nothing, and compares every array with the compiled ones, bit
by bit.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numba
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose

import gillespy_lite as gl
from gillespy_lite.compilation import compile_expressions, compile_network, compile_rate_equations
from gillespy_lite.dsl import parse_expression
from gillespy_lite.kernels import random as streams
from gillespy_lite.kernels import sum_tree
from gillespy_lite.kernels.indexed_heap import Heap, build_heap, move_to
from gillespy_lite.kernels.intervals import program_range
from gillespy_lite.kernels.programs import OPERATION_CODES, evaluate_program
from gillespy_lite.kernels.rate_equations import fill_rate_derivatives, fill_rates
from gillespy_lite.kernels.statistics import add_to_histograms, fill_moments
from gillespy_lite.methods import METHODS
from gillespy_lite.ode_rnn import CELLS, Recurrence
from gillespy_lite.randomness import stream_key
from gillespy_lite.rate_laws import OPERATIONS, Call, Expression, Number, Symbol

STOCHASTIC = sorted(name for name, method in METHODS.items() if method.is_stochastic)

# Only operations that the C library and NumPy round alike: + - * / sqrt, comparisons, whole powers.
# exp, log and the like may differ in the last bit and are compared with a tolerance further down.
NETWORKS = {
    "sources and one molecule": "species X, Y = 5\n0 -> X @ 10\nX -> Y @ 0.5\nY -> 0 @ 1",
    "two molecules": (
        "species A = 60, B = 40, C\nparam k = 0.02\nobserve all = A + B + 2*C\n"
        "A + B -> C @ k\n2 A -> C @ k/2\nC -> A + B @ 1\n2 C -> 0 @ 0.01"
    ),
    "three molecules": "species A = 30, B = 20, C = 9, D\n3 A -> B @ 0.003\n2 B + A -> D @ 0.004\n"
    "A + B + C -> D @ 0.003\nD -> 2 A + 2 B @ 0.7\n0 -> C @ 3",
    "rate laws": (
        "species X = 3, Y = 8, off = 1, on\nparam V = 30, K = 12\nobserve total = X + Y\n"
        "0 => X @ V/(1 + (Y/K)^2)\nX => Y @ 2*X/(K + X)\nY -> 0 @ 0.1 + sqrt(X)/10\n"
        "off <-> on @ if(total > 10 and not (X < 2), 1, 0.2), 0.5\n"
        "on -> on + Y @ max(1, min(X, 4))\n2 Y => X @ abs(Y - X)/9"
    ),
    "leaping": (
        "species A = 4000, B = 3000, C, few = 12\nA + B <-> C @ 1e-3, 2\n2 C => A @ 0.01*C\n"
        "few -> 0 @ 0.3\n0 -> A @ 500\n3 B -> 2 B @ 1e-6"
    ),
    "more than 64 reactions": "species " + ", ".join(f"S{i} = {i % 3}" for i in range(34)) + "\n"
    + "\n".join(f"S{i} <-> S{(i + 1) % 34} @ {1 + i / 10!r}, 0.5" for i in range(34)),
}  # fmt: skip
RUNS = [
    {"name": "sources and one molecule", "t": [0.0, 0.5, 1.0, 4.0], "n": 3},
    {"name": "sources and one molecule", "t": [0.0, 3.0], "every_event": True},
    {"name": "two molecules", "t": [0.0, 0.3, 2.0], "n": 2, "outputs": ["C", "all"]},
    {"name": "two molecules", "t": [1.0, 3.0], "n": 4, "stop_when": "C >= 9 or A == B"},
    {"name": "three molecules", "t": [0.0, 0.5, 1.0], "n": 2},
    {"name": "rate laws", "t": [0.0, 1.0, 3.0], "n": 2, "outputs": ["X", "on", "total"]},
    {"name": "rate laws", "t": [0.0, 2.0], "every_event": True, "stop_when": "total > 40"},
    {"name": "more than 64 reactions", "t": [0.0, 1.0, 2.0], "n": 2},
]
# The methods that leap; where events are made one by one this network would take too long.
LEAPING_RUNS = [
    {"name": "leaping", "t": [0.0, 0.01, 0.2, 0.4], "n": 2},
    {"name": "leaping", "t": [0.0, 0.2], "every_event": True, "leap_worth": 1.0, "single_steps": 3},
    {"name": "leaping", "t": [0.0, 0.1], "n": 2, "stop_when": "C > 500", "tau": 0.004},
    {"name": "rate laws", "t": [0.0, 2.0], "n": 2, "leap_worth": 1e-9, "epsilon": 0.3},
    {"name": "three molecules", "t": [0.0, 1.0], "n": 2, "leap_worth": 1e-9, "epsilon": 0.2},
]
# A margin of 0 leaves the box often, so that all points of a leap are gone through.
EAGER = {"leap_worth": 0.5, "single_steps": 1}
EXACT_LEAPING_RUNS = [
    {"name": "leaping", "t": [0.0, 0.01, 0.2, 0.4], "n": 2},
    {"name": "leaping", "t": [0.0, 0.2], "every_event": True, "doubtful": 9.0},
    {"name": "leaping", "t": [0.0, 0.1], "n": 2, "stop_when": "C > 500", "margin": 0.0},
    {"name": "two molecules", "t": [0.0, 2.0], "n": 2, "margin": 0.0, **EAGER},
    {"name": "rate laws", "t": [0.0, 2.0], "n": 2, "stop_when": "total > 40", **EAGER},
    {"name": "three molecules", "t": [0.0, 1.0], "n": 2, "margin": 1.0, **EAGER},
]


def run_arrays(method: str, run: dict[str, object]) -> dict[str, np.ndarray]:
    options = {key: value for key, value in run.items() if key not in {"name", "t", "n"}}
    network = gl.Network.parse(NETWORKS[run["name"]])
    if "n" in run:
        result = gl.ensemble(
            network, run["t"], run["n"], method=method, rng=6, threads=1, **options
        )
        return {
            "counts": result.counts,
            "values": result.values,
            "hit": result.hitting_times,
            "n_events": result.n_events,
        }
    path = gl.simulate(network, run["t"], method=method, rng=6, **options)
    return {
        "times": path.times,
        "counts": path.counts,
        "values": path.values,
        "reactions": path.reactions,
        "hit": np.array([path.hitting_time]),
        "n_events": np.array([path.n_events]),
    }


def sampler_arrays() -> dict[str, np.ndarray]:
    """Draws of every sampler, called as the kernels call them: one stream, in turn."""
    stream = np.zeros(4, dtype=np.uint64)
    seeds = np.zeros((50, 4), dtype=np.uint64)
    for index in range(50):
        streams.seed_stream(stream_key(1, "direct"), index, seeds[index])
    streams.seed_stream(stream_key(5, "direct"), 3, stream)
    means = [0.0, 0.1, 5.0, 9.99, 10.0, 15.9, 50.0, 1e3, 1e6, 1e10]
    return {
        "seeds": seeds,
        "bits": np.array([streams.next_bits(stream) for _ in range(500)], dtype=np.uint64),
        "uniform": np.array([streams.uniform(stream) for _ in range(500)]),
        "exponential": np.array([streams.exponential(stream) for _ in range(3_000)]),
        "by log": np.array([streams.exponential_by_log(stream) for _ in range(3_000)]),
        "uniform 52": np.array([streams.uniform_52(stream) for _ in range(500)]),
        "poisson": np.array([streams.poisson(stream, mean) for mean in means for _ in range(300)]),
        "gamma": np.array(
            [streams.gamma(stream, shape) for shape in (0.1, 1.0, 7.5) for _ in range(300)]
        ),
        "truncated normal": np.array(
            [
                streams.truncated_normal(stream, mean, 2.0)
                for mean in (3.0, -9.0)
                for _ in range(300)
            ]
        ),
        "stream": stream,
    }


# Without functions of which NumPy and the C library differ in the last bit.
RANGES = [
    "A/(B + k) - n*t", "sin(t)*cos(A)/tan(B)", "A^B + B^-3 + (A - 3)^2", "sqrt(A - 2) + log(B)",
    "if(A > 2 and B < 3 or not t == 1, 1/A, A*B)", "hill(A, k, n)*hillr(B, 2, n)",
    "min(A, t) + max(B, k)*abs(A - B)", "floor(A/3)*ceil(B/3)", "mratio(-2, 3, k)*A",
]  # fmt: skip


def interval_arrays() -> dict[str, np.ndarray]:
    expressions = [parse_expression(text) for text in RANGES]
    programs, depth = compile_expressions(PROGRAM_NETWORK, expressions)
    stacks, rng, found = np.zeros((2, depth)), np.random.default_rng(4), []
    for _ in range(40):
        low = np.append(np.round(rng.uniform(0, 5, 2)), 1.0)
        high = low + np.append(rng.uniform(0, 4, 2) * (rng.random(2) < 0.7), 0.0)
        start, span = rng.uniform(0, 3, 2)
        with np.errstate(all="ignore"):
            found += [
                program_range(
                    programs, p, low, high, np.array([0.5, 2.5]), start, start + span, *stacks
                )
                for p in range(len(RANGES))
            ]
    return {"ranges": np.array(found)}


def rate_equation_arrays() -> dict[str, np.ndarray]:
    network = gl.Network.parse(NETWORKS["rate laws"])
    equations, depth = compile_rate_equations(network)
    rates, slopes = np.zeros(network.n_reactions), np.zeros(equations.slope_rate.size)
    state, stack = np.array([3.5, 8.25, 0.75, 1e-7, 1.0]), np.zeros(depth)
    fill_rates(equations, state, 0.5, stack, rates)
    fill_rate_derivatives(equations, state, 0.5, stack, slopes)
    return {"rates": rates, "slopes": slopes}


# A time, an input, branches, an initial state and an observable that follow parameters; again
# without exp, log and the like.
CELL_NETWORK = (
    "param k = 0.03, r = 0.8, x0 = 30, drive = 1\nspecies A = x0, B = 20, C = 2\nvariable V = 1\n"
    "observe all = A + B + r*C\nA + B -> C @ k*drive\nC -> A + B @ r*(1 + t/2)\n"
    "A => 0 @ if(A > 15 and B > 2, sqrt(A)*B/(A + B), r/3)\n0 => B @ max(r, min(A, 5))/(1 + V)\n"
    "2 A -> C @ k/20\nV' = A/(1 + V^3) - drive*V*hill(B, 9, 2)"
)


def cell_arrays(cell: str) -> dict[str, np.ndarray]:
    network, is_noisy = gl.Network.parse(CELL_NETWORK), CELLS[cell].is_stochastic
    recurrence = Recurrence(network, cell, inputs=["drive"], interpolation="linear")
    size = {"rng": 3, "n": 9} if is_noisy else {"parameters": {"k": np.linspace(0.01, 0.05, 9)}}
    options = {} if CELLS[cell].is_adaptive else {"steps": [2, 3]}
    path = recurrence.unroll(
        [0.0, 0.3, 1.0], inputs={"drive": [1.0, 0.2, 1.5]}, threads=1, **size, **options
    )
    alone = recurrence.unroll([0.0, 0.3, 1.0], **({"rng": 3} if is_noisy else {}), **options)
    arrays = {"states": path.states, "outputs": path.outputs(), "alone": alone.states}
    if not CELLS[cell].has_gradient:
        return arrays
    names = ["k", "r", "x0", "B(0)", "V(0)", "drive[1]"]
    for what, one in (("batch", path), ("alone", alone)):
        gradient = one.pull_back({name: np.cos(one[name]) // 0.01 for name in ("A", "V", "all")})
        arrays |= {
            f"{what}, parameters": gradient.parameters,
            f"{what}, initial": gradient.initial,
            f"{what}, inputs": gradient.inputs,
            f"{what}, forwards": one.sensitivities(names)[1],
        }
    return arrays


def statistics_arrays() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(8)
    counts = rng.integers(0, 40, size=(9, 2, 2))
    values, chosen = rng.normal(size=(9, 2, 1)), np.array([0, 1, 3, 4, 8])
    means, comoments = np.zeros((2, 3)), np.zeros((2, 3, 3))
    minima, maxima = np.zeros((2, 3)), np.zeros((2, 3))
    fill_moments(counts, values, chosen, means, comoments, minima, maxima)
    bins, widths = np.zeros((2, 2, 8), dtype=np.int64), np.ones((2, 2), dtype=np.int64)
    add_to_histograms(counts, chosen, bins, widths)
    return {
        "means": means,
        "comoments": comoments,
        "minima": minima,
        "maxima": maxima,
        "bins": bins,
        "widths": widths,
    }


def all_arrays() -> dict[str, np.ndarray]:
    """Everything that is compared, under keys that say where it comes from."""
    groups = {"samplers": sampler_arrays(), "rate equations": rate_equation_arrays()}
    groups["statistics"] = statistics_arrays()
    groups["intervals"] = interval_arrays()
    groups |= {f"cell {cell}.": cell_arrays(cell) for cell in CELLS}
    for method in STOCHASTIC:
        for k, run in enumerate(runs_of(method)):
            groups[f"{method}, run {k}: {json.dumps(run)}"] = run_arrays(method, run)
    return {
        f"{group}|{name}": one for group, arrays in groups.items() for name, one in arrays.items()
    }


def runs_of(method: str) -> list[dict[str, object]]:
    # The runs with options of leaping are for the method that has these options.
    return RUNS + {"tau_leaping": LEAPING_RUNS, "exact_leaping": EXACT_LEAPING_RUNS}.get(method, [])


@pytest.fixture(scope="module")
def python_arrays(tmp_path_factory):
    """The arrays of a process in which Numba compiles nothing."""
    target = tmp_path_factory.mktemp("twins") / "arrays.npz"
    done = subprocess.run(
        [sys.executable, __file__, str(target)],
        env={**os.environ, "NUMBA_DISABLE_JIT": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    with np.load(target) as arrays:
        return dict(arrays)


@pytest.fixture(scope="module")
def compiled_arrays():
    return all_arrays()


def assert_twins(compiled, python, prefix):
    keys = [key for key in compiled if key.startswith(prefix)]
    assert keys
    assert keys == [key for key in python if key.startswith(prefix)]
    for key in keys:
        assert compiled[key].dtype == python[key].dtype, key
        assert compiled[key].shape == python[key].shape, key
        assert compiled[key].tobytes() == python[key].tobytes(), key


@pytest.mark.parametrize("method", STOCHASTIC)
def test_compiled_method_repeats_its_python_source(method, compiled_arrays, python_arrays):
    assert_twins(compiled_arrays, python_arrays, f"{method}, ")


@pytest.mark.parametrize("group", ["samplers", "rate equations", "statistics", "intervals"])
def test_compiled_part_repeats_its_python_source(group, compiled_arrays, python_arrays):
    assert_twins(compiled_arrays, python_arrays, group)


@pytest.mark.parametrize("cell", sorted(CELLS))
def test_compiled_cell_repeats_its_python_source(cell, compiled_arrays, python_arrays):
    assert_twins(compiled_arrays, python_arrays, f"cell {cell}.")
    assert all(
        np.isfinite(compiled_arrays[key]).all() for key in compiled_arrays if f" {cell}." in key
    )


@pytest.mark.parametrize("method", STOCHASTIC)
def test_the_twin_runs_reach_every_form_of_propensity(method, compiled_arrays):
    # Else equality above would say little: events happened, conditions were met, leaps were made.
    forms = {
        int(form)
        for run in runs_of(method)
        for form in compile_network(gl.Network.parse(NETWORKS[run["name"]])).arrays.form
    }
    assert forms == {0, 1, 2, 3}
    own = {key: one for key, one in compiled_arrays.items() if key.startswith(f"{method}, ")}
    assert sum(int(one.sum()) for key, one in own.items() if key.endswith("|n_events")) > 500
    assert any(np.isfinite(one).any() for key, one in own.items() if key.endswith("|hit"))
    reactions = np.concatenate([one for key, one in own.items() if key.endswith("|reactions")])
    assert (reactions >= 0).sum() > 20
    if method == "tau_leaping":
        assert (reactions == -1).sum() > 20


# ---- Programs -----------------------------------------------------------------------------------

PROGRAM_NETWORK = gl.Network.parse("species A = 3, B = 4\nparam k = 0.5, n = 2\nA -> B @ k")
NAMES = ["A", "B", "k", "n", "t"]


def test_the_operation_codes_are_those_of_the_rate_laws():
    assert set(OPERATION_CODES) == set(OPERATIONS)
    assert len(set(OPERATION_CODES.values())) == len(OPERATION_CODES)


def expressions() -> st.SearchStrategy[Expression]:
    numbers = st.one_of(
        st.sampled_from([0.0, 1.0, 2.0, 3.0, -1.0, 0.5, 1e-300, 1e300, 10.0]),
        st.floats(-50.0, 50.0, allow_nan=False),
    )
    leaves = st.one_of(numbers.map(Number), st.sampled_from(NAMES).map(Symbol))
    by_arity = {
        arity: sorted(name for name, one in OPERATIONS.items() if one.arity == arity)
        for arity in (1, 2, 3)
    }

    def calls(children):
        return st.one_of(
            *(
                st.builds(
                    Call,
                    st.sampled_from(names),
                    st.tuples(*[children] * arity),
                )
                for arity, names in by_arity.items()
            )
        )

    return st.recursive(leaves, calls, max_leaves=25)


def value_of_program(expression: Expression, state, parameters, time) -> float:
    programs, depth = compile_expressions(PROGRAM_NETWORK, [expression])
    # A stack of exactly the depth asked for, between guards.
    memory = np.full(depth + 2, 7.25)
    value = evaluate_program(programs, 0, state, parameters, time, memory[1:-1])
    assert memory[0] == memory[-1] == 7.25
    return float(value)


def assert_same_number(found: float, expected: float, text: str) -> None:
    if np.isnan(expected) or np.isinf(expected):
        assert str(found) == str(expected), text
    else:
        # Programs compute with the C library's functions, the reference with NumPy's.
        assert found == pytest.approx(expected, rel=1e-12, abs=1e-300), text


VALUES = st.one_of(st.integers(0, 20), st.sampled_from([100, 10**6, 2**53]))


@settings(max_examples=400, deadline=None, derandomize=True)
@given(
    expression=expressions(),
    a=VALUES,
    b=VALUES,
    k=st.floats(-10.0, 10.0),
    n=st.floats(0.0, 8.0),
    time=st.floats(0.0, 100.0),
)
def test_programs_compute_what_expressions_do(expression, a, b, k, n, time):
    values = {"A": float(a), "B": float(b), "k": k, "n": n, "t": time}
    found = value_of_program(expression, np.array([a, b, 1]), np.array([k, n]), time)
    # Trees that blow up a difference in the last bit are left out: each operation on its own is
    # compared below, to the last bit or two.
    expected = float(expression.evaluate(values))
    if not is_sensitive(expression, values, expected):
        assert_same_number(found, expected, str(expression))


def is_sensitive(expression: Expression, values: dict[str, float], expected: float) -> bool:
    """Whether changes of a few last bits inside the tree could show at its root."""
    rng = np.random.default_rng(0)
    for _ in range(4):
        evaluated = []
        with np.errstate(all="ignore"):
            for node in expression.postorder():
                if isinstance(node, Number):
                    evaluated.append(node.value)
                elif isinstance(node, Symbol):
                    evaluated.append(values[node.name])
                else:
                    operation = OPERATIONS[node.operation]
                    arguments = evaluated[-operation.arity :]
                    del evaluated[-operation.arity :]
                    exact = float(operation.evaluate(*map(np.float64, arguments)))
                    evaluated.append(exact * (1.0 + rng.choice([-1, 1]) * 1e-15))
        (changed,) = evaluated
        if str(changed) == str(expected):
            continue
        if not (np.isfinite(changed) and np.isfinite(expected)) or abs(
            changed - expected
        ) > 2e-13 * abs(expected):
            return True
    return False


EDGE_ARGUMENTS = [0.0, 1.0, -1.0, 0.5, -0.5, 2.0, 3.0, 1e-300, 1e300, np.inf, -np.inf, np.nan]


@pytest.mark.parametrize("name", sorted(OPERATIONS))
def test_each_operation_agrees_with_its_reference_also_at_the_edges(name):
    # Through parameters, which may be anything: signs, infinities and nan included.
    arity = OPERATIONS[name].arity
    network = gl.Network.parse("species A\nparam x = 1, y = 1, z = 1\nA -> 0 @ x")
    expression = Call(name, [Symbol(one) for one in "xyz"[:arity]])
    programs, depth = compile_expressions(network, [expression])
    state, stack = np.array([0, 1]), np.zeros(depth)
    axes = [EDGE_ARGUMENTS] * arity
    if name in {"^", "hill", "hillr"}:
        # For the power 1/2, NumPy takes the square root: of -inf it is nan, where C's pow says inf.
        axes[-1] = [0.4 if one == 0.5 else one for one in EDGE_ARGUMENTS]
    grids = np.meshgrid(*axes, indexing="ij")
    for arguments in zip(*(grid.ravel() for grid in grids), strict=True):
        parameters = np.zeros(3)
        parameters[:arity] = arguments
        found = float(evaluate_program(programs, 0, state, parameters, 0.0, stack))
        expected = float(expression.evaluate(dict(zip("xyz", parameters.tolist(), strict=True))))
        where = f"{name}{tuple(map(float, arguments))}"
        if np.isfinite(expected):
            assert found == pytest.approx(expected, rel=4e-16, abs=5e-324), where
        else:
            assert str(found) == str(expected), where


@pytest.mark.parametrize("where", ["a number in the law", "a parameter"])
def test_small_whole_powers_are_products_in_the_stated_order(where):
    # To the last bit, because generated code prints the products. Of 1,000 cubes, C's power and the
    # products differ in 100 and more.
    products = {2: lambda x: x * x, 3: lambda x: (x * x) * x, 4: lambda x: (x * x) * (x * x)}
    rng, n_different = np.random.default_rng(3), 0
    for exponent, product in products.items():
        n = Number(float(exponent)) if where == "a number in the law" else Symbol("n")
        base = Call("/", [Symbol("k"), Number(7.0)])
        powers, hills = Call("^", [base, n]), Call("hill", [Symbol("k"), Number(0.3), n])
        for k in rng.uniform(0.0, 9.0, size=500):
            x = k / 7.0
            state, parameters = np.array([0, 0, 1]), np.array([k, float(exponent)])
            assert value_of_program(powers, state, parameters, 0.0) == product(x)
            found = value_of_program(hills, state, parameters, 0.0)
            assert found == 1.0 / (1.0 + product(0.3 / k))
            n_different += product(x) != x**exponent
    assert n_different > 50


# ---- The sum tree -------------------------------------------------------------------------------


def filled_tree(values) -> tuple[np.ndarray, int]:
    n = len(values)
    tree, offset = np.zeros(sum_tree.tree_size(n)), sum_tree.leaf_offset(n)
    tree[offset : offset + n] = values
    for node in range(offset - 1, -1, -1):
        sum_tree.update_node(tree, node)
    return tree, offset


SHARES = st.lists(
    st.one_of(st.just(0.0), st.floats(1e-300, 1e300), st.floats(0.1, 10.0)), min_size=1, max_size=90
)


@settings(max_examples=300, deadline=None, derandomize=True)
@given(values=SHARES, target=st.floats(0.0, 1.0, exclude_max=True))
def test_the_tree_never_chooses_a_share_of_zero(values, target):
    tree, offset = filled_tree(values)
    total = tree[0]
    if total == 0.0 or not np.isfinite(total):
        return
    # Also at the very end of the shares, where rounding is at its worst.
    for at in (target * total, 0.0, np.nextafter(total, 0.0), (1.0 - 2.0**-53) * total):
        chosen = sum_tree.choose_leaf(tree, offset, at)
        assert 0 <= chosen < len(values)
        assert values[chosen] > 0.0


@settings(max_examples=200, deadline=None, derandomize=True)
@given(
    values=st.lists(st.integers(0, 2**20), min_size=1, max_size=600),
    share=st.floats(0.0, 1.0, exclude_max=True),
)
def test_the_tree_chooses_as_a_running_sum_does(values, share):
    # Whole numbers add without rounding, so the order of additions does not matter.
    tree, offset = filled_tree(values)
    total = sum(values)
    assert tree[0] == total
    if total == 0:
        return
    target = np.floor(share * total)
    chosen = sum_tree.choose_leaf(tree, offset, target)
    assert chosen == np.searchsorted(np.cumsum(values), target, side="right")


@settings(max_examples=100, deadline=None, derandomize=True)
@given(
    n=st.integers(1, 150),
    changes=st.lists(st.tuples(st.integers(0, 149), st.floats(0.0, 1e15)), max_size=60),
)
def test_the_total_after_any_changes_is_that_of_a_fresh_tree(n, changes):
    values = [0.0] * n
    tree, offset = filled_tree(values)
    for leaf, value in changes:
        leaf %= n
        values[leaf] = value
        tree[offset + leaf] = value
        node = offset + leaf
        while node > 0:
            node = (node - 1) // sum_tree.ARITY
            sum_tree.update_node(tree, node)
    fresh, _ = filled_tree(values)
    assert tree.tobytes() == fresh.tobytes()
    assert_allclose(tree[0], sum(values), rtol=1e-14)


@pytest.mark.parametrize("n", [1, 2, 7, 8, 9, 32, 33, 64, 65, 512, 513, 4097])
def test_the_tree_has_room_for_every_leaf_and_its_root_is_none(n):
    offset, size = sum_tree.leaf_offset(n), sum_tree.tree_size(n)
    assert offset >= 1
    assert offset + n <= size
    # Every leaf hangs from the root, and the children of every inner node exist.
    assert sum_tree.ARITY * (offset - 1) + sum_tree.ARITY < size
    tree, offset = filled_tree(np.ones(n))
    assert tree[0] == n
    assert [sum_tree.choose_leaf(tree, offset, k + 0.5) for k in range(n)] == list(range(n))


def test_the_nodes_listed_for_an_event_bring_the_tree_up_to_date():
    # What compilation says must be updated after each reaction is enough: total equals a fresh sum.
    network = gl.Network.parse(NETWORKS["more than 64 reactions"])
    arrays = compile_network(network).arrays
    n = network.n_reactions
    rng = np.random.default_rng(1)
    values = rng.uniform(0.1, 5.0, size=n)
    tree, offset = filled_tree(values)
    for fired in [*rng.integers(0, n, size=300).tolist(), n]:
        for k in range(arrays.dependent_start[fired], arrays.dependent_start[fired + 1]):
            values[arrays.dependent[k]] = tree[offset + arrays.dependent[k]] = rng.uniform(0.0, 5.0)
        for k in range(arrays.node_start[fired], arrays.node_start[fired + 1]):
            sum_tree.update_node(tree, arrays.node[k])
        assert tree.tobytes() == filled_tree(values)[0].tobytes()


# ---- The heap -----------------------------------------------------------------------------------


def assert_is_heap(heap: Heap, times) -> None:
    n = heap.time.size
    assert sorted(heap.reaction.tolist()) == list(range(n))
    assert (heap.place[heap.reaction] == np.arange(n)).all()
    assert np.array_equal(heap.time[heap.place], times)
    for slot in range(1, n):
        assert heap.time[(slot - 1) // 4] <= heap.time[slot]


TIMES = st.one_of(st.floats(0.0, 100.0), st.just(np.inf), st.sampled_from([1.0, 2.0]))


@settings(max_examples=200, deadline=None, derandomize=True)
@given(
    times=st.lists(TIMES, min_size=1, max_size=80),
    changes=st.lists(st.tuples(st.integers(0, 79), TIMES), max_size=40),
)
def test_the_heap_is_in_order_after_building_and_after_every_change(times, changes):
    times = np.array(times)
    heap = Heap(times.copy(), *np.zeros((2, times.size), dtype=np.int64))
    build_heap(heap)
    assert_is_heap(heap, times)
    for reaction, time in changes:
        reaction %= times.size
        times[reaction] = time
        move_to(heap, reaction, time)
        assert_is_heap(heap, times)
        assert heap.time[0] == times.min()


def test_building_an_empty_heap_does_nothing():
    nothing = np.zeros(0, dtype=np.int64)
    build_heap(Heap(np.zeros(0), nothing, nothing))
    assert nothing.size == 0


# ---- The script ---------------------------------------------------------------------------------


def main(target: str) -> None:
    if not numba.config.DISABLE_JIT:
        raise SystemExit("set NUMBA_DISABLE_JIT=1")
    # Whole numbers of 64 bits wrap around on purpose; NumPy warns where machine code does not.
    with np.errstate(all="ignore"):
        np.savez(Path(target), **all_arrays())


if __name__ == "__main__":
    main(sys.argv[1])
