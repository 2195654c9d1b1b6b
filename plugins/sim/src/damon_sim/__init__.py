"""A simulated address space, accessed by a known pattern."""

from damon_sim.memory import SimulatedMemory
from damon_sim.options import SimOptions, load_function
from damon_sim.patterns import (
    Area,
    Moving,
    Pattern,
    PiecewisePattern,
    RandomPages,
    Stairs,
    Uniform,
    Zigzag,
    Zone,
    Zones,
)

__all__ = [
    "Area",
    "Moving",
    "Pattern",
    "PiecewisePattern",
    "RandomPages",
    "SimOptions",
    "SimulatedMemory",
    "Stairs",
    "Uniform",
    "Zigzag",
    "Zone",
    "Zones",
    "load_function",
]
