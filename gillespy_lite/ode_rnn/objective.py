"""The negative log-likelihood of all experiments, as a function of free coordinates.

An `Objective` unrolls the recurrence once per experiment and compares it with the data. Its
gradient is propagated backwards through time (BPTT), its Jacobian forwards (RTRL). Scales of noise
that are not known are profiled out: the value is the likelihood at their best values, and since
the slope by a scale vanishes there, the gradient is that at fixed scales.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..errors import SimulationError
from .estimates import FreeSpace, initial_name
from .noise_models import NoiseModel

if TYPE_CHECKING:
    from .recurrence import Recurrence

__all__ = ["ColumnData", "Objective", "PreparedExperiment", "Window"]

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

# An estimated scale is not believed to be smaller than this share of the data, so that a perfect
# fit has a finite likelihood: value = n/2 log(rms^2 + floor^2).
_SCALE_FLOOR = 1e-9
# In least squares, log_spread enters as the residual sqrt(2 (log(spread/spread of the data) + C)):
# Raue et al. (2013), PLoS ONE 8, e74335, doi:10.1371/journal.pone.0074335. C only has to be large.
_SPREAD_OFFSET = 25.0


class ColumnData(NamedTuple):
    """The measured values of one column of one experiment, all replicates together."""

    column: str  # name in the table
    output: int  # index into the experiment's `outputs`
    noise: NoiseModel
    group: int  # index of the unknown scale, -1 if the scale is known
    rows: IntArray  # (n,) index into the experiment's `times`
    replicates: IntArray  # (n,) index into the experiment's `replicates`
    values: FloatArray  # (n,)
    width: FloatArray  # (n,) known part of the scale: sigma/sqrt(weight), or 1/sqrt(weight)


@dataclass(frozen=True, eq=False)
class PreparedExperiment:
    """One experiment as arrays.

    `observed`, `mask` and `weights` show the same numbers as `columns`, on the grid.

    Attributes
    ----------
    name : str
        Its name.
    times : ndarray, shape (n_times,), float64
        The grid on which the recurrence is unrolled; the initial state holds at the first one.
    outputs : tuple of str
        States and observables that were measured, the columns of the next three.
    observed : ndarray, shape (n_replicates, n_times, n_outputs), float64
        Measured values, nan where there is none.
    mask : ndarray of bool, the same shape
        Whether there is a value.
    weights : ndarray of float64, the same shape
        1/width**2; 0 where there is no value.
    columns : tuple of ColumnData
        The same values, one entry per column of the table.
    replicates : tuple of str
        Names of the replicates.
    parameters, initial : dict of str to float
        What this experiment fixes, other than the network does.
    inputs : dict of str to ndarray, shape (n_times,)
        Drivers on the grid.
    steps : int or ndarray or None
        Cells per interval of the grid; None for an adaptive cell.
    """

    name: str
    times: FloatArray
    outputs: tuple[str, ...]
    observed: FloatArray
    mask: NDArray[np.bool_]
    weights: FloatArray
    columns: tuple[ColumnData, ...]
    replicates: tuple[str, ...]
    parameters: dict[str, float]
    initial: dict[str, float]
    inputs: dict[str, FloatArray]
    steps: Any

    @property
    def n_data(self) -> int:
        """Number of measured values."""
        return sum(column.values.size for column in self.columns)


class Window(NamedTuple):
    """A piece of the time axis of one experiment."""

    experiment: int
    first: int  # index into the experiment's `times`, where the window starts
    last: int  # where it ends, itself included


class _Match(NamedTuple):
    """One column of one experiment against the model."""

    means: FloatArray  # (n,)
    residuals: FloatArray  # (n,) divided by the known part of the scale
    slopes: FloatArray  # (n,) d residuals/d means
    log_spread: FloatArray  # (n,)
    spread_slopes: FloatArray  # (n,)


def _match(column: ColumnData, outputs: FloatArray) -> _Match:
    means = outputs[column.rows, column.output]
    with np.errstate(all="ignore"):
        residuals, slopes = column.noise.residuals(column.values, means)
        log_spread, spread_slopes = column.noise.log_spread(means)
        return _Match(
            means, residuals / column.width, slopes / column.width, log_spread, spread_slopes
        )


def _is_sound(match: _Match) -> bool:
    return bool(
        np.isfinite(match.residuals).all()
        and np.isfinite(match.slopes).all()
        and np.isfinite(match.log_spread).all()
    )


class Objective:
    """Negative log-likelihood of all experiments in the free coordinates u.

    Parameters
    ----------
    recurrence : Recurrence
        The model.
    experiments : sequence of PreparedExperiment
        The data.
    space : FreeSpace
        What is estimated.
    group_names : sequence of str
        Names of the unknown scales of noise, in the order of `ColumnData.group`.
    threads : int, optional
        Passed on to the recurrence.

    Attributes
    ----------
    names : tuple of str
        Names of the free coordinates.
    is_log : ndarray of bool, shape (n_free,)
        Which coordinates are logarithms.
    start, lower, upper : ndarray, shape (n_free,), float64
        Where a search starts, and the box, infinite where there is no bound.
    """

    def __init__(
        self,
        recurrence: Recurrence,
        experiments: Sequence[PreparedExperiment],
        space: FreeSpace,
        group_names: Sequence[str] = (),
        threads: int | None = None,
    ) -> None:
        self.recurrence = recurrence
        self.experiments = tuple(experiments)
        self.space = space
        self.group_names = tuple(group_names)
        self.threads = threads
        self.names, self.is_log = space.names, space.is_log
        self.start, self.lower, self.upper = space.start, space.lower, space.upper
        self.n_data = sum(experiment.n_data for experiment in self.experiments)
        n_groups = len(self.group_names)
        self._counts = np.zeros(n_groups)
        squares = np.zeros(n_groups)
        self._constant = 0.0
        for experiment in self.experiments:
            for column in experiment.columns:
                # A weight multiplies the log-likelihood of a count, which has no width.
                weight = column.width**-2 if column.noise.name == "poisson" else 1.0
                self._constant += float(np.sum(weight * column.noise.constant(column.values)))
                if column.noise.name != "poisson":
                    self._constant += float(np.sum(np.log(column.width)))
                if column.group >= 0:
                    self._counts[column.group] += column.values.size
                    is_share = column.noise.has_spread or column.noise.name == "lognormal"
                    sizes = np.ones_like(column.values) if is_share else column.values
                    squares[column.group] += float(np.sum((sizes / column.width) ** 2))
        sizes = np.sqrt(squares / np.maximum(self._counts, 1.0))
        self._floors = _SCALE_FLOOR * np.where(sizes > 0.0, sizes, 1.0)
        self.rough_scales = 0.1 * np.where(sizes > 0.0, sizes, 1.0)  # before anything is fitted

    @property
    def n_free(self) -> int:
        """Number of free coordinates."""
        return len(self.names)

    @property
    def group_counts(self) -> FloatArray:
        """Number of values behind each unknown scale, (n_groups,)."""
        return self._counts

    def natural(self, u: FloatArray) -> dict[str, float]:
        """Return the values of what is estimated, by name."""
        return self.space.natural(u)

    def with_experiment(self, e: int, experiment: PreparedExperiment) -> Objective:
        """Return an objective for predictions, in which experiment `e` is another."""
        other = copy.copy(self)
        other.experiments = (*self.experiments[:e], experiment, *self.experiments[e + 1 :])
        return other

    # -- One experiment

    def setting(
        self, e: int, u: FloatArray
    ) -> tuple[dict[str, float], dict[str, float], dict[str, FloatArray] | None]:
        """Return parameters, initial values and inputs with which experiment `e` is unrolled."""
        experiment = self.experiments[e]
        parameters, initial = dict(experiment.parameters), dict(experiment.initial)
        for name, value in self.space.quantities(u, e).items():
            state = initial_name(name)
            if state:
                initial[state] = value
            else:
                parameters[name] = value
        return parameters, initial, experiment.inputs or None

    def unroll(self, e: int, u: FloatArray, times: FloatArray | None = None, **more: Any) -> Any:
        """Unroll experiment `e` on its grid; diverged paths are nan from there on."""
        experiment = self.experiments[e]
        parameters, initial, inputs = self.setting(e, u)
        options: dict[str, Any] = {"keep_diverged": True, "threads": self.threads}
        if experiment.steps is not None:
            options["steps"] = experiment.steps
        options.update(more)
        return self.recurrence.unroll(
            experiment.times if times is None else times,
            parameters=parameters or None,
            initial=initial or None,
            inputs=inputs,
            **options,
        )

    def _path(self, e: int, u: FloatArray, **more: Any) -> Any:
        """Return the unrolled experiment, or None if it diverges."""
        if not self._is_possible(u):
            return None
        try:
            path = self.unroll(e, u, **more)
        except SimulationError:  # an adaptive cell found no step
            return None
        return None if path.diverged else path

    def _is_possible(self, u: FloatArray) -> bool:
        """Whether every quantity that follows from u is finite."""
        return all(
            math.isfinite(value)
            for e in range(len(self.experiments))
            for value in self.space.quantities(u, e).values()
        )

    def outputs(self, e: int, u: FloatArray) -> FloatArray:
        """Return what the model predicts for experiment `e`, (n_times, n_outputs).

        All nan if it diverges.
        """
        experiment = self.experiments[e]
        path = self._path(e, u)
        if path is None:
            return np.full((experiment.times.size, len(experiment.outputs)), np.nan)
        return np.asarray(path.outputs(experiment.outputs), dtype=np.float64)

    def outputs_and_jacobian(self, e: int, u: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Return outputs (n_times, n_outputs) and their slopes (n_times, n_outputs, n_free)."""
        experiment = self.experiments[e]
        path = self._path(e, u)
        if path is None:
            shape = experiment.times.size, len(experiment.outputs)
            return np.full(shape, np.nan), np.full((*shape, self.n_free), np.nan)
        values, jacobian = path.sensitivities(
            wrt=list(self.space.moving), of=list(self.experiments[e].outputs)
        )
        with np.errstate(invalid="ignore"):
            return values, np.asarray(jacobian @ self.space.slopes(u, e))

    def chain(self, e: int, u: FloatArray, gradient: Any) -> FloatArray:
        """Return dL/du, (n_free,), from what `path.pull_back` gave for experiment `e`."""
        by_quantity = np.array([float(gradient[name]) for name in self.space.moving])
        return np.asarray(by_quantity @ self.space.slopes(u, e), dtype=np.float64)

    # -- The likelihood

    def scales(self, u: FloatArray) -> FloatArray:
        """Return the best unknown scales at u, (n_groups,)."""
        return self.scales_of([self.outputs(e, u) for e in range(len(self.experiments))])

    def scales_of(self, outputs: Sequence[FloatArray]) -> FloatArray:
        """Return the best unknown scales for the outputs of all experiments, (n_groups,)."""
        squares = np.zeros(len(self.group_names))
        for experiment, found in zip(self.experiments, outputs, strict=True):
            for column in experiment.columns:
                if column.group >= 0:
                    with np.errstate(over="ignore"):
                        squares[column.group] += float(np.sum(_match(column, found).residuals ** 2))
        # Written so that a scale at its floor is still a smooth function of u.
        return np.sqrt(squares / np.maximum(self._counts, 1.0) + self._floors**2)

    def loss_of_outputs(
        self, e: int, outputs: FloatArray, scales: FloatArray, first: int = 0
    ) -> tuple[float, FloatArray]:
        """Return the loss of a piece of experiment `e` at given scales, and its slopes.

        Parameters
        ----------
        e : int
            Which experiment.
        outputs : ndarray, shape (n_rows, n_outputs), float64
            What the model predicts at `times[first]`, `times[first + 1]`, ...
        scales : ndarray, shape (n_groups,)
            The unknown scales, for example `scales(u)`.
        first : int, optional
            Where the piece starts.

        Returns
        -------
        float
            Negative log-likelihood without constants; inf if a prediction is impossible.
        ndarray, shape (n_rows, n_outputs)
            Its slopes by the outputs.
        """
        loss = 0.0
        adjoints = np.zeros_like(outputs)
        for column in self.experiments[e].columns:
            inside = (column.rows >= first) & (column.rows < first + len(outputs))
            piece = column._replace(
                rows=column.rows[inside] - first,
                values=column.values[inside],
                width=column.width[inside],
            )
            match = _match(piece, outputs)
            if not _is_sound(match):
                return math.inf, np.zeros_like(outputs)
            scale = scales[column.group] if column.group >= 0 else 1.0
            part, slopes = _loss(match, scale)
            loss += part + match.residuals.size * math.log(scale)
            np.add.at(adjoints[:, piece.output], piece.rows, slopes)
        return loss, adjoints

    def value(self, u: FloatArray) -> float:
        """Return the negative log-likelihood at u, inf where the unroll diverges.

        Unknown scales are at their best for this u.
        """
        found = [self.outputs(e, u) for e in range(len(self.experiments))]
        return self.value_of(found, self.scales_of(found))

    def value_of(self, outputs: Sequence[FloatArray], scales: FloatArray) -> float:
        """Return the negative log-likelihood of the outputs of all experiments at given scales."""
        loss = self._constant
        if not np.isfinite(scales).all():
            return math.inf
        loss += float(np.sum(self._counts * np.log(scales)))
        squares = 0.0
        for experiment, found in zip(self.experiments, outputs, strict=True):
            for column in experiment.columns:
                match = _match(column, found)
                if not _is_sound(match):
                    return math.inf
                loss += float(match.log_spread.sum())
                if column.group < 0:
                    squares += 0.5 * float(np.sum(match.residuals**2))
        # The squares under unknown scales add up to half a unit each.
        loss += squares + 0.5 * float(self._counts.sum())
        return loss if math.isfinite(loss) else math.inf

    def obstacle(self, u: FloatArray) -> str:
        """Say which measured value is impossible at u under its noise model; "" if none is.

        Also "" where the unroll diverges.
        """
        for e, experiment in enumerate(self.experiments):
            outputs = self.outputs(e, u)
            for column in experiment.columns:
                match = _match(column, outputs)
                parts = match.residuals, match.slopes, match.log_spread
                wrong = np.isfinite(match.means) & ~np.isfinite(parts).all(axis=0)
                if wrong.any():
                    i = int(np.flatnonzero(wrong)[0])
                    return (
                        f"experiment {experiment.name!r}, column {column.column!r}, time "
                        f"{experiment.times[column.rows[i]]:g}: the model predicts "
                        f"{match.means[i]:g} and {column.values[i]:g} was measured, which "
                        f"{column.noise!r} makes impossible"
                    )
        return ""

    def value_and_gradient(
        self, u: FloatArray, scales: FloatArray | None = None
    ) -> tuple[float, FloatArray]:
        """Return the negative log-likelihood at u and its gradient (n_free,), by BPTT.

        Where the unroll diverges the value is inf and the gradient 0. Unknown scales are at their
        best for this u unless they are given.
        """
        gradient = np.zeros(self.n_free)
        paths = [self._path(e, u, for_gradient=True) for e in range(len(self.experiments))]
        if any(path is None for path in paths):
            return math.inf, gradient
        found = [
            np.asarray(path.outputs(experiment.outputs), dtype=np.float64)
            for path, experiment in zip(paths, self.experiments, strict=True)
        ]
        best = self.scales_of(found)
        loss = self.value_of(found, best)
        if scales is None:
            scales = best
        elif math.isfinite(loss):
            # From the best scales, where the squares add up to half a unit each, to the given ones.
            ratio = best**2 - self._floors**2
            given = np.log(scales / best) + 0.5 * (ratio / scales**2 - 1.0)
            loss += float(np.sum(self._counts * given))
        if not math.isfinite(loss):
            return math.inf, gradient
        for e, (path, experiment) in enumerate(zip(paths, self.experiments, strict=True)):
            _, adjoints = self.loss_of_outputs(e, found[e], scales)
            pulled = path.pull_back(
                {name: adjoints[:, k] for k, name in enumerate(experiment.outputs)}
            )
            gradient += self.chain(e, u, pulled)
        if not np.isfinite(gradient).all():
            return math.inf, np.zeros(self.n_free)
        return loss, gradient

    def residuals_and_value(self, u: FloatArray, scales: FloatArray) -> tuple[FloatArray, float]:
        """Return the residuals of `residuals_and_jacobian`, inf if diverged, and `value(u)`."""
        found = [self.outputs(e, u) for e in range(len(self.experiments))]
        parts = [
            part
            for experiment, outputs in zip(self.experiments, found, strict=True)
            for column in experiment.columns
            for part, _ in self._residual_parts(column, outputs, scales)
        ]
        joined = np.concatenate(parts)
        if not np.isfinite(joined).all():
            return np.full(joined.shape, np.inf), math.inf
        return joined, self.value_of(found, self.scales_of(found))

    def residuals_and_jacobian(
        self, u: FloatArray, scales: FloatArray | None = None
    ) -> tuple[FloatArray, FloatArray]:
        """Return standardised residuals and their slopes (n_residuals, n_free), by RTRL.

        Half the sum of squares is the negative log-likelihood at fixed `scales` (by default the
        best ones at u) plus a constant; for that, noise whose width depends on the prediction has
        a second residual for each value.
        """
        both = [self.outputs_and_jacobian(e, u) for e in range(len(self.experiments))]
        if scales is None:
            scales = self.scales_of([values for values, _ in both])
        residuals, rows = [], []
        for experiment, (outputs, jacobian) in zip(self.experiments, both, strict=True):
            for column in experiment.columns:
                of_means = jacobian[column.rows, column.output]
                for part, slopes in self._residual_parts(column, outputs, scales):
                    residuals.append(part)
                    rows.append(slopes[:, None] * of_means)
        joined, matrix = np.concatenate(residuals), np.concatenate(rows)
        if not (np.isfinite(joined).all() and np.isfinite(matrix).all()):
            return np.full(joined.shape, np.inf), np.zeros(matrix.shape)
        return joined, matrix

    def _residual_parts(
        self, column: ColumnData, outputs: FloatArray, scales: FloatArray
    ) -> list[tuple[FloatArray, FloatArray]]:
        """Return residuals and their slopes by the means."""
        match = _match(column, outputs)
        scale = scales[column.group] if column.group >= 0 else 1.0
        parts = [(match.residuals / scale, match.slopes / scale)]
        if column.noise.has_spread:
            with np.errstate(all="ignore"):
                of_data, _ = column.noise.log_spread(column.values)
                size = np.sqrt(2.0 * (match.log_spread - of_data + _SPREAD_OFFSET))
                parts.append((size, match.spread_slopes / size))
        return parts

    def standardised(self, u: FloatArray, scales: FloatArray) -> list[list[FloatArray]]:
        """Return the residuals of each experiment and column, in units of the noise."""
        found = []
        for e, experiment in enumerate(self.experiments):
            outputs = self.outputs(e, u)
            found.append(
                [
                    self._residual_parts(column, outputs, scales)[0][0]
                    for column in experiment.columns
                ]
            )
        return found

    # -- Pieces of the time axis

    def windows(self, length: int) -> list[Window]:
        """Cut each experiment into windows of `length` intervals of its grid; the last may be less.

        A window starts where the one before it ends.
        """
        if length < 1:
            raise ValueError(f"a window must be at least one interval long, not {length}")
        return [
            Window(e, first, min(first + length, experiment.times.size - 1))
            for e, experiment in enumerate(self.experiments)
            for first in range(0, experiment.times.size - 1, length)
        ]


def _loss(match: _Match, scale: float) -> tuple[float, FloatArray]:
    """Return the loss of one column without constants, and its slopes by the means."""
    scaled = match.residuals / scale
    slopes = scaled * match.slopes / scale + match.spread_slopes
    return 0.5 * float(scaled @ scaled) + float(match.log_spread.sum()), slopes
