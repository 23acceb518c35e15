"""How much memory there is, to refuse what will not fit before it starts."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from .errors import NotEnoughMemoryError

__all__ = ["available_memory", "require_memory"]


def _limits() -> list[int]:
    """Every bound on what this process may still allocate that the system tells, in bytes."""
    found: list[int] = []
    try:
        for line in Path("/proc/meminfo").read_text().splitlines():
            if line.startswith("MemAvailable:"):
                found.append(int(line.split()[1]) * 1024)
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
        import resource

        soft, _ = resource.getrlimit(resource.RLIMIT_AS)
        if soft != resource.RLIM_INFINITY:
            used = 0
            try:
                pages = int(Path("/proc/self/statm").read_text().split()[0])
                used = pages * os.sysconf("SC_PAGE_SIZE")
            except (OSError, ValueError):
                pass
            found.append(soft - used)
        if not found:
            found.append(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    return found


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
    available = available_memory()
    if available is not None and needed > 0.9 * available:
        raise NotEnoughMemoryError(
            f"the result would need {shown_size(needed)}, and {shown_size(available)} of memory "
            f"are available; {advice}"
        )


def shown_size(size: float) -> str:
    """Return a size in bytes as a person writes it."""
    for unit in ("bytes", "KiB", "MiB", "GiB"):
        if size < 1024.0:
            break
        size /= 1024.0
    else:
        unit = "TiB"
    return f"{size:.0f} {unit}" if unit == "bytes" else f"{size:.1f} {unit}"
