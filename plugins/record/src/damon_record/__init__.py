"""``damon record`` and ``damon compact``: the memory accesses of programs, in files."""
