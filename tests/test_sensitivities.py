"""Derivatives of laws to parameters: closed forms, differences, dense exponentials, mutants."""

import math
import warnings

import numpy as np
import pytest
from scipy.linalg import expm
from scipy.stats import binom, poisson

import gillespy_lite as gl
from gillespy_lite.errors import IncompleteWarning, Interrupted, MethodError, NetworkError
from gillespy_lite.kernels.state_slopes import Slopes, add_sensitivity_terms
from gillespy_lite.master_equation import StateSearch, sensitivity_run
from gillespy_lite.master_equation.slopes import SlopeLaws, slopes_on

BIRTH_DEATH = gl.Network.parse("""
    species X = 0
    param k = 10, g = 0.5
    0 -> X @ k
    X -> 0 @ g
""")

# Every kind of rate law: a Hill function, an exponential, a choice, a power, a derived parameter.
MANY_LAWS = gl.Network.parse("""
    species A = 4, B = 1
    param k = 6, K = 5, n = 2.5, g = 0.8, e1 = 0.3, c = 0.06
    param double = 2*c
    observe both = A + 2*B
    0 => A @ k*hillr(B, K, n) + 0.5*exp(-e1*A)
    A -> 0 @ g
    2 A -> B @ double
    B => 0 @ if(A > 3, g*B, 0.5*g*B^1.5)
""")


def poisson_derivatives(x, t, k=10.0, g=0.5):
    """Law A of exact laws: Poisson with mean k/g (1 - exp(-g t)), and its derivatives to k, g."""
    m = k / g * (1.0 - math.exp(-g * t))
    by_k = m / k
    by_g = -m / g + k / g * t * math.exp(-g * t)
    p = poisson(m).pmf(x)
    return p, np.stack([p * (x / m - 1.0) * by_k, p * (x / m - 1.0) * by_g], axis=-1), (by_k, by_g)


def test_birth_and_death_has_the_derivatives_of_its_poisson_law():
    found = gl.master_equation_sensitivities(BIRTH_DEATH, [0.0, 1.0, 3.0])
    assert found.parameters == ("k", "g")
    for row, t in enumerate((1.0, 3.0), start=1):
        law = found.law.marginal("X", t)
        p, s, (by_k, by_g) = poisson_derivatives(np.arange(law.size), t)
        off = np.abs(found.marginal("X", t) - s).sum(axis=0)
        assert (off <= found.error_estimate[row]).all()
        assert (found.error_estimate[row] < 1e-7).all()
        assert np.abs(law - p).sum() <= found.law.error_at(t)
        # The variance of a Poisson law is its mean.
        for name in ("mean", "variance"):
            assert getattr(found, name)("X")[row] == pytest.approx([by_k, by_g], abs=1e-7)
    # The tabulated digits of law A at t = 3.
    assert found.mean("X")[2] == pytest.approx([1.553739680, -17.686983985], abs=2e-8)


def test_decay_has_the_derivatives_of_its_binomial_law():
    network = gl.Network.parse("species X = 12\nparam g = 0.4\nX -> 0 @ g")
    found = gl.master_equation_sensitivities(network, [0.0, 0.7, 2.0], "g")
    x = np.arange(13)
    for row, t in ((1, 0.7), (2, 2.0)):
        q = math.exp(-0.4 * t)
        exact = binom(12, q).pmf(x) * (x / q - (12 - x) / (1.0 - q)) * (-t * q)
        assert np.abs(found.marginal("X", t)[:, 0] - exact).max() < 1e-12
        # A set that nothing leaves: only the series and rounding are left.
        assert found.error_estimate[row, 0] < 1e-8


def dense_derivatives(network, names, t):
    """The law and its derivatives by the exponential of the dense matrix of both together."""
    space = StateSearch(network).reachable()
    a = space.generator().to_scipy().toarray()
    p0 = np.zeros(space.n_states)
    p0[space.index_of(network.initial_state)] = 1.0
    found = []
    for name in names:
        value = dict(zip(network.parameter_names, network.parameter_values, strict=True))[name]
        # These networks are linear in their rate constants: a difference over 1 is exact.
        other = network.with_parameters({name: value + 1.0})
        slope = StateSearch(other).reachable().generator().to_scipy().toarray() - a
        n = space.n_states
        whole = expm(t * np.block([[a, np.zeros((n, n))], [slope, a]]))
        found.append(whole[n:, :n] @ p0)
    return space, np.stack(found, axis=-1)


