"""What it costs to monitor a host with hundreds of cgroups and thousands of processes.

Small processes are started in cgroups that are made for it, below the cgroup `damon-fleet`. They
are monitored by `damon run`: with one context for all cgroups and series for each process, with one
and series for each cgroup, and with a context for each cgroup.
Printed is what the scheduler says of the program's CPU time, since it was started, beside what the
contexts say of themselves in their metrics; its memory, threads and open files; how old the values
are that are served; and how long a scrape takes. Needs root, and cgroups that may be made here.
"""

import os
import re
import statistics
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory

from attrs import define, frozen
from damon_cgroup import hierarchies

from benchmarks.measure import command_line, print_table, progress
from benchmarks.programs import DAMON, compiled, line_of, started
from damon_core.testing import free_port

#: The first part of a run, in which contexts begin.
BEGINNING_S = 30
#: What is compared: one context, one with series by cgroup, or one for each cgroup.
ONE, GROUPED, MANY = "one context", "one context, by cgroup", "a context each"
_SAMPLE = re.compile(r"^(\w+)(?:\{(.*)\})? (\S+)$", re.MULTILINE)
_TICKS_S = 1 / os.sysconf("SC_CLK_TCK")


@contextmanager
def fleet(cgroups: int, processes: int, mib: int) -> Iterator[Path]:
    """Run small processes in cgroups during the block; return the cgroup above them."""
    mounts = hierarchies()
    if not mounts:
        sys.exit("skipped: no cgroup hierarchy is mounted")
    mount = next((each.mount for each in mounts if each.version == 2), mounts[0].mount)
    top = mount / f"damon-fleet-{os.getpid()}"
    folders = [top / str(number) for number in range(cgroups)]
    try:
        for folder in (top, *folders):
            folder.mkdir()
        with TemporaryDirectory() as work:
            program = compiled(Path(__file__).with_suffix(".c"), Path(work))
            command = [program, top, str(cgroups), str(processes), str(mib)]
            with started(list(map(str, command))) as helper:
                if int(line_of(helper)) < processes:
                    sys.exit("skipped: so many processes can't be started here")
                time.sleep(2)  # until they have their memory
                try:
                    yield top
                finally:
                    assert helper.stdin is not None
                    helper.stdin.close()
                    helper.wait()
    finally:
        for folder in (*folders, top):
            with suppress(FileNotFoundError):
                folder.rmdir()


def configuration(
    top: Path, cgroups: int, kind: str, keys: str, port: int, *, backend: str = "referenced"
) -> str:
    """Return a file with contexts of a kind for so many cgroups."""
    one = kind != MANY
    paths = [top] if one else [top / str(number) for number in range(cgroups)]
    tables = [
        f"""
[[context]]
name = "{path.name}"
labels = {{ unit = "{path.name}.service" }}
[context.primitive]
use = "cgroup"
path = "{path}"
backend = "{backend}"
descendants = {str(one).lower()}
group_by = "{"cgroup" if kind == GROUPED else "none"}"
[[context.callback]]
use = "prometheus"
port = {port}
max_targets = 10000
by = ["{"group" if kind == GROUPED else "target"}"]
"""
        for path in paths
    ]
    return keys + "\n" + "".join(tables)


@define
class Scrape:
    """What a scrape returned.

    Attributes:
        took_s: How long it took.
        series: The number of series.
        ages_s: How old the oldest value of each context was.
        cpu_s: The CPU time that contexts say they have used.
        targets: The number of targets with values.
        resting: How many are looked at less often than they should be.
    """

    took_s: float
    series: int
    ages_s: list[float]
    cpu_s: float
    targets: int
    resting: int


def scrape(port: int) -> Scrape | None:
    """Read the metrics; None if they are not served (yet)."""
    begun_s = time.monotonic()
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=60) as reply:
            text = reply.read().decode()
    except (urllib.error.URLError, OSError):
        return None
    took_s, now_s = time.monotonic() - begun_s, time.time()
    found: dict[str, list[tuple[str, float]]] = {}
    series = 0
    for name, labels, value in _SAMPLE.findall(text):
        found.setdefault(name, []).append((labels, float(value)))
        series += 1
    times = found.get("damon_last_aggregation_timestamp_seconds", [])
    ages = [value for _, value in found.get("damon_staleness_seconds", ())]
    return Scrape(
        took_s=took_s,
        series=series,
        ages_s=ages or [now_s - value for _, value in times],
        cpu_s=sum(value for _, value in found.get("damon_cpu_seconds_total", ())),
        targets=round(sum(value for _, value in found.get("damon_targets", ()))),
        resting=round(sum(value for _, value in found.get("damon_resting_targets", ()))),
    )


