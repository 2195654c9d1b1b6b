"""The package's own commands keep the rules of commands."""

from damon_cli.testing import command_rules

test_check = command_rules("check")
test_doctor = command_rules("doctor")
test_plugin = command_rules("plugin")
test_plugin_check = command_rules("plugin check")
test_plugins = command_rules("plugins")
test_run = command_rules("run")
