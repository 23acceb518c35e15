"""The exact likelihood of snapshots: independent cells, each looked at once."""

from __future__ import annotations

import time
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from ..errors import IncompleteWarning, Interrupted
from ..network import Network
from ..progress import Progress, reporter
from ..results import Ensemble
from ..run_plan import check_timeout, check_times
from .information import products_of, snapshot_times
from .observation import Observation, group_states, summed
from .sensitivities import solver_for
from .sensitivity_run import Solved, Solver
from .state_space import FloatArray, IntArray

__all__ = ["Improbable", "SnapshotLikelihood", "Snapshots", "read_snapshots", "snapshot_likelihood"]


# ---- Data ---------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Snapshots:
    """Snapshots that were checked: at each time the different values and how many cells had them.

    Attributes
    ----------
    observation : Observation
        What is seen of a cell.
    times : ndarray, shape (n_times,), float64
        Increasing.
    values : tuple of ndarray, each (n_distinct, n_observed) float64
        In lexicographic order.
    counts : tuple of ndarray, each (n_distinct,) float64
        Cells with these values.
    """

    observation: Observation
    times: FloatArray
    values: tuple[FloatArray, ...]
    counts: tuple[FloatArray, ...]

    @property
    def n(self) -> FloatArray:
        """Cells at each time, (n_times,)."""
        return np.array([one.sum() for one in self.counts])


def read_snapshots(network: Network, data: Any, observation: Observation, times: Any) -> Snapshots:
    """Return the data, or say what is wrong with them.

    Parameters
    ----------
    network : Network
        Says which names there are.
    data : Snapshots, Ensemble, or mapping of float to array_like
        As in `snapshot_likelihood`.
    observation : Observation
        What is seen.
    times : None or sequence of float
        Of an ensemble, which times.
    """
    if isinstance(data, Snapshots):
        return data
    if isinstance(data, Ensemble):
        data = _looked_at_once(data, observation, times)
    elif times is not None:
        raise TypeError(
            "times= chooses the times of an Ensemble; other data are given by time, "
            "{2.0: counts, 5.0: counts}"
        )
    if not isinstance(data, Mapping) or not data:
        raise TypeError(
            "data must be counts by time, {2.0: array of shape (n_cells, n_observed)}, or an "
            f"Ensemble, not {type(data).__name__}"
        )
    found: dict[float, tuple[FloatArray, FloatArray]] = {}
    for key, cells in data.items():
        try:
            t = float(key)
        except (TypeError, ValueError):
            raise TypeError(f"data has the key {key!r}, which is no time") from None
        if t in found:
            raise ValueError(f"data has the time {t:g} twice")
        found[t] = _counted(observation, t, cells)
    ordered = sorted(found)
    return Snapshots(
        observation=observation,
        times=np.array(ordered),
        values=tuple(found[t][0] for t in ordered),
        counts=tuple(found[t][1] for t in ordered),
    )


def _looked_at_once(
    data: Ensemble, observation: Observation, times: Any
) -> dict[float, FloatArray]:
    """Return snapshots in which no trajectory comes twice: they would not be independent."""
    wanted = data.times if times is None else np.atleast_1d(np.asarray(times, dtype=np.float64))
    if data.n_trajectories < wanted.size:
        raise ValueError(
            f"{data.n_trajectories} trajectories cannot be looked at once each at {wanted.size} "
            "times; choose fewer with times=, for example times=[2, 5]"
        )
    columns = np.stack(
        [np.asarray(data.amount(name), dtype=np.float64) for name in observation.names], axis=-1
    )
    found = {}
    for k, t in enumerate(wanted.tolist()):
        row = int(np.argmin(np.abs(data.times - t)))
        if abs(data.times[row] - t) > 1e-12 * max(abs(float(data.times[-1])), 1.0):
            raise ValueError(
                f"t = {t:g} is no recorded time of the ensemble; the nearest one is "
                f"{data.times[row]:g}"
            )
        found[float(data.times[row])] = columns[k :: wanted.size, row]
    return found


