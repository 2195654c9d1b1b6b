"""The backend, and the primitive with it."""

from damon_core import Plugins

from damon_example.backend import (
    ExampleBackend,
    ExampleBackendOptions,
)


def test_the_same_seed_gives_the_same_accesses() -> None:
    """For runs that can be repeated."""
    options = ExampleBackendOptions(seed=7)
    backends = [ExampleBackend(options) for _ in range(2)]
    one, other = ([each.accessed(number, 10) for number in range(99)] for each in backends)
    assert one == other


def test_a_configuration_chooses_it() -> None:
    """By name, with its options."""
    plugins = Plugins.of("damon-example")
    backend = {"use": "example", "seed": 7}
    primitive = plugins.make_primitive("example", {"backend": backend})
    assert primitive is not None
