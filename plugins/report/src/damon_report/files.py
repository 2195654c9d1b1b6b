"""Files that reports read, and that they are drawn to."""

from pathlib import Path

#: The default record of reports; `damon record` writes it.
DEFAULT_PATH = Path("damon.parquet")

#: Pictures, and pages for browsers.
IMAGES = (".png", ".svg")
PAGE = ".html"

#: Pixels of a picture, and the fewest that names and scales have room in.
WIDTH, HEIGHT = 1_600, 1_000
LEAST_WIDTH, LEAST_HEIGHT = 800, 400
#: More take more memory than a picture is worth.
MOST_PIXELS = 10_000
