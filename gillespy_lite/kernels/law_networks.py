"""Small networks with rate laws, as the loop for these reads them."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from .arrays import ReactionArrays
from .lane_programs import LaneTape
from .lane_tapes import write_tape
from .scalar_tapes import STEP

__all__ = ["LawNetwork", "law_network"]


class LawNetwork(NamedTuple):
    """A small network, some of whose propensities are rate laws.

    The steps of laws read and write one array: first the counts, padded, then the parameters, the
    constants, and what steps give.
    """

    reactions: ReactionArrays
    steps: np.ndarray  # (n_steps * STEP,) int64
    start: np.ndarray  # (n_reactions + 2,) int64; last come the steps of what no count changes
    result: np.ndarray  # (n_reactions,) int64, the place of a law's value; -1: its last step's
    constants: np.ndarray
    n_rows: int  # doubles that are needed behind the counts


def law_network(reactions: ReactionArrays, width: int) -> LawNetwork:
    """Return reactions with the steps of their rate laws.

    Parameters
    ----------
    reactions : ReactionArrays
        None of which moves between events.
    width : int
        Doubles that counts are kept in.
    """
    n_parameters = reactions.parameters.size
    tape, constants, n_scratch = write_tape(reactions.laws, width, width + n_parameters, width=1)
    columns = [tape.code, tape.target, tape.first, tape.second, tape.third]
    return LawNetwork(
        reactions=reactions,
        steps=np.stack(columns, axis=1).ravel(),
        start=tape.start * STEP,
        result=_results(tape),
        constants=constants,
        n_rows=n_parameters + constants.size + n_scratch,
    )


def _results(tape: LaneTape) -> np.ndarray:
    """Return where the values of laws are; -1 of those that their last step gives."""
    ends = tape.start[1:-1]
    has_steps = ends > tape.start[:-2]
    last = np.where(has_steps, ends - 1, 0)
    is_last = has_steps & (np.append(tape.target, -2)[last] == tape.result)
    return np.where(is_last, -1, tape.result)
