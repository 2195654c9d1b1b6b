"""What the package registers: damon-core finds it by the entry points in pyproject.toml."""

from collections.abc import Callable

from damon_core import (
    Backend,
    Callback,
    Primitive,
    hookimpl,
)

from damon_example.backend import (
    ExampleBackend,
    ExampleBackendOptions,
    probe,
)
from damon_example.callback import (
    ExampleCallback,
    ExampleCallbackOptions,
)
from damon_example.primitive import (
    ExamplePrimitiveOptions,
    make_primitive,
)


@hookimpl
def register_primitives(register: Callable[[Primitive], None]) -> None:
    """Register the primitive."""
    register(
        Primitive(
            "example",
            make_primitive,
            ExamplePrimitiveOptions,
            "Memory whose regions are hot in turn",
        )
    )


@hookimpl
def register_backends(register: Callable[[Backend], None]) -> None:
    """Register the backend, for the primitives that it serves."""
    register(
        Backend(
            "example",
            ExampleBackend,
            ExampleBackendOptions,
            "A random region is hot",
            serves=("example",),
            probe=probe,
        )
    )


@hookimpl
def register_callbacks(register: Callable[[Callback], None]) -> None:
    """Register the callback."""
    register(
        Callback(
            "example",
            ExampleCallback,
            ExampleCallbackOptions,
            "A line in a file for each aggregation",
        )
    )
