"""Ctrl-C that is not lost while a kernel is compiled, and waits while a result is put away."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

__all__ = ["interrupts_held", "interrupts_kept"]


@contextmanager
def interrupts_kept() -> Iterator[None]:
    """Raise `KeyboardInterrupt` at the end if Ctrl-C was pressed inside and nobody saw it.

    LLVM calls back into Python when it has compiled something, and an exception that is raised
    during such a call is printed and forgotten. A Ctrl-C that was pressed during the compilation
    arrives just there.
    """
    usual = signal.getsignal(signal.SIGINT)
    is_main = threading.current_thread() is threading.main_thread()
    if not is_main or usual is not signal.default_int_handler:
        yield
        return
    pressed = False

    def remember(number: int, frame: FrameType | None) -> None:
        nonlocal pressed
        pressed = True
        signal.default_int_handler(number, frame)

    signal.signal(signal.SIGINT, remember)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, usual)
    if pressed:
        raise KeyboardInterrupt


@contextmanager
def interrupts_held() -> Iterator[None]:
    """Let Ctrl-C, and SIGTERM where Python handles it, wait until the end of this block.

    An exception in the middle of it would leave half a result behind.
    """
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    usual = {int(number): handler for number, handler in handlers.items() if callable(handler)}
    if threading.current_thread() is not threading.main_thread() or not usual:
        yield
        return
    pressed: list[tuple[int, FrameType | None]] = []

    def remember(number: int, frame: FrameType | None) -> None:
        pressed.append((number, frame))

    try:
        for number in usual:
            signal.signal(number, remember)
        yield
    finally:
        for number, handler in usual.items():
            signal.signal(number, handler)
    for number, frame in pressed:
        usual[number](number, frame)
