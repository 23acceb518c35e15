"""How much work a kernel is given at a time: enough to be fast, little enough to stop soon."""

from __future__ import annotations

import time
from typing import Any

from .kernels.arrays import JumpNetwork, JumpWalker, Output, ReactionArrays, Request, Walker
from .kernels.lane_leaps import LeapNetwork, LeapWalker
from .kernels.lane_martingales import MartingaleLanes, MartingaleWalker
from .kernels.lanes import LaneNetwork, LaneWalker
from .kernels.walking import BUDGET_SPENT, EVENTS_FULL, N_EVENTS, ROW, TIME

__all__ = ["STANDSTILL", "Pace"]

# An outcome beside those of walking.py: many events without any time.
STANDSTILL = 100
_EVENTS_AT_ONE_TIME = 1000

# Between two looks at the clock, at Ctrl-C and at the timeout. A kernel call costs about 50 us.
_SECONDS = 0.05
_FIRST_BUDGET, _FIRST_BUDGET_IN_LANES = 20_000, 100_000  # some .4 ms
_LEAST_BUDGET = 100


class Pace:
    """Calls a kernel with a budget that takes about 50 ms; where it stops never changes a path."""

    def __init__(self, n_reactions: int, *, in_lanes: bool = False, soon: bool = False) -> None:
        first = _FIRST_BUDGET_IN_LANES if in_lanes else _FIRST_BUDGET
        if soon:  # a call that others wait for
            first //= 10
        # The methods that draw for every reaction cost in proportion to their number.
        self._budget = max(_LEAST_BUDGET, first * 100 // max(100, n_reactions))

    def step(
        self,
        kernel: Any,
        arrays: ReactionArrays | JumpNetwork | LaneNetwork | LeapNetwork | MartingaleLanes,
        request: Request,
        walker: Walker | JumpWalker | LaneWalker | LeapWalker | MartingaleWalker,
        output: Output,
        first_index: int,
    ) -> int:
        """Run the kernel once; return why it returned, or that the clock stands still."""
        clock, row, n_events = walker.clock[TIME], walker.counter[ROW], walker.counter[N_EVENTS]
        before = time.perf_counter()
        status = kernel(arrays, request, walker, output, first_index, self._budget)
        spent = time.perf_counter() - before
        # Grow by no more than 16 times: the first call may include compilation, and work varies.
        ratio = min(16.0, max(0.1, _SECONDS / max(spent, 1e-6)))
        self._budget = int(min(1e12, max(_LEAST_BUDGET, self._budget * ratio)))
        if (
            status in (BUDGET_SPENT, EVENTS_FULL)
            and walker.counter[ROW] == row
            and walker.clock[TIME] == clock
            and walker.counter[N_EVENTS] > n_events + _EVENTS_AT_ONE_TIME
        ):
            return STANDSTILL
        return int(status)
