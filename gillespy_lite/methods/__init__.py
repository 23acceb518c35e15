"""The methods, one file each, and the table of them that everything else goes by."""

from __future__ import annotations

from .composition_rejection import CompositionRejection
from .direct import Direct
from .exact_leaping import ExactLeaping
from .first_reaction import FirstReaction
from .method import Method, StochasticMethod
from .next_reaction import NextReaction
from .ode import Ode
from .partial_propensity import PartialPropensity
from .rejection import Rejection
from .tau_leaping import TauLeaping

__all__ = [
    "METHODS",
    "CompositionRejection",
    "Direct",
    "ExactLeaping",
    "FirstReaction",
    "Method",
    "NextReaction",
    "Ode",
    "PartialPropensity",
    "Rejection",
    "StochasticMethod",
    "TauLeaping",
]

METHODS: dict[str, type[Method]] = {
    method.name: method
    for method in (
        *(Direct, FirstReaction, NextReaction, PartialPropensity, CompositionRejection),
        *(Rejection, ExactLeaping, TauLeaping),
        Ode,
    )
}
