"""Pieces of the time axis, and the loss and gradient of a mini-batch of them.

What a piece starts from is what the ways to train differ in: the trajectory from the initial state
("single"), the state it has reached, taken as given ("truncated"), or a free state ("multiple").
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from .estimates import initial_name

if TYPE_CHECKING:
    from .objective import Objective, Window

__all__ = ["SHOOTING", "Loss", "Merit", "Pieces", "pieces_of"]

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

SHOOTING = ("single", "truncated", "multiple")

# Windows with free states can fit any data exactly; the noise is not believed to be smaller than
# this share of the rough guess made from the data.
_LEAST_SCALE = 0.1


class Loss(Protocol):
    """What training needs of an objective where no time windows are asked for."""

    start: FloatArray  # (n_free,) where training starts
    lower: FloatArray  # (n_free,)
    upper: FloatArray  # (n_free,)
    n_data: int

    def value(self, u: FloatArray) -> float:
        """Return the loss; infinite where it cannot be computed."""

    def value_and_gradient(self, u: FloatArray) -> tuple[float, FloatArray]:
        """Return the loss and its gradient (n_free,)."""


class Merit(NamedTuple):
    """How good coordinates are: the loss of all windows, and how far these are apart."""

    loss: float
    gap: float  # mean square over windows and states, in the scale of each state

    def total(self, penalty: float, n_data: int) -> float:
        """Return the loss with its penalty, for all data."""
        return self.loss + (0.5 * penalty * self.gap * n_data if penalty else 0.0)


class Pieces(ABC):
    """What a step of training is made on.

    Its coordinates w are the free coordinates u, with the free states of windows behind them.
    """

    has_gaps = False
    descends = True  # whether the sampled gradients are those of the loss

    def __init__(self, objective: Objective | Loss, start: FloatArray) -> None:
        self.n_data = objective.n_data
        self.n_free = start.size
        self.n_pieces = 1
        self.start = start
        self.lower, self.upper = objective.lower, objective.upper

    def projected(self, w: FloatArray) -> FloatArray:
        """Return the point of the box that is nearest to `w`."""
        return np.clip(w, self.lower, self.upper)

    @abstractmethod
    def refresh(self, w: FloatArray) -> None:
        """Take what is held within an epoch from `w`."""

    def merit(self, w: FloatArray, loss: float) -> Merit:
        """Return how good `w` is, where the objective has the value `loss`."""
        return Merit(loss, 0.0)

    def joined(self, u: FloatArray) -> Pieces:
        """Return the same pieces without free states, to go on from `u`."""
        return self

    @abstractmethod
    def sample(self, w: FloatArray, chosen: IntArray, penalty: float) -> tuple[float, FloatArray]:
        """Return loss and gradient per data point, estimated from the chosen pieces."""


class WholeLoss(Pieces):
    """A single piece: the objective itself."""

    def __init__(self, objective: Objective | Loss, start: FloatArray) -> None:
        super().__init__(objective, start)
        self._objective = objective

    def refresh(self, w: FloatArray) -> None:
        """Nothing is held."""

    def sample(self, w: FloatArray, chosen: IntArray, penalty: float) -> tuple[float, FloatArray]:
        """Return the objective's own loss and gradient, per data point."""
        loss, gradient = self._objective.value_and_gradient(w)
        return loss / self.n_data, gradient / self.n_data


class _Slopes:
    """A gradient by name in which initial states count only where they are those of the data."""

    def __init__(self, gradient: Any, is_first: bool) -> None:
        self._gradient, self._is_first = gradient, is_first

    def __getitem__(self, name: str) -> float:
        if initial_name(name) and not self._is_first:
            return 0.0
        return float(self._gradient[name])


