"""Jobs whose portions come with the values of expressions, or are nothing else."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from .crews import Crew
from .errors import DamagedFileError
from .gathering import Portion
from .portion_jobs import TrajectoryJob
from .probing import Columns, Probe, ProbedStatistics, ProbedValues
from .run_orders import OrderOfRun, RunOrder, check_rows
from .run_plan import RunPlan

__all__ = ["ProbedJob", "ProbedOrder", "ValueJob", "ValueOrder"]

_MOST_WHOLE = 2.0**53


@dataclass(frozen=True)
class ProbedOrder:
    """What a worker is given to reduce trajectories to statistics, and keep some values of each."""

    run: RunOrder
    columns: Columns

    def crew(
        self, engine: str, first: int, last: int, n_threads: int, should_stop: Callable[[], bool]
    ) -> tuple[ProbedStatistics, Crew]:
        """Return what takes trajectories first, ..., last - 1, and the threads that run them."""
        plan = self.run.plan(engine)
        assert self.run.histogram_bins is not None
        gatherer = ProbedStatistics(
            plan,
            Probe(plan, self.columns),
            first,
            last,
            n_threads=n_threads,
            n_bins=self.run.histogram_bins,
        )
        return gatherer, Crew(plan, gatherer, n_threads, should_stop=should_stop)


@dataclass(frozen=True)
class ValueOrder(OrderOfRun):
    """What the values of some expressions in the trajectories of a run depend on.

    Attributes
    ----------
    run : RunOrder
        The run; its entropy is that of a pilot where it is one.
    columns : tuple of (str, int)
        Expressions, and rows of the sampling times.
    """

    run: RunOrder
    columns: Columns

    things: ClassVar[str] = "values of trajectories"
    chunk_kind: ClassVar[str] = "values"
    store_version: ClassVar[int] = 2
    unit: ClassVar[None] = None
    sets: ClassVar[None] = None

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> ValueOrder:
        """Return the order that `to_json` wrote.

        Raises
        ------
        DamagedFileError
            If something is missing, too much, or of the wrong kind.
        """
        if set(values) != {"values_of", "columns"}:
            raise DamagedFileError("the description of values must name columns, values_of")
        try:
            columns = tuple((str(text), int(row)) for text, row in values["columns"])
        except (TypeError, ValueError) as error:
            raise DamagedFileError(f"the columns of values cannot be read: {error}") from error
        return cls(RunOrder.from_json(values["values_of"]), columns)

    def to_json(self) -> dict[str, Any]:
        """Return the order as numbers, text and lists."""
        return {
            "values_of": self.run.to_json(),
            "columns": [[text, row] for text, row in self.columns],
        }

    def crew(
        self, engine: str, first: int, last: int, n_threads: int, should_stop: Callable[[], bool]
    ) -> tuple[ProbedValues, Crew]:
        """Return what takes trajectories first, ..., last - 1, and the threads that run them."""
        plan = self.run.plan(engine)
        gatherer = ProbedValues(plan, Probe(plan, self.columns), first, last)
        return gatherer, Crew(plan, gatherer, n_threads, should_stop=should_stop)

    def without_what_follows(self, portion: Portion) -> Portion:
        """Return the arrays of a portion that a file needs: whole numbers as such."""
        values = portion["probed"]
        with np.errstate(invalid="ignore"):
            is_whole = (values == np.floor(values)) & (np.abs(values) < _MOST_WHOLE)
            is_whole &= (values != 0.0) | ~np.signbit(values)
        return {"probed": values.astype(np.int64) if is_whole.all() else values}

    def restored(self, arrays: Portion, first: int, last: int) -> Portion:
        """Return the portion of trajectories first, ..., last - 1 from the arrays of its file.

        Raises
        ------
        DamagedFileError
            If an array is missing or has another shape.
        """
        check_rows(arrays, last - first, "probed")
        if arrays["probed"].shape != (last - first, len(self.columns)):
            raise DamagedFileError(f"there are no values of {len(self.columns)} expressions")
        values = arrays["probed"].astype(np.float64)
        return {"indices": np.arange(first, last, dtype=np.int64), "probed": values}


class ValueJob:
    """The values of some expressions in the trajectories of a run, and nothing else of these.

    Parameters
    ----------
    plan : RunPlan
    columns : tuple of (str, int)
    """

    def __init__(self, plan: RunPlan, columns: Columns) -> None:
        self.plan = plan
        self.order = ValueOrder(RunOrder.of(plan, None), columns)
        self.row_bytes = 8 * (len(columns) + 1)

    @property
    def engine_name(self) -> str:
        """A name from `ENGINES`."""
        return self.plan.engine.name

    def load_kernel(self) -> None:
        """Compile the kernel, or load it, unless this process has it."""
        self.plan.load_kernel()

    def crew(self, gatherer: ProbedValues, n_threads: int, chunk_size: int | None = None) -> Crew:
        """Return threads of this process that run the trajectories of a gatherer."""
        if self.plan.engine.lanes is None:
            n = gatherer.last - gatherer.first
            chunk_size = min(chunk_size or n, gatherer.rows_at_once(n, 4 * n_threads))
        return Crew(self.plan, gatherer, n_threads, chunk_size)

    def work_order(self, first: int, last: int) -> ValueOrder:
        """Return what a worker is given for a portion."""
        return self.order


class ProbedJob(TrajectoryJob):
    """The trajectories of a run, reduced to statistics, with the values of some expressions.

    In a store their statistics are those of the run alone.
    """

    def __init__(self, plan: RunPlan, histogram_bins: int, columns: Columns) -> None:
        super().__init__(plan, histogram_bins)
        self._order = ProbedOrder(self.order, columns)
        self.row_bytes += 8 * (len(columns) + 1)

    def work_order(self, first: int, last: int) -> ProbedOrder:
        """Return what a worker is given for a portion."""
        return self._order
