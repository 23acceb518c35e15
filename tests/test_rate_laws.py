"""Expression trees: what they compute, print, and refuse."""

import copy
import math
import operator
import pickle
import time

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy import special

from gillespy_lite import rate_laws
from gillespy_lite.derivatives import SLOPES
from gillespy_lite.dsl import parse_expression
from gillespy_lite.errors import NetworkError
from gillespy_lite.network import Network
from gillespy_lite.rate_laws import (
    FUNCTIONS,
    MAX_NODES,
    OPERATIONS,
    RESERVED,
    TIME,
    Call,
    Expression,
    Number,
    Symbol,
    as_expression,
    equal,
    hill,
    if_,
    maximum,
    minimum,
    number_text,
    piecewise,
    unequal,
)

x, y, K, n = Symbol("x"), Symbol("y"), Symbol("K"), Symbol("n")

NAMES = ["x", "y", "S", "Sa", "S1", "e", "pi", "t", "lambda", "β", "Ωmega", "_", "e1", "E"]

finite = st.floats(allow_nan=False, allow_infinity=False)
leaves = st.one_of(
    finite.map(Number), st.integers(-5, 5).map(Number), st.sampled_from(NAMES).map(Symbol)
)


def calls_of(parts):
    def call(name):
        arity = OPERATIONS[name].arity
        return st.tuples(*[parts] * arity).map(lambda arguments: Call(name, arguments))

    return st.sampled_from(sorted(OPERATIONS)).flatmap(call)


expressions = st.recursive(leaves, calls_of, max_leaves=20)


# ---- An independent reading of what an expression means, one number at a time -------------------


def ieee(function, *arguments):
    """Call a function of `math`, with the results that IEEE 754 gives where `math` raises."""
    try:
        return float(function(*arguments))
    except OverflowError:
        return math.inf
    except ValueError:
        return math.nan


def kummer_by_series(*arguments):
    """Return the ratio of two of Kummer's functions; None where their series lose digits."""
    totals = []
    for a, b, z in (arguments[:3], arguments[3:]):
        if b < 0.05 or abs(z) > 30.0:
            return None
        term = total = size = 1.0
        for k in range(200):
            term *= (a + k) / (b + k) * z / (k + 1)
            total, size = total + term, size + abs(term)
        if abs(total) < 1e-2 * size:
            return None
        totals.append(total)
    return totals[0] / totals[1]


def reference(tree, values):
    """Compute a tree by recursion and Python floats; None where this reading has no answer."""
    if isinstance(tree, Number):
        return tree.value
    if isinstance(tree, Symbol):
        return values[tree.name]
    u = [reference(argument, values) for argument in tree.arguments]
    if any(value is None or not math.isfinite(value) for value in u):
        return None
    simple = {
        "+": operator.add,
        "-": operator.sub,
        "*": operator.mul,
        "neg": operator.neg,
        "<": operator.lt,
        "<=": operator.le,
        ">": operator.gt,
        ">=": operator.ge,
        "==": operator.eq,
        "!=": operator.ne,
        "and": lambda a, b: bool(a) and bool(b),
        "or": lambda a, b: bool(a) or bool(b),
        "not": operator.not_,
        "abs": abs,
        "min": min,
        "max": max,
        "if": lambda condition, a, b: a if condition else b,
        "exp": math.exp,
        "sin": math.sin,
        "cos": math.cos,
        "tan": math.tan,
        "tanh": math.tanh,
        "asin": math.asin,
        "acos": math.acos,
        "atan": math.atan,
        "sinh": math.sinh,
        "cosh": math.cosh,
        "asinh": math.asinh,
        "acosh": math.acosh,
        "floor": math.floor,
        "ceil": math.ceil,
        "sqrt": math.sqrt,
    }
    if tree.operation in simple:
        return ieee(simple[tree.operation], *u)
    if tree.operation in {"log", "log10"}:
        if u[0] == 0.0:
            return -math.inf
        return ieee(getattr(math, tree.operation), u[0])
    if tree.operation == "/":
        if u[1] == 0.0:
            return None  # a signed infinity or nan: tested by hand below
        return u[0] / u[1]
    if tree.operation == "^":
        if u[0] == 0.0 and u[1] < 0.0:
            return None
        value = None
        try:
            value = u[0] ** u[1]
        except OverflowError:
            return None
        return math.nan if isinstance(value, complex) else value
    if tree.operation == "atanh":
        return math.copysign(math.inf, u[0]) if abs(u[0]) == 1.0 else ieee(math.atanh, u[0])
    if tree.operation == "factorial":
        return None if u[0] < 0.0 else ieee(math.gamma, u[0] + 1.0)
    if tree.operation == "mratio":
        return kummer_by_series(u[0] + 1.0, u[1] + 1.0, u[2], *u)
    # The Hill functions, as their definition reads; no answer where that overflows.
    a, half, power = u
    try:
        rising, falling = a**power, half**power
        above = rising if tree.operation == "hill" else falling
        value = above / (falling + rising)
    except (OverflowError, ZeroDivisionError):
        return None
    ordinary = a > 0.0 and half > 0.0 and 1e-200 < rising < 1e200 and 1e-200 < falling < 1e200
    return value if ordinary else None


