"""The public names in Python: Sphinx reads their docstrings; here is which, and in what order."""

import ast
import inspect
import re
from collections.abc import Iterator
from types import GenericAlias

import damon_core
from damon_core import hookspecs
from damon_core import testing as core_testing
from docs.sphinx.reference.markdown import rst


def hooks() -> str:
    """Return every hook in the order of life, by the parts of the file."""
    source = inspect.getsource(hookspecs)
    named = re.findall(r"^# -{3,}\n# (.+)\n# -{3,}$|^def (\w+)\(", source, re.MULTILINE)
    lines = []
    for title, name in named:
        lines.append(
            f"## {title}\n" if title else rst([f".. autofunction:: damon_core.hookspecs.{name}"])
        )
    return "\n".join(lines)


def policy() -> str:
    """Return what a policy has to do, in the order in which it is called."""
    return rst(_documented("RegionPolicy", damon_core.RegionPolicy))


def testing() -> str:
    """Return the names of `damon_core.testing`."""
    lines = [
        line
        for name in core_testing.__all__
        for line in _documented(name, getattr(core_testing, name), "damon_core.testing")
    ]
    return rst(lines)


def public_names() -> str:
    """Return the names of `damon_core` by reader, as its `__all__` lists them."""
    lines = []
    for reader, names in _by_reader():
        lines.append(f"## {reader}\n")
        lines.append(
            rst(
                line
                for name in names
                if name != "RegionPolicy"
                for line in _documented(name, getattr(damon_core, name))
            )
        )
    return "\n".join(lines)


def _by_reader() -> list[tuple[str, list[str]]]:
    """Return the comments within `__all__`, each with the names that follow."""
    source = inspect.getsource(damon_core)
    block = source[source.index("__all__ = [") :]
    found: list[tuple[str, list[str]]] = []
    for line in block.splitlines()[1:]:
        text = line.strip()
        if text.startswith("#"):
            title = re.sub(r" \(docs/\S+\)", "", text.removeprefix("# ")).rstrip(".")
            found.append((title, []))
        elif text.startswith('"'):
            found[-1][1].append(ast.literal_eval(text.rstrip(",")))
    return found


def _documented(name: str, value: object, module: str = "damon_core") -> Iterator[str]:
    """Yield the directive that documents a name."""
    full = f"{module}.{name}"
    if inspect.isclass(value):
        bases = ["   :show-inheritance:"] if value.__bases__ != (object,) else []
        yield from (f".. autoclass:: {full}", "   :members:", *bases, "")
    elif inspect.isfunction(value):
        yield from (f".. autofunction:: {full}", "")
    elif inspect.ismodule(value):
        yield from (f".. automodule:: {full}", "   :members:", "")
    elif isinstance(value, GenericAlias):  # whose docstring is that of the class
        yield from (f".. py:data:: {full}", "", f"   A type: ``{value.__origin__.__name__}``.", "")
    else:
        yield from (f".. autodata:: {full}", "   :no-value:", "")
