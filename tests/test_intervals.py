"""Ranges of programs over boxes: they enclose every value there, and hardly more."""

import itertools
import math

import numba
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import gillespy_lite as gl
from gillespy_lite.compilation import compile_expressions
from gillespy_lite.dsl import parse_expression
from gillespy_lite.kernels.intervals import program_range
from gillespy_lite.kernels.jit import _OPTIONS
from gillespy_lite.kernels.programs import evaluate_program
from gillespy_lite.rate_laws import OPERATIONS, Call, Number, Symbol

NETWORK = gl.Network.parse("species A = 3, B = 4\nparam k = 0.5, n = 2\nA -> B @ k")
NAMES = ["A", "B", "k", "n", "t"]


def range_of(expression, low, high, parameters=(0.5, 2.0), times=(0.0, 0.0)):
    if isinstance(expression, str):
        expression = parse_expression(expression)
    programs, depth = compile_expressions(NETWORK, [expression])
    # Stacks of exactly the depth asked for, between guards.
    stacks = np.full((2, depth + 2), 7.25)
    lower, upper = program_range(
        programs,
        0,
        np.array([*low, 1.0], dtype=float),
        np.array([*high, 1.0], dtype=float),
        np.array(parameters, dtype=float),
        *times,
        stacks[0, 1:-1],
        stacks[1, 1:-1],
    )
    assert (stacks[:, [0, -1]] == 7.25).all()
    return lower, upper


def expressions():
    numbers = st.one_of(
        st.sampled_from([0.0, 1.0, 2.0, 3.0, -1.0, -2.0, 0.5, 1e-300, 1e300, 10.0]),
        st.floats(-50.0, 50.0, allow_nan=False),
    )
    leaves = st.one_of(numbers.map(Number), st.sampled_from([*NAMES, "A", "B"]).map(Symbol))
    by_arity = {
        arity: sorted(name for name, one in OPERATIONS.items() if one.arity == arity)
        for arity in (1, 2, 3)
    }

    def calls(children):
        return st.one_of(
            *(
                st.builds(Call, st.sampled_from(names), st.tuples(*[children] * arity))
                for arity, names in by_arity.items()
            )
        )

    return st.recursive(leaves, calls, max_leaves=12)


ENDS = st.one_of(
    st.sampled_from([0.0, 1.0, -1.0, 0.5, 2.0, math.pi, 1e-3, 100.0]), st.floats(-10.0, 10.0)
)
SPANS = st.one_of(st.just(0.0), st.sampled_from([1e-300, 1e-12, 1.0, 2.0]), st.floats(0.0, 8.0))
FRACTIONS = st.one_of(st.sampled_from([0.0, 0.5, 1.0]), st.floats(0.0, 1.0))


@numba.njit(**_OPTIONS)
def fill_values_at(programs, states, parameters, times, stack, found):
    for k in range(times.size):
        found[k] = evaluate_program(programs, np.int64(0), states[k], parameters, times[k], stack)


def assert_encloses(expression, low, high, parameters, times, fractions):
    lower, upper = range_of(expression, low, high, parameters, times)
    assert lower <= upper
    programs, depth = compile_expressions(NETWORK, [expression])
    start, end = (np.array([*ends, time]) for ends, time in zip((low, high), times, strict=True))
    # A point computed from its ends may fall beyond one of them by rounding.
    points = np.clip(start + np.array(fractions) * (end - start), start, end)
    # A zero in a box means +0.0.
    states = np.where(points == 0.0, 0.0, points)
    states[:, 2] = 1.0
    times, values = points[:, 2].copy(), np.empty(len(points))
    parameters = np.array(parameters, dtype=float)
    fill_values_at(programs, states, parameters, times, np.zeros(depth), values)
    wrong = ~((lower <= values) & (values <= upper))
    if (lower, upper) == (-math.inf, math.inf):
        wrong &= ~np.isnan(values)
    assert not wrong.any(), f"{expression} at A, B, t = {points[wrong][0].tolist()}"


@settings(max_examples=1500, deadline=None, derandomize=True)
@given(
    expression=expressions(),
    ends=st.tuples(ENDS, ENDS, ENDS),
    spans=st.tuples(SPANS, SPANS, SPANS),
    k=st.one_of(st.sampled_from([0.0, 1.0, 2.0, -1.0, 3.0]), st.floats(-10.0, 10.0)),
    n=st.one_of(st.sampled_from([0.0, 1.0, 2.0, -2.0, -3.0]), st.floats(-8.0, 8.0)),
    fractions=st.lists(st.tuples(FRACTIONS, FRACTIONS, FRACTIONS), min_size=8, max_size=20),
)
def test_no_value_in_a_box_lies_outside_its_range(expression, ends, spans, k, n, fractions):
    low = [one if one != 0.0 else 0.0 for one in ends]
    high = [a + span if a + span != 0.0 else 0.0 for a, span in zip(low, spans, strict=True)]
    assert_encloses(expression, low[:2], high[:2], [k, n], (low[2], high[2]), fractions)


