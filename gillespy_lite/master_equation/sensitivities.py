"""Derivatives of probabilities and moments to parameters, exact for the law that is solved for."""

from __future__ import annotations

import time
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import IncompleteWarning, Interrupted
from ..expressions import Expression
from ..network import Network
from ..progress import Progress, reporter
from ..results import Distribution, Provenance
from ..run_plan import check_timeout, check_times, check_whole
from ..version import STREAM_VERSION, __version__
from .arguments import check_tolerance, initial_law
from .sensitivity_run import Solved, Solver
from .slopes import check_parameters, refuse_moving_start
from .state_space import FloatArray

if TYPE_CHECKING:
    import xarray
    from matplotlib.axes import Axes

    from .information import FisherInformation

__all__ = ["Sensitivities", "distribution_of", "master_equation_sensitivities", "solver_for"]

# Of what a name may be: whatever `Distribution.values_at` takes.
_Name = Any


def master_equation_sensitivities(
    network: Network,
    t: Any,
    parameters: Any = None,
    *,
    initial: Any = None,
    tolerance: float = 1e-10,
    max_states: int | None = None,
    timeout: float | None = None,
    progress: bool | Progress = False,
) -> Sensitivities:
    """Return the law of a network over time with its derivatives to parameters.

    The master equation p' = A p and s' = A s + (dA/dtheta) p, with s = dp/dtheta, are solved as one
    system on one set of states, by uniformisation. Rate laws are differentiated as expressions,
    whatever they are; at a jump or a kink of one, it is the slope of one side.

    Parameters
    ----------
    network : Network
        Without events, and without rates that depend on t.
    t : float or array_like, shape (n_times,)
        End time (then 101 times from 0), or increasing times; `t[0]` is when the initial law holds.
    parameters : str, Parameter or sequence of them, optional
        By default all parameters that a rate depends on. Parameters that are derived from others
        are followed through their definitions.
    initial : mapping or Distribution, optional
        Where it starts, as in `solve_master_equation`; it does not change with parameters.
    tolerance : float, optional
        What the absolute errors of all probabilities may add up to, at each time, beside those of
        the initial law. Those of the derivatives come out accordingly, and
        `Sensitivities.error_estimate` says how large.
    max_states : int, optional
        Never keep more states; by default as many as half of the memory holds.
    timeout : float, optional
        Seconds after which the run stops and returns the times it has, with an
        `IncompleteWarning`.
    progress : bool or callable, optional
        True shows a bar; a callable is called as ``progress(done, total)`` in units of time.

    Returns
    -------
    Sensitivities
        Derivatives of probabilities, means, moments; Fisher information.

    Raises
    ------
    ValueError, TypeError
        If an argument makes no sense; the message says which and what to do.
    NetworkError
        If a name is no parameter, or follows its own definition.
    MethodError
        If the network has events, delays, variables or rates that depend on t; if an initial count
        depends on one of the parameters; if a derivative of a rate is not finite.
    SimulationError
        If a propensity is negative or not finite in a state that is reached.
    Interrupted
        On Ctrl-C; `error.result` has what was there.

    References
    ----------
    Plyasunov and Arkin (2007), J. Comput. Phys. 221, 724, doi:10.1016/j.jcp.2006.06.047. Munsky and
    Khammash (2006), J. Chem. Phys. 124, 044104, doi:10.1063/1.2145882.
    """
    started = time.perf_counter()
    times = check_times(t)
    solver = solver_for(network, times, parameters, initial, tolerance, max_states)
    seconds = check_timeout(timeout)
    report = reporter(progress, float(times[-1] - times[0]), "master_equation_sensitivities")
    solved = solver.solve(seconds=seconds, report=report)
    result = Sensitivities(
        law=distribution_of(solver, solved, solver.network, started, max_states),
        parameters=solver.names,
        derivatives=solved.rows[:, 1:],
        error_estimate=solved.error,
    )
    if solved.stopped == "interrupt":
        raise Interrupted("interrupted; what is there is in the error's .result", result)
    if solved.stopped is None:
        report(float(times[-1] - times[0]))
    else:
        warnings.warn(_complaint(result, solver), IncompleteWarning, stacklevel=2)
    return result