@pytest.mark.parametrize(
    "text",
    [
        "species P = 30, Q\nparam c = 0.02, d = 0.1\n2 P -> Q @ c\nQ -> 2 P @ d",
        "species A = 6, B = 5, C\nparam c = 0.1, d = 0.3\nA + B -> C @ c\nC -> A + B @ d",
        "species A = 9, B\nparam c = 0.1, d = 0.3, z = 2\nA -> B @ c*z\nA -> B @ d\nB -> A @ z",
    ],
    ids=["dimerisation", "binding", "two reactions of one change"],
)
def test_derivatives_are_those_of_the_dense_exponential(text):
    network = gl.Network.parse(text)
    found = gl.master_equation_sensitivities(network, [0.0, 4.0], tolerance=1e-12)
    space, exact = dense_derivatives(network, found.parameters, 4.0)
    order = space.index_of(found.law.states_at(4.0))
    assert np.abs(found.at(4.0) - exact[order]).sum(axis=0).max() < 1e-10


def central_differences(network, times, name, of, step=2e-4):
    """The derivative of what `of` makes of a law, by four solutions beside it (order 4)."""
    value = dict(zip(network.parameter_names, network.parameter_values, strict=True))[name]
    h = step * value

    def at(moves):
        moved = network.with_parameters({name: value + moves * h})
        return of(gl.solve_master_equation(moved, times, tolerance=1e-12))

    return (8.0 * (at(1) - at(-1)) - (at(2) - at(-2))) / (12.0 * h)


@pytest.mark.parametrize(
    ("network", "times", "species"),
    [
        (MANY_LAWS, [0.0, 1.5], "B"),
        (gl.models.toggle_switch(), [0.0, 2.0], "U"),
    ],
    ids=["many laws", "toggle switch"],
)
def test_derivatives_agree_with_central_differences_to_1e_6(network, times, species):
    found = gl.master_equation_sensitivities(network, times)
    size = found.law.marginal(species).size

    def numbers(law):
        p = law.marginal(species)[:size]
        return np.concatenate([np.pad(p, (0, size - p.size)), law.mean(species)[-1:]])

    for m, name in enumerate(found.parameters):
        differences = central_differences(network, times, name, numbers)
        exact = np.append(found.marginal(species)[:, m], found.mean(species)[-1, m])
        # Relative to the parameter: what a change by a factor does.
        assert np.abs(exact - differences).max() * abs(found.values[m]) < 1e-6


def test_derivatives_of_moments_and_conditions_agree_with_those_of_the_law():
    times = [0.0, 0.5, 1.5]
    found = gl.master_equation_sensitivities(MANY_LAWS, times, ["k", "c"])
    what = {
        "mean of an observable": (lambda r: r.mean("both")),
        "mean of an expression": (lambda r: r.mean("A*B")),
        "third moment": (lambda r: r.moment("A", 3)),
        "third central moment": (lambda r: r.moment("A", 3, central=True)),
        "zeroth moment": (lambda r: r.moment("A", 0)),
        "condition": (lambda r: r.probability("A >= 5 and B < 4")),
        "state": (lambda r: r.probability({"A": 3, "B": 2}, 1.5)),
    }
    for m, name in enumerate(found.parameters):
        for said, of in what.items():
            differences = central_differences(MANY_LAWS, times, name, of)
            exact = of(found)
            assert np.abs(exact[..., m] - differences).max() < 2e-6 * max(
                1.0, np.abs(exact).max()
            ), said
    spread = central_differences(MANY_LAWS, times, "k", lambda r: r.std("A"))
    assert found.std("A")[1:, 0] == pytest.approx(spread[1:], abs=1e-6)
    assert np.isnan(found.std("A")[0]).all()  # no spread at the start
    values, p, s = found.joint(["A", "B"])
    assert np.array_equal(values, found.law.joint(["A", "B"])[0])
    assert p.sum() == pytest.approx(1.0)
    assert np.abs(s.sum(axis=0)).max() < 1e-8
    assert found.mean().shape == (3, 2, 2)


@pytest.mark.parametrize("tolerance", [1e-3, 1e-5, 1e-7])
def test_the_error_estimate_is_no_less_than_the_error(tolerance):
    for network, t in ((BIRTH_DEATH, 3.0), (MANY_LAWS, 1.5)):
        fine = gl.master_equation_sensitivities(network, [0.0, t], tolerance=1e-11)
        rough = gl.master_equation_sensitivities(network, [0.0, t], tolerance=tolerance)
        exact = {tuple(x): s for x, s in zip(fine.law.states.tolist(), fine.at(), strict=True)}
        total = np.abs(fine.at()).sum(axis=0)
        for x, s in zip(rough.law.states.tolist(), rough.at(), strict=True):
            known = exact.get(tuple(x), np.zeros(len(s)))
            total += np.abs(known - s) - np.abs(known)
        assert (total <= rough.error_estimate[-1] + 1e-10).all()
        assert (total > 0.0).all()


