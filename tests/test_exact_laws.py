"""Every exact method samples the laws that are known, and the tests would see it if it did not.

Each law is tested with every exact method of METHODS. Each law also brings its mutants: networks
that are slightly wrong and that its test must reject. The comments say how clearly it does.
"""

from __future__ import annotations

import functools
import hashlib
import inspect
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import ClassVar

import laws
import numpy as np
import pytest
from laws import (
    ALPHA,
    binomial_law,
    cells_pvalue,
    chi_square_pvalue,
    joint_pvalue,
    ks_pvalue,
    moments,
    normal_pvalue,
    poisson_law,
    smallest,
)
from numpy.testing import assert_allclose
from scipy import stats

import gillespy_lite as gl
from gillespy_lite.kernels.event_loop import event_kernel
from gillespy_lite.kernels.jit import inlined
from gillespy_lite.kernels.propensities import propensity
from gillespy_lite.kernels.random import exponential, uniform
from gillespy_lite.methods import METHODS, StochasticMethod

EXACT = sorted(name for name, method in METHODS.items() if method.is_exact)
STOCHASTIC = sorted(name for name, method in METHODS.items() if method.is_stochastic)

E_TIMES = [0.0, 3.0, 40.0]
SCHLOGL = "species X = 250\n2 X -> 3 X @ {up}\n3 X -> 2 X @ {down}\n0 -> X @ 200\nX -> 0 @ {out}"


@dataclass(frozen=True)
class Law:
    """A network, when and how often to sample it, and how its counts are judged."""

    text: str
    times: list[float]
    n: int
    # counts (n_trajectories, n_times, n_species) -> p-values
    judge: Callable[[np.ndarray], list[float]]
    mutants: dict[str, str] = field(default_factory=dict)


def judge_birth_death(counts: np.ndarray) -> list[float]:
    # Poisson(20 (1 - exp(-t/2))) at t = .3 and 3, and P(X(3) = j | X(1.5) = i) between two times.
    x = counts[:, :, 0]
    first = np.zeros(60)
    law = poisson_law(20.0 * (1.0 - math.exp(-0.75)))
    first[: law.size] = law
    joint = first[:, None] * laws.birth_death_transition(60, 10.0, 0.5, 1.5)
    return [
        chi_square_pvalue(x[:, 1], poisson_law(20.0 * (1.0 - math.exp(-0.15)))),
        chi_square_pvalue(x[:, 10], poisson_law(20.0 * (1.0 - math.exp(-1.5)))),
        joint_pvalue(x[:, 5], x[:, 10], joint),
    ]


def judge_death(counts: np.ndarray) -> list[float]:
    # Each of 200 molecules lives on with probability exp(-t/2), from any time to any other.
    x, survival = counts[:, :, 0], math.exp(-0.5)
    steps = np.zeros((201, 201))
    for i in range(201):
        steps[i, : i + 1] = binomial_law(i, survival)
    return [
        chi_square_pvalue(x[:, 1], binomial_law(200, survival)),
        chi_square_pvalue(x[:, 2], binomial_law(200, survival**2)),
        joint_pvalue(x[:, 1], x[:, 2], binomial_law(200, survival)[:, None] * steps),
    ]


def judge_isomerisation(counts: np.ndarray) -> list[float]:
    # 60 molecules, each in A with the probability of a two-state chain.
    a = counts[:, :, 0]
    first = binomial_law(60, laws.isomerisation_probability(1.0, 0.5, 0.4))
    joint = first[:, None] * laws.isomerisation_transition(60, 1.0, 0.5, 0.4)
    conserved = 1.0 if (counts.sum(axis=2) == 60).all() else 0.0
    return [
        conserved,
        chi_square_pvalue(a[:, 1], first),
        chi_square_pvalue(a[:, 3], binomial_law(60, 1.0 / 3.0)),
        joint_pvalue(a[:, 1], a[:, 2], joint),
    ]


def judge_dimerisation(counts: np.ndarray) -> list[float]:
    chain = laws.dimerisation()
    start = (100, 0)
    # States in the order of the number of dimers Q, which is the state's own number.
    joint = chain.law(start, 10.0)[:, None] * chain.transition(40.0)
    conserved = 1.0 if (counts @ [1, 2] == 100).all() else 0.0
    return [
        conserved,
        *(
            chi_square_pvalue(counts[:, i, 1], chain.law(start, t))
            for i, t in ((1, 1.0), (2, 10.0))
        ),
        chi_square_pvalue(counts[:, 3, 1], chain.law(start, 50.0)),
        joint_pvalue(counts[:, 2, 1], counts[:, 3, 1], joint),
    ]