@settings(max_examples=400, deadline=None)
@given(expressions, st.lists(st.floats(-10, 10), min_size=len(NAMES), max_size=len(NAMES)))
def test_evaluation_agrees_with_plain_python_arithmetic(tree, numbers):
    values = dict(zip(NAMES, numbers, strict=True))
    expected = reference(tree, values)
    assume(expected is not None)
    # Functions of huge arguments and differences of near-equal parts magnify the last bit.
    inner = [reference(node, values) for node in tree.postorder()]
    assume(all(part is not None and (part == 0 or 1e-9 < abs(part) < 1e4) for part in inner))
    tolerance = 1e-9 * max(1.0, *(abs(part) for part in inner)) ** 2
    assume(not {"floor", "ceil", "==", "!=", "<", "<=", ">", ">=", "tan"} & operations_of(tree))
    assert tree.evaluate(values) == pytest.approx(expected, rel=1e-7, abs=tolerance, nan_ok=True)


def operations_of(tree):
    return {node.operation for node in tree.postorder() if isinstance(node, Call)}


@pytest.mark.parametrize("name", sorted(OPERATIONS))
def test_each_operation_computes_its_definition(name):
    generator = np.random.default_rng(5)
    arity = OPERATIONS[name].arity
    symbols = [Symbol(f"u{index}") for index in range(arity)]
    for _ in range(50):
        numbers = np.round(generator.uniform(0.1, 4.0, arity), generator.integers(0, 4)).tolist()
        values = {f"u{index}": number for index, number in enumerate(numbers)}
        tree = Call(name, symbols)
        expected = reference(tree, values)
        if expected is not None:
            assert tree.evaluate(values) == pytest.approx(expected, rel=1e-13, nan_ok=True)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1/0", math.inf),
        ("-1/0", -math.inf),
        ("0/0", math.nan),
        ("log(-1)", math.nan),
        ("log(0)", -math.inf),
        ("sqrt(-1)", math.nan),
        ("exp(1000)", math.inf),
        ("9^9^9", math.inf),
        ("0^-1", math.inf),
        ("0^0", 1.0),
        ("(-8)^(1/3)", math.nan),
        ("(-2)^3", -8.0),
        ("-2^2", -4.0),
        ("2^3^2", 512.0),
        ("2^-1", 0.5),
        ("2**-1", 0.5),
        ("1 - 2 - 3", -4.0),
        ("8/4/2", 1.0),
        ("8/4*2", 4.0),
        ("-3*-2", 6.0),
        ("2 - -3", 5.0),
        ("--3", 3.0),
        ("+3", 3.0),
        ("1 < 2", 1.0),
        ("2 < 1", 0.0),
        ("(0/0) == (0/0)", 0.0),
        ("(0/0) != (0/0)", 1.0),
        ("not 0", 1.0),
        ("not 0.5", 0.0),
        ("not 1 < 2", 0.0),
        ("not not 3", 1.0),
        ("0 and 1/0", 0.0),
        ("2 and 3", 1.0),
        ("0 or 0.1", 1.0),
        ("1 or 0 and 0", 1.0),
        ("1 + 1 == 2 and 3 > 2", 1.0),
        ("if(0/0, 1, 2)", 1.0),
        ("if(1 > 2, 1/0, 7)", 7.0),
        ("piecewise(1, 2 < 1, 2, 1 < 2, 3)", 2.0),
        ("piecewise(1, 0, 2, 0, 3)", 3.0),
        ("min(3, 1, 2)", 1.0),
        ("max(3, 1, 2, 5)", 5.0),
        ("pow(2, 10)", 1024.0),
        ("floor(-1.5)", -2.0),
        ("ceil(-1.5)", -1.0),
        ("abs(-3)", 3.0),
        ("log(e)", 1.0),
        ("log10(1000)", 3.0),
        ("cos(pi)", -1.0),
        ("hill(0, 2, 3)", 0.0),
        ("hillr(0, 2, 3)", 1.0),
        ("hill(2, 2, 3)", 0.5),
        ("hill(1e200, 1, 4)", 1.0),
        ("hillr(1e200, 1, 4)", 0.0),
        ("hill(1, 1e200, 4)", 0.0),
        ("hill(3, 2, 0)", 0.5),
        (".5 + 3.", 3.5),
        ("1e3 + 1E-3", 1000.001),
    ],
)
def test_value_of(text, expected):
    assert parse_expression(text).evaluate({}) == pytest.approx(expected, nan_ok=True)


