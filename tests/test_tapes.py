"""Tapes: what the writer shares, folds and moves out of the loop; each operation forwards,
backwards and with tangents; and vector forms that repeat their Python source.
"""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

import gillespy_lite as gl
from gillespy_lite.derivatives import slope_of
from gillespy_lite.dsl_expressions import parse_expression
from gillespy_lite.expressions import Call, Expression, Number, Symbol
from gillespy_lite.kernels import vectors
from gillespy_lite.kernels.jit import kernel
from gillespy_lite.kernels.tape_rows import pull_back_rows, push_rows, run_rows
from gillespy_lite.kernels.tapes import (
    LANES,
    TAPE_CODES,
    Tape,
    pull_back_tape,
    run_tape,
)
from gillespy_lite.network_tapes import rate_equation_tape
from gillespy_lite.operations import OPERATIONS
from gillespy_lite.tape_writing import TapeWriter

CODE_NAMES = {code: name for name, code in TAPE_CODES.items()}
PLACES = {
    "k": ("parameters", 0),
    "n": ("parameters", 1),
    "x": ("states", 0),
    "y": ("states", 1),
    "z": ("states", 2),
    "u": ("inputs", 0),
    "t": ("time", 0),
}
SIZES = {"parameters": 2, "states": 3, "inputs": 1}


def parsed(*texts: str) -> list[Expression]:
    return [parse_expression(text) for text in texts]


def tape_of(*expressions: Expression | str, others=()) -> Tape:
    writer = TapeWriter(PLACES, SIZES)
    trees = [parsed(one)[0] if isinstance(one, str) else one for one in expressions]
    return writer.tape([writer.expression(one) for one in trees], others)


def operations_of(tape: Tape, first: int = 0, last: int | None = None) -> list[str]:
    """The operation of each instruction, in order."""
    sizes = np.diff(tape.group_start.astype(np.int64))
    names = [CODE_NAMES[int(code)] for code in tape.operation]
    last = len(names) if last is None else last
    return [
        name for name, size in list(zip(names, sizes, strict=True))[first:last] for _ in range(size)
    ]


VALUES = {"k": 0.7, "n": 1.6, "x": 1.3, "y": 0.4, "z": 2.2, "u": 0.9, "t": 0.3}


def slots_with(tape: Tape, values: dict[str, float]) -> np.ndarray:
    w = np.zeros(int(tape.n_slots))
    w[: tape.number.size] = tape.number
    start = int(tape.parameters)
    w[start : start + 2] = values["k"], values["n"]
    return w


def evaluated(tape: Tape, values: dict[str, float]) -> np.ndarray:
    outputs = np.empty((1, tape.output.size))
    states = np.array([[values["x"], values["y"], values["z"]]])
    inputs, times = np.array([[values["u"]]]), np.array([values["t"]])
    run_rows(tape, times, states, inputs, slots_with(tape, values), outputs)
    return outputs[0]


def gradients(tape: Tape, values: dict[str, float], weights) -> tuple[np.ndarray, np.ndarray]:
    """The gradient by k, n, x, y, z, u: backwards, and from tangents."""
    states = np.array([[values["x"], values["y"], values["z"]]])
    inputs, times = np.array([[values["u"]]]), np.array([values["t"]])
    bar, states_bar, inputs_bar = np.zeros(int(tape.n_slots)), np.zeros((1, 3)), np.zeros((1, 1))
    pull_back_rows(
        tape, times, states, inputs, slots_with(tape, values), bar,
        np.array([weights], dtype=float), states_bar, inputs_bar,
    )  # fmt: skip
    start = int(tape.parameters)
    backwards = np.concatenate([bar[start : start + 2], states_bar[0], inputs_bar[0]])
    dot = np.zeros((int(tape.n_slots), LANES))
    dot[start, 0] = dot[start + 1, 1] = 1.0
    states_dot, inputs_dot = np.zeros((3, LANES)), np.zeros((1, LANES))
    states_dot[[0, 1, 2], [2, 3, 4]] = inputs_dot[0, 5] = 1.0
    outputs, outputs_dot = np.empty((1, tape.output.size)), np.empty((1, tape.output.size * LANES))
    push_rows(
        tape, times, states, states_dot.reshape(1, -1), inputs, inputs_dot.reshape(1, -1),
        slots_with(tape, values), dot.ravel(), outputs, outputs_dot,
    )  # fmt: skip
    forwards = np.asarray(weights) @ outputs_dot.reshape(-1, LANES)[:, :6]
    return backwards, forwards


