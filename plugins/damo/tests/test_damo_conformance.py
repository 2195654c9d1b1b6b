"""The package keeps the rules of its kind."""

from damon_core.testing.conformance import format_rules

test_format = format_rules("damo")
