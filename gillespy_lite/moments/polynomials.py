"""Polynomials in many names with exact rational coefficients; exponents may be negative.

A monomial is a tuple of (name, exponent), sorted by name, without exponents of 0. A name is any
text: of a species, of a parameter, of a moment. Numbers are taken as the decimals that stand for
them, so that .1 is 1/10 and terms that cancel on paper cancel here.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from fractions import Fraction
from typing import Any, TypeAlias

from ..errors import NetworkError

__all__ = ["MAX_TERMS", "Monomial", "Polynomial", "fraction_of", "fraction_text"]

Monomial: TypeAlias = tuple[tuple[str, int], ...]

# A product with more terms than this would take minutes and gigabytes.
MAX_TERMS = 200_000

_ONE: Monomial = ()


def fraction_of(value: float) -> Fraction:
    """Return the fraction that the shortest decimal of a double stands for."""
    return Fraction(value) if float(value).is_integer() else Fraction(repr(float(value)))


def fraction_text(value: Fraction) -> str:
    """Return a fraction as a short decimal where it is one, else as a/b."""
    if value.denominator == 1:
        return str(value.numerator)
    rest = value.denominator
    for prime in (2, 5):
        while rest % prime == 0:
            rest //= prime
    as_float = float(value)
    if rest == 1 and Fraction(repr(as_float)) == value:
        mantissa, _, exponent = repr(as_float).partition("e")
        return f"{mantissa}e{int(exponent)}" if exponent else mantissa
    return f"{value.numerator}/{value.denominator}"


def _merged(a: Monomial, b: Monomial) -> Monomial:
    if not a:
        return b
    if not b:
        return a
    powers = dict(a)
    for name, power in b:
        total = powers.get(name, 0) + power
        if total:
            powers[name] = total
        else:
            del powers[name]
    return tuple(sorted(powers.items()))


class Polynomial:
    """A sum of monomials with rational coefficients. It never changes.

    Attributes
    ----------
    terms : dict of Monomial to Fraction
        Without zeros.
    """

    __slots__ = ("terms",)
    terms: dict[Monomial, Fraction]

    def __init__(self, terms: Mapping[Monomial, Fraction] | None = None) -> None:
        self.terms = {key: value for key, value in (terms or {}).items() if value}

    @classmethod
    def number(cls, value: float | Fraction) -> Polynomial:
        """Return a constant."""
        exact = value if isinstance(value, Fraction) else fraction_of(value)
        return cls({_ONE: exact})

    @classmethod
    def symbol(cls, name: str, power: int = 1) -> Polynomial:
        """Return a power of one name."""
        return cls({((name, power),) if power else _ONE: Fraction(1)})

    def __add__(self, other: Polynomial) -> Polynomial:
        total = dict(self.terms)
        for key, value in other.terms.items():
            total[key] = total.get(key, Fraction(0)) + value
        return Polynomial(total)

    def __neg__(self) -> Polynomial:
        return self.times(Fraction(-1))

    def __sub__(self, other: Polynomial) -> Polynomial:
        return self + -other

    def __mul__(self, other: Polynomial) -> Polynomial:
        total: dict[Monomial, Fraction] = {}
        for a, value_a in self.terms.items():
            for b, value_b in other.terms.items():
                key = _merged(a, b)
                total[key] = total.get(key, Fraction(0)) + value_a * value_b
            if len(total) > MAX_TERMS:
                raise NetworkError(
                    f"a polynomial grew beyond {MAX_TERMS:,} terms; take a lower order, or "
                    "write the rate laws with fewer brackets"
                )
        return Polynomial(total)

    def times(self, factor: Fraction) -> Polynomial:
        """Return a multiple."""
        return Polynomial({key: value * factor for key, value in self.terms.items()})

    def __pow__(self, exponent: int) -> Polynomial:
        if len(self.terms) == 1:
            ((key, value),) = self.terms.items()
            return Polynomial({tuple((name, power * exponent) for name, power in key if exponent):
                               value**exponent})  # fmt: skip
        if exponent < 0:
            raise ValueError("only a single term has a negative power")
        result = Polynomial.number(1)
        for _ in range(exponent):
            result = result * self
        return result

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Polynomial) and self.terms == other.terms

    def __hash__(self) -> int:
        return hash(frozenset(self.terms.items()))

    def __bool__(self) -> bool:
        """Whether it is not identically 0."""
        return bool(self.terms)

    def names(self) -> set[str]:
        """Return the names that occur."""
        return {name for key in self.terms for name, _ in key}

    def degree(self, names: Collection[str]) -> int:
        """Return the largest total exponent of some names in one term; 0 for nothing."""
        return max(
            (sum(power for name, power in key if name in names) for key in self.terms), default=0
        )

    def substitute(self, replacements: Mapping[str, Polynomial]) -> Polynomial:
        """Put polynomials in the places of names; where an exponent is negative, single terms."""
        if not replacements.keys() & self.names():
            return self
        total: dict[Monomial, Fraction] = {}
        powers: dict[tuple[str, int], Polynomial] = {}
        for key, value in self.terms.items():
            kept = tuple(pair for pair in key if pair[0] not in replacements)
            product = Polynomial({kept: value})
            for pair in key:
                if pair[0] in replacements:
                    if pair not in powers:
                        powers[pair] = replacements[pair[0]] ** pair[1]
                    product = product * powers[pair]
            for new, coefficient in product.terms.items():
                total[new] = total.get(new, Fraction(0)) + coefficient
        return Polynomial(total)

    def split(self, names: Collection[str]) -> dict[Monomial, Polynomial]:
        """Return the coefficient, a polynomial, of each monomial of some names."""
        parts: dict[Monomial, dict[Monomial, Fraction]] = {}
        for key, value in self.terms.items():
            inner = tuple(pair for pair in key if pair[0] in names)
            outer = tuple(pair for pair in key if pair[0] not in names)
            parts.setdefault(inner, {})[outer] = value
        return {inner: Polynomial(outer) for inner, outer in parts.items()}

    def expanded_about(
        self, centres: Mapping[str, Polynomial], deviations: Mapping[str, str]
    ) -> Polynomial:
        """Return the polynomial of x = centre + deviation, for each name x in `centres`."""
        shifted = {
            name: centre + Polynomial.symbol(deviations[name]) for name, centre in centres.items()
        }
        return self.substitute(shifted)

    def evaluate(self, values: Mapping[str, Any]) -> Any:
        """Return the value; every name needs one, a number or an array."""
        total: Any = 0.0
        for key, value in self.terms.items():
            term: Any = float(value)
            for name, power in key:
                term *= values[name] ** power
            total += term
        return total

    def sorted_terms(
        self, rank: Callable[[Monomial], object]
    ) -> Iterator[tuple[Monomial, Fraction]]:
        """Give the terms in an order for reading."""
        for key in sorted(self.terms, key=rank):  # type: ignore[arg-type]
            yield key, self.terms[key]
