"""Moment equations, closures and linear noise against closed forms and master equations."""

from __future__ import annotations

import time

import numpy as np
import pytest
from scipy import linalg, stats

import gillespy_lite as gl
from gillespy_lite.errors import NetworkError, SimulationError
from gillespy_lite.moments import CLOSURES, closures, fluctuations, solving, systems
from gillespy_lite.moments.equations import exponents_of_order

# Law D of the issue: 2 P -> Q has propensity c P (P - 1) / 2.
DIMERISATION = gl.Network.parse("""
    species P = 100, Q = 0
    param c = 0.001, d = 0.01
    observe units = P + 2*Q
    observe pairs = P*Q
    observe share = P/(1 + Q)
    2 P -> Q @ c
    Q -> 2 P @ d
""")
TELEGRAPH = gl.models.telegraph()

# Moment equations of order 2 at t = 50 with Q = (100 - P) / 2, and linear noise at t = 10, from an
# independent program, to the digits that the laws of this package are tabulated with.
CLOSED = {
    "normal": (28.54010, 4.81048),
    "log-normal": (28.54946, 4.72929),
    "poisson": (28.54618, 4.76447),
}
NOISE = {"propensities": (52.37590, 5.49374), "rate equations": (52.01387, 5.50476)}


def dimerisation_law(t: float) -> np.ndarray:
    """Return P(50 - n dimers) of law D from its master equation, by the number of dimers."""
    n = np.arange(51)
    monomers = 100 - 2 * n
    up, down = 0.001 * monomers * (monomers - 1) / 2, 0.01 * n
    generator = np.diag(up[:-1], -1) + np.diag(down[1:], 1) - np.diag(up + down)
    return linalg.expm(generator * t)[:, 0]


def moments_by_enumeration(t: float, order: int) -> tuple[float, list[float]]:
    law, monomers = dimerisation_law(t), 100.0 - 2.0 * np.arange(51)
    mean = law @ monomers
    return mean, [law @ (monomers - mean) ** k for k in range(2, order + 1)]


# ---- Equations ----------------------------------------------------------------------------------


def test_raw_equations_of_the_dimerisation_are_those_on_paper():
    # d E[f] = E[c P(P-1)/2 (f(P-2, Q+1) - f)] + E[d Q (f(P+2, Q-1) - f)], worked out by hand.
    equations = gl.moment_equations(DIMERISATION, 2, central=False)
    assert equations["E[P]"] == "c*E[P] - c*E[P^2] + 2*d*E[Q]"
    assert equations["E[Q^2]"] == (
        "-0.5*c*E[P] + 0.5*c*E[P^2] - c*E[P Q] + c*E[P^2 Q] + d*E[Q] - 2*d*E[Q^2]"
    )
    assert equations.needed == ("E[P^3]", "E[P^2 Q]")
    assert not equations.is_closed


def test_central_equations_show_means_variances_and_covariances():
    equations = gl.moment_equations(DIMERISATION)
    assert equations.names == ("E[P]", "E[Q]", "Var[P]", "Cov[P, Q]", "Var[Q]")
    assert equations["E[P]"] == "c*E[P] - c*Var[P] - c*E[P]^2 + 2*d*E[Q]"
    assert "needs M[P^3], M[P^2 Q]" in str(equations)
    assert "M[...] are central moments" in str(equations)
    assert r"\mathrm{Cov}[P, Q] &= " in equations.to_latex()
    with pytest.raises(KeyError, match=r"no equation for 'Var\[X\]'"):
        equations["Var[X]"]


def test_conservation_laws_leave_fewer_equations():
    equations = gl.moment_equations(DIMERISATION, 3, reduced=True)
    assert equations.species == ("P",)
    assert equations.names == ("E[P]", "Var[P]", "M[P^3]")
    assert "Q = 50 - 0.5*P" in str(equations)


def test_equations_of_a_linear_network_are_closed_at_every_order():
    for order in (1, 2, 3, 4):
        equations = gl.moment_equations(TELEGRAPH, order)
        assert equations.is_closed
        assert "closed: solutions are exact" in str(equations)
    assert "needing 0" not in repr(equations)