def judge_telegraph(counts: np.ndarray) -> list[float]:
    # At t = 3 the joint law of gene and product; at t = 40 (0.4 t = 16) the beta-Poisson law.
    chain = laws.telegraph()
    joint = chain.law((0, 0), 3.0).reshape(2, 71)
    stationary = laws.beta_poisson_law(200, 0.25, 0.15, 15.0, 1.0)
    return [
        joint_pvalue(counts[:, 1, 1], counts[:, 1, 2], joint),
        chi_square_pvalue(counts[:, 2, 2], stationary),
    ]


def judge_binding(counts: np.ndarray) -> list[float]:
    chain = laws.binding()
    joint = chain.law((0,), 0.5)[:, None] * chain.transition(0.5)
    c = counts[:, :, 2]
    return [
        chi_square_pvalue(c[:, 1], chain.law((0,), 0.5)),
        joint_pvalue(c[:, 1], c[:, 2], joint),
        chi_square_pvalue(c[:, 3], laws.binding_stationary_law()),
    ]


def judge_schlogl(counts: np.ndarray) -> list[float]:
    # The stationary law needs 1e5 units of time (the second eigenvalue is -2.5e-5); by t = 4 there
    # are two peaks.
    return [
        chi_square_pvalue(counts[:, 1, 0], laws.schlogl_law(1.0)),
        chi_square_pvalue(counts[:, 2, 0], laws.schlogl_law(4.0)),
    ]


def judge_third_order(counts: np.ndarray) -> list[float]:
    chain = laws.third_order()
    joint = chain.law((0,), 0.3)[:, None] * chain.transition(0.5)
    return [joint_pvalue(counts[:, 1, 2], counts[:, 2, 2], joint)]


def judge_feedback(counts: np.ndarray) -> list[float]:
    chain = laws.feedback()
    joint = chain.law((0,), 1.0)[:, None] * chain.transition(1.0)
    return [
        joint_pvalue(counts[:, 1, 0], counts[:, 2, 0], joint),
        chi_square_pvalue(counts[:, 3, 0], chain.stationary()),
    ]


def judge_ring(counts: np.ndarray) -> list[float]:
    # The molecules move independently, so the counts at a time, added over all trajectories, are
    # multinomial, and those of one place binomial.
    pvalues = [1.0 if (counts.sum(axis=2) == 50).all() else 0.0]
    for i, time in ((1, 1.0), (2, 4.0)):
        where = laws.ring_probabilities(time)
        pvalues.append(cells_pvalue(counts[:, i].sum(axis=0), where))
        pvalues.append(chi_square_pvalue(counts[:, i, 3], binomial_law(50, where[3])))
    return pvalues


