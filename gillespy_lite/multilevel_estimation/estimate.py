"""What multilevel Monte Carlo gives back: estimates, their errors, and what each level took."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..names import did_you_mean
from ..network import Network
from ..results import Provenance
from ..results.recorded import GRID_TOLERANCE, read_only
from ..results.summaries import Summary, cut_short, first_and_last, listed
from ..results.tables import plain_table

if TYPE_CHECKING:
    import pandas
    from matplotlib.axes import Axes

__all__ = ["Level", "MultilevelEstimate"]

FloatArray = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Level:
    """One level: the mean difference between two kinds of paths, or of the first kind by itself.

    Attributes
    ----------
    kind : str
        ``"leaps"``, ``"finer and coarser leaps"``, ``"exact path and leaps"`` or ``"exact path"``.
    n_steps, n_coarser_steps : int
        Steps of the finer and the coarser leap paths up to the last time; 0 where there is none.
    longest_step : float
        Of the coarser leap path, or the only one, in the unit of time; nan for exact paths.
    n : int
        Number of paths, or pairs.
    means, variances : ndarray, shape (n_times, n_outputs), float64
        Of the differences, finer minus coarser.
    work : float
        Of a path, counted: about nanoseconds of one core, see `MultilevelEstimate.work`.
    """

    kind: str
    n_steps: int
    n_coarser_steps: int
    longest_step: float
    n: int
    means: FloatArray
    variances: FloatArray
    work: float

    def __post_init__(self) -> None:
        """Make the arrays read-only."""
        _freeze(self)

    @property
    def name(self) -> str:
        """The level in a few words, for tables and plots."""
        if self.kind == "leaps":
            return f"{self.n_steps} leaps"
        if self.kind == "finer and coarser leaps":
            return f"{self.n_steps} - {self.n_coarser_steps} leaps"
        if self.kind == "exact path and leaps":
            return f"exact - {self.n_coarser_steps} leaps"
        return "exact"


@dataclass(frozen=True, eq=False, repr=False)
class MultilevelEstimate:
    """Means of functions of the state, from `multilevel`.

    Attributes
    ----------
    times : ndarray, shape (n_times,), float64
        In the time unit of the rate constants.
    outputs : tuple of str
        What was averaged.
    estimates : ndarray, shape (n_times, n_outputs), float64
        In molecules for species; probabilities for conditions.
    standard_errors : ndarray, shape (n_times, n_outputs), float64
        Of the estimates. For conditions two pairs that differ are supposed in each level beyond
        those that were seen, so that it is not 0 where none was.
    half_widths : ndarray, shape (n_times, n_outputs), float64
        Of the confidence intervals: `standard_errors` times a quantile of Student's t.
    wanted_half_widths : ndarray, shape (n_times, n_outputs), float64
        What was asked for, inf where nothing was.
    confidence : float
        Of each interval by itself.
    levels : tuple of Level
        The estimate is the sum of their means.
    work : float
        Of the whole run, pilot runs among it: steps, events and draws that were counted, weighted
        with what each takes in nanoseconds on the machine where this was measured. It does not
        depend on the clock.
    exact_variances : ndarray, shape (n_times, n_outputs), float64
        Of the outputs of one exact path.
    exact_work : float
        Counted work of an exact path by itself: of the direct method in lanes.
    n_exact : float
        How many exact paths would give the same error, of the output and time where most are
        needed, among those that a tolerance was asked for.
    network, provenance : Network, Provenance
        What was run, and how.
    stopped : str or None
        What cut the run short: ``"timeout"``, ``"interrupt"`` or ``"error"``.
    """

    times: FloatArray
    outputs: tuple[str, ...]
    estimates: FloatArray
    standard_errors: FloatArray
    half_widths: FloatArray
    wanted_half_widths: FloatArray
    confidence: float
    levels: tuple[Level, ...]
    work: float
    exact_variances: FloatArray
    exact_work: float
    n_exact: float
    network: Network
    provenance: Provenance
    stopped: str | None = None

    def __post_init__(self) -> None:
        """Make the arrays read-only."""
        _freeze(self)

    @property
    def is_reached(self) -> bool:
        """Whether all intervals are as narrow as was asked for."""
        return bool((self.half_widths <= self.wanted_half_widths).all())

    @property
    def gain(self) -> float:
        """How many times more work exact paths by themselves would take for the same error.

        In counted work, see `work`; 1 at most if only exact paths were run.
        """
        return self.n_exact * self.exact_work / self.work if self.work > 0.0 else float("nan")

    def estimate(self, output: Any = None, t: float | None = None) -> Any:
        """Return the estimate of one output at one time.

        Parameters
        ----------
        output : str or Species or Observable, optional
            One of `outputs`; may be left out if there is one alone.
        t : float, optional
            One of `times`; by default the last.

        Returns
        -------
        float

        Raises
        ------
        KeyError
            If there is no such output.
        ValueError
            If `t` is none of the times.
        """
        return float(self.estimates[self.row(t), self.column(output)])

    def standard_error(self, output: Any = None, t: float | None = None) -> float:
        """Return the standard error of one output at one time; arguments as for `estimate`."""
        return float(self.standard_errors[self.row(t), self.column(output)])

    def interval(self, output: Any = None, t: float | None = None) -> tuple[float, float]:
        """Return the confidence interval of one output at one time; arguments as for `estimate`."""
        place = self.row(t), self.column(output)
        half = float(self.half_widths[place])
        return float(self.estimates[place]) - half, float(self.estimates[place]) + half

    def __getitem__(self, output: Any) -> FloatArray:
        """Return the estimates of one output over time, shape (n_times,)."""
        return self.estimates[:, self.column(output)]

    def summary(self, t: float | None = None) -> str:
        """Return a plain-text table of estimates, and what each level took.

        Parameters
        ----------
        t : float, optional
            One of `times`; by default the last.
        """
        levels = self._levels_summary().text().lstrip("\n")
        return f"{self._summary(t).text()}\n\n{levels}"

    def to_pandas(self) -> pandas.DataFrame:
        """Return a pandas table; without pandas, `MissingExtraError`.

        Returns
        -------
        pandas.DataFrame
            One row per time and output, with the columns ``time``, ``output``, ``estimate``,
            ``standard_error`` and ``half_width``.
        """
        n_times, n_outputs = self.estimates.shape
        return plain_table(
            {
                "time": np.repeat(self.times, n_outputs).tolist(),
                "output": list(self.outputs) * n_times,
                "estimate": self.estimates.ravel().tolist(),
                "standard_error": self.standard_errors.ravel().tolist(),
                "half_width": self.half_widths.ravel().tolist(),
            }
        )

    def plot(self, output: Any = None, t: float | None = None, *, ax: Axes | None = None) -> Axes:
        """Draw variance and work of a path, level by level; return the Axes. Nothing is shown.

        Parameters
        ----------
        output : str or Species or Observable, optional
            One of `outputs`; by default the first.
        t : float, optional
            One of `times`; by default the last.
        ax : matplotlib.axes.Axes, optional
            Where to draw; by default on a new figure.
        """
        from .. import plotting

        return plotting.plot_levels(self, output, t, ax=ax)

    def __repr__(self) -> str:
        """Return one line: of what, when, and by how many levels."""
        n, end = self.times.size, self.times[-1]
        when = f"at t = {end:g}" if n == 1 else f"{n} times up to {end:g}"
        levels = f"{len(self.levels)} level" + "s" * (len(self.levels) != 1)
        return (
            f"<MultilevelEstimate of {listed(self.outputs)}: {when}, {levels}"
            f"{cut_short(self.stopped)}>"
        )

    def _repr_html_(self) -> str:
        return self._summary(None).html() + self._levels_summary().html()

    def row(self, t: float | None = None) -> int:
        """Return the row of one of `times`, by default the last; a `ValueError` if it is none."""
        if t is None:
            return self.times.size - 1
        nearest = int(np.argmin(np.abs(self.times - t)))
        tolerance = GRID_TOLERANCE * float(np.abs(self.times).max())
        if not abs(self.times[nearest] - t) <= tolerance:
            raise ValueError(
                f"t = {t:g} is none of the times, which are {first_and_last(self.times)}; the "
                f"nearest is {self.times[nearest]:g}"
            )
        return nearest

    def column(self, output: Any = None) -> int:
        """Return the column of an output; a `KeyError` if there is no such output."""
        if output is None:
            if len(self.outputs) > 1:
                raise KeyError(f"name one of the outputs: {listed(self.outputs)}")
            return 0
        name = str(getattr(output, "name", output)).strip()
        if name not in self.outputs:
            raise KeyError(
                f"there is no output {name!r}{did_you_mean(name, self.outputs)} (there are: "
                f"{listed(self.outputs)})"
            )
        return self.outputs.index(name)

    def _summary(self, t: float | None) -> Summary:
        row = self.row(t)
        gain = f"{self.gain:.2g} times less counted work than exact paths alone"
        alone = len(self.levels) == 1
        lines = (
            f"Multilevel estimate{cut_short(self.stopped)}: {self.confidence:.4g} confidence, "
            + ("as precise as asked for" if self.is_reached else "less precise than asked for"),
            self.provenance.method_reason if alone else f"{self.provenance.method_reason}; {gain}",
        )
        numbers = np.stack(
            [
                one[row]
                for one in (
                    self.estimates,
                    self.standard_errors,
                    self.half_widths,
                    self.wanted_half_widths,
                )
            ]
        )
        rows: list[tuple[str, *tuple[float, ...]]] = [
            (name, *numbers[:, k].tolist()) for k, name in enumerate(self.outputs)
        ]
        header = (f"at t = {self.times[row]:g}", "estimate", "std. error", "+/-", "wanted")
        return Summary(lines, header, rows)

    def _levels_summary(self) -> Summary:
        # The variance shown is that of the first output, at the last time.
        rows = [
            (one.name, float(one.n), float(one.variances[-1, 0]), 1e-3 * one.work,
             100.0 * one.n * one.work / self.work)
            for one in self.levels
        ]  # fmt: skip
        header = ("level", "paths", f"variance of {self.outputs[0]}", "us a path", "% of work")
        return Summary((), header, rows)


def _freeze(result: Any) -> None:
    for name, value in vars(result).items():
        if isinstance(value, np.ndarray):
            object.__setattr__(result, name, read_only(value))
