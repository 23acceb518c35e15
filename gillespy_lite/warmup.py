"""Compiling kernels ahead of the first run: small runs that need them."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

from .dsl import parse_network
from .ensembles import ensemble
from .kernels.jit import n_compiled
from .kernels.sum_tree import DENSE_LIMIT
from .master_equation import first_passage, solve_master_equation
from .methods import METHODS, StochasticMethod
from .multilevel_estimation import multilevel
from .precision import controlled_mean, difference
from .progress import no_notice_of_compilation
from .scans import scan
from .simulation import simulate

__all__ = ["Warmed", "warm_up"]

_MASS_ACTION = "species A = 3, B\n0 -> A @ 1\n2 A <-> B @ 1, 1\nA -> 0 @ 1"
_THREE_MOLECULES = "species A = 3\n3 A -> 0 @ 1\n0 -> A @ 1"
_MANY_REACTIONS = "species A = 3\n" + "A -> 0 @ 1\n" * (DENSE_LIMIT + 1)
_RATE_LAWS = "species A = 3\n0 => A @ 1/(1 + A)\nA -> 0 @ 1"
_MOVING = "species A = 3\n0 -> A @ 1 + t\nA -> 0 @ 1"


@dataclass(frozen=True)
class Warmed:
    """What one of the small runs took."""

    what: str
    n_compiled: int  # kernels that were not on the disk
    seconds: float


def _runs(everything: bool) -> Iterator[tuple[str, Callable[[], Any]]]:
    def small_ensemble(text: str, method: str, **options: Any) -> Callable[[], Any]:
        how = {"method": method, "engine": "table", "rng": 1, **options}
        return lambda: ensemble(parse_network(text), 0.1, 2, **how)

    for name, method in METHODS.items():
        if name != "direct" and not everything:
            continue
        if not issubclass(method, StochasticMethod):
            yield (
                f"{name}: rate equations",
                partial(simulate, parse_network(_RATE_LAWS), 0.1, method=name),
            )
            continue
        if name == "direct":
            yield "direct: small mass-action networks", small_ensemble(_MASS_ACTION, name)
            yield "direct: small networks with rate laws", small_ensemble(_RATE_LAWS, name)
            yield "direct: ensembles in lanes", small_ensemble(_MASS_ACTION, name, engine="lanes")
            if everything:
                yield "direct: three molecules", small_ensemble(_THREE_MOLECULES, name)
                large = small_ensemble(_MANY_REACTIONS, name, engine="lanes")
                yield "direct: ensembles of larger networks in lanes", large
        if name == "tau_leaping":
            yield f"{name}: ensembles in lanes", small_ensemble(_RATE_LAWS, name, engine="lanes")
        others = _MANY_REACTIONS if name == "direct" else _RATE_LAWS
        yield f"{name}: other networks", small_ensemble(others, name)
        if everything and method.jump_kernel is not None:
            yield f"{name}: what moves between events", small_ensemble(_MOVING, name)
    yield "statistics of ensembles", small_ensemble(_MASS_ACTION, "direct", statistics=True)
    if everything:
        network = parse_network(_RATE_LAWS)
        yield "master equation: probabilities", partial(solve_master_equation, network, 1.0)
        yield "master equation: first passage", partial(first_passage, network, "A >= 6")
        yield (
            "multilevel Monte Carlo",
            partial(multilevel, network, 0.1, tolerance=1.0, levels=[4], rng=1, threads=1),
        )
        yield "control variates", partial(controlled_mean, network, 0.1, "A", 2, rng=1)
        sets = {"A": [2, 3]}
        yield "parameter scans", partial(scan, network, sets, 0.1, 16, method="direct", rng=1)
        yield "coupled pairs", partial(difference, network, {"A": 4}, 0.1, "A", 2, rng=1)


def warm_up(
    everything: bool = False, report: Callable[[Warmed], object] = lambda warmed: None
) -> list[Warmed]:
    """Compile the kernels that first runs need, and keep them on the disk.

    Parameters
    ----------
    everything : bool, optional
        Those of all methods, of rates that move between events, of the master equation, of
        multilevel Monte Carlo, of control variates, of differences and of scans;
        otherwise those of the default method and of statistics.
    report : callable, optional
        Called with each `Warmed` as soon as it is known.

    Returns
    -------
    list of Warmed
        What was run, how many kernels were compiled for it, and how long it took.
    """
    done = []
    with no_notice_of_compilation():
        for what, run in _runs(everything):
            before, started = n_compiled(), time.perf_counter()
            run()
            warmed = Warmed(what, n_compiled() - before, time.perf_counter() - started)
            report(warmed)
            done.append(warmed)
    return done
