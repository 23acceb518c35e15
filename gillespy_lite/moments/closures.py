"""Closures: what stands for the moments of higher order than those that are integrated.

Most are said in cumulants, the rest in central moments. Each gives a moment of higher order as a
polynomial in means, central moments up to the order of the closure, and inverse means.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import comb, factorial, prod
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from ..names import did_you_mean
from .equations import Exponents, central_name, exponents_of_order
from .polynomials import Polynomial

__all__ = ["CLOSURES", "Closure", "RatioRule", "check_closure", "matched_ratios"]

FloatArray: TypeAlias = NDArray[np.float64]


@dataclass(frozen=True)
class Closure:
    """One way to close the equations.

    Attributes
    ----------
    name : str
        As in ``closure=``.
    summary : str
        What it supposes, in a few words.
    citation : str
        Author, year, DOI.
    """

    name: str
    summary: str
    citation: str


CLOSURES: Mapping[str, Closure] = {
    one.name: one
    for one in (
        Closure(
            "normal",
            "cumulants above the order are 0, as a normal law has them above 2",
            "Whittle (1957), doi:10.1111/j.2517-6161.1957.tb00263.x",
        ),
        Closure(
            "log-normal",
            "moments above the order are those of a log-normal law with these means and "
            "covariances",
            "Keeling (2000), doi:10.1006/jtbi.2000.2066",
        ),
        Closure(
            "poisson",
            "above the order the cumulants of one species are its mean, mixed ones are 0",
            "Nåsell (2003), doi:10.1016/S0040-5809(03)00074-1",
        ),
        Closure(
            "zero",
            "central moments above the order are 0",
            "Ale, Kirk, Stumpf (2013), doi:10.1063/1.4802475",
        ),
        Closure(
            "gamma",
            "cumulants above the order are those of gamma laws with parts shared by pairs",
            "Lakatos, Ale, Kirk, Stumpf (2015), doi:10.1063/1.4929837",
        ),
        Closure(
            "derivative-matching",
            "a moment above the order is a product of powers of lower ones",
            "Singh, Hespanha (2011), doi:10.1109/TAC.2010.2088631",
        ),
    )
}


def check_closure(name: object) -> Closure:
    """Return the closure of a name, or say which there are."""
    if not isinstance(name, str) or name not in CLOSURES:
        raise ValueError(
            f"there is no closure {name!r}{did_you_mean(str(name), CLOSURES)}; choose one of "
            f"{', '.join(map(repr, CLOSURES))}"
        )
    return CLOSURES[name]


def closed_moments(
    name: str, species: Sequence[str], order: int, needed: Sequence[Exponents]
) -> list[Polynomial] | None:
    """Return the needed central moments as polynomials; None where they are none.

    Only ``"derivative-matching"`` above order 2 is none: there each is a product of powers of sums.
    """
    if name == "log-normal" or (name == "derivative-matching" and order == 2):
        # Of order 2 derivative matching is the log-normal law (Singh and Hespanha 2011).
        return [_log_normal(species, one) for one in needed]
    if name == "zero":
        return [Polynomial() for _ in needed]
    if name == "derivative-matching":
        return None
    cumulants: dict[str, Callable[[Sequence[str], Exponents], Polynomial]] = {
        "normal": lambda species, exponents: Polynomial(),
        "poisson": _poisson_cumulant,
        "gamma": _gamma_cumulant,
    }
    partitions = _Partitions(species, order, cumulants[name])
    return [partitions.moment(one) for one in needed]


def _mean(name: str, power: int = 1) -> Polynomial:
    return Polynomial.symbol(f"E[{name}]", power)


def _pair(species: Sequence[str], i: int, j: int) -> Polynomial:
    exponents = [0] * len(species)
    exponents[i] += 1
    exponents[j] += 1
    return Polynomial.symbol(central_name(species, tuple(exponents)))


def _poisson_cumulant(species: Sequence[str], exponents: Exponents) -> Polynomial:
    there = [i for i, power in enumerate(exponents) if power]
    return _mean(species[there[0]]) if len(there) == 1 else Polynomial()


def _gamma_cumulant(species: Sequence[str], exponents: Exponents) -> Polynomial:
    """Return a cumulant of X_i = b_i times a sum of independent gamma variables of scale 1.

    One of them is its own, one is shared with each other species: Cov[X_i, X_j] = b_i b_j shape_ij,
    Var[X_i] = b_i E[X_i], and a cumulant of order k of two species (k - 1)! b_i^a b_j^b shape_ij.
    No variable is shared by three.
    """
    there = [i for i, power in enumerate(exponents) if power]
    if len(there) > 2:
        return Polynomial()
    scale = {i: _pair(species, i, i) * _mean(species[i], -1) for i in there}
    front = Fraction(factorial(sum(exponents) - 1))
    i, j = there[0], there[-1]
    if i == j:
        return (_pair(species, i, i) * scale[i] ** (exponents[i] - 2)).times(front)
    shared = _pair(species, i, j)
    return (shared * scale[i] ** (exponents[i] - 1) * scale[j] ** (exponents[j] - 1)).times(front)


def _log_normal(species: Sequence[str], exponents: Exponents) -> Polynomial:
    """Return a central moment of a log-normal law.

    With w_ij = 1 + Cov[X_i, X_j] / (E[X_i] E[X_j]), the raw moment of exponents k over that of the
    means is the product of w_ij^(k_i k_j) over pairs and w_ii^(k_i (k_i - 1) / 2). The sum over k
    is expanded in Cov, so that what cancels does so here and not among digits.
    """
    there = [i for i, power in enumerate(exponents) if power]
    pairs = list(itertools.combinations_with_replacement(there, 2))
    ratio = {pair: Polynomial.number(1) + Polynomial.symbol(f"r{pair}") for pair in pairs}
    total = Polynomial()
    for chosen in itertools.product(*(range(exponents[i] + 1) for i in there)):
        k = dict(zip(there, chosen, strict=True))
        sign = (-1) ** (sum(exponents) - sum(chosen))
        term = Polynomial.number(sign * prod(comb(exponents[i], k[i]) for i in there))
        for i, j in pairs:
            power = k[i] * k[j] if i != j else k[i] * (k[i] - 1) // 2
            if power:
                term = term * ratio[i, j] ** power
        total = total + term
    total = total.substitute(
        {
            f"r{(i, j)}": _pair(species, i, j) * _mean(species[i], -1) * _mean(species[j], -1)
            for i, j in pairs
        }
    )
    for i in there:
        total = total * _mean(species[i], exponents[i])
    return total


class _Partitions:
    """Central moments from cumulants and back, by the recursion that takes one factor apart.

    With e a factor of n: M_n = sum over b with e in b of C(n - e, b - e) K_b M_(n - b), where the
    cumulants K of order 1 are 0 because the moments are central.
    """

    def __init__(
        self,
        species: Sequence[str],
        order: int,
        cumulant_above: Callable[[Sequence[str], Exponents], Polynomial],
    ) -> None:
        self._species, self._order, self._above = species, order, cumulant_above
        self._moments: dict[Exponents, Polynomial] = {}
        self._cumulants: dict[Exponents, Polynomial] = {}

    def moment(self, exponents: Exponents) -> Polynomial:
        total = sum(exponents)
        if total == 0:
            return Polynomial.number(1)
        if total == 1:
            return Polynomial()
        if exponents not in self._moments:
            if total <= self._order:
                name = central_name(self._species, exponents)
                self._moments[exponents] = Polynomial.symbol(name)
            else:
                self._moments[exponents] = self._rest(exponents) + self._cumulant(exponents)
        return self._moments[exponents]

    def _cumulant(self, exponents: Exponents) -> Polynomial:
        total = sum(exponents)
        if total < 2:
            return Polynomial()
        if exponents not in self._cumulants:
            self._cumulants[exponents] = (
                self.moment(exponents) - self._rest(exponents)
                if total <= self._order
                else self._above(self._species, exponents)
            )
        return self._cumulants[exponents]

    def _rest(self, exponents: Exponents) -> Polynomial:
        """Return the moment less its cumulant of the same order."""
        first = next(i for i, power in enumerate(exponents) if power)
        total = Polynomial()
        for block in itertools.product(*(range(power + 1) for power in exponents)):
            if not block[first] or block == exponents or sum(block) < 2:
                continue
            ways = prod(
                comb(power - (i == first), taken - (i == first))
                for i, (power, taken) in enumerate(zip(exponents, block, strict=True))
            )
            left = tuple(p - b for p, b in zip(exponents, block, strict=True))
            if sum(left) == 1:
                continue
            total = total + (self._cumulant(block) * self.moment(left)).times(Fraction(ways))
        return total


# ---- Derivative matching above order 2 ---------------------------------------------------------


@dataclass(frozen=True)
class RatioRule:
    """A raw moment as a product of powers of those of lower order.

    Attributes
    ----------
    exponents : tuple of int
        Of the moment.
    powers : dict of tuple of int to int
        Power of each lower moment.
    """

    exponents: Exponents
    powers: Mapping[Exponents, int]


def matched_ratios(n_species: int, order: int, exponents: Exponents) -> RatioRule:
    """Return the powers for one moment of higher order.

    They solve C(n, s) = sum over p of power_p C(p, s) for all s of orders 1 to `order`, where C is
    the product of binomials (Singh and Hespanha 2011), so that at a point mass the time
    derivatives of the product and of the moment agree. The system is triangular: from the highest
    order down.
    """
    powers: dict[Exponents, int] = {}
    lower = [one for k in range(order, 0, -1) for one in exponents_of_order(n_species, k)]
    for s in lower:
        if any(a > b for a, b in zip(s, exponents, strict=True)):
            continue
        want = prod(map(comb, exponents, s))
        have = sum(power * prod(map(comb, p, s)) for p, power in powers.items())
        if want - have:
            powers[s] = want - have
    return RatioRule(exponents, powers)
