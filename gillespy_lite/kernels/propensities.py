"""The propensity of one reaction at a state, and what one event does to the state."""

from __future__ import annotations

import numpy as np

from .arrays import CUSTOM, GENERAL, PAIR, ROW_CHANGES, ROW_DEPENDENTS, ROW_HEAD
from .bits import as_bits
from .jit import inlined, part
from .programs import evaluate_program
from .walking import LARGEST_COUNT

__all__ = [
    "fire",
    "is_rate",
    "law_propensity",
    "law_weight",
    "pair_propensity",
    "propensity",
    "row_propensity",
    "state_law_propensity",
    "state_propensity",
]

_ONE, _TWO = np.uint64(1), np.uint64(2)
_INF_BITS = np.uint64(0x7FF0000000000000)


@inlined
def pair_propensity(network, reaction, state):
    """Return the propensity of a PAIR reaction, and 0 for another form.

    One formula without branches for 0, 1 and 2 molecules: the state's last entry is 1.
    """
    # Unsigned indices, because for signed ones each access asks if the index counts from the end.
    j = np.uint64(reaction)
    return (
        network.coefficient[j]
        * np.float64(state[np.uint64(network.first[j])])
        * (np.float64(state[np.uint64(network.second[j])]) - network.shift[j])
    )


@inlined
def row_propensity(network, reaction, state):
    """Return the propensity of a PAIR reaction from its row; the same number."""
    j = np.uint64(reaction)
    row = network.rows[j]
    return (
        network.coefficient[j]
        * np.float64(state[np.uint64(row[0])])
        * (np.float64(state[np.uint64(row[1])]) - np.float64(row[2]))
    )


@inlined
def propensity(network, reaction, state, time, stack):
    """Return the propensity of `reaction`; negative, inf or nan when its rate law is at fault."""
    if network.form[np.uint64(reaction)] == PAIR:
        return pair_propensity(network, reaction, state)
    return law_propensity(network, reaction, state, time, stack)


@inlined
def is_rate(value):
    """Return whether a number is finite and not negative."""
    # The compiler makes of `0 <= value < inf` a question about the kind of number, which takes a
    # dozen steps of whole numbers: 8 % of an event of a small network with two rate laws; nothing
    # that could be measured in the kernels of large ones. -0 becomes 0; what is negative, or nan,
    # has larger bits.
    return as_bits(np.float64(value + 0.0)) < _INF_BITS


@inlined
def law_weight(network, reaction, state):
    """Return what a reaction that is not PAIR multiplies its program with; 0 if it cannot fire."""
    j = np.uint64(reaction)
    weight = network.law_factor[j]
    first, last = network.reactant_start[j], network.reactant_start[j + _ONE]
    for k in range(np.uint64(first), np.uint64(last)):
        count, needed = state[np.uint64(network.reactant[k])], network.reactant_count[k]
        # A reaction without its reactants cannot fire, whatever its rate law says.
        if count < needed:
            return 0.0
        if network.form[j] != CUSTOM:
            # Times the falling factorial x (x - 1) ...; the coefficient holds 1 / n!.
            for taken in range(needed):
                weight *= np.float64(count - taken)
    return weight


@part
def law_propensity(network, reaction, state, time, stack):
    """Return the propensity of a reaction that is not PAIR."""
    weight = law_weight(network, reaction, state)
    if network.form[np.uint64(reaction)] == GENERAL or weight == 0.0:
        return weight
    return weight * evaluate_program(network.laws, reaction, state, network.parameters, time, stack)


@inlined
def state_propensity(network, walker, reaction, time):
    """Return the propensity of `reaction` where the walker stands."""
    return propensity(network, reaction, walker.state, time, walker.stack)


@inlined
def state_law_propensity(network, walker, reaction, time):
    """Return the propensity of a reaction that is not PAIR where the walker stands."""
    return law_propensity(network, reaction, walker.state, time, walker.stack)


@inlined
def fire(network, reaction, state):
    """Change the state by one event; return whether every count is still below 2**53."""
    fits = True
    if network.rows.shape[0] > 0:
        row = network.rows[np.uint64(reaction)]
        place = np.uint64(ROW_HEAD + row[ROW_DEPENDENTS])
        for _ in range(row[ROW_CHANGES]):
            species = np.uint64(row[place])
            state[species] += np.int64(row[place + _ONE])
            fits = fits and state[species] <= LARGEST_COUNT
            place += _TWO
        return fits
    j = np.uint64(reaction)
    first, last = network.change_start[j], network.change_start[j + _ONE]
    for k in range(np.uint64(first), np.uint64(last)):
        species = np.uint64(network.change_species[k])
        state[species] += network.change[k]
        fits = fits and state[species] <= LARGEST_COUNT
    return fits
