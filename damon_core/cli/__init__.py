"""The ``damon`` command, and what commands of plugins need of it."""

from damon_core.cli.params import DURATION, SIZE
from damon_core.cli.session import run_contexts
from damon_core.cli.watching import WatchOptions, watch_options
from damon_core.plugins import Plugins

__all__ = ["DURATION", "SIZE", "Plugins", "WatchOptions", "run_contexts", "watch_options"]
