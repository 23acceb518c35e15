"""What a stock model consists of, and how its network is built from text."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, TypeAlias

from gillespy_lite.network import Network

if TYPE_CHECKING:
    from gillespy_lite.models.exact_laws import ExactLaw

__all__ = ["LawOf", "StockModel", "stock_network"]

# (network, species, time) -> distribution of that species at that time
LawOf: TypeAlias = "Callable[[Network, str, float], ExactLaw]"


@dataclass(frozen=True)
class StockModel:
    """A network from the literature that comes with the package.

    Attributes
    ----------
    build : callable
        Returns the `Network`; takes parameters and initial counts by name.
    description : str
        What it is, in one line.
    source : str
        Author, year and DOI.
    t_end : float
        A time span that shows what the model is known for.
    time_unit : str
        Unit of time of its rate constants; "arbitrary" if the source gives none.
    law : callable or None
        Returns the exact law of one species from a network that `build` made, the species and
        the time; None if none is known. `exact_law` checks what it is given and calls this.
    """

    build: Callable[..., Network]
    description: str
    source: str
    t_end: float
    time_unit: str = "arbitrary"
    law: LawOf | None = None


@cache
def _parsed(text: str) -> Network:
    return Network.parse(text)


def stock_network(text: str, values: dict[str, float]) -> Network:
    """Return the network of `text` with other values for some parameters and initial counts.

    Networks of one text share everything that depends on the structure alone.

    Raises
    ------
    NetworkError
        If a name is neither a parameter nor a species of the network, or a value makes no sense.
    """
    network = _parsed(text)
    counts = {name: value for name, value in values.items() if name in network.species_names}
    others = {name: value for name, value in values.items() if name not in counts}
    return network.with_parameters(others).with_initial(counts)