def solver_for(
    network: Any,
    times: FloatArray,
    parameters: Any,
    initial: Any,
    tolerance: float,
    max_states: int | None,
) -> Solver:
    """Check what is asked for and return what solves it."""
    if not isinstance(network, Network):
        raise TypeError(
            f"the first argument must be a Network, not {type(network).__name__}; make one from "
            "text with Network.parse(text), from a file with Network.read(path)"
        )
    allowed = check_tolerance(tolerance)
    most = None if max_states is None else check_whole(max_states, "max_states", 1)
    names = check_parameters(network, parameters)
    law = initial_law(network, initial)
    if initial is None or len(law.states) == 1:
        refuse_moving_start(law.network, names)
    return Solver(
        law.network,
        names,
        times,
        law.states,
        law.probabilities,
        tolerance=allowed,
        max_states=most,
        excess=law.excess,
    )


def distribution_of(
    solver: Solver, solved: Solved, network: Network, started: float, max_states: int | None
) -> Distribution:
    """Return the probabilities that were solved for as a `Distribution`."""
    n_times, _, n = solved.rows.shape
    return Distribution(
        times=solver.times[:n_times].copy(),
        error_bound=solved.bound,
        excess_bound=solved.excess,
        states=solved.space.states.copy(),
        set_start=np.array([0, n], dtype=np.int64),
        set_at=np.zeros(n_times, dtype=np.int64),
        probabilities=solved.rows[:, 0].ravel(),
        start=np.arange(n_times + 1, dtype=np.int64) * n,
        species=network.species_names,
        observables=(),
        tolerance=solver.tolerance,
        network=network,
        provenance=Provenance(
            network=network,
            method="uniformisation",
            method_reason=f"with derivatives to {', '.join(solver.names)}",
            options={"tolerance": solver.tolerance, "max_states": max_states},
            entropy=None,
            stream_version=STREAM_VERSION,
            package_version=__version__,
            elapsed=time.perf_counter() - started,
        ),
        end_time=solved.end_time,
        stopped=solved.stopped,
    )


