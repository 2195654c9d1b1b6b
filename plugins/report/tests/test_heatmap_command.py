"""``damon report heatmap`` on the command line: in the terminal, as pictures, as JSON."""

import json
import xml.etree.ElementTree as ET
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from damon_cli.heat import heat_colour
from damon_report.heatmap import terminal
from damon_report.heatmap.grid import Heat, heat_of
from damon_report.heatmap.layout import lay_out
from damon_report.heatmap.places import Place, TargetKey
from damon_report.naming import base_name, shortened
from damon_report.times import time_ticks
from matplotlib.image import imread

from damon_core import Area, RecordInfo, Snapshot

MIB = 1 << 20
SECOND_US = 1_000_000
BEGIN_US = 1_700_000_000 * SECOND_US

Make = Callable[..., Snapshot]
AREAS = (Area(0, 4 * MIB, "/usr/bin/program"), Area(1024 * MIB, 1026 * MIB, "[heap]"))


@pytest.fixture
def record(reports: Any, snapshot: Make) -> str:
    """Return a record of two seconds: first the program is hot, then half of the heap."""
    regions = [(0, 4), (1024, 1025), (1025, 1026)]
    accesses = [(10, 0, 0), (0, 0, 4)]
    snapshots = [
        snapshot(
            number,
            {"a[7]": [(*region, each) for region, each in zip(regions, counts, strict=True)]},
            areas={"a[7]": AREAS},
        )
        for number, counts in enumerate(accesses, 1)
    ]
    name: str = reports.add("two", snapshots, RecordInfo(host="db1", kernel="Linux 6.1"))
    return name


class TestTerminal:
    def test_shades(self, reports: Any, record: str) -> None:
        """Without a terminal a map consists of characters: labels, heat, time, working set, key."""
        done = reports.run("heatmap", record, "--width", "50", "--height", "6")
        assert done.exit_code == 0, done.output
        lines = done.output.splitlines()
        assert lines[0] == "a[7]"
        assert "2s, 2 aggregations, on db1, Linux 6.1" in done.output.replace("\n", " ").replace(
            "  ", " "
        )
        top = next(i for i, line in enumerate(lines) if line.startswith("[heap]"))
        assert lines[top:] == [
            "[heap]  2.0 MiB                  *****************",
            " 000040000000                                     ",
            "program 4.0 MiB @@@@@@@@@@@@@@@@@                 ",
            "                @@@@@@@@@@@@@@@@@                 ",
            " 000000000000   @@@@@@@@@@@@@@@@@                 ",
            "                0s               1s",
            "<= 4.0 MiB      █████████████████▃▃▃▃▃▃▃▃▃▃▃▃▃▃▃▃▃",
            "never accessed [ .:-=+*#%@] in every check, halfway: in 25%",
        ]

    def test_blocks(self) -> None:
        """In colours each line has two rows, and groups have their names above."""
        places = {TargetKey("main", name): [Place(0, 8 * MIB, "x", 1.0)] for name in ("one", "two")}
        layout = lay_out(places, terminal.room(8, colour=True))
        made = heat_of([], layout, BEGIN_US, BEGIN_US + SECOND_US, 10)
        plain = [line.plain for line in terminal.lines(made, label=14, colour=True)]
        assert [line.startswith(("one", "two")) for line in plain].count(True) == 2
        assert sum("▀" * 10 in line for line in plain) == sum(band.height for band in layout.bands)

    @pytest.mark.parametrize("width", [40, 60, 80, 120, 200])
    def test_fits_the_width(self, reports: Any, record: str, width: int) -> None:
        """No line is longer than the width, and the map fills it."""
        done = reports.run("heatmap", record, "--width", str(width))
        heat = [line for line in done.output.splitlines() if "@@" in line and "[" not in line]
        assert {len(line) for line in heat} == {width}
        mapped = done.output.splitlines()[:-1]
        assert max(len(line) for line in mapped) == width

    def test_names_are_escaped(self, reports: Any, snapshot: Make) -> None:
        """Control characters of a name are printed escaped."""
        evil = {"a": (Area(0, 4 * MIB, "x\x1b[2Jy"),)}
        name = reports.add("evil", [snapshot(1, {"a": [(0, 4, 1)]}, areas=evil)])
        done = reports.run("heatmap", name)
        assert "\x1b" not in done.output
        assert r"x\x1b[2Jy" in done.output


