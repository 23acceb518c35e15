"""Training: many small steps against the gradient of mini-batches of time windows."""

from __future__ import annotations

import math
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..errors import IncompleteWarning, Interrupted, SimulationError
from ..progress import Progress, reporter
from ..randomness import stream_key, take_entropy
from ..run_plan import check_timeout, check_whole
from .trainers import Trainer, resolve_trainer
from .windows import SHOOTING, Loss, Merit, Pieces, pieces_of

if TYPE_CHECKING:
    from .objective import Objective

__all__ = ["ORDERS", "TrainingHistory", "TrainingResult", "train"]

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

ORDERS = ("shuffled", "independent", "in_turn")

# A loss worse than at the start by this much per data point counts as diverged: a residual of one
# standard deviation that became sqrt(3) of them. A ball with friction that starts at rest cannot
# climb above its start, so neither SGD nor momentum does so in steps that are short enough.
_CLIMB = 1.0
# After this many halvings in a row the learning rate is not what is wrong.
_MAX_HALVINGS = 30
# Share of the epochs over which the penalty of multiple shooting grows; then windows are joined.
_GROWTH = 0.75


@dataclass(frozen=True)
class TrainingHistory:
    """What happened, epoch by epoch and step by step.

    Attributes
    ----------
    loss : ndarray, shape (n_epochs + 1,)
        Loss of all data, before the first epoch and after each. Infinite or very large where an
        epoch diverged and was rolled back.
    validation : ndarray, shape (n_epochs + 1,)
        Loss of the validation data; `loss` again if there are none.
    u : ndarray, shape (n_epochs + 1, n_free)
        The free coordinates there, after a roll-back where there was one.
    learning_rate : ndarray, shape (n_epochs,)
        Learning rate of the last step of each epoch.
    penalty : ndarray, shape (n_epochs,)
        Weight of the gaps between windows in each epoch; 0 where there are none.
    gap : ndarray, shape (n_epochs,)
        Root mean square gap between windows after each epoch, in the scale of each state.
    rolled_back : ndarray, shape (n_roll_backs,)
        Epochs, from 0, that diverged; the learning rate was halved after each.
    batch_loss : ndarray, shape (n_steps,)
        Loss per data point of the mini-batch of every step.
    batch_epoch : ndarray, shape (n_steps,)
        Epoch of every step, from 0.
    """

    loss: FloatArray
    validation: FloatArray
    u: FloatArray
    learning_rate: FloatArray
    penalty: FloatArray
    gap: FloatArray
    rolled_back: IntArray
    batch_loss: FloatArray
    batch_epoch: IntArray

    @property
    def n_epochs(self) -> int:
        """Number of finished epochs."""
        return self.loss.size - 1


@dataclass(frozen=True)
class TrainingResult:
    """What training found, and how it got there.

    Attributes
    ----------
    u : ndarray, shape (n_free,)
        The best of the free coordinates after any epoch, by the validation loss.
    loss : float
        Loss of all data there.
    epoch : int
        After which epoch that was; 0 is the start.
    stopped : str
        ``"epochs"`` (all done), ``"patience"``, ``"learning_rate"`` (halved thirty times in a row),
        ``"timeout"`` or ``"interrupt"``.
    history : TrainingHistory
        Losses and coordinates on the way.
    entropy : int
        Gives the same training when passed as `rng`.
    """

    u: FloatArray
    loss: float
    epoch: int
    stopped: str
    history: TrainingHistory
    entropy: int


