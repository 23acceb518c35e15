"""What every result is: read-only arrays over recorded times, with named columns, saved whole."""

from __future__ import annotations

import os
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from ..network import Network
from .files import write_archive
from .provenance import Provenance
from .summaries import Summary

__all__ = ["FloatArray", "IntArray", "Recorded", "freeze", "read_only"]

FloatArray: TypeAlias = NDArray[np.float64]
IntArray: TypeAlias = NDArray[np.int64]

# Times computed as 3*0.1 or read from a file differ from the grid's in the last digits. A time
# this close to a grid time, relative to the largest time, means the grid time.
GRID_TOLERANCE = 1e-12


class Recorded:
    """What all results share: names of columns, times, saving."""

    times: FloatArray
    species: tuple[str, ...]
    observables: tuple[str, ...]
    network: Network
    provenance: Provenance

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of what was recorded: species, variables, then observables."""
        return self.species + self.observables

    @property
    def n_times(self) -> int:
        """Number of recorded times."""
        return self.times.size

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write everything to a file that `load` reads back and checks.

        `path` is used as it is, and usually ends in ``.npz``.
        """
        arrays = {name: it for name, it in vars(self).items() if isinstance(it, np.ndarray)}
        fields = {name: it for name, it in vars(self).items() if name not in arrays}
        # The network is written once, and its digest where the provenance would repeat it.
        origin = {name: it for name, it in vars(self.provenance).items() if name != "network"}
        fields["network"] = self.network.text
        fields["provenance"] = {**origin, "network_digest": self.provenance.network_digest}
        if fields.get("precision") is not None:
            fields["precision"] = fields["precision"].to_json()
        write_archive(path, {"kind": type(self).__name__, "fields": fields}, arrays)

    def _repr_html_(self) -> str:
        return self._summary().html()

    def _summary(self) -> Summary:
        raise NotImplementedError

    def _row_at(self, t: float, *, end_time: float = -np.inf, snap: bool = True) -> int:
        """Return the row of the last recorded time that is not after `t`.

        The path is known until `end_time`, if that is later than the last time; `snap`: a time
        within `GRID_TOLERANCE` of a recorded one means that one.
        """
        try:
            time = float(t)
        except (TypeError, ValueError):
            raise TypeError(f"t must be one time, a number, not {t!r}") from None
        first, last = float(self.times[0]), max(float(self.times[-1]), float(end_time))
        tolerance = GRID_TOLERANCE * max(abs(first), abs(last)) if snap else 0.0
        if not first - tolerance <= time <= last + tolerance:
            raise ValueError(
                f"t = {time:g} lies outside the recorded times, from {first:g} to {last:g}"
            )
        return max(0, int(np.searchsorted(self.times, time + tolerance, side="right")) - 1)


def read_only(array: NDArray[Any]) -> NDArray[Any]:
    """Return a view of `array` through which it cannot be changed."""
    view = array.view()
    view.flags.writeable = False
    return view


def freeze(result: Recorded, **shapes: tuple[int, ...]) -> None:
    """Make the arrays of `result` read-only, and refuse those that have another shape."""
    for name, value in vars(result).items():
        if isinstance(value, np.ndarray):
            object.__setattr__(result, name, read_only(value))
    for name, expected in shapes.items():
        shape = getattr(result, name).shape
        if shape != expected:
            raise ValueError(f"{name} must have shape {expected}, but has {shape}")