# Power, measured with the direct method: the p-value of each mutant, corrected for the number of
# p-values of its law. All must be below ALPHA / (number of laws * number of exact methods).
LAWS = {
    "A birth and death": Law(
        "species X\n0 -> X @ 10\nX -> 0 @ 0.5",
        [0.3 * i for i in range(11)],
        20_000,
        judge_birth_death,
        {
            "birth rate 2 % up": "species X\n0 -> X @ 10.2\nX -> 0 @ 0.5",
            "death rate 4 % up": "species X\n0 -> X @ 10\nX -> 0 @ 0.52",
            "one molecule at the start": "species X = 1\n0 -> X @ 10\nX -> 0 @ 0.5",
        },
    ),
    "B death": Law(
        "species X = 200\nX -> 0 @ 0.5",
        [0.0, 1.0, 2.0],
        10_000,
        judge_death,
        {
            "rate 2 % up": "species X = 200\nX -> 0 @ 0.51",
            "one molecule short": "species X = 199\nX -> 0 @ 0.5",
        },
    ),
    "C isomerisation": Law(
        "species A = 60, B\nA <-> B @ 1, 0.5",
        [0.0, 0.4, 0.8, 15.0],
        20_000,
        judge_isomerisation,
        {
            "forward rate 2 % up": "species A = 60, B\nA <-> B @ 1.02, 0.5",
            "backward rate 2 % up": "species A = 60, B\nA <-> B @ 1, 0.51",
            "both rates 2 % up": "species A = 60, B\nA <-> B @ 1.02, 0.51",
        },
    ),
    "D dimerisation": Law(
        "species P = 100, Q\n2 P -> Q @ 0.001\nQ -> 2 P @ 0.01",
        [0.0, 1.0, 10.0, 50.0],
        20_000,
        judge_dimerisation,
        {
            "without the factor 2": "species P = 100, Q\n2 P -> Q @ 0.002\nQ -> 2 P @ 0.01",
            "P^2/2 for P (P - 1)/2": (
                "species P = 100, Q\n2 P => Q @ 0.001*P^2/2\nQ -> 2 P @ 0.01"
            ),
            "rate 2 % up": "species P = 100, Q\n2 P -> Q @ 0.00102\nQ -> 2 P @ 0.01",
            "backward rate 6 % up": "species P = 100, Q\n2 P -> Q @ 0.001\nQ -> 2 P @ 0.0106",
        },
    ),
    "E telegraph": Law(
        "species off = 1, on, M\noff <-> on @ 0.25, 0.15\non -> on + M @ 15\nM -> 0 @ 1",
        E_TIMES,
        20_000,
        judge_telegraph,
        {
            "production 4 % up": (
                "species off = 1, on, M\noff <-> on @ 0.25, 0.15\non -> on + M @ 15.6\nM -> 0 @ 1"
            ),
            "switching on 10 % up": (
                "species off = 1, on, M\noff <-> on @ 0.275, 0.15\non -> on + M @ 15\nM -> 0 @ 1"
            ),
            "switching 15 % faster": (
                "species off = 1, on, M\noff <-> on @ 0.2875, 0.1725\non -> on + M @ 15\nM -> 0 @ 1"
            ),
        },
    ),
    "F binding": Law(
        "species A = 30, B = 20, C\nA + B <-> C @ 0.01, 0.1",
        [0.0, 0.5, 1.0, 40.0],
        20_000,
        judge_binding,
        {
            "rate 3 % up": "species A = 30, B = 20, C\nA + B <-> C @ 0.0103, 0.1",
            "backward rate 4 % up": "species A = 30, B = 20, C\nA + B <-> C @ 0.01, 0.104",
        },
    ),
    "G Schlogl": Law(
        SCHLOGL.format(up=0.03, down=1e-4, out=3.5),
        [0.0, 1.0, 4.0],
        2_000,
        judge_schlogl,
        {
            "autocatalysis 2 % up": SCHLOGL.format(up=0.0306, down=1e-4, out=3.5),
            "third order 2 % up": SCHLOGL.format(up=0.03, down=1.02e-4, out=3.5),
            "outflow 2 % up": SCHLOGL.format(up=0.03, down=1e-4, out=3.57),
        },
    ),
    "three molecules": Law(
        "species A = 40, B = 15, C\n2 A + B <-> C @ 0.002, 0.5",
        [0.0, 0.3, 0.8],
        20_000,
        judge_third_order,
        {
            "rate 3 % up": "species A = 40, B = 15, C\n2 A + B <-> C @ 0.00206, 0.5",
            "A^2 for A (A - 1)": (
                "species A = 40, B = 15, C\n2 A + B => C @ 0.001*A^2*B\nC -> 2 A + B @ 0.5"
            ),
        },
    ),
    "feedback by a rate law": Law(
        "species X\n0 => X @ 40/(1 + (X/10)^2)\nX -> 0 @ 1",
        [0.0, 1.0, 2.0, 15.0],
        20_000,
        judge_feedback,
        {
            "threshold 3 % up": "species X\n0 => X @ 40/(1 + (X/10.3)^2)\nX -> 0 @ 1",
            "production 3 % up": "species X\n0 => X @ 41.2/(1 + (X/10)^2)\nX -> 0 @ 1",
        },
    ),
    # More than 64 reactions: the direct method keeps its propensities in a tree.
    "ring of 66 reactions": Law(
        laws.ring_text(50),
        [0.0, 1.0, 4.0],
        4_000,
        judge_ring,
        {
            "one rate of 66, 20 % up": laws.ring_text(50).replace("@ 1.5\n", "@ 1.8\n"),
        },
    ),
}
THRESHOLD = ALPHA / (len(LAWS) * len(EXACT))


def law_pvalue(law: Law, method: str | StochasticMethod, text: str = "", seed: int = 1) -> float:
    """Return the smallest p-value of a law, corrected for their number."""
    network = gl.Network.parse(text or law.text)
    counts = gl.ensemble(network, law.times, law.n, method=method, rng=seed).counts
    return smallest(law.judge(counts))


