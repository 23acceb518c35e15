"""Compile and call the references in C, one scalar program for one network.

`c/NAME.c` holds the network; initial counts and parameters are constants of the compiler, so that
it can do with them what it does with any number in the source.
"""

from __future__ import annotations

import ctypes
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from peers import Process

__all__ = ["FLAGS", "SOURCES", "Program", "compiler", "source_of"]

SOURCES = Path(__file__).resolve().parent / "c"
FLAGS = ["-O3", "-march=native", "-shared", "-fPIC"]


def compiler() -> str | None:
    """Return the C compiler of this machine, None if there is none."""
    return shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")


def source_of(name: str) -> Path:
    """Return the file of a network, there or not."""
    return SOURCES / f"{name.replace('-', '_').replace(' ', '_')}.c"


class Program:
    """The compiled reference of a process.

    Raises
    ------
    NotImplementedError
        If there is no C compiler, or no reference of this network.
    """

    def __init__(self, process: Process) -> None:
        cc, source = compiler(), source_of(process.name)
        if cc is None:
            raise NotImplementedError("there is no C compiler on the path")
        if not source.exists():
            raise NotImplementedError("no reference has been written for this network")
        constants = {
            f"INITIAL_{k}": f"{v}.0" for k, v in zip(process.species, process.initial, strict=True)
        }
        constants |= {f"PARAMETER_{k}": repr(v) for k, v in process.parameters.items()}
        with tempfile.TemporaryDirectory() as folder:
            library = Path(folder) / "reference.so"
            defines = [f"-D{name}={value}" for name, value in constants.items()]
            subprocess.run(
                [cc, *FLAGS, *defines, str(source), "-o", str(library), "-lm"], check=True
            )
            self._ensemble = ctypes.CDLL(str(library)).ensemble
        self._ensemble.restype = ctypes.c_int64
        self._ensemble.argtypes = [
            ctypes.c_int64,
            ctypes.c_uint64,
            ctypes.c_double,
            ctypes.c_int64,
            ctypes.c_void_p,
        ]
        self._shape = len(process.times), len(process.species)
        self._step = process.times[1]

    def run(self, n: int, seed: int) -> tuple[np.ndarray, int]:
        """Return the counts, (n, n_times, n_species), and the number of events."""
        counts = np.empty((n, *self._shape), dtype=np.int64)
        pointer = counts.ctypes.data_as(ctypes.c_void_p)
        return counts, self._ensemble(n, seed, self._step, self._shape[0], pointer)
