"""The system call bpf(2): array maps that can be mapped, and programs that are run on demand."""

import contextlib
import ctypes
import errno
import mmap
import os
import platform
import re
import struct
from collections.abc import Sequence

import numpy as np

from damon_core import SelfClosing
from damon_pagetable.assembler import INSTRUCTION_BYTES
from damon_pagetable.errors import BpfError, VerifierError

#: The number of the system call, by architecture.
_NUMBERS = {"x86_64": 321, "aarch64": 280}

_MAP_CREATE, _PROGRAM_LOAD, _TEST_RUN = 0, 5, 10
_ARRAY = 2
_MMAPABLE = 1 << 10
#: Programs for raw tracepoints. They aren't attached to one: a test run calls them, in the task
#: that asks for it, under the RCU read lock, and with preemption off.
_RAW_TRACEPOINT = 17
_MAP_ATTRIBUTES = struct.Struct("=IIIIIII16s")
_LOAD_ATTRIBUTES = struct.Struct("=IIQQIIQII16s")
_RUN_ATTRIBUTES = struct.Struct("=IIIIQQIIIIQQIII4x")
_RESULT = struct.Struct("=4xI")
_LOG_BYTES = 1 << 24
#: Errors of the verifier; it has no others when it is given no log.
_REJECTED = (errno.EACCES, errno.EINVAL, errno.E2BIG)

_LOCKDOWN = "/sys/kernel/security/lockdown"
_NEEDS = "run as root, or with CAP_BPF and CAP_PERFMON"
_LOCKED = "the kernel is locked down for confidentiality (lockdown=integrity would do)"
_WITHHELD = (
    "the kernel doesn't let programs read its memory: it is locked down for confidentiality, or "
    "needs CONFIG_BPF_EVENTS"
)
#: How the verifier puts that; the second form is that of Linux before 6.8.
_IS_WITHHELD = re.compile("(cannot use helper|unknown func) bpf_probe_read_kernel")


class _Held(SelfClosing):
    """Something of the kernel that lasts as long as its file descriptor is open.

    Attributes:
        descriptor: It; -1 once it is closed.
    """

    descriptor: int

    def close(self) -> None:
        """Give it back to the kernel; memory that is mapped stays."""
        if self.descriptor >= 0:
            os.close(self.descriptor)
            self.descriptor = -1


