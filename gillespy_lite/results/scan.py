"""The result of a parameter scan: what every set of a network's numbers gave, with its labels."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..network import Network
from .columns import Name, is_concentration, name_text, stored_name
from .ensemble import Ensemble
from .files import write_csv
from .provenance import Provenance
from .recorded import FloatArray, IntArray, Recorded, freeze, read_only
from .reductions import check_probabilities
from .statistics import EnsembleStatistics
from .summaries import Summary, cut_short, first_and_last, listed, method_lines
from .tables import plain_table, scan_dataset

if TYPE_CHECKING:
    import pandas
    import xarray
    from matplotlib.axes import Axes

__all__ = ["Scan", "whole_arrays"]

_SETS_SHOWN = 12


@dataclass(frozen=True, eq=False, repr=False)
class Scan(Recorded):
    """A network at many sets of its numbers: parameters, or counts at the start.

    ``len(scan)`` is the number of sets, ``scan[j]`` the ordinary result of one of them, and
    iterating gives them one by one. Tables over all sets (`mean`, `std`, `quantile`, ...) begin
    with the axes of the grid, in the order of `names`, or with one axis over the rows of a table.

    Attributes
    ----------
    times : ndarray, shape (n_times,), float64
        The grid of times, in the time unit of the rate constants.
    species, observables : tuple of str
        Names of what was recorded, the columns.
    names : tuple of str
        What was varied: parameters, species and variables at the start.
    points : ndarray, shape (n_sets, n_names), float64
        The value of each name in each set; the last axis of a grid runs fastest.
    shape : tuple of int
        Sizes of the axes of the grid; (n_sets,) of a table.
    is_grid : bool
        Whether all combinations of some values were run.
    n_trajectories : ndarray, shape (n_sets,), int64
        Trajectories that went in; fewer than `n_requested` where the scan was cut short.
    keep : str
        "statistics" or "paths". The arrays that follow are empty where they are not kept.
    means, minima, maxima : ndarray, shape (n_sets, n_times, n_columns), float64
        Statistics, in molecules for species.
    comoments : ndarray, shape (n_sets, n_times, n_columns, n_columns), float64
        Sums over trajectories of the products of two deviations from the mean.
    bin_counts, bin_widths : ndarray, int64
        Histograms as in `EnsembleStatistics`, with the sets along a first axis more.
    counts, values : ndarray, shape (n_sets, n_requested, n_times, ...), int64 and float64
        Paths as in `Ensemble`, with the sets along a first axis more.
    n_events : ndarray, shape (n_sets, n_requested), int64
        Events of each kept path.
    hitting_times : ndarray, shape (n_sets, n_requested), float64
        When ``stop_when`` was first true; nan if never. Empty without ``stop_when`` or paths.
    complete : ndarray, shape (n_sets, n_requested), int64
        1 where a trajectory is finished; empty where hitting times are.
    entropy_words : ndarray, shape (n_sets, 4), int64
        The random numbers of each set, for `entropy`; empty if all have the same.
    network : Network
        The network that was varied.
    provenance : Provenance
        How it was run.
    n_requested : int
        Trajectories of each set that were asked for.
    stopped : str or None
        What cut the scan short: "timeout", "interrupt" or "error"; None if it is complete.
    """

    times: FloatArray
    species: tuple[str, ...]
    observables: tuple[str, ...]
    names: tuple[str, ...]
    points: FloatArray
    shape: tuple[int, ...]
    is_grid: bool
    keep: str
    n_trajectories: IntArray
    means: FloatArray
    comoments: FloatArray
    minima: FloatArray
    maxima: FloatArray
    bin_counts: IntArray
    bin_widths: IntArray
    counts: NDArray[Any]
    values: FloatArray
    n_events: IntArray
    hitting_times: FloatArray
    complete: IntArray
    entropy_words: IntArray
    network: Network
    provenance: Provenance
    n_requested: int
    stopped: str | None

    def __post_init__(self) -> None:
        """Refuse arrays that do not fit together, and make them read-only."""
        object.__setattr__(self, "names", tuple(self.names))
        object.__setattr__(self, "shape", tuple(self.shape))
        n_sets, n_times, k = math.prod(self.shape), self.times.size, len(self.columns)
        n = self.n_requested
        kept: dict[str, tuple[int, ...]]
        if self.keep == "paths":
            kept = {
                "counts": (n_sets, n, n_times, len(self.species)),
                "values": (n_sets, n, n_times, len(self.observables)),
                "n_events": (n_sets, n),
                "hitting_times": (n_sets, n),
                "complete": (n_sets, n),
            }
        elif self.keep == "statistics":
            kept = {
                **dict.fromkeys(("means", "minima", "maxima"), (n_sets, n_times, k)),
                "comoments": (n_sets, n_times, k, k),
            }
            if self.hitting_times.size:
                kept |= dict.fromkeys(("hitting_times", "complete"), (n_sets, n))
            if self.bin_counts.size:
                kept["bin_widths"] = (n_sets, n_times, len(self.species))
        else:
            raise ValueError(f"keep must be 'statistics' or 'paths', not {self.keep!r}")
        if self.entropy_words.size:
            kept["entropy_words"] = (n_sets, 4)
        freeze(
            self,
            times=(n_times,),
            points=(n_sets, len(self.names)),
            n_trajectories=(n_sets,),
            **kept,
        )

    # ---- Sets ------------------------------------------------------------------------------------

    @property
    def n_sets(self) -> int:
        """Number of parameter sets."""
        return len(self.points)

    @property
    def parameters(self) -> dict[str, FloatArray]:
        """What was varied: for each name its value in every set, shape (n_sets,)."""
        return {name: read_only(self.points[:, i]) for i, name in enumerate(self.names)}

    @property
    def axes(self) -> dict[str, FloatArray]:
        """The axes of a grid: for each name the values it takes; a `ValueError` of a table."""
        if not self.is_grid:
            raise ValueError("these sets are rows of a table, which has no axes; see parameters")
        grid = self.points.reshape(*self.shape, len(self.names))
        found = {}
        for i, name in enumerate(self.names):
            along = np.moveaxis(grid[..., i], i, 0).reshape(self.shape[i], -1)
            found[name] = read_only(along[:, 0])
        return found

    @property
    def has_condition(self) -> bool:
        """Whether the scan had a ``stop_when``, so that hitting times mean something."""
        return self.provenance.options.get("stop_when") is not None

    def __len__(self) -> int:
        """Return the number of sets."""
        return self.n_sets

    def __iter__(self) -> Iterator[Ensemble | EnsembleStatistics]:
        """Give the results of the sets one by one."""
        return (self[j] for j in range(self.n_sets))

    def entropy(self, j: int) -> int:
        """Return the entropy of set `j`: ``ensemble(scan.network_of(j), t, n, rng=entropy)``
        gives the trajectories of this set again.
        """
        j = self._checked(j)
        if self.entropy_words.size:
            words = self.entropy_words[j].tolist()
            return sum(word << (32 * place) for place, word in enumerate(words))
        assert self.provenance.entropy is not None
        return self.provenance.entropy

    def network_of(self, j: int) -> Network:
        """Return the network with the numbers of set `j`."""
        given = dict(zip(self.names, self.points[self._checked(j)].tolist(), strict=True))
        parameters = {name: given.pop(name) for name in self.names if self._is_parameter(name)}
        network = self.network.with_parameters(parameters) if parameters else self.network
        return network.with_initial(given) if given else network

    def __getitem__(self, j: int) -> Ensemble | EnsembleStatistics:
        """Return what an ordinary run of set `j` would have given.

        Parameters
        ----------
        j : int
            From 0 to ``len(scan) - 1``; negative numbers count from the end.

        Returns
        -------
        Ensemble or EnsembleStatistics
            As `keep` says, equal to the last bit to ``ensemble(scan.network_of(j), times,
            n_requested, rng=scan.entropy(j))``.

        Raises
        ------
        IndexError
            If there is no such set.
        """
        j = self._checked(j)
        network = self.network_of(j)
        provenance = replace(self.provenance, network=network, entropy=self.entropy(j))
        n = int(self.n_trajectories[j])
        stopped = self.stopped if n < self.n_requested else None
        if self.keep == "paths":
            rows = np.flatnonzero(self.complete[j])
            chosen = slice(None) if rows.size == self.n_requested else rows
            return Ensemble(
                times=self.times,
                counts=self.counts[j, chosen],
                species=self.species,
                values=self.values[j, chosen],
                observables=self.observables,
                network=network,
                provenance=provenance,
                indices=rows,
                hitting_times=self.hitting_times[j, chosen],
                n_events=self.n_events[j, chosen],
                n_requested=self.n_requested,
                stopped=stopped,
            )
        n_times, n_species = self.n_times, len(self.species)
        has_bins = self.bin_counts.size > 0
        hits = np.empty(0)
        if self.hitting_times.size:
            hits = self.hitting_times[j][self.complete[j] != 0]
        return EnsembleStatistics(
            times=self.times,
            species=self.species,
            observables=self.observables,
            n_trajectories=n,
            means=self.means[j],
            comoments=self.comoments[j],
            minima=self.minima[j],
            maxima=self.maxima[j],
            # Without histograms: one bin of everything, as wide as any count.
            bin_counts=self.bin_counts[j]
            if has_bins
            else np.full((n_times, n_species, 1), n, dtype=np.int64),
            bin_widths=self.bin_widths[j]
            if has_bins
            else np.full((n_times, n_species), 2**53, dtype=np.int64),
            hitting_times=hits,
            network=network,
            provenance=provenance,
            n_requested=self.n_requested,
            stopped=stopped,
        )

    def at(self, **values: float) -> Ensemble | EnsembleStatistics:
        """Return the result of the one set that has some values.

        Parameters
        ----------
        **values : float
            By name, as in ``scan.at(k=0.5, g=1)``; a number within a relative 1e-9 of a value of
            the scan means that value. Names with one value only may be left out.

        Raises
        ------
        KeyError
            If a name was not varied, or no set has these values; the message gives the nearest.
        ValueError
            If several sets have them.
        """
        return self[self.index(**values)]

    def index(self, **values: float) -> int:
        """Return the number of the one set that has some values; see `at`."""
        fits = np.ones(self.n_sets, dtype=bool)
        for name, value in values.items():
            if name not in self.names:
                raise KeyError(f"{name!r} was not varied; these were: {listed(self.names)}")
            column = self.points[:, self.names.index(name)]
            own = np.isclose(column, float(value), rtol=1e-9, atol=0.0)
            if not own.any():
                near = column[np.argmin(np.abs(column - float(value)))]
                raise KeyError(f"no set has {name} = {value:g}; the nearest has {near:g}")
            fits &= own
        found = np.flatnonzero(fits)
        if found.size == 0:
            given = ", ".join(f"{name} = {value:g}" for name, value in values.items())
            raise KeyError(f"no set has {given} together")
        if found.size > 1:
            rest = [name for name in self.names if name not in values]
            raise ValueError(
                f"{found.size} sets have these values; give {listed(rest)}, too, or take one of "
                f"them by its number: scan[{found[0]}], ..."
                if rest
                else f"{found.size} sets have these values; take one by its number: "
                f"scan[{found[0]}], ..."
            )
        return int(found[0])

    def time_index(self, t: float) -> int:
        """Return the index of the grid time that stands for `t`: the last one that is not after it.

        A time within a relative 1e-12 of a grid time counts as that one; outside the grid, a
        `ValueError`.
        """
        return self._row_at(t)

    # ---- Tables over all sets --------------------------------------------------------------------

    def mean(self, name: Name | None = None) -> FloatArray:
        """Return the means over trajectories.

        Parameters
        ----------
        name : str, Species or Observable, optional
            Only this one.

        Returns
        -------
        ndarray, shape (..., n_times, n_columns), or (..., n_times) if `name` is given
            The first axes are those of `shape`. In molecules for species, or molecules per volume
            for those that a compartment shows as concentrations; nan in sets without trajectories.
        """
        return self._statistic("mean", name)

    def var(self, name: Name | None = None) -> FloatArray:
        """Return the variances, with ``n - 1`` in the divisor; all else is as in `mean`."""
        return self._statistic("var", name)

    def std(self, name: Name | None = None) -> FloatArray:
        """Return the standard deviations, the square roots of `var`."""
        return np.sqrt(self.var(name))

    def minimum(self, name: Name | None = None) -> FloatArray:
        """Return the smallest values over trajectories; all else is as in `mean`."""
        return self._statistic("minimum", name)

    def maximum(self, name: Name | None = None) -> FloatArray:
        """Return the largest values over trajectories; all else is as in `mean`."""
        return self._statistic("maximum", name)

    def standard_error(self, name: Name | None = None) -> FloatArray:
        """Return the standard errors of `mean`: ``std / sqrt(n_trajectories)``."""
        std = self.std(name)
        n = self.n_trajectories.reshape(self.shape + (1,) * (std.ndim - len(self.shape)))
        return np.asarray(std / np.sqrt(np.maximum(n, 1)))

    def quantile(self, q: ArrayLike, name: Name) -> FloatArray:
        """Return quantiles over trajectories.

        Parameters
        ----------
        q : float or array_like, shape (n_q,)
            Probabilities from 0 to 1; 0.5 is the median.
        name : str, Species or Observable
            Of what.

        Returns
        -------
        ndarray, shape (..., n_times)
            The first axes are those of `shape`; if `q` is an array, there is one of length n_q
            before them.

        Raises
        ------
        ValueError
            If they are not known: statistics give them where ``histogram_bins=`` was large enough
            for bins of one count; with ``keep="paths"`` they are always known.
        """
        probabilities = check_probabilities(q)
        if self.keep == "statistics" and not self.bin_counts.size:
            raise ValueError(
                "quantiles need histograms or paths: run the scan with histogram_bins=256, or with "
                "keep='paths'"
            )
        rows = np.stack([one.quantile(probabilities, name) for one in self], axis=-2)
        return rows.reshape(*probabilities.shape, *self.shape, self.n_times)

    @property
    def hit_fraction(self) -> FloatArray:
        """Share of trajectories in which ``stop_when`` became true, of shape `shape`."""
        self._need_condition()
        hits = ((self.complete != 0) & ~np.isnan(self.hitting_times)).sum(axis=1)
        with np.errstate(invalid="ignore"):
            return np.asarray(hits / self.n_trajectories).reshape(self.shape)

    @property
    def mean_hitting_time(self) -> FloatArray:
        """Mean time at which ``stop_when`` became true, where it did, of shape `shape`."""
        self._need_condition()
        hit = (self.complete != 0) & ~np.isnan(self.hitting_times)
        with np.errstate(invalid="ignore"):
            total = np.where(hit, self.hitting_times, 0.0).sum(axis=1)
            return np.asarray(total / hit.sum(axis=1)).reshape(self.shape)

    # ---- Other forms -----------------------------------------------------------------------------

    def to_pandas(self) -> pandas.DataFrame:
        """Return the statistics as a pandas table; without pandas, `MissingExtraError`.

        Returns
        -------
        pandas.DataFrame
            One row per set, time and name, with the columns ``set``, the names that were varied,
            ``time``, ``species`` (the name, also of an observable), ``mean``, ``std``, ``minimum``
            and ``maximum``.
        """
        return plain_table(self._table())

    def to_csv(self, path: str | os.PathLike[str]) -> None:
        """Write the columns of `to_pandas` as text, completely or not at all.

        Parameters
        ----------
        path : str or path-like
            The file.
        """
        table = self._table()
        columns = (one.tolist() for one in table.values())
        rows = (",".join(map(str, row)) for row in zip(*columns, strict=True))
        write_csv(path, list(table), rows)

    def _table(self) -> dict[str, Any]:
        """Return the statistics as columns of one length."""
        n_times, k = self.n_times, len(self.columns)
        table: dict[str, Any] = {"set": np.repeat(np.arange(self.n_sets), n_times * k)}
        for name, values in self.parameters.items():
            # A name of the network may be one of the other columns'.
            table[name if name not in _TABLE_COLUMNS else f"{name}_"] = np.repeat(
                values, n_times * k
            )
        table["time"] = np.tile(np.repeat(self.times, k), self.n_sets)
        table["species"] = np.tile(np.array(self.columns, dtype=object), self.n_sets * n_times)
        return table | {name: cells.ravel() for name, cells in self._tables().items()}

    def to_xarray(self) -> xarray.Dataset:
        """Return the statistics as an xarray dataset; without xarray, `MissingExtraError`.

        Returns
        -------
        xarray.Dataset
            The variables ``mean``, ``std``, ``minimum`` and ``maximum`` with the dims (names of a
            grid..., time, species); of a table (set, time, species) with the varied names as
            coordinates along ``set``. The attributes hold the provenance.
        """
        tables = self._tables()
        if self.has_condition:
            tables["hit_fraction"] = self.hit_fraction
        axes = self.axes if self.is_grid else None
        return scan_dataset(
            axes, self.parameters, self.times, self.columns, tables, self.provenance
        )

    def plot(self, name: Name | None = None, *, ax: Axes | None = None, **options: Any) -> Axes:
        """Draw the scan on `ax`, by default on a new figure; return the Axes.

        Curves with bands over one varied name, a heat map over two; see `plotting.plot_scan`.

        Parameters
        ----------
        name : str, Species or Observable, optional
            What to draw; by default the first column.
        **options
            Passed on to `plotting.plot_scan`.
        """
        from ..plotting import plot_scan

        return plot_scan(self, name, ax=ax, **options)

    def summary(self, t: float | None = None) -> str:
        """Return a plain-text table of means and standard deviations, a line for each set.

        Parameters
        ----------
        t : float, optional
            Time within the grid; by default the last.
        """
        return self._summary(t).text()

    def __repr__(self) -> str:
        """Return one line: what, how much, and how it was made."""
        return (
            f"<Scan of {self.n_sets} sets of {listed(self.names)}, {self.n_requested} trajectories "
            f"each of {listed(self.columns)}: {self.n_times} times from "
            f"{first_and_last(self.times)}, {self.provenance.method}, entropy "
            f"{self.provenance.entropy}{self._cut_short()}>"
        )

    # ---- Parts -----------------------------------------------------------------------------------

    def _summary(self, t: float | None = None) -> Summary:
        row = self.n_times - 1 if t is None else self._row_at(t)
        grid = f" ({' x '.join(map(str, self.shape))})" if len(self.shape) > 1 else ""
        lines = [
            f"Scan of {self.n_sets} sets{grid} of {listed(self.names)}, {self.n_requested} "
            f"trajectories each, t = {first_and_last(self.times)} at {self.n_times} times"
            f"{self._cut_short()}",
            *method_lines(self.provenance),
        ]
        shown = range(self.n_sets)
        if self.n_sets > _SETS_SHOWN:
            shown = np.unique(np.linspace(0, self.n_sets - 1, _SETS_SHOWN).astype(int)).tolist()
            lines.append(f"{len(shown)} of the sets:")
        columns = self.columns[:4]
        header = [f"set, at t = {self.times[row]:g}", *self.names]
        header += [f"{what} {name}" for name in columns for what in ("mean", "std")]
        rows: list[Any] = []
        means, stds = self._flat("mean"), np.sqrt(self._flat("var"))
        for j in shown:
            numbers = [pair[j, row, i] for i in range(len(columns)) for pair in (means, stds)]
            rows.append((str(j), *self.points[j].tolist(), *numbers))
        return Summary(tuple(lines), tuple(header), rows)

    def _cut_short(self) -> str:
        n, wanted = int(self.n_trajectories.sum()), self.n_sets * self.n_requested
        return cut_short(self.stopped, n, wanted)

    def _checked(self, j: int) -> int:
        if not -self.n_sets <= j < self.n_sets:
            raise IndexError(
                f"there is no set {j}: this scan has {self.n_sets}, numbered from 0 to "
                f"{self.n_sets - 1}"
            )
        return int(j) % self.n_sets

    def _is_parameter(self, name: str) -> bool:
        return name in self.network.parameter_names

    def _need_condition(self) -> None:
        if not self.has_condition:
            raise ValueError("there are no hitting times: run the scan with stop_when=")

    def _tables(self) -> dict[str, NDArray[Any]]:
        return {
            "mean": self.mean(),
            "std": self.std(),
            "minimum": self.minimum(),
            "maximum": self.maximum(),
        }

    def _statistic(self, which: str, name: Name | None) -> FloatArray:
        if name is None:
            table = self._flat(which)
        else:
            table = self._of_name(which, name)
        return read_only(table.reshape(*self.shape, *table.shape[1:]))

    def _of_name(self, which: str, name: Name) -> FloatArray:
        """Return a statistic of one name, (n_sets, n_times)."""
        text = stored_name(self.network, name_text(name))
        plain = text in self.columns and not is_concentration(self.network, text)
        if self.keep == "statistics" and plain:
            return self._recorded(which)[:, :, self.columns.index(text)]
        return self._by_set(which, name)

    def _flat(self, which: str) -> FloatArray:
        """Return a statistic of all columns, (n_sets, n_times, n_columns)."""
        shown = any(is_concentration(self.network, name) for name in self.columns)
        if self.keep == "statistics" and not shown:
            return self._recorded(which)
        return self._by_set(which, None)

    def _by_set(self, which: str, name: Name | None) -> FloatArray:
        of_set: Sequence[Any] = [getattr(one, which)(name) for one in self]
        return np.array(of_set, dtype=np.float64)

    def _recorded(self, which: str) -> FloatArray:
        """Return a statistic of what was recorded, as `EnsembleStatistics` computes it."""
        n = self.n_trajectories[:, None, None]
        if which == "var":
            squares = np.diagonal(self.comoments, axis1=2, axis2=3)
            return np.where(n < 2, np.nan, squares) / np.maximum(1, n - 1)
        kept = {"mean": self.means, "minimum": self.minima, "maximum": self.maxima}
        return np.where(n < 1, np.nan, kept[which])


def whole_arrays(arrays: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    """Return the arrays of a scan, with empty ones for those that are not kept."""
    reals = ("means", "comoments", "minima", "maxima", "values", "hitting_times")
    integers = ("bin_counts", "bin_widths", "counts", "n_events", "complete")
    return {
        **dict.fromkeys(reals, np.empty(0)),
        **dict.fromkeys(integers, np.empty(0, dtype=np.int64)),
        **arrays,
    }


_TABLE_COLUMNS = frozenset(("set", "time", "species", "mean", "std", "minimum", "maximum"))
