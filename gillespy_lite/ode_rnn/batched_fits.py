"""Fits of one model to many data sets of the same layout, all at once.

Levenberg-Marquardt steps in which every trial unrolls a whole batch. The estimates are those of
`fit` (a test compares them); what it adds, starts, intervals and warnings, is left out.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .objective import Objective

__all__ = ["can_fit_in_batches", "fit_data_sets"]

FloatArray = NDArray[np.float64]

_MOST_TRIALS = 400  # narrow valleys are long
_DECREMENT = 1e-8  # expected decrease of the loss at which a fit has converged
_DAMPING, _LEAST_DAMPING, _MOST_DAMPING = 1e-3, 1e-9, 1e9
_LARGEST_STEP = 1.0  # of a free coordinate, so a factor of e on a log scale


def can_fit_in_batches(objective: Objective) -> bool:
    """Whether the likelihood is a sum of squares once the scales of noise are known."""
    return not any(
        column.noise.has_spread
        for experiment in objective.experiments
        for column in experiment.columns
    )


def fit_data_sets(
    objective: Objective,
    data: Sequence[Sequence[FloatArray]],
    start: FloatArray,
    deadline: float = math.inf,
) -> tuple[FloatArray, NDArray[np.bool_]]:
    """Fit the model to many data sets.

    Parameters
    ----------
    objective : Objective
        Says what is estimated, and how the data are laid out; its own values are not read.
    data : sequence of sequence of ndarray, shape (n_sets, n_values), float64
        Values of each experiment's columns, in their order, of every data set.
    start : ndarray, shape (n_free,), float64
        Where all searches start.
    deadline : float, optional
        Time of `time.monotonic` at which the searches end.

    Returns
    -------
    ndarray, shape (n_sets, n_free), float64
        The most likely free coordinates; unknown scales are profiled out.
    ndarray of bool, shape (n_sets,)
        Whether each search converged.

    Raises
    ------
    TimeoutError
        If a search is not finished at the deadline.
    """
    return _Batch(objective, data).search(start, deadline)


class _Batch:
    """The state of all searches."""

    def __init__(self, objective: Objective, data: Sequence[Sequence[FloatArray]]) -> None:
        self._objective, self._data = objective, data
        self._n_sets = len(data[0][0])
        self._counts = objective.group_counts

    def search(self, start: FloatArray, deadline: float) -> tuple[FloatArray, NDArray[np.bool_]]:
        n, n_free = self._n_sets, start.size
        lower, upper = self._objective.lower, self._objective.upper
        u = np.repeat(np.clip(start, lower, upper)[None], n, axis=0)
        loss, gradient, hessian = self._evaluate(u, np.arange(n))
        damping = np.full(n, _DAMPING)
        converged = np.zeros(n, dtype=bool)
        active = np.isfinite(loss)
        eye = np.eye(n_free)
        for _ in range(_MOST_TRIALS):
            rows = np.flatnonzero(active)
            if rows.size == 0:
                break
            if time.monotonic() > deadline:
                raise TimeoutError("the fits are not finished")
            # A coordinate that a bound holds back is left out of the step.
            held = ((u[rows] <= lower) & (gradient[rows] > 0.0)) | (
                (u[rows] >= upper) & (gradient[rows] < 0.0)
            )
            free = np.where(held, 0.0, 1.0)
            curvature = hessian[rows] * free[:, :, None] * free[:, None, :]
            diagonal = np.maximum(np.einsum("sii->si", curvature), 1e-30)
            damped = curvature + (damping[rows, None] * diagonal + held)[:, :, None] * eye
            step = -np.linalg.solve(damped, (free * gradient[rows])[:, :, None])[:, :, 0]
            longest = np.abs(step).max(axis=1, keepdims=True)
            step *= np.minimum(1.0, _LARGEST_STEP / np.maximum(longest, 1e-300))
            trial = np.clip(u[rows] + step, lower, upper)
            moved = trial - u[rows]
            # What a quadratic model of the loss promises.
            promise = -np.einsum("si,si->s", gradient[rows], moved) - 0.5 * np.einsum(
                "si,sij,sj->s", moved, hessian[rows], moved
            )
            arrived = promise < _DECREMENT
            converged[rows[arrived & (damping[rows] < 1.0)]] = True
            # A short step under heavy damping only says that the damping is heavy.
            damping[rows[arrived & (damping[rows] >= 1.0)]] *= 0.01
            active[rows[arrived & (damping[rows] < 1.0)]] = False
            rows, trial = rows[~arrived], trial[~arrived]
            if rows.size == 0:
                continue
            new_loss, new_gradient, new_hessian = self._evaluate(trial, rows)
            better = new_loss < loss[rows]
            taken = rows[better]
            u[taken], loss[taken] = trial[better], new_loss[better]
            gradient[taken], hessian[taken] = new_gradient[better], new_hessian[better]
            damping[taken] = np.maximum(damping[taken] * 0.1, _LEAST_DAMPING)
            worse = rows[~better]
            damping[worse] *= 10.0
            active[worse[damping[worse] > _MOST_DAMPING]] = False
        return u, converged

    def _evaluate(
        self, u: FloatArray, rows: NDArray[np.int64]
    ) -> tuple[FloatArray, FloatArray, FloatArray]:
        """Return loss (n,), its gradient (n, n_free) and Gauss-Newton Hessian of some data sets."""
        n, n_free = u.shape
        n_groups = self._counts.size
        squares = np.zeros((n, n_groups))
        # Sums over the values of each unknown scale, and of all known ones in the last place.
        gradients = np.zeros((n, n_groups + 1, n_free))
        hessians = np.zeros((n, n_groups + 1, n_free, n_free))
        known = np.zeros(n)
        for e, experiment in enumerate(self._objective.experiments):
            means, slopes = self._outputs(e, u)
            for column, values in zip(experiment.columns, self._data[e], strict=True):
                with np.errstate(all="ignore"):
                    residuals, by_mean = column.noise.residuals(
                        values[rows], means[:, column.rows, column.output]
                    )
                    residuals = residuals / column.width
                    jacobian = (by_mean / column.width)[:, :, None] * slopes[
                        :, column.rows, column.output
                    ]
                place = column.group if column.group >= 0 else n_groups
                total = np.einsum("sv,sv->s", residuals, residuals)
                if column.group >= 0:
                    squares[:, column.group] += total
                else:
                    known += total
                gradients[:, place] += np.einsum("sv,svi->si", residuals, jacobian)
                hessians[:, place] += np.matmul(jacobian.transpose(0, 2, 1), jacobian)
        floor = 1e-300
        variances = np.maximum(squares / np.maximum(self._counts, 1.0), floor)
        loss = 0.5 * known + 0.5 * (self._counts * np.log(variances)).sum(axis=1)
        weights = np.concatenate([1.0 / variances, np.ones((n, 1))], axis=1)
        gradient = np.einsum("sg,sgi->si", weights, gradients)
        hessian = np.einsum("sg,sgij->sij", weights, hessians)
        sound = (
            np.isfinite(loss)
            & np.isfinite(gradient).all(axis=1)
            & np.isfinite(hessian).all(axis=(1, 2))
        )
        loss[~sound] = np.inf
        gradient[~sound], hessian[~sound] = 0.0, np.eye(n_free)
        return loss, gradient, hessian

    def _outputs(self, e: int, u: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Return means (n, n_times, n_outputs) and slopes (n, n_times, n_outputs, n_free).

        nan where the unroll diverges.
        """
        objective, experiment = self._objective, self._objective.experiments[e]
        shape = len(u), experiment.times.size, len(experiment.outputs)
        settings = [objective.setting(e, one) for one in u]
        options: dict[str, Any] = {"keep_diverged": True, "threads": objective.threads}
        if experiment.steps is not None:
            options["steps"] = experiment.steps
        path = objective.recurrence.unroll(
            experiment.times,
            parameters=_stacked([one[0] for one in settings]),
            initial=_stacked([one[1] for one in settings]) or None,
            inputs=settings[0][2],
            **options,
        )
        diverged = np.asarray(path.diverged)
        if diverged.any():
            means, slopes = np.full(shape, np.nan), np.full((*shape, objective.n_free), np.nan)
            if not diverged.all():
                means[~diverged], slopes[~diverged] = self._outputs(e, u[~diverged])
            return means, slopes
        values, jacobian = path.sensitivities(
            wrt=list(objective.space.moving), of=list(experiment.outputs)
        )
        chain = np.array([objective.space.slopes(one, e) for one in u])
        with np.errstate(invalid="ignore"):
            return np.asarray(values), np.asarray(np.matmul(jacobian, chain[:, None]))


def _stacked(settings: Sequence[dict[str, float]]) -> dict[str, FloatArray]:
    return {name: np.array([one[name] for one in settings]) for name in settings[0]}
