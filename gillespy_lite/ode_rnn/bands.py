"""Predictions with bands: what the uncertainty of the estimates means for paths."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..errors import NetworkError
from ..names import did_you_mean
from .estimates import initial_name
from .objective import ColumnData, Objective, PreparedExperiment
from .step_choice import choose_steps

if TYPE_CHECKING:
    import pandas

    from .uncertainty import Uncertainty

__all__ = ["Bands", "predict_bands"]

FloatArray = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Bands:
    """Predicted paths of one experiment, each with a band.

    ``bands["X"]`` is the predicted path of X, of shape (n_times,).

    Attributes
    ----------
    experiment : str
        Which setting is predicted.
    times : ndarray, shape (n_times,), float64
        In the time unit of the network.
    names : tuple of str
        States and observables, the columns of the next three.
    centre, lower, upper : ndarray, shape (n_times, n_names), float64
        The path at the estimates, and the band at each time.
    level : float
        Probability that the band holds the true path at any one time.
    method : str
        ``"delta"`` or ``"sample"``.
    includes_noise : bool
        Whether the band is for new measurements instead of for the path itself.
    """

    experiment: str
    times: FloatArray
    names: tuple[str, ...]
    centre: FloatArray
    lower: FloatArray
    upper: FloatArray
    level: float
    method: str
    includes_noise: bool

    def __getitem__(self, name: str) -> FloatArray:
        """Return the predicted path of one name, (n_times,)."""
        return np.asarray(self.centre[:, self._place(name)])

    def band(self, name: str) -> tuple[FloatArray, FloatArray]:
        """Return lower and upper end of the band of one name, (n_times,) each."""
        k = self._place(name)
        return np.asarray(self.lower[:, k]), np.asarray(self.upper[:, k])

    def _place(self, name: str) -> int:
        if name not in self.names:
            raise KeyError(f"{name!r} is not predicted here{did_you_mean(name, self.names)}")
        return self.names.index(name)

    def to_frame(self) -> pandas.DataFrame:
        """Return one row per time and name, as a pandas DataFrame."""
        import pandas

        n = len(self.names)
        return pandas.DataFrame(
            {
                "time": np.repeat(self.times, n),
                "name": np.tile(self.names, self.times.size),
                "centre": self.centre.ravel(),
                "lower": self.lower.ravel(),
                "upper": self.upper.ravel(),
            }
        )


def on_grid(
    objective: Objective,
    e: int,
    u: FloatArray,
    t: FloatArray,
    outputs: tuple[str, ...],
    tolerance: float,
) -> tuple[Objective, NDArray[np.int64]]:
    """Return an objective whose experiment `e` is solved at `t`, and the rows of `t` in its grid.

    Inputs last from their last known value on.
    """
    experiment = objective.experiments[e]
    start = experiment.times[0]
    if not np.isfinite(t).all() or t.min() < start:
        raise ValueError(f"t must be finite times from {start:g} on, when the initial state holds")
    old = experiment.times if experiment.inputs else experiment.times[:1]
    times = np.unique(np.concatenate([old, t]))
    held = getattr(objective.recurrence, "interpolation", "previous") == "previous"
    inputs = {}
    for name, values in experiment.inputs.items():
        if held:
            place = np.searchsorted(experiment.times, times, side="right") - 1
            inputs[name] = values[place]
        else:
            inputs[name] = np.interp(times, experiment.times, values)
    if times.size == 1:
        times = np.append(times, times[0] + 1.0)
        inputs = {name: np.repeat(values, 2) for name, values in inputs.items()}
    there = replace(experiment, times=times, outputs=outputs, inputs=inputs, columns=())
    if experiment.steps is not None:
        trial = objective.with_experiment(e, there)

        def states(steps: Any) -> FloatArray:
            return np.asarray(trial.unroll(e, u, steps=steps).states)

        steps = choose_steps(states, times, tolerance)
        there = replace(
            there, steps=experiment_steps(experiment, times) if steps is None else steps
        )
    return objective.with_experiment(e, there), np.searchsorted(times, t)


def experiment_steps(experiment: PreparedExperiment, times: FloatArray) -> NDArray[np.int64]:
    """Return steps on another grid that are as short as the shortest of the experiment."""
    lengths = np.diff(experiment.times)
    shortest = float((lengths / np.broadcast_to(experiment.steps, lengths.shape)).min())
    return np.asarray(np.ceil(np.diff(times) / shortest), dtype=np.int64)


def predict_bands(
    objective: Objective,
    u: FloatArray,
    scales: FloatArray,
    uncertainty: Uncertainty,
    t: ArrayLike | None,
    *,
    names: str | list[str] | tuple[str, ...] | None,
    experiment: str | int | None,
    level: float,
    method: str,
    n_samples: int,
    include_noise: bool,
    rng: np.random.Generator,
    tolerance: float,
) -> Bands:
    """Return predictions with bands; what `FitResult.predicted_bands` documents."""
    if not 0.0 < level < 1.0:
        raise ValueError(f"level must be between 0 and 1, not {level!r}")
    if method not in {"delta", "sample"}:
        raise ValueError(f"method must be 'delta' or 'sample', not {method!r}")
    e = experiment_index(objective, experiment)
    source = objective.experiments[e]
    if t is None:
        t = np.linspace(source.times[0], source.times[-1], 201)
    times = np.asarray(t, dtype=np.float64)
    if times.ndim == 0:
        times = np.linspace(source.times[0], float(times), 201)
    names = (names,) if isinstance(names, str) else tuple(names or source.outputs)
    for name in names:
        if name not in objective.recurrence.output_names:
            raise NetworkError(
                f"{name!r} is neither a state nor an observable of the network"
                f"{did_you_mean(name, objective.recurrence.output_names)}"
            )
    of_noise: dict[str, ColumnData] = {}
    for column in source.columns:
        of_noise.setdefault(source.outputs[column.output], column)
    if include_noise:
        for name in names:
            if name not in of_noise:
                raise ValueError(f"{name!r} was not measured, so the noise of it is not known")
    there, rows = on_grid(objective, e, u, times, names, tolerance)
    covariance = uncertainty.covariance.copy()
    covariance[uncertainty.at_bound, :] = covariance[:, uncertainty.at_bound] = 0.0
    widths = scales * uncertainty.scale_correction
    if method == "delta":
        values, jacobian = there.outputs_and_jacobian(e, u)
        centre, jacobian = values[rows], jacobian[rows]
        variance = _variance(jacobian, covariance)
        if include_noise:
            for k, name in enumerate(names):
                variance[:, k] += _noise_variance(of_noise[name], centre[:, k], widths)
        reach = float(uncertainty.quantile(level).max()) * np.sqrt(variance)
        cannot_be_negative = np.array((centre >= 0.0).all(axis=0))
        if include_noise:
            cannot_be_negative &= np.array(
                [of_noise[name].noise.name != "gaussian" for name in names]
            )
        lower, upper = _band(centre, reach, cannot_be_negative)
    else:
        centre = there.outputs(e, u)[rows]
        draws = _draws(there, e, u, covariance, uncertainty, n_samples, rng)[:, rows]
        if include_noise:
            for k, name in enumerate(names):
                column = of_noise[name]
                scale = float(np.median(column.width)) * (
                    widths[column.group] if column.group >= 0 else 1.0
                )
                draws[..., k] = column.noise.draw(
                    draws[..., k], np.full(draws.shape[:2], scale), rng
                )
        share = 0.5 * (1.0 - level)
        lower, upper = np.nanquantile(draws, [share, 1.0 - share], axis=0)
    return Bands(
        experiment=source.name,
        times=times,
        names=names,
        centre=centre,
        lower=np.asarray(lower),
        upper=np.asarray(upper),
        level=level,
        method=method,
        includes_noise=include_noise,
    )


def experiment_index(objective: Objective, experiment: str | int | None) -> int:
    """Return the place of an experiment, by default of the first one."""
    known = [one.name for one in objective.experiments]
    if experiment is None:
        return 0
    if isinstance(experiment, int) and 0 <= experiment < len(known):
        return experiment
    if experiment not in known:
        raise KeyError(
            f"there is no experiment {experiment!r}{did_you_mean(str(experiment), known)}; there "
            f"are {', '.join(known)}"
        )
    return known.index(str(experiment))


def _variance(jacobian: FloatArray, covariance: FloatArray) -> FloatArray:
    """Return the variance of each prediction; inf if it rests on what is not determined."""
    unknown = ~np.isfinite(np.diag(covariance))
    if not unknown.any():
        variance = np.einsum("tof,fg,tog->to", jacobian, covariance, jacobian)
        return np.asarray(np.maximum(variance, 0.0))
    inner = covariance.copy()
    inner[~np.isfinite(inner)] = 0.0
    variance = np.maximum(np.einsum("tof,fg,tog->to", jacobian, inner, jacobian), 0.0)
    touches = (np.abs(jacobian[..., unknown]) > 0.0).any(axis=-1)
    return np.where(touches, np.inf, variance)


def _noise_variance(column: ColumnData, means: FloatArray, widths: FloatArray) -> FloatArray:
    scale = float(np.median(column.width)) * (widths[column.group] if column.group >= 0 else 1.0)
    root = column.noise.information_root(means)
    with np.errstate(divide="ignore"):
        return np.where(root > 0.0, (scale / np.where(root > 0.0, root, 1.0)) ** 2, 0.0)


def _band(
    centre: FloatArray, reach: FloatArray, cannot_be_negative: NDArray[np.bool_]
) -> tuple[FloatArray, FloatArray]:
    """Return the band: on a log scale for what is never negative, if it is narrow enough for that.

    Where the reach is as large as the value itself, a log scale would exaggerate it without limit;
    such a band is symmetric and ends at 0.
    """
    lower, upper = centre - reach, centre + reach
    for k in np.flatnonzero(cannot_be_negative):
        middle, half = centre[:, k], reach[:, k]
        if ((half < middle) | ((half == 0.0) & (middle == 0.0))).all():
            with np.errstate(all="ignore"):
                factor = np.where(middle > 0.0, np.exp(half / middle), 1.0)
            lower[:, k], upper[:, k] = middle / factor, middle * factor
        else:
            lower[:, k] = np.maximum(lower[:, k], 0.0)
    return lower, upper


def _draws(
    objective: Objective,
    e: int,
    u: FloatArray,
    covariance: FloatArray,
    uncertainty: Uncertainty,
    n_samples: int,
    rng: np.random.Generator,
) -> FloatArray:
    """Return predicted paths for sampled estimates, (n_samples, n_times, n_outputs)."""
    unknown = ~np.isfinite(np.diag(covariance))
    if unknown.any():
        listed = ", ".join(np.array(objective.names)[unknown])
        raise ValueError(
            f"estimates that are not determined cannot be sampled; fix or tie some of {listed}"
        )
    dof = float(uncertainty.degrees_of_freedom.min())
    values, vectors = np.linalg.eigh(covariance)
    half = vectors * np.sqrt(np.maximum(values, 0.0))
    normal = rng.standard_normal((n_samples, u.size))
    if math.isfinite(dof):
        normal *= np.sqrt(dof / rng.chisquare(dof, (n_samples, 1)))
    points = np.clip(u + normal @ half.T, objective.lower, objective.upper)
    quantities = [objective.space.quantities(point, e) for point in points]
    parameters, initial, inputs = objective.setting(e, u)
    for name in objective.space.moving:
        batch = np.array([one[name] for one in quantities])
        state = initial_name(name)
        if state:
            initial[state] = batch  # type: ignore[assignment]
        else:
            parameters[name] = batch  # type: ignore[assignment]
    experiment = objective.experiments[e]
    options: dict[str, Any] = {} if experiment.steps is None else {"steps": experiment.steps}
    paths = objective.recurrence.unroll(
        experiment.times,
        parameters=parameters or None,
        initial=initial or None,
        inputs=inputs,
        keep_diverged=True,
        threads=objective.threads,
        **options,
    )
    return np.array(paths.outputs(experiment.outputs), dtype=np.float64)
