"""The options of the primitive `kdamond`, and of the backend `kernel` for processes."""

import re
from typing import Any, Literal

from attrs import Attribute, field, frozen

_WHICH = re.compile(r"all|[0-9]{1,9}|pid:[0-9]{1,9}|damon_[a-z_]+")


def _check_which(_instance: object, _attribute: "Attribute[Any]", value: int | str) -> None:
    if _WHICH.fullmatch(str(value)) is None:
        raise ValueError(
            "must be 'all', a number below kdamonds/, 'pid:PID' of the kernel's thread, or a "
            "module such as 'damon_stat'"
        )


@frozen
class KdamondOptions:
    """The options of `kdamond`."""

    which: int | str = field(
        default="all",
        validator=_check_which,
        metadata={
            "help": "which of the kdamonds that run: all, the number of a directory below "
            "kdamonds/, pid:PID, or a module of the kernel such as damon_stat"
        },
    )
    when_gone: Literal["end", "wait"] = field(
        default="end",
        metadata={"help": "when the last of them has ended, or none runs: end, or wait for others"},
    )


@frozen
class KernelOptions:
    """The options of `kernel` for processes."""

    checks: Literal["auto", "regions", "pages"] = field(
        default="auto",
        metadata={
            "help": "what the kernel checks: regions that it forms itself, or pages that the "
            "policy chooses; auto: pages where they are better and affordable"
        },
    )
