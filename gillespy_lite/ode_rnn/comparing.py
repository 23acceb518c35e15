"""Runs what a comparison needs: rate equations, exact trajectories, noise cells, other volumes."""

from __future__ import annotations

import math
import time
import warnings
import zlib
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..compilation import compile_rate_equations, state_change_matrix
from ..ensembles import ensemble
from ..errors import IncompleteWarning, Interrupted, NetworkError, SimulationError
from ..memory import require_memory
from ..methods import Method
from ..methods.ode import RateEquationSystem
from ..network import Network
from ..progress import Progress, reporter
from ..randomness import seed_sequence, take_entropy
from ..results import Ensemble
from ..results.columns import unknown_name_message
from ..run_plan import check_timeout, check_times, check_whole
from ..simulation import simulate
from .cells import CELLS, resolve_cell
from .comparison import EXACT, Comparison, VolumeStatistics
from .recurrence import Recurrence
from .refusals import refuse_events_and_delays
from .volume import scale_volume

if TYPE_CHECKING:
    pass

__all__ = ["compare"]

FloatArray = NDArray[np.float64]

# Paths of a noise cell between two looks at the clock. It decides which stream a path draws from,
# so changing it changes results.
_PATHS_AT_ONCE = 256
# How much halving its steps may change the deterministic cell, relative to the largest value of
# each state.
_CELL_TOLERANCE = 1e-4
# The noise cells make Euler's steps h. With an eigenvalue a + i b of the Jacobian these inflate the
# variance around a stable state by h |a| / 2, and an oscillation grows at an extra rate h b^2 / 2.
_NOISE_STEP = 0.05  # largest h |a + i b| at nine in ten of the states
_STABLE_STEP = 0.5  # at all of them
_EXTRA_GROWTH = 0.05  # over the whole time, or over the time in which perturbations fade
_PILOT = 20  # exact trajectories that show which states occur
_MOST_JACOBIANS = 4000
_MOST_STEPS = 2**19


