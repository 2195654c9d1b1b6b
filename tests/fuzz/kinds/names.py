"""Names that may contain anything, through every output: what comes back is the same name."""

import csv
import functools
import io
import json
import random
import re
from pathlib import Path
from typing import Any, ClassVar

from click.testing import CliRunner
from damon_csv.record import CsvReader, CsvWriter
from damon_csv.rows import ROW, format_rows
from damon_damo import DamoReader
from damon_damo.writer import DamoWriter
from damon_parquet.reader import ParquetReader
from damon_parquet.writer import ParquetWriter
from damon_prometheus import PrometheusOptions
from damon_prometheus.series import snapshot_metrics
from damon_report.command import report as report_group
from prometheus_client import CollectorRegistry, Metric, generate_latest
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.registry import Collector

from damon_core import Area, Owner, Plugins, RecordInfo, Snapshot, escaped
from damon_core.metrics import Followed
from damon_core.testing import RegionRow, assert_same_snapshot, make_snapshot
from tests.fuzz.judging import Fault, Kind, attempt
from tests.fuzz.mutating import Mutator

MIB = 1 << 20

#: Reports that are asked for, each with what it needs.
_REPORTS = (
    ["regions"],
    ["regions", "--json"],
    ["summary"],
    ["summary", "--json"],
    ["wss", "--by", "target"],
    ["wss", "--by", "mapping", "--json"],
    ["idle"],
    ["heatmap", "--width", "20"],
)


_FORMATS: dict[str, tuple[Any, Any]] = {
    "csv": (CsvWriter, CsvReader),
    "parquet": (ParquetWriter, ParquetReader),
    "damo": (DamoWriter, DamoReader),
}


class Names(Kind):
    """Names of a context, targets, mappings and owners, and which report, as JSON."""

    name: ClassVar[str] = "names"
    limit_s: ClassVar[float] = 5.0

    def make(self, chance: random.Random) -> bytes:
        """Return names."""
        mutator = Mutator(chance)
        names = [mutator.name() for _ in range(6)]
        # Those at the end take longer.
        way = chance.choices(("csv", "damo", "metrics", "parquet", "report"), (30, 30, 30, 9, 1))[0]
        report = chance.randrange(len(_REPORTS))
        return json.dumps({"names": names, "way": way, "report": report}).encode()

    def judge(self, data: bytes) -> bool:
        """Write them, read them back, and print them."""
        try:
            made = json.loads(data)
            names, way = [str(each) for each in made["names"]], made["way"]
            report = _REPORTS[made["report"]]
        except (ValueError, KeyError, TypeError, IndexError):
            return False
        if len(names) != 6 or escaped(names[1]) == escaped(names[2]):
            return False
        snapshot = _snapshot(*names)
        if way == "csv":
            rows = format_rows(snapshot)
            if (count := rows.count(b"\n")) != 3:
                raise Fault(f"{count} lines of 3 rows")
            if any(
                len(row) != len(ROW) for row in csv.reader(io.StringIO(rows.decode(), newline=""))
            ):
                raise Fault("rows of other lengths")
        if way == "metrics":
            _judge_metrics(snapshot)
            return True
        write, read = _FORMATS["parquet" if way == "report" else way]
        path = self.folder / f"a.{'parquet' if way == 'report' else way}"
        # Only JSON has halves of characters.
        expected = names if way == "damo" else map(_whole, names)
        _judge_record(path, write, read, snapshot, _snapshot(*expected))
        if way == "report":
            _judge_report(path, report)
        return True


def _whole(name: str) -> str:
    return name.encode(errors="backslashreplace").decode()


def _snapshot(context: str, one: str, other: str, area: str, kind: str, owner: str) -> Snapshot:
    hot, cold = RegionRow(0, MIB, 20), RegionRow(MIB, 3 * MIB, 0, 5)
    return make_snapshot(
        {one: [hot, cold], other: [hot]},
        context=context,
        areas={one: [Area(0, MIB, area), Area(MIB, 2 * MIB, owner)]},
        owners={one: [Owner(kind, owner, MIB, MIB, 4096)]},
    )


def _judge_record(
    path: Path, write: Any, read: Any, snapshot: Snapshot, expected: Snapshot
) -> None:
    path.unlink(missing_ok=True)

    def through() -> list[Snapshot]:
        with write(path, RecordInfo("here")) as writer:
            writer.write(snapshot)
        with read(path) as reader:
            return list(reader.snapshots())

    found = attempt(through, str(path))
    if found is None or len(found) != 1:
        raise Fault(f"{path.name}: {found}")
    names = [found[0].context, *(target.name for target in found[0].targets)]
    wanted = [expected.context, *(target.name for target in expected.targets)]
    if names != wanted:
        raise Fault(f"{path.suffix}: {names} instead of {wanted}")
    if path.suffix not in (".csv", ".damo"):
        assert_same_snapshot(found[0], expected)


def _judge_metrics(snapshot: Snapshot) -> None:
    followed = Followed(snapshot, 0, (None,) * len(snapshot.targets), {}, 0)
    metrics = snapshot_metrics(snapshot.context, PrometheusOptions(), followed)
    registry = CollectorRegistry()
    registry.register(_Collected(metrics))
    # Each set of labels once: to read them takes longer than all else.
    labels = set(re.findall(r"(?m)^[a-z_]+(\{.*\}) ", generate_latest(registry).decode()))
    text = "".join(f"x{each} 1\n" for each in labels)
    found = {
        sample.labels["target"]
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if "target" in sample.labels
    }
    wanted = {target.name for target in snapshot.targets}
    if found != wanted:
        raise Fault(f"metrics of {found} instead of {wanted}")


class _Collected(Collector):
    def __init__(self, metrics: dict[str, Metric]) -> None:
        self._metrics = metrics

    def collect(self) -> list[Metric]:
        return list(self._metrics.values())


def _judge_report(path: Path, report: list[str]) -> None:
    name, *options = report
    result = CliRunner().invoke(report_group, [name, str(path), *options], obj=_plugins())
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    if result.exit_code:
        raise Fault(f"{name}: {result.output!r:.300}")
    if "--json" in options:
        json.loads(result.stdout)
        return
    wrong = [line for line in result.output.splitlines() if not line.isprintable()]
    if wrong or "\x1b" in result.output:
        raise Fault(f"{name} prints {wrong!r:.300}")


@functools.cache
def _plugins() -> Plugins:
    return Plugins.discover()
