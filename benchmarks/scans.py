"""Measure parameter scans against a loop over `ensemble`: the same numbers, how much sooner.

    python benchmarks/scans.py [--sets 2000] [--loop 100] [--rounds 5] [--threads 1] [--wall]

Sets of Michaelis-Menten with 100 trajectories each, with end times that give a trajectory about 10
to 900 events. The loop runs some of the sets, one `ensemble` after the other, with paths kept and
with statistics only; its time is scaled to all of them. Both run in turns in one process, and the
least time of some rounds counts: processor time, of all threads, or time on the wall. First both
are compared bit by bit.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterable
from functools import partial

import numpy as np
from reporting import machine, machine_line, markdown_table

import gillespy_lite as gl

N = 100
# End time, number of sampling times, molecules of substrate at the start.
CASES = [
    (0.2, 2, 301),
    (1.0, 2, 301),
    (2.2, 2, 301),
    (5.0, 2, 301),
    (50.0, 2, 301),
    (200.0, 2, 450),
]
CASES += [(0.2, 101, 301), (2.2, 101, 301), (50.0, 101, 301)]


def least(clock: Callable[[], float], rounds: int, *runs: Callable[[], object]) -> list[float]:
    """Return the least time of each run, in turns."""
    found = [np.inf] * len(runs)
    for _ in range(rounds):
        for i, run in enumerate(runs):
            before = clock()
            run()
            found[i] = min(found[i], clock() - before)
    return found


def loop(
    network: gl.Network,
    rates: np.ndarray,
    chosen: Iterable[int],
    times: np.ndarray,
    threads: int,
    statistics: bool,
) -> None:
    """Do what a scan does for some of its sets, one ensemble after the other."""
    for j in chosen:
        relative = network.with_parameters(kf=rates[j])
        gl.ensemble(relative, times, N, rng=j, threads=threads, statistics=statistics)


def main() -> None:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sets", type=int, default=2000)
    parser.add_argument("--loop", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--wall", action="store_true")
    given = parser.parse_args()
    clock = time.perf_counter if given.wall else time.process_time
    print(machine_line(machine()))
    rows = []
    for end, n_times, substrate in CASES:
        network = gl.models.michaelis_menten(S=substrate)
        times, rates = np.linspace(0, end, n_times), np.geomspace(0.001, 0.003, given.sets)
        chosen = range(0, given.sets, max(1, given.sets // given.loop))

        scan = partial(gl.scan, network, {"kf": rates}, times, N, rng=1, threads=given.threads)
        looped = [network, rates, chosen, times, given.threads]
        found = scan()
        n_events = 0
        for j in (0, given.sets // 2, given.sets - 1):
            how = {"rng": found.entropy(j), "method": "direct", "engine": "table"}
            one = gl.ensemble(found.network_of(j), times, N, statistics=True, **how)
            assert np.array_equal(one.means, found.means[j])
            assert np.array_equal(one.comoments, found.comoments[j])
            n_events = int(gl.ensemble(found.network_of(j), times, N, **how).n_events.mean())
        loops = [partial(loop, *looped, statistics) for statistics in (False, True)]
        spent = least(clock, given.rounds, scan, *loops)
        per_set = [1e6 * spent[0] / given.sets, *(1e6 * one / len(chosen) for one in spent[1:])]
        rows.append(
            [
                f"{end:g}",
                str(n_times),
                str(n_events),
                *(f"{one:.0f}" for one in per_set),
                *(f"{one / per_set[0]:.1f}" for one in per_set[1:]),
            ]
        )
    heads = ["end", "times", "events of a path", "scan, us per set", "loop, paths"]
    heads += ["loop, statistics", "times as fast (paths)", "(statistics)"]
    print(markdown_table(heads, rows))


if __name__ == "__main__":
    main()
