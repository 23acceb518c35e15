"""Tapes of a network: its rate equations, observables, initial state, and noisy steps."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from typing import TypeVar

from .compilation import propensity_expression, rate_expression, state_change_matrix
from .expressions import Call, Expression, Number, Symbol
from .kernels.rate_equations import FADE
from .kernels.tapes import Tape
from .network import Network
from .tape_writing import Combination, Place, TapeWriter

__all__ = [
    "free_parameters",
    "initial_tape",
    "langevin_tape",
    "observable_tape",
    "propensity_tape",
    "rate_equation_tape",
]

# As in kernels/rate_equations: a `=>` reaction fades out over this many molecules of a reactant.

_Built = TypeVar("_Built")


def free_parameters(network: Network, inputs: Sequence[str] = ()) -> tuple[str, ...]:
    """Return the names of the parameters that are numbers, and not among the inputs."""
    return tuple(
        parameter.name
        for parameter in network.parameters
        if not isinstance(parameter.value, Expression) and parameter.name not in inputs
    )


def _writer(network: Network, inputs: Sequence[str], n_noise: int = 0) -> TapeWriter:
    names: dict[str, Place | Expression] = {"t": ("time", 0)}
    names |= {name: ("states", i) for i, name in enumerate(network.state_names)}
    free = free_parameters(network, inputs)
    derived = {}
    for parameter in network.parameters:
        if isinstance(parameter.value, Expression):
            derived[parameter.name] = network.expanded(parameter.value)
    names |= derived
    names |= {name: ("parameters", i) for i, name in enumerate(free)}
    names |= {name: ("inputs", i) for i, name in enumerate(inputs)}
    sizes = {
        "parameters": len(free),
        "states": len(network.state_names),
        "inputs": len(inputs),
        "noise": n_noise,
    }
    writer = TapeWriter(names, sizes)
    for name in derived:  # in the order of declaration, so that none waits for a later one
        writer.symbol(name)
    return writer


def _remembered(
    network: Network, what: str, inputs: Sequence[str], build: Callable[[], _Built]
) -> _Built:
    # Relatives share the memo, but a derived parameter may have become a number in one of them.
    values = [parameter.value for parameter in network.parameters]
    numbers = tuple(not isinstance(value, Expression) for value in values)
    key: tuple[Hashable, ...] = ("tape", what, tuple(inputs), numbers)
    built: _Built | None = network.memo.get(key)
    if built is None:
        built = network.memo[key] = build()
    return built


def _faded(network: Network, reaction: int, rate: Expression, writer: TapeWriter) -> Expression:
    """Return the rate of a `=>` reaction, gone where a reactant is that its law forgets.

    A variable may go below zero, so it is never gone.
    """
    what = network.reactions[reaction]
    if what.kind == "mass_action":
        return rate
    for name, _ in what.reactants:
        if name in network.variable_names:
            continue
        if writer.expression(rate.substitute({name: Number(0.0)})):
            present = Call("max", (Number(0.0), Symbol(name) / Number(FADE)))
            rate = rate * Call("min", (Number(1.0), present))
    return rate


def _rates(network: Network, writer: TapeWriter) -> list[Expression]:
    """Return the rates of the rate equations: of the reactions, then of the variables."""
    rates = [rate_expression(network, j) for j in range(network.n_reactions)]
    for j, reaction in enumerate(network.reactions):
        if reaction.limited:
            rates[j] = _faded(network, j, rates[j], writer)
    rates += [network.expanded_variable_rate(i) for i in range(network.n_variables)]
    return rates


def rate_equation_tape(network: Network, inputs: Sequence[str]) -> tuple[Tape, list[list[int]]]:
    """Return the tape of the rate equations and the places of its derivatives.

    Its outputs are the time derivatives of the states, those entries of the Jacobian that are not
    zero, by row, and the derivatives of all by the time, which inputs with slopes take part in. For
    each row of the Jacobian the list names the columns.
    """

    def build() -> tuple[Tape, list[list[int]]]:
        writer = _writer(network, inputs)
        states = network.state_names
        change = state_change_matrix(network)
        rates = _rates(network, writer)
        values = [writer.expression(rate) for rate in rates]
        # One node a rate, so that a rate which is a sum is not added up again in each equation.
        values = [{writer.settle(value): 1.0} if len(value) > 1 else value for value in values]
        by_state = {name: writer.derivatives(values, writer.symbol(name)) for name in states}
        parts = [writer.derivatives(values, writer.symbol("t"))]
        for i, name in enumerate(inputs):
            slopes = writer.derivatives(values, writer.symbol(name))
            parts.append([writer.product(one, writer.place("slopes", i)) for one in slopes])
        by_time = [
            writer.weighted_sum((1.0, one) for one in terms) for terms in zip(*parts, strict=True)
        ]
        essential, jacobian, drift = [], [], []
        places: list[list[int]] = []
        for row in change:
            used = [int(j) for j in row.nonzero()[0]]
            essential.append(writer.weighted_sum((float(row[j]), values[j]) for j in used))
            drift.append(writer.weighted_sum((float(row[j]), by_time[j]) for j in used))
            places.append([])
            for column, name in enumerate(states):
                entry = writer.weighted_sum((float(row[j]), by_state[name][j]) for j in used)
                if entry:
                    places[-1].append(column)
                    jacobian.append(entry)
        return writer.tape(essential, [*jacobian, *drift]), places

    return _remembered(network, "rate equations", inputs, build)


def observable_tape(network: Network, inputs: Sequence[str], names: Sequence[str]) -> Tape:
    """Return the tape of some states, observables and parameters."""

    def build() -> Tape:
        writer = _writer(network, inputs)
        return writer.tape([writer.expression(network.expanded(Symbol(name))) for name in names])

    return _remembered(network, f"outputs {' '.join(names)}", inputs, build)


def initial_tape(network: Network, inputs: Sequence[str]) -> Tape:
    """Return the tape of the initial state: numbers, and expressions of parameters."""
    starts: list[float | Expression] = [one.initial for one in network.species]
    starts += [one.initial for one in network.variables]
    writer = _writer(network, inputs)
    return writer.tape(
        [
            writer.expression(
                network.expanded(start) if isinstance(start, Expression) else Number(float(start))
            )
            for start in starts
        ]
    )


def _propensities(network: Network, writer: TapeWriter) -> list[Combination]:
    """Return the propensities, 0 where a formula for whole numbers goes below."""
    propensities = []
    for j in range(network.n_reactions):
        rate = _faded(network, j, propensity_expression(network, j), writer)
        propensities.append(writer.call("max", [writer.expression(rate), writer.number(0.0)]))
    return propensities


def langevin_tape(network: Network, inputs: Sequence[str]) -> Tape:
    """Return the tape of one step of the chemical Langevin equation (Euler-Maruyama).

    Its outputs are the next states: y + N (a h + sqrt(a h) xi) for the species, cut at 0, with one
    normal number xi a reaction among the noise slots; y + h f for the variables.

    References: Gillespie (2000), J. Chem. Phys. 113, 297, doi:10.1063/1.481811.
    """

    def build() -> Tape:
        writer = _writer(network, inputs, network.n_reactions)
        size = writer.place("size", 0)
        firings = []
        for j, propensity in enumerate(_propensities(network, writer)):
            mean = writer.product(propensity, size)
            noise = writer.product(writer.call("noise root", [mean]), writer.place("noise", j))
            whole = writer.weighted_sum([(1.0, mean), (1.0, noise)])
            firings.append({writer.settle(whole): 1.0})
        for i in range(network.n_variables):
            rate = writer.expression(network.expanded_variable_rate(i))
            firings.append(writer.product(rate, size))
        following = []
        for i, row in enumerate(state_change_matrix(network)):
            change = [(float(row[j]), firings[j]) for j in row.nonzero()[0]]
            state = writer.weighted_sum([(1.0, writer.place("states", i)), *change])
            if i < network.n_species:
                state = writer.call("max", [state, writer.number(0.0)])
            following.append(state)
        return writer.tape(following)

    return _remembered(network, "langevin", inputs, build)


def propensity_tape(network: Network, inputs: Sequence[str]) -> Tape:
    """Return the tape of the propensities and, after them, the time derivatives of the variables.

    The leap cell draws from these.
    """

    def build() -> Tape:
        writer = _writer(network, inputs)
        rates = [network.expanded_variable_rate(i) for i in range(network.n_variables)]
        return writer.tape(
            [*_propensities(network, writer), *(writer.expression(rate) for rate in rates)]
        )

    return _remembered(network, "propensities", inputs, build)