# ---- Writing -------------------------------------------------------------------------------------


def test_the_operation_codes_are_those_of_the_language_and_seven_more():
    own = {"sum", "constant power", "noise root", "hill slope", "guarded *", "guarded /"}
    assert set(TAPE_CODES) == set(OPERATIONS) - {"neg"} | own
    assert sorted(TAPE_CODES.values()) == list(range(len(TAPE_CODES)))


def test_common_parts_are_computed_once():
    tape = tape_of("exp(x*y) + 1", "2*exp(x*y)*z", "exp(y*x)/z")
    assert sorted(operations_of(tape)) == ["*", "*", "+", "/", "exp", "sum"]


def test_equal_outputs_share_a_slot():
    tape = tape_of("x*y", "y*x", "0*z + x*y")
    assert tape.output.tolist() == [tape.output[0]] * 3
    assert operations_of(tape) == ["*"]


def test_constants_are_folded():
    tape = tape_of("2*3 + sin(1)*x*0 + 4^0.5", "if(1 > 2, x/0, y)", "x + 0*y", "x^1", "x/1", "x^0")
    assert operations_of(tape) == []
    expected = [8.0, VALUES["y"], VALUES["x"], VALUES["x"], VALUES["x"], 1.0]
    assert_array_equal(evaluated(tape, VALUES), expected)


def test_weights_of_sums_and_products_are_multiplied_out():
    # 2 (3 x - y/2) 4 z + z = (24 x - 4 y) z + z
    tape = tape_of("2*(3*x - y/2)*4*z + z")
    assert sorted(operations_of(tape)) == ["*", "sum", "sum"]
    assert evaluated(tape, VALUES)[0] == pytest.approx((24 * 1.3 - 4 * 0.4) * 2.2 + 2.2, rel=1e-14)


def test_the_prologue_holds_what_depends_on_parameters_alone():
    tape = tape_of("x*k*y*exp(n)*2", "x/(1 + k^n)", "sin(k) + t")
    prologue = operations_of(tape, 0, int(tape.prologue))
    assert sorted(prologue) == sorted(["*", "exp", "^", "+", "/", "sin"])
    loop = operations_of(tape, int(tape.prologue))
    assert sorted(loop) == ["*", "*", "*", "+", "sum"]
    expected = [
        float(one.evaluate(VALUES)) for one in parsed("x*k*y*exp(n)*2", "x/(1 + k^n)", "sin(k) + t")
    ]
    assert_allclose(evaluated(tape, VALUES), expected, rtol=1e-15)


def test_outputs_that_are_not_essential_come_last():
    writer = TapeWriter(PLACES, SIZES)
    (first, other) = (writer.expression(one) for one in parsed("x*y", "cos(x*y)*z"))
    tape = writer.tape([first], [other])
    assert operations_of(tape, 0, int(tape.essential)) == ["*"]
    assert operations_of(tape, int(tape.essential)) == ["cos", "*"]


def test_small_whole_powers_are_products_and_others_keep_a_constant_exponent():
    assert operations_of(tape_of("x^3")) == ["*", "*"]
    assert sorted(operations_of(tape_of("x^-2"))) == ["*", "/"]
    assert operations_of(tape_of("x^0.5")) == ["sqrt"]
    assert operations_of(tape_of("x^2.5")) == ["constant power"]
    assert operations_of(tape_of("x^7")) == ["constant power"]
    assert operations_of(tape_of("x^n")) == ["^"]
    assert "hill" not in operations_of(tape_of("hill(x, k, 2)"))
    assert operations_of(tape_of("hill(x, k, 2.5)")) == ["hill"]