def picture(path: Path) -> npt.NDArray[np.uint8]:
    """Return the pixels of a PNG."""
    return (imread(path)[:, :, :3] * 255).round().astype(np.uint8)


def has(pixels: npt.NDArray[np.uint8], colour: str) -> bool:
    """Return whether a picture has a pixel of a colour, ``#rrggbb``."""
    wanted = np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)])
    return bool((abs(pixels.astype(int) - wanted).max(axis=2) <= 2).any())


class TestPictures:
    @pytest.mark.parametrize(("option", "background"), [((), "#ffffff"), (("--dark",), "#1f2129")])
    def test_png(
        self,
        reports: Any,
        record: str,
        tmp_path: Path,
        option: Sequence[str],
        background: str,
    ) -> None:
        """A PNG has the requested width and style, and the hottest and coldest colours."""
        path = tmp_path / "heat.png"
        done = reports.run("heatmap", record, "-o", str(path), "--width", "900", *option)
        assert done.exit_code == 0, done.output
        pixels = picture(path)
        assert pixels.shape[1] == 900
        assert "#" + bytes(pixels[0, 0]).hex() == background
        # Left of the middle, between the labels: the program is always accessed.
        heat = pixels[:, 340:510]
        assert has(heat, heat_colour(1.0))
        assert has(heat, heat_colour(0.0))

    def test_svg(self, reports: Any, record: str, tmp_path: Path) -> None:
        """An SVG is well-formed, and the same each time."""
        texts = []
        for name in ("one.svg", "two.svg"):
            done = reports.run("heatmap", record, "-o", str(tmp_path / name))
            assert done.exit_code == 0, done.output
            texts.append((tmp_path / name).read_text())
        assert ET.fromstring(texts[0]).tag == "{http://www.w3.org/2000/svg}svg"
        assert texts[0] == texts[1]

    @pytest.mark.parametrize("count", [3, 300])
    def test_no_higher_than_requested(
        self, reports: Any, snapshot: Make, tmp_path: Path, count: int
    ) -> None:
        """A few targets with bands of many mappings, or 300."""
        areas = tuple(Area(i * 8 * MIB, (i * 8 + 4) * MIB, f"lib{i}") for i in range(20))
        regions = [(i * 8, i * 8 + 4, i % 11) for i in range(20)]
        targets = {f"worker[{i}]": regions for i in range(count)}
        name = reports.add("r", [snapshot(1, targets, areas=dict.fromkeys(targets, areas))])
        path = tmp_path / "heat.png"
        done = reports.run("heatmap", name, "-o", str(path), "--height", "700")
        assert done.exit_code == 0, done.output
        assert picture(path).shape[0] <= 700


