"""Statistics of a context: counts since its start, and its CPU time."""

from attrs import field, frozen


@frozen
class CallbackStats:
    """Failures of one callback, and what it missed for them.

    Attributes:
        failures: Number of calls that raised.
        switched_off: Whether it failed too often in a row: then it is called again only after a
            pause, which doubles each time that it fails again.
        last_error: The last failure as one line, empty if there was none.
        skipped: Number of calls that were left out because it was switched off.
    """

    failures: int = 0
    switched_off: bool = False
    last_error: str = ""
    skipped: int = 0


@frozen
class Stats:
    """Counts of a context since its last start; a copy, taken at one moment.

    Attributes:
        samples: Access checks made.
        missed_samples: Checks that were skipped because their time had already passed (slow
            work, a suspended machine, a kernel that samples more slowly than requested). They
            are not made up for.
        aggregations: Aggregations completed.
        updates: Updates of the targets made.
        cpu_us: CPU time of the worker, kernel time included, and of others that sample for it,
            such as the kernel, up to the last iteration; and what other threads have spent for
            the context, such as scrapes.
        target_cpu_us: CPU time that the targets have lost through monitoring, as far as that is
            known.
        slowdown: The share of its time that a target has lost since it was added: of the one that
            lost the largest. What it loses in the running aggregation isn't known yet.
        longest_stall_us: The longest time for which a target's memory map was locked.
        staleness_us: How old the oldest value of a target is, now or at the end of the run.
        resting: How many targets are looked at less often than `max_staleness_us` asks for, as the
            budget allows no more.
        late: How many targets have values now that are older than `Context.late_after_us`, or none
            yet after an aggregation.
        callbacks: The callbacks by name.
    """

    samples: int = 0
    missed_samples: int = 0
    aggregations: int = 0
    updates: int = 0
    cpu_us: int = 0
    target_cpu_us: int = 0
    slowdown: float = 0.0
    longest_stall_us: int = 0
    staleness_us: int = 0
    resting: int = 0
    late: int = 0
    callbacks: dict[str, CallbackStats] = field(factory=dict)

    @property
    def callback_failures(self) -> int:
        """Failures of all callbacks together."""
        return sum(callback.failures for callback in self.callbacks.values())
