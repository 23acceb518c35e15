"""Runners: the arrays of one block of trajectories, and the kernels that work on them.

A block is up to `LANES` trajectories that take the same steps. Arrays are flat over its lanes, as
the kernels want them.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..errors import SimulationError
from ..kernels.adaptive_cells import (
    REACHED,
    STUCK,
    ExplicitWork,
    RosenbrockWork,
    Tolerance,
    adapt_explicit,
    adapt_rosenbrock,
)
from ..kernels.arrays import ReactionArrays
from ..kernels.explicit_cells import (
    Cells,
    push_explicit,
    retrace_explicit,
    unroll_explicit,
)
from ..kernels.leap_cells import unroll_leap
from ..kernels.noise_steps import fill_normals
from ..kernels.rosenbrock_cells import (
    Pattern,
    RosenbrockTrail,
    push_rosenbrock,
    retrace_rosenbrock,
    unroll_rosenbrock,
)
from ..kernels.tapes import LANES, Tape
from .grids import cells_from_steps

__all__ = [
    "Problem",
    "Runner",
    "Trail",
    "choose_steps",
    "loaded_slots",
    "make_runner",
    "part_of_trail",
]

Trail = Any  # an array, or a RosenbrockTrail

# Slots filled in one call of a kernel: some tenths of a second, between which Ctrl-C is heard.
_SLOTS_PER_CALL = 100_000_000


@dataclass(frozen=True)
class Problem:
    """What is the same for all trajectories of a run."""

    cell: Any  # Cell, with the tableau or scheme of its kind
    tape: Tape
    pattern: Pattern
    arrays: ReactionArrays | None  # for leaps
    times: np.ndarray  # (n_times,) float64
    is_linear: bool  # inputs are interpolated
    n_states: int
    n_parameters: int
    n_inputs: int
    key: np.ndarray  # (4,) uint64, of the noise

    @property
    def n_noise(self) -> int:
        """Normal numbers that one cell takes."""
        return int(self.tape.time - self.tape.noise)

    @property
    def n_kept(self) -> int:
        """Slots that depend on the state and that the way back needs."""
        tape = self.tape
        # Explicit cells do not fill those of the Jacobian, which come last.
        is_explicit = self.cell.kind == "explicit"
        last = tape.shift + tape.group_start[tape.essential] if is_explicit else tape.n_slots
        return int(last - tape.states)


def part_of_trail(trail: Trail, first: int, last: int) -> Trail:
    """Return the trail of some of the cells; an empty one stays empty."""
    if isinstance(trail, RosenbrockTrail):
        return RosenbrockTrail(*(array[first:last] for array in trail))
    return trail[first:last]


def loaded_slots(tape: Tape, parameters: np.ndarray, lanes: int) -> np.ndarray:
    """Return slots with numbers and parameters (n_parameters, lanes) in place."""
    w = np.zeros(int(tape.n_slots) * lanes)
    w[: tape.number.size * lanes] = np.repeat(tape.number, lanes)
    start = int(tape.parameters) * lanes
    w[start : start + parameters.size] = parameters.ravel()
    return w


class Runner(ABC):
    """One block of trajectories on its way."""

    lanes: int

    def __init__(
        self,
        problem: Problem,
        cells: Cells,
        parameters: np.ndarray,
        inputs: np.ndarray,
        first_index: int,
    ) -> None:
        # parameters (n_parameters, lanes), inputs (n_times, n_inputs, lanes)
        self.problem, self.cells = problem, cells
        self.lanes = parameters.shape[1]
        self.n_cells = cells.size.size
        self.w = loaded_slots(problem.tape, parameters, self.lanes)
        self.inputs = np.ascontiguousarray(inputs, dtype=np.float64).ravel()
        self.noise = self._draw_noise(first_index)
        self.n_stages = 1

    def _draw_noise(self, first_index: int) -> np.ndarray:
        n = self.problem.n_noise
        if n == 0:
            return np.zeros(0)
        noise = np.empty((self.lanes, self.n_cells, n))
        fill_normals(self.problem.key, first_index, noise)
        return np.ascontiguousarray(noise.transpose(1, 2, 0)).ravel()

    def chunks(self, first: int, last: int) -> list[tuple[int, int]]:
        """Cut a range of cells into pieces for one call of a kernel each."""
        slots = int(self.problem.tape.n_slots) * self.lanes * self.n_stages
        length = max(1, _SLOTS_PER_CALL // slots)
        return [(start, min(start + length, last)) for start in range(first, last, length)]

    def trail_bytes(self) -> int:
        """Memory that the trail of one cell takes."""
        return 8 * self.n_stages * self.problem.n_kept * self.lanes

    @abstractmethod
    def new_trail(self, n_cells: int) -> Trail:
        """Return an empty trail for so many cells."""

    @abstractmethod
    def forward(
        self, first: int, last: int, y: np.ndarray, states: np.ndarray, trail: Trail
    ) -> None:
        """Run cells [first, last) from `y`, which moves on."""

    @abstractmethod
    def backward(
        self,
        first: int,
        last: int,
        trail: Trail,
        bar: np.ndarray,
        y_bar: np.ndarray,
        states_bar: np.ndarray,
        inputs_bar: np.ndarray,
    ) -> None:
        """Take the adjoint `y_bar` back through cells [first, last)."""

    @abstractmethod
    def tangent(
        self,
        first: int,
        last: int,
        dot: np.ndarray,
        inputs_dot: np.ndarray,
        y: np.ndarray,
        y_dot: np.ndarray,
        states: np.ndarray,
        states_dot: np.ndarray,
    ) -> None:
        """Run cells [first, last) with tangents."""


class _Explicit(Runner):
    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.tableau = self.problem.cell.tableau
        self.n_stages = self.tableau.b.size
        self._k = np.zeros((self.n_stages, self.problem.n_states * self.lanes))
        self._k_bar = np.zeros_like(self._k)

    def new_trail(self, n_cells: int) -> Trail:
        return np.empty((n_cells, self.n_stages, self.problem.n_kept * self.lanes))

    def forward(
        self, first: int, last: int, y: np.ndarray, states: np.ndarray, trail: Trail
    ) -> None:
        unroll_explicit[self.lanes](
            self.problem.tape, self.tableau, self.cells, first, last, self.inputs, self.noise,
            self.w, y, self._k, states, trail,
        )  # fmt: skip

    def backward(
        self,
        first: int,
        last: int,
        trail: Trail,
        bar: np.ndarray,
        y_bar: np.ndarray,
        states_bar: np.ndarray,
        inputs_bar: np.ndarray,
    ) -> None:
        retrace_explicit[self.lanes](
            self.problem.tape, self.tableau, self.cells, first, last, trail, self.w, bar, y_bar,
            self._k_bar, states_bar, inputs_bar,
        )  # fmt: skip

    def tangent(
        self,
        first: int,
        last: int,
        dot: np.ndarray,
        inputs_dot: np.ndarray,
        y: np.ndarray,
        y_dot: np.ndarray,
        states: np.ndarray,
        states_dot: np.ndarray,
    ) -> None:
        k_dot = np.zeros((self.n_stages, y_dot.size))
        push_explicit(
            self.problem.tape, self.tableau, self.cells, first, last, self.inputs, inputs_dot,
            self.noise, self.w, dot, y, y_dot, self._k, k_dot, states, states_dot,
        )  # fmt: skip


class _Rosenbrock(Runner):
    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        n = self.problem.n_states
        self.scheme = self.problem.cell.scheme
        self.n_stages = self.scheme.m.size
        self._base = np.zeros(self.problem.tape.output.size)
        self._u = np.zeros((self.n_stages, n))
        self._factors = np.zeros((n, n))
        self._pivots = np.zeros(n, dtype=np.int64)

    def trail_bytes(self) -> int:
        n = self.problem.n_states
        return super().trail_bytes() + 8 * (n * self.n_stages + n * n + n)

    def new_trail(self, n_cells: int) -> Trail:
        n = self.problem.n_states
        return RosenbrockTrail(
            np.empty((n_cells, self.n_stages, self.problem.n_kept)),
            np.empty((n_cells, self.n_stages, n)),
            np.empty((n_cells, n, n)),
            np.empty((n_cells, n), dtype=np.int64),
        )

    def forward(
        self, first: int, last: int, y: np.ndarray, states: np.ndarray, trail: Trail
    ) -> None:
        unroll_rosenbrock(
            self.problem.tape, self.scheme, self.problem.pattern, self.cells, first, last,
            self.inputs, self.noise, self.w, self._base, y, self._u, self._factors, self._pivots,
            states, trail,
        )  # fmt: skip

    def backward(
        self,
        first: int,
        last: int,
        trail: Trail,
        bar: np.ndarray,
        y_bar: np.ndarray,
        states_bar: np.ndarray,
        inputs_bar: np.ndarray,
    ) -> None:
        retrace_rosenbrock(
            self.problem.tape, self.scheme, self.problem.pattern, self.cells, first, last, trail,
            self.w, bar, y_bar, np.zeros_like(self._u), np.zeros_like(self._base), states_bar,
            inputs_bar,
        )  # fmt: skip

    def tangent(
        self,
        first: int,
        last: int,
        dot: np.ndarray,
        inputs_dot: np.ndarray,
        y: np.ndarray,
        y_dot: np.ndarray,
        states: np.ndarray,
        states_dot: np.ndarray,
    ) -> None:
        base_dot = np.zeros(self._base.size * LANES)
        u_dot = np.zeros((self.n_stages, y_dot.size))
        push_rosenbrock(
            self.problem.tape, self.scheme, self.problem.pattern, self.cells, first, last,
            self.inputs, inputs_dot, self.noise, self.w, dot, self._base, base_dot, y, y_dot,
            self._u, u_dot, self._factors, self._pivots, states, states_dot,
        )  # fmt: skip


class _Leap(Runner):
    def __init__(
        self,
        problem: Problem,
        cells: Cells,
        parameters: np.ndarray,
        inputs: np.ndarray,
        first_index: int,
    ) -> None:
        super().__init__(problem, cells, parameters, inputs, first_index)
        assert problem.arrays is not None
        self._index = first_index
        n_reactions = problem.arrays.form.size
        self._propensities, self._firings = np.zeros(n_reactions), np.zeros(n_reactions)
        self._left = np.zeros(problem.n_states + 1)
        self._stream = np.zeros(4, dtype=np.uint64)

    def new_trail(self, n_cells: int) -> Trail:
        return np.empty((0, 0, 0))

    def forward(
        self, first: int, last: int, y: np.ndarray, states: np.ndarray, trail: Trail
    ) -> None:
        padded = np.append(y, 1.0)
        cell = unroll_leap(
            self.problem.tape, self.problem.arrays, self.cells, first, last, self.inputs,
            self.noise, self.w, padded, self._left, self._propensities, self._firings,
            self.problem.key, self._index, self._stream, states,
        )  # fmt: skip
        y[:] = padded[:-1]
        if cell >= 0:
            y[:] = np.nan
            states[self.cells.interval[cell] + np.uint64(1) :] = np.nan

    def backward(self, *arguments: Any) -> None:
        raise NotImplementedError("leaps have no slope")

    def tangent(self, *arguments: Any) -> None:
        self.backward(*arguments)


_RUNNERS: dict[str, type[Runner]] = {
    "explicit": _Explicit,
    "rosenbrock": _Rosenbrock,
    "leap": _Leap,
}


def make_runner(
    problem: Problem,
    cells: Cells,
    parameters: np.ndarray,
    inputs: np.ndarray,
    first_index: int = 0,
) -> Runner:
    """Return the runner of a block; `first_index` is its first trajectory's, for the noise."""
    return _RUNNERS[problem.cell.kind](problem, cells, parameters, inputs, first_index)


