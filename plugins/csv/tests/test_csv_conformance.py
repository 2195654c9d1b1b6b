"""The package keeps the rules of its kinds."""

from damon_core.testing.conformance import callback_rules, format_rules

test_callback = callback_rules("csv", {"path": "{tmp}/rows.csv"})
test_format = format_rules("csv")
