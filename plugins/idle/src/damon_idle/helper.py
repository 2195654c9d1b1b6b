"""The helper: checks in compiled code, by a package that offers them.

Such a package has one entry point in the group `damon_idle.helper`. It is called `v1`, the version
of what is said here, and is a function

    mark(bitmap, flags, pages)

that does what `damon_idle.checking.PythonCheck` does: it marks pages and returns a `Check`.
`bitmap` and `flags` are descriptors of the kernel's files, and `pages` has a pair for each process:
the descriptor of its pagemap, and its ascending addresses, a column of 64-bit integers. Descriptors
stay open until the check was looked at. If the kernel hides page frames, it raises PermissionError.
"""

import functools
from collections.abc import Callable, Sequence
from importlib.metadata import EntryPoint, entry_points
from typing import cast

from attrs import frozen

from damon_core import Finding, one_line
from damon_idle.checking import Check, Pages
from damon_idle.marking import Marking
from damon_idle.opening import frames_hidden
from damon_idle.words import IntColumn

GROUP = "damon_idle.helper"
VERSION = "v1"

Mark = Callable[[int, int, Sequence[tuple[int, IntColumn]]], Check]


@frozen
class Helper:
    """The installed helper.

    Attributes:
        package: Its distribution and version; empty if none is installed.
        mark: Its function; None if none is installed, or it can't be used.
        problem: Why it can't be used; empty if it can.
    """

    package: str = ""
    mark: Mark | None = None
    problem: str = ""

    def mark_pages(self, marking: Marking, pages: Pages) -> Check:
        """Mark pages, and return what looks at them.

        Raises:
            PluginError: The kernel hides page frames from this program.
        """
        assert self.mark is not None
        try:
            return self.mark(
                marking.bitmap.descriptor,
                marking.frames.descriptor,
                [(each.descriptor, addresses) for each, addresses in pages],
            )
        except PermissionError as error:
            raise frames_hidden() from error


@functools.cache
def find_helper() -> Helper:
    """Import the helper that is installed, if there is one.

    It is looked for once: that takes some 20 ms, and each backend of a deployment needs it.
    """
    found = list(entry_points(group=GROUP))
    package = " and ".join(sorted(map(_package, found)))
    if not found:
        return Helper()
    if len(found) > 1:
        return Helper(package, None, "are both installed: uninstall all but one")
    if found[0].name != VERSION:
        return Helper(package, None, "is for another version of damon-idle: upgrade both")
    try:
        mark = found[0].load()
    except (Exception, SystemExit) as error:
        return Helper(package, None, f"can't be imported: {one_line(error)}")
    if not callable(mark):
        return Helper(package, None, f"has no function {found[0].value}")
    return Helper(package, cast(Mark, mark))


def probe_helper() -> Finding:
    """Report what checks pages: the helper, or Python."""
    helper = find_helper()
    if helper.problem:
        detail = f"{helper.package} {helper.problem}; pages are checked in Python"
        return Finding("compiled checks", False, detail, required=False)
    if helper.mark is None:
        return Finding(
            "checks in Python", True, "compiled ones take less CPU time: damon-idle[native]"
        )
    return Finding("compiled checks", True, helper.package)


def _package(entry_point: EntryPoint) -> str:
    distribution = entry_point.dist
    return f"{distribution.name} {distribution.version}" if distribution else entry_point.value
