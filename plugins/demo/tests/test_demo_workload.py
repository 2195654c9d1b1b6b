"""The workload: its pattern, and that it does what it prints."""

import mmap
import struct
import subprocess
import sys
import time
from pathlib import Path

import pytest
from damon_demo.process import WorkloadProcess
from damon_demo.truth import Truth
from damon_demo.workload import KINDS, AreaSpec, Pattern, Phase, Touch

from damon_core import DamonError
from damon_core.testing import eventually

KIB = 1024
MIB = 1024 * KIB
PATTERN = Pattern(
    areas=(AreaSpec("a", 256 * KIB), AreaSpec("b", 512 * KIB)),
    phases=(Phase(("a",), 100_000), Phase(("a", "b"), 100_000)),
    for_us=60_000_000,
)


def test_the_pattern_of_the_readme_is_one() -> None:
    """README.md has two areas in two phases."""
    readme = (Path(__file__).parents[1] / "README.md").read_text()
    pattern = Pattern.from_json(readme.partition("```json\n")[2].partition("```")[0])
    assert [area.name for area in pattern.areas] == ["a", "b"]
    assert len(pattern.phases) == 2


def mappings(pid: int) -> dict[tuple[int, int], dict[str, str]]:
    """Return `/proc/PID/smaps` by start and end, each mapping's first line as `maps`."""
    found: dict[tuple[int, int], dict[str, str]] = {}
    current: dict[str, str] = {}
    for line in Path(f"/proc/{pid}/smaps").read_text().splitlines():
        key, *rest = line.split(maxsplit=1)
        if key.endswith(":"):
            current[key[:-1]] = rest[0] if rest else ""
        else:
            start, end = (int(number, 16) for number in key.split("-"))
            current = found[start, end] = {"maps": rest[0]}
    return found


def one_area(kind: str, *touch: Touch, size_bytes: int = 4 * MIB) -> Pattern:
    """Return a pattern of one area, touched or left alone all the time."""
    return Pattern((AreaSpec("a", size_bytes, kind),), (Phase(touch, 60_000_000),), 60_000_000)


def mapping(workload: WorkloadProcess) -> dict[str, str]:
    """Return the fields of a workload's only area in `/proc/PID/smaps`."""
    (area,) = workload.truth().areas
    return mappings(workload.pid)[area.start, area.end]


def pattern_json(area: str = "", phase: str = "", **more: int) -> str:
    """Return a pattern with a mistake in its area, its phase's touch, or its other keys."""
    pattern = {"for_us": 1, **more}
    return (
        f'{{"areas": [{{"name": "a", "size_bytes": 8192 {area}}}], "phases": [{{"hot": [{{"area": '
        f'"a" {phase}}}], "duration_us": 5}}], {str(pattern)[1:-1]}}}'
    ).replace("'", '"')


