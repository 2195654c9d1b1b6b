"""Get a VictoriaMetrics that receives OTLP: `python -m tests.lab.victoria` prints its path.

It is Debian 13's, without being installed: Debian 12's is too old, and Debian's Prometheus is built
without the receiver. It is kept in the folder of the lab's kernels.
"""

import sys
import tempfile
from pathlib import Path

import click

from tests.lab.debian import Archive, run
from tests.lab.errors import LabError
from tests.lab.kernels import cache_folder

_RELEASE = "trixie"


def victoria_metrics() -> Path:
    """Return the program; fetch it if necessary (40 MB).

    Raises:
        LabError: It can't be fetched.
    """
    cache = cache_folder()
    program = cache / "victoria-metrics-13"
    if not program.exists():
        cache.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=cache) as work:
            lists, folder = Path(work) / "apt", Path(work) / "new"
            lists.mkdir()
            folder.mkdir()
            package = Archive(lists, _RELEASE).download("victoria-metrics", folder)
            run("dpkg-deb", "--extract", str(package), str(folder))
            (folder / "usr/bin/victoria-metrics").rename(program)
    return program


if __name__ == "__main__":
    try:
        click.echo(victoria_metrics())
    except LabError as error:
        sys.exit(f"lab: {error}")
