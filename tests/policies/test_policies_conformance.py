"""The policies of the core keep the rules of policies."""

from damon_core.testing.conformance import policy_rules

test_evidence = policy_rules("evidence")
test_kernel = policy_rules("kernel")
