"""The documentation site is built, has every page, and what is generated is complete."""

import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

import damon_core
from damon_core import COLUMNS, Plugins, hookspecs
from docs.sphinx.pages import Site, place_of
from docs.sphinx.reference import GENERATED
from tests.documentation.collecting import ROOT, SITE_PAGES


def test_every_page_is_in_the_index() -> None:
    """docs/index.md, of which the sidebar is made, links to all pages and packages."""
    index = (ROOT / "docs/index.md").read_text()
    links = {
        (ROOT / "docs" / target).resolve()
        for target in re.findall(r"^ *- \[[^\]]*\]\(([^)#]+)\)", index, re.MULTILINE)
    }
    pages = {*SITE_PAGES} - {ROOT / "README.md", ROOT / "docs/index.md"}
    assert pages - links == set()


@pytest.fixture(scope="module")
def generated() -> Mapping[str, str]:
    """Return what the code says of itself, by mark."""
    return {name: make() for name, make in GENERATED.items()}


def test_every_mark_is_generated(generated: Mapping[str, str]) -> None:
    """And everything generated is on a page."""
    marks = [
        mark
        for page in (ROOT / "docs").rglob("*.md")
        for mark in re.findall(r"<!-- generated: (\S+) -->", page.read_text())
    ]
    assert sorted(marks) == sorted(generated)


def test_reference_has_every_hook(generated: Mapping[str, str]) -> None:
    """In the order of the file."""
    hooks = [name for name, each in vars(hookspecs).items() if hasattr(each, "damon_spec")]
    assert re.findall(r"autofunction:: damon_core\.hookspecs\.(\w+)", generated["hooks"]) == hooks


def test_reference_has_every_public_name(generated: Mapping[str, str]) -> None:
    """Once."""
    found = re.findall(r"(?:auto\w+|py:data):: damon_core\.(\w+)$", generated["api"], re.MULTILINE)
    assert sorted([*found, "RegionPolicy"]) == sorted(damon_core.__all__)


def test_reference_has_the_options_of_every_part(generated: Mapping[str, str]) -> None:
    """Of all that is installed, with a text for each option."""
    for info in Plugins.discover().infos():
        for name in (*info.primitives, *info.backends, *info.policies, *info.callbacks):
            assert f"### `{name}`" in generated["options"], name
    assert re.findall(r"^\| `\w+` \|.*\|  \|$", generated["options"], re.MULTILINE) == []


def test_reference_has_every_column(generated: Mapping[str, str]) -> None:
    """Of records; some are called differently in Parquet, which is said beside the name."""
    assert re.findall(r"^\| `(\w+)`", generated["columns"], re.MULTILINE) == list(COLUMNS)


def test_links_lead_to_places_of_the_site(tmp_path: Path) -> None:
    """To pages, to pages that show files, and not within code."""
    (tmp_path / "docs").mkdir()
    (tmp_path / "plugins/a").mkdir(parents=True)
    (tmp_path / "x.py").write_text("print()\n")
    (tmp_path / "plugins/a/README.md").write_text("# A\n\n[x](../../x.py) `[x](y)`\n")
    (tmp_path / "docs/index.md").write_text(
        "# I\n\n## S\n\n- [a](../plugins/a/README.md): x\n\n"
        "[b](../plugins/a/README.md#a)\n\n```\n[x](y)\n```\n"
    )
    files = frozenset(("docs/index.md", "plugins/a/README.md", "x.py"))
    target = tmp_path / "site"
    Site(tmp_path, files, target, {}).fill()
    assert (target / "packages/a.md").read_text() == "# A\n\n[x](../files/x.py.md) `[x](y)`\n"
    index = (target / "index.md").read_text()
    assert "- [a](packages/a.md): x\n\n[b](packages/a.md#a)" in index
    assert "```\n[x](y)\n```" in index
    assert ":caption: S\n\n/packages/a\n```" in index
    assert "```python\nprint()\n```" in (target / "files/x.py.md").read_text()


def test_link_to_what_is_not_there_is_an_error(tmp_path: Path) -> None:
    """Rather than a link that leads nowhere."""
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs/index.md").write_text("# I\n\n[a](missing.md)\n")
    site = Site(tmp_path, frozenset(("docs/index.md",)), tmp_path / "site", {})
    with pytest.raises(ValueError, match=r"docs/index\.md links to missing\.md"):
        site.fill()


@pytest.mark.slow
def test_site_is_built_without_warnings() -> None:
    """As `make docs` does, with a page for every one of ours."""
    built = subprocess.run(
        [sys.executable, "-m", "docs.sphinx"],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert built.returncode == 0, built.stderr
    for page in SITE_PAGES:
        place = place_of(str(page.relative_to(ROOT)))
        assert (ROOT / f"build/site/html/{place}.html").is_file(), page
