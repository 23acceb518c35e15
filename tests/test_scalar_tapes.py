"""The steps by which single paths compute rate laws: the same bits as programs on a stack."""

from __future__ import annotations

import numba
import numpy as np
import pytest
from test_lane_tapes import joined, random_program

import gillespy_lite as gl
from gillespy_lite.compilation import compile_network
from gillespy_lite.kernels.jit import _OPTIONS
from gillespy_lite.kernels.lane_programs import (
    DIVIDE_BY_LAST,
    DIVIDE_LAST,
    SUBTRACT_FROM_LAST,
    SUBTRACT_LAST,
)
from gillespy_lite.kernels.law_networks import LawNetwork, law_network
from gillespy_lite.kernels.programs import (
    CONSTANT,
    N_ARGUMENTS,
    OPERATION_CODES,
    PARAMETER,
    SPECIES,
    Programs,
    evaluate_program,
)
from gillespy_lite.kernels.scalar_tapes import STEP, run_steps

# Two species and the missing partner, padded.
WIDTH = 4
NOTHING = compile_network(gl.Network.parse("species A, B\nparam k = 1")).arrays


@numba.njit(**_OPTIONS)
def evaluate_in_both_ways(network, programs, parameters, values, scratch, stack, found, single):
    n = network.result.size
    run_steps(network.steps, network.start[n], network.start[n + 1], values, scratch)
    for p in range(n):
        value = run_steps(network.steps, network.start[p], network.start[p + 1], values, scratch)
        found[p] = value if network.result[p] < 0 else values[network.result[p]]
        single[p] = evaluate_program(programs, p, values, parameters, 0.0, stack)


def steps_of(programs: Programs, parameter: float) -> LawNetwork:
    return law_network(NOTHING._replace(laws=programs, parameters=np.array([parameter])), WIDTH)


def both_values(
    programs: Programs, network: LawNetwork, species: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return what steps, and programs, make of two species."""
    parameters = network.reactions.parameters
    values = np.ones(WIDTH + network.n_rows)
    values[:2] = species
    values[WIDTH:][: 1 + network.constants.size] = [*parameters, *network.constants]
    found = np.zeros((2, programs.start.size - 1))
    evaluate_in_both_ways(network, programs, parameters, values, np.zeros(4), np.zeros(40), *found)
    return found[0], found[1]


@pytest.mark.parametrize("operation", sorted(OPERATION_CODES))
def test_every_operation_gives_the_bits_of_programs(operation):
    code = OPERATION_CODES[operation]
    leaves = [(SPECIES, 0), (PARAMETER, 0), (SPECIES, 1)][: int(N_ARGUMENTS[code])]
    constants = [*range(2, 18), -0.5, 2.5]
    before = [(SPECIES, 1), (CONSTANT, 17), (OPERATION_CODES["*"], 0)]
    programs = [[*leaves, (code, 0)]]
    # The last argument as a constant, which may have a step of its own; each as what the step
    # before gave.
    programs += [[*leaves[:-1], (CONSTANT, c), (code, 0)] for c in range(len(constants))]
    programs += [[*leaves[:k], *before, *leaves[k + 1 :], (code, 0)] for k in range(len(leaves))]
    law = joined(programs, constants)
    rng = np.random.default_rng(code)
    for parameter in (*range(2, 18), 0.5, 2.5, -1.0, 0.0, np.nan):
        network = steps_of(law, float(parameter))
        for scale in (1.0, 30.0, 30.0):
            found, single = both_values(law, network, np.round(rng.uniform(-1, 2, 2) * scale))
            assert np.array_equal(found, single, equal_nan=True)


def test_random_expressions_give_the_bits_of_programs():
    rng = np.random.default_rng(6)
    law = joined([random_program(rng, int(n)) for n in rng.integers(1, 13, 400)], [2, -0.0, 7])
    network = steps_of(law, 1.7)
    other_way = {
        SUBTRACT_LAST: SUBTRACT_FROM_LAST,
        DIVIDE_BY_LAST: DIVIDE_LAST,
    }
    mutant = network._replace(steps=network.steps.copy())
    codes = mutant.steps[::STEP]
    for code, other in other_way.items():
        assert (codes == code).any()
        codes[codes == code] = other
    for _ in range(20):
        species = rng.uniform(-2, 3, 2)
        found, single = both_values(law, network, species)
        assert np.array_equal(found, single, equal_nan=True)
        wrong, _ = both_values(law, mutant, species)
        assert not np.array_equal(wrong, single, equal_nan=True)
