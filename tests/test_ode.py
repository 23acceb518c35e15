"""The rate equations: against closed forms, and their Jacobian against finite differences."""

from __future__ import annotations

import math

import laws
import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy import integrate, linalg

import gillespy_lite as gl
from gillespy_lite.compilation import compile_rate_equations, state_change_matrix
from gillespy_lite.errors import MethodError, NetworkError, SimulationError
from gillespy_lite.kernels.rate_equations import FADE
from gillespy_lite.methods.ode import _SPARSE_FROM, Ode, RateEquationSystem
from gillespy_lite.results import columns

SOLVERS = ["LSODA", "BDF", "Radau"]


def solve(text: str, t, **options):
    return gl.simulate(gl.Network.parse(text), t, method="ode", **options)


def system_of(network: gl.Network) -> RateEquationSystem:
    equations, depth = compile_rate_equations(network)
    return RateEquationSystem(equations, depth, state_change_matrix(network))


# ---- Closed forms -------------------------------------------------------------------------------

TIMES = np.linspace(0.0, 5.0, 21)
# Text, species, its amount as a function of time.
CLOSED_FORMS = {
    "source": ("species X\n0 -> X @ 3", "X", lambda t: 3.0 * t),
    "decay": ("species X = 100\nX -> 0 @ 0.7", "X", lambda t: 100.0 * np.exp(-0.7 * t)),
    "birth and death": (
        "species X = 2\n0 -> X @ 10\nX -> 0 @ 0.5",
        "X",
        lambda t: 20.0 - 18.0 * np.exp(-0.5 * t),
    ),
    # The convention: 2 A -> B @ c takes two molecules at the rate c A^2/2, so A' = -c A^2.
    "two of a kind": (
        "species A = 50, B\n2 A -> B @ 0.02",
        "A",
        lambda t: 50.0 / (1.0 + 0.02 * 50.0 * t),
    ),
    "two of a kind, product": (
        "species A = 50, B\n2 A -> B @ 0.02",
        "B",
        lambda t: 25.0 - 25.0 / (1.0 + 0.02 * 50.0 * t),
    ),
    # 3 A -> 0 @ c: A' = -3 c A^3/6, so 1/A^2 = 1/A0^2 + c t.
    "three of a kind": (
        "species A = 20\n3 A -> 0 @ 0.006",
        "A",
        lambda t: 1.0 / np.sqrt(1.0 / 400.0 + 0.006 * t),
    ),
    # A + B -> 0 from A = 30, B = 20: A - B = 10 stays, logistic.
    "two kinds": (
        "species A = 30, B = 20\nA + B -> 0 @ 0.01",
        "B",
        lambda t: 10.0 / (1.5 * np.exp(0.1 * t) - 1.0),
    ),
    # A' = -2 c A^2 B/2 with B = A/2: A' = -c A^3/2.
    "two and one": (
        "species A = 20, B = 10\n2 A + B -> 0 @ 0.004",
        "A",
        lambda t: 1.0 / np.sqrt(1.0 / 400.0 + 0.004 * t),
    ),
    "logistic growth": (
        "species X = 10\nX -> 2 X @ 1\n2 X -> X @ 0.02",
        "X",
        lambda t: 100.0 / (1.0 + 9.0 * np.exp(-t)),
    ),
    "a rate law": ("species X = 30\nX => 0 @ 0.02*X^2", "X", lambda t: 30.0 / (1.0 + 0.6 * t)),
    "a rate that depends on the state": (
        "species X = 30\nX -> 0 @ 0.02*X",
        "X",
        lambda t: 30.0 / (1.0 + 0.6 * t),
    ),
    "Michaelis-Menten": (
        "species S = 40, P\nparam V = 6, K = 9\nS => P @ V*S/(K + S)",
        "S",
        # K log(S0/S) + S0 - S = V t, solved for S with Lambert's function.
        lambda t: 9.0 * lambert(40.0 / 9.0 * np.exp((40.0 - 6.0 * t) / 9.0)),
    ),
    "a rate that depends on time": (
        "species X\n0 -> X @ 20*(1 + sin(1.3*t))\nX -> 0 @ 0.7",
        "X",
        lambda t: np.array([laws.driven_mean(one) for one in t]),
    ),
    "a rate that depends on time and state": (
        "species X = 50\nX -> 0 @ 0.2*t",
        "X",
        lambda t: 50.0 * np.exp(-0.1 * t**2),
    ),
}


def lambert(z: np.ndarray) -> np.ndarray:
    from scipy.special import lambertw

    return lambertw(z).real


