"""Variables and their rules, X' = expression: declared, solved, refused, shown, saved."""

from __future__ import annotations

import copy
import pickle
import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose
from scipy import integrate

import gillespy_lite as gl
from gillespy_lite.compilation import compile_rate_equations, state_change_matrix
from gillespy_lite.errors import MethodError, NetworkError, ParseError
from gillespy_lite.methods.ode import _SPARSE_FROM, RateEquationSystem
from gillespy_lite.network import Network, Observable, Parameter, Species, Variable, nothing

LORENZ = """
variable x = 1, y = 1, z = 1
param sigma = 10, rho = 28, beta = 8/3

x' = sigma*(y - x)
y' = x*(rho - z) - y
z' = x*y - beta*z
"""
VAN_DER_POL = """
variable x = 2, v
param mu = 5
x' = v
v' = mu*(1 - x^2)*v - x
"""
COMPETITION = """
variable X = 100, Y = 150
param r1 = 0.1, r2 = 0.3, a1 = 1e-4, a2 = 2e-4, b1 = 2e-3, b2 = 3e-3
X' = r1*X*(1 - b1*X) - a1*X*Y
Y' = r2*Y*(1 - b2*Y) - a2*X*Y
"""
# Species that decay, and a variable that they drive.
MIXED = """
species S = 100, P
variable V = -2
param k = 0.5, b = 0.25
observe signal = 3*S + V
convert: S -> P @ k
V' = S - b*V
"""


@pytest.fixture(autouse=True)
def _pictures_in_memory_only():
    import matplotlib
    from matplotlib import pyplot

    matplotlib.use("Agg")
    yield
    pyplot.close("all")


def solved(text: str, t, **options) -> gl.Trajectory:
    return gl.simulate(Network.parse(text), t, method="ode", **options)


# ---- Declared -----------------------------------------------------------------------------------


def test_text_and_python_declare_the_same():
    S, P, V = Species("S", 100), Species("P"), Variable("V", -2)
    k, b = Parameter("k", 0.5), Parameter("b", 0.25)
    network = Network(
        species=[S, P],
        reactions=[(S >> P @ k).named("convert")],
        parameters=[k, b],
        observables=[Observable("signal", 3 * S + V)],
        variables=[V],
        rules={V: S - b * V},
    )
    assert network == Network.parse(MIXED)
    assert hash(network) == hash(Network.parse(MIXED))
    assert network.variables == (Variable("V", -2.0, S - b * V),)
    assert network.variable_names == ("V",)
    assert network.state_names == ("S", "P", "V")
    assert (network.n_species, network.n_variables) == (2, 1)


def test_rules_go_by_variables_or_names_and_may_name_variables_made_later():
    x, y = Variable("x", 1), Variable("y")
    by_variable = Network(variables=[x, y], rules={x: y, y: -x})
    by_name = Network(variables=[x, y], rules={"x": y, "y": -x})
    by_rate = Network(variables=[Variable("x", 1, y), Variable("y", 0, -x)])
    in_text = Network.parse("variable x = 1, y\ny' = -x\nx' = y")
    assert by_variable == by_name == by_rate == in_text


def test_order_of_rules_and_spelling_of_the_prime_mean_nothing():
    plain = Network.parse("variable x = 1, y\nx' = y\ny' = -x")
    assert Network.parse("y\u2032=-x  # a comment\nx  '  = y\nvariable x = 1, y") == plain
    assert Network.parse("variable \u00e9\n\u00e9' = 1") == Network.parse(
        "variable \u00e9\ne\u0301' = 1"
    )


def test_text_of_a_network_is_what_people_write():
    assert str(Network.parse(VAN_DER_POL)) == (
        "variable x = 2, v\nparam mu = 5\n\nx' = v\nv' = mu*(1 - x^2)*v - x\n"
    )
    assert Network.parse(MIXED).text == MIXED.removeprefix("\n").replace("convert", "\nconvert")


