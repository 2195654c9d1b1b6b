"""``damon record`` and ``damon convert``: the memory accesses of programs, in files."""