@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("name", CLOSED_FORMS)
def test_rate_equations_follow_their_closed_form(name, solver):
    text, species, expected = CLOSED_FORMS[name]
    result = solve(text, TIMES, solver=solver)
    assert_allclose(result[species], expected(TIMES), rtol=2e-6, atol=2e-6)
    assert result.counts.dtype == np.float64
    # The closed form is sharp: a factor 1.0001 in time would be seen.
    assert not np.allclose(result[species], expected(TIMES * 1.0001), rtol=2e-6, atol=2e-6)


def test_law_h_has_the_tabulated_means():
    text = "species X\n0 -> X @ 20*(1 + sin(1.3*t))\nX -> 0 @ 0.7"
    result = solve(text, [0.0, 1.0, 5.0, 10.0], rtol=1e-11, atol=1e-11)
    assert_allclose(result["X"][1:], [23.303489397, 17.802927625, 20.431811099], rtol=1e-8)


def test_linear_network_is_a_matrix_exponential():
    network = gl.Network.parse(
        "species A = 400, B, C = 100\n0 -> A @ 50\nA -> B @ 1\nB <-> C @ 0.8, 0.5\nC -> 0 @ 0.3"
    )
    generator = np.zeros((4, 4))
    generator[:3, :3] = [[-1.0, 0.0, 0.0], [1.0, -0.8, 0.5], [0.0, 0.8, -0.8]]
    generator[0, 3] = 50.0
    times = np.linspace(0.0, 8.0, 17)
    found = gl.simulate(network, times, method="ode").counts
    expected = [linalg.expm(generator * t) @ [400.0, 0.0, 100.0, 1.0] for t in times]
    assert_allclose(found, np.array(expected)[:, :3], rtol=1e-6, atol=1e-6)


def test_conserved_amounts_stay_so_and_the_grid_is_free():
    network = gl.Network.parse(
        "species S = 301, E = 120, ES, P\nS + E <-> ES @ 0.00166, 1e-4\nES -> E + P @ 0.1"
    )
    result = gl.simulate(network, 50.0, method="ode")
    assert_allclose(result["E"] + result["ES"], 120.0, rtol=1e-9)
    assert_allclose(result["S"] + result["ES"] + result["P"], 301.0, rtol=1e-9)
    assert (result.times == np.linspace(0.0, 50.0, 101)).all()
    few = gl.simulate(network, [0.0, 50.0], method="ode")
    assert_allclose(few.counts[-1], result.counts[-1], rtol=1e-6)
    # A start other than 0 moves the clock: nothing here depends on t, so the path is the same.
    later = gl.simulate(network, [7.0, 57.0], method="ode")
    assert_allclose(later.counts[-1], few.counts[-1], rtol=1e-6)


def test_the_clock_starts_at_the_first_time():
    result = solve("species X = 50\nX -> 0 @ 0.2*t", [3.0, 4.0])
    assert_allclose(result["X"][1], 50.0 * math.exp(-0.1 * (16.0 - 9.0)), rtol=1e-6)


def test_observables_are_computed_from_the_amounts():
    result = solve(
        "species X = 100, Y = 1\nparam k = 0.5\nobserve double = 2*X*k\nobserve both = double + t\n"
        "X -> 0 @ k",
        TIMES,
        outputs=["both", "X"],
    )
    assert result.species == ("X",)
    assert result.observables == ("both",)
    assert_allclose(result["both"], result["X"] + TIMES, rtol=1e-12)


@pytest.mark.parametrize("name", ["telegraph", "reversible dimer in large numbers"])
def test_rate_equations_agree_with_the_mean_of_the_master_equation(name):
    # Exactly where rates are linear; elsewhere up to 1/N.
    if name == "telegraph":
        chain = laws.telegraph()
        law = chain.law((0, 0), 3.0)
        mean = float(chain.marginal(law, 1) @ np.arange(71))
        text = "species off = 1, on, M\noff <-> on @ 0.25, 0.15\non -> on + M @ 15\nM -> 0 @ 1"
        assert_allclose(solve(text, [0.0, 3.0])["M"][1], mean, rtol=1e-6)
    else:
        # Law D on the scale of the linear noise approximation: c P^2/2 gives 52.01387.
        chain = laws.dimerisation()
        text = "species P = 100, Q\n2 P -> Q @ 0.001\nQ -> 2 P @ 0.01"
        found = solve(text, [0.0, 10.0])["P"][1]
        assert_allclose(found, 52.01387, rtol=2e-7)
        exact = float(chain.marginal(chain.law((100, 0), 10.0), 0) @ np.arange(101))
        assert abs(found - exact) < 0.25


# ---- Right-hand side and Jacobian ---------------------------------------------------------------