def choose_steps(
    problem: Problem,
    parameters: np.ndarray,
    initial: np.ndarray,
    inputs: np.ndarray,
    *,
    keep_diverged: bool,
) -> Cells:
    """Return the cells that an adaptive cell takes for one trajectory.

    Where no step is short enough, they end before the grid does if `keep_diverged` is set.

    Raises
    ------
    SimulationError
        If no step is short enough, or there would be too many.
    """
    cell, times, tape = problem.cell, problem.times, problem.tape
    n = problem.n_states
    is_explicit = cell.kind == "explicit"
    method = cell.full_tableau if is_explicit else cell.scheme
    tolerance = Tolerance(
        float(cell.rtol),
        float(cell.atol),
        cell.error_order,
        float(cell.max_step) or np.inf,
        cell.error,
    )
    work: Any
    if is_explicit:
        work = ExplicitWork(np.zeros((cell.error.size, n)))
    else:
        work = RosenbrockWork(
            problem.pattern,
            np.zeros(tape.output.size),
            np.zeros((cell.error.size, n)),
            np.zeros((n, n)),
            np.zeros(n, dtype=np.int64),
            np.zeros((0, 0)),
        )
    adapt = adapt_explicit if is_explicit else adapt_rosenbrock
    one = Cells(
        *(np.zeros(1), np.zeros(1), np.zeros(1, dtype=np.uint64), np.zeros(1), np.zeros(1)),
        np.zeros(1, dtype=np.int64),
        problem.is_linear,
    )
    w = loaded_slots(tape, parameters[:, np.newaxis], 1)
    flat_inputs = np.ascontiguousarray(inputs, dtype=np.float64).ravel()
    y, new, gap = initial.copy(), np.zeros(n), np.zeros(n)
    first = float(cell.first_step) or (times[1] - times[0]) / 100.0
    progress = np.array([0.0, times[0], first])
    length = min(1000, cell.max_cells)
    all_sizes, all_rows, n_cells = [], [], 0
    while True:
        sizes, rows = np.empty(length), np.empty(length, dtype=np.int64)
        reason, n_done = adapt(
            tape, method, tolerance, times, one, flat_inputs, np.zeros(0), w, y, new, gap, work,
            progress, sizes, rows,
        )  # fmt: skip
        all_sizes.append(sizes[:n_done])
        all_rows.append(rows[:n_done])
        n_cells += n_done
        if reason == REACHED or (reason == STUCK and keep_diverged):
            break
        if reason == STUCK:
            raise SimulationError(
                f"the cell '{cell.name}' found no step short enough at t = {progress[1]:g}: the "
                "rate equations explode there, jump, or are too stiff for it (then take "
                "'rodas4_adaptive')"
            )
        length = min(4 * length, cell.max_cells - n_cells)
        if length == 0:
            raise SimulationError(
                f"the cell '{cell.name}' took {n_cells:,} steps and came to t = {progress[1]:g}; "
                "raise max_cells, loosen rtol and atol, or take 'rodas4_adaptive' if the rate "
                "equations are stiff"
            )
    return cells_from_steps(
        times, np.concatenate(all_sizes), np.concatenate(all_rows), is_linear=problem.is_linear
    )
