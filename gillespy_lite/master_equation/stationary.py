"""Stationary and quasi-stationary laws, and mean times of switching between sets of states."""

from __future__ import annotations

import math
import time
import warnings
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from ..errors import IncompleteWarning, MethodError, SimulationError
from ..interruption import interrupts_kept
from ..network import Network
from ..results import (
    Provenance,
    QuasiStationaryDistribution,
    StationaryDistribution,
    SwitchingTimes,
)
from ..run_plan import check_timeout
from ..version import STREAM_VERSION, __version__
from .absorption import SOLVERS, absorption
from .arguments import check_tolerance, initial_law, state_limit
from .conditions import Condition, as_condition, ended_by, require_steady
from .growth import FIND_ALL, grown_along_flow
from .state_space import StateSearch, StateSpace
from .transitions import (
    BoolArray,
    FloatArray,
    IntArray,
    Transitions,
    classes_of,
    missing_of,
    transitions_of,
)

__all__ = ["quasi_stationary_distribution", "stationary_distribution", "switching_times"]

_FIRST_STATES = 500
# A law that still moves as a whole on so many states is taken to have no limit.
_GIVE_UP, _MOVES = 100_000, 0.1
# A class that is left by what is cut off counts if it has this share of the largest one's states.
_SHARE = 0.05
_MOST_ITERATIONS = 20_000
# In terms of the state's own times, what flows into a new state has flown for ever.
_FOR_EVER = 1e100


def stationary_distribution(
    network: Network,
    *,
    initial: Any = None,
    tolerance: float = 1e-8,
    method: str = "auto",
    max_states: int | None = None,
    timeout: float | None = None,
) -> StationaryDistribution:
    """Return the law of a network's state after a long time.

    Where there is more than one closed class of states, each has a law of its own, and the result
    is their mixture, by the probabilities of ending in each from the initial law. Where there is
    no end of states, the set is made larger until the law no longer changes; this error is
    estimated, not proven.

    Parameters
    ----------
    network : Network
        Its rates must not depend on the time t; no events, delays or variables.
    initial : mapping or Distribution, optional
        As in `solve_master_equation`; it matters for which states can be reached, and for the
        weights of classes.
    tolerance : float, optional
        What the absolute errors of all probabilities may add up to.
    method : {"auto", "elimination", "lu", "gmres"}, optional
        How linear systems are solved; see docs/stationary.md.
    max_states : int, optional
        Never keep more states; by default as many as half of the memory holds.
    timeout : float, optional
        Seconds after which the best law so far is returned, with an `IncompleteWarning`.

    Returns
    -------
    StationaryDistribution
        A `Distribution` with the one time inf, and the classes.

    Raises
    ------
    MethodError
        If no law was found because counts seem to grow without bound, or if the network has what
        the states do not hold.

    References
    ----------
    Grassmann, Taksar and Heyman (1985), Oper. Res. 33, 1107, doi:10.1287/opre.33.5.1107. O'Cinneide
    (1993), Numer. Math. 65, 109, doi:10.1007/BF01385743.
    """
    started = time.perf_counter()
    require_steady(network, "stationary_distribution")
    run = _Growing(network, None, initial, tolerance, method, max_states, timeout)
    law = run.solved(lambda graph, start, is_whole: _stationary(graph, start, is_whole, method))
    keep = law.class_of >= 0
    # Classes are numbered by their first state.
    numbers, first = np.unique(law.class_of[keep], return_index=True)
    order = np.argsort(first)
    rank = np.empty(numbers.size, dtype=np.int64)
    rank[order] = np.arange(numbers.size)
    weights = np.bincount(law.class_of[keep], weights=law.p[keep], minlength=numbers.max() + 1)
    return StationaryDistribution(
        **run.fields(law, keep, started),
        class_of=rank[np.searchsorted(numbers, law.class_of[keep])],
        class_probabilities=np.asarray(weights[numbers[order]], dtype=np.float64),
        is_proven=run.is_complete,
        truncation_error=run.truncation_error,
        n_transient=int(np.count_nonzero(~keep)),
    )


