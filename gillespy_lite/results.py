"""What a run gives back: one trajectory, an ensemble, or the statistics of an ensemble.

A result holds plain arrays, the names of their columns, the network and the provenance. Axes come
in the order trajectory, time, column. The *columns* of a result are what was recorded: species
first, then observables, in the order of `columns`; every table (`mean`, `at`, `summary`,
`to_pandas`, ...) has one column per such name, and every method that takes a ``name`` also takes
the name of an observable that was not recorded, as long as the species it needs were.

Nothing is computed before it is asked for, and arrays handed out are read-only.
"""

from __future__ import annotations

import dataclasses
import html
import importlib
import math
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from gillespy_lite.errors import DamagedFileError, MissingExtraError
from gillespy_lite.network import Network, Observable, Species
from gillespy_lite.rate_laws import did_you_mean, normal_name, shown
from gillespy_lite.result_files import read_result_file, write_csv_file, write_result_file

if TYPE_CHECKING:
    import pandas
    import xarray
    from matplotlib.axes import Axes

__all__ = ["Ensemble", "EnsembleStatistics", "Provenance", "Trajectory", "load"]

FloatArray: TypeAlias = NDArray[np.float64]
IntArray: TypeAlias = NDArray[np.int64]
Name: TypeAlias = str | Species | Observable

# A histogram with default bins has at most this many; counts that spread wider share bins of a
# power of two.
MAX_DEFAULT_BINS = 100
# Times computed as 3*0.1 or read from a file differ from the grid's in the last digits. A time
# this close to a grid time, relative to the largest time, means the grid time.
GRID_TOLERANCE = 1e-12
# Names listed in full in a one-line description.
_NAMES_SHOWN = 6


@dataclass(frozen=True)
class Provenance:
    """Where a result comes from: enough to make it again.

    Attributes
    ----------
    network : Network
        What was run; `network_text` and `network_digest` are its text and that text's SHA-256.
    method : str
        Name of the method that ran, from ``METHODS``.
    method_reason : str
        Why this method, for example the rule that ``method="auto"`` followed.
    options : dict
        Options of the run and of the method: numbers, text, booleans or None.
    entropy : int
        The seed of the random streams; given as ``rng=`` it repeats the result.
    stream_version : int
        Version of the random streams; another version draws other numbers.
    package_version : str
        Version of gillespy_lite that ran.
    elapsed : float
        Duration of the run, in seconds.
    """

    network: Network
    method: str
    method_reason: str
    options: dict[str, int | float | str | bool | None]
    entropy: int
    stream_version: int
    package_version: str
    elapsed: float

    @property
    def network_text(self) -> str:
        """The network in the language, as it was run."""
        return self.network.text

    @property
    def network_digest(self) -> str:
        """SHA-256 of the network's text, in hexadecimal."""
        return self.network.digest

    def __str__(self) -> str:
        """Return the provenance as aligned lines of text, for printing."""
        options = ", ".join(f"{name}={value!r}" for name, value in self.options.items())
        reason = f" ({self.method_reason})" if self.method_reason else ""
        return (
            f"method    {self.method}{reason}\n"
            f"options   {options or 'none'}\n"
            f"entropy   {self.entropy} (give it as rng= to repeat the run)\n"
            f"versions  gillespy_lite {self.package_version}, "
            f"random streams {self.stream_version}\n"
            f"network   {self.network_digest}\n"
            f"elapsed   {self.elapsed:.3g} s"
        )


class _Result:
    """What all results share: names of columns, times, saving."""

    times: FloatArray
    species: tuple[str, ...]
    observables: tuple[str, ...]

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of what was recorded: species, then observables."""
        return self.species + self.observables

    @property
    def n_times(self) -> int:
        """Number of recorded times."""
        return self.times.size

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write everything to a file that `load` reads back and checks.

        Parameters
        ----------
        path : str or path-like
            Where to write, usually ending in ``.npz``; used as it is.
        """
        _save(self, path)

    def _repr_html_(self) -> str:
        return _summary_html(self._summary())

    def _summary(self) -> _Summary:
        raise NotImplementedError


