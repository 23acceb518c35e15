"""A store that a run writes to, in the background, so that the next portion is computed meanwhile.

::

    with StoreWriter(path, order) as store:
        for first, last in store.fill(gatherer):      # what is stored goes to the gatherer
            part = gatherer.part(first, last)         # what is missing is computed, by whomever
            ...
            store.put(first, last, part.portion())
"""

from __future__ import annotations

import contextlib
import os
import queue
import shutil
import threading
import time
import warnings
from collections.abc import Iterable
from types import TracebackType
from typing import Any

from ..errors import DamagedFileError, StoreError, StoreWarning, StoreWriteError
from ..gathering import Gathering, Portion
from ..memory import shown_size
from ..results.files import replacing
from ..scan_orders import ScanOrder
from .chunks import narrowed, order_in, read_chunk, write_chunk
from .folder import Folder
from .lock import Lock
from .orders import AnyOrder, Order, differences
from .ranges import Range, cut, gaps, missing, usable

__all__ = ["StoreWriter", "check_order", "fill_unlocked", "rows_of", "stored_order"]

# Portions that wait to be written; then `put` waits.
_QUEUE = 16
# Compressing costs about a second for so many bytes, which may be so large a part of the time.
_COMPRESSED_BYTES_PER_SECOND = 4e7
_SHARE_FOR_COMPRESSION = 0.01


def stored_order(path: str | os.PathLike[str]) -> AnyOrder | None:
    """Return the run of a store; None where there is no store yet.

    A manifest that is damaged or missing is made good by any whole chunk.

    Raises
    ------
    DamagedFileError
        If neither the manifest nor any chunk can be read.
    StoreError
        If the store is of a newer version.
    """
    folder = Folder(path)
    if not folder.is_there():
        return None
    try:
        return folder.read_manifest().order
    except DamagedFileError as error:
        for portion in folder.ranges():
            with contextlib.suppress(DamagedFileError, FileNotFoundError):
                return order_in(folder.chunk_path(portion))
        raise DamagedFileError(
            f"{error}; remove the folder {folder.name!r}, of which nothing is left, and run again"
        ) from error


def check_order(name: str, stored: Order, wanted: Order) -> None:
    """Refuse a run that is not the one of a store.

    Raises
    ------
    StoreError
        Saying in what they differ.
    """
    found = differences(stored, wanted)
    if found:
        whose = "another scan" if isinstance(stored, ScanOrder) else "another run"
        raise StoreError(
            f"the store {name!r} holds {stored.things} of {whose}: {'; '.join(found)}. Give the "
            "same arguments to go on with it, or another store"
        )


def fill_unlocked(path: str | os.PathLike[str], order: Order, gatherer: Gathering) -> list[Range]:
    """Take a run from a store that has all of it: without a lock, also where nothing may change.

    Returns what was taken: nothing where something is missing, less than all where something turns
    out to be damaged.
    """
    folder, wanted = Folder(path), Range(gatherer.first, gatherer.last)
    taken: list[Range] = []
    try:
        if folder.read_manifest().order != order:
            return []
    except DamagedFileError:
        return []
    stored = folder.ranges()
    if missing(stored, wanted, order.unit):
        return []
    for one in usable(stored, wanted, order.unit):
        try:
            arrays = read_chunk(folder.chunk_path(one), order, one)
        except (DamagedFileError, FileNotFoundError):
            return taken
        gatherer.add(rows_of(order, arrays, one, wanted))
        taken.append(one)
    return taken


