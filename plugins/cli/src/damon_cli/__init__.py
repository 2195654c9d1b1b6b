"""The ``damon`` command, and what commands of plugins need of it."""

from damon_cli.heat import (
    SHADES,
    block_lines,
    heat_colour,
    heat_key,
    shade_lines,
    shows_colours,
)
from damon_cli.params import DURATION, SIZE
from damon_cli.reading import reading_progress
from damon_cli.session import run_contexts, running_contexts
from damon_cli.watching import WatchOptions, watch_options
from damon_core.registry.discovery import Plugins

__all__ = [
    "DURATION",
    "SHADES",
    "SIZE",
    "Plugins",
    "WatchOptions",
    "block_lines",
    "heat_colour",
    "heat_key",
    "reading_progress",
    "run_contexts",
    "running_contexts",
    "shade_lines",
    "shows_colours",
    "watch_options",
]
