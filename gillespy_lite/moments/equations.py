"""Equations of motion of the moments of a network, derived term by term with exact numbers.

For a moment E[f(X)] of a jump process with propensities a_r and changes v_r,
d/dt E[f] = sum over r of E[a_r(X) (f(X + v_r) - f(X))]. With f a product of powers and polynomial
propensities the right side is a sum of moments again. Central moments, of deviations d = X - E[X]
from the mean m, follow the same way: d/dt M_n = sum over r of E[a_r(m + d) ((d + v_r)^n - d^n)]
minus the sum over i of n_i m_i' M_(n - e_i).
"""

from __future__ import annotations

import itertools
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import comb
from typing import TypeAlias

from ..errors import NetworkError
from ..expression_display import latex_name
from ..expressions import Expression
from ..network import Network
from .laws import Laws, Reduction, checked_network, polynomial_laws, reduction_of
from .polynomials import Monomial, Polynomial, fraction_text

__all__ = [
    "MAX_ORDER",
    "CentralMeans",
    "Exponents",
    "MomentEquations",
    "central_name",
    "check_order",
    "check_size",
    "derive",
    "exponents_of_order",
    "moment_equations",
    "moment_name",
]

MAX_ORDER = 10
# More moments than this are a mistake in the order rather than a wish.
MAX_MOMENTS = 5_000

# How often each species occurs in a moment, in the order of the species.
Exponents: TypeAlias = tuple[int, ...]


def exponents_of_order(n_species: int, order: int) -> list[Exponents]:
    """Return the exponents of all moments of one order, those of the first species first."""
    found = []
    for chosen in itertools.combinations_with_replacement(range(n_species), order):
        exponents = [0] * n_species
        for index in chosen:
            exponents[index] += 1
        found.append(tuple(exponents))
    return found


def _product_text(names: Sequence[str], exponents: Exponents) -> str:
    return " ".join(
        name if power == 1 else f"{name}^{power}"
        for name, power in zip(names, exponents, strict=True)
        if power
    )


def moment_name(names: Sequence[str], exponents: Exponents) -> str:
    """Return the text of a raw moment: ``E[P^2 Q]``."""
    return f"E[{_product_text(names, exponents)}]"


def central_name(names: Sequence[str], exponents: Exponents) -> str:
    """Return the text of a central moment: ``Var[P]``, ``Cov[P, Q]``, ``M[P^2 Q]``; of a mean."""
    order = sum(exponents)
    if order == 1:
        return moment_name(names, exponents)
    if order == 2:
        there = [name for name, power in zip(names, exponents, strict=True) if power]
        return f"Var[{there[0]}]" if len(there) == 1 else f"Cov[{', '.join(there)}]"
    return f"M[{_product_text(names, exponents)}]"


def _latex_of_moment(names: Sequence[str], exponents: Exponents, *, is_central: bool) -> str:
    order = sum(exponents)
    factors = [
        (latex_name(name), power) for name, power in zip(names, exponents, strict=True) if power
    ]
    product = r"\,".join(name if power == 1 else f"{name}^{{{power}}}" for name, power in factors)
    if not is_central or order == 1:
        return rf"\mathrm{{E}}[{product}]"
    if order == 2:
        inside = ", ".join(name for name, _ in factors)
        return rf"\mathrm{{{'Var' if len(factors) == 1 else 'Cov'}}}[{inside}]"
    return rf"\mathrm{{M}}[{product}]"