# ---- The laws themselves, against the tabulated digits ------------------------------------------


def test_the_laws_have_the_tabulated_digits():
    assert_allclose(20.0 * (1.0 - math.exp(-1.5)), 15.537396797, rtol=1e-10)
    chain = laws.dimerisation()
    for time, mean, sd in (
        (1.0, 91.031766, 3.862504),
        (10.0, 52.214271, 5.511760),
        (50.0, 28.542298, 4.789331),
    ):
        found = moments(chain.marginal(chain.law((100, 0), time), 0))
        assert_allclose([found[0], math.sqrt(found[1])], [mean, sd], rtol=0, atol=6e-7)
    telegraph = laws.beta_poisson_law(200, 0.25, 0.15, 15.0, 1.0)
    assert_allclose([*moments(telegraph), telegraph[0]], [9.375, 47.0424107, 0.1840027], rtol=1e-7)
    assert_allclose(moments(laws.binding_stationary_law()), [12.786366608, 3.690825436], rtol=1e-9)
    schlogl = laws.schlogl_law(4.0)
    mean, variance = moments(schlogl)
    assert_allclose(
        [mean, math.sqrt(variance), schlogl[:300].sum()], [309.8847, 216.0086, 0.531641], rtol=1e-6
    )
    schlogl = laws.schlogl().stationary()
    mean, variance = moments(schlogl)
    assert_allclose(
        [mean, math.sqrt(variance), schlogl[:300].sum()], [454.8613, 199.8788, 0.220280], rtol=3e-6
    )
    assert_allclose(
        [laws.driven_mean(t) for t in (1.0, 5.0, 10.0)],
        [23.303489397, 17.802927625, 20.431811099],
        rtol=1e-10,
    )


def test_closed_forms_agree_with_master_equations():
    telegraph = laws.telegraph()
    stationary = telegraph.marginal(telegraph.stationary(), 1)
    assert_allclose(stationary, laws.beta_poisson_law(71, 0.25, 0.15, 15.0, 1.0), atol=1e-12)
    assert_allclose(laws.binding().stationary(), laws.binding_stationary_law(), atol=1e-12)
    chain = laws.MasterEquation(
        [(x,) for x in range(120)], [(lambda x: 10.0, (1,)), (lambda x: 0.5 * x, (-1,))]
    )
    step = laws.birth_death_transition(120, 10.0, 0.5, 1.5)
    assert_allclose(chain.transition(1.5)[:40, :40], step[:40, :40], atol=1e-12)
    chain = laws.MasterEquation(
        [(a,) for a in range(61)], [(lambda a: 1.0 * a, (-1,)), (lambda a: 0.5 * (60 - a), (1,))]
    )
    step = laws.isomerisation_transition(60, 1.0, 0.5, 0.4)
    assert_allclose(chain.transition(0.4), step, atol=1e-12)


@pytest.mark.statistical
def test_pvalues_are_uniform_when_the_law_is_right():
    # Without this, small p-values could mean a wrong test, and large ones a blind one.
    rng = np.random.default_rng(5)
    law = poisson_law(7.0)
    joint = law[:, None] * law[None, :]
    draws = rng.poisson(7.0, size=(600, 2, 2_000))
    found = {
        "one": [chi_square_pvalue(first, law) for first, _ in draws],
        "joint": [joint_pvalue(first, second, joint) for first, second in draws],
        "randomised": [
            laws.randomised_pvalue(first, lambda k: stats.poisson.cdf(k, 7.0)) for first, _ in draws
        ],
        "means": [laws.means_pvalue(pair.T, np.array([7.0, 7.0])) for pair in draws],
    }
    for name, pvalues in found.items():
        assert ks_pvalue(np.array(pvalues), stats.uniform.cdf) > ALPHA, name


# ---- The laws, for every exact method -----------------------------------------------------------


@pytest.mark.statistical
@pytest.mark.parametrize("method", EXACT)
@pytest.mark.parametrize("name", LAWS)
def test_exact_method_samples_the_law(name, method):
    assert law_pvalue(LAWS[name], method) > THRESHOLD


@pytest.mark.statistical
@pytest.mark.parametrize(
    ("name", "mutant"), [(name, mutant) for name, law in LAWS.items() for mutant in law.mutants]
)
def test_a_slightly_wrong_network_is_rejected(name, mutant):
    law = LAWS[name]
    assert law_pvalue(law, "direct", text=law.mutants[mutant]) < THRESHOLD