class _ManyTrajectories(_Result):
    """What an ensemble and the statistics of one share."""

    network: Network
    provenance: Provenance
    hitting_times: FloatArray
    n_requested: int
    stopped: str | None

    if TYPE_CHECKING:  # a property of one, a field of the other

        @property
        def n_trajectories(self) -> int: ...

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
        """Return which grid time stands for `t`: the last one that is not after it.

        Parameters
        ----------
        t : float
            Time within the grid. A time within a relative 1e-12 of a grid time counts as that
            grid time.

        Returns
        -------
        int
            Index into `times`.

        Raises
        ------
        ValueError
            If `t` lies outside the grid.
        """
        return _time_index(self.times, t, end_time=float(self.times[-1]), snap=True)

    def mean(self, name: Name | None = None) -> FloatArray:
        """Return the mean over trajectories.

        Parameters
        ----------
        name : str, Species or Observable, optional
            Only this one.

        Returns
        -------
        ndarray, shape (n_times, n_columns), or (n_times,) if `name` is given
            In molecules for species; nan without trajectories.
        """
        return self._statistic("mean", name)

    def var(self, name: Name | None = None) -> FloatArray:
        """Return the variance over trajectories, with ``n_trajectories - 1`` in the divisor.

        Parameters
        ----------
        name : str, Species or Observable, optional
            Only this one.

        Returns
        -------
        ndarray, shape (n_times, n_columns), or (n_times,) if `name` is given
            In molecules squared for species; nan with fewer than two trajectories.
        """
        return self._statistic("var", name)

    def std(self, name: Name | None = None) -> FloatArray:
        """Return the standard deviation over trajectories, the square root of `var`.

        Parameters
        ----------
        name : str, Species or Observable, optional
            Only this one.

        Returns
        -------
        ndarray, shape (n_times, n_columns), or (n_times,) if `name` is given
            In molecules for species; nan with fewer than two trajectories.
        """
        return np.sqrt(self.var(name))

    def minimum(self, name: Name | None = None) -> NDArray[Any]:
        """Return the smallest value over trajectories.

        Parameters
        ----------
        name : str, Species or Observable, optional
            Only this one.

        Returns
        -------
        ndarray, shape (n_times, n_columns), or (n_times,) if `name` is given
            In molecules for species; nan without trajectories.
        """
        return self._statistic("minimum", name)

    def maximum(self, name: Name | None = None) -> NDArray[Any]:
        """Return the largest value over trajectories.

        Parameters
        ----------
        name : str, Species or Observable, optional
            Only this one.

        Returns
        -------
        ndarray, shape (n_times, n_columns), or (n_times,) if `name` is given
            In molecules for species; nan without trajectories.
        """
        return self._statistic("maximum", name)

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

        Returns
        -------
        str
            Several lines, for printing. Molecules for species.
        """
        return _summary_text(self._summary(t))

    def _summary(self, t: float | None = None) -> _Summary:
        row = self.n_times - 1 if t is None else self.time_index(t)
        lines = [
            f"{type(self).__name__} of {len(self)} trajectories, "
            f"t = {_first_and_last(self.times)} at {self.n_times} times"
            f"{_cut_short(self.stopped, len(self), self.n_requested)}",
            *_method_lines(self.provenance),
        ]
        if self.has_condition and len(self):
            lines.append(f"the condition was met in {self.hit_fraction:.4g} of the trajectories")
        table = zip(self.columns, self._statistics_at(row), strict=True)
        rows = tuple((column, *map(_number, numbers)) for column, numbers in table)
        header = (f"at t = {self.times[row]:g}", "mean", "std", "min", "max")
        return _Summary(tuple(lines), header, rows)

    def _statistic(self, which: str, name: Name | None) -> NDArray[Any]:
        """Return "mean", "var", "minimum" or "maximum" of one name or of every column."""
        raise NotImplementedError

    def _statistics_at(self, row: int) -> FloatArray:
        """Return mean, std, minimum and maximum at one time, of shape (n_columns, 4)."""
        raise NotImplementedError


@dataclass(frozen=True, eq=False, repr=False)
class Trajectory(_Result):
    """One path of the network: sampled on a grid, event by event, or solved as rate equations.

    ``trajectory["P"]`` is the path of species or observable ``P``, of shape (n_times,).

    Attributes
    ----------
    times : ndarray, shape (n_times,), float64
        Times of the rows, in the time unit of the rate constants.
    counts : ndarray, shape (n_times, n_species_columns), int64 (float64 for method "ode")
        Molecules at these times. A count at time t includes any event at t.
    species : tuple of str
        Names of the columns of `counts`.
    values : ndarray, shape (n_times, n_observables), float64
        Recorded observables, each in its own unit.
    observables : tuple of str
        Names of the columns of `values`; may be empty.
    network : Network
        What was run.
    provenance : Provenance
        How it was run.
    reactions : ndarray, shape (n_times,), int64, or None
        With every event recorded: row k was made by ``network.reactions[reactions[k]]``, and -1
        marks the first row and leaps. None for a path on a grid.
    end_time : float
        The path is known up to here.
    hitting_time : float
        When ``stop_when`` was first true; nan if never. The state is held from then on.
    stopped : str or None
        What cut the run short: "timeout", "interrupt" or "error"; None if it is complete.
    n_events : int
        Reaction events up to `end_time`.
    """

    times: FloatArray
    counts: NDArray[Any]
    species: tuple[str, ...]
    values: FloatArray
    observables: tuple[str, ...]
    network: Network
    provenance: Provenance
    reactions: IntArray | None
    end_time: float
    hitting_time: float
    stopped: str | None
    n_events: int

    def __post_init__(self) -> None:
        """Refuse arrays that do not fit together, and make them read-only."""
        _freeze_arrays(self)
        n_times = self.times.size
        _check_shape("times", self.times, (n_times,))
        _check_shape("counts", self.counts, (n_times, len(self.species)))
        _check_shape("values", self.values, (n_times, len(self.observables)))
        if self.reactions is not None:
            _check_shape("reactions", self.reactions, (n_times,))

    # Names and sizes

    __iter__ = None  # ``for x in trajectory`` could mean rows or columns, so it means neither.

    def __contains__(self, name: object) -> bool:
        """Whether ``self[name]`` has an answer."""
        return _is_available(self, name)

    def __getitem__(self, name: Name) -> NDArray[Any]:
        """Return the path of a species or an observable.

        Parameters
        ----------
        name : str, Species or Observable
            A recorded name, or an observable of the network whose species were recorded.

        Returns
        -------
        ndarray, shape (n_times,)
            Molecules for a species; the observable's own unit otherwise.

        Raises
        ------
        KeyError
            If there is no such name, or a species that it needs was not recorded.
        """
        return _path_of(self, name)

    # Values

    def at(self, t: float, name: Name | None = None) -> NDArray[Any]:
        """Return the state at one time.

        Paths are right-continuous steps: between two recorded times the state is that of the
        earlier one. Only a path of method "ode" is interpolated, linearly.

        Parameters
        ----------
        t : float
            Time between ``times[0]`` and `end_time`. On a grid, a time within a relative 1e-12
            of a grid time counts as that grid time.
        name : str, Species or Observable, optional
            Only this one.

        Returns
        -------
        ndarray, shape (n_columns,), or () if `name` is given
            One number per name in `columns`; molecules for species.

        Raises
        ------
        ValueError
            If `t` lies outside the path.
        """
        table = self._table() if name is None else self[name]
        # The rate equations have a smooth solution, of which a step would be a poor copy.
        is_smooth = self.counts.dtype.kind == "f"
        snap = self.reactions is None
        row = _time_index(self.times, t, end_time=self.end_time, snap=snap)
        if is_smooth and row + 1 < self.n_times:
            span = self.times[row + 1] - self.times[row]
            share = min(1.0, max(0.0, (float(t) - self.times[row]) / span))
            # This form returns the recorded values themselves at both ends.
            return np.asarray((1.0 - share) * table[row] + share * table[row + 1])
        return np.asarray(table[row])

    def final(self, name: Name | None = None) -> NDArray[Any]:
        """Return the state at the last recorded time.

        Parameters
        ----------
        name : str, Species or Observable, optional
            Only this one.

        Returns
        -------
        ndarray, shape (n_columns,), or () if `name` is given
            One number per name in `columns`; molecules for species.
        """
        table = self._table() if name is None else self[name]
        return np.asarray(table[-1])

    def summary(self) -> str:
        """Return a plain-text table of first, last, smallest and largest value per column.

        Returns
        -------
        str
            Several lines, for printing. Molecules for species.
        """
        return _summary_text(self._summary())

    # Other forms

    def to_pandas(self, *, wide: bool = False) -> pandas.DataFrame:
        """Return the path as a pandas table.

        Parameters
        ----------
        wide : bool, optional
            False: one row per time and name, with the columns ``time``, ``species`` (the name,
            also of an observable) and ``count``; with every event recorded also ``reaction``.
            True: one row per time, which is the index, and one column per name.

        Returns
        -------
        pandas.DataFrame
            Long or wide form.

        Raises
        ------
        MissingExtraError
            If pandas is not installed.
        """
        pandas = _import_extra("pandas", "pandas")
        table = self._table()
        if wide:
            index = pandas.Index(self.times, name="time")
            return pandas.DataFrame(table, index=index, columns=list(self.columns))  # type: ignore[no-any-return]
        n_columns = len(self.columns)
        long = {
            "time": np.repeat(self.times, n_columns),
            "species": _repeated_names(pandas, self.columns, self.n_times),
            "count": table.ravel(),
        }
        if self.reactions is not None:
            long["reaction"] = np.repeat(self.reactions, n_columns)
        return pandas.DataFrame(long)  # type: ignore[no-any-return]

    def to_xarray(self) -> xarray.DataArray:
        """Return the path as an xarray array.

        Returns
        -------
        xarray.DataArray, dims (time, species)
            The coordinate ``species`` holds `columns`, the attributes the provenance. With every
            event recorded, the coordinate ``reaction`` along ``time`` says what made each row.

        Raises
        ------
        MissingExtraError
            If xarray is not installed.
        """
        xarray = _import_extra("xarray", "xarray")
        coordinates: dict[str, Any] = {"time": self.times, "species": list(self.columns)}
        if self.reactions is not None:
            coordinates["reaction"] = ("time", self.reactions)
        return xarray.DataArray(  # type: ignore[no-any-return]
            self._table(),
            dims=("time", "species"),
            coords=coordinates,
            name="count",
            attrs=_attributes(self.provenance),
        )

    def to_csv(self, path: str | os.PathLike[str]) -> None:
        """Write one line per time: the time, then one value per name in `columns`.

        With every event recorded, a last value gives the reaction's index, -1 for none.

        Parameters
        ----------
        path : str or path-like
            The file to write.
        """
        header = ["time", *self.columns]
        rows: list[list[Any]] = self._table().tolist()
        if self.reactions is not None:
            header.append("reaction")
            made_by = self.reactions.tolist()
            rows = [[*row, reaction] for row, reaction in zip(rows, made_by, strict=True)]
        times = self.times.tolist()
        write_csv_file(
            path,
            header,
            (",".join(map(str, (time, *row))) for time, row in zip(times, rows, strict=True)),
        )

    def plot(self, kind: str = "path", *, ax: Axes | None = None, **options: Any) -> Axes:
        """Draw the path.

        Parameters
        ----------
        kind : {"path", "phase", "network"}, optional
            The path of every column over time; one species against another; the network.
        ax : matplotlib Axes, optional
            Where to draw; by default a new figure.
        **options
            Passed on to `plotting.plot_path`, `plotting.plot_phase` or
            `plotting.draw_network`.

        Returns
        -------
        matplotlib Axes
            For changing and saving: ``ax.figure.savefig(...)``. Nothing is shown.
        """
        from gillespy_lite import plotting

        return plotting.plot_result(self, kind, ax=ax, **options)

    def __repr__(self) -> str:
        """Return one line: what, how much, and how it was made."""
        return (
            f"<Trajectory of {_listed(self.columns)}: {self._rows_text()} from "
            f"{_first_and_last(self.times, self.end_time)}, {_origin(self.provenance)}"
            f"{_cut_short(self.stopped)}>"
        )

    def _rows_text(self) -> str:
        if self.reactions is None:
            return f"{self.n_times} times"
        return f"every event, {self.n_times} rows"

    def _table(self) -> NDArray[Any]:
        return _side_by_side(self.counts, self.values)

    def _summary(self) -> _Summary:
        table = self._table()
        lines = [
            f"Trajectory, t = {_first_and_last(self.times, self.end_time)}, "
            f"{self._rows_text()}, {self.n_events} events{_cut_short(self.stopped)}",
            *_method_lines(self.provenance),
        ]
        if not math.isnan(self.hitting_time):
            lines.append(f"the condition was met at t = {self.hitting_time:.6g}")
        rows = [
            (name, *map(_number, (path[0], path[-1], path.min(), path.max())))
            for name, path in zip(self.columns, table.T, strict=True)
        ]
        return _Summary(tuple(lines), ("", "first", "last", "min", "max"), tuple(rows))


@dataclass(frozen=True, eq=False, repr=False)
class Ensemble(_ManyTrajectories):
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
    network : Network
        What was run.
    provenance : Provenance
        How it was run.
    indices : ndarray, shape (n_trajectories,), int64
        Number of each trajectory in the random stream: 0 to n - 1 unless the run was cut short.
    hitting_times : ndarray, shape (n_trajectories,), float64
        When ``stop_when`` was first true; nan if never. The state is held from then on.
    n_events : ndarray, shape (n_trajectories,), int64
        Reaction events of each trajectory.
    n_requested : int
        Trajectories asked for.
    stopped : str or None
        What cut the run short: "timeout", "interrupt" or "error"; None if it is complete.
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

    def __post_init__(self) -> None:
        """Refuse arrays that do not fit together, and make them read-only."""
        _freeze_arrays(self)
        n_trajectories, n_times = self.indices.size, self.times.size
        _check_shape("times", self.times, (n_times,))
        _check_shape("counts", self.counts, (n_trajectories, n_times, len(self.species)))
        _check_shape("values", self.values, (n_trajectories, n_times, len(self.observables)))
        for name in ("indices", "hitting_times", "n_events"):
            _check_shape(name, getattr(self, name), (n_trajectories,))

    # Names and sizes

    @property
    def n_trajectories(self) -> int:
        """Number of trajectories that are here; fewer than `n_requested` if cut short."""
        return self.indices.size

    def __iter__(self) -> Iterator[Trajectory]:
        """Give the trajectories one by one."""
        return (self.trajectory(i) for i in range(self.n_trajectories))

    def __contains__(self, name: object) -> bool:
        """Whether ``self[name]`` has an answer."""
        return _is_available(self, name)

    def __getitem__(self, name: Name) -> NDArray[Any]:
        """Return all paths of a species or an observable.

        Parameters
        ----------
        name : str, Species or Observable
            A recorded name, or an observable of the network whose species were recorded.

        Returns
        -------
        ndarray, shape (n_trajectories, n_times)
            Molecules for a species; the observable's own unit otherwise.

        Raises
        ------
        KeyError
            If there is no such name, or a species that it needs was not recorded.
        """
        return _path_of(self, name)

    # Single trajectories and single times

    def trajectory(self, i: int) -> Trajectory:
        """Return one trajectory on the grid.

        Parameters
        ----------
        i : int
            Row, from 0 to ``len(ens) - 1``; negative numbers count from the end.

        Returns
        -------
        Trajectory
            Sharing the arrays of the ensemble.

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
        """Run trajectory `i` again with the same random numbers, recording every event.

        Parameters
        ----------
        i : int
            Row, from 0 to ``len(ens) - 1``; negative numbers count from the end.

        Returns
        -------
        Trajectory
            The same path, one row per event.
        """
        from gillespy_lite.ensembles import replay

        return replay(self, self._checked_row(i))

    def at(self, t: float, name: Name | None = None) -> NDArray[Any]:
        """Return the states of all trajectories at one time.

        Between two grid times the state is that of the earlier one, as the grid knows no other.

        Parameters
        ----------
        t : float
            Time within the grid. A time within a relative 1e-12 of a grid time counts as that
            grid time.
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
        """Return the states of all trajectories at the last grid time.

        Parameters
        ----------
        name : str, Species or Observable, optional
            Only this one.

        Returns
        -------
        ndarray, shape (n_trajectories, n_columns), or (n_trajectories,) if `name` is given
            One column per name in `columns`, in molecules for species.
        """
        return self._at_row(self.n_times - 1, name)

    # Statistics over trajectories

    def cov(self, t: float, names: Sequence[Name] | None = None) -> FloatArray:
        """Return the covariance matrix at one time, with ``n_trajectories - 1`` in the divisor.

        Parameters
        ----------
        t : float
            Time within the grid, looked up as in `at`.
        names : sequence of str, Species or Observable, optional
            Rows and columns of the matrix; by default `columns`.

        Returns
        -------
        ndarray, shape (n_names, n_names)
            In molecules squared for species; nan with fewer than two trajectories.
        """
        row = self.time_index(t)
        if names is None:
            states = self._at_row(row, None)
        elif isinstance(names, str):
            raise TypeError(f"names must be a list of names, like [{names!r}], not one text")
        else:
            states = np.stack([self._at_row(row, name) for name in names], axis=-1)
        n_trajectories, n_names = states.shape
        if n_trajectories < 2:
            return np.full((n_names, n_names), np.nan)
        deviations = states - states.mean(axis=0)
        return np.asarray(deviations.T @ deviations / (n_trajectories - 1))

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
        probabilities = _checked_probabilities(q)

        def quantiles(paths: NDArray[Any]) -> FloatArray:
            if paths.shape[0] == 0:
                return np.full(probabilities.shape + paths.shape[1:], np.nan)
            # mypy knows the names of NumPy's methods; the user's text is checked by NumPy.
            return np.asarray(np.quantile(paths, probabilities, axis=0, method=method))  # type: ignore[call-overload]

        return self._over_trajectories(quantiles, name)

    def histogram(
        self, name: Name, t: float, bins: int | Sequence[float] | FloatArray | None = None
    ) -> tuple[NDArray[Any], IntArray]:
        """Return how many trajectories have which value at one time.

        Parameters
        ----------
        name : str, Species or Observable
            What to count.
        t : float
            Time within the grid, looked up as in `at`.
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
        return _histogram(self._at_row(self.time_index(t), name), bins, _name_text(name))

    # Other forms

    def to_pandas(self, *, wide: bool = False) -> pandas.DataFrame:
        """Return the ensemble as a pandas table.

        Parameters
        ----------
        wide : bool, optional
            False: one row per trajectory, time and name, with the columns ``trajectory`` (from
            `indices`), ``time``, ``species`` (the name, also of an observable) and ``count``.
            True: one row per trajectory and time, which are the index, and one column per name.

        Returns
        -------
        pandas.DataFrame
            Long or wide form.

        Raises
        ------
        MissingExtraError
            If pandas is not installed.
        """
        pandas = _import_extra("pandas", "pandas")
        table, n_columns = self._table(), len(self.columns)
        if wide:
            index = pandas.MultiIndex.from_product(
                [self.indices, self.times], names=["trajectory", "time"]
            )
            rows = table.reshape(-1, n_columns)
            return pandas.DataFrame(rows, index=index, columns=list(self.columns))  # type: ignore[no-any-return]
        return pandas.DataFrame(  # type: ignore[no-any-return]
            {
                "trajectory": np.repeat(self.indices, self.n_times * n_columns),
                "time": np.tile(np.repeat(self.times, n_columns), self.n_trajectories),
                "species": _repeated_names(
                    pandas, self.columns, self.n_trajectories * self.n_times
                ),
                "count": table.ravel(),
            }
        )

    def to_xarray(self) -> xarray.DataArray:
        """Return the ensemble as an xarray array.

        Returns
        -------
        xarray.DataArray, dims (trajectory, time, species)
            The coordinate ``species`` holds `columns`, ``trajectory`` holds `indices`, with
            ``hitting_time`` along it; the attributes hold the provenance.
            ``.to_dataset("species")`` makes one variable per name.

        Raises
        ------
        MissingExtraError
            If xarray is not installed.
        """
        xarray = _import_extra("xarray", "xarray")
        return xarray.DataArray(  # type: ignore[no-any-return]
            self._table(),
            dims=("trajectory", "time", "species"),
            coords={
                "trajectory": self.indices,
                "time": self.times,
                "species": list(self.columns),
                "hitting_time": ("trajectory", self.hitting_times),
            },
            name="count",
            attrs=_attributes(self.provenance),
        )

    def to_csv(self, path: str | os.PathLike[str]) -> None:
        """Write one line per trajectory and time.

        The header is ``trajectory,time`` and then the names in `columns`; numbers read back
        exactly.

        Parameters
        ----------
        path : str or path-like
            The file to write.
        """
        times = list(map(str, self.times.tolist()))
        table = self._table()

        def lines() -> Iterator[str]:
            # One trajectory at a time: as Python numbers, all of them would need far more memory.
            for index, rows in zip(self.indices.tolist(), table, strict=True):
                for time, row in zip(times, rows.tolist(), strict=True):
                    yield f"{index},{time},{','.join(map(str, row))}"

        write_csv_file(path, ["trajectory", "time", *self.columns], lines())

    def plot(self, kind: str = "band", *, ax: Axes | None = None, **options: Any) -> Axes:
        """Draw the ensemble.

        Parameters
        ----------
        kind : {"band", "fan", "histogram", "phase", "overlay", "hitting", "network"}, optional
            "band": a few trajectories over mean and quantile band; "fan": nested quantile bands;
            "histogram": the distribution of one name at a time (``name=``, ``t=``, ``law=``);
            "phase": one species against another (``x=``, ``y=``); "overlay": against the rate
            equations (``deterministic=`` a Trajectory); "hitting": when ``stop_when`` came true;
            "network": the network.
        ax : matplotlib Axes, optional
            Where to draw; by default a new figure.
        **options
            Passed on to `plotting.plot_band`, `plot_fan`, `plot_histogram`, `plot_phase`,
            `plot_overlay`, `plot_hitting_times` or `draw_network`.

        Returns
        -------
        matplotlib Axes
            For changing and saving: ``ax.figure.savefig(...)``. Nothing is shown.
        """
        from gillespy_lite import plotting

        return plotting.plot_result(self, kind, ax=ax, **options)

    def __repr__(self) -> str:
        """Return one line: what, how much, and how it was made."""
        return (
            f"<Ensemble of {self.n_trajectories} trajectories of {_listed(self.columns)}: "
            f"{self.n_times} times from {_first_and_last(self.times)}, {_origin(self.provenance)}"
            f"{_cut_short(self.stopped, self.n_trajectories, self.n_requested)}>"
        )

    def _checked_row(self, i: int) -> int:
        if not -self.n_trajectories <= i < self.n_trajectories:
            raise IndexError(
                f"there is no trajectory {i}: this ensemble holds {self.n_trajectories}, "
                f"numbered from 0 to {self.n_trajectories - 1}"
            )
        return int(i) % self.n_trajectories

    def _table(self) -> NDArray[Any]:
        return _side_by_side(self.counts, self.values)

    def _at_row(self, row: int, name: Name | None) -> NDArray[Any]:
        # Cutting out one time first makes an observable cost one time, not all of them.
        at_row = dataclasses.replace(
            self,
            times=self.times[row : row + 1],
            counts=self.counts[:, row : row + 1],
            values=self.values[:, row : row + 1],
        )
        return at_row._table()[:, 0] if name is None else at_row[name][:, 0]

    def _over_trajectories(self, statistic: Any, name: Name | None) -> NDArray[Any]:
        """Apply `statistic`, which removes the first axis, to one name or to every column."""
        if name is not None:
            return np.asarray(statistic(self[name]))
        # Column by column, because NumPy needs float64 copies of what it averages.
        columns = [statistic(self[column]) for column in self.columns]
        if not columns:
            return np.empty((self.n_times, 0))
        return np.stack(columns, axis=-1)

    def _statistic(self, which: str, name: Name | None) -> NDArray[Any]:
        return self._over_trajectories(_STATISTICS[which], name)

    def _statistics_at(self, row: int) -> FloatArray:
        states = self._at_row(row, None)
        mean, var, low, high = (statistic(states) for statistic in _STATISTICS.values())
        return np.stack((mean, np.sqrt(var), low, high), axis=-1)


