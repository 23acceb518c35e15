"""An ensemble that goes on until its estimates are precise enough."""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import SimulationError
from ..gathering import block_size
from ..probing import Columns
from ..randomness import seed_sequence, stream_key, take_entropy
from ..results import Ensemble, EnsembleStatistics
from ..results.precision import PrecisionReport, PrecisionStep, TargetPrecision
from ..run_orders import RunOrder
from ..run_plan import RunPlan
from ..workplaces import OpenStore, Workplace
from .cells import cells_of, columns_of
from .reporting import Shown
from .schedule import FIRST_PILOT, PLANNED_SHARE, Look, looks, pilot_size, step_of
from .supply import Halt, KeptSupply, PilotSupply, ReducedSupply, kept_columns
from .tallies import Forecast, Interval, Tally, half_width, tally_for, wanted_width
from .targets import Target

__all__ = ["MOST_TRAJECTORIES", "PreciseRun"]

# Where nobody says max_n: not for ever.
MOST_TRAJECTORIES = 10_000_000
# Key of the pilot's streams among those of the run's entropy.
_PILOT = 0x70696C74
_PORTION = 65_536  # trajectories between two looks into the clock and at the values
_PROBED_VALUES = 2**22  # of a portion
# Of max_time that the pilot may take.
_PILOT_TIME = 0.1

_METHOD = (
    "intervals valid at all looks together: {shares}, equal shares for all estimates; "
    "Clopper-Pearson for probabilities and quantiles (exact), Student's for means, of the "
    "logarithm for spreads (both for many trajectories, by the central limit theorem)"
)
_PLANNED = (
    f"a share of the error for each look (union bound), {PLANNED_SHARE:g} of it for the one that "
    "a pilot of {pilot} trajectories with streams of its own planned"
)
_UNPLANNED = "the share 6/(pi i)^2 of the error for look number i (union bound)"