def test_networks_without_variables_keep_their_text_and_digest():
    text = "species S = 3, P\nparam k = 0.5\nobserve o = S + P\n\nS -> P @ k\n"
    network = Network.parse(text)
    assert str(network) == text
    # As it was before there were variables; results saved then must still be read.
    assert network.digest == "1c81dafd30ae4575a4dc9b85cddef61924dd17ff92e3c30ef5c9b9d815200bea"
    assert network.variables == ()
    assert network.initial_variables.shape == (0,)
    assert network.state_names == network.species_names
    assert repr(network) == "<Network: 2 species, 1 reaction, 1 parameter, 1 observable>"


@pytest.mark.parametrize("text", [LORENZ, VAN_DER_POL, COMPETITION, MIXED])
def test_networks_with_variables_read_back_pickle_and_copy(text):
    network = Network.parse(text)
    for again in (
        Network.parse(str(network)),
        pickle.loads(pickle.dumps(network)),
        copy.deepcopy(network),
    ):
        assert again == network
        assert (again.digest, hash(again)) == (network.digest, hash(network))


@pytest.mark.parametrize(
    "change",
    [
        ("V = -2", "V = -2.5"),
        ("S - b*V", "S - 2*b*V"),
        ("variable V = -2", "variable V = -2, W\nW' = 0"),
    ],
)
def test_another_variable_is_another_network(change):
    other = Network.parse(MIXED.replace(*change))
    assert other != Network.parse(MIXED)
    assert other.digest != Network.parse(MIXED).digest


def test_rates_are_given_without_observables():
    network = Network.parse("species S\nvariable V, W\nobserve o = 2*V\nV' = o + e*t\nW' = S - o")
    assert str(network.expanded_variable_rate(0)) == f"2*V + {np.e!r}*t"
    assert str(network.expanded_variable_rate(1)) == "S - 2*V"
    assert str(network.expanded(network.observables[0])) == "2*V"


def test_initial_values_are_real_and_may_follow_parameters():
    network = Network.parse("variable x = 1.5, y = -2*a, z\nparam a = 3\nx' = 0\ny' = 0\nz' = 0")
    assert network.initial_variables.tolist() == [1.5, -6.0, 0.0]
    assert network.initial_variables.dtype == np.float64
    assert not network.initial_variables.flags.writeable
    assert network.with_parameters(a=0.25).initial_variables.tolist() == [1.5, -0.5, 0.0]
    assert network.initial_state.tolist() == []


def test_with_initial_takes_counts_and_values():
    network = Network.parse(MIXED)
    changed = network.with_initial({"S": 7}, V=0.125)
    assert changed.initial_state.tolist() == [7, 0]
    assert changed.initial_variables.tolist() == [0.125]
    assert network.initial_variables.tolist() == [-2.0]
    assert changed == Network.parse(MIXED.replace("100", "7").replace("-2", "0.125"))
    assert network.with_initial({network.variables[0]: 3}).initial_variables.tolist() == [3.0]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"V": float("nan")}, "'V' would start at nan; an initial value must be a finite number"),
        ({"V": "2"}, "the initial value of 'V' must be set to a number"),
        ({"S": 2.5}, "not a whole number"),
        ({"Q": 2}, "no species or variable 'Q'; there are S, P, V"),
        ({"v": 2}, r"'v'; did you mean 'V'\?"),
        ({"k": 2}, "'k' is a parameter, set with with_parameters"),
    ],
)
def test_wrong_initial_values_are_refused(values, message):
    with pytest.raises(NetworkError, match=message):
        Network.parse(MIXED).with_initial(values)


def test_a_variable_is_not_set_as_a_parameter():
    with pytest.raises(NetworkError, match="'V' is a variable, set with with_initial"):
        Network.parse(MIXED).with_parameters(V=2)


