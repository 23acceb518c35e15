"""What recurrences, fits and comparisons cannot follow, refused where it is handed in."""

from __future__ import annotations

from ..errors import NetworkError
from ..network import Network

__all__ = ["refuse_counted_variables", "refuse_events_and_delays"]


def refuse_events_and_delays(network: Network, what: str) -> None:
    """Refuse a network whose state changes at other instants than its reactions'.

    Parameters
    ----------
    network : Network
        What was handed in.
    what : str
        What it was handed to, the subject of the message.

    Raises
    ------
    NetworkError
        Naming the event or the reaction.
    """
    for number, event in enumerate(network.events, 1):
        name = f" '{event.name}'" if event.name else ""
        raise NetworkError(
            f"{what} cannot follow events, and the network has event {number}{name} (when "
            f"{event.trigger}); simulate and ensemble can, with method='ode' as well"
        )
    for number, reaction in enumerate(network.reactions, 1):
        if reaction.delay is not None:
            name = f" '{reaction.name}'" if reaction.name else ""
            raise NetworkError(
                f"{what} cannot follow delays, and the products of reaction {number}{name} "
                f"({reaction.equation}) come after a delay; the exact methods of simulate and "
                "ensemble can"
            )


def refuse_counted_variables(network: Network, what: str) -> None:
    """Refuse a network in which single firings of a reaction change a variable.

    Raises
    ------
    NetworkError
        Naming the reaction.
    """
    variables = frozenset(network.variable_names)
    for number, reaction in enumerate(network.reactions, 1):
        for name, _ in (*reaction.reactants, *reaction.products):
            if name in variables:
                raise NetworkError(
                    f"{what} counts single firings, and reaction {number} ({reaction.equation}) "
                    f"has the variable {name!r} on a side; take a cell without noise"
                )