class StoreWriter:
    """A store with its lock, for one run.

    Parameters
    ----------
    path : str or path-like
        The folder; made if it is not there.
    order : Order
        The job.

    Raises
    ------
    StoreError
        If the store is of another run (the message says in what), or the folder is no store.
    StoreLockedError
        If another run writes to it.
    StoreWriteError
        If the folder cannot be written to.
    """

    def __init__(self, path: str | os.PathLike[str], order: Order) -> None:
        self._folder, self._order, self._unit = Folder(path), order, order.unit
        self.name = self._folder.name
        self._stored_order()
        try:
            self._folder.create()
            self._lock = Lock(self._folder.path)
        except OSError as error:
            raise self._cannot_write(error, 0) from error
        try:
            self._begin()
        except BaseException:
            self._lock.release()
            raise
        self._stored = self._folder.ranges()
        self._queue: queue.Queue[tuple[Range, Portion, float] | None] = queue.Queue(_QUEUE)
        self._failure: StoreWriteError | None = None
        self._put_at = time.monotonic()
        # Seconds of the processor that the last portion took to write.
        self.seconds_per_portion = 0.0
        self._thread = threading.Thread(
            target=self._write_portions, name="gillespy_lite store", daemon=True
        )
        self._thread.start()

    def _stored_order(self) -> AnyOrder | None:
        found = stored_order(self._folder.path)
        if found is not None:
            check_order(self.name, found, self._order)
        return found

    def _begin(self) -> None:
        folder = self._folder
        found = self._stored_order()
        try:
            folder.remove_leavings()
            try:
                folder.read_manifest()
            except DamagedFileError as error:
                if found is not None:
                    warnings.warn(
                        f"{error}; it is written again, as the chunks say whose they are",
                        StoreWarning,
                        stacklevel=2,
                    )
                folder.write_manifest(self._order)
        except OSError as error:
            raise self._cannot_write(error, 0) from error

    # Reading -------------------------------------------------------------------------------------

    def missing(self, first: int, last: int) -> list[Range]:
        """Return what of first, ..., last - 1 has to be computed.

        Ranges (first, last + 1) of whole blocks of statistics, or parts of one block.
        """
        return missing(self._stored, Range(first, last), self._unit)

    def fill(self, gatherer: Gathering, taken: Iterable[Range] = ()) -> list[Range]:
        """Give what is stored of a job to its gatherer; return what is missing.

        What was `taken` before is left out. Damaged chunks are removed with a warning, and are
        missing then.

        Raises
        ------
        StoreError
            If a chunk belongs to another run.
        OSError
            If a chunk cannot be read.
        """
        wanted = Range(gatherer.first, gatherer.last)
        taken = list(taken)
        for one in usable(self._stored, wanted, self._unit):
            if any(one.overlap(other) for other in taken):
                continue
            path = self._folder.chunk_path(one)
            try:
                arrays = read_chunk(path, self._order, one)
            except DamagedFileError as error:
                warnings.warn(
                    f"{error}; it is removed, and {self._order.things} {one.first} to "
                    f"{one.last - 1} are computed again",
                    StoreWarning,
                    stacklevel=2,
                )
                path.unlink(missing_ok=True)
                self._stored.remove(one)
                continue
            gatherer.add(rows_of(self._order, arrays, one, wanted))
            taken.append(one)
        if self._unit is None:
            return gaps(wanted, taken)
        edges = {edge for one in self._stored for edge in one if edge % self._unit == 0}
        return [piece for gap in gaps(wanted, taken) for piece in cut(gap, self._unit, edges)]

    # Writing -------------------------------------------------------------------------------------

    def put(self, first: int, last: int, portion: Portion) -> None:
        """Store first, ..., last - 1; all must be finished.

        Returns before it is written; the arrays must not change. What is stored already is left
        out. Any thread may call it.

        Raises
        ------
        StoreWriteError
            If this or an earlier portion could not be written.
        ValueError
            If the portion is not what its range says, or its statistics could not be used again
            when the run is extended.
        """
        self.check()
        new, unit = Range(first, last), self._unit
        sizes = portion["indices" if unit is None else "sizes"]
        n = sizes.size if unit is None else int(sizes.sum())
        if n != new.n or n == 0:
            things = self._order.things
            raise ValueError(f"the portion of {new.n} {things} from {first} on holds {n}")
        if unit is not None and len(cut(new, unit)) > 1:
            raise ValueError(
                f"statistics of trajectories {first} to {last - 1} are neither whole blocks of "
                f"{unit} nor part of one"
            )
        now = time.monotonic()
        seconds, self._put_at = now - self._put_at, now
        self._queue.put((new, self._order.without_what_follows(portion), seconds))

    def copy(self, source: Folder, portion: Range) -> None:
        """Copy a chunk of another store of the same run, after it was checked.

        Raises
        ------
        DamagedFileError
            If it is damaged.
        StoreWriteError
            If it cannot be written.
        """
        path = source.chunk_path(portion)
        read_chunk(path, self._order, portion)
        contents = path.read_bytes()
        try:
            with replacing(self._folder.chunk_path(portion)) as file:
                file.write(contents)
        except OSError as error:
            raise self._cannot_write(error, len(contents)) from error
        self._stored = sorted([*self._stored, portion])

    def check(self) -> None:
        """Raise the error of a portion that could not be written."""
        if self._failure is not None:
            raise self._failure

    def n_stored(self, first: int, last: int) -> int:
        """Return how many of first, ..., last - 1 the store has, written ones only."""
        wanted = Range(first, last)
        overlaps = (one.overlap(wanted) for one in usable(list(self._stored), wanted, self._unit))
        return sum(one.n for one in overlaps if one)

    def flush(self) -> None:
        """Return when all is written that was put.

        Raises
        ------
        StoreWriteError
            If something could not be written.
        """
        while self._queue.unfinished_tasks and self._thread.is_alive():
            with self._queue.all_tasks_done:
                # Not for ever, so that Ctrl-C arrives on every system.
                self._queue.all_tasks_done.wait(0.2)
        self.check()

    def close(self) -> None:
        """Write what was put and give up the lock."""
        try:
            self._queue.put(None)
            while self._thread.is_alive():
                self._thread.join(0.2)
        finally:
            self._lock.release()

    def __enter__(self) -> StoreWriter:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _write_portions(self) -> None:
        while (task := self._queue.get()) is not None:
            portion, arrays, seconds = task
            before = time.thread_time()
            if self._failure is None:
                self._write(portion, arrays, seconds)
            self.seconds_per_portion = time.thread_time() - before
            del task, arrays
            self._queue.task_done()

    def _write(self, portion: Range, arrays: Portion, seconds: float) -> None:
        overlapping = [one for one in self._stored if one.overlap(portion)]
        contained = [one for one in overlapping if portion.holds(one)]
        if any(one.holds(portion) for one in overlapping) or contained != overlapping:
            return  # computed once more for a run that could not use what there is
        needed = 0
        try:
            small = {name: narrowed(array) for name, array in arrays.items()}
            needed = sum(array.nbytes for array in small.values())
            # Where trajectories cost much time per byte, to make them smaller costs nothing.
            compressed = needed < seconds * _SHARE_FOR_COMPRESSION * _COMPRESSED_BYTES_PER_SECOND
            path = self._folder.chunk_path(portion)
            write_chunk(path, self._order, portion, small, compressed=compressed)
        except OSError as error:
            self._failure = self._cannot_write(error, needed)
            return
        except BaseException as error:
            self._failure = StoreWriteError(f"cannot write to the store {self.name!r}: {error}")
            self._failure.__cause__ = error
            return
        # Parts of a block of statistics that is whole now.
        for one in contained:
            with contextlib.suppress(OSError):
                self._folder.chunk_path(one).unlink(missing_ok=True)
        self._stored = sorted([*(one for one in self._stored if one not in contained), portion])

    def _cannot_write(self, error: OSError, needed: int) -> StoreWriteError:
        needs = f", where {shown_size(needed)} are needed" if needed else ""
        with contextlib.suppress(OSError):
            free = shutil.disk_usage(_existing(self._folder)).free
            needs += f"{' and' if needs else ', where'} {shown_size(free)} are free"
        failure = StoreWriteError(
            f"cannot write to the store {self.name!r}: {error.strerror or error}{needs}. What was "
            "stored before is whole; make room, or the folder writable, and run the same call "
            "again to go on from there"
        )
        failure.errno = error.errno
        failure.__cause__ = error
        return failure


def _existing(folder: Folder) -> Any:
    path = folder.path.absolute()
    while not path.exists() and path != path.parent:
        path = path.parent
    return path


def rows_of(order: Order, arrays: Portion, portion: Range, wanted: Range) -> Portion:
    """Return the rows of a portion that are wanted, where it has rows."""
    if order.unit is not None or wanted.holds(portion):
        return arrays
    within = portion.overlap(wanted)
    assert within is not None
    rows = slice(within.first - portion.first, within.last - portion.first)
    return {name: array[rows] for name, array in arrays.items()}
