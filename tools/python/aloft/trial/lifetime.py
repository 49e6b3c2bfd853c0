"""Processes that end with their parent, however that ends: on Linux; elsewhere they live on."""

import contextlib
import ctypes
import signal

_LIBC = ctypes.CDLL(None)
_PR_SET_PDEATHSIG = 1  # prctl(2)


def end_with_parent(how: signal.Signals = signal.SIGKILL) -> None:
    """This process gets the signal when its parent is gone. Calls nothing but prctl(2), so that it may be called between fork
    and exec."""
    with contextlib.suppress(OSError, AttributeError):
        _LIBC.prctl(_PR_SET_PDEATHSIG, how)
