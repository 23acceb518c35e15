"""A network's rate equations as a recurrent network: one cell, one integration step."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ..compilation import compile_network
from ..errors import MethodError, NetworkError
from ..kernels.arrays import ReactionArrays
from ..kernels.explicit_cells import Cells
from ..kernels.rosenbrock_cells import Pattern
from ..kernels.tape_rows import run_rows
from ..kernels.tapes import Tape
from ..names import did_you_mean, shown
from ..network import Network
from ..network_tapes import (
    free_parameters,
    initial_tape,
    langevin_tape,
    observable_tape,
    propensity_tape,
    rate_equation_tape,
)
from ..randomness import stream_key, take_entropy
from ..run_plan import check_times, check_whole
from ..workers import cores
from .cells import Cell, resolve_cell
from .grids import equal_cells
from .refusals import refuse_counted_variables, refuse_events_and_delays
from .runners import Problem, loaded_slots
from .unrolled import Batch, Unrolled, unroll_batch

__all__ = ["Recurrence"]

_NO_KEY = np.zeros(4, dtype=np.uint64)
_INTERPOLATIONS = ("previous", "linear")


class Recurrence:
    """The rate equations of a network as a recurrent network.

    Integrating them over a grid of times is running the network: the state of each cell is that
    after one more step, the parameters are its weights, and time-varying inputs drive it.

    Parameters
    ----------
    network : Network
        Species with reactions, variables with rules, or both.
    cell : str or Cell, optional
        A name from `CELLS`, or an instance with its own options.
    inputs : sequence of str, optional
        Parameters of the network that become inputs: `unroll` takes their values at the times of
        its grid.
    interpolation : {"previous", "linear"}, optional
        Inputs between times of the grid: held, or on a straight line. Held inputs jump at the times
        of the grid only.
    **cell_options
        Options of the cell, for example ``rtol=1e-8`` for ``"dopri5"``.

    Attributes
    ----------
    state_names : tuple of str
        Species, then variables.
    parameter_names : tuple of str
        Parameters with a number of their own; derived ones follow, inputs are left out.
    input_names : tuple of str
        The inputs.
    output_names : tuple of str
        States, then observables.

    Raises
    ------
    MethodError
        If the cell or an option is unknown.
    NetworkError
        If an input is not a parameter of the network, or the network has events or delays.

    References
    ----------
    Werbos (1990), Proc. IEEE 78, 1550, doi:10.1109/5.58337; Chen, Rubanova, Bettencourt and
    Duvenaud (2018), Neural ordinary differential equations, arXiv:1806.07366.
    """

    def __init__(
        self,
        network: Network,
        cell: str | Cell = "rk4",
        *,
        inputs: Sequence[str] = (),
        interpolation: str = "previous",
        **cell_options: Any,
    ) -> None:
        if not isinstance(network, Network):
            raise TypeError(f"network must be a Network, not {network!r}; see Network.parse")
        refuse_events_and_delays(network, "a recurrence")
        self.network = network
        self.cell = resolve_cell(cell, cell_options)
        if self.cell.is_stochastic:
            refuse_counted_variables(network, f"the cell {self.cell.name!r}")
        self.input_names = _checked_inputs(network, inputs)
        if interpolation not in _INTERPOLATIONS:
            raise ValueError(
                f"interpolation must be 'previous' (held) or 'linear', not {interpolation!r}"
            )
        self.interpolation = interpolation
        self.state_names: tuple[str, ...] = network.state_names
        self.parameter_names = free_parameters(network, self.input_names)
        self.output_names = (*self.state_names, *network.observable_names)
        self._initial_tape: Tape | None = None
        self._kept_tapes: tuple[Tape, Pattern, ReactionArrays | None] | None = None
        self._kept_cells: dict[Any, Cells] = {}

    def __repr__(self) -> str:
        """Return the sizes."""
        inputs = f", inputs {', '.join(self.input_names)}" if self.input_names else ""
        return (
            f"<Recurrence: cell {self.cell.name}, {len(self.state_names)} states, "
            f"{len(self.parameter_names)} parameters{inputs}>"
        )

    @property
    def parameter_values(self) -> np.ndarray:
        """The network's values of `parameter_names`, (n_parameters,)."""
        values = dict(
            zip(self.network.parameter_names, self.network.parameter_values.tolist(), strict=True)
        )
        return np.array([values[name] for name in self.parameter_names], dtype=np.float64)

    @property
    def initial_values(self) -> np.ndarray:
        """The network's initial state, (n_states,), in molecules, then variables."""
        return np.concatenate(
            [self.network.initial_state.astype(np.float64), self.network.initial_variables]
        )

    # -- Tapes

    def initial_tape(self) -> Tape:
        """Return the tape of the initial state as a function of the parameters."""
        if self._initial_tape is None:
            self._initial_tape = initial_tape(self.network, self.input_names)
        return self._initial_tape

    def output_tape(self, names: tuple[str, ...]) -> Tape:
        """Return the tape of some states and observables."""
        return observable_tape(self.network, self.input_names, names)

    def _tapes(self) -> tuple[Tape, Pattern, ReactionArrays | None]:
        """Return the tape of a cell, where its Jacobian is not 0, and the reactions of leaps."""
        network = self.network
        nowhere = Pattern(np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int64))
        if self.cell.kind == "leap":
            arrays = compile_network(network).arrays
            return propensity_tape(network, self.input_names), nowhere, arrays
        if self.cell.is_stochastic:
            return langevin_tape(network, self.input_names), nowhere, None
        tape, columns = rate_equation_tape(network, self.input_names)
        rows = np.repeat(np.arange(len(columns)), [len(row) for row in columns])
        pattern = Pattern(
            rows.astype(np.int64),
            np.array([column for row in columns for column in row], dtype=np.int64),
        )
        return tape, pattern, None

    def _problem(self, times: np.ndarray, entropy: int) -> Problem:
        # What does not change from call to call is kept: a fit makes thousands of short ones.
        if self._kept_tapes is None:
            self._kept_tapes = self._tapes()
        tape, pattern, arrays = self._kept_tapes
        is_stochastic = self.cell.is_stochastic
        return Problem(
            cell=self.cell,
            tape=tape,
            pattern=pattern,
            arrays=arrays,
            times=times,
            is_linear=self.interpolation == "linear" and bool(self.input_names),
            n_states=len(self.state_names),
            n_parameters=len(self.parameter_names),
            n_inputs=len(self.input_names),
            key=stream_key(entropy, self.cell.name) if is_stochastic else _NO_KEY,
        )

    def _equal_cells(self, times: np.ndarray, steps: Any) -> Cells:
        key = (times.tobytes(), np.asarray(steps).tobytes(), np.asarray(steps).dtype.str)
        if key not in self._kept_cells:
            if len(self._kept_cells) > 100:
                self._kept_cells.clear()
            is_linear = self.interpolation == "linear" and bool(self.input_names)
            self._kept_cells[key] = equal_cells(times, steps, is_linear=is_linear)
        return self._kept_cells[key]

    # -- Running

    def unroll(
        self,
        t: Any,
        *,
        steps: Any = None,
        parameters: Any = None,
        initial: Any = None,
        inputs: Any = None,
        n: int | None = None,
        rng: Any = None,
        threads: int | None = None,
        for_gradient: bool = False,
        checkpoints: bool = False,
        keep_diverged: bool = False,
    ) -> Unrolled:
        """Run the recurrence over a grid of times.

        Everything may come in batches: where parameters, initial states or inputs have a leading
        axis, its length is that of the batch, and so many trajectories run at once.

        Parameters
        ----------
        t : float or array_like, shape (n_times,)
            End time (then 101 times from 0), or increasing times; `t[0]` is where the initial state
            holds.
        steps : int or array_like of int, optional
            Cells in each interval of `t`; 10 by default. Adaptive cells choose theirs and refuse
            it.
        parameters : mapping or array_like, optional
            Values by name, a number or (n_batch,) each; or all of `parameter_names`,
            (n_parameters,) or (n_batch, n_parameters). What is not named keeps the network's value.
        initial : mapping or array_like, optional
            Initial values by name or for all of `state_names`, likewise. Real numbers are allowed.
            Initial values that the network declares by expressions follow the parameters, unless
            they are given here.
        inputs : mapping or array_like, optional
            Values at the times of the grid by name, (n_times,) or (n_batch, n_times) each; or of
            all inputs, (n_times, n_inputs) or (n_batch, n_times, n_inputs). An input that is not
            named keeps the network's value throughout.
        n : int, optional
            Number of paths, for cells with noise: a batch.
        rng : None, int, SeedSequence or Generator, optional
            Source of the noise. Path `i` depends on `(rng, i)` alone.
        threads : int, optional
            Threads for batches; all cores by default.
        for_gradient : bool, optional
            Keep what `pull_back` needs (if that is less than 256 MiB), so that it need not run the
            cells again.
        checkpoints : bool, optional
            Let the memory of `pull_back` grow like the square root of the number of cells, for one
            more run of the cells.
        keep_diverged : bool, optional
            Return trajectories whose states become infinite, with nan from there on, instead of
            raising.

        Returns
        -------
        Unrolled
            `states` has shape (n_times, n_states), or (n_batch, n_times, n_states).

        Raises
        ------
        ValueError, TypeError
            If an argument makes no sense; the message says which and what to do.
        NetworkError
            If a name is unknown.
        SimulationError
            If a state becomes infinite or no number, or an adaptive cell finds no step or takes
            too many.
        """
        times = check_times(t)
        if self.cell.is_adaptive and steps is not None:
            raise ValueError(
                f"the cell '{self.cell.name}' chooses its steps; leave steps out, and set rtol= "
                "and atol= of the cell instead"
            )
        if not self.cell.is_stochastic and (n is not None or rng is not None):
            raise ValueError(
                f"the cell '{self.cell.name}' is deterministic and takes neither n= nor rng=; "
                "cells with noise are 'langevin' and 'leap'"
            )
        entropy = take_entropy(rng) if self.cell.is_stochastic else 0
        problem = self._problem(times, entropy)
        parameter_rows = self._named_rows(parameters, "parameters")
        given, initial_rows = self._initial_rows(initial)
        input_rows = self._input_rows(inputs, times)
        sizes = {rows.shape[0] for rows in (parameter_rows, initial_rows) if rows.ndim == 2}
        sizes |= {input_rows.shape[0]} if input_rows.ndim == 3 else set()
        if n is not None:
            sizes.add(check_whole(n, "n", 1))
        if len(sizes) > 1:
            raise ValueError(
                "parameters, initial, inputs and n make batches of different sizes: "
                f"{', '.join(map(str, sorted(sizes)))}"
            )
        size = max(sizes, default=1)
        wide = [
            np.broadcast_to(rows, (size, *rows.shape[rows.ndim - n_axes :]))
            for rows, n_axes in ((parameter_rows, 1), (initial_rows, 1), (input_rows, 2))
        ]
        initial_state = self._started(wide[0], wide[1], wide[2], given, times)
        if self.cell.kind == "leap":
            _require_counts(initial_state[:, : self.network.n_species], self.state_names)
        cells = None
        if not self.cell.is_adaptive:
            cells = self._equal_cells(times, 10 if steps is None else steps)
        elif times.size == 1:
            cells = self._equal_cells(times, 1)
        batch = Batch(
            problem=problem,
            cells=cells,
            parameters=wide[0],
            initial=initial_state,
            inputs=wide[2],
            given=given,
            is_single=not sizes,
            threads=cores() if threads is None else check_whole(threads, "threads", 1),
            checkpoints=checkpoints,
            first_index=0,
        )
        return unroll_batch(self, batch, for_gradient=for_gradient, keep_diverged=keep_diverged)

    def _named_rows(self, values: Any, what: str) -> np.ndarray:
        """Return parameters as (n_parameters,) or (n_batch, n_parameters)."""
        own = self.parameter_values
        if values is None:
            return own
        if not isinstance(values, Mapping):
            return _rows(values, own.size, what, self.parameter_names)
        columns = list(own)
        for name, value in values.items():
            if name not in self.parameter_names:
                raise NetworkError(self._no_parameter(str(name)))
            columns[self.parameter_names.index(name)] = _finite(value, f"the parameter {name!r}", 1)
        return _stacked(columns, what)

    def _no_parameter(self, name: str) -> str:
        if name in self.input_names:
            return f"{name!r} is an input of this recurrence; give it with inputs="
        if name in self.network.parameter_names:
            return (
                f"the parameter {name!r} is an expression of others; set those, or make it a "
                f"number with network.with_parameters({name}=...)"
            )
        return (
            f"the network has no parameter {shown(name)}{did_you_mean(name, self.parameter_names)}"
        )

    def _initial_rows(self, values: Any) -> tuple[tuple[bool, ...], np.ndarray]:
        """Return which initial values are given, and rows with nan where they are not."""
        n = len(self.state_names)
        if values is None:
            return (False,) * n, np.full(n, np.nan)
        if not isinstance(values, Mapping):
            return (True,) * n, _rows(values, n, "initial", self.state_names)
        columns: list[Any] = [np.nan] * n
        for name, value in values.items():
            if name not in self.state_names:
                raise NetworkError(
                    f"the network has no species or variable {shown(str(name))}"
                    f"{did_you_mean(str(name), self.state_names)}"
                )
            columns[self.state_names.index(name)] = _finite(
                value, f"the initial value of {name!r}", 1
            )
        given = tuple(name in values for name in self.state_names)
        return given, _stacked(columns, "initial")

    def _input_rows(self, values: Any, times: np.ndarray) -> np.ndarray:
        """Return inputs as (n_times, n_inputs) or (n_batch, n_times, n_inputs)."""
        own = dict(
            zip(self.network.parameter_names, self.network.parameter_values.tolist(), strict=True)
        )
        n = len(self.input_names)
        if values is None or isinstance(values, Mapping):
            columns = [np.full(times.size, own[name]) for name in self.input_names]
            for name, value in (values or {}).items():
                if name not in self.input_names:
                    advice = did_you_mean(str(name), self.input_names)
                    if name in self.network.parameter_names:
                        advice = f"; name it in inputs= of Recurrence, as in inputs=[{name!r}]"
                    raise NetworkError(f"there is no input {shown(str(name))}{advice}")
                array = _finite(value, f"the input {name!r}", 2)
                if array.ndim == 0 or array.shape[-1] != times.size:
                    raise ValueError(
                        f"the input {name!r} must have one value for each of the {times.size} "
                        f"times, or rows of these, not shape {array.shape}"
                    )
                columns[self.input_names.index(name)] = array
            if not columns:
                return np.zeros((times.size, 0))
            return np.stack(np.broadcast_arrays(*columns), axis=-1)
        array = _finite(values, "inputs", 3)
        if array.ndim < 2 or array.shape[-2:] != (times.size, n):
            raise ValueError(
                f"inputs must have shape (n_times, n_inputs) = ({times.size}, {n}), with a batch "
                f"axis before that or not; it has {array.shape}"
            )
        return array

    def _started(
        self,
        parameters: np.ndarray,
        initial: np.ndarray,
        inputs: np.ndarray,
        given: tuple[bool, ...],
        times: np.ndarray,
    ) -> np.ndarray:
        """Return the initial states (n_batch, n_states), the network's where none was given."""
        tape = self.initial_tape()
        started = np.empty((parameters.shape[0], len(self.state_names)))
        nothing = np.zeros((1, 0))
        for row in range(started.shape[0]):
            run_rows(
                tape,
                times[:1],
                nothing,
                np.ascontiguousarray(inputs[row, :1]),
                loaded_slots(tape, np.ascontiguousarray(parameters[row]), 1),
                started[row : row + 1],
            )
        return np.where(np.array(given), initial, started)


