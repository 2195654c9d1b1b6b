"""The package keeps the rules of commands."""

from damon_cli.testing import command_rules

test_command = command_rules("report")
test_convert = command_rules("convert")
test_replay = command_rules("replay")
