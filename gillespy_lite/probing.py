"""Values of expressions, taken from trajectories before these are forgotten.

A column is an expression at one sampling time, as plain data: its text, and the row of the times.
Text is what workers and stores get, so it is what everybody evaluates.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .dsl import parse_expression
from .expressions import Expression
from .gathering import Portion, Statistics, block_size, part_of
from .kernels.arrays import Output
from .run_plan import RunPlan, is_complete

__all__ = [
    "Columns",
    "Probe",
    "ProbedStatistics",
    "ProbedValues",
    "StatisticsInParts",
    "values_in",
]

Columns = tuple[tuple[str, int], ...]
FloatArray = NDArray[np.float64]


class Probe:
    """Computes the values of expressions at some of the sampling times.

    Parameters
    ----------
    plan : RunPlan
        What is recorded.
    columns : sequence of (str, int)
        Expressions of what the network declares, and rows of the times.

    Raises
    ------
    ValueError
        If something is needed that is not recorded.
    """

    def __init__(self, plan: RunPlan, columns: Sequence[tuple[str, int]]) -> None:
        self.columns: Columns = tuple(columns)
        self._times = plan.times
        network = plan.network
        self._parameters: dict[str, Any] = dict(
            zip(network.parameter_names, network.parameter_values.tolist(), strict=True)
        )
        # A name, and whether it is a column of the counts or of the values.
        self._recorded = {
            **{name: (True, i) for i, name in enumerate(plan.species)},
            **{name: (False, i) for i, name in enumerate(plan.observables)},
        }
        self._wanted = [
            (self._readable(plan, parse_expression(text)), row) for text, row in columns
        ]
        self.n_columns = len(self._wanted)

    def _readable(self, plan: RunPlan, expression: Expression) -> Expression:
        """Return an expression of what is recorded, or say what is missing."""
        known = {*self._recorded, *self._parameters, "t"}
        network = plan.network
        # Observables that are recorded are read; the others are worked out.
        definitions = {
            one.name: network.expanded(one.expression)
            for one in network.observables
            if one.name not in self._recorded
        }
        tree = expression.substitute(definitions)
        tree = network.expanded(tree) if not tree.symbols() <= known else tree
        missing = sorted(name for name in tree.symbols() if name in network.state_names)
        missing = [name for name in missing if name not in self._recorded]
        if missing:
            raise ValueError(
                f"until= needs {missing[0]!r} for '{expression}', and outputs= leaves it out; add "
                "it there"
            )
        return tree

    def values(self, output: Output | Mapping[str, NDArray[Any]]) -> FloatArray:
        """Return the values of all rows of an output, shape (n_rows, n_columns)."""
        if isinstance(output, Output):
            counts, values = output.counts, output.values
        else:
            counts, values = output["counts"], output["values"]
        result = np.empty((counts.shape[0], self.n_columns))
        for column, (expression, row) in enumerate(self._wanted):
            known = {**self._parameters, "t": float(self._times[row])}
            for name in expression.symbols():
                if name in self._recorded:
                    is_count, place = self._recorded[name]
                    known[name] = (counts if is_count else values)[:, row, place]
            result[:, column] = expression.evaluate(known)
        return result


class ProbedValues:
    """Keeps the probed values of trajectories first, ..., last - 1, and forgets the trajectories.

    Parameters
    ----------
    plan : RunPlan
    probe : Probe
    first, last : int
    values, done : ndarray, optional
        Where they are kept, (n, n_columns) float64, and which are there, (n,) bool.
    """

    unit = 1
    is_in_place = False

    def __init__(
        self,
        plan: RunPlan,
        probe: Probe,
        first: int,
        last: int,
        values: FloatArray | None = None,
        done: NDArray[np.bool_] | None = None,
    ) -> None:
        self._plan, self._probe, self.first, self.last = plan, probe, first, last
        n = last - first
        self.values = np.full((n, probe.n_columns), np.nan) if values is None else values
        self._done = np.zeros(n, dtype=bool) if done is None else done
        self._block = block_size(plan.times.size, max(1, len(plan.species) + len(plan.observables)))
        self._buffers: dict[int, Output] = {}

    def rows_at_once(self, n: int, n_threads: int) -> int:
        """Return how many trajectories to run before they are taken."""
        return max(1, min(self._block, -(-n // n_threads)))

    def rows(self, first: int, last: int) -> Output:
        """Return a buffer of this thread for trajectories first, ..., last - 1."""
        thread, rows = threading.get_ident(), last - first
        buffer = self._buffers.get(thread)
        if buffer is None or buffer.outcome.size < rows:
            buffer = self._buffers[thread] = self._plan.output(rows)
        buffer.outcome[:] = 0
        return part_of(buffer, 0, rows)

    def take(self, worker: int, first: int, output: Output) -> None:
        """Take the values of the finished rows, the first of which is trajectory `first`."""
        place = slice(first - self.first, first - self.first + output.outcome.size)
        # Rows that are not finished hold what was there before.
        self.values[place] = self._probe.values(output)
        self._done[place] = is_complete(output.outcome)

    def n_complete(self) -> int:
        """Return how many trajectories are finished."""
        return int(np.count_nonzero(self._done))

    def finished(self, first: int, last: int) -> NDArray[np.bool_]:
        """Return which of trajectories first, ..., last - 1 are finished."""
        return self._done[first - self.first : last - self.first]

    def beginning(self) -> FloatArray:
        """Return the values of the trajectories before the first that is not finished."""
        return self.values if self._done.all() else self.values[: int(np.argmin(self._done))]

    def portion(self) -> Portion:
        """Return ``indices`` (n,) int64 and ``probed`` (n, n_columns) float64 of the finished."""
        rows = np.flatnonzero(self._done)
        return {"indices": self.first + rows, "probed": self.values[rows]}

    def add(self, portion: Mapping[str, np.ndarray]) -> None:
        """Take the values of trajectories that were finished elsewhere."""
        rows = portion["indices"] - self.first
        fits = (rows >= 0) & (rows < self.last - self.first)
        self.values[rows[fits]] = portion["probed"][fits]
        self._done[rows[fits]] = True

    def part(self, first: int, last: int) -> ProbedValues:
        """Return those of trajectories first, ..., last - 1, in the place of these."""
        place = slice(first - self.first, last - self.first)
        return ProbedValues(
            self._plan, self._probe, first, last, self.values[place], self._done[place]
        )


class ProbedStatistics(Statistics):
    """Statistics that leave the probed values of their trajectories behind."""

    def __init__(
        self, plan: RunPlan, probe: Probe, first: int, last: int, *, n_threads: int, n_bins: int
    ) -> None:
        super().__init__(plan, first, last, n_threads=n_threads, n_bins=n_bins)
        self._probe = probe
        self.probed = ProbedValues(plan, probe, first, last)

    def take(self, worker: int, first: int, output: Output) -> None:
        """Take the finished rows, the first of which is trajectory `first`."""
        self.probed.take(worker, first, output)
        super().take(worker, first, output)

    def portion(self) -> Portion:
        """Return the statistics, and ``probed_indices`` and ``probed`` of the finished."""
        return {**super().portion(), **_renamed(self.probed.portion())}

    def add(self, portion: Mapping[str, np.ndarray]) -> None:
        """Take trajectories that were finished elsewhere."""
        super().add(portion)
        self.probed.add(values_in(portion))

    def part(self, first: int, last: int) -> ProbedStatistics:
        """Return a gatherer for trajectories first, ..., last - 1 of these."""
        return ProbedStatistics(
            self._plan, self._probe, first, last, n_threads=self._n_threads, n_bins=self._n_bins
        )


def _renamed(values: Portion) -> Portion:
    # Statistics may have indices of their own, of trajectories with a hitting time.
    return {"probed_indices": values["indices"], "probed": values["probed"]}


def values_in(portion: Mapping[str, np.ndarray]) -> Portion:
    """Return what `ProbedValues` takes of a portion of `ProbedStatistics`."""
    return {"indices": portion["probed_indices"], "probed": portion["probed"]}


class StatisticsInParts:
    """Shares trajectories out among statistics of one range after the other.

    What comes from beyond the number at which a run turns out to end is in parts of its own then,
    and can be left out.
    """

    is_in_place = False

    def __init__(self, parts: Sequence[ProbedStatistics]) -> None:
        self.parts = list(parts)
        self.first, self.last = parts[0].first, parts[-1].last
        self.unit = parts[0].unit

    def rows(self, first: int, last: int) -> Output:
        """Return a buffer of this thread for trajectories first, ..., last - 1."""
        return self.parts[0].rows(first, last)

    def rows_at_once(self, n: int, n_threads: int) -> int:
        """Return how many trajectories to run in lanes before they are taken."""
        return self.parts[0].rows_at_once(n, n_threads)

    def take(self, worker: int, first: int, output: Output) -> None:
        """Take the finished rows, the first of which is trajectory `first`."""
        last = first + output.outcome.size
        for part in self.parts:
            start, end = max(first, part.first), min(last, part.last)
            if start < end:
                part.take(worker, start, part_of(output, start - first, end - first))

    def n_complete(self) -> int:
        """Return how many trajectories are finished."""
        return sum(part.n_complete() for part in self.parts)

    def add(self, portion: Mapping[str, np.ndarray]) -> None:
        """Take trajectories that were finished elsewhere: of one part."""
        indices = portion["probed_indices"]
        if indices.size:
            next(one for one in self.parts if indices[0] < one.last).add(portion)