def test_evaluation_broadcasts_arrays_and_gives_no_warning():
    tree = parse_expression("x/y + if(x > 1, log(x), 0)")
    values = tree.evaluate({"x": np.array([0, 1, 2]), "y": np.array([[0], [2]])})
    assert values.shape == (2, 3)
    assert values.dtype == np.float64
    assert np.isnan(values[0, 0])
    assert values[1, 2] == pytest.approx(1.0 + math.log(2.0))
    assert isinstance(tree.evaluate({"x": 1, "y": 2}), float)


def test_integer_arrays_take_negative_powers():
    assert parse_expression("x^-1").evaluate({"x": np.array([2, 4])}).tolist() == [0.5, 0.25]


def test_constants_are_known_unless_a_value_is_given():
    assert parse_expression("2*pi + e").evaluate({}) == pytest.approx(2 * math.pi + math.e)
    assert parse_expression("2*pi + e").evaluate({"pi": 1.0, "e": 5.0}) == 7.0


def test_a_missing_value_is_named():
    with pytest.raises(NetworkError, match=r"no value was given for 'Kd'; did you mean 'kd'\?"):
        Symbol("Kd").evaluate({"kd": 1.0})


# ---- Printing -----------------------------------------------------------------------------------


@settings(max_examples=500, deadline=None)
@given(expressions)
def test_text_reads_back_as_the_same_tree(tree):
    again = parse_expression(str(tree))
    assert again == tree
    assert hash(again) == hash(tree)
    assert str(again) == str(tree)


@given(finite)
def test_numbers_read_back_exactly(value):
    assert float(number_text(value)) == value
    assert "e+" not in number_text(value)
    assert parse_expression(number_text(value)) == Number(value)


@pytest.mark.parametrize(
    ("tree", "text"),
    [
        (x + y + 1, "x + y + 1"),
        (x + (y + 1), "x + (y + 1)"),
        (x - (y - 1), "x - (y - 1)"),
        (x * y / 2, "x*y/2"),
        (x / (y * 2), "x/(y*2)"),
        ((x + 1) * 2, "(x + 1)*2"),
        (-(x**2), "-x^2"),
        ((-x) ** 2, "(-x)^2"),
        (x**-y, "x^-y"),
        (x ** (y**2), "x^y^2"),
        ((x**y) ** 2, "(x^y)^2"),
        (-x * y, "-x*y"),
        (-(x * y), "-(x*y)"),
        (Call("neg", (-x,)), "--x"),
        (Call("neg", (Number(3),)), "-(3)"),
        (Call("neg", (Number(-3),)), "--3"),
        (x - Number(-3), "x - -3"),
        (Number(-3) ** 2, "(-3)^2"),
        (x * 1e-5, "x*1e-5"),
        (x * 1e22, "x*1e22"),
        ((x < 1) & (y > 2) | ~(x <= y), "x < 1 and y > 2 or not x <= y"),
        (~((x < 1) & (y > 2)), "not (x < 1 and y > 2)"),
        ((x < 1) + 1, "(x < 1) + 1"),
        (equal(x, y), "x == y"),
        (unequal(x, y < 1), "x != (y < 1)"),
        (equal(x < 1, y), "(x < 1) == y"),
        (minimum(x, y, 3), "min(x, y, 3)"),
        (minimum(x, minimum(y, 3)), "min(x, min(y, 3))"),
        (maximum(minimum(x, y), 3), "max(min(x, y), 3)"),
        (if_(x > 1, x, 1), "if(x > 1, x, 1)"),
        (piecewise(1, x < 2, 3, x < 5, 7), "piecewise(1, x < 2, 3, x < 5, 7)"),
        (if_(if_(x, 1, 2), x, 1), "if(if(x, 1, 2), x, 1)"),
        (hill(x, K, n), "hill(x, K, n)"),
        (abs(x), "abs(x)"),
        (2 * x**2 / (K**2 + x**2), "2*x^2/(K^2 + x^2)"),
    ],
)
def test_text_has_the_fewest_brackets(tree, text):
    assert str(tree) == text
    assert parse_expression(text) == tree


