"""The numbers of many relatives of a network, as lanes read them.

A relative made by `with_parameters` and compiled takes some 60 us; here all of them are worked out
at once. Every number is that of the compiled relative, to the last bit: only operations that IEEE
754 rounds in one way are done on whole columns, all others one by one.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from ..compilation import CompiledNetwork, compile_network, rate_constant_parts
from ..errors import NetworkError
from ..kernels.arrays import PAIR
from ..lane_compilation import n_places
from ..network import Network
from ..rate_laws import Call, Expression
from .points import ScanPoints

__all__ = ["SetArrays", "SetNumbers", "compiled_set"]

# Computed by NumPy in one rounding, whatever the length of the array.
_EXACT = frozenset(("+", "-", "*", "/", "neg", "sqrt", "abs", "min", "max", "if"))
_EXACT |= {"<", "<=", ">", ">=", "==", "!=", "and", "or", "not", "floor", "ceil"}


def compiled_set(network: Network, points: ScanPoints, j: int) -> CompiledNetwork:
    """Return the arrays of set `j` of a network.

    Raises
    ------
    NetworkError
        If the set is impossible; the message names it.
    """
    relative = points.relative(network, j)
    try:
        return compile_network(relative)
    except NetworkError as error:
        raise NetworkError(f"in {points.describe(j)}: {error}") from None


class SetArrays(NamedTuple):
    """The numbers of consecutive sets, each array set by set and flat; see `LaneNetwork`."""

    coefficient: np.ndarray  # (n_sets * n_padded,) float64
    factor: np.ndarray  # (n_sets * n_laws,) float64
    parameters: np.ndarray  # (n_sets * n_parameters,) float64
    initial_state: np.ndarray  # (n_sets * (n_species + 1),) int64


class SetNumbers:
    """Works out the numbers of sets.

    Parameters
    ----------
    network : Network
        One that lanes can run, the relatives of which the sets are.
    points : ScanPoints
    """

    def __init__(self, network: Network, points: ScanPoints) -> None:
        self._network, self._points = network, points
        compiled = compiled_set(network, points, points.first)
        self._arrays = compiled.arrays
        self._initial_state = compiled.initial_state
        self._laws = np.flatnonzero(compiled.arrays.form != PAIR)
        scanned = set(points.names)
        self._derived = {
            one.name: one.value
            for one in network.parameters
            if isinstance(one.value, Expression) and one.name not in scanned
        }
        self._derived_initials = any(
            isinstance(one.initial, Expression) and one.name not in scanned
            for one in network.species
        )

    def arrays(self, first: int, last: int) -> SetArrays:
        """Return the numbers of the sets first, ..., last - 1.

        Raises
        ------
        NetworkError
            If a set is impossible; the message names it.
        """
        network, n = self._network, last - first
        values = self._values(first, last)
        parameters = np.empty((n, len(values)))
        for place, column in enumerate(values.values()):
            parameters[:, place] = column
        is_bad = np.asarray(np.logical_not(np.isfinite(parameters)).any(axis=1))
        self._check(is_bad, first)
        n_reactions, n_laws = self._arrays.form.size, self._laws.size
        coefficient = np.zeros((n, n_places(n_reactions)))
        coefficient[:, :n_reactions] = self._arrays.coefficient
        law_factor = np.empty((n, n_reactions))
        law_factor[:] = self._arrays.law_factor
        for reaction, expression, divisor in rate_constant_parts(network):
            column = _evaluated(expression, values, n)
            is_bad = np.logical_not((column >= 0.0) & (column < np.inf))
            self._check(is_bad, first)
            target = coefficient if self._arrays.form[reaction] == PAIR else law_factor
            target[:, reaction] = column / divisor
        coefficient[:, self._laws] = 1.0
        factor = law_factor[:, self._laws] if n_laws else np.empty((n, 0))
        return SetArrays(
            coefficient.ravel(),
            np.ascontiguousarray(factor).ravel(),
            parameters.ravel(),
            self._initial_states(first, last).ravel(),
        )

    def _values(self, first: int, last: int) -> dict[str, np.ndarray | float]:
        """Return the value of each parameter, a number or a column."""
        points = self._points
        columns = dict(zip(points.names, points.part(first, last).values.T, strict=True))
        values: dict[str, np.ndarray | float] = {}
        for one in self._network.parameters:
            if one.name in columns:
                values[one.name] = columns[one.name]
            elif one.name in self._derived:
                values[one.name] = _evaluated(self._derived[one.name], values, last - first)
            else:
                assert not isinstance(one.value, Expression)
                values[one.name] = float(one.value)
        return values

    def _initial_states(self, first: int, last: int) -> np.ndarray:
        network, points = self._network, self._points
        states = np.empty((last - first, network.n_species + 1), dtype=np.int64)
        if self._derived_initials:
            for j in range(first, last):
                states[j - first] = compiled_set(network, points, j).initial_state
            return states
        states[:] = self._initial_state
        for place, name in enumerate(network.species_names):
            if name not in points.names:
                continue
            column = points.part(first, last).values[:, points.names.index(name)]
            counts = np.rint(column)
            # What is not plainly a count is looked at by the network itself.
            for row in np.flatnonzero((counts != column) | (counts < 0.0) | (counts > 2.0**52)):
                own = compiled_set(network, points, first + int(row))
                counts[row] = own.initial_state[place]
            states[:, place] = counts.astype(np.int64)
        return states

    def _check(self, is_bad: np.ndarray, first: int) -> None:
        """Have the first bad set say what is wrong with it."""
        for row in np.flatnonzero(is_bad):
            compiled_set(self._network, self._points, first + int(row))


def _evaluated(
    expression: Expression, values: Mapping[str, np.ndarray | float], n: int
) -> np.ndarray:
    """Return the value of an expression in each set, (n,)."""
    varying = [name for name in expression.symbols() if isinstance(values.get(name), np.ndarray)]
    if not varying:
        return np.full(n, float(expression.evaluate(values)))
    if all(one.operation in _EXACT for one in expression.postorder() if isinstance(one, Call)):
        return np.broadcast_to(np.asarray(expression.evaluate(values)), (n,))
    found = np.empty(n)
    known = {name: values[name] for name in expression.symbols() & values.keys()}
    for j in range(n):
        own = {name: float(known[name][j]) for name in varying}  # type: ignore[index]
        found[j] = float(expression.evaluate({**known, **own}))
    return found