@pytest.mark.statistical
@pytest.mark.parametrize("name", ["A birth and death", "B death", "D dimerisation", "F binding"])
def test_a_grid_shifted_by_one_point_is_rejected(name):
    law = LAWS[name]
    counts = gl.ensemble(gl.Network.parse(law.text), law.times, law.n, rng=1).counts
    late = counts[:, [0, *range(len(law.times) - 1)]]
    assert smallest(law.judge(late)) < THRESHOLD


# ---- Mutant kernels -----------------------------------------------------------------------------


@inlined
def update_all_but_the_last_dependent(network, walker, fired, time):
    first, last = network.dependent_start[fired], network.dependent_start[fired + 1]
    if fired < network.form.size:
        last = max(first, last - 1)
    for k in range(first, last):
        reaction = network.dependent[k]
        walker.reals[reaction] = propensity(network, reaction, walker.state, time, walker.stack)
    return -1


@inlined
def update_all(network, walker, fired, time):
    for k in range(network.dependent_start[fired], network.dependent_start[fired + 1]):
        reaction = network.dependent[k]
        walker.reals[reaction] = propensity(network, reaction, walker.state, time, walker.stack)
    return -1


@inlined
def propose_rightly(network, walker, time):
    total = 0.0
    for reaction in range(network.form.size):
        total += walker.reals[reaction]
    if total <= 0.0:
        return np.inf, -1
    next_time = time + exponential(walker.stream) / total
    target = uniform(walker.stream) * total
    chosen = -1
    for reaction in range(network.form.size):
        if walker.reals[reaction] > 0.0:
            chosen = reaction
            target -= walker.reals[reaction]
            if target < 0.0:
                break
    return next_time, chosen


@inlined
def propose_any_reaction_alike(network, walker, time):
    total, n_possible = 0.0, 0
    for reaction in range(network.form.size):
        total += walker.reals[reaction]
        n_possible += walker.reals[reaction] > 0.0
    if n_possible == 0:
        return np.inf, -1
    next_time = time + exponential(walker.stream) / total
    left = np.int64(uniform(walker.stream) * n_possible)
    for reaction in range(network.form.size):
        if walker.reals[reaction] > 0.0:
            if left == 0:
                return next_time, reaction
            left -= 1
    return next_time, -1


@inlined
def propose_after_the_mean_waiting_time(network, walker, time):
    _, chosen = propose_rightly(network, walker, time)
    if chosen < 0:
        return np.inf, -1
    total = 0.0
    for reaction in range(network.form.size):
        total += walker.reals[reaction]
    return time + 1.0 / total, chosen


@functools.cache
def hand_made_method(update, propose):
    """Return a method whose kernel is the shared loop over events with these two parts."""
    # The disk cache knows a kernel by its name: the name must change with the source.
    source = "".join(inspect.getsource(f.py_func) for f in (update, propose, propose_rightly))
    kernel_name = f"hand_made_{hashlib.sha256(source.encode()).hexdigest()[:12]}"

    class HandMade(StochasticMethod):
        name: ClassVar[str] = "hand_made"
        is_exact: ClassVar[bool] = True
        kernel = staticmethod(event_kernel(kernel_name, update, propose))

        def workspace(self, n_species, n_reactions):
            return n_reactions, 0

    return HandMade()


@pytest.mark.statistical
@pytest.mark.parametrize("name", ["A birth and death", "C isomerisation", "F binding"])
def test_the_harness_of_the_mutant_kernels_passes_when_nothing_is_broken(name):
    assert law_pvalue(LAWS[name], hand_made_method(update_all, propose_rightly)) > THRESHOLD


@pytest.mark.statistical
@pytest.mark.parametrize(
    ("update", "propose"),
    [
        pytest.param(update_all_but_the_last_dependent, propose_rightly, id="forgets a dependent"),
        pytest.param(update_all, propose_any_reaction_alike, id="chooses uniformly"),
        pytest.param(update_all, propose_after_the_mean_waiting_time, id="waits for the mean"),
    ],
)
@pytest.mark.parametrize("name", ["A birth and death", "C isomerisation", "F binding"])
def test_a_broken_kernel_is_rejected(name, update, propose):
    assert law_pvalue(LAWS[name], hand_made_method(update, propose)) < THRESHOLD


