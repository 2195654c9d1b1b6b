"""The public interface as text: a line for each name, with signature and types.

What is public: `docs/api-promise.md`. Two things are looked at: the code, for signatures and types
as people write them, which are the same with every version of Python and numpy; and objects, for
what decorators make of them, such as the constructors of attrs classes.
"""

import ast
import functools
import importlib
import inspect
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import attrs

#: Modules of the core that are public besides the names that it has itself.
CORE_MODULES = (
    "damon_core.hookspecs",
    "damon_core.metrics",
    "damon_core.testing",
    "damon_core.testing.conformance",
    "damon_core.validators",
)
#: Whose classes have members of their bases.
_PROJECT = ("damon_core", "damon_cli")
#: Methods with names of Python's that are for callers.
_CALLED = frozenset(
    f"__{name}__"
    for name in ("init", "call", "len", "iter", "getitem", "contains", "enter", "exit", "bool")
)
#: Decorators that change how a function is called.
_TELLING = ("contextmanager", "overload", "staticmethod", "classmethod", "cached_property")
#: A longer value of a constant isn't shown: it is data, not a promise.
_MOST_CHARACTERS = 60


def public_modules(package: str) -> Sequence[str]:
    """Return the modules of damon_core or damon_cli that others may import, sorted.

    Of damon_cli these are the ones with an `__all__`; the package itself isn't among them.
    """
    if package == "damon_core":
        return CORE_MODULES
    folder = Path(str(importlib.import_module(package).__file__)).parent
    modules = sorted(f"{package}.{path.stem}" for path in folder.glob("*.py"))
    return [each for each in modules if hasattr(importlib.import_module(each), "__all__")]


def public_names(module: str) -> Collection[str]:
    """Return the names that a module lists; of one without a list all but private ones."""
    names = vars(importlib.import_module(module))
    listed: Collection[str] | None = names.get("__all__")
    return listed if listed is not None else {each for each in names if each[:1] != "_"}


def own_names(module: str) -> list[str]:
    """Return the public names of a module, sorted; without a list only those that it defines."""
    names = public_names(module)
    if not hasattr(importlib.import_module(module), "__all__"):
        defined = _definitions(module)
        names = [name for name in names if isinstance(defined.get(name), ast.stmt)]
    return sorted(names)


def interface(modules: Sequence[str]) -> list[str]:
    """Return the lines of modules, in their order."""
    return [
        line
        for module in modules
        for name in own_names(module)
        for line in _described(f"{module}.{name}", *_found(module, name))
    ]


# -- where a name is defined -----------------------------------------------------------


@functools.cache
def _definitions(module: str) -> Mapping[str, ast.stmt | tuple[str, str]]:
    """Return what a module's names stand for: a statement, or a name of another module."""
    source = inspect.getsource(importlib.import_module(module))
    found: dict[str, ast.stmt | tuple[str, str]] = {}
    for node in _statements(ast.parse(source).body):
        if isinstance(node, ast.ImportFrom) and node.module:
            found |= {each.asname or each.name: (node.module, each.name) for each in node.names}
        elif isinstance(node, ast.FunctionDef | ast.ClassDef):
            found[node.name] = node
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            found[node.target.id] = node
        elif isinstance(node, ast.Assign):
            found |= {each.id: node for each in node.targets if isinstance(each, ast.Name)}
    return found


def _statements(body: Sequence[ast.stmt]) -> Iterator[ast.stmt]:
    """Yield statements; of those for type checkers alone, too: names that are imported later."""
    for node in body:
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            yield from node.body
        else:
            yield node


def _found(module: str, name: str) -> tuple[object, ast.stmt | None]:
    """Return what a public name is, and the statement that defines it; None for a module."""
    value = getattr(importlib.import_module(module), name)
    while not isinstance(value, ModuleType):
        definition = _definitions(module)[name]
        if isinstance(definition, ast.stmt):
            return value, definition
        module, name = definition
    return value, None


# -- one name --------------------------------------------------------------------------


