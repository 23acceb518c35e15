"""One run of multilevel Monte Carlo: chooses levels, samples them to the targets, and sums up."""

from __future__ import annotations

import itertools
import math
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..errors import IncompleteWarning, Interrupted, SimulationError
from ..network import Network
from ..results import Provenance
from .allocation import Climb, numbers_of_paths, shares_of
from .arguments import MOST_STEPS, Targets
from .estimate import Level, MultilevelEstimate
from .levels import EXACT, EXACT_PAIR, LEAP, LEAP_PAIR, Rung
from .outputs import Outputs
from .sampling import Sampler
from .sums import LevelSums

__all__ = ["MultilevelRun"]

FloatArray = NDArray[np.float64]

# Paths of a pilot run: of leaps, of leaps that cost an eighth of an exact path, and of exact ones.
_PILOT, _SHORT_PILOT = 256, 64
# Levels are left for exact paths alone unless they are expected to take this many times less work.
_LEAST_GAIN = 1.2
# Numbers of paths grow by no more at a time, because what they are worked out from is uncertain;
# and they aim at somewhat less than the variance that is allowed.
_MOST_GROWTH, _AIM = 16, 0.95
# Expected work, in seconds of all threads, from which a time limit is asked for.
_LONG = 1e4
_NANOSECOND = 1e-9


class MultilevelRun:
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
                *(Rung(LEAP_PAIR, n, m) for m, n in itertools.pairwise(numbers)),
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
                or following.finer > MOST_STEPS
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
        ladder = self.sampler.ladder

        def worst(variances: FloatArray) -> float:
            return float(shares_of(variances, allowed).max(initial=0.0))

        first = pilots[0].coarser_squares / (pilots[0].n - 1)
        return Climb(
            [ladder.n_steps(height) for height in range(len(pilots) + 1)],
            [worst(first), *(worst(one.finer_variances()) for one in pilots)],
            [worst(one.likely_variances()) for one in pilots],
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

    def refine(self, chain: list[Rung], reason: str, *, may_change: bool) -> tuple[list[Rung], str]:
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
        found: Found,
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

    def _refuse_hours(self, found: Found, wanted: FloatArray) -> None:
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

    def _found(self, chain: Sequence[Rung]) -> Found | None:
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
        return Found(
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
            error.result = result  # type: ignore[attr-defined]
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
        self, found: Found, stopped: str | None, provenance: Provenance
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
class Found:
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
