"""What damo's reports show, and how they are called."""

import importlib.util
import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from damon_core import Snapshot

MIB = 1 << 20
SECOND_US = 1_000_000


@pytest.fixture
def regions(reports: Any, snapshot: Callable[..., Snapshot]) -> str:
    """Return a record: a quarter of 16 MiB is accessed, the rest idle for 1, 2 and 4 s."""
    rows = [(0, 4, 5, 0, 2), (4, 8, 0, 1, 0), (8, 12, 0, 2, 1), (12, 16, 0, 4, 3)]
    labels = {"db[1]": {"unit": "db.service"}}
    return str(reports.add("four", [snapshot(1, {"db[1]": rows}, labels=labels)]))


class TestTemperature:
    def test_it_is_that_of_damo(
        self, reports: Any, regions: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """By its own code, with its usual weights."""
        spec = importlib.util.find_spec("damo")
        assert spec is not None
        monkeypatch.syspath_prepend(str(Path(str(spec.origin)).parent))
        damo_report_access = importlib.import_module("damo_report_access")

        document = json.loads(reports.run("regions", regions, "--json").stdout)
        for row in document["regions"]:
            region = SimpleNamespace(
                size=lambda row=row: row["size_bytes"],
                nr_accesses=SimpleNamespace(percent=100 * row["frequency"]),
                age=SimpleNamespace(usec=row["age_us"]),
            )
            expected = damo_report_access.temperature_of(region, [0, 100, 100])
            assert row["temperature"] == pytest.approx(expected)

    def test_the_coldest_come_last(self, reports: Any, regions: str) -> None:
        """By it."""
        done = reports.run("regions", regions, "--sort", "temperature", "--json")
        ends = [row["end"] // MIB for row in json.loads(done.stdout)["regions"]]
        assert ends == [4, 8, 12, 16]


class TestColumns:
    def test_any_columns(self, reports: Any, regions: str) -> None:
        """In this order: for people, of records, and labels of targets."""
        names = "unit,size,hz,temperature,bandwidth,max_nr_accesses,start,touched"
        lines = reports.run("regions", regions, "--columns", names).stdout.splitlines()
        assert lines[1].split() == names.split(",")
        assert lines[2].split() == [
            *("db.service", "4.0", "MiB", "5", "200,005,000", "20.0", "MiB/s", "10", "0", "-")
        ]

    def test_as_json(self, reports: Any, regions: str) -> None:
        """Their values, without units."""
        done = reports.run("regions", regions, "--columns", "start,unit,frequency", "--json")
        assert json.loads(done.stdout)["regions"][0] == {
            "start": 0,
            "unit": "db.service",
            "frequency": 0.5,
        }

    def test_a_name_that_is_none(self, reports: Any, regions: str) -> None:
        """It is said what there is."""
        done = reports.run("regions", regions, "--columns", "heat,start")
        assert done.exit_code == 2
        assert "--columns: 'heat' is none; possible are address, size," in done.output
        assert "or labels: unit" in done.output


class TestIdlePercentiles:
    def test_of_bytes(self, reports: Any, regions: str) -> None:
        """A quarter is in use, half is idle for a second at most, all for four."""
        document = json.loads(reports.run("idle", regions, "--percentiles", "--json").stdout)
        (found,) = document["percentiles"]
        seconds = {percent: us / SECOND_US for percent, us in found["percentiles_us"].items()}
        percents = ("0", "1", "25", "50", "75", "90", "95", "99", "100")
        assert seconds == dict(zip(percents, (0, 0, 0, 1, 2, 4, 4, 4, 4), strict=True))
        assert found["total_bytes"] == 16 * MIB

    def test_by_a_label(self, reports: Any, regions: str) -> None:
        """As other reports."""
        lines = reports.run("idle", regions, "--percentiles", "--by", "unit").stdout.splitlines()
        assert lines[-1].split() == ["db.service", *["0"] * 3, "1s", "2s", *["4s"] * 4]

    def test_what_is_only_bounded_is_marked(
        self, reports: Any, snapshot: Callable[..., Snapshot]
    ) -> None:
        """What wasn't touched of a region in use has been idle for an aggregation at least."""
        record = reports.add("half", [snapshot(1, {"db[1]": [(0, 4, 5)]}, touched=0.5)])
        lines = reports.run("idle", record, "--percentiles").stdout.splitlines()
        assert lines[-1].split() == ["(all)", *["0"] * 4, *["≥1s"] * 5]

    def test_not_of_mappings(self, reports: Any, regions: str) -> None:
        """They are parts of targets."""
        assert reports.run("idle", regions, "--percentiles", "--by", "mapping").exit_code == 2


class TestBandwidth:
    def test_it_is_that_of_damo(self, reports: Any, regions: str) -> None:
        """Bytes times accesses by the time of an aggregation."""
        document = json.loads(reports.run("wss", regions, "--bandwidth", "--json").stdout)
        (found,) = document["bandwidths"]
        assert found["mean_bytes_per_second"] == 4 * MIB * 5
        assert "20.0 MiB/s" in reports.run("wss", regions, "--bandwidth").stdout

    def test_over_time(self, reports: Any, regions: str) -> None:
        """Piece by piece."""
        document = json.loads(
            reports.run(
                "wss", regions, "--bandwidth", "--over", "time", "--pieces", "1", "--json"
            ).stdout
        )
        (piece,) = document["bandwidths"][0]["over_time"]
        assert piece["bandwidth_bytes_per_second"] == 4 * MIB * 5

    def test_it_has_no_picture(self, reports: Any, regions: str) -> None:
        """Nor are there bytes that were accessed more than once."""
        assert reports.run("wss", regions, "--bandwidth", "-o", "a.png").exit_code == 2


@pytest.mark.parametrize(("damos", "ours"), [("access", "regions"), ("record_info", "summary")])
def test_names_of_damo(reports: Any, regions: str, damos: str, ours: str) -> None:
    """They are the same reports, and not listed twice."""
    assert reports.run(damos, regions).stdout == reports.run(ours, regions).stdout
    assert f"  {damos} " not in reports.run("--help").stdout
