"""Certificates: exact methods pass against every kind of reference, wrong samples are rejected."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
from laws import driven_mean, isomerisation_probability
from scipy import stats

import gillespy_lite as gl
from gillespy_lite.certification.closed_laws import MonomolecularLaw, why_not_monomolecular
from gillespy_lite.certification.goodness import (
    fit_pvalue,
    found_effect,
    found_shift,
    mean_pvalue,
    same_law_pvalue,
)
from gillespy_lite.compilation import compile_network
from gillespy_lite.methods import METHODS

BIRTH_DEATH = "species X = 3\nparam k = 10, g = 0.5\n0 -> X @ k\nX -> 0 @ g"
DIMERISATION = "species P = 100, Q\n2 P -> Q @ 0.001\nQ -> 2 P @ 0.01"
# Transcription and translation: linear, with more products than reactants.
EXPRESSION = "species M, P\n0 -> M @ 5\nM -> M + P @ 4\nM -> 0 @ 1\nP -> 0 @ 0.2"
SCHLOGL = """
species X = 250
2 X -> 3 X @ 0.03
3 X -> 2 X @ 1e-4
0 -> X @ 200
X -> 0 @ 3.5
"""
# The smallest p-value of a file may be chance once in 10,000 times.
LEVEL = 1e-4 / 100


def certificate(text, method="direct", t=10.0, n=4_000, **options):
    return gl.certify(gl.Network.parse(text), method, t, n, level=LEVEL, rng=11, **options)


# ---- Closed laws --------------------------------------------------------------------------------


def table_of(law, name, row, size):
    first, probabilities = law.pmf(name, row)
    table = np.zeros(size)
    table[first : first + probabilities.size] = probabilities[: size - first]
    return table


def test_arrivals_and_survivors_are_poisson_and_binomial():
    law = MonomolecularLaw(gl.Network.parse(BIRTH_DEATH), np.array([0.0, 3.0]))
    alive, mean = math.exp(-1.5), 20.0 * -math.expm1(-1.5)
    k = np.arange(80)
    expected = np.convolve(stats.binom.pmf(np.arange(4), 3, alive), stats.poisson.pmf(k, mean))
    assert table_of(law, "X", 1, 80) == pytest.approx(expected[:80], abs=1e-14)
    assert table_of(law, "X", 0, 5) == pytest.approx([0, 0, 0, 1, 0], abs=1e-15)


def test_molecules_from_two_places_are_two_binomials():
    network = gl.Network.parse("species A = 7, B = 4\nA <-> B @ 0.3, 0.8")
    law = MonomolecularLaw(network, np.array([0.0, 1.7]))
    stay = isomerisation_probability(0.3, 0.8, 1.7)
    come = 1.0 - isomerisation_probability(0.8, 0.3, 1.7)
    expected = np.convolve(
        stats.binom.pmf(np.arange(8), 7, stay), stats.binom.pmf(np.arange(5), 4, come)
    )
    assert table_of(law, "A", 1, 12) == pytest.approx(expected, abs=1e-13)


def test_rates_may_depend_on_the_time():
    text = "species X\nparam k = 20, w = 1.3, g = 0.7\n0 -> X @ k*(1 + sin(w*t))\nX -> 0 @ g"
    law = MonomolecularLaw(gl.Network.parse(text), np.array([0.0, 1.0, 5.0]))
    for row, time in ((1, 1.0), (2, 5.0)):
        expected = stats.poisson.pmf(np.arange(90), driven_mean(time))
        assert table_of(law, "X", row, 90) == pytest.approx(expected, abs=1e-11)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (DIMERISATION, "more than one molecule"),
        (EXPRESSION, "more than one molecule"),
        ("species X\n0 => X @ 4/(1 + X)", "a rate law of its own"),
        ("species X\nX -> 0 @ 2*X", "depends on counts"),
        ("species X = 5\nX -> 0 @ 1\nwhen t >= 2: X = 9", "events"),
    ],
)
def test_what_is_not_monomolecular_is_said(text, why):
    assert why in why_not_monomolecular(gl.Network.parse(text))


# ---- p-values -----------------------------------------------------------------------------------


def test_p_values_are_uniform_for_samples_of_the_law():
    rng = np.random.default_rng(5)
    law = stats.poisson.pmf(np.arange(60), 15.0)
    means, fits, pairs = [], [], []
    for _ in range(800):
        first, second = rng.poisson(15.0, (2, 1_000))
        fits.append(fit_pvalue(first, 0, law, 0.0)[0])
        means.append(mean_pvalue(first.astype(float), 15.0, 15.0))
        pairs.append(same_law_pvalue(first.astype(float), second.astype(float))[0])
    for pvalues in (means, fits, pairs):
        assert stats.kstest(pvalues, "uniform").pvalue > LEVEL


def test_the_power_is_what_it_is_said_to_be():
    rng = np.random.default_rng(6)
    n, level = 1_000, 1e-3
    shift = found_shift(n, level, 0.9)
    found = [mean_pvalue(rng.normal(shift, 1.0, n), 0.0, 1.0) < level for _ in range(600)]
    assert stats.binomtest(sum(found), 600, 0.9).pvalue > LEVEL
    effect = found_effect(n, 3, level, 0.9)
    wrong = 0.25 * (1.0 + effect * np.array([1.0, -1.0, 1.0, -1.0]))  # w is `effect`
    found = [
        fit_pvalue(rng.choice(4, n, p=wrong), 0, np.full(4, 0.25), 0.0)[0] < level
        for _ in range(600)
    ]
    # The law of the statistic is a non-central chi-square only in the limit of many samples.
    assert 0.85 < np.mean(found) < 0.95


def test_a_count_that_cannot_be_refutes_a_law_by_itself():
    law = np.array([0.5, 0.5])
    samples = np.tile([0, 1], 5_000)
    assert fit_pvalue(samples, 0, law, 0.0)[0] > 0.5
    samples[17] = 2
    assert fit_pvalue(samples, 0, law, 0.0)[0] == 0.0
    # What the table may lack could be there.
    assert fit_pvalue(samples, 0, law, 1e-6)[0] == pytest.approx(2 * 1e-2)
    assert fit_pvalue(samples, 0, np.array([0.5, 0.4999, 1e-4]), 0.0)[0] > 1e-3


# ---- References ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "reference", "why"),
    [
        (BIRTH_DEATH, "closed law", "the strongest there is"),
        (DIMERISATION, "master equation", "no closed law"),
        (EXPRESSION, "exact moments", "no master equation"),
        ("species X = 40, Y\nX -> 2 X @ 1\n2 X -> X + Y @ 0.02", "samples", "no exact moments"),
    ],
)
def test_the_strongest_reference_is_taken_and_the_others_are_refused_by_name(text, reference, why):
    # Too few states for expression, and for a predator without limit.
    found = certificate(text, t=4.0, max_states=2_000 if reference != "samples" else 20)
    assert found.reference.startswith(reference)
    assert why in found.reference_reason
    assert found.passed
    assert str(found).startswith("direct: passed")
    assert f"against the {found.reference}>" in repr(found)


@pytest.mark.parametrize("reference", ["closed law", "master equation", "exact moments", "samples"])
def test_every_reference_passes_what_is_right_and_rejects_three_per_cent(reference):
    right = gl.Network.parse(BIRTH_DEATH)
    runs = gl.ensemble(right, 10.0, 20_000, rng=3)
    assert runs.certify(reference=reference, level=LEVEL).passed
    off = gl.ensemble(right.with_parameters(k=10.3), 10.0, 20_000, rng=3)
    assert off.certify(network=right, reference=reference, level=LEVEL).verdict == "rejected"


# Every stock model, over a time in which its law is known, and what it is held against.
MASTER, SAMPLES = ("closed law", "master equation"), ("samples of first_reaction",)
STOCK = {
    "birth_death": (20.0, MASTER),
    "dimerisation": (50.0, MASTER),
    "telegraph": (10.0, MASTER),
    "michaelis_menten": (50.0, MASTER),
    "schlogl": (0.5, MASTER),
    "sir": (5.0, MASTER),
    "toggle_switch": (20.0, MASTER),
    "goutsias": (20.0, MASTER),
    "lotka_volterra": (0.2, SAMPLES),
    "brusselator": (0.05, SAMPLES),
    "repressilator": (2.0, SAMPLES),
    "vilar": (0.5, SAMPLES),
}


def exact_methods_of_stock_models():
    """Give every exact method with every model whose master equation it can be held against."""
    for model, (_, references) in STOCK.items():
        compiled = compile_network(gl.models.MODELS[model].build())
        for name, method in METHODS.items():
            if references is SAMPLES and name != "direct":
                continue  # against each other, methods are tested elsewhere
            if method.is_exact and method().refusal(compiled) is None:
                yield model, name


@pytest.mark.statistical
@pytest.mark.parametrize(("model", "method"), list(exact_methods_of_stock_models()))
def test_exact_methods_pass_on_stock_models(model, method):
    t, references = STOCK[model]
    network = gl.models.MODELS[model].build()
    found = gl.certify(network, method, t, 2_000, level=LEVEL, rng=21)
    assert found.passed, str(found)
    assert found.reference in references


def test_every_stock_model_is_certified():
    assert STOCK.keys() == gl.models.MODELS.keys()


def test_a_forgotten_factor_two_is_rejected():
    # c P^2 / 2 in place of c P (P - 1) / 2, and c P (P - 1).
    right = gl.Network.parse(DIMERISATION)
    for law in ("0.001*P^2/2", "0.001*P*(P - 1)"):
        wrong = gl.Network.parse(f"species P = 100, Q\n2 P => Q @ {law}\nQ -> 2 P @ 0.01")
        runs = gl.ensemble(wrong, 50.0, 10_000, rng=5)
        assert runs.certify(network=right, level=LEVEL).verdict == "rejected"


def test_coarse_leaping_is_rejected_and_fine_leaping_is_not_told_apart_by_few_samples():
    # Leaps end at sampling times, so that a fine grid keeps even the coarsest short.
    coarse = certificate(SCHLOGL, gl.TauLeaping(epsilon=0.5), t=[0.0, 2.0, 4.0], n=10_000)
    assert coarse.verdict == "rejected"
    assert coarse.method == "tau_leaping (epsilon=0.5)"
    enzyme = gl.models.MODELS["michaelis_menten"].build()
    found = gl.certify(enzyme, gl.TauLeaping(epsilon=0.5), 50.0, 10_000, level=LEVEL, rng=2)
    assert found.verdict == "rejected"
    assert certificate(SCHLOGL, gl.TauLeaping(epsilon=0.01), t=4.0, n=500).passed


@pytest.mark.parametrize("text", [BIRTH_DEATH, DIMERISATION, SCHLOGL])
def test_samples_that_are_shifted_by_one_grid_point_are_rejected(text):
    runs = gl.ensemble(gl.Network.parse(text), 10.0, 10_000, rng=7)
    assert runs.certify(level=LEVEL).passed
    counts = runs.counts.copy()
    counts[:, :-1] = runs.counts[:, 1:]
    shifted = dataclasses.replace(runs, counts=counts)
    assert shifted.certify(level=LEVEL).verdict == "rejected"


def test_one_impossible_trajectory_among_ten_thousand_is_found():
    runs = gl.ensemble(gl.Network.parse(DIMERISATION), 50.0, 10_000, rng=7)
    counts = runs.counts.copy()
    counts[5000, -1] = (51, 24)  # an odd number of monomers
    wrong = dataclasses.replace(runs, counts=counts).certify()
    assert wrong.verdict == "rejected"
    assert wrong.worst.time == 50.0


# ---- Results and refusals -----------------------------------------------------------------------


def test_a_certificate_is_a_table_and_a_picture():
    found = certificate(DIMERISATION, t=50.0)
    table = found.to_pandas()
    assert len(table) == len(found.looks)
    assert table["p_value"].min() == found.worst.p_value
    assert found.p_value == min(1.0, found.worst.p_value * len(found.looks))
    ax = found.plot()
    assert ax.get_xlabel().startswith(f"{found.worst.name} at t = {found.worst.time:g}")
    assert "passed" in ax.get_title()
    assert [text.get_text() for text in ax.get_legend().get_texts()][-1] == "exact law"
    with pytest.raises(TypeError, match=r"ask for certificate\.passed"):
        bool(found)


def test_observables_are_tested_too():
    found = certificate(DIMERISATION + "\nobserve Total = P + 2*Q")
    assert {one.name for one in found.looks} == {"P", "Q", "Total"}
    assert found.passed


@pytest.mark.parametrize("reference", ["closed law", "master equation", "exact moments", "samples"])
def test_species_in_compartments_are_tested_in_molecules(reference):
    text = "param V = 2\nspecies X = 3\ncompartment V: [X]\n0 -> X @ 10\nX -> 0 @ 0.5"
    found = certificate(text, reference=reference)
    assert found.passed
    ax = found.plot()
    assert ax.get_xlabel() == f"X at t = {found.worst.time:g} (molecules)"
    # The bars and the law stand at the same counts, some 20 molecules: not at 10 per volume.
    bars = sum((one.get_x() + 0.5 * one.get_width()) * one.get_height() for one in ax.patches)
    assert bars == pytest.approx(found.samples.counts.mean(), abs=0.5)


def test_what_cannot_be_judged_is_refused():
    network = gl.Network.parse(BIRTH_DEATH)
    with pytest.raises(ValueError, match="at least 100"):
        gl.certify(network, "direct", 10.0, 50)
    with pytest.raises(ValueError, match="how often a right method is rejected"):
        gl.certify(network, "direct", 10.0, 500, level=0.0)
    with pytest.raises(gl.MethodError, match=r"unknown reference 'closed'.*closed law"):
        gl.certify(network, "direct", 10.0, 500, reference="closed")
    with pytest.raises(gl.MethodError, match="no closed law: reaction 1"):
        gl.certify(gl.Network.parse(DIMERISATION), "direct", 10.0, 500, reference="closed law")
    held = gl.ensemble(network, 10.0, 500, stop_when="X >= 9", rng=1)
    with pytest.raises(ValueError, match="stop_when"):
        held.certify()
    cut = dataclasses.replace(gl.ensemble(network, 10.0, 500, rng=1), stopped="timeout")
    with pytest.raises(ValueError, match=r"stopped \(timeout\)"):
        cut.certify()
    with pytest.raises(KeyError, match="no species or observable 'Y'"):
        gl.ensemble(network, 10.0, 500, rng=1).certify(names=["Y"])
