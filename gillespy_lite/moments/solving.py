"""Solving moment equations in time, closed by themselves or by a closure."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np

from ..errors import Interrupted, SimulationError
from ..network import Network
from ..results import Provenance
from ..run_plan import check_times
from ..version import STREAM_VERSION, __version__
from .closures import CLOSURES, FloatArray, check_closure
from .equations import (
    CentralMeans,
    MomentEquations,
    central_name,
    check_order,
    check_size,
    derive,
    exponents_of_order,
)
from .laws import checked_network, polynomial_laws, reduction_of
from .polynomials import Polynomial
from .results import Moments
from .systems import MomentSystem

__all__ = ["SLACK", "check_tolerances", "integrated", "made_by", "solve_moments"]

_MOST_STEPS = 200_000
# By how much of its largest value so far (or of 1) a variance may be negative as an error of the
# integration. Closures that fail go below by orders of magnitude more.
SLACK = 1e-6
# Part of its terms by which an inequality between higher moments may fail, and the least variance
# at which it is asked: just after a certain start it holds with equality, and what a closure is
# off by there, however little, would break it.
_IMPOSSIBLE, _SMALL_VARIANCE = 1e-2, 1.0


def solve_moments(
    network: Network,
    t: Any,
    *,
    order: int = 2,
    closure: str = "normal",
    rtol: float = 1e-9,
    atol: float = 1e-9,
) -> Moments:
    """Solve the equations of motion of a network's means, covariances and higher moments.

    The equations are those of `moment_equations` for central moments, with the conservation laws
    put in. Where they are closed, as for networks of linear propensities, the solution is exact;
    else a closure stands for what they need, and the solution is an approximation whose error the
    next order shows.

    Parameters
    ----------
    network : Network
        Without variables, events and delays, its propensities polynomials in the counts; rate
        constants may depend on t. The initial state is certain.
    t : float or array_like, shape (n_times,)
        End time (then 101 times from 0), or increasing times; `t[0]` is when the initial state
        holds.
    order : int, optional
        Moments up to this order are solved for, from 2 to 10.
    closure : str, optional
        What is supposed of moments of higher order, where they are needed:

        ``"normal"``
            Cumulants above `order` are 0.
        ``"log-normal"``
            They are those of a log-normal law with the same means and covariances.
        ``"poisson"``
            Cumulants of one species above `order` are its mean, mixed ones are 0.
        ``"zero"``
            Central moments above `order` are 0.
        ``"gamma"``
            Cumulants are those of gamma variables, with parts that pairs of species share.
        ``"derivative-matching"``
            Raw moments are products of powers of lower ones; of order 2 the log-normal closure.
    rtol, atol : float, optional
        Relative and absolute tolerance of each step of the integration (LSODA).

    Returns
    -------
    Moments
        `means` of shape (n_times, n_species) and `covariances` of shape (n_times, n_species,
        n_species), in molecules; `is_exact` says whether a closure was needed.

    Raises
    ------
    ValueError
        If an option makes no sense.
    NetworkError
        If the network has variables, events or delays, or a propensity is no polynomial in the
        counts, naming the reaction.
    SimulationError
        If the closed equations blow up, or give a negative mean or variance, or other moments that
        no law of counts has, which closures do where they do not fit; the message says when, and
        `error.result` holds the times before.

    References
    ----------
    Schnoerr, Sanguinetti, Grima (2015), J. Chem. Phys. 143, 185101, doi:10.1063/1.4934990 (where
    closures fail); Singh and Hespanha (2011), IEEE Trans. Autom. Control 56, 414,
    doi:10.1109/TAC.2010.2088631 (derivative matching); further ones in
    ``gillespy_lite.moments.CLOSURES``.
    """
    started = time.perf_counter()
    checked_network(network, "solve_moments")
    check_order(order, 2)
    check_closure(closure)
    check_tolerances(rtol, atol)
    times = check_times(t)
    laws = polynomial_laws(network, "solve_moments")
    reduction = reduction_of(network, laws.propensities)
    check_size(len(reduction.independent), order)
    equations = derive(network, laws, order, reduction, central=True)
    is_exact = equations.is_closed
    system = MomentSystem(equations, closure)

    def result(rows: FloatArray) -> Moments:
        how = (
            f"exact: the equations of order {order} are closed"
            if is_exact
            else f"approximate: {closure} closure of order {order}"
        )
        options: dict[str, int | float | str | bool | None] = {
            "order": order,
            "closure": None if is_exact else closure,
            "rtol": rtol,
            "atol": atol,
        }
        means, covariances, higher = _all_species(network, equations, rows)
        return Moments(
            times=times[: len(rows)],
            species=network.species_names,
            means=means,
            covariances=covariances,
            order=order,
            is_exact=is_exact,
            closure="" if is_exact else closure,
            higher=higher,
            network=network,
            provenance=made_by(network, "moments", how, options, started),
        )

    what = "the moment equations" if is_exact else f"the {closure} closure of order {order}"
    advice = (
        "a propensity that is negative in some states does this"
        if is_exact
        else "the closure does not fit this network; try another of "
        + ", ".join(one for one in CLOSURES if one != closure)
        + ", another order, or ensemble"
    )
    check = _Check(equations, what, advice)
    rows = integrated(
        system.right_hand_side, times, system.start(), rtol, atol, check, result, what, advice
    )
    return result(rows)


def check_tolerances(rtol: object, atol: object) -> None:
    """Refuse tolerances that are no numbers between 0 and 1."""
    for name, value in (("rtol", rtol), ("atol", atol)):
        if not isinstance(value, int | float) or isinstance(value, bool) or not 0.0 < value < 1.0:
            raise ValueError(f"{name} must be a number between 0 and 1, not {value!r}")


def made_by(
    network: Network,
    method: str,
    how: str,
    options: dict[str, int | float | str | bool | None],
    started: float,
) -> Provenance:
    """Return where a result without random numbers comes from; the duration ends now."""
    return Provenance(
        network=network,
        method=method,
        method_reason=how,
        options=options,
        entropy=None,
        stream_version=STREAM_VERSION,
        package_version=__version__,
        elapsed=time.perf_counter() - started,
        engine="LSODA",
        engine_reason="SciPy",
    )


class _Check:
    """Looks at moments for what no law has: the first problem as text, or nothing."""

    def __init__(self, equations: MomentEquations, what: str, advice: str) -> None:
        self._n = n = len(equations.species)
        self._names = equations.names
        self._pairs = np.zeros((n, n), dtype=np.int64)
        for k, one in enumerate(equations.exponents):
            if sum(one) == 2:
                i = next(i for i, power in enumerate(one) if power)
                j = max(j for j, power in enumerate(one) if power)
                self._pairs[i, j] = self._pairs[j, i] = k
        # Of moments that are means of squares and higher even powers.
        self._even = [
            k for k, one in enumerate(equations.exponents)
            if sum(one) == 1 or all(power % 2 == 0 for power in one)
        ]  # fmt: skip
        self._species = equations.species
        index = {one: k for k, one in enumerate(equations.exponents)}
        # Of each species the places of its own moments.
        self._powers = [
            [
                index[tuple(power if j == i else 0 for j in range(n))]
                for power in range(1, equations.order + 1)
            ]
            for i in range(n)
        ]
        self._largest = np.ones(len(self._even))
        self._variances = [self._even.index(int(self._pairs[i, i])) for i in range(n)]

    def __call__(self, moments: FloatArray) -> str:
        even = moments[self._even]
        self._largest = np.maximum(self._largest, np.abs(even))
        low = np.flatnonzero(even < -SLACK * self._largest)
        if low.size:
            k = self._even[low[0]]
            return f"{self._names[k]} is {moments[k]:.3g}, which is negative"
        if self._n > 1:
            covariance = moments[self._pairs]
            size = np.sqrt(np.maximum(self._largest[self._variances], 1.0))
            smallest = np.linalg.eigvalsh(covariance / np.outer(size, size))[0]
            if smallest < -SLACK * self._n:
                return "the covariances are those of no law (a combination has a negative variance)"
        return self._impossible(moments)

    def _impossible(self, moments: FloatArray) -> str:
        """Look at what moments of one count that is never negative obey.

        E[X] E[X^3] >= E[X^2]^2 by Cauchy and Schwarz, and Pearson's inequality between skewness and
        kurtosis, Var M4 >= M3^2 + Var^3.
        """
        for i, places in enumerate(self._powers):
            if len(places) < 3:
                break
            mean, variance, third = moments[places[:3]]
            if variance < _SMALL_VARIANCE:
                continue
            terms = [mean**2 * variance, mean * third, -(variance**2)]
            if len(places) > 3 and sum(terms) >= -_IMPOSSIBLE * sum(map(abs, terms)):
                terms = [variance * moments[places[3]], -(third**2), -(variance**3)]
            if sum(terms) < -_IMPOSSIBLE * sum(map(abs, terms)):
                shown = ", ".join(f"{self._names[k]} = {moments[k]:.4g}" for k in places[:4])
                return f"no count of {self._species[i]} has these moments ({shown})"
        return ""


def integrated(
    right_hand_side: Callable[[float, FloatArray], FloatArray],
    times: FloatArray,
    start: FloatArray,
    rtol: float,
    atol: float,
    check: Callable[[FloatArray], str],
    result: Callable[[FloatArray], Any],
    what: str,
    advice: str,
) -> FloatArray:
    """Integrate from the first of `times` to the last and return a row for each.

    Parameters
    ----------
    right_hand_side : callable
        Time derivatives at a time and a point.
    times : ndarray, shape (n_times,)
        Increasing.
    start : ndarray, shape (n,)
        At the first time.
    rtol, atol : float
        Of each step.
    check : callable
        Says what is wrong with a point, or nothing; asked after every step.
    result : callable
        Of the rows so far; goes into an error.
    what, advice : str
        Subject and end of messages.

    Returns
    -------
    ndarray, shape (n_times, n)

    Raises
    ------
    SimulationError
        If the integration fails or `check` finds something.
    Interrupted
        On Ctrl-C.
    """
    from scipy.integrate import LSODA

    rows = np.empty((times.size, start.size))
    rows[0], done = start, 1

    def stop(message: str, at: float) -> SimulationError:
        return SimulationError(
            f"{what} failed at t = {at:.6g}: {message}; {advice}", result(rows[:done].copy())
        )

    if times.size == 1:
        return rows
    try:
        with np.errstate(all="ignore"):
            slope = right_hand_side(float(times[0]), start)
            if not np.isfinite(slope).all():
                raise stop("a time derivative is infinite or no number", float(times[0]))
            solver = LSODA(
                right_hand_side, float(times[0]), start, float(times[-1]), rtol=rtol, atol=atol
            )
            n_steps = 0
            while str(solver.status) == "running":
                message = solver.step()
                n_steps += 1
                here = float(solver.t)
                if str(solver.status) == "failed" or not np.isfinite(solver.y).all():
                    raise stop(f"the moments grow without bound ({message or 'not finite'})", here)
                problem = check(solver.y)
                if problem:
                    raise stop(problem, here)
                if done < times.size and times[done] <= here:
                    interpolant = solver.dense_output()
                    while done < times.size and times[done] <= here:
                        at = times[done]
                        rows[done] = solver.y if at == here else interpolant(at)
                        done += 1
                if n_steps >= _MOST_STEPS and solver.status == "running":
                    raise stop(f"{_MOST_STEPS:,} steps did not lead further", here)
    except KeyboardInterrupt:
        raise Interrupted(
            "interrupted; the times so far are in the error's .result", result(rows[:done].copy())
        ) from None
    return rows


def _all_species(
    network: Network, equations: MomentEquations, rows: FloatArray
) -> tuple[FloatArray, FloatArray, dict[str, FloatArray]]:
    """Return means, covariances and higher central moments of all species."""
    independent = equations.species
    values: dict[str, Any] = {name: rows[:, k] for k, name in enumerate(equations.names)}
    n_times, names = len(rows), network.species_names
    n = len(names)
    central = CentralMeans(independent)
    laws = {name: equations.dependent.get(name, Polynomial.symbol(name)) for name in names}
    around = {name: central.about_means(law) for name, law in laws.items()}
    mean_of = {name: central.mean(one) for name, one in around.items()}
    deviation = {name: around[name] - mean_of[name] for name in names}

    def over_time(polynomial: Polynomial) -> FloatArray:
        return np.broadcast_to(polynomial.evaluate(values), (n_times,))

    means = np.stack([over_time(mean_of[name]) for name in names], axis=-1)
    covariances = np.empty((n_times, n, n))
    higher = {}
    for order in range(2, equations.order + 1):
        for one in exponents_of_order(n, order):
            text = central_name(names, one)
            there = [i for i, power in enumerate(one) if power]
            if all(names[i] in independent for i in there):
                cells = values[central_name(
                    independent, tuple(one[names.index(name)] for name in independent)
                )]  # fmt: skip
            else:
                product = Polynomial.number(1)
                for i in there:
                    product = product * deviation[names[i]] ** one[i]
                cells = over_time(central.mean(product))
            if order == 2:
                i, j = there[0], there[-1]
                covariances[:, i, j] = covariances[:, j, i] = cells
            else:
                higher[text] = np.array(cells)
    return means, covariances, higher
