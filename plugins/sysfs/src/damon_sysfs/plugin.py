"""What damon-sysfs offers: the backend `kernel`."""

from collections.abc import Callable

from damon_core import Backend, hookimpl
from damon_sysfs.backend import Kernel
from damon_sysfs.features import probe


@hookimpl
def register_backends(register: Callable[[Backend], None]) -> None:
    """Offer `kernel`."""
    register(
        Backend(
            "kernel",
            Kernel,
            summary="the kernel's own DAMON samples; root and CONFIG_DAMON_SYSFS",
            probe=probe,
            serves=("vaddr", "cgroup", "paddr"),
            preference=20,
        )
    )
