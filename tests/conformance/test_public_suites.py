"""The public suites, quickly: every deterministic case, the stochastic ones with fewer runs.

`python -m tests.conformance` runs all of them in full.
"""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from .bng import run_rate_equations
from .cases import NO_DATA, data_folder, net_cases, semantic_cases, stochastic_cases
from .dsmts import EXACT_METHODS, run_dsmts
from .semantic import run_semantic

pytestmark = pytest.mark.conformance

FOLDER = data_folder()
_LARGE = 100_000  # bytes of a network's file; larger ones wait for the full run


def parameters_of(cases):
    """Give each case its name as id; without cases, one test that is skipped and says why."""
    if not cases:
        return [pytest.param(None, marks=pytest.mark.skip(reason=NO_DATA))]
    # Two folders may hold cases of one name.
    names = [case.name for case in cases]
    return [
        pytest.param(
            case, id=name if names.count(name) == 1 else f"{case.model.parent.name}-{name}"
        )
        for case, name in zip(cases, names, strict=True)
    ]


@pytest.mark.parametrize("case", parameters_of(semantic_cases(FOLDER)))
def test_the_rate_equations_follow_the_deterministic_suite(case):
    outcome = run_semantic(case)
    assert outcome.is_good, str(outcome)


@pytest.mark.statistical
@pytest.mark.parametrize("method", EXACT_METHODS)
@pytest.mark.parametrize("case", parameters_of(stochastic_cases(FOLDER)))
def test_exact_methods_have_the_moments_of_the_stochastic_suite(case, method):
    # With 1,000 runs a mean that is off by a tenth of its standard deviation fails.
    outcome = run_dsmts(case, method, 1_000)
    assert outcome.is_good, str(outcome)


@pytest.mark.parametrize(
    "case",
    parameters_of([case for case in net_cases(FOLDER) if case.model.stat().st_size < _LARGE]),
)
def test_the_rate_equations_of_a_net_file_follow_its_table(case):
    outcome = run_rate_equations(case)
    assert outcome.is_good, str(outcome)


_MEASURE = """
import json, resource, sys
from gillespy_lite import Network
from gillespy_lite.compilation import compile_network, compile_rate_equations
before = resource.getrusage(resource.RUSAGE_SELF)
network = Network.from_net(sys.argv[1])
compile_network(network)
compile_rate_equations(network)
after = resource.getrusage(resource.RUSAGE_SELF)
seconds = after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime
# Of this process alone: ru_maxrss begins with what the process had that started it.
peak = after.ru_maxrss
if sys.platform == "linux":
    status = dict(line.split(":", 1) for line in open("/proc/self/status"))
    peak = int(status["VmHWM"].split()[0])
print(json.dumps([network.n_reactions, seconds, peak / 1024]))
"""


def largest_network():
    def size(case):
        # What xz has packed is some ten times as large.
        return case.model.stat().st_size * (10 if case.model.suffix == ".xz" else 1)

    return sorted(net_cases(FOLDER), key=size)[-1:]


@pytest.mark.skipif(sys.platform != "linux", reason="memory is counted in other units elsewhere")
@pytest.mark.parametrize("case", parameters_of(largest_network()))
def test_the_largest_network_is_read_and_compiled_in_10_seconds_and_1_gb(case):
    command = [sys.executable, "-c", _MEASURE, str(case.model)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120)
    n_reactions, seconds, megabytes = json.loads(done.stdout)
    assert n_reactions > 0
    assert seconds < 10.0
    assert megabytes < 1024.0
