"""A kernel image, and the modules beside it."""

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
        version: What `uname -r` tells in it.
    """

    image: Path
    version: str

    @classmethod
    def open(cls, path: Path) -> "Kernel":
        """Read what kernel a file holds.

        Raises:
            LabError: It can't be read, or is no kernel image.
        """
        try:
            with path.open("rb") as file:
                head = file.read(0x8000)
        except OSError as error:
            raise LabError(f"kernel image {path}: {error.strerror}") from None
        # The boot protocol's magic, and its pointer to the version.
        if head[0x202:0x206] != b"HdrS":
            raise LabError(f"{path} is no kernel image")
        start = struct.unpack_from("<H", head, 0x20E)[0] + 0x200
        return cls(path.resolve(), head[start:].split(None, 1)[0].decode())

    def modules(self, names: Iterable[str]) -> dict[str, bytes]:
        """Return modules and all that they depend on, in the order in which to load them.

        They are looked for where a package puts them: for boot/vmlinuz-VERSION, in
        lib/modules/VERSION or usr/lib/modules/VERSION. Names that aren't found are taken as
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
        raise LabError(f"kernel module {path} is compressed in a way that isn't known here")
    return reader(path.read_bytes())
