"""One path of a network."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..network import Network
from .columns import Name, RecordedPaths, name_text
from .files import write_csv
from .provenance import Provenance
from .recorded import FloatArray, IntArray, freeze
from .summaries import Summary, cut_short, first_and_last, listed, method_lines
from .tables import labelled_array, long_table, wide_table

if TYPE_CHECKING:
    import pandas
    import xarray
    from matplotlib.axes import Axes

__all__ = ["Trajectory"]


@dataclass(frozen=True, eq=False, repr=False)
class Trajectory(RecordedPaths):
    """One path of the network: sampled on a grid, event by event, or solved as rate equations.

    ``trajectory["P"]`` is the path of whatever the network calls ``P``, of shape (n_times,): a
    species, a variable, an observable, a parameter, or a reaction, whose propensity it is.

    Attributes
    ----------
    times : ndarray, shape (n_times,), float64
        Times of the rows, in the time unit of the rate constants.
    counts : ndarray, shape (n_times, n_species_columns), int64 (float64 for method "ode")
        Molecules at these times. A count at time t includes any event at t. Of method "ode", the
        variables come last, in their own units.
    species : tuple of str
        Names of the columns of `counts`: species, and of method "ode" variables.
    values : ndarray, shape (n_times, n_observables), float64
        Recorded observables, each in its own unit; where molecules are counted, variables as well.
    observables : tuple of str
        Names of the columns of `values`; may be empty.
    network, provenance : Network, Provenance
        What was run, and how.
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
        n_times = self.times.size
        freeze(
            self,
            times=(n_times,),
            counts=(n_times, len(self.species)),
            values=(n_times, len(self.observables)),
            **({} if self.reactions is None else {"reactions": (n_times,)}),
        )

    __iter__ = None  # ``for x in trajectory`` could mean rows or columns, so it means neither.

    def at(self, t: float, name: Name | None = None) -> NDArray[Any]:
        """Return the state at one time.

        Paths are right-continuous steps: between two recorded times the state is that of the
        earlier one. Only a path of method "ode" is interpolated, linearly.

        Parameters
        ----------
        t : float
            Time between ``times[0]`` and `end_time`. On a grid, a time within a relative 1e-12
            of a grid time counts as that grid time.
        name : str, Species, Variable or Observable, optional
            Only this one.

        Returns
        -------
        ndarray, shape (n_columns,), or () if `name` is given
            One number per name in `columns`; molecules for species.

        Raises
        ------
        ValueError
            If `t` lies outside the path, or a variable or an observable moves between the recorded
            times of a sampled path, and `t` is none of these.
        """
        table = self._table() if name is None else self[name]
        row = self._row_at(t, end_time=self.end_time, snap=self.reactions is None)
        # The rate equations have a smooth solution, of which a step would be a poor copy.
        is_smooth = self.counts.dtype.kind == "f"
        if not is_smooth and t != self.times[row]:
            moving = self.moving_columns()
            for one in self.columns if name is None else [name_text(name)]:
                if one in moving:
                    raise ValueError(
                        f"{one!r} moves between the recorded times, and the last one before t = "
                        f"{t:g} is {self.times[row]:g}; record a grid of times with {t:g} in it"
                    )
        if is_smooth and row + 1 < self.n_times:
            span = self.times[row + 1] - self.times[row]
            share = min(1.0, max(0.0, (float(t) - self.times[row]) / span))
            # This form returns the recorded values themselves at both ends.
            return np.asarray((1.0 - share) * table[row] + share * table[row + 1])
        return np.asarray(table[row])

    def final(self, name: Name | None = None) -> NDArray[Any]:
        """Return the state at the last recorded time, in the form of `at`."""
        table = self._table() if name is None else self[name]
        return np.asarray(table[-1])

    def summary(self) -> str:
        """Return a plain-text table of first, last, smallest and largest value per column."""
        return self._summary().text()

    def to_pandas(self, *, wide: bool = False) -> pandas.DataFrame:
        """Return the path as a pandas table; without pandas, `MissingExtraError`.

        Parameters
        ----------
        wide : bool, optional
            False: one row per time and name, with the columns ``time``, ``species`` (the name,
            also of an observable) and ``count``; with every event recorded also ``reaction``.
            True: one row per time, which is the index, and one column per name.
        """
        axes, table = {"time": self.times}, self._table()
        if wide:
            return wide_table(axes, self.columns, table)
        long = long_table(axes, self.columns, {"count": table})
        if self.reactions is not None:
            long["reaction"] = np.repeat(self.reactions, len(self.columns))
        return long

    def to_xarray(self) -> xarray.DataArray:
        """Return the path as an xarray array; without xarray, `MissingExtraError`.

        Returns
        -------
        xarray.DataArray, dims (time, species)
            The coordinate ``species`` holds `columns`, the attributes the provenance. With every
            event recorded, the coordinate ``reaction`` along ``time`` says what made each row.
        """
        axes, table = {"time": self.times}, self._table()
        along = {} if self.reactions is None else {"reaction": ("time", self.reactions)}
        return labelled_array(axes, self.columns, table, self.provenance, **along)

    def to_csv(self, path: str | os.PathLike[str]) -> None:
        """Write one line per time to `path`: the time, then one value per name in `columns`.

        With every event recorded, a last value gives the reaction's index, -1 for none.
        """
        header = ["time", *self.columns]
        rows: list[list[Any]] = self._table().tolist()
        if self.reactions is not None:
            header.append("reaction")
            made_by = self.reactions.tolist()
            rows = [[*row, reaction] for row, reaction in zip(rows, made_by, strict=True)]
        timed = zip(self.times.tolist(), rows, strict=True)
        write_csv(path, header, (",".join(map(str, (time, *row))) for time, row in timed))

    def plot(self, kind: str = "path", *, ax: Axes | None = None, **options: Any) -> Axes:
        """Draw the path on `ax`, by default on a new figure; return the Axes, for
        changing and saving (``ax.figure.savefig(...)``). Nothing is shown.

        Parameters
        ----------
        kind : {"path", "phase", "network"}, optional
            The path of every column over time; one species against another; the network.
        **options
            Passed on to `plotting.plot_path`, `plotting.plot_phase` or
            `plotting.draw_network`.
        """
        from .. import plotting

        return plotting.plot_result(self, kind, ax=ax, **options)

    def __repr__(self) -> str:
        """Return one line: what, how much, and how it was made."""
        return (
            f"<Trajectory of {listed(self.columns)}: {self._rows_text()} from "
            f"{first_and_last(self.times, self.end_time)}, "
            f"{self.provenance.method}, entropy {self.provenance.entropy}{cut_short(self.stopped)}>"
        )

    def _rows_text(self) -> str:
        if self.reactions is None:
            return f"{self.n_times} times"
        return f"every event, {self.n_times} rows"

    def _summary(self) -> Summary:
        lines = [
            f"Trajectory, t = {first_and_last(self.times, self.end_time)}, "
            f"{self._rows_text()}, {self.n_events} events{cut_short(self.stopped)}",
            *method_lines(self.provenance),
        ]
        if not math.isnan(self.hitting_time):
            lines.append(f"the condition was met at t = {self.hitting_time:.6g}")
        paths = zip(self.columns, self._table().T, strict=True)
        rows = [(name, path[0], path[-1], path.min(), path.max()) for name, path in paths]
        return Summary(tuple(lines), ("", "first", "last", "min", "max"), rows)