@dataclass(frozen=True, eq=False, repr=False)
class EnsembleStatistics(_ManyTrajectories):
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
    network : Network
        What was run.
    provenance : Provenance
        How it was run.
    n_requested : int
        Trajectories asked for.
    stopped : str or None
        What cut the run short: "timeout", "interrupt" or "error"; None if it is complete.
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

    def __post_init__(self) -> None:
        """Refuse arrays that do not fit together, and make them read-only."""
        _freeze_arrays(self)
        n_times, n_columns, n_species = self.times.size, len(self.columns), len(self.species)
        _check_shape("times", self.times, (n_times,))
        for name in ("means", "minima", "maxima"):
            _check_shape(name, getattr(self, name), (n_times, n_columns))
        _check_shape("comoments", self.comoments, (n_times, n_columns, n_columns))
        n_bins = self.bin_counts.shape[-1] if self.bin_counts.ndim else 0
        _check_shape("bin_counts", self.bin_counts, (n_times, n_species, n_bins))
        _check_shape("bin_widths", self.bin_widths, (n_times, n_species))
        # Memory must not grow with the trajectories: without stop_when nothing is kept of each.
        if self.hitting_times.size:
            _check_shape("hitting_times", self.hitting_times, (self.n_trajectories,))

    # Names and sizes

    __iter__ = None  # The trajectories are gone.

    # Statistics over trajectories

    def cov(self, t: float, names: Sequence[Name] | None = None) -> FloatArray:
        """Return the covariance matrix at one time, with ``n_trajectories - 1`` in the divisor.

        Parameters
        ----------
        t : float
            Time within the grid; between two grid times the earlier one counts.
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
        matrix = self._with_enough(self.comoments[row], 2) / max(1, self.n_trajectories - 1)
        if names is None:
            return np.asarray(matrix)
        chosen = [self._column(name) for name in names]
        return np.asarray(matrix[np.ix_(chosen, chosen)])

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
        probabilities = _checked_probabilities(q)
        columns = range(len(self.columns)) if name is None else [self._column(name)]
        paths = []
        for column in columns:
            self._check_unit_bins(column)
            paths.append(self._quantile_of_column(probabilities, column))
        if not paths:
            return np.empty((*probabilities.shape, self.n_times, 0))
        return np.stack(paths, axis=-1) if name is None else paths[0]

    def histogram(self, name: Name, t: float) -> tuple[IntArray, IntArray]:
        """Return how many trajectories have which count at one time.

        Parameters
        ----------
        name : str or Species
            A recorded species.
        t : float
            Time within the grid; between two grid times the earlier one counts.

        Returns
        -------
        edges : ndarray, shape (n_bins + 1,), int64
            Bin b holds counts from ``edges[b]``, included, to ``edges[b + 1]``, excluded; the
            bins are as narrow as recorded, and empty ones at both ends are left out.
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
        return edges, self.bin_counts[row, column, first : last + 1]

    # Other forms

    def to_pandas(self) -> pandas.DataFrame:
        """Return the statistics as a pandas table.

        Returns
        -------
        pandas.DataFrame
            One row per time and name, with the columns ``time``, ``species`` (the name, also of
            an observable), ``mean``, ``std``, ``minimum`` and ``maximum``.

        Raises
        ------
        MissingExtraError
            If pandas is not installed.
        """
        pandas = _import_extra("pandas", "pandas")
        return pandas.DataFrame(  # type: ignore[no-any-return]
            {
                "time": np.repeat(self.times, len(self.columns)),
                "species": _repeated_names(pandas, self.columns, self.n_times),
                "mean": self.mean().ravel(),
                "std": self.std().ravel(),
                "minimum": self.minimum().ravel(),
                "maximum": self.maximum().ravel(),
            }
        )

    def to_xarray(self) -> xarray.Dataset:
        """Return mean, standard deviation, smallest and largest values as an xarray dataset.

        Returns
        -------
        xarray.Dataset, dims (time, species)
            The variables ``mean``, ``std``, ``minimum`` and ``maximum``; the coordinate
            ``species`` holds `columns`, the attributes the provenance.

        Raises
        ------
        MissingExtraError
            If xarray is not installed.
        """
        xarray = _import_extra("xarray", "xarray")
        axes = ("time", "species")
        return xarray.Dataset(  # type: ignore[no-any-return]
            {
                "mean": (axes, self.mean()),
                "std": (axes, self.std()),
                "minimum": (axes, self.minimum()),
                "maximum": (axes, self.maximum()),
            },
            coords={"time": self.times, "species": list(self.columns)},
            attrs=_attributes(self.provenance),
        )

    def to_csv(self, path: str | os.PathLike[str]) -> None:
        """Write one line per time and name: ``time,species,mean,std,minimum,maximum``.

        Parameters
        ----------
        path : str or path-like
            The file to write.
        """
        statistics = (self.mean(), self.std(), self.minimum(), self.maximum())
        tables = np.stack(statistics, axis=-1).tolist()

        def lines() -> Iterator[str]:
            for time, rows in zip(self.times.tolist(), tables, strict=True):
                for name, row in zip(self.columns, rows, strict=True):
                    yield f"{time},{name},{','.join(map(str, row))}"

        write_csv_file(path, ["time", "species", "mean", "std", "minimum", "maximum"], lines())

    def plot(self, kind: str = "band", *, ax: Axes | None = None, **options: Any) -> Axes:
        """Draw the statistics.

        Parameters
        ----------
        kind : {"band", "histogram", "overlay", "hitting", "network"}, optional
            "band": mean and standard deviation over time; "histogram": the distribution of one
            species at a time (``name=``, ``t=``, ``law=``); "overlay": against the rate
            equations (``deterministic=`` a Trajectory); "hitting": when ``stop_when`` came true;
            "network": the network.
        ax : matplotlib Axes, optional
            Where to draw; by default a new figure.
        **options
            Passed on to `plotting.plot_band`, `plot_histogram`, `plot_overlay`,
            `plot_hitting_times` or `draw_network`.

        Returns
        -------
        matplotlib Axes
            For changing and saving: ``ax.figure.savefig(...)``. Nothing is shown.
        """
        from gillespy_lite import plotting

        return plotting.plot_result(self, kind, ax=ax, **options)

    def __repr__(self) -> str:
        """Return one line: what, how much, and how it was made."""
        return (
            f"<EnsembleStatistics of {self.n_trajectories} trajectories of "
            f"{_listed(self.columns)}: {self.n_times} times from {_first_and_last(self.times)}, "
            f"{_origin(self.provenance)}"
            f"{_cut_short(self.stopped, self.n_trajectories, self.n_requested)}>"
        )

    def _with_enough(self, array: NDArray[Any], n_needed: int) -> NDArray[Any]:
        """Return `array`, or nan in its shape if too few trajectories went into it."""
        if self.n_trajectories < n_needed:
            return np.full(array.shape, np.nan)
        return array

    def _column(self, name: Name) -> int:
        text = _name_text(name)
        if text in self.columns:
            return self.columns.index(text)
        if text in self.network.observable_names or text in self.network.species_names:
            raise KeyError(
                f"{text!r} was not recorded, and statistics cannot be computed afterwards; "
                f"add it to outputs= and run again (recorded: {_listed(self.columns)})"
            )
        raise KeyError(_unknown_name_message(self.network, text))

    def _species_column(self, name: Name, what: str) -> int:
        column = self._column(name)
        if column >= len(self.species):
            raise ValueError(
                f"there is no {what} of observable {_name_text(name)!r}: statistics keep "
                "histograms of species only; run again without statistics=True"
            )
        return column

    def _check_unit_bins(self, column: int) -> None:
        self._species_column(self.columns[column], "quantile")
        widest = int(self.bin_widths[:, column].max(initial=1))
        if widest > 1:
            raise ValueError(
                f"the quantiles of {self.columns[column]!r} are not known exactly: its counts "
                f"were recorded in bins up to {widest} wide; run again without statistics=True, "
                "or use histogram(name, t)"
            )

    def _quantile_of_column(self, probabilities: FloatArray, column: int) -> FloatArray:
        """Interpolate linearly between order statistics, as NumPy does by default."""
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
        return paths

    def _statistic(self, which: str, name: Name | None) -> NDArray[Any]:
        if which == "var":
            squares = np.diagonal(self.comoments, axis1=1, axis2=2)
            table = self._with_enough(squares, 2) / max(1, self.n_trajectories - 1)
        else:
            kept = {"mean": self.means, "minimum": self.minima, "maximum": self.maxima}
            table = self._with_enough(kept[which], 1)
        return _read_only(table if name is None else table[:, self._column(name)])

    def _statistics_at(self, row: int) -> FloatArray:
        tables = (self.mean(), self.std(), self.minimum(), self.maximum())
        return np.stack([table[row] for table in tables], axis=-1)


