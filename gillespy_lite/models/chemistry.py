"""Chemical reactions: birth and death, dimers, enzymes, two stable states, an oscillator."""

from __future__ import annotations

from gillespy_lite.models.stock import stock_network
from gillespy_lite.network import Network

__all__ = ["birth_death", "brusselator", "dimerisation", "michaelis_menten", "schlogl"]

_BIRTH_DEATH = """
species X
param k = 10, g = 0.5

birth: 0 -> X @ k
death: X -> 0 @ g
"""

_DIMERISATION = """
species P = 100, Q
param k_bind = 0.001, k_split = 0.01

bind:  2 P -> Q @ k_bind
split: Q -> 2 P @ k_split
"""

_MICHAELIS_MENTEN = """
species S = 301, E = 120, ES, P
param kf = 0.00166, kr = 1e-4, kcat = 0.1

bind:    S + E <-> ES @ kf, kr
convert: ES -> E + P @ kcat
"""

_SCHLOGL = """
species X = 250
param c1 = 3e-7, c2 = 1e-4, c3 = 1e-3, c4 = 3.5
param N1 = 1e5, N2 = 2e5

grow:   2 X -> 3 X @ c1*N1
shrink: 3 X -> 2 X @ c2
feed:   0 -> X @ c3*N2
drain:  X -> 0 @ c4
"""

_BRUSSELATOR = """
species Y1 = 1000, Y2 = 2000
param c1 = 5000, c2 = 50, c3 = 5e-5, c4 = 5

feed:    0 -> Y1 @ c1
convert: Y1 -> Y2 @ c2
amplify: 2 Y1 + Y2 -> 3 Y1 @ c3
drain:   Y1 -> 0 @ c4
"""


def birth_death(**values: float) -> Network:
    """Return molecules that arrive one by one and each live for an exponential time.

    Also known as immigration and death, or M/M/infinity queue.

    Parameters
    ----------
    **values : float
        Other values than these: ``k=10`` arrivals per unit time, ``g=0.5`` deaths per molecule
        and unit time, ``X=0`` molecules at the start.

    Returns
    -------
    Network
        One species, two reactions. ``t_end`` is 20, ten times the mean lifetime.

    Notes
    -----
    Exact law of X at time t: a Poisson count with mean ``k/g (1 - exp(-g t))``, plus those of the
    first molecules that are still alive, binomial with probability ``exp(-g t)``.

    References
    ----------
    Kendall (1948), Ann. Math. Statist. 19, 1, doi:10.1214/aoms/1177730285.
    """
    return stock_network(_BIRTH_DEATH, values)


def dimerisation(**values: float) -> Network:
    """Return monomers P that pair up to dimers Q, which fall apart again.

    Parameters
    ----------
    **values : float
        Other values than these: ``k_bind=0.001`` per pair of molecules and unit time,
        ``k_split=0.01`` per dimer and unit time, ``P=100`` and ``Q=0`` molecules at the start.

    Returns
    -------
    Network
        Two species, two reactions. ``t_end`` is 50.

    Notes
    -----
    ``k_bind`` belongs to the propensity ``k_bind P (P - 1)/2``. P + 2 Q never changes, so with
    100 monomers there are 51 states, and the exact law solves their master equation.

    References
    ----------
    Evans, Gillespie, Wilkinson (2008), Bioinformatics 24, 285, doi:10.1093/bioinformatics/btm566
    (models dsmts-003).
    """
    return stock_network(_DIMERISATION, values)


def michaelis_menten(**values: float) -> Network:
    """Return an enzyme E that binds its substrate S and turns it into product P.

    Parameters
    ----------
    **values : float
        Other values than these: ``kf=0.00166`` per pair of molecules and second (1e6 per molar
        and second in 1e-15 litres), ``kr=1e-4`` and ``kcat=0.1`` per second, ``S=301``, ``E=120``,
        ``ES=0`` and ``P=0`` molecules at the start.

    Returns
    -------
    Network
        Four species, three reactions, time in seconds. ``t_end`` is 50.

    Notes
    -----
    S + ES + P and E + ES never change. The exact law solves the master equation, of 28,000 states
    with these counts, which takes seconds.

    References
    ----------
    Michaelis, Menten (1913), Biochem. Z. 49, 333. The values are those of Wilkinson (2006),
    Stochastic Modelling for Systems Biology, ISBN 978-1-58488-540-5.
    """
    return stock_network(_MICHAELIS_MENTEN, values)


def schlogl(**values: float) -> Network:
    """Return a reaction with two stable states, between which noise chooses.

    Parameters
    ----------
    **values : float
        Other values than these: ``c1=3e-7``, ``c2=1e-4``, ``c3=1e-3``, ``c4=3.5`` per combination
        of reactants and unit time, ``N1=1e5`` and ``N2=2e5`` molecules of two species kept
        constant, ``X=250`` molecules at the start, near the unstable state (248).

    Returns
    -------
    Network
        One species, four reactions. ``t_end`` is 4, by when about half of the trajectories have
        reached either state; jumps from one to the other take much longer.

    Notes
    -----
    The stable states are near 85 and 565. The exact law solves the master equation of the counts
    0 to 1000, or to four times the start if that is more; with the given rate constants,
    larger counts have less than 1e-25 of the probability.

    References
    ----------
    Schlögl (1972), Z. Physik 253, 147, doi:10.1007/BF01379769. The values are those of Cao,
    Petzold (2006), J. Comput. Phys. 212, 6, doi:10.1016/j.jcp.2005.06.012.
    """
    return stock_network(_SCHLOGL, values)


def brusselator(**values: float) -> Network:
    """Return a chemical oscillator with a limit cycle.

    Parameters
    ----------
    **values : float
        Other values than these: ``c1=5000`` molecules per unit time, ``c2=50``, ``c3=5e-5``,
        ``c4=5`` per combination of reactants and unit time, ``Y1=1000`` and ``Y2=2000`` molecules
        at the start (the fixed point of the rate equations, which is unstable).

    Returns
    -------
    Network
        Two species, four reactions. ``t_end`` is 14, about nine periods.

    References
    ----------
    Prigogine, Lefever (1968), J. Chem. Phys. 48, 1695, doi:10.1063/1.1668896. The values are those
    of Gillespie (1977), J. Phys. Chem. 81, 2340, doi:10.1021/j100540a008.
    """
    return stock_network(_BRUSSELATOR, values)
