"""Experiments: tables of measurements, checked and turned into arrays on a grid of times."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from ..errors import NetworkError
from ..names import did_you_mean, shown
from .noise_models import NOISE_MODELS, Gaussian, NoiseModel
from .objective import ColumnData, PreparedExperiment

if TYPE_CHECKING:
    from .recurrence import Recurrence

__all__ = ["Experiment", "prepare_experiments", "read_experiments", "read_table"]

FloatArray = NDArray[np.float64]
Table: TypeAlias = "dict[str, NDArray[Any]]"

_TIME_NAMES = ("time", "t")
_EXPERIMENT_COLUMN = "experiment"
_REPLICATE_COLUMN = "replicate"


@dataclass(frozen=True, eq=False)
class Experiment:
    """Measurements under one setting: a table, and what held while it was taken.

    Parameters
    ----------
    data : table, or list of tables
        A pandas DataFrame, a mapping from column names to arrays, a structured array or a
        Trajectory. One row per time; an empty cell is nan. A list holds replicates: repeated
        measurements under the same setting. A column ``replicate`` in one long table does the
        same, and a column ``experiment`` splits a table into experiments.
    name : str, optional
        Shown in results; by default its number, from 1.
    time : str, optional
        The column of times, in the time unit of the network; by default ``time`` or ``t``.
    initial : mapping of str to float, optional
        Initial values other than the network's.
    parameters : mapping of str to float, optional
        Parameters other than the network's.
    inputs : mapping, optional
        Values over time of each input: the name of a column of the table, a function of times, a
        pair ``(times, values)``, or one value per time of the grid. A column or a pair has to cover
        the times from `start` on; a value is held after the last of them, except where inputs are
        interpolated linearly: then they have to reach the last measurement.
    columns : mapping of str to str, optional
        Which column measures which state or observable. By default every column that is not a
        time, a replicate, an input, a weight or a sigma measures what it is called after.
    weights : mapping of str to str or array, optional
        For a column of measurements, the column (or array) of weights: the variance of a value is
        divided by its weight. 0 leaves a value out.
    replicate : str, optional
        The column of replicates; by default ``replicate`` if there is one.
    start : float, optional
        When the initial state holds, 0 by default.
    grid : array_like, optional
        More times at which to solve, for inputs that change between measurements.
    """

    data: Any
    name: str | None = None
    time: str | None = None
    initial: Mapping[str, float] = field(default_factory=dict)
    parameters: Mapping[str, float] = field(default_factory=dict)
    inputs: Mapping[str, Any] = field(default_factory=dict)
    columns: Mapping[str, str] | None = None
    weights: Mapping[str, Any] = field(default_factory=dict)
    replicate: str | None = None
    start: float = 0.0
    grid: Any = None

    def __post_init__(self) -> None:
        """Refuse what is no mapping; nothing given means nothing."""
        for name in ("initial", "parameters", "inputs", "weights"):
            value = getattr(self, name)
            if value is None:
                object.__setattr__(self, name, {})
            elif not isinstance(value, Mapping):
                raise TypeError(f"{name} of an Experiment must be a mapping, not {value!r}")


# -- Tables


def read_table(data: Any, where: str) -> Table:
    """Return a table as a dict of flat arrays of equal length.

    Parameters
    ----------
    data : table
        See `Experiment`.
    where : str
        Named in messages.
    """
    if hasattr(data, "columns") and hasattr(data, "iloc"):  # a DataFrame, without importing pandas
        found = {str(name): np.asarray(data[name]) for name in data.columns}
        if len(found) != len(data.columns):
            raise ValueError(f"{where} has two columns of the same name")
    elif isinstance(data, Mapping):
        found = {str(name): np.asarray(values) for name, values in data.items()}
    elif isinstance(data, np.ndarray) and data.dtype.names:
        found = {name: data[name] for name in data.dtype.names}
    elif hasattr(data, "times") and hasattr(data, "species") and hasattr(data, "observables"):
        names = (*data.species, *data.observables)
        found = {"time": np.asarray(data.times), **{name: np.asarray(data[name]) for name in names}}
    else:
        raise TypeError(
            f"{where} is a {type(data).__name__}; give a pandas DataFrame, a mapping such as "
            '{"time": [...], "X": [...]}, a structured array or a Trajectory'
        )
    lengths = {name: values.shape for name, values in found.items()}
    if len(set(lengths.values())) > 1 or any(len(shape) != 1 for shape in lengths.values()):
        listed = ", ".join(f"{name} {shape}" for name, shape in lengths.items())
        raise ValueError(f"the columns of {where} must be flat and of one length, not {listed}")
    return found


def _numbers(table: Table, name: str, where: str) -> FloatArray:
    """Return a column as float64; what is empty or masked is nan."""
    column = table[name]
    if column.dtype.kind in "mM":
        raise ValueError(
            f"column {name!r} of {where} holds dates; give numbers in the time unit of the network"
        )
    if column.dtype.kind == "O":
        # Missing values of pandas' own types (None, NA) count as nan.
        column = np.array([np.nan if _is_missing(one) else one for one in column], dtype=object)
    try:
        values = column.astype(np.float64)
    except (TypeError, ValueError):
        row = next((i for i, one in enumerate(column.tolist()) if not _is_number(one)), 0)
        raise ValueError(
            f"column {name!r} of {where} holds {column.tolist()[row]!r} in row {row}, which is no "
            "number; write nan where nothing was measured"
        ) from None
    if isinstance(column, np.ma.MaskedArray):
        return np.asarray(np.ma.filled(values, np.nan))
    return np.asarray(values)


def _is_missing(value: Any) -> bool:
    return value is None or type(value).__name__ in {"NAType", "NaTType"}


def _is_number(value: Any) -> bool:
    try:
        np.asarray(value).astype(np.float64)
    except (TypeError, ValueError):
        return False
    return np.ndim(value) == 0


def _is_table(value: Any) -> bool:
    if isinstance(value, Mapping):
        return all(
            not isinstance(one, Mapping | Experiment) and not _is_frame(one)
            for one in value.values()
        )
    return (
        _is_frame(value)
        or (isinstance(value, np.ndarray) and value.dtype.names is not None)
        or hasattr(value, "times")
    )


def _is_frame(value: Any) -> bool:
    return hasattr(value, "columns") and hasattr(value, "iloc")


class _Split(NamedTuple):
    """One experiment with its tables, one per replicate."""

    experiment: Experiment
    name: str
    tables: list[Table]
    replicates: list[str]
    where: list[str]  # how messages name each table


def read_experiments(data: Any) -> list[_Split]:
    """Return the experiments in what the user gave, each with a name and a table per replicate."""
    given: list[tuple[str | None, Any]]
    if isinstance(data, Experiment) or _is_table(data):
        given = [(None, data)]
    elif isinstance(data, Mapping):
        given = [(str(name), one) for name, one in data.items()]
    elif isinstance(data, Sequence) and not isinstance(data, str):
        given = [(None, one) for one in data]
    else:
        raise TypeError(
            f"data must be a table, an Experiment, or a list or mapping of them, not a "
            f"{type(data).__name__}"
        )
    if not given:
        raise ValueError("there are no data: the list of experiments is empty")
    found: list[_Split] = []
    for label, one in given:
        experiment = one if isinstance(one, Experiment) else Experiment(one)
        name = label or experiment.name or str(len(found) + 1)
        found.extend(_split(experiment, name))
    names = [one.name for one in found]
    for k, name in enumerate(names):
        if name in names[:k]:
            raise ValueError(f"two experiments are called {name!r}; give them names of their own")
    return found


def _split(experiment: Experiment, name: str) -> list[_Split]:
    """Split by the columns for experiment and replicate."""
    data = experiment.data
    is_list = isinstance(data, Sequence) and not _is_table(data)
    given = list(data) if is_list else [data]
    if not given:
        raise ValueError(f"there are no data for experiment {shown(name)}: its list is empty")
    by_name: dict[str, _Split] = {}
    for number, one in enumerate(given, start=1):
        where = f"experiment {shown(name)}" + (f", table {number}" if len(given) > 1 else "")
        table = read_table(one, where)
        for key, part, place in _parts(table, _EXPERIMENT_COLUMN, where):
            own = name if key is None else key
            split = by_name.setdefault(own, _Split(experiment, own, [], [], []))
            column = experiment.replicate or _REPLICATE_COLUMN
            if experiment.replicate and column not in part:
                raise ValueError(
                    f"{where} has no column {column!r} of replicates{did_you_mean(column, part)}"
                )
            for replicate, piece, exact in _parts(part, column, place):
                split.tables.append(piece)
                label = str(number) if replicate is None else replicate
                if label in split.replicates:
                    label = f"{number}.{label}"
                split.replicates.append(label)
                split.where.append(exact)
    return list(by_name.values())


def _parts(table: Table, column: str, where: str) -> Iterable[tuple[str | None, Table, str]]:
    """Give the rows of a table by the value of one column, in the order of first appearance."""
    if column not in table:
        yield None, table, where
        return
    keys = [str(key) for key in table[column].tolist()]
    rest = {name: values for name, values in table.items() if name != column}
    for key in dict.fromkeys(keys):
        rows = np.array([one == key for one in keys])
        yield key, {name: values[rows] for name, values in rest.items()}, f"{column} {shown(key)}"
    if not keys:
        yield None, rest, where


# -- Checked against the model


class _Roles(NamedTuple):
    """What each column of an experiment's tables is for."""

    time: str
    outputs: dict[str, str]  # column -> state or observable
    weights: dict[str, Any]  # column -> name of a column, or array
    sigmas: dict[str, str]  # column -> name of a column
    inputs: dict[str, str]  # input -> name of a column


