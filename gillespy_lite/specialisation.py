"""Kernels of the direct method that are generated for one network.

The table-driven kernels read a network from arrays. Here its propensities and changes are written
as straight-line code instead, and compiled: once for a structure, on each machine. The numbers
(rate constants, parameters, initial counts) are still read from arrays, so what `with_parameters`
and `with_initial` make needs no new kernel. All kernels give the same paths, bit by bit.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np

from .burst_text import burst_source
from .compilation import CompiledNetwork
from .kernels.arrays import ReactionArrays
from .kernels.bursts import run_bursts
from .kernels.generated import compiled_address, is_compiled_on_disk, load_module
from .kernels.jit import is_loaded
from .kernels.lane_bursts import run_lane_bursts
from .kernels.programs import Programs
from .kernels.sum_tree import DENSE_LIMIT
from .lane_burst_text import lane_burst_source
from .reaction_text import MAX_OPERATIONS, NOTHING_VARIES, Varying, are_small_powers, n_operations

__all__ = [
    "SpecialisedKernel",
    "SpecialisedLanes",
    "can_specialise",
    "compile_seconds_estimate",
    "specialised_kernel",
    "specialised_lanes",
]


class _Generated:
    """A kernel around a burst that is compiled when it is first called."""

    run: Any  # the kernel around it
    numbers: tuple[Any, ...]  # of the types that the burst takes after the groups of arrays

    def __init__(self, text: str) -> None:
        self.function = load_module(text).burst
        self._burst: Any = None

    @property
    def is_loaded(self) -> bool:
        """Whether this process has it compiled, so that a call starts at once."""
        return self._burst is not None and is_loaded(self.run)

    @property
    def is_on_disk(self) -> bool:
        """Whether it can be had without compiling, now or from the disk."""
        return is_compiled_on_disk(self.function)

    def __call__(
        self, network: Any, request: Any, walker: Any, output: Any, first_index: int, budget: int
    ) -> int:
        """Run; the first call compiles, or loads from the disk."""
        if self._burst is None:
            groups = network, request, walker
            self._burst = compiled_address(self.function, (*groups, *self.numbers))
        arguments = network, request, walker, output, first_index, budget
        return int(self.run(*arguments, self._burst))

    def py_func(
        self, network: Any, request: Any, walker: Any, output: Any, first_index: int, budget: int
    ) -> int:
        """Run as plain Python, with the same results."""
        run = getattr(self.run, "py_func", self.run)
        burst = getattr(self.function, "py_func", self.function)
        return int(run(network, request, walker, output, first_index, budget, burst))


class SpecialisedKernel(_Generated):
    """A kernel for one network's structure: called like ``run_direct``, with the same results."""

    run = staticmethod(run_bursts)
    numbers = np.float64(0), np.int64(0), np.uint64(0)  # horizon, allowance, place


class SpecialisedLanes(_Generated):
    """Lanes for one network's structure: called like ``run_lanes``, with the same results."""

    run = staticmethod(run_lane_bursts)
    numbers = np.uint64(0), np.uint64(0), np.uint64(0), np.int64(0)  # alive, fresh, heeded, n_steps


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
    return _kernel(SpecialisedKernel, burst_source, compiled, condition)


def specialised_lanes(
    compiled: CompiledNetwork,
    condition: Programs | None = None,
    varying: Varying = NOTHING_VARIES,
) -> SpecialisedLanes:
    """Return the lanes of a network, for many trajectories.

    Arguments as above; `varying` says which numbers each lane has its own of.
    """

    def write(arrays: ReactionArrays, condition: Programs | None) -> str:
        return lane_burst_source(arrays, condition, varying=varying)

    return _kernel(SpecialisedLanes, write, compiled, condition, varying)


def compile_seconds_estimate(compiled: CompiledNetwork, *, lanes: bool) -> float:
    """Return about how many seconds a kernel of a network takes to compile.

    A function of the network alone, so that what follows from it is the same on every machine.
    Measured in processor time on rings of 3 to 64 reactions with and without laws, seconds: scalar
    0.3, 1.1 (20 reactions), 3.8 (64), 6.7 (64, and 288 operations of laws); lanes 0.3, 0.8, 2.4 and
    3.7. The fit is within 40 % of these.
    """
    n, size = compiled.arrays.form.size, n_operations(compiled.arrays.laws)
    return 0.3 + 0.03 * n + 0.004 * size if lanes else 0.3 + 0.05 * n + 0.01 * size


_Kind = TypeVar("_Kind", bound=_Generated)


def _kernel(
    kind: type[_Kind],
    write: Callable[[ReactionArrays, Programs | None], str],
    compiled: CompiledNetwork,
    condition: Programs | None,
    varying: Varying = NOTHING_VARIES,
) -> _Kind:
    # Writing the text takes as long as some 10,000 events. Relatives of a network, whose numbers
    # alone differ, have the same text where the same of their exponents are small.
    numbers = compiled.arrays.parameters
    parts = () if condition is None else (part.tobytes() for part in condition)
    memo = compiled.network.memo
    key = (kind.__name__, are_small_powers(numbers).tobytes(), varying, *parts)
    text = memo.get(key)
    if text is None:
        text = memo[key] = write(compiled.arrays, condition)
    with _LOCK:
        kernel = _KERNELS.get(text)
        if kernel is None:
            kernel = _KERNELS[text] = kind(text)
    assert isinstance(kernel, kind)
    return kernel


# One kernel for all networks of one structure.
_KERNELS: dict[str, _Generated] = {}
_LOCK = threading.Lock()