class Windows(Pieces):
    """Windows of the trajectory from the initial state, with the gradient through all of it."""

    def __init__(self, objective: Objective, start: FloatArray, windows: list[Window]) -> None:
        super().__init__(objective, start)
        self.objective, self.windows = objective, windows
        self.n_pieces = len(windows)
        self.scales = objective.scales(start)
        # What the losses of windows leave out, so that they estimate the whole loss.
        self.constant = objective.value(start) - sum(
            objective.loss_of_outputs(e, objective.outputs(e, start), self.scales)[0]
            for e in range(len(objective.experiments))
        )

    def refresh(self, w: FloatArray) -> None:
        """Hold the estimated scales of the noise at their best for `w`."""
        if self.scales.size:
            self.scales = self.objective.scales(w[: self.n_free])

    def sample(self, w: FloatArray, chosen: IntArray, penalty: float) -> tuple[float, FloatArray]:
        """Return loss and gradient per data point, estimated from the chosen windows."""
        loss, gradient = 0.0, np.zeros(w.size)
        if not self.is_possible(w):
            return math.inf, gradient
        for e, windows in self._by_experiment(chosen):
            part, slopes = self._of_experiment(w, e, windows, penalty)
            if not math.isfinite(part):
                return math.inf, np.zeros(w.size)
            loss += part
            gradient += slopes
        share = self.n_pieces / (len(chosen) * self.n_data)
        return loss * share + self.constant / self.n_data, gradient * share

    def is_possible(self, w: FloatArray) -> bool:
        """Whether all parameters and initial values are finite at `w`."""
        space = self.objective.space
        return bool(np.isfinite(w).all()) and all(
            math.isfinite(value)
            for e in range(len(self.objective.experiments))
            for value in space.quantities(w[: self.n_free], e).values()
        )

    def _by_experiment(self, chosen: IntArray) -> Iterator[tuple[int, list[int]]]:
        groups: dict[int, list[int]] = {}
        for k in sorted(chosen.tolist()):
            groups.setdefault(self.windows[k].experiment, []).append(k)
        yield from groups.items()

    def _of_experiment(
        self, w: FloatArray, e: int, chosen: list[int], penalty: float
    ) -> tuple[float, FloatArray]:
        pieces: list[slice] = []
        for rows in map(self.rows, chosen):  # in the order of time
            if pieces and pieces[-1].stop == rows.start:
                rows = slice(pieces.pop().start, rows.stop)
            pieces.append(rows)
        path = self.unroll(e, w, 0, pieces[-1].stop - 1, for_gradient=True)
        outputs = self.outputs(path, e)
        loss, adjoints = 0.0, np.zeros_like(outputs)
        for rows in pieces:
            part, adjoints[rows] = self.objective.loss_of_outputs(
                e, outputs[rows], self.scales, rows.start
            )
            loss += part
        if path.diverged or not math.isfinite(loss):
            return math.inf, np.zeros(w.size)
        return loss, self.objective.chain(e, w, path.pull_back(self.by_name(e, adjoints)))

    # -- What all kinds of windows use

    def rows(self, k: int) -> slice:
        """Return the rows of data of window `k`; its first row is the last of the one before."""
        _, first, last = self.windows[k]
        return slice(first + 1 if first else 0, last + 1)

    def unroll(
        self,
        e: int,
        u: FloatArray,
        first: int,
        last: int,
        initial: FloatArray | None = None,
        *,
        for_gradient: bool = False,
    ) -> Any:
        """Unroll a piece of experiment `e`, from `initial` (n_states,) or its own initial state."""
        experiment = self.objective.experiments[e]
        parameters, own_initial, inputs = self.objective.setting(e, u[: self.n_free])
        options: dict[str, Any] = {}
        if experiment.steps is not None:
            steps = experiment.steps
            options["steps"] = steps if np.ndim(steps) == 0 else steps[first:last]
        if inputs is not None:
            inputs = {name: values[first : last + 1] for name, values in inputs.items()}
        return self.objective.recurrence.unroll(
            experiment.times[first : last + 1],
            parameters=parameters or None,
            initial=(own_initial or None) if initial is None else initial,
            inputs=inputs,
            threads=self.objective.threads,
            keep_diverged=True,
            for_gradient=for_gradient,
            **options,
        )

    def outputs(self, path: Any, e: int) -> FloatArray:
        """Return what was measured as the path has it, (n_rows, n_outputs)."""
        return np.asarray(path.outputs(self.objective.experiments[e].outputs), dtype=np.float64)

    def by_name(self, e: int, adjoints: FloatArray) -> dict[str, FloatArray]:
        """Return adjoints of outputs (n_rows, n_outputs) by the name of the output."""
        return {
            name: adjoints[:, k] for k, name in enumerate(self.objective.experiments[e].outputs)
        }

    def of_window(
        self, w: FloatArray, k: int, initial: FloatArray | None
    ) -> tuple[float, FloatArray, Any]:
        """Return a window's loss, its slopes by outputs (n_rows, n_outputs), and the path."""
        e, first, last = self.windows[k]
        if initial is not None and not np.isfinite(initial).all():
            return math.inf, np.zeros((0, 0)), None
        path = self.unroll(e, w, first, last, initial, for_gradient=True)
        outputs = self.outputs(path, e)
        rows = self.rows(k)
        adjoints = np.zeros_like(outputs)
        loss, adjoints[rows.start - first :] = self.objective.loss_of_outputs(
            e, outputs[rows.start - first :], self.scales, rows.start
        )
        if path.diverged:
            loss = math.inf
        return loss, adjoints, path