def _roles(split: _Split, recurrence: Recurrence, noise: Callable[[str], NoiseModel]) -> _Roles:
    """Say what each column is for, or which one is unknown."""
    experiment, table, where = split.experiment, split.tables[0], split.where[0]
    time = experiment.time
    if time is None:
        time = next((name for name in _TIME_NAMES if name in table), None)
        if time is None:
            raise ValueError(
                f"{where} has no column of times; call it 'time', or name it: "
                f"Experiment(table, time=...). Its columns are {', '.join(table) or '(none)'}"
            )
    elif time not in table:
        raise ValueError(f"{where} has no column {time!r} of times{did_you_mean(time, table)}")
    inputs = {name: one for name, one in experiment.inputs.items() if isinstance(one, str)}
    for column in inputs.values():
        if column not in table:
            raise ValueError(
                f"{where} has no column {column!r} of an input{did_you_mean(column, table)}"
            )
    if experiment.columns is None:
        weight_columns = {one for one in experiment.weights.values() if isinstance(one, str)}
        aside = {time, *inputs.values(), *weight_columns}
        candidates = [name for name in table if name not in aside]
        sigma_columns = {
            scale
            for name in candidates
            if name in recurrence.output_names and isinstance(scale := noise(name).scale, str)
        }
        outputs = {name: name for name in candidates if name not in sigma_columns}
    else:
        outputs = dict(experiment.columns)
    if not outputs:
        raise ValueError(
            f"there are no data for experiment {shown(split.name)}: {where} measures nothing"
        )
    for column, output in outputs.items():
        if column not in table:
            raise ValueError(f"{where} has no column {column!r}{did_you_mean(column, table)}")
        if output not in recurrence.output_names:
            hint = did_you_mean(output, recurrence.output_names)
            advice = (
                "name what it measures, Experiment(table, columns={...}), or leave the column out"
            )
            if output in recurrence.network.parameter_names:
                raise NetworkError(
                    f"column {column!r} of {where} is called after the parameter {output!r}, which "
                    "cannot be measured. If it says how the parameter varied, make it an input: "
                    f"Experiment(table, inputs={{{output!r}: {column!r}}}); otherwise {advice}"
                )
            raise NetworkError(
                f"column {column!r} of {where} measures {output!r}, which is neither a state nor "
                f"an observable of the network{hint}; there are "
                f"{', '.join(recurrence.output_names[:20])}. Otherwise {advice}"
            )
    sigmas = {}
    for column in outputs:
        scale = noise(column).scale
        if isinstance(scale, str):
            if scale not in table:
                raise ValueError(
                    f"{where} has no column {scale!r} with the sigma of {column!r}"
                    f"{did_you_mean(scale, table)}"
                )
            sigmas[column] = scale
    for column, weight in experiment.weights.items():
        if column not in outputs:
            raise ValueError(
                f"weights name the column {column!r}, which measures nothing in {where}"
                f"{did_you_mean(column, outputs)}"
            )
        if isinstance(weight, str) and weight not in table:
            raise ValueError(
                f"{where} has no column {weight!r} with the weights of {column!r}"
                f"{did_you_mean(weight, table)}"
            )
    return _Roles(time, outputs, dict(experiment.weights), sigmas, inputs)


