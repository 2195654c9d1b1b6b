"""Print what the changelog says of this version: the notes of a release on a forge.

It needs nothing but Python.
"""

import re
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def notes(changelog: str, version: str) -> str | None:
    """Return the text below a version's heading, or None where there is none."""
    found = re.search(
        rf"^## {re.escape(version)} [^\n]*\n(.*?)(?=^## |\Z)", changelog, re.MULTILINE | re.DOTALL
    )
    return found[1].strip() or None if found else None


def main() -> None:
    """Print the notes, or say how they are made."""
    version = (ROOT / "VERSION").read_text().strip()
    found = notes((ROOT / "CHANGELOG.md").read_text(), version)
    if found is None:
        sys.exit(f'CHANGELOG.md has nothing about {version}: towncrier build --version "{version}"')
    sys.stdout.write(f"{found}\n")


if __name__ == "__main__":
    main()