@dataclass(frozen=True, eq=False)
class MomentEquations:
    """Equations of motion of the moments of a network up to an order.

    ``print(equations)`` shows them, ``equations["Var[P]"]`` is the right side of one as text,
    and a notebook shows LaTeX. Numbers are exact fractions; parameters stand by name.

    Attributes
    ----------
    network : Network
        Whose moments.
    order : int
        The moments are those of orders 1 to `order`.
    is_central : bool
        Whether, from order 2 on, they are moments of deviations from the mean.
    species : tuple of str
        Whose counts they are moments of; without those that follow by conservation laws where
        these were put in.
    dependent : dict of str to Polynomial
        The other species, in terms of `species`.
    exponents : tuple of tuple of int
        How often each of `species` occurs in each moment.
    names : tuple of str
        Texts of the moments: ``E[P]``, ``Var[P]``, ``Cov[P, Q]``; ``M[P^2 Q]`` is a central and
        ``E[P^2 Q]`` a raw moment of order 3.
    right_sides : tuple of Polynomial
        Time derivatives, per unit time, in names of moments, parameters and functions of t.
    needed : tuple of str
        Moments of higher order on the right sides: what a closure has to guess. Empty if the
        equations are closed.
    needed_exponents : tuple of tuple of int
        The same, as exponents.
    """

    network: Network
    order: int
    is_central: bool
    species: tuple[str, ...]
    dependent: Mapping[str, Polynomial]
    exponents: tuple[Exponents, ...]
    names: tuple[str, ...]
    right_sides: tuple[Polynomial, ...]
    needed: tuple[str, ...]
    needed_exponents: tuple[Exponents, ...]
    atoms: Mapping[str, Expression]

    @property
    def is_closed(self) -> bool:
        """Whether no moment of a higher order is needed, so that solutions are exact."""
        return not self.needed

    def __len__(self) -> int:
        """Return the number of equations."""
        return len(self.names)

    def __getitem__(self, name: str) -> str:
        """Return the time derivative of one moment as text."""
        if name not in self.names:
            listed = ", ".join(self.names[:12]) + (", ..." if len(self.names) > 12 else "")
            raise KeyError(f"there is no equation for {name!r}; there are {listed}")
        return self._text_of(self.right_sides[self.names.index(name)])

    def __str__(self) -> str:
        """Return all equations as plain text."""
        lines = [f"{name}' = {self[name]}" for name in self.names]
        if self.dependent:
            lines += ["", "by conservation laws"]
            lines += [f"{name} = {self._text_of(law)}" for name, law in self.dependent.items()]
        if self.needed:
            shown = ", ".join(self.needed[:8]) + (", ..." if len(self.needed) > 8 else "")
            lines += ["", f"not closed: needs {shown}"]
        else:
            lines += ["", "closed: solutions are exact"]
        if self.is_central and max(map(sum, (*self.exponents, *self.needed_exponents))) > 2:
            lines.append("M[...] are central moments, of deviations from the means")
        return "\n".join(lines)

    def __repr__(self) -> str:
        """Return the sizes."""
        kind = "central" if self.is_central else "raw"
        closed = "closed" if self.is_closed else f"needing {len(self.needed)} of higher order"
        return f"<MomentEquations of order {self.order}: {len(self)} {kind} moments, {closed}>"

    def to_latex(self) -> str:
        """Return the equations as LaTeX.

        Returns
        -------
        str
            An ``align*`` environment (amsmath). Names are escaped.
        """
        latex = dict(zip(self.names, map(self._latex_name, self.exponents), strict=True))
        latex |= dict(zip(self.needed, map(self._latex_name, self.needed_exponents), strict=True))
        lines = [
            rf"\frac{{\mathrm{{d}}}}{{\mathrm{{d}}t}} {latex[name]} &= "
            + self._latex_of(side, latex)
            for name, side in zip(self.names, self.right_sides, strict=True)
        ]
        return "\\begin{align*}\n" + " \\\\\n".join(lines) + "\n\\end{align*}"

    def _repr_latex_(self) -> str:
        return self.to_latex()

    def _latex_name(self, exponents: Exponents) -> str:
        return _latex_of_moment(self.species, exponents, is_central=self.is_central)

    def _rank(self, key: Monomial) -> object:
        """Put terms in the order of the reactions' parameters, low moments first."""
        places = {name: i for i, name in enumerate((*self.names, *self.needed))}
        moments = [places[name] for name, power in key for _ in range(abs(power)) if name in places]
        order = {name: i for i, name in enumerate(self.atoms)}
        parameters = [order[name] for name, _ in key if name in order]
        return parameters, len(moments), moments

    def _text_of(self, side: Polynomial) -> str:
        moments = {*self.names, *self.needed, *self.species}
        written = ""
        for key, value in side.sorted_terms(self._rank):
            above: list[str] = []
            below: list[str] = []
            for name, power in sorted(key, key=lambda pair: _place_in_product(pair[0], moments)):
                is_plain = name in moments or name.isidentifier() or _is_call(self.atoms[name])
                base = name if is_plain else f"({name})"
                factor = base if abs(power) == 1 else f"{base}^{abs(power)}"
                (above if power > 0 else below).append(factor)
            if abs(value) != 1 or not above:
                above.insert(0, fraction_text(abs(value)))
            term = "*".join(above) + "".join(f"/{factor}" for factor in below)
            written += _signed(term, value, written)
        return written or "0"

    def _latex_of(self, side: Polynomial, latex: Mapping[str, str]) -> str:
        written = ""
        for key, value in side.sorted_terms(self._rank):
            above: list[str] = []
            below: list[str] = []
            for name, power in sorted(key, key=lambda pair: _place_in_product(pair[0], latex)):
                if name in latex:
                    base = latex[name]
                else:
                    base = self.atoms[name].to_latex()
                    if not name.isidentifier():
                        base = rf"\left({base}\right)"
                factor = base if abs(power) == 1 else f"{base}^{{{abs(power)}}}"
                (above if power > 0 else below).append(factor)
            size = abs(value)
            if size.numerator != 1 or not above:
                above.insert(0, str(size.numerator))
            if size.denominator != 1:
                below.insert(0, str(size.denominator))
            over, under = r"\,".join(above), r"\,".join(below)
            term = rf"\frac{{{over}}}{{{under}}}" if below else over
            written += _signed(term, value, written)
        return written or "0"


