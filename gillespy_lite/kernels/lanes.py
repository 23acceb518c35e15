"""The direct method for many trajectories in lockstep: one event of each at every step.

Each lane is at work on one row of the output. A step draws for all lanes, adds up propensities in
the order of the direct method, and fires one reaction in each. A lane whose next event lies beyond
its next sampling time is held: its state and stream stay what they are, the row is recorded outside
the vector arithmetic, and the next step draws the same numbers again. So a lane goes the very path
that `run_direct` goes for the same row, draw for draw.

Whatever is out of the ordinary (a propensity that is negative or not a number, a count that grows
towards 2**53, a limit of events, a clock that stands still) is not treated here: the row is given
back with the outcome LEFT_OVER, and the scalar kernel runs it from its start.

A lane that is done takes the next row from a counter that all threads share.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from .jit import apart, inlined, kernel
from .lane_programs import LaneTape, follow_tape, run_tape
from .lane_random import next_words, random_exponential, random_uniform
from .lane_vectors import (
    LANES,
    align_stack,
    bits,
    everywhere,
    load,
    lowest_bit,
    ones,
    select,
    store,
    take_next,
)
from .prefetching import prefetch_to_write
from .programs import Programs, evaluate_program
from .random import seed_stream
from .references import refer
from .walking import ALL_DONE, BUDGET_SPENT, COMPLETE

__all__ = [
    "LARGEST_LANE_CHANGE",
    "LARGEST_LANE_COUNT",
    "LEFT_OVER",
    "LOOK",
    "STOPS_A_SAMPLE",
    "LaneNetwork",
    "LaneWalker",
    "attend",
    "begin",
    "event_maker",
    "fill_fixed",
    "fill_laws",
    "find_hits",
    "finish_lane",
    "lane_kernel",
    "law_values",
    "look",
    "make_events",
    "propensities_of",
    "record_lane",
    "run_lanes",
    "start_lane",
    "steps_to_wait",
]

# An outcome beside those of walking.py: the scalar kernel must run this row.
LEFT_OVER = -1

# Counts are doubles here. They are looked at every LOOK steps, and a lane with one above the first
# number is given back. So no count can pass 2**53 unseen if no event changes one by more than the
# second.
LARGEST_LANE_COUNT = 2.0**52
LARGEST_LANE_CHANGE = 2.0**40
LOOK = 1024

# A lane at a sampling time may stay held for some steps, which changes nothing but the time spent.
# To look at lanes costs some 35 ns (a branch that nobody foresees, and in bursts a call) and a step
# of an event 3 ns a lane, so sqrt(16 / stops a step) steps are about the best; where there is less
# than a stop in two and a half steps, none. It is reckoned again after so many stops.
STOPS_A_SAMPLE = 256

_NO_BITS, _BIT = np.uint64(0), np.uint64(1)
_AHEAD = np.uint64(16)  # numbers, two cache lines


class LaneNetwork(NamedTuple):
    """A network as lanes read it; all arrays are contiguous.

    The numbers of a network may be there many times, as sets: coefficients, factors and parameters
    here, `initial_state` and `key` in the request, each set by set in a flat array. An ordinary run
    has one set. A lane has the numbers of the set that its row belongs to.

    A state is flat, (n_rows, LANES): row i is species i; then a row of ones, the missing partner;
    then one row for each law, the propensity of a reaction that is not PAIR; then the parameters,
    and what the tapes of the laws and of the condition read and write besides.
    """

    # For each reaction, and then for as many of propensity 0 as fill a block (`n_places`): its
    # propensity is coefficient * x[first] * (x[second] - shift). A law is 1 * its row * (1 - 0).
    coefficient: np.ndarray  # (n_sets * n_padded,) float64
    first: np.ndarray  # (n_padded,) int64, a place in the state: LANES * row
    second: np.ndarray  # (n_padded,) int64
    shift: np.ndarray  # (n_padded,) float64
    # Laws. Weight of law i: factor[i], times falling factorials of its reactants where `scaled`.
    factor: np.ndarray  # (n_sets * n_laws,) float64
    scaled: np.ndarray  # (n_laws,) int64
    reactant_start: np.ndarray  # (n_laws + 1,) int64
    reactant: np.ndarray  # (n_entries,) int64
    reactant_count: np.ndarray  # (n_entries,) int64
    laws: Programs  # one a law; empty where there is only a weight
    tape: LaneTape  # the same, as lanes compute them
    constants: np.ndarray  # (n_constants,) float64, rows of the state behind the parameters
    n_scratch: int  # rows behind these
    parameters: np.ndarray  # (n_sets * n_parameters,) float64
    # What events change. Few entries are gone through for all lanes at once, species by species:
    # species s owns start[s]:start[s + 1] of which reactions change it, and by how much.
    change_start: np.ndarray  # (n_species + 1,) int64
    change_reaction: np.ndarray  # (n_entries,) int64
    change: np.ndarray  # (n_entries,) float64
    # Many entries are gone through lane by lane: reaction j owns width entries from width * j, with
    # changes of 0 as padding; the last row is for a lane that is held.
    row_width: int  # 0 where the lists above are used
    row_species: np.ndarray  # ((n_reactions + 1) * width,) int64, a place in the state
    row_change: np.ndarray  # ((n_reactions + 1) * width,) float64
    n_species: int
    n_reactions: int
    n_parameters: int
    rows_per_set: int


class LaneWalker(NamedTuple):
    """One thread's lanes: all that the kernel needs to go on where it stopped."""

    queue: np.ndarray  # (1,) int64, the next row; shared by the threads at work on one output
    counter: np.ndarray  # (N_LANE_COUNTERS,) int64, see below
    clock: np.ndarray  # (2,) float64, for `Pace` only
    state: np.ndarray  # (n_rows * LANES,) float64
    stream: np.ndarray  # (4 * LANES,) uint64, word by word
    # Sums of propensities: (n_padded * LANES,) float64, one for each reaction; or the nodes of a
    # tree of sums, (tree_size(n_reactions) * LANES,).
    cumulative: np.ndarray
    time: np.ndarray  # (LANES,) float64
    next_time: np.ndarray  # (LANES,) float64, of the event that was drawn
    total: np.ndarray  # (LANES,) float64
    grid_time: np.ndarray  # (LANES,) float64, of the next record
    look_time: np.ndarray  # (LANES,) float64, the time at the last look
    n_events: np.ndarray  # (LANES,) int64
    chosen: np.ndarray  # (LANES,) int64
    target: np.ndarray  # (LANES,) float64, scratch
    n_recorded: np.ndarray  # (LANES,) int64
    row: np.ndarray  # (LANES,) int64
    set: np.ndarray  # (LANES,) int64, whose numbers a lane has; -1 for a start
    coefficient: np.ndarray  # (n_padded * LANES,) float64
    factor: np.ndarray  # (n_laws * LANES,) float64
    parameters: np.ndarray  # (n_parameters * LANES,) float64, a part of the state
    condition: LaneTape  # of the run; of no expression where there is none
    stack: np.ndarray  # (LANES,) float64, scratch of generated code
    lane_state: np.ndarray  # (n_species + 1,) float64, one lane's state; scratch
    lane_stack: np.ndarray  # (depth,) float64, 3 at least, scratch
    seed: np.ndarray  # (4,) uint64, scratch


