"""What the accesses of a record are called: some backends see writes alone."""

from attrs import frozen

from damon_core import RecordInfo

#: Backends that see writes alone: what of memory was accessed is what was written.
_SEE_WRITES = ("written",)


def sees_writes(backend: str) -> bool:
    """Return whether a backend sees writes alone."""
    return backend in _SEE_WRITES


@frozen
class Words:
    """What texts and pictures say of accesses.

    Attributes:
        working_set: Memory that was accessed in an aggregation.
        working_sets: The same, of several.
        accessed: What became of it.
        access: What a check finds.
        idle: Memory that wasn't accessed.
    """

    working_set: str = "working set"
    working_sets: str = "working sets"
    accessed: str = "accessed"
    access: str = "an access"
    idle: str = "idle"

    @classmethod
    def of(cls, info: RecordInfo) -> "Words":
        """Return those of a record: of writes if nothing else is in it."""
        if info.contexts and all(sees_writes(each.backend) for each in info.contexts):
            return cls("written", "written memory", "written", "a write", "not written")
        return cls()


def capitalized(text: str) -> str:
    """Return a text that begins with a capital letter."""
    return text[:1].upper() + text[1:]
