"""Count the packed vector instructions in the machine code of a kernel.

    python benchmarks/vector_code.py [gillespy_lite.kernels.lanes:run_lanes ...]

A loop over lanes that the compiler left scalar gives the same numbers, only several times slower,
and nothing else tells. So this compiles a kernel afresh, in an empty cache (code that comes from
the disk has no listing), reads its assembly, and returns 1 if it holds no packed arithmetic of
doubles.
"""

from __future__ import annotations

import argparse
import importlib
import os
import re
import sys
import tempfile
from collections import Counter
from collections.abc import Iterable
from typing import Any, NamedTuple

__all__ = ["Arithmetic", "arithmetic_in", "assembly_of"]

KERNELS = [
    "gillespy_lite.kernels.lanes:run_lanes",
    "gillespy_lite.kernels.lane_trees:run_lane_trees",
    "gillespy_lite.kernels.lane_leaps:run_leap_lanes",
]

_OPERATIONS = r"(?:add|sub|mul|div|sqrt|min|max|rndscale|round|fn?m(?:add|sub)\d*)"
# x86 in AT&T or Intel order: the suffix says packed (pd) or scalar (sd), the register how wide.
_X86 = re.compile(rf"^\s*v?{_OPERATIONS}(?P<kind>[ps])d\b(?P<operands>[^\n#]*)", re.MULTILINE)
# AArch64: fmul v0.2d, v1.2d, v2.2d against fmul d0, d1, d2.
_ARM = re.compile(
    r"^\s*f(?:add|sub|mul|div|sqrt|min|max|mla|mls|madd|msub)\w*\s+(?P<to>v\d+\.2d|d\d+)\b",
    re.MULTILINE,
)
_BITS = {"x": 128, "y": 256, "z": 512}


class Arithmetic(NamedTuple):
    """Instructions on doubles: how many are packed, by the width of the register, or scalar."""

    packed: dict[int, int]  # bits of the register -> instructions
    scalar: int

    def __str__(self) -> str:
        """Say it in one line."""
        widths = ", ".join(f"{n} of {bits} bits" for bits, n in sorted(self.packed.items()))
        return f"packed: {widths or 'none'}; scalar: {self.scalar}"


def arithmetic_in(assembly: str) -> Arithmetic:
    """Return the arithmetic of doubles in an assembly listing."""
    packed: Counter[int] = Counter()
    scalar = 0
    for match in _X86.finditer(assembly):
        if match["kind"] == "s":
            scalar += 1
        else:
            widths = re.findall(r"\b([xyz])mm\d+", match["operands"])
            packed[max(_BITS[width] for width in widths)] += 1
    for match in _ARM.finditer(assembly):
        if match["to"].startswith("v"):
            packed[128] += 1
        else:
            scalar += 1
    return Arithmetic(dict(packed), scalar)


def assembly_of(kernel: Any) -> str:
    """Return the assembly of all compiled signatures of a Numba function.

    Raises
    ------
    ValueError
        If it has not been compiled in this process.
    """
    if not kernel.signatures:
        raise ValueError(f"{kernel.__name__} has not been compiled in this process; call it first")
    listings: Iterable[str] = kernel.inspect_asm().values()
    return "\n".join(listings)


def _run_everything() -> None:
    """Make the engines compile what mass action, laws and more than 64 reactions need."""
    from networks import MODELS

    import gillespy_lite as gl

    how = {"threads": 1, "rng": 1, "engine": "lanes"}
    for name in ("vilar", "toggle"):
        for method in ("direct", "tau_leaping"):
            gl.ensemble(MODELS[name].network, 0.01, 64, method=method, **how)
    gl.ensemble(MODELS["towns"].network, 0.01, 64, method="direct", **how)


def main() -> int:
    """Print what each kernel holds; return 1 if one holds no packed arithmetic."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("kernels", nargs="*", default=KERNELS, help="module:name")
    options = parser.parse_args()
    failed = False
    with tempfile.TemporaryDirectory() as cache:
        os.environ["GILLESPY_LITE_CACHE_DIR"] = cache
        _run_everything()
        for place in options.kernels:
            module, name = place.split(":")
            found = arithmetic_in(assembly_of(getattr(importlib.import_module(module), name)))
            failed |= not found.packed
            print(f"{place}: {found}")
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