class TruncatedWindows(Windows):
    """Windows that start from the state which the trajectory has reached, taken as given."""

    descends = False

    def _of_experiment(
        self, w: FloatArray, e: int, chosen: list[int], penalty: float
    ) -> tuple[float, FloatArray]:
        furthest = max(self.windows[k].first for k in chosen)
        reached = self.unroll(e, w, 0, furthest).states if furthest else None
        loss, gradient = 0.0, np.zeros(w.size)
        for k in chosen:
            first = self.windows[k].first
            initial = reached[first] if first and reached is not None else None
            part, adjoints, path = self.of_window(w, k, initial)
            if not math.isfinite(part):
                return math.inf, gradient
            loss += part
            pulled = path.pull_back(self.by_name(e, adjoints))
            gradient += self.objective.chain(e, w, _Slopes(pulled, first == 0))
        return loss, gradient


class FreeWindows(Windows):
    """Windows that start from free states; the gaps between windows have a penalty."""

    has_gaps = True

    def __init__(self, objective: Objective, start: FloatArray, windows: list[Window]) -> None:
        super().__init__(objective, start, windows)
        names = objective.recurrence.state_names
        self._n_states = len(names)
        # Place of a window's free state in w; none for the first windows of experiments.
        inner = [k for k, window in enumerate(windows) if window.first]
        self._place = {k: self.n_free + i * self._n_states for i, k in enumerate(inner)}
        self._n_gaps = max(1, len(inner))
        self._solution: tuple[FloatArray, list[FloatArray], float] | None = None
        self._state_scales: list[FloatArray] = []
        guesses = []
        for e in range(len(objective.experiments)):
            guess = self._first_guess(e, start)
            size = np.abs(guess).max(axis=0)
            self._state_scales.append(np.where(size > 0.0, size, 1.0))
            guesses.append(guess)
        free = [
            guesses[windows[k].experiment][windows[k].first]
            / self._state_scales[windows[k].experiment]
            for k in inner
        ]
        # Species are never negative; variables may have any sign.
        species = set(objective.recurrence.network.species_names)
        least = np.array([0.0 if name in species else -np.inf for name in names])
        self.lower = np.concatenate([self.lower, *([least] * len(inner))])
        self.upper = np.concatenate([self.upper, np.full(len(inner) * self._n_states, np.inf)])
        self.start = self.projected(np.concatenate([start, *free]))  # noise may be negative

    def _first_guess(self, e: int, u: FloatArray) -> FloatArray:
        """Return states on the grid, (n_times, n_states): measured where they are."""
        experiment = self.objective.experiments[e]
        guess = np.array(self.unroll(e, u, 0, experiment.times.size - 1).states)
        for k, name in enumerate(self.objective.recurrence.state_names):
            if name not in experiment.outputs:
                continue
            column = experiment.outputs.index(name)
            mask = experiment.mask[:, :, column]
            count = mask.sum(axis=0)
            known = np.flatnonzero(count)
            if known.size == 0:
                continue
            total = np.where(mask, experiment.observed[:, :, column], 0.0).sum(axis=0)
            guess[:, k] = np.interp(
                experiment.times, experiment.times[known], total[known] / count[known]
            )
        return guess

    def start_state(self, k: int, w: FloatArray | None = None) -> FloatArray | None:
        """Return the free state (n_states,) that window `k` starts from; None if it has none."""
        w = self.start if w is None else w
        place = self._place.get(k)
        if place is None:
            return None
        scale = self._state_scales[self.windows[k].experiment]
        return np.asarray(w[place : place + self._n_states] * scale, dtype=np.float64)

    def refresh(self, w: FloatArray) -> None:
        """Hold the estimated scales of the noise at their best for the windows of `w`."""
        if self.scales.size == 0:
            return
        outputs, _ = self._solved(w)
        scales = self.objective.scales_of(outputs)
        rough = _LEAST_SCALE * self.objective.rough_scales
        self.scales = np.where(np.isfinite(scales), np.maximum(scales, rough), rough)

    def joined(self, u: FloatArray) -> Pieces:
        """Return the windows of one trajectory, to go on from `u`."""
        return Windows(self.objective, u, self.windows)

    def _solved(self, w: FloatArray) -> tuple[list[FloatArray], float]:
        """Return the outputs of all windows on the grid of each experiment, and the mean gap."""
        if self._solution is not None and np.array_equal(self._solution[0], w):
            return self._solution[1:]  # `refresh` asks for what `merit` has just seen
        outputs = [
            np.full((experiment.times.size, len(experiment.outputs)), np.nan)
            for experiment in self.objective.experiments
        ]
        squares = 0.0
        for k, (e, first, last) in enumerate(self.windows):
            path = self.unroll(e, w, first, last, self.start_state(k, w))
            rows = self.rows(k)
            outputs[e][rows] = self.outputs(path, e)[rows.start - first :]
            gap, _ = self._gap(w, k, path)
            squares += float(gap @ gap)
        mean_gap = squares / (self._n_gaps * self._n_states)
        self._solution = (w.copy(), outputs, mean_gap)
        return outputs, mean_gap

    def _gap(self, w: FloatArray, k: int, path: Any) -> tuple[FloatArray, int]:
        """Return the end of window `k` less the start of the next, scaled, and where that is."""
        place = self._place.get(k + 1, -1)
        if place < 0:
            return np.zeros(self._n_states), place
        scale = self._state_scales[self.windows[k].experiment]
        return path.states[-1] / scale - w[place : place + self._n_states], place

    def merit(self, w: FloatArray, loss: float) -> Merit:
        """Return the loss of all windows of `w`, and their mean square gap."""
        if not self.is_possible(w):
            return Merit(math.inf, 0.0)
        outputs, gap = self._solved(w)
        if not math.isfinite(gap):
            return Merit(math.inf, 0.0)
        scales = self.objective.scales_of(outputs)
        return Merit(self.objective.value_of(outputs, scales), gap)

    def _of_experiment(
        self, w: FloatArray, e: int, chosen: list[int], penalty: float
    ) -> tuple[float, FloatArray]:
        loss, gradient = 0.0, np.zeros(w.size)
        scale = self._state_scales[e]
        # So that the mean square gap has the weight penalty/2 beside the loss per data point.
        weight = penalty * self.n_data / (self._n_gaps * self._n_states)
        states = self.objective.recurrence.state_names
        for k in chosen:
            part, adjoints, path = self.of_window(w, k, self.start_state(k, w))
            if not math.isfinite(part):
                return math.inf, gradient
            gap, place = self._gap(w, k, path)
            loss += part + 0.5 * weight * float(gap @ gap)
            by_name = self.by_name(e, adjoints)
            if place >= 0:
                gradient[place : place + self._n_states] -= weight * gap
                for state, slope in zip(states, weight * gap / scale, strict=True):
                    row = by_name.setdefault(state, np.zeros(len(adjoints)))
                    row[-1] += slope
            pulled = path.pull_back(by_name)
            own = self._place.get(k)
            u = w[: self.n_free]
            gradient[: self.n_free] += self.objective.chain(e, u, _Slopes(pulled, own is None))
            if own is not None:
                gradient[own : own + self._n_states] += pulled.initial * scale
        return loss, gradient


