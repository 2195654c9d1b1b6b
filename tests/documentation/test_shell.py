"""Commands in blocks of a shell: each is there, and those of `damon` that end by themselves run."""

import re
import shlex
import sys
from importlib import util
from importlib.metadata import PackageNotFoundError, metadata
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement

from tests.documentation.collecting import PAGES, ROOT, Block, blocks
from tests.documentation.terminal import Terminal

#: Packages of others that authors install.
OF_OTHERS = ("build",)
#: What every machine has.
BUILT_IN = ("cd", ".", "tail")
#: Commands that are only parsed: what their lines have, and why they don't run here.
PARSED_ONLY = {
    "sudo ": "it is about the whole machine",
    "damon doctor": "it is about the whole machine",
    "damon record": "it takes its time: the tutorial has it, and so have tests of damon-record",
    "damon run": "likewise: tests of damon-cli have it",
    "damon demo": "likewise: `make demo` is a job of CI",
    "damon top": "it is a view, which doesn't end by itself",
    "damon plugin new": "tests/test_thirdparty.py makes such packages",
    "damon example": "tests/test_thirdparty.py installs it",
    "s3://": "nothing is there",
    "DATASET": "nothing is there",
    "/var/": "nothing is there",
    "/srv/": "nothing is there",
}


def _is_tried(block: Block) -> bool:
    return block.runs and block.is_shell


def commands_of(block: Block) -> list[str]:
    """Return the commands of a block, without remarks."""
    lines = block.text.replace("\\\n", " ").splitlines()
    lines = [re.sub(r"(^|\s+)#(\s.*)?$", "", line).strip() for line in lines]
    return [
        each.strip()
        for line in lines
        if line
        for each in re.split(r" && | \| | -- (?=\.venv)", line)
    ]


def what_is_wrong(command: str) -> str:
    """Return what of a command isn't there; an empty text if all is."""
    words = shlex.split(re.sub(r"\$\([^)]*\)", "VALUE", command.partition(" > ")[0]))
    while re.fullmatch(r"[A-Z_]+=.*", words[0]):
        words.pop(0)
    if words[0] == "sudo":
        words = words[words.index("damon") :] if "damon" in words else words[1:]
    program, *rest = words
    name = program.rpartition("/")[2]
    if name == "damon" or program in BUILT_IN:
        return ""  # test_commands.py parses those of damon
    if name == "pip":
        return _of_pip(rest)
    if name == "make":
        targets = re.findall(r"^([\w-]+(?: [\w-]+)*):", (ROOT / "Makefile").read_text(), re.M)
        known = {each for line in targets for each in line.split()}
        return _missing("target", (each for each in rest if "=" not in each), known.__contains__)
    if name in ("python", "python3") and rest[:1] == ["-m"]:
        return _of_module(rest[1], rest[2:])
    if (Path(sys.executable).parent / name).is_file() or (ROOT / program).is_file():
        return ""
    return "what it is isn't known here: give the block a mark (docs/testing.md)"


def _missing(what: str, names: Any, is_there: Any) -> str:
    missing = [each for each in names if not is_there(each)]
    return f"there is no {what} {', '.join(missing)}" if missing else ""


def _of_pip(words: list[str]) -> str:
    """Return what `pip install` wouldn't find: a package of ours, or its extra."""

    def is_there(word: str) -> bool:
        requirement = Requirement(word)
        if requirement.name in OF_OTHERS:
            return True
        try:
            extras = metadata(requirement.name).get_all("Provides-Extra") or []
        except PackageNotFoundError:
            return False
        return requirement.extras <= {*extras}

    if words[0] != "install":
        return f"pip {words[0]}"
    named = [word for word in words[1:] if not word.startswith(("-", "."))]
    return _missing("package", named, is_there)


def _of_module(name: str, words: list[str]) -> str:
    """Return what of ``python -m`` isn't there: the module, or an option in its text."""
    if name in ("venv", "build"):
        return ""
    found = util.find_spec(name)
    if found is not None and found.submodule_search_locations:
        found = util.find_spec(f"{name}.__main__")
    if found is None or found.origin is None:
        return f"there is no program {name}"
    folder = Path(found.origin).parent
    text = "".join(each.read_text() for each in folder.glob("*.py"))
    options = (word.strip("[]").partition("=")[0] for word in words if re.match(r"\[?--\w", word))
    return _missing("option", options, lambda option: f'"{option}"' in text)


def _pages() -> list[Any]:
    return [
        pytest.param(page, id=str(page.relative_to(ROOT)))
        for page in PAGES
        if any(map(_is_tried, blocks(page)))
    ]


def _commands(page: Path) -> list[tuple[Block, str]]:
    """Return the commands of a page that are tried, with their blocks."""
    tried = filter(_is_tried, blocks(page))
    return [(block, command) for block in tried for command in commands_of(block)]


@pytest.mark.parametrize("page", _pages())
def test_commands_are_there(page: Path) -> None:
    """Programs, packages, targets of make, modules and their options."""
    found = [(block, command, what_is_wrong(command)) for block, command in _commands(page)]
    assert [f"{block}: {command}: {wrong}" for block, command, wrong in found if wrong] == []


def _runs(command: str) -> bool:
    """Return whether a command is one of damon's that is run."""
    return command.startswith("damon ") and not any(each in command for each in PARSED_ONLY)


@pytest.mark.slow
@pytest.mark.parametrize(
    "page",
    [page for page in _pages() if any(_runs(each) for _, each in _commands(page.values[0]))],
)
def test_commands_of_damon_run(page: Path, folder: Path, terminal: Terminal) -> None:
    """One after the other, beside files of the names that they have."""
    wrong = []
    for block, command in _commands(page):
        if _runs(command):
            if command.startswith("damon convert"):
                (folder / command.split()[-1]).unlink(missing_ok=True)
            done = terminal.run(command, folder)
            if done.code != 0:
                wrong.append(f"{block}: {command}\n{done.output}")
    assert not wrong, "\n".join(wrong)
