"""Programs in C that benchmarks compile and run, and commands of ours beside them."""

import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

#: The commands, installed beside this Python.
DAMO, DAMON = (str(Path(sys.executable).with_name(name)) for name in ("damo", "damon"))


def compiled(source: Path, folder: Path) -> Path:
    """Compile a program into a folder; exit with a line if there is no compiler."""
    compiler = shutil.which("cc")
    if compiler is None:
        print("skipped: there is no C compiler (cc): apt-get install gcc")
        sys.exit(0)
    program = folder / source.stem
    subprocess.run([compiler, "-O2", "-Wall", "-o", program, source, "-lm"], check=True)
    return program


@contextmanager
def started(command: Sequence[str | Path]) -> Iterator["subprocess.Popen[str]"]:
    """Run a program during the block, with pipes to its input and output; kill it afterwards."""
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def line_of(process: "subprocess.Popen[str]") -> str:
    """Return the next line that a program prints; exit if it has ended."""
    assert process.stdout is not None
    line = process.stdout.readline()
    if not line:
        sys.exit(f"{process.args!r} has ended with {process.wait()}")
    return line
