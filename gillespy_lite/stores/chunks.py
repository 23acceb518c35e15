"""One portion of a run in one file: its arrays, as narrow as their numbers allow, under a digest.

The arrays are those of `Gathering.portion`, without what follows from the name: the numbers of the
trajectories or sets, and hitting times where nothing is waited for.
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
from .orders import AnyOrder, Order, order_from_json
from .ranges import Range

__all__ = ["narrowed", "order_in", "read_chunk", "write_chunk"]

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
        # Numbers from 0 on need as many bits as all of them together: one look, not two.
        bits = int(np.bitwise_or.reduce(block))
        if bits >= 0:
            high = max(high, bits)
        else:
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
    order: Order,
    portion: Range,
    arrays: Mapping[str, np.ndarray],
    *,
    compressed: bool,
) -> None:
    """Write a portion to a file, completely or not at all; `arrays` are narrowed already."""
    header = {
        "kind": order.chunk_kind,
        "first": portion.first,
        "last": portion.last,
        "order_digest": order.digest,
        # So that chunks whose manifest is lost still say what they are.
        "order": order.to_json(),
    }
    write_archive(
        path,
        header,
        arrays,
        compressed=compressed,
        whole_digest=compressed,
        dtypes=NARROW_DTYPES,
    )


def read_chunk(path: Path, order: Order, portion: Range) -> Portion:
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
    if header.get("kind") != order.chunk_kind:
        raise DamagedFileError(
            f"{name!r} holds no portion with {order.things}, but {header.get('kind')!r}"
        )
    if header.get("order_digest") != order.digest:
        raise StoreError(
            f"{name!r} belongs to another run than the store that it lies in; move it away"
        )
    if [header.get("first"), header.get("last")] != list(portion):
        raise DamagedFileError(
            f"{name!r} holds {order.things} {header.get('first')} to {header.get('last')} - 1: "
            "its name was changed"
        )
    try:
        return order.restored(arrays, *portion)
    except DamagedFileError as error:
        raise DamagedFileError(f"{name!r}: {error}") from None


def order_in(path: Path) -> AnyOrder:
    """Return the run that a chunk belongs to.

    Raises
    ------
    DamagedFileError
        If the file changed since it was written.
    """
    header, _ = read_archive(path, NARROW_DTYPES)
    order = order_from_json(header.get("order", {}))
    if order.digest != header.get("order_digest"):
        raise DamagedFileError(f"{os.fspath(path)!r} describes another run than it says")
    return order
