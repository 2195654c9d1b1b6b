"""``damon plugin new``: what it makes, and what it refuses in one line."""

import re
import subprocess
import sysconfig
import tomllib
from collections.abc import Sequence
from pathlib import Path

import copier
import pytest
from click.testing import CliRunner, Result
from damon_author.creation import KINDS, TEMPLATE
from damon_cli.main import main

from damon_core import Callback, Plugins, hookimpl

ROOT = Path(__file__).parents[3]
RUFF = Path(sysconfig.get_path("scripts")) / "ruff"


class Installed:
    """What is installed: a callback ``rows``."""

    @hookimpl
    def register_callbacks(self, register: object) -> None:
        register(Callback("rows", lambda _options: self, summary="rows"))  # type: ignore[operator]


def new(*arguments: str | Path) -> Result:
    """Run the command where nothing but `Installed` is installed."""
    words: Sequence[str] = ["plugin", "new", *map(str, arguments)]
    return CliRunner().invoke(main, words, obj=Plugins({"installed": Installed()}))


@pytest.fixture(autouse=True)
def _in_an_empty_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def files(directory: Path) -> set[str]:
    """Return the files of a package that differ by kind."""
    names = {path.name for path in directory.rglob("*.py")}
    return names - {"__init__.py", "test_conformance.py", "test_example.py"}


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("callback", {"plugin.py", "callback.py", "test_callback.py"}),
        ("primitive", {"plugin.py", "primitive.py", "test_primitive.py"}),
        ("backend", {"plugin.py", "backend.py", "test_backend.py"}),
        ("policy", {"plugin.py", "policy.py", "test_policy.py"}),
        ("format", {"plugin.py", "format.py", "test_format.py"}),
        ("command", {"command.py", "printing.py", "test_command.py"}),
    ],
)
def test_a_package_has_the_files_of_its_kind(kind: str, expected: set[str], tmp_path: Path) -> None:
    """And says what to do next."""
    result = new("rain", f"--{kind}")
    assert result.exit_code == 0, result.output
    assert files(tmp_path / "damon-rain") == expected
    assert "    cd damon-rain\n" in result.output


def test_several_kinds_go_together(tmp_path: Path) -> None:
    """In the entry points each is found by its name."""
    assert new("rain-fall", *(f"--{kind}" for kind in KINDS)).exit_code == 0
    text = (tmp_path / "damon-rain-fall" / "pyproject.toml").read_text()
    module = "damon_rain_fall"
    assert tomllib.loads(text)["project"]["entry-points"] == {
        "damon": {
            "rain-fall": f"{module}.plugin",
            "rain-fall.rain-fall": f"{module}.plugin",
            "format.rain-fall": f"{module}.plugin",
        },
        "damon.commands": {"rain-fall": f"{module}.command:command"},
    }