def train(
    objective: Objective | Loss,
    trainer: str | Trainer = "adam",
    *,
    epochs: int = 200,
    batch: int | None = None,
    window: int | None = None,
    shooting: str = "single",
    order: str = "shuffled",
    start: FloatArray | None = None,
    patience: int | None = None,
    tolerance: float = 1e-6,
    penalty: tuple[float, float] = (1.0, 1e4),
    validation: Objective | Loss | None = None,
    progress: bool | Progress = False,
    rng: Any = None,
    timeout: float | None = None,
) -> TrainingResult:
    """Train the free coordinates of an objective by steps on mini-batches of time windows.

    The loss is the objective's negative log-likelihood, and the gradients that a trainer sees are
    per data point. A scale of the noise that is estimated is held within an epoch. Bounds hold by
    projection. An epoch that diverges is undone and the learning rate halved.

    Parameters
    ----------
    objective : Objective
        What is to be made small, as made by `fit`.
    trainer : str or Trainer, optional
        A name from `TRAINERS`, or an instance with its own options.
    epochs : int, optional
        Passes over all windows.
    batch : int, optional
        Windows per step; all of them by default.
    window : int, optional
        Intervals between data times per window; whole experiments by default.
    shooting : {"single", "truncated", "multiple"}, optional
        What a window starts from. ``"single"``: the trajectory from the initial state, with the
        gradient through all of it; mini-batches are unbiased. ``"truncated"``: the state that the
        trajectory has reached, with the gradient through the window alone (truncated
        back-propagation through time); cheaper and blind to slow effects, so that it settles near
        the minimum, not in it, unless the model fits exactly. ``"multiple"``: a free state of its
        own, pulled towards the end of the window before by a penalty that grows; it finds its way
        where a long trajectory has many local minima.
    order : {"shuffled", "independent", "in_turn"}, optional
        Each epoch deals out all windows in a new order; or each batch is drawn independently of
        the others; or windows come in their own order.
    start : ndarray, shape (n_free,), optional
        Where to start; `objective.start` by default.
    patience : int, optional
        Stop after this many epochs without progress; by default all epochs are made.
    tolerance : float, optional
        Progress is a fall of the validation loss by more than this per data point.
    penalty : (float, float), optional
        First and last weight of the squared gaps between windows, each gap in the scale of its
        state, for ``"multiple"``. It grows geometrically over the first three quarters of the
        epochs. Then windows are joined, and training goes on as with ``"single"``; patience counts
        from there.
    validation : Objective, optional
        An objective of held-out data in the same coordinates: it chooses the best epoch and is
        what `patience` watches. By default the objective itself.
    progress : bool or callable, optional
        True shows a bar; a callable is called as ``progress(done, total)`` in epochs.
    rng : None, int, SeedSequence or Generator, optional
        Source of the order of windows; what was used is in `result.entropy`.
    timeout : float, optional
        Seconds after which training stops with an `IncompleteWarning`.

    Returns
    -------
    TrainingResult
        The coordinates after the best epoch, and the history.

    Raises
    ------
    ValueError, TypeError
        If an argument makes no sense; the message says which and what to do.
    SimulationError
        If the loss at the start is not finite.
    Interrupted
        On Ctrl-C; `error.result` holds the best so far.

    References
    ----------
    Williams and Peng (1990), Neural Comput. 2, 490, doi:10.1162/neco.1990.2.4.490 (truncated
    back-propagation). Bock and Plitt (1984), IFAC Proc. 17, 1603,
    doi:10.1016/S1474-6670(17)61205-9; Voss, Timmer and Kurths (2004), Int. J. Bifurcat. Chaos 14,
    1905, doi:10.1142/S0218127404010345 (multiple shooting).
    """
    trainer = resolve_trainer(trainer)
    plan = _Plan(
        epochs=check_whole(epochs, "epochs", 1),
        patience=None if patience is None else check_whole(patience, "patience", 1),
        tolerance=_number(tolerance, "tolerance"),
        order=_one_of(order, "order", ORDERS),
        penalty=_penalty(penalty),
        deadline=time.monotonic() + check_timeout(timeout),
        entropy=take_entropy(rng),
    )
    first = np.array(objective.start if start is None else start, dtype=np.float64)
    if first.shape != np.shape(objective.start):
        raise ValueError(
            f"start must have the shape {np.shape(objective.start)} of the free coordinates, "
            f"not {first.shape}"
        )
    first = np.clip(first, objective.lower, objective.upper)
    length = None if window is None else check_whole(window, "window", 1)
    shooting = _one_of(shooting, "shooting", SHOOTING)
    with np.errstate(all="ignore"):
        _require_finite(float(objective.value(first)))
        pieces = pieces_of(objective, first, window=length, shooting=shooting)
    size = pieces.n_pieces if batch is None else check_whole(batch, "batch", 1)
    if size > pieces.n_pieces:
        raise ValueError(
            f"batch = {size} windows, but there are only {pieces.n_pieces}; take a smaller batch, "
            "or a smaller window= to have more of them"
        )
    report = reporter(progress, plan.epochs, "training")
    training = _Training(objective, validation, pieces, trainer, plan, size)
    try:
        training.begin()
        stopped = training.work(report)
    except KeyboardInterrupt:
        done = training.n_epochs
        raise Interrupted(
            f"interrupted after {done} of {plan.epochs} epochs; the best so far is in the error's "
            ".result",
            training.result("interrupt"),
        ) from None
    result = training.result(stopped)
    if stopped == "timeout":
        warnings.warn(
            f"timeout: {result.history.n_epochs} of {plan.epochs} epochs are done; the result is "
            "the best of them",
            IncompleteWarning,
            stacklevel=2,
        )
    else:
        report(plan.epochs)
    return result


