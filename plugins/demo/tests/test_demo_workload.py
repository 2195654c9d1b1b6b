"""The workload: its pattern, and that it does what it tells."""

import subprocess
import sys
import time
from pathlib import Path

import pytest
from damon_demo import AreaSpec, Pattern, Phase, Truth, WorkloadProcess

KIB = 1024
PATTERN = Pattern(
    areas=(AreaSpec("a", 256 * KIB), AreaSpec("b", 512 * KIB)),
    phases=(Phase(("a",), 100_000), Phase(("a", "b"), 100_000)),
    for_us=60_000_000,
)


def mappings(pid: int) -> dict[tuple[int, int], dict[str, str]]:
    """Return `/proc/PID/smaps` by start and end."""
    found: dict[tuple[int, int], dict[str, str]] = {}
    current: dict[str, str] = {}
    for line in Path(f"/proc/{pid}/smaps").read_text().splitlines():
        key, *rest = line.split(maxsplit=1)
        if key.endswith(":"):
            current[key[:-1]] = rest[0] if rest else ""
        else:
            start, end = (int(number, 16) for number in key.split("-"))
            current = found[start, end] = {}
    return found


class TestPattern:
    def test_json_round_trip(self) -> None:
        """A pattern is the same after it was written and read."""
        assert Pattern.from_json(PATTERN.to_json()) == PATTERN

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
                "'b', which is not an area",
            ),
            (
                '{"areas": [{"name": "a", "size_bytes": 4096}], "for_us": 1,'
                ' "phases": [{"hot": [], "duration_us": 0}]}',
                "duration_us must be above 0",
            ),
        ],
    )
    def test_what_cannot_be_carried_out_is_refused(self, text: str, message: str) -> None:
        """A pattern with a mistake is refused with what is wrong."""
        with pytest.raises(ValueError, match=message):
            Pattern.from_json(text)


class TestProcess:
    def test_every_area_is_a_resident_mapping_of_its_own(self) -> None:
        """The kernel shows each area as one mapping, wholly in memory."""
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
            deadline = time.monotonic() + 60
            seen = ""
            # A page that stays in the processor's TLB may be missed once.
            while seen != "512 kB" and time.monotonic() < deadline:
                Path(f"/proc/{workload.pid}/clear_refs").write_text("1")
                time.sleep(0.1)
                found = mappings(workload.pid)
                seen = found[hot.start, hot.end]["Referenced"]
                assert found[cold.start, cold.end]["Referenced"] == "0 kB"
        assert seen == "512 kB"

    def test_phases_are_told_in_turn(self) -> None:
        """Each phase is told as it begins, and after the last comes the first."""
        with WorkloadProcess(PATTERN) as workload:
            deadline = time.monotonic() + 60
            while len(workload.truth().phases) < 3 and time.monotonic() < deadline:
                time.sleep(0.02)
        phases = workload.truth().phases[:3]
        assert [phase.hot for phase in phases] == [("a",), ("a", "b"), ("a",)]
        assert [phase.number for phase in phases] == [1, 2, 3]

    def test_ends_after_its_time(self, tmp_path: Path) -> None:
        """By hand it runs for its time and tells its end."""
        file = tmp_path / "pattern.json"
        file.write_text(PATTERN._replace(for_us=150_000).to_json())
        done = subprocess.run(
            [sys.executable, "-m", "damon_demo.workload", str(file)],
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        )
        truth = Truth.parse(done.stdout.splitlines())
        assert truth.end_us is not None
        assert truth.end_us - truth.phases[0].unix_us >= 150_000

    def test_ends_with_its_parent(self) -> None:
        """When the process that started it is killed, it ends by itself."""
        script = (
            "import time; from damon_demo import *;"
            f"w = WorkloadProcess(Pattern.from_json('''{PATTERN.to_json()}'''));"
            "print(w.pid, flush=True); time.sleep(60)"
        )
        parent = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
        assert parent.stdout is not None
        with parent.stdout as stdout:
            pid = int(stdout.readline())
        parent.kill()
        parent.wait()
        deadline = time.monotonic() + 30
        while _runs(pid) and time.monotonic() < deadline:
            time.sleep(0.05)
        assert not _runs(pid)

    def test_a_bad_file_is_one_line(self, tmp_path: Path) -> None:
        """A file that isn't there is told, with exit code 2."""
        done = subprocess.run(
            [sys.executable, "-m", "damon_demo.workload", str(tmp_path / "none.json")],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 2
        assert "No such file" in done.stderr.splitlines()[-1]


def _runs(pid: int) -> bool:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False
    return stat.rsplit(")", 1)[1].split()[0] != "Z"