@pytest.mark.parametrize("name", ["x", "a-name-of-24-letters-all"])
@pytest.mark.parametrize("kinds", [KINDS, ("primitive",), ("backend",)], ids="+".join)
def test_the_code_is_formatted_and_clean(name: str, kinds: Sequence[str], tmp_path: Path) -> None:
    """Whatever the length of the name, with the rules of the package itself."""
    assert new(name, *(f"--{kind}" for kind in kinds), "--directory", "made").exit_code == 0
    for arguments in (["format", "--check"], ["check"]):
        done = subprocess.run(
            [RUFF, *arguments, "--no-cache"],
            cwd=tmp_path / "made",
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout


def test_it_is_made_for_the_series_of_the_core(tmp_path: Path) -> None:
    """Which is installed; the template itself, used without the command, names the same."""
    major, minor = (ROOT / "VERSION").read_text().strip().split(".")[:2]
    expected = f"damon-core>={major}.{minor},<{major}.{int(minor) + 1}"
    assert new("rain", "--callback").exit_code == 0
    copier.run_copy(str(TEMPLATE), "alone", data={"name": "rain"}, defaults=True, quiet=True)
    for folder in ("damon-rain", "alone"):
        text = (tmp_path / folder / "pyproject.toml").read_text()
        assert expected in tomllib.loads(text)["project"]["dependencies"]


@pytest.mark.needs("git")
def test_what_newer_templates_do_differently_is_a_patch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As the README has it: what the author has written stays."""
    assert new("rain", "--callback").exit_code == 0
    package = tmp_path / "damon-rain"
    project = package / "pyproject.toml"
    project.write_text(f"{project.read_text()}# mine\n")
    command = project.read_text().splitlines()[0].partition(": damon ")[2].split()

    assert new(*command[2:], "--directory", "old").exit_code == 0
    monkeypatch.setattr("damon_author.creation._series", lambda: "0.2")
    assert new(*command[2:], "--directory", "new").exit_code == 0
    patch = tmp_path / "newer.patch"
    with patch.open("wb") as file:
        subprocess.run(["git", "diff", "--no-index", "old", "new"], stdout=file, check=False)
    subprocess.run(["git", "apply", "-p2", "--reject", patch], cwd=package, check=True)
    assert '"damon-core>=0.2,<0.3"' in project.read_text()
    assert project.read_text().endswith("# mine\n")


def test_a_new_repository_is_no_obstacle(tmp_path: Path) -> None:
    """A folder with nothing but ``.git``, as of a clone."""
    (tmp_path / "mine" / ".git").mkdir(parents=True)
    assert new("rain", "--callback", "--directory", "mine").exit_code == 0
    assert (tmp_path / "mine" / "pyproject.toml").exists()


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["rain"], "say what is in the package: --callback, --primitive, --backend, "),
        (["Rain", "--callback"], "'Rain' can't be a plugin's name: up to 24 lower-case letters"),
        (["1a", "--callback"], "'1a' can't be a plugin's name"),
        (["../up", "--callback"], "'../up' can't be a plugin's name"),
        (["a--b", "--callback"], "'a--b' can't be a plugin's name"),
        (["r" * 25, "--callback"], f"'{'r' * 25}' can't be a plugin's name"),
        (["damon-rain", "--callback"], "'damon-rain': leave 'damon-' out"),
        (["auto", "--backend"], "no backend can be called 'auto'"),
        (["format", "--primitive"], "no primitive can be called 'format'"),
        (["core", "--callback"], "is installed already: choose another name"),
        (["rows", "--callback"], "has a callback 'rows': choose another name"),
        (["run", "--command"], "there is a command 'damon run' already: choose another name"),
    ],
)
def test_mistakes_are_one_line(arguments: Sequence[str], line: str, tmp_path: Path) -> None:
    """With exit code 2, and nothing is made."""
    result = new(*arguments)
    assert (result.exit_code, result.stderr.count("\n")) == (2, 1), result.stderr
    assert line in result.stderr
    assert list(tmp_path.iterdir()) == []


def test_what_is_there_stays(tmp_path: Path) -> None:
    """A folder with something in it is refused."""
    assert new("rain", "--callback").exit_code == 0
    path = tmp_path / "damon-rain" / "README.md"
    path.write_text("mine")
    result = new("rain", "--primitive")
    assert (result.exit_code, result.stderr) == (
        2,
        "damon: 'damon-rain' isn't empty: choose another --directory\n",
    )
    assert path.read_text() == "mine"


@pytest.mark.parametrize("directory", ["file", "file/in-it"])
def test_a_place_that_is_no_folder_is_a_mistake(directory: str, tmp_path: Path) -> None:
    """A file is there, and stays."""
    (tmp_path / "file").write_text("")
    result = new("rain", "--callback", "--directory", directory)
    assert result.exit_code == 2
    assert result.stderr == f"damon: '{directory}' can't be made: Not a directory\n"


def test_the_example_is_what_the_template_makes(tmp_path: Path) -> None:
    """All of it but its README, which says what is in it."""
    kinds = ("callback", "primitive", "backend", "command")
    assert new("example", *(f"--{kind}" for kind in kinds)).exit_code == 0

    made, example = tmp_path / "damon-example", ROOT / "examples" / "damon-example-plugin"
    names = {path.relative_to(made) for path in made.rglob("*") if path.is_file()}
    expected = {name: (made / name).read_text() for name in names - {Path("README.md")}}
    assert {name: (example / name).read_text() for name in expected} == expected
    modules = {path.relative_to(example) for path in example.rglob("*.py")}
    assert modules <= names


def test_its_workflow_uses_the_actions_of_this_repository() -> None:
    """By the same hashes: what dependabot renews here is to be renewed there."""

    def used(path: Path) -> set[str]:
        return set(re.findall(r"uses: (\S+@[0-9a-f]{40} # \S+)", path.read_text()))

    workflow = Path(".github/workflows/ci.yml")
    in_template = used(TEMPLATE / "project" / workflow)
    assert len(in_template) == 2
    assert in_template <= used(ROOT / workflow)
