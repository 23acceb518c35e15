"""The states of a network and the flow of probability between them, for whatever is solved on them.

>>> import gillespy_lite as gl
>>> from gillespy_lite.master_equation import StateSearch
>>> network = gl.models.dimerisation()
>>> space = StateSearch(network).reachable()
>>> space.n_states, space.states[0].tolist(), space.states[-1].tolist()
(51, [0, 50], [100, 0])
>>> generator = space.generator()
>>> matrix = generator.to_scipy()  # p' = matrix @ p
>>> matrix.shape
(51, 51)

`StateSearch` finds states: all that can be reached (`reachable`, up to a number of them), or those
that a given amount of probability flows into (`grown`). `StateSpace` is a sorted set of them, with
`index_of` to find one; `Generator` is A of p' = A p on the set. What flows out of the set is lost
from p: `Generator.leak` is its rate for each state.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..compilation import CompiledNetwork, compile_network, label
from ..conservation import integer_left_null_space
from ..errors import BadPropensityError, CountOverflowError, MethodError, SimulationError
from ..interruption import interrupts_kept
from ..kernels.state_flow import (
    Flow,
    apply_flow,
    apply_transposed,
    count_runs,
    fill_runs,
    gather_rates,
    link_states,
)
from ..kernels.state_search import (
    BAD_RATE,
    FOUND_ALL,
    KEYS_COLLIDE,
    LAYER_END,
    N_BEFORE,
    N_LAYERS,
    N_SEARCH_COUNTERS,
    N_STATES,
    NEXT,
    NO_ROOM,
    PAUSED,
    REACTION,
    STATE,
    TOO_LARGE,
    Channels,
    StateTable,
    fill_rates,
    fill_table,
    search_states,
)
from ..memory import require_memory
from ..network import Network
from ..randomness import seed_sequence

if TYPE_CHECKING:
    from scipy import sparse

__all__ = ["Generator", "StateSearch", "StateSpace", "bytes_per_state"]

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

# A kernel looks at so many states between two looks at Ctrl-C: some 10 to 50 ms.
_LOOKS_AT_ONCE = 100_000
_SHORTEST_RUN = 4
_KEY_BITS = 62
_EVERY_LAYER = 2.0**62


def bytes_per_state(n_species: int, n_channels: int) -> int:
    """Return about how much memory one state takes while it is solved for, in bytes."""
    # Counts, key and propensities, twice where a set is copied into a larger one; slots; source,
    # propensities and inflow, and a mark of each channel; vectors.
    return 2 * (8 * (n_species + 2) + 8 * n_channels) + 16 + 21 * n_channels + 64


@dataclass(frozen=True, eq=False)
class StateSpace:
    """A set of states, in the order of their keys.

    Attributes
    ----------
    search : StateSearch
        Where it comes from: the network, its channels, how keys are made.
    rows : ndarray, shape (n_states, n_species + 1), int64
        Counts, and a 1 behind them.
    keys : ndarray, shape (n_states,), int64
        Increasing.
    """

    search: StateSearch
    rows: IntArray
    keys: IntArray
    multipliers: IntArray  # (n_species,)
    limits: IntArray  # (n_coordinates,) where the keys' range ends
    is_exact: bool  # whether keys never pass the largest number: neighbours keep their order
    known_rates: FloatArray | None = None  # (n_states, n_channels), where they never change

    @property
    def n_states(self) -> int:
        """Number of states."""
        return int(self.keys.size)

    @property
    def states(self) -> IntArray:
        """The counts of all species in each state, (n_states, n_species) int64."""
        return self.rows[:, :-1]

    def index_of(self, states: Any) -> IntArray:
        """Return the places of some states, (n,) int64; -1 for those that are not in the set.

        Parameters
        ----------
        states : array_like of int, shape (n, n_species)
            Counts of all species.
        """
        wanted = np.asarray(states, dtype=np.int64).reshape(-1, self.rows.shape[1] - 1)
        place = np.searchsorted(self.keys, wanted @ self.multipliers)
        place = np.minimum(place, self.n_states - 1)
        is_there = (self.rows[place, :-1] == wanted).all(axis=1)
        return np.where(is_there, place, -1)

    def subset(self, keep: NDArray[np.bool_]) -> StateSpace:
        """Return the states that are marked, (n_states,) bool."""
        return StateSpace(
            self.search,
            np.ascontiguousarray(self.rows[keep]),
            np.ascontiguousarray(self.keys[keep]),
            self.multipliers,
            self.limits,
            self.is_exact,
            None if self.known_rates is None else np.ascontiguousarray(self.known_rates[keep]),
        )

    @cached_property
    def _links(self) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Where probability comes from, which channels lead out of the set, and the runs."""
        channels = self.search.channels
        key_step = channels.change[:, :-1] @ self.multipliers
        source = np.empty((key_step.size, self.n_states), dtype=np.uint32)
        leaves = np.empty((key_step.size, self.n_states), dtype=np.uint8)
        link_states(self.keys, key_step, self.is_exact, source, leaves)
        channel_run = np.zeros(key_step.size + 1, dtype=np.int64)
        count_runs(source, channel_run, np.zeros((0, 3), dtype=np.int64))
        n_runs = int(channel_run[-1])
        # Shorter runs cost more than looking up each source.
        if n_runs * _SHORTEST_RUN > source.size:
            n_runs = 0
        run = np.zeros((n_runs, 3), dtype=np.int64)
        if n_runs:
            fill_runs(source, channel_run, run)
        return source, leaves, channel_run, run

    def rates(self, time: float = 0.0) -> FloatArray:
        """Return the propensities of all channels in all states, (n_states, n_channels) float64.

        Raises
        ------
        BadPropensityError
            If one is negative, infinite or not a number, naming the reaction and the state.
        """
        search = self.search
        if self.known_rates is not None:
            return self.known_rates
        rates = self._filled(search.channels, time)
        if not search.compiled.time_dependent:
            object.__setattr__(self, "known_rates", rates)
        return rates

    def moving_rates(self, time: float) -> FloatArray:
        """Return the propensities of those channels that depend on t, (n_states, n_moving)."""
        channels, first = self.search.channels, self.search.n_still
        part = channels._replace(start=channels.start[first:], key_step=channels.key_step[first:])
        return self._filled(part, time)

    def _filled(self, channels: Channels, time: float) -> FloatArray:
        search = self.search
        rates = np.empty((self.n_states, channels.key_step.size))
        counter = np.zeros(N_SEARCH_COUNTERS, dtype=np.int64)
        for first in range(0, self.n_states, _LOOKS_AT_ONCE):
            last = min(first + _LOOKS_AT_ONCE, self.n_states)
            status = fill_rates(
                *(search.compiled.arrays, channels, self.rows, first, last),
                *(time, search.stack, rates, counter),
            )
            if status != FOUND_ALL:
                raise search.trouble(status, counter, self.rows, time)
        return rates

    def generator(self, time: float = 0.0) -> Generator:
        """Return A of p' = A p on these states, with the rates of a time."""
        source, leaves, channel_run, run = self._links
        rates = np.ascontiguousarray(self.rates(time).T)
        rate = np.empty_like(rates)
        outflow, leak = np.empty(self.n_states), np.empty(self.n_states)
        gather_rates(source, leaves, rates, rate, outflow, leak)
        return Generator(self, Flow(source, rate, outflow, channel_run, run), leak, leaves)


