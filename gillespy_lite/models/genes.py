"""Genes: one that switches at random, rings and switches of genes, a clock."""

from __future__ import annotations

from gillespy_lite.models.stock import stock_network
from gillespy_lite.network import Network

__all__ = ["goutsias", "repressilator", "telegraph", "toggle_switch", "vilar"]

_TELEGRAPH = """
species Off = 1, On, M
param k_on = 0.25, k_off = 0.15, k_make = 15, k_decay = 1

switch_on:  Off -> On @ k_on
switch_off: On -> Off @ k_off
make:       On -> On + M @ k_make
decay:      M -> 0 @ k_decay
"""

_TOGGLE_SWITCH = """
species U = 30, V
param alpha = 30, K = 12, n = 2.5, delta = 1

make_U:  0 => U @ alpha*hillr(V, K, n)
make_V:  0 => V @ alpha*hillr(U, K, n)
decay_U: U -> 0 @ delta
decay_V: V -> 0 @ delta
"""

_REPRESSILATOR = """
species MX, MY = 20, MZ, PX, PY, PZ
param K = 40, n = 2
param leak = 0.03, strength = 29.97
param mrna_half_life = 2, protein_half_life = 10, proteins_per_mrna = 20
param decay_m = 0.6931471805599453/mrna_half_life
param decay_p = 0.6931471805599453/protein_half_life
param translation = proteins_per_mrna*decay_m

transcribe_X: 0 => MX @ leak + strength*hillr(PZ, K, n)
transcribe_Y: 0 => MY @ leak + strength*hillr(PX, K, n)
transcribe_Z: 0 => MZ @ leak + strength*hillr(PY, K, n)
decay_MX:     MX -> 0 @ decay_m
decay_MY:     MY -> 0 @ decay_m
decay_MZ:     MZ -> 0 @ decay_m
translate_X:  MX -> MX + PX @ translation
translate_Y:  MY -> MY + PY @ translation
translate_Z:  MZ -> MZ + PZ @ translation
decay_PX:     PX -> 0 @ decay_p
decay_PY:     PY -> 0 @ decay_p
decay_PZ:     PZ -> 0 @ decay_p
"""

_VILAR = """
species DA = 1, DA_bound, DR = 1, DR_bound, MA, MR, A, R, C
param alpha_A = 50, alpha_A_bound = 500, alpha_R = 0.01, alpha_R_bound = 50
param beta_A = 50, beta_R = 5
param delta_MA = 10, delta_MR = 0.5, delta_A = 1, delta_R = 0.2
param gamma_A = 1, gamma_R = 1, gamma_C = 2
param theta_A = 50, theta_R = 100

bind_A:             A + DA <-> DA_bound @ gamma_A, theta_A
bind_R:             A + DR <-> DR_bound @ gamma_R, theta_R
transcribe_A:       DA -> DA + MA @ alpha_A
transcribe_A_bound: DA_bound -> DA_bound + MA @ alpha_A_bound
transcribe_R:       DR -> DR + MR @ alpha_R
transcribe_R_bound: DR_bound -> DR_bound + MR @ alpha_R_bound
decay_MA:           MA -> 0 @ delta_MA
decay_MR:           MR -> 0 @ delta_MR
translate_A:        MA -> MA + A @ beta_A
translate_R:        MR -> MR + R @ beta_R
decay_A:            A -> 0 @ delta_A
decay_R:            R -> 0 @ delta_R
join:               A + R -> C @ gamma_C
release_R:          C -> R @ delta_A
"""

_GOUTSIAS = """
species M = 2, D = 6, RNA, DNA = 2, DNA_D, DNA_2D
param volume = 1e-15, avogadro = 6.02214076e23

translate:  RNA -> RNA + M @ 0.043
decay_M:    M -> 0 @ 0.0007
transcribe: DNA_D -> DNA_D + RNA @ 0.0715
decay_RNA:  RNA -> 0 @ 0.0039
bind_1:     DNA + D <-> DNA_D @ 1.2e7/(avogadro*volume), 0.4791
bind_2:     DNA_D + D <-> DNA_2D @ 1.2e5/(avogadro*volume), 8.765e-12
dimerise:   2 M <-> D @ 5e7/(avogadro*volume), 0.5
"""