@pytest.mark.parametrize("name", sorted(OPERATIONS))
def test_each_operation_encloses_its_values_over_many_boxes(name):
    # Alone, over boxes of every kind of sign, with ends of functions' domains among the ends.
    rng = np.random.default_rng(20261122)
    arity = OPERATIONS[name].arity
    expression = Call(name, [Symbol(one) for one in ("A", "B", "t")[:arity]])
    special = np.array([-3.0, -2.0, -1.0, -0.5, 0.0, 0.5, 1.0, 2.0, 3.0, 0.5 * math.pi])
    for _ in range(400):
        ends = np.where(
            rng.random((3, 2)) < 0.5, rng.choice(special, (3, 2)), rng.normal(size=(3, 2)) * 4
        )
        if rng.random() < 0.3:
            which = rng.integers(3)
            ends[which, 1] = ends[which, 0]
        ends.sort(axis=1)
        fractions = np.concatenate([rng.random((20, 3)), np.indices((2, 2, 2)).reshape(3, -1).T])
        assert_encloses(expression, ends[:2, 0], ends[:2, 1], (1.0, 1.0), tuple(ends[2]), fractions)


@settings(max_examples=300, deadline=None, derandomize=True)
@given(expression=expressions(), a=ENDS, b=ENDS, k=ENDS, n=ENDS, time=ENDS)
def test_the_range_at_a_point_is_the_value_there(expression, a, b, k, n, time):
    programs, depth = compile_expressions(NETWORK, [expression])
    value = evaluate_program(
        programs, 0, np.array([a, b, 1.0]), np.array([k, n]), time, np.zeros(depth)
    )
    found = range_of(expression, [a, b], [a, b], [k, n], (time, time))
    if math.isnan(value):
        assert found == (-math.inf, math.inf)
    else:
        assert list(map(str, found)) == [str(float(value))] * 2