def quasi_stationary_distribution(
    network: Network,
    leaving: Any,
    *,
    initial: Any = None,
    tolerance: float = 1e-8,
    method: str = "auto",
    max_states: int | None = None,
    timeout: float | None = None,
) -> QuasiStationaryDistribution:
    """Return the law of a network's state given that a condition has not come true for long.

    It is the law to which the conditional one tends from the initial law. Started from it, the
    time until the condition comes true is exponential, with the rate `decay_rate`.

    Parameters
    ----------
    network : Network
        As for `stationary_distribution`.
    leaving : str or Expression
        The condition that ends it, such as ``"X == 0"``; it must not hold at the start.
    initial, tolerance, method, max_states, timeout
        As for `stationary_distribution`.

    Returns
    -------
    QuasiStationaryDistribution
        A `Distribution` with the one time inf.

    Raises
    ------
    MethodError
        If the condition holds at the start, or never comes true from some states.

    References
    ----------
    Darroch and Seneta (1967), J. Appl. Probab. 4, 192, doi:10.2307/3212311. Collatz (1942), Math.
    Z. 48, 221, doi:10.1007/BF01180013.
    """
    started = time.perf_counter()
    require_steady(network, "quasi_stationary_distribution")
    end = as_condition(network, leaving, "leaving")
    run = _Growing(network, end, initial, tolerance, method, max_states, timeout)
    law = run.solved(
        lambda graph, start, is_whole: _quasi_stationary(
            graph, start, is_whole, method, run.tolerance, end.text
        )
    )
    keep = law.p > 0.0
    return QuasiStationaryDistribution(
        **run.fields(law, keep, started),
        leaving=end.text,
        decay_rate=law.decay_rate,
        decay_rate_bounds=law.bounds,
        is_proven=False,
        truncation_error=run.truncation_error,
    )


def switching_times(
    network: Network,
    a: Any,
    b: Any,
    *,
    start: str = "stationary",
    initial: Any = None,
    tolerance: float = 1e-8,
    method: str = "auto",
    max_states: int | None = None,
    timeout: float | None = None,
) -> SwitchingTimes:
    """Return the mean times of getting from where one condition is true to another, and back.

    Parameters
    ----------
    network : Network
        As for `stationary_distribution`.
    a, b : str or Expression
        Two conditions that are never true at once, such as ``"X > 10*Y"`` and ``"Y > 10*X"``.
    start : {"stationary", "quasi-stationary"}, optional
        From which law the time runs: the stationary one, given the first condition; or that which
        has not reached the second condition for long.
    initial, tolerance, method, max_states, timeout
        As for `stationary_distribution`.

    Returns
    -------
    SwitchingTimes

    Raises
    ------
    ValueError
        If both conditions are true in some state, or one has no stationary probability.
    MethodError
        As for `stationary_distribution`.
    """
    require_steady(network, "switching_times")
    if start not in ("stationary", "quasi-stationary"):
        raise ValueError(f"start must be 'stationary' or 'quasi-stationary', not {start!r}")
    ends = as_condition(network, a, "a"), as_condition(network, b, "b")
    options: dict[str, Any] = {
        "tolerance": tolerance, "method": method, "max_states": max_states, "timeout": timeout,
    }  # fmt: skip
    law = stationary_distribution(network, initial=initial, **options)
    states, p = law.states_at(), law.probabilities_at()
    inside = [end.holds(states) for end in ends]
    if (inside[0] & inside[1]).any():
        state = states[np.flatnonzero(inside[0] & inside[1])[0]].tolist()
        raise ValueError(
            f"'{ends[0].text}' and '{ends[1].text}' are both true in the state "
            f"{dict(zip(law.species, state, strict=True))}; choose sets without a common state"
        )
    shares = [float(p[one].sum()) for one in inside]
    for end, share in zip(ends, shares, strict=True):
        if not share > 0.0:
            raise ValueError(f"'{end.text}' has no stationary probability")
    means, error = [], law.error_bound[0] / min(shares)
    for k, end in enumerate((ends[1], ends[0])):
        if start == "quasi-stationary":
            most = states[inside[k]][np.argmax(p[inside[k]])]
            quasi = quasi_stationary_distribution(
                network, _expression(end), initial={tuple(most.tolist()): 1.0}, **options
            )
            low, high = quasi.decay_rate_bounds
            error = max(error, float(quasi.error_bound[0]), (high - low) / low)
            means.append(quasi.mean_time)
        else:
            space = StateSearch(network, states).space(states)
            mean, own = _mean_time(space, states, p * inside[k], end, method)
            error = max(error, own)
            means.append(mean)
    return SwitchingTimes(
        a=ends[0].text,
        b=ends[1].text,
        a_to_b=means[0],
        b_to_a=means[1],
        start=start,
        error=float(error),
        probability_a=shares[0],
        probability_b=shares[1],
    )


