"""Instructions as the kernel reads them, maps, and programs that are run."""

import errno
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from damon_pagetable import system
from damon_pagetable.assembler import Assembler, Register
from damon_pagetable.errors import BpfError, VerifierError
from damon_pagetable.system import Map, Program
from damon_pagetable.tables import PageTables

needs_bpf = pytest.mark.needs("root", "page-tables")

R0, R1, R2, R3, R6, R10 = (Register(number) for number in (0, 1, 2, 3, 6, 10))


def assembled(*steps: Callable[[Assembler], None]) -> bytes:
    """Return a program of some steps."""
    code = Assembler()
    for step in steps:
        step(code)
    return code.code()


def returning(value: int) -> Callable[[Assembler], None]:
    """Return a step that ends a program with a result."""

    def add(code: Assembler) -> None:
        code.alu(R0, "=", value)
        code.exit()

    return add


@pytest.mark.parametrize(
    ("step", "encoded"),
    [
        (lambda code: code.alu(R1, "=", R2), "bf21000000000000"),
        (lambda code: code.alu(R1, "=", -1), "b7010000ffffffff"),
        (lambda code: code.alu(R3, "+=", R10), "0fa3000000000000"),
        (lambda code: code.alu(R3, ">>=", 12), "77030000 0c000000"),
        (lambda code: code.load(R1, R10, -8), "79a1f8ff00000000"),
        (lambda code: code.store(R10, -16, R1), "7b1af0ff00000000"),
        (lambda code: code.store_byte(R2, 3, R1), "7312030000000000"),
        (
            lambda code: code.constant(R1, 0xFFFF_8000_0000_0001),
            "1801000001000000 000000000080ffff",
        ),
        (lambda code: code.map_value(R1, 5, 64), "1821000005000000 0000000040000000"),
        (lambda code: code.call(113), "8500000071000000"),
        (lambda code: code.exit(), "9500000000000000"),
    ],
)
def test_encoding(step: Callable[[Assembler], None], encoded: str) -> None:
    """Each form of instruction has the bytes that the kernel's documentation gives it."""
    assert assembled(step) == bytes.fromhex(encoded)


def test_jumps_forward_and_back() -> None:
    """Distances are counted from the next instruction."""
    code = Assembler()
    code.label("again")
    code.jump_if(R1, ">=", R2, "end")
    code.jump("again")
    code.label("end")
    code.exit()
    assert code.code().hex(" ", 8) == "3d21010000000000 0500feff00000000 9500000000000000"


def test_constants_count_as_two_instructions_for_jumps() -> None:
    """A constant of 64 bits takes the place of two."""
    code = Assembler()
    code.jump("end")
    code.constant(R1, 1)
    code.label("end")
    assert code.code()[2:4] == b"\x02\0"


def test_label_that_is_missing() -> None:
    """A jump to nowhere is found when the program is complete."""
    with pytest.raises(ValueError, match="'nowhere' isn't placed"):
        assembled(lambda code: code.jump("nowhere"))


def test_label_that_is_placed_twice() -> None:
    """A name means one place."""
    with pytest.raises(ValueError, match="twice"):
        assembled(lambda code: code.label("here"), lambda code: code.label("here"))


def test_label_that_is_too_far_away() -> None:
    """Distances have 16 bits."""
    with pytest.raises(ValueError, match="too far"):
        assembled(
            lambda code: code.jump("end"),
            *[lambda code: code.exit()] * (1 << 15),
            lambda code: code.label("end"),
        )


@pytest.fixture
def shared() -> Iterator[Map]:
    """A map that this program sees."""
    with Map(4096, "damon_test", mapped=True) as made:
        yield made


