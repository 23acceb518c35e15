"""How much memory there is, to refuse what will not fit before it starts."""

from __future__ import annotations

import math
import os
import sys
from pathlib import Path

from .errors import NotEnoughMemoryError

__all__ = [
    "address_space_is_limited",
    "available_memory",
    "memory_ran_short",
    "require_address_space",
    "require_memory",
]

_ALWAYS_THERE = 2**24  # bytes


def _limits() -> list[int]:
    """Every bound on what this process may still allocate that the system tells, in bytes."""
    found: list[int] = []
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
        found.extend(int(line.split()[1]) * 1024 for line in lines if "MemAvailable:" in line)
    except (OSError, ValueError):
        pass
    # A container's limit (cgroup version 2).
    try:
        group = Path("/sys/fs/cgroup")
        found.append(
            int((group / "memory.max").read_text()) - int((group / "memory.current").read_text())
        )
    except (OSError, ValueError):
        pass
    if sys.platform != "win32":
        left = _address_space_left()
        if left is not None:
            found.append(left)
        if not found:
            found.append(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    return found


def _address_space_left() -> int | None:
    """Return what RLIMIT_AS (``ulimit -v``) leaves, in bytes, or None without such a limit."""
    if sys.platform == "win32":
        return None
    import resource

    soft, _ = resource.getrlimit(resource.RLIMIT_AS)
    if soft == resource.RLIM_INFINITY:
        return None
    used = 0
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[0])
        used = pages * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError):
        pass
    return soft - used


def available_memory() -> int | None:
    """Return the bytes that can still be allocated, or None where the system does not tell."""
    limits = _limits()
    return max(0, min(limits)) if limits else None


def require_memory(needed: int, advice: str) -> None:
    """Refuse a result that would not fit.

    Raises
    ------
    NotEnoughMemoryError
        If `needed` bytes exceed 90 % of what is available; the message gives both and `advice`.
    """
    # Asking the system costs a quarter of a millisecond, which a scan of small runs would feel.
    if needed < _ALWAYS_THERE:
        return
    available = available_memory()
    if available is not None and needed > 0.9 * available:
        raise NotEnoughMemoryError(
            f"the result would need {shown_size(needed)}, and {shown_size(available)} of memory "
            f"are available; {advice}"
        )


def address_space_is_limited() -> bool:
    """Return whether this process has an RLIMIT_AS (``ulimit -v``)."""
    return _address_space_left() is not None


def require_address_space(needed: int, purpose: str) -> None:
    """Refuse what would end the process where its address space is limited.

    Raises
    ------
    NotEnoughMemoryError
        If a limit leaves less than `needed` bytes.
    """
    left = _address_space_left()
    if left is not None and left < needed:
        raise NotEnoughMemoryError(
            f"{purpose} takes up to {shown_size(needed)} of address space, and the limit of this "
            f"process (RLIMIT_AS, ulimit -v) leaves {shown_size(max(0, left))}; raise it"
        )


def memory_ran_short(error: MemoryError) -> NotEnoughMemoryError:
    """Return the error of a run in which an allocation failed."""
    if isinstance(error, NotEnoughMemoryError):
        return error
    said = f" ({error})" if str(error) else ""
    found = NotEnoughMemoryError(
        f"memory ran short during the run{said}; the finished trajectories are in the error's "
        ".result. Ask for statistics=True, fewer outputs= or fewer threads="
    )
    found.__cause__ = error
    return found


def shown_size(size: float) -> str:
    """Return a size in bytes as a person writes it."""
    if size < 1024.0:
        return f"{size:.0f} bytes"
    units = ("KiB", "MiB", "GiB", "TiB")
    power = min(len(units), int(math.log(size, 1024.0)))
    return f"{size / 1024.0**power:.1f} {units[power - 1]}"