SLOPES = {
    "source and decay": "species X = 5\n0 -> X @ 2\nX -> 0 @ 0.5",
    "two of a kind": "species A = 7, B = 3\n2 A -> B @ 0.3\nB -> 2 A @ 2",
    "two kinds": "species A = 7, B = 3, C = 2\nA + B <-> C @ 0.3, 1\nA + C -> 2 A @ 0.1",
    "catalyst": "species A = 7, B = 3\nA + B -> A @ 0.3\nA -> A + B @ 2",
    "three molecules": "species A = 7, B = 3, C = 2\n3 A -> B @ 0.01\n2 A + B -> C @ 0.02\n"
    "A + B + C -> 0 @ 0.01",
    "rate times mass action": "species A = 7, B = 3\nparam k = 0.2\nA -> B @ k*A/(1 + B)\n"
    "A + B -> 2 B @ exp(-B/5)\n2 A -> 0 @ k + t/10",
    "parameters in expressions": "species A = 7\nparam k = 0.2, m = 3\nA -> 0 @ k*m^2\n"
    "0 -> A @ m/k",
    "rate laws": "species A = 7, B = 3\nparam V = 3, K = 2, n = 4\nA => B @ V*A/(K + A)\n"
    "0 => A @ V/(1 + (B/K)^n)\nB => 0 @ hill(B, K, n)\n0 => B @ hillr(A, K, 2.5)\n"
    "A + B => 0 @ sqrt(A*B)\n0 => A @ log(1 + B^2)*exp(-A/9)",
    "functions": "species A = 7, B = 3\n0 => A @ sin(A)*cos(B) + 2\n"
    "0 => B @ tanh(A - B) + tan(B/9)\nA => 0 @ log10(A + 3)/abs(B - 9)\nB => 0 @ 2^(B/4) + B^A/1e3",
    "choices": "species A = 7, B = 3\n0 => A @ if(A > 5 and B < 4, A*B, 3)\n"
    "A => 0 @ min(A, 2*B) + max(B, 1)\nB => 0 @ floor(A/2) + ceil(B) + A*(B >= 2)\n"
    "0 => B @ if(A == 3 or not (B != 4), 7, B^2)",
    "observables": "species A = 7, B = 3\nparam k = 0.3\nobserve all = A + 2*B\n"
    "observe ratio = A/all\nA => B @ k*all*ratio^2\n0 -> B @ exp(-ratio)",
    "rates that depend on time": "species A = 7, B = 3\n0 -> A @ 2 + sin(t)\nA => B @ A^2*t/3\n"
    "A + B -> 0 @ 0.1*t",
}


@pytest.mark.parametrize("name", SLOPES)
def test_jacobian_agrees_with_finite_differences(name):
    network = gl.Network.parse(SLOPES[name])
    system = system_of(network)
    rng = np.random.default_rng(3)
    for trial in range(4):
        # Away from the kinks of the test's laws, which lie at whole numbers.
        y = network.initial_state + 0.2 + 0.1 * rng.uniform(size=network.n_species)
        t = 0.4 + trial
        found = system.jacobian(t, y)
        numeric = np.empty_like(found)
        for i in range(y.size):
            step = 1e-5 * max(1.0, y[i])
            up, down = y.copy(), y.copy()
            up[i] += step
            down[i] -= step
            high = system.right_hand_side(t, up).copy()
            numeric[:, i] = (high - system.right_hand_side(t, down)) / (2.0 * step)
        assert_allclose(found, numeric, rtol=1e-6, atol=1e-7)


def test_jacobian_is_right_where_a_law_fades_out():
    # Between no X at all and enough of it, the rate of `=>` rises steeply.
    network = gl.Network.parse("species X = 1, Y = 2\nX => Y @ 3 + X\nX + Y => 0 @ Y^2")
    system = system_of(network)
    for x in (2e-7, 7e-7, 0.5):
        y, step = np.array([x, 2.0]), 1e-9
        numeric = np.empty((2, 2))
        for i in range(2):
            up, down = y + step * np.eye(2)[i], y - step * np.eye(2)[i]
            high = system.right_hand_side(0.0, up).copy()
            numeric[:, i] = (high - system.right_hand_side(0.0, down)) / (2.0 * step)
        assert_allclose(system.jacobian(0.0, y), numeric, rtol=1e-5, atol=1e-5)