def test_long_piecewise_is_not_nested_in_text():
    values = [part for index in range(300) for part in (index, x < index)]
    tree = piecewise(*values, 7)
    assert tree.nesting() == 1
    assert parse_expression(str(tree)) == tree


@pytest.mark.parametrize("depth", [1, 50, 98])
def test_nesting_counts_what_the_parser_counts(depth):
    for wrap in (
        lambda tree: (tree + 1) * 2,
        lambda tree: 1 - (1 - tree),
        rate_laws.exp,
        lambda tree: -tree,
        lambda tree: 2**tree,
        lambda tree: x ** (-tree),
        operator.invert,
        lambda tree: minimum(1, tree),
        lambda tree: if_(tree, 1, 2),
        lambda tree: if_(1, tree, 2),
    ):
        tree = x
        while tree.nesting() < depth:
            tree = wrap(tree)
        for allowed in (tree, Call("neg", (tree,))):
            fits = allowed.nesting() <= rate_laws.MAX_NESTING
            try:
                read = parse_expression(str(allowed)) == allowed
            except NetworkError:
                read = False
            assert read == fits, (str(allowed)[:80], allowed.nesting())


def test_repr_shows_the_text_and_stays_short():
    assert repr(x) == "Symbol('x')"
    assert repr(Number(3)) == "Number(3.0)"
    assert repr(x + 1) == "<Call x + 1>"
    assert len(repr(sum((Symbol(f"a{i}") for i in range(1000)), x))) < 250


def test_latex_is_escaped_and_structured():
    tree = parse_expression("k_1*S_a^2/(K + S_a) + if(β >= 2 and t != 0, sqrt(x), abs(y))")
    latex = tree.to_latex()
    assert r"\mathrm{k\_1}" in latex
    assert r"\frac{" in latex
    assert r"\begin{cases}" in latex
    assert latex.count("{") == latex.count("}")
    assert latex.count(r"\left") == latex.count(r"\right")
    assert Symbol("k_1").to_latex({"k_1": "k_{1}"}) == "k_{1}"
    assert (x * 1e-5).to_latex() == r"x \cdot 10^{-5}"
    assert (Number(1e-5) ** x).to_latex() == r"\left(10^{-5}\right)^{x}"
    assert (Number(1.5e-7) ** 2).to_latex() == r"\left(1.5 \times 10^{-7}\right)^{2}"
    assert ((x / y) ** 2).to_latex() == r"\left(\frac{x}{y}\right)^{2}"
    assert x._repr_latex_() == "$x$"


@settings(max_examples=200, deadline=None)
@given(expressions)
def test_latex_brackets_are_balanced(tree):
    latex = tree.to_latex()
    assert latex.count("{") == latex.count("}")
    assert latex.count(r"\left") == latex.count(r"\right")
    assert latex.count(r"\begin{cases}") == latex.count(r"\end{cases}")


# ---- Derivatives --------------------------------------------------------------------------------

SMOOTH = [
    "x^3 - 2*x*y + y",
    "x/y - y/x",
    "(x + y)/(x*y + 1)",
    "exp(-x*y) + log(x + y)",
    "sin(x)*cos(y) + tan(x/3)",
    "tanh(x - y)",
    "asin(x/9) + acos(y/9)*x + atan(x*y)",
    "sinh(x/2) - cosh(y)/9",
    "asinh(x - y) + acosh(x + 2) + atanh(x/20)",
    "factorial(x) + factorial(y/2)*x",
    "mratio(x, y + 1, x - y)",
    "mratio(-3, 2.5, -x)*y",
    "sqrt(x*y + 1)",
    "log10(x)^2",
    "x^y",
    "y^x",
    "2^x",
    "x^2.5",
    "x^-2",
    "-x^2",
    "abs(x - 5)*abs(y)",
    "min(x, 5) + max(y, x + 9)",
    "if(x > y, x^2, y^2)",
    "piecewise(x, x < 0, x^2, x < 4, 7)",
    "hill(x, y, 3)",
    "hill(x, y, 1)",
    "hillr(x, y, 2.5)",
    "hill(y, x, 2)",
    "hill(2, 3, x)",
    "hillr(2, 3, x*y)",
    "hill(x*y, x + y, 1 + x)",
    "x*t + pi*x^e",
    "(x < 3)*x + floor(y/100)*x + ceil(x/100)*y",
    "1/(1 + (x/y)^4)",
]


