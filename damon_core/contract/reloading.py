"""Reading the configuration again: what parts may ask of the program that runs their context."""

from collections.abc import Iterable
from typing import Protocol

from damon_core.contract.measures import Measure


class Reloader(Protocol):
    """Has the configuration read again, as SIGHUP does."""

    def reload(self, patience_s: float) -> str:
        """Have the configuration read again, and wait until that has happened.

        Contexts may end thereby. May be called from any thread but a context's worker and that
        which runs the deployment.

        Args:
            patience_s: How long to wait, in seconds.

        Returns:
            What is wrong with the configuration; empty if it is in force.

        Raises:
            TimeoutError: It hasn't happened yet.
        """

    def measures(self, context: object) -> Iterable[Measure]:
        """Return whether and when the configuration was read, as a part does."""
