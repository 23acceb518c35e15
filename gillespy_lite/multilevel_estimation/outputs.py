"""What is estimated: expressions of the state, evaluated for many paths at once."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..dsl import parse_expression
from ..errors import NetworkError, SimulationError
from ..network import Network
from ..operations import CONDITIONS
from ..rate_laws import Call, Expression, Symbol

__all__ = ["Outputs", "check_outputs"]

FloatArray = NDArray[np.float64]


@dataclass(frozen=True)
class Outputs:
    """The functions of the state whose means are estimated.

    Attributes
    ----------
    names : tuple of str
        As they were given.
    expressions : tuple of Expression
        In terms of species, parameters and `t`.
    are_conditions : ndarray, shape (n_outputs,), bool
        Which are true or false, so that their mean is a probability.
    columns : ndarray, shape (n_columns,), int64
        The species that are read.
    network : Network
    """

    names: tuple[str, ...]
    expressions: tuple[Expression, ...]
    are_conditions: NDArray[np.bool_]
    columns: NDArray[np.int64]
    network: Network

    def values(self, counts: NDArray[Any], times: FloatArray) -> FloatArray:
        """Return the outputs of paths.

        Parameters
        ----------
        counts : ndarray, shape (n_paths, n_times, n_columns)
            Of the species `columns`, in molecules.
        times : ndarray, shape (n_times,)

        Returns
        -------
        ndarray, shape (n_paths, n_times, n_outputs), float64

        Raises
        ------
        SimulationError
            If one is infinite or not a number.
        """
        network = self.network
        known: dict[str, Any] = dict(
            zip(network.parameter_names, network.parameter_values.tolist(), strict=True)
        )
        known["t"] = times
        for c, column in enumerate(self.columns.tolist()):
            known[network.species_names[column]] = counts[:, :, c]
        found = np.empty((*counts.shape[:2], len(self.names)))
        for k, expression in enumerate(self.expressions):
            found[:, :, k] = expression.evaluate(known)
        if not np.isfinite(found).all():
            self._refuse(found, counts, times)
        return found

    def _refuse(self, found: FloatArray, counts: NDArray[Any], times: FloatArray) -> None:
        path, row, k = (int(place[0]) for place in np.nonzero(~np.isfinite(found)))
        state = ", ".join(
            f"{self.network.species_names[column]} = {counts[path, row, c]:g}"
            for c, column in enumerate(self.columns.tolist())
        )
        raise SimulationError(
            f"the output '{self.names[k]}' is {found[path, row, k]:g} at t = {times[row]:g}, where "
            f"{state}; leap paths visit states that exact ones may not, so give it a value there, "
            f"for example with if(condition, value, 0)"
        )


def check_outputs(network: Network, outputs: Sequence[str | Expression] | str | None) -> Outputs:
    """Return what is to be estimated, all species by default, or say what is wrong with it."""
    given: object = network.species_names if outputs is None else outputs
    if isinstance(given, str | Expression):
        given = [given]
    if not isinstance(given, Iterable):
        raise TypeError(
            f"outputs must be a list of species, observables and expressions, not {outputs!r}"
        )
    names: list[str] = []
    expressions: list[Expression] = []
    conditions: list[bool] = []
    for one in given:
        tree = _tree(one)
        name = one.strip() if isinstance(one, str) else str(getattr(one, "name", tree))
        try:
            expanded = network.expanded(tree)
        except NetworkError as error:
            raise NetworkError(f"in outputs: {error}") from None
        if name in names:
            raise ValueError(f"outputs names '{name}' twice")
        names.append(name)
        expressions.append(expanded)
        conditions.append(isinstance(tree, Call) and tree.operation in CONDITIONS)
    if not names:
        raise ValueError(
            'outputs is empty; give species, observables or expressions such as "P > 50"'
        )
    read = set().union(*(one.symbols() for one in expressions))
    columns = [i for i, name in enumerate(network.species_names) if name in read]
    if not columns:
        raise ValueError(
            f"the outputs {', '.join(names)} depend on no species, so there is nothing to estimate"
        )
    return Outputs(
        tuple(names),
        tuple(expressions),
        np.array(conditions, dtype=bool),
        np.array(columns, dtype=np.int64),
        network,
    )


def _tree(one: object) -> Expression:
    if isinstance(one, str):
        return parse_expression(one)
    if isinstance(one, Expression):
        return one
    name = getattr(one, "name", None)
    if isinstance(name, str):
        return Symbol(name)
    raise TypeError(
        f'outputs are text such as "P" or "P > 50", expressions, or Species and Observable '
        f"objects, not {one!r}"
    )