def load(path: str | os.PathLike[str]) -> Trajectory | Ensemble | EnsembleStatistics:
    """Read a result that was written by ``save``.

    Parameters
    ----------
    path : str or path-like
        The file.

    Returns
    -------
    Trajectory, Ensemble or EnsembleStatistics
        The same arrays, names, network and provenance that were saved.

    Raises
    ------
    DamagedFileError
        If the file is not a saved result, is cut short or has changed since it was written, or
        has a newer format than this package reads. Nothing in the file is ever executed.
    OSError
        If there is no such file, or it cannot be read.
    """
    header, arrays = read_result_file(path)
    name = os.fspath(path)
    kind = str(header.get("kind"))
    if kind not in _SAVED_CLASSES:
        raise DamagedFileError(f"{name!r} holds {kind!r}, not one of {', '.join(_SAVED_CLASSES)}")
    result_class: Any = _SAVED_CLASSES[kind]
    try:
        contents = {**header["fields"], **arrays}
        contents["network"] = Network.parse(contents["network"])
        origin = dict(contents["provenance"])
        if origin.pop("network_digest") != contents["network"].digest:
            raise ValueError("its network is not the one whose digest it gives")
        contents["provenance"] = Provenance(network=contents["network"], **origin)
        for names in ("species", "observables"):
            contents[names] = tuple(map(str, contents[names]))
        result = result_class(**contents)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise DamagedFileError(f"{name!r} does not describe a result: {error}") from error
    return result  # type: ignore[no-any-return]


