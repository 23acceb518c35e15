"""The same chemistry in another volume: counts grow with it, concentrations do not."""

from __future__ import annotations

import math
import numbers

from ..errors import NetworkError
from ..network import Network, Parameter, Reaction, Species
from ..rate_laws import Call, Expression, Number, Symbol, checked_name
from .refusals import refuse_events_and_delays

__all__ = ["scale_volume"]


def scale_volume(network: Network, omega: float, *, name: str = "Omega") -> Network:
    """Return the network in `omega` times its volume, with the volume as a parameter.

    Per volume nothing changes: the rate equations of the scaled network, divided by `omega`, are
    those of the network. Noise does: in the linear noise approximation the variance of a
    concentration is proportional to 1/omega, and so is the difference between the mean and the
    rate equations.

    Parameters
    ----------
    network : Network
        Its own volume counts as 1.
    omega : float
        How many times larger the volume becomes, above 0.
    name : str, optional
        Name of the new parameter. ``scaled.with_parameters(Omega=...)`` then scales again, counts
        at the start included.

    Returns
    -------
    Network
        With the parameter `name`, and

        - initial counts times Omega, rounded to whole molecules (halves upwards); conserved
          totals and the start of the rate equations are exact only where nothing had to be
          rounded;
        - the rate of a mass-action reaction of m molecules times Omega^(1 - m), so Omega for
          ``0 -> A``, nothing for ``A -> B`` and 1/Omega for ``2 A -> B``;
        - a propensity a(X) after ``=>`` as Omega a(X/Omega), and likewise every species in the
          rate of a ``->`` reaction divided by Omega; observables in rates are written out for
          this.

        Observables still read counts.

    Raises
    ------
    ValueError
        If `omega` is not a positive, finite number.
    NetworkError
        If the network cannot be scaled: it declares `name` already, has variables with rate rules
        (whether they are amounts or concentrations is not known), compartments, events or delays,
        or a species that is there at the start would have no molecule left.

    References
    ----------
    van Kampen (2007), Stochastic Processes in Physics and Chemistry, 3rd edition, chapter X, ISBN
    978-0-444-52965-7 (the system size expansion).
    """
    given: object = omega
    if isinstance(given, bool) or not isinstance(given, numbers.Real):
        raise ValueError(f"omega must be a number above 0, not {omega!r}")
    omega = float(omega)
    if not 0.0 < omega < math.inf:
        raise ValueError(f"omega must be a finite number above 0, not {omega:g}")
    name = checked_name(name, "parameter")
    _refuse_what_cannot_be_scaled(network, name)
    volume = Symbol(name)
    per_volume = {species: Symbol(species) / volume for species in network.species_names}
    scaled = Network(
        species=[Species(one.name, _scaled_count(one.initial, volume)) for one in network.species],
        reactions=[
            Reaction(
                reaction.reactants,
                reaction.products,
                _scaled_rate(network, index, reaction, volume, per_volume),
                kind=reaction.kind,
                name=reaction.name,
                limited=reaction.limited,
            )
            for index, reaction in enumerate(network.reactions)
        ],
        parameters=[Parameter(name, omega), *network.parameters],
        observables=network.observables,
    )
    before, after = network.initial_state.tolist(), scaled.initial_state.tolist()
    for species, count, left in zip(network.species_names, before, after, strict=True):
        if count > 0 and left == 0:
            raise NetworkError(
                f"species {species!r} starts with {count}, of which none is left in {omega:g} "
                f"times the volume; choose omega of at least {0.5 / count:g}"
            )
    return scaled


def _refuse_what_cannot_be_scaled(network: Network, name: str) -> None:
    taken = {*network.species_names, *network.parameter_names, *network.observable_names}
    variables = [variable.name for variable in network.variables]
    if name in taken or name in variables:
        advice = (
            f"; if it is the volume already, with_parameters({name}=...) scales the network"
            if name in network.parameter_names
            else ""
        )
        raise NetworkError(
            f"the network declares {name!r} already; give the volume another name with "
            f"name=...{advice}"
        )
    refuse_events_and_delays(network, "scale_volume")
    if network.compartments:
        raise NetworkError(
            "a network with compartments says itself how its rates depend on their sizes, and "
            f"{network.compartments[0].size!r} is one; change that instead of scaling the network"
        )
    if variables:
        raise NetworkError(
            f"the volume of a network with variables cannot be scaled: whether {variables[0]!r} is "
            "an amount or a concentration is not known; write it as a species with reactions"
        )


def _scaled_count(initial: int | Expression, volume: Expression) -> Expression:
    count: Expression = Number(initial) if isinstance(initial, int) else initial
    if count == Number(0):
        return count
    return Call("floor", (count * volume + 0.5,))


def _scaled_rate(
    network: Network,
    index: int,
    reaction: Reaction,
    volume: Expression,
    per_volume: dict[str, Expression],
) -> Expression:
    # Observables are written out only where they stand between the rate and a species.
    rate = network.expanded_rate(index)
    if rate.symbols().isdisjoint(per_volume):
        rate = reaction.rate
    else:
        rate = rate.substitute(per_volume)
    if reaction.kind == "propensity":
        return volume * rate
    molecules = sum(count for _, count in reaction.reactants)
    if molecules == 0:
        return rate * volume
    if molecules == 1:
        return rate
    return rate / (volume if molecules == 2 else volume ** (molecules - 1))
