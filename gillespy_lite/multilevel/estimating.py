"""Estimates means to a tolerance by levels of coupled paths."""

from __future__ import annotations

import math
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..compilation import CompiledNetwork, compile_network
from ..errors import IncompleteWarning, Interrupted, MethodError, SimulationError
from ..lane_compilation import why_no_lanes
from ..network import Network
from ..progress import Progress, reporter
from ..rate_laws import Expression
from ..randomness import take_entropy
from ..results import Provenance
from ..run_plan import check_times, check_whole
from ..version import STREAM_VERSION, __version__
from ..workers import cores
from .allocation import Climb, numbers_of_paths, shares_of
from .estimate import Level, MultilevelEstimate
from .levels import EXACT, EXACT_PAIR, LEAP, LEAP_PAIR, Ladder, Rung
from .outputs import Outputs, check_outputs
from .sampling import Sampler
from .sums import LevelSums

__all__ = ["multilevel"]

FloatArray = NDArray[np.float64]

METHODS = ("auto", "multilevel", "exact")

# Paths of a pilot run: of leaps, of leaps that cost an eighth of an exact path, and of exact ones.
_PILOT, _SHORT_PILOT = 256, 64
# No leap path has more steps.
_MOST_STEPS = 2**26
# Levels are left for exact paths alone unless they are expected to take this many times less work.
_LEAST_GAIN = 1.2
# Numbers of paths grow by no more at a time, because what they are worked out from is uncertain;
# and they aim at somewhat less than the variance that is allowed.
_MOST_GROWTH, _AIM = 16, 0.95
# Expected work, in seconds of all threads, from which a time limit is asked for.
_LONG = 1e4
_NANOSECOND = 1e-9


@dataclass(frozen=True)
class Targets:
    """The half-widths that intervals may have: the larger of two, each (n_outputs,)."""

    absolute: FloatArray
    relative: FloatArray

    def half_widths(self, estimates: FloatArray) -> FloatArray:
        """Return them, (n_times, n_outputs)."""
        return np.maximum(self.absolute, self.relative * np.abs(estimates))


