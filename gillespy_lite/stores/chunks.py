"""One portion of a run in one file: its arrays, as narrow as their numbers allow, under a digest.

The arrays are those of `Paths.portion` and `Statistics.portion`, without what follows from the
name: the numbers of the trajectories, and hitting times where nothing is waited for.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import DamagedFileError, StoreError
from ..gathering import Portion
from ..results.files import NARROW_DTYPES, read_archive, write_archive
from ..run_orders import RunOrder
from .ranges import Range

__all__ = ["narrowed", "order_in", "read_chunk", "without_what_follows", "write_chunk"]

_KIND = "portion"
_BLOCK = 2**15  # numbers; they stay in a core's own cache
_UNSIGNED = tuple(np.dtype(name) for name in ("u1", "<u2", "<u4"))
_SIGNED = tuple(np.dtype(name) for name in ("i1", "<i2", "<i4"))


def narrowed(array: np.ndarray) -> np.ndarray:
    """Return whole numbers in the narrowest dtype that holds them; others as they are."""
    if array.dtype.kind != "i" or array.size == 0:
        return array
    flat = array.reshape(-1)
    low, high = int(flat[0]), int(flat[0])
    narrow = np.empty(flat.size, dtype=_dtype_for(low, high))
    # Block by block: each is read from memory once, not three times.
    for start in range(0, flat.size, _BLOCK):
        block = flat[start : start + _BLOCK]
        low, high = min(low, int(block.min())), max(high, int(block.max()))
        dtype = _dtype_for(low, high)
        if dtype != narrow.dtype:
            wider = np.empty(flat.size, dtype=dtype)
            wider[:start] = narrow[:start]
            narrow = wider
        narrow[start : start + _BLOCK] = block
    return narrow.reshape(array.shape)


def _dtype_for(low: int, high: int) -> np.dtype[Any]:
    """Return the narrowest dtype that holds all whole numbers from low to high."""
    for dtype in _UNSIGNED if low >= 0 else _SIGNED:
        limits = np.iinfo(dtype)
        if limits.min <= low and high <= limits.max:
            return dtype
    return np.dtype(np.int64)


def write_chunk(
    path: Path,
    order: RunOrder,
    portion: Range,
    arrays: Mapping[str, np.ndarray],
    *,
    compressed: bool,
) -> None:
    """Write a portion to a file, completely or not at all; `arrays` are narrowed already."""
    header = {
        "kind": _KIND,
        "first": portion.first,
        "last": portion.last,
        "order_digest": order.digest,
        # So that chunks whose manifest is lost still say what they are.
        "order": order.to_json(),
    }
    write_archive(path, header, arrays, compressed=compressed, dtypes=NARROW_DTYPES)


def without_what_follows(order: RunOrder, arrays: Portion) -> Portion:
    """Return the arrays that a file needs."""
    follows = {"indices"} if order.stop_when is not None else {"indices", "hitting_times"}
    return {name: array for name, array in arrays.items() if name not in follows}


def read_chunk(path: Path, order: RunOrder, portion: Range) -> Portion:
    """Return the arrays of a portion as a gatherer takes them.

    Raises
    ------
    DamagedFileError
        If the file changed since it was written, or is not what its name says.
    StoreError
        If it belongs to another run.
    """
    name = os.fspath(path)
    header, arrays = read_archive(path, NARROW_DTYPES)
    if header.get("kind") != _KIND:
        raise DamagedFileError(f"{name!r} holds no portion of a run, but {header.get('kind')!r}")
    if header.get("order_digest") != order.digest:
        raise StoreError(
            f"{name!r} belongs to another run than the store that it lies in; move it away"
        )
    if [header.get("first"), header.get("last")] != list(portion):
        raise DamagedFileError(
            f"{name!r} holds trajectories {header.get('first')} to {header.get('last')} - 1: "
            "its name was changed"
        )
    indices = np.arange(portion.first, portion.last, dtype=np.int64)
    if order.histogram_bins is None:
        arrays["indices"] = indices
        if order.stop_when is None:
            arrays["hitting_times"] = np.full(portion.n, np.nan)
        n = portion.n
        names: tuple[str, ...] = ("counts", "values", "hitting_times", "n_events")
    else:
        # Histograms are added up; sums need more room than their terms.
        arrays = {
            key: array.astype(np.int64) if array.dtype.kind in "iu" else array
            for key, array in arrays.items()
        }
        if order.stop_when is not None:
            arrays["indices"] = indices
        n = arrays["levels"].size if "levels" in arrays else 0
        names = ("levels", "blocks", "sizes", "means", "comoments", "minima", "maxima")
    wrong = [one for one in names if one not in arrays or arrays[one].shape[:1] != (n,)]
    if wrong:
        raise DamagedFileError(f"{name!r} has no array {wrong[0]!r} of {n} rows")
    return arrays


def order_in(path: Path) -> RunOrder:
    """Return the run that a chunk belongs to.

    Raises
    ------
    DamagedFileError
        If the file changed since it was written.
    """
    header, _ = read_archive(path, NARROW_DTYPES)
    order = RunOrder.from_json(header.get("order", {}))
    if order.digest != header.get("order_digest"):
        raise DamagedFileError(f"{os.fspath(path)!r} describes another run than it says")
    return order