def compare(
    network: Network,
    t: Any,
    n: int,
    *,
    rng: Any = None,
    seed: Any = None,
    cells: Sequence[str] = ("rk4", "langevin", "leap"),
    steps: Any = None,
    quantiles: Sequence[float] = (0.05, 0.5, 0.95),
    level: float = 0.95,
    outputs: Sequence[str] | None = None,
    volumes: Sequence[float] = (),
    method: str | Method = "auto",
    threads: int | None = None,
    progress: bool | Progress = False,
    timeout: float | None = None,
    **method_options: Any,
) -> Comparison:
    """Hold the rate equations against stochastic paths on one grid.

    Parameters
    ----------
    network : Network
        Its rate constants set the unit of time.
    t : float or array_like, shape (n_times,)
        End time (then 101 times from 0), or increasing times; `t[0]` is when the initial state
        holds.
    n : int
        Number of exact trajectories, and of paths of each noise cell; at least 20.
    rng : None, int, SeedSequence or Generator, optional
        Source of randomness of all parts. What was used is in `entropy` of the result.
    seed : optional
        Another name for `rng`.
    cells : sequence of str, optional
        One deterministic cell of `CELLS`, and any of ``"langevin"`` and ``"leap"``.
    steps : int or array_like of int, optional
        Steps in each interval of `t`, of all cells that take steps. By default so many that
        halving them changes the deterministic cell by 1e-4 at most, relative to the largest value
        of each state. Those of the noise cells follow from the eigenvalues of the Jacobian at the
        states of 20 exact trajectories: they inflate variances by about 2.5 % at most.
    quantiles : sequence of float, optional
        Probabilities, increasing.
    level : float, optional
        Confidence of intervals; that of the bias holds for all times and names at once.
    outputs : sequence of str, optional
        Species and observables to compare; all of them by default.
    volumes : sequence of float, optional
        Volumes in which `n` trajectories are sampled as well, for example ``(2, 4, 8)``; the
        network's own counts as 1. See `scale_volume`.
    method : str or Method, optional
        Of the exact trajectories; ``"auto"`` takes an exact one.
    threads : int, optional
        Threads to use; all cores by default.
    progress : bool or callable, optional
        True shows a bar; a callable is called as ``progress(done, total)`` in paths of all parts.
    timeout : float, optional
        Seconds after which the run stops and returns what is finished, with an
        `IncompleteWarning`.
    **method_options
        Options of the method.

    Returns
    -------
    Comparison
        Print it for a report.

    Raises
    ------
    ValueError, TypeError
        If an argument makes no sense.
    NetworkError
        If a name is unknown, the network has variables, events or delays, or it cannot be scaled
        to one of `volumes`.
    MethodError
        If a cell or the method is unknown, or cannot do what is asked for.
    NotEnoughMemoryError
        If the paths would not fit into memory; nothing was run.
    SimulationError
        If half a million steps are not enough for the cells, more than half of the paths of a
        noise cell diverge, or a trajectory fails.
    Interrupted
        On Ctrl-C; `error.result` holds the comparison of what is finished, or None.
    """
    times = _checked_times(t)
    _refuse_variables(network)
    refuse_events_and_delays(network, "compare")
    n = check_whole(n, "n", 20)
    cell, noise_cells = _checked_cells(cells)
    levels = _checked_levels(quantiles, level)
    limit = check_timeout(timeout)
    names = _checked_names(network, outputs)
    scaled = [scale_volume(network, omega) for omega in _checked_volumes(volumes)]
    require_memory(
        8 * n * times.size * (len(names) + network.n_species) * (2 + len(noise_cells)),
        "ask for fewer outputs=, fewer times, or fewer paths",
    )
    recorded = (*names, *(network.species_names if scaled else ()))
    recorded = tuple(dict.fromkeys(recorded))
    entropy = take_entropy(rng, seed)
    stage = _Stages(
        deadline=time.monotonic() + limit,
        report=reporter(progress, n * (1 + len(noise_cells) + len(scaled)), "compare"),
        n=n,
    )
    # Everything that can be refused is refused before the long part.
    used_steps, path, cell_error = _deterministic(network, times, cell, steps, names)
    noise_steps = None
    if noise_cells:
        noise_steps = _noise_steps(network, times, steps, entropy, method, method_options)
    noisy = {one: Recurrence(network, one) for one in noise_cells}

    runs: Ensemble | None = None
    paths: dict[str, FloatArray] = {}
    found: list[VolumeStatistics] = []
    try:
        runs = stage.ensemble(
            network, times, n, entropy, recorded, method, threads, method_options, statistics=False
        )
        paths[EXACT] = np.stack([runs[name] for name in names], axis=-1).astype(np.float64)
        for one in noise_cells:
            if stage.is_over():
                break
            paths[one] = stage.noisy_paths(
                noisy[one], times, noise_steps, entropy, one, names, threads
            )
        if scaled and not stage.is_over():
            found.append(_own_volume(network, runs, times))
        for volume in scaled:
            if stage.is_over():
                break
            found.append(
                stage.volume_statistics(volume, times, entropy, method, threads, method_options)
            )
    except (KeyboardInterrupt, Interrupted) as error:
        partial = getattr(error, "result", None)
        if runs is None and isinstance(partial, Ensemble):
            runs = partial
        stage.stopped = "interrupt"
    if runs is not None and EXACT not in paths and len(runs) >= 2:
        paths[EXACT] = np.stack([runs[name] for name in names], axis=-1).astype(np.float64)
    result = None
    if runs is not None and len(paths.get(EXACT, ())) >= 2:
        result = Comparison(
            network=network,
            times=times,
            names=names,
            cell=cell,
            deterministic=path,
            cell_error=cell_error,
            steps=used_steps,
            noise_steps=noise_steps,
            runs=runs,
            paths={source: table for source, table in paths.items() if len(table)},
            quantile_levels=levels,
            level=float(level),
            volumes=tuple(found),
            entropy=entropy,
            stopped=stage.stopped,
        )
    if stage.stopped == "interrupt":
        kept = (
            "not even two trajectories were finished, so .result is None"
            if result is None
            else "the comparison of what is finished is in .result"
        )
        failure = Interrupted(f"interrupted; {kept}")
        failure.result = result
        raise failure
    if result is None:
        raise SimulationError(
            f"timeout: not even two of {n} trajectories were finished; allow a longer timeout="
        )
    if stage.stopped == "timeout":
        warnings.warn(
            f"timeout: {len(paths[EXACT])} of {n} trajectories, {len(result.paths) - 1} of "
            f"{len(noise_cells)} noise cells and {max(len(found) - 1, 0)} of {len(scaled)} volumes "
            "are in the comparison",
            IncompleteWarning,
            stacklevel=2,
        )
    return result


