"""What an ensemble and the statistics of one share: moments, extremes and their summary."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from .columns import Name
from .precision import PrecisionReport
from .recorded import FloatArray, Recorded
from .summaries import Summary, cut_short, first_and_last, listed, method_lines

__all__ = ["ManyTrajectories"]


class ManyTrajectories(Recorded):
    """Statistics over trajectories, at every time of the grid."""

    hitting_times: FloatArray
    n_requested: int
    stopped: str | None
    precision: PrecisionReport | None

    if TYPE_CHECKING:  # a property of one, a field of the other

        @property
        def n_trajectories(self) -> int:
            """Number of trajectories."""

    @property
    def hit_fraction(self) -> float:
        """Share of trajectories in which ``stop_when`` became true; nan if none was given."""
        if not self.has_condition or len(self) == 0:
            return math.nan
        return float(np.mean(~np.isnan(self.hitting_times)))

    @property
    def has_condition(self) -> bool:
        """Whether the run had a ``stop_when``, so that hitting times mean something."""
        given = self.provenance.options.get("stop_when") is not None
        return given or not bool(np.isnan(self.hitting_times).all())

    def __len__(self) -> int:
        """Return the number of trajectories."""
        return self.n_trajectories

    def time_index(self, t: float) -> int:
        """Return the index of the grid time that stands for `t`: the last one that is not after it.

        Parameters
        ----------
        t : float
            Time within the grid. A time within a relative 1e-12 of a grid time counts as that
            grid time.

        Raises
        ------
        ValueError
            If `t` lies outside the grid.
        """
        return self._row_at(t)

    def mean(self, name: Name | None = None) -> FloatArray:
        """Return the mean over trajectories.

        Parameters
        ----------
        name : str, Species or Observable, optional
            Only this one.

        Returns
        -------
        ndarray, shape (n_times, n_columns), or (n_times,) if `name` is given
            In molecules for species, or molecules per volume for those that a compartment shows as
            concentrations; nan without trajectories.
        """
        return self._statistic("mean", name)

    def var(self, name: Name | None = None) -> FloatArray:
        """Return the variance over trajectories, with ``n_trajectories - 1`` in the divisor.

        Argument and shape are those of `mean`. In molecules squared for species; nan with fewer
        than two trajectories.
        """
        return self._statistic("var", name)

    def std(self, name: Name | None = None) -> FloatArray:
        """Return the standard deviation over trajectories, the square root of `var`.

        Argument, shape and unit are those of `mean`; nan with fewer than two trajectories.
        """
        return np.sqrt(self.var(name))

    def minimum(self, name: Name | None = None) -> NDArray[Any]:
        """Return the smallest value over trajectories; all else is as in `mean`."""
        return self._statistic("minimum", name)

    def maximum(self, name: Name | None = None) -> NDArray[Any]:
        """Return the largest value over trajectories; all else is as in `mean`."""
        return self._statistic("maximum", name)

    def cov(self, t: float, names: Sequence[Name] | None = None) -> FloatArray:
        """Return the covariance matrix at one time, with ``n_trajectories - 1`` in the divisor.

        Parameters
        ----------
        t : float
            Time within the grid, looked up by `time_index`.
        names : sequence of str, Species or Observable, optional
            Rows and columns of the matrix; by default `columns`.

        Returns
        -------
        ndarray, shape (n_names, n_names)
            In molecules squared for species; nan with fewer than two trajectories.
        """
        row = self.time_index(t)
        if isinstance(names, str):
            raise TypeError(f"names must be a list of names, like [{names!r}], not one text")
        return self._covariance_at(row, names)

    def confidence_band(
        self, level: float = 0.95, name: Name | None = None
    ) -> tuple[FloatArray, FloatArray]:
        """Return a confidence interval for the mean at every time.

        The interval is ``mean ± z std / sqrt(n_trajectories)``, the normal approximation: good
        from some tens of trajectories on, too narrow for fewer or for very skewed counts, and
        valid for each time by itself, not for all at once.

        Parameters
        ----------
        level : float, optional
            Probability with which the interval covers the true mean, between 0 and 1.
        name : str, Species or Observable, optional
            Only this one.

        Returns
        -------
        lower, upper : ndarray, shape (n_times, n_columns), or (n_times,) if `name` is given
            In molecules for species; nan with fewer than two trajectories.

        Raises
        ------
        ValueError
            If `level` is not between 0 and 1.
        """
        if not 0.0 < level < 1.0:
            raise ValueError(f"level must lie between 0 and 1, like 0.95, but is {level!r}")
        from statistics import NormalDist  # 3 ms, which not every import should cost

        z = NormalDist().inv_cdf(0.5 + level / 2.0)
        mean, half_width = self.mean(name), z * self.std(name) / math.sqrt(max(1, len(self)))
        return mean - half_width, mean + half_width

    def summary(self, t: float | None = None) -> str:
        """Return a plain-text table of mean, standard deviation, smallest and largest value.

        Parameters
        ----------
        t : float, optional
            Time within the grid; by default the last.
        """
        return self._summary(t).text()

    def __repr__(self) -> str:
        """Return one line: what, how much, and how it was made."""
        return (
            f"<{type(self).__name__} of {len(self)} trajectories of {listed(self.columns)}: "
            f"{self.n_times} times from {first_and_last(self.times)}, "
            f"{self.provenance.method}, entropy {self.provenance.entropy}"
            f"{cut_short(self.stopped, len(self), self.n_requested)}>"
        )

    def _summary(self, t: float | None = None) -> Summary:
        row = self.n_times - 1 if t is None else self.time_index(t)
        lines = [
            f"{type(self).__name__} of {len(self)} trajectories, "
            f"t = {first_and_last(self.times)} at {self.n_times} times"
            f"{cut_short(self.stopped, len(self), self.n_requested)}",
            *method_lines(self.provenance),
        ]
        if self.has_condition and len(self):
            lines.append(
                f"the condition was met in {100 * self.hit_fraction:.4g} % of the trajectories"
            )
        if self.precision is not None:
            lines += self.precision.lines()
        table = zip(self.columns, self._statistics_at(row), strict=True)
        rows = [(column, *numbers) for column, numbers in table]
        header = (f"at t = {self.times[row]:g}", "mean", "std", "min", "max")
        return Summary(tuple(lines), header, rows)

    def _statistic(self, which: str, name: Name | None) -> NDArray[Any]:
        """Return "mean", "var", "minimum" or "maximum" of one name or of every column."""
        raise NotImplementedError

    def _statistics_at(self, row: int) -> FloatArray:
        """Return mean, std, minimum and maximum at one time, of shape (n_columns, 4)."""
        raise NotImplementedError

    def _covariance_at(self, row: int, names: Sequence[Name] | None) -> FloatArray:
        """Return the matrix that `cov` documents."""
        raise NotImplementedError
