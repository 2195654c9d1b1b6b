"""Heat maps: which addresses were accessed when, on terminals, as pictures and as a page.

`lay_out` lays out places (`Place`) in the available room, `heat_of` adds up aggregations to cells,
`terminal_lines` and `save` draw the cells.
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