def test_derivatives_keep_constant_exponents_constant():
    writer = TapeWriter(PLACES, SIZES)
    values = [writer.expression(parsed("y*x^7 + x^2.5")[0])]
    tape = writer.tape([*values, *writer.derivatives(values, writer.symbol("x"))])
    assert "^" not in operations_of(tape)
    found = evaluated(tape, VALUES)[1]
    assert found == pytest.approx(7 * 0.4 * 1.3**6 + 2.5 * 1.3**1.5, rel=1e-14)


def test_only_products_below_a_choice_with_something_singular_are_guarded():
    plain = operations_of(tape_of("if(x > y, x*y, z) + y*z"))
    assert not any(name.startswith("guarded") for name in plain)
    choice = operations_of(tape_of("if(x > 0, y*(k/x), 0) + y*z"))
    assert sorted(choice) == sorted([">", "guarded /", "guarded *", "if", "*", "+"])


def test_instructions_of_one_kind_stand_in_one_group():
    network = gl.Network.parse(
        "species " + ", ".join(f"S{i} = {i}" for i in range(20)) + "\nparam k = 2\n"
        + "\n".join(f"S{i} + S{(i + 3) % 20} -> S{(i + 1) % 20} @ k" for i in range(20))
    )  # fmt: skip
    tape, columns = rate_equation_tape(network, ())
    essential = tape.operation[int(tape.prologue) : int(tape.essential)]
    assert essential.size <= 4  # products, products, sums
    assert [len(row) for row in columns] == [len(set(row)) for row in columns]
    assert tape.output.size == 20 + sum(map(len, columns)) + 20


# ---- Each operation ------------------------------------------------------------------------------

INSIDE = {
    "^": (1.3, 0.7), "hill": (1.3, 0.7, 2.4), "hillr": (1.3, 0.7, 2.4), "log": (1.3,),
    "log10": (1.3,), "sqrt": (1.3,), "if": (1.0, 0.7, 2.4), "asin": (0.3,), "acos": (0.3,),
    "acosh": (1.3,), "atanh": (0.3,),
}  # fmt: skip
# Slopes by differences, as these are, magnify the last bits: of first and of second slopes.
ROUGHNESS = {"factorial": (1e-11, 1e-7), "mratio": (1e-11, 1e-7)}


def slopes_of_call(name: str, arguments: tuple[float, ...]) -> list[float]:
    """Slopes by the derivatives of the language, which share nothing with tapes."""
    symbols = [Symbol(one) for one in "xyz"[: len(arguments)]]
    values = dict(zip("xyz", arguments, strict=False))
    call = Call(name, tuple(symbols))
    return [float(slope_of(call, one.name).evaluate(values)) for one in symbols]


@pytest.mark.parametrize("name", sorted(OPERATIONS))
def test_each_operation_has_the_value_and_slopes_of_the_language(name):
    arity = OPERATIONS[name].arity
    points = [INSIDE.get(name, (1.3, 0.7, 2.4)[:arity]), INSIDE.get(name, (-0.4, 0.9, 1.1)[:arity])]
    if name == "if":
        points.append((0.0, 0.7, 2.4))
    if name in {"min", "max"}:
        points.append((0.2, 0.9))
    for arguments in points:
        call = Call(name, tuple(Symbol(one) for one in "xyz"[:arity]))
        values = {**VALUES, **dict(zip("xyz", arguments, strict=False))}
        tape = tape_of(call)
        assert_allclose(evaluated(tape, values), [float(call.evaluate(values))], rtol=4e-16)
        expected = np.zeros(6)
        expected[2 : 2 + arity] = slopes_of_call(name, arguments)
        for found in gradients(tape, values, [1.5]):
            rough = ROUGHNESS.get(name, (1e-13,))[0]
            assert_allclose(found, 1.5 * expected, rtol=rough, atol=1e-300)


