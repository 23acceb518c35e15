r"""Linear systems of chains that are left sooner or later, each solution with a bound of its error.

>>> import gillespy_lite as gl
>>> from gillespy_lite.master_equation import StateSearch
>>> from gillespy_lite.master_equation.absorption import absorption
>>> from gillespy_lite.master_equation.conditions import as_condition, ended_by
>>> from gillespy_lite.master_equation.transitions import transitions_of
>>> network = gl.Network.parse("species X = 2\\nX -> 0 @ 1")
>>> extinct = as_condition(network, "X == 0", "condition")
>>> chain = transitions_of(StateSearch(ended_by(extinct)).reachable(), extinct)
>>> solver = absorption(chain)
>>> solver.values(np.ones(2)).solution.tolist()  # mean times from X = 1 and X = 2: 1, 1 + 1/2
[1.0, 1.5]
"""

from __future__ import annotations

import math
from functools import cached_property
from typing import Any, NamedTuple, Protocol

import numpy as np

from ..errors import MethodError
from ..kernels.state_elimination import eliminate_states, solve_flows, solve_values
from ..memory import available_memory, require_memory
from .transitions import FloatArray, Transitions

__all__ = ["SOLVERS", "Absorption", "Solved", "absorption"]

SOLVERS = ("auto", "elimination", "lu", "gmres")

_UNIT = 2.0**-53
# What "auto" lets elimination cost: multiplications, some 5e8 to 1e9 of them a second.
_MOST_MULTIPLICATIONS = 4e9
# Below so many states the factors of a sparse LU decomposition are small enough.
_MOST_FOR_LU = 50_000
_MULTIPLICATIONS_AT_ONCE = 5e7
_REFINEMENTS = 3
_TOO_LARGE = (
    "a mean time, or a quotient of probabilities, exceeds 1e308, the largest number; with an end "
    "time in t there is an answer"
)


class Solved(NamedTuple):
    """A solution and what is known of its error."""

    solution: FloatArray  # (n_states,) none is negative
    error: FloatArray  # (n_states,) each absolute error is at most this, or for flows their sum / n


class Absorption(Protocol):
    """Solves x M = b and M x = b for M = D - R of a chain with exits."""

    name: str
    relative_error: float  # of every number of a solution; inf if only the absolute one is known

    def flows(self, start: FloatArray) -> Solved:
        """Solve x M = start: for how long each state is occupied."""

    def values(self, gain: FloatArray) -> Solved:
        """Solve M x = gain: what is gained from each state on."""


def absorption(chain: Transitions, method: str = "auto") -> Absorption:
    """Return a solver for a chain in which there is a way to an exit from each state.

    Parameters
    ----------
    chain : Transitions
        The chain.
    method : {"auto", "elimination", "lu", "gmres"}, optional
        Elimination without a subtraction, each number to nearly all its digits, in bands of
        neighbouring states; sparse LU factors; or GMRES with incomplete factors. ``"auto"`` takes
        the first that is affordable, in this order.
    """
    if method not in SOLVERS:
        raise MethodError(f"unknown method {method!r}; choose one of {', '.join(SOLVERS)}")
    order, width = _banded_order(chain)
    n = chain.n_states
    if method == "auto":
        room = available_memory()
        fits = room is None or 8.0 * n * (2 * width + 1) < 0.4 * room
        if fits and float(n) * (width + 1.0) ** 2 <= _MOST_MULTIPLICATIONS:
            method = "elimination"
        else:
            method = "lu" if n <= _MOST_FOR_LU else "gmres"
    if method == "elimination":
        return _Elimination(chain, order, width)
    return _Factors(chain, method)


