"""An extension of Sphinx: names of the public interface lead to it, wherever they are defined,
and nothing is described twice.
"""

from typing import Any

import damon_core


def resolve(app: Any, env: Any, node: Any, content: Any) -> Any:
    """Return a link to a name of `damon_core` that is called by the module which defines it."""
    if node.get("refdomain") != "py":
        return None
    name = node["reftarget"].rpartition(".")[2]
    if name not in damon_core.__all__:
        return None
    domain = env.get_domain("py")
    return domain.resolve_xref(
        env, node["refdoc"], app.builder, "obj", f"damon_core.{name}", node, content
    )


def left_out(_app: Any, _what: str, _name: str, found: Any, skip: bool, _options: Any) -> bool:
    """Return whether a member has no entry: fields of named tuples are described by their class."""
    return skip or str(getattr(found, "__doc__", "")).startswith("Alias for field number")


def setup(app: Any) -> dict[str, bool]:
    """Register the extension."""
    app.connect("missing-reference", resolve)
    app.connect("autodoc-skip-member", left_out)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