@pytest.mark.parametrize("central", [True, False])
def test_right_sides_are_the_derivatives_of_the_moments_of_a_master_equation(central):
    # At a law on few states, d/dt of E[x^n] is the generator applied to x^n; nothing is closed.
    network = gl.Network.parse("""
        species A = 3, B = 2
        param k = 0.7, h = 2
        A + B -> 2 B @ k
        2 A -> 0 @ 0.3
        0 => A @ h*(1 + B)^2/4
        B => A @ k*B*(B + 0.5)
    """)
    rng = np.random.default_rng(3)
    counts = rng.integers(0, 7, size=(9, 2))
    weights = rng.dirichlet(np.ones(9))
    a, b = counts.T.astype(float)
    rates = np.stack(
        [0.7 * a * b, 0.3 * a * (a - 1) / 2, 2 * (1 + b) ** 2 / 4, 0.7 * b * (b + 0.5)]
    )
    changes = np.array([[-1, 1], [-2, 0], [1, 0], [1, -1]], dtype=float)
    equations = gl.moment_equations(network, 3, central=central)
    mean = weights @ counts

    def product(points, exponents, shift):
        return np.prod((points - shift) ** np.array(exponents), axis=-1)

    values = {"k": 0.7, "h": 2.0}
    everything = (*equations.exponents, *equations.needed_exponents)
    for name, exponents in zip((*equations.names, *equations.needed), everything, strict=True):
        shift = mean if central and sum(exponents) > 1 else 0.0
        values[name] = weights @ product(counts, exponents, shift)
    drift = (weights * rates).sum(axis=1) @ changes
    for exponents, side in zip(equations.exponents, equations.right_sides, strict=True):
        shift = mean if central and sum(exponents) > 1 else 0.0
        expected = sum(
            weights @ (rate * (product(counts + change, exponents, shift)
                               - product(counts, exponents, shift)))
            for rate, change in zip(rates, changes, strict=True)
        )  # fmt: skip
        if central and sum(exponents) > 1:
            for i, power in enumerate(exponents):
                lower = tuple(e - (j == i) for j, e in enumerate(exponents))
                if power and sum(lower) > 1:
                    expected -= power * drift[i] * (weights @ product(counts, lower, mean))
        assert side.evaluate(values) == pytest.approx(expected, rel=1e-11, abs=1e-9)


def test_five_species_of_order_three_take_no_time():
    text = """
        species A = 10, B = 10, C = 10, D = 10, E = 10
        A + B <-> C @ .1, .2
        C + D <-> E @ .3, .1
        2 A <-> D @ 1, 1
        0 -> A @ 5
        B -> 0 @ 1
        E => 0 @ .1*E^2*(A + 1)
    """
    started = time.process_time()
    equations = gl.moment_equations(gl.Network.parse(text), 3)
    assert len(equations) == 55
    # Measured 0.05 s.
    assert time.process_time() - started < 5.0


def test_species_without_a_reaction_and_numbers_alone_print():
    equations = gl.moment_equations(gl.Network.parse("species A = 1, Z = 2\nA -> 0 @ 0.25"), 1)
    assert equations["E[Z]"] == "0"
    assert equations["E[A]"] == "-0.25*E[A]"


def test_functions_of_parameters_stand_as_they_are():
    equations = gl.moment_equations(
        gl.Network.parse("species A\nparam k = 1, w = 2\n0 -> A @ k*exp(-w*t)\nA -> 0 @ 1/(k + w)"),
        1,
    )
    assert equations["E[A]"] == "k*exp(-w*t) - E[A]/(k + w)"
    assert r"\frac" in equations.to_latex()


# ---- Exact solutions ----------------------------------------------------------------------------


def test_immigration_and_death_is_poisson_in_all_moments():
    # Law A: Poisson(k/g (1 - exp(-g t))), whose central moments are m, m, m + 3 m^2.
    result = gl.solve_moments(gl.models.birth_death(), [0.0, 3.0], order=4)
    mean = 20.0 * -np.expm1(-1.5)
    assert result.is_exact
    assert result.closure == ""
    assert mean == pytest.approx(15.537396797, abs=1e-9)
    found = [
        result.mean("X")[-1],
        result.var("X")[-1],
        result.central_moment(X=3)[-1],
        result.central_moment(X=4)[-1],
    ]
    assert found == pytest.approx([mean, mean, mean, mean + 3 * mean**2], rel=1e-7)
    assert result.moment(X=2)[-1] == pytest.approx(mean + mean**2, rel=1e-7)
    assert result.skewness("X")[-1] == pytest.approx(mean**-0.5, rel=1e-7)
    assert np.isnan(result.skewness("X")[0])


