"""The parameter sets of a scan: a grid, or a table with a row for each."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..errors import NetworkError
from ..names import did_you_mean, normal_name
from ..network import Network
from ..scan_orders import ScanSets, grid_points

__all__ = ["ScanPoints", "read_points"]


@dataclass(frozen=True)
class ScanPoints:
    """Which names take which values, in every set."""

    names: tuple[str, ...]
    values: np.ndarray  # (n_sets, n_names) float64
    # Sizes of the axes of a grid, whose last axis runs fastest; of a table its number of rows.
    shape: tuple[int, ...]
    is_grid: bool
    # Number of the first of these sets, where they are some of a scan's.
    first: int = 0

    @property
    def sets(self) -> ScanSets:
        """The values alone."""
        return ScanSets(self.values, self.shape, self.is_grid)

    def part(self, first: int, last: int) -> ScanPoints:
        """Return the sets first, ..., last - 1, which keep their numbers, as a table."""
        values = self.values[first - self.first : last - self.first]
        return ScanPoints(self.names, values, (len(values),), False, first)

    @property
    def n_sets(self) -> int:
        """Number of parameter sets."""
        return len(self.values)

    def relative(self, network: Network, j: int) -> Network:
        """Return the network with the numbers of set `j`.

        Raises
        ------
        NetworkError
            If it cannot have them; the message names the set.
        """
        parameters: dict[str, float] = {}
        initials: dict[str, float] = {}
        for name, value in zip(self.names, self.values[j - self.first].tolist(), strict=True):
            (parameters if name in network.parameter_names else initials)[name] = value
        try:
            relative = network.with_parameters(parameters) if parameters else network
            return relative.with_initial(initials) if initials else relative
        except NetworkError as error:
            raise NetworkError(f"in {self.describe(j)}: {error}") from None

    def describe(self, j: int) -> str:
        """Return what messages call a set."""
        pairs = zip(self.names, self.values[j - self.first].tolist(), strict=True)
        shown = [f"{name} = {value:g}" for name, value in pairs]
        return f"set {j} ({', '.join(shown[:8])}{', ...' if len(shown) > 8 else ''})"


def read_points(network: Network, grid: Any, samples: Any, names: Any) -> ScanPoints:
    """Return the sets that a user asks for.

    Raises
    ------
    ValueError, TypeError
        If there are no sets, or a value is no number.
    NetworkError
        If a name is no parameter, species or variable of the network, or is given twice.
    """
    if (grid is None) == (samples is None):
        raise ValueError(
            "give the sets either as a grid, like {'k': [1, 2, 3], 'g': [0.1, 0.2]}, of which all "
            "combinations run, or as samples=, a table with a row for each set"
        )
    if names is not None and (samples is None or hasattr(samples, "keys")):
        raise ValueError("names= belongs to samples= that is an array without names of its own")
    columns = _columns(grid if samples is None else samples, names, is_grid=samples is None)
    if not columns:
        raise ValueError("the scan names nothing to vary; give at least one parameter")
    found: dict[str, np.ndarray] = {}
    for name, column in columns.items():
        stored = _known_name(network, name)
        if stored in found:
            raise NetworkError(f"the scan names {stored!r} twice")
        found[stored] = _numbers(stored, column)
    if samples is None:
        shape = tuple(column.size for column in found.values())
        return ScanPoints(tuple(found), grid_points(list(found.values())), shape, True)
    sizes = {name: column.size for name, column in found.items()}
    if len(set(sizes.values())) > 1:
        listed = ", ".join(f"{name} has {size}" for name, size in sizes.items())
        raise ValueError(f"the columns of samples must be of one length, but {listed}")
    values = np.stack(list(found.values()), axis=-1)
    return ScanPoints(tuple(found), values, (len(values),), False)


def _columns(given: Any, names: Any, *, is_grid: bool) -> dict[Any, Any]:
    """Return what stands for each name."""
    if isinstance(given, Mapping):
        return dict(given)
    if is_grid:
        raise TypeError(
            "the grid must be a dict of names and values, like {'k': [1, 2, 3]}, not "
            f"{type(given).__name__}; a table goes to samples="
        )
    if hasattr(given, "columns") and hasattr(given, "to_numpy"):  # a pandas DataFrame
        labels = list(given.columns)
        if len(set(labels)) < len(labels):
            raise NetworkError("the table in samples= has two columns of one name")
        return {name: given[name].to_numpy() for name in labels}
    table = np.asarray(given)
    if table.ndim != 2:
        raise ValueError(
            "samples must be a dict of columns, a DataFrame, or an array of shape (n_sets, "
            f"n_names) with names=, not of shape {table.shape}"
        )
    if names is None or isinstance(names, str) or len(names) != table.shape[1]:
        raise ValueError(
            f"samples is an array of {table.shape[1]} columns; give as many names=, for example "
            "names=['k', 'g']"
        )
    if len({str(name) for name in names}) < len(names):
        raise NetworkError("names= holds a name twice")
    return {name: table[:, place] for place, name in enumerate(names)}


def _known_name(network: Network, name: Any) -> str:
    """Return a name of the network, or say what is there."""
    text = getattr(name, "name", name)
    if not isinstance(text, str):
        raise TypeError(f"a scan varies names, like 'k', not {name!r}")
    known = (*network.parameter_names, *network.state_names)
    if text in known:
        return text
    if normal_name(text) in known:
        return normal_name(text)
    raise NetworkError(
        f"the scan names {text!r}, which is no parameter, species or variable of this network"
        f"{did_you_mean(text, list(known)) or '; there are ' + ', '.join(known[:20])}"
    )


def _numbers(name: str, values: Sequence[Any]) -> np.ndarray:
    numbers = np.atleast_1d(np.asarray(values))
    if numbers.dtype.kind not in "iuf" or numbers.ndim != 1:
        raise TypeError(f"the values of {name!r} must be a list of numbers, not {values!r}")
    if numbers.size == 0:
        raise ValueError(f"the scan has no values for {name!r}")
    numbers = numbers.astype(np.float64)
    bad = np.flatnonzero(~np.isfinite(numbers))
    if bad.size:
        where = int(bad[0])
        value = float(numbers[where])
        assert not math.isfinite(value)
        raise ValueError(f"value {where} of {name!r} is {value:g}; it must be a finite number")
    return numbers
