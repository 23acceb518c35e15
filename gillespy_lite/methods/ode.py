"""The rate equations, integrated by SciPy's stiff solvers."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from math import comb
from typing import Any, ClassVar

import numpy as np

from ..errors import MethodError
from ..kernels.event_handling import fill_values
from ..kernels.programs import Programs
from ..kernels.rate_equations import RateEquations, fill_rate_derivatives, fill_rates
from .method import Method

__all__ = ["Ode", "RateEquationSystem", "bernstein_form"]

_SOLVERS = ("LSODA", "BDF", "Radau")
# From this many species on the Jacobian is sparse and BDF replaces LSODA. Measured on stiff chains,
# ms, dense LSODA against sparse BDF: 60 species 25 and 59, 250 1300 and 71, 2000 31000 and 350.
_SPARSE_FROM = 100
# The automatic absolute tolerance, as a part of an amount, and at most.
_AUTOMATIC, _LARGEST_ATOL = 1e-10, 1e-8
# Parts of the time at which it asks how fast what begins at zero changes, until all of it does.
_LOOKED_AT = (0.0, 1e-3, 0.1, 0.3, 0.6, 1.0)


class RateEquationSystem:
    """Right-hand side and Jacobian of y' = N r(y, t) for SciPy.

    The state holds the amounts of the species, then the variables; y is what moves of it; r the
    rates of the reactions, then those of the variables.

    Parameters
    ----------
    equations : RateEquations
        The values of its switches stand at the end of `equations.parameters`.
    stack_depth : int
        What the programs need, those of the switches included.
    change : ndarray or sparse array, shape (n_states, n_rates)
        N.
    moving : ndarray, shape (n_moving,), optional
        Which entries of the state y holds; all by default.
    switches : Programs, optional
        One for each switch: its value at the moment, in place of that which is held.
    """

    def __init__(
        self,
        equations: RateEquations,
        stack_depth: int,
        change: Any,
        *,
        moving: np.ndarray | None = None,
        switches: Programs | None = None,
    ) -> None:
        from scipy import sparse

        n_states, n_rates = change.shape
        self.moving = np.arange(n_states) if moving is None else moving
        self.state = np.ones(n_states + 1)  # with the 1 at its end
        self.equations = equations
        self.stack = np.zeros(stack_depth)
        self._switches = switches
        n_switches = 0 if switches is None else switches.start.size - 1
        n_parameters = equations.parameters.size - n_switches
        self.held = equations.parameters[n_parameters:]  # (n_switches,): a view
        # The last time and y at which the right-hand side was not finite.
        self.bad_point: tuple[float, np.ndarray] | None = None
        self._now = np.zeros(n_switches)
        self._rates = np.zeros(n_rates)
        self._slopes = np.zeros(equations.slope_rate.size)
        n_moving = self.moving.size
        self.is_sparse = n_moving >= _SPARSE_FROM
        self.change = sparse.csr_array(change)[self.moving]
        column = np.full(n_states, -1)
        column[self.moving] = np.arange(n_moving)
        column = column[equations.slope_state]
        self._used = np.flatnonzero(column >= 0)
        # The slopes come ordered by rate and state, which is how rows are stored.
        self._rate_slopes = sparse.csr_array(
            (self._slopes[self._used], (equations.slope_rate[self._used], column[self._used])),
            shape=(n_rates, n_moving),
        )

    def right_hand_side(self, time: float, moving: np.ndarray) -> np.ndarray:
        """Return the time derivatives (n_moving,): molecules, or units of a variable, per time."""
        self.state[self.moving] = moving
        slope = np.asarray(self.change @ self._filled_rates(time))
        if self._now.size and not np.isfinite(slope).all():
            # A trial step beyond a switch may leave where the held branch is defined.
            held = self.held.copy()
            self.held[:] = self.switch_values(time)
            slope = np.asarray(self.change @ self._filled_rates(time))
            self.held[:] = held
        if not np.isfinite(slope).all():
            self.bad_point = float(time), moving.copy()
        return slope

    def jacobian(self, time: float, moving: np.ndarray) -> Any:
        """Return d y' / d y, (n_moving, n_moving), sparse for large networks."""
        self.state[self.moving] = moving
        fill_rate_derivatives(self.equations, self.state, float(time), self.stack, self._slopes)
        self._rate_slopes.data[:] = self._slopes[self._used]
        matrix = self.change @ self._rate_slopes
        return matrix.tocsc() if self.is_sparse else matrix.toarray()

    def _filled_rates(self, time: float) -> np.ndarray:
        fill_rates(self.equations, self.state, float(time), self.stack, self._rates)
        return self._rates

    def switch_values(self, time: float) -> np.ndarray:
        """Return what each switch is at the present state, (n_switches,), a view."""
        if self._switches is not None:
            parameters = self.equations.parameters
            fill_values(self._switches, self.state, parameters, float(time), self.stack, self._now)
        return self._now

    def bad_rate(self, time: float, moving: np.ndarray) -> tuple[int, float] | None:
        """Return a rate that changes something and is not finite, and what it is, or None."""
        self.state[self.moving] = moving
        self.held[:] = self.switch_values(time)
        rates = self._filled_rates(time)
        used = np.zeros(rates.size, dtype=bool)
        used[self.change.indices] = True
        bad = np.flatnonzero(used & ~np.isfinite(rates))
        return (int(bad[0]), float(rates[bad[0]])) if bad.size else None


