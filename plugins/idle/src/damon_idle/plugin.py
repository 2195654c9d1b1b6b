"""What damon-idle offers: the backend `idle`."""

from collections.abc import Callable, Sequence

from damon_core import Backend, Finding, hookimpl
from damon_idle.backend import Idle
from damon_idle.opening import probe_frames, probe_marks
from damon_idle.options import IdleOptions


def probe() -> Sequence[Finding]:
    """Tell whether this kernel and user have what the backend needs."""
    return (*probe_marks(), probe_frames())


@hookimpl
def register_backends(register: Callable[[Backend], None]) -> None:
    """Offer `idle`."""
    register(
        Backend(
            "idle",
            Idle,
            IdleOptions,
            "idle page tracking: page by page; root and CONFIG_IDLE_PAGE_TRACKING",
            probe=probe,
            serves=("vaddr", "cgroup", "paddr"),
            preference=10,
        )
    )
