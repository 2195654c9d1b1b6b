"""What is left of a soak, minute by minute: in records, in Prometheus, and at the receiver."""

import json
import urllib.parse
import urllib.request
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pyarrow.compute as pc
import pyarrow.parquet as pq
from attrs import define, field

from tests.soak.deployment import NAMES

MINUTE_S = 60


@define(eq=False)
class Account:
    """How much there is of each minute.

    Attributes:
        begin_s: The beginning, in Unix time.
        end_s: The end.
        aggregations: In Parquet, by context: their times, in Unix time.
        scrapes: In Prometheus, by context: when its working set was scraped.
        in_csv: Aggregations in CSV.
        alerts: When notifications came.
    """

    begin_s: float
    end_s: float
    aggregations: dict[str, list[float]] = field(factory=dict)
    scrapes: dict[str, list[float]] = field(factory=dict)
    in_csv: list[float] = field(factory=list)
    alerts: Sequence[float] = ()

    def in_minute(self, times_s: Sequence[float]) -> list[int]:
        """Return how many times are in each minute."""
        counts = Counter(int((each - self.begin_s) // MINUTE_S) for each in times_s)
        return [counts[minute] for minute in range(int(self.end_s - self.begin_s) // MINUTE_S)]

    def first_after(self, name: str, time_s: float) -> float | None:
        """Return how long after a time the next aggregation with memory ended, in seconds."""
        later = [each - time_s for each in self.aggregations[name] if each > time_s]
        return min(later, default=None)


def read_account(
    folder: Path, prometheus_port: int, begin_s: float, end_s: float, alerts: Sequence[float]
) -> Account:
    """Read what is there of a soak.

    Args:
        folder: Its files.
        prometheus_port: Where its Prometheus answers.
        begin_s: Its beginning, in Unix time.
        end_s: Its end.
        alerts: When notifications came.
    """
    account = Account(begin_s, end_s, alerts=alerts)
    for name in NAMES:
        account.aggregations[name] = _with_memory(sorted(folder.glob(f"{name}*.parquet")))
        account.scrapes[name] = _scraped(prometheus_port, name, begin_s, end_s)
    times_us: set[int] = set()
    for path in (folder / "small").glob("redis*.csv"):
        header, *rows = path.read_text().splitlines()
        column = header.split(",").index("time_us")
        times_us |= {int(row.split(",")[column]) for row in rows}
    account.in_csv = sorted(each / 1e6 for each in times_us)
    return account


def _with_memory(paths: Sequence[Path]) -> list[float]:
    """Return when aggregations ended that have memory of a target."""
    found: set[float] = set()
    for path in paths:
        table = pq.read_table(path, columns=["time", "resident_bytes"])
        table = table.filter(pc.greater(table["resident_bytes"], 0))
        found |= {each.timestamp() for each in pc.unique(table["time"]).to_pylist()}
    return sorted(found)


def _scraped(port: int, name: str, begin_s: float, end_s: float) -> list[float]:
    """Return when Prometheus got the working set of a context, above 0."""
    query = f'timestamp(sum by (context) (damon_working_set_bytes{{context="{name}"}}) > 0)'
    arguments = urllib.parse.urlencode(
        {"query": query, "start": begin_s, "end": end_s, "step": "5s"}
    )
    url = f"http://127.0.0.1:{port}/api/v1/query_range?{arguments}"
    with urllib.request.urlopen(url, timeout=60) as answer:
        (*results,) = json.load(answer)["data"]["result"]
    return [float(when) for result in results for when, _ in result["values"]]
