"""Distributions: a wheel and a source distribution of each package."""

import os
import shutil
import sys
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.release.packages import COMPILED, FOLDERS, ROOT
from tests.release.programs import run


def tracked_files() -> list[Path]:
    """Return the files of the checkout that git knows and that are there, relative to its root."""
    names = run("git", "ls-files", "-z", cwd=ROOT).split("\0")
    return [Path(name) for name in names if name and (ROOT / name).exists()]


def copy(files: Iterable[Path], folder: Path) -> None:
    """Copy files of the checkout, given relative to its root, into a folder."""
    for file in files:
        (folder / file).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / file, folder / file, follow_symlinks=False)


def build(names: Iterable[str], source: Path, dist: Path, compiled: Path | None = None) -> None:
    """Build packages: the wheel of the source distribution, so that this one is complete.

    Args:
        names: The packages.
        source: A copy of the checkout with what git knows, and nothing else.
        dist: The folder that gets the files.
        compiled: A folder with the wheels of compiled packages, made elsewhere for many machines;
            without it they are made for this one.

    Raises:
        ReleaseError: One can't be built.
    """

    def build_one(name: str) -> None:
        folder = source / FOLDERS[name].relative_to(ROOT)
        build = (sys.executable, "-m", "build", "--no-isolation", "--outdir", dist)
        elsewhere = compiled is not None and name in COMPILED
        run(*build, *(["--sdist"] if elsewhere else []), folder, cwd=source)

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        list(pool.map(build_one, names))
    if compiled is not None:
        for path in compiled.glob("*.whl"):
            shutil.copy2(path, dist)