def test_a_rate_that_depends_on_time_gives_law_h():
    # 0 -> X @ k (1 + sin w t), X -> 0 @ g: Poisson(m(t)).
    network = gl.Network.parse(
        "species X\nparam k = 20, w = 1.3, g = 0.7\n0 -> X @ k*(1 + sin(w*t))\nX -> 0 @ g"
    )
    result = gl.solve_moments(network, [0.0, 1.0, 5.0, 10.0])
    expected = [0.0, 23.303489397, 17.802927625, 20.431811099]
    assert result.is_exact
    assert result.mean("X") == pytest.approx(expected, rel=1e-7, abs=1e-9)
    assert result.var("X") == pytest.approx(expected, rel=1e-7, abs=1e-9)


def test_the_telegraph_reaches_its_stationary_mean_and_variance():
    result = gl.solve_moments(TELEGRAPH, 200.0)
    assert result.mean("M")[-1] == pytest.approx(9.375, rel=1e-8)
    assert result.var("M")[-1] == pytest.approx(47.0424107, rel=1e-8)


def test_isomerisation_has_a_binomial_covariance_and_its_totals_never_vary():
    network = gl.Network.parse("""
        species A = 100, B
        observe total = A + B
        A <-> B @ 0.12, 1
    """)
    result = gl.solve_moments(network, [0.0, 1.0, 60.0])
    assert result.var("A")[-1] == pytest.approx(100 * 0.12 / 1.12**2, rel=1e-8)
    assert result.cov(60.0)[0, 1] == pytest.approx(-100 * 0.12 / 1.12**2, rel=1e-8)
    assert result.mean("total") == pytest.approx(100.0, rel=1e-14)
    assert (result.var("total") == 0.0).all()


@pytest.mark.statistical
def test_third_moments_agree_with_sampled_ones():
    # The standard error of the third moment of 20 000 samples is 5 of 117: a third moment of 0,
    # as a normal law has, or that of a Poisson law, 7, would be 20 errors off.
    result = gl.solve_moments(TELEGRAPH, [0.0, 5.0], order=3)
    runs = gl.ensemble(TELEGRAPH, [0.0, 5.0], 20_000, rng=5)
    counts = runs["M"][:, -1].astype(float)
    third = (counts - counts.mean()) ** 3
    error = third.std() / np.sqrt(counts.size)
    assert abs(third.mean() - result.central_moment(M=3)[-1]) < 4.5 * error
    error = counts.std() / np.sqrt(counts.size)
    assert abs(counts.mean() - result.mean("M")[-1]) < 4.5 * error


# ---- Closures -----------------------------------------------------------------------------------


@pytest.mark.parametrize("closure", sorted(CLOSED))
def test_closures_of_order_two_give_the_tabulated_digits(closure):
    result = gl.solve_moments(DIMERISATION, [0.0, 50.0], closure=closure)
    mean, std = CLOSED[closure]
    assert not result.is_exact
    assert result.mean("P")[-1] == pytest.approx(mean, abs=6e-6)
    assert result.std("P")[-1] == pytest.approx(std, abs=6e-6)


def test_derivative_matching_of_order_two_is_the_log_normal_closure():
    results = [
        gl.solve_moments(DIMERISATION, [0.0, 50.0], closure=closure)
        for closure in ("log-normal", "derivative-matching")
    ]
    assert np.array_equal(results[0].means, results[1].means)


@pytest.mark.parametrize("closure", CLOSURES)
def test_every_closure_comes_closer_to_the_master_equation_with_the_order(closure):
    mean, (variance,) = moments_by_enumeration(50.0, 2)
    assert mean == pytest.approx(28.542298, abs=1e-6)
    errors = []
    for order in (2, 4):
        result = gl.solve_moments(DIMERISATION, [0.0, 50.0], order=order, closure=closure)
        errors.append(abs(result.var("P")[-1] / variance - 1.0))
    assert errors[0] < 0.03
    assert errors[1] < 0.1 * errors[0]


def test_higher_moments_of_all_species_follow_from_those_that_were_integrated():
    mean, (variance, third, fourth) = moments_by_enumeration(50.0, 4)
    result = gl.solve_moments(DIMERISATION, [0.0, 50.0], order=6)
    assert result.mean("P")[-1] == pytest.approx(mean, rel=1e-8)
    assert result.central_moment(P=3)[-1] == pytest.approx(third, rel=1e-4)
    assert result.central_moment(P=4)[-1] == pytest.approx(fourth, rel=1e-5)
    # Q - E[Q] = -(P - E[P]) / 2.
    assert result.central_moment(P=2, Q=1)[-1] == pytest.approx(-third / 2, rel=1e-4)
    assert result.var("Q")[-1] == pytest.approx(variance / 4, rel=1e-6)
    law, p = dimerisation_law(50.0), 100.0 - 2.0 * np.arange(51)
    pairs = p * (100.0 - p) / 2.0
    assert result.mean("pairs")[-1] == pytest.approx(law @ pairs, rel=1e-8)
    assert result.var("pairs")[-1] == pytest.approx(law @ pairs**2 - (law @ pairs) ** 2, rel=1e-5)


