"""The package keeps the rules of its kind."""

from damon_core.testing.conformance import callback_rules

test_callback = callback_rules("prometheus", {"port": 0})