def test_right_hand_side_has_the_rates_of_the_convention():
    network = gl.Network.parse(
        "species A = 7, B = 3, C\n2 A -> C @ 0.3\n3 B -> C @ 0.6\n2 A + B -> 0 @ 0.5\n"
        "A => 0 @ A*B\nC -> A @ 2*t"
    )
    a, b, c, t = 7.5, 3.25, 1.5, 2.0
    pairs, triples, mixed = 0.3 * a**2 / 2.0, 0.6 * b**3 / 6.0, 0.5 * a**2 / 2.0 * b
    law, back = a * b, 2.0 * t * c
    expected = [
        -2.0 * pairs - 2.0 * mixed - law + back,
        -3.0 * triples - mixed,
        pairs + triples - back,
    ]
    assert_allclose(system_of(network).right_hand_side(t, np.array([a, b, c])), expected)


def test_rates_beside_missing_reactants_fade_out():
    # X => 0 @ 3 cannot go on without X, so X stops at 0 and what feeds it passes through.
    result = solve("species X = 6, Y = 4\nX => 0 @ 3\nY -> X @ 0.25", np.linspace(0.0, 40.0, 81))
    assert result["X"].min() > -1e-5
    assert abs(result["X"][-1]) < 1e-5
    assert_allclose(result["Y"], 4.0 * np.exp(-0.25 * result.times), rtol=1e-5, atol=1e-6)
    before = result.times < 2.0
    exact = 6.0 - 3.0 * result.times + 4.0 * (1.0 - np.exp(-0.25 * result.times))
    assert_allclose(result["X"][before], exact[before], rtol=1e-5)


# ---- Stiff and large networks -------------------------------------------------------------------


@pytest.mark.parametrize("solver", SOLVERS)
def test_robertsons_stiff_problem(solver):
    # A -> B @ .04, 2 B -> B + C @ 6e7, B + C -> A + C @ 1e4, from A = 1. With c B^2/2, the rate
    # constant 6e7 is the 3e7 of the textbooks. Up to t = 4e5 the digits printed by CVODE's example
    # cvRoberts; at 1e11 the reference solution of the Test Set for IVP Solvers (Mazzia, Magherini).
    network = gl.Network.parse(
        "species A = 1, B, C\nA -> B @ 0.04\n2 B -> B + C @ 6e7\nB + C -> A + C @ 1e4"
    )
    times = [0.0, 0.4, 40.0, 4e3, 4e5, 1e11]
    result = gl.simulate(network, times, method="ode", solver=solver, rtol=1e-8, atol=1e-16)
    expected = {
        1: (9.8517e-01, 3.3864e-05, 1.4794e-02),
        2: (7.1583e-01, 9.1851e-06, 2.8416e-01),
        3: (1.8320e-01, 8.9424e-07, 8.1680e-01),
        4: (4.9383e-03, 1.9850e-08, 9.9506e-01),
        5: (2.083340149701255e-08, 8.333360770334713e-14, 0.9999999791665050),
    }
    for row, amounts in expected.items():
        assert_allclose(result.counts[row], amounts, rtol=2e-4)
    assert_allclose(result.counts.sum(axis=1), 1.0, rtol=1e-6)


def chain_text(n: int, molecules: int = 1_000) -> str:
    """A chain of conversions and pairings, n species long."""
    lines = [
        f"species {', '.join(f'S{i}' + (f' = {molecules}' if i == 0 else '') for i in range(n))}"
    ]
    lines += [f"S{i} <-> S{i + 1} @ {1.0 + i % 5}, 0.5" for i in range(n - 1)]
    for i in range(0, n - 2, 3):
        lines.append(f"S{i} + S{i + 1} -> 2 S{i + 2} @ 0.001")
        lines.append(f"S{i + 1} => S{i} @ 3*S{i + 1}/(40 + S{i + 2})")
    return "\n".join(lines)


def test_sparse_and_dense_jacobians_give_the_same_amounts(monkeypatch):
    network = gl.Network.parse(chain_text(_SPARSE_FROM + 10))
    assert system_of(network).is_sparse
    times = np.linspace(0.0, 10.0, 11)
    sparse = gl.simulate(network, times, method="ode")
    jacobian = system_of(network).jacobian(0.0, sparse.counts[5])
    assert jacobian.format == "csc"
    monkeypatch.setattr("gillespy_lite.methods.ode._SPARSE_FROM", 10**9)
    assert not system_of(network).is_sparse
    assert_allclose(system_of(network).jacobian(0.0, sparse.counts[5]), jacobian.toarray())
    for solver in SOLVERS:
        dense = gl.simulate(network, times, method="ode", solver=solver)
        assert_allclose(dense.counts, sparse.counts, rtol=1e-4, atol=1e-4)
    assert_allclose(sparse.counts.sum(axis=1), 1_000.0, rtol=1e-7)


