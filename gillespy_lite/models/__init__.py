"""Stock models: networks from the literature, with their sources and, where known, exact laws.

Each is a function that returns a `Network` and takes other values for its parameters and initial
counts by name: ``models.vilar(delta_R=0.05)``. `MODELS` lists them with a sensible time span:

>>> from gillespy_lite import models
>>> models.MODELS["telegraph"].t_end
40.0
>>> law = models.exact_law("telegraph", "M")
>>> f"{law.mean:.4f}, {law.std:.4f}"
'9.3750, 6.8587'
"""

from __future__ import annotations

import math

from gillespy_lite.models.chemistry import (
    birth_death,
    brusselator,
    dimerisation,
    michaelis_menten,
    schlogl,
)
from gillespy_lite.models.exact_laws import (
    ExactLaw,
    birth_death_law,
    dimerisation_law,
    michaelis_menten_law,
    schlogl_law,
    sir_law,
    telegraph_law,
)
from gillespy_lite.models.genes import goutsias, repressilator, telegraph, toggle_switch, vilar
from gillespy_lite.models.populations import lotka_volterra, sir
from gillespy_lite.models.stock import StockModel
from gillespy_lite.rate_laws import did_you_mean

__all__ = [
    "MODELS",
    "ExactLaw",
    "StockModel",
    "birth_death",
    "brusselator",
    "dimerisation",
    "exact_law",
    "goutsias",
    "lotka_volterra",
    "michaelis_menten",
    "repressilator",
    "schlogl",
    "sir",
    "telegraph",
    "toggle_switch",
    "vilar",
]

MODELS: dict[str, StockModel] = {
    "birth_death": StockModel(
        birth_death,
        "molecules that arrive and die one by one",
        "Kendall (1948), doi:10.1214/aoms/1177730285",
        t_end=20.0,
        law=birth_death_law,
    ),
    "dimerisation": StockModel(
        dimerisation,
        "monomers and their dimers",
        "Evans, Gillespie, Wilkinson (2008), doi:10.1093/bioinformatics/btm566",
        t_end=50.0,
        law=dimerisation_law,
    ),
    "telegraph": StockModel(
        telegraph,
        "a gene that switches on and off at random",
        "Peccoud, Ycart (1995), doi:10.1006/tpbi.1995.1027",
        t_end=40.0,
        law=telegraph_law,
    ),
    "michaelis_menten": StockModel(
        michaelis_menten,
        "an enzyme at work",
        "Michaelis, Menten (1913); Wilkinson (2006), ISBN 978-1-58488-540-5",
        t_end=50.0,
        time_unit="second",
        law=michaelis_menten_law,
    ),
    "schlogl": StockModel(
        schlogl,
        "two stable states, between which noise chooses",
        "Schlögl (1972), doi:10.1007/BF01379769; "
        "Cao, Petzold (2006), doi:10.1016/j.jcp.2005.06.012",
        t_end=4.0,
        law=schlogl_law,
    ),
    "lotka_volterra": StockModel(
        lotka_volterra,
        "predators and prey",
        "Lotka (1920), doi:10.1021/ja01453a010; Gillespie (1977), doi:10.1021/j100540a008",
        t_end=10.0,
    ),
    "brusselator": StockModel(
        brusselator,
        "a chemical oscillator",
        "Prigogine, Lefever (1968), doi:10.1063/1.1668896; "
        "Gillespie (1977), doi:10.1021/j100540a008",
        t_end=14.0,
    ),
    "sir": StockModel(
        sir,
        "an epidemic",
        "Kermack, McKendrick (1927), doi:10.1098/rspa.1927.0118",
        t_end=160.0,
        time_unit="day",
        law=sir_law,
    ),
    "repressilator": StockModel(
        repressilator,
        "three genes in a ring that oscillate",
        "Elowitz, Leibler (2000), doi:10.1038/35002125",
        t_end=1000.0,
        time_unit="minute",
    ),
    "toggle_switch": StockModel(
        toggle_switch,
        "two genes that repress each other",
        "Gardner, Cantor, Collins (2000), doi:10.1038/35002131",
        t_end=1000.0,
        time_unit="lifetime of a protein",
    ),
    "vilar": StockModel(
        vilar,
        "a genetic clock that resists noise",
        "Vilar, Kueh, Barkai, Leibler (2002), doi:10.1073/pnas.092133899",
        t_end=200.0,
        time_unit="hour",
    ),
    "goutsias": StockModel(
        goutsias,
        "transcription regulated by its own protein, fast and slow reactions",
        "Goutsias (2005), doi:10.1063/1.1889434",
        t_end=300.0,
        time_unit="second",
    ),
}


def exact_law(model: str, species: str, t: float = math.inf, **values: float) -> ExactLaw:
    """Return the exact distribution of one species of a stock model.

    Parameters
    ----------
    model : str
        Name of a model in `MODELS` that has a law.
    species : str
        Name of the species.
    t : float, optional
        Time since the start; by default infinite, for the distribution in the long run.
    **values : float
        Parameters and initial counts, as for the function of that name.

    Returns
    -------
    ExactLaw
        A function from counts to probabilities, with `mean` and `std`.

    Raises
    ------
    ValueError
        If there is no such model, no exact law of it is known, there is no such species, `t` is
        negative, or the law would take too many states to compute.
    NetworkError
        If a name in `values` is unknown or its value makes no sense.

    Examples
    --------
    >>> law = exact_law("birth_death", "X", 3.0)
    >>> f"{law.mean:.6f}"
    '15.537397'
    >>> law([10, 20]).round(6)
    array([0.040384, 0.04939 ])
    """
    if model not in MODELS:
        raise ValueError(
            f"there is no stock model {model!r}{did_you_mean(model, MODELS)}; "
            f"there are {', '.join(MODELS)}"
        )
    law = MODELS[model].law
    if law is None:
        with_law = ", ".join(name for name, one in MODELS.items() if one.law is not None)
        raise ValueError(f"no exact law of {model} is known; there is one for {with_law}")
    network = MODELS[model].build(**values)
    if species not in network.species_names:
        raise ValueError(
            f"{model} has no species {species!r}{did_you_mean(species, network.species_names)}; "
            f"it has {', '.join(network.species_names)}"
        )
    t = float(t)
    if not t >= 0.0:
        raise ValueError(f"t must be 0 or more, not {t!r}")
    return law(network, species, t)
