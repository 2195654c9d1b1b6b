"""The package keeps the rules of its kind."""

from damon_core.testing.conformance import primitive_rules

test_primitive = primitive_rules("sim", {"size": "1MiB", "uniform": {"rate": 0.5}})
