"""How kernels are compiled and cached: one decorator for entry points, one for their parts.

Numba's own disk cache is keyed by the calling file's time and size, so an edited callee in another
file is served stale; it raises where it cannot write; and a damaged file crashes the process. The
cache here is keyed by the content of every kernel source, checks what it reads, and whatever goes
wrong with it costs a compilation and one warning, never the run. Processes that start together on
an empty cache compile each kernel once (`turns.py`).
"""

from __future__ import annotations

import functools
import hashlib
import os
import pickle
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numba
from numba.core import caching

from .turns import Turn

__all__ = [
    "apart",
    "cache_folder",
    "inlined",
    "is_loaded",
    "kernel",
    "n_compiled",
    "part",
    "signatures",
    "watch_compilation",
]

# error_model "numpy": a division by zero gives inf or nan, which the kernels check for, not an
# exception. _nrt False: no reference counting. Kernels allocate nothing, and counting the
# references of a group of arrays at each hand-over cost 230 to 530 ns per event against 25 to 60
# for everything else; without it, groups of arrays are handed to the parts of a kernel for free.
_OPTIONS: dict[str, Any] = {"nogil": True, "error_model": "numpy", "_nrt": False}

_KERNELS: list[Any] = []
_WARNED: list[str] = []
_WATCHERS: list[Callable[[str, bool], None]] = []


def cache_folder() -> Path:
    """Folder of the compiled kernels of exactly these sources.

    ``GILLESPY_LITE_CACHE_DIR``, else ``NUMBA_CACHE_DIR``, else the user's cache folder of the
    operating system; below it one folder per content of the kernel sources.
    """
    chosen = os.environ.get("GILLESPY_LITE_CACHE_DIR") or os.environ.get("NUMBA_CACHE_DIR")
    if chosen:
        base = Path(chosen)
    elif sys.platform == "win32":
        base = Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    elif sys.platform == "darwin":
        base = Path.home() / "Library" / "Caches"
    else:
        base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return base / "gillespy_lite" / f"kernels-{_source_digest()[:16]}"


