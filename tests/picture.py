"""The picture of the architecture in CONTRIBUTING.md: `python -m tests.picture` draws it anew.

It is made of what import-linter checks, so that it shows what is so; a test compares them.
"""

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "CONTRIBUTING.md"
_BLOCK = re.compile(r"(<!-- picture[^\n]*-->\n).*?(<!-- end of picture -->)", re.DOTALL)


def _layers(container: str | None) -> list[list[str]]:
    """Return the layers of a contract, from the top: those of a package, or of all packages."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    contracts = project["tool"]["importlinter"]["contracts"]
    containers = None if container is None else [container]
    (layers,) = (
        each["layers"]
        for each in contracts
        if each["type"] == "layers" and each.get("containers") == containers
    )
    return [re.split(r" [:|] ", layer) for layer in layers]


def _row(names: list[str]) -> str:
    """Return the text of a layer: a few names in each line."""
    lines = [" · ".join(names[at : at + 4]) for at in range(0, len(names), 4)]
    return "<br>".join(lines)


def _nodes(prefix: str, layers: list[list[str]], indent: str) -> Iterator[str]:
    for number, names in enumerate(layers):
        yield f'{indent}{prefix}{number}["{_row(names)}"]'


def picture() -> str:
    """Return the picture: a chain of layers, in Mermaid's language."""
    packages = _layers(None)
    core = _layers("damon_core")
    assert packages.pop() == ["damon_core"]
    lines = ["<!-- run by: tests/test_forge.py -->", "```mermaid", "flowchart TB"]
    lines += ['    subgraph packages["packages, in plugins"]']
    lines += [*_nodes("p", packages, "        "), "    end", '    subgraph core["damon_core"]']
    lines += [*_nodes("c", core, "        "), "    end"]
    chain = [f"p{each}" for each in range(len(packages))] + [
        f"c{each}" for each in range(len(core))
    ]
    lines += [f"    {' --> '.join(chain)}", "```"]
    return "\n".join(lines) + "\n"


def drawn() -> str:
    """Return the picture that CONTRIBUTING.md has."""
    match = _BLOCK.search(PAGE.read_text())
    assert match is not None
    return match[0].removeprefix(match[1]).removesuffix(match[2])


def main() -> None:
    """Put the picture into CONTRIBUTING.md."""
    PAGE.write_text(_BLOCK.sub(lambda match: match[1] + picture() + match[2], PAGE.read_text()))


if __name__ == "__main__":
    main()
