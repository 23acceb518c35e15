"""What all stores show of what they hold: which portions are there, and whether they are whole."""

from __future__ import annotations

import os
from typing import Any

from ..errors import DamagedFileError, StoreError
from ..gathering import Portion
from ..memory import shown_size
from ..network import Network
from ..results.summaries import Summary
from ..run_orders import RunOrder
from ..run_plan import check_whole
from .chunks import read_chunk
from .folder import Folder, Manifest
from .ranges import Range, missing, outermost, shown, union

__all__ = ["StoreContents", "lines_of_run", "wanted_range"]


class StoreContents:
    """What is in the folder of a store at the moment of asking; see `Store` and `ScanStore`."""

    order: Any
    # How the call that fills the store begins, for messages.
    call = "ensemble"

    def __init__(self, folder: Folder, manifest: Manifest) -> None:
        self._folder = folder
        self.path = folder.name
        self.order = manifest.order
        self.created = manifest.created
        self.written_by = manifest.written_by

    # What is there -------------------------------------------------------------------------------

    @property
    def network(self) -> Network:
        """The network that was run; of a scan, the one that its sets are relatives of."""
        return Network.parse(self.order.network_text)

    @property
    def chunks(self) -> list[tuple[int, int]]:
        """What is in each file (first, last + 1), in order."""
        return list(outermost(self._folder.ranges()))

    @property
    def ranges(self) -> list[tuple[int, int]]:
        """What is there (first, last + 1), in order, with gaps between."""
        return list(union(self._folder.ranges()))

    @property
    def n(self) -> int:
        """Number of trajectories, or sets of a scan, that are there."""
        return sum(last - first for first, last in self.ranges)

    def __len__(self) -> int:
        """Return the number of trajectories, or sets of a scan, that are there."""
        return self.n

    def size(self) -> int:
        """Return the bytes that the chunks take on the disk."""
        return self._folder.size()

    def verify(self) -> list[str]:
        """Read every file and return what is wrong with it, a line for each; empty if nothing is.

        Also bytes that no reader would look at are checked. What is damaged is computed again by
        the next run into the store that needs it.
        """
        found = _damage(self._folder, self.order)
        for folder in self._folder.values():
            found += _damage(folder, None)
        return found

    def export(self, path: str | os.PathLike[str]) -> None:
        """Write what is there to a Zarr folder, or a netCDF, Parquet or CSV file.

        Parameters
        ----------
        path : str or path-like
            Ends in ``.zarr``, ``.nc``, ``.parquet`` or ``.csv``; see `export_store`. Of a scan
            the statistics are written.
        """
        from .exporting import export_store

        store: Any = self  # one of the two kinds
        export_store(store, path)

    def _missing(self, wanted: Range) -> list[tuple[int, int]]:
        return list(union(missing(self._folder.ranges(), wanted, self.order.unit)))

    def _read(self, portion: Range) -> Portion:
        try:
            return read_chunk(self._folder.chunk_path(portion), self.order, portion)
        except DamagedFileError as error:
            raise DamagedFileError(
                f"{error}. Run into the store again: {self.call}(..., store={self.path!r}) "
                f"computes {self.order.things} {portion.first} to {portion.last - 1} again and "
                "keeps all others"
            ) from error

    # Words ---------------------------------------------------------------------------------------

    def summary(self) -> str:
        """Return a plain-text description: whose portions these are, and which are there."""
        return "\n".join(self._lines())

    def _lines(self) -> list[str]:
        chunks = self._folder.ranges()
        return [
            f"Store {self.path}: {self._kept()}, {self.n} in {len(chunks)} files, "
            f"{shown_size(self.size())}",
            f"numbers {shown(union(chunks))}",
            *self._lines_of_job(),
            f"written by {self.written_by}, random streams {self.order.stream_version}, "
            f"{self.created}",
        ]

    def _lines_of_job(self) -> list[str]:
        """Return what the summary says of the job."""
        raise NotImplementedError

    def _kept(self) -> str:
        """Return what is kept of what."""
        raise NotImplementedError

    def __repr__(self) -> str:
        """Return one line: where, and how much."""
        return f"<Store {self.path!r}: {self._kept()} {shown(union(self._folder.ranges()))}>"

    def _repr_html_(self) -> str:
        rows: list[tuple[Any, ...]] = [
            (f"{one.first} to {one.last - 1}", float(one.n)) for one in union(self._folder.ranges())
        ]
        header = ("there", str(self.order.things))
        return Summary(tuple(self._lines()), header, rows[:20]).html()


def _damage(folder: Folder, order: Any) -> list[str]:
    found = []
    try:
        manifest = folder.read_manifest()
        order = manifest.order if order is None else order
    except DamagedFileError as error:
        found.append(str(error))
    for one in folder.ranges() if order is not None else []:
        try:
            read_chunk(folder.chunk_path(one), order, one)
        except FileNotFoundError:
            continue  # a run has put a longer one in its place
        except (DamagedFileError, StoreError, OSError) as error:
            found.append(str(error))
    return found


def lines_of_run(order: RunOrder) -> list[str]:
    """Return what a summary says of a run."""
    options = ", ".join(f"{name}={value!r}" for name, value in order.options)
    lines = [
        f"t = {order.times[0]:g} to {order.times[-1]:g} at {len(order.times)} times",
        f"recorded {', '.join(order.outputs)}",
        f"method {order.method}{f' ({options})' if options else ''}",
        f"entropy {order.entropy}",
    ]
    if order.stop_when is not None:
        lines.append(f"stop_when {order.stop_when}")
    if order.max_events is not None:
        lines.append(f"max_events {order.max_events}")
    return lines


def wanted_range(n: int, first: int) -> Range:
    """Return the range of `n` from `first` on; a `ValueError` if that makes no sense."""
    start = check_whole(first, "first", 0)
    return Range(start, start + check_whole(n, "n", 1))
