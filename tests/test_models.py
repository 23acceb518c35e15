"""Stock models: what their docstrings promise, their exact laws, and both against simulations."""

from __future__ import annotations

import doctest
import math
import re

import numpy as np
import pytest
from scipy import stats

import gillespy_lite as gl
from gillespy_lite import models
from gillespy_lite.conservation import conservation_laws
from gillespy_lite.errors import NetworkError
from gillespy_lite.models import MODELS, ExactLaw, exact_law
from gillespy_lite.models import exact_laws as laws

WITH_LAW = sorted(name for name, one in MODELS.items() if one.law is not None)


def values_of(network: gl.Network) -> dict[str, float]:
    parameters = dict(zip(network.parameter_names, network.parameter_values, strict=True))
    return parameters | dict(zip(network.species_names, network.initial_state, strict=True))


def rate_equations_at_start(network: gl.Network) -> np.ndarray:
    """Time derivatives (n_species,) at the initial state, by a short exact solution."""
    path = gl.simulate(network, [0.0, 1e-7], method="ode")
    return (path.counts[1] - path.counts[0]) / 1e-7


# What every model promises -----------------------------------------------------------------------


@pytest.mark.parametrize("name", MODELS)
def test_a_models_table_entry_is_complete(name):
    model = MODELS[name]
    assert model.build is getattr(models, name)
    assert model.build.__name__ == name
    assert name in models.__all__
    assert model.t_end > 0.0
    assert re.search(r"\(\d{4}\)", model.source)
    assert "doi:10." in model.source or "ISBN" in model.source
    assert len(model.description) < 80


@pytest.mark.parametrize("name", MODELS)
def test_a_models_docstring_states_the_values_that_its_network_has(name):
    build = MODELS[name].build
    network = build()
    stated = dict(re.findall(r"``(\w+)=([-+.e\d]+)``", build.__doc__.split("Returns")[0]))
    actual = values_of(network)
    assert set(stated) <= set(actual)
    for word, value in stated.items():
        assert math.isclose(float(value), actual[word], rel_tol=1e-12), word
    # Every plain number is stated; derived ones, and species that start at 0, need not be.
    missing = {
        one.name
        for one in (*network.parameters, *network.species)
        if isinstance(getattr(one, "value", getattr(one, "initial", None)), int | float)
        and actual[one.name] != 0
        and one.name not in stated
    }
    assert missing <= {"avogadro"}


@pytest.mark.parametrize("name", MODELS)
def test_a_models_docstring_gives_its_source_and_time_span(name):
    model = MODELS[name]
    text = " ".join(model.build.__doc__.split())
    assert f"``t_end`` is {model.t_end:g}" in text
    for doi in re.findall(r"doi:(10\.[^\s;,]+)", model.source):
        assert doi in text
    if model.time_unit in {"second", "minute", "hour", "day"}:
        assert f"time in {model.time_unit}s" in text


@pytest.mark.parametrize("name", MODELS)
def test_a_models_text_is_read_back_as_the_same_network(name):
    network = MODELS[name].build()
    assert gl.Network.parse(str(network)) == network


@pytest.mark.parametrize("name", MODELS)
def test_every_model_runs_and_keeps_its_conservation_laws(name):
    model = MODELS[name]
    network = model.build()
    runs = gl.ensemble(network, model.t_end / 50.0, 20, rng=1)
    assert (runs.counts >= 0).all()
    assert runs.n_events.sum() > 0
    weights = np.asarray(conservation_laws(network)).reshape(-1, network.n_species)
    totals = runs.counts @ weights.T
    assert (totals == network.initial_state @ weights.T).all()


@pytest.mark.parametrize("name", MODELS)
def test_values_are_given_by_the_names_in_the_network(name):
    build = MODELS[name].build
    network = build()
    parameter, species = network.parameter_names[0], network.species_names[0]
    value = 2.0 * network.parameter_values[0]
    changed = build(**{parameter: value, species: 3})
    assert changed.parameter_values[0] == value
    assert changed.initial_state[0] == 3
    assert build() == network
    assert changed.memo is network.memo
    with pytest.raises(NetworkError, match="no_such_name"):
        build(no_such_name=1)
    with pytest.raises(NetworkError, match="finite"):
        build(**{parameter: math.inf})


# Facts about single models -----------------------------------------------------------------------


def test_schlogl_has_the_propensities_of_the_tabulated_law():
    # N1 = 1e5, N2 = 2e5: 3e-7/2 N1 X(X-1), 1e-4/6 X(X-1)(X-2), 1e-3 N2, 3.5 X at X = 250.
    states = np.array([[250]])
    expected = [3e-7 / 2 * 1e5 * 250 * 249, 1e-4 / 6 * 250 * 249 * 248, 200.0, 875.0]
    assert laws._propensities(models.schlogl(), states)[0] == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("name", ["lotka_volterra", "brusselator"])