def _times(table: Table, name: str, where: str, start: float) -> FloatArray:
    times = _numbers(table, name, where)
    bad = np.flatnonzero(~np.isfinite(times))
    if bad.size:
        raise ValueError(
            f"the time in row {bad[0]} of {where} is {times[bad[0]]}; every row needs a time"
        )
    falls = np.flatnonzero(np.diff(times) <= 0.0)
    if falls.size:
        i = int(falls[0])
        raise ValueError(
            f"times must increase, but row {i + 1} of {where} has {name} = {times[i + 1]:g} after "
            f"{times[i]:g}; sort the rows, and if these are repeated measurements, number them in "
            "a column 'replicate'"
        )
    if times.size and times[0] < start:
        raise ValueError(
            f"{where} starts at {name} = {times[0]:g}, before the initial state at {start:g}; say "
            f"when the initial state holds: Experiment(table, start={times[0]:g})"
        )
    return times


def noise_of(noise: Any) -> Callable[[str], NoiseModel]:
    """Return the noise model of each column from what the user gave as `noise`."""

    def read(one: Any) -> NoiseModel:
        if isinstance(one, str) and one in NOISE_MODELS:
            return NOISE_MODELS[one]()
        if isinstance(one, NoiseModel):
            return one
        raise TypeError(
            f"noise must be a noise model such as Gaussian(sigma=2), one of "
            f"{', '.join(map(repr, NOISE_MODELS))}, or a mapping of columns to them, not {one!r}"
        )

    if isinstance(noise, Mapping):
        models = {str(column): read(one) for column, one in noise.items()}
        return lambda column: models.get(column, Gaussian())
    model = Gaussian() if noise is None else read(noise)
    return lambda column: model


