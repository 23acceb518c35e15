"""The benchmarks: references sample the right process, the page says what was measured."""

import re
import sys
from pathlib import Path

import numba
import numpy as np
import pytest

import gillespy_lite as gl

BENCHMARKS = Path(__file__).resolve().parent.parent / "benchmarks"
if not BENCHMARKS.exists():
    pytest.skip("the benchmarks are not part of this distribution", allow_module_level=True)
sys.path.insert(0, str(BENCHMARKS))

from agreement import MOST_STANDARD_ERRORS, largest_difference  # noqa: E402
from c_references import SOURCES, Program, compiler, source_of  # noqa: E402
from networks import MODELS  # noqa: E402
from peers import _net  # noqa: E402
from tables import PAGE, tables_of, updated  # noqa: E402
from vector_code import arithmetic_in, assembly_of  # noqa: E402

needs_compiler = pytest.mark.skipif(compiler() is None, reason="there is no C compiler")
WITH_REFERENCE = [name for name in MODELS if source_of(name).exists()]


def sample_of(name, n=300):
    process = MODELS[name].process(name)
    return gl.ensemble(MODELS[name].network, process.times, n, method="direct", rng=1).counts


def test_every_reference_in_c_belongs_to_a_network_that_is_timed():
    assert {source_of(name) for name in WITH_REFERENCE} == set(SOURCES.glob("*.c"))
    assert all(name in WITH_REFERENCE for name, m in MODELS.items() if m.kind == "small")


@needs_compiler
@pytest.mark.statistical
@pytest.mark.parametrize("name", WITH_REFERENCE)
def test_a_reference_in_c_samples_the_same_process(name):
    # Means and variances at ten times, by 5.5 standard errors; power: see the next test.
    counts, n_events = Program(MODELS[name].process(name)).run(300, 2)
    assert n_events > 0
    assert largest_difference(sample_of(name), counts) < MOST_STANDARD_ERRORS


@needs_compiler
@pytest.mark.statistical
def test_a_reference_in_c_of_another_process_is_noticed():
    # 2 % more infections; 1 % may pass.
    process = MODELS["sir"].process("sir")
    changed = process._replace(parameters={"infect": 1.02 * process.parameters["infect"]})
    counts, _ = Program(changed).run(1000, 2)
    assert largest_difference(sample_of("sir", 1000), counts) > MOST_STANDARD_ERRORS


@pytest.mark.parametrize("name", MODELS)
def test_a_network_handed_to_a_peer_goes_the_same_paths(name):
    # Names for the rates, as bngsim wants them, change no draw: equal seeds give equal paths. They
    # are short, because a law in another form may differ in its last bit.
    model = MODELS[name]
    process, times = model.process(name), [0.0, 0.05 * model.end]
    mine = gl.ensemble(model.network, times, 20, method="direct", rng=1)
    its = gl.ensemble(gl.Network.from_net(_net(process)), times, 20, method="direct", rng=1)
    assert all(np.array_equal(mine[species], its[species]) for species in process.species)
    assert mine.n_events.sum() > 5  # few by 5 % of the time of mapk


def test_the_page_shows_the_numbers_of_the_results():
    page, found = PAGE.read_text("utf-8"), tables_of()
    marked = re.findall(r"<!-- measured: ([\w-]+)", page)
    assert set(found) <= set(marked)
    assert updated(page, found) == page, "rewrite the page: python benchmarks/tables.py --page"


def test_pictures_of_the_page_exist():
    for name in re.findall(r"\]\((_static/[\w.]+)\)", PAGE.read_text("utf-8")):
        assert (PAGE.parent / name).exists()


def test_packed_instructions_are_told_from_scalar_ones():
    @numba.njit("void(float64[::1], float64[::1])", fastmath=False)
    def independent(x, y):
        for i in range(x.size):
            y[i] = x[i] * x[i] + 1.5

    @numba.njit("float64(float64, int64)")
    def one_after_the_other(x, n):
        for _ in range(n):
            x = x * x + 1.5
        return x

    assert arithmetic_in(assembly_of(independent)).packed
    found = arithmetic_in(assembly_of(one_after_the_other))
    assert not found.packed
    assert found.scalar >= 2