def test_closures_know_the_moments_of_the_laws_they_are_named_after():
    def found(closure, values, names=("X",), exponents=((4,),), order=2):
        polynomials = closures.closed_moments(closure, names, order, exponents)
        return [polynomial.evaluate(values) for polynomial in polynomials]

    def central(law, k):
        return law.expect(lambda x: (x - law.mean()) ** k)

    poisson = {"E[X]": 3.0, "Var[X]": 3.0}
    assert found("poisson", poisson) == pytest.approx([central(stats.poisson(3.0), 4)])
    normal = {"E[X]": 3.0, "Var[X]": 4.0}
    assert found("normal", normal) == pytest.approx([3 * 16.0])
    gamma = stats.gamma(2.5, scale=0.8)
    values = {"E[X]": gamma.mean(), "Var[X]": gamma.var()}
    for k in (3, 4, 5):
        assert found("gamma", values, exponents=((k,),)) == pytest.approx([central(gamma, k)])
    log_normal = stats.lognorm(0.4, scale=5.0)
    values = {"E[X]": log_normal.mean(), "Var[X]": log_normal.var()}
    for k in (3, 4):
        assert found("log-normal", values, exponents=((k,),)) == pytest.approx(
            [central(log_normal, k)], rel=1e-6
        )
    assert found("zero", values) == [0.0]
    # A pair of gamma variables with a shared part: X = 2 (U + S), Y = 3 (V + S), scale 1, shapes
    # 1, 2 and S 4. Cumulants of S alone: k(X, X, Y) = 2! 2 2 3 4.
    values = {"E[X]": 10.0, "E[Y]": 18.0, "Var[X]": 20.0, "Var[Y]": 54.0, "Cov[X, Y]": 24.0}
    assert found("gamma", values, ("X", "Y"), ((2, 1),)) == pytest.approx([2 * 2 * 2 * 3 * 4.0])
    # A bivariate normal law: E[x^2 y^2] = Vx Vy + 2 C^2.
    assert found("normal", values, ("X", "Y"), ((2, 2),)) == pytest.approx([20 * 54 + 2 * 24.0**2])


def test_derivative_matching_has_the_powers_of_singh_and_hespanha():
    # Their table of two species, order 2: E[x^2 y] ~ E[x^2] E[x y]^2 / (E[x]^2 E[y]).
    powers = closures.matched_ratios(2, 2, (2, 1)).powers
    assert powers == {(2, 0): 1, (1, 1): 2, (1, 0): -2, (0, 1): -1}
    # One species, order 3: E[x^4] ~ E[x^3]^4 E[x]^4 / E[x^2]^6.
    assert closures.matched_ratios(1, 3, (4,)).powers == {(3,): 4, (2,): -6, (1,): 4}


@pytest.mark.parametrize("closure", CLOSURES)
def test_closures_keep_their_digits_at_large_counts(closure):
    # 1e5 molecules and a standard deviation of 258: the fourth moment is 1e-11 of the mean's power.
    network = gl.Network.parse("species A = 100000, B = 50000\n2 A <-> B @ 1e-6, 0.1")
    noise = gl.linear_noise(network, [0.0, 10.0], macroscopic="propensities")
    result = gl.solve_moments(network, [0.0, 10.0], order=3, closure=closure)
    assert result.std("A")[-1] == pytest.approx(noise.std("A")[-1], rel=1e-4)


def test_a_species_that_is_not_there_at_first_is_no_trouble():
    network = gl.Network.parse("""
        species A, B
        0 -> A @ 20
        0 -> B @ 10
        A + B -> 0 @ 0.05
        A -> 0 @ 1
        B -> 0 @ 1
    """)
    reference = gl.solve_moments(network, [0.0, 5.0], order=5)
    for closure in CLOSURES:
        for order in (2, 3):
            result = gl.solve_moments(network, [0.0, 5.0], order=order, closure=closure)
            assert result.means[-1] == pytest.approx(reference.means[-1], rel=0.02)


# ---- Mutants that must fail ---------------------------------------------------------------------


def test_a_law_without_the_combinatorial_correction_is_noticed():
    # c P^2 / 2 in the place of c P (P - 1) / 2.
    wrong = gl.Network.parse(
        "species P = 100, Q\nparam c = 0.001, d = 0.01\n"
        "0 => Q @ c*P^2/2 \nP => 0 @ c*P^2\nQ -> 2 P @ d"
    )
    result = gl.solve_moments(wrong, [0.0, 50.0])
    assert abs(result.mean("P")[-1] - CLOSED["normal"][0]) > 0.1