@pytest.mark.parametrize("text", SMOOTH)
@pytest.mark.parametrize("name", ["x", "y"])
def test_derivative_agrees_with_central_differences(text, name):
    tree = parse_expression(text)
    slope = tree.derivative(name)
    for point in ({"x": 1.3, "y": 0.7, "t": 2.0}, {"x": 2.1, "y": 3.4, "t": 0.5}):
        step = 1e-4

        def along(offset, point=point):
            return tree.evaluate({**point, name: point[name] + offset})

        # Fourth order: the error is about 1e-16/step + step**4.
        difference = (8 * (along(step) - along(-step)) - (along(2 * step) - along(-2 * step))) / (
            12 * step
        )
        assert slope.evaluate(point) == pytest.approx(difference, rel=1e-8, abs=1e-9)


def smooth_calls(parts):
    return st.one_of(
        st.tuples(st.sampled_from(["+", "-", "*", "/"]), parts, parts).map(
            lambda chosen: Call(chosen[0], chosen[1:])
        ),
        st.tuples(st.sampled_from(["sin", "cos", "tanh", "exp", "neg"]), parts).map(
            lambda chosen: Call(chosen[0], chosen[1:])
        ),
        parts.map(lambda tree: Call("sqrt", (tree + 3,))),
        parts.map(lambda tree: hill(tree, 1.5, 2)),
        parts.map(lambda tree: tree**3),
    )


smooth = st.recursive(st.sampled_from([x, y, Number(2), Number(0.5)]), smooth_calls, max_leaves=8)


@settings(max_examples=200, deadline=None)
@given(smooth)
def test_derivative_of_any_smooth_expression_agrees_with_central_differences(tree):
    point, step = {"x": 0.8, "y": 1.7}, 1e-3
    values = np.array(
        [tree.evaluate({**point, "x": 0.8 + k * step}) for k in (-2, -1, 0, 1, 2)], dtype=float
    )
    parts = [abs(node.evaluate(point)) for node in tree.postorder()]
    assume(np.isfinite(values).all() and max(parts) < 1e3 and tree.n_nodes < 60)
    curvature = abs(values[0] - 4 * values[1] + 6 * values[2] - 4 * values[3] + values[4])
    assume(curvature < 1e-6)  # otherwise the difference itself is not accurate
    difference = (8 * (values[3] - values[1]) - (values[4] - values[0])) / (12 * step)
    assert tree.derivative("x").evaluate(point) == pytest.approx(difference, rel=1e-4, abs=1e-4)


@pytest.mark.parametrize(
    ("text", "slope"),
    [
        ("3", "0"),
        ("y", "0"),
        ("x", "1"),
        ("x + 3", "1"),
        ("3*x", "3"),
        ("k*x*y", "k*y"),
        ("k*x^2", "k*(2*x)"),
        ("x^1", "1"),
        ("V*x/(K + x)", "V/(K + x) - V*x/(K + x)^2"),
        ("x/K", "1/K"),
        ("exp(x)", "exp(x)"),
        ("-x", "-1"),
        ("floor(x)", "0"),
        ("x < 3", "0"),
        ("if(x < 3, y, y)", "0"),
        ("min(x, y)", "if(x <= y, 1, 0)"),
        ("max(x, y)", "if(x >= y, 1, 0)"),
        ("abs(x)", "if(x > 0, 1, if(x < 0, -1, 0))"),
    ],
)
def test_derivative_is_lightly_simplified(text, slope):
    assert parse_expression(text).derivative("x") == parse_expression(slope)


@pytest.mark.parametrize(
    ("text", "at_zero"),
    [
        ("hill(x, 40, 2)", 0.0),
        ("hill(x, 40, 1)", 1 / 40),
        ("hillr(x, 40, 1)", -1 / 40),
        ("hillr(x, 40, 4)", 0.0),
        ("x^2", 0.0),
        ("x^1", 1.0),
    ],
)
def test_derivative_is_finite_in_the_empty_state(text, at_zero):
    assert parse_expression(text).derivative("x").evaluate({"x": 0.0}) == pytest.approx(at_zero)


def test_derivative_with_respect_to_an_exponent_is_zero_at_a_zero_base():
    assert parse_expression("x^n").derivative("n").evaluate({"x": 0.0, "n": 2.0}) == 0.0
    assert parse_expression("hill(x, 3, n)").derivative("n").evaluate({"x": 0.0, "n": 2.0}) == 0.0