def test_an_initial_value_that_parameters_make_infinite_is_refused_when_it_is_used():
    network = Network.parse("variable x = 1/a\nparam a = 1\nx' = 0").with_parameters(a=0)
    with pytest.raises(NetworkError, match="'x' would start at inf"):
        gl.simulate(network, 1, method="ode")


X, S, A = Variable("X", 1.0), Species("S", 1), Parameter("a", 0)


@pytest.mark.parametrize(
    ("build", "error", "message"),
    [
        (Network, NetworkError, "at least one species or variable"),
        (lambda: Network(variables=[X]), NetworkError, r"'X' has no rule; .*\(rate= or rules= in"),
        (
            lambda: Network(variables=[Variable("X", 1, 2)], rules={X: 1}),
            NetworkError,
            "'X' has two rules",
        ),
        (lambda: Network([S], rules={S: 1}), NetworkError, "'S' is a species; species change by"),
        (lambda: Network([S], rules={X: 1}), NetworkError, "'X' is not declared; declare it"),
        (lambda: Network(variables=[X], rules=[X]), TypeError, "rules must map variables"),
        (lambda: Network(variables=[X], rules={3: X}), TypeError, "keys of rules are variables"),
        (lambda: Network(variables=[S]), TypeError, r"write for example Variable\(\"X\", 1.5\)"),
        (lambda: Network(variables=X), TypeError, "must be a list of Variable objects"),
        (
            lambda: Network([S], [0.5 * X >> nothing @ 1], variables=[X], rules={X: 1}),
            NetworkError,
            "'0.5' of 'X' is not a whole number, and the mass action",
        ),
        (
            lambda: Network([S], [gl.Reaction({X: 1, S: 0.5}, {}, 1)], variables=[X]),
            NetworkError,
            "'0.5' is not a whole number; molecules react whole",
        ),
        (lambda: Variable("t"), NetworkError, "the variable name 't' is a reserved word"),
        (
            lambda: Network(variables=[Variable("X", 1 / A, 0)], parameters=[A]),
            NetworkError,
            "'X' would start at inf",
        ),
    ],
)
def test_wrong_declarations_in_python_are_refused(build, error, message):
    with pytest.raises(error, match=message):
        build()


def test_a_rule_that_grows_too_large_with_its_observables_is_refused():
    lines = ["variable x", "observe a0 = x + 1"]
    lines += [f"observe a{i} = a{i - 1}*a{i - 1}" for i in range(1, 18)]
    with pytest.raises(ParseError, match="expression of a rule has more than") as caught:
        Network.parse("\n".join([*lines[:16], "x' = a14*a14*a14*a14*a14*a14*a14"]))
    assert caught.value.line_text.startswith("x' = ")


# ---- Solved -------------------------------------------------------------------------------------

TIMES = np.linspace(0.0, 6.0, 25)
# Text, name, its value as a function of time.
CLOSED_FORMS = {
    # x' = -x + sin t: x = (x0 + 1/2) exp(-t) + (sin t - cos t)/2.
    "driven": (
        "variable x = 1\nx' = -x + sin(t)",
        "x",
        lambda t: 1.5 * np.exp(-t) + (np.sin(t) - np.cos(t)) / 2.0,
    ),
    "oscillator": ("variable x = -3, v\nx' = v\nv' = -4*x", "x", lambda t: -3.0 * np.cos(2.0 * t)),
    "logistic, by an observable": (
        "variable x = 0.1\nobserve room = 1 - x\nx' = x*room",
        "x",
        lambda t: 1.0 / (1.0 + 9.0 * np.exp(-t)),
    ),
    # S = 100 exp(-k t) drives V' = S - b V: V = (V0 - c) exp(-b t) + c exp(-k t), c = 100/(b - k).
    "mixed": (MIXED, "V", lambda t: 398.0 * np.exp(-0.25 * t) - 400.0 * np.exp(-0.5 * t)),
    "mixed, an observable": (
        MIXED,
        "signal",
        lambda t: 398.0 * np.exp(-0.25 * t) - 100.0 * np.exp(-0.5 * t),
    ),
    # A variable in the rate of a reaction: S' = -V S with V = exp(-t).
    "variable in a rate": (
        "species S = 50\nvariable V = 1\nS -> 0 @ V\nV' = -V",
        "S",
        lambda t: 50.0 * np.exp(np.exp(-t) - 1.0),
    ),
    "variable in a whole propensity": (
        "species S\nvariable V = 1\n0 => S @ 2*V\nV' = -V",
        "S",
        lambda t: 2.0 - 2.0 * np.exp(-t),
    ),
    "two molecules beside a variable": (
        "species A = 50\nvariable V = 1\n2 A -> 0 @ 0.02\nV' = A",
        "V",
        lambda t: 1.0 + 50.0 * np.log(1.0 + t),
    ),
    "nothing changes": ("variable x = -0.5\nx' = 0", "x", lambda t: np.full_like(t, -0.5)),
}


