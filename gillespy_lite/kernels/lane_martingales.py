"""Weighted martingales of `martingales.py` in lanes: one number a path, all reactions together.

With weights u_j(s) that are constant between the edges of a grid, a path gets the sum over its
events of the weight of what fired, less the integral of g = sum_j u_j a_j. The lanes of `lanes.py`
have the sums A_k = a_1 + ... + a_k at hand and not the propensities, so g = sum_k A_k (u_k -
u_{k+1}), and the weight of what fired is u_1 less (u_k - u_{k+1}) for each A_k that the target of
the draw has passed.

The edges are the sampling times of the lanes: one whose next event lies beyond its next edge is
held there, its integral is brought up to the edge, and it gets the weights of the next interval. No
new draw is made: the time of the next event counts from the last one.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from .jit import apart, kernel
from .lane_vectors import LANES, bits, everywhere, load, lowest_bit, select, store
from .lanes import (
    ALIVE,
    LEFT_OVER,
    LOOK,
    STEPS,
    UNDER_WAY,
    LaneNetwork,
    LaneWalker,
    begin,
    finish_lane,
    look,
    make_events,
    start_lane,
)
from .references import refer
from .walking import ALL_DONE, BUDGET_SPENT, COMPLETE

__all__ = ["MartingaleLanes", "MartingaleWalker", "run_martingale_lanes"]

_NO_BITS, _BIT = np.uint64(0), np.uint64(1)


class MartingaleLanes(NamedTuple):
    """A network, and what the sum of its martingales is weighted with."""

    lanes: LaneNetwork
    edges: np.ndarray  # (n_intervals + 1,) float64, increasing times
    first: np.ndarray  # (n_intervals,) float64, weight of the first reaction
    falls: np.ndarray  # (n_intervals, n_reactions) float64, u_k - u_{k+1}; the last is u_n


class MartingaleWalker(NamedTuple):
    """One thread's lanes, and their martingales."""

    counter: np.ndarray  # of `lanes`
    clock: np.ndarray  # of `lanes`
    lanes: LaneWalker
    interval: np.ndarray  # (LANES,) int64
    first: np.ndarray  # (LANES,) float64, of the interval
    falls: np.ndarray  # (n_reactions * LANES,) float64, of the interval
    martingale: np.ndarray  # (LANES,) float64, up to `since`
    since: np.ndarray  # (LANES,) float64
    slope: np.ndarray  # (LANES,) float64, g


@apart
def _enter(network, walker, lane, interval):
    """Give a lane the weights of an interval, that begins where it is."""
    walker.interval[lane] = interval
    walker.since[lane] = network.edges[interval]
    walker.lanes.grid_time[lane] = network.edges[interval + 1]
    walker.first[lane] = network.first[interval]
    slope = 0.0
    for k in range(network.falls.shape[1]):
        fall = network.falls[interval, k]
        walker.falls[k * LANES + lane] = fall
        slope += fall * walker.lanes.cumulative[k * LANES + lane]
    walker.slope[lane] = slope


@apart
def _reach(network, walker, lane, until):
    """Bring a lane past all edges before `until`; return whether that was the last."""
    while walker.lanes.grid_time[lane] < until:
        edge = walker.lanes.grid_time[lane]
        walker.martingale[lane] -= walker.slope[lane] * (edge - walker.since[lane])
        interval = walker.interval[lane] + 1
        if interval == network.first.size:
            return True
        _enter(network, walker, lane, interval)
    return False


@apart
def _begin_path(network, walker, lane):
    walker.martingale[lane] = 0.0
    _enter(network, walker, lane, 0)


@kernel
def run_martingale_lanes(network, request, walker, output, first_index, budget):
    """Fill the last state and the martingale of each row in lanes; return why it stopped.

    `output.counts` is (n_rows, 1, n_species), `output.values` (n_rows, 1, 1).
    """
    inner, plain, n = walker.lanes, network.lanes, network.falls.shape[1]
    far = refer(plain), refer(request), refer(inner), refer(output)
    own = refer(network), refer(walker)
    counter, all_lanes = walker.counter, everywhere(0.0) == 0.0
    if counter[UNDER_WAY] == 0:
        counter[UNDER_WAY] = 1
        alive = begin(plain, request, inner, far, first_index)
        for lane in range(LANES):
            if alive & (_BIT << np.uint64(lane)) != _NO_BITS:
                _begin_path(own[0], own[1], lane)
    else:
        alive = np.uint64(counter[ALIVE])
    step = counter[STEPS]
    last_step = step + max(np.int64(1), budget // LANES)
    while alive != _NO_BITS and step < last_step:
        step += 1
        goes, fault, target = make_events(plain, request, inner, far, all_lanes)
        slope, weight = everywhere(0.0), load(walker.first, 0)
        for k in range(n):
            share, fall = load(inner.cumulative, k * LANES), load(walker.falls, k * LANES)
            slope = slope + share * fall
            if k < n - 1:
                weight = weight - select(share <= target, fall, 0.0)
        since, now = load(walker.since, 0), load(inner.next_time, 0)
        past = load(walker.martingale, 0)
        store(walker.slope, 0, slope)
        store(walker.martingale, 0, select(goes, past + (weight - slope * (now - since)), past))
        store(walker.since, 0, select(goes, now, since))
        if step % LOOK == 0:
            fault |= look(far[0], far[2])
        fault &= alive
        stopped = (~bits(goes) & alive) | fault
        while stopped != _NO_BITS:
            lane = lowest_bit(stopped)
            bit = _BIT << np.uint64(lane)
            stopped &= ~bit
            total, outcome = inner.total[lane], 0
            if fault & bit != _NO_BITS or not total < np.inf:
                outcome = LEFT_OVER
            elif _reach(own[0], own[1], lane, inner.next_time[lane] if total > 0.0 else np.inf):
                outcome = COMPLETE
                row = inner.row[lane]
                for c in range(request.columns.size):
                    output.counts[row, 0, c] = np.int64(
                        inner.state[request.columns[c] * LANES + lane]
                    )
                output.values[row, 0, 0] = walker.martingale[lane]
            elif inner.n_events[lane] == request.max_events:
                outcome = LEFT_OVER
            if outcome != 0:
                finish_lane(inner, output, lane, outcome)
                if start_lane(far[0], far[1], far[2], far[3], first_index, lane):
                    _begin_path(own[0], own[1], lane)
                else:
                    alive &= ~bit
                    inner.grid_time[lane] = -np.inf
    counter[ALIVE], counter[STEPS] = np.int64(alive), step
    return ALL_DONE if alive == _NO_BITS else BUDGET_SPENT
