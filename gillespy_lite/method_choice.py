"""Which method runs: the one asked for, or what `auto` chooses, and why."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from .compilation import CompiledNetwork
from .errors import MethodError
from .kernels.sum_tree import DENSE_LIMIT, LANE_LIMIT
from .lane_compilation import why_no_lanes
from .method_pilot import Activity, activity_of
from .methods import METHODS, Method, PartialPropensity, Rejection
from .rate_laws import did_you_mean

__all__ = ["choose_method", "work_of_methods"]

# Nanoseconds of an event as such, of a count that it changes, of a propensity that it changes, of a
# step of the program of a rate law, of a node in a tree of sums; and for the caches, times the root
# of the number of reactions that events are spread over. They were fitted to the first list of
# networks in benchmarks/large_networks.py, and checked with the second; see docs/methods.md.
_DIRECT = {"event": 52.0, "propensity": 2.6, "step": 3.5, "node": 3.5, "spread": 0.9}
_PARTIAL = {
    "event": 34.0,
    "change": 11.0,
    "propensity": 0.4,
    "step": 2.5,
    "node": 2.7,
    "spread": 1.5,
}
_GROUPS = {"event": 16.0, "change": 18.0, "propensity": 6.4, "step": 4.5, "spread": 0.2}
# A propensity times the binary logarithm of the number of reactions: it moves in the heap.
_HEAP = {"event": 30.0, "moved": 1.3, "step": 2.4, "spread": 0.6}
# Of bounds that are worked out anew, in place of propensities; of a proposal; and of a step of a
# law that is evaluated because the bounds leave a doubt.
_BOUNDS = {
    "change": 15.0,
    "bound": 11.4,
    "step": 15.0,
    "spread": 0.8,
    "proposal": 28.0,
    "doubtful": 3.0,
}
# Of the direct method where many paths go in lockstep, which compute all propensities: for each
# reaction and each step of a law. Measured: rings of 72, 150 and 256 reactions 26, 43 and 65 ns;
# 120 and 240 reactions of two molecules 34 and 52; 100 reactions with 50 laws 50.
_LANES = {"event": 14.0, "reaction": 0.2, "step": 0.08}
# A path must not depend on how many are asked for, so one choice is made for single paths and for
# ensembles. Of these an event counts so many times as much; but no single path shall take more than
# so many times what it could.
_OF_ENSEMBLES, _SLOWER_ALONE = 2.0, 2.5


def choose_method(
    method: str | Method,
    compiled: CompiledNetwork,
    options: Mapping[str, Any],
    *,
    waits: bool = False,
) -> tuple[Method, str]:
    """Return the method to run and why it was chosen.

    Parameters
    ----------
    method : str or Method
        A name from `METHODS`, ``"auto"`` or an instance.
    compiled : CompiledNetwork
        The network.
    options : mapping
        Options of the method.
    waits : bool, optional
        Whether the run may stop between jumps, at a time.

    Raises
    ------
    MethodError
        If the method is unknown, has no such option, or cannot do this network; the message names
        the construct and the methods that can.
    """
    if isinstance(method, Method):
        chosen, reason = method, "asked for"
    elif method == "auto":
        name, reason = _choose(compiled, waits or bool(options))
        chosen = METHODS[name]()
    elif method in METHODS:
        chosen, reason = METHODS[method](), "asked for"
    else:
        hint = did_you_mean(str(method), ["auto", *METHODS])
        raise MethodError(
            f"unknown method {method!r}; the methods are auto, {', '.join(METHODS)}{hint}"
        )
    if options:
        chosen = chosen.with_options(options)
    refusal = chosen.refusal(compiled)
    if refusal is not None:
        able = [name for name, other in METHODS.items() if other().refusal(compiled) is None]
        remedy = f"methods that can: {', '.join(able)}" if able else "no method can yet"
        if method == "auto" and able:
            remedy += f"; auto does not choose among them, so write method={able[0]!r}"
        raise MethodError(f"{refusal}; {remedy}")
    return chosen, reason


def _choose(compiled: CompiledNetwork, needs_direct: bool) -> tuple[str, str]:
    """Return what `auto` takes, and why: an approximation is never chosen for the user."""
    n = compiled.arrays.form.size
    if compiled.moves:
        return "direct", "auto: exact, and the state or its rates move between jumps"
    if n <= DENSE_LIMIT:
        return "direct", f"auto: exact, and the fastest exact method up to {DENSE_LIMIT} reactions"
    if needs_direct or compiled.real_sided:
        return "direct", "auto: exact, and does whatever was asked for"
    # Kept for later runs, and other numbers may have another choice.
    arrays = compiled.arrays
    numbers = arrays.coefficient, arrays.law_factor, arrays.parameters, compiled.initial_state
    known, name, reason = compiled.network.memo.get("choice", (None, "", ""))
    if known is None or not all(map(np.array_equal, known, numbers)):
        name, reason = _choose_by_pilot(compiled)
        compiled.network.memo["choice"] = numbers, name, reason
    return name, reason


def _choose_by_pilot(compiled: CompiledNetwork) -> tuple[str, str]:
    activity = activity_of(compiled)
    work = work_of_methods(compiled, activity)
    compared = ", ".join(f"{steps:.0f} in {name}" for name, steps in work.items())
    what = f"by a pilot of {activity.n_events} events, one takes about {compared}"
    what = what.replace(" in", " steps in", 1)
    best = min(work, key=work.__getitem__)
    if best != "direct" and why_no_lanes(compiled, LANE_LIMIT) is None:
        in_lanes, alone = _work_in_lanes(compiled), work["direct"] / work[best]
        both = alone * (in_lanes / work[best]) ** _OF_ENSEMBLES
        if both < 1.0 and alone <= _SLOWER_ALONE:
            return "direct", f"auto: exact; {what}, {in_lanes:.0f} in ensembles of direct"
    return best, f"auto: exact; {what}"


def _work_in_lanes(compiled: CompiledNetwork) -> float:
    n, n_steps = compiled.arrays.form.size, compiled.arrays.laws.operation.size
    return _LANES["event"] + _LANES["reaction"] * n + _LANES["step"] * n_steps


def work_of_methods(compiled: CompiledNetwork, activity: Activity) -> dict[str, float]:
    """Return what an event costs by the methods among which `auto` chooses, in about ns.

    It is counted in what the events of a pilot changed, never timed.
    """
    arrays, fired, n_states = compiled.arrays, activity.fired, compiled.initial_state.size - 1
    n = arrays.form.size
    steps = np.diff(arrays.laws.start).astype(np.float64)
    change = float(fired @ np.diff(arrays.change_start))
    # 1 where one reaction makes all events, n where all make as many.
    spread = 1.0 / math.sqrt(max(float(fired @ fired), 1.0 / n))
    # How often each list of dependents is gone through.
    times = np.repeat(fired, np.diff(arrays.part_start[: n + 1]))
    lists = np.bincount(
        arrays.part[: times.size], weights=times, minlength=arrays.dependent_start.size - 1
    )
    propensity = float(lists @ np.diff(arrays.dependent_start))
    step = float(lists @ _sums(arrays.law_dependent_start, arrays.law_dependent, steps))
    node = float(lists @ np.diff(arrays.node_start))

    sums = PartialPropensity().arrays(compiled)
    times = np.repeat(fired, np.diff(arrays.change_start)) * (arrays.change != 0)
    changed = np.bincount(arrays.change_species, weights=times, minlength=n_states + 1)
    classes = np.diff(sums.member_start) + np.diff(sums.hub_start) + np.diff(sums.alone_start)
    alone_steps = _sums(sums.alone_start, sums.alone_class, steps[sums.alone.astype(np.int64)])
    # Where nodes are not listed, all of the tree are added up at each event.
    tree = float(changed @ np.diff(sums.node_start)) if sums.node.size else sums.n_leaves / 7.0

    bounded = Rejection().arrays(compiled)
    readers = np.diff(bounded.reader_start)[:n_states]
    read_steps = _sums(bounded.reader_start, bounded.reader, steps)[:n_states]
    # About half of all proposals are in doubt.
    doubtful = 0.5 * activity.n_proposals * float(fired @ steps)

    def priced(prices: Mapping[str, float], **counted: float) -> float:
        counted = {"event": 1.0, "change": change, "step": step, "spread": spread, **counted}
        return sum(price * counted[name] for name, price in prices.items())

    return {
        "direct": priced(_DIRECT, propensity=propensity, node=node),
        "partial_propensity": priced(
            _PARTIAL,
            propensity=float(changed @ classes),
            step=float(changed @ alone_steps),
            node=tree,
        ),
        "composition_rejection": priced(_GROUPS, propensity=propensity),
        "rejection": priced(
            _BOUNDS,
            bound=float(activity.n_moves @ readers),
            step=float(activity.n_moves @ read_steps),
            proposal=activity.n_proposals,
            doubtful=doubtful,
        ),
        "next_reaction": priced(_HEAP, moved=propensity * math.log2(n)),
    }


def _sums(start: np.ndarray, items: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Return the sum of the weights of the items of each list."""
    until = np.concatenate([[0.0], np.cumsum(weights[items.astype(np.int64)])])
    return np.diff(until[start.astype(np.int64)])
