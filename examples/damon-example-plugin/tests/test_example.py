"""The example for `damon run`."""

from pathlib import Path

from damon_core import Plugins, load_config


def test_the_example_has_no_mistake() -> None:
    """As `damon check example.toml` would find it."""
    path = Path(__file__).parents[1] / "example.toml"
    assert len(load_config(path, Plugins.discover()).contexts) == 1