@dataclass(frozen=True, eq=False)
class Generator:
    """A of the master equation p' = A p on a set of states.

    Attributes
    ----------
    space : StateSpace
        The states.
    flow : Flow
        What the kernels read.
    leak : ndarray, shape (n_states,), float64
        Per unit time, what leaves each state for one that is not in the set.
    leaves : ndarray, shape (n_channels, n_states), uint8
        By which channels.
    """

    space: StateSpace
    flow: Flow
    leak: FloatArray
    leaves: NDArray[np.uint8]

    @property
    def n_states(self) -> int:
        """Number of states."""
        return self.space.n_states

    @property
    def largest_outflow(self) -> float:
        """The largest rate at which a state is left, per unit time."""
        return float(self.flow.outflow.max(initial=0.0))

    def apply(self, p: FloatArray) -> FloatArray:
        """Return A p, (n_states,) float64."""
        change = np.empty(self.n_states)
        values = np.ascontiguousarray(p, dtype=np.float64)
        apply_flow(self.flow, values, 0, self.n_states, change)
        return change

    def apply_transposed(self, values: FloatArray) -> FloatArray:
        """Return the rates of change of the mean of a function of the state, (n_states,)."""
        change = np.empty(self.n_states)
        apply_transposed(self.flow, np.ascontiguousarray(values, dtype=np.float64), change)
        return change

    def to_scipy(self) -> sparse.csc_array:
        """Return A as a sparse matrix of SciPy, (n_states, n_states)."""
        from scipy import sparse

        n, flow = self.n_states, self.flow
        row = np.tile(np.arange(n), flow.source.shape[0])
        comes = flow.rate.ravel() != 0.0
        everyone = np.arange(n)
        return sparse.csc_array(
            (
                np.concatenate([flow.rate.ravel()[comes], -flow.outflow]),
                (
                    np.concatenate([row[comes], everyone]),
                    np.concatenate([flow.source.ravel()[comes].astype(np.int64), everyone]),
                ),
            ),
            shape=(n, n),
        )


