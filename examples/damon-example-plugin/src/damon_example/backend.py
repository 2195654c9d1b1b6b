"""The backend: it sees accesses where the package's primitive asks for them."""

import random
from collections.abc import Sequence

from attrs import field, frozen
from damon_core import Finding, validators


@frozen
class ExampleBackendOptions:
    """The backend's options: `backend = { use = "example", seed = 1 }`."""

    seed: int = field(
        default=0,
        validator=validators.at_least(0),
        metadata={"help": "the same seed gives the same accesses"},
    )


class ExampleBackend:
    """A random region is accessed: a `Watch`, as the primitive has agreed with its backends."""

    name = "example"

    def __init__(self, options: ExampleBackendOptions) -> None:
        self._random = random.Random(options.seed)

    def accessed(self, number: int, count: int) -> int:
        """Return which of `count` regions was accessed before the check of this number."""
        return self._random.randrange(count)


def probe() -> Sequence[Finding]:
    """Say what the backend needs of the machine, and whether it is there: for `damon doctor`.

    With "auto", a backend is taken only if everything that is required works.
    """
    return (Finding("random numbers", True),)
