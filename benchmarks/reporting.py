"""What every benchmark prints: the machine, and tables in Markdown."""

from __future__ import annotations

import importlib.metadata
import json
import os
import platform
import statistics
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

__all__ = [
    "all_cores",
    "machine",
    "machine_line",
    "markdown_table",
    "middle",
    "pin_to_one_core",
    "save",
    "unpin",
]


def _cores() -> list[int]:
    if hasattr(os, "sched_getaffinity"):
        return sorted(os.sched_getaffinity(0))
    return list(range(os.cpu_count() or 1))


_CORES_AT_START = _cores()


def all_cores() -> list[int]:
    """Return the cores that this process could use when it started."""
    return _CORES_AT_START


def pin_to_one_core() -> None:
    """Keep this process, and those that it starts, on one core, where the system can."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {_CORES_AT_START[-1]})


def unpin() -> None:
    """Let this process use all the cores that it started with."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, _CORES_AT_START)


def _processor() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def machine(packages: Iterable[str] = ()) -> dict[str, Any]:
    """Return what the numbers depend on: processor, load and versions."""
    versions = {}
    for name in ("gillespy_lite", "numba", "numpy", *packages):
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return {
        "processor": _processor(),
        "cores": len(_CORES_AT_START),
        "load_average": os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
        "system": platform.system(),
        "python": platform.python_version(),
        "versions": versions,
    }


def machine_line(facts: dict[str, Any]) -> str:
    """Return the machine as one sentence."""
    versions = ", ".join(f"{name} {version}" for name, version in facts["versions"].items())
    load = "" if facts["load_average"] is None else f", load {facts['load_average']:.1f} at start"
    return (
        f"{facts['processor']}, {facts['cores']} cores{load}; {facts['system']}; "
        f"Python {facts['python']}, {versions}."
    )


def middle(values: Sequence[float]) -> float:
    """Return the median."""
    return float(statistics.median(values))


def markdown_table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table whose columns line up, the first one to the left."""
    lines = [list(header), *[list(row) for row in rows]]
    widths = [max(3, *(len(line[c]) for line in lines)) for c in range(len(header))]

    def joined(cells: Sequence[str]) -> str:
        padded = [
            cell.ljust(width) if c == 0 else cell.rjust(width)
            for c, (cell, width) in enumerate(zip(cells, widths, strict=True))
        ]
        return "| " + " | ".join(padded) + " |"

    rule = [":" + "-" * (widths[0] - 1), *["-" * (width - 1) + ":" for width in widths[1:]]]
    return "\n".join([joined(lines[0]), joined(rule), *[joined(line) for line in lines[1:]]])


def save(
    text: str, numbers: dict[str, Any], facts: dict[str, Any], out: Path | None, table: Path | None
) -> None:
    """Print `text` and write it, with the machine, to `table`; write the numbers to `out`."""
    text = f"{text}\n{machine_line(facts)}\n"
    print(text)
    if table is not None:
        table.write_text(text, encoding="utf-8")
    if out is not None:
        out.write_text(json.dumps({"machine": facts, **numbers}, indent=1) + "\n", encoding="utf-8")
