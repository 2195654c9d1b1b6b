"""An installation of what was built, in an empty environment apart from the checkout."""

import json
import os
import sys
import venv
from collections.abc import Iterable
from pathlib import Path

from packaging.requirements import Requirement

from tests.release.checking import wheel
from tests.release.packages import (
    EVERYTHING,
    FOLDERS,
    OPTIONAL,
    VERSION,
    development_requirements,
    requirements,
)
from tests.release.programs import ReleaseError, run

_LOOK = """
import json, sys
from importlib.metadata import distributions
from importlib.util import find_spec
versions = {each.name: each.version for each in distributions()}
print(json.dumps([versions, [find_spec(name).origin for name in sys.argv[1:]]]))
"""


def fetch(wheelhouse: Path) -> None:
    """Fill a folder with the wheels of others that packages and tests need.

    Raises:
        ReleaseError: One can't be fetched.
    """
    wheelhouse.mkdir(parents=True, exist_ok=True)
    needed = {str(each) for name in FOLDERS for each in requirements(name)}
    ours = {each for each in needed if Requirement(each).name in FOLDERS}
    pip = (sys.executable, "-m", "pip", "wheel", "--quiet", "--wheel-dir", wheelhouse)
    run(*pip, *sorted(needed - ours), *development_requirements(), cwd=wheelhouse)


class Installation:
    """An environment with packages, and nothing of this one.

    Args:
        folder: Where it is made.
        wheelhouse: A folder with the wheels of others that are needed; without it, pip's index.
    """

    def __init__(self, folder: Path, wheelhouse: Path | None) -> None:
        self._folder = folder
        self._wheelhouse = wheelhouse
        self._home = folder / "home"
        venv.create(folder / "venv", with_pip=True)
        self._home.mkdir()

    @property
    def scripts(self) -> Path:
        """The folder of its programs."""
        return self._folder / "venv" / "bin"

    @property
    def environment(self) -> dict[str, str]:
        """The variables of programs that run there: nothing of this shell's but the language."""
        path = os.pathsep.join([str(self.scripts), os.defpath.lstrip(":"), "/usr/sbin", "/sbin"])
        return {"PATH": path, "HOME": str(self._home)}

    def pip_install(self, *arguments: str | Path) -> None:
        """Install with pip, from the wheelhouse if there is one.

        Raises:
            ReleaseError: It can't.
        """
        pip: list[str | Path] = [self.scripts / "python", "-m", "pip", "install", "--quiet"]
        if self._wheelhouse is not None:
            pip += ["--no-index", "--find-links", self._wheelhouse]
        others = {name: value for name, value in os.environ.items() if name[:6] != "PYTHON"}
        run(*pip, *arguments, cwd=self._folder, environment=others)

    def install_everything(self, dist: Path) -> None:
        """Install all packages by the one name, and those that are optional, as a user does.

        Raises:
            ReleaseError: They can't be installed together, or one isn't among them.
        """
        # The files that were built, whatever an index has under these names.
        constraints = self._folder / "constraints.txt"
        lines = [f"{name} @ {wheel(name, dist).as_uri()}\n" for name in FOLDERS]
        constraints.write_text("".join(lines))
        wanted = [
            f"{package}[{extra}] @ {wheel(package, dist).as_uri()}"
            for package, extra in (EVERYTHING, *OPTIONAL)
        ]
        self.pip_install("--constraint", constraints, *wanted)
        self.run("python", "-m", "pip", "check")

    def run(self, program: str, *arguments: str | Path, cwd: Path | None = None) -> str:
        """Run a program of the environment in its home, or elsewhere.

        Raises:
            ReleaseError: It failed.
        """
        return run(
            self.scripts / program, *arguments, cwd=cwd or self._home, environment=self.environment
        )

    def look(self, modules: Iterable[str]) -> dict[str, str]:
        """Return the versions of what is installed, once it is clear that modules come from there.

        Raises:
            ReleaseError: A package is missing, or a module comes from elsewhere.
        """
        versions, places = json.loads(self.run("python", "-c", _LOOK, *modules))
        missing = [name for name in FOLDERS if versions.get(name) != VERSION]
        if missing:
            raise ReleaseError(f"not installed as {VERSION}: {', '.join(missing)}")
        foreign = [path for path in places if not Path(path).is_relative_to(self._folder)]
        if foreign:
            raise ReleaseError(f"imported from elsewhere: {', '.join(foreign)}")
        return dict(versions)
