"""Heat as text: levels are told apart in colours and in characters."""

import numpy as np
from damon_cli.heat import block_lines, heat_key, shade_lines


def test_shades() -> None:
    """Ten characters from never to always; the slightest access isn't a space."""
    heats = [0, 0.001, 0.2, 0.3, 0.45, 0.55, 0.65, 0.8, 0.9, 1, np.nan]
    assert shade_lines(np.array([heats])) == [" .:-=+*#%@?"]


def test_blocks() -> None:
    """A half block's foreground is the upper row, its background the lower."""
    (line,) = block_lines(np.array([[0.0, 1.0], [1.0, np.nan]]))
    assert line.plain == "▀▀"
    assert [str(span.style) for span in line.spans] == [
        "#100e22 on #fcffa4",
        "#fcffa4 on #808080",
    ]


def test_not_seen() -> None:
    """What stands for places that were not seen can be chosen."""
    assert shade_lines(np.array([[np.nan, 0]]), not_seen="~") == ["~ "]


def test_key() -> None:
    """The key has each level once, in characters as in colours."""
    assert heat_key(False).plain == "never accessed [ .:-=+*#%@] in every check"
    assert len({str(span.style) for span in heat_key(True).spans}) == 10
