"""Contexts whose cost has no limits: what is measured isn't stretched to keep within them."""

from collections.abc import Sequence
from typing import Any

from damon_core import Context, start


def unlimited(primitive: object, callbacks: Sequence[object], **options: Any) -> Context:
    """Return a context that isn't started.

    Args:
        primitive: The primitive.
        callbacks: The callbacks.
        options: What else `Context` takes.
    """
    return Context(
        primitive, callbacks, cpu_budget=None, max_slowdown=None, max_stall_us=None, **options
    )


def run_for(context: Context, seconds: float) -> None:
    """Start a context, and wait for a time or until it has ended; it goes on then.

    Raises:
        BaseException: What it failed with.
    """
    start(context)
    context.wait(seconds)
    if context.error is not None:
        raise context.error