def bernstein_form(dense: Any, rows: np.ndarray) -> np.ndarray:
    """Return some components of a solver's dense output in Bernstein form over its step.

    Parameters
    ----------
    dense : scipy.integrate.DenseOutput
        Of LSODA, BDF or Radau.
    rows : ndarray, shape (n_rows,), int
        Which components.

    Returns
    -------
    ndarray, shape (n_rows, degree + 1)
        C-contiguous.
    """
    length = dense.t - dense.t_old
    if hasattr(dense, "yh"):  # LSODA: powers of (t - t_end) / h
        powers = dense.yh[rows]
        powers = powers * (-length / dense.h) ** np.arange(powers.shape[1])
        is_backward = True
    elif hasattr(dense, "D"):  # BDF: Newton's form on backward differences
        factor = np.ones(1)
        powers = np.zeros((rows.size, dense.order + 1))
        powers[:, 0] = dense.D[0, rows]
        for k in range(dense.order):
            constant = (dense.t - dense.t_shift[k]) / dense.denom[k]
            linear = np.array([constant, -length / dense.denom[k]])
            factor = np.convolve(factor, linear)
            powers[:, : k + 2] += dense.D[k + 1, rows][:, None] * factor
        is_backward = True
    else:  # Radau: powers of (t - t_start) / h
        powers = np.column_stack([dense.y_old[rows], dense.Q[rows]])
        is_backward = False
    degree = powers.shape[1] - 1
    # Farouki (2012): coefficient k is the sum over i of C(k, i) / C(degree, i) powers[i].
    weight = np.array(
        [[comb(k, i) / comb(degree, i) for k in range(degree + 1)] for i in range(degree + 1)]
    )
    coefficients = np.zeros_like(powers)
    for i in range(degree + 1):  # one after the other, so that what is constant stays it
        coefficients += powers[:, i, None] * weight[i]
    if is_backward:
        coefficients = coefficients[:, ::-1]
    return np.ascontiguousarray(coefficients)


