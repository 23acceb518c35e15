"""An ensemble that goes on until its estimates are precise enough."""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..crews import Crew
from ..errors import NotEnoughMemoryError, SimulationError
from ..gathering import Paths, Portion, Statistics
from ..randomness import seed_sequence, stream_key, take_entropy
from ..results import Ensemble, EnsembleStatistics
from ..results.precision import PrecisionReport, PrecisionStep, TargetPrecision
from ..run_plan import RunPlan
from .probing import Probe, WatchedStatistics, cells_of
from .reporting import Shown
from .schedule import FIRST_PILOT, LEAST, PLANNED_SHARE, Look, looks, pilot_size
from .tallies import Forecast, Interval, Tally, half_width, tally_for, wanted_width
from .targets import Target

__all__ = ["MOST_TRAJECTORIES", "PreciseRun"]

# Where nobody says max_n: not for ever.
MOST_TRAJECTORIES = 10_000_000
# Key of the pilot's streams among those of the run's entropy.
_PILOT = 0x70696C74
_PORTION = 65_536  # trajectories between two looks into the clock and at the values
_PROBED_VALUES = 2**22  # of a portion
_PILOT_VALUES = 2**23
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


class _Halt(Exception):  # noqa: N818 - it is no error
    """The run ends here; `stopped` says why."""

    def __init__(
        self, stopped: str, failure: SimulationError | NotEnoughMemoryError | None = None
    ) -> None:
        super().__init__(stopped)
        self.stopped, self.failure = stopped, failure


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
    n_threads, chunk : int, int or None
        As for `Crew`.
    progress : bool or callable

    Attributes
    ----------
    stopped : str or None
        What ended the run before the targets were reached: "timeout", "interrupt", "error",
        "max_n" or "memory".
    failure : SimulationError, NotEnoughMemoryError or None
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
        n_threads: int,
        chunk: int | None,
        progress: Any,
    ) -> None:
        self._plan, self._text, self._confidence = plan, text, confidence
        self._most, self._max_time, self._n_bins = most, max_time, n_bins
        self._n_threads, self._chunk = n_threads, chunk
        self._cells = cells_of(targets, plan.times)
        self._alpha = (1.0 - confidence) / len(self._cells)
        self._probe = Probe(plan, [(cell.target.expression, cell.row) for cell in self._cells])
        self._shown = Shown(progress)
        self._deadline = math.inf
        self._n_pilot, self._is_planned = 0, False
        self._tallies: list[Tally] = []
        self._steps: list[PrecisionStep] = []
        self._kept: list[Portion] = []
        self._reduced: Statistics | None = None
        self._n = 0  # whole portions only
        self._reach = 0  # of which at least a part is there
        self._next_look = 0
        self.stopped: str | None = None
        self.failure: SimulationError | NotEnoughMemoryError | None = None

    def work(self) -> Ensemble | EnsembleStatistics:
        """Run, and return what there is at the end, with its report."""
        self._plan.load_kernel()
        self._deadline = time.monotonic() + self._max_time
        try:
            self._run()
        except _Halt as halt:
            self.stopped, self.failure = halt.stopped, halt.failure
        except KeyboardInterrupt:
            self.stopped = "interrupt"
        self._shown.end()
        report = self.report()
        if self.stopped is None and not report.reached:
            self.stopped = "max_n"
        return dataclasses.replace(self._result(), precision=report)

    def _run(self) -> None:
        planned = self._pilot()
        self._is_planned = planned is not None
        expected = planned if planned is not None else math.nan
        for look in looks(planned, self._most):
            self._next_look = look.n
            while self._n < look.n:
                last = min(look.n, self._n + self._portion_size())
                self._take(self._main_portion(self._n, last), last)
                self._shown.portion(self._n, max(expected, float(look.n)))
            if self._look(look):
                return

    def _portion_size(self) -> int:
        size = min(_PORTION, _PROBED_VALUES // max(1, self._probe.n_columns))
        return max(LEAST, size // LEAST * LEAST)

    # -- The pilot

    def _pilot(self) -> float | None:
        """Return how many trajectories are likely to be needed; None if there is no time to see."""
        plan = self._plan
        entropy = take_entropy(seed_sequence(plan.entropy, _PILOT))
        key = stream_key(entropy, plan.method.name)
        pilot = dataclasses.replace(plan, request=plan.request._replace(key=key))
        n_numbers = plan.times.size * (len(plan.species) + len(plan.observables))
        room = max(1, min(_PORTION, _PILOT_VALUES // max(1, n_numbers)))
        wanted, n = FIRST_PILOT, 0
        tallies = [tally_for(cell.target) for cell in self._cells]
        until = time.monotonic() + _PILOT_TIME * self._max_time
        while True:
            while n < wanted:
                last = min(wanted, n + room)
                gatherer = Paths(pilot, n, last)
                if not self._work(pilot, gatherer, until, self._shown.pilot):
                    self._tallies = [tally_for(cell.target) for cell in self._cells]
                    self._n_pilot = n
                    return None
                values = self._probe.values(gatherer.portion())
                self._require_finite(values, "of the pilot")
                _add(tallies, values)
                n = last
            forecast = self._needed(tallies)
            # Not more than a tenth of all that there may be.
            wanted = min(pilot_size(*forecast), max(FIRST_PILOT, self._most // 10))
            if n >= wanted:
                break
            wanted = min(wanted, 4 * n)  # the forecast itself is rough
        self._tallies = [tally.fresh() for tally in tallies]
        self._n_pilot = n
        return forecast.n

    def _needed(self, tallies: Sequence[Tally]) -> Forecast:
        """Return the forecast for the target that needs most."""
        alpha = self._alpha * PLANNED_SHARE
        pairs = zip(tallies, self._cells, strict=True)
        return max(tally.needed(alpha, cell.target) for tally, cell in pairs)

    def _work(
        self, plan: RunPlan, gatherer: Any, until: float, tell: Callable[[float], None]
    ) -> bool:
        """Run a gatherer's trajectories; return whether there was time for all of them."""
        crew = Crew(plan, gatherer, self._n_threads, self._chunk)
        failure = crew.work(tell, max(0.0, until - time.monotonic()))
        if crew.stopped == "interrupt":
            raise _Halt("interrupt")
        if failure is not None:
            raise _Halt("error", failure)
        return crew.stopped is None

    # -- The trajectories that count

    def _main_portion(self, first: int, last: int) -> NDArray[np.float64]:
        """Run trajectories first, ..., last - 1, keep them, and return their values."""
        try:
            gatherer = self._portion_gatherer(first, last)
        except NotEnoughMemoryError:
            if first == 0:
                raise
            raise _Halt("memory") from None
        done = False
        try:
            done = self._work(self._plan, gatherer, self._deadline, self._shown.tick)
        finally:
            # Also what was finished of a portion that was cut short.
            self._keep(gatherer)
        # The time may be up just when the last of them is finished.
        if not done and gatherer.n_complete() < last - first:
            raise _Halt("timeout")
        if isinstance(gatherer, WatchedStatistics):
            return gatherer.probed
        return self._probe.values(self._kept[-1])

    def _portion_gatherer(self, first: int, last: int) -> Paths | WatchedStatistics:
        if self._n_bins is None:
            return Paths(self._plan, first, last)
        return WatchedStatistics(
            self._plan,
            first,
            last,
            n_threads=self._n_threads,
            n_bins=self._n_bins,
            probe=self._probe,
        )

    def _keep(self, gatherer: Paths | WatchedStatistics) -> None:
        portion = gatherer.portion()
        self._reach = gatherer.last
        if isinstance(gatherer, Paths):
            self._kept.append(portion)
            return
        reduced = self._empty_statistics(gatherer.last)
        if self._reduced is not None:
            reduced.add(self._reduced.portion())
        reduced.add(portion)
        self._reduced = reduced

    def _empty_statistics(self, n: int) -> Statistics:
        assert self._n_bins is not None
        return Statistics(self._plan, 0, n, n_threads=1, n_bins=self._n_bins)

    def _require_finite(self, values: NDArray[np.float64], which: str) -> None:
        bad = np.argwhere(~np.isfinite(values))
        if bad.size:
            row, column = bad[0].tolist()
            raise _Halt(
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
        if self._n_bins is None:
            paths = Paths(self._plan, 0, self._reach, self._plan.output(self._reach))
            while self._kept:
                # What was taken can go: memory for one more portion, not for twice as many.
                paths.add(self._kept.pop(0))
            result: Ensemble | EnsembleStatistics = paths.result(self.stopped)
        else:
            reduced = self._reduced or self._empty_statistics(0)
            result = reduced.result(self.stopped)
        return dataclasses.replace(result, n_requested=max(self._reach, self._next_look))


def _add(tallies: Sequence[Tally], values: NDArray[np.float64]) -> None:
    for column, tally in enumerate(tallies):
        tally.add(values[:, column])
