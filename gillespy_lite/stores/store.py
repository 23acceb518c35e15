"""A store as it is read: its run, what is there, and the trajectories, all or piece by piece."""

from __future__ import annotations

import dataclasses
import os
import time
import warnings
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from ..errors import DamagedFileError, StoreError, StoreWarning
from ..gathering import Portion
from ..memory import available_memory, require_memory, shown_size
from ..methods import METHODS
from ..network import Network
from ..progress import Progress, reporter
from ..results import Ensemble, EnsembleStatistics
from ..results.summaries import Summary
from ..run_orders import RunOrder
from ..run_plan import RunPlan, check_timeout, check_whole
from ..version import STREAM_VERSION
from .chunks import read_chunk
from .folder import Folder, Manifest
from .ranges import Range, gaps, missing, outermost, shown, union, usable
from .writing import rows_of, stored_order, unit_of

__all__ = ["Store", "open_store"]

_MOST_BYTES_OF_A_PIECE = 2**30


def open_store(path: str | os.PathLike[str]) -> Store:
    """Open a store for reading, also while a run writes to it.

    Parameters
    ----------
    path : str or path-like
        The folder that was given as ``store=``.

    Returns
    -------
    Store
        What is in it; nothing but the manifest and the names of the files is read yet.

    Raises
    ------
    StoreError
        If there is no store, or one of a newer version than this package reads.
    DamagedFileError
        If neither the manifest nor any chunk can be read.
    """
    folder = Folder(path)
    folder.require()
    try:
        manifest = folder.read_manifest()
    except DamagedFileError as error:
        order = stored_order(path)
        assert order is not None  # otherwise it would not be there
        warnings.warn(
            f"{error}; whose trajectories these are was read from a chunk. The next run into the "
            "store writes it again",
            StoreWarning,
            stacklevel=2,
        )
        manifest = Manifest(order, "unknown", "unknown")
    return Store(folder, manifest)