class Map(_Held):
    """Memory of the kernel for programs: an array with one value, zeros at first.

    Args:
        size_bytes: Its size.
        name: What the kernel's listings call it; up to 15 letters, digits or underscores.
        mapped: Whether this program can see it.

    Attributes:
        descriptor: Its file descriptor.

    Raises:
        BpfError: The kernel refuses.
    """

    def __init__(self, size_bytes: int, name: str, *, mapped: bool = False) -> None:
        flags = _MMAPABLE if mapped else 0
        attributes = _MAP_ATTRIBUTES.pack(_ARRAY, 4, size_bytes, 1, flags, 0, 0, name.encode())
        self.descriptor = _bpf(_MAP_CREATE, ctypes.create_string_buffer(attributes), "a map")
        self._size_bytes = size_bytes

    def view(self) -> mmap.mmap:
        """Map the memory into this process.

        Raises:
            OSError: The kernel refuses, or the map isn't to be seen.
        """
        return mmap.mmap(self.descriptor, -(-self._size_bytes // mmap.PAGESIZE) * mmap.PAGESIZE)


class Program(_Held):
    """A program in the kernel, to be run on demand.

    Args:
        code: Its instructions. Its context is an array of up to 12 numbers of 64 bits, which it may
            only read.
        name: What the kernel's listings call it; up to 15 letters, digits or underscores.

    Attributes:
        descriptor: Its file descriptor.

    Raises:
        VerifierError: The kernel's verifier rejects the program.
        BpfError: The kernel refuses for another reason.
    """

    def __init__(self, code: bytes, name: str) -> None:
        try:
            self.descriptor = self._load(code, name, None)
        except BpfError as error:
            if error.errno not in _REJECTED:
                raise
            raise _rejection(error, self._log(code, name)) from None

    @classmethod
    def _log(cls, code: bytes, name: str) -> str:
        """Return what the verifier reports of a program that it rejects."""
        log = ctypes.create_string_buffer(_LOG_BYTES)
        with contextlib.suppress(BpfError):
            os.close(cls._load(code, name, log))
        return log.value.decode(errors="replace")

    @staticmethod
    def _load(code: bytes, name: str, log: "ctypes.Array[ctypes.c_char] | None") -> int:
        # The kernel lets only programs under the GPL read its memory. Those of this package are
        # given to it under that licence; elsewhere they have the licence of the package.
        license_text = ctypes.create_string_buffer(b"GPL")
        instructions = ctypes.create_string_buffer(code, len(code))
        attributes = _LOAD_ATTRIBUTES.pack(
            _RAW_TRACEPOINT,
            len(code) // INSTRUCTION_BYTES,
            ctypes.addressof(instructions),
            ctypes.addressof(license_text),
            1 if log is not None else 0,
            len(log) if log is not None else 0,
            ctypes.addressof(log) if log is not None else 0,
            0,
            0,
            name.encode(),
        )
        return _bpf(_PROGRAM_LOAD, ctypes.create_string_buffer(attributes), "a program")

    def run(self, *arguments: int) -> int:
        """Run the program in this task; return what it returns, 32 bits.

        Raises:
            BpfError: The kernel refuses.
        """
        calls = Calls([self], len(arguments))
        calls.arguments[0] = arguments
        calls.run(1)
        return calls.result()


class Calls:
    """Calls of a program, made ready: what a run takes should be the program's time.

    Args:
        programs: The program of each call, in their order.
        arguments: How many arguments each has.

    Attributes:
        arguments: The arguments of each, to be set.
    """

    def __init__(self, programs: Sequence[Program], arguments: int) -> None:
        self._number = _NUMBERS[platform.machine()]
        self.arguments = np.zeros((len(programs), arguments), dtype=np.uint64)
        size = arguments * 8
        first = self.arguments.ctypes.data
        self._attributes = []
        for number, program in enumerate(programs):
            address = first + number * size if size else 0
            values = (program.descriptor, 0, 0, 0, 0, 0, 0, 0, size, 0, address, 0, 0, 0, 0)
            attributes = _RUN_ATTRIBUTES.pack(*values)
            self._attributes.append(ctypes.create_string_buffer(attributes, len(attributes)))

    def run(self, count: int) -> None:
        """Make the first `count` calls.

        Raises:
            BpfError: The kernel refuses.
        """
        number, size = self._number, _RUN_ATTRIBUTES.size
        for attributes in self._attributes[:count]:
            # Without `_bpf`, which takes as long as the call.
            if _SYSCALL(number, _TEST_RUN, attributes, size) < 0:
                code = ctypes.get_errno()
                raise BpfError(_reason(code, "running a program"), code)

    def result(self) -> int:
        """Return what the program returned in the first call, 32 bits."""
        found: int = _RESULT.unpack_from(self._attributes[0])[0]
        return found


def _rejection(error: BpfError, log: str) -> VerifierError:
    if _is_locked_down():
        reason = _LOCKED
    elif _IS_WITHHELD.search(log):
        reason = _WITHHELD
    else:
        reason = f"{os.strerror(error.errno)} (damon --verbose shows its log)"
    return VerifierError(f"the kernel's verifier rejects a program: {reason}", error.errno, log)


_SYSCALL = ctypes.CDLL(None, use_errno=True).syscall
_SYSCALL.restype = ctypes.c_long


def _bpf(command: int, attributes: "ctypes.Array[ctypes.c_char]", what: str) -> int:
    number = _NUMBERS.get(platform.machine())
    if number is None:
        raise BpfError(f"bpf(2) isn't known on {platform.machine()}", errno.ENOSYS)
    # Without the byte 0 at the end, which Python adds.
    size = len(attributes) - 1
    result: int = _SYSCALL(number, command, attributes, size)
    if result >= 0:
        return result
    code = ctypes.get_errno()
    raise BpfError(_reason(code, what), code)


def _reason(code: int, what: str) -> str:
    if code == errno.ENOSYS:
        return "the kernel has no bpf(2): it needs CONFIG_BPF_SYSCALL"
    if code == errno.EPERM:
        return f"bpf(2) isn't permitted: {_NEEDS}"
    return f"bpf(2): {what}: {os.strerror(code)}"


def _is_locked_down() -> bool:
    """Return whether programs can't read the kernel's memory, where that can be seen."""
    try:
        with open(_LOCKDOWN, encoding="ascii", errors="replace") as file:
            return "[confidentiality]" in file.read()
    except OSError:
        return False
