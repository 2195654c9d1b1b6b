"""The primitive, on virtual time: hours of monitoring take milliseconds."""

from damon_core import Bytes
from damon_core.testing import run_virtual

from damon_example.primitive import (
    ExamplePrimitive,
    ExamplePrimitiveOptions,
)


class InTurn:
    """A backend for tests: it sees one region after the other."""

    def accessed(self, number: int, count: int) -> int:
        """Return which region was accessed."""
        return number % count


def primitive() -> ExamplePrimitive:
    """Return the primitive over 1 MiB."""
    options = ExamplePrimitiveOptions(size=Bytes(1 << 20))
    return ExamplePrimitive(options, InTurn())


def test_the_whole_address_space_is_covered() -> None:
    """By regions of the one target."""
    snapshot = run_virtual(primitive(), aggregations=1).snapshot
    assert snapshot is not None
    assert [target.name for target in snapshot.targets] == ["example"]
    assert int(snapshot.size_bytes.sum()) == 1 << 20


def test_regions_are_accessed_in_turn() -> None:
    """In 20 checks each of 10 regions is accessed twice."""
    snapshot = run_virtual(primitive(), aggregations=1).snapshot
    assert snapshot is not None
    assert snapshot.nr_accesses.tolist() == [2.0] * 10