class PreciseRun:
    """A run in portions, with looks at the intervals between them.

    Parameters
    ----------
    plan : RunPlan
    targets : sequence of Target
    text : str
        The targets as they were given.
    confidence : float
        Of all intervals together.
    most : int
        Trajectories that there may be.
    max_time : float
        Seconds; inf without a limit.
    n_bins : int or None
        Of histograms, of statistics; None to keep the trajectories.
    place : Workplace
        Where trajectories are run.
    store : OpenStore or None
        Where they are kept.
    check : callable
        Called now and then; what it raises ends the run.
    progress : bool or callable

    Attributes
    ----------
    stopped : str or None
        What ended the run before the targets were reached: "timeout", "interrupt", "error",
        "max_n" or "memory".
    failure : SimulationError, StoreWriteError or another error, or None
        To be raised, with the result.
    """

    def __init__(
        self,
        plan: RunPlan,
        targets: Sequence[Target],
        text: str,
        *,
        confidence: float,
        most: int,
        max_time: float,
        n_bins: int | None,
        place: Workplace,
        store: OpenStore | None,
        check: Callable[[], None],
        progress: Any,
    ) -> None:
        self._plan, self._text, self._confidence = plan, text, confidence
        self._most, self._max_time = most, max_time
        self._place, self._store, self._check = place, store, check
        self._cells = cells_of(targets, plan.times)
        self._alpha = (1.0 - confidence) / len(self._cells)
        self._wanted = columns_of(self._cells)
        columns = self._columns(plan)
        self._supply: KeptSupply | ReducedSupply
        if n_bins is None:
            self._supply = KeptSupply(plan, columns, place, check, store)
        else:
            self._supply = ReducedSupply(plan, columns, place, check, store, n_bins)
        # Looks are where blocks of statistics end, also where trajectories are kept.
        n_columns = max(1, len(plan.species) + len(plan.observables))
        self._step = step_of(block_size(plan.times.size, n_columns))
        self._shown = Shown(progress)
        self._deadline = math.inf
        self._n_pilot, self._is_planned = 0, False
        self._tallies: list[Tally] = []
        self._steps: list[PrecisionStep] = []
        self._n = 0
        self._next_look = 0
        self.stopped: str | None = None
        self.failure: BaseException | None = None

    def _columns(self, plan: RunPlan) -> Columns:
        """Return what is read of each trajectory; a store may have the values of more."""
        if self._store is None:
            return self._wanted
        return kept_columns(self._store, RunOrder.of(plan, None), self._wanted)

    def work(self) -> Ensemble | EnsembleStatistics:
        """Run, and return what there is at the end, with its report."""
        self._plan.load_kernel()
        self._deadline = time.monotonic() + self._max_time
        try:
            self._run()
        except Halt as halt:
            self.stopped, self.failure = halt.stopped, halt.failure
        except KeyboardInterrupt:
            self.stopped = "interrupt"
        self._shown.end()
        report = self.report()
        if self.stopped is None and not report.reached:
            self.stopped = "max_n"
        return dataclasses.replace(self._result(), precision=report)

    def close(self) -> None:
        """Give up what is only needed while it runs."""
        self._supply.close()

    def _run(self) -> None:
        planned = self._pilot()
        self._is_planned = planned is not None
        expected = planned if planned is not None else math.nan
        sequence = list(looks(planned, self._most, self._step))
        # As far as the planned look, the run is likely to go on; one behind it may well be the end.
        planned_look = next((i for i, one in enumerate(sequence) if one.share == PLANNED_SHARE), 0)
        for i, look in enumerate(sequence):
            self._next_look = look.n
            edges = [one.n for one in sequence[i : max(i, planned_look) + 1]]
            while self._n < look.n:
                last = min(look.n, self._n + self._portion_size())
                values = self._supply.values(last, edges, self._deadline, self._shown.tick)
                self._take(self._chosen(values, self._supply.columns), last)
                self._shown.portion(self._n, max(expected, float(look.n)))
            if self._look(look):
                return

    def _portion_size(self) -> int:
        size = min(_PORTION, _PROBED_VALUES // len(self._wanted))
        return max(self._step, size // self._step * self._step)

    def _chosen(self, values: NDArray[np.float64], columns: Columns) -> NDArray[np.float64]:
        """Return the values of each cell, (n, n_cells)."""
        return values[:, [columns.index(cell.column) for cell in self._cells]]

    # -- The pilot

    def _pilot(self) -> float | None:
        """Return how many trajectories are likely to be needed; None if there is no time to see."""
        plan = self._plan
        entropy = take_entropy(seed_sequence(plan.entropy, _PILOT))
        key = stream_key(entropy, plan.method.name)
        plan = dataclasses.replace(plan, entropy=entropy, request=plan.request._replace(key=key))
        until = self._deadline
        if self._store is None:
            until = time.monotonic() + _PILOT_TIME * self._max_time
        supply = PilotSupply(plan, self._columns(plan), self._place, self._check, self._store)
        try:
            return self._piloted(supply, until)
        except Halt as halt:
            if halt.stopped != "timeout" or self._store is not None:
                raise
            self._tallies = [tally_for(cell.target) for cell in self._cells]
            return None
        finally:
            supply.close()

    def _piloted(self, supply: PilotSupply, until: float) -> float:
        wanted = FIRST_PILOT
        tallies = [tally_for(cell.target) for cell in self._cells]
        while True:
            while self._n_pilot < wanted:
                last = min(wanted, self._n_pilot + self._portion_size())
                values = supply.values(last, [wanted], until, self._shown.pilot)
                values = self._chosen(values, supply.columns)
                self._require_finite(values, "of the pilot")
                _add(tallies, values)
                self._n_pilot = last
            forecast = self._needed(tallies)
            # Not more than a tenth of all that there may be.
            wanted = min(pilot_size(*forecast), max(FIRST_PILOT, self._most // 10))
            if self._n_pilot >= wanted:
                break
            wanted = min(wanted, 4 * self._n_pilot)  # the forecast itself is rough
        self._tallies = [tally.fresh() for tally in tallies]
        return forecast.n

    def _needed(self, tallies: Sequence[Tally]) -> Forecast:
        """Return the forecast for the target that needs most."""
        alpha = self._alpha * PLANNED_SHARE
        pairs = zip(tallies, self._cells, strict=True)
        return max(tally.needed(alpha, cell.target) for tally, cell in pairs)

    # -- The trajectories that count

    def _require_finite(self, values: NDArray[np.float64], which: str) -> None:
        bad = np.argwhere(~np.isfinite(values))
        if bad.size:
            row, column = bad[0].tolist()
            raise Halt(
                "error",
                SimulationError(
                    f"until= asks for {self._cells[column].quantity}, and its expression is "
                    f"{values[row, column]:g} in a trajectory {which}; write it so that it is "
                    "always a number, for example with if(condition, a, b)"
                ),
            )

    def _take(self, values: NDArray[np.float64], last: int) -> None:
        self._require_finite(values, f"between {self._n} and {last - 1}")
        _add(self._tallies, values)
        self._n = last

    # -- Looks

    def _look(self, look: Look) -> bool:
        """Look at the intervals; return whether all are narrow enough."""
        alpha = self._alpha * look.share
        found = [tally.interval(alpha) for tally in self._tallies]
        self._steps.append(
            PrecisionStep(
                n=look.n,
                alpha=alpha,
                estimates=tuple(one.estimate for one in found),
                lower=tuple(one.lower for one in found),
                upper=tuple(one.upper for one in found),
            )
        )
        report = self.report()
        self._shown.look(report, self._alpha * PLANNED_SHARE)
        return report.reached

    def report(self) -> PrecisionReport:
        """Return what is known at the last look."""
        shares = _PLANNED.format(pilot=self._n_pilot) if self._is_planned else _UNPLANNED
        targets = tuple(self._state(i) for i in range(len(self._cells)))
        return PrecisionReport(
            until=self._text,
            confidence=self._confidence,
            targets=targets,
            steps=tuple(self._steps),
            n_pilot=self._n_pilot,
            reached=all(one.is_reached for one in targets),
            method=_METHOD.format(shares=shares),
        )

    def _state(self, i: int) -> TargetPrecision:
        cell = self._cells[i]
        interval, doubt = Interval(math.nan, -math.inf, math.inf), ""
        if self._steps:
            step = self._steps[-1]
            interval = Interval(step.estimates[i], step.lower[i], step.upper[i])
            # The tally is at the last look, or ahead of it: then nothing hangs on it any more.
            doubt = self._tallies[i].doubt(step.alpha)
        width = wanted_width(cell.target, interval.estimate)
        return TargetPrecision(
            quantity=cell.quantity,
            estimate=interval.estimate,
            lower=interval.lower,
            upper=interval.upper,
            tolerance=width,
            wanted=cell.target.tolerance_text,
            is_reached=half_width(interval) <= width and not doubt,
            doubt=doubt,
        )

    # -- The result

    def _result(self) -> Ensemble | EnsembleStatistics:
        is_cut_short = self.stopped not in (None, "max_n", "memory")
        try:
            result = self._supply.result(self.stopped, is_cut_short)
            trouble = self._supply.trouble_at_the_end
        except KeyboardInterrupt:
            trouble = Halt("interrupt")
        if trouble is not None and not is_cut_short:
            self.stopped, self.failure = trouble.stopped, trouble.failure
            result = self._supply.result(self.stopped, True)
        n = self._supply.reach if self.stopped is None else max(self._supply.reach, self._next_look)
        return dataclasses.replace(result, n_requested=n)


def _add(tallies: Sequence[Tally], values: NDArray[np.float64]) -> None:
    for column, tally in enumerate(tallies):
        tally.add(values[:, column])