@frozen
class Usage:
    """What the kernel says of a process.

    Attributes:
        cpu_s: Its CPU time, of all its threads.
        resident_mib: Its memory.
        peak_mib: The most that it was.
        threads: Its threads.
        files: Its open files.
    """

    cpu_s: float
    resident_mib: float
    peak_mib: float
    threads: int
    files: int

    @classmethod
    def of(cls, pid: int) -> "Usage":
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        status = dict(
            line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines()
        )
        return cls(
            cpu_s=(int(fields[11]) + int(fields[12])) * _TICKS_S,
            resident_mib=int(status["VmRSS"].split()[0]) / 1024,
            peak_mib=int(status["VmHWM"].split()[0]) / 1024,
            threads=int(status["Threads"]),
            files=len(os.listdir(f"/proc/{pid}/fd")),
        )


def measured(text: str, port: int, seconds: int, log: Path) -> list[str]:
    """Run `damon run` with a configuration for a while; return the cells of a row."""
    with TemporaryDirectory() as work:
        file = Path(work, "damon.toml")
        file.write_text(text)
        with open(log, "a") as errors:
            process = subprocess.Popen([DAMON, "run", str(file)], stderr=errors)
            try:
                return _row(process, port, seconds)
            finally:
                process.terminate()
                try:
                    process.wait(30)
                except subprocess.TimeoutExpired:
                    process.kill()


def _row(process: "subprocess.Popen[bytes]", port: int, seconds: int) -> list[str]:
    begun_s = time.monotonic()
    while scrape(port) is None:
        if process.poll() is not None:
            sys.exit(f"damon run has ended with {process.returncode}: see its log")
        if time.monotonic() - begun_s > BEGINNING_S:
            break
        time.sleep(0.2)
    imported = Usage.of(process.pid)
    time.sleep(max(BEGINNING_S - (time.monotonic() - begun_s), 0))
    first, first_s = Usage.of(process.pid), time.monotonic() - begun_s
    early = scrape(port)
    before = Usage.of(process.pid)
    before_s = time.monotonic() - begun_s
    time.sleep(max(seconds - (time.monotonic() - begun_s), 0))
    last, last_s = Usage.of(process.pid), time.monotonic() - begun_s
    found = scrape(port)
    later = (last.cpu_s - before.cpu_s) / (last_s - before_s)
    cells = [
        f"{imported.cpu_s:.1f} s",
        f"{100 * first.cpu_s / first_s:.1f} %",
        f"{100 * later:.1f} %",
    ]
    if found is None or early is None:
        cells += ["-"] * 7
    else:
        own = (found.cpu_s - early.cpu_s) / (last_s - before_s)
        oldest = max(found.ages_s, default=0.0)
        middle = statistics.median(found.ages_s) if found.ages_s else 0.0
        cells += [
            f"{100 * own:.1f} %",
            str(found.targets),
            str(found.resting),
            f"{middle:.0f} s",
            f"{oldest:.0f} s",
            str(found.series),
            f"{found.took_s:.2f} s",
        ]
    return [
        *cells,
        f"{last.resident_mib:.0f}",
        f"{last.peak_mib:.0f}",
        str(last.threads),
        str(last.files),
    ]


def main() -> None:
    """Measure each kind of configuration and print a row for each."""
    parser = command_line("fleet_host", __doc__)
    parser.add_argument("--cgroups", type=int, nargs="+", default=[50, 200, 500])
    parser.add_argument("--processes", type=int, default=4, help="in each cgroup (default: 4)")
    parser.add_argument("--mib", type=int, default=2, help="of each process (default: 2)")
    parser.add_argument("--seconds", type=int, default=150, help="each run (default: 150)")
    parser.add_argument("--kinds", choices=[ONE, GROUPED, MANY], nargs="+")
    parser.add_argument("--backend", default="referenced")
    parser.add_argument("--keys", default="", help="keys at the head of the configuration file")
    parser.add_argument("--log", type=Path, default=Path("/dev/null"), help="of damon run")
    options = parser.parse_args()
    if options.quick:
        options.cgroups, options.seconds = [3], BEGINNING_S + 5
    if os.geteuid() != 0:
        sys.exit("skipped: needs root")
    rows = []
    for cgroups in options.cgroups:
        with fleet(cgroups, cgroups * options.processes, options.mib) as top:
            for kind in options.kinds or (ONE, GROUPED, MANY):
                name, port = f"{cgroups} cgroups, {kind}", free_port()
                progress(name)
                text = configuration(
                    top, cgroups, kind, options.keys, port, backend=options.backend
                )
                rows.append([name, *measured(text, port, options.seconds, options.log)])
                print(rows[-1], file=sys.stderr)
    print_table(
        f"{options.processes} processes of {options.mib} MiB in each cgroup, "
        f"{options.seconds} s each",
        [
            "",
            "CPU: start",
            f"first {BEGINNING_S} s",
            "later",
            "by metric",
            "targets",
            "resting",
            "median age",
            "oldest",
            "series",
            "scrape",
            "MiB",
            "peak",
            "threads",
            "files",
        ],
        rows,
    )


if __name__ == "__main__":
    main()
