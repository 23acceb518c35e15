"""What snapshots of cells say about parameters: the Fisher information of exact laws."""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import IdentifiabilityWarning, IncompleteWarning, Interrupted
from ..progress import Progress
from ..run_plan import check_times, check_whole
from .observation import Observation, group_states, summed
from .state_space import FloatArray

if TYPE_CHECKING:
    from ..network import Network
    from ..ode_rnn.uncertainty import FlatDirection
    from .sensitivities import Sensitivities

__all__ = ["FisherInformation", "fisher_information", "information_of", "score_products"]

# An eigenvalue of the information, its diagonal at 1, below this is rounding: nothing is known.
_FLAT = 1e-10


def fisher_information(
    network: Network,
    times: Any,
    parameters: Any = None,
    *,
    observed: Any = None,
    n: Any = 1,
    start: float = 0.0,
    initial: Any = None,
    tolerance: float = 1e-10,
    max_states: int | None = None,
    timeout: float | None = None,
    progress: bool | Progress = False,
) -> FisherInformation:
    """Return what snapshots of independent cells say about the parameters of a network.

    At each time some cells are looked at, each of them once. The information is the sum over times
    of n times the sum over what may be seen of (dp/dtheta)(dp/dtheta)'/p, with the exact law p
    of the master equation. Its inverse is what the covariance of estimates is at least (Cramer and
    Rao), and what that of `fit_snapshots` tends to.

    Parameters
    ----------
    network : Network
        Without events, and without rates that depend on t.
    times : float or sequence of float
        When cells are looked at; increasing.
    parameters : str, Parameter or sequence of them, optional
        By default all parameters that a rate depends on.
    observed : str, or sequence of str, Species, Observable, optional
        What is seen of a cell, jointly; by default all species. The rest is summed over.
    n : int or sequence of int, optional
        Cells at each time.
    start : float, optional
        When the initial law holds.
    initial, tolerance, max_states, timeout, progress
        As in `master_equation_sensitivities`.

    Returns
    -------
    FisherInformation
        Matrix, covariance, standard errors. If a combination of parameters leaves all that is seen
        as it is, an `IdentifiabilityWarning` names it.

    Raises
    ------
    ValueError, TypeError, MethodError, SimulationError, Interrupted
        As in `master_equation_sensitivities`.

    References
    ----------
    Komorowski, Costa, Rand and Stumpf (2011), PNAS 108, 8645, doi:10.1073/pnas.1015814108 (by the
    linear noise approximation). Fox and Munsky (2019), PLoS Comput. Biol. 15, e1006365,
    doi:10.1371/journal.pcbi.1006365 (by finite state projection).
    """
    from .sensitivities import master_equation_sensitivities

    seen, grid = snapshot_times(times, start)
    with warnings.catch_warnings():
        warnings.simplefilter("error", IncompleteWarning)
        try:
            found = master_equation_sensitivities(
                *(network, grid, parameters),
                initial=initial,
                tolerance=tolerance,
                max_states=max_states,
                timeout=timeout,
                progress=progress,
            )
        except IncompleteWarning as cut:
            raise ValueError(f"there is no Fisher information: {cut}") from None
        except Interrupted:
            raise Interrupted("interrupted; there is no Fisher information yet") from None
    result = information_of(found, observed, n, np.searchsorted(grid, seen))
    for flat in result.identifiability:
        warnings.warn(str(flat), IdentifiabilityWarning, stacklevel=2)
    return result


def snapshot_times(times: Any, start: float) -> tuple[FloatArray, FloatArray]:
    """Return the times of snapshots, and the times to solve for, which begin at `start`."""
    seen = check_times(np.atleast_1d(np.asarray(times)))
    start = float(check_times([start])[0])
    if seen[0] < start:
        raise ValueError(
            f"the first snapshot, at t = {seen[0]:g}, is before start = {start:g}, when the "
            "initial law holds"
        )
    return seen, seen if seen[0] == start else np.concatenate([[start], seen])


def score_products(
    observation: Observation, network: Network, states: Any, rows: FloatArray, time: float
) -> FloatArray:
    """Return the Fisher information of one cell at one time, (n_parameters, n_parameters).

    `rows` (1 + n_parameters, n_states): probabilities of the states and their derivatives.
    """
    values, place = group_states(observation.columns(network, states, time))
    law = summed(place, rows, len(values))
    return products_of(law)


def products_of(law: FloatArray) -> FloatArray:
    """Return the information from (1 + n_parameters, n) probabilities and derivatives."""
    there = law[0] > 0.0
    p, s = law[0, there], law[1:, there]
    return np.asarray((s / p) @ s.T)


def information_of(
    sensitivities: Sensitivities, observed: Any, n: Any, rows: Any = None
) -> FisherInformation:
    """Return the information of cells seen at some of the times, by their rows."""
    law, network = sensitivities.law, sensitivities.network
    chosen = np.arange(law.n_times) if rows is None else np.asarray(rows)
    observation = Observation(network, observed, sensitivities.parameters)
    n_cells = _cells(n, chosen.size)
    by_time = np.empty((chosen.size, len(sensitivities.parameters), len(sensitivities.parameters)))
    for k, row in enumerate(chosen):
        both = np.vstack(
            [law.probabilities_at(law.times[row])[None], sensitivities.derivatives[row]]
        )
        t = float(law.times[row])
        by_time[k] = score_products(observation, network, law.states_at(t), both, t)
    return FisherInformation(
        parameters=sensitivities.parameters,
        values=sensitivities.values,
        times=law.times[chosen].copy(),
        n=n_cells,
        observed=observation.names,
        by_time=by_time,
    )