# LaneWalker.counter. The first places are those of `walking`, where `Pace` looks: rows finished.
N_FINISHED, UNDER_WAY, ALIVE, STEPS = 0, 1, 4, 5
N_LANE_COUNTERS = 8


# ---- Propensities --------------------------------------------------------------------------------


@inlined
def law_values(network, walker, law):
    """Return the propensities of a law."""
    state, tape = walker.state, network.tape
    first, last = network.reactant_start[law], network.reactant_start[law + 1]
    # Whatever the weight is below: a law that takes no step has none here.
    follow_tape(tape, law, state, walker.lane_stack)
    if network.scaled[law] == 0:
        # The expression alone, where there are the molecules.
        value = load(state, tape.result[law])
        for k in range(first, last):
            count = load(state, network.reactant[k] * LANES)
            value = select(count < np.float64(network.reactant_count[k]), 0.0, value)
        return value
    weight = load(walker.factor, law * LANES)
    for k in range(first, last):
        count = load(state, network.reactant[k] * LANES)
        for taken in range(network.reactant_count[k]):
            weight = weight * (count - np.float64(taken))
        weight = select(count < np.float64(network.reactant_count[k]), 0.0, weight)
    if tape.result[law] >= 0:
        weight = select(weight == 0.0, weight, weight * load(state, tape.result[law]))
    return weight


