"""Build, check, install and test all packages, as a release does: `make release-check`."""

import json
import os
import sys
import tempfile
from pathlib import Path

import click

from tests.release.building import build, copy, tracked_files
from tests.release.checking import check
from tests.release.installing import Installation, fetch
from tests.release.packages import EVERYTHING, FOLDERS, VERSION, modules
from tests.release.programs import ReleaseError
from tests.release.suite import remove_code, run_tests

_FOLDER = click.Path(path_type=Path, file_okay=False, resolve_path=True)


@click.command()
@click.option("--dist", type=_FOLDER, help="Leave what is built in this folder, which is new.")
@click.option(
    "--wheelhouse",
    type=click.Path(path_type=Path, file_okay=False, resolve_path=True, exists=True),
    help="A folder with the wheels of others: then no index is asked.",
)
@click.option(
    "--compiled",
    type=click.Path(path_type=Path, file_okay=False, resolve_path=True, exists=True),
    help="A folder with the wheels of compiled packages, made elsewhere for many machines.",
)
@click.option("--fill", type=_FOLDER, help="Only fill this folder with the wheels of others.")
@click.option(
    "--select",
    default="not slow and not lab and not checkout",
    show_default=True,
    help="Which tests, by their markers.",
)
@click.argument("tests", nargs=-1)
def main(
    *,
    dist: Path | None,
    wheelhouse: Path | None,
    compiled: Path | None,
    fill: Path | None,
    select: str,
    tests: tuple[str, ...],
) -> None:
    """Build, check, install and test all packages, as a release does.

    TESTS are arguments for pytest, such as folders of tests.
    """
    try:
        if fill is not None:
            fetch(fill)
            return
        with tempfile.TemporaryDirectory(prefix="damon-release-") as scratch:
            _release(Path(scratch), dist, wheelhouse, compiled, ["-m", select, *tests])
    except ReleaseError as error:
        click.echo(f"release: {error}", err=True)
        sys.exit(1)


def _release(
    scratch: Path,
    dist: Path | None,
    wheelhouse: Path | None,
    compiled: Path | None,
    pytest_arguments: list[str],
) -> None:
    source, dist = scratch / "source", dist or scratch / "dist"
    if dist.exists() and any(dist.iterdir()):
        raise ReleaseError(f"{dist} isn't empty: remove it, or name another folder")
    copy(tracked_files(), source)
    build(FOLDERS, source, dist, compiled)
    click.echo(f"built: wheel and source distribution of {len(FOLDERS)} packages, {VERSION}")
    check(FOLDERS, dist)
    click.echo("checked: twine, check-wheel-contents, abi3audit, metadata, what each file has")

    installation = Installation(scratch / "installation", wheelhouse)
    installation.install_everything(dist)
    versions = installation.look(folder.name for name in FOLDERS for folder in modules(name))
    others = len(versions) - len(FOLDERS)
    package, extra = EVERYTHING
    click.echo(f"installed: {package}[{extra}], all packages and {others} of others")
    unusable = [
        f"{each['package']}: {each['skipped'] or each['contested']}"
        for each in json.loads(installation.run("damon", "plugins", "--json"))
        if each["skipped"] or each["contested"]
    ]
    if unusable:
        raise ReleaseError("\n".join(unusable))
    click.echo(installation.run("damon", "demo"))

    remove_code(source)
    processes = str((os.cpu_count() or 1) + 1)
    arguments = ["--numprocesses", processes, "--dist", "loadfile", *pytest_arguments]
    last = run_tests(installation, source, *arguments, show=lambda line: click.echo(line, nl=False))
    click.echo(f"tested, without the checkout: {last}")


if __name__ == "__main__":
    main()
