"""What an operator installs: the Debian package where there is no network, and packages by pip."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
#: What `damon run` needs of this repository, as deploy/install has it.
PACKAGES = ("cli", "vaddr", "cgroup", "pagetable", "prometheus", "alert", "csv")
PIP = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]

CONFIGURATION = """
[[context]]
name = "self"
aggregation_interval = "200ms"
[context.primitive]
use = "vaddr"
command = ["sleep", "60"]
[[context.callback]]
use = "prometheus"
port = 0
[[context.callback]]
use = "csv"
path = "/tmp/rows.csv"
"""

#: A root with this machine's Debian in it, of which changes stay in a folder: without /usr/local,
#: the network, and all of this repository.
ENTER = """
set -e
cd "$1"; shift
mkdir -p root/proc root/dev root/tmp
for folder in usr etc var; do
    mkdir -p root/$folder upper/$folder work/$folder
    layers=lowerdir=/$folder,upperdir=upper/$folder,workdir=work/$folder
    mount -t overlay overlay -o $layers root/$folder
done
mount -t tmpfs none root/usr/local
for link in bin sbin lib lib64; do ln -sfn usr/$link root/$link; done
mount --rbind /proc root/proc
mount --rbind /dev root/dev
exec chroot root env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin "$@"
"""

In = Callable[..., str]

pytestmark = pytest.mark.slow


def call(*command: str | Path, **environment: str) -> str:
    """Run a program that succeeds, and return what it prints."""
    done = subprocess.run(
        command,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Wheels of the packages that `damon run` needs."""
    folder = tmp_path_factory.mktemp("wheels")
    sources = [ROOT, *(ROOT / "plugins" / name for name in PACKAGES)]
    offline = ["--no-deps", "--no-build-isolation", "--no-index"]
    call(*PIP, "wheel", *offline, "--wheel-dir", folder, *sources)
    return folder


@pytest.fixture(scope="module")
def inside(wheels: Path, tmp_path_factory: pytest.TempPathFactory) -> In:
    """Return what runs a command in an empty environment in which the package is installed."""
    folder = tmp_path_factory.mktemp("debian")
    build = ROOT / "deploy/debian/build"
    package = Path(
        call(build, folder, PYTHON=sys.executable, DAMON_WHEELS=str(wheels)).splitlines()[-1]
    )

    def run(*command: str) -> str:
        return call("unshare", "--mount", "--net", "sh", "-c", ENTER, "sh", folder, *command)

    (folder / "root/tmp").mkdir(parents=True)
    package.rename(folder / "root/tmp/damon.deb")
    run("dpkg", "--install", "/tmp/damon.deb")
    return run


@pytest.mark.needs("root", "unshare", "dpkg-deb")
class TestDebianPackage:
    def test_version(self, inside: In) -> None:
        """The command is on the path."""
        assert inside("damon", "--version") == f"damon, version {(ROOT / 'VERSION').read_text()}"

    def test_its_configuration_is_right(self, inside: In) -> None:
        """All that it uses is in the package."""
        assert "vaddr to prometheus" in inside("damon", "check", "/etc/damon/damon.toml")

    def test_nothing_is_broken(self, inside: In) -> None:
        """All plugins can be imported."""
        assert '"skipped": ""' in (plugins := inside("damon", "plugins", "--json"))
        assert plugins.count('"skipped": ""') == plugins.count('"skipped"')

    def test_it_monitors(self, inside: In) -> None:
        """Aggregations are in the file, without a network."""
        write = f"cat >/tmp/damon.toml <<'END'\n{CONFIGURATION}\nEND\n"
        run = "damon run /tmp/damon.toml --for 5s && cat /tmp/rows.csv"
        header, *rows = inside("sh", "-c", write + run).splitlines()
        assert header.startswith("time_us,")
        assert rows

    def test_an_upgrade_begins_the_service_anew(self, inside: In) -> None:
        """If it runs: it would import modules of the new version into the old one."""
        fake = (
            "mkdir -p /run/systemd/system && "
            "printf '#!/bin/sh\\necho \"$@\" >>/tmp/calls\\n' >/usr/bin/systemctl && "
            "chmod 755 /usr/bin/systemctl && dpkg --install /tmp/damon.deb >/dev/null && "
            "cat /tmp/calls && rm -r /run/systemd /usr/bin/systemctl"
        )
        assert inside("sh", "-c", fake).splitlines()[-2:] == ["daemon-reload", "try-restart damon"]

    def test_nothing_of_it_stays(self, inside: In) -> None:
        """Once it is removed, but for its configuration."""
        removed = "dpkg --remove damon >/dev/null && find /usr/lib/damon /usr/bin/damon /etc/damon"
        assert inside("sh", "-c", f"{removed} 2>/dev/null || true").splitlines() == [
            "/etc/damon",
            "/etc/damon/damon.toml",
        ]


def test_damon_run_alone_takes_at_most_100_mb(wheels: Path, tmp_path: Path) -> None:
    """By pip, compiled modules of Python included."""
    names = ["damon-core", *(f"damon-{name}" for name in PACKAGES)]
    call(*PIP, "install", "--target", tmp_path / "site", "--find-links", wheels, *names)
    files = [path for path in (tmp_path / "site").rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) < 100e6
