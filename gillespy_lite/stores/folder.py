"""The files of a store: what is where, and the manifest that says what they are of.

::

    runs/vilar/
        manifest.json                       the run, and versions; sealed by a digest
        sets.npz                            of a scan: what is varied, in all sets
        lock                                held by the process that writes
        chunks/0000000000-0000001023.npz    trajectories, or sets of a scan, 0 to 1023
        values/01ab.../                     a store of what a run with until= looked at

The names of the chunks are the list of what is there: adding one changes no other file.
"""

from __future__ import annotations

import contextlib
import datetime
import hashlib
import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import DamagedFileError, StoreError
from ..results.files import read_archive, replacing, write_archive
from ..scan_orders import ScanOrder
from ..version import __version__
from .orders import AnyOrder, Order, order_from_json
from .ranges import Range

__all__ = ["STORE_VERSION", "Folder", "Manifest"]

# Raised when an older package can no longer read what this one writes.
STORE_VERSION = 2

_FORMAT = "gillespy_lite store"
_SETS = "sets of a scan"
_CHUNK_NAME = re.compile(r"([0-9]{10,19})-([0-9]{10,19})\.npz")


@dataclass(frozen=True)
class Manifest:
    """What a store holds trajectories, or sets, of."""

    order: AnyOrder
    written_by: str
    created: str  # in UTC


class Folder:
    """The folder of a store."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        self.name = os.fspath(path)
        self.manifest_path = self.path / "manifest.json"
        self.sets_path = self.path / "sets.npz"
        self.chunks_path = self.path / "chunks"
        self.values_path = self.path / "values"

    def is_there(self) -> bool:
        """Whether something was stored."""
        return self.manifest_path.exists() or bool(self.ranges())

    def require(self) -> None:
        """Refuse a folder that is no store.

        Raises
        ------
        StoreError
            If there is no such folder, or no store in it.
        """
        if not self.path.is_dir():
            raise StoreError(f"there is no store {self.name!r}: no such folder")
        if not self.is_there():
            raise StoreError(f"{self.name!r} is no store: it has neither a manifest nor chunks")

    def create(self) -> None:
        """Make the folders where they are not.

        Raises
        ------
        StoreError
            If the folder holds something else.
        OSError
            If it cannot be made.
        """
        if self.path.exists() and not self.path.is_dir():
            raise StoreError(f"{self.name!r} is a file; a store is a folder: give another name")
        if self.path.is_dir() and not self.chunks_path.is_dir() and not self.is_there():
            others = sorted(entry.name for entry in self.path.iterdir() if entry.name != "lock")
            if others:
                raise StoreError(
                    f"{self.name!r} is no store, and not empty: it holds {others[0]!r}; give the "
                    "name of a new folder"
                )
        self.chunks_path.mkdir(parents=True, exist_ok=True)

    # Chunks --------------------------------------------------------------------------------------

    def chunk_path(self, portion: Range) -> Path:
        """Return where a portion is."""
        return self.chunks_path / f"{portion.first:010d}-{portion.last - 1:010d}.npz"

    def ranges(self) -> list[Range]:
        """Return the portions that are there, in order."""
        found = []
        with (
            contextlib.suppress(FileNotFoundError, NotADirectoryError),
            os.scandir(self.chunks_path) as entries,
        ):
            for entry in entries:
                match = _CHUNK_NAME.fullmatch(entry.name)
                if match and int(match[1]) <= int(match[2]):
                    found.append(Range(int(match[1]), int(match[2]) + 1))
        return sorted(found)

    def size(self) -> int:
        """Return the bytes of all chunks, also those of values."""
        total = sum(folder.size() for folder in self.values())
        for portion in self.ranges():
            with contextlib.suppress(FileNotFoundError):
                total += self.chunk_path(portion).stat().st_size
        return total

    def values(self) -> list[Folder]:
        """Return the stores of what runs with ``until=`` looked at, which lie in this one."""
        # A writer that was killed may leave a folder in which there is nothing yet.
        found = [Folder(path) for path in sorted(self.values_path.glob("*")) if path.is_dir()]
        return [folder for folder in found if folder.is_there()]

    def remove_leavings(self) -> None:
        """Remove what writers left that were killed; only for who holds the lock."""
        for folder in (self.path, self.chunks_path):
            for path in folder.glob(".*.part"):
                with contextlib.suppress(OSError):
                    path.unlink()

    # The manifest --------------------------------------------------------------------------------

    def write_manifest(self, order: Order) -> None:
        """Write what this will be a store of."""
        now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
        contents = {
            "format": _FORMAT,
            "format_version": order.store_version,
            "written_by": f"gillespy_lite {__version__}",
            "created": now,
            "order": order.to_json(),
        }
        if order.sets is not None:
            # In a file of their own, because there may be a million.
            arrays = {f"column_{i}": one for i, one in enumerate(order.sets.columns())}
            header = {"kind": _SETS, "digest": order.sets.digest}
            write_archive(self.sets_path, header, arrays, compressed=False)
        contents["seal"] = _seal(contents)
        text = json.dumps(contents, indent=1, ensure_ascii=False)
        with replacing(self.manifest_path) as file:
            file.write(f"{text}\n".encode())

    def read_manifest(self) -> Manifest:
        """Return what this is a store of.

        Raises
        ------
        DamagedFileError
            If the manifest, or the file of the sets of a scan, is missing, was changed or is of
            a newer version.
        """
        name = os.fspath(self.manifest_path)
        try:
            contents = json.loads(self.manifest_path.read_bytes())
        except (FileNotFoundError, NotADirectoryError):
            raise DamagedFileError(f"{name!r} is missing") from None
        except (ValueError, RecursionError) as error:
            raise DamagedFileError(f"{name!r} is damaged: {error}") from error
        if not isinstance(contents, dict) or contents.get("format") != _FORMAT:
            raise DamagedFileError(f"{name!r} is not the manifest of a store")
        version = contents.get("format_version")
        if not isinstance(version, int) or version < 1:
            raise DamagedFileError(f"{name!r} states no version, but {version!r}")
        if version > STORE_VERSION:
            raise StoreError(
                f"the store {self.name!r} has version {version}, written by "
                f"{contents.get('written_by')}; this is gillespy_lite {__version__}, which reads "
                f"stores up to version {STORE_VERSION}: install a newer one"
            )
        if contents.pop("seal", None) != _seal(contents):
            raise DamagedFileError(f"{name!r} is damaged: it has changed since it was written")
        try:
            order = order_from_json(contents["order"])
            if isinstance(order, ScanOrder):
                order = order.with_sets(self._columns(len(order.names)))
            return Manifest(order, str(contents["written_by"]), str(contents["created"]))
        except (DamagedFileError, KeyError) as error:
            raise DamagedFileError(f"{name!r} cannot be understood: {error}") from error

    def _columns(self, n: int) -> list[np.ndarray]:
        """Return the values of the sets of a scan, as they were written."""
        try:
            _, arrays = read_archive(self.sets_path)
        except (FileNotFoundError, NotADirectoryError):
            raise DamagedFileError(f"{os.fspath(self.sets_path)!r} is missing") from None
        return [arrays[f"column_{i}"] for i in range(n)]


def _seal(contents: Mapping[str, Any]) -> str:
    text = json.dumps(contents, sort_keys=True, ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()