@apart
def fill_fixed(network, walker):
    """Write what the laws take from parameters and constants alone, in all lanes."""
    run_tape(network.tape, network.scaled.size, walker.state, walker.lane_stack)


@apart
def fill_laws(network, walker):
    """Write the propensities of the laws to their rows; return where one is at fault, as bits."""
    fault = _NO_BITS
    for law in range(network.scaled.size):
        value = law_values(network, walker, law)
        # Of `value < inf` beside the other the compiler makes a question about the kind of number,
        # which takes some 40 steps.
        fault |= bits(~((value >= 0.0) & (value - value == 0.0)))
        store(walker.state, (network.n_species + 1 + law) * LANES, value)
    return fault


@inlined
def propensities_of(network, state, k, coefficient):
    """Return the propensities of a reaction, or of a law that is in its row."""
    value = coefficient * load(state, network.first[k])
    # Times 1 leaves every number what it is, so a missing partner need not be looked up.
    if network.second[k] != network.n_species * LANES:
        value = value * (load(state, network.second[k]) - network.shift[k])
    return value


@inlined
def _fill_cumulative(network, walker, far):
    """Write the cumulative sums of propensities, in fours; return the lanes with a bad one."""
    fault = _NO_BITS
    if network.scaled.size > 0:
        fault = fill_laws(far[0], far[2])
    state, cumulative, n = walker.state, walker.cumulative, network.n_reactions
    in_fours = n - n % 4
    offset = everywhere(0.0)
    # One set of numbers is read from where it is, and not from a copy in every lane: 4 to 16 % of
    # an ensemble's time; a choice within the loop takes half of that back. What is left over four
    # has a loop of its own: with padding up to four, birth-death took 9 % longer; with a loop of
    # any length for every block, Vilar's oscillator 10 %.
    if network.coefficient.size == network.first.size:
        for block in range(0, in_fours, 4):
            within = everywhere(0.0)
            for k in range(block, block + 4):
                within = within + propensities_of(network, state, k, network.coefficient[k])
                store(cumulative, k * LANES, offset + within)
            offset = offset + within
        if in_fours < n:
            within = everywhere(0.0)
            for k in range(in_fours, n):
                within = within + propensities_of(network, state, k, network.coefficient[k])
                store(cumulative, k * LANES, offset + within)
            offset = offset + within
    else:
        for block in range(0, n, 4):
            within = everywhere(0.0)
            for k in range(block, min(block + 4, n)):
                own = load(walker.coefficient, k * LANES)
                within = within + propensities_of(network, state, k, own)
                store(cumulative, k * LANES, offset + within)
            offset = offset + within
    store(walker.total, 0, offset)
    return fault


@inlined
def _choose_by_sums(network, walker, target, goes):
    """Return in whose share the target lies: a reaction, or -1 in the lanes that do not go."""
    cumulative = walker.cumulative
    chosen = ones(goes) - 1  # 0, and -1 where the lane is held, which no share is below
    for k in range(network.n_reactions - 1):
        chosen = chosen + ones(load(cumulative, k * LANES) <= target)
    return chosen


@inlined
def _fire(network, walker, chosen):
    """Change the state of each lane by one event of the reaction chosen, if there is one."""
    state = walker.state
    if network.row_width == 0:
        for species in range(network.n_species):
            first, last = network.change_start[species], network.change_start[species + 1]
            if first == last:
                continue
            count = load(state, species * LANES)
            for k in range(first, last):
                by = network.change[k]
                count = count + select(chosen == network.change_reaction[k], by, 0.0)
            store(state, species * LANES, count)
        return
    store(walker.chosen, 0, chosen)
    width = network.row_width
    for lane in range(LANES):
        # The row for -1 comes last.
        fired = walker.chosen[lane]
        start = width * (fired if fired >= 0 else network.n_reactions)
        for k in range(start, start + width):
            state[network.row_species[k] + lane] += network.row_change[k]


