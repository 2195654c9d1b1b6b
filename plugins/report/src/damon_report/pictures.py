"""Files that reports are drawn to: their endings and sizes."""

#: Pictures, and pages for browsers.
IMAGES = (".png", ".svg")
PAGE = ".html"

#: Pixels of a picture, and the fewest that names and scales have room in.
WIDTH, HEIGHT = 1_600, 1_000
LEAST_WIDTH, LEAST_HEIGHT = 800, 400