# ---- Times, events and their joint laws ---------------------------------------------------------

# Those whose rows of every event are single events: a leap is one row.
ONE_BY_ONE = [name for name in EXACT if name != "exact_leaping"]
# p-values of this section, for each exact method.
N_EVENT_PVALUES = 16
EVENT_THRESHOLD = ALPHA / (N_EVENT_PVALUES * len(EXACT))


@pytest.mark.statistical
@pytest.mark.parametrize("method", ONE_BY_ONE)
def test_waiting_times_of_a_constant_source_are_independent_exponentials(method):
    # One path of 100,000 events of 0 -> X @ 3. Power, measured: a rate 4 % off gives p < 1e-9.
    network = gl.Network.parse("species X\n0 -> X @ 3")
    path = gl.simulate(network, 33_000.0, method=method, rng=3, every_event=True)
    waiting = np.diff(path.times)
    assert waiting.size > 90_000
    assert (path.counts[:, 0] == np.arange(path.times.size)).all()
    assert ks_pvalue(waiting, stats.expon(scale=1.0 / 3.0).cdf) > EVENT_THRESHOLD
    correlation = np.corrcoef(waiting[:-1], waiting[1:])[0, 1]
    assert normal_pvalue(correlation, 0.0, 1.0 / math.sqrt(waiting.size)) > EVENT_THRESHOLD
    assert ks_pvalue(waiting, stats.expon(scale=1.04 / 3.0).cdf) < EVENT_THRESHOLD


@pytest.mark.statistical
@pytest.mark.parametrize("method", EXACT)
def test_event_counts_of_a_constant_source_are_poisson(method):
    # 0 -> X @ 3 for 5 units of time: Poisson(15). Power, measured: 2 % off gives p < 1e-16.
    network = gl.Network.parse("species X\n0 -> X @ 3")
    result = gl.ensemble(network, [0.0, 5.0], 30_000, method=method, rng=4)
    assert (result.n_events == result.counts[:, -1, 0]).all()
    assert chi_square_pvalue(result.n_events, poisson_law(15.0)) > EVENT_THRESHOLD
    assert chi_square_pvalue(result.n_events, poisson_law(15.3)) < EVENT_THRESHOLD


@pytest.mark.statistical
@pytest.mark.parametrize("method", EXACT)
def test_first_event_has_the_right_time_and_reaction(method):
    # Propensities 1*30, 0.5*30*29/2/100 = 2.175, 0.001*30*20 = 0.6, 5, and one that is impossible:
    # the time is exponential with their total, the reaction independent of it.
    network = gl.Network.parse(
        "species A = 30, B = 20, C, D, none, n1, n2, n3, n4, n5\n"
        "A -> n1 @ 1\n2 A -> n2 @ 0.005\nA + B -> n3 @ 0.001\n0 => n4 @ 5\nnone -> n5 @ 100\n"
    )
    shares = np.array([30.0, 2.175, 0.6, 5.0, 0.0])
    total = shares.sum()
    n = 40_000
    result = gl.ensemble(
        network,
        [0.0, 10.0],
        n,
        method=method,
        rng=5,
        stop_when="n1 + n2 + n3 + n4 + n5 >= 1",
    )
    waiting = result.hitting_times
    assert (result.n_events == 1).all()
    fired = result.counts[:, -1, -5:].argmax(axis=1)
    assert ks_pvalue(waiting, stats.expon(scale=1.0 / total).cdf) > EVENT_THRESHOLD
    assert chi_square_pvalue(fired, shares / total) > EVENT_THRESHOLD
    for reaction in range(4):
        chosen = waiting[fired == reaction]
        assert ks_pvalue(chosen, stats.expon(scale=1.0 / total).cdf) > EVENT_THRESHOLD
    # Power: with the factor 2 of 2 A wrong, the same samples are rejected.
    wrong = np.array([30.0, 4.35, 0.6, 5.0, 0.0])
    assert chi_square_pvalue(fired, wrong / wrong.sum()) < EVENT_THRESHOLD
    assert ks_pvalue(waiting, stats.expon(scale=1.0 / wrong.sum()).cdf) < EVENT_THRESHOLD


