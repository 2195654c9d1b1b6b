"""A heat map as JSON, for other programs."""

from typing import Any

import numpy as np

from damon_report.heatmap.folding import FloatGrid
from damon_report.heatmap.grid import Heat
from damon_report.heatmap.layout import Band
from damon_report.times import utc_time


def document(heat: Heat) -> dict[str, Any]:
    """Return the grid: bands and their rows, both from the top; None for unknown cells."""
    bands = []
    row = 0
    for group in heat.layout.groups:
        for band in group.bands:
            cells = heat.frequency[:, row : row + band.rows].T
            bands.append(_band(group.name, band, cells))
            row += band.rows
    return {
        "begin": utc_time(heat.begin_us),
        "end": utc_time(heat.end_us),
        "columns": heat.columns,
        "column_us": heat.span_us / heat.columns,
        "bands": bands,
        "working_set_bytes": _whole(heat.working_set_bytes()),
        "resident_bytes": _whole(heat.total_bytes()),
    }


def _band(group: str, band: Band, cells: FloatGrid) -> dict[str, Any]:
    return {
        "group": group or None,
        "name": band.name,
        "size_bytes": band.size_bytes,
        "resident_bytes": round(band.resident_bytes),
        "places": band.places,
        "ranges": [
            {
                "context": part.key.context,
                "target": part.key.target,
                "start": part.start,
                "end": part.end,
            }
            for part in band.parts
        ],
        "row_borders_bytes": band.row_borders()[::-1],
        "frequency": [[_rounded(cell) for cell in line] for line in cells.tolist()],
    }


def _rounded(frequency: float) -> float | None:
    return None if np.isnan(frequency) else round(frequency, 6)


def _whole(sizes: FloatGrid) -> list[int | None]:
    return [None if np.isnan(size) else round(size) for size in sizes.tolist()]
