"""What other values change: from pairs of trajectories that have most events in common."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..compilation import CompiledNetwork, compile_network
from ..dsl import parse_expression
from ..errors import Interrupted, NetworkError
from ..expressions import Expression
from ..kernels.arrays import Output, Walker
from ..kernels.coupled_pairs import NetworkPair, run_pairs
from ..network import Network
from ..progress import Progress, reporter
from ..results import Provenance
from ..results.recorded import read_only
from ..run_plan import RunPlan, check_whole
from ..workers import cores
from .runs import check_confidence
from .sampling import Sampler, parts_with_streams, plan_of_reactions, values_of

__all__ = ["Difference", "difference"]

FloatArray = NDArray[np.float64]

_STREAMS = "difference"


@dataclass(frozen=True, eq=False, repr=False)
class Difference:
    """How much a mean differs between a network and the same with other values.

    Attributes
    ----------
    what : str
        The expression whose mean it is.
    changes : dict of str to float
        Parameters and initial counts of the second network that differ.
    times : ndarray, shape (n_times,), float64
        The grid.
    difference : ndarray, shape (n_times,), float64
        Mean with the changes less that without.
    standard_error : ndarray, shape (n_times,), float64
        Of the difference.
    lower, upper : ndarray, shape (n_times,), float64
        Ends of its confidence intervals (normal approximation), each time by itself.
    confidence : float
        Of each interval.
    first, second : ndarray, shape (n_times,), float64
        Means without and with the changes.
    variance_ratio : ndarray, shape (n_times,), float64
        Variance of the difference of two independent trajectories over that of a pair: as many
        times fewer trajectories give the same error. 1 where nothing varies.
    n : int
        Pairs of trajectories.
    network, provenance : Network, Provenance
        The first network, and how it was run.
    stopped : str or None
        "interrupt" or "error" if the run was cut short.
    """

    what: str
    changes: dict[str, float]
    times: FloatArray
    difference: FloatArray
    standard_error: FloatArray
    lower: FloatArray
    upper: FloatArray
    confidence: float
    first: FloatArray
    second: FloatArray
    variance_ratio: FloatArray
    n: int
    network: Network
    provenance: Provenance
    stopped: str | None

    def __repr__(self) -> str:
        """Return the difference at the last time, its error and what the coupling saves."""
        changes = ", ".join(f"{name} = {value:g}" for name, value in self.changes.items())
        cut = f", stopped by {self.stopped}" if self.stopped else ""
        return (
            f"<Difference of the mean of {self.what} with {changes} at t = {self.times[-1]:g}: "
            f"{self.difference[-1]:.6g} +/- {self.standard_error[-1]:.2g} from {self.n} pairs in "
            f"place of {self.n * self.variance_ratio[-1]:.3g}{cut}>"
        )


@dataclass(frozen=True)
class _PairPlan(RunPlan):
    """A plan whose kernel records two networks side by side."""

    second: CompiledNetwork

    @property
    def kernel(self) -> Any:
        """The kernel that samples."""
        return run_pairs

    @cached_property
    def arrays(self) -> Any:
        """What the kernel reads of the networks."""
        return NetworkPair(self.compiled.arrays, self.second.arrays, self.second.initial_state)

    def walker(self) -> Walker:
        """Return a thread's own working arrays."""
        walker = super().walker()
        assert isinstance(walker, Walker)
        return walker._replace(
            reals=np.zeros(2 * self.network.n_reactions),
            integers=np.zeros(self.network.n_species + 1, dtype=np.int64),
        )

    def output(self, n_rows: int, n_events: int = 0) -> Output:
        """Return arrays for the counts of `n_rows` pairs."""
        output = super().output(n_rows, n_events)
        shape = (n_rows, self.times.size, 2 * self.network.n_species)
        return output._replace(counts=np.empty(shape, dtype=np.int64))


