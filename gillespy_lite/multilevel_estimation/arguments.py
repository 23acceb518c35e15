"""The arguments of `multilevel`, checked: times, levels, targets, and what a network may have."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..compilation import CompiledNetwork
from ..errors import MethodError
from ..lane_compilation import why_no_lanes
from ..run_plan import check_times, check_whole
from .outputs import Outputs

__all__ = [
    "MOST_STEPS",
    "Targets",
    "check_end_times",
    "check_levels",
    "check_targets",
    "refuse_what_moves",
    "shown_targets",
]

FloatArray = NDArray[np.float64]

# No leap path has more steps.
MOST_STEPS = 2**26


@dataclass(frozen=True)
class Targets:
    """The half-widths that intervals may have: the larger of two, each (n_outputs,)."""

    absolute: FloatArray
    relative: FloatArray

    def half_widths(self, estimates: FloatArray) -> FloatArray:
        """Return them, (n_times, n_outputs)."""
        return np.maximum(self.absolute, self.relative * np.abs(estimates))


def check_end_times(t: Any) -> FloatArray:
    """Return when the initial state holds and the times of the estimates."""
    times = check_times(t)
    if np.ndim(t) == 0:
        return times[[0, -1]]
    if times.size < 2:
        raise ValueError(
            f"t holds one time, {times[0]:g}, when the initial state holds; give the times of the "
            "estimates after it, or an end time alone"
        )
    return times


def refuse_what_moves(compiled: CompiledNetwork) -> None:
    """Refuse what leap paths in lanes cannot follow, by name."""
    network = compiled.network
    advice = "; use ensemble(network, t, n, statistics=True) with method 'direct'"
    cannot = "multilevel paths keep their propensities during a leap, so they cannot follow"
    if compiled.real_sided:
        raise MethodError(f"reaction {compiled.real_sided[0]} {compiled.why_real()}")
    if network.variable_names:
        raise MethodError(f"{cannot} the variable {network.variable_names[0]!r}{advice}")
    if compiled.time_dependent:
        raise MethodError(
            f"{cannot} the rate of reaction {compiled.time_dependent[0]}, which depends on the "
            f"time t{advice}"
        )
    if network.events:
        event = network.events[0]
        name = f" '{event.name}'" if event.name else ""
        raise MethodError(f"{cannot} event 1{name} (when {event.trigger}){advice}")
    if compiled.delayed:
        raise MethodError(f"{cannot} the delay of reaction {compiled.delayed[0]}{advice}")
    reason = why_no_lanes(compiled)
    if reason is not None:
        raise MethodError(f"coupled paths run in lanes, and this network cannot: {reason}{advice}")


def check_levels(levels: object) -> list[int]:
    """Return the numbers of steps of the leap paths, or say what is wrong with them."""
    if isinstance(levels, str) or not isinstance(levels, Sequence | np.ndarray):
        raise TypeError(f"levels must be a list of numbers of steps, not {levels!r}")
    steps = [check_whole(one, "each of levels", 1) for one in levels]
    if not steps:
        raise ValueError("levels is empty; give at least one number of steps")
    for one, following in itertools.pairwise(steps):
        if following % one or following == one:
            raise ValueError(
                f"each of levels must be a multiple of the one before, but {following} follows "
                f"{one}; for example levels=[{one}, {4 * one}]"
            )
    if steps[-1] > MOST_STEPS:
        raise ValueError(f"levels has {steps[-1]} steps; at most {MOST_STEPS} are possible")
    return steps


def check_targets(
    outputs: Outputs,
    tolerance: float | Mapping[str, float] | None,
    relative: float | Mapping[str, float] | None,
) -> Targets:
    """Return the targets of the outputs; 1 % of each if nothing is asked for."""
    if tolerance is None and relative is None:
        relative = 0.01
    absolute_ones = _by_output(outputs, tolerance, "tolerance")
    relative_ones = _by_output(outputs, relative, "relative_tolerance")
    free = np.isnan(absolute_ones) & np.isnan(relative_ones)
    absolute_ones = np.where(free, np.inf, np.nan_to_num(absolute_ones))
    return Targets(absolute_ones, np.nan_to_num(relative_ones))


def _by_output(
    outputs: Outputs, given: float | Mapping[str, float] | None, argument: str
) -> FloatArray:
    """Return a number for each output, nan where there is none."""
    found = np.full(len(outputs.names), np.nan)
    if given is None:
        return found
    if isinstance(given, Mapping):
        if not given:
            raise ValueError(f"{argument} is empty; give a number, or one for an output")
        for name, value in given.items():
            if name not in outputs.names:
                raise ValueError(
                    f"{argument} names '{name}', which is none of the outputs: "
                    f"{', '.join(outputs.names)}"
                )
            found[outputs.names.index(name)] = _positive(value, f"{argument} of '{name}'")
        return found
    found[:] = _positive(given, argument)
    return found


def _positive(value: Any, argument: str) -> float:
    is_number = isinstance(value, int | float | np.number) and not isinstance(value, bool)
    if not is_number or not 0.0 < float(value) < math.inf:
        raise ValueError(f"{argument} must be a number above 0, not {value!r}")
    return float(value)


def shown_targets(given: float | Mapping[str, float] | None) -> float | str | None:
    """Return tolerances as an option of a provenance."""
    if isinstance(given, Mapping):
        return ", ".join(f"{name}: {value:g}" for name, value in given.items())
    return None if given is None else float(given)
