"""Moments: their equations, closures, linear noise, product-form stationary laws."""

from __future__ import annotations

from .closures import CLOSURES, Closure
from .equations import MomentEquations, moment_equations
from .fluctuations import StationaryNoise, linear_noise, stationary_noise
from .product_forms import ProductForm, product_form
from .results import LinearNoise, Moments
from .solving import solve_moments

__all__ = [
    "CLOSURES",
    "Closure",
    "LinearNoise",
    "MomentEquations",
    "Moments",
    "ProductForm",
    "StationaryNoise",
    "linear_noise",
    "moment_equations",
    "product_form",
    "solve_moments",
    "stationary_noise",
]