@pytest.mark.parametrize("solver", ["LSODA", "BDF", "Radau"])
@pytest.mark.parametrize("case", CLOSED_FORMS)
def test_variables_follow_their_closed_form(case, solver):
    text, name, exact = CLOSED_FORMS[case]
    outputs = [name] if name == "signal" else None
    path = solved(text, TIMES, solver=solver, outputs=outputs, rtol=1e-9, atol=1e-9)
    expected = exact(TIMES)
    assert_allclose(path[name], expected, rtol=0, atol=2e-5 * np.abs(expected).max())


@pytest.mark.parametrize(
    ("text", "rates", "end"),
    [
        (
            LORENZ,
            lambda t, s: [
                10 * (s[1] - s[0]),
                s[0] * (28 - s[2]) - s[1],
                s[0] * s[1] - 8 / 3 * s[2],
            ],
            5.0,
        ),
        (VAN_DER_POL, lambda t, s: [s[1], 5 * (1 - s[0] ** 2) * s[1] - s[0]], 20.0),
        (
            COMPETITION,
            lambda t, s: [
                0.1 * s[0] * (1 - 2e-3 * s[0]) - 1e-4 * s[0] * s[1],
                0.3 * s[1] * (1 - 3e-3 * s[1]) - 2e-4 * s[0] * s[1],
            ],
            50.0,
        ),
    ],
    ids=["Lorenz", "Van der Pol", "competition"],
)
def test_classical_models_agree_with_right_hand_sides_written_in_python(text, rates, end):
    network, times = Network.parse(text), np.linspace(0.0, end, 11)
    path = gl.simulate(network, times, method="ode", rtol=1e-10, atol=1e-10)
    other = integrate.solve_ivp(
        rates,
        (0.0, end),
        network.initial_variables,
        method="DOP853",
        t_eval=times,
        rtol=1e-12,
        atol=1e-12,
    )
    # The distance of neighbouring paths of Lorenz grows about a hundredfold until t = 5.
    assert_allclose(path.counts, other.y.T, rtol=1e-5, atol=1e-5)


def test_van_der_pol_settles_on_its_cycle():
    # For mu = 5 the cycle reaches x = 2.0216 whatever the start.
    late = solved(VAN_DER_POL, np.linspace(0.0, 60.0, 6001))["x"][4000:]
    assert_allclose([late.max(), -late.min()], 2.0215, atol=2e-3)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.floats(-3.0, 3.0), min_size=4, max_size=4), st.floats(0.1, 2.0), st.floats(0, 9))