def test_gillespies_oscillators_start_at_the_fixed_point_of_their_rate_equations(name):
    # Their stocks turn over thousands of times per unit time, so 1e-3 is zero.
    assert np.abs(rate_equations_at_start(MODELS[name].build())).max() < 1e-3


def test_vilar_oscillates_every_25_hours_and_stops_with_a_slow_repressor_decay():
    times = np.linspace(0.0, 200.0, 4001)
    repressor = gl.simulate(models.vilar(), times, method="ode")["R"]
    peaks = times[1:-1][(repressor[1:-1] > repressor[:-2]) & (repressor[1:-1] > repressor[2:])]
    periods = np.diff(peaks)
    assert periods.size >= 6
    assert np.ptp(periods[1:]) < 0.2
    assert 23.0 < periods.mean() < 26.0
    # Fig. 5 of the paper: the rate equations come to rest, the network does not.
    slow = models.vilar(delta_R=0.05)
    rest = gl.simulate(slow, times, method="ode")["R"][times > 150.0]
    assert np.ptp(rest) < 1.0
    noisy = gl.simulate(slow, times, rng=3)["R"][times > 150.0]
    assert np.ptp(noisy) > 500


def test_repressilator_derives_its_rates_from_half_lives():
    values = values_of(models.repressilator())
    assert values["decay_m"] == pytest.approx(math.log(2) / 2)
    assert values["decay_p"] == pytest.approx(math.log(2) / 10)
    # 20 proteins in the mean lifetime of an mRNA, 2/log(2) minutes.
    assert values["translation"] == pytest.approx(20.0 / (2.0 / math.log(2)))
    assert values_of(models.repressilator(mrna_half_life=4))["translation"] == pytest.approx(
        20.0 / (4.0 / math.log(2))
    )


def test_toggle_switch_flips_now_and_then():
    runs = gl.ensemble(models.toggle_switch(), np.linspace(0, 1000, 1001), 4, rng=2)
    ahead = runs["U"] - runs["V"]
    # Mostly on one side or the other, both sides visited, far fewer changes than time units.
    assert (np.abs(ahead) > 10).mean() > 0.85
    assert (ahead > 10).mean() > 0.1
    assert (ahead < -10).mean() > 0.1
    assert (np.diff(np.sign(ahead), axis=1) != 0).sum(axis=1).max() < 100


def test_sir_starts_with_the_given_number_of_infected_people():
    network = models.sir(N=50, I0=3)
    assert network.initial_state.tolist() == [47, 3, 0]


def test_goutsias_binds_faster_in_a_smaller_volume():
    # 1.2e7 per molar and second in 1e-15 litres.
    states = models.goutsias().initial_state[None, :]
    large = laws._propensities(models.goutsias(), states)[0]
    small = laws._propensities(models.goutsias(volume=5e-16), states)[0]
    bind = [one.name for one in models.goutsias().reactions].index("bind_1")
    assert large[bind] == pytest.approx(1.2e7 / 6.02214076e8 * 2 * 6)
    assert small[bind] == pytest.approx(2 * large[bind])


# Exact laws --------------------------------------------------------------------------------------


def test_birth_death_law_has_the_tabulated_digits():
    law = exact_law("birth_death", "X", 3.0)
    assert f"{law.mean:.9f}" == "15.537396797"
    assert law.probabilities == pytest.approx(
        stats.poisson(15.537396797).pmf(np.arange(law.probabilities.size)), abs=1e-10
    )


@pytest.mark.parametrize(
    ("t", "mean", "std"),
    [(1, "91.031766", "3.862504"), (10, "52.214271", "5.511760"), (50, "28.542298", "4.789331")],
)
def test_dimerisation_law_has_the_tabulated_digits(t, mean, std):
    law = exact_law("dimerisation", "P", t)
    assert (f"{law.mean:.6f}", f"{law.std:.6f}") == (mean, std)
    # P keeps its parity, and P + 2 Q = 100.
    assert law(np.arange(1, 100, 2)).sum() == 0.0
    dimers = exact_law("dimerisation", "Q", t)
    assert dimers(np.arange(51)) == pytest.approx(law(100 - 2 * np.arange(51)), abs=1e-15)


def test_telegraph_law_has_the_tabulated_digits():
    law = exact_law("telegraph", "M")
    assert f"{law.mean:.9f}" == "9.375000000"
    assert f"{law.std**2:.7f}" == "47.0424107"
    assert f"{float(law(0)):.7f}" == "0.1840027"


