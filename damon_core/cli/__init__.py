"""The ``damon`` command, and what commands of plugins need of it."""

from damon_core.cli.params import DURATION, SIZE
from damon_core.cli.session import run_contexts
from damon_core.plugins import Plugins

__all__ = ["DURATION", "SIZE", "Plugins", "run_contexts"]
