"""Is what a distribution requires installed, and in a version that it works with?"""

from collections.abc import Iterable
from importlib import metadata

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

#: The distribution of the core, which offers parts as any other package does.
CORE = "damon-core"


def unmet_requirements(requires: Iterable[str]) -> str:
    """Return which requirements aren't met, as a line that says what to do; empty if all are.

    Requirements for extras, and those whose markers say that they don't matter here, are left out,
    and so is what isn't a requirement.

    Args:
        requires: The requirements, as metadata has them.
    """
    return "; ".join(filter(None, map(_unmet, requires)))


def _unmet(text: str) -> str:
    try:
        requirement = Requirement(text)
    except InvalidRequirement:
        return ""
    if requirement.marker is not None and not requirement.marker.evaluate({"extra": ""}):
        return ""
    name, wanted = requirement.name, str(requirement.specifier)
    try:
        version = metadata.version(name)
    except metadata.PackageNotFoundError:
        return f"needs {name}, which isn't installed: pip install '{name}{wanted}'"
    if requirement.specifier.contains(version, prereleases=True):
        return ""
    if canonicalize_name(name) == CORE:
        return f"needs {CORE} {wanted}, but this is {CORE} {version}"
    return f"needs {name} {wanted}, but {version} is installed: pip install '{name}{wanted}'"