def test_schlogl_law_has_the_tabulated_digits_at_t_4():
    law = exact_law("schlogl", "X", 4.0)
    assert (f"{law.mean:.4f}", f"{law.std:.4f}") == ("309.8847", "216.0086")
    assert f"{law(np.arange(300)).sum():.6f}" == "0.531641"


def test_schlogl_law_has_the_tabulated_digits_in_the_long_run():
    law = exact_law("schlogl", "X")
    assert (f"{law.mean:.4f}", f"{law.std:.4f}") == ("454.8613", "199.8788")
    assert f"{law(np.arange(300)).sum():.6f}" == "0.220280"


def test_birth_death_law_with_first_molecules_solves_the_master_equation():
    network = models.birth_death(k=4, g=0.7, X=9)
    closed = exact_law("birth_death", "X", 1.3, k=4, g=0.7, X=9)
    solved = laws._law_of_master_equation(network, "X", 1.3, {"X": 80})
    counts = np.arange(81)
    assert closed(counts) == pytest.approx(solved(counts), abs=1e-13)
    at_start = exact_law("birth_death", "X", 0.0, X=9)
    assert at_start(9) == 1.0


def test_birth_death_law_without_deaths_is_a_poisson_process():
    law = exact_law("birth_death", "X", 3.0, k=2, g=0, X=5)
    assert law(np.arange(5, 30)) == pytest.approx(stats.poisson(6.0).pmf(np.arange(25)), abs=1e-14)
    with pytest.raises(ValueError, match="stationary"):
        exact_law("birth_death", "X", g=0)
    assert exact_law("birth_death", "X", k=0, g=0, X=5)(5) == 1.0


def test_birth_death_law_stays_accurate_for_a_million_molecules():
    law = exact_law("birth_death", "X", k=1e6, g=1)
    assert law.mean == pytest.approx(1e6, rel=1e-9)
    assert law.std == pytest.approx(1e3, rel=1e-6)


def test_telegraph_law_at_a_late_time_is_the_stationary_one():
    # The slowest mode decays as exp(-0.4 t).
    late, stationary = exact_law("telegraph", "M", 100.0), exact_law("telegraph", "M")
    counts = np.arange(70)
    assert late(counts) == pytest.approx(stationary(counts), abs=1e-14)
    gene = exact_law("telegraph", "On")
    assert gene([0, 1]) == pytest.approx([0.375, 0.625], abs=1e-14)


def test_telegraph_law_of_two_genes_has_twice_the_mean():
    law = exact_law("telegraph", "M", Off=2)
    assert law.mean == pytest.approx(18.75, rel=1e-10)
    assert law.std**2 == pytest.approx(2 * 47.0424107, rel=1e-8)


def test_final_size_of_the_smallest_epidemics_is_right():
    # One susceptible, one infected person: infection at 0.3/2, recovery at 0.1.
    law = exact_law("sir", "S", N=2, I0=1)
    assert law([0, 1]) == pytest.approx([0.6, 0.4], rel=1e-14)
    # Two susceptible people, c = 0.3/3: both escape if the first event is a recovery, with
    # probability 1/3; one escapes after an infection (2/3) and two recoveries (1/2 each).
    law = exact_law("sir", "S", N=3, I0=1)
    assert law([2, 1]) == pytest.approx([1 / 3, 2 / 3 / 4], rel=1e-14)
    assert exact_law("sir", "R", N=3, I0=1)([1, 2]) == pytest.approx(law([2, 1]), rel=1e-14)
    assert exact_law("sir", "I")(0) == 1.0


def test_final_size_is_what_the_master_equation_tends_to():
    final = exact_law("sir", "R", N=40, I0=2, R=3)
    late = exact_law("sir", "R", 1000.0, N=40, I0=2, R=3)
    counts = np.arange(60)
    assert late(counts) == pytest.approx(final(counts), abs=1e-12)


def test_michaelis_menten_law_conserves_substrate():
    settings = {"S": 20, "E": 5}
    at = {name: exact_law("michaelis_menten", name, 30.0, **settings) for name in ("S", "ES", "P")}
    assert sum(law.mean for law in at.values()) == pytest.approx(20.0, rel=1e-12)
    assert exact_law("michaelis_menten", "P", **settings)(20) == pytest.approx(1.0, abs=1e-12)


def test_large_systems_are_solved_without_a_dense_matrix(monkeypatch):
    network = models.sir(N=30, I0=1)
    generator = laws._generator(network, laws._reachable_states(network, {}))
    dense = laws._evolved(generator, 5.0)
    monkeypatch.setattr(laws, "_MAX_DENSE_STATES", 10)
    assert laws._evolved(generator, 5.0) == pytest.approx(dense, abs=1e-13)


