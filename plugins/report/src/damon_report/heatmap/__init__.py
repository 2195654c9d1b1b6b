"""Heat maps: which addresses were accessed when, on terminals, as pictures and as a page.

Places (`Place`) are laid out in the room there is (`lay_out`), aggregations are added up to cells
(`heat_of`), and these are drawn: `terminal_lines`, `save`.
"""

from damon_report.heatmap.caption import Caption
from damon_report.heatmap.files import save
from damon_report.heatmap.grid import Heat, heat_of
from damon_report.heatmap.layout import Room, lay_out, layout_of_ranges
from damon_report.heatmap.places import Place, TargetKey
from damon_report.heatmap.terminal import key as terminal_key
from damon_report.heatmap.terminal import lines as terminal_lines

__all__ = [
    "Caption",
    "Heat",
    "Place",
    "Room",
    "TargetKey",
    "heat_of",
    "lay_out",
    "layout_of_ranges",
    "save",
    "terminal_key",
    "terminal_lines",
]
