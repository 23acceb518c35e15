"""Moment equations as arrays: right sides for a solver, closed by a closure."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from math import comb, prod

import numpy as np

from ..errors import NetworkError
from .closures import FloatArray, RatioRule, closed_moments, matched_ratios
from .equations import Exponents, MomentEquations
from .laws import atom_values
from .polynomials import Monomial, Polynomial

__all__ = ["MomentSystem"]

_LARGEST_LOG = 700.0  # of a double


class _Sums:
    """Polynomials in the entries of a table, evaluated together.

    Each term is a coefficient times a product of entries of the table, whose first entry is 1.
    """

    def __init__(
        self, polynomials: Sequence[Polynomial], columns: Mapping[tuple[str, int], int]
    ) -> None:
        factors: dict[Monomial, int] = {}
        rows, values, front, products = [], [], [], []
        for row, polynomial in enumerate(polynomials):
            for key, value in polynomial.terms.items():
                entries: list[int] = []
                atoms: list[tuple[str, int]] = []
                for name, power in key:
                    sign = 1 if power > 0 else -1
                    if (name, sign) in columns:
                        entries += [columns[name, sign]] * abs(power)
                    else:
                        atoms.append((name, power))
                rows.append(row)
                values.append(float(value))
                front.append(factors.setdefault(tuple(atoms), len(factors)))
                products.append(entries)
        longest = max(map(len, products), default=0)
        self.n_rows = len(polynomials)
        self.atom_products = tuple(factors)
        self._rows = np.array(rows, dtype=np.int64)
        self._values = np.array(values)
        self._front = np.array(front, dtype=np.int64)
        self._entries = np.array(
            [entries + [0] * (longest - len(entries)) for entries in products], dtype=np.int64
        ).reshape(len(products), longest)

    def coefficients(self, atoms: Mapping[str, float]) -> FloatArray:
        """Return the coefficient of each term for values of the parameters and functions of t."""
        try:
            with np.errstate(all="ignore"):
                fronts = [
                    prod(atoms[name] ** power for name, power in one) for one in self.atom_products
                ]
        except ZeroDivisionError:
            zero = next(name for name, value in atoms.items() if value == 0.0)
            raise NetworkError(f"a rate law divides by {zero}, which is 0") from None
        return np.asarray(self._values * np.array(fronts)[self._front]) if fronts else self._values

    def evaluate(self, coefficients: FloatArray, table: FloatArray) -> FloatArray:
        """Return the polynomials, (n_rows,)."""
        terms = coefficients * table[self._entries].prod(axis=1)
        return np.bincount(self._rows, weights=terms, minlength=self.n_rows).astype(np.float64)


class MomentSystem:
    """Right sides of closed moment equations for a solver.

    Parameters
    ----------
    equations : MomentEquations
        Of central moments.
    closure : str
        A name from `CLOSURES`; not used if the equations are closed.
    """

    def __init__(self, equations: MomentEquations, closure: str) -> None:
        self.equations = equations
        network, species = equations.network, equations.species
        n, n_needed, n_species = len(equations), len(equations.needed), len(species)
        names = (*equations.names, *equations.needed)
        columns = {(name, 1): 1 + k for k, name in enumerate(names)}
        # Means over which closures divide: the inverse of a mean of 0 counts as 0, because what
        # it multiplies, fluctuations of something that is not there, is 0.
        columns |= {(f"E[{name}]", -1): 1 + n + n_needed + i for i, name in enumerate(species)}
        self._table = np.zeros(1 + n + n_needed + n_species)
        self._table[0] = 1.0
        self._n, self._n_needed, self._n_species = n, n_needed, n_species
        self._sums = _Sums(equations.right_sides, columns)
        used = {name for one in self._sums.atom_products for name, _ in one}
        self._moving = {
            name: atom
            for name, atom in equations.atoms.items()
            if name in used and "t" in atom.symbols()
        }
        self._values = atom_values(network, {name: equations.atoms[name] for name in used}, None)
        self._coefficients = None if self._moving else self._sums.coefficients(self._values)
        self._closed: _Sums | None = None
        self._matched: _Matched | None = None
        if n_needed:
            polynomials = closed_moments(
                closure, species, equations.order, equations.needed_exponents
            )
            if polynomials is None:
                self._matched = _Matched(equations)
            else:
                self._closed = _Sums(polynomials, columns)
                self._closed_coefficients = self._closed.coefficients({})

    def start(self) -> FloatArray:
        """Return the moments of the initial state, which is certain, (n_moments,)."""
        network = self.equations.network
        counts = dict(zip(network.species_names, network.initial_state.tolist(), strict=True))
        first = np.zeros(self._n)
        first[: self._n_species] = [counts[name] for name in self.equations.species]
        return first

    def right_hand_side(self, time: float, moments: FloatArray) -> FloatArray:
        """Return the time derivatives of the moments, (n_moments,), per unit time."""
        table, n = self._table, self._n
        table[1 : 1 + n] = moments
        if self._n_needed:
            means = moments[: self._n_species]
            inverse = table[1 + n + self._n_needed :]
            inverse[:] = 0.0
            np.divide(1.0, means, out=inverse, where=means != 0.0)
            above = table[1 + n : 1 + n + self._n_needed]
            if self._closed is not None:
                above[:] = self._closed.evaluate(self._closed_coefficients, table)
            elif self._matched is not None:
                above[:] = self._matched.moments(moments)
        coefficients = self._coefficients
        if coefficients is None:
            network = self.equations.network
            moving = atom_values(network, self._moving, time)
            coefficients = self._sums.coefficients({**self._values, **moving})
        return self._sums.evaluate(coefficients, table)


class _Matched:
    """Derivative matching above order 2: by raw moments over powers of the means."""

    def __init__(self, equations: MomentEquations) -> None:
        n = len(equations.species)
        order = equations.order
        self._n = n
        self._place = {one: k for k, one in enumerate(equations.exponents)}
        self._needed = equations.needed_exponents
        # Raw moments are needed of whatever lies below a needed one, themselves in order.
        below: set[Exponents] = set()
        for one in self._needed:
            below |= set(itertools.product(*(range(power + 1) for power in one)))
        self._raw = sorted((one for one in below if sum(one) >= 1), key=lambda e: (sum(e), e))
        self._rules: dict[Exponents, RatioRule] = {
            one: matched_ratios(n, order, one) for one in self._raw if sum(one) > order
        }

    def moments(self, moments: FloatArray) -> list[float]:
        """Return the needed central moments."""
        means = moments[: self._n]
        # In units of the means; raw moments less 1, E[prod (x_i / m_i)^k_i] - 1, for where counts
        # are large they are 1 but for the last digits. Those of a mean of 0 are 0.
        scale = np.divide(1.0, means, out=np.zeros(self._n), where=means != 0.0)
        central: dict[Exponents, float] = {(0,) * self._n: 1.0}
        excess: dict[Exponents, float] = {(0,) * self._n: 0.0}
        for one in self._raw:
            order = sum(one)
            parts = list(itertools.product(*(range(power + 1) for power in one)))
            if one in self._rules:
                powers = self._rules[one].powers
                if min(excess[lower] for lower in powers) <= -1.0:  # nothing there, or no law
                    excess[one] = -1.0
                else:
                    logs = (power * math.log1p(excess[lower]) for lower, power in powers.items())
                    excess[one] = math.expm1(min(sum(logs), _LARGEST_LOG))
                # The signed binomials sum to 0, so that the ones drop out.
                central[one] = sum(
                    (-1.0) ** (order - sum(k)) * prod(map(comb, one, k)) * excess[k] for k in parts
                )
            else:
                place = self._place[one]
                size = float(np.prod(scale ** np.array(one)))
                central[one] = 0.0 if order == 1 else float(moments[place]) * size
                if any(power and not scale[i] for i, power in enumerate(one)):
                    excess[one] = -1.0
                else:
                    excess[one] = float(
                        sum(prod(map(comb, one, k)) * central[k] for k in parts if any(k))
                    )
        return [central[one] * float(np.prod(means ** np.array(one))) for one in self._needed]