def test_a_closure_that_forgets_one_term_is_noticed(monkeypatch):
    complete = closures._Partitions._rest

    def halved(self, exponents):
        from fractions import Fraction

        return complete(self, exponents).times(Fraction(1, 2))

    monkeypatch.setattr(closures._Partitions, "_rest", halved)
    (four,) = closures.closed_moments("normal", ("X",), 2, ((4,),))
    assert four.evaluate({"E[X]": 3.0, "Var[X]": 4.0}) != pytest.approx(48.0)


def test_right_sides_hold_drift_and_diffusion():
    # d m = k - g m, d V = k + g m - 2 g V, at m = 4 and V = 0: without diffusion V stayed 0.
    system = systems.MomentSystem(gl.moment_equations(gl.models.birth_death()), "normal")
    slope = system.right_hand_side(0.0, np.array([4.0, 0.0]))
    assert slope == pytest.approx([10.0 - 2.0, 10.0 + 2.0])


# ---- Failure ------------------------------------------------------------------------------------


def test_a_closure_that_gives_no_law_is_refused_with_the_time_and_what_there_was():
    network = gl.models.sir()
    with pytest.raises(SimulationError, match=r"gamma closure of order 2 failed at t = 17\.") as e:
        gl.solve_moments(network, 30.0, closure="gamma")
    assert "try another of normal" in str(e.value)
    assert e.value.result.times[-1] < 17.5
    assert e.value.result.means.shape == (e.value.result.times.size, 3)


def test_a_closure_that_blows_up_is_refused():
    # 2 A -> 3 A explodes in finite time.
    network = gl.Network.parse("species A = 10\n2 A -> 3 A @ 1\nA -> 0 @ 1")
    with pytest.raises(SimulationError, match=r"failed at t = 0\.19.*grow without bound"):
        gl.solve_moments(network, 10.0)


def test_a_negative_variance_is_refused():
    # The check itself, at what a closure could give.
    equations = gl.moment_equations(DIMERISATION, reduced=True)
    check = solving._Check(equations, "", "")
    assert check(np.array([30.0, 20.0])) == ""
    assert check(np.array([30.0, -1e-9])) == ""
    assert "Var[P] is -0.01, which is negative" in check(np.array([30.0, -0.01]))
    assert "E[P] is -1, which is negative" in check(np.array([-1.0, 3.0]))
    equations = gl.moment_equations(DIMERISATION)
    check = solving._Check(equations, "", "")
    assert check(np.array([30.0, 20.0, 4.0, 3.9, 4.0])) == ""
    assert "of no law" in check(np.array([30.0, 20.0, 4.0, 4.1, 4.0]))


def test_third_and_fourth_moments_that_no_count_has_are_refused():
    check = solving._Check(gl.moment_equations(DIMERISATION, 4, reduced=True), "", "")
    poisson = np.array([3.0, 3.0, 3.0, 30.0])
    # 0 or 10 with probabilities .8 and .2, which makes equalities of both inequalities.
    certain_or_not = np.array([2.0, 16.0, 96.0, 832.0])
    assert check(poisson) == ""
    assert check(certain_or_not) == ""
    # Kurtosis below 1 + skewness^2; and E[X] E[X^3] below E[X^2]^2.
    assert "no count of P has these moments (E[P] = 3, Var" in check(np.array([3, 3, 3, 11.0]))
    assert "no count of P" in check(np.array([3.0, 90.0, 0.0, 1e6]))
    # The zero closure on two modes: mean 410 and sd 5000 of one that never exceeds 1000.
    with pytest.raises(SimulationError, match="no count of X has these moments"):
        gl.solve_moments(gl.models.schlogl(), 4.0, order=3, closure="zero")


