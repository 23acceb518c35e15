"""The linear noise approximation: Gaussian fluctuations about a macroscopic path.

About a path x' = N a(x), with N the stoichiometry matrix and a the rates, the covariance obeys
C' = J C + C J^T + N diag(a) N^T, where J is the Jacobian of N a (van Kampen 2007, chapter X).
Counts are kept as counts: for a volume, rates per molecule hold it already.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import ArrayLike

from ..compilation import compile_expressions, jumping_parts
from ..errors import NetworkError, SimulationError
from ..kernels.event_handling import fill_values
from ..mass_action import propensity_expression, rate_expression
from ..network import Network
from ..results import Provenance
from ..results.columns import name_text
from ..results.recorded import read_only
from ..results.summaries import listed
from ..run_plan import check_times
from .laws import checked_network
from .results import FloatArray, LinearNoise, Name, observable_slopes
from .solving import SLACK, check_tolerances, integrated, made_by

__all__ = ["Macroscopic", "StationaryNoise", "linear_noise", "stationary_noise"]

Macroscopic = Literal["rate equations", "propensities"]

# Covariances of n species are n (n + 1) / 2 unknowns of a stiff solver with a dense Jacobian.
MAX_SPECIES = 100
# Oscillations go on for ever: after so many steps of the solver nothing else is expected.
_MOST_STEPS, _STEPS_BETWEEN_TRIALS = 10_000, 20
# Eigenvectors worse than this lose too many digits of what is expanded in them.
_WELL_CONDITIONED = 1e6
# Largest amount, and longest time in units of the fastest relative change at the start.
_LARGEST_COUNT, _LONGEST = 1e12, 1e9


class _Fluctuations:
    """Drift, its Jacobian and the diffusion matrix of a network at a point."""

    def __init__(self, network: Network, macroscopic: str, what: str) -> None:
        rate_of = rate_expression if macroscopic == "rate equations" else propensity_expression
        rates = [network.expanded(rate_of(network, j)) for j in range(network.n_reactions)]
        names = network.species_names
        for part in jumping_parts(rates, {*names, "t"}):
            raise NetworkError(
                f"{what} needs smooth rates, and {part} jumps; write it as a smooth law such as "
                "hill(...), or sample with ensemble"
            )
        self.is_time_dependent = any("t" in rate.symbols() for rate in rates)
        slopes, rows, columns = [], [], []
        for j, rate in enumerate(rates):
            for i, name in enumerate(names):
                if name in rate.symbols():
                    slopes.append(rate.derivative(name))
                    rows.append(j)
                    columns.append(i)
        self._programs, depth = compile_expressions(network, [*rates, *slopes])
        self._stack = np.zeros(max(1, depth))
        self._state = np.ones(len(names) + 1)
        self._parameters = np.array(network.parameter_values, dtype=np.float64)
        self._values = np.zeros(len(rates) + len(slopes))
        self._slopes = np.zeros((len(rates), len(names)))
        self._place = np.array(rows, dtype=np.int64), np.array(columns, dtype=np.int64)
        self.change = np.array(network.stoichiometry_matrix, dtype=np.float64)
        self.n_rates = len(rates)

    def fill(self, at: float, counts: FloatArray) -> FloatArray:
        """Compute rates and slopes; return the rates, (n_reactions,), a view."""
        self._state[:-1] = counts
        fill_values(
            self._programs, self._state, self._parameters, float(at), self._stack, self._values
        )
        self._slopes[self._place] = self._values[self.n_rates :]
        return self._values[: self.n_rates]

    def parts(self, at: float, counts: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
        """Return drift (n,), Jacobian (n, n) and diffusion matrix (n, n)."""
        rates = self.fill(at, counts)
        change = self.change
        return change @ rates, change @ self._slopes, (change * rates) @ change.T


def _checked(network: Network, macroscopic: object, what: str) -> _Fluctuations:
    checked_network(network, what)
    if macroscopic not in get_args(Macroscopic):
        raise ValueError(
            "macroscopic must be 'rate equations' (c*P^2/2 for 2 P -> Q @ c) or 'propensities' "
            f"(c*P*(P - 1)/2), not {macroscopic!r}"
        )
    if not network.n_species:
        raise NetworkError(f"{what} is about species, and the network has none")
    if network.n_species > MAX_SPECIES:
        raise NetworkError(
            f"{what} integrates the covariances of all pairs of species, of at most "
            f"{MAX_SPECIES} species, and the network has {network.n_species}; sample with "
            "ensemble(..., statistics=True)"
        )
    return _Fluctuations(network, str(macroscopic), what)


def linear_noise(
    network: Network,
    t: Any,
    *,
    macroscopic: Macroscopic = "rate equations",
    rtol: float = 1e-9,
    atol: float = 1e-9,
) -> LinearNoise:
    """Solve the linear noise approximation: a macroscopic path and Gaussian fluctuations about it.

    Good where counts are large and the path stays away from unstable states. Exact in mean and
    covariance where all propensities are linear.

    Parameters
    ----------
    network : Network
        Without variables, events and delays; any smooth rate laws.
    t : float or array_like, shape (n_times,)
        End time (then 101 times from 0), or increasing times; `t[0]` is when the initial state
        holds.
    macroscopic : {"rate equations", "propensities"}, optional
        What the path follows, and what is linearised about it. For ``2 P -> Q @ c`` the rate
        equations have c*P^2/2, the limit of large counts and van Kampen's choice; the propensities
        c*P*(P - 1)/2, taken at real amounts, keep a part of what the limit leaves out.
    rtol, atol : float, optional
        Relative and absolute tolerance of each step of the integration (LSODA).

    Returns
    -------
    LinearNoise
        `means` of shape (n_times, n_species) and `covariances` of shape (n_times, n_species,
        n_species), in molecules. Observables are linearised about the path.

    Raises
    ------
    ValueError
        If an option makes no sense.
    NetworkError
        If the network has variables, events, delays, or rates that jump.
    SimulationError
        If the path or the covariances cannot be followed; the message says when, and
        `error.result` holds the times before.

    References
    ----------
    van Kampen (2007), Stochastic Processes in Physics and Chemistry, 3rd edition, chapter X, ISBN
    978-0-444-52965-7; Elf and Ehrenberg (2003), Genome Res. 13, 2475, doi:10.1101/gr.1196503.
    """
    started = time.perf_counter()
    what = "linear_noise"
    fluctuations = _checked(network, macroscopic, what)
    check_tolerances(rtol, atol)
    times = check_times(t)
    n = network.n_species
    upper = np.triu_indices(n)

    def right_hand_side(at: float, packed: FloatArray) -> FloatArray:
        drift, jacobian, diffusion = fluctuations.parts(at, packed[:n])
        product = jacobian @ _unpacked(packed[n:], n, upper)
        return np.concatenate([drift, (product + product.T + diffusion)[upper]])

    def result(rows: FloatArray) -> LinearNoise:
        covariances = np.stack([_unpacked(row[n:], n, upper) for row in rows])
        how = f"linear noise about the path of the {macroscopic}"
        options: dict[str, int | float | str | bool | None] = {
            "macroscopic": macroscopic,
            "rtol": rtol,
            "atol": atol,
        }
        return LinearNoise(
            times=times[: len(rows)],
            species=network.species_names,
            means=rows[:, :n],
            covariances=covariances,
            macroscopic=macroscopic,
            network=network,
            provenance=made_by(network, "linear_noise", how, options, started),
        )

    largest = np.ones(2 * n)

    def check(packed: FloatArray) -> str:
        diagonal = packed[n:][upper[0] == upper[1]]
        values = np.concatenate([packed[:n], diagonal])
        np.maximum(largest, np.abs(values), out=largest)
        low = np.flatnonzero(values < -SLACK * largest)
        if not low.size:
            return ""
        kind, i = divmod(int(low[0]), n)
        name = network.species_names[i]
        return f"the {('amount', 'variance')[kind]} of {name} is {values[low[0]]:.3g}"

    start = np.concatenate([network.initial_state, np.zeros(upper[0].size)])
    advice = "a law that does not vanish where a reactant runs out does this; sample with ensemble"
    rows = integrated(
        right_hand_side, times, start, rtol, atol, check, result, "linear noise", advice
    )
    return result(rows)


def _unpacked(entries: FloatArray, n: int, upper: Any) -> FloatArray:
    matrix = np.empty((n, n))
    matrix[upper] = entries
    matrix.T[upper] = entries
    return matrix


@dataclass(frozen=True, eq=False, repr=False)
class StationaryNoise:
    """Fluctuations about a stationary state in the linear noise approximation.

    Attributes
    ----------
    species : tuple of str
        All species of the network.
    mean : ndarray, shape (n_species,), float64
        The stationary state of the macroscopic law that is reached from the initial state, in
        molecules.
    covariance : ndarray, shape (n_species, n_species), float64
        In molecules squared.
    jacobian : ndarray, shape (n_species, n_species), float64
        Of the drift, per unit time.
    diffusion : ndarray, shape (n_species, n_species), float64
        N diag(a) N^T, in molecules squared per unit time.
    eigenvalues : ndarray, shape (n_independent,), complex128
        Of the Jacobian within the conservation laws, per unit time, slowest first; all have
        negative real parts.
    macroscopic : str
        ``"rate equations"`` or ``"propensities"``.
    network, provenance : Network, Provenance
        What was solved, and how.
    """

    species: tuple[str, ...]
    mean: FloatArray
    covariance: FloatArray
    jacobian: FloatArray
    diffusion: FloatArray
    eigenvalues: np.ndarray[Any, np.dtype[np.complex128]]
    macroscopic: str
    network: Network
    provenance: Provenance
    _basis: FloatArray

    def __post_init__(self) -> None:
        """Make the arrays read-only."""
        for name, value in vars(self).items():
            if isinstance(value, np.ndarray):
                object.__setattr__(self, name, read_only(value))

    def std(self, name: Name | None = None) -> Any:
        """Return standard deviations, in molecules for species.

        Parameters
        ----------
        name : str, Species or Observable, optional
            Only this one, as a float; observables are linearised about the stationary state.

        Returns
        -------
        ndarray, shape (n_species,), or float
        """
        if name is None:
            return np.sqrt(np.clip(self.covariance.diagonal(), 0.0, None))
        # Within the conservation laws, so that the variance of a conserved total is 0.
        slope = self._basis.T @ self._slope(name)
        inner = self._basis.T @ self.covariance @ self._basis
        return float(np.sqrt(np.clip(slope @ inner @ slope, 0.0, None)))

    def autocovariance(self, lags: ArrayLike, name: Name, other: Name | None = None) -> FloatArray:
        """Return the covariance of one count with itself, or another, at an earlier time.

        Parameters
        ----------
        lags : array_like, shape (n_lags,)
            How much earlier, in the unit of time; negative ones are later.
        name : str, Species or Observable
            What is looked at at time t.
        other : str, Species or Observable, optional
            What is looked at at t - lag; by default the same.

        Returns
        -------
        ndarray, shape (n_lags,)
            In molecules squared.
        """
        steps = np.atleast_1d(np.asarray(lags, dtype=np.float64))
        if steps.ndim != 1 or not np.isfinite(steps).all():
            raise ValueError("lags must be finite times, one or a flat list of them")
        first = self._slope(name)
        second = first if other is None else self._slope(other)
        drift = self._basis.T @ self.jacobian @ self._basis
        inner = self._basis.T @ self.covariance @ self._basis
        left, right = self._basis.T @ first, self._basis.T @ second
        # left exp(J s) C right, and for negative lags left C exp(J s)^T right.
        after, before = _decays(drift, left, inner @ right, np.maximum(steps, 0.0)), None
        if (steps < 0.0).any():
            before = _decays(drift, right, inner @ left, np.maximum(-steps, 0.0))
        return after if before is None else np.where(steps >= 0.0, after, before)

    def power_spectrum(self, frequencies: ArrayLike, name: Name, other: Name | None = None) -> Any:
        """Return the power spectrum of fluctuations, or a cross spectrum.

        It is the integral of autocovariance(s) exp(-i w s) over all lags s, so that its integral
        over all w, negative ones too, is 2 pi times the variance.

        Parameters
        ----------
        frequencies : array_like, shape (n_frequencies,)
            Angular frequencies w, in radians per unit of time.
        name : str, Species or Observable
            Whose fluctuations.
        other : str, Species or Observable, optional
            For a cross spectrum.

        Returns
        -------
        ndarray, shape (n_frequencies,), float64, or complex128 with `other`
            In molecules squared times the unit of time.
        """
        angular = np.atleast_1d(np.asarray(frequencies, dtype=np.float64))
        if angular.ndim != 1 or not np.isfinite(angular).all():
            raise ValueError("frequencies must be finite, one or a flat list of them")
        first = self._basis.T @ self._slope(name)
        second = first if other is None else self._basis.T @ self._slope(other)
        drift = self._basis.T @ self.jacobian @ self._basis
        noise = self._basis.T @ self.diffusion @ self._basis
        found = []
        for w in angular:
            # (Gardiner 2009) S = (i w - J)^-1 D (-i w - J^T)^-1
            inverse = np.linalg.inv(1j * w * np.eye(len(drift)) - drift)
            found.append(first @ inverse @ noise @ inverse.conj().T @ second)
        spectrum = np.array(found)
        return spectrum.real if other is None else spectrum

    def _slope(self, name: Name) -> FloatArray:
        text = name_text(name)
        if text in self.species:
            return np.array([1.0 if one == text else 0.0 for one in self.species])
        known = (*self.species, *self.network.observable_names)
        if text not in known:
            raise KeyError(
                f"there is no species or observable {text!r} (there are: {listed(known)})"
            )
        _, slopes = observable_slopes(self.network, text, np.zeros(1), self.mean[None])
        return np.asarray(slopes[0])

    def __repr__(self) -> str:
        """Return means and standard deviations in one line."""
        rows = [
            f"{name} {mean:.6g} ± {std:.6g}"
            for name, mean, std in zip(self.species, self.mean, self.std(), strict=True)
        ]
        return f"<StationaryNoise of the {self.macroscopic}: {listed(rows)}>"


def stationary_noise(
    network: Network, *, macroscopic: Macroscopic = "rate equations"
) -> StationaryNoise:
    """Return the linear noise approximation about the stationary state that is reached.

    The macroscopic law is followed from the initial state until Newton's method finds a stable
    stationary state beside it; the covariance solves Lyapunov's equation J C + C J^T + D = 0 within
    the conservation laws.

    Parameters
    ----------
    network : Network
        As for `linear_noise`, with rates that do not depend on t. Where there are several
        stationary states, the initial state decides (`Network.with_initial`).
    macroscopic : {"rate equations", "propensities"}, optional
        As for `linear_noise`.

    Returns
    -------
    StationaryNoise
        Mean, covariance, autocovariance and power spectrum.

    Raises
    ------
    NetworkError
        As for `linear_noise`, and if a rate depends on t.
    SimulationError
        If no stable stationary state is reached: the path grows without bound, oscillates, or
        the slowest fluctuation does not decay.

    References
    ----------
    van Kampen (2007), chapter X (as for `linear_noise`); Gardiner (2009), Stochastic Methods, 4th
    edition, section 4.4.6, ISBN 978-3-540-70712-7 (autocovariance and spectrum).
    """
    from scipy.linalg import solve_continuous_lyapunov

    started = time.perf_counter()
    fluctuations = _checked(network, macroscopic, "stationary_noise")
    if fluctuations.is_time_dependent:
        raise NetworkError(
            "a network whose rates depend on t has no stationary state; use linear_noise"
        )
    counts = np.array(network.initial_state, dtype=np.float64)
    basis = _range_of(fluctuations.change)
    if not basis.shape[1]:
        raise NetworkError("no reaction changes a count, so nothing fluctuates")
    point = _reached(fluctuations, basis, counts)
    _, jacobian, diffusion = fluctuations.parts(0.0, point)
    drift = basis.T @ jacobian @ basis
    inner = solve_continuous_lyapunov(drift, -basis.T @ diffusion @ basis)
    covariance = basis @ ((inner + inner.T) / 2.0) @ basis.T
    eigenvalues = np.linalg.eigvals(drift).astype(np.complex128)
    how = f"linear noise about the stationary state of the {macroscopic}"
    return StationaryNoise(
        species=network.species_names,
        mean=point,
        covariance=covariance,
        jacobian=jacobian,
        diffusion=diffusion,
        eigenvalues=eigenvalues[np.argsort(-eigenvalues.real)],
        macroscopic=macroscopic,
        network=network,
        provenance=made_by(network, "stationary_noise", how, {"macroscopic": macroscopic}, started),
        _basis=basis,
    )


def _decays(
    drift: FloatArray, left: FloatArray, right: FloatArray, times: FloatArray
) -> FloatArray:
    """Return left exp(drift s) right at each time s, (n_times,)."""
    eigenvalues, vectors = np.linalg.eig(drift)
    if np.linalg.cond(vectors) < _WELL_CONDITIONED:
        weights = (left @ vectors) * np.linalg.solve(vectors, right.astype(np.complex128))
        return np.asarray((np.exp(np.outer(times, eigenvalues)) @ weights).real)
    from scipy.linalg import expm

    return np.array([left @ expm(drift * at) @ right for at in times])


def _reached(fluctuations: _Fluctuations, basis: FloatArray, start: FloatArray) -> FloatArray:
    """Follow the macroscopic law until there is a stable stationary state beside it; return it."""
    from scipy.integrate import LSODA

    def drift(at: float, counts: FloatArray) -> FloatArray:
        return np.asarray(fluctuations.change @ fluctuations.fill(at, counts))

    with np.errstate(all="ignore"):
        point = _stable_point(fluctuations, basis, start)
        if point is not None:
            return point
        rates = fluctuations.fill(0.0, start)
        fastest = float((np.abs(fluctuations.change) @ rates / (1.0 + start)).max())
        end = _LONGEST / fastest if fastest > 0.0 else _LONGEST
        solver = LSODA(drift, 0.0, start, end, rtol=1e-8, atol=1e-9)
        counts = start
        for n_steps in range(1, _MOST_STEPS + 1):
            if solver.status != "running":
                break
            solver.step()
            if not np.isfinite(solver.y).all() or solver.y.max() > _LARGEST_COUNT:
                raise SimulationError(
                    f"the macroscopic path grows without bound (t = {solver.t:.3g}), so that there "
                    "is no stationary state to fluctuate about"
                )
            counts = solver.y
            if n_steps % _STEPS_BETWEEN_TRIALS == 0:
                point = _stable_point(fluctuations, basis, counts)
                if point is not None:
                    return point
        _, jacobian, _ = fluctuations.parts(0.0, counts)
        slowest = np.linalg.eigvals(basis.T @ jacobian @ basis).real.max()
    raise SimulationError(
        f"no stable stationary state was reached by t = {solver.t:.3g} (largest real part of an "
        f"eigenvalue there {slowest:.3g}): the path oscillates, rests on an unstable point, or "
        "something, such as the size of an outbreak that is over, does not decay; "
        "use linear_noise over a time, or ensemble"
    )


def _range_of(change: FloatArray) -> FloatArray:
    """Return an orthonormal basis of what reactions can change, (n_species, rank)."""
    left, sizes, _ = np.linalg.svd(change, full_matrices=False)
    rank = int((sizes > 1e-10 * max(1.0, sizes.max(initial=0.0))).sum())
    return left[:, :rank]


def _stable_point(
    fluctuations: _Fluctuations, basis: FloatArray, start: FloatArray
) -> FloatArray | None:
    """Return the stable stationary state next to a point, by Newton's method, or None."""
    counts = start.copy()
    size = 1.0 + np.abs(start)
    for _ in range(30):
        drift, jacobian, _ = fluctuations.parts(0.0, counts)
        inner = basis.T @ jacobian @ basis
        if not (np.isfinite(inner).all() and np.isfinite(drift).all()):
            return None
        try:
            step = basis @ np.linalg.solve(inner, -basis.T @ drift)
        except np.linalg.LinAlgError:
            return None
        counts = counts + step
        # Not to one that the path does not approach.
        if (np.abs(counts - start) > 0.01 * size).any():
            return None
        if (np.abs(step) <= 1e-13 * (1.0 + np.abs(counts))).all():
            break
    else:
        return None
    if (counts < -1e-9).any():
        return None
    _, jacobian, _ = fluctuations.parts(0.0, counts)
    inner = basis.T @ jacobian @ basis
    rates = np.linalg.eigvals(inner).real
    if rates.max() >= -1e-10 * max(np.abs(inner).max(), 1e-300):
        return None
    return np.where(np.abs(counts) < 1e-12, 0.0, counts)