def multilevel(
    network: Network,
    t: Any,
    outputs: Sequence[str | Expression] | str | None = None,
    *,
    tolerance: float | Mapping[str, float] | None = None,
    relative_tolerance: float | Mapping[str, float] | None = None,
    confidence: float = 0.95,
    method: str = "auto",
    levels: Sequence[int] | None = None,
    rng: Any = None,
    seed: Any = None,
    threads: int | None = None,
    max_time: float | None = None,
    progress: bool | Progress = False,
) -> MultilevelEstimate:
    """Estimate means of functions of the state to a tolerance, by multilevel Monte Carlo.

    Most of the randomness is averaged out with cheap leap paths of a few steps. What these are off
    by is estimated from pairs of paths that share their random numbers and so differ by little: of
    few and more steps, and at last of leaps and the exact path. So the estimate has no bias from
    leaping, however long the steps are, and needs few exact paths.

    Parameters
    ----------
    network : Network
        Without events, delays, variables and rates that depend on t.
    t : float or array_like, shape (n_times + 1,)
        End time, at which alone the means are estimated; or increasing times, the first of which is
        when the initial state holds, and the others those of the estimates.
    outputs : sequence of str or Expression, optional
        What to average: species, observables, and expressions such as ``"P^2"``, in molecules; the
        mean of a condition such as ``"P > 50"`` is its probability. By default all species.
    tolerance : float or mapping of str to float, optional
        Half-width that the confidence intervals may have, in the unit of the output; of all
        outputs, or by their names.
    relative_tolerance : float or mapping of str to float, optional
        The same as a share of the estimate. Of two tolerances of an output the larger counts; an
        output that has none gets what comes of the others. 0.01 if no tolerance is given.
    confidence : float, optional
        Of each interval by itself.
    method : str, optional
        ``"multilevel"``; ``"exact"``, with exact paths alone; or ``"auto"``, whichever is expected
        to take less work.
    levels : sequence of int, optional
        Numbers of steps of the leap paths up to the end time, each a multiple of the one before; by
        default chosen by pilot runs. If there are several times, a level may get some steps more,
        because each time ends a step.
    rng, seed : optional
        As for `ensemble`. Path `i` of a level depends on `(rng, level, i)` alone, and how many
        paths there are on counted work and no clock, so that the result is the same on any number
        of threads.
    threads : int, optional
        Threads to use; all cores by default.
    max_time : float, optional
        Seconds after which the run stops and returns what it has, with wider intervals and an
        `IncompleteWarning`.
    progress : bool or callable, optional
        True shows a bar; a callable is called as ``progress(done, total)``, in per cent of the work
        that is expected.

    Returns
    -------
    MultilevelEstimate
        `estimates` and `standard_errors` of shape (n_times, n_outputs), intervals, and what each
        level took.

    Raises
    ------
    MethodError
        If the network has what leap paths cannot follow, naming it.
    ValueError, TypeError
        If an argument makes no sense, or the tolerance would take hours and there is no `max_time`.
    NetworkError
        If an output uses an unknown name.
    SimulationError
        If a propensity of an exact path turns negative, infinite or not a number, an output is no
        finite number, or `max_time` ran out before each level had its first paths; else
        `error.result` holds the estimate so far.
    Interrupted
        On Ctrl-C; `error.result` holds the estimate so far, or None if a level has no paths yet.

    Notes
    -----
    The numbers of paths follow from variances that are estimated from paths that are used for the
    estimate, too. This makes the estimate depend on its own error a little: by a part of order 1/n
    of a standard error, n being the paths of the first round. The intervals are those of Student's
    t, with the degrees of freedom of Welch and Satterthwaite.

    References
    ----------
    Anderson and Higham (2012), Multiscale Model. Simul. 10:146, doi:10.1137/110840546. Giles
    (2008), Oper. Res. 56:607, doi:10.1287/opre.1070.0496. Welch (1947), Biometrika 34:28,
    doi:10.1093/biomet/34.1-2.28.
    """
    started = time.perf_counter()
    if not isinstance(network, Network):
        raise TypeError(
            f"the first argument must be a Network, not {type(network).__name__}; make one from "
            "text with Network.parse(text), from a file with Network.read(path)"
        )
    times = _check_times(t)
    if method not in METHODS:
        raise MethodError(f"unknown method {method!r}; choose among {', '.join(METHODS)}")
    if levels is not None and method == "exact":
        raise ValueError("levels= says how many steps leap paths have, and method='exact' has none")
    if not (isinstance(confidence, float | np.floating) and 0.0 < confidence < 1.0):
        raise ValueError(f"confidence must be a number between 0 and 1, not {confidence!r}")
    compiled = compile_network(network)
    _refuse(compiled)
    chosen = check_outputs(network, outputs)
    targets = _check_targets(chosen, tolerance, relative_tolerance)
    steps = None if levels is None else _check_levels(levels)
    n_threads = check_whole(threads, "threads", 1) if threads is not None else cores()
    limit = _check_max_time(max_time)
    entropy = take_entropy(rng, seed)
    ladder = Ladder(compiled, times, chosen) if steps is None else Ladder(
        compiled, times, chosen, steps[0]
    )
    run = _Run(
        network=network,
        outputs=chosen,
        targets=targets,
        confidence=confidence,
        sampler=Sampler(ladder, entropy, n_threads, limit),
        tell=reporter(progress, 100.0, "multilevel"),
        is_limited=math.isfinite(limit),
        n_threads=n_threads,
    )
    options: dict[str, int | float | str | bool | None] = {
        "method": method,
        "levels": None if steps is None else ", ".join(map(str, steps)),
        "confidence": confidence,
        "tolerance": _shown(tolerance),
        "relative_tolerance": _shown(relative_tolerance),
        "max_time": max_time,
    }
    run.sampler.load_kernels()
    run.sampler.start_clock()
    chain, reason = run.choose(method, steps)
    if run.sampler.stopped is None:
        chain, reason = run.refine(chain, reason, may_change=method == "auto" and steps is None)

    def provenance() -> Provenance:
        return Provenance(
            network=network,
            method="multilevel",
            method_reason=reason,
            options=options,
            entropy=entropy,
            stream_version=STREAM_VERSION,
            package_version=__version__,
            elapsed=time.perf_counter() - started,
            engine="lanes",
            engine_reason="the only one for coupled paths",
        )

    return run.finish(chain, provenance)