@dataclass(frozen=True)
class _Plan:
    """The arguments of `train`, checked."""

    epochs: int
    patience: int | None
    tolerance: float
    order: str
    penalty: tuple[float, float]
    deadline: float
    entropy: int

    def penalty_in(self, epoch: int) -> float:
        """Return the weight of the gaps in an epoch."""
        low, high = self.penalty
        return float(low * (high / low) ** min(1.0, epoch / max(1.0, _GROWTH * self.epochs - 1.0)))

    def order_of(self, epoch: int, n_pieces: int, size: int) -> Iterator[IntArray]:
        """Give the pieces of each step of an epoch; they depend on the seed and epoch alone."""
        n_batches = math.ceil(n_pieces / size)
        if self.order == "in_turn" or size == n_pieces:
            yield from np.array_split(np.arange(n_pieces), n_batches)
        elif self.order == "shuffled":
            shuffled = _random_order(self.entropy, f"epoch {epoch}", n_pieces)
            yield from np.array_split(shuffled, n_batches)
        else:
            key = stream_key(self.entropy, f"training, epoch {epoch}, independent")[0]
            keys = _random_bits(key, n_batches * n_pieces).reshape(n_batches, n_pieces)
            yield from np.argsort(keys, axis=1)[:, :size]


def _random_order(entropy: int, name: str, n: int) -> IntArray:
    """Return 0, ..., n - 1 in an order that depends on the arguments alone."""
    # Sorting by random 64-bit keys: uniform over all orders but for ties, of odds n^2 / 2^65.
    return np.argsort(_random_bits(stream_key(entropy, f"training, {name}")[0], n)).astype(np.int64)