@pytest.mark.parametrize("name", sorted(OPERATIONS))
def test_derivatives_on_the_tape_are_those_of_the_language(name):
    # The entries of the Jacobian that Rosenbrock cells take, and their slopes, by differences.
    arity = OPERATIONS[name].arity
    arguments = INSIDE.get(name, (1.3, 0.7, 2.4)[:arity])
    call = Call(name, tuple(Symbol(one) for one in "xyz"[:arity]))
    values = {**VALUES, **dict(zip("xyz", arguments, strict=False))}
    for i, by in enumerate("xyz"[:arity]):
        writer = TapeWriter(PLACES, SIZES)
        slopes = writer.derivatives([writer.expression(call)], writer.symbol(by))
        tape = writer.tape(slopes)
        expected = slopes_of_call(name, arguments)[i]
        rough, rougher = ROUGHNESS.get(name, (1e-13, 1e-12))
        assert_allclose(evaluated(tape, values), [expected], rtol=rough, atol=1e-300)
        second = [float(slope_of(slope_of(call, by), one).evaluate(values)) for one in "xyz"]
        for found in gradients(tape, values, [1.0]):
            assert_allclose(found[2:5], second, rtol=rougher, atol=max(1e-14, 1e-2 * rougher))


def test_the_operations_of_tapes_alone_have_their_values_and_slopes():
    writer = TapeWriter(PLACES, SIZES)
    x, y, z = (writer.symbol(one) for one in "xyz")
    root = writer.call("noise root", [x])
    steep = writer.call("hill slope", [x, y, z])
    tape = writer.tape([root, steep])
    values = {**VALUES, "x": 1.3, "y": 0.7, "z": 2.4}
    slope = slope_of(Call("hill", (Symbol("x"), Symbol("y"), Symbol("z"))), "x")
    assert_allclose(
        evaluated(tape, values), [np.sqrt(1.3), float(slope.evaluate(values))], rtol=1e-14
    )
    second = [float(slope_of(slope, one).evaluate(values)) for one in "xyz"]
    for found in gradients(tape, values, [0.0, 1.0]):
        assert_allclose(found[2:5], second, rtol=1e-13)
    for found in gradients(tape, values, [1.0, 0.0]):
        assert_allclose(found[2:5], [0.5 / np.sqrt(1.3), 0.0, 0.0], rtol=1e-14)
    for found in gradients(tape, {**values, "x": 0.0}, [1.0, 0.0]):
        assert_array_equal(found, 0.0)  # where the square root's own slope is infinite


@pytest.mark.parametrize(
    "text",
    [
        "if(x > 0, k/x, y)", "if(x > 0, y*(k/x), y)", "if(x == 0, y, log(x)*k/x)",
        "max(y, log(x)*k) + y", "min(y, k/x) + y", "if(x > 0, (y/x)^n, 2*y)",
        "if(x > 0, sqrt(x)/x, 0)*k + y", "if(x > 0, exp(k/x), y)", "hill(x, k, 2.5) + y",
        "hill(x, k, n) + y", "hillr(x, k, n)*y", "x^n + y", "x^2.5 + y", "abs(x) + y",
    ],
)  # fmt: skip
def test_what_is_singular_at_zero_and_not_chosen_leaves_no_trace(text):
    # At x = 0 every one of these is a smooth function of k, n and y.
    values = {**VALUES, "x": 0.0}
    (expression,) = parsed(text)
    tape = tape_of(expression)
    assert_allclose(evaluated(tape, values), [float(expression.evaluate(values))], rtol=1e-15)
    backwards, forwards = gradients(tape, values, [1.0])
    assert np.isfinite(backwards).all()
    assert_array_equal(backwards, forwards)
    for i, name in ((0, "k"), (1, "n"), (3, "y")):
        h = 1e-5
        up = float(expression.evaluate({**values, name: values[name] + h}))
        down = float(expression.evaluate({**values, name: values[name] - h}))
        assert backwards[i] == pytest.approx((up - down) / (2 * h), rel=1e-8, abs=1e-9)


def test_hill_has_its_slopes_at_zero_where_the_exponent_is_a_parameter():
    # x^n / (K^n + x^n) is x/K - x^2/K^2 + ..., x^2/K^2 - ... and x^3/K^3 - ... for n = 1, 2, 3.
    k = VALUES["k"]
    for n, slope, curvature in ((1.0, 1 / k, -2 / k**2), (2.0, 0.0, 2 / k**2), (3.0, 0.0, 0.0)):
        values = {**VALUES, "x": 0.0, "n": n}
        for text, sign in (("hill(x, k, n)", 1.0), ("hillr(x, k, n)", -1.0)):
            writer = TapeWriter(PLACES, SIZES)
            value = writer.expression(parsed(text)[0])
            tape = writer.tape([value, *writer.derivatives([value], writer.symbol("x"))])
            assert_allclose(evaluated(tape, values), [sign < 0, sign * slope], rtol=1e-14)
            for found in gradients(tape, values, [1.0, 0.0]):
                assert_allclose(found, [0, 0, sign * slope, 0, 0, 0], rtol=1e-14)
            for found in gradients(tape, values, [0.0, 1.0]):
                assert found[2] == pytest.approx(sign * curvature, rel=1e-14)