def _banded_order(chain: Transitions) -> tuple[np.ndarray, int]:
    """Return an order of the states, and how far apart neighbours are in it."""
    from scipy.sparse import csgraph

    n = chain.n_states
    pairs: Any = chain.rates.tocoo()
    source, target = pairs.coords
    width = int(np.abs(source - target).max(initial=0))
    natural = np.arange(n)
    if width <= 8:
        return natural, width
    order = csgraph.reverse_cuthill_mckee((chain.rates + chain.rates.T).tocsr(), True)
    place = np.empty(n, dtype=np.int64)
    place[order] = natural
    other = int(np.abs(place[source] - place[target]).max(initial=0))
    return (np.asarray(order), other) if other < width else (natural, width)


class _Elimination:
    """Grassmann, Taksar and Heyman's elimination in a band."""

    name = "elimination"

    def __init__(self, chain: Transitions, order: np.ndarray, width: int) -> None:
        n = chain.n_states
        require_memory(8 * n * (2 * width + 1), "choose method='lu' or 'gmres'")
        place = np.empty(n, dtype=np.int64)
        place[order] = np.arange(n)
        pairs: Any = chain.rates.tocoo()
        row, column = place[pairs.coords[0]], place[pairs.coords[1]]
        self._chain = chain
        self._most = int(np.diff(chain.rates.indptr).max(initial=0)) + 6
        self._order, self._band = order, np.zeros((n, 2 * width + 1))
        np.add.at(self._band, (row, column - row + width), pairs.data)
        exits = np.ascontiguousarray(chain.exits.sum(axis=0)[order])
        self._pivot = np.empty(n)
        at_once = max(1, int(_MULTIPLICATIONS_AT_ONCE / (width + 1.0) ** 2))
        for first in range(0, n, at_once):
            stuck = eliminate_states(self._band, exits, self._pivot, first, min(n, first + at_once))
            if stuck >= 0:
                raise MethodError(_TOO_LARGE)
        # Each step rounds the rates out of the next `width` states, each by a relative error of
        # at most width + 6 units. By the Markov chain tree theorem, probabilities are quotients of
        # sums of products with one rate out of each state, so that it changes them by at most
        # twice that for each of these states (O'Cinneide 1993); substitution adds its own.
        self.relative_error = min(1.0, 2.0 * (n + 1.0) * (width + 3.0) * (width + 6.0) * _UNIT)

    def flows(self, start: FloatArray) -> Solved:
        x = np.empty(start.size)
        solve_flows(self._band, self._pivot, np.ascontiguousarray(start[self._order]), x)
        x = self._in_place(x)
        # The second bound is that of `_Factors`.
        own = self.relative_error * x
        with np.errstate(over="ignore", invalid="ignore"):  # times beyond all numbers bound nothing
            other = float(self._residual(x, start, True) @ self._times)
        return Solved(x, np.full(x.size, other / x.size) if other < own.sum() else own)

    def values(self, gain: FloatArray) -> Solved:
        x = self._values(gain)
        with np.errstate(over="ignore", invalid="ignore"):
            other = float(self._residual(x, gain, False).max()) * self._times
        return Solved(x, np.fmin(self.relative_error * x, other))

    def _values(self, gain: FloatArray) -> FloatArray:
        x = np.empty(gain.size)
        solve_values(self._band, self._pivot, np.ascontiguousarray(gain[self._order]), x)
        return self._in_place(x)

    @cached_property
    def _times(self) -> FloatArray:
        return self._values(np.ones(self._order.size)) / (1.0 - min(0.5, self.relative_error))

    def _residual(self, x: FloatArray, b: FloatArray, is_row: bool) -> FloatArray:
        rates = self._chain.rates.T if is_row else self._chain.rates
        own, other = self._chain.outflow * x, rates @ x
        return np.asarray(np.abs(own - other - b) + self._most * _UNIT * (own + other + b))

    def _in_place(self, x: FloatArray) -> FloatArray:
        solution = np.empty(x.size)
        solution[self._order] = x
        if not np.isfinite(solution).all():
            raise MethodError(_TOO_LARGE)
        return solution