def _expression(end: Condition) -> Any:
    return end.expression


def _mean_time(
    space: StateSpace, states: IntArray, weight: FloatArray, end: Condition, method: str
) -> tuple[float, float]:
    """Return the mean time to a condition, and its relative error, from a law on some states."""
    law = np.zeros(space.n_states)
    law[space.index_of(states)] = weight / weight.sum()
    chain = _without_cut(transitions_of(space, end))
    start = np.zeros(space.n_states)
    start[chain.places] = 1.0
    if float(law @ (1.0 - start)) > 1e-12:
        return math.inf, 0.0  # from another class
    times = absorption(chain, method).values(np.ones(chain.n_states))
    mean = float(law[chain.places] @ times.solution)
    return mean, float(law[chain.places] @ times.error) / mean


def _without_cut(graph: Transitions) -> Transitions:
    """Return the states from which there is a way out but for what is cut off, reflected there."""
    inner = Transitions(graph.states, graph.places, graph.rates, graph.exits[:-1])
    keep = inner.can_leave()
    return Transitions(
        graph.states[keep],
        graph.places[keep],
        graph.rates[keep][:, keep].tocsr(),
        np.ascontiguousarray(inner.exits[:, keep]),
    )


# ---- Sets of states that grow -------------------------------------------------------------------


class _Law(NamedTuple):
    """A law on the states of a set."""

    p: FloatArray  # (n_states,)
    class_of: IntArray  # (n_states,) -1 for what is left for ever
    error: float  # of p, added up, but for what is cut off
    lost: float  # the probability of leaving for what is cut off, never to return as far as known
    weight: FloatArray  # (n_states,) where what is cut off matters
    name: str
    decay_rate: float = 0.0
    bounds: tuple[float, float] = (0.0, 0.0)