def _counted(observation: Observation, t: float, cells: Any) -> tuple[FloatArray, FloatArray]:
    names = observation.names
    try:
        values = np.array(cells, dtype=np.float64)
    except (TypeError, ValueError):
        raise TypeError(f"the cells at t = {t:g} are no table of numbers") from None
    if values.ndim == 1 and len(names) == 1:
        values = values[:, None]
    if values.ndim != 2 or values.shape[1] != len(names) or not values.shape[0]:
        raise ValueError(
            f"the cells at t = {t:g} have shape {values.shape}; they must have one row for each "
            f"cell, and one column for each of {', '.join(names)}; observed= says what is seen"
        )
    if not np.isfinite(values).all():
        row, column = np.argwhere(~np.isfinite(values))[0]
        raise ValueError(
            f"cell {row} at t = {t:g} has {names[column]} = {values[row, column]}; drop cells with "
            "missing values, or observe fewer names"
        )
    for column, name in enumerate(names):
        if observation.are_counts[column]:
            bad = (values[:, column] < 0.0) | (values[:, column] != np.floor(values[:, column]))
            if bad.any():
                row = int(np.flatnonzero(bad)[0])
                raise ValueError(
                    f"cell {row} at t = {t:g} has {name} = {values[row, column]:g}; molecules are "
                    "counted in whole numbers, 0 or more"
                )
    distinct, place = group_states(values)
    return distinct, np.bincount(place, minlength=len(distinct)).astype(np.float64)


# ---- Likelihood ---------------------------------------------------------------------------------


class Improbable(NamedTuple):
    """Values that were seen and that the network hardly ever has.

    Attributes
    ----------
    time : float
        When.
    values : dict of str to float
        What was seen.
    n : int
        Of how many cells.
    probability : float
        At least this; with the error bound of the law at most the floor, or little more.
    """

    time: float
    values: dict[str, float]
    n: int
    probability: float

    def __str__(self) -> str:
        """Say what was seen, and how probable that is."""
        seen = ", ".join(f"{name} = {value:g}" for name, value in self.values.items())
        cells = "1 cell" if self.n == 1 else f"{self.n} cells"
        return f"{seen} in {cells} at t = {self.time:g}: probability {self.probability:.2g}"


class Evaluation(NamedTuple):
    """The likelihood at some values of the parameters, and its derivatives to them."""

    value: float  # log-likelihood
    gradient: FloatArray  # (n_parameters,)
    information: FloatArray  # (n_parameters, n_parameters), expected
    by_time: FloatArray  # (n_times,) log-likelihood
    information_by_time: FloatArray  # (n_times, n_parameters, n_parameters), of one cell
    error: float  # by how much the log-likelihood may be too small
    improbable: tuple[Improbable, ...]
    solved: Solved


