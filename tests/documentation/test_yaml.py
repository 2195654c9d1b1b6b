"""YAML of the documentation is what Prometheus takes."""

import subprocess
from pathlib import Path

import pytest

from tests.documentation.collecting import PAGES, Block, blocks

TRIED = [
    block for page in PAGES for block in blocks(page) if block.language == "yaml" and block.runs
]


@pytest.mark.needs("promtool")
@pytest.mark.parametrize("block", TRIED, ids=str)
def test_prometheus_takes_it(block: Block, tmp_path: Path) -> None:
    """As its configuration."""
    path = tmp_path / "prometheus.yml"
    path.write_text(block.text)
    command = ["promtool", "check", "config", "--syntax-only", str(path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
