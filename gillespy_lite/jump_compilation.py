"""From a network that moves between jumps to the arrays of `kernels.jump_loop`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from .compilation import (
    CompiledNetwork,
    compile_expressions,
    compile_steps,
    jumping_parts,
    moving_variables,
)
from .event_compilation import CompiledEvents, compile_events, enlarged, event_store
from .kernels.arrays import Box, JumpNetwork, JumpWalker
from .kernels.delays import DELAY_CODES, NO_DELAY, Delays
from .kernels.paths import Path
from .kernels.programs import Programs
from .kernels.runge_kutta import N_STAGES, PATH_DEGREE
from .kernels.thinning import N_JUMP_CLOCKS, N_JUMP_COUNTERS
from .network import Network
from .rate_laws import Expression

__all__ = ["CompiledJumps", "compile_jumps", "enlarged_completions", "enlarged_executions"]

_FIRST_CAPACITY = 64


@dataclass(frozen=True)
class CompiledJumps:
    """A network as the loop over jumps reads it."""

    network: JumpNetwork
    events: CompiledEvents
    moving: np.ndarray  # (n_moving,) int64: the variables that move, indices into the state
    initial_state: np.ndarray  # (n_states + 1,) float64, the last entry 1
    stack_depth: int

    def walker(self, stack_depth: int, n_reals: int, n_integers: int) -> JumpWalker:
        """Return a thread's own working arrays, for programs of this depth."""
        depth = max(stack_depth, self.stack_depth)
        n_states, n_moving = self.initial_state.size - 1, self.moving.size
        n_reactions = self.network.reactions.form.size
        store = event_store(self.events, n_states)
        return JumpWalker(
            state=np.ones(n_states + 1),
            stream=np.zeros(4, dtype=np.uint64),
            clock=np.zeros(N_JUMP_CLOCKS),
            counter=np.zeros(N_JUMP_COUNTERS, dtype=np.int64),
            stack=np.zeros(depth),
            reals=np.zeros(n_reals),
            integers=np.zeros(n_integers, dtype=np.int64),
            tolerances=np.zeros(2),
            value=np.zeros(n_reactions),
            box=Box(
                low=np.ones(n_states + 1),
                high=np.ones(n_states + 1),
                low_stack=np.zeros(depth),
                high_stack=np.zeros(depth),
            ),
            path=Path(
                moving=self.moving.copy(),
                coefficients=np.zeros((n_moving, PATH_DEGREE + 1)),
                window=np.zeros(2),
                scratch=np.zeros(PATH_DEGREE + 1),
            ),
            slopes=np.zeros((N_STAGES, n_moving)),
            due_time=np.zeros(_FIRST_CAPACITY),
            due_reaction=np.zeros(_FIRST_CAPACITY, dtype=np.int64),
            # Its scratch serves the search for a change of the stop condition, too.
            store=store._replace(
                stack=np.zeros(depth), low_stack=np.zeros(depth), high_stack=np.zeros(depth)
            ),
        )


@dataclass(frozen=True)
class _Structure:
    """What does not depend on the numbers of a network."""

    moving: tuple[int, ...]
    rates: Programs
    switches: Programs
    restarts: np.ndarray
    delays: Delays
    stack_depth: int


def compile_jumps(compiled: CompiledNetwork, condition: Expression | None) -> CompiledJumps:
    """Return the arrays of a network for the loop over jumps.

    Parameters
    ----------
    compiled : CompiledNetwork
        The network.
    condition : Expression or None
        What ends a trajectory, if anything.
    """
    network = compiled.network
    steps = compile_steps(compiled)
    structure = network.memo.get("jumps")
    if structure is None:
        structure = network.memo["jumps"] = _build(network, steps.changed)
    names = network.variable_names
    moving_names = frozenset(names[i] for i in structure.moving)
    events = compile_events(network, moving_names)
    condition_moves = condition is not None and not network.expanded(
        condition
    ).symbols().isdisjoint({"t", *moving_names})
    state = np.ones(len(network.state_names) + 1)
    state[:-1] = np.concatenate([network.initial_state, network.initial_variables])
    return CompiledJumps(
        network=JumpNetwork(
            reactions=steps.arrays,
            moving_reactions=np.flatnonzero(steps.arrays.moves).astype(np.int64),
            rates=structure.rates,
            switches=structure.switches,
            restarts=structure.restarts,
            delays=structure.delays,
            events=events.events,
            n_species=network.n_species,
            condition_moves=condition_moves,
        ),
        events=events,
        moving=np.array([network.n_species + i for i in structure.moving], dtype=np.int64),
        initial_state=state,
        stack_depth=max(compiled.stack_depth, structure.stack_depth, events.stack_depth),
    )


def _build(network: Network, changed: tuple[frozenset[int], ...]) -> _Structure:
    moving = moving_variables(network)
    rules = [network.expanded_variable_rate(i) for i in moving]
    rates, rate_depth = compile_expressions(network, rules)
    switches, switch_depth = compile_expressions(
        network, jumping_parts(rules, {"t", *(network.variable_names[i] for i in moving)})
    )
    index = {name: i for i, name in enumerate(network.state_names)}
    read = {index[name] for rule in rules for name in rule.symbols() if name in index}
    arguments: list[Expression | None] = []
    for reaction in network.reactions:
        given: tuple[Any, ...] = () if reaction.delay is None else reaction.delay.arguments
        arguments += [*given, None, None][:2]
    programs, delay_depth = compile_expressions(network, arguments)
    return _Structure(
        moving=moving,
        rates=rates,
        switches=switches,
        restarts=np.array([not one.isdisjoint(read) for one in changed], dtype=np.int64),
        delays=Delays(
            law=np.array(
                [
                    NO_DELAY if one.delay is None else DELAY_CODES[one.delay.law]
                    for one in network.reactions
                ],
                dtype=np.int64,
            ),
            arguments=programs,
        ),
        stack_depth=max(rate_depth, switch_depth, delay_depth),
    )


def enlarged_completions(walker: JumpWalker) -> JumpWalker:
    """Return the walker with room for twice as many completions."""
    n = walker.due_time.size
    return walker._replace(
        due_time=np.concatenate([walker.due_time, np.zeros(n)]),
        due_reaction=np.concatenate([walker.due_reaction, np.zeros(n, dtype=np.int64)]),
    )


def enlarged_executions(walker: JumpWalker) -> JumpWalker:
    """Return the walker with room for twice as many waiting executions of events."""
    return walker._replace(store=enlarged(walker.store))
