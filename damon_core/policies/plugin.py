"""The core's own plugin: its policies are registered like those of any other package."""

from collections.abc import Callable

from damon_core.contract.registration import Policy
from damon_core.hookspecs import hookimpl
from damon_core.policies.evidence import EvidencePolicy, EvidencePolicyOptions
from damon_core.policies.kernel import KernelPolicy, KernelPolicyOptions


@hookimpl
def register_policies(register: Callable[[Policy], None]) -> None:
    """Register ``evidence`` and ``kernel``."""
    register(
        Policy(
            "evidence",
            EvidencePolicy,
            EvidencePolicyOptions,
            "Regions from recent and past checks (default)",
        )
    )
    register(
        Policy(
            "kernel",
            KernelPolicy,
            KernelPolicyOptions,
            "Region adjustment of Linux 6.12's DAMON",
        )
    )
