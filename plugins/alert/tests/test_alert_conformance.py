"""The package keeps the rules of its kind."""

from damon_core.testing.conformance import callback_rules

RULE = {"name": "large", "when": "working_set", "above": "1MiB"}

test_callback = callback_rules("alert", {"rule": [RULE]})
