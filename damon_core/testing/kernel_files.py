"""Folders like /proc and /sys, for code that can be given another root than that of the machine."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

#: Flags of a thread of the kernel, and of a process of a user, in /proc/PID/stat.
_OF_KERNEL, _OF_USER = 0x208040, 0x400000


class KernelFiles:
    """A folder with files as Linux shows them, which a test fills with what it is about.

    They are ordinary files: what is written to them stays as it is, and nothing happens. All paths
    are relative to the folder: ``proc/meminfo``, ``sys/kernel/mm``. What each kind of file is for
    is described in the kernel's documentation (proc(5), admin-guide/mm).

        files = KernelFiles(tmp_path)
        files.write("proc/meminfo", "MemTotal: 1024 kB\\n")
        files.process(77, "kdamond.0", of_kernel=True)
        assert find_rivals(files.root) == ["kdamond.0 (pid 77)"]

    Args:
        root: The folder, which is made if it isn't there.

    Attributes:
        root: The folder.
        proc: What stands for /proc in it.
        sys: What stands for /sys in it.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.proc = root / "proc"
        self.sys = root / "sys"
        for folder in (self.proc, self.sys):
            folder.mkdir(parents=True, exist_ok=True)

    def write(self, path: str, content: str | bytes) -> Path:
        """Write a file, in folders that are made if they aren't there, and return where it is."""
        file = self.root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content.encode() if isinstance(content, str) else content)
        return file

    def write_all(self, below: str, contents: Mapping[str, str | bytes]) -> Path:
        """Write files below a folder, and return the folder."""
        for path, content in contents.items():
            self.write(f"{below}/{path}", content)
        return self.root / below

    def words(self, path: str, words: npt.ArrayLike) -> Path:
        """Write a file with a 64-bit word for each page or block of pages, such as kpageflags."""
        return self.write(path, np.asarray(words, dtype=np.uint64).tobytes())

    def process(
        self,
        pid: int | str,
        name: str,
        *,
        parent: int = 1,
        state: str = "S",
        of_kernel: bool = False,
        start_ticks: int = 7200,
        threads: int = 1,
    ) -> Path:
        """Make a process, with its ``stat``, and return its folder.

        Args:
            pid: Its pid, or another name of its folder, such as "self".
            name: What it is called.
            parent: The pid of its parent.
            state: "S" if it sleeps, "R" if it runs, "Z" if it has ended.
            of_kernel: Whether it is a thread of the kernel.
            start_ticks: When it has begun, in clock ticks since the machine did.
            threads: The number of its threads.
        """
        flags = _OF_KERNEL if of_kernel else _OF_USER
        stat = (
            f"{pid} ({name}) {state} {parent} 0 0 0 -1 {flags}{' 0' * 10} {threads} 0 "
            f"{start_ticks}{' 0' * 30}\n"
        )
        return self.write(f"proc/{pid}/stat", stat).parent

    def cgroup(self, path: str, pids: Iterable[int] = ()) -> Path:
        """Make a cgroup (version 2) with these processes, and those above it; return its folder."""
        folder = self.sys / "fs/cgroup" / path.lstrip("/")
        folder.mkdir(parents=True, exist_ok=True)
        for each in (folder, *folder.parents):
            if each == self.sys / "fs":
                break
            (each / "cgroup.procs").touch()
        (folder / "cgroup.procs").write_text("".join(f"{pid}\n" for pid in pids))
        return folder

    def memory_blocks(self, nodes: Mapping[int, Sequence[int]], block_bytes: int) -> None:
        """Make the blocks of memory of each NUMA node, as memory hot-plug shows them: all online.

        Args:
            nodes: The numbers of its blocks by the number of each node.
            block_bytes: The size of a block.
        """
        devices = self.sys / "devices/system"
        for node, blocks in nodes.items():
            folder = devices / f"node/node{node}"
            folder.mkdir(parents=True, exist_ok=True)
            for block in blocks:
                self.write(f"sys/devices/system/memory/memory{block}/state", "online\n")
                (folder / f"memory{block}").symlink_to(devices / f"memory/memory{block}")
        self.write("sys/devices/system/memory/block_size_bytes", f"{block_bytes:x}\n")