class Prepared(NamedTuple):
    """All experiments as arrays."""

    experiments: list[PreparedExperiment]
    groups: list[str]  # names of the unknown scales


def prepare_experiments(data: Any, recurrence: Recurrence, noise: Any = None) -> Prepared:
    """Check tables against the model and return them as arrays.

    Parameters
    ----------
    data : table, Experiment, or list or mapping of them
        See `Experiment`.
    recurrence : Recurrence
        Says which states, observables, parameters and inputs there are.
    noise : NoiseModel, str or mapping, optional
        As in `fit`.

    Returns
    -------
    Prepared
        The experiments, and the names of the unknown scales of noise.

    Raises
    ------
    ValueError, TypeError
        If a table makes no sense; the message names experiment, column and row.
    NetworkError
        If a name is unknown to the network.
    """
    splits = read_experiments(data)
    of_column = noise_of(noise)
    groups: dict[Any, int] = {}
    names: list[str] = []
    measured: set[str] = set()

    def group_of(column: str, model: NoiseModel) -> int:
        if model.scale is not None:
            return -1
        key = model if model.is_shared else column
        if key not in groups:
            groups[key] = len(names)
            names.append(f"sigma({model.name})" if model.is_shared else f"sigma({column})")
        return groups[key]

    experiments = []
    for split in splits:
        prepared = _prepare(split, recurrence, of_column, group_of)
        experiments.append(prepared)
        measured |= {column.column for column in prepared.columns}
    if isinstance(noise, Mapping):
        for column in noise:
            if column not in measured:
                raise ValueError(
                    f"noise names the column {column!r}, which measures nothing"
                    f"{did_you_mean(str(column), measured)}"
                )
    return Prepared(experiments, names)


