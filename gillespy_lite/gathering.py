"""What becomes of finished trajectories: all of them kept, or reduced to statistics.

A gatherer belongs to a contiguous range of the trajectories of one run, a portion. `portion()`
gives what it has as plain arrays, which can be written to a file or sent to another process, and
`add` takes them. Put together from portions in any order, a result is the same to the last bit.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np

from .kernels.arrays import Output
from .kernels.statistics import add_to_histograms
from .kernels.walking import COMPLETE
from .memory import require_memory
from .moment_tree import BlockTree, Moments, block_moments
from .results import Ensemble, EnsembleStatistics
from .run_plan import RunPlan, is_complete

__all__ = [
    "Gatherer",
    "Gathering",
    "InPlace",
    "Paths",
    "Portion",
    "Statistics",
    "Taker",
    "block_size",
    "cut_short_by",
    "part_of",
    "place_of",
]

# Arrays by name, int64 or float64; see `Paths.portion` and `Statistics.portion`.
Portion = dict[str, np.ndarray]


class Taker(Protocol):
    """Takes trajectories among first, ..., last - 1 of a run from the threads that run them."""

    first: int
    last: int
    # Trajectories are handed out in whole multiples of so many, counted from trajectory 0.
    unit: int
    # Whether `rows` gives places in the result, so that all of them can be written at once.
    is_in_place: bool

    def rows(self, first: int, last: int) -> Output:
        """Return where trajectories first, ..., last - 1 are to be written."""

    def rows_at_once(self, n: int, n_threads: int) -> int:
        """Return how many trajectories to run in lanes before they are taken."""

    def take(self, worker: int, first: int, output: Output) -> None:
        """Take the finished rows of what `rows` returned, the first of which is `first`."""


class Countable(Protocol):
    """Knows how many of first, ..., last - 1 are finished."""

    first: int
    last: int

    def n_complete(self) -> int:
        """Return how many are finished."""


class Gathering(Countable, Protocol):
    """Has what is finished of the trajectories, or of the sets, first, ..., last - 1."""

    # Portions end at whole multiples of so many, counted from 0, or where all ends.
    unit: int

    def portion(self) -> Portion:
        """Return what is finished as plain arrays."""

    def add(self, portion: Mapping[str, np.ndarray]) -> None:
        """Take what was finished elsewhere."""

    def part(self, first: int, last: int) -> Gathering:
        """Return a gathering for first, ..., last - 1 of these.

        What it has is to be added to this one, unless it lies in its place.
        """


class InPlace(Gathering, Protocol):
    """Has a row for each, which stays where it is once it is finished."""

    def finished(self, first: int, last: int) -> np.ndarray:
        """Return which of first, ..., last - 1 are finished, bool."""

    def part(self, first: int, last: int) -> InPlace:
        """Return a gathering for first, ..., last - 1, in the place of these rows."""


class Gatherer(Taker, Gathering, Protocol):
    """Takes the trajectories first, ..., last - 1 of a run, and has them."""

    def result(self, stopped: str | None) -> Any:
        """Return the finished trajectories as the result of the run."""


def place_of(rows: np.ndarray) -> np.ndarray | slice:
    """Return rows as a slice if they are neighbours, which are copied in one go."""
    if rows.size and rows[-1] - rows[0] == rows.size - 1 and bool((np.diff(rows) == 1).all()):
        return slice(int(rows[0]), int(rows[-1]) + 1)
    return rows


def cut_short_by(stopped: str | None, gatherer: Countable) -> str | None:
    """Return what cut work short, given what stopped it: None if only the time limit did, too late.

    The time may be up just when the last trajectory is finished.
    """
    is_whole = gatherer.n_complete() == gatherer.last - gatherer.first
    return None if stopped == "timeout" and is_whole else stopped


def part_of(output: Output, first: int, last: int) -> Output:
    """Return the rows first, ..., last - 1 of an output."""
    return output._replace(
        counts=output.counts[first:last],
        values=output.values[first:last],
        outcome=output.outcome[first:last],
        hitting_time=output.hitting_time[first:last],
        n_events=output.n_events[first:last],
    )


def block_size(n_times: int, n_columns: int) -> int:
    """Return how many trajectories statistics take together."""
    return max(1, min(256, 2**22 // (8 * n_times * n_columns)))


class Paths:
    """Keeps every trajectory."""

    unit = 1  # a row is its own unit of work
    is_in_place = True

    def __init__(self, plan: RunPlan, first: int, last: int, output: Output | None = None) -> None:
        self._plan, self.first, self.last = plan, first, last
        if output is None:
            n, n_columns = last - first, len(plan.species) + len(plan.observables)
            require_memory(
                8 * n * (plan.times.size * n_columns + 3),
                "ask for statistics=True (memory does not grow with n), fewer outputs=, fewer "
                "sampling times, or fewer trajectories; or keep them on disk only, with "
                "open_store(path).extend(n), and read them by pieces",
            )
            output = plan.output(n)
        self._output = output

    def rows(self, first: int, last: int) -> Output:
        """Return where trajectories first, ..., last - 1 are to be written."""
        return part_of(self._output, first - self.first, last - self.first)

    def rows_at_once(self, n: int, n_threads: int) -> int:
        """Return how many trajectories to run in lanes before they are taken."""
        return n

    def take(self, worker: int, first: int, output: Output) -> None:
        """Nothing to do: the rows are in place."""

    def n_complete(self) -> int:
        """Return how many trajectories are finished."""
        return int(is_complete(self._output.outcome).sum())

    def finished(self, first: int, last: int) -> np.ndarray:
        """Return which of trajectories first, ..., last - 1 are finished, bool."""
        return is_complete(self._output.outcome[first - self.first : last - self.first])

    def portion(self) -> Portion:
        """Return the finished trajectories.

        Returns
        -------
        dict
            ``indices`` (n,) int64, numbers of the trajectories; ``counts`` (n, n_times, n_species)
            int64; ``values`` (n, n_times, n_observables) float64; ``hitting_times`` (n,) float64;
            ``n_events`` (n,) int64. Views of this gatherer's arrays where all are finished.
        """
        output = self._output
        complete = is_complete(output.outcome)
        rows = np.flatnonzero(complete)
        chosen = slice(None) if complete.all() else rows
        return {
            "indices": self.first + rows,
            "counts": output.counts[chosen],
            "values": output.values[chosen],
            "hitting_times": output.hitting_time[chosen],
            "n_events": output.n_events[chosen],
        }

    def add(self, portion: Mapping[str, np.ndarray]) -> None:
        """Take trajectories that were finished elsewhere."""
        output, place = self._output, place_of(portion["indices"] - self.first)
        for mine, name in (
            (output.counts, "counts"),
            (output.values, "values"),
            (output.hitting_time, "hitting_times"),
            (output.n_events, "n_events"),
        ):
            mine[place] = portion[name]
        output.outcome[place] = COMPLETE

    def part(self, first: int, last: int) -> Paths:
        """Return a gatherer for trajectories first, ..., last - 1, in the place of these rows."""
        return Paths(self._plan, first, last, self.rows(first, last))

    def result(self, stopped: str | None) -> Ensemble:
        """Return the finished trajectories."""
        plan, portion = self._plan, self.portion()
        return Ensemble(
            times=plan.times,
            species=plan.species,
            observables=plan.observables,
            network=plan.network,
            provenance=plan.provenance(),
            n_requested=self.last - self.first,
            stopped=stopped,
            precision=None,
            **portion,
        )


class Statistics:
    """Keeps moments and histograms of blocks of trajectories, and forgets the trajectories."""

    is_in_place = False

    def __init__(
        self, plan: RunPlan, first: int, last: int, *, n_threads: int, n_bins: int
    ) -> None:
        if n_bins % 2:
            raise ValueError(f"histogram_bins must be even, not {n_bins}")
        self._plan, self.first, self.last = plan, first, last
        self._n_threads, self._n_bins = n_threads, n_bins
        n = last - first
        n_times, n_species = plan.times.size, len(plan.species)
        k = n_species + len(plan.observables)
        # The blocks are a function of what is recorded alone, so that the sums are added in the
        # same order whatever the threads and chunks: results agree to the last bit.
        self.unit = block_size(n_times, k)
        depth = math.ceil(math.log2(n / self.unit + 1)) + n_threads
        moments = n_times * (k * k + 3 * k)
        bins = n_times * n_species * (n_bins + 1)
        # Of paths that wait to be reduced.
        buffered = self.unit if plan.engine.lanes is None else self.rows_at_once(n, n_threads)
        self._wants_hits = plan.options["stop_when"] is not None
        require_memory(
            8 * (moments * depth + n_threads * (bins + buffered * n_times * k))
            + (9 * n if self._wants_hits else 0),
            "ask for fewer sampling times, fewer outputs=, or fewer histogram_bins="
            + (
                ", or fewer trajectories (stop_when keeps a time of each)"
                if self._wants_hits
                else ""
            ),
        )
        self._tree: BlockTree[Moments] = BlockTree(self.unit)
        self._lock = threading.Lock()
        self._buffers: dict[int, Output] = {}
        self._bins = [np.zeros((n_times, n_species, n_bins), np.int64) for _ in range(n_threads)]
        self._widths = [np.ones((n_times, n_species), np.int64) for _ in range(n_threads)]
        self._hitting_times = np.full(n if self._wants_hits else 0, np.nan)
        self._complete = np.zeros(n if self._wants_hits else 0, dtype=bool)
        self._n_complete = 0

    def rows_at_once(self, n: int, n_threads: int) -> int:
        """Return how many trajectories to run in lanes before they are taken: whole units."""
        # Lanes stand idle at the end of each piece, so a piece should be long; 32 MB are enough.
        return self.unit * max(1, min(8, math.ceil(n / (n_threads * self.unit))))

    def rows(self, first: int, last: int) -> Output:
        """Return a buffer of this thread for trajectories first, ..., last - 1."""
        thread, rows = threading.get_ident(), last - first
        buffer = self._buffers.get(thread)
        if buffer is None or buffer.outcome.size < rows:
            buffer = self._buffers[thread] = self._plan.output(max(self.unit, rows))
        buffer.outcome[:] = 0
        return part_of(buffer, 0, rows)

    def take(self, worker: int, first: int, output: Output) -> None:
        """Reduce the finished rows, the first of which is trajectory `first`."""
        start, last = first, first + output.outcome.size
        while start < last:
            end = min(last, (start // self.unit + 1) * self.unit)
            self._take_block(worker, start, part_of(output, start - first, end - first))
            start = end

    def _take_block(self, worker: int, first: int, output: Output) -> None:
        complete = is_complete(output.outcome)
        chosen = np.flatnonzero(complete)
        if chosen.size == 0:
            return
        moments = block_moments(output.counts, output.values, chosen)
        add_to_histograms(output.counts, chosen, self._bins[worker], self._widths[worker])
        if self._wants_hits:
            place = slice(first - self.first, first - self.first + complete.size)
            self._hitting_times[place] = np.where(complete, output.hitting_time, np.nan)
            self._complete[place] = complete
        with self._lock:
            self._n_complete += chosen.size
            if chosen.size == self.unit:
                self._tree.add(first // self.unit, moments)
            else:
                self._tree.add_part(first, moments)

    def n_complete(self) -> int:
        """Return how many trajectories are finished."""
        return self._n_complete

    def portion(self) -> Portion:
        """Return the statistics of the finished trajectories.

        Returns
        -------
        dict
            Moments of m nodes of a `BlockTree`: ``levels``, ``blocks`` and ``sizes`` (m,) int64,
            the last in trajectories; ``means``, ``minima``, ``maxima`` (m, n_times, k) and
            ``comoments`` (m, n_times, k, k) float64. ``bin_counts`` (n_times, n_species, n_bins)
            and ``bin_widths`` (n_times, n_species) int64. With ``stop_when`` also ``indices`` and
            ``hitting_times`` (n,), of each trajectory.
        """
        plan, nodes = self._plan, self._tree.nodes()
        n_times, k = plan.times.size, len(plan.species) + len(plan.observables)
        bins, widths = _joined_histograms(self._bins, self._widths)
        portion = {
            "levels": np.array([level for level, _, _ in nodes], dtype=np.int64),
            "blocks": np.array([block for _, block, _ in nodes], dtype=np.int64),
            "sizes": np.array([one.n for _, _, one in nodes], dtype=np.int64),
            "means": np.array([one.means for *_, one in nodes]).reshape(-1, n_times, k),
            "comoments": np.array([one.comoments for *_, one in nodes]).reshape(-1, n_times, k, k),
            "minima": np.array([one.minima for *_, one in nodes]).reshape(-1, n_times, k),
            "maxima": np.array([one.maxima for *_, one in nodes]).reshape(-1, n_times, k),
            "bin_counts": bins,
            "bin_widths": widths,
        }
        if self._wants_hits:
            rows = np.flatnonzero(self._complete)
            portion["indices"] = self.first + rows
            portion["hitting_times"] = self._hitting_times[rows]
        return portion

    def add(self, portion: Mapping[str, np.ndarray]) -> None:
        """Take trajectories that were finished elsewhere."""
        with self._lock:
            for i, (level, block) in enumerate(
                zip(portion["levels"].tolist(), portion["blocks"].tolist(), strict=True)
            ):
                moments = Moments(
                    int(portion["sizes"][i]),
                    portion["means"][i],
                    portion["comoments"][i],
                    portion["minima"][i],
                    portion["maxima"][i],
                )
                if level < 0:
                    self._tree.add_part(block, moments)
                else:
                    self._tree.add(block, moments, level)
            self._bins[0], self._widths[0] = _joined_histograms(
                [self._bins[0], portion["bin_counts"]], [self._widths[0], portion["bin_widths"]]
            )
            if self._wants_hits:
                rows = portion["indices"] - self.first
                self._hitting_times[rows] = portion["hitting_times"]
                self._complete[rows] = True
            self._n_complete += int(portion["sizes"].sum())

    def part(self, first: int, last: int) -> Statistics:
        """Return a gatherer for trajectories first, ..., last - 1 of these."""
        return Statistics(self._plan, first, last, n_threads=self._n_threads, n_bins=self._n_bins)

    def result(self, stopped: str | None) -> EnsembleStatistics:
        """Return the statistics of the finished trajectories."""
        plan = self._plan
        n_times = plan.times.size
        k = len(plan.species) + len(plan.observables)
        moments = self._tree.total() or Moments.empty(n_times, k)
        bins, widths = _joined_histograms(self._bins, self._widths)
        return EnsembleStatistics(
            times=plan.times,
            species=plan.species,
            observables=plan.observables,
            n_trajectories=moments.n,
            means=moments.means,
            comoments=moments.comoments,
            minima=moments.minima,
            maxima=moments.maxima,
            bin_counts=bins,
            bin_widths=widths,
            hitting_times=self._hitting_times[self._complete],
            network=plan.network,
            provenance=plan.provenance(),
            n_requested=self.last - self.first,
            stopped=stopped,
        )


def _joined_histograms(
    bins: list[np.ndarray], widths: list[np.ndarray]
) -> tuple[np.ndarray, np.ndarray]:
    """Return the sum of histograms, each in the widest of the widths that occur at its place."""
    widest = np.maximum.reduce(widths)
    total = np.zeros_like(bins[0])
    for one, width in zip(bins, widths, strict=True):
        one = one.copy()
        width = width.copy()
        while (narrow := width < widest).any():
            half = one[narrow].reshape(-1, one.shape[-1] // 2, 2).sum(axis=-1)
            one[narrow] = np.concatenate([half, np.zeros_like(half)], axis=-1)
            width[narrow] *= 2
        total += one
    return total, widest
