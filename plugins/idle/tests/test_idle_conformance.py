"""The backend keeps the rules of its kind: on files of marks, and on a kernel that has them."""

import contextlib
import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from damon_idle import IdleOptions, PhysicalIdle, ProcessIdle
from damon_idle.frames import LRU
from damon_idle.marking import Marking
from damon_paddr import MachineMemory, PaddrOptions, PhysicalMemory

from damon_core import Backend, InputError, NoOptions, Plugins, Primitive, hookimpl
from damon_core.testing import KernelFiles, sleeping_program
from damon_core.testing.conformance import backend_rules

FRAMES = 1 << 14


@contextlib.contextmanager
def process(_directory: Path) -> Iterator[Mapping[str, Any]]:
    """Give options that name a process, which is there meanwhile."""
    with sleeping_program() as pid:
        yield {"pid": pid}


class OnFiles:
    """Offers the backend on a file of marks, and `paddr` on the files of a small machine."""

    files: KernelFiles | None = None

    def machine(self, directory: Path) -> Mapping[str, Any]:
        """Make a machine whose pages can all be marked, and return options for it."""
        self.files = files = KernelFiles(directory / "machine")
        files.write("proc/iomem", f"00000000-{FRAMES * 4096 - 1:08x} : System RAM\n")
        files.write("proc/meminfo", f"MemTotal: {FRAMES * 4} kB\n")
        files.words("proc/kpageflags", [LRU] * FRAMES)
        files.words("sys/kernel/mm/page_idle/bitmap", [0] * (FRAMES // 64))
        return {"backend": "idle"}

    def marking(self) -> Marking:
        if self.files is None:
            raise InputError("there is no machine")
        bitmap = self.files.sys / "kernel/mm/page_idle/bitmap"
        return Marking(bitmap, self.files.proc / "kpageflags")

    def make(self, options: PaddrOptions, backends: Mapping[str, Backend]) -> PhysicalMemory:
        if self.files is None or options.backend not in backends:
            raise InputError("there is no machine, or no such backend")
        memory = MachineMemory(options.wanted, options.node, self.files.proc, self.files.sys)
        backend: Any = backends[str(options.backend)].factory(NoOptions())
        return PhysicalMemory(memory, backend)

    @hookimpl
    def register_primitives(self, register: Callable[[Primitive], None]) -> None:
        register(Primitive("paddr", self.make, PaddrOptions, "memory of files"))

    @hookimpl
    def register_backends(self, register: Callable[[Backend], None]) -> None:
        def make(options: NoOptions) -> PhysicalIdle:
            return PhysicalIdle(options, self.marking)

        register(Backend("idle", make, summary="marks in a file", serves=("paddr",)))


class Sparse:
    """Offers the backend for processes: their real pages, and a file of marks for all frames."""

    folder: Path | None = None

    @contextlib.contextmanager
    def process(self, directory: Path) -> Iterator[Mapping[str, Any]]:
        """Give options that name a process, beside a file that is large enough for any frame."""
        self.folder = directory
        with (directory / "bitmap").open("wb") as file:
            os.truncate(file.fileno(), (1 << 46) // 4096 // 8)
        with process(directory) as options:
            yield options

    def make(self, options: IdleOptions) -> ProcessIdle:
        if self.folder is None:
            raise InputError("there is no file of marks")
        bitmap = self.folder / "bitmap"
        return ProcessIdle(options, lambda: Marking(bitmap))

    @hookimpl
    def register_primitives(self, register: Callable[[Primitive], None]) -> None:
        register(Plugins.of("damon-vaddr").primitive("vaddr"))

    @hookimpl
    def register_backends(self, register: Callable[[Backend], None]) -> None:
        summary = "marks in a file"
        register(Backend("idle", self.make, IdleOptions, summary, serves=("vaddr",)))


on_files, sparse = OnFiles(), Sparse()

# Every rule is some contexts, and those of processes read what the kernel knows of one.
_PHYSICAL = backend_rules("idle", "paddr", on_files.machine, plugins=Plugins({"f": on_files}))
_PROCESSES = backend_rules("idle", "vaddr", sparse.process, plugins=Plugins({"f": sparse}))
test_physical_on_files = pytest.mark.slow(_PHYSICAL)
test_processes_on_a_file = pytest.mark.needs("root")(pytest.mark.slow(_PROCESSES))


#: Where the lab's emulation takes minutes.
needs = pytest.mark.needs("idle-page-tracking")

test_processes = needs(pytest.mark.slow_in_lab(backend_rules("idle", "vaddr", process)))
test_physical = needs(pytest.mark.slow_in_lab(backend_rules("idle", "paddr", {})))