# Sizes on both sides of what changes the data structures: one reaction, the shapes of a heap, 64
# reactions (sums or a tree in the direct method).
@pytest.mark.statistical
@pytest.mark.parametrize("n_reactions", [1, 2, 3, 5, 8, 13, 32, 33, 64, 65, 200])
@pytest.mark.parametrize("method", EXACT)
def test_first_event_among_many_sources_has_the_right_law(method, n_reactions):
    # Rates 1, 1.5, 2, 1, 1.5, 2, ...: reaction j is first with probability rate j / total.
    # This found a next-reaction heap that was built in the wrong order: laws A to G all have so
    # few reactions that are possible at the start that they did not.
    rates = np.array([1.0 + 0.5 * (j % 3) for j in range(n_reactions)])
    names = [f"X{j}" for j in range(n_reactions)]
    text = f"species {', '.join(names)}\nobserve all = {' + '.join(names)}\n"
    text += "\n".join(f"0 -> {name} @ {rate}" for name, rate in zip(names, rates, strict=True))
    result = gl.ensemble(
        gl.Network.parse(text), [0.0, 50.0], 10_000, method=method, rng=10, stop_when="all >= 1"
    )
    fired = result.counts[:, -1].argmax(axis=1)
    threshold = EVENT_THRESHOLD / 11
    assert chi_square_pvalue(fired, rates / rates.sum()) > threshold
    waiting = stats.expon(scale=1.0 / rates.sum()).cdf
    assert ks_pvalue(result.hitting_times, waiting) > threshold


@pytest.mark.statistical
@pytest.mark.parametrize("method", EXACT)
def test_hitting_times_follow_their_laws(method):
    # The 20th event of a source of rate 4 comes after a Gamma(20) time.
    source = gl.Network.parse("species X\n0 -> X @ 4")
    hit = gl.ensemble(
        source, [0.0, 100.0], 20_000, method=method, rng=6, stop_when="X >= 20"
    ).hitting_times
    assert ks_pvalue(hit, stats.gamma(20, scale=0.25).cdf) > EVENT_THRESHOLD
    assert ks_pvalue(hit, stats.gamma(20, scale=0.255).cdf) < EVENT_THRESHOLD

    # X of birth-death first reaches 12: the master equation with 12 absorbing. The same starts at
    # every step from a state below, so a hit seen late or early by one event is seen here too.
    chain = laws.MasterEquation(
        [(x,) for x in range(13)],
        [
            (lambda x: 10.0 if x < 12 else 0.0, (1,)),
            (lambda x: 1.0 * x if x < 12 else 0.0, (-1,)),
        ],
    )
    times = np.linspace(0.0, 6.0, 13)
    reached = np.array([chain.law((0,), t)[12] for t in times])
    network = gl.Network.parse("species X\n0 -> X @ 10\nX -> 0 @ 1")
    result = gl.ensemble(network, times, 20_000, method=method, rng=7, stop_when="X >= 12")
    seen = np.histogram(np.nan_to_num(result.hitting_times, nan=9.0), [*times, 10.0])[0]
    cells = np.append(np.diff(reached), 1.0 - reached[-1])
    assert cells_pvalue(seen, cells) > EVENT_THRESHOLD
    # Held at 12 from the hit on, and below 12 before.
    held = result.counts[:, :, 0] == 12
    assert (held == (result.hitting_times[:, None] <= times)).all()
    assert result.counts.max() == 12


@pytest.mark.statistical
@pytest.mark.parametrize("method", EXACT)
def test_covariance_between_grid_times_decays_as_it_must(method):
    # Stationary birth-death: Cov(X(s), X(s + u)) = 20 exp(-u/2). Started from the stationary law's
    # mean, Var X(s) = 20 (1 - exp(-s/2)) (1 + exp(-s/2)) = 20 (1 - exp(-s)), and the covariance is
    # that times exp(-u/2). Power: standard errors are 1 to 3 %, so 20 % too much is rejected.
    network = gl.Network.parse("species X = 20\n0 -> X @ 10\nX -> 0 @ 0.5")
    times = np.array([0.0, 1.0, 2.0, 4.0])
    x = gl.ensemble(network, times, 40_000, method=method, rng=8).counts[:, :, 0].astype(float)
    for i, s in enumerate(times[1:], start=1):
        for k, later in enumerate(times[i:], start=i):
            covariance = 20.0 * (1.0 - math.exp(-s)) * math.exp(-(later - s) / 2.0)
            products = (x[:, i] - 20.0) * (x[:, k] - 20.0)
            error = products.std() / math.sqrt(x.shape[0])
            assert normal_pvalue(products.mean(), covariance, error) > EVENT_THRESHOLD / 6
            assert normal_pvalue(products.mean(), 1.2 * covariance, error) < 1e-3