_SAVED_CLASSES = {saved.__name__: saved for saved in (Trajectory, Ensemble, EnsembleStatistics)}


def _save(result: _Result, path: str | os.PathLike[str]) -> None:
    arrays: dict[str, NDArray[Any]] = {}
    others: dict[str, Any] = {}
    for name, value in vars(result).items():
        if isinstance(value, np.ndarray):
            arrays[name] = value
        elif isinstance(value, Network):
            others[name] = value.text
        elif isinstance(value, Provenance):
            fields = {f.name: getattr(value, f.name) for f in dataclasses.fields(value)}
            others[name] = {**fields, "network_digest": value.network_digest}
            del others[name]["network"]
        else:
            others[name] = value
    write_result_file(path, {"kind": type(result).__name__, "fields": others}, arrays)


# Arrays ------------------------------------------------------------------------------------------


def _read_only(array: NDArray[Any]) -> NDArray[Any]:
    """Return a view of `array` through which it cannot be changed."""
    view = array.view()
    view.flags.writeable = False
    return view


def _freeze_arrays(result: Any) -> None:
    for name, value in vars(result).items():
        if isinstance(value, np.ndarray):
            object.__setattr__(result, name, _read_only(value))


def _check_shape(name: str, array: NDArray[Any], expected: tuple[int, ...]) -> None:
    if array.shape != expected:
        raise ValueError(f"{name} must have shape {expected}, but has {array.shape}")


