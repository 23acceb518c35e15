"""The report: a table for each suite, put between marks of a page whose prose stays."""

from __future__ import annotations

import platform
import re
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path

from .outcomes import ERROR, FAILED, PASSED, REFUSED, Outcome

_PACKAGES = ("gillespy_lite", "numpy", "scipy", "numba", "python-libsbml")


def versions() -> str:
    """Return the versions that matter, in one line."""
    found = [f"Python {platform.python_version()}"]
    for name in _PACKAGES:
        try:
            found.append(f"{name} {metadata.version(name)}")
        except metadata.PackageNotFoundError:
            continue
    return ", ".join(found)


def summary(outcomes: Sequence[Outcome]) -> str:
    """Return how many cases ended how, in words."""
    counts = [
        f"{sum(one.status == status for one in outcomes)} {status}"
        for status in (PASSED, FAILED, REFUSED, ERROR)
        if any(one.status == status for one in outcomes)
    ]
    return f"{len(outcomes)} runs: {', '.join(counts) or 'none'}"


def grid_table(outcomes: Sequence[Outcome]) -> str:
    """Return a row per case and a column per method; in the cells the points out."""
    methods = list(dict.fromkeys(one.method for one in outcomes))
    found = {(one.case, one.method): one for one in outcomes}
    lines = [
        "| case | points | " + " | ".join(f"`{method}`" for method in methods) + " |",
        "| --- | --- |" + " --- |" * len(methods),
    ]
    for case in dict.fromkeys(one.case for one in outcomes):
        row = [found.get((case, method)) for method in methods]
        n_points = max((one.n_points for one in row if one), default=0)
        cells = [_cell(one) for one in row]
        lines.append(f"| {case} | {n_points} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _cell(outcome: Outcome | None) -> str:
    if outcome is None:
        return ""
    if outcome.status in (ERROR, REFUSED):
        return outcome.status
    text = f"{outcome.n_out} out"
    if outcome.status == FAILED:
        text = f"**{text}**"
    return text + (f" (run {len(outcome.seeds)})" if len(outcome.seeds) > 1 else "")


def detail_table(outcomes: Sequence[Outcome]) -> str:
    """Return one row per run with its detail."""
    lines = ["| case | method | result | points out | detail |", "| --- | --- | --- | --- | --- |"]
    for one in outcomes:
        points = f"{one.n_out} of {one.n_points}" if one.n_points else ""
        detail = one.detail.replace("|", r"\|")
        status = one.status if one.is_good else f"**{one.status}**"
        lines.append(f"| {one.case} | `{one.method}` | {status} | {points} | {detail} |")
    return "\n".join(lines)


def section(title: str, outcomes: Sequence[Outcome], *, grid: bool = False) -> str:
    """Return what a suite's run has shown, as Markdown."""
    parts = [f"{title} {summary(outcomes)}.", f"Run with {versions()}."]
    if grid:
        parts.append(grid_table(outcomes))
        rest = [one for one in outcomes if not one.is_good or len(one.seeds) > 1]
    else:
        rest = [one for one in outcomes if one.detail]
    if rest:
        parts.append(detail_table(rest))
    passed = [one.case for one in outcomes if one.status == PASSED and one not in rest]
    if not grid and passed:
        parts.append("Passed without a point out: " + ", ".join(dict.fromkeys(passed)) + ".")
    return "\n\n".join(parts)


def put_section(page: Path, name: str, text: str) -> None:
    """Replace what stands between the marks of a section; append it where there are none."""
    begin, end = f"<!-- results: {name} -->", "<!-- end of results -->"
    block = f"{begin}\n\n{text}\n\n{end}"
    old = page.read_text("utf-8") if page.exists() else "# Conformance\n"
    pattern = re.compile(f"{re.escape(begin)}.*?{re.escape(end)}", re.DOTALL)
    if pattern.search(old):
        new = pattern.sub(lambda _: block, old, count=1)
    else:
        new = f"{old.rstrip()}\n\n{block}\n"
    page.write_text(new, "utf-8")
