"""What a fit found: estimates with their uncertainty, likelihood, residuals and predictions."""

from __future__ import annotations

import html
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..names import did_you_mean
from ..randomness import generator, take_entropy
from .bands import Bands, predict_bands
from .estimates import initial_name
from .objective import Objective
from .profiles import Profile, profile_likelihood
from .uncertainty import FlatDirection, Uncertainty

if TYPE_CHECKING:
    import pandas
    from matplotlib.axes import Axes

    from ..network import Network

__all__ = ["FitResult", "Start"]

FloatArray = NDArray[np.float64]


@dataclass(frozen=True)
class Start:
    """One start of a search, and where it led.

    Attributes
    ----------
    start, estimates : dict of str to float
        Where the search started and ended.
    loss : float
        Negative log-likelihood at the end; inf if the model diverged at the start.
    converged : bool
        Whether the optimiser said so.
    message : str
        What it said.
    n_evaluations : int
        Trials.
    """

    start: dict[str, float]
    estimates: dict[str, float]
    loss: float
    converged: bool
    message: str
    n_evaluations: int


@dataclass(frozen=True, eq=False, repr=False)
class FitResult:
    """Estimates, how sure they are, and how well the model fits.

    ``result["k"]`` is the estimate of k. Names are those of parameters, ``"X(0)"`` for initial
    values, and ``"k[experiment]"`` where each experiment has its own. Units are those of the
    network. Printing shows a table.

    Attributes
    ----------
    estimates : dict of str to float
        The most likely values.
    standard_errors : dict of str to float
        From the Fisher information; inf for what the data do not determine, nan for what ended at
        a bound. On a log scale the error of the logarithm times the estimate.
    log_likelihood : float
        At the estimates and the most likely scales of noise.
    scales : dict of str to float
        Scales of noise that were not known, corrected for the parameters that were estimated.
    n_data, n_estimated : int
        Number of measured values; of estimates, unknown scales included.
    converged : bool
        Whether the optimiser of the best start said so.
    message : str
        What it said.
    loss_history : ndarray
        Negative log-likelihood of each trial of the best start (of each epoch, of a trainer).
    starts : tuple of Start
        All starts, the best first.
    identifiability : tuple of FlatDirection
        Combinations that the data do not determine; empty if all is well.
    uncertainty : Uncertainty
        The Fisher information, in the free coordinates (logarithms of what is positive).
    u : ndarray, shape (n_free,), float64
        The free coordinates.
    objective : Objective
        The likelihood that was made large.
    stopped : str or None
        What cut the fit short: "timeout", "interrupt"; None if it ran to its end.
    training : TrainingResult or None
        What a trainer had to tell.
    n_starts : int
        Starts that were asked for; if the fit was cut short, more than there are in `starts`.
    """

    objective: Objective
    u: FloatArray
    scale_values: FloatArray  # (n_groups,) most likely
    uncertainty: Uncertainty
    log_likelihood: float
    converged: bool
    message: str
    loss_history: FloatArray
    starts: tuple[Start, ...]
    stopped: str | None
    solver_tolerance: float
    again: Callable[..., FitResult] = field(repr=False)
    training: Any = None
    n_starts: int = 1  # that were asked for

    # -- Numbers

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the estimates."""
        return self.objective.names

    @property
    def estimates(self) -> dict[str, float]:
        """The most likely values."""
        return self.objective.natural(self.u)

    def __getitem__(self, name: str) -> float:
        """Return one estimate."""
        self._place(name)
        return self.estimates[name]

    def _place(self, name: str) -> int:
        if name not in self.names:
            raise KeyError(
                f"{name!r} was not estimated{did_you_mean(name, self.names)}; there are "
                f"{', '.join(self.names)}"
            )
        return self.names.index(name)

    @property
    def quantities(self) -> dict[str, dict[str, float]]:
        """For each experiment, what was estimated or is tied to it."""
        return {
            one.name: self.objective.space.quantities(self.u, e)
            for e, one in enumerate(self.objective.experiments)
        }

    @property
    def network(self) -> Network:
        """The network with the estimates in place of its numbers.

        The values are those of the first experiment, where each has its own. Initial values of
        species are rounded to whole molecules; initial values that the network derives from
        parameters are not, and then it can be solved by a `Recurrence` but not simulated.
        """
        network = self.objective.recurrence.network
        found = next(iter(self.quantities.values()))
        parameters = {name: value for name, value in found.items() if not initial_name(name)}
        counted = set(network.species_names)
        initial = {
            initial_name(name): float(round(value)) if initial_name(name) in counted else value
            for name, value in found.items()
            if initial_name(name)
        }
        changed = network.with_parameters(parameters) if parameters else network
        return changed.with_initial(initial) if initial else changed

    @property
    def _errors(self) -> FloatArray:
        """Standard errors in the free coordinates, (n_free,)."""
        with np.errstate(invalid="ignore"):
            return np.sqrt(np.diag(self.uncertainty.covariance))

    @property
    def standard_errors(self) -> dict[str, float]:
        """Standard errors of the estimates."""
        with np.errstate(invalid="ignore"):
            errors = self._errors * self.objective.space.slopes_of(self.u)
        return dict(zip(self.names, errors.tolist(), strict=True))

    @property
    def covariance(self) -> FloatArray:
        """Covariance of the estimates, (n_free, n_free)."""
        slopes = self.objective.space.slopes_of(self.u)
        with np.errstate(invalid="ignore"):
            return self.uncertainty.covariance * np.outer(slopes, slopes)

    @property
    def correlation(self) -> FloatArray:
        """Correlation of the free coordinates, (n_free, n_free)."""
        errors = self._errors
        with np.errstate(all="ignore"):
            found = self.uncertainty.covariance / np.outer(errors, errors)
        np.fill_diagonal(found, np.where(np.isnan(errors), np.nan, 1.0))
        return found

    def confidence_intervals(self, level: float = 0.95) -> dict[str, tuple[float, float]]:
        """Return confidence intervals from the Fisher information.

        They are worked out in the free coordinates, so that what is positive has a positive
        interval, with Student's distribution if a scale of noise was estimated.

        Parameters
        ----------
        level : float, optional
            Probability that an interval holds the true value.

        Returns
        -------
        dict of str to (float, float)
            Lower and upper end; nan for what ended at a bound.
        """
        if not 0.0 < level < 1.0:
            raise ValueError(f"level must be between 0 and 1, not {level!r}")
        with np.errstate(invalid="ignore"):
            reach = self._errors * self.uncertainty.quantile(level)
        low = self.objective.space.values_of(self.u - reach)
        high = self.objective.space.values_of(self.u + reach)
        return {
            name: (float(a), float(b)) for name, a, b in zip(self.names, low, high, strict=True)
        }

    @property
    def scales(self) -> dict[str, float]:
        """Unknown scales of noise, corrected for the parameters that were estimated."""
        values = self.scale_values * self.uncertainty.scale_correction
        return dict(zip(self.objective.group_names, values.tolist(), strict=True))

    @property
    def n_data(self) -> int:
        """Number of measured values."""
        return self.objective.n_data

    @property
    def n_estimated(self) -> int:
        """Number of estimates, unknown scales of noise included."""
        return len(self.names) + len(self.objective.group_names)

    @property
    def aic(self) -> float:
        """Akaike's information criterion; smaller is better."""
        return 2.0 * self.n_estimated - 2.0 * self.log_likelihood

    @property
    def bic(self) -> float:
        """Bayesian information criterion (Schwarz's); smaller is better."""
        return self.n_estimated * math.log(self.n_data) - 2.0 * self.log_likelihood

    @property
    def identifiability(self) -> tuple[FlatDirection, ...]:
        """Combinations that the data do not determine."""
        return self.uncertainty.flat

    # -- Data and model

    @property
    def residuals(self) -> dict[str, dict[str, FloatArray]]:
        """For each experiment and column, the residuals in units of the noise.

        About normal with variance 1 if model and noise are right. In the order of `points`.
        """
        widths = self.scale_values * np.where(
            np.isfinite(self.uncertainty.scale_correction), self.uncertainty.scale_correction, 1.0
        )
        found = self.objective.standardised(self.u, widths)
        return {
            experiment.name: {
                column.column: values
                for column, values in zip(experiment.columns, parts, strict=True)
            }
            for experiment, parts in zip(self.objective.experiments, found, strict=True)
        }

    @property
    def predictions(self) -> dict[str, dict[str, FloatArray]]:
        """For each experiment, ``time`` and what the model predicts there, on its grid."""
        found = {}
        for e, experiment in enumerate(self.objective.experiments):
            outputs = self.objective.outputs(e, self.u)
            columns = {name: outputs[:, k] for k, name in enumerate(experiment.outputs)}
            found[experiment.name] = {"time": experiment.times, **columns}
        return found

    def points(self) -> dict[str, NDArray[Any]]:
        """Return one row per measured value.

        Returns
        -------
        dict of str to ndarray
            ``experiment``, ``replicate``, ``column``, ``time``, ``value``, ``prediction`` and
            ``residual`` (in units of the noise).
        """
        residuals = self.residuals
        table: dict[str, list[Any]] = {
            name: []
            for name in (
                "experiment", "replicate", "column", "time", "value", "prediction", "residual",
            )
        }  # fmt: skip
        for e, experiment in enumerate(self.objective.experiments):
            outputs = self.objective.outputs(e, self.u)
            for column in experiment.columns:
                n = column.values.size
                table["experiment"] += [experiment.name] * n
                table["replicate"] += [experiment.replicates[k] for k in column.replicates]
                table["column"] += [column.column] * n
                table["time"] += experiment.times[column.rows].tolist()
                table["value"] += column.values.tolist()
                table["prediction"] += outputs[column.rows, column.output].tolist()
                table["residual"] += residuals[experiment.name][column.column].tolist()
        return {name: np.array(values) for name, values in table.items()}

    def predicted_bands(
        self,
        t: ArrayLike | None = None,
        level: float = 0.95,
        *,
        names: str | list[str] | tuple[str, ...] | None = None,
        experiment: str | int | None = None,
        method: str = "delta",
        n_samples: int = 1000,
        include_noise: bool = False,
        rng: Any = None,
    ) -> Bands:
        """Predict paths with bands from the uncertainty of the estimates.

        Parameters
        ----------
        t : float or array_like, shape (n_times,), optional
            End time (then 201 times) or times; by default those from the start of the experiment
            to its last measurement. They may lie beyond the data.
        level : float, optional
            Probability that a band holds the true path, at any one time.
        names : str or sequence of str, optional
            States and observables; by default those that were measured.
        experiment : str or int, optional
            Whose setting to predict; by default the first.
        method : {"delta", "sample"}, optional
            ``"delta"``: by the slopes of the path, on a log scale for what is never negative
            unless the band is too wide for that.
            ``"sample"``: quantiles of the paths of sampled estimates.
        n_samples : int, optional
            Paths for ``"sample"``.
        include_noise : bool, optional
            Add the noise of a new measurement, where weights or sigmas differ that of a median one.
        rng : None, int, SeedSequence or Generator, optional
            Source of randomness for ``"sample"``.

        Returns
        -------
        Bands
            Paths and bands on the times.
        """
        return predict_bands(
            self.objective,
            self.u,
            self.scale_values,
            self.uncertainty,
            t,
            names=names,
            experiment=experiment,
            level=level,
            method=method,
            n_samples=n_samples,
            include_noise=include_noise,
            rng=generator(take_entropy(rng)),
            tolerance=self.solver_tolerance,
        )

    def profile(self, name: str, *, level: float = 0.95, n_points: int = 10) -> Profile:
        """Return the likelihood profile of one estimate, with its interval.

        The estimate is held at values to both sides, and the others are fitted at each. Unlike
        those from the Fisher information, the interval need not be symmetric on any scale.

        Parameters
        ----------
        name : str
            The estimate.
        level : float, optional
            Level of the interval.
        n_points : int, optional
            About how many values to each side within the interval.

        Returns
        -------
        Profile
            Values, losses, the other estimates, and the interval.
        """
        k = self._place(name)
        return profile_likelihood(
            self.objective,
            self.u,
            name,
            level=level,
            standard_error=float(self._errors[k]),
            dof=float(self.uncertainty.degrees_of_freedom[k]),
            n_points=n_points,
        )

    def refit(self, data: Any, **changes: Any) -> FitResult:
        """Fit the same estimates to other data, starting where this fit ended.

        Parameters
        ----------
        data : table, Experiment, or list or mapping of them
            As in `fit`.
        **changes
            Other arguments of `fit` than those of this fit, for example ``starts=1``.

        Returns
        -------
        FitResult
            The new fit.
        """
        return self.again(data, self.u, **changes)

    # -- Tables

    def _rows(self, level: float = 0.95) -> list[tuple[str, float, float, float, float]]:
        intervals = self.confidence_intervals(level)
        errors = self.standard_errors
        return [
            (name, value, errors[name], *intervals[name]) for name, value in self.estimates.items()
        ]

    def to_frame(self, kind: str = "estimates") -> pandas.DataFrame:
        """Return a table as a pandas DataFrame.

        Parameters
        ----------
        kind : {"estimates", "points", "starts"}, optional
            One row per estimate, per measured value (see `points`) or per start.

        Returns
        -------
        pandas.DataFrame
            The table.
        """
        import pandas

        if kind == "estimates":
            columns = ["name", "estimate", "standard_error", "lower", "upper"]
            return pandas.DataFrame(self._rows(), columns=columns).set_index("name")
        if kind == "points":
            return pandas.DataFrame(self.points())
        if kind == "starts":
            return pandas.DataFrame(
                [
                    {
                        "loss": one.loss,
                        "converged": one.converged,
                        "n_evaluations": one.n_evaluations,
                        **one.estimates,
                        **{f"{name} at start": value for name, value in one.start.items()},
                        "message": one.message,
                    }
                    for one in self.starts
                ]
            )
        raise ValueError(f"kind must be 'estimates', 'points' or 'starts', not {kind!r}")

    def _notes(self) -> list[str]:
        objective = self.objective
        models = dict.fromkeys(
            column.noise.name for one in objective.experiments for column in one.columns
        )
        scales = ", ".join(f"{name} = {value:.4g}" for name, value in self.scales.items())
        cut = f"stopped by {self.stopped}"
        n_ended = sum(not one.message.endswith(cut) for one in self.starts)
        told = f"; best of {self.n_starts} starts" if self.n_starts > 1 else ""
        if self.stopped and self.n_starts > 1:
            told = f"; {n_ended} of {self.n_starts} starts ended before the {self.stopped}"
        notes = [
            f"noise: {', '.join(models)}" + (f"; estimated {scales}" if scales else ""),
            f"log-likelihood {self.log_likelihood:.6g}, AIC {self.aic:.6g}, BIC {self.bic:.6g}",
            f"{'converged' if self.converged else 'NOT converged'}: {self.message}" + told,
        ]
        notes += [
            f"{name} ended at a bound; its uncertainty is not known"
            for name, is_there in zip(self.names, self.uncertainty.at_bound, strict=True)
            if is_there
        ]
        notes += [str(one) for one in self.identifiability]
        return notes

    def _title(self) -> str:
        n, data = len(self.names), self.n_data
        experiments = len(self.objective.experiments)
        return (
            f"Fit of {n} {'parameter' if n == 1 else 'parameters'} to {data} values of "
            f"{experiments} {'experiment' if experiments == 1 else 'experiments'}"
        )

    def __str__(self) -> str:
        """Return the estimates as a table, and how good the fit is."""
        header = ("name", "estimate", "std. error", "95 % interval", "")
        rows = [
            (name, _shown(value, error), f"{error:#.2g}", _shown(low, error), _shown(high, error))
            for name, value, error, low, high in self._rows()
        ]
        widths = [
            max(len(row[c]) for row in (*rows, ("", "", header[2], "", ""))) for c in range(5)
        ]
        widths[0] = max(widths[0], 4)
        widths[1] = max(widths[1], 8)
        wide = max(widths[3] + widths[4] + 4, len(header[3]))
        lines = [
            self._title(),
            "",
            f"{header[0]:<{widths[0]}}  {header[1]:>{widths[1]}}  {header[2]:>{widths[2]}}  "
            f"{header[3]:>{wide}}",
        ]
        for name, value, error, low, high in rows:
            interval = f"{low:>{widths[3]}} to {high:>{widths[4]}}"
            lines.append(
                f"{name:<{widths[0]}}  {value:>{widths[1]}}  {error:>{widths[2]}}  "
                f"{interval:>{wide}}"
            )
        return "\n".join([*lines, "", *self._notes(), "units: those of the network"])

    def __repr__(self) -> str:
        """Return the title and the estimates."""
        shown = ", ".join(f"{name}={value:.4g}" for name, value in self.estimates.items())
        return f"<FitResult: {shown}>"

    def _repr_html_(self) -> str:
        cells = "".join(
            f"<tr><th>{html.escape(name)}</th><td>{_shown(value, error)}</td><td>{error:#.2g}</td>"
            f"<td>{_shown(low, error)} to {_shown(high, error)}</td></tr>"
            for name, value, error, low, high in self._rows()
        )
        notes = "<br>".join(html.escape(note) for note in self._notes())
        return (
            f"<table><caption>{html.escape(self._title())}</caption><tr><th>name</th>"
            "<th>estimate</th><th>std. error</th><th>95 % interval</th></tr>"
            f"{cells}</table><p>{notes}<br>units: those of the network</p>"
        )

    def plot(self, kind: str = "fit", *, ax: Axes | None = None, **options: Any) -> Axes:
        """Draw the fit.

        Parameters
        ----------
        kind : {"fit", "residuals", "bands", "profile", "correlation", "history"}, optional
            What to draw.
        ax : matplotlib Axes, optional
            Where to draw; by default a new figure.
        **options
            Of that kind: ``experiment=``, ``names=``, ``level=``; for ``"profile"`` ``name=``.

        Returns
        -------
        matplotlib Axes
            With labels and a legend.
        """
        from gillespy_lite.plotting.fits import plot_fit_result

        return plot_fit_result(self, kind, ax=ax, **options)


def _shown(value: float, error: float) -> str:
    """Return a number with as many digits as its error allows, two more than the error's own."""
    if not math.isfinite(value):
        return f"{value:g}"
    if not (math.isfinite(error) and error > 0.0) or value == 0.0:
        return f"{value:.6g}"
    digits = math.floor(math.log10(abs(value))) - math.floor(math.log10(error)) + 2
    return f"{value:#.{min(max(digits, 2), 10)}g}".rstrip(".")
