"""The tapes that lanes run for rate laws: the same bits as programs on a stack."""

from __future__ import annotations

import itertools
from typing import Any

import numba
import numpy as np
import pytest

import gillespy_lite as gl
from gillespy_lite.compilation import compile_network
from gillespy_lite.kernels.jit import _OPTIONS
from gillespy_lite.kernels.lane_programs import CHAINED, SQUARE, LaneTape, run_tape
from gillespy_lite.kernels.lane_tapes import write_tape
from gillespy_lite.kernels.lane_vectors import LANES
from gillespy_lite.kernels.programs import (
    CONSTANT,
    N_ARGUMENTS,
    OPERATION_CODES,
    PARAMETER,
    SPECIES,
    Programs,
    evaluate_program,
)
from gillespy_lite.lane_compilation import compile_lanes

# Rows of a tape's array in the following tests: two species, the missing partner, a parameter.
FIRST_PARAMETER, FIRST_CONSTANT = 3, 4


@numba.njit(**_OPTIONS)
def evaluate_in_both_ways(tape, programs, rows, scratch, single_state, single_stack, found, single):
    n = tape.result.size
    run_tape(tape, n, rows, scratch)
    for p in range(n):
        run_tape(tape, p, rows, scratch)
        for lane in range(LANES):
            for row in range(2):
                single_state[row] = rows[row * LANES + lane]
            found[p * LANES + lane] = rows[tape.result[p] + lane]
            single[p * LANES + lane] = evaluate_program(
                programs, p, single_state, rows[FIRST_PARAMETER * LANES + lane :], 0.0, single_stack
            )


def both_values(programs: Programs, inputs: np.ndarray, change: Any = None) -> list[np.ndarray]:
    """Return what lanes, and single programs, make of (3, LANES) species and a parameter."""
    tape, constants, n_scratch = write_tape(programs, FIRST_PARAMETER, FIRST_CONSTANT)
    if change is not None:
        tape = change(tape, FIRST_CONSTANT + constants.size)
    rows = np.ones((FIRST_CONSTANT + constants.size + n_scratch, LANES))
    rows[[0, 1, FIRST_PARAMETER]] = inputs
    rows[FIRST_CONSTANT:][: constants.size] = constants[:, None]
    found = np.zeros((2, tape.result.size * LANES))
    evaluate_in_both_ways(
        tape, programs, rows.ravel(), np.zeros(3), np.zeros(3), np.zeros(40), *found
    )
    return list(found)


def joined(programs: list[list[tuple[int, int]]], constants: list[float]) -> Programs:
    steps = np.array([step for one in programs for step in one]).reshape(-1, 2)
    starts = np.cumsum([0, *(len(one) for one in programs)])
    return Programs(starts, steps[:, 0].copy(), steps[:, 1].copy(), np.array(constants))


@pytest.mark.parametrize("operation", sorted(OPERATION_CODES))
def test_every_operation_of_lanes_gives_the_bits_of_single_programs(operation):
    code = OPERATION_CODES[operation]
    n = int(N_ARGUMENTS[code])
    leaves = [(SPECIES, 0), (PARAMETER, 0), (SPECIES, 1)][:n]
    programs = [[*leaves, (code, 0)]]
    constants = [*range(2, 18), -0.5, 2.5]
    # The last argument as a constant, which may have a step of its own.
    programs += [[*leaves[:-1], (CONSTANT, c), (code, 0)] for c in range(len(constants))]
    rng = np.random.default_rng(code)
    numbers = (*range(2, 18), 0.5, 2.5, -1.0, 0.0, np.nan)
    # The same parameter in all lanes, as in an ordinary run; and others in each, as in a scan.
    for parameters in (*(np.full(LANES, one) for one in numbers), rng.choice(numbers, LANES)):
        for scale in (1.0, 30.0):
            species = rng.uniform(-1, 2, (2, LANES)) * scale
            species[:, ::3] = np.round(species[:, ::3])
            lanes, single = both_values(
                joined(programs, constants), np.vstack([species, parameters])
            )
            assert np.array_equal(lanes, single, equal_nan=True)


