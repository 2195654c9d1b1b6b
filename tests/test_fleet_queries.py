"""The queries of docs/fleet.md, run as they are there: by DuckDB, and by Dask with two workers."""

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pandas as pd
import pyarrow.compute as pc
import pytest
from pyarrow import fs

from benchmarks.fleet_records import (
    DATE,
    UNITS,
    blocks,
    dask_program,
    make_dataset,
    rows_of,
)
from tests.object_store import BUCKET, object_store

HOSTS = 4
MIB = 1 << 20


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a dataset of a few simulated hosts."""
    root = tmp_path_factory.mktemp("fleet")
    make_dataset(root, HOSTS)
    return root


def rows() -> pd.DataFrame:
    """Return what the simulation has, apart from any file."""
    frames = []
    for host in range(HOSTS):
        for part in range(4):
            table = rows_of(host, part).select(
                ["time", "target", "resident_bytes", "touched_bytes", "idle_since"]
            )
            idle = pc.cast(pc.subtract(table["time"], table["idle_since"]), "int64")
            frame = table.drop_columns(["idle_since", "time"]).to_pandas()
            frame["time"] = table["time"].cast("int64").to_numpy()
            frame["idle_s"] = np.nan_to_num(idle.to_numpy(zero_copy_only=False)) / 1e6
            frame["target"] = frame["target"].astype(str)  # categories differ by host
            frame["host"] = f"host-{host:04}"
            frames.append(frame)
    whole: pd.DataFrame = pd.concat(frames)
    return whole


def duck(dataset: Path, query: int) -> list[tuple[object, ...]]:
    """Return the result of a query."""
    view, *queries = blocks("sql")
    connection = duckdb.connect()
    connection.execute(view.replace("DATASET", str(dataset)))
    return connection.execute(queries[query]).fetchall()


def test_working_set_by_unit(dataset: Path) -> None:
    """The mean over time of each host, added up."""
    found = {unit: (hosts, mean) for unit, hosts, mean, _ in duck(dataset, 0)}
    everything = rows()
    moments = everything.groupby(["host", "target", "time"], observed=True)["touched_bytes"].sum()
    means = moments.groupby(["host", "target"], observed=True).mean()
    expected = means.groupby("target", observed=True).sum().to_dict()
    assert set(found) == set(UNITS)  # not the containers of pods
    for unit, (hosts, mean) in found.items():
        assert hosts == HOSTS
        assert mean == pytest.approx(expected[unit] / MIB, abs=0.51)


def test_working_set_by_pod(dataset: Path) -> None:
    """Its containers added up, the largest first."""
    everything = rows()
    of_pods = everything[everything["target"].str.contains("/")]
    pods = of_pods.assign(pod=of_pods["target"].str.split("/").str[0])
    moments = pods.groupby(["pod", "time"])[["touched_bytes", "resident_bytes"]].sum()
    of_pod = moments.groupby("pod")
    means = of_pod["touched_bytes"].mean().sort_values(ascending=False)
    sums = of_pod.sum()
    found = duck(dataset, 3)
    assert [pod for _, pod, *_ in found] == list(means.index)
    for namespace, name, mean, most, percent in found:
        pod = str(name)
        assert namespace == ("blog" if int(pod[-4:], 16) % 2 else "shop")
        assert mean == pytest.approx(means[pod] / MIB, abs=0.51)
        assert most == pytest.approx(of_pod["touched_bytes"].max()[pod] / MIB, abs=0.51)
        used, resident = sums.loc[pod].to_numpy()
        assert percent == pytest.approx(100 * used / resident, abs=0.051)


def test_idle_memory_by_age(dataset: Path) -> None:
    """Of the last aggregation, what hasn't been accessed for so long."""
    everything = rows()
    last = everything[everything["time"] == everything["time"].max()]
    found = {age: (idle, resident) for age, idle, resident in duck(dataset, 1)}
    assert list(found) == ["1m", "10m", "1h", "6h"]
    idle = last.loc[last["idle_s"] >= 3_600, "resident_bytes"].sum()
    assert found["1h"] == (
        pytest.approx(idle / MIB / 1024, abs=0.051),
        pytest.approx(last["resident_bytes"].sum() / MIB / 1024, abs=0.051),
    )


def test_worst_hosts(dataset: Path) -> None:
    """Those with the largest share of idle memory, the worst first."""
    everything = rows()
    last = everything[everything["time"] == everything["time"].max()]
    idle = last[last["idle_s"] >= 3_600].groupby("host")["resident_bytes"].sum()
    shares = (100 * idle / last.groupby("host")["resident_bytes"].sum()).sort_values()
    found = duck(dataset, 2)
    assert [host for host, _, _ in found] == list(shares.index[::-1])
    assert found[0][2] == pytest.approx(shares.iloc[-1], abs=0.051)


def numbers(text: str) -> list[str]:
    """Return the numbers in lines of a result, in their order."""
    return re.findall(r"(?<![-\w.])\d+(?:\.\d+)?(?![-\w])", text)


@pytest.mark.slow
def test_dask_says_the_same(dataset: Path, tmp_path: Path) -> None:
    """Two workers, started here, come to the numbers of DuckDB."""
    program = tmp_path / "query.py"
    outputs = []
    for function in ("working_set_by_unit", "idle_by_age", "worst_hosts"):
        program.write_text(dask_program(dataset, function), encoding="utf-8")
        done = subprocess.run(
            [sys.executable, program], capture_output=True, text=True, timeout=300, check=False
        )
        assert done.returncode == 0, done.stderr
        outputs.append(done.stdout)
    for number, columns in ((0, (1, 2, 3)), (1, (1, 2))):
        expected = [float(row[at]) for row in duck(dataset, number) for at in columns]  # type: ignore[arg-type]
        assert [float(each) for each in numbers(outputs[number])] == expected
    for host, _, percent in duck(dataset, 2):
        assert re.search(rf"{host} .* {percent}$", outputs[2], re.MULTILINE)


@pytest.fixture
def bucket(dataset: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Return the URL of the same dataset in an object store."""
    with object_store(monkeypatch) as (files, options):
        fs.copy_files(str(dataset), f"{BUCKET}/damon", destination_filesystem=files)
        yield f"s3://{BUCKET}/damon?{options}"


def definitions() -> dict[str, Any]:
    """Return what the documentation defines for Dask."""
    names: dict[str, Any] = {}
    _of_object_stores, block = blocks("python")
    exec(block, names)
    return names


@pytest.mark.slow
def test_duckdb_and_dask_s_functions_read_an_object_store(bucket: str, dataset: Path) -> None:
    """As documented, through pyarrow: the numbers are those of the directory."""
    lines, _for_dask = blocks("python")
    names: dict[str, Any] = {}
    exec(re.sub(r"s3:[^\"]*", bucket, lines), names)
    view, query, *_ = blocks("sql")
    view = re.sub(r"FROM read_parquet\([^;]*\)", "FROM found", view)
    connection = duckdb.connect()
    connection.register("found", names["dataset"])
    connection.execute(view)
    assert connection.execute(query).fetchall() == duck(dataset, 0)
    known = definitions()
    partitions = known["partitions_of"](bucket, DATE)
    assert len(partitions) == HOSTS
    found = pd.concat(map(known["working_sets"], partitions))
    assert set(found["unit"]) == set(UNITS)
    assert set(found["host"]) == {f"host-{host:04}" for host in range(HOSTS)}
