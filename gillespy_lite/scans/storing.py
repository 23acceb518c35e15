"""What becomes of the finished sets of a scan: arrays with a row for each set.

A `SetStore` belongs to a contiguous range of sets, a portion. Every array of it has the sets along
its first axis, so portions are put together by writing their rows where they belong.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Self

import numpy as np

from ..gathering import Portion, place_of
from ..kernels.arrays import Output
from ..kernels.set_statistics import fill_set_moments, scratch_size
from ..kernels.statistics import add_to_histograms
from ..memory import require_memory
from ..moment_tree import BlockTree, Moments, block_moments
from ..results import Ensemble, EnsembleStatistics
from ..run_plan import RunPlan, is_complete

__all__ = ["SetPaths", "SetStatistics", "SetStore"]


class SetStore:
    """Arrays of the sets first, ..., last - 1, of `n` trajectories each."""

    unit = 1  # a set is its own unit of work
    n_bins = 0  # of histograms

    def __init__(self, plan: RunPlan, first: int, last: int, n: int) -> None:
        self.plan, self.first, self.last, self.n = plan, first, last, n
        self.arrays: dict[str, np.ndarray] = {"n_trajectories": np.zeros(last - first, np.int64)}
        # Set when all arrays of a set are written, for others to read.
        self._is_finished = np.zeros(last - first, dtype=bool)

    def buffer(self, first: int, last: int, spare: Output | None) -> Output:
        """Return where the rows of the sets first, ..., last - 1 are to be written.

        `spare` is what this thread was given before, if anything.
        """
        raise NotImplementedError

    def take(self, first: int, last: int, output: Output) -> None:
        """Take the finished rows of these sets."""
        raise NotImplementedError

    def take_result(self, j: int, result: Ensemble | EnsembleStatistics) -> None:
        """Take what an ordinary run of set `j` has given."""
        raise NotImplementedError

    def n_complete(self) -> int:
        """Return how many sets are finished."""
        return int(self._is_finished.sum())

    def n_trajectories(self) -> int:
        """Return how many trajectories are finished."""
        return int(self.arrays["n_trajectories"].sum())

    def finished(self, first: int, last: int) -> np.ndarray:
        """Return which of the sets first, ..., last - 1 are finished, bool."""
        return self._is_finished[first - self.first : last - self.first].copy()

    def portion(self) -> Portion:
        """Return the sets of which something is finished.

        Returns
        -------
        dict
            ``indices`` (n_sets,) int64, numbers of the sets; the arrays of a `Scan`, each (n_sets,
            ...), int64 or float64. Views of these where no set is left out.
        """
        rows = np.flatnonzero(self.arrays["n_trajectories"])
        chosen = slice(None) if rows.size == self.last - self.first else rows
        arrays = {name: array[chosen] for name, array in self.arrays.items()}
        return {"indices": self.first + rows, **arrays}

    def add(self, portion: Mapping[str, np.ndarray]) -> None:
        """Take sets that were run elsewhere."""
        place = place_of(portion["indices"] - self.first)
        for name, array in self.arrays.items():
            array[place] = portion[name]
        self._is_finished[place] = portion["n_trajectories"] == self.n

    def part(self, first: int, last: int) -> Self:
        """Return a store for the sets first, ..., last - 1, in the place of these rows."""
        part = copy.copy(self)
        rows = slice(first - self.first, last - self.first)
        part.first, part.last = first, last
        part.arrays = {name: array[rows] for name, array in self.arrays.items()}
        part._is_finished = self._is_finished[rows]
        return part

    def _note_finished(self, first: int, last: int) -> None:
        """Say that the arrays of these sets are written."""
        rows = slice(first - self.first, last - self.first)
        self._is_finished[rows] = self.arrays["n_trajectories"][rows] == self.n


class SetPaths(SetStore):
    """Keeps every trajectory."""

    def __init__(self, plan: RunPlan, first: int, last: int, n: int) -> None:
        super().__init__(plan, first, last, n)
        n_columns = len(plan.species) + len(plan.observables)
        require_memory(
            8 * (last - first) * n * (plan.times.size * n_columns + 3),
            "keep statistics (keep='statistics'), or ask for fewer outputs=, sampling times, "
            "trajectories or sets, or for some sets at a time (sets=, into one store=)",
        )
        self._output = plan.output((last - first) * n)
        shape = (last - first, n)
        self.arrays |= {
            "counts": self._output.counts.reshape(*shape, *self._output.counts.shape[1:]),
            "values": self._output.values.reshape(*shape, *self._output.values.shape[1:]),
            "hitting_times": self._output.hitting_time.reshape(shape),
            "n_events": self._output.n_events.reshape(shape),
            "complete": np.zeros(shape, dtype=np.int64),
        }

    def buffer(self, first: int, last: int, spare: Output | None) -> Output:
        """Return the rows themselves."""
        rows = slice((first - self.first) * self.n, (last - self.first) * self.n)
        output = self._output
        return output._replace(
            counts=output.counts[rows],
            values=output.values[rows],
            outcome=output.outcome[rows],
            hitting_time=output.hitting_time[rows],
            n_events=output.n_events[rows],
        )

    def part(self, first: int, last: int) -> Self:
        """Return a store for the sets first, ..., last - 1, in the place of these rows."""
        part = super().part(first, last)
        part._output = self.buffer(first, last, None)
        return part

    def take(self, first: int, last: int, output: Output) -> None:
        """Note which rows are finished: they are in place."""
        own = slice(first - self.first, last - self.first)
        complete = is_complete(output.outcome).reshape(-1, self.n)
        self.arrays["complete"][own] = complete
        self.arrays["n_trajectories"][own] = complete.sum(axis=1)
        self._note_finished(first, last)

    def take_result(self, j: int, result: Ensemble | EnsembleStatistics) -> None:
        """Take what an ordinary run of set `j` has given."""
        assert isinstance(result, Ensemble)
        arrays, own, rows = self.arrays, j - self.first, result.indices
        arrays["counts"][own, rows] = result.counts
        arrays["values"][own, rows] = result.values
        arrays["hitting_times"][own, rows] = result.hitting_times
        arrays["n_events"][own, rows] = result.n_events
        arrays["complete"][own, rows] = 1
        arrays["n_trajectories"][own] = rows.size
        self._note_finished(j, j + 1)


class SetStatistics(SetStore):
    """Keeps moments, and histograms if they are wanted, and forgets the trajectories."""

    def __init__(self, plan: RunPlan, first: int, last: int, n: int, n_bins: int) -> None:
        super().__init__(plan, first, last, n)
        self.n_bins = n_bins
        n_sets, n_times, n_species = last - first, plan.times.size, len(plan.species)
        k = n_species + len(plan.observables)
        wants_hits = plan.options["stop_when"] is not None
        n_histograms = n_species if n_bins else 0
        require_memory(
            8 * n_sets * n_times * (k * k + 3 * k + n_histograms * (n_bins + 1))
            + 16 * n_sets * n * wants_hits,
            "ask for fewer sampling times, outputs= or sets"
            + (", or no histograms (histogram_bins=0)" if n_bins else "")
            + (", or fewer trajectories (stop_when keeps a time of each)" if wants_hits else ""),
        )
        # As for the statistics of an ensemble, whose sums these are; see `gathering.Statistics`.
        self._unit = max(1, min(256, 2**22 // (8 * n_times * k)))
        self._scratch_size = scratch_size(n_times, k)
        self.arrays |= {
            "means": np.full((n_sets, n_times, k), np.nan),
            "comoments": np.zeros((n_sets, n_times, k, k)),
            "minima": np.full((n_sets, n_times, k), np.nan),
            "maxima": np.full((n_sets, n_times, k), np.nan),
            "bin_counts": np.zeros((n_sets, n_times, n_histograms, n_bins), dtype=np.int64),
            "bin_widths": np.ones((n_sets, n_times, n_histograms), dtype=np.int64),
        }
        if wants_hits:
            self.arrays["hitting_times"] = np.full((n_sets, n), np.nan)
            self.arrays["complete"] = np.zeros((n_sets, n), dtype=np.int64)

    def buffer(self, first: int, last: int, spare: Output | None) -> Output:
        """Return what is used again and again."""
        rows = (last - first) * self.n
        if spare is None or spare.outcome.size != rows:
            return self.plan.output(rows)
        spare.outcome[:] = 0
        return spare

    def take(self, first: int, last: int, output: Output) -> None:
        """Reduce the finished rows."""
        arrays, start, stop = self.arrays, first - self.first, last - self.first
        names = ("n_trajectories", "means", "comoments", "minima", "maxima")
        if self.n <= self._unit:
            fill_set_moments(
                output.counts.ravel(),
                output.values.ravel(),
                output.outcome,
                self.n,
                np.empty(self._scratch_size),
                *(arrays[name][start:stop] for name in names),
            )
        else:
            for own in range(start, stop):
                self._take_blocks(own, output, (own - start) * self.n)
        complete = is_complete(output.outcome).reshape(-1, self.n)
        if arrays["bin_counts"].size:
            for own in range(start, stop):
                chosen = (own - start) * self.n + np.flatnonzero(complete[own - start])
                bins, widths = arrays["bin_counts"][own], arrays["bin_widths"][own]
                add_to_histograms(output.counts, chosen, bins, widths)
        if "complete" in arrays:
            hits = output.hitting_time.reshape(-1, self.n)
            arrays["hitting_times"][start:stop] = np.where(complete, hits, np.nan)
            arrays["complete"][start:stop] = complete
        self._note_finished(first, last)

    def _take_blocks(self, own: int, output: Output, start: int) -> None:
        """Reduce the rows of a set of more than one block."""
        tree: BlockTree[Moments] = BlockTree(self._unit)
        complete = is_complete(output.outcome)
        for first in range(0, self.n, self._unit):
            rows = slice(start + first, start + min(first + self._unit, self.n))
            chosen = np.flatnonzero(complete[rows])
            if chosen.size == 0:
                continue
            moments = block_moments(output.counts[rows], output.values[rows], chosen)
            if chosen.size == self._unit:
                tree.add(first // self._unit, moments)
            else:
                tree.add_part(first, moments)
        total = tree.total()
        if total is None:
            return
        self.arrays["n_trajectories"][own] = total.n
        for name in ("means", "comoments", "minima", "maxima"):
            self.arrays[name][own] = getattr(total, name)

    def take_result(self, j: int, result: Ensemble | EnsembleStatistics) -> None:
        """Take what an ordinary run of set `j` has given."""
        assert isinstance(result, EnsembleStatistics)
        arrays, own = self.arrays, j - self.first
        for name in ("n_trajectories", "means", "comoments", "minima", "maxima"):
            arrays[name][own] = getattr(result, name)
        if arrays["bin_counts"].size:
            arrays["bin_counts"][own] = result.bin_counts
            arrays["bin_widths"][own] = result.bin_widths
        if "complete" in arrays:
            n = result.hitting_times.size
            # Where a run was cut short, it is not said which of its trajectories these are.
            arrays["hitting_times"][own, :n] = result.hitting_times
            arrays["complete"][own, :n] = 1
        self._note_finished(j, j + 1)
