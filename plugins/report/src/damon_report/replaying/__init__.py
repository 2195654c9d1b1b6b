"""``damon replay``: a program that accesses memory as a record says, and how well it does."""