# ---- Mutants ------------------------------------------------------------------------------------


@pytest.mark.parametrize("forgotten", ["out", "into", "leak_slope"])
def test_a_derivative_that_forgets_part_of_the_flow_is_noticed(forgotten, monkeypatch):
    def mutant(*arguments) -> tuple[Slopes, np.ndarray]:
        slopes, steepest = slopes_on(*arguments)
        part = getattr(slopes, forgotten)
        return slopes._replace(**{forgotten: np.zeros_like(part)}), steepest

    # At a rough tolerance the estimate of what was lost matters.
    tolerance = 1e-2 if forgotten == "leak_slope" else 1e-10
    right = gl.master_equation_sensitivities(BIRTH_DEATH, [0.0, 3.0], tolerance=tolerance)
    monkeypatch.setattr(sensitivity_run, "slopes_on", mutant)
    found = gl.master_equation_sensitivities(BIRTH_DEATH, [0.0, 3.0], tolerance=tolerance)
    if forgotten == "leak_slope":
        assert found.error_estimate[-1, 0] < right.error_estimate[-1, 0]
        return
    x = np.arange(found.law.marginal("X").size)
    off = np.abs(found.marginal("X") - poisson_derivatives(x, 3.0)[1]).sum(axis=0)
    assert (off > 1e-2).all()


def test_compiled_series_repeats_its_python_source():
    space = StateSearch(MANY_LAWS).space(np.array([[a, b] for a in range(9) for b in range(6)]))
    generator = space.generator()
    laws = SlopeLaws(space.search, ("k", "c"))
    slopes, _ = slopes_on(laws, generator, MANY_LAWS, 0.0)
    found = []
    for run in (add_sensitivity_terms, add_sensitivity_terms.py_func):
        terms = np.zeros((3, space.n_states))
        terms[0, 5] = 1.0
        following, totals, lost = np.zeros_like(terms), np.zeros_like(terms), np.zeros(2)
        weights = np.array([0.1, 0.2, 0.3, 0.2, 0.1])
        rate = generator.largest_outflow
        run(generator.flow, slopes, rate, 0, 4, weights, weights[::-1].copy(), terms, following,
            totals, lost)  # fmt: skip
        found.append((terms, totals, lost))
    for compiled, source in zip(*found, strict=True):
        np.testing.assert_allclose(compiled, source, rtol=1e-13, atol=1e-16)


# ---- What is asked for --------------------------------------------------------------------------


def test_derived_parameters_are_followed_through_their_definitions():
    written = gl.Network.parse("species X\nparam a = 2, k = 3*a^2, g = 1\n0 -> X @ k\nX -> 0 @ g")
    by_a = gl.master_equation_sensitivities(written, [0.0, 1.0], "a").mean("X")[-1, 0]
    # dm/da = dm/dk dk/da, with k = 12 and dk/da = 6 a.
    assert by_a == pytest.approx((1.0 - math.exp(-1.0)) * 12.0, abs=1e-7)


def test_an_initial_law_is_taken_and_times_may_begin_anywhere():
    network = gl.Network.parse("species X = 3\nparam g = 0.4\nX -> 0 @ g")
    start = {(2,): 0.25, (6,): 0.75}
    found = gl.master_equation_sensitivities(network, [5.0, 6.0], initial=start)
    # The mean is 5 exp(-g t).
    assert found.mean("X")[:, 0] == pytest.approx([0.0, -5.0 * math.exp(-0.4)], abs=1e-9)
    law = gl.solve_master_equation(network, [0.0, 1.0], initial=start)
    after = gl.master_equation_sensitivities(network, [1.0, 2.0], initial=law)
    assert after.law.mean("X")[0] == pytest.approx(5.0 * math.exp(-0.4), abs=1e-6)
    assert after.law.error_bound[0] >= law.error_bound[-1]


