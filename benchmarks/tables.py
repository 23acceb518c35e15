"""Turn the files of results into tables, and write these into the documentation.

python benchmarks/tables.py            print them
python benchmarks/tables.py --page     write them into docs/benchmarks.md
"""

from __future__ import annotations

import argparse
import json
import math
import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from networks import MODELS
from peers import TOOLS
from reporting import machine_line, markdown_table, middle

__all__ = ["PAGE", "RESULTS", "comparison", "tables_of", "updated", "write_page"]

RESULTS = Path(__file__).resolve().parent / "results"
PAGE = Path(__file__).resolve().parent.parent / "docs" / "benchmarks.md"
OURS = "gillespy_lite"

_MARKED = re.compile(
    r"(?<=<!-- measured: )([\w-]+)( -->\n)(.*?)(?=<!-- end of measured -->)", re.DOTALL
)

Model = dict[str, dict[str, Any]]


def _models(results: dict[str, Any]) -> dict[str, Model]:
    """Return the models that were measured, in the order of `MODELS`."""
    return {name: results["models"][name] for name in MODELS if name in results["models"]}


def _has(model: Model, tool: str, what: str) -> bool:
    found = model.get(tool, {})
    return "unavailable" not in found and bool(found.get(what, {}).get("seconds"))


def nanoseconds(model: Model, tool: str, what: str) -> float:
    """Return the median time per event."""
    events = model[OURS]["events"][what]
    return 1e9 * middle(model[tool][what]["seconds"]) / events


def ratios(model: Model, tool: str, what: str, other: str = "ours") -> list[float]:
    """Return the time of a tool over that of ours or of C, round by round."""
    found = model[tool][what]
    return [mine / its for mine, its in zip(found["seconds"], found[other], strict=True)]


def fastest_peer(model: Model, what: str) -> str | None:
    """Return the public interface with the smallest ratio to ours."""
    peers = [
        name for name, tool in TOOLS.items() if tool.kind == "peer" and _has(model, name, what)
    ]
    return min(peers, key=lambda name: middle(ratios(model, name, what)), default=None)


def _spread(values: list[float]) -> str:
    return f"{middle(values):.2f} ({min(values):.2f} to {max(values):.2f})"


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}"


def geometric_mean(values: Iterable[float]) -> float:
    """Return the geometric mean."""
    logarithms = [math.log(value) for value in values]
    return math.exp(sum(logarithms) / len(logarithms))


def _against(results: dict[str, Any], what: str) -> str:
    """Return ours beside C and the fastest peer, one row a model."""
    rows, of_peers = [], []
    for name, model in _models(results).items():
        if not _has(model, OURS, what):
            continue
        best = fastest_peer(model, what)
        row = [
            name,
            f"{model[OURS]['events'][what]:,.0f}",
            _number(nanoseconds(model, OURS, what)),
        ]
        if _has(model, "C", what):
            row += [_number(nanoseconds(model, "C", what)), _spread(ratios(model, "C", what))]
        else:
            row += ["-", "-"]
        if best is None:
            row += ["-", "-"]
        else:
            of_peers.append(middle(ratios(model, best, what)))
            row += [f"{best} {_number(nanoseconds(model, best, what))}"]
            row += [_spread(ratios(model, best, what))]
        rows.append(row)
    header = ["model", "events", OURS, "C", "C over ours", "fastest peer", "peer over ours"]
    text = markdown_table(header, rows)
    if of_peers:
        text += f"\n\nGeometric mean of the last column: {geometric_mean(of_peers):.2f}."
    return text


def _everyone(results: dict[str, Any], what: str) -> str:
    """Return nanoseconds per event of all tools, one column a tool."""
    models = _models(results)
    tools = [name for name in TOOLS if any(_has(model, name, what) for model in models.values())]
    rows = [
        [
            name,
            *(
                _number(nanoseconds(model, tool, what)) if _has(model, tool, what) else "-"
                for tool in tools
            ),
        ]
        for name, model in models.items()
    ]
    return markdown_table(["model", *tools], rows)


def _engines(results: dict[str, Any]) -> str:
    """Return what ran, and two threads against one."""
    rows = []
    for name, model in _models(results).items():
        for tool in (t for t in TOOLS if TOOLS[t].kind == "ours" and _has(model, t, "ensemble")):
            threads = model[tool].get("threads")
            gain = "-"
            if threads:
                pairs = zip(threads["1"], threads["2"], strict=True)
                gain = _spread([one / two for one, two in pairs])
            asked = tool.removeprefix(OURS).strip() or "auto"
            rows.append(
                [
                    name,
                    asked,
                    model[tool].get("engine", "table"),
                    _number(nanoseconds(model, tool, "ensemble")),
                    _number(nanoseconds(model, tool, "single"))
                    if _has(model, tool, "single")
                    else "-",
                    gain,
                ]
            )
    header = ["model", "engine asked for", "it took", "ensemble, ns", "single, ns"]
    return markdown_table([*header, "1 thread over 2"], rows)


