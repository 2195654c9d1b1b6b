"""Builds the site: ``python -m docs.sphinx``, which ``make docs`` calls.

Pages are put together in build/site/pages, and the site is made in build/site/html. Warnings are
errors, and no network is needed.
"""

import subprocess
import sys
from pathlib import Path

from docs.sphinx import reference
from docs.sphinx.pages import Site

ROOT = Path(__file__).parents[2]


def main() -> int:
    """Build the site and return the exit code."""
    target = ROOT / "build/site"
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT, capture_output=True, text=True, check=True,
    )  # fmt: skip
    files = frozenset(each for each in listed.stdout.splitlines() if (ROOT / each).is_file())
    Site(ROOT, files, target / "pages", reference.GENERATED).fill()
    command = [
        *(sys.executable, "-m", "sphinx", "--builder", "html", "--fail-on-warning", "--keep-going"),
        *("--quiet", "--jobs", "auto", "--conf-dir", str(ROOT / "docs/sphinx")),
        *("--doctree-dir", str(target / "doctrees"), str(target / "pages"), str(target / "html")),
    ]
    code = subprocess.run(command, cwd=ROOT, check=False).returncode
    if code == 0:
        sys.stdout.write(f"{target / 'html/index.html'} is built\n")
    return code


if __name__ == "__main__":
    sys.exit(main())
