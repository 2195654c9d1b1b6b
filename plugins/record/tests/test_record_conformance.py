"""The package keeps the rules of commands."""

from damon_cli.testing import command_rules

test_record = command_rules("record")
