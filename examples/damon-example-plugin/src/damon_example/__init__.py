"""An example of a package of plugins for damon-core."""

from damon_example.tally import Tally, TallyOptions
from damon_example.tick import Tick, TickOptions

__all__ = ["Tally", "TallyOptions", "Tick", "TickOptions"]
