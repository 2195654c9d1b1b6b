"""The package keeps the rules of its kinds: there is a test of each rule."""

from damon_cli.testing import command_rules
from damon_core.testing.conformance import (
    backend_rules,
    callback_rules,
    primitive_rules,
)

# In options {tmp} is an empty directory, another one for each object.
test_callback = callback_rules("example", {"path": "{tmp}/rows.txt"})
test_primitive = primitive_rules("example")
test_backend = backend_rules("example", "example")
test_command = command_rules("example")
