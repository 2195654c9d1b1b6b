"""An extension of Sphinx: names of the public interface lead to it, wherever they are defined."""

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


def setup(app: Any) -> dict[str, bool]:
    """Register the extension."""
    app.connect("missing-reference", resolve)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
