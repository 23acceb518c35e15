"""What is seen of a cell: names or expressions, and the law of what is seen."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..declarations import Observable, Species
from ..errors import NetworkError
from ..expressions import Expression, Symbol
from ..network import Network
from ..results.columns import name_text, stored_name, unknown_name_message
from .state_space import FloatArray, IntArray

__all__ = ["Observation", "group_states"]


class Observation:
    """What is seen of a cell, all of it at once.

    Parameters
    ----------
    network : Network
        With species and observables of these names.
    observed : None, str, Species, Observable or sequence of them
        Names, or text such as ``"A + 2*B"``; None stands for all species.
    parameters : sequence of str
        Parameters that what is seen may not depend on, because its values would move.
    """

    def __init__(self, network: Network, observed: Any, parameters: Sequence[str] = ()) -> None:
        if observed is None:
            observed = network.species_names
        elif isinstance(observed, str | Species | Observable | Expression):
            observed = [observed]
        self.expressions: list[Expression] = []
        names = []
        for one in observed:
            name, expression = _expression_of(network, one)
            moved = sorted(expression.symbols() & set(parameters))
            if moved:
                raise NetworkError(
                    f"{name!r} is observed and depends on {moved[0]!r}, so that what is seen would "
                    f"change with the parameter; observe counts, or leave {moved[0]!r} out"
                )
            if expression.symbols() & set(network.variable_names):
                raise NetworkError(f"{name!r} depends on a variable, and only counts are observed")
            names.append(name)
            self.expressions.append(expression)
        if not names:
            raise ValueError("observed is empty; name at least one species or observable")
        if len(set(names)) < len(names):
            raise ValueError(f"observed names something twice: {', '.join(names)}")
        self.names = tuple(names)
        self.depends_on_time = any("t" in one.symbols() for one in self.expressions)
        self.are_counts = tuple(name in network.species_names for name in names)

    def columns(self, network: Network, states: IntArray, time: float) -> FloatArray:
        """Return what is seen in some states, (n_states, n_observed)."""
        known: dict[str, Any] = dict(
            zip(network.parameter_names, network.parameter_values.tolist(), strict=True)
        )
        known |= {
            name: states[:, i].astype(np.float64) for i, name in enumerate(network.species_names)
        }
        known["t"] = time
        found = np.empty((states.shape[0], len(self.expressions)))
        for k, expression in enumerate(self.expressions):
            found[:, k] = expression.evaluate(known)
        return found


def _expression_of(network: Network, one: Any) -> tuple[str, Expression]:
    if isinstance(one, Expression):
        return str(one), network.expanded(one)
    if isinstance(one, str) and not one.isidentifier():
        from ..dsl import parse_expression

        return one, network.expanded(parse_expression(one))
    name = stored_name(network, name_text(one))
    if name not in (*network.species_names, *network.observable_names):
        raise KeyError(unknown_name_message(network, name))
    return name, network.expanded(Symbol(name))


def group_states(columns: FloatArray) -> tuple[FloatArray, IntArray]:
    """Return the different rows, in lexicographic order, and the place of each row among them."""
    if columns.shape[1] == 1:
        values, inverse = np.unique(columns[:, 0], return_inverse=True)
        return values[:, None], inverse.ravel()
    values, inverse = np.unique(columns, axis=0, return_inverse=True)
    return values, inverse.ravel()


def summed(place: IntArray, rows: FloatArray, n: int) -> FloatArray:
    """Return the sums of the entries of each row that share a place, (n_rows, n)."""
    return np.stack([np.bincount(place, weights=row, minlength=n) for row in rows])