@dataclass(frozen=True)
class Ode(Method):
    """The rate equations: deterministic, for the limit of large counts.

    The rate of ``2 A -> B @ c`` is c A**2 / 2. Amounts are real numbers, in molecules. Variables
    are integrated beside them, by their rules. The Jacobian is derived from the rate laws and the
    rules and handed to the solver, sparse for large networks. Events come at their exact times:
    where a trigger changes is found on the solver's own polynomial of each step, and the solver
    begins anew there; likewise where a comparison, `floor` or `ceil` in a rate changes.

    Parameters
    ----------
    rtol : float
        Relative tolerance of each step.
    atol : float
        Absolute tolerance of each step, in molecules or the unit of a variable. 0 chooses one for
        each species and variable: 1e-10 of the largest amount so far (looked at at the start and
        after each event), and never more than 1e-8. What begins at zero counts as the smallest
        amount that does not, or as what its rate of change would make of it over the whole time
        if that is less. So amounts in moles, of 1e-15 and less, are as exact as counts.
    solver : {"LSODA", "BDF", "Radau"}
        SciPy's solver; ``BDF`` replaces ``LSODA`` where the Jacobian is sparse.
    max_step : float
        Longest step, in the unit of time; 0 sets no limit. Where a comparison, `floor` or `ceil`
        in a rate changes, and where an event is triggered, is found whatever the step is. Only
        smooth short pulses in rates that depend on t, such as ``exp(-(t - 5)^2/1e-6)``, could be
        passed over by a long step.

    References
    ----------
    Petzold (1983), SIAM J. Sci. Stat. Comput. 4, 136, doi:10.1137/0904010 (LSODA). Shampine and
    Reichelt (1997), SIAM J. Sci. Comput. 18, 1, doi:10.1137/S1064827594276424 (BDF).
    """

    rtol: float = 1e-8
    atol: float = 0.0
    solver: str = "LSODA"
    max_step: float = 0.0

    name: ClassVar[str] = "ode"
    summary: ClassVar[str] = "rate equations, SciPy's stiff solvers with an analytic Jacobian"
    citation: ClassVar[str] = "Petzold (1983), doi:10.1137/0904010"
    is_exact: ClassVar[bool] = False
    is_stochastic: ClassVar[bool] = False
    supports_time_dependence: ClassVar[bool] = True
    supports_variables: ClassVar[bool] = True
    supports_events: ClassVar[bool] = True
    supports_delays: ClassVar[bool] = False

    def __post_init__(self) -> None:
        if self.solver not in _SOLVERS:
            raise MethodError(
                f"option solver of ode must be one of {', '.join(_SOLVERS)}, not {self.solver!r}"
            )
        self.check_options(
            {
                "rtol": (lambda x: 0.0 < x < 1.0, "a number between 0 and 1"),
                "atol": (lambda x: 0.0 <= x < 1.0, "0 (automatic) or a number below 1"),
                "max_step": (lambda x: x >= 0.0, "0 (no limit) or a positive time"),
            }
        )

    def tolerances(
        self,
        system: RateEquationSystem,
        time: float,
        amounts: np.ndarray,
        largest: np.ndarray,
        span: float,
    ) -> np.ndarray:
        """Return the absolute tolerance of each component.

        Parameters
        ----------
        system : RateEquationSystem
            Asked what becomes of what begins at zero.
        time : float
            Where the integration begins.
        amounts : ndarray, shape (n_moving,)
            What it begins with.
        largest : ndarray, shape (n_moving,)
            The largest amounts so far, without sign, these included.
        span : float
            The time that is left.

        Returns
        -------
        ndarray, shape (n_moving,)
            As the option `atol` says.
        """
        if self.atol > 0.0:
            return np.full(amounts.size, self.atol)
        scale = largest.copy()
        is_zero = scale == 0.0
        if is_zero.any():
            smallest = scale[~is_zero].min(initial=np.inf)
            gain = np.zeros(amounts.size)
            for part in _LOOKED_AT:
                if gain[is_zero].all():
                    break
                slope = system.right_hand_side(time + part * span, amounts)
                slope[~np.isfinite(slope)] = 0.0
                gain = np.maximum(gain, np.abs(slope) * span)
            gain[gain == 0.0] = gain[gain > 0.0].min(initial=np.inf)
            scale[is_zero] = np.minimum(gain[is_zero], smallest)
            scale[np.isinf(scale)] = 1.0
        # LSODA squares its inverse, which a double must hold.
        return np.clip(_AUTOMATIC * scale, 1e-140, _LARGEST_ATOL)

    def solver_from(
        self,
        system: RateEquationSystem,
        time: float,
        amounts: np.ndarray,
        bound: float,
        atol: np.ndarray,
    ) -> Any:
        """Return SciPy's solver at `time`, to step to `bound` and no further."""
        from scipy import integrate

        # LSODA takes no sparse Jacobian.
        name = "BDF" if system.is_sparse and self.solver == "LSODA" else self.solver
        solver = getattr(integrate, name)(
            system.right_hand_side,
            time,
            amounts,
            bound,
            rtol=self.rtol,
            atol=atol,
            jac=system.jacobian,
            max_step=self.max_step or np.inf,
        )
        if system.is_sparse:
            from scipy.sparse import linalg

            # A reaction that couples two species does so both ways, and an order of elimination
            # that knows it halved the work for 3,744 species and 58,276 reactions.
            solver.lu = functools.partial(linalg.splu, permc_spec="MMD_AT_PLUS_A")
        return solver
