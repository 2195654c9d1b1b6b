"""The records of a fleet: compaction, reports and queries over simulated hosts of a day.

Rows are synthesized, seeded by the number of their host: three units and a pod of two containers,
of eight regions each, one aggregation every ten minutes, in four files a host, as
`rotate_every = "6h"` makes them. Each work
is a program of its own; its time is beside its CPU time, and the memory is the peak of its largest
process. Queries are those of docs/fleet.md.
"""

import json
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
from damon_parquet.file import RowGroupFile
from damon_parquet.schema import SCHEMA
from damon_parquet.store import DatasetFile

from benchmarks.measure import command_line, print_table, progress
from benchmarks.programs import DAMON
from damon_core import ContextInfo, RecordInfo

DOCUMENT = Path(__file__).parents[1] / "docs" / "fleet.md"
DATE = "2026-11-26"
#: That day's begin, Unix microseconds.
BEGIN_US = 1_795_651_200_000_000
EVERY_US = 600_000_000
FILES = 4
UNITS = ("db.service", "batch.service", "agent.service")
#: Of the pod of each host, which is in one of the namespaces.
CONTAINERS = ("nginx", "app")
NAMESPACES = ("shop", "blog")
REGIONS = 8
MIB = 1 << 20


def targets_of(host: int) -> dict[str, dict[str, str]]:
    """Return the labels of the targets of a host, by their names."""
    namespace, pod = NAMESPACES[host % len(NAMESPACES)], f"web-{host:04x}"
    containers = {
        f"{pod}/{name}": {"namespace": namespace, "pod": pod, "container_name": name}
        for name in CONTAINERS
    }
    return {**{unit: {"unit": unit} for unit in UNITS}, **containers}


