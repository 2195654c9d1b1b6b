"""The ways to group bytes in reports."""

from typing import TypeAlias

#: A way to group bytes: one of `GROUPS`, or labels of targets, separated by commas.
By: TypeAlias = str
#: The ways that every record knows. A program is all targets that differ only in their pid.
GROUPS = ("context", "target", "program", "mapping")
