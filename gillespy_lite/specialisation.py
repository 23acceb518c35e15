"""Kernels of the direct method that are generated for one network.

The table-driven kernels read a network from arrays. Here its propensities and changes are written
as straight-line code instead, and compiled: once for a structure, on each machine. The numbers
(rate constants, parameters, initial counts) are still read from arrays, so what `with_parameters`
and `with_initial` make needs no new kernel. All kernels give the same paths, bit by bit.
"""

from __future__ import annotations

from typing import Any

import numba

from .compilation import CompiledNetwork
from .kernels.bursts import run_bursts
from .kernels.generated import compiled_address, is_compiled_on_disk, load_module
from .kernels.programs import Programs
from .kernels.sum_tree import DENSE_LIMIT
from .specialisation_source import MAX_OPERATIONS, burst_source, n_operations

__all__ = [
    "SpecialisedKernel",
    "can_specialise",
    "specialised_kernel",
]

_REALS, _WHOLES, _WORDS = numba.float64[::1], numba.int64[::1], numba.uint64[::1]
_BURST_SIGNATURE = (
    *(_REALS, _REALS, _REALS, _REALS, _REALS),  # coefficient, factor, constants, parameters
    *(_WHOLES, _WORDS, _REALS, _WHOLES),  # state, stream, clock, counter
    *(numba.float64, numba.int64),  # horizon, allowance
)


class SpecialisedKernel:
    """A kernel for one network's structure: called like ``run_direct``, with the same results."""

    def __init__(self, text: str) -> None:
        self._function = load_module(text).burst
        self._burst: Any = None

    @property
    def signatures(self) -> list[Any]:
        """What is compiled: empty until the first call."""
        return [] if self._burst is None else list(getattr(run_bursts, "signatures", [None]))

    @property
    def is_on_disk(self) -> bool:
        """Whether it can be had without compiling, now or from the disk."""
        return is_compiled_on_disk(self._function, _BURST_SIGNATURE)

    def __call__(
        self, network: Any, request: Any, walker: Any, output: Any, first_index: int, budget: int
    ) -> int:
        """Run as ``run_direct`` does; the first call compiles, or loads from the disk."""
        if self._burst is None:
            self._burst = compiled_address(self._function, _BURST_SIGNATURE)
        status = run_bursts(network, request, walker, output, first_index, budget, self._burst)
        return int(status)

    def py_func(
        self, network: Any, request: Any, walker: Any, output: Any, first_index: int, budget: int
    ) -> int:
        """Run as plain Python, with the same results."""
        run = getattr(run_bursts, "py_func", run_bursts)
        burst = getattr(self._function, "py_func", self._function)
        return int(run(network, request, walker, output, first_index, budget, burst))


def can_specialise(compiled: CompiledNetwork) -> str | None:
    """Return why a network cannot have kernels of its own, or None if it can."""
    n = compiled.arrays.form.size
    if compiled.moves:
        return "more than jumps changes its state or its rates"
    if n == 0:
        return "it has no reactions"
    if n > DENSE_LIMIT:
        return f"it has {n} reactions, more than {DENSE_LIMIT}"
    size = n_operations(compiled.arrays.laws)
    if size > MAX_OPERATIONS:
        return f"its rate laws have {size} operations, more than {MAX_OPERATIONS}"
    return None


def specialised_kernel(
    compiled: CompiledNetwork, condition: Programs | None = None
) -> SpecialisedKernel:
    """Return the scalar kernel of a network, for one trajectory after the other.

    Nothing is compiled before its first call.

    Parameters
    ----------
    compiled : CompiledNetwork
        One for which `can_specialise` gives None.
    condition : Programs, optional
        ``Request.condition`` of the runs that will use it, which becomes a part of the kernel. A
        condition with other constants needs no other kernel.
    """
    memo = compiled.network.memo
    steps: tuple[bytes, ...] = ()
    if condition is not None and condition.start.size > 1:
        steps = (condition.operation.tobytes(), condition.argument.tobytes())
    key = ("specialised kernel", *steps)
    kernel = memo.get(key)
    if kernel is None:
        text = burst_source(compiled.arrays, condition)
        kernel = memo[key] = _KERNELS.setdefault(text, SpecialisedKernel(text))
    return kernel


# One kernel for all networks of one structure.
_KERNELS: dict[str, SpecialisedKernel] = {}
