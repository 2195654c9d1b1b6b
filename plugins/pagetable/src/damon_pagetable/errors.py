"""Why page tables can't be read here: one error for each kind of obstacle."""

from damon_core import DamonError


class ObstacleError(DamonError):
    """Something of this machine prevents page tables from being read.

    Attributes:
        message: What, and what to do, in one line.
    """


class LayoutError(ObstacleError):
    """The kernel doesn't describe its structures, or they aren't as expected."""


class BpfError(ObstacleError):
    """The kernel refuses a call of bpf(2).

    Attributes:
        errno: Why; a number of the module errno.
    """

    def __init__(self, message: str, errno: int) -> None:
        super().__init__(message)
        self.errno = errno


class VerifierError(BpfError):
    """The kernel's verifier rejects a program.

    Attributes:
        log: What the verifier reports, many lines.
    """

    def __init__(self, message: str, errno: int, log: str) -> None:
        super().__init__(message, errno)
        self.log = log
