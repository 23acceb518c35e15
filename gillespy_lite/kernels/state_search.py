"""Finding the states that a network reaches: a table of keys, and a search that follows the flow.

A state is kept as a row of counts with a 1 behind them, as the propensities read it, and as a key:
the sum of its counts times multipliers, modulo 2**64. A reaction adds the same number to the key of
every state, so that a neighbour is found without its counts being worked out.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from .jit import inlined, kernel, part
from .propensities import propensity
from .walking import LARGEST_COUNT

__all__ = [
    "BAD_RATE",
    "FOUND_ALL",
    "KEYS_COLLIDE",
    "LAYER_END",
    "NEXT",
    "NO_ROOM",
    "N_BEFORE",
    "N_LAYERS",
    "N_SEARCH_COUNTERS",
    "N_STATES",
    "PAUSED",
    "REACTION",
    "STATE",
    "TOO_LARGE",
    "Channels",
    "StateTable",
    "channel_rate",
    "fill_rates",
    "fill_table",
    "find_states",
    "search_states",
]

# Why a search returned.
FOUND_ALL, NO_ROOM, BAD_RATE, TOO_LARGE, KEYS_COLLIDE, PAUSED = range(6)

# Counters of a search: states there are, and were before it; the next one to look at; where the
# present layer ends; layers done; the reaction and the state in trouble.
N_STATES, N_BEFORE, NEXT, LAYER_END, N_LAYERS, REACTION, STATE = range(7)
N_SEARCH_COUNTERS = 7

# Odd, from the golden ratio: spreads neighbouring keys over the table.
_SPREAD = np.uint64(0x9E3779B97F4A7C15)


class Channels(NamedTuple):
    """Reactions gathered by what they change; channel c owns start[c]:start[c + 1]."""

    start: np.ndarray  # (n_channels + 1,) int64
    reaction: np.ndarray  # (n_entries,) int64
    change: np.ndarray  # (n_channels, n_species + 1) int64, net molecules made by one event
    key_step: np.ndarray  # (n_channels,) int64, what an event adds to the key


class StateTable(NamedTuple):
    """States in order of discovery, and where to find one by its key."""

    states: np.ndarray  # (capacity, n_species + 1) int64, the last column 1
    key: np.ndarray  # (capacity,) int64
    slot: np.ndarray  # (n_slots,) int32, n_slots a power of 2: 1 + the state that is there, or 0
    coordinates: np.ndarray  # (n_coordinates,) int64: the species that the keys are made of
    limit: np.ndarray  # (n_coordinates,) int64: the counts that the keys can tell apart end here
    # (capacity, n_channels) float64: propensities, known of the states that the search starts from
    # and that it has looked at.
    rates: np.ndarray


@inlined
def _slot_of(table, key):
    """Return the place of a key: that of its state, or the free one where it belongs."""
    mask = np.uint64(table.slot.size - 1)
    place = (np.uint64(key) * _SPREAD) >> np.uint64(20)
    place &= mask
    while table.slot[place] != 0 and table.key[table.slot[place] - 1] != key:
        place = (place + np.uint64(1)) & mask
    return place


@kernel
def fill_table(table, n_states):
    """Enter the first `n_states` states into an empty table; return how many keys come twice."""
    n_twice = 0
    for i in range(n_states):
        place = _slot_of(table, table.key[i])
        if table.slot[place] != 0:
            n_twice += 1
        else:
            table.slot[place] = np.int32(i + 1)
    return n_twice


@kernel
def find_states(table, keys, found):
    """Write the place of each key's state into `found` (n,) int64, -1 where there is none."""
    for i in range(keys.size):
        found[i] = np.int64(table.slot[_slot_of(table, keys[i])]) - 1


@part
def channel_rate(network, channels, c, state, time, stack, counter):
    """Return the propensity of a channel's reactions together; -1 if one of them is at fault."""
    total = 0.0
    for k in range(channels.start[c], channels.start[c + 1]):
        rate = propensity(network, channels.reaction[k], state, time, stack)
        if not 0.0 <= rate < np.inf:
            counter[REACTION] = channels.reaction[k]
            return -1.0
        total += rate
    return total


