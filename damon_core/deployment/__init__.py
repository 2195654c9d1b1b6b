"""A deployment as a configuration describes it, and the contexts made of it."""
