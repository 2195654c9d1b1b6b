"""Names in the prose of the documentation are names in the code."""

import re
from functools import cache
from pathlib import Path

import pytest
from damon_prometheus.families import FAMILIES

from tests.documentation.collecting import PAGES, ROOT, blocks, inline_codes

#: Where names may come from.
SOURCES = (
    "damon_core", "pytest_damon", "plugins", "benchmarks", "tests", "deploy", "examples",
    "Makefile", "pyproject.toml", ".ci/run", "conftest.py", "docs/sphinx",
)  # fmt: skip
#: Names of others, which no code of ours has.
FOREIGN = frozenset(
    {
        # Shells and what reads their output
        "bash_source", "fish_source", "zsh_source", "perf_data", "perf_script",
        # systemd, Thrift, Prometheus and its clients
        "ReadWritePaths", "IPAddressAllow", "FileMetaData", "--enable-feature",
        "promote_resource_attributes", "process_cpu_seconds_total", "process_open_fds",
        # pytest, towncrier, uv
        "--junitxml", "--content", "--all-packages", "--no-install-package",
        # The kernel's DAMON
        "core_filters", "damon_region_aggregated", "refresh_ms",
        # Docker and Grafana
        "--build-arg", "--cap-add", "--user", "grafana_dashboard",
        # Examples
        "minio", "damon_letters_total", "damon_print", "what_is_needed",
    }
)  # fmt: skip
#: Pages about the programs of others, with their names in all columns but the last.
PEERS = ("damo.md", "memtierd.md", "wss.md", "cadvisor.md")

_IDENTIFIER = re.compile(r"[A-Za-z_]\w*")
#: What looks like a name of a program's text: several words in one, or parts with dots, or a call.
_NAME = re.compile(
    r"(?<![\w-])(?:--[a-z][\w-]+"
    r"|[a-z]\w*_\w+(?:\.\w+)*"
    r"|_?[A-Z][a-z]+(?:[A-Z]\w*)+(?:\.\w+)*"
    r"|[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)+"
    r"|[A-Za-z_][\w.]*(?=\())"
)


@cache
def words() -> frozenset[str]:
    """Return every word of the code."""
    found = {family.name for family in FAMILIES}
    for source in SOURCES:
        path = ROOT / source
        files = [path] if path.is_file() else path.rglob("*")
        for file in files:
            if file.suffix in (".pyc", ".png", ".md", ".parquet") or not file.is_file():
                continue
            if ".egg-info" in str(file) or "__pycache__" in str(file):
                continue
            found.add(file.stem)
            text = file.read_text(errors="replace")
            found |= set(re.findall(r"--[a-z][\w-]+", text))
            found |= set(_IDENTIFIER.findall(text))
    return frozenset(found)


def unknown(code: str) -> list[str]:
    """Return the names in a piece of code that no code of ours has."""
    found = []
    for match in _NAME.finditer(code):
        name = match[0]
        parts = [name] if name.startswith("--") else _IDENTIFIER.findall(name)
        found += [part for part in parts if not is_known(part)]
    return found


def is_known(name: str) -> bool:
    """Return whether a name is one of the code, or of a metric that a part has of itself."""
    if name.startswith("test_"):
        return True  # as pytest selects tests: test_docs.py finds them
    measure = name.removeprefix("damon_").removesuffix("_total")
    return name in words() or name in FOREIGN or (measure != name and measure in words())


def prose(page: Path) -> list[str]:
    """Return what stands between backticks on a page, of tables about others the last column."""
    if page.name not in PEERS:
        return list(inline_codes(page))
    lines = [line for line in page.read_text().splitlines() if line.startswith("|")]
    return [code for line in lines for code in re.findall(r"`([^`]+)`", line.split("|")[-2])]


@pytest.mark.checkout
@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_names_are_in_the_code(page: Path) -> None:
    """Whatever looks like a name of a function, an option, a metric or a column."""
    # A page may speak of its own example.
    own = {word for block in blocks(page) for word in _IDENTIFIER.findall(block.text)}
    assert {name for code in prose(page) for name in unknown(code)} - own == set()
