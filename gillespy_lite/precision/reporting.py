"""What a precise run says while it lasts: the intervals, and the time left."""

from __future__ import annotations

import math
import sys
import time
from typing import Any

from ..results.precision import PrecisionReport, TargetPrecision

__all__ = ["Shown", "forecast"]

_MOST_SHOWN = 2
_EVERY = 0.1  # seconds


def forecast(report: PrecisionReport, alpha: float) -> float:
    """Return how many trajectories will be needed.

    Widths fall as one over the square root of the number, and are wider by the ratio of normal
    quantiles at a look with a smaller share of the error than the last one is going to have.
    """
    from statistics import NormalDist  # 3 ms, which not every import should cost

    normal = NormalDist()
    wider = normal.inv_cdf(0.5 * report.steps[-1].alpha) / normal.inv_cdf(0.5 * alpha)
    ratios = [
        one.half_width / one.tolerance if one.tolerance > 0.0 else math.inf
        for one in report.targets
        if not one.is_reached
    ]
    worst = max(ratios, default=1.0)
    return report.n * max(1.0, (worst / max(1.0, wider)) ** 2) if worst < 1e100 else math.inf


class Shown:
    """One line on the standard error, or a function that is called, or nothing."""

    def __init__(self, progress: Any) -> None:
        if progress not in (True, False, None) and not callable(progress):
            raise TypeError(
                f"progress must be True, False or a function of (done, total), not {progress!r}"
            )
        self._call = progress if callable(progress) else None
        self._is_line = progress is True
        self._started = time.monotonic()
        self._most_done = 0.0
        self._total = math.nan
        self._text = ""
        self._was_shown, self._width = 0.0, 0

    def pilot(self, done: float) -> None:
        """Tell that the pilot is at work."""
        self._text = "pilot"
        self._show()

    def portion(self, n: int, expected: float) -> None:
        """Tell that there are `n` trajectories of the `expected` number."""
        self._text = "" if self._text == "pilot" else self._text
        if math.isnan(self._total) or self._total < n:
            self._total = expected
        self._tell(n)

    def tick(self, done: float) -> None:
        """Tell that `done` trajectories are finished."""
        self._tell(done)

    def look(self, report: PrecisionReport, alpha: float) -> None:
        """Tell what the intervals are now; `alpha` is the error of those of the look to end at."""
        self._total = max(forecast(report, alpha), float(report.n))
        lacking = sorted(report.targets, key=lambda one: one.is_reached)
        self._text = ", ".join(_short(one) for one in lacking[:_MOST_SHOWN])
        more = len(lacking) - _MOST_SHOWN
        if more > 0:
            self._text += f" and {more} more"
        self._was_shown = 0.0
        self._tell(report.n)

    def end(self) -> None:
        """End the line."""
        if self._is_line and self._width:
            self._was_shown = 0.0
            self._show()
            sys.stderr.write("\n")
            sys.stderr.flush()

    def _tell(self, done: float) -> None:
        # Some are computed before their turn comes.
        done = self._most_done = max(done, self._most_done)
        if self._call is not None:
            self._call(done, self._total)
        self._show(done)

    def _show(self, done: float | None = None) -> None:
        now = time.monotonic()
        if not self._is_line or now - self._was_shown < _EVERY:
            return
        self._was_shown = now
        line = f"ensemble: {self._text}"
        if done is not None:
            line = f"{line}{', ' if self._text else ''}{done:,.0f} trajectories"
            if 0 < done < self._total < math.inf:
                left = (now - self._started) * (self._total - done) / done
                line += f", about {left:.0f} s left"
        self._width = max(self._width, len(line))
        sys.stderr.write(f"\r{line.ljust(self._width)}")
        sys.stderr.flush()


def _short(target: TargetPrecision) -> str:
    width = f"{target.half_width:.2g}"
    if target.wanted.endswith("%") and target.estimate:
        width = f"{100.0 * target.half_width / abs(target.estimate):.2g}%"
    return f"{target.quantity} = {target.estimate:.4g} +/- {width}"