# ---- Refusals -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("species A\n0 => A @ 1/(1 + A)", r"1/\(1 \+ A\) divides by A.*linear_noise"),
        ("species A\n0 => A @ hill(A, 2, 3)", r"hill\(A, 2, 3\) is no polynomial in A"),
        ("species A\n0 => A @ A^0.5", r"A\^0.5 is no polynomial"),
        ("species A = 1\nA => 0 @ 3", "it is 0 at A = 0, where a reactant is missing"),
        ("species A = 3\n2 A => 0 @ 3*A", "it is 0 at A = 1, where a reactant is missing"),
        ("species A, G\nG => G + A @ 3", "never fires, because 'G' stays at 0"),
        ("species A\n0 -> A @ if(t > 5, 1, 2)", "t > 5 jumps in time|jumps in time"),
        ("species A\nat t >= 3: A = 5\n0 -> A @ 1", "cannot follow events.*event 1"),
        ("species A\n0 -> A @ 1 delay 2", "cannot follow delays.*reaction 1"),
        ("species A\nvariable x = 1\nx' = -x\n0 -> A @ 1", "cannot follow variables.*'x'"),
        ("species A\nparam k = 0\n0 -> A @ 1/k", "inf|divides by k, which is 0"),
        ("species A\nparam k = -1\n0 -> A @ k", "must be a finite number, 0 or more"),
    ],
)
def test_what_has_no_moment_equations_is_refused_by_name(text, message):
    network = gl.Network.parse(text)
    with pytest.raises(NetworkError, match=message):
        gl.solve_moments(network, 1.0)


def test_laws_with_a_reactant_that_is_always_there_are_taken():
    # G never changes and there is one, so its absence is no question.
    network = gl.Network.parse("species G = 1, A\nG => G + A @ 10\nA -> 0 @ 0.5")
    result = gl.solve_moments(network, [0.0, 3.0])
    assert result.mean("A")[-1] == pytest.approx(15.537396797, rel=1e-8)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"order": 1}, "order must be a whole number from 2 to 10"),
        ({"order": 2.0}, "order must be"),
        ({"order": 11}, "order must be"),
        ({"closure": "nomal"}, "did you mean 'normal'|no closure 'nomal'"),
        ({"rtol": 0.0}, "rtol must be"),
        ({"atol": "x"}, "atol must be"),
    ],
)
def test_options_without_a_sense_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        gl.solve_moments(DIMERISATION, 1.0, **options)


def test_what_is_no_network_and_too_many_moments_are_refused():
    with pytest.raises(TypeError, match="solve_moments takes a Network, not str"):
        gl.solve_moments("species A", 1.0)
    many = "\n".join(f"species S{i}\n0 -> S{i} @ 1\nS{i} -> 0 @ 1" for i in range(40))
    with pytest.raises(NetworkError, match="40 species have 12,340 moments up to order 3"):
        gl.solve_moments(gl.Network.parse(many), 1.0, order=3)


def test_names_and_powers_that_were_not_solved_for_are_refused():
    result = gl.solve_moments(DIMERISATION, [0.0, 1.0])
    with pytest.raises(KeyError, match="no species or observable 'R'"):
        result.mean("R")
    with pytest.raises(ValueError, match="orders 1 to 2 were solved for, not of 3"):
        result.central_moment(P=2, Q=1)
    with pytest.raises(ValueError, match="variance of the observable 'pairs' takes moments of or"):
        result.var("pairs")
    assert result.mean("pairs")[0] == 0.0
    with pytest.raises(ValueError, match=r"P/\(1 \+ Q\) divides by Q"):
        result.mean("share")
    with pytest.raises(ValueError, match="none of the times"):
        result.cov(0.5)
    with pytest.raises(ValueError, match="whole number above 0"):
        result.moment(P=0)


# ---- Results ------------------------------------------------------------------------------------


def test_results_become_tables_arrays_and_text():
    result = gl.solve_moments(DIMERISATION, [0.0, 10.0, 50.0], closure="normal")
    table = result.to_pandas()
    assert list(table.columns) == ["time", "species", "mean", "std"]
    assert table["mean"].iloc[-2] == result.mean("P")[-1]
    dataset = result.to_xarray()
    assert dataset.covariance.dims == ("time", "species", "other_species")
    assert (
        float(dataset.covariance.sel(time=50.0, species="P", other_species="Q"))
        == (result.cov(50.0)[0, 1])
    )
    assert "approximate: normal closure of order 2" in result.summary()
    assert "normal closure" in repr(result)
    assert "<table>" in result._repr_html_()
    assert "none: no random numbers" in str(result.provenance)
    with pytest.raises(ValueError, match="read-only"):
        result.means[0, 0] = 1.0


def test_the_plot_shows_means_and_bands():
    import matplotlib.pyplot as plt

    result = gl.solve_moments(DIMERISATION, 50.0)
    ax = result.plot()
    assert [text.get_text() for text in ax.get_legend().get_texts()] == [
        "P (mean)", "Q (mean)", "mean ± 1 standard deviation",
    ]  # fmt: skip
    assert len(ax.collections) == 2
    drawn = ax.lines[0].get_ydata()
    assert np.array_equal(drawn, result.mean("P"))
    assert gl.linear_noise(DIMERISATION, 5.0).plot("units").get_ylabel() == "units"
    plt.close("all")


