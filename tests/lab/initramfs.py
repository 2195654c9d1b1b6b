"""The initramfs of the guest: busybox, `init.sh` and modules of the kernel."""

import gzip
import shutil
import subprocess
from collections.abc import Iterable
from pathlib import Path

from tests.lab.errors import LabError
from tests.lab.kernel import Kernel

_INIT = Path(__file__).with_name("init.sh")
#: For the host's files, and for tests with compressed swap.
_MODULES = ("virtio_pci", "9pnet_virtio", "9p", "zram")


def build(kernel: Kernel, kept: Iterable[Path], work: Path) -> Path:
    """Write the archive into an empty folder; return its path.

    Args:
        kernel: The kernel whose modules to include.
        kept: Folders below the host's /tmp or /run to show in the guest.
        work: The empty folder.

    Raises:
        LabError: A static busybox is missing.
    """
    busybox = shutil.which("busybox")
    # A dynamic program has the name of its loader in its first page.
    if busybox is None or b"ld-linux" in Path(busybox).read_bytes()[:4096]:
        raise LabError("the lab needs a static busybox: apt-get install busybox-static")
    tree = work / "tree"
    for folder in ("bin", "dev", "keep", "modules", "proc", "root"):
        (tree / folder).mkdir(parents=True)
    shutil.copy(busybox, tree / "bin/busybox")
    shutil.copy(_INIT, tree / "init")
    (tree / "init").chmod(0o755)
    (tree / "keep/list").write_text("".join(f"{path}\n" for path in kept))
    for number, (name, content) in enumerate(kernel.modules(_MODULES).items()):
        (tree / f"modules/{number:02}-{name}.ko").write_bytes(content)
    names = [".", *sorted(str(path.relative_to(tree)) for path in tree.rglob("*"))]
    packed = subprocess.run(
        [busybox, "cpio", "-o", "-H", "newc"],
        cwd=tree,
        input="\n".join(names).encode() + b"\n",
        capture_output=True,
        check=True,
    )
    archive = work / "initramfs.gz"
    archive.write_bytes(gzip.compress(packed.stdout, compresslevel=1))
    shutil.rmtree(tree)
    return archive
