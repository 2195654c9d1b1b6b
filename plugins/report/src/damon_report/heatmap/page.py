"""Heat maps as one interactive page for browsers, which needs no network."""

import base64
import html as escapes
import io
import json
import zlib
from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
from attrs import asdict
from damon_cli.heat import heat_colour

from damon_report.heatmap import image
from damon_report.heatmap.caption import Caption
from damon_report.heatmap.folding import FloatGrid
from damon_report.heatmap.grid import Heat
from damon_report.heatmap.layout import Band, Room
from damon_report.heatmap.scales import GAMMA
from damon_report.words import capitalized

#: The resolution for zooming: four times what a screen shows at once.
ROOM = Room(1_200, 17, 30, bands=30)
COLUMNS = 1_440

#: Cells are square roots of shares as whole numbers; the largest of a type means unknown.
_FREQUENCY, _SHARE = np.uint8, np.uint16


def page(
    heat: Heat, caption: Caption, records: Sequence[Path | str], record_begin_us: int, *, dark: bool
) -> str:
    """Return the page of a heat map.

    Args:
        heat: The cells; of a layout made for `ROOM`, with `COLUMNS` columns.
        caption: The caption above the heat map.
        records: The files of the record, for the commands that the page shows.
        record_begin_us: When the whole record begins, Unix microseconds.
        dark: Start light on dark, even if the browser prefers dark on light.
    """
    data = _data(heat, caption, records, record_begin_us)
    texts = {
        "THEME": ' data-theme="dark"' if dark else "",
        "TITLE": escapes.escape(caption.title),
        "LINES": "\n".join(f"<p>{escapes.escape(line)}</p>" for line in caption.lines),
        "ACCESS": caption.words.access,
        "WORKING_SET": capitalized(caption.words.working_set),
        "PICTURE": _picture(heat, caption, dark),
        # Escaped, so that no text of a record can end the script element.
        "DATA": json.dumps(data, separators=(",", ":")).replace("<", "\\u003c"),
        "STYLE": _part("page.css"),
        "SCRIPT": _part("page.js"),
    }
    first, *rest = _part("page.html").split("@@")
    # Every second piece is a name between two marks.
    return first + "".join(text if number % 2 else texts[text] for number, text in enumerate(rest))


def _part(name: str) -> str:
    return resources.files(__package__).joinpath(name).read_text(encoding="utf-8")


def _picture(heat: Heat, caption: Caption, dark: bool) -> str:
    file = io.BytesIO()
    image.draw(heat, caption, width=1_600, dark=dark, file=file, kind="png")
    return base64.b64encode(file.getvalue()).decode()


def _data(
    heat: Heat, caption: Caption, records: Sequence[Path | str], record_begin_us: int
) -> dict[str, Any]:
    names: dict[str, int] = {}
    targets: dict[str, int] = {}
    groups = [
        {"name": group.name, "bands": [_band(band, names, targets) for band in group.bands]}
        for group in heat.layout.groups
    ]
    row_bytes = np.concatenate([np.diff(band.row_borders())[::-1] for band in heat.layout.bands])
    return {
        "title": caption.title,
        "lines": caption.lines,
        "words": asdict(caption.words),
        "records": [str(record) for record in records],
        "record_begin_us": record_begin_us,
        "begin_us": heat.begin_us,
        "end_us": heat.end_us,
        "columns": heat.columns,
        "rows": heat.layout.rows,
        "colours": [heat_colour(level / 9) for level in range(10)],
        "groups": groups,
        "names": list(names),
        "targets": list(targets),
        "frequency": _packed(heat.frequency, _FREQUENCY),
        "resident": _packed(heat.resident_bytes / row_bytes, _SHARE),
        "touched": _packed(heat.touched_bytes / row_bytes, _SHARE),
    }


def _band(band: Band, names: dict[str, int], targets: dict[str, int]) -> dict[str, Any]:
    return {
        "name": band.name,
        "rows": band.rows,
        "height": band.height,
        "folded": band.folded,
        "rest": band.rest,
        "resident_bytes": round(band.resident_bytes),
        "borders": band.row_borders(),
        "parts": [
            [
                part.start,
                part.end,
                targets.setdefault(part.key.target, len(targets)),
                names.setdefault(part.name, len(names)),
            ]
            for part in band.parts
        ],
    }


def _packed(shares: FloatGrid, kind: type[np.unsignedinteger[Any]]) -> str:
    """Return shares, 0.0 to 1.0 or NaN, as whole-number roots, row by row, compressed."""
    unknown = np.iinfo(kind).max
    roots = np.rint(np.clip(np.nan_to_num(shares), 0.0, 1.0) ** GAMMA * (unknown - 1))
    # A small share must not become 0.
    roots = np.where((shares > 0) & (roots == 0), 1, roots)
    cells = np.where(np.isnan(shares), unknown, roots).astype(np.dtype(kind).newbyteorder("<"))
    return base64.b64encode(zlib.compress(np.ascontiguousarray(cells.T).tobytes(), 6)).decode()