class _Run:
    """One call of `multilevel`."""

    def __init__(
        self,
        *,
        network: Network,
        outputs: Outputs,
        targets: Targets,
        confidence: float,
        sampler: Sampler,
        tell: Callable[[float], None],
        is_limited: bool,
        n_threads: int,
    ) -> None:
        self.network, self.outputs, self.targets = network, outputs, targets
        self.confidence, self.sampler, self._tell = confidence, sampler, tell
        self._is_limited, self._n_threads = is_limited, n_threads
        self._expected_work = math.inf
        self._n_events = 0.0

    # ---- The choice of levels

    def choose(self, method: str, steps: Sequence[int] | None) -> tuple[list[Rung], str]:
        """Return the levels to use and why."""
        if method == "exact":
            return [Rung(EXACT, 0, 0)], "exact paths alone: asked for"
        if steps is not None:
            base = self.sampler.ladder.n_steps(0)
            numbers = [base * (n // steps[0]) for n in steps]
            chain = [
                Rung(LEAP, numbers[0], 0),
                *(Rung(LEAP_PAIR, n, m) for m, n in zip(numbers, numbers[1:], strict=False)),
                Rung(EXACT_PAIR, 0, numbers[-1]),
            ]
            return chain, "multilevel: levels as asked for"
        return self._climb(must_leap=method == "multilevel")

    def _climb(self, *, must_leap: bool) -> tuple[list[Rung], str]:
        """Go up the ladder as long as it pays, and choose among its rungs."""
        ladder, prices = self.sampler.ladder, self.sampler.prices
        pilots: list[LevelSums] = []
        while True:
            height = len(pilots)
            pair = Rung(LEAP_PAIR, ladder.n_steps(height + 1), ladder.n_steps(height))
            is_dear = pilots and prices.leaps(pair) > prices.exact(self._n_events) / 8.0
            if not self._run({pair: _SHORT_PILOT if is_dear else _PILOT}):
                break
            sums = self._sums(pair)
            assert sums is not None
            pilots.append(sums)
            self._n_events = sums.n_events / sums.n
            allowed = self._allowed(sums.finer_mean, self._normal_quantile())
            climb = self._climb_of(pilots, allowed)
            chain = climb.best_chain(self._price)
            following = Rung(LEAP_PAIR, ladder.n_steps(height + 2), pair.finer)
            exact_pair = Rung(EXACT_PAIR, 0, pair.finer)
            if (
                chain[-1][0].coarser < pair.finer
                or self._price(following) > self._price(exact_pair)
                or following.finer > _MOST_STEPS
            ):
                break
        if self.sampler.stopped is not None:
            return [], ""
        leaps, exact = self._expected(chain), self._expected_exact(climb.variances[-1])
        gain = exact / leaps if leaps > 0.0 else 1.0
        if must_leap:
            return [rung for rung, _ in chain], "multilevel: asked for"
        if gain < _LEAST_GAIN:
            return [Rung(EXACT, 0, 0)], self._why_exact(gain)
        reason = f"auto: multilevel, expected to take {gain:.2g} times less work than exact paths"
        return [rung for rung, _ in chain], reason

    def _climb_of(self, pilots: Sequence[LevelSums], allowed: FloatArray) -> Climb:
        conditions, ladder = self.outputs.are_conditions, self.sampler.ladder

        def worst(variances: FloatArray) -> float:
            return float(shares_of(variances, allowed).max(initial=0.0))

        first = pilots[0].coarser_squares / (pilots[0].n - 1)
        return Climb(
            [ladder.n_steps(height) for height in range(len(pilots) + 1)],
            [worst(first), *(worst(one.finer_variances()) for one in pilots)],
            [worst(one.variances(conditions)) for one in pilots],
        )

    def _price(self, rung: Rung) -> float:
        return self.sampler.prices.expected(rung, self._n_events)

    def _expected(self, chain: Sequence[tuple[Rung, float]]) -> float:
        """Return the work that levels will take, of which each has at least one block."""
        scale = sum(math.sqrt(variance * self._price(rung)) for rung, variance in chain)
        return sum(
            max(
                scale * math.sqrt(variance * self._price(rung)),
                self.sampler.level(rung).n_rows * self._price(rung),
            )
            for rung, variance in chain
        )

    def _expected_exact(self, variance: float) -> float:
        rung = Rung(EXACT, 0, 0)
        return max(variance, float(self.sampler.level(rung).n_rows)) * self._price(rung)

    @staticmethod
    def _why_exact(gain: float) -> str:
        if gain <= 1.0:
            return (
                f"auto: exact paths alone, because levels would take {1.0 / max(gain, 1e-9):.2g} "
                "times as much work"
            )
        return f"auto: exact paths alone, because levels would save a factor of {gain:.2g} only"

    # ---- Refinement

    def refine(
        self, chain: list[Rung], reason: str, *, may_change: bool
    ) -> tuple[list[Rung], str]:
        """Run more paths until the targets are met or the run is stopped."""
        self._run(dict.fromkeys(chain, _SHORT_PILOT))
        first = True
        while self.sampler.stopped is None:
            found = self._found(chain)
            assert found is not None
            half_widths = found.quantiles * found.standard_errors
            wanted = self.targets.half_widths(found.estimates)
            if (half_widths <= wanted).all():
                break
            allowed = self._allowed(found.estimates, found.quantiles)
            works = {rung: sums.work / sums.n for rung, sums in found.sums.items()}
            numbers = numbers_of_paths(found.variances, works, allowed)
            self._expected_work = self.sampler.work + sum(
                max(0, numbers[rung] - found.sums[rung].n) * works[rung] for rung in chain
            )
            if first and may_change and chain[-1].kind == EXACT_PAIR:
                # Now that exact paths were seen, the choice is looked at again.
                gain = self._gain(found, chain, allowed, numbers, works)
                if gain < 1.0:
                    chain, reason = [Rung(EXACT, 0, 0)], self._why_exact(gain)
                    self._run(dict.fromkeys(chain, _SHORT_PILOT))
                    first = False
                    continue
            first = False
            self._refuse_hours(found, wanted)
            more = {}
            for rung in chain:
                n = found.sums[rung].n
                more[rung] = min(max(numbers[rung], n), _MOST_GROWTH * n)
            if all(more[rung] <= found.sums[rung].n for rung in chain):
                more = {rung: math.ceil(1.1 * found.sums[rung].n) for rung in chain}
            self._run(more)
        return chain, reason

    def _gain(
        self,
        found: _Found,
        chain: Sequence[Rung],
        allowed: FloatArray,
        numbers: Mapping[Rung, int],
        works: Mapping[Rung, float],
    ) -> float:
        """Return how many times less work is left with levels than with exact paths alone."""
        left = sum(max(0, numbers[rung] - found.sums[rung].n) * works[rung] for rung in chain)
        sums = found.sums[chain[-1]]
        price = self.sampler.prices.exact(sums.n_events / sums.n)
        exact = float(shares_of(sums.finer_variances(), allowed).max(initial=0.0)) * price
        return exact / left if left > 0.0 else math.inf

    def _refuse_hours(self, found: _Found, wanted: FloatArray) -> None:
        seconds = self._expected_work * _NANOSECOND / self._n_threads
        if self._is_limited or seconds < _LONG:
            return
        missed = found.quantiles * found.standard_errors / np.maximum(wanted, 1e-300)
        row, k = np.unravel_index(int(np.argmax(missed)), missed.shape)
        raise ValueError(
            f"the tolerance would take about {seconds / 3600.0:.2g} hours; it is smallest, against "
            f"what is reached, for '{self.outputs.names[int(k)]}' at t = "
            f"{self.sampler.ladder.times[int(row) + 1]:g}, whose estimate is "
            f"{found.estimates[row, k]:.3g} +/- "
            f"{found.quantiles[row, k] * found.standard_errors[row, k]:.2g} so far. Give a larger "
            "tolerance= (a relative one alone has no meaning for what is about 0), or max_time= to "
            "get as far as that"
        )

    # ---- What there is

    def _found(self, chain: Sequence[Rung]) -> _Found | None:
        """Return the estimate so far, or None where a level has fewer than two paths."""
        sums: dict[Rung, LevelSums] = {}
        for rung in chain:
            one = self._sums(rung)
            if one is None or one.n < 2:
                return None
            sums[rung] = one
        if not sums:
            return None
        conditions = self.outputs.are_conditions
        variances = {rung: one.variances(conditions) for rung, one in sums.items()}
        parts = [variances[rung] / one.n for rung, one in sums.items()]
        total = np.sum(parts, axis=0)
        spread = np.sum(
            [part**2 / (one.n - 1) for part, one in zip(parts, sums.values(), strict=True)], axis=0
        )
        with np.errstate(invalid="ignore", divide="ignore"):
            freedom = np.where(spread > 0.0, total**2 / spread, np.inf)
        return _Found(
            sums,
            variances,
            np.sum([one.mean for one in sums.values()], axis=0),
            np.sqrt(total),
            _student_quantiles(freedom, self.confidence),
        )

    def finish(
        self, chain: Sequence[Rung], provenance: Callable[[], Provenance]
    ) -> MultilevelEstimate:
        """Return the result, or raise what stopped the run with it."""
        stopped, error = self.sampler.stopped, self.sampler.error
        found = self._found(chain)
        result = None if found is None else self._result(found, stopped, provenance())
        if error is not None:
            error.result = result
            raise error
        if stopped == "interrupt":
            there = "the estimate so far is in the error's .result"
            none = "before each level had its first paths, so there is no estimate yet"
            raise Interrupted(f"interrupted; {there if result else none}", result)
        if result is None:
            raise SimulationError(
                "max_time ran out before each level had its first paths, so there is no estimate; "
                "give more time"
            )
        if stopped == "timeout":
            warnings.warn(
                "max_time: the run was stopped, and its intervals are wider than asked for",
                IncompleteWarning,
                stacklevel=3,
            )
        else:
            self._tell(100.0)
        return result

    def _result(
        self, found: _Found, stopped: str | None, provenance: Provenance
    ) -> MultilevelEstimate:
        ladder, prices = self.sampler.ladder, self.sampler.prices
        wanted = self.targets.half_widths(found.estimates)
        last = list(found.sums.values())[-1]
        exact_work = prices.exact(last.n_events / last.n)
        variances = last.finer_variances()
        # Of the outputs that a tolerance was asked for.
        counts = np.isfinite(wanted) & (found.standard_errors > 0.0)
        n_exact = 0.0
        if counts.any():
            n_exact = float((variances[counts] / found.standard_errors[counts] ** 2).max())
        levels = tuple(
            Level(
                kind=rung.kind,
                n_steps=rung.finer,
                n_coarser_steps=rung.coarser,
                longest_step=(
                    math.nan if rung.kind == EXACT
                    else ladder.longest_step(rung.coarser or rung.finer)
                ),
                n=sums.n,
                means=sums.mean,
                variances=found.variances[rung],
                work=sums.work / sums.n,
            )
            for rung, sums in found.sums.items()
        )  # fmt: skip
        return MultilevelEstimate(
            times=ladder.times[1:],
            outputs=self.outputs.names,
            estimates=found.estimates,
            standard_errors=found.standard_errors,
            half_widths=found.quantiles * found.standard_errors,
            wanted_half_widths=wanted,
            confidence=self.confidence,
            levels=levels,
            work=self.sampler.work,
            exact_variances=variances,
            exact_work=exact_work,
            n_exact=n_exact,
            network=self.network,
            provenance=provenance,
            stopped=stopped,
        )

    # ---- Small things

    def _run(self, wanted: dict[Rung, int]) -> bool:
        def report(done: float) -> None:
            self._tell(min(99.0, 100.0 * done / self._expected_work))

        return self.sampler.run(wanted, report)

    def _sums(self, rung: Rung) -> LevelSums | None:
        return self.sampler.level(rung).sums

    def _allowed(self, estimates: FloatArray, quantiles: FloatArray | float) -> FloatArray:
        """Return the variances that the estimates may have."""
        wanted = self.targets.half_widths(estimates)
        return np.asarray(_AIM * (wanted / quantiles) ** 2)

    def _normal_quantile(self) -> float:
        return float(_student_quantiles(np.full(1, np.inf), self.confidence)[0])


@dataclass(frozen=True)
class _Found:
    """The estimate at some point of the run; arrays (n_times, n_outputs)."""

    sums: dict[Rung, LevelSums]
    variances: dict[Rung, FloatArray]
    estimates: FloatArray
    standard_errors: FloatArray
    quantiles: FloatArray


def _student_quantiles(freedom: FloatArray, confidence: float) -> FloatArray:
    from scipy.special import ndtri, stdtrit

    upper = 0.5 + confidence / 2.0
    finite = np.where(np.isfinite(freedom), freedom, 1.0)
    return np.where(np.isfinite(freedom), stdtrit(finite, upper), ndtri(upper))


# ---- Arguments -----------------------------------------------------------------------------------


def _check_times(t: Any) -> FloatArray:
    times = check_times(t)
    if np.ndim(t) == 0:
        return times[[0, -1]]
    if times.size < 2:
        raise ValueError(
            f"t holds one time, {times[0]:g}, when the initial state holds; give the times of the "
            "estimates after it, or an end time alone"
        )
    return times


def _check_max_time(max_time: Any) -> float:
    if max_time is None:
        return math.inf
    is_number = isinstance(max_time, int | float | np.number) and not isinstance(max_time, bool)
    if not is_number or not float(max_time) >= 0.0:
        raise ValueError(f"max_time must be a number of seconds, 0 or more, not {max_time!r}")
    return float(max_time)


def _refuse(compiled: CompiledNetwork) -> None:
    """Refuse what leap paths in lanes cannot follow, by name."""
    network = compiled.network
    advice = "; use ensemble(network, t, n, statistics=True) with method 'direct'"
    cannot = "multilevel paths keep their propensities during a leap, so they cannot follow"
    if compiled.real_sided:
        raise MethodError(f"reaction {compiled.real_sided[0]} {compiled.why_real()}")
    if network.variable_names:
        raise MethodError(f"{cannot} the variable {network.variable_names[0]!r}{advice}")
    if compiled.time_dependent:
        raise MethodError(
            f"{cannot} the rate of reaction {compiled.time_dependent[0]}, which depends on the "
            f"time t{advice}"
        )
    if network.events:
        event = network.events[0]
        name = f" '{event.name}'" if event.name else ""
        raise MethodError(f"{cannot} event 1{name} (when {event.trigger}){advice}")
    if compiled.delayed:
        raise MethodError(f"{cannot} the delay of reaction {compiled.delayed[0]}{advice}")
    reason = why_no_lanes(compiled)
    if reason is not None:
        raise MethodError(f"coupled paths run in lanes, and this network cannot: {reason}{advice}")


def _check_levels(levels: object) -> list[int]:
    if isinstance(levels, str) or not isinstance(levels, Sequence | np.ndarray):
        raise TypeError(f"levels must be a list of numbers of steps, not {levels!r}")
    steps = [check_whole(one, "each of levels", 1) for one in levels]
    if not steps:
        raise ValueError("levels is empty; give at least one number of steps")
    for one, following in zip(steps, steps[1:], strict=False):
        if following % one or following == one:
            raise ValueError(
                f"each of levels must be a multiple of the one before, but {following} follows "
                f"{one}; for example levels=[{one}, {4 * one}]"
            )
    if steps[-1] > _MOST_STEPS:
        raise ValueError(f"levels has {steps[-1]} steps; at most {_MOST_STEPS} are possible")
    return steps


def _check_targets(
    outputs: Outputs,
    tolerance: float | Mapping[str, float] | None,
    relative: float | Mapping[str, float] | None,
) -> Targets:
    if tolerance is None and relative is None:
        relative = 0.01
    absolute_ones = _by_output(outputs, tolerance, "tolerance")
    relative_ones = _by_output(outputs, relative, "relative_tolerance")
    free = np.isnan(absolute_ones) & np.isnan(relative_ones)
    absolute_ones = np.where(free, np.inf, np.nan_to_num(absolute_ones))
    return Targets(absolute_ones, np.nan_to_num(relative_ones))


def _by_output(
    outputs: Outputs, given: float | Mapping[str, float] | None, argument: str
) -> FloatArray:
    """Return a number for each output, nan where there is none."""
    found = np.full(len(outputs.names), np.nan)
    if given is None:
        return found
    if isinstance(given, Mapping):
        if not given:
            raise ValueError(f"{argument} is empty; give a number, or one for an output")
        for name, value in given.items():
            if name not in outputs.names:
                raise ValueError(
                    f"{argument} names '{name}', which is none of the outputs: "
                    f"{', '.join(outputs.names)}"
                )
            found[outputs.names.index(name)] = _positive(value, f"{argument} of '{name}'")
        return found
    found[:] = _positive(given, argument)
    return found


def _positive(value: Any, argument: str) -> float:
    is_number = isinstance(value, int | float | np.number) and not isinstance(value, bool)
    if not is_number or not 0.0 < float(value) < math.inf:
        raise ValueError(f"{argument} must be a number above 0, not {value!r}")
    return float(value)


def _shown(given: float | Mapping[str, float] | None) -> float | str | None:
    if isinstance(given, Mapping):
        return ", ".join(f"{name}: {value:g}" for name, value in given.items())
    return None if given is None else float(given)