class TestPattern:
    def test_json_round_trip(self) -> None:
        """A pattern is the same after writing and reading."""
        touches = ("a", Touch("b", share=0.5, scattered=True, every_us=0, write=True))
        pattern = PATTERN._replace(phases=(Phase(touches, 1),), pause_us=0, children=2)
        assert Pattern.from_json(pattern.to_json()) == pattern

    @pytest.mark.parametrize(("hot_bytes", "parts"), [(10 * MIB, 10), (3 * 4096, 7), (4096, 1)])
    def test_moving_parts_fill_their_area(self, hot_bytes: int, parts: int) -> None:
        """The parts of a moving pattern are adjacent, without a hole or an overlap."""
        pattern = Pattern.moving(hot_bytes, parts * hot_bytes, 1, 1)
        runs = [
            touch.page_runs(pattern.areas[0].pages)[0]
            for phase in pattern.phases
            for touch in phase.touches
        ]
        assert len(runs) == parts
        assert [0, *(end for _, end in runs)] == [
            *(first for first, _ in runs),
            pattern.areas[0].pages,
        ]

    @pytest.mark.parametrize(("hot_bytes", "size_bytes"), [(3 * MIB, 10 * MIB), (6 * KIB, MIB)])
    def test_moving_by_broken_parts_is_refused(self, hot_bytes: int, size_bytes: int) -> None:
        """A hot part must be of whole pages, and fill the area in whole steps."""
        with pytest.raises(ValueError, match="multiple of hot_bytes, and hot_bytes of 4096"):
            Pattern.moving(hot_bytes, size_bytes, 1, 1)

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("{", "Expecting"),
            ("[]", "must be an object"),
            ('{"areas": []}', "'phases' is missing"),
            ('{"areas": [], "phases": [], "for_us": 1}', "at least one"),
            (
                '{"areas": [{"name": "a", "size_bytes": 100}], "phases": [], "for_us": 1}',
                "area 'a': size_bytes must be a multiple of 4096",
            ),
            (
                '{"areas": [{"name": "a", "size_bytes": 4096}], "for_us": 1,'
                ' "phases": [{"hot": ["b"], "duration_us": 5}]}',
                "there is no area 'b'",
            ),
            (
                '{"areas": [{"name": "a", "size_bytes": 4096}], "for_us": 1,'
                ' "phases": [{"hot": [], "duration_us": 0}]}',
                "phase 1: duration_us must be a whole number of at least 1",
            ),
            (
                pattern_json(', "kind": "disk"'),
                "area 'a': kind is 'disk', must be one of anonymous,",
            ),
            (pattern_json(', "kind": "thp"'), "size_bytes must be a multiple of 2097152"),
            (pattern_json("", ', "share": 1.5'), "phase 1, area 'a': share must be from 0 to 1"),
            (pattern_json("", ', "share": 0.1'), "share 0.1 of 2 pages is less than a page"),
            (
                pattern_json("", ', "share": 1, "begin": 0.5'),
                r"begin \+ share is beyond the end of the area",
            ),
            (
                pattern_json("", ', "begin": 0.5, "scattered": true'),
                "begin can't be given for scattered pages",
            ),
            (pattern_json("", ', "write": 1'), "write must be true or false"),
            (pattern_json("", ', "every_us": -1'), "every_us must be a whole number of at least 0"),
            (pattern_json("", ', "often": 1'), "unexpected keyword argument 'often'"),
            (pattern_json("", '}, {"area": "a"'), "an area can be hot only once in a phase"),
            (pattern_json(children=-1), "children must be a whole number of at least 0"),
            (pattern_json(pause_us=-1), "pause_us must be a whole number of at least 0"),
        ],
    )
    def test_what_cannot_be_carried_out_is_refused(self, text: str, message: str) -> None:
        """A pattern with a mistake is refused, with what is wrong."""
        with pytest.raises(ValueError, match=message):
            Pattern.from_json(text)


class TestTouch:
    @pytest.mark.parametrize("kind", ["anonymous", "thp"])
    @pytest.mark.parametrize("scattered", [False, True])
    @pytest.mark.parametrize("share", [0.01, 0.25, 0.3, 0.5, 2 / 3, 1])
    def test_slices_have_a_byte_of_each_page(
        self, share: float, scattered: bool, kind: str
    ) -> None:
        """A sweep touches one byte of each small page of the runs, once."""
        touch, pages = Touch("a", share=share, scattered=scattered), 120
        size = KINDS[kind]
        bytes_touched = [
            byte
            for each in touch.byte_slices(pages * size, size)
            for byte in range(each.start, each.stop, each.step)
        ]
        runs = touch.page_runs(pages)
        assert sorted(bytes_touched) == [
            byte for first, end in runs for byte in range(first * size, end * size, mmap.PAGESIZE)
        ]
        assert sum(end - first for first, end in runs) == round(share * pages)

    def test_equal_distances_are_one_slice(self) -> None:
        """Pages at equal distances are touched by one slice."""
        assert Touch("a", share=0.25, scattered=True).byte_slices(64 * 4096, 4096) == [
            slice(0, 64 * 4096, 4 * 4096)
        ]


