"""Populations: predators and their prey, an epidemic."""

from __future__ import annotations

from gillespy_lite.models.stock import stock_network
from gillespy_lite.network import Network

__all__ = ["lotka_volterra", "sir"]

_LOTKA_VOLTERRA = """
species Prey = 1000, Predator = 1000
param c1 = 10, c2 = 0.01, c3 = 10

breed: Prey -> 2 Prey @ c1
feed:  Prey + Predator -> 2 Predator @ c2
die:   Predator -> 0 @ c3
"""

_SIR = """
param N = 1000, I0 = 10
param beta = 0.3, gamma = 0.1
species S = N - I0, I = I0, R

infect:  S + I -> 2 I @ beta/N
recover: I -> R @ gamma
"""


def lotka_volterra(**values: float) -> Network:
    """Return predators and prey, whose numbers rise and fall in turn.

    Parameters
    ----------
    **values : float
        Other values than these: ``c1=10`` births per prey and unit time, ``c2=0.01`` meetings per
        pair and unit time, ``c3=10`` deaths per predator and unit time, ``Prey=1000`` and
        ``Predator=1000`` animals at the start (the fixed point of the rate equations).

    Returns
    -------
    Network
        Two species, three reactions. ``t_end`` is 10, about 16 periods.

    Notes
    -----
    The cycles are neutral, so that noise makes them wander until one side dies out. Without
    predators the prey grows exponentially: a long run then needs ever more events, and is best
    ended with ``stop_when="Predator == 0"``.

    References
    ----------
    Lotka (1920), J. Am. Chem. Soc. 42, 1595, doi:10.1021/ja01453a010. The values are those of
    Gillespie (1977), J. Phys. Chem. 81, 2340, doi:10.1021/j100540a008.
    """
    return stock_network(_LOTKA_VOLTERRA, values)


def sir(**values: float) -> Network:
    """Return an epidemic: susceptible, infected and recovered people.

    Parameters
    ----------
    **values : float
        Other values than these: ``N=1000`` people, ``I0=10`` of them infected at the start,
        ``beta=0.3`` contacts per person and day that would pass on the infection, ``gamma=0.1``
        recoveries per infected person and day. ``S``, ``I`` and ``R`` set starting counts
        directly.

    Returns
    -------
    Network
        Three species, two reactions, time in days. ``t_end`` is 160, by when most epidemics are
        over.

    Notes
    -----
    beta/gamma, here 3, is the mean number of people that the first infected person infects. The
    exact law of the final size, that is R for ``t=inf``, follows from the order of events alone;
    at finite times it solves the master equation, for up to about 300 people.

    References
    ----------
    Kermack, McKendrick (1927), Proc. R. Soc. Lond. A 115, 700, doi:10.1098/rspa.1927.0118; final
    size: Bailey (1953), Biometrika 40, 177, doi:10.1093/biomet/40.1-2.177.
    """
    return stock_network(_SIR, values)
