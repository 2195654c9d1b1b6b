"""When Python searches for garbage while a command runs."""

import gc
from collections.abc import Generator
from contextlib import contextmanager

#: How many new objects Python searches at a time, and after how many searches older ones, too.
_USUAL = gc.get_threshold()
_SELDOM = (100_000, *_USUAL[1:])


@contextmanager
def searched_seldom() -> Generator[None, None, None]:
    """Search seldom, as long as a command makes what it keeps: modules and classes above all.

    To search these again and again takes up to a tenth of the time of a short command, and of the
    start of one that monitors.
    """
    before = gc.get_threshold()
    gc.set_threshold(*_SELDOM)
    try:
        yield
    finally:
        # So that what is there counts as old, and isn't searched now.
        gc.freeze()
        gc.unfreeze()
        gc.set_threshold(*before)


@contextmanager
def searched_as_usual() -> Generator[None, None, None]:
    """Search as Python does by itself, but nothing that was there before.

    For contexts that run: garbage doesn't gather, and no worker waits until all modules have been
    searched.
    """
    before = gc.get_threshold()
    gc.set_threshold(*_USUAL)
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()
        gc.set_threshold(*before)
