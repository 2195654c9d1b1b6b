"""Files of pictures: who may read them, and where they are written."""

import os
import stat
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest
from damon_report.output import picture_file

from damon_core import InputError
from damon_core.testing import RegionRow, make_snapshot

MIB = 1 << 20


@pytest.fixture
def open_umask() -> Generator[None, None, None]:
    """With this umask others may read and write what is created as usual."""
    before = os.umask(0)
    yield
    os.umask(before)


@pytest.mark.usefixtures("open_umask")
@pytest.mark.parametrize(
    ("report", "name"),
    [("heatmap", "a.svg"), ("heatmap", "a.html"), ("wss", "a.svg"), ("kinds", "a.svg")],
)
def test_a_picture_is_for_its_owner(reports: Any, tmp_path: Path, report: str, name: str) -> None:
    """As the record is: it has addresses and names of mappings."""
    row = RegionRow(0, MIB, 5, kinds={"anonymous": MIB})
    record = reports.add("r", [make_snapshot({"a": [row]}, number=n) for n in (1, 2)])
    done = reports.run(report, record, "-o", str(tmp_path / name))
    assert done.exit_code == 0, done.output
    assert stat.S_IMODE((tmp_path / name).stat().st_mode) == 0o600


def test_one_that_is_replaced_keeps_its_rights(tmp_path: Path) -> None:
    """Its owner gave them; nothing is left of its content."""
    path = tmp_path / "a.png"
    path.write_bytes(b"longer than the new one")
    path.chmod(0o644)
    with picture_file(path) as file:
        file.write(b"new")
    assert path.read_bytes() == b"new"
    assert stat.S_IMODE(path.stat().st_mode) == 0o644


@pytest.mark.needs("root")
def test_root_does_not_follow_links_of_others(tmp_path: Path) -> None:
    """What they lead to stays as it is."""
    (tmp_path / "there").write_text("kept")
    link = tmp_path / "a.png"
    link.symlink_to(tmp_path / "there")
    os.lchown(link, 65534, 65534)
    with pytest.raises(InputError, match="root doesn't follow it"), picture_file(link):
        pass
    assert (tmp_path / "there").read_text() == "kept"
