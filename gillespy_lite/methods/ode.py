"""The rate equations, integrated by SciPy's stiff solvers."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from ..errors import MethodError, SimulationError
from ..kernels.rate_equations import RateEquations, fill_rate_derivatives, fill_rates
from .method import Method

__all__ = ["Ode", "RateEquationSystem"]

_SOLVERS = ("LSODA", "BDF", "Radau")
# From this many species on the Jacobian is sparse and BDF replaces LSODA. Measured on stiff chains,
# ms, dense LSODA against sparse BDF: 60 species 25 and 59, 250 1300 and 71, 2000 31000 and 350.
_SPARSE_FROM = 100
_STEPS_BETWEEN_CHECKS = 20_000


class RateEquationSystem:
    """Right-hand side and Jacobian of y' = N r(y, t) for SciPy.

    y holds the amounts of the species, then the variables; r the rates of the reactions, then those
    of the variables; `change` is N, (n_states, n_rates).
    """

    def __init__(self, equations: RateEquations, stack_depth: int, change: np.ndarray) -> None:
        from scipy import sparse

        n_states, n_rates = change.shape
        self._equations = equations
        self._stack = np.zeros(stack_depth)
        self._state = np.ones(n_states + 1)
        self._rates = np.zeros(n_rates)
        self._slopes = np.zeros(equations.slope_rate.size)
        self.is_sparse = n_states >= _SPARSE_FROM
        self._change = sparse.csr_array(change)
        # The slopes come ordered by rate and state, which is how rows are stored.
        self._rate_slopes = sparse.csr_array(
            (self._slopes, (equations.slope_rate, equations.slope_state)),
            shape=(n_rates, n_states),
        )

    def right_hand_side(self, time: float, state: np.ndarray) -> np.ndarray:
        """Return the time derivatives (n_states,): molecules, or units of a variable, per time."""
        self._state[:-1] = state
        fill_rates(self._equations, self._state, float(time), self._stack, self._rates)
        return np.asarray(self._change @ self._rates)

    def jacobian(self, time: float, state: np.ndarray) -> Any:
        """Return d y' / d y, (n_states, n_states), sparse for large networks."""
        self._state[:-1] = state
        fill_rate_derivatives(self._equations, self._state, float(time), self._stack, self._slopes)
        self._rate_slopes.data[:] = self._slopes
        matrix = self._change @ self._rate_slopes
        return matrix.tocsc() if self.is_sparse else matrix.toarray()


@dataclass(frozen=True)
class Ode(Method):
    """The rate equations: deterministic, for the limit of large counts.

    The rate of ``2 A -> B @ c`` is c A**2 / 2. Amounts are real numbers, in molecules. Variables
    are integrated beside them, by their rules. The Jacobian is derived from the rate laws and the
    rules and handed to the solver, sparse for large networks.

    Parameters
    ----------
    rtol, atol : float
        Relative and absolute tolerance (in molecules, or in the unit of a variable) of each step.
    solver : {"LSODA", "BDF", "Radau"}
        SciPy's solver; ``BDF`` replaces ``LSODA`` where the Jacobian is sparse.
    max_step : float
        Longest step, in the unit of time; 0 sets no limit. Set it below the length of short pulses
        in rates that depend on t, which a long step could pass over.

    References
    ----------
    Petzold (1983), SIAM J. Sci. Stat. Comput. 4, 136, doi:10.1137/0904010 (LSODA). Shampine and
    Reichelt (1997), SIAM J. Sci. Comput. 18, 1, doi:10.1137/S1064827594276424 (BDF).
    """

    rtol: float = 1e-8
    atol: float = 1e-8
    solver: str = "LSODA"
    max_step: float = 0.0

    name: ClassVar[str] = "ode"
    summary: ClassVar[str] = "rate equations, SciPy's stiff solvers with an analytic Jacobian"
    citation: ClassVar[str] = "Petzold (1983), doi:10.1137/0904010"
    is_exact: ClassVar[bool] = False
    is_stochastic: ClassVar[bool] = False
    supports_time_dependence: ClassVar[bool] = True
    supports_variables: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if self.solver not in _SOLVERS:
            raise MethodError(
                f"option solver of ode must be one of {', '.join(_SOLVERS)}, not {self.solver!r}"
            )
        self.check_options(
            {
                "rtol": (lambda x: 0.0 < x < 1.0, "a number between 0 and 1"),
                "atol": (lambda x: 0.0 < x < 1.0, "a number between 0 and 1"),
                "max_step": (lambda x: x >= 0.0, "0 (no limit) or a positive time"),
            }
        )

    def solve(
        self,
        system: RateEquationSystem,
        amounts: np.ndarray,
        times: np.ndarray,
    ) -> Iterator[int]:
        """Fill `amounts` (n_times, n_states) from its first row on.

        Gives, after each step of the solver, how many of the times are done; it can be left at
        any point.

        Raises
        ------
        SimulationError
            If the solver gives up; the message says when and why.
        """
        from scipy import integrate

        n_done = 1
        yield n_done
        if times.size == 1 or amounts.shape[1] == 0:
            amounts[1:] = amounts[0]
            yield times.size
            return
        # LSODA takes no sparse Jacobian.
        name = "BDF" if system.is_sparse and self.solver == "LSODA" else self.solver
        solver = getattr(integrate, name)(
            system.right_hand_side,
            times[0],
            amounts[0].copy(),
            times[-1],
            rtol=self.rtol,
            atol=self.atol,
            jac=system.jacobian,
            max_step=self.max_step or np.inf,
        )
        checked_at, n_steps = solver.t, 0
        while n_done < times.size:
            message = solver.step()
            n_steps += 1
            if n_steps % _STEPS_BETWEEN_CHECKS == 0:
                if solver.t - checked_at < 1e-9 * (times[-1] - times[0]):
                    raise SimulationError(
                        f"the rate equations make no headway at t = {solver.t:g}: the amounts "
                        "explode there, or a rate jumps back and forth. Check the rate laws"
                    )
                checked_at = solver.t
            if solver.status == "failed" or not np.isfinite(solver.y).all():
                raise SimulationError(
                    f"the rate equations could not be integrated beyond t = {solver.t:g}: "
                    f"{message or 'the amounts became infinite'}; check the rate laws there, or "
                    "try another solver (method options solver, rtol, atol)"
                )
            last = int(np.searchsorted(times, solver.t, side="right"))
            if last > n_done:
                amounts[n_done:last] = solver.dense_output()(times[n_done:last]).T
                n_done = last
            yield n_done
