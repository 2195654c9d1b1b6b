"""A release, tried: `python -m tests.release` builds, checks, installs and tests all packages.

`make release-check` runs it. What is published is what it leaves with `--dist`.
"""