def test_derivative_of_hill_does_not_overflow():
    slope = parse_expression("hill(x, 1, 8)").derivative("x")
    assert slope.evaluate({"x": 1e200}) == 0.0
    assert slope.evaluate({"x": 1e-200}) == 0.0


# ---- Long and deep expressions ------------------------------------------------------------------


def test_a_sum_of_20000_terms_can_do_everything():
    # Generous: 1 s here; a walk that is quadratic would take minutes.
    started = time.perf_counter()
    tree = as_expression(x)
    for index in range(20_000):
        tree = tree + Symbol(f"a{index % 7}") * index
    values = {f"a{index}": 1.0 for index in range(7)} | {"x": 0.5}
    assert tree.n_nodes == 80_001
    assert tree.evaluate(values) == sum(range(20_000)) + 0.5
    assert tree.symbols() == frozenset(values)
    assert tree.derivative("x") == Number(1)
    assert tree.derivative("a3").evaluate(values) == sum(range(3, 20_000, 7))
    again = tree.substitute({"x": y})
    assert again != tree
    assert again.substitute({"y": x}) == tree
    assert parse_expression(str(tree)) == tree
    assert pickle.loads(pickle.dumps(tree)) == tree
    assert copy.deepcopy(tree) is tree
    assert tree.nesting() == 0
    assert len(tree.to_latex()) > 100_000
    assert repr(tree)
    assert hash(tree) == hash(again.substitute({"y": x}))
    del tree, again
    assert time.perf_counter() - started < 30.0


def test_a_right_deep_tree_can_do_everything_but_be_typed():
    tree = as_expression(x)
    for _ in range(5_000):
        tree = 1 + (y - tree)
    assert tree.nesting() == 10_000 - 1
    assert tree.evaluate({"x": 1.0, "y": 0.0}) == 1.0
    assert pickle.loads(pickle.dumps(tree)) == tree
    assert tree.derivative("x").evaluate({}) == 1.0
    with pytest.raises(NetworkError, match="nest more than 100 levels"):
        parse_expression(str(tree))


def test_an_expression_that_doubles_is_refused_before_it_fills_the_memory():
    def doubled(tree, times):
        for _ in range(times):
            tree = tree * tree
        return tree

    assert doubled(x + 1, 14).n_nodes < MAX_NODES
    with pytest.raises(NetworkError, match=f"at most {MAX_NODES}"):
        doubled(x + 1, 100)


def test_equality_of_shared_trees_is_quick():
    one, two = x + 1, x + 1
    for _ in range(14):
        one, two = one * one, two * two
    assert one == two
    assert one != two + 0


# ---- Building in Python -------------------------------------------------------------------------


def test_operators_build_what_the_text_reads_as():
    pairs = {
        "x + 1": x + 1,
        "1 + x": 1 + x,
        "x - 1": x - 1,
        "1 - x": 1 - x,
        "2*x": 2 * x,
        "x*2": x * 2,
        "x/2": x / 2,
        "2/x": 2 / x,
        "x^2": x**2,
        "2^x": 2**x,
        "-x": -x,
        "x": +x,
        "abs(x)": abs(x),
        "x < 2": x < 2,
        "x > 2": x > 2,
        "x <= y": x <= y,
        "x >= y": x >= y,
        "x and y": x & y,
        "1 and y": 1 & y,
        "x or y": x | y,
        "0 or y": 0 | y,
        "not x": ~x,
        "0.5*x": np.float64(0.5) * x,
        "3 + x": np.int64(3) + x,
        "x > 3": np.float64(3) < x,
    }
    for text, tree in pairs.items():
        assert parse_expression(text) == tree, text


@pytest.mark.parametrize(
    "name",
    [
        *["exp", "log", "log10", "sqrt", "sin", "cos", "tan", "tanh", "floor", "ceil"],
        *["asin", "acos", "atan", "sinh", "cosh", "asinh", "acosh", "atanh", "factorial"],
    ],
)
def test_functions_of_one_argument_exist_in_python(name):
    assert getattr(rate_laws, name)(x) == Call(name, (x,)) == parse_expression(f"{name}(x)")


def test_a_negated_number_is_a_number_and_nothing_else_is_folded():
    assert -Number(3) == Number(-3)
    assert (Number(2) * Number(3)).n_nodes == 3
    assert Number(-0.0) == Number(0.0)
    assert math.copysign(1.0, Number(-0.0).value) == 1.0


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, 10**400])
def test_numbers_are_finite(value):
    with pytest.raises(NetworkError, match=r"must be finite|too large"):
        Number(value)


