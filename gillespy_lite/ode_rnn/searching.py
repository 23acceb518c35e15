"""Searches for the best free coordinates: least squares and L-BFGS, from one start or many.

A trial at which the unroll diverges is stepped back: least squares sees infinite residuals and
shrink their trust region; L-BFGS sees a steep bowl around the best point so far.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .estimates import FreeSpace
from .objective import Objective

__all__ = ["DIVERGES", "SEARCHES", "Found", "Stopped", "Watch", "starting_points"]

FloatArray = NDArray[np.float64]

DIVERGES = "the model diverges at the start"

_SCALE_ROUNDS = 30  # least squares, then new scales of noise, and again
_SCALE_TOLERANCE = 1e-7  # relative change of scales at which the rounds end
_WHITENING_ROUNDS = 8
_HIGHEST_WALL = 1e30
# Least squares are damped (Levenberg) as if each coordinate were known to 1e4 units, or to 1e8
# times what is known best. That moves no solution, but no steps go along flat directions.
_DAMPING = 1e-4
_RELATIVE_DAMPING = 1e-8
_LONGEST_STEP = 2.0  # of L-BFGS in any coordinate; longer ones end in spurious minima
_MOST_WHITENED = 40  # free coordinates; with more, the Jacobian would cost too much


class Stopped(Exception):  # noqa: N818 (it is no error)
    """Raised inside a search that has to end now."""


class Found(NamedTuple):
    """Where a search ended."""

    start: FloatArray  # (n_free,)
    u: FloatArray  # (n_free,) the best point that was seen
    value: float  # negative log-likelihood there, inf if none was finite
    converged: bool
    message: str
    history: FloatArray  # (n_evaluations,) negative log-likelihood of each trial


class Watch:
    """Counts evaluations of all searches, and ends them when time is up or somebody says so."""

    def __init__(self, timeout: float, report: Callable[[float], None]) -> None:
        self._deadline = time.monotonic() + timeout
        self._report = report
        self._lock = threading.Lock()
        self._done = 0
        self.stopped: str | None = None

    def stop(self, reason: str) -> None:
        """End all searches at their next evaluation."""
        self.stopped = self.stopped or reason

    def tick(self) -> None:
        """Count one evaluation."""
        if time.monotonic() > self._deadline:
            self.stop("timeout")
        if self.stopped:
            raise Stopped
        with self._lock:
            self._done += 1
            self._report(self._done)


class _Record:
    """What one search has seen."""

    def __init__(self, start: FloatArray, watch: Watch) -> None:
        self.start, self.best_u, self.best = start, start, math.inf
        self.history: list[float] = []
        self._watch = watch

    def add(self, u: FloatArray, value: float) -> None:
        self._watch.tick()
        self.history.append(value)
        if value < self.best:
            self.best, self.best_u = value, u.copy()

    def forget(self) -> None:
        """Compare what follows with nothing before: it is measured in another way."""
        self.best = math.inf

    def found(self, converged: bool, message: str) -> Found:
        return Found(self.start, self.best_u, self.best, converged, message, np.array(self.history))


def search_least_squares(
    objective: Objective,
    start: FloatArray,
    watch: Watch,
    max_evaluations: int,
    tolerance: float = 1e-12,
) -> Found:
    """Least squares by a trust region with RTRL Jacobians, in turns with the scales of noise.

    Notes
    -----
    The residuals are those of `Objective.residuals_and_jacobian`. The trust region is that of
    Branch, Coleman and Li (1999), SIAM J. Sci. Comput. 21, 1, doi:10.1137/S1064827595289108, as
    `scipy.optimize.least_squares` has it.
    """
    from scipy.optimize import least_squares

    record = _Record(start, watch)
    u = start
    scales = objective.rough_scales
    converged, message = False, ""

    # In steps from the start, in units of about the size of each coordinate, so that the first
    # trust region reaches no further than a factor of e.
    size = _sizes(objective, start)
    low, high = (objective.lower - start) / size, (objective.upper - start) / size

    def point(v: FloatArray) -> FloatArray:
        return np.clip(start + size * v, objective.lower, objective.upper)

    still = np.zeros(objective.n_free)  # residuals of the damping

    def residuals(v: FloatArray) -> FloatArray:
        found, value = objective.residuals_and_value(point(v), scales)
        record.add(point(v), value)
        return np.concatenate([found, still])

    def jacobian(v: FloatArray) -> FloatArray:
        found = objective.residuals_and_jacobian(point(v), scales)[1] * size
        longest = float(np.linalg.norm(found, axis=0).max(initial=0.0))
        damping = max(_DAMPING, _RELATIVE_DAMPING * longest)
        return np.concatenate([found, damping * np.eye(objective.n_free)])

    try:
        if not np.isfinite(objective.residuals_and_value(u, scales)[0]).all():
            return record.found(False, objective.obstacle(u) or DIVERGES)
        for _ in range(_SCALE_ROUNDS):
            left = max_evaluations - len(record.history)
            if left <= 0:
                message = f"stopped after {max_evaluations} evaluations"
                break
            result = least_squares(
                residuals,
                np.clip((u - start) / size, low, high),
                jacobian,
                bounds=(low, high),
                method="trf",
                ftol=tolerance,
                xtol=min(100.0 * tolerance, 1e-6),
                gtol=tolerance,
                max_nfev=left,
            )
            u = point(result.x)
            message = "another step of least squares improves nothing"
            if result.status <= 0:
                message = f"stopped after {max_evaluations} evaluations"
                break
            before, scales = scales, objective.scales(u)
            change = np.abs(np.log(scales / before)).max(initial=0.0)
            if change < _SCALE_TOLERANCE or not _scales_matter(objective):
                converged = True
                break
        else:
            message = "the scales of noise did not settle"
    except (Stopped, KeyboardInterrupt) as error:
        if isinstance(error, KeyboardInterrupt):
            watch.stop("interrupt")
        message = f"stopped by {watch.stopped}"
    return record.found(converged, message)


def _sizes(objective: Objective, u: FloatArray) -> FloatArray:
    """Return what counts as one step of each coordinate."""
    return np.where(objective.is_log | (u == 0.0), 1.0, np.abs(u))


def _scales_matter(objective: Objective) -> bool:
    """Whether the best parameters depend on the scales of noise."""
    columns = [column for one in objective.experiments for column in one.columns]
    groups = {column.group for column in columns}
    return groups not in ({-1}, {0}) or any(
        column.noise.has_spread and column.group >= 0 for column in columns
    )


def search_lbfgs(
    objective: Objective, start: FloatArray, watch: Watch, max_evaluations: int
) -> Found:
    """L-BFGS-B with BPTT gradients.

    Notes
    -----
    Byrd, Lu, Nocedal and Zhu (1995), SIAM J. Sci. Comput. 16, 1190, doi:10.1137/0916069, as SciPy
    has it. With up to 40 free coordinates they are scaled by the Gauss-Newton matrix at the start
    of each of a few rounds (by its diagonal if there are bounds).
    """
    from scipy.optimize import Bounds, minimize

    record = _Record(start, watch)
    lower, upper = objective.lower, objective.upper
    has_bounds = bool(np.isfinite(lower).any() or np.isfinite(upper).any())
    u, converged, message = start, False, ""
    # Scales of noise are rough guesses in the first round. At the best ones, a point far from the
    # data can be drawn to a spurious maximum, at which one column is met exactly.
    scales: FloatArray | None = objective.rough_scales if objective.group_names else None
    best = math.inf, start, np.zeros(objective.n_free)

    def trial(u: FloatArray) -> tuple[float, FloatArray]:
        nonlocal best
        far = np.abs((u - best[1]) / _sizes(objective, best[1])).max() > _LONGEST_STEP
        if far and math.isfinite(best[0]):
            value, gradient = math.inf, np.zeros(u.size)
        else:
            value, gradient = objective.value_and_gradient(u, scales)
            record.add(u, value)
        if value < best[0]:
            best = value, u, gradient
        if math.isfinite(value):
            return value, gradient
        # Too far, or diverged: a wall, so high that the line search comes back by a good part.
        away = u - best[1]
        height = min(max(1.0, 10.0 * abs(float(best[2] @ away))), _HIGHEST_WALL)
        return best[0] + height, 2.0 * height * away / max(float(away @ away), 1e-300)

    try:
        if not math.isfinite(objective.value(u)):
            return record.found(False, objective.obstacle(u) or DIVERGES)
        for _ in range(_WHITENING_ROUNDS):
            before = best[0]
            turn = _whitening(objective, u, scales, has_bounds)
            box = None
            if has_bounds:
                scale = 1.0 / np.diag(turn)
                box = Bounds((lower - u) * scale, (upper - u) * scale)
            origin = u

            def turned(
                v: FloatArray, origin: FloatArray = origin, turn: FloatArray = turn
            ) -> tuple[float, FloatArray]:
                point = np.clip(origin + turn @ v, lower, upper)
                value, gradient = trial(point)
                return value, turn.T @ gradient

            result = minimize(
                turned,
                np.zeros(objective.n_free),
                jac=True,
                method="L-BFGS-B",
                bounds=box,
                options={
                    "maxfun": max(1, max_evaluations - len(record.history)),
                    "maxiter": 10_000,
                    "maxcor": 20,
                    "ftol": 1e-15,
                    "gtol": 1e-8,
                },
            )
            u, message = best[1], str(result.message).capitalize()
            if len(record.history) >= max_evaluations:
                message = f"stopped after {max_evaluations} evaluations"
                break
            if scales is not None:
                scales, best = None, (math.inf, u, best[2])
                record.forget()
            elif before - best[0] < 1e-9 * max(1.0, abs(best[0])):
                converged, message = True, "another round of L-BFGS improves nothing"
                break
    except (Stopped, KeyboardInterrupt) as error:
        if isinstance(error, KeyboardInterrupt):
            watch.stop("interrupt")
        message = f"stopped by {watch.stopped}"
    return record.found(converged, message)


def _whitening(
    objective: Objective, u: FloatArray, scales: FloatArray | None, has_bounds: bool
) -> FloatArray:
    """Return the matrix from coordinates of about unit curvature to u, (n_free, n_free)."""
    n_free = objective.n_free
    if n_free > _MOST_WHITENED:
        return np.eye(n_free)
    # As if each coordinate were known to one unit already: no direction is so flat that a step
    # along it leaves the neighbourhood.
    size = _sizes(objective, u)
    _, jacobian = objective.residuals_and_jacobian(u, scales)
    with np.errstate(all="ignore"):
        curvature = (jacobian * size).T @ (jacobian * size) + np.eye(n_free)
    if not np.isfinite(curvature).all():
        return np.diag(size)
    if has_bounds:
        return np.diag(size / np.sqrt(np.diag(curvature)))
    values, vectors = np.linalg.eigh(curvature)
    return np.asarray(size[:, None] * vectors / np.sqrt(np.maximum(values, 1.0)))


SEARCHES: dict[str, Callable[[Objective, FloatArray, Watch, int], Found]] = {
    "least_squares": search_least_squares,
    "lbfgs": search_lbfgs,
}


def starting_points(space: FreeSpace, n: int, rng: Any) -> FloatArray:
    """Return the start of a search and `n` - 1 more, spread by Latin hypercube sampling.

    Parameters
    ----------
    space : FreeSpace
        Its bounds are where the starts lie: between them on the scale of each coordinate; without
        bounds within a factor of 10 of the start, or, on a linear scale, within its own size.
    n : int
        Number of starts.
    rng : numpy.random.Generator
        Source of randomness.

    Returns
    -------
    ndarray, shape (n, n_free), float64
        The first row is `space.start`.

    References
    ----------
    McKay, Beckman and Conover (1979), Technometrics 21, 239, doi:10.2307/1268522.
    """
    reach = np.where(space.is_log, math.log(10.0), np.maximum(np.abs(space.start), 1.0))
    low = np.where(np.isfinite(space.lower), space.lower, space.start - reach)
    high = np.where(np.isfinite(space.upper), space.upper, space.start + reach)
    points = np.empty((n, space.n_free))
    points[0] = space.start
    for k in range(space.n_free):
        cells = rng.permutation(n - 1)
        share = (cells + rng.random(n - 1)) / max(n - 1, 1)
        points[1:, k] = low[k] + share * (high[k] - low[k])
    return points
