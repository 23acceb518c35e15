"""What is estimated, number by number: targets at sampling times, and the columns they read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..probing import Columns
from .targets import EVERYWHERE, LAST, Target

__all__ = ["Cell", "cells_of", "columns_of"]


@dataclass(frozen=True)
class Cell:
    """One number that is estimated: a target at one time."""

    target: Target
    row: int  # of the sampling times
    quantity: str

    @property
    def column(self) -> tuple[str, int]:
        """The values that it is estimated from."""
        return str(self.target.expression), self.row


def columns_of(cells: Sequence[Cell]) -> Columns:
    """Return the columns that cells read, each once, in the same order for any order of cells."""
    return tuple(sorted({cell.column for cell in cells}))


def cells_of(targets: Sequence[Target], times: NDArray[np.float64]) -> tuple[Cell, ...]:
    """Return what is estimated, target by target and time by time.

    Raises
    ------
    ValueError
        If a target asks for a time that is not sampled.
    """
    cells = []
    for target in targets:
        if target.when == EVERYWHERE:
            # At the first time the state is given.
            rows = list(range(min(1, times.size - 1), times.size))
            text = target.quantity.removesuffix(" everywhere)")
            cells += [Cell(target, row, f"{text} at {times[row]:g})") for row in rows]
        else:
            row = times.size - 1 if target.when == LAST else _row_of(target, times)
            cells.append(Cell(target, row, target.quantity))
    return tuple(cells)


def _row_of(target: Target, times: NDArray[np.float64]) -> int:
    time = float(target.when)
    row = int(np.abs(times - time).argmin())
    if abs(times[row] - time) > 1e-12 * np.abs(times[[0, -1]]).max():
        raise ValueError(
            f"until= asks for {target.quantity}, but t = {time:g} is no sampling time; the nearest "
            f"is {times[row]:g}. Add it to the times of the run"
        )
    return row
