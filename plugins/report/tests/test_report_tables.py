"""Tables fit a terminal of any width; long names are shortened at their least specific part."""

import io
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from damon_csv import CsvWriter
from damon_report.figures import percent, short_duration
from damon_report.tables import DECORATION, Column, bar, show_table
from rich.cells import cell_len
from rich.console import Console

from damon_core import RecordInfo, Snapshot

DAMON = Path(sys.executable).with_name("damon")
COLUMNS = [
    Column("size", right=True),
    Column("", rank=DECORATION),
    Column("age", right=True, rank=2),
    Column("target", least=9, rank=1),
    Column("mapping", least=12),
]
ROWS = [
    ["1.0M", "███", "10s", "redis-server[123]", "/usr/lib/x86_64-linux-gnu/libc.so.6"],
    ["12K", "", "1s", "a[4]", "[heap]"],
]


def shown(width: int, encoding: str = "utf-8") -> list[str]:
    """Return the lines of a table on a terminal of a width."""
    file = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
    console = Console(file=file, width=width, force_terminal=True, no_color=True, soft_wrap=True)
    show_table(console, COLUMNS, ROWS)
    file.seek(0)
    text = file.read()
    return text.replace("\x1b[1m", "").replace("\x1b[2m", "").replace("\x1b[0m", "").splitlines()


def test_everything_where_there_is_room() -> None:
    """Numbers are aligned to the right, names to the left."""
    assert shown(100) == [
        "size       age  target             mapping",
        "1.0M  ███  10s  redis-server[123]  /usr/lib/x86_64-linux-gnu/libc.so.6",
        " 12K        1s  a[4]               [heap]",
    ]


def test_names_keep_their_most_specific_part() -> None:
    """A path keeps its end, a process its pid; decoration is left out first."""
    assert shown(46) == [
        "size  age  target             mapping",
        "1.0M  10s  redis-server[123]  …/libc.so.6",
        " 12K   1s  a[4]               [heap]",
    ]
    assert shown(36)[1] == "1.0M  10s  redis-…[123]  …/libc.so.6"


def test_columns_go_where_nothing_can_be_cut() -> None:
    """The least important columns are left out first, and a line names them."""
    lines = shown(30)
    assert lines[0] == "size  target       mapping"
    assert lines[-1] == "(no room for age; in a pipe all columns are shown)"


def test_other_encodings() -> None:
    """A terminal without Unicode gets another ellipsis."""
    assert "~/libc.so.6" in shown(46, "ascii")[1].replace("?", "")


@pytest.mark.parametrize("width", [80, 200])
@pytest.mark.parametrize(
    "options",
    [["regions"], ["wss"], ["wss", "--over", "time"], ["idle", "--by", "target"], ["summary"]],
    ids=" ".join,
)
def test_no_line_is_wider_than_the_terminal(
    tmp_path: Path,
    snapshot: Callable[..., Snapshot],
    in_terminal: Callable[..., str],
    options: list[str],
    width: int,
) -> None:
    """In a real terminal, with very long names."""
    path = tmp_path / "record.csv"
    with CsvWriter(path, RecordInfo()) as writer:
        for number in (1, 2, 3):
            targets = {f"{'long' * 10}[{pid}]": [(pid, pid + 1, 5)] for pid in range(3)}
            writer.write(snapshot(number, targets))
    shown = in_terminal([DAMON, "report", options[0], path, *options[1:]], width)
    text = re.sub(r"\x1b\[[0-9;]*m", "", shown)
    assert "[2]" in text
    assert max(map(cell_len, text.splitlines())) <= width


@pytest.mark.slow
def test_a_reader_that_stops_early_is_no_failure(
    tmp_path: Path, snapshot: Callable[..., Snapshot]
) -> None:
    """If the reader of a pipe stops early, as `head` does, there is no message."""
    path = tmp_path / "record.csv"
    with CsvWriter(path, RecordInfo()) as writer:
        writer.write(snapshot(1, {"a": [(each, each + 1, 5) for each in range(20_000)]}))
    done = subprocess.run(
        f"{DAMON} report regions {path} | head -1",
        shell=True,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.stdout.startswith("# main")
    assert done.stderr == ""


@pytest.mark.parametrize(
    ("us", "text"),
    [
        (0, "0"),
        (0.4, "0.4us"),
        (5_000, "5ms"),
        (999_900, "1s"),
        (59_940_000, "59.9s"),
        (59_960_000, "1m"),
        (60_180_000, "1m"),
        (77_400_000, "1m17s"),
        (3_599_600_000, "1h"),
        (5_400_000_000, "1h30m"),
        (100_000_000_000, "1d4h"),
    ],
)
def test_durations(us: float, text: str) -> None:
    """Three digits, or two units."""
    assert short_duration(us) == text


def test_shares() -> None:
    """A share near 0 or 1 isn't shown as 0 % or 100 %."""
    assert [percent(each) for each in (0, 0.001, 0.5, 0.999, 1)] == [
        "0%",
        "<1%",
        "50%",
        ">99%",
        "100%",
    ]


def test_bars() -> None:
    """Their length is the share, to an eighth of a character; a small share is visible."""
    assert [bar(each, 2) for each in (0, 0.01, 0.5, 0.5625, 1)] == ["", "▏", "█", "█▏", "██"]
    assert [bar(each, 4, ascii_only=True) for each in (0, 0.01, 0.5, 1)] == ["", "#", "##", "####"]
