"""Packages of third parties: built as wheels, installed without the checkout, tested and used.

One of each kind that ``damon plugin new`` makes, and examples/damon-example-plugin.
"""

import json
import os
import re
import subprocess
import sys
import sysconfig
import venv
from collections.abc import Mapping
from pathlib import Path

import pytest
from attrs import frozen
from damon_author.creation import KINDS, create_package

from damon_core import Plugins

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[1]
EXAMPLE = ROOT / "examples" / "damon-example-plugin"
#: What packages of the template need, tests included.
FIRST_PARTY = (ROOT, *(ROOT / "plugins" / name for name in ("cli", "csv", "sim", "vaddr")))
#: A kind, and what a package of it is called here.
NAMES = {kind: f"my-{kind}" for kind in KINDS}

_BUILD = """
import sys
from hatchling.builders.wheel import WheelBuilder
for folder in sys.argv[2:]:
    print(*WheelBuilder(folder).build(directory=sys.argv[1]))
"""


def call(*words: str | Path, cwd: Path, code: int = 0) -> subprocess.CompletedProcess[str]:
    """Run a program, which has to end with an exit code, without this one's environment."""
    environment = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    done = subprocess.run(
        words, cwd=cwd, env=environment, capture_output=True, text=True, timeout=600, check=False
    )
    assert done.returncode == code, done.stdout + done.stderr
    return done


@frozen
class Installation:
    """An environment with wheels and what they need, but nothing of the checkout.

    Attributes:
        scripts: Where its programs are.
        packages: The folders of what the template made, by kind.
    """

    scripts: Path
    packages: Mapping[str, Path]

    def call(self, *words: str | Path, cwd: Path, code: int = 0) -> str:
        """Run one of its programs, and return what it prints."""
        program, *rest = words
        done = call(self.scripts / program, *rest, cwd=cwd, code=code)
        return done.stdout if code == 0 else done.stderr


@pytest.fixture(scope="module")
def installation(tmp_path_factory: pytest.TempPathFactory) -> Installation:
    """The wheels are built once; what third parties provide is that of these tests."""
    folder = tmp_path_factory.mktemp("thirdparty")
    packages = {
        kind: create_package(Plugins({}), name, [kind], folder / f"damon-{name}")
        for kind, name in NAMES.items()
    }
    folders = (*FIRST_PARTY, EXAMPLE, *packages.values())
    wheels = call(sys.executable, "-c", _BUILD, folder, *folders, cwd=folder).stdout.split()
    venv.create(folder / "venv")
    python = folder / "venv" / "bin" / "python"
    # Debian's Python has several folders of packages; this is the one of the environment.
    purelib = "import sysconfig; print(sysconfig.get_path('purelib'))"
    place = Path(call(python, "-c", purelib, cwd=folder).stdout.strip())
    for entry in Path(sysconfig.get_path("purelib")).iterdir():
        if not re.match(r"(_editable_impl_|__editable__|pytest_)?_?damon|.*\.pth$", entry.name):
            (place / entry.name).symlink_to(entry)
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--python", str(python)]
    call(*pip, "install", "--quiet", "--no-deps", "--no-index", *wheels, cwd=folder)
    return Installation(python.parent, packages)


@pytest.mark.parametrize("kind", KINDS)
def test_a_package_of_each_kind_passes_its_own_tests(installation: Installation, kind: str) -> None:
    """The rules of its kind among them."""
    folder = installation.packages[kind]
    output = installation.call("python", "-m", "pytest", "-p", "no:cacheprovider", cwd=folder)
    assert re.search(r"\d+ passed in ", output.splitlines()[-1])


def test_packages_of_all_kinds_are_typed(installation: Installation, tmp_path: Path) -> None:
    """As their own configuration has it: strictly."""
    for folder in (*installation.packages.values(), EXAMPLE):
        arguments = ["-m", "mypy", "--cache-dir", str(tmp_path / "cache")]
        assert "Success" in installation.call("python", *arguments, cwd=folder)


def test_what_they_offer_is_listed(installation: Installation, tmp_path: Path) -> None:
    """`damon plugins` has all of it, and skips nothing."""
    infos = json.loads(installation.call("damon", "plugins", "--json", cwd=tmp_path))
    assert [each["skipped"] for each in infos if each["skipped"]] == []
    offered = {
        each["package"]: (*each["primitives"], *each["backends"], *each["callbacks"])
        for each in infos
        if each["package"].startswith("damon-example") and not each["commands"]
    }
    assert offered == {"damon-example 0.1.0": ("example", "example.example", "example")}
    assert "  example " in installation.call("damon", "--help", cwd=tmp_path)


def test_the_example_runs(installation: Installation, tmp_path: Path) -> None:
    """A line for each aggregation, within 16 MiB."""
    installation.call("damon", "run", EXAMPLE / "example.toml", "--for", "2s", cwd=tmp_path)
    lines = (tmp_path / "example.txt").read_text().splitlines()
    assert lines
    assert all(0 < int(line.split()[2]) <= 16 << 20 for line in lines)


def test_its_python_runs(installation: Installation, tmp_path: Path) -> None:
    """As the README has it."""
    code = (EXAMPLE / "README.md").read_text().split("```python\n")[1].split("```")[0]
    installation.call("python", "-c", code, cwd=tmp_path)
    assert (tmp_path / "example.txt").read_text()


def test_its_mistakes_are_shown_like_any(installation: Installation, tmp_path: Path) -> None:
    """Its options are checked, and what its factories object to is reported, before it runs."""
    path = tmp_path / "wrong.toml"
    path.write_text(
        "[[context]]\n[context.primitive]\nuse = 'example'\nbackend = 'none'\n"
        "[[context.callback]]\nuse = 'example'\npath = '/nowhere/example.txt'\n"
    )
    first, *_ = installation.call("damon", "run", path, cwd=tmp_path, code=2).splitlines()
    assert first.startswith(f"damon: {path}: context[0].primitive.backend: there is no backend ")
    path.write_text(path.read_text().replace("'none'", "'example'"))
    assert installation.call("damon", "run", path, cwd=tmp_path, code=2) == (
        f"damon: {path}: context[0].callback[0]: '/nowhere/example.txt' can't be written: "
        "No such file or directory\n"
    )


def test_the_first_plugin_can_be_changed_as_described(tmp_path: Path) -> None:
    """docs/first-plugin.md: a test, an option and a hook, put into what the template makes."""
    page = (ROOT / "docs" / "first-plugin.md").read_text()
    test, option, hook = re.findall(r"^```python\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    folder = create_package(Plugins({}), "tally", ["callback"], tmp_path / "damon-tally")
    tests = folder / "tests" / "test_callback.py"
    tests.write_text(f"{tests.read_text()}\n\n{test}")
    path = folder / "src" / "damon_tally" / "callback.py"
    text = path.read_text()
    before, after = text.split("    )\n\n\nclass TallyCallback:")
    text = f"{before}    )\n{option}\n\nclass TallyCallback:{after}"
    text = re.sub(
        r"    @hookimpl\n    def after_aggregation.*?(?=\n    @hookimpl)",
        lambda _: hook,
        text,
        flags=re.DOTALL,
    )
    path.write_text(text)
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", tests],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": "src"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert "4 passed" in done.stdout, done.stdout
