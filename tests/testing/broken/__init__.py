"""Plugins that are broken on purpose, each by one mistake that its docstring says."""
