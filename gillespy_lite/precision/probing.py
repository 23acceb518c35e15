"""The values that targets ask for, taken from trajectories before these are forgotten."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..expressions import Expression
from ..gathering import Statistics
from ..kernels.arrays import Output
from ..run_plan import RunPlan
from .targets import EVERYWHERE, LAST, Target

__all__ = ["Cell", "Probe", "WatchedStatistics", "cells_of"]


@dataclass(frozen=True)
class Cell:
    """One number that is estimated: a target at one time."""

    target: Target
    row: int  # of the sampling times
    quantity: str


def cells_of(targets: Sequence[Target], times: NDArray[np.float64]) -> tuple[Cell, ...]:
    """Return what is estimated, target by target and time by time.

    Raises
    ------
    ValueError
        If a target asks for a time that is not sampled.
    """
    cells = []
    for target in targets:
        if target.when == EVERYWHERE:
            # At the first time the state is given.
            rows = list(range(min(1, times.size - 1), times.size))
            text = target.quantity.removesuffix(" everywhere)")
            cells += [Cell(target, row, f"{text} at {times[row]:g})") for row in rows]
        else:
            row = times.size - 1 if target.when == LAST else _row_of(target, times)
            cells.append(Cell(target, row, target.quantity))
    return tuple(cells)


def _row_of(target: Target, times: NDArray[np.float64]) -> int:
    time = float(target.when)
    row = int(np.abs(times - time).argmin())
    if abs(times[row] - time) > 1e-12 * np.abs(times[[0, -1]]).max():
        raise ValueError(
            f"until= asks for {target.quantity}, but t = {time:g} is no sampling time; the nearest "
            f"is {times[row]:g}. Add it to the times of the run"
        )
    return row


class Probe:
    """Computes the values of expressions at some of the sampling times.

    Parameters
    ----------
    plan : RunPlan
        What is recorded.
    wanted : sequence of (Expression, int)
        Expressions of what the network declares, and rows of the times.
    """

    def __init__(self, plan: RunPlan, wanted: Sequence[tuple[Expression, int]]) -> None:
        self._times = plan.times
        network = plan.network
        self._parameters: dict[str, Any] = dict(
            zip(network.parameter_names, network.parameter_values.tolist(), strict=True)
        )
        # A name, and whether it is a column of the counts or of the values.
        self._columns = {
            **{name: (True, i) for i, name in enumerate(plan.species)},
            **{name: (False, i) for i, name in enumerate(plan.observables)},
        }
        self._wanted = [(self._readable(plan, one), row) for one, row in wanted]
        self.n_columns = len(self._wanted)

    def _readable(self, plan: RunPlan, expression: Expression) -> Expression:
        """Return an expression of what is recorded, or say what is missing."""
        known = {*self._columns, *self._parameters, "t"}
        network = plan.network
        # Observables that are recorded are read; the others are worked out.
        definitions = {
            one.name: network.expanded(one.expression)
            for one in network.observables
            if one.name not in self._columns
        }
        tree = expression.substitute(definitions)
        tree = network.expanded(tree) if not tree.symbols() <= known else tree
        missing = sorted(name for name in tree.symbols() if name in network.state_names)
        missing = [name for name in missing if name not in self._columns]
        if missing:
            raise ValueError(
                f"until= needs {missing[0]!r} for '{expression}', and outputs= leaves it out; add "
                "it there"
            )
        return tree

    def values(self, output: Output | Mapping[str, NDArray[Any]]) -> NDArray[np.float64]:
        """Return the values of all rows of an output, shape (n_rows, n_columns)."""
        if isinstance(output, Output):
            counts, values = output.counts, output.values
        else:
            counts, values = output["counts"], output["values"]
        result = np.empty((counts.shape[0], self.n_columns))
        for column, (expression, row) in enumerate(self._wanted):
            known = {**self._parameters, "t": float(self._times[row])}
            for name in expression.symbols():
                if name in self._columns:
                    is_count, place = self._columns[name]
                    known[name] = (counts if is_count else values)[:, row, place]
            result[:, column] = expression.evaluate(known)
        return result


class WatchedStatistics(Statistics):
    """Statistics that leave the probed values of their trajectories behind."""

    def __init__(
        self, plan: RunPlan, first: int, last: int, *, n_threads: int, n_bins: int, probe: Probe
    ) -> None:
        super().__init__(plan, first, last, n_threads=n_threads, n_bins=n_bins)
        self._probe = probe
        self.probed = np.full((last - first, probe.n_columns), np.nan)

    def take(self, worker: int, first: int, output: Output) -> None:
        """Take the finished rows, the first of which is trajectory `first`."""
        place = slice(first - self.first, first - self.first + output.outcome.size)
        # Rows that are not finished hold what was there before; they count in no look.
        self.probed[place] = self._probe.values(output)
        super().take(worker, first, output)