def _side_by_side(counts: NDArray[Any], values: FloatArray) -> NDArray[Any]:
    """Return one array with the columns of both; counts keep their dtype if there are no values."""
    if values.shape[-1] == 0:
        return counts
    return _read_only(np.concatenate((counts, values), axis=-1))


def _mean(paths: NDArray[Any]) -> FloatArray:
    if paths.shape[0] == 0:
        return np.full(paths.shape[1:], np.nan)
    return np.asarray(paths.mean(axis=0))


def _variance(paths: NDArray[Any]) -> FloatArray:
    if paths.shape[0] < 2:
        return np.full(paths.shape[1:], np.nan)
    return np.asarray(paths.var(axis=0, ddof=1))


def _minimum(paths: NDArray[Any]) -> NDArray[Any]:
    if paths.shape[0] == 0:
        return np.full(paths.shape[1:], np.nan)
    return np.asarray(paths.min(axis=0))


def _maximum(paths: NDArray[Any]) -> NDArray[Any]:
    if paths.shape[0] == 0:
        return np.full(paths.shape[1:], np.nan)
    return np.asarray(paths.max(axis=0))


# In the order of a summary's columns, but for the square root of the variance.
_STATISTICS: dict[str, Callable[[NDArray[Any]], NDArray[Any]]] = {
    "mean": _mean,
    "var": _variance,
    "minimum": _minimum,
    "maximum": _maximum,
}


