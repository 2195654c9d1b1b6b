"""How often to look: what looking costs stays a share of one processor, kept by measuring."""

from attrs import define, field

_SMOOTHING = 0.125
#: An interval shrinks only when it could be this much shorter, so that it doesn't flap.
_SHRINK_BELOW = 0.5
_STEPS = (10, 12, 15, 20, 25, 30, 40, 50, 60, 80)


@define
class Budget:
    """Tells, from measured costs, how often checks and updates may be made.

    Checks cost what `checked` says and updates what `updated` says. The interval that keeps
    both within the share is ``check / (share - update / update interval)``; updates are put
    off so that they never take more than half of the share. Costs of checks are smoothed, and
    what was spent too much while the smoothed cost was too low is caught up: over a run no more
    is spent than the share plus one check.

    Args:
        share: The greatest share of one processor, 0.0 to 1.0.
        started_us: When the run began.
    """

    share: float
    started_us: int
    _spent_us: float = field(default=0.0, init=False)
    _check_us: float | None = field(default=None, init=False)
    _update_us: float = field(default=0.0, init=False)
    _updated_us: int = field(init=False)
    _interval_us: int = field(default=0, init=False)

    def __attrs_post_init__(self) -> None:
        self._updated_us = self.started_us

    def checked(self, cost_us: float) -> None:
        """Account for one check, from preparing it to its end."""
        self._spent_us += cost_us
        if self._check_us is None:
            self._check_us = cost_us
        else:
            self._check_us += _SMOOTHING * (cost_us - self._check_us)

    def updated(self, cost_us: float, now_us: int) -> None:
        """Account for one update."""
        self._spent_us += cost_us
        self._update_us = cost_us
        self._updated_us = now_us

    def update_due(self, now_us: int) -> bool:
        """Tell whether an update may be made now."""
        return (now_us - self._updated_us) * self.share / 2 >= self._update_us

    def sampling_us(self, now_us: int, update_interval_us: int) -> int:
        """Return the shortest sampling interval that the budget allows, in round steps."""
        check_us = self._check_us or 0.0
        debt_us = self._spent_us - self.share * (now_us - self.started_us)
        for_updates = min(self._update_us / update_interval_us, self.share / 2)
        wanted_us = max(check_us / (self.share - for_updates), debt_us / self.share)
        if wanted_us > self._interval_us or wanted_us < _SHRINK_BELOW * self._interval_us:
            self._interval_us = _round_up(wanted_us)
        return self._interval_us


def _round_up(us: float) -> int:
    """Return the next number of microseconds that is easy to read, at most a quarter above."""
    power = 1
    while us > _STEPS[-1] * power:
        power *= 10
    return next((step * power for step in _STEPS if step * power >= us), 100 * power)