def _start_up(results: dict[str, Any]) -> str:
    """Return set-up, first call and memory of each tool, for Vilar's oscillator."""
    models = _models(results)
    name = "vilar" if "vilar" in models else next(iter(models))
    rows = []
    for tool, found in ((tool, models[name].get(tool, {})) for tool in TOOLS):
        if "peak_mebibytes" not in found or "unavailable" in found:
            continue
        start = found["start_up"]
        rows.append(
            [
                tool,
                *(f"{start[key]:.2f}" for key in ("import", "build", "first", "process_to_first")),
                f"{found['peak_mebibytes']:,.0f}",
            ]
        )
    header = ["", "import, s", "build, s", "first, s", "process to first, s", "peak, MiB"]
    return markdown_table(header, rows)


def _left_out(results: dict[str, Any]) -> str:
    """Return what could not be run, and why."""
    reasons: dict[tuple[str, str], list[str]] = {}
    for name, model in _models(results).items():
        for tool in TOOLS:
            if "unavailable" in model.get(tool, {}):
                reasons.setdefault((tool, model[tool]["unavailable"]), []).append(name)
    lines = [f"- {tool} ({', '.join(names)}): {why}" for (tool, why), names in reasons.items()]
    return "\n".join(lines) or "Every tool ran every model."


def _machine(results: dict[str, Any]) -> str:
    facts = results["machine"]
    clock = "processor time" if facts["clock"] == "cpu" else "time on the clock"
    apart = [
        found["standard_errors_apart"]
        for model in results["models"].values()
        for found in model.values()
        if "standard_errors_apart" in found and "unavailable" not in found
    ]
    agreement = f" Means and variances are at most {max(apart):.1f} standard errors apart." * bool(
        apart
    )
    # Results of several runs stand side by side, each of its own number of rounds.
    rounds = {
        len(found["ensemble"]["seconds"])
        for model in results["models"].values()
        for found in model.values()
        if "seconds" in found.get("ensemble", {})
    }
    how_many = " to ".join(str(one) for one in sorted({min(rounds), max(rounds)}))
    return f"{how_many} rounds, {clock}.{agreement} {machine_line(facts)}"


_COMPARISON: dict[str, Callable[[dict[str, Any]], str]] = {
    "ensembles": lambda results: _against(results, "ensemble"),
    "singles": lambda results: _against(results, "single"),
    "everyone-ensembles": lambda results: _everyone(results, "ensemble"),
    "everyone-singles": lambda results: _everyone(results, "single"),
    "engines": _engines,
    "start-up": _start_up,
    "left-out": _left_out,
    "machine": _machine,
}


def comparison(results: dict[str, Any]) -> str:
    """Return all tables of `compare.py`."""
    return "\n\n".join(f"{name}:\n\n{make(results)}" for name, make in _COMPARISON.items()) + "\n"


def tables_of(folder: Path = RESULTS) -> dict[str, str]:
    """Return every table whose results are in `folder`, by the name of its marker."""
    found = {}
    compared = folder / "compare.json"
    if compared.exists():
        results = json.loads(compared.read_text(encoding="utf-8"))
        found |= {name: make(results) for name, make in _COMPARISON.items()}
    for path in sorted(folder.glob("*.json")):
        results = json.loads(path.read_text(encoding="utf-8"))
        # The other benchmarks write their tables beside their numbers.
        found |= results.get("tables", {})
    return found


def updated(page: str, found: dict[str, str]) -> str:
    """Return the page with its marked places filled; one without results stays as it is."""

    def filled(match: re.Match[str]) -> str:
        table = found.get(match[1])
        return match[0] if table is None else f"{match[1]}{match[2]}\n{table}\n\n"

    return _MARKED.sub(filled, page)


def write_page(folder: Path = RESULTS) -> None:
    """Fill the marked places of docs/benchmarks.md from the results."""
    text = PAGE.read_text(encoding="utf-8")
    PAGE.write_text(updated(text, tables_of(folder)), encoding="utf-8")


def main() -> None:
    """Print or write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--page", action="store_true", help="write into docs/benchmarks.md")
    parser.add_argument("--results", type=Path, default=RESULTS)
    options = parser.parse_args()
    if options.page:
        write_page(options.results)
    else:
        for name, table in tables_of(options.results).items():
            print(f"{name}:\n\n{table}\n")


if __name__ == "__main__":
    main()
