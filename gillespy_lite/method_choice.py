"""Which method runs: the one asked for, or what `auto` chooses, and why."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from .compilation import CompiledNetwork
from .errors import MethodError
from .kernels.arrays import ReactionArrays
from .kernels.partial_sums import PartialSums
from .kernels.sum_tree import DENSE_LIMIT
from .methods import METHODS, Method, PartialPropensity
from .rate_laws import did_you_mean

__all__ = ["choose_method", "direct_work", "group_work", "partial_work"]

# Work of one event, in units of about 2 ns, fitted to benchmarks/large_networks.py; the table is in
# docs/methods.md. Of the direct method: an event as such; a propensity with what it reads from five
# arrays; a node of its tree.
_PER_EVENT, _PER_PROPENSITY, _PER_TREE_NODE = 30.0, 3.0, 1.3
# Of partial propensities: finding a reaction inside its class; a class whose sum changes; a node.
_SECOND_SEARCH, _PER_CLASS, _PER_NODE = 60.0, 1.0, 2.0
# Of composition and rejection: an event with its rejected proposals; a propensity and its group.
_PER_PROPOSALS, _PER_MEMBER = 26.0, 5.5


def choose_method(
    method: str | Method,
    compiled: CompiledNetwork,
    options: Mapping[str, Any],
    *,
    waits: bool = False,
) -> tuple[Method, str]:
    """Return the method to run and why it was chosen.

    Parameters
    ----------
    method : str or Method
        A name from `METHODS`, ``"auto"`` or an instance.
    compiled : CompiledNetwork
        The network.
    options : mapping
        Options of the method.
    waits : bool, optional
        Whether the run may stop between jumps, at a time.

    Raises
    ------
    MethodError
        If the method is unknown, has no such option, or cannot do this network; the message names
        the construct and the methods that can.
    """
    if isinstance(method, Method):
        chosen, reason = method, "asked for"
    elif method == "auto":
        name, reason = _choose(compiled, waits or bool(options))
        chosen = METHODS[name]()
    elif method in METHODS:
        chosen, reason = METHODS[method](), "asked for"
    else:
        hint = did_you_mean(str(method), ["auto", *METHODS])
        raise MethodError(
            f"unknown method {method!r}; the methods are auto, {', '.join(METHODS)}{hint}"
        )
    if options:
        chosen = chosen.with_options(options)
    refusal = chosen.refusal(compiled)
    if refusal is not None:
        able = [name for name, other in METHODS.items() if other().refusal(compiled) is None]
        remedy = f"methods that can: {', '.join(able)}" if able else "no method can yet"
        if method == "auto" and able:
            remedy += f"; auto does not choose among them, so write method={able[0]!r}"
        raise MethodError(f"{refusal}; {remedy}")
    return chosen, reason


def _choose(compiled: CompiledNetwork, needs_direct: bool) -> tuple[str, str]:
    """Return what `auto` takes, and why: an approximation is never chosen for the user."""
    n = compiled.arrays.form.size
    if compiled.moves:
        return "direct", "auto: exact, and the state or its rates move between jumps"
    if n <= DENSE_LIMIT:
        return "direct", f"auto: exact, and the fastest exact method up to {DENSE_LIMIT} reactions"
    if needs_direct or compiled.real_sided:
        return "direct", "auto: exact, and does whatever was asked for"
    work = {
        "direct": direct_work(compiled.arrays),
        "partial_propensity": partial_work(compiled.arrays, PartialPropensity().arrays(compiled)),
        "composition_rejection": group_work(compiled.arrays),
    }
    one, two, three = (f"{steps:.0f} in {name}" for name, steps in work.items())
    compared = f"an event takes about {one}, {two}, {three}".replace(" in", " steps in", 1)
    return min(work, key=work.__getitem__), f"auto: exact; {compared}"


def direct_work(arrays: ReactionArrays) -> float:
    """Return the work of the direct method's tree for one event, the mean over all reactions."""
    per_part = _PER_PROPENSITY * np.diff(arrays.dependent_start)
    per_part = per_part + _PER_TREE_NODE * np.diff(arrays.node_start)
    return _PER_EVENT + _mean_over_reactions(arrays, per_part)


def group_work(arrays: ReactionArrays) -> float:
    """Return the work of composition and rejection for one event, the mean over all reactions."""
    per_part = _PER_MEMBER * np.diff(arrays.dependent_start)
    return _PER_PROPOSALS + _mean_over_reactions(arrays, per_part)


def _mean_over_reactions(arrays: ReactionArrays, per_part: np.ndarray) -> float:
    n = arrays.form.size
    return float(per_part[arrays.part[: arrays.part_start[n]]].sum() / n)


def partial_work(arrays: ReactionArrays, sums: PartialSums) -> float:
    """Return the work of the partial-propensity method for one event, the mean over reactions."""
    per_species = _PER_CLASS * (np.diff(sums.member_start) + np.diff(sums.hub_start)).astype(float)
    per_species += _PER_PROPENSITY * np.diff(sums.alone_start)
    per_species += _PER_NODE * np.diff(sums.node_start)
    changed = arrays.change_species[arrays.change != 0]
    work = _SECOND_SEARCH + per_species[changed].sum() / arrays.form.size
    if sums.node.size == 0:
        work += _PER_NODE * sums.n_leaves / 7.0  # all nodes of the tree at each event
    return float(work)
