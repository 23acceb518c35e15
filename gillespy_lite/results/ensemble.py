"""Many trajectories on one time grid, all of them kept."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..network import Network
from .columns import Name, RecordedPaths, name_text
from .files import write_csv
from .many_trajectories import ManyTrajectories
from .precision import PrecisionReport
from .provenance import Provenance
from .recorded import FloatArray, IntArray, freeze
from .reductions import check_probabilities, histogram, quantiles, reduce
from .tables import labelled_array, long_table, wide_table
from .trajectory import Trajectory

if TYPE_CHECKING:
    import pandas
    import xarray
    from matplotlib.axes import Axes

    from ..certification import Certificate

__all__ = ["Ensemble"]


@dataclass(frozen=True, eq=False, repr=False)
class Ensemble(ManyTrajectories, RecordedPaths):
    """Many independent trajectories on one time grid.

    ``ens["P"]`` holds all paths of species or observable ``P``, of shape
    (n_trajectories, n_times). ``len(ens)`` is the number of trajectories, and iterating gives
    them one by one.

    Attributes
    ----------
    times : ndarray, shape (n_times,), float64
        The grid, in the time unit of the rate constants.
    counts : ndarray, shape (n_trajectories, n_times, n_species_columns), int64
        Molecules. A count at time t includes any event at t.
    species : tuple of str
        Names of the last axis of `counts`.
    values : ndarray, shape (n_trajectories, n_times, n_observables), float64
        Recorded observables, each in its own unit.
    observables : tuple of str
        Names of the last axis of `values`; may be empty.
    network, provenance : Network, Provenance
        What was run, and how.
    indices : ndarray, shape (n_trajectories,), int64
        Number of each trajectory in the random streams: 0 to n - 1 unless the run was cut short, or
        began with another than the first.
    hitting_times : ndarray, shape (n_trajectories,), float64
        When ``stop_when`` was first true; nan if never. The state is held from then on.
    n_events : ndarray, shape (n_trajectories,), int64
        Reaction events of each trajectory.
    n_requested : int
        Trajectories asked for.
    stopped : str or None
        What cut the run short: "timeout", "interrupt" or "error", with ``until=`` also "max_n" or
        "memory"; None if it is complete.
    precision : PrecisionReport or None
        What a run with ``until=`` has reached.
    """

    times: FloatArray
    counts: NDArray[Any]
    species: tuple[str, ...]
    values: FloatArray
    observables: tuple[str, ...]
    network: Network
    provenance: Provenance
    indices: IntArray
    hitting_times: FloatArray
    n_events: IntArray
    n_requested: int
    stopped: str | None
    precision: PrecisionReport | None = None

    def __post_init__(self) -> None:
        """Refuse arrays that do not fit together, and make them read-only."""
        n_trajectories, n_times = self.indices.size, self.times.size
        freeze(
            self,
            times=(n_times,),
            counts=(n_trajectories, n_times, len(self.species)),
            values=(n_trajectories, n_times, len(self.observables)),
            indices=(n_trajectories,),
            hitting_times=(n_trajectories,),
            n_events=(n_trajectories,),
        )

    @property
    def n_trajectories(self) -> int:
        """Number of trajectories that are here; fewer than `n_requested` if cut short."""
        return self.indices.size

    def __iter__(self) -> Iterator[Trajectory]:
        """Give the trajectories one by one."""
        return (self.trajectory(i) for i in range(self.n_trajectories))

    def trajectory(self, i: int) -> Trajectory:
        """Return one trajectory on the grid, sharing the arrays of the ensemble.

        Parameters
        ----------
        i : int
            Row, from 0 to ``len(ens) - 1``; negative numbers count from the end.

        Raises
        ------
        IndexError
            If there is no such row.
        """
        i = self._checked_row(i)
        return Trajectory(
            times=self.times,
            counts=self.counts[i],
            species=self.species,
            values=self.values[i],
            observables=self.observables,
            network=self.network,
            provenance=self.provenance,
            reactions=None,
            end_time=float(self.times[-1]),
            hitting_time=float(self.hitting_times[i]),
            stopped=None,
            n_events=int(self.n_events[i]),
        )

    def replay(self, i: int) -> Trajectory:
        """Run trajectory `i` again with the same random numbers, one row per event.

        Parameters
        ----------
        i : int
            Row, from 0 to ``len(ens) - 1``; negative numbers count from the end.

        Raises
        ------
        IndexError
            If there is no such row.
        """
        from ..ensembles import replay

        return replay(self, self._checked_row(i))

    def certify(self, **options: Any) -> Certificate:
        """Return whether the trajectories have the law of their network, held against an exact one.

        Parameters
        ----------
        network : Network, optional
            Whose law they should have; by default the one that was run.
        level, reference, names, max_states, threads : optional
            As for `certify`.

        Returns
        -------
        Certificate
            Verdict, p-values, reference and power.

        Raises
        ------
        ValueError
            If the ensemble was stopped early, or run with ``stop_when``.
        MethodError
            If the reference that is asked for cannot be had.
        """
        from ..certification import certify_ensemble

        return certify_ensemble(self, **options)

    def at(self, t: float, name: Name | None = None) -> NDArray[Any]:
        """Return the states of all trajectories at one time.

        Between two grid times the state is that of the earlier one, as the grid knows no other.

        Parameters
        ----------
        t : float
            Time within the grid, looked up by `time_index`.
        name : str, Species or Observable, optional
            Only this one.

        Returns
        -------
        ndarray, shape (n_trajectories, n_columns), or (n_trajectories,) if `name` is given
            One column per name in `columns`, in molecules for species: int64, or float64 if
            observables were recorded, too.

        Raises
        ------
        ValueError
            If `t` lies outside the grid.
        """
        return self._at_row(self.time_index(t), name)

    def final(self, name: Name | None = None) -> NDArray[Any]:
        """Return the states of all trajectories at the last grid time, in the form of `at`."""
        return self._at_row(self.n_times - 1, name)

    def quantile(
        self, q: ArrayLike, name: Name | None = None, *, method: str = "linear"
    ) -> FloatArray:
        """Return quantiles over trajectories.

        Parameters
        ----------
        q : float or array_like, shape (n_q,)
            Probabilities from 0 to 1; 0.5 is the median.
        name : str, Species or Observable, optional
            Only this one.
        method : str, optional
            How to interpolate, as in `numpy.quantile`; "inverted_cdf" gives whole counts.

        Returns
        -------
        ndarray, shape (n_times, n_columns), or (n_times,) if `name` is given
            In molecules for species; nan without trajectories. If `q` is an array, there is a
            first axis of length n_q more.

        Raises
        ------
        ValueError
            If a probability lies outside [0, 1].
        """
        probabilities = check_probabilities(q)
        return self._over_trajectories(lambda paths: quantiles(probabilities, paths, method), name)

    def histogram(
        self, name: Name, t: float, bins: int | Sequence[float] | FloatArray | None = None
    ) -> tuple[NDArray[Any], IntArray]:
        """Return how many trajectories have which value at one time.

        Parameters
        ----------
        name : str, Species or Observable
            What to count.
        t : float
            Time within the grid, looked up by `time_index`.
        bins : int or array_like, optional
            Number of bins or their edges, as in `numpy.histogram`. By default whole numbers get
            one bin each, or bins of a power of two wide if there would be more than 100.

        Returns
        -------
        edges : ndarray, shape (n_bins + 1,)
            Bin b holds values from ``edges[b]``, included, to ``edges[b + 1]``, excluded (but
            included in the last bin if `bins` is given).
        counts : ndarray, shape (n_bins,), int64
            Trajectories in each bin.

        Raises
        ------
        ValueError
            If there are no trajectories, or a value of an observable is not finite.
        """
        return histogram(self._at_row(self.time_index(t), name), bins, name_text(name))

    def to_pandas(self, *, wide: bool = False) -> pandas.DataFrame:
        """Return the ensemble as a pandas table; without pandas, `MissingExtraError`.

        Parameters
        ----------
        wide : bool, optional
            False: one row per trajectory, time and name, with the columns ``trajectory`` (from
            `indices`), ``time``, ``species`` (the name, also of an observable) and ``count``.
            True: one row per trajectory and time, which are the index, and one column per name.
        """
        axes, table = {"trajectory": self.indices, "time": self.times}, self._table()
        if wide:
            return wide_table(axes, self.columns, table)
        return long_table(axes, self.columns, {"count": table})

    def to_xarray(self) -> xarray.DataArray:
        """Return the ensemble as an xarray array; without xarray, `MissingExtraError`.

        Returns
        -------
        xarray.DataArray, dims (trajectory, time, species)
            The coordinate ``species`` holds `columns`, ``trajectory`` holds `indices`, with
            ``hitting_time`` along it; the attributes hold the provenance.
            ``.to_dataset("species")`` makes one variable per name.
        """
        axes, table = {"trajectory": self.indices, "time": self.times}, self._table()
        hitting_time = ("trajectory", self.hitting_times)
        return labelled_array(axes, self.columns, table, self.provenance, hitting_time=hitting_time)

    def to_csv(self, path: str | os.PathLike[str]) -> None:
        """Write one line per trajectory and time to `path`; numbers read back exactly.

        The header is ``trajectory,time`` and then the names in `columns`.
        """
        write_csv(path, ["trajectory", "time", *self.columns], self.csv_lines())

    def csv_lines(self) -> Iterator[str]:
        """Give the lines that `to_csv` writes below its header."""
        times = list(map(str, self.times.tolist()))
        # One trajectory at a time: as Python numbers, all of them would need far more memory.
        for index, rows in zip(self.indices.tolist(), self._table(), strict=True):
            for time, row in zip(times, rows.tolist(), strict=True):
                yield f"{index},{time},{','.join(map(str, row))}"

    def plot(self, kind: str = "band", *, ax: Axes | None = None, **options: Any) -> Axes:
        """Draw the ensemble on `ax`, by default on a new figure; return the Axes, for
        changing and saving (``ax.figure.savefig(...)``). Nothing is shown.

        Parameters
        ----------
        kind : {"band", "fan", "histogram", "phase", "overlay", "hitting", "network"}, optional
            "band": a few trajectories over mean and quantile band; "fan": nested quantile bands;
            "histogram": the distribution of one name at a time (``name=``, ``t=``, ``law=``);
            "phase": one species against another (``x=``, ``y=``); "overlay": against the rate
            equations (``deterministic=`` a Trajectory); "hitting": when ``stop_when`` came true;
            "network": the network.
        **options
            Passed on to `plotting.plot_band`, `plot_fan`, `plot_histogram`, `plot_phase`,
            `plot_overlay`, `plot_hitting_times` or `draw_network`.
        """
        from .. import plotting

        return plotting.plot_result(self, kind, ax=ax, **options)

    def _checked_row(self, i: int) -> int:
        if not -self.n_trajectories <= i < self.n_trajectories:
            raise IndexError(
                f"there is no trajectory {i}: this ensemble holds {self.n_trajectories}, "
                f"numbered from 0 to {self.n_trajectories - 1}"
            )
        return int(i) % self.n_trajectories

    def _at_row(self, row: int, name: Name | None) -> NDArray[Any]:
        # Cutting out one time first makes an observable cost one time, not all of them.
        at_row = dataclasses.replace(
            self,
            times=self.times[row : row + 1],
            counts=self.counts[:, row : row + 1],
            values=self.values[:, row : row + 1],
        )
        return at_row._table()[:, 0] if name is None else at_row[name][:, 0]

    def _over_trajectories(
        self, statistic: Callable[[NDArray[Any]], NDArray[Any]], name: Name | None
    ) -> NDArray[Any]:
        """Apply `statistic`, which removes the first axis, to one name or to every column."""
        if name is not None:
            return statistic(self[name])
        if not self.columns:
            return np.empty((self.n_times, 0))
        # Column by column, because NumPy needs float64 copies of what it averages.
        return np.stack([statistic(self[column]) for column in self.columns], axis=-1)

    def _statistic(self, which: str, name: Name | None) -> NDArray[Any]:
        return self._over_trajectories(lambda paths: reduce(which, paths), name)

    def _statistics_at(self, row: int) -> FloatArray:
        states = self._at_row(row, None)
        mean, var, low, high = (
            reduce(which, states) for which in ("mean", "var", "minimum", "maximum")
        )
        return np.stack((mean, np.sqrt(var), low, high), axis=-1)

    def _covariance_at(self, row: int, names: Sequence[Name] | None) -> FloatArray:
        if names is None:
            states = self._at_row(row, None)
        else:
            states = np.stack([self._at_row(row, name) for name in names], axis=-1)
        n_trajectories, n_names = states.shape
        if n_trajectories < 2:
            return np.full((n_names, n_names), np.nan)
        deviations = states - states.mean(axis=0)
        return np.asarray(deviations.T @ deviations / (n_trajectories - 1))
