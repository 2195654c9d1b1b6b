"""The event that handlers of signals set."""

import subprocess
import sys
import threading

from damon_cli.events import SignalEvent

#: A signal comes at each place of the loop that waits, sooner or later; 20,000 times.
PROGRAM = """
import random, signal, sys
from damon_cli.events import SignalEvent

event = SignalEvent()
signal.signal(signal.SIGALRM, lambda *_: event.set())
for _ in range(20_000):
    event = SignalEvent()
    signal.setitimer(signal.ITIMER_REAL, random.uniform(1e-6, 1e-4))
    while not event.is_set():
        event.wait(1e-6)
"""


def test_a_handler_may_set_it_while_its_thread_begins_to_wait() -> None:
    """`threading.Event` hangs here after some thousand signals."""
    done = subprocess.run([sys.executable, "-c", PROGRAM], timeout=120, check=False)
    assert done.returncode == 0


def test_who_waits_is_woken() -> None:
    """By another thread, or by a signal."""
    event = SignalEvent()
    threading.Timer(0.01, event.set).start()
    assert event.wait()
    assert event.wait()
    assert event.is_set()


def test_a_wait_may_end_without_it() -> None:
    """After the time that was given."""
    event = SignalEvent()
    assert not event.wait(0.001)
    assert not event.is_set()