def test_sparse_network_without_linear_terms_agrees_with_another_solver():
    # An explicit solver of another family, on equations written down here.
    n = 64
    text = f"species {', '.join(f'S{i} = {100 + i}' for i in range(n))}\n"
    text += "\n".join(f"2 S{i} -> S{(i + 1) % n} @ {0.001 + i * 1e-5!r}" for i in range(n))
    c = 0.001 + 1e-5 * np.arange(n)

    def slope(t, y):
        rate = c * y * y / 2.0
        return -2.0 * rate + np.roll(rate, 1)

    expected = integrate.solve_ivp(
        slope, (0.0, 5.0), 100.0 + np.arange(n), method="DOP853", rtol=1e-11, atol=1e-9
    ).y[:, -1]
    assert_allclose(solve(text, [0.0, 5.0]).counts[-1], expected, rtol=1e-6)


# ---- Edges, options, refusals -------------------------------------------------------------------


def test_networks_without_reactions_or_time_stay_as_they_are():
    assert (solve("species X = 5", [0.0, 1.0, 2.0])["X"] == 5.0).all()
    assert solve("species X = 5\nX -> 0 @ 1", [2.0]).counts.tolist() == [[5.0]]
    assert solve("species X", [0.0, 1.0], outputs=["X"]).counts.shape == (2, 1)


def test_amounts_that_explode_are_an_error_that_says_when():
    # X' = X^2 from 1 is infinite at t = 1.
    with pytest.raises(SimulationError, match=r"(beyond|headway at) t = (1|0\.9)") as caught:
        solve("species X = 1\nX => 2 X @ X^2", np.linspace(0.0, 2.0, 21))
    result = caught.value.result
    assert result.stopped == "error"
    assert 0.85 < result.end_time <= 1.0
    assert_allclose(result["X"], 1.0 / (1.0 - result.times), rtol=1e-4)


def test_tolerances_do_what_they_say():
    text, species, expected = CLOSED_FORMS["logistic growth"]
    errors = [
        np.abs(solve(text, TIMES, rtol=tolerance, atol=tolerance)[species] - expected(TIMES)).max()
        for tolerance in (1e-3, 1e-6, 1e-9)
    ]
    assert errors[0] > 10.0 * errors[1] > 100.0 * errors[2]


def test_a_short_pulse_is_seen_with_max_step():
    # Nothing happens until t = 50, then one unit of time at rate 100.
    text = "species X\n0 -> X @ if(t >= 50 and t < 51, 100, 0)"
    result = solve(text, [0.0, 100.0], max_step=0.25)
    assert_allclose(result["X"][-1], 100.0, rtol=1e-3)


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("solver", "RK45"),
        ("solver", "lsoda"),
        ("rtol", 0.0),
        ("rtol", 1.0),
        ("rtol", math.nan),
        ("atol", -1e-6),
        ("atol", math.nan),
        ("max_step", -1.0),
        ("max_step", math.nan),
    ],
)
def test_an_option_out_of_range_is_refused_by_name(option, value):
    with pytest.raises(MethodError, match=option):
        solve("species X", 1.0, **{option: value})
    with pytest.raises(MethodError, match=option):
        Ode(**{option: value})


@pytest.mark.parametrize("request_", [{"every_event": True}, {"max_events": 10}])
def test_what_means_nothing_without_events_is_refused(request_):
    with pytest.raises(MethodError, match=next(iter(request_))):
        solve("species X = 5\nX -> 0 @ 1", 1.0, **request_)


def test_an_ensemble_of_equal_solutions_is_refused():
    with pytest.raises(MethodError, match="deterministic"):
        gl.ensemble(gl.Network.parse("species X = 5\nX -> 0 @ 1"), 1.0, 10, method="ode")


def test_a_negative_rate_constant_is_refused_by_reaction():
    network = gl.Network.parse("species X = 5\nparam k = 1\nfade: X -> 0 @ k").with_parameters(k=-1)
    with pytest.raises(NetworkError, match="fade"):
        gl.simulate(network, 1.0, method="ode")


def test_a_relative_with_other_parameters_has_its_own_solution():
    network = gl.Network.parse("species X = 100\nparam k = 0.7\nX -> 0 @ k\nX => 0 @ k*X/2")
    for k in (0.7, 0.1, 2.0):
        found = gl.simulate(network.with_parameters(k=k), [0.0, 1.0], method="ode")["X"][-1]
        assert_allclose(found, 100.0 * math.exp(-1.5 * k), rtol=1e-6)


def test_laws_fade_alike_in_kernels_and_in_results():
    # `results` may not import kernels, so the number stands in both.
    assert columns.FADE == FADE
