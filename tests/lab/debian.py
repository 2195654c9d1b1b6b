"""Packages of a Debian release, fetched and verified by apt apart from the machine's setup.

apt uses separate lists, cache and sources; the settings in /etc/apt/apt.conf.d, such as a proxy,
apply. Nothing is installed, and the state of the machine's apt doesn't change.
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
        folder: The existing folder for apt's lists.
        release: The name of the release, such as "trixie".

    Raises:
        LabError: This machine has no apt, or the archive can't be reached or verified.
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
        """Return the name of the dependency of a package that matches a pattern.

        Raises:
            LabError: No dependency matches.
        """
        text = self._run("apt-cache", "depends", package)
        found = re.search(rf"Depends: ({pattern})$", text, re.MULTILINE)
        if found is None:
            raise LabError(f"Debian's {package} has no dependency that matches {pattern}")
        return found[1]

    def download(self, package: str, folder: Path) -> Path:
        """Fetch a package into an empty folder; return its file."""
        self._run("apt-get", "download", "--quiet", package, cwd=folder)
        (file,) = folder.glob("*.deb")
        return file

    def _run(self, *command: str, cwd: Path | None = None) -> str:
        return run(*command, cwd=cwd, environment=self._environment)


def run(*command: str, cwd: Path | None = None, environment: dict[str, str] | None = None) -> str:
    """Run a program; return its output.

    Raises:
        LabError: The program is missing or fails; the error has the last lines of its output.
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
    """Return the URL of the Debian mirror that this machine's apt uses."""
    uris = run("apt-get", "indextargets", "--format", "$(REPO_URI)", "Label: Debian").split()
    return uris[0] if uris else "http://deb.debian.org/debian"
