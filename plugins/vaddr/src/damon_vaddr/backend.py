"""How accesses are seen: what a backend of the process primitives has to do, and its choice.

A package adds a backend of its own by registering it for the primitives by name::

    @hookimpl
    def register_backends(register):
        register(
            Backend(
                "mine", MyBackend, serves=("vaddr", "cgroup"), preference=5, probe=what_is_missing
            )
        )

Its factory is called as ``factory(BackendOptions(...))`` and returns a `ProcessBackend`.
"""

import logging
from collections.abc import Collection, Mapping, Sequence
from typing import Literal, Protocol, cast

from attrs import define, field, frozen

from damon_core import Backend, Finding, PluginError, Target
from damon_vaddr.processes import Process

logger = logging.getLogger(__name__)

#: The name that stands for the automatic choice.
AUTO = "auto"


@frozen
class BackendOptions:
    """What a backend is told when it is made.

    Attributes:
        max_share: The greatest share of one processor that looking may cost. The primitive
            measures it and lengthens the sampling interval; a backend can heed it beyond that.
    """

    max_share: float = 0.02


@define(eq=False)
class ProcessTarget(Target):
    """A process's address space as a monitoring target.

    Attributes:
        process: The process.
        made_from: What its regions were last made from: `/proc/PID/maps`, and how many regions
            it could have.
    """

    process: Process = field(kw_only=True)
    made_from: tuple[bytes, int] = field(default=(b"", 0), kw_only=True, repr=False)


class ProcessBackend(Protocol):
    """A way to see which memory of processes was accessed. Only the worker calls it."""

    @property
    def layout(self) -> Literal["mappings", "ranges"]:
        """What the regions of targets are, and so how the backend is asked.

        ``"mappings"``: one region a mapping, several joined where there are more than the
        limits allow. The backend looks at whole regions and adds to their `nr_accesses`.

        ``"ranges"``: pieces of the three ranges around the two biggest gaps, which needn't be
        mapped all over. They are adaptive: the context's policy splits and merges them, and
        chooses the pages in `target.samples` that the backend looks at.
        """

    def add(self, target: ProcessTarget) -> None:
        """Get ready for a target; its regions are there.

        Raises:
            ProcessLookupError: The process has ended.
            PermissionError: The process may not be read by this user.
            OSError: Something else is in the way, such as too many open files.
        """

    def prepare(self, targets: Sequence[ProcessTarget]) -> Collection[ProcessTarget]:
        """Make the next check possible: of all memory, or of the pages at `samples.addresses`.

        Returns:
            The targets whose memory is gone: the process has ended or executes another program.
            A process may go at any moment, so this is no error. They will be forgotten.
        """

    def check(self, targets: Sequence[ProcessTarget]) -> Collection[ProcessTarget]:
        """Tell what was accessed since `prepare`.

        ``"mappings"``: add to nr_accesses, at most 1 to each region. May set `resident_bytes`.

        ``"ranges"``: set `samples.accessed`, and `samples.known` to False for pages that it
        can't tell of. A page that isn't mapped is known: it wasn't accessed. Every target has
        the samples that it was prepared with.

        Returns as `prepare` does.
        """

    def forget(self, target: ProcessTarget) -> None:
        """Release what is held for a target; one that wasn't added is no error."""

    def close(self) -> None:
        """Release everything; more targets may be added later."""


def choose_backend(
    primitive: str, name: str, backends: Mapping[str, Backend], options: BackendOptions
) -> ProcessBackend:
    """Make the backend of a name, or with "auto" the preferred one that works here.

    Args:
        primitive: The primitive that it is for, to name in errors.
        name: The backend's name, or "auto".
        backends: Those registered for the primitive, the preferred first.
        options: What the backend is told.

    Raises:
        PluginError: There is no such backend, it doesn't work here, or none does.
    """
    if name != AUTO:
        if name not in backends:
            known = ", ".join([AUTO, *backends])
            raise PluginError(primitive, f"there is no backend '{name}': use one of {known}")
        missing = _missing(backends[name])
        if missing:
            others = [other for other in backends if not _missing(backends[other])]
            hint = f"; what works here: {', '.join(others)}" if others else ""
            raise PluginError(primitive, f"backend '{name}' doesn't work here: {missing}{hint}")
        return _make(backends[name], options)
    reasons = []
    for candidate in backends.values():
        missing = _missing(candidate)
        if not missing:
            logger.info("backend '%s' chosen for '%s'", candidate.name, primitive)
            return _make(candidate, options)
        reasons.append(f"{candidate.name}: {missing}")
    raise PluginError(primitive, f"no backend works here: {'; '.join(reasons) or 'none is known'}")


def _make(backend: Backend, options: BackendOptions) -> ProcessBackend:
    return cast(ProcessBackend, backend.factory(options))


def _missing(backend: Backend) -> str:
    """Return what a backend lacks on this machine, empty if nothing."""
    try:
        findings: Sequence[Finding] = backend.probe()
    except Exception as error:  # Whoever wrote it, others' backends must stay usable.
        logger.warning("backend '%s': its probe failed", backend.name, exc_info=error)
        return f"its probe failed: {type(error).__name__}: {error}"
    return "; ".join(
        f"{finding.name} ({finding.detail})" if finding.detail else finding.name
        for finding in findings
        if finding.required and not finding.works
    )