class _Spread:
    """Means and variances of the entries of arrays, portion by portion."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        self.n, self.mean, self._squares = 0, np.zeros(shape), np.zeros(shape)

    def add(self, values: FloatArray) -> None:
        """Take values of shape (n_more, ...); Chan, Golub and LeVeque (1983)."""
        more = values.shape[0]
        if more == 0:
            return
        mean = values.mean(axis=0)
        apart, n = mean - self.mean, self.n + more
        self._squares += ((values - mean) ** 2).sum(axis=0) + apart**2 * (self.n * more / n)
        self.mean = self.mean + apart * (more / n)
        self.n = n

    @property
    def variance(self) -> FloatArray:
        """Variances, nan of fewer than two values."""
        return self._squares / (self.n - 1) if self.n > 1 else np.full_like(self.mean, np.nan)


def difference(
    network: Network,
    changes: Mapping[str, float],
    t: Any,
    what: str | Expression,
    n: int,
    *,
    confidence: float | None = None,
    rng: Any = None,
    seed: Any = None,
    threads: int | None = None,
    progress: bool | Progress = False,
    max_events: int | None = None,
) -> Difference:
    """Estimate how much other parameter values change a mean, from coupled trajectories.

    Each pair of trajectories shares as many events as it can: a reaction fires in both networks at
    the smaller of its two propensities, and in one alone at what is left. Each trajectory by
    itself is exact, so the difference has no bias; its variance falls with the change, while
    that of two independent ensembles does not. (The same seed for two calls of `ensemble` couples
    them only until the first event that differs.)

    Parameters
    ----------
    network : Network
        Of reactions whose rates do not depend on t, without variables, events and delays.
    changes : mapping of str to float
        Other values of parameters and initial counts, by name.
    t : float or array_like, shape (n_times,)
        End time (then 101 times from 0), or increasing sampling times.
    what : str or Expression
        Such as ``"P"`` or ``"P > 20"`` (then the difference is that of probabilities), of species,
        observables and parameters.
    n : int
        Pairs of trajectories.
    confidence : float, optional
        Of the interval at each time; 0.95 by default.
    rng, seed : optional
        As for `ensemble`; the trajectories are not those of `ensemble`.
    threads : int, optional
        Threads to use; all cores by default. It changes no number.
    progress : bool or callable, optional
        As for `ensemble`.
    max_events : int, optional
        Most events of one pair before `EventLimitError`.

    Returns
    -------
    Difference
        At every time: difference, standard error, interval, and what the coupling saves.

    Raises
    ------
    ValueError, TypeError
        If an argument makes no sense.
    NetworkError
        If a name is unknown, or the network has variables, events, delays or rates of t.
    SimulationError, Interrupted
        As `ensemble` does; `error.result` holds what is known.

    References
    ----------
    Anderson (2012), SIAM J. Numer. Anal. 50, 2237, doi:10.1137/110849079.
    """
    n, level = check_whole(n, "n", 2), check_confidence(confidence)
    n_threads = cores() if threads is None else check_whole(threads, "threads", 1)
    plan = _planned(network, changes, t, rng, seed, max_events)
    tree = parse_expression(what) if isinstance(what, str) else what
    if not isinstance(tree, Expression):
        raise TypeError(f"what must be an expression such as 'P', not {what!r}")
    expression = network.expanded(tree)
    report = reporter(progress, n, "difference")
    spread = _Spread((3, plan.times.size))
    sampler = Sampler(plan, plan.times.size * (2 * network.n_species + 4), n_threads)
    for portion in sampler.portions(0, n, report):
        spread.add(_values(plan, expression, portion["counts"]))
    failure, stopped = sampler.failure, sampler.stopped
    result = _result(plan, str(tree), changes, spread, level, stopped)
    if failure is not None:
        failure.result = result
        raise failure
    if stopped is not None:
        raise Interrupted("interrupted; what is known is in the error's .result", result)
    report(n)
    return result


def _planned(
    network: Network, changes: Mapping[str, float], t: Any, rng: Any, seed: Any, max_events: Any
) -> _PairPlan:
    plan = plan_of_reactions(network, t, rng, seed, max_events)
    if not isinstance(changes, Mapping) or not changes:
        raise TypeError(f"changes must name what differs, like {{'k': 2.0}}, not {changes!r}")
    counts = {name: value for name, value in changes.items() if name in network.species_names}
    others = {name: value for name, value in changes.items() if name not in counts}
    second = compile_network(network.with_parameters(others).with_initial(counts))
    if plan.compiled.moves or second.moves:
        raise NetworkError(
            "difference needs reactions whose rates change with the counts alone, without "
            "variables, events, delays and t; compare two runs of ensemble"
        )
    parts = parts_with_streams(plan, _STREAMS, "two networks with split coupling")
    parts["stack_depth"] = max(plan.stack_depth, second.stack_depth)
    return _PairPlan(**parts, second=second)


def _values(plan: _PairPlan, what: Expression, counts: NDArray[Any]) -> FloatArray:
    """Return values of the first network, of the second and their difference: (n, 3, n_times)."""
    n_species = plan.network.n_species
    sides: Sequence[tuple[Network, int]] = [(plan.network, 0), (plan.second.network, n_species)]
    values = np.empty((counts.shape[0], 3, plan.times.size))
    for side, (network, offset) in enumerate(sides):
        of_side = counts[:, :, offset : offset + n_species]
        values[:, side] = values_of(what, network, plan.times, of_side)
    values[:, 2] = values[:, 1] - values[:, 0]
    return values


def _result(
    plan: _PairPlan,
    what: str,
    changes: Mapping[str, float],
    spread: _Spread,
    level: float,
    stopped: str | None,
) -> Difference:
    from statistics import NormalDist  # 3 ms, which not every import should cost

    first, second, between = spread.mean if spread.n else np.full_like(spread.mean, np.nan)
    variances = spread.variance
    error = np.sqrt(variances[2] / max(1, spread.n))
    reach = NormalDist().inv_cdf(0.5 + 0.5 * level) * error
    with np.errstate(all="ignore"):
        ratio = (variances[0] + variances[1]) / variances[2]
    ratio = np.where(variances[0] + variances[1] == 0.0, 1.0, ratio)
    return Difference(
        what=what,
        changes={name: float(value) for name, value in changes.items()},
        times=read_only(plan.times),
        difference=read_only(between),
        standard_error=read_only(error),
        lower=read_only(between - reach),
        upper=read_only(between + reach),
        confidence=level,
        first=read_only(first),
        second=read_only(second),
        variance_ratio=read_only(ratio),
        n=spread.n,
        network=plan.network,
        provenance=plan.provenance(),
        stopped=stopped,
    )
