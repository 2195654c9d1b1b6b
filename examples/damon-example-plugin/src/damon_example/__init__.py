"""Plugins for damon-core."""