def _described(path: str, value: object, node: ast.stmt | None) -> Iterator[str]:
    if isinstance(node, ast.ClassDef) and isinstance(value, type):
        yield from _class(path, value, node)
    elif isinstance(node, ast.FunctionDef):
        yield _function(path, node)
    elif isinstance(node, ast.AnnAssign | ast.Assign):
        yield f"{path}{_annotation(node)}{_value(node.value)}"
    else:
        yield f"module {path}"


def _function(path: str, node: ast.FunctionDef) -> str:
    decorators = [ast.unparse(each) for each in node.decorator_list]
    if "property" in decorators or any(each.endswith("cached_property") for each in decorators):
        return f"property {path}{_returns(node)}"
    shown = "".join(f"@{each} " for each in decorators if each.split(".")[-1] in _TELLING)
    return f"{shown}def {path}({ast.unparse(node.args)}){_returns(node)}"


def _returns(node: ast.FunctionDef) -> str:
    return "" if node.returns is None else f" -> {ast.unparse(node.returns)}"


def _class(path: str, cls: type, node: ast.ClassDef) -> Iterator[str]:
    decorators = "".join(f"@{ast.unparse(each)} " for each in node.decorator_list)
    bases = ", ".join(map(ast.unparse, [*node.bases, *(each.value for each in node.keywords)]))
    yield f"{decorators}class {path}{f'({bases})' if bases else ''}"
    if attrs.has(cls):
        yield f"def {path}.__init__({_constructor(cls)})"
    members: dict[str, str] = {}
    for each in reversed(cls.__mro__):
        if each.__module__.split(".")[0] in (*_PROJECT, cls.__module__):
            _, defined = _found(each.__module__, each.__name__)
            assert isinstance(defined, ast.ClassDef)
            members |= dict(_members(path, defined))
    yield from members.values()


def _constructor(cls: type) -> str:
    """Return the arguments of an attrs class, whose types are those of its fields."""
    parameters = [
        each.replace(
            annotation=each.empty, default=each.empty if each.default is each.empty else ...
        )
        for each in inspect.signature(cls).parameters.values()
    ]
    return str(inspect.Signature(parameters))[1:-1].replace("Ellipsis", "...")


def _members(path: str, node: ast.ClassDef) -> Iterator[tuple[str, str]]:
    """Yield the public members that a class defines itself, each with its line."""
    for each in node.body:
        if isinstance(each, ast.FunctionDef):
            if each.name in _CALLED or not each.name.startswith("_"):
                yield each.name, _function(f"{path}.{each.name}", each)
            if each.name == "__init__":
                yield from _attributes(path, each)
        elif isinstance(each, ast.AnnAssign | ast.Assign):
            for name in _targets(each):
                yield name, f"{path}.{name}{_annotation(each)}{_value(each.value)}"


def _targets(node: ast.AnnAssign | ast.Assign) -> list[str]:
    targets = [node.target] if isinstance(node, ast.AnnAssign) else node.targets
    names = [each.id for each in targets if isinstance(each, ast.Name)]
    return [name for name in names if not name.startswith("_")]


def _attributes(path: str, init: ast.FunctionDef) -> Iterator[tuple[str, str]]:
    """Yield the public attributes that a constructor sets."""
    for node in ast.walk(init):
        if not isinstance(node, ast.AnnAssign | ast.Assign):
            continue
        for target in [node.target] if isinstance(node, ast.AnnAssign) else node.targets:
            if (
                isinstance(target, ast.Attribute)
                and ast.unparse(target.value) == "self"
                and not target.attr.startswith("_")
            ):
                yield target.attr, f"{path}.{target.attr}{_annotation(node)}"


def _annotation(node: ast.AnnAssign | ast.Assign) -> str:
    return f": {ast.unparse(node.annotation)}" if isinstance(node, ast.AnnAssign) else ""


def _value(node: ast.expr | None) -> str:
    """Return the value of a constant or the default of a field, as far as it is short."""
    if node is None:
        return ""
    if isinstance(node, ast.Call) and ast.unparse(node.func).split(".")[-1] == "field":
        given: dict[Any, ast.expr] = {each.arg: each.value for each in node.keywords}
        if "factory" in given:
            return f" = {ast.unparse(given['factory'])}()"
        return _value(given.get("default"))
    text = ast.unparse(node)
    return f" = {text}" if len(text) <= _MOST_CHARACTERS else ""