def _place_in_product(name: str, moments: Collection[str]) -> int:
    """Put parameters before functions, and these before moments."""
    return 2 if name in moments else int(not name.isidentifier())


def _is_call(atom: Expression) -> bool:
    """Whether an expression is written f(...), which needs no brackets in a product."""
    text = str(atom)
    return text.partition("(")[0].isidentifier() and text.endswith(")")


def _signed(term: str, value: Fraction, before: str) -> str:
    if before:
        return f" - {term}" if value < 0 else f" + {term}"
    return f"-{term}" if value < 0 else term


class CentralMeans:
    """Means of polynomials as polynomials in means and central moments."""

    def __init__(self, species: Sequence[str]) -> None:
        self.species = tuple(species)
        self.deviation = {name: f"d[{name}]" for name in species}
        self._means = {name: Polynomial.symbol(f"E[{name}]") for name in species}
        self._names: dict[Exponents, str] = {}
        self.used: set[Exponents] = set()

    def about_means(self, polynomial: Polynomial) -> Polynomial:
        """Return a polynomial in counts as one in means and deviations."""
        return polynomial.expanded_about(self._means, self.deviation)

    def mean(self, polynomial: Polynomial) -> Polynomial:
        """Return the mean of a polynomial in means and deviations."""
        place = {name: i for i, name in enumerate(self.deviation.values())}
        total: dict[Monomial, Fraction] = {}
        for key, value in polynomial.terms.items():
            exponents = [0] * len(place)
            rest: list[tuple[str, int]] = []
            for pair in key:
                if pair[0] in place:
                    exponents[place[pair[0]]] = pair[1]
                else:
                    rest.append(pair)
            order = sum(exponents)
            if order == 1:  # a deviation has mean 0
                continue
            if order:
                which = tuple(exponents)
                self.used.add(which)
                rest.append((central_name(self.species, which), 1))
                rest.sort()
            monomial = tuple(rest)
            total[monomial] = total.get(monomial, Fraction(0)) + value
        return Polynomial(total)


def shifted_product(
    names: Sequence[str], changes: Sequence[int], exponents: Exponents
) -> Polynomial:
    """Return the product of (x_i + v_i)^n_i minus that of x_i^n_i."""
    after = before = Polynomial.number(1)
    for name, change, power in zip(names, changes, exponents, strict=True):
        if power:
            before = before * Polynomial.symbol(name, power)
            after = after * Polynomial(
                {
                    ((name, k),) if k else (): Fraction(comb(power, k) * change ** (power - k))
                    for k in range(power + 1)
                }
            )
    return after - before


def derive(
    network: Network, laws: Laws, order: int, reduction: Reduction, *, central: bool
) -> MomentEquations:
    """Derive the equations for the independent species of a reduction."""
    species = reduction.independent
    n = len(species)
    index = {name: i for i, name in enumerate(network.species_names)}
    rows = [index[name] for name in species]
    changes = network.stoichiometry_matrix[rows].T.tolist()
    active = [
        (law.substitute(reduction.dependent), change)
        for law, change in zip(laws.propensities, changes, strict=True)
        if any(change)
    ]
    all_exponents = [one for k in range(1, order + 1) for one in exponents_of_order(n, k)]
    name_text = central_name if central else moment_name
    if central:
        right_sides, used = _central_sides(species, active, all_exponents)
    else:
        right_sides, used = _raw_sides(species, active, all_exponents)
    known = set(all_exponents)
    needed = sorted(
        (one for one in used if one not in known), key=lambda e: (sum(e), [-x for x in e])
    )
    return MomentEquations(
        network=network,
        order=order,
        is_central=central,
        species=species,
        dependent=reduction.dependent,
        exponents=tuple(all_exponents),
        names=tuple(name_text(species, one) for one in all_exponents),
        right_sides=tuple(right_sides),
        needed=tuple(name_text(species, one) for one in needed),
        needed_exponents=tuple(needed),
        atoms=laws.atoms,
    )