class _Growing:
    """A law on a set of states that is made larger until the law no longer changes."""

    def __init__(
        self,
        network: Network,
        end: Condition | None,
        initial: Any,
        tolerance: Any,
        method: str,
        max_states: int | None,
        timeout: float | None,
    ) -> None:
        if method not in SOLVERS:
            raise MethodError(f"unknown method {method!r}; choose one of {', '.join(SOLVERS)}")
        self.network, self._method = network, method
        self.tolerance = check_tolerance(tolerance)
        self._options: dict[str, Any] = {"tolerance": self.tolerance, "max_states": max_states}
        self._deadline = time.monotonic() + check_timeout(timeout)
        self._initial = initial_law(network, initial)
        self._ends = () if end is None else (end,)
        if end is not None and end.holds(self._initial.states).any():
            raise MethodError(f"'{end.text}' is true at the start; give another initial=")
        source = network if end is None else ended_by(end)
        self._search = StateSearch(source, self._initial.states)
        self._limit = state_limit(self._search, max_states)
        self._limit_name = "memory" if max_states is None else "max_states"
        self.is_complete = False
        self.truncation_error = 0.0
        self.stopped: str | None = None
        self._places: IntArray = np.zeros(0, dtype=np.int64)
        self._space: StateSpace

    def solved(self, solve: Callable[[Transitions, FloatArray, bool], _Law | None]) -> _Law:
        """Return the law on a set that is large enough."""
        with interrupts_kept():
            space, self.is_complete = self._first_set()
            known: tuple[StateSpace, IntArray, _Law] | None = None
            while True:
                graph = transitions_of(space, *self._ends)
                start = np.zeros(space.n_states)
                start[space.index_of(self._initial.states)] = self._initial.probabilities
                law = solve(graph, start[graph.places], self.is_complete)
                self._space, self._places = space, graph.places
                change = math.inf
                if law is not None:
                    # Until there are two laws to compare: the share of jumps that leave the set.
                    cut = float(graph.exits[-1] @ law.p)
                    change = min(2.0, 10.0 * cut / max(float(graph.outflow @ law.p), 1e-300))
                if law is not None and known is not None:
                    change = self._change(space, graph.places, law, *known)
                if law is not None and self.is_complete:
                    break
                if law is not None:
                    self.truncation_error = change + law.lost
                    if known is not None and self.truncation_error <= self.tolerance:
                        break
                    known = space, graph.places, law
                if self._must_end(space, law):
                    break
                space, self.is_complete = self._grown(space, graph, law)
        if law is None:
            raise self._no_law(space, 1.0)
        self._warn(law)
        return law

    def _must_end(self, space: StateSpace, law: _Law | None) -> bool:
        moves = law is None or self.truncation_error > _MOVES
        if space.n_states >= self._limit or (moves and space.n_states >= _GIVE_UP):
            if moves:
                raise self._no_law(space, 1.0 if law is None else law.lost)
            self.stopped = self._limit_name
        elif time.monotonic() > self._deadline:
            if moves:
                raise SimulationError(
                    "the time limit ran out before the law stopped moving; raise timeout"
                )
            self.stopped = "timeout"
        return self.stopped is not None

    def _no_law(self, space: StateSpace, lost: float) -> MethodError:
        return MethodError(
            f"no stationary law was found: on {space.n_states} states, it still moves as a whole "
            f"when more are added, or is left for ever with a probability of about {lost:.3g}. "
            "Counts may grow without bound; if they do not, raise max_states"
        )

    def _first_set(self) -> tuple[StateSpace, bool]:
        first = self._search.space(self._initial.states)
        most = min(self._limit, FIND_ALL)
        space, complete = self._search.grown(first, None, max_states=most)
        if complete or most == self._limit:
            return space, complete
        return self._search.grown(first, None, max_states=min(self._limit, _FIRST_STATES))

    @staticmethod
    def _change(
        space: StateSpace,
        places: IntArray,
        law: _Law,
        old_space: StateSpace,
        old_places: IntArray,
        old: _Law,
    ) -> float:
        new_p, old_p = np.zeros(space.n_states), np.zeros(space.n_states)
        new_p[places] = law.p
        old_p[space.index_of(old_space.states[old_places])] = old.p
        return float(np.abs(new_p - old_p).sum())

    def _grown(
        self, space: StateSpace, graph: Transitions, law: _Law | None
    ) -> tuple[StateSpace, bool]:
        n = space.n_states
        if law is None:
            return self._search.grown(space, None, max_states=min(self._limit, 2 * n))
        flow = graph.exits[-1] * law.weight
        n_edge = max(16, int(np.count_nonzero(graph.exits[-1])))
        mean_rate = float(graph.outflow @ law.weight)
        return grown_along_flow(
            self._search,
            space,
            graph,
            law.weight,
            least=max(1e-2 * self.tolerance * mean_rate, 1e-6 * float(flow.sum())) / n_edge,
            duration=_FOR_EVER,
            few_states=4 * _FIRST_STATES,
            limit=self._limit,
        )

    # ---- Afterwards -----------------------------------------------------------------------------

    def _warn(self, law: _Law) -> None:
        whole = law.error + self.truncation_error
        if self.stopped is None and whole <= self.tolerance:
            return
        if self.stopped is None:
            self.stopped = "rounding"
        reasons = {
            "rounding": "rounding adds up; choose method='elimination', or a larger tolerance",
            "timeout": "the time limit ran out",
            "max_states": f"more than max_states = {self._limit} states matter; raise it",
            "memory": f"memory holds about {self._limit} states, and more matter",
        }
        warnings.warn(
            f"the error is about {whole:.2g}, not {self.tolerance:.2g}: {reasons[self.stopped]}",
            IncompleteWarning,
            stacklevel=4,
        )

    def fields(self, law: _Law, keep: BoolArray, started: float) -> dict[str, Any]:
        """Return what a `Distribution` with the one time inf is made of."""
        p = law.p[keep]
        error = min(
            2.0,
            law.error
            + self.truncation_error
            + missing_of(self._initial.probabilities, self._initial.excess),
        )
        return {
            "times": np.array([math.inf]),
            "error_bound": np.array([error]),
            "excess_bound": np.array([error]),
            "states": self._space.states[self._places[keep]],
            "set_start": np.array([0, p.size], dtype=np.int64),
            "set_at": np.zeros(1, dtype=np.int64),
            "probabilities": p,
            "start": np.array([0, p.size], dtype=np.int64),
            "species": self.network.species_names,
            "observables": (),
            "tolerance": self.tolerance,
            "network": self.network,
            "provenance": Provenance(
                network=self.network,
                method=law.name,
                method_reason="auto" if self._method == "auto" else "asked for",
                options=self._options,
                entropy=None,
                stream_version=STREAM_VERSION,
                package_version=__version__,
                elapsed=time.perf_counter() - started,
            ),
            "end_time": math.inf,
            "stopped": self.stopped,
        }


