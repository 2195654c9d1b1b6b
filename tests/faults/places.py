"""Where faults can be: the hooks of parts that the registry knows, the methods of backends, …"""

from attrs import frozen

#: What a fault does in the place: it raises, exits as by `sys.exit(0)`, never comes back, is slow.
FAULTS = ("raise", "exit", "hang", "slow")


@frozen
class Place:
    """A place for a fault.

    Attributes:
        kind: ``primitive``, ``backend``, ``policy``, ``callback``, ``format`` or ``package``.
        part: The name of the part in the registry; of a backend ``PRIMITIVE.BACKEND``.
        hook: The hook or method; ``factory`` for the making of the part.
    """

    kind: str
    part: str
    hook: str

    def __str__(self) -> str:
        return f"{self.kind} {self.part}: {self.hook}"


@frozen
class Reached:
    """A place that a run without faults has reached.

    Attributes:
        place: The place.
        calls: How often.
        in_loop: Whether it was called after the first aggregations and before the end.
        at_end: Whether it was called only once the program was to stop.
    """

    place: Place
    calls: int
    in_loop: bool
    at_end: bool
