"""The package keeps the rules of its kinds."""

from damon_core.testing.conformance import callback_rules, format_rules

test_callback = callback_rules("parquet", {"path": "{tmp}/record.parquet"})
test_format = format_rules("parquet")
