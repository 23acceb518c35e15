"""What a run that went on until it was precise enough has reached."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

__all__ = ["PrecisionReport", "PrecisionStep", "TargetPrecision"]


@dataclass(frozen=True)
class TargetPrecision:
    """One target and what is known of it.

    Attributes
    ----------
    quantity : str
        What is estimated, such as ``"mean(P at 10)"``.
    estimate : float
        From the trajectories of the last look.
    lower, upper : float
        Ends of its confidence interval.
    tolerance : float
        Half the width that was asked for, in the unit of the estimate; nan without an estimate.
    wanted : str
        The tolerance as it was written.
    is_reached : bool
        Whether neither end is farther from the estimate than that.
    doubt : str
        Why the interval is not to be trusted, whatever its width; empty otherwise.
    """

    quantity: str
    estimate: float
    lower: float
    upper: float
    tolerance: float
    wanted: str
    is_reached: bool
    doubt: str = ""

    @property
    def half_width(self) -> float:
        """How far the farther end of the interval is from the estimate."""
        return max(self.upper - self.estimate, self.estimate - self.lower)

    def __str__(self) -> str:
        """Return one line: estimate, interval, what was asked for."""
        width = f"{self.half_width:.3g}"
        if self.wanted.endswith("%") and self.estimate:
            width = f"{100.0 * self.half_width / abs(self.estimate):.3g}%"
        state = (
            f"+/- {self.wanted} reached" if self.is_reached else f"+/- {self.wanted} not reached"
        )
        doubt = f"; {self.doubt}" if self.doubt else ""
        return (
            f"{self.quantity} = {self.estimate:.6g}, {self.lower:.6g} to {self.upper:.6g} "
            f"(+/- {width}): {state}{doubt}"
        )


@dataclass(frozen=True)
class PrecisionStep:
    """A look at the estimates on the way.

    Attributes
    ----------
    n : int
        Trajectories until then.
    alpha : float
        Error probability of each interval at this look.
    estimates, lower, upper : tuple of float
        One for each target, in the order of the report.
    """

    n: int
    alpha: float
    estimates: tuple[float, ...]
    lower: tuple[float, ...]
    upper: tuple[float, ...]


@dataclass(frozen=True)
class PrecisionReport:
    """What a run with ``until=`` has reached.

    Attributes
    ----------
    until : str
        The targets, as they were given.
    confidence : float
        Probability with which all intervals of all looks hold at once.
    targets : tuple of TargetPrecision
        One for each target, or for each time of a target ``everywhere``; at the last look.
    steps : tuple of PrecisionStep
        The looks, of growing number of trajectories.
    n_pilot : int
        Trajectories of the pilot, which planned the looks and are not in the result.
    reached : bool
        Whether all targets are.
    method : str
        How the intervals are made.
    """

    until: str
    confidence: float
    targets: tuple[TargetPrecision, ...]
    steps: tuple[PrecisionStep, ...]
    n_pilot: int
    reached: bool
    method: str

    @property
    def n(self) -> int:
        """Trajectories at the last look; the result may hold more if it was cut short."""
        return self.steps[-1].n if self.steps else 0

    def __getitem__(self, quantity: str) -> TargetPrecision:
        """Return a target by its quantity, such as ``report["mean(P)"]``."""
        for target in self.targets:
            if target.quantity == quantity:
                return target
        known = ", ".join(one.quantity for one in self.targets)
        raise KeyError(f"{quantity!r} was no target; there are {known}")

    def lines(self, most: int = 8) -> list[str]:
        """Return the report as lines: how it ended, then the targets, those that lack most first.

        Parameters
        ----------
        most : int, optional
            Targets that are listed.
        """
        n_reached = sum(one.is_reached for one in self.targets)
        state = "reached" if self.reached else f"not reached ({n_reached} of {len(self.targets)})"
        looks = f"{len(self.steps)} look{'s' * (len(self.steps) != 1)}"
        head = (
            f"precision {state} with {self.n} trajectories at {looks}, "
            f"{100.0 * self.confidence:g} % confidence in all together"
        )
        order = sorted(self.targets, key=_lack, reverse=True) if len(self.targets) > most else None
        shown = (order or list(self.targets))[:most]
        rest = len(self.targets) - len(shown)
        more = [f"  and {rest} more"] if rest else []
        return [head, *(f"  {one}" for one in shown), *more]

    def __str__(self) -> str:
        """Return the report with every target and the method."""
        return "\n".join((*self.lines(len(self.targets)), self.method))

    def to_json(self) -> dict[str, Any]:
        """Return the report as what JSON holds, except that numbers may be infinite or nan."""
        return asdict(self)

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> PrecisionReport:
        """Return the report that `to_json` gave."""

        def numbers(entries: Sequence[Any]) -> tuple[float, ...]:
            return tuple(map(float, entries))

        targets = [TargetPrecision(**one) for one in values["targets"]]
        steps = [
            PrecisionStep(
                one["n"],
                one["alpha"],
                numbers(one["estimates"]),
                numbers(one["lower"]),
                numbers(one["upper"]),
            )
            for one in values["steps"]
        ]
        return cls(**{**values, "targets": tuple(targets), "steps": tuple(steps)})


def _lack(target: TargetPrecision) -> float:
    ratio = target.half_width / target.tolerance if target.tolerance > 0.0 else math.inf
    return math.inf if math.isnan(ratio) else ratio
