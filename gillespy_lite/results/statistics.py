"""The statistics of an ensemble whose trajectories were not kept."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..network import Network
from .columns import (
    Name,
    constant_size,
    is_concentration,
    name_text,
    size_name,
    stored_name,
    unknown_name_message,
)
from .files import write_csv
from .many_trajectories import ManyTrajectories
from .precision import PrecisionReport
from .provenance import Provenance
from .recorded import FloatArray, IntArray, freeze, read_only
from .reductions import check_probabilities
from .summaries import listed
from .tables import labelled_dataset, long_table

if TYPE_CHECKING:
    import pandas
    import xarray
    from matplotlib.axes import Axes

__all__ = ["EnsembleStatistics"]


@dataclass(frozen=True, eq=False, repr=False)
class EnsembleStatistics(ManyTrajectories):
    """Statistics of an ensemble whose trajectories were not kept, at constant memory.

    Attributes
    ----------
    times : ndarray, shape (n_times,), float64
        The grid, in the time unit of the rate constants.
    species : tuple of str
        Names of the whole-number columns.
    observables : tuple of str
        Names of the other columns, which follow the species in all arrays; may be empty.
    n_trajectories : int
        Number of trajectories that went in; fewer than `n_requested` if cut short.
    means : ndarray, shape (n_times, n_columns), float64
        Means, in molecules for species.
    comoments : ndarray, shape (n_times, n_columns, n_columns), float64
        Sums over trajectories of the products of two deviations from the mean.
    minima, maxima : ndarray, shape (n_times, n_columns), float64
        Smallest and largest values.
    bin_counts : ndarray, shape (n_times, n_species_columns, n_bins), int64
        Trajectories by count: bin b holds counts from ``b * width`` to ``(b + 1) * width - 1``.
    bin_widths : ndarray, shape (n_times, n_species_columns), int64
        Widths of the bins, powers of two, in molecules.
    hitting_times : ndarray, shape (n_trajectories,), float64; empty without ``stop_when``
        When ``stop_when`` was first true; nan if never. The state is held from then on.
    network, provenance : Network, Provenance
        What was run, and how.
    n_requested : int
        Trajectories asked for.
    stopped : str or None
        What cut the run short: "timeout", "interrupt" or "error", with ``until=`` also "max_n" or
        "memory"; None if it is complete.
    precision : PrecisionReport or None
        What a run with ``until=`` has reached.
    """

    times: FloatArray
    species: tuple[str, ...]
    observables: tuple[str, ...]
    n_trajectories: int
    means: FloatArray
    comoments: FloatArray
    minima: NDArray[Any]
    maxima: NDArray[Any]
    bin_counts: IntArray
    bin_widths: IntArray
    hitting_times: FloatArray
    network: Network
    provenance: Provenance
    n_requested: int
    stopped: str | None
    precision: PrecisionReport | None = None

    def __post_init__(self) -> None:
        """Refuse arrays that do not fit together, and make them read-only."""
        n_times, n_columns, n_species = self.times.size, len(self.columns), len(self.species)
        n_bins = self.bin_counts.shape[-1] if self.bin_counts.ndim else 0
        # Memory must not grow with the trajectories: without stop_when nothing is kept of each.
        kept_of_each = {"hitting_times": (self.n_trajectories,)} if self.hitting_times.size else {}
        freeze(
            self,
            times=(n_times,),
            means=(n_times, n_columns),
            minima=(n_times, n_columns),
            maxima=(n_times, n_columns),
            comoments=(n_times, n_columns, n_columns),
            bin_counts=(n_times, n_species, n_bins),
            bin_widths=(n_times, n_species),
            **kept_of_each,
        )

    __iter__ = None  # The trajectories are gone.

    def quantile(self, q: ArrayLike, name: Name | None = None) -> FloatArray:
        """Return quantiles over trajectories, where the recorded bins give them exactly.

        Parameters
        ----------
        q : float or array_like, shape (n_q,)
            Probabilities from 0 to 1; 0.5 is the median.
        name : str, Species or Observable, optional
            Only this one, which must be a recorded species.

        Returns
        -------
        ndarray, shape (n_times, n_columns), or (n_times,) if `name` is given
            In molecules, interpolated linearly as in `Ensemble.quantile`. If `q` is an array,
            there is a first axis of length n_q more.

        Raises
        ------
        ValueError
            If a bin is wider than one count, or `name` is an observable: then the quantiles are
            not known, and the trajectories have to be kept.
        """
        probabilities = check_probabilities(q)
        if name is not None:
            return self._quantile_of_column(probabilities, name)
        if not self.columns:
            return np.empty((*probabilities.shape, self.n_times, 0))
        paths = [self._quantile_of_column(probabilities, column) for column in self.columns]
        return np.stack(paths, axis=-1)

    def histogram(self, name: Name, t: float) -> tuple[NDArray[Any], IntArray]:
        """Return how many trajectories have which count at one time.

        Parameters
        ----------
        name : str or Species
            A recorded species.
        t : float
            Time within the grid, looked up by `time_index`.

        Returns
        -------
        edges : ndarray, shape (n_bins + 1,), int64 or float64
            Bin b holds counts from ``edges[b]``, included, to ``edges[b + 1]``, excluded; the
            bins are as narrow as recorded, and empty ones at both ends are left out. float64 of
            what is shown as a concentration.
        counts : ndarray, shape (n_bins,), int64
            Trajectories in each bin.

        Raises
        ------
        ValueError
            If there are no trajectories, or `name` is an observable, of which no histogram is
            kept.
        """
        column = self._species_column(name, "histogram")
        row = self.time_index(t)
        occupied = np.flatnonzero(self.bin_counts[row, column])
        if occupied.size == 0:
            raise ValueError("a histogram needs at least one trajectory, and there is none")
        first, last = int(occupied[0]), int(occupied[-1])
        edges = np.arange(first, last + 2, dtype=np.int64) * self.bin_widths[row, column]
        return self._shown(edges, name), self.bin_counts[row, column, first : last + 1]

    def amount(self, name: Name) -> tuple[FloatArray, FloatArray]:
        """Return mean and standard deviation of what was recorded under a name.

        ``mean(name)`` and ``std(name)`` may be those of a concentration.

        Parameters
        ----------
        name : str, Species or Observable
            A recorded name.

        Returns
        -------
        mean, std : ndarray, shape (n_times,)
            In molecules for species.
        """
        column = self._column(name)
        return read_only(self._moment("mean")[:, column]), np.sqrt(self._moment("var")[:, column])

    def concentration(self, name: Name) -> tuple[FloatArray, FloatArray]:
        """Return mean and standard deviation of what is in a compartment of constant size.

        Parameters
        ----------
        name : str, Species or Observable
            A recorded name, of something in one of ``network.compartments``.

        Returns
        -------
        mean, std : ndarray, shape (n_times,)
            In molecules per volume.

        Raises
        ------
        KeyError
            If it is in no compartment, or was not recorded.
        ValueError
            If the size may change: then the moments of amounts do not give those of concentrations.
        """
        text = stored_name(self.network, name_text(name))
        size_name(self.network, text)
        mean, std = self.amount(name)
        size = constant_size(self.network, text)
        return mean / size, std / size

    def to_pandas(self) -> pandas.DataFrame:
        """Return the statistics as a pandas table; without pandas, `MissingExtraError`.

        Returns
        -------
        pandas.DataFrame
            One row per time and name, with the columns ``time``, ``species`` (the name, also of
            an observable), ``mean``, ``std``, ``minimum`` and ``maximum``.
        """
        return long_table({"time": self.times}, self.columns, self._tables())

    def to_xarray(self) -> xarray.Dataset:
        """Return the statistics as an xarray dataset; without xarray, `MissingExtraError`.

        Returns
        -------
        xarray.Dataset, dims (time, species)
            The variables ``mean``, ``std``, ``minimum`` and ``maximum``; the coordinate
            ``species`` holds `columns`, the attributes the provenance.
        """
        axes = {"time": self.times}
        return labelled_dataset(axes, self.columns, self._tables(), self.provenance)

    def to_csv(self, path: str | os.PathLike[str]) -> None:
        """Write ``time,species,mean,std,minimum,maximum`` to `path`, a line per time and name."""
        tables = self._tables()
        numbers = np.stack(list(tables.values()), axis=-1).tolist()

        def lines() -> Iterator[str]:
            for time, rows in zip(self.times.tolist(), numbers, strict=True):
                for name, row in zip(self.columns, rows, strict=True):
                    yield f"{time},{name},{','.join(map(str, row))}"

        write_csv(path, ["time", "species", *tables], lines())

    def plot(self, kind: str = "band", *, ax: Axes | None = None, **options: Any) -> Axes:
        """Draw the statistics on `ax`, by default on a new figure; return the Axes, for
        changing and saving (``ax.figure.savefig(...)``). Nothing is shown.

        Parameters
        ----------
        kind : {"band", "histogram", "overlay", "hitting", "network"}, optional
            "band": mean and standard deviation over time; the others as in `Ensemble.plot`, the
            histogram of species only.
        **options
            Passed on to `plotting.plot_band`, `plot_histogram`, `plot_overlay`,
            `plot_hitting_times` or `draw_network`.
        """
        from .. import plotting

        return plotting.plot_result(self, kind, ax=ax, **options)

    def _tables(self) -> dict[str, NDArray[Any]]:
        """Return what other forms hold, each of shape (n_times, n_columns)."""
        return {
            "mean": self.mean(),
            "std": self.std(),
            "minimum": self.minimum(),
            "maximum": self.maximum(),
        }

    def _with_enough(self, array: NDArray[Any], n_needed: int) -> NDArray[Any]:
        """Return `array`, or nan in its shape if too few trajectories went into it."""
        if self.n_trajectories < n_needed:
            return np.full(array.shape, np.nan)
        return array

    def _column(self, name: Name) -> int:
        text = stored_name(self.network, name_text(name))
        if text in self.columns:
            return self.columns.index(text)
        if text in self.network.observable_names or text in self.network.state_names:
            raise KeyError(
                f"{text!r} was not recorded, and statistics cannot be computed afterwards; "
                f"add it to outputs= and run again (recorded: {listed(self.columns)})"
            )
        raise KeyError(unknown_name_message(self.network, text))

    def _species_column(self, name: Name, what: str) -> int:
        column = self._column(name)
        if column >= len(self.species):
            raise ValueError(
                f"there is no {what} of observable {name_text(name)!r}: statistics keep "
                "histograms of species only; run again without statistics=True"
            )
        return column

    def _quantile_of_column(self, probabilities: FloatArray, name: Name) -> FloatArray:
        """Interpolate linearly between order statistics, as NumPy does by default."""
        column = self._species_column(name, "quantile")
        widest = int(self.bin_widths[:, column].max(initial=1))
        if widest > 1:
            raise ValueError(
                f"the quantiles of {self.columns[column]!r} are not known exactly: its counts "
                f"were recorded in bins up to {widest} wide; run again without statistics=True, "
                "or use histogram(name, t)"
            )
        paths = np.full((*probabilities.shape, self.n_times), np.nan)
        if self.n_trajectories == 0:
            return paths
        positions = probabilities * (self.n_trajectories - 1)
        below = np.floor(positions)
        for row in range(self.n_times):
            cumulative = np.cumsum(self.bin_counts[row, column])
            # Order statistic number r, from 0, is the first count with more than r below or at it.
            lower = np.searchsorted(cumulative, below, side="right")
            upper = np.searchsorted(cumulative, np.ceil(positions), side="right")
            paths[..., row] = lower + (upper - lower) * (positions - below)
        return self._shown(paths, name)

    def _shown(self, numbers: NDArray[Any], name: Name, power: int = 1) -> NDArray[Any]:
        """Return numbers about amounts as such about concentrations, where these are shown."""
        text = stored_name(self.network, name_text(name))
        if not is_concentration(self.network, text):
            return numbers
        return np.asarray(numbers / constant_size(self.network, text) ** power)

    def _shown_or_nan(self, numbers: NDArray[Any], name: str, power: int = 1) -> NDArray[Any]:
        """Return the same, with nan where it is not known: one column must not cost the others."""
        try:
            return self._shown(numbers, name, power)
        except ValueError:
            return np.full(numbers.shape, np.nan)

    def _moment(self, which: str) -> NDArray[Any]:
        """Return statistics of what was recorded, of shape (n_times, n_columns)."""
        if which == "var":
            squares = np.diagonal(self.comoments, axis1=1, axis2=2)
            return self._with_enough(squares, 2) / max(1, self.n_trajectories - 1)
        kept = {"mean": self.means, "minimum": self.minima, "maximum": self.maxima}
        return self._with_enough(kept[which], 1)

    def _statistic(self, which: str, name: Name | None) -> NDArray[Any]:
        table, power = self._moment(which), 2 if which == "var" else 1
        if name is not None:
            return read_only(self._shown(table[:, self._column(name)], name, power))
        if any(is_concentration(self.network, column) for column in self.columns):
            columns = enumerate(self.columns)
            shown = [self._shown_or_nan(table[:, i], column, power) for i, column in columns]
            table = np.stack(shown, axis=-1)
        return read_only(table)

    def _statistics_at(self, row: int) -> FloatArray:
        return np.stack([table[row] for table in self._tables().values()], axis=-1)

    def _covariance_at(self, row: int, names: Sequence[Name] | None) -> FloatArray:
        matrix = self._with_enough(self.comoments[row], 2) / max(1, self.n_trajectories - 1)
        if names is None:
            scale = np.array([self._shown_or_nan(np.ones(()), column) for column in self.columns])
            return np.asarray(matrix * np.outer(scale, scale))
        chosen = [self._column(name) for name in names]
        scale = np.array([self._shown(np.ones(()), name) for name in names])
        return np.asarray(matrix[np.ix_(chosen, chosen)] * np.outer(scale, scale))
