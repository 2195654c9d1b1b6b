"""What the source of a command says of it, read without importing anything."""

import ast
import importlib.util
from importlib.machinery import ModuleSpec, PathFinder
from importlib.metadata import EntryPoint

import click


def described(name: str, entry: EntryPoint) -> click.Command | None:
    """Return a command that has the help of another one, whose module isn't imported.

    Args:
        name: What the command is called.
        entry: Its entry point.

    Returns:
        The command; None if its source isn't there, or doesn't define it by a decorated function.
    """
    try:
        spec = _find(entry.module)
        if spec is None or spec.origin is None or not spec.origin.endswith(".py"):
            return None
        with open(spec.origin, "rb") as file:
            body = ast.parse(file.read()).body
    except (ImportError, OSError, SyntaxError, ValueError):
        return None
    for each in body:
        if isinstance(each, ast.FunctionDef) and each.name == entry.attr:
            given = _keywords(each)
            text = given.get("help") or ast.get_docstring(each)
            short = given.get("short_help")
            return click.Command(name, help=text, short_help=short) if text or short else None
    return None


def _find(module: str) -> ModuleSpec | None:
    """Return where a module is. `importlib.util.find_spec` would import its package."""
    package, *others = module.split(".")
    spec = importlib.util.find_spec(package)
    for other in others:
        if spec is None:
            return None
        package = f"{package}.{other}"
        spec = PathFinder.find_spec(package, spec.submodule_search_locations)
    return spec


def _keywords(function: ast.FunctionDef) -> dict[str, str]:
    """Return the texts that a function's decorators are given by keyword."""
    return {
        keyword.arg: keyword.value.value
        for decorator in function.decorator_list
        if isinstance(decorator, ast.Call)
        and getattr(decorator.func, "attr", "") in ("command", "group")
        for keyword in decorator.keywords
        if keyword.arg is not None
        and isinstance(keyword.value, ast.Constant)
        and isinstance(keyword.value.value, str)
    }
