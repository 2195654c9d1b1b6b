"""Half an hour of what happens to an operator: `python -m tests.soak`."""