def _checked_probabilities(q: ArrayLike) -> FloatArray:
    probabilities = np.asarray(q, dtype=np.float64)
    if not np.all((probabilities >= 0.0) & (probabilities <= 1.0)):
        raise ValueError(f"q must hold probabilities from 0 to 1, but is {q!r}")
    return probabilities


def _histogram(
    values: NDArray[Any], bins: int | Sequence[float] | FloatArray | None, name: str
) -> tuple[NDArray[Any], IntArray]:
    if values.size == 0:
        raise ValueError("a histogram needs at least one trajectory, and there is none")
    if not np.isfinite(values).all():
        raise ValueError(f"{name!r} is infinite or not a number in some trajectories at this time")
    if bins is None and np.all(values == np.floor(values)) and np.abs(values).max() <= 2**53:
        whole = values.astype(np.int64)
        width, lowest, highest = 1, int(whole.min()), int(whole.max())
        while highest // width - lowest // width >= MAX_DEFAULT_BINS:
            width *= 2
        first, last = lowest // width, highest // width
        counts = np.bincount(whole // width - first, minlength=last - first + 1)
        return np.arange(first, last + 2, dtype=np.int64) * width, counts.astype(np.int64)
    if bins is None:
        # The usual square-root rule; the others try to allocate millions of bins for heavy tails.
        bins = min(MAX_DEFAULT_BINS, max(10, math.isqrt(values.size)))
    counts, edges = np.histogram(values, bins=bins)
    return edges, counts.astype(np.int64)


# Names -------------------------------------------------------------------------------------------


def _name_text(name: Name) -> str:
    if isinstance(name, Species | Observable):
        return name.name
    if isinstance(name, str):
        return normal_name(name)
    raise TypeError(
        f'names are text, like "P", or Species and Observable objects, not {name!r}; '
        "trajectory i of an ensemble is ens.trajectory(i)"
    )


def _unknown_name_message(network: Network, name: str) -> str:
    known = [*network.species_names, *network.observable_names]
    if name in network.parameter_names:
        return f"{name!r} is a parameter; results hold species and observables: {_listed(known)}"
    return (
        f"there is no species or observable {shown(name)}{did_you_mean(name, known)} "
        f"(there are: {_listed(known)})"
    )


class _Computed(NamedTuple):
    """An observable that was not recorded, ready to be evaluated."""

    expression: Any  # Expression in species, parameters and t
    species: tuple[str, ...]  # those it needs, all recorded


def _find(result: Trajectory | Ensemble, name: Name) -> tuple[str, int] | _Computed:
    """Return the array and column that hold `name`, or how to compute it.

    Raises
    ------
    KeyError
        If neither is possible, saying what to add to ``outputs=``.
    """
    text = _name_text(name)
    if text in result.species:
        return "counts", result.species.index(text)
    if text in result.observables:
        return "values", result.observables.index(text)
    network = result.network
    if text in network.species_names:
        raise KeyError(
            f"species {text!r} was not recorded; add it to outputs= and run again "
            f"(recorded: {_listed(result.columns)})"
        )
    if text not in network.observable_names:
        raise KeyError(_unknown_name_message(network, text))
    observable = network.observables[network.observable_names.index(text)]
    expression = network.expanded(observable.expression)
    symbols = expression.symbols()
    needed = tuple(name for name in network.species_names if name in symbols)
    missing = [name for name in needed if name not in result.species]
    if missing:
        raise KeyError(
            f"observable {text!r} needs {', '.join(map(repr, missing))}, which was not recorded; "
            f"add {text!r} or {', '.join(map(repr, missing))} to outputs= and run again"
        )
    return _Computed(expression, needed)


def _path_of(result: Trajectory | Ensemble, name: Name) -> NDArray[Any]:
    """Return the values of `name`, of the shape of `counts` without its last axis."""
    found = _find(result, name)
    if not isinstance(found, _Computed):
        array, column = found
        path: NDArray[Any] = getattr(result, array)[..., column]
        return path
    network = result.network
    known: dict[str, Any] = dict(
        zip(network.parameter_names, network.parameter_values.tolist(), strict=True)
    )
    for species in found.species:
        known[species] = result.counts[..., result.species.index(species)].astype(np.float64)
    known["t"] = result.times
    values = np.asarray(found.expression.evaluate(known), dtype=np.float64)
    return _read_only(np.broadcast_to(values, result.counts.shape[:-1]))


def _is_available(result: Trajectory | Ensemble, name: object) -> bool:
    if not isinstance(name, str | Species | Observable):
        return False
    try:
        _find(result, name)
    except KeyError:
        return False
    return True


# Times -------------------------------------------------------------------------------------------


def _time_index(times: FloatArray, t: float, *, end_time: float, snap: bool) -> int:
    """Return the row of the last recorded time that is not after `t`."""
    try:
        time = float(t)
    except (TypeError, ValueError):
        raise TypeError(f"t must be one time, a number, not {t!r}") from None
    last = max(float(times[-1]), float(end_time))
    tolerance = GRID_TOLERANCE * max(abs(float(times[0])), abs(last)) if snap else 0.0
    if not times[0] - tolerance <= time <= last + tolerance:
        raise ValueError(
            f"t = {time:g} lies outside the recorded times, from {times[0]:g} to {last:g}"
        )
    return max(0, int(np.searchsorted(times, time + tolerance, side="right")) - 1)


# Descriptions ------------------------------------------------------------------------------------


class _Summary(NamedTuple):
    """A short description and a table, before it becomes text or HTML."""

    lines: tuple[str, ...]
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]  # as many texts each as the header