def random_program(rng: np.random.Generator, size: int) -> list[tuple[int, int]]:
    if size == 1:
        kind = rng.choice([SPECIES, SPECIES, PARAMETER, CONSTANT])
        return [(int(kind), int(rng.integers({SPECIES: 2, PARAMETER: 1, CONSTANT: 3}[kind])))]
    operation = rng.choice(["+", "-", "*", "/", "min", "max", "<", "^"])
    if operation == "^":
        return [*random_program(rng, size - 1), (CONSTANT, 0), (OPERATION_CODES["^"], 0)]
    left = int(rng.integers(1, size))
    parts = [*random_program(rng, left), *random_program(rng, size - left)]
    return [*parts, (OPERATION_CODES[operation], 0)]


def test_tapes_of_random_expressions_give_the_bits_of_single_programs():
    rng = np.random.default_rng(5)
    programs = joined([random_program(rng, int(n)) for n in rng.integers(1, 13, 200)], [2, -0.0, 7])
    inputs = rng.uniform(-2, 3, (3, LANES))
    lanes, single = both_values(programs, inputs)
    assert np.array_equal(lanes, single, equal_nan=True)

    def in_one_row(tape: LaneTape, first: int) -> LaneTape:
        # What laws write goes to one row: values that are still needed are lost.
        last = LANES * (first + int(tape.start[-1] - tape.start[-2]))
        fields = ("target", "first", "second", "third", "result")
        return tape._replace(**{one: np.minimum(getattr(tape, one), last) for one in fields})

    mutant, _ = both_values(programs, inputs, in_one_row)
    assert not np.array_equal(mutant, single, equal_nan=True)


def test_a_tape_computes_what_no_count_changes_once_and_its_rows_are_few():
    network = gl.Network.parse(
        "species U = 3, V\nparam k = 30, K = 12\n0 => U @ k*K^2/(K^2 + V^2)\n"
        "0 => V @ k*K^2/(K^2 + (U*U + V*V) + (U - V))"
    )
    compiled = compile_network(network)
    lanes = compile_lanes(compiled)
    names = {code: name for name, code in OPERATION_CODES.items()} | {SQUARE: "^2"}
    # What takes the step before as its first or its second argument; for + and * that is the same.
    names |= {
        chained: ["_", ""][place] + names[of] + ["", "_"][place]
        for (of, place), chained in CHAINED.items()
    }
    tape = lanes.tape
    steps = [
        [names[code] for code in tape.code[first:last]]
        for first, last in itertools.pairwise(tape.start)
    ]
    assert steps == [["^2", "+_", "/_"], ["*", "*", "+_", "+_", "-", "+_", "/_"], ["^2", "*_"]]
    # K^2 and k*K^2, and never more than three values of a law at a time.
    assert lanes.n_scratch == 2 + 3


def test_what_no_count_changes_follows_the_numbers_of_each_set():
    network = gl.Network.parse("species X = 9\nparam a = 20\n0 => X @ a*3/(1 + X)\nX -> 0 @ 0.2")
    how: dict[str, Any] = {"rng": 8, "method": "direct", "stop_when": "X > a/4 + 13"}
    lanes, table = (
        gl.ensemble(network, [0, 2, 5], 80, engine=engine, **how) for engine in ("lanes", "table")
    )
    assert np.array_equal(lanes.counts, table.counts)
    assert np.array_equal(lanes.hitting_times, table.hitting_times, equal_nan=True)
    assert 0 < np.isnan(lanes.hitting_times).sum() < 80
    del how["stop_when"]
    grid = {"a": [5.0, 20.0, 60.0]}
    scans = [
        gl.scan(network, grid, [0, 2, 5], 80, engine=engine, keep="paths", **how)
        for engine in ("lanes", "table")
    ]
    assert np.array_equal(scans[0].counts, scans[1].counts)
