"""The networks that are timed: their texts, how long an ensemble and a single run last.

Laws are written with +, -, *, / and powers of whole numbers only, which every simulator reads.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from peers import Process

import gillespy_lite as gl

__all__ = ["MODELS", "N_TIMES", "Model", "chain", "towns"]

N_TIMES = 101


@dataclass(frozen=True)
class Model:
    """A network in the package's language and how long it is run.

    Attributes
    ----------
    text : str
        The network.
    end : float
        Of each trajectory of an ensemble, in the unit of time that the rate constants set.
    single_end : float
        Of the one long trajectory: about a million events.
    single_values : dict
        Parameters and initial counts that the long trajectory has instead: a network that comes to
        rest needs more molecules to have many events.
    kind : str
        "small", "medium" (20 to 60 reactions) or "large".
    """

    text: str
    end: float
    single_end: float
    single_values: dict[str, float] = field(default_factory=dict)
    kind: str = "small"

    @property
    def network(self) -> gl.Network:
        """The network of the ensemble, parsed anew."""
        return gl.Network.parse(self.text)

    def process(self, name: str, *, single: bool = False) -> Process:
        """Return what the simulators are given, the values of parameters put into the rates."""
        network, values = self.network, self.single_values if single else {}
        counts = {k: v for k, v in values.items() if k in network.species_names}
        others = {k: v for k, v in values.items() if k not in counts}
        network = network.with_parameters(others).with_initial(counts)
        constants: dict[str, Any] = dict(
            zip(network.parameter_names, network.parameter_values.tolist(), strict=True)
        )
        reactions = []
        for j, reaction in enumerate(network.reactions):
            sides = [
                [species for species, count in side for _ in range(count)]
                for side in (reaction.reactants, reaction.products)
            ]
            rate = network.expanded_rate(j).substitute(constants)
            is_law = reaction.kind != "mass_action"
            # "mass_action" with a rate constant alone; a law is handed on as text.
            value = str(rate) if is_law else float(rate.evaluate({}))
            reactions.append((sides[0], sides[1], value))
        end = self.single_end if single else self.end
        return Process(
            name=name,
            text=self.text,
            values={k: float(v) for k, v in values.items()},
            species=list(network.species_names),
            initial=network.initial_state.tolist(),
            parameters=constants,
            reactions=reactions,
            times=np.linspace(0.0, end, N_TIMES).tolist(),
            net=network.to_net(),
            sbml=_sbml(network),
        )


def _sbml(network: gl.Network) -> str:
    try:
        return network.to_sbml()
    except gl.MissingExtraError:
        return ""


def _mapk_cascade() -> str:
    """Return a cascade of kinases: ten enzymatic steps, each of three mass-action reactions."""
    steps = [
        ("KKK", "E1", "KKKp"),
        ("KKKp", "E2", "KKK"),
        ("KK", "KKKp", "KKp"),
        ("KKp", "KKPase", "KK"),
        ("KKp", "KKKp", "KKpp"),
        ("KKpp", "KKPase", "KKp"),
        ("K", "KKpp", "Kp"),
        ("Kp", "KPase", "K"),
        ("Kp", "KKpp", "Kpp"),
        ("Kpp", "KPase", "Kp"),
    ]
    complexes = [f"{substrate}_{enzyme}" for substrate, enzyme, _ in steps]
    lines = [
        "species KKK = 3, KKKp, KK = 1200, KKp, KKpp, K = 1200, Kp, Kpp",
        "species E1 = 1, E2 = 1, KKPase = 1, KPase = 120",
        "species " + ", ".join(complexes),
        "param bind = 1, split = 150, convert = 150",
    ]
    for (substrate, enzyme, product), pair in zip(steps, complexes, strict=True):
        lines += [
            f"{substrate} + {enzyme} <-> {pair} @ bind, split",
            f"{pair} -> {product} + {enzyme} @ convert",
        ]
    return "\n".join(lines)


def _repressilator() -> str:
    """Return three genes in a ring, each with two sites for the protein of the one before."""
    lines = [
        "param bind = 1, leave_1 = 224, leave_2 = 9, active = 0.5, leak = 5e-4",
        "param decay_m = 0.0057762, translate = 0.16667, decay_p = 0.00115525",
    ]
    for gene, repressor in (("a", "c"), ("b", "a"), ("c", "b")):
        g, m, p = f"G{gene}", f"M{gene}", f"P{gene}"
        lines += [
            f"species {g}0 = 1, {g}1, {g}2, {m} = {10 if gene == 'a' else 0}, {p}",
            f"{g}0 + P{repressor} <-> {g}1 @ bind, leave_1",
            f"{g}1 + P{repressor} <-> {g}2 @ bind, leave_2",
            f"{g}0 -> {g}0 + {m} @ active",
            f"{g}1 -> {g}1 + {m} @ leak",
            f"{g}2 -> {g}2 + {m} @ leak",
            f"{m} -> 0 @ decay_m",
            f"{m} -> {m} + {p} @ translate",
            f"{p} -> 0 @ decay_p",
        ]
    # A species may be named before the line that declares it.
    return "\n".join(sorted(lines, key=lambda line: not line.startswith(("param", "species"))))


def _per_tim_clock() -> str:
    """Return the clock of the fruit fly: saturating laws for nearly all of its 30 reactions."""
    lines = [
        "species MP = 10, P0 = 10, P1 = 10, P2 = 10, MT = 10, T0 = 10, T1 = 10, T2 = 10",
        "species C = 20, CN = 100",
        # Molecules for one nM.
        "param w = 100",
        "param repressed = 1, k1 = 0.6, k2 = 0.2, k3 = 1.2, k4 = 0.6, kd = 0.01",
    ]
    for x in "PT":
        lines += [
            f"0 => M{x} @ w*repressed*w^4/(w^4 + CN^4)",
            f"M{x} => 0 @ 0.7*w*M{x}/(0.2*w + M{x})",
            f"M{x} -> M{x} + {x}0 @ 0.9",
            f"{x}0 => {x}1 @ 8*w*{x}0/(2*w + {x}0)",
            f"{x}1 => {x}0 @ 1*w*{x}1/(2*w + {x}1)",
            f"{x}1 => {x}2 @ 8*w*{x}1/(2*w + {x}1)",
            f"{x}2 => {x}1 @ 1*w*{x}2/(2*w + {x}2)",
            f"{x}2 => 0 @ 2*w*{x}2/(0.2*w + {x}2)",
        ]
    lines += ["P2 + T2 -> C @ k3/w", "C -> P2 + T2 @ k4", "C -> CN @ k1", "CN -> C @ k2"]
    clears = [f"{x}{form}" for x in "PT" for form in "012"]
    lines += [f"{name} -> 0 @ kd" for name in ("MP", "MT", "C", "CN", *clears)]
    return "\n".join(lines)


def towns(n: int) -> str:
    """Return an epidemic in towns on a ring; people travel to the next town and back."""
    lines = ["param infect = 3e-4, recover = 0.1, travel = 0.02", "species S0 = 990, I0 = 10, R0"]
    lines += [f"species S{i} = 1000, I{i}, R{i}" for i in range(1, n)]
    for i in range(n):
        j = (i + 1) % n
        lines += [f"S{i} + I{i} -> 2 I{i} @ infect", f"I{i} -> R{i} @ recover"]
        lines += [f"{x}{i} <-> {x}{j} @ travel, travel" for x in "SI"]
    return "\n".join(lines)


MODELS = {
    "birth-death": Model(
        """
        species X = 0
        0 -> X @ 10
        X -> 0 @ 0.1
        """,
        end=100.0,
        single_end=50_000.0,
    ),
    "dimerisation": Model(
        """
        species P = 1000, Q = 0
        2 P -> Q @ 0.001
        Q -> 2 P @ 0.01
        """,
        end=100.0,
        single_end=120_000.0,
    ),
    "sir": Model(
        """
        species S = 9990, I = 10, R = 0
        param infect = 3e-5
        S + I -> 2 I @ infect
        I -> R @ 0.1
        """,
        end=160.0,
        single_end=160.0,
        single_values={"S": 499_500, "I": 500, "infect": 6e-7},
    ),
    "michaelis-menten": Model(
        """
        species S = 301, E = 120, ES = 0, P = 0
        S + E -> ES @ 0.00166
        ES -> S + E @ 1e-4
        ES -> E + P @ 0.1
        """,
        end=100.0,
        single_end=50_000.0,
        single_values={"S": 500_000},
    ),
    # Schloegl (1972), Z. Physik 253, 147, doi:10.1007/BF01379769.
    "schlogl": Model(
        """
        species X = 250
        param feed = 200
        2 X -> 3 X @ 0.03
        3 X -> 2 X @ 1e-4
        0 -> X @ feed
        X -> 0 @ 3.5
        """,
        end=5.0,
        single_end=80.0,
        # One stable state instead of two: how many events there are must not depend on the seed.
        single_values={"feed": 400},
    ),
    # Gardner, Cantor, Collins (2000), Nature 403, 339, doi:10.1038/35002131: two genes that repress
    # each other, by Hill's law.
    "toggle": Model(
        """
        species U = 30, V = 0
        0 => U @ 30*12^2/(12^2 + V^2)
        0 => V @ 30*12^2/(12^2 + U^2)
        U -> 0 @ 1
        V -> 0 @ 1
        """,
        end=100.0,
        single_end=15_000.0,
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
        end=20.0,
        single_end=300.0,
    ),
    # Huang, Ferrell (1996), PNAS 93, 10078, doi:10.1073/pnas.93.19.10078, with 1,000 molecules for
    # one micromole per litre and at least one of each kind.
    "mapk": Model(_mapk_cascade(), end=2.0, single_end=10.0, kind="medium"),
    # Elowitz, Leibler (2000), Nature 403, 335, doi:10.1038/35002125: the stochastic version.
    "repressilator": Model(_repressilator(), end=100.0, single_end=10_000.0, kind="medium"),
    # Leloup, Goldbeter (1998), J. Biol. Rhythms 13, 70, doi:10.1177/074873098128999934.
    "per-tim clock": Model(_per_tim_clock(), end=24.0, single_end=1000.0, kind="medium"),
    "towns": Model(towns(20), end=30.0, single_end=1200.0, kind="large"),
}


def chain(n_reactions: int, count: int = 10) -> gl.Network:
    """Return a ring of first-order reactions, S0 -> S1 -> ... -> S0, all at rate 1.

    Every reaction is as active as the others, and one event changes two propensities.
    """
    lines = [f"species S{i} = {count}" for i in range(n_reactions)]
    lines += [f"S{i} -> S{(i + 1) % n_reactions} @ 1" for i in range(n_reactions)]
    return gl.Network.parse("\n".join(lines))