class StateSearch:
    """Finds the states of a network.

    Parameters
    ----------
    network : Network
        Its species, and reactions without delay.
    initial : array_like of int, shape (n, n_species), optional
        The states to start from; by default the network's initial state.
    extra_changes : sequence of int, optional
        Species that something else than reactions changes, such as events.

    Raises
    ------
    MethodError
        If the network has what the master equation has no states for: variables, delays, amounts
        that are not whole.
    """

    def __init__(
        self, network: Network, initial: Any = None, extra_changes: Sequence[int] = ()
    ) -> None:
        self.network = network
        self.compiled: CompiledNetwork = compile_network(network)
        _refuse(self.compiled)
        start = network.initial_state[None] if initial is None else np.asarray(initial)
        self.initial: IntArray = np.ascontiguousarray(start, dtype=np.int64)
        self.stack = np.zeros(2 * self.compiled.stack_depth)
        self.channels, self.n_still = _channels(self.compiled)
        self._n_keys = 0
        self._coordinates = _independent(self.channels.change[:, :-1], self.initial, extra_changes)

    @property
    def n_channels(self) -> int:
        """Number of different changes that reactions make."""
        return int(self.channels.key_step.size)

    @property
    def bytes_per_state(self) -> int:
        """About how much memory one state takes while it is solved for."""
        return bytes_per_state(self.network.n_species, self.n_channels)

    def space(self, states: IntArray) -> StateSpace:
        """Return a set of states, sorted, from their different rows (n, n_species)."""
        rows = np.ones((states.shape[0], self.network.n_species + 1), dtype=np.int64)
        rows[:, :-1] = states
        return self._sorted(rows, *self._multipliers(rows))

    def reachable(self, max_states: int = 1_000_000) -> StateSpace:
        """Return all states that can be reached, whatever the time.

        Raises
        ------
        MethodError
            If there are more than `max_states`.
        """
        space, is_complete = self.grown(
            self.space(np.unique(self.initial, axis=0)), None, max_states=max_states
        )
        if not is_complete:
            raise MethodError(
                f"more than max_states = {max_states} states can be reached; raise it, or limit "
                "the counts"
            )
        return space

    def grown(
        self,
        space: StateSpace,
        weight: FloatArray | None,
        *,
        seeds: IntArray | None = None,
        least_flow: float = 0.0,
        duration: float = 1.0,
        n_layers: float = _EVERY_LAYER,
        time: float = 0.0,
        max_states: int,
    ) -> tuple[StateSpace, bool]:
        """Return a larger set: with the states that probability flows into.

        Parameters
        ----------
        space : StateSpace
            Where to start from.
        weight : ndarray, shape (n_states,), float64, or None
            The probabilities of these states; None finds all states that can be reached.
        seeds : ndarray of int64, optional
            The states from which it may flow out; by default all.
        least_flow : float
            Per unit time; a state that less flows into is left out.
        duration : float
            For how long it flows.
        n_layers : float
            At most so many events from the states there are.
        time : float
            The rates are those of this time.
        max_states : int
            No more than this.

        Returns
        -------
        StateSpace
            The larger set.
        bool
            Whether all that was to be found is in it.
        """
        limits = np.array([0.0 if weight is None else least_flow, duration, n_layers])
        with interrupts_kept():
            while True:
                found = self._grow_once(space, weight, seeds, limits, time, max_states)
                if found is not None:
                    return found
                # The counts have outgrown the keys: make keys with more room, and begin again.
                order = space.rows
                space = self._sorted(order, *self._multipliers(order, _more_room(space)))
                if weight is not None:
                    weight = weight[self._order]
                if seeds is not None:
                    seeds = np.sort(np.argsort(self._order)[seeds])

    def _grow_once(
        self,
        space: StateSpace,
        weight: FloatArray | None,
        seeds: IntArray | None,
        limits: FloatArray,
        time: float,
        max_states: int,
    ) -> tuple[StateSpace, bool] | None:
        n = space.n_states
        channels = self.channels._replace(key_step=self.channels.change[:, :-1] @ space.multipliers)
        first = np.arange(n, dtype=np.int64) if seeds is None else seeds
        counter = np.zeros(N_SEARCH_COUNTERS, dtype=np.int64)
        counter[N_STATES] = counter[N_BEFORE] = n
        counter[LAYER_END] = first.size
        capacity = min(max_states + self.n_channels, max(1024, n + n // 2))
        capacity = max(capacity, n + self.n_channels + 1)
        table, arrays = self._table(space, space.rates(time), capacity)
        arrays[0][:n] = 1.0 if weight is None else weight
        status = PAUSED
        while status in (PAUSED, NO_ROOM):
            if status == NO_ROOM:
                if int(counter[N_STATES]) >= max_states:
                    break
                table, arrays = self._enlarged(table, arrays, int(counter[N_STATES]), max_states)
            status = search_states(
                *(self.compiled.arrays, channels, table, *arrays, first, counter, time),
                *(self.stack, limits, _LOOKS_AT_ONCE),
            )
        if status == KEYS_COLLIDE:
            return None
        if status not in (FOUND_ALL, NO_ROOM):
            raise self.trouble(status, counter, table.states, time)
        size = min(int(counter[N_STATES]), max(n, max_states))
        if size == n:
            return space, status == FOUND_ALL
        order = np.argsort(table.key[:size])
        rates = None
        if not self.compiled.time_dependent:
            # Of the states that were found last the propensities are not known yet.
            last = min(int(counter[NEXT]) if counter[N_LAYERS] else n, size)
            failed = fill_rates(
                *(self.compiled.arrays, channels, table.states, last, size, time),
                *(self.stack, table.rates, counter),
            )
            if failed != FOUND_ALL:
                raise self.trouble(failed, counter, table.states, time)
            rates = table.rates[order]
        grown = StateSpace(
            *(self, table.states[order], table.key[order], space.multipliers, space.limits),
            *(space.is_exact, rates),
        )
        return grown, status == FOUND_ALL

    def _table(
        self, space: StateSpace, rates: FloatArray, capacity: int
    ) -> tuple[StateTable, tuple[FloatArray, FloatArray]]:
        n = space.n_states
        self._require(capacity)
        states = np.ones((capacity, space.rows.shape[1]), dtype=np.int64)
        key = np.zeros(capacity, dtype=np.int64)
        states[:n], key[:n] = space.rows, space.keys
        slot = np.zeros(1 << (2 * capacity - 1).bit_length(), dtype=np.int32)
        all_rates = np.empty((capacity, self.n_channels))
        all_rates[:n] = rates
        table = StateTable(states, key, slot, self._coordinates, space.limits, all_rates)
        fill_table(table, n)
        return table, (np.zeros(capacity), np.zeros(capacity))

    def _enlarged(
        self, old: StateTable, arrays: tuple[FloatArray, FloatArray], n: int, max_states: int
    ) -> tuple[StateTable, tuple[FloatArray, FloatArray]]:
        capacity = min(max_states + self.n_channels, 2 * old.key.size)
        capacity = max(capacity, n + self.n_channels + 1)
        self._require(capacity)
        states = np.ones((capacity, old.states.shape[1]), dtype=np.int64)
        key = np.zeros(capacity, dtype=np.int64)
        states[:n], key[:n] = old.states[:n], old.key[:n]
        slot = np.zeros(1 << (2 * capacity - 1).bit_length(), dtype=np.int32)
        rates = np.empty((capacity, self.n_channels))
        rates[:n] = old.rates[:n]
        table = old._replace(states=states, key=key, slot=slot, rates=rates)
        fill_table(table, n)
        weight, inflow = np.zeros(capacity), np.zeros(capacity)
        weight[:n], inflow[:n] = arrays[0][:n], arrays[1][:n]
        return table, (weight, inflow)

    def _require(self, capacity: int) -> None:
        require_memory(capacity * self.bytes_per_state, "set a smaller max_states")

    def _sorted(
        self, rows: IntArray, multipliers: IntArray, limits: IntArray, is_exact: bool
    ) -> StateSpace:
        keys = rows[:, :-1] @ multipliers
        self._order = np.argsort(keys)
        return StateSpace(
            self,
            np.ascontiguousarray(rows[self._order]),
            np.ascontiguousarray(keys[self._order]),
            multipliers,
            limits,
            is_exact,
        )

    def _multipliers(
        self, rows: IntArray, room: IntArray | None = None
    ) -> tuple[IntArray, IntArray, bool]:
        """Return what counts are multiplied with, the counts' limits, and if keys are in order."""
        coordinates, n_species = self._coordinates, self.network.n_species
        highest = rows[:, coordinates].max(axis=0, initial=0) + 1
        limits = np.maximum(4 * highest, 64) if room is None else np.maximum(room, 4 * highest)
        multipliers = np.zeros(n_species, dtype=np.int64)
        if float(np.log2(limits.astype(np.float64)).sum()) < _KEY_BITS:
            step = 1
            # The widest range varies fastest, so that neighbours are close in memory.
            for k in np.argsort(-limits, kind="stable"):
                multipliers[coordinates[k]] = step
                step *= int(limits[k])
            return multipliers, limits, True
        # Odd numbers that have nothing to do with one another: two states among 1e7 share a key
        # with a probability of 3e-6, which the search notices.
        self._n_keys += 1
        words = seed_sequence(self._n_keys).generate_state(coordinates.size, np.uint64)
        multipliers[coordinates] = (words | np.uint64(1)).view(np.int64)
        return multipliers, np.full(coordinates.size, 2**62), False

    def trouble(
        self, status: int, counter: IntArray, rows: IntArray, time: float
    ) -> SimulationError:
        """Return the error for a state at which a propensity or a count makes no sense."""
        network = self.network
        reaction = int(counter[REACTION])
        state = rows[int(counter[STATE]), :-1].tolist()
        names = network.species_names
        shown = ", ".join(f"{name} = {n}" for name, n in zip(names, state, strict=True))
        where = f"in the state {shown if len(shown) < 500 else shown[:500] + ' ...'}"
        if status == BAD_RATE:
            values: dict[str, float] = {
                **dict(
                    zip(network.parameter_names, network.parameter_values.tolist(), strict=True)
                ),
                **dict(zip(names, map(float, state), strict=True)),
                "t": time,
            }
            value = float(np.asarray(network.expanded_rate(reaction).evaluate(values)))
            return BadPropensityError(
                f"the rate '{network.reactions[reaction].rate}' of reaction "
                f"{label(network, reaction)} is {value:g} at t = {time:g} {where}; a propensity "
                "must be a finite number, 0 or more, in every state that can be reached"
            )
        assert status == TOO_LARGE
        return CountOverflowError(
            f"reaction {label(network, reaction)} raises a count above 2**53 = 9007199254740992 "
            f"{where}"
        )


def _more_room(space: StateSpace) -> IntArray:
    """Return limits for keys twice to eight times as far; less for those that are far away."""
    coordinates = space.search._coordinates
    highest = space.rows[:, coordinates].max(axis=0) + 1
    grow = np.where(4 * highest >= space.limits // 2, 8, 2)
    return np.asarray(np.minimum(grow * space.limits, 2**60))


def _refuse(compiled: CompiledNetwork) -> None:
    network = compiled.network
    if compiled.real_sided:
        raise MethodError(
            f"reaction {compiled.real_sided[0]} {compiled.why_real()}; the master equation counts "
            "molecules"
        )
    if network.variable_names:
        raise MethodError(
            f"{network.variable_names[0]!r} is a variable, a real amount beside the counts, and "
            "the master equation has no states for it; make it a parameter or a species, or "
            "sample with method 'direct'"
        )
    if compiled.delayed:
        raise MethodError(
            f"reaction {compiled.delayed[0]} has a delay, and the master equation has no states "
            "for what is on its way; sample with method 'direct', or write the delay as steps"
        )


def _channels(compiled: CompiledNetwork) -> tuple[Channels, int]:
    """Return the reactions that change anything by what they change, and how many do not move.

    Those with a rate that depends on t come last.
    """
    network, moves = compiled.network, compiled.arrays.moves
    changes = np.asarray(network.stoichiometry_matrix, dtype=np.int64).T
    found: dict[tuple[int, ...], list[int]] = {}
    for j, change in enumerate(map(tuple, changes.tolist())):
        if any(change):
            found.setdefault(change, []).append(j)
    groups = dict(sorted(found.items(), key=lambda one: bool(moves[one[1]].any())))
    n_still = sum(not moves[group].any() for group in groups.values())
    kept = [j for group in groups.values() for j in group]
    start = np.concatenate([[0], np.cumsum([len(one) for one in groups.values()])])
    matrix = np.zeros((len(groups), network.n_species + 1), dtype=np.int64)
    if groups:
        matrix[:, :-1] = np.array(list(groups), dtype=np.int64)
    return (
        Channels(
            start=start.astype(np.int64),
            reaction=np.array(kept, dtype=np.int64),
            change=matrix,
            key_step=np.zeros(len(groups), dtype=np.int64),
        ),
        n_still,
    )


def _independent(changes: IntArray, initial: IntArray, extra: Sequence[int]) -> IntArray:
    """Return species whose counts say those of all others, by the conservation laws.

    Two states that can be reached from one another, or from different initial states, differ by
    whole multiples of what reactions and events change and of what initial states differ by.
    """
    n_species = initial.shape[1]
    columns = [*changes.tolist(), *(initial[1:] - initial[0]).tolist()]
    columns += [[int(k == i) for k in range(n_species)] for i in extra]
    columns = [list(one) for one in dict.fromkeys(map(tuple, columns))]
    matrix = [list(row) for row in zip(*columns, strict=True)] if columns else []
    laws = integer_left_null_space(matrix, n_species) if matrix else None
    if laws is None:
        return np.zeros(0, dtype=np.int64)
    dependent: set[int] = set()
    # Each law gives one species in terms of others: Gaussian elimination picks which.
    rows = [[float(x) for x in law] for law in laws]
    for place, law in enumerate(rows):
        # The one that is last in the network's order, most often a complex or a product.
        chosen = max(i for i, x in enumerate(law) if abs(x) > 1e-9)
        dependent.add(chosen)
        for other in rows[place + 1 :]:
            factor = other[chosen] / law[chosen]
            for i in range(n_species):
                other[i] -= factor * law[i]
    return np.array([i for i in range(n_species) if i not in dependent], dtype=np.int64)