def telegraph(**values: float) -> Network:
    """Return a gene that switches on and off, and makes mRNA while it is on.

    Parameters
    ----------
    **values : float
        Other values than these: ``k_on=0.25`` and ``k_off=0.15`` switches per unit time,
        ``k_make=15`` mRNA per unit time, ``k_decay=1`` per mRNA and unit time, ``Off=1``, ``On=0``
        and ``M=0`` molecules at the start.

    Returns
    -------
    Network
        Three species, four reactions. ``t_end`` is 40.

    Notes
    -----
    Exact stationary law of M, for one gene: a Poisson count with mean ``k_make/k_decay`` times a
    random share, which is beta distributed with ``k_on/k_decay`` and ``k_off/k_decay``. At finite
    times the law solves the master equation, truncated where less than 1e-15 is left.

    References
    ----------
    Peccoud, Ycart (1995), Theor. Popul. Biol. 48, 222, doi:10.1006/tpbi.1995.1027.
    """
    return stock_network(_TELEGRAPH, values)


def toggle_switch(**values: float) -> Network:
    """Return two genes that repress each other, so that one of them wins.

    Parameters
    ----------
    **values : float
        Other values than these: ``alpha=30`` molecules per unit time from a free gene, ``K=12``
        repressors that halve this, ``n=2.5`` the Hill exponent, ``delta=1`` decays per molecule
        and unit time, ``U=30`` and ``V=0`` molecules at the start.

    Returns
    -------
    Network
        Two species, four reactions. ``t_end`` is 1000, with about seven jumps from one side
        to the other; time is in lifetimes of a molecule.

    References
    ----------
    Gardner, Cantor, Collins (2000), Nature 403, 339, doi:10.1038/35002131, eq. 1 of the paper in
    counts; alpha, K and n are chosen here so that noise alone flips the switch now and then.
    """
    return stock_network(_TOGGLE_SWITCH, values)


def repressilator(**values: float) -> Network:
    """Return three genes in a ring, each repressing the next: a synthetic oscillator.

    The protein of Z represses X, that of X represses Y, and that of Y represses Z.

    Parameters
    ----------
    **values : float
        Other values than these: ``strength=29.97`` and ``leak=0.03`` mRNA per minute from a free
        gene and from a repressed one, ``K=40`` proteins that halve the difference, ``n=2`` the
        Hill exponent, ``mrna_half_life=2`` and ``protein_half_life=10`` minutes,
        ``proteins_per_mrna=20`` on average; ``MY=20`` molecules at the start, and 0 of ``MX``,
        ``MZ``, ``PX``, ``PY``, ``PZ``.

    Returns
    -------
    Network
        Six species, twelve reactions, time in minutes. ``t_end`` is 1000, about eight periods.

    References
    ----------
    Elowitz, Leibler (2000), Nature 403, 335, doi:10.1038/35002125 (box 1, in counts).
    """
    return stock_network(_REPRESSILATOR, values)


def vilar(**values: float) -> Network:
    """Return a genetic clock that resists noise: activator A, repressor R, and their complex C.

    Parameters
    ----------
    **values : float
        Other values than the paper's: transcription ``alpha_A=50``, ``alpha_A_bound=500``,
        ``alpha_R=0.01``, ``alpha_R_bound=50``, translation ``beta_A=50``, ``beta_R=5``, decay
        ``delta_MA=10``, ``delta_MR=0.5``, ``delta_A=1``, ``delta_R=0.2``, unbinding ``theta_A=50``,
        ``theta_R=100``, all per molecule and hour; binding ``gamma_A=1``, ``gamma_R=1``,
        ``gamma_C=2`` per pair of molecules and hour; ``DA=1`` and ``DR=1`` genes at the start, and
        nothing else.

    Returns
    -------
    Network
        Nine species, 16 reactions, time in hours. ``t_end`` is 200, about eight periods.

    Notes
    -----
    A name ending in ``bound`` is the paper's primed symbol: the gene with A on its promoter. With
    ``delta_R=0.05`` the rate equations come to rest after one pulse while the stochastic network
    goes on oscillating (fig. 5 of the paper).

    References
    ----------
    Vilar, Kueh, Barkai, Leibler (2002), Proc. Natl. Acad. Sci. USA 99, 5988,
    doi:10.1073/pnas.092133899.
    """
    return stock_network(_VILAR, values)


def goutsias(**values: float) -> Network:
    """Return transcription regulated by the dimer of its own protein, with fast and slow reactions.

    Parameters
    ----------
    **values : float
        Other values than these: ``volume=1e-15`` litres, ``M=2`` monomers, ``D=6`` dimers,
        ``DNA=2`` genes, and ``RNA=0``, ``DNA_D=0``, ``DNA_2D=0`` at the start.

    Returns
    -------
    Network
        Six species, ten reactions, time in seconds. ``t_end`` is 300.

    Notes
    -----
    The volume is constant, as in later studies of this network; in the paper it doubles in 35
    minutes. DNA + DNA_D + DNA_2D never changes.

    References
    ----------
    Goutsias (2005), J. Chem. Phys. 122, 184102, doi:10.1063/1.1889434.
    """
    return stock_network(_GOUTSIAS, values)
