"""Capabilities of threads: what a worker gives up once it has started (capabilities(7))."""

import ctypes
import logging
import os
import sys
from collections.abc import Collection

logger = logging.getLogger(__name__)

#: The form of the sets that `capset` is given: two words of 32 bits each.
_VERSION = 0x20080522
#: The places of the sets, of which the third is that of what programs may inherit.
_EFFECTIVE, _PERMITTED = 0, 1


def drop_capabilities(numbers: Collection[int]) -> None:
    """Give up capabilities in the calling thread, for good; other threads keep theirs.

    They leave the effective and the permitted set, and with it the ambient one, so that programs
    that the thread starts don't have them either. Those that it doesn't have are ignored, and so is
    everything where threads have no capabilities.

    Args:
        numbers: Their numbers, as in `linux/capability.h`.
    """
    if not numbers or sys.platform != "linux":
        return
    libc = ctypes.CDLL(None, use_errno=True)
    header = (ctypes.c_uint32 * 2)(_VERSION, 0)  # of this thread
    # For the lower and the upper half of the numbers: effective, permitted, inheritable.
    halves = (ctypes.c_uint32 * 3 * 2)()
    if libc.capget(header, halves):
        return
    for number in numbers:
        word, bit = divmod(number, 32)
        for which in (_EFFECTIVE, _PERMITTED):
            halves[word][which] &= ~(1 << bit)
    if libc.capset(header, halves):  # as where a service may not call it
        reason = os.strerror(ctypes.get_errno())
        logger.warning("capabilities that aren't needed any more can't be given up: %s", reason)
