"""The networks that are timed, each with the end time of a run."""

from __future__ import annotations

from typing import NamedTuple

import gillespy_lite as gl

__all__ = ["MODELS", "Model", "chain"]


class Model(NamedTuple):
    """A network in the package's language and how long it is run."""

    text: str
    end: float  # in the unit of time that the rate constants set

    @property
    def network(self) -> gl.Network:
        """The network, parsed anew."""
        return gl.Network.parse(self.text)


MODELS = {
    "birth-death": Model(
        """
        species X = 0
        0 -> X @ 10
        X -> 0 @ 0.1
        """,
        100.0,
    ),
    "dimerisation": Model(
        """
        species P = 1000, Q = 0
        2 P -> Q @ 0.001
        Q -> 2 P @ 0.01
        """,
        100.0,
    ),
    "sir": Model(
        """
        species S = 9990, I = 10, R = 0
        S + I -> 2 I @ 3e-5
        I -> R @ 0.1
        """,
        160.0,
    ),
    "michaelis-menten": Model(
        """
        species S = 301, E = 120, ES = 0, P = 0
        S + E -> ES @ 0.00166
        ES -> S + E @ 1e-4
        ES -> E + P @ 0.1
        """,
        100.0,
    ),
    # Vilar, Kueh, Barkai, Leibler (2002), PNAS 99, 5988, doi:10.1073/pnas.092133899: one period.
    "vilar": Model(
        """
        species DA = 1, DR = 1, DAp, DRp, MA, A, MR, R, C
        A + DA -> DAp    @ 1
        DAp -> A + DA    @ 50
        A + DR -> DRp    @ 1
        DRp -> DR + A    @ 100
        DAp -> MA + DAp  @ 500
        DA -> MA + DA    @ 50
        DRp -> MR + DRp  @ 50
        DR -> MR + DR    @ 0.01
        MA -> A + MA     @ 50
        MR -> R + MR     @ 5
        A + R -> C       @ 2
        C -> R           @ 1
        A -> 0           @ 1
        R -> 0           @ 0.2
        MA -> 0          @ 10
        MR -> 0          @ 0.5
        """,
        20.0,
    ),
}


def chain(n_reactions: int, count: int = 10) -> gl.Network:
    """Return a ring of first-order reactions, S0 -> S1 -> ... -> S0, all at rate 1.

    Every reaction is as active as the others, and one event changes two propensities.
    """
    lines = ["species " + ", ".join(f"S{i} = {count}" for i in range(n_reactions))]
    lines += [f"S{i} -> S{(i + 1) % n_reactions} @ 1" for i in range(n_reactions)]
    return gl.Network.parse("\n".join(lines))