_KINDS = {"single": Windows, "truncated": TruncatedWindows, "multiple": FreeWindows}


def pieces_of(
    objective: Objective | Loss, start: FloatArray, *, window: int | None, shooting: str
) -> Pieces:
    """Return what a step of training is made on.

    Parameters
    ----------
    objective : Objective or Loss
        A `Loss` has no time axis and is one piece.
    start : ndarray, shape (n_free,)
        Where training starts.
    window : int or None
        Intervals between data times per window; whole experiments by default.
    shooting : str
        A name from `SHOOTING`.

    Raises
    ------
    ValueError
        If windows are asked of an objective without a time axis, or free states without windows.
    """
    experiments: Iterable[Any] | None = getattr(objective, "experiments", None)
    if experiments is None:
        if window is not None or shooting != "single":
            raise ValueError(
                "this objective has no experiments that could be cut into windows; leave out "
                "window= and shooting="
            )
        return WholeLoss(objective, start)
    longest = max(experiment.times.size - 1 for experiment in experiments)
    if shooting != "single" and window is None:
        raise ValueError(
            f"shooting={shooting!r} needs windows; the experiments have up to {longest} intervals "
            f"between times, so give for example window={max(1, longest // 4)}"
        )
    length = longest if window is None else window
    windows = objective.windows(length)  # type: ignore[union-attr]
    if len(windows) == 1:
        return WholeLoss(objective, start)
    return _KINDS[shooting](objective, start, windows)  # type: ignore[arg-type]
