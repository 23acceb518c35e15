"""What stores need to know of the jobs whose portions they hold."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Protocol

import numpy as np

from ..gathering import Portion
from ..probing_jobs import ValueOrder
from ..run_orders import RunOrder
from ..scan_orders import ScanOrder

__all__ = ["AnyOrder", "Order", "differences", "order_from_json"]


AnyOrder = RunOrder | ScanOrder | ValueOrder


class Order(Protocol):
    """What all portions of a job depend on; `RunOrder` and `ScanOrder` are such.

    Two orders are equal if, and only if, their portions of the same range are the same.
    """

    @property
    def things(self) -> str:
        """What is counted: "trajectories" or "sets"."""

    @property
    def chunk_kind(self) -> str:
        """What the header of a chunk calls it."""

    @property
    def store_version(self) -> int:
        """Least version of stores that can hold it."""

    @property
    def unit(self) -> int | None:
        """How many go together in statistics; None where each has a row of its own."""

    @property
    def sets(self) -> Any:
        """What is kept beside the manifest: the sets of a scan, a `ScanSets`, or None."""

    @property
    def entropy(self) -> int:
        """Of the random streams."""

    @property
    def digest(self) -> str:
        """SHA-256 of the order, in hexadecimal."""

    def to_json(self) -> dict[str, Any]:
        """Return the order as numbers, text and lists."""

    def without_what_follows(self, portion: Portion) -> Portion:
        """Return the arrays of a portion that a file needs."""

    def restored(self, arrays: Portion, first: int, last: int) -> Portion:
        """Return a portion from the arrays of its file; `DamagedFileError` if one is wrong."""


def order_from_json(values: Any) -> AnyOrder:
    """Return the order that ``to_json`` wrote.

    Raises
    ------
    DamagedFileError
        If it is none.
    """
    if isinstance(values, Mapping) and "run" in values:
        return ScanOrder.from_json(values)
    if isinstance(values, Mapping) and "values_of" in values:
        return ValueOrder.from_json(values)
    return RunOrder.from_json(values)


def differences(stored: Order, wanted: Order) -> list[str]:
    """Return in words in what two jobs differ; nothing where they are the same."""
    if type(stored) is not type(wanted):
        return [f"there are {stored.things} there and {wanted.things} here"]
    if isinstance(stored, RunOrder) and isinstance(wanted, RunOrder):
        return _of_runs(stored, wanted)
    if isinstance(stored, ValueOrder) and isinstance(wanted, ValueOrder):
        columns = ["what is looked at is another"] if stored.columns != wanted.columns else []
        return _of_runs(stored.run, wanted.run) + columns
    assert isinstance(stored, ScanOrder)
    assert isinstance(wanted, ScanOrder)
    found = _of_runs(stored.run, wanted.run)
    if stored.names != wanted.names:
        found.append(_unequal("what is varied", ", ".join(stored.names), ", ".join(wanted.names)))
    elif (stored.shape, stored.is_grid) != (wanted.shape, wanted.is_grid):
        found.append(_unequal("the scan", _shape(stored), _shape(wanted)))
    elif stored.sets_digest != wanted.sets_digest:
        found.append(_first_other_value(stored, wanted))
    if stored.n != wanted.n:
        found.append(_unequal("n", stored.n, wanted.n))
    if stored.common_random_numbers != wanted.common_random_numbers:
        here, there = wanted.common_random_numbers, stored.common_random_numbers
        found.append(_unequal("common_random_numbers", there, here))
    return found


def _of_runs(stored: RunOrder, wanted: RunOrder) -> list[str]:
    names = stored.differences(wanted)
    return [
        _SAID.get(name, _plainly)(name, getattr(stored, name), getattr(wanted, name))
        for name in names
        if name != "options" or "method" not in names
    ]


def _unequal(name: str, stored: Any, wanted: Any) -> str:
    return f"{name} is {stored} there and {wanted} here"


def _plainly(name: str, stored: Any, wanted: Any) -> str:
    return _unequal(_NAMES.get(name, name), repr(stored), repr(wanted))


_NAMES = {"entropy": "rng", "stream_version": "the version of the random streams"}


def _network(name: str, stored: str, wanted: str) -> str:
    lines = [text.splitlines() for text in (stored, wanted)]
    there, here = (
        [one for one in mine if one not in other] for mine, other in (lines, lines[::-1])
    )
    return f"the network has {_first(there)} there and {_first(here)} here"


def _first(lines: Iterable[str]) -> str:
    return repr(next(iter(lines), "nothing more"))


def _times(name: str, stored: Any, wanted: Any) -> str:
    if len(stored) != len(wanted):
        return f"t has {len(stored)} times there and {len(wanted)} here"
    i = int(np.flatnonzero(np.array(stored) != np.array(wanted))[0])
    return f"t[{i}] is {stored[i]!r} there and {wanted[i]!r} here"


def _options(name: str, stored: Any, wanted: Any) -> str:
    return "; ".join(
        _plainly(option, value, dict(wanted).get(option))
        for option, value in stored
        if dict(wanted).get(option) != value
    )


def _kept(name: str, stored: int | None, wanted: int | None) -> str:
    def shown(bins: int | None) -> str:
        return "trajectories" if bins is None else f"statistics with histogram_bins={bins}"

    return f"{shown(stored)} are kept there and {shown(wanted)} here"


def _outputs(name: str, stored: Iterable[str], wanted: Iterable[str]) -> str:
    return f"outputs are {', '.join(stored)} there and {', '.join(wanted)} here"


_SAID: dict[str, Callable[[str, Any, Any], str]] = {
    "network_text": _network,
    "times": _times,
    "options": _options,
    "histogram_bins": _kept,
    "outputs": _outputs,
}


def _shape(order: ScanOrder) -> str:
    if order.is_grid:
        return f"a grid of {' x '.join(map(str, order.shape))} sets"
    return f"a table of {order.n_sets} sets"


def _first_other_value(stored: ScanOrder, wanted: ScanOrder) -> str:
    if stored.sets is None or wanted.sets is None:
        return "the values of the sets are others"
    there, here = stored.sets.points, wanted.sets.points
    j, i = (int(one[0]) for one in np.nonzero(there != here))
    values = (float(there[j, i]), float(here[j, i]))
    return _unequal(f"{wanted.names[i]} of set {j}", *map(repr, values))
