"""A package of a third party, as type checkers see it: `tests.typing.test_typing` has it checked.

It uses something of each kind that a package may use, and nothing is run.
"""