@dataclass(frozen=True, eq=False, repr=False)
class Sensitivities:
    """The law of a network over time and its derivatives to parameters.

    Wherever a method takes ``t``, it is one of the times, by default the last; a ``name`` is that
    of a species or of an observable, or text such as ``"A + 2*B"``. The last axis of what methods
    return is that of the parameters, in the unit of what is differentiated per unit of the
    parameter; times ``values`` it is the derivative to the parameter's logarithm.

    Attributes
    ----------
    law : Distribution
        The probabilities, all on one set of states, with their error bound.
    parameters : tuple of str
        What was differentiated by.
    derivatives : ndarray, shape (n_times, n_parameters, n_states), float64
        Of the probability of each of ``law.states``.
    error_estimate : ndarray, shape (n_times, n_parameters), float64
        What the absolute errors of all derivatives add up to at most, if outside of the set of
        states the propensities change no faster with a parameter than at its fastest within:
        proven for a set that nothing flows out of, an estimate else.
    """

    law: Distribution
    parameters: tuple[str, ...]
    derivatives: FloatArray
    error_estimate: FloatArray

    def __post_init__(self) -> None:
        """Make the arrays read-only."""
        for name in ("derivatives", "error_estimate"):
            view = getattr(self, name).view()
            view.flags.writeable = False
            object.__setattr__(self, name, view)

    # ---- What it is about -----------------------------------------------------------------------

    @property
    def times(self) -> FloatArray:
        """Times, (n_times,), in the time unit of the rate constants."""
        return self.law.times

    @property
    def n_times(self) -> int:
        """Number of times."""
        return self.law.n_times

    @property
    def network(self) -> Network:
        """What was solved."""
        return self.law.network

    @property
    def provenance(self) -> Provenance:
        """How it was solved."""
        return self.law.provenance

    @property
    def stopped(self) -> str | None:
        """Why it is not what was asked for, as of a `Distribution`; else None."""
        return self.law.stopped

    @property
    def values(self) -> FloatArray:
        """Values of the parameters, (n_parameters,)."""
        known = dict(
            zip(self.network.parameter_names, self.network.parameter_values.tolist(), strict=True)
        )
        return np.array([known[name] for name in self.parameters])

    def at(self, t: float | None = None) -> FloatArray:
        """Return the derivatives of the probabilities of ``law.states``, (n_states, n_parameters).

        Their sum over the states is 0 but for what flowed out of the set.
        """
        found: FloatArray = self.derivatives[self.law._row(t)].T
        return found

    # ---- Laws -----------------------------------------------------------------------------------

    def probability(
        self, what: str | Expression | Mapping[str, int], t: float | None = None
    ) -> FloatArray:
        """Return the derivatives of the probability of a condition or a state, (n_parameters,).

        Parameters
        ----------
        what : str, Expression or mapping
            As for `Distribution.probability`.
        t : float, optional
            One of the times, by default the last.
        """
        if isinstance(what, Mapping):
            chosen = np.ones(self.law.n_states_at(t), dtype=bool)
            for name, count in what.items():
                chosen &= self.law.values_at(name, t) == count
        else:
            chosen = self.law.values_at(what, t) != 0.0
        return np.asarray(self.at(t)[chosen].sum(axis=0))

    def joint(
        self, names: Sequence[_Name], t: float | None = None
    ) -> tuple[FloatArray, FloatArray, FloatArray]:
        """Return the joint law of some names and its derivatives.

        Returns
        -------
        values : ndarray, shape (n, n_names), float64
            The different values, in lexicographic order.
        probabilities : ndarray, shape (n,), float64
        derivatives : ndarray, shape (n, n_parameters), float64
        """
        columns = np.stack([self.law.values_at(name, t) for name in names], axis=-1)
        values, inverse = np.unique(columns, axis=0, return_inverse=True)
        sums = _summed(inverse.ravel(), self.law.probabilities_at(t)[:, None], len(values))
        slopes = _summed(inverse.ravel(), self.at(t), len(values))
        return values, sums[:, 0], slopes

    def marginal(self, name: _Name, t: float | None = None) -> FloatArray:
        """Return the derivatives of the probabilities of the counts 0, 1, ... of a name.

        Returns
        -------
        ndarray, shape (largest + 1, n_parameters), float64
            In the order of `Distribution.marginal`.
        """
        size = self.law.marginal(name, t).size
        counts = self.law.values_at(name, t).astype(np.int64)
        return _summed(counts, self.at(t), size)

    # ---- Moments --------------------------------------------------------------------------------

    def mean(self, name: _Name | None = None) -> FloatArray:
        """Return the derivatives of the mean at each time.

        Returns
        -------
        ndarray, shape (n_times, n_parameters), or (n_times, n_species, n_parameters)
            The latter without a name.
        """
        if name is None:
            return np.stack([self.mean(one) for one in self.law.species], axis=1)
        return self.moment(name, 1)

    def moment(self, name: _Name, order: int, *, central: bool = False) -> FloatArray:
        """Return the derivatives of the mean of a power, about the mean if `central`.

        Returns
        -------
        ndarray, shape (n_times, n_parameters)
        """
        order = check_whole(order, "order", 0)
        found = np.empty((self.n_times, len(self.parameters)))
        for row, t in enumerate(self.times):
            values, p, s = self.law.values_at(name, t), self.law.probabilities_at(t), self.at(t)
            total, changes = float(p.sum()), s.sum(axis=0)

            def derivative(f: FloatArray) -> FloatArray:
                # Of sum(f p) / sum(p), which `Distribution` gives.
                mean = float(p @ f) / total  # noqa: B023
                moved: FloatArray = (f @ s - mean * changes) / total  # noqa: B023
                return moved

            if not central:
                found[row] = derivative(values**order)
                continue
            away = values - float(p @ values) / total
            found[row] = derivative(away**order)
            if order > 0:
                below = float(p @ away ** (order - 1)) / total
                found[row] -= order * below * derivative(values)
        return found

    def variance(self, name: _Name) -> FloatArray:
        """Return the derivatives of the variance at each time, (n_times, n_parameters)."""
        return self.moment(name, 2, central=True)

    def std(self, name: _Name) -> FloatArray:
        """Return the derivatives of the standard deviation, (n_times, n_parameters).

        nan where there is no spread, because a root has no slope at 0.
        """
        spread = np.sqrt(self.law.moment(name, 2, central=True))
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.where(
                spread[:, None] > 0.0, 0.5 * self.variance(name) / spread[:, None], np.nan
            )

    # ---- Information ----------------------------------------------------------------------------

    def fisher_information(self, observed: Any = None, n: Any = 1) -> FisherInformation:
        """Return what independent cells, each observed at one time, say about the parameters.

        Parameters
        ----------
        observed : str, or sequence of str, Species, Observable, optional
            What is seen of a cell; by default all species.
        n : int or sequence of int, shape (n_times,), optional
            Cells at each time.

        Returns
        -------
        FisherInformation
        """
        from .information import information_of

        return information_of(self, observed, n)

    # ---- Other forms ----------------------------------------------------------------------------

    def to_xarray(self) -> xarray.Dataset:
        """Return law and derivatives as an xarray data set; without xarray, `MissingExtraError`.

        Returns
        -------
        xarray.Dataset
            That of `Distribution.to_xarray`, with ``derivative`` (time, parameter, state) and
            ``derivative_error`` (time, parameter).
        """
        data = self.law.to_xarray()
        order = np.lexsort(self.law.states.T[::-1])
        return data.assign_coords(parameter=list(self.parameters)).assign(
            derivative=(("time", "parameter", "state"), self.derivatives[:, :, order]),
            derivative_error=(("time", "parameter"), self.error_estimate),
        )

    def plot(self, name: _Name | None = None, *, ax: Axes | None = None) -> Axes:
        """Draw how the mean of a name changes with each parameter, over time.

        Each line is a parameter's value times the derivative to it: molecules per factor of e.

        Parameters
        ----------
        name : str, Species or Observable, optional
            May be left out if there is one species.
        ax : matplotlib Axes, optional
            Where to draw; by default a new figure.
        """
        from ..plotting.snapshots import plot_sensitivities

        return plot_sensitivities(self, name, ax=ax)

    def summary(self) -> str:
        """Return a plain-text table of the last means and their derivatives."""
        lines = [
            repr(self)[1:-1],
            "",
            "derivatives of the last mean, times the parameter's value",
        ]
        means, slopes = self.law.mean(), self.mean() * self.values
        # Less than the error is not told from 0.
        least = self.error_estimate[-1] * np.abs(self.values)
        shown = np.where(np.abs(slopes[-1]) > least, slopes[-1], 0.0)
        header = ["", "mean", *self.parameters]
        rows = [
            [name, f"{means[-1, i]:.6g}", *(f"{x:.6g}" for x in shown[i])]
            for i, name in enumerate(self.law.species)
        ]
        widths = [max(map(len, column)) for column in zip(header, *rows, strict=True)]
        for row in (header, *rows):
            cells = [row[0].ljust(widths[0])]
            cells += [cell.rjust(w) for cell, w in zip(row[1:], widths[1:], strict=True)]
            lines.append("  ".join(cells).rstrip())
        return "\n".join(lines)

    def __repr__(self) -> str:
        """Return one line: what, how much, and how sure."""
        error = float(self.error_estimate.max(initial=0.0))
        cut = f", stopped by {self.stopped}" if self.stopped else ""
        return (
            f"<Sensitivities to {', '.join(self.parameters)}: {self.n_times} times, "
            f"{self.derivatives.shape[-1]} states, error about {error:.2g}{cut}>"
        )


def _summed(place: Any, values: FloatArray, n: int) -> FloatArray:
    """Return the sums of rows that share a place, (n, n_columns)."""
    sums = [np.bincount(place, weights=column, minlength=n) for column in values.T]
    return np.stack(sums, axis=-1) if sums else np.zeros((n, 0))


def _complaint(result: Sensitivities, solver: Solver) -> str:
    if result.stopped == "timeout":
        return (
            f"the time limit ran out at t = {result.law.end_time:g}; law and derivatives are there "
            f"at {result.n_times} of the times"
        )
    bound = f"the error bound is {result.law.error_bound[-1]:.3g}, not {solver.tolerance:.3g}"
    if result.stopped == "rounding":
        return (
            f"{bound}: rounding adds up over so many jumps; ask for a larger tolerance, or a "
            "shorter time"
        )
    return (
        f"{bound}: the probability spreads over more than {solver.max_states} states "
        f"({result.stopped}); ask for a larger tolerance, or a shorter time"
    )
