"""Packages of a Debian release, fetched and verified by apt beside the machine's own set-up.

apt gets lists, cache and sources of its own; what is configured in /etc/apt/apt.conf.d, such as a
proxy, holds. Nothing is installed and nothing of the machine's own apt changes.
"""

import os
import re
import subprocess
from pathlib import Path

from tests.lab.errors import LabError

_KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")

_CONFIGURATION = """\
Dir::State "{folder}/state";
Dir::State::status "{folder}/status";
Dir::Cache "{folder}/cache";
Dir::Etc::sourcelist "{folder}/sources.list";
Dir::Etc::sourceparts "/dev/null";
Dir::Etc::preferences "/dev/null";
Dir::Etc::preferencesparts "/dev/null";
Acquire::Languages "none";
Acquire::IndexTargets::deb::DEP-11::DefaultEnabled "false";
APT::Architecture "amd64";
APT::Architectures {{ "amd64"; }};
APT::Sandbox::User "root";
#clear APT::Update::Post-Invoke;
#clear APT::Update::Post-Invoke-Success;
"""


class Archive:
    """The main section of a Debian release.

    Args:
        folder: Where apt may keep its lists; it must exist.
        release: For example "trixie".

    Raises:
        LabError: There is no apt here, or the archive can't be reached or verified.
    """

    def __init__(self, folder: Path, release: str) -> None:
        if not _KEYRING.exists():
            raise LabError(f"{_KEYRING} is missing: apt-get install debian-archive-keyring")
        for part in ("state/lists/partial", "cache/archives/partial"):
            (folder / part).mkdir(parents=True, exist_ok=True)
        (folder / "status").touch()
        source = f"deb [signed-by={_KEYRING}] {_mirror()} {release} main\n"
        (folder / "sources.list").write_text(source)
        configuration = folder / "apt.conf"
        configuration.write_text(_CONFIGURATION.format(folder=folder))
        self._environment = os.environ | {"APT_CONFIG": str(configuration), "LC_ALL": "C"}
        self._run("apt-get", "update", "--quiet", "--error-on=any")

    def depends(self, package: str, pattern: str) -> str:
        """Return the dependency of a package whose name matches a pattern.

        Raises:
            LabError: There is none.
        """
        text = self._run("apt-cache", "depends", package)
        found = re.search(rf"Depends: ({pattern})$", text, re.MULTILINE)
        if found is None:
            raise LabError(f"Debian's {package} depends on nothing like {pattern}")
        return found[1]

    def download(self, package: str, folder: Path) -> Path:
        """Fetch a package into an empty folder and return its file."""
        self._run("apt-get", "download", "--quiet", package, cwd=folder)
        (file,) = folder.glob("*.deb")
        return file

    def _run(self, *command: str, cwd: Path | None = None) -> str:
        return run(*command, cwd=cwd, environment=self._environment)


def run(*command: str, cwd: Path | None = None, environment: dict[str, str] | None = None) -> str:
    """Return what a program prints.

    Raises:
        LabError: It isn't there or fails; the last lines that it printed are told.
    """
    try:
        done = subprocess.run(
            command,
            cwd=cwd,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            check=False,
        )
    except FileNotFoundError:
        raise LabError(f"the program {command[0]} is missing") from None
    if done.returncode != 0:
        tail = "\n".join(done.stdout.splitlines()[-20:])
        raise LabError(f"{' '.join(command)} failed:\n{tail}")
    return done.stdout


def _mirror() -> str:
    """Return the mirror of Debian that this machine's apt uses."""
    uris = run("apt-get", "indextargets", "--format", "$(REPO_URI)", "Label: Debian").split()
    return uris[0] if uris else "http://deb.debian.org/debian"
