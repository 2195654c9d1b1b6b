"""Run a command in the lab: `python -m tests.lab -- COMMAND`."""

import os
import sys
from pathlib import Path

import click

from tests.lab.errors import LabError
from tests.lab.kernel import Kernel
from tests.lab.kernels import cache_folder, own_kernel
from tests.lab.machine import Machine


@click.command(context_settings={"ignore_unknown_options": True})
@click.option(
    "--kernel",
    type=click.Path(path_type=Path),
    help="Kernel image to boot.  [default: the first of DAMON_LAB_KERNELS, or the lab's own, which "
    "is built first if necessary]",
)
@click.option(
    "--processors",
    default=1,
    show_default=True,
    help="Number of processors; with more than 1 accesses are missed.",
)
@click.option("--memory", default="2G", show_default=True, help="Size of the memory.")
@click.option("--append", default="", help="Kernel parameters.")
@click.option(
    "--counted",
    is_flag=True,
    help="Let time go by instructions: for measurements that a busy host doesn't change.",
)
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED)
def main(
    *,
    kernel: Path | None,
    processors: int,
    memory: str,
    append: str,
    counted: bool,
    command: tuple[str, ...],
) -> None:
    """Run COMMAND as root in a small virtual machine with this machine's files, read-only.

    Prints the command's output as it is written, and ends with its exit status. The virtual machine
    is about ten times slower than this one, so compare times only within one run.
    """
    try:
        image = kernel or _default_kernel()
        machine = Machine(Kernel.open(image), processors, memory, append, counted)
        with machine:
            sys.exit(machine.run(command, Path.cwd()))
    except LabError as error:
        sys.exit(f"lab: {error}")


def _default_kernel() -> Path:
    if given := os.environ.get("DAMON_LAB_KERNELS"):
        return Path(given.split(os.pathsep)[0])
    cache = cache_folder()
    cache.mkdir(parents=True, exist_ok=True)
    return own_kernel(cache, lambda what: click.echo(f"lab: {what}", err=True))


if __name__ == "__main__":
    main()
