"""A recurrence unrolled over a grid: its states, and gradients backwards and forwards."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import MethodError, NetworkError, SimulationError
from ..kernels.explicit_cells import Cells
from ..kernels.tape_rows import pull_back_rows, push_rows, run_rows
from ..kernels.tapes import LANES, Tape
from ..names import did_you_mean, shown
from ..workers import share_out
from .runners import Problem, Runner, Trail, choose_steps, loaded_slots, make_runner, part_of_trail

if TYPE_CHECKING:
    from .recurrence import Recurrence

__all__ = ["Gradient", "Unrolled", "unroll_batch"]

# Most memory that the trails of one call may take before cells are run again instead.
_TRAIL_BYTES = 2**28
# Trail of a segment of cells that are run again: what stays in the cache. One trail of a thousand
# cells and eight lanes is 20 MB, which two threads write half as fast as one.
_SEGMENT_BYTES = 2**21


@dataclass(frozen=True)
class Gradient:
    """The gradient of a number by parameters, initial state and inputs.

    `gradient["k"]` is the derivative by a parameter, `gradient["X(0)"]` by an initial value, and
    `gradient["light"]` by an input at each time of the grid. The derivative by an initial value
    that follows parameters is given, too; that by the parameters already contains it.
    """

    parameters: np.ndarray  # (..., n_parameters), including their way through the initial state
    initial: np.ndarray  # (..., n_states)
    inputs: np.ndarray  # (..., n_times, n_inputs)
    parameter_names: tuple[str, ...]
    state_names: tuple[str, ...]
    input_names: tuple[str, ...]

    def __getitem__(self, name: str) -> Any:
        """Return the derivative by a parameter, an initial value ("X(0)") or an input."""
        if name in self.parameter_names:
            return self.parameters[..., self.parameter_names.index(name)]
        if name in self.input_names:
            return self.inputs[..., self.input_names.index(name)]
        if name.endswith("(0)") and name[:-3] in self.state_names:
            return self.initial[..., self.state_names.index(name[:-3])]
        known = [*self.parameter_names, *self.input_names]
        known += [f"{state}(0)" for state in self.state_names]
        raise KeyError(f"there is no derivative by {name!r}{did_you_mean(name, known)}")


@dataclass(frozen=True)
class Batch:
    """What one call unrolls, every array with an axis for the batch."""

    problem: Problem
    cells: Cells | None  # None for adaptive cells: each trajectory has its own
    parameters: np.ndarray  # (n_batch, n_parameters)
    initial: np.ndarray  # (n_batch, n_states)
    inputs: np.ndarray  # (n_batch, n_times, n_inputs)
    given: tuple[bool, ...]  # states whose initial value was given, not the network's own
    is_single: bool  # results have no batch axis
    threads: int
    checkpoints: bool
    first_index: int  # of the noise

    @property
    def size(self) -> int:
        """Number of trajectories."""
        return int(self.parameters.shape[0])

    def blocks(self) -> list[tuple[int, int]]:
        """Return the rows of each block."""
        is_wide = self.cells is not None and self.problem.cell.kind == "explicit" and self.size > 1
        width = LANES if is_wide else 1
        return [(low, min(low + width, self.size)) for low in range(0, self.size, width)]

    def lanes_of(self, rows: tuple[int, int]) -> np.ndarray:
        """Return the trajectory of each lane; the last one fills up."""
        width = 1 if rows[1] - rows[0] == 1 and self.size == 1 else LANES
        if self.cells is None or self.problem.cell.kind != "explicit":
            width = 1
        return np.minimum(np.arange(rows[0], rows[0] + width), rows[1] - 1)

    def runner(self, rows: tuple[int, int], cells: Cells) -> Runner:
        """Return the runner of a block."""
        chosen = self.lanes_of(rows)
        return make_runner(
            self.problem,
            cells,
            np.ascontiguousarray(self.parameters[chosen].T),
            np.ascontiguousarray(self.inputs[chosen].transpose(1, 2, 0)),
            self.first_index + rows[0],
        )


def _run_cells(
    runner: Runner, first: int, last: int, y: np.ndarray, states: np.ndarray, trail: Trail
) -> None:
    """Run cells forwards; `trail` covers them all, or nothing."""
    for start, stop in runner.chunks(first, last):
        runner.forward(start, stop, y, states, part_of_trail(trail, start - first, stop - first))


def _segment_length(batch: Batch, runner: Runner) -> int:
    """Return how many cells are run again at a time on the way back."""
    length = max(1, _SEGMENT_BYTES // runner.trail_bytes())
    if batch.checkpoints:
        # States of n / length segments and the trail of one: least at this length.
        state_bytes = 8 * batch.problem.n_states * runner.lanes
        length = math.ceil(math.sqrt(runner.n_cells * state_bytes / runner.trail_bytes()))
    return max(1, min(runner.n_cells, length))


def _segment_starts(
    batch: Batch, runner: Runner, y: np.ndarray, states: np.ndarray
) -> list[np.ndarray]:
    """Run all cells and return the states at which the segments begin."""
    length, nothing = _segment_length(batch, runner), runner.new_trail(0)
    starts = []
    for first in range(0, runner.n_cells, length):
        starts.append(y.copy())
        _run_cells(runner, first, min(first + length, runner.n_cells), y, states, nothing)
    return starts


def unroll_batch(
    recurrence: Recurrence, batch: Batch, *, for_gradient: bool, keep_diverged: bool
) -> Unrolled:
    """Run all trajectories forwards."""
    problem = batch.problem
    n_times, n = problem.times.size, problem.n_states
    states = np.empty((batch.size, n_times, n))
    blocks = batch.blocks()
    steps: list[Cells | None] = [batch.cells] * len(blocks)
    trails: list[Trail | None] = [None] * len(blocks)
    starts: list[list[np.ndarray] | None] = [None] * len(blocks)

    def work(index: int) -> None:
        rows = blocks[index]
        cells = batch.cells
        if cells is None:
            row = rows[0]
            cells = steps[index] = choose_steps(
                problem,
                batch.parameters[row],
                batch.initial[row],
                batch.inputs[row],
                keep_diverged=keep_diverged,
            )
        runner = batch.runner(rows, cells)
        y = np.ascontiguousarray(batch.initial[batch.lanes_of(rows)].T).ravel()
        block = np.full((n_times, y.size), np.nan)  # steps may end before the grid does
        block[0] = y
        needed = runner.trail_bytes() * runner.n_cells * len(blocks)
        keeps = for_gradient and not batch.checkpoints and needed <= _TRAIL_BYTES
        if for_gradient and not keeps:
            starts[index] = _segment_starts(batch, runner, y, block)
        else:
            trail = runner.new_trail(runner.n_cells if keeps else 0)
            _run_cells(runner, 0, runner.n_cells, y, block, trail)
            trails[index] = trail if keeps else None
        lanes_last = block.reshape(n_times, n, runner.lanes)
        states[rows[0] : rows[1]] = lanes_last.transpose(2, 0, 1)[: rows[1] - rows[0]]

    share_out(work, len(blocks), batch.threads)
    unrolled = Unrolled(recurrence, batch, states, steps, trails, starts)
    if not keep_diverged:
        unrolled.refuse_diverged()
    return unrolled


class Unrolled:
    """A recurrence unrolled over a grid.

    `path["X"]` is a state or an observable at each time, (n_times,) or (n_batch, n_times).

    Attributes
    ----------
    times : ndarray, shape (n_times,)
        The grid, in the unit of time that the rate constants set.
    states : ndarray, shape (n_times, n_states) or (n_batch, n_times, n_states)
        Amounts in molecules, then variables.
    """

    def __init__(
        self,
        recurrence: Recurrence,
        batch: Batch,
        states: np.ndarray,
        steps: Sequence[Cells | None],
        trails: Sequence[Trail | None],
        starts: Sequence[list[np.ndarray] | None],
    ) -> None:
        self.recurrence = recurrence
        self._batch, self._steps, self._trails = batch, list(steps), list(trails)
        self._starts = list(starts)
        finite = np.isfinite(states).all(axis=-1)
        self._first_bad = np.where(finite.all(axis=1), finite.shape[1], np.argmin(finite, axis=1))
        for row in np.flatnonzero(self._first_bad < finite.shape[1]):
            states[row, self._first_bad[row] :] = np.nan
        self._states = states
        self._readouts: dict[tuple[str, ...], np.ndarray] = {}

    def __repr__(self) -> str:
        """Return the sizes."""
        batch = "" if self._batch.is_single else f"{self._batch.size} trajectories, "
        first, last = self.times[0], self.times[-1]
        return (
            f"<Unrolled: {batch}{len(self.recurrence.state_names)} states at {self.times.size} "
            f"times from {first:g} to {last:g}, cell {self._batch.problem.cell.name}>"
        )

    # -- What was computed

    @property
    def times(self) -> np.ndarray:
        """The grid, (n_times,)."""
        return self._batch.problem.times

    @property
    def states(self) -> np.ndarray:
        """States at each time, (n_times, n_states) or (n_batch, n_times, n_states)."""
        states: np.ndarray = self._trim(self._states)
        return states

    @property
    def parameters(self) -> np.ndarray:
        """Parameters that were used, (n_parameters,) or (n_batch, n_parameters)."""
        parameters: np.ndarray = self._trim(self._batch.parameters)
        return parameters

    @property
    def diverged(self) -> Any:
        """Whether a state became infinite or no number: bool, or (n_batch,) bool."""
        return self._trim(self._first_bad < self.times.size)

    @property
    def steps(self) -> Any:
        """The cells: arrays `time` and `size` of each; a list of them for adaptive batches."""
        if self._batch.cells is not None:
            return self._batch.cells
        return self._steps[0] if self._batch.is_single else list(self._steps)

    @property
    def n_cells(self) -> Any:
        """Number of cells: int, or (n_batch,) where each trajectory chose its own."""
        steps = self.steps
        return (
            len(steps.size) if isinstance(steps, Cells) else np.array([len(s.size) for s in steps])
        )

    def _trim(self, array: np.ndarray) -> Any:
        return array[0] if self._batch.is_single else array

    def refuse_diverged(self) -> None:
        """Raise an error if a trajectory diverged.

        Raises
        ------
        SimulationError
            Naming the first such trajectory, the time and the state.
        """
        bad = np.flatnonzero(self._first_bad < self.times.size)
        if not bad.size:
            return
        row, name = int(bad[0]), self._batch.problem.cell.name
        at = int(self._first_bad[row])
        where = "" if self._batch.is_single else f" of trajectory {row}"
        since = f" and t = {self.times[at]:g}" if at else ""
        before = f"between t = {self.times[max(0, at - 1)]:g}{since}" if at else "at the start"
        advice = "smaller cells (steps=), an adaptive cell ('dopri5')"
        if self._batch.cells is None:
            advice = "smaller tolerances (rtol=, atol=)"
        raise SimulationError(
            f"a state{where} became infinite or no number {before} under the cell '{name}'; use "
            f"{advice}, one for stiff networks ('rodas4'), or check the rate laws there"
        )

    def __getitem__(self, name: str) -> Any:
        """Return one state or observable, (n_times,) or (n_batch, n_times)."""
        if name in self.recurrence.state_names:
            return self.states[..., self.recurrence.state_names.index(name)]
        return self.outputs([name])[..., 0]

    def outputs(self, names: Sequence[str] | None = None) -> Any:
        """Return states and observables.

        Parameters
        ----------
        names : sequence of str, optional
            Which; all states and observables by default.

        Returns
        -------
        ndarray, shape (n_times, n_names) or (n_batch, n_times, n_names)
            Values at the times of the grid.

        Raises
        ------
        NetworkError
            If there is no such state or observable.
        """
        chosen = self._checked(names)
        if chosen not in self._readouts:
            if set(chosen) <= set(self.recurrence.state_names):
                index = [self.recurrence.state_names.index(name) for name in chosen]
                values = self._states[:, :, index]
            else:
                values = self._read_out(chosen)
            self._readouts[chosen] = values
        return self._trim(self._readouts[chosen])

    def _checked(self, names: Sequence[str] | str | None) -> tuple[str, ...]:
        known = self.recurrence.output_names
        if names is None:
            return known
        chosen = (names,) if isinstance(names, str) else tuple(names)
        for name in chosen:
            if name not in known:
                raise NetworkError(
                    f"the network has no species, variable or observable {shown(str(name))}"
                    f"{did_you_mean(str(name), known)}"
                )
        return chosen

    def _slots(self, tape: Tape, row: int) -> np.ndarray:
        return loaded_slots(tape, self._batch.parameters[row], 1)

    def _read_out(self, names: tuple[str, ...]) -> np.ndarray:
        batch, tape = self._batch, self.recurrence.output_tape(names)
        values = np.empty((batch.size, self.times.size, len(names)))
        for row in range(batch.size):
            run_rows(
                tape,
                self.times,
                self._states[row],
                np.ascontiguousarray(batch.inputs[row]),
                self._slots(tape, row),
                values[row],
            )
        return values

    # -- Backwards

    def pull_back(self, adjoints: Any) -> Gradient:
        """Return the gradient of a number, by back-propagation through time.

        The gradient is that of the discrete recurrence, exact to rounding. Where it was unrolled
        with ``for_gradient=True`` nothing runs twice.

        Parameters
        ----------
        adjoints : array_like or mapping of str to array_like
            Derivatives of the number by the states, of the shape of `states`; or by states and
            observables by name, (n_times,) or (n_batch, n_times) each. One that is nan makes the
            gradient nan.

        Returns
        -------
        Gradient
            By parameters, initial state and inputs; in a batch for each trajectory, nan for those
            that diverged.

        Raises
        ------
        MethodError
            If the cell has no gradient.
        ValueError
            If a shape does not fit, or the one trajectory diverged.
        """
        batch = self._batch
        problem = batch.problem
        self._require_slopes()
        states_bar = np.zeros_like(self._states)
        inputs_bar = np.zeros((batch.size, *batch.inputs.shape[1:]))
        parameters_bar = np.zeros((batch.size, problem.n_parameters))
        if isinstance(adjoints, Mapping):
            self._add_output_adjoints(adjoints, states_bar, inputs_bar, parameters_bar)
        else:
            given = np.asarray(adjoints, dtype=np.float64)
            if given.shape != self.states.shape:
                raise ValueError(
                    f"adjoints must have the shape of the states, {self.states.shape}, "
                    f"not {given.shape}"
                )
            states_bar += given
        initial_bar = np.zeros((batch.size, problem.n_states))
        blocks = batch.blocks()

        def work(index: int) -> None:
            rows = blocks[index]
            self._go_back(index, rows, states_bar, inputs_bar, parameters_bar, initial_bar)

        share_out(work, len(blocks), batch.threads)
        self._follow_initial(parameters_bar, initial_bar, inputs_bar)
        bad = self._first_bad < self.times.size
        for array in (parameters_bar, initial_bar, inputs_bar):
            array[bad] = np.nan
        return Gradient(
            self._trim(parameters_bar),
            self._trim(initial_bar),
            self._trim(inputs_bar),
            self.recurrence.parameter_names,
            self.recurrence.state_names,
            self.recurrence.input_names,
        )

    def _require_slopes(self) -> None:
        cell = self._batch.problem.cell
        if not cell.has_gradient:
            raise MethodError(
                f"the cell '{cell.name}' has no gradient: its counts are whole numbers; "
                "'langevin' has one, and so have the deterministic cells"
            )
        if self._batch.is_single and self._first_bad[0] < self.times.size:
            raise ValueError("a diverged trajectory has no gradient; look at .diverged first")

    def _add_output_adjoints(
        self,
        adjoints: Mapping[str, Any],
        states_bar: np.ndarray,
        inputs_bar: np.ndarray,
        parameters_bar: np.ndarray,
    ) -> None:
        batch = self._batch
        names = self._checked(list(adjoints))
        if not names:
            raise ValueError("adjoints is empty; name the states and observables, as in {'X': ...}")
        shape = self.states.shape[:-1]
        values = []
        for name in names:
            given = np.asarray(adjoints[name], dtype=np.float64)
            if given.shape != shape:
                raise ValueError(
                    f"the adjoint of {name!r} must have shape {shape}, not {given.shape}"
                )
            values.append(given.reshape(batch.size, -1))
        whole = np.stack(values, axis=-1)
        tape = self.recurrence.output_tape(names)
        start = int(tape.parameters)
        for row in range(batch.size):
            bar = np.zeros(int(tape.n_slots))
            pull_back_rows(
                tape,
                self.times,
                self._states[row],
                np.ascontiguousarray(batch.inputs[row]),
                self._slots(tape, row),
                bar,
                np.ascontiguousarray(whole[row]),
                states_bar[row],
                inputs_bar[row],
            )
            parameters_bar[row] += bar[start : start + parameters_bar.shape[1]]

    def _go_back(
        self,
        index: int,
        rows: tuple[int, int],
        states_bar: np.ndarray,
        inputs_bar: np.ndarray,
        parameters_bar: np.ndarray,
        initial_bar: np.ndarray,
    ) -> None:
        batch, problem = self._batch, self._batch.problem
        cells = self._steps[index]
        assert cells is not None
        runner = batch.runner(rows, cells)
        chosen, lanes, width = batch.lanes_of(rows), runner.lanes, rows[1] - rows[0]
        lane_bars = states_bar[chosen].transpose(1, 2, 0).copy()
        lane_bars[..., width:] = 0.0  # the lanes that only fill up
        block_bar = lane_bars.reshape(problem.times.size, -1)
        block_inputs = np.zeros(problem.times.size * problem.n_inputs * lanes)
        bar = np.zeros(int(problem.tape.n_slots) * lanes)
        y_bar = np.zeros(problem.n_states * lanes)
        trail = self._trails[index]
        if trail is not None:
            for start, stop in reversed(runner.chunks(0, runner.n_cells)):
                part = part_of_trail(trail, start, stop)
                runner.backward(start, stop, part, bar, y_bar, block_bar, block_inputs)
        else:
            self._go_back_in_segments(
                runner, rows, self._starts[index], bar, y_bar, block_bar, block_inputs
            )
        y_bar += block_bar[0]
        at = int(problem.tape.parameters) * lanes
        by_parameter = bar[at : at + problem.n_parameters * lanes].reshape(-1, lanes)
        parameters_bar[rows[0] : rows[1]] += by_parameter.T[:width]
        initial_bar[rows[0] : rows[1]] = y_bar.reshape(-1, lanes).T[:width]
        by_input = block_inputs.reshape(problem.times.size, -1, lanes)
        inputs_bar[rows[0] : rows[1]] += by_input.transpose(2, 0, 1)[:width]

    def _go_back_in_segments(
        self,
        runner: Runner,
        rows: tuple[int, int],
        starts: list[np.ndarray] | None,
        bar: np.ndarray,
        y_bar: np.ndarray,
        block_bar: np.ndarray,
        block_inputs: np.ndarray,
    ) -> None:
        """Keep states at some cells only, and run the cells between them once more."""
        batch, n_cells = self._batch, runner.n_cells
        if n_cells == 0:
            return
        length = _segment_length(batch, runner)
        bounds = [*range(0, n_cells, length), n_cells]
        scratch = np.empty_like(block_bar)
        if starts is None:
            y = np.ascontiguousarray(batch.initial[batch.lanes_of(rows)].T).ravel()
            starts = _segment_starts(batch, runner, y, scratch)
        trail = runner.new_trail(length)
        for (first, last), start_state in zip(
            reversed(list(pairwise(bounds))), reversed(starts), strict=True
        ):
            y = start_state.copy()
            part = part_of_trail(trail, 0, last - first)
            _run_cells(runner, first, last, y, scratch, part)
            for start, stop in reversed(runner.chunks(first, last)):
                runner.backward(
                    start,
                    stop,
                    part_of_trail(part, start - first, stop - first),
                    bar,
                    y_bar,
                    block_bar,
                    block_inputs,
                )

    def _follow_initial(
        self, parameters_bar: np.ndarray, initial_bar: np.ndarray, inputs_bar: np.ndarray
    ) -> None:
        """Add the way of the parameters through the initial state."""
        batch, tape = self._batch, self.recurrence.initial_tape()
        if tape.prologue == 0 and all(slot < tape.parameters for slot in tape.output):
            return  # all numbers
        follows = ~np.array(batch.given)
        start = int(tape.parameters)
        for row in range(batch.size):
            bar = np.zeros(int(tape.n_slots))
            pull_back_rows(
                tape,
                self.times[:1],
                np.zeros((1, 0)),
                np.ascontiguousarray(batch.inputs[row, :1]),
                self._slots(tape, row),
                bar,
                (initial_bar[row] * follows)[np.newaxis],
                np.zeros((1, 0)),
                inputs_bar[row, :1],
            )
            parameters_bar[row] += bar[start : start + parameters_bar.shape[1]]

    # -- Forwards

    def sensitivities(
        self, wrt: Sequence[str], of: Sequence[str] | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return values and their Jacobian, by forward mode (real-time recurrent learning).

        Parameters
        ----------
        wrt : sequence of str
            Parameters ("k"), initial values ("X(0)"), or inputs at a time of the grid
            ("light[2]"). The cost grows with every eight of them.
        of : sequence of str, optional
            States and observables; all by default.

        Returns
        -------
        values : ndarray, shape (n_times, n_of) or (n_batch, n_times, n_of)
            What they are.
        jacobian : ndarray, shape (..., n_times, n_of, n_wrt)
            The derivative of each by each.

        Raises
        ------
        MethodError
            If the cell has no gradient.
        NetworkError
            If a name is unknown.
        """
        self._require_slopes()
        names = self._checked(of)
        batch = self._batch
        seeds = self._seeds(wrt)
        jacobian = np.empty((batch.size, self.times.size, len(names), len(seeds)))
        groups = [(row, low) for row in range(batch.size) for low in range(0, len(seeds), LANES)]
        block_of = np.repeat(
            np.arange(len(self._steps)), [high - low for low, high in batch.blocks()]
        )

        def work(index: int) -> None:
            row, low = groups[index]
            chosen = seeds[low : low + LANES]
            cells = self._steps[block_of[row]]
            assert cells is not None
            jacobian[row, :, :, low : low + LANES] = self._directions(row, cells, chosen, names)

        if groups:
            share_out(work, len(groups), batch.threads)
        jacobian[self._first_bad < self.times.size] = np.nan
        return self.outputs(names), self._trim(jacobian)

    def _seeds(self, wrt: Sequence[str]) -> list[tuple[str, int, int]]:
        """Return for each name what it is, which one, and at which time (of inputs)."""
        recurrence = self.recurrence
        found = []
        for name in (wrt,) if isinstance(wrt, str) else wrt:
            at = re.fullmatch(r"(.+)\[(\d+)\]", name)
            if name in recurrence.parameter_names:
                found.append(("parameter", recurrence.parameter_names.index(name), 0))
            elif name.endswith("(0)") and name[:-3] in recurrence.state_names:
                found.append(("initial", recurrence.state_names.index(name[:-3]), 0))
            elif at and at[1] in recurrence.input_names and int(at[2]) < self.times.size:
                found.append(("input", recurrence.input_names.index(at[1]), int(at[2])))
            else:
                known = [
                    *recurrence.parameter_names,
                    *(f"{state}(0)" for state in recurrence.state_names),
                    *(f"{one}[0]" for one in recurrence.input_names),
                ]
                advice = did_you_mean(str(name), known) or f"; there are {', '.join(known[:20])}"
                raise NetworkError(f"there is no derivative by {shown(str(name))}{advice}")
        return found

    def _directions(
        self,
        row: int,
        cells: Cells,
        seeds: Sequence[tuple[str, int, int]],
        names: tuple[str, ...],
    ) -> np.ndarray:
        """Return the derivatives (n_times, n_names, n_seeds) along at most LANES directions."""
        batch, problem = self._batch, self._batch.problem
        n, n_times = problem.n_states, self.times.size
        runner = make_runner(
            problem,
            cells,
            np.ascontiguousarray(batch.parameters[row][:, np.newaxis]),
            np.ascontiguousarray(batch.inputs[row][..., np.newaxis]),
            batch.first_index + row,
        )
        dots = np.zeros((problem.n_parameters, LANES))
        y_dot = np.zeros((n, LANES))
        inputs_dot = np.zeros((n_times, problem.n_inputs, LANES))
        for lane, (kind, index, at) in enumerate(seeds):
            if kind == "parameter":
                dots[index, lane] = 1.0
            elif kind == "input":
                inputs_dot[at, index, lane] = 1.0
        y_dot += self._initial_tangents(row, dots, inputs_dot)
        for lane, (kind, index, _) in enumerate(seeds):
            if kind == "initial":
                y_dot[index, lane] += 1.0
        states, states_dot = np.empty((n_times, n)), np.empty((n_times, n * LANES))
        y, flat_dot = batch.initial[row].copy(), y_dot.ravel()
        states[0], states_dot[0] = y, flat_dot
        dot = _loaded_dots(problem.tape, dots)
        for start, stop in runner.chunks(0, runner.n_cells):
            runner.tangent(start, stop, dot, inputs_dot.ravel(), y, flat_dot, states, states_dot)
        tape = self.recurrence.output_tape(names)
        values_dot = np.empty((n_times, len(names) * LANES))
        push_rows(
            tape,
            self.times,
            states,
            states_dot,
            np.ascontiguousarray(batch.inputs[row]),
            inputs_dot.reshape(n_times, -1),
            self._slots(tape, row),
            _loaded_dots(tape, dots),
            np.empty((n_times, len(names))),
            values_dot,
        )
        return values_dot.reshape(n_times, len(names), LANES)[..., : len(seeds)]

    def _initial_tangents(self, row: int, dots: np.ndarray, inputs_dot: np.ndarray) -> np.ndarray:
        batch, tape = self._batch, self.recurrence.initial_tape()
        n = batch.problem.n_states
        outputs_dot = np.empty((1, n * LANES))
        push_rows(
            tape,
            self.times[:1],
            np.zeros((1, 0)),
            np.zeros((1, 0)),
            np.ascontiguousarray(batch.inputs[row, :1]),
            inputs_dot[:1].reshape(1, -1),
            self._slots(tape, row),
            _loaded_dots(tape, dots),
            np.empty((1, n)),
            outputs_dot,
        )
        return np.where(np.array(batch.given)[:, np.newaxis], 0.0, outputs_dot.reshape(n, LANES))


def _loaded_dots(tape: Tape, dots: np.ndarray) -> np.ndarray:
    """Return tangents of slots with those of the parameters (n_parameters, LANES) in place."""
    loaded = np.zeros(int(tape.n_slots) * LANES)
    start = int(tape.parameters) * LANES
    loaded[start : start + dots.size] = dots.ravel()
    return loaded
