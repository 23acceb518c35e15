"""Whole powers are products: how exact they are, and that every way of computing them agrees."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest

import gillespy_lite as gl
from gillespy_lite.kernels.special_functions import PRODUCT_EXPONENTS, power

WHOLE = sorted(PRODUCT_EXPONENTS)


@pytest.mark.parametrize("n", WHOLE)
def test_whole_powers_are_exact_to_eight_units_of_the_last_place(n):
    rng = np.random.default_rng(n)
    for x in (*rng.uniform(-40, 40, 300), *rng.integers(0, 50, 50).astype(float)):
        found, exact = Fraction(power(x, float(n))), Fraction(x) ** n
        # One rounding for each product that is not the square of an exact number, doubled by each
        # squaring that follows: at most n - 1 halves of a unit.
        assert abs(found - exact) <= (n - 1) * Fraction(2) ** -53 * abs(exact) * Fraction(
            1001, 1000
        )
    # What is exact in doubles stays exact.
    assert power(3.0, float(n)) == 3**n


@pytest.mark.parametrize("n", WHOLE)
def test_whole_powers_grow_with_what_is_raised(n):
    x = np.sort(np.random.default_rng(n).uniform(0, 3, 400))
    near = np.concatenate([[one, math.nextafter(one, 9.0)] for one in x])
    raised = [power(one, float(n)) for one in near]
    assert raised == sorted(raised)


def test_powers_outside_and_at_the_edges_are_those_of_the_library():
    for n in (0.0, 1.0, 17.0, 2.5, -2.0, math.nextafter(8.0, 9.0), math.inf):
        for x in (0.7, 1.0, 31.0):
            assert power(x, n) == x**n
    for n in WHOLE:
        assert power(0.0, float(n)) == 0.0
        assert power(math.inf, float(n)) == math.inf
        assert power(-math.inf, float(n)) == (math.inf if n % 2 == 0 else -math.inf)
        assert math.copysign(1.0, power(-0.0, float(n))) == (1.0 if n % 2 == 0 else -1.0)
        assert power(1e200, float(n)) == math.inf
        assert power(1e-200, float(n)) == 0.0
        assert math.isnan(power(math.nan, float(n)))
    assert math.isnan(power(2.0, math.nan))
    assert math.isnan(power(-2.0, 2.5))


@pytest.mark.parametrize("n", [5, 8, 11, 16, 17])
def test_every_engine_takes_the_same_products(n):
    network = gl.Network.parse(
        f"""
        species X = 40, Y = 3
        param K = 30, n = {n}
        0 => X @ 60*K^{n}/(K^{n} + Y^{n})
        0 => Y @ 40*hill(X, K, n) + 5*hillr(X, K, {n})
        X -> 0 @ 1 + (Y/200)^n
        Y -> 0 @ 1
        """
    )
    runs = [
        gl.ensemble(network, 3.0, 40, method="direct", engine=engine, rng=n)
        for engine in ("table", "lanes", *(["specialised"] if n in (11, 17) else []))
    ]
    for run in runs[1:]:
        assert np.array_equal(run.counts, runs[0].counts)
    for method in ("rejection", "composition_rejection"):
        found = gl.ensemble(network, 3.0, 400, method=method, rng=n)
        reference = gl.ensemble(network, 3.0, 2000, method="direct", rng=n)
        error = math.sqrt(found.var()[-1, 0] / 400 + reference.var()[-1, 0] / 2000)
        assert abs(found.mean()[-1, 0] - reference.mean()[-1, 0]) < 5 * error