class Store:
    """Trajectories, or statistics of them, that a run left in a folder.

    Made by `open_store`. What it shows is what is there at that moment; a run may add to it.
    ``for piece in store`` gives the chunks one by one as results, in memory that does not grow with
    the store.

    Attributes
    ----------
    path : str
        The folder.
    order : RunOrder
        What the trajectories depend on: network, times, method, options, entropy, outputs, ...
    created : str
        When, in UTC.
    written_by : str
        Package and version that made the store.
    """

    def __init__(self, folder: Folder, manifest: Manifest) -> None:
        self._folder = folder
        self.path = folder.name
        self.order: RunOrder = manifest.order
        self.created = manifest.created
        self.written_by = manifest.written_by

    # What is there -------------------------------------------------------------------------------

    @property
    def network(self) -> Network:
        """The network that was run."""
        return Network.parse(self.order.network_text)

    @property
    def keeps_trajectories(self) -> bool:
        """Whether trajectories are stored; else only statistics of them are."""
        return self.order.histogram_bins is None

    @property
    def chunks(self) -> list[tuple[int, int]]:
        """Trajectories (first, last + 1) of each file, in order."""
        return list(outermost(self._folder.ranges()))

    @property
    def ranges(self) -> list[tuple[int, int]]:
        """Trajectories (first, last + 1) that are there, in order, with gaps between."""
        return list(union(self._folder.ranges()))

    @property
    def n(self) -> int:
        """Number of trajectories that are there."""
        return sum(last - first for first, last in self.ranges)

    def __len__(self) -> int:
        """Return the number of trajectories that are there."""
        return self.n

    def missing(self, n: int, *, first: int = 0) -> list[tuple[int, int]]:
        """Return what ``ensemble(..., n, first=first, store=...)`` would have to compute.

        Parameters
        ----------
        n : int
            Number of trajectories.
        first : int, optional
            Number of the first.

        Returns
        -------
        list of (int, int)
            Trajectories (first, last + 1). Of statistics these can be more than those that are not
            there: a block that ended with the run is computed whole when the run is extended.
        """
        wanted = _wanted(n, first)
        return list(union(missing(self._folder.ranges(), wanted, unit_of(self.order))))

    def size(self) -> int:
        """Return the bytes that the chunks take on the disk."""
        return self._folder.size()

    def verify(self) -> list[str]:
        """Read every file and return what is wrong with it, a line for each; empty if nothing is.

        Also bytes that no reader would look at are checked. What is damaged is computed again by
        the next ``ensemble(..., store=)`` that needs it.
        """
        found = []
        try:
            self._folder.read_manifest()
        except DamagedFileError as error:
            found.append(str(error))
        for one in self._folder.ranges():
            try:
                read_chunk(self._folder.chunk_path(one), self.order, one)
            except FileNotFoundError:
                continue  # a run has put a longer one in its place
            except (DamagedFileError, StoreError, OSError) as error:
                found.append(str(error))
        return found

    # Reading -------------------------------------------------------------------------------------

    def load(self, n: int | None = None, *, first: int = 0) -> Ensemble | EnsembleStatistics:
        """Return the stored trajectories as a result.

        Parameters
        ----------
        n : int, optional
            Number of trajectories; by default all that are there, also with gaps between.
        first : int, optional
            Number of the first, where `n` is given.

        Returns
        -------
        Ensemble or EnsembleStatistics
            As `ensemble` returns it, of what is there; nothing is run.

        Raises
        ------
        StoreError
            If some of the `n` trajectories are not there.
        DamagedFileError
            If a chunk is damaged: run into the store again, which computes it again.
        NotEnoughMemoryError
            If the result would not fit into memory: iterate over the store instead.
        """
        portions = outermost(self._folder.ranges())
        if n is None:
            return self._assembled(portions, None)
        wanted, unit = _wanted(n, first), unit_of(self.order)
        chosen = usable(portions, wanted, unit)
        holes = gaps(wanted, chosen)
        if holes:
            raise StoreError(
                f"the store {self.path!r} does not have all of trajectories {wanted.first} to "
                f"{wanted.last - 1}: {shown(holes)} are missing; ensemble(..., store=) computes "
                "them"
            )
        return self._assembled(chosen, wanted)

    def __iter__(self) -> Iterator[Ensemble | EnsembleStatistics]:
        """Give the chunks one by one, each as a result of its own."""
        for one in outermost(self._folder.ranges()):
            yield self._assembled([one], None)

    def export(self, path: str | os.PathLike[str]) -> None:
        """Write what is there to a Zarr folder, or a netCDF, Parquet or CSV file.

        Parameters
        ----------
        path : str or path-like
            Ends in ``.zarr``, ``.nc``, ``.parquet`` or ``.csv``; see `export_store`.
        """
        from .exporting import export_store

        export_store(self, path)

    def _assembled(
        self, portions: Sequence[Range], wanted: Range | None
    ) -> Ensemble | EnsembleStatistics:
        if not portions:
            raise StoreError(f"the store {self.path!r} has no trajectory yet")
        # Where a path was run, and the streams of an older version, have no part in reading it.
        order = dataclasses.replace(self.order, stream_version=STREAM_VERSION)
        plan = dataclasses.replace(order.plan("table"), started=time.perf_counter())
        if self.keeps_trajectories:
            result = self._paths(plan, portions, wanted)
        else:
            result = self._statistics(plan, portions)
        version = self.written_by.removeprefix("gillespy_lite ")
        provenance = dataclasses.replace(
            result.provenance,
            stream_version=self.order.stream_version,
            package_version=version,
            method_reason="stored",
            engine="stored",
            engine_reason="the engine has no influence on the numbers, and is not stored",
        )
        return dataclasses.replace(result, provenance=provenance)

    def _paths(
        self, plan: RunPlan, portions: Sequence[Range], wanted: Range | None
    ) -> Ensemble | EnsembleStatistics:
        within = [one if wanted is None else one.overlap(wanted) for one in portions]
        n = sum(one.n for one in within if one is not None)
        n_columns = len(plan.species) + len(plan.observables)
        require_memory(
            8 * n * (plan.times.size * n_columns + 3),
            "read the store piece by piece ('for piece in store'), or some of it (load(n, first=))",
        )
        output = plan.output(n)
        mine = {
            "counts": output.counts,
            "values": output.values,
            "hitting_times": output.hitting_time,
            "n_events": output.n_events,
            "indices": np.empty(n, dtype=np.int64),
        }
        row = 0
        for one, kept in zip(portions, within, strict=True):
            assert kept is not None
            arrays = rows_of(self.order, self._read(one), one, kept)
            for name, array in mine.items():
                array[row : row + kept.n] = arrays[name]
            row += kept.n
        return Ensemble(
            times=plan.times,
            species=plan.species,
            observables=plan.observables,
            network=plan.network,
            provenance=plan.provenance(),
            n_requested=n,
            stopped=None,
            indices=mine["indices"],
            counts=mine["counts"],
            values=mine["values"],
            hitting_times=mine["hitting_times"],
            n_events=mine["n_events"],
        )

    def _statistics(self, plan: RunPlan, portions: Sequence[Range]) -> EnsembleStatistics:
        order = dataclasses.replace(self.order, stream_version=STREAM_VERSION)
        gatherer = order.gatherer(plan, portions[0].first, portions[-1].last, 1)
        for one in portions:
            gatherer.add(self._read(one))
        result = gatherer.result(None)
        assert isinstance(result, EnsembleStatistics)
        return dataclasses.replace(result, n_requested=gatherer.n_complete())

    def _read(self, portion: Range) -> Portion:
        try:
            return read_chunk(self._folder.chunk_path(portion), self.order, portion)
        except DamagedFileError as error:
            raise DamagedFileError(
                f"{error}. Run into the store again: ensemble(..., store={self.path!r}) computes "
                f"trajectories {portion.first} to {portion.last - 1} again and keeps all others"
            ) from error

    # Going on ------------------------------------------------------------------------------------

    def extend(
        self,
        n: int,
        *,
        first: int = 0,
        threads: int | None = None,
        progress: bool | Progress = False,
        timeout: float | None = None,
    ) -> None:
        """Run on until the store has `n` trajectories, in memory that does not grow with `n`.

        What ``ensemble(..., n, store=...)`` does, without a result: of kept trajectories no more
        than a piece is in memory at a time.

        Parameters
        ----------
        n : int
            Number of trajectories that the store will have, from `first` on.
        first : int, optional
            Number of the first.
        threads, progress, timeout : optional
            As for `ensemble`.

        Raises
        ------
        StoreError, StoreWriteError, SimulationError, Interrupted
            As for `ensemble`; what was finished is in the store.
        """
        from ..ensembles import ensemble

        wanted, order = _wanted(n, first), self.order
        if order.stream_version != STREAM_VERSION:
            order.plan()  # which refuses it
        deadline = time.monotonic() + check_timeout(timeout)
        report = reporter(progress, n, "store")
        done = n - sum(last - start for start, last in self.missing(n, first=first))
        for start, last in self._pieces(wanted):
            left = deadline - time.monotonic()
            if left <= 0.0:
                return

            def tell(now: float, total: float, before: int = done) -> None:
                report(before + now)

            ensemble(
                self.network,
                list(order.times),
                last - start,
                first=start,
                method=METHODS[order.method]().with_options(dict(order.options)),
                rng=order.entropy,
                threads=threads,
                progress=tell,
                statistics=not self.keeps_trajectories,
                histogram_bins=order.histogram_bins or 2,
                outputs=order.outputs,
                stop_when=order.stop_when,
                max_events=order.max_events,
                timeout=left if timeout is not None else None,
                store=self.path,
            )
            done += last - start
        report(n)

    def _pieces(self, wanted: Range) -> Iterator[Range]:
        """Give what is to be run at a time."""
        if not self.keeps_trajectories:
            yield wanted
            return
        room = min((available_memory() or 2**32) // 4, _MOST_BYTES_OF_A_PIECE)
        rows = max(1, room // (8 * (len(self.order.times) * len(self.order.outputs) + 3)))
        for hole in missing(self._folder.ranges(), wanted, None):
            for start in range(hole.first, hole.last, rows):
                yield Range(start, min(hole.last, start + rows))

    # Words ---------------------------------------------------------------------------------------

    def summary(self) -> str:
        """Return a plain-text description: whose trajectories these are, and which are there."""
        return "\n".join(self._lines())

    def _lines(self) -> list[str]:
        order, chunks = self.order, self._folder.ranges()
        kept = "trajectories" if self.keeps_trajectories else "statistics of trajectories"
        options = ", ".join(f"{name}={value!r}" for name, value in order.options)
        lines = [
            f"Store {self.path}: {kept}, {self.n} in {len(chunks)} files, "
            f"{shown_size(self.size())}",
            f"numbers {shown(union(chunks))}",
            f"t = {order.times[0]:g} to {order.times[-1]:g} at {len(order.times)} times",
            f"recorded {', '.join(order.outputs)}",
            f"method {order.method}{f' ({options})' if options else ''}",
            f"entropy {order.entropy}",
        ]
        if order.stop_when is not None:
            lines.append(f"stop_when {order.stop_when}")
        if order.max_events is not None:
            lines.append(f"max_events {order.max_events}")
        lines.append(
            f"written by {self.written_by}, random streams {order.stream_version}, {self.created}"
        )
        return lines

    def __repr__(self) -> str:
        """Return one line: where, and how much."""
        kept = "trajectories" if self.keeps_trajectories else "statistics of trajectories"
        return f"<Store {self.path!r}: {kept} {shown(union(self._folder.ranges()))}>"

    def _repr_html_(self) -> str:
        rows: list[tuple[Any, ...]] = [
            (f"{one.first} to {one.last - 1}", float(one.n)) for one in union(self._folder.ranges())
        ]
        return Summary(tuple(self._lines()), ("there", "trajectories"), rows[:20]).html()


def _wanted(n: int, first: int) -> Range:
    start = check_whole(first, "first", 0)
    return Range(start, start + check_whole(n, "n", 1))
