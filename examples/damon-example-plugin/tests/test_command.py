"""The command, on a process."""

import os
import re

from click.testing import CliRunner
from damon_cli.main import main


def test_each_aggregation_is_a_line() -> None:
    """Of this process, which is there and busy."""
    words = ["example", "--pid", str(os.getpid()), "--for", "2s"]
    result = CliRunner().invoke(main, words)
    assert result.exit_code == 0, result.output
    assert re.fullmatch(r"(\d+: [\d.]+ [KMGT]?i?B\n)+", result.stdout)


def test_nothing_to_watch_is_a_mistake_of_the_user() -> None:
    """With exit code 2."""
    result = CliRunner().invoke(main, ["example"])
    assert result.exit_code == 2
    assert "give exactly one of --pid" in result.output