@pytest.mark.statistical
@pytest.mark.parametrize("method", EXACT)
def test_neighbouring_trajectories_are_independent(method):
    network = gl.Network.parse("species X\n0 -> X @ 10\nX -> 0 @ 0.5")
    x = gl.ensemble(network, [0.0, 3.0], 40_000, method=method, rng=9).counts[:, -1, 0]
    law = poisson_law(20.0 * (1.0 - math.exp(-1.5)))
    joint = law[:, None] * law[None, :]
    assert joint_pvalue(x[::2], x[1::2], joint) > EVENT_THRESHOLD
    # Power: were one trajectory in ten a copy of the one before it, this would be seen.
    copied = np.where(np.arange(20_000) % 10 == 0, x[::2], x[1::2])
    assert joint_pvalue(x[::2], copied, joint) < EVENT_THRESHOLD


GRID_AND_EVENTS = gl.Network.parse(
    "species A = 60, B, C = 3, M\nobserve twice = 2*A + C\n"
    "A <-> B @ 1, 0.5\n2 B -> C @ 0.05\nC -> C + M @ 4\nM => 0 @ M/(3 + M)*2\n"
)


# Few events between many grid times; the other has many events between two.
SPARSE_EVENTS = gl.Network.parse(
    "species A = 4, B, C = 3, M\nobserve twice = 2*A + C\nA <-> B @ 0.5, 0.5\nC -> M @ 0.5"
)


@pytest.mark.parametrize("network", [GRID_AND_EVENTS, SPARSE_EVENTS], ids=["many", "few"])
@pytest.mark.parametrize("method", STOCHASTIC)
def test_grid_counts_are_the_path_of_all_events_read_at_the_grid_times(method, network):
    # Not one event early, not one late: a count at a time includes any event at that time.
    times = np.linspace(0.0, 4.0, 41)
    outputs = ["A", "B", "C", "M", "twice"]
    for seed in range(20):
        grid = gl.simulate(network, times, method=method, rng=seed, outputs=outputs)
        path = gl.simulate(
            network, times, method=method, rng=seed, outputs=outputs, every_event=True
        )
        at = np.searchsorted(path.times, times, side="right") - 1
        assert (path.counts[at] == grid.counts).all()
        assert (path.values[at] == grid.values).all()
        assert grid.n_events == path.n_events == path.times.size - 1
        assert (grid.values[:, 0] == 2 * grid["A"] + grid["C"]).all()


@pytest.mark.parametrize("method", EXACT)
def test_every_row_of_an_event_path_is_one_firing_of_its_reaction(method):
    path = gl.simulate(GRID_AND_EVENTS, 4.0, method=method, rng=1, every_event=True)
    change = GRID_AND_EVENTS.stoichiometry_matrix
    assert path.reactions[0] == -1
    assert (np.diff(path.counts, axis=0) == change[:, path.reactions[1:]].T).all()
    assert (np.diff(path.times) > 0.0).all()


SAME_LAW = [
    ("X -> 0 @ 0.5", "X => 0 @ 0.5*X"),
    ("X + Y -> Y @ 0.01", "X + Y => Y @ 0.01*X*Y"),
    ("2 X -> X @ 0.5", "2 X => X @ 0.25*X*(X - 1)"),
    ("X -> 0 @ 0.5", "X -> 0 @ 0.5 + 0*X"),
    ("3 X -> 2 X @ 6*0.001", "3 X => 2 X @ 0.001*X*(X - 1)*(X - 2)"),
]


# Partial propensities put mass action and laws into different places of their sums.
# Two methods treat laws in another way than mass action, with other draws.
@pytest.mark.parametrize(
    "method", [one for one in EXACT if one not in ("partial_propensity", "rejection")]
)
@pytest.mark.parametrize(("mass_action", "law"), SAME_LAW)
def test_a_rate_law_that_says_mass_action_gives_the_same_paths(method, mass_action, law):
    head = "species X = 40, Y = 5\n0 -> X @ 7\nY <-> 0 @ 0.2, 2\n"
    first, second = (
        gl.ensemble(gl.Network.parse(head + line), 5.0, 50, method=method, rng=2)
        for line in (mass_action, law)
    )
    assert (first.counts == second.counts).all()
    assert (first.n_events == second.n_events).all()