class SnapshotObjective:
    """The log-likelihood of snapshots as a function of parameters."""

    def __init__(
        self,
        network: Network,
        data: Any,
        parameters: Any,
        *,
        observed: Any,
        times: Any,
        start: float,
        initial: Any,
        tolerance: float,
        max_states: int | None,
    ) -> None:
        first = check_times([start])
        self.solver: Solver = solver_for(network, first, parameters, initial, tolerance, max_states)
        self.network = self.solver.network
        observation = Observation(self.network, observed, self.solver.names)
        self.data = read_snapshots(self.network, data, observation, times)
        seen, grid = snapshot_times(self.data.times, start)
        self.solver.times = grid
        self.names = self.solver.names
        self.max_states = max_states
        self.rows = np.searchsorted(grid, seen)
        # A probability below this is not told from none.
        self.floor = self.solver.tolerance
        self.n_evaluations = 0
        self._known: tuple[IntArray, list[tuple[FloatArray, IntArray]]] | None = None
        self.deadline = np.inf

    @property
    def values(self) -> FloatArray:
        """The network's own values of the parameters, (n_parameters,)."""
        known = dict(
            zip(self.network.parameter_names, self.network.parameter_values.tolist(), strict=True)
        )
        return np.array([known[name] for name in self.names])

    def relative(self, values: FloatArray) -> Network:
        """Return the network with these values of the parameters."""
        return self.network.with_parameters(dict(zip(self.names, values.tolist(), strict=True)))

    def laws(self, values: FloatArray) -> tuple[Solved, list[tuple[FloatArray, FloatArray]]]:
        """Return what was solved, and for each time the values that may be seen, with their law.

        The law is (1 + n_parameters, n_values): probabilities and derivatives.
        """
        network = self.relative(values)
        solved = self.solver.solve(network, seconds=self.deadline - time.monotonic())
        self.n_evaluations += 1
        if solved.stopped == "interrupt":
            raise KeyboardInterrupt
        if solved.stopped == "timeout":
            raise TimeoutError
        groups = self._groups(network, solved)
        found = []
        for row, (distinct, place) in zip(self.rows, groups, strict=True):
            found.append((distinct, summed(place, solved.rows[row], len(distinct))))
        return solved, found

    def _groups(self, network: Network, solved: Solved) -> list[tuple[FloatArray, IntArray]]:
        """Return what is seen in the states at each time; the same set need not be sorted again."""
        states = solved.space.states
        if self._known is not None and np.array_equal(self._known[0], states):
            return self._known[1]
        observation = self.data.observation
        groups: list[tuple[FloatArray, IntArray]] = []
        for t in self.data.times.tolist():
            if groups and not observation.depends_on_time:
                groups.append(groups[0])
            else:
                groups.append(group_states(observation.columns(network, states, t)))
        self._known = states, groups
        return groups

    def evaluate(self, values: FloatArray) -> Evaluation:
        """Return the log-likelihood and its derivatives.

        Below the floor, the logarithm goes on as a straight line, with the slope that it has there:
        finite, smooth, and larger than the logarithm.
        """
        solved, laws = self.laws(values)
        n = len(self.names)
        by_time, gradient = np.zeros(len(laws)), np.zeros(n)
        each, error = np.zeros((len(laws), n, n)), 0.0
        improbable: list[Improbable] = []
        for k, (distinct, law) in enumerate(laws):
            seen, counts = self.data.values[k], self.data.counts[k]
            place = find_rows(distinct, seen)
            p = np.where(place >= 0, law[0][np.maximum(place, 0)], 0.0)
            s = np.where(place >= 0, law[1:][:, np.maximum(place, 0)], 0.0)
            is_low = p < self.floor
            divisor = np.maximum(p, self.floor)
            logs = np.log(divisor) + np.where(is_low, (p - self.floor) / self.floor, 0.0)
            by_time[k] = float(counts @ logs)
            gradient += (s / divisor) @ counts
            each[k] = products_of(law)
            bound = float(solved.bound[self.rows[k]])
            error += float(counts @ np.log1p(np.minimum(bound, 1.0 - np.minimum(p, 1.0)) / divisor))
            for i in np.flatnonzero(is_low).tolist():
                named = dict(zip(self.data.observation.names, seen[i].tolist(), strict=True))
                improbable.append(
                    Improbable(float(self.data.times[k]), named, int(counts[i]), float(p[i]))
                )
        return Evaluation(
            value=float(by_time.sum()),
            gradient=gradient,
            information=np.asarray(np.tensordot(self.data.n, each, axes=1)),
            by_time=by_time,
            information_by_time=each,
            error=error,
            improbable=tuple(improbable),
            solved=solved,
        )


def find_rows(distinct: FloatArray, wanted: FloatArray) -> IntArray:
    """Return the places of some rows among different ones in lexicographic order, -1 if none."""
    if distinct.shape[1] == 1:
        place = np.minimum(np.searchsorted(distinct[:, 0], wanted[:, 0]), len(distinct) - 1)
        return np.where(distinct[place, 0] == wanted[:, 0], place, -1)
    _, inverse = np.unique(np.concatenate([distinct, wanted]), axis=0, return_inverse=True)
    inverse = inverse.ravel()
    found = np.full(int(inverse.max()) + 1, -1, dtype=np.int64)
    found[inverse[: len(distinct)]] = np.arange(len(distinct))
    return found[inverse[len(distinct) :]]


@dataclass(frozen=True, eq=False, repr=False)
class SnapshotLikelihood:
    """The exact log-likelihood of snapshots, and how it changes with parameters.

    Attributes
    ----------
    log_likelihood : float
        Of all cells; a lower bound, unless there are `improbable` ones.
    error_bound : float
        The true one is larger by at most this.
    by_time : dict of float to float
        The log-likelihood of the cells at each time.
    gradient : dict of str to float
        Derivatives to the parameters.
    parameters : tuple of str
        The parameters.
    n_cells : int
        Cells in all.
    improbable : tuple of Improbable
        What was seen and has a probability below `floor`.
    floor : float
        The tolerance: a probability below is not told from 0. There, the logarithm is continued as
        a straight line, from log(floor) to log(floor) - 1, which is more than the logarithm.
    """

    log_likelihood: float
    error_bound: float
    by_time: dict[float, float]
    gradient: dict[str, float]
    n_cells: int
    improbable: tuple[Improbable, ...]
    floor: float

    @property
    def parameters(self) -> tuple[str, ...]:
        """The parameters of the gradient."""
        return tuple(self.gradient)

    def __float__(self) -> float:
        """Return the log-likelihood."""
        return self.log_likelihood

    def __repr__(self) -> str:
        """Return one line: the number, and how sure it is."""
        note = f", {len(self.improbable)} improbable values" if self.improbable else ""
        return (
            f"<SnapshotLikelihood of {self.n_cells} cells at {len(self.by_time)} times: "
            f"{self.log_likelihood:.8g}, error at most {self.error_bound:.2g}{note}>"
        )


