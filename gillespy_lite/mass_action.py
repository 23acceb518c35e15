"""The whole rate of a reaction, with the combinatorial factors of mass action written out."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from math import factorial
from typing import TYPE_CHECKING

from .errors import NetworkError
from .expressions import Expression, Symbol

if TYPE_CHECKING:
    from .network import Network

__all__ = ["propensity_expression", "rate_expression"]


def rate_expression(network: Network, reaction: int) -> Expression:
    """Return the rate of a reaction in the rate equations: for ``2 A -> B @ c``, c*A^2/2."""
    return _mass_action(network, reaction, lambda species, count: (species**count,))


def propensity_expression(network: Network, reaction: int) -> Expression:
    """Return the propensity of a reaction: for ``2 A -> B @ c``, c*A*(A - 1)/2.

    A law after ``=>`` stands as it is; beside it, the propensity is 0 while a reactant is missing.
    """
    return _mass_action(
        network,
        reaction,
        lambda species, count: (species, *(species - taken for taken in range(1, count))),
    )


def _mass_action(
    network: Network,
    reaction: int,
    factors: Callable[[Expression, int], Iterable[Expression]],
) -> Expression:
    what = network.reactions[reaction]
    rate = network.expanded_rate(reaction)
    if what.kind == "mass_action":
        divisor = 1
        for name, count in what.reactants:
            if not isinstance(count, int):
                raise NetworkError(
                    f"reaction {reaction + 1} takes ({count}) of {name!r}, and mass action is "
                    "about whole numbers; write its whole rate with => (propensity in Python)"
                )
            species = Symbol(name)
            for factor in (species,) if count == 1 else factors(species, count):
                rate = rate * factor
            divisor *= factorial(count)
        if divisor > 1:
            rate = rate / divisor
    return rate