def test_jacobian_agrees_with_complex_steps(values, k, time):
    network = Network.parse(
        f"species A, B\nvariable V, W\nparam k = {k!r}\n"
        "A + B -> 2 B @ k*V^2\nA => B @ k*sin(W)*A^2\n0 -> A @ V\n"
        "V' = A*V - W^3 + t\nW' = exp(-V^2)*B + 2*k"
    )
    # Above the amounts at which a `=>` reaction fades out.
    state = np.abs(values) * [1, 1, 0, 0] + np.array(values) * [0, 0, 1, 1] + [1, 1, 0, 0]

    def rates(y):
        a, b, v, w = y
        first, second = k * v**2 * a * b, k * np.sin(w) * a**2
        return np.array(
            [v - first - second, first + second, a * v - w**3 + time, np.exp(-(v**2)) * b + 2 * k]
        )

    equations, depth = compile_rate_equations(network)
    system = RateEquationSystem(equations, depth, state_change_matrix(network))
    steps = np.array([rates(state + 1e-30j * row).imag / 1e-30 for row in np.eye(4)]).T
    assert_allclose(system.right_hand_side(time, state), rates(state), rtol=1e-12, atol=1e-12)
    assert_allclose(system.jacobian(time, state), steps, rtol=1e-11, atol=1e-11)


def test_large_systems_of_variables_have_a_sparse_jacobian():
    # Diffusion on a ring of n points; the slowest wave decays with 2 - 2 cos(2 pi/n).
    n = _SPARSE_FROM + 20
    starts = 1.0 + np.cos(2.0 * np.pi * np.arange(n) / n)
    lines = [f"variable x{i} = {start!r}" for i, start in enumerate(starts.tolist())]
    lines += [f"x{i}' = x{i - 1 if i else n - 1} - 2*x{i} + x{(i + 1) % n}" for i in range(n)]
    network = Network.parse("\n".join(lines))
    equations, depth = compile_rate_equations(network)
    system = RateEquationSystem(equations, depth, state_change_matrix(network))
    assert system.is_sparse
    assert system.jacobian(0.0, starts).nnz == 3 * n
    path = gl.simulate(network, 100.0, method="ode")
    decay = np.exp(-(2.0 - 2.0 * np.cos(2.0 * np.pi / n)) * 100.0)
    assert_allclose(path.final(), 1.0 + decay * (starts - 1.0), rtol=1e-6)


def test_a_variable_that_explodes_ends_the_run_with_an_error():
    # x' = x^2 from 1 is infinite at t = 1.
    with pytest.raises(gl.SimulationError, match=r"(beyond|no headway at) t = 1"):
        solved("variable x = 1\nx' = x^2", 2)


# ---- Refused ------------------------------------------------------------------------------------


@pytest.mark.parametrize("run", [gl.simulate, lambda *a, **k: gl.ensemble(*a, 3, **k)])
def test_leaping_refuses_variables(run):
    with pytest.raises(MethodError, match=r"the variable 'V' .* cannot solve; .* can: direct"):
        run(Network.parse(MIXED), 1.0, method="tau_leaping")


def test_an_ensemble_of_rate_equations_is_refused():
    with pytest.raises(MethodError, match="deterministic"):
        gl.ensemble(Network.parse(LORENZ), 1.0, 3, method="ode")


def test_unknown_outputs_name_the_variables():
    with pytest.raises(NetworkError, match=r"neither a species, a variable nor .* mean 'x'\?"):
        solved(LORENZ, 1.0, outputs=["X"])


# ---- Results ------------------------------------------------------------------------------------


def test_columns_are_species_then_variables():
    path = solved(MIXED, TIMES)
    assert path.columns == path.species == ("S", "P", "V")
    assert path.counts.dtype == np.float64
    assert path.counts[0].tolist() == [100.0, 0.0, -2.0]
    variable = path.network.variables[0]
    assert variable in path
    assert np.array_equal(path[variable], path["V"])
    # An observable that was not recorded is computed from the columns.
    assert_allclose(path["signal"], 3.0 * path["S"] + path["V"])