def _random_bits(key: np.uint64, n: int) -> NDArray[np.uint64]:
    """Return `n` random words: SplitMix64 (Steele, Lea and Flood 2014) from `key`."""
    # doi:10.1145/2660193.2660195; sums and products are meant to wrap.
    z = key + np.arange(1, n + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return np.asarray(z ^ (z >> np.uint64(31)), dtype=np.uint64)


@dataclass
class _Log:
    """The history as it grows."""

    loss: list[float] = field(default_factory=list)
    validation: list[float] = field(default_factory=list)
    u: list[FloatArray] = field(default_factory=list)
    learning_rate: list[float] = field(default_factory=list)
    penalty: list[float] = field(default_factory=list)
    gap: list[float] = field(default_factory=list)
    rolled_back: list[int] = field(default_factory=list)
    batch_loss: list[float] = field(default_factory=list)
    batch_epoch: list[int] = field(default_factory=list)


class _Training:
    """The state of a training under way."""

    def __init__(
        self,
        objective: Objective | Loss,
        validation: Objective | Loss | None,
        pieces: Pieces,
        trainer: Trainer,
        plan: _Plan,
        size: int,
    ) -> None:
        self._objective = objective
        self._watched = objective if validation is None else validation
        self._pieces, self._trainer, self._plan, self._size = pieces, trainer, plan, size
        self._n_steps = plan.epochs * math.ceil(pieces.n_pieces / size)
        self._n_made = 0
        self._share = 1.0  # of the learning rate, after halvings
        self._log = _Log()
        self._w = pieces.start.copy()  # u, and the free states of windows behind it
        self._memory = trainer.begin(self._w.size)
        self._best_u, self._best_loss, self._best_epoch = self._u.copy(), math.inf, 0
        self._best_watched = self._progress_watched = math.inf
        self._progress_epoch = 0
        # Where to go back to, and the merit that must not be exceeded by much.
        self._anchor = self._w.copy()
        self._anchor_merit = self._reference = Merit(math.inf, 0.0)

    @property
    def n_epochs(self) -> int:
        """Number of finished epochs."""
        return max(0, len(self._log.u) - 1)

    @property
    def _u(self) -> FloatArray:
        return self._w[: self._pieces.n_free]

    def begin(self) -> None:
        """Record the start; refuse one whose loss is not finite."""
        loss, merit = self._look()
        _require_finite(loss + merit.loss)
        self._anchor_merit = self._reference = merit
        self._record(loss, 0)

    def _look(self) -> tuple[float, Merit]:
        """Return the loss of all data, infinite where there is none, and the merit."""
        with np.errstate(all="ignore"):
            loss = float(self._objective.value(self._u))
            loss = loss if math.isfinite(loss) else math.inf
            return loss, self._pieces.merit(self._w, loss)

    def work(self, report: Callable[[float], None]) -> str:
        """Train; return why it ended."""
        plan, n_halvings = self._plan, 0
        joint = math.ceil(_GROWTH * plan.epochs) if self._pieces.has_gaps else 0
        for epoch in range(plan.epochs):
            if self._pieces.has_gaps and epoch == joint:
                self._join()
            outcome = self._epoch(epoch, plan.penalty_in(epoch) if self._pieces.has_gaps else 0.0)
            if outcome == "timeout":
                return "timeout"
            report(epoch + 1)
            n_halvings = n_halvings + 1 if outcome == "diverged" else 0
            if n_halvings >= _MAX_HALVINGS:
                return "learning_rate"
            waited = self.n_epochs - max(self._progress_epoch, joint)
            if plan.patience is not None and waited >= plan.patience:
                return "patience"
        return "epochs"

    def _join(self) -> None:
        """Go on without free states, from the best place, at rest."""
        self._pieces = self._pieces.joined(self._best_u)
        self._w = self._best_u.copy()
        self._memory = self._trainer.begin(self._w.size)
        self._anchor = self._w.copy()
        self._anchor_merit = self._reference = self._pieces.merit(self._w, self._best_loss)

    def _epoch(self, epoch: int, penalty: float) -> str:
        """Make the steps of one epoch; return how it went."""
        pieces, log = self._pieces, self._log
        with np.errstate(all="ignore"):
            pieces.refresh(self._w)
        rate = math.nan
        for chosen in self._plan.order_of(epoch, pieces.n_pieces, self._size):
            if time.monotonic() >= self._plan.deadline:
                return "timeout"
            rate = self._share * self._trainer.rate(self._n_made, self._n_steps)
            if not self._step(chosen, penalty, rate, epoch):
                loss, merit = math.inf, Merit(math.inf, 0.0)
                break
        else:
            loss, merit = self._look()
        total = merit.total(penalty, pieces.n_data)
        limit = self._reference.total(penalty, pieces.n_data) + _CLIMB * pieces.n_data
        diverged = not math.isfinite(total) or (pieces.descends and total > limit)
        if diverged:
            self._roll_back(epoch)
            merit = self._anchor_merit
        elif total <= self._anchor_merit.total(penalty, pieces.n_data):
            self._anchor, self._anchor_merit = self._w.copy(), merit
        log.learning_rate.append(rate)
        log.penalty.append(penalty)
        log.gap.append(math.sqrt(merit.gap))
        self._record(loss, epoch + 1)
        return "diverged" if diverged else "well"

    def _step(self, chosen: IntArray, penalty: float, rate: float, epoch: int) -> bool:
        """Make one step; return False, and stay, where loss or gradient is not finite."""
        pieces = self._pieces
        point = pieces.projected(self._trainer.look_ahead(self._w, self._memory))
        with np.errstate(all="ignore"):  # what overflows is looked for just behind
            loss, gradient = pieces.sample(point, chosen, penalty)
            self._log.batch_loss.append(loss)
            self._log.batch_epoch.append(epoch)
            if not (math.isfinite(loss) and np.isfinite(gradient).all()):
                return False
            displacement, memory = self._trainer.move(gradient, self._memory, rate)
            moved = self._w + displacement
        if not (np.isfinite(moved).all() and np.isfinite(memory.squares).all()):
            return False
        self._w = pieces.projected(moved)
        self._memory = memory.stopped_at(self._w != moved)
        self._n_made += 1
        return True

    def _roll_back(self, epoch: int) -> None:
        """Go back to the best place so far, at rest, with half the learning rate."""
        self._w = self._anchor.copy()
        self._share *= 0.5
        self._memory = self._trainer.begin(self._w.size)
        self._reference = self._anchor_merit
        self._log.rolled_back.append(epoch)

    def _record(self, loss: float, n_done: int) -> None:
        """Write down the end of an epoch, and whether it is the best so far."""
        # After a roll-back, `loss` is that of the place which was left again.
        was_left = bool(self._log.rolled_back) and self._log.rolled_back[-1] == n_done - 1
        watched = loss
        if self._watched is not self._objective and not was_left:
            with np.errstate(all="ignore"):
                watched = float(self._watched.value(self._u))
            watched = watched if math.isfinite(watched) else math.inf
        self._log.loss.append(loss)
        self._log.validation.append(watched)
        self._log.u.append(self._u.copy())  # the last one: it makes the epoch count
        if was_left:
            return
        if watched < self._best_watched:
            self._best_watched, self._best_loss = watched, loss
            self._best_u, self._best_epoch = self._u.copy(), n_done
        if watched < self._progress_watched - self._plan.tolerance * self._watched.n_data:
            self._progress_watched, self._progress_epoch = watched, n_done

    def result(self, stopped: str) -> TrainingResult:
        """Return what there is so far."""
        log, n = self._log, self.n_epochs
        return TrainingResult(
            u=self._best_u.copy(),
            loss=self._best_loss,
            epoch=self._best_epoch,
            stopped=stopped,
            history=TrainingHistory(
                loss=np.array(log.loss[: n + 1]),
                validation=np.array(log.validation[: n + 1]),
                u=np.array(log.u).reshape(-1, self._pieces.n_free),
                learning_rate=np.array(log.learning_rate[:n]),
                penalty=np.array(log.penalty[:n]),
                gap=np.array(log.gap[:n]),
                rolled_back=np.array(log.rolled_back, dtype=np.int64),
                batch_loss=np.array(log.batch_loss),
                batch_epoch=np.array(log.batch_epoch, dtype=np.int64),
            ),
            entropy=self._plan.entropy,
        )


def _require_finite(loss: float) -> None:
    if not math.isfinite(loss):
        raise SimulationError(
            "the loss at the start of training is not finite: the trajectory diverges there, or "
            "leaves what the noise model allows; start elsewhere, or use more steps per interval"
        )


def _number(value: Any, name: str) -> float:
    is_number = isinstance(value, int | float | np.number) and not isinstance(value, bool)
    if not is_number or not 0.0 <= float(value) < math.inf:
        raise ValueError(f"{name} must be a number, 0 or more, not {value!r}")
    return float(value)


def _one_of(value: Any, name: str, known: tuple[str, ...]) -> str:
    if value not in known:
        raise ValueError(f"{name} must be one of {', '.join(map(repr, known))}, not {value!r}")
    return str(value)


def _penalty(value: Any) -> tuple[float, float]:
    try:
        low, high = (float(one) for one in value)
    except (TypeError, ValueError):
        low = high = math.nan
    if not 0.0 < low <= high < math.inf:
        raise ValueError(
            f"penalty must be its first and last weight, such as (1, 1e4), 0 < first <= last, "
            f"not {value!r}"
        )
    return low, high
