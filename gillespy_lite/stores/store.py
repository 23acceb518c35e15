"""A store as it is read: its run, what is there, and the trajectories, all or piece by piece."""

from __future__ import annotations

import dataclasses
import os
import time
import warnings
from collections.abc import Iterator, Sequence

import numpy as np

from ..errors import DamagedFileError, StoreError, StoreWarning
from ..memory import available_memory, require_memory
from ..methods import METHODS
from ..probing_jobs import ValueOrder
from ..progress import Progress, reporter
from ..results import Ensemble, EnsembleStatistics
from ..run_orders import RunOrder
from ..run_plan import RunPlan, check_timeout
from ..scan_orders import ScanOrder
from ..version import STREAM_VERSION
from .contents import StoreContents, lines_of_run, wanted_range
from .folder import Folder, Manifest
from .ranges import Range, gaps, missing, outermost, shown, usable
from .scan_store import ScanStore
from .writing import rows_of, stored_order

__all__ = ["Store", "open_store"]

_MOST_BYTES_OF_A_PIECE = 2**30


def open_store(path: str | os.PathLike[str]) -> Store | ScanStore:
    """Open a store for reading, also while a run writes to it.

    Parameters
    ----------
    path : str or path-like
        The folder that was given as ``store=``.

    Returns
    -------
    Store or ScanStore
        What is in it, of an ensemble or a scan; nothing but the manifest and the names of the files
        is read yet.

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
        if isinstance(order, ScanOrder):
            raise DamagedFileError(
                f"{error}, and with it the values of the sets. Run into the store again: the same "
                f"call scan(..., store={folder.name!r}) writes it again and keeps all that is there"
            ) from error
        warnings.warn(
            f"{error}; whose trajectories these are was read from a chunk. The next run into the "
            "store writes it again",
            StoreWarning,
            stacklevel=2,
        )
        manifest = Manifest(order, "unknown", "unknown")
    if isinstance(manifest.order, ScanOrder):
        return ScanStore(folder, manifest)
    if isinstance(manifest.order, ValueOrder):
        raise StoreError(
            f"{folder.name!r} holds what a run with until= looked at; open the store in which it "
            f"lies, {os.fspath(folder.path.parent.parent)!r}"
        )
    return Store(folder, manifest)


class Store(StoreContents):
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

    order: RunOrder

    @property
    def keeps_trajectories(self) -> bool:
        """Whether trajectories are stored; else only statistics of them are."""
        return self.order.histogram_bins is None

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
        return self._missing(wanted_range(n, first))

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
        wanted, unit = wanted_range(n, first), self.order.unit
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

        wanted, order = wanted_range(n, first), self.order
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

    def _kept(self) -> str:
        return "trajectories" if self.keeps_trajectories else "statistics of trajectories"

    def _lines_of_job(self) -> list[str]:
        return lines_of_run(self.order)