def test_chained_comparisons_and_truth_values_are_refused_with_advice():
    with pytest.raises(TypeError, match=r"\(0 < x\) & \(x < 5\)"):
        bool(0 < x < 5)
    with pytest.raises(TypeError, match="if_"):
        bool(x > 3)


def test_a_hat_in_python_is_refused_with_advice():
    with pytest.raises(TypeError, match=r"x\*\*2"):
        x ^ 2
    with pytest.raises(TypeError, match=r"2\*\*x"):
        2 ^ x


def test_the_result_of_a_structural_comparison_is_not_taken_for_a_number():
    with pytest.raises(TypeError, match=r"equal\(a, b\)"):
        if_(x == 3, 1, 2)
    with pytest.raises(TypeError, match=r"equal\(a, b\)"):
        x & (y == 3)


@pytest.mark.parametrize("thing", ["x", None, [1], object(), 1j, np.array([1.0, 2.0])])
def test_foreign_operands_are_refused(thing):
    with pytest.raises(TypeError):
        x + thing
    with pytest.raises(TypeError):
        thing * x
    with pytest.raises(TypeError):
        as_expression(thing)


def test_wrong_calls_are_refused():
    with pytest.raises(NetworkError, match="unknown operation 'sine'; did you mean 'sin'"):
        Call("sine", (x,))
    with pytest.raises(NetworkError, match="exp takes 1 arguments, not 2"):
        Call("exp", (x, y))
    with pytest.raises(NetworkError, match="odd number"):
        piecewise(1, x > 2)
    with pytest.raises(NetworkError, match="two or more"):
        minimum(x)


@pytest.mark.parametrize("name", ["exp", "if", "species", "a b", "", "2x", "x-y", "x²", "a" * 201])
def test_symbols_have_names_that_can_be_typed(name):
    with pytest.raises(NetworkError, match=r"symbol name"):
        Symbol(name)


def test_names_are_normalised():
    assert Symbol("\u212bx") == Symbol("\u00c5x")
    assert Symbol("e\u0301") == Symbol("\u00e9")
    assert Symbol("CO\u2082") == Symbol("CO2")
    assert Symbol("t") == TIME


def test_expressions_never_change():
    for tree in (x, Number(1), x + 1):
        with pytest.raises(AttributeError, match="cannot be changed"):
            tree.n_nodes = 7
        with pytest.raises(AttributeError, match="cannot be changed"):
            del tree.arguments
        assert copy.copy(tree) is tree


@given(expressions)
def test_pickles_and_hashes_survive(tree):
    again = pickle.loads(pickle.dumps(tree))
    assert again == tree
    assert hash(again) == hash(tree)
    assert {tree: 1}[again] == 1


@given(expressions, expressions)
def test_equality_means_equal_text(one, two):
    assert (one == two) == (str(one) == str(two))


def test_substitution_is_simultaneous_and_shares_what_it_keeps():
    tree = (x + y) * (y + 1)
    assert tree.substitute({"x": y, "y": x}) == (y + x) * (x + 1)
    assert tree.substitute({"x": 2}).arguments[1] is tree.arguments[1]
    assert tree.substitute({"z": 2}) is tree


def test_every_function_of_the_language_has_a_signature_that_parses():
    for name, function in FUNCTIONS.items():
        assert function.signature.startswith(f"{name}(")
        count = max(function.fewest, 1)
        assert isinstance(parse_expression(f"{name}({', '.join(['x'] * count)})"), Expression)


def test_every_operation_has_a_derivative_and_every_function_a_reserved_name():
    assert SLOPES.keys() == OPERATIONS.keys()
    assert {word for word, use in RESERVED.items() if use == "a function"} == FUNCTIONS.keys()


@pytest.mark.parametrize("name", ["sinh", "factorial", "mratio", "asin"])
def test_the_name_of_a_function_is_refused_as_the_name_of_a_species(name):
    with pytest.raises(NetworkError, match=rf"'{name}'.*function"):
        Network.parse(f"species {name} = 3\n{name} -> 0 @ 1")


def test_factorials_of_whole_numbers_are_exact_and_of_others_the_gamma_function():
    for k in range(23):
        assert parse_expression(f"factorial({k})").evaluate({}) == float(math.factorial(k))
    values = parse_expression("factorial(x)").evaluate({"x": np.array([0.5, -0.5, 170.0, 171.0])})
    expected = [math.sqrt(math.pi) / 2, math.sqrt(math.pi), float(math.factorial(170)), math.inf]
    np.testing.assert_allclose(values, expected, rtol=1e-14)
    # The poles: a limit of either sign, but at -1, where factorials come from above.
    poles = parse_expression("factorial(x)").evaluate({"x": np.array([-1.0, -2.0, -3.0])})
    assert poles[0] == math.inf
    assert np.isnan(poles[1:]).all()


