"""Fuzzing of each kind of input, in the same process: ``python -m tests.fuzz --help``."""