def _prepare(
    split: _Split,
    recurrence: Recurrence,
    noise: Callable[[str], NoiseModel],
    group_of: Callable[[str, NoiseModel], int],
) -> PreparedExperiment:
    experiment = split.experiment
    start = float(experiment.start)
    _check_setting(split, recurrence)
    if not any(next(iter(table.values()), np.empty(0)).size for table in split.tables):
        raise ValueError(f"there are no data for experiment {shown(split.name)}: no rows")
    roles = _roles(split, recurrence, noise)
    times = []
    for table, where in zip(split.tables, split.where, strict=True):
        missing = [name for name in (roles.time, *roles.outputs) if name not in table]
        if missing:
            raise ValueError(f"{where} has no column {missing[0]!r}, which other replicates have")
        times.append(_times(table, roles.time, where, start))
    extra = [np.array([start])]
    if experiment.grid is not None:
        extra.append(np.asarray(experiment.grid, dtype=np.float64).ravel())
    for one in experiment.inputs.values():
        if _is_pair(one):
            at = np.asarray(one[0], dtype=np.float64).ravel()
            extra.append(at[at >= start])
    last = max(float(part[-1]) for part in times if part.size)
    grid = np.unique(np.concatenate([*times, *extra]))
    if not np.isfinite(grid).all() or grid[0] < start:
        raise ValueError(
            f"the grid of experiment {shown(split.name)} must be finite times from {start:g} on"
        )
    grid = grid[grid <= last]
    if grid.size < 2:
        raise ValueError(
            f"experiment {shown(split.name)} measures at t = {start:g} only, where the initial "
            "state holds; there is nothing to be learnt from it"
        )
    columns = [_column(split, roles, name, times, grid, noise(name)) for name in roles.outputs]
    empty = [column.column for column in columns if not column.values.size]
    columns = [column for column in columns if column.values.size]
    if not columns:
        raise ValueError(
            f"there are no data for experiment {shown(split.name)}: every value is nan"
        )
    for name in empty:
        warnings.warn(
            f"column {name!r} of experiment {shown(split.name)} is empty (nan everywhere)",
            UserWarning,
            stacklevel=2,
        )
    outputs = tuple(dict.fromkeys(roles.outputs[column.column] for column in columns))
    columns = [
        column._replace(
            output=outputs.index(roles.outputs[column.column]),
            group=group_of(column.column, column.noise),
        )
        for column in columns
    ]
    shape = len(split.tables), grid.size, len(outputs)
    observed, weights = np.full(shape, np.nan), np.zeros(shape)
    for column in columns:
        cells = column.replicates, column.rows, column.output
        observed[cells] = column.values
        weights[cells] = column.width**-2.0
    return PreparedExperiment(
        name=split.name,
        times=grid,
        outputs=outputs,
        observed=observed,
        mask=np.isfinite(observed),
        weights=weights,
        columns=tuple(columns),
        replicates=tuple(split.replicates),
        parameters={name: float(value) for name, value in experiment.parameters.items()},
        initial={name: float(value) for name, value in experiment.initial.items()},
        inputs=_inputs(split, roles, recurrence, times, grid),
        steps=None,
    )


