"""``damon convert``: parts of records, joined, shortened and written in another format."""
