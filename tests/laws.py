"""Exact laws of small networks, and p-values of samples against them.

Nothing here uses the package: every law is a closed form or the solution of a master equation,
written down from the reactions by hand. `2 P -> Q @ c` has propensity c P (P - 1) / 2.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence

import numpy as np
from scipy import linalg, special, stats

# A statistical test fails below this p-value divided by the number of p-values in its file, so that
# a right program fails a file with a probability of at most 1e-4. Seeds are fixed: what passes
# once passes always.
ALPHA = 1e-4
# Neighbouring cells of a histogram are pooled until each is expected to hold this many samples;
# with fewer, the chi-square law would be too rough for p-values of 1e-6.
SMALLEST_CELL = 10.0
# A value that is expected this rarely among all samples, yet turns up, refutes the law by itself.
IMPOSSIBLE = 1e-10


# ---- p-values -----------------------------------------------------------------------------------


def chi_square_pvalue(samples: np.ndarray, law: np.ndarray) -> float:
    """Return the p-value of whole-number `samples` against `law`, law[k] = P(k)."""
    samples = np.asarray(samples)
    if (samples < 0).any():
        return 0.0
    observed = np.bincount(np.minimum(samples, law.size), minlength=law.size + 1)
    return cells_pvalue(observed, np.append(law, max(0.0, 1.0 - law.sum())))


def joint_pvalue(first: np.ndarray, second: np.ndarray, law: np.ndarray) -> float:
    """Return the p-value of pairs of whole numbers against law[i, j] = P(first = i, second = j)."""
    rows, columns = law.shape
    inside = (first >= 0) & (first < rows) & (second >= 0) & (second < columns)
    cell = np.where(inside, first * columns + second, law.size)
    return chi_square_pvalue(cell, law.ravel())


def cells_pvalue(observed: np.ndarray, probabilities: np.ndarray) -> float:
    """Return the chi-square p-value of numbers of samples per cell, with small cells pooled."""
    n = observed.sum()
    assert np.isfinite(probabilities).all()
    if observed[n * probabilities < IMPOSSIBLE].any():
        return 0.0
    pooled_observed: list[float] = []
    pooled_expected: list[float] = []
    open_observed = open_expected = 0.0
    for count, probability in zip(observed, probabilities, strict=True):
        open_observed += count
        open_expected += n * probability
        if open_expected >= SMALLEST_CELL:
            pooled_observed.append(open_observed)
            pooled_expected.append(open_expected)
            open_observed = open_expected = 0.0
    if not pooled_expected:
        return 1.0
    # What is left over joins the last cell.
    pooled_observed[-1] += open_observed
    pooled_expected[-1] += open_expected
    seen, due = np.array(pooled_observed), np.array(pooled_expected)
    statistic = ((seen - due) ** 2 / due).sum()
    return float(stats.chi2.sf(statistic, seen.size - 1)) if seen.size > 1 else 1.0


def ks_pvalue(samples: np.ndarray, cdf: Callable[[np.ndarray], np.ndarray]) -> float:
    """Return the Kolmogorov-Smirnov p-value of real `samples` against a continuous law."""
    return float(stats.kstest(samples, cdf).pvalue)


def randomised_pvalue(samples: np.ndarray, cdf: Callable[[np.ndarray], np.ndarray]) -> float:
    """Return a p-value of whole numbers whose law is too wide for a table of cells.

    A uniform draw between P(X < k) and P(X <= k) is uniform on (0, 1) when the law is right.
    """
    below, upto = cdf(samples - 1), cdf(samples)
    share = np.random.default_rng(20).uniform(size=samples.size)
    return ks_pvalue(below + share * (upto - below), stats.uniform.cdf)


def normal_pvalue(value: float, mean: float, standard_error: float) -> float:
    """Return the two-sided p-value of an estimate whose error is normal."""
    return float(2.0 * stats.norm.sf(abs(value - mean) / standard_error))


def binomial_pvalue(successes: int, n: int, probability: float) -> float:
    """Return the exact two-sided p-value of a number of successes."""
    return float(stats.binomtest(int(successes), int(n), probability).pvalue)


def means_pvalue(samples: np.ndarray, means: np.ndarray) -> float:
    """Return the p-value of the means of rows of `samples` (n, k), Hotelling's test for large n."""
    gap = samples.mean(axis=0) - means
    covariance = np.atleast_2d(np.cov(samples, rowvar=False)) / samples.shape[0]
    return float(stats.chi2.sf(gap @ linalg.solve(covariance, gap, assume_a="pos"), gap.size))


def smallest(pvalues: Sequence[float]) -> float:
    """Return the smallest p-value, corrected for having looked at all of them."""
    return min(1.0, min(pvalues) * len(pvalues))


# ---- Master equations ---------------------------------------------------------------------------

State = tuple[int, ...]