def _check_setting(split: _Split, recurrence: Recurrence) -> None:
    """Refuse states, parameters and inputs that do not exist."""
    experiment, where = split.experiment, f"experiment {shown(split.name)}"
    checks = (
        ("initial value of", "state", experiment.initial, recurrence.state_names),
        ("value of", "parameter", experiment.parameters, recurrence.parameter_names),
        ("values of", "input", experiment.inputs, recurrence.input_names),
    )
    for what, kind, given, known in checks:
        for name, value in given.items():
            if name not in known:
                listed = f"; there are {', '.join(known[:20])}" if known else "; it has none"
                if kind == "input" and not known:
                    listed = '; name inputs when you make the recurrence: inputs=("light",)'
                elif kind == "parameter" and name in recurrence.network.parameter_names:
                    listed = "; it is derived from others, or an input"
                raise NetworkError(
                    f"{where} gives the {what} {name!r}, but the network has no such {kind}"
                    f"{did_you_mean(name, known) or listed}"
                )
            if kind != "input" and not np.isfinite(np.asarray(value, dtype=np.float64)).all():
                raise ValueError(f"{where} gives the {what} {name!r} as {value}; it must be finite")
    for name in recurrence.input_names:
        if name not in experiment.inputs:
            raise ValueError(
                f"{where} does not say what the input {name!r} was; give "
                f"Experiment(table, inputs={{{name!r}: ...}})"
            )


def _column(
    split: _Split,
    roles: _Roles,
    name: str,
    times: list[FloatArray],
    grid: FloatArray,
    model: NoiseModel,
) -> ColumnData:
    """Gather one column from all replicates."""
    rows, replicates, values, widths = [], [], [], []
    for number, (table, where) in enumerate(zip(split.tables, split.where, strict=True)):
        column = _numbers(table, name, where)
        weight, known = np.ones(column.size), np.ones(column.size)
        given = roles.weights.get(name)
        if given is not None:
            weight = (
                _numbers(table, given, where)
                if isinstance(given, str)
                else np.asarray(given, dtype=np.float64)
            )
            if weight.shape != column.shape:
                raise ValueError(
                    f"the weights of {name!r} have shape {weight.shape}, but {where} has "
                    f"{column.size} rows"
                )
        if isinstance(model.scale, str):
            known = _numbers(table, model.scale, where)
        elif model.scale is not None:
            known = np.full(column.size, float(model.scale))
        has_value = ~np.isnan(column) & (weight != 0.0)
        for what, numbers, wrong in (
            (f"weight of {name!r}", weight, ~(np.isfinite(weight) & (weight >= 0.0))),
            (f"sigma of {name!r}", known, ~(np.isfinite(known) & (known > 0.0))),
        ):
            bad = np.flatnonzero(wrong & ~np.isnan(column))
            if bad.size:
                raise ValueError(
                    f"the {what} in row {bad[0]} of {where} is {numbers[bad[0]]:g}; it must be a "
                    "finite number above 0"
                )
        bad = np.flatnonzero(has_value & model.forbidden(column))
        if bad.size:
            raise ValueError(
                f"row {bad[0]} of {where} has {name} = {column[bad[0]]:g}; {type(model).__name__} "
                f"noise {model.needs}. Leave the value out (nan), or choose another noise model"
            )
        rows.append(np.searchsorted(grid, times[number][has_value]))
        replicates.append(np.full(int(has_value.sum()), number))
        values.append(column[has_value])
        widths.append(known[has_value] / np.sqrt(weight[has_value]))
    return ColumnData(
        column=name,
        output=0,
        noise=model,
        group=-1,
        rows=np.concatenate(rows).astype(np.int64),
        replicates=np.concatenate(replicates).astype(np.int64),
        values=np.concatenate(values),
        width=np.concatenate(widths),
    )


def _is_pair(given: Any) -> bool:
    return isinstance(given, tuple) and len(given) == 2 and np.ndim(given[0]) == 1


