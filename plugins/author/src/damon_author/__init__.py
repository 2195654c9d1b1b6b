"""For authors of plugins: the command ``damon plugin new``, and the template of a package."""