def _number(value: float) -> str:
    return f"{value:.6g}"


def _listed(names: Sequence[str]) -> str:
    if len(names) > _NAMES_SHOWN:
        return f"{', '.join(names[: _NAMES_SHOWN - 1])} and {len(names) - _NAMES_SHOWN + 1} more"
    return ", ".join(names) or "nothing"


def _first_and_last(times: FloatArray, end_time: float | None = None) -> str:
    last = times[-1] if end_time is None else max(float(times[-1]), end_time)
    return f"{times[0]:g} to {last:g}"


def _origin(provenance: Provenance) -> str:
    return f"{provenance.method}, entropy {provenance.entropy}"


def _cut_short(
    stopped: str | None, n_trajectories: int | None = None, n_requested: int | None = None
) -> str:
    if stopped is None:
        return ""
    share = f" with {n_trajectories} of {n_requested} done" if n_requested is not None else ""
    return f", stopped by {stopped}{share}"


def _method_lines(provenance: Provenance) -> list[str]:
    reason = f" ({provenance.method_reason})" if provenance.method_reason else ""
    return [
        f"method {provenance.method}{reason}",
        f"entropy {provenance.entropy}, {provenance.elapsed:.3g} s",
    ]


def _summary_text(summary: _Summary) -> str:
    table = (summary.header, *summary.rows)
    widths = [max(len(row[i]) for row in table) for i in range(len(summary.header))]
    lines = []
    for name, *numbers in table:
        cells = [cell.rjust(width) for cell, width in zip(numbers, widths[1:], strict=True)]
        lines.append("  ".join((name.ljust(widths[0]), *cells)))
    return "\n".join((*summary.lines, "", *lines))


def _summary_html(summary: _Summary) -> str:
    lines = "<br>".join(map(html.escape, summary.lines))
    header = "".join(f"<th>{html.escape(cell)}</th>" for cell in summary.header)
    rows = "".join(
        "<tr>"
        f'<th style="text-align:left">{html.escape(row[0])}</th>'
        + "".join(f"<td>{html.escape(cell)}</td>" for cell in row[1:])
        + "</tr>"
        for row in summary.rows
    )
    return (
        f"<div><p>{lines}</p>"
        f"<table><thead><tr>{header}</tr></thead><tbody>{rows}</tbody></table></div>"
    )


# Other packages ----------------------------------------------------------------------------------


def _import_extra(module: str, extra: str) -> Any:
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise MissingExtraError(
            f"this needs {module}, which is not installed: pip install gillespy_lite[{extra}]"
        ) from error


def _repeated_names(pandas: Any, names: Sequence[str], n_repeats: int) -> Any:
    """Return the names over and over as a categorical, which stores one small number per row."""
    codes = np.tile(np.arange(len(names)), n_repeats)
    return pandas.Categorical.from_codes(codes, categories=list(names))


def _attributes(provenance: Provenance) -> dict[str, str]:
    """Return the provenance as text, which every file format of xarray can hold."""
    return {
        "units": "molecules (species)",
        "network": provenance.network_text,
        "network_digest": provenance.network_digest,
        "method": provenance.method,
        "options": repr(provenance.options),
        "entropy": str(provenance.entropy),
        "stream_version": str(provenance.stream_version),
        "package_version": provenance.package_version,
    }