INF = math.inf
# mratio(-2, 1, 1/2): M(-1, 2, z) = 1 - z/2 over M(-2, 1, z) = 1 - 2 z + z^2/2.
RATIO = 0.75 / 0.125
TIGHT = [
    # text, A, B, expected range
    ("A + B", (1, 2), (10, 20), (11, 22)),
    ("A - B", (1, 2), (10, 20), (-19, -8)),
    ("A*B", (-1, 2), (-10, 20), (-20, 40)),
    ("A/B", (1, 2), (4, 5), (0.2, 0.5)),
    ("A/B", (1, 2), (0, 4), (0.25, INF)),
    ("A/B", (1, 2), (-1, 4), (-INF, INF)),
    ("A/B", (0, 2), (0, 4), (-INF, INF)),
    ("1/(A*B)", (1, 2), (0, 4), (0.125, INF)),
    ("1/-B", (1, 2), (0, 4), (-INF, INF)),
    ("A^2", (-1, 2), (0, 0), (0, 4)),
    ("A^3", (-1, 2), (0, 0), (-1, 8)),
    ("A^-2", (-1, 2), (0, 0), (0.25, INF)),
    ("A^-1", (-1, 2), (0, 0), (-INF, INF)),
    ("A^-1", (0, 2), (0, 0), (0.5, INF)),
    ("A^0.5", (0, 4), (0, 0), (0, 2)),
    ("A^0.5", (-1, 4), (0, 0), (-INF, INF)),
    ("A^B", (0.5, 2), (-1, 3), (0.125, 8)),
    ("A^B", (-0.5, 2), (1, 3), (-INF, INF)),
    ("sin(A)", (0, 1), (0, 0), (0, math.sin(1.0))),
    ("sin(A)", (1, 2), (0, 0), (math.sin(1.0), 1)),
    ("sin(A)", (4, 5), (0, 0), (-1, math.sin(4.0))),
    ("sin(A)", (0, 7), (0, 0), (-1, 1)),
    ("cos(A)", (1, 2), (0, 0), (math.cos(2.0), math.cos(1.0))),
    ("cos(A)", (-1, 2), (0, 0), (math.cos(2.0), 1)),
    ("tan(A)", (0, 1), (0, 0), (0, math.tan(1.0))),
    ("tan(A)", (1, 2), (0, 0), (-INF, INF)),
    ("exp(A)", (0, 1), (0, 0), (1, math.e)),
    ("log(A)", (0, 1), (0, 0), (-INF, 0)),
    ("sqrt(A)", (0, 4), (0, 0), (0, 2)),
    ("abs(A)", (-3, 2), (0, 0), (0, 3)),
    ("floor(A)", (0.5, 2.5), (0, 0), (0, 2)),
    ("ceil(A)", (0.5, 2.5), (0, 0), (1, 3)),
    ("min(A, B)", (0, 4), (1, 2), (0, 2)),
    ("max(A, B)", (0, 4), (1, 2), (1, 4)),
    ("A > 2", (3, 4), (0, 0), (1, 1)),
    ("A > 2", (1, 2), (0, 0), (0, 0)),
    ("A >= 2", (1, 2), (0, 0), (0, 1)),
    ("A < 2 or B > 2", (3, 4), (3, 4), (1, 1)),
    ("A < 2 and B > 2", (3, 4), (1, 4), (0, 0)),
    ("not (A < 2)", (3, 4), (0, 0), (1, 1)),
    ("A == B", (3, 4), (5, 6), (0, 0)),
    ("A != B", (3, 4), (5, 6), (1, 1)),
    ("if(A > 2, 10, 20)", (1, 3), (0, 0), (10, 20)),
    ("if(A > 2, 10, 20)", (1, 2), (0, 0), (20, 20)),
    ("if(A > 0, log(A), 0)", (-1, 3), (0, 0), (-INF, INF)),
    ("if(A > 0, sqrt(A), 0)", (1, 4), (0, 0), (1, 2)),
    ("hill(A, 2, 2)", (0, 4), (0, 0), (0, 0.8)),
    ("hillr(A, 2, 2)", (0, 4), (0, 0), (0.2, 1)),
    ("1/(1 + (2/A)^2)", (0, 4), (0, 0), (0, 0.8)),
    ("exp(-1/A)", (0, 4), (0, 0), (0, math.exp(-0.25))),
    ("exp(1/A)", (0, 1), (0, 0), (math.e, INF)),
    ("asin(A)", (-1, 0.5), (0, 0), (-0.5 * math.pi, math.asin(0.5))),
    ("asin(A)", (-1.5, 0.5), (0, 0), (-INF, INF)),
    ("acos(A)", (-1, 0.5), (0, 0), (math.acos(0.5), math.pi)),
    ("atan(A)", (-1, 2), (0, 0), (-0.25 * math.pi, math.atan(2.0))),
    ("sinh(A)", (-1, 2), (0, 0), (math.sinh(-1.0), math.sinh(2.0))),
    ("cosh(A)", (-1, 2), (0, 0), (1, math.cosh(2.0))),
    ("cosh(A)", (-3, -2), (0, 0), (math.cosh(2.0), math.cosh(3.0))),
    ("asinh(A)", (-1, 2), (0, 0), (math.asinh(-1.0), math.asinh(2.0))),
    ("acosh(A)", (1, 2), (0, 0), (0, math.acosh(2.0))),
    ("acosh(A)", (0.9, 2), (0, 0), (-INF, INF)),
    ("atanh(A)", (-0.5, 1), (0, 0), (math.atanh(-0.5), INF)),
    ("factorial(A)", (2, 4), (0, 0), (2, 24)),
    ("factorial(A)", (0, 3), (0, 0), (0.885603194410888, 6)),
    ("factorial(A)", (-1.5, 3), (0, 0), (-INF, INF)),
    ("mratio(-2, 1, k)*A", (1, 2), (0, 0), (RATIO, 2 * RATIO)),
    ("mratio(-2, 1, A)", (1, 2), (0, 0), (-INF, INF)),
    ("if(sqrt(A) > 1, 2, 3)", (-1, 4), (0, 0), (2, 3)),
    ("A*0 + exp(B)*0", (1, 2), (1, 800), (-INF, INF)),
]


@pytest.mark.parametrize(("text", "a", "b", "expected"), TIGHT)
def test_ranges_of_single_operations_are_as_narrow_as_they_can_be(text, a, b, expected):
    found = range_of(text, [a[0], b[0]], [a[1], b[1]])
    for one, other in zip(found, expected, strict=True):
        assert one == pytest.approx(other, rel=2e-14 if "factorial" in text else 3e-15, abs=1e-300)


def test_a_box_that_shrinks_to_a_point_has_a_range_that_shrinks_to_its_value():
    text = "k*sin(3*t + A)*exp(-B/5) + hill(A, 3, 2.5) - A^1.5/(B + log(2 + t))"
    value = range_of(text, [2.0, 3.0], [2.0, 3.0], times=(1.0, 1.0))[0]
    widths = []
    for power in range(1, 14):
        width = 4.0**-power
        lower, upper = range_of(
            text, [2.0, 3.0], [2.0 + width, 3.0 + width], times=(1.0, 1.0 + width)
        )
        assert lower <= value <= upper
        widths.append(upper - lower)
    assert all(a / b > 3.5 for a, b in itertools.pairwise(widths))


def test_a_box_reads_only_what_the_program_reads():
    # B is anywhere, but the program does not read it: its range is still one point.
    lower, upper = range_of("exp(A)", [1.0, -100.0], [1.0, 100.0], times=(0.0, 9.0))
    assert lower == upper == pytest.approx(math.e)