def test_outputs_choose_variables_and_their_order():
    path = solved(MIXED, TIMES, outputs=["signal", "V", "P"])
    assert path.columns == ("V", "P", "signal")
    assert np.array_equal(path["V"], solved(MIXED, TIMES)["V"])
    with pytest.raises(KeyError, match="species 'S' was not recorded"):
        path["S"]
    with pytest.raises(KeyError, match="variable 'V' was not recorded"):
        solved(MIXED, TIMES, outputs=["S"])["V"]
    with pytest.raises(KeyError, match="observable 'signal' needs 'V', which was not recorded"):
        solved(MIXED, TIMES, outputs=["S"])["signal"]
    with pytest.raises(KeyError, match="no species, variable or observable 'Q'"):
        path["Q"]


def test_results_with_variables_are_saved_and_loaded(tmp_path):
    path = solved(MIXED, TIMES)
    path.save(tmp_path / "run.npz")
    again = gl.load(tmp_path / "run.npz")
    assert again.network == path.network
    assert np.array_equal(again.counts, path.counts)
    assert np.array_equal(again["V"], path["V"])
    path.to_csv(tmp_path / "run.csv")
    first_lines = (tmp_path / "run.csv").read_text().splitlines()[:2]
    assert first_lines == ["time,S,P,V", "0.0,100.0,0.0,-2.0"]


def test_tables_have_columns_for_variables():
    table = solved(LORENZ, [0.0, 1.0]).to_pandas(wide=True)
    assert list(table.columns) == ["x", "y", "z"]
    assert table.loc[0.0].tolist() == [1.0, 1.0, 1.0]


@pytest.mark.parametrize(
    ("text", "names", "label"),
    [
        (LORENZ, None, "variable"),
        (LORENZ, ["x"], "x"),
        (MIXED, ["S"], "S (molecules)"),
        (MIXED, None, "count (molecules) or variable"),
        (MIXED, ["V", "signal"], "variable or observable"),
    ],
)
def test_plots_say_that_variables_are_not_molecules(text, names, label):
    axes = solved(text, TIMES).plot(names=names)
    assert axes.get_ylabel() == label
    shown = len(names or Network.parse(text).state_names)
    assert len(axes.get_lines()) >= shown


def test_phase_portraits_show_variables():
    axes = solved(LORENZ, np.linspace(0, 10, 500)).plot("phase", x="x", y="z")
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("x", "z")


def test_pictures_of_networks_leave_variables_out():
    from gillespy_lite.plotting import draw_network

    texts = {text.get_text() for text in draw_network(Network.parse(MIXED)).texts}
    assert {"S", "P"} <= texts
    assert "V" not in texts
    with pytest.raises(ValueError, match=r"nothing to draw: .* variables are left out"):
        draw_network(Network.parse(LORENZ))


# ---- Shown --------------------------------------------------------------------------------------


def test_a_network_shows_its_variables():
    network = Network.parse(MIXED)
    assert repr(network) == (
        "<Network: 2 species, 1 variable, 1 reaction, 2 parameters, 1 observable>"
    )
    assert network.to_latex() == (
        "\\begin{align*}\nS &\\xrightarrow{k} P \\\\\n"
        "\\frac{\\mathrm{d}V}{\\mathrm{d}t} &= S - b \\, V\n\\end{align*}"
    )
    page = network._repr_html_()
    assert "<b>Variables</b>" in page
    assert "<b>Rules</b>" in page
    assert "S - b*V" in page
    assert "Variables" not in Network.parse("species S")._repr_html_()


def test_explain_covers_variables():
    text = str(Network.parse(MIXED).explain())
    assert "1 variable\n" in text
    assert "\n  V' = S - b*V  (V = -2)\n" in text
    assert re.search("direct +yes", text)
    assert re.search("tau_leaping +no: the variable 'V'", text)
    assert re.search("ode +yes", text)
    only = Network.parse(LORENZ).explain()
    assert list(map(str, only.rules)) == ["sigma*(y - x)", "x*(rho - z) - y", "x*y - beta*z"]
    assert "Mass action" not in str(only)
    assert "Conservation" not in str(only)
    assert "variable" not in str(Network.parse("species S").explain())
