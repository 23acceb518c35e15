"""The update rules of the recurrent-network world: SGD, momentum, Nesterov and Adam.

A trainer holds its options and nothing else. What it remembers between steps is a `Memory` that
it takes and gives back, so a step can be undone by forgetting its result. One step is

    point = trainer.look_ahead(u, memory)        # where it wants the gradient; u but for Nesterov
    displacement, memory = trainer.move(gradient(point), memory, rate)
    u = u + displacement
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from typing import Any, ClassVar, NamedTuple

import numpy as np

from ..names import did_you_mean

__all__ = [
    "SCHEDULES",
    "SGD",
    "TRAINERS",
    "Adam",
    "Memory",
    "Momentum",
    "Nesterov",
    "Trainer",
    "clipped",
    "resolve_trainer",
]


class Memory(NamedTuple):
    """What a trainer remembers from one step to the next."""

    n_steps: int  # steps made so far
    velocity: np.ndarray  # (n_free,) the last displacement; for Adam the mean of the gradients
    squares: np.ndarray  # (n_free,) Adam's mean of the squared gradients

    def stopped_at(self, blocked: np.ndarray) -> Memory:
        """Return the memory without velocity in the coordinates where `blocked` is true."""
        return self._replace(velocity=np.where(blocked, 0.0, self.velocity))


def _constant(step: int, n_steps: int, decay_steps: float) -> float:
    return 1.0


def _inverse_time(step: int, n_steps: int, decay_steps: float) -> float:
    # Robbins and Monro (1951): the sum of the rates diverges, the sum of their squares does not.
    return 1.0 / (1.0 + step / decay_steps)


def _cosine(step: int, n_steps: int, decay_steps: float) -> float:
    # Loshchilov and Hutter (2017), eq. 5, without restarts.
    return 0.5 * (1.0 + math.cos(math.pi * min(step, n_steps) / n_steps))


# Share of the learning rate left at a step, of a run that may make n_steps.
SCHEDULES: dict[str, Callable[[int, int, float], float]] = {
    "constant": _constant,
    "inverse_time": _inverse_time,
    "cosine": _cosine,
}

_UNIT = (lambda x: 0.0 <= x < 1.0, "a number from 0 to below 1")
_POSITIVE = (lambda x: 0.0 < x < math.inf, "a number above 0")


@dataclasses.dataclass(frozen=True)
class Trainer:
    """What all trainers share: the learning rate, how it falls, and the clipping of gradients.

    Parameters
    ----------
    learning_rate : float
        Length of a step per unit of gradient. The loss is per data point and the coordinates are
        the transformed ones (natural logarithms for positive parameters).
    schedule : str
        ``"constant"``; ``"inverse_time"``, which divides the rate by ``1 + step / decay_steps``; or
        ``"cosine"``, which takes it to 0 along half a cosine over the whole run.
    decay_steps : float
        Steps until the rate is halved, for ``"inverse_time"``.
    largest_gradient : float or None
        A gradient of larger Euclidean norm is scaled down to it.

    References
    ----------
    Loshchilov and Hutter (2017), arXiv:1608.03983 (cosine). Pascanu, Mikolov and Bengio (2013),
    On the difficulty of training recurrent neural networks, PMLR 28(3):1310 (clipping).
    """

    learning_rate: float = 0.01
    schedule: str = "constant"
    decay_steps: float = 100.0
    largest_gradient: float | None = None

    name: ClassVar[str]
    summary: ClassVar[str]
    citation: ClassVar[str]

    def __post_init__(self) -> None:
        self._check("learning_rate", _POSITIVE)
        self._check("decay_steps", _POSITIVE)
        if self.largest_gradient is not None:
            self._check("largest_gradient", _POSITIVE)
        if self.schedule not in SCHEDULES:
            known = ", ".join(repr(name) for name in SCHEDULES)
            raise ValueError(
                f"option schedule of trainer '{self.name}' must be one of {known}, "
                f"not {self.schedule!r}"
            )

    def _check(self, option: str, requirement: tuple[Callable[[float], bool], str]) -> None:
        fits, must = requirement
        value = getattr(self, option)
        is_number = isinstance(value, int | float | np.number) and not isinstance(value, bool)
        if not is_number or not fits(float(value)):
            raise ValueError(
                f"option {option} of trainer '{self.name}' must be {must}, not {value!r}"
            )

    def rate(self, step: int, n_steps: int) -> float:
        """Return the learning rate of step number `step`, from 0, of at most `n_steps`."""
        return self.learning_rate * SCHEDULES[self.schedule](step, n_steps, self.decay_steps)

    def begin(self, n: int) -> Memory:
        """Return the memory before the first step, for `n` coordinates."""
        return Memory(0, np.zeros(n), np.zeros(n))

    def look_ahead(self, u: np.ndarray, memory: Memory) -> np.ndarray:
        """Return the point (n_free,) whose gradient the next step needs."""
        return u

    def move(self, gradient: np.ndarray, memory: Memory, rate: float) -> tuple[np.ndarray, Memory]:
        """Return the displacement (n_free,) of one step, and what to remember of it.

        Parameters
        ----------
        gradient : ndarray, shape (n_free,)
            Gradient of the loss at `look_ahead`, or an unbiased sample of it.
        memory : Memory
            From `begin` or from the step before.
        rate : float
            Learning rate of this step.
        """
        gradient = clipped(gradient, self.largest_gradient)
        displacement, velocity, squares = self._step(gradient, memory, rate)
        return displacement, Memory(memory.n_steps + 1, velocity, squares)

    def _step(
        self, gradient: np.ndarray, memory: Memory, rate: float
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        raise NotImplementedError(f"trainer '{self.name}' does not say how it steps")


def clipped(gradient: np.ndarray, largest: float | None) -> np.ndarray:
    """Return `gradient`, scaled down if its Euclidean norm is above `largest`.

    References
    ----------
    Pascanu, Mikolov and Bengio (2013), PMLR 28(3):1310, algorithm 1.
    """
    if largest is None:
        return gradient
    norm = float(np.linalg.norm(gradient))
    return gradient * (largest / norm) if norm > largest else gradient


@dataclasses.dataclass(frozen=True)
class SGD(Trainer):
    """Stochastic gradient descent: a step against the gradient.

    In small steps it follows du/dt = -grad L, with noise from mini-batches.

    Parameters
    ----------
    learning_rate, schedule, decay_steps, largest_gradient
        See `Trainer`.

    References
    ----------
    Robbins and Monro (1951), Ann. Math. Stat. 22, 400, doi:10.1214/aoms/1177729586.
    """

    name: ClassVar[str] = "sgd"
    summary: ClassVar[str] = "stochastic gradient descent"
    citation: ClassVar[str] = "Robbins and Monro (1951), doi:10.1214/aoms/1177729586"

    def _step(
        self, gradient: np.ndarray, memory: Memory, rate: float
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        displacement = -rate * gradient
        return displacement, displacement, memory.squares


@dataclasses.dataclass(frozen=True)
class Momentum(Trainer):
    """Gradient descent with momentum: a heavy ball with friction that rolls on the loss.

    ``velocity = momentum * velocity - rate * gradient``, and the velocity is the step.

    Parameters
    ----------
    learning_rate, schedule, decay_steps, largest_gradient
        See `Trainer`.
    momentum : float
        Share of the velocity kept by a step, from 0 to below 1.

    References
    ----------
    Polyak (1964), USSR Comput. Math. Math. Phys. 4, 1, doi:10.1016/0041-5553(64)90137-5.
    """

    momentum: float = 0.9

    name: ClassVar[str] = "momentum"
    summary: ClassVar[str] = "gradient descent with heavy-ball momentum"
    citation: ClassVar[str] = "Polyak (1964), doi:10.1016/0041-5553(64)90137-5"

    def __post_init__(self) -> None:
        super().__post_init__()
        self._check("momentum", _UNIT)

    def _step(
        self, gradient: np.ndarray, memory: Memory, rate: float
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        velocity = self.momentum * memory.velocity - rate * gradient
        return velocity, velocity, memory.squares


@dataclasses.dataclass(frozen=True)
class Nesterov(Trainer):
    """Nesterov's accelerated gradient: momentum whose gradient is taken where it leads to.

    Parameters
    ----------
    learning_rate, schedule, decay_steps, largest_gradient
        See `Trainer`.
    momentum : float or None
        Share of the velocity kept by a step. None takes (k - 1) / (k + 2) at step k, Nesterov's own
        choice for a convex loss; in small steps it is a friction of 3/t.

    References
    ----------
    Nesterov (1983), Soviet Math. Dokl. 27, 372. In the form of Sutskever, Martens, Dahl and
    Hinton (2013), On the importance of initialization and momentum in deep learning,
    PMLR 28(3):1139, eqs. 3 and 4. Su, Boyd and Candes (2016), JMLR 17(153):1 (the friction).
    """

    momentum: float | None = 0.9

    name: ClassVar[str] = "nesterov"
    summary: ClassVar[str] = "Nesterov's accelerated gradient"
    citation: ClassVar[str] = "Nesterov (1983), Soviet Math. Dokl. 27, 372"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.momentum is not None:
            self._check("momentum", _UNIT)

    def _kept(self, n_steps: int) -> float:
        if self.momentum is not None:
            return self.momentum
        # Su, Boyd and Candes (2016), eq. 1; the velocity before the first step is 0.
        return max(0.0, (n_steps - 1) / (n_steps + 2))

    def look_ahead(self, u: np.ndarray, memory: Memory) -> np.ndarray:
        """Return the point (n_free,) where the velocity alone would lead."""
        return u + self._kept(memory.n_steps) * memory.velocity

    def _step(
        self, gradient: np.ndarray, memory: Memory, rate: float
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        velocity = self._kept(memory.n_steps) * memory.velocity - rate * gradient
        return velocity, velocity, memory.squares


@dataclasses.dataclass(frozen=True)
class Adam(Trainer):
    """Adam: each coordinate's step is its mean gradient over the root of its mean square.

    Steps are about `learning_rate` long in each coordinate, whatever the scale of the loss.

    Parameters
    ----------
    learning_rate, schedule, decay_steps, largest_gradient
        See `Trainer`.
    beta_1, beta_2 : float
        Share of the mean gradient, and of the mean squared gradient, kept by a step.
    epsilon : float
        Added to the root, so that a coordinate without gradient stays.

    References
    ----------
    Kingma and Ba (2015), Adam: a method for stochastic optimization, arXiv:1412.6980, algorithm 1.
    """

    learning_rate: float = 0.02
    beta_1: float = 0.9
    beta_2: float = 0.999
    epsilon: float = 1e-8

    name: ClassVar[str] = "adam"
    summary: ClassVar[str] = "adaptive moments"
    citation: ClassVar[str] = "Kingma and Ba (2015), arXiv:1412.6980"

    def __post_init__(self) -> None:
        super().__post_init__()
        self._check("beta_1", _UNIT)
        self._check("beta_2", _UNIT)
        self._check("epsilon", _POSITIVE)

    def _step(
        self, gradient: np.ndarray, memory: Memory, rate: float
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        mean = self.beta_1 * memory.velocity + (1.0 - self.beta_1) * gradient
        squares = self.beta_2 * memory.squares + (1.0 - self.beta_2) * gradient**2
        # Both start from 0; this undoes the bias of the first steps.
        k = memory.n_steps + 1
        unbiased_mean = mean / (1.0 - self.beta_1**k)
        unbiased_squares = squares / (1.0 - self.beta_2**k)
        return -rate * unbiased_mean / (np.sqrt(unbiased_squares) + self.epsilon), mean, squares


TRAINERS: dict[str, type[Trainer]] = {
    trainer.name: trainer for trainer in (SGD, Momentum, Nesterov, Adam)
}


def resolve_trainer(trainer: Any) -> Trainer:
    """Return the trainer that is meant: an instance, or a name of `TRAINERS` with its defaults.

    Raises
    ------
    ValueError, TypeError
        If it is neither; the message lists the names.
    """
    if isinstance(trainer, Trainer):
        return trainer
    if isinstance(trainer, str) and trainer in TRAINERS:
        return TRAINERS[trainer]()
    known = ", ".join(f"'{name}'" for name in TRAINERS)
    if isinstance(trainer, str):
        hint = did_you_mean(trainer, TRAINERS)
        raise ValueError(f"there is no trainer '{trainer}'{hint}; the trainers are {known}")
    if isinstance(trainer, type) and issubclass(trainer, Trainer):
        raise TypeError(f"give an instance of {trainer.__name__}, such as {trainer.__name__}()")
    raise TypeError(
        f"trainer must be one of {known} or an instance such as Adam(), not {trainer!r}"
    )