def snapshot_likelihood(
    network: Network,
    data: Any,
    parameters: Any = None,
    *,
    observed: Any = None,
    times: Any = None,
    start: float = 0.0,
    initial: Any = None,
    tolerance: float = 1e-10,
    max_states: int | None = None,
    timeout: float | None = None,
    progress: bool | Progress = False,
) -> SnapshotLikelihood:
    """Return the exact log-likelihood of snapshots of independent cells, with its gradient.

    Each cell is looked at once: the likelihood is the product over cells of the probability of what
    was seen, by the master equation.

    Parameters
    ----------
    network : Network
        Without events, and without rates that depend on t.
    data : mapping of float to array_like, or Ensemble
        By time, an array with a row for each cell and a column for each name that is observed; one
        name may be flat. Of an ensemble, every trajectory is looked at once, the first one at the
        first time, the next one at the next, and so on, so that cells are independent.
    parameters : str, Parameter or sequence of them, optional
        What the gradient is about; by default all parameters that a rate depends on.
    observed : str, or sequence of str, Species, Observable, optional
        Names of the columns; by default all species. The rest is summed over.
    times : sequence of float, optional
        Of an ensemble, when to look; by default at all its times.
    start : float, optional
        When the initial law holds.
    initial, tolerance, max_states, timeout, progress
        As in `master_equation_sensitivities`.

    Returns
    -------
    SnapshotLikelihood
        Where cells were seen that have a probability below `tolerance`, an `IncompleteWarning` says
        which: the log-likelihood is then an upper bound.

    Raises
    ------
    ValueError, TypeError
        If data or arguments make no sense; the message says which and what to do.
    MethodError, NetworkError, SimulationError, Interrupted
        As in `master_equation_sensitivities`.

    References
    ----------
    Fox, Neuert and Munsky (2016), J. Chem. Phys. 145, 074101, doi:10.1063/1.4960505.
    """
    objective = SnapshotObjective(
        *(network, data, parameters),
        observed=observed,
        times=times,
        start=start,
        initial=initial,
        tolerance=tolerance,
        max_states=max_states,
    )
    objective.deadline = time.monotonic() + check_timeout(timeout)
    report = reporter(progress, 1.0, "snapshot_likelihood")
    try:
        found = objective.evaluate(objective.values)
    except TimeoutError:
        raise ValueError(
            f"the law was not there within timeout = {timeout:g} s; ask for a larger tolerance, or "
            "more time"
        ) from None
    except KeyboardInterrupt:
        raise Interrupted("interrupted; there is no likelihood yet") from None
    report(1.0)
    if found.improbable:
        warnings.warn(improbable_text(found.improbable, objective), IncompleteWarning, stacklevel=2)
    elif found.solved.stopped:
        warnings.warn(stopped_text(found, objective), IncompleteWarning, stacklevel=2)
    return SnapshotLikelihood(
        log_likelihood=found.value,
        error_bound=found.error,
        by_time=dict(zip(objective.data.times.tolist(), found.by_time.tolist(), strict=True)),
        gradient=dict(zip(objective.names, found.gradient.tolist(), strict=True)),
        n_cells=int(objective.data.n.sum()),
        improbable=found.improbable,
        floor=objective.floor,
    )


def improbable_text(improbable: tuple[Improbable, ...], objective: SnapshotObjective) -> str:
    """Return the warning about data that the network hardly ever gives."""
    shown = "; ".join(map(str, improbable[:5]))
    more = f"; and {len(improbable) - 5} more" if len(improbable) > 5 else ""
    return (
        f"the probability of what was seen is below the tolerance {objective.floor:g}, where it is "
        f"not told from 0: {shown}{more}. The log-likelihood is an upper bound; ask for a smaller "
        "tolerance if the network can get there, else look at the data, the initial state and the "
        "model"
    )


def stopped_text(found: Evaluation, objective: SnapshotObjective) -> str:
    """Return the warning about a law that is not as exact as was asked for."""
    return (
        f"the probabilities lack up to {float(found.solved.bound.max()):.3g}, not "
        f"{objective.solver.tolerance:.3g} ({found.solved.stopped}); the log-likelihood may be "
        f"too small by {found.error:.3g}"
    )
