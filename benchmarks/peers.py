"""What other tools do to know a working set, as plain loops over the same files.

wss.pl (Brendan Gregg's) clears accessed bits, waits, and adds up Referenced of smaps: one result.
cAdvisor adds it up at each housekeeping, and clears the bits after every Nth (its option
`--referenced_reset_interval`; never, by default).

Usage: python -m benchmarks.peers wss|cadvisor PID INTERVAL_S SECONDS
"""

import re
import sys
import time
from collections.abc import Callable, Sequence

from attrs import frozen

#: First and last address.
Addresses = tuple[int, int]

_RECORD = re.compile(rb"(?m)^([0-9a-f]+)-([0-9a-f]+) .*\n(?:[A-Z].*\n)*?Referenced: +(\d+) kB\n")
#: How long wss.pl waits in its documentation's first example.
WSS_WAIT_S = 0.1


@frozen
class Look:
    """A result.

    Attributes:
        cleared_us: When clearing began and ended before it: Unix microseconds.
        read_us: When reading began and ended.
        referenced_bytes: What it says.
    """

    cleared_us: tuple[int, int]
    read_us: tuple[int, int]
    referenced_bytes: int


def _now_us() -> int:
    return time.time_ns() // 1_000


def clear(pid: int) -> tuple[int, int]:
    """Clear the accessed bits of a process; return when that began and ended."""
    begun_us = _now_us()
    with open(f"/proc/{pid}/clear_refs", "wb", buffering=0) as file:
        file.write(b"1")
    return begun_us, _now_us()


def referenced(pid: int, inside: Addresses | None = None) -> tuple[int, tuple[int, int]]:
    """Return the sum of Referenced in bytes, and when reading it began and ended.

    Args:
        pid: The process.
        inside: Only mappings in this range; otherwise all.
    """
    begun_us = _now_us()
    with open(f"/proc/{pid}/smaps", "rb") as file:
        text = file.read()
    ended_us = _now_us()
    total = sum(
        int(kib) * 1024
        for start, end, kib in _RECORD.findall(text)
        if inside is None or (inside[0] <= int(start, 16) and int(end, 16) <= inside[1])
    )
    return total, (begun_us, ended_us)


def wss(pid: int, wait_s: float, inside: Addresses | None = None) -> Look:
    """Do what wss.pl does."""
    cleared_us = clear(pid)
    time.sleep(wait_s)
    total, read_us = referenced(pid, inside)
    return Look(cleared_us, read_us, total)


def cadvisor(
    pid: int, wait_s: float, cycles: int, reset_every: int, inside: Addresses | None = None
) -> list[Look]:
    """Do what cAdvisor does, from just after a reset: the results of some cycles.

    What cAdvisor says is meant to be the memory referenced "during the last measurement cycle", so
    that is what each look is given as its time.
    """
    looks: list[Look] = []
    last_us = clear(pid)
    for cycle in range(1, cycles + 1):
        time.sleep(wait_s)
        total, read_us = referenced(pid, inside)
        looks.append(Look(last_us, read_us, total))
        last_us = clear(pid) if cycle % reset_every == 0 else read_us
    return looks


def main(arguments: Sequence[str]) -> None:
    """Run one of the loops for some time, with one result each interval."""
    kind, pid, interval_s, seconds = arguments[0], *map(float, arguments[1:4])
    steps: dict[str, Callable[[], object]] = {
        "wss": lambda: wss(int(pid), min(WSS_WAIT_S, interval_s)),
        "cadvisor": lambda: (referenced(int(pid)), clear(int(pid))),
    }
    print("ready", flush=True)
    end = due = time.monotonic()
    end += seconds
    while due < end:
        steps[kind]()
        due += interval_s
        time.sleep(max(0.0, min(due, end) - time.monotonic()))


if __name__ == "__main__":
    main(sys.argv[1:])