def _inputs(
    split: _Split,
    roles: _Roles,
    recurrence: Recurrence,
    times: list[FloatArray],
    grid: FloatArray,
) -> dict[str, FloatArray]:
    """Return the inputs on the grid, filled between their own times as the recurrence does."""
    found = {}
    held = getattr(recurrence, "interpolation", "previous") == "previous"
    for name, given in split.experiment.inputs.items():
        what = f"the input {name!r} of experiment {shown(split.name)}"
        if isinstance(given, str):
            at, values = times[0], _numbers(split.tables[0], roles.inputs[name], split.where[0])
            bad = np.flatnonzero(~np.isfinite(values))
            if bad.size:
                raise ValueError(
                    f"{what} is {values[bad[0]]} in row {bad[0]} of its column "
                    f"{roles.inputs[name]!r}; every row needs a value. If it was recorded at other "
                    "times than the measurements, give a pair (times, values)"
                )
        elif callable(given):
            at, values = grid, _called(given, grid, what)
        elif _is_pair(given):
            at, values = (np.asarray(one, dtype=np.float64).ravel() for one in given)
        else:
            values = np.asarray(given, dtype=np.float64)
            values = np.full(grid.size, float(values)) if values.ndim == 0 else values
            at = grid
        if at.shape != values.shape or not at.size:
            raise ValueError(
                f"{what} has {values.size} values for {at.size} times; give one value for each of "
                "the times of the grid (those of the table with the start), or a pair "
                "(times, values)"
            )
        if not np.isfinite(values).all() or not (np.diff(at) > 0.0).all():
            raise ValueError(f"{what} must have finite values at increasing times")
        _refuse_what_is_not_covered(what, at, grid, held)
        if held:
            found[name] = values[np.maximum(np.searchsorted(at, grid, side="right") - 1, 0)]
        else:
            found[name] = np.interp(grid, at, values)
    return found


def _called(function: Callable[[Any], Any], grid: FloatArray, what: str) -> FloatArray:
    """Return the values of a function on the grid: all at once, or time by time if it cannot."""
    try:
        all_at_once = np.asarray(function(grid))
    except (TypeError, ValueError):
        all_at_once = np.asarray(None)
    if all_at_once.dtype.kind in "biuf" and all_at_once.shape in ((), grid.shape):
        values = np.broadcast_to(all_at_once.astype(np.float64), grid.shape)
        given = values.tolist()
    else:
        given = [_value_at(function, at, what) for at in grid.tolist()]
        values = np.array([_as_float(one) for one in given])
    bad = np.flatnonzero(~np.isfinite(values))
    if bad.size:
        raise ValueError(
            f"the function that gives {what} returns {given[bad[0]]!r} at t = {grid[bad[0]]:g}; it "
            "must return a finite number for each time"
        )
    return values


def _as_float(value: Any) -> float:
    """Return a number as float; nan for anything else."""
    try:
        return np.nan if isinstance(value, str) or np.ndim(value) else float(value)
    except (TypeError, ValueError):
        return np.nan


def _value_at(function: Callable[[Any], Any], at: float, what: str) -> Any:
    try:
        return function(at)
    except Exception as error:
        raise ValueError(
            f"the function that gives {what} fails at t = {at:g} with {type(error).__name__}: "
            f"{error}"
        ) from error


def _refuse_what_is_not_covered(what: str, at: FloatArray, grid: FloatArray, held: bool) -> None:
    """Refuse an input that starts too late, or ends too early to be interpolated."""
    slack = 1e-9 * float(np.ptp(grid))  # times may be rounded
    begins_late = at[0] > grid[0] + slack
    if not begins_late and (held or at[-1] >= grid[-1] - slack):
        return
    advice = (
        f"give its values from t = {grid[0]:g} on, as a pair (times, values), or say with "
        f"Experiment(..., start={at[0]:g}) that the initial state holds only then"
        if begins_late
        else f"give its values up to t = {grid[-1]:g}, as a pair (times, values)"
    )
    raise ValueError(
        f"{what} covers t = {at[0]:g} to {at[-1]:g}, but is needed for t = {grid[0]:g} to "
        f"{grid[-1]:g}; {advice}"
    )


def with_steps(experiment: PreparedExperiment, steps: Any) -> PreparedExperiment:
    """Return the experiment with `steps` cells per interval of its grid."""
    return replace(experiment, steps=steps)