class MasterEquation:
    """The master equation on a list of states.

    `reactions` are pairs (propensity at a state, change of the state); a reaction that leads out
    of the list is left out, so the list must be closed, or cut where nothing ever comes.
    """

    def __init__(
        self,
        states: Sequence[State],
        reactions: Sequence[tuple[Callable[..., float], State]],
    ) -> None:
        self.states = list(states)
        self.index = {state: i for i, state in enumerate(self.states)}
        self.generator = np.zeros((len(self.states), len(self.states)))
        for i, state in enumerate(self.states):
            for propensity, change in reactions:
                target = self.index.get(tuple(x + d for x, d in zip(state, change, strict=True)))
                if target is not None:
                    rate = propensity(*state)
                    self.generator[i, target] += rate
                    self.generator[i, i] -= rate

    def law(self, start: State, time: float) -> np.ndarray:
        """Return the probabilities of all states at `time`, in the order of `states`."""
        return self.transition(time)[self.index[start]]

    def transition(self, time: float) -> np.ndarray:
        """Return P(state j at `time` | state i at 0)."""
        return np.maximum(linalg.expm(self.generator * time), 0.0)

    def stationary(self) -> np.ndarray:
        """Return the stationary probabilities, where every state can be reached from every other.

        States are taken out one by one (Grassmann, Taksar and Heyman 1985): no subtraction, so that
        every probability has all its digits.
        """
        rates = self.generator.copy()
        n = rates.shape[0]
        for k in range(n - 1, 0, -1):
            rates[:k, k] /= rates[k, :k].sum()
            rates[:k, :k] += np.outer(rates[:k, k], rates[k, :k])
        law = np.zeros(n)
        law[0] = 1.0
        for k in range(1, n):
            law[k] = law[:k] @ rates[:k, k]
        return law / law.sum()

    def marginal(self, law: np.ndarray, place: int) -> np.ndarray:
        """Return the law of one species from that of the states."""
        counts = np.array([state[place] for state in self.states])
        return np.bincount(counts, weights=law)


def moments(law: np.ndarray) -> tuple[float, float]:
    """Return mean and variance of a law on 0, 1, 2, ..."""
    k = np.arange(law.size)
    mean = float(law @ k)
    return mean, float(law @ (k - mean) ** 2)


# ---- The laws of the tests ----------------------------------------------------------------------


def poisson_law(mean: float) -> np.ndarray:
    """Return the Poisson law, up to where less than 1e-15 is left."""
    return stats.poisson.pmf(np.arange(int(stats.poisson.isf(1e-15, mean)) + 2), mean)


def binomial_law(n: int, probability: float) -> np.ndarray:
    """Return the binomial law on 0 ... n."""
    return stats.binom.pmf(np.arange(n + 1), n, probability)


def birth_death_transition(size: int, k: float, g: float, time: float) -> np.ndarray:
    """Return P(X(time) = j | X(0) = i) for 0 -> X @ k, X -> 0 @ g, as (size, size).

    Survivors are Binomial(i, exp(-g t)), the newly born Poisson(k/g (1 - exp(-g t))).
    """
    survival = math.exp(-g * time)
    born = stats.poisson.pmf(np.arange(size), k / g * (1.0 - survival))
    rows = [np.convolve(binomial_law(i, survival), born)[:size] for i in range(size)]
    return np.array(rows)


def isomerisation_probability(forward: float, backward: float, time: float) -> float:
    """Return P(in A at `time` | in A at 0) of one molecule, A -> B @ forward, B -> A @ backward."""
    total = forward + backward
    return (backward + forward * math.exp(-total * time)) / total


def isomerisation_transition(n: int, forward: float, backward: float, time: float) -> np.ndarray:
    """Return P(j of n in A at `time` | i of n in A at 0), (n + 1, n + 1)."""
    stay = isomerisation_probability(forward, backward, time)
    come = 1.0 - isomerisation_probability(backward, forward, time)
    return np.array(
        [np.convolve(binomial_law(i, stay), binomial_law(n - i, come)) for i in range(n + 1)]
    )


@functools.cache
def dimerisation() -> MasterEquation:
    """2 P -> Q @ .001, Q -> 2 P @ .01 with P + 2 Q = 100: 51 states (P, Q)."""
    return MasterEquation(
        [(100 - 2 * q, q) for q in range(51)],
        [
            (lambda p, q: 0.001 * p * (p - 1) / 2.0, (-2, 1)),
            (lambda p, q: 0.01 * q, (2, -1)),
        ],
    )


@functools.cache
def telegraph() -> MasterEquation:
    """off -> on .25, on -> off .15, on -> on + M 15, M -> 0 1: states (on, M), M up to 70."""
    return MasterEquation(
        [(on, m) for on in (0, 1) for m in range(71)],
        [
            (lambda on, m: 0.25 * (1 - on), (1, 0)),
            (lambda on, m: 0.15 * on, (-1, 0)),
            (lambda on, m: 15.0 * on, (0, 1)),
            (lambda on, m: 1.0 * m, (0, -1)),
        ],
    )