def _checked_inputs(network: Network, inputs: Sequence[str]) -> tuple[str, ...]:
    if isinstance(inputs, str):
        raise TypeError(f"inputs must be a list of names, as in inputs=[{inputs!r}]")
    names = tuple(getattr(name, "name", name) for name in inputs)
    for name in names:
        if name not in network.parameter_names:
            advice = did_you_mean(str(name), network.parameter_names)
            raise NetworkError(
                f"the input {shown(str(name))} is no parameter of the network{advice}; declare it "
                f"as one, with the value it has where no input is given: param {name} = 0"
            )
        if names.count(name) > 1:
            raise NetworkError(f"the input {name!r} is named twice")
    return names


def _finite(value: Any, what: str, most_axes: int) -> np.ndarray:
    """Return an array of finite numbers of at most so many axes."""
    try:
        array = np.asarray(value, dtype=np.float64)
    except (TypeError, ValueError):
        raise ValueError(f"{what} must be a number or an array of numbers, not {value!r}") from None
    if array.ndim > most_axes:
        raise ValueError(f"{what} has {array.ndim} axes, shape {array.shape}; at most {most_axes}")
    if not np.isfinite(array).all():
        raise ValueError(f"{what} holds a value that is infinite or not a number")
    return array


def _rows(values: Any, n: int, what: str, names: Sequence[str]) -> np.ndarray:
    array = _finite(values, what, 2)
    if array.ndim == 0 or array.shape[-1] != n:
        raise ValueError(
            f"{what} must have {n} columns ({', '.join(names[:8])}{', ...' if n > 8 else ''}), "
            f"not shape {array.shape}; or name them: {what}={{{names[0] if names else ''!r}: ...}}"
        )
    return array


def _stacked(columns: Sequence[Any], what: str) -> np.ndarray:
    if not columns:
        return np.zeros(0)
    try:
        return np.stack(np.broadcast_arrays(*columns), axis=-1).astype(np.float64)
    except ValueError:
        sizes = sorted({np.size(column) for column in columns if np.ndim(column)})
        raise ValueError(
            f"{what} make batches of different sizes: {', '.join(map(str, sizes))}"
        ) from None


def _require_counts(counts: np.ndarray, names: Sequence[str]) -> None:
    bad = (counts < 0.0) | (counts != np.round(counts)) | (counts > 2.0**53)
    if bad.any():
        row, column = (int(index[0]) for index in np.nonzero(bad))
        raise MethodError(
            f"the cell 'leap' needs whole counts, 0 or more, but {names[column]!r} starts at "
            f"{counts[row, column]:g}"
        )