class TestKinds:
    @pytest.mark.parametrize("kind", ["anonymous", "file", "shared", "thp"])
    def test_all_is_resident(self, kind: str) -> None:
        """An area of each kind is a separate mapping, wholly resident."""
        with WorkloadProcess(one_area(kind)) as workload:
            assert mapping(workload)["Rss"] == "4096 kB"

    def test_anonymous(self) -> None:
        """Private memory without a file, in small pages."""
        with WorkloadProcess(one_area("anonymous")) as workload:
            found = mapping(workload)
        assert found["maps"].split() == ["rw-p", "00000000", "00:00", "0"]
        assert (found["Anonymous"], found["AnonHugePages"]) == ("4096 kB", "0 kB")

    def test_file(self) -> None:
        """A private mapping of a deleted file, with pages of the page cache."""
        with WorkloadProcess(one_area("file", Touch("a"))) as workload:
            found = mapping(workload)
        assert found["maps"].startswith("rw-p")
        assert found["maps"].endswith("(deleted)")
        assert found["Anonymous"] == "0 kB"

    def test_shared(self) -> None:
        """A shared mapping, which only one process uses if there is no child."""
        with WorkloadProcess(one_area("shared")) as workload:
            found = mapping(workload)
        assert found["maps"].startswith("rw-s")
        assert found["Pss"] == "4096 kB"

    def test_thp(self) -> None:
        """Private memory, all of it in huge pages."""
        with WorkloadProcess(one_area("thp")) as workload:
            found = mapping(workload)
            (area,) = workload.truth().areas
        assert found["AnonHugePages"] == "4096 kB"
        assert area.start % (2 * MIB) == 0

    def test_hugetlb_without_pages_is_reported(self) -> None:
        """If the huge pages aren't reserved, one line says what to do."""
        pattern = one_area("hugetlb", size_bytes=1 << 42)
        with pytest.raises(
            DamonError, match=r"area 'a': .* needs 2097152 free huge pages"
        ) as error:
            WorkloadProcess(pattern)
        assert len(str(error.value).splitlines()) == 1