def beta_poisson_law(size: int, on: float, off: float, k: float, g: float) -> np.ndarray:
    """Return the stationary law of M in the telegraph network (Peccoud and Ycart 1995).

    P(n) = y^n / n! B(a + n, b) / B(a, b) 1F1(a + n; a + b + n; -y), with a = on/g, b = off/g and
    y = k/g; Kummer's transformation makes all terms positive.
    """
    n, a, b, y = np.arange(size), on / g, off / g, k / g
    logarithm = (
        n * math.log(y)
        - special.gammaln(n + 1)
        + special.betaln(a + n, b)
        - special.betaln(a, b)
        - y
    )
    return np.exp(logarithm) * special.hyp1f1(b, a + b + n, y)


@functools.cache
def binding() -> MasterEquation:
    """A + B -> C @ .01, C -> A + B @ .1 with A + C = 30, B + C = 20: states (C,)."""
    return MasterEquation(
        [(c,) for c in range(21)],
        [
            (lambda c: 0.01 * (30 - c) * (20 - c), (1,)),
            (lambda c: 0.1 * c, (-1,)),
        ],
    )


def binding_stationary_law() -> np.ndarray:
    """Return the stationary law of C: a product of Poisson laws restricted to the class."""
    c = np.arange(21)
    weight = c * math.log(0.01 / 0.1) - (
        special.gammaln(31 - c) + special.gammaln(21 - c) + special.gammaln(c + 1)
    )
    law = np.exp(weight - weight.max())
    return law / law.sum()


@functools.cache
def schlogl() -> MasterEquation:
    """The Schlogl network as a birth-death chain on 0 ... 1000."""
    return MasterEquation(
        [(x,) for x in range(1001)],
        [
            (lambda x: 3e-7 / 2.0 * 1e5 * x * (x - 1) + 1e-3 * 2e5, (1,)),
            (lambda x: 1e-4 / 6.0 * x * (x - 1) * (x - 2) + 3.5 * x, (-1,)),
        ],
    )


@functools.cache
def schlogl_law(time: float) -> np.ndarray:
    """Return the law of X at `time` from X = 250."""
    return schlogl().law((250,), time)


def driven_mean(time: float, k: float = 20.0, w: float = 1.3, g: float = 0.7) -> float:
    """Return the mean of X for 0 -> X @ k (1 + sin w t), X -> 0 @ g, from X = 0.

    m' = k (1 + sin w t) - g m, solved by variation of constants.
    """
    decay, square = math.exp(-g * time), g * g + w * w
    wave = (g * math.sin(w * time) - w * math.cos(w * time) + w * decay) / square
    return k * ((1.0 - decay) / g + wave)


@functools.cache
def third_order() -> MasterEquation:
    """2 A + B -> C @ .002, C -> 2 A + B @ .5 from A = 40, B = 15, C = 0: states (C,)."""
    return MasterEquation(
        [(c,) for c in range(16)],
        [
            (lambda c: 0.002 * (40 - 2 * c) * (39 - 2 * c) / 2.0 * (15 - c), (1,)),
            (lambda c: 0.5 * c, (-1,)),
        ],
    )


@functools.cache
def feedback() -> MasterEquation:
    """0 => X @ 40/(1 + (X/10)^2), X -> 0 @ 1: states (X,) up to 90."""
    return MasterEquation(
        [(x,) for x in range(91)],
        [
            (lambda x: 40.0 / (1.0 + (x / 10.0) ** 2), (1,)),
            (lambda x: 1.0 * x, (-1,)),
        ],
    )


RING = 33


def ring_probabilities(time: float) -> np.ndarray:
    """Return where one molecule is that started in place 0 of a ring of 33.

    It jumps from place i to i + 1 at rate 1 + i/10 and to i - 1 at rate .5.
    """
    generator = np.zeros((RING, RING))
    for i in range(RING):
        for target, rate in (((i + 1) % RING, 1.0 + i / 10.0), ((i - 1) % RING, 0.5)):
            generator[i, target] += rate
            generator[i, i] -= rate
    return linalg.expm(generator * time)[0]


def ring_text(molecules: int) -> str:
    """Return the ring as a network: 66 reactions."""
    names = [f"S{i}" for i in range(RING)]
    lines = [f"species S0 = {molecules}, {', '.join(names[1:])}"]
    for i in range(RING):
        lines.append(f"{names[i]} -> {names[(i + 1) % RING]} @ {1.0 + i / 10.0!r}")
        lines.append(f"{names[i]} -> {names[(i - 1) % RING]} @ 0.5")
    return "\n".join(lines)
