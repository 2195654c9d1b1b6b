"""The package keeps the rules of its kind, on the files of a machine, with a simple backend."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

from attrs import evolve
from damon_paddr import MachineMemory, PaddrOptions, PhysicalMemory

from damon_core import Backend, InputError, PageSampling, Plugins, Primitive, Target, hookimpl
from damon_core.testing import KernelFiles
from damon_core.testing.conformance import primitive_rules


class EverySecond:
    """A backend that finds every second page accessed."""

    name = "every-second"
    sampling = PageSampling

    def __init__(self, _options: object) -> None: ...

    def prepare(self, targets: Sequence[Target], context: object) -> None: ...

    def check(self, targets: Sequence[Target], context: object) -> None:
        for target in targets:
            if target.samples is not None:
                target.samples.accessed[::2] = True

    def close(self) -> None: ...


class OnFiles:
    """Offers `paddr`, which reads the files of a machine, and the backend."""

    files: KernelFiles | None = None

    def machine(self, directory: Path) -> Mapping[str, Any]:
        """Make a machine of two nodes, and return options for it."""
        self.files = files = KernelFiles(directory / "machine")
        files.write("proc/iomem", "00000000-7fffffff : System RAM\n")
        files.write("proc/meminfo", "MemTotal: 2097152 kB\n")
        files.write("proc/zoneinfo", "")
        files.memory_blocks({0: range(8), 1: range(8, 16)}, 128 << 20)
        return {"backend": "every-second"}

    def make(self, options: PaddrOptions, backends: Mapping[str, Backend]) -> PhysicalMemory:
        if self.files is None or options.backend not in backends:
            raise InputError("there is no machine, or no such backend")
        memory = MachineMemory(
            options.wanted, options.node, self.files.proc, self.files.sys / "devices/system"
        )
        memory.check()
        return PhysicalMemory(memory, cast(Any, backends[str(options.backend)].factory(None)))

    @hookimpl
    def register_primitives(self, register: Callable[[Primitive], None]) -> None:
        register(evolve(Plugins.of("damon-paddr").primitive("paddr"), factory=self.make))

    @hookimpl
    def register_backends(self, register: Callable[[Backend], None]) -> None:
        register(Backend("every-second", EverySecond, serves=("paddr",)))


on_files = OnFiles()
test_primitive = primitive_rules("paddr", on_files.machine, plugins=Plugins({"files": on_files}))