class TestJson:
    def test_the_grid(self, reports: Any, record: str) -> None:
        """The JSON has cells, addresses and bytes, with times in UTC."""
        done = reports.run("heatmap", record, "--json", "--width", "2", "--height", "3")
        grid = json.loads(done.stdout)
        assert grid["report"] == "heatmap"
        assert grid["begin"] == "2023-11-14T22:13:20.000000Z"
        assert (grid["columns"], grid["column_us"]) == (2, SECOND_US)
        heap, program = grid["bands"]
        assert heap["name"] == "[heap]"
        assert heap["ranges"] == [
            {"context": "main", "target": "a[7]", "start": 1 << 30, "end": (1 << 30) + 2 * MIB}
        ]
        assert np.mean(heap["frequency"], axis=0).tolist() == [0, 0.2]
        assert np.mean(program["frequency"], axis=0).tolist() == [1, 0]
        assert grid["working_set_bytes"] == [4 * MIB, MIB]
        assert grid["resident_bytes"] == [6 * MIB, 6 * MIB]

    def test_a_part_of_it(self, reports: Any, record: str) -> None:
        """Only the selected memory is shown, cut at the borders of the selection."""
        options = ("--json", "--width", "1", "--from", "1s", "--address", "200000-40080000")
        grid = json.loads(reports.run("heatmap", record, *options).stdout)
        assert [
            (each["start"], each["end"]) for band in grid["bands"] for each in band["ranges"]
        ] == [(1 << 30, (1 << 30) + MIB // 2), (2 * MIB, 4 * MIB)]
        assert grid["working_set_bytes"] == [0]
        heap = ("--json", "--width", "1", "--mapping", "[heap]")
        grid = json.loads(reports.run("heatmap", record, *heap).stdout)
        assert [band["name"] for band in grid["bands"]] == ["[heap]"]


class TestMistakes:
    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            (("-o", "heat.gif"), "must end in .png or .svg for a picture, or .html for a page"),
            (("--dark",), "--dark has no effect without a picture or page"),
            (("--width", "10001", "-o", "heat.png"), "a picture has at most 10000 pixels"),
            (("--json", "-o", "heat.png"), "leave out -o"),
            (("-o", "heat.html", "--width", "900"), "leave out --width and --height"),
            (("-o", "heat.png", "--width", "90"), "a picture must have at least 800 by 400 pixels"),
            (("-o", "none/heat.png"), "can't write 'none/heat.png': No such file"),
            (("--mapping", "nothing"), "has no mapping 'nothing'"),
        ],
    )
    def test_are_reported_in_a_line(
        self, reports: Any, record: str, arguments: Sequence[str], message: str
    ) -> None:
        """Exit code 2, and what to do."""
        done = reports.run("heatmap", record, *arguments)
        assert done.exit_code == 2
        assert message in done.output

    def test_a_record_without_memory(self, reports: Any, snapshot: Make) -> None:
        """A target that never had a region can't be drawn."""
        done = reports.run("heatmap", reports.add("empty", [snapshot(1, {"a": []})]))
        assert done.exit_code == 2
        assert "no memory to show" in done.output


class TestScales:
    @pytest.mark.parametrize(
        ("span_us", "labels"),
        [
            (SECOND_US // 2, ["0s", "100ms", "200ms", "300ms", "400ms", "500ms"]),
            (20 * SECOND_US, ["0s", "5s", "10s", "15s", "20s"]),
            (100 * SECOND_US, ["0s", "15s", "30s", "45s", "60s", "75s", "90s"]),
            (7_200 * SECOND_US, ["0s", "30m", "1h", "1h30m", "2h"]),
            (30 * 86_400 * SECOND_US, ["0s", "7d", "14d", "21d", "28d"]),
        ],
    )
    def test_times_are_round(self, span_us: int, labels: list[str]) -> None:
        """Ticks have the steps of clocks and calendars."""
        assert [label for _, label in time_ticks(span_us, 8)] == labels

    def test_names_are_short(self) -> None:
        """A path becomes the file's name; a name that is too long loses its middle."""
        assert base_name("/usr/lib/libc.so.6") == "libc.so.6"
        assert base_name("/tmp/pool (deleted)") == "pool"
        assert base_name("[anon:a/b]") == "[anon:a/b]"
        assert shortened("abcdefghij", 7) == "abc…hij"


def test_an_empty_heat_map_is_unknown() -> None:
    """A heat map without aggregations has no data, which isn't an error."""
    layout = lay_out({TargetKey("main", "a"): [Place(0, MIB, "x")]}, terminal.room(4, False))
    made: Heat = heat_of([], layout, BEGIN_US, BEGIN_US + SECOND_US, 3)
    assert np.isnan(made.frequency).all()
    assert [line.plain for line in terminal.lines(made, label=10, colour=False)][-1].strip() == "0s"
