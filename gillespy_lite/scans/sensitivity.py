"""Global sensitivity: how much of an output's variance each parameter is responsible for."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import MethodError, NetworkError
from ..names import did_you_mean
from ..network import Network
from ..randomness import generator, take_entropy
from ..results import Scan
from ..results.recorded import FloatArray, read_only
from ..results.summaries import Summary
from ..results.tables import plain_table
from ..run_plan import check_whole
from ..stores.writing import stored_order
from .scanning import scan

if TYPE_CHECKING:
    import pandas
    from matplotlib.axes import Axes

__all__ = ["SobolIndices", "sobol"]

_OUTPUTS = ("mean", "var", "std", "minimum", "maximum", "hit_fraction", "mean_hitting_time")
_OF_HITS = _OUTPUTS[5:]
_OUTPUT = re.compile(r"\s*(\w+)\s*(?:\(\s*([^()]+?)\s*\))?\s*(?:\bat\s+(\S+))?\s*")


@dataclass(frozen=True, eq=False, repr=False)
class SobolIndices:
    """Sobol's indices of an output, with confidence intervals.

    Attributes
    ----------
    names : tuple of str
        What was varied.
    first : ndarray, shape (n_names,), float64
        First-order indices: the share of the output's variance that would vanish if this name
        alone were known.
    total : ndarray, shape (n_names,), float64
        Total indices: the share that would stay if all other names were known; the first-order
        index and all interactions that the name has a part in.
    first_interval, total_interval : ndarray, shape (n_names, 2), float64
        Confidence intervals, by resampling the rows of the design.
    level : float
        Their confidence level.
    variance : float
        Of the output over the ranges, without that of the sampling noise.
    noise_share : float
        Share of sampling noise in the variance of the output as it was computed from half of the
        trajectories of a set; it is taken out of the indices.
    output : str
        What was looked at.
    n, n_trajectories : int
        Rows of the design, and trajectories of each set.
    scan : Scan
        All sets: the rows A, those of B, and those of A with one column of B for each name; first
        all of them with one half of the trajectories, then with the other.
    values : ndarray, shape (2, n_names + 2, n), float64
        The output in these sets, half by half.
    """

    names: tuple[str, ...]
    first: FloatArray
    total: FloatArray
    first_interval: FloatArray
    total_interval: FloatArray
    level: float
    variance: float
    noise_share: float
    output: str
    n: int
    n_trajectories: int
    scan: Scan
    values: FloatArray

    def __post_init__(self) -> None:
        """Make the arrays read-only."""
        for name, value in vars(self).items():
            if isinstance(value, np.ndarray):
                object.__setattr__(self, name, read_only(value))

    def __repr__(self) -> str:
        """Return one line."""
        shares = ", ".join(
            f"{name} {first:.2f} ({total:.2f})"
            for name, first, total in zip(self.names, self.first, self.total, strict=True)
        )
        return f"<SobolIndices of {self.output}, first order (total): {shares}>"

    def summary(self) -> str:
        """Return a plain-text table of the indices and their intervals."""
        return self._summary().text()

    def _repr_html_(self) -> str:
        return self._summary().html()

    def to_pandas(self) -> pandas.DataFrame:
        """Return a pandas table, a row for each name; without pandas, `MissingExtraError`."""
        heads = ("first", "first_low", "first_high", "total", "total_low", "total_high")
        columns = dict(zip(heads, self._numbers().tolist(), strict=True))
        return plain_table({"name": list(self.names), **columns})

    def plot(self, *, ax: Axes | None = None) -> Axes:
        """Draw first-order and total indices with their intervals; return the Axes."""
        from ..plotting import plot_sobol

        return plot_sobol(self, ax=ax)

    def _numbers(self) -> FloatArray:
        """Return both indices, each before its interval, (6, n_names)."""
        parts = (self.first, *self.first_interval.T, self.total, *self.total_interval.T)
        return np.stack(parts)

    def _summary(self) -> Summary:
        lines = (
            f"Sobol indices of {self.output}, {100 * self.level:g} % intervals",
            f"{self.n} rows of {len(self.names) + 2} sets, {self.n_trajectories} trajectories each",
            f"{100 * self.noise_share:.3g} % of the variance of half a set's output is sampling "
            "noise, taken out here",
        )
        rows = [
            (name, *numbers)
            for name, numbers in zip(self.names, self._numbers().T.tolist(), strict=True)
        ]
        return Summary(lines, ("name", "first", "from", "to", "total", "from", "to"), rows)


def sobol(
    network: Network,
    ranges: Mapping[str, Any],
    output: str | Callable[[Scan], Any],
    t: Any,
    n: int = 512,
    *,
    n_trajectories: int = 100,
    level: float = 0.95,
    n_resamples: int = 999,
    rng: Any = None,
    seed: Any = None,
    **scan_options: Any,
) -> SobolIndices:
    """Estimate Sobol's sensitivity indices of something that a network's trajectories show.

    Parameters
    ----------
    network : Network
        Whose parameters and initial counts are uncertain.
    ranges : mapping of str to (low, high) or (low, high, "log")
        For each name the range over which it is spread evenly, or evenly on a logarithmic scale.
        Initial counts take the whole numbers of their range.
    output : str or callable
        ``"mean(P)"``, also with ``var``, ``std``, ``minimum`` or ``maximum``, of a recorded name at
        the last time, or ``"mean(P) at 20"``; with ``stop_when=`` ``"hit_fraction"`` or
        ``"mean_hitting_time"``. A callable is given a `Scan` and returns a number for each set.
    t : float or array_like
        As in `scan`.
    n : int, optional
        Rows of the design, a power of two. There are ``n * (n_names + 2)`` parameter sets.
    n_trajectories : int, optional
        Trajectories of each set, an even number.
    level : float, optional
        Confidence level of the intervals.
    n_resamples : int, optional
        Resamples of the bootstrap behind them.
    rng : None, int, SeedSequence or Generator, optional
        Source of randomness, of the design, the trajectories and the bootstrap.
    seed : optional
        Another name for `rng`.
    **scan_options
        Passed on to `scan`: method, outputs, stop_when, threads, progress, executor, store and so
        on. The same call with the same `store` goes on from what is there, also without `rng`.

    Returns
    -------
    SobolIndices
        First-order and total indices with intervals.

    Raises
    ------
    ValueError, TypeError, NetworkError
        If an argument makes no sense, or the output does not vary beyond its noise.
    MethodError
        If an option of `scan` would spoil the indices.

    Notes
    -----
    Trajectories are random, so an output has noise beside what the parameters do, and estimators
    made for exact outputs take it for interactions: total indices come out too large, first-order
    ones too small. Here each set is run twice, with half of the trajectories and random numbers of
    its own. The variance is estimated by the covariance of both halves, and squared differences by
    products of the differences of both halves, in all of which independent noise has the mean zero.
    What is left of a small number of trajectories is scatter, which the intervals show, and the
    bias of the output itself, if it has one (a minimum, a hitting time).

    References
    ----------
    Saltelli et al. (2010), Comput. Phys. Commun. 181, 259, doi:10.1016/j.cpc.2009.09.018 (table 2,
    b for the first order). Jansen (1999), Comput. Phys. Commun. 117, 35,
    doi:10.1016/S0010-4655(98)00154-4 (total indices).
    """
    n = check_whole(n, "n", 2)
    if n & (n - 1):
        raise ValueError(f"n must be a power of two, for the design to be even, not {n}")
    n_trajectories = check_whole(n_trajectories, "n_trajectories", 2)
    if n_trajectories % 2:
        raise ValueError(
            f"n_trajectories must be even, not {n_trajectories}: they are run in halves"
        )
    n_resamples = check_whole(n_resamples, "n_resamples", 100)
    if not 0.0 < level < 1.0:
        raise ValueError(f"level must lie between 0 and 1, like 0.95, but is {level!r}")
    if scan_options.get("common_random_numbers"):
        raise MethodError(
            "common_random_numbers=True would make the noise of all sets the same, and the indices "
            "wrong; sobol needs independent ones and takes their noise out itself"
        )
    if "samples" in scan_options or "names" in scan_options:
        raise TypeError("sobol makes the samples itself, from ranges=")
    if scan_options.get("sets") is not None:
        raise MethodError(
            "sobol needs all sets, so it takes no sets=; to share the work among machines, give "
            "executor="
        )
    names, transforms = _read_ranges(network, ranges)
    compute = _output_of(output)
    if isinstance(output, str) and scan_options.get("outputs") is None:
        name = _parsed(output)[1]
        if name is not None:
            scan_options["outputs"] = [name]
    if scan_options.get("store") is not None and rng is None and seed is None:
        stored = stored_order(scan_options["store"])
        rng = None if stored is None else stored.entropy
    entropy = take_entropy(rng, seed)
    both = _even_points(n, 2 * len(names), generator(entropy, *_DESIGN))
    a, b = both[:, : len(names)], both[:, len(names) :]
    designs = [a, b]
    for i in range(len(names)):
        mixed = a.copy()
        mixed[:, i] = b[:, i]
        designs.append(mixed)
    unit = np.concatenate(designs)
    table = {
        name: np.tile(transform(unit[:, i]), 2)
        for i, (name, transform) in enumerate(zip(names, transforms, strict=True))
    }
    result = scan(network, None, t, n_trajectories // 2, samples=table, rng=entropy, **scan_options)
    if result.stopped is not None:
        raise ValueError(
            f"the scan was stopped by {result.stopped} before all sets were done; Sobol's indices "
            "need all of them: give it more time, or ask for fewer rows (n) or trajectories; with "
            "store= the same call goes on from there"
        )
    values = np.asarray(compute(result), dtype=np.float64)
    if values.shape != (result.n_sets,):
        raise ValueError(
            f"the output must be one number for each of {result.n_sets} sets, but has shape "
            f"{values.shape}"
        )
    bad = np.flatnonzero(~np.isfinite(values))
    if bad.size:
        where = ", ".join(f"{name} = {result.points[bad[0], i]:g}" for i, name in enumerate(names))
        raise ValueError(
            f"the output is {values[bad[0]]:g} in {bad.size} of {result.n_sets} sets, the first "
            f"with {where}; choose an output that is a number everywhere"
        )
    values = values.reshape(2, len(names) + 2, n)
    first, total, variance = _indices(values)
    if not variance > 0.0:
        raise ValueError(
            "the output does not vary more than its sampling noise; take more trajectories, more "
            "rows or wider ranges"
        )
    intervals = _bootstrap(values, level, n_resamples, generator(entropy, *_RESAMPLING))
    measured = values[:, :2].reshape(2, -1).var(axis=1).mean()
    return SobolIndices(
        names=names,
        first=first,
        total=total,
        first_interval=intervals[0],
        total_interval=intervals[1],
        level=float(level),
        variance=float(variance),
        noise_share=float(max(0.0, 1.0 - variance / measured)),
        output=output if isinstance(output, str) else getattr(output, "__name__", "output"),
        n=n,
        n_trajectories=n_trajectories,
        scan=result,
        values=values,
    )


# Keys of the generators of the design and of the bootstrap, beside those of the sets.
_DESIGN, _RESAMPLING = (0x50B01, 1), (0x50B01, 2)


def _even_points(n: int, n_dims: int, random: np.random.Generator) -> FloatArray:
    """Return points that fill the unit cube evenly, (n, n_dims)."""
    from scipy.stats import qmc

    return np.asarray(qmc.Sobol(n_dims, scramble=True, seed=random).random(n))


def _indices(values: FloatArray) -> tuple[FloatArray, FloatArray, float]:
    """Return first-order and total indices and the variance, of values (2, n_names + 2, n)."""
    # The mean has no part in any index; without it the products are smaller.
    values = values - values[:, :2].mean()
    a, b, mixed = values[:, 0], values[:, 1], values[:, 2:]
    both = values[:, :2].reshape(2, -1)
    variance = float(np.mean(both[0] * both[1]) - both[0].mean() * both[1].mean())
    first = (b.mean(axis=0) * (mixed.mean(axis=0) - a.mean(axis=0))).mean(axis=-1)
    apart = a[:, None] - mixed
    total = 0.5 * (apart[0] * apart[1]).mean(axis=-1)
    with np.errstate(divide="ignore", invalid="ignore"):
        return first / variance, total / variance, variance


def _bootstrap(
    values: FloatArray, level: float, n_resamples: int, random: np.random.Generator
) -> tuple[FloatArray, FloatArray]:
    """Return percentile intervals of both kinds of indices, (n_names, 2) each."""
    n, found = values.shape[-1], []
    for _ in range(n_resamples):
        first, total, _ = _indices(values[..., random.integers(0, n, n)])
        found.append((first, total))
    edges = (0.5 - level / 2.0, 0.5 + level / 2.0)
    low_high = np.quantile(np.array(found), edges, axis=0)  # (2, kind, n_names)
    return low_high[:, 0].T, low_high[:, 1].T


def _read_ranges(
    network: Network, ranges: Mapping[str, Any]
) -> tuple[tuple[str, ...], list[Callable[[FloatArray], FloatArray]]]:
    if not isinstance(ranges, Mapping) or not ranges:
        raise TypeError(
            "ranges must be a dict of names and ranges, like {'k': (1, 10), 'g': (0.1, 10, 'log')}"
        )
    transforms = []
    for name, given in ranges.items():
        try:
            low, high, *kind = given
            low, high = float(low), float(high)
        except (TypeError, ValueError):
            raise ValueError(
                f"the range of {name!r} must be (low, high) or (low, high, 'log'), not {given!r}"
            ) from None
        if kind not in ([], ["log"]):
            raise ValueError(f"a range is even, or 'log'; that of {name!r} ends in {kind[0]!r}")
        if not (np.isfinite(low) and np.isfinite(high) and low < high):
            raise ValueError(f"the range of {name!r} must go up, not from {low:g} to {high:g}")
        if kind and low <= 0.0:
            raise ValueError(f"a logarithmic range begins above 0, that of {name!r} at {low:g}")
        if name in network.species_names and (kind or low != int(low) or high != int(high)):
            raise NetworkError(
                f"{name!r} is a count: its range must be two whole numbers, not {given!r}"
            )
        transforms.append(_spread(low, high, bool(kind), name in network.species_names))
    return tuple(ranges), transforms


def _spread(
    low: float, high: float, is_log: bool, is_count: bool
) -> Callable[[FloatArray], FloatArray]:
    """Return what takes even numbers of [0, 1) to a range."""
    if is_count:
        return lambda unit: np.minimum(np.floor(low + unit * (high - low + 1.0)), high)
    if is_log:
        return lambda unit: np.asarray(low * (high / low) ** unit)
    return lambda unit: low + unit * (high - low)


def _parsed(output: str) -> tuple[str, str | None, float | None]:
    """Return what is asked for, of which name, at what time."""
    match = _OUTPUT.fullmatch(output)
    if match is not None and match[1] in _OUTPUTS:
        what, name, at = match.groups()
        try:
            time = None if at is None else float(at)
        except ValueError:
            raise ValueError(f"output {output!r}: {at!r} is no time") from None
        if what in _OF_HITS and name is None and time is None:
            return what, None, None
        if what not in _OF_HITS and name is not None:
            return what, name, time
    hint = "" if match is None else did_you_mean(match[1], _OUTPUTS)
    raise ValueError(
        f"output {output!r} is not understood{hint}; write for example 'mean(P)', 'std(P) at 20', "
        "'hit_fraction', or give a function of the scan"
    )


def _output_of(output: str | Callable[[Scan], Any]) -> Callable[[Scan], Any]:
    if callable(output):
        return output
    if not isinstance(output, str):
        raise TypeError(f"output must be text like 'mean(P)', or a function, not {output!r}")
    what, name, time = _parsed(output)
    if name is None:
        return lambda result: getattr(result, what)
    return lambda result: getattr(result, what)(name)[
        :, -1 if time is None else result.time_index(time)
    ]
