"""A tape evaluated at many states: initial states, observables, and their derivatives."""

from __future__ import annotations

import numpy as np

from .jit import inlined, kernel
from .tapes import LANES, pull_back_tape, push_tape, run_tape

__all__ = ["pull_back_rows", "push_rows", "run_rows"]

_ZERO, _ONE, _LANES = np.uint64(0), np.uint64(1), np.uint64(LANES)
_run, _pull_back = run_tape[1], pull_back_tape[1]


@inlined
def _load(tape, times, states, inputs, row, w):
    for i in range(states.shape[1]):
        w[tape.states + np.uint64(i)] = states[row, i]
    for i in range(inputs.shape[1]):
        w[tape.inputs + np.uint64(i)] = inputs[row, i]
    w[tape.time] = times[row]


@kernel
def run_rows(tape, times, states, inputs, w, outputs):
    """Write the outputs of a tape at each state (n_rows, n_states) to (n_rows, n_outputs).

    `w` (n_slots,) holds the numbers and the parameters.
    """
    _run(tape, _ZERO, tape.prologue, tape.prologue_shift, w)
    for row in range(outputs.shape[0]):
        _load(tape, times, states, inputs, row, w)
        _run(tape, tape.prologue, tape.essential, tape.shift, w)
        for i in range(outputs.shape[1]):
            outputs[row, i] = w[tape.output[i]]


@kernel
def pull_back_rows(tape, times, states, inputs, w, bar, outputs_bar, states_bar, inputs_bar):
    """Add the adjoints of states and inputs to theirs, those of the parameters to `bar`."""
    _run(tape, _ZERO, tape.prologue, tape.prologue_shift, w)
    for row in range(outputs_bar.shape[0]):
        _load(tape, times, states, inputs, row, w)
        _run(tape, tape.prologue, tape.essential, tape.shift, w)
        for i in range(outputs_bar.shape[1]):
            bar[tape.output[i]] += outputs_bar[row, i]
        _pull_back(tape, tape.prologue, tape.essential, tape.shift, w, bar)
        for i in range(states.shape[1]):
            states_bar[row, i] += bar[tape.states + np.uint64(i)]
            bar[tape.states + np.uint64(i)] = 0.0
        for i in range(inputs.shape[1]):
            inputs_bar[row, i] += bar[tape.inputs + np.uint64(i)]
            bar[tape.inputs + np.uint64(i)] = 0.0
        bar[tape.time] = 0.0
    _pull_back(tape, _ZERO, tape.prologue, tape.prologue_shift, w, bar)


@kernel
def push_rows(tape, times, states, states_dot, inputs, inputs_dot, w, dot, outputs, outputs_dot):
    """Write outputs and their slopes along LANES directions, (n_rows, n_outputs * LANES)."""
    _run(tape, _ZERO, tape.prologue, tape.prologue_shift, w)
    push_tape(tape, _ZERO, tape.prologue, tape.prologue_shift, w, dot)
    for row in range(outputs.shape[0]):
        _load(tape, times, states, inputs, row, w)
        to = tape.states * _LANES
        for i in range(np.uint64(states_dot.shape[1])):
            dot[to + i] = states_dot[row, i]
        to = tape.inputs * _LANES
        for i in range(np.uint64(inputs_dot.shape[1])):
            dot[to + i] = inputs_dot[row, i]
        _run(tape, tape.prologue, tape.essential, tape.shift, w)
        push_tape(tape, tape.prologue, tape.essential, tape.shift, w, dot)
        for i in range(np.uint64(outputs.shape[1])):
            outputs[row, i] = w[tape.output[i]]
            for lane in range(_LANES):
                outputs_dot[row, i * _LANES + lane] = dot[tape.output[i] * _LANES + lane]
