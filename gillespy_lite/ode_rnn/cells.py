"""The table of cells: one integration step each, as a recurrent cell."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, ClassVar

import numpy as np

from ..errors import MethodError
from ..kernels.explicit_cells import Tableau
from ..kernels.rosenbrock_cells import Scheme
from ..names import did_you_mean

__all__ = [
    "CELLS",
    "Cell",
    "Dopri5",
    "Euler",
    "Heun",
    "ImplicitEuler",
    "Langevin",
    "Leap",
    "Rk4",
    "Rodas4",
    "Rodas4Adaptive",
    "resolve_cell",
]


@dataclass(frozen=True)
class Cell:
    """One integration step y(t + h) = cell(y(t), x(t); parameters) and its options."""

    name: ClassVar[str]
    summary: ClassVar[str]
    citation: ClassVar[str]
    kind: ClassVar[str]  # "explicit", "rosenbrock" or "leap": which kernel runs it
    order: ClassVar[float]  # of the error over a fixed time, as a power of the step
    is_adaptive: ClassVar[bool] = False
    is_stochastic: ClassVar[bool] = False
    has_gradient: ClassVar[bool] = True

    def with_options(self, options: Mapping[str, Any]) -> Cell:
        """Return the cell with other options.

        Raises
        ------
        MethodError
            If the cell has no such option.
        """
        known = [field.name for field in fields(self)]
        for option in options:
            if option not in known:
                advice = did_you_mean(option, known) or (
                    f"; it has {', '.join(known)}" if known else "; it has none"
                )
                raise MethodError(f"the cell '{self.name}' has no option {option!r}{advice}")
        return replace(self, **options)


def _lower(*rows: tuple[float, ...]) -> np.ndarray:
    """Return a lower triangular matrix from its rows, the first of which is empty."""
    matrix = np.zeros((len(rows), len(rows)))
    for i, row in enumerate(rows):
        matrix[i, : len(row)] = row
    return matrix


def _tableau(rows: tuple[tuple[float, ...], ...], b: tuple[float, ...]) -> Tableau:
    a = _lower(*rows)
    return Tableau(a, np.array(b), a.sum(axis=1), is_map=False)


@dataclass(frozen=True)
class Euler(Cell):
    """Euler's step: y + h f(y, x). Order 1.

    References: Euler (1768), Institutiones calculi integralis.
    """

    name: ClassVar[str] = "euler"
    summary: ClassVar[str] = "y + h f(y, x)"
    citation: ClassVar[str] = "Euler (1768)"
    kind: ClassVar[str] = "explicit"
    order: ClassVar[float] = 1
    tableau: ClassVar[Tableau] = _tableau(((),), (1.0,))


@dataclass(frozen=True)
class Heun(Cell):
    """Heun's step: the mean of the slopes at both ends. Order 2.

    References: Heun (1900), Z. Math. Phys. 45, 23.
    """

    name: ClassVar[str] = "heun"
    summary: ClassVar[str] = "mean of the slopes at both ends of the step"
    citation: ClassVar[str] = "Heun (1900)"
    kind: ClassVar[str] = "explicit"
    order: ClassVar[float] = 2
    tableau: ClassVar[Tableau] = _tableau(((), (1.0,)), (0.5, 0.5))


@dataclass(frozen=True)
class Rk4(Cell):
    """The classical Runge-Kutta step. Order 4.

    References: Kutta (1901), Z. Math. Phys. 46, 435.
    """

    name: ClassVar[str] = "rk4"
    summary: ClassVar[str] = "classical Runge-Kutta step"
    citation: ClassVar[str] = "Kutta (1901)"
    kind: ClassVar[str] = "explicit"
    order: ClassVar[float] = 4
    tableau: ClassVar[Tableau] = _tableau(
        ((), (0.5,), (0.0, 0.5), (0.0, 0.0, 1.0)), (1 / 6, 1 / 3, 1 / 3, 1 / 6)
    )


_DOPRI_ROWS = (
    (),
    (1 / 5,),
    (3 / 40, 9 / 40),
    (44 / 45, -56 / 15, 32 / 9),
    (19372 / 6561, -25360 / 2187, 64448 / 6561, -212 / 729),
    (9017 / 3168, -355 / 33, 46732 / 5247, 49 / 176, -5103 / 18656),
)
_DOPRI_B = (35 / 384, 0.0, 500 / 1113, 125 / 192, -2187 / 6784, 11 / 84)
_DOPRI_B4 = (5179 / 57600, 0.0, 7571 / 16695, 393 / 640, -92097 / 339200, 187 / 2100, 1 / 40)


@dataclass(frozen=True)
class _Adaptive(Cell):
    """What adaptive cells have in common.

    Parameters
    ----------
    rtol, atol : float
        Tolerated error of a step, relative and absolute (in molecules).
    first_step : float
        Length of the first step tried, in the unit of time; 0 takes a hundredth of the first
        interval.
    max_step : float
        Longest step; 0 sets no limit.
    max_cells : int
        Most steps of one trajectory.
    """

    rtol: float = 1e-6
    atol: float = 1e-6
    first_step: float = 0.0
    max_step: float = 0.0
    max_cells: int = 1_000_000

    is_adaptive: ClassVar[bool] = True

    def __post_init__(self) -> None:
        for name in ("rtol", "atol"):
            value = getattr(self, name)
            if not isinstance(value, int | float) or not 0.0 < value < 1.0:
                raise MethodError(
                    f"option {name} of {self.name} must be a number between 0 and 1, not {value!r}"
                )
        for name in ("first_step", "max_step"):
            value = getattr(self, name)
            if not isinstance(value, int | float) or not 0.0 <= value < np.inf:
                raise MethodError(
                    f"option {name} of {self.name} must be 0 or a positive time, not {value!r}"
                )
        if not isinstance(self.max_cells, int) or self.max_cells < 1:
            raise MethodError(
                f"option max_cells of {self.name} must be a whole number, 1 or more, "
                f"not {self.max_cells!r}"
            )


@dataclass(frozen=True)
class Dopri5(_Adaptive):
    """The embedded pair of Dormand and Prince: order 5, the step chosen by an estimate of order 4.

    The chosen steps are recorded, and gradients are those of the recurrence with these steps.

    References: Dormand and Prince (1980), J. Comput. Appl. Math. 6, 19,
    doi:10.1016/0771-050X(80)90013-3.
    """

    name: ClassVar[str] = "dopri5"
    summary: ClassVar[str] = "Dormand-Prince pair of orders 5 and 4, recorded adaptive steps"
    citation: ClassVar[str] = "Dormand and Prince (1980), doi:10.1016/0771-050X(80)90013-3"
    kind: ClassVar[str] = "explicit"
    order: ClassVar[float] = 5
    tableau: ClassVar[Tableau] = _tableau(_DOPRI_ROWS, _DOPRI_B)
    # With the seventh stage, which only the error estimate needs.
    full_tableau: ClassVar[Tableau] = _tableau((*_DOPRI_ROWS, _DOPRI_B), (*_DOPRI_B, 0.0))
    error: ClassVar[np.ndarray] = np.array([*_DOPRI_B, 0.0]) - np.array(_DOPRI_B4)
    error_order: ClassVar[float] = 5.0


@dataclass(frozen=True)
class ImplicitEuler(Cell):
    """The linearly implicit Euler step: (I - h J) (y' - y) = h f. Order 1, for stiff networks.

    One linear solve takes the place of Newton's iteration; on linear networks it is the implicit
    Euler step.

    References: Deuflhard and Nowak (1987), doi:10.1007/978-1-4684-5393-1_13; Hairer and Wanner
    (1996), section IV.9, doi:10.1007/978-3-642-05221-7.
    """

    name: ClassVar[str] = "implicit_euler"
    summary: ClassVar[str] = "linearly implicit Euler step, for stiff networks"
    citation: ClassVar[str] = "Hairer and Wanner (1996), doi:10.1007/978-3-642-05221-7"
    kind: ClassVar[str] = "rosenbrock"
    order: ClassVar[float] = 1
    scheme: ClassVar[Scheme] = Scheme(
        1.0, np.zeros((1, 1)), np.zeros((1, 1)), np.ones(1), np.zeros(1), np.zeros(1), np.ones(1)
    )


# Hairer and Wanner (1996), RODAS: stiffly accurate, L-stable, orders 4 and 3.
_RODAS_A5 = (1.221224509226641, 6.019134481288629, 12.53708332932087, -0.6878860361058950)
_RODAS = Scheme(
    gamma=0.25,
    a=_lower(
        (),
        (1.544000000000000,),
        (0.9466785280815826, 0.2557011698983284),
        (3.314825187068521, 2.896124015972201, 0.9986419139977817),
        _RODAS_A5,
        (*_RODAS_A5, 1.0),
    ),
    c=_lower(
        (),
        (-5.668800000000000,),
        (-2.430093356833875, -0.2063599157091915),
        (-0.1073529058151375, -9.594562251023355, -20.47028614809616),
        (7.496443313967647, -10.24680431464352, -33.99990352819905, 11.70890893206160),
        (
            *(8.083246795921522, -7.981132988064893, -31.52159432874371, 16.31930543123136),
            -6.058818238834054,
        ),
    ),
    m=np.array([*_RODAS_A5, 1.0, 1.0]),
    error=np.array([0.0, 0.0, 0.0, 0.0, 0.0, 1.0]),
    alpha=np.array([0.0, 0.386, 0.21, 0.63, 1.0, 1.0]),
    gamma_sum=np.array([0.25, -0.1043, 0.1035, -0.0362, 0.0, 0.0]),
)


@dataclass(frozen=True)
class Rodas4(Cell):
    """The Rosenbrock step RODAS. Order 4, L-stable, for stiff networks.

    References: Hairer and Wanner (1996), section IV.7, doi:10.1007/978-3-642-05221-7.
    """

    name: ClassVar[str] = "rodas4"
    summary: ClassVar[str] = "Rosenbrock step of order 4, for stiff networks"
    citation: ClassVar[str] = "Hairer and Wanner (1996), doi:10.1007/978-3-642-05221-7"
    kind: ClassVar[str] = "rosenbrock"
    order: ClassVar[float] = 4
    scheme: ClassVar[Scheme] = _RODAS


@dataclass(frozen=True)
class Rodas4Adaptive(_Adaptive):
    """RODAS with steps chosen by its embedded error estimate, and recorded.

    References: Hairer and Wanner (1996), section IV.7, doi:10.1007/978-3-642-05221-7.
    """

    name: ClassVar[str] = "rodas4_adaptive"
    summary: ClassVar[str] = "Rosenbrock pair of orders 4 and 3, recorded adaptive steps"
    citation: ClassVar[str] = "Hairer and Wanner (1996), doi:10.1007/978-3-642-05221-7"
    kind: ClassVar[str] = "rosenbrock"
    order: ClassVar[float] = 4
    scheme: ClassVar[Scheme] = _RODAS
    error: ClassVar[np.ndarray] = _RODAS.error
    error_order: ClassVar[float] = 4.0


@dataclass(frozen=True)
class Langevin(Cell):
    """Euler-Maruyama step of the chemical Langevin equation: Gaussian noise in every reaction.

    With propensities a and normal numbers xi, y + N (a h + sqrt(a h) xi). Propensities below 0
    count as 0, and states that would fall below 0 stay at 0. Gradients are those of the path for
    the noise that was drawn.

    References: Gillespie (2000), J. Chem. Phys. 113, 297, doi:10.1063/1.481811.
    """

    name: ClassVar[str] = "langevin"
    summary: ClassVar[str] = "chemical Langevin equation, Euler-Maruyama: Gaussian noise"
    citation: ClassVar[str] = "Gillespie (2000), doi:10.1063/1.481811"
    kind: ClassVar[str] = "explicit"
    order: ClassVar[float] = 1  # weak
    is_stochastic: ClassVar[bool] = True
    tableau: ClassVar[Tableau] = Tableau(np.zeros((1, 1)), np.ones(1), np.zeros(1), is_map=True)


@dataclass(frozen=True)
class Leap(Cell):
    """One tau-leap of fixed length: Poisson noise in every reaction.

    Every reaction fires a Poisson number of times with mean a h, but no more often than the
    molecules left allow, in the order of the reactions. Counts stay whole and never negative.

    References: Gillespie (2001), J. Chem. Phys. 115, 1716, doi:10.1063/1.1378322.
    """

    name: ClassVar[str] = "leap"
    summary: ClassVar[str] = "tau-leap of fixed length: Poisson noise"
    citation: ClassVar[str] = "Gillespie (2001), doi:10.1063/1.1378322"
    kind: ClassVar[str] = "leap"
    order: ClassVar[float] = 1  # weak
    is_stochastic: ClassVar[bool] = True
    has_gradient: ClassVar[bool] = False  # whole numbers have no slope


CELLS: Mapping[str, type[Cell]] = {
    cell.name: cell
    for cell in (
        *(Euler, Heun, Rk4, Dopri5, ImplicitEuler, Rodas4, Rodas4Adaptive),
        *(Langevin, Leap),
    )
}


def resolve_cell(cell: str | Cell, options: Mapping[str, Any]) -> Cell:
    """Return the cell that is meant by a name or an instance, with options.

    Raises
    ------
    MethodError
        If there is no such cell or option.
    """
    if isinstance(cell, Cell):
        return cell.with_options(options)
    if not isinstance(cell, str) or cell not in CELLS:
        advice = did_you_mean(str(cell), CELLS) or f"; choose from {', '.join(CELLS)}"
        raise MethodError(f"there is no cell {cell!r}{advice}")
    return CELLS[cell]().with_options(options)