# ---- The parts ----------------------------------------------------------------------------------


class _Stages:
    """Runs the parts one after the other, with one clock and one bar for all."""

    def __init__(self, deadline: float, report: Callable[[float], None], n: int) -> None:
        self._deadline, self._report, self._n = deadline, report, n
        self._n_done = 0.0
        self.stopped: str | None = None

    def is_over(self) -> bool:
        if time.monotonic() >= self._deadline:
            self.stopped = "timeout"
        return self.stopped is not None

    def ensemble(
        self,
        network: Network,
        times: FloatArray,
        n: int,
        rng: Any,
        outputs: Sequence[str] | None,
        method: str | Method,
        threads: int | None,
        method_options: Mapping[str, Any],
        *,
        statistics: bool,
    ) -> Any:
        done = self._n_done
        with warnings.catch_warnings():
            # The warning of the whole says what is missing.
            warnings.simplefilter("ignore", IncompleteWarning)
            result = ensemble(
                network,
                times,
                n,
                method=method,
                rng=rng,
                threads=threads,
                outputs=outputs,
                statistics=statistics,
                histogram_bins=2,
                timeout=self._left(),
                progress=lambda some, total: self._report(done + some),
                **method_options,
            )
        self._advance(n)
        if result.stopped == "timeout":
            self.stopped = "timeout"
        return result

    def noisy_paths(
        self,
        recurrence: Recurrence,
        times: FloatArray,
        steps: Any,
        entropy: int,
        cell: str,
        names: tuple[str, ...],
        threads: int | None,
    ) -> FloatArray:
        """Return the paths of a noise cell, (n, n_times, n_names), or fewer after a timeout."""
        pieces = []
        for first in range(0, self._n, _PATHS_AT_ONCE):
            if first and self.is_over():
                break
            rows = min(_PATHS_AT_ONCE, self._n - first)
            key = (zlib.crc32(cell.encode()), first // _PATHS_AT_ONCE)
            unrolled = recurrence.unroll(
                times,
                steps=steps,
                rng=seed_sequence(entropy, *key),
                n=rows,
                threads=threads,
                keep_diverged=True,
            )
            pieces.append(np.asarray(unrolled.outputs(names)))
            self._advance(rows)
        paths = np.concatenate(pieces)
        n_whole = int(np.isfinite(paths).all(axis=(1, 2)).sum())
        if 2 * n_whole < len(paths):
            raise SimulationError(
                f"only {n_whole} of {len(paths)} paths of the cell {cell!r} stayed finite; give "
                "more steps= in each interval, or leave the cell out"
            )
        return paths

    def volume_statistics(
        self,
        network: Network,
        times: FloatArray,
        entropy: int,
        method: str | Method,
        threads: int | None,
        method_options: Mapping[str, Any],
    ) -> VolumeStatistics:
        omega = float(network.parameter_values[0])
        key = (zlib.crc32(b"volume"), zlib.crc32(repr(omega).encode()))
        statistics = self.ensemble(
            network,
            times,
            self._n,
            seed_sequence(entropy, *key),
            None,
            method,
            threads,
            method_options,
            statistics=True,
        )
        return VolumeStatistics(
            omega=omega,
            n=statistics.n_trajectories,
            deterministic=simulate(network, times, method="ode").counts / omega,
            mean=statistics.mean() / omega,
            variance=statistics.var() / omega**2,
        )

    def _left(self) -> float | None:
        if math.isinf(self._deadline):
            return None
        return max(self._deadline - time.monotonic(), 1e-3)

    def _advance(self, by: int) -> None:
        self._n_done += by
        self._report(self._n_done)


def _own_volume(network: Network, runs: Ensemble, times: FloatArray) -> VolumeStatistics:
    counts = np.stack([runs[name] for name in network.species_names], axis=-1).astype(np.float64)
    return VolumeStatistics(
        omega=1.0,
        n=len(runs),
        deterministic=np.asarray(simulate(network, times, method="ode").counts),
        mean=counts.mean(axis=0),
        variance=counts.var(axis=0, ddof=1),
    )


def _recurrence(network: Network, cell: str) -> Recurrence:
    from .recurrence import Recurrence

    return Recurrence(network, cell=cell)


def _deterministic(
    network: Network, times: FloatArray, cell: str, steps: Any, names: tuple[str, ...]
) -> tuple[Any, FloatArray, float]:
    """Return the steps, the path (n_times, n_names), and how far it is from an adaptive solver."""
    recurrence = Recurrence(network, cell=cell)
    if CELLS[cell].is_adaptive:
        steps, path = None, recurrence.unroll(times)
    else:
        steps = _enough_steps(recurrence, times, steps)
        path = recurrence.unroll(times, steps=steps)
    reference = np.asarray(simulate(network, times, method="ode").counts, dtype=np.float64)
    error = _distance(np.asarray(path.states), reference)
    return steps, np.asarray(path.outputs(names)), error


def _enough_steps(recurrence: Recurrence, times: FloatArray, steps: Any) -> NDArray[np.int64]:
    """Return the steps of each interval, (n_times - 1,): the given ones, or enough of them."""
    n_intervals = times.size - 1
    if steps is not None:
        return np.broadcast_to(np.asarray(steps), (n_intervals,))

    def states(steps: int) -> FloatArray:
        return np.asarray(recurrence.unroll(times, steps=steps, keep_diverged=True).states)

    steps, coarse = 2, states(1)
    while steps * n_intervals <= _MOST_STEPS:
        fine = states(steps)
        if _distance(coarse, fine) <= _CELL_TOLERANCE:
            return np.full(n_intervals, steps)
        steps, coarse = 2 * steps, fine
    raise SimulationError(
        f"the cell {recurrence.cell!r} with {_MOST_STEPS} steps in all still changes by more than "
        f"{_CELL_TOLERANCE:g} when the steps are halved; give steps=, ask for a shorter time, or "
        "choose a cell for stiff networks"
    )


def _noise_steps(
    network: Network,
    times: FloatArray,
    steps: Any,
    entropy: int,
    method: str | Method,
    method_options: Mapping[str, Any],
) -> NDArray[np.int64]:
    """Return enough steps for the noise cells in each interval, (n_times - 1,)."""
    if steps is not None:
        return np.broadcast_to(np.asarray(steps), (times.size - 1,))
    # A fixed point says nothing about the states around it, so exact trajectories do.
    pilot = ensemble(network, times, _PILOT, method=method, rng=entropy, **method_options)
    assert isinstance(pilot, Ensemble)
    states = pilot.counts.astype(np.float64).reshape(-1, network.n_species)
    at = np.tile(times, len(pilot))
    stride = -(-len(states) // _MOST_JACOBIANS)
    equations, depth = compile_rate_equations(network)
    system = RateEquationSystem(equations, depth, state_change_matrix(network))
    eigenvalues = np.empty((len(states[::stride]), network.n_species), dtype=np.complex128)
    for row, (time_of, state) in enumerate(zip(at[::stride], states[::stride], strict=True)):
        jacobian = system.jacobian(float(time_of), state)
        matrix = jacobian.toarray() if hasattr(jacobian, "toarray") else jacobian
        eigenvalues[row] = np.linalg.eigvals(matrix)
    speed = np.abs(eigenvalues).max(axis=1)
    turning = np.abs(eigenvalues.imag).max(axis=1)
    fading = max(float(np.abs(eigenvalues.real).min(axis=1).mean()), 1.0 / float(np.ptp(times)))
    per_time = max(
        float(np.quantile(speed, 0.9)) / _NOISE_STEP,
        float(speed.max()) / _STABLE_STEP,
        float((turning**2).mean()) / 2.0 / (_EXTRA_GROWTH * fading),
    )
    enough = np.ceil(np.diff(times) * per_time).clip(1.0)
    if not enough.sum() <= _MOST_STEPS:
        raise SimulationError(
            f"the fastest changes of the network, at {speed.max():.3g} per unit time, ask for "
            f"{enough.sum():.2g} steps of the noise cells; give steps=, ask for a shorter time, or "
            "leave them out with cells=('rk4',)"
        )
    return enough.astype(np.int64)


def _distance(states: FloatArray, reference: FloatArray) -> float:
    """Return the largest difference, relative to the largest value of its state."""
    scale = np.abs(reference).max(axis=0)
    scale[scale == 0.0] = 1.0
    difference = np.abs(states[:, : reference.shape[1]] - reference) / scale
    return float(difference.max()) if np.isfinite(difference).all() else math.inf


# ---- Checks -------------------------------------------------------------------------------------


def _checked_times(t: Any) -> FloatArray:
    times = check_times(t)
    if times.size < 2:
        raise ValueError(
            f"compare needs at least two times, not t = {times.tolist()}; the initial state holds "
            "at the first, so give a later one as well, or an end time such as t=5"
        )
    return times


def _refuse_variables(network: Network) -> None:
    if network.variables:
        raise NetworkError(
            "compare needs reactions among species: the variable "
            f"{network.variables[0].name!r} follows a differential equation, which has no "
            "stochastic counterpart; write it as a species with reactions"
        )


def _checked_cells(cells: Sequence[str]) -> tuple[str, tuple[str, ...]]:
    if isinstance(cells, str):
        cells = (cells,)
    for cell in cells:
        resolve_cell(cell, {})
    noise = tuple(dict.fromkeys(cell for cell in cells if CELLS[cell].is_stochastic))
    deterministic = [cell for cell in cells if cell not in noise]
    if len(deterministic) != 1:
        raise ValueError(
            "cells must name exactly one deterministic cell, to hold the others against, not "
            f"{len(deterministic)}: {', '.join(map(repr, cells)) or 'none'}"
        )
    return deterministic[0], noise


def _checked_levels(quantiles: Sequence[float], level: float) -> tuple[float, ...]:
    levels = tuple(float(one) for one in np.atleast_1d(np.asarray(quantiles, dtype=np.float64)))
    if not levels or not all(0.0 < one < 1.0 for one in levels) or sorted(set(levels)) != [*levels]:
        raise ValueError(f"quantiles must increase and lie between 0 and 1, not {levels}")
    if not 0.0 < level < 1.0:
        raise ValueError(f"level must lie between 0 and 1, not {level!r}")
    return levels


def _checked_names(network: Network, outputs: Sequence[str] | None) -> tuple[str, ...]:
    known = (*network.species_names, *network.observable_names)
    if outputs is None:
        return known
    if isinstance(outputs, str):
        raise TypeError(f"outputs must be a list of names, such as [{outputs!r}]")
    for name in outputs:
        if name not in known:
            raise ValueError(unknown_name_message(network, str(name)))
    if not outputs:
        raise ValueError("outputs names nothing to compare; leave it out for all species")
    return tuple(dict.fromkeys(outputs))


def _checked_volumes(volumes: Sequence[float]) -> list[float]:
    omegas = [float(one) for one in np.atleast_1d(np.asarray(volumes, dtype=np.float64))]
    return sorted({omega for omega in omegas if omega != 1.0})