class TestProcess:
    def test_every_area_is_a_separate_resident_mapping(self) -> None:
        """The kernel shows each area as one mapping, wholly resident."""
        with WorkloadProcess(PATTERN) as workload:
            found = mappings(workload.pid)
            areas = workload.truth().areas
        for area, size_kib in zip(
            sorted(areas, key=lambda area: area.name), (256, 512), strict=True
        ):
            assert found[area.start, area.end]["Rss"] == f"{size_kib} kB"

    def test_hot_areas_are_read_all_over_and_cold_ones_are_not(self) -> None:
        """The kernel sees every page of the hot area referenced, none of the cold one."""
        pattern = PATTERN._replace(phases=(Phase(("b",), 60_000_000),))
        with WorkloadProcess(pattern) as workload:
            cold, hot = sorted(workload.truth().areas, key=lambda area: area.name)

            def all_hot_pages_are_seen() -> bool:
                Path(f"/proc/{workload.pid}/clear_refs").write_text("1")
                time.sleep(0.1)
                found = mappings(workload.pid)
                assert found[cold.start, cold.end]["Referenced"] == "0 kB"
                return found[hot.start, hot.end]["Referenced"] == "512 kB"

            # A page that stays in the CPU's TLB may be missed once.
            eventually(all_hot_pages_are_seen)

    def test_phases_are_printed_in_turn(self) -> None:
        """Each phase is printed when it begins, and the first one follows the last."""
        with WorkloadProcess(PATTERN) as workload:
            eventually(lambda: len(workload.truth().phases) >= 3)
        phases = workload.truth().phases[:3]
        assert [phase.hot for phase in phases] == [("a",), ("a", "b"), ("a",)]
        assert [phase.number for phase in phases] == [1, 2, 3]

    @pytest.mark.parametrize("scattered", [False, True])
    def test_exactly_the_share_is_touched(self, scattered: bool) -> None:
        """Exactly the pages of the truth are written: a written page of a file becomes a copy."""
        touch = Touch("a", share=0.3, scattered=scattered, write=True)
        with WorkloadProcess(one_area("file", touch, size_bytes=512 * KIB)) as workload:
            (area,) = workload.truth().areas

            def copied_pages() -> list[int]:
                return _copied_pages(workload.pid, area.start, area.end)

            eventually(lambda: len(copied_pages()) >= 38)
            copied = copied_pages()
            hot = eventually(lambda: workload.truth().hot_ranges(time.time_ns() // 1_000))
        assert copied == [page for run in hot for page in range(*run, mmap.PAGESIZE)]
        assert len(copied) == 38

    def test_spinning_never_sleeps(self) -> None:
        """A workload that touches an area without a pause never gives up the CPU by itself."""
        with WorkloadProcess(one_area("anonymous", Touch("a", every_us=0))) as workload:
            time.sleep(0.3)
            before = _voluntary_switches(workload.pid)
            time.sleep(0.3)
            assert _voluntary_switches(workload.pid) == before

    def test_sweeps_are_counted(self) -> None:
        """Each phase has the number of sweeps of each area, at most one per interval."""
        phase = Phase((Touch("a", every_us=10_000), Touch("b", every_us=0)), 100_000)
        with WorkloadProcess(PATTERN._replace(phases=(phase,), for_us=200_000)) as workload:
            workload.wait()
            truth = workload.truth()
        assert len(truth.phases) == 2
        for run in truth.phases:
            assert run.sweeps is not None
            assert 1 <= run.sweeps["a"] <= 10
            assert run.sweeps["b"] >= run.sweeps["a"]

    def test_a_child_touches_the_same_memory(self) -> None:
        """Memory shared with a child counts half for each, and the child ends too."""
        with WorkloadProcess(one_area("shared", Touch("a"))._replace(children=1)) as workload:
            (child,) = workload.truth().children
            eventually(lambda: mapping(workload)["Pss"] == "2048 kB")
            assert mapping(workload)["Rss"] == "4096 kB"
        eventually(lambda: not _runs(child))

    def test_ends_after_its_time(self, tmp_path: Path) -> None:
        """Run as a program, the workload ends after its time and prints that."""
        file = tmp_path / "pattern.json"
        file.write_text(PATTERN._replace(for_us=150_000).to_json())
        done = subprocess.run(
            [sys.executable, "-m", "damon_demo", str(file)],
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        )
        truth = Truth.parse(done.stdout.splitlines())
        assert truth.end_us is not None
        assert truth.end_us - truth.phases[0].unix_us >= 150_000

    def test_ends_with_its_parent(self) -> None:
        """The workload ends when the process that started it is killed."""
        script = (
            "import time; from damon_demo.process import *; from damon_demo.workload import *;"
            f"w = WorkloadProcess(Pattern.from_json('''{PATTERN.to_json()}'''));"
            "print(w.pid, flush=True); time.sleep(60)"
        )
        parent = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
        assert parent.stdout is not None
        with parent.stdout as stdout:
            pid = int(stdout.readline())
        parent.kill()
        parent.wait()
        eventually(lambda: not _runs(pid))

    def test_a_bad_file_is_one_line(self, tmp_path: Path) -> None:
        """A missing file is reported in one line, with exit code 2."""
        done = subprocess.run(
            [sys.executable, "-m", "damon_demo", str(tmp_path / "none.json")],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 2
        assert "No such file" in done.stderr
        assert len(done.stderr.splitlines()) == 1


def _copied_pages(pid: int, start: int, end: int) -> list[int]:
    """Return the addresses of pages of a private file mapping that were replaced with copies."""
    pages = (end - start) // mmap.PAGESIZE
    with Path(f"/proc/{pid}/pagemap").open("rb") as pagemap:
        pagemap.seek(start // mmap.PAGESIZE * 8)
        entries = struct.unpack(f"{pages}Q", pagemap.read(pages * 8))
    of_file = 1 << 61
    return [
        start + number * mmap.PAGESIZE
        for number, entry in enumerate(entries)
        if not entry & of_file
    ]


def _voluntary_switches(pid: int) -> int:
    status = Path(f"/proc/{pid}/status").read_text()
    (line,) = [line for line in status.splitlines() if line.startswith("voluntary_ctxt")]
    return int(line.split()[1])


def _runs(pid: int) -> bool:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False
    return stat.rsplit(")", 1)[1].split()[0] != "Z"