def test_one_time_is_the_initial_state():
    result = gl.solve_moments(DIMERISATION, [0.0])
    assert result.means.tolist() == [[100.0, 0.0]]
    assert not result.covariances.any()


def test_moments_are_listed_once_each():
    assert exponents_of_order(2, 2) == [(2, 0), (1, 1), (0, 2)]
    assert len(exponents_of_order(5, 3)) == 35


# ---- Linear noise -------------------------------------------------------------------------------


@pytest.mark.parametrize("macroscopic", sorted(NOISE))
def test_linear_noise_gives_the_tabulated_digits(macroscopic):
    result = gl.linear_noise(DIMERISATION, [0.0, 10.0], macroscopic=macroscopic)
    mean, std = NOISE[macroscopic]
    assert result.mean("P")[-1] == pytest.approx(mean, abs=6e-6)
    assert result.std("P")[-1] == pytest.approx(std, abs=6e-6)
    assert result.mean("units")[-1] == pytest.approx(100.0, rel=1e-12)
    assert result.var("units")[-1] == pytest.approx(0.0, abs=1e-9)


def test_linear_noise_is_exact_in_mean_and_covariance_of_linear_networks():
    times = [0.0, 1.0, 7.0, 30.0]
    exact, noise = gl.solve_moments(TELEGRAPH, times), gl.linear_noise(TELEGRAPH, times)
    assert noise.means == pytest.approx(exact.means, rel=1e-6, abs=1e-8)
    assert noise.covariances == pytest.approx(exact.covariances, rel=1e-6, abs=1e-7)


def test_linear_noise_of_scaled_volumes_approaches_the_exact_moments():
    # Relative errors of the covariance fall as one over the volume (van Kampen).
    from gillespy_lite.ode_rnn import scale_volume

    errors = []
    for omega in (1.0, 10.0):
        network = scale_volume(DIMERISATION, omega)
        exact = gl.solve_moments(network, [0.0, 10.0], order=4).var("P")[-1]
        errors.append(abs(gl.linear_noise(network, [0.0, 10.0]).var("P")[-1] / exact - 1.0))
    assert errors[1] == pytest.approx(errors[0] / 10.0, rel=0.2)


def test_linear_noise_takes_laws_that_are_no_polynomials():
    result = gl.linear_noise(gl.models.toggle_switch(), [0.0, 400.0])
    stationary = gl.stationary_noise(gl.models.toggle_switch())
    assert result.means[-1] == pytest.approx(stationary.mean, rel=1e-6)
    assert result.covariances[-1] == pytest.approx(stationary.covariance, rel=1e-5)


def test_autocovariance_and_spectrum_of_immigration_and_death_are_exponential_and_lorentzian():
    # C(s) = (k/g) exp(-g |s|), S(w) = 2 k / (g^2 + w^2).
    noise = gl.stationary_noise(gl.models.birth_death())
    lags, angular = np.array([0.0, 0.5, 4.0, -4.0]), np.array([0.0, 0.3, 2.0])
    assert noise.mean == pytest.approx([20.0])
    assert noise.autocovariance(lags, "X") == pytest.approx(20.0 * np.exp(-0.5 * np.abs(lags)))
    assert noise.power_spectrum(angular, "X") == pytest.approx(20.0 / (0.25 + angular**2))
    assert noise.eigenvalues == pytest.approx([-0.5])


def test_the_spectrum_is_the_fourier_transform_of_the_autocovariance():
    network = gl.models.telegraph()
    noise = gl.stationary_noise(network)
    assert noise.std("M") ** 2 == pytest.approx(47.0424107, rel=1e-8)
    lags = np.linspace(-200.0, 200.0, 160_001)
    for other in (None, "On"):
        # Coarser than the lags so that few exponentials of matrices are needed.
        coarse = lags[::80]
        covariance = np.interp(lags, coarse, noise.autocovariance(coarse, "M", other))
        for w in (0.0, 0.4):
            integral = np.trapezoid(covariance * np.exp(-1j * w * lags), lags)
            found = complex(noise.power_spectrum(w, "M", other)[0])
            assert found == pytest.approx(integral, rel=2e-3)