class _Factors:
    """Sparse LU, or GMRES with incomplete LU, with residuals that bound the errors.

    M has an inverse without a negative entry, so that t = M^-1 1, the mean times to the exit, bound
    the error of a solution with the residual r: |x - M^-1 b| <= max|r| t, and for flows the sum of
    the errors is at most |r| t. For t itself, M t' >= (1 - d) 1 proves t <= t' / (1 - d).
    """

    def __init__(self, chain: Transitions, method: str) -> None:
        from scipy.sparse import diags_array, linalg

        self.name, self.relative_error = method, math.inf
        # Of columns that are divided by their diagonal, times and sums of rates are alike in size.
        self._diagonal = chain.outflow
        self._matrix = (diags_array(self._diagonal) - chain.rates).tocsc()
        self._sizes = (diags_array(self._diagonal) + chain.rates).tocsr()
        self._most = int(np.diff(chain.rates.indptr).max(initial=0)) + 4
        scaled = (diags_array(1.0 / self._diagonal) @ self._matrix).tocsc()
        self._scaled, self._transposed = scaled, scaled.T.tocsc()
        self._exact = method == "lu"
        try:
            self._factors: Any = (
                linalg.splu(scaled, diag_pivot_thresh=0.0)
                if self._exact
                else linalg.spilu(scaled, drop_tol=1e-5, fill_factor=30.0)
            )
        except (RuntimeError, MemoryError) as error:
            raise MethodError(
                f"sparse factors of {chain.n_states} states could not be made ({error}); choose "
                "another method or a larger tolerance"
            ) from None
        ones = np.ones(chain.n_states)
        times = self._solved(ones, False)
        slack = self._residual(times, ones, False)
        worst = float(slack.max())
        if not worst < 0.5:
            raise MethodError(
                f"method {method!r} has not solved for the mean times to leave "
                f"{chain.n_states} states: the relative residual is {worst:.1e}; choose "
                "method='elimination'"
            )
        self._times = times / (1.0 - worst)

    def flows(self, start: FloatArray) -> Solved:
        x = self._solved(start, True)
        error = float(self._residual(x, start, True) @ self._times)
        return Solved(x, np.full(x.size, error / x.size))

    def values(self, gain: FloatArray) -> Solved:
        x = self._solved(gain, False)
        return Solved(x, float(self._residual(x, gain, False).max()) * self._times)

    def _residual(self, x: FloatArray, b: FloatArray, is_row: bool) -> FloatArray:
        """Return at least the absolute residual, with what its own rounding may hide."""
        matrix = self._matrix.T if is_row else self._matrix
        sizes = self._sizes.T if is_row else self._sizes
        rounding = self._most * _UNIT * (sizes @ np.abs(x) + np.abs(b))
        return np.asarray(np.abs(matrix @ x - b) + rounding)

    def _solved(self, b: FloatArray, is_row: bool) -> FloatArray:
        # x M = b is (x D) (D^-1 M) = b; M x = b is (D^-1 M) x = D^-1 b.
        right = b if is_row else b / self._diagonal
        x = self._once(right, is_row)
        matrix = self._transposed if is_row else self._scaled
        for _ in range(_REFINEMENTS):
            rest = right - matrix @ x
            if float(np.abs(rest).max(initial=0.0)) <= 2.0 * _UNIT * float(np.abs(x).max()):
                break
            x = x + self._once(rest, is_row)
        return np.maximum(x / self._diagonal if is_row else x, 0.0)

    def _once(self, right: FloatArray, is_row: bool) -> FloatArray:
        way = "T" if is_row else "N"
        if self._exact:
            return np.asarray(self._factors.solve(right, way))
        from scipy.sparse import linalg

        n = right.size
        near = linalg.LinearOperator((n, n), matvec=lambda v: self._factors.solve(v, way))
        matrix = self._transposed if is_row else self._scaled
        x, _ = linalg.gmres(matrix, right, M=near, rtol=1e-12, restart=50, maxiter=20)
        return np.asarray(x)
