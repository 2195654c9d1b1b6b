"""Packages of commands, installed for a test: metadata as pip leaves it."""

import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    """Return what installs a distribution, version 1.0, that offers commands."""
    site = tmp_path / "site"
    site.mkdir()
    monkeypatch.syspath_prepend(site)

    def install(
        package: str, *names: str, command: object = None, source: str = "", requires: str = ""
    ) -> str:
        """Install it and return the name of its module.

        Args:
            package: The name of the distribution.
            names: The names of its commands.
            command: The object of all of them.
            source: Without that, the source of the module, which has it as `command`.
            requires: What the distribution requires.
        """
        module = package.replace("-", "_")
        if command is not None:
            monkeypatch.setitem(sys.modules, module, SimpleNamespace(command=command))
        else:
            monkeypatch.delitem(sys.modules, module, raising=False)
            (site / f"{module}.py").write_text(source)
        info = site / f"{module}-1.0.dist-info"
        info.mkdir()
        metadata = f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\nSummary: Of {package}\n"
        metadata += f"Requires-Dist: {requires}\n" if requires else ""
        (info / "METADATA").write_text(metadata)
        lines = [f"{name} = {module}:command" for name in names]
        (info / "entry_points.txt").write_text("\n".join(["[damon.commands]", *lines, ""]))
        return module

    return install