def event_maker(fill_sums: Callable[..., Any], choose: Callable[..., Any]) -> Any:
    """Return a step of lanes.

    Parameters
    ----------
    fill_sums : compiled function (network, walker, far) -> word
        Writes the sums of the propensities, the total to `walker.total`; returns the lanes with a
        bad one, as bits.
    choose : compiled function (network, walker, target, goes) -> lanes
        Returns the reaction in whose share of the total the target lies; -1 in a lane that does
        not go.
    """

    @inlined
    def make_events(network, request, walker, far, may):
        """Make one event in each of the lanes that may, and are not held at a sampling time.

        `far` holds references to the network, to anything, and to the walker.

        Returns
        -------
        goes : truth of lanes
            Where there was an event; elsewhere nothing has changed.
        fault : word
            The lanes with a propensity at fault, as bits.
        target : numbers of lanes
            What the sums of propensities were compared with; -1 where there was no event.
        """
        stream = walker.stream
        fault = fill_sums(network, walker, far)
        s0, s1 = load(stream, 0), load(stream, LANES)
        s2, s3 = load(stream, 2 * LANES), load(stream, 3 * LANES)
        word, t0, t1, t2, t3 = next_words(s0, s1, s2, s3)
        waiting = random_exponential(word)
        word, t0, t1, t2, t3 = next_words(t0, t1, t2, t3)
        total, time = load(walker.total, 0), load(walker.time, 0)
        next_time = time + waiting / total
        # Without an event ever the quotient is inf, or 0/0; neither comes before a grid time.
        n_events = load(walker.n_events, 0)
        goes = may & (next_time <= load(walker.grid_time, 0)) & (n_events != request.max_events)
        target = select(goes, random_uniform(word) * total, -1.0)
        store(walker.next_time, 0, next_time)
        store(walker.time, 0, select(goes, next_time, time))
        store(walker.n_events, 0, n_events + ones(goes))
        store(stream, 0, select(goes, t0, s0))
        store(stream, LANES, select(goes, t1, s1))
        store(stream, 2 * LANES, select(goes, t2, s2))
        store(stream, 3 * LANES, select(goes, t3, s3))
        _fire(network, walker, choose(network, walker, target, goes))
        return goes, fault, target

    return make_events


make_events = event_maker(_fill_cumulative, _choose_by_sums)


# ---- Rows ----------------------------------------------------------------------------------------


@apart
def _value(programs, p, network, walker, lane, time):
    """Return the value of a program at the state in `walker.lane_state`."""
    n, own = network.n_parameters, walker.set[lane]
    parameters = network.parameters[own * n : (own + 1) * n]
    return evaluate_program(programs, p, walker.lane_state, parameters, time, walker.lane_stack)


@apart
def _gather(network, walker, lane):
    """Copy one lane's state to where programs for single states read it."""
    for species in range(network.n_species + 1):
        walker.lane_state[species] = walker.state[species * LANES + lane]


@apart
def _record_values(network, request, walker, output, lane, first, last):
    """Record the observables of a lane at the grid times first, ..., last - 1."""
    _gather(network, walker, lane)
    row = walker.row[lane]
    for n in range(first, last):
        for v in range(output.values.shape[2]):
            output.values[row, n, v] = _value(
                request.observed, v, network, walker, lane, request.times[n]
            )


@inlined
def record_lane(far, request, walker, output, lane, time):
    """Record a lane's state at all grid times before `time`; return whether that was the last.

    `far` holds references to the network and to the next three arguments.
    """
    times, row, n = request.times, walker.row[lane], walker.n_recorded[lane]
    state, columns, first, n_times = walker.state, request.columns, n, request.times.size
    width, counts = np.uint64(columns.size), output.counts[np.uint64(row)]
    # Rows are filled side by side, which the processor does not foresee: Michaelis-Menten's
    # ensemble takes 5 % less time with this, and 10 % less with unsigned places below.
    prefetch_to_write(counts, np.uint64(n) * width + _AHEAD)
    if n < n_times and times[np.uint64(n)] < time:
        here = counts[np.uint64(n)]
        for c in range(width):
            place = np.uint64(columns[c]) * np.uint64(LANES) + np.uint64(lane)
            here[c] = np.int64(state[place])
        n += 1
        # Copies of neighbours take half as long as looking the counts up again.
        while n < n_times and times[np.uint64(n)] < time:
            before, here = counts[np.uint64(n - 1)], counts[np.uint64(n)]
            for c in range(width):
                here[c] = before[c]
            n += 1
    if output.values.shape[2] > 0:
        _record_values(far[0], far[1], far[2], far[3], lane, first, n)
    walker.n_recorded[lane] = n
    if n < times.size:
        walker.grid_time[lane] = times[n]
        return False
    return True


