"""Work that goes in portions: the trajectories of a run, or the parameter sets of a scan.

Both are numbered, and each depends on its number alone; so whoever computes them, in which portions
and in which order, changes no number. `executors` and `portion_runs` need to know no more of them
than what is here.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from .crews import Crew
from .errors import NotEnoughMemoryError, SimulationError
from .gathering import Gatherer, Gathering
from .run_orders import RunOrder
from .run_plan import RunPlan

__all__ = ["Job", "Team", "TrajectoryJob", "WorkOrder"]


class Team(Protocol):
    """Threads that do a portion; see `Crew`."""

    # What cut the work short: "timeout", "interrupt" or "error".
    stopped: str | None
    # Called some ten times a second by the thread that called `work`.
    watch: Callable[[], None] | None

    def load_kernel(self) -> None:
        """Compile the kernel, or load it, unless this process has it."""

    def work(
        self, report: Callable[[float], None], timeout: float
    ) -> SimulationError | NotEnoughMemoryError | None:
        """Do it all; return the error of the first that could not go on."""

    def returns(self) -> list[float]:
        """Return a mark for `have_returned_since`."""

    def have_returned_since(self, mark: list[float]) -> bool:
        """Whether what was finished at the mark is written now."""


class WorkOrder(Protocol):
    """Plain data from which a worker does a portion; it is pickled on its way."""

    def crew(
        self, engine: str, first: int, last: int, n_threads: int, should_stop: Callable[[], bool]
    ) -> tuple[Gathering, Team]:
        """Return what takes a portion, and the threads that do it."""


class Job(Protocol):
    """Work that goes in portions."""

    @property
    def order(self) -> Any:
        """What all of it depends on, as a store keeps it: a `stores.orders.Order`."""

    @property
    def engine_name(self) -> str:
        """A name from `ENGINES`."""

    @property
    def row_bytes(self) -> int:
        """Bytes that each adds to a portion; 0 where portions do not grow."""

    def load_kernel(self) -> None:
        """Compile the kernel, or load it, unless this process has it."""

    def crew(self, gatherer: Any, n_threads: int, chunk_size: int | None = None) -> Team:
        """Return threads of this process that do what a gatherer takes."""

    def work_order(self, first: int, last: int) -> WorkOrder:
        """Return what a worker is given for a portion."""


class TrajectoryJob:
    """The trajectories of a run.

    Parameters
    ----------
    plan : RunPlan
    histogram_bins : int or None
        None where trajectories are kept; else their statistics are.

    Attributes
    ----------
    order : RunOrder
    row_bytes : int
    """

    def __init__(self, plan: RunPlan, histogram_bins: int | None) -> None:
        self.plan = plan
        self.order = RunOrder.of(plan, histogram_bins)
        self.row_bytes = 16 if self.order.stop_when is not None else 0
        if histogram_bins is None:
            self.row_bytes = 8 * (len(self.order.times) * len(self.order.outputs) + 4)

    @property
    def engine_name(self) -> str:
        """A name from `ENGINES`."""
        return self.plan.engine.name

    def load_kernel(self) -> None:
        """Compile the kernel, or load it, unless this process has it."""
        self.plan.load_kernel()

    def crew(self, gatherer: Gatherer, n_threads: int, chunk_size: int | None = None) -> Crew:
        """Return threads of this process that run the trajectories of a gatherer."""
        return Crew(self.plan, gatherer, n_threads, chunk_size)

    def work_order(self, first: int, last: int) -> WorkOrder:
        """Return what a worker is given for a portion: the order, which it plans once."""
        return self.order
