"""``damon report``: what a record tells, as tables, pictures and JSON."""