# ---- Stationary laws ----------------------------------------------------------------------------


def _stationary(graph: Transitions, start: FloatArray, is_whole: bool, method: str) -> _Law | None:
    """Return the stationary law on a set, or None if nothing in it returns."""
    class_of = _closed_classes(graph, is_whole)
    if class_of is None:
        return None
    n, name = graph.n_states, "elimination"
    n_classes = int(class_of.max()) + 1
    inside = class_of >= 0
    # How much ends in each class. What cannot reach one has been cut off with what lies outside.
    shares = np.bincount(class_of[inside], weights=start[inside], minlength=n_classes)
    visits, lost, error = np.zeros(n), 0.0, 0.0
    if start[~inside].any():
        moving = graph.part(~inside, inside)
        can = moving.can_leave()
        lost += float(start[~inside][~can].sum())
        chain = moving.part(can)
        solver = absorption(chain, method)
        name = solver.name
        spent = solver.flows(start[~inside][can])
        rows = np.flatnonzero(~inside)[can]
        visits[rows] = spent.solution
        arrives = spent.solution @ graph.rates[rows]
        shares += np.bincount(class_of[inside], weights=arrives[inside], minlength=n_classes)
        lost += float(spent.solution @ chain.exits[-1])
        # All shares together err by no more than their largest rate times the times' errors.
        error += abs(1.0 - lost - float(shares.sum()))
        if math.isfinite(solver.relative_error):
            error += 2.0 * solver.relative_error
        else:
            error += float(spent.error.sum() * chain.outflow.max())
    p = np.zeros(n)
    worst = 0.0
    order = np.argsort(class_of, kind="stable")
    bounds = np.searchsorted(class_of[order], np.arange(n_classes + 1))
    for number in range(n_classes):
        members = order[bounds[number] : bounds[number + 1]]
        law, own, used = _class_law(graph, members, method)
        p[members] = shares[number] * law
        worst = max(worst, own)
        name = used or name
    total = float(p.sum())
    if total > 0.0:
        p /= total
    times = float(visits.sum())
    weight = p + (visits / times * lost if times > 0.0 else 0.0)
    return _Law(p, class_of, worst + error, lost, weight, name)


def _closed_classes(graph: Transitions, is_whole: bool) -> IntArray | None:
    """Return the number of each state's closed class, -1 for others; None if there is no class.

    Where states are cut off, a class that is left only for these is taken to be closed, if it is
    large and leads to no other.
    """
    classes = classes_of(graph)
    core = classes.is_closed.copy()
    if not is_whole:
        leaky = ~classes.is_closed & (classes.n_states > 1)
        largest = int(classes.n_states[leaky].max(initial=0))
        large = np.flatnonzero(leaky & (classes.n_states >= max(2.0, _SHARE * largest)))
        for one in large:
            others = np.isin(classes.member, large[large != one]) | core[classes.member]
            if not _leads_to(graph, classes.member == one, others):
                core[one] = True
    if not core.any():
        return None
    number = np.where(core, np.cumsum(core) - 1, -1)
    return np.asarray(number[classes.member])


