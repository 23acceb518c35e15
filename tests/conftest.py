"""Every run draws the same examples; another look is `pytest --hypothesis-profile=fresh`."""

from __future__ import annotations

import signal
from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import settings

from gillespy_lite.progress import no_notice_of_compilation

settings.register_profile("fixed", derandomize=True)
settings.register_profile("fresh", derandomize=False)
settings.load_profile("fixed")

# A shell that starts a command in the background has it ignore Ctrl-C, also that which tests press.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

_PRINT_OPTIONS = np.get_printoptions()


@pytest.fixture(autouse=True)
def _numbers_print_as_ever() -> None:
    # libroadrunner changes how NumPy prints, for the whole process, when it is imported.
    np.set_printoptions(**_PRINT_OPTIONS)


@pytest.fixture(autouse=True)
def _no_notice_of_compilation() -> Iterator[None]:
    # What a test reads from the standard error must not depend on the cache of kernels.
    with no_notice_of_compilation():
        yield