@pytest.mark.statistical
def test_autocovariance_agrees_with_sampled_paths():
    # Stationary from t = 40 on; 4000 paths give the lagged covariance within 3 %.
    noise = gl.stationary_noise(TELEGRAPH)
    runs = gl.ensemble(TELEGRAPH, [0.0, 40.0, 42.0], 4000, rng=11)
    first, later = runs["M"][:, 1].astype(float), runs["M"][:, 2].astype(float)
    products = (first - first.mean()) * (later - later.mean())
    error = products.std() / np.sqrt(products.size)
    expected = noise.autocovariance(2.0, "M")[0]
    assert abs(products.mean() - expected) < 4.5 * error
    # Power: without correlations, or with those of lag 0, it fails by far.
    assert expected > 10 * error
    assert noise.std("M") ** 2 - expected > 6 * error


def test_conserved_totals_do_not_fluctuate_in_stationary_noise():
    noise = gl.stationary_noise(DIMERISATION, macroscopic="propensities")
    assert noise.std("units") == pytest.approx(0.0, abs=1e-10)
    late = gl.linear_noise(DIMERISATION, [0.0, 2000.0], macroscopic="propensities")
    assert noise.covariance == pytest.approx(late.covariances[-1], rel=1e-6)
    assert "P 27.4414" in repr(noise)
    assert noise.jacobian.shape == noise.diffusion.shape == (2, 2)


@pytest.mark.parametrize(
    ("network", "message"),
    [
        (gl.models.brusselator(), "rests on an unstable point"),
        (gl.models.repressilator(), "no stable stationary state was reached"),
        (gl.models.sir(), "no stable stationary state was reached"),
        (gl.Network.parse("species A = 1\nA -> 2 A @ 1"), "grows without bound"),
    ],
    ids=["brusselator", "repressilator", "sir", "growth"],
)
def test_networks_without_a_stable_stationary_state_are_refused(network, message):
    with pytest.raises(SimulationError, match=message):
        gl.stationary_noise(network)


def test_linear_noise_refuses_what_it_cannot_follow():
    parse = gl.Network.parse
    with pytest.raises(NetworkError, match="A > 3 jumps"):
        gl.linear_noise(parse("species A\n0 => A @ if(A > 3, 1, 2)"), 1.0)
    with pytest.raises(NetworkError, match="depend on t has no stationary state"):
        gl.stationary_noise(parse("species A\n0 -> A @ 1 + sin(t)\nA -> 0 @ 1"))
    with pytest.raises(NetworkError, match="no reaction changes a count"):
        gl.stationary_noise(parse("species A"))
    with pytest.raises(ValueError, match="macroscopic must be 'rate equations'"):
        gl.linear_noise(DIMERISATION, 1.0, macroscopic="rates")
    with pytest.raises(SimulationError, match=r"amount of A is -.* does not vanish"):
        gl.linear_noise(parse("species A = 2\nA => 0 @ 3"), 5.0)
    noise = gl.stationary_noise(DIMERISATION)
    with pytest.raises(KeyError, match="no species or observable 'R'"):
        noise.std("R")
    with pytest.raises(ValueError, match="lags must be finite"):
        noise.autocovariance([[1.0]], "P")
    many = "\n".join(f"species S{i}" for i in range(101))
    with pytest.raises(NetworkError, match="of at most 100 species"):
        gl.linear_noise(parse(many), 1.0)


def test_linear_noise_without_its_diffusion_is_noticed(monkeypatch):
    complete = fluctuations._Fluctuations.parts

    def without(self, at, counts):
        drift, jacobian, diffusion = complete(self, at, counts)
        return drift, jacobian, 0.97 * diffusion

    monkeypatch.setattr(fluctuations._Fluctuations, "parts", without)
    result = gl.linear_noise(DIMERISATION, [0.0, 10.0])
    assert abs(result.std("P")[-1] - NOISE["rate equations"][1]) > 0.05


def test_autocovariance_without_enough_eigenvectors_is_that_of_the_exponential_of_a_matrix():
    # A chain X -> Y of equal rates has one eigenvector: Cov[Y(t + s), X(t)] = k s exp(-k s) Var X
    # in its X part, and X and Y are independent Poisson variables.
    network = gl.Network.parse("species X, Y\n0 -> X @ 10\nX -> Y @ 1\nY -> 0 @ 1")
    noise = gl.stationary_noise(network)
    assert noise.covariance == pytest.approx(10.0 * np.eye(2), abs=1e-9)
    lags = np.array([0.0, 1.0, 2.5])
    expected = 10.0 * lags * np.exp(-lags)
    assert noise.autocovariance(lags, "Y", "X") == pytest.approx(expected, abs=1e-8)
    assert noise.autocovariance(-lags, "X", "Y") == pytest.approx(expected, abs=1e-8)
    assert noise.autocovariance(-lags, "Y", "X") == pytest.approx(0.0, abs=1e-8)
