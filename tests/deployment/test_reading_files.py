"""Configuration files that can't be read as TOML: the cause, in one line."""

import codecs
from pathlib import Path

import pytest

from damon_core import ConfigError, Plugins, load_config


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (codecs.BOM_UTF8 + b"x = 1", "is UTF-8 with a byte order mark: save it as UTF-8 without"),
        ("x = 1".encode("utf-16"), "is UTF-16: save it as UTF-8"),
        (codecs.BOM_UTF16_BE + "x = 1".encode("utf-16-be"), "is UTF-16: save it as UTF-8"),
        ("x = 1".encode("utf-32"), "is UTF-32: save it as UTF-8"),
        ('x = "ä"'.encode("latin-1"), "is not UTF-8, from byte 6 on"),
        (b"x = " + b"9" * 5000, "is not valid TOML: Exceeds the limit"),
        (b'x = "\\d"', r"Unescaped '\\' in a string .*: write it twice, or the string in single"),
        (b"x = " + b"[" * 100_000, "is not valid TOML"),
    ],
)
def test_the_cause_is_named(tmp_path: Path, content: bytes, why: str) -> None:
    """And what to do."""
    path = tmp_path / "a.toml"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=rf"a\.toml: .*{why}") as found:
        load_config(path, Plugins())
    assert len(found.value.problems) == 1