@functools.cache
def _source_digest() -> str:
    package = Path(__file__).parent.parent
    # Kernels compiled with checked indices are other kernels.
    digest = hashlib.sha256(f"boundscheck {getattr(numba.config, 'BOUNDSCHECK', None)}".encode())
    for path in sorted([*(package / "kernels").glob("*.py"), *(package / "methods").glob("*.py")]):
        digest.update(path.name.encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()


def _warn_once(reason: str) -> None:
    # The reason names a file, and every kernel has its own; one warning stands for all.
    if _WARNED:
        return
    _WARNED.append(reason)
    warnings.warn(
        f"compiled kernels cannot be kept on disk ({reason}); each new process compiles them again "
        "(some seconds). Set GILLESPY_LITE_CACHE_DIR to a folder that can be written",
        RuntimeWarning,
        stacklevel=3,
    )


class _Locator(caching._CacheLocator):
    """Puts every kernel's files into `cache_folder()`."""

    def __init__(self, function: Callable[..., Any], path: str) -> None:
        self._line = function.__code__.co_firstlineno
        self._py_file = path

    @classmethod
    def from_function(cls, py_func: Callable[..., Any], py_file: str) -> _Locator:
        return cls(py_func, py_file)

    def get_cache_path(self) -> str:
        return str(cache_folder())

    def get_source_stamp(self) -> str:
        return _source_digest()

    def get_disambiguator(self) -> str:
        return str(self._line)


class _Implementation(caching.CompileResultCacheImpl):
    _locator_classes = [_Locator]  # noqa: RUF012 (Numba's own protocol)


class _CheckedFiles(caching.IndexDataCacheFile):
    """Numba's index and data files, each behind a digest: flipped bits in machine code crash."""

    def _dump(self, obj: Any) -> bytes:
        data: bytes = super()._dump(obj)
        return hashlib.sha256(data).digest() + data

    def _load_index(self) -> dict[Any, str]:
        try:
            content = Path(self._index_path).read_bytes()
        except FileNotFoundError:
            return {}
        stamp, overloads = self._checked(content)
        return overloads if stamp == (self._source_stamp, self._version) else {}

    def _save_index(self, overloads: dict[Any, str]) -> None:
        with self._open_for_write(self._index_path) as file:
            file.write(self._dump(((self._source_stamp, self._version), overloads)))

    def _load_data(self, name: str) -> Any:
        return self._checked(Path(self._data_path(name)).read_bytes())

    @staticmethod
    def _checked(content: bytes) -> Any:
        digest, data = content[:32], content[32:]
        if hashlib.sha256(data).digest() != digest:
            raise ValueError("a cached kernel file is damaged")
        # The digest above was made by this user's own process; the folder is the user's.
        return pickle.loads(data)  # noqa: S301


class _KernelCache(caching.FunctionCache):
    """A cache that may fail: what cannot be loaded is compiled, what cannot be saved is not."""

    _impl_class = _Implementation

    def __init__(self, py_func: Callable[..., Any]) -> None:
        super().__init__(py_func)
        self._cache_file = _CheckedFiles(
            cache_path=self._cache_path,
            filename_base=self._impl.filename_base,
            source_stamp=self._impl.locator.get_source_stamp(),
        )
        self._turn = Turn(Path(self._cache_path) / f"{self._impl.filename_base}.lock")

    def _index_key(self, sig: Any, codegen: Any) -> Any:
        # Numba would hash the pickled closure, which differs from process to process where it
        # holds compiled functions. The folder's name already stands for all source text.
        return (sig, codegen.magic_tuple(), self._py_func.__qualname__)

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        loaded = self._load_or_warn(sig, target_context)
        if loaded is None:
            self._tell(True)
            self._turn.wait()
            # Another process may have compiled it meanwhile.
            loaded = self._load_or_warn(sig, target_context)
            if loaded is not None or self._turn.has_waited:
                # Whoever had the turn could not keep what it compiled, or did not finish: if all
                # the others took turns now, the last would wait for all of them.
                self._turn.end()
            if loaded is not None:
                self._tell(False)
        return loaded

    def _load_or_warn(self, sig: Any, target_context: Any) -> Any:
        # Numba's own method brings the compiler up to date first, for which it imports some 400
        # modules, SciPy's linear algebra among them: .3 s that a kernel from the disk has no use
        # for. It is done before the first compilation in any case.
        try:
            with self._guard_against_spurious_io_errors():
                loaded = self._load_overload(sig, target_context)
        except Exception as error:
            _warn_once(f"{type(error).__name__}: {error}")
            loaded = None
            try:
                self.flush()
            except OSError:
                self.disable()
        return loaded

    def _tell(self, begins: bool) -> None:
        for watcher in _WATCHERS:
            watcher(self._py_func.__name__, begins)

    def save_overload(self, sig: Any, data: Any) -> None:
        self._tell(False)
        try:
            super().save_overload(sig, data)
        except Exception as error:
            _warn_once(f"{type(error).__name__}: {error}")
        finally:
            self._turn.end()

    def ending_turns(self, compiling: Callable[..., Any]) -> Callable[..., Any]:
        """Return a dispatcher's method `compile` that lets others go on when it is interrupted."""

        def compile_or_end(sig: Any) -> Any:
            try:
                return compiling(sig)
            except BaseException:
                self._turn.end()
                raise

        return compile_or_end


class _Part:
    """A part of kernels: what compiled code calls, and on demand what Python calls.

    A function that Python can call needs code that takes the arguments from their objects, and
    Numba compiles it with every function. Without it the first kernel of the direct method takes
    6.1 s in place of 12.8 (processor time).
    """

    def __init__(self, function: Callable[..., Any], **options: Any) -> None:
        functools.update_wrapper(self, function)
        self.py_func = function
        self._options = {**_OPTIONS, **options}

    # Neither is made before it is asked for: a process that loads its kernels from the disk needs
    # none of some 200 parts.
    @functools.cached_property
    def _for_kernels(self) -> Any:
        options = {"no_cpython_wrapper": True, "no_cfunc_wrapper": True, **self._options}
        return numba.njit(**options)(self.py_func)

    @functools.cached_property
    def _for_python(self) -> Any:
        return numba.njit(**self._options)(self.py_func)

    @property
    def _numba_type_(self) -> Any:
        # How Numba asks what a name in compiled code stands for.
        return self._for_kernels._numba_type_

    def __call__(self, *arguments: Any) -> Any:
        return self._for_python(*arguments)


def _part(function: Callable[..., Any], **options: Any) -> Any:
    return function if getattr(numba.config, "DISABLE_JIT", False) else _Part(function, **options)


def inlined(function: Callable[..., Any]) -> Any:
    """Compile a short part of kernels, merged into each place that calls it."""
    return _part(function, forceinline=True)


def part(function: Callable[..., Any]) -> Any:
    """Compile a longer part of kernels; what calls it for the first time says if it is merged.

    Numba hands the option of `inlined` callers down. In the loops over plain events that is what
    is wanted: with the parts kept apart, an event of a network of rate laws takes 15 % longer.
    """
    return _part(function)


def apart(function: Callable[..., Any]) -> Any:
    """Compile a part of kernels that is never merged into its callers.

    For loops of many parts, which would else be merged into one another over and over: the first
    kernel of `jump_loop` took 64 s to compile, and 30 to 40 s with its parts apart. What is merged
    elsewhere may be given, too.
    """
    return _part(getattr(function, "py_func", function), forceinline=False)


def kernel(function: Callable[..., Any]) -> Any:
    """Compile an entry point on its first call, or load it from the disk cache."""
    dispatcher = numba.njit(**{"no_cfunc_wrapper": True, **_OPTIONS})(function)
    if hasattr(dispatcher, "enable_caching"):  # absent when NUMBA_DISABLE_JIT is set
        try:
            dispatcher._cache = cache = _KernelCache(function)
            dispatcher.compile = cache.ending_turns(dispatcher.compile)
        except Exception as error:  # no home folder, another Numba's internals, ...
            _warn_once(f"{type(error).__name__}: {error}")
        _KERNELS.append(dispatcher)
    return dispatcher


def watch_compilation(watcher: Callable[[str, bool], None]) -> None:
    """Have `watcher(name, begins)` called when a kernel begins to be compiled, and when it is.

    It is not called for a kernel that is loaded from the disk. A compilation that is interrupted
    does not end.
    """
    if watcher not in _WATCHERS:
        _WATCHERS.append(watcher)


def n_compiled() -> int:
    """Return how many kernels this process has compiled, rather than loaded."""
    return sum(sum(k.stats.cache_misses.values()) for k in _KERNELS)


def is_loaded(kernel: Any) -> bool:
    """Return whether this process has a kernel compiled, so that a call starts at once."""
    # Of a dispatcher; asking it for its `signatures` takes 20 us, more than a short run.
    return bool(getattr(kernel, "is_loaded", getattr(kernel, "overloads", True)))


def signatures() -> dict[str, int]:
    """Return the number of compiled signatures of each kernel that has run."""
    counts = {f"{k.py_func.__module__}.{k.py_func.__name__}": len(k.signatures) for k in _KERNELS}
    return {name: count for name, count in counts.items() if count}
