"""``damon report``: analyses of a record, as tables, pictures and JSON."""
