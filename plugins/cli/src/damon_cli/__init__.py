"""The ``damon`` command, and what commands of packages need of it.

Public are the modules `damon_cli.params` and `damon_cli.watching`, which declare commands and are
imported at once, and `damon_cli.building`, `damon_cli.session`, `damon_cli.reading` and
`damon_cli.heat`, which do their work; `damon_cli.main` is the command itself. Nothing is here:
`damon --help` imports this.
"""