def rows_of(host: int, part: int, files: int = FILES) -> pa.Table:
    """Return the rows of a part of a host's day."""
    chance = np.random.default_rng(host)
    targets = targets_of(host)
    regions = len(targets) * REGIONS
    size = (chance.lognormal(2.5, 1.0, regions).astype(np.int64) + 1) * MIB
    heat = np.where(chance.random(regions) < 0.4, chance.integers(1, 21, regions), 0)
    cold_since_us = BEGIN_US - chance.integers(0, 12 * 3_600_000_000, regions)
    per_file = 86_400_000_000 // EVERY_US // files
    number = np.repeat(np.arange(part * per_file, (part + 1) * per_file), regions) + 1
    count = len(number)
    # From time to time what is hot cools down, and the other way round.
    phase = np.random.default_rng((host, part)).random(count) < 0.05
    accesses = np.where(phase, 0, np.tile(heat, per_file))
    time_us = BEGIN_US + number * EVERY_US - EVERY_US // 2
    start = np.tile(np.cumsum(size) - size, per_file)
    size = np.tile(size, per_file)
    texts = [json.dumps(labels, sort_keys=True) for labels in targets.values()]
    of_target = np.tile(np.repeat(np.arange(len(targets)), REGIONS), per_file)
    codes = pa.array(of_target, pa.int32())
    idle_since = np.where(phase, time_us - EVERY_US, np.tile(cold_since_us, per_file))
    columns: dict[str, pa.Array] = {
        "time": pa.array(time_us),
        "context": pa.DictionaryArray.from_arrays(
            pa.array(np.zeros(count, np.int32)), ["services"]
        ),
        "number": pa.array(number),
        "max_nr_accesses": pa.array(np.full(count, 20)),
        "target": pa.DictionaryArray.from_arrays(codes, list(targets)),
        "labels": pa.DictionaryArray.from_arrays(codes, texts),
        "start": pa.array(start),
        "end": pa.array(start + size),
        "nr_accesses": pa.array(accesses.astype(np.float32)),
        "alike_since": pa.array(np.ones(count, np.int64)),
        "idle_since": pa.array(idle_since, mask=accesses > 0),
        "resident_bytes": pa.array(size),
        "touched_bytes": pa.array(size * accesses // 20),
    }
    for name in ("elapsed_us", "aggregation_us", "update_us"):
        columns[name] = pa.array(np.full(count, EVERY_US))
    columns["sampling_us"] = pa.array(np.full(count, EVERY_US // 20))
    return pa.table(
        [
            columns[field.name].cast(field.type)
            if field.name in columns
            else pa.nulls(count, field.type)
            for field in SCHEMA
        ],
        schema=SCHEMA,
    )


def make_dataset(root: Path, hosts: int) -> None:
    """Make the files of so many hosts."""
    for host in range(hosts):
        name = f"host-{host:04}"
        info = RecordInfo(host=name, contexts=(ContextInfo("services", "sim"),))
        for part in range(FILES):
            path = root / DatasetFile(name, DATE, f"services-{part}.parquet").path
            path.parent.mkdir(parents=True, exist_ok=True)
            file = RowGroupFile(path, info)
            file.append(rows_of(host, part))
            file.close()


def blocks(language: str) -> list[str]:
    """Return the blocks of a language in the documentation."""
    return re.findall(rf"```{language}\n(.*?)```", DOCUMENT.read_text(), re.DOTALL)


def duckdb_program(root: Path, query: int) -> str:
    """Return a program that runs one of the documented queries, and prints its result."""
    view, *queries = blocks("sql")
    lines = [
        "import duckdb",
        "connection = duckdb.connect()",
        f"connection.execute({view.replace('DATASET', str(root))!r})",
        f"connection.sql({queries[query]!r}).show()",
    ]
    return "\n".join(lines)


def dask_program(root: Path, function: str) -> str:
    """Return a program that calls one of the documented functions with two workers."""
    _of_object_stores, definitions = blocks("python")
    return f"""
{definitions}

if __name__ == "__main__":
    import distributed

    partitions = partitions_of({str(root.absolute())!r}, {DATE!r})
    with (
        distributed.LocalCluster(
            n_workers=2, threads_per_worker=1, dashboard_address=None, host="127.0.0.1"
        ) as cluster,
        distributed.Client(cluster) as client,
    ):
        print({function}(client, partitions))
"""


#: Runs a program and prints its CPU seconds and peak in KiB, those of its children included. Small:
#: what a program has in memory when it starts another counts as the peak of that.
_LAUNCHER = """
import os, sys
pid = os.fork()
if not pid:
    os.dup2(2, 1)
    os.execvp(sys.argv[1], sys.argv[1:])
_, status, usage = os.wait4(pid, 0)
print(usage.ru_utime + usage.ru_stime, usage.ru_maxrss)
sys.exit(os.waitstatus_to_exitcode(status) != 0)
"""


def measured(name: str, command: Sequence[str | Path]) -> list[str]:
    """Run a program; return its row of the table. What it prints goes to stderr."""
    progress(name)
    begin_s = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-S", "-c", _LAUNCHER, *command],
        capture_output=True,
        text=True,
        check=False,
    )
    took_s = time.monotonic() - begin_s
    if done.returncode:
        sys.exit(f"{name} failed:\n{done.stderr}")
    print(f"{name}\n{done.stderr}", file=sys.stderr)
    cpu_s, peak_kib = done.stdout.split()[-2:]
    return [name, f"{took_s:.1f}", f"{float(cpu_s):.1f}", f"{int(peak_kib) / 1024:.0f}"]


def main() -> None:
    parser = command_line("fleet_records", __doc__, "ten hosts")
    parser.add_argument("--hosts", type=int, default=1_000, help="how many hosts to simulate")
    parser.add_argument("--folder", type=Path, help="make the dataset there, and leave it")
    options = parser.parse_args()
    hosts = 10 if options.quick else options.hosts
    with tempfile.TemporaryDirectory(prefix="damon-fleet-") as work:
        root = options.folder or Path(work) / "fleet"
        program = Path(work) / "query.py"
        progress(f"making {hosts} hosts")
        begin_s = time.monotonic()
        make_dataset(root, hosts)
        made_s = time.monotonic() - begin_s
        files = list(root.rglob("*.parquet"))
        before_bytes = sum(path.stat().st_size for path in files)
        report = [DAMON, "report", "wss", root, "--by", "context", "--limit", "5"]
        clock = ["--from", f"{DATE}T10:00Z", "--to", f"{DATE}T12:00Z"]
        rows = [
            measured("damon compact", [DAMON, "compact", root, "--to", DATE]),
            measured("report wss", report),
            measured("report wss, 2 hours", [*report, *clock]),
            measured("report wss, 10 hosts", [*report, "--host", "host-000*"]),
        ]
        names = ("working set by unit", "idle memory by age", "worst hosts")
        for number, name in enumerate((*names, "working set by pod")):
            command = [sys.executable, "-c", duckdb_program(root, number)]
            rows.append(measured(f"DuckDB, {name}", command))
        for function, name in zip(
            ("working_set_by_unit", "idle_by_age", "worst_hosts"), names, strict=True
        ):
            program.write_text(dask_program(root, function))
            rows.append(measured(f"Dask, {name}", [sys.executable, program]))
        after_bytes = sum(path.stat().st_size for path in root.rglob("*.parquet"))
    print_table(
        f"{hosts} hosts of a day: {len(files)} files of {before_bytes / 1e6:.0f} MB, made in "
        f"{made_s:.0f} s; {after_bytes / 1e6:.0f} MB when compacted",
        ["", "took, s", "CPU, s", "peak, MiB"],
        rows,
    )


if __name__ == "__main__":
    main()
