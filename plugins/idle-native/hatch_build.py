"""Compiles the module, for Hatch: once for every Python from 3.11 on, by the stable ABI."""

import sysconfig
import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.config import BuilderConfig
from hatchling.builders.hooks.plugin.interface import BuildHookInterface
from setuptools import Distribution, Extension
from setuptools.command.build_ext import build_ext


class Compile(BuildHookInterface[BuilderConfig]):
    """Puts the compiled module into the package's folder, and from there into the wheel."""

    def initialize(self, _version: str, build_data: dict[str, Any]) -> None:
        """Compile for a wheel; a source distribution has the sources."""
        if self.target_name != "wheel":
            return
        root = Path(self.root)
        extension = Extension(
            "damon_idle_native._check",
            sources=[str(path) for path in sorted((root / "c").glob("*.c"))],
            define_macros=[("Py_LIMITED_API", "0x030B0000")],
            extra_compile_args=["-std=gnu11", "-Wall", "-Wextra", "-fvisibility=hidden"],
            py_limited_api=True,
        )
        command = build_ext(Distribution({"ext_modules": [extension]}))
        command.force = True
        command.build_lib = str(root / "src")
        with tempfile.TemporaryDirectory() as directory:
            command.build_temp = directory
            command.ensure_finalized()
            command.run()
        platform = sysconfig.get_platform().replace("-", "_").replace(".", "_")
        build_data["artifacts"].append("/src/damon_idle_native/*.abi3.so")
        build_data["pure_python"] = False
        build_data["tag"] = f"cp311-abi3-{platform}"
