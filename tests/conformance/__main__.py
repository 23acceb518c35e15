"""Run the public suites: ``python -m tests.conformance``, from the root of the repository.

Without options everything is run: the deterministic SBML cases, the stochastic ones with 10,000
runs for every exact method, and the BioNetGen networks.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

from . import bng, dsmts, report, semantic
from .cases import NO_DATA, data_folder, net_cases, semantic_cases, stochastic_cases
from .outcomes import Outcome

_SUITES = ("semantic", "dsmts", "bng", "paths")


def main(arguments: list[str] | None = None) -> int:
    """Run what the command line asks for; return 0 if all is well."""
    parser = argparse.ArgumentParser(prog="python -m tests.conformance", description=__doc__)
    parser.add_argument(
        "--suite",
        action="append",
        choices=_SUITES,
        help="semantic, dsmts, bng (rate equations), paths (one run to the end of each benchmark); "
        "may be repeated; without it semantic, dsmts and bng",
    )
    parser.add_argument("--case", action="append", help="only this case; may be repeated")
    parser.add_argument(
        "--method", action="append", help="only this method, of dsmts; may be repeated"
    )
    parser.add_argument("--n", type=int, default=10_000, help="runs of each stochastic case")
    parser.add_argument("--seed", type=int, default=1, help="seed of the stochastic cases")
    parser.add_argument("--timeout", type=float, default=600.0, help="seconds for each path")
    parser.add_argument("--data", type=Path, help="folder of the cases")
    parser.add_argument("--report", type=Path, help="page whose results are to be replaced")
    options = parser.parse_args(arguments)
    folder = options.data or data_folder()
    if folder is None:
        parser.error(NO_DATA)
    is_well = True
    for suite in options.suite or _SUITES[:3]:
        outcomes = []
        for outcome in _run(suite, folder, options):
            outcomes.append(outcome)
            if not outcome.is_good or outcome.n_out or options.case:
                print(outcome, flush=True)
        is_well &= bool(outcomes) and all(one.is_good for one in outcomes)
        print(f"{suite}: {report.summary(outcomes)}", flush=True)
        if options.report:
            _write(options, suite, outcomes)
    return 0 if is_well else 1


def _run(suite: str, folder: Path, options: argparse.Namespace) -> Iterator[Outcome]:
    def chosen(cases: Iterable) -> Iterator:
        return (case for case in cases if not options.case or case.name in options.case)

    if suite == "semantic":
        yield from map(semantic.run_semantic, chosen(semantic_cases(folder)))
    elif suite == "dsmts":
        for case in chosen(stochastic_cases(folder)):
            for method in options.method or dsmts.EXACT_METHODS:
                yield dsmts.run_dsmts(case, method, options.n, options.seed)
    elif suite == "bng":
        yield from map(bng.run_rate_equations, chosen(net_cases(folder)))
    else:
        for case in chosen(net_cases(folder)):
            if bng.has_benchmark(case, options.case or ()):
                yield bng.run_path(case, options.timeout)


def _write(options: argparse.Namespace, suite: str, outcomes: list[Outcome]) -> None:
    title = f"{options.n:,} runs a case." if suite == "dsmts" else ""
    text = report.section(title, outcomes, grid=suite == "dsmts").strip()
    report.put_section(options.report, suite, text)


if __name__ == "__main__":
    sys.exit(main())
