"""The BioNetGen networks: the groups over time, and single runs to the benchmarks' end times."""

from __future__ import annotations

import time
import warnings
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

import gillespy_lite as gl

from .cases import CaseError, NetCase, parse_table, read_text
from .outcomes import FAILED, PASSED, Outcome, attempt


class TableNote(NamedTuple):
    """What is peculiar about a published table."""

    accuracy: float = 0.0  # part of each column's largest value; 0 for what its format promises
    rtol: float = 0.0  # of the solver; 0 for a thousandth of the accuracy
    starts_at: float = 0.0  # the network's own time 0 in the table; rows up to there are another's
    skip: tuple[str, ...] = ()  # columns that are wrong in the table


# By the name of the file, as the notes of the collection say.
_NOTES = {
    # A sharp late transition shifts with the solver's tolerance.
    "bcr": TableNote(accuracy=1e-2, rtol=1e-8),
    "fceri_gamma2": TableNote(accuracy=1e-4, rtol=1e-6),
    "michment": TableNote(starts_at=10.0),  # its network is the state in mid-run
    # x_builtin is 1.5 % off, x_exact is right; f_diff is the rounding error of a difference.
    "test_time": TableNote(skip=("x_builtin", "f_diff")),
}
_GDAT, _OWN = 1e-5, 2e-6  # accuracy of the two kinds of table

# The end times of published benchmarks, by the name of the file.
_END_TIMES = {
    "multistate": ("direct", 20.0),
    "multisite2": ("direct", 2.0),
    "egfr_net": ("direct", 12.0),
    # It starts from amounts that are no whole numbers; BCRSSA is the same from whole ones.
    "bcr": ("ode", 100_000.0),
    "BCRSSA": ("direct", 20_000.0),
    "fceri_gamma2": ("direct", 150.0),
}

_HOURS = {"BCRSSA"}  # 1e10 events


def run_rate_equations(case: NetCase) -> Outcome:
    """Solve a network's rate equations and compare its groups with the table."""
    return attempt(case.name, "ode", case.model, lambda: _compared(case))


def _compared(case: NetCase) -> Outcome:
    network = gl.Network.from_net(case.model)
    if case.reference is None:
        return Outcome(case.name, "ode", PASSED, detail="read; there is no table to compare with")
    note = _NOTES.get(case.name, TableNote())
    table = parse_table(read_text(case.reference))
    kept = table["time"] > note.starts_at if note.starts_at else table["time"] >= 0.0
    times = table["time"][kept] - note.starts_at
    if note.starts_at:
        times = np.concatenate(([0.0], times))
    accuracy = note.accuracy or (_GDAT if ".gdat" in case.reference.name else _OWN)
    # Amounts may be small numbers as well as large ones, so the tables' scales set the tolerance.
    sizes = [np.abs(column).max() for name, column in table.items() if name != "time"]
    smallest = min([size for size in sizes if size > 0.0], default=1.0)
    tight = note.rtol or accuracy * 1e-3
    options = {"rtol": tight, "atol": tight * min(1.0, smallest)}
    path = gl.simulate(network, times, method="ode", **options)
    n_points, out, worst = 0, 0, (0.0, "")
    for name, column in columns_of(table, network).items():
        if column in note.skip:
            continue
        expected, found = table[column][kept], np.asarray(path[name], dtype=np.float64)
        found = found[times.size - expected.size :]
        scale = np.abs(expected).max() or 1.0
        difference = np.abs(found - expected) / scale
        n_points += difference.size
        out += int(np.count_nonzero(~(difference <= accuracy)))
        worst = max(worst, (float(difference.max()), f"{column} is off by {difference.max():.1e}"))
    return Outcome(case.name, "ode", FAILED if out else PASSED, n_points, out, worst[1])


def columns_of(table: dict[str, np.ndarray], network: gl.Network) -> dict[str, str]:
    """Return which column of the table holds which observable.

    Some tables spell the groups otherwise, but keep their order.
    """
    columns = [name for name in table if name != "time"]
    known = {*network.state_names, *network.observable_names}
    # A group named like a word of the language is stored with _ behind it.
    stored = {name if name in known else f"{name}_": name for name in columns}
    if stored.keys() <= known:
        return stored
    if len(columns) > len(network.observable_names):
        raise CaseError("the table has other columns than the network has groups")
    return dict(zip(network.observable_names, columns, strict=False))


def run_path(case: NetCase, timeout: float = 600.0) -> Outcome:
    """Run one path to the benchmark's end time, and say how much work it was."""
    method, end = _END_TIMES[case.name]
    return attempt(case.name, method, case.model, lambda: _run(case, method, end, timeout))


def _run(case: NetCase, method: str, end: float, timeout: float) -> Outcome:
    network = gl.Network.from_net(case.model)
    start = time.perf_counter()
    with warnings.catch_warnings():
        # A path that was cut short says so in `stopped`.
        warnings.simplefilter("ignore", gl.errors.IncompleteWarning)
        options = {"rtol": 1e-6, "atol": 1e-4} if method == "ode" else {}
        times = np.linspace(0.0, end, 101)
        path = gl.simulate(network, times, method=method, rng=1, timeout=timeout, **options)
    seconds = time.perf_counter() - start
    events = f"{path.n_events:,} events " if path.n_events else ""
    detail = f"{events}to t = {path.end_time:g} of {end:g} in {seconds:.1f} s"
    return Outcome(case.name, method, FAILED if path.stopped else PASSED, detail=detail)


def has_benchmark(case: NetCase, asked_for: Sequence[str]) -> bool:
    """Whether a benchmark of this network was published, and takes minutes or is `asked_for`."""
    return case.name in _END_TIMES and (case.name not in _HOURS or case.name in asked_for)