@kernel
def fill_rates(network, channels, states, first, last, time, stack, rates, counter):
    """Write the propensities of all channels at the states `first` to `last` into `rates`.

    `rates` is (n_states, n_channels) float64. Returns FOUND_ALL or BAD_RATE.
    """
    for i in range(first, last):
        if not _fill_row(network, channels, states[i], time, stack, rates[i], counter):
            counter[STATE] = i
            return BAD_RATE
    return FOUND_ALL


@inlined
def _fill_row(network, channels, state, time, stack, rates, counter):
    """Write the propensities of all channels at one state; return whether they make sense."""
    for c in range(channels.key_step.size):
        rates[c] = channel_rate(network, channels, c, state, time, stack, counter)
        if rates[c] < 0.0:
            return False
    return True


@kernel
def search_states(
    network, channels, table, weight, inflow, seeds, counter, time, stack, limits, n_looks
):
    """Add the states that probability flows into; return why it stopped.

    Layer after layer: a state whose estimated probability `weight` (capacity,) float64 times a
    channel's propensity is at least `limits[0]` per unit time adds the state that this channel
    leads to; 0 adds all that can be reached. The probability of a new state is estimated from the
    flow into it and its own outflow, over `limits[1]` units of time. The first layer are the
    states `seeds`; there are at most `limits[2]` layers. `limits` (3,) float64. After PAUSED, which
    comes after `n_looks` states, a further call goes on; after NO_ROOM, with a larger table.
    """
    while counter[N_LAYERS] < limits[2]:
        is_seed = counter[N_LAYERS] == 0
        while counter[NEXT] < counter[LAYER_END]:
            if n_looks <= 0:
                return PAUSED
            n_looks -= 1
            i = seeds[counter[NEXT]] if is_seed else counter[NEXT]
            status = _look(
                network, channels, table, weight, inflow, counter, time, stack, limits, i, is_seed
            )
            if status != FOUND_ALL:
                counter[STATE] = i
                return status
            counter[NEXT] += 1
        counter[N_LAYERS] += 1
        counter[NEXT] = counter[N_BEFORE] if is_seed else counter[LAYER_END]
        counter[LAYER_END] = counter[N_STATES]
        if counter[NEXT] == counter[LAYER_END]:
            break
    return FOUND_ALL


@part
def _look(network, channels, table, weight, inflow, counter, time, stack, limits, i, is_seed):
    """Add the neighbours of state i that enough probability flows into."""
    n_channels = channels.key_step.size
    least, duration = limits[0], limits[1]
    if least <= 0.0:
        weight[i] = 1.0
    if counter[N_STATES] + n_channels > weight.size:
        return NO_ROOM
    rates = table.rates[i]
    if not is_seed:
        if not _fill_row(network, channels, table.states[i], time, stack, rates, counter):
            return BAD_RATE
        if least > 0.0:
            total = 0.0
            for c in range(n_channels):
                total += rates[c]
            weight[i] = min(1.0, inflow[i] * duration / (1.0 + total * duration))
    for c in range(n_channels):
        flow = rates[c] * weight[i]
        if not flow >= least or flow == 0.0:
            continue
        key = table.key[i] + channels.key_step[c]
        place = _slot_of(table, key)
        target = np.int64(table.slot[place]) - 1
        if target >= 0:
            for s in range(table.states.shape[1]):
                if table.states[target, s] != table.states[i, s] + channels.change[c, s]:
                    return KEYS_COLLIDE
            inflow[target] += flow
            continue
        target = counter[N_STATES]
        for s in range(table.states.shape[1]):
            count = table.states[i, s] + channels.change[c, s]
            if count > LARGEST_COUNT:
                counter[REACTION] = channels.reaction[channels.start[c]]
                return TOO_LARGE
            table.states[target, s] = count
        for k in range(table.limit.size):
            if table.states[target, table.coordinates[k]] >= table.limit[k]:
                return KEYS_COLLIDE
        table.key[target] = key
        table.slot[place] = np.int32(target + 1)
        inflow[target] = flow
        weight[target] = 0.0
        counter[N_STATES] = target + 1
    return FOUND_ALL
