"""A small virtual machine, by software emulation, with this machine's files read-only."""

import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType

from attrs import define, field

from tests.lab import initramfs
from tests.lab.errors import LabError
from tests.lab.kernel import Kernel

#: The path of `Machine.share` in the guest.
GUEST_SHARE = "/run/lab"

_CHECKOUT = Path(__file__).parents[2]
#: Environment variables that the guest's programs inherit from the host.
_INHERITED = ("CI", "DAMON_TEST_SKIPS", "LANG", "LC_ALL", "PATH", "VIRTUAL_ENV")
_ENVIRONMENT = {
    "DAMON_LAB_GUEST": "1",
    "HOME": "/tmp",
    "HYPOTHESIS_STORAGE_DIRECTORY": "/tmp/hypothesis",
    # numpy's sorting with AVX2 gives wrong results on the emulated processor.
    "NPY_DISABLE_CPU_FEATURES": "X86_V3",
    "PYTHONDONTWRITEBYTECODE": "1",
    "PYTHONUNBUFFERED": "1",
}
#: Folders of the host that the guest's file systems hide.
_HIDDEN = (Path("/tmp"), Path("/run"))


@define(eq=False)
class Machine:
    """A machine that runs one command and powers off; a context manager that ends it.

    With more than one processor accesses are missed: only a context switch empties the emulated
    TLB. With a single processor, each wake-up of the monitor causes one.

    Attributes:
        kernel: The kernel to boot.
        processors: The number of processors.
        memory: The size of its memory, in qemu's format.
        append: Additional kernel parameters.
        counted: Whether time goes by the instructions that are executed, two nanoseconds for each,
            and waits take none: then it doesn't matter how busy the host is. With one processor.
        share: A folder of the host that the guest may write to; there it is `GUEST_SHARE`.
    """

    kernel: Kernel
    processors: int = 1
    memory: str = "2G"
    append: str = ""
    counted: bool = False
    share: Path = field(init=False)
    _folder: tempfile.TemporaryDirectory[str] = field(init=False)
    _qemu: subprocess.Popen[bytes] | None = field(default=None, init=False)

    def __enter__(self) -> "Machine":
        self._folder = tempfile.TemporaryDirectory(prefix="damon-lab-")
        self.share = Path(self._folder.name) / "share"
        self.share.mkdir()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._qemu is not None:
            self._qemu.kill()
            self._qemu.wait()
        self._folder.cleanup()

    @property
    def output(self) -> tuple[Path, Path]:
        """The files with the standard output and standard error of the command."""
        return self.share / "stdout", self.share / "stderr"

    def start(
        self, command: Sequence[str], folder: Path, environment: Mapping[str, str] | None = None
    ) -> None:
        """Boot, and run a command in a folder of the host.

        Raises:
            LabError: A program is missing, or a kernel module can't be read.
        """
        emulator = shutil.which("qemu-system-x86_64")
        if emulator is None:
            raise LabError("the lab needs qemu: apt-get install qemu-system-x86 busybox-static")
        inherited = {name: os.environ[name] for name in _INHERITED if name in os.environ}
        variables = inherited | _ENVIRONMENT | dict(environment or {})
        exports = "".join(f"export {name}={shlex.quote(variables[name])}\n" for name in variables)
        out, err = (f"{GUEST_SHARE}/{path.name}" for path in self.output)
        for path in self.output:
            path.touch()
        (self.share / "command").write_text(
            f"{exports}cd {shlex.quote(str(folder.resolve()))}\n"
            f"{shlex.join(command)} </dev/null >>{out} 2>>{err}\n"
            f"echo $? >{GUEST_SHARE}/status\n"
        )
        work = Path(self._folder.name)
        kept = _visible([folder, _CHECKOUT, Path(sys.prefix), Path(sys.base_prefix)])
        archive = initramfs.build(self.kernel, kept, work)
        with (work / "qemu").open("wb") as errors:
            self._qemu = subprocess.Popen(
                [
                    # The machine ends with this process, however that ends.
                    *("setpriv", "--pdeathsig", "KILL", emulator),
                    *(
                        "-accel",
                        "tcg",
                        "-cpu",
                        "max",
                        "-m",
                        self.memory,
                        "-smp",
                        str(self.processors),
                    ),
                    *(("-icount", "shift=1,sleep=off") if self.counted else ()),
                    *(
                        "-nodefaults",
                        "-display",
                        "none",
                        "-no-reboot",
                        "-serial",
                        f"file:{work}/console",
                    ),
                    *("-kernel", str(self.kernel.image), "-initrd", str(archive)),
                    "-append",
                    # Without DAMON_STAT, which newer kernels start and which keeps DAMON in use.
                    # Without the test of the timer, which fails where the host is busy.
                    "console=ttyS0 loglevel=5 panic=-1 oops=panic numa=fake=2 no_timer_check "
                    f"damon_stat.enabled=N {self.append}",
                    "-fsdev",
                    "local,id=host,path=/,security_model=none,readonly=on,multidevs=remap",
                    *("-device", "virtio-9p-pci,fsdev=host,mount_tag=host"),
                    "-fsdev",
                    f"local,id=lab,path={self.share},security_model=none,multidevs=remap",
                    *("-device", "virtio-9p-pci,fsdev=lab,mount_tag=lab"),
                ],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=errors,
            )

    def run(self, command: Sequence[str], folder: Path) -> int:
        """Run a command, print what it prints as it is written, and return its exit status.

        Raises:
            LabError: As `start` and `status`.
        """
        self.start(command, folder)
        with self.output[0].open("rb") as out, self.output[1].open("rb") as err:
            while True:
                running = self.running()
                for file, stream in ((out, sys.stdout), (err, sys.stderr)):
                    stream.buffer.write(file.read())
                    stream.flush()
                if not running:
                    return self.status()
                time.sleep(0.05)

    def running(self) -> bool:
        """Return whether the machine is still on."""
        return self._qemu is not None and self._qemu.poll() is None

    def status(self) -> int:
        """Return the exit status of the command.

        Raises:
            LabError: The machine ended before the command did; the error has its last output.
        """
        try:
            return int((self.share / "status").read_text())
        except (FileNotFoundError, ValueError):
            raise LabError(f"the machine ended before the command\n{self.tail()}") from None

    def tail(self, lines: int = 40) -> str:
        """Return the last lines of qemu, the console, and the command's output."""
        work = Path(self._folder.name)
        parts = []
        for path in (work / "qemu", work / "console", *self.output):
            text = path.read_text(errors="replace") if path.exists() else ""
            text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]|\x1bc|\r", "", text).strip()
            if text:
                parts += [f"--- {path.name} ---", *text.splitlines()[-lines:]]
        return "\n".join(parts)


def _visible(folders: Sequence[Path]) -> list[Path]:
    """Return the topmost of the folders that the guest's file systems would hide."""
    hidden = {
        folder.resolve()
        for folder in folders
        if any(folder.resolve().is_relative_to(parent) for parent in _HIDDEN)
    }
    return sorted(folder for folder in hidden if not hidden.intersection(folder.parents))
