"""Several stores of one run, from several machines, put together."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Sequence
from pathlib import Path

from ..errors import DamagedFileError, StoreError
from .folder import Folder
from .orders import Order, differences
from .ranges import Range, shown, union
from .scan_store import ScanStore
from .store import Store, open_store
from .writing import StoreWriter, check_order, stored_order

__all__ = ["merge_stores"]


def merge_stores(
    paths: Sequence[str | os.PathLike[str]], into: str | os.PathLike[str]
) -> Store | ScanStore:
    """Put the trajectories of several stores of one run, or the sets of one scan, into one.

    The usual case: several machines ran parts of it, with the same `rng` and another `first`, or
    other `sets` of the scan. Every file is checked as it is copied; the stores stay as they are. An
    interrupted merge goes on when it is called again.

    Parameters
    ----------
    paths : sequence of str or path-like
        The stores.
    into : str or path-like
        A new folder, or a store of the same run to which the others are added.

    Returns
    -------
    Store or ScanStore
        The store `into`.

    Raises
    ------
    StoreError
        If the stores are not of the same run (the message says in what they differ), or two of them
        have the same trajectories or sets (it says which).
    DamagedFileError
        If a file is damaged; run into its store again.
    StoreWriteError
        If `into` cannot be written to.
    """
    if isinstance(paths, str | os.PathLike):
        raise TypeError(f"paths must be a list of stores, like [{os.fspath(paths)!r}], not one")
    stores = [open_store(path) for path in paths]
    if not stores:
        raise ValueError("paths is empty; name the stores to merge")
    places = [Path(store.path).resolve() for store in stores]
    for i, place in enumerate(places):
        if place in places[:i]:
            raise StoreError(f"the store {stores[i].path!r} is named twice")
        if place == Path(into).resolve():
            raise StoreError(
                f"the store {stores[i].path!r} is to be merged into itself; leave it out of paths: "
                "what is there stays there"
            )
    order = stores[0].order
    for store in stores[1:]:
        _check_same(stores[0].path, order, store.path, store.order)
    whose = stored_order(into)
    if whose is not None:
        _check_same(os.fspath(into), whose, stores[0].path, order)
    with StoreWriter(into, order) as merged:
        mine = Folder(into)
        there = mine.ranges()
        copied: set[Range] = set()
        copies: list[tuple[Folder, Range]] = []
        taken: list[tuple[Folder, list[Range]]] = []
        for store in stores:
            folder = Folder(store.path)
            portions = folder.ranges()
            before = {one for one in portions if one in there and _is_copied(mine, folder, one)}
            _check_apart(order, taken, folder, union(portions))
            taken.append((folder, union(portions)))
            copied |= before
            copies += [(folder, one) for one in portions if one not in before]
        own = union(one for one in there if one not in copied)
        for folder, portions in taken:
            _check_apart(order, [(mine, own)], folder, portions)
        for folder, one in copies:
            merged.copy(folder, one)
        for store in stores:
            for values in Folder(store.path).values():
                _copy_values(values, mine.values_path / values.path.name)
    return open_store(into)


def _copy_values(source: Folder, into: Path) -> None:
    """Copy what runs with ``until=`` looked at; of a pilot, machines may have the same."""
    with contextlib.suppress(DamagedFileError):  # it is worked out again where it is needed
        order = source.read_manifest().order
        with StoreWriter(into, order) as merged:
            there = Folder(into).ranges()
            for one in source.ranges():
                if not any(one.overlap(other) for other in there):
                    merged.copy(source, one)


def _check_same(name: str, order: Order, other_name: str, other: Order) -> None:
    found = differences(order, other)
    if len(found) == 1 and found[0].startswith("rng is "):
        whole, argument = _PARTS[order.things]
        raise StoreError(
            f"the stores {name!r} and {other_name!r} have different random streams: rng is "
            f"{order.entropy} in one and {other.entropy} in the other. A store holds one; run the "
            f"parts of a {whole} with the same rng= and another {argument}="
        )
    try:
        check_order(name, order, other)
    except StoreError as error:
        text = str(error).split(". Give")[0].replace(" here", f" in {other_name!r}")
        raise StoreError(f"{text}. Only stores of the same run can be merged") from None


# What is shared, and the argument by which its parts are told apart.
_PARTS = {"trajectories": ("run", "first"), "sets": ("scan", "sets")}


def _check_apart(
    order: Order,
    taken: Sequence[tuple[Folder, list[Range]]],
    folder: Folder,
    portions: Sequence[Range],
) -> None:
    for other, theirs in taken:
        common = [both for one in portions for another in theirs if (both := one.overlap(another))]
        if common:
            whole, argument = _PARTS[order.things]
            raise StoreError(
                f"the stores {other.name!r} and {folder.name!r} have the same {order.things}, "
                f"{shown(common)}: they would be counted twice. Give the parts of a "
                f"{whole} different {argument}=, so that they do not overlap"
            )


def _is_copied(mine: Folder, other: Folder, portion: Range) -> bool:
    """Whether a chunk was copied by a merge that was interrupted."""
    copy = mine.chunk_path(portion)
    return copy.exists() and copy.read_bytes() == other.chunk_path(portion).read_bytes()
