"""A short run that counts what events of a network do, for the choice of a method.

It draws from streams of its own, which no run of a user has, and what it finds depends on the
network alone: not on the clock, nor on how long the run is, nor on its seed.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from .compilation import CompiledNetwork, compile_expressions
from .interruption import interrupts_kept
from .kernels.arrays import Output, Request, Walker, cache_aligned
from .kernels.walking import N_BUFFERED, N_CLOCKS, N_COUNTERS
from .methods import Rejection
from .randomness import stream_key

__all__ = ["Activity", "activity_of"]

# Some 100 to 500 ns each.
_N_EVENTS = 20_000


class Activity(NamedTuple):
    """What happened in an event of a short run, on average."""

    n_events: int
    fired: np.ndarray  # (n_reactions,) float64, shares of all events
    n_proposals: float  # of the method `rejection`
    n_moves: np.ndarray  # (n_states,) float64, of its intervals


def activity_of(compiled: CompiledNetwork) -> Activity:
    """Return what the first events of a network do.

    Nothing of it may move between jumps, and all its amounts must be counts.
    """
    method, n = Rejection(), compiled.arrays.form.size
    nothing, _ = compile_expressions(compiled.network, [])
    request = Request(
        # Whenever it is, the run ends after so many events, or where there are no more.
        times=np.array([0.0, np.finfo(np.float64).max]),
        initial_state=compiled.initial_state,
        key=stream_key(0, "pilot"),
        columns=np.zeros(0, dtype=np.int64),
        observed=nothing,
        condition=nothing,
        options=method.option_values(),
        max_events=_N_EVENTS,
        every_event=True,
    )
    n_reals, n_integers = method.workspace_for(compiled)
    walker = Walker(
        state=np.ones(compiled.initial_state.size, dtype=np.int64),
        stream=np.zeros(4, dtype=np.uint64),
        clock=np.zeros(N_CLOCKS),
        counter=np.zeros(N_COUNTERS, dtype=np.int64),
        stack=np.zeros(2 * compiled.stack_depth),
        reals=cache_aligned(n_reals),
        integers=cache_aligned(n_integers).view(np.int64),
    )
    # Room for the start, too, so that the run is not interrupted.
    room = _N_EVENTS + 2
    output = Output(
        counts=np.empty((1, 2, 0), dtype=np.int64),
        values=np.empty((1, 2, 0)),
        outcome=np.zeros(1, dtype=np.int64),
        hitting_time=np.full(1, np.nan),
        n_events=np.zeros(1, dtype=np.int64),
        event_time=np.empty(room),
        event_counts=np.empty((room, 0), dtype=np.int64),
        event_values=np.empty((room, 0)),
        event_reaction=np.empty(room, dtype=np.int64),
    )
    with interrupts_kept():
        # However it ends: what is in trouble will say so in the run itself.
        method.kernel(method.arrays(compiled), request, walker, output, 0, 2 * room)
    fired = output.event_reaction[1 : walker.counter[N_BUFFERED]]
    n_proposals, n_moves = method.counted(walker)
    n_events = max(fired.size, 1)
    return Activity(
        n_events=fired.size,
        fired=np.bincount(fired, minlength=n) / n_events,
        n_proposals=n_proposals / n_events,
        n_moves=n_moves / n_events,
    )
