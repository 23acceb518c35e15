"""A run in plain data: for other processes, and for the files that it leaves."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, fields
from functools import lru_cache
from typing import Any, ClassVar

import numpy as np

from .crews import Crew
from .errors import DamagedFileError, StoreError
from .gathering import Gatherer, Paths, Portion, Statistics, block_size
from .methods import METHODS
from .network import Network
from .run_plan import RunPlan, plan_run
from .version import STREAM_VERSION

__all__ = ["OrderOfRun", "RunOrder", "check_rows"]


@dataclass(frozen=True)
class RunOrder:
    """What trajectories of a run depend on: whoever has it computes the same ones.

    Two orders are equal if, and only if, their trajectories of the same number are the same and
    recorded in the same way.

    Attributes
    ----------
    network_text : str
        In the language.
    times : tuple of float
        In the unit of time of the network.
    method : str
        A name from `METHODS`, never ``"auto"``.
    options : tuple of (str, value)
        Of the method.
    entropy : int
        Of the random streams.
    outputs : tuple of str
        What is recorded, in order: species, then the others.
    stop_when : str or None
    max_events : int or None
    histogram_bins : int or None
        None where trajectories are kept; else only their statistics are.
    stream_version : int
        Of the random streams.
    """

    network_text: str
    times: tuple[float, ...]
    method: str
    options: tuple[tuple[str, int | float | str | bool | None], ...]
    entropy: int
    outputs: tuple[str, ...]
    stop_when: str | None
    max_events: int | None
    histogram_bins: int | None
    stream_version: int = STREAM_VERSION

    # What is counted, for messages; and of stores, see `stores.orders`.
    things: ClassVar[str] = "trajectories"
    chunk_kind: ClassVar[str] = "portion"
    store_version: ClassVar[int] = 1
    sets: ClassVar[None] = None

    @classmethod
    def of(cls, plan: RunPlan, histogram_bins: int | None) -> RunOrder:
        """Return the order of a plan; `histogram_bins` is None where trajectories are kept."""
        options = dict(plan.options)
        return cls(
            network_text=plan.network.text,
            times=tuple(plan.times.tolist()),
            method=plan.method.name,
            stop_when=options.pop("stop_when"),  # type: ignore[arg-type]
            max_events=options.pop("max_events"),  # type: ignore[arg-type]
            options=tuple(options.items()),
            entropy=plan.entropy,
            outputs=(*plan.species, *plan.observables),
            histogram_bins=histogram_bins,
        )

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> RunOrder:
        """Return the order that `to_json` wrote.

        Raises
        ------
        DamagedFileError
            If something is missing, too much, or of the wrong kind.
        """
        names = {field.name for field in fields(cls)}
        if not isinstance(values, Mapping) or set(values) != names:
            raise DamagedFileError(f"the description of a run must name {', '.join(sorted(names))}")
        try:
            order = cls(
                **{
                    **values,
                    "times": tuple(float(one) for one in values["times"]),
                    "options": tuple((str(name), value) for name, value in values["options"]),
                    "outputs": tuple(str(one) for one in values["outputs"]),
                    "entropy": int(values["entropy"]),
                }
            )
        except (TypeError, ValueError) as error:
            raise DamagedFileError(f"the description of a run cannot be read: {error}") from error
        if not isinstance(order.network_text, str) or order.method not in METHODS:
            raise DamagedFileError(f"the description of a run has no method {order.method!r}")
        return order

    def to_json(self) -> dict[str, Any]:
        """Return the order as numbers, text and lists, for a JSON file."""
        values = asdict(self)
        # Not every reader of JSON keeps the digits of a whole number of 128 bits.
        values["entropy"] = str(self.entropy)
        values["options"] = [list(one) for one in self.options]
        return {name: list(one) if isinstance(one, tuple) else one for name, one in values.items()}

    @property
    def digest(self) -> str:
        """SHA-256 of the order, in hexadecimal."""
        return _digest(self.to_json())

    def differences(self, other: RunOrder) -> list[str]:
        """Return the names of what is not the same in another order."""
        return [
            field.name
            for field in fields(self)
            if getattr(self, field.name) != getattr(other, field.name)
        ]

    def plan(self, engine: str = "auto") -> RunPlan:
        """Return what runs it; made once in a process, as long as it is one of the last few.

        Raises
        ------
        StoreError
            If the random streams are of another version than this package's.
        ParseError, NetworkError, MethodError
            If the order was not made by `of`.
        """
        if self.stream_version != STREAM_VERSION:
            raise StoreError(
                f"the run has random streams of version {self.stream_version}; this package draws "
                f"those of version {STREAM_VERSION}, which are other trajectories"
            )
        return _planned(self, engine)

    def gatherer(self, plan: RunPlan, first: int, last: int, n_threads: int) -> Gatherer:
        """Return what takes trajectories first, ..., last - 1."""
        if self.histogram_bins is None:
            return Paths(plan, first, last)
        return Statistics(plan, first, last, n_threads=n_threads, n_bins=self.histogram_bins)

    def crew(
        self, engine: str, first: int, last: int, n_threads: int, should_stop: Callable[[], bool]
    ) -> tuple[Gatherer, Crew]:
        """Return what takes trajectories first, ..., last - 1, and the threads that run them."""
        plan = self.plan(engine)
        gatherer = self.gatherer(plan, first, last, n_threads)
        return gatherer, Crew(plan, gatherer, n_threads, should_stop=should_stop)

    # In a store ----------------------------------------------------------------------------------

    @property
    def unit(self) -> int | None:
        """How many trajectories statistics take together; None where all are kept."""
        if self.histogram_bins is None:
            return None
        return block_size(len(self.times), len(self.outputs))

    def without_what_follows(self, portion: Portion) -> Portion:
        """Return the arrays of a portion that a file needs."""
        follows = {"indices"} if self.stop_when is not None else {"indices", "hitting_times"}
        return {name: array for name, array in portion.items() if name not in follows}

    def restored(self, arrays: Portion, first: int, last: int) -> Portion:
        """Return the portion of trajectories first, ..., last - 1 from the arrays of its file.

        Raises
        ------
        DamagedFileError
            If an array is missing or has another number of rows.
        """
        indices = np.arange(first, last, dtype=np.int64)
        if self.histogram_bins is None:
            arrays["indices"] = indices
            if self.stop_when is None:
                arrays["hitting_times"] = np.full(last - first, np.nan)
            check_rows(arrays, last - first, "counts", "values", "hitting_times", "n_events")
            return arrays
        # Histograms are added up; sums need more room than their terms.
        arrays = {
            key: array.astype(np.int64) if array.dtype.kind in "iu" else array
            for key, array in arrays.items()
        }
        if self.stop_when is not None:
            arrays["indices"] = indices
        n = arrays["levels"].size if "levels" in arrays else 0
        names = ("levels", "blocks", "sizes", "means", "comoments", "minima", "maxima")
        check_rows(arrays, n, *names)
        return arrays


def check_rows(arrays: Mapping[str, np.ndarray], n: int, *names: str) -> None:
    """Refuse arrays of a file of which one is missing, or has not `n` rows.

    Raises
    ------
    DamagedFileError
    """
    wrong = [one for one in names if one not in arrays or arrays[one].shape[:1] != (n,)]
    if wrong:
        raise DamagedFileError(f"there is no array {wrong[0]!r} of {n} rows")


@lru_cache(maxsize=8)
def _planned(order: RunOrder, engine: str) -> RunPlan:
    return plan_run(
        Network.parse(order.network_text),
        list(order.times),
        method=METHODS[order.method]().with_options(dict(order.options)),
        rng=order.entropy,
        seed=None,
        outputs=order.outputs,
        stop_when=order.stop_when,
        max_events=order.max_events,
        every_event=False,
        method_options={},
        engine=engine,
        # Enough for lanes; where a path is run never changes it.
        n_trajectories=1000,
    )


class OrderOfRun:
    """What an order has from the run that it is about.

    Attributes
    ----------
    run : RunOrder
    """

    run: RunOrder

    def to_json(self) -> dict[str, Any]:
        """Return the order as numbers, text and lists."""
        raise NotImplementedError

    @property
    def digest(self) -> str:
        """SHA-256 of the order, in hexadecimal."""
        return _digest(self.to_json())

    @property
    def entropy(self) -> int:
        """Of the random streams."""
        return self.run.entropy

    @property
    def stream_version(self) -> int:
        """Of the random streams."""
        return self.run.stream_version

    @property
    def network_text(self) -> str:
        """The network that is run, in the language; of a scan, that the sets are relatives of."""
        return self.run.network_text


def _digest(values: dict[str, Any]) -> str:
    text = json.dumps(values, sort_keys=True, ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()