def _leads_to(graph: Transitions, sources: BoolArray, targets: BoolArray) -> bool:
    ends = targets.astype(np.float64)[None]
    graph = Transitions(graph.states, graph.places, graph.rates, ends)
    return bool((graph.can_leave() & sources).any())


def _class_law(graph: Transitions, members: IntArray, method: str) -> tuple[FloatArray, float, str]:
    """Return the law within a class, what its errors add up to at most, and how it was solved."""
    n = members.size
    if n == 1:
        return np.ones(1), 0.0, ""
    rates = graph.rates[members][:, members].tocsr()
    chosen = 0
    for attempt in range(4):
        # The chain until it is back in one state: how long it is in each of the others.
        others = np.arange(n) != chosen
        back = np.asarray(rates[others][:, [chosen]].todense()).ravel()
        chain = Transitions(
            graph.states[members[others]],
            members[others],
            rates[others][:, others].tocsr(),
            back[None],
        )
        away = np.asarray(rates[[chosen]].todense()).ravel()[others]
        try:
            solver = absorption(chain, method)
            found = solver.flows(away)
        except MethodError:
            # The state was so improbable that the others exceed all numbers.
            if attempt == 3:
                raise
            chosen = (n - 1, n // 2, n // 4)[attempt]
            continue
        most = int(np.argmax(found.solution))
        if solver.name == "elimination" or found.solution[most] < 1e3 or attempt == 3:
            break
        chosen = int(np.flatnonzero(others)[most])
    law = np.ones(n)
    law[others] = found.solution
    total = float(law.sum())
    error = 2.0 * float(found.error.sum()) / total
    error = min(error, 2.0 * solver.relative_error)
    return law / total, error + n * 2.0**-53, solver.name


# ---- Quasi-stationary laws ----------------------------------------------------------------------


def _quasi_stationary(
    graph: Transitions,
    start: FloatArray,
    is_whole: bool,
    method: str,
    tolerance: float,
    text: str,
) -> _Law | None:
    """Return the law to which the conditional one tends, by iterating with the inverse of M."""
    chain = _without_cut(graph)
    if is_whole and chain.n_states < graph.n_states:
        raise MethodError(
            f"'{text}' never comes true from {graph.n_states - chain.n_states} of "
            f"{graph.n_states} states, so the law given that it has not is that of these states; "
            "see stationary_distribution"
        )
    place = np.full(graph.n_states, -1)
    mask = np.isin(graph.places, chain.places)
    place = np.flatnonzero(mask)
    p = start[place]
    if not p.any():
        return None
    solver = absorption(chain, method)
    p = p / p.sum()
    change, ratio = math.inf, 0.5
    error = math.inf
    for _ in range(_MOST_ITERATIONS):
        occupied = solver.flows(p).solution
        total = float(occupied.sum())
        following = occupied / total
        last, change = change, float(np.abs(following - p).sum())
        if math.isfinite(last) and last > 0.0:
            ratio = min(1.0 - 1e-9, change / last)
        before, p = p, following
        error = change * max(1.0, ratio / (1.0 - ratio))
        if error <= 0.1 * tolerance or change < 1e-15:
            break
    else:
        raise MethodError(
            f"the law given that '{text}' is not true still moves after {_MOST_ITERATIONS} "
            "iterations: there may be two with nearly the same decay rate"
        )
    matters = before > 1e-250
    quotient = occupied[matters] / before[matters]
    low, high = float(quotient.min()), float(quotient.max())
    # What rounds in a component far below the others says nothing; the rate itself is the flux.
    rate = float(chain.exits.sum(axis=0) @ p)
    whole = np.zeros(graph.n_states)
    whole[place] = p
    return _Law(
        *(whole, np.zeros(graph.n_states, dtype=np.int64), error + p.size * 2.0**-53, 0.0),
        *(whole, solver.name, rate, (min(rate, 1.0 / high), max(rate, 1.0 / low))),
    )
