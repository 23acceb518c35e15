"""Modules whose text was written for one network: kept on disk, compiled once, loaded again.

A module is a file in the folder of compiled kernels, named by the digest of its text. The file is
there to be read by people and by tracebacks: what is imported is the text that this process has
written itself, never what it finds on disk. So a damaged or a foreign file is overwritten and runs
nothing, and where nothing can be written the module works all the same.
"""

from __future__ import annotations

import hashlib
import importlib.abc
import importlib.util
import os
import sys
import tempfile
import threading
from pathlib import Path
from types import ModuleType
from typing import Any

import numba

from .jit import _warn_once, cache_folder
from .references import Reference

__all__ = ["compiled_address", "is_compiled_on_disk", "load_module", "module_path"]

_LOCK = threading.RLock()
# Not below the package's name: nothing else may look for these modules on the search path.
_PREFIX = "gillespy_lite_network_"


class _Text(importlib.abc.ExecutionLoader):
    """Loads a module from its text."""

    def __init__(self, text: str, path: Path) -> None:
        self._text, self._path = text, path

    def get_filename(self, fullname: str) -> str:
        return str(self._path)

    def get_source(self, fullname: str) -> str:
        return self._text


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def module_path(text: str) -> Path:
    """Return where the file of a module with this text belongs."""
    return cache_folder() / "networks" / f"{_PREFIX}{_digest(text)}.py"


def load_module(text: str) -> ModuleType:
    """Return the module with this text, and keep it as a file.

    Parameters
    ----------
    text : str
        What `burst_text` or `lane_burst_text` wrote. It must not hold anything that a user typed.
    """
    name = f"{_PREFIX}{_digest(text)}"
    with _LOCK:
        known = sys.modules.get(name)
        if known is not None:
            return known
        path = module_path(text)
        _keep(text, path)
        spec = importlib.util.spec_from_loader(name, _Text(text, path), origin=str(path))
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        # Numba looks for the module by its name when it loads a kernel from the disk.
        sys.modules[name] = module
        try:
            spec.loader.exec_module(module)
        except BaseException:
            del sys.modules[name]
            raise
        return module


def _keep(text: str, path: Path) -> None:
    """Write the text to its file, unless it is there; a failure costs a warning."""
    content = text.encode()
    try:
        if path.is_file() and path.read_bytes() == content:
            return
        path.parent.mkdir(parents=True, exist_ok=True)
        # Another process may write the same file at the same time: each has a name of its own until
        # the file is whole.
        handle, temporary = tempfile.mkstemp(prefix=f"{path.stem}-", dir=path.parent)
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(content)
            Path(temporary).replace(path)
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise
    except OSError as error:
        _warn_once(f"{type(error).__name__}: {error}")


def compiled_address(function: Any, arguments: tuple[Any, ...]) -> Any:
    """Compile a burst for arguments, or load it; return what `call_burst` calls.

    Parameters
    ----------
    function : kernel
        Without Numba's compiler (NUMBA_DISABLE_JIT) a plain function, which is returned.
    arguments : tuple
        Arguments of the types that the burst will be called with; groups of arrays stand for
        references to them.

    Returns
    -------
    int or function
        The address of its machine code, which stays where it is for as long as the process lives.
    """
    if not hasattr(function, "overloads"):
        return function
    kinds = tuple(
        Reference(numba.typeof(one)) if isinstance(one, tuple) else numba.typeof(one)
        for one in arguments
    )
    with _LOCK:
        if kinds not in function.overloads:
            function.compile(kinds)
        compiled = function.overloads[kinds]
        return compiled.library.get_pointer_to_function(compiled.fndesc.llvm_func_name)


def is_compiled_on_disk(function: Any) -> bool:
    """Return whether a burst can be had without compiling it: in this process or from the disk."""
    if not hasattr(function, "overloads") or function.overloads:
        return True
    try:
        cache, machine = function._cache, function.targetctx.codegen().magic_tuple()
        # A burst has one signature; see `jit._KernelCache._index_key`.
        return any(
            key[1] == machine and Path(cache._cache_file._data_path(name)).is_file()
            for key, name in cache._cache_file._load_index().items()
        )
    except Exception:  # whatever is wrong with the files: it will be compiled
        return False