@pytest.mark.parametrize(
    ("text", "parameters", "error", "message"),
    [
        ("0 -> X @ k\nparam q = 2*k", "q", NetworkError, "is derived .q = 2[*]k"),
        ("0 -> X @ k", "kk", NetworkError, "no parameter of the network; did you mean 'k'"),
        ("0 -> X @ k", ["k", "k"], ValueError, "names 'k' twice"),
        ("0 -> X @ k", [], ValueError, "is empty"),
        ("0 -> X @ 2", None, NetworkError, "no rate of the network depends on a parameter"),
        ("0 -> X @ k*(1 + sin(t))", "k", MethodError, "depends on t"),
        ("0 -> X @ k\nat t >= 2: X = 5", "k", MethodError, "has events"),
        ("0 -> X @ k\nspecies Y = 3*k\nY -> 0 @ k", "k", MethodError, "initial count of 'Y'"),
        ("0 -> X @ z\nparam z = 0", "z", MethodError, "a reaction never fires that fires beside"),
        ("0 -> X @ sqrt(z)\nparam z = 0", "z", MethodError, "is inf in the state X = 0"),
    ],
)
def test_what_has_no_derivative_is_refused_by_name(text, parameters, error, message):
    network = gl.Network.parse(f"species X\nparam k = 1\n{text}")
    with pytest.raises(error, match=message):
        gl.master_equation_sensitivities(network, [0.0, 1.0], parameters)


def test_arguments_that_make_no_sense_are_refused():
    with pytest.raises(TypeError, match="must be a Network"):
        gl.master_equation_sensitivities("X", 1.0)
    with pytest.raises(ValueError, match="tolerance must be more than 0"):
        gl.master_equation_sensitivities(BIRTH_DEATH, 1.0, tolerance=0.0)
    with pytest.raises(ValueError, match="no recorded time"):
        gl.master_equation_sensitivities(BIRTH_DEATH, [0.0, 1.0]).at(0.5)


def test_limits_give_what_is_there_with_a_warning():
    with pytest.warns(IncompleteWarning, match="more than 12 states"):
        found = gl.master_equation_sensitivities(BIRTH_DEATH, [0.0, 3.0], max_states=12)
    assert found.stopped == "max_states"
    assert found.derivatives.shape[-1] <= 14
    assert found.error_estimate[-1, 0] > 0.1
    with pytest.warns(IncompleteWarning, match="the time limit ran out"):
        found = gl.master_equation_sensitivities(BIRTH_DEATH, [0.0, 1e3], timeout=0.0)
    assert found.n_times == 1
    assert found.stopped == "timeout"


def test_ctrl_c_gives_what_is_there():
    def press(done, total):
        if done >= 1.0:
            raise KeyboardInterrupt

    with pytest.raises(Interrupted) as caught:
        gl.master_equation_sensitivities(BIRTH_DEATH, [0.0, 0.5, 1.0, 3.0], progress=press)
    assert 2 <= caught.value.result.n_times < 4
    assert caught.value.result.stopped == "interrupt"


def test_a_tolerance_below_rounding_ends_with_a_warning():
    with pytest.warns(IncompleteWarning, match="rounding adds up"):
        found = gl.master_equation_sensitivities(BIRTH_DEATH, [0.0, 3.0], tolerance=1e-17)
    assert found.stopped == "rounding"
    assert found.mean("X")[-1, 0] == pytest.approx(1.553739680, abs=1e-9)


def test_a_law_at_rest_keeps_its_derivatives():
    # Two times far apart, long after the law has come to rest.
    found = gl.master_equation_sensitivities(BIRTH_DEATH, [0.0, 200.0, 1e4], tolerance=1e-8)
    assert found.mean("X")[1:] == pytest.approx(np.array([[2.0, -40.0]] * 2), abs=1e-6)


def test_results_show_themselves():
    pytest.importorskip("xarray")
    found = gl.master_equation_sensitivities(MANY_LAWS, [0.0, 1.0], ["k", "g"])
    assert "Sensitivities to k, g: 2 times" in repr(found)
    assert found.summary().splitlines()[3].split() == ["mean", "k", "g"]
    data = found.to_xarray()
    chosen = data.derivative.sel(parameter="g").isel(time=-1)
    mean = float((chosen * data.A).sum())
    assert mean == pytest.approx(found.mean("A")[-1, 1], abs=1e-8)
    axes = found.plot("A")
    assert [line.get_label() for line in axes.lines]
    assert "A" in axes.get_ylabel()
    with pytest.raises(ValueError, match="needs name="):
        found.plot()
    with pytest.raises(ValueError, match="read-only"):
        found.derivatives[0] = 0.0
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert found.fisher_information("A", 10).matrix.shape == (2, 2)
