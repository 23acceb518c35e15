"""A parameter scan in plain data: for other processes, and for the files that it leaves."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any, ClassVar

import numpy as np

from .errors import DamagedFileError
from .gathering import Portion
from .run_orders import OrderOfRun, RunOrder, check_rows

__all__ = ["ScanOrder", "ScanSets", "grid_points"]


def grid_points(axes: Sequence[np.ndarray]) -> np.ndarray:
    """Return all combinations of the values of axes, (n_sets, n_axes); the last runs fastest."""
    points = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1)
    return np.ascontiguousarray(points.reshape(-1, len(axes)), dtype=np.float64)


@dataclass(frozen=True, eq=False)
class ScanSets:
    """The sets of a scan, all of them.

    Attributes
    ----------
    points : ndarray, shape (n_sets, n_names), float64
    shape : tuple of int
        Sizes of the axes of a grid; (n_sets,) of a table.
    is_grid : bool
    """

    points: np.ndarray
    shape: tuple[int, ...]
    is_grid: bool

    @property
    def digest(self) -> str:
        """SHA-256 of the values, in hexadecimal."""
        digest = hashlib.sha256(repr((self.points.shape, self.shape, self.is_grid)).encode())
        digest.update(np.ascontiguousarray(self.points, dtype="<f8").tobytes())
        return digest.hexdigest()

    def columns(self) -> list[np.ndarray]:
        """Return the values of the axes of a grid, or the columns of a table."""
        if not self.is_grid:
            return list(self.points.T)
        grid = self.points.reshape(*self.shape, len(self.shape))
        firsts = [np.moveaxis(grid[..., i], i, 0) for i in range(len(self.shape))]
        return [one.reshape(len(one), -1)[:, 0] for one in firsts]


@dataclass(frozen=True)
class ScanOrder(OrderOfRun):
    """What the sets of a scan depend on: whoever has it, and a set's values, computes the same.

    Attributes
    ----------
    run : RunOrder
        What all sets have in common. Its network is the one that the sets are relatives of, its
        entropy that of the scan; `histogram_bins` is None where paths are kept, and 0 for none.
    names : tuple of str
        What is varied.
    shape : tuple of int
        Sizes of the axes of a grid; (n_sets,) of a table.
    is_grid : bool
    sets_digest : str
        SHA-256 of the values of all sets.
    n : int
        Trajectories of each set.
    common_random_numbers : bool
    sets : ScanSets or None
        The values, where they are known; a store has them beside its manifest, its chunks have not.
    """

    run: RunOrder
    names: tuple[str, ...]
    shape: tuple[int, ...]
    is_grid: bool
    sets_digest: str
    n: int
    common_random_numbers: bool
    sets: ScanSets | None = field(default=None, compare=False, repr=False)

    things: ClassVar[str] = "sets"
    chunk_kind: ClassVar[str] = "sets"
    # Packages before scans could be stored refuse it by this.
    store_version: ClassVar[int] = 2
    # Sets do not depend on each other: each is its own unit of work.
    unit: ClassVar[None] = None

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> ScanOrder:
        """Return the order that `to_json` wrote, without the values of the sets.

        Raises
        ------
        DamagedFileError
            If something is missing, too much, or of the wrong kind.
        """
        names = {one.name for one in fields(cls)} - {"sets"}
        if set(values) != names:
            raise DamagedFileError(
                f"the description of a scan must name {', '.join(sorted(names))}"
            )
        try:
            return cls(
                run=RunOrder.from_json(values["run"]),
                names=tuple(str(one) for one in values["names"]),
                shape=tuple(int(one) for one in values["shape"]),
                is_grid=bool(values["is_grid"]),
                sets_digest=str(values["sets_digest"]),
                n=int(values["n"]),
                common_random_numbers=bool(values["common_random_numbers"]),
            )
        except (TypeError, ValueError) as error:
            raise DamagedFileError(f"the description of a scan cannot be read: {error}") from error

    def to_json(self) -> dict[str, Any]:
        """Return the order as numbers, text and lists, without the values of the sets."""
        values = asdict(replace(self, sets=None))
        values.pop("sets")
        values["run"] = self.run.to_json()
        return {name: list(one) if isinstance(one, tuple) else one for name, one in values.items()}

    def with_sets(self, columns: Sequence[np.ndarray]) -> ScanOrder:
        """Return the order with the values of the sets, as `ScanSets.columns` gives them.

        Raises
        ------
        DamagedFileError
            If they are not those that the order was made for.
        """
        try:
            points = grid_points(columns) if self.is_grid else np.stack(columns, axis=-1)
            sets = ScanSets(np.ascontiguousarray(points), self.shape, self.is_grid)
        except (TypeError, ValueError) as error:
            raise DamagedFileError(f"the sets of a scan cannot be read: {error}") from error
        if sets.digest != self.sets_digest:
            raise DamagedFileError("the sets of a scan are not those that it was made for")
        return replace(self, sets=sets)

    @property
    def n_sets(self) -> int:
        """Number of sets of the scan."""
        return int(np.prod(self.shape))

    @property
    def keep(self) -> str:
        """What is kept of each set: "statistics" or "paths"."""
        return "paths" if self.run.histogram_bins is None else "statistics"

    # In a store ----------------------------------------------------------------------------------

    def without_what_follows(self, portion: Portion) -> Portion:
        """Return the arrays of a portion that a file needs; all its sets are finished."""
        follows = {"indices", "n_trajectories", "complete"}
        if self.run.stop_when is None:
            follows.add("hitting_times")
        return {name: array for name, array in portion.items() if name not in follows}

    def restored(self, arrays: Portion, first: int, last: int) -> Portion:
        """Return the portion of the sets first, ..., last - 1 from the arrays of its file.

        Raises
        ------
        DamagedFileError
            If an array is missing or has another number of rows.
        """
        n_sets, shape = last - first, (last - first, self.n)
        names = ["counts", "values", "n_events"]
        if self.keep == "statistics":
            names = ["means", "comoments", "minima", "maxima", "bin_counts", "bin_widths"]
        if self.run.stop_when is not None:
            names.append("hitting_times")
        elif self.keep == "paths":
            arrays["hitting_times"] = np.full(shape, np.nan)
        check_rows(arrays, n_sets, *names)
        arrays["indices"] = np.arange(first, last, dtype=np.int64)
        arrays["n_trajectories"] = np.full(n_sets, self.n, dtype=np.int64)
        if "hitting_times" in arrays:
            arrays["complete"] = np.ones(shape, dtype=np.int64)
        return arrays
