"""``damon top``: live view in the terminal of the memory accesses of processes or a machine."""