# ---- Random expressions --------------------------------------------------------------------------


def expressions() -> st.SearchStrategy[Expression]:
    numbers = st.sampled_from([0.0, 1.0, 2.0, 3.0, -1.0, 0.5, -2.5, 10.0]).map(Number)
    leaves = st.one_of(numbers, st.sampled_from(["k", "n", "x", "y", "z", "u", "t"]).map(Symbol))
    by_arity = {
        arity: sorted(name for name, one in OPERATIONS.items() if one.arity == arity)
        for arity in (1, 2, 3)
    }
    by_arity[3] = ["if"]  # a threshold of 0 makes no sense in hill and hillr, tested above

    def calls(children):
        return st.one_of(
            *(
                st.builds(Call, st.sampled_from(names), st.tuples(*[children] * arity))
                for arity, names in by_arity.items()
            )
        )

    return st.recursive(leaves, calls, max_leaves=20)


COORDINATES = ["k", "n", "x", "y", "z", "u"]


@settings(max_examples=400, deadline=None, derandomize=True)
@given(
    expression=expressions(),
    other=expressions(),
    point=st.lists(st.floats(0.1, 3.0), min_size=7, max_size=7),
)
def test_random_tapes_have_the_values_and_gradients_of_their_expressions(expression, other, point):
    values = dict(zip([*COORDINATES, "t"], point, strict=True))
    with np.errstate(all="ignore"):
        expected = [float(one.evaluate(values)) for one in (expression, other)]
        slopes = [
            [float(slope_of(one, name).evaluate(values)) for name in COORDINATES]
            for one in (expression, other)
        ]
        # Trees that blow up the last bit are left out.
        near = {name: value * (1.0 + 1e-12) for name, value in values.items()}
        shaken = [float(one.evaluate(near)) for one in (expression, other)]
    assume(np.isfinite(expected).all() and np.isfinite(slopes).all())
    assume(np.abs(slopes).max() < 1e8 and np.abs(expected).max() < 1e8)
    assume(np.allclose(shaken, expected, rtol=1e-9, atol=1e-9))
    tape = tape_of(expression, other)
    assert_allclose(evaluated(tape, values), expected, rtol=1e-9, atol=1e-9)
    weights = [0.7, -1.1]
    total = np.array(weights) @ np.array(slopes)
    backwards, forwards = gradients(tape, values, weights)
    scale = 1e-9 * (1.0 + np.abs(slopes).max())
    assert_allclose(backwards, total, rtol=1e-7, atol=scale)
    assert_allclose(forwards, total, rtol=1e-7, atol=scale)


# ---- Lanes, and compiled code against its source -------------------------------------------------

EVERYTHING = (
    "sin(x) + cos(y)*k - tan(x*k)/9 + tanh(y)^3 - log(x + 2) + log10(y + 2) + abs(y - x)",
    "exp(-x) - sqrt(x*k) + hill(x, k, n) - hillr(y, n, 2*k) + floor(x)*k + ceil(y) + x^n - y^2.5",
    "min(x, y*k) - max(x*k, y) + if(x > y and not (y < 0.3) or x == 2, k*x/y, z/(x + u))",
    "if(x >= 1, k/(x - 1), y*u) + (x != y)*t*(x <= z) + x*y*z*k - 3*x + 2*y + (x - y)*(z/k + u)",
)


RUN, PULL_BACK = run_tape[LANES], pull_back_tape[LANES]


@kernel
def run_lanes(tape, w):
    RUN(tape, np.uint64(0), tape.prologue, tape.prologue_shift, w)
    RUN(tape, tape.prologue, tape.essential, tape.shift, w)


