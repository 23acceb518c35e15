"""What a result says about itself: one line, or a table as text or HTML."""

from __future__ import annotations

import html
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from .provenance import Provenance

__all__ = ["Summary", "cut_short", "first_and_last", "listed", "method_lines"]

# Names listed in full in a one-line description.
_NAMES_SHOWN = 6


class Summary(NamedTuple):
    """A short description and a table, before it becomes text or HTML."""

    lines: tuple[str, ...]
    header: tuple[str, ...]
    rows: Sequence[tuple[str, *tuple[float, ...]]]  # a name, and numbers below the header's rest

    def text(self) -> str:
        """Return the lines, an empty one and the table, with aligned columns."""
        table = (self.header, *self._cells())
        widths = [max(map(len, column)) for column in zip(*table, strict=True)]
        lines = []
        for name, *numbers in table:
            cells = [cell.rjust(width) for cell, width in zip(numbers, widths[1:], strict=True)]
            lines.append("  ".join((name.ljust(widths[0]), *cells)))
        return "\n".join((*self.lines, "", *lines))

    def html(self) -> str:
        """Return the lines and the table, escaped."""
        lines = "<br>".join(map(html.escape, self.lines))
        header = "".join(f"<th>{html.escape(cell)}</th>" for cell in self.header)
        rows = "".join(
            f'<tr><th style="text-align:left">{html.escape(name)}</th>'
            + "".join(f"<td>{html.escape(cell)}</td>" for cell in cells)
            + "</tr>"
            for name, *cells in self._cells()
        )
        return (
            f"<div><p>{lines}</p>"
            f"<table><thead><tr>{header}</tr></thead><tbody>{rows}</tbody></table></div>"
        )

    def _cells(self) -> list[tuple[str, ...]]:
        return [(name, *(f"{number:.6g}" for number in numbers)) for name, *numbers in self.rows]


def listed(names: Sequence[str]) -> str:
    """Return the names with commas, the last ones as a number if there are many."""
    if len(names) > _NAMES_SHOWN:
        return f"{', '.join(names[: _NAMES_SHOWN - 1])} and {len(names) - _NAMES_SHOWN + 1} more"
    return ", ".join(names) or "nothing"


def first_and_last(times: np.ndarray, end_time: float = -np.inf) -> str:
    """Return the span of the times, up to `end_time` if that is later."""
    return f"{times[0]:g} to {max(float(times[-1]), end_time):g}"


def cut_short(
    stopped: str | None, n_trajectories: int | None = None, n_requested: int | None = None
) -> str:
    """Return what stopped the run and how much of it was done; empty if it is complete."""
    if stopped is None:
        return ""
    share = f" with {n_trajectories} of {n_requested} done" if n_requested is not None else ""
    return f", stopped by {stopped}{share}"


def method_lines(provenance: Provenance) -> list[str]:
    """Return the lines of a summary that say how the result was made."""
    reason = f" ({provenance.method_reason})" if provenance.method_reason else ""
    entropy = provenance.entropy
    randomness = "no random numbers" if entropy is None else f"entropy {entropy}"
    return [
        f"method {provenance.method}{reason}",
        f"{randomness}, {provenance.elapsed:.3g} s",
    ]
