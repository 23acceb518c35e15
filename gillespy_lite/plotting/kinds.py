"""Choosing what to draw by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["draw"]


def draw(
    kinds: Mapping[str, Callable[..., Axes]],
    result: Any,
    kind: str,
    ax: Axes | None,
    options: Mapping[str, Any],
) -> Axes:
    """Draw a result as `kind`, one of `kinds`.

    Raises
    ------
    ValueError
        If there is no such kind.
    """
    if kind not in kinds:
        raise ValueError(
            f"cannot plot kind={kind!r} of {type(result).__name__}; "
            f"choose one of {', '.join(map(repr, kinds))}"
        )
    return kinds[kind](result, ax=ax, **options)