@kernel
def pull_back_lanes(tape, w, bar):
    PULL_BACK(tape, tape.prologue, tape.essential, tape.shift, w, bar)
    PULL_BACK(tape, np.uint64(0), tape.prologue, tape.prologue_shift, w, bar)


def many_points() -> np.ndarray:
    """Values (n_names, LANES) around VALUES; where x is 1 or 2, branches change."""
    base = np.array([VALUES[name] for name in [*COORDINATES, "t"]])
    points = base[:, np.newaxis] * np.random.default_rng(1).uniform(0.6, 1.4, (7, LANES))
    points[2, :4] = 1.0, 2.0, 0.0, 0.1
    return points


def test_eight_lanes_repeat_one_lane_bit_for_bit():
    tape, points = tape_of(*EVERYTHING), many_points()
    wide = np.zeros((int(tape.n_slots), LANES))
    wide[: tape.number.size] = tape.number[:, np.newaxis]
    wide[int(tape.parameters) : int(tape.parameters) + 2] = points[:2]
    wide[int(tape.states) : int(tape.states) + 3] = points[2:5]
    wide[int(tape.inputs)], wide[int(tape.time)] = points[5], points[6]
    with np.errstate(all="ignore"):
        run_lanes(tape, wide.ravel())
    weights = np.array([0.5, -1.5, 1.0, 2.0])
    bar = np.zeros((int(tape.n_slots), LANES))
    bar[tape.output.astype(int)] = weights[:, np.newaxis]
    pull_back_lanes(tape, wide.ravel(), bar.ravel())
    start = [int(tape.parameters), int(tape.parameters) + 1]
    start += [int(tape.states) + i for i in range(3)] + [int(tape.inputs)]
    for lane in range(LANES):
        values = dict(zip([*COORDINATES, "t"], points[:, lane].tolist(), strict=True))
        assert_array_equal(wide[tape.output.astype(int), lane], evaluated(tape, values))
        backwards, forwards = gradients(tape, values, weights)
        assert_array_equal(bar[start, lane], backwards)
        assert_allclose(forwards, backwards, rtol=1e-12, atol=1e-13)
        expected = [float(one.evaluate(values)) for one in parsed(*EVERYTHING)]
        assert_allclose(evaluated(tape, values), expected, rtol=1e-13, atol=1e-14)


@kernel
def every_vector_form(w, v, places, weight):
    o, a, b = places[0], places[1], places[2]
    vectors.multiply(w, o, a, b)
    vectors.add_scaled(v, w, a, o, weight)
    vectors.divide(w, o, a, b)
    vectors.add_scaled(w, w, b, o, weight)
    vectors.add(w, o, o, b)
    vectors.subtract(w, o, a, o)
    vectors.retrace_multiply(v, w, o, a, b)
    vectors.add(v, o, a, b)
    vectors.retrace_divide(v, w, o, a, b)
    vectors.subtract(v, o, b, a)
    vectors.retrace_sum(v, o, a, b, weight)
    vectors.add(v, o, a, a)
    vectors.retrace_multiply(v, w, o, a, a)
    vectors.multiply(v, o, a, a)
    vectors.retrace_divide(v, w, o, a, a)
    vectors.subtract(v, o, a, b)
    vectors.retrace_sum(v, o, b, b, weight)
    vectors.clear(w, a)


@pytest.mark.parametrize("places", [(16, 0, 8), (3, 11, 19), (0, 8, 16)])
def test_vector_forms_repeat_their_python_source(places):
    # At places that are no multiples of the width, too; a and b may be the same.
    rng = np.random.default_rng(3)
    start = rng.normal(size=27), rng.normal(size=27)
    found = []
    for run in (every_vector_form, every_vector_form.py_func):
        w, v = start[0].copy(), start[1].copy()
        run(w, v, np.array(places, dtype=np.uint64), 0.75)
        found.append((w, v))
    assert_array_equal(found[0][0], found[1][0])
    assert_array_equal(found[0][1], found[1][1])
    assert not np.array_equal(found[0][0], start[0])
    assert not np.array_equal(found[0][1], start[1])