def test_what_has_no_law_is_refused_with_advice():
    with pytest.raises(ValueError, match=r"did you mean 'schlogl'\?"):
        exact_law("schloegl", "X")
    with pytest.raises(ValueError, match="no exact law of vilar is known; there is one for birth"):
        exact_law("vilar", "A")
    with pytest.raises(ValueError, match=r"has no species 'Z'.*it has P, Q"):
        exact_law("dimerisation", "Z")
    with pytest.raises(ValueError, match="0 or more"):
        exact_law("dimerisation", "P", -1.0)
    with pytest.raises(ValueError, match="0 or more"):
        exact_law("dimerisation", "P", math.nan)
    with pytest.raises(ValueError, match="more than 50000 states"):
        exact_law("sir", "R", 10.0)
    with pytest.raises(ValueError, match="never ends"):
        exact_law("sir", "R", gamma=0)
    with pytest.raises(NetworkError, match="no parameter 'kk'"):
        exact_law("birth_death", "X", kk=3)


def test_a_law_is_a_function_of_counts():
    law = ExactLaw(np.array([0.25, 0.75]))
    assert law(1) == 0.75
    assert law([[-1, 0], [1, 2]]).tolist() == [[0.0, 0.25], [0.75, 0.0]]
    assert (law.mean, law.std) == (0.75, math.sqrt(0.1875))
    with pytest.raises(ValueError, match="read-only"):
        law.probabilities[0] = 1.0
    for bad in ([0.5, 0.4], [1.5, -0.5], [math.nan, 1.0]):
        with pytest.raises(ValueError, match="no probabilities"):
            ExactLaw(np.array(bad))


def test_the_histogram_takes_a_law():
    pyplot = pytest.importorskip("matplotlib.pyplot")
    runs = gl.ensemble(models.birth_death(), [0.0, 3.0], 200, rng=5)
    law = exact_law("birth_death", "X", 3.0)
    axes = runs.plot("histogram", law=law)
    drawn = axes.get_lines()[0].get_ydata()
    assert np.sum(drawn) == pytest.approx(1.0, abs=0.01)
    pyplot.close(axes.figure)


def test_the_examples_in_docstrings_are_right():
    assert doctest.testmod(models).failed == 0
    assert doctest.testmod(models).attempted > 0


# Laws against simulations ------------------------------------------------------------------------


def pooled_p_value(counts: np.ndarray, law: ExactLaw) -> float:
    """Chi-square p-value of counts against a law; cells expect at least 10 counts each."""
    top = max(int(counts.max()) + 1, law.probabilities.size)
    expected = counts.size * law(np.arange(top))
    observed = np.bincount(counts, minlength=top).astype(float)
    cell, cells = 0.0, []
    start = 0
    for k in range(top):
        cell += expected[k]
        if cell >= 10.0:
            cells.append((observed[start : k + 1].sum(), cell))
            start, cell = k + 1, 0.0
    cells[-1] = (cells[-1][0] + observed[start:].sum(), cells[-1][1] + cell)
    seen, wanted = np.array(cells).T
    statistic = ((seen - wanted) ** 2 / wanted).sum()
    return float(stats.chi2.sf(statistic, len(cells) - 1))


CASES = {
    "birth_death": ("X", 3.0, {"X": 8}),
    "dimerisation": ("Q", 10.0, {}),
    "telegraph": ("M", 6.0, {}),
    "michaelis_menten": ("P", 20.0, {"S": 30, "E": 8}),
    "schlogl": ("X", 4.0, {}),
    "sir": ("R", 400.0, {"N": 60, "I0": 1, "beta": 0.15}),
}


@pytest.mark.statistical
@pytest.mark.parametrize("name", WITH_LAW)
def test_a_simulation_follows_its_models_law(name):
    species, t, settings = CASES[name]
    law = exact_law(name, species, math.inf if name == "sir" else t, **settings)
    runs = gl.ensemble(MODELS[name].build(**settings), [0.0, t], 10_000, rng=11, outputs=[species])
    assert pooled_p_value(runs.counts[:, -1, 0], law) > 1e-4


@pytest.mark.statistical
def test_a_rate_constant_two_percent_off_is_noticed():
    # The mutant that shows the power of the test above: p = 1e-7, and .06 at one percent.
    law = exact_law("birth_death", "X", 3.0, X=8, k=10.2)
    runs = gl.ensemble(models.birth_death(X=8), [0.0, 3.0], 10_000, rng=11)
    assert pooled_p_value(runs.counts[:, -1, 0], law) < 1e-4
