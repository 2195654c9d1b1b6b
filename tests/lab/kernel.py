"""A kernel image and its modules."""

import gzip
import lzma
import re
import struct
from collections.abc import Callable, Iterable
from pathlib import Path

from attrs import frozen

from tests.lab.errors import LabError

_READERS: dict[str, Callable[[bytes], bytes]] = {
    ".ko": bytes,
    ".gz": gzip.decompress,
    ".xz": lzma.decompress,
}


@frozen
class Kernel:
    """A kernel for x86-64.

    Attributes:
        image: Its bzImage.
        version: Its version, as `uname -r` prints it.
    """

    image: Path
    version: str

    @classmethod
    def open(cls, path: Path) -> "Kernel":
        """Return the kernel in a file.

        Raises:
            LabError: The file can't be read or isn't a kernel image.
        """
        try:
            with path.open("rb") as file:
                head = file.read(0x8000)
        except OSError as error:
            raise LabError(f"kernel image {path}: {error.strerror}") from None
        # The boot protocol's magic, and its pointer to the version.
        if head[0x202:0x206] != b"HdrS":
            raise LabError(f"{path} is not a kernel image")
        start = struct.unpack_from("<H", head, 0x20E)[0] + 0x200
        return cls(path.resolve(), head[start:].split(None, 1)[0].decode())

    def modules(self, names: Iterable[str]) -> dict[str, bytes]:
        """Return modules with their dependencies, in the order to load them.

        They are searched where packages have them: for boot/vmlinuz-VERSION in
        lib/modules/VERSION and usr/lib/modules/VERSION. Modules that aren't found are assumed to be
        built in.
        """
        base = self.image.parent.parent
        files = {
            path.name.split(".ko")[0].replace("-", "_"): path
            for folder in (base / "usr/lib/modules", base / "lib/modules")
            for path in (folder / self.version).rglob("*.ko*")
        }
        loaded: dict[str, bytes] = {}

        def load(name: str) -> None:
            if name in loaded or name not in files:
                return
            content = _read(files[name])
            found = re.search(rb"\0depends=([^\0]*)\0", content)
            for dependency in found[1].decode().split(",") if found else ():
                load(dependency.replace("-", "_"))
            loaded[name] = content

        for name in names:
            load(name)
        return loaded


def _read(path: Path) -> bytes:
    reader = _READERS.get(path.suffix)
    if reader is None:
        raise LabError(f"kernel module {path} has an unsupported compression")
    return reader(path.read_bytes())