def _cells(n: Any, n_times: int) -> FloatArray:
    given = [n] * n_times if np.ndim(n) == 0 else list(n)
    if len(given) != n_times:
        raise ValueError(
            f"n has {len(given)} entries, and there are {n_times} times; give one number, or one "
            "for each time"
        )
    return np.array([check_whole(one, "n", 0) for one in given], dtype=np.float64)


@dataclass(frozen=True, eq=False, repr=False)
class FisherInformation:
    """What snapshots of independent cells say about parameters.

    Attributes
    ----------
    parameters : tuple of str
        The parameters.
    values : ndarray, shape (n_parameters,), float64
        The values at which the information holds.
    times : ndarray, shape (n_times,), float64
        When cells are looked at.
    n : ndarray, shape (n_times,), float64
        How many.
    observed : tuple of str
        What is seen of each, jointly.
    by_time : ndarray, shape (n_times, n_parameters, n_parameters), float64
        The information of one cell at each time, per unit of either parameter.
    """

    parameters: tuple[str, ...]
    values: FloatArray
    times: FloatArray
    n: FloatArray
    observed: tuple[str, ...]
    by_time: FloatArray

    @property
    def matrix(self) -> FloatArray:
        """The information of all cells, (n_parameters, n_parameters)."""
        return np.asarray(np.tensordot(self.n, self.by_time, axes=1))

    @property
    def relative(self) -> FloatArray:
        """The information about the logarithms of the parameters."""
        return self.matrix * np.outer(self.values, self.values)

    @cached_property
    def _decomposed(self) -> tuple[FloatArray, FloatArray, FloatArray]:
        """Eigenvalues and eigenvectors of the information with its diagonal at 1, and its roots."""
        matrix = self.matrix
        size = np.sqrt(np.diag(matrix))
        size = np.where(size > 0.0, size, 1.0)
        values, vectors = np.linalg.eigh(matrix / np.outer(size, size))
        return values, vectors, size

    @property
    def covariance(self) -> FloatArray:
        """The inverse: what the covariance of estimates is at least; inf for what is not known.

        (n_parameters, n_parameters).
        """
        values, vectors, size = self._decomposed
        flat = values <= _FLAT
        inner = vectors[:, ~flat]
        covariance = (inner / values[~flat]) @ inner.T / np.outer(size, size)
        touched = (np.abs(vectors[:, flat]) > 1e-6).any(axis=1)
        covariance[np.ix_(touched, touched)] = np.nan
        covariance[touched, touched] = np.inf
        return np.asarray(covariance)

    @property
    def standard_errors(self) -> dict[str, float]:
        """Roots of the covariance's diagonal, in the units of the parameters."""
        errors = np.sqrt(np.diag(self.covariance))
        return dict(zip(self.parameters, errors.tolist(), strict=True))

    @property
    def correlation(self) -> FloatArray:
        """Correlation of estimates, (n_parameters, n_parameters)."""
        covariance = self.covariance
        errors = np.sqrt(np.diag(covariance))
        with np.errstate(invalid="ignore"):
            return np.asarray(covariance / np.outer(errors, errors))

    @property
    def identifiability(self) -> tuple[FlatDirection, ...]:
        """Combinations of parameters that leave all that is seen as it is."""
        from ..ode_rnn.uncertainty import FlatDirection

        values, vectors, size = self._decomposed
        found = []
        for vector in vectors[:, values <= _FLAT].T:
            # In units of the parameters' sizes, so that the loadings are exponents.
            loading = vector / size / np.where(self.values == 0.0, 1.0, np.abs(self.values))
            largest = float(np.abs(loading).max())
            loading = loading / loading[np.flatnonzero(np.abs(loading) > 0.999 * largest)[0]]
            named = {
                name: float(x)
                for name, x in zip(self.parameters, loading, strict=True)
                if abs(x) > 1e-6
            }
            found.append(FlatDirection(named, math.inf, True))
        return tuple(found)

    def summary(self) -> str:
        """Return a plain-text table of the parameters with their standard errors."""
        lines = [repr(self)[1:-1], ""]
        header = ("", "value", "standard error", "relative")
        rows = [
            (name, f"{value:.6g}", f"{error:.3g}", f"{error / abs(value):.2%}" if value else "")
            for (name, error), value in zip(
                self.standard_errors.items(), self.values.tolist(), strict=True
            )
        ]
        widths = [max(map(len, column)) for column in zip(header, *rows, strict=True)]
        for row in (header, *rows):
            cells = [cell.rjust(w) for cell, w in zip(row[1:], widths[1:], strict=True)]
            lines.append("  ".join([row[0].ljust(widths[0]), *cells]).rstrip())
        return "\n".join([*lines, *(str(one) for one in self.identifiability)])

    def __repr__(self) -> str:
        """Return one line: of what, about what."""
        cells = f"{self.n.sum():g} cells at {self.times.size} times"
        return (
            f"<FisherInformation of {cells}, seen {', '.join(self.observed)}, about "
            f"{', '.join(self.parameters)}>"
        )
