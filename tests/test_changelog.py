"""Fragments of the changelog: their names, and what towncrier makes of them."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
TOWNCRIER = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["towncrier"]
KINDS = [kind["directory"] for kind in TOWNCRIER["type"]]
FRAGMENTS = sorted(
    path for path in (ROOT / TOWNCRIER["directory"]).iterdir() if path.name != "README.md"
)


def misnamed(names: list[str]) -> list[str]:
    """Return names of files that aren't those of fragments."""
    pattern = re.compile(rf"(\+[a-z0-9-]+|\d+)\.({'|'.join(KINDS)})\.md")
    return [name for name in names if not pattern.fullmatch(name)]


def test_a_misnamed_fragment_is_found() -> None:
    """The check fails on what it is for: towncrier leaves such files out, without a word."""
    names = ["+cut-csv.fixed.md", "12.added.md", "cut-csv.fixed.md", "+cut.mended.md", "+cut.fixed"]
    assert misnamed(names) == names[2:]


def test_fragments_are_named_as_towncrier_reads_them() -> None:
    """A name, a kind, Markdown."""
    assert misnamed([path.name for path in FRAGMENTS]) == []


def test_fragments_are_sentences() -> None:
    """Each ends like one, and is no item of a list: towncrier makes it one."""
    texts = {path.name: path.read_text() for path in FRAGMENTS}
    wrong = [name for name, text in texts.items() if not re.fullmatch(r"[^-\s].*\.\n", text, re.S)]
    assert wrong == []


def test_the_kinds_are_documented() -> None:
    """In the page beside the fragments."""
    text = (ROOT / TOWNCRIER["directory"] / "README.md").read_text()
    assert [kind for kind in KINDS if f"`{kind}`" not in text] == []


@pytest.mark.slow
def test_the_changelog_has_them_all() -> None:
    """As `make changelog` shows it."""
    towncrier = str(Path(sys.executable).with_name("towncrier"))
    command = [towncrier, "build", "--draft", "--version", "1.0"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    shown = " ".join(done.stdout.split())
    assert FRAGMENTS
    texts = {path.name: " ".join(path.read_text().split()) for path in FRAGMENTS}
    assert [name for name, text in texts.items() if f"- {text}" not in shown] == []
