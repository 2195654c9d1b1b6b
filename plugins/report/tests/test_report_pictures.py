"""Files of pictures: who may read them, and where they are written."""

import os
import stat
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest
from damon_report.output import picture_file
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from damon_core import InputError, RecordInfo
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
    """As the record is: it has addresses and names of mappings. Its name is said."""
    row = RegionRow(0, MIB, 5, kinds={"anonymous": MIB})
    record = reports.add("r", [make_snapshot({"a": [row]}, number=n) for n in (1, 2)])
    done = reports.run(report, record, "-o", str(tmp_path / name))
    assert done.exit_code == 0, done.output
    assert done.stderr == f"wrote {tmp_path / name}\n"
    assert stat.S_IMODE((tmp_path / name).stat().st_mode) == 0o600


@pytest.mark.parametrize("width", [800, 1_000, 1_300, 2_000])
def test_texts_of_a_heat_map_lie_beside_one_another(
    reports: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, width: int
) -> None:
    """Whatever its width: none is cut off, nor written over another or over the scale."""
    figures: list[Figure] = []

    def keep(figure: Figure, *_: object, **__: object) -> None:
        figures.append(figure)

    monkeypatch.setattr(Figure, "savefig", keep)
    info = RecordInfo(host="a-host-with-a-long-name.example", kernel="Linux 6.12.117+deb13-amd64")
    targets = {
        f"a program with a long name [{number}]": [
            RegionRow(0, MIB, 5),
            RegionRow(1 << 40, 5 << 38),
        ]
        for number in (1, 2)
    }
    record = reports.add("r", [make_snapshot(targets, number=n) for n in (1, 2)], info)
    done = reports.run("heatmap", record, "--width", str(width), "-o", str(tmp_path / "a.png"))
    assert done.exit_code == 0, done.output
    (figure,) = figures
    canvas: Any = FigureCanvasAgg(figure)
    canvas.draw()
    cells, _, scale = figure.axes
    boxes = [
        *(text.get_window_extent() for text in (*figure.texts, *cells.texts)),
        scale.get_tightbbox(),
    ]
    edges = figure.bbox
    for number, box in enumerate(boxes):
        assert box is not None
        assert 0 <= box.x0 <= box.x1 <= edges.x1
        assert 0 <= box.y0 <= box.y1 <= edges.y1
        for other in boxes[:number]:
            assert other is not None
            assert not box.overlaps(other)


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
