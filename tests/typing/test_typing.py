"""A package of a third party is checked by mypy and pyright, both strictly, as its author would.

`thirdparty/damon_racks` uses something of each kind that packages may use; `assert_type` says what
it gets, and in `mistakes.py` each line has to be refused: a comment that isn't needed is an error.
"""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]


@pytest.fixture
def package(tmp_path: Path) -> Path:
    """Return a folder with the package, where no configuration of this repository counts."""
    shutil.copytree(Path(__file__).with_name("thirdparty"), tmp_path, dirs_exist_ok=True)
    return tmp_path


def check(folder: Path, program: str, *arguments: str | Path) -> None:
    """Run a type checker, which has to find nothing."""
    command = [sys.executable, "-m", program, *map(str, arguments), "damon_racks"]
    found = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert found.returncode == 0, found.stdout + found.stderr


def test_mypy_finds_nothing(package: Path) -> None:
    """With --strict."""
    check(package, "mypy", "--strict", "--cache-dir", ROOT / ".mypy_cache")


def test_pyright_finds_nothing(package: Path) -> None:
    """In its mode "strict"; basedpyright is pyright as a wheel, which needs no network to run."""
    settings = {
        "typeCheckingMode": "strict",
        "enableTypeIgnoreComments": True,
        "reportUnnecessaryTypeIgnoreComment": "error",
        "failOnWarnings": False,
    }
    (package / "pyrightconfig.json").write_text(json.dumps(settings))
    check(package, "basedpyright", "--pythonpath", sys.executable)