def _raw_sides(
    species: tuple[str, ...],
    active: Sequence[tuple[Polynomial, list[int]]],
    all_exponents: Iterable[Exponents],
) -> tuple[list[Polynomial], set[Exponents]]:
    sides, used = [], set()
    place = {name: i for i, name in enumerate(species)}
    for exponents in all_exponents:
        inside = Polynomial()
        for law, change in active:
            gain = shifted_product(species, change, exponents)
            if gain:
                inside = inside + law * gain
        for key in inside.split(species):
            which = [0] * len(species)
            for name, power in key:
                which[place[name]] = power
            if any(which):
                used.add(tuple(which))
        sides.append(_mean_of(inside, species))
    return sides, used


def _mean_of(polynomial: Polynomial, species: Sequence[str]) -> Polynomial:
    """Return the mean of a polynomial in counts, in names of raw moments."""
    total = Polynomial()
    for key, rest in polynomial.split(species).items():
        powers = dict(key)
        exponents = tuple(powers.get(name, 0) for name in species)
        mean = Polynomial.symbol(moment_name(species, exponents)) if key else Polynomial.number(1)
        total = total + rest * mean
    return total


def _central_sides(
    species: tuple[str, ...],
    active: Sequence[tuple[Polynomial, list[int]]],
    all_exponents: Iterable[Exponents],
) -> tuple[list[Polynomial], set[Exponents]]:
    means = CentralMeans(species)
    deviations = tuple(means.deviation.values())
    around = [(means.about_means(law), change) for law, change in active]
    average = [means.mean(law) for law, _ in around]
    drift = [Polynomial() for _ in species]
    for mean, (_, change) in zip(average, around, strict=True):
        for i, step in enumerate(change):
            if step:
                drift[i] = drift[i] + mean.times(Fraction(step))
    sides = []
    for exponents in all_exponents:
        if sum(exponents) == 1:
            sides.append(drift[exponents.index(1)])
            continue
        inside = Polynomial()
        for law, change in around:
            gain = shifted_product(deviations, change, exponents)
            if gain:
                inside = inside + law * gain
        side = means.mean(inside)
        for i, power in enumerate(exponents):
            lower = tuple(e - (k == i) for k, e in enumerate(exponents))
            if power and sum(lower) > 1:
                moment = Polynomial.symbol(central_name(species, lower))
                side = side - (drift[i] * moment).times(Fraction(power))
        sides.append(side)
    # What cancelled is not needed.
    left = {name for side in sides for name in side.names()}
    used = {one for one in means.used if central_name(species, one) in left}
    return sides, used


def moment_equations(
    network: Network, order: int = 2, *, central: bool = True, reduced: bool = False
) -> MomentEquations:
    """Derive the equations of motion of a network's moments.

    Parameters
    ----------
    network : Network
        Without variables, events and delays, its propensities polynomials in the counts; rate
        constants may depend on t.
    order : int, optional
        Moments of orders 1 to `order`, from 1 to 10.
    central : bool, optional
        From order 2 on, of deviations from the mean; else raw moments E[...], whose equations are
        linear.
    reduced : bool, optional
        Whether the conservation laws are put in, with their totals in the initial state, so that
        fewer species are left.

    Returns
    -------
    MomentEquations
        Prints as text and LaTeX; says which moments of higher order it needs.

    Raises
    ------
    NetworkError
        If the network has variables, events or delays, or a propensity is no polynomial in the
        counts, naming the reaction.
    ValueError
        If the order is not a whole number from 1 to 10, or makes too many moments.

    References
    ----------
    Gillespie (2009), IET Syst. Biol. 3, 52, doi:10.1049/iet-syb:20070031; Schnoerr, Sanguinetti,
    Grima (2017), J. Phys. A 50, 093001, doi:10.1088/1751-8121/aa54d9, section 4.
    """
    checked_network(network, "moment_equations")
    check_order(order, 1)
    laws = polynomial_laws(network, "moment_equations")
    reduction = (
        reduction_of(network, laws.propensities)
        if reduced
        else Reduction(network.species_names, {})
    )
    check_size(len(reduction.independent), order)
    return derive(network, laws, order, reduction, central=central)


def check_order(order: object, least: int) -> None:
    """Refuse what is no order."""
    if isinstance(order, bool) or not isinstance(order, int) or not least <= order <= MAX_ORDER:
        raise ValueError(f"order must be a whole number from {least} to {MAX_ORDER}, not {order!r}")


def check_size(n_species: int, order: int) -> None:
    """Refuse more moments than can be solved for."""
    n_moments = comb(n_species + order, order) - 1
    if n_moments > MAX_MOMENTS:
        raise NetworkError(
            f"{n_species} species have {n_moments:,} moments up to order {order}, and at most "
            f"{MAX_MOMENTS:,} are taken; choose a lower order, or linear_noise"
        )