@needs_bpf
def test_kernel_reads_instructions_as_they_are_meant(shared: Map) -> None:
    """In the words of its verifier: it lists a program that it rejects, here for its end."""
    code = Assembler()
    code.alu(R6, "=", R1)
    code.load(R1, R6, 8)
    code.alu(R1, "&=", 255)
    code.alu(R2, "=", R1)
    code.alu(R2, "<<=", 3)
    code.alu(R2, "|=", R1)
    code.alu(R2, "^=", R1)
    code.alu(R2, "-=", 1)
    code.alu(R2, ">>=", R1)
    code.store(R10, -8, R2)
    code.map_value(R3, shared.descriptor, 16)
    code.store_byte(R3, 1, R2)
    for operator, number in zip(("==", "<", "<=", ">", ">=", "&", "!="), range(1, 8), strict=True):
        code.load(R1, R6, number * 8)
        code.jump_if(R1, operator, number, "end")
    code.constant(R2, 0x1_0000_0002)
    code.label("end")
    code.exit()
    with pytest.raises(VerifierError) as raised:
        Program(code.code(), "damon_test")
    for expected in (
        "(bf) r6 = r1",
        "(79) r1 = *(u64 *)(r6 +8)",
        "(57) r1 &= 255",
        "(67) r2 <<= 3",
        "(4f) r2 |= r1",
        "(af) r2 ^= r1",
        "(17) r2 -= 1",
        "(7f) r2 >>= r1",
        "(7b) *(u64 *)(r10 -8) = r2",
        "(73) *(u8 *)(r3 +1) = r2",
        "if r1 == 0x1 goto",
        "if r1 != 0x7 goto",
        "if r1 < 0x2 goto",
        "if r1 <= 0x3 goto",
        "if r1 > 0x4 goto",
        "if r1 >= 0x5 goto",
        "if r1 & 0x6 goto",
        "(18) r2 = 0x100000002",
        "(95) exit",
    ):
        assert expected in raised.value.log


@needs_bpf
def test_program_returns_32_bits() -> None:
    """The result is a number without sign."""
    with Program(assembled(returning(-2)), "damon_test") as program:
        assert program.run() == 0xFFFF_FFFE


@needs_bpf
def test_program_writes_arguments_where_this_one_reads_them(shared: Map) -> None:
    """The map's memory is the same on both sides."""
    code = Assembler()
    code.load(R2, R1, 8)
    code.map_value(R3, shared.descriptor, 24)
    code.store(R3, 0, R2)
    returning(0)(code)
    with Program(code.code(), "damon_test") as program:
        program.run(0, 0xFEDC_BA98_7654_3210)
    words = np.frombuffer(shared.view(), np.uint64)
    assert words[3] == 0xFEDC_BA98_7654_3210


@needs_bpf
def test_program_that_the_verifier_rejects() -> None:
    """The error has the verifier's reason."""
    with pytest.raises(VerifierError, match="rejects a program") as raised:
        Program(assembled(lambda code: code.exit()), "damon_test")
    assert "R0 !read_ok" in raised.value.log


@needs_bpf
def test_kernel_that_is_locked_down(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the verifier says of its help being refused would explain nothing."""
    (tmp_path / "lockdown").write_text("none integrity [confidentiality]\n")
    monkeypatch.setattr(system, "_LOCKDOWN", tmp_path / "lockdown")
    with pytest.raises(VerifierError, match="locked down for confidentiality"):
        Program(assembled(lambda code: code.exit()), "damon_test")


@pytest.mark.parametrize(
    "line",
    [
        "program of this type cannot use helper bpf_probe_read_kernel#113",
        "unknown func bpf_probe_read_kernel#113",
    ],
)
def test_kernel_that_withholds_its_memory(line: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where lockdown can't be seen, as in a container, the verifier's words show it."""

    def load(*_: object) -> int:
        raise BpfError("bpf(2): a program: Invalid argument", errno.EINVAL)

    monkeypatch.setattr(Program, "_load", load)
    monkeypatch.setattr(Program, "_log", lambda *_: f"0: R1=ctx()\n{line}\n")
    with pytest.raises(VerifierError, match="doesn't let programs read its memory"):
        Program(b"", "damon_test")


@needs_bpf
def test_map_that_isn_t_to_be_seen() -> None:
    """What a program reads for itself can't be mapped."""
    with Map(4096, "damon_test") as hidden, pytest.raises(OSError, match="22"):
        hidden.view()


@needs_bpf
def test_map_that_is_too_large() -> None:
    """The error has the kernel's reason."""
    with pytest.raises(BpfError) as raised:
        Map(1 << 31, "damon_test")
    assert raised.value.errno == errno.E2BIG


@needs_bpf
def test_maps_and_programs_leave_no_open_files() -> None:
    """Closed means closed."""
    before = os.listdir("/proc/self/fd")
    for _ in range(3):
        PageTables().close()
    assert os.listdir("/proc/self/fd") == before


@pytest.mark.slow_in_lab
@needs_bpf
def test_without_privileges_the_reason_is_what_is_missing() -> None:
    """Users learn which capabilities to give."""
    statements = (
        "import os, sys\n"
        "from damon_pagetable.system import Map\n"
        "from damon_pagetable.errors import BpfError\n"
        "os.setgid(65534); os.setuid(65534)\n"
        "try: Map(4096, 'damon_test', mapped=True)\n"
        "except BpfError as error: print(error)\n"
    )
    command = [sys.executable, "-c", statements]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "CAP_BPF and CAP_PERFMON" in result.stdout
