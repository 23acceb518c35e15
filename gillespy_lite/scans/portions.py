"""A scan as work in portions: the sets that this process, or a worker elsewhere, is to do."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np

from ..network import Network
from ..reaction_text import Varying
from ..run_orders import RunOrder
from ..run_plan import RunPlan
from ..scan_orders import ScanOrder
from .numbers import compiled_set
from .points import ScanPoints
from .running import ScanPlan, SetCrew
from .storing import SetPaths, SetStatistics, SetStore

__all__ = ["ScanJob", "SomeSets"]


class ScanJob:
    """The sets of a scan.

    Parameters
    ----------
    sets : ScanPlan
        Of those that this call is to do.
    points : ScanPoints
        Of all sets of the scan.
    histogram_bins : int or None
        None where paths are kept.
    common : bool
        Whether all sets have the same random numbers.

    Attributes
    ----------
    order : ScanOrder
    row_bytes : int
        Bytes of a set.
    """

    def __init__(
        self, sets: ScanPlan, points: ScanPoints, histogram_bins: int | None, *, common: bool
    ) -> None:
        self._sets = sets
        run = RunOrder.of(sets.plan, histogram_bins)
        self.order = ScanOrder(
            run=replace(run, network_text=sets.network.text),
            names=points.names,
            shape=points.shape,
            is_grid=points.is_grid,
            sets_digest=points.sets.digest,
            n=sets.n,
            common_random_numbers=common,
            sets=points.sets,
        )
        self._bare_order = replace(self.order, sets=None)
        # Every worker plans the same set, so that all of them have the same plan.
        self._middle = tuple(points.values[middle_of(points)].tolist())
        one = new_store(self.order, sets.plan, 0, 1)
        self.row_bytes = sum(array.nbytes for array in one.arrays.values())

    @property
    def engine_name(self) -> str:
        """A name from `ENGINES`."""
        return self._sets.plan.engine.name

    def load_kernel(self) -> None:
        """Compile the kernel, or load it, unless this process has it."""
        self._sets.plan.load_kernel()

    def crew(self, gatherer: SetStore, n_threads: int, chunk_size: int | None = None) -> SetCrew:
        """Return threads of this process that run the sets of a store."""
        return SetCrew(self._sets, gatherer, n_threads, chunk_size)

    def work_order(self, first: int, last: int) -> SomeSets:
        """Return what a worker is given for the sets first, ..., last - 1."""
        values = np.ascontiguousarray(self._sets.points.part(first, last).values)
        return SomeSets(self._bare_order, first, values, self._middle, self._sets.varying)

    def gatherer(self) -> SetStore:
        """Return what takes the sets that this call is to do."""
        return new_store(self.order, self._sets.plan, self._sets.first, self._sets.last)


@dataclass(frozen=True, eq=False)
class SomeSets:
    """Some sets of a scan, as plain data.

    Attributes
    ----------
    order : ScanOrder
        Of the scan, without the values of its sets.
    first : int
        Number of the first of the sets.
    values : ndarray, shape (n_sets, n_names), float64
        What is varied.
    middle : tuple of float
        The values of the set that the scan was planned with.
    varying : Varying
        Which numbers are not the same in all sets of the scan.
    """

    order: ScanOrder
    first: int
    values: np.ndarray
    middle: tuple[float, ...]
    varying: Varying

    def crew(
        self, engine: str, first: int, last: int, n_threads: int, should_stop: Callable[[], bool]
    ) -> tuple[SetStore, SetCrew]:
        """Return what takes the sets first, ..., last - 1, and the threads that run them."""
        order = self.order
        plan, network = _planned(order, self.middle, engine)
        points = ScanPoints(order.names, self.values, (len(self.values),), False, self.first)
        sets = ScanPlan(
            plan,
            network,
            points.part(first, last),
            order.n,
            common=order.common_random_numbers,
            varying=self.varying,
        )
        store = new_store(order, sets.plan, first, last)
        return store, SetCrew(sets, store, n_threads, should_stop=should_stop)


def middle_of(points: ScanPoints) -> int:
    """Return the number of the set that a scan is planned with."""
    return points.n_sets // 2


def new_store(order: ScanOrder, plan: RunPlan, first: int, last: int) -> SetStore:
    """Return what takes the sets first, ..., last - 1 of a scan."""
    bins = order.run.histogram_bins
    if bins is None:
        return SetPaths(plan, first, last, order.n)
    return SetStatistics(plan, first, last, order.n, bins)


@lru_cache(maxsize=8)
def _planned(order: ScanOrder, middle: tuple[float, ...], engine: str) -> tuple[RunPlan, Network]:
    network = Network.parse(order.network_text)
    points = ScanPoints(order.names, np.array([middle]), (1,), False)
    text = compiled_set(network, points, 0).network.text
    return replace(order.run, network_text=text).plan(engine), network
