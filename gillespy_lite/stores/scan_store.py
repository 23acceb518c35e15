"""The store of a parameter scan as it is read: which of its sets are there, and their results."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from ..errors import StoreError
from ..memory import require_memory
from ..randomness import entropies_of_sets
from ..results import Provenance, Scan
from ..results.scan import whole_arrays
from ..scan_orders import ScanOrder
from .contents import StoreContents, lines_of_run, wanted_range
from .ranges import Range, gaps, outermost, shown, usable
from .writing import rows_of

__all__ = ["ScanStore"]


class ScanStore(StoreContents):
    """Sets of a parameter scan that were left in a folder.

    Made by `open_store`. What it shows is what is there at that moment; a scan may add to it.
    ``for piece in store`` gives the chunks one by one, each as the `Scan` of its sets, in memory
    that does not grow with the store.

    Attributes
    ----------
    path : str
        The folder.
    order : ScanOrder
        What the sets depend on: network, parameter table, times, method, options, entropy, ...
    created : str
        When, in UTC.
    written_by : str
        Package and version that made the store.
    """

    order: ScanOrder
    call = "scan"

    @property
    def n_sets(self) -> int:
        """Number of sets of the scan, there or not."""
        return self.order.n_sets

    def missing(self, n: int | None = None, *, first: int = 0) -> list[tuple[int, int]]:
        """Return what ``scan(..., store=...)`` would have to compute.

        Parameters
        ----------
        n : int, optional
            Number of sets; by default all from `first` on.
        first : int, optional
            Number of the first.

        Returns
        -------
        list of (int, int)
            Sets (first, last + 1).
        """
        return self._missing(self._wanted(n, first))

    def load(self, n: int | None = None, *, first: int = 0) -> Scan:
        """Return the stored sets as a result.

        Parameters
        ----------
        n : int, optional
            Number of sets; by default all that are there, also with gaps between.
        first : int, optional
            Number of the first, where `n` is given.

        Returns
        -------
        Scan
            That of the whole scan where all its sets are there and asked for; else a table of
            those that are. Nothing is run.

        Raises
        ------
        StoreError
            If some of the `n` sets are not there, or none is.
        DamagedFileError
            If a chunk is damaged: run into the store again, which computes it again.
        NotEnoughMemoryError
            If the result would not fit into memory: iterate over the store instead.
        """
        portions = outermost(self._folder.ranges())
        if n is None:
            return self._assembled(portions, portions)
        wanted = self._wanted(n, first)
        chosen = usable(portions, wanted, None)
        holes = gaps(wanted, chosen)
        if holes:
            raise StoreError(
                f"the store {self.path!r} does not have all of sets {wanted.first} to "
                f"{wanted.last - 1}: {shown(holes)} are missing; scan(..., store=) computes them"
            )
        within = [one.overlap(wanted) for one in chosen]
        return self._assembled(chosen, [one for one in within if one is not None])

    def __iter__(self) -> Iterator[Scan]:
        """Give the chunks one by one, each as the scan of its sets."""
        for one in outermost(self._folder.ranges()):
            yield self._assembled([one], [one])

    def _wanted(self, n: int | None, first: int) -> Range:
        wanted = wanted_range(self.n_sets - first if n is None else n, first)
        if wanted.last > self.n_sets:
            raise ValueError(
                f"the scan has {self.n_sets} sets, numbered from 0; {wanted.first} to "
                f"{wanted.last - 1} are not all among them"
            )
        return wanted

    def _assembled(self, portions: Sequence[Range], kept: Sequence[Range]) -> Scan:
        """Return the sets `kept` of some chunks."""
        if not portions:
            raise StoreError(f"the store {self.path!r} has no set yet")
        order, sets = self.order, self.order.sets
        assert sets is not None  # the manifest has them
        n_sets = sum(one.n for one in kept)
        arrays: dict[str, np.ndarray] = {}
        row = 0
        for one, within in zip(portions, kept, strict=True):
            rows = rows_of(order, self._read(one), one, within)
            if not arrays:
                # In memory numbers are wider than in the file.
                size = sum(8 * array[0].size for array in rows.values())
                require_memory(
                    n_sets * size,
                    "read the store piece by piece ('for piece in store'), or some of it "
                    "(load(n, first=))",
                )
                for name, array in rows.items():
                    dtype = np.float64 if array.dtype.kind == "f" else np.int64
                    arrays[name] = np.empty((n_sets, *array.shape[1:]), dtype=dtype)
            for name, array in rows.items():
                arrays[name][row : row + within.n] = array
            row += within.n
        indices = arrays.pop("indices")
        is_whole = n_sets == order.n_sets
        words = entropies_of_sets(order.entropy, 0, order.n_sets)[indices].astype(np.int64)
        network, run = self.network, order.run
        n_species = sum(name in network.species_names for name in run.outputs)
        provenance = Provenance(
            network=network,
            method=run.method,
            method_reason="stored",
            options={
                **dict(run.options),
                "stop_when": run.stop_when,
                "max_events": run.max_events,
            },
            entropy=order.entropy,
            stream_version=order.stream_version,
            package_version=self.written_by.removeprefix("gillespy_lite "),
            elapsed=0.0,
            engine="stored",
            engine_reason="the engine has no influence on the numbers, and is not stored",
        )
        return Scan(
            times=np.array(run.times),
            species=run.outputs[:n_species],
            observables=run.outputs[n_species:],
            names=order.names,
            points=sets.points[indices],
            shape=order.shape if is_whole else (n_sets,),
            is_grid=order.is_grid and is_whole,
            keep=order.keep,
            entropy_words=words[:0] if order.common_random_numbers else words,
            network=network,
            provenance=provenance,
            n_requested=order.n,
            stopped=None,
            **whole_arrays(arrays),
        )

    # Words ---------------------------------------------------------------------------------------

    def _kept(self) -> str:
        what = "paths" if self.order.keep == "paths" else "statistics"
        return f"{what} of sets"

    def _lines_of_job(self) -> list[str]:
        order = self.order
        shape = " x ".join(map(str, order.shape))
        sets = f"a grid of {shape} sets" if order.is_grid else f"a table of {shape} sets"
        common = ", with common random numbers" * order.common_random_numbers
        return [
            f"{sets} of {', '.join(order.names)}, {order.n} trajectories each{common}",
            *lines_of_run(order.run),
        ]
