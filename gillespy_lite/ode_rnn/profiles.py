"""Likelihood profiles: how the best fit worsens as one estimate is held at other values.

Reference: Venzon and Moolgavkar (1988), J. R. Stat. Soc. C 37, 87, doi:10.2307/2347496; Raue et
al. (2009), Bioinformatics 25, 1923, doi:10.1093/bioinformatics/btp358.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from .objective import Objective
from .searching import Watch, search_least_squares

if TYPE_CHECKING:
    from .estimates import FreeSpace

__all__ = ["Profile", "profile_likelihood"]

FloatArray = NDArray[np.float64]

_TOLERANCE = 1e-9  # of each fit of the others
_MOST_POINTS = 60  # to each side
_GAP = 0.25  # of the root of the loss between two points, as a share of that of the threshold
_LARGEST_STEP = 1.0  # in the free coordinate: a factor of e on a log scale
_NEAR_HOME = 4.0  # how far before the start of the search to begin, if it ended further away
_WIDEST = 20.0  # how far to go, in the free coordinate of a log scale


@dataclass(frozen=True, eq=False)
class Profile:
    """The profile of one estimate.

    Attributes
    ----------
    name : str
        The estimate.
    values : ndarray, shape (n_points,), float64
        Where it was held, increasing.
    loss : ndarray, shape (n_points,), float64
        Least negative log-likelihood there, minus that of the fit.
    others : ndarray, shape (n_points, n_free), float64
        All estimates there.
    names : tuple of str
        Names of the columns of `others`.
    estimate : float
        The best value.
    level, threshold : float
        Level of the interval, and the loss at which it ends.
    interval : tuple of float
        Profile-likelihood interval; 0, -inf or inf where the loss stays below the threshold.
    """

    name: str
    values: FloatArray
    loss: FloatArray
    others: FloatArray
    names: tuple[str, ...]
    estimate: float
    level: float
    threshold: float
    interval: tuple[float, float]

    def plot(self, *, ax: Any = None) -> Any:
        """Draw the profile.

        Parameters
        ----------
        ax : matplotlib Axes, optional
            Where to draw; by default a new figure.

        Returns
        -------
        matplotlib Axes
            With the threshold and the interval.
        """
        from gillespy_lite.plotting.fits import plot_profile

        return plot_profile(self, ax=ax)


class _Held(Objective):
    """An objective with one coordinate held; u lacks that coordinate."""

    def __init__(self, whole: Objective, k: int) -> None:
        self._whole, self._k = whole, k
        self._keep = np.delete(np.arange(whole.n_free), k)
        self._at = whole.start[k]
        self.__dict__.update(
            {
                name: value
                for name, value in vars(whole).items()
                if name not in {"names", "start", "lower", "upper"}
            }
        )
        self.names = tuple(whole.names[i] for i in self._keep)
        self.start, self.lower, self.upper = (
            one[self._keep] for one in (whole.start, whole.lower, whole.upper)
        )
        self.is_log = whole.is_log[self._keep]

    def hold(self, value: float) -> None:
        self._at = value

    def full(self, u: FloatArray) -> FloatArray:
        return np.insert(u, self._k, self._at)

    def outputs(self, e: int, u: FloatArray) -> FloatArray:
        return self._whole.outputs(e, self.full(u))

    def outputs_and_jacobian(self, e: int, u: FloatArray) -> tuple[FloatArray, FloatArray]:
        values, jacobian = self._whole.outputs_and_jacobian(e, self.full(u))
        return values, jacobian[..., self._keep]


def threshold_of(level: float, n_unknown: float, dof: float) -> float:
    """Return the rise of the negative log-likelihood at the ends of an interval.

    With `n_unknown` values under unknown scales the loss is n/2 log(sum of squares), and in a
    linear model it rises by n/2 log(1 + t^2/dof) where Student's interval ends.
    """
    from scipy.stats import chi2, t

    if n_unknown == 0 or not math.isfinite(dof):
        return 0.5 * float(chi2.ppf(level, 1))
    return 0.5 * n_unknown * math.log1p(float(t.ppf(0.5 * (1.0 + level), dof)) ** 2 / dof)


def profile_likelihood(
    objective: Objective,
    u: FloatArray,
    name: str,
    *,
    level: float,
    standard_error: float,
    dof: float,
    n_points: int,
    max_evaluations: int = 200,
) -> Profile:
    """Hold one coordinate at values around its best and fit the others.

    Parameters
    ----------
    objective : Objective
        The fit.
    u : ndarray, shape (n_free,), float64
        Its best coordinates.
    name : str
        Which coordinate.
    level : float
        Level of the interval.
    standard_error, dof : float
        Of the coordinate, to choose steps and threshold.
    n_points : int
        About how many values to each side within the interval.
    max_evaluations : int, optional
        Most evaluations for each value.
    """
    k = objective.names.index(name)
    space: FreeSpace = objective.space
    threshold = threshold_of(level, float(objective.group_counts.sum()), dof)
    best = objective.value(u)
    reach = standard_error * math.sqrt(2.0 * threshold)
    if not (math.isfinite(reach) and reach > 0.0):
        reach = 1.0 if space.is_log[k] else max(abs(float(u[k])), 1.0)
    if space.is_log[k]:
        reach = min(reach, _LARGEST_STEP * n_points)
    sides = [
        _walk(objective, u, k, sign * reach / n_points, best, threshold, max_evaluations)
        for sign in (-1.0, 1.0)
    ]
    points = [*sides[0][::-1], (u, 0.0), *sides[1]]
    at = np.array([point[k] for point, _ in points])
    loss = np.maximum(np.array([value for _, value in points]), 0.0)
    ends = []
    for side, sign in zip(sides, (-1.0, 1.0), strict=True):
        whole = [(u, 0.0), *side]
        bound = objective.lower[k] if sign < 0.0 else objective.upper[k]
        ends.append(_crossing([(p[k], v) for p, v in whole], threshold, sign, float(bound)))
    natural = np.array([space.values_of(point) for point, _ in points])
    to_value = np.exp if space.is_log[k] else np.asarray
    with np.errstate(over="ignore"):
        interval = float(to_value(ends[0])), float(to_value(ends[1]))
    return Profile(
        name=name,
        values=np.asarray(to_value(at), dtype=np.float64),
        loss=loss,
        others=natural,
        names=objective.names,
        estimate=float(space.values_of(u)[k]),
        level=level,
        threshold=threshold,
        interval=interval,
    )


def _walk(
    objective: Objective,
    u: FloatArray,
    k: int,
    step: float,
    best: float,
    threshold: float,
    max_evaluations: int,
) -> list[tuple[FloatArray, float]]:
    """Go from u to one side until the loss has passed the threshold, or far enough."""
    is_log = bool(objective.space.is_log[k])
    widest = _WIDEST if is_log else _WIDEST * max(abs(float(u[k])), abs(step))
    largest = _LARGEST_STEP if is_log else max(abs(float(u[k])), abs(step))
    bound = float(objective.upper[k] if step > 0.0 else objective.lower[k])
    held = _Held(objective, k) if objective.n_free > 1 else None
    home = float(objective.start[k]) - math.copysign(_NEAR_HOME, step)
    if is_log and (home - float(u[k])) * math.copysign(1.0, step) > _NEAR_HOME:
        # The estimate ran away to where it hardly matters: walk back from about where it started.
        widest += abs(home - float(u[k]))
        step = home - float(u[k])
    found: list[tuple[FloatArray, float]] = [(u, 0.0)]
    while len(found) <= _MOST_POINTS:
        (before, _), (point, loss) = found[max(len(found) - 2, 0)], found[-1]
        at = float(point[k]) + step
        at = min(at, bound) if step > 0.0 else max(at, bound)
        if at == point[k] or abs(at - u[k]) > widest:
            break
        trial, value = _held_fit(objective, held, k, at, before, point, max_evaluations)
        rise = value - best - loss
        found.append((trial, value - best))
        if not math.isfinite(value) or value - best > 1.2 * threshold:
            break
        if abs(step) > largest:  # back from far away
            step = math.copysign(largest if rise < 0.1 * threshold else 0.5 * largest, step)
        # About even steps of the root of the loss; where it is flat, ever longer ones.
        if rise < 0.1 * threshold:
            step = math.copysign(min(1.5 * abs(step), largest), step)
        elif rise > 0.4 * threshold:
            step *= 0.6
    # Where the loss rose by much in one step, look between.
    index = 1
    while index < len(found) and len(found) <= _MOST_POINTS:
        (low_point, low), (high_point, high) = found[index - 1], found[index]
        roots = math.sqrt(max(low, 0.0)), math.sqrt(max(high, 0.0))
        is_wide = abs(high_point[k] - low_point[k]) > 1e-3 * abs(found[-1][0][k] - u[k])
        if low < threshold and is_wide and roots[1] - roots[0] > _GAP * math.sqrt(threshold):
            middle = 0.5 * float(low_point[k] + high_point[k])
            trial, value = _held_fit(
                objective, held, k, middle, found[max(index - 2, 0)][0], low_point, max_evaluations
            )
            found.insert(index, (trial, value - best))
        else:
            index += 1
    return found[1:]


def _held_fit(
    objective: Objective,
    held: _Held | None,
    k: int,
    at: float,
    before: FloatArray,
    point: FloatArray,
    max_evaluations: int,
) -> tuple[FloatArray, float]:
    """Return the best point with coordinate `k` at `at`, and the loss there, inf if none."""
    if held is None:
        trial = np.array([at])
        return trial, objective.value(trial)
    # The others go on as they did in the last step.
    moved = float(point[k] - before[k])
    slope = (point - before) / moved if moved else np.zeros_like(point)
    guess = np.clip(point + slope * (at - point[k]), objective.lower, objective.upper)
    held.hold(at)
    # Where others ran away, their slopes vanish: search from near their start as well.
    home = objective.start - _NEAR_HOME
    is_away = objective.is_log & (point < home - _NEAR_HOME)
    starts = [guess, point]
    if is_away.any():
        starts.insert(0, np.where(is_away, np.maximum(home, objective.lower), point))
    best, least = point, math.inf
    for i, start in enumerate(starts):
        watch = Watch(math.inf, lambda done: None)
        result = search_least_squares(held, np.delete(start, k), watch, max_evaluations, _TOLERANCE)
        if watch.stopped:
            raise KeyboardInterrupt
        if result.value < least:
            best, least = held.full(result.u), result.value
        if math.isfinite(least) and i >= len(starts) - 2:
            break
    return held.full(np.delete(best, k)), least


def _crossing(
    side: list[tuple[float, float]], threshold: float, sign: float, bound: float
) -> float:
    """Return where the root of the loss crosses that of the threshold."""
    for (a, low), (b, high) in pairwise(side):
        if high >= threshold:
            if not math.isfinite(high):
                return b
            low_root, high_root = math.sqrt(max(low, 0.0)), math.sqrt(high)
            return a + (b - a) * (math.sqrt(threshold) - low_root) / (high_root - low_root)
    return bound if math.isfinite(bound) else sign * math.inf