@inlined
def finish_lane(walker, output, lane, outcome):
    """Write how the row of a lane ended."""
    output.outcome[walker.row[lane]] = outcome
    output.n_events[walker.row[lane]] = walker.n_events[lane]
    walker.counter[N_FINISHED] += 1


@apart
def _load_set(network, walker, lane, own):
    """Give a lane the numbers of a set."""
    walker.set[lane] = own
    n = network.first.size
    for k in range(n):
        walker.coefficient[k * LANES + lane] = network.coefficient[own * n + k]
    n = network.scaled.size
    for law in range(n):
        walker.factor[law * LANES + lane] = network.factor[own * n + law]
    n = network.n_parameters
    for k in range(n):
        walker.parameters[k * LANES + lane] = network.parameters[own * n + k]
    # For all lanes, though one is new: it is seldom.
    fill_fixed(network, walker)
    condition = walker.condition
    run_tape(condition, condition.result.size, walker.state, walker.lane_stack)


@apart
def start_lane(network, request, walker, output, first_index, lane):
    """Put a lane at the start of the next row that is left; return whether there was one.

    Row r is number ``first_index + r`` of the run: a trajectory of set ``number // rows_per_set``,
    with the remainder as its own number in that set's streams.
    """
    state, stream = walker.state, walker.stream
    while True:
        row = take_next(walker.queue)
        if row >= output.outcome.size:
            return False
        number = first_index + row
        own = number // network.rows_per_set
        if walker.set[lane] != own:
            _load_set(network, walker, lane, own)
        start = own * (network.n_species + 1)
        for species in range(network.n_species):
            state[species * LANES + lane] = np.float64(request.initial_state[start + species])
        key = request.key[4 * own : 4 * own + 4]
        seed_stream(key, number - own * network.rows_per_set, walker.seed)
        for word in range(4):
            stream[word * LANES + lane] = walker.seed[word]
        walker.row[lane] = row
        walker.n_recorded[lane] = 0
        walker.n_events[lane] = 0
        walker.time[lane] = request.times[0]
        walker.look_time[lane] = -np.inf
        walker.grid_time[lane] = request.times[0]
        output.hitting_time[row] = np.nan
        if request.condition.start.size > 1:
            _gather(network, walker, lane)
            start_time, first = request.times[0], np.int64(0)
            if _value(request.condition, first, network, walker, lane, start_time) != 0.0:
                far = network, request, walker, output
                record_lane(far, request, walker, output, lane, np.inf)
                output.hitting_time[row] = request.times[0]
                finish_lane(walker, output, lane, COMPLETE)
                continue
        return True


@apart
def look(network, walker):
    """Return the lanes that the scalar kernel must take over, as bits."""
    largest = everywhere(0.0)
    for species in range(network.n_species):
        count = load(walker.state, species * LANES)
        largest = select(count > largest, count, largest)
    time = load(walker.time, 0)
    stuck = (largest > LARGEST_LANE_COUNT) | (time == load(walker.look_time, 0))
    store(walker.look_time, 0, time)
    return bits(stuck)


@apart
def find_hits(network, request, walker):
    """Return the lanes in which the condition of the run holds, as bits."""
    tape = walker.condition
    run_tape(tape, np.int64(0), walker.state, walker.lane_stack)
    return bits(load(walker.state, tape.result[0]) != 0.0)


# ---- The loop ------------------------------------------------------------------------------------