def test_mratio_is_the_ratio_of_two_of_kummers_functions():
    generator = np.random.default_rng(11)
    tree = parse_expression("mratio(a, b, z)")
    # The arguments of networks in quasi-equilibrium, where all terms of M have one sign: a is minus
    # a number of molecules and z is below 0, or all are above 0.
    a = np.concatenate(
        [-generator.integers(0, 60, 500).astype(float), generator.uniform(0, 30, 500)]
    )
    b = np.concatenate(
        [generator.integers(1, 80, 500).astype(float), generator.uniform(0.1, 30, 500)]
    )
    z = np.exp(generator.uniform(-5, 4, 1000)) * np.repeat([-1.0, 1.0], 500)
    expected = special.hyp1f1(a + 1, b + 1, z) / special.hyp1f1(a, b, z)
    found = tree.evaluate({"a": a, "b": b, "z": z})
    np.testing.assert_allclose(found, expected, rtol=2e-11)
    # Closed forms: M(b, b, z) = exp(z), M(0, b, z) = 1, and z = 0.
    for text, exact in (
        ("mratio(2, 2, 3)", 1.0),
        ("mratio(0, 1, 3)", (math.exp(3) - 1) / 3),
        ("mratio(-1, 2, -3)", 1 / 2.5),
        ("mratio(5, 7, 0)", 1.0),
        # To first order in z, 1 + z ((a + 1)/(b + 1) - a/b); the next is below 1e-8.
        ("mratio(-3000, 4000, -0.01)", 1 - 0.01 * (3 / 4 - 2999 / 4001)),
    ):
        assert parse_expression(text).evaluate({}) == pytest.approx(exact, rel=1e-8), text
    for text in ("mratio(1, 0, 1)", "mratio(1, -3, 1)", "mratio(1, 1, 1e9)"):
        assert math.isnan(parse_expression(text.replace("1e9", "x")).evaluate({"x": 1e9})), text


@pytest.mark.parametrize(
    ("composed", "values"),
    [
        # What other languages have and this one composes, at values on all sides.
        ("if(x/y < 0, ceil(x/y), floor(x/y))", [(7, 2, 3), (-7, 2, -3), (7, -2, -3), (6, 3, 2)]),
        (
            "x - y*if(x/y < 0, ceil(x/y), floor(x/y))",
            [(7, 2, 1), (-7, 2, -1), (7, -2, 1), (2**52 + 1, 3, (2**52 + 1) % 3)],
        ),
        ("(x != 0) != (y != 0)", [(0, 0, 0), (2, 0, 1), (0, -1, 1), (2, 3, 0)]),
        ("not x or y", [(0, 0, 1), (0, 1, 1), (1, 0, 0), (2, 3, 1)]),
        ("log(x)/log(y)", [(8, 2, 3), (100, 10, 2)]),
        ("x^(1/y)", [(8, 3, 2), (81, 4, 3)]),
        ("acos(1/x)*y", [(2, 3, math.pi)]),
    ],
)
def test_functions_that_others_have_can_be_composed(composed, values):
    for first, second, expected in values:
        found = parse_expression(composed).evaluate({"x": float(first), "y": float(second)})
        assert found == pytest.approx(expected, rel=1e-15)


# ---- SymPy --------------------------------------------------------------------------------------


def test_sympy_agrees_on_values():
    pytest.importorskip("sympy")
    for text in [*SMOOTH, "x >= 2 and not y < 1 or x == y", "(x > 1) + 2", "log(x)", "log10(x)"]:
        tree = parse_expression(text)
        values = {"x": 1.3, "y": 0.7, "t": 2.0, "pi": math.pi, "e": math.e}
        translated = tree.to_sympy()
        numbers = {symbol: values[str(symbol)] for symbol in translated.free_symbols}
        answer = translated.subs(numbers)
        assert (
            float(bool(answer))
            if answer.is_Boolean
            else float(answer) == pytest.approx(tree.evaluate(values))
        )


def test_sympy_takes_long_sums():
    sympy = pytest.importorskip("sympy")
    tree = as_expression(x)
    for index in range(2_000):
        tree = tree + Symbol(f"a{index}")
    assert len(tree.to_sympy().args) == 2_001
    assert Number(3).to_sympy() == sympy.Integer(3)