@inlined
def steps_to_wait(n_stops, n_steps):
    """Return how many steps to make before held lanes are looked at; 1 is at once."""
    if 2 * n_steps > 5 * n_stops:
        return np.int64(1)
    return np.int64(np.sqrt(16.0 * n_steps / n_stops))


@inlined
def begin(network, request, walker, far, first_index):
    """Start all lanes; return those that have a row, as bits.

    `far` holds references to the network, the request, the walker and the output.
    """
    alive = _NO_BITS
    for lane in range(LANES):
        # An idle lane holds possible numbers, so that nothing it computes is a surprise.
        _load_set(far[0], far[2], lane, np.int64(0))
        for species in range(network.n_species):
            walker.state[species * LANES + lane] = np.float64(request.initial_state[species])
        walker.state[network.n_species * LANES + lane] = 1.0
        walker.grid_time[lane] = -np.inf
        if start_lane(far[0], far[1], far[2], far[3], first_index, lane):
            alive |= _BIT << np.uint64(lane)
    return alive


@inlined
def attend(request, walker, output, far, first_index, alive, went, hits, fault):
    """Do what the vector arithmetic does not: record, end and start the paths of single lanes.

    Parameters
    ----------
    alive, went, hits, fault : word
        As bits, the lanes that have a row; whose event has happened; in which the condition of the
        run holds now; that the scalar kernel must take over.

    Returns
    -------
    alive, fresh : word
        The lanes that have a row now; those of them that have just started it.
    """
    fresh = _NO_BITS
    hits &= alive
    fault &= alive
    stopped = (~went & alive) | hits | fault
    while stopped != _NO_BITS:
        lane = lowest_bit(stopped)
        bit = _BIT << np.uint64(lane)
        stopped &= ~bit
        total, outcome = walker.total[lane], 0
        if fault & bit != _NO_BITS or not total < np.inf:
            outcome = LEFT_OVER
        else:
            until = walker.next_time[lane] if total > 0.0 else np.inf
            if hits & bit != _NO_BITS:
                # The path is held at the state that met the condition.
                output.hitting_time[walker.row[lane]] = walker.time[lane]
                until = np.inf
            if record_lane(far, request, walker, output, lane, until):
                outcome = COMPLETE
            elif walker.n_events[lane] == request.max_events:
                outcome = LEFT_OVER
        if outcome != 0:
            finish_lane(walker, output, lane, outcome)
            if start_lane(far[0], far[1], far[2], far[3], first_index, lane):
                fresh |= bit
            else:
                alive &= ~bit
                walker.grid_time[lane] = -np.inf
    return alive, fresh


def lane_kernel(name: str, make_events: Callable[..., Any]) -> Any:
    """Return the kernel of the direct method in lanes, called ``run_<name>``."""

    def run(network, request, walker, output, first_index, budget):
        """Run rows of an output in lanes; return why it stopped."""
        # Parts that are kept apart get the groups by their addresses; the vector arithmetic does
        # not, because it would have to look up every array's place anew after each store.
        align_stack()
        far = refer(network), refer(request), refer(walker), refer(output)
        counter, all_lanes = walker.counter, everywhere(0.0) == 0.0
        watched = request.condition.start.size > 1
        if counter[UNDER_WAY] == 0:
            counter[UNDER_WAY] = 1
            alive = begin(network, request, walker, far, first_index)
        else:
            alive = np.uint64(counter[ALIVE])
        step = counter[STEPS]
        last_step = step + max(np.int64(1), budget // LANES)
        while alive != _NO_BITS and step < last_step:
            step += 1
            goes, fault, _ = make_events(network, request, walker, far, all_lanes)
            went, hits = bits(goes), _NO_BITS
            if watched:
                hits = find_hits(far[0], far[1], far[2]) & went
            if step % LOOK == 0:
                fault |= look(far[0], far[2])
            alive, _ = attend(request, walker, output, far, first_index, alive, went, hits, fault)
        counter[ALIVE], counter[STEPS] = np.int64(alive), step
        return ALL_DONE if alive == _NO_BITS else BUDGET_SPENT

    # The cached file is named after the function.
    run.__name__ = run.__qualname__ = f"run_{name}"
    return kernel(run)


run_lanes = lane_kernel("lanes", make_events)
